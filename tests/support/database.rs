//! A look into an SQLite file from outside, and changes to it that no run would make.

use std::path::Path;

use sqlx::migrate::{Migration, Migrator};
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

/// The migrations that the program has had, in their order.
async fn migrations() -> Vec<Migration> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
    let all = Migrator::new(folder).await.unwrap();
    all.iter().cloned().collect()
}

/// The newest schema.
pub fn newest_schema() -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime
        .block_on(migrations())
        .iter()
        .map(|one| one.version)
        .max()
        .unwrap()
}

/// Makes a database of an earlier schema that has, of this one, all that it has tables and columns for.
pub fn write_older(old: &Path, schema: i64, of: &Path) {
    super::write_private(old, "");
    with(old, async |connection| {
        let first = migrations()
            .await
            .into_iter()
            .filter(|one| one.version <= schema);
        Migrator::with_migrations(first.collect())
            .run(&mut *connection)
            .await
            .unwrap();
        sqlx::query("ATTACH ? AS new")
            .bind(of.display().to_string())
            .execute(&mut *connection)
            .await?;
        sqlx::query("PRAGMA foreign_keys = OFF")
            .execute(&mut *connection)
            .await?;
        for (table, columns) in tables(connection).await? {
            let copy =
                format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}");
            sqlx::query(AssertSqlSafe(copy))
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    });
}

/// The tables of the program with their columns, but what triggers fill.
async fn tables(connection: &mut SqliteConnection) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "SELECT tables.name, group_concat(columns.name, ', ') FROM main.sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
         WHERE tables.type = 'table' AND tables.name NOT GLOB '_sqlx_*' AND tables.name NOT GLOB 'sqlite_*' AND tables.name <> 'account_counts' GROUP BY tables.name ORDER BY tables.name",
    )
    .fetch_all(connection)
    .await
}

/// All rows of all tables, for those columns that this other database has too.
pub fn rows_as_in(path: &Path, other: &Path) -> Vec<String> {
    let known = with(other, async |connection| tables(connection).await);
    with(path, async |connection| {
        let mut all = Vec::new();
        for (table, columns) in &known {
            let values = columns.split(", ").map(|column| format!("quote({column})"));
            let values: Vec<String> = values.collect();
            let query = format!(
                "SELECT concat_ws(' | ', '{table}', {}) FROM {table} ORDER BY 1",
                values.join(", ")
            );
            let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query))
                .fetch_all(&mut *connection)
                .await?;
            all.extend(rows);
        }
        Ok(all)
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

/// Lets so many minutes pass for what has failed, so that it may be tried again.
pub fn wait(path: &Path, minutes: u32) {
    let milliseconds = i64::from(minutes) * 60 * 1000;
    execute(
        path,
        &format!(
            "UPDATE failures SET first_at = first_at - {milliseconds}, last_at = last_at - {milliseconds}"
        ),
    );
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
             UPDATE runs SET started_at = started_at - {milliseconds}, finished_at = finished_at - {milliseconds};
             UPDATE operations SET intended_at = intended_at - {milliseconds}, sent_at = sent_at - {milliseconds},
                 answered_at = answered_at - {milliseconds}, settled_at = settled_at - {milliseconds};"
        ),
    );
    wait(path, days * 24 * 60);
}
