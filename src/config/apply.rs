//! How a run carries its plan out.

use chrono::TimeDelta;

/// The smallest budget of requests: a quarter of it is what has a turn in any run (`plan/budget.rs`), and as much
/// is what turning a login off takes, or cancelling a deletion.
pub const LEAST_CALLS: u64 = 8;

/// How a run carries its plan out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apply {
    /// After so many failures of its own in a row an operation is not tried any more until somebody says so.
    pub quarantine_after: u32,
    /// The most requests by which one run carries its plan out; any number when `None`.
    pub max_calls: Option<u64>,
    /// So long after its beginning a run sends nothing more; never when `None`.
    pub deadline: Option<TimeDelta>,
}

impl Default for Apply {
    fn default() -> Self {
        Apply {
            quarantine_after: 5,
            max_calls: None,
            deadline: None,
        }
    }
}
