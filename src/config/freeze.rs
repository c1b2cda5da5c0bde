//! Windows in which nothing, or not everything, is done.

use std::collections::BTreeSet;

use chrono::{
    DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone,
};
use chrono_tz::Tz;

use super::Guard;
use crate::model::Timestamp;

/// A window in which operations are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// When.
    pub window: Window,
    /// The zone in which its times are local.
    pub zone: Tz,
    /// The kinds that are held; everything when `None`.
    pub what: Option<BTreeSet<Guard>>,
}

/// When a window is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// Once, from the first moment up to the second.
    Once {
        /// Its first moment.
        from: NaiveDateTime,
        /// The first moment after it.
        to: NaiveDateTime,
    },
    /// Every week.
    Weekly {
        /// The weekdays on which it begins, from Monday as 0.
        days: BTreeSet<u32>,
        /// Its first moment, as the time since midnight: below a day.
        start: TimeDelta,
        /// How long it lasts by the clock on the wall; a day at most.
        length: TimeDelta,
    },
}

impl Freeze {
    /// When the window ends that this moment is in; `None` outside of it.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let spans = match &self.window {
            Window::Once { from, to } => vec![(*from, *to)],
            Window::Weekly {
                days,
                start,
                length,
            } => {
                // A window of yesterday may still be open; and where the clocks change, or a
                // zone skips a day, the one of the day before.
                let today = now.with_timezone(&self.zone).date_naive();
                (0..=2)
                    .filter_map(|back| today.checked_sub_days(Days::new(back)))
                    .filter(|day| days.contains(&day.weekday().num_days_from_monday()))
                    .map(|day| span(day, *start, *length))
                    .collect()
            }
        };
        spans
            .into_iter()
            .filter_map(|(from, to)| Some((self.first(from)?, self.last(to)?)))
            .filter(|(from, to)| (*from..*to).contains(&now))
            .map(|(_, to)| to)
            .max()
    }

    /// The first moment at which the clock on the wall shows this time.
    fn first(&self, local: NaiveDateTime) -> Option<Timestamp> {
        Some(self.shown(local)?.earliest()?.to_utc())
    }

    /// The last moment at which it does.
    fn last(&self, local: NaiveDateTime) -> Option<Timestamp> {
        Some(self.shown(local)?.latest()?.to_utc())
    }

    /// A time that the clock skips is taken for the one to which it skips.
    fn shown(&self, local: NaiveDateTime) -> Option<LocalResult<DateTime<Tz>>> {
        // No zone has ever skipped more than a day.
        (0..=24 * 60)
            .filter_map(|minutes| local.checked_add_signed(TimeDelta::minutes(minutes)))
            .map(|local| self.zone.from_local_datetime(&local))
            .find(|shown| *shown != LocalResult::None)
    }
}

fn span(day: NaiveDate, start: TimeDelta, length: TimeDelta) -> (NaiveDateTime, NaiveDateTime) {
    let from = day.and_time(chrono::NaiveTime::MIN) + start;
    (from, from + length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn nightly(start: i64, length: i64) -> Freeze {
        Freeze {
            window: Window::Weekly {
                days: (0..7).collect(),
                start: TimeDelta::minutes(start),
                length: TimeDelta::minutes(length),
            },
            zone: Tz::Europe__Berlin,
            what: None,
        }
    }

    fn once(from: &str, to: &str) -> Freeze {
        Freeze {
            window: Window::Once {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
            },
            ..nightly(0, 0)
        }
    }

    /// The last moment before and the first within; the last within and the first after it.
    #[track_caller]
    fn check(freeze: &Freeze, from: &str, to: &str) {
        let (from, to) = (at(from), at(to));
        let second = TimeDelta::seconds(1);
        assert_eq!(freeze.until(from - second), None, "before {from}");
        assert_eq!(freeze.until(from), Some(to), "at {from}");
        assert_eq!(freeze.until(to - second), Some(to), "before {to}");
        assert_eq!(freeze.until(to), None, "at {to}");
    }

    #[test]
    fn a_window_is_in_local_time() {
        let freeze = once("2026-12-24T12:00:00", "2027-01-02T00:00:00");
        check(&freeze, "2026-12-24T11:00:00Z", "2027-01-01T23:00:00Z");
    }

    #[test]
    fn a_weekly_window_belongs_to_the_day_on_which_it_begins() {
        let mut freeze = nightly(18 * 60, 14 * 60);
        freeze.window = match freeze.window {
            Window::Weekly { start, length, .. } => Window::Weekly {
                days: [5].into(),
                start,
                length,
            },
            Window::Once { .. } => unreachable!(),
        };
        // From Saturday evening to Sunday morning, and not from Friday or Sunday evening.
        check(&freeze, "2026-11-28T17:00:00Z", "2026-11-29T07:00:00Z");
        assert_eq!(freeze.until(at("2026-11-28T03:00:00Z")), None);
        assert_eq!(freeze.until(at("2026-11-29T20:00:00Z")), None);
    }

    #[test]
    fn a_whole_day_ends_where_the_next_begins() {
        let freeze = nightly(0, 24 * 60);
        assert_eq!(
            freeze.until(at("2026-06-15T21:59:59Z")),
            Some(at("2026-06-15T22:00:00Z"))
        );
    }

    #[test]
    fn the_night_in_which_the_clocks_go_back_is_longer() {
        // On 2026-10-25 in Berlin 02:00 to 03:00 comes twice, from 00:00 and from 01:00 UTC.
        let night = nightly(22 * 60, 8 * 60);
        check(&night, "2026-10-24T20:00:00Z", "2026-10-25T05:00:00Z");
        // A window that ends in the hour that comes twice ends with the second.
        let ends_twice = nightly(22 * 60, 4 * 60 + 30);
        check(&ends_twice, "2026-10-24T20:00:00Z", "2026-10-25T01:30:00Z");
        // And one that begins there begins with the first.
        let begins_twice = nightly(2 * 60 + 30, 60);
        check(
            &begins_twice,
            "2026-10-25T00:30:00Z",
            "2026-10-25T02:30:00Z",
        );
        let at_once = once("2026-10-25T02:15:00", "2026-10-25T02:45:00");
        check(&at_once, "2026-10-25T00:15:00Z", "2026-10-25T01:45:00Z");
    }

    #[test]
    fn the_night_in_which_the_clocks_go_forward_is_shorter() {
        // On 2026-03-29 in Berlin 02:00 to 03:00 is skipped at 01:00 UTC.
        let night = nightly(22 * 60, 8 * 60);
        check(&night, "2026-03-28T21:00:00Z", "2026-03-29T04:00:00Z");
        // A window that ends in the hour that is skipped ends where the clock skips it.
        let ends_nowhere = nightly(22 * 60, 4 * 60 + 30);
        check(
            &ends_nowhere,
            "2026-03-28T21:00:00Z",
            "2026-03-29T01:00:00Z",
        );
        let begins_nowhere = nightly(2 * 60 + 30, 60);
        check(
            &begins_nowhere,
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:30:00Z",
        );
        // One that is skipped as a whole is never open.
        let skipped = once("2026-03-29T02:15:00", "2026-03-29T02:45:00");
        assert_eq!(skipped.until(at("2026-03-29T01:00:00Z")), None);
        assert_eq!(skipped.until(at("2026-03-29T00:59:59Z")), None);
    }
}
