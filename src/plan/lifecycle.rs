//! The state machine of an account. `ARCHITECTURE.md` shows it as a table, which a test compares
//! with [`next`].

use crate::config::{Departure, Policy, Return};
use crate::model::{Absence, Cause, Lifecycle, ManagedAccount, Timestamp};

/// Where an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    None,
    /// The person can log in.
    Active,
    /// The person can log in, and was missing before.
    Missing,
    /// Login is off, and the person was there before.
    Deactivated,
    /// Login is off, and the person was missing before.
    Departed,
    /// The same for longer than `delete_after`.
    Due,
    /// Login is off, and a deletion was sent that was never answered, or that it is cancelled.
    Doubtful,
    /// The same, and by `delete_after` it is still to be deleted.
    DoubtfulDue,
    /// The deletion was requested, and can be cancelled.
    DeletePending,
    /// The deletion can no longer be cancelled.
    Expired,
    /// Gone for good.
    Deleted,
}

/// What complete pulls show of a person, as the policy takes it. Of a person of whom nothing is
/// known, as the entry cannot be read or mapped or the absence is not believed, there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// In scope, and may log in.
    Enabled,
    /// The same, and `on_return = "keep"`.
    Barred,
    /// In scope, and may not log in.
    Disabled,
    /// The same, and `on_disabled = "keep"`.
    Tolerated,
    /// Out of scope, and `deactivate_after` is not reached yet.
    Unconfirmed,
    /// Out of scope.
    Left,
    /// The same, and `on_leave = "keep"` for the cause.
    Released,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing changes, not even the snapshot.
    Nothing,
    /// Nothing is sent; the snapshot notes where the person is.
    Note,
    /// The same; and it is told that the policy keeps the account as it is.
    Keep,
    /// The same; and it is told that the absence is to be confirmed.
    Wait,
    /// A new account, or one that the organization has.
    Create,
    /// An account that the organization has, if there is one.
    Adopt,
    /// The attributes follow, if they differ.
    Update,
    /// Login is turned off.
    Deactivate,
    /// Login is turned on.
    Restore,
    /// The requested deletion is cancelled, and nothing else is done at once.
    Cancel,
    /// The deletion is requested.
    Delete,
    /// The snapshot notes that the account is gone for good.
    Tombstone,
}

impl State {
    #[cfg(test)]
    pub(super) const ALL: [State; 11] = [
        State::None,
        State::Active,
        State::Missing,
        State::Deactivated,
        State::Departed,
        State::Due,
        State::Doubtful,
        State::DoubtfulDue,
        State::DeletePending,
        State::Expired,
        State::Deleted,
    ];

    /// The state of an account at this moment. `is_doubtful` tells that it is not known whether a deletion
    /// is under way; while the clock is not trusted, no time is over.
    pub(super) fn of(
        account: Option<&ManagedAccount>,
        policy: &Policy,
        now: Timestamp,
        is_clock_trusted: bool,
        is_doubtful: bool,
    ) -> Self {
        let Some(account) = account else {
            return State::None;
        };
        // Counted from when both hold: gone, and without login.
        let is_due = |since: Timestamp, absence: Absence| {
            let after = policy.delete_after;
            absence.pulls > 0 && after.is_some_and(|after| now - absence.since.max(since) >= after)
        };
        match (account.lifecycle, account.absence) {
            (Lifecycle::Active, None) => State::Active,
            (Lifecycle::Active, Some(_)) => State::Missing,
            (
                Lifecycle::Deactivated { since } | Lifecycle::DeletePending { since },
                Some(absence),
            ) if is_doubtful && is_due(since, absence) => State::DoubtfulDue,
            (Lifecycle::Deactivated { .. } | Lifecycle::DeletePending { .. }, _) if is_doubtful => {
                State::Doubtful
            }
            (Lifecycle::Deactivated { since }, Some(absence)) if is_due(since, absence) => {
                State::Due
            }
            (Lifecycle::Deactivated { .. }, None) => State::Deactivated,
            (Lifecycle::Deactivated { .. }, Some(_)) => State::Departed,
            (Lifecycle::DeletePending { .. }, _)
                if is_clock_trusted && account.lifecycle.is_gone(now) =>
            {
                State::Expired
            }
            (Lifecycle::DeletePending { .. }, _) => State::DeletePending,
            (Lifecycle::Deleted { .. }, _) => State::Deleted,
        }
    }

    /// Whether the person's account was given up because the person was gone.
    pub(super) fn is_away(self) -> bool {
        match self {
            State::Departed
            | State::Due
            | State::Doubtful
            | State::DoubtfulDue
            | State::DeletePending => true,
            State::None
            | State::Active
            | State::Missing
            | State::Deactivated
            | State::Expired
            | State::Deleted => false,
        }
    }
}

impl Event {
    #[cfg(test)]
    pub(super) const ALL: [Event; 7] = [
        Event::Enabled,
        Event::Barred,
        Event::Disabled,
        Event::Tolerated,
        Event::Unconfirmed,
        Event::Left,
        Event::Released,
    ];

    /// A person who is in scope.
    pub(super) fn present(is_enabled: bool, state: State, policy: &Policy) -> Self {
        match (is_enabled, policy.on_disabled, policy.on_return) {
            (true, _, Return::Keep) if state.is_away() => Event::Barred,
            (true, _, _) => Event::Enabled,
            (false, Departure::Deactivate, _) => Event::Disabled,
            (false, Departure::Keep, _) => Event::Tolerated,
        }
    }

    /// A person who is out of scope, and has been so for this long.
    pub(super) fn absent(cause: Cause, absence: &Absence, policy: &Policy, now: Timestamp) -> Self {
        let needed = policy.deactivate_after;
        match policy.on_leave.of(cause) {
            Departure::Keep => Event::Released,
            Departure::Deactivate
                if absence.pulls < needed.pulls || now - absence.since < needed.time =>
            {
                Event::Unconfirmed
            }
            Departure::Deactivate => Event::Left,
        }
    }
}

/// What an event leads to in a state.
pub(super) fn next(state: State, event: Event) -> Step {
    match (state, event) {
        (State::None | State::Deleted, Event::Enabled | Event::Barred) => Step::Create,
        (State::None, Event::Disabled | Event::Tolerated) => Step::Adopt,
        (State::None, Event::Unconfirmed | Event::Left | Event::Released) => Step::Nothing,

        (State::Active | State::Missing, Event::Enabled | Event::Barred) => Step::Update,
        (State::Active | State::Missing, Event::Disabled) => Step::Deactivate,
        (State::Active | State::Missing, Event::Tolerated) => Step::Keep,
        (State::Active | State::Missing, Event::Unconfirmed) => Step::Wait,
        (State::Active | State::Missing, Event::Left) => Step::Deactivate,
        (State::Active | State::Missing, Event::Released) => Step::Keep,

        (State::Deactivated | State::Departed | State::Due, Event::Enabled) => Step::Restore,
        (State::Deactivated | State::Departed | State::Due, Event::Barred) => Step::Keep,
        // What changes while an account is deactivated is sent when it comes back.
        (State::Deactivated | State::Departed | State::Due, Event::Disabled | Event::Tolerated) => {
            Step::Note
        }
        (
            State::Deactivated | State::Departed,
            Event::Unconfirmed | Event::Left | Event::Released,
        )
        | (State::Due, Event::Unconfirmed | Event::Released) => Step::Note,
        (State::Due, Event::Left) => Step::Delete,

        // What is deleted cannot be had again: the login, if it is to be on, is turned on after that.
        (
            State::Doubtful | State::DoubtfulDue | State::DeletePending,
            Event::Enabled | Event::Barred | Event::Disabled | Event::Tolerated,
        ) => Step::Cancel,
        (State::DoubtfulDue, Event::Left) => Step::Delete,
        (State::DoubtfulDue, Event::Unconfirmed | Event::Released)
        | (
            State::Doubtful | State::DeletePending,
            Event::Unconfirmed | Event::Left | Event::Released,
        ) => Step::Note,

        (State::Expired, Event::Enabled | Event::Barred) => Step::Create,
        (
            State::Expired,
            Event::Disabled | Event::Tolerated | Event::Unconfirmed | Event::Left | Event::Released,
        ) => Step::Tombstone,

        (State::Deleted, Event::Disabled | Event::Tolerated) => Step::Note,
        (State::Deleted, Event::Unconfirmed | Event::Left | Event::Released) => Step::Note,
    }
}
