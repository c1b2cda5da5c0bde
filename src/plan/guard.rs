//! Guards: what exceeds a limit is held, the safe rest goes on.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;

use chrono::TimeDelta;

use super::{GroupPlan, Known, Plan, Planned};
use crate::config::{Guards, Limit};
use crate::model::{
    Attribute, ExternalId, GroupOperation, Kind, ManagedAccount, ManagedGroup, Operation, ScimId,
    Timestamp,
};

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Logins turned off.
    Deactivate,
    /// Deletions.
    Delete,
    /// Changed user names and e-mail addresses.
    ChangeEmail,
}

impl Guard {
    /// The key of the limit in `[guards]`.
    pub fn name(self) -> &'static str {
        match self {
            Guard::Deactivate => "deactivate",
            Guard::Delete => "delete",
            Guard::ChangeEmail => "change_email",
        }
    }

    fn concerns(self, operation: &Operation) -> bool {
        match self {
            Guard::Deactivate => operation.active == (true, false),
            Guard::Delete => operation.kind == Kind::Delete,
            Guard::ChangeEmail => {
                operation.kind != Kind::Create
                    && (operation.changes(Attribute::Email)
                        || operation.changes(Attribute::UserName))
            }
        }
    }
}

/// Operations that wait, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// What holds them.
    pub cause: HoldCause,
    /// How many operations wait.
    pub planned: u64,
}

/// What holds operations back.
#[derive(Clone, Debug, PartialEq)]
pub enum HoldCause {
    /// More operations than a limit allows.
    Limit {
        /// The limit.
        guard: Guard,
        /// How many it allows in this population.
        allowed: u64,
        /// How many accounts the share is taken of.
        population: u64,
    },
    /// The clock cannot be trusted, and deletions are counted by it.
    Clock {
        /// What does not fit.
        why: String,
    },
}

impl HoldCause {
    /// Whether it holds this operation back.
    pub fn concerns(&self, operation: &Operation) -> bool {
        match self {
            HoldCause::Limit { guard, .. } => guard.concerns(operation),
            // A deactivation writes the dates that deletions are counted from.
            HoldCause::Clock { .. } => operation.is_departure(),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let planned = self.planned;
        match &self.cause {
            HoldCause::Limit {
                guard,
                allowed,
                population,
            } => {
                let what = match guard {
                    Guard::Deactivate => "deactivations",
                    Guard::Delete => "deletions",
                    Guard::ChangeEmail => "changes of e-mail or user name",
                };
                #[allow(clippy::cast_precision_loss)]
                let share = 100.0 * planned as f64 / (*population).max(1) as f64;
                let name = guard.name();
                write!(
                    f,
                    "{planned} {what} among {population} accounts ({share:.1} %) are more than the {allowed} that `{name}` in [guards] allows: they are held, the rest goes on; if they are right, raise `{name}` for one run"
                )
            }
            HoldCause::Clock { why } => write!(
                f,
                "{why}; departures held, as deletions are counted by the clock: {planned}; set the clock right (NTP) and run again"
            ),
        }
    }
}

/// How far two clocks may be apart before departures wait.
fn clock_tolerance() -> TimeDelta {
    TimeDelta::minutes(10)
}

/// The holds over these operations.
pub(super) fn holds(
    operations: &[Operation],
    known: &Known,
    guards: &Guards,
    clock_fault: Option<String>,
) -> Vec<Hold> {
    let Guards {
        deactivate,
        delete,
        change_email,
    } = guards;
    let count = |cause: &HoldCause| {
        operations
            .iter()
            .filter(|operation| cause.concerns(operation))
            .count() as u64
    };
    let limit = |guard: Guard, limit: &Limit, population: u64| {
        let allowed = limit.allowed(population)?;
        let cause = HoldCause::Limit {
            guard,
            allowed,
            population,
        };
        let planned = count(&cause);
        (planned > allowed).then_some(Hold { cause, planned })
    };
    // An adopted account was active before dirsyncd knew it.
    let adopted = operations
        .iter()
        .filter(|operation| operation.kind == Kind::Adopt && operation.active.0)
        .count() as u64;
    let active = known.population.active + adopted;
    let clock = clock_fault.and_then(|why| {
        let cause = HoldCause::Clock { why };
        let planned = count(&cause);
        (planned > 0).then_some(Hold { cause, planned })
    });
    [
        limit(Guard::Deactivate, deactivate, active),
        limit(Guard::Delete, delete, known.population.all),
        limit(Guard::ChangeEmail, change_email, active),
        clock,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Marks what is held. An operation that waits for a held one to free its address is held with
/// it.
pub(super) fn apply_holds(operations: Vec<Operation>, holds: &[Hold]) -> Vec<Planned> {
    let mut held: HashMap<ExternalId, usize> = HashMap::new();
    // The operations are in the order of their waves, so what is waited for comes first.
    operations
        .into_iter()
        .map(|operation| {
            let hold = holds
                .iter()
                .position(|hold| hold.cause.concerns(&operation))
                .or_else(|| {
                    operation
                        .waits_for
                        .iter()
                        .find_map(|key| held.get(key).copied())
                });
            if let Some(hold) = hold {
                held.insert(operation.key.clone(), hold);
            }
            Planned { operation, hold }
        })
        .collect()
}

fn second(moment: Timestamp) -> impl fmt::Display {
    moment.format("%Y-%m-%d %H:%M:%S UTC")
}

/// Why the clock cannot be trusted, if so.
pub(super) fn clock_fault(known: &Known, now: Timestamp) -> Option<String> {
    let tolerance = clock_tolerance();
    if let Some(last) = known.last_run
        && now + tolerance < last
    {
        return Some(format!(
            "the last run began at {}, and now it is {}, so the clock went back",
            second(last),
            second(now)
        ));
    }
    if let Some(theirs) = known.api_time
        && (now - theirs).abs() > tolerance
    {
        return Some(format!(
            "this machine says that it is {}, and the API says {}",
            second(now),
            second(theirs)
        ));
    }
    None
}

/// An operation that the guards have let through. Only [`Plan::approve`] makes one, and the
/// writing client sends nothing else.
#[derive(Clone, Debug)]
pub struct Approved(Operation);

impl Deref for Approved {
    type Target = Operation;

    fn deref(&self) -> &Operation {
        &self.0
    }
}

/// A group operation that the guards have let through, as [`Approved`] is one of an account.
#[derive(Clone, Debug)]
pub struct ApprovedGroup(GroupOperation);

impl Deref for ApprovedGroup {
    type Target = GroupOperation;

    fn deref(&self) -> &GroupOperation {
        &self.0
    }
}

/// All that the guards let through.
#[derive(Clone, Debug)]
pub struct ApprovedPlan {
    operations: Vec<Approved>,
    groups: Vec<ApprovedGroup>,
    notes: Vec<ManagedAccount>,
    group_notes: Vec<ManagedGroup>,
    forgotten_groups: Vec<ScimId>,
}

impl ApprovedPlan {
    /// The operations in the order in which they are sent.
    pub fn operations(&self) -> &[Approved] {
        &self.operations
    }

    /// The group operations in the order in which they are sent, after all others.
    pub fn groups(&self) -> &[ApprovedGroup] {
        &self.groups
    }

    /// Rows of the snapshot to be brought up to date without an outside write.
    pub fn notes(&self) -> &[ManagedAccount] {
        &self.notes
    }

    /// The same for groups, and the rows of groups that are no more.
    pub fn group_notes(&self) -> (&[ManagedGroup], &[ScimId]) {
        (&self.group_notes, &self.forgotten_groups)
    }
}

impl Plan {
    /// Lets through what no guard holds.
    pub fn approve(&self) -> ApprovedPlan {
        let free = |planned: &&Planned| planned.hold.is_none();
        let groups = self.groups.iter();
        ApprovedPlan {
            groups: groups
                .clone()
                .flat_map(GroupPlan::free)
                .map(|operation| ApprovedGroup(operation.clone()))
                .collect(),
            group_notes: groups.clone().flat_map(|plan| plan.notes.clone()).collect(),
            forgotten_groups: groups.flat_map(|plan| plan.forgotten.clone()).collect(),
            operations: self
                .operations
                .iter()
                .filter(free)
                .map(|planned| Approved(planned.operation.clone()))
                .collect(),
            notes: self.notes.clone(),
        }
    }
}
