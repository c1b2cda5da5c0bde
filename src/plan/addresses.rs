//! User names and e-mail addresses belong to one account each: conflicts are refused for the
//! people concerned, and operations are ordered so that an address is free before it is taken.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::draft::differences;
use super::{Desired, Known, Refusal, RefusalReason};
use crate::model::{
    Attribute, Digest, ExternalId, Kind, ManagedAccount, Operation, Profile, Reason, ScimId,
    Timestamp, fold,
};

pub(super) fn unique_attributes() -> impl Iterator<Item = Attribute> {
    Attribute::ALL
        .into_iter()
        .filter(|attribute| attribute.is_unique())
}

/// The people who must not get an address because others in the directory have it too. Whoever
/// holds it already, by the snapshot, keeps it.
pub(super) fn contested(
    desired: &Desired,
    known: &Known,
    now: Timestamp,
) -> BTreeMap<ExternalId, RefusalReason> {
    let concerned = desired.concerned();
    // Whoever is not concerned is as the account is, and so has its addresses.
    let unchanged = known
        .accounts
        .values()
        .filter(|account| !concerned.contains(&account.key) && !known.is_gone(account, now));
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
                !known.is_gone(account, now) && held.is_some_and(|held| fold(held) == *value)
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

/// Takes out the operations that cannot get their address, and gives the others their wave and
/// their place. Where people exchange addresses in a circle, one of them makes way for a while.
pub(super) fn settle(
    operations: &mut Vec<Operation>,
    known: &Known,
    now: Timestamp,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    undo_lonely_ways(operations);
    // A refused operation does not free its old address, which may refuse another one.
    loop {
        let mut refused = taken(operations, known, now);
        if refused.is_empty() {
            let circle = assign_waves(operations);
            if circle.is_empty() {
                break;
            }
            if make_way(operations, &circle) {
                continue;
            }
            refused = in_circle(operations, &circle);
        }
        operations.retain(|operation| {
            let Some(why) = refused.get(&operation.key) else {
                return true;
            };
            if operation.reason != Reason::MakesWay {
                refusals.push(Refusal {
                    key: Some(operation.key.clone()),
                    source: operation.source.clone(),
                    dn: operation.dn.clone(),
                    why: why.clone(),
                });
            }
            false
        });
        undo_lonely_ways(operations);
    }
    let last_tries = known.failures.last_tries(operations);
    operations.sort_by(|a, b| {
        let place = |one: &Operation| (one.wave, last_tries.get(&one.key), one.kind);
        (place(a), &a.dn, &a.key).cmp(&(place(b), &b.dn, &b.key))
    });
    refusals
}

/// The values of an account without its addresses, which get values that nobody else has.
pub(super) fn parked(account: &ManagedAccount) -> Profile {
    let mut profile = account.profile.clone();
    for attribute in unique_attributes() {
        if let Some(value) = account.profile.get(attribute) {
            profile.set(attribute, substitute(&account.key, attribute, value));
        }
    }
    profile
}

/// An address for the time being: of the same domain, as others would be refused, and made from
/// the key, so that no two people get the same.
fn substitute(key: &ExternalId, attribute: Attribute, value: &str) -> String {
    let Digest(digest) = Digest::of_text(key.as_str());
    let mark: String = digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let (local, domain) = match value.rsplit_once('@') {
        Some((local, domain)) => (local, format!("@{domain}")),
        None => (value, String::new()),
    };
    // The local part of an address has 64 octets at most (RFC 5321 section 4.5.3.1.1).
    let most = 64_usize.min(attribute.max_chars().saturating_sub(domain.chars().count()));
    let tail = format!("+dirsyncd-{mark}");
    let mut local = local.to_owned();
    while local.len() + tail.len() > most && local.pop().is_some() {}
    format!("{local}{tail}{domain}")
}

/// Lets one of those in a circle take another address first; whether one of them can.
fn make_way(operations: &mut Vec<Operation>, circle: &[usize]) -> bool {
    let may = |at: &&usize| {
        let operation = &operations[**at];
        let is_known = matches!(operation.kind, Kind::Update | Kind::Restore);
        // A requested deletion is cancelled first.
        is_known
            && operation.formerly.is_none()
            && !operation.cancel_delete
            && operation.reason != Reason::MakesWay
    };
    let Some(at) = circle
        .iter()
        .filter(may)
        .min_by_key(|at| &operations[**at].key)
        .copied()
    else {
        return false;
    };
    let operation = &mut operations[at];
    let mut between = operation.before.clone();
    for attribute in unique_attributes().filter(|attribute| operation.changes(*attribute)) {
        if let Some(value) = operation.before.get(attribute) {
            between.set(attribute, substitute(&operation.key, attribute, value));
        }
    }
    let way = Operation {
        kind: Kind::Update,
        reason: Reason::MakesWay,
        changes: differences(&operation.before, &between),
        after: between.clone(),
        active: (operation.active.0, operation.active.0),
        ..operation.clone()
    };
    operation.changes.retain(|change| {
        let of_profile = change.attribute.parse::<Attribute>();
        of_profile.is_err()
    });
    let mut changes = differences(&between, &operation.after);
    changes.append(&mut operation.changes);
    operation.changes = changes;
    operation.before = between;
    operations.insert(at, way);
    true
}

/// Takes out who makes way for nobody any more, as the others were refused, and whose address
/// nobody takes any more. Who makes way for others takes an address of theirs, and so is refused
/// with them: what comes after such a way has not to be changed.
pub(super) fn undo_lonely_ways(operations: &mut Vec<Operation>) {
    while let Some(at) = operations.iter().position(|operation| {
        matches!(operation.reason, Reason::MakesWay | Reason::Recycled) && {
            let serves = |other: &Operation| {
                let takes =
                    |(attribute, value)| other.after.get(attribute).map(fold) == Some(fold(value));
                other.key != operation.key && addresses(&operation.before).any(takes)
            };
            !operations.iter().any(serves)
        }
    }) {
        operations.remove(at);
    }
}

/// Why those in a circle cannot get their address.
fn in_circle(operations: &[Operation], circle: &[usize]) -> BTreeMap<ExternalId, RefusalReason> {
    let refused = |at: &usize| {
        let operation = &operations[*at];
        let others: Vec<&str> = circle
            .iter()
            .map(|other| &operations[*other])
            .filter(|other| operation.waits_for.contains(&other.key))
            .map(|other| other.dn.as_str())
            .collect();
        let others = others.join("; ");
        (
            operation.key.clone(),
            RefusalReason::AddressCycle { others },
        )
    };
    circle.iter().map(refused).collect()
}

/// Whose account holds an address, if it is managed, and its name for people.
type Holder<'a> = (Option<&'a ExternalId>, String);

/// The operations whose new address another account keeps.
fn taken(
    operations: &[Operation],
    known: &Known,
    now: Timestamp,
) -> BTreeMap<ExternalId, RefusalReason> {
    let planned: HashMap<&ExternalId, &Operation> = operations
        .iter()
        .filter(|operation| operation.reason != Reason::MakesWay)
        .flat_map(|operation| {
            let keys = [Some(&operation.key), operation.formerly.as_ref()];
            keys.into_iter().flatten().map(move |key| (key, operation))
        })
        .collect();
    let mut holders: HashMap<(Attribute, String), Vec<Holder>> = HashMap::new();
    let mut hold = |profile, key, label: String| {
        for (attribute, value) in addresses(profile) {
            let same = holders.entry((attribute, fold(value))).or_default();
            same.push((key, label.clone()));
        }
    };
    let mut accounts: Vec<&ManagedAccount> = known
        .accounts
        .values()
        .filter(|account| !known.is_gone(account, now))
        .collect();
    accounts.sort_by(|a, b| a.key.cmp(&b.key));
    for account in accounts {
        let profile = planned
            .get(&account.key)
            .map_or(&account.profile, |op| &op.after);
        let label = format!(
            "{} ({}, {})",
            account.profile.label(),
            account.dn,
            describe(account)
        );
        hold(profile, Some(&account.key), label);
    }
    // An account that is adopted has the address that it gets, or keeps.
    let adopted: HashMap<&ScimId, &Operation> = operations
        .iter()
        .filter(|operation| operation.kind == Kind::Adopt)
        .filter_map(|operation| Some((&operation.target.as_ref()?.scim_id, operation)))
        .collect();
    for account in &known.existing {
        let adopter = adopted.get(&account.scim_id);
        let profile = adopter.map_or(&account.profile, |op| &op.after);
        let label = format!("{}, SCIM id {}", account.profile.label(), account.scim_id);
        hold(profile, adopter.map(|op| &op.key), label);
    }
    let mut refused = BTreeMap::new();
    for operation in operations {
        for attribute in unique_attributes().filter(|attribute| operation.changes(*attribute)) {
            let Some(value) = operation.after.get(attribute) else {
                continue;
            };
            let others = holders.get(&(attribute, fold(value)));
            let is_other = |key: &ExternalId| *key != operation.key && key != operation.row();
            let mut others = others.into_iter().flatten();
            let other = others.find(|(key, _)| key.is_none_or(is_other));
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

/// How urgent an operation is when nothing waits for it, the most urgent first: access is taken
/// away, then identities and logins change, then people come, then what is left over goes for
/// good, then the rest. Groups go out before the rest (`apply/`).
fn urgency(operation: &Operation) -> u32 {
    match operation.kind {
        _ if operation.turns_login_off() => 0,
        Kind::Deactivate => 0,
        // It can be cancelled for a time only.
        _ if operation.cancel_delete => 1,
        Kind::Update if !operation.is_cosmetic() => 1,
        Kind::Restore | Kind::Adopt => 2,
        Kind::Create => 3,
        Kind::Delete => 4,
        Kind::Update => 5,
    }
}

/// Gives each operation a wave after those that free its address, and which is as early as what it
/// does is urgent: whoever frees an address for a more urgent one is as urgent, so that nothing waits
/// for what it does not need and is less urgent. One circle of those that go round in circles is
/// returned.
fn assign_waves(operations: &mut [Operation]) -> Vec<usize> {
    let mut frees: HashMap<(Attribute, String), usize> = HashMap::new();
    let mut ways: HashMap<&ExternalId, usize> = HashMap::new();
    for (at, operation) in operations.iter().enumerate() {
        for attribute in unique_attributes().filter(|attribute| operation.changes(*attribute)) {
            if let Some(value) = operation.before.get(attribute) {
                frees.insert((attribute, fold(value)), at);
            }
        }
        if operation.reason == Reason::MakesWay {
            ways.insert(&operation.key, at);
        }
    }
    let waits_for: Vec<BTreeSet<usize>> = operations
        .iter()
        .enumerate()
        .map(|(at, operation)| {
            // What an operation frees that makes way before it, it takes itself.
            let is_others = |other: &&usize| operations[**other].key != operation.key;
            let freers = unique_attributes()
                .filter(|attribute| operation.changes(*attribute))
                .filter_map(|attribute| {
                    let value = operation.after.get(attribute)?;
                    frees.get(&(attribute, fold(value)))
                })
                .filter(is_others);
            let own = ways.get(&operation.key);
            freers
                .chain(own)
                .copied()
                .filter(|other| *other != at)
                .collect()
        })
        .collect();
    // Chains are followed from their free ends; what never becomes ready is in a circle or waits
    // for one.
    let mut missing: Vec<usize> = waits_for.iter().map(BTreeSet::len).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); operations.len()];
    for (at, freers) in waits_for.iter().enumerate() {
        for freer in freers {
            followers[*freer].push(at);
        }
    }
    let mut order: Vec<usize> = (0..operations.len())
        .filter(|at| missing[*at] == 0)
        .collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for follower in &followers[at] {
            missing[*follower] -= 1;
            if missing[*follower] == 0 {
                order.push(*follower);
            }
        }
    }
    let mut urgencies: Vec<u32> = operations.iter().map(urgency).collect();
    for at in order.iter().rev() {
        let most = followers[*at].iter().map(|follower| urgencies[*follower]);
        urgencies[*at] = most.fold(urgencies[*at], u32::min);
    }
    let mut steps: Vec<u32> = vec![0; operations.len()];
    for at in &order {
        let same = waits_for[*at]
            .iter()
            .filter(|freer| urgencies[**freer] == urgencies[*at]);
        steps[*at] = same.map(|freer| steps[*freer] + 1).max().unwrap_or(0);
    }
    let places: BTreeSet<(u32, u32)> = order
        .iter()
        .map(|at| (urgencies[*at], steps[*at]))
        .collect();
    let mut waves: Vec<Option<u32>> = vec![None; operations.len()];
    let ranks: BTreeMap<(u32, u32), u32> = places.into_iter().zip(0..).collect();
    for at in order {
        waves[at] = ranks.get(&(urgencies[at], steps[at])).copied();
    }
    let open: Vec<usize> = (0..operations.len())
        .filter(|at| waves[*at].is_none())
        .collect();
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
    circle(&waits_for, &open)
}

/// One circle among those that never become ready, and nobody outside it.
fn circle(waits_for: &[BTreeSet<usize>], open: &[usize]) -> Vec<usize> {
    let Some(mut at) = open.first().copied() else {
        return Vec::new();
    };
    let open: HashSet<usize> = open.iter().copied().collect();
    let mut path: Vec<usize> = Vec::new();
    loop {
        if let Some(from) = path.iter().position(|other| *other == at) {
            return path.split_off(from);
        }
        path.push(at);
        // Each of them waits for another one that is not ready.
        match waits_for[at].iter().find(|other| open.contains(other)) {
            Some(next) => at = *next,
            None => return path,
        }
    }
}
