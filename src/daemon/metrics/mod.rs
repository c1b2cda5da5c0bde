//! What `/metrics` serves. What the database has is read for each scrape (`snapshot/census.rs`) and survives a
//! restart; what this process has counted is kept here. Labels are names of the program's own or of the
//! configuration, never of people, and every series is there from the start.

mod text;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;

use super::state::State;
use crate::apply::{Applied, EndedBy};
use crate::config::{Guard, Job};
use crate::model::{GroupChange, Kind, SourceName, Timestamp};
use crate::org::traffic;
use crate::run::{CannotPrune, Ended, Finished, RunError};
use crate::snapshot::{Census, Failing};
use text::{Histogram, Page, Type};

pub(super) use text::MEDIA;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// What this process has counted.
#[derive(Default)]
pub(super) struct Metrics(Mutex<Counts>);

#[derive(Clone, Default)]
struct Counts {
    runs: BTreeMap<(Job, End), u64>,
    durations: BTreeMap<Job, Histogram>,
    phases: BTreeMap<&'static str, Histogram>,
    readings: BTreeMap<SourceName, Histogram>,
    entries: BTreeMap<SourceName, u64>,
    operations: BTreeMap<(Done, Fate), u64>,
}

impl Metrics {
    fn count(&self, count: impl FnOnce(&mut Counts)) {
        // Nothing that holds it can panic half-way.
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// So many more entries of a source have been read.
    pub(super) fn entries_read(&self, source: &SourceName, more: u64) {
        self.count(|counts| match counts.entries.get_mut(source) {
            Some(count) => *count += more,
            None => _ = counts.entries.insert(source.clone(), more),
        });
    }

    /// An operation was done, or has failed.
    pub(super) fn ended(&self, done: Done, has_failed: bool) {
        let fate = if has_failed { Fate::Failed } else { Fate::Done };
        self.count(|counts| *counts.operations.entry((done, fate)).or_default() += 1);
    }

    /// What a run has left for later ones.
    pub(super) fn left(&self, applied: &Applied) {
        let accounts = applied.left_of.iter();
        let accounts = accounts.map(|(kind, count)| (Done::Account(*kind), *count));
        let groups = applied.groups.left_of.iter();
        let groups = groups.map(|(kind, count)| (Done::Group(*kind), *count));
        self.count(|counts| {
            for (done, count) in accounts.chain(groups) {
                *counts.operations.entry((done, Fate::Left)).or_default() += count as u64;
            }
        });
    }

    /// A job has ended, which took so long, as did each of its steps.
    pub(super) fn job_ended(
        &self,
        job: Job,
        end: End,
        took: TimeDelta,
        steps: &[(Step, TimeDelta)],
    ) {
        self.count(|counts| {
            *counts.runs.entry((job, end)).or_default() += 1;
            counts
                .durations
                .entry(job)
                .or_default()
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
                counts.phases.entry(phase).or_default().observe(took);
            }
            for (source, took) in readings {
                counts
                    .readings
                    .entry(source.clone())
                    .or_default()
                    .observe(took);
            }
        });
    }
}

/// The figures as they are served; without a census, if the database cannot be read.
pub(super) fn page(state: &State, census: Option<&Census>, now: Timestamp) -> String {
    let mut page = Page::default();
    // Copied, so that no job waits until all is written.
    let counts = state.metrics.0.lock();
    let counts = counts.unwrap_or_else(PoisonError::into_inner).clone();
    of_daemon(&mut page, state);
    of_jobs(&mut page, state, &counts);
    of_api(&mut page);
    of_traces(&mut page, state);
    let readable = f64::from(u8::from(census.is_some()));
    let help =
        "Whether the database could be read for this scrape; what it tells is left out otherwise.";
    page.one(Type::Gauge, "dirsyncd_database_readable", help, readable);
    of_files(&mut page, &state.setup().config.database);
    if let Some(census) = census {
        of_census(&mut page, state, census, now);
    }
    page.into_text()
}

fn of_daemon(page: &mut Page, state: &State) {
    let now = state.now();
    let config = &now.setup.config;
    page.metric(
        Type::Gauge,
        "dirsyncd_build_info",
        "The version of the program; always 1.",
    )
    .series(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let help = "When the daemon began.";
    page.one(
        Type::Gauge,
        "dirsyncd_start_timestamp_seconds",
        help,
        moment(Some(state.since)),
    );
    let hanging = state.pulse.hangs_for(config.daemon.hang_after);
    let help = "Whether the work has not gone on for as long as hang_after in [daemon] says.";
    page.one(Type::Gauge, "dirsyncd_hanging", help, truth(hanging));
    let help = "Whether it is paused: no job is started.";
    page.one(
        Type::Gauge,
        "dirsyncd_paused",
        help,
        truth(now.pause.is_some()),
    );
    let mut metric = page.metric(
        Type::Gauge,
        "dirsyncd_at_work",
        "Whether this job is at work.",
    );
    for job in Job::ALL {
        let is_at_work = now.job.as_ref().is_some_and(|begun| begun.job == job);
        metric.series(&[("job", job.name())], truth(is_at_work));
    }
    let mut metric = page.metric(
        Type::Gauge,
        "dirsyncd_next_run_timestamp_seconds",
        "When a job of the schedule is due next; +Inf if never again.",
    );
    for (job, due) in &now.due {
        let due = due.map_or(f64::INFINITY, |due| moment(Some(due)));
        metric.series(&[("job", job.name())], due);
    }
}

fn of_jobs(page: &mut Page, state: &State, counts: &Counts) {
    let setup = state.setup();
    let sources = setup.config.sources.iter().map(|source| &source.name);
    let sources: Vec<&SourceName> = sources.collect();
    let mut metric = page.metric(
        Type::Counter,
        "dirsyncd_runs_total",
        "Jobs of this daemon that have ended, by how.",
    );
    for job in Job::ALL {
        for end in End::ALL {
            let count = counts.runs.get(&(job, end)).copied().unwrap_or_default();
            let labels = [("job", job.name()), ("outcome", end.name())];
            metric.series(&labels, count as f64);
        }
    }
    let none = Histogram::default();
    let mut metric = page.metric(
        Type::Histogram,
        "dirsyncd_run_duration_seconds",
        "How long jobs of this daemon have taken.",
    );
    for job in Job::ALL {
        let took = counts.durations.get(&job).unwrap_or(&none);
        metric.histogram(&[("job", job.name())], took);
    }
    let mut metric = page.metric(
        Type::Histogram,
        "dirsyncd_sync_phase_duration_seconds",
        "How long the phases of syncs have taken that came to them.",
    );
    for phase in Step::NAMES {
        let took = counts.phases.get(phase).unwrap_or(&none);
        metric.histogram(&[("phase", phase)], took);
    }
    let mut metric = page.metric(
        Type::Histogram,
        "dirsyncd_source_reading_duration_seconds",
        "How long reading a source has taken in syncs.",
    );
    for source in &sources {
        let took = counts.readings.get(*source).unwrap_or(&none);
        metric.histogram(&[("source", source.as_str())], took);
    }
    let mut metric = page.metric(
        Type::Counter,
        "dirsyncd_ldap_entries_read_total",
        "Entries that jobs of this daemon have read of a source.",
    );
    for source in &sources {
        let count = counts.entries.get(*source).copied().unwrap_or_default();
        metric.series(&[("source", source.as_str())], count as f64);
    }
    let mut metric = page.metric(
        Type::Counter,
        "dirsyncd_operations_total",
        "Operations of jobs of this daemon, by what became of them; left ones are left for later runs.",
    );
    for done in Done::all() {
        let (target, kind) = done.labels();
        for fate in Fate::ALL {
            let count = counts.operations.get(&(done, fate)).copied();
            let labels = [("target", target), ("kind", kind), ("outcome", fate.name())];
            metric.series(&labels, count.unwrap_or_default() as f64);
        }
    }
}

fn of_api(page: &mut Page) {
    let traffic = traffic();
    for (name, help, count) in [
        (
            "dirsyncd_api_requests_total",
            "Requests to the organization's API, the repeated ones too.",
            traffic.requests(),
        ),
        (
            "dirsyncd_api_answers_total",
            "Answers of the organization's API.",
            traffic.answers(),
        ),
        (
            "dirsyncd_api_throttles_total",
            "Answers of the organization's API that there were too many requests.",
            traffic.throttles(),
        ),
    ] {
        page.one(Type::Counter, name, help, count as f64);
    }
}

fn of_traces(page: &mut Page, state: &State) {
    let counts = state.telemetry.counts();
    let mut metric = page.metric(
        Type::Counter,
        "dirsyncd_trace_spans_total",
        "Spans that the collector of [telemetry] has taken, and those that were dropped.",
    );
    for (outcome, count) in [("sent", &counts.exported), ("dropped", &counts.dropped)] {
        metric.series(&[("outcome", outcome)], count.load(Relaxed) as f64);
    }
}

fn of_files(page: &mut Page, database: &Path) {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len()) as f64;
    let mut metric = page.metric(
        Type::Gauge,
        "dirsyncd_database_size_bytes",
        "The size of the database, and of what is written to it and not yet taken over.",
    );
    metric.series(&[("file", "database")], size(database));
    metric.series(&[("file", "wal")], size(Path::new(&log)));
}

fn of_census(page: &mut Page, state: &State, census: &Census, now: Timestamp) {
    let help = "How much of the database is free, to be written again.";
    page.one(
        Type::Gauge,
        "dirsyncd_database_free_bytes",
        help,
        census.free as f64,
    );
    let mut metric = page.metric(Type::Gauge, "dirsyncd_accounts", "Accounts by their state.");
    for (state, count) in &census.accounts {
        metric.series(&[("lifecycle", state)], *count as f64);
    }
    let mut metric = page.metric(
        Type::Gauge,
        "dirsyncd_source_entries",
        "Entries of a source at its last reading.",
    );
    for source in &state.setup().config.sources {
        let count = census.entries.get(&source.name).copied();
        let labels = [("source", source.name.as_str())];
        metric.series(&labels, count.unwrap_or_default() as f64);
    }
    of_guards(page, census);
    of_failures(page, census);
    of_times(page, state, census, now);
}

fn of_guards(page: &mut Page, census: &Census) {
    let mut holds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (name, held) in &census.holds {
        let (count, operations) = holds.entry(guard_of(name)).or_default();
        *count += 1;
        *operations += held;
    }
    let of = |guard: &str| holds.get(guard).copied().unwrap_or_default();
    let help = "Holds that are open, by the guard.";
    let mut metric = page.metric(Type::Gauge, "dirsyncd_holds", help);
    for guard in guards() {
        metric.series(&[("guard", guard)], of(guard).0 as f64);
    }
    let help = "Operations that open holds hold, by the guard; one may be held by several.";
    let mut metric = page.metric(Type::Gauge, "dirsyncd_held_operations", help);
    for guard in guards() {
        metric.series(&[("guard", guard)], of(guard).1 as f64);
    }
    let figure = |name: &str| {
        let summary = census.summary.as_ref();
        let figure = summary.and_then(|summary| summary.get(name)?.as_f64());
        figure.unwrap_or_default()
    };
    for (name, help, key) in [
        (
            "dirsyncd_refused_people",
            "People whom the last sync refused, those in quarantine too.",
            "refused",
        ),
        (
            "dirsyncd_skipped_people",
            "People whom the last sync skipped.",
            "skipped",
        ),
        (
            "dirsyncd_disbelieved_absences",
            "Missing people of the last sync whose absence is not believed.",
            "suspended",
        ),
    ] {
        page.one(Type::Gauge, name, help, figure(key));
    }
}

fn of_failures(page: &mut Page, census: &Census) {
    let both = [("account", census.people), ("group", census.groups)];
    let mut tell = |name, help, figure: fn(Failing) -> u32| {
        let mut metric = page.metric(Type::Gauge, name, help);
        for (target, failing) in both {
            metric.series(&[("target", target)], f64::from(figure(failing)));
        }
    };
    tell(
        "dirsyncd_quarantined",
        "Who was refused so often that it is not tried any more.",
        |failing| failing.quarantined,
    );
    tell(
        "dirsyncd_failing",
        "Who was refused and is tried again.",
        |failing| failing.again,
    );
    let help = "Logins that are to be turned off and are still on.";
    page.one(
        Type::Gauge,
        "dirsyncd_pending_deactivations",
        help,
        census.pending as f64,
    );
    let help =
        "Since when the oldest of the logins waits that are to be turned off; 0 if none does.";
    let oldest = moment(census.oldest_pending);
    page.one(
        Type::Gauge,
        "dirsyncd_oldest_pending_deactivation_timestamp_seconds",
        help,
        oldest,
    );
}

fn of_times(page: &mut Page, state: &State, census: &Census, now: Timestamp) {
    let good = census.last_good_sync;
    let help = "When the last sync ended that read all and failed in nothing; 0 if there was none.";
    page.one(
        Type::Gauge,
        "dirsyncd_last_good_sync_timestamp_seconds",
        help,
        moment(good),
    );
    let age = good.map_or(f64::INFINITY, |good| seconds(now - good).max(0.0));
    let help = "How long ago the last sync ended that read all and failed in nothing; +Inf if there was none.";
    page.one(
        Type::Gauge,
        "dirsyncd_last_good_sync_age_seconds",
        help,
        age,
    );
    let (at, how) = match &census.last_ended {
        None => (None, ""),
        Some((at, how)) => (Some(*at), how.as_str()),
    };
    let help = "When the last run ended, also one by hand; 0 if there was none.";
    page.one(
        Type::Gauge,
        "dirsyncd_last_run_end_timestamp_seconds",
        help,
        moment(at),
    );
    let help = "Whether the last run ended so, also one by hand.";
    let mut metric = page.metric(Type::Gauge, "dirsyncd_last_run_outcome", help);
    for outcome in ["done", "incomplete", "refused", "failed"] {
        metric.series(&[("outcome", outcome)], truth(how == outcome));
    }
    let mut metric = page.metric(
        Type::Gauge,
        "dirsyncd_last_start_timestamp_seconds",
        "When a job of the schedule last began; 0 if never yet.",
    );
    for (job, _) in &state.now().due {
        let begun = census.begun.get(job).copied();
        metric.series(&[("job", job.name())], moment(begun));
    }
}

/// What may hold operations.
fn guards() -> impl Iterator<Item = &'static str> {
    let others = [
        "protected",
        "administrators",
        "freeze",
        "clock",
        "reverted",
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
        let metrics = Metrics::default();
        let reading = |name: &str| Step::Reading(SourceName::new(name));
        let second = TimeDelta::seconds(1);
        let steps = [
            (Step::Beginning, second),
            (reading("a"), second),
            (reading("b"), second),
            (reading("a"), second),
        ];
        metrics.job_ended(Job::Sync, End::Failed, second * 4, &steps);
        metrics.job_ended(Job::Prune, End::Done, second, &steps[..1]);
        metrics.count(|counts| {
            assert_eq!(counts.runs[&(Job::Sync, End::Failed)], 1);
            let mut page = Page::default();
            let mut metric = page.metric(Type::Histogram, "m", "");
            metric.histogram(&[], &counts.phases["reading"]);
            metric.histogram(&[("of", "a")], &counts.readings[&SourceName::new("a")]);
            metric.histogram(&[("of", "beginning")], &counts.phases["beginning"]);
            let text = page.into_text();
            for line in [
                "m_sum 3\n",
                "m_count 1\n",
                "m_sum{of=\"a\"} 2\n",
                "m_count{of=\"a\"} 1\n",
                "m_count{of=\"beginning\"} 1\n",
            ] {
                assert!(text.contains(line), "{line}{text}");
            }
            assert!(!counts.phases.contains_key("sending"));
        });
    }
}
