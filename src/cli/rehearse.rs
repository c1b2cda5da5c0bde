//! `dirsyncd rehearse`: the real sync against a copy of the organization.

use clap::Args;

use super::progress::Progress;
use super::sync::exit;
use super::{ConfigArgument, Exit, Failure, load, print, shutdown_on_signals, start_log};
use crate::apply::Control;
use crate::config::LogFormat;
use crate::rehearsal::{RehearsalError, rehearse};
use crate::report::{self, Detail};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Show at most N people a group
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    start_log("error", LogFormat::Text);
    let stop = shutdown_on_signals()?;
    let progress = Progress::new();
    let control = Control {
        watch: &progress,
        stop,
        now: &chrono::Utc::now,
    };
    let rehearsal = rehearse(&setup, &control).await;
    progress.finish();
    let rehearsal = rehearsal.map_err(|error| match error {
        RehearsalError::Run(error) => Failure::from(error),
        error @ RehearsalError::AdminWay => Failure::usage(error),
        error => Failure::failed(error),
    })?;
    let detail = Detail {
        limit: arguments.limit,
    };
    let mut text = format!(
        "A rehearsal against a copy of {} accounts: nothing was written to the organization or to\nthe database.\n",
        rehearsal.copied
    );
    for left_out in &rehearsal.left_out {
        text += &format!("  ! not copied: {left_out}\n");
    }
    text += &report::text(&rehearsal.finished.plan, detail);
    text += &report::applied(&rehearsal.finished.applied, detail);
    text += &format!("After it: {}\n", report::summary_line(&rehearsal.rest));
    print(&text);
    Ok(exit(&rehearsal.finished))
}
