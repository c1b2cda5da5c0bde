//! The shapes of answers, one family for each of the three APIs (contract sections 3, 4, 5 and 7, "Errors").

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The largest body read: a group with all its 20,000 members fits several times.
pub(super) const BODY_LIMIT: usize = 16 << 20;

/// A SCIM answer: `application/scim+json` (RFC 7644 section 3.1).
pub(super) fn scim(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/scim+json")],
        body.to_string(),
    )
        .into_response()
}

/// A refusal of the SCIM API.
#[derive(Debug)]
pub(super) struct ScimError {
    status: StatusCode,
    kind: Option<&'static str>,
    detail: String,
}

impl ScimError {
    /// 400 with one of the detail keywords of RFC 7644 section 3.12.
    pub(super) fn bad(kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: Some(kind),
            detail: detail.into(),
        }
    }

    pub(super) fn other(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind: None,
            detail: detail.into(),
        }
    }

    pub(super) fn not_found(kind: &str, id: &str) -> Self {
        Self::other(
            StatusCode::NOT_FOUND,
            format!("Resource [{kind}]: with id[{id}] does not exist."),
        )
    }

    /// The status and the words.
    pub(super) fn reason(self) -> (StatusCode, String) {
        (self.status, self.detail)
    }

    /// 409 in the words of the published sample (contract section 5).
    pub(super) fn taken(kind: &str, attribute: &str, value: &str) -> Self {
        let detail = format!("Resource [{kind}]: with {attribute}[{value}] already exists.");
        Self {
            status: StatusCode::CONFLICT,
            kind: Some("uniqueness"),
            detail,
        }
    }
}

impl From<sqlx::Error> for ScimError {
    fn from(error: sqlx::Error) -> Self {
        Self::other(StatusCode::INTERNAL_SERVER_ERROR, internal(&error))
    }
}

impl IntoResponse for ScimError {
    /// 400, 404, 409 (and what the contract does not list) are a ScimError, 401, 403 and 5xx a Failure.
    fn into_response(self) -> Response {
        let Self {
            status,
            kind,
            detail,
        } = self;
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || status.is_server_error()
        {
            return scim(
                status,
                &json!({"error": detail, "traceId": Uuid::new_v4().to_string()}),
            );
        }
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": status.as_str(),
            "detail": detail,
        });
        if let Some(kind) = kind {
            body["scimType"] = kind.into();
        }
        scim(status, &body)
    }
}

/// A refusal of the user-management API: a key and, for most, a context.
#[derive(Debug)]
pub(super) struct ManagementError {
    status: StatusCode,
    key: &'static str,
    context: Option<Value>,
}

impl ManagementError {
    pub(super) fn plain(status: StatusCode, key: &'static str) -> Self {
        Self {
            status,
            key,
            context: None,
        }
    }

    pub(super) fn forbidden(key: &'static str, context: Value) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            key,
            context: Some(context),
        }
    }

    /// One field, one violation of its constraints.
    pub(super) fn field(field: &str, violation: &str) -> Self {
        let context =
            json!({"fieldViolations": [{"field": field, "violations": [{"key": violation}]}]});
        Self {
            status: StatusCode::BAD_REQUEST,
            key: "fieldConstraintsViolated",
            context: Some(context),
        }
    }

    pub(super) fn lifecycle(account: &str, code: &str, message: &str) -> Self {
        let errors = json!([{"code": code, "message": message}]);
        let context = json!({"message": message, "accountId": account, "errorCodes": errors});
        Self {
            status: StatusCode::CONFLICT,
            key: "conflict.lifecycleErrors",
            context: Some(context),
        }
    }
}

impl From<sqlx::Error> for ManagementError {
    fn from(error: sqlx::Error) -> Self {
        internal(&error);
        Self::plain(StatusCode::INTERNAL_SERVER_ERROR, "internalServerError")
    }
}

impl IntoResponse for ManagementError {
    fn into_response(self) -> Response {
        let mut body = json!({"key": self.key});
        if let Some(context) = self.context {
            body["context"] = context;
        }
        (self.status, Json(body)).into_response()
    }
}

/// A refusal of the organizations API, or of the simulator's own control routes: a list of errors.
#[derive(Debug)]
pub(super) struct ListedError(pub(super) StatusCode, pub(super) String);

impl From<sqlx::Error> for ListedError {
    fn from(error: sqlx::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, internal(&error))
    }
}

impl IntoResponse for ListedError {
    fn into_response(self) -> Response {
        let Self(status, detail) = self;
        let title = status.canonical_reason().unwrap_or_default();
        let code = title.replace([' ', '-'], "_").to_uppercase();
        let id = Uuid::new_v4().to_string();
        let error = json!({"id": id, "status": status.as_str(), "code": code, "title": title, "detail": detail});
        (status, Json(json!({"errors": [error]}))).into_response()
    }
}

/// The cause goes to our log; the client learns no more than from the real API.
fn internal(error: &sqlx::Error) -> String {
    tracing::error!(%error, "the simulator's database failed");
    "Internal server error".to_owned()
}

/// Why a body was not taken.
pub(super) enum BodyFault {
    /// Missing or foreign Content-Type.
    MediaType,
    /// Not JSON, or not the expected kind of it.
    Syntax(String),
}

/// A JSON body, under `application/json` or `application/scim+json` (the contract accepts both).
async fn json_body(request: Request) -> Result<Value, BodyFault> {
    let media = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !["application/json", "application/scim+json"]
        .iter()
        .any(|known| media.eq_ignore_ascii_case(known))
    {
        return Err(BodyFault::MediaType);
    }
    let bytes = axum::body::to_bytes(request.into_body(), BODY_LIMIT).await;
    let bytes = bytes.map_err(|error| BodyFault::Syntax(error.to_string()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| BodyFault::Syntax(format!("The body is not JSON: {error}")))
}

async fn object_body(request: Request) -> Result<Map<String, Value>, BodyFault> {
    match json_body(request).await? {
        Value::Object(map) => Ok(map),
        _ => Err(BodyFault::Syntax(
            "The body is not a JSON object.".to_owned(),
        )),
    }
}

/// The JSON object in the body of a SCIM request.
pub(super) struct ScimBody(pub(super) Map<String, Value>);

impl<S: Sync> FromRequest<S> for ScimBody {
    type Rejection = ScimError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ScimError> {
        object_body(request)
            .await
            .map(Self)
            .map_err(|fault| match fault {
                BodyFault::MediaType => ScimError::other(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "Content-Type must be application/scim+json or application/json.",
                ),
                BodyFault::Syntax(detail) => ScimError::bad("invalidSyntax", detail),
            })
    }
}

/// The JSON object in the body of a user-management request.
pub(super) struct ManagementBody(pub(super) Map<String, Value>);

impl<S: Sync> FromRequest<S> for ManagementBody {
    type Rejection = ManagementError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ManagementError> {
        object_body(request)
            .await
            .map(Self)
            .map_err(|fault| match fault {
                BodyFault::MediaType => ManagementError::plain(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupportedMediaType",
                ),
                BodyFault::Syntax(_) => {
                    ManagementError::plain(StatusCode::BAD_REQUEST, "bodyParseFailure")
                }
            })
    }
}

/// Any JSON body of a request to the organizations API or the control routes.
pub(super) struct ListedBody(pub(super) Value);

impl<S: Sync> FromRequest<S> for ListedBody {
    type Rejection = ListedError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ListedError> {
        json_body(request)
            .await
            .map(Self)
            .map_err(|fault| match fault {
                BodyFault::MediaType => ListedError(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "Content-Type must be application/json".to_owned(),
                ),
                BodyFault::Syntax(detail) => ListedError(StatusCode::BAD_REQUEST, detail),
            })
    }
}

/// A route that does not exist or a method that it does not have, in the shape of the API that owns the path.
pub(super) async fn no_route(request: Request, status: StatusCode) -> Response {
    use super::gate::Area;
    let detail = format!(
        "{} {} is no operation of this API.",
        request.method(),
        request.uri().path()
    );
    match Area::of(request.uri().path()) {
        Area::Scim => ScimError::other(status, detail).into_response(),
        Area::Management if status == StatusCode::NOT_FOUND => {
            ManagementError::plain(status, "notFound").into_response()
        }
        Area::Management => ManagementError::plain(status, "methodNotAllowed").into_response(),
        Area::Organization | Area::Control | Area::Nowhere => {
            ListedError(status, detail).into_response()
        }
    }
}
