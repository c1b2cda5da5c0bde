//! Searches on a directory server, page by page (RFC 4511, RFC 2696).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ldap3::controls::{Control, ControlType, PagedResults, RawControl};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, SearchEntry};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::DirectoryError;
use crate::config::{Ldap as Server, Search};
use crate::model::{Entry, PullEnd, Scope};

/// What a server says about itself (its root DSE, RFC 4512 section 5.1).
#[derive(Clone, Debug, Default)]
pub struct ServerInfo {
    /// Vendor and version, where they are told.
    pub vendor: String,
    /// The naming contexts.
    pub contexts: Vec<String>,
}

/// Reads all entries that the search finds.
pub(super) async fn pull(
    server: &Server,
    search: &Search,
    attributes: &[String],
    each: &mut dyn FnMut(Entry),
) -> Result<PullEnd, DirectoryError> {
    let mut session = Session::open(server).await?;
    let mut pulled = Pulled::default();
    for (base, _) in &search.bases {
        session
            .search(base, search, attributes, &mut pulled, each)
            .await?;
    }
    session.close().await;
    let clean = match pulled.referrals.first() {
        Some(first) if !server.ignore_referrals => Err(format!(
            "{} parts of the tree are on other servers and were not read, the first at {first}; name a base below them, or set `ignore_referrals = true`",
            pulled.referrals.len()
        )),
        _ => Ok(()),
    };
    Ok(PullEnd {
        entries: pulled.entries,
        clean,
    })
}

/// What a pull has seen so far.
#[derive(Default)]
struct Pulled {
    entries: u64,
    /// The servers that were named instead of entries (RFC 4511 section 4.5.3).
    referrals: Vec<String>,
}

/// Connects, binds and reads the root DSE.
pub(super) async fn probe(server: &Server) -> Result<ServerInfo, DirectoryError> {
    let mut session = Session::open(server).await?;
    let wanted = vec![
        "namingContexts",
        "vendorName",
        "vendorVersion",
        "defaultNamingContext",
    ];
    let found = timeout(
        server.timeout,
        session
            .ldap
            .search("", ldap3::Scope::Base, "(objectClass=*)", wanted),
    )
    .await;
    let mut info = ServerInfo::default();
    // A server may hide its root DSE; that is no fault of the configuration.
    if let Ok(Ok(result)) = found
        && let Ok((entries, _)) = result.success()
    {
        for entry in entries.into_iter().map(SearchEntry::construct) {
            let texts = |name: &str| entry.attrs.get(name).cloned().unwrap_or_default();
            info.contexts = texts("namingContexts");
            info.vendor = [texts("vendorName"), texts("vendorVersion")]
                .concat()
                .join(" ");
        }
    }
    session.close().await;
    Ok(info)
}

pub(super) struct Session<'a> {
    pub(super) server: &'a Server,
    pub(super) url: String,
    pub(super) ldap: Ldap,
}

impl<'a> Session<'a> {
    pub(super) async fn open(server: &'a Server) -> Result<Self, DirectoryError> {
        let url = server.url.to_string().trim_end_matches('/').to_owned();
        // The password is read before anything is sent, so that its absence is the first error.
        let bind = match &server.bind {
            None => None,
            Some((dn, secret)) => Some((dn, secret.read()?, secret)),
        };
        let settings = LdapConnSettings::new()
            .set_conn_timeout(server.timeout)
            .set_starttls(server.url.scheme() == "ldap" && !server.plaintext)
            .set_config(tls_config(server)?);
        let (connection, mut ldap) = LdapConnAsync::with_settings(settings, server.url.as_str())
            .await
            .map_err(|error| connect_error(&url, server.timeout, &error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "the LDAP connection ended");
            }
        });
        if let Some((dn, password, secret)) = bind {
            let broken = |why: String| DirectoryError::Broken {
                url: url.clone(),
                entries: 0,
                why,
            };
            let result = timeout(
                server.timeout,
                ldap.simple_bind(dn, password.expose_secret()),
            )
            .await
            .map_err(|_| broken(waited(server.timeout)))?
            .map_err(|error| broken(error.to_string()))?;
            if result.rc != 0 {
                return Err(DirectoryError::Bind {
                    url,
                    bind_dn: dn.clone(),
                    secret: secret.to_string(),
                    why: describe(&result),
                });
            }
        }
        Ok(Session { server, url, ldap })
    }

    async fn search(
        &mut self,
        base: &str,
        search: &Search,
        attributes: &[String],
        pulled: &mut Pulled,
        each: &mut dyn FnMut(Entry),
    ) -> Result<(), DirectoryError> {
        let mut cookie = Vec::new();
        let mut firsts = HashSet::new();
        let mut was_empty = false;
        loop {
            let page = self
                .page(base, search, attributes, &cookie, pulled, each)
                .await?;
            // Whether the cookie stays the same tells nothing: 389 Directory Server gives the
            // same one for every page. A page that begins like an earlier one does, and so do
            // two pages with nothing on them and one cookie.
            let is_repeated = match page.first {
                Some(first) => !firsts.insert(first),
                None => was_empty && page.next.as_ref() == Some(&cookie),
            };
            if is_repeated {
                return Err(DirectoryError::PagingLoop {
                    url: self.url.clone(),
                    base: base.to_owned(),
                    entries: pulled.entries,
                });
            }
            was_empty = page.is_empty;
            match page.next {
                Some(next) if !next.is_empty() => cookie = next,
                Some(_) => return Ok(()),
                // Also a server without paged results ends here, unless it has given a cookie.
                None if cookie.is_empty() => return Ok(()),
                None => {
                    return Err(DirectoryError::Broken {
                        url: self.url.clone(),
                        entries: pulled.entries,
                        why: "a page does not say whether it is the last one".to_owned(),
                    });
                }
            }
        }
    }

    async fn page(
        &mut self,
        base: &str,
        search: &Search,
        attributes: &[String],
        cookie: &[u8],
        pulled: &mut Pulled,
        each: &mut dyn FnMut(Entry),
    ) -> Result<Page, DirectoryError> {
        let wait = self.server.timeout;
        let url = self.url.clone();
        let broken = |entries: u64, why: String| DirectoryError::Broken {
            url: url.clone(),
            entries,
            why,
        };
        let size = i32::try_from(self.server.page_size).unwrap_or(i32::MAX);
        let scope = match search.scope {
            Scope::Base => ldap3::Scope::Base,
            Scope::One => ldap3::Scope::OneLevel,
            Scope::Subtree => ldap3::Scope::Subtree,
        };
        let control = PagedResults {
            size,
            cookie: cookie.to_vec(),
        };
        self.ldap.with_controls(RawControl::from(control));
        let start =
            self.ldap
                .streaming_search(base, scope, &search.filter_text, attributes.to_vec());
        let mut stream = timeout(wait, start)
            .await
            .map_err(|_| broken(pulled.entries, waited(wait)))?
            .map_err(|error| broken(pulled.entries, error.to_string()))?;
        let mut first = None;
        while let Some(item) = timeout(wait, stream.next())
            .await
            .map_err(|_| broken(pulled.entries, waited(wait)))?
            .map_err(|error| broken(pulled.entries, error.to_string()))?
        {
            if item.is_ref() {
                let urls = guarded(|| ldap3::parse_refs(item.0));
                let urls = urls.map_err(|why| broken(pulled.entries, why))?;
                pulled.referrals.extend(urls.into_iter().next());
                continue;
            }
            if item.is_intermediate() {
                continue;
            }
            let entry = guarded(|| convert(SearchEntry::construct(item)))
                .map_err(|why| broken(pulled.entries, why))?;
            first.get_or_insert_with(|| entry.dn().to_owned());
            pulled.entries += 1;
            each(entry);
        }
        let result = stream.finish().await;
        if result.rc != 0 {
            return Err(DirectoryError::Search {
                url: self.url.clone(),
                base: base.to_owned(),
                entries: pulled.entries,
                why: describe(&result),
                advice: advice(result.rc),
            });
        }
        let next = guarded(|| next_cookie(&result)).map_err(|why| broken(pulled.entries, why))?;
        Ok(Page {
            is_empty: first.is_none(),
            next,
            first,
        })
    }

    pub(super) async fn close(mut self) {
        // The answers are all in; a server that does not take the goodbye changes nothing.
        let wait = self.server.timeout;
        if timeout(wait, self.ldap.unbind()).await.is_err() {
            tracing::debug!("the server does not take the unbind");
        }
    }
}

struct Page {
    is_empty: bool,
    /// The DN of its first entry.
    first: Option<String>,
    /// The cookie that its result has; an empty one ends the search (RFC 2696 section 3).
    next: Option<Vec<u8>>,
}

fn next_cookie(result: &LdapResult) -> Option<Vec<u8>> {
    result.ctrls.iter().find_map(|Control(kind, raw)| {
        let is_page = matches!(kind, Some(ControlType::PagedResults));
        is_page.then(|| raw.parse::<PagedResults>().cookie)
    })
}

/// The `ldap3` crate panics where a server's answer is not what the protocol says. That must
/// end the pull, not the program.
pub(super) fn guarded<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode))
        .map_err(|_| "the server sent something that is not LDAP".to_owned())
}

pub(super) fn convert(found: SearchEntry) -> Entry {
    let SearchEntry {
        dn,
        attrs,
        bin_attrs,
    } = found;
    let mut entry = Entry::new(dn);
    for (name, values) in attrs {
        for value in values {
            entry.push(&name, value.into_bytes());
        }
    }
    for (name, values) in bin_attrs {
        for value in values {
            entry.push(&name, value);
        }
    }
    entry
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
    let text = result.text.trim();
    if text.is_empty() {
        format!("{name} ({})", result.rc)
    } else {
        format!("{name} ({}): {text}", result.rc)
    }
}

pub(super) fn advice(code: u32) -> &'static str {
    match code {
        3 | 4 | 11 => {
            "the server's limit for the bind DN is smaller than the directory: let the bind DN read without a limit, or set a smaller `page_size`"
        }
        10 => "the base belongs to another server: name that server in `url`",
        32 | 34 => "check `base`: there is no such entry, or the bind DN may not see it",
        50 => "let the bind DN read the base",
        51 | 52 => "the server is busy or down: the next run tries again",
        _ => "nothing was changed",
    }
}

fn connect_error(url: &str, wait: Duration, error: &LdapError) -> DirectoryError {
    let url = url.to_owned();
    match error {
        LdapError::Timeout { .. } => DirectoryError::Connect {
            url,
            why: waited(wait),
        },
        LdapError::Rustls { source } => DirectoryError::Tls {
            url,
            why: source.to_string(),
        },
        LdapError::DNSName { source } => DirectoryError::Tls {
            url,
            why: source.to_string(),
        },
        LdapError::Io { source } => {
            let tls = source
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match tls {
                Some(tls) => DirectoryError::Tls {
                    url,
                    why: tls.to_string(),
                },
                None => DirectoryError::Connect {
                    url,
                    why: source.to_string(),
                },
            }
        }
        LdapError::LdapResult { result } => DirectoryError::Connect {
            url,
            why: format!("the server refuses StartTLS, {}", describe(result)),
        },
        other => DirectoryError::Connect {
            url,
            why: other.to_string(),
        },
    }
}

/// TLS with the configured CA file, else with the system's roots.
fn tls_config(server: &Server) -> Result<Arc<rustls::ClientConfig>, DirectoryError> {
    let mut roots = rustls::RootCertStore::empty();
    match &server.ca_file {
        Some(path) => {
            let wrong = |why: String| DirectoryError::CaFile {
                path: path.clone(),
                why,
            };
            let certificates = CertificateDer::pem_file_iter(path)
                .map_err(|error| wrong(format!("cannot be read: {error}")))?;
            for certificate in certificates {
                let certificate =
                    certificate.map_err(|error| wrong(format!("is damaged: {error}")))?;
                roots
                    .add(certificate)
                    .map_err(|error| wrong(format!("is no use: {error}")))?;
            }
            if roots.is_empty() {
                return Err(wrong("holds no certificate".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
