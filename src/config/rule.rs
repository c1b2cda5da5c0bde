//! Mapping rules as they are written: attribute name, list of names, constant or expression, with
//! what stands beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::config::spanned::Spanned;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::model::{Attribute, fold};

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

/// A rule of the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A value is made.
    Made(Making),
    /// Not mapped: takes away what a preset maps.
    Unmapped,
}

/// How a value is made from an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Making {
    /// What it is made from.
    pub origin: Origin,
    /// What is taken for each value that is found, which is looked up trimmed and case-folded. A
    /// value that is not in it counts for none.
    pub table: Option<BTreeMap<String, String>>,
    /// What is taken where there is no value.
    pub default: Option<String>,
    /// Whether a person without a value is refused; where it is not said, as the attribute is.
    pub required: Option<bool>,
}

/// What a value is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The values of an LDAP attribute.
    Attribute(AttributeRule),
    /// The same value for everybody.
    Value(String),
    /// A CEL expression.
    Expression(PlacedExpression),
}

/// A CEL expression and where it stands, for the messages about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedExpression {
    /// The expression.
    pub text: String,
    /// Its bytes in the file, with the quotes; none for one of a preset.
    span: Option<Range<usize>>,
    /// The byte of the file where its text begins; none where it is not written as it is read,
    /// as with escapes.
    start: Option<usize>,
}

impl PlacedExpression {
    /// An expression that stands in no file.
    pub(super) fn bare(text: String) -> Self {
        PlacedExpression {
            text,
            span: None,
            start: None,
        }
    }

    /// Finds the expression in the text of the file that it was read from.
    pub(super) fn located(written: Spanned<String>, file: &str) -> Self {
        let mut expression = Self::from(written);
        expression.locate(file);
        expression
    }

    pub(super) fn locate(&mut self, file: &str) {
        const QUOTES: [&str; 8] = [
            "'''\r\n",
            "'''\n",
            "'''",
            "\"\"\"\r\n",
            "\"\"\"\n",
            "\"\"\"",
            "'",
            "\"",
        ];
        let written = self.span.clone().and_then(|span| file.get(span));
        self.start = written.and_then(|written| {
            let is_it = |quotes: &&&str| {
                let rest = written.strip_prefix(**quotes);
                rest.is_some_and(|rest| rest.starts_with(&self.text))
            };
            let quotes = QUOTES.iter().find(is_it)?;
            Some(self.span.as_ref()?.start + quotes.len())
        });
    }

    /// The bytes in the file of a part of the expression, or at least of all of it.
    pub fn place(&self, part: Range<usize>) -> Option<Range<usize>> {
        match self.start {
            Some(start) => Some(start + part.start..start + part.end),
            None => self.span.clone(),
        }
    }
}

impl From<Spanned<String>> for PlacedExpression {
    fn from(written: Spanned<String>) -> Self {
        PlacedExpression {
            span: Some(written.span()),
            text: written.into_inner(),
            start: None,
        }
    }
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
    pub rule: Making,
    /// How it is written.
    pub written: String,
    /// Its bytes in the file; none for a rule of a preset.
    pub span: Option<Range<usize>>,
}

impl PlacedRule {
    /// A rule of this file; `None` for one that maps nothing.
    pub(super) fn of_file(rule: &Spanned<Rule>, file: &str) -> Option<Self> {
        let Rule::Made(making) = rule.get_ref() else {
            return None;
        };
        let mut making = making.clone();
        if let Origin::Expression(expression) = &mut making.origin {
            expression.locate(file);
        }
        Some(PlacedRule {
            rule: making,
            written: file.get(rule.span()).unwrap_or_default().to_owned(),
            span: Some(rule.span()),
        })
    }

    /// A rule of a preset, which has no place in the file of the configuration.
    pub(super) fn of_preset(rule: &Spanned<Rule>, preset: &str) -> Option<Self> {
        let mut placed = Self::of_file(rule, preset)?;
        placed.span = None;
        if let Origin::Expression(expression) = &mut placed.rule.origin {
            (expression.span, expression.start) = (None, None);
        }
        Some(placed)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RuleVisitor)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Rule {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let text = serde_json::json!({ "type": ["string", "boolean"] });
        let names = serde_json::json!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
        });
        let kind = |key| match key {
            "attribute" => names.clone(),
            "required" => serde_json::json!({ "type": "boolean" }),
            "table" => serde_json::json!({ "type": "object", "additionalProperties": text }),
            "default" | "value" => text.clone(),
            _ => serde_json::json!({ "type": "string" }),
        };
        let keys: serde_json::Map<_, _> = KEYS
            .map(|key| (key.to_owned(), kind(key)))
            .into_iter()
            .collect();
        schemars::json_schema!({
            "description": "An LDAP attribute (its first value), a list of them (the first that has a value), a table, or `false` for nothing.",
            "anyOf": [
                names,
                { "const": false },
                { "type": "object", "properties": keys, "additionalProperties": false },
            ],
        })
    }
}

struct RuleVisitor;

impl<'de> Visitor<'de> for RuleVisitor {
    type Value = Rule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an LDAP attribute name, a list of them, { attribute = \"…\", default = \"…\" }, { value = \"…\" }, { expr = \"…\" } or false",
        )
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Rule, E> {
        NamesVisitor.visit_str(name).map(Names::rule)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Rule, E> {
        if value {
            return Err(E::invalid_value(de::Unexpected::Bool(true), &self));
        }
        Ok(Rule::Unmapped)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Rule, A::Error> {
        NamesVisitor.visit_seq(list).map(Names::rule)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
        Parts::read(map)?.making().map(Rule::Made)
    }
}

/// The keys of a rule that is written as a table.
const KEYS: [&str; 8] = [
    "attribute",
    "default",
    "expr",
    "join",
    "language",
    "required",
    "table",
    "value",
];

/// What is written as a table.
#[derive(Default)]
struct Parts {
    origin: Option<Origin>,
    language: Option<String>,
    join: Option<String>,
    table: Option<BTreeMap<String, String>>,
    default: Option<String>,
    required: Option<bool>,
}

impl Parts {
    fn read<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut parts = Parts::default();
        while let Some(key) = map.next_key::<String>()? {
            let origin = match key.as_str() {
                "attribute" => Origin::Attribute(AttributeRule {
                    first_of: map.next_value::<Names>()?.0,
                    ..AttributeRule::default()
                }),
                "expr" => Origin::Expression(map.next_value::<Spanned<String>>()?.into()),
                "value" => Origin::Value(map.next_value::<Text>()?.0),
                other => {
                    match other {
                        "language" => parts.language = Some(language_tag(map.next_value()?)?),
                        "join" => parts.join = Some(map.next_value()?),
                        "table" => parts.table = Some(table(map.next_value()?)?),
                        "default" => parts.default = Some(map.next_value::<Text>()?.0),
                        "required" => parts.required = Some(map.next_value()?),
                        other => return Err(de::Error::unknown_field(other, &KEYS)),
                    }
                    continue;
                }
            };
            if parts.origin.replace(origin).is_some() {
                return Err(de::Error::custom(
                    "give only one of `attribute`, `expr` and `value`",
                ));
            }
        }
        Ok(parts)
    }

    fn making<E: de::Error>(self) -> Result<Making, E> {
        let Parts {
            origin,
            language,
            join,
            table,
            default,
            required,
        } = self;
        let refuse = |what: &str| Err(E::custom(what));
        if join.is_some() && table.is_some() {
            return refuse("`table` does not go with `join`: it is for one value");
        }
        if default.as_ref().is_some_and(|text| text.trim().is_empty()) {
            return refuse("`default` is empty; leave it out");
        }
        let origin = match origin {
            None => return refuse("give `attribute`, `expr` or `value`"),
            Some(Origin::Attribute(rule)) => Origin::Attribute(AttributeRule {
                language,
                join,
                ..rule
            }),
            Some(_) if language.is_some() || join.is_some() => {
                return refuse("`language` and `join` go with `attribute` only");
            }
            Some(Origin::Value(_)) if table.is_some() || default.is_some() => {
                return refuse("`table` and `default` go with `attribute` and `expr` only");
            }
            Some(origin) => origin,
        };
        Ok(Making {
            origin,
            table,
            default,
            required,
        })
    }
}

/// The table with its keys as they are compared.
fn table<E: de::Error>(written: BTreeMap<String, Text>) -> Result<BTreeMap<String, String>, E> {
    if written.is_empty() {
        return Err(E::custom("the table is empty"));
    }
    let mut table = BTreeMap::new();
    for (key, Text(value)) in written {
        if table.insert(lookup_key(&key), value).is_some() {
            return Err(E::custom(format!(
                "the table has `{key}` twice, as letters are compared without case"
            )));
        }
    }
    Ok(table)
}

/// A value as it is looked up in a [`Making::table`].
pub fn lookup_key(value: &str) -> String {
    fold(value.trim())
}

/// A text, or true or false, which stand for their names.
#[derive(Deserialize)]
#[serde(from = "TextOrBool")]
struct Text(String);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text in quotes")]
enum TextOrBool {
    Text(String),
    Bool(bool),
}

impl From<TextOrBool> for Text {
    fn from(written: TextOrBool) -> Self {
        Text(match written {
            TextOrBool::Text(text) => text,
            TextOrBool::Bool(value) => value.to_string(),
        })
    }
}

/// The name of an LDAP attribute, or a list of them.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an LDAP attribute name or a list of them")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Names, E> {
        Ok(Names(vec![attribute_name(name)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element::<String>()? {
            names.push(attribute_name(&name)?);
        }
        if names.is_empty() {
            return Err(de::Error::custom(
                "the list of LDAP attributes is empty; write false to map nothing",
            ));
        }
        Ok(Names(names))
    }
}

impl Names {
    fn rule(self) -> Rule {
        Rule::Made(Making {
            origin: Origin::Attribute(AttributeRule {
                first_of: self.0,
                ..AttributeRule::default()
            }),
            table: None,
            default: None,
            required: None,
        })
    }
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
