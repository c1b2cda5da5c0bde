//! Cron expressions with a time zone.

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;

use crate::model::Timestamp;

/// When the daemon syncs.
#[derive(Clone, Debug)]
pub struct Schedule {
    expression: String,
    schedule: cron::Schedule,
    zone: Tz,
}

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
            fields => fields.join(" "),
        };
        let schedule = cron::Schedule::from_str(&normalized)
            .map_err(|error| refuse(error.to_string().replace('\n', " ").trim().to_owned()))?;
        if schedule.upcoming(zone).next().is_none() {
            return Err(refuse("it never comes".to_owned()));
        }
        Ok(Schedule {
            expression: expression.to_owned(),
            schedule,
            zone,
        })
    }

    /// The time zone of its times.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first moment after `after` that the schedule names.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let next = self
            .schedule
            .after(&after.with_timezone(&self.zone))
            .next()?;
        Some(next.with_timezone(&chrono::Utc))
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

    #[test]
    fn nonsense_is_refused_with_the_way_out() {
        for expression in ["", "every day", "61 * * * *", "* * * *", "0 0 30 2 *"] {
            let error = Schedule::parse(expression, Tz::UTC)
                .unwrap_err()
                .to_string();
            assert!(error.contains("is no cron expression"), "{error}");
            assert!(error.contains("write five fields"), "{error}");
        }
    }
}
