//! The simulator against the contract (`atlassian-api.md`, cited as "c" with its section; RFC 7643 and 7644).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod faults;
mod lifecycle;
mod limits;
mod load;
mod resources;
mod spoiled;
mod start;
mod table;
mod world;
