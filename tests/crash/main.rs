//! Killed anywhere, nothing is lost and nothing done twice: the program as a process of its own, ended, stopped or
//! left without disk, database, directory, API or the right time at an exact moment, which `killer.c` counts off.
//!
//! `KILLS=5000 cargo test --test crash` kills it so often.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod backup;
mod faults;
mod killed;
mod prune;
mod stage;
mod trap;
mod upgrade;
mod writer;
