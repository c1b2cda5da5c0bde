//! `dirsyncd plan`: the dry run.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::progress::Progress;
use super::{
    ConfigArgument, Exit, Failure, OrderArguments, load, load_from, print, say, start_log,
};
use crate::against::compare;
use crate::apply::{Control, Shutdown};
use crate::config::LogFormat;
use crate::daemon::{Client, Form, PlanOrder};
use crate::plan::Plan;
use crate::report::{self, Detail, SavedPlan};
use crate::run::{Ended, Setup, dry_run, save};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    #[command(flatten)]
    orders: OrderArguments,
    /// The form of the plan
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show at most N people a group (text only)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show who would enter and leave the scope by the configuration, compared with this older one
    #[arg(long, value_name = "OLD.toml", conflicts_with = "accept_scope_change")]
    against: Option<PathBuf>,
    /// Exit with 10 when changes are pending
    #[arg(long)]
    detailed_exitcode: bool,
    /// Save the plan as JSON, for `dirsyncd sync --plan FILE`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Replace the file of `--save` if it is there already
    #[arg(long, requires = "save")]
    force: bool,
    /// Have the daemon make the dry run
    #[arg(long, conflicts_with_all = ["against", "save"])]
    daemon: bool,
    /// Print the JSON Schema of a saved plan, and do nothing else
    #[arg(long, exclusive = true)]
    schema: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

impl From<Format> for Form {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Form::Text,
            Format::Json => Form::Json,
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    if arguments.schema {
        print(report::SCHEMA);
        return Ok(Exit::Done);
    }
    // Told before the sources are read, not after.
    if let (Some(path), false) = (&arguments.save, arguments.force)
        && path.symlink_metadata().is_ok()
    {
        return Err(is_there(path));
    }
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    if let Some(old) = &arguments.against {
        return edit(&setup, old, &arguments).await;
    }
    if arguments.daemon {
        return ask(&setup, &arguments).await;
    }
    let progress = Progress::new();
    let control = Control {
        watch: &progress,
        stop: Shutdown::never(),
        now: &chrono::Utc::now,
        asked_by: None,
    };
    let orders = arguments.orders.orders();
    let planned = match &arguments.save {
        None => dry_run(&setup, orders, &control)
            .await
            .map(|plan| (plan, None)),
        Some(path) => save(&setup, orders, &control)
            .await
            .map(|(plan, saved)| (plan, Some((path, saved)))),
    };
    progress.finish();
    let (plan, saved) = planned?;
    print(&match arguments.format {
        Format::Text => report::text(
            &plan,
            Detail {
                limit: arguments.limit,
            },
        ),
        Format::Json => format!("{:#}\n", report::json(&plan)),
    });
    if let Some((path, saved)) = saved {
        write(path, &saved, arguments.force)?;
        // Not to standard output, where the plan may be JSON.
        say(&format!(
            "dirsyncd: the plan {id} is saved in {path}; dirsyncd sync --plan {path} carries it out, once\n",
            id = saved.id,
            path = path.display()
        ));
    }
    Ok(exit(&plan, arguments.detailed_exitcode))
}

/// Has the daemon make the dry run, which reports as this program would.
async fn ask(setup: &Setup, arguments: &Arguments) -> Result<Exit, Failure> {
    let OrderArguments {
        full,
        accept_scope_change,
        user,
    } = &arguments.orders;
    let order = PlanOrder {
        format: arguments.format.into(),
        limit: arguments.limit,
        full: *full,
        accept_scope_change: *accept_scope_change,
        user: user.clone(),
    };
    let reported = Client::of(&setup.config)?.plan(&order).await?;
    print(&reported.text);
    Ok(match reported.is_pending && arguments.detailed_exitcode {
        true => Exit::Pending,
        false => reported.ended.into(),
    })
}

fn is_there(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} is there already: name another file, or replace it with --force",
        path.display()
    ))
}

/// Writes the plan, for its owner's eyes only, as a whole or not at all.
fn write(path: &Path, saved: &SavedPlan, force: bool) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!(
            "the plan cannot be saved in {}: {error}",
            path.display()
        ))
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let text = saved.text().map_err(|error| failed(&error))?;
    // A temporary file has the mode 0600, and takes it along.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    let kept = if force {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    match kept {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(is_there(path))
        }
        Err(error) => Err(failed(&error.error)),
    }
}

fn exit(plan: &Plan, detailed: bool) -> Exit {
    match Ended::with(plan) {
        Ended::Done if detailed && plan.has_pending() => Exit::Pending,
        ended => ended.into(),
    }
}

/// Who would enter and leave by the edit of the configuration.
async fn edit(setup: &Setup, old: &Path, arguments: &Arguments) -> Result<Exit, Failure> {
    let old = load_from(old)?;
    let progress = Progress::new();
    let edit = compare(&old, setup, chrono::Utc::now(), &progress).await;
    progress.finish();
    let edit = edit?;
    print(&match arguments.format {
        Format::Text => report::edit(
            &edit,
            Detail {
                limit: arguments.limit,
            },
        ),
        Format::Json => format!("{:#}\n", serde_json::json!(edit)),
    });
    Ok(if !edit.incomplete.is_empty() {
        Exit::Refused
    } else if arguments.detailed_exitcode && !(edit.entering.is_empty() && edit.leaving.is_empty())
    {
        Exit::Pending
    } else {
        Exit::Done
    })
}
