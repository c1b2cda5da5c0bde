//! The user-management routes below `/users/{account_id}/manage` (contract sections 4 and 7).

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use sqlx::{Sqlite, Transaction};

use super::accounts::{self, Account, GRACE, LifecycleError};
use super::addresses::domain_of;
use super::answers::{ManagementBody, ManagementError};
use super::query::Params;
use super::{App, Shared};

type Answer = Result<Response, ManagementError>;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(permissions))
        .route("/profile", get(profile).patch(change_profile))
        .route("/email", put(set_email))
        .route("/lifecycle/disable", post(disable))
        .route("/lifecycle/enable", post(enable))
        .route("/lifecycle/delete", post(delete))
        .route("/lifecycle/cancel-delete", post(cancel_delete))
}

/// The reason for what a SCIM directory owns.
fn by_scim() -> Value {
    json!({"allowed": false, "reason": {"key": "externalDirectory.scim"}})
}

/// The fields of a profile, their longest values, and whether SCIM carries them (contract section 5).
const FIELDS: [(&str, usize, bool); 4] = [
    ("name", 100, true),
    ("nickname", 30, false),
    ("zoneinfo", 255, true),
    ("locale", 255, true),
];

/// The fields of `extended_profile`, likewise.
const EXTENDED: [(&str, bool); 6] = [
    ("phone_number", false),
    ("job_title", true),
    ("organization", true),
    ("department", true),
    ("location", false),
    ("team_type", false),
];

/// What may be done with an account, by whether a SCIM directory owns it.
fn privileges(scim: bool) -> Map<String, Value> {
    let allowed = || json!({"allowed": true});
    let unless_scim = |owned: bool| if scim && owned { by_scim() } else { allowed() };
    let mut profile: Map<String, Value> = FIELDS
        .iter()
        .map(|(field, _, owned)| ((*field).to_owned(), unless_scim(*owned)))
        .collect();
    let extended: Map<String, Value> = EXTENDED
        .iter()
        .map(|(field, owned)| ((*field).to_owned(), unless_scim(*owned)))
        .collect();
    profile.insert("extended_profile".to_owned(), extended.into());
    [
        ("email.set", unless_scim(true)),
        ("lifecycle.enablement", unless_scim(true)),
        ("lifecycle.delete", allowed()),
        ("profile", profile.clone().into()),
        ("profile.write", profile.into()),
        ("profile.read", allowed()),
        ("linkedAccounts.read", allowed()),
        ("apiToken.read", allowed()),
        ("apiToken.delete", allowed()),
        ("avatar", allowed()),
        ("privacy.set", allowed()),
        ("session.read", allowed()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn found(account: Option<(Account, bool)>) -> Result<(Account, bool), ManagementError> {
    account.ok_or_else(|| ManagementError::plain(StatusCode::NOT_FOUND, "accountNotFound"))
}

/// The account of a request that changes it, and the transaction to do so.
async fn change(
    app: &Shared,
    id: &str,
) -> Result<(Transaction<'static, Sqlite>, Account, bool), ManagementError> {
    let mut tx = app.store.write().await?;
    let (account, scim) = found(accounts::find(&mut *tx, id).await?)?;
    Ok((tx, account, scim))
}

async fn keep(
    mut tx: Transaction<'static, Sqlite>,
    account: &Account,
) -> Result<(), ManagementError> {
    account.save(&mut tx).await?;
    tx.commit().await.map_err(Into::into)
}

fn lifecycle(account: &Account, error: LifecycleError) -> ManagementError {
    ManagementError::lifecycle(&account.id, error.code(), error.message())
}

/// `?privileges=` narrows the answer to the named ones.
async fn permissions(State(app): State<App>, Path(id): Path<String>, params: Params) -> Answer {
    let (_, scim) = found(accounts::find(app.store.readers(), &id).await?)?;
    let (mut shown, asked) = (privileges(scim), params.list("privileges"));
    if !asked.is_empty() {
        shown.retain(|key, _| asked.contains(&key.as_str()));
    }
    Ok(Json(shown).into_response())
}

async fn profile(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let (account, _) = found(accounts::find(app.store.readers(), &id).await?)?;
    Ok(Json(json!({"account": account.shown()})).into_response())
}

async fn change_profile(
    State(app): State<App>,
    Path(id): Path<String>,
    ManagementBody(body): ManagementBody,
) -> Answer {
    let (tx, mut account, scim) = change(&app, &id).await?;
    for (field, value) in &body {
        if field == "extended_profile" {
            let values = value
                .as_object()
                .ok_or_else(|| ManagementError::field(field, "invalidType"))?;
            for (field, value) in values {
                let at = format!("extended_profile.{field}");
                let known = EXTENDED.iter().find(|(name, _)| name == field);
                let (_, owned) =
                    known.ok_or_else(|| ManagementError::field(&at, "unknownField"))?;
                allowed(scim && *owned)?;
                match short_text(&at, value, 255)? {
                    Some(text) => account.profile.extended.insert(field.clone(), text.into()),
                    None => account.profile.extended.remove(field),
                };
            }
            continue;
        }
        // What the account object shows but this request cannot set.
        if account.shown().get(field).is_some() && !FIELDS.iter().any(|(name, ..)| name == field) {
            return Err(ManagementError::forbidden(
                "forbidden.fieldMutation",
                json!({"field": field}),
            ));
        }
        let known = FIELDS.iter().find(|(name, ..)| name == field);
        let (_, longest, owned) =
            known.ok_or_else(|| ManagementError::field(field, "unknownField"))?;
        allowed(scim && *owned)?;
        let text = short_text(field, value, *longest)?;
        match field.as_str() {
            "nickname" => account.profile.nickname = text,
            "zoneinfo" => account.profile.zoneinfo = text,
            "locale" => account.profile.locale = text,
            _ => {
                account.profile.name =
                    text.ok_or_else(|| ManagementError::field(field, "required"))?
            }
        }
    }
    keep(tx, &account).await?;
    Ok(Json(json!({"account": account.shown()})).into_response())
}

/// 403 for what a SCIM directory owns.
fn allowed(owned: bool) -> Result<(), ManagementError> {
    if owned {
        Err(ManagementError::forbidden("forbidden.action", by_scim()))
    } else {
        Ok(())
    }
}

/// A string of the given length at most; null and the empty one mean "no value".
fn short_text(
    field: &str,
    value: &Value,
    longest: usize,
) -> Result<Option<String>, ManagementError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.chars().count() > longest => {
            Err(ManagementError::field(field, "tooLong"))
        }
        Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.trim().is_empty())),
        _ => Err(ManagementError::field(field, "invalidType")),
    }
}

async fn set_email(
    State(app): State<App>,
    Path(id): Path<String>,
    ManagementBody(body): ManagementBody,
) -> Answer {
    let (mut tx, mut account, scim) = change(&app, &id).await?;
    allowed(scim)?;
    let email = match body.get("email") {
        None | Some(Value::Null) => return Err(ManagementError::field("email", "required")),
        Some(email) => email
            .as_str()
            .ok_or_else(|| ManagementError::field("email", "invalidType"))?,
    };
    let domain = domain_of(email).ok_or_else(|| ManagementError::field("email", "invalidEmail"))?;
    if !app.domains.verified(&domain) {
        return Err(ManagementError::forbidden(
            "forbidden.unclaimedDomain",
            json!({"domain": domain}),
        ));
    }
    // The document lists no 409 for this operation.
    if accounts::email_taken(&mut tx, email, &account.id).await? {
        return Err(ManagementError::field("email", "alreadyInUse"));
    }
    email.clone_into(&mut account.email);
    keep(tx, &account).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `disable` and `enable`. The state asked for may be there already: that is no error.
async fn set_active(app: &Shared, id: &str, active: bool) -> Answer {
    let (tx, mut account, scim) = change(app, id).await?;
    allowed(scim)?;
    if account.delete_requested_at.is_some() {
        return Err(lifecycle(&account, LifecycleError::DeletePending));
    }
    account
        .set_active(active, app.store.now())
        .map_err(|error| lifecycle(&account, error))?;
    keep(tx, &account).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Needs a JSON body, whose `message` may be missing (contract section 7).
async fn disable(
    State(app): State<App>,
    Path(id): Path<String>,
    ManagementBody(body): ManagementBody,
) -> Answer {
    if let Some(message) = body.get("message") {
        short_text("message", message, usize::MAX)?;
    }
    set_active(&app, &id, false).await
}

async fn enable(State(app): State<App>, Path(id): Path<String>) -> Answer {
    set_active(&app, &id, true).await
}

/// Begins the 14 days of grace. Allowed for accounts of a SCIM directory as well.
async fn delete(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let (tx, mut account, _) = change(&app, &id).await?;
    let now = app.store.now();
    account
        .request_delete(now)
        .map_err(|error| lifecycle(&account, error))?;
    app.store.grace_ends_at(now + GRACE);
    keep(tx, &account).await?;
    let message = "The account is deactivated and will be deleted permanently after a grace period of 14 days.";
    Ok(Json(json!({"message": message})).into_response())
}

async fn cancel_delete(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let (tx, mut account, _) = change(&app, &id).await?;
    account
        .cancel_delete()
        .map_err(|error| lifecycle(&account, error))?;
    keep(tx, &account).await?;
    Ok(Json(json!({"message": "The deletion is cancelled."})).into_response())
}
