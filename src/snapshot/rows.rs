//! How accounts stand in rows.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::config::SourceScope;
use crate::model::{
    Absence, AccountId, Attribute, Cause, Cursor, Digest, ExternalId, Lifecycle, ManagedAccount,
    Profile, ScimId, SourceName, Timestamp, fold,
};
use crate::plan::Deviation;

pub(super) const SELECT_ACCOUNTS: &str = "SELECT external_id, source, dn, scim_id, account_id, profile, lifecycle, since, departed_at, departed_why, departed_pulls FROM accounts";

/// The beginning of a query by the values of a column. That they are not empty is said as the index of employee numbers
/// says it, which is not used otherwise.
pub(super) fn select_accounts_by(column: &str) -> String {
    format!("{SELECT_ACCOUNTS} WHERE {column} <> '' AND {column}")
}

/// The query for the accounts with this key, e-mail address, user name or DN: as it is written the first value, and
/// case-folded the second.
pub(super) fn select_called(who: &str) -> String {
    // DNs have no index, and each account would be read for what is none.
    let dn = if who.contains('=') {
        " OR dn = ?1 COLLATE NOCASE"
    } else {
        ""
    };
    format!(
        "{SELECT_ACCOUNTS} WHERE external_id = ?1 OR external_id = ?2 OR user_name = ?2 OR email = ?2{dn}"
    )
}

/// Makes an account's row be as bound, and, where the last value says that it is now what its source wants, drops what
/// that one said otherwise.
pub(super) const STORE_ACCOUNT: &str = "INSERT INTO accounts (external_id, source, dn, scim_id, account_id, profile, lifecycle, since, departed_at, digest, user_name, email, employee_number, departed_why, departed_pulls)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT (external_id) DO UPDATE SET source = excluded.source, dn = excluded.dn, scim_id = excluded.scim_id,
        account_id = excluded.account_id, profile = excluded.profile, lifecycle = excluded.lifecycle,
        since = excluded.since, departed_at = excluded.departed_at, digest = excluded.digest,
        user_name = excluded.user_name, email = excluded.email, employee_number = excluded.employee_number,
        departed_why = excluded.departed_why, departed_pulls = excluded.departed_pulls;
    DELETE FROM deviations WHERE ?16 AND source = ?2 AND external_id = ?1 AND digest = ?10";

/// The column of an attribute by which accounts are looked up, and what stands there: the
/// case-folded value.
pub(super) fn lookup_column(attribute: Attribute) -> Option<&'static str> {
    match attribute {
        Attribute::UserName => Some("user_name"),
        Attribute::Email => Some("email"),
        Attribute::EmployeeNumber => Some("employee_number"),
        _ => None,
    }
}

/// The value of [`lookup_column`].
pub(super) fn lookup_value(profile: &Profile, attribute: Attribute) -> String {
    profile.get(attribute).map(fold).unwrap_or_default()
}

pub(super) const SELECT_INDEX: &str = "SELECT external_id, source, digest, departed_at IS NULL AND lifecycle IN ('active', 'deactivated') FROM accounts";

/// Key, source, digest and whether it is settled, of a row of [`SELECT_INDEX`].
pub(super) fn indexed(row: &SqliteRow) -> Result<(ExternalId, SourceName, Digest, bool), String> {
    let get = |at: usize| {
        row.try_get::<&str, _>(at)
            .map_err(|error| error.to_string())
    };
    Ok((
        ExternalId::new(get(0)?),
        SourceName::new(get(1)?),
        digest(row, 2)?,
        row.try_get(3).map_err(|error| error.to_string())?,
    ))
}

/// A page of the index after a key, in one row for each source: to hand over row by row takes
/// four times as long. A line is the digest in hexadecimal digits, whether it is settled, and
/// the key.
pub(super) const SELECT_INDEX_PAGE: &str = "SELECT max(external_id), source, group_concat(hex(digest) || is_settled || external_id, char(10))
    FROM (SELECT external_id, source, digest, departed_at IS NULL AND lifecycle IN ('active', 'deactivated') AS is_settled
        FROM accounts INDEXED BY accounts_digests WHERE external_id > ? ORDER BY external_id LIMIT 2000)
    GROUP BY source";

/// The accounts of one source in a page of the index.
pub(super) struct IndexPage {
    pub(super) last: String,
    pub(super) source: SourceName,
    pub(super) accounts: Vec<(ExternalId, Digest, bool)>,
}

/// The page of a row of [`SELECT_INDEX_PAGE`].
pub(super) fn index_page(row: &SqliteRow) -> Result<IndexPage, String> {
    let get = |at: usize| {
        row.try_get::<&str, _>(at)
            .map_err(|error| error.to_string())
    };
    let account = |line: &str| {
        let (digits, rest) = line.split_at_checked(32)?;
        let (is_settled, key) = rest.split_at_checked(1)?;
        let digest = u128::from_str_radix(digits, 16).ok()?.to_be_bytes();
        Some((ExternalId::new(key), Digest(digest), is_settled == "1"))
    };
    let accounts = get(2)?
        .lines()
        .map(|line| account(line).ok_or_else(|| format!("the line {line:?} of the index")));
    Ok(IndexPage {
        last: get(0)?.to_owned(),
        source: SourceName::new(get(1)?),
        accounts: accounts.collect::<Result<_, _>>()?,
    })
}

pub(super) fn digest(row: &SqliteRow, at: usize) -> Result<Digest, String> {
    let bytes: &[u8] = row.try_get(at).map_err(|error| error.to_string())?;
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| "the digest has not 16 bytes")?;
    Ok(Digest(bytes))
}

pub(super) fn moment(row: &SqliteRow, at: usize) -> Result<Timestamp, String> {
    let millis = row.try_get(at).map_err(|error| error.to_string())?;
    Timestamp::from_timestamp_millis(millis).ok_or_else(|| "its time is none".to_owned())
}

/// The cursor of a row: source, cookie, fingerprint, full_at, entries.
pub(super) fn cursor(row: &SqliteRow) -> Result<(SourceName, Cursor), String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let full_at = Timestamp::from_timestamp_millis(row.try_get(3).map_err(in_words)?);
    let entries: i64 = row.try_get(4).map_err(in_words)?;
    let cursor = Cursor {
        cookie: row.try_get(1).map_err(in_words)?,
        fingerprint: digest(row, 2)?,
        full_at: full_at.ok_or("its time is none")?,
        entries: entries.unsigned_abs(),
    };
    Ok((
        SourceName::new(row.try_get::<&str, _>(0).map_err(in_words)?),
        cursor,
    ))
}

/// The scope of a row: source, scope.
pub(super) fn scope(row: &SqliteRow) -> Result<(SourceName, SourceScope), String> {
    let get = |at: usize| {
        row.try_get::<&str, _>(at)
            .map_err(|error| error.to_string())
    };
    let scope = serde_json::from_str(get(1)?).map_err(|error| error.to_string())?;
    Ok((SourceName::new(get(0)?), scope))
}

/// The deviation of a row: external_id, source, said.
pub(super) fn deviation(row: &SqliteRow) -> Result<Deviation, String> {
    let get = |at: usize| {
        row.try_get::<&str, _>(at)
            .map_err(|error| error.to_string())
    };
    Ok(Deviation {
        source: SourceName::new(get(1)?),
        key: ExternalId::new(get(0)?),
        said: serde_json::from_str(get(2)?).map_err(|error| error.to_string())?,
    })
}

/// The two columns of a lifecycle.
pub(super) fn lifecycle_columns(lifecycle: Lifecycle) -> (&'static str, Option<i64>) {
    match lifecycle {
        Lifecycle::Active => ("active", None),
        Lifecycle::Deactivated { since } => ("deactivated", Some(since.timestamp_millis())),
        Lifecycle::DeletePending { since } => ("delete_pending", Some(since.timestamp_millis())),
        Lifecycle::Deleted { since } => ("deleted", Some(since.timestamp_millis())),
    }
}

fn lifecycle(name: &str, since: Option<Timestamp>) -> Option<Lifecycle> {
    Some(match (name, since) {
        ("active", None) => Lifecycle::Active,
        ("deactivated", Some(since)) => Lifecycle::Deactivated { since },
        ("delete_pending", Some(since)) => Lifecycle::DeletePending { since },
        ("deleted", Some(since)) => Lifecycle::Deleted { since },
        _ => return None,
    })
}

/// The account of a row of [`SELECT_ACCOUNTS`], or what is wrong with it.
pub(super) fn account(row: &SqliteRow) -> Result<ManagedAccount, String> {
    let text = |at: usize| {
        row.try_get::<String, _>(at)
            .map_err(|error| error.to_string())
    };
    let moment = |at: usize| {
        row.try_get::<Option<i64>, _>(at)
            .map(|millis| millis.and_then(Timestamp::from_timestamp_millis))
            .map_err(|error| error.to_string())
    };
    let profile: Profile =
        serde_json::from_str(&text(5)?).map_err(|error| format!("profile: {error}"))?;
    let name = text(6)?;
    let lifecycle = lifecycle(&name, moment(7)?)
        .ok_or_else(|| format!("the lifecycle `{name}` and its time do not fit"))?;
    let absence = match moment(8)? {
        None => None,
        Some(since) => {
            let cause: Option<String> = row.try_get(9).map_err(|error| error.to_string())?;
            let cause = cause.map(|name| {
                Cause::parse(&name).ok_or_else(|| format!("the cause `{name}` is not known"))
            });
            let pulls: Option<u32> = row.try_get(10).map_err(|error| error.to_string())?;
            Some(Absence {
                since,
                cause: cause.transpose()?,
                pulls: pulls.unwrap_or(1),
            })
        }
    };
    let account_id: Option<String> = row.try_get(4).map_err(|error| error.to_string())?;
    Ok(ManagedAccount {
        key: ExternalId::new(text(0)?),
        source: SourceName::new(text(1)?),
        dn: text(2)?,
        scim_id: ScimId::new(text(3)?),
        account_id: account_id.map(AccountId::new),
        profile,
        lifecycle,
        absence,
    })
}
