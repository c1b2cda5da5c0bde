//! People without an account: known from before under another key, matched with an account that
//! the organization has, or given a new one.

use std::collections::{BTreeMap, HashMap};

use super::addresses::{parked, unique_attributes};
use super::draft::{Draft, active_change, back, differences, operation, operation_on};
use super::lifecycle::{self, Event, State, Step};
use super::{Desired, Known, Refusal, RefusalReason, SkipReason};
use crate::config::{Adopt, Departure, Policies, Policy, Return};
use crate::model::{
    Absence, Attribute, Cause, Change, DesiredAccount, ExistingAccount, ExternalId, Kind,
    Lifecycle, ManagedAccount, Operation, Profile, Reason, ScimId, Target, Timestamp, fold,
};

/// The organization's accounts by what newcomers are recognized by.
#[derive(Default)]
pub(super) struct Candidates<'a> {
    by_key: HashMap<String, Vec<&'a ExistingAccount>>,
    by_rule: HashMap<Vec<Attribute>, HashMap<Vec<String>, Vec<&'a ExistingAccount>>>,
    /// Whose the accounts of the snapshot are, or were.
    owners: HashMap<&'a ScimId, &'a ExternalId>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(known: &'a Known, policies: &Policies) -> Self {
        let rows = known.accounts.values();
        // What the organization still has although it should be gone is no newcomer's either.
        let (gone, there): (Vec<_>, Vec<_>) =
            rows.partition(|row| matches!(row.lifecycle, Lifecycle::Deleted { .. }));
        let rows = gone.into_iter().chain(there);
        let mut candidates = Candidates {
            owners: rows.map(|row| (&row.scim_id, &row.key)).collect(),
            ..Candidates::default()
        };
        let all = policies.of_sources.values().chain([&policies.default]);
        let rules = all.flat_map(|policy| policy.match_by.iter().cloned());
        for rule in rules.chain(unique_attributes().map(|attribute| vec![attribute])) {
            candidates.by_rule.entry(rule).or_default();
        }
        for account in &known.existing {
            if let Some(id) = &account.external_id {
                let same = candidates.by_key.entry(fold(id.as_str())).or_default();
                same.push(account);
            }
            for (rule, accounts) in &mut candidates.by_rule {
                if let Some(values) = values(&account.profile, rule) {
                    accounts.entry(values).or_default().push(account);
                }
            }
        }
        candidates
    }

    fn of_rule(&self, person: &DesiredAccount, rule: &[Attribute]) -> &[&'a ExistingAccount] {
        values(&person.profile, rule)
            .and_then(|values| self.by_rule.get(rule)?.get(&values))
            .map_or(&[], Vec::as_slice)
    }

    /// The accounts that match, with what matched: those of the person's key; else those that the
    /// first rule finds that finds any. An account that holds the person's address is among them in
    /// any case, as nobody else can have the address then.
    fn of(
        &self,
        person: &DesiredAccount,
        rules: &[Vec<Attribute>],
    ) -> Vec<(&'a ExistingAccount, String)> {
        let named = |accounts: &[&'a ExistingAccount], by: &str| -> Vec<_> {
            accounts.iter().map(|one| (*one, by.to_owned())).collect()
        };
        let of_key = self.by_key.get(&fold(person.key.as_str()));
        let mut found = named(of_key.map_or(&[], Vec::as_slice), Change::EXTERNAL_ID);
        for rule in rules {
            if found.is_empty() {
                found = named(self.of_rule(person, rule), &name(rule));
            }
        }
        for attribute in unique_attributes() {
            let rule = [attribute];
            for (account, by) in named(self.of_rule(person, &rule), &name(&rule)) {
                if !found
                    .iter()
                    .any(|(other, _)| other.scim_id == account.scim_id)
                {
                    found.push((account, by));
                }
            }
        }
        found
    }
}

/// The values that a rule compares, if there are all of them.
fn values(profile: &Profile, rule: &[Attribute]) -> Option<Vec<String>> {
    let values = rule.iter().map(|attribute| profile.get(*attribute));
    values.map(|value| value.map(fold)).collect()
}

/// What a rule compares, in words.
fn name(rule: &[Attribute]) -> String {
    let names: Vec<&str> = rule
        .iter()
        .map(|attribute| match attribute {
            Attribute::Email => "e-mail",
            other => other.name(),
        })
        .collect();
    names.join(" and ")
}

/// Takes out the adoptions of one account for several people: it can be one person's only.
pub(super) fn refuse_shared_accounts(operations: &mut Vec<Operation>) -> Vec<Refusal> {
    let adopted = |operation: &Operation| match &operation.target {
        Some(target) if operation.kind == Kind::Adopt => Some(target.scim_id.clone()),
        _ => None,
    };
    let mut people: HashMap<ScimId, Vec<String>> = HashMap::new();
    for operation in operations.iter() {
        if let Some(account) = adopted(operation) {
            people
                .entry(account)
                .or_default()
                .push(operation.dn.clone());
        }
    }
    people.retain(|_, people| people.len() > 1);
    let mut refusals = Vec::new();
    operations.retain(|operation| {
        let Some(people) = adopted(operation).and_then(|account| people.get(&account)) else {
            return true;
        };
        refusals.push(Refusal {
            key: Some(operation.key.clone()),
            source: operation.source.clone(),
            dn: operation.dn.clone(),
            why: shared(operation.label(), people),
        });
        false
    });
    refusals
}

fn shared(account: &str, people: &[String]) -> RefusalReason {
    RefusalReason::Shared {
        account: account.to_owned(),
        people: people.join("; "),
    }
}

fn describe(account: &ExistingAccount) -> String {
    format!(
        "{} <{}>, SCIM id {}, externalId {}",
        account.profile.label(),
        account.profile.get(Attribute::Email).unwrap_or("no e-mail"),
        account.scim_id,
        account
            .external_id
            .as_ref()
            .map_or("none", |id| id.as_str()),
    )
}

/// Whether no other provisioner has put its key on the account.
fn is_unowned(account: &ExistingAccount, person: &DesiredAccount) -> bool {
    account
        .external_id
        .as_ref()
        .is_none_or(|id| id.as_str().is_empty() || fold(id.as_str()) == fold(person.key.as_str()))
}

/// The snapshot's accounts by their addresses and employee numbers.
#[derive(Default)]
pub(super) struct Holders<'a>(HashMap<(Attribute, String), Vec<&'a ManagedAccount>>);

impl<'a> Holders<'a> {
    pub(super) fn new(known: &'a Known) -> Self {
        let mut holders = Holders::default();
        let mut accounts: Vec<&ManagedAccount> = known.accounts.values().collect();
        accounts.sort_by(|a, b| a.key.cmp(&b.key));
        for account in accounts {
            let values = account.profile.iter();
            for (attribute, value) in values.filter(|(attribute, _)| attribute.identifies()) {
                let same = holders.0.entry((attribute, fold(value))).or_default();
                same.push(account);
            }
        }
        holders
    }

    /// Those that have the person's value.
    fn of(&self, person: &DesiredAccount, attribute: Attribute) -> Vec<&'a ManagedAccount> {
        let value = person.profile.get(attribute).map(fold);
        let found = value.and_then(|value| self.0.get(&(attribute, value)));
        found.cloned().unwrap_or_default()
    }
}

/// A person without an account.
pub(super) struct Newcomer<'a> {
    pub(super) person: &'a DesiredAccount,
    /// Why the person comes.
    pub(super) reason: Reason,
    pub(super) admission: Admission,
}

/// Whether a newcomer can have an account now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Yes.
    Open,
    /// Not while others claim the same address or key, as it is not known as long what is whose; nor
    /// whoever is disabled and whose account is gone.
    Closed,
    /// Not with the address of the entry, as its domain is none of the organization's.
    Unverified,
}

/// The accounts that may be a newcomer's from before.
struct Predecessors<'a> {
    /// Each with what shows it.
    accounts: Vec<(&'a ManagedAccount, &'static str)>,
    /// Why it cannot be said which of them is, if any.
    doubt: Option<RefusalReason>,
}

/// What an account of somebody who is gone is to a newcomer.
struct Claim<'a> {
    person: &'a DesiredAccount,
    by: &'static str,
    admission: Admission,
    /// Whether the account goes to this one if it is nobody else's.
    is_heir: bool,
}

impl Claim<'_> {
    /// Whether it may as well be the account of this one as that of the person to whom this leads. A
    /// second entry without a login, or that never gets an account, is no rival of one with a login,
    /// unless it shows it better.
    fn rivals(&self, person: &DesiredAccount, by: &str) -> bool {
        let is_idle = self.admission == Admission::Unverified || !self.person.active;
        let is_better = self.by == NUMBER && by != NUMBER;
        let is_equal = !is_idle || !person.active && self.is_heir;
        self.person.key != person.key && (is_equal || is_better)
    }
}

/// Where the person of an account stands in a run.
enum Standing {
    /// In scope, or not known to be out of it.
    Here,
    /// Missing, without a proof in this run.
    Unproven,
    /// Out of scope.
    Gone {
        since: Timestamp,
        cause: Option<Cause>,
    },
    /// The account is gone for good.
    Ended,
}

const NUMBER: &str = "employee number";

/// Whether an account looks like the newcomer's, and by what. Different numbers tell people
/// apart, whatever their addresses.
fn same_person(
    person: &DesiredAccount,
    account: &ManagedAccount,
    is_shared: bool,
) -> Option<&'static str> {
    if account.key == person.key {
        return None;
    }
    let same = |attribute| {
        let (ours, theirs) = (
            person.profile.get(attribute)?,
            account.profile.get(attribute)?,
        );
        Some(fold(ours) == fold(theirs))
    };
    match same(Attribute::EmployeeNumber) {
        Some(true) if !is_shared => Some(NUMBER),
        Some(false) => None,
        _ if same(Attribute::Email) == Some(true) => Some("e-mail"),
        _ => None,
    }
}

/// Whether the account of an entry that is gone can be this one's. An entry without a login has it only as the
/// same entry, made anew, and so with the address: a second one of the person may have stood there all along,
/// and would take the account from whoever comes back to it. It is kept for both.
fn is_heir(person: &DesiredAccount, account: &ManagedAccount) -> bool {
    let address = |profile: &Profile| profile.get(Attribute::Email).map(fold);
    let ours = address(&person.profile);
    person.active || ours.is_some() && ours == address(&account.profile)
}

/// From when a cool-off is counted: the person gone, and without login.
fn free_from(account: &ManagedAccount, gone_since: Timestamp) -> Timestamp {
    match account.lifecycle {
        Lifecycle::Deactivated { since } | Lifecycle::DeletePending { since } => {
            since.max(gone_since)
        }
        Lifecycle::Active | Lifecycle::Deleted { .. } => gone_since,
    }
}

fn describe_managed(account: &ManagedAccount) -> String {
    format!("{} ({})", account.profile.label(), account.dn)
}

impl<'a> Draft<'a> {
    /// Sees to all who have no account. Whoever has one from before gets that if it can be nobody
    /// else's; the others are created or adopted, once it is known whose accounts are spoken for.
    pub(super) fn admit(&mut self, desired: &'a Desired) {
        let mut newcomers = std::mem::take(&mut self.newcomers);
        for (person, _) in &desired.repeated {
            let state = self.state(&person.key, self.policies.of(&person.source));
            if lifecycle::next(state, Event::Enabled) == Step::Create {
                newcomers.push(Newcomer {
                    person,
                    reason: Reason::Joined,
                    admission: Admission::Closed,
                });
            }
        }
        let found: Vec<Predecessors<'a>> = newcomers
            .iter()
            .map(|newcomer| self.predecessors(newcomer.person))
            .collect();
        let mut claims: HashMap<&ExternalId, Vec<Claim<'a>>> = HashMap::new();
        for (newcomer, found) in newcomers.iter().zip(&found) {
            for (account, by) in &found.accounts {
                claims.entry(&account.key).or_default().push(Claim {
                    person: newcomer.person,
                    by,
                    admission: newcomer.admission,
                    is_heir: is_heir(newcomer.person, account),
                });
            }
        }
        let rivals = |account: &ManagedAccount, person: &DesiredAccount, by: &str| {
            let claims = claims.get(&account.key).into_iter().flatten();
            let rivals = claims.filter(|one| one.rivals(person, by));
            let rivals: Vec<&str> = rivals.map(|one| one.person.dn.as_str()).collect();
            rivals.join("; ")
        };
        let mut strangers = Vec::new();
        for (newcomer, Predecessors { accounts, doubt }) in newcomers.into_iter().zip(found) {
            let Newcomer {
                person, admission, ..
            } = newcomer;
            let why = match (doubt, accounts.as_slice()) {
                (None, []) => {
                    strangers.push(newcomer);
                    continue;
                }
                (None, [(account, by)]) if !is_heir(person, account) => {
                    if admission == Admission::Open {
                        let holder = describe_managed(account);
                        self.skip(
                            &person.key,
                            &person.dn,
                            SkipReason::SecondEntry { holder, by },
                        );
                    }
                    None
                }
                (None, [(account, by)]) => {
                    let people = rivals(account, person, by);
                    let is_open = admission == Admission::Open && people.is_empty();
                    if is_open && !self.may_be_deleted(account) {
                        self.rehire(person, account, by);
                        continue;
                    }
                    let holder = describe_managed(account);
                    if is_open {
                        self.skip(&person.key, &person.dn, SkipReason::Uncancelled { holder });
                        None
                    } else {
                        Some(RefusalReason::SharedReturn { holder, people })
                    }
                }
                (doubt, _) => doubt,
            };
            for (account, _) in accounts {
                self.claimed.entry(&account.key).or_insert(&person.dn);
                let by = person.dn.clone();
                self.cancel(account, account.absence, Reason::Claimed { by });
            }
            if let (Some(why), Admission::Open) = (why, admission) {
                self.refuse(person, why);
            }
        }
        self.admit_strangers(strangers);
    }

    /// Creates or adopts the accounts of those who have none from before.
    fn admit_strangers(&mut self, strangers: Vec<Newcomer<'a>>) {
        let mut contested: HashMap<&ScimId, Vec<&str>> = HashMap::new();
        for one in &strangers {
            if one.admission == Admission::Closed {
                for (account, _) in self.candidates_of(one.person) {
                    let people = contested.entry(&account.scim_id).or_default();
                    people.push(&one.person.dn);
                }
            }
        }
        for Newcomer {
            person,
            reason,
            admission,
        } in strangers
        {
            if admission != Admission::Open {
                continue;
            }
            let mut found = self.candidates_of(person).into_iter();
            let shared = found.find_map(|(account, by)| {
                // The key is proof.
                if by == Change::EXTERNAL_ID {
                    return None;
                }
                let others = contested.get(&account.scim_id)?;
                let mut people: Vec<String> = others.iter().map(ToString::to_string).collect();
                people.push(person.dn.clone());
                Some(shared(account.profile.label(), &people))
            });
            match shared {
                Some(why) => self.refuse(person, why),
                None => self.admit_one(person, reason),
            }
        }
    }

    fn candidates_of(&self, person: &DesiredAccount) -> Vec<(&'a ExistingAccount, String)> {
        let policy = self.policies.of(&person.source);
        self.candidates.of(person, &policy.match_by)
    }

    fn admit_one(&mut self, person: &DesiredAccount, reason: Reason) {
        let policy = self.policies.of(&person.source);
        match self.candidates_of(person).as_slice() {
            [] if person.active => self.create(person, policy, reason),
            [] => self.skip(&person.key, &person.dn, SkipReason::DisabledNewcomer),
            [(account, by)] if self.is_somebody_elses(account, person) => self.refuse(
                person,
                RefusalReason::AddressTaken {
                    attribute: by.clone(),
                    value: account.profile.label().to_owned(),
                    holder: format!("{}, whom the directory has too", describe(account)),
                },
            ),
            [(account, by)] => match policy.adopt {
                Adopt::Off => self.refuse(
                    person,
                    RefusalReason::AdoptionOff {
                        candidate: describe(account),
                    },
                ),
                Adopt::Unowned if !is_unowned(account, person) => self.refuse(
                    person,
                    RefusalReason::Foreign {
                        candidate: describe(account),
                    },
                ),
                Adopt::Unowned | Adopt::Any => self.adopt(person, account, policy, by),
            },
            several => {
                let candidates = several
                    .iter()
                    .map(|(account, by)| format!("{} (same {by})", describe(account)))
                    .collect::<Vec<_>>()
                    .join("; ");
                self.refuse(person, RefusalReason::Ambiguous { candidates });
            }
        }
    }

    /// The accounts that may be the person's from before the entry was made anew.
    fn predecessors(&self, person: &DesiredAccount) -> Predecessors<'a> {
        let policy = self.policies.of(&person.source);
        let mut accounts: Vec<&'a ManagedAccount> = [Attribute::EmployeeNumber, Attribute::Email]
            .into_iter()
            .flat_map(|attribute| self.holders.of(person, attribute))
            .collect();
        accounts.sort_by(|a, b| a.key.cmp(&b.key));
        accounts.dedup_by(|a, b| a.key == b.key);
        // A number that others have as well identifies nobody.
        let of_number = self.holders.of(person, Attribute::EmployeeNumber);
        let is_shared = |with: &ManagedAccount| {
            let others = of_number.iter().copied();
            let mut others = others.filter(|one| one.key != person.key && one.key != with.key);
            others.any(|one| match self.standing(one) {
                Standing::Here => true,
                // Who was there all along is so although a pull was cut off.
                Standing::Unproven => one.lifecycle.is_active() && one.absence.is_none(),
                Standing::Gone { .. } | Standing::Ended => false,
            })
        };
        // An address may be somebody else's by now: whose old entry is still somewhere, or left
        // long ago, is not taken for the same person.
        let now = match self.is_clock_trusted {
            true => Some(self.now),
            false => self.known.api_time,
        };
        let is_long_ago = |since| now.is_some_and(|now| now - since >= policy.rehire_within);
        let is_anothers = |absence: Absence| {
            let is_elsewhere = absence.cause.is_some_and(|cause| cause != Cause::Deleted);
            is_elsewhere || is_long_ago(absence.since)
        };
        // Who may be the person, by what, and in doubt who it is said of.
        let mut found: Vec<(&'a ManagedAccount, &'static str)> = Vec::new();
        let mut doubtful = None;
        for account in accounts {
            let Some(by) = same_person(person, account, is_shared(account)) else {
                continue;
            };
            let is_found = match self.standing(account) {
                Standing::Here | Standing::Ended => continue,
                Standing::Unproven => {
                    doubtful.get_or_insert(account);
                    let noted = account.absence.filter(|absence| absence.pulls > 0);
                    by == NUMBER || !noted.is_some_and(is_anothers)
                }
                Standing::Gone { .. } if by == NUMBER => true,
                Standing::Gone { since, cause } => {
                    let is_found = cause == Some(Cause::Deleted) && !is_long_ago(since);
                    if is_found && !self.is_clock_trusted {
                        doubtful.get_or_insert(account);
                    }
                    is_found
                }
            };
            if is_found {
                found.push((account, by));
            }
        }
        let doubt = match (doubtful.map(describe_managed), found.as_slice()) {
            (Some(holder), _) => Some(RefusalReason::PerhapsReturned { holder }),
            (None, [] | [_]) => None,
            (None, several) => {
                let candidates: Vec<String> = several
                    .iter()
                    .map(|(account, by)| format!("{} (same {by})", describe_managed(account)))
                    .collect();
                let candidates = candidates.join("; ");
                Some(RefusalReason::AmbiguousReturn { candidates })
            }
        };
        Predecessors {
            accounts: found,
            doubt,
        }
    }

    /// Where the person of an account stands in this run.
    fn standing(&self, account: &ManagedAccount) -> Standing {
        let policy = self.policies.of(&account.source);
        if matches!(
            self.state(&account.key, policy),
            State::None | State::Expired | State::Deleted
        ) {
            return Standing::Ended;
        }
        if self.taken_over.contains(&account.key) {
            return Standing::Here;
        }
        let noted = account.absence.filter(|absence| absence.pulls > 0);
        if let Some(departed) = self.departures.get(&account.key) {
            let since = noted.map_or(self.now, |absence| absence.since);
            let cause = Some(departed.cause);
            Standing::Gone { since, cause }
        } else if self.absent.contains(&account.key) {
            Standing::Unproven
        } else if let (Some(absence), false) = (noted, self.present.contains(&account.key)) {
            // Of a source that was asked only for what changed.
            Standing::Gone {
                since: absence.since,
                cause: absence.cause,
            }
        } else {
            Standing::Here
        }
    }

    /// Whether the account is deactivated, its person is gone, and nothing else is to be done.
    fn is_departed(&self, account: &ManagedAccount) -> bool {
        let policy = self.policies.of(&account.source);
        self.is_clock_trusted && self.state(&account.key, policy) == State::Departed
    }

    /// Gives the account of the person's old entry to the new one.
    fn rehire(&mut self, person: &DesiredAccount, account: &'a ManagedAccount, by: &str) {
        let policy = self.policies.of(&person.source);
        self.taken_over.insert(&account.key);
        let was_active = account.lifecycle.is_active();
        let is_barred = !was_active && policy.on_return == Return::Keep;
        let keeps_login = !person.active && policy.on_disabled == Departure::Keep;
        let active = match (person.active, was_active) {
            (true, _) => !is_barred,
            (false, was_active) => was_active && keeps_login,
        };
        // As everywhere, a person who is disabled gets no other change.
        let mut after = account.profile.clone();
        after.set_local(&person.profile);
        if active {
            after = self.wanted(person, account, policy);
        }
        if person.active && is_barred {
            self.skip(&person.key, &person.dn, SkipReason::KeptOnReturn);
        }
        let kind = match (was_active, active) {
            (true, false) => Kind::Deactivate,
            (false, true) => Kind::Restore,
            (true, true) | (false, false) => Kind::Update,
        };
        let mut changes = Vec::new();
        if self.known.keeps_keys {
            changes.push(Change {
                attribute: Change::EXTERNAL_ID.to_owned(),
                old: Some(account.key.to_string()),
                new: Some(person.key.to_string()),
            });
        }
        changes.extend(differences(&account.profile, &after));
        changes.extend(active_change(was_active, active));
        self.operations.push(Operation {
            key: person.key.clone(),
            formerly: Some(account.key.clone()),
            after,
            active: (was_active, active),
            absence: account.absence.filter(|_| is_barred).map(back),
            changes,
            ..operation(person, account, kind, Reason::Rehired { by: by.to_owned() })
        });
    }

    /// Whether the account has the key of another person of the directory, or is still there although its
    /// grace is over, as long as its row is no tombstone.
    fn is_somebody_elses(&self, account: &ExistingAccount, person: &DesiredAccount) -> bool {
        let owner = self.candidates.owners.get(&account.scim_id);
        owner.is_some_and(|owner| **owner != person.key)
            || account.external_id.as_ref().is_some_and(|id| {
                let id = ExternalId::new(fold(id.as_str()));
                id != person.key && self.people.contains(&id)
            })
    }

    fn create(&mut self, person: &DesiredAccount, policy: &Policy, reason: Reason) {
        match self.recycled(person, policy) {
            Ok(parked) => self.operations.extend(parked),
            Err(why) => return self.refuse(person, why),
        }
        let before = Profile::default();
        self.operations.push(Operation {
            key: person.key.clone(),
            source: person.source.clone(),
            dn: person.dn.clone(),
            kind: Kind::Create,
            reason,
            target: None,
            changes: differences(&before, &person.profile),
            before,
            after: person.profile.clone(),
            active: (false, true),
            cancel_delete: false,
            deactivated_since: None,
            absence: None,
            formerly: None,
            former_row: None,
            undoes: None,
            waits_for: Vec::new(),
            wave: 0,
        });
    }

    /// What frees the person's addresses of people who have left: nothing, as a rule; after the
    /// cool-off the account of who had it gets another one.
    fn recycled(
        &self,
        person: &DesiredAccount,
        policy: &Policy,
    ) -> Result<Vec<Operation>, RefusalReason> {
        let mut freed: BTreeMap<&ExternalId, &ManagedAccount> = BTreeMap::new();
        for attribute in unique_attributes() {
            for account in self.holders.of(person, attribute) {
                let Standing::Gone { since, .. } = self.standing(account) else {
                    continue;
                };
                let is_claimed = self.claimed.contains_key(&account.key);
                let over = policy
                    .recycle_after
                    .map(|after| free_from(account, since) + after);
                match over {
                    // What is being deleted is left to that, and what may be somebody's to whoever clears it.
                    Some(over) if over <= self.now && self.is_departed(account) && !is_claimed => {
                        freed.insert(&account.key, account);
                    }
                    _ => {
                        return Err(RefusalReason::AddressRecycled {
                            attribute: attribute.name().to_owned(),
                            value: account.profile.get(attribute).unwrap_or_default().to_owned(),
                            holder: describe_managed(account),
                            since: since.format("%Y-%m-%d").to_string(),
                            way_out: match over {
                                _ if is_claimed => "the account may be that of another entry, of which is told too: settle that first".to_owned(),
                                Some(over) if over <= self.now => "the account is about to be deactivated or deleted; the next runs see to it".to_owned(),
                                Some(over) => format!(
                                    "it can be another's from {} (`recycle_after`)",
                                    over.format("%Y-%m-%d")
                                ),
                                None => "give the old entry's employee number to the new one if it is the same person; else free the address in the organization, or set `recycle_after` in [policy]".to_owned(),
                            },
                        });
                    }
                }
            }
        }
        // Others may have had it freed already.
        let is_freed = |key: &ExternalId| {
            let mut operations = self.operations.iter();
            operations.any(|other| other.reason == Reason::Recycled && other.key == *key)
        };
        Ok(freed
            .into_values()
            .filter(|account| !is_freed(&account.key))
            .map(|account| {
                let after = parked(account);
                Operation {
                    changes: differences(&account.profile, &after),
                    after,
                    absence: account.absence,
                    ..operation_on(account, Kind::Update, Reason::Recycled)
                }
            })
            .collect())
    }

    fn adopt(
        &mut self,
        person: &DesiredAccount,
        account: &ExistingAccount,
        policy: &Policy,
        by: &str,
    ) {
        let keeps = !person.active && policy.on_disabled == Departure::Keep;
        let active = if keeps { account.active } else { person.active };
        // As everywhere, a person who is disabled gets no other change.
        let mut after = if person.active {
            person.profile.clone()
        } else {
            account.profile.clone()
        };
        after.set_local(&person.profile);
        let mut changes = Vec::new();
        if self.known.keeps_keys && account.external_id.as_ref() != Some(&person.key) {
            changes.push(Change {
                attribute: Change::EXTERNAL_ID.to_owned(),
                old: account.external_id.as_ref().map(ToString::to_string),
                new: Some(person.key.to_string()),
            });
        }
        changes.extend(differences(&account.profile, &after));
        changes.extend(active_change(account.active, active));
        self.operations.push(Operation {
            key: person.key.clone(),
            source: person.source.clone(),
            dn: person.dn.clone(),
            kind: Kind::Adopt,
            reason: Reason::Found { by: by.to_owned() },
            target: Some(Target {
                scim_id: account.scim_id.clone(),
                account_id: account.account_id.clone(),
            }),
            before: account.profile.clone(),
            after,
            active: (account.active, active),
            cancel_delete: false,
            deactivated_since: None,
            absence: None,
            formerly: None,
            former_row: None,
            undoes: None,
            changes,
            waits_for: Vec::new(),
            wave: 0,
        });
    }
}
