//! The decision core: from what the directory wants and what the snapshot knows to a plan.
//!
//! Floor 3: pure. No I/O, no clock, no randomness, no async: `plan(desired, known, policy,
//! guards, now)` gives the same operations for the same inputs, so that what a dry run shows is
//! what a real run does.
//!
//! - `compare` takes the mapped entries as they stream by and keeps only those that differ;
//! - `draft` goes through the people, and then the absences;
//! - `lifecycle` is the state machine: what an account's state and a person's presence lead to;
//! - `drift` finds what was changed in the organization by hand, and makes lost rows again;
//! - `edit` compares the scopes of two configurations;
//! - `newcomer` creates, or adopts what the organization has already;
//! - `addresses` keeps user names and e-mail addresses unique, and orders the operations;
//! - `groups` plans the groups and their members, once the accounts are planned;
//! - `guard` holds what exceeds a limit, and makes the [`ApprovedPlan`] that alone may be sent;
//! - `failures` puts off what has failed before, `pending` knows whose login waits to
//!   be turned off;
//! - `forecast` foresees what the organization would refuse, `calls` what carrying out costs, and
//!   `budget` leaves what costs too much for the next run;
//! - `resume` makes a plan again from the rows of a saved one;
//! - `revert` makes a plan of what a run did, `undo` tells beforehand how far that will go, and
//!   `reverted` keeps a sync from doing it again;
//! - `told` has the reasons that a plan tells beside its operations, `verdict` what is kept of them;
//! - `outlook` tells where an account stands and what becomes of it, for people to read.

mod addresses;
mod budget;
mod calls;
mod compare;
mod draft;
mod drift;
mod edit;
mod failures;
mod forecast;
pub mod groups;
mod guard;
mod lifecycle;
mod newcomer;
mod outlook;
mod pending;
mod person;
mod resume;
mod revert;
mod reverted;
mod told;
mod undo;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::config::{Guards, Policies};
use crate::model::{
    Complete, DesiredAccount, ExistingAccount, ExternalId, FormerRow, Incomplete, Kind, Lifecycle,
    ManagedAccount, Operation, RunId, ScimId, SourceName, Timestamp,
};

pub use crate::config::Guard;
pub use budget::CarriedOver;
pub use calls::{Api, Call, Calls, Endpoint, Estimate, MEMBERS_A_PATCH, Pace, Rate, Window};
pub use compare::{Comparison, Desired, Deviation, Index, Pulls, Said};
pub use draft::end_absences;
pub use drift::{
    Claimant, Decided, Drift, Excess, GroupDrift, NO_ENTRY, Rebuilt, Reconciliation, Unmanaged,
    claim_command, decide, rebuild,
};
pub use edit::{Edit, InScope, Person};
pub use failures::{Failed, Failing, Failures, retry_command};
pub use forecast::{Answers, Forecast, Foreseen, Holder, Questions, Right, Way, questions};
pub use groups::GroupPlan;
pub use guard::{
    Approval, Approved, ApprovedGroup, ApprovedPlan, Count, GroupChange, GuardedGroup,
    GuardedGroups, GuardedMember, Hold, HoldCause, Opened, Population, Scope, approve_command,
    clock_fault, ou_of, without_way_out,
};
pub use outlook::{Due, Outlook, Rule, Seen, differing, outlook};
pub use pending::PendingDeactivation;
pub use person::{HeldForAll, one_person};
pub use resume::{Expected, Row, in_the_way, moved, resume};
pub use revert::{
    End, NotUndone, Past, next_run, own_approvals, own_left_out, revert, reverted_run,
};
pub use reverted::Undone;
pub use told::{
    Disbelief, Notice, Noticed, Refusal, RefusalReason, SkipReason, Skipped, Stop, Suspension,
};
pub use verdict::{Verdict, VerdictKind};

pub use undo::Undo;

use draft::Draft;
use lifecycle::{Event, State, Step};

/// What the snapshot and the organization know, as far as the plan is concerned.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The managed accounts that [`Desired::concerned`] names, those that hold one of
    /// [`Desired::identifiers`], and all that are not settled.
    pub accounts: HashMap<ExternalId, ManagedAccount>,
    /// Accounts of the provisioning directory that are not managed yet and that newcomers may
    /// already have.
    pub existing: Vec<ExistingAccount>,
    /// Whether accounts carry the person's key, so that taking one over writes it.
    pub keeps_keys: bool,
    /// How many accounts there are, for the guards.
    pub population: Population,
    /// The organization's verified domains, in lower case; `None` when they could not be read.
    pub verified_domains: Option<BTreeSet<String>>,
    /// People whose deletion was sent and never answered, or its cancelling: it may be under way.
    pub doubtful_deletions: HashSet<ExternalId>,
    /// When the last run began, by this machine's clock.
    pub last_run: Option<Timestamp>,
    /// What the organization's API says that the time is.
    pub api_time: Option<Timestamp>,
    /// People whose account an earlier run has tried to create.
    pub attempted: HashSet<ExternalId>,
    /// The groups that the guards name; they are needed only where somebody departs.
    pub guarded_groups: GuardedGroups,
    /// The approvals that are not used up.
    pub approvals: Vec<Approval>,
    /// What was left out when a part of an open hold was approved.
    pub left_out: HeldForAll,
    /// What the organization answered to the [`questions`] that a first plan raised.
    pub answers: Answers,
    /// What reverts have undone, as far as it is not to be done again.
    pub undone: Vec<Undone>,
    /// The same of groups.
    pub undone_groups: Vec<groups::UndoneGroup>,
    /// What has failed.
    pub failures: Failures,
    /// Whose login was to be turned off by earlier runs, and is not.
    pub pending: BTreeMap<ExternalId, PendingDeactivation>,
    /// Of `accounts`, those that carried another key when the organization was last read back.
    pub rekeyed: HashSet<ScimId>,
}

impl Known {
    /// Whether it is about an account that carried another key when the organization was last read back.
    pub fn is_rekeyed(&self, operation: &Operation) -> bool {
        let target = operation.target.as_ref();
        target.is_some_and(|target| self.rekeyed.contains(&target.scim_id))
    }

    /// Whether an account is gone for good, also where its row is not a tombstone yet: whoever holds its
    /// address then, the organization has to tell.
    pub fn is_gone(&self, account: &ManagedAccount, now: Timestamp) -> bool {
        match account.lifecycle {
            Lifecycle::Deleted { .. } => true,
            lifecycle => {
                lifecycle.is_gone(now)
                    && !self.doubtful_deletions.contains(&account.key)
                    && clock_fault(self, now).is_none()
            }
        }
    }

    /// Takes in what became of an operation that the snapshot does not know of yet.
    pub fn settle(&mut self, account: ManagedAccount) {
        if let Some(before) = self.accounts.get(&account.key) {
            self.population.leave(before);
        }
        self.population.enter(&account);
        self.accounts.insert(account.key.clone(), account);
    }
}

/// What a run would do, or does.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The operations in the order in which they are sent.
    pub operations: Vec<Planned>,
    /// What holds some of them back.
    pub holds: Vec<Hold>,
    /// People for whom nothing is done because something is wrong with them.
    pub refusals: Vec<Refusal>,
    /// People for whom nothing is done, as configured.
    pub skipped: Vec<Skipped>,
    /// Sources whose absences are not believed in this run.
    pub suspensions: Vec<Suspension>,
    /// What is to be known about how the sources were read.
    pub notices: Vec<Notice>,
    /// Rows of the snapshot to be brought up to date without an outside write.
    pub notes: Vec<ManagedAccount>,
    /// The figures of the pulls.
    pub pulls: BTreeMap<SourceName, Figures>,
    /// People whose account is as the directory wants it.
    pub unchanged: u64,
    /// What is foreseen of carrying it out.
    pub forecast: Forecast,
    /// The run that it reverts, if it is a revert.
    pub reverts: Option<RunId>,
    /// Whether it is made for some people and groups only, and no word on the others.
    pub is_partial: bool,
    /// Of [`Known::undone`], by number, what the directory does not want any more.
    pub unwished: Vec<i64>,
    /// Of [`Known::failures`], whose operation the directory does not want any more.
    pub over_failures: Vec<ExternalId>,
    /// Whose login is to be turned off, also where nothing is done about it now.
    pub pending: Vec<PendingDeactivation>,
    /// Of [`Known::pending`], who is not to lose the login any more.
    pub over_pending: Vec<ExternalId>,
    /// What is left for the next run, as it does not fit the budget.
    pub carried_over: CarriedOver,
    /// What becomes of the groups; `None` where the configuration has no rule for any.
    pub groups: Option<GroupPlan>,
}

/// The figures of a pull.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The entries that the source has.
    pub entries: u64,
    /// How many of them were read, if only those were that have changed or gone.
    pub changed: Option<u64>,
}

impl From<&Result<Complete, Incomplete>> for Figures {
    fn from(pull: &Result<Complete, Incomplete>) -> Self {
        match pull {
            Ok(complete) => Figures {
                entries: complete.entries(),
                changed: complete.changed(),
            },
            Err(incomplete) => Figures {
                entries: incomplete.entries,
                changed: None,
            },
        }
    }
}

/// An operation and what holds it back, if anything.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The operation.
    pub operation: Operation,
    /// What holds it: indices in [`Plan::holds`].
    pub holds: Vec<usize>,
    /// What holds those that it waits for and not itself: indices in [`Plan::holds`].
    pub waits: Vec<usize>,
    /// The approvals that somebody has given to exactly this, by their number.
    pub approvals: Vec<i64>,
    /// How far it can be undone.
    pub undo: Undo,
    /// When it was last tried, if it has got no usable answer before, or was refused again and again: such
    /// have half of a budget by turns, see [`Plan::fit`], and are given up for the wave once some fail again.
    pub tried_in_vain: Option<Timestamp>,
    /// Whether the account carried another key when the organization was last read back, so that it is done
    /// only if somebody approves it.
    pub is_rekeyed: bool,
}

impl Planned {
    /// Whether it is not sent now.
    pub fn is_held(&self) -> bool {
        !self.holds.is_empty() || !self.waits.is_empty()
    }

    /// Whether it is sent now, and somebody has approved it.
    pub fn is_approved(&self) -> bool {
        !self.is_held() && !self.approvals.is_empty()
    }
}

impl Plan {
    /// How many operations of a kind are planned.
    pub fn count(&self, kind: Kind) -> usize {
        self.operations
            .iter()
            .filter(|planned| planned.operation.kind == kind)
            .count()
    }

    /// How many operations are held.
    pub fn held(&self) -> usize {
        self.operations
            .iter()
            .filter(|planned| planned.is_held())
            .count()
            + self.groups.as_ref().map_or(0, GroupPlan::held)
    }

    /// Whether a hold of this name is opened and closed by plans like this one: a revert has
    /// holds of its own, which no sync knows of.
    pub fn has_say_over(&self, hold: &str) -> bool {
        reverted_run(hold) == self.reverts
    }

    /// Whether it takes an account away from somebody, held or not.
    pub fn departs(&self) -> bool {
        let mut operations = self.operations.iter();
        operations.any(|planned| planned.operation.is_departure())
    }

    /// Whether something is to be sent now.
    pub fn has_pending(&self) -> bool {
        self.operations.iter().any(|planned| !planned.is_held())
            || self.groups.as_ref().is_some_and(GroupPlan::has_pending)
    }

    /// Whether a person has to look: something is held, refused or not believed.
    pub fn needs_attention(&self) -> bool {
        let has_missed = |notice: &Notice| matches!(notice.what, Noticed::Missed { .. });
        !self.holds.is_empty()
            || !self.refusals.is_empty()
            || !self.suspensions.is_empty()
            || self.notices.iter().any(has_missed)
            || self.skipped.iter().any(|skipped| skipped.why.is_stale())
            || self.groups.as_ref().is_some_and(GroupPlan::needs_attention)
    }
}

/// The people who may have an account in the organization that the snapshot does not know: those
/// without one, whose address is theirs alone. Disabled people get no new account, and there may
/// be many of them at all times: they are not among them.
pub fn newcomers<'a>(
    desired: &'a Desired,
    known: &Known,
    policies: &Policies,
    now: Timestamp,
) -> Vec<&'a DesiredAccount> {
    let contested = addresses::contested(desired, known, now);
    let is_new = |person: &&DesiredAccount| {
        let policy = policies.of(&person.source);
        let is_doubtful = known.doubtful_deletions.contains(&person.key);
        let account = known.accounts.get(&person.key);
        let state = State::of(account, policy, now, true, is_doubtful);
        lifecycle::next(state, Event::Enabled) == Step::Create
    };
    desired
        .different
        .iter()
        .filter(|person| person.active && !contested.contains_key(&person.key))
        .filter(is_new)
        .collect()
}

/// The people whom no pull has shown and whose account may change because of it, so that it is
/// to be found out where they are. Nobody, while the pulls are no proof in any case.
pub fn sought<'a>(
    desired: &Desired,
    known: &'a Known,
    policies: &Policies,
    now: Timestamp,
) -> Vec<&'a ManagedAccount> {
    if desired.pulls.values().any(Result::is_err) {
        return Vec::new();
    }
    let may_change = |account: &&ManagedAccount| {
        let policy = policies.of(&account.source);
        let is_doubtful = known.doubtful_deletions.contains(&account.key);
        let absence = account.absence.filter(|absence| absence.pulls > 0);
        match State::of(Some(account), policy, now, true, is_doubtful) {
            State::Active | State::Missing | State::Due | State::DoubtfulDue => true,
            State::Deactivated | State::Departed | State::Doubtful | State::DeletePending => {
                absence.and_then(|absence| absence.cause).is_none()
            }
            State::None | State::Expired | State::Deleted => false,
        }
    };
    desired
        .absent
        .iter()
        .filter_map(|key| known.accounts.get(key))
        .filter(may_change)
        .collect()
}

/// Plans a run.
///
/// The order of the inputs does not matter. A departure is planned only for the people of a
/// source whose pull carries a [`Complete`](crate::model::Complete) token in `desired`, all of
/// whose entries could be told apart.
pub fn plan(
    desired: &Desired,
    known: &Known,
    policies: &Policies,
    guards: &Guards,
    now: Timestamp,
) -> Result<Plan, Stop> {
    let pulls: BTreeMap<SourceName, Figures> = desired
        .pulls
        .iter()
        .map(|(source, pull)| (source.clone(), pull.into()))
        .collect();
    if let Some((source, _)) = pulls.iter().find(|(_, figures)| figures.entries == 0) {
        return Err(Stop::EmptyPull(source.clone()));
    }
    let clock_fault = guard::clock_fault(known, now);
    let mut draft = Draft {
        known,
        policies,
        now,
        is_clock_trusted: clock_fault.is_none(),
        people: desired
            .different
            .iter()
            .map(|person| &person.key)
            .chain(known.accounts.keys())
            .chain(
                desired
                    .unmapped
                    .iter()
                    .filter_map(|unmapped| unmapped.key.as_ref()),
            )
            .chain(desired.repeated.iter().map(|(person, _)| &person.key))
            .collect(),
        absent: desired.absent.iter().collect(),
        present: draft::present(desired),
        candidates: newcomer::Candidates::new(known, policies),
        holders: newcomer::Holders::new(known),
        newcomers: Vec::new(),
        taken_over: HashSet::new(),
        claimed: HashMap::new(),
        cancelled: HashSet::new(),
        departures: BTreeMap::new(),
        operations: Vec::new(),
        plan: Plan::default(),
    };
    draft.plan.unchanged = desired.unchanged;
    draft.plan.pulls = pulls;
    for unmapped in &desired.unmapped {
        draft.refuse_or_skip(unmapped);
    }
    for (account, other) in &desired.repeated {
        draft.refuse(
            account,
            RefusalReason::RepeatedKey {
                key: account.key.clone(),
                other: other.clone(),
            },
        );
    }
    draft.find_departures(desired);
    let contested = addresses::contested(desired, known, now);
    for person in &desired.different {
        // Whoever is disabled takes no address, and loses the login whoever has it. But which
        // account a newcomer's address leads to is open as long as it is contested.
        let takes_none = !person.active && known.accounts.contains_key(&person.key);
        let contested = contested.get(&person.key).filter(|_| !takes_none);
        draft.present(person, contested);
    }
    draft.admit(desired);
    draft.keep_unclear(desired);
    draft.depart();
    let Draft {
        mut operations,
        mut plan,
        ..
    } = draft;
    plan.unwished = reverted::unwished(desired, &operations, &plan, known);
    plan.skipped
        .extend(reverted::leave_out(&mut operations, known));
    let nothing = BTreeMap::new();
    let mut plan = conclude(plan, operations, known, now, |operations| {
        guard::guard(operations, known, guards, now, clock_fault, nothing)
    });
    plan.over_failures = failures::over(&plan, desired, known);
    plan.over_pending = pending::take_over(&mut plan, desired, known);
    end_absences(&mut plan, desired, known);
    Ok(plan)
}

/// What is done to the operations of every plan once there are all of them: what cannot be is
/// refused, the rest is put in order and held where a guard says so.
fn conclude(
    mut plan: Plan,
    mut operations: Vec<Operation>,
    known: &Known,
    now: Timestamp,
    guard: impl FnOnce(Vec<Operation>) -> (Vec<Planned>, Vec<Hold>),
) -> Plan {
    plan.pending = pending::deactivations(&operations, known);
    // A deletion is counted from when an account is off, which no wrong clock is to tell. Where only the last
    // run's is at hand, it is as late as that, or later.
    let is_off = clock_fault(known, now).and(known.api_time.or(known.last_run));
    for operation in operations.iter_mut().filter(|one| one.cancel_delete) {
        operation.deactivated_since = operation.deactivated_since.or(is_off);
    }
    plan.refusals
        .extend(newcomer::refuse_shared_accounts(&mut operations));
    plan.refusals
        .extend(forecast::refuse_forbidden(&mut operations, known, now));
    plan.refusals
        .extend(addresses::settle(&mut operations, known, now));
    loop {
        let refused = failures::refuse_quarantined(&mut operations, known, now);
        if refused.is_empty() {
            break;
        }
        plan.refusals.extend(refused);
        // What they do not free nobody takes.
        plan.refusals
            .extend(addresses::settle(&mut operations, known, now));
    }
    plan.skipped
        .extend(failures::put_off(&mut operations, known, now));
    plan.refusals
        .extend(forecast::refuse_overfull(&mut operations, &known.answers));
    addresses::undo_lonely_ways(&mut operations);
    plan.forecast = Forecast::of(&operations, known, now);
    for operation in &mut operations {
        operation.former_row = known.accounts.get(operation.row()).map(FormerRow::of);
    }
    (plan.operations, plan.holds) = guard(operations);
    plan.refusals
        .sort_by(|a, b| (&a.dn, &a.key).cmp(&(&b.dn, &b.key)));
    plan.skipped
        .sort_by(|a, b| (&a.dn, &a.key).cmp(&(&b.dn, &b.key)));
    plan.notes.sort_by(|a, b| a.key.cmp(&b.key));
    plan
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
