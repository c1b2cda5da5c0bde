//! How the daemon is run, beside its schedule.

use std::time::Duration;

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// After so long without an entry read, an answer of the API or an operation ended, a job that is
    /// at work is taken to hang, and a watchdog is told no more.
    pub hang_after: Duration,
}

impl Default for Daemon {
    fn default() -> Self {
        Daemon {
            hang_after: Duration::from_secs(15 * 60),
        }
    }
}
