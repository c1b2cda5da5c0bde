//! Groups: carries out what is planned for them after the accounts, and finds out what became of
//! what an earlier run left unanswered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::future::join_all;

use super::{AgainInVain, Applied, BREAKER, EndedBy, IN_FLIGHT, Sending};
use crate::model::{
    Evidence, ExternalId, GroupChange, GroupMember, GroupOperation, GroupProgress, GroupReason,
    ManagedGroup, OperationId, ScimId, Timestamp, fold,
};
use crate::org::{ApiError, Cause, Reader};
use crate::plan::ApprovedGroup;
use crate::snapshot::{Failure, GroupEnd, Journal, SnapshotError, UnansweredGroup};

/// What became of the group operations of a plan.
#[derive(Clone, Debug, Default)]
pub struct GroupsApplied {
    /// Operations that succeeded.
    pub done: usize,
    /// Operations that failed, each with the reason.
    pub failed: Vec<(GroupOperation, String)>,
    /// Operations that were not sent.
    pub left: usize,
    /// The same by their kinds.
    pub left_of: BTreeMap<GroupChange, usize>,
}

impl GroupsApplied {
    pub(super) fn leave(&mut self, operation: &GroupOperation) {
        self.left += 1;
        *self.left_of.entry(operation.kind).or_default() += 1;
    }
}

/// Carries out the group operations, which the journal has under these numbers.
pub(super) async fn apply(
    operations: &[ApprovedGroup],
    ids: &[OperationId],
    sending: &Sending<'_>,
    journal: &mut Journal,
    applied: &mut Applied,
) -> Result<(), SnapshotError> {
    // By their folded names.
    let mut unsuccessful: HashSet<String> = HashSet::new();
    let mut again = AgainInVain::default();
    let mut at = 0;
    while at < operations.len() {
        if !sending.goes_on(applied) {
            for operation in &operations[at..] {
                applied.groups.leave(operation);
            }
            return journal.carry_over(&ids[at..]).await;
        }
        let end = batch_end(operations, at);
        let (waiting, batch): (Vec<_>, Vec<_>) = ids[at..end]
            .iter()
            .copied()
            .zip(&operations[at..end])
            .partition(|(_, operation)| match &operation.reason {
                GroupReason::Merged { into } => unsuccessful.contains(&fold(into)),
                _ => false,
            });
        let is_given_up = again.is_given_up(u32::from(operations[at].is_deletion()));
        let (given_up, batch): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|(_, operation)| is_given_up && operation.is_in_vain());
        at = end;
        for (id, operation) in waiting {
            journal.leave(&[id]).await?;
            applied.groups.leave(operation);
        }
        for (id, operation) in given_up {
            journal.carry_over(&[id]).await?;
            unsuccessful.insert(fold(&operation.name));
            applied.groups.leave(operation);
        }
        let failed_before = applied.groups.failed.len();
        send_batch(&batch, sending, journal, applied).await?;
        let failed = applied.groups.failed[failed_before..].iter();
        let failed: HashSet<String> = failed.map(|(one, _)| fold(&one.name)).collect();
        for (_, operation) in batch.iter().filter(|(_, one)| one.is_in_vain()) {
            again.note(failed.contains(&fold(&operation.name)));
        }
        unsuccessful.extend(failed);
    }
    Ok(())
}

/// The end of the batch that begins here: deletions wait for all before them.
fn batch_end(operations: &[ApprovedGroup], at: usize) -> usize {
    let first = operations[at].is_deletion();
    let same = operations[at..]
        .iter()
        .take(IN_FLIGHT)
        .take_while(|other| other.is_deletion() == first);
    at + same.count()
}

async fn send_batch(
    batch: &[(OperationId, &ApprovedGroup)],
    sending: &Sending<'_>,
    journal: &mut Journal,
    applied: &mut Applied,
) -> Result<(), SnapshotError> {
    let Sending {
        writer, control, ..
    } = sending;
    applied.has_sent |= !batch.is_empty();
    let accounts = made_accounts(batch, journal).await?;
    let ids: Vec<OperationId> = batch.iter().map(|(id, _)| *id).collect();
    journal.mark_sent(&ids, (control.now)()).await?;
    let answers = join_all(batch.iter().map(async |(_, operation)| {
        let mut progress = GroupProgress::default();
        let sent = writer.send_group(operation, &accounts, &mut progress).await;
        (progress, sent)
    }))
    .await;
    journal.hurry_if(&control.stop).await?;
    for ((id, operation), (progress, (result, exchanges))) in batch.iter().zip(answers) {
        let evidence = Evidence::Answers(exchanges);
        let (end, told) = match result {
            Ok(()) => (GroupEnd::Done, None),
            Err(error) if error.concerns_everybody() || error.cause == Cause::Unawaited => {
                applied.ended_by.get_or_insert(EndedBy::of(&error));
                let end = match error.cause {
                    Cause::Unawaited => {
                        applied.unawaited += 1;
                        GroupEnd::Unawaited
                    }
                    _ => {
                        applied.groups.leave(operation);
                        GroupEnd::Left
                    }
                };
                let now = (control.now)();
                journal
                    .answer_group(*id, operation, &progress, (&end, &evidence), now)
                    .await?;
                continue;
            }
            Err(error) if error.may_have_taken_effect() => {
                applied.in_a_row += usize::from(!operation.is_in_vain());
                let error = format!("{error}; whether it took effect is read back by the next run");
                (GroupEnd::Unknown(error.clone()), Some(error))
            }
            Err(error) => {
                let failure = Failure {
                    error: error.to_string(),
                    is_refusal: error.is_refusal(),
                    is_gone: false,
                };
                (GroupEnd::Failed(failure), Some(error.to_string()))
            }
        };
        journal
            .answer_group(
                *id,
                operation,
                &progress,
                (&end, &evidence),
                (control.now)(),
            )
            .await?;
        control.watch.group_ended(operation.kind, told.is_some());
        match told {
            None => {
                applied.groups.done += 1;
                applied.in_a_row = 0;
            }
            Some(error) => {
                tracing::warn!(
                    group = operation.name,
                    kind = operation.kind.name(),
                    error,
                    "a group operation failed"
                );
                let operation: &GroupOperation = operation;
                applied.groups.failed.push((operation.clone(), error));
            }
        }
    }
    if applied.in_a_row >= BREAKER {
        let why = format!(
            "the last {} operations got no usable answer",
            applied.in_a_row
        );
        applied.ended_by.get_or_insert(EndedBy::Error(why));
    }
    Ok(())
}

/// The SCIM users of those members whose account was still to be made when this was planned.
async fn made_accounts(
    batch: &[(OperationId, &ApprovedGroup)],
    journal: &mut Journal,
) -> Result<HashMap<ExternalId, ScimId>, SnapshotError> {
    let is_open = |member: &&GroupMember| member.scim_id.is_none();
    let keys: HashSet<ExternalId> = batch
        .iter()
        .flat_map(|(_, operation)| operation.add.iter().filter(is_open))
        .filter_map(|member| member.key.clone())
        .collect();
    let mut accounts = journal.accounts(&keys).await?;
    accounts.retain(|_, account| account.lifecycle.has_account());
    let user = |(key, account): (ExternalId, crate::model::ManagedAccount)| (key, account.scim_id);
    Ok(accounts.into_iter().map(user).collect())
}

/// What reading showed of a group operation that was sent and never answered.
#[derive(Clone, Debug)]
pub struct GroupSettlement {
    /// The operation.
    pub id: OperationId,
    /// The operation as it was sent.
    pub operation: GroupOperation,
    /// What of it took effect.
    pub progress: GroupProgress,
    /// Whether that is all of it; what is missing is planned anew.
    pub is_done: bool,
}

/// Reads what became of these operations. Nothing is written.
pub async fn settle_groups(
    reader: &Reader,
    unanswered: Vec<UnansweredGroup>,
) -> Result<Vec<GroupSettlement>, ApiError> {
    let mut settlements = Vec::with_capacity(unanswered.len());
    for UnansweredGroup { id, operation } in unanswered {
        let old = match &operation.target {
            Some(target) => reader.group(&target.scim_id).await?,
            None => None,
        };
        let (there, deleted) = match operation.kind {
            GroupChange::Adopt | GroupChange::Update => (old, None),
            GroupChange::Create => (reader.group_made_for(&operation).await?, None),
            GroupChange::Rename | GroupChange::Delete => {
                let target = operation.target.as_ref();
                let deleted = target
                    .filter(|_| old.is_none())
                    .map(|target| target.scim_id.clone());
                match operation.kind {
                    GroupChange::Rename => (reader.group_made_for(&operation).await?, deleted),
                    _ => (None, deleted),
                }
            }
        };
        let members: BTreeSet<&ScimId> = there.iter().flat_map(|group| &group.members).collect();
        let is_in = |member: &&GroupMember| {
            let user = member.scim_id.as_ref();
            user.is_some_and(|user| members.contains(user))
        };
        let cloned = |members: Vec<&GroupMember>| members.into_iter().cloned().collect();
        let (joined, missing): (Vec<_>, Vec<_>) = operation.add.iter().partition(is_in);
        let (staying, left): (Vec<_>, Vec<_>) = operation.remove.iter().partition(is_in);
        let has_changed = there.is_some() && missing.is_empty() && staying.is_empty();
        let is_done = match operation.kind {
            GroupChange::Delete => deleted.is_some(),
            GroupChange::Rename => has_changed && deleted.is_some(),
            GroupChange::Create | GroupChange::Adopt | GroupChange::Update => has_changed,
        };
        let progress = GroupProgress {
            added: cloned(joined),
            removed: cloned(left),
            scim_id: there.map(|group| group.scim_id),
            deleted,
        };
        settlements.push(GroupSettlement {
            id,
            operation,
            progress,
            is_done,
        });
    }
    Ok(settlements)
}

impl GroupSettlement {
    /// Records in the journal what reading showed.
    pub async fn record(&self, journal: &mut Journal, now: Timestamp) -> Result<(), SnapshotError> {
        let end = match self.is_done {
            true => GroupEnd::Done,
            false => GroupEnd::Left,
        };
        journal
            .answer_group(
                self.id,
                &self.operation,
                &self.progress,
                (&end, &Evidence::ReadBack),
                now,
            )
            .await
    }

    /// Takes it into what the snapshot says, where it must not be recorded.
    pub fn settle(&self, groups: &mut Vec<ManagedGroup>) {
        let GroupProgress {
            scim_id, deleted, ..
        } = &self.progress;
        groups.retain(|group| Some(&group.scim_id) != deleted.as_ref());
        let Some(scim_id) = scim_id else {
            return;
        };
        // Who is in it is read in any case.
        groups.retain(|group| group.scim_id != *scim_id);
        if self.is_done && self.operation.lets_go() {
            return;
        }
        groups.push(ManagedGroup {
            scim_id: scim_id.clone(),
            key: self.operation.key.clone(),
            name: self.operation.name.clone(),
            origins: self.operation.origins.clone(),
            members: BTreeSet::new(),
            // Before it is known which groups are in it, none is missed.
            nested: BTreeSet::new(),
        });
    }
}
