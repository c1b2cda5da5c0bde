//! What people and programs read of a plan and of a run: one model, several forms.
//!
//! Floor 6, without I/O: a form is text made from a [`Plan`](crate::plan::Plan), or from a
//! [`Trace`](crate::mapping::Trace) of how an entry is mapped, or from an
//! [`Explanation`](crate::explain::Explanation) of one person. A history alone is written out while it
//! is read, to wherever the caller says.

use serde::{Deserialize, Serialize};

use crate::apply::Applied;
use crate::model::RunId;
use crate::plan::Plan;
use sheet::Sheet;

mod database;
mod explain;
mod groups;
mod history;
mod holds;
mod json;
mod markdown;
mod page;
mod reconcile;
mod saved;
mod sheet;
mod table;
mod text;
mod trace;

pub use database::{backed_up, pruned};
pub use explain::{candidates, explanation, explanation_json, explanation_rows};
pub use history::{
    HISTORY_SCHEMA, HistoryForm, HistorySheet, WriteInWords, no_such_run, pruned_before,
};
pub use holds::{approved, holds, holds_json, retried};
use json::outcome;
pub use json::{json, summary};
pub use reconcile::{reconciled, reconciled_json, reconciled_line, reconciled_summary};
pub use saved::{
    Circumstances, Digested, Expects, SCHEMA, SavedGroup, SavedGroupNote, SavedGroups, SavedNote,
    SavedOperation, SavedPlan, SavedPlanError,
};
use text::way_back;
pub use text::{Detail, applied, edit, message, number, printable, several, summary_line, text};
pub use trace::{Traced, trace_json, trace_text};

/// The form of a report on a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// For people at a terminal.
    Text,
    /// For programs, with nothing in it that a terminal takes for a command; `version` in it tells when a field has changed its meaning.
    #[default]
    Json,
    /// For spreadsheets (RFC 4180), each change in a row.
    Csv,
    /// For a ticket (CommonMark).
    Markdown,
    /// One file for a browser, that needs nothing else.
    Html,
}

impl Form {
    /// Every form.
    pub const ALL: [Form; 5] = [
        Form::Text,
        Form::Json,
        Form::Csv,
        Form::Markdown,
        Form::Html,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Json => "json",
            Form::Csv => "csv",
            Form::Markdown => "markdown",
            Form::Html => "html",
        }
    }

    /// The form with this name.
    pub fn named(name: &str) -> Option<Form> {
        Form::ALL.into_iter().find(|form| form.name() == name)
    }

    /// The form that a file has by the ending of its name.
    pub fn of_ending(ending: &str) -> Option<Form> {
        Some(match ending.to_ascii_lowercase().as_str() {
            "txt" => Form::Text,
            "json" => Form::Json,
            "csv" => Form::Csv,
            "md" | "markdown" => Form::Markdown,
            "html" | "htm" => Form::Html,
            _ => return None,
        })
    }

    /// Its media type (RFC 6838).
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Text => "text/plain; charset=utf-8",
            Form::Json => "application/json",
            Form::Csv => "text/csv; charset=utf-8",
            Form::Markdown => "text/markdown; charset=utf-8",
            Form::Html => "text/html; charset=utf-8",
        }
    }
}

/// The report on a plan in a form.
pub fn planned(plan: &Plan, form: Form, detail: Detail) -> String {
    match form {
        Form::Text => text(plan, detail),
        Form::Json => printable(&format!("{:#}\n", json(plan))),
        Form::Csv => table::plan(plan, None),
        Form::Markdown => markdown::form(&Sheet::of(plan, detail.limit), detail),
        Form::Html => page::form(&Sheet::of(plan, detail.limit), detail),
    }
}

/// How a run ended, and what somebody has to look at, in a line.
pub fn finished_line(plan: &Plan, applied: &Applied) -> String {
    let ended = sheet::ending(plan, applied).swap_remove(0);
    match sheet::to_look_at(plan) {
        None => ended,
        Some(attention) => format!("{}; {attention}.", ended.trim_end_matches('.')),
    }
}

/// The report on a run in a form; `saved` is the saved plan that it was.
pub fn finished(
    run: RunId,
    plan: &Plan,
    applied: &Applied,
    saved: Option<&SavedPlan>,
    (form, detail): (Form, Detail),
) -> String {
    let sheet = || {
        let mut sheet = Sheet::finished(run, plan, applied, detail.limit);
        let saved = saved.map(SavedPlan::title);
        sheet
            .opening
            .extend(saved.map(|title| title.trim_end().to_owned()));
        let way_back = way_back(run, applied);
        sheet
            .closing
            .extend((!way_back.is_empty()).then(|| way_back.trim_end().to_owned()));
        sheet
    };
    match form {
        Form::Text => {
            saved.map(SavedPlan::title).unwrap_or_default()
                + &text(plan, detail)
                + &text::applied(plan, applied, detail)
                + &way_back(run, applied)
        }
        Form::Json => printable(&format!("{:#}\n", outcome(run, plan, applied, saved))),
        Form::Csv => table::plan(plan, Some((run, applied))),
        Form::Markdown => markdown::form(&sheet(), detail),
        Form::Html => page::form(&sheet(), detail),
    }
}

#[cfg(test)]
mod tests;
