-- The snapshot of the managed accounts and the journal of what was done to them.
-- Times are milliseconds since 1970-01-01 UTC. No secret is ever stored here.

CREATE TABLE accounts (
    external_id  TEXT PRIMARY KEY,              -- the person's immutable key
    source       TEXT NOT NULL,
    dn           TEXT NOT NULL,
    scim_id      TEXT NOT NULL UNIQUE,
    account_id   TEXT,
    profile      TEXT NOT NULL CHECK (json_valid(profile)),
    lifecycle    TEXT NOT NULL CHECK (lifecycle IN ('active', 'deactivated', 'delete_pending', 'deleted')),
    since        INTEGER,                       -- when the lifecycle state began; not for 'active'
    departed_at  INTEGER,                       -- since when the person is missing from complete pulls
    digest       BLOB NOT NULL CHECK (length(digest) = 16),
    CHECK ((lifecycle = 'active') = (since IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX accounts_by_lifecycle ON accounts (lifecycle);

CREATE TABLE runs (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    trigger      TEXT NOT NULL,
    version      TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    finished_at  INTEGER,
    outcome      TEXT CHECK (outcome IN ('done', 'incomplete', 'refused', 'failed')),
    error        TEXT,
    summary      TEXT CHECK (summary IS NULL OR json_valid(summary))
) STRICT;

-- One row an outside write: recorded as intended before anything is sent, as sent before it goes
-- out, and with its answer in the transaction that changes the account's row.
CREATE TABLE operations (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id       INTEGER NOT NULL REFERENCES runs (id),
    external_id  TEXT NOT NULL,
    kind         TEXT NOT NULL,
    detail       TEXT NOT NULL CHECK (json_valid(detail)),
    state        TEXT NOT NULL CHECK (state IN ('intended', 'sent', 'done', 'failed', 'left')),
    intended_at  INTEGER NOT NULL,
    sent_at      INTEGER,
    answered_at  INTEGER,
    request_id   TEXT,
    error        TEXT
) STRICT;

CREATE INDEX operations_by_run ON operations (run_id);
CREATE INDEX operations_by_person ON operations (external_id);
CREATE INDEX operations_doubtful ON operations (external_id) WHERE kind = 'delete' AND state = 'left';
CREATE INDEX operations_unanswered ON operations (state) WHERE state IN ('intended', 'sent');

CREATE TABLE pulls (
    run_id       INTEGER NOT NULL REFERENCES runs (id),
    source       TEXT NOT NULL,
    entries      INTEGER NOT NULL,
    PRIMARY KEY (run_id, source)
) STRICT, WITHOUT ROWID;
