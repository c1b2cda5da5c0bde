//! What becomes of groups, as text and as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::json::undo as undo_json;
use super::sheet::{Item, Section, Tone, hold_names, left, undo};
use super::text::{number, several};
use crate::apply::GroupsApplied;
use crate::model::{GroupChange, GroupOperation};
use crate::plan::groups::{GroupNoticed, GroupPlan, PlannedGroup};
use crate::plan::{Plan, Undo};

/// The sections of a plan about groups. So many entries are named where several stand in one line.
pub(super) fn sections<'p>(
    whole: &'p Plan,
    plan: &'p GroupPlan,
    limit: Option<usize>,
) -> Vec<Section<'p>> {
    let kinds = GroupChange::ALL.into_iter().map(|kind| {
        let planned: Vec<(usize, &PlannedGroup)> = plan
            .operations
            .iter()
            .enumerate()
            .filter(|(_, planned)| planned.operation.kind == kind)
            .collect();
        let (title, tone) = heading(kind);
        Section::new("groups", title, tone, planned.len(), move |nth| {
            let (at, planned) = planned[nth];
            operation(whole, planned, whole.carried_over.groups.contains(&at))
        })
    });
    let suspensions = Section::new(
        "suspended",
        "Groups out of which nobody is taken in this run",
        Tone::Warning,
        plan.suspensions.len(),
        |at| {
            let suspension = &plan.suspensions[at];
            let group = suspension.group.as_ref();
            Item {
                sign: '!',
                name: group.map_or_else(
                    || format!("all that is found below {}", suspension.place),
                    |group| format!("{group} ({})", suspension.place),
                ),
                brief: Some(suspension.why.clone()),
                ..Item::default()
            }
        },
    );
    let refusals = Section::new(
        "refused",
        "Groups refused: correct these",
        Tone::Bad,
        plan.refusals.len(),
        |at| Item {
            sign: '!',
            name: plan.refusals[at].dn.clone(),
            facts: vec![plan.refusals[at].why.clone()],
            ..Item::default()
        },
    );
    let notices = Section::new(
        "notices",
        "To know about groups",
        Tone::Plain,
        plan.notices.len(),
        move |at| Item {
            sign: '.',
            name: plan.notices[at].group.clone(),
            brief: Some(noticed(&plan.notices[at].what, limit)),
            ..Item::default()
        },
    );
    kinds.chain([suspensions, refusals, notices]).collect()
}

fn heading(kind: GroupChange) -> (&'static str, Tone) {
    match kind {
        GroupChange::Create => ("Create groups", Tone::Good),
        GroupChange::Adopt => (
            "Adopt groups: take over groups that the organization has",
            Tone::Plain,
        ),
        GroupChange::Rename => (
            "Rename groups: the target cannot, so a new one takes the place of the old one",
            Tone::Plain,
        ),
        GroupChange::Update => ("Change the members of groups", Tone::Plain),
        GroupChange::Delete => (
            "Delete groups; their members keep their accounts",
            Tone::Bad,
        ),
    }
}

fn operation<'p>(whole: &'p Plan, planned: &'p PlannedGroup, is_left: bool) -> Item<'p> {
    let PlannedGroup {
        operation,
        holds,
        tried_in_vain: _,
    } = planned;
    let mut item = Item {
        sign: match operation.kind {
            GroupChange::Create => '+',
            GroupChange::Adopt => '=',
            GroupChange::Rename | GroupChange::Update => '~',
            GroupChange::Delete => 'x',
        },
        name: operation.name.clone(),
        joins: &operation.add,
        leaves: &operation.remove,
        ..Item::default()
    };
    if !holds.is_empty() {
        let names = hold_names(whole, holds);
        item.marks.push(format!("held: {names}"));
    }
    item.marks.extend(left(is_left));
    item.marks.extend(undo(&Undo::of_group(operation)));
    let origins = operation.origins.iter();
    item.facts.extend(origins.map(|origin| origin.dn.clone()));
    item.facts.push(operation.reason.to_string());
    match (operation.kind, operation.target.as_ref()) {
        (GroupChange::Rename, Some(old)) => {
            item.facts.push(format!(
                "1. create `{}`, 2. add {}, 3. delete `{}`",
                operation.name,
                members(operation.add.len()),
                old.name
            ));
            item.joins = &[];
        }
        (GroupChange::Delete, Some(old)) => {
            let count = usize::try_from(old.members).unwrap_or(usize::MAX);
            item.facts.push(format!("it has {}", members(count)));
        }
        _ => {}
    }
    item
}

fn noticed(what: &GroupNoticed, limit: Option<usize>) -> String {
    /// So many entries stand in one line, unless another limit is given.
    const NAMED: usize = 10;
    let listed = |dns: &[String]| {
        let shown = limit.unwrap_or(NAMED).min(dns.len());
        let mut text = dns[..shown].join("; ");
        if shown < dns.len() {
            let _ = write!(text, "; … and {} more", dns.len() - shown);
        }
        text
    };
    match what {
        GroupNoticed::Joined(dns) => {
            format!("several groups lead to it: {}", listed(dns))
        }
        GroupNoticed::WithoutAccount(dns) => {
            let count = members(dns.len());
            format!("{count} without an account: {}", listed(dns))
        }
        GroupNoticed::Foreign(count) => {
            let count = members(usize::try_from(*count).unwrap_or(usize::MAX));
            format!("has {count} whose account is not kept here, left alone")
        }
        GroupNoticed::Kept(why) => format!("kept: {why}"),
        GroupNoticed::PutOff(why) => why.clone(),
        GroupNoticed::PutBack(names) => format!(
            "put back by `dirsyncd revert`, and held by `reverted` once the rest is done: {}",
            listed(names)
        ),
    }
}

fn members(count: usize) -> String {
    several(count as u64, "member", "members")
}

/// The names of the holds with these indices.
fn names<'p>(whole: &'p Plan, holds: &[usize]) -> Vec<&'p str> {
    let named = holds.iter().filter_map(|at| whole.holds.get(*at));
    named.map(|hold| hold.name.as_str()).collect()
}

/// What is done to a group, in a word.
pub(super) fn verb(kind: GroupChange) -> &'static str {
    match kind {
        GroupChange::Create => "create",
        GroupChange::Adopt => "adopt",
        GroupChange::Rename => "rename",
        GroupChange::Update => "change",
        GroupChange::Delete => "delete",
    }
}

/// The figures, for the line at the end.
pub(super) fn summary_line(plan: &GroupPlan) -> String {
    let counts = GroupChange::ALL.map(|kind| (plan.count(kind) as u64, verb(kind)));
    let mut parts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, verb)| format!("{} to {verb}", number(count)))
        .collect();
    if !plan.refusals.is_empty() {
        parts.push(format!("{} refused", number(plan.refusals.len() as u64)));
    }
    parts.push(format!("{} unchanged", number(plan.unchanged)));
    parts.join(", ")
}

/// The groups that failed.
pub(super) fn failures(applied: &GroupsApplied) -> Section<'_> {
    let failed = &applied.failed;
    Section::new("failed", "Groups failed", Tone::Bad, failed.len(), |at| {
        let (operation, error) = &failed[at];
        let origins = operation.origins.iter();
        let dns: Vec<&str> = origins.map(|one| one.dn.as_str()).collect();
        Item {
            sign: '!',
            name: format!("{} ({})", operation.name, dns.join(" and ")),
            facts: vec![error.to_string()],
            ..Item::default()
        }
    })
}

/// What a plan has about groups.
pub(super) fn json(whole: &Plan, plan: &GroupPlan) -> Value {
    json!({
        "operations": plan.operations.iter().enumerate().map(|(at, planned)| {
            one(whole, planned, whole.carried_over.groups.contains(&at))
        }).collect::<Vec<_>>(),
        "refused": plan.refusals.iter().map(|refusal| json!({
            "dn": refusal.dn,
            "reason": refusal.why,
        })).collect::<Vec<_>>(),
        "suspended": plan.suspensions.iter().map(|suspension| json!({
            "group": suspension.group,
            "place": suspension.place,
            "reason": suspension.why,
        })).collect::<Vec<_>>(),
        "notices": plan.notices.iter().map(|notice| {
            let (kind, count, dns) = match &notice.what {
                GroupNoticed::Joined(dns) => ("joined", Some(dns.len() as u64), Some(dns)),
                GroupNoticed::WithoutAccount(dns) => {
                    ("without_account", Some(dns.len() as u64), Some(dns))
                }
                GroupNoticed::Foreign(count) => ("foreign", Some(*count), None),
                GroupNoticed::Kept(_) => ("kept", None, None),
                GroupNoticed::PutBack(names) => ("put_back", Some(names.len() as u64), None),
                GroupNoticed::PutOff(_) => ("put_off", None, None),
            };
            json!({
                "group": notice.group,
                "kind": kind,
                "count": count,
                "dns": dns,
                "message": noticed(&notice.what, None),
            })
        }).collect::<Vec<_>>(),
    })
}

fn one(
    whole: &Plan,
    PlannedGroup {
        operation, holds, ..
    }: &PlannedGroup,
    is_left: bool,
) -> Value {
    let GroupOperation {
        kind,
        reason,
        key,
        name,
        origins,
        target,
        add,
        remove,
        former: _,
        undoes: _,
    } = operation;
    let (leaving, of) = operation.removals();
    json!({
        "kind": kind,
        "key": key,
        "name": name,
        "origins": origins.iter().map(|origin| json!({
            "source": origin.source,
            "key": origin.key,
            "dn": origin.dn,
        })).collect::<Vec<_>>(),
        "scim_id": target.as_ref().map(|target| &target.scim_id),
        "replaces": target.as_ref().filter(|target| target.name != *name).map(|target| &target.name),
        "reason": reason,
        "message": reason.to_string(),
        "add": add,
        "remove": remove,
        "members_before": of,
        "members_leaving": leaving,
        // The first of them.
        "hold": holds.first(),
        "holds": names(whole, holds),
        "carried_over": is_left,
        "undo": undo_json(&Undo::of_group(operation)),
    })
}

/// The figures of a plan's groups.
pub(super) fn summary(plan: &GroupPlan) -> Value {
    let planned: Map<String, Value> = GroupChange::ALL
        .into_iter()
        .map(|kind| (kind.name().to_owned(), json!(plan.count(kind))))
        .collect();
    let members = |list: fn(&GroupOperation) -> usize| -> usize {
        let operations = plan.operations.iter();
        operations.map(|planned| list(&planned.operation)).sum()
    };
    json!({
        "planned": planned,
        "members_joining": members(|operation| operation.add.len()),
        "members_leaving": members(|operation| operation.remove.len()),
        "refused": plan.refusals.len(),
        "suspended": plan.suspensions.len(),
        "unchanged": plan.unchanged,
    })
}
