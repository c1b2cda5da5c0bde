//! How far `dirsyncd revert` can put back what an operation does: told before it is done.

use std::fmt;

use crate::model::{GroupChange, GroupOperation, Kind, Operation, Timestamp, deletion_grace};

/// How far an operation can be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Wholly.
    Full,
    /// Not wholly: what will be of the account.
    InPart(&'static str),
    /// Wholly, before this moment, and afterwards not at all.
    Until(Timestamp),
    /// Not at all, for this reason.
    Never(&'static str),
}

impl Undo {
    /// How far this operation can be undone, if it is done now.
    pub fn of(operation: &Operation, now: Timestamp) -> Self {
        match operation.kind {
            _ if operation.lets_go() => {
                Undo::Never("the account is not managed any more; a sync may adopt it again")
            }
            Kind::Create => {
                Undo::InPart("an account cannot be uncreated: it stays, and is deactivated")
            }
            Kind::Delete => Undo::Until(now + deletion_grace()),
            Kind::Adopt if operation.takes_over() => Undo::InPart(
                "the account gets its old key and values back; which key another provisioner would have given it meanwhile nobody knows",
            ),
            Kind::Restore if operation.cancel_delete && !operation.active.1 => {
                Undo::Never("a cancelled deletion is not requested again")
            }
            // Of saved plans of before, in which a cancellation restores at once.
            Kind::Restore if operation.cancel_delete => Undo::InPart(
                "the account is deactivated again; its cancelled deletion is not requested again",
            ),
            Kind::Adopt | Kind::Update | Kind::Restore | Kind::Deactivate => Undo::Full,
        }
    }

    /// How far this group operation can be undone.
    pub fn of_group(operation: &GroupOperation) -> Self {
        match operation.kind {
            _ if operation.lets_go() => {
                Undo::Never("the group is not kept any more; a sync may adopt it again")
            }
            GroupChange::Rename => Undo::InPart(
                "a group of the old name is made anew: what was permitted to the old one must be permitted to it again",
            ),
            GroupChange::Delete => Undo::InPart(
                "the group is made anew with its members: what was permitted to it must be permitted again",
            ),
            GroupChange::Create | GroupChange::Adopt | GroupChange::Update => Undo::Full,
        }
    }

    /// Its name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Undo::Full => "full",
            Undo::InPart(_) => "in_part",
            Undo::Until(_) => "until",
            Undo::Never(_) => "never",
        }
    }

    /// The first moment at which it cannot be undone any more.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Undo::Until(until) => Some(*until),
            Undo::Full | Undo::InPart(_) | Undo::Never(_) => None,
        }
    }
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undo::Full => f.write_str("`dirsyncd revert` puts it back"),
            Undo::Until(until) => write!(
                f,
                "`dirsyncd revert` cancels it before {}, and nothing does later",
                until.format("%Y-%m-%d %H:%M UTC")
            ),
            Undo::InPart(how) | Undo::Never(how) => f.write_str(how),
        }
    }
}
