//! The proof that a pull saw all there is.

use std::fmt;

/// How a pull from one source ended, as its reader saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullEnd {
    /// The entries that were read.
    pub entries: u64,
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
}

impl Complete {
    /// Attests that the pull was complete.
    pub fn attest(end: PullEnd) -> Result<Self, Incomplete> {
        let PullEnd { entries, clean } = end;
        match clean {
            Ok(()) => Ok(Complete { entries }),
            Err(why) => Err(Incomplete { entries, why }),
        }
    }

    /// The entries that were read.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

impl fmt::Display for Complete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "complete, {} entries", self.entries)
    }
}
