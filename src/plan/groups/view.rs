//! What the rules said, put in order, and what of it can be believed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{GroupRefusalReason, KnownGroups, RuleRead};
use crate::config::GroupRule;
use crate::mapping::UnmappedGroup;
use crate::model::{DesiredGroup, ExternalId, GroupOrigin, ManagedGroup, MemberKey, ScimId, fold};

/// All that leads to one group of the organization: never nothing.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    /// The first rule that has a part in it; its policies count.
    pub(super) rule: usize,
    pub(super) parts: Vec<&'a DesiredGroup>,
    /// The parts that keep their old name, by key.
    pub(super) kept: BTreeMap<&'a ExternalId, KeptName<'a>>,
}

/// The name that a group of the directory keeps, although its rule, edited, gives another one: an edit of
/// the configuration renames nothing by itself.
#[derive(Clone, Copy)]
pub(super) struct KeptName<'a> {
    pub(super) name: &'a str,
    /// The rule that gave it.
    pub(super) rule: &'a str,
    /// The name by the rule as it is now.
    pub(super) instead_of: &'a str,
}

/// The names that are kept, by key.
pub(super) fn kept_names<'a>(
    read: &'a [RuleRead],
    known: &'a KnownGroups,
) -> HashMap<&'a ExternalId, KeptName<'a>> {
    let names = known.existing.iter();
    let names: HashMap<&ScimId, &str> = names
        .map(|group| (&group.scim_id, group.name.as_str()))
        .collect();
    let mut managed: Vec<&ManagedGroup> = known.managed.iter().collect();
    managed.sort_by_key(|row| &row.scim_id);
    let mut before: HashMap<&ExternalId, Vec<(&str, &str)>> = HashMap::new();
    for row in managed {
        let Some(name) = names.get(&row.scim_id) else {
            continue;
        };
        for origin in &row.origins {
            let same_key = before.entry(&origin.key).or_default();
            same_key.push((name, &origin.rule));
        }
    }
    let found = read.iter().flat_map(|said| &said.found);
    let kept = found.filter_map(|group| {
        let before = before.get(&group.origin.key)?;
        let is_as_now = |(name, rule): &(&str, &str)| {
            *rule == group.origin.rule || fold(name) == fold(&group.name)
        };
        let (name, rule) = before.first().filter(|_| !before.iter().any(is_as_now))?;
        let instead_of = &group.name;
        let kept = KeptName {
            name,
            rule,
            instead_of,
        };
        Some((&group.origin.key, kept))
    });
    kept.collect()
}

impl<'a> Wanted<'a> {
    pub(super) fn keys(&self) -> BTreeSet<&'a ExternalId> {
        self.parts.iter().map(|part| &part.origin.key).collect()
    }

    /// What leads to it, as the snapshot is to know it: who keeps a name keeps the rule that gave it.
    pub(super) fn origins(&self) -> BTreeSet<GroupOrigin> {
        let origins = self.parts.iter().map(|part| {
            let kept = self.kept.get(&part.origin.key);
            let rule = kept.map_or(part.origin.rule.as_str(), |kept| kept.rule);
            GroupOrigin {
                rule: rule.to_owned(),
                ..part.origin.clone()
            }
        });
        origins.collect()
    }

    pub(super) fn members(&self) -> BTreeMap<&'a ExternalId, &'a str> {
        let members = self.parts.iter().flat_map(|part| &part.members);
        members.map(|(key, dn)| (key, dn.as_str())).collect()
    }

    /// The members of whom it is not known who they are: whoever has such a DN may be meant, also
    /// where the server says that there is no entry of it, as one that hides it does, or a replica
    /// that is behind.
    pub(super) fn unclear(&self) -> impl Iterator<Item = MemberKey> {
        let parts = self.parts.iter();
        parts
            .flat_map(|part| part.unidentified.iter().chain(&part.dangling))
            .copied()
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.parts.iter().any(|part| !part.doubts.is_empty())
    }

    /// Whether no entry that leads to it names any member, whoever that is.
    pub(super) fn names_nobody(&self) -> bool {
        self.parts.iter().all(|part| {
            part.members.is_empty()
                && part.unidentified.is_empty()
                && part.nested.is_empty()
                && part.dangling.is_empty()
        })
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
pub(super) fn sort_out<'a>(
    read: &'a [RuleRead],
    kept: &HashMap<&'a ExternalId, KeptName<'a>>,
) -> Sorted<'a> {
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
        let kept = kept.get(&group.origin.key);
        let name = kept.map_or(group.name.as_str(), |kept| kept.name);
        let same_name = wanted.entry(fold(name)).or_insert_with(|| Wanted {
            name,
            rule,
            parts: Vec::new(),
            kept: BTreeMap::new(),
        });
        let kept = kept.map(|kept| (&group.origin.key, *kept));
        same_name.kept.extend(kept);
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
