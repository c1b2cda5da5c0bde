//! The package of Debian and the unit of systemd, as administrators have them: installed, upgraded, removed and purged in a
//! root folder, and booted there. Needs root; the packages: tests/install-packages.sh, cargo-deb: tests/packaging/setup.sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod boot;
mod package;
mod root;
