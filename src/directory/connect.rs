//! The connection to a directory server (RFC 4511, RFC 4513).

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hickory_resolver::TokioResolver;
use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, StdStream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use super::follow::{CONTENT_SYNC, SHOW_DELETED};
use super::search::{self, Searches};
use super::{DirectoryError, Request, discover};
use crate::config::{
    self, Bind, ClientCertificate, Discovery, Ldap as Server, Servers, Source, SourceKind,
    expect_guarded,
};
use crate::model::Entry;

/// What a server says about itself (its root DSE, RFC 4512 section 5.1).
#[derive(Clone, Debug, Default)]
pub struct ServerInfo {
    /// The server itself: which of those that are configured was taken.
    pub url: String,
    /// Vendor and version, where they are told.
    pub vendor: String,
    /// The naming contexts.
    pub contexts: Vec<String>,
    /// Which kind of server it is.
    pub kind: ServerKind,
    /// The OIDs of the controls that it knows.
    pub controls: Vec<String>,
    /// Active Directory: the domain's naming context.
    pub default_context: Option<String>,
    /// Active Directory: the highest update sequence number that was given.
    pub highest_usn: Option<u64>,
    /// Active Directory: the DN of the server's own settings.
    pub ds_service: Option<String>,
}

impl ServerInfo {
    /// What it is, as far as it tells.
    pub fn name(&self) -> &str {
        match (self.vendor.as_str(), self.kind) {
            ("", ServerKind::OpenLdap) => "OpenLDAP",
            ("", ServerKind::Ds389) => "389 Directory Server",
            ("", ServerKind::ActiveDirectory) => "Active Directory",
            ("", ServerKind::Other) => "a server that does not tell what it is",
            (vendor, _) => vendor,
        }
    }

    /// Those of the controls that dirsyncd uses which it knows, in words.
    pub fn known_controls(&self) -> Vec<&'static str> {
        let used = [
            // RFC 2696.
            ("1.2.840.113556.1.4.319", "paged results"),
            (CONTENT_SYNC, "content synchronization"),
            (SHOW_DELETED, "deleted objects"),
        ];
        let used = used.into_iter();
        used.filter(|(oid, _)| self.controls.iter().any(|one| one == oid))
            .map(|(_, name)| name)
            .collect()
    }
}

/// Which kind of server it is, as far as that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerKind {
    /// OpenLDAP.
    OpenLdap,
    /// 389 Directory Server, also below FreeIPA.
    Ds389,
    /// Active Directory, or Samba in its place.
    ActiveDirectory,
    /// Any other.
    #[default]
    Other,
}

/// A connection to one of a source's servers, after the bind.
pub(super) struct Session<'a> {
    pub(super) server: &'a Server,
    /// The one that was taken.
    pub(super) url: String,
    pub(super) ldap: Ldap,
}

/// Why a server was not taken.
enum Failure {
    /// It cannot serve now; another one may.
    Away(String),
    /// Another one would do no better, or must not be tried.
    Final(DirectoryError),
}

/// What it takes to get into the servers of a source. All of it is read before anything is sent,
/// so that its absence is the first error.
struct Access<'a> {
    server: &'a Server,
    tls: Arc<rustls::ClientConfig>,
    password: Option<SecretString>,
    names: Names<'a>,
}

/// How the names of the servers are known.
enum Names<'a> {
    /// They are configured; the system knows their addresses.
    Listed(&'a [Url]),
    /// DNS tells them, and is asked for their addresses in the same way.
    Discovered(&'a Discovery, Box<TokioResolver>),
}

impl<'a> Session<'a> {
    /// Connects to the first of the servers that lets it, and binds.
    pub(super) async fn open(server: &'a Server) -> Result<Self, DirectoryError> {
        let access = Access::of(server)?;
        let (_, session) = access.open(&access.servers().await?).await?;
        Ok(session)
    }

    /// The servers of a source in the order in which they are to be tried.
    pub(super) async fn urls(server: &'a Server) -> Result<Vec<Url>, DirectoryError> {
        Access::of(server)?.servers().await
    }

    /// Connects to the first of these servers that lets it, and binds; also gives its place among
    /// them.
    pub(super) async fn open_among(
        server: &'a Server,
        urls: &[Url],
    ) -> Result<(usize, Self), DirectoryError> {
        Access::of(server)?.open(urls).await
    }

    /// Reads the root DSE. A server may hide it; that is no fault of the configuration.
    pub(super) async fn info(&mut self) -> Result<ServerInfo, DirectoryError> {
        const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";
        let wanted = [
            "objectClass",
            "namingContexts",
            "vendorName",
            "vendorVersion",
            "supportedControl",
            "supportedCapabilities",
            "defaultNamingContext",
            "highestCommittedUSN",
            "dsServiceName",
        ];
        let Some(entry) = self.read("", &wanted, Vec::new()).await? else {
            return Ok(ServerInfo {
                url: self.url.clone(),
                ..ServerInfo::default()
            });
        };
        let texts = |name: &str| -> Vec<String> {
            let texts = entry.texts(name).unwrap_or_default();
            texts.into_iter().map(str::to_owned).collect()
        };
        let has = |name, value: &str| {
            texts(name)
                .iter()
                .any(|one| one.eq_ignore_ascii_case(value))
        };
        let vendor = [texts("vendorName"), texts("vendorVersion")]
            .concat()
            .join(" ");
        let kind = if has("supportedCapabilities", ACTIVE_DIRECTORY) {
            ServerKind::ActiveDirectory
        } else if has("objectClass", "OpenLDAProotDSE") {
            ServerKind::OpenLdap
        } else if vendor.contains("389") {
            ServerKind::Ds389
        } else {
            ServerKind::Other
        };
        Ok(ServerInfo {
            url: self.url.clone(),
            contexts: texts("namingContexts"),
            kind,
            controls: texts("supportedControl"),
            default_context: texts("defaultNamingContext").into_iter().next(),
            highest_usn: texts("highestCommittedUSN")
                .first()
                .and_then(|usn| usn.parse().ok()),
            ds_service: texts("dsServiceName").into_iter().next(),
            vendor,
        })
    }

    /// Reads one entry; `None` where there is none, or it may not be seen.
    pub(super) async fn read(
        &mut self,
        dn: &str,
        attributes: &[&str],
        controls: Vec<RawControl>,
    ) -> Result<Option<Entry>, DirectoryError> {
        let broken = |why: String| DirectoryError::Broken {
            url: self.url.clone(),
            entries: 0,
            why,
        };
        self.ldap.with_controls(controls);
        let search = self
            .ldap
            .search(dn, ldap3::Scope::Base, "(objectClass=*)", attributes);
        let found = timeout(self.server.timeout, guarded(search))
            .await
            .map_err(|_| broken(waited(self.server.timeout)))?
            .ok_or_else(|| broken(NOT_LDAP.to_owned()))?
            .map_err(|error| broken(in_words(&error)))?;
        let entry = found.0.into_iter().find(|found| !found.is_ref());
        Ok(entry.and_then(search::decode))
    }

    /// The searches for the people of the source.
    pub(super) fn searches(&self, request: Request<'_>, filter: &str) -> Searches {
        let search = &request.source.search;
        Searches {
            ldap: self.ldap.clone(),
            url: self.url.clone(),
            bases: search.bases.iter().map(|(base, _)| base.clone()).collect(),
            scope: search.scope,
            filter: filter.to_owned(),
            attributes: request.attributes.to_vec(),
            page_size: self.server.page_size,
            controls: Vec::new(),
            wait: self.server.timeout,
            is_referred: !self.server.follow_referrals.is_empty(),
        }
    }

    pub(super) async fn close(mut self) {
        // The answers are all in; a server that does not take the goodbye changes nothing.
        let wait = self.server.timeout;
        if timeout(wait, self.ldap.unbind()).await.is_err() {
            tracing::debug!("the server does not take the unbind");
        }
    }
}

/// What is said of an answer that is none.
pub(super) const NOT_LDAP: &str = "the server sent something that is not LDAP";

/// The `ldap3` crate panics where an answer is not what the protocol says. That must end the
/// pull, not the program.
fn guarded<T>(answer: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
    // Boxed, as what a connection takes would be carried in every future above.
    AssertUnwindSafe(Box::pin(answer))
        .catch_unwind()
        .map(Result::ok)
}

pub(super) fn waited(time: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(time))
}

/// The result in words: RFC 4511 section 4.1.9 and appendix A.
pub(super) fn describe(result: &LdapResult) -> String {
    let name = match result.rc {
        1 => "operationsError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        13 => "confidentialityRequired",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "error",
    };
    let mut words = format!("{name} ({})", result.rc);
    if !result.refs.is_empty() {
        words += &format!(" to {}", result.refs.join(" or "));
    }
    let text = result.text.trim();
    if !text.is_empty() {
        words += &format!(": {text}");
    }
    words
}

pub(super) fn advice(code: u32) -> &'static str {
    match code {
        3 | 4 | 11 => {
            "the server's limit for the bind DN is smaller than the directory: let the bind DN read without a limit, or set a smaller `page_size`"
        }
        10 => {
            "the base belongs to another server: name that server in `url`, or in `follow_referrals`"
        }
        32 | 34 => "check `base`: there is no such entry, or the bind DN may not see it",
        50 => "let the bind DN read the base",
        51 | 52 => "the server is busy or down: the next run tries again",
        _ => "nothing was changed",
    }
}

/// Whether what this machine has for a source can be used: its secrets, CA file and certificates. Asks no server.
///
/// # Errors
/// When something of that is not there, may be read or changed by others, or is no such thing.
pub fn usable(source: &Source) -> Result<(), DirectoryError> {
    match &source.kind {
        SourceKind::Ldap(server) => Access::of(server).map(drop),
        SourceKind::Ldif(_) => Ok(()),
    }
}

impl<'a> Access<'a> {
    fn of(server: &'a Server) -> Result<Self, DirectoryError> {
        let password = match &server.bind {
            Bind::Simple { password, .. } => Some(password.read()?),
            Bind::Anonymous | Bind::External => None,
        };
        Ok(Access {
            server,
            tls: tls_config(server)?,
            password,
            names: match &server.servers {
                Servers::Listed(urls) => Names::Listed(urls),
                Servers::Discovered(discovery) => {
                    Names::Discovered(discovery, Box::new(discover::resolver(discovery)?))
                }
            },
        })
    }

    /// The servers of the source in the order in which they are to be tried.
    async fn servers(&self) -> Result<Vec<Url>, DirectoryError> {
        match &self.names {
            Names::Listed(urls) => Ok(urls.to_vec()),
            Names::Discovered(discovery, resolver) => {
                discover::servers(discovery, resolver, self.server.connect_timeout).await
            }
        }
    }

    /// Opens a session with the first of these servers that can serve; also gives its place
    /// among them.
    async fn open(&self, urls: &[Url]) -> Result<(usize, Session<'a>), DirectoryError> {
        let wait = self.server.connect_timeout;
        let mut failures: Vec<(String, String)> = Vec::new();
        for (place, target) in urls.iter().enumerate() {
            let url = target.to_string().trim_end_matches('/').to_owned();
            let attempt = timeout(wait, guarded(self.attempt(target, &url))).await;
            let outcome = match attempt {
                Ok(Some(outcome)) => outcome,
                Ok(None) => Err(Failure::Away(NOT_LDAP.to_owned())),
                Err(_) => Err(Failure::Away(waited(wait))),
            };
            let decision = match outcome {
                Ok(ldap) => Ok(ldap),
                Err(Failure::Final(error)) => Err(error),
                Err(Failure::Away(why)) => {
                    failures.push((url, why));
                    continue;
                }
            };
            for (failed, why) in failures {
                tracing::warn!(server = failed, why, taken = url, "a server is passed over");
            }
            let (ldap, server) = (decision?, self.server);
            return Ok((place, Session { server, url, ldap }));
        }
        Err(match <[(String, String); 1]>::try_from(failures) {
            Ok([(url, why)]) => DirectoryError::Connect { url, why },
            Err(failures) => DirectoryError::NoServer {
                failures: failures
                    .into_iter()
                    .map(|(url, why)| format!("{url}: {why}"))
                    .collect(),
            },
        })
    }

    /// Connects and binds to one server.
    async fn attempt(&self, target: &Url, url: &str) -> Result<Ldap, Failure> {
        let mut settings = LdapConnSettings::new()
            .set_starttls(target.scheme() == "ldap" && !self.server.plaintext)
            .set_config(self.tls.clone());
        if let Names::Discovered(_, resolver) = &self.names {
            let stream = connect(resolver, target).await.map_err(Failure::Away)?;
            settings = settings.set_std_stream(StdStream::Tcp(stream));
        }
        let (connection, mut ldap) = LdapConnAsync::from_url_with_settings(settings, target)
            .await
            .map_err(|error| connect_failure(url, &error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "the LDAP connection ended");
            }
        });
        let bound = match (&self.server.bind, &self.password) {
            (Bind::Anonymous, _) => return Ok(ldap),
            (Bind::External, _) => ldap.sasl_external_bind().await,
            (Bind::Simple { dn, .. }, password) => {
                let password = password.as_ref().map_or("", |p| p.expose_secret());
                ldap.simple_bind(dn, password).await
            }
        };
        let result = bound.map_err(|error| Failure::Away(in_words(&error)))?;
        match result.rc {
            0 => Ok(ldap),
            // busy and unavailable say nothing about who binds (RFC 4511 appendix A.2).
            51 | 52 => Err(Failure::Away(self.words(&result))),
            // A wrong password is not tried elsewhere: that would lock the account.
            _ => Err(Failure::Final(self.refused(url, &result))),
        }
    }

    /// What the server says of a bind: it may show what it was sent.
    fn words(&self, result: &LdapResult) -> String {
        let words = describe(result);
        match &self.password {
            Some(password) => words.replace(password.expose_secret(), "…"),
            None => words,
        }
    }

    fn refused(&self, url: &str, result: &LdapResult) -> DirectoryError {
        let why = self.words(result);
        let (who, advice) = match &self.server.bind {
            Bind::Simple { dn, password } => (
                format!("as `{dn}`"),
                format!("check `bind_dn` and the password in {password}"),
            ),
            Bind::External | Bind::Anonymous => (
                "by SASL EXTERNAL".to_owned(),
                "check that the server takes the client certificate, or the Unix user of this process, for a DN of its own".to_owned(),
            ),
        };
        DirectoryError::Bind {
            url: url.to_owned(),
            who,
            why,
            advice,
        }
    }
}

/// A connection to an address that the resolver gives.
async fn connect(resolver: &TokioResolver, target: &Url) -> Result<std::net::TcpStream, String> {
    let port = target.port().unwrap_or(match target.scheme() {
        "ldaps" => 636,
        _ => 389,
    });
    let host = target.host_str().unwrap_or_default();
    let addresses = discover::addresses(resolver, host, port).await?;
    let stream = TcpStream::connect(&addresses[..]).await;
    stream
        .and_then(TcpStream::into_std)
        .map_err(|error| error.to_string())
}

/// Whether another server may do better than one that could not be reached: not where it is
/// one that must not be trusted.
fn connect_failure(url: &str, error: &LdapError) -> Failure {
    let untrusted = |why: String| {
        let url = url.to_owned();
        Failure::Final(DirectoryError::Tls { url, why })
    };
    let of_tls = |error: &rustls::Error| match error {
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::InvalidCertRevocationList(_)
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::UnsupportedNameType => untrusted(config::untrusted(error)),
        other => Failure::Away(format!("no TLS: {other}")),
    };
    match error {
        LdapError::Rustls { source } => of_tls(source),
        LdapError::DNSName { source } => untrusted(source.to_string()),
        LdapError::Io { source } => match config::tls(source) {
            Some(tls) => of_tls(tls),
            None => Failure::Away(source.to_string()),
        },
        LdapError::LdapResult { result } => {
            Failure::Away(format!("the server refuses StartTLS, {}", describe(result)))
        }
        other => Failure::Away(in_words(other)),
    }
}

/// An error of the connection.
pub(super) fn in_words(error: &LdapError) -> String {
    match error {
        LdapError::Io { source } => source.to_string(),
        // What reads from the connection has ended before what asks.
        LdapError::OpSend { .. } | LdapError::ResultRecv { .. } | LdapError::EndOfStream => {
            "the connection was closed".to_owned()
        }
        other => other.to_string(),
    }
}

/// TLS with the configured CA file, else with the system's roots; and with the client's own
/// certificate, if it has one.
fn tls_config(server: &Server) -> Result<Arc<rustls::ClientConfig>, DirectoryError> {
    let mut roots = rustls::RootCertStore::empty();
    match &server.ca_file {
        Some(path) => {
            let wrong = |why: String| DirectoryError::CaFile {
                path: path.clone(),
                why,
            };
            let file = std::fs::metadata(path)
                .map_err(|error| wrong(format!("cannot be read: {error}")))?;
            expect_guarded("the CA file", path, &file)?;
            for certificate in certificates(path).map_err(wrong)? {
                roots
                    .add(certificate)
                    .map_err(|error| wrong(format!("is no use: {error}")))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match &server.client_certificate {
        None => config.with_no_client_auth(),
        Some(ClientCertificate { chain, key }) => {
            let wrong =
                |place: String, why: String| DirectoryError::ClientCertificate { place, why };
            let file = format!("the file {}", chain.display());
            let unreadable = |error| wrong(file.clone(), format!("cannot be read: {error}"));
            let metadata = std::fs::metadata(chain).map_err(unreadable)?;
            expect_guarded("the client certificate", chain, &metadata)?;
            let certificates = certificates(chain).map_err(|why| wrong(file.clone(), why))?;
            let text = key.read_text()?;
            // What the PEM reader says of a fault may show a line of it.
            let private = PrivateKeyDer::from_pem_slice(text.expose_secret().as_bytes())
                .map_err(|_| wrong(key.to_string(), "holds no private key".to_owned()))?;
            config
                .with_client_auth_cert(certificates, private)
                .map_err(|error| match error {
                    rustls::Error::InconsistentKeys(_) => {
                        wrong(file, "does not go with the key".to_owned())
                    }
                    other => wrong(file, format!("is no use: {other}")),
                })?
        }
    };
    Ok(Arc::new(config))
}

/// The certificates of a PEM file, of which there must be one; or what is wrong with it.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| format!("cannot be read: {error}"))?
        .collect::<Result<Vec<_>, _>>()
        // What the PEM reader says may show a line, and a key may stand in the file as well.
        .map_err(|_| "is damaged".to_owned())?;
    match certificates.is_empty() {
        true => Err("holds no certificate".to_owned()),
        false => Ok(certificates),
    }
}
