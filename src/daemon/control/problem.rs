//! Why something that was asked for is not answered or done: problem details (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::daemon::status::paused;
use crate::run::{Ended, RunError};
use crate::snapshot::{Pause, SnapshotError};

/// What a problem is. The names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is nothing at this path, or nobody and no run of this name.
    NotFound,
    /// It is not there for this method.
    MethodNotAllowed,
    /// A parameter of the query or the path is unknown or wrong.
    BadParameter,
    /// The body is not what is expected.
    BadBody,
    /// The body is no JSON by its media type.
    UnsupportedMediaType,
    /// The body is too large.
    TooLarge,
    /// The body does not come.
    TooSlow,
    /// Only root and the daemon's own user may ask.
    Forbidden,
    /// The token is missing or wrong.
    Unauthorized,
    /// The request is for another host.
    Misdirected,
    /// It is to be about another database.
    OtherDatabase,
    /// The daemon is paused.
    Paused,
    /// Another dry run is at work.
    Busy,
    /// The name may be any of several people's.
    Ambiguous,
    /// The run or dry run ended without a report.
    Run(Ended),
    /// The database cannot be read or written.
    Database,
    /// The daemon has not started, or cannot read its database.
    NotReady,
    /// The daemon is stopping.
    Stopping,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::NotFound => "not-found",
            Kind::MethodNotAllowed => "method-not-allowed",
            Kind::BadParameter => "bad-parameter",
            Kind::BadBody => "bad-body",
            Kind::UnsupportedMediaType => "unsupported-media-type",
            Kind::TooLarge => "too-large",
            Kind::TooSlow => "too-slow",
            Kind::Forbidden => "forbidden",
            Kind::Unauthorized => "unauthorized",
            Kind::Misdirected => "misdirected",
            Kind::OtherDatabase => "other-database",
            Kind::Paused => "paused",
            Kind::Busy => "busy",
            Kind::Ambiguous => "ambiguous",
            Kind::Run(_) => "run",
            Kind::Database => "database",
            Kind::NotReady => "not-ready",
            Kind::Stopping => "stopping",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::NotFound => "Not found",
            Kind::MethodNotAllowed => "Not for this method",
            Kind::BadParameter => "A parameter is unknown or wrong",
            Kind::BadBody => "The body is not what is expected",
            Kind::UnsupportedMediaType => "The body must be JSON",
            Kind::TooLarge => "The request is too large",
            Kind::TooSlow => "The request did not come in time",
            Kind::Forbidden => "Not allowed",
            Kind::Unauthorized => "The token is missing or wrong",
            Kind::Misdirected => "The request is for another host",
            Kind::OtherDatabase => "The daemon is that of another database",
            Kind::Paused => "The daemon is paused",
            Kind::Busy => "Another dry run is at work",
            Kind::Ambiguous => "Several people may be meant",
            Kind::Run(_) => "There is no report",
            Kind::Database => "The database cannot be used",
            Kind::NotReady => "The daemon is not ready",
            Kind::Stopping => "The daemon is stopping",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::BadParameter | Kind::BadBody => StatusCode::BAD_REQUEST,
            Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Kind::OtherDatabase | Kind::Paused | Kind::Busy | Kind::Ambiguous => {
                StatusCode::CONFLICT
            }
            // Nobody, or not one alone, has the name that was given.
            Kind::Run(Ended::Usage) => StatusCode::NOT_FOUND,
            Kind::Run(Ended::Refused) => StatusCode::CONFLICT,
            // What failed is behind the daemon: the directory, the organization, the database.
            Kind::Run(Ended::Failed | Ended::SomeFailed) => StatusCode::BAD_GATEWAY,
            Kind::Run(Ended::Done) | Kind::NotReady | Kind::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Kind::Database => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A problem.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
}

/// A problem as it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProblemDetails {
    /// Which kind of problem it is, as `urn:dirsyncd:problem:NAME`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What that is in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What this one is, and what to do.
    pub detail: String,
    /// How the run ended, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Problem {
            kind,
            detail: detail.into(),
        }
    }

    pub(super) fn paused(pause: &Pause) -> Self {
        let detail = format!(
            "the daemon is paused {}; `dirsyncd resume` ends that",
            paused(pause)
        );
        Self::new(Kind::Paused, detail)
    }

    /// A dry run did not go on for so long.
    pub(super) fn hung(long: Duration) -> Self {
        let detail = format!(
            "the dry run has not gone on for {} (`hang_after` in [daemon]), and was ended",
            humantime::format_duration(long)
        );
        Self::new(Kind::Run(Ended::Failed), detail)
    }

    pub(super) fn stopping() -> Self {
        Self::new(Kind::Stopping, "the daemon is stopping: it was not done")
    }
}

impl From<SnapshotError> for Problem {
    fn from(error: SnapshotError) -> Self {
        Problem::new(Kind::Database, error.to_string())
    }
}

impl From<&RunError> for Problem {
    fn from(error: &RunError) -> Self {
        match error {
            // By somebody else than whoever asked for it.
            RunError::Stopped => Problem::stopping(),
            error => Problem::new(Kind::Run(error.ended()), error.to_string()),
        }
    }
}

impl Problem {
    /// The same as it is told.
    pub(super) fn details(self) -> ProblemDetails {
        let Problem { kind, detail } = self;
        ProblemDetails {
            kind: format!("urn:dirsyncd:problem:{}", kind.name()),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail,
            ended: match kind {
                Kind::Run(ended) => Some(ended),
                _ => None,
            },
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = self.kind;
        let details = self.details();
        let mut response = (kind.status(), Json(details)).into_response();
        let headers = response.headers_mut();
        let media = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, media);
        if kind == Kind::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
