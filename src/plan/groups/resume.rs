//! Groups of a saved plan: what an operation expects, and what is left of it when group and
//! members are looked at again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::members::coming;
use super::{GroupPlan, KnownGroups, PlannedGroup};
use crate::model::{
    Digest, ExistingGroup, ExternalId, GroupChange, GroupMember, GroupOperation, GroupOrigin,
    GroupReason, Lifecycle, ManagedGroup, RunId, ScimId, fold,
};
use crate::plan::guard::hold_before;
use crate::plan::resume::{shown, tell};
use crate::plan::{Plan, Planned, SkipReason, Skipped};

/// A group operation of a saved plan.
#[derive(Clone, Debug)]
pub struct GroupRow {
    /// What was to be done.
    pub operation: GroupOperation,
    /// What held it then.
    pub held: Option<String>,
    /// What it expects.
    pub expects: ExpectedGroup,
}

/// The state that a group operation of a saved plan expects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedGroup {
    /// The snapshot's row, of the group that it acts on or else of its key; `None` when there is
    /// none.
    pub row: Option<KeptGroup>,
    /// The organization's group; `None` when there is none, as before a creation.
    pub group: Option<ShownGroup>,
    /// Of those who join or leave, whose account the same plan makes, takes over or puts back:
    /// without that they do not.
    pub accounts: BTreeSet<ExternalId>,
}

/// A group that dirsyncd keeps, without its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptGroup {
    /// The SCIM resource.
    pub scim_id: ScimId,
    /// The key that it was made or taken over for.
    pub key: ExternalId,
    /// Its name.
    pub name: String,
    /// The groups of the directory that lead to it.
    pub origins: BTreeSet<GroupOrigin>,
}

/// A group as the organization shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownGroup {
    /// The SCIM resource.
    pub scim_id: ScimId,
    /// The key that its provisioner gave it, if any.
    pub external_id: Option<ExternalId>,
    /// Its name.
    pub name: String,
    /// The digest of its members, where the group goes and all of them are concerned.
    pub members: Option<String>,
}

impl ExpectedGroup {
    /// What each of these operations expects, which are planned from what is `known` now. `planned`
    /// are the account operations of the same plan.
    pub fn of<'a>(
        operations: impl IntoIterator<Item = &'a GroupOperation>,
        known: &KnownGroups,
        planned: &[Planned],
    ) -> Vec<Self> {
        let now = Now::of(known);
        let coming: HashSet<&ExternalId> = coming(planned).map(|one| &one.key).collect();
        let expected = operations.into_iter().map(|operation| {
            let members = operation.add.iter().chain(&operation.remove);
            let keys = members.filter_map(|member| member.key.as_ref());
            ExpectedGroup {
                row: now.row_of(operation).map(KeptGroup::from),
                group: now
                    .there(operation)
                    .map(|group| ShownGroup::of(group, operation.kind)),
                accounts: keys.filter(|key| coming.contains(key)).cloned().collect(),
            }
        });
        expected.collect()
    }

    /// In what the group is another one by now, if it is.
    fn differs(&self, operation: &GroupOperation, now: &Now<'_>) -> Option<String> {
        let mut differences = Vec::new();
        let row = now.row_of(operation).map(KeptGroup::from);
        match (&self.row, &row) {
            (None, None) => {}
            (None, Some(row)) => differences.push(format!(
                "the snapshot has the group {} (`{}`) by now",
                row.scim_id, row.name
            )),
            (Some(row), None) => differences.push(format!(
                "the snapshot has no group {} (`{}`) any more",
                row.scim_id, row.name
            )),
            (Some(before), Some(row)) => before.differs(row, &mut differences),
        }
        let group = now
            .there(operation)
            .map(|group| ShownGroup::of(group, operation.kind));
        match (&self.group, &group) {
            (None, None) => {}
            (None, Some(group)) => differences.push(taken(&group.scim_id, &group.name)),
            (Some(group), None) => differences.push(format!(
                "the organization has no group {} (`{}`) any more",
                group.scim_id, group.name
            )),
            (Some(before), Some(group)) => before.differs(group, &mut differences),
        }
        if operation.kind == GroupChange::Rename {
            let target = operation.target.as_ref().map(|target| &target.scim_id);
            let other = now.named(&operation.name);
            let other = other.filter(|group| Some(&group.scim_id) != target);
            differences.extend(other.map(|group| taken(&group.scim_id, &group.name)));
        }
        (!differences.is_empty()).then(|| differences.join("; "))
    }
}

fn taken(id: &ScimId, name: &str) -> String {
    format!("the organization has the group {id} (`{name}`) by now")
}

/// The groups as they are now.
struct Now<'a> {
    rows: HashMap<&'a ScimId, &'a ManagedGroup>,
    rows_by_key: HashMap<&'a ExternalId, &'a ManagedGroup>,
    existing: HashMap<&'a ScimId, &'a ExistingGroup>,
    /// By the folded name.
    named: HashMap<String, &'a ExistingGroup>,
}

impl<'a> Now<'a> {
    fn of(known: &'a KnownGroups) -> Self {
        let (rows, existing) = (known.managed.iter(), known.existing.iter());
        Now {
            rows: rows.clone().map(|row| (&row.scim_id, row)).collect(),
            // Of several the first one stands for them.
            rows_by_key: rows.rev().map(|row| (&row.key, row)).collect(),
            named: existing
                .clone()
                .rev()
                .map(|group| (fold(&group.name), group))
                .collect(),
            existing: existing.map(|group| (&group.scim_id, group)).collect(),
        }
    }

    /// The snapshot's row of the group that is acted on, or else the one that has its key.
    fn row_of(&self, operation: &GroupOperation) -> Option<&'a ManagedGroup> {
        let target = operation.target.as_ref();
        let row = target.and_then(|target| self.rows.get(&target.scim_id));
        row.or_else(|| self.rows_by_key.get(&operation.key))
            .copied()
    }

    /// The organization's group that is acted on, or the one that has the name of a new one.
    fn there(&self, operation: &GroupOperation) -> Option<&'a ExistingGroup> {
        match &operation.target {
            Some(target) => self.existing.get(&target.scim_id).copied(),
            None => self.named(&operation.name),
        }
    }

    fn named(&self, name: &str) -> Option<&'a ExistingGroup> {
        self.named.get(&fold(name)).copied()
    }
}

impl From<&ManagedGroup> for KeptGroup {
    fn from(group: &ManagedGroup) -> Self {
        KeptGroup {
            scim_id: group.scim_id.clone(),
            key: group.key.clone(),
            name: group.name.clone(),
            origins: group.origins.clone(),
        }
    }
}

impl KeptGroup {
    fn differs(&self, now: &Self, differences: &mut Vec<String>) {
        let KeptGroup {
            scim_id,
            key,
            name,
            origins,
        } = self;
        let mut differs = |what: &str, before: &dyn Display, now: &dyn Display| {
            tell(differences, &format!("the snapshot's {what}"), before, now);
        };
        differs("SCIM id", scim_id, &now.scim_id);
        differs("key", key, &now.key);
        differs("name", name, &now.name);
        let places = |origins: &BTreeSet<GroupOrigin>| -> String {
            let dns: Vec<&str> = origins.iter().map(|origin| origin.dn.as_str()).collect();
            dns.join(" and ")
        };
        differs("entries", &places(origins), &places(&now.origins));
        if *origins != now.origins && places(origins) == places(&now.origins) {
            differences.push("the snapshot has it by another rule or key by now".to_owned());
        }
    }
}

impl ShownGroup {
    fn of(group: &ExistingGroup, kind: GroupChange) -> Self {
        let goes = matches!(kind, GroupChange::Rename | GroupChange::Delete);
        let members: BTreeSet<&ScimId> = group.members.iter().collect();
        ShownGroup {
            scim_id: group.scim_id.clone(),
            external_id: group.external_id.clone(),
            name: group.name.clone(),
            members: goes
                .then(|| Digest::of_text(&serde_json::json!(members).to_string()).to_string()),
        }
    }

    fn differs(&self, now: &Self, differences: &mut Vec<String>) {
        let ShownGroup {
            scim_id,
            external_id,
            name,
            members,
        } = self;
        let mut differs = |what: &str, before: &dyn Display, now: &dyn Display| {
            tell(
                differences,
                &format!("the organization's {what}"),
                before,
                now,
            );
        };
        differs("SCIM id", scim_id, &now.scim_id);
        differs("externalId", &shown(external_id), &shown(&now.external_id));
        differs("name", name, &now.name);
        if *members != now.members {
            differences.push("the organization's group has other members by now".to_owned());
        }
    }
}

/// Makes the groups of a plan again from the rows of a saved one, once its accounts are made again.
/// `groups` has what is known already: the rows that are refused, and what is to be noted. `newer`
/// is the last run that has read the sources since: who is in which group is for a new plan to say.
pub fn resume(
    plan: &mut Plan,
    mut groups: GroupPlan,
    rows: Vec<GroupRow>,
    known: &KnownGroups,
    newer: Option<RunId>,
) {
    let ours: HashSet<&ScimId> = known.managed.iter().map(|group| &group.scim_id).collect();
    let existing = known.existing.iter();
    let kept = existing.filter(|group| ours.contains(&group.scim_id));
    groups.memberships = kept.map(|group| group.members.len() as u64).sum();
    let now = Now::of(known);
    let mut going = Vec::with_capacity(rows.len());
    let mut unsuccessful: HashSet<String> = HashSet::new();
    for row in rows {
        let by_newer = || {
            let newer = newer?;
            Some(format!(
                "run {newer} has read the sources since, and who is in which group is for a new plan to say"
            ))
        };
        match row.expects.differs(&row.operation, &now).or_else(by_newer) {
            None => going.push(row),
            Some(what) => {
                unsuccessful.insert(fold(&row.operation.name));
                plan.skipped.push(moved(&row.operation, what));
            }
        }
    }
    let heirs = Heirs::of(&going, &groups.notes, known);
    let losses: Vec<Option<String>> = going
        .iter()
        .map(|row| heirs.loss(&row.operation, &now, &unsuccessful))
        .collect();
    let members = Members::of(known, &now, &plan.operations);
    for (row, loss) in going.into_iter().zip(losses) {
        let GroupRow {
            mut operation,
            held,
            expects,
        } = row;
        if let Some(what) = loss {
            plan.skipped.push(moved(&operation, what));
            continue;
        }
        for (member, what) in members.leave_out(&mut operation, &expects) {
            let kind = operation.kind;
            let member = member.name;
            let why = SkipReason::MemberMoved { kind, member, what };
            plan.skipped.push(skipped(&operation, why));
        }
        let is_update = operation.kind == GroupChange::Update;
        if is_update && operation.add.is_empty() && operation.remove.is_empty() {
            continue;
        }
        let held = held.map(|why| hold_before(&mut plan.holds, why));
        groups.operations.push(PlannedGroup {
            operation,
            holds: held.into_iter().collect(),
            tried_in_vain: None,
        });
    }
    plan.groups = Some(groups);
}

fn moved(operation: &GroupOperation, what: String) -> Skipped {
    let kind = operation.kind;
    skipped(operation, SkipReason::GroupMoved { kind, what })
}

fn skipped(operation: &GroupOperation, why: SkipReason) -> Skipped {
    let origin = operation.origins.first();
    Skipped {
        key: Some(operation.key.clone()),
        dn: origin.map_or_else(|| operation.name.clone(), |origin| origin.dn.clone()),
        why,
    }
}

/// The groups that stay, by the keys of the directory's groups that lead to them: the heirs of one
/// that goes because its members are in others.
struct Heirs<'a>(HashMap<&'a ExternalId, HashSet<&'a ScimId>>);

impl<'a> Heirs<'a> {
    fn of(going: &'a [GroupRow], notes: &'a [ManagedGroup], known: &'a KnownGroups) -> Self {
        let kept = known.managed.iter().chain(notes);
        let kept = kept.map(|group| (&group.scim_id, &group.origins));
        let targets = going.iter().map(|row| &row.operation).filter_map(|other| {
            let target = other.target.as_ref()?;
            Some((&target.scim_id, other))
        });
        // What goes as well keeps nobody.
        let (leaving, staying): (Vec<_>, Vec<_>) = targets.partition(|(_, other)| {
            matches!(other.kind, GroupChange::Delete | GroupChange::Rename)
        });
        let leaving: HashSet<&ScimId> = leaving.into_iter().map(|(id, _)| id).collect();
        let staying = staying.into_iter().map(|(id, other)| (id, &other.origins));
        let mut heirs: HashMap<&ExternalId, HashSet<&ScimId>> = HashMap::new();
        for (id, origins) in kept.chain(staying).filter(|(id, _)| !leaving.contains(id)) {
            for origin in origins {
                heirs.entry(&origin.key).or_default().insert(id);
            }
        }
        Heirs(heirs)
    }

    /// Who would be in no group any more, of one that goes because its members are in others.
    fn loss(
        &self,
        operation: &GroupOperation,
        now: &Now<'_>,
        unsuccessful: &HashSet<String>,
    ) -> Option<String> {
        let (GroupChange::Delete, GroupReason::Merged { into }) =
            (operation.kind, &operation.reason)
        else {
            return None;
        };
        if unsuccessful.contains(&fold(into)) {
            return Some(format!(
                "its members are in `{into}`, which is not as the saved plan expects it either"
            ));
        }
        let group = now.there(operation)?;
        let origins = operation.origins.iter();
        let heirs = origins
            .filter_map(|origin| self.0.get(&origin.key))
            .flatten();
        let others = heirs.filter_map(|id| now.existing.get(id));
        let mut safe: HashSet<&ScimId> = others.flat_map(|group| &group.members).collect();
        let unwanted = operation.remove.iter();
        safe.extend(unwanted.filter_map(|member| member.scim_id.as_ref()));
        let members = group.members.iter();
        let lost = members.filter(|id| !safe.contains(id)).count();
        (lost > 0).then(|| format!("of its members {lost} are not in `{into}` any more"))
    }
}

/// Who is in the groups, and has an account to be in one with.
struct Members<'a> {
    known: &'a KnownGroups,
    now: &'a Now<'a>,
    /// Who gets an account in this run, or gets it back.
    coming: HashSet<&'a ExternalId>,
    /// The accounts of ours.
    ours: HashSet<&'a ScimId>,
}

impl<'a> Members<'a> {
    fn of(known: &'a KnownGroups, now: &'a Now<'a>, planned: &'a [Planned]) -> Self {
        let people = known.people.values();
        let there = people.filter(|one| !matches!(one.lifecycle, Lifecycle::Deleted { .. }));
        Members {
            known,
            now,
            coming: coming(planned).map(|one| &one.key).collect(),
            ours: there.map(|person| &person.scim_id).collect(),
        }
    }

    /// Takes those out of an operation who are where it would bring them, or have no such account;
    /// with the reason.
    fn leave_out(
        &self,
        operation: &mut GroupOperation,
        expects: &ExpectedGroup,
    ) -> Vec<(GroupMember, String)> {
        if operation.is_deletion() {
            return Vec::new();
        }
        let group = self.now.there(operation);
        let now: HashSet<&ScimId> = group.into_iter().flat_map(|group| &group.members).collect();
        let is_in = |member: &GroupMember| {
            let user = member.scim_id.as_ref();
            user.is_some_and(|user| now.contains(user))
        };
        // Whoever is in the old group goes along, whatever the account, and nobody is taken out.
        let is_rename = operation.kind == GroupChange::Rename;
        let mut left_out = Vec::new();
        sort_out(&mut operation.add, &mut left_out, |member| {
            match is_in(member) {
                true if is_rename => None,
                true => Some("is in the group by now"),
                false => self.hindrance(member, expects),
            }
        });
        if !is_rename {
            sort_out(&mut operation.remove, &mut left_out, |member| {
                match is_in(member) {
                    true => self.hindrance(member, expects),
                    false => Some("is not in the group any more"),
                }
            });
        }
        if let Some(target) = &mut operation.target {
            target.members = now.len() as u64;
        }
        left_out
    }

    /// Why somebody's account is not the one that was to join or leave.
    fn hindrance(&self, member: &GroupMember, expects: &ExpectedGroup) -> Option<&'static str> {
        match (&member.key, &member.scim_id) {
            (Some(key), _) if self.coming.contains(key) => None,
            (Some(key), Some(user)) if !expects.accounts.contains(key) => {
                let person = self.known.people.get(key);
                let is_there = person.is_some_and(|person| {
                    person.scim_id == *user && person.lifecycle.has_account()
                });
                (!is_there).then_some("has not this account any more")
            }
            (Some(_), _) => Some("the account is not made, taken over or put back"),
            (None, Some(user)) if self.ours.contains(user) => {
                Some("is somebody's account by now that dirsyncd keeps")
            }
            (None, _) => None,
        }
    }
}

/// Leaves out whom something hinders.
fn sort_out(
    members: &mut Vec<GroupMember>,
    left_out: &mut Vec<(GroupMember, String)>,
    hindrance: impl Fn(&GroupMember) -> Option<&'static str>,
) {
    members.retain(|member| {
        let why = hindrance(member);
        left_out.extend(why.map(|why| (member.clone(), why.to_owned())));
        why.is_none()
    });
}
