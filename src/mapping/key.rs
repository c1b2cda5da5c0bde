//! The immutable key in its usual text form.

use std::borrow::Cow;

use super::Problem;
use super::value::Description;
use crate::model::{Entry, ExternalId};

/// Reads the key attribute of an entry.
pub(super) fn read(entry: &Entry, attribute: &Description) -> Result<ExternalId, Problem> {
    let bad = |why: String| Problem::BadKey {
        attribute: attribute.name().to_owned(),
        why,
    };
    let Some(value) = attribute
        .first(entry, None)
        .map_err(|problem| match problem {
            Problem::Malformed { why, .. } => bad(why),
            other => other,
        })?
    else {
        return Err(Problem::NoKey {
            attribute: attribute.name().to_owned(),
        });
    };
    let count = entry.values(attribute.name()).len();
    if count > 1 {
        return Err(bad(format!("it has {count} values, and a key has one")));
    }
    let text = value.trim();
    if text.is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    if text.len() > 255 || text.chars().any(char::is_control) {
        return Err(bad(
            "it is longer than 255 bytes or holds control characters".to_owned(),
        ));
    }
    // One form for one key.
    let folds = attribute.folds_case() && text.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(ExternalId::new(if folds {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }))
}
