//! `dirsyncd map`: what the mapping makes of an entry, step by step.

use std::path::Path;

use clap::Args;

use super::output::Format;
use super::{ConfigArgument, Exit, Failure, load, print, start_log};
use crate::config::{LogFormat, Preset, Source, SourceKind};
use crate::directory::{self, Candidate, DirectoryError, Selection};
use crate::mapping::Mapping;
use crate::model::{Dn, Timestamp};
use crate::report::{self, Traced};
use crate::run::Setup;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
   0  each entry becomes an account
   1  failed: the source cannot be read, or has no such entry
   2  wrong usage or configuration
   3  an entry is refused, skipped, excluded or not found by the search";

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The DN of an entry of the source, or an LDIF file with entries that are mapped as if they were
    #[arg(
        value_name = "DN|FILE.ldif",
        required_unless_present = "preset",
        conflicts_with = "preset"
    )]
    entry: Option<String>,
    /// The source; by default the first that reaches the entry
    #[arg(long, value_name = "NAME", conflicts_with = "preset")]
    source: Option<String>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show what is in a preset instead: openldap, active-directory, 389ds or freeipa
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    if let Some(name) = &arguments.preset {
        return preset(name);
    }
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    let now = chrono::Utc::now();
    let entry = arguments.entry.as_deref().unwrap_or_default();
    let chosen = arguments.source.as_deref();
    let traced = if Path::new(entry).is_file() || entry.to_lowercase().ends_with(".ldif") {
        of_file(&setup, Path::new(entry), chosen, now).await?
    } else {
        let dn = Dn::parse(entry).map_err(|error| {
            Failure::usage(format!(
                "`{entry}` is neither an LDIF file that is there nor a DN: at byte {}, expected {}",
                error.at, error.expected
            ))
        })?;
        vec![of_directory(&setup, entry, &dn, chosen, now).await?]
    };
    print(&match arguments.format {
        Format::Text => {
            let texts: Vec<String> = traced.iter().map(report::trace_text).collect();
            texts.join("\n")
        }
        Format::Json => format!("{:#}\n", report::trace_json(&traced)),
    });
    Ok(if traced.iter().all(Traced::is_mapped) {
        Exit::Done
    } else {
        Exit::Refused
    })
}

fn preset(name: &str) -> Result<Exit, Failure> {
    let text = Preset::text(name).ok_or_else(|| {
        let known: Vec<&str> = Preset::ALL.iter().map(|(name, _)| *name).collect();
        Failure::usage(format!(
            "there is no preset `{name}` (known: {})",
            known.join(", ")
        ))
    })?;
    print(text);
    Ok(Exit::Done)
}

/// The source of this name, else the first that reaches the DN, else the first.
fn source<'a>(
    setup: &'a Setup,
    name: Option<&str>,
    dn: Option<&Dn>,
) -> Result<(&'a Source, &'a Mapping), Failure> {
    if let Some(name) = name {
        let mut sources = setup.sources();
        return sources
            .find(|(source, _)| source.name.as_str() == name)
            .ok_or_else(|| {
                let known: Vec<&str> = setup
                    .sources()
                    .map(|(source, _)| source.name.as_str())
                    .collect();
                Failure::usage(format!(
                    "there is no source `{name}` (known: {})",
                    known.join(", ")
                ))
            });
    }
    let reaches = |(source, _): &(&Source, _)| dn.is_some_and(|dn| source.search.reaches(dn));
    let found = setup.sources().find(reaches);
    found
        .or_else(|| setup.sources().next())
        .ok_or_else(|| Failure::usage("there is no source"))
}

/// The groups of a source, where it has some.
async fn selection(source: &Source) -> Result<Option<Selection>, Failure> {
    directory::select(source).await.map_err(Failure::failed)
}

async fn of_directory(
    setup: &Setup,
    text: &str,
    dn: &Dn,
    chosen: Option<&str>,
    now: Timestamp,
) -> Result<Traced, Failure> {
    let (source, mapping) = source(setup, chosen, Some(dn))?;
    let selection = selection(source).await?;
    let attributes = directory::wanted(mapping.attributes(), selection.as_ref());
    let found = directory::read_entry(source, text, &attributes)
        .await
        .map_err(Failure::failed)?;
    let candidate = found.ok_or_else(|| {
        Failure::failed(format!(
            "source `{}` has no entry `{text}`, or it may not be read: check the DN, and what the bind DN may read",
            source.name
        ))
    })?;
    Ok(traced(&candidate, source, mapping, selection.as_ref(), now))
}

async fn of_file(
    setup: &Setup,
    path: &Path,
    chosen: Option<&str>,
    now: Timestamp,
) -> Result<Vec<Traced>, Failure> {
    let mut entries = Vec::new();
    directory::read_file(path, &mut |entry| entries.push(entry)).map_err(|error| match error {
        DirectoryError::OpenLdif { path, why } => Failure::usage(format!(
            "cannot read the LDIF file {}: {why}; name one that is there",
            path.display()
        )),
        error => Failure::failed(error),
    })?;
    if entries.is_empty() {
        let place = path.display();
        return Err(Failure::failed(format!(
            "{place} has no entry: name an LDIF file of people"
        )));
    }
    let mut all = Vec::new();
    for entry in entries {
        let dn = Dn::parse(entry.dn()).ok();
        let (source, mapping) = source(setup, chosen, dn.as_ref())?;
        // No server is asked for an entry of a file.
        let selection = match &source.kind {
            SourceKind::Ldap(_) => None,
            SourceKind::Ldif(_) => selection(source).await?,
        };
        let candidate = Candidate::of_file(entry, &source.search);
        all.push(traced(&candidate, source, mapping, selection.as_ref(), now));
    }
    Ok(all)
}

fn traced(
    candidate: &Candidate,
    source: &Source,
    mapping: &Mapping,
    selection: Option<&Selection>,
    now: Timestamp,
) -> Traced {
    Traced {
        dn: candidate.entry.dn().to_owned(),
        source: source.name.clone(),
        checks: candidate.checks(&source.search, selection),
        trace: mapping.trace(&candidate.entry, now),
    }
}
