//! The daemon: does its jobs each on a schedule, and at once when it is asked to, until it is to stop.
//!
//! Floor 8. One job is at work at a time, so no two runs are ever under way at once; that another
//! process is not at work either, the journal's lock sees to.

mod client;
mod control;
mod log;
mod meter;
mod metrics;
mod pulse;
mod state;
mod status;
mod systemd;
mod telemetry;
mod teller;
mod timers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::apply::{Clock, Control, Shutdown};
use crate::config::Job;
use crate::model::{Invoker, Timestamp};
use crate::notify::Seen;
use crate::org::watched;
use crate::pull::Depth;
use crate::run::{Finished, Orders, RunError, Setup, Task, prune, reconcile, sync};
use crate::snapshot::{Journal, Lock, Pause, Snapshot, SnapshotError};

pub use client::{AskError, Client, Reported};
pub use control::{CannotListen, PauseOrder, PlanOrder, ProblemDetails, SyncOrder};
pub use pulse::{Phase, Progress};
pub use status::{
    AtWork, PendingDeactivations, RefusedConfig, Running, ScheduledJob, Status, paused,
};
pub use teller::{seen, tell_by_hand};

use control::Server;
use meter::Meter;
use metrics::End;
use state::{Begun, State};
use teller::Teller;
use timers::{Timers, Why};

/// How often the wall clock is looked at while waiting, so that a suspended machine or a
/// corrected clock does not move a run by more than this.
const LOOK: Duration = Duration::from_secs(20);

/// How long another writer is waited for: `dirsyncd approve` is done in no time, and a sync by hand
/// makes one of the schedule needless.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the daemon can be asked for while it runs.
#[derive(Debug)]
pub enum Wish {
    /// To do a job at once, or once what is at work is done.
    Do {
        /// Which.
        job: Job,
        /// Who wants it, if that is known.
        asker: Option<Asker>,
    },
    /// To read the configuration again.
    Reload,
    /// To see that it is paused, or goes on.
    Look,
}

/// Somebody who wants a sync.
#[derive(Debug)]
pub struct Asker {
    /// Who it is.
    pub by: Invoker,
    /// Told how it went, or why it is not done.
    pub done: oneshot::Sender<Result<Outcome, NotDone>>,
}

/// Why a sync that was asked for is not done.
#[derive(Clone, Debug)]
pub enum NotDone {
    /// The daemon was paused before it began.
    Paused(Pause),
    /// The daemon stops.
    Stopping,
}

impl NotDone {
    /// Whoever asked for it is told, and the log too.
    fn tell(&self, job: Job, askers: impl IntoIterator<Item = Asker>) {
        let why = match self {
            NotDone::Paused(pause) => format!("paused {}", paused(pause)),
            NotDone::Stopping => "the daemon stops".to_owned(),
        };
        let mut askers = askers.into_iter().peekable();
        if askers.peek().is_none() {
            tracing::warn!(%job, "asked for, and not done: {why}");
        }
        for Asker { by, done } in askers {
            tracing::warn!(%job, by = by.name, uid = by.uid, "asked for, and not done: {why}");
            // Who has gone away meanwhile does not want to know.
            let _ = done.send(Err(self.clone()));
        }
    }
}

/// How a sync went, for all who have asked for it.
pub type Outcome = Arc<Result<Finished, RunError>>;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum CannotStart {
    /// The database cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Nobody could ask it anything.
    #[error(transparent)]
    Listen(#[from] CannotListen),
}

/// Reads the configuration again; what is wrong with it in words.
pub type Reload<'a> = &'a dyn Fn() -> Result<Setup, String>;

/// Runs until `stop` is requested, by which a run at work ends too. A job that fails
/// is logged, and the next one is tried. `wishes` come in at the other end of `wish`.
pub async fn run(
    setup: Setup,
    reload: Reload<'_>,
    (wish, mut wishes): (mpsc::Sender<Wish>, mpsc::Receiver<Wish>),
    stop: Shutdown,
) -> Result<(), CannotStart> {
    let lock = Arc::new(Lock::daemon(&setup.config.database)?);
    // A database that cannot be used is told at the start, not in the middle of the night.
    Journal::open(&setup.config.database).await?.close().await?;
    let mut snapshot = Snapshot::open_for_reading(&setup.config.database).await?;
    let done = snapshot.last_jobs().await?;
    let pause = snapshot.pause().await?;
    snapshot.close().await?;
    let now = chrono::Utc::now();
    let timers = Timers::start(&setup.config.schedule, &done, now, &delay);
    let config = setup.config.daemon.clone();
    let state = Arc::new(State::new(setup, pause, now));
    state.change(|now| now.due = timers.all().collect());
    let server = Server::start(
        &config,
        Arc::clone(&state),
        wish,
        // It is held here too: a server that listens nowhere is gone at once.
        Arc::clone(&lock),
        stop.clone(),
    )
    .await?;
    let _watchdog = systemd::keep_watch(&state);
    let teller = Teller::start(Arc::clone(&state));
    let mut daemon = Daemon {
        timers,
        teller,
        state,
        reload,
        wanted: BTreeMap::new(),
        stop,
        looked: now,
    };
    daemon.state.begin();
    systemd::tell(&[sd_notify::NotifyState::Ready]);
    while let Some((job, why)) = daemon.wait(&mut wishes).await {
        daemon.work(job, why, &mut wishes).await;
        if daemon.stop.requested() {
            break;
        }
        daemon.timers.ended(job, chrono::Utc::now(), &delay);
    }
    systemd::tell(&[sd_notify::NotifyState::Stopping]);
    // Whoever waits for what is not done any more is told so, also who was not heard yet.
    wishes.close();
    while let Ok(wish) = wishes.try_recv() {
        if let Wish::Do { job, asker } = wish {
            daemon.wanted.entry(job).or_default().extend(asker);
        }
    }
    daemon.drop_wanted(&NotDone::Stopping);
    let state = Arc::clone(&daemon.state);
    server.stop().await;
    daemon.teller.stop().await;
    state.telemetry.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// A delay up to this long, by chance.
fn delay(most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(fastrand::u64(0..=most))
}

struct Daemon<'a> {
    state: Arc<State>,
    reload: Reload<'a>,
    timers: Timers,
    teller: Teller,
    /// What somebody wants done at once, with those who have told their name.
    wanted: BTreeMap<Job, Vec<Asker>>,
    stop: Shutdown,
    /// What the clock showed when it was last looked at: it may be set back also while a job is at work.
    looked: Timestamp,
}

impl Daemon<'_> {
    /// Waits for the wall clock to reach the first of the timers, or for a wish; `None` when it is to
    /// stop. When the clock is set back, the schedules are asked anew. While it is paused, nothing is due.
    async fn wait(&mut self, wishes: &mut mpsc::Receiver<Wish>) -> Option<(Job, Why)> {
        let mut told = None;
        loop {
            self.state.pulse.turn(false);
            if self.stop.requested() {
                return None;
            }
            let pause = self.state.pause();
            let is_paused = pause.is_some();
            let wanted = || {
                Job::ALL.into_iter().find_map(|job| {
                    let why = match self.wanted.get(&job)?.is_empty() {
                        true => Why::Signal,
                        false => Why::Asked,
                    };
                    Some((job, why))
                })
            };
            if let Some(wanted) = wanted().filter(|_| !is_paused) {
                return Some(wanted);
            }
            let now = chrono::Utc::now();
            if now < self.looked {
                self.timers.set_back(now, &delay);
            }
            self.looked = now;
            self.state
                .change(|now| now.due = self.timers.all().collect());
            let next = self.timers.next().filter(|_| !is_paused);
            if let Some((due, job)) = next
                && now >= due
            {
                return Some((job, self.timers.why(job)));
            }
            let tell = (next, pause, self.state.now().refused);
            if told.as_ref() != Some(&tell) {
                let refused = tell.2.as_ref();
                match &tell {
                    (_, Some(pause), _) => tell_pause(pause, refused),
                    (next, None, _) => tell_next(*next, refused),
                }
                told = Some(tell);
            }
            let rest = next.map_or(LOOK, |(due, _)| (due - now).to_std().unwrap_or_default());
            tokio::select! {
                () = tokio::time::sleep(rest.min(LOOK)) => {}
                Some(wish) = wishes.recv() => self.hear(wish),
                () = self.stop.wait() => return None,
            }
        }
    }

    /// Does a job. Wishes are heard meanwhile, and what is to be done for them comes after it.
    async fn work(&mut self, job: Job, why: Why, wishes: &mut mpsc::Receiver<Wish>) {
        systemd::tell(&[sd_notify::NotifyState::Status(&format!("{job} is at work"))]);
        let askers = self.wanted.remove(&job).unwrap_or_default();
        let asked_by = askers.first().map(|asker| asker.by.clone());
        let state = Arc::clone(&self.state);
        let setup = state.setup();
        state.change(|now| {
            now.job = Some(Begun {
                job,
                since: chrono::Utc::now(),
                asked_by: asked_by.clone(),
            });
        });
        let trace = state.telemetry.trace(job);
        let meter = Meter::begin(job, &state.pulse, &state.metrics, trace.clone());
        let clock = Clock::start();
        let control = Control {
            watch: &meter,
            stop: self.stop.clone(),
            now: &|| clock.now(),
            asked_by,
        };
        let Done { outcome, end, seen } = {
            let work = Box::pin(do_job(&setup, job, why, &control));
            let watcher = state.pulse.watcher(trace.map(|trace| trace.watcher()));
            let work = watched(watcher, work);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    ended = &mut work => break ended,
                    Some(wish) = wishes.recv() => self.hear(wish),
                }
            }
        };
        if let Some(Ok(finished)) = outcome.as_deref() {
            state.metrics.left(&finished.applied);
        }
        meter.end(end);
        self.state.change(|now| now.job = None);
        self.teller.tell(seen);
        for (asker, outcome) in askers.into_iter().zip(std::iter::repeat(outcome)) {
            // Who has gone away meanwhile does not want to know.
            if let Some(outcome) = outcome {
                let _ = asker.done.send(Ok(outcome));
            }
        }
    }

    fn hear(&mut self, wish: Wish) {
        let pause = self.state.pause();
        match (wish, pause) {
            (Wish::Reload, _) => self.reload(),
            (Wish::Do { job, asker }, Some(pause)) => NotDone::Paused(pause).tell(job, asker),
            (Wish::Do { job, asker }, None) => {
                tracing::info!(%job, "asked for");
                self.wanted.entry(job).or_default().extend(asker);
            }
            // What has not begun is not done.
            (Wish::Look, Some(pause)) => self.drop_wanted(&NotDone::Paused(pause)),
            (Wish::Look, None) => {}
        }
    }

    /// What was to be done at once and has not begun is not done.
    fn drop_wanted(&mut self, why: &NotDone) {
        for (job, askers) in std::mem::take(&mut self.wanted) {
            why.tell(job, askers);
        }
    }

    /// Takes the configuration as it is in its file now, if it can be used.
    fn reload(&mut self) {
        systemd::reloading();
        let former = self.state.setup();
        let read = (self.reload)().and_then(|setup| {
            if setup.config.database == former.config.database {
                return Ok(setup);
            }
            let database = former.config.database.display();
            Err(format!(
                "another `database` than {database} needs a restart"
            ))
        });
        match read {
            Ok(setup) => {
                let now = chrono::Utc::now();
                self.timers.take(&setup.config.schedule, now, &delay);
                if !setup.config.daemon.listens_as(&former.config.daemon) {
                    tracing::warn!("another `socket` or `listen` needs a restart");
                }
                if setup.config.telemetry != former.config.telemetry {
                    tracing::warn!("another `otlp` needs a restart");
                }
                self.state.change(|now| {
                    now.due = self.timers.all().collect();
                    now.setup = Arc::new(setup);
                    now.refused = None;
                });
                tracing::info!("the configuration is read again and in force");
            }
            Err(why) => {
                tracing::error!(
                    "the configuration is not taken, and the former one stays in force: {why}"
                );
                let at = chrono::Utc::now();
                let refused = Some(RefusedConfig { at, why });
                self.state.change(|now| now.refused = refused);
            }
        }
        systemd::tell(&[sd_notify::NotifyState::Ready]);
    }
}

fn tell_pause(pause: &Pause, refused: Option<&RefusedConfig>) {
    let status = format!("paused {}", paused(pause));
    tell_systemd(&status, refused);
    tracing::info!("{status}");
}

fn tell_next(next: Option<(Timestamp, Job)>, refused: Option<&RefusedConfig>) {
    let Some((due, job)) = next else {
        tell_systemd("nothing is scheduled any more", refused);
        return tracing::warn!("nothing is scheduled any more");
    };
    let status = format!("waiting; {job} at {}", due.format("%Y-%m-%d %H:%M:%S UTC"));
    tell_systemd(&status, refused);
    tracing::info!(%due, %job, "waiting for the next run");
}

fn tell_systemd(status: &str, refused: Option<&RefusedConfig>) {
    let refused = refused.map(|refused| format!("; {}", refused.in_brief()));
    let status = format!("{status}{}", refused.unwrap_or_default());
    systemd::tell(&[sd_notify::NotifyState::Status(&status)]);
}

/// What became of a job.
struct Done {
    /// How a sync went.
    outcome: Option<Outcome>,
    /// How it ended, for the figures.
    end: End,
    /// What is to be told to people.
    seen: Option<Seen>,
}

/// Does a job, logs how it went, and notes that it begins and ends, so that after an outage it is known what was
/// missed or broken off.
async fn do_job(setup: &Setup, job: Job, why: Why, control: &Control<'_>) -> Done {
    let database = &setup.config.database;
    let begun = note(database, async |journal| {
        journal.begin_job(job, chrono::Utc::now()).await
    });
    if let Err(error) = begun.await {
        // It is done again after a restart, at worst.
        tracing::debug!(%job, "not noted: {error}");
    }
    let done = carry_out(setup, job, why, control).await;
    // What is stopped goes on after the restart.
    if !control.stop.requested()
        && let Err(error) = note(database, async |journal| journal.end_job(job).await).await
    {
        tracing::debug!(%job, "its end is not noted: {error}");
    }
    done
}

async fn carry_out(setup: &Setup, job: Job, why: Why, control: &Control<'_>) -> Done {
    match job {
        Job::Sync | Job::Full => {
            let depth = match job {
                Job::Full => Depth::Full,
                _ => Depth::Changes,
            };
            let orders = Orders {
                depth,
                ..Orders::ROUTINE
            };
            let outcome = sync(setup, orders, why.trigger(), control).await;
            log::synced(&outcome);
            let (end, seen) = (End::of_sync(&outcome), seen(job, &outcome));
            let outcome = Some(Arc::new(outcome));
            Done { outcome, end, seen }
        }
        Job::Reconcile => {
            let found = reconcile(setup, &Task::default(), control).await;
            let done = Done {
                outcome: None,
                end: End::of_run(&found),
                seen: teller::reconciled(job, &found),
            };
            log::reconciled(found);
            done
        }
        Job::Prune => {
            let Some(keep) = setup.config.journal.keep else {
                tracing::warn!("nothing is pruned: `keep` in [journal] is false");
                return Done {
                    outcome: None,
                    end: End::Done,
                    seen: None,
                };
            };
            let pruned = prune(setup, keep, false, PATIENCE, control).await;
            let done = Done {
                outcome: None,
                end: End::of_pruning(&pruned),
                seen: teller::pruned(job, &pruned),
            };
            log::pruned(pruned);
            done
        }
    }
}

async fn note(
    database: &std::path::Path,
    what: impl AsyncFnOnce(&mut Journal) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let mut journal = Journal::open_within(database, PATIENCE).await?;
    what(&mut journal).await?;
    journal.close().await
}
