//! Whether the work goes on.

use std::sync::Mutex;
use std::time::{Duration, Instant};

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
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse(Mutex::new(Last {
            beat: Instant::now(),
            answers: 0,
        }))
    }
}

impl Pulse {
    /// It has come on.
    pub fn beat(&self) {
        if let Ok(mut last) = self.0.lock() {
            last.beat = Instant::now();
        }
    }

    /// Whether it has not come on for so long, as far as is seen each time that this is asked.
    pub fn hangs_for(&self, long: Duration) -> bool {
        let answers = traffic().answers();
        self.0.lock().is_ok_and(|mut last| {
            if last.answers != answers {
                *last = Last {
                    beat: Instant::now(),
                    answers,
                };
            }
            last.beat.elapsed() >= long
        })
    }
}

impl Watch for Pulse {
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
