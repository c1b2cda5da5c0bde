//! Holds: their names, by which they are approved, and what they say.

use std::fmt;

use chrono_tz::Tz;

use super::Scope;
use crate::config::Guard;
use crate::model::{Attribute, Digest, RunId, Timestamp};

/// Operations that wait, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// The name by which it is approved: the same as long as the same holds.
    pub name: String,
    /// What holds them.
    pub cause: HoldCause,
    /// How many are held: operations, or members that would be removed.
    pub planned: u64,
    /// The database's record of it, once there is one.
    pub opened: Option<Opened>,
}

/// When a hold was opened, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number. A hold that comes again after its end has another one.
    pub number: i64,
    /// When a run first saw it.
    pub since: Timestamp,
    /// From then on nobody can approve it any more, and no approval counts.
    pub until: Timestamp,
}

/// What holds operations back.
#[derive(Clone, Debug, PartialEq)]
pub enum HoldCause {
    /// More operations than a limit allows.
    Limit {
        /// What was counted.
        guard: Guard,
        /// The attribute, of the guard that counts each by itself.
        attribute: Option<Attribute>,
        /// Where it was counted.
        scope: Scope,
        /// How many the limit allows in this population.
        allowed: u64,
        /// How many accounts, or members, the share is taken of.
        population: u64,
    },
    /// The configuration protects the accounts, or groups that they are in.
    Protected,
    /// A group of administrators would be left without an active member.
    Administrators {
        /// The groups.
        groups: Vec<String>,
        /// Groups that the configuration names and the organization does not have.
        missing: Vec<String>,
    },
    /// The configuration lets nothing, or not this, be done now.
    Freeze {
        /// The first moment after it.
        until: Timestamp,
        /// The zone in which that is shown.
        zone: Tz,
    },
    /// The clock cannot be trusted, and deletions are counted by it.
    Clock {
        /// What does not fit.
        why: String,
    },
    /// They do again what somebody has reverted.
    Reverted {
        /// The runs that put it back.
        by: Vec<RunId>,
    },
    /// The accounts carried another key when the organization was last read back.
    Rekeyed,
    /// They were held when the plan was saved that is carried out now.
    Saved {
        /// What held them then.
        why: String,
    },
}

impl HoldCause {
    /// The name of the hold.
    pub fn name(&self) -> String {
        match self {
            HoldCause::Limit {
                guard,
                attribute,
                scope,
                ..
            } => {
                let attribute = attribute.map_or(String::new(), |name| format!(".{name}"));
                let scope = match scope {
                    Scope::Whole => String::new(),
                    scope => format!(".{}", scope.name()),
                };
                format!("{}{attribute}{scope}", guard.name())
            }
            HoldCause::Protected => "protected".to_owned(),
            HoldCause::Administrators { .. } => "administrators".to_owned(),
            HoldCause::Freeze { .. } => "freeze".to_owned(),
            HoldCause::Clock { .. } => "clock".to_owned(),
            HoldCause::Reverted { .. } => "reverted".to_owned(),
            HoldCause::Rekeyed => "rekeyed".to_owned(),
            HoldCause::Saved { .. } => "saved".to_owned(),
        }
    }

    /// Takes in the groups, or the runs, of another cause of the same name.
    pub(super) fn extend(&mut self, other: HoldCause) {
        match (self, other) {
            (
                HoldCause::Administrators { groups, .. },
                HoldCause::Administrators { groups: more, .. },
            ) => {
                groups.extend(more);
                groups.sort();
                groups.dedup();
            }
            (HoldCause::Reverted { by }, HoldCause::Reverted { by: more }) => {
                by.extend(more);
                by.sort();
                by.dedup();
            }
            _ => {}
        }
    }

    /// Whether somebody can approve what it holds.
    pub fn can_be_approved(&self) -> bool {
        !matches!(self, HoldCause::Clock { .. } | HoldCause::Saved { .. })
    }
}

/// Holds one more operation that was held when the plan was saved: the index of its hold.
pub(in crate::plan) fn hold_before(holds: &mut Vec<Hold>, why: String) -> usize {
    let cause = HoldCause::Saved { why };
    let same = holds.iter().position(|hold| hold.cause == cause);
    let at = same.unwrap_or_else(|| {
        holds.push(Hold {
            name: cause.name(),
            cause,
            planned: 0,
            opened: None,
        });
        holds.len() - 1
    });
    holds[at].planned += 1;
    at
}

impl Hold {
    /// The command that lets it through.
    pub fn way_out(&self) -> String {
        approve_command(&self.name, None)
    }
}

/// The command that lets what the hold of this name holds through, or of it what it holds of one
/// person.
pub fn approve_command(name: &str, only: Option<&str>) -> String {
    let only = only.map_or(String::new(), |key| format!(" --only {}", quoted(key)));
    format!("dirsyncd approve {}{only} --reason …", quoted(name))
}

/// What the message of a hold of this name says, without its last words, which tell how to let it through.
pub fn without_way_out<'a>(message: &'a str, name: &str) -> &'a str {
    let rest = message.strip_suffix(&approve_command(name, None));
    let rest = rest.and_then(|rest| rest.rsplit_once("; "));
    rest.map_or(message, |(why, _)| why)
}

/// A word as a shell takes it.
pub(in crate::plan) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-=,@".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let planned = self.planned;
        let way_out = self.way_out();
        match &self.cause {
            HoldCause::Limit {
                guard,
                attribute,
                scope,
                allowed,
                population,
            } => {
                let (one, several) = counted(*guard);
                let (what, are, they) = match planned {
                    1 => (one, "is", "it is"),
                    _ => (several, "are", "they are"),
                };
                let what = match (guard, attribute) {
                    (Guard::SameAttribute, Some(attribute)) => format!("{what} of {attribute}"),
                    (Guard::SameAttribute, None) => format!("{what} of one attribute"),
                    _ => what.to_owned(),
                };
                #[allow(clippy::cast_precision_loss)]
                let share = 100.0 * planned as f64 / (*population).max(1) as f64;
                let whom = match (guard, population) {
                    (Guard::RemoveMembers, 1) => "member",
                    (Guard::RemoveMembers, _) => "members",
                    (_, 1) => "account",
                    _ => "accounts",
                };
                let place = match scope {
                    Scope::Whole => String::new(),
                    scope => format!(" of {scope}"),
                };
                write!(
                    f,
                    "{planned} {what} among {population} {whom}{place} ({share:.1} %) {are} more than the {allowed} that `{}` in [guards] allows: {they} held, the rest goes on; if {they} right: {way_out}",
                    guard.name()
                )
            }
            HoldCause::Protected => write!(
                f,
                "`protected` or `protected_groups` in [guards] name the account or a group of it: held: {planned}; if they are right: {way_out}"
            ),
            HoldCause::Administrators { groups, missing } => {
                if !groups.is_empty() {
                    let groups = groups.join("`, `");
                    write!(f, "no active member would be left of `{groups}`, ")?;
                }
                if !missing.is_empty() {
                    let missing = missing.join("`, `");
                    write!(f, "the organization has no group `{missing}`, ")?;
                }
                write!(
                    f,
                    "which `administrators` in [guards] names: held: {planned}; if they are right: {way_out}"
                )
            }
            HoldCause::Freeze { until, zone } => write!(
                f,
                "[[guards.freeze]] until {}: held: {planned}; they go on after it; to do them now: {way_out}",
                until.with_timezone(zone).format("%Y-%m-%d %H:%M %Z")
            ),
            HoldCause::Clock { why } => write!(
                f,
                "{why}; departures held, as deletions are counted by the clock: {planned}; set the clock right (NTP) and run again"
            ),
            HoldCause::Reverted { by } => {
                let runs: Vec<String> = by.iter().map(ToString::to_string).collect();
                let run = if runs.len() > 1 { "runs" } else { "run" };
                write!(
                    f,
                    "reverted by {run} {}, and the directory still wants it: held: {planned}; they stay held until the directory changes; if they are right after all: {way_out}",
                    runs.join(", ")
                )
            }
            HoldCause::Rekeyed => write!(
                f,
                "`dirsyncd reconcile` found another key on the account, which may be another tool's by now: held: {planned}; they stay held until a reconcile finds its own key there again; if they are right all the same: {way_out}"
            ),
            HoldCause::Saved { why } => write!(
                f,
                "operations that were held when the plan was saved: {planned}; they stay held, and a new plan looks at them anew (then: {why})"
            ),
        }
    }
}

/// What a guard counts: one, and several.
fn counted(guard: Guard) -> (&'static str, &'static str) {
    match guard {
        Guard::Create => ("creation", "creations"),
        Guard::Update => ("update", "updates"),
        Guard::Deactivate => ("deactivation", "deactivations"),
        Guard::Delete => ("deletion", "deletions"),
        Guard::ChangeEmail => (
            "change of e-mail or user name",
            "changes of e-mail or user name",
        ),
        Guard::SameAttribute => ("change", "changes"),
        Guard::RemoveMembers => ("removal of a member", "removals of members"),
    }
}

/// That somebody has let an operation through, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Its number in the database.
    pub id: i64,
    /// The hold that it is about.
    pub hold: String,
    /// The operation, by [`Operation::digest`].
    pub digest: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hold_says_is_whole_without_the_way_out_too() {
        let text = |text: &str| text.to_owned();
        for cause in [
            HoldCause::Limit {
                guard: Guard::Deactivate,
                attribute: None,
                scope: Scope::Whole,
                allowed: 3,
                population: 40,
            },
            HoldCause::Protected,
            HoldCause::Administrators {
                groups: vec![text("a; b: c")],
                missing: vec![text("d")],
            },
            HoldCause::Freeze {
                until: Timestamp::UNIX_EPOCH,
                zone: Tz::UTC,
            },
            HoldCause::Reverted { by: vec![RunId(2)] },
            HoldCause::Rekeyed,
            HoldCause::Clock { why: text("slow") },
            HoldCause::Saved { why: text("w") },
        ] {
            let hold = Hold {
                name: format!("revert-2.{}.ou=people; staff", cause.name()),
                cause,
                planned: 57,
                opened: None,
            };
            let told = hold.to_string();
            let why = without_way_out(&told, &hold.name);
            assert_eq!(why != told, hold.cause.can_be_approved(), "{told}");
            assert!(told.starts_with(why) && why.contains("57"), "{why}");
            assert!(
                !why.contains("approve") && !why.contains("if they are right"),
                "{why}"
            );
        }
    }

    #[test]
    fn one_is_told_as_one() {
        let told = |guard, attribute, planned, population| {
            let cause = HoldCause::Limit {
                guard,
                attribute,
                scope: Scope::Whole,
                allowed: 0,
                population,
            };
            let hold = Hold {
                name: cause.name(),
                cause,
                planned,
                opened: None,
            };
            without_way_out(&hold.to_string(), &hold.name).to_owned()
        };
        assert_eq!(
            told(Guard::Deactivate, None, 1, 1),
            "1 deactivation among 1 account (100.0 %) is more than the 0 that `deactivate` in [guards] allows: it is held, the rest goes on"
        );
        assert_eq!(
            told(Guard::RemoveMembers, None, 2, 4),
            "2 removals of members among 4 members (50.0 %) are more than the 0 that `remove_members` in [guards] allows: they are held, the rest goes on"
        );
        let title = Some(Attribute::Title);
        let told = told(Guard::SameAttribute, title, 1, 8);
        assert!(
            told.starts_with("1 change of title among 8 accounts"),
            "{told}"
        );
    }
}
