//! What a run did to groups is undone, member by member: whoever has moved on since stays as is.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::draft::{in_order, target};
use super::members::{Accounts, foreign};
use super::{GroupPlan, KnownGroups, Person, PlannedGroup};
use crate::model::{
    ExistingGroup, ExternalId, FormerGroup, GroupChange, GroupMember, GroupOperation,
    GroupProgress, GroupReason, GroupTarget, MEMBERS_A_GROUP, ManagedGroup, OperationId, RunId,
    ScimId, Undoes, fold,
};
use crate::plan::{End, Planned, SkipReason, Skipped};

/// A group operation of a run, as the journal has it.
#[derive(Clone, Debug)]
pub struct PastGroup {
    /// Its number.
    pub id: OperationId,
    /// What was to be done.
    pub operation: GroupOperation,
    /// What became of it.
    pub end: End,
    /// How far it came; `None` where it was never sent, or an older version has sent it.
    pub progress: Option<GroupProgress>,
    /// The run that has undone it.
    pub undone_by: Option<RunId>,
    /// The group that an earlier revert, which broke off, has made to undo it.
    pub begun: Option<ScimId>,
}

/// A group operation of a later run than the one that is undone.
#[derive(Clone, Debug)]
pub struct LaterGroup {
    /// Its number.
    pub id: OperationId,
    /// Its run.
    pub run: RunId,
    /// The run that this one reverts, if it is a revert.
    pub reverts: Option<RunId>,
    /// How far it came; `None` as long as that is not known.
    pub progress: Option<GroupProgress>,
}

/// Why something that a run did to a group is not undone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupNotUndone {
    /// It is undone.
    #[error("run {by} has undone it already")]
    Already {
        /// By which run.
        by: RunId,
    },
    /// It failed at its first step.
    #[error("it failed, so there is nothing to undo ({0})")]
    Failed(String),
    /// It was never sent, or did not arrive.
    #[error("it was never carried out, so there is nothing to undo")]
    Unsent,
    /// An older version did it.
    #[error(
        "an older dirsyncd did it, which has not recorded how far it came and who was in the group: correct the group in the directory, and the next sync follows"
    )]
    Unrecorded,
    /// The group is as it was before.
    #[error("nothing of it is left to put back")]
    Nothing,
    /// The group is gone.
    #[error("no longer as the run left it: the organization has no group {0} any more")]
    Gone(ScimId),
    /// The group is not ours any more.
    #[error("dirsyncd does not keep the group any more; if it is to be kept, a sync adopts it")]
    NotOurs,
    /// The group that the run made has members of whom the run knows nothing.
    #[error("the group stays: the run made it, and others are in it by now: {0}")]
    OthersAreIn(String),
    /// The name is another group's.
    #[error(
        "the organization has a group `{0}` again, and a name is used once: it stays; if an earlier revert that broke off has made it, a sync tidies up, and then revert again"
    )]
    NameTaken(String),
    /// More members than a group may have.
    #[error("the group would have {0} members, and one has at most {MEMBERS_A_GROUP}")]
    TooLarge(usize),
    /// Who was in it has no account any more.
    #[error("not put in again, as they have no account any more: {0}")]
    WithoutAccount(String),
    /// Who is as before the run already.
    #[error("in the group, or out of it, as before the run already: {0}")]
    MovedOn(String),
    /// Who was put in, or taken out, for another reason since.
    #[error("they stay as they are, as a later run has put them in or taken them out: {0}")]
    ByLater(String),
    /// Only others are to be put back.
    #[error(
        "`--only` does not name the group: with its name or DN it is put back with all members"
    )]
    NotNamed,
}

impl GroupNotUndone {
    /// Whether the group is not as whoever reverts the run may take it to be.
    pub fn needs_attention(&self) -> bool {
        match self {
            GroupNotUndone::Already { .. }
            | GroupNotUndone::Failed(_)
            | GroupNotUndone::Unsent
            | GroupNotUndone::Nothing
            | GroupNotUndone::MovedOn(_)
            | GroupNotUndone::NotNamed => false,
            GroupNotUndone::Unrecorded
            | GroupNotUndone::Gone(_)
            | GroupNotUndone::NotOurs
            | GroupNotUndone::OthersAreIn(_)
            | GroupNotUndone::NameTaken(_)
            | GroupNotUndone::TooLarge(_)
            | GroupNotUndone::WithoutAccount(_)
            | GroupNotUndone::ByLater(_) => true,
        }
    }
}

/// Tells that something done to this group is not undone.
pub fn not_undone(operation: &GroupOperation, why: GroupNotUndone) -> Skipped {
    Skipped {
        key: None,
        dn: operation.name.clone(),
        why: SkipReason::GroupNotUndone {
            kind: operation.kind,
            why,
        },
    }
}

/// Plans to undo what a run did to groups, and tells of what cannot be undone. `known` has the
/// groups as they are now, those of the names that come back too, and the accounts of all that
/// were or are members; in [`KnownGroups::claimed`] are those that are nobody's of ours. `planned`
/// are the account operations of the same revert.
pub fn revert(
    run: RunId,
    past: &[PastGroup],
    known: &KnownGroups,
    planned: &[Planned],
) -> (GroupPlan, Vec<Skipped>) {
    let nobody = HashSet::new();
    let now = Now {
        run,
        known,
        accounts: Accounts::of(known, &nobody, planned),
        existing: known
            .existing
            .iter()
            .map(|group| (&group.scim_id, group))
            .collect(),
        rows: known
            .managed
            .iter()
            .map(|group| (&group.scim_id, group))
            .collect(),
        people: known
            .people
            .iter()
            .map(|(key, person)| (&person.scim_id, (key, person)))
            .collect(),
        names: known
            .existing
            .iter()
            .map(|group| fold(&group.name))
            .collect(),
        moved: moved_since(&known.later),
    };
    let mut plan = GroupPlan::default();
    let mut skipped = Vec::new();
    for one in past {
        let mut told = Vec::new();
        match now.undo(one, &mut told) {
            Ok(operation) => plan.operations.push(PlannedGroup {
                operation,
                holds: Vec::new(),
                tried_in_vain: None,
            }),
            Err(why) => told.push(why),
        }
        let told = told.into_iter();
        skipped.extend(told.map(|why| not_undone(&one.operation, why)));
    }
    let members = known.managed.iter().map(|row| {
        let there = now.existing.get(&row.scim_id);
        there.map_or(row.members.len(), |there| there.members.len()) as u64
    });
    plan.memberships = members.sum();
    in_order(&mut plan.operations);
    (plan, skipped)
}

/// Whom later runs have put into a group, or taken out, by group. What was reverted since does not
/// count, nor does the revert: then all is as it was left.
fn moved_since(later: &[LaterGroup]) -> HashMap<&ScimId, HashSet<&ScimId>> {
    let named = later.iter().flat_map(|one| {
        let progress = one.progress.iter();
        progress.flat_map(move |progress| {
            let members =
                GroupMember::users(&progress.added).chain(GroupMember::users(&progress.removed));
            let group = progress.scim_id.iter();
            group.flat_map(move |group| members.clone().map(move |user| (one, group, user)))
        })
    });
    let (reverts, own): (Vec<_>, Vec<_>) = named.partition(|(one, ..)| one.reverts.is_some());
    let put_back: BTreeSet<(Option<RunId>, &ScimId, &ScimId)> = reverts
        .into_iter()
        .map(|(one, group, user)| (one.reverts, group, user))
        .collect();
    let mut moved: HashMap<&ScimId, HashSet<&ScimId>> = HashMap::new();
    for (one, group, user) in own {
        if !put_back.contains(&(Some(one.run), group, user)) {
            moved.entry(group).or_default().insert(user);
        }
    }
    moved
}

/// Groups and accounts as they are now.
struct Now<'a> {
    run: RunId,
    known: &'a KnownGroups,
    accounts: Accounts<'a>,
    existing: HashMap<&'a ScimId, &'a ExistingGroup>,
    rows: HashMap<&'a ScimId, &'a ManagedGroup>,
    /// Our people by the SCIM user, with those whose account is deleted.
    people: HashMap<&'a ScimId, (&'a ExternalId, &'a Person)>,
    /// The names of all groups, folded.
    names: HashSet<String>,
    /// See [`moved_since`].
    moved: HashMap<&'a ScimId, HashSet<&'a ScimId>>,
}

impl<'a> Now<'a> {
    /// The operation that puts the group back. What of it is left out is in `told`.
    fn undo(
        &self,
        one: &PastGroup,
        told: &mut Vec<GroupNotUndone>,
    ) -> Result<GroupOperation, GroupNotUndone> {
        if let Some(by) = one.undone_by {
            return Err(GroupNotUndone::Already { by });
        }
        let Some(progress) = &one.progress else {
            return Err(match one.end {
                End::Unsent => GroupNotUndone::Unsent,
                End::Done(_) | End::Failed(_) | End::Unanswered => GroupNotUndone::Unrecorded,
            });
        };
        let done = one.operation.as_done(progress);
        let has_begun = match done.kind {
            GroupChange::Update => !done.add.is_empty() || !done.remove.is_empty(),
            _ => progress.scim_id.is_some() || progress.deleted.is_some(),
        };
        if !has_begun {
            return Err(match &one.end {
                End::Failed(error) => GroupNotUndone::Failed(error.clone()),
                End::Done(_) => GroupNotUndone::Nothing,
                End::Unsent | End::Unanswered => GroupNotUndone::Unsent,
            });
        }
        let is_gone = progress.deleted.is_some();
        match (done.kind, &progress.scim_id, &done.target) {
            (GroupChange::Adopt | GroupChange::Update, Some(group), _) => {
                self.members_back(one, &done, group, told)
            }
            (GroupChange::Create, Some(group), _) => self.unmake(one, &done, group),
            // The old group has not been deleted.
            (GroupChange::Rename, Some(group), Some(old)) if !is_gone => {
                match self.existing.contains_key(&old.scim_id) {
                    true => self.unmake(one, &done, group),
                    false => Err(GroupNotUndone::Gone(old.scim_id.clone())),
                }
            }
            (GroupChange::Rename, Some(group), Some(old)) => {
                self.name_back(one, &done, group, old, told)
            }
            (GroupChange::Delete, _, Some(old)) => self.make_again(one, &done, old, told),
            _ => Err(GroupNotUndone::Nothing),
        }
    }

    /// A group that is there and ours.
    fn ours(
        &self,
        group: &ScimId,
    ) -> Result<(&'a ManagedGroup, &'a ExistingGroup), GroupNotUndone> {
        let Some(there) = self.existing.get(group) else {
            return Err(GroupNotUndone::Gone(group.clone()));
        };
        let row = self.rows.get(group).ok_or(GroupNotUndone::NotOurs)?;
        Ok((row, there))
    }

    /// Who came goes, and who went comes; a group that was taken over is let go.
    fn members_back(
        &self,
        one: &PastGroup,
        done: &GroupOperation,
        group: &ScimId,
        told: &mut Vec<GroupNotUndone>,
    ) -> Result<GroupOperation, GroupNotUndone> {
        let (row, there) = self.ours(group)?;
        let is_in: HashSet<&ScimId> = there.members.iter().collect();
        let mut has_moved = Vec::new();
        let mut by_later = Vec::new();
        let mut remove = Vec::new();
        for member in &done.add {
            match self.still_in(member, &is_in) {
                Some(_) if self.has_moved(member, group) => by_later.push(member.name.clone()),
                Some(member) => remove.push(member),
                None => has_moved.push(member.name.clone()),
            }
        }
        let mut back = Vec::new();
        for member in &done.remove {
            match self.still_in(member, &is_in) {
                Some(_) => has_moved.push(member.name.clone()),
                None if self.has_moved(member, group) => by_later.push(member.name.clone()),
                None => back.push(member),
            }
        }
        if !has_moved.is_empty() {
            told.push(GroupNotUndone::MovedOn(listed(&has_moved)));
        }
        tell_later(&by_later, told);
        let add = self.with_account(back.into_iter(), told);
        if add.is_empty() && remove.is_empty() && done.kind != GroupChange::Adopt {
            return Err(GroupNotUndone::Nothing);
        }
        fits(there.members.len() - remove.len() + add.len())?;
        Ok(self.operation(one, GroupChange::Update, (row, there), add, remove))
    }

    /// A group that the run made goes, unless others are in it.
    fn unmake(
        &self,
        one: &PastGroup,
        done: &GroupOperation,
        group: &ScimId,
    ) -> Result<GroupOperation, GroupNotUndone> {
        let (row, there) = self.ours(group)?;
        let put_in = done.add.iter();
        let put_in = put_in.filter(|member| !self.has_moved(member, group));
        let put_in: HashSet<&ScimId> = put_in.filter_map(|one| one.scim_id.as_ref()).collect();
        let others = there.members.iter().filter(|user| !put_in.contains(user));
        let others: Vec<String> = others.map(|user| self.present(user).name).collect();
        if !others.is_empty() {
            return Err(GroupNotUndone::OthersAreIn(listed(&others)));
        }
        let operation = self.operation(one, GroupChange::Delete, (row, there), vec![], vec![]);
        Ok(GroupOperation {
            former: Some(former(row, there)),
            ..operation
        })
    }

    /// The group gets its former name, as the target has it: by another one, whose members are
    /// those of today but for what the run changed about them.
    fn name_back(
        &self,
        one: &PastGroup,
        done: &GroupOperation,
        group: &ScimId,
        old: &GroupTarget,
        told: &mut Vec<GroupNotUndone>,
    ) -> Result<GroupOperation, GroupNotUndone> {
        let before = done.former.as_ref().ok_or(GroupNotUndone::Unrecorded)?;
        let (row, there) = self.ours(group)?;
        // What a revert that broke off has made goes on.
        let begun = one.begun.as_ref().map(|begun| self.ours(begun));
        let is_begun =
            matches!(begun, Some(Ok((_, begun))) if fold(&begun.name) == fold(&old.name));
        if self.has_name(&old.name) && !is_begun {
            return Err(GroupNotUndone::NameTaken(old.name.clone()));
        }
        let is_in: HashSet<&ScimId> = there.members.iter().collect();
        let (by_later, joined): (Vec<&GroupMember>, Vec<&GroupMember>) = done
            .joining()
            .filter(|member| self.still_in(member, &is_in).is_some())
            .partition(|member| self.has_moved(member, group));
        let joined: HashSet<&ScimId> = joined
            .into_iter()
            .filter_map(|member| member.scim_id.as_ref())
            .collect();
        let (remove, stay): (Vec<&ScimId>, Vec<&ScimId>) =
            there.members.iter().partition(|user| joined.contains(user));
        let came_along: HashSet<&ScimId> = GroupMember::users(&done.add).collect();
        let stayed = before
            .members
            .iter()
            .filter(|user| !came_along.contains(user));
        let (gone_by_later, left): (Vec<GroupMember>, Vec<GroupMember>) = self
            .former_members(stayed, done)
            .filter(|member| self.still_in(member, &is_in).is_none())
            .partition(|member| self.has_moved(member, group));
        let by_later = by_later.into_iter().chain(&gone_by_later);
        let by_later: Vec<String> = by_later.map(|member| member.name.clone()).collect();
        tell_later(&by_later, told);
        let mut add: Vec<GroupMember> = stay.into_iter().map(|user| self.present(user)).collect();
        add.extend(self.with_account(left.iter(), told));
        fits(add.len())?;
        let remove = remove.into_iter().map(|user| self.present(user)).collect();
        let operation = self.operation(one, GroupChange::Rename, (row, there), add, remove);
        let origins = before.origins.as_ref();
        Ok(GroupOperation {
            key: before.key.clone(),
            name: old.name.clone(),
            origins: origins.unwrap_or(&row.origins).clone(),
            former: Some(former(row, there)),
            ..operation
        })
    }

    /// A deleted group is made anew, with everybody who was in it.
    fn make_again(
        &self,
        one: &PastGroup,
        done: &GroupOperation,
        old: &GroupTarget,
        told: &mut Vec<GroupNotUndone>,
    ) -> Result<GroupOperation, GroupNotUndone> {
        let before = done.former.as_ref().ok_or(GroupNotUndone::Unrecorded)?;
        let members: Vec<GroupMember> = self.former_members(before.members.iter(), done).collect();
        let begun = one.begun.as_ref().map(|group| self.ours(group));
        if let Some(Ok((row, there))) = begun {
            let is_in: HashSet<&ScimId> = there.members.iter().collect();
            let missing = members.iter();
            let missing = missing.filter(|member| self.still_in(member, &is_in).is_none());
            let add = self.with_account(missing, told);
            fits(there.members.len() + add.len())?;
            return Ok(self.operation(one, GroupChange::Update, (row, there), add, vec![]));
        }
        if self.has_name(&old.name) {
            return Err(GroupNotUndone::NameTaken(old.name.clone()));
        }
        let origins = before.origins.as_ref();
        Ok(GroupOperation {
            kind: GroupChange::Create,
            reason: GroupReason::Reverted { run: self.run },
            key: before.key.clone(),
            name: old.name.clone(),
            origins: origins.unwrap_or(&done.origins).clone(),
            target: None,
            add: self.with_account(members.iter(), told),
            remove: Vec::new(),
            former: None,
            undoes: undoes(one),
        })
    }

    fn has_name(&self, name: &str) -> bool {
        self.names.contains(&fold(name))
    }

    /// The SCIM users that the member was, and is now.
    fn users_of<'m>(&self, member: &'m GroupMember) -> impl Iterator<Item = &'m ScimId>
    where
        'a: 'm,
    {
        let key = member.key.as_ref();
        let person = key.and_then(|key| self.known.people.get(key));
        let user = member.scim_id.iter();
        user.chain(person.map(|person| &person.scim_id))
    }

    /// The member as the group has it now, if it still has it.
    fn still_in(&self, member: &GroupMember, is_in: &HashSet<&ScimId>) -> Option<GroupMember> {
        let user = self.users_of(member).find(|user| is_in.contains(user))?;
        Some(self.present(user))
    }

    /// Whether a later run has put the member in, or taken it out.
    fn has_moved(&self, member: &GroupMember, group: &ScimId) -> bool {
        let moved = self.moved.get(group);
        moved.is_some_and(|moved| self.users_of(member).any(|user| moved.contains(user)))
    }

    /// A SCIM user as a member.
    fn present(&self, user: &ScimId) -> GroupMember {
        match self.accounts.by_scim_id.get(user) {
            Some(key) => GroupMember {
                scim_id: Some(user.clone()),
                ..self.accounts.member(key)
            },
            None => foreign(user),
        }
    }

    /// People of whom only the SCIM user was noted.
    fn former_members<'m>(
        &self,
        former: impl Iterator<Item = &'m ScimId>,
        done: &GroupOperation,
    ) -> impl Iterator<Item = GroupMember> {
        let named = done.add.iter().chain(&done.remove);
        let named: HashMap<&ScimId, &GroupMember> = named
            .filter_map(|member| Some((member.scim_id.as_ref()?, member)))
            .collect();
        former.map(move |user| {
            let named = named.get(user).map(|member| (*member).clone());
            named.unwrap_or_else(|| match self.people.get(user) {
                Some((key, person)) => GroupMember {
                    name: person.name.clone(),
                    key: Some((*key).clone()),
                    scim_id: Some(user.clone()),
                },
                None => self.present(user),
            })
        })
    }

    /// Those of them who have an account to be members with.
    fn with_account<'m>(
        &self,
        members: impl Iterator<Item = &'m GroupMember>,
        told: &mut Vec<GroupNotUndone>,
    ) -> Vec<GroupMember> {
        let mut found = Vec::new();
        let mut lost = Vec::new();
        for member in members {
            let user = member.scim_id.as_ref();
            let key = user.and_then(|user| self.accounts.by_scim_id.get(user).copied());
            let has_account = |key: &&ExternalId| self.accounts.has_account(key);
            let key = key
                .filter(has_account)
                .or(member.key.as_ref().filter(has_account));
            match (key, user) {
                (Some(key), _) => found.push(self.accounts.member(key)),
                (None, Some(user)) if self.known.claimed.contains(user) => {
                    found.push(foreign(user));
                }
                _ => lost.push(member.name.clone()),
            }
        }
        if !lost.is_empty() {
            told.push(GroupNotUndone::WithoutAccount(listed(&lost)));
        }
        found.sort();
        found.dedup();
        found
    }

    fn operation(
        &self,
        one: &PastGroup,
        kind: GroupChange,
        (row, there): (&ManagedGroup, &ExistingGroup),
        mut add: Vec<GroupMember>,
        mut remove: Vec<GroupMember>,
    ) -> GroupOperation {
        add.sort();
        remove.sort();
        GroupOperation {
            kind,
            reason: GroupReason::Reverted { run: self.run },
            key: row.key.clone(),
            name: there.name.clone(),
            origins: row.origins.clone(),
            target: Some(target(there)),
            add,
            remove,
            former: None,
            undoes: undoes(one),
        }
    }
}

fn undoes(one: &PastGroup) -> Option<Undoes> {
    let GroupOperation { kind, former, .. } = &one.operation;
    let was_ours = |former: &FormerGroup| former.origins.is_some();
    Some(Undoes {
        operations: vec![one.id],
        lets_go: match kind {
            GroupChange::Adopt => true,
            _ => !former.as_ref().is_none_or(was_ours),
        },
    })
}

fn former(row: &ManagedGroup, there: &ExistingGroup) -> FormerGroup {
    FormerGroup {
        key: row.key.clone(),
        origins: Some(row.origins.clone()),
        members: there.members.iter().cloned().collect(),
    }
}

fn tell_later(names: &[String], told: &mut Vec<GroupNotUndone>) {
    if !names.is_empty() {
        told.push(GroupNotUndone::ByLater(listed(names)));
    }
}

fn fits(members: usize) -> Result<(), GroupNotUndone> {
    match members > MEMBERS_A_GROUP {
        true => Err(GroupNotUndone::TooLarge(members)),
        false => Ok(()),
    }
}

/// The first names of a list.
fn listed(names: &[String]) -> String {
    const NAMED: usize = 10;
    let shown = names.len().min(NAMED);
    let mut text = names[..shown].join(", ");
    if shown < names.len() {
        text += &format!(" and {} more", names.len() - shown);
    }
    text
}
