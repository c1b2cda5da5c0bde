//! Progress on a terminal; nothing where there is none.

use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use crate::apply::Watch;
use crate::model::{GroupChange, Kind};

/// A line that moves: entries as they are read, then operations as they are sent.
pub(super) struct Progress {
    bar: ProgressBar,
    shown: AtomicU64,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        Progress {
            bar,
            shown: AtomicU64::new(0),
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Progress {
    fn entries_read(&self, entries: u64) {
        if entries - self.shown.load(Ordering::Relaxed) >= 1000 {
            self.shown.store(entries, Ordering::Relaxed);
            self.bar.set_message(format!("{entries} entries read"));
        }
    }

    fn sending(&self, operations: usize) {
        if operations == 0 {
            return;
        }
        self.bar.set_length(operations as u64);
        self.bar.set_position(0);
        if let Ok(style) =
            ProgressStyle::with_template("{wide_bar} {pos}/{len} operations, {per_sec}, {eta} left")
        {
            self.bar.set_style(style);
        }
    }

    fn operation_ended(&self, _kind: Kind, _failed: bool) {
        self.bar.inc(1);
    }

    fn group_ended(&self, _kind: GroupChange, _failed: bool) {
        self.bar.inc(1);
    }
}
