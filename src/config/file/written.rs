//! The file as it is written, before anything is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::value::Datetime;

use crate::config::{
    Change, Departure, Event, GroupDeparture, Guard, LogFormat, Per, Return, Rule, Unreadable,
    WithoutMail,
};
use crate::model::Scope;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) database: Option<PathBuf>,
    pub(super) organization: OrganizationFile,
    #[serde(default)]
    pub(super) source: Vec<Spanned<SourceFile>>,
    #[serde(default)]
    pub(super) group: Vec<Spanned<GroupFile>>,
    #[serde(default)]
    pub(super) policy: PolicyFile,
    #[serde(default)]
    pub(super) guards: GuardsFile,
    #[serde(default)]
    pub(super) apply: ApplyFile,
    #[serde(default)]
    pub(super) reconcile: ReconcileFile,
    #[serde(default)]
    pub(super) journal: JournalFile,
    pub(super) schedule: Option<Spanned<ScheduleFile>>,
    #[serde(default)]
    pub(super) daemon: DaemonFile,
    #[serde(default)]
    pub(super) notify: NotifyFile,
    #[serde(default)]
    pub(super) log: LogFile,
    #[serde(default)]
    pub(super) telemetry: TelemetryFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganizationFile {
    pub(super) id: Spanned<String>,
    #[serde(default)]
    pub(super) provisioning: ProvisioningFile,
    pub(super) directory: Option<Spanned<String>>,
    pub(super) api: Option<Spanned<String>>,
    pub(super) scim_key: Option<Spanned<SecretFile>>,
    pub(super) admin_key: Option<Spanned<SecretFile>>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) operation_timeout: Option<Spanned<String>>,
    pub(super) requests_per_second: Option<NonZeroU32>,
    pub(super) max_users: Option<u32>,
    pub(super) forecast_accounts: Option<u16>,
}

#[derive(Default)]
pub(super) struct SecretFile {
    pub(super) file: Option<PathBuf>,
    pub(super) env: Option<String>,
    pub(super) credential: Option<String>,
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
pub(super) enum ProvisioningFile {
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
pub(super) enum KindFile {
    Ldap,
    Ldif,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceFile {
    pub(super) name: Option<String>,
    #[serde(default = "ldap")]
    pub(super) kind: KindFile,
    pub(super) preset: Option<Spanned<String>>,
    pub(super) file: Option<Spanned<PathBuf>>,
    pub(super) url: Option<Spanned<OneOrMany>>,
    pub(super) discover: Option<Spanned<String>>,
    pub(super) dns_server: Option<Spanned<String>>,
    pub(super) plaintext: Option<Spanned<bool>>,
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    pub(super) client_certificate: Option<Spanned<PathBuf>>,
    pub(super) client_key: Option<Spanned<SecretFile>>,
    pub(super) bind: Option<Spanned<BindFile>>,
    pub(super) bind_dn: Option<Spanned<String>>,
    pub(super) password: Option<Spanned<SecretFile>>,
    pub(super) page_size: Option<Spanned<u32>>,
    pub(super) connect_timeout: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) follow_referrals: Option<Spanned<Vec<String>>>,
    pub(super) ignore_referrals: Option<Spanned<bool>>,
    pub(super) base: Spanned<OneOrMany>,
    pub(super) scope: Option<Scope>,
    pub(super) filter: Option<Spanned<OneOrMany>>,
    pub(super) members_of: Option<Spanned<OneOrMany>>,
    pub(super) exclude_base: Option<Spanned<OneOrMany>>,
    pub(super) exclude_members_of: Option<Spanned<OneOrMany>>,
    pub(super) include: Option<Spanned<String>>,
    pub(super) exclude: Option<Spanned<String>>,
    pub(super) key: Option<String>,
    pub(super) without_mail: Option<WithoutMail>,
    pub(super) incremental: Option<bool>,
    pub(super) full_every: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) mapping: BTreeMap<Spanned<String>, Spanned<Rule>>,
    #[serde(default)]
    pub(super) policy: PolicyFile,
}

fn ldap() -> KindFile {
    KindFile::Ldap
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupFile {
    pub(super) source: Option<Spanned<String>>,
    pub(super) base: Spanned<OneOrMany>,
    pub(super) scope: Option<Scope>,
    pub(super) filter: Option<Spanned<OneOrMany>>,
    pub(super) key: Option<Spanned<String>>,
    #[serde(rename = "match")]
    pub(super) pattern: Option<Spanned<String>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) name_attribute: Option<Spanned<String>>,
    pub(super) nested: Option<bool>,
    pub(super) on_leave: Option<GroupDeparture>,
    pub(super) adopt: Option<bool>,
    pub(super) exact: Option<bool>,
}

/// The ways to bind that do not show in another key.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum BindFile {
    External,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text in quotes or a list of them")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn texts(&self) -> &[String] {
        match self {
            OneOrMany::One(text) => std::slice::from_ref(text),
            OneOrMany::Many(texts) => texts,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) on_leave: Option<Departure>,
    pub(super) on_deleted: Option<Departure>,
    pub(super) on_moved_out: Option<Departure>,
    pub(super) on_unmatched: Option<Departure>,
    pub(super) on_ungrouped: Option<Departure>,
    pub(super) on_excluded: Option<Departure>,
    pub(super) on_rescoped: Option<Departure>,
    pub(super) on_disabled: Option<Departure>,
    pub(super) on_unreadable: Option<Unreadable>,
    pub(super) on_return: Option<Return>,
    pub(super) on_rename: Option<Change>,
    pub(super) on_email_change: Option<Change>,
    pub(super) on_source_change: Option<Change>,
    pub(super) deactivate_after: Option<Spanned<ConfirmationFile>>,
    pub(super) delete_after: Option<Spanned<TimeOrNeverFile>>,
    pub(super) adopt: Option<Spanned<AdoptFile>>,
    #[serde(rename = "match")]
    pub(super) match_by: Option<Spanned<Vec<OneOrMany>>>,
    pub(super) rehire_within: Option<Spanned<String>>,
    pub(super) recycle_after: Option<Spanned<String>>,
}

/// A duration, or how many pulls it takes, or both.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a duration in quotes or { pulls = N, time = \"…\" }"
)]
pub(super) enum ConfirmationFile {
    Time(String),
    Both(ConfirmationTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmationTable {
    pub(super) pulls: Option<u32>,
    pub(super) time: Option<String>,
}

/// A duration, or `false` for never.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a duration in quotes or false")]
pub(super) enum TimeOrNeverFile {
    Never(bool),
    Time(String),
}

/// `true`, `false` or `"unowned"`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"unowned\"")]
pub(super) enum AdoptFile {
    Switch(bool),
    Named(String),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuardsFile {
    pub(super) create: Option<Spanned<LimitsFile>>,
    pub(super) update: Option<Spanned<LimitsFile>>,
    pub(super) deactivate: Option<Spanned<LimitsFile>>,
    pub(super) delete: Option<Spanned<LimitsFile>>,
    pub(super) change_email: Option<Spanned<LimitsFile>>,
    pub(super) same_attribute: Option<Spanned<LimitsFile>>,
    pub(super) remove_members: Option<Spanned<LimitsFile>>,
    #[serde(default)]
    pub(super) protected: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) protected_groups: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) administrators: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) freeze: Vec<Spanned<FreezeFile>>,
    pub(super) hold_expiry: Option<Spanned<String>>,
}

/// One limit, or several that must all be kept.
pub(super) enum LimitsFile {
    One(LimitFile),
    Many(Vec<Spanned<LimitFile>>),
}

impl<'de> Deserialize<'de> for LimitsFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitsVisitor)
    }
}

struct LimitsVisitor;

/// Written by hand because an untagged enum would lose the places of what is in it.
impl<'de> Visitor<'de> for LimitsVisitor {
    type Value = LimitsFile;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a limit such as { always = 5, percent = 10 }, or a list of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LimitsFile, A::Error> {
        LimitFile::deserialize(de::value::MapAccessDeserializer::new(map)).map(LimitsFile::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<LimitsFile, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(LimitsFile::Many)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitFile {
    #[serde(default)]
    pub(super) always: u64,
    pub(super) percent: Option<f64>,
    pub(super) at_most: Option<u64>,
    #[serde(default)]
    pub(super) population: u64,
    #[serde(default)]
    pub(super) per: Per,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FreezeFile {
    pub(super) from: Option<Spanned<Datetime>>,
    pub(super) to: Option<Spanned<Datetime>>,
    pub(super) days: Option<Spanned<Vec<String>>>,
    pub(super) hours: Option<Spanned<String>>,
    pub(super) time_zone: Option<Spanned<String>>,
    pub(super) what: Option<Spanned<BTreeSet<Guard>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReconcileFile {
    #[serde(default)]
    pub(super) correct: Vec<Spanned<String>>,
    pub(super) limit: Option<Spanned<LimitFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleFile {
    pub(super) sync: Option<Spanned<JobFile>>,
    pub(super) full: Option<Spanned<JobFile>>,
    pub(super) reconcile: Option<Spanned<JobFile>>,
    pub(super) prune: Option<Spanned<JobFile>>,
    pub(super) time_zone: Option<Spanned<String>>,
    pub(super) jitter: Option<Spanned<String>>,
    pub(super) at_start: Option<bool>,
    pub(super) catch_up: Option<bool>,
}

/// A job's times; what is not set is as in the whole of `[schedule]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobTableFile {
    pub(super) cron: Spanned<String>,
    pub(super) time_zone: Option<Spanned<String>>,
    pub(super) jitter: Option<Spanned<String>>,
    pub(super) at_start: Option<bool>,
    pub(super) catch_up: Option<bool>,
}

pub(super) enum JobFile {
    Cron(String),
    Table(JobTableFile),
}

impl<'de> Deserialize<'de> for JobFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JobVisitor)
    }
}

struct JobVisitor;

/// Written by hand because an untagged enum would lose the places of what is in it.
impl<'de> Visitor<'de> for JobVisitor {
    type Value = JobFile;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a cron expression, or { cron = \"…\", time_zone = \"…\", jitter = \"…\" }")
    }

    fn visit_str<E: de::Error>(self, cron: &str) -> Result<JobFile, E> {
        Ok(JobFile::Cron(cron.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<JobFile, A::Error> {
        JobTableFile::deserialize(de::value::MapAccessDeserializer::new(map)).map(JobFile::Table)
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DaemonFile {
    pub(super) hang_after: Option<Spanned<String>>,
    pub(super) socket: Option<Spanned<PathOrNoneFile>>,
    pub(super) listen: Option<Spanned<String>>,
    pub(super) token: Option<Spanned<SecretFile>>,
}

/// A path, or `false` for none.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a path in quotes or false")]
pub(super) enum PathOrNoneFile {
    None(bool),
    Path(PathBuf),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyFile {
    pub(super) quarantine_after: Option<Spanned<u32>>,
    pub(super) max_calls: Option<Spanned<u64>>,
    pub(super) deadline: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalFile {
    pub(super) keep: Option<Spanned<TimeOrNeverFile>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFile {
    pub(super) level: Option<Spanned<String>>,
    pub(super) format: Option<LogFormat>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TelemetryFile {
    pub(super) otlp: Option<Spanned<String>>,
    pub(super) plaintext: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyFile {
    pub(super) by_hand: Option<bool>,
    pub(super) at_most: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) webhook: Vec<Spanned<WebhookFile>>,
    #[serde(default)]
    pub(super) slack: Vec<Spanned<SlackFile>>,
    #[serde(default)]
    pub(super) email: Vec<Spanned<EmailFile>>,
}

/// What every channel has.
pub(super) struct ChannelFile {
    pub(super) name: Option<Spanned<String>>,
    pub(super) events: Option<Vec<Event>>,
    pub(super) people: Option<bool>,
    pub(super) subject: Option<Spanned<String>>,
    pub(super) text: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) ca_file: Option<PathBuf>,
}

/// A channel's table: its own keys, and those that every channel has. Written out, as serde's `flatten`
/// loses the places and refuses no unknown key.
macro_rules! channel_file {
    ($file:ident { $($key:ident: $kind:ty),* }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $file {
            $(pub(super) $key: $kind,)*
            name: Option<Spanned<String>>,
            events: Option<Vec<Event>>,
            people: Option<bool>,
            subject: Option<Spanned<String>>,
            text: Option<Spanned<String>>,
            timeout: Option<Spanned<String>>,
            ca_file: Option<PathBuf>,
        }

        impl $file {
            /// Takes out what every channel has.
            pub(super) fn rest(&mut self) -> ChannelFile {
                ChannelFile {
                    name: self.name.take(),
                    events: self.events.take(),
                    people: self.people,
                    subject: self.subject.take(),
                    text: self.text.take(),
                    timeout: self.timeout.take(),
                    ca_file: self.ca_file.take(),
                }
            }
        }
    };
}

channel_file!(WebhookFile {
    url: Spanned<String>,
    secret: Spanned<SecretFile>,
    plaintext: Option<bool>
});

channel_file!(SlackFile {
    secret_url: Spanned<SecretFile>
});

channel_file!(EmailFile {
    url: Spanned<String>,
    plaintext: Option<bool>,
    user: Option<Spanned<String>>,
    password: Option<Spanned<SecretFile>>,
    from: Spanned<String>,
    to: Spanned<OneOrMany>
});
