//! `dirsyncd check`: each thing that a run needs, checked and told.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::output::Format;
use super::{ConfigArgument, Exit, Failure, load, print, start_log};
use crate::config::{
    Channel, Config, GroupRule, Incremental, LogFormat, MappingTarget, Provisioning, SecretRef,
    Source, SourceKind, credentials_folder,
};
use crate::directory::{self, Full, Request, Selection};
use crate::mapping::{GroupMapping, Mapping, NotMapped, Problem};
use crate::model::{Attribute, Complete, DesiredAccount, fold};
use crate::notify;
use crate::org::{ApiError, Capabilities, Reader};
use crate::plan::{Known, Rate, clock_fault};
use crate::report::{message, number, several};
use crate::snapshot::{self, Snapshot, SnapshotError};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Send a test message through each channel of [notify]; one that does not arrive is a failed check
    #[arg(long)]
    notify: bool,
    /// The form of what is found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    let mut report = Report::new(arguments.format);
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
    if report.failed() > 0 {
        return Ok(report.end());
    }
    report.tell("database", database(config).await);
    let mut domains: Vec<(String, BTreeMap<String, u64>)> = Vec::new();
    for (source, mapping) in setup.sources() {
        let name = format!("source `{}`", source.name);
        match directory::probe(source).await {
            Ok(Some(info)) => report.tell(&name, Ok::<_, String>(bound(source, &info))),
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
        let mut people = People::default();
        let found = search(source, selection.as_ref(), mapping, &mut people).await;
        report.tell(&name, found);
        if let Some(doubts) = people.doubts() {
            report.note(&name, &doubts);
        }
        domains.push((name, people.domains));
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
            let capabilities = reader.capabilities().await;
            let told = capabilities.as_ref().map(provisioning);
            report.tell("provisioning API", told);
            if let Ok(capabilities) = &capabilities {
                report.clock(capabilities);
            }
            if let Some(limits) = limits_of_the_way(config) {
                report.note("provisioning", &limits);
            }
            if config.organization.admin_key.is_some() {
                match organization(&reader).await {
                    Err(error) => report.tell("organization API", Err::<String, _>(error)),
                    Ok((name, verified)) => {
                        let all: Vec<&str> = verified.iter().map(String::as_str).collect();
                        let all = all.join(", ");
                        let told = format!("organization {name}, verified domains: {all}");
                        report.tell("organization API", Ok::<_, String>(told));
                        for (source, domains) in &domains {
                            report.outside(source, domains, &verified);
                        }
                    }
                }
            }
            let (scim, admin) = reader.rates();
            for (api, rate) in [("provisioning API", scim), ("organization API", admin)] {
                if rate.round_trip.is_some() {
                    report.note("rate limit", &format!("{api}: {}", allowed(&rate)));
                }
            }
            report.note(
                "API keys",
                "the API does not tell when they expire: look it up in the organization's settings, and change them before",
            );
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

/// How a step of the check went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// Nothing is wrong, but it is to be known.
    Note,
    Failed,
}

impl Verdict {
    fn sign(self) -> char {
        match self {
            Verdict::Ok => '✓',
            Verdict::Note => '!',
            Verdict::Failed => '✗',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Failed => "failed",
        }
    }
}

/// What is found: told at once as text, and as a whole as JSON.
struct Report {
    format: Format,
    steps: Vec<(String, Verdict, String)>,
}

impl Report {
    fn new(format: Format) -> Self {
        Report {
            format,
            steps: Vec::new(),
        }
    }

    fn failed(&self) -> usize {
        let steps = self.steps.iter();
        let failed = steps.filter(|(_, verdict, _)| *verdict == Verdict::Failed);
        failed.count()
    }

    /// The last line, or all of it as JSON.
    fn end(self) -> Exit {
        let failed = self.failed();
        match self.format {
            Format::Text if failed > 0 => print(&format!("{failed} of the checks failed\n")),
            Format::Text => print("all is well; `dirsyncd plan` shows what a sync would do\n"),
            Format::Json => {
                let steps = self.steps.iter().map(|(step, verdict, found)| {
                    json!({ "step": step, "result": verdict.name(), "message": found })
                });
                let steps: Vec<_> = steps.collect();
                let whole = json!({ "version": 1, "failed": failed, "steps": steps });
                print(&format!("{whole:#}\n"));
            }
        }
        match failed {
            0 => Exit::Done,
            _ => Exit::Failed,
        }
    }

    fn tell<E: std::fmt::Display>(&mut self, step: &str, result: Result<String, E>) {
        match result {
            Ok(found) => self.add(step, Verdict::Ok, found),
            Err(error) => self.add(step, Verdict::Failed, error.to_string()),
        }
    }

    fn note(&mut self, step: &str, what: &str) {
        self.add(step, Verdict::Note, what.to_owned());
    }

    fn add(&mut self, step: &str, verdict: Verdict, found: String) {
        if let Format::Text = self.format {
            let text = message(&format!("{step}: {found}"));
            print(&format!("{} {text}\n", verdict.sign()));
        }
        self.steps.push((step.to_owned(), verdict, found));
    }

    /// How far this machine's clock and the API's are apart.
    fn clock(&mut self, capabilities: &Capabilities) {
        let Some(theirs) = capabilities.time else {
            return self.note("clock", "the API does not tell the time to compare with");
        };
        let now = chrono::Utc::now();
        let known = Known {
            api_time: Some(theirs),
            ..Known::default()
        };
        let result = match clock_fault(&known, now) {
            None => Ok(format!(
                "{} s from the API's",
                (now - theirs).num_seconds().abs()
            )),
            Some(fault) => Err(format!(
                "{fault}: set it right, with NTP for instance; until then nobody departs"
            )),
        };
        self.tell("clock", result);
    }

    /// Who of a source has an address that no verified domain has.
    fn outside(
        &mut self,
        source: &str,
        domains: &BTreeMap<String, u64>,
        verified: &BTreeSet<String>,
    ) {
        /// So many domains are named.
        const NAMED: usize = 5;
        let mut outside: Vec<(&String, u64)> = domains
            .iter()
            .filter(|(domain, _)| !verified.contains(*domain))
            .map(|(domain, people)| (domain, *people))
            .collect();
        if outside.is_empty() {
            return;
        }
        outside.sort_by_key(|(_, people)| std::cmp::Reverse(*people));
        let people = outside.iter().map(|(_, people)| people).sum();
        let named: Vec<String> = outside
            .iter()
            .take(NAMED)
            .map(|(domain, people)| format!("{domain} ({})", number(*people)))
            .collect();
        let more = match outside.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.note(
            source,
            &format!(
                "{} outside the verified domains, refused by a plan: {}{more}; verify these domains in the organization, map another address, or leave these people out",
                several(people, "person", "people"),
                named.join(", ")
            ),
        );
    }
}

/// What a server is, and what of what we use it knows.
fn bound(source: &Source, info: &directory::ServerInfo) -> String {
    let controls = match info.known_controls().as_slice() {
        [] => "it tells of no control that dirsyncd uses".to_owned(),
        known => format!("it knows {}", known.join(", ")),
    };
    let pages = match &source.kind {
        SourceKind::Ldap(server) => format!(", pages of {} entries", server.page_size),
        SourceKind::Ldif(_) => String::new(),
    };
    format!(
        "bound to {} at {} ({}); {controls}{pages}",
        info.name(),
        info.url,
        info.contexts.join(", ")
    )
}

/// What is noticed of people as they are read. Of a million, a few numbers each.
#[derive(Default)]
struct People {
    keys: HashSet<u64>,
    addresses: HashSet<u64>,
    same_key: u64,
    same_address: u64,
    without_address: u64,
    domains: BTreeMap<String, u64>,
}

impl People {
    fn see(&mut self, person: &DesiredAccount) {
        let digest = |text: String| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish()
        };
        if !self.keys.insert(digest(fold(person.key.as_str()))) {
            self.same_key += 1;
        }
        let Some(address) = person.profile.get(Attribute::Email) else {
            return;
        };
        if !self.addresses.insert(digest(fold(address))) {
            self.same_address += 1;
        }
        if let Some((_, domain)) = address.rsplit_once('@') {
            *self.domains.entry(domain.to_lowercase()).or_default() += 1;
        }
    }

    /// What a plan is going to refuse.
    fn doubts(&self) -> Option<String> {
        let doubts: Vec<String> = [
            (
                self.without_address,
                "without an e-mail address or user name",
            ),
            (self.same_address, "with an address that another one has"),
            (self.same_key, "with a key that another one has"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", several(count, "entry", "entries")))
        .collect();
        (!doubts.is_empty()).then(|| {
            format!(
                "{}: `dirsyncd plan` names them, and what to correct",
                doubts.join(", ")
            )
        })
    }
}

async fn database(config: &Config) -> Result<String, String> {
    let path = &config.database;
    let in_words = |error: SnapshotError| error.to_string();
    let mut snapshot = Snapshot::open_for_reading(path).await.map_err(in_words)?;
    let whole = snapshot.expect_whole().await;
    let population = snapshot.population().await;
    snapshot.close().await.map_err(in_words)?;
    whole.map_err(in_words)?;
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
    people: &mut People,
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
        Ok(person) => {
            mapped += 1;
            people.see(&person);
        }
        Err(NotMapped::Unmapped(problem)) => {
            unmapped += 1;
            let missing = match &problem.problem {
                Problem::Missing { target, .. } => Some(*target),
                _ => None,
            };
            // Both are made from the same value, as a rule.
            let is_address = matches!(missing, Some(Attribute::Email | Attribute::UserName));
            people.without_address += u64::from(is_address);
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

/// How fast an API takes requests, by what the configuration and its answers say.
fn allowed(rate: &Rate) -> String {
    let told = match rate.window {
        None => format!(
            "it tells none; {} requests go out at once, more as it keeps up, fewer when it answers 429",
            rate.at_once
        ),
        Some(window) => format!(
            "{} requests a period, of which {} are left for {}",
            number(window.limit),
            number(window.remaining),
            humantime::format_duration(Duration::from_secs(window.ends_in.as_secs().max(1)))
        ),
    };
    match rate.per_second {
        None => told,
        Some(most) => format!("{told}; `requests_per_second = {most}` in [organization]"),
    }
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

fn provisioning(capabilities: &Capabilities) -> String {
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
    text
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

/// Its name and its verified domains.
async fn organization(reader: &Reader) -> Result<(String, BTreeSet<String>), ApiError> {
    let name = reader.organization_name().await?;
    Ok((name, reader.verified_domains().await?))
}
