//! The container image, its run without rights, and the manifests of `deploy/`.
//!
//! The image is built by `deploy/container/build.sh` from the program that the tests have. Nothing is skipped: what cannot
//! be had on the machine (root, the packages of `tests/install-packages.sh`) fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod compose;
mod contained;
mod context;
mod image;
mod manifests;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a command to its end, which must be a good one; answers its standard output.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}
