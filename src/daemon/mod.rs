//! The daemon: does its jobs each on a schedule, and at once when it is asked to, until it is to stop.
//!
//! Floor 8. One job is at work at a time, so no two runs are ever under way at once; that another
//! process is not at work either, the journal's lock sees to.

mod log;
mod pulse;
mod systemd;
mod timers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::apply::{Control, Shutdown};
use crate::config::Job;
use crate::model::Timestamp;
use crate::pull::Depth;
use crate::run::{Orders, Setup, Task, prune, reconcile, sync};
use crate::snapshot::{Journal, Lock, Snapshot, SnapshotError};

use pulse::Pulse;
use timers::Timers;

/// How often the wall clock is looked at while waiting, so that a suspended machine or a
/// corrected clock does not move a run by more than this.
const LOOK: Duration = Duration::from_secs(20);

/// How long another writer is waited for: `dirsyncd approve` is done in no time, and a sync by hand
/// makes one of the schedule needless.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the daemon can be asked for while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To do a job at once, or once what is at work is done.
    Do(Job),
    /// To read the configuration again.
    Reload,
}

/// Reads the configuration again; what is wrong with it in words.
pub type Reload<'a> = &'a dyn Fn() -> Result<Setup, String>;

/// Runs until `stop` is requested; the operation in flight is finished then. A job that fails
/// is logged, and the next one is tried.
pub async fn run(
    setup: Setup,
    reload: Reload<'_>,
    mut wishes: mpsc::Receiver<Wish>,
    stop: Shutdown,
) -> Result<(), SnapshotError> {
    let _lock = Lock::daemon(&setup.config.database)?;
    // A database that cannot be used is told at the start, not in the middle of the night.
    Journal::open(&setup.config.database).await?.close().await?;
    let mut snapshot = Snapshot::open_for_reading(&setup.config.database).await?;
    let begun = snapshot.jobs_begun().await?;
    snapshot.close().await?;
    let pulse = Arc::new(Pulse::default());
    let _watchdog = systemd::keep_watch(&pulse, setup.config.daemon.hang_after);
    let now = chrono::Utc::now();
    let mut daemon = Daemon {
        timers: Timers::start(&setup.config.schedule, &begun, now, &delay),
        setup: Arc::new(setup),
        reload,
        wanted: BTreeSet::new(),
        pulse,
        stop,
        looked: now,
    };
    systemd::tell(&[sd_notify::NotifyState::Ready]);
    while let Some(job) = daemon.wait(&mut wishes).await {
        daemon.work(job, &mut wishes).await;
        if daemon.stop.requested() {
            break;
        }
        daemon.timers.ended(job, chrono::Utc::now(), &delay);
    }
    systemd::tell(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopped");
    Ok(())
}

/// A delay up to this long, by chance.
fn delay(most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(fastrand::u64(0..=most))
}

struct Daemon<'a> {
    setup: Arc<Setup>,
    reload: Reload<'a>,
    timers: Timers,
    /// What somebody wants done at once.
    wanted: BTreeSet<Job>,
    pulse: Arc<Pulse>,
    stop: Shutdown,
    /// What the clock showed when it was last looked at: it may be set back also while a job is at work.
    looked: Timestamp,
}

impl Daemon<'_> {
    /// Waits for the wall clock to reach the first of the timers, or for a wish; `None` when it is to
    /// stop. When the clock is set back, the schedules are asked anew.
    async fn wait(&mut self, wishes: &mut mpsc::Receiver<Wish>) -> Option<Job> {
        let mut told = None;
        loop {
            self.pulse.turn(false);
            if self.stop.requested() {
                return None;
            }
            if let Some(job) = Job::ALL.into_iter().find(|job| self.wanted.remove(job)) {
                return Some(job);
            }
            let now = chrono::Utc::now();
            if now < self.looked {
                self.timers.set_back(now, &delay);
            }
            self.looked = now;
            let next = self.timers.next();
            if let Some((due, job)) = next
                && now >= due
            {
                return Some(job);
            }
            if told.replace(next) != Some(next) {
                tell_next(next);
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
    async fn work(&mut self, job: Job, wishes: &mut mpsc::Receiver<Wish>) {
        systemd::tell(&[sd_notify::NotifyState::Status(&format!("{job} is at work"))]);
        let setup = Arc::clone(&self.setup);
        let pulse = Arc::clone(&self.pulse);
        let control = Control {
            watch: &*pulse,
            stop: self.stop.clone(),
            now: &chrono::Utc::now,
            asked_by: None,
        };
        let work = do_job(&setup, job, &control);
        tokio::pin!(work);
        pulse.turn(true);
        loop {
            tokio::select! {
                () = &mut work => break,
                Some(wish) = wishes.recv() => self.hear(wish),
            }
        }
    }

    fn hear(&mut self, wish: Wish) {
        match wish {
            Wish::Do(job) => {
                tracing::info!(%job, "asked for");
                self.wanted.insert(job);
            }
            Wish::Reload => self.reload(),
        }
    }

    /// Takes the configuration as it is in its file now, if it can be used.
    fn reload(&mut self) {
        systemd::reloading();
        match (self.reload)() {
            Ok(setup) if setup.config.database != self.setup.config.database => {
                tracing::error!(
                    database = %self.setup.config.database.display(),
                    "the configuration is not taken: another `database` needs a restart; the former one stays in force"
                );
            }
            Ok(setup) => {
                let now = chrono::Utc::now();
                self.timers.take(&setup.config.schedule, now, &delay);
                self.setup = Arc::new(setup);
                tracing::info!("the configuration is read again and in force");
                tell_next(self.timers.next());
            }
            Err(error) => tracing::error!(
                "the configuration is not taken, and the former one stays in force: {error}"
            ),
        }
        systemd::tell(&[sd_notify::NotifyState::Ready]);
    }
}

fn tell_next(next: Option<(Timestamp, Job)>) {
    let Some((due, job)) = next else {
        systemd::tell(&[sd_notify::NotifyState::Status(
            "nothing is scheduled any more",
        )]);
        return tracing::warn!("nothing is scheduled any more");
    };
    let status = format!("waiting; {job} at {}", due.format("%Y-%m-%d %H:%M:%S UTC"));
    systemd::tell(&[sd_notify::NotifyState::Status(&status)]);
    tracing::info!(%due, %job, "waiting for the next run");
}

/// Does a job, and logs how it went.
async fn do_job(setup: &Setup, job: Job, control: &Control<'_>) {
    let database = &setup.config.database;
    if let Err(error) = note(database, job).await {
        // It is done again after a restart, at worst.
        tracing::debug!(%job, "not noted: {error}");
    }
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
            log::synced(sync(setup, orders, "schedule", control).await);
        }
        Job::Reconcile => log::reconciled(reconcile(setup, &Task::default(), control).await),
        Job::Prune => match setup.config.journal.keep {
            Some(keep) => log::pruned(prune(setup, keep, false, PATIENCE, control).await),
            None => tracing::warn!("nothing is pruned: `keep` in [journal] is false"),
        },
    }
}

/// Notes that a job begins, so that after an outage it is known whether one was missed.
async fn note(database: &std::path::Path, job: Job) -> Result<(), SnapshotError> {
    let mut journal = Journal::open_within(database, PATIENCE).await?;
    journal.begin_job(job, chrono::Utc::now()).await?;
    journal.close().await
}
