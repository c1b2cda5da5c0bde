//! Group operations divided into what can wait by itself: who joins and who leaves, and of both
//! those whom a revert has put back, and those whose account may be another tool's by now. Guards, holds and approvals know the parts by
//! [`GroupOperation::digest`], as one group may have several.

use std::collections::HashSet;

use super::{PlannedGroup, UndoneGroups};
use crate::model::{
    Digest, GroupChange, GroupEffect, GroupMember, GroupOperation, GroupReason, ScimId, Undoes,
};

/// Group operations, each divided into its parts.
#[derive(Debug)]
pub struct Parts(Vec<Together>);

/// Parts that are sent as one operation if nothing holds any of them.
#[derive(Debug)]
struct Together {
    /// What holds them already.
    holds: Vec<usize>,
    parts: Vec<GroupOperation>,
}

impl Parts {
    /// The parts of planned operations. `rekeyed` are the accounts that carry another key; they join no group
    /// together with its creation. `is_approved` tells by the digest what somebody has let through.
    pub fn of(
        planned: Vec<PlannedGroup>,
        undone: &UndoneGroups<'_>,
        rekeyed: &HashSet<ScimId>,
        is_approved: impl Fn(Digest) -> bool,
    ) -> Self {
        let mut all = Vec::with_capacity(planned.len());
        for PlannedGroup {
            mut operation,
            holds,
            tried_in_vain: _,
        } in planned
        {
            if operation.kind == GroupChange::Update {
                let add = std::mem::take(&mut operation.add);
                let remove = std::mem::take(&mut operation.remove);
                let (out, add) = undone.divide(&operation.key, add, GroupEffect::Joins);
                let (back, remove) = undone.divide(&operation.key, remove, GroupEffect::Leaves);
                let put_back = GroupOperation {
                    add: out,
                    remove: back,
                    ..operation.clone()
                };
                (operation.add, operation.remove) = (add, remove);
                let each = match (is_empty(&operation), is_empty(&put_back)) {
                    (_, true) => vec![operation],
                    (true, false) => vec![put_back],
                    (false, false) => vec![operation, put_back],
                };
                let each = each.into_iter().flat_map(|one| divide(one, rekeyed));
                all.extend(each.map(|one| Together {
                    holds: holds.clone(),
                    parts: ways(one),
                }));
                continue;
            }
            let comes = matches!(operation.kind, GroupChange::Create | GroupChange::Adopt);
            if comes && operation.undoes.is_none() {
                // They are told, and held, once the group is ours.
                for members in [&mut operation.add, &mut operation.remove] {
                    members.retain(|member| !is_one_of(rekeyed, member));
                }
            }
            let joining = joining_the_old_one(&operation, undone);
            let joining = joining.filter(|_| holds.is_empty() && !is_approved(operation.digest()));
            all.extend(joining.map(|joining| Together {
                holds: Vec::new(),
                parts: vec![joining],
            }));
            all.push(Together {
                holds,
                parts: vec![operation],
            });
        }
        Parts(all)
    }

    /// Whether some of these accounts join or leave by a part.
    pub fn concern(operation: &GroupOperation, accounts: &HashSet<ScimId>) -> bool {
        let mut members = operation.joining().chain(&operation.remove);
        members.any(|member| is_one_of(accounts, member))
    }

    /// The parts, one by one.
    pub fn operations(&self) -> impl Iterator<Item = &GroupOperation> {
        self.0.iter().flat_map(|together| &together.parts)
    }

    /// The operations, once it is known what holds each part.
    pub fn held(self, holds: Vec<Vec<usize>>) -> Vec<PlannedGroup> {
        let mut holds = holds.into_iter();
        let each = self.0.into_iter().flat_map(|together| {
            let before = together.holds;
            let parts = together.parts.into_iter().zip(holds.by_ref());
            let parts = parts.map(|(operation, holds)| PlannedGroup {
                operation,
                holds: [before.as_slice(), &holds].concat(),
                tried_in_vain: None,
            });
            as_sent(parts.collect())
        });
        each.collect()
    }
}

/// Puts the parts together that nothing holds, or keeps them apart. What an operation of a revert
/// undoes counts as undone only with the last of it.
fn as_sent(mut parts: Vec<PlannedGroup>) -> Vec<PlannedGroup> {
    if parts.iter().all(|part| part.holds.is_empty()) {
        let rest = parts.split_off(1.min(parts.len()));
        if let Some(PlannedGroup { operation, .. }) = parts.first_mut() {
            for PlannedGroup {
                operation: part, ..
            } in rest
            {
                operation.add.extend(part.add);
                operation.remove.extend(part.remove);
            }
        }
        return parts;
    }
    let free = parts.iter_mut().filter(|part| part.holds.is_empty());
    for undoes in free.filter_map(|part| part.operation.undoes.as_mut()) {
        *undoes = Undoes {
            operations: Vec::new(),
            lets_go: false,
        };
    }
    parts
}

fn is_empty(operation: &GroupOperation) -> bool {
    operation.add.is_empty() && operation.remove.is_empty()
}

fn is_one_of(users: &HashSet<ScimId>, member: &GroupMember) -> bool {
    let user = member.scim_id.as_ref();
    user.is_some_and(|user| users.contains(user))
}

/// The same without these users, and with them alone. Of what undoes a run no part counts as undone before the
/// last does, so that stays one.
fn divide(mut operation: GroupOperation, users: &HashSet<ScimId>) -> Vec<GroupOperation> {
    if operation.undoes.is_some() || !Parts::concern(&operation, users) {
        return vec![operation];
    }
    let mut theirs = operation.clone();
    for (members, those) in [
        (&mut operation.add, &mut theirs.add),
        (&mut operation.remove, &mut theirs.remove),
    ] {
        members.retain(|one| !is_one_of(users, one));
        those.retain(|one| is_one_of(users, one));
    }
    match is_empty(&operation) {
        true => vec![theirs],
        false => vec![operation, theirs],
    }
}

/// Who joins and who leaves.
fn ways(mut operation: GroupOperation) -> Vec<GroupOperation> {
    if operation.add.is_empty() || operation.remove.is_empty() {
        return vec![operation];
    }
    let joining = GroupOperation {
        remove: Vec::new(),
        ..operation.clone()
    };
    operation.add = Vec::new();
    vec![joining, operation]
}

/// Who joins a group of ours under the name that a revert has given back to it, as long as it is
/// not renamed again.
fn joining_the_old_one(
    operation: &GroupOperation,
    undone: &UndoneGroups<'_>,
) -> Option<GroupOperation> {
    let is_renamed = operation.kind == GroupChange::Rename && undone.has_whole(operation);
    let former = operation.former.as_ref().filter(|_| is_renamed)?;
    former.origins.as_ref()?;
    let joining: Vec<GroupMember> = operation.joining().cloned().collect();
    let (_, add) = undone.divide(&operation.key, joining, GroupEffect::Joins);
    (!add.is_empty()).then(|| GroupOperation {
        kind: GroupChange::Update,
        reason: GroupReason::Members,
        key: operation.key.clone(),
        name: operation.present_name().to_owned(),
        origins: operation.origins.clone(),
        target: operation.target.clone(),
        add,
        remove: Vec::new(),
        former: None,
        undoes: None,
    })
}
