//! Where people come from: an LDAP server or an LDIF file, read entry by entry to a proven end.
//!
//! Floor 4. Both kinds give the same stream of [`Entry`]s; nothing is held but the entry in
//! hand.

mod groups;
mod ldap;
mod ldif;
mod membership;

use std::path::PathBuf;

use crate::config::{SecretError, Source, SourceKind};
use crate::model::{Entry, PullEnd};

pub use groups::select;
pub use ldap::ServerInfo;
pub use ldif::{LdifError, LdifReader, write_entry};
pub use membership::{GroupProblem, Membership, Selection};

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
    /// The password could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The server refuses the bind.
    #[error(
        "{url} refuses the bind as `{bind_dn}`: {why}; check `bind_dn` and the password in {secret}"
    )]
    Bind {
        /// The server.
        url: String,
        /// Who tried.
        bind_dn: String,
        /// Where the password is.
        secret: String,
        /// What the server said.
        why: String,
    },
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
        "the pages of the search below `{base}` on {url} go round in a circle after {entries} entries: the server repeats a page; nothing was changed"
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

/// Reads all entries of a source that are people, one after the other. With a selection (see [`select`]) the others
/// are left out, as if the filter did not match them.
pub async fn pull(
    source: &Source,
    selection: Option<&Selection>,
    attributes: &[String],
    each: &mut dyn FnMut(Entry),
) -> Result<PullEnd, DirectoryError> {
    let mut attributes = attributes.to_vec();
    for name in selection.map(Selection::attributes).unwrap_or_default() {
        if !attributes
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
        {
            attributes.push(name.to_owned());
        }
    }
    let mut entries = 0;
    let mut each = |entry| {
        if selection.is_none_or(|selection| selection.has(&entry)) {
            entries += 1;
            each(entry);
        }
    };
    let end = match &source.kind {
        SourceKind::Ldap(server) => {
            ldap::pull(server, &source.search, &attributes, &mut each).await?
        }
        SourceKind::Ldif(path) => ldif::pull(path, &source.search, &mut each)?,
    };
    Ok(PullEnd { entries, ..end })
}

/// Connects and binds without reading people, for `check`.
pub async fn probe(source: &Source) -> Result<Option<ServerInfo>, DirectoryError> {
    match &source.kind {
        SourceKind::Ldap(server) => Ok(Some(ldap::probe(server).await?)),
        SourceKind::Ldif(_) => Ok(None),
    }
}
