//! The plan as text, for people: grouped by what is done, summary last.

use std::fmt::Write;
use std::time::Duration;

use super::groups;
use super::holds::minute;
use crate::apply::{Applied, EndedBy, Pending};
use crate::model::{Attribute, Cause, Kind, Operation, Profile, RunId};
use crate::plan::{Edit, Endpoint, Forecast, Plan, Planned, Undo};

/// How much is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// At most so many people a group; all of them when `None`.
    pub limit: Option<usize>,
}

/// The whole plan.
pub fn text(plan: &Plan, detail: Detail) -> String {
    let mut out = String::new();
    let entries: Vec<String> = plan
        .pulls
        .iter()
        .map(|(source, figures)| match figures.changed {
            None => format!("{} from `{source}`", people(figures.entries)),
            Some(changed) => format!(
                "what changed ({}) of {} from `{source}`",
                number(changed),
                people(figures.entries)
            ),
        })
        .collect();
    if let Some(run) = plan.reverts {
        line(&mut out, &format!("Undoes what run {run} did."));
    }
    // A saved plan is carried out without reading.
    if !entries.is_empty() {
        line(&mut out, &format!("Read {}.", entries.join(", ")));
    }
    for notice in &plan.notices {
        line(
            &mut out,
            &format!("Source `{}`: {}.", notice.source, notice.what),
        );
    }
    for kind in Kind::ALL {
        let planned: Vec<(usize, &Planned)> = plan
            .operations
            .iter()
            .enumerate()
            .filter(|(_, planned)| planned.operation.kind == kind)
            .collect();
        group(
            &mut out,
            heading(kind),
            planned.len(),
            detail,
            |out, nth| {
                let (at, planned) = planned[nth];
                operation(out, plan, planned, plan.carried_over.accounts.contains(&at));
                if let Some(foreseen) = plan.forecast.foreseen.get(&planned.operation.key) {
                    line(out, &format!("      {foreseen}"));
                }
            },
        );
    }
    if let Some(groups) = &plan.groups {
        groups::text(&mut out, plan, groups, detail);
    }
    group(
        &mut out,
        "Held by a guard",
        plan.holds.len(),
        Detail::default(),
        |out, at| {
            let hold = &plan.holds[at];
            let opened = hold.opened.map_or(String::new(), |opened| {
                format!(
                    " #{}, open until {}",
                    opened.number,
                    opened.until.format("%Y-%m-%d %H:%M UTC")
                )
            });
            line(out, &format!("  ! {}{opened}", hold.name));
            line(out, &format!("      {hold}"));
        },
    );
    group(
        &mut out,
        "Absences that are not believed",
        plan.suspensions.len(),
        detail,
        |out, at| {
            let suspension = &plan.suspensions[at];
            line(
                out,
                &format!(
                    "  ! {} not seen, and not touched: source `{}`: {}",
                    people(suspension.absent),
                    suspension.source,
                    suspension.why
                ),
            );
        },
    );
    group(
        &mut out,
        "Refused: correct these",
        plan.refusals.len(),
        detail,
        |out, at| {
            let refusal = &plan.refusals[at];
            line(out, &format!("  ! {}", refusal.dn));
            line(out, &format!("      {}", refusal.why));
        },
    );
    group(
        &mut out,
        "Skipped",
        plan.skipped.len(),
        detail,
        |out, at| {
            let skipped = &plan.skipped[at];
            line(out, &format!("  . {}: {}", skipped.dn, skipped.why));
        },
    );
    out.push('\n');
    forecast(&mut out, &plan.forecast);
    budget(&mut out, plan);
    if let Some((count, oldest)) = plan.oldest_pending() {
        let since = oldest
            .since
            .map_or(String::new(), |since| format!(" since {}", minute(since)));
        line(
            &mut out,
            &format!(
                "Deactivations that earlier runs have planned and that are not done: {}; the oldest{since}: {}.",
                number(count),
                oldest.dn
            ),
        );
    }
    line(&mut out, &summary_line(plan));
    out
}

/// What does not fit the budget.
fn budget(out: &mut String, plan: &Plan) {
    let left = plan.carried_over_by_kind();
    if let (Some(max_calls), false) = (plan.carried_over.max_calls, left.is_empty()) {
        let left = left.into_iter().map(|(kind, count)| (kind, count as usize));
        line(
            out,
            &format!(
                "Left for {}, as `max_calls = {max_calls}` in [apply] lets no more go: {}.",
                next(plan),
                by_kind(left)
            ),
        );
    }
    let Forecast {
        estimate, deadline, ..
    } = &plan.forecast;
    let late = estimate.zip(deadline.and_then(|deadline| deadline.to_std().ok()));
    if let Some((_, deadline)) = late.filter(|(estimate, deadline)| estimate.time > *deadline) {
        line(
            out,
            &format!(
                "That takes longer than the `deadline` of {} in [apply]: the last of it will be left for {}.",
                humantime::format_duration(deadline),
                next(plan)
            ),
        );
    }
}

/// What does what this run leaves: nobody else undoes anything.
fn next(plan: &Plan) -> String {
    match plan.reverts {
        None => "the next run".to_owned(),
        Some(run) => format!("`dirsyncd revert {run}` again"),
    }
}

/// How many of each kind.
fn by_kind(counts: impl IntoIterator<Item = (&'static str, usize)>) -> String {
    let counts = counts.into_iter();
    let counts: Vec<String> = counts
        .map(|(kind, count)| format!("{} {kind}", number(count as u64)))
        .collect();
    counts.join(", ")
}

/// What carrying the plan out takes, and what was not foreseen.
fn forecast(out: &mut String, forecast: &Forecast) {
    let Forecast {
        foreseen: _,
        unseen_rights,
        unseen_addresses,
        calls,
        estimate,
        deadline: _,
    } = forecast;
    if let Some(calls) = calls.as_ref().filter(|calls| calls.total() > 0) {
        let each: Vec<String> = calls
            .iter()
            .map(|call| {
                let Endpoint { method, path, .. } = call.endpoint;
                format!("{} {method} {path}", number(call.count))
            })
            .collect();
        let time = match estimate {
            None => String::new(),
            Some(estimate) => format!(
                ", in at least {} by {}",
                humantime::format_duration(Duration::from_secs(estimate.time.as_secs().max(1))),
                estimate.by
            ),
        };
        line(
            out,
            &format!(
                "Requests to carry it out: {}{time}: {}.",
                number(calls.total()),
                each.join(", ")
            ),
        );
    }
    for (count, what) in [
        (*unseen_rights, "the rights over accounts"),
        (
            *unseen_addresses,
            "who holds new addresses in the organization",
        ),
    ] {
        if count > 0 {
            line(
                out,
                &format!(
                    "Not looked at beforehand (`forecast_accounts`, `admin_key`): {what}, {}.",
                    number(count)
                ),
            );
        }
    }
}

/// The figures of the plan in one line.
pub fn summary_line(plan: &Plan) -> String {
    let mut parts: Vec<String> = Kind::ALL
        .into_iter()
        .map(|kind| (kind, plan.count(kind)))
        .filter(|(kind, count)| *count > 0 || !matches!(kind, Kind::Adopt | Kind::Delete))
        .map(|(kind, count)| format!("{} to {kind}", number(count as u64)))
        .collect();
    for (count, word) in [
        (plan.held(), "held"),
        (plan.refusals.len(), "refused"),
        (plan.skipped.len(), "skipped"),
    ] {
        if count > 0 {
            parts.push(format!("{} {word}", number(count as u64)));
        }
    }
    parts.push(format!("{} unchanged", number(plan.unchanged)));
    let groups = plan.groups.as_ref();
    let is_empty =
        plan.operations.is_empty() && groups.is_none_or(|groups| groups.operations.is_empty());
    let verdict = if is_empty { "Nothing to do" } else { "Plan" };
    let groups = groups.map(|groups| format!("; groups: {}", groups::summary_line(groups)));
    format!(
        "{verdict}: {}{}.",
        parts.join(", "),
        groups.unwrap_or_default()
    )
}

/// What became of a plan.
pub fn applied(plan: &Plan, applied: &Applied, detail: Detail) -> String {
    let mut out = String::new();
    group(
        &mut out,
        "Failed",
        applied.failed.len(),
        detail,
        |out, at| {
            let (operation, error) = &applied.failed[at];
            line(
                out,
                &format!(
                    "  ! {} {} ({})",
                    operation.kind,
                    operation.label(),
                    operation.dn
                ),
            );
            line(out, &format!("      {error}"));
        },
    );
    groups::failures(&mut out, &applied.groups, detail);
    if !out.is_empty() {
        out.push('\n');
    }
    let done = applied.done + applied.groups.done;
    let mut summary = format!("Done: {} applied", number(done as u64));
    let left = format!("left for {}", next(plan));
    for (count, words) in [
        (applied.failed.len() + applied.groups.failed.len(), "failed"),
        (applied.left + applied.groups.left, left.as_str()),
    ] {
        if count > 0 {
            let _ = write!(summary, ", {} {words}", number(count as u64));
        }
    }
    let accounts = applied.left_of.iter();
    let groups = applied.groups.left_of.iter();
    let left = accounts
        .map(|(kind, count)| (kind.name(), *count))
        .chain(groups.map(|(kind, count)| (kind.name(), *count)));
    let left = by_kind(left);
    if !left.is_empty() {
        let _ = write!(summary, " ({left})");
    }
    match &applied.ended_by {
        None => summary.push('.'),
        Some(EndedBy::Error(error)) => {
            let _ = write!(summary, "; the run ended early: {error}");
        }
        Some(ended_by) => {
            let _ = write!(summary, "; {ended_by}.");
        }
    }
    line(&mut out, &summary);
    if let Some(Pending {
        count,
        dn,
        since,
        age,
    }) = &applied.pending
    {
        let age = Duration::from_secs(age.num_seconds().unsigned_abs());
        line(
            &mut out,
            &format!(
                "Deactivations that are not done: {}; the oldest since {} ({}): {dn}.",
                number(*count as u64),
                minute(*since),
                humantime::format_duration(age)
            ),
        );
    }
    out
}

/// How a run is undone, if it did something.
pub fn way_back(run: RunId, applied: &Applied) -> String {
    if applied.done + applied.groups.done == 0 {
        return String::new();
    }
    format!("Run {run}; to undo it: dirsyncd revert {run}\n")
}

/// Who would enter and leave by an edit of the configuration.
pub fn edit(edit: &Edit, detail: Detail) -> String {
    let mut out = String::new();
    for why in &edit.incomplete {
        line(&mut out, &format!("Not read in full: {why}"));
    }
    for (title, sign, people) in [
        ("Enter the scope", '+', &edit.entering),
        ("Leave the scope", '-', &edit.leaving),
    ] {
        group(&mut out, title, people.len(), detail, |out, at| {
            let person = &people[at];
            line(out, &format!("  {sign} {}", person.dn));
            let account = match person.has_account {
                true => "has an account",
                false => "has no account",
            };
            let why = match person.cause {
                Some(Cause::Rescoped) => ", its source is gone".to_owned(),
                Some(cause) => format!(", {cause}"),
                None => String::new(),
            };
            let source = &person.source;
            line(out, &format!("      source `{source}`, {account}{why}"));
        });
    }
    if !out.is_empty() {
        out.push('\n');
    }
    line(
        &mut out,
        &format!(
            "Edit: {} to enter, {} to leave, {} stay.",
            number(edit.entering.len() as u64),
            number(edit.leaving.len() as u64),
            number(edit.staying)
        ),
    );
    out
}

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Create => "Create",
        Kind::Adopt => "Adopt: take over accounts that the organization has",
        Kind::Update => "Update",
        Kind::Restore => "Restore",
        Kind::Deactivate => "Deactivate",
        Kind::Delete => "Delete for good",
    }
}

pub(super) fn group(
    out: &mut String,
    title: &str,
    count: usize,
    detail: Detail,
    mut each: impl FnMut(&mut String, usize),
) {
    if count == 0 {
        return;
    }
    out.push('\n');
    line(out, &format!("{title} ({})", number(count as u64)));
    let shown = detail.limit.map_or(count, |limit| limit.min(count));
    for at in 0..shown {
        each(out, at);
    }
    if shown < count {
        line(
            out,
            &format!("  … and {} more", number((count - shown) as u64)),
        );
    }
}

/// What stands beside an operation that is held or approved.
fn marks(plan: &Plan, planned: &Planned) -> String {
    let names = |holds: &[usize]| {
        let names: Vec<&str> = holds
            .iter()
            .map(|at| plan.holds[*at].name.as_str())
            .collect();
        names.join(", ")
    };
    match planned {
        Planned { holds, .. } if !holds.is_empty() => format!(" [held: {}]", names(holds)),
        Planned { waits, .. } if !waits.is_empty() => {
            format!(" [held: waits for what is held by {}]", names(waits))
        }
        planned if planned.is_approved() => " [approved]".to_owned(),
        _ => String::new(),
    }
}

/// What stands beside an operation that `dirsyncd revert` could not put back wholly.
pub(super) fn undo(undo: &Undo) -> String {
    match undo {
        Undo::Full => String::new(),
        Undo::InPart(_) => " [undo in part]".to_owned(),
        Undo::Until(until) => format!(" [undo until {}]", until.format("%Y-%m-%d")),
        Undo::Never(_) => " [no undo]".to_owned(),
    }
}

/// What stands beside an operation that is left for the next run.
pub(super) fn left(is_left: bool) -> &'static str {
    if is_left {
        " [left for the next run]"
    } else {
        ""
    }
}

fn operation(out: &mut String, plan: &Plan, planned: &Planned, is_left: bool) {
    let operation = &planned.operation;
    let sign = match operation.kind {
        Kind::Create => '+',
        Kind::Adopt => '=',
        Kind::Update => '~',
        Kind::Restore => '^',
        Kind::Deactivate => '-',
        Kind::Delete => 'x',
    };
    let held = marks(plan, planned) + left(is_left) + &undo(&planned.undo);
    line(
        out,
        &format!(
            "  {sign} {} <{}>{held}",
            operation.label(),
            email(operation)
        ),
    );
    line(out, &format!("      {}", operation.dn));
    line(out, &format!("      {}", operation.reason));
    if operation.kind == Kind::Create {
        let values: Vec<String> = operation
            .after
            .iter()
            .filter(|(attribute, _)| {
                !attribute.is_local()
                    && !matches!(attribute, Attribute::DisplayName | Attribute::Email)
            })
            .map(|(attribute, value)| format!("{attribute} {value}"))
            .collect();
        line(out, &format!("      {}", values.join(", ")));
        return;
    }
    if operation.cancel_delete {
        line(out, "      the requested deletion is cancelled");
    }
    let width = operation
        .changes
        .iter()
        .map(|change| change.attribute.len())
        .max()
        .unwrap_or(0);
    for change in &operation.changes {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        line(
            out,
            &format!(
                "      {:width$}  {} → {}",
                change.attribute,
                value(&change.old),
                value(&change.new)
            ),
        );
    }
}

fn email(operation: &Operation) -> &str {
    let of = |profile: &'_ Profile| profile.get(Attribute::Email).is_some();
    let profile = if of(&operation.before) {
        &operation.before
    } else {
        &operation.after
    };
    profile.get(Attribute::Email).unwrap_or("no e-mail")
}

/// One line. What came from a directory must not move the cursor, ring the bell or end the line.
pub(super) fn line(out: &mut String, text: &str) {
    out.extend(
        text.chars()
            .map(|c| if is_command(c) { '\u{fffd}' } else { c }),
    );
    out.push('\n');
}

/// Whether a terminal, or what else shows a text, takes the character for a command: control characters,
/// those that end a line or a paragraph, and those that turn the direction of writing around (Unicode
/// standard annex 9), by which a text looks like another.
fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text or JSON as a terminal may show it: a command to the terminal is written as JSON writes it,
/// `\u001b`. Lines stay lines.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_command(c) && c != '\n' {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// A message as a terminal may show it. Its lines after the first are indented, so that none of
/// them can be taken for a message of its own.
pub fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, line) in printable(text).split('\n').enumerate() {
        out.push_str(match at {
            0 => "",
            _ if line.starts_with(' ') => "\n",
            _ => "\n  ",
        });
        out.push_str(line);
    }
    out
}

fn people(count: u64) -> String {
    match count {
        1 => "1 person".to_owned(),
        count => format!("{} people", number(count)),
    }
}

/// 1234567 as `1,234,567`.
pub fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
