//! What the last dry run has planned: person by person, page by page.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::super::App;
use super::super::api::look;
use super::dry_run::{self, Ended};
use super::html::{
    Page, Paging, Place, code_of, command, link, moment, moment_from, name, person, prose, table,
    why_held,
};
use super::{Asked, NoPage, Visitor};
use crate::model::{
    Attribute, Change, GroupChange, GroupMember, Kind, Operation, Profile, Timestamp,
};
use crate::plan::groups::PlannedGroup;
use crate::plan::{Plan, Planned, Undo};
use crate::report::{self, number};

/// So many changes of an account, and members of a group, are shown.
const SHOWN: usize = 30;

/// A part of a plan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Of(Kind),
    Groups,
    Held,
    Refused,
    Skipped,
}

impl Part {
    fn all() -> Vec<Part> {
        let kinds = Kind::ALL.map(Part::Of);
        let others = [Part::Groups, Part::Held, Part::Refused, Part::Skipped];
        [Part::All].into_iter().chain(kinds).chain(others).collect()
    }

    fn named(text: &str) -> Part {
        let mut parts = Part::all().into_iter();
        parts.find(|part| part.key() == text).unwrap_or(Part::All)
    }

    fn key(self) -> &'static str {
        match self {
            Part::All => "",
            Part::Of(kind) => kind.name(),
            Part::Groups => "groups",
            Part::Held => "held",
            Part::Refused => "refused",
            Part::Skipped => "skipped",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Part::All => "Everybody",
            Part::Of(Kind::Create) => "Create",
            Part::Of(Kind::Adopt) => "Adopt",
            Part::Of(Kind::Update) => "Update",
            Part::Of(Kind::Restore) => "Restore",
            Part::Of(Kind::Deactivate) => "Deactivate",
            Part::Of(Kind::Delete) => "Delete",
            Part::Groups => "Groups",
            Part::Held => "Held",
            Part::Refused => "Refused",
            Part::Skipped => "Skipped",
        }
    }
}

/// Somebody or something of a plan.
#[derive(Clone, Copy)]
enum Row<'p> {
    Account(usize, &'p Planned),
    Group(usize, &'p PlannedGroup),
    /// The key, where it is known, the entry, and why nothing is done.
    Nothing(Option<&'p str>, &'p str, Why<'p>),
}

#[derive(Clone, Copy)]
enum Why<'p> {
    Refusal(&'p crate::plan::RefusalReason),
    GroupRefusal(&'p str),
    Skip(&'p crate::plan::SkipReason),
}

impl Row<'_> {
    fn is_like(&self, folded: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(folded);
        match self {
            Row::Account(_, planned) => {
                let operation = &planned.operation;
                let names = [&operation.before, &operation.after].into_iter();
                let mut names = names.flat_map(|profile| {
                    [
                        Attribute::DisplayName,
                        Attribute::Email,
                        Attribute::UserName,
                    ]
                    .map(|attribute| profile.get(attribute))
                });
                has(&operation.dn)
                    || has(operation.key.as_str())
                    || names.any(|name| name.is_some_and(has))
            }
            Row::Group(_, planned) => {
                let operation = &planned.operation;
                let mut members = operation.add.iter().chain(&operation.remove);
                has(&operation.name)
                    || operation.origins.iter().any(|one| has(&one.dn))
                    || members.any(|member| has(&member.name))
            }
            Row::Nothing(key, dn, _) => has(dn) || key.is_some_and(has),
        }
    }
}

fn rows(plan: &Plan, part: Part) -> Vec<Row<'_>> {
    let accounts = plan.operations.iter().enumerate();
    let accounts = accounts.map(|(at, planned)| Row::Account(at, planned));
    let groups = plan.groups.iter().flat_map(|groups| &groups.operations);
    let groups = groups
        .enumerate()
        .map(|(at, planned)| Row::Group(at, planned));
    match part {
        Part::All => accounts.collect(),
        Part::Of(kind) => accounts
            .filter(|row| matches!(row, Row::Account(_, one) if one.operation.kind == kind))
            .collect(),
        Part::Groups => groups.collect(),
        Part::Held => accounts
            .chain(groups)
            .filter(|row| match row {
                Row::Account(_, planned) => planned.is_held(),
                Row::Group(_, planned) => !planned.holds.is_empty(),
                Row::Nothing(..) => false,
            })
            .collect(),
        Part::Refused => {
            let people = plan.refusals.iter().map(|refusal| {
                let key = refusal.key.as_ref().map(|key| key.as_str());
                Row::Nothing(key, &refusal.dn, Why::Refusal(&refusal.why))
            });
            let groups = plan.groups.iter().flat_map(|groups| &groups.refusals);
            let groups = groups
                .map(|refusal| Row::Nothing(None, &refusal.dn, Why::GroupRefusal(&refusal.why)));
            people.chain(groups).collect()
        }
        Part::Skipped => {
            let skipped = plan.skipped.iter();
            skipped
                .map(|skipped| {
                    let key = skipped.key.as_ref().map(|key| key.as_str());
                    Row::Nothing(key, &skipped.dn, Why::Skip(&skipped.why))
                })
                .collect()
        }
    }
}

/// Begins a dry run.
pub(super) async fn begin(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, NoPage> {
    if let Some(by) = visitor.invoker {
        dry_run::begin(&app, by).await?;
    }
    Ok(Redirect::to("/plan").into_response())
}

/// The button for it.
pub(super) fn button(visitor: &Visitor, text: &str) -> Markup {
    html! {
        form method="post" action="/plan" {
            (code_of(visitor))
            button type="submit" { (text) }
        }
    }
}

pub(super) async fn plan(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    query: Query<HashMap<String, String>>,
) -> Result<Response, NoPage> {
    let asked = Asked::of(query);
    let page: Option<usize> = asked.number("page")?;
    let now = chrono::Utc::now();
    let dry_runs = app.desk.dry_runs.now();
    let last_run = match &dry_runs.last {
        None => None,
        Some(_) => {
            let runs = look(&app, async |snapshot| snapshot.last_runs(None, 1).await);
            runs.await?.pop()
        }
    };
    let body = html! {
        p.lead {
            "What a sync would do now, as a dry run has found it. A dry run reads, and writes nothing."
        }
        @if let Some((since, by)) = &dry_runs.at_work {
            div.note role="status" {
                p {
                    strong { "A dry run is at work" } ", since " (moment_from(*since, now)) ", for " (name(&by.name)) ". "
                    a href="/plan" { "Look again" }
                }
            }
        } @else {
            (button(&visitor, if dry_runs.last.is_some() { "New dry run" } else { "Make a dry run" }))
        }
        @if let Some(ended) = &dry_runs.last {
            p {
                "The last dry run ended at " (moment_from(ended.ended, now)) ", took " (took(ended)) ", and was made for "
                (name(&ended.by.name)) "."
            }
            @if let Some(run) = last_run.filter(|run| run.began > ended.began) {
                p.note.warn {
                    "Since then " a href=(format!("/runs/{}", run.run)) { "run " (run.run) } " has begun: what is shown here may be done."
                }
            }
            @match &ended.plan {
                Err(why) => div.note.bad { p { strong { "It came to no plan." } } p.lines { (prose(why)) } },
                Ok(plan) => (planned(plan, &asked, page, now)),
            }
        } @else if dry_runs.at_work.is_none() {
            p { "No dry run was made here since the daemon began." }
        }
    };
    let waits = dry_runs.at_work.is_some();
    let page = Page {
        refresh: waits.then_some(2),
        waits,
        ..Page::of(Some(&visitor), Place::Plan, "Plan", body)
    };
    Ok(page.response(StatusCode::OK))
}

fn took(ended: &Ended) -> String {
    let took = (ended.ended - ended.began).num_milliseconds();
    match took {
        ..10_000 => format!("{}.{} s", took / 1000, took % 1000 / 100),
        _ => format!("{} s", took / 1000),
    }
}

fn planned(plan: &Plan, asked: &Asked, page: Option<usize>, now: Timestamp) -> Markup {
    let part = Part::named(asked.text("part"));
    let who = asked.text("who");
    let folded = who.to_lowercase();
    let mut shown = rows(plan, part);
    if !folded.is_empty() {
        shown.retain(|row| row.is_like(&folded));
    }
    let paging = Paging::new(page, shown.len());
    let query = [("part", part.key()), ("who", who)];
    let parts = Part::all().into_iter();
    let parts = parts.map(|part| (part, rows(plan, part).len()));
    let parts: Vec<(Part, usize)> = parts
        .filter(|(one, count)| *count > 0 || matches!(one, Part::All) || *one == part)
        .collect();
    html! {
        p.summary { (report::summary_line(plan)) }
        (remarks(plan))
        @if !plan.holds.is_empty() {
            section aria-labelledby="guards" {
                h2 #guards { "Held by guards" }
                (holds(plan, now))
            }
        }
        section aria-labelledby="people" {
            h2 #people { "Person by person" }
            nav.parts aria-label="Parts of the plan" {
                ul {
                    @for (one, count) in &parts {
                        li {
                            a href=(link("/plan", &[("part", one.key()), ("who", who)]))
                                aria-current=[(*one == part).then_some("true")] {
                                (one.title()) " " span.count { (number(*count as u64)) }
                            }
                        }
                    }
                }
            }
            form.filter method="get" action="/plan" role="search" {
                input type="hidden" name="part" value=(part.key());
                label for="who" { "Name, address, DN or key" }
                input #who type="search" name="who" value=(who);
                button.quiet type="submit" { "Show" }
            }
            @if shown.is_empty() {
                p { (if who.is_empty() { "Nobody and nothing." } else { "Nobody and nothing is called so." }) }
            } @else {
                (paging.ways("/plan", &query))
                (table(
                    &format!("{}: {} of the plan", part.title(), number(shown.len() as u64)),
                    match part {
                        Part::Refused | Part::Skipped => &["What", "Whom", "Why"],
                        _ => &["What", "Whom", "Changes", "Why"],
                    },
                    shown[paging.range()].iter().map(|row| cells(plan, row)),
                ))
                (paging.ways("/plan", &query))
            }
        }
    }
}

/// What is to be known about the whole of it.
fn remarks(plan: &Plan) -> Markup {
    let left = plan.carried_over.len();
    html! {
        @if !plan.suspensions.is_empty() {
            div.note.warn {
                p { strong { "Absences are not believed" } }
                ul {
                    @for suspension in &plan.suspensions {
                        li {
                            (number(suspension.absent)) " not seen, and not touched: source "
                            code { (suspension.source.as_str()) } ": " (prose(&suspension.why.to_string()))
                        }
                    }
                }
            }
        }
        @let suspended: Vec<_> = plan.groups.iter().flat_map(|groups| &groups.suspensions).take(SHOWN).collect();
        @if !suspended.is_empty() {
            div.note.warn {
                p { strong { "Groups out of which nobody is taken in this run" } }
                ul {
                    @for one in suspended {
                        li { (name(one.group.as_deref().unwrap_or(&one.place))) ": " (prose(&one.why)) }
                    }
                }
            }
        }
        @if !plan.notices.is_empty() || left > 0 {
            ul {
                @for notice in &plan.notices {
                    li { "Source " code { (notice.source.as_str()) } ": " (prose(&notice.what.to_string())) }
                }
                @if left > 0 {
                    li { (number(left as u64)) " are left for the next run, as they do not fit the budget (" code { "max_calls" } ")." }
                }
            }
        }
    }
}

fn holds(plan: &Plan, now: Timestamp) -> Markup {
    let rows = plan.holds.iter().map(|hold| {
        vec![
            html! { code { (hold.name) } },
            why_held(&hold.to_string(), &hold.name),
            match hold.opened {
                None => html! { "opens with the next run" },
                Some(opened) => html! {
                    a href=(format!("/holds/{}", opened.number)) { "#" (opened.number) }
                    ", until " (moment_from(opened.until, now))
                },
            },
            match (hold.cause.can_be_approved(), hold.opened) {
                (true, Some(_)) => command(&hold.way_out()),
                (true, None) => html! { "once a sync has opened it: " (command(&hold.way_out())) },
                (false, _) => html! { "cannot be approved" },
            },
        ]
    });
    table(
        "What guards hold in this plan",
        &["Guard", "Why", "Open", "To let it through"],
        rows,
    )
}

fn cells(plan: &Plan, row: &Row<'_>) -> Vec<Markup> {
    match row {
        Row::Account(at, planned) => account(plan, *at, planned),
        Row::Group(at, planned) => group(plan, *at, planned),
        Row::Nothing(key, dn, why) => vec![
            match why {
                Why::Refusal(crate::plan::RefusalReason::Quarantined(_)) => {
                    badge("bad", "quarantine")
                }
                Why::Refusal(_) | Why::GroupRefusal(_) => badge("bad", "refused"),
                Why::Skip(_) => badge("plain", "skipped"),
            },
            match key {
                Some(key) => person(key, dn),
                None => name(dn),
            },
            match why {
                Why::Refusal(why) => prose(&why.to_string()),
                Why::GroupRefusal(why) => prose(why),
                Why::Skip(why) => prose(&why.to_string()),
            },
        ],
    }
}

/// A word that stands out.
pub(super) fn badge(class: &str, text: &str) -> Markup {
    html! { span class={ "badge " (class) } { (text) } }
}

/// The kind of an operation.
pub(super) fn kind_badge(kind: &str) -> Markup {
    let class = match kind.trim_start_matches("group_") {
        "create" | "restore" => "good",
        "deactivate" | "delete" => "bad",
        _ => "plain",
    };
    badge(class, &kind.replace('_', " "))
}

fn account(plan: &Plan, at: usize, planned: &Planned) -> Vec<Markup> {
    let operation = &planned.operation;
    let mail = |profile: &'_ Profile| profile.get(Attribute::Email).map(str::to_owned);
    let mail = mail(&operation.before).or_else(|| mail(&operation.after));
    let foreseen = plan.forecast.foreseen.get(&operation.key);
    vec![
        kind_badge(operation.kind.name()),
        html! {
            (person(operation.key.as_str(), operation.label()))
            @if let Some(mail) = mail { br; (name(&mail)) }
            br; span.dn { (name(&operation.dn)) }
        },
        account_changes(operation),
        html! {
            (operation.reason.to_string())
            @if let Some(foreseen) = foreseen { br; (prose(&foreseen.to_string())) }
            (marks(plan, &planned.holds, &planned.waits))
            @if planned.is_approved() { " " (badge("good", "approved")) }
            @if plan.carried_over.accounts.contains(&at) { " " (badge("plain", "left for the next run")) }
            (undo(&planned.undo))
        },
    ]
}

fn marks(plan: &Plan, holds: &[usize], waits: &[usize]) -> Markup {
    let names = |at: &[usize]| {
        let holds = at.iter().filter_map(|at| plan.holds.get(*at));
        let names: Vec<&str> = holds.map(|hold| hold.name.as_str()).collect();
        names.join(", ")
    };
    html! {
        @if !holds.is_empty() { " " (badge("warn long", &format!("held: {}", names(holds)))) }
        @else if !waits.is_empty() { " " (badge("warn long", &format!("waits for what is held by {}", names(waits)))) }
    }
}

fn undo(undo: &Undo) -> Markup {
    html! {
        @match undo {
            Undo::Full => {},
            Undo::InPart(why) => { br; span.dn { "Undone in part only: " (why) } },
            Undo::Until(until) => { br; span.dn { "Can be undone until " (moment(*until)) } },
            Undo::Never(why) => { br; span.dn { "Cannot be undone: " (why) } },
        }
    }
}

/// What an operation changes of an account; of a new one, all that it gets.
fn account_changes(operation: &Operation) -> Markup {
    html! {
        @if operation.cancel_delete { p { "The requested deletion is cancelled." } }
        (changes(&operation.changes))
    }
}

/// Changes, each with the value before and after it.
pub(super) fn changes<'c>(changes: impl IntoIterator<Item = &'c Change>) -> Markup {
    let mut changes = changes.into_iter();
    let shown: Vec<&Change> = changes.by_ref().take(SHOWN).collect();
    let more = changes.count();
    html! {
        @if !shown.is_empty() {
            ul.diff {
                @for change in shown {
                    li {
                        span.attribute { (change.attribute) } " "
                        @if let Some(old) = &change.old { del { (name(old)) } " " }
                        @if change.old.is_some() && change.new.is_some() { span.arrow aria-hidden="true" { "→ " } }
                        @if let Some(new) = &change.new { ins { (name(new)) } }
                    }
                }
                @if more > 0 { li { "… and " (number(more as u64)) " more" } }
            }
        }
    }
}

fn group(plan: &Plan, at: usize, planned: &PlannedGroup) -> Vec<Markup> {
    let operation = &planned.operation;
    let before = operation.target.as_ref();
    vec![
        kind_badge(operation.kind.name()),
        html! {
            strong { (name(&operation.name)) }
            @for origin in operation.origins.iter().take(SHOWN) { br; span.dn { (name(&origin.dn)) } }
        },
        html! {
            @match (operation.kind, before) {
                (GroupChange::Rename, Some(old)) => p { "takes the place of " (name(&old.name)) ", which is deleted" },
                (GroupChange::Delete, Some(old)) => p { "it has " (report::several(old.members, "member", "members")) },
                _ => {},
            }
            (members("joins", &operation.add))
            (members("leaves", &operation.remove))
        },
        html! {
            (operation.reason.to_string())
            (marks(plan, &planned.holds, &[]))
            @if plan.carried_over.groups.contains(&at) { " " (badge("plain", "left for the next run")) }
            (undo(&Undo::of_group(operation)))
        },
    ]
}

fn members(word: &str, members: &[GroupMember]) -> Markup {
    html! {
        @if !members.is_empty() {
            ul.diff {
                @for member in members.iter().take(SHOWN) {
                    li {
                        span.attribute { (word) } " "
                        @if word == "leaves" { del { (name(&member.name)) } } @else { ins { (name(&member.name)) } }
                    }
                }
                @if members.len() > SHOWN { li { "… and " (number((members.len() - SHOWN) as u64)) " more" } }
            }
        }
    }
}
