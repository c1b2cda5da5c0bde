//! SCIM user resources: what a body may say, whom it belongs to, and how it reaches the account
//! (contract sections 5 to 7).

use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::accounts::{Account, LifecycleError, Profile, SqliteQuery, account_columns, parse};
use super::addresses::{Domains, domain_of, fold};
use super::answers::ScimError;
use super::query::{Filter, Page};
use super::schema::{self, ATLASSIAN, ENTERPRISE, USER};
use super::store::rfc3339;

/// What a client says of a user, checked.
pub(super) struct Person {
    /// Under their proper names, without `active`, which is the account's.
    pub(super) attributes: Map<String, Value>,
    active: bool,
    pub(super) user_name: String,
    pub(super) email: String,
    /// The ids that a copy of another organization's account keeps.
    pub(super) kept: Option<KeptIds>,
}

/// The ids of an account that was made elsewhere.
#[derive(Clone)]
pub(super) struct KeptIds {
    /// Of the SCIM resource.
    pub(super) user: String,
    /// Of the account.
    pub(super) account: Option<String>,
}

impl KeptIds {
    /// The ids that a resource, as another organization shows it, has.
    pub(super) fn of(body: &Map<String, Value>) -> Option<Self> {
        let user = body.get("id")?.as_str()?.to_owned();
        let account = body
            .get(ATLASSIAN)
            .and_then(|extension| extension["atlassianAccountId"].as_str());
        Some(Self {
            user,
            account: account.map(str::to_owned),
        })
    }
}

impl Person {
    /// Checks a whole resource. A missing `active` is true.
    pub(super) fn accept(body: &Map<String, Value>, domains: &Domains) -> Result<Self, ScimError> {
        let mut attributes = schema::accept(USER.attributes, body, "", false)?;
        let common = schema::accept(&schema::COMMON, body, "", false)?;
        attributes.extend(common.into_iter().filter(|(name, _)| name == "externalId"));
        if let Some(extension) =
            schema::member(body, ENTERPRISE.urn).filter(|value| !value.is_null())
        {
            let Value::Object(extension) = extension else {
                return Err(ScimError::bad(
                    "invalidValue",
                    format!("The value of {} must be an object.", ENTERPRISE.urn),
                ));
            };
            let extension = schema::accept(ENTERPRISE.attributes, extension, "", false)?;
            if !extension.is_empty() {
                attributes.insert(ENTERPRISE.urn.to_owned(), extension.into());
            }
        }
        let active = attributes
            .remove("active")
            .and_then(|active| active.as_bool())
            .unwrap_or(true);
        let user_name = text(&attributes, "userName").unwrap_or_default();
        if user_name.trim().is_empty() {
            return Err(ScimError::bad(
                "invalidValue",
                "The attribute userName is required.",
            ));
        }
        let email = primary_email(&attributes, domains)?;
        Ok(Self {
            active,
            user_name,
            email,
            attributes,
            kept: None,
        })
    }

    pub(super) fn external_id(&self) -> Option<String> {
        text(&self.attributes, "externalId")
    }

    /// The account profile that follows from the SCIM attributes (contract section 5, "Fields that reach ..."). What
    /// SCIM does not carry stays as it is.
    fn profile(&self, old: &Profile) -> Profile {
        let get = |name| text(&self.attributes, name);
        let part = |name: &str| {
            self.attributes
                .get("name")
                .and_then(|parts| parts[name].as_str())
                .map(str::to_owned)
        };
        let both = [part("givenName"), part("familyName")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        let name = get("displayName")
            .or_else(|| part("formatted"))
            .unwrap_or(both);
        let mut extended = old.extended.clone();
        let enterprise = |name: &str| {
            self.attributes
                .get(ENTERPRISE.urn)
                .map(|values| values[name].clone())
        };
        for (field, value) in [
            ("job_title", self.attributes.get("title").cloned()),
            ("organization", enterprise("organization")),
            ("department", enterprise("department")),
        ] {
            match value.filter(Value::is_string) {
                Some(value) => extended.insert(field.to_owned(), value),
                None => extended.remove(field),
            };
        }
        Profile {
            name: if name.trim().is_empty() {
                self.user_name.clone()
            } else {
                name
            },
            nickname: old.nickname.clone(),
            zoneinfo: get("timezone"),
            locale: get("preferredLanguage"),
            extended,
        }
    }

    /// Brings the account in line.
    pub(super) fn shape(&self, account: &mut Account, now: i64) -> Result<(), ScimError> {
        account.set_active(self.active, now).map_err(pending)?;
        account.profile = self.profile(&account.profile);
        account.email.clone_from(&self.email);
        Ok(())
    }
}

fn pending(error: LifecycleError) -> ScimError {
    ScimError::other(axum::http::StatusCode::CONFLICT, error.message())
}

fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    map.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// The one primary address, which becomes the account's: on a verified domain.
fn primary_email(attributes: &Map<String, Value>, domains: &Domains) -> Result<String, ScimError> {
    let emails = attributes
        .get("emails")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    for email in emails {
        let value = email["value"].as_str().unwrap_or_default();
        if domain_of(value).is_none() {
            return Err(ScimError::bad(
                "invalidValue",
                format!("The e-mail address [{value}] is not valid."),
            ));
        }
    }
    let mut primary = emails
        .iter()
        .filter(|email| email["primary"] == Value::Bool(true));
    let (Some(email), None) = (primary.next(), primary.next()) else {
        return Err(ScimError::bad(
            "invalidValue",
            "Exactly one of the emails must be primary.",
        ));
    };
    let email = email["value"].as_str().unwrap_or_default();
    let domain = domain_of(email).unwrap_or_default();
    if !domains.verified(&domain) {
        let detail = format!(
            "The domain [{domain}] of e-mail [{email}] is not a verified domain of the organization."
        );
        return Err(ScimError::bad("invalidValue", detail));
    }
    Ok(email.to_owned())
}

/// A SCIM user resource and the account it is linked to.
pub(super) struct User {
    pub(super) id: String,
    pub(super) attributes: Map<String, Value>,
    pub(super) deleted: bool,
    created: i64,
    modified: i64,
    /// `[{"value", "display"}]`
    groups: Value,
    pub(super) account: Account,
}

/// Selects what [`Claim::read`] reads, from the given tables `u` and `a`.
macro_rules! select {
    ($from:expr) => {
        concat!(
            "SELECT u.id, u.attributes, u.deleted, u.created, u.modified, \
             (SELECT json_group_array(json_object('value', g.id, 'display', g.name, 'type', 'direct') ORDER BY g.seq) \
              FROM members m JOIN groups g ON g.seq = m.group_seq WHERE m.user_seq = u.seq), ",
            account_columns!(),
            $from
        )
    };
}

/// Who has an e-mail address or a userName.
pub(super) enum Claim {
    /// A managed account that no SCIM resource is linked to.
    Account(Account),
    User(User),
}

impl Claim {
    fn read(row: &SqliteRow) -> sqlx::Result<Self> {
        let account = Account::read(row, 6)?;
        let Some(id) = row.try_get(0)? else {
            return Ok(Self::Account(account));
        };
        let groups: &str = row.try_get(5)?;
        Ok(Self::User(User {
            id,
            attributes: parse(row.try_get(1)?)?,
            deleted: row.try_get(2)?,
            created: row.try_get(3)?,
            modified: row.try_get(4)?,
            groups: serde_json::from_str(groups)
                .map_err(|error| sqlx::Error::Decode(error.into()))?,
            account,
        }))
    }

    fn user(self) -> Option<User> {
        match self {
            Self::User(user) => Some(user),
            Self::Account(_) => None,
        }
    }
}

impl User {
    /// The resource as answers show it.
    pub(super) fn shown(&self, directory: &str) -> Value {
        let mut shown = self.attributes.clone();
        let location = format!("{directory}/Users/{}", self.id);
        shown.insert(
            "schemas".to_owned(),
            json!([ATLASSIAN, USER.urn, ENTERPRISE.urn]),
        );
        shown.insert("id".to_owned(), self.id.as_str().into());
        shown.insert("active".to_owned(), self.account.active.into());
        shown.insert(
            ATLASSIAN.to_owned(),
            json!({"atlassianAccountId": self.account.id}),
        );
        let mut groups = self.groups.clone();
        for group in groups.as_array_mut().into_iter().flatten() {
            group["$ref"] = format!(
                "{directory}/Groups/{}",
                group["value"].as_str().unwrap_or_default()
            )
            .into();
        }
        shown.insert("groups".to_owned(), groups);
        let meta = json!({
            "resourceType": "User",
            "location": location,
            "created": rfc3339(self.created),
            "lastModified": rfc3339(self.modified),
        });
        shown.insert("meta".to_owned(), meta);
        shown.into()
    }

    /// What a PATCH works on.
    pub(super) fn writable(&self) -> Map<String, Value> {
        let mut attributes = self.attributes.clone();
        attributes.insert("active".to_owned(), self.account.active.into());
        attributes
    }

    /// Takes over what the client says: PUT, PATCH, or the POST that brings a deleted resource back.
    pub(super) async fn update(
        &mut self,
        db: &mut SqliteConnection,
        person: Person,
        now: i64,
    ) -> Result<(), ScimError> {
        for claim in claims(db, &person).await? {
            let (account, user) = match &claim {
                Claim::Account(account) => (account, None),
                Claim::User(user) => (&user.account, Some(user)),
            };
            if account.id != self.account.id {
                return Err(taken(&person, account, user));
            }
        }
        let before = self.account.clone();
        person.shape(&mut self.account, now)?;
        if self.account != before {
            self.account.save(db).await?;
        }
        (self.attributes, self.deleted, self.modified) = (person.attributes, false, now);
        self.save(db).await.map_err(Into::into)
    }

    /// DELETE: deactivates, and hides the resource until a POST brings it back (contract sections 6 and 7).
    pub(super) async fn delete(
        mut self,
        db: &mut SqliteConnection,
        now: i64,
    ) -> Result<(), ScimError> {
        self.account.set_active(false, now).map_err(pending)?;
        self.account.save(db).await?;
        (self.deleted, self.modified) = (true, now);
        self.save(db).await.map_err(Into::into)
    }

    async fn save(&self, db: &mut SqliteConnection) -> sqlx::Result<()> {
        let row = sqlx::query(
            "UPDATE users SET user_name_key = ?2, external_id = ?3, attributes = ?4, deleted = ?5, modified = ?6 \
             WHERE id = ?1",
        );
        row.bind(&self.id)
            .bind(fold(
                &text(&self.attributes, "userName").unwrap_or_default(),
            ))
            .bind(text(&self.attributes, "externalId"))
            .bind(Value::Object(self.attributes.clone()).to_string())
            .bind(self.deleted)
            .bind(self.modified)
            .execute(db)
            .await
            .map(drop)
    }

    /// A new resource, not yet in the database.
    pub(super) fn new(account: Account, attributes: Map<String, Value>, now: i64) -> Self {
        let id = Uuid::new_v4().to_string();
        Self {
            id,
            attributes,
            deleted: false,
            created: now,
            modified: now,
            groups: json!([]),
            account,
        }
    }

    /// Binds the columns of a new row that do not name the account.
    pub(super) fn bind<'q>(&'q self, row: SqliteQuery<'q>) -> SqliteQuery<'q> {
        row.bind(&self.id)
            .bind(fold(
                &text(&self.attributes, "userName").unwrap_or_default(),
            ))
            .bind(text(&self.attributes, "externalId"))
            .bind(Value::Object(self.attributes.clone()).to_string())
            .bind(self.created)
    }
}

/// 409, naming the attribute that collides.
pub(super) fn taken(person: &Person, account: &Account, user: Option<&User>) -> ScimError {
    let by_name = user.and_then(|user| text(&user.attributes, "userName"));
    match by_name {
        Some(name)
            if fold(&name) == fold(&person.user_name)
                && fold(&account.email) != fold(&person.email) =>
        {
            ScimError::taken("USER", "userName", &person.user_name)
        }
        _ => ScimError::taken("USER", "email", &person.email),
    }
}

/// Who has the person's e-mail address or userName: none, one, or two.
pub(super) async fn claims(db: &mut SqliteConnection, person: &Person) -> sqlx::Result<Vec<Claim>> {
    let rows = sqlx::query(select!(
        " FROM accounts a LEFT JOIN users u ON u.account = a.seq WHERE a.seq IN \
         (SELECT seq FROM accounts WHERE email_key = ?1 UNION SELECT account FROM users WHERE user_name_key = ?2)"
    ));
    let rows = rows
        .bind(fold(&person.email))
        .bind(fold(&person.user_name))
        .fetch_all(db)
        .await?;
    rows.iter().map(Claim::read).collect()
}

/// The resource with this id, unless it is deleted.
pub(super) async fn find(
    executor: impl sqlx::SqliteExecutor<'_>,
    id: &str,
) -> Result<User, ScimError> {
    let row = sqlx::query(select!(
        " FROM users u JOIN accounts a ON a.seq = u.account WHERE u.id = ?1 AND u.deleted = 0"
    ));
    let row = row.bind(id).fetch_optional(executor).await?;
    let user = row
        .as_ref()
        .map(Claim::read)
        .transpose()?
        .and_then(Claim::user);
    user.ok_or_else(|| ScimError::not_found("USER", id))
}

/// The resources of a page in the order of their making, and the number of all. Without a filter the table `chunks`
/// tells where the page begins: it costs as much far behind as at the start.
pub(super) async fn list(
    db: &mut SqliteConnection,
    filter: Option<&Filter>,
    page: &Page,
) -> sqlx::Result<(i64, Vec<User>)> {
    let (count, rows) = match filter {
        None => (
            "SELECT coalesce(sum(live), 0) FROM chunks",
            select!(
                " FROM users u JOIN accounts a ON a.seq = u.account WHERE u.seq IN (WITH start (seq, skip) AS \
                 (SELECT chunk << 10, ?2 - before FROM (SELECT chunk, live, sum(live) OVER (ORDER BY chunk) - live \
                 AS before FROM chunks) WHERE before + live > ?2 ORDER BY chunk LIMIT 1) \
                 SELECT seq FROM users INDEXED BY users_live WHERE deleted = 0 AND seq >= (SELECT seq FROM start) \
                 ORDER BY seq LIMIT ?1 OFFSET coalesce((SELECT skip FROM start), 0)) ORDER BY u.seq"
            ),
        ),
        Some(Filter {
            attribute: "externalId",
            ..
        }) => (
            "SELECT count(*) FROM users WHERE deleted = 0 AND external_id = ?1",
            select!(
                " FROM users u JOIN accounts a ON a.seq = u.account WHERE u.deleted = 0 AND u.external_id = ?3 \
                 ORDER BY u.seq LIMIT ?1 OFFSET ?2"
            ),
        ),
        Some(_) => (
            "SELECT count(*) FROM users WHERE deleted = 0 AND user_name_key = ?1",
            select!(
                " FROM users u JOIN accounts a ON a.seq = u.account WHERE u.deleted = 0 AND u.user_name_key = ?3 \
                 ORDER BY u.seq LIMIT ?1 OFFSET ?2"
            ),
        ),
    };
    let value = filter.map(|filter| match filter.attribute {
        "userName" => fold(&filter.value),
        _ => filter.value.clone(),
    });
    let (mut count, mut rows) = (
        sqlx::query_scalar(count),
        sqlx::query(rows).bind(page.count).bind(page.start - 1),
    );
    if let Some(value) = &value {
        (count, rows) = (count.bind(value), rows.bind(value));
    }
    let total = count.fetch_one(&mut *db).await?;
    let rows = rows.fetch_all(db).await?;
    let users = rows
        .iter()
        .map(Claim::read)
        .collect::<sqlx::Result<Vec<_>>>()?;
    Ok((total, users.into_iter().filter_map(Claim::user).collect()))
}
