//! The routes of `docs/openapi.json`, version 1.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Json};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::App;
use super::problem::{Kind, Problem};
use crate::apply::{Control, EndedBy};
use crate::config::Job;
use crate::daemon::pulse::Pulse;
use crate::daemon::status::Status;
use crate::daemon::{Asker, NotDone, Wish};
use crate::explain::explain;
use crate::model::{Invoker, RunId};
use crate::org::watched;
use crate::plan::Plan;
use crate::pull::Depth;
use crate::report::{self, Detail, Form, HistoryForm, HistorySheet};
use crate::run::{Ended, Finished, Orders, dry_run};
use crate::snapshot::{
    LAST_OPERATIONS, Meant, PastRun, Pause, Selection, Snapshot, SnapshotError, keep_pause,
};

/// The header that tells how a run or dry run ended, beside its report; of a dry run that all is well
/// with, also whether changes are pending.
pub(in crate::daemon) const ENDED: HeaderName = HeaderName::from_static("x-dirsyncd-ended");

/// The header with the last line of a report, percent-encoded (RFC 3986 section 2.1).
pub(in crate::daemon) const LAST_LINE: HeaderName = HeaderName::from_static("x-dirsyncd-last-line");

/// The value of [`ENDED`] for a dry run that all is well with and that has changes.
pub(in crate::daemon) const PENDING: &str = "pending";

/// The OpenAPI document.
const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// How many runs are listed at most.
const RUNS: u32 = 1000;

/// The greatest number that every program reads as it is written (RFC 8259, section 6).
const MOST_RUN: i64 = (1 << 53) - 1;

/// How long it is waited until a page of an answer is taken.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

pub(super) type Routed = (Method, &'static str, MethodRouter<Arc<App>>);

pub(super) fn routes() -> Vec<Routed> {
    vec![
        (Method::GET, "/v1/openapi.json", get(document)),
        (Method::GET, "/v1/status", get(status)),
        (Method::GET, "/v1/runs", get(runs)),
        (Method::GET, "/v1/runs/{run}", get(run)),
        (Method::GET, "/v1/people/{who}", get(person)),
        (Method::POST, "/v1/plan", post(plan)),
        (Method::POST, "/v1/sync", post(sync)),
        (Method::POST, "/v1/pause", post(pause)),
        (Method::POST, "/v1/resume", post(resume)),
    ]
}

/// What a query says. What it does not know is refused, as it would be meant to do something.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        let read = Query::from_request_parts(parts, state).await;
        read.map(|Query(query)| Parameters(query))
            .map_err(|error: QueryRejection| Problem::new(Kind::BadParameter, error.body_text()))
    }
}

/// A part of the path.
struct Named<T>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        let read = Path::from_request_parts(parts, state).await;
        read.map(|Path(name)| Named(name))
            .map_err(|error: PathRejection| Problem::new(Kind::BadParameter, error.body_text()))
    }
}

/// What a body says; no body says nothing.
struct Said<T>(T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media = request.headers().get(header::CONTENT_TYPE).cloned();
        let body = Bytes::from_request(request, state).await;
        // The gate has read all of it.
        let body = body.map_err(|error| Problem::new(Kind::BadBody, error.body_text()))?;
        if body.is_empty() {
            return Ok(Said(T::default()));
        }
        let media = media.as_ref().and_then(|media| media.to_str().ok());
        let media = media.and_then(|media| media.split(';').next());
        if !media.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "the body is JSON, with `Content-Type: application/json`",
            ));
        }
        // A struct could be read from an array as well.
        let object = serde_json::from_slice::<serde_json::Map<_, _>>(&body);
        object
            .and_then(|object| serde_json::from_value(object.into()))
            .map(Said)
            .map_err(|error| Problem::new(Kind::BadBody, error.to_string()))
    }
}

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

async fn document(Parameters(Nothing {}): Parameters<Nothing>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

async fn status(
    State(app): State<Arc<App>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Response, Problem> {
    let status = aside(async move || Status::of(&app.state).await);
    Ok(Json(status.await??).into_response())
}

/// A page of runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<u32>,
    before: Option<i64>,
}

async fn runs(
    State(app): State<Arc<App>>,
    Parameters(Page { limit, before }): Parameters<Page>,
) -> Result<Response, Problem> {
    let limit = limit.unwrap_or(20);
    if !(1..=RUNS).contains(&limit) {
        let detail = format!("`limit` is from 1 to {RUNS}");
        return Err(Problem::new(Kind::BadParameter, detail));
    }
    if before.is_some_and(|before| !(1..=MOST_RUN).contains(&before)) {
        let detail = "`before` is the number of a run";
        return Err(Problem::new(Kind::BadParameter, detail));
    }
    let runs = look(&app, async move |snapshot| {
        snapshot.last_runs(before.map(RunId), limit).await
    });
    let runs = runs.await?;
    Ok(Json(serde_json::json!({"runs": runs})).into_response())
}

/// How a run went, and what it has written, as `dirsyncd history --run N --format json` tells it.
async fn run(
    State(app): State<Arc<App>>,
    Named(run): Named<i64>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Response, Problem> {
    let run = RunId(run);
    let known = look(&app, async move |snapshot| {
        Ok((snapshot.past_run(run).await?, snapshot.pruning().await?))
    });
    let (past_run, pruning) = known.await?;
    let Some(past_run) = past_run else {
        let first = pruning.map(|pruning| pruning.first_run);
        let detail = report::no_such_run(run, first);
        return Err(Problem::new(Kind::NotFound, detail));
    };
    // A run may have written a hundred thousand accounts.
    let (sender, pages) = mpsc::channel(2);
    let (setup, runtime) = (app.state.setup(), Handle::current());
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            let pages = Pages(sender);
            // Who has gone while it waited for its turn does not keep others waiting.
            if pages.0.is_closed() {
                return;
            }
            let Err(error) = tell(&setup.config.database, &past_run, &pages).await else {
                return;
            };
            // The answer ends in the middle, as it should.
            let _ = pages.send(Err(error)).await;
        });
    });
    let pages = futures_util::stream::unfold(pages, async |mut pages: mpsc::Receiver<_>| {
        Some((pages.recv().await?, pages))
    });
    let media = [(header::CONTENT_TYPE, "application/json")];
    Ok((media, Body::from_stream(pages)).into_response())
}

/// Where an answer goes page by page, as long as somebody takes it.
struct Pages(mpsc::Sender<io::Result<Vec<u8>>>);

impl Pages {
    async fn send(&self, page: io::Result<Vec<u8>>) -> io::Result<()> {
        let sent = self.0.send_timeout(page, TAKEN_WITHIN).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

async fn tell(database: &std::path::Path, run: &PastRun, pages: &Pages) -> io::Result<()> {
    let mut snapshot = Snapshot::open_for_reading(database)
        .await
        .map_err(io::Error::other)?;
    let told = tell_run(&mut snapshot, run, pages).await;
    snapshot.close().await.map_err(io::Error::other)?;
    told
}

async fn tell_run(snapshot: &mut Snapshot, run: &PastRun, pages: &Pages) -> io::Result<()> {
    let selection = Selection {
        run: Some(run.run),
        ..Selection::default()
    };
    let history = snapshot.history(selection).await;
    let mut history = history.map_err(io::Error::other)?;
    let mut out = Vec::new();
    let mut sheet = HistorySheet::begin(HistoryForm::Json, &mut out)?;
    loop {
        let page = snapshot.next_writes(&mut history).await;
        let page = page.map_err(io::Error::other)?;
        if page.is_empty() {
            break;
        }
        for write in &page {
            sheet.add(write.as_ref(), &mut out)?;
        }
        pages.send(Ok(std::mem::take(&mut out))).await?;
    }
    // Only now, as it may have been pruned meanwhile.
    let pruning = snapshot.pruning().await.map_err(io::Error::other)?;
    let first = pruning.map(|pruning| pruning.first_run);
    sheet.end(first, Some(run), &mut out)?;
    pages.send(Ok(out)).await
}

/// What is known of a person, as `dirsyncd explain --format json` tells it.
async fn person(
    State(app): State<Arc<App>>,
    Named(who): Named<String>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Response, Problem> {
    /// The longest line of a list of people, in columns.
    const WIDTH: usize = 100;
    let now = chrono::Utc::now();
    let found = look(&app, async move |snapshot| {
        // A run that goes on meanwhile changes what stands there.
        snapshot.stand_still().await?;
        Ok(match snapshot.meant(&who).await? {
            Meant::One(one) => Ok(snapshot.dossier(one, now).await?),
            Meant::Several(people) => Err(Problem::new(
                Kind::Ambiguous,
                format!(
                    "`{who}` may be any of these; give the key, or the DN:\n{}",
                    report::candidates(&people, WIDTH)
                ),
            )),
            Meant::Nobody(near) if near.is_empty() => Err(Problem::new(
                Kind::NotFound,
                format!("nothing is known of `{who}`"),
            )),
            Meant::Nobody(near) => Err(Problem::new(
                Kind::NotFound,
                format!(
                    "nothing is known of `{who}`; names like that have:\n{}",
                    report::candidates(&near, WIDTH)
                ),
            )),
        })
    });
    let dossier = found.await??;
    let config = app.state.setup();
    let explanation = explain(&config.config, &dossier, LAST_OPERATIONS, now);
    Ok(Json(report::explanation_json(&explanation)).into_response())
}

/// A whole number, also one that is written as 2.0, which JSON Schema takes for one as well.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let most = f64::from(u32::MAX);
    if number.fract() != 0.0 || !(0.0..=most).contains(&number) {
        let why = format!("{number} is no number of people: from 0 to {most}");
        return Err(serde::de::Error::custom(why));
    }
    Ok(Some(number as usize))
}

/// What a dry run is to be like.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanOrder {
    /// The form of the report.
    pub format: Form,
    /// So many people a group are shown at most (text only).
    #[serde(deserialize_with = "whole")]
    pub limit: Option<usize>,
    /// Whether every source is read in full.
    pub full: bool,
    /// Whether those depart whom a change of the configuration has put out of scope.
    pub accept_scope_change: bool,
    /// The one person whom it is about.
    pub user: Option<String>,
}

async fn plan(
    State(app): State<Arc<App>>,
    Parameters(Nothing {}): Parameters<Nothing>,
    Said(order): Said<PlanOrder>,
) -> Result<Response, Problem> {
    let only = only_dry_run(&app)?;
    if order.full && order.user.is_some() {
        return Err(Problem::new(
            Kind::BadBody,
            "`full` is for all, `user` for one person: give one of them",
        ));
    }
    let planned = aside(async move || {
        let _only = only;
        let orders = Orders {
            depth: match order.full {
                true => Depth::Full,
                false => Depth::Changes,
            },
            accepts_scope_change: order.accept_scope_change,
            person: order.user.as_deref(),
        };
        let plan = dry(&app, orders).await?;
        let ended = match Ended::with(&plan) {
            Ended::Done if plan.has_pending() => HeaderValue::from_static(PENDING),
            ended => header_of(ended),
        };
        let (form, detail) = laid_out(order.format, order.limit);
        let report = report::planned(&plan, form, detail);
        Ok::<_, Problem>((ended, report::summary_line(&plan), report))
    });
    let (ended, last, report) = planned.await??;
    Ok(reported(ended, &last, order.format, report))
}

/// The place of the one dry run that may be at work.
pub(super) fn only_dry_run(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&app.dry_run).try_acquire_owned().map_err(|_| {
        Problem::new(
            Kind::Busy,
            "another dry run is at work: try again in a moment",
        )
    })
}

/// A dry run, until the daemon is to stop, or it hangs.
pub(super) async fn dry(app: &App, orders: Orders<'_>) -> Result<Plan, Problem> {
    let (stop, setup) = (app.stop.clone(), app.state.setup());
    let hang_after = setup.config.daemon.hang_after;
    let pulse = Arc::new(Pulse::default());
    pulse.turn(true);
    let control = Control {
        watch: &*pulse,
        stop: stop.clone(),
        now: &chrono::Utc::now,
        asked_by: None,
    };
    let plan = tokio::select! {
        planned = watched(pulse.watcher(None), Box::pin(dry_run(&setup, orders, &control))) => planned,
        () = stop.wait() => return Err(Problem::stopping()),
        () = pulse.hung_for(hang_after) => return Err(Problem::hung(hang_after)),
    };
    plan.map_err(|error| Problem::from(&error))
}

fn header_of(ended: Ended) -> HeaderValue {
    let name = serde_json::to_value(ended).ok();
    let name = name.as_ref().and_then(|name| name.as_str());
    name.and_then(|name| HeaderValue::from_str(name).ok())
        .unwrap_or(HeaderValue::from_static("failed"))
}

fn reported(ended: HeaderValue, last: &str, form: Form, report: String) -> Response {
    let last = utf8_percent_encode(last, NON_ALPHANUMERIC).to_string();
    let last = HeaderValue::from_str(&last).unwrap_or(HeaderValue::from_static(""));
    (
        [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static(form.media_type()),
            ),
            (ENDED, ended),
            (LAST_LINE, last),
        ],
        report,
    )
        .into_response()
}

/// What a sync is to be like.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyncOrder {
    /// Whether its end is waited for, to be told.
    pub wait: bool,
    /// Whether every source is read in full.
    pub full: bool,
    /// The form of the report, if it is waited for.
    pub format: Form,
    /// So many people a group are shown at most (text only).
    #[serde(deserialize_with = "whole")]
    pub limit: Option<usize>,
}

async fn sync(
    State(app): State<Arc<App>>,
    Extension(invoker): Extension<Invoker>,
    Parameters(Nothing {}): Parameters<Nothing>,
    Said(order): Said<SyncOrder>,
) -> Result<Response, Problem> {
    let now = app.state.now();
    if let Some(pause) = &now.pause {
        return Err(Problem::paused(pause));
    }
    let job = match order.full {
        true => Job::Full,
        false => Job::Sync,
    };
    tracing::info!(by = invoker.name, uid = invoker.uid, %job, "asked to sync");
    let (done, outcome) = oneshot::channel();
    let wish = Wish::Do {
        job,
        asker: Some(Asker { by: invoker, done }),
    };
    let heard = app.wishes.send(wish).await;
    heard.map_err(|_| Problem::stopping())?;
    if !order.wait {
        let after = now.job.map(|begun| begun.job);
        let will_run = Json(serde_json::json!({"job": job, "after": after}));
        return Ok((StatusCode::ACCEPTED, will_run).into_response());
    }
    let outcome = match outcome.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(NotDone::Paused(pause))) => return Err(Problem::paused(&pause)),
        Ok(Err(NotDone::Stopping)) | Err(_) => return Err(Problem::stopping()),
    };
    match &*outcome {
        Ok(finished) => {
            let Finished { run, plan, applied } = finished;
            let laid_out = laid_out(order.format, order.limit);
            let report = report::finished(*run, plan, applied, None, laid_out);
            let ended = match &finished.applied.ended_by {
                // By somebody else than whoever waits for it.
                Some(EndedBy::Stop) => Ended::SomeFailed,
                _ => finished.ended(),
            };
            let last = report::finished_line(plan, applied);
            Ok(reported(header_of(ended), &last, order.format, report))
        }
        Err(error) => Err(error.into()),
    }
}

/// The form that was asked for, and how it is laid out.
fn laid_out(form: Form, limit: Option<usize>) -> (Form, Detail) {
    let detail = Detail {
        limit,
        made_at: Some(chrono::Utc::now()),
        ..Detail::default()
    };
    (form, detail)
}

/// Why it is paused.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PauseOrder {
    /// In words.
    pub reason: String,
}

async fn pause(
    State(app): State<Arc<App>>,
    Extension(invoker): Extension<Invoker>,
    Parameters(Nothing {}): Parameters<Nothing>,
    Said(PauseOrder { reason }): Said<PauseOrder>,
) -> Result<Response, Problem> {
    let reason =
        Pause::reason(&reason).map_err(|error| Problem::new(Kind::BadBody, error.to_string()))?;
    tracing::info!(
        by = invoker.name,
        uid = invoker.uid,
        reason,
        "asked to pause"
    );
    let pause = Pause {
        since: chrono::Utc::now(),
        asked_by: invoker,
        reason,
    };
    put(&app, Some(pause)).await
}

/// Nothing to say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Silence {}

async fn resume(
    State(app): State<Arc<App>>,
    Extension(invoker): Extension<Invoker>,
    Parameters(Nothing {}): Parameters<Nothing>,
    Said(Silence {}): Said<Silence>,
) -> Result<Response, Problem> {
    tracing::info!(by = invoker.name, uid = invoker.uid, "asked to go on");
    put(&app, None).await
}

/// Puts a pause on, or off, and tells how things stand then.
async fn put(app: &Arc<App>, pause: Option<Pause>) -> Result<Response, Problem> {
    let app = Arc::clone(app);
    // That somebody does not wait for the answer must not leave it half done.
    let put = in_thread(async move || {
        let _alone = app.pausing.lock().await;
        let database = app.state.setup().config.database.clone();
        keep_pause(&app.lock, &database, pause.as_ref()).await?;
        app.state.change(|now| now.pause = pause);
        // While it stops, nobody looks any more.
        let _ = app.wishes.send(Wish::Look).await;
        Ok::<_, Problem>(Json(Status::of(&app.state).await?).into_response())
    });
    put.await.ok_or_else(Problem::stopping)?
}

/// Reads the database.
pub(super) async fn look<T: Send + 'static>(
    app: &App,
    look: impl AsyncFnOnce(&mut Snapshot) -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, Problem> {
    let setup = app.state.setup();
    let seen = aside(async move || {
        let mut snapshot = Snapshot::open_for_reading(&setup.config.database).await?;
        let seen = look(&mut snapshot).await;
        snapshot.close().await?;
        seen
    });
    Ok(seen.await??)
}

/// Does something that takes its time in a thread of its own, and drops it when nobody waits for it any more.
pub(super) async fn aside<T: Send + 'static>(
    work: impl AsyncFnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let (waiting, gone) = oneshot::channel::<()>();
    let done = in_thread(async move || {
        tokio::select! {
            done = work() => Some(done),
            _ = gone => None,
        }
    });
    let done = done.await;
    drop(waiting);
    done.flatten().ok_or_else(Problem::stopping)
}

/// Does something to its end, whoever waits for it; `None` when the process ends.
pub(super) async fn in_thread<T: Send + 'static>(
    work: impl AsyncFnOnce() -> T + Send + 'static,
) -> Option<T> {
    let runtime = Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work()));
    done.await.ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let documented: BTreeSet<String> = paths
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let routes = routes().into_iter().chain(super::super::health::routes());
        let served = routes.map(|(method, path, _)| format!("{method} {path}"));
        assert_eq!(served.collect::<BTreeSet<_>>(), documented);
    }
}
