//! The groups of a run: reads what the rules find, and what the organization has of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{LOOK_UPS, RunError, Setup};
use crate::apply::GroupSettlement;
use crate::config::{GroupRule, Guards};
use crate::directory::{FoundGroup, Roster, roster};
use crate::mapping::{GroupFault, GroupMapping, UnmappedGroup};
use crate::model::{
    DesiredGroup, Digest, ExistingAccount, ExistingGroup, ExternalId, GroupEffect, GroupMember,
    GroupOperation, GroupOrigin, ManagedGroup, RunId, ScimId, Target, Timestamp, fold,
};
use crate::org::{ApiError, Reader};
use crate::plan::groups::{
    self, GroupPlan, KnownGroups, Parts, PastGroup, Person, RuleRead, UndoneGroup,
};
use crate::plan::{Desired, GroupChange, Known, Plan, Skipped};
use crate::snapshot::{Snapshot, SnapshotError};

/// So many requests are under way at a time.
const AT_A_TIME: usize = 8;

/// Plans the groups, once the accounts are planned, and gives also what they are planned from;
/// `None` where there is no rule for any. `settlements` are those that are not in the database.
pub(super) async fn plan_groups(
    setup: &Setup,
    snapshot: &mut Snapshot,
    reader: &Reader,
    (desired, known): (&Desired, &Known),
    plan: &Plan,
    settlements: &[GroupSettlement],
    accepts_scope_change: bool,
) -> Result<Option<(GroupPlan, KnownGroups)>, RunError> {
    let rules = &setup.config.groups;
    if rules.is_empty() {
        return Ok(None);
    }
    let read = read_rules(setup).await;
    let mut managed = snapshot.groups().await?;
    for settlement in settlements {
        settlement.settle(&mut managed);
    }
    let known = known_groups(snapshot, reader, known, managed, &Wanted::found(&read)).await?;
    let unseen = groups::unseen(desired);
    let plan = groups::plan(
        rules,
        read,
        &known,
        &unseen,
        &plan.operations,
        accepts_scope_change,
    );
    Ok(Some((plan, known)))
}

/// What each rule finds in the directory, in their order.
pub(super) async fn read_rules(setup: &Setup) -> Vec<RuleRead> {
    let mut read = Vec::new();
    for (rule, mapping) in setup.groups() {
        let mut sources = setup.config.sources.iter();
        let Some(source) = sources.find(|source| source.name == rule.source) else {
            continue;
        };
        let found = roster(source, rule, &|entry| mapping.person(entry)).await;
        read.push(mapped(rule, mapping, found));
    }
    read
}

/// Groups and people that something is about.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    /// Names of groups.
    pub(super) names: BTreeSet<&'a str>,
    /// Keys of groups.
    pub(super) keys: HashSet<&'a ExternalId>,
    /// People who join or leave them.
    pub(super) people: HashSet<ExternalId>,
}

impl<'a> Wanted<'a> {
    /// What the rules found.
    fn found(read: &'a [RuleRead]) -> Self {
        let found = || read.iter().flat_map(|rule| &rule.found);
        Wanted {
            names: found().map(|group| group.name.as_str()).collect(),
            keys: found().map(|group| &group.origin.key).collect(),
            people: found()
                .flat_map(|group| group.members.keys().cloned())
                .collect(),
        }
    }
}

/// What the snapshot and the organization know of the groups that dirsyncd keeps (`managed`) and
/// of those that are wanted.
pub(super) async fn known_groups(
    snapshot: &mut Snapshot,
    reader: &Reader,
    known: &Known,
    managed: Vec<ManagedGroup>,
    wanted: &Wanted<'_>,
) -> Result<KnownGroups, RunError> {
    let existing = existing_groups(reader, &managed, &known.undone_groups, wanted).await?;
    let users = existing.iter().flat_map(|group| &group.members);
    let people = people(snapshot, known, &wanted.people, users.collect()).await?;
    let claimed = known.existing.iter().map(|account| account.scim_id.clone());
    Ok(KnownGroups {
        claimed: claimed.collect(),
        managed,
        existing,
        people,
        undone: known.undone_groups.clone(),
        later: Vec::new(),
    })
}

/// Plans to undo what a run did to groups, once the accounts are planned, and tells of what is not
/// undone. `settlements` are those that are not in the database.
pub(super) async fn plan_revert(
    snapshot: &mut Snapshot,
    reader: &Reader,
    (run, past): (RunId, &[PastGroup]),
    known: &Known,
    plan: &Plan,
    settlements: &[GroupSettlement],
) -> Result<(GroupPlan, Vec<Skipped>), RunError> {
    let mut managed = snapshot.groups().await?;
    let mut later = snapshot.later_groups(run).await?;
    for settlement in settlements {
        settlement.settle(&mut managed);
        if let Some(one) = later.iter_mut().find(|one| one.id == settlement.id) {
            one.progress = Some(settlement.progress.clone());
        }
    }
    let open = || past.iter().filter(|one| one.undone_by.is_none());
    let groups: BTreeSet<&ScimId> = open()
        .flat_map(|one| {
            let made = one.progress.iter().filter_map(|it| it.scim_id.as_ref());
            let target = one.operation.target.iter().map(|target| &target.scim_id);
            made.chain(target).chain(&one.begun)
        })
        .collect();
    let mut existing = groups_by_id(reader, groups).await?;
    let coming_back = open().filter(|one| {
        let deleted = one.progress.iter().filter_map(|it| it.deleted.as_ref());
        deleted.count() > 0
    });
    let names: BTreeSet<&str> = coming_back
        .map(|one| one.operation.present_name())
        .collect();
    let there = existing.iter().map(|group| group.scim_id.clone());
    let mut there: HashSet<ScimId> = there.collect();
    let named = groups_by_name(reader, names).await?;
    existing.extend(named.filter(|group| there.insert(group.scim_id.clone())));
    let members = || {
        let done = open().flat_map(|one| &one.progress);
        let planned = open().flat_map(|one| &one.operation.remove);
        done.flat_map(|it| it.added.iter().chain(&it.removed))
            .chain(planned)
    };
    let former = open().flat_map(|one| &one.operation.former);
    let former: BTreeSet<&ScimId> = former
        .flat_map(|former| &former.members)
        .chain(members().filter_map(|member| member.scim_id.as_ref()))
        .collect();
    let present: BTreeSet<&ScimId> = existing.iter().flat_map(|group| &group.members).collect();
    let keys = members().filter_map(|member| member.key.clone()).collect();
    let people = people(snapshot, known, &keys, &former | &present).await?;
    let ours: BTreeSet<&ScimId> = people.values().map(|person| &person.scim_id).collect();
    // Who is nobody's of ours can be put in again as long as the organization has the user.
    let others: Vec<&ScimId> = former
        .into_iter()
        .filter(|user| !ours.contains(user) && !present.contains(user))
        .collect();
    let others: Vec<Option<ExistingAccount>> = stream::iter(others)
        .map(|user| reader.by_scim_id(user))
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    let others = others.into_iter().flatten().map(|account| account.scim_id);
    let claimed = others.chain(present.into_iter().cloned()).collect();
    let known = KnownGroups {
        claimed,
        managed,
        existing,
        people,
        undone: Vec::new(),
        later,
    };
    Ok(groups::revert(run, past, &known, &plan.operations))
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
pub(super) async fn hold(
    plan: &mut Plan,
    snapshot: &mut Snapshot,
    guards: &Guards,
    known: &Known,
    now: Timestamp,
) -> Result<(), SnapshotError> {
    let Some(mut groups) = plan.groups.take() else {
        return Ok(());
    };
    let departing = plan.operations.iter().map(|planned| &planned.operation);
    let departures: Vec<&Target> = departing
        .filter(|operation| operation.is_departure())
        .filter_map(|operation| operation.target.as_ref())
        .collect();
    let undone = groups::UndoneGroups::of(&known.undone_groups);
    let is_approved = |digest: Digest| known.approvals.iter().any(|one| one.digest == digest);
    let planned = std::mem::take(&mut groups.operations);
    let members = planned.iter().flat_map(|one| {
        let GroupOperation { add, remove, .. } = &one.operation;
        GroupMember::users(add).chain(GroupMember::users(remove))
    });
    let rekeyed = snapshot.rekeyed(members).await?;
    let parts = Parts::of(planned, &undone, &rekeyed, is_approved);
    let operations: Vec<&GroupOperation> = parts.operations().collect();
    let changes: Vec<GroupChange<'_>> = operations
        .iter()
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
                    &operations,
                    &departures,
                    &known.accounts,
                    guards,
                ),
                reverted_by: undone.by(operation),
                is_rekeyed: Parts::concern(operation, &rekeyed),
                digest: operation.digest(),
                left_out: known.left_out.get(&place),
            }
        })
        .collect();
    let holds = plan.hold_groups(&changes, groups.memberships, guards, &known.approvals, now);
    groups.operations = parts.held(holds);
    plan.groups = Some(groups);
    Ok(())
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
    undone: &[UndoneGroup],
    Wanted { names, keys, .. }: &Wanted<'_>,
) -> Result<Vec<ExistingGroup>, ApiError> {
    let ours: HashSet<&ScimId> = managed.iter().map(|group| &group.scim_id).collect();
    let wanted: BTreeMap<String, &str> = names.iter().map(|name| (fold(name), *name)).collect();
    let names: HashSet<String> = managed.iter().map(|group| fold(&group.name)).collect();
    let new: Vec<&str> = wanted
        .iter()
        .filter(|(folded, _)| !names.contains(*folded))
        .map(|(_, name)| *name)
        .collect();
    // One that a revert has let go, with the name that it had.
    let is_let_go = |one: &UndoneGroup| {
        matches!(one.effect, GroupEffect::Adopted | GroupEffect::Renamed(_))
            && keys.contains(&one.key)
            && managed.iter().all(|group| group.key != one.key)
    };
    let is_listed = managed.len() + new.len() > LOOK_UPS
        || (!new.is_empty() && (managed.is_empty() || undone.iter().any(is_let_go)));
    if is_listed {
        // Only so is one found by its key.
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
    let mut existing = groups_by_id(reader, ours.iter().copied()).await?;
    let found = groups_by_name(reader, new).await?;
    existing.extend(found.filter(|group| !ours.contains(&group.scim_id)));
    Ok(existing)
}

/// Those of the groups that the organization has.
async fn groups_by_id(
    reader: &Reader,
    ids: impl IntoIterator<Item = &ScimId>,
) -> Result<Vec<ExistingGroup>, ApiError> {
    let found: Vec<Option<ExistingGroup>> = stream::iter(ids)
        .map(|id| reader.group(id))
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// The groups of the organization that have one of these names.
async fn groups_by_name(
    reader: &Reader,
    names: impl IntoIterator<Item = &str>,
) -> Result<impl Iterator<Item = ExistingGroup>, ApiError> {
    let found: Vec<Vec<ExistingGroup>> = stream::iter(names)
        .map(|name| reader.groups_by_name(name))
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten())
}

/// The accounts of all members: with these keys, or of these SCIM users.
async fn people(
    snapshot: &mut Snapshot,
    known: &Known,
    keys: &HashSet<ExternalId>,
    users: BTreeSet<&ScimId>,
) -> Result<HashMap<ExternalId, Person>, RunError> {
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
