//! People without an account: created, or matched with an account that the organization has.

use std::collections::HashMap;

use super::draft::{Draft, active_change, differences};
use super::{Refusal, RefusalReason, SkipReason};
use crate::config::Departure;
use crate::model::{
    Attribute, Change, DesiredAccount, ExistingAccount, ExternalId, Kind, Operation, Profile,
    Reason, ScimId, Target, fold,
};

/// The accounts that match, with what matched.
fn matches<'a>(
    person: &DesiredAccount,
    existing: &'a [ExistingAccount],
) -> Vec<(&'a ExistingAccount, &'static str)> {
    let same = |one: Option<&str>, other: Option<&str>| matches!((one, other), (Some(one), Some(other)) if fold(one) == fold(other));
    let by = |account: &ExistingAccount| {
        let theirs = account.external_id.as_ref().map(|id| id.as_str());
        let value = |attribute| {
            (
                person.profile.get(attribute),
                account.profile.get(attribute),
            )
        };
        let (email, their_email) = value(Attribute::Email);
        let (user_name, their_user_name) = value(Attribute::UserName);
        if same(Some(person.key.as_str()), theirs) {
            Some("externalId")
        } else if same(email, their_email) {
            Some("e-mail")
        } else if same(user_name, their_user_name) {
            Some("userName")
        } else {
            None
        }
    };
    existing
        .iter()
        .filter_map(|account| Some((account, by(account)?)))
        .collect()
}

/// Takes out the adoptions of an account that several people match: it can be one person's
/// only.
pub(super) fn refuse_shared_accounts(operations: &mut Vec<Operation>) -> Vec<Refusal> {
    let mut adopted: HashMap<ScimId, Vec<String>> = HashMap::new();
    for operation in operations
        .iter()
        .filter(|operation| operation.kind == Kind::Adopt)
    {
        if let Some(target) = &operation.target {
            adopted
                .entry(target.scim_id.clone())
                .or_default()
                .push(operation.dn.clone());
        }
    }
    adopted.retain(|_, people| people.len() > 1);
    let mut refusals = Vec::new();
    operations.retain(|operation| {
        let shared = operation
            .target
            .as_ref()
            .filter(|_| operation.kind == Kind::Adopt);
        let Some(people) = shared.and_then(|target| adopted.get(&target.scim_id)) else {
            return true;
        };
        refusals.push(Refusal {
            key: Some(operation.key.clone()),
            source: operation.source.clone(),
            dn: operation.dn.clone(),
            why: RefusalReason::Shared {
                account: operation.label().to_owned(),
                people: people.join("; "),
            },
        });
        false
    });
    refusals
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

impl Draft<'_> {
    pub(super) fn newcomer(&mut self, person: &DesiredAccount, reason: Reason) {
        let found = matches(person, &self.known.existing);
        match found.as_slice() {
            [] if person.active => self.create(person, reason),
            [] => self.skip(&person.key, &person.dn, SkipReason::DisabledNewcomer),
            [(account, _)] if !self.policy.adopt => {
                self.refuse(
                    person,
                    RefusalReason::AdoptionOff {
                        candidate: describe(account),
                    },
                );
            }
            [(account, by)] if self.is_somebody_elses(account, person) => self.refuse(
                person,
                RefusalReason::AddressTaken {
                    attribute: (*by).to_owned(),
                    value: account.profile.label().to_owned(),
                    holder: format!("{}, whom the directory has too", describe(account)),
                },
            ),
            [(account, by)] => self.adopt(person, account, by),
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

    /// Whether the account has the key of another person of the directory.
    fn is_somebody_elses(&self, account: &ExistingAccount, person: &DesiredAccount) -> bool {
        account.external_id.as_ref().is_some_and(|id| {
            let id = ExternalId::new(fold(id.as_str()));
            id != person.key && self.people.contains(&id)
        })
    }

    fn create(&mut self, person: &DesiredAccount, reason: Reason) {
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
            departed_at: None,
            waits_for: Vec::new(),
            wave: 0,
        });
    }

    fn adopt(&mut self, person: &DesiredAccount, account: &ExistingAccount, by: &str) {
        let keeps = !person.active && self.policy.on_disabled == Departure::Keep;
        let active = if keeps { account.active } else { person.active };
        // As everywhere, a person who is disabled gets no other change.
        let after = if person.active {
            &person.profile
        } else {
            &account.profile
        };
        let mut changes = Vec::new();
        if self.known.keeps_keys && account.external_id.as_ref() != Some(&person.key) {
            changes.push(Change {
                attribute: Change::EXTERNAL_ID.to_owned(),
                old: account.external_id.as_ref().map(ToString::to_string),
                new: Some(person.key.to_string()),
            });
        }
        changes.extend(differences(&account.profile, after));
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
            after: after.clone(),
            active: (account.active, active),
            cancel_delete: false,
            departed_at: None,
            changes,
            waits_for: Vec::new(),
            wave: 0,
        });
    }
}
