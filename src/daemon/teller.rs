//! Tells people what the daemon sees, beside its work: a job waits for no receiver of messages.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::LOOK;
use super::state::State;
use crate::config::{Config, Event, Job};
use crate::model::RunId;
use crate::notify::{self, Seen};
use crate::plan::Reconciliation;
use crate::run::{CannotPrune, Finished, PrunedByHand, RunError};
use crate::snapshot::{Lock, SnapshotError};

/// How often it is looked whether somebody is to be reminded.
const REMIND: Duration = Duration::from_secs(60);

/// How long what is being sent is waited for at the end; what has not arrived by then waits for the next start.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How long somebody waits by hand for what is sent.
const BY_HAND: Duration = Duration::from_secs(30);

/// Tells people; it does so until it is [stopped](Self::stop).
pub(super) struct Teller {
    seen: mpsc::Sender<Seen>,
    /// Ends it wherever it is.
    abandon: oneshot::Sender<()>,
    work: JoinHandle<()>,
}

impl Teller {
    pub(super) fn start(state: Arc<State>) -> Self {
        let (sender, receiver) = mpsc::channel(16);
        let (abandon, abandoned) = oneshot::channel();
        let runtime = Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work(state, receiver) => {}
                    _ = abandoned => {}
                }
            });
        });
        Teller {
            seen: sender,
            abandon,
            work,
        }
    }

    /// Has people told of this, if it is news.
    pub(super) fn tell(&self, seen: Option<Seen>) {
        if let Some(seen) = seen
            && self.seen.try_send(seen).is_err()
        {
            // The next job shows it again.
            tracing::warn!("more is seen than can be told");
        }
    }

    /// Sends what is to be sent, as far as that goes fast.
    pub(super) async fn stop(self) {
        let Teller {
            seen,
            abandon,
            mut work,
        } = self;
        drop(seen);
        if tokio::time::timeout(STOP_WITHIN, &mut work).await.is_err() {
            let _ = abandon.send(());
        }
    }
}

async fn work(state: Arc<State>, mut seen: mpsc::Receiver<Seen>) {
    let mut hung = None;
    let mut has_started = false;
    let mut reminded: Option<Instant> = None;
    loop {
        let setup = state.setup();
        let config = &setup.config;
        let hang_after = config.daemon.hang_after;
        if config.notify.channels.is_empty() {
            // By a reload there may be some.
            tokio::select! {
                seen = seen.recv() => if seen.is_none() { return },
                () = tokio::time::sleep(LOOK) => {}
            }
            continue;
        }
        let mut news: Vec<Option<Seen>> = Vec::new();
        if !has_started {
            news.push(Some(Seen::start(None)));
            has_started = true;
        }
        let hangs = state.pulse.hangs_for(hang_after);
        if hung != Some(hangs) {
            news.push(Some(Seen::hanging(hangs)));
            hung = Some(hangs);
        }
        if reminded.is_none_or(|at| at.elapsed() >= REMIND) {
            news.push(None);
            reminded = Some(Instant::now());
        }
        let rest = LOOK.min(hang_after / 2).max(Duration::from_millis(200));
        let (rest, is_due) = match until_next(config).await {
            Ok(until) => (
                until.unwrap_or(rest).min(rest),
                until.is_some_and(|until| until.is_zero()),
            ),
            Err(_) => (rest, false),
        };
        if news.is_empty() && !is_due {
            let wait = tokio::select! {
                biased;
                seen = seen.recv() => seen.map(Some),
                () = tokio::time::sleep(rest.max(Duration::from_millis(200))) => continue,
            };
            match wait {
                Some(seen) => news.push(seen),
                None => return,
            }
        }
        if let Err(error) = tell(config, &news).await {
            tracing::error!("people cannot be told: {error}");
            // What is wrong with the database is not over in no time.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn tell(config: &Config, news: &[Option<Seen>]) -> Result<(), SnapshotError> {
    for seen in news {
        notify::tell(config, seen.as_ref(), chrono::Utc::now()).await?;
    }
    match until_next(config).await? {
        Some(Duration::ZERO) => notify::deliver(config, &chrono::Utc::now).await,
        _ => Ok(()),
    }
}

/// How long until something is to be sent; `None` if nothing is.
async fn until_next(config: &Config) -> Result<Option<Duration>, SnapshotError> {
    let next = notify::next(&config.database).await?;
    Ok(next.map(|next| (next - chrono::Utc::now()).to_std().unwrap_or_default()))
}

/// What a sync of everybody shows that people are told of; `None` if it shows nothing, as it was stopped, or
/// another one was at work.
pub fn seen(job: Job, outcome: &Result<Finished, RunError>) -> Option<Seen> {
    match outcome {
        Ok(Finished { run, plan, applied }) => Some(Seen::sync(*run, plan, applied)),
        Err(error) => failed(job, error),
    }
}

/// What a job shows that has come to nothing.
fn failed(job: Job, error: &RunError) -> Option<Seen> {
    let event = match error {
        RunError::Stopped | RunError::Snapshot(SnapshotError::Locked { .. }) => return None,
        RunError::Refused(_) => Event::Refusal,
        _ => Event::Failure,
    };
    Some(Seen::job(
        job,
        Some((event, error.brief(), error.to_string())),
    ))
}

/// What a reconciliation shows.
pub(super) fn reconciled(
    job: Job,
    result: &Result<(Option<RunId>, Reconciliation), RunError>,
) -> Option<Seen> {
    let excess = match result {
        Ok((_, found)) => &found.excess,
        Err(error) => return failed(job, error),
    };
    let all: Vec<String> = excess
        .iter()
        .map(|one| format!("{}: {} of {}", one.kind, one.count, one.of))
        .collect();
    let brief = "more was changed by hand in the organization than may be taken over";
    let told = (!all.is_empty()).then(|| (Event::Refusal, brief, all.join("; ")));
    Some(Seen::job(job, told))
}

/// What pruning shows.
pub(super) fn pruned(job: Job, result: &Result<PrunedByHand, CannotPrune>) -> Option<Seen> {
    let told = match result {
        Ok(_) => None,
        Err(CannotPrune::Stopped) => return None,
        Err(error) => {
            let brief = "old runs stay in the journal";
            Some((Event::Failure, brief, error.to_string()))
        }
    };
    Some(Seen::job(job, told))
}

/// Tells people by hand. What has not been sent in time, or is to be sent by a daemon that runs, waits in the
/// database.
///
/// # Errors
/// When the database cannot be used.
pub async fn tell_by_hand(config: &Config, seen: &Seen) -> Result<(), SnapshotError> {
    if config.notify.channels.is_empty() {
        return Ok(());
    }
    notify::tell(config, Some(seen), chrono::Utc::now()).await?;
    match Lock::daemon(&config.database) {
        // It sends.
        Err(SnapshotError::Served { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_alone) => {
            let delivering = notify::deliver(config, &chrono::Utc::now);
            tokio::time::timeout(BY_HAND, delivering)
                .await
                .unwrap_or(Ok(()))
        }
    }
}
