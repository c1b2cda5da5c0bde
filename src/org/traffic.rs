//! How much this process has asked the organization's API for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The figures since the process began.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    answers: AtomicU64,
    throttles: AtomicU64,
}

/// The figures of this process.
pub fn traffic() -> &'static Traffic {
    static TRAFFIC: Traffic = Traffic {
        requests: AtomicU64::new(0),
        answers: AtomicU64::new(0),
        throttles: AtomicU64::new(0),
    };
    &TRAFFIC
}

impl Traffic {
    /// Requests that were sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Answers that began to come.
    pub fn answers(&self) -> u64 {
        self.answers.load(Relaxed)
    }

    /// Answers that said that there were too many requests.
    pub fn throttles(&self) -> u64 {
        self.throttles.load(Relaxed)
    }

    pub(super) fn sent(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn answered(&self, is_throttled: bool) {
        self.answers.fetch_add(1, Relaxed);
        self.throttles.fetch_add(u64::from(is_throttled), Relaxed);
    }
}
