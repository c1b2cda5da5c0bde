//! The open holds, as the last real run has left them.

use serde_json::{Value, json};

use super::text::{line, number};
use crate::model::Timestamp;
use crate::plan::next_run;
use crate::snapshot::{HeldOperation, OpenHold, Retried};

/// The open holds with all that they hold, for people.
pub fn holds(holds: &[OpenHold], now: Timestamp) -> String {
    let mut out = String::new();
    if holds.is_empty() {
        line(&mut out, "No hold is open.");
    }
    for (at, hold) in holds.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let OpenHold { name, opened, .. } = hold;
        line(&mut out, &format!("{name} #{}", opened.number));
        line(&mut out, &format!("  {}", hold.message));
        let end = if opened.until <= now {
            "expired at"
        } else {
            "expires at"
        };
        line(
            &mut out,
            &format!(
                "  open since {} ({}), {end} {}",
                minute(opened.since),
                age(now, opened.since),
                minute(opened.until)
            ),
        );
        for operation in &hold.operations {
            held(&mut out, operation);
        }
    }
    out
}

/// What was approved, for people.
pub fn approved(hold: &OpenHold) -> String {
    let OpenHold {
        name,
        opened,
        operations,
        ..
    } = hold;
    let mut out = String::new();
    let count = match operations.len() {
        1 => "1 operation".to_owned(),
        count => format!("{} operations", number(count as u64)),
    };
    line(
        &mut out,
        &format!(
            "Approved: {count} of `{name}` #{}, once, for the next {} that plans the same, until {}.",
            opened.number,
            next_run(name),
            minute(opened.until)
        ),
    );
    for operation in operations {
        held(&mut out, operation);
    }
    out
}

/// What was let go again, for people.
pub fn retried(all: &[Retried]) -> String {
    let mut out = String::new();
    let count = match all.len() {
        0 => {
            line(&mut out, "Nothing waits for another try.");
            return out;
        }
        1 => "1 operation".to_owned(),
        count => format!("{} operations", number(count as u64)),
    };
    line(
        &mut out,
        &format!("Let go again, by the next sync that plans the same: {count}."),
    );
    for Retried {
        operation,
        count,
        in_vain,
        error,
        ..
    } in all
    {
        held(&mut out, operation);
        let tries = match (count, in_vain) {
            (0, 1) => "without a usable answer once".to_owned(),
            (0, tries) => format!("without a usable answer {tries} times"),
            (1, _) => "failed once".to_owned(),
            (count, _) => format!("failed {count} times in a row"),
        };
        line(&mut out, &format!("      {tries}; last: {error}"));
    }
    out
}

fn held(out: &mut String, operation: &HeldOperation) {
    let HeldOperation {
        key,
        kind,
        detail,
        is_approved,
        ..
    } = operation;
    let approved = if *is_approved { " [approved]" } else { "" };
    let address = detail.addresses.first().map_or("no e-mail", String::as_str);
    line(
        out,
        &format!("  - {kind} {} <{address}>{approved}", detail.account),
    );
    line(out, &format!("      {}", detail.dn));
    line(out, &format!("      key {key}; {}", detail.reason));
    for change in &detail.changes {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        line(
            out,
            &format!(
                "      {}  {} → {}",
                change.attribute,
                value(&change.old),
                value(&change.new)
            ),
        );
    }
}

/// The open holds as JSON, for programs.
pub fn holds_json(holds: &[OpenHold], now: Timestamp) -> Value {
    let operation = |operation: &HeldOperation| {
        let HeldOperation {
            key,
            kind,
            detail,
            is_approved,
            ..
        } = operation;
        json!({
            "key": key,
            "kind": kind,
            "account": detail.account,
            "addresses": detail.addresses,
            "dn": detail.dn,
            "source": detail.source,
            "message": detail.reason,
            "changes": detail.changes,
            "approved": is_approved,
        })
    };
    let hold = |hold: &OpenHold| {
        let OpenHold {
            name,
            opened,
            message,
            figures,
            operations,
        } = hold;
        json!({
            "name": name,
            "number": opened.number,
            "message": message,
            "planned": figures.planned,
            "allowed": figures.allowed,
            "population": figures.population,
            "scope": figures.scope,
            "since": opened.since,
            "age_seconds": (now - opened.since).num_seconds(),
            "expires": opened.until,
            "expired": opened.until <= now,
            "operations": operations.iter().map(operation).collect::<Vec<_>>(),
        })
    };
    json!({
        "version": 1,
        "holds": holds.iter().map(hold).collect::<Vec<_>>(),
    })
}

pub(super) fn minute(moment: Timestamp) -> impl std::fmt::Display {
    moment.format("%Y-%m-%d %H:%M UTC")
}

pub(super) fn age(now: Timestamp, since: Timestamp) -> String {
    let age = now - since;
    match (age.num_days(), age.num_hours(), age.num_minutes()) {
        (0, 0, 0) => "just now".to_owned(),
        (0, 0, minutes) => format!("{minutes} min ago"),
        (0, hours, _) => format!("{hours} h ago"),
        (1, ..) => "1 day ago".to_owned(),
        (days, ..) => format!("{days} days ago"),
    }
}
