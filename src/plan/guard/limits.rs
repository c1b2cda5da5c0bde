//! The limits: what is counted, and where.

use std::collections::BTreeMap;
use std::fmt;

use super::{Found, Hold, HoldCause};
use crate::config::{Guard, Guards, Limit, Per};
use crate::model::{Attribute, Dn, Kind, Operation, Reason, SourceName};

/// What a limit was counted in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All accounts.
    Whole,
    /// The accounts of a source.
    Source(SourceName),
    /// The accounts right below an entry of the tree.
    Ou(Dn),
    /// The accounts of an e-mail domain.
    Domain(String),
    /// The members of a group, by its name.
    Group(String),
}

impl Scope {
    /// Its name for programs: the kind, and which one of that.
    pub fn name(&self) -> String {
        match self {
            Scope::Whole => "whole".to_owned(),
            Scope::Source(source) => format!("source.{source}"),
            Scope::Ou(ou) => format!("ou.{ou}"),
            Scope::Domain(domain) => format!("domain.{domain}"),
            Scope::Group(group) => format!("group.{group}"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Whole => f.write_str("whole"),
            Scope::Source(source) => write!(f, "source `{source}`"),
            Scope::Ou(ou) => write!(f, "OU `{ou}`"),
            Scope::Domain(domain) => write!(f, "domain `{domain}`"),
            Scope::Group(group) => write!(f, "group `{group}`"),
        }
    }
}

impl Guard {
    /// How many of what it counts this operation does.
    pub fn counts(self, operation: &Operation) -> u64 {
        // Whoever makes way is counted with what comes after it.
        if operation.reason == Reason::MakesWay {
            return 0;
        }
        let counts = match self {
            Guard::Create => operation.kind == Kind::Create,
            Guard::Update | Guard::SameAttribute => operation.kind == Kind::Update,
            Guard::Deactivate => operation.active == (true, false),
            Guard::Delete => operation.kind == Kind::Delete,
            Guard::ChangeEmail => {
                operation.kind != Kind::Create
                    && (operation.changes(Attribute::Email)
                        || operation.changes(Attribute::UserName))
            }
            // What is done to an account takes nobody out of a group.
            Guard::RemoveMembers => false,
        };
        u64::from(counts)
    }
}

/// What the limits need to know of something that is to be done: to an account, or to a group.
pub(super) trait Guarded {
    /// How many of what the guard counts it does.
    fn counts(&self, guard: Guard) -> u64;

    /// The attributes whose values it changes.
    fn changed(&self) -> Vec<Attribute>;

    /// The scope that it is counted in.
    fn scope(&self, per: Per) -> Option<Scope>;
}

/// The holds over what exceeds its limit. `population` tells what a share is taken of;
/// `is_approved` whether the hold of that name lets the one at that index through, which then
/// does not count; `is_left_out` whether it was left out when a part of the hold was approved, and
/// so is held also where there are few.
pub(super) fn over_limits(
    subjects: &[impl Guarded],
    guards: &Guards,
    population: impl Fn(Guard, &Scope) -> u64,
    is_approved: impl Fn(&str, usize) -> bool,
    is_left_out: impl Fn(&str, usize) -> bool,
) -> Vec<Found> {
    let mut found = Vec::new();
    for guard in Guard::ALL {
        let mut by_per: BTreeMap<Per, Vec<&Limit>> = BTreeMap::new();
        for limit in guards.limits(guard) {
            by_per.entry(limit.per).or_default().push(limit);
        }
        for (per, limits) in by_per {
            for ((attribute, scope), members) in tally(subjects, guard, per) {
                let population = population(guard, &scope);
                // Of several limits the narrowest counts.
                let allowed = limits.iter().filter_map(|limit| limit.allowed(population));
                let Some(allowed) = allowed.min() else {
                    continue;
                };
                let cause = HoldCause::Limit {
                    guard,
                    attribute,
                    scope,
                    allowed,
                    population,
                };
                let name = cause.name();
                let mut members: Vec<usize> = members
                    .into_iter()
                    .filter(|at| !is_approved(&name, *at))
                    .collect();
                let count = |members: &[usize]| -> u64 {
                    members.iter().map(|at| subjects[*at].counts(guard)).sum()
                };
                if count(&members) <= allowed {
                    // Few enough by themselves, but somebody has looked at them and let others go.
                    members.retain(|at| is_left_out(&name, *at));
                }
                let planned = count(&members);
                if planned > 0 {
                    found.push(Found {
                        hold: Hold {
                            name,
                            cause,
                            planned,
                            opened: None,
                        },
                        operations: members,
                    });
                }
            }
        }
    }
    found
}

/// Which of them count, by what is counted together.
fn tally(
    subjects: &[impl Guarded],
    guard: Guard,
    per: Per,
) -> BTreeMap<(Option<Attribute>, Scope), Vec<usize>> {
    let mut tally: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, subject) in subjects.iter().enumerate() {
        if subject.counts(guard) == 0 {
            continue;
        }
        let Some(scope) = subject.scope(per) else {
            continue;
        };
        let attributes = match guard {
            Guard::SameAttribute => subject.changed().into_iter().map(Some).collect(),
            _ => vec![None],
        };
        for attribute in attributes {
            tally
                .entry((attribute, scope.clone()))
                .or_default()
                .push(at);
        }
    }
    tally
}
