//! What can be wrong: with a rule, when it is compiled, and with an entry, when it is mapped.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::model::{Attribute, ExternalId, NotText, SourceName};

/// A rule that does not compile.
#[derive(Debug, thiserror::Error)]
#[error("{place} is wrong{}: {source}", at.map(|at| format!(" at {at}")).unwrap_or_default())]
pub struct MappingError {
    /// What is wrong, such as "the expression for `title`".
    pub place: String,
    /// Where in the expression, if it is one.
    pub at: Option<Position>,
    /// The bytes in the configuration; none when it is a preset's.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub source: Box<RuleError>,
}

/// A place in an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

impl Position {
    /// The place of a byte in a text.
    pub(super) fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            1 => write!(f, "column {}", self.column),
            line => write!(f, "line {line}, column {}", self.column),
        }
    }
}

/// Why a rule was refused.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The expression does not parse.
    #[error("{0}")]
    Syntax(String),
    /// A function without the literal arguments that it needs.
    #[error("`{function}` takes {takes}, such as {example}")]
    NotLiteral {
        /// The function.
        function: String,
        /// What it takes.
        takes: &'static str,
        /// An example.
        example: &'static str,
    },
    /// The expression uses a variable that is not there.
    #[error("there is no '{0}'; attributes are written attr(\"name\")")]
    Unknown(String),
    /// The expression calls a function that is not there.
    #[error("there is no function '{name}'{hint}")]
    NoFunction {
        /// The function.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// A function or an operator does not take what it is given.
    #[error("'{function}' does not take {given}")]
    WrongArgument {
        /// The function or operator.
        function: String,
        /// What kinds of values it is given.
        given: String,
    },
    /// The value is of another kind than is needed.
    #[error("it gives {gives}, and {wanted} is needed")]
    WrongKind {
        /// What it gives.
        gives: &'static str,
        /// What is needed.
        wanted: &'static str,
    },
    /// A regular expression that is none.
    #[error("{0}")]
    Pattern(String),
    /// A constant, a default or a value of a table that can never do.
    #[error("{what} {value:?} {why}")]
    Constant {
        /// `value`, `default` or a row of `table`.
        what: String,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A default where there is always a value.
    #[error(
        "the expression always gives true or false, so that `default` has no use without a `table`"
    )]
    IdleDefault,
    /// An attribute is named that no directory can have.
    #[error("`{0}` is not an LDAP attribute name")]
    NotAName(String),
    /// A language is named that is none.
    #[error("`{0}` is not a language tag such as \"en\" or \"en-US\"")]
    NotALanguage(String),
    /// An attribute is named whose values are no text.
    #[error("`{attribute}` holds {what}, which no account gets; map another attribute")]
    NoText {
        /// The attribute.
        attribute: String,
        /// What it holds.
        what: &'static str,
    },
}

/// An entry that no account can be made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmapped {
    /// The source of the entry.
    pub source: SourceName,
    /// The entry.
    pub dn: String,
    /// The person's key, where that at least could be read: the person is *unknown*, not absent.
    pub key: Option<ExternalId>,
    /// What is wrong.
    pub problem: Problem,
}

/// Why no account can be made of an entry. Each message names the attribute and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// No immutable key.
    #[error(
        "the entry has no `{attribute}`, the key of this source: check `key` in the configuration, and that the bind DN may read it"
    )]
    NoKey {
        /// The key's attribute.
        attribute: String,
    },
    /// More than one value of the key, or one that is none.
    #[error("`{attribute}` is no usable key: {why}; correct the entry, or `key` of the source")]
    BadKey {
        /// The key's attribute.
        attribute: String,
        /// What is wrong with it.
        why: String,
    },
    /// A required attribute has no value.
    #[error(
        "no value for `{target}` (from {from}): give the person one, or leave the person out by the filter"
    )]
    Missing {
        /// The attribute that has no value.
        target: Attribute,
        /// What it is made from.
        from: String,
        /// Whether the configuration says that such people are simply skipped.
        skip: bool,
    },
    /// A value that is not text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// A value that is not in the binary form of its attribute.
    #[error("a value of `{attribute}` is damaged: {why}; correct it in the directory")]
    Malformed {
        /// The attribute.
        attribute: String,
        /// What is wrong with it.
        why: String,
    },
    /// Only a range of the values is there.
    #[error(
        "the server sent only a part of the values of `{attribute}` (as `{part}`); map an attribute with fewer values"
    )]
    Part {
        /// The attribute.
        attribute: String,
        /// The attribute with the range that came.
        part: String,
    },
    /// A value that the API would refuse.
    #[error("the value of `{target}`, {value:?}, {why}; correct it in the directory")]
    Unacceptable {
        /// The attribute.
        target: Attribute,
        /// The value, shortened.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name of which it cannot be said whether it is below an `exclude_base`.
    #[error("it cannot be said whether `exclude_base` leaves the entry out: {0}")]
    Base(String),
    /// An expression that cannot be evaluated for this entry.
    #[error(
        "the expression for `{target}` fails for this entry: {why}; correct the expression, or the entry"
    )]
    Expression {
        /// What the expression gives a value to.
        target: String,
        /// What went wrong.
        why: String,
    },
}

/// Why an entry becomes no account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotMapped {
    /// None can be made of it: the person is *unknown*.
    Unmapped(Box<Unmapped>),
    /// None is wanted: the entry counts for none of the source's.
    Excluded(Box<Excluded>),
}

/// An entry that is none of the source's people, though the search finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// The source of the entry.
    pub source: SourceName,
    /// The entry.
    pub dn: String,
    /// The person's key, where it could be read.
    pub key: Option<ExternalId>,
    /// What excludes it.
    pub why: Exclusion,
}

/// What excludes an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// It is in a part of the tree that is left out.
    #[error("it is below `{base}`, which `exclude_base` leaves out")]
    Base {
        /// The part.
        base: String,
    },
    /// `include` is false.
    #[error("`include` is not true of it ({expression})")]
    NotIncluded {
        /// The expression.
        expression: String,
    },
    /// `exclude` is true.
    #[error("`exclude` is true of it ({expression})")]
    Excluded {
        /// The expression.
        expression: String,
    },
}
