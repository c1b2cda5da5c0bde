//! One source of people: an LDAP directory or an LDIF file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{MappingTarget, PlacedExpression, PlacedRule, Policy, SecretRef};
use crate::model::{Dn, Filter, Scope, SourceName};

/// One source of people.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in reports and in the snapshot. Renaming a source makes its people another
    /// source's, so nobody departs because of it.
    pub name: SourceName,
    /// Where the entries are.
    pub kind: SourceKind,
    /// Which entries are people.
    pub search: Search,
    /// The attribute with the immutable key.
    pub key: String,
    /// Whether a pull asks only for what changed since the last one.
    pub incremental: Incremental,
    /// How often it is read in full all the same.
    pub full_every: TimeDelta,
    /// What to make of a person without an e-mail address.
    pub without_mail: WithoutMail,
    /// What the account's attributes are made from.
    pub mapping: BTreeMap<MappingTarget, PlacedRule>,
    /// What happens to its people's accounts.
    pub policy: Policy,
}

/// What decides who is in scope of a source, as it is kept beside the snapshot: so that who is
/// put out of scope by an edit of the configuration is not taken for a leaver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceScope {
    /// The hosts of the servers, or where DNS names them; `file` for a file, whose name may have
    /// a date in it.
    pub places: Vec<String>,
    /// Who reads: a DN; empty for nobody.
    #[serde(default)]
    pub bind: String,
    /// The attribute with the immutable key.
    pub key: String,
    /// The search bases.
    pub bases: Vec<String>,
    /// How far below a base.
    pub scope: Scope,
    /// The search filter.
    pub filter: String,
    /// The groups that select people.
    #[serde(default)]
    pub members_of: Vec<String>,
    /// Below which nobody is one.
    #[serde(default)]
    pub exclude_bases: Vec<String>,
    /// The groups that exclude people.
    #[serde(default)]
    pub exclude_members_of: Vec<String>,
    /// The expression by which people are included.
    #[serde(default)]
    pub include: Option<String>,
    /// The expression by which people are excluded.
    #[serde(default)]
    pub exclude: Option<String>,
}

impl Source {
    /// Where its secrets are.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let server = match &self.kind {
            SourceKind::Ldap(server) => Some(server),
            SourceKind::Ldif(_) => None,
        };
        let password = server.and_then(|server| match &server.bind {
            Bind::Simple { password, .. } => Some(password),
            Bind::Anonymous | Bind::External => None,
        });
        let certificate = server.and_then(|server| server.client_certificate.as_ref());
        password
            .into_iter()
            .chain(certificate.map(|certificate| &certificate.key))
    }

    /// What decides who is in scope.
    pub fn scope(&self) -> SourceScope {
        let texts = |list: &[(String, Dn)]| list.iter().map(|(text, _)| text.clone()).collect();
        let text = |placed: &Option<PlacedExpression>| {
            let text = placed.as_ref().map(|placed| &placed.text);
            text.cloned()
        };
        SourceScope {
            places: match &self.kind {
                SourceKind::Ldap(server) => match &server.servers {
                    Servers::Listed(urls) => {
                        let host = |url: &url::Url| {
                            let host = url.host_str()?.to_lowercase();
                            // With TLS or without, it is the same directory.
                            let odd = url.port().filter(|port| !matches!(port, 389 | 636));
                            Some(odd.map_or(host.clone(), |port| format!("{host}:{port}")))
                        };
                        urls.iter().filter_map(host).collect()
                    }
                    Servers::Discovered(discovery) => vec![discovery.record.to_lowercase()],
                },
                SourceKind::Ldif(_) => vec!["file".to_owned()],
            },
            bind: match &self.kind {
                SourceKind::Ldap(server) => match &server.bind {
                    Bind::Anonymous => String::new(),
                    Bind::Simple { dn, .. } => dn.to_lowercase(),
                    Bind::External => "external".to_owned(),
                },
                SourceKind::Ldif(_) => String::new(),
            },
            key: self.key.clone(),
            bases: texts(&self.search.bases),
            scope: self.search.scope,
            filter: self.search.filter_text.clone(),
            members_of: texts(&self.search.members_of),
            exclude_bases: texts(&self.search.exclude_bases),
            exclude_members_of: texts(&self.search.exclude_members_of),
            include: text(&self.search.include),
            exclude: text(&self.search.exclude),
        }
    }

    /// The source with another scope, at the same place; none if that scope cannot be read.
    pub fn with_scope(&self, scope: &SourceScope) -> Option<Source> {
        let parsed = |list: &[String]| -> Option<Vec<(String, Dn)>> {
            list.iter()
                .map(|text| Some((text.clone(), Dn::parse(text).ok()?)))
                .collect()
        };
        let search = Search {
            bases: parsed(&scope.bases)?,
            scope: scope.scope,
            filter_text: scope.filter.clone(),
            filter: Filter::parse(&scope.filter).ok()?,
            members_of: parsed(&scope.members_of)?,
            exclude_bases: parsed(&scope.exclude_bases)?,
            exclude_members_of: parsed(&scope.exclude_members_of)?,
            include: scope.include.clone().map(PlacedExpression::bare),
            exclude: scope.exclude.clone().map(PlacedExpression::bare),
        };
        Some(Source {
            search,
            ..self.clone()
        })
    }
}

/// Where the entries are.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A directory server.
    Ldap(Box<Ldap>),
    /// A file as `slapcat` or `ldapsearch -LLL` write it (RFC 2849).
    Ldif(PathBuf),
}

/// How a directory server is reached.
#[derive(Clone, Debug)]
pub struct Ldap {
    /// Which servers there are.
    pub servers: Servers,
    /// Whether `ldap://` goes without StartTLS: the password crosses the network readable.
    pub plaintext: bool,
    /// A CA bundle in PEM to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What the client shows of itself in TLS.
    pub client_certificate: Option<ClientCertificate>,
    /// How the client says who it is.
    pub bind: Bind,
    /// Entries a page (RFC 2696).
    pub page_size: u32,
    /// The longest that connection, TLS and bind may take together, for each of the servers;
    /// also the longest wait for DNS to name them.
    pub connect_timeout: Duration,
    /// The longest wait for each message after them.
    pub timeout: Duration,
    /// The servers that a search may be referred to; parts of the tree that are on others are
    /// not read.
    pub follow_referrals: Vec<ReferralHost>,
    /// Whether those are left out knowingly.
    pub ignore_referrals: bool,
}

impl Ldap {
    /// The files with certificates, each with what it is called in messages.
    pub(super) fn certificate_files(&self) -> Vec<(&'static str, &Path)> {
        let ca = self.ca_file.as_ref().map(|path| ("the CA file", path));
        let own = self.client_certificate.as_ref();
        let own = own.map(|own| ("the client certificate", &own.chain));
        let files = ca.into_iter().chain(own);
        files.map(|(what, path)| (what, path.as_path())).collect()
    }

    /// The servers, for messages.
    pub fn place(&self) -> String {
        match &self.servers {
            Servers::Listed(urls) => {
                let urls: Vec<&str> = urls.iter().map(url::Url::as_str).collect();
                urls.join(", ")
            }
            Servers::Discovered(discovery) => format!("the servers of {}", discovery.record),
        }
    }
}

/// Which servers have the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// These, in the order in which they are tried: `ldaps://host[:636]`, `ldap://host[:389]`
    /// with StartTLS, or `ldapi://` with the path of a socket, percent-encoded.
    Listed(Vec<url::Url>),
    /// Those that DNS names.
    Discovered(Discovery),
}

impl Servers {
    /// The schemes of their URLs.
    pub fn schemes(&self) -> Vec<&str> {
        match self {
            Servers::Listed(urls) => urls.iter().map(url::Url::scheme).collect(),
            Servers::Discovered(discovery) => vec![discovery.scheme()],
        }
    }
}

/// Where DNS names the servers (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The name of the SRV records: `_ldaps._tcp.` or `_ldap._tcp.` and a domain.
    pub record: String,
    /// The DNS server to ask instead of the system's.
    pub dns_server: Option<SocketAddr>,
}

impl Discovery {
    /// The first labels of the record and the scheme that each of them stands for.
    pub(super) const SERVICES: [(&'static str, &'static str); 2] =
        [("_ldaps._tcp.", "ldaps"), ("_ldap._tcp.", "ldap")];

    /// `ldaps`, or `ldap` with StartTLS.
    pub fn scheme(&self) -> &'static str {
        let record = self.record.to_ascii_lowercase();
        let found = Self::SERVICES
            .iter()
            .find(|(labels, _)| record.starts_with(labels));
        found.map_or("ldaps", |(_, scheme)| scheme)
    }
}

/// How the client says who it is (RFC 4513 section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Not at all.
    Anonymous,
    /// By the simple bind.
    Simple {
        /// Who binds.
        dn: String,
        /// Where the password is.
        password: SecretRef,
    },
    /// By SASL EXTERNAL (RFC 4422 appendix A): the server knows it from below LDAP, by the
    /// client certificate, or by the Unix user of an `ldapi://` connection.
    External,
}

/// A server that a search may be referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferralHost {
    /// Its host name or address, in lower case, as it stands in URLs.
    pub host: String,
    /// The port; each one when `None`.
    pub port: Option<u16>,
}

/// A certificate with its key, for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate and those that lead to its CA, in PEM.
    pub chain: PathBuf,
    /// Where the private key is, in PEM.
    pub key: SecretRef,
}

/// Which entries are people.
#[derive(Clone, Debug)]
pub struct Search {
    /// The search bases, as written and parsed.
    pub bases: Vec<(String, Dn)>,
    /// How far below a base.
    pub scope: Scope,
    /// The search filter (RFC 4515), as written.
    pub filter_text: String,
    /// The search filter, for sources that have no server to apply it.
    pub filter: Filter,
    /// The groups that select people, as written and parsed: only their members, direct or
    /// through other groups, are people of this source. Empty: everybody.
    pub members_of: Vec<(String, Dn)>,
    /// Below these nobody is a person of this source, as written and parsed.
    pub exclude_bases: Vec<(String, Dn)>,
    /// Nor is who is in one of these groups, as written and parsed.
    pub exclude_members_of: Vec<(String, Dn)>,
    /// Who is one: only those of whom it is true.
    pub include: Option<PlacedExpression>,
    /// Who is none: those of whom it is true.
    pub exclude: Option<PlacedExpression>,
}

impl Search {
    /// Whether an entry of this name is below one of the bases, as far as the scope reaches.
    pub fn reaches(&self, dn: &Dn) -> bool {
        let mut bases = self.bases.iter();
        bases.any(|(_, base)| dn.is_within(base, self.scope))
    }
}

/// Whether a pull asks only for what changed since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incremental {
    /// Never: each pull reads everything.
    Off,
    /// Where the server also tells who is gone; the default.
    WhereDeparturesShow,
    /// Also where the server tells only who has changed; departures wait for the next full pull.
    On,
}

/// What to make of a person without an e-mail address, for whom there can be no account.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutMail {
    /// Refuse the person: told as a problem, exit code 3.
    Refuse,
    /// Skip the person: told, and no problem.
    Skip,
}

/// What a preset brings: filter, key and mapping of a kind of directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The search filter.
    pub filter: String,
    /// The attribute with the immutable key.
    pub key: String,
    /// The search filter of a `[[group]]`.
    pub group_filter: String,
    /// The mapping; names are checked like those of the configuration.
    pub(super) mapping: BTreeMap<String, super::spanned::Spanned<super::Rule>>,
}

impl Preset {
    /// The presets by name, in the form that a user can read and copy from.
    pub const ALL: [(&'static str, &'static str); 4] = [
        ("openldap", include_str!("presets/openldap.toml")),
        (
            "active-directory",
            include_str!("presets/active-directory.toml"),
        ),
        ("389ds", include_str!("presets/389ds.toml")),
        ("freeipa", include_str!("presets/freeipa.toml")),
    ];

    /// The text of the preset of this name.
    pub fn text(name: &str) -> Option<&'static str> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
    }
}
