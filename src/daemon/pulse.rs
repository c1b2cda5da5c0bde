//! Whether the work goes on.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::LOOK;
use crate::apply::Watch;
use crate::model::Kind;
use crate::org::traffic;

/// When the daemon last came on with what it does.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Last>);

#[derive(Debug)]
struct Last {
    beat: Instant,
    /// How many answers the API had given then.
    answers: u64,
    is_at_work: bool,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse(Mutex::new(Last {
            beat: Instant::now(),
            answers: 0,
            is_at_work: false,
        }))
    }
}

impl Pulse {
    /// It has come on.
    fn beat(&self) {
        if let Ok(mut last) = self.0.lock() {
            last.beat = Instant::now();
        }
    }

    /// It begins a job, or waits for the next one.
    pub(super) fn turn(&self, is_at_work: bool) {
        if let Ok(mut last) = self.0.lock() {
            last.beat = Instant::now();
            last.is_at_work = is_at_work;
        }
    }

    /// Whether a job has not come on for so long, or nobody has waited for the next one for longer than
    /// that takes, as far as is seen each time that this is asked.
    pub(super) fn hangs_for(&self, long: Duration) -> bool {
        let answers = traffic().answers();
        self.0.lock().is_ok_and(|mut last| {
            if last.answers != answers {
                last.beat = Instant::now();
                last.answers = answers;
            }
            let long = match last.is_at_work {
                true => long,
                false => long.max(3 * LOOK),
            };
            last.beat.elapsed() >= long
        })
    }
}

impl Watch for Pulse {
    fn went_on(&self) {
        self.beat();
    }

    fn entries_read(&self, _entries: u64) {
        self.beat();
    }

    fn sending(&self, _operations: usize) {
        self.beat();
    }

    fn operation_ended(&self, _kind: Kind, _failed: bool) {
        self.beat();
    }

    fn group_ended(&self, _failed: bool) {
        self.beat();
    }
}
