//! What people and programs read of a plan and of a run: one model, several forms.
//!
//! Floor 6, without I/O: a form is text made from a [`Plan`](crate::plan::Plan), or from a
//! [`Trace`](crate::mapping::Trace) of how an entry is mapped, or from an
//! [`Explanation`](crate::explain::Explanation) of one person. A history alone is written out while it
//! is read, to wherever the caller says.

mod database;
mod explain;
mod groups;
mod history;
mod holds;
mod json;
mod reconcile;
mod saved;
mod text;
mod trace;

pub use database::{backed_up, pruned};
pub use explain::{candidates, explanation, explanation_json, explanation_rows};
pub use history::{HISTORY_SCHEMA, HistoryForm, HistorySheet, WriteInWords, pruned_before};
pub use holds::{approved, holds, holds_json, retried};
pub use json::{json, outcome, summary};
pub use reconcile::{reconciled, reconciled_json, reconciled_line, reconciled_summary};
pub use saved::{
    Circumstances, Digested, Expects, SCHEMA, SavedGroup, SavedGroupNote, SavedGroups, SavedNote,
    SavedOperation, SavedPlan, SavedPlanError,
};
pub use text::{Detail, applied, edit, message, number, printable, summary_line, text, way_back};
pub use trace::{Traced, trace_json, trace_text};

#[cfg(test)]
mod tests;
