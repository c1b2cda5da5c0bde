//! When the journal is pruned.

use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;

use super::{RunError, Setup};
use crate::model::Timestamp;
use crate::plan::{Known, clock_fault};
use crate::snapshot::{Journal, PruneError, Pruned, Snapshot};

/// So many operations, and runs, are taken out at once at most: nobody waits for it for long.
const AT_ONCE: usize = 5000;

/// So often at most a run does it.
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
}

/// Takes out of the journal what is older than this and not needed, or tells how much that is, by a
/// copy of the database. Other writers are let in now and then, and are waited for so long.
pub async fn prune(
    database: &Path,
    keep: TimeDelta,
    is_dry: bool,
    patience: Duration,
) -> Result<Pruned, CannotPrune> {
    if is_dry {
        let folder = tempfile::tempdir()?;
        let copy = folder.path().join("dirsyncd.db");
        Snapshot::copy(database, &copy)
            .await
            .map_err(PruneError::from)?;
        return Ok(prune_all(&copy, keep, patience).await?);
    }
    Ok(prune_all(database, keep, patience).await?)
}

async fn prune_all(
    database: &Path,
    keep: TimeDelta,
    patience: Duration,
) -> Result<Pruned, PruneError> {
    let mut all = Pruned::default();
    loop {
        let now = chrono::Utc::now();
        let mut journal = Journal::open_within(database, patience).await?;
        let pruned = journal.prune(cutoff(now, keep), now, AT_ONCE).await;
        journal.close().await?;
        let pruned = pruned?;
        all = Pruned {
            first_run: pruned.first_run,
            runs: all.runs + pruned.runs,
            operations: all.operations + pruned.operations,
            has_more: false,
        };
        if !pruned.has_more {
            return Ok(all);
        }
    }
}

/// Prunes the journal in a run, if it was not done lately and the clock is right.
pub(super) async fn prune_now_and_then(
    setup: &Setup,
    journal: &mut Journal,
    api_time: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), RunError> {
    let Some(keep) = setup.config.journal.keep else {
        return Ok(());
    };
    let last = journal.pruning().await?;
    if last.is_some_and(|last| (now - last.at).abs() < interval()) {
        return Ok(());
    }
    let known = Known {
        api_time,
        last_run: journal.last_run().await?,
        ..Known::default()
    };
    if api_time.is_none() || clock_fault(&known, now).is_some() {
        return Ok(());
    }
    match journal.prune(cutoff(now, keep), now, AT_ONCE).await {
        Ok(pruned) if pruned == Pruned::default() => {}
        Ok(pruned) => tracing::info!(
            runs = pruned.runs,
            operations = pruned.operations,
            "what is old was taken out of the journal"
        ),
        Err(PruneError::Snapshot(error)) => return Err(error.into()),
        Err(error) => tracing::debug!("the journal is not pruned: {error}"),
    }
    Ok(())
}

fn cutoff(now: Timestamp, keep: TimeDelta) -> Timestamp {
    now.checked_sub_signed(keep).unwrap_or(Timestamp::MIN_UTC)
}
