//! What becomes of groups, as text and as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::json::undo as undo_json;
use super::text::{Detail, group, left, line, number, undo};
use crate::apply::GroupsApplied;
use crate::model::{GroupChange, GroupMember, GroupOperation};
use crate::plan::groups::{GroupNoticed, GroupPlan, PlannedGroup};
use crate::plan::{Plan, Undo};

/// The sections of a plan about groups.
pub(super) fn text(out: &mut String, whole: &Plan, plan: &GroupPlan, detail: Detail) {
    for kind in GroupChange::ALL {
        let planned: Vec<(usize, &PlannedGroup)> = plan
            .operations
            .iter()
            .enumerate()
            .filter(|(_, planned)| planned.operation.kind == kind)
            .collect();
        group(out, heading(kind), planned.len(), detail, |out, nth| {
            let (at, planned) = planned[nth];
            let is_left = whole.carried_over.groups.contains(&at);
            operation(out, whole, planned, is_left, detail);
        });
    }
    let suspensions = &plan.suspensions;
    let title = "Groups out of which nobody is taken in this run";
    group(out, title, suspensions.len(), detail, |out, at| {
        let suspension = &suspensions[at];
        let group = suspension.group.as_ref();
        let what = group.map_or_else(
            || format!("all that is found below {}", suspension.place),
            |group| format!("{group} ({})", suspension.place),
        );
        line(out, &format!("  ! {what}: {}", suspension.why));
    });
    let title = "Groups refused: correct these";
    group(out, title, plan.refusals.len(), detail, |out, at| {
        let refusal = &plan.refusals[at];
        line(out, &format!("  ! {}", refusal.dn));
        line(out, &format!("      {}", refusal.why));
    });
    let title = "To know about groups";
    group(out, title, plan.notices.len(), detail, |out, at| {
        let notice = &plan.notices[at];
        let what = noticed(&notice.what, detail);
        line(out, &format!("  . {}: {what}", notice.group));
    });
}

fn heading(kind: GroupChange) -> &'static str {
    match kind {
        GroupChange::Create => "Create groups",
        GroupChange::Adopt => "Adopt groups: take over groups that the organization has",
        GroupChange::Rename => {
            "Rename groups: the target cannot, so a new one takes the place of the old one"
        }
        GroupChange::Update => "Change the members of groups",
        GroupChange::Delete => "Delete groups; their members keep their accounts",
    }
}

fn operation(
    out: &mut String,
    whole: &Plan,
    planned: &PlannedGroup,
    is_left: bool,
    detail: Detail,
) {
    let PlannedGroup {
        operation,
        holds,
        tried_in_vain: _,
    } = planned;
    let sign = match operation.kind {
        GroupChange::Create => '+',
        GroupChange::Adopt => '=',
        GroupChange::Rename | GroupChange::Update => '~',
        GroupChange::Delete => 'x',
    };
    let held = match holds.as_slice() {
        [] => String::new(),
        holds => format!(" [held: {}]", names(whole, holds).join(", ")),
    };
    let left = left(is_left);
    let undo = undo(&Undo::of_group(operation));
    line(
        out,
        &format!("  {sign} {}{held}{left}{undo}", operation.name),
    );
    for origin in &operation.origins {
        line(out, &format!("      {}", origin.dn));
    }
    line(out, &format!("      {}", operation.reason));
    let before = operation.target.as_ref();
    match (operation.kind, before) {
        (GroupChange::Rename, Some(old)) => {
            let steps = format!(
                "      1. create `{}`, 2. add {}, 3. delete `{}`",
                operation.name,
                members(operation.add.len()),
                old.name
            );
            line(out, &steps);
            return list(out, '-', &operation.remove, detail);
        }
        (GroupChange::Delete, Some(old)) => {
            let count = usize::try_from(old.members).unwrap_or(usize::MAX);
            line(out, &format!("      it has {}", members(count)));
        }
        _ => {}
    }
    list(out, '+', &operation.add, detail);
    list(out, '-', &operation.remove, detail);
}

fn list(out: &mut String, sign: char, members: &[GroupMember], detail: Detail) {
    let shown = detail.limit.unwrap_or(members.len()).min(members.len());
    for member in &members[..shown] {
        line(out, &format!("      {sign} {}", member.name));
    }
    let rest = members.len() - shown;
    if rest > 0 {
        let rest = number(rest as u64);
        line(out, &format!("      {sign} … and {rest} more"));
    }
}

fn noticed(what: &GroupNoticed, detail: Detail) -> String {
    /// So many entries stand in one line, unless another limit is given.
    const NAMED: usize = 10;
    let listed = |dns: &[String]| {
        let shown = detail.limit.unwrap_or(NAMED).min(dns.len());
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
    match count {
        1 => "1 member".to_owned(),
        count => format!("{} members", number(count as u64)),
    }
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
pub(super) fn failures(out: &mut String, applied: &GroupsApplied, detail: Detail) {
    let failed = &applied.failed;
    group(out, "Groups failed", failed.len(), detail, |out, at| {
        let (operation, error) = &failed[at];
        let dns: Vec<&str> = operation
            .origins
            .iter()
            .map(|one| one.dn.as_str())
            .collect();
        line(
            out,
            &format!("  ! {} ({})", operation.name, dns.join(" and ")),
        );
        line(out, &format!("      {error}"));
    });
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
                "message": noticed(&notice.what, Detail::default()),
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
