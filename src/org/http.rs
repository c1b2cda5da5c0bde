//! Requests with a bearer key: time-outs, bounded answers, retries of what is safe to repeat.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::carried::{Noted, unless_stopped};
use super::pace::{Limits, Pace};
use super::scim::is_odd;
use super::traffic::traffic;
use super::watched::UnderWay;
use super::{ApiError, Cause};
use crate::config::{Organization, SecretRef, expect_guarded, last_cause};
use crate::model::Timestamp;

/// The largest answer that is read: a page of 100 users is well below 1 MiB.
const MAX_BODY: usize = 16 << 20;
/// How often one request is sent at most.
const ATTEMPTS: u32 = 5;
/// How often a connection is tried at most.
const CONNECT_ATTEMPTS: u32 = 3;
/// The longest single wait that the API may ask for before the request is given up.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// One of the APIs with its key and its pace.
pub(super) struct Http {
    client: reqwest::Client,
    root: url::Url,
    key: RwLock<SecretString>,
    secret: SecretRef,
    pace: Pace,
    /// How many requests have gone out.
    sent: AtomicU64,
}

/// An answer with a 2xx status.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// The body; `Null` when it is empty.
    pub(super) body: Value,
    pub(super) request_id: Option<String>,
    /// The `Date` header.
    pub(super) date: Option<Timestamp>,
}

impl Http {
    pub(super) fn new(config: &Organization, secret: &SecretRef) -> Result<Self, ApiError> {
        let setup = |why: String| ApiError {
            request: String::new(),
            request_id: None,
            cause: Cause::Setup(why),
        };
        let key = secret.read().map_err(|error| setup(error.to_string()))?;
        let mut builder = reqwest::Client::builder()
            .timeout(config.timeout)
            .connect_timeout(config.timeout.min(Duration::from_secs(10)))
            // A redirect would take the key to another place.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dirsyncd/", env!("CARGO_PKG_VERSION")));
        if config.api.scheme() == "http" {
            // The simulator on this machine's loopback (the configuration allows no other):
            // no proxy stands between, and no CA bundle is needed.
            builder = builder.no_proxy().tls_certs_only([]);
        } else if let Some(path) = &config.ca_file {
            let file = |why: String| {
                let path = path.display();
                setup(format!(
                    "the CA file {path} {why}; it must hold PEM certificates"
                ))
            };
            let unreadable = |error: std::io::Error| file(format!("cannot be read: {error}"));
            let metadata = std::fs::metadata(path).map_err(unreadable)?;
            expect_guarded("the CA file", path, &metadata)
                .map_err(|error| setup(error.to_string()))?;
            let pem = std::fs::read(path).map_err(unreadable)?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| file(format!("is no use: {error}")))?;
            if roots.is_empty() {
                return Err(file("holds no certificate".to_owned()));
            }
            builder = builder.tls_certs_only(roots);
        }
        let client = builder
            .build()
            .map_err(|error| setup(format!("no request can be made: {}", chain(&error))))?;
        Ok(Http {
            client,
            root: config.api.clone(),
            key: RwLock::new(key),
            secret: secret.clone(),
            pace: Pace::new(config.requests_per_second),
            sent: AtomicU64::new(0),
        })
    }

    /// What is known of how fast the API takes requests.
    pub(super) fn rate(&self) -> crate::plan::Rate {
        self.pace.rate()
    }

    /// How many requests have gone out, the repeated ones too.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends a request until it is answered, or until repeating it is not safe or no use.
    /// `path` has its segments escaped already.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply, ApiError> {
        let request = format!("{method} {path}");
        // A URL has its dots worked out, and would lead elsewhere.
        if let Some(odd) = path.split('/').skip(1).find(|segment| is_odd(segment)) {
            return Err(ApiError {
                cause: Cause::Declined(format!(
                    "{request} is not sent, as by the id `{odd}` it would reach another resource"
                )),
                request,
                request_id: None,
            });
        }
        let noted = Noted::sending(&method, &request);
        let mut attempt = 1;
        let mut has_fresh_key = false;
        loop {
            let key = self
                .key
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let result = self.once(&method, path, query, (body, &noted), &key).await;
            noted.answered(&result);
            let (cause, request_id, wait) = match result {
                Ok(reply) => return Ok(reply),
                Err(failure) => (failure.cause, failure.request_id, failure.wait),
            };
            let error = ApiError {
                request: request.clone(),
                request_id,
                cause,
            };
            // A key that was rotated is in its place already: no restart is needed for it.
            if matches!(error.cause, Cause::Unauthorized { .. }) && !has_fresh_key {
                has_fresh_key = true;
                if self.renew_key(&key) {
                    continue;
                }
            }
            let wait = wait.unwrap_or_else(|| backoff(attempt));
            let attempts = match error.cause {
                Cause::Unreachable { .. } => CONNECT_ATTEMPTS,
                _ => ATTEMPTS,
            };
            if attempt >= attempts || wait > MAX_WAIT || !is_safe_to_repeat(&method, &error.cause) {
                return Err(error);
            }
            tracing::debug!(%error, ?wait, attempt, "the request is repeated");
            if unless_stopped(tokio::time::sleep(wait)).await.is_none() {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// Reads the key again; whether it is another one than the request had.
    fn renew_key(&self, used: &SecretString) -> bool {
        let Ok(fresh) = self.secret.read() else {
            return false;
        };
        let mut key = self.key.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = used.expose_secret() != fresh.expose_secret();
        *key = fresh;
        is_new
    }

    async fn once(
        &self,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        (body, noted): (Option<&Value>, &Noted),
        key: &SecretString,
    ) -> Result<Reply, Failure> {
        let mut url = self.root.clone();
        url.set_path(&format!("{}{path}", self.root.path().trim_end_matches('/')));
        let mut request = self
            .client
            .request(method.clone(), url)
            .bearer_auth(key.expose_secret())
            .header(header::ACCEPT, "application/json, application/scim+json");
        if !query.is_empty() {
            request = request.query(query);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let _leave = match unless_stopped(self.pace.admit(MAX_WAIT)).await {
            Some(Ok(leave)) => leave,
            Some(Err(wait)) => {
                return Err(Failure {
                    wait: Some(wait),
                    ..Failure::of(Cause::Throttled)
                });
            }
            None => return Err(Failure::of(Cause::Stopped)),
        };
        noted.goes_out();
        self.sent.fetch_add(1, Ordering::Relaxed);
        traffic().sent();
        let mut under_way = UnderWay::begin(method, path);
        let began = tokio::time::Instant::now();
        let mut response = request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                let url = self.root.to_string();
                Failure::of(Cause::Unreachable {
                    url,
                    why: chain(&error),
                })
            } else {
                Failure::of(Cause::NoAnswer(chain(&error)))
            }
        })?;
        let took = began.elapsed();
        let status = response.status();
        under_way.answered(status);
        let text_header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let request_id = text_header("x-request-id").or_else(|| text_header("atl-traceid"));
        let date = text_header("date")
            .and_then(|date| chrono::DateTime::parse_from_rfc2822(&date).ok())
            .map(|date| date.with_timezone(&chrono::Utc));
        let limits = Limits::read(text_header, self.pace.answered(took, date));
        // A server that is overloaded and says until when is as good as a limit.
        let is_throttled = status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::SERVICE_UNAVAILABLE && limits.retry_after.is_some());
        self.pace.learn(is_throttled, &limits);
        traffic().answered(is_throttled);
        let wait = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => limits.wait(),
            _ => None,
        };
        let failed = |cause: Cause| Failure {
            cause,
            status: Some(status),
            request_id: request_id.clone(),
            wait,
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| {
            failed(Cause::NoAnswer(format!(
                "the answer broke off: {}",
                chain(&error)
            )))
        })? {
            if bytes.len() + chunk.len() > MAX_BODY {
                return Err(failed(Cause::Unintelligible(format!(
                    "it is larger than {} MiB",
                    MAX_BODY >> 20
                ))));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(failed(self.refusal(status, &bytes, key)));
        }
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .map_err(|error| failed(Cause::Unintelligible(format!("it is no JSON: {error}"))))?
        };
        Ok(Reply {
            status,
            body,
            request_id,
            date,
        })
    }

    fn refusal(&self, status: StatusCode, body: &[u8], key: &SecretString) -> Cause {
        // A gateway may show the request that it refuses.
        let message = message_of(body, key.expose_secret());
        match status.as_u16() {
            status @ 300..=399 => Cause::Refused {
                status,
                message:
                    "redirects are not followed, as they would take the key along; correct `api`"
                        .to_owned(),
            },
            401 => Cause::Unauthorized {
                secret: self.secret.to_string(),
            },
            // What user management says of one account, not of the key (contract section 7).
            403 if message.starts_with("forbidden.") => Cause::Refused {
                status: 403,
                message,
            },
            403 => Cause::Forbidden(message),
            404 => Cause::NotFound(message),
            409 => Cause::Conflict(message),
            429 => Cause::Throttled,
            status @ 500.. => Cause::Server { status, message },
            status => Cause::Refused { status, message },
        }
    }
}

/// How long to wait before the attempt after this one: twice as long each time, and half of it
/// left to chance, so that clients do not come back as one.
pub(super) fn backoff(attempt: u32) -> Duration {
    let most = 200 << attempt;
    Duration::from_millis(most / 2 + fastrand::u64(0..=most / 2))
}

/// A request that did not succeed.
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// Of the answer, if there was one.
    pub(super) status: Option<StatusCode>,
    pub(super) request_id: Option<String>,
    wait: Option<Duration>,
}

impl Failure {
    fn of(cause: Cause) -> Self {
        Failure {
            cause,
            status: None,
            request_id: None,
            wait: None,
        }
    }
}

/// What was refused for its rate, or never arrived, is repeated; a failure in the server only
/// where a second time does no harm. A POST that may have taken effect is settled by reading
/// back, not by repeating.
fn is_safe_to_repeat(method: &Method, cause: &Cause) -> bool {
    match cause {
        Cause::Throttled | Cause::Unreachable { .. } => true,
        Cause::Server {
            status: 500 | 502 | 503 | 504,
            ..
        }
        | Cause::NoAnswer(_) => *method != Method::POST,
        _ => false,
    }
}

/// The API's own words in an error body, in any of its shapes (contract section 7), without the key
/// and then shortened.
fn message_of(body: &[u8], key: &str) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let message = json.as_ref().and_then(|json| {
        let words = ["detail", "error", "message"]
            .iter()
            .find_map(|name| text(&json[*name]));
        let listed = ["title", "detail"]
            .iter()
            .find_map(|name| text(&json["errors"][0][*name]));
        let context = Some(&json["context"]).filter(|context| !context.is_null());
        // The API's own code: `scimType` (RFC 7644 section 3.12), `key`, or `code`.
        let code = text(&json["scimType"])
            .or_else(|| text(&json["key"]))
            .or_else(|| text(&json["errors"][0]["code"]));
        let parts: Vec<String> = [code, words.or(listed), context.map(Value::to_string)]
            .into_iter()
            .flatten()
            .collect();
        (!parts.is_empty()).then(|| parts.join(": "))
    });
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let message = message.replace(key, "…");
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        None if line.is_empty() => "no reason given".to_owned(),
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

/// The last cause of an error, without the URL, which the caller names.
fn chain(error: &reqwest::Error) -> String {
    match std::error::Error::source(error) {
        _ if error.is_timeout() => "it took too long".to_owned(),
        Some(cause) => last_cause(cause),
        None => "the request failed".to_owned(),
    }
}
