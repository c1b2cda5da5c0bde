//! Groups: carries out what is planned for them after the accounts, and finds out what became of
//! what an earlier run left unanswered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::flight::Flight;
use super::line::{self, Line, Room};
use super::{Applied, Sending};
use crate::model::{
    Evidence, ExternalId, GroupChange, GroupMember, GroupOperation, GroupProgress, GroupReason,
    ManagedAccount, ManagedGroup, OperationId, ScimId, Timestamp, fold,
};
use crate::org::{ApiError, Reader};
use crate::plan::ApprovedGroup;
use crate::snapshot::{End, EndedGroup, Failure, Journal, SnapshotError, UnansweredGroup};

/// How many are under way at most: each may take many requests, which share the limit of the API, and has to be
/// done within `operation_timeout`.
const AT_ONCE: usize = 8;

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
    operations: &[ApprovedGroup<'_>],
    ids: &[OperationId],
    sending: &Sending<'_>,
    journal: &mut Journal,
    applied: &mut Applied,
) -> Result<(), SnapshotError> {
    let mut groups = Groups {
        sending,
        line: Line::of(ids.iter().copied().zip(operations), sending.way()),
        unsuccessful: HashSet::new(),
        failed: Vec::new(),
    };
    let mut flight = Flight::new();
    loop {
        let landed = flight.land().await;
        if landed.is_empty() && groups.line.is_empty() {
            break;
        }
        let mut ended = Vec::with_capacity(landed.len());
        for (queued, progress, (result, exchanges)) in landed {
            let (id, operation): Queued = queued;
            let one = EndedGroup {
                id,
                operation,
                progress,
                end: applied.end_of(result),
                evidence: Evidence::Answers(exchanges),
            };
            ended.push((operation, one));
        }
        let under_way = flight.len();
        let turn = groups.turn(&ended, under_way, journal, applied);
        for (id, operation) in flight.during(turn).await? {
            let accounts = flight.during(made_accounts(operation, journal)).await?;
            flight.send(async move {
                let mut progress = GroupProgress::default();
                let sending = sending
                    .writer
                    .send_group(operation, &accounts, &mut progress);
                let sent = sending.await;
                ((id, operation), progress, sent)
            });
        }
    }
    groups.failed.sort_by_key(|(id, _)| *id);
    let failed = groups.failed.into_iter().map(|(_, failed)| failed);
    applied.groups.failed.extend(failed);
    Ok(())
}

type Queued<'a> = line::Queued<'a, GroupOperation>;

/// The group operations that are being sent.
struct Groups<'a> {
    sending: &'a Sending<'a>,
    line: Line<'a, GroupOperation>,
    /// Of which groups something has failed, or was left; by their folded names.
    unsuccessful: HashSet<String>,
    failed: Vec<(OperationId, (GroupOperation, String))>,
}

impl<'a> Groups<'a> {
    /// Records what has ended, and as sent what goes next while so many are under way.
    async fn turn(
        &mut self,
        ended: &[(&'a ApprovedGroup<'_>, EndedGroup<'a>)],
        under_way: usize,
        journal: &mut Journal,
        applied: &mut Applied,
    ) -> Result<Vec<Queued<'a>>, SnapshotError> {
        let control = self.sending.control;
        journal.hurry_if(&control.stop).await?;
        let now = (control.now)();
        let mut turn = journal.turn().await?;
        for (operation, ended) in ended {
            turn.record_group(ended, now).await?;
            self.note((ended.id, operation), &ended.end, applied);
        }
        let (next, left) = self.next(under_way, applied);
        turn.carry_over(&left).await?;
        turn.send(next.iter().map(|(id, _)| *id), now).await?;
        turn.commit().await?;
        applied.has_sent |= !next.is_empty();
        Ok(next)
    }

    fn note(&mut self, (id, operation): Queued<'a>, end: &End, applied: &mut Applied) {
        applied.count(end, operation.is_in_vain());
        let watch = self.sending.control.watch;
        let failed = match end {
            End::Done(()) => {
                applied.groups.done += 1;
                watch.group_ended(operation.kind, false);
                None
            }
            End::Failed(Failure { error, .. }) | End::Unknown(error) => Some(error),
            End::Left => {
                applied.groups.leave(operation);
                None
            }
            End::Unawaited => None,
        };
        let is_done = matches!(end, End::Done(()));
        self.line.note(operation, !is_done);
        if !is_done {
            self.unsuccessful.insert(fold(&operation.name));
        }
        let Some(error) = failed else { return };
        tracing::warn!(
            group = operation.name,
            kind = operation.kind.name(),
            error,
            "a group operation failed"
        );
        watch.group_ended(operation.kind, true);
        let failed = GroupOperation::clone(operation);
        self.failed.push((id, (failed, error.clone())));
    }

    /// What goes next, and what of the queue does not go in this run.
    fn next(
        &mut self,
        under_way: usize,
        applied: &mut Applied,
    ) -> (Vec<Queued<'a>>, Vec<OperationId>) {
        let mut left = Vec::new();
        if !self.line.is_empty() && !self.sending.goes_on(applied, &self.line, under_way) {
            left = self.line.drain();
        }
        let unsuccessful = &mut self.unsuccessful;
        let room = Room {
            at_once: applied.at_once(self.sending.writer.at_once().min(AT_ONCE)),
            calls: self.sending.calls_left(),
        };
        let (next, in_vain) = self.line.next(under_way, room, |operation, is_given_up| {
            let waits_in_vain = match &operation.reason {
                GroupReason::Merged { into } => unsuccessful.contains(&fold(into)),
                _ => false,
            };
            if is_given_up {
                unsuccessful.insert(fold(&operation.name));
            }
            waits_in_vain || is_given_up
        });
        left.extend(in_vain);
        let left = left.into_iter().map(|(id, operation)| {
            applied.groups.leave(operation);
            id
        });
        (next, left.collect())
    }
}

/// The SCIM users of those members whose account was still to be made when this was planned.
async fn made_accounts(
    operation: &GroupOperation,
    journal: &mut Journal,
) -> Result<HashMap<ExternalId, ScimId>, SnapshotError> {
    let open = operation.add.iter();
    let open = open.filter(|member| member.scim_id.is_none());
    let keys: HashSet<ExternalId> = open.filter_map(|member| member.key.clone()).collect();
    let mut accounts = journal.accounts(&keys).await?;
    accounts.retain(|_, account| account.lifecycle.has_account());
    let user = |(key, account): (ExternalId, ManagedAccount)| (key, account.scim_id);
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
        let ended = EndedGroup {
            id: self.id,
            operation: &self.operation,
            progress: self.progress.clone(),
            end: match self.is_done {
                true => End::Done(()),
                false => End::Left,
            },
            evidence: Evidence::ReadBack,
        };
        journal.record_group(&ended, now).await
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
