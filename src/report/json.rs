//! The plan as JSON, for programs. `version` changes when a field changes its meaning or goes.

use serde_json::{Map, Value, json};

use super::groups;
use crate::apply::{Applied, EndedBy};
use crate::model::Kind;
use crate::plan::{HoldCause, Plan, Planned};

/// The plan as JSON. Two plans from the same inputs give the same text.
pub fn json(plan: &Plan) -> Value {
    let mut whole = json!({
        "version": 1,
        "pulls": plan.pulls.iter().map(|(source, figures)| {
            json!({ "source": source, "entries": figures.entries, "changed": figures.changed })
        }).collect::<Vec<_>>(),
        "operations": plan.operations.iter().map(operation).collect::<Vec<_>>(),
        "holds": plan.holds.iter().map(|hold| {
            let (guard, allowed, population) = match &hold.cause {
                HoldCause::Limit { guard, allowed, population } => {
                    (guard.name(), Some(allowed), Some(population))
                }
                HoldCause::Clock { .. } => ("clock", None, None),
            };
            json!({
                "guard": guard,
                "planned": hold.planned,
                "allowed": allowed,
                "population": population,
                "message": hold.to_string(),
            })
        }).collect::<Vec<_>>(),
        "refused": plan.refusals.iter().map(|refusal| json!({
            "key": refusal.key,
            "source": refusal.source,
            "dn": refusal.dn,
            "reason": refusal.why.to_string(),
        })).collect::<Vec<_>>(),
        "skipped": plan.skipped.iter().map(|skipped| json!({
            "key": skipped.key,
            "dn": skipped.dn,
            "reason": skipped.why.to_string(),
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
        "summary": summary(plan, None),
    });
    if let Some(plan) = &plan.groups {
        whole["groups"] = groups::json(plan);
    }
    whole
}

fn operation(Planned { operation, hold }: &Planned) -> Value {
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
        "hold": hold,
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
            "ended_by": match &applied.ended_by {
                None => Value::Null,
                Some(EndedBy::Stop) => json!("stop requested"),
                Some(EndedBy::Error(error)) => json!(error),
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
