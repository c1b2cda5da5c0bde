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
    /// Parses a cron expression of five fields (as crontab(5) has it) or six or seven (seconds
    /// first, year last).
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
/// mean the same in both.
fn weekday_names(field: &str) -> String {
    const NAMES: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let name = |text: &str| match text.parse::<usize>() {
        Ok(number) if number < NAMES.len() => NAMES[number].to_owned(),
        _ => text.to_owned(),
    };
    let item = |item: &str| {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let range = range.split('-').map(name).collect::<Vec<_>>().join("-");
        step.map_or_else(|| range.clone(), |step| format!("{range}/{step}"))
    };
    field.split(',').map(item).collect::<Vec<_>>().join(",")
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
