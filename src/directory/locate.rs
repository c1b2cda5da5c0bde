//! Where people are whom a pull has not shown: looked for by their key, in scope, then further
//! and further around it.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream;

use super::connect::{ServerKind, Session};
use super::groups::{AT_A_TIME, Answer, Found, read};
use super::search::{self, Searches};
use super::{DirectoryError, Request, ldif};
use crate::config::{Ldap as Server, SourceKind};
use crate::model::{Dn, Entry, ExternalId, Scope};

/// How many keys one search asks for.
const KEYS_A_SEARCH: usize = 100;

/// A person to look for.
#[derive(Clone, Debug)]
pub struct Sought {
    /// The octets of the key attribute's value.
    pub key: Vec<u8>,
    /// Where the entry last stood.
    pub dn: String,
}

/// Where a person was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In scope: the search finds the entry, and the groups have it.
    InScope(Entry),
    /// The search finds the entry, and no selecting group has it.
    Ungrouped,
    /// The search finds the entry, and an excluding group has it.
    Excluded,
    /// Below the bases, and the filter does not match.
    Unmatched,
    /// Elsewhere in the directory.
    Elsewhere,
    /// An entry stands where it stood, and its key cannot be read.
    Unreadable(String),
    /// Nowhere that can be seen.
    Nowhere,
}

/// Tells the key of an entry.
type KeyOf<'a> = &'a (dyn Fn(&Entry) -> Option<ExternalId> + Sync);

/// Looks for people of a source by their keys. The selection of the request is applied.
///
/// # Errors
/// When the source cannot be read: then nothing is known of any of them.
pub async fn locate(
    request: Request<'_>,
    sought: &HashMap<ExternalId, Sought>,
    key_of: &(dyn Fn(&Entry) -> Option<ExternalId> + Sync),
) -> Result<HashMap<ExternalId, Place>, DirectoryError> {
    match &request.source.kind {
        SourceKind::Ldap(server) => {
            let work = on_server(server, request, sought, key_of);
            super::careful(&server.place(), work).await
        }
        SourceKind::Ldif(path) => in_file(path, request, sought, key_of),
    }
}

/// By what somebody is looked for.
#[derive(Clone, Debug)]
pub enum Lookup<'a> {
    /// The DN.
    Dn(&'a str),
    /// The key, or the value of one of some attributes.
    Value {
        /// The attributes.
        names: Vec<String>,
        /// The octets of the key attribute's value, if it is the key.
        key: Vec<u8>,
        /// The value.
        text: &'a str,
    },
}

/// Finds the entries in scope that are called so. The selection of the request is applied.
///
/// # Errors
/// When the source cannot be read.
pub async fn find(
    request: Request<'_>,
    lookup: &Lookup<'_>,
    each: &mut dyn FnMut(Entry),
) -> Result<(), DirectoryError> {
    let search = &request.source.search;
    let is_below = |entry: &Entry| Dn::parse(entry.dn()).is_ok_and(|dn| search.reaches(&dn));
    match (&request.source.kind, lookup) {
        (_, Lookup::Dn(dn)) => {
            let found = super::read_entry(request.source, dn, request.attributes).await?;
            if let Some(candidate) = found
                && candidate.is_found()
                && is_below(&candidate.entry)
                && request.has(&candidate.entry)
            {
                each(candidate.entry);
            }
            Ok(())
        }
        (SourceKind::Ldap(server), Lookup::Value { names, key, text }) => {
            let of_key = (request.source.key.as_str(), key.as_slice());
            let of_names = names.iter().map(|name| (name.as_str(), text.as_bytes()));
            let any = any_of(std::iter::once(of_key).chain(of_names));
            let filter = format!("(&{any}{})", search.filter_text);
            let work = async {
                let session = Session::open(server).await?;
                let mut each = |entry: Entry| {
                    if request.has(&entry) {
                        each(entry);
                    }
                };
                search::run(quiet(&session, request, &filter), &mut each).await?;
                session.close().await;
                Ok(())
            };
            super::careful(&server.place(), work).await
        }
        (SourceKind::Ldif(path), Lookup::Value { names, key, text }) => {
            let text = text.to_lowercase();
            let is = |value: &Vec<u8>| String::from_utf8_lossy(value).to_lowercase() == text;
            ldif::each_entry(path, &mut |entry| {
                let has = names.iter().any(|name| entry.values(name).iter().any(is))
                    || entry
                        .values(&request.source.key)
                        .iter()
                        .any(|value| value == key || is(value));
                if has && is_below(&entry) && search.filter.matches(&entry) && request.has(&entry) {
                    each(entry);
                }
            })
        }
    }
}

async fn on_server(
    server: &Server,
    request: Request<'_>,
    sought: &HashMap<ExternalId, Sought>,
    key_of: KeyOf<'_>,
) -> Result<HashMap<ExternalId, Place>, DirectoryError> {
    let mut session = Session::open(server).await?;
    let info = session.info().await?;
    let contexts = match (info.kind, info.default_context) {
        // The others of Active Directory hold no people.
        (ServerKind::ActiveDirectory, Some(domain)) => vec![domain],
        _ => info.contexts,
    };
    let mut places = HashMap::with_capacity(sought.len());
    let mut keys: Vec<&ExternalId> = sought.keys().collect();
    keys.sort();
    for batch in keys.chunks(KEYS_A_SEARCH) {
        let mut open: HashSet<&ExternalId> = batch.iter().copied().collect();
        let filter = filter(&request.source.key, batch, sought);
        let in_scope = format!("(&{filter}{})", request.source.search.filter_text);
        for (filter, is_matched) in [(in_scope, true), (filter.clone(), false)] {
            if open.is_empty() {
                break;
            }
            let mut each = |entry: Entry| {
                let Some(key) = key_of(&entry).and_then(|key| open.take(&key)) else {
                    return;
                };
                let place = match is_matched {
                    true => found(request, entry),
                    false => Place::Unmatched,
                };
                places.insert(key.clone(), place);
            };
            search::run(quiet(&session, request, &filter), &mut each).await?;
        }
        for context in &contexts {
            if open.is_empty() {
                break;
            }
            let mut each = |entry: Entry| {
                if is_tombstone(&entry) {
                    return;
                }
                if let Some(key) = key_of(&entry).and_then(|key| open.take(&key)) {
                    places.insert(key.clone(), Place::Elsewhere);
                }
            };
            let around = Searches {
                bases: vec![context.clone()],
                scope: Scope::Subtree,
                ..quiet(&session, request, &filter)
            };
            match search::run(around, &mut each).await {
                // What may not be seen around the scope is not there for the bind DN: noSuchObject,
                // insufficientAccessRights and a referral. All else is no answer.
                Ok(_)
                | Err(DirectoryError::Search {
                    code: 10 | 32 | 50, ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut answers = stream::iter(open)
            .map(|key| {
                let place = where_it_stood(&session, request, key, &sought[key].dn, key_of);
                async move { (place.await, key) }
            })
            .buffer_unordered(AT_A_TIME);
        while let Some((place, key)) = answers.next().await {
            places.insert(key.clone(), place?);
        }
    }
    session.close().await;
    Ok(places)
}

/// The place of an entry that the search finds.
fn found(request: Request<'_>, entry: Entry) -> Place {
    match request.selection {
        _ if request.has(&entry) => Place::InScope(entry),
        Some(selection) if selection.excludes(&entry) => Place::Excluded,
        _ => Place::Ungrouped,
    }
}

/// Whether it is what 389 Directory Server keeps of a deleted entry, for its replicas.
fn is_tombstone(entry: &Entry) -> bool {
    let first = entry.dn().split('=').next();
    first.is_some_and(|attribute| attribute.eq_ignore_ascii_case("nsuniqueid"))
}

/// The searches for the people of a source, with another filter. What is on other servers is not
/// looked through.
fn quiet(session: &Session<'_>, request: Request<'_>, filter: &str) -> Searches {
    Searches {
        is_referred: true,
        ..session.searches(request, filter)
    }
}

/// Whether an entry whose key nobody may read stands where the person's stood.
async fn where_it_stood(
    session: &Session<'_>,
    request: Request<'_>,
    key: &ExternalId,
    dn: &str,
    key_of: KeyOf<'_>,
) -> Result<Place, DirectoryError> {
    let attribute = request.source.key.as_str();
    Ok(match read(session, dn, &[attribute]).await {
        Ok(Answer::Entry(entry)) if entry.values(attribute).is_empty() => {
            Place::Unreadable(format!("its `{attribute}` is not shown"))
        }
        Ok(Answer::Entry(entry)) if key_of(&entry).as_ref() == Some(key) => {
            Place::Unreadable(format!("a search by its `{attribute}` does not find it"))
        }
        // Another entry has the place now.
        Ok(Answer::Entry(_)) => Place::Nowhere,
        Ok(Answer::Other(Found::Hidden(why))) => Place::Unreadable(why),
        // What is on those servers was read with the rest.
        Ok(Answer::Other(Found::Elsewhere(_))) if !session.server.follow_referrals.is_empty() => {
            Place::Nowhere
        }
        Ok(Answer::Other(Found::Elsewhere(server))) => {
            Place::Unreadable(format!("it is on another server, {server}"))
        }
        Ok(Answer::Other(_)) => Place::Nowhere,
        // A name that the server does not take for one, such as of an attribute that is gone.
        Err(DirectoryError::Search { .. }) => Place::Nowhere,
        Err(error) => return Err(error),
    })
}

/// A filter for any of these keys.
fn filter(attribute: &str, keys: &[&ExternalId], sought: &HashMap<ExternalId, Sought>) -> String {
    any_of(
        keys.iter()
            .map(|key| (attribute, sought[*key].key.as_slice())),
    )
}

/// A filter for any of these values; each octet that is no letter or digit is escaped (RFC 4515
/// section 3).
fn any_of<'a>(values: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut filter = "(|".to_owned();
    for (attribute, value) in values {
        let _ = write!(filter, "({attribute}=");
        for octet in value {
            let _ = match octet {
                b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                    write!(filter, "{}", char::from(*octet))
                }
                other => write!(filter, "\\{other:02x}"),
            };
        }
        filter.push(')');
    }
    filter.push(')');
    filter
}

fn in_file(
    path: &Path,
    request: Request<'_>,
    sought: &HashMap<ExternalId, Sought>,
    key_of: KeyOf<'_>,
) -> Result<HashMap<ExternalId, Place>, DirectoryError> {
    let attribute = request.source.key.as_str();
    let search = &request.source.search;
    let stood: HashMap<Dn, &ExternalId> = sought
        .iter()
        .filter_map(|(key, sought)| Some((Dn::parse(&sought.dn).ok()?, key)))
        .collect();
    let mut places: HashMap<ExternalId, Place> = sought
        .keys()
        .map(|key| (key.clone(), Place::Nowhere))
        .collect();
    ldif::each_entry(path, &mut |entry| {
        let Ok(dn) = Dn::parse(entry.dn()) else {
            return;
        };
        let Some(key) = key_of(&entry) else {
            if let (Some(key), true) = (stood.get(&dn), entry.values(attribute).is_empty())
                && places.get(*key) == Some(&Place::Nowhere)
            {
                let why = format!("its `{attribute}` is not there");
                places.insert((*key).clone(), Place::Unreadable(why));
            }
            return;
        };
        if !sought.contains_key(&key) {
            return;
        }
        let place = match search.reaches(&dn) {
            false => Place::Elsewhere,
            true if !search.filter.matches(&entry) => Place::Unmatched,
            true => found(request, entry),
        };
        places.insert(key, place);
    })?;
    Ok(places)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_key_of_any_octets_makes_a_filter() {
        let keys = ["a", "b"].map(ExternalId::new);
        let sought = HashMap::from([
            (
                keys[0].clone(),
                Sought {
                    key: vec![0x00, b'*', b'(', 0xff, b'7'],
                    dn: String::new(),
                },
            ),
            (
                keys[1].clone(),
                Sought {
                    key: b"e4-A".to_vec(),
                    dn: String::new(),
                },
            ),
        ]);
        assert_eq!(
            filter("objectGUID", &[&keys[0], &keys[1]], &sought),
            r"(|(objectGUID=\00\2a\28\ff7)(objectGUID=e4-A))"
        );
    }
}
