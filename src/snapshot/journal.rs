//! The one writer: runs, the journal of operations, and the accounts' rows.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use sqlx::{Connection, Sqlite, Transaction};

use super::error::Context;
use super::failures::{Fault, count_those_before, forget_failure, no_longer_pending, note_failure};
use super::lock::{Lock, Standing};
use super::reconciled::keyed_again;
use super::revert::record_undone;
use super::verdicts::{record_ends, record_verdicts};
use super::{Snapshot, SnapshotError, rows};
use crate::config::{Job, SourceScope};
use crate::model::{
    AccountId, Answer, Attribute, Cause, Cursor, Digest, Evidence, Exchange, ExternalId, Invoker,
    ManagedAccount, Operation, OperationId, RunId, Shutdown, SourceName, Timestamp,
};
use crate::plan::{Deviation, Pulls, Verdict};

/// How often a lock is looked at that is waited for: the system tells nobody when it is let go.
pub const LOOK: Duration = Duration::from_millis(50);

/// The database, for writing.
pub struct Journal {
    snapshot: Snapshot,
    files: [Standing; 2],
    /// Whether a write of the run that was begun last has succeeded: what fails beside it fails by itself.
    pub(super) has_succeeded: bool,
    /// Whether something of that run has been recorded as sent.
    has_sent: bool,
    _lock: Lock,
}

/// One operation's end.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Its number in the journal.
    pub id: OperationId,
    /// What came of it.
    pub result: Result<Answer, Failure>,
    /// How that is known.
    pub evidence: Evidence,
}

/// One operation of which it is not known whether it took effect.
#[derive(Clone, Debug)]
pub struct Unclear<'a> {
    /// Its number in the journal.
    pub id: OperationId,
    /// The operation.
    pub operation: &'a Operation,
    /// The error in words.
    pub error: String,
    /// What was answered to its requests.
    pub exchanges: Vec<Exchange>,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error in words.
    pub error: String,
    /// Whether it was refused for what it does to whom.
    pub is_refusal: bool,
    /// Whether the account is no longer there at all, so that its row becomes a tombstone.
    pub is_gone: bool,
}

/// What the pulls of a run brought.
#[derive(Clone, Debug, Default)]
pub struct Pulled {
    /// How each pull ended.
    pub pulls: Pulls,
    /// Where the next pull of each source continues; none for a source that is to be read in
    /// full.
    pub cursors: BTreeMap<SourceName, Cursor>,
    /// What the sources said beyond the accounts.
    pub deviations: Vec<Deviation>,
    /// What decides who is in scope, of each source, as far as it is in force.
    pub scopes: BTreeMap<SourceName, SourceScope>,
    /// What was said of those for whom nothing is done. `None` where a run has looked at some
    /// people only: what the last one said of the others stays.
    pub verdicts: Option<Vec<Verdict>>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that was to be done is done.
    Done,
    /// Some operations failed, were held or left for the next run.
    Incomplete,
    /// The plan as a whole was refused.
    Refused,
    /// The run ended before a plan was carried out.
    Failed,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Incomplete => "incomplete",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

impl Deref for Journal {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl DerefMut for Journal {
    fn deref_mut(&mut self) -> &mut Snapshot {
        &mut self.snapshot
    }
}

impl Journal {
    /// Opens the database for a run: takes the lock, makes the file if need be, and brings the
    /// schema up to date.
    pub async fn open(path: &Path) -> Result<Self, SnapshotError> {
        Self::open_with(Lock::writer(path)?, path).await
    }

    async fn open_with(lock: Lock, path: &Path) -> Result<Self, SnapshotError> {
        let (snapshot, database) = Snapshot::open_for_writing(path).await?;
        Ok(Journal {
            snapshot,
            files: [database, lock.standing()?],
            has_succeeded: false,
            has_sent: false,
            _lock: lock,
        })
    }

    /// Opens the database as [`open`](Self::open) does, and waits so long for another process
    /// that has the lock.
    pub async fn open_within(path: &Path, patience: Duration) -> Result<Self, SnapshotError> {
        Self::open_with(Lock::writer_within(path, patience).await?, path).await
    }

    /// Closes the database and lets the next writer in.
    pub async fn close(self) -> Result<(), SnapshotError> {
        self.snapshot.close().await
    }

    /// Notes that the daemon begins a job.
    pub async fn begin_job(&mut self, job: Job, now: Timestamp) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        sqlx::query(
            "INSERT INTO jobs (job, begun_at, unended) VALUES (?, ?, 1)
             ON CONFLICT (job) DO UPDATE SET begun_at = excluded.begun_at, unended = unended + 1",
        )
        .bind(job.name())
        .bind(now.timestamp_millis())
        .execute(&mut self.snapshot.connection)
        .await
        .at(&path)?;
        Ok(())
    }

    /// Notes that a job of the daemon has come to its end, well or not.
    pub async fn end_job(&mut self, job: Job) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        sqlx::query("UPDATE jobs SET unended = 0 WHERE job = ?")
            .bind(job.name())
            .execute(&mut self.snapshot.connection)
            .await
            .at(&path)?;
        Ok(())
    }

    /// Records the start of a run that nobody has asked for, as [`begin_run_by`](Self::begin_run_by)
    /// does.
    pub async fn begin_run(
        &mut self,
        trigger: &str,
        now: Timestamp,
    ) -> Result<RunId, SnapshotError> {
        self.begin_run_by(trigger, None, now).await
    }

    /// Records the start of a run, and who has asked for it. What an interrupted earlier run meant to
    /// send and did not is given up here: this run plans anew.
    pub async fn begin_run_by(
        &mut self,
        trigger: &str,
        asked_by: Option<&Invoker>,
        now: Timestamp,
    ) -> Result<RunId, SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for statement in [
            "UPDATE operations SET state = 'left' WHERE state = 'intended'",
            "UPDATE runs SET outcome = 'failed', error = 'interrupted' WHERE outcome IS NULL",
        ] {
            sqlx::query(statement)
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        let run = sqlx::query("INSERT INTO runs (trigger, version, started_at, asked_by, uid, sudo_user) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(trigger)
            .bind(env!("CARGO_PKG_VERSION"))
            .bind(now.timestamp_millis())
            .bind(asked_by.map(|user| &user.name))
            .bind(asked_by.map(|user| user.uid))
            .bind(asked_by.and_then(|user| user.sudo_user.as_ref()))
            .execute(&mut *transaction)
            .await
            .at(&path)?
            .last_insert_rowid();
        transaction.commit().await.at(&path)?;
        self.has_succeeded = false;
        self.has_sent = false;
        Ok(RunId(run))
    }

    /// Records what the pulls of a run brought: before anything is done about it, so that the
    /// next ones may build on it.
    pub async fn record_pulls(&mut self, run: RunId, pulled: &Pulled) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        record_ends(&mut transaction, run, &pulled.pulls)
            .await
            .at(&path)?;
        if let Some(verdicts) = &pulled.verdicts {
            record_verdicts(&mut transaction, run, verdicts, &pulled.cursors)
                .await
                .at(&path)?;
        }
        for table in ["DELETE FROM cursors", "DELETE FROM deviations"] {
            sqlx::query(table)
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        sqlx::query("DELETE FROM scopes")
            .execute(&mut *transaction)
            .await
            .at(&path)?;
        for (source, scope) in &pulled.scopes {
            sqlx::query("INSERT INTO scopes (source, scope) VALUES (?, ?)")
                .bind(source.as_str())
                .bind(serde_json::json!(scope).to_string())
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        for (source, cursor) in &pulled.cursors {
            sqlx::query("INSERT INTO cursors (source, cookie, fingerprint, full_at, entries) VALUES (?, ?, ?, ?, ?)")
                .bind(source.as_str())
                .bind(&cursor.cookie)
                .bind(cursor.fingerprint.0.as_slice())
                .bind(cursor.full_at.timestamp_millis())
                .bind(i64::try_from(cursor.entries).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        let kept = pulled
            .deviations
            .iter()
            .filter(|deviation| pulled.cursors.contains_key(&deviation.source));
        for deviation in kept {
            sqlx::query(
                "INSERT INTO deviations (source, external_id, said, digest) VALUES (?, ?, ?, ?)",
            )
            .bind(deviation.source.as_str())
            .bind(deviation.key.as_str())
            .bind(serde_json::json!(deviation.said).to_string())
            .bind(deviation.digest().map(|digest| digest.0.to_vec()))
            .execute(&mut *transaction)
            .await
            .at(&path)?;
        }
        transaction.commit().await.at(&path)
    }

    /// Records the end of a run, with how many accounts are in each state then.
    pub async fn finish_run(
        &mut self,
        run: RunId,
        now: Timestamp,
        outcome: Outcome,
        error: Option<&str>,
        summary: &serde_json::Value,
    ) -> Result<(), SnapshotError> {
        self.check_files()?;
        sqlx::query(
            "UPDATE runs SET finished_at = ?, outcome = ?, error = ?, summary = json_set(?, '$.accounts', (
                SELECT json(json_group_object(lifecycle, count)) FROM (
                    SELECT lifecycle, count(*) AS count FROM accounts GROUP BY lifecycle)))
             WHERE id = ?",
        )
        .bind(now.timestamp_millis())
        .bind(outcome.name())
        .bind(error)
        .bind(summary.to_string())
        .bind(run.0)
        .execute(&mut self.snapshot.connection)
        .await
        .at(&self.snapshot.path)?;
        Ok(())
    }

    /// Records what is going to be sent, all of it, before any of it is.
    pub async fn intend(
        &mut self,
        run: RunId,
        operations: impl ExactSizeIterator<Item = &Operation>,
        now: Timestamp,
    ) -> Result<Vec<OperationId>, SnapshotError> {
        let entries = operations.map(|operation| {
            let detail = serde_json::json!(operation).to_string();
            let (key, kind) = (operation.key.as_str(), operation.kind.name());
            (key, kind, operation.digest(), detail)
        });
        self.intend_all(run, entries, now).await
    }

    /// Records operations of any sort as intended: of whom, what, the digest of both, and the whole
    /// of it as JSON.
    pub(super) async fn intend_all<'a>(
        &mut self,
        run: RunId,
        operations: impl ExactSizeIterator<Item = (&'a str, &'static str, Digest, String)>,
        now: Timestamp,
    ) -> Result<Vec<OperationId>, SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        let mut ids = Vec::with_capacity(operations.len());
        for (key, kind, digest, detail) in operations {
            let id = sqlx::query(
                "INSERT INTO operations (run_id, external_id, kind, digest, detail, state, intended_at) VALUES (?, ?, ?, ?, ?, 'intended', ?)",
            )
            .bind(run.0)
            .bind(key)
            .bind(kind)
            .bind(digest.0.as_slice())
            .bind(detail)
            .bind(now.timestamp_millis())
            .execute(&mut *transaction)
            .await
            .at(&path)?
            .last_insert_rowid();
            ids.push(OperationId(id));
        }
        transaction.commit().await.at(&path)?;
        Ok(ids)
    }

    /// Records that these operations go out now.
    pub async fn mark_sent(
        &mut self,
        ids: &[OperationId],
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for id in ids {
            sqlx::query("UPDATE operations SET state = 'sent', sent_at = ? WHERE id = ?")
                .bind(now.timestamp_millis())
                .bind(id.0)
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)?;
        self.has_sent |= !ids.is_empty();
        Ok(())
    }

    /// Whether something of the run that was begun last has been recorded as sent.
    pub fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Records answers, each together with the account's new row. An answer that does not fit
    /// the snapshot is recorded as a failure; what was made of each is returned.
    pub async fn answer(
        &mut self,
        answered: &[(Answered, &Operation)],
        now: Timestamp,
    ) -> Result<Vec<Result<(), String>>, SnapshotError> {
        let path = self.path.clone();
        let mut has_succeeded = self.has_succeeded;
        let mut transaction = self.begin().await?;
        let mut results = Vec::with_capacity(answered.len());
        for (
            Answered {
                id,
                result,
                evidence,
            },
            operation,
        ) in answered
        {
            let stored = match result {
                Ok(answer) => match foreign_owner(&mut transaction, answer, operation)
                    .await
                    .at(&path)?
                {
                    None => {
                        drop_tombstone(&mut transaction, answer, operation)
                            .await
                            .at(&path)?;
                        if let Some(formerly) = &operation.formerly {
                            forget(&mut transaction, formerly).await.at(&path)?;
                        }
                        if operation.lets_go() {
                            forget(&mut transaction, &operation.key).await.at(&path)?;
                        } else {
                            let account = operation.account_after(answer, now);
                            store(&mut transaction, &account).await.at(&path)?;
                        }
                        if operation.takes_over() {
                            keyed_again(&mut transaction, &answer.scim_id)
                                .await
                                .at(&path)?;
                        }
                        record_undone(&mut transaction, &path, *id, operation).await?;
                        succeed(&mut transaction, operation).await.at(&path)?;
                        let is_first = !has_succeeded && evidence.shows_success();
                        if is_first {
                            count_those_before(&mut transaction, *id).await.at(&path)?;
                            has_succeeded = true;
                        }
                        Ok(answer)
                    }
                    Some(owner) => Err((
                        format!(
                            "the organization answered with the SCIM resource {}, which is already the account of {owner}",
                            answer.scim_id
                        ),
                        true,
                    )),
                },
                Err(Failure {
                    error,
                    is_refusal,
                    is_gone,
                }) => {
                    if *is_gone {
                        entomb(&mut transaction, operation, now).await.at(&path)?;
                    }
                    Err((error.clone(), *is_refusal))
                }
            };
            let stored = match stored {
                Ok(answer) => Ok(answer),
                Err((error, is_refusal)) => {
                    let fault = Fault {
                        error: &error,
                        is_refusal,
                        is_alone: has_succeeded,
                    };
                    fail(&mut transaction, *id, operation, fault, now)
                        .await
                        .at(&path)?;
                    Err(error)
                }
            };
            let (state, answer, error) = match &stored {
                Ok(answer) => ("done", Some(answer), None),
                Err(error) => ("failed", None, Some(error.as_str())),
            };
            keep_evidence(&mut transaction, *id, evidence, now)
                .await
                .at(&path)?;
            sqlx::query(
                "UPDATE operations SET state = ?, answered_at = ?, request_id = coalesce(?, request_id), scim_id = ?, error = ? WHERE id = ?",
            )
            .bind(state)
            .bind(now.timestamp_millis())
            .bind(answer.and_then(|answer| answer.request_id.as_deref()))
            .bind(answer.map(|answer| answer.scim_id.as_str()))
            .bind(error)
            .bind(id.0)
            .execute(&mut *transaction)
            .await
            .at(&path)?;
            results.push(stored.map(|_| ()));
        }
        transaction.commit().await.at(&path)?;
        self.has_succeeded = has_succeeded;
        Ok(results)
    }

    /// Gives these operations up: the next run plans anew. One that was sent keeps the time.
    pub async fn leave(&mut self, ids: &[OperationId]) -> Result<(), SnapshotError> {
        self.give_up(ids, "UPDATE operations SET state = 'left' WHERE id = ?")
            .await
    }

    /// Gives up operations that were not sent and that run after run may leave for the next one: of
    /// the same only the last stays in the journal.
    pub async fn carry_over(&mut self, ids: &[OperationId]) -> Result<(), SnapshotError> {
        self.give_up(
            ids,
            "DELETE FROM operations WHERE state = 'left' AND sent_at IS NULL AND requests IS NULL AND id < ?1
                AND external_id = (SELECT external_id FROM operations WHERE id = ?1)
                AND digest = (SELECT digest FROM operations WHERE id = ?1)",
        )
        .await?;
        self.leave(ids).await
    }

    /// Gives up an operation whose answer was lost, as reading has not shown that it took effect.
    pub async fn settle_undone(
        &mut self,
        id: OperationId,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        keep_evidence(&mut transaction, id, &Evidence::ReadBack, now)
            .await
            .at(&path)?;
        sqlx::query("UPDATE operations SET state = 'left' WHERE id = ?")
            .bind(id.0)
            .execute(&mut *transaction)
            .await
            .at(&path)?;
        transaction.commit().await.at(&path)
    }

    /// Gives up operations that have certainly not taken effect, and keeps what was answered.
    pub async fn unsend(
        &mut self,
        unsent: &[(OperationId, Vec<Exchange>)],
    ) -> Result<(), SnapshotError> {
        if unsent.is_empty() {
            return Ok(());
        }
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for (id, exchanges) in unsent {
            keep_answers(&mut transaction, *id, exchanges)
                .await
                .at(&path)?;
            sqlx::query("UPDATE operations SET state = 'left', sent_at = NULL WHERE id = ?")
                .bind(id.0)
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)
    }

    /// Leaves operations as sent that got no usable answer, and keeps what was answered; the next run
    /// finds out what became of them.
    pub async fn leave_unclear(
        &mut self,
        unclear: &[Unclear<'_>],
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        if unclear.is_empty() {
            return Ok(());
        }
        let path = self.path.clone();
        let is_alone = self.has_succeeded;
        let mut transaction = self.begin().await?;
        for Unclear {
            id,
            operation,
            error,
            exchanges,
        } in unclear
        {
            keep_answers(&mut transaction, *id, exchanges)
                .await
                .at(&path)?;
            let fault = Fault {
                error,
                is_refusal: false,
                is_alone,
            };
            fail(&mut transaction, *id, operation, fault, now)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)
    }

    /// Leaves operations as sent whose answer was not waited for, and keeps what was answered before; the
    /// next run finds out what became of them.
    pub async fn leave_sent(
        &mut self,
        unawaited: &[(OperationId, Vec<Exchange>)],
    ) -> Result<(), SnapshotError> {
        if unawaited.is_empty() {
            return Ok(());
        }
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for (id, exchanges) in unawaited {
            keep_answers(&mut transaction, *id, exchanges)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)
    }

    /// From now on does not wait for long where another program has locked the database, if this was asked
    /// to stop: what is not recorded then, the next run reads back.
    pub async fn hurry_if(&mut self, stop: &Shutdown) -> Result<(), SnapshotError> {
        if !stop.requested() {
            return Ok(());
        }
        sqlx::query("PRAGMA busy_timeout = 1000")
            .execute(&mut self.snapshot.connection)
            .await
            .at(&self.snapshot.path)?;
        Ok(())
    }

    async fn give_up(
        &mut self,
        ids: &[OperationId],
        statement: &'static str,
    ) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for id in ids {
            sqlx::query(statement)
                .bind(id.0)
                .execute(&mut *transaction)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)
    }

    /// Brings rows up to date to which nothing is sent.
    pub async fn note(&mut self, accounts: &[ManagedAccount]) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        for account in accounts {
            store(&mut transaction, account).await.at(&path)?;
        }
        transaction.commit().await.at(&path)
    }

    /// The files must be the ones that were opened.
    fn check_files(&self) -> Result<(), SnapshotError> {
        self.files.iter().try_for_each(Standing::check)
    }

    /// A transaction that holds the write lock from its start.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, SnapshotError> {
        self.check_files()?;
        let Snapshot { connection, path } = &mut self.snapshot;
        connection.begin_with("BEGIN IMMEDIATE").await.at(path)
    }
}

/// Keeps how it is known what became of an operation.
pub(super) async fn keep_evidence(
    transaction: &mut Transaction<'_, Sqlite>,
    id: OperationId,
    evidence: &Evidence,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    match evidence {
        Evidence::Answers(exchanges) => keep_answers(transaction, id, exchanges).await,
        Evidence::ReadBack => {
            sqlx::query("UPDATE operations SET settled_at = ? WHERE id = ?")
                .bind(now.timestamp_millis())
                .bind(id.0)
                .execute(&mut **transaction)
                .await?;
            Ok(())
        }
    }
}

/// Keeps the answers to the requests of an operation; the request id of the last one is its own.
async fn keep_answers(
    transaction: &mut Transaction<'_, Sqlite>,
    id: OperationId,
    exchanges: &[Exchange],
) -> Result<(), sqlx::Error> {
    if exchanges.is_empty() {
        return Ok(());
    }
    let named = exchanges.iter().rev();
    let mut named = named.filter_map(|exchange| exchange.request_id.as_deref());
    sqlx::query("UPDATE operations SET requests = ?, request_id = ? WHERE id = ?")
        .bind(serde_json::json!(exchanges).to_string())
        .bind(named.next())
        .bind(id.0)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Notes one more failure of an operation. Whoever reverts a run has asked for it and sees to it.
async fn fail(
    transaction: &mut Transaction<'_, Sqlite>,
    id: OperationId,
    operation: &Operation,
    fault: Fault<'_>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if operation.undoes.is_some() {
        return Ok(());
    }
    let (whose, what) = ((&operation.key, false), operation.digest());
    note_failure(transaction, whose, id, what, fault, now).await
}

/// Notes what a success ends: failures before it, and the wait for a login to be turned off.
async fn succeed(
    transaction: &mut Transaction<'_, Sqlite>,
    operation: &Operation,
) -> Result<(), sqlx::Error> {
    for key in [&operation.key, operation.row()] {
        forget_failure(transaction, key, false).await?;
        if operation.turns_login_off() {
            no_longer_pending(transaction, key).await?;
        }
    }
    Ok(())
}

/// Whose account the answered SCIM resource is, if it is somebody else's.
async fn foreign_owner(
    transaction: &mut Transaction<'_, Sqlite>,
    answer: &Answer,
    operation: &Operation,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT dn FROM accounts WHERE scim_id = ? AND external_id <> ? AND external_id <> ? AND lifecycle <> 'deleted'",
    )
    .bind(answer.scim_id.as_str())
    .bind(operation.key.as_str())
    .bind(operation.formerly.as_ref().map_or("", ExternalId::as_str))
    .fetch_optional(&mut **transaction)
    .await
}

/// Removes somebody else's tombstone that has the answered SCIM resource, which lives again.
async fn drop_tombstone(
    transaction: &mut Transaction<'_, Sqlite>,
    answer: &Answer,
    operation: &Operation,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM accounts WHERE scim_id = ? AND external_id <> ? AND lifecycle = 'deleted'",
    )
    .bind(answer.scim_id.as_str())
    .bind(operation.key.as_str())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Removes the row of an account that is another key's by now, and what was said of that key.
pub(super) async fn forget(
    transaction: &mut Transaction<'_, Sqlite>,
    key: &ExternalId,
) -> Result<(), sqlx::Error> {
    for statement in [
        "DELETE FROM accounts WHERE external_id = ?",
        "DELETE FROM deviations WHERE external_id = ?",
    ] {
        sqlx::query(statement)
            .bind(key.as_str())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Makes the row of an account that the organization does not have any more a tombstone.
async fn entomb(
    transaction: &mut Transaction<'_, Sqlite>,
    operation: &Operation,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE accounts SET lifecycle = 'deleted', since = ? WHERE external_id = ?")
        .bind(now.timestamp_millis())
        .bind(
            operation
                .formerly
                .as_ref()
                .unwrap_or(&operation.key)
                .as_str(),
        )
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

pub(super) async fn store(
    transaction: &mut Transaction<'_, Sqlite>,
    account: &ManagedAccount,
) -> Result<(), sqlx::Error> {
    let (lifecycle, since) = rows::lifecycle_columns(account.lifecycle);
    let absence = account.absence;
    sqlx::query(rows::UPSERT_ACCOUNT)
        .bind(account.key.as_str())
        .bind(account.source.as_str())
        .bind(&account.dn)
        .bind(account.scim_id.as_str())
        .bind(account.account_id.as_ref().map(AccountId::as_str))
        .bind(serde_json::json!(account.profile).to_string())
        .bind(lifecycle)
        .bind(since)
        .bind(absence.map(|absence| absence.since.timestamp_millis()))
        .bind(account.digest().0.as_slice())
        .bind(rows::lookup_value(&account.profile, Attribute::UserName))
        .bind(rows::lookup_value(&account.profile, Attribute::Email))
        .bind(rows::lookup_value(
            &account.profile,
            Attribute::EmployeeNumber,
        ))
        .bind(absence.and_then(|absence| absence.cause).map(Cause::name))
        .bind(absence.map(|absence| absence.pulls))
        .execute(&mut **transaction)
        .await?;
    // The account is now what its source wants.
    if account.is_settled() {
        sqlx::query("DELETE FROM deviations WHERE source = ? AND external_id = ? AND digest = ?")
            .bind(account.source.as_str())
            .bind(account.key.as_str())
            .bind(account.digest().0.as_slice())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
