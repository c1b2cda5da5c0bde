//! How the program reaches a directory: which server it takes, and how it says who it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod discovery;
mod failover;
mod identity;
mod referrals;

use std::path::Path;

/// A value of the configuration.
fn quoted(value: impl std::fmt::Display) -> String {
    format!("{:?}", value.to_string())
}

fn quoted_path(path: &Path) -> String {
    quoted(path.display())
}
