//! `dirsyncd retry`: lets go again what has failed for a person or a group.

use clap::Args;

use super::{ConfigArgument, Exit, Failure, PATIENCE, invoker, load, print, start_log};
use crate::config::LogFormat;
use crate::report;
use crate::snapshot::{Asked, Journal, RetryError};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Whose: key, e-mail address, user name, DN, or the name of a group
    #[arg(
        value_name = "KEY|MAIL|GROUP|DN",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    who: Option<String>,
    /// All that waits for another try or is in quarantine
    #[arg(long)]
    all: bool,
    /// Why; kept for good, with who asked and when
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        config,
        who,
        all: _,
        reason,
    } = arguments;
    let setup = load(&config)?;
    start_log("warn", LogFormat::Text);
    let asked = Asked {
        by: invoker(),
        reason: reason.trim().to_owned(),
    };
    let database = &setup.config.database;
    if !database.exists() {
        return Err(Failure::usage(format!(
            "there is no database {} yet, and so nothing that has failed: the first sync makes it",
            database.display()
        )));
    }
    let mut journal = Journal::open_within(database, PATIENCE)
        .await
        .map_err(Failure::failed)?;
    let let_go = journal
        .retry(who.as_deref(), &asked, chrono::Utc::now())
        .await;
    let closed = journal.close().await;
    let let_go = let_go.map_err(|error| match error {
        RetryError::Snapshot(error) => Failure::failed(error),
        error => Failure::usage(error),
    })?;
    closed.map_err(Failure::failed)?;
    print(&report::retried(&let_go));
    Ok(Exit::Done)
}
