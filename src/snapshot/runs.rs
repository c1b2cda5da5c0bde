//! The runs that there were.

use chrono::NaiveDate;
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
    /// What started it: `schedule`, `start`, `missed`, `signal`, `sync`, `revert 3`, …
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
    /// What ended it early, or is wrong with its row.
    pub error: Option<String>,
    /// Its figures; `None` also where they cannot be read, which `error` tells.
    pub summary: Option<Value>,
}

/// What the runs of a day came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastDay {
    /// Which, in UTC.
    pub day: NaiveDate,
    /// How many runs began.
    pub runs: u64,
    /// The accounts that were active after the last of them that tells it.
    pub active: Option<u64>,
    /// Operations that were done.
    pub done: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Operations that were held by that last run.
    pub held: u64,
}

const SELECT_RUNS: &str = "SELECT trigger, id, started_at, finished_at, outcome, error, version, summary, asked_by, uid, sudo_user
    FROM runs WHERE id < ? ORDER BY id DESC LIMIT ?";

/// A day in milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// The runs by day. As there is one `max`, the columns that no function collects are those of its row: of the last run
/// that knew the accounts.
const DAYS: &str = "SELECT started_at / ? AS day, count(*) AS runs,
        summary ->> '$.accounts.active' AS active,
        coalesce(sum(coalesce(summary ->> '$.applied.done', 0) + coalesce(summary ->> '$.groups.applied.done', 0)), 0) AS done,
        coalesce(sum(coalesce(summary ->> '$.applied.failed', 0) + coalesce(summary ->> '$.groups.applied.failed', 0)), 0) AS failed,
        coalesce(summary ->> '$.held', 0) AS held,
        max(iif(summary ->> '$.accounts.active' IS NULL, NULL, id))
    FROM runs WHERE id > coalesce((SELECT id FROM runs WHERE started_at < ? ORDER BY id DESC LIMIT 1), 0)
    GROUP BY day ORDER BY day";

/// The last run that read all sources whole, believed all absences, and did all that nothing held.
pub(super) const LAST_GOOD_SYNC: &str =
    "SELECT id FROM runs WHERE outcome IN ('done', 'incomplete')
    AND summary ->> '$.applied.ended_by' IS NULL
    AND coalesce(summary ->> '$.suspended', 0) + coalesce(summary ->> '$.groups.suspended', 0) = 0
    AND coalesce(summary ->> '$.applied.failed', 0) + coalesce(summary ->> '$.groups.applied.failed', 0) = 0
    AND EXISTS (SELECT 1 FROM pulls WHERE pulls.run_id = runs.id)
    AND NOT EXISTS (SELECT 1 FROM pulls WHERE pulls.run_id = runs.id AND incomplete IS NOT NULL)
    ORDER BY id DESC LIMIT 1";

/// A row of it.
#[derive(sqlx::FromRow)]
struct Day {
    day: i64,
    runs: i64,
    active: Option<i64>,
    done: i64,
    failed: i64,
    held: i64,
}

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

    /// This run, if the database has it.
    pub async fn past_run(&mut self, run: RunId) -> Result<Option<PastRun>, SnapshotError> {
        // The newest of those up to it.
        let next = RunId(run.0.saturating_add(1));
        let found = self.last_runs(Some(next), 1).await?.pop();
        Ok(found.filter(|found| found.run == run))
    }

    /// What the runs of each day since this moment came to, the oldest first. Days are UTC's, and those without a run
    /// are not among them.
    pub async fn days(&mut self, since: Timestamp) -> Result<Vec<PastDay>, SnapshotError> {
        let rows: Vec<Day> = sqlx::query_as(DAYS)
            .bind(DAY)
            .bind(since.timestamp_millis())
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        let count = |count: i64| u64::try_from(count).unwrap_or_default();
        let days = rows.into_iter().filter_map(|row| {
            Some(PastDay {
                day: Timestamp::from_timestamp_millis(row.day * DAY)?.date_naive(),
                runs: count(row.runs),
                active: row.active.map(count),
                done: count(row.done),
                failed: count(row.failed),
                held: count(row.held),
            })
        });
        Ok(days.collect())
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
    let mut error: Option<String> = row.try_get(5).map_err(in_words)?;
    // The figures of one run keep nobody from seeing the others.
    let summary = summary.transpose().unwrap_or_else(|why| {
        let unreadable = format!("the figures of this run cannot be read: {why}");
        error = Some(match error.take() {
            None => unreadable,
            Some(error) => format!("{error}; {unreadable}"),
        });
        None
    });
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
        error,
        version: row.try_get(6).map_err(in_words)?,
        summary,
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
