//! The runs, and what was written to the organization.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::super::api::look;
use super::super::{App, Kind, Problem};
use super::html::{Page, Place, link, moment, moment_from, name, person, prose, table};
use super::overview::runs_table;
use super::plan::{badge, changes, kind_badge};
use super::{Asked, NoPage, Visitor};
use crate::model::{self, ExternalId, GroupChange, OperationId, RunId, Timestamp, Who};
use crate::report::{WriteInWords, no_such_run, number, pruned_before, several};
use crate::snapshot::{
    Candidate, Meant, PastRun, Selection, Snapshot, SnapshotError, UnreadableWrite, Write, WriteEnd,
};

/// How many stand on a page.
const ROWS: u32 = 50;

/// So many writes are counted.
const COUNTED: u32 = 10_000;

/// How a run ended.
pub(super) fn outcome(run: &PastRun) -> Markup {
    match run.outcome.as_deref() {
        Some(outcome @ "done") => badge("good", outcome),
        Some(outcome @ "incomplete") => badge("warn", outcome),
        Some(outcome) => badge("bad", outcome),
        None => badge("plain", "not ended"),
    }
}

/// What has started a run, and who.
pub(super) fn started_by(run: &PastRun) -> Markup {
    html! {
        (run.trigger)
        @if let Some(by) = &run.asked_by {
            " by " (name(&by.name))
            @if let Some(sudo) = &by.sudo_user { " (sudo: " (name(sudo)) ")" }
        }
    }
}

pub(super) async fn runs(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    query: Query<HashMap<String, String>>,
) -> Result<Response, NoPage> {
    let before: Option<i64> = Asked::of(query).number("before")?;
    let now = chrono::Utc::now();
    let runs = look(&app, async move |snapshot| {
        snapshot.last_runs(before.map(RunId), ROWS + 1).await
    });
    let mut runs = runs.await?;
    let has_more = runs.len() > ROWS as usize;
    runs.truncate(ROWS as usize);
    let last = runs.last().map(|run| run.run.to_string());
    let body = html! {
        @if runs.is_empty() { p { "No run." } } @else { (runs_table("Runs, the newest first", &runs, now)) }
        (further("/runs", &[], before.is_some(), last.filter(|_| has_more)))
    };
    let page = Page::of(Some(&visitor), Place::Runs, "Runs", body);
    Ok(page.response(StatusCode::OK))
}

/// The ways on through a list that is the newest first.
fn further(path: &str, query: &[(&str, &str)], is_older: bool, last: Option<String>) -> Markup {
    html! {
        @if is_older || last.is_some() {
            nav.pages aria-label="Pages of the list" {
                @if is_older { a href=(link(path, query)) { "Newest" } }
                @if let Some(last) = last {
                    @let older: Vec<(&str, &str)> = query.iter().copied().chain([("before", last.as_str())]).collect();
                    a rel="next" href=(link(path, &older)) { "Older" }
                }
            }
        }
    }
}

/// What a page of a history shows.
struct Found {
    writes: Vec<Result<Write, UnreadableWrite>>,
    /// One more than [`COUNTED`] of more.
    total: u64,
    has_more: bool,
}

impl Found {
    /// The newest writes of a selection, of those before this one.
    async fn of(
        snapshot: &mut Snapshot,
        mut selection: Selection,
        before: Option<i64>,
    ) -> Result<Self, SnapshotError> {
        let total = snapshot.count_writes(&selection, COUNTED + 1).await?;
        selection.before = before.map(OperationId);
        selection.newest = Some(ROWS + 1);
        let mut history = snapshot.history(selection).await?;
        let mut writes = Vec::new();
        loop {
            let page = snapshot.next_writes(&mut history).await?;
            if page.is_empty() {
                break;
            }
            writes.extend(page);
        }
        writes.reverse();
        let has_more = writes.len() > ROWS as usize;
        writes.truncate(ROWS as usize);
        Ok(Found {
            writes,
            total,
            has_more,
        })
    }

    fn shown(&self, path: &str, query: &[(&str, &str)], before: Option<i64>) -> Markup {
        let id = |write: &Result<Write, UnreadableWrite>| match write {
            Ok(write) => write.id,
            Err(unreadable) => unreadable.id,
        };
        let last = self.writes.last().map(|write| id(write).0.to_string());
        let ways = further(
            path,
            query,
            before.is_some(),
            last.filter(|_| self.has_more),
        );
        html! {
            p {
                @if self.total > COUNTED.into() { "More than " (number(COUNTED.into())) " writes" }
                @else { (several(self.total, "write", "writes")) }
                ", the newest first."
            }
            @if !self.writes.is_empty() {
                (writes_table(&self.writes))
                (ways)
            }
        }
    }
}

fn writes_table(writes: &[Result<Write, UnreadableWrite>]) -> Markup {
    let rows = writes.iter().map(|write| {
        let write = match write {
            Ok(write) => write,
            Err(unreadable) => return unreadable_row(unreadable),
        };
        let WriteInWords {
            is_group,
            kind,
            name: called,
            mail,
            key,
            reason,
            changes: made,
            outcome,
        } = WriteInWords::of(write);
        let class = match write.end {
            WriteEnd::Done | WriteEnd::SettledDone => "good",
            WriteEnd::Failed | WriteEnd::SettledUndone => "bad",
            WriteEnd::Unanswered => "warn",
            WriteEnd::Intended | WriteEnd::Left => "plain",
        };
        let is_long = write.end != WriteEnd::Done;
        vec![
            html! {
                (moment(write.at()))
                br; (place_of(write.id, write.run))
            },
            kind_badge(kind),
            html! {
                @if is_group { (name(called)) } @else { (person(key.as_str(), called)) }
                @if let Some(mail) = mail { br; (name(mail)) }
            },
            changes(&made),
            html! {
                (badge(class, write.end.name().replace('_', " ").as_str()))
                @if is_long { " " (prose(outcome.strip_prefix("failed: ").unwrap_or(&outcome))) }
                br; span.dn { (reason) }
                @for allowed in &write.approvals {
                    br; span.dn { "approved by " (name(&allowed.by.name)) }
                }
                @if let Some(run) = write.undone_by {
                    br; span.dn { "undone by " a href=(format!("/runs/{run}")) { "run " (run) } }
                }
            },
        ]
    });
    table(
        "What was written to the organization",
        &["When", "What", "Whom", "Changes", "Outcome"],
        rows,
    )
}

/// Where a write stands in the journal.
fn place_of(id: OperationId, run: RunId) -> Markup {
    html! { span.dn { "#" (id.0) ", " a href=(format!("/runs/{run}")) { "run " (run) } } }
}

fn unreadable_row(unreadable: &UnreadableWrite) -> Vec<Markup> {
    let UnreadableWrite { id, run, key, why } = unreadable;
    vec![
        place_of(*id, *run),
        html! {},
        name(key.as_str()),
        html! {},
        html! { (badge("bad", "cannot be read")) " " (prose(why)) },
    ]
}

pub(super) async fn run(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(run): Path<String>,
    query: Query<HashMap<String, String>>,
) -> Result<Response, NoPage> {
    let before: Option<i64> = Asked::of(query).number("before")?;
    let now = chrono::Utc::now();
    let wanted = run.parse().map(RunId).map_err(|_| {
        let detail = format!("there is no run {run} in the database: runs have numbers");
        Problem::new(Kind::NotFound, detail)
    })?;
    let seen = look(&app, async move |snapshot| {
        let Some(run) = snapshot.past_run(wanted).await? else {
            let pruning = snapshot.pruning().await?;
            return Ok(Err(pruning.map(|pruning| pruning.first_run)));
        };
        let selection = Selection {
            run: Some(wanted),
            ..Selection::default()
        };
        Ok(Ok((run, Found::of(snapshot, selection, before).await?)))
    });
    let (run, found) = match seen.await? {
        Ok(found) => found,
        Err(first) => {
            let detail = no_such_run(wanted, first);
            return Err(Problem::new(Kind::NotFound, detail).into());
        }
    };
    let path = format!("/runs/{}", run.run);
    let body = html! {
        dl.facts {
            div { dt { "Outcome" } dd { (outcome(&run)) } }
            div { dt { "Started by" } dd { (started_by(&run)) } }
            div { dt { "Began" } dd { (moment_from(run.began, now)) } }
            @if let Some(ended) = run.ended {
                div { dt { "Took" } dd { (took(run.began, ended)) } }
            }
            div { dt { "Version" } dd { (run.version) } }
            @for (title, count) in figures(&run) {
                div { dt { (title) } dd { (number(count)) } }
            }
        }
        @if let Some(error) = &run.error { div.note.bad { p.lines { (prose(error)) } } }
        @if let Some(ended) = ended_by(&run) { div.note.warn { p.lines { "It ended early: " (prose(ended)) } } }
        section aria-labelledby="writes" {
            h2 #writes { "What it has written" }
            (found.shown(&path, &[], before))
        }
        @if found.total > 0 {
            p { "To undo it: " (super::html::command(&format!("dirsyncd revert {}", run.run))) }
        }
    };
    let title = format!("Run {}", run.run);
    let page = Page::of(Some(&visitor), Place::Runs, &title, body);
    Ok(page.response(StatusCode::OK))
}

fn took(began: Timestamp, ended: Timestamp) -> String {
    let took = (ended - began).to_std().unwrap_or_default();
    let whole = std::time::Duration::from_millis(took.as_millis() as u64 / 100 * 100);
    humantime::format_duration(whole).to_string()
}

/// The figures of a run that are not nothing.
fn figures(run: &PastRun) -> Vec<(&'static str, u64)> {
    let Some(summary) = &run.summary else {
        return Vec::new();
    };
    let named = [
        ("/applied/done", "Accounts: done"),
        ("/applied/failed", "Accounts: failed"),
        ("/applied/left", "Accounts: left"),
        ("/groups/applied/done", "Groups: done"),
        ("/groups/applied/failed", "Groups: failed"),
        ("/groups/applied/left", "Groups: left"),
        ("/held", "Held"),
        ("/refused", "Refused"),
        ("/quarantined", "In quarantine"),
        ("/skipped", "Skipped"),
        ("/unchanged", "Unchanged"),
        ("/accounts/active", "Active accounts after it"),
    ];
    let figure = |path: &str| summary.pointer(path).and_then(serde_json::Value::as_u64);
    let all = named.into_iter();
    all.filter_map(|(path, title)| Some((title, figure(path).filter(|count| *count > 0)?)))
        .collect()
}

fn ended_by(run: &PastRun) -> Option<&str> {
    let summary = run.summary.as_ref()?;
    summary.pointer("/applied/ended_by")?.as_str()
}

/// Whom a search is for.
enum Whom {
    /// All.
    All,
    /// These keys; and whether they are groups'.
    These(BTreeSet<(ExternalId, bool)>),
    /// Nobody of that name; these are near.
    Nobody(Vec<Candidate>),
}

/// Who is called so; a group, where nobody is. They are looked for among those whom the database knows, and by the key,
/// and not in all that was ever written.
async fn whom(snapshot: &mut Snapshot, who: &str) -> Result<Whom, SnapshotError> {
    if who.is_empty() {
        return Ok(Whom::All);
    }
    let near = match snapshot.meant(who).await? {
        Meant::One(one) => {
            let Some(key) = one.key else {
                return Ok(Whom::Nobody(vec![one]));
            };
            let mut keys = snapshot.written_to_key(key.as_str(), false).await?;
            keys.insert((key, false));
            return Ok(Whom::These(keys));
        }
        Meant::Several(several) => return Ok(Whom::Nobody(several)),
        Meant::Nobody(near) => near,
    };
    let groups = snapshot.groups_called(&Who::parse(who)).await?;
    let mut keys: BTreeSet<_> = groups.into_iter().map(|key| (key, true)).collect();
    for is_group in [true, false] {
        if keys.is_empty() {
            keys = snapshot.written_to_key(who, is_group).await?;
        }
    }
    Ok(match keys.is_empty() {
        true => Whom::Nobody(near),
        false => Whom::These(keys),
    })
}

pub(super) async fn history(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    query: Query<HashMap<String, String>>,
) -> Result<Response, NoPage> {
    let asked = Asked::of(query);
    let before: Option<i64> = asked.number("before")?;
    let run: Option<i64> = asked.number("run")?;
    let who = asked.text("who").to_owned();
    let kinds = || {
        let accounts = model::Kind::ALL.into_iter().map(model::Kind::name);
        accounts.chain(GroupChange::ALL.into_iter().map(GroupChange::name))
    };
    let kind = kinds().find(|kind| *kind == asked.text("kind"));
    let failed = asked.text("failed");
    let selection = Selection {
        run: run.map(RunId),
        kinds: kind.map(str::to_owned).into_iter().collect(),
        failed: !failed.is_empty(),
        ..Selection::default()
    };
    let name_of = who.clone();
    let seen = look(&app, async move |snapshot| {
        let pruning = snapshot.pruning().await?;
        let whose = match whom(snapshot, &name_of).await? {
            Whom::All => None,
            Whom::These(keys) => Some(keys),
            Whom::Nobody(near) => return Ok((Err(near), pruning)),
        };
        let selection = Selection { whose, ..selection };
        Ok((Ok(Found::of(snapshot, selection, before).await?), pruning))
    });
    let (found, pruning) = seen.await?;
    let run = run.map_or(String::new(), |run| run.to_string());
    let query = [
        ("who", who.as_str()),
        ("run", run.as_str()),
        ("kind", kind.unwrap_or_default()),
        ("failed", failed),
    ];
    let body = html! {
        form.search method="get" action="/history" role="search" {
            p {
                label for="who" { "Person or group" }
                input #who type="search" name="who" value=(who) aria-describedby="who-hint";
                span.hint #who-hint { "Key, e-mail address, user name, DN, or a group's name" }
            }
            p {
                label for="run" { "Run" }
                input #run type="text" inputmode="numeric" pattern="[0-9]*" name="run" value=(run);
            }
            p {
                label for="kind" { "What" }
                select #kind name="kind" {
                    option value="" { "everything" }
                    @for one in kinds() {
                        option value=(one) selected[kind == Some(one)] { (one.replace('_', " ")) }
                    }
                }
            }
            p.check {
                input #failed type="checkbox" name="failed" value="yes" checked[!failed.is_empty()];
                label for="failed" { "Only what failed or is not known to be done" }
            }
            p { button type="submit" { "Search" } }
        }
        @if let Some(pruning) = pruning { p.note { (pruned_before(Some(pruning.first_run))) } }
        @match &found {
            Ok(found) => (found.shown("/history", &query, before)),
            Err(near) => (nobody(&who, near, "/history")),
        }
    };
    let page = Page::of(Some(&visitor), Place::History, "History", body);
    Ok(page.response(StatusCode::OK))
}

/// That nobody, or not one alone, is called so, and who may be meant.
pub(super) fn nobody(who: &str, near: &[Candidate], path: &str) -> Markup {
    html! {
        p {
            "Nobody is called " strong { (name(who)) } " alone"
            @if near.is_empty() { "." } @else { "; these may be meant:" }
        }
        @if !near.is_empty() {
            ul.candidates {
                @for one in near {
                    @let whole = one.key.as_ref().map(ExternalId::as_str).or(one.dns.first().map(String::as_str));
                    li {
                        a href=(link(path, &[("who", whole.unwrap_or_default())])) { (name(&one.name)) }
                        @for address in &one.addresses { ", " (name(address)) }
                        @for dn in &one.dns { br; span.dn { (name(dn)) } }
                    }
                }
            }
        }
    }
}
