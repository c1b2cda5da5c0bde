//! A compiled rule, and what it makes of an entry.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use cel::Env;

use super::expression::{Expression, Fault, Wanted};
use super::problem::{MappingError, Position, Problem, RuleError};
use super::value::Description;
use crate::config::{
    AttributeRule, MappingTarget, Origin, PlacedExpression, PlacedRule, lookup_key,
};
use crate::model::{Attribute, Entry, Timestamp};

/// A rule of the mapping.
pub(super) struct Rule {
    pub(super) target: MappingTarget,
    pub(super) is_required: bool,
    /// How it is written.
    pub(super) written: String,
    /// Whether the configuration has it, and not the preset.
    pub(super) is_own: bool,
    from: MadeFrom,
    table: Option<BTreeMap<String, String>>,
    default: Option<String>,
}

/// What the value is made from.
enum MadeFrom {
    Attribute {
        first_of: Vec<Description>,
        language: Option<String>,
        join: Option<String>,
    },
    Value(String),
    Expression(Box<Expression>),
}

/// An expression of the configuration with its name in messages.
pub(super) fn compile_expression(
    name: &str,
    written: &PlacedExpression,
    wanted: Wanted,
    env: &Arc<Env>,
) -> Result<Expression, MappingError> {
    Expression::compile(&written.text, wanted, env).map_err(|Fault { at, error }| MappingError {
        place: format!("the expression for `{name}`"),
        at: at.as_ref().map(|at| Position::of(&written.text, at.start)),
        span: written.place(at.unwrap_or(0..written.text.len())),
        source: Box::new(error),
    })
}

impl Rule {
    pub(super) fn compile(
        target: MappingTarget,
        placed: &PlacedRule,
        env: &Arc<Env>,
    ) -> Result<Self, MappingError> {
        let refuse = |error| MappingError {
            place: format!("the rule for `{target}`"),
            at: None,
            span: placed.span.clone(),
            source: Box::new(error),
        };
        let making = &placed.rule;
        let from = match &making.origin {
            Origin::Attribute(rule) => MadeFrom::attribute(rule).map_err(refuse)?,
            Origin::Value(value) => MadeFrom::Value(value.clone()),
            Origin::Expression(written) => {
                let wanted = match target {
                    MappingTarget::Active if making.table.is_none() => Wanted::Truth,
                    _ => Wanted::Text,
                };
                if wanted == Wanted::Truth && making.default.is_some() {
                    return Err(refuse(RuleError::IdleDefault));
                }
                let name = target.to_string();
                MadeFrom::Expression(Box::new(compile_expression(&name, written, wanted, env)?))
            }
        };
        let rule = Rule {
            target,
            is_required: match (target, making.required) {
                (MappingTarget::Active, _) => false,
                (MappingTarget::Attribute(attribute), required) => {
                    attribute.is_required() || required == Some(true)
                }
            },
            written: placed.written.clone(),
            is_own: placed.span.is_some(),
            from,
            table: making.table.clone(),
            default: making.default.clone(),
        };
        rule.check_constants().map_err(refuse)?;
        Ok(rule)
    }

    /// Refuses what could be given to nobody.
    fn check_constants(&self) -> Result<(), RuleError> {
        let value = match &self.from {
            MadeFrom::Value(value) => Some(("value".to_owned(), value)),
            MadeFrom::Attribute { .. } | MadeFrom::Expression(_) => None,
        };
        let default = self.default.iter().map(|text| ("default".to_owned(), text));
        let rows = self.table.iter().flatten();
        let rows = rows.map(|(key, text)| (format!("the value for `{key}` in the table,"), text));
        for (what, text) in value.into_iter().chain(default).chain(rows) {
            let why = match self.target {
                MappingTarget::Active if truth_of(text).is_none() => {
                    Some("is neither true nor false".to_owned())
                }
                MappingTarget::Active => None,
                MappingTarget::Attribute(_) if text.trim().is_empty() => None,
                MappingTarget::Attribute(attribute) => match acceptable(attribute, text.trim()) {
                    Err(Problem::Unacceptable { why, .. }) => Some(why),
                    _ => None,
                },
            };
            if let Some(why) = why {
                return Err(RuleError::Constant {
                    what,
                    value: text.clone(),
                    why,
                });
            }
        }
        Ok(())
    }

    pub(super) fn depends_on_time(&self) -> bool {
        match &self.from {
            MadeFrom::Expression(expression) => expression.depends_on_time(),
            MadeFrom::Attribute { .. } | MadeFrom::Value(_) => false,
        }
    }

    /// The attributes that it reads, in its order.
    pub(super) fn reads(&self) -> Vec<&Description> {
        match &self.from {
            MadeFrom::Attribute { first_of, .. } => first_of.iter().collect(),
            MadeFrom::Expression(expression) => expression.reads().collect(),
            MadeFrom::Value(_) => Vec::new(),
        }
    }

    /// The value for an account's attribute; none where the entry has none.
    pub(super) fn value(
        &self,
        attribute: Attribute,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<Option<Box<str>>, Problem> {
        let value = self.text(entry, now)?;
        let value = value.trim();
        if value.is_empty() {
            return Ok(None);
        }
        acceptable(attribute, value)?;
        Ok(Some(value.into()))
    }

    /// The value of `active`: an LDAP Boolean (RFC 4517 section 3.3.3) or a true/false
    /// expression.
    pub(super) fn truth(&self, entry: &Entry, now: Timestamp) -> Result<bool, Problem> {
        if let (MadeFrom::Expression(expression), None) = (&self.from, &self.table) {
            return expression.truth(&self.target, entry, now);
        }
        let text = self.text(entry, now)?;
        truth_of(&text).ok_or_else(|| Problem::Expression {
            target: self.target.to_string(),
            why: match &self.table {
                // All that a table and a default can give is true or false.
                Some(_) => format!(
                    "there is no value (from {}); give a `default`",
                    self.origin(entry, now)
                ),
                None => {
                    format!("{text:?} is neither TRUE nor FALSE; map `active` by an expression")
                }
            },
        })
    }

    /// The text that the rule gives; blank for none.
    fn text<'a>(&'a self, entry: &'a Entry, now: Timestamp) -> Result<Cow<'a, str>, Problem> {
        let mut text = self.found(entry, now)?;
        if let Some(table) = &self.table {
            let row = table.get(&lookup_key(&text));
            text = Cow::Borrowed(row.map_or("", String::as_str));
        }
        match &self.default {
            Some(default) if text.trim().is_empty() => Ok(Cow::Borrowed(default)),
            _ => Ok(text),
        }
    }

    /// What there is before the table and the default.
    fn found<'a>(&'a self, entry: &'a Entry, now: Timestamp) -> Result<Cow<'a, str>, Problem> {
        match &self.from {
            MadeFrom::Attribute {
                first_of,
                language,
                join,
            } => {
                for attribute in first_of {
                    let value = match join {
                        None => attribute.first(entry, language.as_deref())?,
                        Some(join) => joined(attribute.all(entry, language.as_deref())?, join),
                    };
                    if let Some(value) = value
                        && !value.trim().is_empty()
                    {
                        return Ok(value);
                    }
                }
                Ok(Cow::Borrowed(""))
            }
            MadeFrom::Value(value) => Ok(Cow::Borrowed(value)),
            MadeFrom::Expression(expression) => {
                expression.text(&self.target, entry, now).map(Cow::Owned)
            }
        }
    }

    /// What the value is made from, for the message that there is none.
    pub(super) fn origin(&self, entry: &Entry, now: Timestamp) -> String {
        let from = match &self.from {
            MadeFrom::Attribute { first_of, .. } => {
                let names: Vec<&str> = first_of.iter().map(Description::name).collect();
                format!("`{}`", names.join("`, `"))
            }
            MadeFrom::Value(_) => "a constant".to_owned(),
            MadeFrom::Expression(expression) => {
                const LONGEST: usize = 80;
                let text = expression.written();
                let more = if text.chars().count() > LONGEST {
                    "…"
                } else {
                    ""
                };
                format!("`{}{more}`", text.chars().take(LONGEST).collect::<String>())
            }
        };
        match (&self.table, self.found(entry, now)) {
            (Some(table), Ok(found)) if !found.trim().is_empty() => {
                let does = match table.contains_key(&lookup_key(&found)) {
                    true => "leaves blank",
                    false => "does not have",
                };
                format!("{from}, whose value {:?} the table {does}", found.trim())
            }
            _ => from,
        }
    }
}

impl MadeFrom {
    fn attribute(rule: &AttributeRule) -> Result<Self, RuleError> {
        let first_of = rule.first_of.iter().map(|name| Description::named(name));
        Ok(MadeFrom::Attribute {
            first_of: first_of.collect::<Result<_, _>>()?,
            language: rule.language.clone(),
            join: rule.join.clone(),
        })
    }
}

/// What a word for true or false means.
fn truth_of(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// The values in one text. They are sorted, as a server may give them in any order (RFC 4511
/// section 4.1.7), and a new order is no change.
fn joined<'e>(values: Vec<Cow<'e, str>>, join: &str) -> Option<Cow<'e, str>> {
    let mut texts: Vec<&str> = values.iter().map(|value| value.trim()).collect();
    texts.retain(|text| !text.is_empty());
    texts.sort_unstable();
    (!texts.is_empty()).then(|| Cow::Owned(texts.join(join)))
}

/// Checks a value against what the API takes, before it is ever sent.
pub(super) fn acceptable(target: Attribute, value: &str) -> Result<(), Problem> {
    let refuse = |why: String| {
        Err(Problem::Unacceptable {
            target,
            value: value.chars().take(60).collect(),
            why,
        })
    };
    let (length, longest) = (value.chars().count(), target.max_chars());
    if length > longest {
        return refuse(format!(
            "has {length} characters, and the API takes {longest} at most"
        ));
    }
    // In UTF-8, U+0080 to U+009F begin with C2.
    let may_be_control = |byte: u8| matches!(byte, ..b' ' | 0x7f | 0xc2);
    if value.bytes().any(may_be_control) && value.chars().any(char::is_control) {
        return refuse("holds a control character".to_owned());
    }
    if target == Attribute::Email && !is_address(value) {
        return refuse("is no e-mail address".to_owned());
    }
    Ok(())
}

/// Whether a value looks like an address that mail can reach: one `@`, something before it, a
/// domain after it, no spaces. What RFC 5321 allows beyond that (quoted local parts) no
/// organization's verified domain hands out.
fn is_address(value: &str) -> bool {
    let Some((local, domain)) = value.split_once('@') else {
        return false;
    };
    !local.is_empty()
        && !value.chars().any(char::is_whitespace)
        && !domain.contains('@')
        && domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
}
