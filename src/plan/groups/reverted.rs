//! What a revert has put back of groups stays so, as [`reverted`](crate::plan) has it for
//! accounts: until the directory wants something else, or somebody approves it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::draft::{Draft, Settled};
use super::{GroupNotice, GroupNoticed, GroupPlan, PlannedGroup};
use crate::model::{ExternalId, GroupChange, GroupEffect, GroupMember, GroupOperation, RunId};

/// An effect of a group operation that a revert has undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoneGroup {
    /// Its number in the database.
    pub id: i64,
    /// The group's key.
    pub key: ExternalId,
    /// The effect.
    pub effect: GroupEffect,
    /// The run that put it back.
    pub by: RunId,
}

/// What reverts have undone of groups, with the runs that did it.
pub struct UndoneGroups<'a>(HashMap<(&'a ExternalId, &'a GroupEffect), RunId>);

impl<'a> UndoneGroups<'a> {
    /// By group and effect.
    pub fn of(undone: &'a [UndoneGroup]) -> Self {
        let by = |one: &'a UndoneGroup| ((&one.key, &one.effect), one.by);
        UndoneGroups(undone.iter().map(by).collect())
    }

    /// The runs that have put back what this operation would do again; none where it would not.
    pub fn by(&self, operation: &GroupOperation) -> Vec<RunId> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let effects = operation.effects();
        let by = effects
            .iter()
            .filter_map(|effect| self.0.get(&(&operation.key, effect)).copied());
        by.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn has(&self, key: &ExternalId, effect: &GroupEffect) -> bool {
        self.0.contains_key(&(key, effect))
    }

    /// Whether a revert has put back what the operation as a whole would do again.
    pub(super) fn has_whole(&self, operation: &GroupOperation) -> bool {
        let mut effects = operation.effects().into_iter();
        effects.any(|effect| effect.is_whole() && self.has(&operation.key, &effect))
    }

    /// Divides who joins a group, or leaves it: those for whom a revert has put that back, and
    /// the others.
    pub(super) fn divide(
        &self,
        key: &ExternalId,
        members: Vec<GroupMember>,
        effect: fn(String) -> GroupEffect,
    ) -> (Vec<GroupMember>, Vec<GroupMember>) {
        if self.0.is_empty() {
            return (Vec::new(), members);
        }
        let is_undone = |member: &GroupMember| self.has(key, &effect(member.id().to_owned()));
        members.into_iter().partition(is_undone)
    }
}

/// Where a whole group is made, taken over or renamed, leaves members out of it of whom a revert
/// has put back that they join or leave: the next run finds them as a change of their own.
pub(super) fn leave_out(plan: &mut GroupPlan, undone: &[UndoneGroup]) {
    if undone.is_empty() {
        return;
    }
    let undone = UndoneGroups::of(undone);
    for PlannedGroup { operation, .. } in &mut plan.operations {
        let is_changed = matches!(operation.kind, GroupChange::Update | GroupChange::Delete);
        if is_changed || undone.has_whole(operation) {
            continue;
        }
        let key = operation.key.clone();
        let joining: Vec<GroupMember> = operation.joining().cloned().collect();
        let (out, _) = undone.divide(&key, joining, GroupEffect::Joins);
        operation.add.retain(|member| !out.contains(member));
        let remove = std::mem::take(&mut operation.remove);
        let (back, leaving) = undone.divide(&key, remove, GroupEffect::Leaves);
        operation.remove = leaving;
        let members: Vec<String> = out
            .iter()
            .chain(&back)
            .map(|one| one.name.clone())
            .collect();
        if members.is_empty() {
            continue;
        }
        if operation.kind == GroupChange::Rename {
            // They are in the old one, and come along.
            operation.add.extend(back);
            operation.add.sort();
        }
        plan.notices.push(GroupNotice {
            group: operation.name.clone(),
            what: GroupNoticed::PutBack(members),
        });
    }
}

impl Draft<'_> {
    /// What was undone and the directory does not want any more, by number. Of a group of which
    /// the run does not know what is wanted, it stays. `settled` are the groups that are known to
    /// the last member, by the keys of the directory's groups that lead to them; `left` are ours
    /// that nothing leads to any more, by their own.
    pub(super) fn unwished(
        &self,
        settled: &BTreeMap<&ExternalId, Settled<'_, '_>>,
        left: &HashSet<&ExternalId>,
    ) -> Vec<i64> {
        let undone = &self.known.undone;
        if undone.is_empty() {
            return Vec::new();
        }
        let planned = self.plan.operations.iter().map(|one| &one.operation);
        let planned: HashSet<(&ExternalId, GroupEffect)> = planned
            .flat_map(|operation| {
                let effects = operation.effects().into_iter();
                effects.map(|effect| (&operation.key, effect))
            })
            .collect();
        let rows = self.known.managed.iter().map(|row| &row.key);
        let unmapped = self.view.unmapped.iter();
        let unmapped = unmapped.filter_map(|(key, _)| key.as_ref());
        let known: HashSet<&ExternalId> = rows.chain(unmapped).collect();
        let mut members: HashMap<&ExternalId, Membership<'_>> = HashMap::new();
        let mut over = Vec::new();
        for UndoneGroup {
            id, key, effect, ..
        } in undone
        {
            if planned.contains(&(key, effect.clone())) || left.contains(key) {
                continue;
            }
            let is_over = match settled.get(key) {
                Some(group) => {
                    let members = members.entry(key);
                    let members = members.or_insert_with(|| self.membership(group));
                    is_over(effect, group, members)
                }
                // No group of the directory and none of ours has this key.
                None => {
                    self.view.is_whole() && !self.view.seen.contains(key) && !known.contains(key)
                }
            };
            if is_over {
                over.push(*id);
            }
        }
        over
    }

    fn membership<'g>(&'g self, group: &Settled<'_, 'g>) -> Membership<'g> {
        let users = group.there.into_iter().flat_map(|there| &there.members);
        let is_in = users.flat_map(|user| {
            let key = self.accounts.by_scim_id.get(user);
            let key = key.map(|key| key.as_str());
            [Some(user.as_str()), key].into_iter().flatten()
        });
        Membership {
            named: group.wanted.members().into_keys().collect(),
            is_in: is_in.collect(),
        }
    }
}

/// Who is to be in a group, and who is, by [`GroupMember::id`].
struct Membership<'a> {
    named: HashSet<&'a ExternalId>,
    is_in: HashSet<&'a str>,
}

/// Whether a group that is wanted, and for which this is not planned, is to be without it.
fn is_over(effect: &GroupEffect, group: &Settled<'_, '_>, members: &Membership<'_>) -> bool {
    let Settled { wanted, row, there } = group;
    let is_named = |who: &str| members.named.contains(&ExternalId::new(who));
    let is_in = |who: &str| members.is_in.contains(who);
    match effect {
        GroupEffect::Made => there.is_some(),
        GroupEffect::Adopted => row.is_some(),
        GroupEffect::Renamed(_) | GroupEffect::Deleted => true,
        GroupEffect::Joins(who) if is_named(who) => is_in(who),
        GroupEffect::Joins(_) => wanted.unclear().next().is_none(),
        GroupEffect::Leaves(who) => is_named(who) || (there.is_some() && !is_in(who)),
    }
}
