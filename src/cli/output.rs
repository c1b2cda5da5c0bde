//! How a verb gives its report: in which form, how much of it, and where to.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use tempfile::NamedTempFile;

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
    #[arg(long, value_name = "N", value_parser = whole)]
    limit: Option<usize>,
    /// Show no progress, and of a report as text the last line alone
    #[arg(short, long)]
    quiet: bool,
}

/// So many.
pub(super) fn whole(text: &str) -> Result<usize, String> {
    let parsed = text.parse();
    parsed.map_err(|_| "write a whole number, such as 20".to_owned())
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

    /// The form of the report.
    ///
    /// # Errors
    /// When neither an option nor the ending of the file says it.
    fn form(&self) -> Result<Form, Failure> {
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

    /// Makes sure, before anything is done, that the report is going to have a place. `others` are files that
    /// are written beside it.
    ///
    /// # Errors
    /// When its form is not known, or its file cannot be written.
    pub(super) fn begin(&self, others: &[&Path]) -> Result<Report, Failure> {
        let form = self.form()?;
        if let Some(path) = self.output.as_deref().filter(|path| others.contains(path)) {
            return Err(Failure::usage(format!(
                "{} is to be two files: give the report another name",
                path.display()
            )));
        }
        let place = self.output.as_deref();
        let place = place.map(|path| Place::at(path, PRIVATE, "the report"));
        Ok(Report {
            form,
            place: place.transpose()?,
            limit: self.limit,
            is_quiet: self.quiet,
        })
    }
}

/// A report that is going to be given.
pub(super) struct Report {
    pub(super) form: Form,
    pub(super) limit: Option<usize>,
    pub(super) is_quiet: bool,
    place: Option<Place>,
}

impl Report {
    /// Gives the report, made in this form and laid out so; `last` is its last line.
    ///
    /// # Errors
    /// When it cannot be written to its file.
    pub(super) fn give(
        self,
        now: Timestamp,
        last: &str,
        report: impl FnOnce(Form, Detail) -> String,
    ) -> Result<(), Failure> {
        let made = Detail {
            made_at: Some(now),
            ..match self.place {
                Some(_) => Detail {
                    limit: self.limit,
                    ..Detail::default()
                },
                None => detail(self.limit),
            }
        };
        let (form, is_quiet) = (self.form, self.is_quiet);
        self.pass_on(last, || match is_quiet && form == Form::Text {
            // Nobody reads it.
            true => last.to_owned(),
            false => report(form, made),
        })
    }

    /// Gives a report that is made already.
    ///
    /// # Errors
    /// When it cannot be written to its file.
    pub(super) fn pass_on(self, last: &str, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.place {
            // Whatever becomes of the file, what was done is told.
            Some(place) => {
                print(last);
                place.write(&text(), true)
            }
            None if self.is_quiet && self.form == Form::Text => {
                print(last);
                Ok(())
            }
            None => {
                show(&text());
                Ok(())
            }
        }
    }
}

/// The last line of the report on a plan.
pub(super) fn last_line(plan: &Plan) -> String {
    report::summary_line(plan) + "\n"
}

/// The mode of a file for its owner's eyes alone.
pub(super) const PRIVATE: u32 = 0o600;

/// Where a file is going to be.
pub(super) struct Place {
    path: PathBuf,
    what: &'static str,
    file: Target,
}

enum Target {
    /// A file that is put there as a whole or not at all.
    New(NamedTempFile),
    /// A device, a pipe: what is no file is written to, and never replaced.
    There(File),
}

impl Place {
    /// Finds out that a file can be written there.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) fn at(path: &Path, mode: u32, what: &'static str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| cannot_write(what, path, &error);
        let is_file = match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                return Err(failed(std::io::ErrorKind::IsADirectory.into()));
            }
            Ok(metadata) => metadata.is_file(),
            Err(_) => true,
        };
        let file = if is_file {
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            let mut new = tempfile::Builder::new();
            new.permissions(std::fs::Permissions::from_mode(mode));
            Target::New(new.tempfile_in(folder).map_err(failed)?)
        } else {
            Target::There(File::options().write(true).open(path).map_err(failed)?)
        };
        Ok(Place {
            path: path.to_owned(),
            what,
            file,
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written, or is there already and not to be replaced.
    pub(super) fn write(self, text: &str, replace: bool) -> Result<(), Failure> {
        let Place { path, what, file } = self;
        let failed = |error: &std::io::Error| cannot_write(what, &path, error);
        let mut new = match file {
            Target::There(mut file) => {
                return file
                    .write_all(text.as_bytes())
                    .map_err(|error| failed(&error));
            }
            Target::New(new) => new,
        };
        new.write_all(text.as_bytes())
            .and_then(|()| new.as_file().sync_all())
            .map_err(|error| failed(&error))?;
        let kept = match replace {
            true => new.persist(&path),
            false => new.persist_noclobber(&path),
        };
        match kept {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(is_there(&path))
            }
            Err(error) => Err(failed(&error.error)),
        }
    }
}

fn cannot_write(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    // Without the name of the temporary file that was to become it.
    let cause = error.get_ref().and_then(std::error::Error::source);
    let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
    Failure::failed(format!(
        "{what} cannot be written to {}: {why}; name a file in a folder that is there and open to this user",
        path.display()
    ))
}

/// A file that is not to be replaced.
pub(super) fn is_there(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} is there already: name another file, or replace it with --force",
        path.display()
    ))
}
