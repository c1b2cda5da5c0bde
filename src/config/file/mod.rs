//! `config.toml` as it is written, and how it becomes the typed [`Config`].

mod group;
mod guards;
mod notify;
mod organization;
mod policy;
mod source;
#[cfg(test)]
mod tests;
mod written;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::spanned::Spanned;
use chrono::TimeDelta;
use chrono_tz::Tz;

use self::written::{File, ProvisioningFile, SecretFile};
use super::error::{Invalid, explain, nearest};
use super::{Config, ConfigError, Policy, SecretRef, Source};

pub use organization::is_loopback;

pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(text).map_err(|error| {
        let what = match (error.message(), error.span()) {
            ("duplicate key", Some(span)) => format!("`{}` is there twice", &text[span]),
            (message, _) => explain(message.trim_end()),
        };
        Invalid::new(path, text, error.span(), what)
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
            group,
            policy,
            guards,
            apply,
            reconcile,
            journal,
            schedule,
            daemon,
            notify,
            log,
            telemetry,
        } = file;
        if source.is_empty() {
            return Err(Invalid::new(
                self.path,
                self.text,
                None,
                "there is no [[source]]: say where the people are".to_owned(),
            ));
        }
        let has_admin_key = organization.admin_key.is_some();
        let policy = self.policy(policy, Policy::default(), has_admin_key)?;
        let several = source.len() > 1;
        let mut sources: Vec<Source> = Vec::new();
        let mut presets = BTreeMap::new();
        for spanned in source {
            let span = spanned.span();
            let preset = spanned.get_ref().preset.as_ref();
            let preset = preset.map(|preset| preset.get_ref().clone());
            let mut spanned = spanned;
            let of_source = std::mem::take(&mut spanned.get_mut().policy);
            let of_source = self.policy(of_source, policy.clone(), has_admin_key)?;
            let source = self.source(spanned, several, of_source)?;
            if let Some(preset) = preset {
                presets.insert(source.name.clone(), preset);
            }
            if sources.iter().any(|other| other.name == source.name) {
                return self.refuse(span, format!("two sources have the name `{}`", source.name));
            }
            sources.push(source);
        }
        let mut groups = Vec::new();
        for spanned in group {
            if matches!(organization.provisioning, ProvisioningFile::Admin) {
                return self.refuse(
                    spanned.span(),
                    "groups are kept in a provisioning directory, and provisioning = \"admin\" has none: take [[group]] out, or set up provisioning = \"scim\"",
                );
            }
            groups.push(self.group(spanned, &sources, &presets)?);
        }
        let (schedule, zone) = match schedule {
            None => (Vec::new(), Tz::UTC),
            Some(schedule) => self.schedule(schedule)?,
        };
        let database =
            self.resolve(database.unwrap_or_else(|| "/var/lib/dirsyncd/dirsyncd.db".into()));
        Ok(Config {
            path: self.path.to_owned(),
            organization: self.organization(organization)?,
            daemon: self.daemon(daemon, &database)?,
            database,
            sources,
            groups,
            policy,
            guards: self.guards(guards, zone)?,
            apply: self.apply(apply)?,
            schedule,
            reconcile: self.reconcile(reconcile)?,
            journal: self.journal(journal)?,
            notify: self.notify(notify)?,
            log: self.log(log)?,
            telemetry: self.telemetry(telemetry)?,
            text: self.text.into(),
        })
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
        /// More than the calendar of times can be added to has no meaning here.
        const MOST: Duration = Duration::from_secs(1000 * 366 * 24 * 60 * 60);
        let duration = self.duration(text)?;
        if duration > MOST {
            return self.refuse(text.span(), "a duration is 1000 years at most");
        }
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
}

fn url(text: &str) -> Result<url::Url, String> {
    url::Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => {
            format!("`{text}` is no URL: put the scheme before it, such as https:// or ldaps://")
        }
        error => format!("`{text}` is no URL: {error}"),
    })
}

fn unknown(noun: &str, given: &str, known: &[&str]) -> String {
    let hint =
        nearest(given, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    format!(
        "unknown {noun} `{given}`{hint} (known here: {})",
        known.join(", ")
    )
}
