//! `dirsyncd revert`: undoes what a run did.

use clap::Args;

use super::plan::Format;
use super::progress::Progress;
use super::{ConfigArgument, Exit, Failure, invoker, load, print, shutdown_on_signals, start_log};
use crate::apply::Control;
use crate::config::LogFormat;
use crate::model::RunId;
use crate::report::{self, Detail};
use crate::run::{Ended, Wish, dry_revert, revert};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The number of the run, as its report tells it
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    run: i64,
    /// Undo only what the run did to these people and groups; a person comes without the groups
    #[arg(long, value_name = "KEY|MAIL|GROUP|DN", num_args = 1..)]
    only: Vec<String>,
    /// Show what would be undone, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The form of the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show at most N people a group (text only)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        config,
        run,
        only,
        dry_run,
        format,
        limit,
    } = arguments;
    let setup = load(&config)?;
    // The report tells of the rest.
    start_log("error", LogFormat::Text);
    let wish = Wish {
        run: RunId(run),
        only,
    };
    let progress = Progress::new();
    let control = Control {
        watch: &progress,
        stop: shutdown_on_signals()?,
        now: &chrono::Utc::now,
        asked_by: Some(invoker()),
    };
    let detail = Detail { limit };
    if dry_run {
        let plan = dry_revert(&setup, &wish, &control).await;
        progress.finish();
        let plan = plan?;
        print(&match format {
            Format::Text => report::text(&plan, detail),
            Format::Json => format!("{:#}\n", report::json(&plan)),
        });
        return Ok(Ended::with(&plan).into());
    }
    let finished = revert(&setup, &wish, &control).await;
    progress.finish();
    let finished = finished?;
    print(&match format {
        Format::Text => {
            report::text(&finished.plan, detail)
                + &report::applied(&finished.plan, &finished.applied, detail)
                + &report::way_back(finished.run, &finished.applied)
        }
        Format::Json => format!(
            "{:#}\n",
            report::outcome(finished.run, &finished.plan, &finished.applied, None)
        ),
    });
    Ok(finished.ended().into())
}
