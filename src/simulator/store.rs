//! The database: one SQLite file, its format, and the simulator's clock.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use uuid::Uuid;

use super::addresses::{Domain, Domains, domain_names};
use super::past::{Past, View};
use super::{DEFAULT_DOMAINS, Ids, SimulatorError, accounts, tables};

/// Who the simulated organization is: kept for the life of the folder.
#[derive(Debug, Clone, Default)]
pub(super) struct Identity {
    pub(super) organization: String,
    pub(super) directory: String,
    pub(super) domains: Domains,
}

/// The open database.
pub(super) struct Store {
    /// A pool of one connection: its queue is the lock that puts writes one after the other.
    writer: SqlitePool,
    readers: SqlitePool,
    past: Past,
    identity: Identity,
    /// How far the simulator's clock is ahead of the machine's, in milliseconds.
    ahead: AtomicI64,
    /// When the earliest grace of a delete request may end. Only a hint, never too late: it spares a look into the
    /// database at each request.
    grace_ends: AtomicI64,
}

impl Store {
    /// Opens the database, or makes it with a new organization, of these ids if they are given. `domains` replace the stored ones unless empty.
    pub(super) async fn open(
        path: &Path,
        domains: &[String],
        ids: Option<Ids>,
    ) -> Result<Self, SimulatorError> {
        let domains = domain_names(domains)?;
        let unusable = |source| SimulatorError::Database {
            path: path.to_owned(),
            source,
        };
        // WAL lets lists be read while a write goes on. synchronous=OFF: a crash of this process loses nothing (the
        // pages are with the system), only a power cut could, and after one a rehearsal is simply begun again.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("temp_store", "memory")
            .pragma("cache_size", "-32000")
            .pragma("wal_autocheckpoint", "4000");
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .test_before_acquire(false)
        };
        let writer = pool(1)
            .connect_with(options.clone().create_if_missing(true))
            .await
            .map_err(unusable)?;
        let found: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&writer)
            .await
            .map_err(unusable)?;
        if found > tables::NEWEST {
            return Err(SimulatorError::NewerDatabase {
                path: path.to_owned(),
                found,
                known: tables::NEWEST,
            });
        }
        let identity = prepare(&writer, found, domains, ids)
            .await
            .map_err(unusable)?;
        let readers = pool(4)
            .connect_with(options.read_only(true))
            .await
            .map_err(unusable)?;
        let ahead = fact(&writer, "clock_ahead").await.map_err(unusable)?;
        let ahead = ahead.and_then(|text| text.parse().ok()).unwrap_or(0);
        // Zero makes the first request look.
        Ok(Self {
            writer,
            readers,
            past: Past::default(),
            identity,
            ahead: AtomicI64::new(ahead),
            grace_ends: AtomicI64::new(0),
        })
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where to read outside of a write.
    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Where the reads of SCIM users are done, which a fault can make stale.
    pub(super) async fn view(&self) -> sqlx::Result<View> {
        self.past.view(&self.readers).await
    }

    pub(super) fn past(&self) -> &Past {
        &self.past
    }

    /// Where to write what is one statement, and so a transaction of its own.
    pub(super) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// A transaction for one write request; waits for the writes before it. Dropped without commit, it never was.
    pub(super) async fn write(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Milliseconds since 1970 on the simulator's clock.
    pub(super) fn now(&self) -> i64 {
        Utc::now().timestamp_millis() + self.ahead.load(Ordering::Acquire)
    }

    pub(super) fn seconds_ahead(&self) -> i64 {
        self.ahead.load(Ordering::Acquire) / 1000
    }

    /// Puts the clock forward, also for later starts. Refuses what no calendar can show.
    pub(super) async fn advance(&self, seconds: i64) -> sqlx::Result<bool> {
        let milliseconds = seconds.checked_mul(1000).filter(|by| *by >= 0);
        let to = milliseconds
            .and_then(|by| by.checked_add(self.now()))
            .and_then(DateTime::from_timestamp_millis);
        let (Some(by), Some(_)) = (milliseconds, to) else {
            return Ok(false);
        };
        let mut tx = self.write().await?;
        let ahead = self.ahead.load(Ordering::Acquire) + by;
        set_fact(&mut tx, "clock_ahead", &ahead.to_string()).await?;
        tx.commit().await?;
        self.ahead.store(ahead, Ordering::Release);
        self.settle().await?;
        Ok(true)
    }

    /// Closes the accounts whose grace is over. Called before each request, so that nobody sees one too long.
    pub(super) async fn settle(&self) -> sqlx::Result<()> {
        let now = self.now();
        if now < self.grace_ends.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut tx = self.write().await?;
        let next = accounts::close_expired(&mut tx, now).await?;
        // Before the commit, so that the hint of a delete request that comes next is not overwritten.
        self.grace_ends
            .store(next.unwrap_or(i64::MAX), Ordering::Release);
        tx.commit()
            .await
            .inspect_err(|_| self.grace_ends.store(0, Ordering::Release))
    }

    /// Tells of a delete request whose grace ends at `at`; to be called before its transaction is committed.
    pub(super) fn grace_ends_at(&self, at: i64) {
        self.grace_ends.fetch_min(at, Ordering::AcqRel);
    }

    /// Closes all connections; the last one brings the log into the database file.
    pub(super) async fn close(&self) {
        self.past.forget().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A time as the API writes it.
pub(super) fn rfc3339(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

async fn prepare(
    writer: &SqlitePool,
    found: i64,
    mut domains: Vec<String>,
    ids: Option<Ids>,
) -> sqlx::Result<Identity> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    if found < tables::NEWEST {
        tables::upgrade(&mut tx, found).await?;
    }
    if found == 0 {
        let Ids {
            organization,
            directory,
        } = ids.unwrap_or_else(|| Ids {
            organization: Uuid::new_v4(),
            directory: Uuid::new_v4(),
        });
        for (name, id) in [("organization", organization), ("directory", directory)] {
            set_fact(&mut tx, name, &id.to_string()).await?;
        }
        if domains.is_empty() {
            domains = DEFAULT_DOMAINS.map(str::to_owned).to_vec();
        }
    }
    let known =
        || sqlx::query_as::<_, (String, String)>("SELECT id, name FROM domains ORDER BY seq");
    if !domains.is_empty() {
        // A domain that stays keeps its id.
        let old = known().fetch_all(&mut *tx).await?;
        sqlx::query("DELETE FROM domains").execute(&mut *tx).await?;
        for name in domains {
            let kept = old
                .iter()
                .find(|(_, known)| *known == name)
                .map(|(id, _)| id.clone());
            sqlx::query("INSERT INTO domains (id, name) VALUES (?1, ?2)")
                .bind(kept.unwrap_or_else(|| Uuid::new_v4().to_string()))
                .bind(name)
                .execute(&mut *tx)
                .await?;
        }
    }
    let domains = known().fetch_all(&mut *tx).await?;
    let domains = Domains(
        domains
            .into_iter()
            .map(|(id, name)| Domain { id, name })
            .collect(),
    );
    let organization = fact(&mut *tx, "organization")
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    let directory = fact(&mut *tx, "directory")
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    tx.commit().await?;
    Ok(Identity {
        organization,
        directory,
        domains,
    })
}

async fn fact(
    executor: impl sqlx::Executor<'_, Database = Sqlite>,
    name: &str,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT value FROM facts WHERE name = ?1")
        .bind(name)
        .fetch_optional(executor)
        .await
}

async fn set_fact(db: &mut SqliteConnection, name: &str, value: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO facts VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2")
        .bind(name)
        .bind(value)
        .execute(db)
        .await
        .map(drop)
}
