//! People selected by group: the groups of a real slapd and of its export, and what a scripted server answers in the
//! way of Active Directory. The packages it needs: tests/install-packages.sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../bad_input/refused.rs"]
mod refused;
#[path = "../support/mod.rs"]
mod support;

mod active_directory;
mod flattening;
mod following;
mod life;
mod organization;
mod reconcile;
mod resolving;
mod revert;
mod tree;
