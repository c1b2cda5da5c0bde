//! What people were told, and the messages that are still to be sent to them.
//!
//! It needs no [`Journal`](super::Journal), so that a run that is under way is not waited for: each change is
//! one short transaction of its own, of tables that no run reads.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::error::Context;
use super::rows::moment;
use super::{Snapshot, SnapshotError};
use crate::model::Timestamp;

/// The database, for what people are told.
pub struct Outbox(Snapshot);

/// A message that waits to be sent through a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its number in the database.
    pub number: i64,
    /// What its receiver knows it by, the same at each attempt.
    pub id: String,
    /// The message as JSON.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when it waits.
    pub queued_at: Timestamp,
    /// When it may be tried again.
    pub next_at: Timestamp,
}

/// A message that is to wait for being sent.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Through which channel, by its name.
    pub channel: String,
    /// What its receiver is to know it by.
    pub id: String,
    /// The message as JSON.
    pub message: String,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum Tried {
    /// It has arrived.
    Sent,
    /// It has not, and is tried again from then on.
    Again(Timestamp, String),
    /// It has not, and is not tried again.
    GivenUp(String),
}

impl Outbox {
    /// Opens the database, which is made if need be.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn open(database: &Path) -> Result<Self, SnapshotError> {
        Snapshot::open_for_writing(database)
            .await
            .map(|(snapshot, _)| Outbox(snapshot))
    }

    /// Closes the database.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn close(self) -> Result<(), SnapshotError> {
        self.0.close().await
    }

    /// Replaces what was told, by topic and as JSON, and adds messages: both as `decide` says, in one
    /// transaction, so that no two processes tell the same.
    ///
    /// # Errors
    /// When the database cannot be read or written, and what `decide` says is wrong with what was told.
    pub async fn tell(
        &mut self,
        now: Timestamp,
        decide: impl FnOnce(
            BTreeMap<String, String>,
        )
            -> Result<(BTreeMap<String, String>, Vec<Queued>), serde_json::Error>,
    ) -> Result<usize, SnapshotError> {
        use sqlx::Connection;
        let Snapshot { connection, path } = &mut self.0;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.at(path)?;
        let rows = sqlx::query_as::<_, (String, String)>("SELECT topic, detail FROM told")
            .fetch_all(&mut *transaction)
            .await
            .at(path)?;
        let before: BTreeMap<String, String> = rows.into_iter().collect();
        let (after, queued) = decide(before.clone())
            .map_err(|error| super::unreadable(path, "told", &error.to_string()))?;
        for topic in before.keys().filter(|topic| !after.contains_key(*topic)) {
            sqlx::query("DELETE FROM told WHERE topic = ?")
                .bind(topic)
                .execute(&mut *transaction)
                .await
                .at(path)?;
        }
        for (topic, detail) in &after {
            if before.get(topic) != Some(detail) {
                sqlx::query("INSERT OR REPLACE INTO told (topic, detail) VALUES (?, ?)")
                    .bind(topic)
                    .bind(detail)
                    .execute(&mut *transaction)
                    .await
                    .at(path)?;
            }
        }
        for one in &queued {
            sqlx::query("INSERT INTO outbox (id, channel, message, state, queued_at, next_at) VALUES (?, ?, ?, 'waiting', ?, ?)")
                .bind(&one.id)
                .bind(&one.channel)
                .bind(&one.message)
                .bind(now.timestamp_millis())
                .bind(now.timestamp_millis())
                .execute(&mut *transaction)
                .await
                .at(path)?;
        }
        transaction.commit().await.at(path)?;
        Ok(queued.len())
    }

    /// The channels for which messages wait.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn channels(&mut self) -> Result<Vec<String>, SnapshotError> {
        sqlx::query_scalar(
            "SELECT DISTINCT channel FROM outbox WHERE state = 'waiting' ORDER BY channel",
        )
        .fetch_all(&mut self.0.connection)
        .await
        .at(&self.0.path)
    }

    /// What waits for a channel, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waiting(&mut self, channel: &str) -> Result<Vec<Letter>, SnapshotError> {
        let rows = sqlx::query("SELECT id, number, message, attempts, queued_at, next_at FROM outbox WHERE state = 'waiting' AND channel = ? ORDER BY number")
            .bind(channel)
            .fetch_all(&mut self.0.connection)
            .await
            .at(&self.0.path)?;
        rows.iter()
            .map(|row| letter(row).map_err(|why| self.0.row_error(row, &why)))
            .collect()
    }

    /// When messages of a channel were sent.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sent(&mut self, channel: &str) -> Result<Vec<Timestamp>, SnapshotError> {
        let sent: Vec<i64> = sqlx::query_scalar(
            "SELECT ended_at FROM outbox WHERE state = 'sent' AND channel = ? AND ended_at IS NOT NULL",
        )
        .bind(channel)
        .fetch_all(&mut self.0.connection)
        .await
        .at(&self.0.path)?;
        Ok(sent
            .into_iter()
            .filter_map(Timestamp::from_timestamp_millis)
            .collect())
    }

    /// Records that a message is about to be sent, and when it is tried again should nobody record how that
    /// ended.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn trying(&mut self, number: i64, again: Timestamp) -> Result<(), SnapshotError> {
        sqlx::query("UPDATE outbox SET attempts = attempts + 1, next_at = ? WHERE number = ?")
            .bind(again.timestamp_millis())
            .bind(number)
            .execute(&mut self.0.connection)
            .await
            .at(&self.0.path)?;
        Ok(())
    }

    /// Records how an attempt ended.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn tried(
        &mut self,
        number: i64,
        tried: &Tried,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let query = match tried {
            Tried::Sent => sqlx::query(
                "UPDATE outbox SET state = 'sent', ended_at = ?, error = NULL WHERE number = ?",
            )
            .bind(now.timestamp_millis()),
            Tried::Again(next, error) => {
                sqlx::query("UPDATE outbox SET next_at = ?, error = ? WHERE number = ?")
                    .bind(next.timestamp_millis())
                    .bind(error)
            }
            Tried::GivenUp(error) => sqlx::query(
                "UPDATE outbox SET state = 'given_up', ended_at = ?, error = ? WHERE number = ?",
            )
            .bind(now.timestamp_millis())
            .bind(error),
        };
        query
            .bind(number)
            .execute(&mut self.0.connection)
            .await
            .at(&self.0.path)?;
        Ok(())
    }

    /// Lets one message stand for others, which go.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sum_up(
        &mut self,
        into: i64,
        message: &str,
        others: &[i64],
    ) -> Result<(), SnapshotError> {
        use sqlx::Connection;
        let Snapshot { connection, path } = &mut self.0;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.at(path)?;
        sqlx::query("UPDATE outbox SET message = ? WHERE number = ?")
            .bind(message)
            .bind(into)
            .execute(&mut *transaction)
            .await
            .at(path)?;
        for other in others {
            sqlx::query("DELETE FROM outbox WHERE number = ?")
                .bind(other)
                .execute(&mut *transaction)
                .await
                .at(path)?;
        }
        transaction.commit().await.at(path)
    }

    /// Takes out what was done with before this moment.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn clear(&mut self, before: Timestamp) -> Result<(), SnapshotError> {
        sqlx::query("DELETE FROM outbox WHERE state <> 'waiting' AND ended_at < ?")
            .bind(before.timestamp_millis())
            .execute(&mut self.0.connection)
            .await
            .at(&self.0.path)?;
        Ok(())
    }
}

impl Snapshot {
    /// When the next message is to be tried; `None` if none waits.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_letter(&mut self) -> Result<Option<Timestamp>, SnapshotError> {
        let next: Option<i64> =
            // The first of a channel goes before those behind it.
            sqlx::query_scalar("SELECT min(next_at) FROM outbox WHERE number IN (SELECT min(number) FROM outbox WHERE state = 'waiting' GROUP BY channel)")
                .fetch_one(&mut self.connection)
                .await
                .at(&self.path)?;
        Ok(next.and_then(Timestamp::from_timestamp_millis))
    }
}

fn letter(row: &SqliteRow) -> Result<Letter, String> {
    let in_words = |error: sqlx::Error| error.to_string();
    Ok(Letter {
        id: row.try_get(0).map_err(in_words)?,
        number: row.try_get(1).map_err(in_words)?,
        message: row.try_get(2).map_err(in_words)?,
        attempts: row.try_get(3).map_err(in_words)?,
        queued_at: moment(row, 4)?,
        next_at: moment(row, 5)?,
    })
}
