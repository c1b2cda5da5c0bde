//! What the rules said, put in order, and what of it can be believed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{GroupRefusalReason, KnownGroups, RuleRead};
use crate::config::GroupRule;
use crate::mapping::UnmappedGroup;
use crate::model::{DesiredGroup, ExternalId, GroupOrigin, ManagedGroup, MemberKey, fold};

/// All that leads to one group of the organization: never nothing.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    /// The first rule that has a part in it; its policies count.
    pub(super) rule: usize,
    pub(super) parts: Vec<&'a DesiredGroup>,
}

impl<'a> Wanted<'a> {
    pub(super) fn keys(&self) -> BTreeSet<&'a ExternalId> {
        self.parts.iter().map(|part| &part.origin.key).collect()
    }

    pub(super) fn origins(&self) -> BTreeSet<GroupOrigin> {
        self.parts.iter().map(|part| part.origin.clone()).collect()
    }

    pub(super) fn members(&self) -> BTreeMap<&'a ExternalId, &'a str> {
        let members = self.parts.iter().flat_map(|part| &part.members);
        members.map(|(key, dn)| (key, dn.as_str())).collect()
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.parts.iter().any(|part| !part.doubts.is_empty())
    }

    /// The groups in those that lead to it.
    pub(super) fn nested(&self) -> BTreeSet<MemberKey> {
        let nested = self.parts.iter().flat_map(|part| &part.nested);
        nested.copied().collect()
    }

    /// The entries of which a member that no entry has was a group when it was last read. A server
    /// may hide an entry like that.
    pub(super) fn lost(&self, row: Option<&ManagedGroup>) -> Vec<&'a DesiredGroup> {
        let Some(row) = row else {
            return Vec::new();
        };
        let has_lost = |part: &&&DesiredGroup| !part.dangling.is_disjoint(&row.nested);
        self.parts.iter().filter(has_lost).copied().collect()
    }

    /// The entry by which it is told about.
    pub(super) fn dn(&self) -> String {
        let dns: Vec<&str> = self
            .parts
            .iter()
            .map(|part| part.origin.dn.as_str())
            .collect();
        dns.join(" and ")
    }
}

/// What the rules said, put in order.
pub(super) struct Sorted<'a> {
    /// By the folded name.
    pub(super) wanted: BTreeMap<String, Wanted<'a>>,
    pub(super) refused: Vec<(String, GroupRefusalReason)>,
    /// The keys that several entries have.
    pub(super) repeated: HashSet<ExternalId>,
}

/// Puts together what leads to one name. A group that several rules find is the first one's.
pub(super) fn sort_out(read: &[RuleRead]) -> Sorted<'_> {
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
pub(super) enum Standing {
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
pub(super) struct View {
    pub(super) seen: HashSet<ExternalId>,
    pub(super) repeated: HashSet<ExternalId>,
    pub(super) unmapped: Vec<(Option<ExternalId>, MemberKey)>,
    pub(super) rules: Vec<RuleView>,
}

pub(super) struct RuleView {
    pub(super) fingerprint: String,
    pub(super) place: String,
    /// Why what it did not find may be there.
    pub(super) disbelief: Option<String>,
    /// Whether it found an entry without a key.
    pub(super) has_unidentified: bool,
}

impl View {
    pub(super) fn of(
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

    pub(super) fn standing(&self, origin: &GroupOrigin) -> Standing {
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
        let Some(rule) = self.rule_of(origin).map(|at| &self.rules[at]) else {
            return Standing::Unsearched;
        };
        if rule.disbelief.is_some() || rule.has_unidentified {
            Standing::Unknown
        } else {
            Standing::Gone
        }
    }

    /// Whether the search that found it showed all there is.
    pub(super) fn is_believed(&self, origin: &GroupOrigin) -> bool {
        let rule = self.rule_of(origin).map(|at| &self.rules[at]);
        rule.is_some_and(|rule| rule.disbelief.is_none())
    }

    /// The place of the rule that would find it.
    pub(super) fn rule_of(&self, origin: &GroupOrigin) -> Option<usize> {
        let mut rules = self.rules.iter();
        rules.position(|rule| rule.fingerprint == origin.rule)
    }

    pub(super) fn is_whole(&self) -> bool {
        let is_believed = |rule: &RuleView| rule.disbelief.is_none() && !rule.has_unidentified;
        self.rules.iter().all(is_believed) && self.repeated.is_empty()
    }
}
