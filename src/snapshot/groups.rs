//! The rows of the groups that dirsyncd keeps, and the journal of what was done to them.

use std::collections::{BTreeSet, HashSet};

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::error::Context;
use super::failures::{Fault, forget_failure, note_failure};
use super::journal::{End, Journal, Turn, keep_evidence};
use super::revert::record_undone_group;
use super::{Snapshot, SnapshotError};
use crate::model::{
    Evidence, ExternalId, GroupOperation, GroupProgress, ManagedAccount, ManagedGroup, MemberKey,
    OperationId, RunId, ScimId, Timestamp, Who,
};

/// A group operation of an earlier run that was sent and whose answer is not known.
#[derive(Clone, Debug)]
pub struct UnansweredGroup {
    /// Its number in the journal.
    pub id: OperationId,
    /// What was sent.
    pub operation: GroupOperation,
}

/// A group operation that was sent, and its end.
#[derive(Clone, Debug)]
pub struct EndedGroup<'a> {
    /// Its number in the journal.
    pub id: OperationId,
    /// The operation.
    pub operation: &'a GroupOperation,
    /// How far it came.
    pub progress: GroupProgress,
    /// What came of it.
    pub end: End,
    /// How that is known.
    pub evidence: Evidence,
}

impl Snapshot {
    /// The groups that dirsyncd keeps.
    pub async fn groups(&mut self) -> Result<Vec<ManagedGroup>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT scim_id, external_id, name, origins,
                (SELECT json_group_array(external_id) FROM group_members WHERE group_members.scim_id = groups.scim_id), nested
             FROM groups ORDER BY scim_id",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        let read = |row| group(row).map_err(|why| self.row_error(row, &why));
        rows.iter().map(read).collect()
    }

    /// The keys of the groups that are called so. Their members are not read, as a large group has very many.
    pub async fn groups_called(&mut self, who: &Who) -> Result<Vec<ExternalId>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT scim_id, external_id, name, origins, '[]', '' FROM groups ORDER BY scim_id",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        let mut keys = Vec::new();
        for row in &rows {
            let group = group(row).map_err(|why| self.row_error(row, &why))?;
            if who.is_any(group.names()) {
                keys.push(group.key);
            }
        }
        Ok(keys)
    }

    /// The accounts, the deleted ones too, that are these SCIM users.
    pub async fn accounts_by_scim_id(
        &mut self,
        ids: &[ScimId],
    ) -> Result<Vec<ManagedAccount>, SnapshotError> {
        let ids: Vec<&str> = ids.iter().map(ScimId::as_str).collect();
        let accounts = self.accounts_where("scim_id", &ids).await?;
        Ok(accounts.into_values().collect())
    }

    /// The group operations that were sent and whose answer is not known. Members whose account
    /// was made after they were planned have its SCIM user by now.
    pub async fn unanswered_groups(&mut self) -> Result<Vec<UnansweredGroup>, SnapshotError> {
        let mut sent: Vec<(OperationId, GroupOperation)> = self
            // In words that the index has, else the whole journal is read.
            .sent("SELECT id, detail FROM operations INDEXED BY operations_unanswered
                    WHERE state IN ('intended', 'sent') AND state = 'sent' AND kind GLOB 'group_*' ORDER BY id")
            .await?;
        let members = || sent.iter().flat_map(|(_, operation)| &operation.add);
        let open = members().filter(|member| member.scim_id.is_none());
        let keys: HashSet<ExternalId> = open.filter_map(|member| member.key.clone()).collect();
        let accounts = self.accounts(&keys).await?;
        for member in sent
            .iter_mut()
            .flat_map(|(_, operation)| &mut operation.add)
        {
            let account = member.key.as_ref().and_then(|key| accounts.get(key));
            let user = account.map(|account| account.scim_id.clone());
            member.scim_id = member.scim_id.take().or(user);
        }
        Ok(sent
            .into_iter()
            .map(|(id, operation)| UnansweredGroup { id, operation })
            .collect())
    }
}

fn group(row: &SqliteRow) -> Result<ManagedGroup, String> {
    let text = |at: usize| {
        row.try_get::<&str, _>(at)
            .map_err(|error| error.to_string())
    };
    let in_words = |error: serde_json::Error| error.to_string();
    Ok(ManagedGroup {
        scim_id: ScimId::new(text(0)?),
        key: ExternalId::new(text(1)?),
        name: text(2)?.to_owned(),
        origins: serde_json::from_str(text(3)?).map_err(in_words)?,
        members: serde_json::from_str(text(4)?).map_err(in_words)?,
        nested: text(5)?
            .split_whitespace()
            .map(|digits| MemberKey::parse(digits).ok_or("the digest of a group in it".to_owned()))
            .collect::<Result<_, _>>()?,
    })
}

impl Journal {
    /// Records the group operations that are going to be sent, all of them, before any is.
    pub async fn intend_groups(
        &mut self,
        run: RunId,
        operations: impl ExactSizeIterator<Item = &GroupOperation>,
        now: Timestamp,
    ) -> Result<Vec<OperationId>, SnapshotError> {
        let entries = operations.map(|operation| {
            let detail = serde_json::json!(operation).to_string();
            let (key, kind) = (operation.key.as_str(), operation.kind.name());
            (key, kind, operation.digest(), detail)
        });
        self.intend_all(run, entries, now).await
    }

    /// Records how far a group operation came, as [`Turn::record_group`] does.
    pub async fn record_group(
        &mut self,
        ended: &EndedGroup<'_>,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let mut turn = self.turn().await?;
        turn.record_group(ended, now).await?;
        turn.commit().await
    }

    /// Brings rows of groups up to date to which nothing is sent, and forgets those whose group
    /// the organization does not have any more.
    pub async fn note_groups(
        &mut self,
        groups: &[ManagedGroup],
        forgotten: &[ScimId],
    ) -> Result<(), SnapshotError> {
        if groups.is_empty() && forgotten.is_empty() {
            return Ok(());
        }
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for id in forgotten {
            forget(&mut transaction, id).await.at(&path)?;
        }
        for group in groups {
            note(&mut transaction, group).await.at(&path)?;
        }
        transaction.commit().await.at(&path)
    }
}

impl Turn<'_> {
    /// Records how far a group operation came, together with the group's rows.
    pub async fn record_group(
        &mut self,
        ended: &EndedGroup<'_>,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let is_first = ended.end == End::Done(()) && self.is_first_success(&ended.evidence);
        let is_alone = self.so_far.has_succeeded;
        let Turn {
            transaction, path, ..
        } = self;
        let EndedGroup {
            id,
            operation,
            progress,
            end,
            evidence,
        } = ended;
        let is_done = *end == End::Done(());
        advance(transaction, operation, progress).await.at(path)?;
        if let Some(group) = progress
            .scim_id
            .as_ref()
            .filter(|_| is_done && operation.lets_go())
        {
            forget(transaction, group).await.at(path)?;
        }
        record_undone_group(transaction, path, *id, operation, progress, is_done).await?;
        if is_done {
            forget_failure(transaction, &operation.key, true)
                .await
                .at(path)?;
        }
        let failed = match end {
            End::Failed(failure) => Some((failure.error.as_str(), failure.is_refusal)),
            End::Unknown(error) => Some((error.as_str(), false)),
            End::Done(()) | End::Left | End::Unawaited => None,
        };
        // Whoever reverts a run sees to it.
        if let Some((error, is_refusal)) = failed.filter(|_| operation.undoes.is_none()) {
            let (whose, what) = ((&operation.key, true), operation.digest());
            let fault = Fault {
                error,
                is_refusal,
                is_alone,
            };
            note_failure(transaction, whose, *id, what, fault, now)
                .await
                .at(path)?;
        }
        let (state, error) = match end {
            End::Done(()) => ("done", None),
            End::Failed(failure) => ("failed", Some(failure.error.as_str())),
            End::Left => ("left", None),
            End::Unknown(_) | End::Unawaited => ("sent", None),
        };
        keep_evidence(transaction, *id, evidence, now)
            .await
            .at(path)?;
        let answered = matches!(end, End::Done(()) | End::Failed(_));
        sqlx::query("UPDATE operations SET state = ?, answered_at = ?, error = ?, progress = ? WHERE id = ?")
            .bind(state)
            .bind(answered.then(|| now.timestamp_millis()))
            .bind(error)
            .bind(serde_json::json!(progress).to_string())
            .bind(id.0)
            .execute(&mut **transaction)
            .await
            .at(path)?;
        match is_first {
            true => self.has_succeeded(*id).await,
            false => Ok(()),
        }
    }
}

/// Makes the row of a group be this.
pub(super) async fn note(
    transaction: &mut Transaction<'_, Sqlite>,
    group: &ManagedGroup,
) -> Result<(), sqlx::Error> {
    // With its members, which are then as noted.
    forget(transaction, &group.scim_id).await?;
    store(transaction, group).await?;
    let nested: Vec<String> = group.nested.iter().map(|key| key.digits()).collect();
    sqlx::query("UPDATE groups SET nested = ? WHERE scim_id = ?")
        .bind(nested.join(" "))
        .bind(group.scim_id.as_str())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn advance(
    transaction: &mut Transaction<'_, Sqlite>,
    operation: &GroupOperation,
    progress: &GroupProgress,
) -> Result<(), sqlx::Error> {
    let GroupProgress {
        scim_id,
        added,
        removed,
        deleted,
    } = progress;
    if let Some(deleted) = deleted {
        forget(transaction, deleted).await?;
    }
    let Some(scim_id) = scim_id else {
        return Ok(());
    };
    let group = ManagedGroup {
        scim_id: scim_id.clone(),
        key: operation.key.clone(),
        name: operation.name.clone(),
        origins: operation.origins.clone(),
        members: added.iter().filter_map(|one| one.key.clone()).collect(),
        // Stays as it is noted, and is noted of a new group by the next run.
        nested: BTreeSet::new(),
    };
    store(transaction, &group).await?;
    for key in removed.iter().filter_map(|one| one.key.as_ref()) {
        sqlx::query("DELETE FROM group_members WHERE scim_id = ? AND external_id = ?")
            .bind(scim_id.as_str())
            .bind(key.as_str())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Stores the group's row, and adds these members to those that are there.
async fn store(
    transaction: &mut Transaction<'_, Sqlite>,
    group: &ManagedGroup,
) -> Result<(), sqlx::Error> {
    let ManagedGroup {
        scim_id,
        key,
        name,
        origins,
        members,
        nested: _,
    } = group;
    sqlx::query(
        "INSERT INTO groups (scim_id, external_id, name, origins) VALUES (?, ?, ?, ?)
         ON CONFLICT (scim_id) DO UPDATE SET external_id = excluded.external_id, name = excluded.name, origins = excluded.origins",
    )
    .bind(scim_id.as_str())
    .bind(key.as_str())
    .bind(name)
    .bind(serde_json::json!(origins).to_string())
    .execute(&mut **transaction)
    .await?;
    for member in members {
        sqlx::query("INSERT OR IGNORE INTO group_members (scim_id, external_id) VALUES (?, ?)")
            .bind(scim_id.as_str())
            .bind(member.as_str())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

async fn forget(
    transaction: &mut Transaction<'_, Sqlite>,
    group: &ScimId,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM groups WHERE scim_id = ?")
        .bind(group.as_str())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
