//! The status page: what the API tells, for people, and a dry run at a click.
//!
//! Pages are made here, without a build step and without a script: `script.js` is only for comfort. Everything on them
//! is escaped (`html.rs`), and the policy that goes with them lets nothing run that is not served here.
//! At the port a browser shows a cookie that it gets for the token (`session.rs`); at the socket the kernel tells who
//! asks. What changes something takes the code of the session, and comes from a page of ours.

mod chart;
mod dry_run;
mod history;
mod html;
mod overview;
mod person;
mod plan;
mod session;

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use maud::html;

use super::App;
use super::api::Routed;
use super::gate::{self, Known, Peer};
use super::problem::{Kind, Problem};
use crate::model::Invoker;
use dry_run::DryRuns;
use html::{Page, Place, code_of, link};
use session::{NoLogin, Sessions, cookie_of, new_cookie, set_cookie};

/// The field of a form that shows that it is of the session.
const CODE: &str = "code";

/// What a browser may do on our pages: nothing that is not served here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The first part of the path of what anybody may have.
const ASSETS: &str = "/assets/";

const LOGIN: &str = "/login";

/// What the pages keep in memory.
pub(super) struct Desk {
    sessions: Sessions,
    dry_runs: DryRuns,
}

impl Desk {
    pub(super) fn new() -> Self {
        Desk {
            sessions: Sessions::new(),
            dry_runs: DryRuns::default(),
        }
    }
}

fn routes() -> Vec<Routed> {
    vec![
        (Method::GET, "/", get(overview::overview)),
        (Method::GET, "/plan", get(plan::plan)),
        (Method::POST, "/plan", post(plan::begin)),
        (Method::GET, "/runs", get(history::runs)),
        (Method::GET, "/runs/{run}", get(history::run)),
        (Method::GET, "/history", get(history::history)),
        (Method::GET, "/people", get(person::person)),
        (Method::GET, "/holds/{number}", get(overview::hold)),
        (Method::GET, "/quarantine", get(overview::quarantine)),
        (Method::GET, LOGIN, get(login)),
        (Method::POST, LOGIN, post(log_in)),
        (Method::POST, "/logout", post(log_out)),
        (Method::GET, "/assets/style.css", get(style)),
        (Method::GET, "/assets/script.js", get(script)),
        (Method::GET, "/assets/icon.svg", get(icon)),
    ]
}

/// The pages, behind a gate of their own.
pub(super) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    super::routed(routes()).layer(from_fn_with_state(Arc::clone(app), pass))
}

/// Who looks at a page.
#[derive(Clone)]
struct Visitor {
    /// Who it is; not known before the login.
    invoker: Option<Invoker>,
    /// Whether it is by a login that one can end.
    has_logged_in: bool,
    /// What shows that a form is of this session.
    code: String,
    cookie: String,
}

/// What a form says.
#[derive(Clone)]
struct Form(Arc<HashMap<String, String>>);

/// What a query says; what is empty is not said.
struct Asked(HashMap<String, String>);

impl Asked {
    fn of(Query(query): Query<HashMap<String, String>>) -> Self {
        let said = query.into_iter();
        let said = said.map(|(name, value)| (name, value.trim().to_owned()));
        Asked(said.filter(|(_, value)| !value.is_empty()).collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A whole number.
    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let given = self.0.get(name).map(|text| text.parse::<T>());
        given.transpose().map_err(|_| {
            let detail = format!("`{name}` is a number, and not {}", self.text(name));
            Problem::new(Kind::BadParameter, detail)
        })
    }
}

/// Why there is no page, as one.
struct NoPage(Problem);

impl<P: Into<Problem>> From<P> for NoPage {
    fn from(problem: P) -> Self {
        NoPage(problem.into())
    }
}

impl IntoResponse for NoPage {
    fn into_response(self) -> Response {
        let details = self.0.details();
        let body = html! {
            p.lines { (html::prose(&details.detail)) }
            p { a href="/" { "To the status" } }
        };
        let page = Page::of(None, Place::Elsewhere, &details.title, body);
        page.response(StatusCode::from_u16(details.status).unwrap_or(StatusCode::BAD_REQUEST))
    }
}

/// Lets a request through to its page, or leads to the login.
async fn pass(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Extension(known): Extension<Known>,
    request: Request,
    next: Next,
) -> Response {
    let is_asset = request.uri().path().starts_with(ASSETS);
    let mut response = match admit(&app, peer, &known, request).await {
        Ok((request, cookie)) => {
            let mut response = next.run(request).await;
            let is_set = response.headers().contains_key(header::SET_COOKIE);
            if let Some(cookie) = cookie.filter(|_| !is_asset && !is_set) {
                give(&mut response, &cookie);
            }
            response
        }
        Err(response) => *response,
    };
    let headers = response.headers_mut();
    let cache = if is_asset { "no-cache" } else { "no-store" };
    for (name, value) in [
        (header::CACHE_CONTROL, cache),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // With none at all, forms would not tell where they come from.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn give(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(&set_cookie(cookie)) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}

/// The request with the visitor and the form as extensions, and a cookie to be set, if there was none.
async fn admit(
    app: &Arc<App>,
    peer: Peer,
    known: &Known,
    request: Request,
) -> Result<(Request, Option<String>), Box<Response>> {
    let refuse = |problem: Problem| {
        let mut refusal = NoPage(problem).into_response();
        gate::close(&mut refusal);
        Box::new(refusal)
    };
    gate::expect_local(&request).map_err(refuse)?;
    let headers = request.headers();
    let shown = cookie_of(headers).map(str::to_owned);
    let is_new = shown.is_none();
    let cookie = shown.unwrap_or_else(new_cookie);
    let path = request.uri().path();
    let is_open = path == LOGIN || path.starts_with(ASSETS);
    let (invoker, has_logged_in) = match peer {
        Peer::User(uid) => (Some(gate::of_user(uid).map_err(refuse)?), false),
        Peer::Anybody if headers.contains_key(header::AUTHORIZATION) => (
            Some(gate::of_token(app, headers).await.map_err(refuse)?),
            false,
        ),
        Peer::Anybody => match gate::read_token(app).await {
            Some(token) if app.desk.sessions.is_open(&cookie, &token) => {
                (Some(gate::whoever_has_the_token()), true)
            }
            _ if is_open => (None, false),
            _ => return Err(Box::new(to_login(&request))),
        },
    };
    if invoker.is_some() {
        known.see();
    }
    let request = gate::with_body(request).await.map_err(refuse)?;
    let (mut parts, body) = request.into_parts();
    // The gate has read all of it.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let form = form(&body);
        gate::expect_own_page(&parts.headers, true).map_err(refuse)?;
        let given = form.0.get(CODE).map_or("", String::as_str);
        if is_new || !app.desk.sessions.is_form_code(&cookie, given) {
            return Err(refuse(Problem::new(
                Kind::Forbidden,
                "the form is of another session, or has none: load the page anew, and let it keep a cookie",
            )));
        }
        parts.extensions.insert(form);
    }
    parts.extensions.insert(Visitor {
        code: app.desk.sessions.form_code(&cookie),
        invoker,
        has_logged_in,
        cookie: cookie.clone(),
    });
    let request = Request::from_parts(parts, body.into());
    Ok((request, is_new.then_some(cookie)))
}

fn form(body: &Bytes) -> Form {
    let fields = url::form_urlencoded::parse(body).into_owned();
    Form(Arc::new(fields.collect()))
}

fn to_login(request: &Request) -> Response {
    let target = request.uri().path_and_query();
    let next = target.map_or("", |target| target.as_str());
    let next = match request.method() {
        &Method::GET if next != "/" => next,
        _ => "",
    };
    Redirect::to(&link(LOGIN, &[("next", next)])).into_response()
}

async fn login(
    Extension(visitor): Extension<Visitor>,
    query: Query<HashMap<String, String>>,
) -> Response {
    let asked = Asked::of(query);
    login_page(&visitor, asked.text("next"), None, StatusCode::OK)
}

fn login_page(visitor: &Visitor, next: &str, wrong: Option<&str>, status: StatusCode) -> Response {
    let body = html! {
        form.login method="post" action=(LOGIN) {
            (code_of(visitor))
            input type="hidden" name="next" value=(next);
            @if let Some(wrong) = wrong { p.wrong #wrong role="alert" { (wrong) } }
            p {
                label for="token" { "Token of this daemon" }
                input #token type="password" name="token" autocomplete="current-password" required autofocus
                    aria-describedby=(if wrong.is_some() { "wrong hint" } else { "hint" })
                    aria-invalid=[wrong.map(|_| "true")];
            }
            p.hint #hint {
                "It is the one that " code { "token" } " in " code { "[daemon]" } " of the configuration names."
            }
            p { button type="submit" { "Log in" } }
        }
    };
    let page = Page::of(Some(visitor), Place::Elsewhere, "Log in", body);
    page.response(status)
}

async fn log_in(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Extension(Form(form)): Extension<Form>,
) -> Response {
    let said = |name: &str| form.get(name).map_or("", String::as_str);
    let next = said("next");
    let given = said("token").trim();
    let Some(token) = gate::read_token(&app).await else {
        // At the socket nobody needs to.
        return Redirect::to("/").into_response();
    };
    let is_right = gate::is_same(given.as_bytes(), &token);
    match app.desk.sessions.log_in(&token, is_right).await {
        Ok(cookie) => {
            tracing::info!("a browser has logged in at the port");
            let is_ours = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
            let mut response = Redirect::to(if is_ours { next } else { "/" }).into_response();
            give(&mut response, &cookie);
            response
        }
        Err(why) => {
            tracing::warn!("a browser has tried a wrong token at the port");
            let (wrong, status) = match why {
                NoLogin::Wrong => (
                    "That is not the token of this daemon.",
                    StatusCode::FORBIDDEN,
                ),
                NoLogin::TooMany => (
                    "Too many wrong tokens are being tried: try again in a moment.",
                    StatusCode::TOO_MANY_REQUESTS,
                ),
            };
            login_page(&visitor, next, Some(wrong), status)
        }
    }
}

async fn log_out(State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>) -> Response {
    app.desk.sessions.log_out(&visitor.cookie);
    let mut response = Redirect::to(LOGIN).into_response();
    give(&mut response, &new_cookie());
    response
}

async fn style(headers: HeaderMap) -> Response {
    asset(
        &headers,
        "text/css; charset=utf-8",
        concat!(
            include_str!("../../../report/page/palette.css"),
            include_str!("style.css")
        ),
    )
}

async fn script(headers: HeaderMap) -> Response {
    asset(
        &headers,
        "text/javascript; charset=utf-8",
        include_str!("script.js"),
    )
}

async fn icon(headers: HeaderMap) -> Response {
    asset(&headers, "image/svg+xml", include_str!("icon.svg"))
}

/// A file of the program, if the browser does not have it.
fn asset(headers: &HeaderMap, media: &'static str, text: &'static str) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..16]);
    let known = headers.get(header::IF_NONE_MATCH);
    let is_known = known
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| {
            let mut tags = known
                .split(',')
                .map(|one| one.trim().trim_start_matches("W/"));
            tags.any(|one| one == tag || one == "*")
        });
    let tag = [(header::ETAG, tag)];
    match is_known {
        true => (StatusCode::NOT_MODIFIED, tag).into_response(),
        false => (tag, [(header::CONTENT_TYPE, media)], text).into_response(),
    }
}
