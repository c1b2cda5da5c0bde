//! The groups by which people are selected, read from where the people are.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use ldap3::SearchResult;
use tokio::time::timeout;

use super::connect::{Session, describe, in_words, waited};
use super::membership::{Graph, GroupProblem, Selection};
use super::search::{decode, failed, malformed, strings};
use super::{DirectoryError, Request, ldif};
use crate::config::{Incremental, Ldap as Server, Source, SourceKind};
use crate::model::{Dn, Entry, Group, GroupKind, MemberKey};

/// How many members are looked up at a time: the server has always something to do, and never much.
pub(super) const AT_A_TIME: usize = 32;

/// Above so many members the names of all people are read first: a look-up costs ten times as much as a name in a list,
/// and of a small group there are few.
pub(super) const LOOK_UPS: usize = 2000;

/// Resolves `members_of` and `exclude_members_of` of a source; none when it has neither.
///
/// # Errors
/// When a group, or a member that may be a group, cannot be read: then it is not known who is selected, and nobody
/// may be taken for a leaver.
pub async fn select(source: &Source) -> Result<Option<Selection>, DirectoryError> {
    let search = &source.search;
    let selecting = as_written(&search.members_of);
    let excluding = as_written(&search.exclude_members_of);
    let groups = [selecting.as_slice(), excluding.as_slice()].concat();
    if groups.is_empty() {
        return Ok(None);
    }
    let graph = match &source.kind {
        SourceKind::Ldap(server) => from_server(server, source, &groups).await?,
        SourceKind::Ldif(path) => from_file(path)?,
    };
    match graph.select(&selecting, &excluding) {
        Ok(selection) => Ok(Some(selection)),
        Err((group, problem)) => Err(DirectoryError::Group { group, problem }),
    }
}

fn as_written(groups: &[(String, Dn)]) -> Vec<&str> {
    groups.iter().map(|(text, _)| text.as_str()).collect()
}

/// All groups of the file, with the names of all other entries.
fn from_file(path: &Path) -> Result<Graph, DirectoryError> {
    let mut graph = Graph::default();
    ldif::each_entry(path, &mut |entry| {
        graph.insert(entry);
    })?;
    Ok(graph)
}

/// The groups and what is in them, read from the top.
async fn from_server(
    server: &Server,
    source: &Source,
    groups: &[&str],
) -> Result<Graph, DirectoryError> {
    let session = Session::open(server).await?;
    let graph = explore(&session, source, groups).await;
    session.close().await;
    graph
}

/// A name to look up.
struct Name {
    text: String,
    key: MemberKey,
    /// The group that it is a member of; none for one that the configuration names.
    group: Option<Arc<str>>,
}

async fn explore(
    session: &Session<'_>,
    source: &Source,
    groups: &[&str],
) -> Result<Graph, DirectoryError> {
    let mut graph = Graph::default();
    let mut asked = HashSet::new();
    let mut is_listed = false;
    let mut level = Vec::new();
    for text in groups {
        let key = MemberKey::dn(text);
        if asked.insert(key) {
            level.push(Name {
                text: (*text).to_owned(),
                key,
                group: None,
            });
        }
    }
    while !level.is_empty() {
        if level.len() > LOOK_UPS && !is_listed {
            is_listed = true;
            list(session.server, source, &asked, &mut graph).await?;
            level.retain(|name| !graph.has_other(name.key));
        }
        let mut answers = stream::iter(std::mem::take(&mut level))
            .map(|name| async { (look_up(session, &name.text, &Group::ATTRIBUTES).await, name) })
            .buffer_unordered(AT_A_TIME);
        while let Some((found, name)) = answers.next().await {
            if let Some(group) = take_in(found?, &name, session.server, &mut graph)? {
                let by: Arc<str> = group.dn.into();
                for text in group.members {
                    let key = MemberKey::dn(&text);
                    if asked.insert(key) {
                        level.push(Name {
                            text,
                            key,
                            group: Some(by.clone()),
                        });
                    }
                }
            }
        }
    }
    Ok(graph)
}

/// Reads the names of all people of the source, so that of a large group only those members are left to look up that
/// are something else. What is missing here, as it came into the directory in this moment, is looked up.
async fn list(
    server: &Server,
    source: &Source,
    asked: &HashSet<MemberKey>,
    graph: &mut Graph,
) -> Result<(), DirectoryError> {
    let object_class = ["objectClass".to_owned()];
    let mut each = |entry: Entry| {
        let key = MemberKey::dn(entry.dn());
        if asked.contains(&key) && GroupKind::of(&entry).is_empty() {
            graph.insert_other(key);
        }
    };
    let request = Request {
        source,
        selection: None,
        attributes: &object_class,
        incremental: Incremental::Off,
    };
    super::ldap::start(server, request)
        .await?
        .read(&mut each)
        .await?;
    Ok(())
}

/// Takes in what a name stands for; gives the group that it is.
fn take_in(
    found: Found,
    name: &Name,
    server: &Server,
    graph: &mut Graph,
) -> Result<Option<Group>, DirectoryError> {
    let who = || match name.group {
        None => "its entry".to_owned(),
        Some(_) => format!("its member `{}`", name.text),
    };
    let problem = match found {
        Found::Entry(entry) => return Ok(graph.insert_as(name.key, entry)),
        Found::Nothing => return Ok(None),
        Found::Elsewhere(_) if server.ignore_referrals => return Ok(None),
        Found::Hidden(why) => GroupProblem::Hidden { who: who(), why },
        Found::Elsewhere(server) => GroupProblem::Elsewhere { who: who(), server },
        Found::CutOff(why) => {
            return Err(DirectoryError::Group {
                group: name.text.clone(),
                problem: GroupProblem::CutOff(why),
            });
        }
    };
    let group = name.group.as_deref().unwrap_or(&name.text).to_owned();
    Err(DirectoryError::Group { group, problem })
}

/// What a name stands for.
pub(super) enum Found {
    Entry(Entry),
    /// noSuchObject (32).
    Nothing,
    /// The server says that it is there, and does not show it.
    Hidden(String),
    /// A referral, to this URL.
    Elsewhere(String),
    /// A range retrieval that does not go on.
    CutOff(String),
}

/// Reads an entry with these attributes, and with all members if it is a group.
pub(super) async fn look_up(
    session: &Session<'_>,
    name: &str,
    attributes: &[&str],
) -> Result<Found, DirectoryError> {
    let mut entry = match read(session, name, attributes).await? {
        Answer::Entry(entry) => entry,
        Answer::Other(other) => return Ok(other),
    };
    let mut members = Vec::new();
    let mut portion = take_portion(&mut entry, &mut members);
    loop {
        match portion {
            Ok(Portion::Absent | Portion::Last) => break,
            Ok(Portion::More) => {
                let next = members.len();
                let rest = format!("member;range={next}-*");
                portion = match read(session, name, &[&rest]).await? {
                    Answer::Entry(mut more) => take_portion(&mut more, &mut members),
                    Answer::Other(_) => Ok(Portion::Absent),
                };
                if portion == Ok(Portion::Absent) {
                    portion = Err(format!("the server does not answer with `{rest}`"));
                }
            }
            Err(why) => return Ok(Found::CutOff(why)),
        }
    }
    for member in members {
        entry.push("member", member);
    }
    Ok(Found::Entry(entry))
}

/// How the name of a [`Portion`] begins, in lower case as an [`Entry`] has it.
pub(super) const RANGE: &str = "member;range=";

/// A part of the members of a large group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Portion {
    /// The answer has none: all members are there at once.
    Absent,
    /// More are to be asked for.
    More,
    Last,
}

/// Takes the portion of `member` out of an answer of Active Directory, which gives at most 1500 values of an attribute
/// at once, as `member;range=0-1499`, and the last of them as `member;range=1500-*` (MS-ADTS section 3.1.1.3.1.3.3).
fn take_portion(entry: &mut Entry, members: &mut Vec<Vec<u8>>) -> Result<Portion, String> {
    let name = entry.names().find(|name| name.starts_with(RANGE));
    let name = name.map(str::to_owned);
    let Some(name) = name else {
        return Ok(Portion::Absent);
    };
    let values = entry.take(&name);
    let end = members.len() + values.len();
    let range = name.strip_prefix(RANGE).unwrap_or_default();
    let (first, last) = range.split_once('-').unwrap_or_default();
    let is_last = last == "*";
    // A portion that is not as long as it says would let the next one leave somebody out.
    let is_whole = is_last || (!values.is_empty() && last.parse() == Ok(end.saturating_sub(1)));
    if first.parse() != Ok(members.len()) || !is_whole {
        return Err(format!(
            "`{name}` does not follow {} members",
            members.len()
        ));
    }
    members.extend(values);
    Ok(if is_last {
        Portion::Last
    } else {
        Portion::More
    })
}

/// What the server says of a name.
pub(super) enum Answer {
    Entry(Entry),
    Other(Found),
}

/// Reads one entry.
pub(super) async fn read(
    session: &Session<'_>,
    name: &str,
    attributes: &[&str],
) -> Result<Answer, DirectoryError> {
    let wait = session.server.timeout;
    let broken = |why: String| DirectoryError::Broken {
        url: session.url.clone(),
        entries: 0,
        why,
    };
    let mut ldap = session.ldap.clone();
    let search = ldap.search(name, ldap3::Scope::Base, "(objectClass=*)", attributes);
    let SearchResult(items, result) = timeout(wait, search)
        .await
        .map_err(|_| broken(waited(wait)))?
        .map_err(|error| broken(in_words(&error)))?;
    match result.rc {
        0 => {}
        10 => {
            let server = result.refs.into_iter().next().unwrap_or_default();
            return Ok(Answer::Other(Found::Elsewhere(server)));
        }
        32 => return Ok(Answer::Other(Found::Nothing)),
        50 => return Ok(Answer::Other(Found::Hidden(describe(&result)))),
        _ => return Err(failed(&session.url, name, 0, &result)),
    }
    for item in items {
        if item.is_ref() {
            let urls = strings(&item.0).ok_or_else(|| malformed(&session.url, 0))?;
            let server = urls.into_iter().next().unwrap_or_default();
            return Ok(Answer::Other(Found::Elsewhere(server)));
        }
        if !item.is_intermediate() {
            let entry = decode(item).ok_or_else(|| malformed(&session.url, 0))?;
            return Ok(Answer::Entry(entry));
        }
    }
    // The search succeeds, so the entry is there.
    Ok(Answer::Other(Found::Hidden(
        "the server returns nothing of it".to_owned(),
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// An answer with this attribute.
    fn answer(name: &str, from: usize, to: usize) -> Entry {
        let mut entry = Entry::new("CN=g,DC=x");
        for n in from..to {
            entry.push(name, format!("CN={n},DC=x").into_bytes());
        }
        entry
    }

    #[test]
    fn portions_are_put_together() {
        let mut members = Vec::new();
        for (name, from, to, next) in [
            ("member;range=0-1499", 0, 1500, Portion::More),
            ("member;Range=1500-2999", 1500, 3000, Portion::More),
            ("member;range=3000-*", 3000, 3007, Portion::Last),
        ] {
            let mut answer = answer(name, from, to);
            assert_eq!(take_portion(&mut answer, &mut members), Ok(next), "{name}");
            assert_eq!(members.len(), to);
            assert_eq!(answer.names().count(), 0);
        }
        assert_eq!(members.last().unwrap(), b"CN=3006,DC=x");
        let mut whole = answer("member", 0, 3);
        assert_eq!(
            take_portion(&mut whole, &mut Vec::new()),
            Ok(Portion::Absent)
        );
    }

    #[test]
    fn a_portion_that_does_not_fit_is_refused() {
        for (name, from, to) in [
            ("member;range=1499-2999", 1500, 3000),
            ("member;range=1500-2998", 1500, 3000),
            ("member;range=1500", 1500, 3000),
            ("member;range=", 1500, 3000),
            ("member;range=0-*", 0, 10),
        ] {
            let mut members = vec![Vec::new(); 1500];
            let refused = take_portion(&mut answer(name, from, to), &mut members).unwrap_err();
            assert!(
                refused.contains("does not follow 1500 members"),
                "{refused}"
            );
            assert_eq!(members.len(), 1500);
        }
    }
}
