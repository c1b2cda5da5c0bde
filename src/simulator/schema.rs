//! The SCIM schemas: what `/Schemas` publishes and what a body is checked against are the same definition
//! (RFC 7643 sections 2, 4 and 7; the attributes are those that Atlassian publishes, scim-tools.md section 5).

use serde_json::{Map, Value, json};

use super::answers::ScimError;

/// Longest string accepted. The contract names no limit for SCIM; this is a common column width.
const LONGEST: usize = 255;

/// One schema.
pub(super) struct Schema {
    pub(super) urn: &'static str,
    pub(super) name: &'static str,
    about: &'static str,
    pub(super) attributes: &'static [Attribute],
}

/// One attribute with its characteristics (RFC 7643 section 2.2).
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) many: bool,
    pub(super) required: bool,
    pub(super) mutability: Mutability,
    unique: bool,
    /// The values allowed; any when empty.
    values: &'static [&'static str],
    about: &'static str,
}

/// The type of an attribute.
pub(super) enum Kind {
    Text,
    Boolean,
    Reference,
    Complex(&'static [Attribute]),
}

/// Who may change an attribute, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutability {
    ReadWrite,
    ReadOnly,
    Immutable,
}

impl Attribute {
    const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        let mutability = Mutability::ReadWrite;
        Self {
            name,
            kind,
            many: false,
            required: false,
            mutability,
            unique: false,
            values: &[],
            about,
        }
    }

    const fn text(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Text, about)
    }

    const fn many(mut self) -> Self {
        self.many = true;
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    const fn immutable(mut self) -> Self {
        self.mutability = Mutability::Immutable;
        self
    }

    const fn read_only(mut self) -> Self {
        self.mutability = Mutability::ReadOnly;
        self
    }

    const fn one_of(mut self, values: &'static [&'static str]) -> Self {
        self.values = values;
        self
    }

    /// The sub-attributes; none of a simple attribute.
    pub(super) fn parts(&self) -> &'static [Attribute] {
        match self.kind {
            Kind::Complex(parts) => parts,
            _ => &[],
        }
    }

    fn definition(&self) -> Value {
        let kind = match self.kind {
            Kind::Text => "string",
            Kind::Boolean => "boolean",
            Kind::Reference => "reference",
            Kind::Complex(_) => "complex",
        };
        let mutability = match self.mutability {
            Mutability::ReadWrite => "readWrite",
            Mutability::ReadOnly => "readOnly",
            Mutability::Immutable => "immutable",
        };
        let mut definition = json!({
            "name": self.name,
            "type": kind,
            "multiValued": self.many,
            "description": self.about,
            "required": self.required,
            "caseExact": matches!(self.kind, Kind::Reference),
            "mutability": mutability,
            "returned": "default",
            "uniqueness": if self.unique { "server" } else { "none" },
        });
        if !self.values.is_empty() {
            definition["canonicalValues"] = self.values.into();
        }
        if !self.parts().is_empty() {
            definition["subAttributes"] = self.parts().iter().map(Self::definition).collect();
        }
        if matches!(self.kind, Kind::Reference) {
            definition["referenceTypes"] = json!(["User", "Group"]);
        }
        definition
    }
}

impl Schema {
    /// The resource of `/Schemas` (RFC 7643 section 7).
    pub(super) fn definition(&self, location: &str) -> Value {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": self.urn,
            "name": self.name,
            "description": self.about,
            "attributes": self.attributes.iter().map(Attribute::definition).collect::<Value>(),
            "meta": {"resourceType": "Schema", "location": location},
        })
    }
}

/// The published schemas. The documents name three; the fourth is that of an extension which every User carries, and
/// a client that goes by the published schemas could not read a User without it.
pub(super) const PUBLISHED: [&Schema; 4] = [&USER, &GROUP, &ENTERPRISE, &EXTERNAL];

/// The extension that carries the account's id in answers.
pub(super) const ATLASSIAN: &str = "urn:scim:schemas:extension:atlassian-external:1.0";

/// The body of a PATCH.
pub(super) const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The attributes of every resource (RFC 7643 section 3.1), which no schema lists.
pub(super) static COMMON: [Attribute; 4] = [
    Attribute::text("id", "").read_only(),
    Attribute::text("externalId", ""),
    Attribute::text("schemas", "").many(),
    Attribute::new("meta", Kind::Complex(&[]), "").read_only(),
];

/// The core User schema.
pub(super) static USER: Schema = Schema {
    urn: "urn:ietf:params:scim:schemas:core:2.0:User",
    name: "User",
    about: "User account",
    attributes: &[
        Attribute::text("userName", "Unique name of the user, not case-sensitive.")
            .required()
            .unique(),
        Attribute::new(
            "name",
            Kind::Complex(&[
                Attribute::text("formatted", "The full name, formatted for display."),
                Attribute::text("familyName", "The family name."),
                Attribute::text("givenName", "The given name."),
                Attribute::text("middleName", "The middle name or names."),
                Attribute::text("honorificPrefix", "Title before the name."),
                Attribute::text("honorificSuffix", "Suffix after the name."),
            ]),
            "The parts of the user's name.",
        ),
        Attribute::text("displayName", "The name shown to others."),
        Attribute::text("nickName", "The casual name."),
        Attribute::text("title", "The job title."),
        Attribute::text(
            "preferredLanguage",
            "The preferred language, such as en-US.",
        ),
        Attribute::text("timezone", "The time zone, such as Europe/Berlin."),
        Attribute::new("active", Kind::Boolean, "Whether the user can log in."),
        Attribute::new(
            "emails",
            Kind::Complex(&[
                Attribute::text("value", "The address.").required(),
                Attribute::text("type", "What the address is for.")
                    .one_of(&["work", "home", "other"]),
                Attribute::new(
                    "primary",
                    Kind::Boolean,
                    "Whether it is the account's address.",
                ),
            ]),
            "E-mail addresses, one of them primary.",
        )
        .many()
        .required(),
        Attribute::new(
            "phoneNumbers",
            Kind::Complex(&[
                Attribute::text("value", "The number."),
                Attribute::text("type", "What the number is for.")
                    .one_of(&["work", "home", "mobile", "fax", "pager", "other"]),
            ]),
            "Phone numbers.",
        )
        .many(),
        Attribute::new(
            "groups",
            Kind::Complex(&[
                Attribute::text("value", "The group's id.").read_only(),
                Attribute::new("$ref", Kind::Reference, "The group's address.").read_only(),
                Attribute::text("display", "The group's name.").read_only(),
                Attribute::text("type", "Direct or indirect.")
                    .one_of(&["direct", "indirect"])
                    .read_only(),
            ]),
            "The groups that the user is a member of.",
        )
        .many()
        .read_only(),
    ],
};

/// The enterprise extension of User.
pub(super) static ENTERPRISE: Schema = Schema {
    urn: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    name: "EnterpriseUser",
    about: "Enterprise user",
    attributes: &[
        Attribute::text("organization", "The organization's name."),
        Attribute::text("department", "The department's name."),
    ],
};

/// Atlassian's extension of User (contract sections 5 and 7, samples).
pub(super) static EXTERNAL: Schema = Schema {
    urn: ATLASSIAN,
    name: "AtlassianExternal",
    about: "The Atlassian account behind the user",
    attributes: &[Attribute::text("atlassianAccountId", "The account's id.").read_only()],
};

/// The core Group schema. A group cannot be renamed (contract section 6).
pub(super) static GROUP: Schema = Schema {
    urn: "urn:ietf:params:scim:schemas:core:2.0:Group",
    name: "Group",
    about: "Group",
    attributes: &[
        Attribute::text("displayName", "The group's name.")
            .required()
            .unique()
            .immutable(),
        Attribute::new(
            "members",
            Kind::Complex(&[
                Attribute::text("value", "The id of the SCIM user.")
                    .required()
                    .immutable(),
                Attribute::new("$ref", Kind::Reference, "The user's address.").immutable(),
                Attribute::text("type", "The kind of member.")
                    .one_of(&["User"])
                    .immutable(),
                Attribute::text("display", "The user's name.").read_only(),
            ]),
            "The members of the group.",
        )
        .many(),
    ],
};

/// Names of attributes are case-insensitive (RFC 7643 section 2.1).
pub(super) fn named<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// The member of a body with this name, in whatever case it was sent.
pub(super) fn member<'v>(body: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    body.get(name).or_else(|| {
        body.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

/// Refuses a body that does not declare the schema.
pub(super) fn declared(body: &Map<String, Value>, urn: &str) -> Result<(), ScimError> {
    let schemas = member(body, "schemas").and_then(Value::as_array);
    let schemas = schemas.ok_or_else(|| missing("schemas"))?;
    if schemas.iter().any(|given| {
        given
            .as_str()
            .is_some_and(|given| given.eq_ignore_ascii_case(urn))
    }) {
        return Ok(());
    }
    Err(ScimError::bad(
        "invalidValue",
        format!("The attribute schemas does not contain {urn}."),
    ))
}

fn missing(at: &str) -> ScimError {
    ScimError::bad("invalidValue", format!("The attribute {at} is required."))
}

/// The known, writable attributes of a body, under their proper names. Unknown and read-only ones are ignored, null
/// and empty lists mean "no value" (RFC 7643 section 2.5, RFC 7644 section 3.3); a wrong type is refused. A `part`
/// of a complex value may lack what the whole requires.
pub(super) fn accept(
    attributes: &[Attribute],
    body: &Map<String, Value>,
    at: &str,
    part: bool,
) -> Result<Map<String, Value>, ScimError> {
    let mut accepted = Map::new();
    for (name, value) in body {
        let Some(attribute) = named(attributes, name) else {
            continue;
        };
        if attribute.mutability == Mutability::ReadOnly {
            continue;
        }
        let at = format!("{at}{}", attribute.name);
        if let Some(value) = accept_value(attribute, value, &at, part)? {
            accepted.insert(attribute.name.to_owned(), value);
        }
    }
    match attributes
        .iter()
        .find(|attribute| attribute.required && !accepted.contains_key(attribute.name))
    {
        Some(attribute) if !part => Err(missing(&format!("{at}{}", attribute.name))),
        _ => Ok(accepted),
    }
}

/// One attribute's value as [`accept`] takes it; nothing when it is "no value".
pub(super) fn accept_value(
    attribute: &Attribute,
    value: &Value,
    at: &str,
    part: bool,
) -> Result<Option<Value>, ScimError> {
    match value {
        Value::Null => Ok(None),
        Value::Array(items) if attribute.many => {
            let mut accepted = Vec::with_capacity(items.len());
            for item in items.iter().filter(|item| !item.is_null()) {
                accepted.push(accept_one(attribute, item, at, part)?);
            }
            Ok((!accepted.is_empty()).then_some(Value::Array(accepted)))
        }
        _ if attribute.many => Err(wrong(at, "a list")),
        one => {
            let accepted = accept_one(attribute, one, at, part)?;
            Ok((accepted.as_object().is_none_or(|map| !map.is_empty())).then_some(accepted))
        }
    }
}

/// A single value, or one of several.
pub(super) fn accept_one(
    attribute: &Attribute,
    value: &Value,
    at: &str,
    part: bool,
) -> Result<Value, ScimError> {
    match (&attribute.kind, value) {
        (Kind::Boolean, Value::Bool(_)) => Ok(value.clone()),
        (Kind::Boolean, _) => Err(wrong(at, "true or false")),
        (Kind::Complex(parts), Value::Object(map)) => {
            Ok(Value::Object(accept(parts, map, &format!("{at}."), part)?))
        }
        (Kind::Complex(_), _) => Err(wrong(at, "an object")),
        (Kind::Text | Kind::Reference, Value::String(text)) => {
            if text.chars().count() > LONGEST {
                return Err(wrong(at, &format!("at most {LONGEST} characters long")));
            }
            if attribute.values.is_empty() {
                return Ok(value.clone());
            }
            let known = attribute
                .values
                .iter()
                .find(|known| known.eq_ignore_ascii_case(text));
            known
                .map(|known| (*known).into())
                .ok_or_else(|| wrong(at, &format!("one of {}", attribute.values.join(", "))))
        }
        (Kind::Text | Kind::Reference, _) => Err(wrong(at, "a string")),
    }
}

fn wrong(at: &str, expected: &str) -> ScimError {
    ScimError::bad(
        "invalidValue",
        format!("The value of {at} must be {expected}."),
    )
}
