//! What is known of one person, step by step: from the base that finds the entry to the last
//! change of the account.
//!
//! Floor 5, pure: an [`Explanation`] is made of the configuration and of what the database has. What
//! a rule says is asked of `plan/`; nothing is decided here.

use serde::Serialize;

use crate::config::{Config, Source};
use crate::model::{
    Attribute, Cause, Change, DesiredAccount, Dn, ExternalId, Kind, Lifecycle, ManagedAccount,
    Profile, Reason, RunId, SourceName, Timestamp,
};
use crate::plan::{
    Failing, Failures, Outlook, Said, Seen, VerdictKind, approve_command, differing, outlook,
};
use crate::snapshot::{
    Dossier, GivenApproval, GivenRetry, Journalled, LastPull, OpenHold, RecordedRun,
};

/// What is known of one person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The moment of which it is.
    pub at: Timestamp,
    /// The name that a person would know the account by.
    pub name: String,
    /// The person's key, where the entry has a usable one.
    pub key: Option<ExternalId>,
    /// The entry.
    pub dn: String,
    /// Where the person comes from, as far as that is known.
    pub origin: Option<Origin>,
    /// What the last pull said of the person, in a sentence.
    pub said: String,
    /// The mapped attributes: what the directory wants, and what the account has.
    pub attributes: Vec<Values>,
    /// What tells what the directory wants; `None` where it wants nothing else.
    pub wanted_by: Option<String>,
    /// The account.
    pub account: Option<Account>,
    /// How the account was found to be the person's, the oldest first.
    pub matched: Vec<Step>,
    /// Where the account stands and what is to come.
    pub outlook: Outlook,
    /// The holds that hold something of this person.
    pub holds: Vec<Held>,
    /// What somebody has let through, the newest first.
    pub approvals: Vec<GivenApproval>,
    /// What was refused and is not tried now.
    pub failing: Option<Failing>,
    /// Who has let what was refused go again, the newest first.
    pub retries: Vec<GivenRetry>,
    /// The last run that has read the sources.
    pub reading: Option<RecordedRun>,
    /// The last run, if it was another one.
    pub later_run: Option<RecordedRun>,
    /// What it planned for the person, or why nothing.
    pub verdicts: Vec<String>,
    /// The last operations, the newest first.
    pub changes: Vec<Step>,
    /// How many older ones there are.
    pub more_changes: usize,
}

/// Where a person comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The source.
    pub source: SourceName,
    /// Who is in scope of it; `None` when it is configured no more.
    pub scope: Option<Scope>,
    /// How it was last pulled.
    pub pull: Option<LastPull>,
}

/// What decides who is in scope of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// The base that the entry is below; `None` where it is below none of them.
    pub base: Option<String>,
    /// How far below.
    pub reach: String,
    /// The search filter.
    pub filter: String,
    /// The further rules: the name of the key, and its value.
    pub rules: Vec<(&'static str, String)>,
}

/// The values of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Values {
    /// Its name.
    pub attribute: String,
    /// What the account has.
    pub account: Option<String>,
    /// What the directory wants, where that is known to be something else than the account is.
    pub wanted: Option<String>,
    /// Whether there is an account, and its value is another one.
    pub differs: bool,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its SCIM resource.
    pub scim_id: String,
    /// The Atlassian account behind it, once the organization has told it.
    pub account_id: Option<String>,
    /// Since when it is in its state.
    pub since: Option<Timestamp>,
    /// What is to be known of its key in the organization, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rekeyed: Option<String>,
}

/// An operation of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When it got as far as it got.
    pub at: Timestamp,
    /// The run.
    pub run: RunId,
    /// What it does.
    pub kind: Kind,
    /// Why.
    pub reason: String,
    /// The key under which the account was known before, if the entry was made anew.
    pub formerly: Option<ExternalId>,
    /// How far it got: `intended`, `sent`, `done`, `failed` or `left`.
    pub state: String,
    /// What changes.
    pub changes: Vec<Change>,
    /// The API's name for the request.
    pub request_id: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A hold that holds something of the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: i64,
    /// What it says, with its figures.
    pub message: String,
    /// Since when it is open.
    pub since: Timestamp,
    /// Until when it can be approved.
    pub until: Timestamp,
    /// What it holds.
    pub operations: Vec<HeldChange>,
    /// The command that lets it through; `None` where that cannot be done, or is done.
    pub command: Option<String>,
}

/// What a hold holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldChange {
    /// What is done.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// What changes.
    pub changes: Vec<Change>,
    /// Whether it is approved, for the next run.
    pub is_approved: bool,
}

/// Explains one person. `limit` is the most operations of the journal that are told.
pub fn explain(config: &Config, dossier: &Dossier, limit: usize, now: Timestamp) -> Explanation {
    let wish = Wish::of(dossier);
    let account = dossier.account.as_ref();
    let dn = wish
        .as_ref()
        .and_then(|wish| wish.dn.clone())
        .or(account.map(|account| account.dn.clone()))
        .or(dossier.who.dns.first().cloned())
        .unwrap_or_default();
    let source = source_of(dossier, wish.as_ref());
    let configured = source.as_ref().and_then(|source| {
        let mut sources = config.sources.iter();
        sources.find(|one| one.name == *source)
    });
    let Sight { seen, said } = if configured.is_none() && wish.is_none() && source.is_some() {
        sight_of_none()
    } else {
        sight(dossier, wish.as_ref())
    };
    Explanation {
        at: now,
        name: dossier.who.name.clone(),
        key: dossier.who.key.clone(),
        said,
        attributes: values(account, wish.as_ref()),
        wanted_by: wish.map(|wish| wish.told_by),
        account: account.map(|account| Account {
            scim_id: account.scim_id.to_string(),
            account_id: account.account_id.as_ref().map(ToString::to_string),
            since: since(account.lifecycle),
            rekeyed: dossier.other_key.as_ref().map(|key| rekeyed(key.as_ref())),
        }),
        matched: matched(dossier),
        outlook: prospects(config, dossier, source.as_ref(), seen, now),
        holds: dossier.holds.iter().map(|hold| held(hold, now)).collect(),
        approvals: dossier.approvals.clone(),
        failing: failing(config, dossier, now),
        retries: dossier.retries.clone(),
        verdicts: verdicts(dossier),
        reading: dossier.reading.clone(),
        later_run: dossier
            .last_run
            .clone()
            .filter(|run| Some(run.run) != dossier.reading.as_ref().map(|one| one.run)),
        changes: dossier.operations.iter().take(limit).map(step).collect(),
        more_changes: dossier.operations.len().saturating_sub(limit),
        origin: source.map(|source| Origin {
            scope: configured.map(|source| scope(source, &dn)),
            pull: dossier.pulls.get(&source).cloned(),
            source,
        }),
        dn,
    }
}

/// What it means that an account carries another key, or none.
fn rekeyed(key: Option<&ExternalId>) -> String {
    let carries = match key {
        Some(key) => format!("the key {key}"),
        None => "no key".to_owned(),
    };
    format!(
        "in the organization it carries {carries}, as `dirsyncd reconcile` found: it may be another tool's by now, and what is to be done to it is held as `rekeyed` until a reconcile finds the person's key there again, or somebody approves it"
    )
}

/// What the directory wants of an account, as far as it is known to be something else than the
/// account is.
struct Wish {
    profile: Profile,
    is_enabled: bool,
    source: Option<SourceName>,
    dn: Option<String>,
    told_by: String,
}

impl Wish {
    fn of(dossier: &Dossier) -> Option<Self> {
        let run = dossier.reading.as_ref().map(|reading| reading.run);
        let last_pull = match run {
            Some(run) => format!("the pull of run {run}"),
            None => "the last pull".to_owned(),
        };
        let of_person = |person: &DesiredAccount| Wish {
            profile: person.profile.clone(),
            is_enabled: person.active,
            source: Some(person.source.clone()),
            dn: Some(person.dn.clone()),
            told_by: last_pull.clone(),
        };
        if let Some(Said::Wants(person)) = dossier.deviation.as_ref().map(|one| &one.said) {
            return Some(of_person(person));
        }
        let wants = dossier.verdicts.iter().find_map(|one| one.wants.as_ref());
        wants
            .map(of_person)
            .or_else(|| Self::of_held(dossier))
            .or_else(|| Self::of_unfinished(dossier))
    }

    /// What is held.
    fn of_held(dossier: &Dossier) -> Option<Self> {
        let (hold, operation) = dossier.holds.iter().find_map(|hold| {
            let mut operations = hold.operations.iter();
            let wishes =
                operations.find(|operation| operation.detail.why.as_ref().is_some_and(is_wish))?;
            Some((hold, wishes))
        })?;
        let account = dossier.account.as_ref();
        let mut profile = account.map_or(Profile::default(), |one| one.profile.clone());
        let mut is_enabled = account.is_none_or(|one| one.lifecycle.is_active());
        for change in &operation.detail.changes {
            let new = change.new.clone().unwrap_or_default();
            match change.attribute.parse::<Attribute>() {
                Ok(attribute) => profile.set(attribute, new),
                Err(_) if change.attribute == Change::ACTIVE => is_enabled = new == "true",
                Err(_) => {}
            }
        }
        Some(Wish {
            profile,
            is_enabled,
            source: Some(SourceName::new(&operation.detail.source)),
            dn: Some(operation.detail.dn.clone()),
            told_by: format!("what the hold `{}` holds", hold.name),
        })
    }

    /// What the last run has not got done.
    fn of_unfinished(dossier: &Dossier) -> Option<Self> {
        let last = unfinished(dossier).find(|one| is_wish(&one.operation.reason))?;
        Some(Wish {
            profile: last.operation.after.clone(),
            is_enabled: last.operation.active.1,
            source: Some(last.operation.source.clone()),
            dn: Some(last.operation.dn.clone()),
            told_by: format!("what run {} was going to do", last.run),
        })
    }
}

/// Whether an operation for this reason makes the account as the directory wants it.
fn is_wish(reason: &Reason) -> bool {
    match reason {
        Reason::Joined
        | Reason::JoinedAgain
        | Reason::Found { .. }
        | Reason::Changed
        | Reason::Disabled
        | Reason::Returned
        | Reason::Rehired { .. }
        | Reason::Enabled => true,
        Reason::Left { .. }
        | Reason::Claimed { .. }
        | Reason::LeftLongAgo { .. }
        | Reason::MakesWay
        | Reason::Recycled
        | Reason::Reverted { .. } => false,
    }
}

/// The operations that the last run that read the sources, or one after it, has not got done.
fn unfinished(dossier: &Dossier) -> impl Iterator<Item = &Journalled> {
    let since = dossier.reading.as_ref().map(|reading| reading.run);
    let recent = dossier.operations.iter();
    let recent = recent.take_while(move |one| since.is_some_and(|since| one.run >= since));
    // Whatever was done afterwards goes before it.
    recent.take_while(|one| !one.is_done())
}

struct Sight {
    seen: Seen,
    said: String,
}

/// Where the account stands and what is to come. What follows now is left to the verdicts where
/// there are some: they are why it does not.
fn prospects(
    config: &Config,
    dossier: &Dossier,
    source: Option<&SourceName>,
    seen: Seen,
    now: Timestamp,
) -> Outlook {
    let policies = config.policies(false);
    // Of no source that has a policy of its own.
    let none = SourceName::new("");
    let account = dossier.account.as_ref();
    let source = source.unwrap_or(&none);
    let is_doubtful = dossier.is_doubtful;
    let mut outlook = outlook(account, seen, source, &policies, now, is_doubtful);
    let mut verdicts = dossier.verdicts.iter();
    if verdicts.any(|one| one.kind != VerdictKind::Waiting) {
        outlook.now = None;
    }
    outlook
}

/// What no pull says of the people of a source that there is no more.
fn sight_of_none() -> Sight {
    Sight {
        seen: Seen::Unknown,
        said: "nothing, as the source is configured no more".to_owned(),
    }
}

/// What the pulls are known to have said of the person.
fn sight(dossier: &Dossier, wish: Option<&Wish>) -> Sight {
    let sight = |seen, said: String| Sight { seen, said };
    let present = |is_enabled, said: &str| sight(Seen::Present { is_enabled }, said.to_owned());
    let account = dossier.account.as_ref();
    if let Some(wish) = wish {
        let said = match (account.is_some(), wish.is_enabled) {
            (false, true) => "in scope, and without an account",
            (false, false) => "in scope and disabled, and without an account",
            (true, true) => "in scope, and not as the account is",
            (true, false) => "in scope and disabled, and not as the account is",
        };
        return present(wish.is_enabled, said);
    }
    if let Some(absence) = account.and_then(|account| account.absence) {
        let since = day(absence.since);
        return match (absence.pulls, absence.cause) {
            (0, _) => present(true, "in scope again; the login stays off"),
            (pulls, Some(cause)) => sight(
                Seen::Absent(cause),
                format!("{cause}: missing since {since}, seen by {}", times(pulls)),
            ),
            (pulls, None) => sight(
                Seen::Unknown,
                format!(
                    "missing since {since}, seen by {}; why is not found out yet",
                    times(pulls)
                ),
            ),
        };
    }
    if let Some(cause) = departure(dossier) {
        let said = format!("{cause}; the account's departure is planned, and not done");
        return sight(Seen::Absent(cause), said);
    }
    match dossier.deviation.as_ref().map(|one| &one.said) {
        Some(Said::Unmapped(unmapped)) => {
            let said = format!(
                "an entry that no account can be made of: {}",
                unmapped.problem
            );
            return sight(Seen::Unknown, said);
        }
        Some(Said::Gone) => return sight(Seen::Unknown, "not seen".to_owned()),
        Some(Said::Wants(_)) | None => {}
    }
    let mut told = dossier.verdicts.iter();
    match told.find(|one| one.kind != VerdictKind::Waiting) {
        Some(told) if told.kind == VerdictKind::Suspended => sight(
            Seen::Unknown,
            "not seen, which is no proof of anything".to_owned(),
        ),
        Some(_) => sight(
            Seen::Unknown,
            "nothing that an account could be made of, or changed by".to_owned(),
        ),
        None => match account.map(|account| account.lifecycle) {
            None => sight(Seen::Unknown, "nothing is known".to_owned()),
            Some(Lifecycle::Active) => present(true, "in scope, and as the account is"),
            Some(_) => present(false, "in scope and disabled, as the account is"),
        },
    }
}

/// Why the person's account is to be taken away, where that is planned and not done.
fn departure(dossier: &Dossier) -> Option<Cause> {
    let held = dossier.holds.iter().flat_map(|hold| &hold.operations);
    let held = held.filter_map(|operation| operation.detail.why.as_ref());
    let unfinished = unfinished(dossier).map(|one| &one.operation.reason);
    held.chain(unfinished).find_map(|reason| match reason {
        Reason::Left { why } => Some(*why),
        _ => None,
    })
}

fn source_of(dossier: &Dossier, wish: Option<&Wish>) -> Option<SourceName> {
    let of_wish = wish.and_then(|wish| wish.source.clone());
    let of_deviation = dossier.deviation.as_ref().map(|one| one.source.clone());
    let of_account = dossier.account.as_ref().map(|one| one.source.clone());
    let of_verdict = dossier.verdicts.iter().find_map(|one| one.source.clone());
    let of_journal = dossier.operations.first();
    of_wish
        .or(of_deviation)
        .or(of_account)
        .or(of_verdict)
        .or(of_journal.map(|one| one.operation.source.clone()))
}

fn scope(source: &Source, dn: &str) -> Scope {
    let dn = Dn::parse(dn).ok();
    let search = &source.search;
    let base = search.bases.iter().find(|(_, base)| {
        let dn = dn.as_ref();
        dn.is_some_and(|dn| dn.is_within(base, search.scope))
    });
    let scope = source.scope();
    let lists = [
        ("members_of", scope.members_of.join("; ")),
        ("exclude_base", scope.exclude_bases.join("; ")),
        ("exclude_members_of", scope.exclude_members_of.join("; ")),
        ("include", scope.include.unwrap_or_default()),
        ("exclude", scope.exclude.unwrap_or_default()),
    ];
    Scope {
        base: base.map(|(text, _)| text.clone()),
        reach: search.scope.to_string(),
        filter: scope.filter,
        rules: lists
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect(),
    }
}

fn values(account: Option<&ManagedAccount>, wish: Option<&Wish>) -> Vec<Values> {
    let none = Profile::default();
    let has = account.map_or(&none, |account| &account.profile);
    let wanted = wish.map(|wish| &wish.profile);
    let differences = wanted.map_or(Vec::new(), |wanted| differing(has, wanted));
    let differs = |name: &str| differences.iter().any(|change| change.attribute == name);
    let text = |profile: &Profile, attribute| profile.get(attribute).map(str::to_owned);
    let mut values: Vec<Values> = Attribute::ALL
        .into_iter()
        .map(|attribute| Values {
            attribute: attribute.name().to_owned(),
            account: text(has, attribute),
            wanted: wanted.and_then(|wanted| text(wanted, attribute)),
            differs: account.is_some() && differs(attribute.name()),
        })
        .filter(|values| values.account.is_some() || values.wanted.is_some())
        .collect();
    let logs_in = account.map(|account| account.lifecycle.is_active());
    let may_log_in = wish.map(|wish| wish.is_enabled);
    if logs_in.is_some() || may_log_in.is_some() {
        values.push(Values {
            attribute: "active".to_owned(),
            account: logs_in.map(|one| one.to_string()),
            wanted: may_log_in.map(|one| one.to_string()),
            differs: matches!((logs_in, may_log_in), (Some(has), Some(wants)) if has != wants),
        });
    }
    values
}

fn since(lifecycle: Lifecycle) -> Option<Timestamp> {
    match lifecycle {
        Lifecycle::Active => None,
        Lifecycle::Deactivated { since }
        | Lifecycle::DeletePending { since }
        | Lifecycle::Deleted { since } => Some(since),
    }
}

/// The operations by which the account became the person's: its making or adoption, and what gave
/// it to the keys after that.
fn matched(dossier: &Dossier) -> Vec<Step> {
    if dossier.account.is_none() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    for one in dossier.operations.iter().filter(|one| one.is_done()) {
        let is_first = matches!(one.operation.kind, Kind::Create | Kind::Adopt);
        if is_first || one.operation.formerly.is_some() {
            steps.push(step(one));
        }
        if is_first {
            break;
        }
    }
    steps.reverse();
    steps
}

fn step(journalled: &Journalled) -> Step {
    let operation = &journalled.operation;
    Step {
        at: journalled.at,
        run: journalled.run,
        kind: operation.kind,
        reason: operation.reason.to_string(),
        formerly: operation.formerly.clone(),
        state: journalled.state.clone(),
        changes: operation.changes.clone(),
        request_id: journalled.request_id.clone(),
        error: journalled.error.clone(),
    }
}

fn held(hold: &OpenHold, now: Timestamp) -> Held {
    let operations = hold.operations.iter();
    let is_approved = operations.clone().all(|operation| operation.is_approved);
    let can_be = hold.figures.can_be_approved && !is_approved && hold.opened.until > now;
    let key = hold.operations.first().map(|one| one.key.as_str());
    Held {
        name: hold.name.clone(),
        number: hold.opened.number,
        message: hold.message.clone(),
        since: hold.opened.since,
        until: hold.opened.until,
        command: can_be.then(|| approve_command(&hold.name, key)),
        operations: operations
            .map(|operation| HeldChange {
                kind: operation.kind.clone(),
                reason: operation.detail.reason.clone(),
                changes: operation.detail.changes.clone(),
                is_approved: operation.is_approved,
            })
            .collect(),
    }
}

/// What became of the person in the last run that has read the sources, and since.
fn verdicts(dossier: &Dossier) -> Vec<String> {
    let mut all: Vec<String> = dossier
        .verdicts
        .iter()
        .map(|one| format!("{}: {}", one.kind, one.sentence))
        .collect();
    for hold in &dossier.holds {
        for operation in &hold.operations {
            let (kind, why) = (&operation.kind, &operation.detail.reason);
            all.push(format!("held by `{}`: {kind}, {why}", hold.name));
        }
    }
    let Some(reading) = &dossier.reading else {
        return all;
    };
    let recent = dossier.operations.iter();
    for one in recent.take_while(|one| one.run >= reading.run) {
        let operation = &one.operation;
        let error = one
            .error
            .as_ref()
            .map_or(String::new(), |error| format!(": {error}"));
        let by = match one.run == reading.run {
            true => String::new(),
            false => format!(" by run {}", one.run),
        };
        all.push(format!(
            "{}{by}: {}, {}{error}",
            one.state, operation.kind, operation.reason
        ));
    }
    if all.is_empty() {
        let nothing = match dossier.account {
            Some(_) => "nothing to do",
            None => "nothing is recorded of the person",
        };
        all.push(nothing.to_owned());
    }
    all
}

/// What was refused and is not tried now.
fn failing(config: &Config, dossier: &Dossier, now: Timestamp) -> Option<Failing> {
    let (failed, operation) = dossier.failed.as_ref()?;
    let failures = Failures {
        people: [(operation.key.clone(), failed.clone())].into(),
        quarantine_after: config.apply.quarantine_after,
        ..Failures::default()
    };
    failures.of(operation, now)
}

fn day(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn times(pulls: u32) -> String {
    match pulls {
        1 => "1 complete pull".to_owned(),
        pulls => format!("{pulls} complete pulls"),
    }
}

#[cfg(test)]
mod tests;
