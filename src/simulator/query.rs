//! What a SCIM list or read can ask for: filter, page, attributes (RFC 7644 sections 3.4.2 and 3.9), as narrowly as
//! the contract has it: one `eq`, pages of 100, no sorting.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::{Map, Value, json};

use super::answers::ScimError;

/// The page size, default and maximum (contract section 5, `GET /Users`).
const PAGE: i64 = 100;

/// The decoded parameters of the query string.
pub(super) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        ))
    }
}

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The items of a list parameter, given repeatedly, comma-separated, or both.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let given = self
            .0
            .iter()
            .filter(|(key, _)| key == name)
            .flat_map(|(_, value)| value.split(','));
        given
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect()
    }
}

/// `attribute eq "value"`, the attribute being one of those that the list can be filtered by.
pub(super) struct Filter {
    pub(super) attribute: &'static str,
    pub(super) value: String,
}

impl Filter {
    /// The filter of the request, if it has one. `urn` may stand before the attribute (RFC 7644 section 3.10).
    pub(super) fn of(
        params: &Params,
        urn: &str,
        by: &[&'static str],
    ) -> Result<Option<Self>, ScimError> {
        let Some(text) = params.get("filter") else {
            return Ok(None);
        };
        let refused = || {
            let known = by
                .iter()
                .map(|name| format!("{name} eq \"value\""))
                .collect::<Vec<_>>()
                .join(" or ");
            ScimError::bad(
                "invalidFilter",
                format!("The filter [{text}] is not supported; use {known}."),
            )
        };
        let (attribute, value) = equation(text).ok_or_else(refused)?;
        let attribute = strip_urn(attribute, urn);
        let attribute = by
            .iter()
            .find(|name| name.eq_ignore_ascii_case(attribute))
            .ok_or_else(refused)?;
        let Value::String(value) = value else {
            return Err(refused());
        };
        Ok(Some(Self { attribute, value }))
    }
}

/// Splits `attribute eq literal`.
pub(super) fn equation(text: &str) -> Option<(&str, Value)> {
    let (attribute, rest) = text.trim().split_once(char::is_whitespace)?;
    let (operator, literal) = rest.trim_start().split_once(char::is_whitespace)?;
    let literal = serde_json::from_str(literal.trim()).ok()?;
    operator
        .eq_ignore_ascii_case("eq")
        .then_some((attribute, literal))
}

/// The name without the schema's URN before it.
pub(super) fn strip_urn<'t>(name: &'t str, urn: &str) -> &'t str {
    let prefix = name
        .get(..urn.len())
        .filter(|prefix| prefix.eq_ignore_ascii_case(urn));
    prefix
        .and_then(|_| name[urn.len()..].strip_prefix(':'))
        .unwrap_or(name)
}

/// A page of a list: 1-based start and size.
pub(super) struct Page {
    pub(super) start: i64,
    pub(super) count: i64,
}

impl Page {
    /// Values below the range count as its lower end (RFC 7644 section 3.4.2.4).
    pub(super) fn of(params: &Params) -> Result<Self, ScimError> {
        let number = |name: &str, default| match params.get(name) {
            None => Ok(default),
            Some(text) => text.parse::<i64>().map_err(|_| {
                ScimError::bad(
                    "invalidValue",
                    format!("The parameter {name} [{text}] is no number."),
                )
            }),
        };
        Ok(Self {
            start: number("startIndex", 1)?.max(1),
            count: number("count", PAGE)?.clamp(0, PAGE),
        })
    }

    /// The ListResponse (RFC 7644 section 3.4.2).
    pub(super) fn response(&self, total: i64, resources: Vec<Value>) -> Value {
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": total,
            "itemsPerPage": resources.len(),
            "startIndex": self.start,
            "Resources": resources,
        })
    }
}

/// Which attributes an answer shows.
pub(super) enum Projection {
    All,
    Only(Vec<Vec<String>>),
    Without(Vec<Vec<String>>),
}

impl Projection {
    /// `attributes` or `excludedAttributes`, not both (contract section 5).
    pub(super) fn of(params: &Params, core: &str, extensions: &[&str]) -> Result<Self, ScimError> {
        let paths = |name| -> Vec<Vec<String>> {
            params
                .list(name)
                .into_iter()
                .map(|text| steps(text, core, extensions))
                .collect()
        };
        match (paths("attributes"), paths("excludedAttributes")) {
            (only, without) if !only.is_empty() && !without.is_empty() => Err(ScimError::bad(
                "invalidValue",
                "The parameters attributes and excludedAttributes cannot be used together.",
            )),
            (only, _) if !only.is_empty() => Ok(Self::Only(only)),
            (_, without) if !without.is_empty() => Ok(Self::Without(without)),
            _ => Ok(Self::All),
        }
    }

    /// The resource as asked for. `id` and `schemas` are in every answer (RFC 7643 section 3.1, "returned": always).
    pub(super) fn apply(&self, resource: Value) -> Value {
        let Value::Object(map) = resource else {
            return resource;
        };
        Value::Object(match self {
            Self::All => map,
            Self::Only(paths) => only(map, paths, true),
            Self::Without(paths) => without(map, paths, true),
        })
    }
}

/// The steps of an attribute's name: the URN of an extension, the attribute, its sub-attribute; in lower case.
fn steps(text: &str, core: &str, extensions: &[&str]) -> Vec<String> {
    let text = strip_urn(text, core);
    let urn = extensions
        .iter()
        .find(|urn| text.eq_ignore_ascii_case(urn) || strip_urn(text, urn) != text);
    let rest = urn.map_or(text, |urn| strip_urn(text, urn));
    let names = rest.split('.').map(str::to_lowercase);
    match urn {
        Some(urn) if rest == text => vec![urn.to_lowercase()],
        Some(urn) => std::iter::once(urn.to_lowercase()).chain(names).collect(),
        None => names.collect(),
    }
}

fn always(name: &str, top: bool) -> bool {
    top && matches!(name, "id" | "schemas")
}

/// The paths below `name`; an empty one among them names the attribute as a whole.
fn below(paths: &[Vec<String>], name: &str) -> Vec<Vec<String>> {
    let name = name.to_lowercase();
    paths
        .iter()
        .filter(|path| path.first() == Some(&name))
        .map(|path| path[1..].to_vec())
        .collect()
}

fn only(map: Map<String, Value>, paths: &[Vec<String>], top: bool) -> Map<String, Value> {
    let part = |(name, value): (String, Value)| {
        let inner = below(paths, &name);
        if always(&name, top) || inner.iter().any(Vec::is_empty) {
            return Some((name, value));
        }
        (!inner.is_empty()).then(|| (name, each(value, &|map| only(map, &inner, false))))
    };
    map.into_iter().filter_map(part).collect()
}

fn without(map: Map<String, Value>, paths: &[Vec<String>], top: bool) -> Map<String, Value> {
    let part = |(name, value): (String, Value)| {
        let inner = below(paths, &name);
        if always(&name, top) || inner.is_empty() {
            return Some((name, value));
        }
        (!inner.iter().any(Vec::is_empty))
            .then(|| (name, each(value, &|map| without(map, &inner, false))))
    };
    map.into_iter().filter_map(part).collect()
}

/// Applies to a complex value, or to each of several.
fn each(value: Value, change: &dyn Fn(Map<String, Value>) -> Map<String, Value>) -> Value {
    match value {
        Value::Object(map) => Value::Object(change(map)),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| each(item, change)).collect())
        }
        other => other,
    }
}
