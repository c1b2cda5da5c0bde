//! The runs that there were.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::error::Context;
use super::rows::moment;
use super::{Snapshot, SnapshotError};
use crate::model::{Invoker, RunId, Timestamp};

/// A run, with how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastRun {
    /// Its number.
    pub run: RunId,
    /// What started it: `schedule`, `sync`, `revert 3`, …
    pub trigger: String,
    /// Who has started it; `None` where nobody has, as the daemon does by its schedule.
    pub asked_by: Option<Invoker>,
    /// The version of the program.
    pub version: String,
    /// When it began.
    pub began: Timestamp,
    /// When it ended; under way, or broken off, when `None`.
    pub ended: Option<Timestamp>,
    /// How it ended: `done`, `incomplete`, `refused` or `failed`.
    pub outcome: Option<String>,
    /// What ended it early.
    pub error: Option<String>,
    /// Its figures.
    pub summary: Option<Value>,
}

const SELECT_RUNS: &str = "SELECT trigger, id, started_at, finished_at, outcome, error, version, summary, asked_by, uid, sudo_user
    FROM runs WHERE id < ? ORDER BY id DESC LIMIT ?";

/// The last run that read all sources whole, believed all absences, and did all that nothing held.
pub(super) const LAST_GOOD_SYNC: &str =
    "SELECT id FROM runs WHERE outcome IN ('done', 'incomplete')
    AND summary ->> '$.applied.ended_by' IS NULL
    AND coalesce(summary ->> '$.suspended', 0) + coalesce(summary ->> '$.groups.suspended', 0) = 0
    AND coalesce(summary ->> '$.applied.failed', 0) + coalesce(summary ->> '$.groups.applied.failed', 0) = 0
    AND EXISTS (SELECT 1 FROM pulls WHERE pulls.run_id = runs.id)
    AND NOT EXISTS (SELECT 1 FROM pulls WHERE pulls.run_id = runs.id AND incomplete IS NOT NULL)
    ORDER BY id DESC LIMIT 1";

impl Snapshot {
    /// The newest runs, the newest first: so many, of those before this one.
    pub async fn last_runs(
        &mut self,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<PastRun>, SnapshotError> {
        let rows = sqlx::query(SELECT_RUNS)
            .bind(before.map_or(i64::MAX, |run| run.0))
            .bind(limit)
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| past_run(row).map_err(|why| self.row_error(row, &why)))
            .collect()
    }

    /// When the last good sync ended: all sources were read whole, no absence was disbelieved, no operation failed, and
    /// it did not end early. What the guards hold, and who is refused or put off, does not count against it.
    pub async fn last_good_sync(&mut self) -> Result<Option<Timestamp>, SnapshotError> {
        let query = format!("SELECT finished_at FROM runs WHERE id = ({LAST_GOOD_SYNC})");
        let last: Option<i64> = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_optional(&mut self.connection)
            .await
            .at(&self.path)?;
        Ok(last.and_then(Timestamp::from_timestamp_millis))
    }
}

fn past_run(row: &SqliteRow) -> Result<PastRun, String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let summary: Option<String> = row.try_get(7).map_err(in_words)?;
    let summary = summary.map(|summary| serde_json::from_str(&summary));
    let asked_by: Option<String> = row.try_get(8).map_err(in_words)?;
    Ok(PastRun {
        trigger: row.try_get(0).map_err(in_words)?,
        run: RunId(row.try_get(1).map_err(in_words)?),
        began: moment(row, 2)?,
        ended: match row.try_get::<Option<i64>, _>(3).map_err(in_words)? {
            None => None,
            Some(_) => Some(moment(row, 3)?),
        },
        outcome: row.try_get(4).map_err(in_words)?,
        error: row.try_get(5).map_err(in_words)?,
        version: row.try_get(6).map_err(in_words)?,
        summary: summary.transpose().map_err(|error| error.to_string())?,
        asked_by: match asked_by {
            None => None,
            Some(name) => Some(Invoker {
                name,
                uid: row.try_get(9).map_err(in_words)?,
                sudo_user: row.try_get(10).map_err(in_words)?,
            }),
        },
    })
}
