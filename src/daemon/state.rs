//! What the daemon is at, shared between its jobs and those who ask about them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Job;
use crate::model::{Invoker, Timestamp};
use crate::run::Setup;
use crate::snapshot::Pause;

use super::metrics::Metrics;
use super::pulse::Pulse;
use super::status::RefusedConfig;
use super::telemetry::Telemetry;

/// What is shared.
pub(super) struct State {
    /// When the daemon began.
    pub(super) since: Timestamp,
    /// Whether the work goes on.
    pub(super) pulse: Arc<Pulse>,
    /// What it has counted.
    pub(super) metrics: Metrics,
    /// Where traces go.
    pub(super) telemetry: Telemetry,
    ready: AtomicBool,
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
    /// The configuration that was read last and is not in force.
    pub(super) refused: Option<RefusedConfig>,
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
            metrics: Metrics::new(),
            telemetry: Telemetry::start(&setup.config.telemetry),
            ready: AtomicBool::new(false),
            now: Mutex::new(Now {
                setup: Arc::new(setup),
                job: None,
                due: Vec::new(),
                pause,
                refused: None,
            }),
        }
    }

    /// All is there that its jobs need.
    pub(super) fn begin(&self) {
        self.ready.store(true, Relaxed);
    }

    /// Whether it has [begun](Self::begin).
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
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
