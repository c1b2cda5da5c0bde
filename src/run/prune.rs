//! When the journal is pruned.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::{RunError, Setup};
use crate::apply::Control;
use crate::config::PrivateFolder;
use crate::model::Timestamp;
use crate::org::{ApiError, Reader};
use crate::plan::{Known, clock_fault};
use crate::snapshot::{Journal, LOOK, Prune, PruneError, Pruned, Snapshot, SnapshotError};

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

/// What pruning by hand has come to.
#[derive(Debug)]
pub struct PrunedByHand {
    /// What was taken out.
    pub taken: Pruned,
    /// The other writer for which it has broken off, if one has kept it waiting for too long.
    pub kept_out: Option<SnapshotError>,
}

/// Takes out of the journal what is older than `keep` in [journal] and not needed, or tells how much that
/// is, by a copy of the database. What time it is the API is asked: by a wrong clock all may be old. Other
/// writers are let in now and then, and are waited for so long; after that there is more to take out.
///
/// # Errors
/// [`CannotPrune`].
pub async fn prune(
    setup: &Setup,
    keep: TimeDelta,
    is_dry: bool,
    patience: Duration,
    control: &Control<'_>,
) -> Result<PrunedByHand, CannotPrune> {
    let database = &setup.config.database;
    let reader = Reader::new(&setup.config.organization)?;
    let capabilities = tokio::select! {
        learned = reader.capabilities() => learned?,
        () = control.stop.wait() => return Err(CannotPrune::Stopped),
    };
    let now = (control.now)();
    expect_right(capabilities.time, now)?;
    let age = (keep, now);
    if !is_dry {
        return Ok(prune_by_turns(database, age, patience, TURN, control).await?);
    }
    let folder = PrivateFolder::new()?;
    let copy = folder.path().join("dirsyncd.db");
    tokio::select! {
        copied = Snapshot::copy(database, &copy) => copied.map_err(PruneError::from)?,
        () = control.stop.wait() => return Err(CannotPrune::Stopped),
    }
    // Nobody else writes there.
    Ok(PrunedByHand {
        taken: take_turn(&copy, age, patience, None, Pruned::default(), control).await?,
        kept_out: None,
    })
}

async fn prune_by_turns(
    database: &Path,
    age: (TimeDelta, Timestamp),
    patience: Duration,
    turn: Duration,
    control: &Control<'_>,
) -> Result<PrunedByHand, PruneError> {
    let stop = &control.stop;
    let mut taken = Pruned {
        has_more: true,
        ..Pruned::default()
    };
    let mut kept_out = None;
    while taken.has_more && kept_out.is_none() && !stop.requested() {
        match take_turn(database, age, patience, Some(turn), taken, control).await {
            Ok(more) => taken = more,
            Err(PruneError::Snapshot(error @ SnapshotError::Locked { .. })) => {
                kept_out = Some(error);
            }
            Err(error) => return Err(error),
        }
        if taken.has_more && kept_out.is_none() {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.wait() => {}
            }
        }
    }
    Ok(PrunedByHand { taken, kept_out })
}

/// Has the database for so long, or to the end. What was looked at before, when this was taken out, is not
/// looked at again. Tells what is out then.
async fn take_turn(
    database: &Path,
    (keep, now): (TimeDelta, Timestamp),
    patience: Duration,
    turn: Option<Duration>,
    before: Pruned,
    control: &Control<'_>,
) -> Result<Pruned, PruneError> {
    let mut journal = Journal::open_within(database, patience).await?;
    let is_over = turn.map(after_a_portion);
    let pruned = journal
        .prune(&Prune {
            before: cutoff(now, keep),
            now,
            anew: before.first_run.is_none(),
            portion: PORTION,
            stop: &|| control.stop.requested() || is_over.as_ref().is_some_and(|is_over| is_over()),
        })
        .await;
    journal.close().await?;
    let pruned = pruned?;
    control.watch.went_on();
    Ok(Pruned {
        first_run: pruned.first_run.or(before.first_run),
        runs: before.runs + pruned.runs,
        operations: before.operations + pruned.operations,
        has_more: pruned.has_more,
    })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;
    use std::path::PathBuf;
    use std::sync::Mutex;

    use serde_json::json;
    use sqlx::{Connection, SqliteConnection};

    use super::*;
    use crate::apply::{Shutdown, Watch};
    use crate::snapshot::Outcome;

    /// So many operations of one person are old.
    const OLD: usize = 3 * PORTION;

    /// A database with an old run and a recent one.
    async fn aged(path: &Path, now: Timestamp) {
        let mut journal = Journal::open(path).await.unwrap();
        for at in [now - TimeDelta::days(500), now] {
            let run = journal.begin_run("test", at).await.unwrap();
            let summary = json!({});
            let end = journal.finish_run(run, at, Outcome::Done, None, &summary);
            end.await.unwrap();
        }
        journal.close().await.unwrap();
        let url = format!("sqlite://{}", path.display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(
            "INSERT INTO operations (run_id, external_id, kind, detail, state, intended_at, sent_at, answered_at)
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
             SELECT 1, 'nobody', 'update', '{}', 'done', 0, 0, 0 FROM numbers",
        )
        .bind(i64::try_from(OLD).unwrap())
        .execute(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();
    }

    /// Counts the turns; after the first it becomes another writer, which stays, if it knows the lock file.
    #[derive(Default)]
    struct Turns {
        lock: Option<PathBuf>,
        taken: Mutex<(usize, Option<File>)>,
    }

    impl Watch for Turns {
        fn went_on(&self) {
            let mut taken = self.taken.lock().unwrap();
            taken.0 += 1;
            if let Some(lock) = &self.lock {
                let file = File::open(lock).unwrap();
                file.try_lock().unwrap();
                taken.1 = Some(file);
            }
        }
    }

    fn control(watch: &Turns) -> Control<'_> {
        Control {
            watch,
            stop: Shutdown::never(),
            now: &chrono::Utc::now,
            asked_by: None,
        }
    }

    #[tokio::test]
    async fn only_where_others_write_are_there_turns() {
        let folder = tempfile::tempdir().unwrap();
        let now = chrono::Utc::now();
        let age = (TimeDelta::days(400), now);
        let (database, copy) = (folder.path().join("db"), folder.path().join("copy"));
        aged(&database, now).await;
        Snapshot::copy(&database, &copy).await.unwrap();
        let (by_turns, at_once) = (Turns::default(), Turns::default());

        let alone = control(&at_once);
        let none = Duration::ZERO;
        let at_a_time = take_turn(&copy, age, none, None, Pruned::default(), &alone).await;
        let shared = prune_by_turns(&database, age, none, none, &control(&by_turns)).await;

        let (at_a_time, shared) = (at_a_time.unwrap(), shared.unwrap());
        assert_eq!(at_a_time.operations, OLD - 5);
        assert!(!at_a_time.has_more);
        assert_eq!(shared.taken, at_a_time);
        assert!(shared.kept_out.is_none());
        assert_eq!(at_once.taken.lock().unwrap().0, 1);
        assert!(by_turns.taken.lock().unwrap().0 > 2);
    }

    #[tokio::test]
    async fn a_writer_that_stays_ends_it_with_what_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let now = chrono::Utc::now();
        let age = (TimeDelta::days(400), now);
        let database = folder.path().join("db");
        aged(&database, now).await;
        let watch = Turns {
            lock: Some(folder.path().join("db.lock")),
            ..Turns::default()
        };
        let none = Duration::ZERO;
        let ended = prune_by_turns(&database, age, none, none, &control(&watch)).await;
        let PrunedByHand { taken, kept_out } = ended.unwrap();
        assert_eq!((taken.operations, taken.has_more), (PORTION, true));
        assert!(matches!(kept_out, Some(SnapshotError::Locked { .. })));
        // It is the same at the first turn.
        let ended = prune_by_turns(&database, age, none, none, &control(&watch)).await;
        let PrunedByHand { taken, kept_out } = ended.unwrap();
        assert_eq!((taken.first_run, taken.has_more), (None, true));
        assert!(kept_out.is_some());
    }
}
