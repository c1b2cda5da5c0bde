//! Carries out an approved plan: journal, send, record the answer.
//!
//! Floor 5, above `org/` and `snapshot/`, and the only module that asks for the writing client.
//! Operations go out wave by wave, some at a time. Each is recorded as sent before it goes out,
//! and its answer in the transaction that changes the account's row; so whatever ends the
//! process, the journal tells what may have happened, and [`settle`] finds out by reading. Groups
//! come after the accounts, so that new members have theirs.

mod groups;
mod settle;

use std::collections::HashSet;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::model::{ExternalId, Kind, Operation, OperationId, RunId, Timestamp};
use crate::org::{Reader, Writer};
use crate::plan::{Approved, ApprovedPlan};
use crate::snapshot::{Answered, Failure, Journal, SnapshotError};

pub use groups::{GroupSettlement, GroupsApplied, settle_groups};
pub use settle::{Settled, Settlement, settle};

/// How many operations are in flight at most.
const IN_FLIGHT: usize = 8;

/// After so many failures in a row that look like the API's own, the run ends: the rest would
/// only fail as well.
const BREAKER: usize = 2 * IN_FLIGHT;

/// Tells the time; the daemon's is the system's.
pub type Now<'a> = &'a (dyn Fn() -> Timestamp + Sync);

/// What became of an approved plan.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Operations that succeeded.
    pub done: usize,
    /// Operations that failed, each with the reason.
    pub failed: Vec<(Operation, String)>,
    /// Operations that were not sent: the run was stopped, or everything would have failed.
    pub left: usize,
    /// What ended the run early.
    pub ended_by: Option<EndedBy>,
    /// The same of groups.
    pub groups: GroupsApplied,
    /// Failures in a row that look like the API's own.
    pub(crate) in_a_row: usize,
}

impl Applied {
    /// Whether all was sent and nothing failed.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty()
            && self.groups.failed.is_empty()
            && self.left + self.groups.left == 0
            && self.ended_by.is_none()
    }
}

/// What ended a run before all operations were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// It was asked to stop.
    Stop,
    /// An error that every further operation would meet as well.
    Error(String),
}

/// Watches a run from outside.
pub trait Watch {
    /// So many entries of the sources have been read.
    fn entries_read(&self, _entries: u64) {}
    /// So many operations are about to be sent.
    fn sending(&self, _operations: usize) {}
    /// An operation has ended.
    fn operation_ended(&self, _kind: Kind, _failed: bool) {}
    /// A group operation has ended.
    fn group_ended(&self, _failed: bool) {}
}

/// Watches nothing.
pub struct Unwatched;

impl Watch for Unwatched {}

/// What a run gets from outside: who watches, whether to stop, what time it is.
pub struct Control<'a> {
    /// Told about progress.
    pub watch: &'a dyn Watch,
    /// Asked between operations.
    pub stop: Shutdown,
    /// Tells the time.
    pub now: Now<'a>,
}

/// The wish that work ends soon.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A shutdown and the way to ask for it: send `true`.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Shutdown(receiver))
    }

    /// A shutdown that nobody will ask for.
    pub fn never() -> Self {
        Self::new().1
    }

    /// Whether it was asked for.
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked for.
    pub async fn wait(&self) {
        // Without a sender nobody can ask any more.
        if self
            .0
            .clone()
            .wait_for(|requested| *requested)
            .await
            .is_err()
        {
            std::future::pending().await
        }
    }
}

/// Carries the plan out.
pub async fn apply(
    plan: &ApprovedPlan,
    run: RunId,
    reader: Reader,
    journal: &mut Journal,
    control: &Control<'_>,
) -> Result<Applied, SnapshotError> {
    journal.note(plan.notes()).await?;
    let (group_notes, forgotten) = plan.group_notes();
    journal.note_groups(group_notes, forgotten).await?;
    let operations = plan.operations();
    let ids = journal
        .intend(
            run,
            operations.iter().map(|operation| &**operation),
            (control.now)(),
        )
        .await?;
    let group_ids = journal
        .intend_groups(
            run,
            plan.groups().iter().map(|operation| &**operation),
            (control.now)(),
        )
        .await?;
    let doubtful = journal.doubtful_deletions().await?;
    control
        .watch
        .sending(operations.len() + plan.groups().len());
    let writer = Writer::for_plan(reader, plan);
    let mut applied = Applied::default();
    let mut unsuccessful: HashSet<ExternalId> = HashSet::new();
    let mut at = 0;
    while at < operations.len() {
        if applied.ended_by.is_none() && control.stop.requested() {
            applied.ended_by = Some(EndedBy::Stop);
        }
        if applied.ended_by.is_some() {
            applied.left += operations.len() - at;
            journal.leave(&ids[at..]).await?;
            break;
        }
        let end = batch_end(operations, at);
        let batch: Vec<(OperationId, &Approved)> = ids[at..end]
            .iter()
            .copied()
            .zip(&operations[at..end])
            .collect();
        at = end;
        // An operation whose address another one failed to free would only fail as well.
        let (waiting, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(_, operation)| {
            operation
                .waits_for
                .iter()
                .any(|key| unsuccessful.contains(key))
        });
        for (id, operation) in waiting {
            journal.leave(&[id]).await?;
            unsuccessful.insert(operation.key.clone());
            applied.left += 1;
        }
        let failed_before = applied.failed.len();
        send_batch(&batch, &writer, &doubtful, journal, control, &mut applied).await?;
        unsuccessful.extend(
            applied.failed[failed_before..]
                .iter()
                .map(|(operation, _)| operation.key.clone()),
        );
    }
    groups::apply(
        plan.groups(),
        &group_ids,
        &writer,
        journal,
        control,
        &mut applied,
    )
    .await?;
    Ok(applied)
}

/// The end of the batch that begins here: it stays within a wave.
fn batch_end(operations: &[Approved], at: usize) -> usize {
    let wave = operations[at].wave;
    let same = operations[at..]
        .iter()
        .take(IN_FLIGHT)
        .take_while(|other| other.wave == wave);
    at + same.count()
}

async fn send_batch(
    batch: &[(OperationId, &Approved)],
    writer: &Writer,
    doubtful: &HashSet<ExternalId>,
    journal: &mut Journal,
    control: &Control<'_>,
    applied: &mut Applied,
) -> Result<(), SnapshotError> {
    let ids: Vec<OperationId> = batch.iter().map(|(id, _)| *id).collect();
    journal.mark_sent(&ids, (control.now)()).await?;
    let answers = join_all(
        batch
            .iter()
            .map(|(_, operation)| writer.send(operation, doubtful.contains(&operation.key))),
    )
    .await;
    let mut answered: Vec<(Answered, &Operation)> = Vec::with_capacity(batch.len());
    let mut unsent = Vec::new();
    for ((id, operation), result) in batch.iter().zip(answers) {
        let operation: &Operation = operation;
        let result = match result {
            Ok(answer) => Ok(answer),
            // The journal keeps it as sent: the next run settles it by reading.
            Err(error) if error.may_have_taken_effect() => {
                applied.in_a_row += 1;
                let error = format!("{error}; whether it took effect is read back by the next run");
                fail(applied, control.watch, operation, error);
                continue;
            }
            Err(error) if error.concerns_everybody() => {
                unsent.push(*id);
                applied
                    .ended_by
                    .get_or_insert_with(|| EndedBy::Error(error.to_string()));
                applied.left += 1;
                continue;
            }
            Err(error) => Err(Failure {
                is_gone: error.is_gone(),
                error: error.to_string(),
            }),
        };
        answered.push((Answered { id: *id, result }, operation));
    }
    let recorded = journal.answer(&answered, (control.now)()).await?;
    for ((_, operation), result) in answered.iter().zip(recorded) {
        match result {
            Ok(()) => {
                applied.done += 1;
                applied.in_a_row = 0;
                control.watch.operation_ended(operation.kind, false);
            }
            Err(error) => fail(applied, control.watch, operation, error),
        }
    }
    if applied.in_a_row >= BREAKER {
        let why = format!(
            "the last {} operations got no usable answer",
            applied.in_a_row
        );
        applied.ended_by.get_or_insert(EndedBy::Error(why));
    }
    journal.unsend(&unsent).await
}

fn fail(applied: &mut Applied, watch: &dyn Watch, operation: &Operation, error: String) {
    tracing::warn!(
        account = operation.label(),
        dn = operation.dn,
        kind = operation.kind.name(),
        error,
        "an operation failed"
    );
    watch.operation_ended(operation.kind, true);
    applied.failed.push((operation.clone(), error));
}
