//! The state machine: every state × every event.

use chrono::TimeDelta;

use super::super::fixture::*;
use super::super::lifecycle::{Event, State, Step, next};
use super::DEACTIVATED;
use crate::config::{Policy, Return};
use crate::model::Lifecycle;

fn state_name(state: State) -> &'static str {
    match state {
        State::None => "no account",
        State::Active => "active",
        State::Missing => "active, was missing",
        State::Deactivated => "deactivated",
        State::Departed => "deactivated, was missing",
        State::Due => "the same for `delete_after`",
        State::Doubtful => "deactivated, deletion in doubt",
        State::DoubtfulDue => "the same, and still due",
        State::DeletePending => "delete pending",
        State::Expired => "delete pending, grace over",
        State::Deleted => "deleted",
    }
}

fn event_name(event: Event) -> &'static str {
    match event {
        Event::Enabled => "enabled",
        Event::Barred => "enabled, `on_return = \"keep\"`",
        Event::Disabled => "disabled",
        Event::Tolerated => "disabled, `on_disabled = \"keep\"`",
        Event::Unconfirmed => "out of scope, unconfirmed",
        Event::Left => "out of scope",
        Event::Released => "out of scope, `on_leave = \"keep\"`",
    }
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::Nothing => "–",
        Step::Note => "note",
        Step::Keep => "keep, tell",
        Step::Wait => "wait, tell",
        Step::Create => "create or adopt",
        Step::Adopt => "adopt, else skip",
        Step::Update => "update",
        Step::Deactivate => "deactivate",
        Step::Restore => "restore",
        Step::Cancel => "cancel deletion",
        Step::Delete => "delete",
        Step::Tombstone => "note as deleted",
    }
}

#[test]
fn architecture_shows_every_state_and_event() {
    let mut table = "| state |".to_owned();
    for event in Event::ALL {
        table += &format!(" {} |", event_name(event));
    }
    table += &format!("\n|{}\n", " --- |".repeat(Event::ALL.len() + 1));
    for state in State::ALL {
        table += &format!("| {} |", state_name(state));
        for event in Event::ALL {
            table += &format!(" {} |", step_name(next(state, event)));
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table);
    let architecture = include_str!("../../../ARCHITECTURE.md");
    assert!(
        architecture.contains(&table),
        "the table in ARCHITECTURE.md is to be:\n{table}"
    );
}

#[test]
fn a_deletion_that_is_in_doubt_is_neither_under_way_nor_over() {
    let since = now() - TimeDelta::days(20);
    let pending = Lifecycle::DeletePending { since };
    let off = Lifecycle::Deactivated { since };
    let long_ago = Some("2026-01-01T00:00:00Z");
    for (lifecycle, absent, days, is_doubtful, expected) in [
        (pending, long_ago, 20, false, State::Expired),
        (pending, long_ago, 20, true, State::DoubtfulDue),
        (pending, long_ago, 21, true, State::Doubtful),
        (pending, None, 20, true, State::Doubtful),
        (off, long_ago, 20, false, State::Due),
        (off, long_ago, 20, true, State::DoubtfulDue),
        (off, long_ago, 21, true, State::Doubtful),
        (off, None, 20, true, State::Doubtful),
    ] {
        let account = in_state("a", lifecycle, absent);
        let policy = Policy {
            delete_after: Some(TimeDelta::days(days)),
            ..Policy::default()
        };
        let state = State::of(Some(&account), &policy, now(), true, is_doubtful);
        assert_eq!(
            state, expected,
            "{lifecycle:?} {absent:?} {days} {is_doubtful}"
        );
    }
}

#[test]
fn nothing_is_taken_away_from_who_is_in_scope_and_may_log_in() {
    for state in State::ALL {
        for event in [Event::Enabled, Event::Barred] {
            let step = next(state, event);
            assert!(
                !matches!(step, Step::Deactivate | Step::Delete | Step::Tombstone),
                "{state:?} {event:?} {step:?}"
            );
        }
    }
}

#[test]
fn only_who_is_out_of_scope_by_confirmation_is_deleted() {
    for state in State::ALL {
        for event in Event::ALL {
            if next(state, event) == Step::Delete {
                assert_eq!(event, Event::Left);
                assert!(matches!(state, State::Due | State::DoubtfulDue));
            }
        }
    }
}

#[test]
fn only_who_was_away_is_kept_from_logging_in_by_on_return() {
    for (left, expected) in [
        // Was disabled, and is not any more.
        (None, &["restore a"][..]),
        (Some("2026-06-10T00:00:00Z"), &[]),
    ] {
        let account = in_state("a", DEACTIVATED, left);
        let mut world = World::new(vec![person("a")], vec![account]);
        world.policy.on_return = Return::Keep;
        assert_eq!(brief(&world.planned()), expected, "{left:?}");
    }
}
