//! `dirsyncd check`: each thing that a run needs, checked and told.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;

use super::{ConfigArgument, Exit, Failure, load, print, start_log};
use crate::config::{
    Channel, Config, GroupRule, Incremental, LogFormat, MappingTarget, Provisioning, SecretRef,
    Source, SourceKind, credentials_folder,
};
use crate::directory::{self, Full, Request, Selection};
use crate::mapping::{GroupMapping, Mapping, NotMapped};
use crate::model::Complete;
use crate::notify;
use crate::org::{ApiError, Reader};
use crate::report::message;
use crate::snapshot::{self, Snapshot, SnapshotError};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Send a test message through each channel of [notify]; one that does not arrive is a failed check
    #[arg(long)]
    notify: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    let mut report = Report { failed: 0 };
    let config = &setup.config;
    report.tell(
        "configuration",
        Ok::<_, String>(config.path.display().to_string()),
    );
    if config
        .secrets()
        .any(|secret| matches!(secret, SecretRef::Credential(_)))
    {
        let folder = credentials_folder().display().to_string();
        report.tell("credentials", Ok::<_, String>(format!("from {folder}")));
    }
    // Nothing of a file that others could have changed is believed, so that the rest can wait.
    open_files(config, &mut report);
    if report.failed > 0 {
        return Ok(report.end());
    }
    report.tell("database", database(config).await);
    for (source, mapping) in setup.sources() {
        let name = format!("source `{}`", source.name);
        match directory::probe(source).await {
            Ok(Some(info)) => {
                let vendor = if info.vendor.is_empty() {
                    "the server"
                } else {
                    &info.vendor
                };
                let contexts = info.contexts.join(", ");
                report.tell(
                    &name,
                    Ok::<_, String>(format!("bound to {vendor} at {} ({contexts})", info.url)),
                );
            }
            Ok(None) => {}
            Err(error) => {
                report.tell(&name, Err::<String, _>(error));
                continue;
            }
        }
        let selection = match directory::select(source).await {
            Ok(selection) => selection,
            Err(error) => {
                report.tell(&name, Err::<String, _>(error));
                continue;
            }
        };
        for membership in selection.iter().flat_map(Selection::memberships) {
            let group = format!("group `{}`", membership.group);
            report.tell(&group, Ok::<_, String>(membership.to_string()));
        }
        let found = search(source, selection.as_ref(), mapping).await;
        report.tell(&name, found);
    }
    for (rule, mapping) in setup.groups() {
        let mut sources = config.sources.iter();
        if let Some(source) = sources.find(|source| source.name == rule.source) {
            let name = format!("groups below {}", rule.place());
            report.tell(&name, groups(source, rule, mapping).await);
        }
    }
    match Reader::new(&config.organization) {
        Err(error) => report.tell("API keys", Err::<String, _>(error)),
        Ok(reader) => {
            report.tell("provisioning API", provisioning(&reader).await);
            if let Some(limits) = limits_of_the_way(config) {
                print(&format!("note  provisioning: {limits}\n"));
            }
            if config.organization.admin_key.is_some() {
                report.tell("organization API", organization(&reader).await);
            }
        }
    }
    for channel in &config.notify.channels {
        let name = format!("channel `{}`", channel.name);
        let result = match arguments.notify {
            true => notify::test(config, channel, chrono::Utc::now()).await,
            false => channel_secrets(channel),
        };
        report.tell(&name, result);
    }
    if arguments.notify && config.notify.channels.is_empty() {
        report.tell(
            "channels",
            Err::<String, _>("[notify] has none, so nobody is told anything"),
        );
    }
    Ok(report.end())
}

/// Whether a channel's secrets can be read.
fn channel_secrets(channel: &Channel) -> Result<String, String> {
    for secret in channel.secrets() {
        secret.read().map_err(|error| error.to_string())?;
    }
    let events: Vec<&str> = channel.events.iter().map(|event| event.name()).collect();
    Ok(format!(
        "{} for {}; `dirsyncd check --notify` sends a test message",
        channel.kind(),
        events.join(", ")
    ))
}

/// Tells each file that others could read, change or replace.
fn open_files(config: &Config, report: &mut Report) {
    let open = config.open_files().into_iter();
    let open = open.chain(snapshot::open_files(&config.database));
    // Several files may lie in one folder.
    let open: BTreeSet<String> = open.map(|open| open.to_string()).collect();
    for open in open {
        report.tell("permissions", Err::<String, _>(open));
    }
}

struct Report {
    failed: usize,
}

impl Report {
    /// The last line.
    fn end(self) -> Exit {
        if self.failed > 0 {
            print(&format!("{} of the checks failed\n", self.failed));
            return Exit::Failed;
        }
        print("all is well; `dirsyncd plan` shows what a sync would do\n");
        Exit::Done
    }

    fn tell<E: std::fmt::Display>(&mut self, what: &str, result: Result<String, E>) {
        match result {
            Ok(found) => print(&format!("ok    {}\n", message(&format!("{what}: {found}")))),
            Err(error) => {
                self.failed += 1;
                print(&format!("FAIL  {}\n", message(&format!("{what}: {error}"))));
            }
        }
    }
}

async fn database(config: &Config) -> Result<String, String> {
    let path = &config.database;
    let in_words = |error: SnapshotError| error.to_string();
    let mut snapshot = Snapshot::open_for_reading(path).await.map_err(in_words)?;
    let population = snapshot.population().await;
    snapshot.close().await.map_err(in_words)?;
    let population = population.map_err(in_words)?;
    writable(path).map_err(|error| {
        let message = error.to_string();
        SnapshotError::ReadOnly {
            path: path.clone(),
            message,
        }
        .to_string()
    })?;
    Ok(format!(
        "{} managed accounts, {} of them active",
        population.all, population.active
    ))
}

/// Whether the database can be written, found out without writing to it.
fn writable(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        std::fs::OpenOptions::new().append(true).open(path)?;
    }
    // SQLite makes its journal beside the database.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map(|_| ())
}

async fn search(
    source: &Source,
    selection: Option<&Selection>,
    mapping: &Mapping,
) -> Result<String, String> {
    let (mut mapped, mut unmapped, mut excluded, mut first) = (0_u64, 0_u64, 0_u64, None);
    let untrackable = mapping.untrackable();
    let attributes = directory::wanted(mapping.attributes(), selection);
    let request = Request {
        source,
        selection,
        attributes: &attributes,
        incremental: match &untrackable {
            Some(_) => Incremental::Off,
            None => source.incremental,
        },
    };
    let now = chrono::Utc::now();
    let mut each = |entry| match mapping.map(&entry, now) {
        Ok(_) => mapped += 1,
        Err(NotMapped::Unmapped(problem)) => {
            unmapped += 1;
            first.get_or_insert(problem);
        }
        Err(NotMapped::Excluded(_)) => excluded += 1,
    };
    let pull = async { directory::start(request).await?.read(&mut each).await };
    let Full { end, cookie } = pull.await.map_err(|error| error.to_string())?;
    if end.entries == 0 {
        if selection.is_some() {
            return Err("the search finds no entry of a member of the groups: check `members_of`, `exclude_members_of`, base, scope and filter, and what the bind DN may read".to_owned());
        }
        return Err("the search finds no entry: check base, scope and filter, and what the bind DN may read".to_owned());
    }
    if end.entries == excluded {
        return Err("every entry that the search finds is excluded: check `include`, `exclude` and `exclude_base` (`dirsyncd map DN` shows what excludes an entry)".to_owned());
    }
    let mut text = format!("{} entries, {mapped} people can be mapped", end.entries);
    if let Some(problem) = first {
        text += &format!(
            ", {unmapped} cannot (the first: {}: {})",
            problem.dn, problem.problem
        );
    }
    if excluded > 0 {
        text += &format!(", {excluded} are excluded");
    }
    match Complete::attest(end) {
        Ok(_) => {}
        Err(incomplete) => text += &format!("; {incomplete}"),
    }
    match (&source.kind, cookie) {
        (SourceKind::Ldif(_), _) => {}
        (SourceKind::Ldap(_), _) if source.incremental == Incremental::Off => {}
        (SourceKind::Ldap(_), _) if untrackable.is_some() => {
            let why = untrackable.unwrap_or_default();
            text += &format!("; every pull reads all of it, as {why}");
        }
        (SourceKind::Ldap(_), Some(cookie)) => {
            text += &format!(
                "; later pulls ask for what changed, {}",
                directory::way(&cookie)
            )
        }
        (SourceKind::Ldap(server), None) if !server.follow_referrals.is_empty() => {
            text += "; every pull reads all of it, as references to other servers are followed"
        }
        (SourceKind::Ldap(_), None) => {
            text += "; every pull reads all of it, as the server does not show who is gone"
        }
    }
    if let SourceKind::Ldif(path) = &source.kind {
        text += &format!(" (file {})", path.display());
    }
    Ok(text)
}

async fn groups(
    source: &Source,
    rule: &GroupRule,
    mapping: &GroupMapping,
) -> Result<String, String> {
    let roster = directory::roster(source, rule, &|entry| mapping.person(entry)).await;
    roster.clean?;
    let (mut matched, mut members, mut problem) = (0_usize, 0, None);
    for group in &roster.groups {
        match mapping.map(&group.entry) {
            Ok(None) => continue,
            Ok(Some(_)) => {}
            Err(unmapped) => {
                problem.get_or_insert(format!("{}: {}", unmapped.dn, unmapped.why));
            }
        }
        if let Some(doubt) = group.doubts.first() {
            problem.get_or_insert(format!("{}: {doubt}", group.entry.dn()));
        }
        matched += 1;
        members += group.members.len();
    }
    if let Some(problem) = problem {
        return Err(problem);
    }
    if matched == 0 {
        return Err(
            "no group is found: check base, scope, filter and `match`, and what the bind DN may read"
                .to_owned(),
        );
    }
    Ok(format!("{matched} groups with {members} memberships"))
}

async fn provisioning(reader: &Reader) -> Result<String, ApiError> {
    let capabilities = reader.capabilities().await?;
    let mut text = "the key is accepted".to_owned();
    if !capabilities.patch {
        text += ", it does not support PATCH, so accounts are replaced whole";
    }
    if !capabilities.filter {
        text += ", but it does not support filters, which dirsyncd needs";
    }
    let unknown: Vec<&str> = capabilities
        .unknown
        .iter()
        .map(|attribute| attribute.name())
        .collect();
    if !unknown.is_empty() {
        text += &format!(", but its schemas do not have {}", unknown.join(", "));
    }
    Ok(text)
}

/// What the way of provisioning cannot do of what is configured.
fn limits_of_the_way(config: &Config) -> Option<String> {
    let way = &config.organization.provisioning;
    if *way != Provisioning::Admin {
        return None;
    }
    let mut unsupported: Vec<&str> = config
        .sources
        .iter()
        .flat_map(|source| source.mapping.keys())
        .filter_map(|target| match target {
            MappingTarget::Attribute(attribute) if !way.supports(*attribute) => {
                Some(attribute.name())
            }
            _ => None,
        })
        .collect();
    unsupported.sort_unstable();
    unsupported.dedup();
    Some(format!(
        "the admin way finds accounts by their e-mail address only, cannot be rehearsed, cannot change accounts that a SCIM directory owns, and does not send {}",
        if unsupported.is_empty() {
            "groups".to_owned()
        } else {
            unsupported.join(", ")
        }
    ))
}

async fn organization(reader: &Reader) -> Result<String, ApiError> {
    let name = reader.organization_name().await?;
    let domains = reader.verified_domains().await?;
    let domains: Vec<&str> = domains.iter().map(String::as_str).collect();
    Ok(format!(
        "organization {name}, verified domains: {}",
        domains.join(", ")
    ))
}
