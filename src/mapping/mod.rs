//! From entries to desired accounts, by the rules of the configuration.
//!
//! Floor 2: pure. A [`Mapping`] is compiled once from a source's configuration; it knows which
//! LDAP attributes to ask for, and makes an account of an entry, or says why it cannot.

mod expression;
mod functions;
mod group;
mod key;
mod time;
mod value;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::{AttributeRule, MappingTarget, Provisioning, Rule, Source, WithoutMail};
use crate::model::{
    Attribute, DesiredAccount, Entry, ExternalId, Filter, NotText, Profile, SourceName, Timestamp,
};

use expression::Expression;
pub use group::{GroupFault, GroupMapping, LONGEST_GROUP_NAME, UnmappedGroup};
use value::Description;
pub use value::{key_of_id, octets_of_key};

/// The compiled mapping of one source.
pub struct Mapping {
    source: SourceName,
    key: Description,
    without_mail: WithoutMail,
    /// Why the filter lets entries in or out that have not changed, if it does.
    untrackable_filter: Option<String>,
    rules: Vec<(MappingTarget, Compiled)>,
}

enum Compiled {
    Attribute {
        first_of: Vec<Description>,
        language: Option<String>,
        join: Option<String>,
    },
    Value(String),
    Expression(Box<Expression>),
}

/// A rule that does not compile.
#[derive(Debug, thiserror::Error)]
#[error("{place} is wrong: {source}")]
pub struct MappingError {
    /// What is wrong, such as "the expression for `title`".
    pub place: String,
    /// The rule's bytes in the configuration; none when it is a preset's.
    pub span: Option<std::ops::Range<usize>>,
    /// What is wrong.
    pub source: RuleError,
}

/// Why a rule was refused.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The expression does not parse.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line in the expression, from 1.
        line: isize,
        /// Column in the expression, from 1.
        column: isize,
        /// What the parser said.
        message: String,
    },
    /// `attr`, `attrs` or `lang` without literal names.
    #[error("`{function}` takes {takes}, such as {function}{example}")]
    NotLiteral {
        /// The function.
        function: String,
        /// What it takes.
        takes: &'static str,
        /// The arguments of an example.
        example: &'static str,
    },
    /// The expression uses something that is not there.
    #[error("there is no '{0}'; attributes are written attr(\"name\")")]
    Unknown(String),
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
        let failed = |place: &str, span: &Option<std::ops::Range<usize>>| {
            let (place, span) = (place.to_owned(), span.clone());
            move |source| MappingError {
                place,
                span,
                source,
            }
        };
        let environment = functions::environment().map_err(failed("the mapping", &None))?;
        let mut rules = Vec::new();
        for (target, placed) in &source.mapping {
            if matches!(target, MappingTarget::Attribute(attribute) if !way.supports(*attribute)) {
                continue;
            }
            let compiled = match &placed.rule {
                Rule::Attribute(rule) => Compiled::attribute(rule)
                    .map_err(failed(&format!("the rule for `{target}`"), &placed.span))?,
                Rule::Value(value) => Compiled::Value(value.clone()),
                Rule::Expression(text) => {
                    let place = format!("the expression for `{target}`");
                    let expression = Expression::compile(text, &environment);
                    Compiled::Expression(Box::new(
                        expression.map_err(failed(&place, &placed.span))?,
                    ))
                }
                Rule::Unmapped => continue,
            };
            rules.push((*target, compiled));
        }
        let place = format!("the key of source `{}`", source.name);
        Ok(Mapping {
            source: source.name.clone(),
            key: Description::named(&source.key).map_err(failed(&place, &None))?,
            without_mail: source.without_mail,
            untrackable_filter: untrackable_filter(&source.search.filter),
            rules,
        })
    }

    /// The LDAP attributes that the mapping reads, for the search request. A server gives an
    /// attribute's values with further options, such as languages, along with it (RFC 4511
    /// section 4.5.1.8, RFC 4512 section 2.5.2).
    pub fn attributes(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self.names().collect();
        // Attribute names are compared without case (RFC 4512 section 2.5).
        let mut seen = BTreeSet::new();
        names
            .into_iter()
            .filter(|name| seen.insert(name.to_ascii_lowercase()))
            .map(str::to_owned)
            .collect()
    }

    /// Why asking a server for changed entries does not find all whose account changes, if so: a
    /// rule depends on the moment of the run, the mapping or the filter reads an attribute that
    /// the server computes, such as `memberOf`, which changes without a change of the entry, or
    /// the filter follows an attribute through other entries.
    pub fn untrackable(&self) -> Option<String> {
        let depends_on_time = self.rules.iter().any(|(_, rule)| match rule {
            Compiled::Expression(expression) => expression.depends_on_time(),
            Compiled::Attribute { .. } | Compiled::Value(_) => false,
        });
        if depends_on_time {
            return Some("the mapping depends on the time (`now`)".to_owned());
        }
        let computed = self.names().filter(|name| value::is_computed(name)).min();
        computed
            .map(|name| reads_computed("the mapping", name))
            .or_else(|| self.untrackable_filter.clone())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let of_rules = self.rules.iter().flat_map(|(_, rule)| {
            let names: Box<dyn Iterator<Item = &str>> = match rule {
                Compiled::Attribute { first_of, .. } => {
                    Box::new(first_of.iter().map(Description::name))
                }
                Compiled::Expression(expression) => Box::new(expression.attributes()),
                Compiled::Value(_) => Box::new(std::iter::empty()),
            };
            names
        });
        std::iter::once(self.key.name()).chain(of_rules)
    }

    /// The key of an entry, if it has a usable one.
    pub fn key(&self, entry: &Entry) -> Option<ExternalId> {
        key::read(entry, &self.key).ok()
    }

    /// Makes the desired account of an entry, at the moment of the run.
    pub fn map(&self, entry: &Entry, now: Timestamp) -> Result<DesiredAccount, Box<Unmapped>> {
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
            .values(entry, now)
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
    fn values(&self, entry: &Entry, now: Timestamp) -> Result<(Profile, bool), Problem> {
        let active = match self.active() {
            Some(rule) => rule.truth(entry, now)?,
            None => true,
        };
        let mut profile = Profile::with_capacity(self.rules.len());
        for (target, rule) in &self.rules {
            let MappingTarget::Attribute(attribute) = *target else {
                continue;
            };
            match self.value(attribute, rule, entry, now) {
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
        now: Timestamp,
    ) -> Result<Option<Box<str>>, Problem> {
        let value = rule.text(MappingTarget::Attribute(attribute), entry, now)?;
        let value = value.trim();
        if value.is_empty() {
            return if attribute.is_required() {
                Err(self.missing(attribute, rule))
            } else {
                Ok(None)
            };
        }
        acceptable(attribute, value)?;
        Ok(Some(value.into()))
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
                Compiled::Attribute { first_of, .. } => {
                    let names: Vec<&str> = first_of.iter().map(Description::name).collect();
                    format!("`{}`", names.join("`, `"))
                }
                Compiled::Value(_) => "a constant".to_owned(),
                Compiled::Expression(_) => "an expression".to_owned(),
            },
            skip: self.without_mail == WithoutMail::Skip,
        }
    }
}

/// Why changes of other entries decide whether an entry matches the filter, if they do.
fn untrackable_filter(filter: &Filter) -> Option<String> {
    let followed = filter.followed_attributes().into_iter().next();
    if let Some(name) = followed {
        return Some(format!(
            "the filter follows `{name}` through other entries, whose changes do not show in the entry"
        ));
    }
    let mut names = filter.attributes().into_iter();
    let computed = names.find(|name| value::is_computed(name))?;
    Some(reads_computed("the filter", computed))
}

fn reads_computed(place: &str, name: &str) -> String {
    format!("{place} reads `{name}`, which changes without a change of the entry")
}

impl Compiled {
    fn attribute(rule: &AttributeRule) -> Result<Self, RuleError> {
        let first_of = rule.first_of.iter().map(|name| Description::named(name));
        Ok(Compiled::Attribute {
            first_of: first_of.collect::<Result<_, _>>()?,
            language: rule.language.clone(),
            join: rule.join.clone(),
        })
    }

    fn text<'a>(
        &'a self,
        target: MappingTarget,
        entry: &'a Entry,
        now: Timestamp,
    ) -> Result<Cow<'a, str>, Problem> {
        match self {
            Compiled::Attribute {
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
            Compiled::Value(value) => Ok(Cow::Borrowed(value)),
            Compiled::Expression(expression) => expression.text(target, entry, now).map(Cow::Owned),
        }
    }

    /// The value of `active`: an LDAP Boolean (RFC 4517 section 3.3.3) or a true/false
    /// expression.
    fn truth(&self, entry: &Entry, now: Timestamp) -> Result<bool, Problem> {
        let text = match self {
            Compiled::Expression(expression) => return expression.truth(entry, now),
            plain => plain.text(MappingTarget::Active, entry, now)?,
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

/// The values in one text. They are sorted, as a server may give them in any order (RFC 4511
/// section 4.1.7), and a new order is no change.
fn joined<'e>(values: Vec<Cow<'e, str>>, join: &str) -> Option<Cow<'e, str>> {
    let mut texts: Vec<&str> = values.iter().map(|value| value.trim()).collect();
    texts.retain(|text| !text.is_empty());
    texts.sort_unstable();
    (!texts.is_empty()).then(|| Cow::Owned(texts.join(join)))
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
    // Nearly every value is told to be right by its bytes, of which it has no fewer than
    // characters.
    if value.len() > target.max_chars() && value.chars().count() > target.max_chars() {
        return refuse(format!(
            "has {} characters, and the API takes {} at most",
            value.chars().count(),
            target.max_chars()
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

#[cfg(test)]
mod tests;
