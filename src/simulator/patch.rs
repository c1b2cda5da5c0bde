//! PATCH (RFC 7644 section 3.5.2): its operations, their paths, and what they do to a resource's attributes.

use serde_json::{Map, Value};

use super::answers::ScimError;
use super::query::{equation, strip_urn};
use super::schema::{self, Attribute, COMMON, Kind, Mutability, Schema};

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Add,
    Replace,
    Remove,
}

/// One operation of a PATCH.
pub(super) struct Operation {
    pub(super) action: Action,
    pub(super) path: Option<String>,
    pub(super) value: Value,
}

/// What a path points at.
pub(super) struct Target {
    /// The URN of the extension that holds the attribute.
    extension: Option<&'static str>,
    pub(super) attribute: &'static Attribute,
    pub(super) filter: Option<Condition>,
    part: Option<&'static Attribute>,
}

/// `[part eq value]` behind an attribute of several values.
pub(super) struct Condition {
    pub(super) part: &'static Attribute,
    pub(super) value: Value,
}

impl Condition {
    fn holds(&self, item: &Value) -> bool {
        match (&item[self.part.name], &self.value) {
            (Value::String(is), Value::String(asked)) => is.eq_ignore_ascii_case(asked),
            (is, asked) => is == asked,
        }
    }
}

/// The operations of a PATCH body.
pub(super) fn operations(body: &Map<String, Value>) -> Result<Vec<Operation>, ScimError> {
    schema::declared(body, schema::PATCH)?;
    let syntax = |detail: &str| ScimError::bad("invalidSyntax", detail);
    let list = schema::member(body, "Operations")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty());
    let list =
        list.ok_or_else(|| syntax("Operations must be a list with at least one operation."))?;
    let read = |operation: &Value| {
        let operation = operation
            .as_object()
            .ok_or_else(|| syntax("An operation must be an object."))?;
        let name = schema::member(operation, "op")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let action = match name.to_ascii_lowercase().as_str() {
            "add" => Action::Add,
            "replace" => Action::Replace,
            "remove" => Action::Remove,
            _ => {
                return Err(syntax(
                    "The op of an operation must be add, replace or remove.",
                ));
            }
        };
        let path = match schema::member(operation, "path") {
            None | Some(Value::Null) => None,
            Some(Value::String(path)) => Some(path.clone()),
            Some(_) => {
                return Err(ScimError::bad(
                    "invalidPath",
                    "The path of an operation must be a string.",
                ));
            }
        };
        let value = schema::member(operation, "value").cloned();
        if value.is_none() && action != Action::Remove {
            return Err(ScimError::bad(
                "invalidValue",
                format!("The operation {name} needs a value."),
            ));
        }
        if path.is_none() && action == Action::Remove {
            return Err(ScimError::bad(
                "noTarget",
                "The operation remove needs a path.",
            ));
        }
        Ok(Operation {
            action,
            path,
            value: value.unwrap_or(Value::Null),
        })
    };
    list.iter().map(read).collect()
}

impl Target {
    /// Reads `[urn:]attribute`, `attribute.part`, `attribute[part eq "value"]` and `attribute[..].part`.
    pub(super) fn read(
        path: &str,
        core: &'static Schema,
        extensions: &[&'static Schema],
    ) -> Result<Self, ScimError> {
        let invalid =
            |why: &str| ScimError::bad("invalidPath", format!("The path [{path}] {why}."));
        let text = strip_urn(path.trim(), core.urn);
        let holder = extensions
            .iter()
            .find(|schema| strip_urn(text, schema.urn) != text);
        let rest = holder.map_or(text, |schema| strip_urn(text, schema.urn));
        let (head, filter, tail) = match rest.split_once('[') {
            None => match rest.split_once('.') {
                None => (rest, None, None),
                Some((head, part)) => (head, None, Some(part)),
            },
            Some((head, rest)) => {
                let (filter, tail) = rest
                    .rsplit_once(']')
                    .ok_or_else(|| invalid("has an unclosed filter"))?;
                let tail = match tail.strip_prefix('.') {
                    None if tail.is_empty() => None,
                    None => return Err(invalid("goes on after its filter")),
                    part => part,
                };
                (head, Some(filter), tail)
            }
        };
        let attribute = match holder {
            Some(schema) => schema::named(schema.attributes, head),
            None => schema::named(core.attributes, head).or_else(|| schema::named(&COMMON, head)),
        };
        let attribute = attribute.ok_or_else(|| invalid("names no attribute"))?;
        let part = |name| {
            schema::named(attribute.parts(), name).ok_or_else(|| invalid("names no sub-attribute"))
        };
        let filter = match filter {
            None => None,
            Some(_) if !attribute.many => {
                return Err(invalid("filters an attribute of a single value"));
            }
            Some(text) => {
                let (name, value) =
                    equation(text).ok_or_else(|| invalid("has a filter other than one eq"))?;
                Some(Condition {
                    part: part(name)?,
                    value,
                })
            }
        };
        if tail.is_some() && attribute.many && filter.is_none() {
            return Err(invalid("does not say which of the values is meant"));
        }
        let part = tail.map(part).transpose()?;
        Ok(Self {
            extension: holder.map(|schema| schema.urn),
            attribute,
            filter,
            part,
        })
    }

    /// Whether whole values are meant, not a sub-attribute of them.
    pub(super) fn is_whole(&self) -> bool {
        self.part.is_none()
    }

    /// A path to an attribute that only the server sets is refused.
    fn writable(&self) -> Result<(), ScimError> {
        let read_only = |attribute: &Attribute| attribute.mutability == Mutability::ReadOnly;
        if read_only(self.attribute) || self.part.is_some_and(read_only) {
            let detail = format!("The attribute {} is read-only.", self.attribute.name);
            return Err(ScimError::bad("mutability", detail));
        }
        Ok(())
    }
}

/// Applies an operation to a resource's attributes. What comes out is to be checked as a whole afterwards.
pub(super) fn apply(
    resource: &mut Map<String, Value>,
    operation: &Operation,
    core: &'static Schema,
    extensions: &[&'static Schema],
) -> Result<(), ScimError> {
    let Operation {
        action,
        path,
        value,
    } = operation;
    if let Some(path) = path {
        // The URN of an extension alone stands for all of its attributes.
        if let Some(extension) = extensions
            .iter()
            .find(|schema| schema.urn.eq_ignore_ascii_case(path.trim()))
        {
            if *action == Action::Remove {
                resource.remove(extension.urn);
                return Ok(());
            }
            return merge_extension(resource, *action, extension, value);
        }
        if strip_urn(path, schema::ATLASSIAN) != path
            || path.eq_ignore_ascii_case(schema::ATLASSIAN)
        {
            return Err(ScimError::bad(
                "mutability",
                format!("The attribute {path} is read-only."),
            ));
        }
        return change(
            resource,
            *action,
            &Target::read(path, core, extensions)?,
            value,
        );
    }
    let Value::Object(members) = value else {
        return Err(ScimError::bad(
            "invalidValue",
            "An operation without a path needs an object as its value.",
        ));
    };
    for (name, value) in members {
        if let Some(extension) = extensions
            .iter()
            .find(|schema| schema.urn.eq_ignore_ascii_case(name))
        {
            merge_extension(resource, *action, extension, value)?;
        } else if let Ok(target) = Target::read(name, core, extensions) {
            // Unknown attributes are ignored as in a POST; `schemas` follows from the others.
            change(resource, *action, &target, value)?;
        }
    }
    Ok(())
}

fn merge_extension(
    resource: &mut Map<String, Value>,
    action: Action,
    extension: &'static Schema,
    value: &Value,
) -> Result<(), ScimError> {
    let Value::Object(members) = value else {
        return Err(ScimError::bad(
            "invalidValue",
            format!("The value of {} must be an object.", extension.urn),
        ));
    };
    for (name, value) in members {
        if let Some(attribute) = schema::named(extension.attributes, name) {
            let target = Target {
                extension: Some(extension.urn),
                attribute,
                filter: None,
                part: None,
            };
            change(resource, action, &target, value)?;
        }
    }
    Ok(())
}

/// Changes what the target points at.
fn change(
    resource: &mut Map<String, Value>,
    action: Action,
    target: &Target,
    value: &Value,
) -> Result<(), ScimError> {
    target.writable()?;
    match target.extension {
        Some(urn) => within(resource, urn, |extension| {
            change_in(extension, action, target, value)
        }),
        None => change_in(resource, action, target, value),
    }
}

fn change_in(
    map: &mut Map<String, Value>,
    action: Action,
    target: &Target,
    value: &Value,
) -> Result<(), ScimError> {
    let Target {
        extension: _,
        attribute,
        filter,
        part,
    } = target;
    match (filter, part) {
        (Some(filter), _) => change_values(map, action, attribute, filter, *part, value),
        (None, Some(part)) => within(map, attribute.name, |parts| set(parts, action, part, value)),
        (None, None) => set(map, action, attribute, value),
    }
}

/// Changes the map under `key`, which is there only as long as it holds something.
fn within(
    map: &mut Map<String, Value>,
    key: &str,
    change: impl FnOnce(&mut Map<String, Value>) -> Result<(), ScimError>,
) -> Result<(), ScimError> {
    let mut inner = match map.remove(key) {
        Some(Value::Object(inner)) => inner,
        _ => Map::new(),
    };
    change(&mut inner)?;
    if !inner.is_empty() {
        map.insert(key.to_owned(), inner.into());
    }
    Ok(())
}

/// Sets, joins or removes an attribute of a map.
fn set(
    map: &mut Map<String, Value>,
    action: Action,
    attribute: &Attribute,
    value: &Value,
) -> Result<(), ScimError> {
    let complex = matches!(attribute.kind, Kind::Complex(_)) && !attribute.many;
    // Without a value an operation does what remove does (RFC 7643 section 2.5).
    let value = match action {
        Action::Remove => None,
        _ => schema::accept_value(attribute, value, attribute.name, complex)?,
    };
    let Some(value) = value else {
        if attribute.required && action == Action::Remove {
            return Err(ScimError::bad(
                "mutability",
                format!("The attribute {} is required.", attribute.name),
            ));
        }
        if action != Action::Add {
            map.remove(attribute.name);
        }
        return Ok(());
    };
    let old = map.entry(attribute.name).or_insert(Value::Null);
    match (old, value) {
        (Value::Object(old), Value::Object(new)) => old.extend(new),
        (Value::Array(old), Value::Array(new)) if action == Action::Add => {
            if new.iter().any(is_primary) {
                unset_primary(old);
            }
            for item in new {
                if !old.contains(&item) {
                    old.push(item);
                }
            }
        }
        (old, new) => *old = new,
    }
    Ok(())
}

/// Changes those of several values that the filter chooses.
fn change_values(
    map: &mut Map<String, Value>,
    action: Action,
    attribute: &Attribute,
    filter: &Condition,
    part: Option<&'static Attribute>,
    value: &Value,
) -> Result<(), ScimError> {
    let mut none = Vec::new();
    let items = map
        .get_mut(attribute.name)
        .and_then(Value::as_array_mut)
        .unwrap_or(&mut none);
    if action == Action::Remove && part.is_none() {
        items.retain(|item| !filter.holds(item));
        return Ok(());
    }
    let chosen: Vec<usize> = (0..items.len())
        .filter(|&index| filter.holds(&items[index]))
        .collect();
    if chosen.is_empty() && action != Action::Remove {
        let detail = format!(
            "No value of {} matches the filter of the path.",
            attribute.name
        );
        return Err(ScimError::bad("noTarget", detail));
    }
    let primary = match part {
        Some(part) => part.name == "primary" && value == &Value::Bool(true),
        None => is_primary(value),
    };
    if primary {
        unset_primary(items);
    }
    for index in chosen {
        match (part, &mut items[index]) {
            (Some(part), Value::Object(item)) => set(item, action, part, value)?,
            (_, item) => {
                let new =
                    schema::accept_one(attribute, value, attribute.name, action == Action::Add)?;
                match (action, item, new) {
                    (Action::Add, Value::Object(item), Value::Object(new)) => item.extend(new),
                    (_, item, new) => *item = new,
                }
            }
        }
    }
    Ok(())
}

fn is_primary(item: &Value) -> bool {
    item["primary"] == Value::Bool(true)
}

/// A new primary value ends the old one (RFC 7644 section 3.5.2).
fn unset_primary(items: &mut [Value]) {
    for item in items.iter_mut().filter(|item| is_primary(item)) {
        item["primary"] = false.into();
    }
}
