//! A look into an SQLite file from outside, and changes to it that no run would make.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

fn with<T>(path: &Path, work: impl AsyncFnOnce(&mut SqliteConnection) -> sqlx::Result<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let found = work(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        found
    })
}

/// Executes statements; a file that is not there is made.
pub fn execute(path: &Path, sql: &str) {
    if !path.exists() {
        super::write_private(path, "");
    }
    with(path, async |connection| {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(connection)
            .await
    });
}

/// The rows of a query that gives one text a row.
pub fn texts(path: &Path, sql: &str) -> Vec<String> {
    with(path, async |connection| {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_all(connection)
            .await
    })
}

/// What the snapshot says of every account.
pub fn accounts(path: &Path) -> Vec<String> {
    if !path.exists() {
        return Vec::new();
    }
    let has_table = "SELECT name FROM sqlite_schema WHERE name = 'accounts'";
    if texts(path, has_table).is_empty() {
        return Vec::new();
    }
    texts(
        path,
        "SELECT json_array(external_id, source, dn, scim_id, profile, lifecycle, since, departed_at, hex(digest)) \
         FROM accounts ORDER BY external_id",
    )
}

/// Lets so many days pass for the snapshot: every time in it is that much longer ago.
pub fn age(path: &Path, days: u32) {
    let milliseconds = i64::from(days) * 24 * 60 * 60 * 1000;
    execute(
        path,
        &format!(
            "UPDATE accounts SET since = since - {milliseconds}, departed_at = departed_at - {milliseconds};
             UPDATE cursors SET full_at = full_at - {milliseconds};
             UPDATE holds SET opened_at = opened_at - {milliseconds}, expires_at = expires_at - {milliseconds};
             UPDATE approvals SET asked_at = asked_at - {milliseconds}, expires_at = expires_at - {milliseconds};
             UPDATE runs SET started_at = started_at - {milliseconds}, finished_at = finished_at - {milliseconds};"
        ),
    );
}
