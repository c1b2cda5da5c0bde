//! Whether the work goes on.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::LOOK;
use crate::apply::Watch;
use crate::model::{GroupChange, Kind, Timestamp};
use crate::org::Watcher;

/// How often it is looked whether what is waited for hangs.
const GLANCE: Duration = Duration::from_secs(1);

/// When the daemon last came on with what it does.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Last>);

#[derive(Debug)]
struct Last {
    beat: Instant,
    is_at_work: bool,
    progress: Progress,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// How many entries it has read.
    pub entries: u64,
    /// How many operations it sends.
    pub operations: usize,
    /// How many of these have ended.
    pub ended: usize,
    /// How many of those have failed.
    pub failed: usize,
}

/// What a job is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It looks at what there is, before entries are read.
    Beginning,
    /// It reads the sources, and plans.
    Reading,
    /// It sends operations.
    Sending,
}

impl Phase {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Beginning => "beginning",
            Phase::Reading => "reading",
            Phase::Sending => "sending",
        }
    }
}

impl Progress {
    fn new() -> Self {
        Progress {
            phase: Phase::Beginning,
            since: chrono::Utc::now(),
            entries: 0,
            operations: 0,
            ended: 0,
            failed: 0,
        }
    }

    fn turn_to(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.since = chrono::Utc::now();
        }
    }

    fn count(&mut self, failed: bool) {
        self.ended += 1;
        self.failed += usize::from(failed);
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse(Mutex::new(Last {
            beat: Instant::now(),
            is_at_work: false,
            progress: Progress::new(),
        }))
    }
}

impl Pulse {
    /// It has come on, so far.
    fn beat(&self, come: impl FnOnce(&mut Progress)) {
        if let Ok(mut last) = self.0.lock() {
            last.beat = Instant::now();
            come(&mut last.progress);
        }
    }

    /// How far what is at work has come.
    pub(super) fn progress(&self) -> Option<Progress> {
        let last = self.0.lock().ok()?;
        last.is_at_work.then_some(last.progress)
    }

    /// It begins a job, or waits for the next one.
    pub(super) fn turn(&self, is_at_work: bool) {
        if let Ok(mut last) = self.0.lock() {
            last.beat = Instant::now();
            last.is_at_work = is_at_work;
            last.progress = Progress::new();
        }
    }

    /// Whether a job has not come on for so long, or nobody has waited for the next one for longer than
    /// that takes.
    pub(super) fn hangs_for(&self, long: Duration) -> bool {
        self.0.lock().is_ok_and(|last| {
            let long = match last.is_at_work {
                true => long,
                false => long.max(3 * LOOK),
            };
            last.beat.elapsed() >= long
        })
    }
}

impl Pulse {
    /// Hears of the API's answers to the work that it watches, and to no other: what a dry run gets meanwhile does
    /// not show that a sync goes on. Whoever else watches is told too.
    pub(super) fn watcher(self: &Arc<Self>, other: Option<Watcher>) -> Watcher {
        let pulse = Arc::clone(self);
        Arc::new(move |request| {
            if request.status.is_some() {
                pulse.went_on();
            }
            if let Some(other) = &other {
                other(request);
            }
        })
    }

    /// Waits until it hangs.
    pub(super) async fn hung_for(&self, long: Duration) {
        while !self.hangs_for(long) {
            tokio::time::sleep(long.min(GLANCE)).await;
        }
    }
}

impl Watch for Pulse {
    fn went_on(&self) {
        self.beat(|_| {});
    }

    fn entries_read(&self, entries: u64) {
        self.beat(|progress| {
            progress.turn_to(Phase::Reading);
            progress.entries = entries;
        });
    }

    fn sending(&self, operations: usize) {
        self.beat(|progress| {
            progress.turn_to(Phase::Sending);
            progress.operations = operations;
        });
    }

    fn operation_ended(&self, _kind: Kind, failed: bool) {
        self.beat(|progress| progress.count(failed));
    }

    fn group_ended(&self, _kind: GroupChange, failed: bool) {
        self.beat(|progress| progress.count(failed));
    }
}
