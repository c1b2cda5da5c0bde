//! How the daemon is run, beside its schedule.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SecretRef;
use super::permissions::{beside, real_name};

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// After so long without an entry read, an answer of the API or an operation ended, a job that is
    /// at work is taken to hang, and a watchdog is told no more.
    pub hang_after: Duration,
    /// The Unix socket on which it is asked and told things; `None` where there is to be none.
    pub socket: Option<PathBuf>,
    /// Where it can be asked and told things by TCP as well.
    pub listen: Option<Listen>,
}

/// A place on this machine's loopback interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; it is a loopback one.
    pub address: SocketAddr,
    /// The secret that whoever asks has to give.
    pub token: SecretRef,
}

impl Daemon {
    /// [`hang_after`](Self::hang_after), unless it is set.
    pub(super) const HANG_AFTER: Duration = Duration::from_secs(15 * 60);

    /// The socket of a daemon with this database, unless it is set: beside its locks, so that two databases in
    /// one folder have two, and a database has one by whatever links a path leads to it.
    pub(super) fn default_socket(database: &Path) -> PathBuf {
        beside(&real_name(database), ".sock")
    }

    /// Whether it is to be asked at the same places.
    pub fn listens_as(&self, other: &Daemon) -> bool {
        let address = |daemon: &Daemon| daemon.listen.as_ref().map(|listen| listen.address);
        (&self.socket, address(self)) == (&other.socket, address(other))
    }
}
