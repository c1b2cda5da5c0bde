//! A plan in the making: person by person, then absence by absence.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::lifecycle::{self, Event, State, Step};
use super::newcomer::{Admission, Candidates, Holders, Newcomer};
use super::{
    Desired, Disbelief, Known, Plan, Refusal, RefusalReason, SkipReason, Skipped, Suspension,
};
use crate::config::{self, Policies, Policy, Unreadable};
use crate::mapping::{Problem, Unmapped};
use crate::model::{
    Absence, Attribute, Cause, Change, Complete, DesiredAccount, ExternalId, Kind, Lifecycle,
    ManagedAccount, Operation, Profile, Reason, SourceName, Target, Timestamp, Whereabouts, fold,
};

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) known: &'a Known,
    pub(super) policies: &'a Policies,
    pub(super) now: Timestamp,
    pub(super) is_clock_trusted: bool,
    /// Everybody whose key is at hand.
    pub(super) people: HashSet<&'a ExternalId>,
    /// Those of the snapshot whom no pull has shown.
    pub(super) absent: HashSet<&'a ExternalId>,
    /// Those whom the pulls have shown, as far as they differ from the snapshot.
    pub(super) present: HashSet<&'a ExternalId>,
    /// The organization's accounts that newcomers may have.
    pub(super) candidates: Candidates<'a>,
    /// The snapshot's accounts that have a newcomer's address or number.
    pub(super) holders: Holders<'a>,
    /// Those without an account, who are seen to once all of them are known.
    pub(super) newcomers: Vec<Newcomer<'a>>,
    /// Those of the snapshot whose accounts were given to entries that were made anew.
    pub(super) taken_over: HashSet<&'a ExternalId>,
    /// Those of the snapshot whose accounts may be those of entries that were made anew, and who are not
    /// deleted as long as that is open, with one of these entries.
    pub(super) claimed: HashMap<&'a ExternalId, &'a str>,
    /// Those of the snapshot whose deletion is cancelled alone.
    pub(super) cancelled: HashSet<&'a ExternalId>,
    /// Those of the snapshot who are out of scope, by proof, and why.
    pub(super) departures: BTreeMap<&'a ExternalId, Departed<'a>>,
    pub(super) operations: Vec<Operation>,
    pub(super) plan: Plan,
}

/// A person who is out of scope, which cannot be said without a proof.
#[derive(Clone, Copy)]
pub(super) struct Departed<'a> {
    pub(super) cause: Cause,
    #[expect(dead_code, reason = "that it is there is all that it says")]
    proof: Proof<'a>,
}

/// What proves that a person is out of scope.
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "that it is there is all that it says")]
enum Proof<'a> {
    /// A complete pull of the person's source.
    Pull(&'a Complete),
    /// The source is configured no more.
    Edit,
}

impl<'a> Draft<'a> {
    pub(super) fn refuse(&mut self, person: &DesiredAccount, why: RefusalReason) {
        self.plan.refusals.push(Refusal {
            key: Some(person.key.clone()),
            source: person.source.clone(),
            dn: person.dn.clone(),
            why,
        });
    }

    pub(super) fn skip(&mut self, key: &ExternalId, dn: &str, why: SkipReason) {
        self.plan.skipped.push(Skipped {
            key: Some(key.clone()),
            dn: dn.to_owned(),
            why,
        });
    }

    pub(super) fn refuse_or_skip(&mut self, unmapped: &Unmapped) {
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

    /// A person who is in scope and differs from the snapshot, and why the address is not to be had, if
    /// it is contested.
    pub(super) fn present(
        &mut self,
        person: &'a DesiredAccount,
        contested: Option<&RefusalReason>,
    ) {
        let policy = self.policies.of(&person.source);
        let account = self.known.accounts.get(&person.key);
        if let Some(account) = account
            && account.source != person.source
            && policy.on_source_change == config::Change::Keep
            // A source that has another name by now is not another one.
            && self.policies.of_sources.contains_key(&account.source)
            && account.lifecycle.has_account()
        {
            self.cancel(account, account.absence, Reason::Returned);
            let from = account.source.clone();
            return self.skip(&person.key, &person.dn, SkipReason::KeptInSource { from });
        }
        let state = self.state(&person.key, policy);
        let event = Event::present(person.active, state, policy);
        let step = lifecycle::next(state, event);
        let unverified = self.unverified(person, account);
        let admission = match (contested, unverified) {
            (Some(why), _) => {
                self.refuse(person, why.clone());
                Admission::Closed
            }
            (None, Some(why)) => {
                self.skip(&person.key, &person.dn, why);
                Admission::Unverified
            }
            (None, None) => Admission::Open,
        };
        let takes_address = admission == Admission::Open;
        // Also whoever is disabled, and is nobody's newcomer, may have another account from before.
        let is_gone = matches!(state, State::Expired | State::Deleted);
        if is_gone || matches!(step, Step::Create | Step::Adopt) {
            self.newcomers.push(Newcomer {
                person,
                reason: account.map_or(Reason::Joined, |_| Reason::JoinedAgain),
                admission: match step {
                    Step::Create | Step::Adopt => admission,
                    _ => Admission::Closed,
                },
            });
        }
        if let (true, Some(account)) = (is_gone && !takes_address, account) {
            return self.note_presence(person, entombed(account));
        }
        // What is deleted cannot be had again: the account is kept, with its old address.
        let Some(account) = account.filter(|_| takes_address || step == Step::Cancel) else {
            return;
        };
        match step {
            Step::Update => self.update(person, account, policy),
            Step::Deactivate => self.operations.push(Operation {
                active: (true, false),
                changes: active_change(true, false),
                ..operation(person, account, Kind::Deactivate, Reason::Disabled)
            }),
            Step::Restore => {
                let after = self.wanted(person, account, policy);
                let mut changes = differences(&account.profile, &after);
                changes.extend(active_change(false, true));
                let reason = match account.absence {
                    Some(_) => Reason::Returned,
                    None => Reason::Enabled,
                };
                self.operations.push(Operation {
                    after,
                    active: (false, true),
                    changes,
                    ..operation(person, account, Kind::Restore, reason)
                });
            }
            // Login and values are the next run's: they may be held, refused, or wait for others, for
            // longer than a deletion can be cancelled.
            Step::Cancel => {
                match event {
                    Event::Barred => {
                        self.skip(&person.key, &person.dn, SkipReason::KeptOnReturn);
                    }
                    Event::Enabled if takes_address => {
                        self.skip(&person.key, &person.dn, SkipReason::RestoredLater);
                    }
                    _ => {}
                }
                let stays_away = person.active || policy.on_return == config::Return::Keep;
                let absence = account.absence.filter(|_| stays_away).map(back);
                self.cancel(account, absence, Reason::Returned);
            }
            Step::Keep if event == Event::Barred => {
                self.skip(&person.key, &person.dn, SkipReason::KeptOnReturn);
                self.note(ManagedAccount {
                    source: person.source.clone(),
                    dn: person.dn.clone(),
                    absence: account.absence.map(back),
                    ..account.clone()
                });
            }
            Step::Keep => {
                // As everywhere, whoever is disabled gets no other change.
                self.skip(&person.key, &person.dn, SkipReason::KeptOnDisabled);
                self.note_presence(person, account.clone());
            }
            Step::Tombstone => self.note_presence(person, entombed(account)),
            // Whoever is back and may not log in yet is barred all the same later.
            Step::Note if state.is_away() && policy.on_return == config::Return::Keep => {
                self.note(ManagedAccount {
                    source: person.source.clone(),
                    dn: person.dn.clone(),
                    absence: account.absence.map(back),
                    ..account.clone()
                });
            }
            // They are seen to once all newcomers are known.
            Step::Create | Step::Adopt => {}
            Step::Note | Step::Nothing | Step::Wait | Step::Delete => {
                self.note_presence(person, account.clone());
            }
        }
    }

    pub(super) fn state(&self, key: &ExternalId, policy: &Policy) -> State {
        State::of(
            self.known.accounts.get(key),
            policy,
            self.now,
            self.is_clock_trusted,
            self.known.doubtful_deletions.contains(key),
        )
    }

    /// Whether the API would refuse the person's address, as it is on a domain that is not the
    /// organization's. An address that the account has already is not sent again, and whoever
    /// is disabled gets no address at all.
    pub(super) fn unverified(
        &self,
        person: &DesiredAccount,
        account: Option<&ManagedAccount>,
    ) -> Option<SkipReason> {
        let verified = self.known.verified_domains.as_ref()?;
        let email = person.profile.get(Attribute::Email)?;
        let has_it = account.is_some_and(|account| {
            account.profile.get(Attribute::Email) == Some(email)
                && !self.known.is_gone(account, self.now)
        });
        let domain = email.rsplit('@').next().map(fold)?;
        if !person.active || has_it || verified.contains(&domain) {
            return None;
        }
        Some(SkipReason::UnverifiedDomain {
            email: email.to_owned(),
            verified: if verified.is_empty() {
                "there is none".to_owned()
            } else {
                verified
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            },
        })
    }

    fn update(&mut self, person: &DesiredAccount, account: &ManagedAccount, policy: &Policy) {
        let after = self.wanted(person, account, policy);
        let changes = differences(&account.profile, &after);
        if changes.is_empty() {
            return self.note_presence(person, account.clone());
        }
        self.operations.push(Operation {
            after,
            changes,
            ..operation(person, account, Kind::Update, Reason::Changed)
        });
    }

    /// The values that the account is to have: the person's, but for those that the policy
    /// keeps.
    pub(super) fn wanted(
        &mut self,
        person: &DesiredAccount,
        account: &ManagedAccount,
        policy: &Policy,
    ) -> Profile {
        const NAMES: [Attribute; 6] = [
            Attribute::UserName,
            Attribute::DisplayName,
            Attribute::FormattedName,
            Attribute::GivenName,
            Attribute::MiddleName,
            Attribute::FamilyName,
        ];
        let mut kept: Vec<Attribute> = Vec::new();
        let held = |attribute| account.profile.get(attribute);
        let logs_in_by_email =
            held(Attribute::UserName).map(fold) == held(Attribute::Email).map(fold);
        if policy.on_email_change == config::Change::Keep {
            kept.push(Attribute::Email);
            if logs_in_by_email {
                kept.push(Attribute::UserName);
            }
        }
        if policy.on_rename == config::Change::Keep {
            // A login that is an address is the e-mail policy's business.
            kept.extend(
                NAMES
                    .into_iter()
                    .filter(|name| *name != Attribute::UserName || !logs_in_by_email),
            );
        }
        kept.retain(|attribute| person.profile.get(*attribute) != held(*attribute));
        if kept.is_empty() {
            return person.profile.clone();
        }
        let mut wanted = person.profile.clone();
        for attribute in &kept {
            match held(*attribute) {
                Some(value) => wanted.set(*attribute, value),
                None => wanted.retain(|other| other != *attribute),
            }
        }
        let attributes = kept.iter().map(|attribute| attribute.name());
        let attributes = attributes.collect::<Vec<_>>().join(", ");
        self.skip(
            &person.key,
            &person.dn,
            SkipReason::KeptOnChange { attributes },
        );
        wanted
    }

    /// Only where the entry stands, or that the person is back, or a local value, is new: that
    /// is for the snapshot alone.
    fn note_presence(&mut self, person: &DesiredAccount, mut account: ManagedAccount) {
        account.profile.set_local(&person.profile);
        self.note(ManagedAccount {
            source: person.source.clone(),
            dn: person.dn.clone(),
            absence: None,
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

    /// Finds out who has left. The proof is a complete pull of the person's own source, while
    /// every other pull of the run is complete as well, as people move between sources, and
    /// every entry has a key; and that the person was then found nowhere in scope.
    pub(super) fn find_departures(&mut self, desired: &'a Desired) {
        let absent: Vec<&ManagedAccount> = desired
            .absent
            .iter()
            .filter_map(|key| self.known.accounts.get(key))
            .collect();
        let mut suspensions = disbelief(desired, &absent);
        let mut rescoped: BTreeMap<&SourceName, u64> = BTreeMap::new();
        let mut departures = BTreeMap::new();
        for account in absent {
            let noted = account.absence.and_then(|absence| absence.cause);
            let cause = match desired.whereabouts.get(&account.key) {
                // Who was not looked for is where the snapshot says.
                None => match noted {
                    Some(cause) => cause,
                    None => continue,
                },
                Some(Whereabouts::InScope) => continue,
                Some(Whereabouts::Unreadable(why)) => {
                    self.unreadable(account, why);
                    continue;
                }
                Some(Whereabouts::Out(cause)) => *cause,
            };
            let cause = match noted {
                // Whoever was let go by an edit is out by that, whatever else may be said now.
                Some(Cause::Rescoped) => Cause::Rescoped,
                _ => cause,
            };
            let proof = match desired.pulls.get(&account.source) {
                Some(Ok(complete)) => Proof::Pull(complete),
                // Incomplete: nobody is believed to be gone, see above.
                Some(Err(_)) => continue,
                None => Proof::Edit,
            };
            let cause = match proof {
                Proof::Pull(_) => cause,
                Proof::Edit => Cause::Rescoped,
            };
            let policy = self.policies.of(&account.source);
            let is_accepted = self.policies.accepts_scope_change
                || noted == Some(Cause::Rescoped)
                // Who had left before is not put out by it.
                || (noted.is_some() && !account.lifecycle.is_active())
                || policy.on_leave.of(cause) == config::Departure::Keep;
            if cause == Cause::Rescoped && !is_accepted {
                // Those without a login as well: their deletion would be counted from here.
                if !matches!(account.lifecycle, Lifecycle::Deleted { .. }) {
                    *rescoped.entry(&account.source).or_default() += 1;
                    self.skip(&account.key, &account.dn, SkipReason::Rescoped);
                }
                continue;
            }
            departures.insert(&account.key, Departed { cause, proof });
        }
        if !suspensions.is_empty() {
            departures.clear();
        }
        suspensions.extend(rescoped.into_iter().map(|(source, absent)| Suspension {
            source: source.clone(),
            absent,
            why: Disbelief::Rescoped,
        }));
        self.departures = departures;
        self.plan.suspensions = suspensions;
    }

    fn unreadable(&mut self, account: &ManagedAccount, why: &str) {
        let why = why.to_owned();
        match self.policies.of(&account.source).on_unreadable {
            Unreadable::Skip => {
                self.skip(&account.key, &account.dn, SkipReason::Unreadable { why });
            }
            Unreadable::Refuse => self.plan.refusals.push(Refusal {
                key: Some(account.key.clone()),
                source: account.source.clone(),
                dn: account.dn.clone(),
                why: RefusalReason::Unreadable { why },
            }),
        }
    }

    /// Cancels the deletion of the accounts of those who are in the directory, although what they are
    /// to be is not known.
    pub(super) fn keep_unclear(&mut self, desired: &Desired) {
        let unmapped = desired.unmapped.iter();
        let unmapped = unmapped.filter_map(|unmapped| unmapped.key.as_ref());
        let repeated = desired.repeated.iter().map(|(person, _)| &person.key);
        let known = self.known;
        for account in unmapped
            .chain(repeated)
            .filter_map(|key| known.accounts.get(key))
        {
            self.cancel(account, account.absence.map(back), Reason::Returned);
        }
    }

    /// Cancels the deletion of an account that may be somebody's who is in the directory, and does nothing
    /// else to it: what is deleted cannot be had again.
    pub(super) fn cancel(
        &mut self,
        account: &'a ManagedAccount,
        absence: Option<Absence>,
        reason: Reason,
    ) {
        if self.may_be_deleted(account) && self.cancelled.insert(&account.key) {
            self.operations.push(Operation {
                cancel_delete: true,
                absence,
                ..operation_on(account, Kind::Restore, reason)
            });
        }
    }

    /// Whether a deletion was requested, or may have been, and can be cancelled.
    pub(super) fn may_be_deleted(&self, account: &ManagedAccount) -> bool {
        let state = self.state(&account.key, self.policies.of(&account.source));
        lifecycle::next(state, Event::Disabled) == Step::Cancel
    }

    /// What follows for those who have left, and whose account nobody has taken over.
    pub(super) fn depart(&mut self) {
        for (key, departed) in std::mem::take(&mut self.departures) {
            if let Some(account) = self.known.accounts.get(key)
                && !self.taken_over.contains(key)
                && !self.cancelled.contains(key)
            {
                self.departed(account, departed);
            }
        }
    }

    fn departed(&mut self, account: &ManagedAccount, Departed { cause, .. }: Departed<'_>) {
        let policy = self.policies.of(&account.source);
        let before = account.absence.filter(|absence| absence.pulls > 0);
        let needed = policy.deactivate_after.pulls;
        let absence = Absence {
            since: before.map_or(self.now, |absence| absence.since),
            cause: Some(cause),
            pulls: before.map_or(1, |absence| {
                (absence.pulls + 1).min(needed).max(absence.pulls)
            }),
        };
        let gone = |kind, reason| Operation {
            absence: Some(absence),
            ..operation_on(account, kind, reason)
        };
        let state = self.state(&account.key, policy);
        let step = lifecycle::next(state, Event::absent(cause, &absence, policy, self.now));
        match step {
            Step::Deactivate => {
                self.operations.push(Operation {
                    active: (true, false),
                    changes: active_change(true, false),
                    ..gone(Kind::Deactivate, Reason::Left { why: cause })
                });
                return;
            }
            Step::Delete => match self.claimed.get(&account.key).copied() {
                None => {
                    let since = absence.since;
                    let reason = Reason::LeftLongAgo { since };
                    self.operations.push(gone(Kind::Delete, reason));
                    return;
                }
                Some(by) => {
                    let by = by.to_owned();
                    self.skip(&account.key, &account.dn, SkipReason::Claimed { by });
                }
            },
            Step::Keep => self.skip(&account.key, &account.dn, SkipReason::KeptOnLeave { cause }),
            Step::Wait => {
                let waits = SkipReason::Unconfirmed {
                    cause,
                    pulls: absence.pulls,
                    needed,
                    until: absence.since + policy.deactivate_after.time,
                };
                self.skip(&account.key, &account.dn, waits);
            }
            _ => {}
        }
        // Deletions are counted from what is noted here.
        if !self.is_clock_trusted {
            return;
        }
        let account = match step {
            Step::Tombstone => entombed(account),
            _ => account.clone(),
        };
        self.note(ManagedAccount {
            absence: Some(absence),
            ..account
        });
    }
}

/// Those whom the pulls have shown, as far as they differ from the snapshot.
pub(super) fn present(desired: &Desired) -> HashSet<&ExternalId> {
    let unmapped = desired.unmapped.iter().filter_map(|one| one.key.as_ref());
    let mapped = desired.claimants().map(|person| &person.key);
    mapped.chain(unmapped).collect()
}

/// Why no absence is believed at all, if so.
fn disbelief(desired: &Desired, absent: &[&ManagedAccount]) -> Vec<Suspension> {
    let suspension = |source: &SourceName, why| Suspension {
        source: source.clone(),
        absent: absent.len() as u64,
        why,
    };
    let incomplete = desired
        .pulls
        .iter()
        .filter_map(|(source, pull)| Some(suspension(source, pull.as_ref().err()?.clone().into())));
    let mut suspensions: Vec<Suspension> = incomplete.collect();
    if absent.is_empty() {
        return suspensions;
    }
    for (source, entries) in desired.unidentified() {
        suspensions.push(suspension(&source, Disbelief::Unidentified(entries)));
    }
    for (source, why) in &desired.unlocated {
        suspensions.push(suspension(source, Disbelief::Unlocated(why.clone())));
    }
    let mut missed: BTreeMap<&SourceName, u64> = BTreeMap::new();
    for account in absent {
        if desired.whereabouts.get(&account.key) == Some(&Whereabouts::InScope) {
            *missed.entry(&account.source).or_default() += 1;
        }
    }
    for (source, people) in missed {
        suspensions.push(suspension(source, Disbelief::StillThere(people)));
    }
    suspensions
}

/// Notes that people are seen again for whom nothing else is done: a later absence is counted from
/// its own beginning. To be asked again where what is done has become less.
pub fn end_absences(plan: &mut Plan, desired: &Desired, known: &Known) {
    let present = present(desired);
    let seen = present.iter().filter_map(|key| known.accounts.get(key));
    let mut seen: Vec<&ManagedAccount> = seen
        .filter(|account| account.absence.is_some_and(|absence| absence.pulls > 0))
        .collect();
    if seen.is_empty() {
        return;
    }
    let approved = plan.approve();
    // Also of whom a deletion is cancelled: if no answer comes, it is open whether it still is under way,
    // and whoever goes missing then has not been so all the time.
    let sent = approved.operations().iter();
    let sent = sent.filter(|operation| !operation.cancel_delete);
    let mut told: HashSet<&ExternalId> = sent.map(|operation| operation.row()).collect();
    told.extend(plan.notes.iter().map(|note| &note.key));
    seen.retain(|account| !told.contains(&account.key));
    let notes = seen.into_iter().filter_map(|account| {
        let absence = match account.lifecycle {
            Lifecycle::Active => None,
            Lifecycle::Deactivated { .. } | Lifecycle::DeletePending { .. } => {
                account.absence.map(back)
            }
            Lifecycle::Deleted { .. } => return None,
        };
        Some(ManagedAccount {
            absence,
            ..account.clone()
        })
    });
    let notes: Vec<ManagedAccount> = notes.collect();
    plan.notes.extend(notes);
    plan.notes.sort_by(|a, b| a.key.cmp(&b.key));
}

/// The absence of a person who is back while the login stays off.
pub(super) fn back(absence: Absence) -> Absence {
    Absence {
        pulls: 0,
        ..absence
    }
}

/// The row of an account whose deletion can no longer be cancelled.
fn entombed(account: &ManagedAccount) -> ManagedAccount {
    let lifecycle = match account.lifecycle {
        Lifecycle::DeletePending { since } => Lifecycle::Deleted {
            since: since + crate::model::deletion_grace(),
        },
        other => other,
    };
    ManagedAccount {
        lifecycle,
        ..account.clone()
    }
}

/// An operation on a person's known account, still without what it changes.
pub(super) fn operation(
    person: &DesiredAccount,
    account: &ManagedAccount,
    kind: Kind,
    reason: Reason,
) -> Operation {
    let mut after = account.profile.clone();
    after.set_local(&person.profile);
    Operation {
        source: person.source.clone(),
        dn: person.dn.clone(),
        after,
        ..operation_on(account, kind, reason)
    }
}

pub(super) fn operation_on(account: &ManagedAccount, kind: Kind, reason: Reason) -> Operation {
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
        deactivated_since: match account.lifecycle {
            Lifecycle::Deactivated { since } => Some(since),
            _ => None,
        },
        absence: None,
        formerly: None,
        former_row: None,
        undoes: None,
        changes: Vec::new(),
        waits_for: Vec::new(),
        wave: 0,
    }
}

/// What differs between two profiles, attribute by attribute, of what the organization knows.
pub(super) fn differences(before: &Profile, after: &Profile) -> Vec<Change> {
    Attribute::ALL
        .into_iter()
        .filter(|attribute| !attribute.is_local())
        .filter(|attribute| before.get(*attribute) != after.get(*attribute))
        .map(|attribute| Change {
            attribute: attribute.name().to_owned(),
            old: before.get(attribute).map(str::to_owned),
            new: after.get(attribute).map(str::to_owned),
        })
        .collect()
}

pub(super) fn active_change(old: bool, new: bool) -> Vec<Change> {
    if old == new {
        return Vec::new();
    }
    vec![Change {
        attribute: Change::ACTIVE.to_owned(),
        old: Some(old.to_string()),
        new: Some(new.to_string()),
    }]
}
