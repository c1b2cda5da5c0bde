//! From entries to desired accounts, by the rules of the configuration.
//!
//! Floor 2: pure. A [`Mapping`] is compiled once from a source's configuration; it knows which
//! LDAP attributes to ask for, and makes an account of an entry, or says why it cannot.

mod expression;
mod key;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::{MappingTarget, Provisioning, Rule, Source, WithoutMail};
use crate::model::{Attribute, DesiredAccount, Entry, ExternalId, NotText, Profile, SourceName};

use expression::Expression;
pub use expression::ExpressionError;
pub use key::key_of_id;

/// The compiled mapping of one source.
pub struct Mapping {
    source: SourceName,
    key: String,
    without_mail: WithoutMail,
    rules: Vec<(MappingTarget, Compiled)>,
}

enum Compiled {
    FirstOf(Vec<String>),
    Value(String),
    Expression(Box<Expression>),
}

/// A rule that does not compile.
#[derive(Debug, thiserror::Error)]
#[error("the expression for `{target}` is wrong: {source}")]
pub struct MappingError {
    /// What the rule gives a value to.
    pub target: MappingTarget,
    /// The rule's bytes in the configuration; none when it is a preset's.
    pub span: Option<std::ops::Range<usize>>,
    /// What is wrong.
    pub source: ExpressionError,
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
    #[error("`{attribute}` is no usable key: {why}")]
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
    /// A value that the API would refuse.
    #[error("the value of `{target}`, {value:?}, {why}")]
    Unacceptable {
        /// The attribute.
        target: Attribute,
        /// The value, shortened.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// An expression that cannot be evaluated for this entry.
    #[error("the expression for `{target}` fails for this entry: {why}")]
    Expression {
        /// What the expression gives a value to.
        target: String,
        /// What went wrong.
        why: String,
    },
}

impl Mapping {
    /// Compiles the rules of a source, as far as the way of provisioning has a use for them.
    pub fn compile(source: &Source, way: &Provisioning) -> Result<Self, MappingError> {
        let mut rules = Vec::new();
        for (target, placed) in &source.mapping {
            if matches!(target, MappingTarget::Attribute(attribute) if !way.supports(*attribute)) {
                continue;
            }
            let compiled =
                match &placed.rule {
                    Rule::FirstOf(names) => Compiled::FirstOf(names.clone()),
                    Rule::Value(value) => Compiled::Value(value.clone()),
                    Rule::Expression(text) => Compiled::Expression(Box::new(
                        Expression::compile(text).map_err(|error| MappingError {
                            target: *target,
                            span: placed.span.clone(),
                            source: error,
                        })?,
                    )),
                    Rule::Unmapped => continue,
                };
            rules.push((*target, compiled));
        }
        Ok(Mapping {
            source: source.name.clone(),
            key: source.key.clone(),
            without_mail: source.without_mail,
            rules,
        })
    }

    /// The LDAP attributes that the mapping reads, for the search request.
    pub fn attributes(&self) -> Vec<String> {
        let mut names = BTreeSet::from([self.key.as_str()]);
        for (_, rule) in &self.rules {
            match rule {
                Compiled::FirstOf(attributes) => {
                    names.extend(attributes.iter().map(String::as_str));
                }
                Compiled::Expression(expression) => names.extend(expression.attributes()),
                Compiled::Value(_) => {}
            }
        }
        // Attribute names are compared without case (RFC 4512 section 2.5).
        let mut seen = BTreeSet::new();
        names
            .into_iter()
            .filter(|name| seen.insert(name.to_ascii_lowercase()))
            .map(str::to_owned)
            .collect()
    }

    /// Makes the desired account of an entry.
    pub fn map(&self, entry: &Entry) -> Result<DesiredAccount, Box<Unmapped>> {
        let refuse = |key: Option<ExternalId>, problem: Problem| {
            Box::new(Unmapped {
                source: self.source.clone(),
                dn: entry.dn().to_owned(),
                key,
                problem,
            })
        };
        let key = key::read(entry, &self.key).map_err(|problem| refuse(None, problem))?;
        let (profile, active) = self
            .values(entry)
            .map_err(|problem| refuse(Some(key.clone()), problem))?;
        Ok(DesiredAccount {
            key,
            source: self.source.clone(),
            dn: entry.dn().to_owned(),
            profile,
            active,
        })
    }

    /// The values, and whether the person may log in. Of somebody who may not, what cannot be
    /// mapped is left out: no faulty value must keep a login open.
    fn values(&self, entry: &Entry) -> Result<(Profile, bool), Problem> {
        let active = match self.active() {
            Some(rule) => rule.truth(entry)?,
            None => true,
        };
        let mut profile = Profile::default();
        for (target, rule) in &self.rules {
            let MappingTarget::Attribute(attribute) = *target else {
                continue;
            };
            match self.value(attribute, rule, entry) {
                Ok(Some(value)) => profile.set(attribute, value),
                Ok(None) => {}
                Err(_) if !active => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok((profile, active))
    }

    fn active(&self) -> Option<&Compiled> {
        let is_active = |(target, _): &&(MappingTarget, Compiled)| *target == MappingTarget::Active;
        self.rules.iter().find(is_active).map(|(_, rule)| rule)
    }

    fn value(
        &self,
        attribute: Attribute,
        rule: &Compiled,
        entry: &Entry,
    ) -> Result<Option<String>, Problem> {
        let value = rule.text(MappingTarget::Attribute(attribute), entry)?;
        let value = value.trim();
        if value.is_empty() {
            return if attribute.is_required() {
                Err(self.missing(attribute, rule))
            } else {
                Ok(None)
            };
        }
        acceptable(attribute, value)?;
        Ok(Some(value.to_owned()))
    }

    /// The attributes of an account that this mapping gives a value to. Others are not
    /// dirsyncd's business.
    pub fn managed(&self) -> impl Iterator<Item = Attribute> {
        self.rules.iter().filter_map(|(target, _)| match target {
            MappingTarget::Attribute(attribute) => Some(*attribute),
            MappingTarget::Active => None,
        })
    }

    fn missing(&self, target: Attribute, rule: &Compiled) -> Problem {
        Problem::Missing {
            target,
            from: match rule {
                Compiled::FirstOf(names) => format!("`{}`", names.join("`, `")),
                Compiled::Value(_) => "a constant".to_owned(),
                Compiled::Expression(_) => "an expression".to_owned(),
            },
            skip: self.without_mail == WithoutMail::Skip,
        }
    }
}

impl Compiled {
    fn text(&self, target: MappingTarget, entry: &Entry) -> Result<String, Problem> {
        match self {
            Compiled::FirstOf(names) => {
                for name in names {
                    if let Some(value) = entry.text(name)?
                        && !value.trim().is_empty()
                    {
                        return Ok(value.to_owned());
                    }
                }
                Ok(String::new())
            }
            Compiled::Value(value) => Ok(value.clone()),
            Compiled::Expression(expression) => expression.text(target, entry),
        }
    }

    /// The value of `active`: an LDAP Boolean (RFC 4517 section 3.3.3) or a true/false
    /// expression.
    fn truth(&self, entry: &Entry) -> Result<bool, Problem> {
        let text = match self {
            Compiled::Expression(expression) => return expression.truth(entry),
            plain => plain.text(MappingTarget::Active, entry)?,
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(true),
            "false" | "no" | "0" => Ok(false),
            _ => Err(Problem::Expression {
                target: MappingTarget::Active.to_string(),
                why: format!("{text:?} is neither TRUE nor FALSE; map `active` by an expression"),
            }),
        }
    }
}

/// Checks a value against what the API takes, before it is ever sent.
fn acceptable(target: Attribute, value: &str) -> Result<(), Problem> {
    let refuse = |why: String| {
        Err(Problem::Unacceptable {
            target,
            value: value.chars().take(60).collect(),
            why,
        })
    };
    let chars = value.chars().count();
    if chars > target.max_chars() {
        return refuse(format!(
            "has {chars} characters, and the API takes {} at most",
            target.max_chars()
        ));
    }
    if value.chars().any(char::is_control) {
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

#[cfg(test)]
mod tests;
