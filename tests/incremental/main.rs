//! Pulls of what changed, against a real slapd: they give the plan that a full pull gives, and where they cannot, the
//! source is read in full and that is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod excluded;
mod fallback;
mod random;
mod several;
mod stories;

use support::following::{expect_one_plan, plan};
