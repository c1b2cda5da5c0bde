//! Stale reads: for a while after a write, reads of SCIM users see the database as it was before (a real API that
//! answers from several copies does so; contract section 6, "eventual consistency").

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

/// The database at one moment: a read transaction in WAL mode goes on seeing what was when it began.
pub(super) struct Snapshot(Transaction<'static, Sqlite>);

impl Snapshot {
    /// Takes the moment; only a first read does so.
    pub(super) async fn take(readers: &SqlitePool) -> sqlx::Result<Self> {
        let mut tx = readers.begin().await?;
        sqlx::query("SELECT name FROM facts LIMIT 1")
            .execute(&mut *tx)
            .await?;
        Ok(Self(tx))
    }
}

/// A snapshot and till when it is what readers see.
type Kept = Option<(Instant, Snapshot)>;

/// The moment that readers see instead of now, if any.
#[derive(Clone, Default)]
pub(super) struct Past(Arc<Mutex<Kept>>);

/// Where to read.
pub(super) enum View {
    Now(PoolConnection<Sqlite>),
    Past(OwnedMappedMutexGuard<Kept, SqliteConnection>),
}

impl View {
    pub(super) fn db(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Now(connection) => connection,
            Self::Past(connection) => connection,
        }
    }
}

impl Past {
    /// From now on, for `time`, readers see the snapshot.
    pub(super) async fn keep(&self, snapshot: Snapshot, time: Duration) {
        *self.0.lock().await = Some((Instant::now() + time, snapshot));
    }

    /// The snapshot as long as one is to be seen, or now. Readers of a snapshot wait for each other.
    pub(super) async fn view(&self, readers: &SqlitePool) -> sqlx::Result<View> {
        let mut kept = Arc::clone(&self.0).lock_owned().await;
        if kept
            .as_ref()
            .is_some_and(|(until, _)| Instant::now() >= *until)
        {
            *kept = None;
        }
        match OwnedMutexGuard::try_map(kept, |kept| {
            kept.as_mut().map(|(_, Snapshot(tx))| &mut **tx)
        }) {
            Ok(connection) => Ok(View::Past(connection)),
            Err(kept) => {
                drop(kept);
                readers.acquire().await.map(View::Now)
            }
        }
    }

    /// Lets the snapshot go.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
