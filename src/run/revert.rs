//! Undoing what a run did: an ordinary plan, made from the journal instead of the sources.

use std::collections::{BTreeSet, HashSet};

use super::accounts::Accounts;
use super::{
    Finished, PATIENCE, RunError, Setup, ask, begin, finish, foresee_calls, learn, number_holds,
    verified_domains,
};
use crate::apply::{self, Applied, Control, Settled, Settlement};
use crate::model::{
    Attribute, Dn, ExternalId, ManagedAccount, Operation, RunId, ScimId, fold, folded_values,
};
use crate::org::{Capabilities, Reader};
use crate::plan::{
    self, Answers, End, GuardedGroups, Known, Past, Plan, SkipReason, Skipped, own_approvals,
    questions,
};
use crate::snapshot::{Journal, Lock, Snapshot, SnapshotError, revert_trigger};

/// What is to be undone.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The run.
    pub run: RunId,
    /// Only what it did to these people, each by key, address or DN; all of it if this is empty.
    pub only: Vec<String>,
}

/// Why nothing can be reverted.
#[derive(Debug, thiserror::Error)]
pub enum RevertError {
    /// There is no such run.
    #[error("there is no run {0} in the database: the journal numbers runs from 1 on")]
    Unknown(RunId),
    /// The run has not ended.
    #[error("run {0} is still going on: revert it when it has ended")]
    UnderWay(RunId),
    /// The run did nothing to such a person.
    #[error(
        "run {run} did nothing to `{who}`: give a key, an e-mail address, a user name or a DN of one of its operations"
    )]
    Nobody {
        /// The run.
        run: RunId,
        /// What was asked for.
        who: String,
    },
    /// Several people may be meant.
    #[error("`{who}` may be any of {keys} in run {run}: give the key")]
    Ambiguous {
        /// The run.
        run: RunId,
        /// What was asked for.
        who: String,
        /// The keys.
        keys: String,
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
        let mut plan = make_plan(
            setup,
            wish,
            &mut snapshot,
            &reader,
            capabilities,
            &settlements,
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
    // Whatever was going on without the lock has been killed.
    if journal.has_ended(wish.run).await?.is_none() {
        return Err(RevertError::Unknown(wish.run).into());
    }
    chosen(wish, journal.past(wish.run).await?)?;
    let run = journal
        .begin_run(&revert_trigger(wish.run), (control.now)())
        .await?;
    let result = carry_out(setup, wish, run, &mut journal, reader, control).await;
    finish(journal, run, result, control).await
}

/// Whether there is something to revert by this wish.
async fn check(setup: &Setup, wish: &Wish, snapshot: &mut Snapshot) -> Result<(), RunError> {
    match snapshot.has_ended(wish.run).await? {
        None => Err(RevertError::Unknown(wish.run).into()),
        Some(false) if Lock::is_held(&setup.config.database) => {
            Err(RevertError::UnderWay(wish.run).into())
        }
        Some(_) => {
            chosen(wish, snapshot.past(wish.run).await?)?;
            Ok(())
        }
    }
}

async fn carry_out(
    setup: &Setup,
    wish: &Wish,
    run: RunId,
    journal: &mut Journal,
    reader: Reader,
    control: &Control<'_>,
) -> Result<(Plan, Applied), RunError> {
    let capabilities = begin(setup, journal, &reader, control).await?;
    let mut plan = tokio::select! {
        plan = make_plan(setup, wish, journal, &reader, capabilities, &[], control) => plan?,
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
    let applied = apply::apply(&approved, run, reader, journal, control)
        .await
        .map_err(RunError::BrokeOff)?;
    Ok((plan, applied))
}

/// Makes the plan. `settlements` are those that are not in the database.
async fn make_plan(
    setup: &Setup,
    wish: &Wish,
    snapshot: &mut Snapshot,
    reader: &Reader,
    capabilities: Capabilities,
    settlements: &[Settlement],
    control: &Control<'_>,
) -> Result<Plan, RunError> {
    let now = (control.now)();
    let mut past = chosen(wish, snapshot.past(wish.run).await?)?;
    for settlement in settlements {
        if let Some(one) = past.iter_mut().find(|one| one.id == settlement.id) {
            one.operation = settlement.operation.clone();
            if let Settled::Done(answer) = &settlement.settled {
                one.end = End::Done(Some(answer.scim_id.clone()));
            }
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
        left_out: snapshot.left_out().await?,
        answers: Answers::default(),
        // What was reverted may be: that is what was asked for.
        undone: Vec::new(),
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
    if guards.names_groups() && plan.departs() {
        known.guarded_groups = reader.guarded_groups(guards).await?;
    }
    plan = make(&known);
    if wish.only.is_empty() {
        let groups = snapshot.past_groups(wish.run).await?.into_iter();
        plan.skipped.extend(groups.map(|(kind, name)| Skipped {
            key: None,
            dn: name,
            why: SkipReason::GroupNotUndone { kind },
        }));
    }
    plan.forecast.unseen_rights = known.answers.unseen_rights;
    plan.forecast.unseen_addresses = known.answers.unseen_addresses;
    Ok(plan)
}

/// The operations of a run that the wish is about.
fn chosen(wish: &Wish, past: Vec<Past>) -> Result<Vec<Past>, RevertError> {
    if wish.only.is_empty() {
        return Ok(past);
    }
    // The accounts by the key that the run left them with.
    let mut keys: BTreeSet<ExternalId> = BTreeSet::new();
    for who in &wish.only {
        let meant: BTreeSet<&ExternalId> = past
            .iter()
            .filter(|one| is_meant(&one.operation, who))
            .map(|one| &one.operation.key)
            .collect();
        let run = wish.run;
        let who = who.clone();
        match meant.len() {
            0 => return Err(RevertError::Nobody { run, who }),
            1 => keys.extend(meant.into_iter().cloned()),
            _ => {
                let keys: Vec<&str> = meant.iter().map(|key| key.as_str()).collect();
                let keys = keys.join(", ");
                return Err(RevertError::Ambiguous { run, who, keys });
            }
        }
    }
    Ok(past
        .into_iter()
        .filter(|one| keys.contains(&one.operation.key))
        .collect())
}

/// Whether somebody means this by a key, an address or a DN.
fn is_meant(operation: &Operation, who: &str) -> bool {
    let Operation {
        key,
        formerly,
        dn,
        before,
        after,
        ..
    } = operation;
    let is_key = |key: &ExternalId| fold(key.as_str()) == fold(who);
    let is_address = [before, after].into_iter().any(|profile| {
        [Attribute::Email, Attribute::UserName]
            .into_iter()
            .filter_map(|attribute| profile.get(attribute))
            .any(|value| fold(value) == fold(who))
    });
    is_key(key)
        || formerly.as_ref().is_some_and(is_key)
        || is_address
        || Dn::parse(who).is_ok_and(|asked| Dn::parse(dn) == Ok(asked))
}
