//! A plan for one person.

use std::collections::{BTreeMap, BTreeSet};

use super::{Approval, Plan, Refusal, RefusalReason};
use crate::model::{ExternalId, Reason};

/// What open holds hold: of whom, and which kind of operation, by which holds.
pub type HeldForAll = BTreeMap<(ExternalId, String), BTreeSet<String>>;

/// Leaves of a plan what concerns one person: the person's operations, and those that have to come
/// before them. What is held by a run for all is not let through by looking at one person, unless
/// each of its holds has an approval of exactly that.
pub fn one_person(plan: &mut Plan, person: &ExternalId, held: &HeldForAll, approvals: &[Approval]) {
    let mut wanted: BTreeSet<ExternalId> = BTreeSet::from([person.clone()]);
    loop {
        let before = wanted.len();
        for planned in &plan.operations {
            if wanted.contains(&planned.operation.key) {
                wanted.extend(planned.operation.waits_for.iter().cloned());
            }
        }
        if wanted.len() == before {
            break;
        }
    }
    // Of the deletions that are cancelled for those whose account it may be, none waits for a run for all.
    plan.operations.retain(|planned| {
        let operation = &planned.operation;
        wanted.contains(&operation.key) || operation.reason == Reason::Claimed
    });
    let hold_of = |planned: &super::Planned| {
        if planned.is_held() {
            return None;
        }
        let operation = &planned.operation;
        let place = (operation.key.clone(), operation.kind.name().to_owned());
        let digest = operation.digest();
        let is_approved = |hold: &String| {
            let mut given = approvals.iter();
            given.any(|approval| approval.hold == *hold && approval.digest == digest)
        };
        let mut holds = held.get(&place)?.iter();
        holds.find(|hold| !is_approved(hold)).cloned()
    };
    // One that cannot go takes the others along, as they belong together.
    if let Some(hold) = plan.operations.iter().find_map(hold_of) {
        for planned in std::mem::take(&mut plan.operations) {
            if planned.operation.key == *person {
                plan.refusals.push(Refusal {
                    key: Some(person.clone()),
                    source: planned.operation.source.clone(),
                    dn: planned.operation.dn.clone(),
                    why: RefusalReason::Held { hold: hold.clone() },
                });
                break;
            }
        }
    }
    let of_person = |key: &Option<ExternalId>| key.as_ref() == Some(person);
    plan.refusals.retain(|refusal| of_person(&refusal.key));
    plan.skipped.retain(|skipped| of_person(&skipped.key));
    plan.over_failures.retain(|key| key == person);
    plan.over_pending.retain(|key| key == person);
    plan.pending.retain(|pending| pending.key == *person);
    plan.notes.retain(|note| note.key == *person);
}
