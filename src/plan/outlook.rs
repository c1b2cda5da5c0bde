//! Where an account stands and what is to come, for people to read. What happens is the state
//! machine's to say; when, is found by asking it about later moments.

use chrono::TimeDelta;
use serde::Serialize;

use super::draft::differences;
use super::lifecycle::{Event, State, Step, next};
use crate::config::{self, Adopt, Departure, Policies, Policy, Return};
use crate::model::{
    Absence, Cause, Change, ManagedAccount, Profile, SourceName, Timestamp, deletion_grace,
};

/// What the pulls are known to have shown of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// In scope; and whether the person may log in.
    Present {
        /// Whether the directory lets the person log in.
        is_enabled: bool,
    },
    /// Out of scope, by proof.
    Absent(Cause),
    /// Nothing that could be believed, or made an account of.
    Unknown,
}

/// Where an account stands, and what is to come if the directory goes on saying what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Where it stands.
    pub state: &'static str,
    /// What follows now.
    pub now: Option<&'static str>,
    /// What follows later.
    pub later: Option<Due>,
    /// The keys of the configuration that decide about it.
    pub rules: Vec<Rule>,
}

/// What is to come, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    /// What.
    pub what: &'static str,
    /// From when on.
    pub at: Timestamp,
    /// How many more complete pulls have to show it first.
    pub pulls: u32,
}

/// A key of the configuration with the value that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name in the tables of policies.
    pub key: String,
    /// Its value, as it would be written.
    pub value: String,
    /// `source.policy` or `policy`, for the table that the value comes from; `default` where it is
    /// the one of old.
    pub from: &'static str,
}

/// What differs between two profiles, of what the organization knows.
pub fn differing(before: &Profile, after: &Profile) -> Vec<Change> {
    differences(before, after)
}

/// Where an account of that source stands and what is to come. `is_doubtful` tells that a deletion
/// was sent and never answered, or its cancelling. The clock is trusted.
pub fn outlook(
    account: Option<&ManagedAccount>,
    seen: Seen,
    source: &SourceName,
    policies: &Policies,
    now: Timestamp,
    is_doubtful: bool,
) -> Outlook {
    let policy = policies.of(source);
    let course = Course {
        account,
        seen,
        policy,
        is_doubtful,
    };
    let state = course.state(now);
    let step = course.step(now, Known::AsItIs);
    Outlook {
        state: in_words(state),
        now: step.and_then(|step| consequence(step, state)),
        later: course.later(now),
        rules: course.rules(state, policies),
    }
}

/// How much of an absence is taken for granted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    AsItIs,
    /// As if enough pulls had confirmed it.
    Confirmed,
}

struct Course<'a> {
    account: Option<&'a ManagedAccount>,
    seen: Seen,
    policy: &'a Policy,
    is_doubtful: bool,
}

impl Course<'_> {
    fn state(&self, at: Timestamp) -> State {
        State::of(self.account, self.policy, at, true, self.is_doubtful)
    }

    /// The absence as far as it is noted; where it is not, the first pull is yet to be counted.
    fn absence(&self, at: Timestamp) -> Option<Absence> {
        let noted = self.account.and_then(|account| account.absence);
        let Seen::Absent(cause) = self.seen else {
            return None;
        };
        let first = Absence {
            since: at,
            cause: Some(cause),
            pulls: 1,
        };
        let noted = noted.filter(|absence| absence.pulls > 0);
        Some(noted.unwrap_or(first))
    }

    fn step(&self, at: Timestamp, known: Known) -> Option<Step> {
        let state = self.state(at);
        let event = match self.seen {
            Seen::Present { is_enabled } => Event::present(is_enabled, state, self.policy),
            Seen::Absent(cause) => {
                let mut absence = self.absence(at)?;
                if known == Known::Confirmed {
                    absence.pulls = absence.pulls.max(self.policy.deactivate_after.pulls);
                }
                Event::absent(cause, &absence, self.policy, at)
            }
            Seen::Unknown => return None,
        };
        Some(next(state, event))
    }

    /// The next thing that only time brings.
    fn later(&self, now: Timestamp) -> Option<Due> {
        let waits = |step| {
            let step_now = self.step(now, Known::AsItIs);
            let is_it = move |at| self.step(at, Known::Confirmed) == Some(step);
            (step_now != Some(step)).then_some(is_it)
        };
        let pulls = match self.absence(now) {
            Some(absence) => {
                let needed = self.policy.deactivate_after.pulls;
                needed.saturating_sub(absence.pulls)
            }
            None => 0,
        };
        let confirmed = self.policy.deactivate_after.time;
        if let Some(is_it) = waits(Step::Deactivate)
            && let Some(at) = first(now, confirmed, is_it)
        {
            let what = "the next sync deactivates the account";
            return Some(Due { what, at, pulls });
        }
        if let Some(after) = self.policy.delete_after
            && let Some(is_it) = waits(Step::Delete)
            && let Some(at) = first(now, after.max(confirmed), is_it)
        {
            let what = "the next sync deletes the account for good";
            return Some(Due { what, at, pulls });
        }
        if self.state(now) == State::DeletePending {
            let is_over = |at| self.state(at) == State::Expired;
            let at = first(now, deletion_grace(), is_over)?;
            let what = "the deletion can no longer be cancelled";
            let pulls = 0;
            return Some(Due { what, at, pulls });
        }
        None
    }

    /// The keys that decide about what was seen.
    fn rules(&self, state: State, policies: &Policies) -> Vec<Rule> {
        let rule = |key: &str, value: &dyn Fn(&Policy) -> String| {
            let (here, general) = (value(self.policy), value(&policies.default));
            Rule {
                key: key.to_owned(),
                from: if here != general {
                    "source.policy"
                } else if general != value(&Policy::default()) {
                    "policy"
                } else {
                    "default"
                },
                value: here,
            }
        };
        let kept = |rules: Vec<Rule>| {
            let rules = rules.into_iter();
            rules.filter(|rule| rule.value == quoted("keep")).collect()
        };
        match self.seen {
            Seen::Unknown => Vec::new(),
            Seen::Present { is_enabled: false } => {
                vec![rule("on_disabled", &|policy| departure(policy.on_disabled))]
            }
            Seen::Present { is_enabled: true } => match state {
                State::None | State::Deleted | State::Expired => {
                    vec![rule("adopt", &adopt), rule("match", &match_by)]
                }
                State::Active | State::Missing => kept(vec![
                    rule("on_rename", &|policy| change(policy.on_rename)),
                    rule("on_email_change", &|policy| change(policy.on_email_change)),
                    rule("on_source_change", &|policy| {
                        change(policy.on_source_change)
                    }),
                ]),
                State::Deactivated
                | State::Departed
                | State::Due
                | State::Doubtful
                | State::DoubtfulDue
                | State::DeletePending => vec![rule("on_return", &|policy| {
                    quoted(match policy.on_return {
                        Return::Restore => "restore",
                        Return::Keep => "keep",
                    })
                })],
            },
            Seen::Absent(cause) => {
                let key = format!("on_{}", cause.name());
                let mut rules = vec![rule(&key, &|policy| departure(policy.on_leave.of(cause)))];
                if self.policy.on_leave.of(cause) == Departure::Deactivate {
                    if matches!(state, State::Active | State::Missing) {
                        rules.push(rule("deactivate_after", &confirmation));
                    }
                    rules.push(rule("delete_after", &delete_after));
                }
                rules
            }
        }
    }
}

/// The first moment within that time at which the test is fulfilled, which it must stay from then
/// on.
fn first(
    now: Timestamp,
    within: TimeDelta,
    is_so: impl Fn(Timestamp) -> bool,
) -> Option<Timestamp> {
    let (mut before, mut after) = (0, within.num_milliseconds());
    let at = |millis| now.checked_add_signed(TimeDelta::milliseconds(millis));
    if is_so(now) {
        return Some(now);
    }
    if !is_so(at(after)?) {
        return None;
    }
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if is_so(at(middle)?) {
            after = middle;
        } else {
            before = middle;
        }
    }
    at(after)
}

fn in_words(state: State) -> &'static str {
    match state {
        State::None => "no account",
        State::Active => "active",
        State::Missing => "active, and the person is missing",
        State::Deactivated => "deactivated",
        State::Departed => "deactivated, as the person is missing",
        State::Due => "deactivated for longer than `delete_after`",
        State::Doubtful => "deactivated; an answer was lost, so that a deletion may be under way",
        State::DoubtfulDue => {
            "deactivated for longer than `delete_after`; an answer was lost, so that a deletion may be under way"
        }
        State::DeletePending => "deletion requested",
        State::Expired => "deletion requested, and no longer to be cancelled",
        State::Deleted => "deleted for good",
    }
}

/// What follows now, if anything does beside notes.
fn consequence(step: Step, state: State) -> Option<&'static str> {
    Some(match step {
        Step::Nothing | Step::Note | Step::Wait => return None,
        Step::Keep => "the account is kept as it is",
        Step::Create => "an account is made, or one that the organization has is adopted",
        Step::Adopt => "an account that the organization has is adopted; none is made",
        Step::Update => "the account follows the directory",
        Step::Deactivate => "the account is deactivated by the next sync",
        Step::Restore => "the login is restored by the next sync",
        Step::Cancel => {
            "the deletion is cancelled by the next sync; what else is to be done, by the one after it"
        }
        Step::Delete if state == State::DoubtfulDue => "the deletion is requested again",
        Step::Delete => "the deletion is requested by the next sync",
        Step::Tombstone => "the next sync notes that the account is gone",
    })
}

fn quoted(value: &str) -> String {
    format!("{value:?}")
}

fn departure(departure: Departure) -> String {
    quoted(match departure {
        Departure::Deactivate => "deactivate",
        Departure::Keep => "keep",
    })
}

fn change(change: config::Change) -> String {
    quoted(match change {
        config::Change::Follow => "follow",
        config::Change::Keep => "keep",
    })
}

fn adopt(policy: &Policy) -> String {
    match policy.adopt {
        Adopt::Off => "false".to_owned(),
        Adopt::Unowned => quoted("unowned"),
        Adopt::Any => "true".to_owned(),
    }
}

fn match_by(policy: &Policy) -> String {
    let rule = |rule: &Vec<crate::model::Attribute>| {
        let names: Vec<String> = rule.iter().map(|one| quoted(one.name())).collect();
        match names.as_slice() {
            [name] => name.clone(),
            names => format!("[{}]", names.join(", ")),
        }
    };
    let rules: Vec<String> = policy.match_by.iter().map(rule).collect();
    format!("[{}]", rules.join(", "))
}

fn confirmation(policy: &Policy) -> String {
    let needed = policy.deactivate_after;
    format!(
        "{{ pulls = {}, time = {} }}",
        needed.pulls,
        quoted(&span(needed.time))
    )
}

fn delete_after(policy: &Policy) -> String {
    policy
        .delete_after
        .map_or("false".to_owned(), |after| quoted(&span(after)))
}

/// A time in its largest unit without a rest, as it would be written.
fn span(time: TimeDelta) -> String {
    let units = [
        (86_400_000, "days"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1000, "s"),
        (1, "ms"),
    ];
    let millis = time.num_milliseconds();
    if millis == 0 {
        return "0s".to_owned();
    }
    let unit = units.into_iter().find(|(size, _)| millis % size == 0);
    let (size, name) = unit.unwrap_or((1, "ms"));
    format!("{}{name}", millis / size)
}
