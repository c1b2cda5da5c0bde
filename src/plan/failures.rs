//! What has failed for one person or group, as the organization refuses it or has no usable answer to that one
//! alone: when it is tried again, and from when on only if somebody says so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;

use chrono::TimeDelta;
use serde::Serialize;

use super::groups::{GroupNotice, GroupNoticed, GroupPlan, GroupRefusal};
use super::{Desired, Known, Plan, Refusal, RefusalReason, SkipReason, Skipped};
use crate::model::{Digest, ExternalId, GroupOperation, GroupOrigin, Operation, Reason, Timestamp};

/// An operation that has failed, as the last run that sent it has left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What was to be done to whom: something else is tried at once.
    pub digest: Digest,
    /// How often in a row by itself: it was refused, or got no usable answer in a run in which another write
    /// succeeded.
    pub count: u32,
    /// How often it was tried without a usable answer since it was last refused, whether others succeeded or not.
    pub in_vain: u32,
    /// The last error.
    pub error: String,
    /// When it first failed.
    pub first: Timestamp,
    /// When it last failed.
    pub last: Timestamp,
}

/// All that has failed, and has not succeeded since.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    /// Of people, by their key.
    pub people: HashMap<ExternalId, Failed>,
    /// Of groups, by their key.
    pub groups: HashMap<ExternalId, Failed>,
    /// After so many in a row it is not tried any more.
    pub quarantine_after: u32,
}

/// An operation that is not tried now, as it has failed before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failing {
    /// The person's key, or the group's.
    pub key: ExternalId,
    /// What is to be done, by the name of its kind.
    pub kind: &'static str,
    /// How often it failed in a row.
    pub count: u32,
    /// The last error.
    pub error: String,
    /// When it first failed.
    pub first: Timestamp,
    /// When it last failed.
    pub last: Timestamp,
    /// Before this it is not tried again; `None` in quarantine, where it is not until somebody says
    /// so.
    pub until: Option<Timestamp>,
    /// Whether it failed so often that what can wait would be in quarantine.
    pub is_overdue: bool,
}

impl Failing {
    /// The command that lets it go at once.
    pub fn way_out(&self) -> String {
        retry_command(&self.key)
    }
}

/// The command that lets what has failed of this person or group go again.
pub fn retry_command(key: &ExternalId) -> String {
    format!("dirsyncd retry {}", super::guard::quoted(key.as_str()))
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failing {
            kind,
            count,
            error,
            last,
            ..
        } = self;
        let times = match count {
            1 => "once".to_owned(),
            count => format!("{count} times in a row"),
        };
        let way_out = self.way_out();
        let (error, last) = (error.trim_end_matches('.'), minute(*last));
        match self.until {
            Some(until) => write!(
                f,
                "the {kind} failed {times}, last at {last} ({error}); it is tried again from {} on, or now by: {way_out}",
                minute(until)
            ),
            None => write!(
                f,
                "in quarantine: the {kind} failed {times}, last at {last} ({error}); it is not tried any more (`quarantine_after` in [apply]) until the directory wants something else; correct what is wrong, then: {way_out}"
            ),
        }
    }
}

fn minute(moment: Timestamp) -> impl fmt::Display {
    moment.format("%Y-%m-%d %H:%M UTC")
}

/// Whether an operation is never given up: a login that is to be turned off is a matter of security,
/// and a deletion can be cancelled for a time only.
pub(super) fn is_never_given_up(operation: &Operation) -> bool {
    operation.turns_login_off() || operation.cancel_delete
}

/// How long it is waited after so many failures in a row: twice as long each time, and never long
/// for what is never given up.
fn pause(count: u32, is_never_given_up: bool) -> TimeDelta {
    let (first, longest) = match is_never_given_up {
        true => (TimeDelta::minutes(1), TimeDelta::minutes(10)),
        false => (TimeDelta::minutes(10), TimeDelta::days(1)),
    };
    let doublings = count.saturating_sub(1).min(10);
    (first * (1 << doublings)).min(longest)
}

impl Failures {
    /// When these operations were last tried in vain, by person. Others go first.
    pub(super) fn last_tries(&self, operations: &[Operation]) -> HashMap<ExternalId, Timestamp> {
        let tried = operations.iter().filter_map(|operation| {
            let failed = self.people.get(&operation.key)?;
            let is_same = failed.digest == operation.digest();
            is_same.then(|| (operation.key.clone(), failed.last))
        });
        tried.collect()
    }

    /// When this operation was last tried, if it has got no usable answer before, or failed so often
    /// that what can wait would be in quarantine: it must not keep others from theirs.
    pub(super) fn tried_in_vain(&self, operation: &Operation) -> Option<Timestamp> {
        let failed = self.people.get(&operation.key)?;
        let last = self.last_in_vain(failed)?;
        (failed.digest == operation.digest()).then_some(last)
    }

    fn last_in_vain(&self, failed: &Failed) -> Option<Timestamp> {
        let is_often = failed.in_vain > 0 || failed.count >= self.quarantine_after;
        is_often.then_some(failed.last)
    }

    /// What keeps a person's operation from being tried now, if anything does.
    pub fn of(&self, operation: &Operation, now: Timestamp) -> Option<Failing> {
        let failed = self.people.get(&operation.key)?;
        let is_kept_up = is_never_given_up(operation);
        let kind = operation.kind.name();
        (failed.digest == operation.digest())
            .then(|| self.standing(&operation.key, failed, kind, is_kept_up, now))?
    }

    /// What keeps a group's operation from being tried now, if anything does.
    pub fn of_group(&self, operation: &GroupOperation, now: Timestamp) -> Option<Failing> {
        let failed = self.groups.get(&operation.key)?;
        let kind = operation.kind.name();
        (failed.digest == operation.digest())
            .then(|| self.standing(&operation.key, failed, kind, false, now))?
    }

    fn standing(
        &self,
        key: &ExternalId,
        failed: &Failed,
        kind: &'static str,
        is_never_given_up: bool,
        now: Timestamp,
    ) -> Option<Failing> {
        let Failed {
            digest: _,
            count,
            in_vain: _,
            error,
            first,
            last,
        } = failed;
        let is_overdue = *count >= self.quarantine_after;
        let is_quarantined = is_overdue && !is_never_given_up;
        let until = *last + pause(*count, is_never_given_up);
        // While the clock is behind the last try, no time can be waited for.
        let waits = *count > 0 && *last <= now && now < until;
        (is_quarantined || waits).then(|| Failing {
            key: key.clone(),
            kind,
            count: *count,
            error: error.clone(),
            first: *first,
            last: *last,
            until: (!is_quarantined).then_some(until),
            is_overdue,
        })
    }
}

/// Takes out the operations in quarantine.
pub(super) fn refuse_quarantined(
    operations: &mut Vec<Operation>,
    known: &Known,
    now: Timestamp,
) -> Vec<Refusal> {
    let failing = failing(operations, known, now, |failing| failing.until.is_none());
    let refused = take_out(operations, |operation| {
        let failing = failing.get(&operation.key)?;
        Some(RefusalReason::Quarantined(failing.clone()))
    });
    let refusal = |(operation, why): (Operation, RefusalReason)| Refusal {
        key: Some(operation.key),
        source: operation.source,
        dn: operation.dn,
        why,
    };
    refused.into_iter().map(refusal).collect()
}

/// Takes out the operations that are not tried before a later time, and those that wait for them.
pub(super) fn put_off(
    operations: &mut Vec<Operation>,
    known: &Known,
    now: Timestamp,
) -> Vec<Skipped> {
    let failing = failing(operations, known, now, |failing| failing.until.is_some());
    if failing.is_empty() {
        return Vec::new();
    }
    let mut waiting: HashMap<&ExternalId, Vec<&Operation>> = HashMap::new();
    for operation in operations.iter() {
        for key in &operation.waits_for {
            waiting.entry(key).or_default().push(operation);
        }
    }
    // Whom each waits for who waits.
    let mut behind: BTreeMap<ExternalId, String> = BTreeMap::new();
    let is_failing = |operation: &&Operation| failing.contains_key(&operation.key);
    let mut open: VecDeque<&Operation> = operations.iter().filter(is_failing).collect();
    while let Some(freer) = open.pop_front() {
        for operation in waiting.remove(&freer.key).into_iter().flatten() {
            let is_new = !failing.contains_key(&operation.key);
            if is_new && !behind.contains_key(&operation.key) {
                behind.insert(operation.key.clone(), freer.dn.clone());
                open.push_back(operation);
            }
        }
    }
    let skipped = take_out(operations, |operation| {
        let kind = operation.kind;
        let own = failing.get(&operation.key);
        let own = own.map(|failing| SkipReason::Failing(failing.clone()));
        own.or_else(|| {
            let freer = behind.get(&operation.key)?.clone();
            Some(SkipReason::Behind { kind, freer })
        })
    });
    let skipped = skipped.into_iter().map(|(operation, why)| Skipped {
        key: Some(operation.key),
        dn: operation.dn,
        why,
    });
    skipped.collect()
}

/// What is not tried now, by person. What is held because of the account's key is told as that alone, so
/// that it can be approved at once.
fn failing(
    operations: &[Operation],
    known: &Known,
    now: Timestamp,
    is_meant: impl Fn(&Failing) -> bool,
) -> HashMap<ExternalId, Failing> {
    if known.failures.people.is_empty() {
        return HashMap::new();
    }
    let failing = operations
        .iter()
        .filter(|operation| !known.is_rekeyed(operation))
        .filter_map(|operation| known.failures.of(operation, now))
        .filter(is_meant);
    failing.map(|one| (one.key.clone(), one)).collect()
}

/// Takes out what there is a reason for: all that is planned for the person. Whoever would make way as
/// well is told once.
fn take_out<Why>(
    operations: &mut Vec<Operation>,
    why: impl Fn(&Operation) -> Option<Why>,
) -> Vec<(Operation, Why)> {
    let mut told = HashSet::new();
    let mut out = Vec::new();
    operations.retain(|operation| {
        let Some(why) = why(operation) else {
            return true;
        };
        let is_lone_way = operation.reason == Reason::MakesWay;
        if !is_lone_way && told.insert(operation.key.clone()) {
            out.push((operation.clone(), why));
        }
        false
    });
    out
}

/// Those of whom the directory does not want any more what has failed. Of a person of whom the run
/// does not know what is wanted, it stays.
pub(super) fn over(plan: &Plan, desired: &Desired, known: &Known) -> Vec<ExternalId> {
    let people = &known.failures.people;
    let is_partial = desired.pulls.values().any(Result::is_err) || !plan.suspensions.is_empty();
    if people.is_empty() || is_partial {
        return Vec::new();
    }
    let refused = plan.refusals.iter().filter_map(|one| one.key.as_ref());
    let skipped = plan.skipped.iter().filter_map(|one| one.key.as_ref());
    let told: HashSet<&ExternalId> = refused.chain(skipped).collect();
    let planned = plan.operations.iter().map(|planned| &planned.operation);
    let planned: HashMap<&ExternalId, BTreeSet<[u8; 16]>> =
        planned.fold(HashMap::new(), |mut planned, operation| {
            if people.contains_key(&operation.key) {
                let digests: &mut BTreeSet<_> = planned.entry(&operation.key).or_default();
                digests.insert(operation.digest().0);
            }
            planned
        });
    let is_planned = |key: &ExternalId, failed: &Failed| {
        let digests = planned.get(key);
        digests.is_some_and(|digests| digests.contains(&failed.digest.0))
    };
    let mut over: Vec<ExternalId> = people
        .iter()
        .filter(|(key, failed)| !told.contains(key) && !is_planned(key, failed))
        .map(|(key, _)| key.clone())
        .collect();
    over.sort();
    over
}

impl GroupPlan {
    /// Takes out the operations that have failed before and are not tried now. What is tried again comes
    /// after its like.
    pub fn set_aside(&mut self, failures: &Failures, now: Timestamp) {
        let groups = &failures.groups;
        if groups.is_empty() {
            return;
        }
        let mut planned: HashMap<ExternalId, BTreeSet<[u8; 16]>> = HashMap::new();
        let (mut refusals, mut notices) = (Vec::new(), Vec::new());
        let mut tried = Vec::new();
        for mut one in std::mem::take(&mut self.operations) {
            let operation = &one.operation;
            let Some(failed) = groups.get(&operation.key) else {
                self.operations.push(one);
                continue;
            };
            let digest = operation.digest();
            let digests = planned.entry(operation.key.clone()).or_default();
            digests.insert(digest.0);
            if !one.holds.is_empty() || digest != failed.digest {
                self.operations.push(one);
                continue;
            }
            let kind = operation.kind.name();
            match failures.standing(&operation.key, failed, kind, false, now) {
                None => {
                    one.tried_in_vain = failures.last_in_vain(failed);
                    tried.push((failed.last, one));
                }
                Some(failing) if failing.until.is_none() => refusals.push(GroupRefusal {
                    dn: entries(&operation.origins).unwrap_or_else(|| operation.name.clone()),
                    why: failing.to_string(),
                    in_quarantine: true,
                }),
                Some(failing) => notices.push(GroupNotice {
                    group: operation.name.clone(),
                    what: GroupNoticed::PutOff(failing.to_string()),
                }),
            }
        }
        tried.sort_by_key(|(last, _)| *last);
        self.operations
            .extend(tried.into_iter().map(|(_, one)| one));
        self.operations
            .sort_by_key(|one| one.operation.is_deletion());
        // A group of which something is not known may be planned so again.
        if self.refusals.is_empty() && self.suspensions.is_empty() {
            let is_over = |(key, failed): &(&ExternalId, &Failed)| {
                let digests = planned.get(*key);
                !digests.is_some_and(|digests| digests.contains(&failed.digest.0))
            };
            let over = groups.iter().filter(is_over);
            self.over_failures = over.map(|(key, _)| key.clone()).collect();
            self.over_failures.sort();
        }
        self.refusals.extend(refusals);
        self.notices.extend(notices);
    }
}

fn entries(origins: &BTreeSet<GroupOrigin>) -> Option<String> {
    let dns: Vec<&str> = origins.iter().map(|one| one.dn.as_str()).collect();
    (!dns.is_empty()).then(|| dns.join(" and "))
}
