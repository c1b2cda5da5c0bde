//! Taking out of the journal what is old and not needed any more.
//!
//! Runs are taken by their numbers, from the oldest up to the first that is kept whole. Of an older
//! run there stays what another row refers to (approvals, holds, reverts, refusals, applied plans …), and
//! what the queries of this module's neighbours ask for whatever its age.

use sqlx::{AssertSqlSafe, Row};

use super::error::Context;
use super::history::LET_GO;
use super::runs::LAST_GOOD_SYNC;
use super::{Journal, Snapshot, SnapshotError};
use crate::model::{RunId, Timestamp};

/// So many of the last operations of a person or group stay, and so many `dirsyncd explain` tells
/// unless it is asked for more.
pub const LAST_OPERATIONS: usize = 5;

/// The first run that is kept whole: the first of those that began since ?1 and not after now (?2),
/// the last one that told a plan, the last that read the sources, and the last of those that ended; or
/// one that has not ended.
const FIRST_WHOLE_RUN: &str = "SELECT min(id) FROM (
    SELECT min(id) AS id FROM runs WHERE started_at BETWEEN ?1 AND ?2
    UNION ALL SELECT min(id) FROM runs WHERE outcome IS NULL
    UNION ALL SELECT max(id) FROM runs WHERE outcome IN ('done', 'incomplete')
    UNION ALL SELECT max(run_id) FROM pulls
    UNION ALL SELECT max(pulls.run_id) FROM pulls JOIN runs ON runs.id = pulls.run_id WHERE finished_at IS NOT NULL)";

/// The pulls that stay whatever their run: the last one of each source, its last full one.
const NEEDED_PULLS: &str = "SELECT max(run_id), source FROM pulls GROUP BY source
    UNION SELECT run_id, source FROM (SELECT run_id, source, max(started_at) FROM pulls JOIN runs ON runs.id = pulls.run_id
        WHERE way = 'full' AND incomplete IS NULL GROUP BY source)";

/// Whether an operation of a run before ?1 is not needed, but for what refers to it. Needed are the last
/// ones of everybody; of each kind and end the last one, by which it is known whose creation failed and
/// whose deletion is in doubt; what has given an account to another key; what somebody has let through,
/// which shows that the approval is used up; and what somebody has let go again.
pub(super) fn is_old_operation() -> String {
    format!(
        "old.run_id < ?1 AND old.state IN ('done', 'failed', 'left')
        AND (SELECT later.id FROM operations AS later WHERE later.external_id = old.external_id AND later.id > old.id
            ORDER BY later.id LIMIT 1 OFFSET {LAST_OPERATIONS} - 1) IS NOT NULL
        AND EXISTS (SELECT 1 FROM operations AS later WHERE later.external_id = old.external_id AND later.id > old.id
            AND later.kind = old.kind AND later.state = old.state AND (later.sent_at IS NULL) = (old.sent_at IS NULL)
            AND coalesce(later.detail ->> '$.cancel_delete', 0) = coalesce(old.detail ->> '$.cancel_delete', 0)
            AND (later.detail ->> '$.undoes' IS NULL) = (old.detail ->> '$.undoes' IS NULL))
        AND NOT (old.state = 'done' AND old.detail ->> '$.formerly' IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM approved_operations AS approved WHERE approved.external_id = old.external_id
            AND approved.run_id = old.run_id AND approved.kind = old.kind)
        AND old.id NOT IN (SELECT coalesce({LET_GO}, 0) FROM retries WHERE retries.external_id = old.external_id)"
    )
}

/// How far the journal has been pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruning {
    /// When that was last done.
    pub at: Timestamp,
    /// The first run of which all is there; of the runs before it only what is needed.
    pub first_run: RunId,
    /// Whether there is more to take out: that pruning was broken off.
    pub has_more: bool,
}

/// What is to be taken out of the journal, and how.
pub struct Prune<'a> {
    /// What began earlier is old.
    pub before: Timestamp,
    /// What time it is. The caller has made sure of it: by a clock that is ahead all is old.
    pub now: Timestamp,
    /// Whether all of the journal is looked at, and not only what an earlier pruning has left to do.
    pub anew: bool,
    /// How many rows are looked at in one transaction.
    pub portion: usize,
    /// Asked between two of them: whether to break off.
    pub stop: &'a dyn Fn() -> bool,
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
}

impl Snapshot {
    /// How far the journal has been pruned, if it ever was.
    pub async fn pruning(&mut self) -> Result<Option<Pruning>, SnapshotError> {
        let row = sqlx::query("SELECT at, first_run, after_operation IS NOT NULL FROM pruned")
            .fetch_optional(&mut self.connection)
            .await
            .at(&self.path)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Pruning {
            at: super::rows::moment(&row, 0).map_err(|why| self.row_error(&row, &why))?,
            first_run: RunId(row.try_get(1).at(&self.path)?),
            has_more: row.try_get(2).at(&self.path)?,
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
        let has_older = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM runs WHERE id < ?)")
            .bind(first)
            .fetch_one(&mut self.connection)
            .await
            .at(&self.path)?;
        Ok(Some(RunId(first)).filter(|_| has_older))
    }

    /// That no row of any table refers to the row `old` of this table. It is read from the schema, so that
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
                    " AND NOT EXISTS (SELECT 1 FROM \"{table}\" AS child WHERE child.\"{column}\" = old.id)"
                )
            })
            .collect())
    }
}

impl Journal {
    /// Takes out of the journal what is not needed any more of the runs that began before that moment,
    /// in small transactions. Each row is looked at once; where it breaks off, the next one may go on.
    pub async fn prune(&mut self, prune: &Prune<'_>) -> Result<Pruned, PruneError> {
        let Some(first) = self.first_whole_run(prune.before, prune.now).await? else {
            return Ok(Pruned::default());
        };
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        let (first_run, operation, run): (i64, i64, i64) = sqlx::query_as(
            "INSERT INTO pruned (id, at, first_run, after_operation, after_run) VALUES (1, ?1, ?2, 0, 0) ON CONFLICT (id) DO UPDATE
                SET at = excluded.at, first_run = max(first_run, excluded.first_run),
                    after_operation = iif(?3, 0, coalesce(after_operation, 0)), after_run = iif(?3, 0, coalesce(after_run, 0))
                RETURNING first_run, after_operation, after_run",
        )
        .bind(prune.now.timestamp_millis())
        .bind(first.0)
        .bind(prune.anew)
        .fetch_one(&mut *transaction)
        .await
        .at(&path)?;
        transaction.commit().await.at(&path)?;

        let mut pruned = Pruned {
            first_run: Some(RunId(first_run)),
            has_more: true,
            ..Pruned::default()
        };
        let is_free = self.not_referred_to("operations").await?;
        let is_old = is_old_operation() + &is_free;
        let last = "SELECT max(id) FROM operations WHERE run_id < ?";
        let operations = Table {
            name: "operations",
            next: "after_operation",
            is_old: &is_old,
            last: self.highest(last, first).await?,
        };
        let is_through = self
            .take_out(&operations, operation, first, prune, &mut pruned.operations)
            .await?;
        if !is_through || !self.take_out_pulls(first, prune).await? {
            return Ok(pruned);
        }
        let is_free = self.not_referred_to("runs").await?;
        let is_old = format!("old.id < ?1 AND old.outcome IS NOT NULL{is_free}");
        let last = "SELECT max(id) FROM runs WHERE id < ?";
        let runs = Table {
            name: "runs",
            next: "after_run",
            is_old: &is_old,
            last: self.highest(last, first).await?,
        };
        if !self
            .take_out(&runs, run, first, prune, &mut pruned.runs)
            .await?
        {
            return Ok(pruned);
        }
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE pruned SET after_operation = NULL, after_run = NULL")
            .execute(&mut *transaction)
            .await
            .at(&path)?;
        transaction.commit().await.at(&path)?;
        pruned.has_more = false;
        Ok(pruned)
    }

    /// The highest number that this query finds before a run; 0 for none.
    async fn highest(&mut self, query: &'static str, first: RunId) -> Result<i64, SnapshotError> {
        let highest: Option<i64> = sqlx::query_scalar(query)
            .bind(first.0)
            .fetch_one(&mut self.connection)
            .await
            .at(&self.path)?;
        Ok(highest.unwrap_or_default())
    }

    /// Deletes the old rows of a table after this number, and counts them. Tells whether it came to the
    /// end.
    async fn take_out(
        &mut self,
        table: &Table<'_>,
        mut after: i64,
        first: RunId,
        prune: &Prune<'_>,
        count: &mut usize,
    ) -> Result<bool, SnapshotError> {
        let Table {
            name,
            next,
            is_old,
            last,
        } = table;
        let path = self.path.clone();
        let look = format!(
            "SELECT id, {is_old} FROM {name} AS old WHERE id > ?2 AND id <= ?3 ORDER BY id LIMIT ?4"
        );
        let delete = format!("DELETE FROM {name} WHERE id IN (SELECT value FROM json_each(?))");
        let note = format!("UPDATE pruned SET {next} = ?");
        while after < *last {
            if (prune.stop)() {
                return Ok(false);
            }
            let mut transaction = self.begin().await?;
            let rows: Vec<(i64, bool)> = sqlx::query_as(AssertSqlSafe(look.as_str()))
                .bind(first.0)
                .bind(after)
                .bind(last)
                .bind(i64::try_from(prune.portion).unwrap_or(i64::MAX))
                .fetch_all(&mut *transaction)
                .await
                .at(&path)?;
            after = rows.last().map_or(*last, |(id, _)| *id);
            let old = rows.iter().filter(|(_, is_old)| *is_old);
            let old: Vec<i64> = old.map(|(id, _)| *id).collect();
            sqlx::query(AssertSqlSafe(delete.as_str()))
                .bind(serde_json::json!(old).to_string())
                .execute(&mut *transaction)
                .await
                .at(&path)?;
            sqlx::query(AssertSqlSafe(note.as_str()))
                .bind(after)
                .execute(&mut *transaction)
                .await
                .at(&path)?;
            transaction.commit().await.at(&path)?;
            *count += old.len();
        }
        Ok(true)
    }

    /// Deletes the pulls of the runs before this one that are not needed. Tells whether it came to the
    /// end.
    async fn take_out_pulls(
        &mut self,
        first: RunId,
        prune: &Prune<'_>,
    ) -> Result<bool, SnapshotError> {
        let path = self.path.clone();
        // Of a run of which a pull stays, those that were not complete stay too, and of others they go last: without
        // them it would have been a good one.
        let needed = format!(
            "WITH needed (run_id, source) AS ({NEEDED_PULLS} UNION SELECT run_id, source FROM pulls WHERE run_id = ({LAST_GOOD_SYNC}))
            SELECT run_id, source FROM needed UNION SELECT run_id, source FROM pulls
            WHERE incomplete IS NOT NULL AND run_id IN (SELECT run_id FROM needed)"
        );
        let needed: Vec<(i64, String)> = sqlx::query_as(AssertSqlSafe(needed))
            .fetch_all(&mut self.connection)
            .await
            .at(&path)?;
        let needed = serde_json::json!(needed).to_string();
        let delete = "DELETE FROM pulls WHERE (run_id, source) IN (SELECT run_id, source FROM pulls WHERE run_id < ?1
            AND (run_id, source) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(?2)) ORDER BY run_id, incomplete IS NOT NULL LIMIT ?3)";
        loop {
            let mut transaction = self.begin().await?;
            let deleted = sqlx::query(delete)
                .bind(first.0)
                .bind(&needed)
                .bind(i64::try_from(prune.portion).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await
                .at(&path)?
                .rows_affected();
            transaction.commit().await.at(&path)?;
            if deleted < prune.portion as u64 {
                return Ok(true);
            }
            // Not before: where each turn has time for one portion only, none would come to what is after this.
            if (prune.stop)() {
                return Ok(false);
            }
        }
    }
}

/// A table that is pruned by the numbers of its rows.
struct Table<'a> {
    name: &'static str,
    /// The column of `pruned` that has the number up to which it was done.
    next: &'static str,
    /// Whether a row `old` goes; ?1 is the first run that is kept whole.
    is_old: &'a str,
    /// The highest number that may go.
    last: i64,
}
