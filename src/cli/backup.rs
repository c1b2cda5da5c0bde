//! `dirsyncd backup`: a copy of the database.

use std::path::PathBuf;

use clap::Args;

use super::{ConfigArgument, Exit, Failure, load, print, shutdown_on_signals, start_log};
use crate::config::LogFormat;
use crate::report;
use crate::snapshot::{BackupError, back_up};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The file to make
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        config,
        file,
        force,
    } = arguments;
    let setup = load(&config)?;
    start_log("warn", LogFormat::Text);
    let database = &setup.config.database;
    let stop = shutdown_on_signals()?;
    let made = tokio::select! {
        made = back_up(database, &file, force) => made,
        () = stop.wait() => return Err(Failure::failed("stopped by a signal: no backup was made")),
    };
    let made = made.map_err(|error| match error {
        BackupError::Nothing(_)
        | BackupError::IsThere(_)
        | BackupError::Itself(_)
        | BackupError::Remains(_) => Failure::usage(error),
        BackupError::Snapshot(_) | BackupError::Unwritable { .. } | BackupError::Damaged(_) => {
            Failure::failed(error)
        }
    })?;
    print(&report::backed_up(database, &file, &made));
    Ok(Exit::Done)
}
