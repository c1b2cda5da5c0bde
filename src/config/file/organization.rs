//! How `[organization]` and `[telemetry]` are checked.

use std::time::Duration;

use crate::config::spanned::Spanned;

use super::written::{OrganizationFile, ProvisioningFile, SecretFile, TelemetryFile};
use super::{Checked, Reader};
use crate::config::{Organization, Provisioning, Telemetry};

impl Reader<'_> {
    pub(super) fn organization(&self, file: OrganizationFile) -> Checked<Organization> {
        let OrganizationFile {
            id,
            provisioning,
            directory,
            api,
            scim_key,
            admin_key,
            ca_file,
            timeout,
            operation_timeout,
            requests_per_second,
            max_users,
            forecast_accounts,
        } = file;
        let api = match api {
            None => self.check(0..0, super::url("https://api.atlassian.com"))?,
            Some(api) => {
                let url = self.check(api.span(), super::url(api.get_ref()))?;
                let is_local = url.host_str().is_some_and(is_loopback);
                if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
                    return self.refuse(
                        api.span(),
                        "the API is reached by https:// (http:// only on this machine's loopback, for the simulator)",
                    );
                }
                url
            }
        };
        Ok(Organization {
            provisioning: self.provisioning(&id, provisioning, directory, scim_key, &admin_key)?,
            id: self.identifier(id)?,
            api,
            admin_key: admin_key.map(|key| self.secret(key)).transpose()?,
            ca_file: ca_file.map(|path| self.resolve(path)),
            timeout: self.timeout(timeout, Duration::from_secs(30))?,
            operation_timeout: self.timeout(operation_timeout, Duration::from_secs(300))?,
            requests_per_second,
            // The published hard limit of users ("Users and groups limits"). The provisioning API's
            // own document of 2022 says 70,000 per directory, which others have outgrown.
            max_users: max_users.map_or(1_000_000, u64::from),
            forecast_accounts: forecast_accounts.map_or(200, usize::from),
        })
    }

    pub(super) fn telemetry(&self, file: TelemetryFile) -> Checked<Telemetry> {
        let Some(otlp) = file.otlp else {
            return Ok(Telemetry::default());
        };
        let url = self.check(otlp.span(), super::url(otlp.get_ref()))?;
        let may_be_read =
            url.host_str().is_some_and(is_loopback) || file.plaintext.unwrap_or_default();
        if url.scheme() != "https" && !(url.scheme() == "http" && may_be_read) {
            return self.refuse(
                otlp.span(),
                "a collector is reached by https:// (http:// only on this machine's loopback, such as \"http://127.0.0.1:4318\", or elsewhere with `plaintext = true`, where others can read it)",
            );
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return self.refuse(
                otlp.span(),
                "a collector's URL has no password and no query: what stands in the configuration is no secret",
            );
        }
        Ok(Telemetry { otlp: Some(url) })
    }

    fn provisioning(
        &self,
        organization: &Spanned<String>,
        way: ProvisioningFile,
        directory: Option<Spanned<String>>,
        key: Option<Spanned<SecretFile>>,
        admin_key: &Option<Spanned<SecretFile>>,
    ) -> Checked<Provisioning> {
        match (way, directory, key) {
            (ProvisioningFile::Scim, Some(directory), Some(key)) => Ok(Provisioning::Scim {
                directory: self.identifier(directory)?,
                key: self.secret(key)?,
            }),
            (ProvisioningFile::Scim, ..) => self.refuse(
                organization.span(),
                "[organization] needs `directory` and `scim_key`, or provisioning = \"admin\" and `admin_key`",
            ),
            (ProvisioningFile::Admin, None, None) if admin_key.is_some() => Ok(Provisioning::Admin),
            (ProvisioningFile::Admin, None, None) => self.refuse(
                organization.span(),
                "provisioning = \"admin\" needs `admin_key` in [organization]",
            ),
            (ProvisioningFile::Admin, directory, key) => {
                let stray = directory.map(|id| id.span()).or(key.map(|key| key.span()));
                self.refuse(
                    stray.unwrap_or_default(),
                    "this key belongs to provisioning = \"scim\": take it out",
                )
            }
        }
    }

    /// An id that becomes a part of a URL's path.
    fn identifier(&self, text: Spanned<String>) -> Checked<String> {
        let is_valid = !text.get_ref().is_empty()
            && text
                .get_ref()
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if is_valid {
            Ok(text.into_inner())
        } else {
            self.refuse(
                text.span(),
                "an id is letters, digits, - and _ only; it is the last part of the URL that the administration page shows",
            )
        }
    }
}

/// Whether a host is this machine, reached by no network.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
