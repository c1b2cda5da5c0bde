//! The typed configuration: what `config.toml` may say, checked as it is read.
//!
//! Floor 1. Every error names file, line and column, what was wrong and what to do. Relative
//! paths are relative to the folder of the configuration file.

mod apply;
mod daemon;
mod error;
mod file;
mod freeze;
mod group;
mod guards;
mod journal;
mod notify;
mod permissions;
mod policy;
mod reconcile;
mod rule;
mod schedule;
mod secret;
mod source;
mod spanned;
mod telemetry;
mod trust;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use apply::{Apply, LEAST_CALLS};
pub use daemon::{Daemon, Listen};
pub use error::{ConfigError, nearest};
pub use file::is_loopback;
pub use freeze::{Freeze, Window};
pub use group::{GroupAdoption, GroupDeparture, GroupRule};
pub use guards::{Guard, Guards, Limit, NamePattern, Per};
pub use journal::Journal;
pub use notify::{Channel, Email, Event, MailTls, Notify, Template, Way};
pub use permissions::{
    OpenFile, PrivateFolder, beside, expect_guarded, expect_known_folders, expect_known_writers,
    expect_own, expect_own_file, expect_own_folders, expect_private, make_own, names_of, real_name,
    user_name,
};
pub use policy::{
    Adopt, Change, Confirmation, Departure, OnLeave, Policies, Policy, Return, Unreadable,
};
pub use reconcile::{DriftKind, NotCorrectable, Reconcile};
pub use rule::{
    AttributeRule, Making, MappingTarget, Origin, PlacedExpression, PlacedRule, Rule,
    is_attribute_name, is_language_tag, lookup_key,
};
pub use schedule::{Job, Schedule, ScheduleError, Scheduled};
pub use secret::{SecretError, SecretRef, credentials_folder};
pub use source::{
    Bind, ClientCertificate, Discovery, Incremental, Ldap, Preset, ReferralHost, Search, Servers,
    Source, SourceKind, SourceScope, WithoutMail,
};
pub use telemetry::Telemetry;
pub use trust::{last_cause, tls, untrusted};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The organization and its API.
    pub organization: Organization,
    /// The SQLite database with the snapshot and the journal.
    pub database: PathBuf,
    /// Where the people come from, in order of precedence.
    pub sources: Vec<Source>,
    /// Which groups become groups of the organization.
    pub groups: Vec<GroupRule>,
    /// What happens to people who leave, are disabled or return, unless their source says
    /// otherwise.
    pub policy: Policy,
    /// How much a run may change without being asked.
    pub guards: Guards,
    /// How a run carries its plan out.
    pub apply: Apply,
    /// What the daemon does when; nothing, if there is no `[schedule]`.
    pub schedule: Vec<Scheduled>,
    /// How the daemon is run.
    pub daemon: Daemon,
    /// What is done about accounts that somebody has changed in the organization.
    pub reconcile: Reconcile,
    /// What is kept of the past.
    pub journal: Journal,
    /// Who is told what.
    pub notify: Notify,
    /// What is logged, and how.
    pub log: Log,
    /// Who is told what the daemon does, as it does it.
    pub telemetry: Telemetry,
    text: Arc<str>,
}

/// The organization and how its API is reached.
#[derive(Clone, Debug)]
pub struct Organization {
    /// The organization's id.
    pub id: String,
    /// The root of the API, `https://api.atlassian.com` unless told otherwise.
    pub api: url::Url,
    /// How accounts are made and changed.
    pub provisioning: Provisioning,
    /// The organization's admin key; needed for deletions, and for everything in the admin way.
    pub admin_key: Option<SecretRef>,
    /// A CA bundle in PEM to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest that one request may take.
    pub timeout: std::time::Duration,
    /// The longest that one operation may take, with all its requests and waits.
    pub operation_timeout: std::time::Duration,
    /// The most requests a second to each of the APIs; as many as they let, when not set.
    pub requests_per_second: Option<std::num::NonZeroU32>,
    /// The most users that the provisioning directory takes.
    pub max_users: u64,
    /// For how many accounts and addresses a plan asks the organization what it would refuse.
    pub forecast_accounts: usize,
}

/// How accounts are made and changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioning {
    /// By SCIM 2.0 into a provisioning directory, which needs the subscription that has it.
    Scim {
        /// The id of the provisioning directory.
        directory: String,
        /// Its key.
        key: SecretRef,
    },
    /// By invitation and user management, without that subscription. Accounts carry no key of
    /// the person, so they are found again by their e-mail address only.
    Admin,
}

impl Provisioning {
    /// Whether this way can give the attribute a value (contract sections 4, 5 and 7).
    pub fn supports(&self, attribute: crate::model::Attribute) -> bool {
        use crate::model::Attribute;
        match self {
            Provisioning::Scim { .. } => true,
            Provisioning::Admin => matches!(
                attribute,
                Attribute::Email
                    | Attribute::DisplayName
                    | Attribute::NickName
                    | Attribute::Title
                    | Attribute::PreferredLanguage
                    | Attribute::Timezone
                    | Attribute::Organization
                    | Attribute::Department
                    // Neither way sends it.
                    | Attribute::EmployeeNumber
            ),
        }
    }
}

/// Logging.
#[derive(Clone, Debug)]
pub struct Log {
    /// A filter as `tracing-subscriber` takes it, such as `info` or `dirsyncd=debug`.
    pub level: String,
    /// The form of the lines, unless it is left to where standard error leads.
    pub format: Option<LogFormat>,
}

/// The form of log lines.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// Entries of systemd's journal, with fields of their own.
    Journal,
}

impl Config {
    /// Reads and checks the configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        expect_guarded("the configuration", path, &metadata)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(path, &text)
    }

    /// Checks the text of a configuration file; `path` is for messages and relative paths.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        file::parse(path, text)
    }

    /// An error at a place in the file, for what is found wrong after it was read.
    pub fn invalid(&self, span: Option<std::ops::Range<usize>>, what: String) -> ConfigError {
        error::Invalid::new(&self.path, &self.text, span, what).into()
    }

    /// Where all its secrets are.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let of_api = match &self.organization.provisioning {
            Provisioning::Scim { key, .. } => Some(key),
            Provisioning::Admin => None,
        };
        let of_sources = self.sources.iter().flat_map(Source::secrets);
        of_api
            .into_iter()
            .chain(&self.organization.admin_key)
            .chain(of_sources)
            .chain(self.daemon.listen.as_ref().map(|listen| &listen.token))
            .chain(self.notify.channels.iter().flat_map(Channel::secrets))
    }

    /// Those of the files that it names, but the database, which others could read, change or replace.
    pub fn open_files(&self) -> Vec<OpenFile> {
        let secrets = self
            .secrets()
            .filter_map(|secret| match secret.read_text() {
                Err(SecretError::Open(open)) => Some(open),
                _ => None,
            });
        let of_sources = self.sources.iter().map(|source| &source.kind);
        let certificates = of_sources.flat_map(|kind| match kind {
            SourceKind::Ldap(server) => server.certificate_files(),
            SourceKind::Ldif(_) => Vec::new(),
        });
        let of_api = self.organization.ca_file.iter();
        let of_channels = self.notify.channels.iter();
        let of_channels = of_channels.filter_map(|channel| channel.ca_file.as_ref());
        let certificates = of_api
            .chain(of_channels)
            .map(|path| ("the CA file", path.as_path()))
            .chain(certificates);
        let open = |(what, path): (&str, &Path)| {
            let file = std::fs::metadata(path).ok()?;
            expect_guarded(what, path, &file).err()
        };
        let ldif = self.sources.iter().filter_map(|source| match &source.kind {
            SourceKind::Ldif(path) => {
                let file = std::fs::metadata(path).ok()?;
                expect_known_writers("the LDIF file", path, &file)
                    .and_then(|()| expect_known_folders(path))
                    .err()
            }
            SourceKind::Ldap(_) => None,
        });
        secrets
            .chain(certificates.filter_map(open))
            .chain(ldif)
            .collect()
    }

    /// Whether runs may delete accounts.
    pub fn deletes(&self) -> bool {
        let policies = self.sources.iter().map(|source| &source.policy);
        policies
            .chain([&self.policy])
            .any(|policy| policy.delete_after.is_some())
    }

    /// The policies of all sources.
    pub fn policies(&self, accepts_scope_change: bool) -> Policies {
        let of_source = |source: &Source| (source.name.clone(), source.policy.clone());
        Policies {
            default: self.policy.clone(),
            of_sources: self.sources.iter().map(of_source).collect(),
            accepts_scope_change,
        }
    }
}

#[cfg(test)]
mod tests;
