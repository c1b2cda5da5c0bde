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
    /// The first of these LDAP attributes that has a value.
    FirstOf(Vec<String>),
    /// The same value for everybody.
    Value(String),
    /// A CEL expression.
    Expression(String),
    /// Not mapped: takes away what a preset maps.
    Unmapped,
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
            "an LDAP attribute name, a list of them, { value = \"…\" }, { expr = \"…\" } or false",
        )
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Rule, E> {
        Ok(Rule::FirstOf(vec![attribute_name(name)?]))
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
        Ok(Rule::FirstOf(names))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rule, A::Error> {
        const KEYS: &[&str] = &["expr", "value"];
        let mut rule = None;
        while let Some(key) = map.next_key::<String>()? {
            let value = match key.as_str() {
                "expr" => Rule::Expression(map.next_value()?),
                "value" => Rule::Value(map.next_value()?),
                other => return Err(de::Error::unknown_field(other, KEYS)),
            };
            if rule.replace(value).is_some() {
                return Err(de::Error::custom("give either `expr` or `value`, not both"));
            }
        }
        rule.ok_or_else(|| de::Error::custom("give `expr` or `value`"))
    }
}

/// An attribute description (RFC 4512 section 2.5): a name or an OID, with options.
fn attribute_name<E: de::Error>(name: &str) -> Result<String, E> {
    let is_valid = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';' | '_'));
    if is_valid {
        Ok(name.to_owned())
    } else {
        Err(E::custom(format!(
            "`{name}` is not an LDAP attribute name; write {{ expr = '…' }} for an expression or {{ value = \"…\" }} for a constant"
        )))
    }
}
