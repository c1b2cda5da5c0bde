//! The daemon: syncs on a cron schedule until it is asked to stop.
//!
//! Floor 8. There is one loop, so no two runs are ever under way at once; that another process
//! is not at work either, the journal's lock sees to.

use std::time::Duration;

use crate::apply::{Control, EndedBy, Shutdown, Unwatched};
use crate::config::Schedule;
use crate::model::Timestamp;
use crate::plan::{Notice, Noticed, SkipReason};
use crate::report::summary_line;
use crate::run::{Finished, Orders, RunError, Setup, sync};
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
    while let Some(due) = schedule.next_after(chrono::Utc::now()) {
        tracing::info!(%due, %schedule, "waiting for the next run");
        if wait(schedule, due, &stop).await == Wake::Stop {
            break;
        }
        let control = Control {
            watch: &Unwatched,
            stop: stop.clone(),
            now: &chrono::Utc::now,
        };
        log(sync(setup, Orders::ROUTINE, "schedule", &control).await);
        if stop.requested() {
            break;
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopped");
    Ok(())
}

#[derive(PartialEq)]
enum Wake {
    Due,
    Stop,
}

/// Waits for the wall clock to reach `due`. When it is set back, the schedule is asked anew.
async fn wait(schedule: &Schedule, mut due: Timestamp, stop: &Shutdown) -> Wake {
    let mut last = chrono::Utc::now();
    loop {
        let now = chrono::Utc::now();
        if now >= due {
            return Wake::Due;
        }
        if now < last {
            due = schedule.next_after(now).unwrap_or(due);
        }
        last = now;
        let rest = (due - now).to_std().unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(rest.min(LOOK)) => {}
            () = stop.wait() => return Wake::Stop,
        }
    }
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
