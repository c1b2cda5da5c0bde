//! What happens when something is wrong: one error that names the thing and the way out, the documented exit code,
//! and nothing changed. The packages it needs: tests/install-packages.sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod catalogue;
mod configuration;
mod database_file;
mod directory;
mod permissions;
mod reasons;
mod refused;
mod verbs;
