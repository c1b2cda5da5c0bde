//! How accounts stand in rows.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::model::{
    AccountId, ExternalId, Lifecycle, ManagedAccount, Profile, ScimId, SourceName, Timestamp,
};

pub(super) const SELECT_ACCOUNTS: &str = "SELECT external_id, source, dn, scim_id, account_id, profile, lifecycle, since, departed_at FROM accounts";

pub(super) const UPSERT_ACCOUNT: &str = "INSERT INTO accounts (external_id, source, dn, scim_id, account_id, profile, lifecycle, since, departed_at, digest)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (external_id) DO UPDATE SET source = excluded.source, dn = excluded.dn, scim_id = excluded.scim_id,
        account_id = excluded.account_id, profile = excluded.profile, lifecycle = excluded.lifecycle,
        since = excluded.since, departed_at = excluded.departed_at, digest = excluded.digest";

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
    let account_id: Option<String> = row.try_get(4).map_err(|error| error.to_string())?;
    Ok(ManagedAccount {
        key: ExternalId::new(text(0)?),
        source: SourceName::new(text(1)?),
        dn: text(2)?,
        scim_id: ScimId::new(text(3)?),
        account_id: account_id.map(AccountId::new),
        profile,
        lifecycle,
        departed_at: moment(8)?,
    })
}
