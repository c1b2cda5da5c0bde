//! Moments as directories write them: generalized time and Windows file time.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::model::Timestamp;

/// A generalized time (RFC 4517 section 3.3.13), such as `20261125101500Z`,
/// `20261125101500.25Z` or `2026112510+0100`.
pub(super) fn generalized(text: &str) -> Option<Timestamp> {
    let mut rest = text.trim();
    let (year, month, day, hour) = (
        digits(&mut rest, 4)?,
        digits(&mut rest, 2)?,
        digits(&mut rest, 2)?,
        digits(&mut rest, 2)?,
    );
    let minute = digits(&mut rest, 2);
    let second = minute.and_then(|_| digits(&mut rest, 2));
    // The fraction is one of the last unit that is written.
    let unit = match (minute, second) {
        (None, _) => 3600,
        (_, None) => 60,
        _ => 1,
    };
    let fraction = fraction(&mut rest, unit)?;
    let offset = offset(rest)?;
    // 60 is a leap second, and the moment after it is as good.
    let second = second.unwrap_or(0);
    if hour > 23 || second > 60 {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?
        .and_hms_opt(hour, minute.unwrap_or(0), 0)?
        .checked_add_signed(TimeDelta::seconds(second.into()) + fraction)?
        .checked_sub_signed(offset)
        .map(|moment| moment.and_utc())
}

/// Takes a number of exactly so many digits.
fn digits(rest: &mut &str, count: usize) -> Option<u32> {
    let (number, after) = rest.split_at_checked(count)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    *rest = after;
    number.parse().ok()
}

/// Takes a fraction of a unit of so many seconds, if there is one. What is finer than a
/// nanosecond is cut off.
fn fraction(rest: &mut &str, unit: i64) -> Option<TimeDelta> {
    let Some(after) = rest.strip_prefix(['.', ',']) else {
        return Some(TimeDelta::zero());
    };
    let length = after.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, after) = after.split_at_checked(length)?;
    *rest = after;
    let billionths: i64 = format!("{digits:0<9}").get(..9)?.parse().ok()?;
    (length > 0).then(|| TimeDelta::nanoseconds(billionths * unit))
}

/// The zone: `Z`, or a difference of hours and minutes.
fn offset(zone: &str) -> Option<TimeDelta> {
    if zone == "Z" {
        return Some(TimeDelta::zero());
    }
    let mut rest = zone.strip_prefix(['+', '-'])?;
    let hours = digits(&mut rest, 2)?;
    let minutes = if rest.is_empty() {
        0
    } else {
        digits(&mut rest, 2)?
    };
    if !rest.is_empty() || hours > 23 || minutes > 59 {
        return None;
    }
    let size = TimeDelta::minutes(i64::from(hours * 60 + minutes));
    Some(if zone.starts_with('-') { -size } else { size })
}

/// A Windows file time (\[MS-DTYP\] section 2.3.3), written as a decimal number as LDAP does:
/// steps of 100 ns since 1601. Zero and 2⁶³ - 1 mean *never* (`accountExpires`), and so are the
/// last moment there is.
pub(super) fn file_time(text: &str) -> Option<Timestamp> {
    const STEPS_A_SECOND: i64 = 10_000_000;
    /// From 1601 to 1970.
    const SECONDS: i64 = 11_644_473_600;
    let steps: i64 = text.trim().parse().ok()?;
    match steps {
        ..0 => None,
        0 | i64::MAX => Some(never()),
        _ => {
            let nanoseconds = u32::try_from(steps % STEPS_A_SECOND * 100).ok()?;
            let moment = DateTime::from_timestamp(steps / STEPS_A_SECOND - SECONDS, nanoseconds)?;
            Some(moment.min(never()))
        }
    }
}

/// The last moment that is read: the end of the year 9999.
fn never() -> Timestamp {
    const SECONDS: i64 = 253_402_300_799;
    DateTime::<Utc>::from_timestamp(SECONDS, 999_999_999).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
