//! What people and programs read of a plan and of a run: one model, several forms.
//!
//! Floor 6, without I/O: a form is text made from a [`Plan`](crate::plan::Plan).

mod json;
mod saved;
mod text;

pub use json::{json, outcome, summary};
pub use saved::{
    Circumstances, Digested, Expects, SCHEMA, SavedNote, SavedOperation, SavedPlan, SavedPlanError,
};
pub use text::{Detail, applied, summary_line, text};

#[cfg(test)]
mod tests;
