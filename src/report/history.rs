//! What was written to the organization, as text, JSON or CSV: write by write, so that a long history
//! need not be in memory.

use std::collections::HashSet;
use std::fmt::Display;
use std::io;

use serde_json::{Value, json};

use super::table::{cell, writer};
use super::text::{line, number, printable};
use crate::model::{
    Attribute, Change, Exchange, ExternalId, GroupChange, GroupMember, GroupOperation,
    GroupProgress, Invoker, Kind, Operation, Profile, RunId, ScimId, Timestamp,
};
use crate::snapshot::{Allowed, PastRun, UnreadableWrite, Write, WriteEnd, Written};

/// The JSON Schema of a history as JSON.
pub const HISTORY_SCHEMA: &str = include_str!("../../docs/history.schema.json");

/// So many changes and requests of one write are told as text.
const SHOWN: usize = 20;

/// The columns of a history as CSV: a line a changed attribute, and one for a write that changes none. The
/// requests stand in the first line of a write alone, as there may be a thousand of each; all else in
/// every line, so that lines can be filtered and sorted.
const COLUMNS: [&str; 27] = [
    "time",
    "operation",
    "run",
    "trigger",
    "asked_by",
    "sudo_user",
    "approved_by",
    "retried_by",
    "subject",
    "kind",
    "name",
    "mail",
    "key",
    "dn",
    "scim_id",
    "source",
    "reason",
    "attribute",
    "before",
    "after",
    "made",
    "outcome",
    "status",
    "request_id",
    "error",
    "requests",
    "undone_by_run",
];

/// The form of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryForm {
    /// For people.
    Text,
    /// One document, each write in a line of its own.
    Json,
    /// RFC 4180, for spreadsheets: what one would take for a formula has an apostrophe before it.
    Csv,
}

/// A history on its way out.
#[derive(Clone, Copy, Debug)]
pub struct HistorySheet {
    form: HistoryForm,
    is_begun: bool,
}

impl HistorySheet {
    /// Begins a sheet.
    ///
    /// # Errors
    /// When it cannot be written there.
    pub fn begin(form: HistoryForm, out: &mut dyn io::Write) -> io::Result<Self> {
        match form {
            HistoryForm::Text => {}
            HistoryForm::Json => out.write_all(b"{\"version\":1,\"writes\":[")?,
            HistoryForm::Csv => writer(out).write_record(COLUMNS)?,
        }
        Ok(HistorySheet {
            form,
            is_begun: false,
        })
    }

    /// Adds a write, or that one cannot be read.
    ///
    /// # Errors
    /// When it cannot be written there.
    pub fn add(
        &mut self,
        write: Result<&Write, &UnreadableWrite>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        match self.form {
            HistoryForm::Text => {
                let text = write.map_or_else(unreadable_text, text);
                out.write_all(text.as_bytes())?;
            }
            HistoryForm::Json => {
                out.write_all(if self.is_begun { b",\n" } else { b"\n" })?;
                // A string may have as an escape what a terminal takes for a command.
                let json = write.map_or_else(unreadable_json, history_json);
                out.write_all(printable(&json.to_string()).as_bytes())?;
            }
            HistoryForm::Csv => match write {
                Ok(write) => records(write, &mut writer(out))?,
                Err(unreadable) => unreadable_record(unreadable, &mut writer(out))?,
            },
        }
        self.is_begun = true;
        Ok(())
    }

    /// Ends the sheet. `first` is the first run of which the journal has all: of earlier ones there is only
    /// what was needed when it was pruned. JSON has the `run` too, where the sheet is of one.
    ///
    /// # Errors
    /// When it cannot be written there.
    pub fn end(
        self,
        first: Option<RunId>,
        run: Option<&PastRun>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        match self.form {
            HistoryForm::Text => {
                if !self.is_begun {
                    out.write_all(b"No such write is in the journal.\n")?;
                }
                out.write_all(pruned_before(first).as_bytes())?;
            }
            HistoryForm::Json => {
                let first = json!(first);
                let run = run.map(|run| printable(&json!(run).to_string()));
                let run = run.map(|run| format!(",\"run\":{run}"));
                writeln!(
                    out,
                    "\n],\"complete_from_run\":{first}{}}}",
                    run.unwrap_or_default()
                )?;
            }
            HistoryForm::Csv => {}
        }
        out.flush()
    }
}

/// From which run on a history is whole, in a line; nothing where all of it is.
pub fn pruned_before(first: Option<RunId>) -> String {
    first.map_or(String::new(), |first| {
        format!(
            "The journal was pruned: it has all from run {first} on, and of earlier runs only what is needed.\n"
        )
    })
}

/// That the database has no such run, and whether it may have had it; `first` is the one that the journal has all from on.
pub fn no_such_run(run: RunId, first: Option<RunId>) -> String {
    let why = match first.filter(|first| run < *first) {
        Some(first) => format!(" any more: the journal has all from run {first} on"),
        None => String::new(),
    };
    format!("there is no run {run} in the database{why}")
}

/// Whom a write concerns, and what it does, of accounts and groups alike.
struct Subject<'a> {
    is_group: bool,
    kind: &'static str,
    name: &'a str,
    mail: Option<&'a str>,
    key: &'a ExternalId,
    formerly: Option<&'a ExternalId>,
    dns: Vec<&'a str>,
    account_id: Option<&'a str>,
    sources: Vec<&'a str>,
    reason: String,
    /// What was to change.
    changes: Vec<Change>,
    /// What of that was done, of a group of which it is known.
    made: Option<Vec<Change>>,
}

impl<'a> Subject<'a> {
    fn of(write: &'a Write) -> Self {
        match &write.what {
            Written::Account(operation) => Self::account(operation),
            Written::Group(operation, progress) => Self::group(operation, progress.as_deref()),
        }
    }

    fn account(operation: &'a Operation) -> Self {
        let target = operation.target.as_ref();
        let mail = |profile: &'a Profile| profile.get(Attribute::Email);
        Subject {
            is_group: false,
            kind: operation.kind.name(),
            name: operation.label(),
            mail: mail(&operation.after).or_else(|| mail(&operation.before)),
            key: &operation.key,
            formerly: operation.formerly.as_ref(),
            dns: vec![&operation.dn],
            account_id: target
                .and_then(|target| target.account_id.as_ref())
                .map(|id| id.as_str()),
            sources: vec![operation.source.as_str()],
            reason: operation.reason.to_string(),
            changes: account_changes(operation),
            made: None,
        }
    }

    fn group(operation: &'a GroupOperation, progress: Option<&GroupProgress>) -> Self {
        let origins = operation.origins.iter();
        let mut sources: Vec<&str> = origins.clone().map(|one| one.source.as_str()).collect();
        sources.sort_unstable();
        sources.dedup();
        let planned = GroupProgress {
            // What there is once all of it is done.
            scim_id: Some(ScimId::new("")),
            added: operation.add.clone(),
            removed: operation.remove.clone(),
            deleted: Some(ScimId::new("")),
        };
        Subject {
            is_group: true,
            kind: operation.kind.name(),
            name: &operation.name,
            mail: None,
            key: &operation.key,
            formerly: None,
            dns: origins.map(|one| one.dn.as_str()).collect(),
            account_id: None,
            sources,
            reason: operation.reason.to_string(),
            changes: group_changes(operation, &planned),
            made: progress.map(|progress| group_changes(operation, progress)),
        }
    }

    /// What of it was done, to look changes up in; `None` where that is not known of the parts.
    fn made(&self) -> Option<HashSet<&Change>> {
        Some(self.made.as_ref()?.iter().collect())
    }
}

/// A write as a page tells it.
#[derive(Clone, Debug)]
pub struct WriteInWords<'a> {
    /// Whether it is to a group.
    pub is_group: bool,
    /// What was done, by the name of its kind.
    pub kind: &'static str,
    /// The name of the account or of the group.
    pub name: &'a str,
    /// The account's address.
    pub mail: Option<&'a str>,
    /// The key of the person or of the group.
    pub key: &'a ExternalId,
    /// Why.
    pub reason: String,
    /// What was to change.
    pub changes: Vec<Change>,
    /// How it ended, and why so.
    pub outcome: String,
}

impl<'a> WriteInWords<'a> {
    /// The words for this one.
    pub fn of(write: &'a Write) -> Self {
        let subject = Subject::of(write);
        let outcome = outcome(write, Part::of(&subject).as_ref());
        let Subject {
            is_group,
            kind,
            name,
            mail,
            key,
            reason,
            changes,
            ..
        } = subject;
        WriteInWords {
            is_group,
            kind,
            name,
            mail,
            key,
            reason,
            changes,
            outcome,
        }
    }
}

/// What an operation on an account changes there, a deletion that is asked for or cancelled too.
fn account_changes(operation: &Operation) -> Vec<Change> {
    let deletion = |old: Option<&str>, new: Option<&str>| Change {
        attribute: "deletion".to_owned(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
    };
    let cancelled = operation.cancel_delete;
    let cancelled = cancelled.then(|| deletion(Some("requested"), None));
    let requested = operation.kind == Kind::Delete;
    let requested = requested.then(|| deletion(None, Some("requested")));
    let changes = operation.changes.iter().cloned();
    cancelled
        .into_iter()
        .chain(requested)
        .chain(changes)
        .collect()
}

/// What an operation on a group changes, as far as it came.
fn group_changes(operation: &GroupOperation, progress: &GroupProgress) -> Vec<Change> {
    let done = operation.as_done(progress);
    let (is_made, is_gone) = (progress.scim_id.is_some(), progress.deleted.is_some());
    let name = |name: &str| Some(name.to_owned());
    let (old, new) = match operation.kind {
        GroupChange::Create => (None, name(&operation.name).filter(|_| is_made)),
        GroupChange::Rename => (
            name(operation.present_name()).filter(|_| is_gone),
            name(&operation.name).filter(|_| is_made),
        ),
        GroupChange::Delete => (name(operation.present_name()).filter(|_| is_gone), None),
        GroupChange::Adopt | GroupChange::Update => (None, None),
    };
    let renamed = (old.is_some() || new.is_some()).then(|| Change {
        attribute: "name".to_owned(),
        old,
        new,
    });
    let joining = done.joining().map(|member| Change {
        attribute: "member".to_owned(),
        old: None,
        new: Some(member_name(member)),
    });
    let leaves = |name: String| Change {
        attribute: "member".to_owned(),
        old: Some(name),
        new: None,
    };
    // A group that goes takes its members along; in the journal they are SCIM users.
    let along = operation.former.iter().flat_map(|former| &former.members);
    let is_deletion = operation.is_deletion();
    let along = along.filter(|_| is_deletion && is_gone);
    let leaving = done.remove.iter();
    let leaving = leaving.filter(|_| !is_deletion || operation.former.is_none());
    renamed
        .into_iter()
        .chain(joining)
        .chain(leaving.map(|member| leaves(member_name(member))))
        .chain(along.map(|user| leaves(format!("SCIM user {user}"))))
        .collect()
}

fn member_name(member: &GroupMember) -> String {
    match member.id() == member.name {
        true => member.name.clone(),
        false => format!("{} ({})", member.name, member.id()),
    }
}

fn unreadable_text(unreadable: &UnreadableWrite) -> String {
    let UnreadableWrite { id, run, key, why } = unreadable;
    let mut out = String::new();
    let told = format!("run {run}  #{} of {key} cannot be read: {why}", id.0);
    line(&mut out, &told);
    out
}

fn unreadable_json(unreadable: &UnreadableWrite) -> Value {
    let UnreadableWrite { id, run, key, why } = unreadable;
    json!({"operation": id, "run": run, "key": key, "unreadable": why})
}

fn unreadable_record(
    unreadable: &UnreadableWrite,
    out: &mut csv::Writer<&mut dyn io::Write>,
) -> io::Result<()> {
    let UnreadableWrite { id, run, key, why } = unreadable;
    let cells = COLUMNS.map(|column| match column {
        "operation" => id.0.to_string(),
        "run" => run.to_string(),
        "key" => cell(key.as_str()),
        "outcome" => "unreadable".to_owned(),
        "error" => cell(why),
        _ => String::new(),
    });
    out.write_record(cells)?;
    out.flush()
}

/// One write in a short block.
fn text(write: &Write) -> String {
    let mut out = String::new();
    let subject = Subject::of(write);
    let part = Part::of(&subject);
    let Subject {
        name, mail, kind, ..
    } = &subject;
    let mail = mail.map_or(String::new(), |mail| format!(" <{mail}>"));
    line(
        &mut out,
        &format!(
            "{}  run {} ({})  #{} {kind} {name}{mail}: {}",
            second(write.at()),
            write.run,
            asked(write),
            write.id.0,
            outcome(write, part.as_ref())
        ),
    );
    let mut ids = vec![format!("key {}", subject.key)];
    ids.extend(subject.formerly.map(|key| format!("formerly {key}")));
    ids.extend(write.scim_id.iter().map(|id| format!("SCIM id {id}")));
    ids.extend(subject.dns.iter().map(|dn| (*dn).to_owned()));
    line(&mut out, &format!("    {}", ids.join("; ")));
    line(&mut out, &format!("    {}", subject.reason));
    for (word, given) in [
        ("approved", &write.approvals),
        ("let go again", &write.retries),
    ] {
        for Allowed {
            by,
            at,
            reason,
            hold,
        } in given
        {
            let hold = hold.as_ref().map(|hold| format!(" of `{hold}`"));
            let reason = reason.as_ref().map(|reason| format!(": {reason}"));
            line(
                &mut out,
                &format!(
                    "    {word}{} by {} at {}{}",
                    hold.unwrap_or_default(),
                    user(by),
                    second(*at),
                    reason.unwrap_or_default()
                ),
            );
        }
    }
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
    let told = |change: &&Change, mark: &str| {
        format!(
            "{}  {} → {}{mark}",
            change.attribute,
            value(&change.old),
            value(&change.new)
        )
    };
    match part {
        Some(Part { done, undone }) => {
            some(&mut out, &undone, |change| told(change, " [not done]"));
            some(&mut out, &done, |change| told(change, " [done]"));
        }
        None => {
            let changes: Vec<&Change> = subject.changes.iter().collect();
            let is_none = subject.made.as_ref().is_some_and(Vec::is_empty);
            let mark = if is_none { " [not done]" } else { "" };
            some(&mut out, &changes, |change| told(change, mark));
        }
    }
    some(&mut out, &write.exchanges, |exchange| {
        exchange_line(exchange, write)
    });
    if write.exchanges.is_empty()
        && let Some(id) = &write.request_id
    {
        line(&mut out, &format!("    request id {id}"));
    }
    if let Some(run) = write.undone_by {
        line(&mut out, &format!("    undone by run {run}"));
    }
    out
}

/// What of a change of a group was done, and what was not: some of each.
struct Part<'a> {
    done: Vec<&'a Change>,
    undone: Vec<&'a Change>,
}

impl<'a> Part<'a> {
    /// `None` where all was done, or nothing, or it is not known.
    fn of(subject: &'a Subject<'_>) -> Option<Self> {
        let made = subject.made()?;
        let changes = subject.changes.iter();
        let (done, undone): (Vec<_>, Vec<_>) = changes.partition(|change| made.contains(change));
        (!done.is_empty() && !undone.is_empty()).then_some(Part { done, undone })
    }
}

/// The first of these, each in a line.
fn some<T>(out: &mut String, all: &[T], told: impl Fn(&T) -> String) {
    for one in all.iter().take(SHOWN) {
        line(out, &format!("    {}", told(one)));
    }
    if all.len() > SHOWN {
        let more = number((all.len() - SHOWN) as u64);
        line(out, &format!("    … and {more} more (`--format json`)"));
    }
}

fn exchange_line(exchange: &Exchange, write: &Write) -> String {
    let Exchange {
        request,
        status,
        request_id,
        error,
    } = exchange;
    let status = status.map_or("no answer".to_owned(), |status| status.to_string());
    // The failure of the whole tells the same.
    let is_told = |error: &&String| !write.error.as_ref().is_some_and(|all| all.contains(*error));
    let error = error.as_ref().filter(is_told);
    let error = error.map_or(String::new(), |error| format!(": {error}"));
    let id = request_id.as_ref();
    let id = id.map_or(String::new(), |id| format!(" [request id {id}]"));
    format!("{request}  {status}{error}{id}")
}

/// What started the run, and who.
fn asked(write: &Write) -> String {
    match &write.asked_by {
        None => write.trigger.clone(),
        Some(by) => format!("{} by {}", write.trigger, user(by)),
    }
}

fn user(by: &Invoker) -> String {
    match &by.sudo_user {
        None => by.name.clone(),
        Some(sudo_user) => format!("{} (sudo: {sudo_user})", by.name),
    }
}

fn outcome(write: &Write, part: Option<&Part<'_>>) -> String {
    let read_back = write.settled_at;
    let read_back = read_back.map_or(String::new(), |at| format!(" at {}", second(at)));
    let is_deletion = match &write.what {
        Written::Account(operation) => operation.kind == Kind::Delete,
        Written::Group(..) => false,
    };
    let part = part.map(|part| {
        let (done, all) = (part.done.len(), part.done.len() + part.undone.len());
        format!(
            "done in part ({} of {} changes)",
            number(done as u64),
            number(all as u64)
        )
    });
    let so_far = part
        .as_ref()
        .map_or(String::new(), |part| format!(", {part}"));
    match write.end {
        WriteEnd::Intended => "not sent yet".to_owned(),
        WriteEnd::Unanswered => format!("sent{so_far}, and not answered yet"),
        WriteEnd::Done => "done".to_owned(),
        WriteEnd::SettledDone => format!("no answer; done, as was read back{read_back}"),
        WriteEnd::SettledUndone if is_deletion => {
            format!("no answer; reading{read_back} cannot show whether the deletion is under way")
        }
        WriteEnd::SettledUndone => {
            let end = part.unwrap_or_else(|| "not done".to_owned());
            format!("no answer; {end}, as was read back{read_back}")
        }
        WriteEnd::Left => match part {
            Some(part) => format!("{part}; the rest is left for a later run"),
            None => "left for a later run".to_owned(),
        },
        WriteEnd::Failed => {
            let error = write.error.as_deref().unwrap_or("no reason was kept");
            format!("failed{so_far}: {error}")
        }
    }
}

/// One write for programs.
fn history_json(write: &Write) -> Value {
    let subject = Subject::of(write);
    let (before, after) = match &write.what {
        Written::Account(operation) => (profile(&operation.before), profile(&operation.after)),
        Written::Group(..) => (Value::Null, Value::Null),
    };
    let allowed = |given: &[Allowed]| -> Vec<Value> {
        let each = given.iter();
        each.map(
            |one| json!({ "by": one.by, "at": one.at, "reason": one.reason, "hold": one.hold }),
        )
        .collect()
    };
    let last = write.exchanges.last();
    json!({
        "operation": write.id.0,
        "time": write.at(),
        "run": write.run,
        "trigger": write.trigger,
        "asked_by": write.asked_by,
        "approvals": allowed(&write.approvals),
        "retries": allowed(&write.retries),
        "subject": if subject.is_group { "group" } else { "account" },
        "kind": subject.kind,
        "name": subject.name,
        "mail": subject.mail,
        "key": subject.key,
        "formerly": subject.formerly,
        "dns": subject.dns,
        "scim_id": write.scim_id,
        "account_id": subject.account_id,
        "sources": subject.sources,
        "reason": subject.reason,
        "changes": subject.changes,
        "made": subject.made,
        "before": before,
        "after": after,
        "outcome": write.end.name(),
        "intended_at": write.intended_at,
        "sent_at": write.sent_at,
        "answered_at": write.answered_at,
        "settled_at": write.settled_at,
        "status": last.and_then(|last| last.status),
        "request_id": write.request_id,
        "error": write.error,
        "requests": write.exchanges,
        "undone_by_run": write.undone_by,
    })
}

/// The values that are the organization's business.
fn profile(profile: &Profile) -> Value {
    let values = profile.iter();
    let values = values.filter(|(attribute, _)| !attribute.is_local());
    values
        .map(|(attribute, value)| (attribute.name().to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Writes the lines of a write as CSV, one after another: a group may have 100,000 of them.
fn records(write: &Write, out: &mut csv::Writer<&mut dyn io::Write>) -> io::Result<()> {
    let subject = Subject::of(write);
    let made = subject.made();
    let asked_by = write.asked_by.as_ref();
    let users = |given: &[Allowed]| {
        let users: Vec<String> = given.iter().map(|one| user(&one.by)).collect();
        users.join("; ")
    };
    let last = write.exchanges.last();
    let error = write.error.as_ref();
    let error = error.or_else(|| last.and_then(|last| last.error.as_ref()));
    let requests: Vec<String> = write
        .exchanges
        .iter()
        .map(|one| exchange_line(one, write))
        .collect();
    let requests = requests.join("; ");
    let mut record = |change: Option<&Change>, requests: &str| -> io::Result<()> {
        let made = change.and_then(|change| Some(made.as_ref()?.contains(change)));
        let cells: [String; COLUMNS.len()] = [
            write
                .at()
                .to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            write.id.0.to_string(),
            write.run.to_string(),
            write.trigger.clone(),
            text_of(asked_by.map(|by| &by.name)),
            text_of(asked_by.and_then(|by| by.sudo_user.as_ref())),
            users(&write.approvals),
            users(&write.retries),
            if subject.is_group { "group" } else { "account" }.to_owned(),
            subject.kind.to_owned(),
            subject.name.to_owned(),
            text_of(subject.mail),
            subject.key.to_string(),
            subject.dns.join("; "),
            text_of(write.scim_id.as_ref()),
            subject.sources.join("; "),
            subject.reason.clone(),
            text_of(change.map(|change| &change.attribute)),
            text_of(change.and_then(|change| change.old.as_ref())),
            text_of(change.and_then(|change| change.new.as_ref())),
            text_of(made.map(|made| if made { "yes" } else { "no" })),
            write.end.name().to_owned(),
            text_of(last.and_then(|last| last.status)),
            text_of(write.request_id.as_ref()),
            text_of(error),
            requests.to_owned(),
            text_of(write.undone_by),
        ];
        out.write_record(cells.iter().map(|text| cell(text)))?;
        Ok(())
    };
    let mut changes = subject.changes.iter();
    record(changes.next(), &requests)?;
    changes.try_for_each(|change| record(Some(change), ""))?;
    out.flush()
}

fn text_of(value: Option<impl Display>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn second(moment: Timestamp) -> impl Display {
    moment.format("%Y-%m-%d %H:%M:%S UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_with_a_formula_wherever_a_spreadsheet_begins_one() {
        for (text, shown) in [
            ("=1+1", "'=1+1"),
            (" +49 30 1", " '+49 30 1"),
            ("x;=1+1", "x;'=1+1"),
            ("x; \u{a0}@SUM(A1);-2;", "x; \u{a0}'@SUM(A1);'-2;"),
            // The quotes that a spreadsheet takes off.
            ("x;\"\"=1", "x;\"\"'=1"),
            ("a-b; c=d, e@f", "a-b; c=d, e@f"),
            ("", ""),
            ("a\n=b", "a\\u000a=b"),
            // Of full width, which some spreadsheets take for the ASCII ones.
            ("＝1+1", "'＝1+1"),
            ("＋49;－2; ＠SUM(A1)", "'＋49;'－2; '＠SUM(A1)"),
            ("a＝b", "a＝b"),
        ] {
            assert_eq!(cell(text), shown, "{text:?}");
        }
    }
}
