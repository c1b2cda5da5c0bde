//! The SCIM routes below `/scim/directory/{directoryId}` (contract section 5 and 7).

use std::convert::Infallible;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use sqlx::Connection;

use super::answers::{ScimBody, ScimError, scim};
use super::gate::Base;
use super::query::{Filter, Page, Params, Projection};
use super::schema::{self, ATLASSIAN, ENTERPRISE, EXTERNAL, GROUP, Schema, USER};
use super::users::Person;
use super::{App, enrolment, groups, patch, users};

type Answer = Result<Response, ScimError>;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/Users", get(list_users).post(create_user))
        .route(
            "/Users/{id}",
            get(read_user)
                .put(replace_user)
                .patch(patch_user)
                .delete(delete_user),
        )
        .route("/Groups", get(list_groups).post(create_group))
        .route(
            "/Groups/{id}",
            get(read_group)
                .put(replace_group)
                .patch(patch_group)
                .delete(delete_group),
        )
        .route("/Schemas", get(schemas))
        .route("/Schemas/{urn}", get(one_schema))
        .route("/ResourceTypes", get(resource_types))
        .route("/ResourceTypes/{name}", get(one_resource_type))
        .route("/ServiceProviderConfig", get(service_provider))
}

/// The URL of the directory.
struct Directory(String);

impl FromRequestParts<App> for Directory {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let Base(base) = Base::from_request_parts(parts, app).await?;
        Ok(Self(format!("{base}/scim/directory/{}", app.directory)))
    }
}

fn projection(params: &Params) -> Result<Projection, ScimError> {
    Projection::of(params, USER.urn, &[ENTERPRISE.urn, ATLASSIAN])
}

/// 201 with the new resource's address (RFC 7644 section 3.3).
fn created(resource: &Value, shown: &Value) -> Response {
    let mut response = scim(StatusCode::CREATED, shown);
    let location = resource["meta"]["location"].as_str().unwrap_or_default();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

async fn list_users(State(app): State<App>, Directory(url): Directory, params: Params) -> Answer {
    let (projection, page) = (projection(&params)?, Page::of(&params)?);
    let filter = Filter::of(&params, USER.urn, &["userName", "externalId"])?;
    // One transaction, so that the total and the page are of the same moment.
    let mut view = app.store.view().await?;
    let mut tx = view.db().begin().await?;
    let (total, users) = users::list(&mut tx, filter.as_ref(), &page).await?;
    let users = users
        .iter()
        .map(|user| projection.apply(user.shown(&url)))
        .collect();
    Ok(scim(StatusCode::OK, &page.response(total, users)))
}

async fn create_user(
    State(app): State<App>,
    Directory(url): Directory,
    params: Params,
    ScimBody(body): ScimBody,
) -> Answer {
    let projection = projection(&params)?;
    schema::declared(&body, USER.urn)?;
    let person = Person::accept(&body, &app.domains)?;
    let user = enrolment::create(&app.store, person, app.store.now(), app.limits.directory())
        .await?
        .shown(&url);
    Ok(created(&user, &projection.apply(user.clone())))
}

async fn read_user(
    State(app): State<App>,
    Directory(url): Directory,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let projection = projection(&params)?;
    let user = users::find(app.store.view().await?.db(), &id).await?;
    Ok(scim(StatusCode::OK, &projection.apply(user.shown(&url))))
}

async fn replace_user(
    State(app): State<App>,
    Directory(url): Directory,
    Path(id): Path<String>,
    params: Params,
    ScimBody(body): ScimBody,
) -> Answer {
    let projection = projection(&params)?;
    let mut tx = app.store.write().await?;
    let mut user = users::find(&mut *tx, &id).await?;
    schema::declared(&body, USER.urn)?;
    user.update(
        &mut tx,
        Person::accept(&body, &app.domains)?,
        app.store.now(),
    )
    .await?;
    tx.commit().await?;
    Ok(scim(StatusCode::OK, &projection.apply(user.shown(&url))))
}

async fn patch_user(
    State(app): State<App>,
    Directory(url): Directory,
    Path(id): Path<String>,
    params: Params,
    ScimBody(body): ScimBody,
) -> Answer {
    let projection = projection(&params)?;
    let mut tx = app.store.write().await?;
    let mut user = users::find(&mut *tx, &id).await?;
    let mut attributes = user.writable();
    for operation in patch::operations(&body)? {
        patch::apply(&mut attributes, &operation, &USER, &[&ENTERPRISE])?;
    }
    user.update(
        &mut tx,
        Person::accept(&attributes, &app.domains)?,
        app.store.now(),
    )
    .await?;
    tx.commit().await?;
    Ok(scim(StatusCode::OK, &projection.apply(user.shown(&url))))
}

async fn delete_user(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let mut tx = app.store.write().await?;
    users::find(&mut *tx, &id)
        .await?
        .delete(&mut tx, app.store.now())
        .await?;
    tx.commit().await?;
    Ok(no_content())
}

async fn list_groups(State(app): State<App>, Directory(url): Directory, params: Params) -> Answer {
    let page = Page::of(&params)?;
    let filter = Filter::of(&params, GROUP.urn, &["displayName"])?;
    let mut tx = app.store.readers().begin().await?;
    let (total, groups) = groups::list(&mut tx, filter.as_ref(), &page).await?;
    let groups = groups.into_iter().map(|group| group.shown(&url)).collect();
    Ok(scim(StatusCode::OK, &page.response(total, groups)))
}

async fn create_group(
    State(app): State<App>,
    Directory(url): Directory,
    ScimBody(body): ScimBody,
) -> Answer {
    schema::declared(&body, GROUP.urn)?;
    let wanted = groups::Wanted::accept(&body)?;
    let mut tx = app.store.write().await?;
    let group = groups::create(&mut tx, wanted, None, app.store.now()).await?;
    app.limits.directory().members_fit(group.size())?;
    tx.commit().await?;
    let group = group.shown(&url);
    Ok(created(&group, &group))
}

async fn read_group(
    State(app): State<App>,
    Directory(url): Directory,
    Path(id): Path<String>,
) -> Answer {
    Ok(scim(
        StatusCode::OK,
        &groups::find(app.store.readers(), &id).await?.shown(&url),
    ))
}

async fn replace_group(
    State(app): State<App>,
    Directory(url): Directory,
    Path(id): Path<String>,
    ScimBody(body): ScimBody,
) -> Answer {
    let mut tx = app.store.write().await?;
    let mut group = groups::find(&mut *tx, &id).await?;
    schema::declared(&body, GROUP.urn)?;
    group
        .replace(&mut tx, groups::Wanted::accept(&body)?, app.store.now())
        .await?;
    app.limits.directory().members_fit(group.size())?;
    tx.commit().await?;
    Ok(scim(StatusCode::OK, &group.shown(&url)))
}

async fn patch_group(
    State(app): State<App>,
    Directory(url): Directory,
    Path(id): Path<String>,
    ScimBody(body): ScimBody,
) -> Answer {
    let mut tx = app.store.write().await?;
    let mut group = groups::find(&mut *tx, &id).await?;
    group
        .patch(&mut tx, &patch::operations(&body)?, app.store.now())
        .await?;
    app.limits.directory().members_fit(group.size())?;
    tx.commit().await?;
    Ok(scim(StatusCode::OK, &group.shown(&url)))
}

async fn delete_group(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let mut tx = app.store.write().await?;
    groups::find(&mut *tx, &id).await?.delete(&mut tx).await?;
    tx.commit().await?;
    Ok(no_content())
}

fn schema_definition(schema: &Schema, directory: &str) -> Value {
    schema.definition(&format!("{directory}/Schemas/{}", schema.urn))
}

/// All resources of a discovery endpoint (RFC 7644 section 4): one page, no paging.
fn everything(resources: Vec<Value>) -> Response {
    let total = resources.len().try_into().unwrap_or(i64::MAX);
    scim(
        StatusCode::OK,
        &Page {
            start: 1,
            count: total,
        }
        .response(total, resources),
    )
}

async fn schemas(Directory(url): Directory) -> Response {
    everything(
        schema::PUBLISHED
            .iter()
            .map(|schema| schema_definition(schema, &url))
            .collect(),
    )
}

async fn one_schema(Directory(url): Directory, Path(urn): Path<String>) -> Answer {
    let schema = schema::PUBLISHED.iter().find(|schema| schema.urn == urn);
    let schema = schema.ok_or_else(|| ScimError::not_found("SCHEMA", &urn))?;
    Ok(scim(StatusCode::OK, &schema_definition(schema, &url)))
}

fn resource_type(schema: &Schema, directory: &str) -> Value {
    let extensions: &[&Schema] = if schema.urn == USER.urn {
        &[&ENTERPRISE, &EXTERNAL]
    } else {
        &[]
    };
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": schema.name,
        "name": schema.name,
        "description": schema.name,
        "endpoint": format!("/{}s", schema.name),
        "schema": schema.urn,
        "schemaExtensions": extensions.iter()
            .map(|extension| json!({"schema": extension.urn, "required": false})).collect::<Value>(),
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{directory}/ResourceTypes/{}", schema.name),
        },
    })
}

async fn resource_types(Directory(url): Directory) -> Response {
    everything(
        [&USER, &GROUP]
            .iter()
            .map(|schema| resource_type(schema, &url))
            .collect(),
    )
}

async fn one_resource_type(Directory(url): Directory, Path(name): Path<String>) -> Answer {
    let schema = [&USER, &GROUP]
        .into_iter()
        .find(|schema| schema.name == name);
    let schema = schema.ok_or_else(|| ScimError::not_found("RESOURCE_TYPE", &name))?;
    Ok(scim(StatusCode::OK, &resource_type(schema, &url)))
}

/// As in the published sample (scim-tools.md section 5).
async fn service_provider(Directory(url): Directory) -> Response {
    let off = json!({"supported": false});
    let config = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": 10_000},
        "changePassword": off,
        "sort": off,
        "etag": off,
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "OAuth Bearer Token",
            "description": "The directory's API key in the Authorization header.",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{url}/ServiceProviderConfig")},
    });
    scim(StatusCode::OK, &config)
}
