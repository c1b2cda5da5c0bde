//! What the daemon is at, shared between its jobs and those who ask about them.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Job;
use crate::model::{Invoker, Timestamp};
use crate::run::Setup;
use crate::snapshot::Pause;

use super::pulse::Pulse;

/// What is shared.
pub(super) struct State {
    /// When the daemon began.
    pub(super) since: Timestamp,
    /// Whether the work goes on.
    pub(super) pulse: Arc<Pulse>,
    now: Mutex<Now>,
}

/// How it stands.
#[derive(Clone)]
pub(super) struct Now {
    /// The configuration that is in force.
    pub(super) setup: Arc<Setup>,
    /// The job that is at work.
    pub(super) job: Option<Begun>,
    /// When each job is due.
    pub(super) due: Vec<(Job, Option<Timestamp>)>,
    /// While it is paused, no job is started.
    pub(super) pause: Option<Pause>,
}

/// A job that has begun.
#[derive(Clone)]
pub(super) struct Begun {
    /// Which.
    pub(super) job: Job,
    /// When.
    pub(super) since: Timestamp,
    /// Who has asked for it; nobody, if the schedule has.
    pub(super) asked_by: Option<Invoker>,
}

impl State {
    pub(super) fn new(setup: Setup, pause: Option<Pause>, since: Timestamp) -> Self {
        State {
            since,
            pulse: Arc::default(),
            now: Mutex::new(Now {
                setup: Arc::new(setup),
                job: None,
                due: Vec::new(),
                pause,
            }),
        }
    }

    /// How it stands.
    pub(super) fn now(&self) -> Now {
        // Nothing that holds it can panic half-way.
        self.now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The configuration that is in force.
    pub(super) fn setup(&self) -> Arc<Setup> {
        self.now().setup
    }

    /// The pause that is on.
    pub(super) fn pause(&self) -> Option<Pause> {
        self.now().pause
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
