//! What every request passes on its way: its id, the limit of its API, the log, the rules of faults, the key.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::answers::{BODY_LIMIT, ListedError, ManagementError, ScimError, no_route};
use super::faults::{Fault, When};
use super::journal::Entry;
use super::line::Line;
use super::past::Snapshot;
use super::{App, Shared, control, directory, management, organization, scim, spoil};

/// Which API a path belongs to: decides on the key and on the shape of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Scim,
    Management,
    Organization,
    Control,
    Nowhere,
}

impl Area {
    pub(super) fn of(path: &str) -> Self {
        match path.split('/').nth(1) {
            Some("scim") => Self::Scim,
            Some("users") => Self::Management,
            Some("admin") => Self::Organization,
            Some("_simulator") => Self::Control,
            _ => Self::Nowhere,
        }
    }

    /// The directory's key for SCIM, the organization's for the rest (contract section 1). A path of no API is
    /// refused by its 404, key or not.
    fn key(self, app: &Shared) -> Option<&str> {
        match self {
            Self::Scim => Some(&app.scim_key),
            Self::Management | Self::Organization => Some(&app.admin_key),
            Self::Control | Self::Nowhere => None,
        }
    }

    /// What is refused before a route is reached, in this API's shape. No document shows a body for 429.
    fn refusal(self, status: StatusCode, detail: &str) -> Response {
        match self {
            Self::Scim => ScimError::other(status, detail).into_response(),
            Self::Management if status == StatusCode::UNAUTHORIZED => {
                ManagementError::plain(status, "unauthorized").into_response()
            }
            Self::Management => {
                let key = match status {
                    StatusCode::TOO_MANY_REQUESTS => "tooManyRequests",
                    StatusCode::PAYLOAD_TOO_LARGE => "bodyParseFailure",
                    _ => "internalServerError",
                };
                ManagementError::plain(status, key).into_response()
            }
            Self::Organization | Self::Control | Self::Nowhere => {
                ListedError(status, detail.to_owned()).into_response()
            }
        }
    }
}

/// All routes behind the gate. The ids of the directory and the organization are part of the routes, so that another
/// one's is a path that does not exist: 404.
pub(super) fn router(app: App) -> Router {
    Router::new()
        .nest(
            &format!("/scim/directory/{}", app.directory),
            scim::routes(),
        )
        .nest("/users/{account}/manage", management::routes())
        .nest(
            "/admin",
            organization::routes(&app.organization)
                .merge(directory::routes(&app.organization, &app.directory)),
        )
        .nest("/_simulator", control::routes())
        .fallback(|request: Request| no_route(request, StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(|request: Request| {
            no_route(request, StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), gate))
        .with_state(app)
}

async fn gate(
    State(app): State<App>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
    next: Next,
) -> Response {
    let id = Uuid::new_v4().to_string();
    let mut response = match Area::of(request.uri().path()) {
        Area::Control => next.run(request).await,
        // In a task of its own: like behind a real gateway, a request that has arrived is carried out even when its
        // client hangs up meanwhile.
        area => tokio::spawn(outside(app, area, line, id.clone(), request, next))
            .await
            .unwrap_or_else(|_| {
                area.refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
            }),
    };
    // A UUID is a valid header value.
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// A request from outside, not to the control routes.
async fn outside(
    app: App,
    area: Area,
    line: Line,
    id: String,
    request: Request,
    next: Next,
) -> Response {
    let standing = app.limits.take(area);
    let wait = standing.and_then(|standing| standing.wait);
    let mut response = logged(&app, area, line, id, wait, request, next).await;
    if let Some(standing) = standing {
        standing.mark(response.headers_mut());
    }
    response
}

/// Notes the request, lets the rules of faults do what they say, and answers. A request over the limit (`wait`) is
/// refused before any rule sees it.
async fn logged(
    app: &App,
    area: Area,
    line: Line,
    id: String,
    wait: Option<i64>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return area.refusal(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.");
    };
    let path = parts.uri.path();
    let fault = match wait {
        None => app.faults.strike(parts.method.as_str(), path),
        Some(_) => None,
    };
    let seq = app.journal.note(Entry {
        method: parts.method.to_string(),
        path: app.without_keys(path),
        query: parts.uri.query().map(|query| app.without_keys(query)),
        request_id: id,
        body: is_write(&parts.method).then(|| app.without_keys(&String::from_utf8_lossy(&body))),
        fault: wait
            .map(|_| "limit")
            .or_else(|| fault.as_ref().map(Fault::name)),
    });
    let request = Request::from_parts(parts, Body::from(body));
    let response = match (wait, fault) {
        (Some(wait), _) => {
            let detail = format!("Too many requests. Try again in {wait} seconds.");
            area.refusal(StatusCode::TOO_MANY_REQUESTS, &detail)
        }
        (None, Some(Fault::Cut(when))) => {
            if when == When::After {
                answer(app, area, request, next).await;
            }
            line.cut();
            return StatusCode::NO_CONTENT.into_response();
        }
        (None, fault) => faulty(app, area, line, fault, request, next).await,
    };
    app.journal.answered(seq, response.status().as_u16());
    response
}

/// The answer under a fault that leaves one.
async fn faulty(
    app: &App,
    area: Area,
    line: Line,
    fault: Option<Fault>,
    request: Request,
    next: Next,
) -> Response {
    match fault {
        Some(Fault::Answer(response)) => response,
        Some(Fault::Html(When::Before)) => spoil::html(),
        Some(Fault::Html(When::After)) => {
            answer(app, area, request, next).await;
            spoil::html()
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            answer(app, area, request, next).await
        }
        Some(Fault::Truncate) => {
            spoil::truncate(answer(app, area, request, next).await, line).await
        }
        Some(Fault::Drip(pause)) => {
            spoil::drip(answer(app, area, request, next).await, pause).await
        }
        Some(Fault::Stale(time)) => {
            let before = Snapshot::take(app.store.readers()).await;
            let response = answer(app, area, request, next).await;
            match before {
                Ok(before) => app.store.past().keep(before, time).await,
                Err(error) => {
                    tracing::error!(%error, "no stale reads: the simulator's database failed")
                }
            }
            response
        }
        Some(Fault::Cut(_)) | None => answer(app, area, request, next).await,
    }
}

async fn answer(app: &App, area: Area, request: Request, next: Next) -> Response {
    if area
        .key(app)
        .is_some_and(|key| bearer(request.headers()) != Some(key))
    {
        return area.refusal(
            StatusCode::UNAUTHORIZED,
            "The API key is missing or not valid here.",
        );
    }
    if let Err(error) = app.store.settle().await {
        tracing::error!(%error, "the simulator's database failed");
        return area.refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error");
    }
    next.run(request).await
}

fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1); the scheme's name is case-insensitive.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Shared {
    /// A text from outside as the log may keep it: a client that sends a key in a wrong place must not have it shown.
    fn without_keys(&self, text: &str) -> String {
        text.replace(&self.scim_key, "[key]")
            .replace(&self.admin_key, "[key]")
    }
}

/// The URL by which the client knows this server, for the links in answers.
pub(super) struct Base(pub(super) String);

impl FromRequestParts<App> for Base {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        Ok(Self(host.map_or_else(
            || app.url.clone(),
            |host| format!("http://{host}"),
        )))
    }
}
