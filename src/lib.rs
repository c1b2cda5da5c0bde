//! dirsyncd keeps the managed accounts of an Atlassian Cloud organization in step with an LDAP
//! directory. `ARCHITECTURE.md` is the map.

pub mod against;
pub mod apply;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod directory;
pub mod explain;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod fixture;
pub mod mapping;
pub mod model;
pub mod notify;
pub mod org;
pub mod plan;
pub mod pull;
pub mod rehearsal;
pub mod report;
pub mod run;
pub mod simulator;
pub mod snapshot;
