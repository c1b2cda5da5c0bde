//! `dirsyncd pause` and `dirsyncd resume`: whether the daemon starts jobs.

use clap::Args;

use super::{ConfigArgument, Exit, Failure, PATIENCE, invoker, load, print, start_log};
use crate::config::{Config, LogFormat};
use crate::daemon::{AskError, Client, PauseOrder, paused};
use crate::snapshot::{Pause, SnapshotError, keep_pause_for_later};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Why; told by `dirsyncd status`
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
}

#[derive(Args)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    let reason = Pause::reason(&arguments.why).map_err(Failure::usage)?;
    let order = PauseOrder {
        reason: reason.clone(),
    };
    let asked = async { Client::of(&setup.config)?.pause(&order).await };
    let (pause, at_work) = match asked.await {
        Ok(status) => (
            status.paused,
            status.daemon.and_then(|daemon| daemon.at_work),
        ),
        Err(error) => {
            let pause = Pause {
                since: chrono::Utc::now(),
                asked_by: invoker(),
                reason,
            };
            keep(&setup.config, error, Some(&pause)).await?;
            (Some(pause), None)
        }
    };
    if let Some(pause) = pause {
        print(&format!("Paused {}.\n", paused(&pause)));
    }
    if let Some(work) = at_work {
        print(&format!(
            "What is at work goes on to its end: {}.\n",
            work.job
        ));
    }
    Ok(Exit::Done)
}

pub(super) async fn resume(arguments: ResumeArguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    let asked = async { Client::of(&setup.config)?.resume().await };
    match asked.await {
        Ok(_) => print("The daemon goes on; what came due meanwhile is done once.\n"),
        Err(error) => {
            keep(&setup.config, error, None).await?;
            print("No pause is on any more; no daemon runs.\n");
        }
    }
    Ok(Exit::Done)
}

/// Records it for the next daemon, if none runs.
async fn keep(config: &Config, asked: AskError, pause: Option<&Pause>) -> Result<(), Failure> {
    if !matches!(asked, AskError::NoDaemon(_) | AskError::NoSocket) {
        return Err(asked.into());
    }
    let kept = keep_pause_for_later(&config.database, pause, PATIENCE).await;
    kept.map_err(|error| match error {
        SnapshotError::Served { .. } => Failure::from(asked),
        error => Failure::failed(error),
    })
}
