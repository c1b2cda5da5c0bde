//! When the journal is pruned.

use std::cell::Cell;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::{RunError, Setup};
use crate::apply::Control;
use crate::config::PrivateFolder;
use crate::model::Timestamp;
use crate::org::{ApiError, Reader};
use crate::plan::{Known, clock_fault};
use crate::snapshot::{Journal, LOOK, Prune, PruneError, Pruned, Snapshot};

/// So many rows are looked at in one transaction.
const PORTION: usize = 500;

/// So much of its time a run gives to it; the next one goes on.
const OF_A_RUN: Duration = Duration::from_secs(5);

/// After so long, pruning by hand lets other writers in: sooner than a run gives up waiting
/// ([`PATIENCE`](super::PATIENCE)).
const TURN: Duration = Duration::from_millis(250);

/// So long they have for that, as they look only now and then whether they may.
const PAUSE: Duration = LOOK.saturating_mul(4);

/// So often at most a run begins with it.
fn interval() -> TimeDelta {
    TimeDelta::days(1)
}

/// Why the journal cannot be pruned now.
#[derive(Debug, thiserror::Error)]
pub enum CannotPrune {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] PruneError),
    /// There is no room for a copy of the database.
    #[error("cannot make a temporary folder: {0}; set TMPDIR to a folder with room")]
    Folder(#[from] std::io::Error),
    /// The API cannot be asked.
    #[error(
        "nothing was taken out, as the API alone is believed what time it is: {0}; prune when it answers (`dirsyncd check`)"
    )]
    Api(#[from] ApiError),
    /// The API does not tell.
    #[error(
        "nothing was taken out, as the API, which alone is believed what time it is, does not tell: see that its answers have a `Date`"
    )]
    NoTime,
    /// This machine's clock is wrong, or the API's.
    #[error("nothing was taken out, as {0}: set the clock right, and prune after that")]
    Clock(String),
    /// It was asked to stop.
    #[error("stopped before anything was taken out")]
    Stopped,
}

/// Takes out of the journal what is older than `keep` in [journal] and not needed, or tells how much that
/// is, by a copy of the database. What time it is the API is asked: by a wrong clock all may be old. Other
/// writers are let in now and then, and are waited for so long.
pub async fn prune(
    setup: &Setup,
    keep: TimeDelta,
    is_dry: bool,
    patience: Duration,
    control: &Control<'_>,
) -> Result<Pruned, CannotPrune> {
    let database = &setup.config.database;
    let reader = Reader::new(&setup.config.organization)?;
    let capabilities = tokio::select! {
        learned = reader.capabilities() => learned?,
        () = control.stop.wait() => return Err(CannotPrune::Stopped),
    };
    let now = (control.now)();
    expect_right(capabilities.time, now)?;

    let folder;
    let pruned = if is_dry {
        folder = PrivateFolder::new()?;
        let copy = folder.path().join("dirsyncd.db");
        tokio::select! {
            copied = Snapshot::copy(database, &copy) => copied.map_err(PruneError::from)?,
            () = control.stop.wait() => return Err(CannotPrune::Stopped),
        }
        prune_all(&copy, (keep, now), patience, control).await?
    } else {
        prune_all(database, (keep, now), patience, control).await?
    };
    Ok(pruned)
}

async fn prune_all(
    database: &std::path::Path,
    (keep, now): (TimeDelta, Timestamp),
    patience: Duration,
    control: &Control<'_>,
) -> Result<Pruned, PruneError> {
    let stop = &control.stop;
    let mut all = Pruned {
        has_more: true,
        ..Pruned::default()
    };
    let mut anew = true;
    while all.has_more && !stop.requested() {
        let mut journal = Journal::open_within(database, patience).await?;
        let is_over = after_a_portion(TURN);
        let pruned = journal
            .prune(&Prune {
                before: cutoff(now, keep),
                now,
                anew,
                portion: PORTION,
                stop: &|| stop.requested() || is_over(),
            })
            .await;
        journal.close().await?;
        let pruned = pruned?;
        all = Pruned {
            first_run: pruned.first_run,
            runs: all.runs + pruned.runs,
            operations: all.operations + pruned.operations,
            has_more: pruned.has_more,
        };
        anew = false;
        control.watch.went_on();
        if all.has_more {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.wait() => {}
            }
        }
    }
    Ok(all)
}

/// Whether so long is over, asked before each portion; not before the first, so that also on a slow disk
/// each turn comes on.
fn after_a_portion(long: Duration) -> impl Fn() -> bool {
    let (began, is_first) = (Instant::now(), Cell::new(true));
    move || !is_first.replace(false) && began.elapsed() > long
}

/// Prunes the journal in a run, if that was not done lately and the clock is right.
pub(super) async fn prune_now_and_then(
    setup: &Setup,
    journal: &mut Journal,
    api_time: Option<Timestamp>,
    control: &Control<'_>,
) -> Result<(), RunError> {
    let Some(keep) = setup.config.journal.keep else {
        return Ok(());
    };
    let now = (control.now)();
    let last = journal.pruning().await?;
    if last.is_some_and(|last| !last.has_more && (now - last.at).abs() < interval()) {
        return Ok(());
    }
    if let Err(why) = expect_right(api_time, now) {
        tracing::debug!("the journal is not pruned: {why}");
        return Ok(());
    }
    let is_over = after_a_portion(OF_A_RUN);
    let prune = Prune {
        before: cutoff(now, keep),
        now,
        anew: false,
        portion: PORTION,
        stop: &|| control.stop.requested() || is_over(),
    };
    match journal.prune(&prune).await {
        Ok(pruned) if pruned.operations == 0 && pruned.runs == 0 => {}
        Ok(pruned) => tracing::info!(
            runs = pruned.runs,
            operations = pruned.operations,
            has_more = pruned.has_more,
            "what is old was taken out of the journal"
        ),
        Err(PruneError::Snapshot(error)) => return Err(error.into()),
        Err(error) => tracing::debug!("the journal is not pruned: {error}"),
    }
    Ok(())
}

/// By a clock that is ahead all would be old, and what is kept was perhaps recorded by the same clock:
/// only the API's time counts.
fn expect_right(api_time: Option<Timestamp>, now: Timestamp) -> Result<(), CannotPrune> {
    let api_time = Some(api_time.ok_or(CannotPrune::NoTime)?);
    let known = Known {
        api_time,
        ..Known::default()
    };
    clock_fault(&known, now).map_or(Ok(()), |fault| Err(CannotPrune::Clock(fault)))
}

fn cutoff(now: Timestamp, keep: TimeDelta) -> Timestamp {
    now.checked_sub_signed(keep).unwrap_or(Timestamp::MIN_UTC)
}
