//! The proof that a pull saw all there is.

use std::fmt;

use super::{Digest, Timestamp};

/// How a pull from one source ended, as its reader saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullEnd {
    /// The entries that the source has.
    pub entries: u64,
    /// How many of them were read, if only those were that have changed or gone.
    pub changed: Option<u64>,
    /// Whether every search ended with `success` (0) and, where pages were asked for, with an
    /// empty cookie (RFC 2696 section 3). The text says what came instead.
    pub clean: Result<(), String>,
}

/// A pull that ended before everything was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pull is incomplete (entries read: {entries}): {why}")]
pub struct Incomplete {
    /// The entries that were read.
    pub entries: u64,
    /// What came instead of a clean end.
    pub why: String,
}

/// The token of a complete pull. It can only be made from a clean [`PullEnd`], and only with
/// it can the planner plan a departure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complete {
    entries: u64,
    changed: Option<u64>,
}

impl Complete {
    /// Attests that the pull was complete.
    pub fn attest(end: PullEnd) -> Result<Self, Incomplete> {
        let PullEnd {
            entries,
            changed,
            clean,
        } = end;
        match clean {
            Ok(()) => Ok(Complete { entries, changed }),
            Err(why) => Err(Incomplete { entries, why }),
        }
    }

    /// The entries that the source has.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// How many of them were read, if only those were that have changed or gone.
    pub fn changed(&self) -> Option<u64> {
        self.changed
    }
}

impl fmt::Display for Complete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "complete, {} entries", self.entries)
    }
}

/// Where the next pull of a source continues, when it asks only for what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// What the source's reader makes of the server's cookie; opaque to everybody else.
    pub cookie: String,
    /// Of all that decides what a pull means: after a change there is no continuing.
    pub fingerprint: Digest,
    /// When the source was last read in full.
    pub full_at: Timestamp,
    /// How many people the source has.
    pub entries: u64,
}
