//! Watches one job: the pulse hears that it goes on, what it does is counted, and each step is timed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::TimeDelta;

use super::metrics::{Done, End, Metrics, Step};
use super::pulse::Pulse;
use super::telemetry::Trace;
use crate::apply::Watch;
use crate::config::Job;
use crate::model::{GroupChange, Kind, SourceName};

/// Watches a job from its beginning to its end.
pub(super) struct Meter<'a> {
    job: Job,
    began: Instant,
    pulse: &'a Pulse,
    metrics: &'a Metrics,
    trace: Option<Arc<Trace>>,
    course: Mutex<Course>,
}

/// How the job has gone so far.
struct Course {
    /// Its steps, each with when it began.
    steps: Vec<(Step, Instant)>,
    /// How many entries had been read when it was last told.
    entries: u64,
}

impl<'a> Meter<'a> {
    /// A job begins.
    pub(super) fn begin(
        job: Job,
        pulse: &'a Pulse,
        metrics: &'a Metrics,
        trace: Option<Arc<Trace>>,
    ) -> Self {
        pulse.turn(true);
        let began = Instant::now();
        Meter {
            job,
            began,
            pulse,
            metrics,
            trace,
            course: Mutex::new(Course {
                steps: vec![(Step::Beginning, began)],
                entries: 0,
            }),
        }
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        // Nothing that holds it can panic half-way.
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn_to(&self, step: Step) {
        let mut course = self.course();
        let last = course.steps.last().filter(|(last, _)| *last == step);
        if last.is_none() {
            let now = Instant::now();
            if let Some(trace) = &self.trace {
                trace.turn_to(&step, now);
            }
            course.steps.push((step, now));
        }
    }

    /// The job has ended so.
    pub(super) fn end(self, end: End) {
        let now = Instant::now();
        let course = self.course();
        if let Some(trace) = &self.trace {
            trace.ended(end, now);
        }
        let ends = course.steps.iter().skip(1).map(|(_, began)| *began);
        let steps = course.steps.iter().zip(ends.chain([now]));
        let steps: Vec<(Step, TimeDelta)> = steps
            .map(|((step, began), ended)| (step.clone(), between(*began, ended)))
            .collect();
        let took = between(self.began, now);
        self.metrics.job_ended(self.job, end, took, &steps);
    }
}

fn between(began: Instant, ended: Instant) -> TimeDelta {
    TimeDelta::from_std(ended.duration_since(began)).unwrap_or_default()
}

impl Watch for Meter<'_> {
    fn went_on(&self) {
        self.pulse.went_on();
    }

    fn reading(&self, source: &SourceName) {
        self.turn_to(Step::Reading(source.clone()));
    }

    fn entries_read(&self, entries: u64) {
        self.pulse.entries_read(entries);
        let mut course = self.course();
        // They are counted over all sources, or for each anew.
        let before = Some(course.entries).filter(|before| *before < entries);
        course.entries = entries;
        if let Some((Step::Reading(source), _)) = course.steps.last() {
            self.metrics
                .entries_read(source, entries - before.unwrap_or_default());
        }
    }

    fn planning(&self) {
        self.turn_to(Step::Planning);
    }

    fn sending(&self, operations: usize) {
        self.pulse.sending(operations);
        self.turn_to(Step::Sending);
    }

    fn operation_ended(&self, kind: Kind, failed: bool) {
        self.pulse.operation_ended(kind, failed);
        self.metrics.ended(Done::Account(kind), failed);
    }

    fn group_ended(&self, kind: GroupChange, failed: bool) {
        self.pulse.group_ended(kind, failed);
        self.metrics.ended(Done::Group(kind), failed);
    }
}
