//! `dirsyncd sync`: one run.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{Report, ReportArguments};
use super::{
    ConfigArgument, Exit, Failure, OrderArguments, invoker, load, say, shutdown_on_signals,
    start_log,
};
use crate::apply::{Clock, Control};
use crate::config::{Job, LogFormat, expect_guarded};
use crate::daemon::{self, Client, SyncOrder};
use crate::report::{self, SavedPlan};
use crate::run::{Setup, sync, sync_saved};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Carry out the plan of `dirsyncd plan --save FILE`, without reading the sources
    #[arg(long, value_name = "FILE", conflicts_with = "full")]
    plan: Option<PathBuf>,
    /// Have the daemon make the run, after what it is at, and wait for its end
    #[arg(long, conflicts_with_all = ["plan", "user", "accept_scope_change"])]
    daemon: bool,
    #[command(flatten)]
    report: ReportArguments,
}

/// What every verb takes that makes a run.
#[derive(Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) config: ConfigArgument,
    #[command(flatten)]
    pub(super) orders: OrderArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let outlet = arguments.report.begin(&[])?;
    let setup = load(&arguments.run.config)?;
    if arguments.daemon {
        return ask(&setup, &arguments, outlet).await;
    }
    let saved = arguments.plan.as_deref().map(read).transpose()?;
    if let Some(saved) = &saved
        && !setup.is_of(saved)
        // Another organization's is refused.
        && saved.organization == setup.config.organization.id
    {
        say(
            "dirsyncd: warning: the configuration of organization, sources, policy or groups has changed since the plan was made; it is carried out as it stands\n",
        );
    }
    // The report tells of the rest.
    start_log("error,dirsyncd::directory=warn", LogFormat::Text);
    let stop = shutdown_on_signals()?;
    let progress = arguments.report.progress();
    let clock = Clock::start();
    let control = Control {
        watch: &progress,
        stop,
        now: &|| clock.now(),
        asked_by: Some(invoker()),
    };
    let finished = match &saved {
        None => sync(&setup, arguments.run.orders.orders(), "sync", &control).await,
        Some(saved) => sync_saved(&setup, saved, &control).await,
    };
    progress.finish();
    if setup.config.notify.by_hand
        && saved.is_none()
        && arguments.run.orders.user.is_none()
        && let Some(seen) = daemon::seen(Job::Sync, &finished)
        && let Err(error) = daemon::tell_by_hand(&setup.config, &seen).await
    {
        say(&format!(
            "dirsyncd: warning: nobody is told how the sync went: {error}\n"
        ));
    }
    let finished = finished?;
    let told = saved.as_ref();
    let (plan, applied) = (&finished.plan, &finished.applied);
    let last = report::finished_line(plan, applied) + "\n";
    outlet.give(chrono::Utc::now(), &last, |form, detail| {
        report::finished(finished.run, plan, applied, told, (form, detail))
    })?;
    Ok(finished.ended().into())
}

/// Has the daemon make the run, which reports as this program would.
async fn ask(setup: &Setup, arguments: &Arguments, outlet: Report) -> Result<Exit, Failure> {
    let order = SyncOrder {
        wait: true,
        full: arguments.run.orders.full,
        format: outlet.form,
        limit: outlet.limit,
    };
    let reported = Client::of(&setup.config)?.sync(&order).await?;
    outlet.pass_on(&reported.last, || reported.text)?;
    Ok(reported.ended.into())
}

/// Reads a saved plan.
fn read(path: &Path) -> Result<SavedPlan, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::usage(format!(
            "the plan {} cannot be read: {error}; give a file that `dirsyncd plan --save` has written",
            path.display()
        ))
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    // Its digests tell of accidents alone: whoever can write it can make them again.
    expect_guarded("the plan", path, &metadata).map_err(Failure::usage)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    SavedPlan::parse(&text)
        .map_err(|error| Failure::usage(format!("the plan {}: {error}", path.display())))
}
