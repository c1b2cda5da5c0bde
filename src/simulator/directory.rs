//! The routes of the organizations API for the users and groups of a directory (contract sections 3 and 7): what a
//! sync without the SCIM subscription works with.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::answers::{ListedBody, ListedError};
use super::organization::{Cursor, unknown_cursor};
use super::people::{self, Wanted, elsewhere, json_list, refuse};
use super::query::Params;
use super::{App, org_groups};

type Answer = Result<Response, ListedError>;

/// The size of a page when none is asked for, and the largest. The contract has the parameter, not its range.
const PAGE: (i64, i64) = (50, 100);

/// `-` stands for all directories, in reading; there is one.
pub(super) fn routes(organization: &str, directory: &str) -> Router<App> {
    let of = |directory: &str, rest: &str| {
        format!("/v2/orgs/{organization}/directories/{directory}{rest}")
    };
    let reads = ["-", directory]
        .into_iter()
        .fold(Router::new(), |router, directory| {
            router
                .route(&of(directory, "/users"), get(users))
                .route(&of(directory, "/users/count"), get(count))
                .route(&of(directory, "/users/{account}"), get(user))
                .route(&of(directory, "/groups"), get(groups))
                .route(&of(directory, "/groups/{group}"), get(group))
        });
    let own = |rest| of(directory, rest);
    reads
        .route(&own("/users/{account}"), delete(remove_user))
        .route(&own("/users/{account}/suspend"), post(suspend))
        .route(&own("/users/{account}/restore"), post(restore))
        .route(&own("/groups"), post(create_group))
        .route(&own("/groups/{group}"), delete(delete_group))
        .route(&own("/groups/{group}/memberships"), post(add_member))
        .route(
            &own("/groups/{group}/memberships/{account}"),
            delete(remove_member),
        )
        .route(
            &format!("/v2/orgs/{organization}/users/invite"),
            post(invite),
        )
        .route(
            &format!("/v1/orgs/{organization}/directory/users/{{account}}/last-active-dates"),
            get(last_active),
        )
}

fn bad(detail: impl Into<String>) -> ListedError {
    ListedError(StatusCode::BAD_REQUEST, detail.into())
}

/// Where a page begins and how long it is.
fn page(params: &Params) -> Result<(i64, i64), ListedError> {
    let after = params
        .get("cursor")
        .map_or(Ok(0), |text| Cursor::read(text).ok_or_else(unknown_cursor))?;
    let limit = match params.get("limit") {
        None => PAGE.0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE.1).contains(limit))
            .ok_or_else(|| bad(format!("limit must be from 1 to {}", PAGE.1)))?,
    };
    Ok((after, limit))
}

/// A page of items that were read with one more than it holds. `next` is the bare cursor (contract section 3, [AX-241]).
fn listed<T>(
    params: &Params,
    limit: i64,
    mut items: Vec<T>,
    place: impl Fn(&T) -> i64,
    shown: impl Fn(&T) -> Value,
) -> Response {
    let limit = usize::try_from(limit).unwrap_or_default();
    let more = items.len() > limit;
    items.truncate(limit);
    let mut links = json!({"self": params.get("cursor").unwrap_or_default()});
    if let Some(last) = items.last().filter(|_| more) {
        links["next"] = Cursor::write(place(last)).into();
    }
    let data: Value = items.iter().map(shown).collect();
    Json(json!({"data": data, "links": links})).into_response()
}

async fn users(State(app): State<App>, params: Params) -> Answer {
    let wanted = Wanted::of(&params, &app.directory, false)?;
    let (after, limit) = page(&params)?;
    let users = people::page(app.store.readers(), &wanted, after, limit + 1).await?;
    Ok(listed(
        &params,
        limit,
        users,
        |user| user.seq,
        people::Person::shown,
    ))
}

async fn count(State(app): State<App>, params: Params) -> Answer {
    let wanted = Wanted::of(&params, &app.directory, true)?;
    let count = people::count(app.store.readers(), &wanted).await?;
    Ok(Json(json!({"count": count})).into_response())
}

async fn user(State(app): State<App>, Path(account): Path<String>) -> Answer {
    let user = people::member(app.store.readers(), &account).await?;
    Ok(Json(json!({"data": user.shown()})).into_response())
}

async fn set_suspended(app: &App, account: &str, suspended: bool) -> Answer {
    let mut tx = app.store.write().await?;
    people::member(&mut *tx, account)
        .await?
        .set_suspended(&mut tx, suspended)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn suspend(State(app): State<App>, Path(account): Path<String>) -> Answer {
    set_suspended(&app, &account, true).await
}

async fn restore(State(app): State<App>, Path(account): Path<String>) -> Answer {
    set_suspended(&app, &account, false).await
}

async fn remove_user(State(app): State<App>, Path(account): Path<String>) -> Answer {
    let mut tx = app.store.write().await?;
    people::member(&mut *tx, &account)
        .await?
        .remove(&mut tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The texts of a list in a body.
fn texts<'b>(body: &'b Value, name: &str) -> Result<Vec<&'b str>, ListedError> {
    let list = match &body[name] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    list.ok_or_else(|| bad(format!("{name} must be a list of strings")))
}

/// `emails` and `additionalGroups` are honoured; roles, and the mail that is sent, are not modelled. 206 when some
/// could not be invited, 400 when none could.
async fn invite(State(app): State<App>, ListedBody(body): ListedBody) -> Answer {
    let (emails, groups) = (texts(&body, "emails")?, texts(&body, "additionalGroups")?);
    if emails.is_empty() {
        return Err(bad("emails must name at least one address"));
    }
    let mut tx = app.store.write().await?;
    let mut into = Vec::with_capacity(groups.len());
    for id in groups {
        into.push(org_groups::find(&mut *tx, id).await?);
    }
    let (mut data, mut refused) = (Vec::with_capacity(emails.len()), Vec::new());
    for email in emails {
        match people::invite(&mut tx, email, &app.domains).await? {
            Ok(person) => {
                for group in &into {
                    match group.add(&mut tx, person.seq).await {
                        // Who is a member already stays one.
                        Err(ListedError(StatusCode::CONFLICT, _)) | Ok(()) => {}
                        Err(error) => return Err(error),
                    }
                }
                data.push(json!({"email": email, "accountId": person.account.id}));
            }
            Err(why) => {
                data.push(json!({"email": email, "error": why}));
                refused.push(why);
            }
        }
    }
    let status = match refused.len() {
        0 => StatusCode::OK,
        all if all == data.len() => return Err(bad(refused.join(" "))),
        _ => StatusCode::PARTIAL_CONTENT,
    };
    tx.commit().await?;
    Ok((status, Json(json!({"data": data}))).into_response())
}

/// Nobody has ever used an app here.
async fn last_active(State(app): State<App>, Path(account): Path<String>) -> Answer {
    let found = people::find(app.store.readers(), &account).await?;
    found.ok_or_else(|| {
        ListedError(
            StatusCode::NOT_FOUND,
            format!("There is no user {account}."),
        )
    })?;
    Ok(Json(json!({"data": {"product_access": []}, "links": {}})).into_response())
}

async fn groups(State(app): State<App>, params: Params) -> Answer {
    refuse(
        &params,
        &["resourceOwners", "resourceIds", "groupSortBy", "roleIds"],
    )?;
    let (after, limit) = page(&params)?;
    let wanted = org_groups::Wanted {
        ids: json_list(&params, "groupIds"),
        accounts: json_list(&params, "accountIds"),
        term: params.get("searchTerm").map(super::addresses::fold),
    };
    let groups = match elsewhere(&params, &app.directory) {
        true => Vec::new(),
        false => org_groups::page(app.store.readers(), &wanted, after, limit + 1).await?,
    };
    Ok(listed(
        &params,
        limit,
        groups,
        |group| group.seq,
        |group| group.shown(&app.directory),
    ))
}

async fn group(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let group = org_groups::find(app.store.readers(), &id).await?;
    Ok(Json(json!({"data": group.shown(&app.directory)})).into_response())
}

/// 201 without a body: jira.js knows of none.
async fn create_group(State(app): State<App>, ListedBody(body): ListedBody) -> Answer {
    let name = body["name"]
        .as_str()
        .ok_or_else(|| bad("name must be a string"))?;
    let description = match &body["description"] {
        Value::Null => None,
        text => Some(
            text.as_str()
                .ok_or_else(|| bad("description must be a string"))?,
        ),
    };
    let mut tx = app.store.write().await?;
    org_groups::create(&mut tx, name, description, app.store.now()).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED.into_response())
}

async fn delete_group(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let mut tx = app.store.write().await?;
    org_groups::find(&mut *tx, &id)
        .await?
        .delete(&mut tx)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// 400 for an account outside of the directory ("user must be in same directory"), 404 for one that there is not.
async fn add_member(
    State(app): State<App>,
    Path(id): Path<String>,
    ListedBody(body): ListedBody,
) -> Answer {
    let account = body["accountId"]
        .as_str()
        .ok_or_else(|| bad("accountId must be a string"))?;
    let mut tx = app.store.write().await?;
    let group = org_groups::find(&mut *tx, &id).await?;
    let person = people::find(&mut *tx, account).await?;
    let person = person.ok_or_else(|| {
        ListedError(
            StatusCode::NOT_FOUND,
            format!("There is no user {account}."),
        )
    })?;
    if !person.is_member() {
        return Err(bad(format!(
            "The user {account} is not in the directory of the group."
        )));
    }
    group.add(&mut tx, person.seq).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn remove_member(
    State(app): State<App>,
    Path((id, account)): Path<(String, String)>,
) -> Answer {
    let mut tx = app.store.write().await?;
    org_groups::find(&mut *tx, &id)
        .await?
        .remove(&mut tx, &account)
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
