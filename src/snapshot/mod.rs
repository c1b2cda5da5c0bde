//! The SQLite database: what the managed accounts looked like, and what was done to them.
//!
//! Floor 4. [`Snapshot`] only reads (a dry run has nothing else); [`Journal`] is the one
//! writer, and holds the lock that makes it so.

mod backup;
mod census;
mod dossier;
mod error;
mod failures;
mod groups;
mod history;
mod holds;
mod journal;
mod lock;
mod outbox;
mod pause;
mod population;
mod prune;
mod reconciled;
mod revert;
mod rows;
mod runs;
mod saved;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::TryStreamExt;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, QueryBuilder, Row, SqliteConnection};

use crate::config::{Job, SourceScope};
use crate::model::{
    Attribute, Cursor, ExternalId, ManagedAccount, Operation, OperationId, ScimId, SourceName,
    Timestamp, fold,
};
use crate::plan::{Deviation, Index};

pub use backup::{BackedUp, BackupError, back_up};
pub use census::{Census, Failing};
pub use dossier::{
    Candidate, Dossier, GivenApproval, Journalled, KeptVerdict, LastPull, Meant, RecordedRun,
};
pub use error::SnapshotError;
pub use failures::{GivenRetry, NotTried, Retried, RetryError};
pub use groups::{EndedGroup, UnansweredGroup};
pub use history::{Allowed, History, Selection, UnreadableWrite, Write, WriteEnd, Written};
pub use holds::{ApproveError, Asked, HeldOperation, OpenHold};
pub use journal::{End, Ended, Failure, Journal, LOOK, Outcome, Pulled, Turn};
pub use lock::{Lock, open_files};
pub use outbox::{Letter, Outbox, Queued, Tried};
pub use pause::{BadReason, Pause, keep_pause, keep_pause_for_later};
pub use prune::{LAST_OPERATIONS, Prune, PruneError, Pruned, Pruning};
pub use revert::trigger as revert_trigger;
pub use runs::{PastDay, PastRun};
pub use saved::AppliedPlan;

use error::Context;
use lock::{Standing, expect_closed, make_private};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The database, for reading.
pub struct Snapshot {
    connection: SqliteConnection,
    path: PathBuf,
}

/// An operation of an earlier run that was sent and whose answer is not known.
#[derive(Clone, Debug)]
pub struct Unanswered {
    /// Its number in the journal.
    pub id: OperationId,
    /// What was sent.
    pub operation: Operation,
}

/// The last time that the daemon did a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastJob {
    /// When it began.
    pub begun: Timestamp,
    /// How often in a row it was begun and did not come to its end, the last time included.
    pub unended: u32,
}

impl Snapshot {
    /// Opens the database for a dry run: nothing is written, and a file that is not there is
    /// not made: it reads as an empty database.
    pub async fn open_for_reading(path: &Path) -> Result<Self, SnapshotError> {
        if !path.exists() {
            return Self::empty(path).await;
        }
        let mut snapshot = Self::look_into(path).await?;
        match snapshot.schema_version().await? {
            None => {
                snapshot.close().await?;
                Self::empty(path).await
            }
            Some(version) if version < newest_migration() => Err(SnapshotError::Older {
                path: path.to_owned(),
            }),
            Some(_) => Ok(snapshot),
        }
    }

    /// Copies the database, as it is at one moment, to a file that is not there yet. Where there
    /// is no database there is nothing to copy.
    pub async fn copy(from: &Path, to: &Path) -> Result<(), SnapshotError> {
        let mut snapshot = Self::open_for_reading(from).await?;
        snapshot.copy_to(to).await?;
        snapshot.close().await
    }

    async fn copy_to(&mut self, to: &Path) -> Result<(), SnapshotError> {
        // SQLite takes an empty file for none, and keeps its mode.
        make_private(to).map_err(|error| SnapshotError::io(to, &error))?;
        // To SQLite the copy is a write like any other.
        sqlx::query("PRAGMA query_only = OFF")
            .execute(&mut self.connection)
            .await
            .at(&self.path)?;
        sqlx::query("VACUUM INTO ?")
            .bind(to.display().to_string())
            .execute(&mut self.connection)
            .await
            .map_err(|error| match SnapshotError::sql(&self.path, &error) {
                damaged @ SnapshotError::Corrupt { .. } => damaged,
                _ => SnapshotError::sql(to, &error),
            })?;
        Ok(())
    }

    /// Opens a database that is there; this connection changes nothing.
    async fn look_into(path: &Path) -> Result<Self, SnapshotError> {
        expect_closed(path)?;
        // Not `read_only`: a reader of a WAL database needs its shared-memory file, which a
        // read-only connection would leave behind. `query_only` forbids every change instead.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .busy_timeout(Duration::from_secs(10))
            .pragma("query_only", "ON");
        let connection = SqliteConnection::connect_with(&options).await.at(path)?;
        Ok(Snapshot {
            connection,
            path: path.to_owned(),
        })
    }

    async fn empty(path: &Path) -> Result<Self, SnapshotError> {
        let options = SqliteConnectOptions::new().in_memory(true);
        let mut connection = SqliteConnection::connect_with(&options).await.at(path)?;
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(|error| SnapshotError::migrate(path, error))?;
        Ok(Snapshot {
            connection,
            path: path.to_owned(),
        })
    }

    /// Opens the database of which the caller has the lock, and tells which file it is.
    async fn open_for_writing(path: &Path) -> Result<(Self, Standing), SnapshotError> {
        let standing = make_private(path)
            .and_then(|file| Standing::of(path, &file))
            .map_err(|error| SnapshotError::io(path, &error))?;
        // Before the journal mode is set, which writes: a database of something else stays as
        // it is.
        let mut seen = Self::look_into(path).await?;
        seen.schema_version().await?;
        seen.close().await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An intent that is recorded before it is sent must outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            // 32 MiB: a page that many operations change, as those of an index, is brought into the file once.
            .pragma("wal_autocheckpoint", "8000")
            // Below the 10 s in which a run ends that is asked to stop.
            .busy_timeout(Duration::from_secs(8));
        let connection = SqliteConnection::connect_with(&options).await.at(path)?;
        let mut snapshot = Snapshot {
            connection,
            path: path.to_owned(),
        };
        standing.check()?;
        MIGRATIONS
            .run(&mut snapshot.connection)
            .await
            .map_err(|error| SnapshotError::migrate(path, error))?;
        snapshot.fill_in().await?;
        Ok((snapshot, standing))
    }

    /// Opens a database to write a word into it. It is neither made nor migrated.
    async fn open_as_it_is(path: &Path) -> Result<Self, SnapshotError> {
        let not_yet = || SnapshotError::NotYet {
            path: path.to_owned(),
        };
        if !path.exists() {
            return Err(not_yet());
        }
        let mut snapshot = Self::look_into(path).await?;
        if snapshot.schema_version().await? != Some(newest_migration()) {
            snapshot.close().await?;
            return Err(not_yet());
        }
        for pragma in ["PRAGMA query_only = OFF", "PRAGMA synchronous = FULL"] {
            sqlx::query(pragma)
                .execute(&mut snapshot.connection)
                .await
                .at(path)?;
        }
        Ok(snapshot)
    }

    /// Fills in what a migration cannot, as SQLite folds ASCII only and knows no digests.
    async fn fill_in(&mut self) -> Result<(), SnapshotError> {
        let query = format!("{} WHERE email IS NULL LIMIT 1000", rows::SELECT_ACCOUNTS);
        loop {
            let rows = sqlx::query(sqlx::AssertSqlSafe(query.as_str()))
                .fetch_all(&mut self.connection)
                .await
                .at(&self.path)?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut transaction = self.connection.begin().await.at(&self.path)?;
            for row in &rows {
                let account = rows::account(row).map_err(|why| {
                    let key = row.try_get(0).unwrap_or_default();
                    unreadable(&self.path, key, &why)
                })?;
                sqlx::query("UPDATE accounts SET user_name = ?, email = ?, employee_number = ?, digest = ? WHERE external_id = ?")
                    .bind(rows::lookup_value(&account.profile, Attribute::UserName))
                    .bind(rows::lookup_value(&account.profile, Attribute::Email))
                    .bind(rows::lookup_value(&account.profile, Attribute::EmployeeNumber))
                    .bind(account.digest().0.as_slice())
                    .bind(account.key.as_str())
                    .execute(&mut *transaction)
                    .await
                    .at(&self.path)?;
            }
            transaction.commit().await.at(&self.path)?;
        }
    }

    /// The newest migration that the database has; `None` for an empty file. A database of
    /// something else, or of a newer version, is an error.
    async fn schema_version(&mut self) -> Result<Option<i64>, SnapshotError> {
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
                .fetch_all(&mut self.connection)
                .await
                .at(&self.path)?;
        if tables.is_empty() {
            return Ok(None);
        }
        if !tables.iter().any(|table| table == "_sqlx_migrations") {
            return Err(SnapshotError::NotOurs {
                path: self.path.clone(),
            });
        }
        let version: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&mut self.connection)
            .await
            .at(&self.path)?;
        match version {
            Some(version) if version > newest_migration() => Err(SnapshotError::Newer {
                path: self.path.clone(),
                theirs: version,
                ours: newest_migration(),
            }),
            version => Ok(version),
        }
    }

    /// Closes the database.
    pub async fn close(self) -> Result<(), SnapshotError> {
        let Snapshot { connection, path } = self;
        connection.close().await.at(&path)
    }

    /// Puts every account's key and digest into the index.
    pub async fn index(&mut self, index: &mut Index) -> Result<(), SnapshotError> {
        let count = self.account_count().await?;
        index.reserve(usize::try_from(count).unwrap_or_default());
        let mut after = String::new();
        loop {
            let rows = sqlx::query(rows::SELECT_INDEX_PAGE)
                .bind(&after)
                .fetch_all(&mut self.connection)
                .await
                .at(&self.path)?;
            let mut last: Option<String> = None;
            for row in &rows {
                let page = rows::index_page(row).map_err(|why| self.row_error(row, &why))?;
                for (key, digest, is_settled) in page.accounts {
                    index.insert(&key, &page.source, digest, is_settled);
                }
                last = last.max(Some(page.last));
            }
            match last {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    /// Puts the key and digest of these people's accounts into the index.
    pub async fn index_of(
        &mut self,
        keys: &HashSet<ExternalId>,
        index: &mut Index,
    ) -> Result<(), SnapshotError> {
        let keys: Vec<&str> = keys.iter().map(ExternalId::as_str).collect();
        let query = format!("{} WHERE external_id", rows::SELECT_INDEX);
        for row in &self.rows_in(&query, &keys).await? {
            let (key, source, digest, is_settled) =
                rows::indexed(row).map_err(|why| self.row_error(row, &why))?;
            index.insert(&key, &source, digest, is_settled);
        }
        Ok(())
    }

    /// The accounts of the people with these keys, in whatever case they are written.
    pub async fn accounts_like(
        &mut self,
        keys: &HashSet<ExternalId>,
    ) -> Result<HashMap<ExternalId, ManagedAccount>, SnapshotError> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let wanted: HashSet<String> = keys.iter().map(|key| fold(key.as_str())).collect();
        let mut like = HashSet::new();
        {
            let mut all = sqlx::query_scalar::<_, String>("SELECT external_id FROM accounts")
                .fetch(&mut self.connection);
            while let Some(key) = all.try_next().await.at(&self.path)? {
                if wanted.contains(&fold(&key)) {
                    like.insert(ExternalId::new(key));
                }
            }
        }
        self.accounts(&like).await
    }

    /// How many accounts are in each state, by its name.
    pub async fn accounts_by_state(&mut self) -> Result<Vec<(String, u64)>, SnapshotError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT lifecycle, sum(count) AS count FROM account_counts WHERE count > 0 GROUP BY lifecycle ORDER BY lifecycle",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        let counts = rows.into_iter();
        Ok(counts
            .map(|(state, count)| (state, count.unsigned_abs()))
            .collect())
    }

    /// How many accounts there are, the deleted ones too.
    pub async fn account_count(&mut self) -> Result<u64, SnapshotError> {
        let count: i64 = sqlx::query_scalar("SELECT coalesce(sum(count), 0) FROM account_counts")
            .fetch_one(&mut self.connection)
            .await
            .at(&self.path)?;
        Ok(count.unsigned_abs())
    }

    /// The keys of the people of a source, of those with an account and of those without.
    pub async fn keys_of(
        &mut self,
        source: &SourceName,
    ) -> Result<HashSet<ExternalId>, SnapshotError> {
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT external_id FROM accounts INDEXED BY accounts_digests WHERE source = ?
             UNION SELECT external_id FROM deviations WHERE source = ?",
        )
        .bind(source.as_str())
        .bind(source.as_str())
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(keys.into_iter().map(ExternalId::new).collect())
    }

    /// How many people a source has, by what its last pull said.
    pub async fn people_of(&mut self, source: &SourceName) -> Result<u64, SnapshotError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT (SELECT coalesce(sum(count), 0) FROM account_counts WHERE source = ?1)
                + coalesce((SELECT sum(CASE WHEN said = '\"gone\"' THEN -1
                        WHEN EXISTS (SELECT 1 FROM accounts INDEXED BY accounts_digests
                            WHERE accounts.external_id = deviations.external_id AND accounts.source = ?1) THEN 0
                        ELSE 1 END)
                    FROM deviations WHERE source = ?1), 0)",
        )
        .bind(source.as_str())
        .fetch_one(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Where the next pull of each source continues.
    pub async fn cursors(&mut self) -> Result<HashMap<SourceName, Cursor>, SnapshotError> {
        let rows = sqlx::query("SELECT source, cookie, fingerprint, full_at, entries FROM cursors")
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| rows::cursor(row).map_err(|why| self.row_error(row, &why)))
            .collect()
    }

    /// When the daemon last began its jobs.
    pub async fn jobs_begun(&mut self) -> Result<BTreeMap<Job, Timestamp>, SnapshotError> {
        let begun = self.last_jobs().await?.into_iter();
        Ok(begun.map(|(job, last)| (job, last.begun)).collect())
    }

    /// What is known of the last time that the daemon did each of its jobs.
    pub async fn last_jobs(&mut self) -> Result<BTreeMap<Job, LastJob>, SnapshotError> {
        let rows: Vec<(String, i64, u32)> =
            sqlx::query_as("SELECT job, begun_at, unended FROM jobs")
                .fetch_all(&mut self.connection)
                .await
                .at(&self.path)?;
        let of_row = |(name, at, unended): (String, i64, u32)| {
            let job = Job::ALL.into_iter().find(|job| job.name() == name)?;
            let begun = Timestamp::from_timestamp_millis(at)?;
            Some((job, LastJob { begun, unended }))
        };
        Ok(rows.into_iter().filter_map(of_row).collect())
    }

    /// Whether the last run that read the sources for all believed whom it did not see to be gone.
    pub async fn last_pull_was_believed(&mut self) -> Result<bool, SnapshotError> {
        let suspended: Option<i64> = sqlx::query_scalar(
            "SELECT coalesce(json_extract(summary, '$.suspended'), 0) FROM runs WHERE finished_at IS NOT NULL
                AND id IN (SELECT run_id FROM pulls) ORDER BY id DESC LIMIT 1",
        )
        .fetch_optional(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(suspended.unwrap_or_default() == 0)
    }

    /// The accounts with this key, e-mail address, user name or DN.
    pub async fn called(&mut self, who: &str) -> Result<Vec<ManagedAccount>, SnapshotError> {
        let query = rows::select_called(who);
        let rows = sqlx::query(sqlx::AssertSqlSafe(query.as_str()))
            .bind(who)
            .bind(fold(who))
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| rows::account(row).map_err(|why| self.row_error(row, &why)))
            .collect()
    }

    /// What decided who is in scope, of each source that has been pulled.
    pub async fn scopes(&mut self) -> Result<BTreeMap<SourceName, SourceScope>, SnapshotError> {
        let rows = sqlx::query("SELECT source, scope FROM scopes")
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| rows::scope(row).map_err(|why| self.row_error(row, &why)))
            .collect()
    }

    /// The keys of all accounts of this source that are not deleted.
    pub async fn accounts_of(
        &mut self,
        source: &SourceName,
    ) -> Result<HashSet<ExternalId>, SnapshotError> {
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT external_id FROM accounts INDEXED BY accounts_digests WHERE source = ?1 AND lifecycle <> 'deleted'
                AND EXISTS (SELECT 1 FROM account_counts WHERE source = ?1 AND lifecycle <> 'deleted' AND count > 0)",
        )
        .bind(source.as_str())
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(keys.into_iter().map(ExternalId::new).collect())
    }

    /// What the last pull of a source said beyond the accounts.
    pub async fn deviations(
        &mut self,
        source: &SourceName,
    ) -> Result<Vec<Deviation>, SnapshotError> {
        let rows = sqlx::query("SELECT external_id, source, said FROM deviations WHERE source = ?")
            .bind(source.as_str())
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| rows::deviation(row).map_err(|why| self.row_error(row, &why)))
            .collect()
    }

    /// The accounts of these people, as far as there are any.
    pub async fn accounts(
        &mut self,
        keys: &HashSet<ExternalId>,
    ) -> Result<HashMap<ExternalId, ManagedAccount>, SnapshotError> {
        let keys: Vec<&str> = keys.iter().map(ExternalId::as_str).collect();
        self.accounts_where("external_id", &keys).await
    }

    /// The accounts that have one of these values, case-folded: of an address, or of the employee
    /// number.
    pub async fn holders(
        &mut self,
        values: &BTreeMap<Attribute, BTreeSet<String>>,
    ) -> Result<HashMap<ExternalId, ManagedAccount>, SnapshotError> {
        let mut holders = HashMap::new();
        for (attribute, values) in values {
            if let Some(column) = rows::lookup_column(*attribute) {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                holders.extend(self.accounts_where(column, &values).await?);
            }
        }
        Ok(holders)
    }

    async fn accounts_where(
        &mut self,
        column: &str,
        values: &[&str],
    ) -> Result<HashMap<ExternalId, ManagedAccount>, SnapshotError> {
        let query = rows::select_accounts_by(column);
        let rows = self.rows_in(&query, values).await?;
        let mut accounts = HashMap::with_capacity(rows.len());
        for row in rows {
            let account = rows::account(&row).map_err(|why| self.row_error(&row, &why))?;
            accounts.insert(account.key.clone(), account);
        }
        Ok(accounts)
    }

    /// The SCIM ids of the managed accounts among these.
    pub async fn managed(&mut self, ids: &[ScimId]) -> Result<HashSet<ScimId>, SnapshotError> {
        let ids: Vec<&str> = ids.iter().map(ScimId::as_str).collect();
        let query = "SELECT scim_id FROM accounts WHERE lifecycle <> 'deleted' AND scim_id";
        let rows = self.rows_in(query, &ids).await?;
        rows.iter()
            .map(|row| Ok(ScimId::new(row.try_get::<String, _>(0).at(&self.path)?)))
            .collect()
    }

    /// The people among these whose account could not be created by an earlier run.
    pub async fn failed_creations(
        &mut self,
        keys: &[&ExternalId],
    ) -> Result<HashSet<ExternalId>, SnapshotError> {
        let query = "SELECT DISTINCT external_id FROM operations INDEXED BY operations_by_person
            WHERE kind = 'create' AND state = 'failed' AND external_id";
        self.keys_in(query, keys).await
    }

    /// The people among these whose account an earlier run was going to create and did not.
    pub async fn attempted_creations(
        &mut self,
        keys: &[&ExternalId],
    ) -> Result<HashSet<ExternalId>, SnapshotError> {
        let query = "SELECT DISTINCT external_id FROM operations INDEXED BY operations_by_person
            WHERE kind = 'create' AND state IN ('left', 'failed') AND external_id";
        self.keys_in(query, keys).await
    }

    /// The people among these whose account has made way for others and has not got its own address since.
    pub async fn parked(
        &mut self,
        keys: &[&ExternalId],
    ) -> Result<HashSet<ExternalId>, SnapshotError> {
        let query = "SELECT external_id FROM operations AS way INDEXED BY operations_by_person
            WHERE state = 'done' AND kind = 'update' AND detail ->> '$.reason.cause' = 'makes_way'
            AND NOT EXISTS (SELECT 1 FROM operations AS later
                WHERE later.external_id = way.external_id AND later.id > way.id AND later.state = 'done')
            AND external_id";
        self.keys_in(query, keys).await
    }

    async fn keys_in(
        &mut self,
        query: &str,
        keys: &[&ExternalId],
    ) -> Result<HashSet<ExternalId>, SnapshotError> {
        let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let rows = self.rows_in(query, &keys).await?;
        rows.iter()
            .map(|row| Ok(ExternalId::new(row.try_get::<String, _>(0).at(&self.path)?)))
            .collect()
    }

    /// The rows for which `query IN (values)`, asked for in portions that SQLite takes.
    async fn rows_in(
        &mut self,
        query: &str,
        values: &[&str],
    ) -> Result<Vec<SqliteRow>, SnapshotError> {
        let mut rows = Vec::new();
        // In the order of the index, so that neighbours are found on one page.
        let mut values = values.to_vec();
        values.sort_unstable();
        for chunk in values.chunks(500) {
            let mut query = QueryBuilder::new(query);
            query.push(" IN (");
            let mut list = query.separated(", ");
            for value in chunk {
                list.push_bind(*value);
            }
            query.push(")");
            rows.extend(
                query
                    .build()
                    .fetch_all(&mut self.connection)
                    .await
                    .at(&self.path)?,
            );
        }
        Ok(rows)
    }

    /// The people whose deletion was sent and never answered, or its cancelling
    /// ([`Operation::leaves_doubt`]), so that it may be under way: no later operation has brought certainty.
    pub async fn doubtful_deletions(&mut self) -> Result<HashSet<ExternalId>, SnapshotError> {
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT external_id FROM (
                SELECT id, external_id FROM operations WHERE kind = 'delete' AND state = 'left' AND sent_at IS NOT NULL
                UNION ALL SELECT operations.id, operations.external_id FROM accounts JOIN operations USING (external_id)
                    WHERE lifecycle = 'delete_pending' AND kind = 'restore' AND state = 'left' AND sent_at IS NOT NULL
                    AND detail ->> '$.cancel_delete' AND detail ->> '$.undoes' IS NULL) AS doubtful
             WHERE NOT EXISTS (SELECT 1 FROM operations AS later
                WHERE later.external_id = doubtful.external_id AND later.id > doubtful.id
                AND later.state = 'done')",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(keys.into_iter().map(ExternalId::new).collect())
    }

    /// When the last run began that got as far as a plan.
    pub async fn last_run(&mut self) -> Result<Option<Timestamp>, SnapshotError> {
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT started_at FROM runs WHERE outcome IN ('done', 'incomplete') ORDER BY id DESC LIMIT 1",
        )
        .fetch_optional(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(last.and_then(Timestamp::from_timestamp_millis))
    }

    /// The operations that were sent and whose answer is not known.
    pub async fn unanswered(&mut self) -> Result<Vec<Unanswered>, SnapshotError> {
        let sent = self
            // In words that the index has, else the whole journal is read.
            .sent("SELECT id, detail FROM operations INDEXED BY operations_unanswered
                    WHERE state IN ('intended', 'sent') AND state = 'sent' AND kind NOT GLOB 'group_*' ORDER BY id")
            .await?;
        Ok(sent
            .into_iter()
            .map(|(id, operation)| Unanswered { id, operation })
            .collect())
    }

    /// The operations of a query for id and detail.
    async fn sent<Detail: DeserializeOwned>(
        &mut self,
        query: &'static str,
    ) -> Result<Vec<(OperationId, Detail)>, SnapshotError> {
        let rows = sqlx::query(query)
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| {
                let id: i64 = row.try_get(0).at(&self.path)?;
                let detail: String = row.try_get(1).at(&self.path)?;
                let operation = serde_json::from_str(&detail).map_err(|error| {
                    unreadable(&self.path, &format!("operation {id}"), &error.to_string())
                })?;
                Ok((OperationId(id), operation))
            })
            .collect()
    }

    fn row_error(&self, row: &SqliteRow, why: &str) -> SnapshotError {
        let key = row.try_get::<String, _>(0).unwrap_or_default();
        unreadable(&self.path, &key, why)
    }
}

fn unreadable(path: &Path, row: &str, why: &str) -> SnapshotError {
    SnapshotError::Unreadable {
        path: path.to_owned(),
        row: row.to_owned(),
        why: why.to_owned(),
    }
}

fn newest_migration() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
