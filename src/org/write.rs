//! The writing half of the client.

use std::time::Duration;

use reqwest::Method;

use super::carried::{carry, unless_stopped};
use super::http::{Reply, backoff};
use super::read::segment;
use super::{ApiError, Cause, Reader, scim};
use crate::model::{
    AccountId, Answer, Exchange, ExternalId, Kind, Operation, ScimId, Shutdown, Target, fold,
};
use crate::plan::{Approved, ApprovedPlan, MEMBERS_A_PATCH, Way};

/// How often a creation is sent whose answer was lost and which reading does not find.
pub(super) const CREATE_ATTEMPTS: u32 = 3;

/// How long to wait before each look for an account that is known to be there: reads lag
/// behind writes (contract section 6, "eventual consistency").
pub(super) const PATIENCE: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(750),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The writing client. It is made for an approved plan, and sends only approved operations.
pub struct Writer {
    pub(super) reader: Reader,
    stop: Shutdown,
}

impl Writer {
    /// The writer for a plan that the guards have approved.
    pub fn for_plan(reader: Reader, _approved: &ApprovedPlan<'_>) -> Self {
        Writer {
            reader,
            stop: Shutdown::never(),
        }
    }

    /// The same, which ends what it is at soon after this is asked for.
    pub fn until(self, stop: Shutdown) -> Self {
        Writer { stop, ..self }
    }

    /// How many requests have gone out, also those of the reading client before.
    pub fn requests(&self) -> u64 {
        self.reader.requests()
    }

    /// How accounts are made and changed.
    pub fn way(&self) -> Way {
        self.reader.way()
    }

    /// How many operations may be under way at once: as many as requests to one of the APIs.
    pub fn at_once(&self) -> usize {
        let (scim, admin) = self.reader.rates();
        usize::try_from(scim.at_once.max(admin.at_once))
            .unwrap_or(1)
            .max(1)
    }

    /// Sends one operation. `sent_before` tells that the same deletion was sent by an earlier
    /// run that never saw the answer. Also tells the requests that it took, with their answers.
    pub async fn send(
        &self,
        operation: &Approved<'_>,
        sent_before: bool,
    ) -> (Result<Answer, ApiError>, Vec<Exchange>) {
        let work = self.carry_out_at_last(operation, sent_before);
        let (result, exchanges) = self.in_time(work).await;
        // Half of an operation is not undone by leaving the rest.
        let is_half_done = exchanges.iter().any(Exchange::is_success);
        let result = result.map_err(|error| match is_half_done && error.concerns_everybody() {
            true => error.in_doubt(),
            false => error,
        });
        (result, exchanges)
    }

    /// Carries an operation out, as far as it may take.
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> (Result<T, ApiError>, Vec<Exchange>) {
        carry(&self.stop, self.reader.operation_timeout, work).await
    }

    /// A restored account may be about to be deleted without this database knowing, as after an older
    /// one was put back: the organization refuses to open it before the deletion is cancelled. Where none
    /// could be, the refusal has another cause, and is what is told.
    async fn carry_out_at_last(
        &self,
        operation: &Approved<'_>,
        sent_before: bool,
    ) -> Result<Answer, ApiError> {
        let answer = self.carry_out(operation, sent_before).await;
        let is_conflict = answer
            .as_ref()
            .is_err_and(|error| matches!(error.cause, Cause::Conflict(_)));
        let opens = operation.active == (false, true) && !operation.cancel_delete;
        match &operation.target {
            Some(target) if is_conflict && opens && self.reader.has_admin_key() => {
                let account = self.account_id(target).await;
                let cancelled = match account {
                    Ok(account) => self.send_cancellation(&account).await,
                    Err(error) => Err(error),
                };
                match cancelled {
                    Ok(()) => self.carry_out(operation, sent_before).await,
                    Err(_) => answer,
                }
            }
            _ => answer,
        }
    }

    async fn carry_out(
        &self,
        operation: &Approved<'_>,
        sent_before: bool,
    ) -> Result<Answer, ApiError> {
        if !self.reader.keeps_keys() {
            return self.carry_out_by_admin(operation, sent_before).await;
        }
        match (&operation.kind, &operation.target) {
            (Kind::Create, _) => self.create(operation).await,
            (Kind::Delete, Some(target)) => self.delete(operation, target, sent_before).await,
            (Kind::Restore, Some(target)) => {
                if operation.cancel_delete {
                    self.cancel_delete(target).await?;
                }
                self.patch(target, operation).await
            }
            (Kind::Adopt | Kind::Update | Kind::Deactivate, Some(target)) => {
                self.patch(target, operation).await
            }
            (_, None) => Err(refused("the operation has no account".to_owned())),
        }
    }

    /// Creates the account. When the answer is lost, the account is looked for before anything
    /// is sent again: by its external id, which is the person's own key.
    async fn create(&self, operation: &Operation) -> Result<Answer, ApiError> {
        let body = scim::create(operation);
        let mut attempt = 1;
        loop {
            let (lost, waits) = match self.post("Users", &body).await {
                Err(error) if error.may_have_taken_effect() => (error, &PATIENCE[..1]),
                // The first attempt did arrive, and reading showed the time before it.
                Err(error) if attempt > 1 && matches!(error.cause, Cause::Conflict(_)) => {
                    let cause = Cause::NoAnswer(format!("an earlier attempt arrived: {error}"));
                    (ApiError { cause, ..error }, &PATIENCE[..])
                }
                result => return result.map(|(id, reply)| answer(id, reply)),
            };
            match self.find_created(operation, waits).await {
                Ok(Some(answer)) => return Ok(answer),
                // Only what reading shows not to be there is sent again.
                Ok(None) if waits.len() == 1 && attempt < CREATE_ATTEMPTS => {
                    let pause = tokio::time::sleep(backoff(attempt));
                    if unless_stopped(pause).await.is_none() {
                        return Err(lost);
                    }
                    attempt += 1;
                }
                Ok(None) | Err(_) => return Err(lost),
            }
        }
    }

    /// Looks for the account that a lost request made, after each of these waits.
    async fn find_created(
        &self,
        operation: &Operation,
        waits: &[Duration],
    ) -> Result<Option<Answer>, ApiError> {
        for wait in waits {
            tokio::time::sleep(*wait).await;
            let found = self.reader.by_external_id(&operation.key).await?;
            if let [account] = found.as_slice() {
                return Ok(Some(Answer {
                    scim_id: account.scim_id.clone(),
                    account_id: account.account_id.clone(),
                    request_id: None,
                }));
            }
        }
        Ok(None)
    }

    /// Makes a resource of the kind `Users` or `Groups`; its id, and the whole answer.
    async fn post(
        &self,
        kind: &str,
        body: &serde_json::Value,
    ) -> Result<(ScimId, Reply), ApiError> {
        let path = self.reader.scim_path(kind);
        let scim = self.reader.scim()?;
        let reply = scim.send(Method::POST, &path, &[], Some(body)).await?;
        match scim::made_id(&reply.body) {
            Ok(id) => Ok((id, reply)),
            Err(odd) => Err(ApiError {
                request: format!("POST {path}"),
                request_id: reply.request_id,
                cause: Cause::Unintelligible(odd.to_string()),
            }),
        }
    }

    async fn patch(&self, target: &Target, operation: &Approved<'_>) -> Result<Answer, ApiError> {
        let Some(body) = scim::patch(operation) else {
            return Ok(Answer {
                scim_id: target.scim_id.clone(),
                account_id: target.account_id.clone(),
                request_id: None,
            });
        };
        let path = self.reader.resource_path("Users", &target.scim_id);
        let result = if self.reader.replaces_whole() {
            self.replace(&path, target, operation).await
        } else {
            if operation.turns_login_off() {
                let found = self.reader.by_scim_id(&target.scim_id).await?;
                // Of an account that is not there, the request tells.
                found.map_or(Ok(()), |found| {
                    refuse_anothers(operation, &found.external_id)
                })?;
            }
            let scim = self.reader.scim()?;
            scim.send(Method::PATCH, &path, &[], Some(&body)).await
        };
        match result {
            Ok(reply) => Ok(answer(target.scim_id.clone(), reply)),
            Err(error) => Err(self.gone_or(error, target).await?),
        }
    }

    /// Replaces the resource whole (RFC 7644 section 3.5.1), for a server that takes no PATCH:
    /// as it is now, with what the operation changes.
    async fn replace(
        &self,
        path: &str,
        target: &Target,
        operation: &Approved<'_>,
    ) -> Result<Reply, ApiError> {
        let Some(now) = self.reader.raw_user(&target.scim_id).await? else {
            return Err(ApiError {
                request: format!("GET {path}"),
                request_id: None,
                cause: Cause::NotFound("there is no such user".to_owned()),
            });
        };
        if operation.turns_login_off() {
            let key = now.get("externalId").and_then(serde_json::Value::as_str);
            let key = key.filter(|key| !key.is_empty()).map(ExternalId::new);
            refuse_anothers(operation, &key)?;
        }
        let body = scim::replacement(now, operation);
        let scim = self.reader.scim()?;
        scim.send(Method::PUT, path, &[], Some(&body)).await
    }

    /// Makes of a 404 that the account is gone, if reading does not find it either: a gateway
    /// may have lost its way once.
    pub(super) async fn gone_or(
        &self,
        error: ApiError,
        target: &Target,
    ) -> Result<ApiError, ApiError> {
        let Cause::NotFound(message) = &error.cause else {
            return Ok(error);
        };
        if self.reader.still_has(&target.scim_id).await? {
            let cause = Cause::Astray(message.clone());
            return Ok(ApiError { cause, ..error });
        }
        let cause = Cause::Gone(message.clone());
        Ok(ApiError { cause, ..error })
    }

    /// Deletes the account for good, by user management and only after its permission was read
    /// (design, guarantee 8). An account that somebody has opened again or given to another
    /// person is not what the plan was made for.
    pub(super) async fn delete(
        &self,
        operation: &Approved<'_>,
        target: &Target,
        sent_before: bool,
    ) -> Result<Answer, ApiError> {
        let found = self.reader.by_scim_id(&target.scim_id).await?;
        let Some(found) = found else {
            return Err(ApiError {
                request: "the deletion".to_owned(),
                request_id: None,
                cause: Cause::Gone("there is nothing to delete".to_owned()),
            });
        };
        if found.active {
            return Err(refused(
                "the account is not deleted, as it is active again in the organization: somebody opened it; deactivate it there, or let the person be found in the directory".to_owned(),
            ));
        }
        let is_ours = !self.reader.keeps_keys()
            || operation.is_rekeyed()
            || is_ours(operation, &found.external_id);
        let is_same = target.account_id.is_none() || found.account_id == target.account_id;
        if !is_ours || !is_same {
            return Err(refused(
                "the account is not deleted, as in the organization it is another person's by now"
                    .to_owned(),
            ));
        }
        let account = self.account_id(target).await?;
        if let Some(reason) = self.reader.deletion_barrier(&account).await? {
            return Err(refused(format!(
                "the organization does not allow to delete the account {account} ({reason})"
            )));
        }
        let path = lifecycle_path(&account, "delete");
        let sent = self
            .reader
            .admin()?
            .send(Method::POST, &path, &[], None)
            .await;
        let request_id = match sent {
            Ok(reply) => reply.request_id,
            // The earlier request arrived: the deletion is under way.
            Err(ApiError {
                cause: Cause::Conflict(_),
                request_id,
                ..
            }) if sent_before => request_id,
            Err(ApiError {
                cause: Cause::Conflict(why),
                ..
            }) => {
                return Err(refused(format!(
                    "the organization refuses to delete the account {account} ({why}); if a deletion is under way that this database does not know of, as after an older one was put back, the account is gone at the end of its 14 days"
                )));
            }
            Err(error) => return Err(error),
        };
        Ok(Answer {
            scim_id: target.scim_id.clone(),
            account_id: Some(account),
            request_id,
        })
    }

    /// Cancels a requested deletion. That none is under way any more is as good: the organization may call that a
    /// conflict, or by its documents a 404. As that may also be a gateway that has lost its way once, it counts only
    /// where user management shows the account, and a second time.
    pub(super) async fn cancel_delete(&self, target: &Target) -> Result<(), ApiError> {
        let account = self.account_id(target).await?;
        let mut sent = self.send_cancellation(&account).await;
        if is_not_found(&sent) && self.reader.is_open(&account).await? {
            sent = self.send_cancellation(&account).await;
            if is_not_found(&sent) {
                return Ok(());
            }
        }
        match sent {
            Ok(())
            | Err(ApiError {
                cause: Cause::Conflict(_),
                ..
            }) => Ok(()),
            Err(error) => match self.gone_or(error, target).await? {
                ApiError {
                    cause: Cause::Astray(message),
                    ..
                } => Err(refused(format!(
                    "the deletion of the account {account} is not cancelled, as user management does not have that account ({message}): see in the organization's administration whether it was deleted for good"
                ))),
                error => Err(error),
            },
        }
    }

    async fn send_cancellation(&self, account: &AccountId) -> Result<(), ApiError> {
        let path = lifecycle_path(account, "cancel-delete");
        let admin = self.reader.admin()?;
        admin.send(Method::POST, &path, &[], None).await.map(|_| ())
    }

    /// The Atlassian account: known, or read from the SCIM resource.
    async fn account_id(&self, target: &Target) -> Result<AccountId, ApiError> {
        if let Some(id) = &target.account_id {
            return Ok(id.clone());
        }
        let Some(found) = self.reader.by_scim_id(&target.scim_id).await? else {
            let message = format!("there is no SCIM user {}", target.scim_id);
            let cause = Cause::Gone(message);
            return Err(ApiError {
                cause,
                ..refused(String::new())
            });
        };
        found.account_id.ok_or_else(|| {
            refused(format!(
                "the organization does not tell the Atlassian account of the SCIM user {}",
                target.scim_id
            ))
        })
    }
}

fn is_not_found(sent: &Result<(), ApiError>) -> bool {
    let is_not_found = |error: &ApiError| matches!(error.cause, Cause::NotFound(_));
    sent.as_ref().is_err_and(is_not_found)
}

/// Whether this is the key that the account has before or after the operation.
fn is_ours(operation: &Operation, carried: &Option<ExternalId>) -> bool {
    let carried = carried.as_ref().map(|key| fold(key.as_str()));
    let keys = [
        operation.external_id_before(),
        operation.external_id_after(),
    ];
    keys.into_iter().any(|key| key.map(fold) == carried)
}

/// Refuses to take the login of an account away that carries this key, as another tool may have taken it
/// over meanwhile; unless somebody wants that all the same.
fn refuse_anothers(operation: &Approved<'_>, carried: &Option<ExternalId>) -> Result<(), ApiError> {
    if operation.is_rekeyed() || is_ours(operation, carried) {
        return Ok(());
    }
    let carries = match carried {
        Some(key) => format!("the key `{key}`"),
        None => "no key".to_owned(),
    };
    Err(refused(format!(
        "the login is not turned off, as in the organization the account carries {carries} and not {}: it may be another tool's by now; give it that key back, or run `dirsyncd reconcile` and approve what the next sync then holds as `rekeyed`",
        operation.key
    )))
}

/// The calls for groups; `groups.rs` puts operations together from them.
impl Writer {
    /// Creates a group. A name that is taken in the organization is a conflict.
    pub async fn create_group(
        &self,
        name: &str,
        external_id: Option<&ExternalId>,
    ) -> Result<ScimId, ApiError> {
        let body = scim::create_group(name, external_id);
        self.post("Groups", &body).await.map(|(id, _)| id)
    }

    /// Adds members by their SCIM ids.
    pub async fn add_members(&self, group: &ScimId, members: &[ScimId]) -> Result<(), ApiError> {
        self.patch_group(group, members, scim::add_members).await
    }

    /// Takes members out by their SCIM ids.
    pub async fn remove_members(&self, group: &ScimId, members: &[ScimId]) -> Result<(), ApiError> {
        self.patch_group(group, members, scim::remove_members).await
    }

    async fn patch_group(
        &self,
        group: &ScimId,
        members: &[ScimId],
        body: fn(&[ScimId]) -> serde_json::Value,
    ) -> Result<(), ApiError> {
        let path = self.reader.resource_path("Groups", group);
        for batch in members.chunks(MEMBERS_A_PATCH) {
            self.reader
                .scim()?
                .send(Method::PATCH, &path, &[], Some(&body(batch)))
                .await?;
        }
        Ok(())
    }

    /// Lets members join and leave by replacing the group whole (RFC 7644 section 3.5.1), for a server that
    /// takes no PATCH: all else is sent as it is now, also members that cannot be anybody's account.
    ///
    /// # Errors
    /// Those of the API, or that the group is not there.
    pub async fn replace_members(
        &self,
        group: &ScimId,
        join: &[ScimId],
        leave: &[ScimId],
    ) -> Result<(), ApiError> {
        let Some(now) = self.reader.raw_group(group).await? else {
            return Err(refused(
                "the organization does not have the group any more".to_owned(),
            ));
        };
        let path = self.reader.resource_path("Groups", group);
        let body = scim::group_replacement(now, join, leave);
        let scim = self.reader.scim()?;
        scim.send(Method::PUT, &path, &[], Some(&body)).await?;
        Ok(())
    }

    /// Deletes a group; its members keep their accounts. That it is gone already is as good.
    pub async fn delete_group(&self, group: &ScimId) -> Result<(), ApiError> {
        let path = self.reader.resource_path("Groups", group);
        match self
            .reader
            .scim()?
            .send(Method::DELETE, &path, &[], None)
            .await
        {
            Ok(_)
            | Err(ApiError {
                cause: Cause::NotFound(_),
                ..
            }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn lifecycle_path(account: &AccountId, verb: &str) -> String {
    format!(
        "/users/{}/manage/lifecycle/{verb}",
        segment(account.as_str())
    )
}

fn answer(scim_id: ScimId, reply: Reply) -> Answer {
    Answer {
        scim_id,
        account_id: scim::account_id(&reply.body),
        request_id: reply.request_id,
    }
}

pub(super) fn refused(message: String) -> ApiError {
    ApiError {
        request: "the operation".to_owned(),
        request_id: None,
        cause: Cause::Declined(message),
    }
}
