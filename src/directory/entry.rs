//! One entry, and what the search of a source has to say about it.

use std::path::Path;

use ldap3::SearchResult;
use tokio::time::timeout;

use super::connect::{Session, in_words, waited};
use super::search::{decode, failed, malformed};
use super::{DirectoryError, Selection, careful, ldif};
use crate::config::{Ldap as Server, Search, Source, SourceKind};
use crate::model::{Dn, Entry};

/// An entry that may be one of a source's people.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The entry.
    pub entry: Entry,
    /// Whether the filter finds it; `None` where only a server could say.
    is_found: Option<bool>,
}

/// Something that decides whether the search of a source has an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The key in the configuration.
    pub name: &'static str,
    /// Whether the entry passes it; `None` where that cannot be said.
    pub passes: Option<bool>,
    /// Why.
    pub why: String,
}

/// Reads an entry by its DN, wherever in the tree it is; `None` where there is none, or it may not
/// be seen.
///
/// # Errors
/// When the source cannot be read.
pub async fn read_entry(
    source: &Source,
    dn: &str,
    attributes: &[String],
) -> Result<Option<Candidate>, DirectoryError> {
    match &source.kind {
        SourceKind::Ldap(server) => {
            let work = from_server(server, &source.search, dn, attributes);
            careful(&server.place(), work).await
        }
        SourceKind::Ldif(path) => {
            let wanted = Dn::parse(dn);
            let mut found = None;
            read_file(path, &mut |entry| {
                if wanted.is_ok() && Dn::parse(entry.dn()) == wanted {
                    found = Some(Candidate::of_file(entry, &source.search));
                }
            })?;
            Ok(found)
        }
    }
}

/// Reads all entries of an LDIF file, also a last one that no blank line closes.
///
/// # Errors
/// When the file cannot be read, or is no LDIF.
pub fn read_file(path: &Path, each: &mut dyn FnMut(Entry)) -> Result<(), DirectoryError> {
    for entry in ldif::open(path)? {
        each(entry?);
    }
    Ok(())
}

async fn from_server(
    server: &Server,
    search: &Search,
    dn: &str,
    attributes: &[String],
) -> Result<Option<Candidate>, DirectoryError> {
    let session = Session::open(server).await?;
    let found = async {
        let entry = base_search(&session, dn, "(objectClass=*)", attributes).await?;
        let Some(entry) = entry else {
            return Ok(None);
        };
        let none = ["1.1".to_owned()];
        let found = base_search(&session, dn, &search.filter_text, &none).await?;
        Ok(Some(Candidate {
            entry,
            is_found: Some(found.is_some()),
        }))
    }
    .await;
    session.close().await;
    found
}

/// The entry of a name, where a filter finds it.
async fn base_search(
    session: &Session<'_>,
    dn: &str,
    filter: &str,
    attributes: &[String],
) -> Result<Option<Entry>, DirectoryError> {
    let wait = session.server.timeout;
    let broken = |why: String| DirectoryError::Broken {
        url: session.url.clone(),
        entries: 0,
        why,
    };
    let mut ldap = session.ldap.clone();
    let search = ldap.search(dn, ldap3::Scope::Base, filter, attributes.to_vec());
    let SearchResult(items, result) = timeout(wait, search)
        .await
        .map_err(|_| broken(waited(wait)))?
        .map_err(|error| broken(in_words(&error)))?;
    match result.rc {
        0 => {}
        // noSuchObject, and what servers answer of what may not be seen.
        32 | 50 => return Ok(None),
        _ => return Err(failed(&session.url, dn, 0, &result)),
    }
    let is_entry = |item: &ldap3::ResultEntry| !item.is_ref() && !item.is_intermediate();
    let Some(item) = items.into_iter().find(is_entry) else {
        return Ok(None);
    };
    let entry = decode(item).ok_or_else(|| malformed(&session.url, 0))?;
    Ok(Some(entry))
}

impl Candidate {
    /// An entry of a file.
    pub fn of_file(entry: Entry, search: &Search) -> Self {
        let is_local = search.filter.is_local();
        Candidate {
            is_found: is_local.then(|| search.filter.matches(&entry)),
            entry,
        }
    }

    /// Whether the filter finds it.
    pub fn is_found(&self) -> bool {
        self.is_found == Some(true)
    }

    /// What the search of a source has to say about it: base and scope, filter, groups. Without
    /// a selection it is not said who is in a group.
    pub fn checks(&self, search: &Search, selection: Option<&Selection>) -> Vec<Check> {
        let mut checks = vec![self.base(search), self.filter(search)];
        let not_asked = || "the groups are not asked for an entry of a file".to_owned();
        if !search.members_of.is_empty() {
            let is_in = selection.map(|selection| !selection.lacks(&self.entry));
            checks.push(Check {
                name: "members_of",
                passes: is_in,
                why: match is_in {
                    None => not_asked(),
                    Some(true) => format!("in a group of {}", quoted(&search.members_of)),
                    Some(false) => format!("in none of {}", quoted(&search.members_of)),
                },
            });
        }
        if !search.exclude_members_of.is_empty() {
            let is_in = selection.map(|selection| selection.excludes(&self.entry));
            checks.push(Check {
                name: "exclude_members_of",
                passes: is_in.map(|is_in| !is_in),
                why: match is_in {
                    None => not_asked(),
                    Some(true) => format!("in a group of {}", quoted(&search.exclude_members_of)),
                    Some(false) => format!("in none of {}", quoted(&search.exclude_members_of)),
                },
            });
        }
        checks
    }

    fn base(&self, search: &Search) -> Check {
        let scope = format!("{:?}", search.scope).to_lowercase();
        let (passes, why) = match Dn::parse(self.entry.dn()) {
            Err(error) => (None, error.to_string()),
            Ok(dn) => {
                let mut bases = search.bases.iter();
                match bases.find(|(_, base)| dn.is_within(base, search.scope)) {
                    Some((text, _)) => (Some(true), format!("{text}, scope {scope}")),
                    None => {
                        let bases = quoted(&search.bases);
                        (Some(false), format!("not below {bases}, scope {scope}"))
                    }
                }
            }
        };
        Check {
            name: "base",
            passes,
            why,
        }
    }

    fn filter(&self, search: &Search) -> Check {
        Check {
            name: "filter",
            passes: self.is_found,
            why: match self.is_found {
                Some(_) => search.filter_text.clone(),
                None => format!("only a server can apply {}", search.filter_text),
            },
        }
    }
}

/// The DNs as they are written.
fn quoted(dns: &[(String, Dn)]) -> String {
    let quoted: Vec<String> = dns.iter().map(|(text, _)| format!("`{text}`")).collect();
    quoted.join(", ")
}
