//! A plan in the making: person by person, then absence by absence.

use std::collections::HashSet;

use super::lifecycle::{self, Presence, Situation, Step};
use super::{
    Desired, Disbelief, Known, Plan, Refusal, RefusalReason, SkipReason, Skipped, Suspension,
};
use crate::config::Policy;
use crate::mapping::{Problem, Unmapped};
use crate::model::{
    Attribute, Change, Complete, DesiredAccount, ExternalId, Incomplete, Kind, Lifecycle,
    ManagedAccount, Operation, Profile, Reason, Target, Timestamp, fold,
};

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) known: &'a Known,
    pub(super) policy: &'a Policy,
    pub(super) now: Timestamp,
    pub(super) is_clock_trusted: bool,
    /// Everybody whose key is at hand.
    pub(super) people: HashSet<&'a ExternalId>,
    pub(super) operations: Vec<Operation>,
    pub(super) plan: Plan,
}

impl Draft<'_> {
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

    /// A person who is in the directory and differs from the snapshot.
    pub(super) fn present(&mut self, person: &DesiredAccount) {
        let account = self.known.accounts.get(&person.key);
        let presence = if person.active {
            Presence::Enabled
        } else {
            Presence::Disabled
        };
        let step = self.step(&person.key, presence);
        let unverified = self.unverified(person, account);
        let takes_address = person.active && unverified.is_none();
        if let Some(why) = unverified {
            self.skip(&person.key, &person.dn, why);
            // What is deleted cannot be had again: the account is kept, with its old address.
            if !matches!(
                step,
                Step::Restore {
                    cancel_delete: true,
                    ..
                }
            ) {
                return;
            }
        }
        match (step, account) {
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
                let after = if takes_address {
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

    /// Only where the entry stands, or that the person is back, or a local value, is new: that
    /// is for the snapshot alone.
    fn note_presence(&mut self, person: &DesiredAccount, mut account: ManagedAccount) {
        account.profile.set_local(&person.profile);
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
    pub(super) fn absent(&mut self, desired: &Desired) {
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
        attribute: "active".to_owned(),
        old: Some(old.to_string()),
        new: Some(new.to_string()),
    }]
}
