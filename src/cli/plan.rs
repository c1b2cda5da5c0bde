//! `dirsyncd plan`: the dry run.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{PRIVATE, Place, Report, ReportArguments, is_there, last_line};
use super::{
    ConfigArgument, Exit, Failure, OrderArguments, detail, load, load_from, print, say, show,
    start_log,
};
use crate::against::compare;
use crate::apply::{Control, Shutdown};
use crate::config::LogFormat;
use crate::daemon::{Client, PlanOrder};
use crate::plan::Plan;
use crate::report::{self, Form};
use crate::run::{Ended, Setup, dry_run, save};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    #[command(flatten)]
    orders: OrderArguments,
    #[command(flatten)]
    report: ReportArguments,
    /// Show who would enter and leave the scope by the configuration, compared with this older one
    #[arg(long, value_name = "OLD.toml", conflicts_with_all = ["accept_scope_change", "output"])]
    against: Option<PathBuf>,
    /// Exit with 10 when changes are pending
    #[arg(long)]
    detailed_exitcode: bool,
    /// Save the plan as JSON, for `dirsyncd sync --plan FILE`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Replace the file of `--save` if it is there already
    #[arg(long, requires = "save")]
    force: bool,
    /// Have the daemon make the dry run
    #[arg(long, conflicts_with_all = ["against", "save"])]
    daemon: bool,
    /// Print the JSON Schema of a saved plan, and do nothing else
    #[arg(long, exclusive = true)]
    schema: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    if arguments.schema {
        print(report::SCHEMA);
        return Ok(Exit::Done);
    }
    // Told before the sources are read, not after.
    if let (Some(path), false) = (&arguments.save, arguments.force)
        && path.symlink_metadata().is_ok()
    {
        return Err(is_there(path));
    }
    let others: Vec<&Path> = arguments.save.iter().map(PathBuf::as_path).collect();
    let outlet = arguments.report.begin(&others)?;
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    if let Some(old) = &arguments.against {
        return edit(&setup, old, &arguments, &outlet).await;
    }
    if arguments.daemon {
        return ask(&setup, &arguments, outlet).await;
    }
    let progress = arguments.report.progress();
    let control = Control {
        watch: &progress,
        stop: Shutdown::never(),
        now: &chrono::Utc::now,
        asked_by: None,
    };
    let orders = arguments.orders.orders();
    let planned = match &arguments.save {
        None => dry_run(&setup, orders, &control)
            .await
            .map(|plan| (plan, None)),
        Some(path) => save(&setup, orders, &control)
            .await
            .map(|(plan, saved)| (plan, Some((path, saved)))),
    };
    progress.finish();
    let (plan, saved) = planned?;
    outlet.give(chrono::Utc::now(), &last_line(&plan), |form, detail| {
        report::planned(&plan, form, detail)
    })?;
    if let Some((path, saved)) = saved {
        let text = saved
            .text()
            .map_err(|error| Failure::failed(format!("the plan cannot be saved: {error}")))?;
        Place::at(path, PRIVATE, "the plan")?.write(&text, arguments.force)?;
        // Not to standard output, where the plan may be JSON.
        say(&format!(
            "dirsyncd: the plan {id} is saved in {path}; dirsyncd sync --plan {path} carries it out, once\n",
            id = saved.id,
            path = path.display()
        ));
    }
    Ok(exit(&plan, arguments.detailed_exitcode))
}

/// Has the daemon make the dry run, which reports as this program would.
async fn ask(setup: &Setup, arguments: &Arguments, outlet: Report) -> Result<Exit, Failure> {
    let OrderArguments {
        full,
        accept_scope_change,
        user,
    } = &arguments.orders;
    let order = PlanOrder {
        format: outlet.form,
        limit: outlet.limit,
        full: *full,
        accept_scope_change: *accept_scope_change,
        user: user.clone(),
    };
    let reported = Client::of(&setup.config)?.plan(&order).await?;
    outlet.pass_on(&reported.last, || reported.text)?;
    Ok(match reported.is_pending && arguments.detailed_exitcode {
        true => Exit::Pending,
        false => reported.ended.into(),
    })
}

fn exit(plan: &Plan, detailed: bool) -> Exit {
    match Ended::with(plan) {
        Ended::Done if detailed && plan.has_pending() => Exit::Pending,
        ended => ended.into(),
    }
}

/// Who would enter and leave by the edit of the configuration.
async fn edit(
    setup: &Setup,
    old: &Path,
    arguments: &Arguments,
    outlet: &Report,
) -> Result<Exit, Failure> {
    if !matches!(outlet.form, Form::Text | Form::Json) {
        return Err(Failure::usage("with --against the report is text or json"));
    }
    if let Err(error) = std::fs::File::open(old) {
        return Err(Failure::usage(format!(
            "cannot read {}: {error}; give --against the configuration from before the edit",
            old.display()
        )));
    }
    let old = load_from(old)?;
    let progress = arguments.report.progress();
    let edit = compare(&old, setup, chrono::Utc::now(), &progress).await;
    progress.finish();
    let edit = edit?;
    let text = || report::edit(&edit, detail(outlet.limit));
    match outlet.form {
        Form::Json => print(&format!("{:#}\n", serde_json::json!(edit))),
        _ if outlet.is_quiet => {
            show(&(text().lines().last().unwrap_or_default().to_owned() + "\n"))
        }
        _ => show(&text()),
    }
    Ok(if !edit.incomplete.is_empty() {
        Exit::Refused
    } else if arguments.detailed_exitcode && !(edit.entering.is_empty() && edit.leaving.is_empty())
    {
        Exit::Pending
    } else {
        Exit::Done
    })
}
