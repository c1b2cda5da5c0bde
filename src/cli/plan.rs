//! `dirsyncd plan`: the dry run.

use clap::{Args, ValueEnum};

use super::progress::Progress;
use super::{ConfigArgument, DepthArgument, Exit, Failure, load, print, start_log};
use crate::apply::{Control, Shutdown};
use crate::config::LogFormat;
use crate::plan::Plan;
use crate::report::{self, Detail};
use crate::run::dry_run;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    #[command(flatten)]
    depth: DepthArgument,
    /// The form of the plan
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show at most N people a group (text only)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Exit with 10 when changes are pending
    #[arg(long)]
    detailed_exitcode: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let setup = load(&arguments.config)?;
    start_log("warn", LogFormat::Text);
    let progress = Progress::new();
    let control = Control {
        watch: &progress,
        stop: Shutdown::never(),
        now: &chrono::Utc::now,
    };
    let plan = dry_run(&setup, arguments.depth.depth(), &control).await;
    progress.finish();
    let plan = plan?;
    print(&match arguments.format {
        Format::Text => report::text(
            &plan,
            Detail {
                limit: arguments.limit,
            },
        ),
        Format::Json => format!("{:#}\n", report::json(&plan)),
    });
    Ok(exit(&plan, arguments.detailed_exitcode))
}

fn exit(plan: &Plan, detailed: bool) -> Exit {
    if plan.needs_attention() {
        Exit::Refused
    } else if detailed && plan.has_pending() {
        Exit::Pending
    } else {
        Exit::Done
    }
}
