//! The file as it is written, before anything is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::config::spanned::Spanned;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::value::Datetime;

use crate::config::{
    Change, Departure, Event, GroupDeparture, Guard, LogFormat, Per, Return, Rule, Unreadable,
    WithoutMail,
};
use crate::model::Scope;

/// The configuration of dirsyncd. Relative paths are relative to the folder of this file.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The SQLite database with the snapshot of the accounts and the journal. Default: `/var/lib/dirsyncd/dirsyncd.db`.
    pub(super) database: Option<PathBuf>,
    /// The organization whose accounts are kept.
    pub(super) organization: OrganizationFile,
    /// Where the people are. There may be several sources, each with a `name`; a person who is in more than one is
    /// taken from the first.
    #[serde(default)]
    pub(super) source: Vec<Spanned<SourceFile>>,
    /// Groups of the directory that become groups of the organization, with those of its people who have an account.
    /// There may be several rules; a group is the first one's that finds it and whose `match` fits.
    #[serde(default)]
    pub(super) group: Vec<Spanned<GroupFile>>,
    /// What happens to accounts.
    #[serde(default)]
    pub(super) policy: PolicyFile,
    /// What one run may do without being asked. What is more than a limit allows is held, under a name, and the rest
    /// goes on.
    #[serde(default)]
    pub(super) guards: GuardsFile,
    /// How a run carries its plan out.
    #[serde(default)]
    pub(super) apply: ApplyFile,
    /// What somebody has changed in the organization by hand, as `dirsyncd reconcile` reads it back.
    #[serde(default)]
    pub(super) reconcile: ReconcileFile,
    /// The journal of runs and operations in the database.
    #[serde(default)]
    pub(super) journal: JournalFile,
    /// When `dirsyncd run` does what.
    pub(super) schedule: Option<Spanned<ScheduleFile>>,
    /// The daemon, and where it is asked.
    #[serde(default)]
    pub(super) daemon: DaemonFile,
    /// Who is told what goes on.
    #[serde(default)]
    pub(super) notify: NotifyFile,
    /// What is logged, and how.
    #[serde(default)]
    pub(super) log: LogFile,
    /// Where traces go.
    #[serde(default)]
    pub(super) telemetry: TelemetryFile,
}

/// The organization, and how its API is spoken to.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrganizationFile {
    /// The organization's id: in the address bar of its administration, `admin.atlassian.com/o/ID`.
    pub(super) id: Spanned<String>,
    /// How accounts are made: `scim`, into a provisioning directory, or `admin`, by invitation and user management with
    /// the `admin_key` alone (no `directory` and `scim_key` then), which knows fewer attributes and finds accounts by
    /// their e-mail address only. Default: `scim`.
    #[serde(default)]
    pub(super) provisioning: ProvisioningFile,
    /// The id of the provisioning directory: the last part of the "SCIM base URL".
    pub(super) directory: Option<Spanned<String>>,
    /// The root of the API; `dirsyncd simulate` prints the one of the simulator. Default: `https://api.atlassian.com`.
    pub(super) api: Option<Spanned<String>>,
    /// The key that was shown together with that URL.
    pub(super) scim_key: Option<Spanned<SecretFile>>,
    /// The organization's admin API key (without scopes): needed for `delete_after`; with it dirsyncd also knows the
    /// verified domains, and skips people outside them.
    pub(super) admin_key: Option<Spanned<SecretFile>>,
    /// A CA bundle (PEM) to trust for the API instead of the system's.
    pub(super) ca_file: Option<PathBuf>,
    /// The longest that one request may take. Default: `30s`.
    pub(super) timeout: Option<Spanned<String>>,
    /// The longest that one operation may take, with its repeated requests and the waits between. Default: `5m`.
    pub(super) operation_timeout: Option<Spanned<String>>,
    /// The most requests a second to each of its APIs. Not set: as fast as the API's own headers let.
    pub(super) requests_per_second: Option<NonZeroU32>,
    /// The most users that the provisioning directory takes: accounts beyond are refused before they are sent. Default:
    /// 1000000.
    pub(super) max_users: Option<u32>,
    /// For how many accounts, and for how many new addresses, a plan asks the organization beforehand what it would
    /// refuse (needs the `admin_key`); how many were not looked at is told. Default: 200.
    pub(super) forecast_accounts: Option<u16>,
}

/// Where a secret is; none stands in the configuration. One of the three.
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[derive(Default)]
pub(super) struct SecretFile {
    /// A file with the secret in its only line, open to its owner alone.
    pub(super) file: Option<PathBuf>,
    /// An environment variable.
    pub(super) env: Option<String>,
    /// A systemd credential (`LoadCredential=NAME:PATH`); the unit takes `scim-key`, `admin-key` and `ldap-password`
    /// from `/etc/dirsyncd/credentials/`.
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

#[cfg_attr(test, derive(schemars::JsonSchema))]
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

#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindFile {
    Ldap,
    Ldif,
}

/// Where people are: an LDAP server or a file.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceFile {
    /// The name of the source; needed where there are several. Default: `directory`.
    pub(super) name: Option<String>,
    /// `ldap`: a server; `ldif`: a file. Default: `ldap`.
    #[serde(default = "ldap")]
    pub(super) kind: KindFile,
    /// Brings filter, key and mapping, and the filter for groups: `openldap`, `active-directory`, `389ds` or `freeipa`.
    /// Whatever is set beside goes before it.
    pub(super) preset: Option<Spanned<String>>,
    /// With `kind = "ldif"`: the file, as `slapcat` or `ldapsearch -LLL` writes it.
    pub(super) file: Option<Spanned<PathBuf>>,
    /// `ldaps://HOST[:636]`, or `ldap://HOST[:389]`, which always uses StartTLS, or the socket of a server on this
    /// machine, `ldapi://%2Frun%2Fldapi`. In a list of them each is asked only when those before it cannot be reached
    /// or say that they are busy.
    pub(super) url: Option<Spanned<OneOrMany>>,
    /// Instead of `url`: the SRV records by which DNS names the servers, `_ldaps._tcp.DOMAIN`, or `_ldap._tcp.DOMAIN`
    /// for StartTLS. As whoever answers for DNS can name other servers, better set `ca_file` to a CA of your own.
    pub(super) discover: Option<Spanned<String>>,
    /// The DNS server for `discover`, `ADDRESS:PORT`. Not set: the system's.
    pub(super) dns_server: Option<Spanned<String>>,
    /// `true`: `ldap://` goes without StartTLS, and entries and password cross the network readable. Default: `false`.
    pub(super) plaintext: Option<Spanned<bool>>,
    /// A CA bundle (PEM) to trust for the server instead of the system's.
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    /// A certificate (PEM, with those that lead to its CA) to show to the server in TLS.
    pub(super) client_certificate: Option<Spanned<PathBuf>>,
    /// Its key (PEM, not encrypted).
    pub(super) client_key: Option<Spanned<SecretFile>>,
    /// Instead of `bind_dn` and `password`: `external` (SASL EXTERNAL), where the server knows who binds by the client
    /// certificate or, with `ldapi://`, by the Unix user.
    pub(super) bind: Option<Spanned<BindFile>>,
    /// Who binds. The DN needs to read all people without a size limit. Without it and `password`: anonymous.
    pub(super) bind_dn: Option<Spanned<String>>,
    /// The password of the bind.
    pub(super) password: Option<Spanned<SecretFile>>,
    /// Entries a page. Default: 1000.
    pub(super) page_size: Option<Spanned<u32>>,
    /// The longest that connection, TLS and bind may take together, for each server; and the longest wait for DNS to
    /// name them. Default: `10s`.
    pub(super) connect_timeout: Option<Spanned<String>>,
    /// The longest wait for each message after that. Default: `30s`.
    pub(super) timeout: Option<Spanned<String>>,
    /// Parts of the tree that the server refers to other servers are read there when the host is one of these (`HOST`
    /// or `HOST:PORT`), with the same bind and TLS. The source is then read in full each time. Default: none.
    pub(super) follow_referrals: Option<Spanned<Vec<String>>>,
    /// `true`: the other parts are left out knowingly. If they are not, nobody is taken for a leaver while there are
    /// any; a base at the root of an AD domain always has some (DomainDnsZones, …). Default: `false`.
    pub(super) ignore_referrals: Option<Spanned<bool>>,
    /// One search base or a list of them.
    pub(super) base: Spanned<OneOrMany>,
    /// How far a search reaches below its base: `base`, `one` or `subtree`. Default: `subtree`.
    pub(super) scope: Option<Scope>,
    /// One filter, or a list of which any may find a person. Not set: the preset's.
    pub(super) filter: Option<Spanned<OneOrMany>>,
    /// One group or a list of them: only their members, directly or through groups in them, are people of this source.
    /// Kinds of groups: groupOfNames, groupOfUniqueNames, posixGroup, Active Directory's, and groupOfURLs where the
    /// server expands it.
    pub(super) members_of: Option<Spanned<OneOrMany>>,
    /// One DN or a list of them: who is below is left out. No account is made for whom is left out, and who has one
    /// counts as gone.
    pub(super) exclude_base: Option<Spanned<OneOrMany>>,
    /// One group or a list of them, whose members are left out.
    pub(super) exclude_members_of: Option<Spanned<OneOrMany>>,
    /// A CEL expression; who does not fulfil it is left out. Of whom an expression fails is not left out, but told as a
    /// problem.
    pub(super) include: Option<Spanned<String>>,
    /// A CEL expression; who fulfils it is left out.
    pub(super) exclude: Option<Spanned<String>>,
    /// The attribute that never changes: it tells a rename from a leaver and a joiner. Do not change it once accounts
    /// exist. Not set: the preset's.
    pub(super) key: Option<String>,
    /// A person without an address can have no account: `refuse` tells it as a problem (exit code 3), `skip` passes
    /// over it. Default: `refuse`.
    pub(super) without_mail: Option<WithoutMail>,
    /// After the first pull only what changed is asked for. Not set: where the server also tells who is gone, that is
    /// OpenLDAP (overlay syncprov, key `entryUUID`), 389 Directory Server (plug-ins Retro Changelog and Content
    /// Synchronization, key `nsUniqueId`) and Active Directory (key `objectGUID`, and the bind DN may read `CN=Deleted
    /// Objects`). `true`: also where it tells only who has changed; who has left is then seen by the full pulls.
    /// `false`: every pull reads everything.
    pub(super) incremental: Option<bool>,
    /// How often everything is read all the same, which checks the pulls in between. Default: `1day`.
    pub(super) full_every: Option<Spanned<String>>,
    /// What each attribute of an account is made from, on top of the preset: see below.
    #[serde(default)]
    pub(super) mapping: BTreeMap<Spanned<String>, Spanned<Rule>>,
    /// What differs for this source from `[policy]`, with the same keys.
    #[serde(default)]
    pub(super) policy: PolicyFile,
}

fn ldap() -> KindFile {
    KindFile::Ldap
}

/// Which LDAP groups become groups of the organization. It knows no groups in groups, and cannot rename any: a renamed
/// group is made anew, gets the members, and the old one is deleted.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupFile {
    /// The name of the source; not needed where there is one. People are found in groups by its `key`, also those of
    /// other sources on the same server.
    pub(super) source: Option<Spanned<String>>,
    /// One search base or a list of them.
    pub(super) base: Spanned<OneOrMany>,
    /// How far a search reaches below its base: `base`, `one` or `subtree`. Default: `subtree`.
    pub(super) scope: Option<Scope>,
    /// One filter or a list; not set, the kinds of groups that the preset of the source knows.
    pub(super) filter: Option<Spanned<OneOrMany>>,
    /// The attribute that never changes; not set, that of the source.
    pub(super) key: Option<Spanned<String>>,
    /// A regular expression that the name has to match as a whole, such as `atlassian-(?<team>.+)`. Not set: any name.
    #[serde(rename = "match")]
    pub(super) pattern: Option<Spanned<String>>,
    /// The name in the organization: `$0` is the whole name, `$1` or `${team}` what `match` captured. Where several
    /// groups come to one name, its members are those of all of them. After an edit of a rule its groups keep their
    /// names, and nobody leaves a group that several lead to, without `--accept-scope-change`. Default: `$0`.
    pub(super) name: Option<Spanned<String>>,
    /// The attribute with the group's name. Default: `cn`.
    pub(super) name_attribute: Option<Spanned<String>>,
    /// Members of groups in it are members too; `false`: only those whom it names itself. Default: `true`.
    pub(super) nested: Option<bool>,
    /// What becomes of the organization's group when the directory's is gone: `keep`, `empty` (our people leave it) or
    /// `delete`. Default: `keep`.
    pub(super) on_leave: Option<GroupDeparture>,
    /// Take over a group that the organization has: not set, one with the same externalId; `true`, also one with the
    /// same name; `false`, none.
    pub(super) adopt: Option<bool>,
    /// Members in the organization who are none of the accounts kept here are left alone; `true`: they are taken out.
    /// Default: `false`.
    pub(super) exact: Option<bool>,
}

/// The ways to bind that do not show in another key.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum BindFile {
    External,
}

#[cfg_attr(test, derive(schemars::JsonSchema))]
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

/// What happens to accounts.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    /// What becomes of the account of a person who is no longer in scope, for all causes that are not set by
    /// themselves: `deactivate` (no login, everything is kept) or `keep`. Default: `deactivate`.
    pub(super) on_leave: Option<Departure>,
    /// What becomes of the account of a person whose entry is gone: `deactivate` or `keep`. Not set: as `on_leave`.
    pub(super) on_deleted: Option<Departure>,
    /// What becomes of the account of a person whose entry is outside the bases: `deactivate` or `keep`. Not set: as
    /// `on_leave`.
    pub(super) on_moved_out: Option<Departure>,
    /// What becomes of the account of a person who is no longer found by the filter: `deactivate` or `keep`. Not set:
    /// as `on_leave`.
    pub(super) on_unmatched: Option<Departure>,
    /// What becomes of the account of a person who is in none of the `members_of`: `deactivate` or `keep`. Not set: as
    /// `on_leave`.
    pub(super) on_ungrouped: Option<Departure>,
    /// What becomes of the account of a person who is left out by a rule: `deactivate` or `keep`. Not set: as
    /// `on_leave`.
    pub(super) on_excluded: Option<Departure>,
    /// What becomes of the account of a person who is out of scope because the configuration was edited, which is no
    /// departure in any case without `--accept-scope-change`: `deactivate` or `keep`. Not set: as `on_leave`.
    pub(super) on_rescoped: Option<Departure>,
    /// What becomes of the account of a person whom the directory disables: `deactivate` or `keep`. Default:
    /// `deactivate`.
    pub(super) on_disabled: Option<Departure>,
    /// An entry that is there and cannot be read, so that nothing is known of the person: `refuse` tells it as a
    /// problem (exit code 3), `skip` passes over it. The account is kept. Default: `refuse`.
    pub(super) on_unreadable: Option<Unreadable>,
    /// A person who is back: `restore` the login, or `keep` it off until somebody turns it on. A requested deletion is
    /// cancelled in any case. Default: `restore`.
    pub(super) on_return: Option<Return>,
    /// Whether the names of an account follow the person's: `follow` or `keep`. Default: `follow`.
    pub(super) on_rename: Option<Change>,
    /// Whether the e-mail address (with a login that is the same) follows the person's: `follow` or `keep`. Default:
    /// `follow`.
    pub(super) on_email_change: Option<Change>,
    /// Whether the source of an account follows the person's: `follow` or `keep`. Default: `follow`.
    pub(super) on_source_change: Option<Change>,
    /// How an absence is confirmed before the account is deactivated: in so many complete pulls, and for so long, as `{
    /// pulls = 2, time = "6h" }`; `"6h"` alone is a time. Not set: the first complete pull is enough.
    pub(super) deactivate_after: Option<Spanned<ConfirmationFile>>,
    /// So long after leaving, the account is deleted for good (needs `admin_key`). Not set, or `false`: never.
    pub(super) delete_after: Option<Spanned<TimeOrNeverFile>>,
    /// Take over accounts that the organization already has: `true`, `"unowned"` (only those without another
    /// provisioner's key), or `false`. Default: `true`.
    pub(super) adopt: Option<Spanned<AdoptFile>>,
    /// How an account is recognized as a newcomer's, after the key: rule by rule, each only where those before it find
    /// nothing; a list in the list is a rule by which all of these must be equal. Default: `["email", "userName"]`.
    #[serde(rename = "match")]
    pub(super) match_by: Option<Spanned<Vec<OneOrMany>>>,
    /// An entry that was made anew (another key) is the same person's by the same employee number; or by the same
    /// e-mail address, if the old entry has been gone for less than this. Of an entry that may not log in, the address
    /// must be the same in any case. Default: `30days`.
    pub(super) rehire_within: Option<Spanned<String>>,
    /// So long after a person has left, the address may be another's; the old account gets a made-up one then. Not set:
    /// never.
    pub(super) recycle_after: Option<Spanned<String>>,
}

/// What `humantime` takes for a duration.
#[cfg(test)]
pub(super) const DURATION: &str = r"^(0|\s*(\d[\d\s]*(\.[\d\s]+)?(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w|months?|M|years?|yrs?|y)\s*)+)$";

/// A duration, or how many pulls it takes, or both.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a duration in quotes or { pulls = N, time = \"…\" }"
)]
pub(super) enum ConfirmationFile {
    #[cfg_attr(test, schemars(extend("pattern" = DURATION)))]
    Time(String),
    Both(ConfirmationTable),
}

/// How an absence is confirmed: by all that is given.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmationTable {
    /// In so many complete pulls.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub(super) pulls: Option<u32>,
    /// For so long.
    #[cfg_attr(test, schemars(extend("pattern" = DURATION)))]
    pub(super) time: Option<String>,
}

/// A duration, or `false` for never.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a duration in quotes or false")]
pub(super) enum TimeOrNeverFile {
    #[cfg_attr(test, schemars(extend("const" = false)))]
    Never(bool),
    #[cfg_attr(test, schemars(extend("pattern" = DURATION)))]
    Time(String),
}

/// `true`, `false` or `"unowned"`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"unowned\"")]
pub(super) enum AdoptFile {
    Switch(bool),
    #[cfg_attr(test, schemars(extend("const" = "unowned")))]
    Named(String),
}

/// What one run may do without being asked. A limit allows up to `always` in any case, and beyond it at most `percent`
/// of the accounts and `at_most` in number. Several limits in a list must all be kept; an empty list is none.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuardsFile {
    /// New accounts. Default: `{ always = 100, percent = 100, population = 50 }`.
    pub(super) create: Option<Spanned<LimitsFile>>,
    /// Accounts with changed attributes. Default: `{ always = 20, percent = 40 }`.
    pub(super) update: Option<Spanned<LimitsFile>>,
    /// Logins turned off. Default: `[{ always = 5, percent = 10 }, { always = 5, percent = 20, per = "source" }]`.
    pub(super) deactivate: Option<Spanned<LimitsFile>>,
    /// Accounts deleted for good. Default: `{ always = 3, percent = 2 }`.
    pub(super) delete: Option<Spanned<LimitsFile>>,
    /// Changed e-mail addresses and user names. Default: `{ always = 5, percent = 10 }`.
    pub(super) change_email: Option<Spanned<LimitsFile>>,
    /// Accounts in which one and the same attribute changes, each attribute by itself. Default: `{ always = 20, percent
    /// = 25 }`.
    pub(super) same_attribute: Option<Spanned<LimitsFile>>,
    /// Members taken out of groups: per `whole`, or in each `group` by itself, against its members. Default: `[{ always
    /// = 20, percent = 20 }, { always = 10, percent = 50, per = "group" }]`.
    pub(super) remove_members: Option<Spanned<LimitsFile>>,
    /// Accounts, by key, e-mail address or user name, whose deactivation, deletion, change of e-mail or user name and
    /// adoption are held whatever the numbers. Default: none.
    #[serde(default)]
    pub(super) protected: Vec<Spanned<String>>,
    /// Groups of the organization, where `*` stands for any characters: what is done to them is held, and the departure
    /// of a member. With `admin_key` these are the groups of all directories, without it those of the provisioning
    /// directory. Default: none.
    #[serde(default)]
    pub(super) protected_groups: Vec<Spanned<String>>,
    /// Groups of the organization whose last active member is neither deactivated nor deleted, nor taken out; nor are
    /// they renamed or deleted. Default: none.
    #[serde(default)]
    pub(super) administrators: Vec<Spanned<String>>,
    /// Windows in which operations are held; there may be several.
    #[serde(default)]
    pub(super) freeze: Vec<Spanned<FreezeFile>>,
    /// So long after a hold was opened it can be approved, and an approval is good. What is held still is then a new
    /// hold, to be looked at anew. Default: `7days`.
    pub(super) hold_expiry: Option<Spanned<String>>,
}

/// One limit, or several that must all be kept.
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(untagged))]
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

/// How much is allowed.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitFile {
    /// Up to so many are allowed in any case. Default: 0.
    #[serde(default)]
    pub(super) always: u64,
    /// Beyond, at most so many percent of the accounts.
    pub(super) percent: Option<f64>,
    /// Beyond, at most so many.
    pub(super) at_most: Option<u64>,
    /// With fewer accounts than this, `percent` does not apply. Default: 0.
    #[serde(default)]
    pub(super) population: u64,
    /// What is counted by itself: `whole`, each `source`, `ou` (the entry right above), `domain` (of the e-mail
    /// address) or, of `remove_members`, `group`. Default: `whole`.
    #[serde(default)]
    pub(super) per: Per,
}

/// A window in which operations are held: once, by `from` and `to`, or every week, by `days` and `hours`, of which one
/// may be left out.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FreezeFile {
    /// Its beginning, in local time.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) from: Option<Spanned<Datetime>>,
    /// Its end, in local time.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) to: Option<Spanned<Datetime>>,
    /// On these days of every week: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
    pub(super) days: Option<Spanned<Vec<String>>>,
    /// Between these hours, as `18:00-08:00`: into the next day where the end is not later.
    pub(super) hours: Option<Spanned<String>>,
    /// The time zone. Not set: the one of `[schedule]`.
    pub(super) time_zone: Option<Spanned<String>>,
    /// The kinds that are held: `create`, `update`, `deactivate`, `delete`, `change_email`, `remove_members`. Not set:
    /// everything but what cancels a deletion.
    pub(super) what: Option<Spanned<BTreeSet<Guard>>>,
}

/// What of hand changes in the organization is corrected.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReconcileFile {
    /// What the snapshot takes over, so that the next sync corrects it by policies and guards, and what is only told
    /// otherwise: `changed` values, logins that were `deactivated` or `activated`, accounts that were `deleted`.
    /// `--correct` goes before it. Groups are read anew by every sync anyway. Default: none.
    #[serde(default)]
    pub(super) correct: Vec<Spanned<String>>,
    /// If more accounts are missing than this, that is taken for a fault, and nothing is changed; of any other kind
    /// that is more, nothing is taken over. As in `[guards]`. Default: `{ always = 5, percent = 10 }`.
    pub(super) limit: Option<Spanned<LimitFile>>,
}

/// When `dirsyncd run` does what: crontab's five fields (or six, with seconds first; weekday: 0 and 7 are Sunday), or a
/// table. A day of the month and a weekday given together must both fit. When the clocks are put forward, what would
/// come in the hour that is left out comes as much later; when they are put back, given hours count once, and `*` goes
/// on. One job is at work at a time; what has come due meanwhile, or while the machine slept, is done once after it.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleFile {
    /// When it syncs.
    pub(super) sync: Option<Spanned<JobFile>>,
    /// A sync that reads every source in full, also where what changed would do. Not set: never.
    pub(super) full: Option<Spanned<JobFile>>,
    /// When it reconciles. Not set: never.
    pub(super) reconcile: Option<Spanned<JobFile>>,
    /// When all that is old is taken out of the journal; syncs do a part of it once a day in any case. Not set: never.
    pub(super) prune: Option<Spanned<JobFile>>,
    /// The time zone. Default: `UTC`.
    pub(super) time_zone: Option<Spanned<String>>,
    /// Up to so much later, by chance, so that not all daemons ask at once. Default: `0s`.
    pub(super) jitter: Option<Spanned<String>>,
    /// Whether it is all done when the daemon starts too. Default: `false`.
    pub(super) at_start: Option<bool>,
    /// Whether what a daemon has missed that was down is done once when it starts. Default: `true`.
    pub(super) catch_up: Option<bool>,
}

/// A job's times; what is not set is as in the whole of `[schedule]`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobTableFile {
    /// When: crontab's fields.
    pub(super) cron: Spanned<String>,
    /// The time zone of this job. Not set: that of `[schedule]`.
    pub(super) time_zone: Option<Spanned<String>>,
    /// Up to so much later, by chance. Not set: that of `[schedule]`.
    pub(super) jitter: Option<Spanned<String>>,
    /// Whether it is done when the daemon starts too. Not set: as in `[schedule]`.
    pub(super) at_start: Option<bool>,
    /// Whether a missed one is done when the daemon starts. Not set: as in `[schedule]`.
    pub(super) catch_up: Option<bool>,
}

#[cfg_attr(test, derive(schemars::JsonSchema), schemars(untagged))]
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

/// The daemon, and where it is asked.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DaemonFile {
    /// After so long without an entry read, an answer of the API or an operation ended, a job that is at work is taken
    /// to hang: systemd's watchdog is told no more, and restarts the daemon. Default: `15m`.
    pub(super) hang_after: Option<Spanned<String>>,
    /// The socket on which `dirsyncd status`, `pause`, `resume`, `plan --daemon` and `sync --daemon` ask the daemon;
    /// only root and the daemon's own user are answered. A lock is beside it. Not set: beside the database; `false`:
    /// none, and these cannot ask.
    pub(super) socket: Option<Spanned<PathOrNoneFile>>,
    /// A port for the same, on a loopback address only, for whoever has the token. While the port is another program's,
    /// the daemon goes on with the socket. Not set: none.
    pub(super) listen: Option<Spanned<String>>,
    /// The token: 16 octets or more, as by `openssl rand -hex 32`. It is read each time that somebody asks.
    pub(super) token: Option<Spanned<SecretFile>>,
}

/// A path, or `false` for none.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a path in quotes or false")]
pub(super) enum PathOrNoneFile {
    #[cfg_attr(test, schemars(extend("const" = false)))]
    None(bool),
    Path(PathBuf),
}

/// How a run carries its plan out: deactivations first, then e-mail addresses and logins, new accounts, deletions,
/// members of groups, and the other attributes last.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyFile {
    /// What fails for one person or group is tried again later, if the organization has refused it or other writes of
    /// the run have succeeded: 10 minutes after the first time, then after twice as long each time, up to a day; after
    /// so many failures in a row not any more, until the directory wants something else or somebody says
    /// `dirsyncd retry KEY`. Deactivations, and the cancelling of
    /// deletions, are never given up: they are tried again after 1 minute, and up to 10. Default: 5.
    pub(super) quarantine_after: Option<Spanned<u32>>,
    /// The most requests by which one run carries its plan out, by what the dry run foretells; the rest is left for the
    /// next run. A run does at least its first operation, and ends what it has begun though requests had to be repeated.
    /// 8 or more; not set: any number.
    pub(super) max_calls: Option<Spanned<u64>>,
    /// So long after its beginning, with all that is read before, a run sends nothing more, and leaves the rest for the
    /// next one. A run sends at least its first operations. Not set: never.
    pub(super) deadline: Option<Spanned<String>>,
}

/// The journal of runs and operations in the database.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalFile {
    /// So long, 30 days or more, a run can be reverted. Of older ones there stays what is still needed: the last
    /// operations of everybody, what waits for an answer or was refused, what was reverted, and for good who approved
    /// what. Syncs take the rest out, once a day; `false`: everything is kept. Default: `400days`.
    pub(super) keep: Option<Spanned<TimeOrNeverFile>>,
}

/// What is logged, and how.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogFile {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,dirsyncd::org=debug`. Default: `info`.
    pub(super) level: Option<Spanned<String>>,
    /// `text`, `json`, or `journal`: entries of systemd's journal with fields of their own. Not set: the journal if
    /// standard error leads there, and text otherwise.
    pub(super) format: Option<LogFormat>,
}

/// Where traces go.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TelemetryFile {
    /// A collector that takes traces of what the daemon does, by OTLP over HTTP (`/v1/traces` is added): `https://`, or
    /// `http://` on this machine's loopback. They name jobs, sources and requests, and nobody. Headers that it wants
    /// stand in `OTEL_EXPORTER_OTLP_HEADERS` of the daemon's environment. Not set: none.
    pub(super) otlp: Option<Spanned<String>>,
    /// Whether traces may go to another machine by `http://`, where others on the way can read them. Default: no.
    pub(super) plaintext: Option<bool>,
}

/// Who is told what goes on: each matter when it begins, when more comes to it, and once a day as long as it goes on.
/// `dirsyncd check --notify` sends a test message through each channel.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyFile {
    /// Whether `dirsyncd sync` by hand tells too, and not the daemon alone. Default: `false`.
    pub(super) by_hand: Option<bool>,
    /// The most messages an hour to each channel; what is more is summed up in the last one. Default: 10.
    pub(super) at_most: Option<Spanned<u32>>,
    /// JSON (`docs/notification.schema.json`) with a signature as Standard Webhooks makes it. A message may come twice,
    /// with the same id. An answer 2xx takes it; 4xx refuses it for good, but for 401, 403, 404, 408, 425 and 429; all
    /// others are tried again for a day, from 30 s up to an hour apart. Redirects are not followed.
    #[serde(default)]
    pub(super) webhook: Vec<Spanned<WebhookFile>>,
    /// Slack, and what takes the same.
    #[serde(default)]
    pub(super) slack: Vec<Spanned<SlackFile>>,
    /// Mail.
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
    ($(#[$about:meta])* $file:ident { $($(#[$what:meta])* $key:ident: $kind:ty),* }) => {
        $(#[$about])*
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $file {
            $($(#[$what])* pub(super) $key: $kind,)*
            /// A name, where there are several of a kind. Default: the kind.
            name: Option<Spanned<String>>,
            /// What is told: `refusal`, that guards hold something or something is refused; `failure`, that a job or
            /// operations fail, or that the daemon hangs or does not start; `quarantine`, who is in it; `recovery`,
            /// what of this is over. Default: all of them.
            events: Option<Vec<Event>>,
            /// Whether names and addresses of people, and errors in full, go out; else counts, the run, and how to
            /// look. Default: `false`.
            people: Option<bool>,
            /// A template (minijinja), of these: headline, lines, summed_up, reminder, event, run, at, host,
            /// organization, look.
            subject: Option<Spanned<String>>,
            /// A template of the text, of the same.
            text: Option<Spanned<String>>,
            /// The longest that one message may take. Default: `10s`.
            timeout: Option<Spanned<String>>,
            /// A CA bundle (PEM) to trust instead of the system's.
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
    /// Where messages are sent: `https://`, or `http://` on this machine's loopback.
    url: Spanned<String>,
    /// The secret of the signature: `whsec_` and 24 to 64 octets in base64, as by `echo whsec_$(openssl rand -base64
    /// 32)`.
    secret: Spanned<SecretFile>,
    /// `true`: `http://` to other machines, where others can read the messages on their way. Default: `false`.
    plaintext: Option<bool>
});

channel_file!(SlackFile {
    /// The URL of an incoming webhook, which is a secret by itself.
    secret_url: Spanned<SecretFile>
});

channel_file!(EmailFile {
    /// `smtps://HOST[:465]`, or `smtp://HOST[:587]`, which always uses STARTTLS (on this machine's loopback where the
    /// server has it, and with `plaintext = true` never).
    url: Spanned<String>,
    /// `true`: `smtp://` without TLS. Default: `false`.
    plaintext: Option<bool>,
    /// Who logs in to the server.
    user: Option<Spanned<String>>,
    /// The password of that user.
    password: Option<Spanned<SecretFile>>,
    /// The sender.
    from: Spanned<String>,
    /// One recipient or a list of them.
    to: Spanned<OneOrMany>
});
