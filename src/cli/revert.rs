//! `dirsyncd revert`: undoes what a run did.

use clap::Args;

use super::output::{ReportArguments, last_line};
use super::{ConfigArgument, Exit, Failure, invoker, load, shutdown_on_signals, start_log};
use crate::apply::{Clock, Control};
use crate::config::LogFormat;
use crate::model::RunId;
use crate::report;
use crate::run::{Ended, Wish, dry_revert, revert};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The number of the run, as its report tells it
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    run: i64,
    /// Undo only what the run did to these people and groups; a person comes without the groups
    #[arg(long, value_name = "KEY|MAIL|GROUP|DN", num_args = 1..)]
    only: Vec<String>,
    /// Show what would be undone, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    report: ReportArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        config,
        run,
        only,
        dry_run,
        report: arguments,
    } = arguments;
    let outlet = arguments.begin(&[])?;
    let setup = load(&config)?;
    // The report tells of the rest.
    start_log("error", LogFormat::Text);
    let wish = Wish {
        run: RunId(run),
        only,
    };
    let progress = arguments.progress();
    let clock = Clock::start();
    let control = Control {
        watch: &progress,
        stop: shutdown_on_signals()?,
        now: &|| clock.now(),
        asked_by: Some(invoker()),
    };
    if dry_run {
        let plan = dry_revert(&setup, &wish, &control).await;
        progress.finish();
        let plan = plan?;
        outlet.give(chrono::Utc::now(), &last_line(&plan), |form, detail| {
            report::planned(&plan, form, detail)
        })?;
        return Ok(Ended::with(&plan).into());
    }
    let finished = revert(&setup, &wish, &control).await;
    progress.finish();
    let finished = finished?;
    let (plan, applied) = (&finished.plan, &finished.applied);
    let last = report::finished_line(plan, applied) + "\n";
    outlet.give(chrono::Utc::now(), &last, |form, detail| {
        report::finished(finished.run, plan, applied, None, (form, detail))
    })?;
    Ok(finished.ended().into())
}
