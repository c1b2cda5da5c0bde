//! What the daemon does when: jobs with cron expressions in time zones.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{LocalResult, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::model::Timestamp;

/// What the daemon does by itself.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// A sync, which reads only what changed where a source allows that.
    Sync,
    /// A sync that reads every source in full.
    Full,
    /// Reads the organization back.
    Reconcile,
    /// Takes out of the journal what is old.
    Prune,
}

impl Job {
    /// Every job, in the order in which those go that are due at the same moment: a full sync is
    /// a sync as well.
    pub const ALL: [Job; 4] = [Job::Full, Job::Sync, Job::Reconcile, Job::Prune];

    /// The name in the configuration, in logs and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Job::Sync => "sync",
            Job::Full => "full",
            Job::Reconcile => "reconcile",
            Job::Prune => "prune",
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A job with its times.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// What is done.
    pub job: Job,
    /// When.
    pub schedule: Schedule,
    /// It begins up to so much later, by chance, so that not all daemons begin at once.
    pub jitter: Duration,
    /// Whether it is also done when the daemon starts.
    pub at_start: bool,
    /// Whether it is done when the daemon starts if a time of it has passed since it was last done.
    pub catch_up: bool,
}

/// Moments by a cron expression.
///
/// Its times are those of a clock on the wall. When that is put forward, what would come in the hour
/// that is left out comes as much later. When it is put back, what has fixed hours comes the first time
/// alone; what comes in every hour (`*`, `*/2`) goes on in both.
#[derive(Clone, Debug)]
pub struct Schedule {
    expression: String,
    schedule: cron::Schedule,
    zone: Tz,
    /// Whether it comes at given hours.
    has_fixed_hours: bool,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        (&self.expression, self.zone) == (&other.expression, other.zone)
    }
}

/// By how much a clock on the wall is put forward or back at most, with a margin.
const MOST_SHIFT: TimeDelta = TimeDelta::hours(3);

/// So many of the next moments are looked at for the time between them.
const FORESEEN: usize = 60;

/// Why a cron expression was refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{expression}` is no cron expression: {why}; write five fields (minute hour day month weekday), such as \"*/15 * * * *\", or six with seconds first"
)]
pub struct ScheduleError {
    expression: String,
    why: String,
}

impl Schedule {
    /// Parses a cron expression of five fields (minute to weekday) or six or seven (seconds
    /// first, year last). Weekdays are counted as crontab(5) does; unlike there, a day of the
    /// month and a weekday must both fit.
    pub fn parse(expression: &str, zone: Tz) -> Result<Self, ScheduleError> {
        let refuse = |why: String| ScheduleError {
            expression: expression.to_owned(),
            why,
        };
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let normalized = match fields.as_slice() {
            [minute, hour, day, month, weekday] => {
                format!("0 {minute} {hour} {day} {month} {}", weekday_names(weekday))
            }
            [second, minute, hour, day, month, weekday, year @ ..] => format!(
                "{second} {minute} {hour} {day} {month} {} {}",
                weekday_names(weekday),
                year.join(" ")
            ),
            [shorthand] if shorthand.starts_with('@') => (*shorthand).to_owned(),
            fields => return Err(refuse(fault(&fields.join(" ")))),
        };
        let has_fixed_hours = match normalized.split_whitespace().nth(2) {
            Some(hours) => !hours.starts_with(['*', '?']),
            // `@daily` and the like.
            None => normalized != "@hourly",
        };
        let schedule =
            cron::Schedule::from_str(&normalized).map_err(|_| refuse(fault(&normalized)))?;
        if schedule.upcoming(zone).next().is_none() {
            return Err(refuse("it never comes".to_owned()));
        }
        Ok(Schedule {
            expression: expression.to_owned(),
            schedule,
            zone,
            has_fixed_hours,
        })
    }

    /// The shortest time between two of the next moments that the schedule names.
    pub fn shortest_gap(&self) -> Option<Duration> {
        let next: Vec<_> = self.schedule.upcoming(self.zone).take(FORESEEN).collect();
        let gaps = next.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.min().and_then(|gap| gap.to_std().ok())
    }

    /// The first moment after `after` that the schedule names.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let wall = |moment: Timestamp| moment.with_timezone(&self.zone).naive_local();
        // A time on the wall may come a little later, and twice: begin before it, and go on until
        // nothing earlier can follow.
        let from = (wall(after) - MOST_SHIFT).and_utc();
        let mut first: Option<Timestamp> = None;
        for time in self.schedule.after(&from) {
            let time = time.naive_utc();
            if first.is_some_and(|first| time > wall(first) + MOST_SHIFT) {
                break;
            }
            let later = self.moments(time).into_iter().flatten();
            first = first
                .into_iter()
                .chain(later.filter(|moment| *moment > after))
                .min();
        }
        first
    }

    /// When it is this time on the wall, as far as the schedule means it.
    fn moments(&self, time: NaiveDateTime) -> [Option<Timestamp>; 2] {
        let utc = |moment: chrono::DateTime<Tz>| moment.with_timezone(&chrono::Utc);
        match self.zone.from_local_datetime(&time) {
            LocalResult::Single(moment) => [Some(utc(moment)), None],
            LocalResult::Ambiguous(first, second) => [
                Some(utc(first)),
                Some(utc(second)).filter(|_| !self.has_fixed_hours),
            ],
            LocalResult::None => {
                let before = self.zone.from_local_datetime(&(time - MOST_SHIFT)).latest();
                [before.map(|before| utc(before) + MOST_SHIFT), None]
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.expression, self.zone)
    }
}

/// crontab(5) counts weekdays from Sunday = 0 (and 7), the `cron` crate from Sunday = 1. Names
/// mean the same in both; a range is written out, as it may end with the second Sunday.
fn weekday_names(field: &str) -> String {
    const NAMES: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let number = |text: &str| -> Option<usize> {
        let upper = text.to_ascii_uppercase();
        let named = NAMES.iter().position(|name| *name == upper);
        text.parse()
            .ok()
            .or(named)
            .filter(|number| *number < NAMES.len())
    };
    let item = |item: &str| -> Option<String> {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last, step) = (number(first)?, number(last)?, step.parse().ok()?);
        if first > last || step == 0 || (step > 1 && !range.contains('-')) {
            return None;
        }
        Some(
            (first..=last)
                .step_by(step)
                .map(|day| NAMES[day])
                .collect::<Vec<_>>()
                .join(","),
        )
    };
    // What is not understood here (`*`, `?`, nonsense) is left to the crate.
    let names = |text: &str| item(text).unwrap_or_else(|| text.to_owned());
    field.split(',').map(names).collect::<Vec<_>>().join(",")
}

/// What is wrong with an expression that the crate does not take, which says no more than that: its fields are tried
/// one by one.
fn fault(normalized: &str) -> String {
    const NAMES: [&str; 7] = [
        "second",
        "minute",
        "hour",
        "day of the month",
        "month",
        "weekday",
        "year",
    ];
    let fields: Vec<&str> = normalized.split_whitespace().collect();
    if !(6..=7).contains(&fields.len()) {
        return match fields.len() {
            0 => "it has no field".to_owned(),
            1 => "it has 1 field".to_owned(),
            count => format!("it has {count} fields"),
        };
    }
    let is_wrong = |at: usize| {
        let mut alone = ["*"; 7];
        alone[at] = fields[at];
        cron::Schedule::from_str(&alone.join(" ")).is_err()
    };
    match (0..fields.len()).find(|at| is_wrong(*at)) {
        Some(at) => format!("`{}` is no {}", fields[at], NAMES[at]),
        None => "it cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn five_fields_mean_what_crontab_says() {
        // Wednesday.
        let after: Timestamp = "2026-11-25T10:07:00Z".parse().unwrap();
        for (expression, next) in [
            ("*/15 * * * *", "2026-11-25T10:15:00Z"),
            ("0 3 * * 1", "2026-11-30T03:00:00Z"),
            ("0 3 * * 0", "2026-11-29T03:00:00Z"),
            ("0 3 * * 7", "2026-11-29T03:00:00Z"),
            ("0 3 * * 1-5", "2026-11-26T03:00:00Z"),
            ("0 3 * * sat", "2026-11-28T03:00:00Z"),
            ("0 3 * * 5-7", "2026-11-27T03:00:00Z"),
            ("0 3 * * 6-7", "2026-11-28T03:00:00Z"),
            ("0 3 * * 1-7", "2026-11-26T03:00:00Z"),
            ("0 3 * * 0-6/3", "2026-11-28T03:00:00Z"),
            ("0 3 * * mon,THU", "2026-11-26T03:00:00Z"),
            ("0 0 3 * * 1", "2026-11-30T03:00:00Z"),
            ("30 * * * * *", "2026-11-25T10:07:30Z"),
        ] {
            let schedule = Schedule::parse(expression, Tz::UTC).unwrap();
            assert_eq!(
                schedule.next_after(after).unwrap(),
                next.parse::<Timestamp>().unwrap(),
                "{expression}"
            );
        }
    }

    #[test]
    fn the_time_zone_counts() {
        let after: Timestamp = "2026-11-25T10:07:00Z".parse().unwrap();
        let schedule = Schedule::parse("0 12 * * *", chrono_tz::Europe::Berlin).unwrap();
        assert_eq!(
            schedule.next_after(after).unwrap().to_rfc3339(),
            "2026-11-25T11:00:00+00:00"
        );
    }

    /// The moments of a schedule in Berlin, from one moment on.
    fn moments(expression: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(expression, chrono_tz::Europe::Berlin).unwrap();
        let next = |moment: &Timestamp| schedule.next_after(*moment);
        let first = next(&from.parse().unwrap());
        std::iter::successors(first, next)
            .take(count)
            .map(|moment| moment.format("%d %H:%M").to_string())
            .collect()
    }

    #[test]
    fn in_the_night_without_two_oclock_every_job_is_done_once() {
        // On 29 March 2026 at one o'clock UTC the clocks go from two to three.
        for (expression, expected) in [
            // At half past three, as it is one and a half hour after half past one.
            ("30 2 * * *", ["28 01:30", "29 01:30", "30 00:30"]),
            ("30 2,3 * * *", ["28 01:30", "28 02:30", "29 01:30"]),
            ("0 3 * * *", ["28 02:00", "29 01:00", "30 01:00"]),
            ("0 4 * * *", ["28 03:00", "29 02:00", "30 02:00"]),
        ] {
            let from = "2026-03-28T00:00:00Z";
            assert_eq!(moments(expression, from, 3), expected, "{expression}");
        }
        assert_eq!(
            moments("*/30 * * * *", "2026-03-29T00:00:00Z", 4),
            ["29 00:30", "29 01:00", "29 01:30", "29 02:00"]
        );
        assert_eq!(
            moments("30 2,3 * * *", "2026-03-29T00:00:00Z", 2),
            ["29 01:30", "30 00:30"]
        );
    }

    #[test]
    fn in_the_night_with_two_oclock_twice_fixed_hours_count_once_and_the_rest_goes_on() {
        // On 25 October 2026 at one o'clock UTC the clocks go from three back to two.
        for (expression, expected) in [
            ("30 2 * * *", ["24 00:30", "25 00:30", "26 01:30"]),
            ("0 2-3 * * *", ["24 00:00", "24 01:00", "25 00:00"]),
            ("0 3 * * *", ["24 01:00", "25 02:00", "26 02:00"]),
        ] {
            let from = "2026-10-23T12:00:00Z";
            assert_eq!(moments(expression, from, 3), expected, "{expression}");
        }
        assert_eq!(
            moments("0 2-3 * * *", "2026-10-24T12:00:00Z", 3),
            ["25 00:00", "25 02:00", "26 01:00"]
        );
        assert_eq!(
            moments("*/30 * * * *", "2026-10-24T23:30:00Z", 6),
            [
                "25 00:00", "25 00:30", "25 01:00", "25 01:30", "25 02:00", "25 02:30"
            ]
        );
    }

    #[test]
    fn what_comes_in_every_hour_comes_in_every_hour_of_the_year() {
        for zone in [
            Tz::Europe__Berlin,
            Tz::Australia__Lord_Howe,
            Tz::America__Sao_Paulo,
        ] {
            let schedule = Schedule::parse("0 * * * *", zone).unwrap();
            let mut last: Timestamp = "2025-12-31T23:59:00Z".parse().unwrap();
            let mut first = true;
            while last < "2027-01-01T00:00:00Z".parse::<Timestamp>().unwrap() {
                let next = schedule.next_after(last).unwrap();
                let gap = next - last;
                // Lord Howe's clocks go by half an hour.
                assert!(
                    first || gap <= TimeDelta::minutes(90),
                    "{last} {next} {zone}"
                );
                assert!(next > last, "{last} {zone}");
                (first, last) = (false, next);
            }
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_way_out() {
        for (expression, why) in [
            ("", "it has no field"),
            ("every day", "it has 2 fields"),
            ("* * * *", "it has 4 fields"),
            ("61 * * * *", "`61` is no minute"),
            ("0 22-2 * * *", "`22-2` is no hour"),
            ("0 0 * * funday", "`funday` is no weekday"),
            ("0 0 30 2 *", "it never comes"),
        ] {
            let error = Schedule::parse(expression, Tz::UTC)
                .unwrap_err()
                .to_string();
            let words = format!("`{expression}` is no cron expression: {why}; write five fields");
            assert!(error.starts_with(&words), "{error}");
        }
    }

    #[test]
    fn names_in_place_of_fields_are_fixed_hours_but_for_the_one() {
        // On 25 October 2026 the clocks of the Azores go from one back to midnight.
        let moments = |expression: &str| {
            let schedule = Schedule::parse(expression, Tz::Atlantic__Azores).unwrap();
            let mut at: Timestamp = "2026-10-24T23:30:00Z".parse().unwrap();
            let mut moments = Vec::new();
            for _ in 0..2 {
                at = schedule.next_after(at).unwrap();
                moments.push(at.format("%d %H:%M").to_string());
            }
            moments
        };
        assert_eq!(moments("@daily"), ["25 00:00", "26 01:00"]);
        assert_eq!(moments("@hourly"), ["25 00:00", "25 01:00"]);
    }

    #[test]
    fn the_shortest_gap_is_that_between_two_moments() {
        for (expression, minutes) in [
            ("*/15 * * * *", 15),
            ("0,50 * * * *", 10),
            ("0 3 * * *", 24 * 60),
        ] {
            let schedule = Schedule::parse(expression, Tz::UTC).unwrap();
            let gap = Duration::from_secs(60 * minutes);
            assert_eq!(schedule.shortest_gap(), Some(gap), "{expression}");
        }
    }
}
