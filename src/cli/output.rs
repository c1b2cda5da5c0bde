//! How a verb gives its report: in which form, how much of it, and where to.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::progress::Progress;
use super::{Failure, detail, print, show};
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::report::{self, Detail, Form};

/// The forms of what is no plan.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// What every verb takes that reports on a plan.
#[derive(Args)]
pub(super) struct ReportArguments {
    /// The form of the report
    #[arg(long, value_name = "FORM", value_parser = forms(), help = "The form of the report [default: text, or by the ending of --output]")]
    format: Option<Form>,
    /// Write the report to FILE, and only its last line here; the ending of the name picks the form: .txt, .json, .csv, .md or .html
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show at most N people a group (not in JSON and CSV)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show no progress, and of a report as text the last line alone
    #[arg(short, long)]
    quiet: bool,
}

fn forms() -> impl TypedValueParser<Value = Form> {
    PossibleValuesParser::new(Form::ALL.map(Form::name))
        .map(|name| Form::named(&name).unwrap_or_default())
}

impl ReportArguments {
    /// What shows how far it has come.
    pub(super) fn progress(&self) -> Progress {
        Progress::new(self.quiet)
    }

    /// So many people a group are shown at most.
    pub(super) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// The form of the report.
    ///
    /// # Errors
    /// When neither an option nor the ending of the file says it.
    pub(super) fn form(&self) -> Result<Form, Failure> {
        let Some(path) = self.output.as_ref().filter(|_| self.format.is_none()) else {
            return Ok(self.format.unwrap_or(Form::Text));
        };
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.and_then(Form::of_ending).ok_or_else(|| {
            Failure::usage(format!(
                "the name {} does not tell the form of the report: end it in .txt, .json, .csv, .md or .html, or give --format",
                path.display()
            ))
        })
    }

    /// Gives the report, made in this form and laid out so; `last` is its last line.
    ///
    /// # Errors
    /// When it cannot be written to its file.
    pub(super) fn give(
        &self,
        now: Timestamp,
        last: &str,
        report: impl FnOnce(Form, Detail) -> String,
    ) -> Result<(), Failure> {
        let form = self.form()?;
        match &self.output {
            Some(path) => {
                let layout = Detail {
                    limit: self.limit,
                    made_at: Some(now),
                    ..Detail::default()
                };
                write_private(path, &report(form, layout), true, "the report")?;
                print(last);
            }
            None if self.quiet && form == Form::Text => print(last),
            None => show(&report(
                form,
                Detail {
                    made_at: Some(now),
                    ..detail(self.limit)
                },
            )),
        }
        Ok(())
    }

    /// Gives a report that a daemon has made.
    ///
    /// # Errors
    /// When it cannot be written to its file.
    pub(super) fn pass_on(&self, text: &str) -> Result<(), Failure> {
        let last = || text.lines().last().unwrap_or_default().to_owned() + "\n";
        match &self.output {
            Some(path) => write_private(path, text, true, "the report"),
            None if self.quiet && self.form()? == Form::Text => {
                print(&last());
                Ok(())
            }
            None => {
                print(text);
                Ok(())
            }
        }
    }
}

/// The last line of the report on a plan.
pub(super) fn last_line(plan: &Plan) -> String {
    report::summary_line(plan) + "\n"
}

/// Writes a file for its owner's eyes only, as a whole or not at all.
///
/// # Errors
/// When it cannot be written, or is there already and not to be replaced.
pub(super) fn write_private(
    path: &Path,
    text: &str,
    replace: bool,
    what: &str,
) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!(
            "{what} cannot be written to {}: {error}",
            path.display()
        ))
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // A temporary file has the mode 0600, and takes it along.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    let kept = match replace {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    };
    match kept {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(is_there(path))
        }
        Err(error) => Err(failed(&error.error)),
    }
}

/// A file that is not to be replaced.
pub(super) fn is_there(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} is there already: name another file, or replace it with --force",
        path.display()
    ))
}
