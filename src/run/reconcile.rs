//! Reading the organization back: what somebody has changed there is told, or taken into the
//! snapshot, so that the next sync corrects it. The organization is only read.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::{Orders, PATIENCE, RunError, Setup, begin, groups, make_plan, number_holds};
use crate::apply::Control;
use crate::config::{DriftKind, Limit, PrivateFolder, Reconcile};
use crate::model::{
    ExistingAccount, ExistingGroup, ExternalId, Lifecycle, ManagedAccount, ManagedGroup, Profile,
    RunId, ScimId, SourceName, Timestamp, fold,
};
use crate::org::{Capabilities, Reader};
use crate::plan::groups::Person;
use crate::plan::{
    self, Claimant, Decided, Drift, GroupDrift, NO_ENTRY, Reconciliation, Unmanaged, decide,
};
use crate::pull::{Depth, pull, selections};
use crate::report::reconciled_summary;
use crate::snapshot::{Journal, Outcome, Snapshot};

/// So many requests are under way at a time.
const AT_A_TIME: usize = 8;

/// The trigger of a run that reconciles.
const TRIGGER: &str = "reconcile";

/// How the snapshot is to be reconciled.
#[derive(Clone, Debug, Default)]
pub struct Task {
    /// What is taken over; as configured when `None`.
    pub correct: Option<BTreeSet<DriftKind>>,
    /// Whether rows are made again for accounts that carry a person's key.
    pub rebuild: bool,
    /// Keys that no person has, and whose accounts are to be looked after all the same, as those of
    /// people who have left.
    pub claims: Vec<ExternalId>,
    /// The source that they came from.
    pub claimed_from: Option<SourceName>,
    /// Whether the database stays as it is.
    pub is_dry: bool,
    /// Whether it is told what the next sync will do.
    pub tells_next: bool,
}

/// Why the snapshot cannot be reconciled.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// There is no snapshot.
    #[error(
        "there is no database {0} to compare with: `dirsyncd reconcile --rebuild` makes one from directory and organization"
    )]
    NoDatabase(String),
    /// Too many accounts are missing.
    #[error(
        "{missing} of {accounts} accounts are not in the organization's list, and `limit` in [reconcile] allows {allowed}: that is taken for a fault, and nothing is changed; check `directory` and `scim_key`, and if they were really deleted, raise the limit"
    )]
    Missing {
        /// How many.
        missing: u64,
        /// Of how many.
        accounts: u64,
        /// How many are allowed.
        allowed: u64,
    },
    /// Something that is there is not in the list.
    #[error(
        "{0} is not in the organization's list, but can be read by its id: the list is incomplete, and nothing is changed; try again later"
    )]
    Incomplete(String),
    /// The dates that it would note would be wrong.
    #[error("{0}: set the clock right (NTP) and run again; nothing is changed")]
    Clock(String),
    /// Accounts carry no keys.
    #[error(
        "with provisioning = \"admin\" accounts carry no keys by which rows could be made again: `dirsyncd sync` finds them by their addresses"
    )]
    NoKeys,
    /// No account carries this key, or it is a person's.
    #[error(
        "no account that is nobody's carries the key {0}: claim a key that `dirsyncd reconcile` lists"
    )]
    NotClaimable(ExternalId),
    /// It is not said which source.
    #[error("say by --source NAME from which source the claimed accounts are: {0}")]
    WhichSource(String),
    /// There is no room for a copy of the database.
    #[error("cannot make a temporary folder: {0}; set TMPDIR to a folder with room")]
    Folder(#[from] std::io::Error),
}

/// Compares the snapshot with the organization, and takes over what is to be. The number of the run is
/// that under which the journal keeps what was changed; a dry run, which works on a copy of the
/// database, has none.
pub async fn reconcile(
    setup: &Setup,
    task: &Task,
    control: &Control<'_>,
) -> Result<(Option<RunId>, Reconciliation), RunError> {
    let database = &setup.config.database;
    if !task.rebuild && !database.exists() {
        return Err(ReconcileError::NoDatabase(database.display().to_string()).into());
    }
    let reader = Reader::new(&setup.config.organization)?;
    if task.rebuild && !reader.keeps_keys() {
        return Err(ReconcileError::NoKeys.into());
    }
    if !task.is_dry {
        let journal = Journal::open_within(database, PATIENCE).await?;
        let (run, found) = on(setup, task, journal, reader, control).await?;
        return Ok((Some(run), found));
    }
    let folder = PrivateFolder::new().map_err(ReconcileError::from)?;
    let copy = folder.path().join("dirsyncd.db");
    Snapshot::copy(database, &copy).await?;
    let journal = Journal::open(&copy).await?;
    let (_, found) = on(setup, task, journal, reader, control).await?;
    Ok((None, found))
}

/// The same on this database.
async fn on(
    setup: &Setup,
    task: &Task,
    mut journal: Journal,
    reader: Reader,
    control: &Control<'_>,
) -> Result<(RunId, Reconciliation), RunError> {
    let asked_by = control.asked_by.as_ref();
    let run = journal
        .begin_run_by(TRIGGER, asked_by, (control.now)())
        .await?;
    let result = carry_out(setup, task, run, &mut journal, reader, control).await;
    let (outcome, error, summary) = match &result {
        Ok(found) if !found.needs_attention() => (Outcome::Done, None, reconciled_summary(found)),
        Ok(found) => (Outcome::Incomplete, None, reconciled_summary(found)),
        Err(error @ RunError::Reconcile(_)) => {
            (Outcome::Refused, Some(error.to_string()), json!({}))
        }
        Err(error) => (Outcome::Failed, Some(error.to_string()), json!({})),
    };
    let now = (control.now)();
    let finished = journal
        .finish_run(run, now, outcome, error.as_deref(), &summary)
        .await;
    // The first error is the one to tell.
    let found = result?;
    finished?;
    journal.close().await?;
    Ok((run, found))
}

async fn carry_out(
    setup: &Setup,
    task: &Task,
    run: RunId,
    journal: &mut Journal,
    reader: Reader,
    control: &Control<'_>,
) -> Result<Reconciliation, RunError> {
    let capabilities = begin(setup, journal, &reader, control).await?;
    let now = (control.now)();
    let known = plan::Known {
        api_time: capabilities.time,
        ..plan::Known::default()
    };
    if let Some(fault) = plan::clock_fault(&known, now) {
        return Err(ReconcileError::Clock(fault).into());
    }
    let mut found = tokio::select! {
        found = look(setup, task, journal, &reader, control, now) => found?,
        () = control.stop.wait() => return Err(RunError::Stopped),
    };
    journal.record_reconciled(run, &found, now).await?;
    let is_news = found.changes_rows()
        || !found.drifts.is_empty()
        || !found.unmanaged.is_empty()
        || !found.group_drifts.is_empty();
    if task.tells_next && (is_news || task.rebuild) {
        found.next = Some(tokio::select! {
            next = next(setup, journal, &reader, capabilities, control) => next,
            () = control.stop.wait() => Err(RunError::Stopped.to_string()),
        });
    }
    Ok(found)
}

/// The plan of the next sync, as the snapshot stands now.
async fn next(
    setup: &Setup,
    journal: &mut Journal,
    reader: &Reader,
    capabilities: Capabilities,
    control: &Control<'_>,
) -> Result<Box<plan::Plan>, String> {
    let settled = (&[][..], &[][..]);
    let made = make_plan(
        setup,
        Orders::ROUTINE,
        journal,
        reader,
        capabilities,
        settled,
        control,
    );
    let mut plan = made.await.map_err(|error| error.to_string())?.plan;
    let opened = journal.opened((control.now)()).await;
    number_holds(&mut plan, &opened.map_err(|error| error.to_string())?);
    Ok(Box::new(plan))
}

/// Reads the organization, and decides. Nothing is recorded yet.
async fn look(
    setup: &Setup,
    task: &Task,
    snapshot: &mut Snapshot,
    reader: &Reader,
    control: &Control<'_>,
    now: Timestamp,
) -> Result<Reconciliation, RunError> {
    let configured = &setup.config.reconcile;
    let mut compared = accounts(setup, snapshot, reader, &configured.limit).await?;
    let keeps_groups = !setup.config.groups.is_empty();
    let listed = match reader.keeps_keys() && keeps_groups {
        true => reader.all_groups().await?,
        false => Vec::new(),
    };
    let mut found = Reconciliation {
        accounts: compared.count,
        is_rebuilt: task.rebuild,
        ..Reconciliation::default()
    };
    if task.rebuild {
        rebuild_accounts(
            setup,
            task,
            snapshot,
            &mut compared,
            &mut found,
            control,
            now,
        )
        .await?;
    }
    let correct = match &task.correct {
        _ if task.rebuild => DriftKind::CORRECTABLE.into_iter().collect(),
        Some(kinds) => kinds.clone(),
        None => configured.correct.clone(),
    };
    let rules = Reconcile {
        correct,
        // What was done since a backup may be anything.
        limit: match task.rebuild {
            true => Limit::default(),
            false => configured.limit.clone(),
        },
    };
    (found.drifts, found.excess) = decide(compared.drifts, compared.count, &rules, now);
    let keys: HashSet<ExternalId> = compared
        .nobodys
        .iter()
        .filter_map(|account| account.external_id.clone())
        .collect();
    let rows = snapshot.accounts_like(&keys).await?;
    let living = rows.values().filter(|row| row.lifecycle.has_account());
    let living: HashMap<String, &ManagedAccount> =
        living.map(|row| (fold(row.key.as_str()), row)).collect();
    let twin = |account: &ExistingAccount| {
        let row = living.get(&fold(account.external_id.as_ref()?.as_str()))?;
        Some((*row).clone())
    };
    found.unmanaged = compared
        .nobodys
        .into_iter()
        .map(|account| Unmanaged {
            twin: twin(&account),
            account,
        })
        .collect();
    found.unmanaged.sort_by_key(|one| !one.account.active);
    if keeps_groups {
        compare_groups(setup, task, snapshot, reader, listed, &mut found).await?;
    }
    Ok(found)
}

/// The snapshot's accounts compared with the organization's.
struct Compared {
    count: u64,
    drifts: Vec<Drift>,
    /// The accounts that no row has.
    nobodys: Vec<ExistingAccount>,
}

async fn accounts(
    setup: &Setup,
    snapshot: &mut Snapshot,
    reader: &Reader,
    limit: &Limit,
) -> Result<Compared, RunError> {
    let managed = setup.managed();
    let keeps_keys = reader.keeps_keys();
    let mut listed: HashMap<ScimId, ExistingAccount> = HashMap::new();
    if keeps_keys {
        let all = reader.all_accounts(&HashSet::new()).await?;
        listed.extend(all.into_iter().map(|one| (one.scim_id.clone(), one)));
    }
    let mut compared = Compared {
        count: 0,
        drifts: Vec::new(),
        nobodys: Vec::new(),
    };
    let mut missing: Vec<Drift> = Vec::new();
    let mut last: Option<ExternalId> = None;
    loop {
        let rows = snapshot.accounts_after(last.as_ref()).await?;
        let Some(end) = rows.last() else { break };
        last = Some(end.key.clone());
        let is_there = |row: &&ManagedAccount| !matches!(row.lifecycle, Lifecycle::Deleted { .. });
        let rows: Vec<&ManagedAccount> = rows.iter().filter(is_there).collect();
        compared.count += rows.len() as u64;
        if !keeps_keys {
            // There is no list of all that an account has.
            listed.extend(by_id(reader, rows.iter().map(|row| &row.scim_id)).await?);
        }
        for row in rows {
            let found = listed.remove(&row.scim_id);
            match Drift::between(row, found.as_ref(), &managed, keeps_keys) {
                Some(drift) if drift.found.is_none() => missing.push(drift),
                drift => compared.drifts.extend(drift),
            }
        }
    }
    let (count, accounts) = (missing.len() as u64, compared.count);
    if let Some(allowed) = limit.allowed(accounts).filter(|allowed| count > *allowed) {
        return Err(ReconcileError::Missing {
            missing: count,
            accounts,
            allowed,
        }
        .into());
    }
    if keeps_keys {
        // Gone is only what is not there by its id either.
        let there = by_id(reader, missing.iter().map(|drift| &drift.row.scim_id)).await?;
        let still = |drift: &&Drift| there.contains_key(&drift.row.scim_id);
        if let Some(drift) = missing.iter().find(still) {
            let who = format!(
                "the account of {} ({})",
                drift.row.profile.label(),
                drift.row.dn
            );
            return Err(ReconcileError::Incomplete(who).into());
        }
    }
    compared.drifts.extend(missing);
    compared.nobodys = listed.into_values().collect();
    compared.nobodys.sort_by(|a, b| a.scim_id.cmp(&b.scim_id));
    Ok(compared)
}

/// Those of the accounts that the organization has.
async fn by_id(
    reader: &Reader,
    ids: impl Iterator<Item = &ScimId>,
) -> Result<HashMap<ScimId, ExistingAccount>, RunError> {
    let found: Vec<Option<ExistingAccount>> = stream::iter(ids)
        .map(|id| reader.by_scim_id(id))
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    let found = found.into_iter().flatten();
    Ok(found.map(|one| (one.scim_id.clone(), one)).collect())
}

/// Makes rows again for accounts that carry the key of a person who has none.
async fn rebuild_accounts(
    setup: &Setup,
    task: &Task,
    snapshot: &mut Snapshot,
    compared: &mut Compared,
    found: &mut Reconciliation,
    control: &Control<'_>,
    now: Timestamp,
) -> Result<(), RunError> {
    let source = claims_from(setup, task)?;
    // Also those that have got another key since the backup was made.
    let is_rekeyed = |drift: &&Drift| drift.kinds.contains_key(&DriftKind::Rekeyed);
    let rekeyed = compared.drifts.iter().filter(is_rekeyed);
    let mut accounts: Vec<ExistingAccount> = rekeyed.filter_map(|one| one.found.clone()).collect();
    accounts.append(&mut compared.nobodys);
    let selections = selections(setup.config.sources.iter()).await?;
    let sources = setup.sourced(&selections);
    let pulled = pull(&sources, snapshot, &[], Depth::Full, now, control.watch).await?;
    let desired = pulled.desired;
    let different = desired.different.into_iter().map(|person| Claimant {
        key: person.key,
        source: person.source,
        dn: person.dn,
        profile: person.profile,
        active: Some(person.active),
    });
    let unmapped = desired.unmapped.into_iter().filter_map(|unmapped| {
        Some(Claimant {
            key: unmapped.key?,
            source: unmapped.source,
            dn: unmapped.dn,
            profile: Profile::default(),
            active: None,
        })
    });
    let mut people: Vec<Claimant> = different.chain(unmapped).collect();
    let mut known: HashSet<ExternalId> = people.iter().map(|one| one.key.clone()).collect();
    let absent: HashSet<ExternalId> = desired.absent.into_iter().collect();
    let carried: HashSet<ExternalId> = accounts
        .iter()
        .filter_map(|account| account.external_id.clone())
        .collect();
    let mut rows = snapshot.accounts_like(&carried).await?;
    let ids: Vec<ScimId> = accounts.iter().map(|one| one.scim_id.clone()).collect();
    let owners = snapshot.accounts_by_scim_id(&ids).await?;
    rows.extend(owners.into_iter().map(|row| (row.key.clone(), row)));
    // Who is as the row says is told of by the row alone.
    for row in rows.values().filter(|row| !absent.contains(&row.key)) {
        if known.insert(row.key.clone()) {
            people.push(Claimant {
                key: row.key.clone(),
                source: row.source.clone(),
                dn: row.dn.clone(),
                profile: row.profile.clone(),
                active: None,
            });
        }
    }
    let is_gone = |drift: &&Drift| drift.found.is_none();
    let gone = compared.drifts.iter().filter(is_gone);
    let gone: HashSet<ExternalId> = gone.map(|drift| drift.row.key.clone()).collect();
    for key in &task.claims {
        if !carried.contains(key) || !known.insert(key.clone()) {
            return Err(ReconcileError::NotClaimable(key.clone()).into());
        }
        people.extend(source.iter().map(|source| Claimant {
            key: key.clone(),
            source: source.clone(),
            dn: NO_ENTRY.to_owned(),
            profile: Profile::default(),
            active: None,
        }));
    }
    let policies = setup.config.policies(false);
    let managed = setup.managed();
    let (rebuilt, nobodys) =
        plan::rebuild(accounts, &people, &rows, &gone, (&managed, &policies), now);
    let replaced: HashSet<&ExternalId> = rebuilt
        .iter()
        .flat_map(|one| [Some(&one.row), one.replaces.as_ref()])
        .flatten()
        .map(|row| &row.key)
        .collect();
    compared
        .drifts
        .retain(|drift| !replaced.contains(&drift.row.key));
    // Those that only carry another key have a row.
    let kept: HashSet<&ScimId> = compared.drifts.iter().map(|one| &one.row.scim_id).collect();
    compared.nobodys = nobodys;
    compared.nobodys.retain(|one| !kept.contains(&one.scim_id));
    found.rebuilt = rebuilt;
    Ok(())
}

/// The source that claimed accounts are from, if any are claimed.
fn claims_from(setup: &Setup, task: &Task) -> Result<Option<SourceName>, ReconcileError> {
    let names: Vec<&SourceName> = setup.config.sources.iter().map(|one| &one.name).collect();
    match (&task.claimed_from, names.as_slice()) {
        _ if task.claims.is_empty() => Ok(None),
        (None, [only]) => Ok(Some((*only).clone())),
        (Some(name), _) if names.contains(&name) => Ok(Some(name.clone())),
        _ => {
            let names: Vec<&str> = names.into_iter().map(SourceName::as_str).collect();
            Err(ReconcileError::WhichSource(names.join(", ")))
        }
    }
}

/// Compares the groups, and makes rows of them again where that is wished.
async fn compare_groups(
    setup: &Setup,
    task: &Task,
    snapshot: &mut Snapshot,
    reader: &Reader,
    listed: Vec<ExistingGroup>,
    found: &mut Reconciliation,
) -> Result<(), RunError> {
    let managed = snapshot.groups().await?;
    let users: Vec<ScimId> = listed
        .iter()
        .flat_map(|group| group.members.iter().cloned())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut accounts = snapshot.accounts_by_scim_id(&users).await?;
    let keys = managed
        .iter()
        .flat_map(|group| group.members.iter().cloned());
    accounts.extend(snapshot.accounts(&keys.collect()).await?.into_values());
    let mut users: HashMap<ScimId, ExternalId> = HashMap::new();
    let mut people: HashMap<ExternalId, Person> = HashMap::new();
    for account in &accounts {
        if account.lifecycle.has_account() {
            users.insert(account.scim_id.clone(), account.key.clone());
        }
        people.insert(account.key.clone(), Person::from(account));
    }
    for rebuilt in &found.rebuilt {
        users.insert(rebuilt.row.scim_id.clone(), rebuilt.row.key.clone());
    }
    for Decided { drift, .. } in &found.drifts {
        // Whose account is gone has not left a group by hand.
        if drift.found.is_none() {
            people.remove(&drift.row.key);
        }
    }
    let mut others: HashMap<ScimId, ExistingGroup> = listed
        .into_iter()
        .map(|group| (group.scim_id.clone(), group))
        .collect();
    found.groups = managed.len() as u64;
    for row in &managed {
        let there = others.remove(&row.scim_id);
        if there.is_none() && reader.group(&row.scim_id).await?.is_some() {
            return Err(ReconcileError::Incomplete(format!("the group `{}`", row.name)).into());
        }
        found
            .group_drifts
            .extend(GroupDrift::between(row, there.as_ref(), &people));
    }
    let mut others: Vec<ExistingGroup> = others.into_values().collect();
    others.sort_by(|a, b| a.name.cmp(&b.name));
    if task.rebuild {
        let read = groups::read_rules(setup).await;
        let rules = &setup.config.groups;
        let (rebuilt, rest): (Vec<ManagedGroup>, _) =
            plan::groups::rebuild(rules, &read, others, &users);
        (found.rebuilt_groups, others) = (rebuilt, rest);
    }
    found.unmanaged_groups = others;
    Ok(())
}
