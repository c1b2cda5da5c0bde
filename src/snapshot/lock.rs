//! One writer: an advisory lock on a file beside the database.
//!
//! The system drops the lock when its process ends, however it ends, so that a lock after a
//! kill is never stale. What stands in the file is for people to read and decides nothing. It stands beside
//! the file itself, so that a database has one lock by whatever links a path leads to it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use super::{LOOK, SnapshotError};
use crate::config::{
    OpenFile, beside, expect_own, expect_own_file, expect_own_folders, make_own, names_of,
    real_name,
};

/// What an open file is called.
const FILE: &str = "the database file";

/// The lock; it is held as long as this lives.
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// The lock of the one run that writes.
    pub(super) fn writer(database: &Path) -> Result<Self, SnapshotError> {
        Self::take(database, ".lock", |path, holder| SnapshotError::Locked {
            path,
            holder,
        })
    }

    /// The lock of the one run that writes; another process that has it is waited for so long.
    pub(super) async fn writer_within(
        database: &Path,
        patience: Duration,
    ) -> Result<Self, SnapshotError> {
        let deadline = Instant::now() + patience;
        loop {
            match Self::writer(database) {
                Err(SnapshotError::Locked { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(LOOK).await;
                }
                taken => return taken,
            }
        }
    }

    /// The lock of the one daemon, held between its runs too, when `dirsyncd sync` may write.
    pub fn daemon(database: &Path) -> Result<Self, SnapshotError> {
        Self::take(database, ".daemon.lock", |path, holder| {
            SnapshotError::Served { path, holder }
        })
    }

    /// Whether a run that writes is under way.
    pub fn is_held(database: &Path) -> bool {
        let file = options().open(beside(&real_name(database), ".lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The process of the daemon that serves the database, as its lock file names it; `None` if none does.
    pub fn of_daemon(database: &Path) -> Option<String> {
        let mut file = options()
            .open(beside(&real_name(database), ".daemon.lock"))
            .ok()?;
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
        // Before anything is made where a link of another user leads. Whoever may open the lock file may also
        // hold the lock.
        expect_closed(database)?;
        let real = real_name(database);
        if let Ok(found) = std::fs::metadata(&real)
            && found.is_file()
            && found.nlink() > 1
        {
            return Err(SnapshotError::Linked {
                path: real,
                names: found.nlink(),
            });
        }
        let path = beside(&real, ending);
        let failed = |error: io::Error| {
            let words = format!("{}: {error}", path.display());
            SnapshotError::io(database, &io::Error::new(error.kind(), words))
        };
        let odd = |what: &str| failed(io::Error::new(io::ErrorKind::InvalidInput, what));
        let mut file = make_or(&path, options().write(true)).map_err(failed)?;
        // What was opened may be another one than was there, and is written to below.
        let found = file.metadata().map_err(failed)?;
        expect_own_file(FILE, &path, &found)?;
        if !found.is_file() {
            return Err(odd("it is no file: remove it"));
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
        // Not before it is known that nobody has the lock: to remove it would let another writer in.
        if found.nlink() > 1 {
            return Err(odd("it has another name as well: remove it"));
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
        Ok(Lock { file, path })
    }

    /// The lock file that is held.
    pub(super) fn standing(&self) -> Result<Standing, SnapshotError> {
        Standing::of(&self.path, &self.file).map_err(|error| SnapshotError::io(&self.path, &error))
    }
}

/// Makes a file of the database, if need be, for its owner's eyes only; else opens it in this way.
fn make_or(path: &Path, options: &OpenOptions) -> io::Result<File> {
    match make_own(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        made => made,
    }
}

/// Makes the database file, if need be; SQLite gives the files beside it the same mode and owner. Of one that
/// is there, closing it again does not drop the locks that SQLite holds on it.
pub(super) fn make_private(database: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags((OFlag::O_PATH | OFlag::O_NOFOLLOW).bits());
    make_or(&real_name(database), &options)
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
    /// This open file, to which that path leads.
    pub(super) fn of(path: &Path, file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Standing {
            path: path.to_owned(),
            identity: (found.dev(), found.ino()),
        })
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
    // Where the database is a link, it has the files beside what that leads to.
    let mut links = names_of(database);
    let file = links.pop();
    let endings = [""].into_iter().chain(PARTS).chain(LOCKS);
    let files = file
        .iter()
        .flat_map(|file| endings.clone().map(|ending| beside(file, ending)));
    let all = links.iter().cloned().chain(files);
    all.filter_map(|path| expect_own(FILE, &path).err())
        .collect()
}

/// None of those files may be open to others.
pub(super) fn expect_closed(database: &Path) -> Result<(), SnapshotError> {
    let open = open_files(database).into_iter().next();
    open.map_or(Ok(()), |open| Err(open.into()))
}
