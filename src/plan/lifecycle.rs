//! The state machine of an account. `ARCHITECTURE.md` shows it as a table.

use crate::config::{Departure, Policy};
use crate::model::{Lifecycle, ManagedAccount, Reason, Timestamp, deletion_grace};

/// How a person appears in complete pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// In the directory, and may log in.
    Enabled,
    /// In the directory, and may not log in.
    Disabled,
    /// Not in the directory.
    Absent,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is sent.
    Nothing,
    /// A new account.
    Create(Reason),
    /// Bring the attributes up to date, if they differ.
    Update,
    /// Turn login off.
    Deactivate(Reason),
    /// Bring the account back.
    Restore {
        /// A requested deletion is cancelled first.
        cancel_delete: bool,
        /// Why.
        reason: Reason,
    },
    /// Request the deletion.
    Delete(Reason),
    /// The deletion's grace is over: only the snapshot changes.
    Tombstone(Lifecycle),
}

/// All that decides the next step.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) account: Option<&'a ManagedAccount>,
    pub(super) presence: Presence,
    pub(super) policy: &'a Policy,
    pub(super) now: Timestamp,
    /// Whether `now` is to be believed.
    pub(super) is_clock_trusted: bool,
    /// A deletion was sent and never answered.
    pub(super) may_be_deleted: bool,
}

/// The next step.
pub(super) fn step(situation: Situation<'_>) -> Step {
    let Situation {
        account,
        presence,
        policy,
        now,
        is_clock_trusted,
        may_be_deleted,
    } = situation;
    let Some(account) = account else {
        // A disabled person may still have an account that can be adopted.
        return match presence {
            Presence::Enabled | Presence::Disabled => Step::Create(Reason::Joined),
            Presence::Absent => Step::Nothing,
        };
    };
    let back = if account.departed_at.is_some() {
        Reason::Returned
    } else {
        Reason::Enabled
    };
    match (account.lifecycle, presence) {
        (Lifecycle::Active, Presence::Enabled) => Step::Update,
        (Lifecycle::Active, Presence::Disabled) => match policy.on_disabled {
            Departure::Deactivate => Step::Deactivate(Reason::Disabled),
            Departure::Keep => Step::Update,
        },
        (Lifecycle::Active, Presence::Absent) => match policy.on_leave {
            Departure::Deactivate => Step::Deactivate(Reason::Left),
            Departure::Keep => Step::Nothing,
        },
        (Lifecycle::Deactivated { .. }, Presence::Enabled) => Step::Restore {
            cancel_delete: may_be_deleted,
            reason: back,
        },
        // Also for a person who is back but disabled: what is deleted cannot be had again.
        (Lifecycle::Deactivated { .. }, Presence::Disabled) if may_be_deleted => Step::Restore {
            cancel_delete: true,
            reason: Reason::Returned,
        },
        // What changes while an account is deactivated is sent when it comes back.
        (Lifecycle::Deactivated { .. }, Presence::Disabled) => Step::Nothing,
        (Lifecycle::Deactivated { since }, Presence::Absent) => {
            match (policy.on_leave, policy.delete_after, account.departed_at) {
                // Counted from when both hold: gone, and without login.
                (Departure::Deactivate, Some(after), Some(departed))
                    if now - departed.max(since) >= after =>
                {
                    Step::Delete(Reason::LeftLongAgo { since: departed })
                }
                _ => Step::Nothing,
            }
        }
        (Lifecycle::DeletePending { since }, presence)
            if is_clock_trusted && now - since >= deletion_grace() =>
        {
            match presence {
                Presence::Enabled => Step::Create(Reason::JoinedAgain),
                Presence::Disabled | Presence::Absent => Step::Tombstone(Lifecycle::Deleted {
                    since: since + deletion_grace(),
                }),
            }
        }
        (Lifecycle::DeletePending { .. }, Presence::Enabled | Presence::Disabled) => {
            Step::Restore {
                cancel_delete: true,
                reason: Reason::Returned,
            }
        }
        (Lifecycle::DeletePending { .. }, Presence::Absent) => Step::Nothing,
        (Lifecycle::Deleted { .. }, Presence::Enabled) => Step::Create(Reason::JoinedAgain),
        (Lifecycle::Deleted { .. }, Presence::Disabled | Presence::Absent) => Step::Nothing,
    }
}
