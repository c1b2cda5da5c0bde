//! One run from pull to report: the only place that knows the whole order.
//!
//! Floor 7. A dry run ([`dry_run`]) has the snapshot's reading half and the API's reading
//! client; a real run ([`sync`]) makes the same plan in the same way and then applies it.

mod accounts;
mod ask;
mod groups;
mod prune;
mod reconcile;
mod revert;
mod saved;
mod saved_groups;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::apply::{
    self, Applied, Control, Deadline, EndedBy, GroupSettlement, Settled, Settlement,
};
use crate::config::{Config, GroupRule, Source, SourceScope};
use crate::directory::Selection;
use crate::mapping::{GroupMapping, Mapping, MappingError};
use crate::model::{
    Attribute, DesiredAccount, Digest, ExistingAccount, ExternalId, ManagedAccount, RunId, ScimId,
    SourceName, Timestamp, fold,
};
use crate::org::{ApiError, Capabilities, Reader};
use crate::plan::groups::KnownGroups;
use crate::plan::{
    Answers, Desired, GuardedGroups, Known, Opened, Plan, Stop, Suspension, end_absences,
    newcomers, one_person, plan, questions, sought,
};
use crate::pull::{Depth, PullError, Sourced, locate, pull, pull_person, selections};
use crate::report::summary;
use crate::snapshot::{Journal, Outcome, Pulled, Snapshot, SnapshotError, Unanswered};

pub use prune::{CannotPrune, PrunedByHand, prune};
pub use reconcile::{ReconcileError, Task, reconcile};
pub use revert::{RevertError, Wish, dry_revert, revert};
pub use saved::{save, sync_saved};

/// Above so many newcomers, the organization's accounts are listed instead of looked up one by
/// one: two look-ups a person cost more than the pages.
const LOOK_UPS: usize = 25;

/// How long another writer is waited for: `dirsyncd approve` is done in no time.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why a run ended without a plan that could be carried out.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A source could not be read.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The organization's API.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The database.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The database failed while operations were being sent.
    #[error(
        "{0}; the run broke off while changes were being sent: some are made, and the next run reads back which"
    )]
    BrokeOff(SnapshotError),
    /// The plan as a whole was refused.
    #[error(transparent)]
    Refused(#[from] Stop),
    /// The provisioning API lacks something that dirsyncd needs.
    #[error(
        "the provisioning API does not support filters, by which dirsyncd finds accounts: check `api` and `directory` in [organization]"
    )]
    NoFilters,
    /// The provisioning API does not know attributes that are mapped.
    #[error(
        "the schemas of the provisioning API do not have {0}: map them to `false` in [source.mapping]"
    )]
    UnknownAttributes(String),
    /// The run was asked to stop before anything was sent.
    #[error("the run was asked to stop before anything was sent")]
    Stopped,
    /// What is to be reverted is not there.
    #[error(transparent)]
    Revert(#[from] RevertError),
    /// The organization cannot be reconciled with the snapshot.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// A saved plan is another organization's.
    #[error(
        "the saved plan is for the organization {theirs:?}, and the configuration is for {ours:?}: carry it out with the configuration that it was made with"
    )]
    ForeignPlan {
        /// The plan's organization.
        theirs: String,
        /// The configuration's.
        ours: String,
    },
}

/// How a run or a dry run ends, for those who go by one word: exit codes, and who asks a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// All is done, or it was asked to stop.
    Done,
    /// It came to nothing.
    Failed,
    /// It was asked for in a way that cannot be.
    Usage,
    /// Something is refused, held by a guard or in quarantine.
    Refused,
    /// Some of it failed, or is left for later runs.
    SomeFailed,
}

impl Ended {
    /// How a dry run ends that comes to this plan.
    pub fn with(plan: &Plan) -> Self {
        match plan.needs_attention() {
            true => Ended::Refused,
            false => Ended::Done,
        }
    }
}

impl RunError {
    /// The database failed while a plan was carried out.
    fn of_applying(error: SnapshotError, journal: &Journal) -> Self {
        match journal.has_sent() {
            true => RunError::BrokeOff(error),
            false => RunError::Snapshot(error),
        }
    }

    /// What went wrong, in words that name nobody and no place.
    pub fn brief(&self) -> &'static str {
        match self {
            RunError::Pull(_) => "the directory could not be read as it has to be",
            RunError::Api(_) => "the organization's API could not be asked what has to be known",
            RunError::Snapshot(_) => "the database could not be used",
            RunError::BrokeOff(_) => {
                "the database failed while changes were being sent; the next run reads back which are made"
            }
            RunError::Refused(_) => "the plan was refused as a whole",
            RunError::NoFilters | RunError::UnknownAttributes(_) => {
                "the provisioning API cannot do what is needed"
            }
            RunError::Stopped => "it was asked to stop",
            RunError::Revert(_) | RunError::ForeignPlan { .. } => "it was asked for what cannot be",
            RunError::Reconcile(_) => {
                "the organization could not be compared with what is known of it"
            }
        }
    }

    /// How the run ended.
    pub fn ended(&self) -> Ended {
        match self {
            RunError::Refused(_) => Ended::Refused,
            RunError::Stopped => Ended::Done,
            RunError::Reconcile(ReconcileError::Missing { .. } | ReconcileError::Clock(_)) => {
                Ended::Refused
            }
            RunError::Reconcile(ReconcileError::Incomplete(_) | ReconcileError::Folder(_)) => {
                Ended::Failed
            }
            RunError::Reconcile(_) => Ended::Usage,
            RunError::ForeignPlan { .. } | RunError::Revert(_) => Ended::Usage,
            RunError::Pull(PullError::Nobody(_) | PullError::Several { .. }) => Ended::Usage,
            RunError::Pull(_)
            | RunError::Api(_)
            | RunError::Snapshot(_)
            | RunError::BrokeOff(_)
            | RunError::NoFilters
            | RunError::UnknownAttributes(_) => Ended::Failed,
        }
    }
}

/// The configuration with its mappings compiled.
pub struct Setup {
    /// The configuration.
    pub config: Config,
    mappings: Vec<Mapping>,
    groups: Vec<GroupMapping>,
}

impl Setup {
    /// Compiles the mappings of a configuration.
    pub fn new(config: Config) -> Result<Self, MappingError> {
        let way = &config.organization.provisioning;
        let mappings = config
            .sources
            .iter()
            .map(|source| Mapping::compile(source, way))
            .collect::<Result<Vec<_>, _>>()?;
        let mut groups = Vec::new();
        for rule in &config.groups {
            for source in config.sources.iter().filter(|one| one.name == rule.source) {
                groups.push(GroupMapping::compile(rule, source)?);
            }
        }
        Ok(Setup {
            config,
            mappings,
            groups,
        })
    }

    /// Whether what this machine has for the configuration can be used: keys, passwords, CA files. Asks nobody.
    ///
    /// # Errors
    /// What cannot, in words.
    pub fn expect_usable(&self) -> Result<(), String> {
        Reader::new(&self.config.organization).map_err(|error| error.to_string())?;
        for source in &self.config.sources {
            crate::directory::usable(source)
                .map_err(|error| format!("source `{}`: {error}", source.name))?;
        }
        Ok(())
    }

    /// The attributes that some mapping gives a value to. Others are not dirsyncd's business,
    /// and stay in the organization as they are.
    fn managed(&self) -> BTreeSet<Attribute> {
        self.mappings.iter().flat_map(Mapping::managed).collect()
    }

    /// The sources as they are pulled. What is read of them before and after a change of their
    /// configuration, or of the program, does not fit together.
    pub(crate) fn sourced<'a>(&'a self, selections: &'a [Option<Selection>]) -> Vec<Sourced<'a>> {
        let Config { sources, .. } = &self.config;
        // Attributes that the way of provisioning does not know are not mapped.
        let managed = self.managed();
        let all = format!("{} {managed:?} {sources:?}", env!("CARGO_PKG_VERSION"));
        let fingerprint = Digest::of_text(&all);
        self.sources()
            .zip(selections)
            .map(|((source, mapping), selection)| Sourced {
                source,
                mapping,
                selection: selection.as_ref(),
                fingerprint,
            })
            .collect()
    }

    /// The rules for groups with what they make of an entry.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupRule, &GroupMapping)> {
        self.config.groups.iter().zip(&self.groups)
    }

    /// The sources with their mappings, in order of precedence.
    pub fn sources(&self) -> impl Iterator<Item = (&Source, &Mapping)> {
        self.config.sources.iter().zip(&self.mappings)
    }
}

/// How a run is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Orders<'a> {
    /// How much is read.
    pub depth: Depth,
    /// Whether whoever is put out of scope by a change of the configuration departs, and groups
    /// follow it.
    pub accepts_scope_change: bool,
    /// The one person whom it is about, by key, e-mail address, user name or DN; everybody when
    /// `None`.
    pub person: Option<&'a str>,
}

impl Orders<'_> {
    /// A run as the daemon makes it.
    pub const ROUTINE: Orders<'static> = Orders {
        depth: Depth::Changes,
        accepts_scope_change: false,
        person: None,
    };
}

/// A run that was carried out.
#[derive(Debug)]
pub struct Finished {
    /// Its number.
    pub run: RunId,
    /// What was planned.
    pub plan: Plan,
    /// What became of it.
    pub applied: Applied,
}

impl Finished {
    /// How it ended.
    pub fn ended(&self) -> Ended {
        let Finished { plan, applied, .. } = self;
        let broke_off = applied.ended_by.as_ref().is_some_and(EndedBy::is_failure);
        let has_failed = !applied.failed.is_empty() || !applied.groups.failed.is_empty();
        if has_failed || broke_off {
            Ended::SomeFailed
        } else {
            Ended::with(plan)
        }
    }
}

/// Plans a run and changes nothing, neither in the organization nor in the database.
pub async fn dry_run(
    setup: &Setup,
    orders: Orders<'_>,
    control: &Control<'_>,
) -> Result<Plan, RunError> {
    Ok(look(setup, orders, control).await?.plan)
}

/// What a dry run saw.
struct Looked {
    plan: Plan,
    /// The snapshot's rows of the people whom the plan concerns.
    rows: HashMap<ExternalId, ManagedAccount>,
    /// What is known of groups.
    groups: KnownGroups,
    /// The newest run that had read the sources before.
    last_reading: Option<RunId>,
    /// How many accounts there are.
    population: u64,
    reader: Reader,
}

async fn look(
    setup: &Setup,
    orders: Orders<'_>,
    control: &Control<'_>,
) -> Result<Looked, RunError> {
    let reader = Reader::new(&setup.config.organization)?;
    let mut snapshot = Snapshot::open_for_reading(&setup.config.database).await?;
    let result = async {
        let last_reading = snapshot.last_reading().await?;
        let unanswered = snapshot.unanswered().await?;
        let (capabilities, settlements) = learn(&reader, unanswered, &setup.managed()).await?;
        let unanswered = snapshot.unanswered_groups().await?;
        let group_settlements = apply::settle_groups(&reader, unanswered).await?;
        let mut made = make_plan(
            setup,
            orders,
            &mut snapshot,
            &reader,
            capabilities,
            (&settlements, &group_settlements),
            control,
        )
        .await?;
        number_holds(&mut made.plan, &snapshot.opened((control.now)()).await?);
        Ok::<_, RunError>((made, last_reading))
    }
    .await;
    snapshot.close().await?;
    let (made, last_reading) = result?;
    let Made {
        mut plan,
        rows,
        groups,
        population,
        ..
    } = made;
    foresee_calls(&mut plan, &reader);
    plan.forecast.deadline = setup.config.apply.deadline;
    Ok(Looked {
        plan,
        rows,
        groups,
        last_reading,
        population,
        reader,
    })
}

/// Tells which requests carrying the plan out would make, and how long they take at least.
fn foresee_calls(plan: &mut Plan, reader: &Reader) {
    let calls = plan.calls(reader.way());
    let (scim, admin) = reader.rates();
    plan.forecast.estimate = calls.estimate(&scim, &admin);
    plan.forecast.calls = Some(calls);
}

/// Plans a run and carries it out.
pub async fn sync(
    setup: &Setup,
    orders: Orders<'_>,
    trigger: &str,
    control: &Control<'_>,
) -> Result<Finished, RunError> {
    let reader = Reader::new(&setup.config.organization)?;
    let mut journal = Journal::open_within(&setup.config.database, PATIENCE).await?;
    let (run, deadline) = start(setup, trigger, &mut journal, control).await?;
    let result = carry_out(
        setup,
        orders,
        (run, deadline),
        &mut journal,
        reader,
        control,
    )
    .await;
    finish(journal, run, result, control).await
}

/// Records that a run begins, and tells when it is to end.
async fn start(
    setup: &Setup,
    trigger: &str,
    journal: &mut Journal,
    control: &Control<'_>,
) -> Result<(RunId, Option<Deadline>), RunError> {
    let now = (control.now)();
    let asked_by = control.asked_by.as_ref();
    let run = journal.begin_run_by(trigger, asked_by, now).await?;
    Ok((run, Deadline::of(&setup.config.apply, now)))
}

/// Records how a run ended.
async fn finish(
    mut journal: Journal,
    run: RunId,
    result: Result<(Plan, Applied), RunError>,
    control: &Control<'_>,
) -> Result<Finished, RunError> {
    let (outcome, error, summary) = match &result {
        Ok((plan, applied)) => {
            let outcome = if applied.is_clean() && !plan.needs_attention() {
                Outcome::Done
            } else {
                Outcome::Incomplete
            };
            (outcome, None, summary(plan, Some(applied)))
        }
        Err(error @ RunError::Refused(_)) => (Outcome::Refused, Some(error.to_string()), json!({})),
        Err(error) => (Outcome::Failed, Some(error.to_string()), json!({})),
    };
    let finished = async {
        journal.hurry_if(&control.stop).await?;
        journal
            .finish_run(run, (control.now)(), outcome, error.as_deref(), &summary)
            .await
    }
    .await;
    // The first error is the one to tell.
    let (plan, applied) = result?;
    finished?;
    journal.close().await?;
    Ok(Finished { run, plan, applied })
}

async fn carry_out(
    setup: &Setup,
    orders: Orders<'_>,
    (run, deadline): (RunId, Option<Deadline>),
    journal: &mut Journal,
    reader: Reader,
    control: &Control<'_>,
) -> Result<(Plan, Applied), RunError> {
    let capabilities = begin(setup, journal, &reader, control).await?;
    // No answer is waited for now, and what time it is the API has just told. Only here, as a revert
    // needs the old runs.
    prune::prune_now_and_then(setup, journal, capabilities.time, control).await?;
    let Made {
        mut plan, pulled, ..
    } = tokio::select! {
        planned = make_plan(setup, orders, journal, &reader, capabilities, (&[], &[]), control) => planned?,
        () = control.stop.wait() => return Err(RunError::Stopped),
    };
    let opened = if orders.person.is_some() {
        // What it read is no pull of a source, and nothing of anybody else's.
        journal
            .record_approvals(run, &plan, (control.now)())
            .await?;
        journal.opened((control.now)()).await?
    } else {
        journal.record_pulls(run, &pulled).await?;
        journal.end_undone(run, &plan.unwished).await?;
        if let Some(groups) = &plan.groups {
            journal.end_undone_groups(run, &groups.unwished).await?;
        }
        let expiry = setup.config.guards.hold_expiry;
        journal
            .record_holds(run, &plan, expiry, (control.now)())
            .await?
    };
    drop(pulled);
    number_holds(&mut plan, &opened);
    journal.record_pending(run, &plan, (control.now)()).await?;
    let approved = plan.approve();
    let applied = apply::apply(&approved, run, reader, deadline, journal, control)
        .await
        .map_err(|error| RunError::of_applying(error, journal))?;
    Ok((plan, applied))
}

/// How every run begins that changes something: [`learn`], and what reading back showed is recorded.
async fn begin(
    setup: &Setup,
    journal: &mut Journal,
    reader: &Reader,
    control: &Control<'_>,
) -> Result<Capabilities, RunError> {
    let unanswered = journal.unanswered().await?;
    let managed = setup.managed();
    // Until something is sent there is only reading, which can be dropped at any point.
    let (capabilities, settlements) = tokio::select! {
        learned = learn(reader, unanswered, &managed) => learned?,
        () = control.stop.wait() => return Err(RunError::Stopped),
    };
    for settlement in settlements {
        settlement.record(journal, (control.now)()).await?;
    }
    // Once the accounts are known that were made for their members.
    let unanswered = journal.unanswered_groups().await?;
    let settlements = tokio::select! {
        settlements = apply::settle_groups(reader, unanswered) => settlements?,
        () = control.stop.wait() => return Err(RunError::Stopped),
    };
    for settlement in settlements {
        settlement.record(journal, (control.now)()).await?;
    }
    Ok(capabilities)
}

/// Adds what the database knows of the holds.
fn number_holds(plan: &mut Plan, opened: &BTreeMap<String, Opened>) {
    for hold in &mut plan.holds {
        hold.opened = opened.get(&hold.name).copied();
    }
}

/// The newcomers whose account an earlier run has tried to create.
async fn attempted(
    desired: &Desired,
    known: &Known,
    snapshot: &mut Snapshot,
) -> Result<HashSet<ExternalId>, RunError> {
    let newcomers: Vec<&ExternalId> = desired
        .different
        .iter()
        .map(|person| &person.key)
        .filter(|key| !known.accounts.contains_key(*key))
        .collect();
    Ok(snapshot.attempted_creations(&newcomers).await?)
}

/// Asks the API what it can do, which shows that it can be reached and takes the key, and reads
/// back what an earlier run left without an answer.
async fn learn(
    reader: &Reader,
    unanswered: Vec<Unanswered>,
    managed: &BTreeSet<Attribute>,
) -> Result<(Capabilities, Vec<Settlement>), RunError> {
    let capabilities = reader.capabilities().await?;
    if !capabilities.filter {
        return Err(RunError::NoFilters);
    }
    let unknown: Vec<&str> = capabilities
        .unknown
        .intersection(managed)
        .map(|attribute| attribute.name())
        .collect();
    if !unknown.is_empty() {
        return Err(RunError::UnknownAttributes(unknown.join(", ")));
    }
    Ok((
        capabilities,
        apply::settle(reader, unanswered, managed).await?,
    ))
}

/// A plan, and what it was made from.
struct Made {
    plan: Plan,
    pulled: Pulled,
    /// The snapshot's rows of the people whom the plan concerns.
    rows: HashMap<ExternalId, ManagedAccount>,
    /// What is known of groups.
    groups: KnownGroups,
    /// How many accounts there are.
    population: u64,
}

/// Makes the plan. `settlements` are those that are not in the database, as a dry run must not
/// record them.
async fn make_plan(
    setup: &Setup,
    orders: Orders<'_>,
    snapshot: &mut Snapshot,
    reader: &Reader,
    capabilities: Capabilities,
    (settlements, group_settlements): (&[Settlement], &[GroupSettlement]),
    control: &Control<'_>,
) -> Result<Made, RunError> {
    let now = (control.now)();
    let verified_domains = verified_domains(setup, reader).await?;
    let settled: Vec<ManagedAccount> = settlements
        .iter()
        .filter_map(|settlement| settlement.account(now))
        .collect();
    let selections = selections(setup.config.sources.iter()).await?;
    let sources = setup.sourced(&selections);
    let (person, pulled) = match orders.person {
        None => {
            let depth = orders.depth;
            let pulled = pull(&sources, snapshot, &settled, depth, now, control.watch).await?;
            (None, pulled)
        }
        Some(who) => {
            let (key, pulled) = pull_person(&sources, snapshot, &settled, who, now).await?;
            (Some(key), pulled)
        }
    };
    control.watch.planning();
    let mut desired = pulled.desired;
    let mut concerned = desired.concerned();
    concerned.extend(settled.iter().map(|account| account.key.clone()));
    let mut doubtful_deletions = snapshot.doubtful_deletions().await?;
    doubtful_deletions.extend(
        settlements
            .iter()
            .filter(|one| one.settled == Settled::NotDone && one.operation.leaves_doubt())
            .map(|settlement| settlement.operation.key.clone()),
    );
    concerned.extend(
        settlements
            .iter()
            .filter_map(|one| one.operation.formerly.clone()),
    );
    let mut known = Known {
        accounts: snapshot.accounts(&concerned).await?,
        existing: Vec::new(),
        keeps_keys: reader.keeps_keys(),
        verified_domains,
        population: snapshot.population().await?,
        doubtful_deletions,
        last_run: snapshot.last_run().await?,
        api_time: capabilities.time,
        attempted: HashSet::new(),
        guarded_groups: GuardedGroups::default(),
        approvals: snapshot.approvals(now).await?,
        left_out: snapshot.left_out().await?,
        answers: Answers::default(),
        undone: snapshot.undone().await?,
        undone_groups: snapshot.undone_groups().await?,
        failures: snapshot
            .failures(setup.config.apply.quarantine_after)
            .await?,
        pending: snapshot.pending_deactivations().await?,
        rekeyed: HashSet::new(),
    };
    if known.population.all > 0 {
        let guards = &setup.config.guards;
        snapshot
            .population_by_scope(&mut known.population, guards)
            .await?;
        known.attempted = attempted(&desired, &known, snapshot).await?;
        let holders = snapshot.holders(&desired.identifiers()).await?;
        known.accounts.extend(holders);
    }
    for account in settled {
        known.settle(account);
    }
    for settlement in settlements {
        if let (Settled::Done(_), Some(formerly)) =
            (&settlement.settled, &settlement.operation.formerly)
        {
            known.accounts.remove(formerly);
        }
        if let (Settled::Done(_), true) = (&settlement.settled, settlement.operation.lets_go()) {
            known.accounts.remove(&settlement.operation.key);
        }
    }
    let ids = known.accounts.values().map(|account| &account.scim_id);
    known.rekeyed = snapshot.rekeyed(ids).await?;
    let policies = setup.config.policies(orders.accepts_scope_change);
    let accepted = snapshot.scopes().await?;
    let missing = sought(&desired, &known, &policies, now);
    locate(&sources, &accepted, missing, &mut desired, now).await;
    let newcomers = newcomers(&desired, &known, &policies, now);
    known.existing =
        existing_accounts((&desired, newcomers), &known, snapshot, reader, now).await?;
    let managed = setup.managed();
    for account in &mut known.existing {
        account
            .profile
            .retain(|attribute| managed.contains(&attribute));
    }
    tracing::debug!(
        accounts = known.accounts.len(),
        "what the plan needs is loaded"
    );
    let guards = &setup.config.guards;
    let make = |known: &Known| plan(&desired, known, &policies, guards, now);
    let mut plan = make(&known)?;
    let questions = questions(&plan, reader.way());
    known.answers = ask::ask(reader, &questions, &setup.config.organization).await;
    let mut is_news = known.answers.change_a_plan_of(questions.creations);
    // Their members are asked for only where somebody may be missing among them.
    let are_guarded_groups_read = guards.names_groups() && plan.departs();
    if are_guarded_groups_read {
        known.guarded_groups = reader.guarded_groups(guards).await?;
        is_news = true;
    }
    if is_news {
        plan = make(&known)?;
    } else {
        plan.forecast.unseen_rights = known.answers.unseen_rights;
        plan.forecast.unseen_addresses = known.answers.unseen_addresses;
    }
    if let Some(person) = &person {
        one_person(&mut plan, person, &snapshot.held().await?, &known.approvals);
    }
    tracing::debug!(operations = plan.operations.len(), "the plan is made");
    plan.notices = pulled.notices;
    let mut known_groups = KnownGroups::default();
    // A plan for one person is no place for what concerns many.
    if person.is_none() {
        let planned = groups::plan_groups(
            setup,
            snapshot,
            reader,
            (&desired, &known),
            &plan,
            group_settlements,
            orders.accepts_scope_change,
        )
        .await?;
        if let Some((groups, known)) = planned {
            plan.groups = Some(groups);
            known_groups = known;
        }
    }
    if !are_guarded_groups_read && groups::concern_administrators(&plan, guards) {
        known.guarded_groups = reader.guarded_groups(guards).await?;
    }
    groups::hold(&mut plan, snapshot, guards, &known, now).await?;
    if let Some(groups) = &mut plan.groups {
        groups.set_aside(&known.failures, now);
    }
    plan.fit(setup.config.apply.max_calls, reader.way(), now);
    end_absences(&mut plan, &desired, &known);
    let source_of = |key: &ExternalId| Some(known.accounts.get(key)?.source.clone());
    let recorded = Pulled {
        pulls: desired.pulls.clone(),
        cursors: pulled.cursors,
        verdicts: Some(plan.verdicts(&desired, &known.accounts)),
        scopes: scopes_in_force(&setup.config, accepted, &plan, &desired),
        // These are as many as there are operations: the people move there.
        deviations: desired.into_deviations(source_of),
    };
    let population = known.population.all;
    let mut rows = known.accounts;
    let planned = plan
        .operations
        .iter()
        .map(|planned| planned.operation.row());
    let concerned: HashSet<&ExternalId> = planned
        .chain(plan.notes.iter().map(|note| &note.key))
        .collect();
    rows.retain(|key, _| concerned.contains(key));
    drop(concerned);
    Ok(Made {
        plan,
        pulled: recorded,
        rows,
        groups: known_groups,
        population,
    })
}

/// The scopes to measure the next run by. An edited scope is in force as soon as it puts nobody
/// out, or who is put out was let go; until then the former one is kept.
fn scopes_in_force(
    config: &Config,
    mut former: BTreeMap<SourceName, SourceScope>,
    plan: &Plan,
    desired: &Desired,
) -> BTreeMap<SourceName, SourceScope> {
    let is_kept = |source: &SourceName| {
        let waits = |suspension: &Suspension| suspension.source == *source;
        plan.suspensions.iter().any(waits) || desired.pulls.values().any(Result::is_err)
    };
    let mut scopes = BTreeMap::new();
    for source in &config.sources {
        let scope = match former.remove(&source.name) {
            Some(former) if is_kept(&source.name) => former,
            _ => source.scope(),
        };
        scopes.insert(source.name.clone(), scope);
    }
    // Of those that are configured no more the people are still there.
    scopes.extend(former);
    scopes
}

/// The verified domains, where the admin key is there to read them. They save requests that
/// would be refused; only a run that needs the admin key anyway fails without them.
async fn verified_domains(
    setup: &Setup,
    reader: &Reader,
) -> Result<Option<BTreeSet<String>>, RunError> {
    if setup.config.organization.admin_key.is_none() {
        return Ok(None);
    }
    let needs_admin = setup.config.deletes() || !reader.keeps_keys();
    match reader.verified_domains().await {
        Ok(domains) => Ok(Some(domains)),
        Err(error) if needs_admin => Err(error.into()),
        Err(error) => {
            tracing::warn!(
                "the verified domains cannot be read, so nobody is skipped for theirs: {error}"
            );
            Ok(None)
        }
    }
}

/// The accounts of the provisioning directory that newcomers may already have.
async fn existing_accounts(
    (desired, newcomers): (&Desired, Vec<&DesiredAccount>),
    known: &Known,
    snapshot: &mut Snapshot,
    reader: &Reader,
    now: Timestamp,
) -> Result<Vec<ExistingAccount>, RunError> {
    let mut accounts = Vec::new();
    let is_first_run = known.population.all == 0 && !desired.different.is_empty();
    // A look-up cannot find an account by its e-mail address. Where a creation failed before,
    // that may have been the reason.
    let keys: Vec<&ExternalId> = newcomers.iter().map(|person| &person.key).collect();
    let has_failed = !snapshot.failed_creations(&keys).await?.is_empty();
    let is_listed = newcomers.len() > LOOK_UPS || is_first_run || has_failed;
    if is_listed {
        let addresses: HashSet<String> = desired
            .different
            .iter()
            .filter_map(|person| person.profile.get(Attribute::Email).map(fold))
            .collect();
        accounts = reader.all_accounts(&addresses).await?;
    } else {
        let mut seen = HashSet::new();
        for person in newcomers {
            let mut found = match person.profile.get(Attribute::Email) {
                Some(email) if !reader.keeps_keys() => reader.by_address(email).await?,
                _ => reader.by_external_id(&person.key).await?,
            };
            if let Some(name) = person.profile.get(Attribute::UserName) {
                found.extend(reader.by_user_name(name).await?);
            }
            accounts.extend(found.into_iter().filter(|a| seen.insert(a.scim_id.clone())));
        }
    }
    // An account that is managed for one person is not another's to take.
    let ids: Vec<_> = accounts
        .iter()
        .map(|account| account.scim_id.clone())
        .collect();
    let managed = snapshot.managed(&ids).await?;
    let rows = known.accounts.values();
    // What is still there although its grace is over holds its address, which the plan has to know.
    let (gone, there): (Vec<_>, Vec<_>) = rows.partition(|row| known.is_gone(row, now));
    let ids = |rows: Vec<&ManagedAccount>| -> HashSet<ScimId> {
        rows.into_iter().map(|row| row.scim_id.clone()).collect()
    };
    let (gone, there) = (ids(gone), ids(there));
    accounts.retain(|account| {
        let id = &account.scim_id;
        !there.contains(id) && (gone.contains(id) || !managed.contains(id))
    });
    Ok(accounts)
}
