//! `dirsyncd approve`: lets what a hold holds through, once.

use clap::Args;

use super::{ConfigArgument, Exit, Failure, PATIENCE, invoker, load, print, start_log};
use crate::config::LogFormat;
use crate::report;
use crate::snapshot::{ApproveError, Asked, Journal};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The hold, by the name that `dirsyncd holds` shows, or as NAME#NUMBER
    hold: String,
    /// Only the operations of these people, not all that the hold has now
    #[arg(long, value_name = "KEY|MAIL|DN", num_args = 1..)]
    only: Vec<String>,
    /// Why; kept for good, with who asked and when
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("say why, for those who look later".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        config,
        hold,
        only,
        reason,
    } = arguments;
    let setup = load(&config)?;
    start_log("warn", LogFormat::Text);
    let asked = Asked {
        by: invoker(),
        reason,
    };
    let database = &setup.config.database;
    if !database.exists() {
        return Err(Failure::usage(format!(
            "there is no database {} yet, and so no hold: the first sync makes it",
            database.display()
        )));
    }
    let mut journal = Journal::open_within(database, PATIENCE)
        .await
        .map_err(Failure::failed)?;
    let approved = journal
        .approve(&hold, &only, &asked, chrono::Utc::now())
        .await;
    let closed = journal.close().await;
    let approved = approved.map_err(|error| match error {
        ApproveError::Snapshot(error) => Failure::failed(error),
        error => Failure::usage(error),
    })?;
    closed.map_err(Failure::failed)?;
    print(&report::approved(&approved));
    Ok(Exit::Done)
}
