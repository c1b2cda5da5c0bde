//! How far a run has come: a line that moves on a terminal, a line now and then where there is none.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::say;
use crate::apply::Watch;
use crate::model::{GroupChange, Kind, SourceName};
use crate::report::number;

/// Where no terminal is, the first line comes after so long, so that what is done in no time says nothing.
const FIRST_AFTER: Duration = Duration::from_secs(2);

/// And the next ones so long after another, at least.
const THEN_EVERY: Duration = Duration::from_secs(10);

/// Shows entries as they are read, then operations as they are sent.
pub(super) struct Progress {
    bar: ProgressBar,
    /// None on a terminal, and where nothing is to be shown.
    lines: Option<Mutex<Lines>>,
    /// So many entries were told last.
    entries: AtomicU64,
}

struct Lines {
    /// When the next one may come.
    next: Instant,
    source: String,
    sending: Option<Sending>,
}

/// Operations on their way.
struct Sending {
    since: Instant,
    ended: usize,
    failed: usize,
    of: usize,
}

impl Progress {
    /// On standard error; nothing at all when it is to be quiet.
    pub(super) fn new(is_quiet: bool) -> Self {
        let bar = match is_quiet {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
            false => ProgressBar::new_spinner(),
        };
        let lines = (!is_quiet && bar.is_hidden()).then(|| {
            Mutex::new(Lines {
                next: Instant::now() + FIRST_AFTER,
                source: String::new(),
                sending: None,
            })
        });
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Progress {
            bar,
            lines,
            entries: AtomicU64::new(0),
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Changes what is known, and tells it in a line if it is time for one.
    fn line(&self, change: impl FnOnce(&mut Lines), tell: impl FnOnce(&Lines) -> String) {
        let Some(Ok(mut lines)) = self.lines.as_ref().map(Mutex::lock) else {
            return;
        };
        change(&mut lines);
        let now = Instant::now();
        if now >= lines.next {
            lines.next = now + THEN_EVERY;
            say(&format!("dirsyncd: {}\n", tell(&lines)));
        }
    }

    fn ended(&self, failed: bool) {
        self.bar.inc(1);
        self.line(
            |lines| {
                if let Some(sending) = &mut lines.sending {
                    sending.ended += 1;
                    sending.failed += usize::from(failed);
                }
            },
            |lines| {
                lines
                    .sending
                    .as_ref()
                    .map_or(String::new(), Sending::in_words)
            },
        );
    }
}

impl Sending {
    fn in_words(&self) -> String {
        let passed = self.since.elapsed().as_secs_f64().max(0.001);
        let rate = self.ended as f64 / passed;
        let left = self.of.saturating_sub(self.ended) as f64 / rate.max(0.001);
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {} failed", number(failed as u64)),
        };
        format!(
            "{} of {} operations{failed}, {rate:.1} a second, about {} left",
            number(self.ended as u64),
            number(self.of as u64),
            humantime::format_duration(Duration::from_secs(left.ceil() as u64))
        )
    }
}

impl Watch for Progress {
    fn reading(&self, source: &SourceName) {
        self.bar.set_message(format!("reading `{source}`"));
        self.line(
            |lines| lines.source = format!(" of `{source}`"),
            |_| format!("reading `{source}`"),
        );
    }

    fn entries_read(&self, entries: u64) {
        let last = self.entries.load(Ordering::Relaxed);
        if entries.abs_diff(last) < 100 {
            return;
        }
        self.entries.store(entries, Ordering::Relaxed);
        self.bar
            .set_message(format!("{} entries read", number(entries)));
        self.line(
            |_| (),
            |lines| format!("{} entries read{}", number(entries), lines.source),
        );
    }

    fn planning(&self) {
        self.bar.set_message("planning");
        self.line(|_| (), |_| "planning".to_owned());
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
        self.line(
            |lines| {
                lines.sending = Some(Sending {
                    since: Instant::now(),
                    ended: 0,
                    failed: 0,
                    of: operations,
                });
            },
            |_| format!("{} operations to send", number(operations as u64)),
        );
    }

    fn operation_ended(&self, _kind: Kind, failed: bool) {
        self.ended(failed);
    }

    fn group_ended(&self, _kind: GroupChange, failed: bool) {
        self.ended(failed);
    }
}
