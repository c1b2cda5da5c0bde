//! Where people are whom a pull has not shown, and how long.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Why a person is no longer in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No entry has the person's key any more, as far as the bind DN may see.
    Deleted,
    /// The entry is outside the search bases now.
    MovedOut,
    /// The filter does not match the entry any more.
    Unmatched,
    /// The person is in none of the selecting groups any more.
    Ungrouped,
    /// A rule of the configuration leaves the person out.
    Excluded,
    /// By the configuration that was in force before, the person would still be in scope.
    Rescoped,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 6] = [
        Cause::Deleted,
        Cause::MovedOut,
        Cause::Unmatched,
        Cause::Ungrouped,
        Cause::Excluded,
        Cause::Rescoped,
    ];

    /// The name in reports, in the snapshot and, after `on_`, in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Deleted => "deleted",
            Cause::MovedOut => "moved_out",
            Cause::Unmatched => "unmatched",
            Cause::Ungrouped => "ungrouped",
            Cause::Excluded => "excluded",
            Cause::Rescoped => "rescoped",
        }
    }

    /// The cause of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Cause::Deleted => "no longer in the directory",
            Cause::MovedOut => "moved out of the search bases",
            Cause::Unmatched => "no longer matched by the filter",
            Cause::Ungrouped => "no longer in a selecting group",
            Cause::Excluded => "excluded by the configuration",
            Cause::Rescoped => "put out of scope by a change of the configuration",
        })
    }
}

/// A person's absence from complete pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// When the first pull did not show the person.
    pub since: Timestamp,
    /// Why, as it was last found out; `None` in a row of an older schema.
    pub cause: Option<Cause>,
    /// How many complete pulls have confirmed it, as far as they are counted. None: the person
    /// is back, and the login stays off (`on_return = "keep"`).
    pub pulls: u32,
}

/// Where a person is whom a complete pull has not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Out of scope.
    Out(Cause),
    /// There is an entry that cannot be read far enough to tell: unknown, not absent.
    Unreadable(String),
    /// In scope: the pull has missed the person.
    InScope,
}
