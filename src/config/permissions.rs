//! Files that other users could read or change: what is in them is not used.
//!
//! The rule is PostgreSQL's for its key files (`ssl_key_file`): a file of the user's own is for that
//! user alone; root may let a group read one of root's, as systemd does with credentials and
//! Kubernetes with secrets. Modes are looked at, not access, so that root is told too; a symbolic
//! link counts as what it leads to.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Uid};

/// A file that others could read or change: which one, and how to mend that.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpenFile(String);

/// Nobody else may read or change a file. `what` names it in the message, such as `the database`.
///
/// # Errors
/// [`OpenFile`] where somebody may.
pub fn expect_private(what: &str, path: &Path, file: &Metadata) -> Result<(), OpenFile> {
    let is_root_s = file.uid() == 0;
    let others = if is_root_s { 0o037 } else { 0o077 };
    if file.mode() & others == 0 {
        return Ok(());
    }
    let (user, name) = (Uid::effective(), path.display());
    let mend = if user.is_root() || file.uid() == user.as_raw() {
        format!("chmod 600 {name}")
    } else if is_root_s {
        format!("chgrp {} {name} && chmod 640 {name}", Gid::effective())
    } else {
        format!("chown {user} {name} && chmod 600 {name}")
    };
    Err(OpenFile(format!(
        "{what} {name} is open to other users (mode {:04o}): run `{mend}`; what is mounted into a container is mounted with the mode 0400",
        file.mode() & 0o7777
    )))
}

/// Nobody else may change a file; everybody may read it.
///
/// # Errors
/// [`OpenFile`] where somebody may.
pub fn expect_guarded(what: &str, path: &Path, file: &Metadata) -> Result<(), OpenFile> {
    if file.mode() & 0o022 == 0 {
        return Ok(());
    }
    let name = path.display();
    Err(OpenFile(format!(
        "{what} {name} may be changed by other users (mode {:04o}): run `chmod go-w {name}`",
        file.mode() & 0o7777
    )))
}
