//! The groups of a run: reads what the rules find, and what the organization has of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{LOOK_UPS, RunError, Setup};
use crate::apply::GroupSettlement;
use crate::config::{GroupRule, Guards};
use crate::directory::{FoundGroup, Roster, roster};
use crate::mapping::{GroupFault, GroupMapping, UnmappedGroup};
use crate::model::{
    DesiredGroup, ExistingGroup, ExternalId, GroupOrigin, ManagedGroup, ScimId, Target, Timestamp,
    fold,
};
use crate::org::{ApiError, Reader};
use crate::plan::groups::{self, GroupPlan, KnownGroups, Person, RuleRead};
use crate::plan::{Desired, GroupChange, HoldCause, Known, Plan};
use crate::snapshot::Snapshot;

/// So many requests are under way at a time.
const AT_A_TIME: usize = 8;

/// Plans the groups, once the accounts are planned; `None` where there is no rule for any.
/// `settlements` are those that are not in the database.
pub(super) async fn plan_groups(
    setup: &Setup,
    snapshot: &mut Snapshot,
    reader: &Reader,
    (desired, known): (&Desired, &Known),
    plan: &Plan,
    settlements: &[GroupSettlement],
    accepts_scope_change: bool,
) -> Result<Option<GroupPlan>, RunError> {
    let rules = &setup.config.groups;
    if rules.is_empty() {
        return Ok(None);
    }
    let mut read = Vec::new();
    for (rule, mapping) in setup.groups() {
        let mut sources = setup.config.sources.iter();
        let Some(source) = sources.find(|source| source.name == rule.source) else {
            continue;
        };
        let found = roster(source, rule, &|entry| mapping.person(entry)).await;
        read.push(mapped(rule, mapping, found));
    }
    let mut managed = snapshot.groups().await?;
    for settlement in settlements {
        settlement.settle(&mut managed);
    }
    let existing = existing_groups(reader, &managed, &read).await?;
    let people = people(snapshot, known, &read, &existing).await?;
    let claimed = known.existing.iter().map(|account| account.scim_id.clone());
    let known = KnownGroups {
        claimed: claimed.collect(),
        managed,
        existing,
        people,
    };
    let unseen = groups::unseen(desired);
    Ok(Some(groups::plan(
        rules,
        read,
        &known,
        &unseen,
        &plan.operations,
        accepts_scope_change,
    )))
}

/// Whether something is taken away from a group that `administrators` names.
pub(super) fn concern_administrators(plan: &Plan, guards: &Guards) -> bool {
    let planned = plan.groups.iter().flat_map(|groups| &groups.operations);
    let mut operations = planned.map(|planned| &planned.operation);
    operations.any(|operation| {
        operation.takes_away() && guards.names_administrators(operation.present_name())
    })
}

/// Lets the guards hold what is too much of it.
pub(super) fn hold(plan: &mut Plan, guards: &Guards, known: &Known, now: Timestamp) {
    let Some(mut groups) = plan.groups.take() else {
        return;
    };
    let departing = plan.operations.iter().map(|planned| &planned.operation);
    let departures: Vec<&Target> = departing
        .filter(|operation| operation.is_departure())
        .filter_map(|operation| operation.target.as_ref())
        .collect();
    let operations = groups.operations.iter().map(|planned| &planned.operation);
    let changes: Vec<GroupChange<'_>> = operations
        .map(|operation| {
            let (removed, members) = operation.removals();
            let guarded = &known.guarded_groups;
            let place = (operation.key.clone(), operation.kind.name().to_owned());
            GroupChange {
                name: operation.present_name(),
                members,
                removed,
                loses_administrators: guarded.loses_all(
                    operation,
                    &departures,
                    &known.accounts,
                    guards,
                ),
                digest: operation.digest(),
                left_out: known.left_out.get(&place),
            }
        })
        .collect();
    let holds = plan.hold_groups(&changes, groups.memberships, guards, &known.approvals, now);
    for (planned, holds) in groups.operations.iter_mut().zip(holds) {
        planned.holds = holds;
    }
    groups.let_join(|hold| matches!(plan.holds[hold].cause, HoldCause::Limit { .. }));
    plan.groups = Some(groups);
}

/// What the mapping makes of the groups that a rule found.
fn mapped(rule: &GroupRule, mapping: &GroupMapping, roster: Roster) -> RuleRead {
    let mut read = RuleRead {
        found: Vec::new(),
        unmapped: Vec::new(),
        clean: roster.clean,
    };
    let fingerprint = rule.fingerprint();
    for group in roster.groups {
        let FoundGroup {
            entry,
            is_group,
            members,
            unidentified,
            nested,
            dangling,
            doubts,
        } = group;
        match mapping.map(&entry) {
            Ok(None) => {}
            Ok(Some((key, _))) if !is_group => read.unmapped.push(UnmappedGroup {
                dn: entry.dn().to_owned(),
                key: Some(key),
                why: GroupFault::NoGroup,
            }),
            Ok(Some((key, name))) => read.found.push(DesiredGroup {
                origin: GroupOrigin {
                    source: rule.source.clone(),
                    key,
                    dn: entry.dn().to_owned(),
                    rule: fingerprint.clone(),
                },
                name,
                members,
                unidentified,
                nested,
                dangling,
                doubts,
            }),
            Err(unmapped) => read.unmapped.push(unmapped),
        }
    }
    read
}

/// The groups of the organization that dirsyncd keeps, and those that a new one may be.
async fn existing_groups(
    reader: &Reader,
    managed: &[ManagedGroup],
    read: &[RuleRead],
) -> Result<Vec<ExistingGroup>, ApiError> {
    let ours: HashSet<&ScimId> = managed.iter().map(|group| &group.scim_id).collect();
    let names: HashSet<String> = managed.iter().map(|group| fold(&group.name)).collect();
    let wanted: BTreeMap<String, &str> = read
        .iter()
        .flat_map(|rule| &rule.found)
        .map(|group| (fold(&group.name), group.name.as_str()))
        .collect();
    let new: Vec<&str> = wanted
        .iter()
        .filter(|(folded, _)| !names.contains(*folded))
        .map(|(_, name)| *name)
        .collect();
    let is_listed = managed.len() + new.len() > LOOK_UPS || (managed.is_empty() && !new.is_empty());
    if is_listed {
        // Only so is one found by its key.
        let keys: HashSet<&ExternalId> = read
            .iter()
            .flat_map(|rule| &rule.found)
            .map(|group| &group.origin.key)
            .collect();
        let mut all = reader.all_groups().await?;
        all.retain(|group| {
            ours.contains(&group.scim_id)
                || wanted.contains_key(&fold(&group.name))
                || group
                    .external_id
                    .as_ref()
                    .is_some_and(|id| keys.contains(id))
        });
        return Ok(all);
    }
    let kept: Vec<Option<ExistingGroup>> = stream::iter(managed)
        .map(|group| reader.group(&group.scim_id))
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    let found: Vec<Vec<ExistingGroup>> = stream::iter(new)
        .map(|name| reader.groups_by_name(name))
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    let found = found.into_iter().flatten();
    let found = found.filter(|group| !ours.contains(&group.scim_id));
    Ok(kept.into_iter().flatten().chain(found).collect())
}

/// The accounts of all members.
async fn people(
    snapshot: &mut Snapshot,
    known: &Known,
    read: &[RuleRead],
    existing: &[ExistingGroup],
) -> Result<HashMap<ExternalId, Person>, RunError> {
    let keys: HashSet<ExternalId> = read
        .iter()
        .flat_map(|rule| &rule.found)
        .flat_map(|group| group.members.keys().cloned())
        .collect();
    let users: BTreeSet<&ScimId> = existing.iter().flat_map(|group| &group.members).collect();
    let ids: Vec<ScimId> = users.iter().map(|id| (*id).clone()).collect();
    let mut people: HashMap<ExternalId, Person> = HashMap::new();
    for account in snapshot.accounts_by_scim_id(&ids).await? {
        people.insert(account.key.clone(), Person::from(&account));
    }
    let missing = keys.iter().filter(|key| !people.contains_key(key));
    let missing: HashSet<ExternalId> = missing.cloned().collect();
    for account in snapshot.accounts(&missing).await?.values() {
        people.insert(account.key.clone(), Person::from(account));
    }
    // As the plan of the accounts knows them: also what the database must not be told yet, such
    // as another key.
    let known_as: HashMap<&ScimId, &ExternalId> = known
        .accounts
        .values()
        .map(|account| (&account.scim_id, &account.key))
        .collect();
    people.retain(|key, person| {
        known_as
            .get(&person.scim_id)
            .is_none_or(|known| *known == key)
    });
    for account in known.accounts.values() {
        if keys.contains(&account.key) || users.contains(&account.scim_id) {
            people.insert(account.key.clone(), Person::from(account));
        }
    }
    Ok(people)
}
