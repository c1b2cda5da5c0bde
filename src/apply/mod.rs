//! Carries out an approved plan: journal, send, record the answer.
//!
//! Floor 5, above `org/` and `snapshot/`, and the only module that asks for the writing client.
//! Operations go out wave by wave, some at a time. Each is recorded as sent before it goes out,
//! and its answer in the transaction that changes the account's row; so whatever ends the
//! process, the journal tells what may have happened, and [`settle`] finds out by reading. Groups
//! come after the accounts, so that new members have theirs, and before what is cosmetic. What the
//! budget of a run does not reach is left for the next one.

mod groups;
mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use nix::time::{ClockId, clock_gettime};

use crate::config;
use crate::model::{
    Evidence, ExternalId, GroupChange, Invoker, Kind, Operation, OperationId, Reason, RunId,
    SourceName, Timestamp,
};
use crate::org::{ApiError, Cause, Reader, Writer};
use crate::plan::{Approved, ApprovedPlan, PendingDeactivation};
use crate::snapshot::{Answered, Failure, Journal, SnapshotError, Unclear};

pub use crate::model::Shutdown;
pub use groups::{GroupSettlement, GroupsApplied, settle_groups};
pub use settle::{Settled, Settlement, settle};

/// How many operations are in flight at most.
const IN_FLIGHT: usize = 8;

/// After so many failures in a row that look like the API's own, the run ends: the rest would
/// only fail as well.
const BREAKER: usize = 2 * IN_FLIGHT;

/// Tells the time; that of a run is its [`Clock`]'s.
pub type Now<'a> = &'a (dyn Fn() -> Timestamp + Sync);

/// The clock of one run: it starts with the time of the system, and from then on nobody sets it.
#[derive(Debug)]
pub struct Clock {
    started: Timestamp,
    since_boot: Duration,
}

impl Clock {
    /// A clock that says what time it is by the system's.
    pub fn start() -> Self {
        Clock {
            started: chrono::Utc::now(),
            since_boot: since_boot(),
        }
    }

    /// What time it is, by when it was started.
    pub fn now(&self) -> Timestamp {
        let passed = since_boot().saturating_sub(self.since_boot);
        self.started + TimeDelta::from_std(passed).unwrap_or_default()
    }
}

/// How long ago the machine has started. Unlike `Instant`, which stands still while it sleeps: by that a run
/// would go on with a plan of days ago as if within its deadline, and an account that it deactivates then would
/// have been so for days, and be deleted early.
fn since_boot() -> Duration {
    // Every Linux has this clock.
    let passed = clock_gettime(ClockId::CLOCK_BOOTTIME);
    passed.map(Duration::from).unwrap_or_default()
}

/// What became of an approved plan.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Operations that succeeded.
    pub done: usize,
    /// Operations that failed, each with the reason.
    pub failed: Vec<(Operation, String)>,
    /// Operations that were not sent: the run was stopped, its budget was used up, everything would
    /// have failed, or what they wait for did.
    pub left: usize,
    /// The same by their kinds.
    pub left_of: BTreeMap<Kind, usize>,
    /// Operations, also of groups, that were sent and whose answer was not waited for, as the run was asked
    /// to stop: the next run reads back what became of them.
    pub unawaited: usize,
    /// What ended the run early.
    pub ended_by: Option<EndedBy>,
    /// The same of groups.
    pub groups: GroupsApplied,
    /// Whose login is to be turned off and is still on, of this run and of those before.
    pub pending: Option<Pending>,
    /// Failures in a row that look like the API's own.
    pub(crate) in_a_row: usize,
    /// Whether something has been sent.
    pub(crate) has_sent: bool,
    /// Whether the plan itself leaves something for the next run.
    pub(crate) is_carried_over: bool,
}

/// The logins that are to be turned off and are still on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// How many.
    pub count: usize,
    /// Whose waits longest, by the DN.
    pub dn: String,
    /// When the first run began that planned that one.
    pub since: Timestamp,
    /// How long ago that was when this run ended.
    pub age: TimeDelta,
}

impl Pending {
    fn of(pending: &BTreeMap<ExternalId, PendingDeactivation>, now: Timestamp) -> Option<Self> {
        let moments = pending.values().filter_map(|one| Some((one.since?, one)));
        let (since, oldest) = moments.min_by_key(|(since, one)| (*since, one.dn.clone()))?;
        Some(Pending {
            count: pending.len(),
            dn: oldest.dn.clone(),
            since,
            age: (now - since).max(TimeDelta::zero()),
        })
    }
}

impl Applied {
    fn leave(&mut self, operation: &Operation) {
        self.left += 1;
        *self.left_of.entry(operation.kind).or_default() += 1;
    }

    /// Whether all was sent and nothing failed.
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty()
            && self.groups.failed.is_empty()
            && self.left + self.groups.left + self.unawaited == 0
            && self.ended_by.is_none()
    }
}

/// What ended a run before all operations were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// It was asked to stop.
    Stop,
    /// It has made as many requests as it may: `max_calls`.
    MaxCalls(u64),
    /// It has gone on for as long as it may: `deadline`.
    Deadline(TimeDelta),
    /// An error that every further operation would meet as well.
    Error(String),
}

impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndedBy::Stop => f.write_str("the run was asked to stop"),
            EndedBy::MaxCalls(most) => {
                write!(f, "`max_calls = {most}` in [apply] lets no more go")
            }
            EndedBy::Deadline(deadline) => {
                let deadline = deadline.to_std().unwrap_or_default();
                let deadline = humantime::format_duration(deadline);
                write!(f, "the `deadline` of {deadline} in [apply] was over")
            }
            EndedBy::Error(error) => f.write_str(error),
        }
    }
}

impl EndedBy {
    /// What ends a run in which an operation meets this error.
    fn of(error: &ApiError) -> Self {
        match error.cause {
            Cause::Stopped | Cause::Unawaited => EndedBy::Stop,
            _ => EndedBy::Error(error.to_string()),
        }
    }

    /// Whether somebody is to know of it who did not ask for it.
    pub fn is_failure(&self) -> bool {
        !matches!(self, EndedBy::Stop)
    }
}

/// Watches a run from outside.
pub trait Watch {
    /// This source is read from now on.
    fn reading(&self, _source: &SourceName) {}
    /// So many entries of the sources have been read.
    fn entries_read(&self, _entries: u64) {}
    /// The sources are read, and it is planned.
    fn planning(&self) {}
    /// The work goes on.
    fn went_on(&self) {}
    /// So many operations are about to be sent.
    fn sending(&self, _operations: usize) {}
    /// An operation has ended.
    fn operation_ended(&self, _kind: Kind, _failed: bool) {}
    /// A group operation has ended.
    fn group_ended(&self, _kind: GroupChange, _failed: bool) {}
}

/// Watches nothing.
pub struct Unwatched;

impl Watch for Unwatched {}

/// What a run gets from outside: who watches, whether to stop, what time it is, who wants it.
pub struct Control<'a> {
    /// Told about progress.
    pub watch: &'a dyn Watch,
    /// Asked between operations.
    pub stop: Shutdown,
    /// Tells the time.
    pub now: Now<'a>,
    /// Who has started it; `None` where nobody has, as the daemon does by its schedule.
    pub asked_by: Option<Invoker>,
}

/// When a run ends that goes on for too long.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Timestamp,
    /// How long after the run's beginning that is.
    after: TimeDelta,
}

impl Deadline {
    /// The deadline of a run that has begun at this moment, if it has one.
    pub fn of(config: &config::Apply, began: Timestamp) -> Option<Self> {
        let after = config.deadline?;
        let at = began.checked_add_signed(after)?;
        Some(Deadline { at, after })
    }
}

/// Counts, within a wave, the failures in a row of what was tried in vain before: after as many as are in
/// flight the rest of such is left, as it would only fail as well.
#[derive(Default)]
struct AgainInVain {
    wave: u32,
    in_a_row: usize,
}

impl AgainInVain {
    /// Whether what was tried in vain before is given up in this wave.
    fn is_given_up(&mut self, wave: u32) -> bool {
        if wave != self.wave {
            *self = AgainInVain { wave, in_a_row: 0 };
        }
        self.in_a_row >= IN_FLIGHT
    }

    fn note(&mut self, has_failed: bool) {
        self.in_a_row = if has_failed { self.in_a_row + 1 } else { 0 };
    }
}

/// A run that sends.
struct Sending<'a> {
    writer: Writer,
    deadline: Option<Deadline>,
    /// The most requests. What does not fit by what was foreseen the plan leaves out already; this ends
    /// a run in which many had to be repeated.
    max_calls: Option<u64>,
    /// How many were foreseen.
    calls: u64,
    /// How many requests had gone out before.
    requests_before: u64,
    doubtful: HashSet<ExternalId>,
    control: &'a Control<'a>,
}

impl Sending<'_> {
    /// Whether to go on. A run sends something at least: else one whose pull takes longer than the
    /// deadline never would.
    fn goes_on(&self, applied: &mut Applied) -> bool {
        if applied.ended_by.is_none() && self.control.stop.requested() {
            applied.ended_by = Some(EndedBy::Stop);
        }
        if applied.ended_by.is_none() && applied.has_sent {
            applied.ended_by = self.over();
        }
        applied.ended_by.is_none()
    }

    /// Whether not even what has been begun is brought to its end.
    fn is_cut_short(&self, applied: &Applied) -> bool {
        let is_error = |ended_by: &EndedBy| matches!(ended_by, EndedBy::Error(_));
        self.control.stop.requested() || applied.ended_by.as_ref().is_some_and(is_error)
    }

    fn over(&self) -> Option<EndedBy> {
        let used = self.writer.requests().saturating_sub(self.requests_before);
        let max_calls = self.max_calls;
        let max_calls = max_calls.filter(|most| used > self.calls.max(*most));
        let deadline = self.deadline;
        let deadline = deadline.filter(|deadline| (self.control.now)() >= deadline.at);
        max_calls
            .map(EndedBy::MaxCalls)
            .or(deadline.map(|deadline| EndedBy::Deadline(deadline.after)))
    }
}

/// Carries the plan out.
pub async fn apply(
    plan: &ApprovedPlan,
    run: RunId,
    reader: Reader,
    deadline: Option<Deadline>,
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
    let mut applied = Applied::default();
    carry_over(plan, run, journal, control, &mut applied).await?;
    control
        .watch
        .sending(operations.len() + plan.groups().len());
    let sending = Sending {
        requests_before: reader.requests(),
        writer: Writer::for_plan(reader, plan).until(control.stop.clone()),
        deadline,
        max_calls: plan.max_calls(),
        calls: plan.calls(),
        doubtful: journal.doubtful_deletions().await?,
        control,
    };
    let mut unsuccessful: HashSet<ExternalId> = HashSet::new();
    // Who is in which group matters more than the rest of the accounts' values.
    let rest = operations.partition_point(|operation| !operation.is_cosmetic());
    let (first, rest) = operations.split_at(rest);
    let (first_ids, rest_ids) = ids.split_at(first.len());
    let accounts = (&mut unsuccessful, &mut applied);
    send(first, first_ids, &sending, journal, accounts).await?;
    groups::apply(plan.groups(), &group_ids, &sending, journal, &mut applied).await?;
    let accounts = (&mut unsuccessful, &mut applied);
    send(rest, rest_ids, &sending, journal, accounts).await?;
    if applied.ended_by.is_none() && applied.is_carried_over {
        applied.ended_by = plan.max_calls().map(EndedBy::MaxCalls);
    }
    applied.pending = Pending::of(&journal.pending_deactivations().await?, (control.now)());
    Ok(applied)
}

/// Journals as left what the plan leaves for the next run.
async fn carry_over(
    plan: &ApprovedPlan,
    run: RunId,
    journal: &mut Journal,
    control: &Control<'_>,
    applied: &mut Applied,
) -> Result<(), SnapshotError> {
    let (accounts, groups) = plan.carried_over();
    if accounts.is_empty() && groups.is_empty() {
        return Ok(());
    }
    let now = (control.now)();
    let mut ids = journal.intend(run, accounts.iter(), now).await?;
    ids.extend(journal.intend_groups(run, groups.iter(), now).await?);
    journal.carry_over(&ids).await?;
    for operation in accounts {
        applied.leave(operation);
    }
    for operation in groups {
        applied.groups.leave(operation);
    }
    applied.is_carried_over = true;
    Ok(())
}

/// Sends these operations, which the journal has under these numbers.
async fn send(
    operations: &[Approved],
    ids: &[OperationId],
    sending: &Sending<'_>,
    journal: &mut Journal,
    (unsuccessful, applied): (&mut HashSet<ExternalId>, &mut Applied),
) -> Result<(), SnapshotError> {
    let mut queue: Vec<Queued> = ids.iter().copied().zip(operations).collect();
    let mut ways: BTreeSet<&ExternalId> = BTreeSet::new();
    let in_circles = in_circles(&queue, journal).await?;
    let mut again = AgainInVain::default();
    let mut is_ending = false;
    let mut at = 0;
    while at < queue.len() {
        let is_over = !is_ending && !sending.goes_on(applied);
        if is_over || (is_ending && sending.is_cut_short(applied)) {
            let rest = queue.split_off(at);
            let (closing, left) = match sending.is_cut_short(applied) {
                true => (Vec::new(), rest),
                false => divide(rest, &ways),
            };
            for (_, operation) in &left {
                applied.leave(operation);
            }
            let left: Vec<OperationId> = left.into_iter().map(|(id, _)| id).collect();
            journal.carry_over(&left).await?;
            queue.extend(closing);
            is_ending = true;
            continue;
        }
        let end = batch_end(&queue, at);
        let batch = queue[at..end].to_vec();
        // An operation whose address another one failed to free would only fail as well.
        let (waiting, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(_, operation)| {
            operation
                .waits_for
                .iter()
                .any(|key| unsuccessful.contains(key))
        });
        let is_given_up = again.is_given_up(queue[at].1.wave);
        let (given_up, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(_, operation)| {
            let closes = !makes_way(operation) && in_circles.contains(&operation.key);
            is_given_up && operation.is_in_vain() && !closes
        });
        at = end;
        for (id, operation) in waiting.into_iter().chain(given_up) {
            journal.carry_over(&[id]).await?;
            unsuccessful.insert(operation.key.clone());
            applied.leave(operation);
        }
        let failed_before = applied.failed.len();
        send_batch(&batch, sending, journal, applied).await?;
        unsuccessful.extend(
            applied.failed[failed_before..]
                .iter()
                .map(|(operation, _)| operation.key.clone()),
        );
        for (_, operation) in batch {
            let has_failed = unsuccessful.contains(&operation.key);
            if operation.is_in_vain() {
                again.note(has_failed);
            }
            if makes_way(operation) && !has_failed {
                ways.insert(&operation.key);
            }
        }
    }
    Ok(())
}

/// An operation that is still to be sent, and its number in the journal.
type Queued<'a> = (OperationId, &'a Approved);

/// What of the rest is still sent when a run is to end, so that nobody keeps an address that was to
/// make way only: what the changes after it wait for, and those. And the others.
fn divide<'a>(
    rest: Vec<Queued<'a>>,
    ways: &BTreeSet<&'a ExternalId>,
) -> (Vec<Queued<'a>>, Vec<Queued<'a>>) {
    let closing = closing(&rest, ways.iter().copied());
    rest.into_iter()
        .partition(|(_, operation)| closing.contains(&operation.key))
}

/// Those who make way or have made way in this run or before, and whom they wait for: what was tried in
/// vain of theirs is tried again in any case, so that the one comes back from the substitute address.
async fn in_circles<'a>(
    queue: &[Queued<'a>],
    journal: &mut Journal,
) -> Result<HashSet<&'a ExternalId>, SnapshotError> {
    if !queue.iter().any(|(_, operation)| operation.is_in_vain()) {
        return Ok(HashSet::new());
    }
    let keys: Vec<&ExternalId> = queue.iter().map(|(_, operation)| &operation.key).collect();
    let parked = journal.parked(&keys).await?;
    let ways = queue
        .iter()
        .filter(|(_, operation)| makes_way(operation) || parked.contains(&operation.key));
    let ways = ways.map(|(_, operation)| &operation.key);
    Ok(closing(queue, ways))
}

/// These and whom they wait for.
fn closing<'a>(
    queue: &[Queued<'a>],
    ways: impl Iterator<Item = &'a ExternalId>,
) -> HashSet<&'a ExternalId> {
    let mut of_key: HashMap<&ExternalId, Vec<&'a Approved>> = HashMap::new();
    for (_, operation) in queue.iter().copied() {
        of_key.entry(&operation.key).or_default().push(operation);
    }
    let mut closing: HashSet<&ExternalId> = HashSet::new();
    let mut open: Vec<&ExternalId> = ways.collect();
    while let Some(key) = open.pop() {
        if closing.insert(key) {
            let operations = of_key.get(key).into_iter().flatten();
            open.extend(operations.flat_map(|operation| &operation.waits_for));
        }
    }
    closing
}

fn makes_way(operation: &Operation) -> bool {
    operation.reason == Reason::MakesWay
}

/// The end of the batch that begins here: it stays within a wave.
fn batch_end(queue: &[Queued<'_>], at: usize) -> usize {
    let wave = queue[at].1.wave;
    let same = queue[at..]
        .iter()
        .take(IN_FLIGHT)
        .take_while(|(_, other)| other.wave == wave);
    at + same.count()
}

async fn send_batch(
    batch: &[Queued<'_>],
    sending: &Sending<'_>,
    journal: &mut Journal,
    applied: &mut Applied,
) -> Result<(), SnapshotError> {
    let Sending {
        writer,
        doubtful,
        control,
        ..
    } = sending;
    applied.has_sent |= !batch.is_empty();
    let ids: Vec<OperationId> = batch.iter().map(|(id, _)| *id).collect();
    journal.mark_sent(&ids, (control.now)()).await?;
    let answers = join_all(
        batch
            .iter()
            .map(|(_, operation)| writer.send(operation, doubtful.contains(&operation.key))),
    )
    .await;
    let mut answered: Vec<(Answered, &Operation)> = Vec::with_capacity(batch.len());
    journal.hurry_if(&control.stop).await?;
    let (mut unsent, mut unclear, mut unawaited) = (Vec::new(), Vec::new(), Vec::new());
    for ((id, operation), (result, exchanges)) in batch.iter().zip(answers) {
        let result = match result {
            Ok(answer) => Ok(answer),
            Err(error) if error.cause == Cause::Unawaited => {
                applied.ended_by.get_or_insert(EndedBy::of(&error));
                applied.unawaited += 1;
                unawaited.push((*id, exchanges));
                continue;
            }
            // The journal keeps it as sent: the next run settles it by reading.
            Err(error) if error.may_have_taken_effect() => {
                // Whose it may be has a limit of its own.
                applied.in_a_row += usize::from(!operation.is_in_vain());
                let error = format!("{error}; whether it took effect is read back by the next run");
                unclear.push(Unclear {
                    id: *id,
                    operation,
                    error: error.clone(),
                    exchanges,
                });
                fail(applied, control.watch, operation, error);
                continue;
            }
            Err(error) if error.concerns_everybody() => {
                unsent.push((*id, exchanges));
                applied.ended_by.get_or_insert(EndedBy::of(&error));
                applied.leave(operation);
                continue;
            }
            Err(error) => Err(Failure {
                is_gone: error.is_gone(),
                is_refusal: error.is_refusal(),
                error: error.to_string(),
            }),
        };
        let evidence = Evidence::Answers(exchanges);
        let answered_one = Answered {
            id: *id,
            result,
            evidence,
        };
        answered.push((answered_one, operation));
    }
    journal.leave_unclear(&unclear, (control.now)()).await?;
    journal.leave_sent(&unawaited).await?;
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
