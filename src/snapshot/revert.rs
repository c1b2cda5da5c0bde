//! What runs did, for those who undo it, and what was undone.

use std::collections::HashMap;
use std::path::Path;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::error::Context;
use super::{Journal, Snapshot, SnapshotError, rows, unreadable};
use crate::model::{
    ExternalId, GroupChange, GroupEffect, GroupOperation, GroupProgress, Operation, OperationId,
    Reason, RunId, ScimId,
};
use crate::plan::groups::{LaterGroup, PastGroup, UndoneGroup};
use crate::plan::{End, Past, Undone};

/// The operations of a run, and those by which reverts of it have let somebody make way: each
/// with the run that has undone it.
const SELECT_PAST: &str =
    "SELECT operations.id, operations.detail, operations.state, operations.sent_at IS NOT NULL,
        operations.scim_id, operations.error, undoing.run_id
    FROM operations
    LEFT JOIN reverted ON reverted.operation_id = operations.id
    LEFT JOIN operations AS undoing ON undoing.id = reverted.undone_by
    WHERE operations.id IN (SELECT id FROM operations WHERE run_id = ?1 AND kind NOT GLOB 'group_*'
        UNION ALL SELECT id FROM operations WHERE run_id IN (SELECT id FROM runs WHERE trigger = ?2)
            AND state = 'done' AND detail ->> '$.reason.cause' = 'makes_way')
    ORDER BY operations.id";

/// The group operations of a run: each with the run that has undone it, and how far it came.
const SELECT_PAST_GROUPS: &str =
    "SELECT operations.id, operations.detail, operations.state, operations.sent_at IS NOT NULL,
        operations.scim_id, operations.error, undoing.run_id, operations.progress
    FROM operations
    LEFT JOIN reverted ON reverted.operation_id = operations.id
    LEFT JOIN operations AS undoing ON undoing.id = reverted.undone_by
    WHERE operations.run_id = ? AND operations.kind GLOB 'group_*'
    ORDER BY operations.id";

/// The groups that reverts which broke off have made, each with what it was made to undo.
const SELECT_BEGUN: &str = "SELECT undone.value, begun.progress ->> '$.scim_id'
    FROM operations AS begun, json_each(begun.detail, '$.undoes.operations') AS undone
    WHERE begun.run_id IN (SELECT id FROM runs WHERE trigger = ?) AND begun.kind IN ('group_create', 'group_rename')
    AND begun.state <> 'done' AND begun.progress ->> '$.scim_id' IS NOT NULL
    ORDER BY begun.id";

/// What later runs did to the groups of a run. Of what was never answered it is not known to which.
const SELECT_LATER_GROUPS: &str = "SELECT operations.id, runs.id, runs.trigger, operations.progress
    FROM operations JOIN runs ON runs.id = operations.run_id
    WHERE operations.run_id > ?1 AND operations.kind GLOB 'group_*'
    AND (operations.state = 'sent' OR operations.progress ->> '$.scim_id' IN
        (SELECT progress ->> '$.scim_id' FROM operations AS past WHERE past.run_id = ?1))
    ORDER BY operations.id";

/// The trigger of a run that reverts this one.
pub fn trigger(run: RunId) -> String {
    format!("revert {run}")
}

/// The run that a run with this [`trigger`] reverts.
fn reverted_by(trigger: &str) -> Option<RunId> {
    let run = trigger.strip_prefix("revert ")?;
    run.parse().ok().map(RunId)
}

impl Snapshot {
    /// Whether a run has ended; `None` if there is no such run.
    pub async fn has_ended(&mut self, run: RunId) -> Result<Option<bool>, SnapshotError> {
        sqlx::query_scalar("SELECT outcome IS NOT NULL FROM runs WHERE id = ?")
            .bind(run.0)
            .fetch_optional(&mut self.connection)
            .await
            .at(&self.path)
    }

    /// What a run did, operation by operation.
    pub async fn past(&mut self, run: RunId) -> Result<Vec<Past>, SnapshotError> {
        let rows = sqlx::query(SELECT_PAST)
            .bind(run.0)
            .bind(trigger(run))
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| past(row).map_err(|why| self.operation_error(row, &why)))
            .collect()
    }

    /// What a run did to groups, operation by operation.
    pub async fn past_groups(&mut self, run: RunId) -> Result<Vec<PastGroup>, SnapshotError> {
        let begun: Vec<(i64, String)> = sqlx::query_as(SELECT_BEGUN)
            .bind(trigger(run))
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        // The newest counts.
        let mut begun: HashMap<i64, String> = begun.into_iter().collect();
        let rows = sqlx::query(SELECT_PAST_GROUPS)
            .bind(run.0)
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| {
                let past = past_group(row).map_err(|why| self.operation_error(row, &why))?;
                Ok(PastGroup {
                    begun: begun.remove(&past.id.0).map(ScimId::new),
                    ..past
                })
            })
            .collect()
    }

    /// What later runs did to the groups of a run, operation by operation.
    pub async fn later_groups(&mut self, run: RunId) -> Result<Vec<LaterGroup>, SnapshotError> {
        let rows = sqlx::query(SELECT_LATER_GROUPS)
            .bind(run.0)
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| later_group(row).map_err(|why| self.operation_error(row, &why)))
            .collect()
    }

    /// That an operation, whose number is in the first column, cannot be read.
    fn operation_error(&self, row: &SqliteRow, why: &str) -> SnapshotError {
        let id = row.try_get::<i64, _>(0).unwrap_or_default();
        unreadable(&self.path, &format!("operation {id}"), why)
    }

    /// The same of groups as [`undone`](Self::undone).
    pub async fn undone_groups(&mut self) -> Result<Vec<UndoneGroup>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT effects.external_id, effects.id, effects.effect, undoing.run_id
             FROM reverted_group_effects AS effects JOIN operations AS undoing ON undoing.id = undone_by
             WHERE ended_by IS NULL ORDER BY effects.id",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        rows.iter()
            .map(|row| {
                let effect: &str = row.try_get(2).at(&self.path)?;
                Ok(UndoneGroup {
                    key: ExternalId::new(row.try_get::<String, _>(0).at(&self.path)?),
                    id: row.try_get(1).at(&self.path)?,
                    effect: serde_json::from_str(effect)
                        .map_err(|why| self.row_error(row, &why.to_string()))?,
                    by: RunId(row.try_get(3).at(&self.path)?),
                })
            })
            .collect()
    }

    /// What reverts have undone and no sync is to do again, as far as the directory still wants
    /// it.
    pub async fn undone(&mut self) -> Result<Vec<Undone>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT effects.external_id, effects.id, effects.digest, undoing.run_id
             FROM reverted_effects AS effects JOIN reverted USING (operation_id)
             JOIN operations AS undoing ON undoing.id = reverted.undone_by
             WHERE effects.ended_by IS NULL ORDER BY effects.id",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        rows.iter()
            .map(|row| {
                Ok(Undone {
                    key: ExternalId::new(row.try_get::<String, _>(0).at(&self.path)?),
                    id: row.try_get(1).at(&self.path)?,
                    digest: rows::digest(row, 2).map_err(|why| self.row_error(row, &why))?,
                    by: RunId(row.try_get(3).at(&self.path)?),
                })
            })
            .collect()
    }
}

impl Journal {
    /// Records that the directory does not want any more what was undone, by its numbers.
    pub async fn end_undone(&mut self, run: RunId, undone: &[i64]) -> Result<(), SnapshotError> {
        let statement = "UPDATE reverted_effects SET ended_by = ? WHERE id = ?";
        self.end_effects(run, undone, statement).await
    }

    /// The same of groups.
    pub async fn end_undone_groups(
        &mut self,
        run: RunId,
        undone: &[i64],
    ) -> Result<(), SnapshotError> {
        let statement = "UPDATE reverted_group_effects SET ended_by = ? WHERE id = ?";
        self.end_effects(run, undone, statement).await
    }

    async fn end_effects(
        &mut self,
        run: RunId,
        undone: &[i64],
        statement: &'static str,
    ) -> Result<(), SnapshotError> {
        if undone.is_empty() {
            return Ok(());
        }
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for id in undone {
            sqlx::query(statement)
                .bind(run.0)
                .bind(id)
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)
    }

    /// Has the next run read the sources in full: accounts are going to differ from what the
    /// directory last said, which the pulls of what changed would not tell again.
    pub async fn read_in_full_next(&mut self) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM cursors")
            .execute(&mut *transaction)
            .await
            .at(&path)?;
        transaction.commit().await.at(&path)
    }
}

/// Records what an operation of a revert has undone, now that it is done.
pub(super) async fn record_undone(
    transaction: &mut Transaction<'_, Sqlite>,
    path: &Path,
    id: OperationId,
    operation: &Operation,
) -> Result<(), SnapshotError> {
    // Who makes way first has not been put back yet.
    let is_last = operation.reason != Reason::MakesWay;
    let undoes = operation.undoes.as_ref().filter(|_| is_last);
    for undone in undoes.into_iter().flat_map(|undoes| &undoes.operations) {
        mark_undone(transaction, id, *undone).await.at(path)?;
        let detail: String = sqlx::query_scalar("SELECT detail FROM operations WHERE id = ?")
            .bind(undone.0)
            .fetch_one(&mut **transaction)
            .await
            .at(path)?;
        let undone_operation: Operation = serde_json::from_str(&detail).map_err(|error| {
            unreadable(path, &format!("operation {}", undone.0), &error.to_string())
        })?;
        for effect in undone_operation.effects() {
            sqlx::query(
                "INSERT INTO reverted_effects (operation_id, external_id, what, digest) VALUES (?, ?, ?, ?)",
            )
            .bind(undone.0)
            .bind(undone_operation.key.as_str())
            .bind(effect.to_string())
            .bind(effect.digest(&undone_operation.key).0.as_slice())
            .execute(&mut **transaction)
            .await
            .at(path)?;
        }
    }
    Ok(())
}

async fn mark_undone(
    transaction: &mut Transaction<'_, Sqlite>,
    by: OperationId,
    undone: OperationId,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO reverted (operation_id, undone_by) VALUES (?, ?)")
        .bind(undone.0)
        .bind(by.0)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Records what a group operation of a revert has put back: all that it undoes once it is done,
/// else how far it came.
pub(super) async fn record_undone_group(
    transaction: &mut Transaction<'_, Sqlite>,
    path: &Path,
    id: OperationId,
    operation: &GroupOperation,
    progress: &GroupProgress,
    is_done: bool,
) -> Result<(), SnapshotError> {
    let Some(undoes) = &operation.undoes else {
        return Ok(());
    };
    let mut effects: Vec<(ExternalId, GroupEffect)> = Vec::new();
    if is_done {
        for undone in &undoes.operations {
            mark_undone(transaction, id, *undone).await.at(path)?;
            let row = sqlx::query("SELECT detail, progress FROM operations WHERE id = ?")
                .bind(undone.0)
                .fetch_one(&mut **transaction)
                .await
                .at(path)?;
            let undone = done_group(&row)
                .map_err(|why| unreadable(path, &format!("operation {}", undone.0), &why))?;
            let done = undone.effects().into_iter();
            effects.extend(done.map(|effect| (undone.key.clone(), effect)));
        }
    }
    if !is_done || undoes.operations.is_empty() {
        let put_back = put_back(operation, progress).into_iter();
        effects.extend(put_back.map(|effect| (operation.key.clone(), effect)));
    }
    for (key, effect) in effects {
        // A part of it may have been put back before.
        sqlx::query(
            "INSERT OR IGNORE INTO reverted_group_effects (undone_by, external_id, effect) VALUES (?, ?, ?)",
        )
        .bind(id.0)
        .bind(key.as_str())
        .bind(serde_json::json!(effect).to_string())
        .execute(&mut **transaction)
        .await
        .at(path)?;
    }
    Ok(())
}

/// The effects that an undoing operation has put back so far. Half a renaming is none.
fn put_back(operation: &GroupOperation, progress: &GroupProgress) -> Vec<GroupEffect> {
    match operation.kind {
        GroupChange::Create if progress.scim_id.is_some() => vec![GroupEffect::Deleted],
        GroupChange::Update => {
            let left = progress.removed.iter();
            let left = left.map(|one| GroupEffect::Joins(one.id().to_owned()));
            let joined = progress.added.iter();
            let joined = joined.map(|one| GroupEffect::Leaves(one.id().to_owned()));
            left.chain(joined).collect()
        }
        _ => Vec::new(),
    }
}

/// The group operation of a row, as far as it came.
fn done_group(row: &SqliteRow) -> Result<GroupOperation, String> {
    let text = |at: usize| {
        row.try_get::<&str, _>(at)
            .map_err(|error| error.to_string())
    };
    let operation: GroupOperation =
        serde_json::from_str(text(0)?).map_err(|error| error.to_string())?;
    let progress = serde_json::from_str(text(1)?).map_err(|error| error.to_string())?;
    Ok(operation.as_done(&progress))
}

/// The operation of a row of [`SELECT_PAST`].
fn past(row: &SqliteRow) -> Result<Past, String> {
    let read = past_columns(row)?;
    Ok(Past {
        id: read.id,
        operation: serde_json::from_str(read.detail).map_err(|error| error.to_string())?,
        end: read.end,
        undone_by: read.undone_by,
    })
}

/// The operation of a row of [`SELECT_PAST_GROUPS`].
fn past_group(row: &SqliteRow) -> Result<PastGroup, String> {
    let read = past_columns(row)?;
    Ok(PastGroup {
        id: read.id,
        operation: serde_json::from_str(read.detail).map_err(|error| error.to_string())?,
        end: read.end,
        progress: progress(row, 7)?,
        undone_by: read.undone_by,
        begun: None,
    })
}

/// The operation of a row of [`SELECT_LATER_GROUPS`].
fn later_group(row: &SqliteRow) -> Result<LaterGroup, String> {
    let in_words = |error: sqlx::Error| error.to_string();
    Ok(LaterGroup {
        id: OperationId(row.try_get(0).map_err(in_words)?),
        run: RunId(row.try_get(1).map_err(in_words)?),
        reverts: reverted_by(row.try_get(2).map_err(in_words)?),
        progress: progress(row, 3)?,
    })
}

fn progress(row: &SqliteRow, at: usize) -> Result<Option<GroupProgress>, String> {
    let text: Option<&str> = row.try_get(at).map_err(|error| error.to_string())?;
    let progress = text.map(serde_json::from_str).transpose();
    progress.map_err(|error: serde_json::Error| error.to_string())
}

/// What the rows of both have.
struct PastColumns<'r> {
    id: OperationId,
    detail: &'r str,
    end: End,
    undone_by: Option<RunId>,
}

fn past_columns(row: &SqliteRow) -> Result<PastColumns<'_>, String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let text = |at: usize| row.try_get::<Option<String>, _>(at).map_err(in_words);
    let state: &str = row.try_get(2).map_err(in_words)?;
    let was_sent: bool = row.try_get(3).map_err(in_words)?;
    let undone_by: Option<i64> = row.try_get(6).map_err(in_words)?;
    Ok(PastColumns {
        id: OperationId(row.try_get(0).map_err(in_words)?),
        detail: row.try_get(1).map_err(in_words)?,
        end: match (state, was_sent) {
            ("done", _) => End::Done(text(4)?.map(ScimId::new)),
            ("failed", _) => End::Failed(text(5)?.unwrap_or_default()),
            (_, true) => End::Unanswered,
            (_, false) => End::Unsent,
        },
        undone_by: undone_by.map(RunId),
    })
}
