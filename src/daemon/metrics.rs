//! What `/metrics` serves. What the database has is read for each scrape (`snapshot/census.rs`) and survives a
//! restart; what this process has counted is kept here. Labels are names of the program's own or of the
//! configuration, never of people, and every series is there from the start.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use chrono::TimeDelta;
pub(super) use prometheus_client::encoding::prometheus_text::CONTENT_TYPE as MEDIA;
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::state::State;
use crate::apply::{Applied, EndedBy};
use crate::config::{Guard, Job};
use crate::model::{GroupChange, Kind, SourceName, Timestamp};
use crate::org::traffic;
use crate::run::{CannotPrune, Ended, Finished, RunError};
use crate::snapshot::{Census, Failing};

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All is done.
    Done,
    /// Something is refused, held by a guard or in quarantine, or the run as a whole was refused.
    Refused,
    /// Some operations failed, or it ended early.
    SomeFailed,
    /// It came to nothing.
    Failed,
    /// It was asked to stop.
    Stopped,
}

impl End {
    const ALL: [End; 5] = [
        End::Done,
        End::Refused,
        End::SomeFailed,
        End::Failed,
        End::Stopped,
    ];

    /// The value of the label `outcome`.
    pub(super) fn name(self) -> &'static str {
        match self {
            End::Done => "done",
            End::Refused => "refused",
            End::SomeFailed => "some_failed",
            End::Failed => "failed",
            End::Stopped => "stopped",
        }
    }

    pub(super) fn of_sync(result: &Result<Finished, RunError>) -> Self {
        match result {
            Ok(finished) if finished.applied.ended_by == Some(EndedBy::Stop) => End::Stopped,
            Ok(finished) => Self::of(finished.ended()),
            Err(error) => Self::of_error(error),
        }
    }

    pub(super) fn of_run<T>(result: &Result<T, RunError>) -> Self {
        result.as_ref().map_or_else(Self::of_error, |_| End::Done)
    }

    pub(super) fn of_pruning<T>(result: &Result<T, CannotPrune>) -> Self {
        match result {
            Ok(_) => End::Done,
            Err(CannotPrune::Stopped) => End::Stopped,
            Err(_) => End::Failed,
        }
    }

    fn of_error(error: &RunError) -> Self {
        match error {
            RunError::Stopped => End::Stopped,
            error => Self::of(error.ended()),
        }
    }

    fn of(ended: Ended) -> Self {
        match ended {
            Ended::Done => End::Done,
            Ended::Refused => End::Refused,
            Ended::SomeFailed => End::SomeFailed,
            Ended::Failed | Ended::Usage => End::Failed,
        }
    }
}

/// A step of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It looks at what there is, before anything is read.
    Beginning,
    /// It reads this source.
    Reading(SourceName),
    /// It plans.
    Planning,
    /// It sends.
    Sending,
}

impl Step {
    const NAMES: [&str; 4] = ["beginning", "reading", "planning", "sending"];

    /// The value of the label `phase`.
    pub(super) fn name(&self) -> &'static str {
        let [beginning, reading, planning, sending] = Self::NAMES;
        match self {
            Step::Beginning => beginning,
            Step::Reading(_) => reading,
            Step::Planning => planning,
            Step::Sending => sending,
        }
    }
}

/// What is done, by its kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Done {
    /// To an account.
    Account(Kind),
    /// To a group.
    Group(GroupChange),
}

impl Done {
    fn all() -> impl Iterator<Item = Self> {
        let groups = GroupChange::ALL.into_iter().map(Done::Group);
        Kind::ALL.into_iter().map(Done::Account).chain(groups)
    }

    fn labels(self) -> (&'static str, &'static str) {
        match self {
            Done::Account(kind) => ("account", kind.name()),
            Done::Group(kind) => {
                let name = kind.name();
                ("group", name.strip_prefix("group_").unwrap_or(name))
            }
        }
    }
}

/// What became of an operation.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Done,
    Failed,
    Left,
}

impl Fate {
    const ALL: [Fate; 3] = [Fate::Done, Fate::Failed, Fate::Left];

    fn name(self) -> &'static str {
        match self {
            Fate::Done => "done",
            Fate::Failed => "failed",
            Fate::Left => "left",
        }
    }
}

/// Labels of a series.
type Labels<const N: usize, Value = &'static str> = [(&'static str, Value); N];

/// How long something took, each time, by a label.
type Durations<Value = &'static str> = Family<Labels<1, Value>, Histogram>;

/// The upper bounds of the buckets, in seconds: from a run that finds nothing to do to a first one that makes
/// a hundred thousand accounts.
const BOUNDS: [f64; 14] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0, 300.0, 900.0, 1800.0, 7200.0, 21600.0,
];

/// What this process has counted.
pub(super) struct Metrics {
    runs: Family<Labels<2>, Counter>,
    durations: Durations,
    phases: Durations,
    readings: Durations<String>,
    entries: Family<Labels<1, String>, Counter>,
    operations: Family<Labels<3>, Counter>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let metrics = Metrics {
            runs: Family::default(),
            durations: durations(),
            phases: durations(),
            readings: durations(),
            entries: Family::default(),
            operations: Family::default(),
        };
        for job in Job::ALL {
            drop(metrics.durations.get_or_create(&of_job(job)));
            for end in End::ALL {
                drop(metrics.runs.get_or_create(&of_run(job, end)));
            }
        }
        for phase in Step::NAMES {
            drop(metrics.phases.get_or_create(&[("phase", phase)]));
        }
        for done in Done::all() {
            for fate in Fate::ALL {
                drop(metrics.operations.get_or_create(&of_operation(done, fate)));
            }
        }
        metrics
    }

    /// So many more entries of a source have been read.
    pub(super) fn entries_read(&self, source: &SourceName, more: u64) {
        self.entries.get_or_create(&of_source(source)).inc_by(more);
    }

    /// An operation was done, or has failed.
    pub(super) fn ended(&self, done: Done, has_failed: bool) {
        let fate = if has_failed { Fate::Failed } else { Fate::Done };
        self.operations
            .get_or_create(&of_operation(done, fate))
            .inc();
    }

    /// What a run has left for later ones.
    pub(super) fn left(&self, applied: &Applied) {
        let accounts = applied.left_of.iter();
        let accounts = accounts.map(|(kind, count)| (Done::Account(*kind), *count));
        let groups = applied.groups.left_of.iter();
        let groups = groups.map(|(kind, count)| (Done::Group(*kind), *count));
        for (done, count) in accounts.chain(groups) {
            self.operations
                .get_or_create(&of_operation(done, Fate::Left))
                .inc_by(count as u64);
        }
    }

    /// A job has ended, which took so long, as did each of its steps.
    pub(super) fn job_ended(
        &self,
        job: Job,
        end: End,
        took: TimeDelta,
        steps: &[(Step, TimeDelta)],
    ) {
        self.runs.get_or_create(&of_run(job, end)).inc();
        self.durations
            .get_or_create(&of_job(job))
            .observe(seconds(took));
        if !matches!(job, Job::Sync | Job::Full) {
            return;
        }
        // A phase is what all its steps are together: sources are read one after another.
        let mut phases: BTreeMap<&'static str, f64> = BTreeMap::new();
        let mut readings: BTreeMap<&SourceName, f64> = BTreeMap::new();
        for (step, took) in steps {
            *phases.entry(step.name()).or_default() += seconds(*took);
            if let Step::Reading(source) = step {
                *readings.entry(source).or_default() += seconds(*took);
            }
        }
        for (phase, took) in phases {
            self.phases.get_or_create(&[("phase", phase)]).observe(took);
        }
        for (source, took) in readings {
            self.readings
                .get_or_create(&of_source(source))
                .observe(took);
        }
    }

    /// `sources` are those of the configuration.
    fn register<'a>(&self, registry: &mut Registry, sources: impl Iterator<Item = &'a SourceName>) {
        for source in sources {
            drop(self.readings.get_or_create(&of_source(source)));
            drop(self.entries.get_or_create(&of_source(source)));
        }
        registry.register(
            "runs",
            "Jobs of this daemon that have ended, by how",
            self.runs.clone(),
        );
        registry.register(
            "run_duration_seconds",
            "How long jobs of this daemon have taken",
            self.durations.clone(),
        );
        registry.register(
            "sync_phase_duration_seconds",
            "How long the phases of syncs have taken that came to them",
            self.phases.clone(),
        );
        registry.register(
            "source_reading_duration_seconds",
            "How long reading a source has taken in syncs",
            self.readings.clone(),
        );
        registry.register(
            "ldap_entries_read",
            "Entries that jobs of this daemon have read of a source",
            self.entries.clone(),
        );
        registry.register(
            "operations",
            "Operations of jobs of this daemon, by what became of them; left ones are left for later runs",
            self.operations.clone(),
        );
    }
}

fn durations<Value: Clone + Eq + Hash>() -> Durations<Value> {
    Family::new_with_constructor(|| Histogram::new(BOUNDS))
}

fn of_job(job: Job) -> Labels<1> {
    [("job", job.name())]
}

fn of_run(job: Job, end: End) -> Labels<2> {
    [("job", job.name()), ("outcome", end.name())]
}

fn of_source(source: &SourceName) -> Labels<1, String> {
    [("source", source.as_str().to_owned())]
}

fn of_operation(done: Done, fate: Fate) -> Labels<3> {
    let (target, kind) = done.labels();
    [("target", target), ("kind", kind), ("outcome", fate.name())]
}

/// The figures as they are served; without a census, if the database cannot be read. What is not counted here is
/// registered for this one time, with the value that it has now.
pub(super) fn page(state: &State, census: Option<&Census>, now: Timestamp) -> String {
    let mut registry = Registry::with_prefix("dirsyncd");
    let setup = state.setup();
    of_daemon(&mut registry, state);
    let sources = setup.config.sources.iter().map(|source| &source.name);
    state.metrics.register(&mut registry, sources);
    of_api(&mut registry);
    registry.register(
        "trace_spans",
        "Spans that the collector of [telemetry] has taken, and those that were dropped",
        state.telemetry.counts(),
    );
    gauge(
        &mut registry,
        "database_readable",
        "Whether the database could be read for this scrape; what it tells is left out otherwise",
        truth(census.is_some()),
    );
    of_files(&mut registry, &setup.config.database);
    if let Some(census) = census {
        of_census(&mut registry, state, census, now);
    }
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// A figure as it is now.
fn gauge(registry: &mut Registry, name: &str, help: &str, value: f64) {
    registry.register(name, help, ConstGauge::new(value));
}

/// Figures as they are now, by a label.
fn gauges<'a>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    series: impl IntoIterator<Item = (&'a str, f64)>,
) {
    let family = Family::<Labels<1, String>, Gauge<f64, AtomicU64>>::default();
    for (of, value) in series {
        family.get_or_create(&[(label, of.to_owned())]).set(value);
    }
    registry.register(name, help, family);
}

fn of_daemon(registry: &mut Registry, state: &State) {
    let now = state.now();
    let config = &now.setup.config;
    registry.register(
        "build",
        "The version of the program; always 1",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    gauge(
        registry,
        "start_timestamp_seconds",
        "When the daemon began",
        moment(Some(state.since)),
    );
    gauge(
        registry,
        "hanging",
        "Whether the work has not gone on for as long as hang_after in [daemon] says",
        truth(state.pulse.hangs_for(config.daemon.hang_after)),
    );
    gauge(
        registry,
        "paused",
        "Whether it is paused: no job is started",
        truth(now.pause.is_some()),
    );
    gauge(
        registry,
        "config_last_reload_successful",
        "Whether the configuration in force is that which was read last",
        truth(now.refused.is_none()),
    );
    let is_at_work = |job: Job| now.job.as_ref().is_some_and(|begun| begun.job == job);
    gauges(
        registry,
        "at_work",
        "Whether this job is at work",
        "job",
        Job::ALL.map(|job| (job.name(), truth(is_at_work(job)))),
    );
    let due = now.due.iter().map(|(job, due)| {
        let due = due.map_or(f64::INFINITY, |due| moment(Some(due)));
        (job.name(), due)
    });
    gauges(
        registry,
        "next_run_timestamp_seconds",
        "When a job of the schedule is due next; +Inf if never again",
        "job",
        due,
    );
}

fn of_api(registry: &mut Registry) {
    let traffic = traffic();
    for (name, help, count) in [
        (
            "api_requests",
            "Requests to the organization's API, the repeated ones too",
            traffic.requests(),
        ),
        (
            "api_answers",
            "Answers of the organization's API",
            traffic.answers(),
        ),
        (
            "api_throttles",
            "Answers of the organization's API that there were too many requests",
            traffic.throttles(),
        ),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
}

fn of_files(registry: &mut Registry, database: &Path) {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len()) as f64;
    gauges(
        registry,
        "database_size_bytes",
        "The size of the database, and of what is written to it and not yet taken over",
        "file",
        [("database", size(database)), ("wal", size(Path::new(&log)))],
    );
}

fn of_census(registry: &mut Registry, state: &State, census: &Census, now: Timestamp) {
    gauge(
        registry,
        "database_free_bytes",
        "How much of the database is free, to be written again",
        census.free as f64,
    );
    let accounts = census.accounts.iter();
    gauges(
        registry,
        "accounts",
        "Accounts by their state",
        "lifecycle",
        accounts.map(|(state, count)| (state.as_str(), *count as f64)),
    );
    let setup = state.setup();
    let sources = setup.config.sources.iter().map(|source| {
        let count = census.entries.get(&source.name).copied();
        (source.name.as_str(), count.unwrap_or_default() as f64)
    });
    gauges(
        registry,
        "source_entries",
        "Entries of a source at its last reading",
        "source",
        sources,
    );
    of_guards(registry, census);
    of_failures(registry, census);
    of_times(registry, state, census, now);
}

fn of_guards(registry: &mut Registry, census: &Census) {
    let mut holds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (name, held) in &census.holds {
        let (count, operations) = holds.entry(guard_of(name)).or_default();
        *count += 1;
        *operations += held;
    }
    let of = |guard: &str| holds.get(guard).copied().unwrap_or_default();
    gauges(
        registry,
        "holds",
        "Holds that are open, by the guard",
        "guard",
        guards().map(|guard| (guard, of(guard).0 as f64)),
    );
    gauges(
        registry,
        "held_operations",
        "Operations that open holds hold, by the guard; one may be held by several",
        "guard",
        guards().map(|guard| (guard, of(guard).1 as f64)),
    );
    let figure = |name: &str| {
        let summary = census.summary.as_ref();
        let figure = summary.and_then(|summary| summary.get(name)?.as_f64());
        figure.unwrap_or_default()
    };
    for (name, help, key) in [
        (
            "refused_people",
            "People whom the last sync refused, those in quarantine too",
            "refused",
        ),
        (
            "skipped_people",
            "People whom the last sync skipped",
            "skipped",
        ),
        (
            "disbelieved_absences",
            "Missing people of the last sync whose absence is not believed",
            "suspended",
        ),
    ] {
        gauge(registry, name, help, figure(key));
    }
}

fn of_failures(registry: &mut Registry, census: &Census) {
    let both = [("account", census.people), ("group", census.groups)];
    let of = |figure: fn(Failing) -> u32| {
        both.map(|(target, failing)| (target, f64::from(figure(failing))))
    };
    gauges(
        registry,
        "quarantined",
        "Whose operation failed so often that it is not tried any more",
        "target",
        of(|failing| failing.quarantined),
    );
    gauges(
        registry,
        "failing",
        "Whose operation failed by itself and is tried again",
        "target",
        of(|failing| failing.again),
    );
    gauge(
        registry,
        "pending_deactivations",
        "Logins that are to be turned off and are still on",
        census.pending as f64,
    );
    gauge(
        registry,
        "oldest_pending_deactivation_timestamp_seconds",
        "Since when the oldest of the logins waits that are to be turned off; 0 if none does",
        moment(census.oldest_pending),
    );
}

fn of_times(registry: &mut Registry, state: &State, census: &Census, now: Timestamp) {
    let good = census.last_good_sync;
    gauge(
        registry,
        "last_good_sync_timestamp_seconds",
        "When the last sync ended that read all and failed in nothing; 0 if there was none",
        moment(good),
    );
    gauge(
        registry,
        "last_good_sync_age_seconds",
        "How long ago the last sync ended that read all and failed in nothing; +Inf if there was none",
        good.map_or(f64::INFINITY, |good| seconds(now - good).max(0.0)),
    );
    let (at, how) = match &census.last_ended {
        None => (None, ""),
        Some((at, how)) => (Some(*at), how.as_str()),
    };
    gauge(
        registry,
        "last_run_end_timestamp_seconds",
        "When the last run ended, also one by hand; 0 if there was none",
        moment(at),
    );
    gauges(
        registry,
        "last_run_outcome",
        "Whether the last run ended so, also one by hand",
        "outcome",
        ["done", "incomplete", "refused", "failed"].map(|one| (one, truth(how == one))),
    );
    let due = state.now().due;
    gauges(
        registry,
        "last_start_timestamp_seconds",
        "When a job of the schedule last began; 0 if never yet",
        "job",
        due.iter()
            .map(|(job, _)| (job.name(), moment(census.begun.get(job).copied()))),
    );
}

/// What may hold operations.
fn guards() -> impl Iterator<Item = &'static str> {
    let others = [
        "protected",
        "administrators",
        "freeze",
        "clock",
        "reverted",
        "rekeyed",
        "saved",
        "other",
    ];
    Guard::ALL.into_iter().map(Guard::name).chain(others)
}

/// Whose a hold is by its name, which has scopes in it (`plan/guard/hold.rs`).
fn guard_of(hold: &str) -> &'static str {
    let of_sync = match hold.strip_prefix("revert-") {
        None => hold,
        Some(rest) => rest.split_once('.').map_or("", |(_, name)| name),
    };
    let first = of_sync.split('.').next().unwrap_or_default();
    guards().find(|guard| *guard == first).unwrap_or("other")
}

fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn seconds(time: TimeDelta) -> f64 {
    time.as_seconds_f64()
}

fn moment(at: Option<Timestamp>) -> f64 {
    at.map_or(0.0, |at| at.timestamp_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hold_is_its_guards_whatever_is_in_its_name() {
        for (hold, guard) in [
            ("deactivate", "deactivate"),
            ("deactivate.source=staff.example", "deactivate"),
            ("same_attribute.title", "same_attribute"),
            ("protected", "protected"),
            ("revert-12.create", "create"),
            ("revert-12.reverted", "reverted"),
            ("revert-12", "other"),
            ("of-a-later-version", "other"),
        ] {
            assert_eq!(guard_of(hold), guard, "{hold}");
        }
    }

    #[test]
    fn phases_are_the_sum_of_their_steps_and_only_of_syncs() {
        let metrics = Metrics::new();
        let reading = |name: &str| Step::Reading(SourceName::new(name));
        let second = TimeDelta::seconds(1);
        let steps = [
            (Step::Beginning, second),
            (reading("a"), second),
            (reading("b\"\\\n"), second),
            (reading("a"), second),
        ];
        metrics.job_ended(Job::Sync, End::Failed, second * 4, &steps);
        metrics.job_ended(Job::Prune, End::Done, second * 40, &steps[..1]);
        let mut registry = Registry::with_prefix("m");
        metrics.register(&mut registry, [SourceName::new("c")].iter());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "m_runs_total{job=\"sync\",outcome=\"failed\"} 1",
            "m_runs_total{job=\"sync\",outcome=\"done\"} 0",
            "m_run_duration_seconds_bucket{job=\"prune\",le=\"30\"} 0",
            "m_run_duration_seconds_bucket{job=\"prune\",le=\"60\"} 1",
            "m_run_duration_seconds_bucket{job=\"prune\",le=\"+Inf\"} 1",
            "m_sync_phase_duration_seconds_sum{phase=\"reading\"} 3.0",
            "m_sync_phase_duration_seconds_count{phase=\"reading\"} 1",
            "m_sync_phase_duration_seconds_count{phase=\"beginning\"} 1",
            "m_sync_phase_duration_seconds_count{phase=\"sending\"} 0",
            "m_source_reading_duration_seconds_sum{source=\"a\"} 2.0",
            "m_source_reading_duration_seconds_count{source=\"a\"} 1",
            "m_source_reading_duration_seconds_count{source=\"b\\\"\\\\\\n\"} 1",
            "m_source_reading_duration_seconds_count{source=\"c\"} 0",
            "m_ldap_entries_read_total{source=\"c\"} 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
