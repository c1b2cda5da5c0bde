//! Accounts as members of the directory, for the organizations API (contract sections 3 and 7): invited, suspended,
//! removed. An account that a SCIM directory owns is changed there only.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::accounts::{Account, Profile, account_columns};
use super::addresses::{Domains, domain_of, fold};
use super::answers::ListedError;
use super::query::Params;
use super::store::rfc3339;

/// An account with its access to the directory.
pub(super) struct Person {
    pub(super) seq: i64,
    pub(super) account: Account,
    /// `active`, `suspended` or `no_membership`.
    membership: String,
    /// Whether a SCIM resource belongs to it.
    synced: bool,
    /// All of it in one word: `active`, `suspended`, `not_invited`, `deactivated` or `for_deletion`.
    standing: String,
}

macro_rules! select {
    ($rest:expr) => {
        concat!(
            "SELECT a.seq, a.membership, a.synced, a.standing, ",
            account_columns!(),
            " FROM people a ",
            $rest
        )
    };
}

/// The conditions of a [`Wanted`], as ?1 to ?8.
macro_rules! wanted {
    () => {
        "(?1 IS NULL OR a.id IN (SELECT value FROM json_each(?1))) \
         AND (?2 IS NULL OR a.status IN (SELECT value FROM json_each(?2))) \
         AND (?3 IS NULL OR a.membership IN (SELECT value FROM json_each(?3))) \
         AND (?4 IS NULL OR a.standing IN (SELECT value FROM json_each(?4))) \
         AND (?5 IS NULL OR a.seq IN (SELECT m.account FROM memberships m JOIN groups g ON g.seq = m.group_seq \
             WHERE g.id IN (SELECT value FROM json_each(?5)))) \
         AND (?6 IS NULL OR substr(a.email_key, instr(a.email_key, '@') + 1) IN (SELECT value FROM json_each(?6))) \
         AND (?7 IS NULL OR instr(a.email_key, ?7) OR instr(lower(a.name), ?7)) \
         AND (?8 OR a.membership <> 'no_membership')"
    };
}

/// What a list or a count is narrowed to: lists as JSON, each a condition of its own.
pub(super) struct Wanted {
    lists: [Option<String>; 6],
    term: Option<String>,
    /// Also those who are not in the directory.
    outside: bool,
    /// No account can be meant.
    nobody: bool,
}

/// The parameters that are lists of values, in the order of the conditions.
const LISTS: [&str; 6] = [
    "accountIds",
    "accountStatus",
    "membershipStatus",
    "status",
    "groupIds",
    "emailDomains",
];

/// The parameters that the simulator has no data for; one that has them would be answered wrongly, so it is refused.
const UNKNOWN: [&str; 4] = ["resourceIds", "mfaEnabled", "roleIds", "userSortBy"];

impl Wanted {
    /// `outside` is what a request without `claimStatus` means (contract section 3, [JJS]): a count has all managed
    /// accounts, a list those in the directory.
    pub(super) fn of(params: &Params, directory: &str, outside: bool) -> Result<Self, ListedError> {
        refuse(params, &UNKNOWN)?;
        let claimed = params.get("claimStatus");
        Ok(Self {
            lists: LISTS.map(|name| json_list(params, name)),
            term: params.get("searchTerm").map(fold),
            outside: outside || claimed == Some("managed"),
            // All accounts here are managed.
            nobody: claimed == Some("unmanaged") || elsewhere(params, directory),
        })
    }
}

/// 400 for parameters that the simulator cannot honour.
pub(super) fn refuse(params: &Params, names: &[&str]) -> Result<(), ListedError> {
    match names.iter().find(|name| params.get(name).is_some()) {
        None => Ok(()),
        Some(name) => Err(bad(format!(
            "The simulator does not know the parameter {name}."
        ))),
    }
}

/// The values of a list parameter, as JSON; none when it is not given.
pub(super) fn json_list(params: &Params, name: &str) -> Option<String> {
    let items = params.list(name);
    (!items.is_empty()).then(|| json!(items).to_string())
}

/// Whether only other directories are asked for.
pub(super) fn elsewhere(params: &Params, directory: &str) -> bool {
    let directories = params.list("directoryIds");
    !directories.is_empty() && !directories.contains(&directory)
}

fn bad(detail: String) -> ListedError {
    ListedError(StatusCode::BAD_REQUEST, detail)
}

impl Person {
    fn read(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            seq: row.try_get(0)?,
            membership: row.try_get(1)?,
            synced: row.try_get(2)?,
            standing: row.try_get(3)?,
            account: Account::read(row, 4)?,
        })
    }

    /// The names are those of jira.js (contract section 3, [JJS]).
    pub(super) fn shown(&self) -> Value {
        let Account {
            id, email, profile, ..
        } = &self.account;
        let extended = |name: &str| profile.extended.get(name).cloned().unwrap_or_default();
        json!({
            "accountId": id,
            "accountType": "atlassian",
            "accountStatus": self.account.status(),
            "membershipStatus": self.membership,
            "status": self.standing,
            "claimStatus": "managed",
            "managementSource": if self.synced { "synced" } else { "invited" },
            "name": profile.name,
            "nickname": profile.nickname.as_ref().unwrap_or(&profile.name),
            "email": email,
            "emailVerified": true,
            "mfaEnabled": false,
            "jobTitle": extended("job_title"),
            "department": extended("department"),
            "organization": extended("organization"),
            "location": extended("location"),
            "timeZone": profile.zoneinfo,
            "deactivatedOn": self.account.deactivated_at.map(rfc3339),
            "forDeletion": self.account.delete_requested_at.is_some(),
            "counts": {"resources": 0},
            "platformRoles": [],
        })
    }

    pub(super) fn is_member(&self) -> bool {
        self.membership != "no_membership"
    }

    /// 403 for what a SCIM directory owns, as for the lifecycle of user management (contract section 7, samples).
    fn own(&self) -> Result<(), ListedError> {
        if self.synced {
            let detail = format!(
                "The account {} is managed by an external directory.",
                self.account.id
            );
            return Err(ListedError(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }

    /// Suspends the access or restores it; groups are kept. Without effect when that is so already.
    pub(super) async fn set_suspended(
        &self,
        db: &mut SqliteConnection,
        suspended: bool,
    ) -> Result<(), ListedError> {
        self.own()?;
        self.set_membership(db, suspended.then_some("suspended"))
            .await
            .map_err(Into::into)
    }

    /// Takes the account out of the directory and its groups; the account itself stays.
    pub(super) async fn remove(&self, db: &mut SqliteConnection) -> Result<(), ListedError> {
        self.own()?;
        sqlx::query("DELETE FROM org_members WHERE account = ?1")
            .bind(self.seq)
            .execute(&mut *db)
            .await?;
        self.set_membership(db, Some("no_membership"))
            .await
            .map_err(Into::into)
    }

    /// None: active.
    async fn set_membership(
        &self,
        db: &mut SqliteConnection,
        membership: Option<&str>,
    ) -> sqlx::Result<()> {
        let statement = match membership {
            None => "DELETE FROM access WHERE account = ?1",
            Some(_) => "INSERT OR REPLACE INTO access VALUES (?1, ?2)",
        };
        let mut statement = sqlx::query(statement).bind(self.seq);
        if let Some(membership) = membership {
            statement = statement.bind(membership);
        }
        statement.execute(db).await.map(drop)
    }
}

/// The member of the directory with this account id.
pub(super) async fn member(
    executor: impl sqlx::SqliteExecutor<'_>,
    id: &str,
) -> Result<Person, ListedError> {
    find(executor, id)
        .await?
        .filter(Person::is_member)
        .ok_or_else(|| {
            ListedError(
                StatusCode::NOT_FOUND,
                format!("There is no user {id} in the directory."),
            )
        })
}

/// The account with this id, in the directory or not.
pub(super) async fn find(
    executor: impl sqlx::SqliteExecutor<'_>,
    id: &str,
) -> sqlx::Result<Option<Person>> {
    let row = sqlx::query(select!("WHERE a.id = ?1"))
        .bind(id)
        .fetch_optional(executor)
        .await?;
    row.as_ref().map(Person::read).transpose()
}

/// An invitation: a new account on a verified domain, active; or one that was removed, back in the directory. Who is
/// in it stays as they are, suspended or deactivated. What cannot be invited is told.
pub(super) async fn invite(
    db: &mut SqliteConnection,
    email: &str,
    domains: &Domains,
) -> sqlx::Result<Result<Person, String>> {
    let Some(domain) = domain_of(email) else {
        return Ok(Err(format!("[{email}] is no e-mail address.")));
    };
    // The real API would invite an account that the organization does not manage; those are not modelled.
    if !domains.verified(&domain) {
        return Ok(Err(format!(
            "The domain [{domain}] is not a verified domain of the organization."
        )));
    }
    let find = || sqlx::query(select!("WHERE a.email_key = ?1")).bind(fold(email));
    let mut row = find().fetch_optional(&mut *db).await?;
    if row.is_none() {
        let name = email.split('@').next().unwrap_or_default().to_owned();
        let profile = Profile {
            name,
            ..Profile::default()
        };
        Account::new(email.to_owned(), profile).insert(db).await?;
        row = find().fetch_optional(&mut *db).await?;
    }
    let person = row
        .as_ref()
        .map(Person::read)
        .transpose()?
        .ok_or(sqlx::Error::RowNotFound)?;
    if person.account.delete_requested_at.is_some() {
        return Ok(Err(format!(
            "The account of [{email}] is pending deletion."
        )));
    }
    if !person.is_member() {
        person.set_membership(db, None).await?;
    }
    Ok(Ok(person))
}

fn bound<'q>(
    query: super::accounts::SqliteQuery<'q>,
    wanted: &'q Wanted,
) -> super::accounts::SqliteQuery<'q> {
    let query = wanted
        .lists
        .iter()
        .fold(query, |query, list| query.bind(list));
    query
        .bind(&wanted.term)
        .bind(wanted.outside && !wanted.nobody)
}

/// Up to `limit` accounts after a place in the order of their making.
pub(super) async fn page(
    executor: impl sqlx::SqliteExecutor<'_>,
    wanted: &Wanted,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<Person>> {
    if wanted.nobody {
        return Ok(Vec::new());
    }
    let query = sqlx::query(select!(concat!(
        "WHERE ",
        wanted!(),
        " AND a.seq > ?9 ORDER BY a.seq LIMIT ?10"
    )));
    let rows = bound(query, wanted)
        .bind(after)
        .bind(limit)
        .fetch_all(executor)
        .await?;
    rows.iter().map(Person::read).collect()
}

/// How many there are.
pub(super) async fn count(
    executor: impl sqlx::SqliteExecutor<'_>,
    wanted: &Wanted,
) -> sqlx::Result<i64> {
    if wanted.nobody {
        return Ok(0);
    }
    let query = sqlx::query(concat!("SELECT count(*) FROM people a WHERE ", wanted!()));
    bound(query, wanted).fetch_one(executor).await?.try_get(0)
}
