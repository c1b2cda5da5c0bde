//! `dirsyncd holds`: what waits for somebody to look at it.

use clap::Args;

use super::output::Format;
use super::{ConfigArgument, Exit, Failure, load, print, start_log};
use crate::config::LogFormat;
use crate::report;
use crate::snapshot::Snapshot;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The form of the list
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    let now = chrono::Utc::now();
    let mut snapshot = Snapshot::open_for_reading(&setup.config.database)
        .await
        .map_err(Failure::failed)?;
    let holds = snapshot.open_holds(now).await;
    snapshot.close().await.map_err(Failure::failed)?;
    let holds = holds.map_err(Failure::failed)?;
    print(&match arguments.format {
        Format::Text => report::holds(&holds, now),
        Format::Json => format!("{:#}\n", report::holds_json(&holds, now)),
    });
    Ok(Exit::Done)
}
