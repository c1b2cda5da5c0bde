//! The organizations routes below `/admin` (contract sections 3 and 7).

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::addresses::Domain;
use super::answers::ListedError;
use super::gate::Base;
use super::query::Params;
use super::{App, Shared, accounts};

type Answer = Result<Json<Value>, ListedError>;

/// Managed accounts on a page; clients cannot choose (contract section 3).
const PAGE: usize = 50;

/// The organization's id is part of the routes: another one's is 404.
pub(super) fn routes(organization: &str) -> Router<App> {
    let of = |rest: &str| format!("/v1/orgs/{organization}{rest}");
    Router::new()
        .route("/v1/orgs", get(organizations))
        .route(&of(""), get(organization_itself))
        .route(&of("/users"), get(users))
        .route(&of("/domains"), get(domains))
        .route(&of("/domains/{id}"), get(one_domain))
        .route(
            &format!("/v2/orgs/{organization}/directories"),
            get(directories),
        )
}

fn shown(app: &Shared, base: &str) -> Value {
    let url = format!("{base}/admin/v1/orgs/{}", app.organization);
    json!({
        "id": app.organization,
        "type": "orgs",
        "attributes": {"name": "Simulated organization"},
        "relationships": {
            "domains": {"links": {"related": format!("{url}/domains")}},
            "users": {"links": {"related": format!("{url}/users")}},
        },
        "links": {"self": url},
    })
}

/// A list that is always one page: any cursor is one that was never given out.
fn single_page(params: &Params, url: &str, data: Vec<Value>) -> Answer {
    if params.get("cursor").is_some() {
        return Err(unknown_cursor());
    }
    Ok(Json(
        json!({"data": data, "links": {"self": url}, "meta": {"total": data.len()}}),
    ))
}

pub(super) fn unknown_cursor() -> ListedError {
    ListedError(
        StatusCode::BAD_REQUEST,
        "The cursor is not valid.".to_owned(),
    )
}

async fn organizations(State(app): State<App>, Base(base): Base, params: Params) -> Answer {
    single_page(
        &params,
        &format!("{base}/admin/v1/orgs"),
        vec![shown(&app, &base)],
    )
}

async fn organization_itself(State(app): State<App>, Base(base): Base) -> Json<Value> {
    Json(json!({"data": shown(&app, &base)}))
}

async fn users(State(app): State<App>, Base(base): Base, params: Params) -> Answer {
    let cursor = params.get("cursor");
    let after = cursor
        .map_or(Some(0), Cursor::read)
        .ok_or_else(unknown_cursor)?;
    let mut tx = app.store.readers().begin().await?;
    let total = accounts::count(&mut *tx).await?;
    // One more than a page tells whether there is a next one.
    let mut accounts =
        accounts::page(&mut *tx, after, 1 + i64::try_from(PAGE).unwrap_or(i64::MAX)).await?;
    let more = accounts.len() > PAGE;
    accounts.truncate(PAGE);
    let url = format!("{base}/admin/v1/orgs/{}/users", app.organization);
    let at = |cursor: &str| format!("{url}?cursor={cursor}");
    let mut links = json!({"self": cursor.map_or_else(|| url.clone(), at)});
    if let Some((place, _)) = accounts.last().filter(|_| more) {
        links["next"] = at(&Cursor::write(*place)).into();
    }
    let data: Vec<Value> = accounts
        .iter()
        .map(|(_, account)| account.listed(&base))
        .collect();
    Ok(Json(
        json!({"data": data, "links": links, "meta": {"total": total}}),
    ))
}

/// The place of the last item seen. It is encoded so that no client is tempted to make one.
pub(super) struct Cursor;

impl Cursor {
    pub(super) fn write(place: i64) -> String {
        URL_SAFE_NO_PAD.encode(format!("after:{place}"))
    }

    pub(super) fn read(cursor: &str) -> Option<i64> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        text.strip_prefix("after:")?.parse().ok()
    }
}

fn domain(domain: &Domain, url: &str) -> Value {
    json!({
        "id": domain.id,
        "type": "domains",
        "attributes": {"name": domain.name, "claim": {"type": "dns", "status": "verified"}},
        "links": {"self": format!("{url}/{}", domain.id)},
    })
}

fn domains_url(app: &Shared, base: &str) -> String {
    format!("{base}/admin/v1/orgs/{}/domains", app.organization)
}

async fn domains(State(app): State<App>, Base(base): Base, params: Params) -> Answer {
    let url = domains_url(&app, &base);
    single_page(
        &params,
        &url,
        app.domains
            .0
            .iter()
            .map(|known| domain(known, &url))
            .collect(),
    )
}

async fn one_domain(State(app): State<App>, Base(base): Base, Path(id): Path<String>) -> Answer {
    let known = app.domains.0.iter().find(|known| known.id == id);
    let known = known
        .ok_or_else(|| ListedError(StatusCode::NOT_FOUND, format!("There is no domain {id}.")))?;
    Ok(Json(
        json!({"data": domain(known, &domains_url(&app, &base))}),
    ))
}

async fn directories(State(app): State<App>, Base(base): Base, params: Params) -> Answer {
    let url = format!("{base}/admin/v2/orgs/{}/directories", app.organization);
    single_page(
        &params,
        &url,
        vec![json!({"directoryId": app.directory, "name": "Simulated directory"})],
    )
}
