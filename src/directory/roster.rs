//! The groups of a `[[group]]` rule with the people in them, by the people's keys.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use futures_util::{StreamExt, stream};

use super::careful::careful;
use super::connect::Session;
use super::groups::{AT_A_TIME, Found, LOOK_UPS, RANGE, look_up};
use super::membership::{Graph, GroupProblem};
use super::{DirectoryError, Request, ldif};
use crate::config::{GroupRule, Incremental, Ldap as Server, Source, SourceKind};
use crate::model::{Entry, ExternalId, Group, GroupKind, MemberKey};

/// Reads a person's key out of the entry; `None` where it cannot be read.
pub type Identify<'a> = &'a (dyn Fn(&Entry) -> Option<ExternalId> + Sync);

/// What a rule's search found.
#[derive(Debug)]
pub struct Roster {
    /// The groups.
    pub groups: Vec<FoundGroup>,
    /// Whether these are all; else what came instead of a clean end.
    pub clean: Result<(), String>,
}

/// A group that the search found.
#[derive(Debug)]
pub struct FoundGroup {
    /// Its entry, as far as key and name go.
    pub entry: Entry,
    /// Whether it is a group at all, by its object classes.
    pub is_group: bool,
    /// The people in it, by key, with their DN.
    pub members: BTreeMap<ExternalId, String>,
    /// Members that are there, are no groups, and whose key cannot be read.
    pub unidentified: BTreeSet<MemberKey>,
    /// The groups in it.
    pub nested: BTreeSet<MemberKey>,
    /// Members that no entry has, as far as the bind DN may see, by DN or `uid`.
    pub dangling: BTreeSet<MemberKey>,
    /// Why others may be in it too.
    pub doubts: Vec<String>,
}

/// Reads the groups of a rule. The source is that of the rule; `identify` reads the key of a
/// person.
///
/// What cannot be read is no error here, but told in the result: what is known is good enough to
/// add members, though not to take any out.
pub async fn roster(source: &Source, rule: &GroupRule, identify: Identify<'_>) -> Roster {
    let mut reading = Reading {
        source,
        rule,
        identify,
        found: Vec::new(),
        graph: Graph::default(),
        people: People::default(),
        listed: Ok(()),
        problems: HashMap::new(),
    };
    let searched = reading.search().await;
    let mut clean = searched.unwrap_or_else(|error| Err(error.to_string()));
    let resolved = match &source.kind {
        _ if reading.found.is_empty() => Ok(()),
        SourceKind::Ldap(server) => {
            careful(&server.place(), reading.resolve_by_server(server)).await
        }
        SourceKind::Ldif(path) => reading.resolve_by_file(path),
    };
    if let Err(error) = resolved {
        reading.found.clear();
        clean = Err(error.to_string());
    }
    let listed = std::mem::replace(&mut reading.listed, Ok(()));
    Roster {
        clean: clean.and(listed),
        groups: reading.groups(),
    }
}

/// The people who were looked for and found.
#[derive(Debug, Default)]
struct People {
    all: Vec<Person>,
    /// By DN, `uid` and primary group.
    by: HashMap<MemberKey, Vec<usize>>,
}

#[derive(Debug)]
struct Person {
    dn: String,
    key: Option<ExternalId>,
}

impl People {
    fn insert(&mut self, names: &[MemberKey], person: Person) {
        let at = self.all.len();
        self.all.push(person);
        for name in names {
            self.by.entry(*name).or_default().push(at);
        }
    }
}

struct Reading<'a> {
    source: &'a Source,
    rule: &'a GroupRule,
    identify: Identify<'a>,
    /// The entries that the search found, and why the members of some are not all there.
    found: Vec<(Entry, Vec<String>)>,
    graph: Graph,
    people: People,
    /// Whether lists of all people were read to the end; else what came instead.
    listed: Result<(), String>,
    /// What is known of names that could not be read.
    problems: HashMap<MemberKey, String>,
}

impl Reading<'_> {
    /// Searches for the groups.
    async fn search(&mut self) -> Result<Result<(), String>, DirectoryError> {
        // The rule's groups are read as a source's people are: page by page, to a proven end.
        let source = Source {
            search: self.rule.search.clone(),
            ..self.source.clone()
        };
        let mut attributes: Vec<String> =
            Group::ATTRIBUTES.into_iter().map(str::to_owned).collect();
        for name in [&self.rule.key, &self.rule.name_attribute] {
            if !attributes.iter().any(|one| one.eq_ignore_ascii_case(name)) {
                attributes.push(name.clone());
            }
        }
        let request = Request {
            source: &source,
            selection: None,
            attributes: &attributes,
            incremental: Incremental::Off,
        };
        let mut seen = HashSet::new();
        let found = &mut self.found;
        let mut each = |entry: Entry| {
            // Bases may overlap.
            if seen.insert(MemberKey::dn(entry.dn())) {
                found.push((entry, Vec::new()));
            }
        };
        let full = super::start(request).await?.read(&mut each).await?;
        Ok(full.end.clean)
    }

    /// Takes the groups that were found into the graph; the names of their members.
    fn take_in(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for (entry, _) in &self.found {
            if let Some(group) = self.graph.insert(entry.clone()) {
                names.extend(group.members);
            }
        }
        names
    }

    async fn resolve_by_server(&mut self, server: &Server) -> Result<(), DirectoryError> {
        let session = Session::open(server).await?;
        let done = self.explore(&session).await;
        session.close().await;
        done?;
        if !self.graph.others_than_dns().is_empty() {
            self.list(server, &HashSet::new(), true).await?;
        }
        Ok(())
    }

    /// Finds out what the members are: level by level, as some are groups again.
    async fn explore(&mut self, session: &Session<'_>) -> Result<(), DirectoryError> {
        self.complete(session).await?;
        let attributes: Vec<&str> = Group::ATTRIBUTES
            .into_iter()
            .chain([self.source.key.as_str()])
            .collect();
        let mut asked: HashSet<MemberKey> = self
            .found
            .iter()
            .map(|(entry, _)| MemberKey::dn(entry.dn()))
            .collect();
        let mut names = self.take_in();
        let mut is_listed = false;
        let mut is_first = true;
        while !names.is_empty() && (is_first || self.rule.nested) {
            is_first = false;
            let mut level: Vec<(String, MemberKey)> = std::mem::take(&mut names)
                .into_iter()
                .map(|name| {
                    let key = MemberKey::dn(&name);
                    (name, key)
                })
                .filter(|(_, key)| asked.insert(*key))
                .collect();
            if level.len() > LOOK_UPS && !is_listed {
                is_listed = true;
                self.list(session.server, &asked, false).await?;
                level.retain(|(_, key)| !self.graph.has_other(*key));
            }
            let mut answers = stream::iter(level)
                .map(|name| {
                    let attributes = &attributes;
                    async move { (look_up(session, &name.0, attributes).await, name) }
                })
                .buffer_unordered(AT_A_TIME);
            while let Some((found, (name, key))) = answers.next().await {
                names.extend(self.take(found?, &name, key, session.server));
            }
        }
        Ok(())
    }

    /// Reads the groups again of which the search showed only a portion of the members.
    async fn complete(&mut self, session: &Session<'_>) -> Result<(), DirectoryError> {
        let attributes: Vec<&str> = Group::ATTRIBUTES
            .into_iter()
            .chain([self.rule.key.as_str(), self.rule.name_attribute.as_str()])
            .collect();
        for (entry, doubts) in &mut self.found {
            if !entry.names().any(|name| name.starts_with(RANGE)) {
                continue;
            }
            let doubt = match look_up(session, entry.dn(), &attributes).await? {
                Found::Entry(whole) => {
                    *entry = whole;
                    continue;
                }
                Found::CutOff(why) => GroupProblem::CutOff(why).to_string(),
                Found::Nothing => "it went while it was read".to_owned(),
                Found::Hidden(why) => hidden("its entry", why),
                Found::Elsewhere(server) => elsewhere("its entry", server),
            };
            doubts.push(doubt);
            // Those who did come are members in any case.
            let portions = entry.names().filter(|name| name.starts_with(RANGE));
            for portion in portions.map(str::to_owned).collect::<Vec<_>>() {
                for member in entry.take(&portion) {
                    entry.push("member", member);
                }
            }
        }
        Ok(())
    }

    /// Takes in what a member is; the names of its members, if it is a group.
    fn take(&mut self, found: Found, name: &str, key: MemberKey, server: &Server) -> Vec<String> {
        let who = || format!("its member `{name}`");
        let problem = match found {
            Found::Entry(entry) => {
                if GroupKind::of(&entry).is_empty() {
                    self.person(&entry, &[MemberKey::dn(entry.dn())]);
                }
                let group = self.graph.insert_as(key, entry);
                return group.map(|group| group.members).unwrap_or_default();
            }
            Found::Nothing => return Vec::new(),
            Found::Elsewhere(_) if server.ignore_referrals => return Vec::new(),
            Found::Hidden(why) => hidden(&who(), why),
            Found::Elsewhere(server) => elsewhere(&who(), server),
            Found::CutOff(why) => format!("{}: {}", who(), GroupProblem::CutOff(why)),
        };
        self.problems.insert(key, problem);
        Vec::new()
    }

    fn person(&mut self, entry: &Entry, names: &[MemberKey]) {
        let person = Person {
            dn: entry.dn().to_owned(),
            key: (self.identify)(entry),
        };
        self.people.insert(names, person);
    }

    /// Reads the names of all people of the source, and keeps those that are asked for; or those
    /// by which groups name their members otherwise than by DN.
    async fn list(
        &mut self,
        server: &Server,
        asked: &HashSet<MemberKey>,
        by_others: bool,
    ) -> Result<(), DirectoryError> {
        let mut attributes = vec!["objectClass".to_owned(), self.source.key.clone()];
        if by_others {
            let names = ["uid", "primaryGroupID", "objectSid"];
            attributes.extend(names.into_iter().map(str::to_owned));
        }
        let wanted = match by_others {
            true => self.graph.others_than_dns(),
            false => HashSet::new(),
        };
        let request = Request {
            source: self.source,
            selection: None,
            attributes: &attributes,
            incremental: Incremental::Off,
        };
        let mut each = |entry: Entry| {
            if by_others {
                let names = other_names(&entry, &wanted);
                if !names.is_empty() {
                    self.person(&entry, &names);
                }
                return;
            }
            let key = MemberKey::dn(entry.dn());
            if asked.contains(&key) && GroupKind::of(&entry).is_empty() {
                self.graph.insert_other(key);
                self.person(&entry, &[key]);
            }
        };
        let read = super::ldap::start(server, request).await?.read(&mut each);
        let end = read.await?.end;
        // Whoever is not in it may still be there.
        self.listed = std::mem::replace(&mut self.listed, Ok(())).and(end.clean);
        Ok(())
    }

    fn resolve_by_file(&mut self, path: &Path) -> Result<(), DirectoryError> {
        let mut asked: HashSet<MemberKey> = HashSet::new();
        let graph = &mut self.graph;
        ldif::each_entry(path, &mut |entry| {
            if let Some(group) = graph.insert(entry) {
                asked.extend(group.members.iter().map(|name| MemberKey::dn(name)));
            }
        })?;
        let others = self.graph.others_than_dns();
        ldif::each_entry(path, &mut |entry| {
            if !GroupKind::of(&entry).is_empty() {
                return;
            }
            let dn = MemberKey::dn(entry.dn());
            let mut names = other_names(&entry, &others);
            if asked.contains(&dn) {
                names.push(dn);
            }
            if !names.is_empty() {
                self.person(&entry, &names);
            }
        })
    }

    /// The groups with their people.
    fn groups(self) -> Vec<FoundGroup> {
        let Reading {
            rule,
            found,
            graph,
            people,
            problems,
            ..
        } = self;
        let each = found.into_iter().map(|(entry, mut doubts)| {
            let mut group = FoundGroup {
                entry: slim(&entry, rule),
                is_group: true,
                members: BTreeMap::new(),
                unidentified: BTreeSet::new(),
                nested: BTreeSet::new(),
                dangling: BTreeSet::new(),
                doubts: Vec::new(),
            };
            let Some(reached) = graph.reach(MemberKey::dn(entry.dn()), rule.nested) else {
                group.is_group = false;
                return group;
            };
            let names = reached
                .members
                .iter()
                .chain(&reached.uids)
                .chain(&reached.sids);
            for at in names.filter_map(|name| people.by.get(name)).flatten() {
                let Person { dn, key } = &people.all[*at];
                match key {
                    Some(key) => {
                        group.members.insert(key.clone(), dn.clone());
                    }
                    None => {
                        group.unidentified.insert(MemberKey::dn(dn));
                    }
                }
            }
            let unread = reached.dangling.iter().filter_map(|key| problems.get(key));
            doubts.extend(unread.cloned());
            let unexpanded = reached.unexpanded.into_iter();
            doubts.extend(unexpanded.map(|dn| format!("`{dn}`: {}", GroupProblem::Unexpanded)));
            doubts.sort();
            group.doubts = doubts;
            group.nested = reached.nested;
            let is_nobody = |uid: &MemberKey| !people.by.contains_key(uid);
            let nobody = reached.uids.into_iter().filter(is_nobody);
            group.dangling = reached.dangling.into_iter().chain(nobody).collect();
            group
        });
        each.collect()
    }
}

fn hidden(who: &str, why: String) -> String {
    let who = who.to_owned();
    GroupProblem::Hidden { who, why }.to_string()
}

fn elsewhere(who: &str, server: String) -> String {
    let who = who.to_owned();
    GroupProblem::Elsewhere { who, server }.to_string()
}

/// The entry without its members.
fn slim(entry: &Entry, rule: &GroupRule) -> Entry {
    let mut slim = Entry::new(entry.dn());
    for name in [&rule.key, &rule.name_attribute] {
        if slim.values(name).is_empty() {
            slim.extend(name.clone(), entry.values(name).to_vec());
        }
    }
    slim
}

/// By what of this else than its DN an entry is named as a member.
fn other_names(entry: &Entry, wanted: &HashSet<MemberKey>) -> Vec<MemberKey> {
    let uids = entry.values("uid").iter();
    uids.filter_map(|uid| std::str::from_utf8(uid).ok())
        .map(MemberKey::uid)
        .chain(MemberKey::primary_group_of(entry))
        .filter(|name| wanted.contains(name))
        .collect()
}
