//! Saved plans: a dry run that is kept in a file, and the run that carries the file out.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use chrono::TimeDelta;

use super::accounts::Accounts;
use super::{
    Config, Finished, Looked, Orders, PATIENCE, RunError, Setup, begin, finish, groups, look,
    saved_groups, start,
};
use crate::apply::{self, Applied, Control, Deadline};
use crate::config::GroupRule;
use crate::model::{
    Attribute, Digest, ExternalId, Kind, Operation, Reason, RunId, ScimId, SourceName, Timestamp,
    folded_values,
};
use crate::org::{Capabilities, Reader};
use crate::plan::{
    Answers, Expected, GuardedGroups, HeldForAll, Known, Plan, Refusal, RefusalReason, Row, Stop,
    in_the_way, moved, resume,
};
use crate::report::{Circumstances, Digested, Expects, SavedOperation, SavedPlan};
use crate::snapshot::{AppliedPlan, Journal, Snapshot};

/// For how many days a saved plan is good. Whom it takes an account from has left by the pull of
/// its time, and the addresses that it gives were free then: a week is enough to have it read
/// and decided on, and short of what people come back from or forget.
const MAX_DAYS: i64 = 7;

/// How far the clock of the machine that made a plan may be ahead of this one's, in minutes.
const TOLERANCE: i64 = 10;

/// The trigger of a run that carries a saved plan out.
const TRIGGER: &str = "sync --plan";

/// Plans a run, changes nothing, and gives the plan also as it is saved: with the state that each
/// operation expects of its account.
pub async fn save(
    setup: &Setup,
    orders: Orders<'_>,
    control: &Control<'_>,
) -> Result<(Plan, SavedPlan), RunError> {
    let made_at = (control.now)();
    let Looked {
        plan,
        rows,
        groups,
        last_reading,
        population,
        reader,
    } = look(setup, orders, control).await?;
    let targets: Vec<&ScimId> = plan
        .operations
        .iter()
        .filter_map(|planned| Some(&planned.operation.target.as_ref()?.scim_id))
        .collect();
    let accounts = Accounts::read(setup, &reader, &targets, &[], population).await?;
    let mut expects: HashMap<ExternalId, Expects> = HashMap::new();
    for operation in plan.operations.iter().map(|planned| &planned.operation) {
        let target = operation.target.as_ref();
        let account = target.and_then(|target| accounts.of(&target.scim_id));
        let expected = Expects {
            row: rows.get(operation.row()).cloned(),
            account: account.cloned(),
        };
        expects.insert(operation.key.clone(), expected);
    }
    for note in &plan.notes {
        let expected = Expects {
            row: rows.get(&note.key).cloned(),
            account: None,
        };
        // What an operation on the same account expects is more.
        expects.entry(note.key.clone()).or_insert(expected);
    }
    let circumstances = Circumstances {
        id: uuid::Uuid::new_v4().to_string(),
        made_at,
        organization: setup.config.organization.id.clone(),
        configuration: setup.fingerprint(),
        last_reading,
        expects,
        groups,
    };
    let saved = SavedPlan::new(&plan, circumstances);
    Ok((plan, saved))
}

impl Setup {
    /// The digest of what a plan depends on in the configuration. The guards are not in it, as
    /// they are looked at again when the plan is carried out.
    fn fingerprint(&self) -> String {
        let Config {
            organization,
            sources,
            policy,
            groups,
            ..
        } = &self.config;
        let groups: Vec<_> = groups
            .iter()
            .map(|rule| {
                let GroupRule {
                    nested,
                    on_leave,
                    adopt,
                    exact,
                    ..
                } = rule;
                (rule.fingerprint(), nested, on_leave, adopt, exact)
            })
            .collect();
        let whole = format!(
            "{} {:?} {sources:?} {policy:?} {groups:?}",
            organization.id, organization.provisioning
        );
        Digest::of_text(&whole).to_string()
    }

    /// Whether organization, sources, policy and groups are configured as when the plan was made.
    pub fn is_of(&self, saved: &SavedPlan) -> bool {
        self.fingerprint() == saved.configuration
    }
}

/// Carries a saved plan out: each row whose account is still as it expects, if the guards let it
/// through. No source is read.
pub async fn sync_saved(
    setup: &Setup,
    saved: &SavedPlan,
    control: &Control<'_>,
) -> Result<Finished, RunError> {
    let ours = &setup.config.organization.id;
    if saved.organization != *ours {
        return Err(RunError::ForeignPlan {
            theirs: saved.organization.clone(),
            ours: ours.clone(),
        });
    }
    let reader = Reader::new(&setup.config.organization)?;
    let mut journal = Journal::open_within(&setup.config.database, PATIENCE).await?;
    let (run, deadline) = start(setup, TRIGGER, &mut journal, control).await?;
    let result = carry_out(setup, saved, (run, deadline), &mut journal, reader, control).await;
    finish(journal, run, result, control).await
}

async fn carry_out(
    setup: &Setup,
    saved: &SavedPlan,
    (run, deadline): (RunId, Option<Deadline>),
    journal: &mut Journal,
    reader: Reader,
    control: &Control<'_>,
) -> Result<(Plan, Applied), RunError> {
    let now = (control.now)();
    if let Some(AppliedPlan { run, at }) = journal.applied_plan(&saved.id).await? {
        let id = saved.id.clone();
        return Err(Stop::Applied { id, at, run }.into());
    }
    check_age(saved.made_at, now)?;
    let capabilities = begin(setup, journal, &reader, control).await?;
    let newer = journal.last_reading().await?;
    let newer = newer.filter(|newer| Some(*newer) > saved.last_reading);
    let plan = tokio::select! {
        plan = plan_again(setup, saved, journal, &reader, capabilities, newer, now) => plan?,
        () = control.stop.wait() => return Err(RunError::Stopped),
    };
    // From here on the plan counts as applied, whatever becomes of it.
    let applied = AppliedPlan {
        run,
        at: (control.now)(),
    };
    journal
        .apply_plan(&saved.id, saved.made_at, applied, newer.is_some())
        .await?;
    journal.record_pending(run, &plan, (control.now)()).await?;
    let applied = apply::apply(&plan.approve(), run, reader, deadline, journal, control)
        .await
        .map_err(|error| RunError::of_applying(error, journal))?;
    Ok((plan, applied))
}

/// A plan is neither too old nor of a time that is still to come.
fn check_age(made: Timestamp, now: Timestamp) -> Result<(), Stop> {
    let age = now - made;
    if age > TimeDelta::days(MAX_DAYS) || age < -TimeDelta::minutes(TOLERANCE) {
        let days = MAX_DAYS;
        return Err(Stop::Age { made, now, days });
    }
    Ok(())
}

/// The plan that the file is by now. `newer` is the last run that has read the sources since it
/// was made.
async fn plan_again(
    setup: &Setup,
    saved: &SavedPlan,
    snapshot: &mut Snapshot,
    reader: &Reader,
    capabilities: Capabilities,
    newer: Option<RunId>,
    now: Timestamp,
) -> Result<Plan, RunError> {
    let mut plan = Plan::default();
    let written = written(saved, &mut plan);
    let keys = written
        .iter()
        .map(|row| row.operation.row().clone())
        .chain(saved.notes.iter().map(|note| note.row.key.clone()))
        .collect();
    let mut known = Known {
        accounts: snapshot.accounts(&keys).await?,
        existing: Vec::new(),
        keeps_keys: reader.keeps_keys(),
        population: snapshot.population().await?,
        verified_domains: None,
        doubtful_deletions: snapshot.doubtful_deletions().await?,
        last_run: snapshot.last_run().await?,
        api_time: capabilities.time,
        answers: Answers::default(),
        attempted: HashSet::new(),
        guarded_groups: GuardedGroups::default(),
        // An approval is for a plan that is made anew.
        approvals: Vec::new(),
        left_out: HeldForAll::new(),
        undone: snapshot.undone().await?,
        undone_groups: snapshot.undone_groups().await?,
        failures: snapshot
            .failures(setup.config.apply.quarantine_after)
            .await?,
        pending: snapshot.pending_deactivations().await?,
        rekeyed: HashSet::new(),
    };
    let ids = known.accounts.values().map(|account| &account.scim_id);
    known.rekeyed = snapshot.rekeyed(ids).await?;
    snapshot
        .population_by_scope(&mut known.population, &setup.config.guards)
        .await?;
    for note in &saved.notes {
        if !saved.has_written(note) {
            let why = RefusalReason::Tampered("a note".to_owned());
            refuse(
                &mut plan,
                &note.row.key,
                &note.row.source,
                &note.row.dn,
                why,
            );
        } else if newer.is_none() && known.accounts.get(&note.row.key) == note.expects.as_ref() {
            plan.notes.push(note.row.clone());
        }
    }
    let creations: Vec<&Operation> = written
        .iter()
        .map(|row| &row.operation)
        .filter(|operation| operation.kind == Kind::Create)
        .collect();
    let targets: HashMap<&ExternalId, &ScimId> = written
        .iter()
        .filter_map(|row| {
            let target = row.operation.target.as_ref()?;
            Some((&row.operation.key, &target.scim_id))
        })
        .collect();
    let ids: Vec<&ScimId> = targets.values().copied().collect();
    let population = known.population.all;
    let accounts = Accounts::read(setup, reader, &ids, &creations, population).await?;
    let adopted: Vec<ScimId> = written
        .iter()
        .filter(|row| row.operation.kind == Kind::Adopt)
        .filter_map(|row| Some(row.operation.target.as_ref()?.scim_id.clone()))
        .collect();
    let now_managed = snapshot.managed(&adopted).await?;
    let held = snapshot.held().await?;
    let held_by_now = |operation: &Operation| {
        let place = (operation.key.clone(), operation.kind.name().to_owned());
        let hold = held.get(&place)?.first()?;
        Some(format!("held by now in the hold `{hold}`"))
    };
    let rows: Vec<Row> = written
        .iter()
        .map(|row| {
            let target = row.operation.target.as_ref();
            let is_managed = target.is_some_and(|target| now_managed.contains(&target.scim_id));
            let taken = || is_managed.then(|| "the account is managed by now".to_owned());
            Row {
                operation: row.operation.clone(),
                held: row.hold.clone().or_else(|| held_by_now(&row.operation)),
                moved: differs(row, &targets, &known, &accounts, newer).or_else(taken),
            }
        })
        .collect();
    let given = rows.iter().map(|row| &row.operation.after);
    let addresses = folded_values(given, Attribute::is_unique);
    let holders = snapshot.holders(&addresses).await?;
    known.accounts.extend(holders);
    let guards = &setup.config.guards;
    let departs = |row: &Row| row.moved.is_none() && row.operation.is_departure();
    let are_guarded_groups_read = guards.names_groups() && rows.iter().any(departs);
    if are_guarded_groups_read {
        known.guarded_groups = reader.guarded_groups(guards).await?;
    }
    let mut plan = resume(plan, rows, &known, guards, now);
    if let Some(groups) = &saved.groups {
        saved_groups::resume(&mut plan, saved, groups, snapshot, reader, &known, newer).await?;
        if !are_guarded_groups_read && groups::concern_administrators(&plan, guards) {
            known.guarded_groups = reader.guarded_groups(guards).await?;
        }
        groups::hold(&mut plan, snapshot, guards, &known, now).await?;
    }
    if let Some(groups) = &mut plan.groups {
        groups.set_aside(&known.failures, now);
        // A saved plan is no word on those who are not in it.
        groups.over_failures.clear();
    }
    plan.fit(setup.config.apply.max_calls, reader.way(), now);
    Ok(plan)
}

/// The rows of accounts as they were written; the others are refused.
fn written<'a>(saved: &'a SavedPlan, plan: &mut Plan) -> Vec<&'a SavedOperation> {
    // Whoever makes way has one more.
    let (written, others) = sift(saved, &saved.operations, "person", |row| {
        (&row.operation.key, row.operation.reason == Reason::MakesWay)
    });
    for (SavedOperation { operation, .. }, what) in others {
        let why = RefusalReason::Tampered(format!("{}: {what}", operation.kind));
        refuse(plan, &operation.key, &operation.source, &operation.dn, why);
    }
    written
}

/// The rows as they were written, and those that somebody has changed, or that are there twice,
/// with what is wrong. A `whom` has one row at each place.
pub(super) fn sift<'a, Row: Digested, Place: Eq + Hash>(
    saved: &SavedPlan,
    rows: &'a [Row],
    whom: &str,
    place: impl Fn(&'a Row) -> Place,
) -> (Vec<&'a Row>, Vec<(&'a Row, String)>) {
    let mut times: HashMap<Place, usize> = HashMap::new();
    for row in rows {
        *times.entry(place(row)).or_default() += 1;
    }
    let (mut written, mut others) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        if times.get(&place(row)).is_some_and(|times| *times > 1) {
            others.push((row, format!("the {whom} has several")));
        } else if !saved.has_written(row) {
            others.push((row, "it does not fit its digest".to_owned()));
        } else {
            written.push(row);
        }
    }
    (written, others)
}

fn refuse(plan: &mut Plan, key: &ExternalId, source: &SourceName, dn: &str, why: RefusalReason) {
    plan.refusals.push(Refusal {
        key: Some(key.clone()),
        source: source.clone(),
        dn: dn.to_owned(),
        why,
    });
}

/// In what a row's account is not as the row expects it, if so.
fn differs(
    row: &SavedOperation,
    targets: &HashMap<&ExternalId, &ScimId>,
    known: &Known,
    accounts: &Accounts,
    newer: Option<RunId>,
) -> Option<String> {
    let SavedOperation {
        operation, expects, ..
    } = row;
    let expected = Expected {
        row: expects.row.as_ref(),
        account: expects.account.as_ref(),
    };
    let now = Expected {
        row: known.accounts.get(operation.row()),
        account: match &operation.target {
            Some(target) => accounts.of(&target.scim_id),
            None => {
                // Those that free the address first are not in the way.
                let freers: HashSet<&ScimId> = operation
                    .waits_for
                    .iter()
                    .filter_map(|key| targets.get(key).copied())
                    .collect();
                let others = accounts.that_claim(operation);
                in_the_way(
                    operation,
                    others.filter(|account| !freers.contains(&account.scim_id)),
                )
            }
        },
    };
    moved(expected, now).or_else(|| {
        // Who is there is the newest word of the directory. Whoever came back or left before that
        // reading may look the same in every row.
        let is_update = operation.kind == Kind::Update && operation.formerly.is_none();
        let newer = newer.filter(|_| !is_update)?;
        Some(format!(
            "run {newer} has read the sources since, and whether the person is there, disabled or gone is for a new plan to say"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_good_for_seven_days_and_not_before_its_time() {
        let made = Timestamp::UNIX_EPOCH;
        let second = TimeDelta::seconds(1);
        for (age, is_good) in [
            (TimeDelta::zero(), true),
            (TimeDelta::days(7), true),
            (TimeDelta::days(7) + second, false),
            (TimeDelta::minutes(-10), true),
            (TimeDelta::minutes(-10) - second, false),
        ] {
            assert_eq!(check_age(made, made + age).is_ok(), is_good, "{age}");
        }
    }
}
