//! What reading the organization back has shown, for people and for programs.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::text::{Detail, group, line, number};
use super::{groups, summary, summary_line};
use crate::config::DriftKind;
use crate::model::{Attribute, ExternalId, ManagedAccount, Profile, RunId, ScimId};
use crate::plan::groups::PlannedGroup;
use crate::plan::{
    Decided, Excess, GroupDrift, Plan, Planned, Reconciliation, Unmanaged, claim_command,
};

/// All of it, as text.
pub fn reconciled(found: &Reconciliation, detail: Detail) -> String {
    let next = Next::of(found);
    let next = next.as_ref();
    let unclaimed = found.unclaimed();
    let mut out = String::new();
    let drifts = &found.drifts;
    group(
        &mut out,
        "Changed in the organization",
        drifts.len(),
        detail,
        |out, at| {
            drift(out, next, &drifts[at]);
        },
    );
    let excess = &found.excess;
    group(
        &mut out,
        "Too much to be taken over",
        excess.len(),
        Detail::default(),
        |out, at| {
            let Excess {
                kind,
                count,
                of,
                allowed,
            } = &excess[at];
            line(
                out,
                &format!(
                    "  ! {kind}: {} of {} accounts, and `limit` in [reconcile] allows {}: if somebody really did that, raise the limit",
                    number(*count),
                    number(*of),
                    number(*allowed)
                ),
            );
        },
    );
    let rebuilt = &found.rebuilt;
    group(
        &mut out,
        "Taken in anew",
        rebuilt.len(),
        detail,
        |out, at| {
            let row = &rebuilt[at].row;
            let login = on_off(row.lifecycle.is_active());
            line(out, &format!("  = {}, login {login}", named(&row.profile)));
            line(out, &format!("      {}", row.dn));
        },
    );
    let unmanaged = &found.unmanaged;
    group(
        &mut out,
        "Nobody's of ours",
        unmanaged.len(),
        detail,
        |out, at| {
            let Unmanaged { account, .. } = &unmanaged[at];
            line(
                out,
                &format!(
                    "  . {}, login {}, SCIM id {}, externalId {}",
                    named(&account.profile),
                    on_off(account.active),
                    account.scim_id,
                    account
                        .external_id
                        .as_ref()
                        .map_or("none", ExternalId::as_str)
                ),
            );
            line(
                out,
                &format!("      {}", of_unmanaged(next, &unclaimed, &unmanaged[at])),
            );
        },
    );
    let drifts = &found.group_drifts;
    let title = "Groups changed in the organization; a sync sets them right";
    group(&mut out, title, drifts.len(), detail, |out, at| {
        let drift = &drifts[at];
        line(out, &format!("  ~ {}: {}", drift.row.name, of_group(drift)));
        let next = next_of_group(next, drift);
        line(out, &format!("      next sync: {next}"));
    });
    let rebuilt = &found.rebuilt_groups;
    group(
        &mut out,
        "Groups taken in anew",
        rebuilt.len(),
        detail,
        |out, at| {
            line(out, &format!("  = {}", rebuilt[at].name));
        },
    );
    let others = &found.unmanaged_groups;
    group(
        &mut out,
        "Groups that are none of ours",
        others.len(),
        detail,
        |out, at| {
            line(out, &format!("  . {}", others[at].name));
        },
    );
    if !out.is_empty() {
        out.push('\n');
    }
    match &found.next {
        None => {}
        Some(Ok(plan)) => line(&mut out, &format!("The next sync: {}", summary_line(plan))),
        Some(Err(why)) => line(
            &mut out,
            &format!("What the next sync does cannot be told: {why}"),
        ),
    }
    line(&mut out, &reconciled_line(found));
    out
}

/// The figures in one line.
pub fn reconciled_line(found: &Reconciliation) -> String {
    let count = |count: usize| number(count as u64);
    let mut parts = vec![format!(
        "{} of {} accounts changed in the organization",
        count(found.drifts.len()),
        number(found.accounts)
    )];
    for (number, words) in [
        (found.taken(), "taken over"),
        (found.left(), "only told"),
        (found.rebuilt.len(), "taken in anew"),
        (found.unmanaged.len(), "nobody's"),
        (found.unclaimed().len(), "of them with login on"),
    ] {
        if number > 0 {
            parts.push(format!("{} {words}", count(number)));
        }
    }
    let groups = match found.groups + found.rebuilt_groups.len() as u64 {
        0 => String::new(),
        _ => format!(
            "; groups: {} of {} changed, {} taken in anew",
            count(found.group_drifts.len()),
            number(found.groups),
            count(found.rebuilt_groups.len())
        ),
    };
    format!("Reconciled: {}{groups}.", parts.join(", "))
}

fn on_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

fn named(profile: &Profile) -> String {
    let email = profile.get(Attribute::Email).unwrap_or("no e-mail");
    format!("{} <{email}>", profile.label())
}

fn drift(out: &mut String, next: Option<&Next<'_>>, decided: &Decided) {
    let Decided { drift, after, left } = decided;
    let row = &drift.row;
    let sign = match drift.kinds.keys().next() {
        Some(DriftKind::Deactivated) => '-',
        Some(DriftKind::Activated) => '^',
        Some(DriftKind::Deleted) => 'x',
        Some(DriftKind::Rekeyed) => '!',
        Some(DriftKind::Changed) | None => '~',
    };
    line(out, &format!("  {sign} {}", named(&row.profile)));
    line(out, &format!("      {}", row.dn));
    if drift.found.is_none() {
        line(out, "      the organization does not have it any more");
    }
    let changes = || drift.kinds.values().flatten();
    let width = changes().map(|change| change.attribute.len()).max();
    let width = width.unwrap_or_default();
    for change in changes() {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        let (old, new) = (value(&change.old), value(&change.new));
        line(
            out,
            &format!("      {:width$}  {old} → {new}", change.attribute),
        );
    }
    let names = |kinds: Vec<&DriftKind>| {
        let names: Vec<&str> = kinds.into_iter().map(|kind| kind.name()).collect();
        names.join(", ")
    };
    if after.is_some() {
        let taken = drift.kinds.keys().filter(|kind| !left.contains(kind));
        line(
            out,
            &format!("      taken over: {}", names(taken.collect())),
        );
    }
    if !left.is_empty() {
        let left = names(left.iter().collect());
        line(out, &format!("      only told: {left}"));
    }
    if drift.kinds.contains_key(&DriftKind::Rekeyed) {
        line(
            out,
            &format!(
                "      it may be another tool's by now: what is to be done to it is held as `rekeyed` until a reconcile finds the key {} there again, or somebody approves it",
                row.key
            ),
        );
    }
    if let Some(next) = next {
        line(out, &format!("      next sync: {}", next.of_row(row)));
    }
}

/// What the next sync does, by whom it does it for.
struct Next<'a> {
    plan: &'a Plan,
    of_person: HashMap<&'a ExternalId, &'a Planned>,
    of_account: HashMap<&'a ScimId, &'a Planned>,
    of_group: HashMap<&'a ExternalId, Vec<&'a PlannedGroup>>,
    /// Why nothing is done.
    why_not: HashMap<&'a ExternalId, String>,
}

impl<'a> Next<'a> {
    /// `None` where the next sync is not known.
    fn of(found: &'a Reconciliation) -> Option<Self> {
        let plan = found.next.as_ref()?.as_ref().ok()?;
        let (mut of_person, mut of_account) = (HashMap::new(), HashMap::new());
        for planned in &plan.operations {
            let operation = &planned.operation;
            for key in [&operation.key, operation.row()] {
                of_person.entry(key).or_insert(planned);
            }
            if let Some(target) = &operation.target {
                of_account.entry(&target.scim_id).or_insert(planned);
            }
        }
        let mut of_group: HashMap<_, Vec<_>> = HashMap::new();
        for planned in plan.groups.iter().flat_map(|groups| &groups.operations) {
            let same = of_group.entry(&planned.operation.key).or_default();
            same.push(planned);
        }
        let mut why_not = HashMap::new();
        let refused = plan.refusals.iter();
        let refused = refused.map(|one| (&one.key, format!("refused: {}", one.why)));
        let skipped = plan.skipped.iter();
        let skipped = skipped.map(|one| (&one.key, format!("skipped: {}", one.why)));
        for (key, why) in refused.chain(skipped) {
            if let Some(key) = key {
                why_not.entry(key).or_insert(why);
            }
        }
        Some(Next {
            plan,
            of_person,
            of_account,
            of_group,
            why_not,
        })
    }

    /// What it does for somebody.
    fn of_row(&self, row: &ManagedAccount) -> String {
        match self.of_person.get(&row.key) {
            Some(planned) => {
                let held = held(self.plan, &planned.holds, planned.is_held());
                format!(
                    "{}, {}{held}",
                    planned.operation.kind, planned.operation.reason
                )
            }
            None => {
                let why_not = self.why_not.get(&row.key).cloned();
                why_not.unwrap_or_else(|| "nothing to do".to_owned())
            }
        }
    }
}

fn held(plan: &Plan, holds: &[usize], is_held: bool) -> String {
    let names: Vec<&str> = holds
        .iter()
        .map(|at| plan.holds[*at].name.as_str())
        .collect();
    match (names.is_empty(), is_held) {
        (false, _) => format!(" [held: {}]", names.join(", ")),
        (true, true) => " [held]".to_owned(),
        (true, false) => String::new(),
    }
}

/// What becomes of an account that is nobody's.
fn of_unmanaged(
    next: Option<&Next<'_>>,
    unclaimed: &HashSet<&ScimId>,
    Unmanaged { account, twin }: &Unmanaged,
) -> String {
    let is_unclaimed = unclaimed.contains(&account.scim_id);
    if let Some(key) = account.external_id.as_ref().filter(|_| is_unclaimed) {
        return format!(
            "its login stays on, as nobody in the directory has its key; if that is a person who has left: {}",
            claim_command(key)
        );
    }
    if let Some(twin) = twin {
        return format!(
            "left alone: its key is that of {}, who has the account {}",
            twin.dn, twin.scim_id
        );
    }
    let alone = || "left alone".to_owned();
    let Some(next) = next else {
        return alone();
    };
    if let Some(planned) = next.of_account.get(&account.scim_id) {
        let operation = &planned.operation;
        let held = held(next.plan, &planned.holds, planned.is_held());
        return format!(
            "next sync: {} for {}, {}{held}",
            operation.kind, operation.dn, operation.reason
        );
    }
    match &account.external_id {
        None => alone(),
        Some(key) => next
            .why_not
            .get(key)
            .cloned()
            .unwrap_or_else(|| "left alone: nobody in the directory has its key".to_owned()),
    }
}

fn of_group(drift: &GroupDrift) -> String {
    let Some(name) = &drift.name else {
        return "the organization does not have it any more".to_owned();
    };
    let mut parts = Vec::new();
    if *name != drift.row.name {
        parts.push(format!("its name is `{name}`"));
    }
    for (words, people) in [("joined", &drift.joined), ("left", &drift.left)] {
        if !people.is_empty() {
            parts.push(format!("{words}: {}", people.join(", ")));
        }
    }
    parts.join("; ")
}

fn next_of_group(next: Option<&Next<'_>>, drift: &GroupDrift) -> String {
    let Some(next) = next else {
        return "reads it anew".to_owned();
    };
    let planned = next.of_group.get(&drift.row.key).into_iter().flatten();
    let told: Vec<String> = planned
        .map(|one| {
            let held = held(next.plan, &one.holds, false);
            let verb = groups::verb(one.operation.kind);
            format!("{verb}, {}{held}", one.operation.reason)
        })
        .collect();
    match told.as_slice() {
        [] => "nothing to do".to_owned(),
        told => told.join("; "),
    }
}

/// All of it, as JSON. `version` changes when a field changes its meaning or goes.
pub fn reconciled_json(run: Option<RunId>, found: &Reconciliation) -> Value {
    let next = Next::of(found);
    let next = next.as_ref();
    let drift = |decided: &Decided| {
        let Decided { drift, after, left } = decided;
        let taken: Vec<&DriftKind> = match after {
            None => Vec::new(),
            Some(_) => drift
                .kinds
                .keys()
                .filter(|kind| !left.contains(kind))
                .collect(),
        };
        json!({
            "key": drift.row.key,
            "source": drift.row.source,
            "dn": drift.row.dn,
            "account": drift.row.profile.label(),
            "scim_id": drift.row.scim_id,
            "kinds": drift.kinds.keys().collect::<Vec<_>>(),
            "changes": drift.kinds.values().flatten().collect::<Vec<_>>(),
            "taken_over": taken,
            "only_told": left,
            "next": next.map(|next| next.of_row(&drift.row)),
        })
    };
    let unclaimed = found.unclaimed();
    let unmanaged = |one: &Unmanaged| {
        json!({
            "scim_id": one.account.scim_id,
            "account_id": one.account.account_id,
            "external_id": one.account.external_id,
            "account": one.account.profile.label(),
            "email": one.account.profile.get(Attribute::Email),
            "active": one.account.active,
            "is_unclaimed": unclaimed.contains(&one.account.scim_id),
            "message": of_unmanaged(next, &unclaimed, one),
        })
    };
    let groups = json!({
        "drifts": found.group_drifts.iter().map(|drift| json!({
            "key": drift.row.key,
            "scim_id": drift.row.scim_id,
            "group": drift.row.name,
            "name": drift.name,
            "joined": drift.joined,
            "left": drift.left,
            "next": next_of_group(next, drift),
        })).collect::<Vec<_>>(),
        "rebuilt": found.rebuilt_groups,
        "unmanaged": found.unmanaged_groups.iter().map(|group| json!({
            "scim_id": group.scim_id,
            "external_id": group.external_id,
            "name": group.name,
        })).collect::<Vec<_>>(),
    });
    json!({
        "version": 1,
        "run": run,
        "drifts": found.drifts.iter().map(drift).collect::<Vec<_>>(),
        "excess": found.excess.iter().map(|excess| json!({
            "kind": excess.kind,
            "count": excess.count,
            "accounts": excess.of,
            "allowed": excess.allowed,
        })).collect::<Vec<_>>(),
        "rebuilt": found.rebuilt.iter().map(|rebuilt| &rebuilt.row).collect::<Vec<_>>(),
        "unmanaged": found.unmanaged.iter().map(unmanaged).collect::<Vec<_>>(),
        "groups": groups,
        "next": match &found.next {
            None => Value::Null,
            Some(Ok(plan)) => summary(plan, None),
            Some(Err(why)) => json!({ "error": why }),
        },
        "summary": reconciled_summary(found),
    })
}

/// The figures: the same in the journal and in the report.
pub fn reconciled_summary(found: &Reconciliation) -> Value {
    json!({
        "accounts": found.accounts,
        "changed": found.drifts.len(),
        "taken_over": found.taken(),
        "only_told": found.left(),
        "rebuilt": found.rebuilt.len(),
        "unmanaged": found.unmanaged.len(),
        "unclaimed": found.unclaimed().len(),
        "groups": {
            "compared": found.groups,
            "changed": found.group_drifts.len(),
            "rebuilt": found.rebuilt_groups.len(),
            "unmanaged": found.unmanaged_groups.len(),
        },
    })
}
