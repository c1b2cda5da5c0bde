//! The ledger of saved plans: each is applied at most once.

use sqlx::Row;

use super::error::Context;
use super::{Journal, Snapshot, SnapshotError, unreadable};
use crate::model::{RunId, Timestamp};

/// When a saved plan was applied, and by which run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedPlan {
    /// The run.
    pub run: RunId,
    /// The moment just before anything was sent.
    pub at: Timestamp,
}

impl Snapshot {
    /// The newest run that has read the sources; saved plans that were made after an older one
    /// do not know what it saw.
    pub async fn last_reading(&mut self) -> Result<Option<RunId>, SnapshotError> {
        let last: Option<i64> = sqlx::query_scalar("SELECT max(run_id) FROM pulls")
            .fetch_one(&mut self.connection)
            .await
            .at(&self.path)?;
        Ok(last.map(RunId))
    }

    /// When the saved plan of this id was applied, if it was.
    pub async fn applied_plan(&mut self, id: &str) -> Result<Option<AppliedPlan>, SnapshotError> {
        let row = sqlx::query("SELECT run_id, applied_at FROM applied_plans WHERE plan_id = ?")
            .bind(id)
            .fetch_optional(&mut self.connection)
            .await
            .at(&self.path)?;
        let Some(row) = row else { return Ok(None) };
        let at = Timestamp::from_timestamp_millis(row.try_get(1).at(&self.path)?)
            .ok_or_else(|| unreadable(&self.path, id, "its time is none"))?;
        let run = RunId(row.try_get(0).at(&self.path)?);
        Ok(Some(AppliedPlan { run, at }))
    }
}

impl Journal {
    /// Records that a saved plan is applied from now on. A plan that is recorded already is an
    /// error of the database. `overtaken` tells that the sources were read after it was made: the
    /// plan may then make of accounts what the pulls of what changed would not tell again, so the
    /// next pulls are in full.
    pub async fn apply_plan(
        &mut self,
        id: &str,
        made_at: Timestamp,
        applied: AppliedPlan,
        overtaken: bool,
    ) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        if overtaken {
            sqlx::query("DELETE FROM cursors")
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        sqlx::query(
            "INSERT INTO applied_plans (plan_id, run_id, made_at, applied_at) VALUES (?, ?, ?, ?)",
        )
        .bind(id)
        .bind(applied.run.0)
        .bind(made_at.timestamp_millis())
        .bind(applied.at.timestamp_millis())
        .execute(&mut *transaction)
        .await
        .at(&path)?;
        transaction.commit().await.at(&path)
    }
}
