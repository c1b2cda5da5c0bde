//! `dirsyncd sync`: one run.

use clap::Args;

use super::progress::Progress;
use super::{
    ConfigArgument, Exit, Failure, OrderArguments, load, print, shutdown_on_signals, start_log,
};
use crate::apply::{Control, EndedBy};
use crate::config::LogFormat;
use crate::report::{self, Detail};
use crate::run::{Finished, sync};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) config: ConfigArgument,
    #[command(flatten)]
    pub(super) orders: OrderArguments,
    /// Show at most N people a group
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    // The report tells of the rest.
    start_log("error,dirsyncd::directory=warn", LogFormat::Text);
    let stop = shutdown_on_signals()?;
    let progress = Progress::new();
    let control = Control {
        watch: &progress,
        stop,
        now: &chrono::Utc::now,
    };
    let finished = sync(&setup, arguments.orders.orders(), "sync", &control).await;
    progress.finish();
    let finished = finished?;
    print(&outcome(&finished, &arguments));
    Ok(exit(&finished))
}

/// What was planned, and what became of it.
pub(super) fn outcome(finished: &Finished, arguments: &Arguments) -> String {
    let detail = Detail {
        limit: arguments.limit,
    };
    report::text(&finished.plan, detail) + &report::applied(&finished.applied, detail)
}

pub(super) fn exit(Finished { plan, applied, .. }: &Finished) -> Exit {
    let broke_off = matches!(applied.ended_by, Some(EndedBy::Error(_)));
    let has_failed = !applied.failed.is_empty() || !applied.groups.failed.is_empty();
    if has_failed || broke_off {
        Exit::SomeFailed
    } else if plan.needs_attention() {
        Exit::Refused
    } else {
        Exit::Done
    }
}
