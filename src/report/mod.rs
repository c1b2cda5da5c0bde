//! What people and programs read of a plan and of a run: one model, several forms.
//!
//! Floor 6, without I/O: a form is text made from a [`Plan`](crate::plan::Plan).

mod groups;
mod json;
mod text;

pub use json::{json, summary};
pub use text::{Detail, applied, edit, summary_line, text};

#[cfg(test)]
mod tests;
