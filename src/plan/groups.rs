//! The groups of the organization: which are made, taken over, renamed, filled, emptied and
//! deleted.
//!
//! The target cannot rename, so a group of the organization is its name: one of ours is found
//! again by its name first, and then by its key. A member is taken out only when the directory
//! shows the person, and all that leads to the group was read without a doubt; whoever is not
//! seen stays in. So leavers keep their memberships with their deactivated account, and whoever
//! is disabled follows the directory like everybody else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Desired, Planned};
use crate::config::{GroupAdoption, GroupDeparture, GroupRule};
use crate::mapping::{GroupFault, UnmappedGroup};
use crate::model::{
    DesiredGroup, ExistingGroup, ExternalId, GroupChange, GroupMember, GroupOperation, GroupOrigin,
    GroupReason, GroupTarget, Kind, Lifecycle, MEMBERS_A_GROUP, ManagedAccount, ManagedGroup,
    MemberKey, ScimId, fold,
};

/// What the search of one rule said.
#[derive(Clone, Debug)]
pub struct RuleRead {
    /// The groups whose name the rule matches.
    pub found: Vec<DesiredGroup>,
    /// Those of which no group of the organization can be made.
    pub unmapped: Vec<UnmappedGroup>,
    /// Whether these are all; else what came instead of a clean end.
    pub clean: Result<(), String>,
}

/// What the snapshot and the organization know of groups.
#[derive(Clone, Debug, Default)]
pub struct KnownGroups {
    /// Those that dirsyncd keeps.
    pub managed: Vec<ManagedGroup>,
    /// As the organization has them: those that dirsyncd keeps, and those that a new one may
    /// be.
    pub existing: Vec<ExistingGroup>,
    /// The accounts of the members, those that the directory names and those that the
    /// organization shows.
    pub people: HashMap<ExternalId, Person>,
}

/// A managed account, as far as groups are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The SCIM user.
    pub scim_id: ScimId,
    /// Where the entry last stood.
    pub dn: String,
    /// The name that a person would know the account by.
    pub name: String,
    /// Where the account stands.
    pub lifecycle: Lifecycle,
    /// Whether the person is missing from complete pulls.
    pub has_departed: bool,
}

/// What a run would do, or does, with groups.
#[derive(Clone, Debug, Default)]
pub struct GroupPlan {
    /// The operations in the order in which they are sent.
    pub operations: Vec<PlannedGroup>,
    /// Groups of the directory for which nothing is done because something is wrong with them.
    pub refusals: Vec<GroupRefusal>,
    /// Where nothing is taken away in this run, as it is not known whether that would be right.
    pub suspensions: Vec<GroupSuspension>,
    /// What else is to be known.
    pub notices: Vec<GroupNotice>,
    /// Groups that are as the directory wants them.
    pub unchanged: u64,
    /// Rows of the snapshot to be brought up to date without an outside write.
    pub notes: Vec<ManagedGroup>,
    /// Rows whose group the organization does not have any more.
    pub forgotten: Vec<ScimId>,
}

/// A group operation and what holds it back, if anything.
#[derive(Clone, Debug)]
pub struct PlannedGroup {
    /// The operation.
    pub operation: GroupOperation,
    /// The index of the hold in [`Plan::holds`](super::Plan::holds).
    pub hold: Option<usize>,
}

impl GroupPlan {
    /// How many operations of a kind are planned.
    pub fn count(&self, kind: GroupChange) -> usize {
        let planned = self.operations.iter();
        planned.filter(|one| one.operation.kind == kind).count()
    }

    /// Whether something is to be sent now.
    pub fn has_pending(&self) -> bool {
        self.operations.iter().any(|planned| planned.hold.is_none())
    }

    /// How many operations are held.
    pub fn held(&self) -> usize {
        let planned = self.operations.iter();
        planned.filter(|planned| planned.hold.is_some()).count()
    }

    /// Whether a person has to look.
    pub fn needs_attention(&self) -> bool {
        !self.refusals.is_empty() || !self.suspensions.is_empty()
    }
}

/// A group of the directory for which nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupRefusal {
    /// Its entry.
    pub dn: String,
    /// What is wrong, and the way out.
    pub why: String,
}

/// Why nothing is done for a group of the directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusalReason {
    /// No name or no key.
    #[error(transparent)]
    Unmapped(#[from] GroupFault),
    /// Several groups have one key.
    #[error(
        "another group has the same key {key}: {other}; a key belongs to one entry, so nothing is done for either"
    )]
    RepeatedKey {
        /// The key.
        key: ExternalId,
        /// The other entry.
        other: String,
    },
    /// The name belongs to a group that is not ours.
    #[error(
        "the organization has a group `{name}` that dirsyncd does not keep; take it over by `adopt = true` in [[group]], or give this one another name"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Several groups of the organization have its key.
    #[error(
        "several groups of the organization have its key as externalId: {0}; settle there which of them is meant"
    )]
    Ambiguous(String),
    /// More members than a group may have.
    #[error(
        "the group `{name}` would have {members} members, and one has at most {MEMBERS_A_GROUP}: split it, or leave it out by `match`"
    )]
    TooLarge {
        /// The name.
        name: String,
        /// How many it would have.
        members: usize,
    },
}

/// A rule or a group of which no absence is believed in this run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupSuspension {
    /// The group of the organization; none for all that a rule finds.
    pub group: Option<String>,
    /// Where the rule searches, or the group's entry.
    pub place: String,
    /// Why.
    pub why: String,
}

/// Something to know about a group of the organization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupNotice {
    /// Its name.
    pub group: String,
    /// What.
    pub what: GroupNoticed,
}

/// What there is to know about a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupNoticed {
    /// Several groups of the directory lead to it: their entries.
    Joined(Vec<String>),
    /// Members who have no account: their entries.
    WithoutAccount(Vec<String>),
    /// So many members in the organization who are nobody's account of ours.
    Foreign(u64),
    /// The directory's group is gone, and the organization's is kept: why.
    Kept(String),
}

impl From<&ManagedAccount> for Person {
    fn from(account: &ManagedAccount) -> Self {
        Person {
            scim_id: account.scim_id.clone(),
            dn: account.dn.clone(),
            name: account.profile.label().to_owned(),
            lifecycle: account.lifecycle,
            has_departed: account.departed_at.is_some(),
        }
    }
}

/// The people of whom it is not certain that the directory has them, by this run's pulls.
pub fn unseen(desired: &Desired) -> HashSet<ExternalId> {
    let unmapped = desired.unmapped.iter().filter_map(|one| one.key.as_ref());
    let repeated = desired.repeated.iter().map(|(person, _)| &person.key);
    let absent = desired.absent.iter();
    absent.chain(unmapped).chain(repeated).cloned().collect()
}

/// Plans the groups of a run.
///
/// `read` has what each of the rules said, in their order; `unseen` is from [`unseen`];
/// `planned` are the account operations of the run.
pub fn plan(
    rules: &[GroupRule],
    read: Vec<RuleRead>,
    known: &KnownGroups,
    unseen: &HashSet<ExternalId>,
    planned: &[Planned],
) -> GroupPlan {
    let Sorted {
        wanted,
        refused,
        repeated,
    } = sort_out(&read);
    let view = View::of(rules, &read, known, repeated);
    let mut draft = Draft {
        rules,
        known,
        accounts: Accounts::of(known, unseen, planned),
        view,
        plan: GroupPlan::default(),
    };
    for (dn, why) in refused {
        draft.refuse(dn, &why);
    }
    draft.tell_rules();
    draft.settle(&wanted);
    draft.finish()
}

/// All that leads to one group of the organization: never nothing.
struct Wanted<'a> {
    name: &'a str,
    /// The first rule that has a part in it; its policies count.
    rule: usize,
    parts: Vec<&'a DesiredGroup>,
}

impl<'a> Wanted<'a> {
    fn keys(&self) -> BTreeSet<&'a ExternalId> {
        self.parts.iter().map(|part| &part.origin.key).collect()
    }

    fn origins(&self) -> BTreeSet<GroupOrigin> {
        self.parts.iter().map(|part| part.origin.clone()).collect()
    }

    fn members(&self) -> BTreeMap<&'a ExternalId, &'a str> {
        let members = self.parts.iter().flat_map(|part| &part.members);
        members.map(|(key, dn)| (key, dn.as_str())).collect()
    }

    fn is_doubtful(&self) -> bool {
        self.parts.iter().any(|part| !part.doubts.is_empty())
    }

    /// The entry by which it is told about.
    fn dn(&self) -> String {
        let dns: Vec<&str> = self
            .parts
            .iter()
            .map(|part| part.origin.dn.as_str())
            .collect();
        dns.join(" and ")
    }
}

/// What the rules said, put in order.
struct Sorted<'a> {
    /// By the folded name.
    wanted: BTreeMap<String, Wanted<'a>>,
    refused: Vec<(String, GroupRefusalReason)>,
    /// The keys that several entries have.
    repeated: HashSet<ExternalId>,
}

/// Puts together what leads to one name. A group that several rules find is the first one's.
fn sort_out(read: &[RuleRead]) -> Sorted<'_> {
    let mut by_key: BTreeMap<&ExternalId, Vec<(usize, &DesiredGroup)>> = BTreeMap::new();
    let mut refused = Vec::new();
    for (rule, said) in read.iter().enumerate() {
        for group in &said.found {
            let same_key = by_key.entry(&group.origin.key).or_default();
            let name = MemberKey::dn(&group.origin.dn);
            if same_key
                .iter()
                .all(|(_, other)| MemberKey::dn(&other.origin.dn) != name)
            {
                same_key.push((rule, group));
            }
        }
        for UnmappedGroup { dn, why, .. } in &said.unmapped {
            refused.push((dn.clone(), why.clone().into()));
        }
    }
    let mut repeated = HashSet::new();
    let mut single = Vec::new();
    for (key, groups) in by_key {
        if let [one] = groups.as_slice() {
            single.push(*one);
            continue;
        }
        repeated.insert(key.clone());
        for (at, (_, group)) in groups.iter().enumerate() {
            let (_, other) = groups[usize::from(at == 0)];
            let why = GroupRefusalReason::RepeatedKey {
                key: key.clone(),
                other: other.origin.dn.clone(),
            };
            refused.push((group.origin.dn.clone(), why));
        }
    }
    single.sort_by_key(|(rule, group)| (*rule, &group.origin));
    let mut wanted: BTreeMap<String, Wanted<'_>> = BTreeMap::new();
    for (rule, group) in single {
        let same_name = wanted.entry(fold(&group.name)).or_insert_with(|| Wanted {
            name: &group.name,
            rule,
            parts: Vec::new(),
        });
        same_name.parts.push(group);
    }
    Sorted {
        wanted,
        refused,
        repeated,
    }
}

/// What became of a group of the directory, as far as this run can tell.
enum Standing {
    /// It is there.
    Seen,
    /// It is not there.
    Gone,
    /// It may be there.
    Unknown,
    /// No rule would find it any more.
    Unsearched,
}

/// What the rules said, for the question whether something is not there.
struct View {
    seen: HashSet<ExternalId>,
    repeated: HashSet<ExternalId>,
    unmapped: Vec<(Option<ExternalId>, MemberKey)>,
    rules: Vec<RuleView>,
}

struct RuleView {
    fingerprint: String,
    place: String,
    /// Why what it did not find may be there.
    disbelief: Option<String>,
    /// Whether it found an entry without a key.
    has_unidentified: bool,
}

impl View {
    fn of(
        rules: &[GroupRule],
        read: &[RuleRead],
        known: &KnownGroups,
        repeated: HashSet<ExternalId>,
    ) -> Self {
        let views = rules.iter().zip(read).map(|(rule, said)| {
            let fingerprint = rule.fingerprint();
            let is_of_rule = |origin: &GroupOrigin| origin.rule == fingerprint;
            let managed = known.managed.iter();
            let before = managed.filter(|group| group.origins.iter().any(is_of_rule)).count();
            let is_empty = said.found.is_empty() && said.unmapped.is_empty();
            RuleView {
                place: rule.place(),
                disbelief: match &said.clean {
                    Err(why) => Some(why.clone()),
                    Ok(()) if is_empty && before > 0 => Some(format!(
                        "no group was found, where there were {before}; that is taken for a fault: check base, scope, filter and `match`, and what the bind DN may read; if they are all gone, delete them in the organization"
                    )),
                    Ok(()) => None,
                },
                has_unidentified: said.unmapped.iter().any(|one| one.key.is_none()),
                fingerprint,
            }
        });
        let found = read.iter().flat_map(|said| &said.found);
        let unmapped = read.iter().flat_map(|said| &said.unmapped);
        View {
            seen: found.map(|group| group.origin.key.clone()).collect(),
            repeated,
            unmapped: unmapped
                .map(|one| (one.key.clone(), MemberKey::dn(&one.dn)))
                .collect(),
            rules: views.collect(),
        }
    }

    fn standing(&self, origin: &GroupOrigin) -> Standing {
        let name = MemberKey::dn(&origin.dn);
        let is_unmapped = self
            .unmapped
            .iter()
            .any(|(key, dn)| key.as_ref() == Some(&origin.key) || *dn == name);
        if is_unmapped || self.repeated.contains(&origin.key) {
            return Standing::Unknown;
        }
        if self.seen.contains(&origin.key) {
            return Standing::Seen;
        }
        let Some(rule) = self
            .rules
            .iter()
            .find(|rule| rule.fingerprint == origin.rule)
        else {
            return Standing::Unsearched;
        };
        if rule.disbelief.is_some() || rule.has_unidentified {
            Standing::Unknown
        } else {
            Standing::Gone
        }
    }

    /// Whether the search that found it showed all there is.
    fn is_believed(&self, origin: &GroupOrigin) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.fingerprint == origin.rule && rule.disbelief.is_none())
    }

    fn is_whole(&self) -> bool {
        let is_believed = |rule: &RuleView| rule.disbelief.is_none() && !rule.has_unidentified;
        self.rules.iter().all(is_believed) && self.repeated.is_empty()
    }
}

/// The accounts as they will be once the account operations of this run have succeeded.
struct Accounts<'a> {
    people: &'a HashMap<ExternalId, Person>,
    by_scim_id: HashMap<&'a ScimId, &'a ExternalId>,
    unseen: &'a HashSet<ExternalId>,
    /// Who gets an account in this run, or gets it back, with its name.
    coming: HashMap<&'a ExternalId, &'a str>,
    /// Whose account is deleted.
    going: HashSet<&'a ExternalId>,
}

impl<'a> Accounts<'a> {
    fn of(known: &'a KnownGroups, unseen: &'a HashSet<ExternalId>, planned: &'a [Planned]) -> Self {
        let sent = planned.iter().filter(|planned| planned.hold.is_none());
        let sent = sent.map(|planned| &planned.operation);
        let is_coming = |kind| matches!(kind, Kind::Create | Kind::Adopt | Kind::Restore);
        let people = known.people.iter();
        Accounts {
            people: &known.people,
            by_scim_id: people
                .filter(|(_, person)| !matches!(person.lifecycle, Lifecycle::Deleted { .. }))
                .map(|(key, person)| (&person.scim_id, key))
                .collect(),
            unseen,
            coming: sent
                .clone()
                .filter(|operation| is_coming(operation.kind))
                .map(|operation| (&operation.key, operation.label()))
                .collect(),
            going: sent
                .filter(|operation| operation.kind == Kind::Delete)
                .map(|operation| &operation.key)
                .collect(),
        }
    }

    /// Whether the directory shows the person in this run.
    fn is_shown(&self, key: &ExternalId) -> bool {
        let has_departed = self
            .people
            .get(key)
            .is_some_and(|person| person.has_departed);
        !self.unseen.contains(key) && (!has_departed || self.coming.contains_key(key))
    }

    fn has_account(&self, key: &ExternalId) -> bool {
        let lifecycle = self.people.get(key).map(|person| person.lifecycle);
        matches!(
            lifecycle,
            Some(Lifecycle::Active | Lifecycle::Deactivated { .. })
        ) || self.coming.contains_key(key)
    }

    fn member(&self, key: &ExternalId) -> GroupMember {
        let person = self.people.get(key);
        let is_there = |person: &&Person| {
            matches!(
                person.lifecycle,
                Lifecycle::Active | Lifecycle::Deactivated { .. }
            )
        };
        let name = self.coming.get(key).copied();
        let name = name.or(person.map(|person| person.name.as_str()));
        GroupMember {
            name: name.unwrap_or(key.as_str()).to_owned(),
            key: Some(key.clone()),
            scim_id: person.filter(is_there).map(|person| person.scim_id.clone()),
        }
    }
}

fn foreign(id: &ScimId) -> GroupMember {
    GroupMember {
        name: format!("SCIM user {id}"),
        key: None,
        scim_id: Some(id.clone()),
    }
}

/// Who is to join and leave.
#[derive(Default)]
struct Difference {
    add: Vec<GroupMember>,
    remove: Vec<GroupMember>,
    /// Our people who are in it now, and those of them who stay.
    ours: BTreeSet<ExternalId>,
    stay: BTreeSet<ExternalId>,
    /// Who else is in it and stays.
    foreign: Vec<ScimId>,
    /// Members who have no account, by DN.
    without: Vec<String>,
}

impl Difference {
    /// How many members there are afterwards.
    fn after(&self) -> usize {
        self.stay.len() + self.foreign.len() + self.add.len()
    }
}

struct Draft<'a> {
    rules: &'a [GroupRule],
    known: &'a KnownGroups,
    accounts: Accounts<'a>,
    view: View,
    plan: GroupPlan,
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

impl<'a> Draft<'a> {
    fn refuse(&mut self, dn: String, why: &GroupRefusalReason) {
        let why = why.to_string();
        self.plan.refusals.push(GroupRefusal { dn, why });
    }

    fn tell_rules(&mut self) {
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

    fn settle(&mut self, wanted: &BTreeMap<String, Wanted<'a>>) {
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
        let matches = self.matches(wanted, &ours);
        // The names at which a wanted group gets all its members in this run or has them.
        let mut settled: BTreeMap<&ExternalId, &str> = BTreeMap::new();
        let mut taken: HashSet<&ScimId> = HashSet::new();
        for (wanted, found) in wanted.values().zip(matches) {
            if let Ok(Match::Ours(_, there) | Match::Old(_, there)) = &found {
                taken.insert(&there.scim_id);
            }
            let is_missing = wanted.keys().iter().any(|key| missing.contains(key));
            let is_settled = match found {
                Err(why) => Err(why),
                Ok(found) => self.one(wanted, found, is_missing),
            };
            match is_settled {
                Ok(true) => settled.extend(wanted.keys().iter().map(|key| (*key, wanted.name))),
                Ok(false) => {}
                Err(why) => self.refuse(wanted.dn(), &why),
            }
        }
        for (group, there) in ours {
            if !taken.contains(&there.scim_id) {
                self.left_over(group, there, &settled);
            }
        }
    }

    /// The group of the organization for each wanted one: of all first those of the same name.
    fn matches(
        &self,
        wanted: &BTreeMap<String, Wanted<'a>>,
        ours: &[(&'a ManagedGroup, &'a ExistingGroup)],
    ) -> Vec<Result<Match<'a>, GroupRefusalReason>> {
        let managed: HashSet<&ScimId> = ours.iter().map(|(group, _)| &group.scim_id).collect();
        let others: Vec<&ExistingGroup> = self
            .known
            .existing
            .iter()
            .filter(|group| !managed.contains(&group.scim_id))
            .collect();
        let mut taken: HashSet<&ScimId> = HashSet::new();
        for (_, there) in ours {
            if wanted.contains_key(&fold(&there.name)) {
                taken.insert(&there.scim_id);
            }
        }
        let mut matches = Vec::new();
        for (name, wanted) in wanted {
            let is_named = |group: &&ExistingGroup| fold(&group.name) == *name;
            let keys = wanted.keys();
            let has_key = |group: &&ExistingGroup| {
                group
                    .external_id
                    .as_ref()
                    .is_some_and(|id| keys.contains(id))
            };
            let adopt = self.rules[wanted.rule].adopt;
            if let Some((group, there)) = ours.iter().find(|(_, there)| is_named(&there)) {
                matches.push(Ok(Match::Ours(group, there)));
                continue;
            }
            if let Some(there) = others.iter().copied().find(is_named) {
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
        let mut unknown = BTreeSet::new();
        for origin in row.into_iter().flat_map(|row| &row.origins) {
            if matches!(self.view.standing(origin), Standing::Unknown) {
                unknown.insert(origin.clone());
            }
        }
        let is_known = match row {
            Some(_) => unknown.is_empty(),
            None => there.is_none() || self.view.is_whole(),
        };
        let mut parts = wanted.parts.iter();
        let is_believed = parts.all(|part| self.view.is_believed(&part.origin));
        let may_shrink = is_known && is_believed && !wanted.is_doubtful();
        let difference = self.difference(wanted, there, may_shrink);
        if difference.after() > MEMBERS_A_GROUP {
            return Err(GroupRefusalReason::TooLarge {
                name: wanted.name.to_owned(),
                members: difference.after(),
            });
        }
        self.tell(wanted, &difference);
        let mut origins = wanted.origins();
        origins.extend(unknown);
        let key = self.key(wanted, row);
        if let (Some(row), Some(there)) = (row, there) {
            self.note(row, there, &key, &origins, &difference);
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
        };
        if kind == GroupChange::Rename {
            // Whoever is in the old one and stays goes along.
            let stay = difference.stay.iter().map(|key| self.accounts.member(key));
            operation.add.extend(stay);
            operation.add.extend(difference.foreign.iter().map(foreign));
            operation.add.sort();
            operation.remove.clear();
        }
        self.push(operation);
        Ok(may_shrink)
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

    /// How the members differ from what they are to be.
    fn difference(
        &self,
        wanted: &Wanted<'a>,
        there: Option<&ExistingGroup>,
        may_shrink: bool,
    ) -> Difference {
        let accounts = &self.accounts;
        let members = wanted.members();
        let mut difference = Difference::default();
        let is_exact = may_shrink && self.rules[wanted.rule].exact;
        let unidentified: HashSet<MemberKey> = wanted
            .parts
            .iter()
            .flat_map(|part| part.unidentified.iter().copied())
            .collect();
        for id in there.into_iter().flat_map(|there| &there.members) {
            let Some(key) = accounts.by_scim_id.get(id).copied() else {
                match is_exact {
                    true => difference.remove.push(foreign(id)),
                    false => difference.foreign.push(id.clone()),
                }
                continue;
            };
            let dn = accounts.people.get(key).map_or("", |person| &person.dn);
            let is_right = members.contains_key(key)
                || !accounts.is_shown(key)
                || unidentified.contains(&MemberKey::dn(dn));
            difference.ours.insert(key.clone());
            if is_right || !may_shrink {
                difference.stay.insert(key.clone());
            } else {
                difference.remove.push(accounts.member(key));
            }
        }
        for (key, dn) in members {
            if accounts.going.contains(key) || difference.ours.contains(key) {
                continue;
            }
            if !accounts.has_account(key) {
                difference.without.push(dn.to_owned());
            } else if accounts.is_shown(key) {
                difference.add.push(accounts.member(key));
            }
        }
        difference.add.sort();
        difference.remove.sort();
        difference.without.sort();
        difference
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
    fn note(
        &mut self,
        row: &ManagedGroup,
        there: &ExistingGroup,
        key: &ExternalId,
        origins: &BTreeSet<GroupOrigin>,
        difference: &Difference,
    ) {
        let now = ManagedGroup {
            scim_id: row.scim_id.clone(),
            key: key.clone(),
            name: there.name.clone(),
            origins: origins.clone(),
            members: difference.ours.clone(),
        };
        if now != *row {
            self.plan.notes.push(now);
        }
    }

    fn push(&mut self, operation: GroupOperation) {
        self.plan.operations.push(PlannedGroup {
            operation,
            hold: None,
        });
    }

    /// A group of ours that nothing leads to any more. `settled` are the keys whose members are
    /// in another group.
    fn left_over(
        &mut self,
        row: &ManagedGroup,
        there: &ExistingGroup,
        settled: &BTreeMap<&ExternalId, &str>,
    ) {
        let mut into = None;
        let mut unsearched = None;
        let mut on_leave = None;
        for origin in &row.origins {
            match self.view.standing(origin) {
                // What keeps it from being known is told in its place.
                Standing::Unknown => return,
                Standing::Seen => match settled.get(&origin.key) {
                    Some(name) => into = Some(*name),
                    None => return,
                },
                Standing::Unsearched => unsearched = Some(origin),
                Standing::Gone => {
                    let mut rules = self.rules.iter();
                    let rule = rules.find(|rule| rule.fingerprint() == origin.rule);
                    on_leave = on_leave.or(rule.map(|rule| rule.on_leave));
                }
            }
        }
        if let (Some(into), None) = (into, unsearched) {
            let reason = GroupReason::Merged {
                into: into.to_owned(),
            };
            return self.push(self.departure(GroupChange::Delete, reason, row, there));
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
        }
    }

    fn finish(self) -> GroupPlan {
        let mut plan = self.plan;
        // Deletions come last: a name or a member may have gone elsewhere.
        plan.operations
            .sort_by_key(|PlannedGroup { operation, .. }| {
                let target = operation
                    .target
                    .as_ref()
                    .map(|target| target.scim_id.clone());
                let is_deletion = operation.kind == GroupChange::Delete;
                (is_deletion, fold(&operation.name), target)
            });
        plan.refusals.sort();
        plan.refusals.dedup();
        plan.suspensions.sort();
        plan.notices.sort();
        plan.notes.sort_by(|a, b| a.scim_id.cmp(&b.scim_id));
        plan.forgotten.sort();
        plan
    }
}

fn target(there: &ExistingGroup) -> GroupTarget {
    GroupTarget {
        scim_id: there.scim_id.clone(),
        name: there.name.clone(),
        members: there.members.len() as u64,
    }
}
