//! Where a secret is: never in the configuration itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::{OpenFile, expect_private};

/// Where the unit's credentials come from. A command that root gives beside the daemon is passed none by
/// systemd, and takes them from there, so that the same configuration does.
const CREDENTIALS: &str = "/etc/dirsyncd/credentials";

/// The folder with the credentials: the one that systemd has passed and no other, or that of the package if it has
/// passed none. Files in either are believed by the rules of all secret files.
pub fn credentials_folder() -> PathBuf {
    folder_of(passed())
}

fn passed() -> Option<OsString> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty())
}

fn folder_of(passed: Option<OsString>) -> PathBuf {
    passed.map_or_else(|| CREDENTIALS.into(), PathBuf::from)
}

/// Where to read a secret: a file, an environment variable or a systemd credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// A file that holds nothing else; one line end at its end is dropped.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A credential that systemd passes (`LoadCredential=` in systemd.exec(5)).
    Credential(String),
}

/// Why a secret could not be read. Its value is never part of the message.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("cannot read the secret file {}: {source}; put the secret there, or correct its place in the configuration", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others could read or change it.
    #[error(transparent)]
    Open(#[from] OpenFile),
    /// The variable is not set, or not text.
    #[error(
        "the environment variable {0}, which should hold a secret, is not set: set it for dirsyncd, or correct its name in the configuration"
    )]
    Env(String),
    /// No credentials folder was passed, and in that of the package it cannot be read.
    #[error(
        "the systemd credential `{name}` was looked for in {CREDENTIALS}, as CREDENTIALS_DIRECTORY is not set: {source}; add `LoadCredential={name}:FILE` to the unit, put the secret there for commands of root, or use `file = …` outside systemd"
    )]
    NoCredentials {
        /// The credential.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The secret is empty or more than one line.
    #[error("{0} must hold one line with the secret and nothing else")]
    NotOneLine(String),
}

impl SecretRef {
    /// Reads a secret of several lines, such as a private key in PEM, as it is.
    pub fn read_text(&self) -> Result<SecretString, SecretError> {
        let text = match self {
            SecretRef::File(path) => read_file(path)?,
            SecretRef::Env(name) => {
                std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?
            }
            SecretRef::Credential(name) => {
                let passed = passed();
                let is_passed = passed.is_some();
                read_file(&folder_of(passed).join(name)).map_err(|error| match error {
                    SecretError::File { source, .. } if !is_passed => SecretError::NoCredentials {
                        name: name.clone(),
                        source,
                    },
                    error => error,
                })?
            }
        };
        Ok(SecretString::from(text))
    }

    /// Reads the secret, which is one line.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let text = self.read_text()?;
        let text = text.expose_secret();
        let secret = text.strip_suffix('\n').unwrap_or(text);
        let secret = secret.strip_suffix('\r').unwrap_or(secret);
        if secret.is_empty() || secret.contains(['\n', '\r', '\0']) {
            return Err(SecretError::NotOneLine(self.to_string()));
        }
        Ok(SecretString::from(secret))
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let unreadable = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    expect_private("the secret file", path, &metadata)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretRef::File(path) => write!(f, "the file {}", path.display()),
            SecretRef::Env(name) => write!(f, "the environment variable {name}"),
            SecretRef::Credential(name) => {
                let path = credentials_folder().join(name);
                write!(f, "the systemd credential {}", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_one_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (content, secret) in [
            ("s3cret\n", Some("s3cret")),
            ("s3cret", Some("s3cret")),
            ("with space \r\n", Some("with space ")),
            ("", None),
            ("\n", None),
            ("a\nb\n", None),
        ] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let read = SecretRef::File(path.clone()).read();
            assert_eq!(
                read.ok().map(|s| s.expose_secret().to_owned()).as_deref(),
                secret
            );
        }
    }
}
