//! The daemon: syncs, and reconciles, each on a cron schedule, until it is asked to stop.
//!
//! Floor 8. There is one loop, so no two runs are ever under way at once; that another process
//! is not at work either, the journal's lock sees to.

use std::time::Duration;

use crate::apply::{Control, EndedBy, Shutdown, Unwatched};
use crate::config::Schedule;
use crate::model::{RunId, Timestamp};
use crate::plan::{Decided, Excess, Notice, Noticed, Reconciliation, SkipReason};
use crate::report::{reconciled_line, summary_line};
use crate::run::{Finished, Orders, RunError, Setup, Task, reconcile, sync};
use crate::snapshot::{Journal, Lock, SnapshotError};

/// How often the wall clock is looked at while waiting, so that a suspended machine or a
/// corrected clock does not move a run by more than this.
const LOOK: Duration = Duration::from_secs(20);

/// Runs until `stop` is requested; the operation in flight is finished then. A run that fails
/// is logged, and the next one is tried.
pub async fn run(setup: &Setup, schedule: &Schedule, stop: Shutdown) -> Result<(), SnapshotError> {
    let _lock = Lock::daemon(&setup.config.database)?;
    // A database that cannot be used is told at the start, not in the middle of the night.
    Journal::open(&setup.config.database).await?.close().await?;
    notify(&[sd_notify::NotifyState::Ready]);
    let mut timers = vec![Timer::new(Job::Sync, schedule)];
    let reconciles = setup.config.reconcile.schedule.iter();
    timers.extend(reconciles.map(|schedule| Timer::new(Job::Reconcile, schedule)));
    while let Some(job) = wait(&mut timers, &stop).await {
        let control = Control {
            watch: &Unwatched,
            stop: stop.clone(),
            now: &chrono::Utc::now,
            asked_by: None,
        };
        match job {
            Job::Sync => log(sync(setup, Orders::ROUTINE, "schedule", &control).await),
            Job::Reconcile => {
                log_reconciled(reconcile(setup, &Task::default(), &control).await);
            }
        }
        if stop.requested() {
            break;
        }
        for timer in timers.iter_mut().filter(|timer| timer.job == job) {
            timer.due = timer.schedule.next_after(chrono::Utc::now());
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopped");
    Ok(())
}

/// What the daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Sync,
    Reconcile,
}

/// When a job is to be done next. One that has become due while another was at work is done after it.
struct Timer<'a> {
    job: Job,
    schedule: &'a Schedule,
    /// `None` when the schedule never comes again.
    due: Option<Timestamp>,
}

impl<'a> Timer<'a> {
    fn new(job: Job, schedule: &'a Schedule) -> Self {
        Timer {
            job,
            schedule,
            due: schedule.next_after(chrono::Utc::now()),
        }
    }
}

/// Waits for the wall clock to reach the first of the timers; `None` when there is nothing to wait
/// for any more. When the clock is set back, the schedules are asked anew.
async fn wait(timers: &mut [Timer<'_>], stop: &Shutdown) -> Option<Job> {
    let mut last = chrono::Utc::now();
    let mut told = None;
    loop {
        let now = chrono::Utc::now();
        if now < last {
            for timer in timers.iter_mut() {
                timer.due = timer.schedule.next_after(now).or(timer.due);
            }
        }
        last = now;
        let dues = timers.iter().filter_map(|timer| Some((timer.due?, timer)));
        let (due, timer) = dues.min_by_key(|(due, _)| *due)?;
        if now >= due {
            return Some(timer.job);
        }
        if told.replace(due) != Some(due) {
            let (job, schedule) = (timer.job, timer.schedule);
            tracing::info!(%due, %schedule, ?job, "waiting for the next run");
        }
        let rest = (due - now).to_std().unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(rest.min(LOOK)) => {}
            () = stop.wait() => return None,
        }
    }
}

/// Logs what was changed in the organization by hand.
fn log_reconciled(result: Result<(Option<RunId>, Reconciliation), RunError>) {
    let (run, found) = match result {
        Ok((run, found)) => (run.map(|run| run.0), found),
        Err(RunError::Stopped) => return tracing::info!("the reconciliation was stopped"),
        Err(error) => return tracing::error!("the reconciliation failed: {error}"),
    };
    for Decided { drift, after, .. } in &found.drifts {
        let kinds: Vec<&str> = drift.kinds.keys().map(|kind| kind.name()).collect();
        let (kinds, dn) = (kinds.join(", "), &drift.row.dn);
        let taken_over = after.is_some();
        tracing::warn!(run, dn, kinds, taken_over, "changed in the organization");
    }
    for Excess {
        kind,
        count,
        of,
        allowed,
    } in &found.excess
    {
        tracing::error!(run, %kind, count, of, allowed, "too much to be taken over");
    }
    for drift in &found.group_drifts {
        let group = &drift.row.name;
        tracing::warn!(run, group, "changed in the organization");
    }
    tracing::info!(run, "{}", reconciled_line(&found));
}

fn log(result: Result<Finished, RunError>) {
    match result {
        Ok(Finished { run, plan, applied }) => {
            for Notice { source, what } in &plan.notices {
                let source = source.as_str();
                match what {
                    Noticed::ReadInFull { .. } => tracing::info!(%run, source, "{what}"),
                    Noticed::Missed { .. } => tracing::error!(%run, source, "{what}"),
                }
            }
            for hold in &plan.holds {
                tracing::warn!(%run, hold = hold.name, "held: {hold}");
            }
            for suspension in &plan.suspensions {
                tracing::warn!(
                    %run,
                    source = suspension.source.as_str(),
                    absent = suspension.absent,
                    "absences are not believed: {}",
                    suspension.why
                );
            }
            for refusal in &plan.refusals {
                tracing::warn!(%run, dn = refusal.dn, "refused: {}", refusal.why);
            }
            for skipped in &plan.skipped {
                // The others are skipped for good, and the summary counts them.
                if matches!(skipped.why, SkipReason::UnverifiedDomain { .. })
                    || skipped.why.is_stale()
                {
                    tracing::warn!(%run, dn = skipped.dn, "skipped: {}", skipped.why);
                }
            }
            for refusal in plan.groups.iter().flat_map(|groups| &groups.refusals) {
                tracing::warn!(%run, dn = refusal.dn, "refused: {}", refusal.why);
            }
            for suspension in plan.groups.iter().flat_map(|groups| &groups.suspensions) {
                tracing::warn!(
                    %run,
                    place = suspension.place,
                    "nobody is taken out of groups: {}",
                    suspension.why
                );
            }
            match &applied.ended_by {
                None | Some(EndedBy::Stop) => {}
                Some(EndedBy::Error(error)) => {
                    tracing::error!(%run, "the run ended early: {error}");
                }
                Some(budget) => tracing::warn!(%run, "left for the next run: {budget}"),
            }
            if let Some(pending) = &applied.pending {
                tracing::warn!(
                    %run,
                    count = pending.count,
                    since = %pending.since,
                    dn = pending.dn,
                    "deactivations are not done"
                );
            }
            tracing::info!(
                %run,
                done = applied.done,
                failed = applied.failed.len() + applied.groups.failed.len(),
                left = applied.left + applied.groups.left,
                "{}",
                summary_line(&plan)
            );
        }
        Err(RunError::Stopped) => tracing::info!("the run was stopped before anything was sent"),
        Err(error) => tracing::error!("the run failed: {error}"),
    }
}

/// Tells systemd, where there is one (sd_notify(3)).
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
