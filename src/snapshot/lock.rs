//! One writer: an advisory lock on a file beside the database.
//!
//! The system drops the lock when its process ends, however it ends, so that a lock after a
//! kill is never stale. What stands in the file is for people to read and decides nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::SnapshotError;
use crate::config::{OpenFile, expect_own, expect_own_file, expect_own_folders};

/// What an open file is called.
const FILE: &str = "the database file";

/// The lock; it is held as long as this lives.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// The lock of the one run that writes.
    pub(super) fn writer(database: &Path) -> Result<Self, SnapshotError> {
        Self::take(database, ".lock", |path, holder| SnapshotError::Locked {
            path,
            holder,
        })
    }

    /// The lock of the one daemon, held between its runs too, when `dirsyncd sync` may write.
    pub fn daemon(database: &Path) -> Result<Self, SnapshotError> {
        Self::take(database, ".daemon.lock", |path, holder| {
            SnapshotError::Served { path, holder }
        })
    }

    /// Whether a run that writes is under way.
    pub fn is_held(database: &Path) -> bool {
        let file = options().open(beside(database, ".lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The process of the daemon that serves the database, as its lock file names it; `None` if none does.
    pub fn of_daemon(database: &Path) -> Option<String> {
        let mut file = options().open(beside(database, ".daemon.lock")).ok()?;
        let is_held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        let mut holder = String::new();
        file.read_to_string(&mut holder).ok()?;
        is_held.then(|| holder.trim().to_owned())
    }

    fn take(
        database: &Path,
        ending: &str,
        held: fn(PathBuf, String) -> SnapshotError,
    ) -> Result<Self, SnapshotError> {
        let path = beside(database, ending);
        let failed = |error: std::io::Error| {
            let words = format!("{}: {error}", path.display());
            SnapshotError::io(database, &std::io::Error::new(error.kind(), words))
        };
        expect_own_folders(&path)?;
        // Whoever may open it may also hold the lock.
        expect_own(FILE, &path)?;
        let mut file = options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        // What was opened may be another one than was there, and is written to below.
        let found = file.metadata().map_err(failed)?;
        expect_own_file(FILE, &path, &found)?;
        if !found.is_file() || found.nlink() > 1 {
            let kind = std::io::ErrorKind::InvalidInput;
            let what = "it is no file, or has another name as well: remove it";
            return Err(failed(std::io::Error::new(kind, what)));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                if holder.trim().is_empty() {
                    holder = "a process that is just starting".to_owned();
                }
                return Err(held(database.to_owned(), holder.trim().to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let holder = format!(
            "process {}, since {}\n",
            std::process::id(),
            chrono::Utc::now().format("%Y-%m-%d %H:%M:%S UTC")
        );
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(holder.as_bytes()))
            .map_err(failed)?;
        Ok(Lock { _file: file })
    }
}

/// Opens a lock file, and neither what a link in its place leads to nor a pipe, for which it would wait.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
    options
}

/// Which file stands at a path. A database that was removed or replaced would take what is written
/// to nowhere, and a new lock file would let another writer in; the system tells of neither.
pub(super) struct Standing {
    path: PathBuf,
    identity: (u64, u64),
}

impl Standing {
    /// The database and the lock file of its writer.
    pub(super) fn files(database: &Path) -> Result<[Self; 2], SnapshotError> {
        let standing = |path: PathBuf| match std::fs::metadata(&path) {
            Ok(file) => Ok(Standing {
                path,
                identity: (file.dev(), file.ino()),
            }),
            Err(_) => Err(SnapshotError::Moved { path }),
        };
        Ok([
            standing(database.to_owned())?,
            standing(beside(database, ".lock"))?,
        ])
    }

    /// It must be the same one still.
    pub(super) fn check(&self) -> Result<(), SnapshotError> {
        let is_same = std::fs::metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        match is_same {
            true => Ok(()),
            false => Err(SnapshotError::Moved {
                path: self.path.clone(),
            }),
        }
    }
}

/// What SQLite has beside a database.
pub(super) const PARTS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What dirsyncd has beside it.
pub(super) const LOCKS: [&str; 2] = [".lock", ".daemon.lock"];

/// Those files of a database that others could read, change or replace, after what can be closed to
/// them was closed. What is not there is made for its owner alone.
pub fn open_files(database: &Path) -> Vec<OpenFile> {
    // Before anything in it is touched.
    if let Err(open) = expect_own_folders(database) {
        return vec![open];
    }
    // Where the database is a link, SQLite has its files beside what it leads to.
    let target = database.read_link().and_then(|_| database.canonicalize());
    let beside_target = target.iter().flat_map(|target| {
        let endings = [""].into_iter().chain(PARTS);
        endings.map(|ending| beside(target, ending))
    });
    let endings = [""].into_iter().chain(PARTS).chain(LOCKS);
    endings
        .map(|ending| beside(database, ending))
        .chain(beside_target)
        .filter_map(|path| expect_own(FILE, &path).err())
        .collect()
}

pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
