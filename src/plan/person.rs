//! A plan for one person.

use std::collections::{BTreeSet, HashMap};

use super::{Plan, Refusal, RefusalReason};
use crate::model::ExternalId;

/// Leaves of a plan what concerns one person: the person's operations, and those that have to come
/// before them. `held` are the open holds of the last run for all, by the digests of what they
/// hold: what was held then is not let through by looking at the person alone.
pub fn one_person(plan: &mut Plan, person: &ExternalId, held: &HashMap<[u8; 16], String>) {
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
    plan.operations
        .retain(|planned| wanted.contains(&planned.operation.key));
    let hold_of = |planned: &super::Planned| {
        let hold = held.get(&planned.operation.digest().0)?;
        let is_approved = !planned.approvals.is_empty();
        (!planned.is_held() && !is_approved).then(|| hold.clone())
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
    let goes: BTreeSet<&ExternalId> = plan
        .operations
        .iter()
        .map(|planned| &planned.operation.key)
        .collect();
    plan.notes
        .retain(|note| note.key == *person && !goes.contains(person));
}
