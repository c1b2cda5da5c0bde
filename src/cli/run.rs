//! `dirsyncd run`: the daemon.

use std::path::Path;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{ConfigArgument, Exit, Failure, load_from, log, shutdown_on_signals};
use crate::config::Job;
use crate::daemon::{self, CannotStart, Wish, tell_by_hand};
use crate::notify::Seen;
use crate::run::Setup;
use crate::snapshot::SnapshotError;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let path = arguments.config.path;
    let setup = load_scheduled(&path)?;
    log::start(&setup.config.log);
    let stop = shutdown_on_signals()?;
    let wishes = wishes_by_signals()?;
    let reload = || load_scheduled(&path).map_err(|failure| failure.message);
    let config = setup.config.clone();
    let result = daemon::run(setup, &reload, wishes, stop).await;
    if let Err(error) = &result
        && !matches!(error, CannotStart::Snapshot(SnapshotError::Served { .. }))
        && let Err(untold) = tell_by_hand(&config, &Seen::start(Some(error.to_string()))).await
    {
        tracing::error!("nobody is told that the daemon does not start: {untold}");
    }
    result.map_err(Failure::failed)?;
    Ok(Exit::Done)
}

fn load_scheduled(path: &Path) -> Result<Setup, Failure> {
    let setup = load_from(path)?;
    if setup.config.schedule.is_empty() {
        return Err(Failure::usage(
            setup.config.invalid(
                None,
                "there is no [schedule]: say when to sync, for example sync = \"*/15 * * * *\""
                    .to_owned(),
            ),
        ));
    }
    // Not in the middle of the night, and not with a working configuration given up for it.
    setup
        .expect_usable()
        .map_err(|why| Failure::usage(setup.config.invalid(None, why)))?;
    Ok(setup)
}

/// What is asked for, by SIGHUP and SIGUSR1 too.
fn wishes_by_signals() -> Result<(mpsc::Sender<Wish>, mpsc::Receiver<Wish>), Failure> {
    let cannot = |error| Failure::failed(format!("cannot listen for signals: {error}"));
    let mut hang_up = signal(SignalKind::hangup()).map_err(cannot)?;
    let mut user = signal(SignalKind::user_defined1()).map_err(cannot)?;
    let (wish, wishes) = mpsc::channel(16);
    let sender = wish.clone();
    tokio::spawn(async move {
        loop {
            let wish = tokio::select! {
                Some(()) = hang_up.recv() => Wish::Reload,
                Some(()) = user.recv() => Wish::Do { job: Job::Sync, asker: None },
                else => return,
            };
            if sender.send(wish).await.is_err() {
                return;
            }
        }
    });
    Ok((wish, wishes))
}
