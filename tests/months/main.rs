//! Months in the life of a company, day by day: people join, change, swap addresses, are disabled,
//! leave, return and are hired again; groups are made, filled, renamed, merged and deleted; the
//! configuration is edited, files are cut off and the API fails; plans are saved and carried out,
//! what is held is approved or not, runs are reverted. After each run the organization must be as a
//! model allows that knows nothing of the planner, and after each day as it says.
//!
//! `SEEDS=1-20 DAYS=120 cargo test --test months` runs more of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod company;
mod life;
mod model;

use life::Life;

const DELETE_AFTER: i64 = 10;
const RECYCLE_AFTER: i64 = 15;
const GRACE: i64 = 14;
const HOLD_EXPIRY: i64 = 3;
/// So many may lose the login in one run.
const DEACTIVATIONS: usize = 3;
/// So many may be taken out of groups in one run.
const REMOVALS: usize = 4;

/// A range of numbers as `3` or `3-7`.
fn range(text: &str) -> std::ops::RangeInclusive<u64> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    first.parse().unwrap()..=last.parse().unwrap()
}

#[test]
fn months_of_a_company() {
    let seeds = std::env::var("SEEDS").unwrap_or_else(|_| "1-3".to_owned());
    let days: i64 = std::env::var("DAYS").map_or(30, |days| days.parse().unwrap());
    for seed in range(&seeds) {
        let mut life = Life::begin(seed);
        while life.company.day < days {
            life.day();
        }
    }
}
