//! Atlassian accounts: the rows and the rules of their life (contract sections 4 and 7).

use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::addresses::fold;

/// The grace of a delete request: 14 days (contract section 4, "delete").
pub(super) const GRACE: i64 = 14 * 24 * 60 * 60 * 1000;

/// The columns that [`Account::read`] reads, of a table named `a`.
macro_rules! account_columns {
    () => {
        "a.id, a.email, a.name, a.nickname, a.zoneinfo, a.locale, a.extended_profile, a.status, \
         a.deactivated_at, a.delete_requested_at"
    };
}
pub(super) use account_columns;

/// A managed account that is not closed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) email: String,
    pub(super) profile: Profile,
    pub(super) active: bool,
    pub(super) deactivated_at: Option<i64>,
    pub(super) delete_requested_at: Option<i64>,
}

/// What people see of an account.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) nickname: Option<String>,
    pub(super) zoneinfo: Option<String>,
    pub(super) locale: Option<String>,
    pub(super) extended: Map<String, Value>,
}

/// A change that the account's state forbids; the API answers 409.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LifecycleError {
    /// The account waits to be deleted.
    DeletePending,
    /// There is no delete request to cancel.
    NotPending,
}

impl LifecycleError {
    /// The error code. Invented: the contract names the field, not its values.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::DeletePending => "account.deletionPending",
            Self::NotPending => "account.deletionNotPending",
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::DeletePending => "The account is pending deletion. Cancel the deletion first.",
            Self::NotPending => "The account is not pending deletion.",
        }
    }
}

impl Account {
    /// An account as it begins; its row is made by [`Account::insert`].
    pub(super) fn new(email: String, profile: Profile) -> Self {
        let id = format!("557058:{}", Uuid::new_v4());
        Self {
            id,
            email,
            profile,
            active: true,
            deactivated_at: None,
            delete_requested_at: None,
        }
    }

    /// `active`, `inactive`; a closed account is not read at all.
    pub(super) fn status(&self) -> &'static str {
        if self.active { "active" } else { "inactive" }
    }

    /// Enables or disables; without effect when that is so already.
    pub(super) fn set_active(&mut self, active: bool, now: i64) -> Result<(), LifecycleError> {
        if active && self.delete_requested_at.is_some() {
            return Err(LifecycleError::DeletePending);
        }
        if self.active != active {
            self.active = active;
            self.deactivated_at = (!active).then_some(now);
        }
        Ok(())
    }

    /// Begins the grace; during it the account shows as deactivated.
    pub(super) fn request_delete(&mut self, now: i64) -> Result<(), LifecycleError> {
        if self.delete_requested_at.is_some() {
            return Err(LifecycleError::DeletePending);
        }
        self.set_active(false, now)?;
        self.delete_requested_at = Some(now);
        Ok(())
    }

    /// Ends the grace. The account stays deactivated: enabling is a step (and a privilege) of its own.
    pub(super) fn cancel_delete(&mut self) -> Result<(), LifecycleError> {
        self.delete_requested_at
            .take()
            .map(drop)
            .ok_or(LifecycleError::NotPending)
    }

    /// The item of `GET /admin/v1/orgs/{orgId}/users` (contract section 3).
    pub(super) fn listed(&self, base: &str) -> Value {
        json!({
            "account_id": self.id,
            "account_type": "atlassian",
            "account_status": self.status(),
            "name": self.profile.name,
            "email": self.email,
            "access_billable": false,
            "product_access": [],
            "links": {"self": format!("{base}/users/{}/manage", self.id)},
        })
    }

    /// The `account` of `manage/profile` (contract sections 4 and 7).
    pub(super) fn shown(&self) -> Value {
        let Profile {
            name,
            nickname,
            zoneinfo,
            locale,
            extended,
        } = &self.profile;
        let mut account = json!({
            "account_id": self.id,
            "account_type": "atlassian",
            "account_status": self.status(),
            "email": self.email,
            "email_verified": true,
            "name": name,
            "extended_profile": extended,
        });
        for (key, value) in [
            ("nickname", nickname),
            ("zoneinfo", zoneinfo),
            ("locale", locale),
        ] {
            if let Some(value) = value {
                account[key] = value.as_str().into();
            }
        }
        account
    }

    /// Reads the columns of [`account_columns`] that begin at `at`.
    pub(super) fn read(row: &SqliteRow, at: usize) -> sqlx::Result<Self> {
        let extended: String = row.try_get(at + 6)?;
        Ok(Self {
            id: row.try_get(at)?,
            email: row.try_get(at + 1)?,
            profile: Profile {
                name: row.try_get(at + 2)?,
                nickname: row.try_get(at + 3)?,
                zoneinfo: row.try_get(at + 4)?,
                locale: row.try_get(at + 5)?,
                extended: parse(&extended)?,
            },
            active: row.try_get::<&str, _>(at + 7)? == "active",
            deactivated_at: row.try_get(at + 8)?,
            delete_requested_at: row.try_get(at + 9)?,
        })
    }

    /// Makes the row.
    pub(super) async fn insert(&self, db: &mut SqliteConnection) -> sqlx::Result<()> {
        let row = sqlx::query(
            "INSERT INTO accounts VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        );
        self.bind(row).execute(db).await.map(drop)
    }

    /// Writes all that can change.
    pub(super) async fn save(&self, db: &mut SqliteConnection) -> sqlx::Result<()> {
        let row = sqlx::query(
            "UPDATE accounts SET email = ?2, email_key = ?3, name = ?4, nickname = ?5, zoneinfo = ?6, locale = ?7, \
             extended_profile = ?8, status = ?9, deactivated_at = ?10, delete_requested_at = ?11 WHERE id = ?1",
        );
        self.bind(row).execute(db).await.map(drop)
    }

    /// Binds the columns from `id` on, as ?1 to ?11.
    pub(super) fn bind<'q>(&'q self, row: SqliteQuery<'q>) -> SqliteQuery<'q> {
        let Self {
            id,
            email,
            profile,
            active: _,
            deactivated_at,
            delete_requested_at,
        } = self;
        let Profile {
            name,
            nickname,
            zoneinfo,
            locale,
            extended,
        } = profile;
        row.bind(id)
            .bind(email)
            .bind(fold(email))
            .bind(name)
            .bind(nickname)
            .bind(zoneinfo)
            .bind(locale)
            .bind(Value::Object(extended.clone()).to_string())
            .bind(self.status())
            .bind(deactivated_at)
            .bind(delete_requested_at)
    }
}

pub(super) type SqliteQuery<'q> =
    sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// A JSON object of a column.
pub(super) fn parse(text: &str) -> sqlx::Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// The account with this id and whether a SCIM resource belongs to it.
pub(super) async fn find(
    executor: impl sqlx::SqliteExecutor<'_>,
    id: &str,
) -> sqlx::Result<Option<(Account, bool)>> {
    sqlx::query(concat!(
        "SELECT ",
        account_columns!(),
        ", EXISTS (SELECT 1 FROM users u WHERE u.account = a.seq) \
         FROM accounts a WHERE a.id = ?1 AND a.status <> 'closed'"
    ))
    .bind(id)
    .fetch_optional(executor)
    .await?
    .map(|row| Ok((Account::read(&row, 0)?, row.try_get(10)?)))
    .transpose()
}

/// Whether an account other than `but` has this address.
pub(super) async fn email_taken(
    db: &mut SqliteConnection,
    email: &str,
    but: &str,
) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM accounts WHERE email_key = ?1 AND id <> ?2)")
        .bind(fold(email))
        .bind(but)
        .fetch_one(db)
        .await
}

/// Up to `limit` accounts after a place in the order of their making, each with its place.
pub(super) async fn page(
    executor: impl sqlx::SqliteExecutor<'_>,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i64, Account)>> {
    sqlx::query(concat!(
        "SELECT a.seq, ",
        account_columns!(),
        " FROM accounts a WHERE a.status <> 'closed' AND a.seq > ?1 ORDER BY a.seq LIMIT ?2"
    ))
    .bind(after)
    .bind(limit)
    .fetch_all(executor)
    .await?
    .iter()
    .map(|row| Ok((row.try_get(0)?, Account::read(row, 1)?)))
    .collect()
}

/// How many accounts there are.
pub(super) async fn count(executor: impl sqlx::SqliteExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM accounts WHERE status <> 'closed'")
        .fetch_one(executor)
        .await
}

/// A statement about the accounts whose grace is over.
macro_rules! expired {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            "delete_requested_at <= ?1 AND status <> 'closed'",
            $tail
        )
    };
}

/// Closes for good the accounts whose grace is over: the SCIM resource and all memberships go, the address is free.
/// Answers when the next grace ends.
pub(super) async fn close_expired(
    db: &mut SqliteConnection,
    now: i64,
) -> sqlx::Result<Option<i64>> {
    // Every statement names the same accounts; the last one closes them.
    for statement in [
        expired!(
            "DELETE FROM users WHERE account IN (SELECT seq FROM accounts WHERE ",
            ")"
        ),
        expired!(
            "DELETE FROM access WHERE account IN (SELECT seq FROM accounts WHERE ",
            ")"
        ),
        expired!(
            "DELETE FROM org_members WHERE account IN (SELECT seq FROM accounts WHERE ",
            ")"
        ),
        expired!(
            "UPDATE accounts SET status = 'closed', email_key = NULL WHERE ",
            ""
        ),
    ] {
        sqlx::query(statement)
            .bind(now - GRACE)
            .execute(&mut *db)
            .await?;
    }
    let next: Option<i64> = sqlx::query_scalar(
        "SELECT min(delete_requested_at) FROM accounts WHERE delete_requested_at IS NOT NULL AND status <> 'closed'",
    )
    .fetch_one(db)
    .await?;
    Ok(next.map(|at| at + GRACE))
}
