//! Where people come from: an LDAP server or an LDIF file, read entry by entry to a proven end.
//!
//! Floor 4. Both kinds give the same stream of [`Entry`]s; nothing is held but the entry in
//! hand.

mod careful;
mod connect;
mod discover;
mod entry;
mod follow;
mod groups;
mod ldap;
mod ldif;
mod locate;
mod membership;
mod referral;
mod roster;
mod search;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::config::{self, Incremental, OpenFile, SecretError, Source, SourceKind};
use crate::model::{Entry, PullEnd};

use careful::careful;
pub use connect::{ServerInfo, ServerKind, usable};
pub use entry::{Candidate, Check, read_entry, read_file};
pub use follow::{MANY_CHANGES, way};
pub use groups::select;
pub use ldif::{LdifError, LdifReader, write_entry};
pub use locate::{Lookup, Place, Sought, find, locate};
pub use membership::{GroupProblem, Membership, Selection};
pub use roster::{FoundGroup, Identify, Roster, roster};

/// Why a source could not be read. Each says where, what and the way out.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// No connection.
    #[error(
        "cannot connect to {url}: {why}; check `url`, that the server runs, and the network between"
    )]
    Connect {
        /// The server.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// None of several servers can be used.
    #[error(
        "cannot connect to any of the servers: {}; check `url`, that the servers run, and the network between",
        failures.join("; ")
    )]
    NoServer {
        /// Each server, and what went wrong.
        failures: Vec<String>,
    },
    /// DNS does not name the servers.
    #[error(
        "DNS does not tell the servers by {record}: {why}; check `discover` and `dns_server`, or name the servers by `url`"
    )]
    Discovery {
        /// The name of the SRV records.
        record: String,
        /// What went wrong.
        why: String,
    },
    /// The server's certificate is not trusted.
    #[error(
        "the certificate of {url} is not trusted: {why}; set `ca_file` to the CA that signed it, and use the host name that it is made out to"
    )]
    Tls {
        /// The server.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// The CA file is no use.
    #[error("the CA file {} {why}; it must hold PEM certificates", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// Others could change the CA file.
    #[error(transparent)]
    Open(#[from] OpenFile),
    /// The client certificate or its key is no use.
    #[error(
        "{place} {why}; `client_certificate` is a PEM file with the certificate and those that lead to its CA, `client_key` its private key in PEM, not encrypted"
    )]
    ClientCertificate {
        /// The file, or where the key is.
        place: String,
        /// What went wrong.
        why: String,
    },
    /// The password or the key could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The server refuses the bind.
    #[error("{url} refuses the bind {who}: {why}; {advice}")]
    Bind {
        /// The server.
        url: String,
        /// Who tried, or how.
        who: String,
        /// What the server said.
        why: String,
        /// The way out.
        advice: String,
    },
    /// A server that a search was referred to.
    #[error("a search was referred to another server: {0}")]
    Referred(Box<DirectoryError>),
    /// The search ended with an error.
    #[error("the search below `{base}` on {url} failed after {entries} entries: {why}; {advice}")]
    Search {
        /// The server.
        url: String,
        /// The search base.
        base: String,
        /// How many entries had come.
        entries: u64,
        /// What the server said.
        why: String,
        /// The way out.
        advice: &'static str,
        /// The result code (RFC 4511 section 4.1.9).
        code: u32,
    },
    /// The connection broke or stalled.
    #[error(
        "{url} stopped answering after {entries} entries: {why}; nothing was changed, the next run tries again"
    )]
    Broken {
        /// The server.
        url: String,
        /// How many entries had come.
        entries: u64,
        /// What went wrong.
        why: String,
    },
    /// The pages do not end.
    #[error(
        "the pages of the search below `{base}` on {url} go round in a circle after {entries} entries: the server repeats a page; nothing was changed, the next run tries again"
    )]
    PagingLoop {
        /// The server.
        url: String,
        /// The search base.
        base: String,
        /// How many entries had come.
        entries: u64,
    },
    /// The file could not be opened.
    #[error("cannot read the LDIF file {}: {why}; check `file` of the source", path.display())]
    OpenLdif {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The file is not what it should be.
    #[error(transparent)]
    Ldif(#[from] LdifError),
    /// It cannot be said who is in a group of `members_of`.
    #[error("it is not known who is in the group `{group}`: {problem}; nothing was changed")]
    Group {
        /// The group with the problem: one of `members_of`, or one in it.
        group: String,
        /// What is wrong.
        problem: GroupProblem,
    },
}

impl DirectoryError {
    /// Whether it says that a server is not there, busy (51) or unavailable (52), so that another
    /// one may do better.
    fn is_away(&self) -> bool {
        match self {
            DirectoryError::Search { code, .. } => matches!(code, 51 | 52),
            DirectoryError::Broken { .. } => true,
            _ => false,
        }
    }
}

/// What is to be read of a source.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The source.
    pub source: &'a Source,
    /// The people who are selected, where the source selects by groups.
    pub selection: Option<&'a Selection>,
    /// The attributes that are wanted of each entry.
    pub attributes: &'a [String],
    /// Whether later pulls are to ask only for what changed.
    pub incremental: Incremental,
}

impl Request<'_> {
    /// Whether an entry that the search finds is one of the people.
    pub fn has(&self, entry: &Entry) -> bool {
        self.selection.is_none_or(|selection| selection.has(entry))
    }
}

/// How a full pull ended.
#[derive(Clone, Debug)]
pub struct Full {
    /// Whether it saw everything.
    pub end: PullEnd,
    /// Where a pull of what changes from now on begins; `None` where the source cannot be
    /// followed. Only this module understands it.
    pub cookie: Option<String>,
}

/// What a pull of what changed tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The entry is new or has changed.
    Changed(Entry),
    /// The entry with this id of the server's is not, or no longer, one of those searched for.
    Gone([u8; 16]),
    /// The entry with this id is still there and has not changed.
    Present([u8; 16]),
}

/// How a pull of what changed ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// It was read to its end.
    Read {
        /// Where the next one begins.
        cookie: String,
        /// Whether every entry that is there was named, as changed or as present, so that the
        /// others are gone.
        names_all: bool,
        /// Whether entries that are gone were told. Otherwise only a full pull shows them.
        shows_departures: bool,
    },
    /// It cannot be had: the source is to be read in full.
    FullNeeded {
        /// Why.
        why: String,
        /// Whether the server shows an older state than before: an absence there is no proof.
        is_behind: bool,
    },
}

/// The attributes to ask for: those that are mapped, and those by which people are selected.
pub fn wanted(mapped: Vec<String>, selection: Option<&Selection>) -> Vec<String> {
    let mut names = mapped;
    for name in selection.map(Selection::attributes).unwrap_or_default() {
        if !names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            names.push(name.to_owned());
        }
    }
    names
}

/// A full pull under way: the source is reached, and its entries come and wait.
pub struct Started<'a> {
    request: Request<'a>,
    way: Way<'a>,
}

enum Way<'a> {
    Ldap(Box<ldap::Started<'a>>, &'a config::Ldap),
    Ldif(&'a Path),
}

/// Begins a full pull.
pub async fn start(request: Request<'_>) -> Result<Started<'_>, DirectoryError> {
    let way = match &request.source.kind {
        SourceKind::Ldap(server) => {
            let work = ldap::start(server, request);
            Way::Ldap(Box::new(careful(&server.place(), work).await?), server)
        }
        SourceKind::Ldif(path) => Way::Ldif(path),
    };
    Ok(Started { request, way })
}

impl Started<'_> {
    /// Reads all entries of the source that are people, one after the other. With a selection
    /// (see [`select`]) the others are left out, as if the filter did not match them.
    pub async fn read(self, each: &mut dyn FnMut(Entry)) -> Result<Full, DirectoryError> {
        let Started { request, way } = self;
        let mut entries = 0;
        let mut each = |entry| {
            if request.has(&entry) {
                entries += 1;
                each(entry);
            }
        };
        let mut full = match way {
            Way::Ldap(started, server) => careful(&server.place(), started.read(&mut each)).await?,
            Way::Ldif(path) => Full {
                end: ldif::pull(path, &request.source.search, &mut each)?,
                cookie: None,
            },
        };
        full.end.entries = entries;
        Ok(full)
    }
}

/// Reads what changed since an earlier pull, which gave the cookie; also of entries that
/// [`Request::has`] is not true of, as they may have been selected before. `each` may break it off,
/// when there is too much.
pub async fn changes(
    request: Request<'_>,
    cookie: &str,
    each: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Changes, DirectoryError> {
    match &request.source.kind {
        SourceKind::Ldap(server) => {
            let work = follow::changes(server, request, cookie, each);
            careful(&server.place(), work).await
        }
        SourceKind::Ldif(_) => Ok(Changes::FullNeeded {
            why: "the source is a file".to_owned(),
            is_behind: false,
        }),
    }
}

/// Connects and binds without reading people, for `check`.
pub async fn probe(source: &Source) -> Result<Option<ServerInfo>, DirectoryError> {
    match &source.kind {
        SourceKind::Ldap(server) => {
            let work = ldap::probe(server);
            Ok(Some(careful(&server.place(), work).await?))
        }
        SourceKind::Ldif(_) => Ok(None),
    }
}
