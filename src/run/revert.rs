//! Undoing what a run did: an ordinary plan, made from the journal instead of the sources.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::accounts::Accounts;
use super::{
    Finished, PATIENCE, RunError, Setup, ask, begin, finish, foresee_calls, groups, learn,
    number_holds, start, verified_domains,
};
use crate::apply::{self, Applied, Control, Deadline, GroupSettlement, Settled, Settlement};
use crate::model::{Attribute, ExternalId, ManagedAccount, RunId, ScimId, Who, folded_values};
use crate::org::{Capabilities, Reader};
use crate::plan::groups::{GroupNotUndone, PastGroup, not_undone};
use crate::plan::{
    self, Answers, End, Failures, GuardedGroups, Known, Past, Plan, Skipped, own_approvals,
    own_left_out, questions,
};
use crate::snapshot::{Journal, Lock, Snapshot, SnapshotError, revert_trigger};

/// What is to be undone.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The run.
    pub run: RunId,
    /// Only what it did to these people and groups, each by key, address, name or DN; all of it if
    /// this is empty.
    pub only: Vec<String>,
}

/// Why nothing can be reverted.
#[derive(Debug, thiserror::Error)]
pub enum RevertError {
    /// There is no such run.
    #[error("there is no run {0} in the database: the journal numbers runs from 1 on")]
    Unknown(RunId),
    /// The journal does not have all of it any more.
    #[error(
        "run {run} is older than what the journal keeps (`keep` in [journal]): only runs from {first} on can be reverted"
    )]
    Pruned {
        /// The run.
        run: RunId,
        /// The first run that can be reverted.
        first: RunId,
    },
    /// The run has not ended.
    #[error("run {0} is still going on: revert it when it has ended")]
    UnderWay(RunId),
    /// The run did nothing to such a person or group.
    #[error(
        "run {run} did nothing to `{who}`: give a key, an e-mail address, a user name, the name of a group or a DN of one of its operations"
    )]
    Nobody {
        /// The run.
        run: RunId,
        /// What was asked for.
        who: String,
    },
    /// Several people or groups may be meant.
    #[error(
        "`{who}` may be any of {meant} in run {run}: give the DN or the address, or a key that only one has"
    )]
    Ambiguous {
        /// The run.
        run: RunId,
        /// What was asked for.
        who: String,
        /// Who may be meant.
        meant: String,
    },
}

/// Plans to undo what a run did, and changes nothing.
pub async fn dry_revert(
    setup: &Setup,
    wish: &Wish,
    control: &Control<'_>,
) -> Result<Plan, RunError> {
    let reader = Reader::new(&setup.config.organization)?;
    let mut snapshot = Snapshot::open_for_reading(&setup.config.database).await?;
    let result = async {
        check(setup, wish, &mut snapshot).await?;
        let unanswered = snapshot.unanswered().await?;
        let (capabilities, settlements) = learn(&reader, unanswered, &setup.managed()).await?;
        let unanswered = snapshot.unanswered_groups().await?;
        let group_settlements = apply::settle_groups(&reader, unanswered).await?;
        let mut plan = make_plan(
            setup,
            wish,
            &mut snapshot,
            &reader,
            capabilities,
            (&settlements, &group_settlements),
            control,
        )
        .await?;
        number_holds(&mut plan, &snapshot.opened((control.now)()).await?);
        Ok::<_, RunError>(plan)
    }
    .await;
    snapshot.close().await?;
    let mut plan = result?;
    foresee_calls(&mut plan, &reader);
    plan.forecast.deadline = setup.config.apply.deadline;
    Ok(plan)
}

/// Undoes what a run did.
pub async fn revert(
    setup: &Setup,
    wish: &Wish,
    control: &Control<'_>,
) -> Result<Finished, RunError> {
    let database = &setup.config.database;
    if !database.exists() {
        return Err(RevertError::Unknown(wish.run).into());
    }
    let reader = Reader::new(&setup.config.organization)?;
    let mut journal = match Journal::open_within(database, PATIENCE).await {
        Err(error @ SnapshotError::Locked { .. }) => {
            // It may be the run itself that has the lock.
            let mut snapshot = Snapshot::open_for_reading(database).await?;
            let checked = check(setup, wish, &mut snapshot).await;
            snapshot.close().await?;
            checked?;
            return Err(error.into());
        }
        opened => opened?,
    };
    refuse_pruned(wish.run, &mut journal).await?;
    // Whatever was going on without the lock has been killed.
    if journal.has_ended(wish.run).await?.is_none() {
        return Err(RevertError::Unknown(wish.run).into());
    }
    Chosen::read(wish, &mut journal).await?;
    let trigger = revert_trigger(wish.run);
    let (run, deadline) = start(setup, &trigger, &mut journal, control).await?;
    let result = carry_out(setup, wish, (run, deadline), &mut journal, reader, control).await;
    finish(journal, run, result, control).await
}

/// A run of which not all is in the journal cannot be undone.
async fn refuse_pruned(run: RunId, snapshot: &mut Snapshot) -> Result<(), RunError> {
    match snapshot.pruning().await? {
        Some(pruning) if (1..pruning.first_run.0).contains(&run.0) => {
            let first = pruning.first_run;
            Err(RevertError::Pruned { run, first }.into())
        }
        _ => Ok(()),
    }
}

/// Whether there is something to revert by this wish.
async fn check(setup: &Setup, wish: &Wish, snapshot: &mut Snapshot) -> Result<(), RunError> {
    refuse_pruned(wish.run, snapshot).await?;
    match snapshot.has_ended(wish.run).await? {
        None => Err(RevertError::Unknown(wish.run).into()),
        Some(false) if Lock::is_held(&setup.config.database) => {
            Err(RevertError::UnderWay(wish.run).into())
        }
        Some(_) => {
            Chosen::read(wish, snapshot).await?;
            Ok(())
        }
    }
}

async fn carry_out(
    setup: &Setup,
    wish: &Wish,
    (run, deadline): (RunId, Option<Deadline>),
    journal: &mut Journal,
    reader: Reader,
    control: &Control<'_>,
) -> Result<(Plan, Applied), RunError> {
    let capabilities = begin(setup, journal, &reader, control).await?;
    let mut plan = tokio::select! {
        plan = make_plan(setup, wish, journal, &reader, capabilities, (&[], &[]), control) => plan?,
        () = control.stop.wait() => return Err(RunError::Stopped),
    };
    let expiry = setup.config.guards.hold_expiry;
    let opened = journal
        .record_holds(run, &plan, expiry, (control.now)())
        .await?;
    number_holds(&mut plan, &opened);
    let approved = plan.approve();
    if !approved.operations().is_empty() {
        journal.read_in_full_next().await?;
    }
    let applied = apply::apply(&approved, run, reader, deadline, journal, control)
        .await
        .map_err(|error| RunError::of_applying(error, journal))?;
    Ok((plan, applied))
}

/// Makes the plan. `settlements` are those that are not in the database.
async fn make_plan(
    setup: &Setup,
    wish: &Wish,
    snapshot: &mut Snapshot,
    reader: &Reader,
    capabilities: Capabilities,
    (settlements, group_settlements): (&[Settlement], &[GroupSettlement]),
    control: &Control<'_>,
) -> Result<Plan, RunError> {
    let now = (control.now)();
    let Chosen {
        mut past,
        mut groups,
        left_out,
    } = Chosen::read(wish, snapshot).await?;
    for settlement in settlements {
        if let Some(one) = past.iter_mut().find(|one| one.id == settlement.id) {
            one.operation = settlement.operation.clone();
            if let Settled::Done(answer) = &settlement.settled {
                one.end = End::Done(Some(answer.scim_id.clone()));
            }
        }
    }
    for settlement in group_settlements {
        if let Some(one) = groups.iter_mut().find(|one| one.id == settlement.id) {
            one.progress = Some(settlement.progress.clone());
        }
    }
    let keys: HashSet<ExternalId> = past
        .iter()
        .flat_map(|one| [&one.operation.key, one.operation.row()])
        .cloned()
        .collect();
    let mut known = Known {
        accounts: snapshot.accounts(&keys).await?,
        existing: Vec::new(),
        keeps_keys: reader.keeps_keys(),
        population: snapshot.population().await?,
        verified_domains: verified_domains(setup, reader).await?,
        doubtful_deletions: snapshot.doubtful_deletions().await?,
        last_run: snapshot.last_run().await?,
        api_time: capabilities.time,
        attempted: HashSet::new(),
        guarded_groups: GuardedGroups::default(),
        approvals: own_approvals(wish.run, snapshot.approvals(now).await?),
        left_out: own_left_out(wish.run, snapshot.left_out().await?),
        answers: Answers::default(),
        // What was reverted may be: that is what was asked for.
        undone: Vec::new(),
        undone_groups: Vec::new(),
        // Whoever asks for it sees to it.
        failures: Failures::default(),
        pending: BTreeMap::new(),
        rekeyed: HashSet::new(),
    };
    let guards = &setup.config.guards;
    snapshot
        .population_by_scope(&mut known.population, guards)
        .await?;
    let put_back = past.iter().map(|one| &one.operation.before);
    let addresses = folded_values(put_back, Attribute::is_unique);
    known.accounts.extend(snapshot.holders(&addresses).await?);
    for account in settlements.iter().filter_map(|one| one.account(now)) {
        known.settle(account);
    }
    let ids = known.accounts.values().map(|account| &account.scim_id);
    known.rekeyed = snapshot.rekeyed(ids).await?;
    let ids: Vec<ScimId> = past
        .iter()
        .filter(|one| one.undone_by.is_none())
        .filter_map(|one| known.accounts.get(&one.operation.key))
        .map(|account: &ManagedAccount| account.scim_id.clone())
        .collect();
    let ids: Vec<&ScimId> = ids.iter().collect::<BTreeSet<_>>().into_iter().collect();
    let accounts = Accounts::read(setup, reader, &ids, &[], known.population.all).await?;
    let make = |known: &Known| {
        let account = |id: &ScimId| accounts.of(id);
        plan::revert(wish.run, past.clone(), account, known, guards, now)
    };
    let mut plan = make(&known);
    let questions = questions(&plan, reader.way());
    known.answers = ask::ask(reader, &questions, &setup.config.organization).await;
    let are_guarded_groups_read = guards.names_groups() && plan.departs();
    if are_guarded_groups_read {
        known.guarded_groups = reader.guarded_groups(guards).await?;
    }
    plan = make(&known);
    plan.is_partial = !wish.only.is_empty();
    plan.skipped.extend(left_out);
    if !groups.is_empty() {
        let (undoing, told) = groups::plan_revert(
            snapshot,
            reader,
            (wish.run, &groups),
            &known,
            &plan,
            group_settlements,
        )
        .await?;
        plan.groups = Some(undoing);
        plan.skipped.extend(told);
        if !are_guarded_groups_read && groups::concern_administrators(&plan, guards) {
            known.guarded_groups = reader.guarded_groups(guards).await?;
        }
        groups::hold(&mut plan, snapshot, guards, &known, now).await?;
    }
    plan.forecast.unseen_rights = known.answers.unseen_rights;
    plan.forecast.unseen_addresses = known.answers.unseen_addresses;
    plan.fit(setup.config.apply.max_calls, reader.way(), now);
    Ok(plan)
}

/// The operations of a run that the wish is about.
struct Chosen {
    past: Vec<Past>,
    groups: Vec<PastGroup>,
    /// Groups that the wish leaves out, though it names members whom the run put in or took out.
    left_out: Vec<Skipped>,
}

impl Chosen {
    async fn read(wish: &Wish, snapshot: &mut Snapshot) -> Result<Self, RunError> {
        let past = snapshot.past(wish.run).await?;
        let groups = snapshot.past_groups(wish.run).await?;
        Ok(Self::of(wish, past, groups)?)
    }

    fn of(wish: &Wish, past: Vec<Past>, groups: Vec<PastGroup>) -> Result<Self, RevertError> {
        if wish.only.is_empty() {
            return Ok(Chosen {
                past,
                groups,
                left_out: Vec::new(),
            });
        }
        // The accounts by the key that the run left them with.
        let mut keys: BTreeSet<ExternalId> = BTreeSet::new();
        let mut group_keys: BTreeSet<ExternalId> = BTreeSet::new();
        for who in &wish.only {
            let meant = Who::parse(who);
            let people: BTreeSet<&ExternalId> = past
                .iter()
                .filter(|one| meant.is_any(one.operation.names()))
                .map(|one| &one.operation.key)
                .collect();
            let named: BTreeSet<&ExternalId> = groups
                .iter()
                .filter(|one| meant.is_any(one.operation.names()))
                .map(|one| &one.operation.key)
                .collect();
            let run = wish.run;
            let who = who.clone();
            match people.len() + named.len() {
                0 => return Err(RevertError::Nobody { run, who }),
                1 => {
                    keys.extend(people.into_iter().cloned());
                    group_keys.extend(named.into_iter().cloned());
                }
                _ => {
                    let people = people.iter().map(|key| format!("{key} (a person)"));
                    let named = named.iter().map(|key| format!("{key} (a group)"));
                    let meant: Vec<String> = people.chain(named).collect();
                    let meant = meant.join(", ");
                    return Err(RevertError::Ambiguous { run, who, meant });
                }
            }
        }
        let (groups, others): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|one| group_keys.contains(&one.operation.key));
        let concerns = |one: &&PastGroup| {
            let members = one.operation.add.iter().chain(&one.operation.remove);
            let mut members = members.filter_map(|member| member.key.as_ref());
            members.any(|key| keys.contains(key))
        };
        let told = others.iter().filter(concerns);
        Ok(Chosen {
            left_out: told
                .map(|one| not_undone(&one.operation, GroupNotUndone::NotNamed))
                .collect(),
            groups,
            past: past
                .into_iter()
                .filter(|one| keys.contains(&one.operation.key))
                .collect(),
        })
    }
}
