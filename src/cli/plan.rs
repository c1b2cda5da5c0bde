//! `dirsyncd plan`: the dry run.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::progress::Progress;
use super::{ConfigArgument, Exit, Failure, OrderArguments, load, load_from, print, start_log};
use crate::against::compare;
use crate::apply::{Control, Shutdown};
use crate::config::LogFormat;
use crate::plan::Plan;
use crate::report::{self, Detail};
use crate::run::{Setup, dry_run};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    #[command(flatten)]
    orders: OrderArguments,
    /// The form of the plan
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show at most N people a group (text only)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show who would enter and leave the scope by the configuration, compared with this older one
    #[arg(long, value_name = "OLD.toml", conflicts_with = "accept_scope_change")]
    against: Option<PathBuf>,
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
    if let Some(old) = &arguments.against {
        return edit(&setup, old, &arguments).await;
    }
    let progress = Progress::new();
    let control = Control {
        watch: &progress,
        stop: Shutdown::never(),
        now: &chrono::Utc::now,
    };
    let plan = dry_run(&setup, arguments.orders.orders(), &control).await;
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

/// Who would enter and leave by the edit of the configuration.
async fn edit(setup: &Setup, old: &Path, arguments: &Arguments) -> Result<Exit, Failure> {
    let old = load_from(old)?;
    let progress = Progress::new();
    let edit = compare(&old, setup, chrono::Utc::now(), &progress).await;
    progress.finish();
    let edit = edit?;
    print(&match arguments.format {
        Format::Text => report::edit(
            &edit,
            Detail {
                limit: arguments.limit,
            },
        ),
        Format::Json => format!("{:#}\n", serde_json::json!(edit)),
    });
    Ok(if !edit.incomplete.is_empty() {
        Exit::Refused
    } else if arguments.detailed_exitcode && !(edit.entering.is_empty() && edit.leaving.is_empty())
    {
        Exit::Pending
    } else {
        Exit::Done
    })
}
