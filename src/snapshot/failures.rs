//! What has failed, who has let what go again, and whose login waits to be turned off.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::error::Context;
use super::holds::{Detail, json};
use super::rows::{digest, moment};
use super::{Asked, HeldOperation, Journal, Snapshot, SnapshotError};
use crate::model::{
    Digest, ExternalId, GroupOperation, Operation, OperationId, RunId, Timestamp, Who,
};
use crate::plan::{Failed, Failing, Failures, PendingDeactivation, Plan};

const SELECT_FAILURES: &str =
    "SELECT failures.external_id, is_group, failures.digest, count, failures.error, first_at, last_at, detail, kind, operation_id, in_vain
     FROM failures JOIN operations ON operations.id = failures.operation_id";

/// Something that failed, and may go again.
#[derive(Clone, Debug)]
pub struct Retried {
    /// What it was.
    pub operation: HeldOperation,
    /// How often it failed in a row by itself.
    pub count: u32,
    /// How often it got no usable answer since it was last refused.
    pub in_vain: u32,
    /// The last error.
    pub error: String,
    /// The last one that failed, in the journal.
    last: OperationId,
}

/// Somebody, or a group, for whom something is not tried now, as it has failed.
#[derive(Clone, Debug)]
pub struct NotTried {
    /// The name of the account or of the group.
    pub name: String,
    /// The entry.
    pub dn: String,
    /// Whether it is a group.
    pub is_group: bool,
    /// What has failed, and when it is tried again.
    pub failing: Failing,
}

/// The key of a person or a group, and whether it is a group's.
type Whose = (String, bool);

/// That somebody has let something go again that had failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GivenRetry {
    /// What it was, by the name of its kind.
    pub kind: String,
    /// How often it had failed in a row by itself; 0 of what had got no usable answer, as nobody's had.
    pub count: u32,
    /// The name of the user who asked.
    pub by: String,
    /// Why, if that was said.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Why nothing was let go again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// The database.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Nothing of that has failed.
    #[error(
        "nothing waits for another try that is of `{who}`: give a key, an e-mail address, a user name, the name of a group or a DN of what has failed, or --all{}", those(.failing)
    )]
    Unknown {
        /// What was asked for.
        who: String,
        /// What has failed.
        failing: Vec<String>,
    },
    /// Several may be meant.
    #[error("`{who}` may be any of {keys}: give the key")]
    Ambiguous {
        /// What was asked for.
        who: String,
        /// The keys.
        keys: String,
    },
}

fn those(failing: &[String]) -> String {
    /// So many names stand in a line.
    const NAMED: usize = 10;
    if failing.is_empty() {
        return " (nothing has failed)".to_owned();
    }
    let more = if failing.len() > NAMED { ", …" } else { "" };
    let named = &failing[..failing.len().min(NAMED)];
    format!(" (failed: {}{more})", named.join(", "))
}

impl Snapshot {
    /// All that has failed, and has not succeeded since. `quarantine_after` is the configuration's.
    pub async fn failures(&mut self, quarantine_after: u32) -> Result<Failures, SnapshotError> {
        let rows = sqlx::query(SELECT_FAILURES)
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        let mut failures = Failures {
            quarantine_after,
            ..Failures::default()
        };
        for row in &rows {
            let (key, is_group, failed) = failed(row).map_err(|why| self.row_error(row, &why))?;
            let whose = match is_group {
                true => &mut failures.groups,
                false => &mut failures.people,
            };
            whose.insert(key, failed);
        }
        Ok(failures)
    }

    /// What is not tried now, as it has failed: first what is in quarantine, then what is tried again the soonest.
    /// `quarantine_after` is the configuration's.
    pub async fn not_tried(
        &mut self,
        quarantine_after: u32,
        now: Timestamp,
    ) -> Result<Vec<NotTried>, SnapshotError> {
        let failures = self.failures(quarantine_after).await?;
        let query = format!("{SELECT_FAILURES} WHERE count > 0");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query.as_str()))
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        let one = |row: &SqliteRow| -> Result<Option<NotTried>, String> {
            let (_, is_group, _) = failed(row)?;
            let (detail, failing) = match is_group {
                true => {
                    let operation: GroupOperation = json(row, 7)?;
                    let failing = failures.of_group(&operation, now);
                    (Detail::of_group(&operation), failing)
                }
                false => {
                    let operation: Operation = json(row, 7)?;
                    (Detail::of(&operation), failures.of(&operation, now))
                }
            };
            Ok(failing.map(|failing| NotTried {
                name: detail.account,
                dn: detail.dn,
                is_group,
                failing,
            }))
        };
        let mut all = Vec::new();
        for row in &rows {
            let one = one(row).map_err(|why| self.row_error(row, &why))?;
            all.extend(one);
        }
        all.sort_by(|a, b| {
            let order = |one: &NotTried| (one.failing.until, one.name.clone());
            order(a).cmp(&order(b))
        });
        Ok(all)
    }

    /// What of a person's has failed by itself, if anything has.
    pub async fn failure_of(
        &mut self,
        key: &ExternalId,
    ) -> Result<Option<(Failed, Operation)>, SnapshotError> {
        let query = format!(
            "{SELECT_FAILURES} WHERE count > 0 AND failures.external_id = ? AND is_group = 0"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(query.as_str()))
            .bind(key.as_str())
            .fetch_optional(&mut self.connection)
            .await
            .at(&self.path)?;
        let read = |row: &SqliteRow| Ok::<_, String>((failed(row)?.2, json(row, 7)?));
        row.map(|row| read(&row).map_err(|why| self.row_error(&row, &why)))
            .transpose()
    }

    /// Who has let something of a person's go again, the newest first.
    pub async fn retries_of(&mut self, key: &ExternalId) -> Result<Vec<GivenRetry>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT retries.external_id, kind, count, asked_by, reason, asked_at
             FROM retries JOIN operations ON operations.id = retries.operation_id
             WHERE retries.external_id = ? AND is_group = 0 ORDER BY retries.id DESC",
        )
        .bind(key.as_str())
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        rows.iter()
            .map(|row| {
                Ok(GivenRetry {
                    kind: row.try_get(1).at(&self.path)?,
                    count: row.try_get(2).at(&self.path)?,
                    by: row.try_get(3).at(&self.path)?,
                    reason: row.try_get(4).at(&self.path)?,
                    at: moment(row, 5).map_err(|why| self.row_error(row, &why))?,
                })
            })
            .collect()
    }

    /// Whose login was to be turned off by the runs until now, and is not.
    pub async fn pending_deactivations(
        &mut self,
    ) -> Result<BTreeMap<ExternalId, PendingDeactivation>, SnapshotError> {
        let rows = sqlx::query("SELECT external_id, dn, since FROM pending_deactivations")
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| {
                let key = ExternalId::new(row.try_get::<String, _>(0).at(&self.path)?);
                let pending = PendingDeactivation {
                    key: key.clone(),
                    dn: row.try_get(1).at(&self.path)?,
                    since: Some(moment(row, 2).map_err(|why| self.row_error(row, &why))?),
                };
                Ok((key, pending))
            })
            .collect()
    }
}

impl Journal {
    /// Takes back that failures of this run count that were no refusals, as the API as a whole has failed in it.
    pub async fn excuse(&mut self, run: RunId) -> Result<(), SnapshotError> {
        if !self.so_far.has_succeeded {
            return Ok(());
        }
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE failures SET count = count - 1
             WHERE in_vain > 0 AND count > 0 AND (SELECT run_id FROM operations WHERE id = failures.operation_id) = ?",
        )
        .bind(run.0)
        .execute(&mut *transaction)
        .await
        .at(&path)?;
        transaction.commit().await.at(&path)
    }

    /// Records, before anything is sent, whose login this plan wants turned off, and forgets who is
    /// not to lose it any more, and what has failed and is not wanted any more.
    pub async fn record_pending(
        &mut self,
        run: RunId,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for pending in plan.pending.iter().filter(|one| one.since.is_none()) {
            sqlx::query("INSERT OR IGNORE INTO pending_deactivations (external_id, dn, since, first_run) VALUES (?, ?, ?, ?)")
                .bind(pending.key.as_str())
                .bind(&pending.dn)
                .bind(now.timestamp_millis())
                .bind(run.0)
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        for key in &plan.over_pending {
            no_longer_pending(&mut transaction, key).await.at(&path)?;
        }
        for key in &plan.over_failures {
            forget_failure(&mut transaction, key, false)
                .await
                .at(&path)?;
        }
        for key in plan.groups.iter().flat_map(|groups| &groups.over_failures) {
            forget_failure(&mut transaction, key, true)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)
    }

    /// Lets what has failed go again in the next run: that of one person or
    /// group, or all of it. It counts as if it had never been tried.
    pub async fn retry(
        &mut self,
        who: Option<&str>,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Vec<Retried>, RetryError> {
        let path = self.path.clone();
        let rows = sqlx::query(SELECT_FAILURES)
            .fetch_all(&mut self.connection)
            .await
            .at(&path)?;
        let mut all: HashMap<Whose, Retried> = HashMap::new();
        for row in &rows {
            let (whose, one) = retried(row).map_err(|why| self.row_error(row, &why))?;
            all.insert(whose, one);
        }
        let chosen: BTreeSet<Whose> = match who {
            None => all.keys().cloned().collect(),
            Some(who) => BTreeSet::from([the_one(&all, who)?]),
        };
        let mut transaction = self.begin().await?;
        let mut let_go = Vec::with_capacity(chosen.len());
        for whose in chosen {
            let Some(one) = all.remove(&whose) else {
                continue;
            };
            let (key, is_group) = whose;
            sqlx::query(
                "INSERT INTO retries (external_id, is_group, operation_id, count, error, reason, asked_by, uid, sudo_user, asked_at)
                 VALUES (?, ?, ?, ?, ?, nullif(?, ''), ?, ?, ?, ?)",
            )
            .bind(&key)
            .bind(is_group)
            .bind(one.last.0)
            .bind(one.count)
            .bind(&one.error)
            .bind(&asked.reason)
            .bind(&asked.by.name)
            .bind(asked.by.uid)
            .bind(&asked.by.sudo_user)
            .bind(now.timestamp_millis())
            .execute(&mut *transaction)
            .await
            .at(&path)?;
            forget_failure(&mut transaction, &ExternalId::new(key), is_group)
                .await
                .at(&path)?;
            let_go.push(one);
        }
        transaction.commit().await.at(&path)?;
        let_go.sort_by(|a, b| {
            let name = |one: &Retried| {
                (
                    one.operation.detail.account.clone(),
                    one.operation.key.clone(),
                )
            };
            name(a).cmp(&name(b))
        });
        Ok(let_go)
    }
}

/// Whose failure is meant.
fn the_one(all: &HashMap<Whose, Retried>, who: &str) -> Result<Whose, RetryError> {
    let typed = Who::parse(who);
    let meant = all.iter();
    let meant = meant.filter(|(_, one)| typed.is_any(one.operation.names()));
    let mut meant: Vec<&Whose> = meant.map(|(whose, _)| whose).collect();
    meant.sort();
    match meant.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let names = all.values().map(|one| one.operation.detail.account.clone());
            let mut failing: Vec<String> = names.collect();
            failing.sort();
            let who = who.to_owned();
            Err(RetryError::Unknown { who, failing })
        }
        several => {
            let keys = several.iter().map(|(key, is_group)| {
                let what = if *is_group { "a group" } else { "a person" };
                format!("{key} ({what})")
            });
            Err(RetryError::Ambiguous {
                who: who.to_owned(),
                keys: keys.collect::<Vec<_>>().join(", "),
            })
        }
    }
}

/// How an operation failed.
#[derive(Clone, Copy)]
pub(super) struct Fault<'a> {
    /// The error in words.
    pub error: &'a str,
    /// Whether the organization has refused it, for what it does to whom.
    pub is_refusal: bool,
    /// Whether another write of the run has succeeded, so that it is not the API as a whole that fails.
    pub is_alone: bool,
}

/// Notes one more failure of an operation; of another one than before it is the first. It counts if it is
/// the person's own or the group's: a refusal, or one beside a write that succeeded. What is no refusal is
/// a try in vain as well.
pub(super) async fn note_failure(
    transaction: &mut Transaction<'_, Sqlite>,
    (key, is_group): (&ExternalId, bool),
    operation: OperationId,
    digest: Digest,
    fault: Fault<'_>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let Fault {
        error,
        is_refusal,
        is_alone,
    } = fault;
    sqlx::query(
        "INSERT INTO failures (external_id, is_group, operation_id, digest, count, in_vain, error, first_at, last_at)
         VALUES (?1, ?2, ?3, ?4, ?7 OR ?8, NOT ?7, ?5, ?6, ?6)
         ON CONFLICT (external_id, is_group) DO UPDATE SET
            count = iif(digest = excluded.digest, count, 0) + excluded.count,
            in_vain = iif(?7, 0, iif(digest = excluded.digest, in_vain, 0) + 1),
            first_at = iif(digest = excluded.digest AND count > 0, first_at, excluded.first_at),
            operation_id = excluded.operation_id, digest = excluded.digest,
            error = excluded.error, last_at = excluded.last_at",
    )
    .bind(key.as_str())
    .bind(is_group)
    .bind(operation.0)
    .bind(digest.0.as_slice())
    .bind(error)
    .bind(now.timestamp_millis())
    .bind(is_refusal)
    .bind(is_alone)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Counts what has failed in vain in the run of this operation, the first of it that succeeds: it is not the
/// API as a whole that fails. The last failure of whom `in_vain` tells of was no refusal, and does not count yet.
pub(super) async fn count_those_before(
    transaction: &mut Transaction<'_, Sqlite>,
    operation: OperationId,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE failures SET count = count + 1
         WHERE in_vain > 0 AND (SELECT run_id FROM operations WHERE id = failures.operation_id)
            = (SELECT run_id FROM operations WHERE id = ?)",
    )
    .bind(operation.0)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Forgets what has failed of a person or group.
pub(super) async fn forget_failure(
    transaction: &mut Transaction<'_, Sqlite>,
    key: &ExternalId,
    is_group: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM failures WHERE external_id = ? AND is_group = ?")
        .bind(key.as_str())
        .bind(is_group)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Notes that somebody's login is off, or is to stay on.
pub(super) async fn no_longer_pending(
    transaction: &mut Transaction<'_, Sqlite>,
    key: &ExternalId,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM pending_deactivations WHERE external_id = ?")
        .bind(key.as_str())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn failed(row: &SqliteRow) -> Result<(ExternalId, bool, Failed), String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let key: String = row.try_get(0).map_err(in_words)?;
    let failed = Failed {
        digest: digest(row, 2)?,
        count: row.try_get(3).map_err(in_words)?,
        in_vain: row.try_get(10).map_err(in_words)?,
        error: row.try_get(4).map_err(in_words)?,
        first: moment(row, 5)?,
        last: moment(row, 6)?,
    };
    let is_group = row.try_get(1).map_err(in_words)?;
    Ok((ExternalId::new(key), is_group, failed))
}

fn retried(row: &SqliteRow) -> Result<(Whose, Retried), String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let (key, is_group, failed) = failed(row)?;
    let detail = match is_group {
        true => Detail::of_group(&json::<GroupOperation>(row, 7)?),
        false => Detail::of(&json::<Operation>(row, 7)?),
    };
    let key = key.to_string();
    let kind = row.try_get(8).map_err(in_words)?;
    let one = Retried {
        operation: HeldOperation::of(key.clone(), kind, detail, failed.digest),
        count: failed.count,
        in_vain: failed.in_vain,
        error: failed.error,
        last: OperationId(row.try_get(9).map_err(in_words)?),
    };
    Ok(((key, is_group), one))
}
