//! `config.toml` as it is written, and how it becomes the typed [`Config`].

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use toml::Spanned;

use super::error::{Invalid, explain, nearest};
use super::{
    Config, ConfigError, Departure, Guards, Incremental, Ldap, Limit, Log, LogFormat,
    MappingTarget, Organization, PlacedRule, Policy, Preset, Provisioning, Rule, Schedule, Search,
    SecretRef, Source, SourceKind, WithoutMail,
};
use crate::model::{Attribute, Dn, Filter, Scope, SourceName};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    database: Option<PathBuf>,
    organization: OrganizationFile,
    #[serde(default)]
    source: Vec<Spanned<SourceFile>>,
    #[serde(default)]
    policy: PolicyFile,
    #[serde(default)]
    guards: GuardsFile,
    schedule: Option<ScheduleFile>,
    #[serde(default)]
    log: LogFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrganizationFile {
    id: Spanned<String>,
    #[serde(default)]
    provisioning: ProvisioningFile,
    directory: Option<Spanned<String>>,
    api: Option<Spanned<String>>,
    scim_key: Option<Spanned<SecretFile>>,
    admin_key: Option<Spanned<SecretFile>>,
    ca_file: Option<PathBuf>,
    timeout: Option<Spanned<String>>,
    operation_timeout: Option<Spanned<String>>,
    requests_per_second: Option<NonZeroU32>,
}

#[derive(Default)]
struct SecretFile {
    file: Option<PathBuf>,
    env: Option<String>,
    credential: Option<String>,
}

impl<'de> Deserialize<'de> for SecretFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretFile;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "the place of a secret: { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }",
        )
    }

    /// Written by hand because serde's own message would show the value.
    fn visit_str<E: de::Error>(self, _secret: &str) -> Result<SecretFile, E> {
        Err(E::custom(
            "a secret does not stand in the configuration: name its place by { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }",
        ))
    }

    fn visit_i64<E: de::Error>(self, _secret: i64) -> Result<SecretFile, E> {
        self.visit_str("")
    }

    fn visit_f64<E: de::Error>(self, _secret: f64) -> Result<SecretFile, E> {
        self.visit_str("")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretFile, A::Error> {
        let mut secret = SecretFile::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "file" => secret.file = Some(place(&mut map)?.into()),
                "env" => secret.env = Some(place(&mut map)?),
                "credential" => secret.credential = Some(place(&mut map)?),
                other => {
                    return Err(de::Error::unknown_field(
                        other,
                        &["file", "env", "credential"],
                    ));
                }
            }
        }
        Ok(secret)
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProvisioningFile {
    #[default]
    Scim,
    Admin,
}

/// The place of a secret; what else stands there is not shown.
fn place<'de, A: MapAccess<'de>>(map: &mut A) -> Result<String, A::Error> {
    let value: toml::Value = map.next_value()?;
    match value {
        toml::Value::String(text) => Ok(text),
        _ => Err(de::Error::custom(
            "the place of a secret is a text in quotes",
        )),
    }
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum KindFile {
    Ldap,
    Ldif,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFile {
    name: Option<String>,
    #[serde(default = "ldap")]
    kind: KindFile,
    preset: Option<Spanned<String>>,
    file: Option<Spanned<PathBuf>>,
    url: Option<Spanned<String>>,
    plaintext: Option<Spanned<bool>>,
    ca_file: Option<Spanned<PathBuf>>,
    bind_dn: Option<Spanned<String>>,
    password: Option<Spanned<SecretFile>>,
    page_size: Option<Spanned<u32>>,
    timeout: Option<Spanned<String>>,
    ignore_referrals: Option<Spanned<bool>>,
    base: Spanned<OneOrMany>,
    scope: Option<Scope>,
    filter: Option<Spanned<String>>,
    members_of: Option<Spanned<OneOrMany>>,
    key: Option<String>,
    without_mail: Option<WithoutMail>,
    incremental: Option<bool>,
    full_every: Option<Spanned<String>>,
    #[serde(default)]
    mapping: BTreeMap<Spanned<String>, Spanned<Rule>>,
}

fn ldap() -> KindFile {
    KindFile::Ldap
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a DN or a list of DNs")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    on_leave: Option<Departure>,
    on_disabled: Option<Departure>,
    delete_after: Option<Spanned<String>>,
    adopt: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardsFile {
    deactivate: Option<Spanned<LimitFile>>,
    delete: Option<Spanned<LimitFile>>,
    change_email: Option<Spanned<LimitFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitFile {
    #[serde(default)]
    always: u64,
    percent: Option<f64>,
    at_most: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleFile {
    sync: Spanned<String>,
    time_zone: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogFile {
    level: Option<Spanned<String>>,
    format: Option<LogFormat>,
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(text).map_err(|error| {
        Invalid::new(
            path,
            text,
            error.span(),
            explain(error.message().trim_end()),
        )
    })?;
    Ok(Reader { path, text }.config(file)?)
}

/// Carries the file through the checks, so that each can name its place.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

type Checked<T> = Result<T, Invalid>;

impl Reader<'_> {
    fn refuse<T>(&self, span: Range<usize>, what: impl Into<String>) -> Checked<T> {
        Err(Invalid::new(self.path, self.text, Some(span), what.into()))
    }

    fn check<T, E: std::fmt::Display>(
        &self,
        span: Range<usize>,
        result: Result<T, E>,
    ) -> Checked<T> {
        result.or_else(|error| self.refuse(span, error.to_string()))
    }

    fn resolve(&self, path: PathBuf) -> PathBuf {
        self.path
            .parent()
            .map_or_else(|| path.clone(), |folder| folder.join(&path))
    }

    fn config(&self, file: File) -> Checked<Config> {
        let File {
            database,
            organization,
            source,
            policy,
            guards,
            schedule,
            log,
        } = file;
        if source.is_empty() {
            return Err(Invalid::new(
                self.path,
                self.text,
                None,
                "there is no [[source]]: say where the people are".to_owned(),
            ));
        }
        let several = source.len() > 1;
        let mut sources: Vec<Source> = Vec::new();
        for spanned in source {
            let span = spanned.span();
            let source = self.source(spanned, several)?;
            if sources.iter().any(|other| other.name == source.name) {
                return self.refuse(span, format!("two sources have the name `{}`", source.name));
            }
            sources.push(source);
        }
        let policy = self.policy(policy, organization.admin_key.is_some())?;
        Ok(Config {
            path: self.path.to_owned(),
            organization: self.organization(organization)?,
            database: self
                .resolve(database.unwrap_or_else(|| "/var/lib/dirsyncd/dirsyncd.db".into())),
            sources,
            policy,
            guards: self.guards(guards)?,
            schedule: schedule
                .map(|schedule| self.schedule(schedule))
                .transpose()?,
            log: self.log(log)?,
            text: self.text.into(),
        })
    }

    fn organization(&self, file: OrganizationFile) -> Checked<Organization> {
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
        } = file;
        let api = match api {
            None => self.check(0..0, url::Url::parse("https://api.atlassian.com"))?,
            Some(api) => {
                let url = self.check(api.span(), url::Url::parse(api.get_ref()))?;
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
        })
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
                    "this key belongs to provisioning = \"scim\"",
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

    fn secret(&self, secret: Spanned<SecretFile>) -> Checked<SecretRef> {
        let span = secret.span();
        match secret.into_inner() {
            SecretFile { file: Some(path), env: None, credential: None } => {
                Ok(SecretRef::File(self.resolve(path)))
            }
            SecretFile { file: None, env: Some(name), credential: None } => Ok(SecretRef::Env(name)),
            SecretFile { file: None, env: None, credential: Some(name) } => {
                if name.is_empty() || name.contains('/') {
                    return self.refuse(span, "a credential is the name of a file, without `/`");
                }
                Ok(SecretRef::Credential(name))
            }
            _ => self.refuse(
                span,
                "say where the secret is by exactly one of { file = \"…\" }, { env = \"…\" } and { credential = \"…\" }",
            ),
        }
    }

    fn timeout(&self, text: Option<Spanned<String>>, default: Duration) -> Checked<Duration> {
        let Some(text) = text else { return Ok(default) };
        let timeout = self.duration(&text)?;
        if timeout.is_zero() {
            return self.refuse(text.span(), "a time-out is longer than zero");
        }
        Ok(timeout)
    }

    fn time_delta(&self, text: &Spanned<String>) -> Checked<TimeDelta> {
        let duration = self.duration(text)?;
        self.check(text.span(), TimeDelta::from_std(duration))
    }

    fn duration(&self, text: &Spanned<String>) -> Checked<Duration> {
        self.check(
            text.span(),
            humantime::parse_duration(text.get_ref()).map_err(|error| {
                format!("`{}` is no duration ({error}); write for example \"30s\", \"12h\" or \"30days\"", text.get_ref())
            }),
        )
    }

    fn source(&self, spanned: Spanned<SourceFile>, several: bool) -> Checked<Source> {
        let span = spanned.span();
        let file = spanned.into_inner();
        let name = match &file.name {
            Some(name) if name.is_empty() => {
                return self.refuse(span, "the name of a source is empty");
            }
            Some(name) => name.clone(),
            None if several => {
                return self.refuse(span, "with several sources each needs a `name`");
            }
            None => "directory".to_owned(),
        };
        let preset = file
            .preset
            .as_ref()
            .map(|preset| self.preset(preset))
            .transpose()?;
        let (filter_span, filter_text) = match (&file.filter, &preset) {
            (Some(filter), _) => (filter.span(), filter.get_ref().clone()),
            (None, Some(preset)) => (span.clone(), preset.filter.clone()),
            (None, None) => {
                return self.refuse(span, "the source has no `filter`: give one, or a `preset`");
            }
        };
        let Some(key) = file
            .key
            .clone()
            .or_else(|| preset.as_ref().map(|p| p.key.clone()))
        else {
            return self.refuse(
                span,
                "the source has no `key`: give the attribute that never changes (entryUUID, objectGUID, nsUniqueId, ipaUniqueID), or a `preset`",
            );
        };
        let filter = self.check(filter_span.clone(), Filter::parse(&filter_text))?;
        if file.kind == KindFile::Ldif && !filter.is_local() {
            return self.refuse(
                filter_span,
                "the filter has a matching rule that only a server can apply, and an LDIF file has none",
            );
        }
        let search = Search {
            bases: self.bases(&file.base)?,
            members_of: match &file.members_of {
                None => Vec::new(),
                Some(groups) => self.bases(groups)?,
            },
            scope: file.scope.unwrap_or(Scope::Subtree),
            filter,
            filter_text,
        };
        let full_every = match &file.full_every {
            None => TimeDelta::days(1),
            Some(every) => self.time_delta(every)?,
        };
        let incremental = match file.incremental {
            None => Incremental::WhereDeparturesShow,
            Some(true) => Incremental::On,
            Some(false) => Incremental::Off,
        };
        let without_mail = file.without_mail.unwrap_or(WithoutMail::Refuse);
        let mapping = self.mapping(&span, preset, &file.mapping)?;
        let kind = self.source_kind(span, file)?;
        Ok(Source {
            name: SourceName::new(name),
            kind,
            search,
            key,
            incremental,
            full_every,
            without_mail,
            mapping,
        })
    }

    fn preset(&self, name: &Spanned<String>) -> Checked<Preset> {
        let known: Vec<&str> = Preset::ALL.iter().map(|(name, _)| *name).collect();
        let Some(text) = Preset::text(name.get_ref()) else {
            return self.refuse(name.span(), unknown("preset", name.get_ref(), &known));
        };
        self.check(name.span(), toml::from_str(text))
    }

    fn bases(&self, base: &Spanned<OneOrMany>) -> Checked<Vec<(String, Dn)>> {
        let texts = match base.get_ref() {
            OneOrMany::One(text) => std::slice::from_ref(text),
            OneOrMany::Many(texts) if texts.is_empty() => {
                return self.refuse(base.span(), "give at least one DN");
            }
            OneOrMany::Many(texts) => texts,
        };
        texts
            .iter()
            .map(|text| {
                let dn = self.check(
                    base.span(),
                    Dn::parse(text).map_err(|error| format!("`{text}` is no DN: {error}")),
                )?;
                Ok((text.clone(), dn))
            })
            .collect()
    }

    fn mapping(
        &self,
        source: &Range<usize>,
        preset: Option<Preset>,
        own: &BTreeMap<Spanned<String>, Spanned<Rule>>,
    ) -> Checked<BTreeMap<MappingTarget, PlacedRule>> {
        let target = |name: &str, span: Range<usize>| match MappingTarget::parse(name) {
            Some(target) => Ok(target),
            None => self.refuse(span, unknown("attribute", name, &MappingTarget::names())),
        };
        let mut mapping = BTreeMap::new();
        for (name, rule) in preset.into_iter().flat_map(|preset| preset.mapping) {
            mapping.insert(
                target(&name, source.clone())?,
                PlacedRule { rule, span: None },
            );
        }
        for (name, rule) in own {
            let placed = PlacedRule {
                rule: rule.get_ref().clone(),
                span: Some(rule.span()),
            };
            mapping.insert(target(name.get_ref(), name.span())?, placed);
        }
        mapping.retain(|_, placed| placed.rule != Rule::Unmapped);
        for attribute in Attribute::ALL
            .into_iter()
            .filter(|attribute| attribute.is_required())
        {
            if !mapping.contains_key(&MappingTarget::Attribute(attribute)) {
                return self.refuse(
                    source.clone(),
                    format!("the mapping has no `{attribute}`, which every account needs"),
                );
            }
        }
        Ok(mapping)
    }

    fn source_kind(&self, span: Range<usize>, file: SourceFile) -> Checked<SourceKind> {
        let SourceFile {
            kind,
            file,
            url,
            plaintext,
            ca_file,
            bind_dn,
            password,
            page_size,
            timeout,
            ignore_referrals,
            ..
        } = file;
        if kind == KindFile::Ldif {
            let stray = [
                url.map(|v| v.span()),
                plaintext.map(|v| v.span()),
                ca_file.map(|v| v.span()),
                bind_dn.map(|v| v.span()),
                password.map(|v| v.span()),
                page_size.map(|v| v.span()),
                timeout.map(|v| v.span()),
                ignore_referrals.map(|v| v.span()),
            ];
            if let Some(span) = stray.into_iter().flatten().next() {
                return self.refuse(span, "this key has no meaning for a source of kind `ldif`");
            }
            return match file {
                Some(path) => Ok(SourceKind::Ldif(self.resolve(path.into_inner()))),
                None => self.refuse(span, "a source of kind `ldif` needs `file`"),
            };
        }
        if let Some(file) = file {
            return self.refuse(file.span(), "`file` belongs to a source of kind = \"ldif\"");
        }
        let Some(url) = url else {
            return self.refuse(
                span,
                "the source has no `url`: write for example \"ldaps://ldap.example.org\"",
            );
        };
        let (url_span, url) = (url.span(), self.ldap_url(&url)?);
        let plaintext_span = plaintext.as_ref().map(Spanned::span);
        let plaintext = plaintext.is_some_and(Spanned::into_inner);
        if let (true, "ldaps", Some(span)) = (plaintext, url.scheme(), plaintext_span) {
            return self.refuse(
                span,
                "`plaintext` goes with ldap://, and this url is ldaps://",
            );
        }
        let bind = match (bind_dn, password) {
            (Some(dn), Some(password)) => Some((dn.into_inner(), self.secret(password)?)),
            (None, None) => None,
            // A bind with a DN and no password is an unauthenticated bind (RFC 4513 section
            // 5.1.2): it looks like success and sees what anonymous sees.
            (Some(dn), None) => return self.refuse(dn.span(), "`bind_dn` needs a `password`"),
            (None, Some(password)) => {
                return self.refuse(password.span(), "`password` needs a `bind_dn`");
            }
        };
        let page_size = match page_size {
            None => 1000,
            Some(size) if (1..=100_000).contains(size.get_ref()) => size.into_inner(),
            Some(size) => return self.refuse(size.span(), "a page is 1 to 100000 entries"),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return self.refuse(url_span, "the url names no host");
        }
        Ok(SourceKind::Ldap(Ldap {
            url,
            plaintext,
            ca_file: ca_file.map(|path| self.resolve(path.into_inner())),
            bind,
            page_size,
            timeout: self.timeout(timeout, Duration::from_secs(30))?,
            ignore_referrals: ignore_referrals.is_some_and(Spanned::into_inner),
        }))
    }

    fn ldap_url(&self, text: &Spanned<String>) -> Checked<url::Url> {
        let url = self.check(
            text.span(),
            url::Url::parse(text.get_ref())
                .map_err(|error| format!("`{}` is no URL: {error}", text.get_ref())),
        )?;
        if !matches!(url.scheme(), "ldap" | "ldaps") {
            return self.refuse(
                text.span(),
                "write ldaps://HOST, or ldap://HOST for StartTLS",
            );
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() {
            return self.refuse(
                text.span(),
                "only ldaps://HOST[:PORT]: base, scope, filter and bind have keys of their own",
            );
        }
        Ok(url)
    }

    fn policy(&self, file: PolicyFile, has_admin_key: bool) -> Checked<Policy> {
        let PolicyFile {
            on_leave,
            on_disabled,
            delete_after,
            adopt,
        } = file;
        let default = Policy::default();
        let delete_after = match delete_after {
            None => None,
            Some(text) if !has_admin_key => {
                return self.refuse(
                    text.span(),
                    "`delete_after` needs `admin_key` in [organization]: accounts are deleted through the user-management API",
                );
            }
            Some(text) => Some(self.time_delta(&text)?),
        };
        Ok(Policy {
            on_leave: on_leave.unwrap_or(default.on_leave),
            on_disabled: on_disabled.unwrap_or(default.on_disabled),
            delete_after,
            adopt: adopt.unwrap_or(default.adopt),
        })
    }

    fn guards(&self, file: GuardsFile) -> Checked<Guards> {
        let GuardsFile {
            deactivate,
            delete,
            change_email,
        } = file;
        let default = Guards::default();
        let limit = |file: Option<Spanned<LimitFile>>, default: Limit| match file {
            None => Ok(default),
            Some(file) => {
                let span = file.span();
                let LimitFile {
                    always,
                    percent,
                    at_most,
                } = file.into_inner();
                if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
                    return self.refuse(span, "`percent` is from 0 to 100");
                }
                if percent.is_none() && at_most.is_none() {
                    return self.refuse(
                        span,
                        "give `percent`, `at_most` or both: `always` alone sets no limit (percent = 100 lets everything through)",
                    );
                }
                Ok(Limit {
                    always,
                    percent,
                    at_most,
                })
            }
        };
        Ok(Guards {
            deactivate: limit(deactivate, default.deactivate)?,
            delete: limit(delete, default.delete)?,
            change_email: limit(change_email, default.change_email)?,
        })
    }

    fn schedule(&self, file: ScheduleFile) -> Checked<Schedule> {
        let zone = match file.time_zone {
            None => chrono_tz::Tz::UTC,
            Some(zone) => self.check(
                zone.span(),
                zone.get_ref().parse().map_err(|_| {
                    let known: Vec<&str> = chrono_tz::TZ_VARIANTS
                        .iter()
                        .map(|zone| zone.name())
                        .collect();
                    let hint = nearest(zone.get_ref(), &known)
                        .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                    format!(
                        "`{}` is no time zone{hint} (names such as Europe/Berlin)",
                        zone.get_ref()
                    )
                }),
            )?,
        };
        self.check(file.sync.span(), Schedule::parse(file.sync.get_ref(), zone))
    }

    fn log(&self, file: LogFile) -> Checked<Log> {
        let level = match file.level {
            None => "info".to_owned(),
            Some(level) => {
                self.check(
                    level.span(),
                    tracing_subscriber::EnvFilter::try_new(level.get_ref()).map_err(|error| {
                        format!("{error}; write error, warn, info, debug or trace")
                    }),
                )?;
                level.into_inner()
            }
        };
        Ok(Log {
            level,
            format: file.format.unwrap_or(LogFormat::Text),
        })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn unknown(noun: &str, given: &str, known: &[&str]) -> String {
    let hint =
        nearest(given, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    format!(
        "unknown {noun} `{given}`{hint} (known here: {})",
        known.join(", ")
    )
}
