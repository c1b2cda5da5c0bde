//! What every request passes before it is answered: who asks, for which host, and how much.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HOST, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use nix::unistd::Uid;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::problem::{Kind, Problem};
use super::{App, CannotListen, health};
use crate::config::{real_name, user_name};
use crate::model::Invoker;

/// The most octets of a body.
const MOST: usize = 64 * 1024;

/// How long a body may take to come.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// A token of fewer octets could be found by trying.
pub(super) const SHORTEST_TOKEN: usize = 16;

/// The header by which whoever asks may tell which database it is to be about: an order that came to the daemon of
/// another one, and so of another organization, is not carried out.
pub(in crate::daemon) const DATABASE: HeaderName = HeaderName::from_static("x-dirsyncd-database");

/// The value of [`DATABASE`] for this one: its real path, with what is not ASCII escaped.
pub(in crate::daemon) fn database_name(database: &Path) -> String {
    let name = real_name(database);
    name.as_os_str().as_bytes().escape_ascii().to_string()
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// A process of this user, as the kernel tells (unix(7), `SO_PEERCRED`).
    User(Uid),
    /// Anybody on this machine.
    Anybody,
}

/// Whether somebody who may ask has asked on a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<AtomicBool>);

impl Known {
    /// It is known who asks.
    pub(super) fn see(&self) {
        self.0.store(true, Relaxed);
    }

    pub(super) fn is_so(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// How often at most the log has what anybody can bring about by asking.
const SELDOM: Duration = Duration::from_secs(60);

/// What is told in the log, and not again for [`SELDOM`], as whoever may not ask could fill it.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it may be told now; it is taken as told then.
    pub(super) fn may_tell(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| last.elapsed() >= SELDOM);
        if may {
            *last = Some(Instant::now());
        }
        may
    }
}

/// Lets a request through to its route, or answers it.
pub(super) async fn pass(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Extension(known): Extension<Known>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match admit(&app, peer, &known, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => {
            let mut refusal = problem.into_response();
            close(&mut refusal);
            refusal
        }
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whoever was refused does not keep its place.
pub(super) fn close(refusal: &mut Response) {
    let close = HeaderValue::from_static("close");
    refusal.headers_mut().insert(CONNECTION, close);
}

/// The request with who asks as an extension, and with all of its body.
async fn admit(
    app: &App,
    peer: Peer,
    known: &Known,
    mut request: Request,
) -> Result<Request, Problem> {
    expect_local(&request)?;
    let invoker = match peer {
        Peer::User(uid) => Some(of_user(uid)?),
        Peer::Anybody if health::is_open(request.uri().path()) => None,
        Peer::Anybody => Some(of_token(app, request.headers()).await?),
    };
    if !request.method().is_safe() {
        expect_own_page(request.headers(), false)?;
    }
    if let Some(invoker) = invoker {
        known.see();
        expect_database(app, request.headers())?;
        request.extensions_mut().insert(invoker);
    }
    with_body(request).await
}

/// The request with all of its body.
pub(super) async fn with_body(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MOST as u64) {
        return Err(too_large());
    }
    let whole = tokio::time::timeout(BODY_WITHIN, to_bytes(body, MOST)).await;
    let whole = whole.map_err(|_| {
        let detail = format!("the body has to come within {} s", BODY_WITHIN.as_secs());
        Problem::new(Kind::TooSlow, detail)
    })?;
    let whole = whole.map_err(|_| too_large())?;
    Ok(Request::from_parts(parts, Body::from(whole)))
}

/// Nobody is told of the database who may not ask.
fn expect_database(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let served = database_name(&app.state.setup().config.database);
    for meant in headers.get_all(DATABASE) {
        // An empty one names none.
        if !meant.is_empty() && meant.as_bytes() != served.as_bytes() {
            let detail = format!(
                "the daemon here is that of another database, {served}, and not of {}: nothing was done; see `socket` and `database` in the configuration",
                meant.as_bytes().escape_ascii()
            );
            return Err(Problem::new(Kind::OtherDatabase, detail));
        }
    }
    Ok(())
}

fn too_large() -> Problem {
    let detail = format!("a body has {MOST} octets at most");
    Problem::new(Kind::TooLarge, detail)
}

/// Whatever the mode of the socket is, or was while it was made.
pub(super) fn of_user(uid: Uid) -> Result<Invoker, Problem> {
    let own = Uid::effective();
    if !uid.is_root() && uid != own {
        let detail = format!("only root and {} may ask this daemon", user_name(own));
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    Ok(Invoker {
        name: user_name(uid),
        uid: uid.as_raw(),
        sudo_user: None,
    })
}

/// Whoever has the token may have it from the daemon's own user alone.
pub(super) async fn of_token(app: &App, headers: &HeaderMap) -> Result<Invoker, Problem> {
    let given = headers.get(AUTHORIZATION).and_then(bearer);
    let token = match given {
        None => None,
        Some(_) => read_token(app).await,
    };
    match (given, token) {
        (Some(given), Some(token)) if is_same(given, &token) => Ok(whoever_has_the_token()),
        (None, _) => Err(Problem::new(
            Kind::Unauthorized,
            "give the token of [daemon] by `Authorization: Bearer TOKEN`",
        )),
        _ => Err(Problem::new(
            Kind::Unauthorized,
            "the token is another one than that of [daemon]",
        )),
    }
}

/// Who asks at the port.
pub(super) fn whoever_has_the_token() -> Invoker {
    Invoker {
        name: "token".to_owned(),
        uid: Uid::effective().as_raw(),
        sudo_user: None,
    }
}

/// The token as it is now; what is wrong with it is for the log alone.
pub(super) async fn read_token(app: &App) -> Option<SecretString> {
    let listen = app.state.setup().config.daemon.listen.clone()?;
    // Where it is may be slow.
    let read = tokio::task::spawn_blocking(move || listen.token.read()).await;
    let error = match read.ok()? {
        Ok(token) if token.expose_secret().len() >= SHORTEST_TOKEN => return Some(token),
        Ok(_) => CannotListen::ShortToken,
        Err(error) => CannotListen::Token(error),
    };
    if app.bad_token.may_tell() {
        tracing::error!("nobody is let in at the port: {error}");
    }
    None
}

fn bearer(header: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = header.as_bytes().split_at_checked("Bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ");
    is_bearer.then(|| token.trim_ascii())
}

/// Takes as long for any token: digests are compared, and as a whole (`blake3::Hash`).
pub(super) fn is_same(given: &[u8], token: &SecretString) -> bool {
    let token = token.expose_secret().as_bytes();
    token.len() >= SHORTEST_TOKEN && blake3::hash(given) == blake3::hash(token)
}

/// A page of elsewhere may have a name that leads to this machine, and have a browser ask for it here; also at the
/// socket, to which `ssh -L` may lead.
pub(super) fn expect_local(request: &Request) -> Result<(), Problem> {
    is_local(request.headers().get(HOST), request.uri().authority())
}

/// What a browser says of the page that sends a request (Fetch, sections 3.2 and 3.7): it must not be of another
/// origin. Other programs say nothing, which is good enough if it `must` not be said.
pub(super) fn expect_own_page(headers: &HeaderMap, must: bool) -> Result<(), Problem> {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let host = text("host").unwrap_or_default();
    let origin = text("origin").map(|origin| {
        let origin = origin.split_once("://");
        origin.is_some_and(|(scheme, authority)| {
            matches!(scheme, "http" | "https") && authority.eq_ignore_ascii_case(host)
        })
    });
    // `none` is somebody's own doing, as of an address that is typed.
    let site =
        text("sec-fetch-site").map(|site| site == "same-origin" || (!must && site == "none"));
    let is_own = match (origin, site) {
        (None, None) => !must,
        (origin, site) => origin.unwrap_or(true) && site.unwrap_or(true),
    };
    if is_own {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Forbidden,
        "the request comes from a page of elsewhere",
    ))
}

fn is_local(header: Option<&HeaderValue>, target: Option<&Authority>) -> Result<(), Problem> {
    let header = header.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let is_local = |authority: &Authority| {
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let address = address.parse::<std::net::IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    };
    if header.as_ref().is_some_and(is_local) && target.is_none_or(is_local) {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Misdirected,
        "`Host` must be a loopback address or localhost",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_requests_for_this_machine_are_answered() {
        for (host, is_local) in [
            ("localhost", true),
            ("LOCALHOST:8765", true),
            ("127.0.0.1:8765", true),
            ("127.9.9.9", true),
            ("[::1]:8765", true),
            ("localhost.example.org", false),
            ("example.org:8765", false),
            ("10.0.0.1", false),
            ("127.0.0.1.example.org", false),
            ("[::2]", false),
            ("", false),
        ] {
            let header = HeaderValue::from_static(host);
            assert_eq!(
                super::is_local(Some(&header), None).is_ok(),
                is_local,
                "{host}"
            );
        }
        assert!(is_local(None, None).is_err());
        let header = HeaderValue::from_static("localhost");
        let target: Authority = "example.org".parse().unwrap();
        assert!(is_local(Some(&header), Some(&target)).is_err());
    }

    #[test]
    fn a_page_of_elsewhere_gives_no_orders() {
        for (origin, site, is_own, is_known_to_be) in [
            (None, None, true, false),
            (Some("http://localhost:8765"), None, true, true),
            (
                Some("http://LOCALHOST:8765"),
                Some("same-origin"),
                true,
                true,
            ),
            (None, Some("same-origin"), true, true),
            (None, Some("none"), true, false),
            (Some("null"), None, false, false),
            (
                Some("http://localhost:3000"),
                Some("same-site"),
                false,
                false,
            ),
            (Some("http://localhost"), None, false, false),
            (
                Some("http://evil.example"),
                Some("cross-site"),
                false,
                false,
            ),
            (
                Some("http://localhost:8765"),
                Some("cross-site"),
                false,
                false,
            ),
            (None, Some("same-site"), false, false),
            (Some("file://localhost:8765"), None, false, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("localhost:8765"));
            for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let told = (origin, site);
            assert_eq!(expect_own_page(&headers, false).is_ok(), is_own, "{told:?}");
            assert_eq!(
                expect_own_page(&headers, true).is_ok(),
                is_known_to_be,
                "{told:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_anybody_can_bring_about_is_told_once_a_minute() {
        let seldom = Seldom::default();
        let told = || (0..100).filter(|_| seldom.may_tell()).count();
        assert_eq!(told(), 1);
        tokio::time::advance(SELDOM - Duration::from_secs(1)).await;
        assert_eq!(told(), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(told(), 1);
    }

    #[test]
    fn a_token_is_the_same_or_another_one() {
        let token = SecretString::from("0123456789abcdef");
        let given = |text: &'static str| {
            let header = HeaderValue::from_static(text);
            bearer(&header).is_some_and(|given| is_same(given, &token))
        };
        assert!(given("Bearer 0123456789abcdef"));
        assert!(given("bearer  0123456789abcdef "));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
        ] {
            assert!(!given(wrong), "{wrong}");
        }
        assert!(!is_same(b"short", &SecretString::from("short")));
    }
}
