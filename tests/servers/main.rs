//! Other directory servers than OpenLDAP, as they run: Samba in the place of Active Directory, and 389 Directory
//! Server. The packages they need: tests/install-packages.sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod active_directory;
mod ds389;
mod following;
