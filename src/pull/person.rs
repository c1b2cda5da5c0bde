//! What the sources say of one person, and of those whose addresses or number the person has.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Mapped, PullError, Pulled, Sourced, observed, told};
use crate::directory::{self, Lookup, Place, Sought};
use crate::mapping::octets_of_key;
use crate::model::{
    Attribute, Complete, Dn, Entry, ExternalId, ManagedAccount, Profile, PullEnd, Timestamp, Who,
    fold, folded_values,
};
use crate::plan::{Comparison, Desired, Index, Pulls};
use crate::snapshot::Snapshot;

/// What the sources say of the person with this key, e-mail address, user name or DN; also gives
/// the key. Nothing is said of anybody else, but of those whose address or number the person has.
///
/// # Errors
/// When nobody is known by it, or several are, or a source cannot be read.
pub async fn pull_person(
    sources: &[Sourced<'_>],
    snapshot: &mut Snapshot,
    settled: &[ManagedAccount],
    who: &str,
    now: Timestamp,
) -> Result<(ExternalId, Pulled), PullError> {
    let mut known: BTreeMap<ExternalId, String> = BTreeMap::new();
    for account in snapshot.called(who).await? {
        known.insert(account.key, account.dn);
    }
    let called = Who::parse(who);
    let settled_too = settled.iter();
    for account in settled_too.filter(|account| called.is_any(account.names())) {
        known.insert(account.key.clone(), account.dn.clone());
    }
    for sourced in sources {
        for (key, dn) in entries_called(*sourced, who, now).await? {
            known.insert(key, dn);
        }
    }
    let mut people = known.iter();
    let (person, dn) = match (people.next(), people.next()) {
        (None, _) => return Err(PullError::Nobody(who.to_owned())),
        (Some((key, dn)), None) => (key.clone(), dn.clone()),
        (Some(_), Some(_)) => {
            let people = known.into_iter().map(|(key, dn)| format!("{dn} ({key})"));
            return Err(PullError::Several {
                who: who.to_owned(),
                people: people.collect(),
            });
        }
    };
    let mut read = Read::default();
    read.look_for(sources, &BTreeMap::from([(person.clone(), dn)]), now)
        .await?;
    // Whoever has what the person has, or is to get, may have left, be somebody else by now, or be
    // the same person under a new key.
    let account = snapshot.accounts(&HashSet::from([person.clone()])).await?;
    let profiles = read.profiles();
    let profiles = profiles.chain(account.values().map(|account| &account.profile));
    let mut identifiers = folded_values(profiles, Attribute::identifies);
    let holders = snapshot.holders(&identifiers).await?;
    // And whoever is gone, with an account that the person may have from before, may be somebody else's.
    let held = holders.values().map(|account| &account.profile);
    for (attribute, values) in folded_values(held, Attribute::identifies) {
        identifiers.entry(attribute).or_default().extend(values);
    }
    let mut others: BTreeMap<ExternalId, String> = holders
        .into_values()
        .map(|other| (other.key, other.dn))
        .collect();
    for value in identifiers.values().flatten() {
        for sourced in sources {
            others.extend(entries_called(*sourced, value, now).await?);
        }
    }
    others.remove(&person);
    read.look_for(sources, &others, now).await?;
    // What a pull of everybody could not believe, looking at one does not make certain.
    let clean = match snapshot.last_pull_was_believed().await? {
        true => Ok(()),
        false => Err("absences were not believed in the last run for all".to_owned()),
    };
    let desired = read.compare(sources, snapshot, settled, &clean).await?;
    let pulled = Pulled {
        desired,
        cursors: BTreeMap::new(),
        notices: Vec::new(),
    };
    Ok((person, pulled))
}

/// The people of a source who are called so, each with the DN.
async fn entries_called(
    sourced: Sourced<'_>,
    who: &str,
    now: Timestamp,
) -> Result<Vec<(ExternalId, String)>, PullError> {
    let attributes = sourced.attributes();
    let lookup = match Dn::parse(who) {
        Ok(_) if who.contains('=') => Lookup::Dn(who),
        _ => Lookup::Value {
            names: sourced.mapping.names_of_identifiers(),
            key: octets_of_key(&sourced.source.key, &ExternalId::new(fold(who))),
            text: who,
        },
    };
    let mut found = Vec::new();
    let mut each = |entry: Entry| {
        let Ok(mapped) = observed(sourced.mapping.map(&entry, now)) else {
            return;
        };
        let key = sourced.mapping.key(&entry);
        let is_meant = match (&lookup, &mapped) {
            (Lookup::Dn(_), _) => true,
            (Lookup::Value { .. }, _)
                if key.as_ref().map(ExternalId::as_str) == Some(&fold(who)) =>
            {
                true
            }
            (Lookup::Value { .. }, Ok(person)) => Attribute::ALL
                .into_iter()
                .filter(|attribute| attribute.identifies())
                .any(|attribute| person.profile.get(attribute).map(fold) == Some(fold(who))),
            // Of whom nothing can be mapped the entry itself is asked.
            (Lookup::Value { .. }, Err(_)) => true,
        };
        if let (true, Some(key)) = (is_meant, key) {
            found.push((key, entry.dn().to_owned()));
        }
    };
    directory::find(sourced.request(&attributes), &lookup, &mut each)
        .await
        .map_err(|error| told(sourced.source, error))?;
    Ok(found)
}

/// What was read of the people who were looked for.
#[derive(Default)]
struct Read {
    asked: BTreeSet<ExternalId>,
    /// By source, in their order: who is in scope there.
    by_source: Vec<HashMap<ExternalId, Mapped>>,
}

impl Read {
    /// Looks for these people in every source.
    async fn look_for(
        &mut self,
        sources: &[Sourced<'_>],
        people: &BTreeMap<ExternalId, String>,
        now: Timestamp,
    ) -> Result<(), PullError> {
        self.by_source.resize_with(sources.len(), HashMap::new);
        self.asked.extend(people.keys().cloned());
        if people.is_empty() {
            return Ok(());
        }
        for (sourced, found) in sources.iter().zip(&mut self.by_source) {
            let attributes = sourced.attributes();
            let sought = people
                .iter()
                .map(|(key, dn)| {
                    let sought = Sought {
                        key: octets_of_key(&sourced.source.key, key),
                        dn: dn.clone(),
                    };
                    (key.clone(), sought)
                })
                .collect();
            let key_of = |entry: &Entry| sourced.mapping.key(entry);
            let places = directory::locate(sourced.request(&attributes), &sought, &key_of)
                .await
                .map_err(|error| told(sourced.source, error))?;
            for (key, place) in places {
                let Place::InScope(entry) = place else {
                    continue;
                };
                if let Ok(mapped) = observed(sourced.mapping.map(&entry, now)) {
                    found.insert(key, mapped);
                }
            }
        }
        Ok(())
    }

    /// What is mapped of those who were found.
    fn profiles(&self) -> impl Iterator<Item = &Profile> {
        let people = self.by_source.iter().flat_map(HashMap::values);
        people.flatten().map(|person| &person.profile)
    }

    /// Compares them with the snapshot. Of others nothing is said.
    async fn compare(
        self,
        sources: &[Sourced<'_>],
        snapshot: &mut Snapshot,
        settled: &[ManagedAccount],
        clean: &Result<(), String>,
    ) -> Result<Desired, PullError> {
        let names = sources.iter().map(|sourced| sourced.source.name.clone());
        let mut index = Index::new(names.collect(), HashSet::new());
        let asked: HashSet<ExternalId> = self.asked.into_iter().collect();
        snapshot.index_of(&asked, &mut index).await?;
        for account in settled.iter().filter(|one| asked.contains(&one.key)) {
            index.insert_account(account);
        }
        let mut comparison = Comparison::with(index);
        let mut pulls = Pulls::new();
        for (sourced, found) in sources.iter().zip(self.by_source) {
            let name = &sourced.source.name;
            let changed = Some(found.len() as u64);
            for mapped in found.into_values() {
                comparison.observe(mapped);
            }
            // That it has anybody else is for the pulls of all to say.
            let entries = snapshot.people_of(name).await?.max(1);
            let end = PullEnd {
                entries,
                changed,
                clean: clean.clone(),
            };
            pulls.insert(name.clone(), Complete::attest(end));
        }
        Ok(comparison.finish(pulls))
    }
}
