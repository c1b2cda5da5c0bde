//! SCIM groups: a fixed name and members by SCIM user id (contract sections 5 to 7).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::addresses::fold;
use super::answers::ScimError;
use super::patch::{Action, Operation, Target};
use super::query::{Filter, Page};
use super::schema::{self, GROUP};
use super::store::rfc3339;

/// What a client says of a group, checked.
pub(super) struct Wanted {
    name: String,
    external_id: Option<String>,
    members: BTreeSet<String>,
}

impl Wanted {
    pub(super) fn accept(body: &Map<String, Value>) -> Result<Self, ScimError> {
        let accepted = schema::accept(GROUP.attributes, body, "", false)?;
        let common = schema::accept(&schema::COMMON, body, "", false)?;
        let name = accepted
            .get("displayName")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if name.trim().is_empty() {
            return Err(ScimError::bad(
                "invalidValue",
                "The attribute displayName is required.",
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            external_id: common
                .get("externalId")
                .and_then(Value::as_str)
                .map(str::to_owned),
            members: member_ids(accepted.get("members")),
        })
    }
}

/// The ids in a list of members, each once.
fn member_ids(members: Option<&Value>) -> BTreeSet<String> {
    let members = members.and_then(Value::as_array).into_iter().flatten();
    members
        .filter_map(|member| member["value"].as_str())
        .map(str::to_owned)
        .collect()
}

/// A group.
pub(super) struct Group {
    seq: i64,
    pub(super) id: String,
    name: String,
    external_id: Option<String>,
    created: i64,
    modified: i64,
    /// `[{"value", "display", "type"}]`
    members: Value,
}

/// Deleted users keep their memberships for the day that they come back, but nobody sees them till then.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT g.seq, g.id, g.name, g.external_id, g.created, g.modified, \
             (SELECT json_group_array(json_object('value', u.id, 'display', a.name, 'type', 'User') ORDER BY m.seq) \
              FROM members m JOIN users u ON u.seq = m.user_seq JOIN accounts a ON a.seq = u.account \
              WHERE m.group_seq = g.seq AND u.deleted = 0) FROM groups g ",
            $rest
        )
    };
}

impl Group {
    fn read(row: &SqliteRow) -> sqlx::Result<Self> {
        let members: &str = row.try_get(6)?;
        Ok(Self {
            seq: row.try_get(0)?,
            id: row.try_get(1)?,
            name: row.try_get(2)?,
            external_id: row.try_get(3)?,
            created: row.try_get(4)?,
            modified: row.try_get(5)?,
            members: serde_json::from_str(members)
                .map_err(|error| sqlx::Error::Decode(error.into()))?,
        })
    }

    /// How many members are shown.
    pub(super) fn size(&self) -> usize {
        self.members.as_array().map_or(0, Vec::len)
    }

    /// The resource as answers show it.
    pub(super) fn shown(mut self, directory: &str) -> Value {
        for member in self.members.as_array_mut().into_iter().flatten() {
            member["$ref"] = format!(
                "{directory}/Users/{}",
                member["value"].as_str().unwrap_or_default()
            )
            .into();
        }
        let mut shown = json!({
            "schemas": [GROUP.urn],
            "id": self.id,
            "displayName": self.name,
            "members": self.members,
            "meta": {
                "resourceType": "Group",
                "location": format!("{directory}/Groups/{}", self.id),
                "created": rfc3339(self.created),
                "lastModified": rfc3339(self.modified),
            },
        });
        if let Some(id) = self.external_id {
            shown["externalId"] = id.into();
        }
        shown
    }

    /// PUT: all members and the externalId; the name must be the group's.
    pub(super) async fn replace(
        &mut self,
        db: &mut SqliteConnection,
        wanted: Wanted,
        now: i64,
    ) -> Result<(), ScimError> {
        self.same_name(&wanted.name)?;
        self.external_id = wanted.external_id;
        self.set_members(db, &wanted.members).await?;
        self.save(db, now).await
    }

    /// PATCH. Members are changed in the database, not in a list of perhaps 20,000.
    pub(super) async fn patch(
        &mut self,
        db: &mut SqliteConnection,
        operations: &[Operation],
        now: i64,
    ) -> Result<(), ScimError> {
        for Operation {
            action,
            path,
            value,
        } in operations
        {
            match (path, value) {
                (Some(path), value) => {
                    let target = Target::read(path, &GROUP, &[])?;
                    self.change(db, *action, &target, value).await?;
                }
                (None, Value::Object(members)) => {
                    for (name, value) in members {
                        if let Ok(target) = Target::read(name, &GROUP, &[]) {
                            self.change(db, *action, &target, value).await?;
                        }
                    }
                }
                (None, _) => {
                    let detail = "An operation without a path needs an object as its value.";
                    return Err(ScimError::bad("invalidValue", detail));
                }
            }
        }
        self.save(db, now).await
    }

    async fn change(
        &mut self,
        db: &mut SqliteConnection,
        action: Action,
        target: &Target,
        value: &Value,
    ) -> Result<(), ScimError> {
        let attribute = target.attribute;
        let given = || schema::accept_value(attribute, value, attribute.name, false);
        match (attribute.name, action, &target.filter) {
            ("displayName", Action::Remove, _) => Err(ScimError::bad(
                "mutability",
                "The attribute displayName is required.",
            )),
            ("displayName", _, _) => {
                let name = given()?;
                self.same_name(name.as_ref().and_then(Value::as_str).unwrap_or_default())
            }
            ("externalId", Action::Remove, _) => {
                self.external_id = None;
                Ok(())
            }
            ("externalId", _, _) => {
                self.external_id = given()?.and_then(|id| id.as_str().map(str::to_owned));
                Ok(())
            }
            ("members", Action::Remove, Some(filter))
                if target.is_whole() && filter.part.name == "value" =>
            {
                let ids = filter.value.as_str().map(str::to_owned);
                self.remove_members(db, &ids.into_iter().collect()).await
            }
            // Some clients name those to be removed in the value, as SCIM has it for neither filter nor path.
            ("members", Action::Remove, None) if value.is_array() => {
                self.remove_members(db, &member_ids(given()?.as_ref()))
                    .await
            }
            ("members", Action::Remove, None) => self.set_members(db, &BTreeSet::new()).await,
            ("members", Action::Add, None) => {
                self.add_members(db, &member_ids(given()?.as_ref())).await
            }
            ("members", Action::Replace, None) => {
                self.set_members(db, &member_ids(given()?.as_ref())).await
            }
            ("members", _, Some(_)) => Err(ScimError::bad(
                "mutability",
                "Members can be added and removed, not changed.",
            )),
            ("schemas", _, _) => Ok(()),
            (name, _, _) => Err(ScimError::bad(
                "mutability",
                format!("The attribute {name} is read-only."),
            )),
        }
    }

    /// Groups cannot be renamed (contract section 6).
    fn same_name(&self, name: &str) -> Result<(), ScimError> {
        if name == self.name {
            return Ok(());
        }
        let detail = format!("The group [{}] cannot be renamed to [{name}].", self.name);
        Err(ScimError::bad("mutability", detail))
    }

    async fn set_members(
        &self,
        db: &mut SqliteConnection,
        ids: &BTreeSet<String>,
    ) -> Result<(), ScimError> {
        known_users(db, ids).await?;
        sqlx::query(
            "DELETE FROM members WHERE group_seq = ?1 AND user_seq NOT IN \
             (SELECT u.seq FROM json_each(?2) j JOIN users u ON u.id = j.value)",
        )
        .bind(self.seq)
        .bind(json!(ids).to_string())
        .execute(&mut *db)
        .await?;
        self.insert_members(db, ids).await.map_err(Into::into)
    }

    async fn add_members(
        &self,
        db: &mut SqliteConnection,
        ids: &BTreeSet<String>,
    ) -> Result<(), ScimError> {
        known_users(db, ids).await?;
        self.insert_members(db, ids).await.map_err(Into::into)
    }

    async fn insert_members(
        &self,
        db: &mut SqliteConnection,
        ids: &BTreeSet<String>,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT OR IGNORE INTO members (group_seq, user_seq) \
             SELECT ?1, u.seq FROM json_each(?2) j JOIN users u ON u.id = j.value ORDER BY j.key",
        )
        .bind(self.seq)
        .bind(json!(ids).to_string())
        .execute(db)
        .await
        .map(drop)
    }

    /// Who is no member need not be removed; that is no error.
    async fn remove_members(
        &self,
        db: &mut SqliteConnection,
        ids: &BTreeSet<String>,
    ) -> Result<(), ScimError> {
        sqlx::query(
            "DELETE FROM members WHERE group_seq = ?1 AND user_seq IN \
             (SELECT u.seq FROM json_each(?2) j JOIN users u ON u.id = j.value)",
        )
        .bind(self.seq)
        .bind(json!(ids).to_string())
        .execute(db)
        .await?;
        Ok(())
    }

    /// Writes what can change beside the members, and reads the group again with them.
    async fn save(&mut self, db: &mut SqliteConnection, now: i64) -> Result<(), ScimError> {
        sqlx::query("UPDATE groups SET external_id = ?2, modified = ?3 WHERE seq = ?1")
            .bind(self.seq)
            .bind(&self.external_id)
            .bind(now)
            .execute(&mut *db)
            .await?;
        *self = find(db, &self.id).await?;
        Ok(())
    }

    /// DELETE: the group goes, its members' accounts stay.
    pub(super) async fn delete(self, db: &mut SqliteConnection) -> Result<(), ScimError> {
        sqlx::query("DELETE FROM groups WHERE seq = ?1")
            .bind(self.seq)
            .execute(db)
            .await?;
        Ok(())
    }
}

/// Members must be users of the directory (contract section 7: "PUT group with unknown users").
async fn known_users(db: &mut SqliteConnection, ids: &BTreeSet<String>) -> Result<(), ScimError> {
    let unknown: Option<String> = sqlx::query_scalar(
        "SELECT j.value FROM json_each(?1) j LEFT JOIN users u ON u.id = j.value AND u.deleted = 0 \
         WHERE u.seq IS NULL LIMIT 1",
    )
    .bind(json!(ids).to_string())
    .fetch_optional(db)
    .await?;
    match unknown {
        None => Ok(()),
        Some(id) => Err(ScimError::bad(
            "invalidValue",
            format!("The member [{id}] is no user of the directory."),
        )),
    }
}

/// POST; a name is used once in the organization (contract section 7). A group that is copied from
/// another organization keeps its id.
pub(super) async fn create(
    db: &mut SqliteConnection,
    wanted: Wanted,
    kept_id: Option<&str>,
    now: i64,
) -> Result<Group, ScimError> {
    let id = kept_id.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let inserted = sqlx::query("INSERT INTO groups (id, name, name_key, external_id, created, modified) VALUES (?1, ?2, ?3, ?4, ?5, ?5)")
        .bind(&id)
        .bind(&wanted.name)
        .bind(fold(&wanted.name))
        .bind(&wanted.external_id)
        .bind(now)
        .execute(&mut *db)
        .await;
    if let Err(sqlx::Error::Database(error)) = &inserted
        && error.is_unique_violation()
    {
        return Err(ScimError::taken("GROUP", "displayName", &wanted.name));
    }
    inserted?;
    let mut group = find(&mut *db, &id).await?;
    group.add_members(db, &wanted.members).await?;
    group.save(db, now).await?;
    Ok(group)
}

/// The group with this id.
pub(super) async fn find(
    executor: impl sqlx::SqliteExecutor<'_>,
    id: &str,
) -> Result<Group, ScimError> {
    let row = sqlx::query(select!("WHERE g.id = ?1 AND g.synced"))
        .bind(id)
        .fetch_optional(executor)
        .await?;
    let group = row.as_ref().map(Group::read).transpose()?;
    group.ok_or_else(|| ScimError::not_found("GROUP", id))
}

/// The groups of a page in the order of their making, and the number of all.
pub(super) async fn list(
    db: &mut SqliteConnection,
    filter: Option<&Filter>,
    page: &Page,
) -> sqlx::Result<(i64, Vec<Group>)> {
    let name = filter.map(|filter| fold(&filter.value));
    let total = sqlx::query_scalar(
        "SELECT count(*) FROM groups WHERE synced AND (?1 IS NULL OR name_key = ?1)",
    )
    .bind(&name)
    .fetch_one(&mut *db)
    .await?;
    let rows = sqlx::query(select!(
        "WHERE g.synced AND (?1 IS NULL OR g.name_key = ?1) ORDER BY g.seq LIMIT ?2 OFFSET ?3"
    ))
    .bind(&name)
    .bind(page.count)
    .bind(page.start - 1)
    .fetch_all(db)
    .await?;
    Ok((
        total,
        rows.iter().map(Group::read).collect::<sqlx::Result<_>>()?,
    ))
}
