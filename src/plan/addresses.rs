//! User names and e-mail addresses belong to one account each: conflicts are refused for the
//! people concerned, and operations are ordered so that an address is free before it is taken.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Desired, Known, Refusal, RefusalReason};
use crate::model::{Attribute, ExternalId, Kind, ManagedAccount, Operation, Profile, fold};

fn unique_attributes() -> impl Iterator<Item = Attribute> {
    Attribute::ALL
        .into_iter()
        .filter(|attribute| attribute.is_unique())
}

/// The people who must not get an address because others in the directory have it too. Whoever
/// holds it already, by the snapshot, keeps it.
pub(super) fn contested(desired: &Desired, known: &Known) -> BTreeMap<ExternalId, RefusalReason> {
    let concerned = desired.concerned();
    // Whoever is not concerned is as the account is, and so has its addresses.
    let unchanged = known
        .accounts
        .values()
        .filter(|account| !concerned.contains(&account.key) && !is_gone(account));
    let mut claims: BTreeMap<(Attribute, String), BTreeMap<&ExternalId, &str>> = BTreeMap::new();
    for person in desired.claimants() {
        for (attribute, value) in addresses(&person.profile) {
            let claim = claims.entry((attribute, fold(value))).or_default();
            claim.insert(&person.key, &person.dn);
        }
    }
    for account in unchanged {
        for (attribute, value) in addresses(&account.profile) {
            if let Some(claim) = claims.get_mut(&(attribute, fold(value))) {
                claim.insert(&account.key, &account.dn);
            }
        }
    }
    claims.retain(|_, claim| claim.len() > 1);
    let mut refused = BTreeMap::new();
    for ((attribute, value), claim) in &claims {
        let holds_already = |key: &ExternalId| {
            known.accounts.get(key).is_some_and(|account| {
                let held = account.profile.get(*attribute);
                !is_gone(account) && held.is_some_and(|held| fold(held) == *value)
            })
        };
        for key in claim.keys().filter(|key| !holds_already(key)) {
            let others: Vec<&str> = claim
                .iter()
                .filter(|(other, _)| *other != key)
                .map(|(_, dn)| *dn)
                .collect();
            refused.insert(
                (*key).clone(),
                RefusalReason::Contested {
                    attribute: attribute.name().to_owned(),
                    value: value.clone(),
                    others: others.join("; "),
                },
            );
        }
    }
    refused
}

fn addresses(profile: &Profile) -> impl Iterator<Item = (Attribute, &str)> {
    unique_attributes().filter_map(|attribute| Some((attribute, profile.get(attribute)?)))
}

fn is_gone(account: &ManagedAccount) -> bool {
    matches!(account.lifecycle, crate::model::Lifecycle::Deleted { .. })
}

/// Takes out the operations that cannot get their address, and gives the others their wave and
/// their place.
pub(super) fn settle(operations: &mut Vec<Operation>, known: &Known) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    // A refused operation does not free its old address, which may refuse another one.
    loop {
        let mut refused = taken(operations, known);
        if refused.is_empty() {
            refused = assign_waves(operations);
        }
        if refused.is_empty() {
            break;
        }
        operations.retain(|operation| match refused.remove(&operation.key) {
            None => true,
            Some(why) => {
                refusals.push(Refusal {
                    key: Some(operation.key.clone()),
                    source: operation.source.clone(),
                    dn: operation.dn.clone(),
                    why,
                });
                false
            }
        });
    }
    operations
        .sort_by(|a, b| (a.wave, a.kind, &a.dn, &a.key).cmp(&(b.wave, b.kind, &b.dn, &b.key)));
    refusals
}

/// The operations whose new address another account keeps.
fn taken(operations: &[Operation], known: &Known) -> BTreeMap<ExternalId, RefusalReason> {
    let planned: HashMap<&ExternalId, &Operation> = operations
        .iter()
        .map(|operation| (&operation.key, operation))
        .collect();
    let mut holders: HashMap<(Attribute, String), Vec<(&ExternalId, String)>> = HashMap::new();
    for account in known.accounts.values().filter(|account| !is_gone(account)) {
        let profile = planned
            .get(&account.key)
            .map_or(&account.profile, |op| &op.after);
        for attribute in unique_attributes() {
            if let Some(value) = profile.get(attribute) {
                let label = format!(
                    "{} ({}, {})",
                    account.profile.label(),
                    account.dn,
                    describe(account)
                );
                holders
                    .entry((attribute, fold(value)))
                    .or_default()
                    .push((&account.key, label));
            }
        }
    }
    let mut refused = BTreeMap::new();
    for operation in operations {
        for attribute in unique_attributes().filter(|attribute| operation.changes(*attribute)) {
            let Some(value) = operation.after.get(attribute) else {
                continue;
            };
            let others = holders.get(&(attribute, fold(value)));
            let other = others
                .into_iter()
                .flatten()
                .find(|(key, _)| **key != operation.key);
            if let Some((_, holder)) = other {
                refused.insert(
                    operation.key.clone(),
                    RefusalReason::AddressTaken {
                        attribute: attribute.name().to_owned(),
                        value: value.to_owned(),
                        holder: holder.clone(),
                    },
                );
            }
        }
    }
    refused
}

fn describe(account: &ManagedAccount) -> &'static str {
    use crate::model::Lifecycle;
    match account.lifecycle {
        Lifecycle::Active => "active",
        Lifecycle::Deactivated { .. } => "deactivated",
        Lifecycle::DeletePending { .. } => "being deleted",
        Lifecycle::Deleted { .. } => "deleted",
    }
}

/// The wave of a kind when nothing else has to come first: access is taken away first, then
/// identities change, then people come, then the cosmetic rest.
fn base_wave(operation: &Operation) -> u32 {
    match operation.kind {
        Kind::Deactivate | Kind::Delete => 0,
        Kind::Update if unique_attributes().any(|attribute| operation.changes(attribute)) => 1,
        Kind::Restore | Kind::Adopt => 2,
        Kind::Create => 3,
        Kind::Update => 4,
    }
}

/// Gives each operation a wave after those that free its address; those in a cycle are
/// returned.
fn assign_waves(operations: &mut [Operation]) -> BTreeMap<ExternalId, RefusalReason> {
    let mut frees: HashMap<(Attribute, String), usize> = HashMap::new();
    for (at, operation) in operations.iter().enumerate() {
        for attribute in unique_attributes().filter(|attribute| operation.changes(*attribute)) {
            if let Some(value) = operation.before.get(attribute) {
                frees.insert((attribute, fold(value)), at);
            }
        }
    }
    let waits_for: Vec<BTreeSet<usize>> = operations
        .iter()
        .enumerate()
        .map(|(at, operation)| {
            unique_attributes()
                .filter(|attribute| operation.changes(*attribute))
                .filter_map(|attribute| {
                    frees
                        .get(&(attribute, fold(operation.after.get(attribute)?)))
                        .copied()
                })
                .filter(|freer| *freer != at)
                .collect()
        })
        .collect();
    // Chains are followed to their end; what never becomes ready is in a cycle or waits for one.
    let mut waves: Vec<Option<u32>> = vec![None; operations.len()];
    let mut open: Vec<usize> = (0..operations.len()).collect();
    loop {
        let before = open.len();
        open.retain(|at| {
            let first: Option<Vec<u32>> =
                waits_for[*at].iter().map(|freer| waves[*freer]).collect();
            let Some(first) = first else { return true };
            let after = first.into_iter().max().map_or(0, |wave| wave + 1);
            waves[*at] = Some(base_wave(&operations[*at]).max(after));
            false
        });
        if open.len() == before {
            break;
        }
    }
    let keys: Vec<ExternalId> = operations
        .iter()
        .map(|operation| operation.key.clone())
        .collect();
    for (at, operation) in operations.iter_mut().enumerate() {
        operation.wave = waves[at].unwrap_or_default();
        operation.waits_for = waits_for[at]
            .iter()
            .map(|freer| keys[*freer].clone())
            .collect();
    }
    open.iter()
        .map(|at| {
            let others: Vec<&str> = open
                .iter()
                .filter(|other| waits_for[*at].contains(other))
                .map(|other| operations[*other].dn.as_str())
                .collect();
            let why = RefusalReason::AddressCycle {
                others: others.join("; "),
            };
            (operations[*at].key.clone(), why)
        })
        .collect()
}
