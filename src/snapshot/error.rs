//! Errors of the database, each with the way out.

use std::path::{Path, PathBuf};

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Another process is the writer.
    #[error(
        "another dirsyncd ({holder}) is using the database {}: only one may write; stop it, or wait for its run to end", path.display()
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// The other process, as its lock file names it.
        holder: String,
    },
    /// Another daemon syncs into it.
    #[error(
        "another dirsyncd daemon ({holder}) already serves the database {}: stop that one first, or give this one a database of its own", path.display()
    )]
    Served {
        /// The database.
        path: PathBuf,
        /// The other process, as its lock file names it.
        holder: String,
    },
    /// Made by a newer version.
    #[error(
        "the database {} was made by a newer dirsyncd (schema {theirs}, this one knows {ours}): install that version, or restore the backup from before the upgrade", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        theirs: i64,
        /// The newest schema that this program knows.
        ours: i64,
    },
    /// Made by an older version, and a dry run must not change it.
    #[error(
        "the database {} is of an older dirsyncd; `dirsyncd sync` brings it up to date, a dry run changes nothing", path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
    },
    /// Not there, or made by an older version, where it is neither made nor changed.
    #[error(
        "the database {} is not there yet, or is of an older dirsyncd: start the daemon or run `dirsyncd sync`, which make it or bring it up to date, and try again", path.display()
    )]
    NotYet {
        /// The database.
        path: PathBuf,
    },
    /// An SQLite database of something else.
    #[error(
        "{} is an SQLite database, but not one of dirsyncd: correct `database` in the configuration", path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Damaged, or no SQLite database at all.
    #[error(
        "the database {} is damaged or no SQLite database ({message}): restore a backup or move it away, and run `dirsyncd reconcile --rebuild`", path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
    /// Not writable.
    #[error(
        "the database {} cannot be written ({message}): its folder must be there, and folder and files must belong to the user that runs dirsyncd", path.display()
    )]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// What the system or SQLite said.
        message: String,
    },
    /// Another program has it locked.
    #[error(
        "the database {} is locked by another program ({message}): close what has it open, such as an SQLite shell or a backup, and run again", path.display()
    )]
    Busy {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
    /// Others could read or change one of its files.
    #[error(transparent)]
    Open(#[from] crate::config::OpenFile),
    /// One of its files is no longer the one that was opened.
    #[error(
        "the file {} was removed or replaced while dirsyncd was using it: leave the files of the database alone during a run; put them back, or run again with what is there now", path.display()
    )]
    Moved {
        /// The file.
        path: PathBuf,
    },
    /// It has other names, each with locks of its own.
    #[error(
        "the database {} has {names} names (hard links), and by each another process could write to it unseen: remove the others (`find DIR -samefile {}` shows them), or make them symbolic links", path.display(), path.display()
    )]
    Linked {
        /// The database.
        path: PathBuf,
        /// How many.
        names: u64,
    },
    /// The disk is full.
    #[error("the disk with the database {} is full ({message}): make room and run again", path.display())]
    Full {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
    /// A row that makes no sense.
    #[error("the database {} has a row that cannot be read ({row}): {why}; restore a backup", path.display())]
    Unreadable {
        /// The database.
        path: PathBuf,
        /// The row's key.
        row: String,
        /// What is wrong.
        why: String,
    },
    /// A migration failed.
    #[error("the database {} cannot be brought to the present schema: {why}; restore the backup from before the upgrade, and tell the developers", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// Anything else that SQLite reports.
    #[error("the database {} cannot be used: {message}; check its disk, and if that is well, restore a backup", path.display())]
    Other {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        message: String,
    },
}

impl SnapshotError {
    pub(super) fn migrate(path: &Path, error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                Self::sql(path, &error)
            }
            other => SnapshotError::Migration {
                path: path.to_owned(),
                why: other.to_string(),
            },
        }
    }

    /// Sorts an error of the system with one of the database's files.
    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        let (path, message) = (path.to_owned(), error.to_string());
        match error.kind() {
            std::io::ErrorKind::StorageFull => SnapshotError::Full { path, message },
            _ => SnapshotError::ReadOnly { path, message },
        }
    }

    /// Sorts an error by SQLite's primary result code (sqlite.org, "Result and Error Codes").
    pub(super) fn sql(path: &Path, error: &sqlx::Error) -> Self {
        let path = path.to_owned();
        let message = match error {
            sqlx::Error::Database(error) => error.message().to_owned(),
            other => other.to_string(),
        };
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .and_then(|code| code.parse::<u32>().ok());
        // SQLITE_IOERR_SHMSIZE: the file of the shared memory cannot grow.
        if code == Some(4874) {
            return SnapshotError::Full { path, message };
        }
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => SnapshotError::Busy { path, message },
            Some(8 | 14) => SnapshotError::ReadOnly { path, message },
            Some(11 | 26) => SnapshotError::Corrupt { path, message },
            Some(13) => SnapshotError::Full { path, message },
            _ => SnapshotError::Other { path, message },
        }
    }
}

/// Adds the database's path to an SQL error.
pub(super) trait Context<T> {
    fn at(self, path: &Path) -> Result<T, SnapshotError>;
}

impl<T> Context<T> for Result<T, sqlx::Error> {
    fn at(self, path: &Path) -> Result<T, SnapshotError> {
        self.map_err(|error| SnapshotError::sql(path, &error))
    }
}
