//! SCIM 2.0 resources as JSON (RFC 7643, RFC 7644; contract section 5).

use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::model::{
    AccountId, Attribute, ExistingAccount, ExistingGroup, ExternalId, Operation, Profile, ScimId,
};

pub(super) const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const CORE_GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub(super) const ENTERPRISE_USER: &str =
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const ATLASSIAN: &str = "urn:scim:schemas:extension:atlassian-external:1.0";
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// RFC 7643 section 2.5: `null` and an absent attribute are the same.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A page of resources (RFC 7644 section 3.4.2).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: Deserialize<'de>")]
pub(super) struct Page<T> {
    pub(super) total_results: u64,
    #[serde(
        default = "Vec::new",
        deserialize_with = "or_default",
        rename = "Resources"
    )]
    pub(super) resources: Vec<T>,
}

/// A user with all that the API shows.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct RawUser {
    pub(super) id: ScimId,
    pub(super) json: Value,
}

impl TryFrom<Value> for RawUser {
    type Error = OddId;

    fn try_from(json: Value) -> Result<Self, OddId> {
        let name = json["userName"].as_str();
        let id = json["id"].as_str().unwrap_or_default();
        let id = ScimId::new(fit(id, || of_user(name, "id"))?);
        Ok(RawUser { id, json })
    }
}

/// A group with all that the API shows.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct RawGroup {
    json: Value,
    members: Vec<Value>,
}

impl TryFrom<Value> for RawGroup {
    type Error = &'static str;

    fn try_from(json: Value) -> Result<Self, Self::Error> {
        if !json["displayName"].is_string() {
            return Err("the group has no `displayName`");
        }
        let members = match &json["members"] {
            Value::Array(members) => members.clone(),
            Value::Null => Vec::new(),
            _ => return Err("its `members` are no list"),
        };
        Ok(RawGroup { json, members })
    }
}

/// An id by which a path leads to another resource than the one that has it.
#[derive(Debug, thiserror::Error)]
#[error("{0}, which leads to no resource of its own")]
pub(super) struct OddId(String);

/// Whether a segment of a path does not stand for itself (RFC 3986 section 5.2.4; escaping changes nothing of it).
pub(super) fn is_odd(segment: &str) -> bool {
    matches!(segment, "" | "." | "..")
}

/// The id, if it can stand in a path; `whose` names what has it.
fn fit(id: &str, whose: impl FnOnce() -> String) -> Result<&str, OddId> {
    match is_odd(id) {
        true => Err(OddId(format!("{} `{id}`", whose()))),
        false => Ok(id),
    }
}

/// The id in the answer to a creation, if there is one that can stand in a path.
pub(super) fn made_id(body: &Value) -> Result<ScimId, OddId> {
    let id = body["id"].as_str().unwrap_or_default();
    fit(id, || "the new resource has the id".to_owned()).map(ScimId::new)
}

fn of_user(name: Option<&str>, what: &str) -> String {
    let name = name.map_or_else(String::new, |name| format!(" `{name}`"));
    format!("the user{name} has the {what}")
}

/// The id of the Atlassian account of the user, if it can stand in a path.
pub(super) fn fitting_account(name: Option<&str>, id: &str) -> Result<AccountId, OddId> {
    fit(id, || of_user(name, "Atlassian account")).map(AccountId::new)
}

/// A group as the API shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    id: String,
    external_id: Option<String>,
    display_name: String,
    #[serde(default, deserialize_with = "or_default")]
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    value: String,
}

impl TryFrom<Group> for ExistingGroup {
    type Error = OddId;

    fn try_from(group: Group) -> Result<Self, OddId> {
        let name = group.display_name;
        let id = fit(&group.id, || format!("the group `{name}` has the id"))?;
        // A member is never in a path, and one with an odd id is nobody's account.
        let members = group.members.into_iter().map(|member| member.value);
        Ok(ExistingGroup {
            scim_id: ScimId::new(id),
            external_id: group
                .external_id
                .filter(|id| !id.is_empty())
                .map(ExternalId::new),
            members: members.filter(|id| !is_odd(id)).map(ScimId::new).collect(),
            name,
        })
    }
}

/// A user as the API shows it; what dirsyncd does not manage is passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    id: String,
    external_id: Option<String>,
    user_name: Option<String>,
    display_name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    name: Name,
    nick_name: Option<String>,
    title: Option<String>,
    preferred_language: Option<String>,
    timezone: Option<String>,
    active: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    emails: Vec<Labelled>,
    #[serde(default, deserialize_with = "or_default")]
    phone_numbers: Vec<Labelled>,
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    )]
    enterprise: Enterprise,
    #[serde(
        default,
        deserialize_with = "or_default",
        rename = "urn:scim:schemas:extension:atlassian-external:1.0"
    )]
    atlassian: Atlassian,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Name {
    formatted: Option<String>,
    given_name: Option<String>,
    middle_name: Option<String>,
    family_name: Option<String>,
    honorific_prefix: Option<String>,
    honorific_suffix: Option<String>,
}

#[derive(Deserialize)]
struct Labelled {
    value: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    primary: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Enterprise {
    organization: Option<String>,
    department: Option<String>,
    /// RFC 7643 section 4.3. It is never sent; where another tool has put it there, accounts can
    /// be recognized by it.
    employee_number: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Atlassian {
    atlassian_account_id: Option<String>,
}

impl TryFrom<User> for ExistingAccount {
    type Error = OddId;

    fn try_from(user: User) -> Result<Self, OddId> {
        let name = user.user_name.as_deref();
        let scim_id = ScimId::new(fit(&user.id, || of_user(name, "id"))?);
        let account_id = user.atlassian.atlassian_account_id.as_deref();
        let account_id = account_id
            .filter(|id| !id.is_empty())
            .map(|id| fitting_account(name, id))
            .transpose()?;
        let email = user
            .emails
            .iter()
            .find(|email| email.primary)
            .or(user.emails.first());
        let is_work = |phone: &&Labelled| phone.kind.as_deref() == Some("work");
        let phone = user.phone_numbers.iter().find(is_work);
        let values = [
            (Attribute::UserName, user.user_name),
            (
                Attribute::Email,
                email.and_then(|email| email.value.clone()),
            ),
            (Attribute::DisplayName, user.display_name),
            (Attribute::FormattedName, user.name.formatted),
            (Attribute::GivenName, user.name.given_name),
            (Attribute::MiddleName, user.name.middle_name),
            (Attribute::FamilyName, user.name.family_name),
            (Attribute::HonorificPrefix, user.name.honorific_prefix),
            (Attribute::HonorificSuffix, user.name.honorific_suffix),
            (Attribute::NickName, user.nick_name),
            (Attribute::Title, user.title),
            (Attribute::PreferredLanguage, user.preferred_language),
            (Attribute::Timezone, user.timezone),
            (
                Attribute::PhoneNumber,
                phone.and_then(|phone| phone.value.clone()),
            ),
            (Attribute::Organization, user.enterprise.organization),
            (Attribute::Department, user.enterprise.department),
            (Attribute::EmployeeNumber, user.enterprise.employee_number),
        ];
        Ok(ExistingAccount {
            scim_id,
            account_id,
            external_id: user
                .external_id
                .filter(|id| !id.is_empty())
                .map(ExternalId::new),
            profile: values
                .into_iter()
                .filter_map(|(attribute, value)| Some((attribute, value?)))
                .collect::<Profile>(),
            active: user.active.unwrap_or(true),
        })
    }
}

/// Where an attribute stands in a resource.
enum Place {
    /// Nowhere: it is not sent.
    Nowhere,
    /// Directly in it.
    Top(&'static str),
    /// In `name`.
    Name(&'static str),
    /// In the enterprise extension.
    Enterprise(&'static str),
    /// The one value of a list, with its type.
    Work(&'static str),
}

fn place(attribute: Attribute) -> Place {
    match attribute {
        Attribute::UserName => Place::Top("userName"),
        Attribute::Email => Place::Work("emails"),
        Attribute::DisplayName => Place::Top("displayName"),
        Attribute::FormattedName => Place::Name("formatted"),
        Attribute::GivenName => Place::Name("givenName"),
        Attribute::MiddleName => Place::Name("middleName"),
        Attribute::FamilyName => Place::Name("familyName"),
        Attribute::HonorificPrefix => Place::Name("honorificPrefix"),
        Attribute::HonorificSuffix => Place::Name("honorificSuffix"),
        Attribute::NickName => Place::Top("nickName"),
        Attribute::Title => Place::Top("title"),
        Attribute::PreferredLanguage => Place::Top("preferredLanguage"),
        Attribute::Timezone => Place::Top("timezone"),
        Attribute::PhoneNumber => Place::Work("phoneNumbers"),
        Attribute::Organization => Place::Enterprise("organization"),
        Attribute::Department => Place::Enterprise("department"),
        Attribute::EmployeeNumber => Place::Nowhere,
    }
}

fn work_value(attribute: Attribute, value: &str) -> Value {
    if attribute == Attribute::Email {
        json!([{ "value": value, "type": "work", "primary": true }])
    } else {
        json!([{ "value": value, "type": "work" }])
    }
}

/// The body that creates the account (RFC 7644 section 3.3).
pub(super) fn create(operation: &Operation) -> Value {
    let mut user = Map::new();
    let mut name = Map::new();
    let mut enterprise = Map::new();
    for (attribute, value) in operation.after.iter() {
        match place(attribute) {
            Place::Nowhere => None,
            Place::Top(key) => user.insert(key.to_owned(), json!(value)),
            Place::Name(key) => name.insert(key.to_owned(), json!(value)),
            Place::Enterprise(key) => enterprise.insert(key.to_owned(), json!(value)),
            Place::Work(key) => user.insert(key.to_owned(), work_value(attribute, value)),
        };
    }
    let mut schemas = vec![CORE_USER];
    if !name.is_empty() {
        user.insert("name".to_owned(), Value::Object(name));
    }
    if !enterprise.is_empty() {
        schemas.push(ENTERPRISE_USER);
        user.insert(ENTERPRISE_USER.to_owned(), Value::Object(enterprise));
    }
    user.insert("schemas".to_owned(), json!(schemas));
    user.insert("externalId".to_owned(), json!(operation.key));
    user.insert("active".to_owned(), json!(operation.active.1));
    Value::Object(user)
}

/// The body that makes of the account what the operation wants (RFC 7644 section 3.5.2): only
/// what differs, so that other attributes stay as they are. (Of e-mail addresses and phone
/// numbers the list is replaced whole: the work one is its only member.) `None` when nothing
/// differs.
pub(super) fn patch(operation: &Operation) -> Option<Value> {
    let mut operations = Vec::new();
    let mut set = |path: String, value: Value| {
        operations.push(json!({ "op": "replace", "path": path, "value": value }));
    };
    // It is what makes an adopted account ours.
    let external_id = operation.new_external_id();
    if let Some(Some(id)) = external_id {
        set("externalId".to_owned(), json!(id));
    }
    if operation.active.0 != operation.active.1 {
        set("active".to_owned(), json!(operation.active.1));
    }
    if external_id == Some(None) {
        operations.push(json!({ "op": "remove", "path": "externalId" }));
    }
    for attribute in Attribute::ALL
        .into_iter()
        .filter(|attribute| operation.changes(*attribute))
    {
        let path = match place(attribute) {
            Place::Nowhere => continue,
            Place::Top(key) | Place::Work(key) => key.to_owned(),
            Place::Name(key) => format!("name.{key}"),
            Place::Enterprise(key) => format!("{ENTERPRISE_USER}:{key}"),
        };
        operations.push(match operation.after.get(attribute) {
            None => json!({ "op": "remove", "path": path }),
            Some(value) => {
                let value = match place(attribute) {
                    Place::Work(_) => work_value(attribute, value),
                    _ => json!(value),
                };
                json!({ "op": "replace", "path": path, "value": value })
            }
        });
    }
    if operations.is_empty() {
        return None;
    }
    Some(json!({ "schemas": [PATCH_OP], "Operations": operations }))
}

/// The resource with what the operation changes, for a server that takes no PATCH.
pub(super) fn replacement(mut user: Value, operation: &Operation) -> Value {
    fn set(within: &mut Value, key: &str, value: Option<Value>) {
        if !within.is_object() {
            *within = json!({});
        }
        if let Some(object) = within.as_object_mut() {
            match value {
                Some(value) => object.insert(key.to_owned(), value),
                None => object.remove(key),
            };
        }
    }
    if let Some(id) = operation.new_external_id() {
        set(&mut user, "externalId", id.map(|id| json!(id)));
    }
    set(&mut user, "active", Some(json!(operation.active.1)));
    for attribute in Attribute::ALL
        .into_iter()
        .filter(|attribute| operation.changes(*attribute))
    {
        let value = operation.after.get(attribute);
        match place(attribute) {
            Place::Nowhere => {}
            Place::Top(key) => set(&mut user, key, value.map(|value| json!(value))),
            Place::Name(key) => set(&mut user["name"], key, value.map(|value| json!(value))),
            Place::Enterprise(key) => {
                set(
                    &mut user[ENTERPRISE_USER],
                    key,
                    value.map(|value| json!(value)),
                );
            }
            Place::Work(key) => {
                set(
                    &mut user,
                    key,
                    value.map(|value| work_value(attribute, value)),
                );
            }
        }
    }
    // The server's own, which a client does not send (RFC 7643 section 3.1 and 4.1.2).
    for key in ["meta", "groups", ATLASSIAN] {
        set(&mut user, key, None);
    }
    let mut schemas = vec![CORE_USER];
    if user[ENTERPRISE_USER]
        .as_object()
        .is_some_and(|extension| !extension.is_empty())
    {
        schemas.push(ENTERPRISE_USER);
    } else {
        set(&mut user, ENTERPRISE_USER, None);
    }
    set(&mut user, "schemas", Some(json!(schemas)));
    user
}

/// The body that creates a group (RFC 7643 section 4.2).
pub(super) fn create_group(name: &str, external_id: Option<&ExternalId>) -> Value {
    json!({ "schemas": [CORE_GROUP], "displayName": name, "externalId": external_id })
}

/// A group as another organization may keep it: with its id, and those of its members who are
/// among these users.
pub(super) fn copy_of_group(group: &ExistingGroup, users: &HashSet<ScimId>) -> Value {
    let members = group.members.iter().filter(|id| users.contains(id));
    let mut body = create_group(&group.name, group.external_id.as_ref());
    body["members"] = members.map(member).collect();
    body["id"] = json!(group.scim_id);
    body
}

/// The group with these members in it and those not, for a server that takes no PATCH. Whoever else is in
/// it stays as the server shows that one, whatever it may be: who is left out of a replacement is taken out.
pub(super) fn group_replacement(group: RawGroup, join: &[ScimId], leave: &[ScimId]) -> Value {
    let RawGroup { mut json, members } = group;
    let there: HashSet<&str> = members.iter().filter_map(id_of_member).collect();
    let new = join.iter().filter(|id| !there.contains(id.as_str()));
    let new: Vec<Value> = new.map(member).collect();
    let leave: HashSet<&str> = leave.iter().map(ScimId::as_str).collect();
    let leaves = |one: &Value| id_of_member(one).is_some_and(|id| leave.contains(id));
    let others = members.iter().filter(|one| !leaves(one)).cloned();
    json["members"] = others.chain(new).collect();
    // The server's own, which a client does not send (RFC 7643 section 3.1).
    if let Some(group) = json.as_object_mut() {
        group.remove("meta");
    }
    json
}

fn id_of_member(member: &Value) -> Option<&str> {
    member["value"].as_str()
}

fn member(id: &ScimId) -> Value {
    json!({ "value": id })
}

/// The body that adds members to a group (contract section 5: `add` with the SCIM ids).
pub(super) fn add_members(members: &[ScimId]) -> Value {
    let members: Vec<Value> = members.iter().map(member).collect();
    json!({
        "schemas": [PATCH_OP],
        "Operations": [{ "op": "add", "path": "members", "value": members }],
    })
}

/// The body that takes members out of a group (RFC 7644 section 3.5.2.2): one operation a
/// member, as a filter takes one comparison.
pub(super) fn remove_members(members: &[ScimId]) -> Value {
    let operations: Vec<Value> = members
        .iter()
        .map(|id| json!({ "op": "remove", "path": format!("members[value eq {}]", json!(id)) }))
        .collect();
    json!({ "schemas": [PATCH_OP], "Operations": operations })
}

/// The Atlassian account in the answer to a write, where the answer tells one that can stand in a path.
pub(super) fn account_id(body: &Value) -> Option<AccountId> {
    body[ATLASSIAN]["atlassianAccountId"]
        .as_str()
        .filter(|id| !is_odd(id))
        .map(AccountId::new)
}

/// The attributes that a list of schemas (RFC 7643 section 7, RFC 7644 section 4) does not have.
pub(super) fn missing_from(schemas: &Value) -> BTreeSet<Attribute> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let schemas = list(&schemas["Resources"]);
    // Names are compared without case (RFC 7643 section 2.1).
    let named = |attributes: &[Value], name: &str| {
        let is_meant = |attribute: &&Value| {
            attribute["name"]
                .as_str()
                .is_some_and(|theirs| theirs.eq_ignore_ascii_case(name))
        };
        attributes.iter().find(is_meant).cloned()
    };
    let attributes = |urn: &str| {
        let schema = schemas.iter().find(|schema| schema["id"] == urn);
        schema.map_or_else(Vec::new, |schema| list(&schema["attributes"]))
    };
    let (core, enterprise) = (attributes(CORE_USER), attributes(ENTERPRISE_USER));
    // A list without the schema that every server has says nothing.
    if core.is_empty() {
        return BTreeSet::new();
    }
    let name = named(&core, "name").map_or_else(Vec::new, |name| list(&name["subAttributes"]));
    Attribute::ALL
        .into_iter()
        .filter(|attribute| {
            let found = match place(*attribute) {
                Place::Nowhere => return false,
                Place::Top(key) | Place::Work(key) => named(&core, key),
                Place::Name(key) => named(&name, key),
                Place::Enterprise(key) => named(&enterprise, key),
            };
            found.is_none()
        })
        .collect()
}

/// A filter that compares one attribute (RFC 7644 section 3.4.2.2): the only kind that the
/// API takes.
pub(super) fn equals(attribute: &str, value: &str) -> String {
    // The value is a JSON string, which escapes what has to be.
    format!("{attribute} eq {}", json!(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_an_odd_account_tells_none() {
        for (told, read) in [("", None), (".", None), ("..", None), ("5:a", Some("5:a"))] {
            let body = json!({ ATLASSIAN: { "atlassianAccountId": told } });
            assert_eq!(account_id(&body), read.map(AccountId::new));
        }
        assert_eq!(account_id(&Value::Null), None);
    }
}
