//! What is done to groups of the organization, as the guards see it.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::{Guarded, Scope, over_limits};
use super::{Approval, Found, HoldCause, Plan, always, approvals_of, hold_prefix};
use crate::config::{Guard, Guards, Per};
use crate::model::{Attribute, Digest, RunId, Timestamp};

/// A change to a group.
#[derive(Clone, Debug)]
pub struct GroupChange<'a> {
    /// The group's name, before.
    pub name: &'a str,
    /// How many members it has before this; the same in each change to one group.
    pub members: u64,
    /// How many of them it loses; all, where it is deleted.
    pub removed: u64,
    /// Whether it leaves a group of administrators without an active member: see
    /// [`GuardedGroups::loses_all`](super::GuardedGroups::loses_all).
    pub loses_administrators: bool,
    /// The runs that have put back what it does again.
    pub reverted_by: Vec<RunId>,
    /// Whether accounts join or leave it that carried another key when the organization was last read back.
    pub is_rekeyed: bool,
    /// The digest of what is done to it: an approval is good for exactly this.
    pub digest: Digest,
    /// The holds that somebody left it in when others were approved.
    pub left_out: Option<&'a BTreeSet<String>>,
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

impl Plan {
    /// The hook for whoever plans changes to groups: adds the holds over them to the plan, and
    /// tells for each change the indices of those that hold it. Held are removals of members
    /// beyond a limit, what is done to protected groups, what leaves no administrator, what falls into a
    /// freeze, what was reverted, and that accounts join or leave which may be another tool's by now. The holds of a revert have names of their own.
    /// `memberships` is how many members the groups that dirsyncd manages have together, the
    /// same person once in each.
    ///
    /// A hold that is there for accounts already, such as `freeze`, is one for both.
    pub fn hold_groups(
        &mut self,
        changes: &[GroupChange<'_>],
        memberships: u64,
        guards: &Guards,
        approvals: &[Approval],
        now: Timestamp,
    ) -> Vec<Vec<usize>> {
        let given = approvals_of(changes.iter().map(|change| change.digest), approvals);
        let is_approved = |name: &str, at: usize| {
            let mut given = given[at].iter();
            given.any(|approval| approval.hold == name)
        };
        let mut members_of: BTreeMap<&str, u64> = BTreeMap::new();
        for change in changes {
            let members = members_of.entry(change.name).or_default();
            *members = change.members.max(*members);
        }
        let members = |_: Guard, scope: &Scope| match scope {
            Scope::Group(name) => members_of.get(name.as_str()).copied().unwrap_or_default(),
            _ => memberships,
        };
        let is_left_out = |name: &str, at: usize| {
            let holds = changes[at].left_out;
            holds.is_some_and(|holds| holds.contains(name))
        };
        let mut found = over_limits(changes, guards, members, is_approved, is_left_out);
        found.extend(always::hold_all(
            changes,
            HoldCause::Protected,
            is_approved,
            |change| guards.protects_group(change.name),
        ));
        let without = changes.iter().filter(|change| change.loses_administrators);
        let without: BTreeSet<&str> = without.map(|change| change.name).collect();
        let cause = HoldCause::Administrators {
            groups: without.into_iter().map(str::to_owned).collect(),
            missing: Vec::new(),
        };
        found.extend(always::hold_all(changes, cause, is_approved, |change| {
            change.loses_administrators
        }));
        let is_named = |what: Option<&BTreeSet<Guard>>, change: &GroupChange| {
            what.is_none_or(|what| what.iter().any(|guard| change.counts(*guard) > 0))
        };
        found.extend(always::freeze(changes, guards, now, is_approved, is_named));
        let by = changes.iter().flat_map(|change| &change.reverted_by);
        let by: BTreeSet<RunId> = by.copied().collect();
        let by = by.into_iter().collect();
        let cause = HoldCause::Reverted { by };
        found.extend(always::hold_all(changes, cause, is_approved, |change| {
            !change.reverted_by.is_empty()
        }));
        let cause = HoldCause::Rekeyed;
        found.extend(always::hold_all(changes, cause, is_approved, |change| {
            change.is_rekeyed
        }));
        let prefix = self.reverts.map_or(String::new(), hold_prefix);
        let mut holds_of = vec![Vec::new(); changes.len()];
        for Found {
            mut hold,
            operations,
        } in found
        {
            hold.name.insert_str(0, &prefix);
            let same = self.holds.iter().position(|other| other.name == hold.name);
            let at = same.unwrap_or(self.holds.len());
            match same {
                Some(at) => {
                    self.holds[at].planned += hold.planned;
                    self.holds[at].cause.extend(hold.cause);
                }
                None => self.holds.push(hold),
            }
            for change in operations {
                holds_of[change].push(at);
            }
        }
        holds_of
    }
}
