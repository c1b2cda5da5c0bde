//! What is kept of the past.

use chrono::TimeDelta;

/// How long the journal keeps what is not needed any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// How long a run is kept whole; always when `None`. It is 30 days at least.
    pub keep: Option<TimeDelta>,
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            keep: Some(TimeDelta::days(400)),
        }
    }
}
