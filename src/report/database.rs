//! What was done to the database itself.

use std::path::Path;

use chrono::TimeDelta;

use super::text::{line, number};
use crate::snapshot::{BackedUp, Pruned};

/// A backup that was made, for people.
pub fn backed_up(database: &Path, file: &Path, made: &BackedUp) -> String {
    let BackedUp {
        accounts,
        last_run,
        size,
    } = made;
    let accounts = counted(*accounts, "account");
    let runs = match last_run {
        Some(run) => format!("up to run {run}"),
        None => "without a run".to_owned(),
    };
    let mut out = String::new();
    line(
        &mut out,
        &format!(
            "{} is backed up in {}: {accounts}, {runs}, {} KiB.",
            database.display(),
            file.display(),
            number(size.div_ceil(1024))
        ),
    );
    out
}

/// What was taken out of the journal, or would be, for people.
pub fn pruned(pruned: &Pruned, keep: TimeDelta, is_dry: bool) -> String {
    let mut out = String::new();
    let days = counted(keep.num_days().unsigned_abs(), "day");
    let Some(first) = pruned.first_run else {
        // Else it was stopped before it knew.
        if pruned.has_more {
            line(&mut out, "Stopped before anything was taken out.");
            return out;
        }
        line(&mut out, &format!("Nothing is older than {days}."));
        return out;
    };
    let (runs, operations) = (
        counted(pruned.runs as u64, "run"),
        counted(pruned.operations as u64, "operation"),
    );
    let (done, first) = match is_dry {
        true => ("To take out", format!("would begin with run {first}")),
        false => ("Taken out", format!("begins with run {first}")),
    };
    line(
        &mut out,
        &format!(
            "{done}, as older than {days} and not needed: {operations} and {runs}. What can be reverted {first}."
        ),
    );
    if pruned.has_more {
        line(
            &mut out,
            "Stopped before the end: there may be more, which syncs or `dirsyncd prune` take out.",
        );
    }
    out
}

fn counted(count: u64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {what}{ending}", number(count))
}
