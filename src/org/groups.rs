//! How a group operation is carried out: step by step, so that what was done counts also when
//! the next step fails.

use std::collections::{HashMap, HashSet};

use super::carried::unless_stopped;
use super::http::backoff;
use super::write::{CREATE_ATTEMPTS, PATIENCE, refused};
use super::{ApiError, Cause, Reader, Writer};
use crate::model::{
    Exchange, ExistingGroup, ExternalId, GroupChange, GroupMember, GroupOperation, GroupProgress,
    GroupTarget, ScimId,
};
use crate::plan::{ApprovedGroup, MEMBERS_A_PATCH};

/// Which way members go.
#[derive(Clone, Copy)]
enum Way {
    Join,
    Leave,
}

impl Reader {
    /// The group that was made for this operation, if there is one: the name is used once in
    /// the organization, and the key tells that it is ours.
    pub async fn group_made_for(
        &self,
        operation: &GroupOperation,
    ) -> Result<Option<ExistingGroup>, ApiError> {
        let found = self.groups_by_name(&operation.name).await?;
        let is_ours = |group: &ExistingGroup| group.external_id.as_ref() == Some(&operation.key);
        Ok(found.into_iter().find(is_ours))
    }
}

impl Writer {
    /// Carries out one group operation. `accounts` are the SCIM users of the people whose account
    /// was still to be made when it was planned; whoever is not in it is left for the next run. Of
    /// what a run did, that is not undone then, which is an error. What is done is in `progress`, also
    /// when an error ends it. Also tells the requests that it took, with their answers.
    pub async fn send_group(
        &self,
        operation: &ApprovedGroup<'_>,
        accounts: &HashMap<ExternalId, ScimId>,
        progress: &mut GroupProgress,
    ) -> (Result<(), ApiError>, Vec<Exchange>) {
        self.in_time(self.carry_out_group(operation, accounts, progress))
            .await
    }

    async fn carry_out_group(
        &self,
        operation: &GroupOperation,
        accounts: &HashMap<ExternalId, ScimId>,
        progress: &mut GroupProgress,
    ) -> Result<(), ApiError> {
        let known = |members: &'_ [GroupMember]| -> Vec<GroupMember> {
            let user = |member: &GroupMember| {
                let made = member.key.as_ref().and_then(|key| accounts.get(key));
                member.scim_id.as_ref().or(made).cloned()
            };
            let with_user = |member: &GroupMember| {
                Some(GroupMember {
                    scim_id: Some(user(member)?),
                    ..member.clone()
                })
            };
            members.iter().filter_map(with_user).collect()
        };
        let (add, remove) = (known(&operation.add), known(&operation.remove));
        let is_whole = match &operation.undoes {
            Some(_) => all_put_back(&operation.add, &add),
            None => Ok(()),
        };
        match (operation.kind, &operation.target) {
            // Half a renaming would have to be tidied up first.
            (GroupChange::Rename, _) if is_whole.is_err() => return is_whole,
            (GroupChange::Create | GroupChange::Rename, old) => {
                let made = self.make_group(operation).await?;
                progress.scim_id = Some(made.clone());
                self.change_members(&made, &add, Way::Join, progress)
                    .await?;
                match old {
                    Some(old) if operation.kind == GroupChange::Rename => {
                        self.take_down(old, progress).await?;
                    }
                    _ => {}
                }
            }
            (GroupChange::Adopt | GroupChange::Update, Some(target)) => {
                let group = &target.scim_id;
                // Nothing has been sent yet, but there is a group, and it is ours.
                progress.scim_id = Some(group.clone());
                let joined = self.change_members(group, &add, Way::Join, progress).await;
                let left = match &joined {
                    Err(error) if error.may_have_taken_effect() || error.concerns_everybody() => {
                        Ok(())
                    }
                    _ => {
                        self.change_members(group, &remove, Way::Leave, progress)
                            .await
                    }
                };
                joined.and(left)?;
            }
            (GroupChange::Delete, Some(target)) => self.take_down(target, progress).await?,
            (_, None) => return Err(refused("the operation has no group".to_owned())),
        }
        is_whole
    }

    async fn take_down(
        &self,
        target: &GroupTarget,
        progress: &mut GroupProgress,
    ) -> Result<(), ApiError> {
        self.delete_group(&target.scim_id).await?;
        progress.deleted = Some(target.scim_id.clone());
        Ok(())
    }

    /// Makes the group. When the answer is lost, it is looked for before anything is sent again.
    async fn make_group(&self, operation: &GroupOperation) -> Result<ScimId, ApiError> {
        let mut attempt = 1;
        loop {
            let made = self
                .create_group(&operation.name, Some(&operation.key))
                .await;
            let (lost, waits) = match made {
                Err(error) if error.may_have_taken_effect() => (error, &PATIENCE[..1]),
                // The first attempt did arrive, and reading showed the time before it.
                Err(error) if attempt > 1 && matches!(error.cause, Cause::Conflict(_)) => {
                    let cause = Cause::NoAnswer(format!("an earlier attempt arrived: {error}"));
                    (ApiError { cause, ..error }, &PATIENCE[..])
                }
                Err(ApiError {
                    cause: Cause::Conflict(message),
                    ..
                }) => {
                    // A revert that broke off has made it.
                    if operation.undoes.is_some()
                        && let Some(begun) = self.reader.group_made_for(operation).await?
                    {
                        return Ok(begun.scim_id);
                    }
                    return Err(refused(format!(
                        "the organization has a group `{}` already ({message}); give one of them another name",
                        operation.name
                    )));
                }
                result => return result,
            };
            for wait in waits {
                tokio::time::sleep(*wait).await;
                match self.reader.group_made_for(operation).await {
                    Ok(Some(group)) => return Ok(group.scim_id),
                    Ok(None) => {}
                    Err(_) => return Err(lost),
                }
            }
            // Only what reading shows not to be there is sent again.
            let pause = tokio::time::sleep(backoff(attempt));
            if waits.len() > 1
                || attempt >= CREATE_ATTEMPTS
                || unless_stopped(pause).await.is_none()
            {
                return Err(lost);
            }
            attempt += 1;
        }
    }

    /// Lets members whose SCIM user is known join or leave, batch by batch. A batch that is refused is divided, so that one
    /// bad member keeps nobody else out.
    async fn change_members(
        &self,
        group: &ScimId,
        members: &[GroupMember],
        way: Way,
        progress: &mut GroupProgress,
    ) -> Result<(), ApiError> {
        if self.reader.replaces_whole() && !members.is_empty() {
            return self.replace_some(group, members, way, progress).await;
        }
        let mut batches: Vec<&[GroupMember]> = members.chunks(MEMBERS_A_PATCH).rev().collect();
        let mut refusals: Vec<ApiError> = Vec::new();
        let mut is_there = false;
        while let Some(batch) = batches.pop() {
            let users: Vec<ScimId> = GroupMember::users(batch).cloned().collect();
            let result = match way {
                Way::Join => self.add_members(group, &users).await,
                Way::Leave => self.remove_members(group, &users).await,
            };
            match result {
                Ok(()) => note(progress, batch, way),
                Err(error) if is_about_members(&error) => {
                    if !is_there && self.reader.group(group).await?.is_none() {
                        return Err(refused(
                            "the organization does not have the group any more: somebody deleted it, and the next run makes it anew".to_owned(),
                        ));
                    }
                    is_there = true;
                    match batch {
                        [_] => refusals.push(error),
                        _ => {
                            let (first, second) = batch.split_at(batch.len() / 2);
                            batches.extend([second, first]);
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let count = refusals.len();
        match refusals.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(refused(format!(
                "{count} of {} members could not {} the group; the first: {first}",
                members.len(),
                match way {
                    Way::Join => "join",
                    Way::Leave => "leave",
                }
            ))),
        }
    }

    /// The same for a server that takes no PATCH.
    async fn replace_some(
        &self,
        group: &ScimId,
        members: &[GroupMember],
        way: Way,
        progress: &mut GroupProgress,
    ) -> Result<(), ApiError> {
        let users: Vec<ScimId> = GroupMember::users(members).cloned().collect();
        match way {
            Way::Join => self.replace_members(group, &users, &[]).await?,
            Way::Leave => self.replace_members(group, &[], &users).await?,
        }
        note(progress, members, way);
        Ok(())
    }
}

/// Whether all who are to join have a SCIM user by now.
fn all_put_back(members: &[GroupMember], known: &[GroupMember]) -> Result<(), ApiError> {
    let known: HashSet<Option<&ExternalId>> = known.iter().map(|one| one.key.as_ref()).collect();
    let is_missing = |one: &&GroupMember| !known.contains(&one.key.as_ref());
    let missing: Vec<&GroupMember> = members.iter().filter(is_missing).collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(refused(format!(
            "{} of {} members could not be put in, as the account is not put back yet; the first: {}; once it is, revert again",
            missing.len(),
            members.len(),
            first.name
        ))),
    }
}

fn note(progress: &mut GroupProgress, members: &[GroupMember], way: Way) {
    match way {
        Way::Join => progress.added.extend_from_slice(members),
        Way::Leave => progress.removed.extend_from_slice(members),
    }
}

/// Whether a batch may be refused because of one of its members.
fn is_about_members(error: &ApiError) -> bool {
    matches!(
        error.cause,
        Cause::NotFound(_) | Cause::Refused { status: 400, .. }
    )
}
