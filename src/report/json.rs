//! The plan as JSON, for programs. `version` changes when a field changes its meaning or goes.

use serde_json::{Map, Value, json};

use super::{SavedPlan, groups};
use crate::apply::{Applied, EndedBy};
use crate::model::{Attribute, Kind, RunId};
use crate::plan::{
    Failing, Forecast, Foreseen, Hold, HoldCause, Plan, Planned, RefusalReason, SkipReason, Undo,
};

/// The plan as JSON. Two plans from the same inputs give the same text, but for the time that its
/// requests are going to take.
pub fn json(plan: &Plan) -> Value {
    let mut whole = json!({
        "version": 1,
        "reverts": plan.reverts,
        "pulls": plan.pulls.iter().map(|(source, figures)| {
            json!({ "source": source, "entries": figures.entries, "changed": figures.changed })
        }).collect::<Vec<_>>(),
        "operations": plan.operations.iter().enumerate().map(|(at, planned)| {
            let is_left = plan.carried_over.accounts.contains(&at);
            operation(plan, planned, is_left)
        }).collect::<Vec<_>>(),
        "holds": plan.holds.iter().map(hold).collect::<Vec<_>>(),
        "refused": plan.refusals.iter().map(|refusal| json!({
            "key": refusal.key,
            "source": refusal.source,
            "dn": refusal.dn,
            "reason": refusal.why.to_string(),
            "failing": match &refusal.why {
                RefusalReason::Quarantined(failing) => self::failing(failing),
                _ => Value::Null,
            },
        })).collect::<Vec<_>>(),
        "skipped": plan.skipped.iter().map(|skipped| json!({
            "key": skipped.key,
            "dn": skipped.dn,
            "reason": skipped.why.to_string(),
            "failing": match &skipped.why {
                SkipReason::Failing(failing) => self::failing(failing),
                _ => Value::Null,
            },
        })).collect::<Vec<_>>(),
        "suspended": plan.suspensions.iter().map(|suspension| json!({
            "source": suspension.source,
            "absent": suspension.absent,
            "reason": suspension.why.to_string(),
        })).collect::<Vec<_>>(),
        "notices": plan.notices.iter().map(|notice| json!({
            "source": notice.source,
            "message": notice.what.to_string(),
        })).collect::<Vec<_>>(),
        "forecast": forecast(plan),
        "summary": summary(plan, None),
    });
    if let Some(groups) = &plan.groups {
        whole["groups"] = groups::json(plan, groups);
    }
    whole
}

/// The plan of a run and what became of it; `saved` is the saved plan that it was.
pub(super) fn outcome(
    run: RunId,
    plan: &Plan,
    applied: &Applied,
    saved: Option<&SavedPlan>,
) -> Value {
    let mut outcome = json(plan);
    outcome["run"] = json!(run);
    outcome["plan"] = saved
        .map(|saved| json!({ "id": saved.id, "made_at": saved.made_at }))
        .into();
    outcome["failed"] = applied
        .failed
        .iter()
        .map(|(operation, error)| {
            json!({
                "kind": operation.kind,
                "key": operation.key,
                "dn": operation.dn,
                "account": operation.label(),
                "error": error,
            })
        })
        .collect();
    outcome["summary"] = summary(plan, Some(applied));
    outcome
}

fn forecast(plan: &Plan) -> Value {
    let Forecast {
        foreseen,
        unseen_rights,
        unseen_addresses,
        calls,
        estimate,
        deadline,
    } = &plan.forecast;
    json!({
        "foreseen": foreseen.iter().map(|(key, foreseen)| json!({
            "key": key,
            "kind": match foreseen {
                Foreseen::Linked(_) => "linked",
                Foreseen::Conflict(_) => "conflict",
            },
            "message": foreseen.to_string(),
        })).collect::<Vec<_>>(),
        "unseen_rights": unseen_rights,
        "unseen_addresses": unseen_addresses,
        "calls": calls.as_ref().map(|calls| calls.iter().map(|call| json!({
            "method": call.endpoint.method,
            "path": call.endpoint.path,
            "count": call.count,
        })).collect::<Vec<_>>()),
        "time": estimate.map(|estimate| json!({
            "seconds": estimate.time.as_secs(),
            "paced_by": estimate.by.to_string(),
        })),
        "max_calls": plan.carried_over.max_calls,
        "deadline_seconds": deadline.map(|deadline| deadline.num_seconds()),
    })
}

fn hold(hold: &Hold) -> Value {
    let limit = match &hold.cause {
        HoldCause::Limit {
            guard,
            attribute,
            scope,
            allowed,
            population,
        } => Some((guard, attribute, scope, allowed, population)),
        HoldCause::Protected
        | HoldCause::Administrators { .. }
        | HoldCause::Freeze { .. }
        | HoldCause::Clock { .. }
        | HoldCause::Reverted { .. }
        | HoldCause::Rekeyed
        | HoldCause::Saved { .. } => None,
    };
    json!({
        "name": hold.name,
        "guard": limit.map_or(hold.name.as_str(), |(guard, ..)| guard.name()),
        "attribute": limit.and_then(|(_, attribute, ..)| *attribute).map(Attribute::name),
        "scope": limit.map(|(_, _, scope, ..)| scope.name()),
        "planned": hold.planned,
        "allowed": limit.map(|(_, _, _, allowed, _)| allowed),
        "population": limit.map(|(_, _, _, _, population)| population),
        "number": hold.opened.map(|opened| opened.number),
        "since": hold.opened.map(|opened| opened.since),
        "expires": hold.opened.map(|opened| opened.until),
        "message": hold.to_string(),
    })
}

/// What was refused before, and when it is tried again.
fn failing(failing: &Failing) -> Value {
    let Failing {
        key: _,
        kind,
        count,
        error,
        first,
        last,
        until,
        is_overdue: _,
    } = failing;
    json!({
        "kind": kind,
        "count": count,
        "error": error,
        "first": first,
        "last": last,
        // None in quarantine.
        "next_try": until,
    })
}

fn operation(plan: &Plan, planned: &Planned, is_left: bool) -> Value {
    let Planned {
        operation,
        holds,
        waits,
        approvals: _,
        undo,
        tried_in_vain: _,
        is_rekeyed: _,
    } = planned;
    let names = |holds: &[usize]| -> Vec<&str> {
        let named = holds.iter().map(|at| plan.holds[*at].name.as_str());
        named.collect()
    };
    json!({
        "kind": operation.kind,
        "key": operation.key,
        "source": operation.source,
        "dn": operation.dn,
        "account": operation.label(),
        "scim_id": operation.target.as_ref().map(|target| &target.scim_id),
        "account_id": operation.target.as_ref().and_then(|target| target.account_id.as_ref()),
        "reason": operation.reason,
        "message": operation.reason.to_string(),
        "changes": operation.changes,
        // The first of them, or of those that hold what it waits for.
        "hold": holds.first().or(waits.first()),
        "holds": names(holds),
        "held_with": names(waits),
        "approved": planned.is_approved(),
        "carried_over": is_left,
        "undo": self::undo(undo),
    })
}

pub(super) fn undo(undo: &Undo) -> Value {
    json!({
        "how": undo.name(),
        "until": undo.until(),
        "message": undo.to_string(),
    })
}

fn skipped(plan: &Plan, is_meant: impl Fn(&SkipReason) -> bool) -> usize {
    let skipped = plan.skipped.iter();
    skipped.filter(|skipped| is_meant(&skipped.why)).count()
}

/// The logins that are to be turned off and are still on: when the run ended, or by the earlier runs.
fn pending(plan: &Plan, applied: Option<&Applied>) -> Value {
    let Some(applied) = applied else {
        let oldest = plan.oldest_pending();
        return json!({
            "count": oldest.map_or(0, |(count, _)| count),
            "oldest_since": oldest.and_then(|(_, oldest)| oldest.since),
            "oldest_dn": oldest.map(|(_, oldest)| &oldest.dn),
            "oldest_age_seconds": null,
        });
    };
    let pending = applied.pending.as_ref();
    json!({
        "count": pending.map_or(0, |pending| pending.count),
        "oldest_since": pending.map(|pending| pending.since),
        "oldest_dn": pending.map(|pending| &pending.dn),
        "oldest_age_seconds": pending.map(|pending| pending.age.num_seconds()),
    })
}

/// The figures of a run: the same in the journal, in the report and in the daemon's log.
pub fn summary(plan: &Plan, applied: Option<&Applied>) -> Value {
    let planned: Map<String, Value> = Kind::ALL
        .into_iter()
        .map(|kind| (kind.name().to_owned(), json!(plan.count(kind))))
        .collect();
    let mut summary = json!({
        "planned": planned,
        "held": plan.held(),
        "refused": plan.refusals.len(),
        "skipped": plan.skipped.len(),
        "unchanged": plan.unchanged,
        "waiting": skipped(plan, |why| matches!(why, SkipReason::Failing(_) | SkipReason::Behind { .. })),
        "quarantined": plan.refusals.iter().filter(|refusal| {
            matches!(refusal.why, RefusalReason::Quarantined(_))
        }).count(),
        "carried_over": plan.carried_over.len(),
        "pending_deactivations": pending(plan, applied),
        "suspended": plan.suspensions.iter().map(|suspension| suspension.absent).max().unwrap_or_default(),
    });
    if let Some(plan) = &plan.groups {
        summary["groups"] = groups::summary(plan);
    }
    if let Some(applied) = applied {
        summary["applied"] = json!({
            "done": applied.done,
            "failed": applied.failed.len(),
            "left": applied.left,
            "left_of": applied.left_of.iter().map(|(kind, count)| {
                (kind.name().to_owned(), json!(count))
            }).collect::<Map<_, _>>(),
            "unawaited": applied.unawaited,
            "ended_by": match &applied.ended_by {
                None => Value::Null,
                Some(EndedBy::Stop) => json!("stop requested"),
                Some(ended_by) => json!(ended_by.to_string()),
            },
        });
        if plan.groups.is_some() {
            let groups = &applied.groups;
            summary["groups"]["applied"] = json!({
                "done": groups.done,
                "failed": groups.failed.len(),
                "left": groups.left,
            });
        }
    }
    summary
}
