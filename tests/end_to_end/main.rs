//! The whole program against a real slapd with TLS and the simulated organization: what it promises, one test a
//! promise. The packages it needs: tests/install-packages.sh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod admin_way;
mod adoption;
mod backup;
mod check;
mod control;
mod daemon;
mod deletion;
mod explain;
mod faults;
mod forecast;
mod guards;
mod history;
mod holds;
mod init;
mod interruption;
mod leaving;
mod life;
mod mapping;
mod metrics;
mod notify;
mod one_person;
mod prune;
mod reconcile;
mod refusals;
mod rehearsal;
mod reports;
mod revert;
mod saved_groups;
mod saved_plans;
mod scale;
mod sources;
