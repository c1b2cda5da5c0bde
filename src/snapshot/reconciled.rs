//! What reading the organization back changes in the snapshot.

use std::collections::HashSet;

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sqlx::{Row, Sqlite, Transaction};

use super::error::Context;
use super::journal::{forget, store};
use super::{Journal, Snapshot, SnapshotError, groups, rows};
use crate::model::{ExternalId, ManagedAccount, RunId, ScimId, Timestamp};
use crate::plan::Reconciliation;

/// Rows a page.
const PAGE: u32 = 1000;

impl Snapshot {
    /// The next accounts after a key, in the order of the keys; none after the last one.
    pub async fn accounts_after(
        &mut self,
        key: Option<&ExternalId>,
    ) -> Result<Vec<ManagedAccount>, SnapshotError> {
        let query = format!(
            "{} WHERE external_id > ? ORDER BY external_id LIMIT {PAGE}",
            rows::SELECT_ACCOUNTS
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query.as_str()))
            .bind(key.map_or("", ExternalId::as_str))
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| rows::account(row).map_err(|why| self.row_error(row, &why)))
            .collect()
    }

    /// Those of these accounts that carried another key when the organization was last read back.
    pub async fn rekeyed(
        &mut self,
        accounts: impl IntoIterator<Item = &ScimId>,
    ) -> Result<HashSet<ScimId>, SnapshotError> {
        let ids: HashSet<&str> = accounts.into_iter().map(ScimId::as_str).collect();
        let mut rekeyed = HashSet::new();
        let mut all =
            sqlx::query("SELECT scim_id FROM rekeyed ORDER BY scim_id").fetch(&mut self.connection);
        while let Some(row) = all.try_next().await.at(&self.path)? {
            let id: &str = row.try_get(0).at(&self.path)?;
            if ids.contains(id) {
                rekeyed.insert(ScimId::new(id));
            }
        }
        Ok(rekeyed)
    }

    /// Whether an account carried another key when the organization was last read back; within, that key,
    /// if it was one.
    pub async fn other_key(
        &mut self,
        account: &ScimId,
    ) -> Result<Option<Option<ExternalId>>, SnapshotError> {
        let key: Option<Option<String>> =
            sqlx::query_scalar("SELECT external_id FROM rekeyed WHERE scim_id = ?")
                .bind(account.as_str())
                .fetch_optional(&mut self.connection)
                .await
                .at(&self.path)?;
        Ok(key.map(|key| key.map(ExternalId::new)))
    }
}

/// Notes that an account carries its person's key again, as an operation has just given it that.
pub(super) async fn keyed_again(
    transaction: &mut Transaction<'_, Sqlite>,
    account: &ScimId,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM rekeyed WHERE scim_id = ?")
        .bind(account.as_str())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

impl Journal {
    /// Takes over what reading the organization back has shown, and keeps how the rows were; where
    /// they are made again, no approval counts any more. If rows change, the next
    /// run reads the sources in full: accounts differ from what the directory last said. Which accounts carry
    /// another key is remembered in any case.
    pub async fn record_reconciled(
        &mut self,
        run: RunId,
        found: &Reconciliation,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        self.remember_rekeyed(found).await?;
        if !found.changes_rows() && !found.is_rebuilt {
            return Ok(());
        }
        let approvals = match found.is_rebuilt {
            // Of those that a backup has it is not known which were used up since.
            true => self.approvals(now).await?,
            false => Vec::new(),
        };
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for approval in &approvals {
            sqlx::query("UPDATE approved_operations SET run_id = ?, result = 'void' WHERE approval_id = ? AND digest = ?")
                .bind(run.0)
                .bind(approval.id)
                .bind(approval.digest.0.as_slice())
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        for decided in &found.drifts {
            let Some(after) = &decided.after else {
                continue;
            };
            let taken = decided.drift.kinds.keys();
            let taken = taken.filter(|kind| !decided.left.contains(kind));
            let change = Change {
                key: &after.key,
                kind: "drift",
                what: json!(taken.collect::<Vec<_>>()),
                before: Some(json!(decided.drift.row)),
                after: json!(after),
            };
            change.record(&mut transaction, run).await.at(&path)?;
            store(&mut transaction, after).await.at(&path)?;
        }
        for rebuilt in &found.rebuilt {
            let change = Change {
                key: &rebuilt.row.key,
                kind: "rebuilt",
                what: json!([]),
                before: rebuilt.replaces.as_ref().map(|row| json!(row)),
                after: json!(rebuilt.row),
            };
            change.record(&mut transaction, run).await.at(&path)?;
            let former = rebuilt.replaces.as_ref();
            if let Some(former) = former.filter(|former| former.key != rebuilt.row.key) {
                forget(&mut transaction, &former.key).await.at(&path)?;
            }
            store(&mut transaction, &rebuilt.row).await.at(&path)?;
        }
        for group in &found.rebuilt_groups {
            let change = Change {
                key: &group.key,
                kind: "rebuilt_group",
                what: json!([]),
                before: None,
                after: json!(group),
            };
            change.record(&mut transaction, run).await.at(&path)?;
            groups::note(&mut transaction, group).await.at(&path)?;
        }
        sqlx::query("DELETE FROM cursors")
            .execute(&mut *transaction)
            .await
            .at(&path)?;
        transaction.commit().await.at(&path)
    }
}

impl Journal {
    /// Replaces what is known of accounts that carry another key.
    async fn remember_rekeyed(&mut self, found: &Reconciliation) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM rekeyed")
            .execute(&mut *transaction)
            .await
            .at(&path)?;
        for (account, key) in found.rekeyed() {
            sqlx::query("INSERT INTO rekeyed (scim_id, external_id) VALUES (?, ?)")
                .bind(account.as_str())
                .bind(key.map(ExternalId::as_str))
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)
    }
}

/// A row of `reconciled`.
struct Change<'a> {
    key: &'a ExternalId,
    kind: &'static str,
    what: Value,
    before: Option<Value>,
    after: Value,
}

impl Change<'_> {
    async fn record(
        self,
        transaction: &mut Transaction<'_, Sqlite>,
        run: RunId,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO reconciled (run_id, external_id, kind, what, before, after) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(run.0)
            .bind(self.key.as_str())
            .bind(self.kind)
            .bind(self.what.to_string())
            .bind(self.before.map(|row| row.to_string()))
            .bind(self.after.to_string())
            .execute(&mut **transaction)
            .await?;
        Ok(())
    }
}
