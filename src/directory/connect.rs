//! The connection to a directory server (RFC 4511, RFC 4513).

use std::sync::Arc;
use std::time::Duration;

use ldap3::controls::RawControl;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::search::{self, Searches};
use super::{DirectoryError, Request};
use crate::config::Ldap as Server;
use crate::model::Entry;

/// What a server says about itself (its root DSE, RFC 4512 section 5.1).
#[derive(Clone, Debug, Default)]
pub struct ServerInfo {
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
            return Ok(ServerInfo::default());
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
        let found = timeout(self.server.timeout, search)
            .await
            .map_err(|_| broken(waited(self.server.timeout)))?
            .map_err(|error| broken(error.to_string()))?;
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
    // A referral says where to, mostly without a text (RFC 4511 section 4.1.10).
    let mut texts: Vec<&str> = vec![result.text.trim()];
    texts.extend(result.refs.iter().map(String::as_str));
    texts.retain(|text| !text.is_empty());
    if texts.is_empty() {
        format!("{name} ({})", result.rc)
    } else {
        format!("{name} ({}): {}", result.rc, texts.join(", "))
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
