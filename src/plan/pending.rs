//! Whose login is to be turned off and is not yet, and since when: held, refused, put off, carried
//! over or failed, it is a matter of security how long that takes.

use std::collections::HashSet;

use super::{Desired, Known, Plan, SkipReason};
use crate::model::{ExternalId, Operation, Timestamp};

/// A login that is to be turned off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingDeactivation {
    /// The person.
    pub key: ExternalId,
    /// Where the entry stands, or last stood.
    pub dn: String,
    /// When the first run began that planned it; `None` where this one is the first.
    pub since: Option<Timestamp>,
}

/// The logins that these operations turn off, but for a revert's.
pub(super) fn deactivations(operations: &[Operation], known: &Known) -> Vec<PendingDeactivation> {
    let wished = operations
        .iter()
        .filter(|operation| operation.turns_login_off() && operation.undoes.is_none());
    let mut pending: Vec<PendingDeactivation> = wished
        .map(|operation| PendingDeactivation {
            key: operation.key.clone(),
            dn: operation.dn.clone(),
            since: known.pending.get(&operation.key).and_then(|one| one.since),
        })
        .collect();
    pending.sort_by(|a, b| a.key.cmp(&b.key));
    pending
}

/// Adds those of earlier runs of whom this one does not know whether they are still wished, and tells
/// who of them is not to lose the login any more.
pub(super) fn take_over(plan: &mut Plan, desired: &Desired, known: &Known) -> Vec<ExternalId> {
    let is_partial = desired.pulls.values().any(Result::is_err) || !plan.suspensions.is_empty();
    let refused = plan.refusals.iter().filter_map(|one| one.key.as_ref());
    let unknown = plan.skipped.iter().filter(|one| {
        matches!(
            one.why,
            SkipReason::WithoutMail(_) | SkipReason::Unreadable { .. } | SkipReason::Rescoped
        )
    });
    let unknown: HashSet<&ExternalId> = unknown
        .filter_map(|one| one.key.as_ref())
        .chain(refused)
        .collect();
    let planned: HashSet<&ExternalId> = plan.pending.iter().map(|one| &one.key).collect();
    let others = known.pending.values();
    let others = others.filter(|one| !planned.contains(&one.key));
    let (kept, over): (Vec<_>, Vec<_>) =
        others.partition(|one| is_partial || unknown.contains(&one.key));
    let over = over.into_iter().map(|one| one.key.clone()).collect();
    plan.pending.extend(kept.into_iter().cloned());
    over
}

impl Plan {
    /// Of the logins that are to be turned off the one that an earlier run has planned first, and how
    /// many earlier runs have planned.
    pub fn oldest_pending(&self) -> Option<(u64, &PendingDeactivation)> {
        let earlier = self.pending.iter().filter(|one| one.since.is_some());
        let count = earlier.clone().count() as u64;
        let oldest = earlier.min_by(|a, b| (a.since, &a.dn).cmp(&(b.since, &b.dn)))?;
        Some((count, oldest))
    }
}
