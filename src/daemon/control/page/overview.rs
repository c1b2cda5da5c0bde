//! How things stand, and what somebody has to look at.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use maud::{Markup, html};

use super::super::api::{aside, look};
use super::super::{App, Kind, Problem};
use super::chart::{self, Point};
use super::history::{outcome, started_by};
use super::html::{
    Page, Paging, Place, command, moment_from, name, person, prose, table, why_held,
};
use super::plan::{badge, button, changes, kind_badge};
use super::{Asked, NoPage, Visitor};
use crate::daemon::pulse::{Phase, Progress};
use crate::daemon::status::{AtWork, Running, Status, paused};
use crate::model::Timestamp;
use crate::plan::{approve_command, retry_command};
use crate::report::{self, number};
use crate::snapshot::{NotTried, OpenHold, PastRun};

/// So many days are drawn.
const DAYS: i64 = 30;

/// So many runs are drawn while all of them are of few days.
const DRAWN: u32 = 40;

/// From so many days on they are drawn, not runs.
const MANY_DAYS: usize = 3;

/// So many runs are listed.
const LISTED: usize = 8;

/// So many of those in quarantine are listed.
const NAMED: usize = 10;

/// How often the page is loaded again, in seconds: while a job is at work, and else.
const REFRESH: [u32; 2] = [5, 30];

pub(super) async fn overview(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, NoPage> {
    let state = Arc::clone(&app.state);
    let now = chrono::Utc::now();
    let status = aside(async move || Status::of(&state).await).await??;
    let quarantine_after = app.state.setup().config.apply.quarantine_after;
    let seen = look(&app, async move |snapshot| {
        let accounts = snapshot.accounts_by_state().await?;
        let holds = snapshot.open_holds_in_brief().await?;
        let not_tried = snapshot.not_tried(quarantine_after, now).await?;
        let runs = snapshot.last_runs(None, DRAWN).await?;
        let days = snapshot.days(now - TimeDelta::days(DAYS)).await?;
        Ok((accounts, holds, not_tried, runs, days))
    });
    let (accounts, holds, not_tried, runs, days) = seen.await?;
    let running = status.daemon.as_ref();
    let is_at_work = running.is_some_and(|running| running.at_work.is_some());
    let points: Vec<Point> = match days.len() >= MANY_DAYS {
        true => days.iter().map(Point::of_day).collect(),
        false => runs.iter().rev().map(Point::of).collect(),
    };
    let body = html! {
        (state_of(&status, running, &accounts, now))
        @if !holds.is_empty() {
            section aria-labelledby="holds" {
                h2 #holds { "Held by guards" }
                (holds_table(&holds, now))
            }
        }
        @if !not_tried.is_empty() {
            section aria-labelledby="quarantine" {
                h2 #quarantine { "Put off or in quarantine" }
                (not_tried_table(&not_tried[..not_tried.len().min(NAMED)], now))
                @if not_tried.len() > NAMED {
                    p { a href="/quarantine" { "All " (number(not_tried.len() as u64)) } }
                }
            }
        }
        section aria-labelledby="plan" {
            h2 #plan { "Plan" }
            (plan_of(&app, &visitor, now))
        }
        section aria-labelledby="trend" {
            h2 #trend { "Trend" }
            @if points.is_empty() { p { "No run yet." } } @else { (chart::trend(&points)) }
        }
        section aria-labelledby="jobs" {
            h2 #jobs { "Jobs" }
            (jobs(running, status.paused.is_some(), now))
        }
        section aria-labelledby="runs" {
            h2 #runs { "Last runs" }
            @if runs.is_empty() { p { "No run yet." } } @else {
                (runs_table("The last runs", &runs[..runs.len().min(LISTED)], now))
                p { a href="/runs" { "All runs" } }
            }
        }
    };
    let page = Page {
        refresh: Some(REFRESH[usize::from(!is_at_work)]),
        ..Page::of(Some(&visitor), Place::Status, "Status", body)
    };
    Ok(page.response(StatusCode::OK))
}

fn state_of(
    status: &Status,
    running: Option<&Running>,
    accounts: &[(String, u64)],
    now: Timestamp,
) -> Markup {
    let at_work = running.and_then(|running| running.at_work.as_ref());
    let (class, word) = match (
        running.is_some_and(|running| running.hanging),
        &status.paused,
    ) {
        (true, _) => ("bad", "Hangs"),
        (false, Some(_)) => ("warn", "Paused"),
        (false, None) if at_work.is_some() => ("good", "At work"),
        (false, None) => ("good", "Waits for the next job"),
    };
    html! {
        div.cards {
            div class={ "card state " (class) } {
                p.label { "State" }
                p.value { (word) }
                @if running.is_some_and(|running| running.hanging) {
                    p { "The work has not gone on for as long as " code { "hang_after" } " says." }
                }
                @if let Some(pause) = &status.paused {
                    p { "Paused " (paused(pause)) ". " code { "dirsyncd resume" } " ends that." }
                }
                @if let Some(refused) = running.and_then(|running| running.refused_config.as_ref()) {
                    p { strong { "Not as its file: " } "read " (moment_from(refused.at, now)) ", and refused: " (name(&refused.why)) }
                }
                @if let Some(work) = at_work { (at_work_of(work, now)) }
            }
            div.card {
                p.label { "Last good sync" }
                @match status.last_good_sync {
                    Some(at) => p.value { (moment_from(at, now)) },
                    None => p.value { "None yet" },
                }
                @if let Some(run) = status.last_run.as_ref() {
                    p { "Last run: " a href=(format!("/runs/{}", run.run)) { (run.run) } " " (outcome(run)) }
                }
            }
            div.card {
                p.label { "Accounts" }
                @let active = accounts.iter().find(|(state, _)| state == "active").map_or(0, |(_, count)| *count);
                p.value { (number(active)) " active" }
                @for (state, count) in accounts.iter().filter(|(state, _)| state != "active") {
                    p { (number(*count)) " " (state.replace('_', " ")) }
                }
            }
            @if let Some(running) = running {
                div.card {
                    p.label { "Daemon" }
                    p.value { "since " (moment_from(running.since, now)) }
                    p.path { "process " (running.pid) ", " (name(&running.config)) }
                }
            }
        }
    }
}

fn at_work_of(work: &AtWork, now: Timestamp) -> Markup {
    let by = work.asked_by.as_ref();
    html! {
        p {
            strong { (work.job.name()) } " since " (moment_from(work.since, now))
            @if let Some(by) = by { ", for " (name(&by.name)) }
        }
        @if let Some(Progress { phase, entries, operations, ended, failed, .. }) = &work.progress {
            p {
                (phase.name())
                @match phase {
                    Phase::Beginning => {},
                    Phase::Reading => { ": " (report::several(*entries, "entry", "entries")) },
                    Phase::Sending => {
                        ": " (number(*ended as u64)) " of " (number(*operations as u64)) " operations, "
                        (number(*failed as u64)) " failed"
                    },
                }
            }
            @if *phase == Phase::Sending && *operations > 0 {
                progress max=(operations) value=(ended) aria-label="Operations that have ended" {}
            }
        }
    }
}

fn jobs(running: Option<&Running>, is_paused: bool, now: Timestamp) -> Markup {
    let jobs = running.map_or(&[][..], |running| &running.jobs);
    let rows = jobs.iter().map(|job| {
        vec![
            html! { strong { (job.job.name()) } },
            match job.last {
                Some(last) => moment_from(last, now),
                None => html! { "never yet" },
            },
            match (job.next, is_paused) {
                (_, true) => html! { "not while it is paused" },
                (Some(next), false) => moment_from(next, now),
                (None, false) => html! { "never again" },
            },
        ]
    });
    table(
        "The jobs and their schedule",
        &["Job", "Last began", "Next"],
        rows,
    )
}

fn plan_of(app: &App, visitor: &Visitor, now: Timestamp) -> Markup {
    let dry_runs = app.desk.dry_runs.now();
    html! {
        @match (&dry_runs.at_work, &dry_runs.last) {
            (Some((since, _)), _) => p {
                "A dry run is at work, since " (moment_from(*since, now)) ". " a href="/plan" { "See how it goes" }
            },
            (None, None) => p { "What would a sync do now? A dry run reads, and writes nothing." },
            (None, Some(ended)) => {
                @match &ended.plan {
                    Ok(plan) => p { (report::summary_line(plan)) },
                    Err(_) => p.bad { "The last dry run came to no plan." },
                }
                p { "Of " (moment_from(ended.ended, now)) ". " a href="/plan" { "Person by person" } }
            },
        }
        @if dry_runs.at_work.is_none() { (button(visitor, "Make a dry run")) }
    }
}

/// A list of runs.
pub(super) fn runs_table(caption: &str, runs: &[PastRun], now: Timestamp) -> Markup {
    let rows = runs.iter().map(|run| {
        let point = Point::of(run);
        vec![
            html! { a href=(format!("/runs/{}", run.run)) { (run.run) } },
            moment_from(run.began, now),
            started_by(run),
            html! {
                (outcome(run))
                @if let Some(error) = &run.error { " " span.error { (prose(error)) } }
            },
            html! { (point.in_words()) },
        ]
    });
    table(
        caption,
        &["Run", "Began", "Started by", "Outcome", "Operations"],
        rows,
    )
}

fn holds_table(holds: &[OpenHold], now: Timestamp) -> Markup {
    let rows = holds.iter().map(|hold| {
        let number = hold.opened.number;
        vec![
            html! { a href=(format!("/holds/{number}")) { (hold.name) " #" (number) } },
            html! { (figures(hold)) },
            why_held(&hold.message, &hold.name),
            moment_from(hold.opened.since, now),
            expiry(hold, now),
            way_out(hold),
        ]
    });
    table(
        "What guards hold, by the last run",
        &[
            "Guard",
            "Held",
            "Why",
            "Open since",
            "Expires",
            "To let it through",
        ],
        rows,
    )
}

fn figures(hold: &OpenHold) -> String {
    let figures = &hold.figures;
    let allowed = figures
        .allowed
        .map(|allowed| format!(", {} allowed", number(allowed)));
    let of = figures
        .population
        .map(|population| format!(" of {}", number(population)));
    format!(
        "{}{}{}",
        number(figures.planned),
        of.unwrap_or_default(),
        allowed.unwrap_or_default()
    )
}

fn expiry(hold: &OpenHold, now: Timestamp) -> Markup {
    html! {
        (moment_from(hold.opened.until, now))
        @if hold.opened.until <= now { " " (badge("warn", "expired")) }
    }
}

fn way_out(hold: &OpenHold) -> Markup {
    match hold.figures.can_be_approved {
        true => command(&approve_command(&hold.name, None)),
        false => html! { "cannot be approved" },
    }
}

fn not_tried_table(all: &[NotTried], now: Timestamp) -> Markup {
    let rows = all.iter().map(|one| {
        let NotTried {
            name: called,
            dn,
            is_group,
            failing,
        } = one;
        let key = failing.key.as_str();
        vec![
            match failing.until {
                None => badge("bad", "quarantine"),
                Some(_) => badge("warn", "put off"),
            },
            html! {
                @if *is_group { (name(called)) } @else { (person(key, called)) }
                br; span.dn { (name(dn)) }
            },
            html! {
                (kind_badge(failing.kind)) " " (prose(&failing.error))
                br; span.dn { "failed " (times(failing.count)) " since " (moment_from(failing.first, now)) }
            },
            match failing.until {
                None => html! { "not by itself" },
                Some(until) => moment_from(until, now),
            },
            command(&retry_command(&failing.key)),
        ]
    });
    table(
        "Who and what is not tried now",
        &["State", "Whom", "Why", "Next try", "To try again"],
        rows,
    )
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times in a row"),
    }
}

pub(super) async fn quarantine(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    query: Query<HashMap<String, String>>,
) -> Result<Response, NoPage> {
    let page = Asked::of(query).number("page")?;
    let now = chrono::Utc::now();
    let quarantine_after = app.state.setup().config.apply.quarantine_after;
    let all = look(&app, async move |snapshot| {
        snapshot.not_tried(quarantine_after, now).await
    });
    let all = all.await?;
    let paging = Paging::new(page, all.len());
    let body = html! {
        p.lead {
            "What fails for a person or a group alone is tried again later, and after so many times only when somebody "
            "says so, or when the directory wants something else."
        }
        @if all.is_empty() { p { "Nobody and nothing." } } @else {
            (paging.ways("/quarantine", &[]))
            (not_tried_table(&all[paging.range()], now))
            (paging.ways("/quarantine", &[]))
        }
    };
    let page = Page::of(
        Some(&visitor),
        Place::Elsewhere,
        "Put off or in quarantine",
        body,
    );
    Ok(page.response(StatusCode::OK))
}

/// An open hold with what it holds.
pub(super) async fn hold(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(number): Path<String>,
    query: Query<HashMap<String, String>>,
) -> Result<Response, NoPage> {
    let page = Asked::of(query).number("page")?;
    let now = chrono::Utc::now();
    let number: i64 = number.parse().unwrap_or_default();
    let seen = look(&app, async move |snapshot| {
        let holds = snapshot.open_holds_in_brief().await?;
        let mut holds = holds.into_iter();
        let Some(hold) = holds.find(|hold| hold.opened.number == number) else {
            return Ok(None);
        };
        let total = snapshot.held_by_hold(number).await?;
        let paging = Paging::new(page, usize::try_from(total).unwrap_or(usize::MAX));
        let operations = snapshot
            .held_page(&hold.name, number, paging.range(), now)
            .await?;
        Ok(Some((hold, paging, operations)))
    });
    let Some((hold, paging, operations)) = seen.await? else {
        let detail = format!("no hold #{number} is open: it was closed, or there never was one");
        return Err(Problem::new(Kind::NotFound, detail).into());
    };
    let path = format!("/holds/{number}");
    let body = html! {
        p.lead { (why_held(&hold.message, &hold.name)) }
        dl.facts {
            div { dt { "Held" } dd { (figures(&hold)) } }
            div { dt { "Open since" } dd { (moment_from(hold.opened.since, now)) } }
            div { dt { "Expires" } dd { (expiry(&hold, now)) } }
            div { dt { "To let it through" } dd { (way_out(&hold)) } }
        }
        (paging.ways(&path, &[]))
        (table(
            "What it holds",
            &["What", "Whom", "Changes", "Why"],
            operations.iter().map(|operation| vec![
                kind_badge(&operation.kind),
                html! {
                    @if operation.kind.starts_with("group_") { (name(&operation.detail.account)) }
                    @else { (person(&operation.key, &operation.detail.account)) }
                    @for address in &operation.detail.addresses { br; (name(address)) }
                    br; span.dn { (name(&operation.detail.dn)) }
                },
                changes(&operation.detail.changes),
                html! {
                    (operation.detail.reason)
                    @if operation.is_approved { " " (badge("good", "approved")) }
                    @else if hold.figures.can_be_approved {
                        br; (command(&approve_command(&hold.name, Some(&operation.key))))
                    }
                },
            ]),
        ))
        (paging.ways(&path, &[]))
    };
    let title = format!("Hold {} #{number}", hold.name);
    let page = Page::of(Some(&visitor), Place::Elsewhere, &title, body);
    Ok(page.response(StatusCode::OK))
}
