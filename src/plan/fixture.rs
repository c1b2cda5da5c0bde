//! Builders for the tests of the planner and of the reports.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    Approval, Comparison, Desired, GuardedGroups, Index, Known, Plan, Population, Stop, Undone,
    plan, sought,
};
use crate::config::{Guard, Guards, Limit, Policies, Policy};
use crate::mapping::{Problem, Unmapped};
use crate::model::{
    Absence, AccountId, Answer, Attribute, Cause, Complete, DesiredAccount, ExistingAccount,
    ExternalId, Kind, Lifecycle, ManagedAccount, Operation, Profile, PullEnd, ScimId, SourceName,
    Timestamp, Whereabouts, fold,
};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The moment at which all tests plan.
pub(crate) fn now() -> Timestamp {
    at("2026-06-15T12:00:00Z")
}

pub(crate) fn key(name: &str) -> ExternalId {
    ExternalId::new(format!("key-{name}"))
}

pub(crate) fn source() -> SourceName {
    SourceName::new("directory")
}

pub(crate) fn profile(name: &str, mail: &str) -> Profile {
    [
        (Attribute::UserName, mail.to_owned()),
        (Attribute::Email, mail.to_owned()),
        (Attribute::DisplayName, name.to_owned()),
    ]
    .into_iter()
    .collect()
}

/// A person whose address is `name@example.org`.
pub(crate) fn person(name: &str) -> DesiredAccount {
    DesiredAccount {
        key: key(name),
        source: source(),
        dn: format!("uid={name},ou=people,dc=example,dc=org"),
        profile: profile(name, &format!("{name}@example.org")),
        active: true,
    }
}

pub(crate) fn disabled(name: &str) -> DesiredAccount {
    DesiredAccount {
        active: false,
        ..person(name)
    }
}

pub(crate) fn with(
    mut person: DesiredAccount,
    attribute: Attribute,
    value: &str,
) -> DesiredAccount {
    person.profile.set(attribute, value);
    person
}

pub(crate) fn with_mail(person: DesiredAccount, mail: &str) -> DesiredAccount {
    with(
        with(person, Attribute::UserName, mail),
        Attribute::Email,
        mail,
    )
}

/// The account that [`person`] has.
pub(crate) fn account(name: &str) -> ManagedAccount {
    let DesiredAccount {
        key,
        source,
        dn,
        profile,
        active: _,
    } = person(name);
    ManagedAccount {
        key,
        source,
        dn,
        scim_id: ScimId::new(format!("scim-{name}")),
        account_id: Some(AccountId::new(format!("557058:{name}"))),
        profile,
        lifecycle: Lifecycle::Active,
        absence: None,
    }
}

pub(crate) fn in_state(name: &str, lifecycle: Lifecycle, departed: Option<&str>) -> ManagedAccount {
    ManagedAccount {
        lifecycle,
        absence: departed.map(|since| Absence {
            since: at(since),
            cause: Some(Cause::Deleted),
            pulls: 1,
        }),
        ..account(name)
    }
}

pub(crate) fn existing(name: &str, external_id: Option<&str>) -> ExistingAccount {
    ExistingAccount {
        scim_id: ScimId::new(format!("scim-{name}")),
        account_id: Some(AccountId::new(format!("557058:{name}"))),
        external_id: external_id.map(ExternalId::new),
        profile: person(name).profile,
        active: true,
    }
}

pub(crate) fn unmapped(name: &str, with_key: bool) -> Unmapped {
    let missing = Problem::Missing {
        target: Attribute::Email,
        from: "`mail`".into(),
        skip: false,
    };
    let no_key = Problem::NoKey {
        attribute: "entryUUID".into(),
    };
    Unmapped {
        source: source(),
        dn: person(name).dn,
        key: with_key.then(|| key(name)),
        problem: if with_key { missing } else { no_key },
    }
}

/// Guards that let everything through.
pub(crate) fn no_guards() -> Guards {
    Guards {
        limits: BTreeMap::new(),
        ..Guards::default()
    }
}

/// A limit to so many.
pub(crate) fn at_most(number: u64) -> Limit {
    Limit {
        at_most: Some(number),
        ..Limit::default()
    }
}

/// A world to plan in.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) people: Vec<DesiredAccount>,
    pub(crate) unmapped: Vec<Unmapped>,
    pub(crate) accounts: Vec<ManagedAccount>,
    pub(crate) existing: Vec<ExistingAccount>,
    pub(crate) policy: Policy,
    pub(crate) guards: Guards,
    pub(crate) keeps_keys: bool,
    pub(crate) clean: Result<(), String>,
    pub(crate) now: Timestamp,
    pub(crate) verified_domains: Option<Vec<&'static str>>,
    pub(crate) doubtful: Vec<&'static str>,
    pub(crate) last_run: Option<Timestamp>,
    pub(crate) api_time: Option<Timestamp>,
    /// Where those are who are missing; deleted, unless it is said here.
    pub(crate) whereabouts: HashMap<ExternalId, Whereabouts>,
    pub(crate) accepts_scope_change: bool,
    /// Further sources that are configured, with the same policy.
    pub(crate) of_sources: Vec<&'static str>,
    pub(crate) attempted: Vec<&'static str>,
    pub(crate) groups: GuardedGroups,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) left_out: super::HeldForAll,
    /// Further sources, which were pulled in full.
    pub(crate) sources: Vec<&'static str>,
    pub(crate) answers: super::Answers,
    pub(crate) undone: Vec<Undone>,
    pub(crate) failures: super::Failures,
    pub(crate) pending: BTreeMap<ExternalId, super::PendingDeactivation>,
    pub(crate) rekeyed: HashSet<ScimId>,
}

impl World {
    pub(crate) fn new(people: Vec<DesiredAccount>, accounts: Vec<ManagedAccount>) -> Self {
        World {
            people,
            unmapped: Vec::new(),
            accounts,
            existing: Vec::new(),
            policy: Policy::default(),
            guards: no_guards(),
            keeps_keys: true,
            clean: Ok(()),
            now: now(),
            verified_domains: None,
            doubtful: Vec::new(),
            last_run: None,
            api_time: None,
            whereabouts: HashMap::new(),
            accepts_scope_change: false,
            of_sources: Vec::new(),
            attempted: Vec::new(),
            groups: GuardedGroups::default(),
            approvals: Vec::new(),
            left_out: super::HeldForAll::new(),
            sources: Vec::new(),
            answers: super::Answers::default(),
            undone: Vec::new(),
            failures: super::Failures {
                quarantine_after: 3,
                ..super::Failures::default()
            },
            pending: BTreeMap::new(),
            rekeyed: HashSet::new(),
        }
    }

    /// Limits a kind.
    pub(crate) fn limit(&mut self, guard: Guard, limit: Limit) {
        self.guards.limits.insert(guard, vec![limit]);
    }

    /// Approves what this hold holds, as far as `test` agrees.
    pub(crate) fn approve(&mut self, hold: &str, test: impl Fn(&Operation) -> bool) {
        let plan = self.planned();
        let at = plan.holds.iter().position(|one| one.name == hold).unwrap();
        for planned in &plan.operations {
            if planned.holds.contains(&at) && test(&planned.operation) {
                self.approvals.push(Approval {
                    id: self.approvals.len() as i64,
                    hold: hold.to_owned(),
                    digest: planned.operation.digest(),
                });
            }
        }
    }

    pub(crate) fn desired(&self) -> Desired {
        let further = || self.sources.iter().map(SourceName::new);
        let names = std::iter::once(source()).chain(further()).collect();
        let mut index = Index::new(names, HashSet::new());
        for account in &self.accounts {
            index.insert_account(account);
        }
        let mut comparison = Comparison::with(index);
        for person in &self.people {
            comparison.observe(Ok(person.clone()));
        }
        for unmapped in &self.unmapped {
            comparison.observe(Err(Box::new(unmapped.clone())));
        }
        let entries = (self.people.len() + self.unmapped.len()) as u64;
        let attest = |entries, clean| {
            Complete::attest(PullEnd {
                entries,
                changed: None,
                clean,
            })
        };
        let mut pulls = BTreeMap::from([(source(), attest(entries, self.clean.clone()))]);
        pulls.extend(further().map(|name| (name, attest(1, Ok(())))));
        comparison.finish(pulls)
    }

    /// Only what a run would load: what the planner does not ask for, it must not need.
    pub(crate) fn known(&self, desired: &Desired) -> Known {
        let concerned = desired.concerned();
        let addresses = desired.identifiers();
        let holds = |account: &ManagedAccount| {
            account.profile.iter().any(|(attribute, value)| {
                let wanted = addresses.get(&attribute);
                wanted.is_some_and(|wanted| wanted.contains(&fold(value)))
            })
        };
        let mut population = Population::default();
        for account in &self.accounts {
            population.enter(account);
        }
        Known {
            accounts: self
                .accounts
                .iter()
                .filter(|account| concerned.contains(&account.key) || holds(account))
                .map(|account| (account.key.clone(), account.clone()))
                .collect(),
            existing: self.existing.clone(),
            keeps_keys: self.keeps_keys,
            population,
            verified_domains: self
                .verified_domains
                .as_ref()
                .map(|domains| domains.iter().map(|domain| (*domain).to_owned()).collect()),
            doubtful_deletions: self.doubtful.iter().map(|name| key(name)).collect(),
            last_run: self.last_run,
            api_time: self.api_time,
            attempted: self.attempted.iter().map(|name| key(name)).collect(),
            guarded_groups: self.groups.clone(),
            approvals: self.approvals.clone(),
            left_out: self.left_out.clone(),
            answers: self.answers.clone(),
            undone: self.undone.clone(),
            undone_groups: Vec::new(),
            failures: self.failures.clone(),
            pending: self.pending.clone(),
            rekeyed: self.rekeyed.clone(),
        }
    }

    pub(crate) fn plan(&self) -> Result<Plan, Stop> {
        let mut desired = self.desired();
        let known = self.known(&desired);
        self.look_for(&mut desired, &known);
        plan(&desired, &known, &self.policies(), &self.guards, self.now)
    }

    pub(crate) fn policies(&self) -> Policies {
        Policies {
            default: self.policy.clone(),
            accepts_scope_change: self.accepts_scope_change,
            of_sources: self
                .of_sources
                .iter()
                .map(|name| (SourceName::new(*name), self.policy.clone()))
                .collect(),
        }
    }

    /// As a run does: only who is asked for is looked for.
    pub(crate) fn look_for(&self, desired: &mut Desired, known: &Known) {
        let missing: Vec<ExternalId> = sought(desired, known, &self.policies(), self.now)
            .iter()
            .map(|account| account.key.clone())
            .collect();
        for key in missing {
            let place = self.whereabouts.get(&key).cloned();
            let place = place.unwrap_or(Whereabouts::Out(Cause::Deleted));
            desired.whereabouts.insert(key, place);
        }
    }

    pub(crate) fn planned(&self) -> Plan {
        self.plan().unwrap()
    }

    /// The world after the plan was applied without a failure.
    pub(crate) fn apply(&mut self, plan: &Plan) {
        let approved = plan.approve();
        let mut released = Vec::new();
        let mut accounts: BTreeMap<ExternalId, ManagedAccount> = std::mem::take(&mut self.accounts)
            .into_iter()
            .map(|account| (account.key.clone(), account))
            .collect();
        for noted in approved.notes() {
            accounts.insert(noted.key.clone(), noted.clone());
        }
        for operation in approved.operations() {
            let answer = Answer {
                scim_id: match &operation.target {
                    Some(target) if operation.kind != Kind::Create => target.scim_id.clone(),
                    _ => ScimId::new(format!("new-{}", operation.key)),
                },
                account_id: None,
                request_id: None,
            };
            let account = operation.account_after(&answer, self.now);
            if let Some(formerly) = &operation.formerly {
                accounts.remove(formerly);
            }
            if operation.lets_go() {
                accounts.remove(&operation.key);
                let external_id = operation.external_id_after().map(ExternalId::new);
                released.push(ExistingAccount {
                    external_id,
                    ..shown(&account)
                });
                continue;
            }
            accounts.insert(account.key.clone(), account);
        }
        self.existing.retain(|existing| {
            !accounts
                .values()
                .any(|account| account.scim_id == existing.scim_id)
        });
        self.existing.extend(released);
        self.accounts = accounts.into_values().collect();
    }
}

/// A managed account as the organization shows it.
pub(crate) fn shown(account: &ManagedAccount) -> ExistingAccount {
    ExistingAccount {
        scim_id: account.scim_id.clone(),
        account_id: account.account_id.clone(),
        external_id: Some(account.key.clone()),
        profile: account.profile.clone(),
        active: account.lifecycle.is_active(),
    }
}

/// The operations as `kind name`, in their order, held ones with a `!`.
pub(crate) fn brief(plan: &Plan) -> Vec<String> {
    plan.operations
        .iter()
        .map(|planned| {
            let name = planned.operation.key.as_str().trim_start_matches("key-");
            let held = if planned.is_held() { "!" } else { "" };
            format!("{held}{} {name}", planned.operation.kind)
        })
        .collect()
}
