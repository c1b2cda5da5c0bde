//! A plan of groups in the making: group by group, then those that nothing leads to any more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::members::{Accounts, Difference, foreign};
use super::reverted::leave_out;
use super::view::{Standing, View, Wanted};
use super::{
    GroupNotice, GroupNoticed, GroupPlan, GroupRefusal, GroupRefusalReason, GroupSuspension,
    KnownGroups, PlannedGroup,
};
use crate::config::{GroupAdoption, GroupDeparture, GroupRule};
use crate::model::{
    DesiredGroup, ExistingGroup, ExternalId, FormerGroup, GroupChange, GroupMember, GroupOperation,
    GroupOrigin, GroupReason, GroupTarget, MEMBERS_A_GROUP, ManagedGroup, ScimId, fold,
};

pub(super) struct Draft<'a> {
    pub(super) rules: &'a [GroupRule],
    pub(super) known: &'a KnownGroups,
    pub(super) accounts: Accounts<'a>,
    pub(super) view: View,
    pub(super) accepts_scope_change: bool,
    pub(super) plan: GroupPlan,
}

/// The group of the organization that belongs to a wanted one.
enum Match<'a> {
    /// One of ours, of that name.
    Ours(&'a ManagedGroup, &'a ExistingGroup),
    /// One that is taken over.
    Found(&'a ExistingGroup, &'static str),
    /// One with its key under another name, ours if there is a row.
    Old(Option<&'a ManagedGroup>, &'a ExistingGroup),
    None,
}

/// A wanted group that has its members, or gets them in this run.
pub(super) struct Settled<'w, 'a> {
    pub(super) wanted: &'w Wanted<'a>,
    pub(super) row: Option<&'a ManagedGroup>,
    /// The group of its name; none as long as that is still to be made.
    pub(super) there: Option<&'a ExistingGroup>,
}

impl<'a> Draft<'a> {
    pub(super) fn refuse(&mut self, dn: String, why: &GroupRefusalReason) {
        let why = why.to_string();
        self.plan.refusals.push(GroupRefusal {
            dn,
            why,
            in_quarantine: false,
        });
    }

    pub(super) fn tell_rules(&mut self) {
        for rule in &self.view.rules {
            if let Some(why) = &rule.disbelief {
                self.plan.suspensions.push(GroupSuspension {
                    group: None,
                    place: rule.place.clone(),
                    why: why.clone(),
                });
            }
        }
    }

    fn notice(&mut self, group: &str, what: GroupNoticed) {
        let group = group.to_owned();
        self.plan.notices.push(GroupNotice { group, what });
    }

    pub(super) fn settle(&mut self, wanted: &BTreeMap<String, Wanted<'a>>) {
        let existing: HashMap<&ScimId, &ExistingGroup> = self
            .known
            .existing
            .iter()
            .map(|group| (&group.scim_id, group))
            .collect();
        let mut ours = Vec::new();
        let mut missing: HashSet<&ExternalId> = HashSet::new();
        for group in &self.known.managed {
            match existing.get(&group.scim_id) {
                Some(there) => ours.push((group, *there)),
                None => {
                    missing.extend(group.origins.iter().map(|origin| &origin.key));
                    self.plan.forgotten.push(group.scim_id.clone());
                }
            }
        }
        ours.sort_by_key(|(group, _)| &group.scim_id);
        let members = ours.iter().map(|(_, there)| there.members.len() as u64);
        self.plan.memberships = members.sum();
        let matches = self.matches(wanted, &ours);
        let mut settled: BTreeMap<&ExternalId, Settled<'_, 'a>> = BTreeMap::new();
        let mut taken: HashSet<&ScimId> = HashSet::new();
        for (wanted, found) in wanted.values().zip(matches) {
            if let Ok(Match::Ours(_, there) | Match::Old(_, there)) = &found {
                taken.insert(&there.scim_id);
            }
            let (row, there) = match &found {
                Ok(Match::Ours(row, there)) => (Some(*row), Some(*there)),
                Ok(Match::Found(there, _)) => (None, Some(*there)),
                Ok(Match::Old(..) | Match::None) | Err(_) => (None, None),
            };
            let is_missing = wanted.keys().iter().any(|key| missing.contains(key));
            let is_settled = match found {
                Err(why) => Err(why),
                Ok(found) => self.one(wanted, found, is_missing),
            };
            match is_settled {
                Ok(true) => settled.extend(wanted.keys().into_iter().map(|key| {
                    let one = Settled { wanted, row, there };
                    (key, one)
                })),
                Ok(false) => {}
                Err(why) => self.refuse(wanted.dn(), &why),
            }
        }
        let mut left = HashSet::new();
        for (group, there) in ours {
            if !taken.contains(&there.scim_id) {
                left.insert(&group.key);
                self.left_over(group, there, &settled);
            }
        }
        self.plan.unwished = self.unwished(&settled, &left);
    }

    /// The group of the organization for each wanted one: of all first those of the same name.
    fn matches(
        &self,
        wanted: &BTreeMap<String, Wanted<'a>>,
        ours: &[(&'a ManagedGroup, &'a ExistingGroup)],
    ) -> Vec<Result<Match<'a>, GroupRefusalReason>> {
        let managed: HashSet<&ScimId> = ours.iter().map(|(group, _)| &group.scim_id).collect();
        let is_other = |group: &&ExistingGroup| !managed.contains(&group.scim_id);
        let mut others: Vec<&ExistingGroup> = self.known.existing.iter().filter(is_other).collect();
        others.sort_by_key(|group| &group.scim_id);
        let ours_by_name: HashMap<String, _> = ours
            .iter()
            .map(|pair| (fold(&pair.1.name), *pair))
            .collect();
        let others_by_name: HashMap<String, &ExistingGroup> = others
            .iter()
            .map(|group| (fold(&group.name), *group))
            .collect();
        let mut taken: HashSet<&ScimId> = HashSet::new();
        for (name, (group, _)) in &ours_by_name {
            if wanted.contains_key(name) {
                taken.insert(&group.scim_id);
            }
        }
        let mut matches = Vec::new();
        for (name, wanted) in wanted {
            let keys = wanted.keys();
            let has_key = |group: &&ExistingGroup| {
                group
                    .external_id
                    .as_ref()
                    .is_some_and(|id| keys.contains(id))
            };
            let adopt = self.rules[wanted.rule].adopt;
            if let Some((group, there)) = ours_by_name.get(name) {
                matches.push(Ok(Match::Ours(group, there)));
                continue;
            }
            if let Some(there) = others_by_name.get(name).copied() {
                matches.push(match adopt {
                    GroupAdoption::ByKey | GroupAdoption::ByName if has_key(&there) => {
                        Ok(Match::Found(there, "externalId"))
                    }
                    GroupAdoption::ByName => Ok(Match::Found(there, "name")),
                    GroupAdoption::Never | GroupAdoption::ByKey => {
                        let name = there.name.clone();
                        Err(GroupRefusalReason::NameTaken { name })
                    }
                });
                continue;
            }
            let old = ours.iter().find(|(group, there)| {
                let origins = group.origins.iter().map(|origin| &origin.key);
                !taken.contains(&there.scim_id)
                    && origins.chain([&group.key]).any(|key| keys.contains(key))
            });
            if let Some((group, there)) = old {
                taken.insert(&there.scim_id);
                matches.push(Ok(Match::Old(Some(group), there)));
                continue;
            }
            let same_key: Vec<&ExistingGroup> = match adopt {
                GroupAdoption::Never => Vec::new(),
                _ => others.iter().copied().filter(has_key).collect(),
            };
            matches.push(match same_key.as_slice() {
                [] => Ok(Match::None),
                [there] => Ok(Match::Old(None, there)),
                several => {
                    let names: Vec<String> = several
                        .iter()
                        .map(|group| format!("`{}`", group.name))
                        .collect();
                    Err(GroupRefusalReason::Ambiguous(names.join(", ")))
                }
            });
        }
        matches
    }

    /// Plans one wanted group. Whether it is known who its members are, so that they are all in
    /// it once this has succeeded.
    fn one(
        &mut self,
        wanted: &Wanted<'a>,
        found: Match<'a>,
        is_missing: bool,
    ) -> Result<bool, GroupRefusalReason> {
        let (row, there) = match &found {
            Match::Ours(row, there) => (Some(*row), Some(*there)),
            Match::Found(there, _) => (None, Some(*there)),
            Match::Old(row, there) => (*row, Some(*there)),
            Match::None => (None, None),
        };
        let unknown = self.unknown(wanted, row);
        let is_known = match row {
            Some(_) => unknown.is_empty(),
            None => there.is_none() || self.view.is_whole(),
        };
        let mut parts = wanted.parts.iter();
        let is_believed = parts.all(|part| self.view.is_believed(&part.origin));
        let lost = wanted.lost(row);
        // As where `member` may not be read.
        let ours = there.map_or(0, |there| self.accounts.ours(there));
        let is_emptied = ours > 0 && wanted.names_nobody();
        let is_clear = !wanted.is_doubtful() && lost.is_empty() && !is_emptied;
        let may_shrink = is_known && is_believed && is_clear;
        let difference =
            self.accounts
                .difference(wanted, there, may_shrink, self.rules[wanted.rule].exact);
        if difference.after() > MEMBERS_A_GROUP {
            return Err(GroupRefusalReason::TooLarge {
                name: wanted.name.to_owned(),
                members: difference.after(),
            });
        }
        self.tell(wanted, &difference);
        if is_emptied {
            self.tell_emptied(wanted, ours);
        }
        self.tell_lost(&lost, wanted.name);
        let mut origins = wanted.origins();
        origins.extend(unknown);
        let key = self.key(wanted, row);
        if let (Some(row), Some(there)) = (row, there) {
            let mut nested = wanted.nested();
            if !lost.is_empty() {
                nested.extend(&row.nested);
            }
            self.note(
                ManagedGroup {
                    scim_id: row.scim_id.clone(),
                    key: key.clone(),
                    name: there.name.clone(),
                    origins: origins.clone(),
                    members: difference.ours.clone(),
                    nested,
                },
                row,
            );
        }
        let (kind, reason) = match found {
            Match::Ours(..) => (GroupChange::Update, GroupReason::Members),
            Match::Found(_, by) => {
                let by = by.to_owned();
                (GroupChange::Adopt, GroupReason::Found { by })
            }
            Match::Old(_, there) if may_shrink => {
                let from = there.name.clone();
                (GroupChange::Rename, GroupReason::Renamed { from })
            }
            // Until all is known it keeps its name.
            Match::Old(Some(_), _) => (GroupChange::Update, GroupReason::Members),
            Match::Old(None, _) => return Ok(false),
            Match::None if is_missing => (GroupChange::Create, GroupReason::Missing),
            Match::None => (GroupChange::Create, GroupReason::Appeared),
        };
        let is_update = kind == GroupChange::Update;
        if is_update && difference.add.is_empty() && difference.remove.is_empty() {
            self.plan.unchanged += 1;
            return Ok(may_shrink);
        }
        let mut operation = GroupOperation {
            kind,
            reason,
            key,
            name: match there {
                Some(there) if kind != GroupChange::Rename => there.name.clone(),
                _ => wanted.name.to_owned(),
            },
            origins,
            target: there.map(target),
            add: difference.add,
            remove: difference.remove,
            former: None,
            undoes: None,
        };
        if kind == GroupChange::Rename {
            operation.former = there.map(|there| FormerGroup {
                key: row.map_or(&operation.key, |row| &row.key).clone(),
                origins: row.map(|row| row.origins.clone()),
                members: there.members.iter().cloned().collect(),
            });
            // Whoever is in the old one and stays goes along.
            let stay = difference.stay.iter().map(|(key, id)| GroupMember {
                scim_id: Some(id.clone()),
                ..self.accounts.member(key)
            });
            operation.add.extend(stay);
            operation.add.extend(difference.foreign.iter().map(foreign));
            operation.add.sort();
        }
        self.push(operation);
        Ok(may_shrink)
    }

    /// Those that may still lead to a group of ours, though this run does not show it.
    fn unknown(
        &mut self,
        wanted: &Wanted<'a>,
        row: Option<&ManagedGroup>,
    ) -> BTreeSet<GroupOrigin> {
        let mut unknown = BTreeSet::new();
        for origin in row.into_iter().flat_map(|row| &row.origins) {
            match self.view.standing(origin) {
                Standing::Unknown => {
                    unknown.insert(origin.clone());
                }
                Standing::Unsearched if !self.accepts_scope_change => {
                    unknown.insert(origin.clone());
                    let why = format!(
                        "with the members that came from `{}`, which by the configuration as it is now is not searched for; run with --accept-scope-change if they are to go",
                        origin.dn
                    );
                    self.notice(wanted.name, GroupNoticed::Kept(why));
                }
                Standing::Unsearched | Standing::Seen | Standing::Gone => {}
            }
        }
        unknown
    }

    fn tell_emptied(&mut self, wanted: &Wanted<'a>, ours: usize) {
        self.plan.suspensions.push(GroupSuspension {
            group: Some(wanted.name.to_owned()),
            place: wanted.dn(),
            why: format!(
                "no member is shown, where there are {ours}; that is taken for a fault: let the bind DN read the attribute with the members; if there are none any more, take them out in the organization"
            ),
        });
    }

    fn tell_lost(&mut self, lost: &[&DesiredGroup], name: &str) {
        for part in lost {
            self.plan.suspensions.push(GroupSuspension {
                group: Some(name.to_owned()),
                place: part.origin.dn.clone(),
                why: "a member that was a group is not there, or is hidden from the bind DN: take it out of the group, or let it be read".to_owned(),
            });
        }
    }

    /// The key of the group of the organization: as it is, if one of the directory's groups
    /// still has it.
    fn key(&self, wanted: &Wanted<'a>, row: Option<&ManagedGroup>) -> ExternalId {
        let keys = wanted.keys();
        if let Some(row) = row.filter(|row| keys.contains(&row.key)) {
            return row.key.clone();
        }
        let is_free = |key: &&&ExternalId| self.known.managed.iter().all(|row| row.key != ***key);
        let first = keys.iter().find(is_free).or(keys.first());
        first.map_or_else(|| ExternalId::new(wanted.name), |key| (*key).clone())
    }

    fn tell(&mut self, wanted: &Wanted<'a>, difference: &Difference) {
        for part in &wanted.parts {
            for why in &part.doubts {
                self.plan.suspensions.push(GroupSuspension {
                    group: Some(wanted.name.to_owned()),
                    place: part.origin.dn.clone(),
                    why: why.clone(),
                });
            }
        }
        for kept in wanted.kept.values() {
            let why = format!(
                "by the rule as it is now its name would be `{}`; run with --accept-scope-change if it is to be renamed",
                kept.instead_of
            );
            self.notice(wanted.name, GroupNoticed::Kept(why));
        }
        if wanted.parts.len() > 1 {
            let dns = wanted.parts.iter().map(|part| part.origin.dn.clone());
            self.notice(wanted.name, GroupNoticed::Joined(dns.collect()));
        }
        if !difference.without.is_empty() {
            let without = difference.without.clone();
            self.notice(wanted.name, GroupNoticed::WithoutAccount(without));
        }
        if !difference.foreign.is_empty() {
            let count = difference.foreign.len() as u64;
            self.notice(wanted.name, GroupNoticed::Foreign(count));
        }
    }

    /// Brings the row up to date with what was read.
    fn note(&mut self, now: ManagedGroup, row: &ManagedGroup) {
        if now != *row {
            self.plan.notes.push(now);
        }
    }

    fn push(&mut self, operation: GroupOperation) {
        self.plan.operations.push(PlannedGroup {
            operation,
            holds: Vec::new(),
            tried_in_vain: None,
        });
    }

    /// A group of ours that nothing leads to any more. `settled` are the groups that lead to
    /// another one now, by key.
    fn left_over(
        &mut self,
        row: &ManagedGroup,
        there: &ExistingGroup,
        settled: &BTreeMap<&ExternalId, Settled<'_, 'a>>,
    ) {
        let mut into = Vec::new();
        let mut unsearched = None;
        let mut on_leave = None;
        for origin in &row.origins {
            match self.view.standing(origin) {
                // What keeps it from being known is told in its place.
                Standing::Unknown => return,
                Standing::Seen => match settled.get(&origin.key) {
                    Some(one) => into.push(one),
                    None => return,
                },
                Standing::Unsearched => unsearched = Some(origin),
                Standing::Gone => {
                    let rule = self.view.rule_of(origin).map(|at| &self.rules[at]);
                    on_leave = on_leave.or(rule.map(|rule| rule.on_leave));
                }
            }
        }
        if let (Some(last), None, None) = (into.last(), unsearched, on_leave) {
            return self.merge(row, there, &into, last);
        }
        if let Some(origin) = unsearched {
            let why = format!(
                "by the configuration as it is now `{}` is not searched for; delete the group in the organization if it is to go",
                origin.dn
            );
            return self.notice(&there.name, GroupNoticed::Kept(why));
        }
        match on_leave.unwrap_or_default() {
            GroupDeparture::Keep => {
                let why = "no longer in the directory (`on_leave = \"keep\"`)".to_owned();
                self.notice(&there.name, GroupNoticed::Kept(why));
            }
            GroupDeparture::Empty => {
                let mut operation =
                    self.departure(GroupChange::Update, GroupReason::Left, row, there);
                let ours = there
                    .members
                    .iter()
                    .filter_map(|id| self.accounts.by_scim_id.get(id));
                operation.remove = ours
                    .filter(|key| self.accounts.is_shown(key))
                    .map(|key| self.accounts.member(key))
                    .collect();
                operation.remove.sort();
                if !operation.remove.is_empty() {
                    self.push(operation);
                }
            }
            GroupDeparture::Delete => {
                self.push(self.departure(GroupChange::Delete, GroupReason::Left, row, there));
            }
        }
    }

    /// A group of ours whose members are in others now: it goes once the organization shows all
    /// of them there but for those whom the directory shows and does not want; until then those
    /// whom it does not show join `last`.
    fn merge(
        &mut self,
        row: &ManagedGroup,
        there: &ExistingGroup,
        into: &[&Settled<'_, 'a>],
        last: &Settled<'_, 'a>,
    ) {
        let shown = into.iter().filter_map(|one| one.there);
        let is_in: HashSet<&ScimId> = shown.flat_map(|other| &other.members).collect();
        let wanted: BTreeSet<&ExternalId> = into
            .iter()
            .flat_map(|one| one.wanted.members().into_keys())
            .collect();
        let unclear = into.iter().flat_map(|one| one.wanted.unclear()).collect();
        let is_exact = self.rules[last.wanted.rule].exact;
        let (mut lost, mut rest) = (Vec::new(), Vec::new());
        let mut is_waiting = false;
        for id in &there.members {
            let Some(key) = self.accounts.by_scim_id.get(id).copied() else {
                match is_exact && !self.accounts.claimed.contains(id) {
                    true => lost.push(foreign(id)),
                    false if !is_in.contains(id) => rest.push(foreign(id)),
                    false => {}
                }
                continue;
            };
            let member = GroupMember {
                scim_id: Some(id.clone()),
                ..self.accounts.member(key)
            };
            let is_wanted = wanted.contains(key);
            let stays = self.accounts.stays_anyway(key, &unclear);
            if !is_wanted && !stays {
                lost.push(member);
            } else if is_in.contains(id) {
            } else if is_wanted && self.accounts.is_shown(key) {
                is_waiting |= self.accounts.has_account(key);
            } else {
                rest.push(member);
            }
        }
        if !is_waiting && rest.is_empty() {
            let into = last.wanted.name.to_owned();
            let reason = GroupReason::Merged { into };
            let mut operation = self.departure(GroupChange::Delete, reason, row, there);
            lost.sort();
            operation.remove = lost;
            return self.push(operation);
        }
        let why = format!("until all its members are in `{}`", last.wanted.name);
        self.notice(&there.name, GroupNoticed::Kept(why));
        if let Err(why) = self.join(last, rest) {
            self.refuse(last.wanted.dn(), &why);
        }
    }

    /// Lets these join a settled group too.
    fn join(
        &mut self,
        settled: &Settled<'_, 'a>,
        members: Vec<GroupMember>,
    ) -> Result<(), GroupRefusalReason> {
        let Settled { wanted, row, there } = settled;
        if members.is_empty() {
            return Ok(());
        }
        let name = fold(wanted.name);
        let mut planned = self.plan.operations.iter().map(|one| &one.operation);
        let at =
            planned.position(|operation| !operation.is_deletion() && fold(&operation.name) == name);
        let mut add = members;
        add.extend(
            at.iter()
                .flat_map(|at| self.plan.operations[*at].operation.add.clone()),
        );
        add.sort();
        add.dedup();
        let members = there.map_or(0, |there| there.members.len()) + add.len();
        if members > MEMBERS_A_GROUP {
            let name = wanted.name.to_owned();
            return Err(GroupRefusalReason::TooLarge { name, members });
        }
        if let Some(at) = at {
            self.plan.operations[at].operation.add = add;
        } else if let Some(there) = there {
            self.plan.unchanged -= 1;
            self.push(GroupOperation {
                kind: GroupChange::Update,
                reason: GroupReason::Members,
                key: self.key(wanted, *row),
                name: there.name.clone(),
                origins: wanted.origins(),
                target: Some(target(there)),
                add,
                remove: Vec::new(),
                former: None,
                undoes: None,
            });
        }
        Ok(())
    }

    fn departure(
        &self,
        kind: GroupChange,
        reason: GroupReason,
        row: &ManagedGroup,
        there: &ExistingGroup,
    ) -> GroupOperation {
        GroupOperation {
            kind,
            reason,
            key: row.key.clone(),
            name: there.name.clone(),
            origins: row.origins.clone(),
            target: Some(target(there)),
            add: Vec::new(),
            remove: Vec::new(),
            former: (kind == GroupChange::Delete).then(|| FormerGroup {
                key: row.key.clone(),
                origins: Some(row.origins.clone()),
                members: there.members.iter().cloned().collect(),
            }),
            undoes: None,
        }
    }

    pub(super) fn finish(self) -> GroupPlan {
        let mut plan = self.plan;
        leave_out(&mut plan, &self.known.undone);
        in_order(&mut plan.operations);
        plan.refusals.sort();
        plan.refusals.dedup();
        plan.suspensions.sort();
        plan.notices.sort();
        plan.notes.sort_by(|a, b| a.scim_id.cmp(&b.scim_id));
        plan.forgotten.sort();
        plan
    }
}

/// Puts operations in the order in which they are sent. Deletions come last: a name or a member may
/// have gone elsewhere.
pub(super) fn in_order(operations: &mut [PlannedGroup]) {
    operations.sort_by_key(|PlannedGroup { operation, .. }| {
        let target = operation
            .target
            .as_ref()
            .map(|target| target.scim_id.clone());
        (operation.is_deletion(), fold(&operation.name), target)
    });
}

pub(super) fn target(there: &ExistingGroup) -> GroupTarget {
    GroupTarget {
        scim_id: there.scim_id.clone(),
        name: there.name.clone(),
        members: there.members.len() as u64,
    }
}
