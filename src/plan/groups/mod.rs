//! The groups of the organization: which are made, taken over, renamed, filled, emptied and
//! deleted.
//!
//! The target cannot rename, so a group of the organization is its name: one of ours is found
//! again by its name first, and then by its key. A member is taken out only when the directory
//! shows the person, and all that leads to the group was read without a doubt; whoever is not
//! seen stays in. So leavers keep their memberships with their deactivated account, and whoever
//! is disabled follows the directory like everybody else.

mod draft;
mod members;
mod parts;
mod rebuild;
mod resume;
mod revert;
mod reverted;
mod view;

use std::collections::{HashMap, HashSet};

use self::draft::Draft;
use self::members::Accounts;
use self::view::{Sorted, View, kept_names, sort_out};
use super::{Desired, Planned};
use crate::config::GroupRule;
use crate::mapping::{GroupFault, UnmappedGroup};
use crate::model::{
    DesiredGroup, ExistingGroup, ExternalId, GroupChange, GroupOperation, Lifecycle,
    MEMBERS_A_GROUP, ManagedAccount, ManagedGroup, ScimId, Timestamp,
};

pub use parts::Parts;
pub use rebuild::rebuild;
pub use resume::{ExpectedGroup, GroupRow, KeptGroup, ShownGroup, resume};
pub use revert::{GroupNotUndone, LaterGroup, PastGroup, not_undone, revert};
pub use reverted::{UndoneGroup, UndoneGroups};

/// What the search of one rule said.
#[derive(Clone, Debug)]
pub struct RuleRead {
    /// The groups whose name the rule matches.
    pub found: Vec<DesiredGroup>,
    /// Those of which no group of the organization can be made.
    pub unmapped: Vec<UnmappedGroup>,
    /// Whether these are all; else what came instead of a clean end.
    pub clean: Result<(), String>,
}

/// What the snapshot and the organization know of groups.
#[derive(Clone, Debug, Default)]
pub struct KnownGroups {
    /// Those that dirsyncd keeps.
    pub managed: Vec<ManagedGroup>,
    /// As the organization has them: those that dirsyncd keeps, and those that a new one may
    /// be.
    pub existing: Vec<ExistingGroup>,
    /// The accounts of the members, those that the directory names and those that the
    /// organization shows.
    pub people: HashMap<ExternalId, Person>,
    /// Accounts that are not managed, and that newcomers may have already: also where to take them
    /// over is held or refused. For a revert: the users of the organization who are nobody's of ours.
    pub claimed: HashSet<ScimId>,
    /// What reverts have undone, as far as it is not to be done again.
    pub undone: Vec<UndoneGroup>,
    /// For a revert: what later runs did to the same groups.
    pub later: Vec<LaterGroup>,
}

/// A managed account, as far as groups are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The SCIM user.
    pub scim_id: ScimId,
    /// Where the entry last stood.
    pub dn: String,
    /// The name that a person would know the account by.
    pub name: String,
    /// Where the account stands.
    pub lifecycle: Lifecycle,
    /// Whether the person is missing from complete pulls.
    pub has_departed: bool,
}

/// What a run would do, or does, with groups.
#[derive(Clone, Debug, Default)]
pub struct GroupPlan {
    /// The operations in the order in which they are sent.
    pub operations: Vec<PlannedGroup>,
    /// Groups of the directory for which nothing is done because something is wrong with them.
    pub refusals: Vec<GroupRefusal>,
    /// Where nothing is taken away in this run, as it is not known whether that would be right.
    pub suspensions: Vec<GroupSuspension>,
    /// What else is to be known.
    pub notices: Vec<GroupNotice>,
    /// Groups that are as the directory wants them.
    pub unchanged: u64,
    /// How many members the groups that dirsyncd keeps have together, the same person once in
    /// each.
    pub memberships: u64,
    /// Rows of the snapshot to be brought up to date without an outside write.
    pub notes: Vec<ManagedGroup>,
    /// Rows whose group the organization does not have any more.
    pub forgotten: Vec<ScimId>,
    /// Of [`KnownGroups::undone`], by number, what the directory does not want any more.
    pub unwished: Vec<i64>,
    /// Of [`Failures::groups`](super::Failures::groups), those of which the same is not wanted any more.
    pub over_failures: Vec<ExternalId>,
}

/// A group operation and what holds it back, if anything.
#[derive(Clone, Debug)]
pub struct PlannedGroup {
    /// The operation.
    pub operation: GroupOperation,
    /// What holds it: indices in [`Plan::holds`](super::Plan::holds).
    pub holds: Vec<usize>,
    /// As [`Planned::tried_in_vain`].
    pub tried_in_vain: Option<Timestamp>,
}

impl GroupPlan {
    /// How many operations of a kind are planned.
    pub fn count(&self, kind: GroupChange) -> usize {
        let planned = self.operations.iter();
        planned.filter(|one| one.operation.kind == kind).count()
    }

    /// The operations that nothing holds, by their indices. The deletion of a group whose members are
    /// in another one waits for nothing that is held there: it is planned only once the organization
    /// shows them all in it.
    pub(super) fn free_at(&self) -> impl Iterator<Item = usize> {
        let planned = self.operations.iter().enumerate();
        let free = planned.filter(|(_, planned)| planned.holds.is_empty());
        free.map(|(at, _)| at)
    }

    /// Whether something is to be sent now.
    pub fn has_pending(&self) -> bool {
        self.free_at().next().is_some()
    }

    /// How many operations are held.
    pub fn held(&self) -> usize {
        let planned = self.operations.iter();
        planned.filter(|planned| !planned.holds.is_empty()).count()
    }

    /// Whether a person has to look.
    pub fn needs_attention(&self) -> bool {
        !self.refusals.is_empty() || !self.suspensions.is_empty()
    }
}

/// A group of the directory for which nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupRefusal {
    /// Its entry.
    pub dn: String,
    /// What is wrong, and the way out.
    pub why: String,
    /// Whether it is in quarantine, as it was refused too often.
    pub in_quarantine: bool,
}

/// Why nothing is done for a group of the directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusalReason {
    /// No name or no key.
    #[error(transparent)]
    Unmapped(#[from] GroupFault),
    /// Several groups have one key.
    #[error(
        "another group has the same key {key}: {other}; a key belongs to one entry, so nothing is done for either"
    )]
    RepeatedKey {
        /// The key.
        key: ExternalId,
        /// The other entry.
        other: String,
    },
    /// The name belongs to a group that is not ours.
    #[error(
        "the organization has a group `{name}` that dirsyncd does not keep; take it over by `adopt = true` in [[group]], or give this one another name"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Several groups of the organization have its key.
    #[error(
        "several groups of the organization have its key as externalId: {0}; settle there which of them is meant"
    )]
    Ambiguous(String),
    /// More members than a group may have.
    #[error(
        "the group `{name}` would have {members} members, and one has at most {MEMBERS_A_GROUP}: split it, or leave it out by `match`"
    )]
    TooLarge {
        /// The name.
        name: String,
        /// How many it would have.
        members: usize,
    },
}

/// A rule or a group of which no absence is believed in this run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupSuspension {
    /// The group of the organization; none for all that a rule finds.
    pub group: Option<String>,
    /// Where the rule searches, or the group's entry.
    pub place: String,
    /// Why.
    pub why: String,
}

/// Something to know about a group of the organization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupNotice {
    /// Its name.
    pub group: String,
    /// What.
    pub what: GroupNoticed,
}

/// What there is to know about a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupNoticed {
    /// Several groups of the directory lead to it: their entries.
    Joined(Vec<String>),
    /// Members who have no account: their entries.
    WithoutAccount(Vec<String>),
    /// So many members in the organization who are nobody's account of ours.
    Foreign(u64),
    /// The organization's group is kept as it is: why.
    Kept(String),
    /// Members of whom a revert has put back that they join or leave.
    PutBack(Vec<String>),
    /// What is to be done was refused before, and is tried again later.
    PutOff(String),
}

impl From<&ManagedAccount> for Person {
    fn from(account: &ManagedAccount) -> Self {
        Person {
            scim_id: account.scim_id.clone(),
            dn: account.dn.clone(),
            name: account.profile.label().to_owned(),
            lifecycle: account.lifecycle,
            // Counted by no pull any more: back, with the login kept off.
            has_departed: account.absence.is_some_and(|absence| absence.pulls > 0),
        }
    }
}

/// The people of whom it is not certain that the directory has them, by this run's pulls.
pub fn unseen(desired: &Desired) -> HashSet<ExternalId> {
    let unmapped = desired.unmapped.iter().filter_map(|one| one.key.as_ref());
    let repeated = desired.repeated.iter().map(|(person, _)| &person.key);
    let absent = desired.absent.iter();
    absent.chain(unmapped).chain(repeated).cloned().collect()
}

/// Plans the groups of a run.
///
/// `read` has what each of the rules said, in their order; `unseen` is from [`unseen`];
/// `planned` are the account operations of the run. Only with `accepts_scope_change` does an
/// edit of a rule rename groups, or take members out of one that several lead to.
pub fn plan(
    rules: &[GroupRule],
    read: Vec<RuleRead>,
    known: &KnownGroups,
    unseen: &HashSet<ExternalId>,
    planned: &[Planned],
    accepts_scope_change: bool,
) -> GroupPlan {
    let kept = match accepts_scope_change {
        true => HashMap::new(),
        false => kept_names(&read, known),
    };
    let Sorted {
        wanted,
        refused,
        repeated,
    } = sort_out(&read, &kept);
    let view = View::of(rules, &read, known, repeated);
    let mut draft = Draft {
        rules,
        known,
        accounts: Accounts::of(known, unseen, planned),
        view,
        accepts_scope_change,
        plan: GroupPlan::default(),
    };
    for (dn, why) in refused {
        draft.refuse(dn, &why);
    }
    draft.tell_rules();
    draft.settle(&wanted);
    draft.finish()
}
