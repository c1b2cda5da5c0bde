//! `dirsyncd run`: the daemon.

use clap::Args;

use super::{ConfigArgument, Exit, Failure, load, shutdown_on_signals, start_log};
use crate::daemon;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    let Some(schedule) = setup.config.schedule.clone() else {
        return Err(Failure::usage(
            setup.config.invalid(
                None,
                "there is no [schedule]: say when to sync, for example sync = \"*/15 * * * *\""
                    .to_owned(),
            ),
        ));
    };
    start_log(&setup.config.log.level, setup.config.log.format);
    let stop = shutdown_on_signals()?;
    daemon::run(&setup, &schedule, stop)
        .await
        .map_err(Failure::failed)?;
    Ok(Exit::Done)
}
