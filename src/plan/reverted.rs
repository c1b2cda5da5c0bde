//! What a revert has put back stays so: the directory has not changed, so a sync would do it
//! again at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::guard::{Found, HoldCause, hold_all};
use super::{Desired, Known, Plan, SkipReason, Skipped};
use crate::model::{Attribute, Digest, Effect, ExternalId, Operation, RunId};

/// An effect of an operation that a revert has undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Its number in the database.
    pub id: i64,
    /// The person whom the operation was about.
    pub key: ExternalId,
    /// The effect, by [`Effect::digest`].
    pub digest: Digest,
    /// The run that put it back.
    pub by: RunId,
}

/// What is undone, by digest, with the runs that did it.
struct ByDigest(BTreeMap<[u8; 16], RunId>);

impl ByDigest {
    fn of(known: &Known) -> Self {
        let undone = known.undone.iter();
        ByDigest(undone.map(|one| (one.digest.0, one.by)).collect())
    }

    /// Those of an operation's effects that were undone, each with the run, and the others.
    fn split(&self, operation: &Operation) -> (Vec<(Effect, RunId)>, Vec<Effect>) {
        let (mut undone, mut others) = (Vec::new(), Vec::new());
        for effect in operation.effects() {
            match self.0.get(&effect.digest(&operation.key).0) {
                Some(by) => undone.push((effect, *by)),
                None => others.push(effect),
            }
        }
        (undone, others)
    }
}

/// The hold over what does again what was reverted.
pub(super) fn again(
    operations: &[Operation],
    known: &Known,
    is_approved: impl Fn(&str, usize) -> bool,
) -> Option<Found> {
    if known.undone.is_empty() {
        return None;
    }
    let by_digest = ByDigest::of(known);
    let mut by = BTreeSet::new();
    for operation in operations {
        by.extend(by_digest.split(operation).0.into_iter().map(|(_, by)| by));
    }
    let by = by.into_iter().collect();
    hold_all(
        operations,
        HoldCause::Reverted { by },
        is_approved,
        |operation| !by_digest.split(operation).0.is_empty(),
    )
}

/// Leaves out of changes of attributes those that a revert has put back, where there are others
/// that nobody has: those go on, and the next run holds the rest.
pub(super) fn leave_out(operations: &mut [Operation], known: &Known) -> Vec<Skipped> {
    if known.undone.is_empty() {
        return Vec::new();
    }
    let by_digest = ByDigest::of(known);
    let mut skipped = Vec::new();
    for operation in operations {
        let (undone, others) = by_digest.split(operation);
        let is_whole = undone.iter().any(|(effect, _)| effect.is_whole());
        if undone.is_empty() || others.is_empty() || is_whole {
            continue;
        }
        let attributes: Vec<Attribute> = undone
            .into_iter()
            .filter_map(|(effect, _)| match effect {
                Effect::Value(attribute, _) => Some(attribute),
                Effect::Deletion | Effect::Login(_) | Effect::Key(_) | Effect::Account(_) => None,
            })
            .collect();
        for attribute in &attributes {
            let before = operation.before.get(*attribute).unwrap_or_default();
            operation.after.set(*attribute, before);
            let name = attribute.name();
            operation.changes.retain(|change| change.attribute != name);
        }
        let names: Vec<&str> = attributes.iter().map(|one| one.name()).collect();
        skipped.push(Skipped {
            key: Some(operation.key.clone()),
            dn: operation.dn.clone(),
            why: SkipReason::PutBack {
                attributes: names.join(", "),
            },
        });
    }
    skipped
}

/// What was undone and the directory does not want any more, by number. Of a person of whom the
/// run does not know what is wanted, it stays.
pub(super) fn unwished(
    desired: &Desired,
    operations: &[Operation],
    plan: &Plan,
    known: &Known,
) -> Vec<i64> {
    let is_partial = desired.pulls.values().any(Result::is_err) || !plan.suspensions.is_empty();
    if known.undone.is_empty() || is_partial {
        return Vec::new();
    }
    let wished: HashSet<[u8; 16]> = operations
        .iter()
        .flat_map(|operation| {
            let digests = operation.effects().into_iter();
            digests.map(|effect| effect.digest(&operation.key).0)
        })
        .collect();
    let refused = plan.refusals.iter().filter_map(|one| one.key.as_ref());
    let skipped = plan.skipped.iter().filter_map(|one| one.key.as_ref());
    let unknown: HashSet<&ExternalId> = refused.chain(skipped).collect();
    known
        .undone
        .iter()
        .filter(|one| !wished.contains(&one.digest.0) && !unknown.contains(&one.key))
        .map(|one| one.id)
        .collect()
}
