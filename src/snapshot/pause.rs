//! Whether the daemon is paused.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::error::Context;
use super::rows::moment;
use super::{Lock, Snapshot, SnapshotError};
use crate::model::{Invoker, Timestamp};

/// A pause of the daemon: until it is ended, no job is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Who has asked for it.
    pub asked_by: Invoker,
    /// Why; empty if that was not told.
    pub reason: String,
}

/// Why the reason of a pause is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReason {
    /// It could command who shows it: a terminal, a log, systemd.
    #[error("the reason of a pause is one line, without control characters")]
    Control,
    /// It is too long to be shown with everything else.
    #[error("the reason of a pause has {MOST_REASON} characters at most")]
    Long,
}

/// The most characters of a reason.
const MOST_REASON: usize = 500;

impl Pause {
    /// The reason as it is kept.
    ///
    /// # Errors
    /// When it is not to be taken.
    pub fn reason(given: &str) -> Result<String, BadReason> {
        if given.chars().any(char::is_control) {
            return Err(BadReason::Control);
        }
        if given.chars().count() > MOST_REASON {
            return Err(BadReason::Long);
        }
        Ok(given.trim().to_owned())
    }
}

impl Snapshot {
    /// The pause that is on.
    pub async fn pause(&mut self) -> Result<Option<Pause>, SnapshotError> {
        let row = sqlx::query("SELECT asked_by, uid, sudo_user, reason, since FROM pause")
            .fetch_optional(&mut self.connection)
            .await
            .at(&self.path)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Pause {
            asked_by: Invoker {
                name: row.try_get(0).at(&self.path)?,
                uid: row.try_get(1).at(&self.path)?,
                sudo_user: row.try_get(2).at(&self.path)?,
            },
            reason: row.try_get(3).at(&self.path)?,
            since: moment(&row, 4).map_err(|why| self.row_error(&row, &why))?,
        }))
    }
}

/// Records for the next daemon that it is paused, or that it is not any more, while none runs. A run that writes is
/// waited for so long.
///
/// # Errors
/// [`Served`](SnapshotError::Served) when a daemon runs; [`NotYet`](SnapshotError::NotYet) when there is no database of
/// this version, which is not made for this; else when the database cannot be written.
pub async fn keep_pause_for_later(
    database: &Path,
    pause: Option<&Pause>,
    patience: Duration,
) -> Result<(), SnapshotError> {
    // Before a lock is made where no database is.
    Snapshot::open_as_it_is(database).await?.close().await?;
    let daemon = Lock::daemon(database)?;
    let _writer = Lock::writer_within(database, patience).await?;
    keep_pause(&daemon, database, pause).await
}

/// Records that the daemon is paused, or that it is not any more, in one statement: so it needs no
/// [`Journal`](super::Journal), and a run that is under way is not waited for. `_daemon` shows that no
/// other daemon is there to write it.
///
/// # Errors
/// [`NotYet`](SnapshotError::NotYet) when there is no database of this version; else when it cannot be written.
pub async fn keep_pause(
    _daemon: &Lock,
    database: &Path,
    pause: Option<&Pause>,
) -> Result<(), SnapshotError> {
    let mut snapshot = Snapshot::open_as_it_is(database).await?;
    let query = match pause {
        None => sqlx::query("DELETE FROM pause"),
        Some(pause) => sqlx::query(
            "INSERT OR REPLACE INTO pause (id, since, asked_by, uid, sudo_user, reason) VALUES (1, ?, ?, ?, ?, ?)",
        )
        .bind(pause.since.timestamp_millis())
        .bind(&pause.asked_by.name)
        .bind(pause.asked_by.uid)
        .bind(&pause.asked_by.sudo_user)
        .bind(&pause.reason),
    };
    let kept = query.execute(&mut snapshot.connection).await.at(database);
    let closed = snapshot.close().await;
    kept?;
    closed
}
