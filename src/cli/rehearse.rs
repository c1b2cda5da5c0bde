//! `dirsyncd rehearse`: the real sync against a copy of the organization.

use super::progress::Progress;
use super::sync::{RunArguments, outcome};
use super::{Exit, Failure, load, print, shutdown_on_signals, start_log};
use crate::apply::Control;
use crate::config::LogFormat;
use crate::rehearsal::{RehearsalError, rehearse};
use crate::report;

pub(super) async fn run(arguments: RunArguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    // The report tells of the rest.
    start_log("error,dirsyncd::directory=warn", LogFormat::Text);
    let stop = shutdown_on_signals()?;
    let progress = Progress::new();
    let control = Control {
        watch: &progress,
        stop,
        now: &chrono::Utc::now,
        asked_by: None,
    };
    let rehearsal = Box::pin(rehearse(&setup, arguments.orders.orders(), &control)).await;
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
        text += &format!("  ! not copied: {left_out}\n");
    }
    text += &outcome(&rehearsal.finished, &arguments);
    text += &format!("After it: {}\n", report::summary_line(&rehearsal.rest));
    print(&text);
    Ok(rehearsal.finished.ended().into())
}
