//! Who is in a group, directly or through groups in it: pure, whatever the groups were read from.

use std::collections::hash_map::{Entry as Slot, HashMap};
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::slice::Iter;

use crate::model::{Entry, Group, GroupKind, MemberKey};

/// The groups that were read, and what else of their members is there.
#[derive(Debug, Default)]
pub(super) struct Graph {
    groups: HashMap<MemberKey, Node>,
    /// Entries that are no groups.
    others: HashSet<MemberKey>,
    /// Members under another name than that of their entry: a server may know more ways to spell one than [`Dn`]
    /// does, such as `commonName=` for `cn=`.
    ///
    /// [`Dn`]: crate::model::Dn
    renamed: HashMap<MemberKey, MemberKey>,
}

/// A group without its texts.
#[derive(Debug)]
struct Node {
    dn: String,
    kinds: Vec<GroupKind>,
    members: Vec<MemberKey>,
    uids: Vec<MemberKey>,
    sid: Option<MemberKey>,
    is_unexpanded: bool,
}

/// Why it cannot be said who is in a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupProblem {
    /// There is none of that name.
    #[error(
        "there is no such entry (or the bind DN may not see it, or the file does not hold it): correct `members_of` or `exclude_members_of`"
    )]
    Absent,
    /// The entry is something else.
    #[error(
        "the entry is no group: none of its object classes that can be read is groupOfNames, groupOfMembers, groupOfEntries, groupOfUniqueNames, posixGroup, groupOfURLs or group; name a group, or let the bind DN read `objectClass`"
    )]
    NoGroup,
    /// Its members are given by searches alone.
    #[error(
        "it is dynamic (`memberURL`), and the server shows no `member` of it: let the server expand it (OpenLDAP: the overlay dynlist with `member`), or select the people by `filter`"
    )]
    Unexpanded,
    /// The group or a member is there and hidden.
    #[error("{who} cannot be read: {why}; let the bind DN read it")]
    Hidden {
        /// Who.
        who: String,
        /// What the server said.
        why: String,
    },
    /// The group or a member is on another server.
    #[error(
        "{who} is on another server ({server}): select by groups of this one, or set `ignore_referrals = true` to leave out such members"
    )]
    Elsewhere {
        /// Who.
        who: String,
        /// The server that was named.
        server: String,
    },
    /// Active Directory ended a list of members before its last portion.
    #[error("its members came incompletely: {0}; the next run tries again")]
    CutOff(String),
}

/// What was found out about one group of `members_of`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group as the configuration names it.
    pub group: String,
    /// What it is.
    pub kinds: Vec<GroupKind>,
    /// How many members it names itself, whatever they are.
    pub direct: usize,
    /// How many there are in all, without the groups in it and those who are in it by their primary group.
    pub members: usize,
    /// The groups in it.
    pub nested: usize,
    /// Memberships that lead back to a group on the way to them; they are not followed again.
    pub cycles: usize,
    /// DNs that no entry has.
    pub dangling: usize,
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> = self.kinds.iter().map(GroupKind::to_string).collect();
        write!(
            f,
            "{}, direct members: {}, members in all: {}, nested groups: {}, cycles: {}, dangling members: {}",
            kinds.join(" and "),
            self.direct,
            self.members,
            self.nested,
            self.cycles,
            self.dangling
        )
    }
}

/// The people of a source who are in one of the groups that select, and in none of those that
/// exclude.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `None` where no group selects: everybody is selected then.
    selected: Option<Members>,
    excluded: Option<Members>,
    memberships: Vec<Membership>,
}

/// Who is in one of several groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Members {
    keys: HashSet<MemberKey>,
    has_uids: bool,
    has_primary_groups: bool,
}

impl Graph {
    /// Takes in an entry that was asked for by this name.
    pub(super) fn insert_as(&mut self, asked: MemberKey, entry: Entry) -> Option<Group> {
        let key = MemberKey::dn(entry.dn());
        if key != asked {
            self.renamed.insert(asked, key);
        }
        self.insert(entry)
    }

    /// Takes in an entry; gives the group that it is.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<Group> {
        let key = MemberKey::dn(entry.dn());
        let Some(group) = Group::read(entry) else {
            self.others.insert(key);
            return None;
        };
        // A name that stands twice in one group is one member.
        let unique = |names: &[String], key: fn(&str) -> MemberKey| -> Vec<MemberKey> {
            let mut keys: Vec<MemberKey> = names.iter().map(|name| key(name)).collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        };
        let node = Node {
            dn: group.dn.clone(),
            kinds: group.kinds.clone(),
            members: unique(&group.members, MemberKey::dn),
            uids: unique(&group.uids, MemberKey::uid),
            sid: group.sid.as_deref().map(MemberKey::primary_group),
            is_unexpanded: group.is_unexpanded,
        };
        self.groups.insert(key, node);
        Some(group)
    }

    /// Takes in that there is an entry of this name, which is no group.
    pub(super) fn insert_other(&mut self, key: MemberKey) {
        self.others.insert(key);
    }

    /// Whether there is an entry of this name that is no group.
    pub(super) fn has_other(&self, key: MemberKey) -> bool {
        self.others.contains(&key)
    }

    /// Who is in the groups that select, if there are any, and in none of those that exclude.
    ///
    /// # Errors
    /// The first problem, with the group that has it.
    pub(super) fn select(
        &self,
        selecting: &[&str],
        excluding: &[&str],
    ) -> Result<Selection, (String, GroupProblem)> {
        let mut memberships = Vec::new();
        let mut members = |groups: &[&str]| {
            let mut members = Members::default();
            for group in groups {
                memberships.push(self.add(group, &mut members)?);
            }
            Ok((!groups.is_empty()).then_some(members))
        };
        Ok(Selection {
            selected: members(selecting)?,
            excluded: members(excluding)?,
            memberships,
        })
    }

    fn add(
        &self,
        group: &str,
        members: &mut Members,
    ) -> Result<Membership, (String, GroupProblem)> {
        let refuse = |problem| (group.to_owned(), problem);
        let root = self.key(MemberKey::dn(group));
        let start = match self.groups.get(&root) {
            Some(node) => node,
            None if self.others.contains(&root) => return Err(refuse(GroupProblem::NoGroup)),
            None => return Err(refuse(GroupProblem::Absent)),
        };
        let walk = self.walk(root, start);
        if let Some(dn) = walk.unexpanded.into_iter().next() {
            return Err((dn, GroupProblem::Unexpanded));
        }
        members.has_uids |= !walk.uids.is_empty();
        members.has_primary_groups |= !walk.sids.is_empty();
        let membership = Membership {
            group: group.to_owned(),
            kinds: start.kinds.clone(),
            direct: start.members.len() + start.uids.len(),
            members: walk.members + walk.uids.len(),
            nested: walk.groups.len() - 1,
            cycles: walk.cycles,
            dangling: walk.dangling.len(),
        };
        let found = [walk.reached, walk.uids, walk.sids];
        members.keys.extend(found.into_iter().flatten());
        Ok(membership)
    }

    /// Who is in a group that was read: also through groups in it, if `nested`.
    pub(super) fn reach(&self, group: MemberKey, nested: bool) -> Option<Reached> {
        let root = self.key(group);
        let start = self.groups.get(&root)?;
        if nested {
            let walk = self.walk(root, start);
            let nested = walk.groups.into_keys().filter(|group| *group != root);
            return Some(Reached {
                nested: nested.collect(),
                members: walk.reached,
                uids: walk.uids,
                sids: walk.sids,
                dangling: walk.dangling,
                unexpanded: walk.unexpanded,
            });
        }
        let is_there =
            |member: &MemberKey| self.others.contains(member) || self.groups.contains_key(member);
        let members = start.members.iter().map(|member| self.key(*member));
        let (members, dangling) = members.partition(is_there);
        let unexpanded = start.is_unexpanded.then(|| start.dn.clone());
        Some(Reached {
            nested: BTreeSet::new(),
            members,
            uids: start.uids.iter().copied().collect(),
            sids: start.sid.into_iter().collect(),
            dangling,
            unexpanded: unexpanded.into_iter().collect(),
        })
    }

    /// The members of all groups that are named by `uid` or primary group.
    pub(super) fn others_than_dns(&self) -> HashSet<MemberKey> {
        let nodes = self.groups.values();
        nodes
            .flat_map(|node| node.uids.iter().copied().chain(node.sid))
            .collect()
    }

    fn walk<'g>(&'g self, root: MemberKey, start: &'g Node) -> Walk<'g> {
        let mut walk = Walk::default();
        walk.enter(root, start);
        // A loop with a stack of its own, as nesting has no limit.
        while let Some((key, members)) = walk.path.last_mut() {
            let Some(member) = members.next() else {
                walk.groups.insert(*key, Visit::Done);
                walk.path.pop();
                continue;
            };
            let member = self.key(*member);
            if let Some(node) = self.groups.get(&member) {
                walk.reached.insert(member);
                match walk.groups.entry(member) {
                    Slot::Vacant(_) => walk.enter(member, node),
                    Slot::Occupied(visit) => {
                        walk.cycles += usize::from(*visit.get() == Visit::Open)
                    }
                }
            } else if self.others.contains(&member) {
                walk.members += usize::from(walk.reached.insert(member));
            } else {
                walk.dangling.insert(member);
            }
        }
        walk
    }

    /// The key of the entry that is meant.
    fn key(&self, key: MemberKey) -> MemberKey {
        self.renamed.get(&key).copied().unwrap_or(key)
    }
}

/// Who is in a group, and what is not known of that.
#[derive(Debug)]
pub(super) struct Reached {
    /// Entries that are there, groups too.
    pub(super) members: HashSet<MemberKey>,
    /// By `uid`.
    pub(super) uids: HashSet<MemberKey>,
    /// By primary group.
    pub(super) sids: HashSet<MemberKey>,
    /// Names that no entry has, as far as was read.
    pub(super) dangling: HashSet<MemberKey>,
    /// The groups in it.
    pub(super) nested: BTreeSet<MemberKey>,
    /// Groups whose members are given by searches alone.
    pub(super) unexpanded: Vec<String>,
}

/// The way through the groups from one of them: each is entered once.
#[derive(Default)]
struct Walk<'g> {
    /// The groups from the first to the one in hand, with the members that are still to be looked at.
    path: Vec<(MemberKey, Iter<'g, MemberKey>)>,
    groups: HashMap<MemberKey, Visit>,
    /// Everything that is there and in one of the groups.
    reached: HashSet<MemberKey>,
    /// How many of them are no groups.
    members: usize,
    uids: HashSet<MemberKey>,
    sids: HashSet<MemberKey>,
    dangling: HashSet<MemberKey>,
    /// Groups whose members are given by searches alone.
    unexpanded: Vec<String>,
    cycles: usize,
}

#[derive(PartialEq, Eq)]
enum Visit {
    /// It is on the path.
    Open,
    Done,
}

impl<'g> Walk<'g> {
    fn enter(&mut self, key: MemberKey, node: &'g Node) {
        if node.is_unexpanded {
            self.unexpanded.push(node.dn.clone());
        }
        self.groups.insert(key, Visit::Open);
        self.uids.extend(&node.uids);
        self.sids.extend(node.sid);
        self.path.push((key, node.members.iter()));
    }
}

impl Members {
    /// Whether an entry is one: by its DN, its `uid` or its primary group.
    fn has(&self, entry: &Entry) -> bool {
        let has = |key| self.keys.contains(&key);
        let has_uid = || {
            let uids = entry.values("uid").iter();
            uids.filter_map(|uid| std::str::from_utf8(uid).ok())
                .any(|uid| has(MemberKey::uid(uid)))
        };
        has(MemberKey::dn(entry.dn()))
            || (self.has_uids && has_uid())
            || (self.has_primary_groups && MemberKey::primary_group_of(entry).is_some_and(has))
    }
}

impl Selection {
    /// Whether an entry is selected.
    pub fn has(&self, entry: &Entry) -> bool {
        !self.lacks(entry) && !self.excludes(entry)
    }

    /// Whether an entry is in none of the groups that select.
    pub fn lacks(&self, entry: &Entry) -> bool {
        self.selected
            .as_ref()
            .is_some_and(|members| !members.has(entry))
    }

    /// Whether an entry is in one of the groups that exclude.
    pub fn excludes(&self, entry: &Entry) -> bool {
        self.excluded
            .as_ref()
            .is_some_and(|members| members.has(entry))
    }

    /// The attributes of people that [`Selection::has`] needs.
    pub fn attributes(&self) -> Vec<&'static str> {
        let both = || self.selected.iter().chain(&self.excluded);
        let mut names = Vec::new();
        if both().any(|members| members.has_uids) {
            names.push("uid");
        }
        if both().any(|members| members.has_primary_groups) {
            names.extend(["primaryGroupID", "objectSid"]);
        }
        names
    }

    /// A digest that changes when somebody joins or leaves.
    pub fn fingerprint(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        for (at, group) in [&self.selected, &self.excluded].into_iter().enumerate() {
            let Some(group) = group else { continue };
            let mut members: Vec<MemberKey> = group.keys.iter().copied().collect();
            members.sort_unstable();
            // Nothing before those who are selected, as it always was.
            hasher.update(&vec![0; at]);
            for member in members {
                hasher.update(&member.octets());
            }
        }
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        digest
    }

    /// What was found out about each group, those that select first, in their order.
    pub fn memberships(&self) -> &[Membership] {
        &self.memberships
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn entry(dn: &str, attributes: &[(&str, &str)]) -> Entry {
        let mut entry = Entry::new(dn);
        for (name, value) in attributes {
            entry.push(name, value.as_bytes().to_vec());
        }
        entry
    }

    fn group(dn: &str, members: &[&str]) -> Entry {
        let mut group = entry(dn, &[("objectClass", "groupOfNames")]);
        for member in members {
            group.push("member", member.as_bytes().to_vec());
        }
        group
    }

    fn person(dn: &str) -> Entry {
        entry(dn, &[("objectClass", "person")])
    }

    fn graph(entries: &[Entry]) -> Graph {
        let mut graph = Graph::default();
        for entry in entries {
            graph.insert(entry.clone());
        }
        graph
    }

    #[test]
    fn members_are_counted_once_however_often_they_are_named() {
        let graph = graph(&[
            group("cn=all", &["cn=a", "CN=A", "cn=sub", "cn=gone", "cn=all"]),
            group("cn=sub", &["cn=b", "cn=deep", "cn=a"]),
            group("cn=deep", &["cn=c", "cn=sub", "cn=gone"]),
            group("cn=unrelated", &["cn=d"]),
            person("cn=a"),
            person("cn=b"),
            person("cn=c"),
            person("cn=d"),
        ]);
        let selection = graph.select(&["CN=All"], &[]).unwrap();
        assert_eq!(
            selection.memberships()[0].to_string(),
            "groupOfNames, direct members: 4, members in all: 3, nested groups: 2, cycles: 2, dangling members: 1"
        );
        for (name, expected) in [
            ("a", true),
            ("B", true),
            ("c", true),
            ("d", false),
            ("gone", false),
        ] {
            assert_eq!(
                selection.has(&person(&format!("cn={name}"))),
                expected,
                "{name}"
            );
        }
        assert!(selection.attributes().is_empty());

        let both = graph.select(&["cn=all", "cn=unrelated"], &[]).unwrap();
        assert!(both.has(&person("cn=d")));
        assert_eq!(both.memberships().len(), 2);
        assert_ne!(both.fingerprint(), selection.fingerprint());
        assert_eq!(
            both.fingerprint(),
            graph
                .select(&["cn=unrelated", "cn=all"], &[])
                .unwrap()
                .fingerprint()
        );
    }

    #[test]
    fn who_is_in_a_group_that_excludes_is_not_selected() {
        let graph = graph(&[
            group("cn=all", &["cn=a", "cn=b"]),
            group("cn=out", &["cn=inner"]),
            group("cn=inner", &["cn=b", "cn=c"]),
            entry(
                "cn=uids",
                &[("objectClass", "posixGroup"), ("memberUid", "d")],
            ),
            person("cn=a"),
            person("cn=b"),
            person("cn=c"),
            person("cn=d"),
        ]);
        let has = |selection: &Selection, name: &str| {
            let uid = [("objectClass", "person"), ("uid", name)];
            selection.has(&entry(&format!("cn={name}"), &uid))
        };
        for (selecting, excluding, selected) in [
            (vec!["cn=all"], vec![], "ab"),
            (vec!["cn=all"], vec!["cn=out"], "a"),
            (vec![], vec!["cn=out"], "ad"),
            (vec![], vec!["cn=out", "cn=uids"], "a"),
            (vec!["cn=all"], vec!["cn=all"], ""),
        ] {
            let selection = graph.select(&selecting, &excluding).unwrap();
            for name in ["a", "b", "c", "d"] {
                assert_eq!(
                    has(&selection, name),
                    selected.contains(name),
                    "{selecting:?} {excluding:?} {name}"
                );
            }
            assert_eq!(
                selection.memberships().len(),
                selecting.len() + excluding.len()
            );
        }
        let refused = graph.select(&["cn=all"], &["cn=none"]).unwrap_err();
        assert_eq!(refused, ("cn=none".to_owned(), GroupProblem::Absent));
        let prints = [
            graph.select(&["cn=all"], &[]),
            graph.select(&[], &["cn=all"]),
            graph.select(&["cn=all"], &["cn=out"]),
        ]
        .map(|selection| selection.unwrap().fingerprint());
        assert!(prints[0] != prints[1] && prints[0] != prints[2]);
        let by_uid = graph.select(&[], &["cn=uids"]).unwrap();
        assert_eq!(by_uid.attributes(), ["uid"]);
    }

    #[test]
    fn people_are_known_by_uid_and_by_primary_group_too() {
        let sid = |end: u8| vec![1, 2, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, end, 0, 0, 0];
        let mut windows = entry("cn=w", &[("objectClass", "group")]);
        windows.push("objectSid", sid(7));
        let graph = graph(&[
            entry(
                "cn=p",
                &[("objectClass", "posixGroup"), ("memberUid", "ada")],
            ),
            windows,
        ]);
        let selection = graph.select(&["cn=p", "cn=w"], &[]).unwrap();
        assert_eq!(
            selection.attributes(),
            ["uid", "primaryGroupID", "objectSid"]
        );
        let named = |uid| entry("cn=x", &[("uid", "other"), ("uid", uid)]);
        assert!(selection.has(&named("Ada")));
        assert!(!selection.has(&named("grace")));
        let mut member = entry("cn=x", &[("primaryGroupID", "7")]);
        member.push("objectSid", sid(99));
        assert!(selection.has(&member));
        let only_posix = graph.select(&["cn=p"], &[]).unwrap();
        assert!(!only_posix.has(&member));
    }

    #[test]
    fn a_server_may_know_an_entry_by_another_name() {
        let mut graph = graph(&[group("cn=g", &["commonName=a"])]);
        graph.insert_as(MemberKey::dn("commonName=a"), person("cn=a"));
        let selection = graph.select(&["cn=g"], &[]).unwrap();
        assert!(selection.has(&person("cn=a")));
        assert_eq!(selection.memberships()[0].dangling, 0);
    }

    #[test]
    fn what_is_no_group_is_refused() {
        let dynamic = [("objectClass", "groupOfURLs"), ("memberURL", "ldap:///")];
        let graph = graph(&[
            person("cn=a"),
            entry("cn=dynamic", &dynamic),
            group("cn=around", &["cn=dynamic"]),
        ]);
        for (name, at, problem) in [
            ("cn=a", "cn=a", GroupProblem::NoGroup),
            ("cn=b", "cn=b", GroupProblem::Absent),
            ("cn=around", "cn=dynamic", GroupProblem::Unexpanded),
        ] {
            let refused = graph.select(&["cn=dynamic2", name][1..], &[]).unwrap_err();
            assert_eq!(refused, (at.to_owned(), problem));
        }
    }

    #[test]
    fn nesting_has_no_limit() {
        let name = |n: usize| format!("cn={n}");
        let mut entries: Vec<Entry> = (0..50_000)
            .map(|n| group(&name(n), &[&name(n + 1)]))
            .collect();
        entries.push(person(&name(50_000)));
        let selection = graph(&entries).select(&["cn=0"], &[]).unwrap();
        assert_eq!(selection.memberships()[0].nested, 49_999);
        assert!(selection.has(&person(&name(50_000))));
    }

    proptest! {
        /// Entries 0 to 5 are groups, 6 to 9 people, 10 and 11 are not there.
        #[test]
        fn who_is_reached_is_a_member(edges in vec((0..6_usize, 0..12_usize), 0..24), from in 0..6_usize) {
            let name = |n: usize| format!("cn={n}");
            let mut reaches = [[false; 12]; 12];
            let mut entries: Vec<Entry> = (6..10).map(|n| person(&name(n))).collect();
            for n in 0..6 {
                let members: Vec<String> = edges
                    .iter()
                    .filter(|(group, _)| *group == n)
                    .map(|(_, member)| name(*member))
                    .collect();
                let members: Vec<&str> = members.iter().map(String::as_str).collect();
                entries.push(group(&name(n), &members));
            }
            for (group, member) in &edges {
                reaches[*group][*member] = true;
            }
            for by in 0..12 {
                for a in 0..12 {
                    for b in 0..12 {
                        reaches[a][b] |= reaches[a][by] && reaches[by][b];
                    }
                }
            }
            let selection = graph(&entries).select(&[&name(from)], &[]).unwrap();
            for (n, is_reached) in reaches[from].into_iter().enumerate() {
                prop_assert_eq!(selection.has(&person(&name(n))), is_reached && n < 10);
            }
            let found = &selection.memberships()[0];
            let count = |range: std::ops::Range<usize>| range.filter(|n| reaches[from][*n]).count();
            prop_assert_eq!(found.members, count(6..10));
            prop_assert_eq!(found.dangling, count(10..12));
            prop_assert_eq!(found.nested, (0..6).filter(|n| *n != from && reaches[from][*n]).count());
            let is_circular = (0..6).any(|n| reaches[n][n] && (n == from || reaches[from][n]));
            prop_assert_eq!(found.cycles > 0, is_circular);
        }
    }
}
