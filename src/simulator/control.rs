//! The simulator's own routes below `/_simulator`: clock, log, seeding, loading, faults, limits. Without a key: the simulator is for
//! loopback, and nothing here tells one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::accounts::{self, Account, Profile};
use super::addresses::domain_of;
use super::answers::{ListedBody, ListedError};
use super::query::Params;
use super::store::rfc3339;
use super::{App, Shared, load};

type Answer = Result<Json<Value>, ListedError>;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/clock", get(clock).post(advance))
        .route("/requests", get(requests).delete(forget))
        .route("/accounts", post(seed))
        .route("/load", post(load::load))
        .route("/limits", get(limits).put(set_limits))
        .route("/faults", get(faults).post(add_faults).delete(clear_faults))
}

fn bad(detail: impl Into<String>) -> ListedError {
    ListedError(StatusCode::BAD_REQUEST, detail.into())
}

fn read<T: DeserializeOwned>(body: Value) -> Result<T, ListedError> {
    serde_json::from_value(body).map_err(|error| bad(error.to_string()))
}

fn time(app: &Shared) -> Json<Value> {
    Json(json!({"now": rfc3339(app.store.now()), "seconds_ahead": app.store.seconds_ahead()}))
}

async fn clock(State(app): State<App>) -> Json<Value> {
    time(&app)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: i64,
}

async fn advance(State(app): State<App>, ListedBody(body): ListedBody) -> Answer {
    let Advance { advance_seconds } = read(body)?;
    if !app.store.advance(advance_seconds).await? {
        return Err(bad(format!(
            "advance_seconds {advance_seconds} is out of range; the clock only goes forward"
        )));
    }
    Ok(time(&app))
}

/// `?after=` gives only what came after that number.
async fn requests(State(app): State<App>, params: Params) -> Answer {
    let after = params
        .get("after")
        .map_or(Ok(0), str::parse)
        .map_err(|_| bad("after must be a number"))?;
    Ok(Json(app.journal.show(after)))
}

async fn forget(State(app): State<App>) -> StatusCode {
    app.journal.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    email: String,
    name: String,
}

/// Managed accounts that no SCIM resource is linked to: all of them, or none when one is refused.
async fn seed(
    State(app): State<App>,
    ListedBody(body): ListedBody,
) -> Result<(StatusCode, Json<Value>), ListedError> {
    let seeds: Vec<Seed> = read(body)?;
    let mut made = Vec::with_capacity(seeds.len());
    let mut tx = app.store.write().await?;
    for Seed { email, name } in seeds {
        let domain =
            domain_of(&email).ok_or_else(|| bad(format!("[{email}] is no e-mail address")))?;
        if !app.domains.verified(&domain) {
            return Err(bad(format!("the domain [{domain}] is not verified")));
        }
        if accounts::email_taken(&mut tx, &email, "").await? {
            return Err(ListedError(
                StatusCode::CONFLICT,
                format!("an account with [{email}] is there already"),
            ));
        }
        let account = Account::new(
            email,
            Profile {
                name,
                ..Profile::default()
            },
        );
        account.insert(&mut tx).await?;
        made.push(json!({"account_id": account.id, "email": account.email}));
    }
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

async fn faults(State(app): State<App>) -> Json<Value> {
    Json(app.faults.left())
}

async fn add_faults(State(app): State<App>, ListedBody(body): ListedBody) -> Answer {
    app.faults.add(body).map_err(bad)?;
    Ok(Json(app.faults.left()))
}

async fn clear_faults(State(app): State<App>) -> StatusCode {
    app.faults.clear();
    StatusCode::NO_CONTENT
}

async fn limits(State(app): State<App>) -> Json<Value> {
    Json(app.limits.show())
}

/// `{"scim": {"requests": 600, "seconds": 60}, "directory": {"users": 70000}}`; what is left out has its default.
async fn set_limits(State(app): State<App>, ListedBody(body): ListedBody) -> Answer {
    app.limits.set(body).map_err(bad)?;
    Ok(Json(app.limits.show()))
}
