//! Compares the mapped entries, as they stream by, with the snapshot's digests.
//!
//! Of a person who is as the snapshot knows, only "seen" is kept; what differs is kept whole.
//! So memory grows with the changes, not with the directory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::mapping::Unmapped;
use crate::model::{
    Attribute, Complete, DesiredAccount, Digest, ExternalId, Incomplete, ManagedAccount,
    SourceName, fold,
};

/// The snapshot's accounts by key, each as a digest.
#[derive(Clone, Debug, Default)]
pub struct Index {
    people: HashMap<ExternalId, Indexed>,
}

#[derive(Clone, Debug)]
struct Indexed {
    /// What the snapshot has, and whether an equal digest means that nothing is to do; `None`
    /// for a newcomer.
    known: Option<(Digest, bool)>,
    /// What this run's pulls have shown so far.
    seen: Seen,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Not,
    /// An entry that could not be mapped: unknown, not absent.
    Unknown,
    Mapped {
        source: SourceName,
        digest: Digest,
    },
}

impl Index {
    /// Adds one account of the snapshot.
    pub fn insert(&mut self, key: ExternalId, digest: Digest, settled: bool) {
        self.people.insert(
            key,
            Indexed {
                known: Some((digest, settled)),
                seen: Seen::Not,
            },
        );
    }
}

impl<'a> FromIterator<&'a ManagedAccount> for Index {
    fn from_iter<T: IntoIterator<Item = &'a ManagedAccount>>(accounts: T) -> Self {
        let mut index = Index::default();
        for account in accounts {
            index.insert(account.key.clone(), account.digest(), account.is_settled());
        }
        index
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
    /// Addresses that several people have.
    pub contested: Vec<Contested>,
    /// The pulls, each with the proof that it was complete, or why it was not.
    pub pulls: Pulls,
}

/// How the pull of each source ended.
pub type Pulls = BTreeMap<SourceName, Result<Complete, Incomplete>>;

/// An address that several people have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contested {
    /// `userName` or `email`.
    pub attribute: Attribute,
    /// The address, in lower case.
    pub value: String,
    /// Who has it.
    pub keys: BTreeSet<ExternalId>,
}

impl Desired {
    /// The accounts of the snapshot that the planner has to see in full.
    pub fn concerned(&self) -> HashSet<ExternalId> {
        self.different
            .iter()
            .map(|person| &person.key)
            .chain(&self.absent)
            .chain(self.contested.iter().flat_map(|contested| &contested.keys))
            .chain(
                self.unmapped
                    .iter()
                    .filter_map(|unmapped| unmapped.key.as_ref()),
            )
            .chain(self.repeated.iter().map(|(person, _)| &person.key))
            .cloned()
            .collect()
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
}

/// The comparison of one run, fed entry by entry.
pub struct Comparison {
    index: Index,
    /// Who was first seen with an address; the address as a 64-bit hash. That two addresses
    /// among a million share one has a chance of 10⁻⁸, and would only refuse two people.
    claims: HashMap<u64, ExternalId>,
    different: HashMap<ExternalId, DesiredAccount>,
    repeated: BTreeMap<ExternalId, Vec<DesiredAccount>>,
    contested: BTreeMap<(Attribute, String), Contested>,
    unmapped: Vec<Unmapped>,
    unchanged: u64,
}

impl Comparison {
    /// Begins a comparison with the snapshot.
    pub fn with(index: Index) -> Self {
        Comparison {
            index,
            claims: HashMap::new(),
            different: HashMap::new(),
            repeated: BTreeMap::new(),
            contested: BTreeMap::new(),
            unmapped: Vec::new(),
            unchanged: 0,
        }
    }

    /// Takes the next entry. Sources come in their order of precedence: a person whom an
    /// earlier source has shown is left to it.
    pub fn observe(&mut self, mapped: Result<DesiredAccount, Box<Unmapped>>) {
        match mapped {
            Ok(person) => self.observe_person(person),
            Err(unmapped) => self.observe_unmapped(*unmapped),
        }
    }

    fn observe_unmapped(&mut self, unmapped: Unmapped) {
        if let Some(key) = &unmapped.key {
            let indexed = self.indexed(key);
            if indexed.seen != Seen::Not {
                return;
            }
            indexed.seen = Seen::Unknown;
        }
        self.unmapped.push(unmapped);
    }

    fn observe_person(&mut self, person: DesiredAccount) {
        let digest = person.digest();
        let indexed = self.indexed(&person.key);
        match &indexed.seen {
            // The same entry once more (overlapping bases), or another source's.
            Seen::Mapped {
                source,
                digest: first,
            } => {
                if *source == person.source && *first != digest {
                    self.repeated
                        .entry(person.key.clone())
                        .or_default()
                        .push(person);
                }
                return;
            }
            Seen::Unknown => return,
            Seen::Not => {}
        }
        indexed.seen = Seen::Mapped {
            source: person.source.clone(),
            digest,
        };
        let same = indexed.known == Some((digest, true));
        self.claim(&person);
        if same {
            self.unchanged += 1;
        } else {
            self.different.insert(person.key.clone(), person);
        }
    }

    fn indexed(&mut self, key: &ExternalId) -> &mut Indexed {
        self.index.people.entry(key.clone()).or_insert(Indexed {
            known: None,
            seen: Seen::Not,
        })
    }

    fn claim(&mut self, person: &DesiredAccount) {
        for attribute in Attribute::ALL
            .into_iter()
            .filter(|attribute| attribute.is_unique())
        {
            let Some(value) = person.profile.get(attribute) else {
                continue;
            };
            let folded = fold(value);
            let first = self
                .claims
                .entry(claim_hash(attribute, &folded))
                .or_insert_with(|| person.key.clone());
            if *first != person.key {
                let keys = [first.clone(), person.key.clone()];
                let contested = Contested {
                    attribute,
                    value: folded.clone(),
                    keys: BTreeSet::new(),
                };
                self.contested
                    .entry((attribute, folded))
                    .or_insert(contested)
                    .keys
                    .extend(keys);
            }
        }
    }

    /// Ends the comparison, with the proof of each pull.
    pub fn finish(mut self, pulls: Pulls) -> Desired {
        let mut repeated = Vec::new();
        for (key, others) in std::mem::take(&mut self.repeated) {
            // The first entry with the key is as little to be trusted as the others.
            let first = self.different.remove(&key);
            if first.is_none() {
                self.unchanged -= 1;
            }
            let all: Vec<DesiredAccount> = first.into_iter().chain(others).collect();
            for (at, person) in all.iter().enumerate() {
                let other = all.get(if at == 0 { 1 } else { 0 });
                let other =
                    other.map_or("the entry that the account belongs to", |o| o.dn.as_str());
                repeated.push((person.clone(), other.to_owned()));
            }
        }
        let mut absent: Vec<ExternalId> = self
            .index
            .people
            .into_iter()
            .filter(|(_, indexed)| indexed.known.is_some() && indexed.seen == Seen::Not)
            .map(|(key, _)| key)
            .collect();
        absent.sort();
        let mut different: Vec<DesiredAccount> = self.different.into_values().collect();
        different.sort_by(|a, b| a.key.cmp(&b.key));
        Desired {
            different,
            unchanged: self.unchanged,
            absent,
            unmapped: self.unmapped,
            repeated,
            contested: self.contested.into_values().collect(),
            pulls,
        }
    }
}

fn claim_hash(attribute: Attribute, folded: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(attribute.name().as_bytes())
        .update(b"\0")
        .update(folded.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
