//! Guards: what exceeds a limit, or is protected, is held; the safe rest goes on.
//!
//! - `hold` is what holds, its name and its message;
//! - `limits` counts each kind in each scope, against what `population` tells;
//! - `always` has what is held whatever the numbers;
//! - `groups` holds what is done to groups;
//! - an approval takes exactly one operation, unchanged, out of one hold.

mod always;
mod groups;
mod hold;
mod limits;
mod population;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Deref;

use chrono::TimeDelta;

use super::groups::PlannedGroup;
use super::revert::hold_prefix;
use super::{Known, Plan, Planned, Undo, reverted};
use crate::config::{Guard, Guards, Per};
use crate::model::{
    Attribute, Digest, ExternalId, GroupOperation, Kind, Lifecycle, ManagedAccount, ManagedGroup,
    Operation, Reason, ScimId, SourceName, Timestamp,
};

pub use always::{GuardedGroup, GuardedGroups, GuardedMember};
pub use groups::GroupChange;
pub use hold::{Approval, Hold, HoldCause, Opened, approve_command, without_way_out};
pub use limits::Scope;
pub use population::{Count, Population, ou_of};

pub(super) use always::hold_all;
pub(super) use hold::{hold_before, quoted};
use limits::Guarded;
use population::domain_of;

/// A hold and what it holds, by index.
pub(super) struct Found {
    hold: Hold,
    operations: Vec<usize>,
}

/// An operation on an account, as the limits count it. Somebody who moves is counted where the
/// account stands in the snapshot, as its population is.
struct Subject<'a> {
    operation: &'a Operation,
    source: &'a SourceName,
    dn: &'a str,
    email: Option<&'a str>,
    /// An earlier run has begun to make the account, which no guard held then.
    is_attempted: bool,
}

impl<'a> Subject<'a> {
    fn new(operation: &'a Operation, known: &'a Known) -> Self {
        let account = known
            .accounts
            .get(operation.row())
            .filter(|account| !matches!(account.lifecycle, Lifecycle::Deleted { .. }));
        let email = |profile: &'a crate::model::Profile| profile.get(Attribute::Email);
        let (source, dn, email) = match account {
            Some(account) => (&account.source, &account.dn, email(&account.profile)),
            None => (
                &operation.source,
                &operation.dn,
                email(&operation.before).or(email(&operation.after)),
            ),
        };
        Subject {
            operation,
            source,
            dn,
            email,
            is_attempted: known.attempted.contains(&operation.key),
        }
    }
}

impl Guarded for Subject<'_> {
    fn counts(&self, guard: Guard) -> u64 {
        if guard == Guard::Create && self.is_attempted {
            return 0;
        }
        guard.counts(self.operation)
    }

    fn changed(&self) -> Vec<Attribute> {
        Attribute::ALL
            .into_iter()
            .filter(|attribute| self.operation.changes(*attribute))
            .collect()
    }

    fn scope(&self, per: Per) -> Option<Scope> {
        match per {
            Per::Whole => Some(Scope::Whole),
            Per::Source => Some(Scope::Source(self.source.clone())),
            Per::Ou => ou_of(self.dn).map(Scope::Ou),
            Per::Domain => self.email.and_then(domain_of).map(Scope::Domain),
            Per::Group => None,
        }
    }
}

/// Marks what is held, and by what. The operations are in the order of their waves; one that
/// waits for a held one to free its address is held with it. `held_before` are the people whose
/// operations were held when the plan was saved that is carried out now, by what held them.
pub(super) fn guard(
    operations: Vec<Operation>,
    known: &Known,
    guards: &Guards,
    now: Timestamp,
    clock_fault: Option<String>,
    held_before: BTreeMap<String, BTreeSet<ExternalId>>,
) -> (Vec<Planned>, Vec<Hold>) {
    let approvals = approvals_of(operations.iter().map(Operation::digest), &known.approvals);
    let is_approved = |name: &str, at: usize| {
        let mut given = approvals[at].iter();
        given.any(|approval| approval.hold == name)
    };
    let subjects: Vec<Subject> = operations
        .iter()
        .map(|operation| Subject::new(operation, known))
        .collect();
    let mut population = known.population.clone();
    // An adopted account was active before dirsyncd knew it.
    for subject in &subjects {
        if subject.operation.kind == Kind::Adopt && subject.operation.active.0 {
            population.enter_active(subject.source, subject.dn, subject.email);
        }
    }
    let against = |guard: Guard, scope: &Scope| population.against(guard, scope);
    let is_left_out = |name: &str, at: usize| {
        let operation = &operations[at];
        let place = (operation.key.clone(), operation.kind.name().to_owned());
        let holds = known.left_out.get(&place);
        holds.is_some_and(|holds| holds.contains(name))
    };
    let mut found = limits::over_limits(&subjects, guards, against, is_approved, is_left_out);
    found.extend(always::protected(&operations, known, guards, is_approved));
    found.extend(always::administrators(
        &operations,
        known,
        guards,
        is_approved,
    ));
    found.extend(always::freeze(
        &operations,
        guards,
        now,
        is_approved,
        always::is_frozen,
    ));
    found.extend(reverted::again(&operations, known, is_approved));
    found.extend(always::rekeyed(&operations, known, is_approved));
    found.extend(always::clock(&operations, clock_fault));
    found.extend(
        held_before
            .into_iter()
            .filter_map(|(why, people)| {
                // What a guard holds now is told as that.
                let is_held = |at: &usize| found.iter().any(|one| one.operations.contains(at));
                let held: Vec<usize> = (0..operations.len())
                    .filter(|at| people.contains(&operations[*at].key) && !is_held(at))
                    .collect();
                Found::of(HoldCause::Saved { why }, held)
            })
            .collect::<Vec<_>>(),
    );

    let mut holds_of: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); operations.len()];
    for (hold, one) in found.iter().enumerate() {
        for at in &one.operations {
            holds_of[*at].insert(hold);
        }
    }
    let approvals = approvals
        .into_iter()
        .map(|given| given.into_iter().map(|approval| approval.id).collect())
        .collect();
    let planned = with_those_that_wait(operations, holds_of, approvals, known, now);
    (planned, found.into_iter().map(|one| one.hold).collect())
}

/// The approvals of each of these operations.
fn approvals_of(
    digests: impl ExactSizeIterator<Item = Digest>,
    approvals: &[Approval],
) -> Vec<Vec<&Approval>> {
    if approvals.is_empty() {
        return vec![Vec::new(); digests.len()];
    }
    let mut by_digest: HashMap<[u8; 16], Vec<&Approval>> = HashMap::new();
    for approval in approvals {
        let given = by_digest.entry(approval.digest.0).or_default();
        given.push(approval);
    }
    digests
        .map(|digest| by_digest.get(&digest.0).cloned().unwrap_or_default())
        .collect()
}

/// Marks what is held because something else is: an operation that waits for a held one, and one
/// that makes way for nothing, as the operation after it is held.
fn with_those_that_wait(
    operations: Vec<Operation>,
    holds_of: Vec<BTreeSet<usize>>,
    approvals: Vec<BTreeSet<i64>>,
    known: &Known,
    now: Timestamp,
) -> Vec<Planned> {
    let mut all_of: Vec<BTreeSet<usize>> = holds_of.clone();
    let makes_way = |operation: &Operation| operation.reason == Reason::MakesWay;
    // Whose address is given away: held with whoever takes it.
    let is_recycled = |operation: &Operation| operation.reason == Reason::Recycled;
    loop {
        let mut held: HashMap<&ExternalId, BTreeSet<usize>> = HashMap::new();
        let mut after_ways: HashMap<&ExternalId, BTreeSet<usize>> = HashMap::new();
        let mut takers: HashMap<&ExternalId, BTreeSet<usize>> = HashMap::new();
        for (operation, holds) in operations.iter().zip(&all_of) {
            if holds.is_empty() {
                continue;
            }
            held.entry(&operation.key).or_default().extend(holds);
            for key in &operation.waits_for {
                takers.entry(key).or_default().extend(holds);
            }
            if !makes_way(operation) {
                after_ways.insert(&operation.key, holds.clone());
            }
        }
        let mut has_changed = false;
        for (operation, holds) in operations.iter().zip(&mut all_of) {
            let before = holds.len();
            for key in &operation.waits_for {
                holds.extend(held.get(key).into_iter().flatten());
            }
            if makes_way(operation) {
                holds.extend(after_ways.get(&operation.key).into_iter().flatten());
            }
            if is_recycled(operation) {
                holds.extend(takers.get(&operation.key).into_iter().flatten());
            }
            has_changed |= holds.len() > before;
        }
        if !has_changed {
            break;
        }
    }
    let waits = all_of.iter().zip(&holds_of).map(|(all, holds)| all - holds);
    let waits: Vec<BTreeSet<usize>> = waits.collect();
    operations
        .into_iter()
        .zip(holds_of)
        .zip(waits)
        .zip(approvals)
        .map(|(((operation, holds), waits), approvals)| Planned {
            holds: holds.into_iter().collect(),
            waits: waits.into_iter().collect(),
            approvals: approvals.into_iter().collect(),
            undo: Undo::of(&operation, now),
            tried_in_vain: known.failures.tried_in_vain(&operation),
            is_rekeyed: known.is_rekeyed(&operation),
            operation,
        })
        .collect()
}

/// How far two clocks may be apart before departures wait.
fn clock_tolerance() -> TimeDelta {
    TimeDelta::minutes(10)
}

fn second(moment: Timestamp) -> impl fmt::Display {
    moment.format("%Y-%m-%d %H:%M:%S UTC")
}

/// Why the clock cannot be trusted, if so. The API's clock decides where it is told: a last run
/// that is still to come was then made by a wrong one, and must not hold anything until it comes.
pub fn clock_fault(known: &Known, now: Timestamp) -> Option<String> {
    let tolerance = clock_tolerance();
    if let Some(theirs) = known.api_time {
        return ((now - theirs).abs() > tolerance).then(|| {
            format!(
                "this machine says that it is {}, and the API says {}",
                second(now),
                second(theirs)
            )
        });
    }
    let last = known.last_run.filter(|last| now + tolerance < *last)?;
    Some(format!(
        "the last run began at {}, and now it is {}, so the clock went back",
        second(last),
        second(now)
    ))
}

/// An operation that the guards have let through. Only [`Plan::approve`] makes one, and the
/// writing client sends nothing else.
#[derive(Clone, Debug)]
pub struct Approved<'a, What = Operation> {
    operation: &'a What,
    is_in_vain: bool,
    is_rekeyed: bool,
}

/// The same of a group.
pub type ApprovedGroup<'a> = Approved<'a, GroupOperation>;

impl<What> Approved<'_, What> {
    /// Whether it was tried in vain before: see [`Planned::tried_in_vain`].
    pub fn is_in_vain(&self) -> bool {
        self.is_in_vain
    }

    /// Whether somebody wants it done though the account carries another key: see
    /// [`Planned::is_rekeyed`].
    pub fn is_rekeyed(&self) -> bool {
        self.is_rekeyed
    }
}

impl<What> Deref for Approved<'_, What> {
    type Target = What;

    fn deref(&self) -> &What {
        self.operation
    }
}

/// All that the guards let through.
#[derive(Clone, Debug)]
pub struct ApprovedPlan<'a> {
    operations: Vec<Approved<'a>>,
    groups: Vec<ApprovedGroup<'a>>,
    max_calls: Option<u64>,
    calls: u64,
    carried_over: Vec<&'a Operation>,
    carried_over_groups: Vec<&'a GroupOperation>,
    notes: &'a [ManagedAccount],
    group_notes: &'a [ManagedGroup],
    forgotten_groups: &'a [ScimId],
}

impl<'a> ApprovedPlan<'a> {
    /// The operations in the order in which they are sent.
    pub fn operations(&self) -> &[Approved<'a>] {
        &self.operations
    }

    /// The group operations in the order in which they are sent: after those of accounts that are not
    /// cosmetic.
    pub fn groups(&self) -> &[ApprovedGroup<'a>] {
        &self.groups
    }

    /// The most requests that a run may make, if there is a budget.
    pub fn max_calls(&self) -> Option<u64> {
        self.max_calls
    }

    /// How many requests it takes by what is foreseen, where there is a budget. It is exceeded where
    /// something takes more by itself.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// What is left for the next run, of accounts and of groups.
    pub fn carried_over(&self) -> (&[&'a Operation], &[&'a GroupOperation]) {
        (&self.carried_over, &self.carried_over_groups)
    }

    /// Rows of the snapshot to be brought up to date without an outside write.
    pub fn notes(&self) -> &[ManagedAccount] {
        self.notes
    }

    /// The same for groups, and the rows of groups that are no more.
    pub fn group_notes(&self) -> (&[ManagedGroup], &[ScimId]) {
        (self.group_notes, self.forgotten_groups)
    }
}

impl Plan {
    /// Lets through what no guard holds.
    pub fn approve(&self) -> ApprovedPlan<'_> {
        fn approved(planned: &Planned) -> Approved<'_> {
            Approved {
                operation: &planned.operation,
                is_in_vain: planned.tried_in_vain.is_some(),
                is_rekeyed: planned.is_rekeyed,
            }
        }
        fn approved_group(planned: &PlannedGroup) -> ApprovedGroup<'_> {
            Approved {
                operation: &planned.operation,
                is_in_vain: planned.tried_in_vain.is_some(),
                is_rekeyed: false,
            }
        }
        let free = self.operations.iter().enumerate();
        let free = free.filter(|(_, planned)| !planned.is_held());
        let is_left = |at: &usize| self.carried_over.accounts.contains(at);
        let (left, sent): (Vec<_>, Vec<_>) = free.partition(|(at, _)| is_left(at));
        let groups = self.groups.as_ref();
        let free = groups.into_iter().flat_map(|plan| {
            let free = plan.free_at();
            free.map(|at| (at, &plan.operations[at]))
        });
        let is_left = |at: &usize| self.carried_over.groups.contains(at);
        let (left_groups, sent_groups): (Vec<_>, Vec<_>) = free.partition(|(at, _)| is_left(at));
        ApprovedPlan {
            groups: sent_groups
                .into_iter()
                .map(|(_, planned)| approved_group(planned))
                .collect(),
            max_calls: self.carried_over.max_calls,
            calls: self.carried_over.calls,
            carried_over_groups: left_groups
                .into_iter()
                .map(|(_, planned)| &planned.operation)
                .collect(),
            group_notes: groups.map_or(&[], |plan| &plan.notes),
            forgotten_groups: groups.map_or(&[], |plan| &plan.forgotten),
            operations: sent
                .into_iter()
                .map(|(_, planned)| approved(planned))
                .collect(),
            carried_over: left
                .into_iter()
                .map(|(_, planned)| &planned.operation)
                .collect(),
            notes: &self.notes,
        }
    }
}
