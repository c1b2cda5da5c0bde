//! `dirsyncd init`: a first configuration, from what the LDAP server tells of itself and a few answers.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::Place;
use super::{Exit, Failure, print, show, start_log};
use crate::config::{Config, LogFormat};
use crate::directory::{self, Full, Request, ServerInfo, ServerKind};
use crate::mapping::NotMapped;
use crate::model::{Attribute, DesiredAccount};
use crate::report::{message, number};
use crate::run::Setup;

/// All keys with what they mean: what is written is this file with its answers.
const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Where the service has its configuration, and in a folder of it its secrets.
const SERVICE: &str = "/etc/dirsyncd";

/// So many people are shown.
const SHOWN: usize = 10;

#[derive(Args)]
pub(super) struct Arguments {
    /// Where the configuration is written
    #[arg(short, long, value_name = "FILE", default_value = "config.toml")]
    output: PathBuf,
    /// Replace the file if it is there already
    #[arg(long)]
    force: bool,
    /// Where the database is going to be; by default that of the service for /etc/dirsyncd, else beside FILE
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// The LDAP server: ldaps://HOST[:636], ldap://HOST[:389] (with StartTLS) or ldapi://SOCKET
    #[arg(long)]
    url: Option<String>,
    /// A CA bundle (PEM) to trust for the LDAP server instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Who binds to it
    #[arg(long, value_name = "DN", conflicts_with = "anonymous")]
    bind_dn: Option<String>,
    /// The file with the password of the bind, open to its owner alone
    #[arg(long, value_name = "FILE", conflicts_with = "anonymous")]
    password_file: Option<PathBuf>,
    /// Bind as nobody
    #[arg(long)]
    anonymous: bool,
    /// What fits the server: openldap, active-directory, 389ds or freeipa; by default what it tells of itself
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Where the people are
    #[arg(long, value_name = "DN")]
    base: Option<String>,
    /// The organization's id, as in admin.atlassian.com/o/ID
    #[arg(long, value_name = "ID")]
    organization: Option<String>,
    /// The id of the provisioning directory, the last part of its SCIM base URL
    #[arg(long, value_name = "ID")]
    directory: Option<String>,
    /// The file with the key of the provisioning directory
    #[arg(long, value_name = "FILE")]
    scim_key_file: Option<PathBuf>,
    /// The file with the organization's admin API key
    #[arg(long, value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
    /// The root of the API, where it is not Atlassian's
    #[arg(long, value_name = "URL")]
    api: Option<String>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    start_log("error", LogFormat::Text);
    let path = &arguments.output;
    if !arguments.force && path.symlink_metadata().is_ok() {
        return Err(super::output::is_there(path));
    }
    // It has no secret in it, and the service reads it as another user.
    let place = Place::at(path, 0o644, "the configuration")?;
    let is_service = std::path::absolute(path).is_ok_and(|path| path.starts_with(SERVICE));
    let mut draft = Draft {
        is_service,
        ..Draft::default()
    };
    match &arguments.database {
        Some(database) => draft.set("database", &[], file_text(database)?),
        None if is_service => {}
        None => draft.set("database", &[], text("dirsyncd.db")),
    }
    let url = answer(
        arguments.url.as_deref(),
        "--url",
        "LDAP server (ldaps://HOST)",
        None,
    )?;
    draft.set("url", &[], text(&url));
    draft.parse(path)?;
    if let Some(ca_file) = &arguments.ca_file {
        draft.set("ca_file", &["ldap-ca.pem"], file_text(ca_file)?);
    }
    bind(&arguments, &mut draft)?;

    // The organization is of no matter for what the server tells.
    let server = draft.parse(path)?;
    let info = probe(&server).await?;
    let preset = match &arguments.preset {
        Some(preset) => preset.clone(),
        None => preset_of(&info).to_owned(),
    };
    print(&format!(
        "{} is {}; the preset is `{preset}`.\n",
        message(&info.url),
        message(info.name())
    ));
    draft.set("preset", &[], text(&preset));
    let proposed = info.default_context.as_ref().or(info.contexts.first());
    let base = answer(
        arguments.base.as_deref(),
        "--base",
        "Where the people are",
        proposed.map(String::as_str),
    )?;
    draft.set("base", &[], format!("[{}]", text(&base)));
    organization(&arguments, &mut draft)?;
    people(&draft.parse(path)?).await?;
    place.write(&draft.text(), arguments.force)?;
    let shown = path.display();
    print(&format!(
        "{shown} is written, with every key and what it means.\nNext: dirsyncd check -c {shown}; dirsyncd plan -c {shown} shows what a sync would do.\n"
    ));
    Ok(Exit::Done)
}

/// What is asked for when an option does not say it.
fn answer(
    given: Option<&str>,
    option: &str,
    question: &str,
    proposed: Option<&str>,
) -> Result<String, Failure> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let hint = proposed.map_or(String::new(), |proposed| {
        format!(" [{}]", message(proposed))
    });
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{question}{hint}: ").and_then(|()| out.flush());
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let read = read.map_err(|error| Failure::failed(format!("no answer can be read: {error}")))?;
    match (line.trim(), proposed) {
        ("", Some(proposed)) if read > 0 => Ok(proposed.to_owned()),
        ("", _) if read == 0 => Err(Failure::usage(format!(
            "nobody answers \"{question}\": give {option}"
        ))),
        (line, _) => Ok(line.to_owned()),
    }
}

fn bind(arguments: &Arguments, draft: &mut Draft) -> Result<(), Failure> {
    let dn = match arguments.anonymous {
        true => String::new(),
        false => answer(
            arguments.bind_dn.as_deref(),
            "--bind-dn or --anonymous",
            "DN that binds (nothing: nobody)",
            None,
        )?,
    };
    if dn.is_empty() {
        draft.comment_out("bind_dn");
        draft.comment_out("password");
        return Ok(());
    }
    draft.set("bind_dn", &[], text(&dn));
    draft.secret(
        "password",
        arguments.password_file.as_deref(),
        "--password-file",
        "File with its password",
    )
}

fn organization(arguments: &Arguments, draft: &mut Draft) -> Result<(), Failure> {
    let id = answer(
        arguments.organization.as_deref(),
        "--organization",
        "Organization's id (admin.atlassian.com/o/ID)",
        None,
    )?;
    draft.set("id", &[], text(&id));
    let directory = answer(
        arguments.directory.as_deref(),
        "--directory",
        "Id of the provisioning directory (the last part of its SCIM base URL)",
        None,
    )?;
    draft.set("directory", &[], text(&directory));
    draft.secret(
        "scim_key",
        arguments.scim_key_file.as_deref(),
        "--scim-key-file",
        "File with its key",
    )?;
    if let Some(key) = &arguments.admin_key_file {
        draft.set("admin_key", &[], secret(key)?);
    }
    if let Some(api) = &arguments.api {
        draft.set("api", &[], text(api));
    }
    Ok(())
}

/// Which preset fits what a server tells of itself.
fn preset_of(info: &ServerInfo) -> &'static str {
    // FreeIPA keeps its certificates in a tree of its own.
    let is_ipa = info
        .contexts
        .iter()
        .any(|context| context.eq_ignore_ascii_case("o=ipaca"));
    match info.kind {
        ServerKind::ActiveDirectory => "active-directory",
        ServerKind::Ds389 if is_ipa => "freeipa",
        ServerKind::Ds389 => "389ds",
        ServerKind::OpenLdap | ServerKind::Other => "openldap",
    }
}

async fn probe(config: &Config) -> Result<ServerInfo, Failure> {
    let [source] = config.sources.as_slice() else {
        return Err(Failure::failed("the configuration has not one source"));
    };
    match directory::probe(source).await {
        Ok(Some(info)) => Ok(info),
        Ok(None) => Err(Failure::failed("the source is no server")),
        Err(error) => Err(Failure::failed(error)),
    }
}

/// Shows some of the people, as they are mapped.
async fn people(config: &Config) -> Result<(), Failure> {
    let setup = Setup::new(config.clone()).map_err(Failure::usage)?;
    let Some((source, mapping)) = setup.sources().next() else {
        return Ok(());
    };
    let attributes = directory::wanted(mapping.attributes(), None);
    let request = Request {
        source,
        selection: None,
        attributes: &attributes,
        incremental: crate::config::Incremental::Off,
    };
    let now = chrono::Utc::now();
    let (mut shown, mut mapped, mut problem) = (Vec::new(), 0_u64, None);
    let mut each = |entry| match mapping.map(&entry, now) {
        Ok(person) => {
            mapped += 1;
            if shown.len() < SHOWN {
                shown.push(person);
            }
        }
        Err(NotMapped::Unmapped(unmapped)) => {
            problem.get_or_insert(unmapped);
        }
        Err(NotMapped::Excluded(_)) => {}
    };
    let pull = async { directory::start(request).await?.read(&mut each).await };
    let Full { end, .. } = pull.await.map_err(Failure::failed)?;
    let mut out = format!(
        "{} entries, {} people can be mapped",
        number(end.entries),
        number(mapped)
    );
    out += match shown.len() as u64 == mapped {
        true => ":\n",
        false => "; the first of them:\n",
    };
    for person in &shown {
        out += &format!("  {}\n", message(&in_words(person)));
    }
    if let Some(unmapped) = problem {
        out += &format!(
            "One who cannot: {}\n",
            message(&format!("{}: {}", unmapped.dn, unmapped.problem))
        );
    }
    show(&out);
    match mapped {
        0 => Err(Failure::failed(
            "nobody is found who can have an account: check --base and --preset, and what the bind DN may read",
        )),
        _ => Ok(()),
    }
}

fn in_words(person: &DesiredAccount) -> String {
    let email = person.profile.get(Attribute::Email);
    let login = match person.active {
        true => "",
        false => " (no login)",
    };
    format!(
        "{} <{}>{login}, {}",
        person.profile.label(),
        email.unwrap_or("no e-mail"),
        person.dn
    )
}

/// The example, with answers in the place of its values.
struct Draft {
    lines: Vec<String>,
    /// Whether it is that of the service, whose secrets are credentials.
    is_service: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Draft {
            lines: EXAMPLE.lines().map(str::to_owned).collect(),
            is_service: false,
        }
    }
}

impl Draft {
    /// Sets a key where it stands first, also where it is commented out; of several of a name the one whose
    /// value has these words.
    fn set(&mut self, key: &str, words: &[&str], value: String) {
        let begins = format!("{key} = ");
        let line = self.lines.iter_mut().find(|line| {
            let bare = line.strip_prefix('#').unwrap_or(line);
            bare.starts_with(&begins) && words.iter().all(|word| bare.contains(word))
        });
        match line {
            Some(line) => *line = format!("{begins}{value}"),
            // A key that the example has no more; the parser tells where it belongs.
            None => self.lines.push(format!("{begins}{value}")),
        }
    }

    /// Sets where a secret is. Of the service it is the credential of the example, unless a file is given.
    fn secret(
        &mut self,
        key: &str,
        given: Option<&Path>,
        option: &str,
        question: &str,
    ) -> Result<(), Failure> {
        if given.is_none() && self.is_service {
            return Ok(());
        }
        let given = given.map(|path| path.display().to_string());
        let file = answer(given.as_deref(), option, question, None)?;
        self.set(key, &[], secret(Path::new(&file))?);
        Ok(())
    }

    fn comment_out(&mut self, key: &str) {
        let begins = format!("{key} = ");
        for line in self
            .lines
            .iter_mut()
            .filter(|line| line.starts_with(&begins))
        {
            line.insert(0, '#');
        }
    }

    fn text(&self) -> String {
        self.lines.join("\n") + "\n"
    }

    fn parse(&self, path: &Path) -> Result<Config, Failure> {
        Config::parse(path, &self.text()).map_err(Failure::usage)
    }
}

/// A string in TOML.
fn text(value: &str) -> String {
    toml::Value::from(value).to_string()
}

/// A path in TOML, from the root: the configuration may be written elsewhere.
fn file_text(path: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    Ok(text(&path.display().to_string()))
}

/// A secret in a file; one of those that systemd passes on is a credential.
fn secret(path: &Path) -> Result<String, Failure> {
    let credentials = Path::new(SERVICE).join("credentials");
    let full = std::path::absolute(path).ok();
    let name = full.and_then(|full| {
        let name = full.strip_prefix(credentials).ok()?.to_str()?.to_owned();
        Some(name)
    });
    match name {
        Some(name) => Ok(format!("{{ credential = {} }}", text(&name))),
        None => Ok(format!("{{ file = {} }}", file_text(path)?)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_key_that_is_asked_for_stands_in_the_example() {
        let before = EXAMPLE.lines().count();
        let mut draft = Draft::default();
        for (key, words) in [
            ("database", &[][..]),
            ("url", &[]),
            ("ca_file", &["ldap-ca.pem"]),
            ("preset", &[]),
            ("base", &[]),
            ("bind_dn", &[]),
            ("password", &[]),
            ("id", &[]),
            ("directory", &[]),
            ("scim_key", &[]),
            ("admin_key", &[]),
            ("api", &[]),
        ] {
            draft.set(key, words, text(&format!("of {key}")));
            let line = format!("{key} = \"of {key}\"");
            assert_eq!(
                draft.lines.iter().filter(|one| **one == line).count(),
                1,
                "{key}"
            );
        }
        assert_eq!(draft.lines.len(), before, "a key is not in the example");
    }

    #[test]
    fn the_server_tells_the_preset() {
        let info = |kind, contexts: &[&str]| ServerInfo {
            kind,
            contexts: contexts.iter().map(ToString::to_string).collect(),
            ..ServerInfo::default()
        };
        for (info, preset) in [
            (info(ServerKind::OpenLdap, &["dc=example"]), "openldap"),
            (
                info(ServerKind::ActiveDirectory, &["DC=example"]),
                "active-directory",
            ),
            (info(ServerKind::Ds389, &["dc=example"]), "389ds"),
            (
                info(ServerKind::Ds389, &["dc=example", "o=ipaca"]),
                "freeipa",
            ),
            (info(ServerKind::Other, &[]), "openldap"),
        ] {
            assert_eq!(preset_of(&info), preset);
        }
    }
}
