//! What is done to groups of the organization, as the guards see it.

use super::limits::{Guarded, Scope, over_limits};
use super::{Approval, Found, Hold, HoldCause, always};
use crate::config::{Guard, Guards, Per};
use crate::model::{Attribute, Digest, Timestamp};

/// A change to a group.
#[derive(Clone, Debug)]
pub struct GroupChange<'a> {
    /// The group's name, before.
    pub name: &'a str,
    /// How many members it has.
    pub members: u64,
    /// How many of them it loses; all, where it is deleted.
    pub removed: u64,
    /// The digest of what is done to it: an approval is good for exactly this.
    pub digest: Digest,
}

impl Guarded for GroupChange<'_> {
    fn counts(&self, guard: Guard) -> u64 {
        match guard {
            Guard::RemoveMembers => self.removed,
            _ => 0,
        }
    }

    fn changed(&self) -> Vec<Attribute> {
        Vec::new()
    }

    fn scope(&self, per: Per) -> Option<Scope> {
        match per {
            Per::Whole => Some(Scope::Whole),
            Per::Group => Some(Scope::Group(self.name.to_owned())),
            Per::Source | Per::Ou | Per::Domain => None,
        }
    }
}

/// The holds over changes to groups, each with the indices of those that it holds: removals of
/// members beyond a limit, what is done to protected groups, and what falls into a freeze.
/// `memberships` is how many members all groups have together that dirsyncd manages, the same
/// person once in each.
///
/// This is the hook for whoever plans group operations. A freeze that holds everything, and
/// `protected`, have the same name for groups as for accounts: where there is one already, the
/// two are one hold, whose `planned` is the sum.
pub fn hold_groups(
    changes: &[GroupChange<'_>],
    memberships: u64,
    guards: &Guards,
    approvals: &[Approval],
    now: Timestamp,
) -> Vec<(Hold, Vec<usize>)> {
    let is_approved = |name: &str, at: usize| {
        let mut given = approvals.iter();
        given.any(|approval| approval.hold == name && approval.digest == changes[at].digest)
    };
    let members = |_: Guard, scope: &Scope| match scope {
        Scope::Group(name) => changes
            .iter()
            .filter(|change| change.name == name)
            .map(|change| change.members)
            .sum(),
        _ => memberships,
    };
    let mut found = over_limits(changes, guards, members, is_approved);
    found.extend(always::hold_all(
        changes,
        HoldCause::Protected,
        is_approved,
        |change| guards.protects_group(change.name),
    ));
    found.extend(always::freeze(
        changes,
        guards,
        now,
        is_approved,
        |guard, change| change.counts(guard),
    ));
    found
        .into_iter()
        .map(|Found { hold, operations }| (hold, operations))
        .collect()
}
