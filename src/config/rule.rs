//! Mapping rules as they are written: attribute name, list of names, constant or expression.

use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::model::Attribute;

/// What a rule gives a value to: a managed attribute, or whether the account is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MappingTarget {
    /// A managed attribute of the account.
    Attribute(Attribute),
    /// Whether the person may log in.
    Active,
}

impl fmt::Display for MappingTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MappingTarget::Attribute(attribute) => attribute.fmt(f),
            MappingTarget::Active => f.write_str("active"),
        }
    }
}

impl MappingTarget {
    /// The names that a mapping may use.
    pub fn names() -> Vec<&'static str> {
        Attribute::ALL
            .iter()
            .map(|attribute| attribute.name())
            .chain(["active"])
            .collect()
    }

    /// The target of this name.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "active" {
            return Some(MappingTarget::Active);
        }
        name.parse().ok().map(MappingTarget::Attribute)
    }
}

/// How a value is made from an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The values of an LDAP attribute.
    Attribute(AttributeRule),
    /// The same value for everybody.
    Value(String),
    /// A CEL expression.
    Expression(String),
    /// Not mapped: takes away what a preset maps.
    Unmapped,
}

/// Which of an entry's values are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeRule {
    /// The attributes, of which the first that has a value counts.
    pub first_of: Vec<String>,
    /// The language whose values go before those without one (RFC 3866), in lower case.
    pub language: Option<String>,
    /// What stands between the values; without it, the first value is taken alone.
    pub join: Option<String>,
}

/// A rule and where it stands, for the messages about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedRule {
    /// The rule.
    pub rule: Rule,
    /// Its bytes in the file; none for a rule of a preset.
    pub span: Option<Range<usize>>,
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RuleVisitor)
    }
}

struct RuleVisitor;

impl<'de> Visitor<'de> for RuleVisitor {
    type Value = Rule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an LDAP attribute name, a list of them, { attribute = \"…\", join = \"…\" }, { value = \"…\" }, { expr = \"…\" } or false",
        )
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Rule, E> {
        plain(vec![attribute_name(name)?])
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Rule, E> {
        if value {
            return Err(E::invalid_value(de::Unexpected::Bool(true), &self));
        }
        Ok(Rule::Unmapped)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rule, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element::<String>()? {
            names.push(attribute_name(&name)?);
        }
        if names.is_empty() {
            return Err(de::Error::custom(
                "the list of LDAP attributes is empty; write false to map nothing",
            ));
        }
        plain(names)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rule, A::Error> {
        const KEYS: &[&str] = &["attribute", "expr", "join", "language", "value"];
        let (mut rule, mut language, mut join) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let value = match key.as_str() {
                "attribute" => match map.next_value()? {
                    Rule::Attribute(plain) if plain.language.is_none() && plain.join.is_none() => {
                        Rule::Attribute(plain)
                    }
                    _ => {
                        return Err(de::Error::custom(
                            "`attribute` takes an LDAP attribute name or a list of them",
                        ));
                    }
                },
                "expr" => Rule::Expression(map.next_value()?),
                "value" => Rule::Value(map.next_value()?),
                "language" => {
                    language = Some(language_tag(map.next_value()?)?);
                    continue;
                }
                "join" => {
                    join = Some(map.next_value()?);
                    continue;
                }
                other => return Err(de::Error::unknown_field(other, KEYS)),
            };
            if rule.replace(value).is_some() {
                return Err(de::Error::custom(
                    "give only one of `attribute`, `expr` and `value`",
                ));
            }
        }
        match rule {
            Some(Rule::Attribute(plain)) => Ok(Rule::Attribute(AttributeRule {
                language,
                join,
                ..plain
            })),
            Some(rule) if language.is_none() && join.is_none() => Ok(rule),
            Some(_) => Err(de::Error::custom(
                "`language` and `join` go with `attribute` only",
            )),
            None => Err(de::Error::custom("give `attribute`, `expr` or `value`")),
        }
    }
}

fn plain<E>(first_of: Vec<String>) -> Result<Rule, E> {
    Ok(Rule::Attribute(AttributeRule {
        first_of,
        ..AttributeRule::default()
    }))
}

/// A language tag (RFC 3866 section 2.1) in lower case, as it is compared.
fn language_tag<E: de::Error>(tag: String) -> Result<String, E> {
    if is_language_tag(&tag) {
        Ok(tag.to_ascii_lowercase())
    } else {
        Err(E::custom(format!(
            "`{tag}` is not a language tag such as \"en\" or \"en-US\""
        )))
    }
}

/// Whether this is written like a language tag: `en`, `de-CH`, `x-pig-latin` (RFC 3866
/// section 2.1).
pub fn is_language_tag(tag: &str) -> bool {
    tag.split('-').all(|part| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Whether this is written like an attribute description: a name or an OID, with options
/// (RFC 4512 section 2.5).
pub fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';' | '_'))
}

fn attribute_name<E: de::Error>(name: &str) -> Result<String, E> {
    if is_attribute_name(name) {
        Ok(name.to_owned())
    } else {
        Err(E::custom(format!(
            "`{name}` is not an LDAP attribute name; write {{ expr = '…' }} for an expression or {{ value = \"…\" }} for a constant"
        )))
    }
}
