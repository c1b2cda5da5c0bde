//! Carries out an approved plan: journal, send, record the answer.
//!
//! Floor 5, above `org/` and `snapshot/`, and the only module that asks for the writing client.
//! Operations go out wave by wave, some at a time. Each is recorded as sent before it goes out,
//! and its answer in the transaction that changes the account's row; so whatever ends the
//! process, the journal tells what may have happened, and [`settle`] finds out by reading. Groups
//! come after the accounts, so that new members have theirs, and before what is cosmetic. What the
//! budget of a run does not reach is left for the next one.

mod flight;
mod groups;
mod line;
mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use nix::time::{ClockId, clock_gettime};

use crate::config;
use crate::model::{
    Answer, Evidence, ExternalId, GroupChange, Invoker, Kind, Operation, OperationId, Reason,
    RunId, SourceName, Timestamp,
};
use crate::org::{ApiError, Cause, Reader, Writer};
use crate::plan::{Approved, ApprovedPlan, PendingDeactivation, Way};
use crate::snapshot::{End, Ended, Failure, Journal, SnapshotError};
use flight::Flight;
use line::{InLine, Line, Room};

pub use crate::model::Shutdown;
pub use groups::{GroupSettlement, GroupsApplied, settle_groups};
pub use settle::{Settled, Settlement, settle};

/// After so many failures in a row that look like the API's own, the run ends: the rest would
/// only fail as well.
const BREAKER: usize = 16;

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

    /// The run ends by this, unless it does already: but an error is told though the run's budget was used up before, as
    /// then not even what was begun can be brought to its end.
    fn end_by(&mut self, cause: EndedBy) {
        let outranks = |known: &EndedBy| {
            let is_error = matches!(cause, EndedBy::Error(_));
            is_error && matches!(known, EndedBy::MaxCalls(_) | EndedBy::Deadline(_))
        };
        if self.ended_by.as_ref().is_none_or(outranks) {
            self.ended_by = Some(cause);
        }
    }

    /// How an operation ended by this answer; one that everybody would get ends the run.
    fn end_of<Made>(&mut self, result: Result<Made, ApiError>) -> End<Made> {
        match result {
            Ok(made) => End::Done(made),
            // The journal keeps it as sent: the next run settles it by reading.
            Err(error) if error.cause == Cause::Unawaited => {
                self.end_by(EndedBy::Stop);
                End::Unawaited
            }
            Err(error) if error.may_have_taken_effect() => End::Unknown(format!(
                "{error}; whether it took effect is read back by the next run"
            )),
            Err(error) if error.concerns_everybody() => {
                self.end_by(EndedBy::of(&error));
                End::Left
            }
            Err(error) => End::Failed(Failure {
                is_gone: error.is_gone(),
                is_refusal: error.is_refusal(),
                error: error.to_string(),
            }),
        }
    }

    /// Counts what got no usable answer: after some in a row the run ends. Of what was tried in vain before that says
    /// nothing: whose it may be has a limit of its own.
    fn count<Made>(&mut self, end: &End<Made>, is_in_vain: bool) {
        match end {
            End::Done(_) => self.in_a_row = 0,
            End::Unknown(_) => self.in_a_row += usize::from(!is_in_vain),
            End::Unawaited => self.unawaited += 1,
            End::Failed(_) | End::Left => {}
        }
        if self.in_a_row >= BREAKER {
            let why = format!("the last {} operations got no usable answer", self.in_a_row);
            self.end_by(EndedBy::Error(why));
        }
    }

    /// How many may be under way of so many: where the last ones got no usable answer, no more than may still fail
    /// before the run ends.
    fn at_once(&self, most: usize) -> usize {
        match self.in_a_row {
            0 => most,
            failed => most.min(BREAKER.saturating_sub(failed)).max(1),
        }
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

/// A run that sends.
struct Sending<'a> {
    writer: Writer,
    deadline: Option<Deadline>,
    /// The most requests. What does not fit by what was foreseen the plan leaves out already; this ends
    /// a run in which many had to be repeated, before the next operation would exceed it.
    max_calls: Option<u64>,
    /// How many were foreseen.
    calls: u64,
    /// How many requests had gone out before.
    requests_before: u64,
    doubtful: HashSet<ExternalId>,
    control: &'a Control<'a>,
}

impl Sending<'_> {
    /// Whether to go on with this line, of which so many are under way.
    fn goes_on<What: InLine>(
        &self,
        applied: &mut Applied,
        line: &Line<'_, What>,
        under_way: usize,
    ) -> bool {
        if applied.ended_by.is_none() && self.control.stop.requested() {
            applied.ended_by = Some(EndedBy::Stop);
        }
        if applied.ended_by.is_none() {
            // What those under way leave of the budget is known once they are answered.
            let calls = if under_way > 0 { 0 } else { line.next_calls() };
            applied.ended_by = self.over(calls, applied.has_sent);
        }
        applied.ended_by.is_none()
    }

    /// Whether not even what has been begun is brought to its end.
    fn is_cut_short(&self, applied: &Applied) -> bool {
        let is_error = |ended_by: &EndedBy| matches!(ended_by, EndedBy::Error(_));
        self.control.stop.requested() || applied.ended_by.as_ref().is_some_and(is_error)
    }

    /// What ends the run where so many requests are to be made next. It sends something at least: else one whose pull
    /// takes longer than the deadline never would.
    fn over(&self, calls: u64, has_sent: bool) -> Option<EndedBy> {
        let has_room = self.calls_left().is_none_or(|left| calls <= left);
        let max_calls = self.max_calls.filter(|_| !has_room);
        let deadline = self.deadline.filter(|_| has_sent);
        let deadline = deadline.filter(|deadline| (self.control.now)() >= deadline.at);
        max_calls
            .map(EndedBy::MaxCalls)
            .or(deadline.map(|deadline| EndedBy::Deadline(deadline.after)))
    }

    /// How many requests may still go out, if there is a budget.
    fn calls_left(&self) -> Option<u64> {
        let used = self.writer.requests().saturating_sub(self.requests_before);
        let most = self.max_calls?.max(self.calls);
        Some(most.saturating_sub(used))
    }

    /// How accounts are made and changed.
    fn way(&self) -> Way {
        self.writer.way()
    }
}

/// Carries the plan out.
pub async fn apply(
    plan: &ApprovedPlan<'_>,
    run: RunId,
    reader: Reader,
    deadline: Option<Deadline>,
    journal: &mut Journal,
    control: &Control<'_>,
) -> Result<Applied, SnapshotError> {
    journal.note(plan.notes()).await?;
    let (group_notes, forgotten) = plan.group_notes();
    journal.note_groups(group_notes, forgotten).await?;
    let operations = in_order(plan.operations());
    let ids = journal
        .intend(
            run,
            operations.iter().map(|operation| &***operation),
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
    let mut first: Vec<Queued> = ids.into_iter().zip(operations).collect();
    let rest = first.split_off(first.partition_point(|(_, operation)| !operation.is_cosmetic()));
    let accounts = (&mut unsuccessful, &mut applied);
    send(first, &sending, journal, accounts).await?;
    groups::apply(plan.groups(), &group_ids, &sending, journal, &mut applied).await?;
    let accounts = (&mut unsuccessful, &mut applied);
    send(rest, &sending, journal, accounts).await?;
    if matches!(applied.ended_by, Some(EndedBy::Error(_))) {
        journal.excuse(run).await?;
    }
    if applied.ended_by.is_none() && applied.is_carried_over {
        applied.ended_by = plan.max_calls().map(EndedBy::MaxCalls);
    }
    applied.pending = Pending::of(&journal.pending_deactivations().await?, (control.now)());
    Ok(applied)
}

/// So many creations are read by nobody one after another.
const MANY_CREATIONS: usize = 1000;

/// The operations in the order in which they are sent. The creations of a wave, of which none waits for another, go by
/// key where they are many: then the accounts' table and its index of digests are appended to, which halves what is
/// written of them.
fn in_order<'a>(operations: &'a [Approved<'a>]) -> Vec<&'a Approved<'a>> {
    let mut order: Vec<&Approved> = operations.iter().collect();
    let is_first_try = |one: &Approved| one.kind == Kind::Create && !one.is_in_vain();
    let creations =
        order.chunk_by_mut(|a, b| is_first_try(a) && is_first_try(b) && a.wave == b.wave);
    for many in creations.filter(|some| some.len() >= MANY_CREATIONS) {
        many.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    }
    order
}

/// Journals as left what the plan leaves for the next run.
async fn carry_over(
    plan: &ApprovedPlan<'_>,
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
    let mut ids = journal.intend(run, accounts.iter().copied(), now).await?;
    ids.extend(
        journal
            .intend_groups(run, groups.iter().copied(), now)
            .await?,
    );
    let mut turn = journal.turn().await?;
    turn.carry_over(&ids).await?;
    turn.commit().await?;
    for operation in accounts {
        applied.leave(operation);
    }
    for operation in groups {
        applied.groups.leave(operation);
    }
    applied.is_carried_over = true;
    Ok(())
}

type Queued<'a> = line::Queued<'a, Operation>;

/// Sends what waits in this order.
async fn send(
    queue: Vec<Queued<'_>>,
    sending: &Sending<'_>,
    journal: &mut Journal,
    (unsuccessful, applied): (&mut HashSet<ExternalId>, &mut Applied),
) -> Result<(), SnapshotError> {
    let mut accounts = Accounts {
        sending,
        in_circles: in_circles(&queue, journal).await?,
        line: Line::of(queue, sending.way()),
        unsuccessful,
        ways: BTreeSet::new(),
        failed: Vec::new(),
        is_ending: false,
    };
    let mut flight = Flight::new();
    loop {
        let landed = flight.land().await;
        if landed.is_empty() && accounts.line.is_empty() {
            break;
        }
        let mut ended = Vec::with_capacity(landed.len());
        for (queued, (result, exchanges)) in landed {
            let (id, operation): Queued = queued;
            let one = Ended {
                id,
                operation,
                end: applied.end_of(result),
                evidence: Evidence::Answers(exchanges),
            };
            ended.push((operation, one));
        }
        let under_way = flight.len();
        let turn = accounts.turn(&ended, under_way, journal, applied);
        for (id, operation) in flight.during(turn).await? {
            let is_doubtful = sending.doubtful.contains(&operation.key);
            flight.send(async move {
                let sent = sending.writer.send(operation, is_doubtful).await;
                ((id, operation), sent)
            });
        }
    }
    // As they were planned, not as they were answered.
    accounts.failed.sort_by_key(|(id, _)| *id);
    let failed = accounts.failed.into_iter().map(|(_, failed)| failed);
    applied.failed.extend(failed);
    Ok(())
}

/// The operations of accounts that are being sent.
struct Accounts<'a> {
    sending: &'a Sending<'a>,
    line: Line<'a, Operation>,
    /// Who waits in vain for whom: what has failed or was not answered, and what was left for that.
    unsuccessful: &'a mut HashSet<ExternalId>,
    /// Who has made way.
    ways: BTreeSet<&'a ExternalId>,
    in_circles: HashSet<&'a ExternalId>,
    failed: Vec<(OperationId, (Operation, String))>,
    is_ending: bool,
}

impl<'a> Accounts<'a> {
    /// Records what has ended, and as sent what goes next while so many are under way.
    async fn turn(
        &mut self,
        ended: &[(&'a Approved<'_>, Ended<'a>)],
        under_way: usize,
        journal: &mut Journal,
        applied: &mut Applied,
    ) -> Result<Vec<Queued<'a>>, SnapshotError> {
        let control = self.sending.control;
        journal.hurry_if(&control.stop).await?;
        let now = (control.now)();
        let mut turn = journal.turn().await?;
        for (operation, ended) in ended {
            let unfit = turn.record(ended, now).await?;
            self.note((ended.id, operation), &ended.end, unfit, applied);
        }
        let (next, left) = self.next(under_way, applied);
        turn.carry_over(&left).await?;
        turn.send(next.iter().map(|(id, _)| *id), now).await?;
        turn.commit().await?;
        applied.has_sent |= !next.is_empty();
        Ok(next)
    }

    /// Takes in how this one ended, and why its answer does not fit the snapshot if so.
    fn note(
        &mut self,
        (id, operation): Queued<'a>,
        end: &End<Answer>,
        unfit: Option<String>,
        applied: &mut Applied,
    ) {
        applied.count(end, operation.is_in_vain());
        let failed = match end {
            End::Done(_) => unfit,
            End::Failed(Failure { error, .. }) | End::Unknown(error) => Some(error.clone()),
            End::Left => {
                applied.leave(operation);
                None
            }
            End::Unawaited => None,
        };
        let watch = self.sending.control.watch;
        match failed {
            Some(error) => {
                tell(watch, operation, &error);
                self.unsuccessful.insert(operation.key.clone());
                let failed = Operation::clone(operation);
                self.failed.push((id, (failed, error)));
            }
            None if matches!(end, End::Done(_)) => {
                applied.done += 1;
                watch.operation_ended(operation.kind, false);
            }
            // Nothing tells whoever waits for it that it took effect.
            None => {
                self.unsuccessful.insert(operation.key.clone());
            }
        }
        let has_failed = self.unsuccessful.contains(&operation.key);
        self.line.note(operation, has_failed);
        if makes_way(operation) && !has_failed {
            self.ways.insert(&operation.key);
        }
    }

    /// What goes next, and what of the queue does not go in this run.
    fn next(
        &mut self,
        under_way: usize,
        applied: &mut Applied,
    ) -> (Vec<Queued<'a>>, Vec<OperationId>) {
        if self.line.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let is_over = match self.is_ending {
            false => !self.sending.goes_on(applied, &self.line, under_way),
            true => self.sending.is_cut_short(applied),
        };
        let mut left = Vec::new();
        if is_over {
            // Who of those under way makes way is not known yet.
            if under_way > 0 {
                return (Vec::new(), left);
            }
            left = self.end(applied);
        }
        let (unsuccessful, in_circles) = (&mut *self.unsuccessful, &self.in_circles);
        let room = Room {
            at_once: applied.at_once(self.sending.writer.at_once()),
            // What closes a circle goes beyond the budget.
            calls: self.sending.calls_left().filter(|_| !self.is_ending),
        };
        // It would only fail: an address that it takes was not freed, or its like has failed again.
        let (next, in_vain) = self.line.next(under_way, room, |operation, is_given_up| {
            let closes = !makes_way(operation) && in_circles.contains(&operation.key);
            let mut waits_for = operation.waits_for.iter();
            let is_left =
                waits_for.any(|key| unsuccessful.contains(key)) || (is_given_up && !closes);
            if is_left {
                unsuccessful.insert(operation.key.clone());
            }
            is_left
        });
        for (id, operation) in in_vain {
            applied.leave(operation);
            left.push(id);
        }
        (next, left)
    }

    /// Leaves the queue for the next run, but for what brings a circle to its end.
    fn end(&mut self, applied: &mut Applied) -> Vec<OperationId> {
        self.is_ending = true;
        let rest = self.line.drain();
        let (closing, left) = match self.sending.is_cut_short(applied) {
            true => (Vec::new(), rest),
            false => divide(rest, &self.ways),
        };
        self.line.extend(closing);
        let left = left.into_iter().map(|(id, operation)| {
            applied.leave(operation);
            id
        });
        left.collect()
    }
}

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

/// Tells of an operation that has failed.
fn tell(watch: &dyn Watch, operation: &Operation, error: &str) {
    tracing::warn!(
        account = operation.label(),
        dn = operation.dn,
        kind = operation.kind.name(),
        error,
        "an operation failed"
    );
    watch.operation_ended(operation.kind, true);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::DesiredAccount;
    use crate::plan::fixture::{World, person};

    #[test]
    fn many_creations_go_by_key_and_a_few_as_people_read_them() {
        for (count, goes_by_key) in [(MANY_CREATIONS - 1, false), (MANY_CREATIONS, true)] {
            let people = (0..count).map(|at| DesiredAccount {
                dn: format!("uid={:04},dc=example", count - at),
                ..person(&format!("{at:04}"))
            });
            let plan = World::new(people.collect(), vec![]).planned();
            let approved = plan.approve();
            assert_eq!(approved.operations().len(), count);
            let order = in_order(approved.operations());
            assert_eq!(order.is_sorted_by_key(|one| &one.key), goes_by_key);
            assert_eq!(order.is_sorted_by_key(|one| &one.dn), !goes_by_key);
        }
    }

    #[test]
    fn an_error_is_told_though_the_budget_was_used_up_before() {
        let error = || EndedBy::Error("the API is down".to_owned());
        let deadline = EndedBy::Deadline(TimeDelta::hours(1));
        for (first, then, told) in [
            (EndedBy::MaxCalls(8), error(), error()),
            (deadline.clone(), error(), error()),
            (error(), deadline.clone(), error()),
            (deadline.clone(), EndedBy::MaxCalls(8), deadline),
            // Whoever stops a run may take the API away as well.
            (EndedBy::Stop, error(), EndedBy::Stop),
            (error(), EndedBy::Stop, error()),
        ] {
            let mut applied = Applied::default();
            applied.end_by(first);
            applied.end_by(then);
            assert_eq!(applied.ended_by, Some(told));
        }
    }
}
