//! How the daemon stands, as it is told by it, or by the database while none runs.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::pulse::{Phase, Progress};
use super::state::{Begun, State};
use crate::config::{Config, Job};
use crate::model::{Invoker, Timestamp};
use crate::snapshot::{PastRun, Pause, Snapshot, SnapshotError};

/// How things stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon; `None` if none runs.
    pub daemon: Option<Running>,
    /// The database.
    pub database: String,
    /// While it is paused, no job is started.
    pub paused: Option<Pause>,
    /// The last run.
    pub last_run: Option<PastRun>,
    /// When the last sync ended that read all sources whole, believed all absences, did not end early, and had no
    /// operation that failed; holds and refusals of people do not count against it.
    pub last_good_sync: Option<Timestamp>,
    /// How many accounts are known, the deleted ones too.
    pub accounts: u64,
    /// The logins that are to be turned off and are still on.
    #[serde(default)]
    pub pending_deactivations: PendingDeactivations,
    /// How many people and groups are in quarantine.
    #[serde(default)]
    pub quarantined: u32,
}

/// The logins that are to be turned off and are still on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PendingDeactivations {
    /// How many.
    pub count: u64,
    /// Since when the oldest waits.
    pub oldest_since: Option<Timestamp>,
}

/// A daemon that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// The version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub since: Timestamp,
    /// Its configuration file.
    pub config: String,
    /// That the file was read again and refused, so that the former configuration is still in force.
    #[serde(default)]
    pub refused_config: Option<RefusedConfig>,
    /// Whether the work has not gone on for as long as `hang_after` says.
    pub hanging: bool,
    /// What it does now.
    pub at_work: Option<AtWork>,
    /// Its jobs.
    pub jobs: Vec<ScheduledJob>,
}

/// A configuration that was read and is not in force, as it is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedConfig {
    /// When it was read.
    pub at: Timestamp,
    /// What is wrong with it.
    pub why: String,
}

impl RefusedConfig {
    /// When, on the wall, and what follows.
    pub(super) fn in_brief(&self) -> String {
        format!(
            "the configuration of {} is refused, the former one in force",
            second(self.at)
        )
    }
}

/// A job that is at work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtWork {
    /// Which.
    pub job: Job,
    /// When it began.
    pub since: Timestamp,
    /// Who has asked for it; `None` for the schedule.
    pub asked_by: Option<Invoker>,
    /// How far it has come.
    pub progress: Option<Progress>,
}

/// A job of the schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduledJob {
    /// Which.
    pub job: Job,
    /// When it last began.
    pub last: Option<Timestamp>,
    /// When it is due next; `None` if never again.
    pub next: Option<Timestamp>,
}

impl Status {
    /// How things stand by the database alone, while no daemon runs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn without_daemon(config: &Config) -> Result<Self, SnapshotError> {
        Self::read(config, None).await
    }

    pub(super) async fn of(state: &State) -> Result<Self, SnapshotError> {
        let now = state.now();
        let config = &now.setup.config;
        let at_work = |Begun {
                           job,
                           since,
                           asked_by,
                       }| AtWork {
            job,
            since,
            asked_by,
            progress: state.pulse.progress(),
        };
        let scheduled = now.due.iter().map(|(job, next)| ScheduledJob {
            job: *job,
            last: None,
            next: *next,
        });
        let running = Running {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: state.since,
            config: absolute(&config.path),
            refused_config: now.refused,
            hanging: state.pulse.hangs_for(config.daemon.hang_after),
            jobs: scheduled.collect(),
            at_work: now.job.map(at_work),
        };
        Self::read(config, Some(running)).await
    }

    async fn read(config: &Config, daemon: Option<Running>) -> Result<Self, SnapshotError> {
        let mut snapshot = Snapshot::open_for_reading(&config.database).await?;
        let status = Self::look(&mut snapshot, config, daemon).await;
        let closed = snapshot.close().await;
        let status = status?;
        closed?;
        Ok(status)
    }

    async fn look(
        snapshot: &mut Snapshot,
        config: &Config,
        mut daemon: Option<Running>,
    ) -> Result<Self, SnapshotError> {
        let begun = snapshot.jobs_begun().await?;
        for scheduled in daemon.iter_mut().flat_map(|daemon| &mut daemon.jobs) {
            scheduled.last = begun.get(&scheduled.job).copied();
        }
        let (count, oldest_since) = snapshot.pending().await?;
        let failing = snapshot.failing(config.apply.quarantine_after).await?;
        Ok(Status {
            daemon,
            database: absolute(&config.database),
            paused: snapshot.pause().await?,
            last_run: snapshot.last_runs(None, 1).await?.pop(),
            last_good_sync: snapshot.last_good_sync().await?,
            accounts: snapshot.account_count().await?,
            pending_deactivations: PendingDeactivations {
                count,
                oldest_since,
            },
            quarantined: failing.iter().map(|of| of.quarantined).sum(),
        })
    }

    /// The same for people.
    pub fn text(&self) -> String {
        let mut lines = match &self.daemon {
            None => vec!["No daemon runs.".to_owned()],
            Some(daemon) => daemon.lines(),
        };
        if let Some(pause) = &self.paused {
            lines.push(format!("Paused {}.", paused(pause)));
        }
        lines.push(match &self.last_run {
            None => "No run yet.".to_owned(),
            Some(run) => {
                let outcome = run.outcome.as_deref().unwrap_or("not ended");
                let why = run.error.iter().map(|error| format!(": {error}"));
                format!(
                    "Last run: {} ({}) at {}, {outcome}{}",
                    run.run,
                    asked(&run.trigger, run.asked_by.as_ref()),
                    second(run.began),
                    why.collect::<String>()
                )
            }
        });
        if let Some(at) = self.last_good_sync {
            lines.push(format!("Last good sync: {}", second(at)));
        }
        lines.push(format!("Accounts: {}", self.accounts));
        let PendingDeactivations {
            count,
            oldest_since,
        } = self.pending_deactivations;
        let since = oldest_since.map(|since| format!("; the oldest since {}", second(since)));
        let since = since.unwrap_or_default();
        lines.push(format!("Deactivations that are not done: {count}{since}"));
        let way_out = match self.quarantined {
            0 => "",
            _ => "; `dirsyncd plan` tells who, and why",
        };
        lines.push(format!("In quarantine: {}{way_out}", self.quarantined));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Running {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "The daemon runs since {} (process {}, version {}, {}).",
            second(self.since),
            self.pid,
            self.version,
            self.config
        )];
        if self.hanging {
            lines.push(
                "It hangs: the work has not gone on for as long as `hang_after` says.".into(),
            );
        }
        if let Some(refused) = &self.refused_config {
            let brief = refused.in_brief();
            lines.push(format!("Not as its file: {brief}: {}", refused.why));
        }
        if let Some(work) = &self.at_work {
            let asked = asked(work.job.name(), work.asked_by.as_ref());
            let mut line = format!("At work: {asked} since {}", second(work.since));
            if let Some(progress) = &work.progress {
                let _ = write!(
                    line,
                    ", {} since {}",
                    progress.phase.name(),
                    second(progress.since)
                );
                let _ = match progress.phase {
                    Phase::Beginning => Ok(()),
                    Phase::Reading => write!(line, " ({} entries)", progress.entries),
                    Phase::Sending => write!(
                        line,
                        " ({} of {} operations, {} failed)",
                        progress.ended, progress.operations, progress.failed
                    ),
                };
            }
            lines.push(line);
        }
        for ScheduledJob { job, last, next } in &self.jobs {
            let next = next.map_or_else(|| "never again".to_owned(), second);
            let last = last.map_or_else(|| "never yet".to_owned(), second);
            lines.push(format!("Next {job}: {next}; the last began: {last}"));
        }
        lines
    }
}

/// Since when, by whom and why it is paused.
pub fn paused(pause: &Pause) -> String {
    let why = match pause.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    format!(
        "since {} {}{why}",
        second(pause.since),
        asked("", Some(&pause.asked_by)).trim_start()
    )
}

fn asked(what: &str, by: Option<&Invoker>) -> String {
    match by {
        None => what.to_owned(),
        Some(Invoker {
            name,
            sudo_user: Some(sudo),
            ..
        }) => format!("{what} by {name} (sudo: {sudo})"),
        Some(by) => format!("{what} by {}", by.name),
    }
}

/// A path as it is also known elsewhere.
fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    let absolute = absolute.as_deref().unwrap_or(path);
    absolute.display().to_string()
}

fn second(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
