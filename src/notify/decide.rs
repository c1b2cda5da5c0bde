//! Who is told what when: what was told, what is, and the time give the messages. Pure.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::message::{Former, Kind, Message, Part, State};
use super::seen::{Matter, Seen};
use crate::config::{Channel, Event};
use crate::model::Timestamp;

/// As long as something goes on, people are told again after so long.
pub(super) const REMIND_AFTER: TimeDelta = TimeDelta::days(1);

/// What is known of former messages names so many of these.
const FORMER: usize = 50;

/// What was told of a matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) event: Event,
    /// When it was first told.
    pub(super) since: Timestamp,
    /// When it was last told.
    pub(super) at: Timestamp,
    /// As it was then.
    pub(super) matter: Matter,
}

/// What was told, by topic.
pub(super) type AllTold = BTreeMap<String, Told>;

/// What people are told, in messages of one kind each, and what was told then. `seen` is `None` where nothing
/// was looked at: only reminders come due.
pub(super) fn decide(
    told: AllTold,
    seen: Option<&Seen>,
    now: Timestamp,
) -> (AllTold, Vec<Message>) {
    let mut parts: BTreeMap<Event, Vec<Part>> = BTreeMap::new();
    let mut then = AllTold::new();
    let matters = seen.map_or(&[][..], |seen| &seen.matters);
    for (event, matter) in matters {
        let former = told.get(&matter.topic);
        let state = former.map_or(Some(State::New), |former| {
            change(former, matter, *event, now)
        });
        let since = former.map_or(now, |former| former.since.min(now));
        let kept = match (state, former) {
            (None, Some(former)) => Told {
                // Who has gone from it is new when back; who has come is told when there are more.
                matter: Matter {
                    items: former
                        .matter
                        .items
                        .intersection(&matter.items)
                        .cloned()
                        .collect(),
                    ..matter.clone()
                },
                at: former.at.min(now),
                ..former.clone()
            },
            _ => Told {
                event: *event,
                since,
                at: now,
                matter: matter.clone(),
            },
        };
        then.insert(matter.topic.clone(), kept);
        if let Some(state) = state {
            parts
                .entry(*event)
                .or_default()
                .push(Part::of(*event, matter, state, since));
        }
    }
    for (topic, mut former) in told {
        if then.contains_key(&topic) {
            continue;
        }
        if seen.is_some_and(|seen| seen.would_show(&topic)) {
            let part = Part::of(former.event, &former.matter, State::Over, former.since);
            parts.entry(Event::Recovery).or_default().push(part);
            continue;
        }
        // By a clock that was ahead.
        former.at = former.at.min(now);
        if now - former.at >= REMIND_AFTER {
            former.at = now;
            let part = Part::of(former.event, &former.matter, State::Ongoing, former.since);
            parts.entry(former.event).or_default().push(part);
        }
        then.insert(topic, former);
    }
    let run = seen.and_then(|seen| seen.run).map(|run| run.0);
    let messages = parts.into_iter().map(|(event, parts)| Message {
        kind: Kind::Event(event),
        at: now,
        run,
        parts,
        summed_up: Vec::new(),
        omitted: 0,
    });
    (then, messages.collect())
}

/// What of a matter that was told is to be told again: it is of another kind, it has grown by a tenth, or it
/// was last told long ago.
fn change(former: &Told, matter: &Matter, event: Event, now: Timestamp) -> Option<State> {
    let fresh = matter.items.difference(&former.matter.items).count();
    let grown = fresh > 0 && fresh * 10 >= former.matter.items.len();
    if grown || former.event != event {
        Some(State::Worse)
    } else if now - former.at.min(now) >= REMIND_AFTER {
        Some(State::Ongoing)
    } else {
        None
    }
}

/// What of a message a channel gets.
pub(super) fn for_channel(message: &Message, channel: &Channel) -> Option<Message> {
    let Kind::Event(event) = message.kind else {
        return Some(message.clone());
    };
    if !channel.events.contains(&event) {
        return None;
    }
    // Nobody hears the end of what they were not told.
    let parts = message
        .parts
        .iter()
        .filter(|part| channel.events.contains(&part.event));
    let parts: Vec<Part> = parts.cloned().collect();
    (!parts.is_empty()).then(|| Message {
        parts,
        ..message.clone()
    })
}

/// How many more messages may go out now, when so many an hour may and these went out before.
pub(super) fn room(sent: &[Timestamp], at_most: u32, now: Timestamp) -> usize {
    let recent = sent.iter().filter(|at| is_recent(**at, now)).count();
    (at_most as usize).saturating_sub(recent)
}

/// When there is room again, if there is none.
pub(super) fn room_at(sent: &[Timestamp], at_most: u32, now: Timestamp) -> Timestamp {
    let mut recent: Vec<Timestamp> = sent
        .iter()
        .copied()
        .filter(|at| is_recent(*at, now))
        .collect();
    recent.sort_unstable();
    let first = recent.len().checked_sub(at_most as usize);
    match first.and_then(|first| recent.get(first)) {
        Some(at) => *at + HOUR,
        None => now,
    }
}

const HOUR: TimeDelta = TimeDelta::hours(1);

/// What was sent by a clock that was ahead does not keep a channel silent until then.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    at <= now && now - at < HOUR
}

/// The last of several messages, which tells of the others as well; `None` of none.
pub(super) fn sum_up(messages: Vec<Message>) -> Option<Message> {
    let mut messages = messages;
    let mut last = messages.pop()?;
    let mut former = Vec::new();
    let mut omitted = last.omitted;
    for message in messages {
        omitted += message.omitted;
        let own = Former {
            kind: message.kind,
            at: message.at,
            run: message.run,
            headline: message.headline(),
        };
        former.extend(message.summed_up);
        former.push(own);
    }
    former.append(&mut last.summed_up);
    let beyond = former.len().saturating_sub(FORMER);
    former.drain(..beyond);
    last.omitted = omitted + beyond as u64;
    last.summed_up = former;
    Some(last)
}

/// How long it is waited after so many attempts: from half a minute to an hour, twice as long each time.
pub(super) fn backoff(attempts: u32) -> TimeDelta {
    let doublings = attempts.saturating_sub(1).min(10);
    (TimeDelta::seconds(30) * (1 << doublings)).min(HOUR)
}
