//! What is held whatever the numbers: protected accounts and groups, the last administrator,
//! freeze windows, accounts that may be another tool's by now.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Found, Hold, HoldCause, Known};
use crate::config::{Guard, Guards};
use crate::model::{
    AccountId, Attribute, ExternalId, GroupChange, GroupOperation, Kind, ManagedAccount, Operation,
    Profile, ScimId, Target, Timestamp, fold,
};

/// The groups of the organization that `protected_groups` and `administrators` name. They are
/// read only when a plan has departures, or takes something away from such a group.
#[derive(Clone, Debug, Default)]
pub struct GuardedGroups {
    /// The groups that there are.
    pub groups: Vec<GuardedGroup>,
    /// Names in `administrators` of which the organization has no group.
    pub missing: Vec<String>,
}

impl GuardedGroups {
    /// Whether a change to a group that `administrators` names would leave it without an active
    /// member, but for one that had none: together with the other `changes` and the departures of
    /// the same plan. A group that is renamed is made anew, and nobody is an administrator by the
    /// new one.
    pub fn loses_all(
        &self,
        change: &GroupOperation,
        changes: &[&GroupOperation],
        departures: &[&Target],
        accounts: &HashMap<ExternalId, ManagedAccount>,
        guards: &Guards,
    ) -> bool {
        if !change.takes_away() || !guards.names_administrators(change.present_name()) {
            return false;
        }
        let name = fold(change.present_name());
        let same_group = changes
            .iter()
            .filter(|other| fold(other.present_name()) == name);
        let leaving = same_group.flat_map(|other| &other.remove);
        let leaving = leaving.filter_map(|member| {
            let key = member.key.as_ref();
            let account = key.and_then(|key| accounts.get(key));
            let target = Target {
                scim_id: member.scim_id.clone()?,
                account_id: account.and_then(|account| account.account_id.clone()),
            };
            Some((target.scim_id.clone(), target))
        });
        let departing = departures.iter().copied();
        let departing = departing.map(|one| (one.scim_id.clone(), one.clone()));
        // Whoever leaves twice is one; of a departure the account is known.
        let leaving: HashMap<ScimId, Target> = leaving.chain(departing).collect();
        let mut same_name = self.groups.iter().filter(|group| fold(&group.name) == name);
        same_name.any(|group| {
            let active = Ids::of(group.members.iter().filter(|member| member.is_active));
            let left = match change.kind {
                GroupChange::Rename | GroupChange::Delete => 0,
                _ => {
                    let gone = leaving.values().filter(|one| active.may_have(one)).count();
                    active.count.saturating_sub(gone)
                }
            };
            active.count > 0 && left == 0
        })
    }
}

/// A group of the organization with its members.
#[derive(Clone, Debug)]
pub struct GuardedGroup {
    /// Its name.
    pub name: String,
    /// Its members.
    pub members: Vec<GuardedMember>,
}

/// A member of a guarded group, by whichever id the organization tells.
#[derive(Clone, Debug)]
pub struct GuardedMember {
    /// The SCIM resource.
    pub scim_id: Option<ScimId>,
    /// The account.
    pub account_id: Option<AccountId>,
    /// Whether the account can log in.
    pub is_active: bool,
}

/// Holds what `concerns` names, but for what is approved.
pub(in crate::plan) fn hold_all<Planned>(
    operations: &[Planned],
    cause: HoldCause,
    is_approved: impl Fn(&str, usize) -> bool,
    concerns: impl Fn(&Planned) -> bool,
) -> Option<Found> {
    let name = cause.name();
    let held: Vec<usize> = operations
        .iter()
        .enumerate()
        .filter(|(at, operation)| concerns(operation) && !is_approved(&name, *at))
        .map(|(at, _)| at)
        .collect();
    Found::of(cause, held)
}

impl Found {
    /// The hold of these operations, if there are any.
    pub(super) fn of(cause: HoldCause, operations: Vec<usize>) -> Option<Self> {
        let planned = operations.len() as u64;
        (planned > 0).then(|| Found {
            hold: Hold {
                name: cause.name(),
                cause,
                planned,
                opened: None,
            },
            operations,
        })
    }
}

/// The hold over protected accounts, and over departures of members of protected groups.
pub(super) fn protected(
    operations: &[Operation],
    known: &Known,
    guards: &Guards,
    is_approved: impl Fn(&str, usize) -> bool,
) -> Option<Found> {
    let is_named = |profile: &Profile| {
        [Attribute::Email, Attribute::UserName]
            .into_iter()
            .filter_map(|attribute| profile.get(attribute))
            .any(|value| guards.protected.contains(&fold(value)))
    };
    let groups: Vec<Ids> = known
        .guarded_groups
        .groups
        .iter()
        .filter(|group| guards.protects_group(&group.name))
        .map(|group| Ids::of(group.members.iter()))
        .collect();
    hold_all(operations, HoldCause::Protected, is_approved, |operation| {
        let risks = operation.is_departure()
            || operation.kind == Kind::Adopt
            || operation.formerly.is_some()
            || Guard::ChangeEmail.counts(operation) > 0;
        let is_protected = || {
            guards.protected.contains(&fold(operation.key.as_str()))
                || guards.protected.contains(&fold(operation.row().as_str()))
                || is_named(&operation.before)
                || is_named(&operation.after)
        };
        let is_member = || {
            let target = operation.target.as_ref();
            target.is_some_and(|target| groups.iter().any(|ids| ids.may_have(target)))
        };
        (risks && is_protected()) || (operation.is_departure() && is_member())
    })
}

/// The hold over departures that would leave a group of administrators without an active
/// member.
pub(super) fn administrators(
    operations: &[Operation],
    known: &Known,
    guards: &Guards,
    is_approved: impl Fn(&str, usize) -> bool,
) -> Option<Found> {
    let departures: Vec<&Target> = operations
        .iter()
        .filter(|operation| operation.is_departure())
        .filter_map(|operation| operation.target.as_ref())
        .collect();
    let administrators: HashSet<String> = guards.administrators.iter().map(|n| fold(n)).collect();
    let mut names = BTreeSet::new();
    let mut at_risk = Vec::new();
    for group in &known.guarded_groups.groups {
        if !administrators.contains(&fold(&group.name)) {
            continue;
        }
        let ids = Ids::of(group.members.iter().filter(|member| member.is_active));
        let departing = departures.iter().filter(|target| ids.may_have(target));
        // Two targets are two accounts, so no more members are left than this.
        if (1..=departing.count()).contains(&ids.count) {
            names.insert(group.name.clone());
            at_risk.push(ids);
        }
    }
    let missing = known.guarded_groups.missing.clone();
    let is_any = !missing.is_empty();
    let cause = HoldCause::Administrators {
        groups: names.into_iter().collect(),
        missing,
    };
    hold_all(operations, cause, is_approved, |operation| {
        let is_member = |target: &Target| at_risk.iter().any(|ids| ids.may_have(target));
        operation.is_departure() && (is_any || operation.target.as_ref().is_some_and(is_member))
    })
}

/// The hold over what falls into a freeze window. `is_named` tells whether something is of the
/// kinds that a window names, or of any where it names none.
pub(super) fn freeze<Planned>(
    operations: &[Planned],
    guards: &Guards,
    now: Timestamp,
    is_approved: impl Fn(&str, usize) -> bool,
    is_named: impl Fn(Option<&BTreeSet<Guard>>, &Planned) -> bool,
) -> Option<Found> {
    let open: Vec<_> = guards
        .freezes
        .iter()
        .filter_map(|freeze| Some((freeze, freeze.until(now)?)))
        .collect();
    let (last, until) = open.iter().max_by_key(|(_, until)| *until)?;
    let cause = HoldCause::Freeze {
        until: *until,
        zone: last.zone,
    };
    hold_all(operations, cause, is_approved, |operation| {
        let mut open = open.iter();
        open.any(|(freeze, _)| is_named(freeze.what.as_ref(), operation))
    })
}

/// Whether a freeze of these kinds is about the operation. To cancel a deletion does not wait: it
/// is possible for a time only, and the account is lost after it.
pub(super) fn is_frozen(what: Option<&BTreeSet<Guard>>, operation: &Operation) -> bool {
    !operation.cancel_delete
        && what.is_none_or(|what| what.iter().any(|guard| guard.counts(operation) > 0))
}

/// The hold over departures while the clock cannot be trusted. Nobody can approve them: a
/// deactivation writes the dates that deletions are counted from.
pub(super) fn clock(operations: &[Operation], fault: Option<String>) -> Option<Found> {
    let cause = HoldCause::Clock { why: fault? };
    hold_all(operations, cause, |_, _| false, Operation::is_departure)
}

/// The hold over accounts that carry another key in the organization, and so may be another tool's, or
/// another person's. Only a deletion is cancelled: that is possible for a time only, and takes nothing away.
pub(super) fn rekeyed(
    operations: &[Operation],
    known: &Known,
    is_approved: impl Fn(&str, usize) -> bool,
) -> Option<Found> {
    let is_mere_cancellation =
        |one: &Operation| one.cancel_delete && one.changes.is_empty() && !one.active.1;
    hold_all(operations, HoldCause::Rekeyed, is_approved, |operation| {
        known.is_rekeyed(operation) && !is_mere_cancellation(operation)
    })
}

/// The ids of a group's members.
struct Ids<'a> {
    scim: HashSet<&'a str>,
    accounts: HashSet<&'a str>,
    is_by_account: bool,
    /// How many members there are.
    count: usize,
}

impl<'a> Ids<'a> {
    fn of(members: impl Iterator<Item = &'a GuardedMember>) -> Self {
        let mut ids = Ids {
            scim: HashSet::new(),
            accounts: HashSet::new(),
            is_by_account: false,
            count: 0,
        };
        for member in members {
            ids.scim.extend(member.scim_id.as_ref().map(ScimId::as_str));
            ids.accounts
                .extend(member.account_id.as_ref().map(AccountId::as_str));
            ids.is_by_account |= member.scim_id.is_none();
            ids.count += 1;
        }
        ids
    }

    /// Whether the account is a member. Where members are told by their account, one whose
    /// account is not known yet may be any of them.
    fn may_have(&self, target: &Target) -> bool {
        match &target.account_id {
            Some(account) if self.accounts.contains(account.as_str()) => true,
            None if self.is_by_account => true,
            _ => self.scim.contains(target.scim_id.as_str()),
        }
    }
}
