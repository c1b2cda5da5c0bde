//! What was done to the database itself.

use std::path::Path;

use chrono::TimeDelta;

use super::text::{line, message, number};
use crate::snapshot::{BackedUp, Pruned, SnapshotError};

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

/// What was taken out of the journal, or would be, for people; and the other writer for which that has broken
/// off.
pub fn pruned(
    pruned: &Pruned,
    kept_out: Option<&SnapshotError>,
    keep: TimeDelta,
    is_dry: bool,
) -> String {
    let mut out = String::new();
    let days = counted(keep.num_days().unsigned_abs(), "day");
    let Some(first) = pruned.first_run else {
        let nothing = match kept_out {
            Some(writer) => {
                let writer = message(&writer.to_string());
                format!("Nothing was taken out: {writer}.")
            }
            // Else it was stopped before it knew.
            None if pruned.has_more => "Stopped before anything was taken out.".to_owned(),
            None => format!("Nothing is older than {days}."),
        };
        line(&mut out, &nothing);
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
    let rest = "there may be more, which syncs or `dirsyncd prune` take out.";
    match kept_out {
        Some(writer) => {
            let writer = message(&writer.to_string());
            line(
                &mut out,
                &format!("Broken off before the end ({writer}): {rest}"),
            );
        }
        None if pruned.has_more => line(&mut out, &format!("Stopped before the end: {rest}")),
        None => {}
    }
    out
}

fn counted(count: u64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {what}{ending}", number(count))
}
