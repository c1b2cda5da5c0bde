//! The format of the database, step by step: a database of an older format is brought up to the newest.

use sqlx::SqliteConnection;

/// The script that makes each format from the one before it. A format that was released is never changed again.
///
/// Rows have a `seq`: the order in which lists give them, which no later change moves. Folded copies (`*_key`) carry
/// the uniqueness rules. A closed account has no `email_key`, so its address is free again. An insert into the view
/// `enrolments` makes an account and its user resource at once, both or none.
const FORMATS: [&str; 2] = [
    "
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE domains (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE accounts (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL, email_key TEXT UNIQUE,
    name TEXT NOT NULL, nickname TEXT, zoneinfo TEXT, locale TEXT, extended_profile TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'inactive', 'closed')),
    deactivated_at INTEGER, delete_requested_at INTEGER
) STRICT;
CREATE INDEX accounts_managed ON accounts (seq) WHERE status <> 'closed';
CREATE INDEX accounts_pending ON accounts (delete_requested_at)
    WHERE delete_requested_at IS NOT NULL AND status <> 'closed';
CREATE TABLE users (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    account INTEGER NOT NULL UNIQUE REFERENCES accounts,
    user_name_key TEXT NOT NULL UNIQUE, external_id TEXT, attributes TEXT NOT NULL,
    deleted INTEGER NOT NULL, created INTEGER NOT NULL, modified INTEGER NOT NULL
) STRICT;
CREATE INDEX users_live ON users (seq) WHERE deleted = 0;
CREATE INDEX users_external ON users (external_id) WHERE external_id IS NOT NULL;
CREATE TABLE groups (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL, name_key TEXT NOT NULL UNIQUE, external_id TEXT,
    created INTEGER NOT NULL, modified INTEGER NOT NULL
) STRICT;
CREATE TABLE members (
    seq INTEGER PRIMARY KEY,
    group_seq INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    user_seq INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    UNIQUE (group_seq, user_seq)
) STRICT;
CREATE INDEX members_user ON members (user_seq);
CREATE VIEW enrolments AS
    SELECT a.id AS account_id, a.email, a.email_key, a.name, a.nickname, a.zoneinfo, a.locale, a.extended_profile,
        a.status, a.deactivated_at, a.delete_requested_at,
        u.id AS user_id, u.user_name_key, u.external_id, u.attributes, u.created
    FROM users u JOIN accounts a ON a.seq = u.account;
CREATE TRIGGER enrol INSTEAD OF INSERT ON enrolments BEGIN
    INSERT INTO accounts VALUES (NULL, new.account_id, new.email, new.email_key, new.name, new.nickname, new.zoneinfo,
        new.locale, new.extended_profile, new.status, new.deactivated_at, new.delete_requested_at);
    INSERT INTO users VALUES (NULL, new.user_id, last_insert_rowid(), new.user_name_key, new.external_id,
        new.attributes, 0, new.created, new.created);
END;
",
    // `access`: accounts whose access to the directory is suspended, or that are no longer in it; all others are.
    // `org_members`: members of groups that are not from SCIM. `chunks`: how many users of each 1024 places are shown,
    // so that a page far behind is found, and all are counted, without going past every user before it.
    "
ALTER TABLE groups ADD COLUMN synced INTEGER NOT NULL DEFAULT 1;
ALTER TABLE groups ADD COLUMN description TEXT;
CREATE TABLE access (
    account INTEGER PRIMARY KEY REFERENCES accounts,
    membership TEXT NOT NULL CHECK (membership IN ('suspended', 'no_membership'))
) STRICT;
CREATE TABLE org_members (
    seq INTEGER PRIMARY KEY,
    group_seq INTEGER NOT NULL REFERENCES groups ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES accounts,
    UNIQUE (group_seq, account)
) STRICT;
CREATE INDEX org_members_account ON org_members (account);
CREATE VIEW memberships AS
    SELECT m.group_seq, u.account FROM members m JOIN users u ON u.seq = m.user_seq WHERE u.deleted = 0
    UNION ALL SELECT group_seq, account FROM org_members;
CREATE VIEW people AS
    SELECT a.seq, a.id, a.email, a.email_key, a.name, a.nickname, a.zoneinfo, a.locale, a.extended_profile, a.status,
        a.deactivated_at, a.delete_requested_at,
        coalesce(x.membership, 'active') AS membership,
        EXISTS (SELECT 1 FROM users u WHERE u.account = a.seq) AS synced,
        CASE WHEN a.delete_requested_at IS NOT NULL THEN 'for_deletion' WHEN a.status = 'inactive' THEN 'deactivated'
            WHEN x.membership = 'no_membership' THEN 'not_invited' ELSE coalesce(x.membership, 'active') END AS standing
    FROM accounts a LEFT JOIN access x ON x.account = a.seq WHERE a.status <> 'closed';
CREATE TABLE chunks (chunk INTEGER PRIMARY KEY, live INTEGER NOT NULL) STRICT;
INSERT INTO chunks SELECT seq >> 10, count(*) FROM users WHERE deleted = 0 GROUP BY 1;
CREATE TRIGGER chunks_in AFTER INSERT ON users WHEN new.deleted = 0 BEGIN
    INSERT INTO chunks VALUES (new.seq >> 10, 1) ON CONFLICT DO UPDATE SET live = live + 1;
END;
CREATE TRIGGER chunks_out AFTER DELETE ON users WHEN old.deleted = 0 BEGIN
    UPDATE chunks SET live = live - 1 WHERE chunk = old.seq >> 10;
END;
CREATE TRIGGER chunks_hide AFTER UPDATE OF deleted ON users WHEN old.deleted = 0 AND new.deleted <> 0 BEGIN
    UPDATE chunks SET live = live - 1 WHERE chunk = new.seq >> 10;
END;
CREATE TRIGGER chunks_show AFTER UPDATE OF deleted ON users WHEN old.deleted <> 0 AND new.deleted = 0 BEGIN
    INSERT INTO chunks VALUES (new.seq >> 10, 1) ON CONFLICT DO UPDATE SET live = live + 1;
END;
",
];

/// The newest format (`PRAGMA user_version`).
pub(super) const NEWEST: i64 = FORMATS.len() as i64;

/// Brings a database of the format `found` (0: an empty one) to the newest.
pub(super) async fn upgrade(db: &mut SqliteConnection, found: i64) -> sqlx::Result<()> {
    for script in FORMATS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        sqlx::raw_sql(*script).execute(&mut *db).await?;
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "PRAGMA user_version = {NEWEST}"
    )))
    .execute(db)
    .await
    .map(drop)
}
