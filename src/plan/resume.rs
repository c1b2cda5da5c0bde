//! A plan made again from the rows of a saved one: what has moved on is left out, what was held
//! stays held, and the rest goes through the same checks as any plan's operations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::{Known, Plan, SkipReason, Skipped, conclude, guard};
use crate::config::Guards;
use crate::model::{
    Absence, Attribute, Change, ExistingAccount, ExternalId, Kind, Lifecycle, ManagedAccount,
    Operation, Profile, Timestamp, fold,
};

/// A row of a saved plan.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was to be done.
    pub operation: Operation,
    /// What held it then.
    pub held: Option<String>,
    /// What differs from what it expects, if anything does.
    pub moved: Option<String>,
}

/// Makes a plan of the rows of a saved one. `plan` has what is known already: the rows that are
/// refused, and what is to be noted.
pub fn resume(
    mut plan: Plan,
    rows: Vec<Row>,
    known: &Known,
    guards: &Guards,
    now: Timestamp,
) -> Plan {
    let dns: BTreeMap<ExternalId, String> = rows
        .iter()
        .map(|row| (row.operation.key.clone(), row.operation.dn.clone()))
        .collect();
    let (moved, mut rows): (Vec<Row>, Vec<Row>) =
        rows.into_iter().partition(|row| row.moved.is_some());
    for row in moved {
        let Row {
            operation, moved, ..
        } = row;
        let kind = operation.kind;
        let what = moved.unwrap_or_default();
        plan.skipped
            .push(skipped(operation, SkipReason::Moved { kind, what }));
    }
    // Whoever waits for what is not done is not done either, and so on.
    loop {
        let going: BTreeSet<ExternalId> =
            rows.iter().map(|row| row.operation.key.clone()).collect();
        let missing = |row: &Row| -> Option<ExternalId> {
            let mut freers = row.operation.waits_for.iter();
            freers.find(|key| !going.contains(*key)).cloned()
        };
        let before = rows.len();
        let mut kept = Vec::with_capacity(before);
        for row in rows {
            let Some(freer) = missing(&row) else {
                kept.push(row);
                continue;
            };
            let kind = row.operation.kind;
            let freer = dns
                .get(&freer)
                .cloned()
                .unwrap_or_else(|| freer.to_string());
            plan.skipped
                .push(skipped(row.operation, SkipReason::Waiting { kind, freer }));
        }
        rows = kept;
        if rows.len() == before {
            break;
        }
    }
    let mut held: BTreeMap<String, BTreeSet<ExternalId>> = BTreeMap::new();
    for row in &rows {
        if let Some(why) = &row.held {
            let people = held.entry(why.clone()).or_default();
            people.insert(row.operation.key.clone());
        }
    }
    let clock_fault = guard::clock_fault(known, now);
    let operations = rows.into_iter().map(|row| row.operation).collect();
    conclude(plan, operations, known, now, |operations| {
        guard::guard(operations, known, guards, now, clock_fault, held)
    })
}

fn skipped(operation: Operation, why: SkipReason) -> Skipped {
    Skipped {
        key: Some(operation.key),
        dn: operation.dn,
        why,
    }
}

/// What a row of a saved plan expects of its account.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The snapshot's row.
    pub row: Option<&'a ManagedAccount>,
    /// The organization's account.
    pub account: Option<&'a ExistingAccount>,
}

/// In what the account differs from what a row of a saved plan expects, if it does.
pub fn moved(expected: Expected<'_>, now: Expected<'_>) -> Option<String> {
    let mut differences = Vec::new();
    match (expected.row, now.row) {
        (None, None) => {}
        (None, Some(row)) => {
            differences.push(format!(
                "the snapshot has the account {} by now",
                row.scim_id
            ));
        }
        (Some(row), None) => {
            differences.push(format!(
                "the snapshot has no account {} any more",
                row.scim_id
            ));
        }
        (Some(before), Some(row)) => rows(before, row, &mut differences),
    }
    match (expected.account, now.account) {
        (None, None) => {}
        (None, Some(account)) => differences.push(format!(
            "the organization has the account {} ({}) by now",
            account.scim_id,
            account.profile.label()
        )),
        (Some(account), None) => differences.push(format!(
            "the organization has no account {} any more",
            account.scim_id
        )),
        (Some(before), Some(account)) => accounts(before, account, &mut differences),
    }
    (!differences.is_empty()).then(|| differences.join("; "))
}

fn rows(before: &ManagedAccount, now: &ManagedAccount, differences: &mut Vec<String>) {
    if before == now {
        return;
    }
    let ManagedAccount {
        key: _,
        source,
        dn,
        scim_id,
        account_id,
        profile,
        lifecycle,
        absence,
    } = before;
    let mut differs = |what: &str, before: &dyn Display, now: &dyn Display| {
        tell(differences, &format!("the snapshot's {what}"), before, now);
    };
    differs("source", source, &now.source);
    differs("entry", dn, &now.dn);
    differs("SCIM id", scim_id, &now.scim_id);
    differs("account id", &shown(account_id), &shown(&now.account_id));
    differs("lifecycle", &stage(*lifecycle), &stage(now.lifecycle));
    differs("absence", &away(*absence), &away(now.absence));
    for change in changed(profile, &now.profile) {
        differs(&change.attribute, &shown(&change.old), &shown(&change.new));
    }
}

fn accounts(before: &ExistingAccount, now: &ExistingAccount, differences: &mut Vec<String>) {
    let ExistingAccount {
        scim_id,
        account_id,
        external_id,
        profile,
        active,
    } = before;
    let mut differs = |what: &str, before: &dyn Display, now: &dyn Display| {
        tell(
            differences,
            &format!("the organization's {what}"),
            before,
            now,
        );
    };
    differs("SCIM id", scim_id, &now.scim_id);
    differs("account id", &shown(account_id), &shown(&now.account_id));
    differs("externalId", &shown(external_id), &shown(&now.external_id));
    differs("active", active, &now.active);
    for change in changed(profile, &now.profile) {
        differs(&change.attribute, &shown(&change.old), &shown(&change.new));
    }
}

/// Tells how something is now, unless it is as before.
pub(super) fn tell(
    differences: &mut Vec<String>,
    what: &str,
    before: &dyn Display,
    now: &dyn Display,
) {
    let (before, now) = (before.to_string(), now.to_string());
    if before != now {
        differences.push(format!("{what}: {before} → {now}"));
    }
}

fn stage(lifecycle: Lifecycle) -> String {
    let (name, since) = match lifecycle {
        Lifecycle::Active => return "active".to_owned(),
        Lifecycle::Deactivated { since } => ("deactivated", since),
        Lifecycle::DeletePending { since } => ("being deleted", since),
        Lifecycle::Deleted { since } => ("deleted", since),
    };
    format!("{name} since {}", since.to_rfc3339())
}

fn away(absence: Option<Absence>) -> String {
    let Some(absence) = absence else {
        return shown(&None::<String>);
    };
    let cause = absence.cause.map(|cause| format!(", {cause}"));
    format!(
        "since {}, seen by {} pulls{}",
        absence.since.to_rfc3339(),
        absence.pulls,
        cause.unwrap_or_default()
    )
}

/// A value that there may be.
pub(super) fn shown<T: ToString>(value: &Option<T>) -> String {
    let text = value.as_ref().map(ToString::to_string);
    text.unwrap_or_else(|| "(none)".to_owned())
}

fn changed(before: &Profile, now: &Profile) -> Vec<Change> {
    super::draft::differences(before, now)
}

/// The first account that stands in the way of a creation: it has the key, the name or the
/// address.
pub fn in_the_way<'a>(
    operation: &Operation,
    accounts: impl IntoIterator<Item = &'a ExistingAccount>,
) -> Option<&'a ExistingAccount> {
    let has = |account: &ExistingAccount| {
        let same = |attribute| {
            let ours = operation.after.get(attribute).map(fold);
            ours.is_some() && ours == account.profile.get(attribute).map(fold)
        };
        let theirs = account.external_id.as_ref().map(|id| fold(id.as_str()));
        theirs == Some(fold(operation.key.as_str()))
            || same(Attribute::UserName)
            || same(Attribute::Email)
    };
    accounts
        .into_iter()
        .filter(|_| operation.kind == Kind::Create)
        .find(|account| has(account))
}
