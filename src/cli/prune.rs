//! `dirsyncd prune`: takes out of the journal what is old and not needed any more.

use clap::Args;

use super::{
    ConfigArgument, Exit, Failure, PATIENCE, invoker, load, print, shutdown_on_signals, start_log,
};
use crate::apply::{Control, Unwatched};
use crate::config::LogFormat;
use crate::report;
use crate::run::{CannotPrune, PrunedByHand, prune};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Show how much it is, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments { config, dry_run } = arguments;
    let setup = load(&config)?;
    start_log("warn", LogFormat::Text);
    let Some(keep) = setup.config.journal.keep else {
        return Err(Failure::usage(
            "`keep` in [journal] is false, so nothing of the journal is ever too old: set it to a time",
        ));
    };
    let database = &setup.config.database;
    if !database.exists() {
        return Err(Failure::usage(format!(
            "there is no database {} yet, and so no journal: the first sync makes it",
            database.display()
        )));
    }
    let control = Control {
        watch: &Unwatched,
        stop: shutdown_on_signals()?,
        now: &chrono::Utc::now,
        asked_by: Some(invoker()),
    };
    let pruned = prune(&setup, keep, dry_run, PATIENCE, &control)
        .await
        .map_err(|error| Failure {
            exit: match error {
                CannotPrune::Clock(_) | CannotPrune::NoTime => Exit::Refused,
                CannotPrune::Stopped => Exit::Done,
                CannotPrune::Journal(_) | CannotPrune::Folder(_) | CannotPrune::Api(_) => {
                    Exit::Failed
                }
            },
            message: error.to_string(),
        })?;
    let PrunedByHand { taken, kept_out } = &pruned;
    print(&report::pruned(taken, kept_out.as_ref(), keep, dry_run));
    Ok(match kept_out {
        Some(_) => Exit::SomeFailed,
        None => Exit::Done,
    })
}
