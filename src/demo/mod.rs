//! The demo: a made-up company to rehearse with.

pub mod people;

pub use people::{Change, Company};
