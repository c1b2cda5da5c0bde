//! Who has an account to be a member with, and who joins and leaves.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::view::Wanted;
use super::{KnownGroups, Person};
use crate::model::{
    ExistingGroup, ExternalId, GroupMember, Kind, Lifecycle, MemberKey, Operation, ScimId,
};
use crate::plan::Planned;

/// The accounts as they will be once the account operations of this run have succeeded.
pub(super) struct Accounts<'a> {
    pub(super) people: &'a HashMap<ExternalId, Person>,
    pub(super) claimed: &'a HashSet<ScimId>,
    pub(super) by_scim_id: HashMap<&'a ScimId, &'a ExternalId>,
    pub(super) unseen: &'a HashSet<ExternalId>,
    /// Who gets an account in this run, or gets it back, with its name.
    pub(super) coming: HashMap<&'a ExternalId, &'a str>,
    /// Whose account is deleted.
    pub(super) going: HashSet<&'a ExternalId>,
}

impl<'a> Accounts<'a> {
    pub(super) fn of(
        known: &'a KnownGroups,
        unseen: &'a HashSet<ExternalId>,
        planned: &'a [Planned],
    ) -> Self {
        let sent = planned.iter().filter(|planned| !planned.is_held());
        let sent = sent.map(|planned| &planned.operation);
        let people = known.people.iter();
        let mut by_scim_id: HashMap<&ScimId, &ExternalId> = people
            .filter(|(_, person)| !matches!(person.lifecycle, Lifecycle::Deleted { .. }))
            .map(|(key, person)| (&person.scim_id, key))
            .collect();
        // Whose account is taken over in this run, or gets another key, is nobody else's.
        for operation in coming(planned) {
            let target = operation.target.as_ref();
            by_scim_id.extend(target.map(|target| (&target.scim_id, &operation.key)));
        }
        Accounts {
            people: &known.people,
            claimed: &known.claimed,
            by_scim_id,
            unseen,
            coming: coming(planned)
                .map(|operation| (&operation.key, operation.label()))
                .collect(),
            going: sent
                .filter(|operation| operation.kind == Kind::Delete)
                .map(|operation| &operation.key)
                .collect(),
        }
    }

    /// Whether the directory shows the person in this run.
    pub(super) fn is_shown(&self, key: &ExternalId) -> bool {
        let has_departed = self
            .people
            .get(key)
            .is_some_and(|person| person.has_departed);
        !self.unseen.contains(key) && (!has_departed || self.coming.contains_key(key))
    }

    /// How many of the members are people of ours.
    pub(super) fn ours(&self, group: &ExistingGroup) -> usize {
        let members = group.members.iter();
        members
            .filter(|id| self.by_scim_id.contains_key(id))
            .count()
    }

    /// Whether a member stays whom the directory does not name by key: it does not show the
    /// person, or names something that may be.
    pub(super) fn stays_anyway(&self, key: &ExternalId, unclear: &HashSet<MemberKey>) -> bool {
        // Without a row of this key the account is only being taken over, and it is too early to
        // say.
        let may_be_named = |person: &Person| unclear.contains(&MemberKey::dn(&person.dn));
        !self.is_shown(key) || self.people.get(key).is_none_or(may_be_named)
    }

    pub(super) fn has_account(&self, key: &ExternalId) -> bool {
        let person = self.people.get(key);
        person.is_some_and(|person| person.lifecycle.has_account()) || self.coming.contains_key(key)
    }

    pub(super) fn member(&self, key: &ExternalId) -> GroupMember {
        let person = self.people.get(key);
        let is_there = |person: &&Person| person.lifecycle.has_account();
        let name = self.coming.get(key).copied();
        let name = name.or(person.map(|person| person.name.as_str()));
        GroupMember {
            name: name.unwrap_or(key.as_str()).to_owned(),
            key: Some(key.clone()),
            scim_id: person.filter(is_there).map(|person| person.scim_id.clone()),
        }
    }

    /// How the members differ from what they are to be. Unless it `may_shrink`, nobody leaves;
    /// if it `is_exact`, so does whoever is nobody's account.
    pub(super) fn difference(
        &self,
        wanted: &Wanted<'_>,
        there: Option<&ExistingGroup>,
        may_shrink: bool,
        is_exact: bool,
    ) -> Difference {
        let members = wanted.members();
        let mut difference = Difference::default();
        let is_exact = may_shrink && is_exact;
        let unclear: HashSet<MemberKey> = wanted.unclear().collect();
        for id in there.into_iter().flat_map(|there| &there.members) {
            let Some(key) = self.by_scim_id.get(id).copied() else {
                match is_exact && !self.claimed.contains(id) {
                    true => difference.remove.push(foreign(id)),
                    false => difference.foreign.push(id.clone()),
                }
                continue;
            };
            let is_right = members.contains_key(key) || self.stays_anyway(key, &unclear);
            difference.ours.insert(key.clone());
            if is_right || !may_shrink {
                difference.stay.insert(key.clone(), id.clone());
            } else {
                difference.remove.push(self.member(key));
            }
        }
        for (key, dn) in members {
            if self.going.contains(key) || difference.ours.contains(key) {
                continue;
            }
            if !self.has_account(key) {
                difference.without.push(dn.to_owned());
            } else if self.is_shown(key) {
                difference.add.push(self.member(key));
            }
        }
        difference.add.sort();
        difference.remove.sort();
        difference.without.sort();
        difference
    }
}

/// The operations that are sent and by which somebody gets an account, or gets it back. An account
/// that gets another key is one that this key did not have.
pub(super) fn coming(planned: &[Planned]) -> impl Iterator<Item = &Operation> {
    let sent = planned.iter().filter(|planned| !planned.is_held());
    sent.map(|planned| &planned.operation).filter(|operation| {
        matches!(operation.kind, Kind::Create | Kind::Adopt | Kind::Restore)
            || operation.formerly.is_some()
    })
}

pub(super) fn foreign(id: &ScimId) -> GroupMember {
    GroupMember {
        name: format!("SCIM user {id}"),
        key: None,
        scim_id: Some(id.clone()),
    }
}

/// Who is to join and leave.
#[derive(Default)]
pub(super) struct Difference {
    pub(super) add: Vec<GroupMember>,
    pub(super) remove: Vec<GroupMember>,
    /// Our people who are in it now, and those of them who stay.
    pub(super) ours: BTreeSet<ExternalId>,
    pub(super) stay: BTreeMap<ExternalId, ScimId>,
    /// Who else is in it and stays.
    pub(super) foreign: Vec<ScimId>,
    /// Members who have no account, by DN.
    pub(super) without: Vec<String>,
}

impl Difference {
    /// How many members there are afterwards.
    pub(super) fn after(&self) -> usize {
        self.stay.len() + self.foreign.len() + self.add.len()
    }
}
