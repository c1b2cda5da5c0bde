//! `dirsyncd rehearse`: the real sync against a copy of the organization.

use clap::Args;

use super::progress::Progress;
use super::sync::RunArguments;
use super::{Exit, Failure, detail, load, show, shutdown_on_signals, start_log};
use crate::apply::Control;
use crate::config::LogFormat;
use crate::rehearsal::{RehearsalError, rehearse};
use crate::report;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Show at most N people a group
    #[arg(long, value_name = "N", value_parser = super::output::whole)]
    limit: Option<usize>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.run.config)?;
    // The report tells of the rest.
    start_log("error,dirsyncd::directory=warn", LogFormat::Text);
    let stop = shutdown_on_signals()?;
    let progress = Progress::new(arguments.quiet);
    let control = Control {
        watch: &progress,
        stop,
        now: &chrono::Utc::now,
        asked_by: None,
    };
    let rehearsal = Box::pin(rehearse(&setup, arguments.run.orders.orders(), &control)).await;
    progress.finish();
    let rehearsal = rehearsal.map_err(|error| match error {
        RehearsalError::Run(error) => Failure::from(error),
        error @ RehearsalError::AdminWay => Failure::usage(error),
        error => Failure::failed(error),
    })?;
    let mut text = format!(
        "A rehearsal against a copy of {} accounts: nothing was written to the organization or to\nthe database.\n",
        rehearsal.copied
    );
    for left_out in &rehearsal.left_out {
        text += &report::printable(&format!("  ! not copied: {left_out}\n"));
    }
    let (finished, detail) = (&rehearsal.finished, detail(arguments.limit));
    text += &report::text(&finished.plan, detail);
    text += &report::applied(&finished.plan, &finished.applied, detail);
    text += &format!("After it: {}\n", report::summary_line(&rehearsal.rest));
    show(&text);
    Ok(rehearsal.finished.ended().into())
}
