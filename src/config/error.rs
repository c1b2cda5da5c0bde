//! Errors of the configuration, each with its place in the file and the way out.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}; give its place with --config FILE", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others could change it.
    #[error(transparent)]
    Open(#[from] super::OpenFile),
    /// Something in the file is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// A place in the file and what is wrong there.
#[derive(Debug, thiserror::Error)]
pub struct Invalid {
    path: PathBuf,
    place: Option<Place>,
    what: String,
}

#[derive(Debug)]
struct Place {
    line: usize,
    column: usize,
    source_line: String,
    width: usize,
}

impl Invalid {
    pub(super) fn new(path: &Path, text: &str, span: Option<Range<usize>>, what: String) -> Self {
        Invalid {
            path: path.to_owned(),
            place: span.map(|span| Place::of(text, span)),
            what,
        }
    }
}

impl Place {
    fn of(text: &str, span: Range<usize>) -> Self {
        let start = floor_char_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char_boundary(text, span.end.clamp(start, line_end));
        Place {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            source_line: shown(&text[line_start..line_end], end - line_start),
            width: text[start..end].chars().count().max(1),
        }
    }
}

/// The line as it may be shown. Somebody may have written a secret where only its place
/// belongs, so nothing is shown after the key of a line that speaks of one, nor a line that
/// may go on from such a one; nor a value when only the key before it is wrong.
fn shown(line: &str, marked_end: usize) -> String {
    const SECRETS: [&str; 4] = ["key", "password", "secret", "token"];
    let line = line.trim_end();
    if line.trim_start().starts_with('[') {
        return line.to_owned();
    }
    let Some(at) = line.find(['=', ':']) else {
        return "…".to_owned();
    };
    let key = &line[..at];
    let lower = line.to_lowercase();
    if SECRETS.iter().any(|word| lower.contains(word)) || marked_end <= at {
        return format!("{key}{} …", &line[at..=at]);
    }
    line.to_owned()
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let Some(place) = &self.place else {
            return write!(f, "{path}: {}", self.what);
        };
        writeln!(f, "{path}:{}:{}: {}", place.line, place.column, self.what)?;
        let number = place.line.to_string();
        let mark = if place.column + place.width <= place.source_line.chars().count() + 2 {
            "^".repeat(place.width)
        } else {
            "^".to_owned()
        };
        writeln!(f, "  {number} | {}", place.source_line)?;
        write!(
            f,
            "  {} | {}{}",
            " ".repeat(number.len()),
            " ".repeat(place.column - 1),
            mark
        )
    }
}

/// Turns serde's words for an unknown key or value into ours, with the nearest known one.
pub(super) fn explain(message: &str) -> String {
    let missing = message.strip_prefix("missing field ");
    if let Some(key) = missing {
        return format!("the key {key} is missing");
    }
    let wrong = message.strip_prefix("invalid type: ");
    if let Some((found, expected)) = wrong
        .or(message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected "))
    {
        return format!("expected {}, found {}", wanted(expected), given(found));
    }
    let (noun, rest) = if let Some(rest) = message.strip_prefix("unknown field `") {
        ("key", rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant `") {
        ("value", rest)
    } else {
        return message.to_owned();
    };
    let Some((given, expected)) = rest.split_once('`') else {
        return message.to_owned();
    };
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let mut text = format!("unknown {noun} `{given}`");
    if let Some(nearest) = nearest(given, &known) {
        text += &format!("; did you mean `{nearest}`?");
    }
    if !known.is_empty() {
        text += &format!(" (known here: {})", known.join(", "));
    }
    text
}

/// What serde expected, in the words of the file.
fn wanted(expected: &str) -> &str {
    match expected {
        "a string" | "path string" => "a text in quotes",
        "a boolean" => "true or false",
        "u16" | "u32" | "u64" | "usize" => "a whole number, not below 0",
        "a nonzero u32" => "a whole number from 1 on",
        "f64" => "a number",
        "a sequence" => "a list in [ ]",
        "a TOML datetime" => "a time without quotes, such as 2026-12-24T12:00:00",
        other if other.starts_with("struct ") || other == "a map" => "a table",
        other => other,
    }
}

/// What serde found, in the words of the file.
fn given(found: &str) -> &str {
    match found {
        "map" => "a table",
        "sequence" => "a list",
        other => ["boolean ", "integer ", "floating point ", "string "]
            .iter()
            .find_map(|kind| other.strip_prefix(kind))
            .unwrap_or(other),
    }
}

/// The known name that is nearest to the given one, if one is near enough to be meant.
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()),
                *name,
            )
        })
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_told_with_the_nearest_known_one() {
        assert_eq!(
            explain("unknown field `shedule`, expected one of `schedule`, `source`"),
            "unknown key `shedule`; did you mean `schedule`? (known here: schedule, source)"
        );
        assert_eq!(
            explain("unknown variant `ldapp`, expected `ldap` or `ldif`"),
            "unknown value `ldapp`; did you mean `ldap`? (known here: ldap, ldif)"
        );
        assert_eq!(explain("missing field `id`"), "the key `id` is missing");
        assert_eq!(
            explain("invalid type: integer `17`, expected path string"),
            "expected a text in quotes, found `17`"
        );
        assert_eq!(
            explain("invalid value: integer `0`, expected a nonzero u32"),
            "expected a whole number from 1 on, found `0`"
        );
        assert_eq!(explain("unclosed table"), "unclosed table");
    }

    #[test]
    fn a_place_is_a_line_a_column_and_a_mark() {
        let text = "a = 1\nbé = x\n";
        let at = text.find('x').unwrap_or(0);
        let error = Invalid::new(Path::new("c.toml"), text, Some(at..at + 1), "no".into());
        assert_eq!(
            error.to_string(),
            "c.toml:2:6: no\n  2 | bé = x\n    |      ^"
        );
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_shown() {
        for line in [
            "scim_key = \"s3cret\"",
            "password = { file = \"x\", text = \"s3cret\" }",
            "value = \"s3cret\"",
            "organization.scim_key = \"s3cret\"",
            "\"scim_key\" = \"s3cret\"",
            "organization = { id = \"a\", scim_key = \"s3cret\" }",
            "scim_key: s3cret",
            "   \"s3cret\"",
        ] {
            let error = Invalid::new(Path::new("c.toml"), line, Some(0..5), "no".into());
            let shown = error.to_string();
            assert!(!shown.contains("s3cret") && shown.contains('…'), "{shown}");
        }
    }
}
