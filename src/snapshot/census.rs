//! The figures of the whole, for whoever asks every few seconds: none of the queries grows with the number of
//! accounts, nor with what the journal has.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{FromRow, Row};

use super::error::Context;
use super::{Snapshot, SnapshotError};
use crate::config::Job;
use crate::model::{SourceName, Timestamp};

/// The figures.
#[derive(Clone, Debug)]
pub struct Census {
    /// Accounts by the name of their state, each of which is there.
    pub accounts: BTreeMap<String, u64>,
    /// Open holds: the name, and how many operations it holds.
    pub holds: Vec<(String, u64)>,
    /// Of people: what has failed and is not done yet.
    pub people: Failing,
    /// Of groups.
    pub groups: Failing,
    /// How many logins are to be turned off and are still on.
    pub pending: u64,
    /// Since when the first of them waits.
    pub oldest_pending: Option<Timestamp>,
    /// How many entries each source had at the last reading.
    pub entries: BTreeMap<SourceName, u64>,
    /// The summary of the run that read the sources last.
    pub summary: Option<Value>,
    /// The number of the last run that has ended, when it ended, and how.
    pub last_ended: Option<(Timestamp, String)>,
    /// When the last good sync ended ([`Snapshot::last_good_sync`]).
    pub last_good_sync: Option<Timestamp>,
    /// When each job last began.
    pub begun: BTreeMap<Job, Timestamp>,
    /// How much of the file is free, in octets.
    pub free: u64,
}

/// Of how many something has failed by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Failing {
    /// Those that are tried again.
    #[sqlx(try_from = "i64")]
    pub again: u32,
    /// Those that are not, until somebody says so.
    #[sqlx(try_from = "i64")]
    pub quarantined: u32,
}

impl Snapshot {
    /// The figures. `quarantine_after` is the configuration's.
    pub async fn census(&mut self, quarantine_after: u32) -> Result<Census, SnapshotError> {
        let moment = |at: Option<i64>| at.and_then(Timestamp::from_timestamp_millis);
        let accounts = self
            .pairs(
                "SELECT column1, coalesce((SELECT sum(count) FROM account_counts WHERE lifecycle = column1), 0)
                 FROM (VALUES ('active'), ('deactivated'), ('delete_pending'), ('deleted'))",
            )
            .await?;
        let holds = "SELECT name, figures ->> '$.planned' FROM holds WHERE closed_at IS NULL";
        let holds = self.pairs(holds).await?;
        let entries =
            "SELECT source, entries FROM pulls WHERE run_id = (SELECT max(run_id) FROM pulls)";
        let entries = self.pairs(entries).await?.into_iter();
        let [people, groups] = self.failing(quarantine_after).await?;
        let (pending, oldest_pending) = self.pending().await?;
        let summary: Option<Option<String>> = sqlx::query_scalar(
            "SELECT summary FROM runs WHERE id = (SELECT max(run_id) FROM pulls)",
        )
        .fetch_optional(&mut self.connection)
        .await
        .at(&self.path)?;
        let last_ended: Option<(i64, String)> = sqlx::query_as(
            "SELECT finished_at, outcome FROM runs WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT 1",
        )
        .fetch_optional(&mut self.connection)
        .await
        .at(&self.path)?;
        let free: i64 = sqlx::query_scalar(
            "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size",
        )
        .fetch_one(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(Census {
            accounts: accounts.into_iter().collect(),
            holds,
            people,
            groups,
            pending,
            oldest_pending,
            entries: entries
                .map(|(source, count)| (SourceName::new(source), count))
                .collect(),
            // One of an older version that cannot be read tells nothing.
            summary: summary
                .flatten()
                .and_then(|summary| serde_json::from_str(&summary).ok()),
            last_ended: last_ended.and_then(|(at, how)| Some((moment(Some(at))?, how))),
            last_good_sync: self.last_good_sync().await?,
            begun: self.jobs_begun().await?,
            free: free.unsigned_abs(),
        })
    }

    async fn pairs(&mut self, query: &'static str) -> Result<Vec<(String, u64)>, SnapshotError> {
        let rows = sqlx::query(query)
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        let pair = |row: &sqlx::sqlite::SqliteRow| {
            let count: i64 = row.try_get(1).at(&self.path)?;
            Ok((row.try_get(0).at(&self.path)?, count.unsigned_abs()))
        };
        rows.iter().map(pair).collect()
    }

    /// How many logins are to be turned off and are still on, and since when the first of them waits.
    pub async fn pending(&mut self) -> Result<(u64, Option<Timestamp>), SnapshotError> {
        let (pending, oldest): (i64, Option<i64>) =
            sqlx::query_as("SELECT count(*), min(since) FROM pending_deactivations")
                .fetch_one(&mut self.connection)
                .await
                .at(&self.path)?;
        let oldest = oldest.and_then(Timestamp::from_timestamp_millis);
        Ok((pending.unsigned_abs(), oldest))
    }

    /// Of how many people, and of how many groups, something has failed by itself. `quarantine_after` is the
    /// configuration's.
    pub async fn failing(&mut self, quarantine_after: u32) -> Result<[Failing; 2], SnapshotError> {
        Ok([
            self.failing_of(false, quarantine_after).await?,
            self.failing_of(true, quarantine_after).await?,
        ])
    }

    async fn failing_of(
        &mut self,
        is_group: bool,
        quarantine_after: u32,
    ) -> Result<Failing, SnapshotError> {
        // What is never given up is never in quarantine (`plan/failures.rs`).
        sqlx::query_as(
            "SELECT count(*) FILTER (WHERE NOT is_quarantined) AS again,
                count(*) FILTER (WHERE is_quarantined) AS quarantined
             FROM (SELECT count >= ? AND NOT coalesce(detail ->> '$.active[0]' AND NOT detail ->> '$.active[1]', 0)
                    AND NOT coalesce(detail ->> '$.cancel_delete', 0)
                    AS is_quarantined
                FROM failures JOIN operations ON operations.id = failures.operation_id
                WHERE is_group = ? AND count > 0)",
        )
        .bind(quarantine_after)
        .bind(is_group)
        .fetch_one(&mut self.connection)
        .await
        .at(&self.path)
    }
}
