//! The program with the killer under it, and what it did.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::{NamedTempFile, TempDir};

use crate::support::program::Running;
use crate::support::{Dirsyncd, Output, SOON, eventually};

/// All kinds of events, as `killer.c` has them: pages written and synced, requests and answers, and what the directory
/// says.
pub(crate) const ANY: &str = "psrad";
/// Those without the pages: what stands in a transaction shows only when it is synced.
pub(crate) const STEPS: &str = "srad";

/// What befalls the program at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Before,
    Half,
    After,
    Stop,
    Term,
    Full,
    /// The clock is set.
    Leap,
}

impl How {
    /// The ways of being killed.
    pub(crate) const KILLS: [How; 3] = [How::Before, How::Half, How::After];

    fn word(self) -> &'static str {
        match self {
            How::Before => "before",
            How::Half => "half",
            How::After => "after",
            How::Stop => "stop",
            How::Term => "term",
            How::Full => "full",
            How::Leap => "leap",
        }
    }
}

/// At which event what befalls the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trap {
    /// The kinds of events that count.
    pub(crate) what: &'static str,
    /// Which of them, from 1; 0 for none.
    pub(crate) at: u64,
    pub(crate) how: How,
}

impl Trap {
    /// Nothing befalls it; all is counted.
    pub(crate) const NONE: Trap = Trap {
        what: ANY,
        at: 0,
        how: How::Before,
    };
}

/// The letters of so many events are kept.
const ROOM: usize = 1 << 16;

fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("killer.so");
        let made = Command::new("cc")
            .args(["-std=gnu11", "-O1", "-Wall", "-Werror", "-shared", "-fPIC"])
            .arg("-o")
            .arg(&path)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/killer.c"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        (folder, path)
    });
    path
}

/// A process that goes into a trap.
pub(crate) struct Trapped {
    pub(crate) running: Running,
    trace: NamedTempFile,
}

impl Trapped {
    /// Starts the program; the wall clock is so many seconds ahead for it.
    pub(crate) fn start(
        dirsyncd: &Dirsyncd,
        (api, ldap): (u16, u16),
        arguments: &[&str],
        Trap { what, at, how }: Trap,
        ahead: i64,
    ) -> Self {
        let trace = NamedTempFile::new().unwrap();
        trace.as_file().set_len(16 + ROOM as u64).unwrap();
        let texts = [
            ("CRASH_API", api.to_string()),
            ("CRASH_LDAP", ldap.to_string()),
            ("CRASH_WHAT", what.to_owned()),
            ("CRASH_AT", at.to_string()),
            ("CRASH_HOW", how.word().to_owned()),
            ("CRASH_CLOCK", ahead.to_string()),
        ];
        let database = dirsyncd.database();
        let mut environment: Vec<(&str, &Path)> = texts
            .iter()
            .map(|(name, text)| (*name, Path::new(text)))
            .collect();
        environment.push(("CRASH_STORE", &database));
        environment.push(("CRASH_TRACE", trace.path()));
        environment.push(("LD_PRELOAD", library()));
        Trapped {
            running: dirsyncd.start_with(arguments, &environment),
            trace,
        }
    }

    /// Waits until it stands still at its event.
    #[track_caller]
    pub(crate) fn wait_until_stopped(&self) {
        eventually("the event to stop at", SOON, || {
            self.running.is_stopped().then_some(())
        });
    }

    /// Waits for its end, and gives the letters of the events.
    #[track_caller]
    pub(crate) fn wait(self, within: Duration) -> (Output, String) {
        let output = self.running.wait_within(within);
        (output, events(self.trace.path()))
    }
}

fn events(trace: &Path) -> String {
    let bytes = std::fs::read(trace).unwrap();
    let all = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
    let kept = ROOM.min(usize::try_from(all).unwrap());
    String::from_utf8(bytes[16..16 + kept].to_vec()).unwrap()
}

/// How many of the events are of these kinds.
pub(crate) fn count(events: &str, what: &str) -> u64 {
    let counts = |kind: &char| what.contains(*kind);
    events.chars().filter(counts).count() as u64
}
