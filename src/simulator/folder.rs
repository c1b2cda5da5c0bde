//! The state folder: its lock and the two keys.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::SimulatorError;

/// A state folder that this process alone uses: the lock lives as long as the value, and the system frees it when
/// the process dies.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder when missing and takes its lock.
    pub(super) fn claim(path: &Path) -> Result<Self, SimulatorError> {
        fs::create_dir_all(path).map_err(unusable(path))?;
        let file = path.join("simulator.lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(unusable(&file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The id only makes the message better; without it the refusal stands.
                let _ = lock.read_to_string(&mut holder);
                let holder = Some(holder.trim().to_owned()).filter(|pid| !pid.is_empty());
                return Err(SimulatorError::InUse {
                    path: path.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(SimulatorError::Folder { path: file, source });
            }
        }
        lock.set_len(0)
            .and_then(|()| write!(lock, "{}", std::process::id()))
            .map_err(unusable(&file))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The path of a file in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The key in the file `name`, made at the first start. A new file appears complete and readable by its owner
    /// alone: it is written beside (a temporary file has mode 0600) and linked in place.
    pub(super) fn key(&self, name: &str) -> Result<String, SimulatorError> {
        let path = self.file(name);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let key = text.trim();
                let usable = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
                return if usable {
                    Ok(key.to_owned())
                } else {
                    Err(SimulatorError::Key { path })
                };
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(SimulatorError::Folder { path, source }),
        }
        // Two version 4 UUIDs are 244 bits from the system's random source.
        let key = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut file = tempfile::NamedTempFile::new_in(&self.path).map_err(unusable(&path))?;
        writeln!(file, "{key}").map_err(unusable(&path))?;
        file.persist_noclobber(&path)
            .map_err(|error| unusable(&path)(error.error))?;
        Ok(key)
    }
}

fn unusable(path: &Path) -> impl Fn(std::io::Error) -> SimulatorError {
    move |source| SimulatorError::Folder {
        path: path.to_owned(),
        source,
    }
}
