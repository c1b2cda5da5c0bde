//! A copy of the whole database, as it is at one moment, made while a run may be writing.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::Context;
use super::lock::{LOCKS, PARTS};
use super::{Snapshot, SnapshotError};
use crate::config::PrivateFolder;
use crate::config::beside;
use crate::model::RunId;

/// How the folder begins in which a backup is made, beside the file that it is going to be.
const WORKSHOP: &str = ".dirsyncd-backup-";

/// A backup that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// How many accounts are in it, the deleted ones too.
    pub accounts: u64,
    /// The last run that it knows.
    pub last_run: Option<RunId>,
    /// Its size in bytes.
    pub size: u64,
}

/// Why no backup was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// There is none.
    #[error("there is no database {} yet, and so nothing to back up: the first sync makes it", .0.display())]
    Nothing(PathBuf),
    /// The file is there.
    #[error("{} is there already: name another file, or replace it with --force", .0.display())]
    IsThere(PathBuf),
    /// The file is the database's own.
    #[error("{} belongs to the database itself: name another file", .0.display())]
    Itself(PathBuf),
    /// SQLite would take what stands beside the file for a part of it.
    #[error(
        "{} is there, from another database of that name that is or was open: close what has it open, or remove both", .0.display()
    )]
    Remains(PathBuf),
    /// The file cannot be written.
    #[error("the backup cannot be written to {}: {message}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The copy is not as it should be.
    #[error("the copy of the database is damaged ({0}), and was removed: check disk and memory")]
    Damaged(String),
}

/// Copies the database to a file, for its owner's eyes only: as a whole or not at all, checked and
/// written through to the disk. A file that is there is replaced only if that is asked for. A database
/// of an older schema is copied as it is. Where this is dropped half-way, nothing is left over.
pub async fn back_up(from: &Path, to: &Path, replace: bool) -> Result<BackedUp, BackupError> {
    let unwritable = |error: &io::Error| BackupError::Unwritable {
        path: to.to_owned(),
        message: error.to_string(),
    };
    if !from.exists() {
        return Err(BackupError::Nothing(from.to_owned()));
    }
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if is_own(from, to).map_err(|error| unwritable(&error))? {
        return Err(BackupError::Itself(to.to_owned()));
    }
    // Not `exists`, which a link that leads nowhere does not.
    if !replace && to.symlink_metadata().is_ok() {
        return Err(BackupError::IsThere(to.to_owned()));
    }
    let mut remains = PARTS.into_iter().map(|ending| beside(to, ending));
    if let Some(remains) = remains.find(|path| path.symlink_metadata().is_ok()) {
        return Err(BackupError::Remains(remains));
    }

    let workshop = PrivateFolder::make_in(folder, WORKSHOP).map_err(|error| unwritable(&error))?;
    // A temporary file has the mode 0600, and takes it along.
    let copy =
        tempfile::NamedTempFile::new_in(workshop.path()).map_err(|error| unwritable(&error))?;
    let mut snapshot = Snapshot::look_into(from).await?;
    if snapshot.schema_version().await?.is_none() {
        return Err(BackupError::Nothing(from.to_owned()));
    }
    snapshot
        .copy_to(copy.path())
        .await
        .map_err(|error| match error {
            // The copy has a name of its own until it is whole.
            SnapshotError::Full { path, message } if path == copy.path() => {
                BackupError::Unwritable {
                    path: to.to_owned(),
                    message: format!("its disk is full ({message})"),
                }
            }
            error => error.into(),
        })?;
    snapshot.close().await?;

    let mut written = Snapshot::look_into(copy.path()).await?;
    let backed_up = written.inspect(copy.path()).await;
    written.close().await?;
    let backed_up = backed_up?;
    // SQLite does not wait for the disk with a copy.
    copy.as_file()
        .sync_all()
        .map_err(|error| unwritable(&error))?;
    let kept = match replace {
        true => copy.persist(to),
        false => copy.persist_noclobber(to),
    };
    if let Err(error) = kept {
        return Err(match error.error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::IsThere(to.to_owned()),
            _ => unwritable(&error.error),
        });
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| unwritable(&error))?;
    Ok(backed_up)
}

/// Whether a file is, or would be, the database or one of those beside it, by whatever name: those stand
/// beside the path that is configured, and beside the file where that path leads to one.
fn is_own(database: &Path, file: &Path) -> io::Result<bool> {
    let (target, whither) = (Place::of(file)?, identity(file));
    for path in [database.to_owned(), database.canonicalize()?] {
        for ending in [""].into_iter().chain(PARTS).chain(LOCKS) {
            let own = beside(&path, ending);
            if Place::of(&own)? == target || (whither.is_some() && identity(&own) == whither) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The place of a file that need not be there: its folder, and its name in it.
#[derive(PartialEq, Eq)]
struct Place {
    folder: (u64, u64),
    name: OsString,
}

impl Place {
    fn of(file: &Path) -> io::Result<Self> {
        let name = file.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "that is no name of a file")
        })?;
        let folder = match file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let folder = folder.metadata()?;
        Ok(Place {
            folder: (folder.dev(), folder.ino()),
            name: name.to_owned(),
        })
    }
}

/// Device and inode of the file to which a path leads, if there is one.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = path.metadata().ok()?;
    Some((file.dev(), file.ino()))
}

impl Snapshot {
    /// Looks whether the pages of the database fit together (SQLite's `quick_check`): a run reads few of them, and
    /// meets damage late.
    ///
    /// # Errors
    /// What does not fit; or when it cannot be read.
    pub async fn expect_whole(&mut self) -> Result<(), SnapshotError> {
        let found: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        if found != ["ok"] {
            return Err(SnapshotError::Corrupt {
                path: self.path.clone(),
                message: found.join("; "),
            });
        }
        Ok(())
    }

    /// Checks this copy from end to end, and tells what is in it.
    async fn inspect(&mut self, path: &Path) -> Result<BackedUp, BackupError> {
        let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_all(&mut self.connection)
            .await
            .at(path)?;
        if found != ["ok"] {
            return Err(BackupError::Damaged(found.join("; ")));
        }
        let (last, size): (Option<i64>, i64) = sqlx::query_as(
            "SELECT (SELECT max(id) FROM runs), page_count * page_size FROM pragma_page_count(), pragma_page_size()",
        )
        .fetch_one(&mut self.connection)
        .await
        .at(path)?;
        Ok(BackedUp {
            accounts: self.account_count().await?,
            last_run: last.map(RunId),
            size: size.unsigned_abs(),
        })
    }
}
