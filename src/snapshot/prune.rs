//! Taking out of the journal what is old and not needed any more.
//!
//! Runs are taken by their numbers, from the oldest up to the first that is kept whole. Of an older
//! run there stays what another row refers to (approvals, holds, reverts, refusals, applied plans …), and
//! what the queries of this module's neighbours ask for whatever its age.

use sqlx::{AssertSqlSafe, Row};

use super::error::Context;
use super::{Journal, Snapshot, SnapshotError};
use crate::model::{RunId, Timestamp};

/// So many of the last operations of a person or group stay, and so many `dirsyncd explain` tells
/// unless it is asked for more.
pub const LAST_OPERATIONS: usize = 5;

/// How many rows go in one transaction.
const PORTION: usize = 500;

/// How old the last run may be. A clock that is further ahead would make all runs old.
const FRESH: chrono::TimeDelta = chrono::TimeDelta::days(7);

/// The first run that is kept whole: the first of those that began since ?1 and not after now (?2),
/// the last one that told a plan, the last that read the sources, and the last of those that ended; or
/// one that has not ended.
const FIRST_WHOLE_RUN: &str = "SELECT min(id) FROM (
    SELECT min(id) AS id FROM runs WHERE started_at BETWEEN ?1 AND ?2
    UNION ALL SELECT min(id) FROM runs WHERE outcome IS NULL
    UNION ALL SELECT max(id) FROM runs WHERE outcome IN ('done', 'incomplete')
    UNION ALL SELECT max(run_id) FROM pulls
    UNION ALL SELECT max(pulls.run_id) FROM pulls JOIN runs ON runs.id = pulls.run_id WHERE finished_at IS NOT NULL)";

/// The pulls of the runs before ?1, but for the last one of each source, and its last full one.
const OLD_PULLS: &str = "SELECT run_id, source FROM pulls WHERE run_id < ?1 AND (run_id, source) NOT IN (
    SELECT max(run_id), source FROM pulls GROUP BY source
    UNION ALL SELECT run_id, source FROM (SELECT run_id, source, max(started_at) FROM pulls JOIN runs ON runs.id = pulls.run_id
        WHERE way = 'full' AND incomplete IS NULL GROUP BY source))";

/// The operations of the runs before ?1 that are not needed, but for those that another row refers to.
/// Needed are the last ones of everybody; of each kind and end the last one, by which it is known
/// whose creation failed and whose deletion is in doubt; what has given an account to another key; and
/// what somebody has let through, which shows that the approval is used up.
fn old_operations() -> String {
    format!(
        "SELECT id FROM operations AS old WHERE run_id < ?1 AND state IN ('done', 'failed', 'left')
        AND (SELECT later.id FROM operations AS later WHERE later.external_id = old.external_id AND later.id > old.id
            ORDER BY later.id LIMIT 1 OFFSET {LAST_OPERATIONS} - 1) IS NOT NULL
        AND EXISTS (SELECT 1 FROM operations AS later WHERE later.external_id = old.external_id AND later.id > old.id
            AND later.kind = old.kind AND later.state = old.state AND (later.sent_at IS NULL) = (old.sent_at IS NULL))
        AND NOT (state = 'done' AND detail ->> '$.formerly' IS NOT NULL)
        AND id NOT IN (SELECT passed.id FROM approved_operations AS approved JOIN operations AS passed
            ON +passed.run_id = approved.run_id AND passed.external_id = approved.external_id AND passed.kind = approved.kind)"
    )
}

/// How far the journal has been pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruning {
    /// When that was last done.
    pub at: Timestamp,
    /// The first run of which all is there; of the runs before it only what is needed.
    pub first_run: RunId,
}

/// What was taken out of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The first run of which all is there.
    pub first_run: Option<RunId>,
    /// How many runs are gone.
    pub runs: usize,
    /// How many operations are gone.
    pub operations: usize,
    /// Whether there is more to take out.
    pub has_more: bool,
}

/// Why nothing is taken out of the journal.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The database.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// An answer is not known yet.
    #[error(
        "operations of run {0} have no answer yet: the next sync reads back what became of them; prune after it"
    )]
    Unanswered(RunId),
    /// The clock may be wrong.
    #[error(
        "there was no run in the last 7 days by this machine's clock, which may be wrong: sync first, and prune after it"
    )]
    Stale,
}

impl Snapshot {
    /// How far the journal has been pruned, if it ever was.
    pub async fn pruning(&mut self) -> Result<Option<Pruning>, SnapshotError> {
        let row = sqlx::query("SELECT at, first_run FROM pruned")
            .fetch_optional(&mut self.connection)
            .await
            .at(&self.path)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Pruning {
            at: super::rows::moment(&row, 0).map_err(|why| self.row_error(&row, &why))?,
            first_run: RunId(row.try_get(1).at(&self.path)?),
        }))
    }

    /// The first run that is kept whole; `None` where no run is older.
    async fn first_whole_run(
        &mut self,
        before: Timestamp,
        now: Timestamp,
    ) -> Result<Option<RunId>, PruneError> {
        let unanswered: Option<i64> = sqlx::query_scalar(
            "SELECT min(run_id) FROM operations WHERE state IN ('intended', 'sent')",
        )
        .fetch_one(&mut self.connection)
        .await
        .at(&self.path)?;
        if let Some(run) = unanswered {
            return Err(PruneError::Unanswered(RunId(run)));
        }
        let first: Option<i64> = sqlx::query_scalar(FIRST_WHOLE_RUN)
            .bind(before.timestamp_millis())
            .bind(now.timestamp_millis())
            .fetch_one(&mut self.connection)
            .await
            .at(&self.path)?;
        let Some(first) = first else { return Ok(None) };
        let (fresh, has_older): (bool, bool) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM runs WHERE started_at BETWEEN ? AND ?), EXISTS (SELECT 1 FROM runs WHERE id < ?)",
        )
        .bind((now - FRESH).timestamp_millis())
        .bind(now.timestamp_millis())
        .bind(first)
        .fetch_one(&mut self.connection)
        .await
        .at(&self.path)?;
        match (has_older, fresh) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(RunId(first))),
            (true, false) => Err(PruneError::Stale),
        }
    }

    /// That no row of any table refers to the row of this table. It is read from the schema, so that
    /// what refers to a row keeps it without being named here.
    async fn not_referred_to(&mut self, table: &str) -> Result<String, SnapshotError> {
        let references: Vec<(String, String)> = sqlx::query_as(
            "SELECT tables.name, foreign_keys.\"from\" FROM sqlite_schema AS tables, pragma_foreign_key_list(tables.name) AS foreign_keys
             WHERE tables.type = 'table' AND foreign_keys.\"table\" = ?",
        )
        .bind(table)
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(references
            .iter()
            .map(|(table, column)| {
                format!(
                    " AND id NOT IN (SELECT \"{column}\" FROM \"{table}\" WHERE \"{column}\" IS NOT NULL)"
                )
            })
            .collect())
    }
}

impl Journal {
    /// Takes out of the journal what is not needed any more of the runs that began before `before`: at
    /// most so many operations, and runs, in small transactions.
    pub async fn prune(
        &mut self,
        before: Timestamp,
        now: Timestamp,
        most: usize,
    ) -> Result<Pruned, PruneError> {
        let Some(first) = self.first_whole_run(before, now).await? else {
            return Ok(Pruned::default());
        };
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        let first_run: i64 = sqlx::query_scalar(
            "INSERT INTO pruned (id, at, first_run) VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE
                SET at = excluded.at, first_run = max(first_run, excluded.first_run) RETURNING first_run",
        )
        .bind(now.timestamp_millis())
        .bind(first.0)
        .fetch_one(&mut *transaction)
        .await
        .at(&path)?;
        transaction.commit().await.at(&path)?;

        let is_free = self.not_referred_to("operations").await?;
        let old = old_operations() + &is_free;
        let operations = self.take_out("operations", &old, first, most).await?;
        self.take_out_pulls(first).await?;
        let is_free = self.not_referred_to("runs").await?;
        let old = format!("SELECT id FROM runs WHERE id < ?1 AND outcome IS NOT NULL{is_free}");
        let runs = self.take_out("runs", &old, first, most).await?;
        Ok(Pruned {
            first_run: Some(RunId(first_run)),
            runs,
            operations,
            has_more: operations == most || runs == most,
        })
    }

    /// Deletes the rows of a table that this query for ids names, the oldest first. Tells how many.
    async fn take_out(
        &mut self,
        table: &str,
        old: &str,
        first: RunId,
        most: usize,
    ) -> Result<usize, SnapshotError> {
        let path = self.path.clone();
        let query = format!("{old} ORDER BY id LIMIT ?2");
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(query))
            .bind(first.0)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut self.connection)
            .await
            .at(&path)?;
        let delete = format!("DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?))");
        for portion in ids.chunks(PORTION) {
            let mut transaction = self.begin().await?;
            sqlx::query(AssertSqlSafe(delete.as_str()))
                .bind(serde_json::json!(portion).to_string())
                .execute(&mut *transaction)
                .await
                .at(&path)?;
            transaction.commit().await.at(&path)?;
        }
        Ok(ids.len())
    }

    async fn take_out_pulls(&mut self, first: RunId) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let delete =
            format!("DELETE FROM pulls WHERE (run_id, source) IN ({OLD_PULLS} LIMIT {PORTION})");
        loop {
            let mut transaction = self.begin().await?;
            let deleted = sqlx::query(AssertSqlSafe(delete.as_str()))
                .bind(first.0)
                .execute(&mut *transaction)
                .await
                .at(&path)?
                .rows_affected();
            transaction.commit().await.at(&path)?;
            if deleted < PORTION as u64 {
                return Ok(());
            }
        }
    }
}
