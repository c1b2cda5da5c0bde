//! Compares the mapped entries, as they stream by, with the snapshot's digests.
//!
//! Of a person who is as the snapshot knows, only "seen" is kept; what differs is kept whole.
//! So memory grows with the changes, not with the directory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::mapping::Unmapped;
use crate::model::{
    Attribute, Complete, DesiredAccount, Digest, ExternalId, Incomplete, ManagedAccount,
    SourceName, Whereabouts, folded_values,
};

/// The place of a source in the order of precedence.
type Rank = u16;

/// The snapshot's accounts by key, each as a digest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    /// Unlike a [`HashMap`] it has no room for people but those whom it has.
    people: IndexMap<Key, Indexed>,
    precedence: Vec<SourceName>,
    presumed: HashSet<SourceName>,
}

/// A key in little space: nearly all are UUIDs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Uuid([u8; 16]),
    Text(ExternalId),
}

impl From<&ExternalId> for Key {
    fn from(key: &ExternalId) -> Self {
        match uuid::Uuid::try_parse(key.as_str()) {
            // Other ways of writing a UUID are other keys.
            Ok(uuid) if uuid.hyphenated().encode_lower(&mut [0; 36]) == key.as_str() => {
                Key::Uuid(uuid.into_bytes())
            }
            _ => Key::Text(key.clone()),
        }
    }
}

impl From<Key> for ExternalId {
    fn from(key: Key) -> Self {
        match key {
            Key::Uuid(bytes) => {
                ExternalId::new(uuid::Uuid::from_bytes(bytes).hyphenated().to_string())
            }
            Key::Text(key) => key,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Indexed {
    /// What the snapshot has, and whether an equal digest means that nothing is to do; `None`
    /// for a newcomer.
    known: Option<(Digest, bool)>,
    /// What this run's pulls have shown so far.
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Not,
    /// The source of the account is asked only for what changed, and says nothing of the person.
    Presumed(Rank),
    /// An entry that could not be mapped: unknown, not absent.
    Unknown(Rank),
    /// As the snapshot has it.
    Same(Rank),
    /// Kept in full.
    Different(Rank),
}

impl Index {
    /// An index of accounts from these sources, in order of precedence. Of the accounts of the
    /// sources that are `presumed`, the person is taken to be as the account until told
    /// otherwise: these sources are asked only for what changed.
    pub fn new(precedence: Vec<SourceName>, presumed: HashSet<SourceName>) -> Self {
        Index {
            people: IndexMap::new(),
            precedence,
            presumed,
        }
    }

    /// Makes room for so many accounts more.
    pub fn reserve(&mut self, accounts: usize) {
        self.people.reserve_exact(accounts);
    }

    /// Adds one account of the snapshot.
    pub fn insert(
        &mut self,
        key: &ExternalId,
        source: &SourceName,
        digest: Digest,
        is_settled: bool,
    ) {
        let seen = match self.rank(source) {
            Some(rank) if self.presumed.contains(source) => Seen::Presumed(rank),
            _ => Seen::Not,
        };
        let known = Some((digest, is_settled));
        self.people.insert(Key::from(key), Indexed { known, seen });
    }

    /// Adds one account of the snapshot, as it is in full.
    pub fn insert_account(&mut self, account: &ManagedAccount) {
        self.insert(
            &account.key,
            &account.source,
            account.digest(),
            account.is_settled(),
        );
    }

    /// How many accounts it has.
    pub fn count(&self) -> u64 {
        self.people.len() as u64
    }

    fn rank(&self, source: &SourceName) -> Option<Rank> {
        let at = self.precedence.iter().position(|name| name == source)?;
        Rank::try_from(at).ok()
    }
}

/// What the pulls of one run said, as far as it differs from the snapshot.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// People who are new or differ.
    pub different: Vec<DesiredAccount>,
    /// How many people are as the snapshot knows them.
    pub unchanged: u64,
    /// People of the snapshot whom no pull has shown.
    pub absent: Vec<ExternalId>,
    /// Entries that could not be mapped.
    pub unmapped: Vec<Unmapped>,
    /// Entries with a key that another entry has too, with that entry's DN.
    pub repeated: Vec<(DesiredAccount, String)>,
    /// The pulls, each with the proof that it was complete, or why it was not.
    pub pulls: Pulls,
    /// Where those are of the absent who were looked for (see [`sought`](super::sought)).
    pub whereabouts: HashMap<ExternalId, Whereabouts>,
    /// The sources in which nobody could be looked for, and why.
    pub unlocated: BTreeMap<SourceName, String>,
}

/// How the pull of each source ended.
pub type Pulls = BTreeMap<SourceName, Result<Complete, Incomplete>>;

/// What a source last said of a person who is not as the account is. Together with the accounts
/// these are all that a pull said; the next one, if it brings only what changed, builds on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The source that said so.
    pub source: SourceName,
    /// Of whom.
    pub key: ExternalId,
    /// What.
    pub said: Said,
}

impl Deviation {
    /// The digest of the account that is wanted, if one is.
    pub fn digest(&self) -> Option<Digest> {
        match &self.said {
            Said::Wants(person) => Some(person.digest()),
            Said::Unmapped(_) | Said::Gone => None,
        }
    }
}

/// What a source said of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The account should be like this.
    Wants(DesiredAccount),
    /// There is an entry, and no account can be made of it.
    Unmapped(Unmapped),
    /// There is no entry.
    Gone,
}

impl Desired {
    /// The accounts of the snapshot that the planner has to see in full, besides those that hold
    /// one of the [`identifiers`](Self::identifiers).
    pub fn concerned(&self) -> HashSet<ExternalId> {
        self.different
            .iter()
            .map(|person| &person.key)
            .chain(&self.absent)
            .chain(
                self.unmapped
                    .iter()
                    .filter_map(|unmapped| unmapped.key.as_ref()),
            )
            .chain(self.repeated.iter().map(|(person, _)| &person.key))
            .cloned()
            .collect()
    }

    /// The addresses and employee numbers that the people who are new or differ have,
    /// case-folded. Each belongs to one account.
    pub fn identifiers(&self) -> BTreeMap<Attribute, BTreeSet<String>> {
        folded_values(
            self.claimants().map(|person| &person.profile),
            Attribute::identifies,
        )
    }

    /// Everybody whose mapped values are at hand.
    pub(super) fn claimants(&self) -> impl Iterator<Item = &DesiredAccount> {
        let repeated = self.repeated.iter().map(|(person, _)| person);
        self.different.iter().chain(repeated)
    }

    /// How many entries of each source have no usable key. Any absent person of the source may
    /// be one of them.
    pub fn unidentified(&self) -> BTreeMap<SourceName, u64> {
        let mut counts = BTreeMap::new();
        for unmapped in self
            .unmapped
            .iter()
            .filter(|unmapped| unmapped.key.is_none())
        {
            *counts.entry(unmapped.source.clone()).or_default() += 1;
        }
        counts
    }

    /// The sources of which not every entry can be told apart by its key: what changes there
    /// cannot be followed.
    pub fn untraceable(&self) -> HashSet<SourceName> {
        let repeated = self
            .repeated
            .iter()
            .map(|(person, _)| person.source.clone());
        self.unidentified().into_keys().chain(repeated).collect()
    }

    /// What is to be kept of these pulls beside the accounts, with the source of each account.
    pub fn into_deviations(
        self,
        source_of: impl Fn(&ExternalId) -> Option<SourceName>,
    ) -> Vec<Deviation> {
        let wants = self.different.into_iter().map(|person| Deviation {
            source: person.source.clone(),
            key: person.key.clone(),
            said: Said::Wants(person),
        });
        let unmapped = self.unmapped.into_iter().filter_map(|unmapped| {
            Some(Deviation {
                source: unmapped.source.clone(),
                key: unmapped.key.clone()?,
                said: Said::Unmapped(unmapped),
            })
        });
        let gone = self.absent.into_iter().filter_map(|key| {
            Some(Deviation {
                source: source_of(&key)?,
                key,
                said: Said::Gone,
            })
        });
        wants.chain(unmapped).chain(gone).collect()
    }
}

/// The comparison of one run, fed source by source in their order of precedence.
pub struct Comparison {
    index: Index,
    different: HashMap<ExternalId, DesiredAccount>,
    repeated: BTreeMap<ExternalId, Vec<DesiredAccount>>,
    unmapped: Vec<Unmapped>,
}

impl Comparison {
    /// Begins a comparison with the snapshot.
    pub fn with(index: Index) -> Self {
        Comparison {
            index,
            different: HashMap::new(),
            repeated: BTreeMap::new(),
            unmapped: Vec::new(),
        }
    }

    /// The source is about to tell of the person, or has told that there is no such entry: the
    /// person is no longer presumed to be as the account.
    pub fn forget(&mut self, source: &SourceName, key: &ExternalId) {
        let rank = self.index.rank(source);
        if let Some(indexed) = self.index.people.get_mut(&Key::from(key))
            && let Seen::Presumed(presumed) = indexed.seen
            && Some(presumed) == rank
        {
            indexed.seen = Seen::Not;
        }
    }

    /// Takes the next entry. A person whom a source of higher precedence has shown is left to
    /// it.
    pub fn observe(&mut self, mapped: Result<DesiredAccount, Box<Unmapped>>) {
        match mapped {
            Ok(person) => self.observe_person(person),
            Err(unmapped) => self.observe_unmapped(*unmapped),
        }
    }

    fn observe_unmapped(&mut self, unmapped: Unmapped) {
        if let Some(key) = &unmapped.key {
            let Some(rank) = self.index.rank(&unmapped.source) else {
                return;
            };
            let indexed = self.indexed(key);
            match indexed.seen {
                Seen::Not => {}
                Seen::Presumed(presumed) if rank <= presumed => {}
                _ => return,
            }
            indexed.seen = Seen::Unknown(rank);
        }
        self.unmapped.push(unmapped);
    }

    fn observe_person(&mut self, person: DesiredAccount) {
        let Some(rank) = self.index.rank(&person.source) else {
            return;
        };
        let digest = person.digest();
        let indexed = self.indexed(&person.key);
        match indexed.seen {
            Seen::Not => {}
            Seen::Presumed(presumed) if rank <= presumed => {}
            Seen::Presumed(_) | Seen::Unknown(_) => return,
            // The same entry once more (overlapping bases), or another source's.
            Seen::Same(first) => {
                let is_other = indexed.known.map(|(known, _)| known) != Some(digest);
                if first == rank && is_other {
                    self.repeat(person);
                }
                return;
            }
            Seen::Different(first) => {
                let other = self.different.get(&person.key);
                if first == rank && other.is_none_or(|other| other.digest() != digest) {
                    self.repeat(person);
                }
                return;
            }
        }
        if indexed.known == Some((digest, true)) {
            indexed.seen = Seen::Same(rank);
        } else {
            indexed.seen = Seen::Different(rank);
            self.different.insert(person.key.clone(), person);
        }
    }

    fn repeat(&mut self, person: DesiredAccount) {
        let others = self.repeated.entry(person.key.clone()).or_default();
        others.push(person);
    }

    /// How many people a source has shown that no source of higher precedence has.
    pub fn people_of(&self, source: &SourceName) -> u64 {
        let of_source = |indexed: &&Indexed| match indexed.seen {
            Seen::Not => false,
            Seen::Presumed(rank)
            | Seen::Unknown(rank)
            | Seen::Same(rank)
            | Seen::Different(rank) => Some(rank) == self.index.rank(source),
        };
        self.index.people.values().filter(of_source).count() as u64
    }

    fn indexed(&mut self, key: &ExternalId) -> &mut Indexed {
        let newcomer = Indexed {
            known: None,
            seen: Seen::Not,
        };
        self.index.people.entry(Key::from(key)).or_insert(newcomer)
    }

    /// Ends the comparison, with the proof of each pull.
    pub fn finish(mut self, pulls: Pulls) -> Desired {
        let mut unchanged = 0;
        let mut absent = Vec::new();
        for (key, indexed) in std::mem::take(&mut self.index.people) {
            match indexed.seen {
                Seen::Same(_) | Seen::Presumed(_) => unchanged += 1,
                // Newcomers are there because they were seen.
                Seen::Not => absent.push(ExternalId::from(key)),
                Seen::Unknown(_) | Seen::Different(_) => {}
            }
        }
        absent.sort();
        let mut repeated = Vec::new();
        for (key, others) in std::mem::take(&mut self.repeated) {
            // The first entry with the key is as little to be trusted as the others.
            let first = self.different.remove(&key);
            if first.is_none() {
                unchanged -= 1;
            }
            let all: Vec<DesiredAccount> = first.into_iter().chain(others).collect();
            for (at, person) in all.iter().enumerate() {
                let other = all.get(if at == 0 { 1 } else { 0 });
                let other =
                    other.map_or("the entry that the account belongs to", |o| o.dn.as_str());
                repeated.push((person.clone(), other.to_owned()));
            }
        }
        let mut different: Vec<DesiredAccount> = self.different.into_values().collect();
        different.sort_by(|a, b| a.key.cmp(&b.key));
        Desired {
            different,
            unchanged,
            absent,
            unmapped: self.unmapped,
            repeated,
            pulls,
            whereabouts: HashMap::new(),
            unlocated: BTreeMap::new(),
        }
    }
}
