//! The one writer: runs, the journal of operations, and the accounts' rows.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{Connection, QueryBuilder, Sqlite, Transaction};

use super::error::Context;
use super::failures::{Fault, count_those_before, note_failure};
use super::lock::{Lock, Standing};
use super::reconciled::keyed_again;
use super::revert::record_undone;
use super::verdicts::{record_ends, record_verdicts};
use super::{Snapshot, SnapshotError, rows};
use crate::config::{Job, SourceScope};
use crate::model::{
    AccountId, Answer, Attribute, Cause, Cursor, Digest, Evidence, ExternalId, Invoker,
    ManagedAccount, Operation, OperationId, RunId, Shutdown, SourceName, Timestamp,
};
use crate::plan::{Deviation, Pulls, Verdict};

/// How often a lock is looked at that is waited for: the system tells nobody when it is let go.
pub const LOOK: Duration = Duration::from_millis(50);

/// How many rows are written by one statement, at most.
const PORTION: usize = 100;

/// What is recorded of the run that was begun last.
#[derive(Clone, Copy, Default)]
pub(super) struct SoFar {
    /// Whether a write of it has succeeded: what fails beside it fails by itself.
    pub(super) has_succeeded: bool,
    /// Whether something of it was sent.
    has_sent: bool,
}

/// The database, for writing.
pub struct Journal {
    snapshot: Snapshot,
    files: [Standing; 2],
    pub(super) so_far: SoFar,
    _lock: Lock,
}

/// How an operation ended that was sent; `Made` is what a success brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End<Made = ()> {
    /// It was done.
    Done(Made),
    /// It failed.
    Failed(Failure),
    /// It has certainly not taken effect and is given up: the next run plans anew.
    Left,
    /// It got no usable answer, as the error says: whether the last request took effect is not known; the
    /// next run reads it back.
    Unknown(String),
    /// Its answer was not waited for, as the run was asked to stop; the next run reads it back.
    Unawaited,
}

/// An operation of an account that was sent, and its end.
#[derive(Clone, Debug)]
pub struct Ended<'a> {
    /// Its number in the journal.
    pub id: OperationId,
    /// The operation.
    pub operation: &'a Operation,
    /// What came of it.
    pub end: End<Answer>,
    /// How that is known.
    pub evidence: Evidence,
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
            so_far: SoFar::default(),
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
            // In words that the index has, else the whole journal is read.
            "UPDATE operations INDEXED BY operations_unanswered SET state = 'left'
                WHERE state IN ('intended', 'sent') AND state = 'intended'",
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
        self.so_far = SoFar::default();
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
                SELECT json(json_group_object(lifecycle, count)) FROM
                    (SELECT lifecycle, sum(count) AS count FROM account_counts WHERE count > 0 GROUP BY lifecycle)))
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
        if operations.len() == 0 {
            return Ok(Vec::new());
        }
        let path = self.path.clone();
        // 16 MiB, from now on only: what is written has a place in each index, and a run that sends nothing needs none.
        sqlx::query("PRAGMA cache_size = -16384")
            .execute(&mut self.snapshot.connection)
            .await
            .at(&path)?;
        let mut transaction = self.begin().await?;
        let mut ids: Vec<OperationId> = Vec::with_capacity(operations.len());
        let mut operations = operations.peekable();
        while operations.peek().is_some() {
            let mut insert = QueryBuilder::new(
                "INSERT INTO operations (run_id, external_id, kind, digest, detail, state, intended_at) ",
            );
            insert.push_values(
                operations.by_ref().take(PORTION),
                |mut row, (key, kind, digest, detail)| {
                    row.push_bind(run.0)
                        .push_bind(key)
                        .push_bind(kind)
                        .push_bind(digest.0.to_vec())
                        .push_bind(detail)
                        .push("'intended'")
                        .push_bind(now.timestamp_millis());
                },
            );
            insert.push(" RETURNING id");
            let mut made: Vec<i64> = insert
                .build_query_scalar()
                .fetch_all(&mut *transaction)
                .await
                .at(&path)?;
            // They are given in the order of the rows, and told in any.
            made.sort_unstable();
            ids.extend(made.into_iter().map(OperationId));
        }
        transaction.commit().await.at(&path)?;
        Ok(ids)
    }

    /// Records how this operation ended, as [`Turn::record`] does.
    pub async fn record(&mut self, ended: &Ended<'_>, now: Timestamp) -> Result<(), SnapshotError> {
        let mut turn = self.turn().await?;
        turn.record(ended, now).await?;
        turn.commit().await
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

/// One write of the journal: the ends of some operations and the beginnings of others, so that the disk is waited for
/// once. All of it is recorded by [`commit`](Self::commit), or nothing.
pub struct Turn<'a> {
    pub(super) transaction: Transaction<'a, Sqlite>,
    pub(super) path: PathBuf,
    pub(super) so_far: SoFar,
    of_journal: &'a mut SoFar,
}

impl Journal {
    /// Begins a write.
    pub async fn turn(&mut self) -> Result<Turn<'_>, SnapshotError> {
        self.check_files()?;
        let Snapshot { connection, path } = &mut self.snapshot;
        Ok(Turn {
            transaction: connection.begin_with("BEGIN IMMEDIATE").await.at(path)?,
            path: path.clone(),
            so_far: self.so_far,
            of_journal: &mut self.so_far,
        })
    }

    /// Whether something of the run that was begun last has been recorded as sent.
    pub fn has_sent(&self) -> bool {
        self.so_far.has_sent
    }
}

impl Turn<'_> {
    /// Records how an operation ended, together with the account's new row. An answer that does not fit the snapshot
    /// is recorded as a failure, with the error that is returned.
    pub async fn record(
        &mut self,
        ended: &Ended<'_>,
        now: Timestamp,
    ) -> Result<Option<String>, SnapshotError> {
        let Ended {
            id,
            operation,
            end,
            evidence,
        } = ended;
        let answer = match end {
            End::Done(answer) => Some(answer),
            _ => None,
        };
        let unfit = match answer {
            Some(answer) => self.unfit(operation, answer).await?,
            None => None,
        };
        let answer = answer.filter(|_| unfit.is_none());
        if let Some(answer) = answer {
            self.succeed(*id, operation, answer, now).await?;
            if self.is_first_success(evidence) {
                self.has_succeeded(*id).await?;
            }
        }
        let failure = match (end, &unfit) {
            (_, Some(error)) => Some((error.as_str(), true)),
            (End::Failed(failure), _) => Some((failure.error.as_str(), failure.is_refusal)),
            (End::Unknown(error), _) => Some((error.as_str(), false)),
            _ => None,
        };
        let Turn {
            transaction,
            path,
            so_far,
            ..
        } = self;
        if let Some((error, is_refusal)) = failure {
            let fault = Fault {
                error,
                is_refusal,
                is_alone: so_far.has_succeeded,
            };
            fail(transaction, *id, operation, fault, now)
                .await
                .at(path)?;
        }
        if matches!(end, End::Failed(failure) if failure.is_gone) {
            entomb(transaction, operation, now).await.at(path)?;
        }
        let state = match end {
            End::Done(_) if answer.is_some() => "done",
            End::Done(_) | End::Failed(_) => "failed",
            End::Left => "left",
            // The next run finds out what became of them.
            End::Unknown(_) | End::Unawaited => "sent",
        };
        let is_answered = matches!(end, End::Done(_) | End::Failed(_));
        let (requests, request_id, settled_at) = kept(evidence, now);
        sqlx::query(
            "UPDATE operations SET state = ?2, sent_at = iif(?2 = 'left', NULL, sent_at), answered_at = ?3, scim_id = ?4,
                error = ?5, requests = coalesce(?6, requests), request_id = coalesce(?7, ?8, request_id),
                settled_at = coalesce(?9, settled_at) WHERE id = ?1",
        )
        .bind(id.0)
        .bind(state)
        .bind(is_answered.then(|| now.timestamp_millis()))
        .bind(answer.map(|answer| answer.scim_id.as_str()))
        .bind(failure.map(|(error, _)| error).filter(|_| is_answered))
        .bind(requests)
        .bind(answer.and_then(|answer| answer.request_id.as_deref()))
        .bind(request_id)
        .bind(settled_at)
        .execute(&mut **transaction)
        .await
        .at(path)?;
        Ok(unfit)
    }

    /// Why this answer does not fit the snapshot.
    async fn unfit(
        &mut self,
        operation: &Operation,
        answer: &Answer,
    ) -> Result<Option<String>, SnapshotError> {
        let owner = foreign_owner(&mut self.transaction, answer, operation);
        let owner = owner.await.at(&self.path)?;
        Ok(owner.map(|owner| {
            format!(
                "the organization answered with the SCIM resource {}, which is already the account of {owner}",
                answer.scim_id
            )
        }))
    }

    /// Brings the account's row, and all that waited for this operation, in line with its success.
    async fn succeed(
        &mut self,
        id: OperationId,
        operation: &Operation,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let Turn {
            transaction, path, ..
        } = self;
        if let Some(formerly) = &operation.formerly {
            forget(transaction, formerly).await.at(path)?;
        }
        if operation.lets_go() {
            forget(transaction, &operation.key).await.at(path)?;
        } else {
            let account = operation.account_after(answer, now);
            store(transaction, &account).await.at(path)?;
        }
        if operation.takes_over() {
            keyed_again(transaction, &answer.scim_id).await.at(path)?;
        }
        record_undone(transaction, path, id, operation).await?;
        succeed(transaction, operation).await.at(path)
    }

    /// Whether a success that is so known is the first of the run: what is read back is one of a run before.
    pub(super) fn is_first_success(&self, evidence: &Evidence) -> bool {
        !self.so_far.has_succeeded && evidence.shows_success()
    }

    /// Notes that this operation was the first of its run to succeed.
    pub(super) async fn has_succeeded(&mut self, id: OperationId) -> Result<(), SnapshotError> {
        self.so_far.has_succeeded = true;
        let counted = count_those_before(&mut self.transaction, id);
        counted.await.at(&self.path)
    }

    /// Records that these operations go out now.
    pub async fn send(
        &mut self,
        ids: impl IntoIterator<Item = OperationId>,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let ids: Vec<i64> = ids.into_iter().map(|id| id.0).collect();
        sqlx::query(
            "UPDATE operations SET state = 'sent', sent_at = ? WHERE id IN (SELECT value FROM json_each(?))",
        )
        .bind(now.timestamp_millis())
        .bind(serde_json::json!(ids).to_string())
        .execute(&mut *self.transaction)
        .await
        .at(&self.path)?;
        self.so_far.has_sent |= !ids.is_empty();
        Ok(())
    }

    /// Gives up operations that were not sent: the next run plans anew.
    pub async fn leave(&mut self, ids: &[OperationId]) -> Result<(), SnapshotError> {
        self.each(ids, "UPDATE operations SET state = 'left' WHERE id = ?")
            .await
    }

    /// Gives up operations that were not sent and that run after run may leave for the next one: of
    /// the same only the last stays in the journal.
    pub async fn carry_over(&mut self, ids: &[OperationId]) -> Result<(), SnapshotError> {
        self.each(
            ids,
            "DELETE FROM operations WHERE state = 'left' AND sent_at IS NULL AND requests IS NULL AND id < ?1
                AND external_id = (SELECT external_id FROM operations WHERE id = ?1)
                AND digest = (SELECT digest FROM operations WHERE id = ?1)",
        )
        .await?;
        self.leave(ids).await
    }

    async fn each(
        &mut self,
        ids: &[OperationId],
        statement: &'static str,
    ) -> Result<(), SnapshotError> {
        for id in ids {
            sqlx::query(statement)
                .bind(id.0)
                .execute(&mut *self.transaction)
                .await
                .at(&self.path)?;
        }
        Ok(())
    }

    /// Makes it last.
    pub async fn commit(self) -> Result<(), SnapshotError> {
        self.transaction.commit().await.at(&self.path)?;
        *self.of_journal = self.so_far;
        Ok(())
    }
}

/// Keeps how it is known what became of an operation.
pub(super) async fn keep_evidence(
    transaction: &mut Transaction<'_, Sqlite>,
    id: OperationId,
    evidence: &Evidence,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let (requests, request_id, settled_at) = kept(evidence, now);
    sqlx::query(
        "UPDATE operations SET requests = coalesce(?2, requests), request_id = coalesce(?3, request_id),
            settled_at = coalesce(?4, settled_at) WHERE id = ?1",
    )
    .bind(id.0)
    .bind(requests)
    .bind(request_id)
    .bind(settled_at)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// What is kept of the evidence: the requests with their answers, the id of the last one that has one, which is the
/// operation's own, and when it was read back.
fn kept(evidence: &Evidence, now: Timestamp) -> (Option<String>, Option<&str>, Option<i64>) {
    match evidence {
        Evidence::Answers(exchanges) => {
            let mut named = exchanges
                .iter()
                .rev()
                .filter_map(|exchange| exchange.request_id.as_deref());
            let requests =
                (!exchanges.is_empty()).then(|| serde_json::json!(exchanges).to_string());
            (requests, named.next(), None)
        }
        Evidence::ReadBack => (None, None, Some(now.timestamp_millis())),
    }
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
    sqlx::query(
        "DELETE FROM failures WHERE external_id IN (?1, ?2) AND NOT is_group;
         DELETE FROM pending_deactivations WHERE ?3 AND external_id IN (?1, ?2)",
    )
    .bind(operation.key.as_str())
    .bind(operation.row().as_str())
    .bind(operation.turns_login_off())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Whose account the answered SCIM resource is, if it is somebody else's. A tombstone of somebody else that has it is
/// removed: the resource lives again.
async fn foreign_owner(
    transaction: &mut Transaction<'_, Sqlite>,
    answer: &Answer,
    operation: &Operation,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "DELETE FROM accounts WHERE scim_id = ?1 AND external_id <> ?2 AND lifecycle = 'deleted';
         SELECT dn FROM accounts WHERE scim_id = ?1 AND external_id <> ?2 AND external_id <> ?3 AND lifecycle <> 'deleted'",
    )
    .bind(answer.scim_id.as_str())
    .bind(operation.key.as_str())
    .bind(operation.formerly.as_ref().map_or("", ExternalId::as_str))
    .fetch_optional(&mut **transaction)
    .await
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
    sqlx::query(rows::STORE_ACCOUNT)
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
        .bind(account.is_settled())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
