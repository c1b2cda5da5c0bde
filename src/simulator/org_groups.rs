//! Groups as the organizations API has them (contract sections 3 and 7). They share their names with those of SCIM,
//! which this API shows but does not change; the groups made here have accounts as members, not SCIM users.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::addresses::fold;
use super::answers::ListedError;

/// The longest name. The contract has none; this is the limit of SCIM's here.
const LONGEST: usize = 255;

/// A group, of SCIM or not.
pub(super) struct OrgGroup {
    pub(super) seq: i64,
    id: String,
    name: String,
    description: Option<String>,
    synced: bool,
    users: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT g.seq, g.id, g.name, g.description, g.synced, \
             (SELECT count(*) FROM memberships m WHERE m.group_seq = g.seq) FROM groups g ",
            $rest
        )
    };
}

/// What a list of groups can be narrowed to; lists as JSON.
pub(super) struct Wanted {
    pub(super) ids: Option<String>,
    pub(super) accounts: Option<String>,
    pub(super) term: Option<String>,
}

impl OrgGroup {
    fn read(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            seq: row.try_get(0)?,
            id: row.try_get(1)?,
            name: row.try_get(2)?,
            description: row.try_get(3)?,
            synced: row.try_get(4)?,
            users: row.try_get(5)?,
        })
    }

    /// The names are those of jira.js (contract section 3, [JJS]).
    pub(super) fn shown(&self, directory: &str) -> Value {
        let own = !self.synced;
        json!({
            "id": self.id,
            "name": self.name,
            "description": self.description.as_deref().unwrap_or_default(),
            "directoryId": directory,
            "externalSynced": self.synced,
            "counts": {"users": self.users, "resources": 0},
            "managementAccess": {"readable": true, "modifiable": own, "deletable": own},
        })
    }

    /// Groups of an identity provider are changed there (contract section 6). 403: the contract has no status for it.
    fn own(&self) -> Result<(), ListedError> {
        if self.synced {
            let detail = format!(
                "The group [{}] is synced from an identity provider.",
                self.name
            );
            return Err(ListedError(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }

    pub(super) async fn delete(&self, db: &mut SqliteConnection) -> Result<(), ListedError> {
        self.own()?;
        sqlx::query("DELETE FROM groups WHERE seq = ?1")
            .bind(self.seq)
            .execute(db)
            .await?;
        Ok(())
    }

    /// 409 when the account (by its `seq`) is a member already.
    pub(super) async fn add(
        &self,
        db: &mut SqliteConnection,
        account: i64,
    ) -> Result<(), ListedError> {
        self.own()?;
        let added =
            sqlx::query("INSERT OR IGNORE INTO org_members (group_seq, account) VALUES (?1, ?2)")
                .bind(self.seq)
                .bind(account)
                .execute(db)
                .await?;
        if added.rows_affected() == 0 {
            let detail = format!("The account is a member of [{}] already.", self.name);
            return Err(ListedError(StatusCode::CONFLICT, detail));
        }
        Ok(())
    }

    /// 404 when the account is no member.
    pub(super) async fn remove(
        &self,
        db: &mut SqliteConnection,
        account: &str,
    ) -> Result<(), ListedError> {
        self.own()?;
        let removed = sqlx::query(
            "DELETE FROM org_members WHERE group_seq = ?1 AND account = (SELECT seq FROM accounts WHERE id = ?2)",
        )
        .bind(self.seq)
        .bind(account)
        .execute(db)
        .await?;
        if removed.rows_affected() == 0 {
            let detail = format!("The account {account} is no member of [{}].", self.name);
            return Err(ListedError(StatusCode::NOT_FOUND, detail));
        }
        Ok(())
    }
}

/// 409 for a name that any group of the organization has (contract section 7).
pub(super) async fn create(
    db: &mut SqliteConnection,
    name: &str,
    description: Option<&str>,
    now: i64,
) -> Result<(), ListedError> {
    if name.trim().is_empty() || name.chars().count() > LONGEST {
        let detail = format!("The name of a group has 1 to {LONGEST} characters.");
        return Err(ListedError(StatusCode::BAD_REQUEST, detail));
    }
    let row = sqlx::query(
        "INSERT INTO groups (id, name, name_key, created, modified, synced, description) \
         VALUES (?1, ?2, ?3, ?4, ?4, 0, ?5)",
    );
    let inserted = row
        .bind(Uuid::new_v4().to_string())
        .bind(name)
        .bind(fold(name))
        .bind(now)
        .bind(description)
        .execute(db)
        .await;
    match inserted {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(ListedError(
            StatusCode::CONFLICT,
            format!("There is a group [{name}] already."),
        )),
        other => Ok(other.map(drop)?),
    }
}

pub(super) async fn find(
    executor: impl sqlx::SqliteExecutor<'_>,
    id: &str,
) -> Result<OrgGroup, ListedError> {
    let row = sqlx::query(select!("WHERE g.id = ?1"))
        .bind(id)
        .fetch_optional(executor)
        .await?;
    let group = row.as_ref().map(OrgGroup::read).transpose()?;
    group.ok_or_else(|| ListedError(StatusCode::NOT_FOUND, format!("There is no group {id}.")))
}

/// Up to `limit` groups after a place in the order of their making.
pub(super) async fn page(
    executor: impl sqlx::SqliteExecutor<'_>,
    wanted: &Wanted,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<OrgGroup>> {
    sqlx::query(select!(
        "WHERE g.seq > ?1 AND (?3 IS NULL OR g.id IN (SELECT value FROM json_each(?3))) \
         AND (?4 IS NULL OR EXISTS (SELECT 1 FROM memberships m JOIN accounts a ON a.seq = m.account \
         WHERE m.group_seq = g.seq AND a.id IN (SELECT value FROM json_each(?4)))) \
         AND (?5 IS NULL OR instr(g.name_key, ?5)) ORDER BY g.seq LIMIT ?2"
    ))
    .bind(after)
    .bind(limit)
    .bind(&wanted.ids)
    .bind(&wanted.accounts)
    .bind(&wanted.term)
    .fetch_all(executor)
    .await?
    .iter()
    .map(OrgGroup::read)
    .collect()
}
