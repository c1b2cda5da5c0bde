//! Rows for spreadsheets (RFC 4180), which neither take a cell for a formula nor a terminal for a command.

use std::io;

use super::sheet::{email, ending, hold_names, undo};
use super::text::printable;
use crate::apply::Applied;
use crate::model::{GroupOrigin, Operation, RunId};
use crate::plan::groups::{GroupPlan, PlannedGroup};
use crate::plan::{Plan, Planned, Undo};

/// Writes rows.
pub(super) fn writer<W: io::Write>(out: W) -> csv::Writer<W> {
    csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out)
}

/// With what a formula begins; those of full width are what East Asian editions take for the same.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A cell of one line that a spreadsheet does not take for a formula, nor a terminal for a command. Where the
/// decimal mark is a comma, a spreadsheet begins a cell after each semicolon, quoted or not.
pub(super) fn cell(text: &str) -> String {
    let text = printable(text).replace('\n', "\\u000a");
    let mut shown = String::with_capacity(text.len() + 1);
    for part in text.split_inclusive(';') {
        let begins = part.trim_start_matches(|c: char| c.is_whitespace() || c == '"');
        shown.push_str(&part[..part.len() - begins.len()]);
        if begins.starts_with(FORMULA) {
            shown.push('\'');
        }
        shown.push_str(begins);
    }
    shown
}

/// The columns of a plan. New ones come last.
const COLUMNS: [&str; 17] = [
    "what",
    "name",
    "email",
    "dn",
    "source",
    "key",
    "account_id",
    "scim_id",
    "attribute",
    "old",
    "new",
    "reason",
    "held_by",
    "approved",
    "carried_over",
    "undo",
    "message",
];

/// A row of a plan.
#[derive(Clone, Default)]
struct Row<'p> {
    what: &'p str,
    name: &'p str,
    email: &'p str,
    dn: String,
    source: String,
    key: &'p str,
    account_id: &'p str,
    scim_id: &'p str,
    attribute: &'p str,
    old: &'p str,
    new: &'p str,
    reason: String,
    held_by: String,
    approved: bool,
    carried_over: bool,
    undo: String,
    message: String,
}

impl Row<'_> {
    fn cells(&self) -> [String; COLUMNS.len()] {
        let word = |is: bool| if is { "true" } else { "false" }.to_owned();
        [
            cell(self.what),
            cell(self.name),
            cell(self.email),
            cell(&self.dn),
            cell(&self.source),
            cell(self.key),
            cell(self.account_id),
            cell(self.scim_id),
            cell(self.attribute),
            cell(self.old),
            cell(self.new),
            cell(&self.reason),
            cell(&self.held_by),
            word(self.approved),
            word(self.carried_over),
            cell(&self.undo),
            cell(&self.message),
        ]
    }
}

/// The plan, each change in a row of its own: of an account by its attribute, of a group by its member. An
/// operation that changes no value has one row, as has whatever failed or is not done. How a run ended comes last.
pub(super) fn plan(plan: &Plan, applied: Option<(RunId, &Applied)>) -> String {
    let mut out = writer(Vec::new());
    // What goes to memory is written, and each row has as many cells as the first.
    let mut write = |cells: [String; COLUMNS.len()]| {
        let _ = out.write_record(cells);
    };
    write(COLUMNS.map(str::to_owned));
    for (at, planned) in plan.operations.iter().enumerate() {
        for row in of_account(plan, planned, plan.carried_over.accounts.contains(&at)) {
            write(row.cells());
        }
    }
    if let Some(groups) = &plan.groups {
        for (at, planned) in groups.operations.iter().enumerate() {
            for row in of_group(plan, planned, plan.carried_over.groups.contains(&at)) {
                write(row.cells());
            }
        }
    }
    let failures = applied.into_iter().flat_map(|(_, applied)| failed(applied));
    for row in failures.chain(not_done(plan)) {
        write(row.cells());
    }
    if let Some((run, applied)) = applied {
        let name = format!("run {run}");
        for message in ending(plan, applied) {
            let row = Row {
                what: "ended",
                name: &name,
                message,
                ..Row::default()
            };
            write(row.cells());
        }
    }
    let out = out.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&out).into_owned()
}

fn of_account<'p>(plan: &'p Plan, planned: &'p Planned, is_left: bool) -> Vec<Row<'p>> {
    let operation: &Operation = &planned.operation;
    let target = operation.target.as_ref();
    let foreseen = plan.forecast.foreseen.get(&operation.key);
    let row = Row {
        what: operation.kind.name(),
        name: operation.label(),
        email: email(operation).unwrap_or_default(),
        dn: operation.dn.clone(),
        source: operation.source.to_string(),
        key: operation.key.as_str(),
        account_id: target
            .and_then(|target| target.account_id.as_ref())
            .map_or("", |id| id.as_str()),
        scim_id: target.map_or("", |target| target.scim_id.as_str()),
        reason: operation.reason.to_string(),
        held_by: match planned.holds.is_empty() {
            true => hold_names(plan, &planned.waits),
            false => hold_names(plan, &planned.holds),
        },
        approved: planned.is_approved(),
        carried_over: is_left,
        undo: undo(&planned.undo).unwrap_or_default(),
        message: foreseen.map(ToString::to_string).unwrap_or_default(),
        ..Row::default()
    };
    let mut rows: Vec<Row<'p>> = operation
        .changes
        .iter()
        .map(|change| Row {
            attribute: &change.attribute,
            old: change.old.as_deref().unwrap_or_default(),
            new: change.new.as_deref().unwrap_or_default(),
            ..row.clone()
        })
        .collect();
    if operation.cancel_delete {
        rows.push(Row {
            attribute: "deletion",
            old: "requested",
            new: "cancelled",
            ..row.clone()
        });
    }
    if rows.is_empty() {
        rows.push(row);
    }
    rows
}

fn of_group<'p>(plan: &'p Plan, planned: &'p PlannedGroup, is_left: bool) -> Vec<Row<'p>> {
    let operation = &planned.operation;
    let all = |value: fn(&GroupOrigin) -> String| {
        let values: Vec<String> = operation.origins.iter().map(value).collect();
        values.join("; ")
    };
    let target = operation.target.as_ref();
    let row = Row {
        what: operation.kind.name(),
        name: &operation.name,
        dn: all(|origin| origin.dn.clone()),
        source: all(|origin| origin.source.to_string()),
        key: operation.key.as_str(),
        scim_id: target.map_or("", |target| target.scim_id.as_str()),
        reason: operation.reason.to_string(),
        held_by: hold_names(plan, &planned.holds),
        carried_over: is_left,
        undo: undo(&Undo::of_group(operation)).unwrap_or_default(),
        ..Row::default()
    };
    let mut rows = Vec::new();
    if let Some(target) = target.filter(|target| target.name != operation.name) {
        rows.push(Row {
            attribute: "name",
            old: &target.name,
            new: &operation.name,
            ..row.clone()
        });
    }
    rows.extend(operation.add.iter().map(|member| Row {
        attribute: "member",
        new: &member.name,
        ..row.clone()
    }));
    rows.extend(operation.remove.iter().map(|member| Row {
        attribute: "member",
        old: &member.name,
        ..row.clone()
    }));
    if rows.is_empty() {
        rows.push(row);
    }
    rows
}

fn failed(applied: &Applied) -> impl Iterator<Item = Row<'_>> {
    let accounts = applied.failed.iter().map(|(operation, error)| Row {
        what: "failed",
        name: operation.label(),
        dn: operation.dn.clone(),
        source: operation.source.to_string(),
        key: operation.key.as_str(),
        reason: operation.kind.to_string(),
        message: error.to_string(),
        ..Row::default()
    });
    let groups = applied.groups.failed.iter().map(|(operation, error)| Row {
        what: "group_failed",
        name: &operation.name,
        key: operation.key.as_str(),
        reason: operation.kind.name().to_owned(),
        message: error.to_string(),
        ..Row::default()
    });
    accounts.chain(groups)
}

fn not_done(plan: &Plan) -> impl Iterator<Item = Row<'_>> {
    let holds = plan.holds.iter().map(|hold| Row {
        what: "hold",
        name: &hold.name,
        message: hold.to_string(),
        ..Row::default()
    });
    let suspensions = plan.suspensions.iter().map(|one| Row {
        what: "suspended",
        source: one.source.to_string(),
        message: one.why.to_string(),
        ..Row::default()
    });
    let refusals = plan.refusals.iter().map(|one| Row {
        what: "refused",
        dn: one.dn.clone(),
        source: one.source.to_string(),
        key: one.key.as_ref().map_or("", |key| key.as_str()),
        message: one.why.to_string(),
        ..Row::default()
    });
    let skipped = plan.skipped.iter().map(|one| Row {
        what: "skipped",
        dn: one.dn.clone(),
        key: one.key.as_ref().map_or("", |key| key.as_str()),
        message: one.why.to_string(),
        ..Row::default()
    });
    let groups = plan.groups.iter().flat_map(of_no_group);
    holds
        .chain(suspensions)
        .chain(refusals)
        .chain(skipped)
        .chain(groups)
}

fn of_no_group(groups: &GroupPlan) -> impl Iterator<Item = Row<'_>> {
    let suspensions = groups.suspensions.iter().map(|one| Row {
        what: "group_suspended",
        name: one.group.as_deref().unwrap_or_default(),
        dn: one.place.to_string(),
        message: one.why.clone(),
        ..Row::default()
    });
    let refusals = groups.refusals.iter().map(|one| Row {
        what: "group_refused",
        dn: one.dn.clone(),
        message: one.why.clone(),
        ..Row::default()
    });
    suspensions.chain(refusals)
}
