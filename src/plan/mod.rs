//! The decision core: from what the directory wants and what the snapshot knows to a plan.
//!
//! Floor 1: pure. No I/O, no clock, no randomness, no async: `plan(desired, known, policy,
//! guards, now)` gives the same operations for the same inputs, so that what a dry run shows is
//! what a real run does.
//!
//! - [`compare`] takes the mapped entries as they stream by and keeps only those that differ;
//! - [`lifecycle`] is the state machine: what an account's state and a person's presence lead to;
//! - [`addresses`] keeps user names and e-mail addresses unique, and orders the operations;
//! - [`guard`] holds what exceeds a limit, and makes the [`ApprovedPlan`] that alone may be sent.

mod addresses;
mod compare;
mod guard;
mod lifecycle;
mod newcomer;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::config::{Guards, Policy};
use crate::mapping::{Problem, Unmapped};
use crate::model::{
    Attribute, Change, Complete, DesiredAccount, ExistingAccount, ExternalId, Incomplete, Kind,
    Lifecycle, ManagedAccount, Operation, Profile, Reason, SourceName, Target, Timestamp, fold,
};

pub use compare::{Comparison, Contested, Desired, Index, Pulls};
pub use guard::{Approved, ApprovedPlan, Guard, Hold, HoldCause};

use lifecycle::{Presence, Situation, Step};

/// What the snapshot and the organization know, as far as the plan is concerned.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The managed accounts that [`Desired::concerned`] names, and all that are not settled.
    pub accounts: HashMap<ExternalId, ManagedAccount>,
    /// Accounts of the provisioning directory that are not managed yet and that newcomers may
    /// already have.
    pub existing: Vec<ExistingAccount>,
    /// Whether accounts carry the person's key, so that taking one over writes it.
    pub keeps_keys: bool,
    /// How many accounts there are, for the guards.
    pub population: Population,
    /// The organization's verified domains, in lower case; `None` when they could not be read.
    pub verified_domains: Option<BTreeSet<String>>,
    /// People whose deletion was sent and never answered: it may be under way.
    pub doubtful_deletions: HashSet<ExternalId>,
    /// When the last run began, by this machine's clock.
    pub last_run: Option<Timestamp>,
    /// What the organization's API says that the time is.
    pub api_time: Option<Timestamp>,
}

impl Known {
    /// Takes in what became of an operation that the snapshot does not know of yet.
    pub fn settle(&mut self, account: ManagedAccount) {
        let before = self.accounts.get(&account.key);
        let count = |account: &ManagedAccount| match account.lifecycle {
            Lifecycle::Active => (1, 1),
            Lifecycle::Deactivated { .. } | Lifecycle::DeletePending { .. } => (0, 1),
            Lifecycle::Deleted { .. } => (0, 0),
        };
        let (active, all) = before.map_or((0, 0), count);
        let (now_active, now_all) = count(&account);
        let Population {
            active: total_active,
            all: total,
        } = &mut self.population;
        *total_active = (*total_active + now_active).saturating_sub(active);
        *total = (*total + now_all).saturating_sub(all);
        self.accounts.insert(account.key.clone(), account);
    }
}

/// How many accounts the snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// Active ones.
    pub active: u64,
    /// All but the deleted ones.
    pub all: u64,
}

/// What a run would do, or does.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The operations in the order in which they are sent.
    pub operations: Vec<Planned>,
    /// What holds some of them back.
    pub holds: Vec<Hold>,
    /// People for whom nothing is done because something is wrong with them.
    pub refusals: Vec<Refusal>,
    /// People for whom nothing is done, as configured.
    pub skipped: Vec<Skipped>,
    /// Sources whose absences are not believed in this run.
    pub suspensions: Vec<Suspension>,
    /// Rows of the snapshot to be brought up to date without an outside write.
    pub notes: Vec<ManagedAccount>,
    /// The figures of the pulls.
    pub pulls: BTreeMap<SourceName, u64>,
    /// People whose account is as the directory wants it.
    pub unchanged: u64,
}

/// An operation and what holds it back, if anything.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The operation.
    pub operation: Operation,
    /// The index of the hold in [`Plan::holds`].
    pub hold: Option<usize>,
}

/// A person for whom nothing is done because something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The person's key, where it is known.
    pub key: Option<ExternalId>,
    /// The source of the entry.
    pub source: SourceName,
    /// The entry.
    pub dn: String,
    /// What is wrong, and the way out.
    pub why: RefusalReason,
}

/// Why nothing is done for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// The entry cannot be mapped.
    #[error(transparent)]
    Unmapped(#[from] Problem),
    /// Several entries have one key.
    #[error(
        "another entry has the same key {key}: {other}; a key belongs to one entry, so nothing is done for either"
    )]
    RepeatedKey {
        /// The key.
        key: ExternalId,
        /// The other entry.
        other: String,
    },
    /// Several people have one address.
    #[error(
        "{attribute} {value} is also that of {others}: an address belongs to one account; correct it in the directory"
    )]
    Contested {
        /// `userName` or `email`.
        attribute: String,
        /// The value.
        value: String,
        /// The other people.
        others: String,
    },
    /// Another account holds the address.
    #[error(
        "{attribute} {value} belongs to another account: {holder}; free it there, or correct the entry"
    )]
    AddressTaken {
        /// `userName` or `email`.
        attribute: String,
        /// The value.
        value: String,
        /// Who holds it.
        holder: String,
    },
    /// Several people exchange their addresses.
    #[error(
        "the new address is freed only by a change that waits for this one ({others}): let one of them have another address for one run"
    )]
    AddressCycle {
        /// The others in the cycle.
        others: String,
    },
    /// Several accounts of the organization could be the person's.
    #[error(
        "several accounts of the organization match: {candidates}; settle in the organization which of them is the person's"
    )]
    Ambiguous {
        /// The accounts.
        candidates: String,
    },
    /// Several people match one account of the organization.
    #[error(
        "the organization's account {account} matches several people ({people}): settle in the organization whose it is"
    )]
    Shared {
        /// The account.
        account: String,
        /// The people.
        people: String,
    },
    /// The organization has the account, and adoption is off.
    #[error(
        "the organization has this account already ({candidate}), and `adopt = false` in [policy] forbids to take it over"
    )]
    AdoptionOff {
        /// The account.
        candidate: String,
    },
}

/// A person for whom nothing is done, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The person's key, where it is known.
    pub key: Option<ExternalId>,
    /// The entry.
    pub dn: String,
    /// Why.
    pub why: SkipReason,
}

/// Why a person is skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// Disabled before there was an account.
    #[error("disabled in the directory, and without an account")]
    DisabledNewcomer,
    /// No address, and the configuration says that such people are skipped.
    #[error("{0}")]
    WithoutMail(Problem),
    /// The address is on a domain that is not the organization's.
    #[error(
        "the domain of {email} is not among the organization's verified domains ({verified}): verify it there, or correct the address"
    )]
    UnverifiedDomain {
        /// The address.
        email: String,
        /// The verified domains.
        verified: String,
    },
    /// Left, and the account is kept by policy.
    #[error("left the directory; the account is kept (`on_leave = \"keep\"`)")]
    KeptOnLeave,
    /// Disabled, and the account is kept by policy.
    #[error("disabled in the directory; the account is kept (`on_disabled = \"keep\"`)")]
    KeptOnDisabled,
}

/// A source because of which no absence is believed in this run: whoever is missing anywhere
/// may be in what was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The source.
    pub source: SourceName,
    /// How many people were not seen in any source.
    pub absent: u64,
    /// Why that is no proof that they left.
    pub why: Disbelief,
}

/// Why an absence is no proof of a departure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// The pull did not see all there is.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// Any of the missing people may be one of the entries without a key.
    #[error("entries without a usable key: {0}; any of them may be one of those missing")]
    Unidentified(u64),
}

/// Why a whole plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The source has nobody.
    #[error(
        "the source `{0}` returned no entry at all: that is taken for a fault, not for everybody's departure; check its base, scope and filter, and what the bind DN may read (dirsyncd check)"
    )]
    EmptyPull(SourceName),
}

impl Plan {
    /// How many operations of a kind are planned.
    pub fn count(&self, kind: Kind) -> usize {
        self.operations
            .iter()
            .filter(|planned| planned.operation.kind == kind)
            .count()
    }

    /// How many operations are held.
    pub fn held(&self) -> usize {
        self.operations
            .iter()
            .filter(|planned| planned.hold.is_some())
            .count()
    }

    /// Whether something is to be sent now.
    pub fn has_pending(&self) -> bool {
        self.operations.iter().any(|planned| planned.hold.is_none())
    }

    /// Whether a person has to look: something is held, refused or not believed.
    pub fn needs_attention(&self) -> bool {
        !self.holds.is_empty() || !self.refusals.is_empty() || !self.suspensions.is_empty()
    }
}

/// Plans a run.
///
/// The order of the inputs does not matter. A departure is planned only for the people of a
/// source whose pull carries a [`Complete`](crate::model::Complete) token in `desired`, all of
/// whose entries could be told apart.
pub fn plan(
    desired: &Desired,
    known: &Known,
    policy: &Policy,
    guards: &Guards,
    now: Timestamp,
) -> Result<Plan, Stop> {
    let pulls: BTreeMap<SourceName, u64> = desired
        .pulls
        .iter()
        .map(|(source, pull)| {
            (
                source.clone(),
                pull.as_ref()
                    .map_or_else(|cut| cut.entries, Complete::entries),
            )
        })
        .collect();
    if let Some((source, _)) = pulls.iter().find(|(_, entries)| **entries == 0) {
        return Err(Stop::EmptyPull(source.clone()));
    }
    let clock_fault = guard::clock_fault(known, now);
    let mut draft = Draft {
        known,
        policy,
        now,
        is_clock_trusted: clock_fault.is_none(),
        people: desired
            .different
            .iter()
            .map(|person| &person.key)
            .chain(known.accounts.keys())
            .collect(),
        operations: Vec::new(),
        plan: Plan::default(),
    };
    draft.plan.unchanged = desired.unchanged;
    draft.plan.pulls = pulls;
    for unmapped in &desired.unmapped {
        draft.refuse_or_skip(unmapped);
    }
    for (account, other) in &desired.repeated {
        draft.refuse(
            account,
            RefusalReason::RepeatedKey {
                key: account.key.clone(),
                other: other.clone(),
            },
        );
    }
    let contested = addresses::contested(desired, known);
    for person in &desired.different {
        // Whoever is disabled takes no address, and loses the login whoever has it. But which
        // account a newcomer's address leads to is open as long as it is contested.
        let takes_none = !person.active && known.accounts.contains_key(&person.key);
        match contested.get(&person.key) {
            Some(why) if !takes_none => draft.refuse(person, why.clone()),
            _ => draft.present(person),
        }
    }
    draft.absent(desired);
    let Draft {
        mut operations,
        mut plan,
        ..
    } = draft;
    plan.refusals
        .extend(newcomer::refuse_shared_accounts(&mut operations));
    plan.refusals
        .extend(addresses::settle(&mut operations, known));
    let holds = guard::holds(&operations, known, guards, clock_fault);
    plan.operations = guard::apply_holds(operations, &holds);
    plan.holds = holds;
    plan.refusals
        .sort_by(|a, b| (&a.dn, &a.key).cmp(&(&b.dn, &b.key)));
    plan.skipped
        .sort_by(|a, b| (&a.dn, &a.key).cmp(&(&b.dn, &b.key)));
    plan.notes.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(plan)
}

/// A plan in the making.
struct Draft<'a> {
    known: &'a Known,
    policy: &'a Policy,
    now: Timestamp,
    is_clock_trusted: bool,
    /// Everybody whose key is at hand.
    people: HashSet<&'a ExternalId>,
    operations: Vec<Operation>,
    plan: Plan,
}

impl Draft<'_> {
    fn refuse(&mut self, person: &DesiredAccount, why: RefusalReason) {
        self.plan.refusals.push(Refusal {
            key: Some(person.key.clone()),
            source: person.source.clone(),
            dn: person.dn.clone(),
            why,
        });
    }

    fn skip(&mut self, key: &ExternalId, dn: &str, why: SkipReason) {
        self.plan.skipped.push(Skipped {
            key: Some(key.clone()),
            dn: dn.to_owned(),
            why,
        });
    }

    fn refuse_or_skip(&mut self, unmapped: &Unmapped) {
        let Unmapped {
            source,
            dn,
            key,
            problem,
        } = unmapped.clone();
        if matches!(problem, Problem::Missing { skip: true, .. }) {
            self.plan.skipped.push(Skipped {
                key,
                dn,
                why: SkipReason::WithoutMail(problem),
            });
        } else {
            self.plan.refusals.push(Refusal {
                key,
                source,
                dn,
                why: problem.into(),
            });
        }
    }

    /// A person who is in the directory and differs from the snapshot.
    fn present(&mut self, person: &DesiredAccount) {
        let account = self.known.accounts.get(&person.key);
        if let Some(why) = self.unverified(person, account) {
            return self.skip(&person.key, &person.dn, why);
        }
        let presence = if person.active {
            Presence::Enabled
        } else {
            Presence::Disabled
        };
        match (self.step(&person.key, presence), account) {
            (Step::Create(reason), _) => self.newcomer(person, reason),
            (Step::Update, Some(account)) => self.update(person, account, presence),
            (Step::Deactivate(reason), Some(account)) => {
                self.operations.push(Operation {
                    after: account.profile.clone(),
                    active: (true, false),
                    changes: active_change(true, false),
                    ..operation(person, account, Kind::Deactivate, reason)
                });
            }
            (
                Step::Restore {
                    cancel_delete,
                    reason,
                },
                Some(account),
            ) => {
                // A person who is back but disabled gets the account kept, not opened.
                let after = if person.active {
                    &person.profile
                } else {
                    &account.profile
                };
                let mut changes = differences(&account.profile, after);
                changes.extend(active_change(false, person.active));
                self.operations.push(Operation {
                    after: after.clone(),
                    active: (false, person.active),
                    cancel_delete,
                    changes,
                    ..operation(person, account, Kind::Restore, reason)
                });
            }
            (Step::Tombstone(lifecycle), Some(account)) => self.note_presence(
                person,
                ManagedAccount {
                    lifecycle,
                    ..account.clone()
                },
            ),
            (_, Some(account)) => self.note_presence(person, account.clone()),
            (_, None) => self.skip(&person.key, &person.dn, SkipReason::DisabledNewcomer),
        }
    }

    fn step(&self, key: &ExternalId, presence: Presence) -> Step {
        lifecycle::step(Situation {
            account: self.known.accounts.get(key),
            presence,
            policy: self.policy,
            now: self.now,
            is_clock_trusted: self.is_clock_trusted,
            may_be_deleted: self.known.doubtful_deletions.contains(key),
        })
    }

    /// Whether the API would refuse the person's address, as it is on a domain that is not the
    /// organization's. An address that the account has already is not sent again, and whoever
    /// is disabled gets no address at all.
    fn unverified(
        &self,
        person: &DesiredAccount,
        account: Option<&ManagedAccount>,
    ) -> Option<SkipReason> {
        let verified = self.known.verified_domains.as_ref()?;
        let email = person.profile.get(Attribute::Email)?;
        let has_it = account.is_some_and(|account| {
            account.profile.get(Attribute::Email) == Some(email)
                && !matches!(account.lifecycle, Lifecycle::Deleted { .. })
        });
        let domain = email.rsplit('@').next().map(fold)?;
        if !person.active || has_it || verified.contains(&domain) {
            return None;
        }
        Some(SkipReason::UnverifiedDomain {
            email: email.to_owned(),
            verified: verified
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    fn update(&mut self, person: &DesiredAccount, account: &ManagedAccount, presence: Presence) {
        if presence == Presence::Disabled {
            // As everywhere, whoever is disabled gets no other change.
            self.skip(&person.key, &person.dn, SkipReason::KeptOnDisabled);
            return self.note_presence(person, account.clone());
        }
        let changes = differences(&account.profile, &person.profile);
        if changes.is_empty() {
            return self.note_presence(person, account.clone());
        }
        self.operations.push(Operation {
            after: person.profile.clone(),
            active: (true, true),
            changes,
            ..operation(person, account, Kind::Update, Reason::Changed)
        });
    }

    /// Only where the entry stands, or that the person is back, is new: that is for the
    /// snapshot alone.
    fn note_presence(&mut self, person: &DesiredAccount, account: ManagedAccount) {
        self.note(ManagedAccount {
            source: person.source.clone(),
            dn: person.dn.clone(),
            departed_at: None,
            ..account
        });
        self.plan.unchanged += 1;
    }

    /// Keeps a row that is to be brought up to date, unless it is so already.
    fn note(&mut self, account: ManagedAccount) {
        if self.known.accounts.get(&account.key) != Some(&account) {
            self.plan.notes.push(account);
        }
    }

    /// The people whom no pull has seen. The proof that they have left is a complete pull of
    /// their own source, while every other pull of the run is complete as well, as people move
    /// between sources, and every entry has a key.
    fn absent(&mut self, desired: &Desired) {
        let absent: Vec<(&ManagedAccount, &Result<Complete, Incomplete>)> = desired
            .absent
            .iter()
            .filter_map(|key| self.known.accounts.get(key))
            .filter_map(|account| Some((account, desired.pulls.get(&account.source)?)))
            .collect();
        let count = absent.len() as u64;
        let mut suspensions: Vec<Suspension> = desired
            .pulls
            .iter()
            .filter_map(|(source, pull)| {
                let why = pull.as_ref().err()?.clone().into();
                Some(Suspension {
                    source: source.clone(),
                    absent: count,
                    why,
                })
            })
            .collect();
        if count > 0 {
            suspensions.extend(desired.unidentified().into_iter().map(|(source, entries)| {
                Suspension {
                    source,
                    absent: count,
                    why: Disbelief::Unidentified(entries),
                }
            }));
        }
        if suspensions.is_empty() {
            for (account, pull) in absent {
                if let Ok(proof) = pull {
                    self.departed(account, proof);
                }
            }
        }
        self.plan.suspensions = suspensions;
    }

    /// A person who has left, which only a complete pull can show.
    fn departed(&mut self, account: &ManagedAccount, _proof: &Complete) {
        let since = account.departed_at.unwrap_or(self.now);
        let gone = |kind, reason| Operation {
            after: account.profile.clone(),
            departed_at: Some(since),
            ..operation_on(account, kind, reason)
        };
        match self.step(&account.key, Presence::Absent) {
            Step::Deactivate(reason) => self.operations.push(Operation {
                active: (true, false),
                changes: active_change(true, false),
                ..gone(Kind::Deactivate, reason)
            }),
            Step::Delete(reason) => self.operations.push(gone(Kind::Delete, reason)),
            step => {
                if account.lifecycle.is_active() {
                    self.skip(&account.key, &account.dn, SkipReason::KeptOnLeave);
                }
                // Deletions are counted from what is noted here.
                if !self.is_clock_trusted {
                    return;
                }
                let lifecycle = match step {
                    Step::Tombstone(lifecycle) => lifecycle,
                    _ => account.lifecycle,
                };
                self.note(ManagedAccount {
                    departed_at: Some(since),
                    lifecycle,
                    ..account.clone()
                });
            }
        }
    }
}

/// An operation on a person's known account, still without what it changes.
fn operation(
    person: &DesiredAccount,
    account: &ManagedAccount,
    kind: Kind,
    reason: Reason,
) -> Operation {
    Operation {
        source: person.source.clone(),
        dn: person.dn.clone(),
        ..operation_on(account, kind, reason)
    }
}

fn operation_on(account: &ManagedAccount, kind: Kind, reason: Reason) -> Operation {
    let active = account.lifecycle.is_active();
    Operation {
        key: account.key.clone(),
        source: account.source.clone(),
        dn: account.dn.clone(),
        kind,
        reason,
        target: Some(Target {
            scim_id: account.scim_id.clone(),
            account_id: account.account_id.clone(),
        }),
        before: account.profile.clone(),
        after: account.profile.clone(),
        active: (active, active),
        cancel_delete: false,
        departed_at: None,
        changes: Vec::new(),
        waits_for: Vec::new(),
        wave: 0,
    }
}

/// What differs between two profiles, attribute by attribute.
fn differences(before: &Profile, after: &Profile) -> Vec<Change> {
    Attribute::ALL
        .into_iter()
        .filter(|attribute| before.get(*attribute) != after.get(*attribute))
        .map(|attribute| Change {
            attribute: attribute.name().to_owned(),
            old: before.get(attribute).map(str::to_owned),
            new: after.get(attribute).map(str::to_owned),
        })
        .collect()
}

fn active_change(old: bool, new: bool) -> Vec<Change> {
    if old == new {
        return Vec::new();
    }
    vec![Change {
        attribute: "active".to_owned(),
        old: Some(old.to_string()),
        new: Some(new.to_string()),
    }]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
