//! `dirsyncd status`: how the daemon stands.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{ConfigArgument, Exit, Failure, load, print, start_log};
use crate::config::LogFormat;
use crate::daemon::{AskError, Client, Status};
use crate::snapshot::Lock;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
   0  a daemon runs, also one that is paused
   1  it cannot be told
   2  wrong usage or configuration
   3  no daemon runs
   4  a daemon runs, but hangs, does not answer or cannot be asked, as with `socket = false`";

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Ask the daemon on this socket; no configuration is needed
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print nothing; the exit code tells
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    if let Some(socket) = &arguments.socket {
        return ask(socket, &arguments).await;
    }
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    let (config, database) = (&setup.config, &setup.config.database);
    let asked = async { Client::of(config)?.status().await };
    let (status, exit) = match asked.await {
        Ok(status) => {
            let exit = exit_of(&status);
            (status, exit)
        }
        Err(error @ (AskError::NoDaemon(_) | AskError::NoSocket)) => {
            if let Some(holder) = Lock::of_daemon(database) {
                let message = format!("a daemon runs ({holder}), but cannot be asked: {error}");
                return Err(Failure {
                    exit: Exit::SomeFailed,
                    message,
                });
            }
            let status = Status::without_daemon(config).await;
            (status.map_err(Failure::failed)?, Exit::Refused)
        }
        Err(error) => return Err(untold(error)),
    };
    tell(&status, &arguments)?;
    Ok(exit)
}

/// Asks by the socket alone, and if nothing is printed only what a restart would mend, as a probe does.
async fn ask(socket: &Path, arguments: &Arguments) -> Result<Exit, Failure> {
    start_log("warn", LogFormat::Text);
    let client = Client::at(socket)?;
    if arguments.quiet {
        return match client.is_healthy().await {
            Ok(true) => Ok(Exit::Done),
            Ok(false) => Ok(Exit::SomeFailed),
            Err(error) => Err(untold(error)),
        };
    }
    let status = client.status().await.map_err(untold)?;
    tell(&status, arguments)?;
    Ok(exit_of(&status))
}

fn exit_of(status: &Status) -> Exit {
    let hangs = status.daemon.as_ref().is_some_and(|daemon| daemon.hanging);
    if hangs { Exit::SomeFailed } else { Exit::Done }
}

fn untold(error: AskError) -> Failure {
    let exit = match &error {
        AskError::NoDaemon(_) => Exit::Refused,
        AskError::NoAnswer { .. } => Exit::SomeFailed,
        error => error.ended().into(),
    };
    Failure {
        exit,
        message: error.to_string(),
    }
}

fn tell(status: &Status, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.json {
        let json = serde_json::to_value(status).map_err(Failure::failed)?;
        print(&format!("{json:#}\n"));
    } else if !arguments.quiet {
        print(&status.text());
    }
    Ok(())
}
