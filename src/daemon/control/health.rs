//! What those look at who watch over the daemon: whether it lives, whether it can do its work, and the figures.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::App;
use super::api::{Nothing, Parameters, Routed, aside};
use super::problem::{Kind, Problem};
use crate::daemon::metrics;
use crate::snapshot::{Census, Snapshot, SnapshotError};

/// How long reading the database may take: whoever watches does not wait for longer.
const READ_WITHIN: Duration = Duration::from_secs(5);

const HEALTHY: &str = "/healthz";
const READY: &str = "/readyz";

/// Whether what is asked for tells nothing that needs a token.
pub(super) fn is_open(path: &str) -> bool {
    [HEALTHY, READY].contains(&path)
}

pub(super) fn routes() -> Vec<Routed> {
    vec![
        (Method::GET, HEALTHY, get(healthy)),
        (Method::GET, READY, get(ready)),
        (Method::GET, "/metrics", get(figures)),
    ]
}

/// Whether the work goes on; nothing else needs a restart.
async fn healthy(
    State(app): State<Arc<App>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Response {
    let now = app.state.now();
    let hang_after = now.setup.config.daemon.hang_after;
    let hanging = app.state.pulse.hangs_for(hang_after);
    let status = match hanging {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    };
    let looked = json!({
        "healthy": !hanging,
        "hanging": hanging,
        "hang_after_seconds": hang_after.as_secs(),
        "at_work": now.job.map(|begun| begun.job),
        "paused": now.pause.is_some(),
    });
    (status, Json(looked)).into_response()
}

/// Whether it has started, and the database can be read.
async fn ready(
    State(app): State<Arc<App>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Response, Problem> {
    if app.stop.requested() {
        return Err(Problem::stopping());
    }
    if !app.state.is_ready() {
        return Err(Problem::new(Kind::NotReady, "the daemon is starting"));
    }
    census(&app).await.map_err(|why| {
        // Only whoever has a token is told where it is.
        if app.not_ready.may_tell() {
            tracing::warn!("not ready: the database cannot be read: {why}");
        }
        let detail = "the database cannot be read; the daemon's log says why";
        Problem::new(Kind::NotReady, detail)
    })?;
    Ok(Json(json!({"ready": true})).into_response())
}

async fn figures(
    State(app): State<Arc<App>>,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Response {
    let census = census(&app).await;
    if let Err(why) = &census {
        tracing::warn!("the figures of the database are left out: {why}");
    }
    let now = chrono::Utc::now();
    let page = metrics::page(&app.state, census.ok().as_ref(), now);
    ([(header::CONTENT_TYPE, metrics::MEDIA)], page).into_response()
}

/// The figures of the database, or in words why it cannot be read.
async fn census(app: &App) -> Result<Census, String> {
    let setup = app.state.setup();
    // Elsewhere one that is not there yet reads as an empty one.
    if !setup.config.database.exists() {
        return Err(format!("{} is gone", setup.config.database.display()));
    }
    let read = aside(async move || {
        let mut snapshot = Snapshot::open_for_reading(&setup.config.database).await?;
        // They are to be of one moment, while a run goes on.
        let census = match snapshot.stand_still().await {
            Ok(()) => snapshot.census(setup.config.apply.quarantine_after).await,
            Err(error) => Err(error),
        };
        snapshot.close().await?;
        census
    });
    match tokio::time::timeout(READ_WITHIN, read).await {
        Ok(Ok(census)) => census.map_err(|error: SnapshotError| error.to_string()),
        Ok(Err(_)) => Err("the daemon stops".to_owned()),
        Err(_) => Err(format!("it took longer than {} s", READ_WITHIN.as_secs())),
    }
}
