//! `dirsyncd reconcile`: reads the organization back.

use clap::Args;

use super::output::Format;
use super::progress::Progress;
use super::{
    ConfigArgument, Exit, Failure, detail, invoker, load, print, shutdown_on_signals, start_log,
};
use crate::apply::{Clock, Control};
use crate::config::{DriftKind, LogFormat};
use crate::model::{ExternalId, RunId, SourceName};
use crate::plan::Reconciliation;
use crate::report::{self, Detail};
use crate::run::{Task, reconcile};

/// What is gone with a lost database.
const LOST: &str = "\
Not to be had again, as far as the database did not have it: since when people are away, holds, what\n\
was reverted, the journal of former runs. No approval from before counts any more.\n";

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Take this over into the snapshot, so that the next sync corrects it: changed, deactivated,
    /// activated, deleted, or all of it when nothing is named; goes before `correct` in [reconcile]
    #[arg(long, value_name = "KIND", num_args = 0.., value_delimiter = ',')]
    correct: Option<Vec<DriftKind>>,
    /// Make the snapshot again, of a database that is lost or was restored from a backup
    #[arg(long, conflicts_with = "correct")]
    rebuild: bool,
    /// Take in the account with this key, which nobody in the directory has, as that of a person who
    /// has left: by the policy it is going to be deactivated and deleted
    #[arg(long, value_name = "KEY", num_args = 1.., requires = "rebuild")]
    claim: Vec<String>,
    /// The source from which the claimed accounts are
    #[arg(long, value_name = "NAME", requires = "claim")]
    source: Option<String>,
    /// Show it, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The form of the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show at most N accounts a section (text only)
    #[arg(long, value_name = "N", value_parser = super::output::whole)]
    limit: Option<usize>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        config,
        correct,
        rebuild,
        claim,
        source,
        dry_run,
        format,
        limit,
        quiet,
    } = arguments;
    let setup = load(&config)?;
    // The report tells of the rest.
    start_log("error,dirsyncd::directory=warn", LogFormat::Text);
    let task = Task {
        correct: correct.map(|kinds| match kinds.is_empty() {
            true => DriftKind::CORRECTABLE.into_iter().collect(),
            false => kinds.into_iter().collect(),
        }),
        rebuild,
        claims: claim.iter().map(ExternalId::new).collect(),
        claimed_from: source.map(SourceName::new),
        is_dry: dry_run,
        tells_next: true,
    };
    let progress = Progress::new(quiet);
    let clock = Clock::start();
    let control = Control {
        watch: &progress,
        stop: shutdown_on_signals()?,
        now: &|| clock.now(),
        asked_by: Some(invoker()),
    };
    let reconciled = reconcile(&setup, &task, &control).await;
    progress.finish();
    let (run, found) = reconciled?;
    print(&match format {
        Format::Text => text(run, &found, &task, detail(limit)),
        Format::Json => format!("{:#}\n", report::reconciled_json(run, &found)),
    });
    Ok(if found.needs_attention() {
        Exit::Refused
    } else {
        Exit::Done
    })
}

fn text(run: Option<RunId>, found: &Reconciliation, task: &Task, detail: Detail) -> String {
    let mut text = report::reconciled(found, detail);
    if task.rebuild {
        text += LOST;
    }
    text += &match run {
        None => "A dry run: nothing was changed.\n".to_owned(),
        Some(run) if found.changes_rows() => {
            format!("Run {run} has changed the snapshot alone; `dirsyncd sync` does the rest.\n")
        }
        Some(_) => String::new(),
    };
    text
}
