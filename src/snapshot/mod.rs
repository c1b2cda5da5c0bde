//! The SQLite database: what the managed accounts looked like, and what was done to them.
//!
//! Floor 4. [`Snapshot`] only reads (a dry run has nothing else); [`Journal`] is the one
//! writer, and holds the lock that makes it so.

mod error;
mod journal;
mod lock;
mod rows;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, QueryBuilder, Row, SqliteConnection};

use crate::model::{Digest, ExternalId, ManagedAccount, Operation, OperationId, ScimId, Timestamp};
use crate::plan::{Index, Population};

pub use error::SnapshotError;
pub use journal::{Answered, Failure, Journal, Outcome};
pub use lock::Lock;

use error::Context;

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
        // To SQLite the copy is a write like any other.
        sqlx::query("PRAGMA query_only = OFF")
            .execute(&mut snapshot.connection)
            .await
            .at(from)?;
        sqlx::query("VACUUM INTO ?")
            .bind(to.display().to_string())
            .execute(&mut snapshot.connection)
            .await
            .at(to)?;
        snapshot.close().await
    }

    /// Opens a database that is there; this connection changes nothing.
    async fn look_into(path: &Path) -> Result<Self, SnapshotError> {
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

    async fn open_for_writing(path: &Path) -> Result<Self, SnapshotError> {
        make_private(path).map_err(|error| SnapshotError::ReadOnly {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
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
            .busy_timeout(Duration::from_secs(10));
        let connection = SqliteConnection::connect_with(&options).await.at(path)?;
        let mut snapshot = Snapshot {
            connection,
            path: path.to_owned(),
        };
        MIGRATIONS
            .run(&mut snapshot.connection)
            .await
            .map_err(|error| SnapshotError::migrate(path, error))?;
        Ok(snapshot)
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

    /// Every account's key and digest.
    pub async fn index(&mut self) -> Result<Index, SnapshotError> {
        let rows = sqlx::query(
            "SELECT external_id, digest, departed_at IS NULL AND lifecycle IN ('active', 'deactivated') FROM accounts",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        let mut index = Index::default();
        for row in rows {
            let key: String = row.try_get(0).at(&self.path)?;
            let digest: Vec<u8> = row.try_get(1).at(&self.path)?;
            let digest = <[u8; 16]>::try_from(digest.as_slice())
                .map_err(|_| self.unreadable(&key, "the digest has not 16 bytes"))?;
            index.insert(
                ExternalId::new(key),
                Digest(digest),
                row.try_get(2).at(&self.path)?,
            );
        }
        Ok(index)
    }

    /// The accounts of these people, as far as there are any.
    pub async fn accounts(
        &mut self,
        keys: &HashSet<ExternalId>,
    ) -> Result<HashMap<ExternalId, ManagedAccount>, SnapshotError> {
        let keys: Vec<&str> = keys.iter().map(ExternalId::as_str).collect();
        let rows = self
            .rows_in(
                &format!("{} WHERE external_id", rows::SELECT_ACCOUNTS),
                &keys,
            )
            .await?;
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
        let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let query = "SELECT DISTINCT external_id FROM operations WHERE kind = 'create' AND state = 'failed' AND external_id";
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

    /// The people whose deletion was sent and never answered, so that it may be under way: no
    /// later operation has brought certainty.
    pub async fn doubtful_deletions(&mut self) -> Result<HashSet<ExternalId>, SnapshotError> {
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT external_id FROM operations AS doubtful
             WHERE kind = 'delete' AND state = 'left' AND sent_at IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM operations AS later
                WHERE later.external_id = doubtful.external_id AND later.id > doubtful.id
                AND later.state = 'done')",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(keys.into_iter().map(ExternalId::new).collect())
    }

    /// How many accounts there are.
    pub async fn population(&mut self) -> Result<Population, SnapshotError> {
        let (active, all): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE lifecycle = 'active'), count(*) FROM accounts WHERE lifecycle <> 'deleted'",
        )
        .fetch_one(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(Population {
            active: active.unsigned_abs(),
            all: all.unsigned_abs(),
        })
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
        let rows =
            sqlx::query("SELECT id, detail FROM operations WHERE state = 'sent' ORDER BY id")
                .fetch_all(&mut self.connection)
                .await
                .at(&self.path)?;
        rows.iter()
            .map(|row| {
                let id: i64 = row.try_get(0).at(&self.path)?;
                let detail: String = row.try_get(1).at(&self.path)?;
                let operation = serde_json::from_str(&detail).map_err(|error| {
                    self.unreadable(&format!("operation {id}"), &error.to_string())
                })?;
                Ok(Unanswered {
                    id: OperationId(id),
                    operation,
                })
            })
            .collect()
    }

    fn row_error(&self, row: &SqliteRow, why: &str) -> SnapshotError {
        let key = row.try_get::<String, _>(0).unwrap_or_default();
        self.unreadable(&key, why)
    }

    fn unreadable(&self, row: &str, why: &str) -> SnapshotError {
        SnapshotError::Unreadable {
            path: self.path.clone(),
            row: row.to_owned(),
            why: why.to_owned(),
        }
    }
}

/// Makes the file, if need be, for its owner's eyes only; SQLite gives the files beside it the
/// same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(|_| ())
}

fn newest_migration() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default()
}
