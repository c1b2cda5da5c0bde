//! What expressions have beside CEL's own functions and its strings, lists and math extensions;
//! the functions on texts are in `text.rs`.
//!
//! `has_bit(text, n)` tests a bit mask, as in userAccountControl; `ldap_time(text)` and
//! `file_time(text)` read a moment as LDAP and as Windows write it, to compare with `now`. A
//! value that is not there has no answer: that the bind DN may not read it must not pass for
//! "not disabled" or "not expired".

use std::sync::Arc;

use cel::common::types::{CelBool, CelInt, CelString, CelTimestamp};
use cel::{Env, ExecutionError, extensions};
use chrono::{DateTime, Utc};

use super::{RuleError, text, time};
use crate::model::Timestamp;

/// All that an expression can call.
pub(super) fn environment() -> Result<Arc<Env>, RuleError> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)
        .and_then(|()| env.add_extension(extensions::lists))
        .and_then(|()| env.add_extension(extensions::math))
        .and_then(|()| {
            cel::add_overload!(env, fn has_bit: (CelString, CelInt) -> Result<CelBool>, name = "has_bit")
        })
        .and_then(|()| {
            cel::add_overload!(env, fn ldap_time: (CelString) -> Result<CelTimestamp>, name = "ldap_time")
        })
        .and_then(|()| {
            cel::add_overload!(env, fn file_time: (CelString) -> Result<CelTimestamp>, name = "file_time")
        })
        .and_then(|()| text::register(&mut env))
        .map_err(|error| RuleError::Unknown(error.to_string()))?;
    Ok(Arc::new(env))
}

/// Whether a bit mask, written as a decimal number, has a bit.
fn has_bit(mask: &CelString<'_>, bit: &CelInt) -> Result<CelBool, ExecutionError> {
    let read = |text: &str| text.parse::<i64>().ok();
    let mask = present("has_bit", mask, "number", read)?;
    Ok(CelBool::from(mask & bit.inner() != 0))
}

/// A generalized time (RFC 4517 section 3.3.13).
fn ldap_time(text: &CelString<'_>) -> Result<CelTimestamp, ExecutionError> {
    moment(
        "ldap_time",
        text,
        "generalized time such as 20261231235959Z",
        time::generalized,
    )
}

/// A Windows file time; *never* is [`LATEST`].
fn file_time(text: &CelString<'_>) -> Result<CelTimestamp, ExecutionError> {
    moment("file_time", text, "Windows file time", time::file_time)
}

/// The bounds of the moments that expressions see, in the years 1823 and 2262: directories write
/// *never* as a moment thousands of years away, and CEL's durations hold 292 years. Within the
/// bounds neither the time between a moment and `now` nor a moment and some days of grace
/// overflows, which would be an error for everybody who never expires.
const EARLIEST: DateTime<Utc> = DateTime::from_timestamp_nanos(i64::MIN / 2);
const LATEST: DateTime<Utc> = DateTime::from_timestamp_nanos(i64::MAX);

fn moment(
    function: &str,
    text: &CelString<'_>,
    what: &str,
    read: fn(&str) -> Option<Timestamp>,
) -> Result<CelTimestamp, ExecutionError> {
    let moment = present(function, text, what, read)?.clamp(EARLIEST, LATEST);
    Ok(CelTimestamp::from(moment.fixed_offset()))
}

/// Reads a value that has to be there.
fn present<T>(
    function: &str,
    text: &CelString<'_>,
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, ExecutionError> {
    let text = text.inner().trim();
    let why = if text.is_empty() {
        "there is no value; check that the bind DN may read the attribute".to_owned()
    } else if let Some(value) = read(text) {
        return Ok(value);
    } else {
        format!("{text:?} is no {what}")
    };
    Err(ExecutionError::function_error(function, why))
}
