-- Holds of the guards, and who has let what through. Times are milliseconds since 1970-01-01 UTC.

-- A hold is open from the real run that first saw it until it holds nothing any more or expires.
CREATE TABLE holds (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,   -- its number
    name         TEXT NOT NULL,
    message      TEXT NOT NULL,                       -- as the last run told it
    figures      TEXT NOT NULL CHECK (json_valid(figures)),
    opened_at    INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    first_run    INTEGER NOT NULL REFERENCES runs (id),
    last_run     INTEGER NOT NULL REFERENCES runs (id),
    closed_at    INTEGER,
    closed_by    TEXT CHECK (closed_by IN ('empty', 'expired')),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL))
) STRICT;

CREATE UNIQUE INDEX holds_open ON holds (name) WHERE closed_at IS NULL;

-- What the open holds hold.
CREATE TABLE held_operations (
    hold_id      INTEGER NOT NULL REFERENCES holds (id),
    digest       BLOB NOT NULL CHECK (length(digest) = 16),   -- of what the operation does to whom
    external_id  TEXT NOT NULL,
    kind         TEXT NOT NULL,
    detail       TEXT NOT NULL CHECK (json_valid(detail)),    -- for people to read
    PRIMARY KEY (hold_id, digest)
) STRICT, WITHOUT ROWID;

-- Never changed or removed: who has let something through, and why.
CREATE TABLE approvals (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    hold_id      INTEGER NOT NULL REFERENCES holds (id),
    reason       TEXT NOT NULL,
    asked_by     TEXT NOT NULL,                       -- the name of the user whose process asked
    uid          INTEGER NOT NULL,
    sudo_user    TEXT,                                -- who that user was by sudo, as sudo says
    asked_at     INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX approvals_by_expiry ON approvals (expires_at);

-- The operations of an approval, for good, and what the runs after it made of them:
-- 'let_through' by run_id (and used up if that run sent it), 'void' as run_id did not plan it so.
CREATE TABLE approved_operations (
    approval_id  INTEGER NOT NULL REFERENCES approvals (id),
    digest       BLOB NOT NULL CHECK (length(digest) = 16),
    external_id  TEXT NOT NULL,
    kind         TEXT NOT NULL,
    detail       TEXT NOT NULL CHECK (json_valid(detail)),
    run_id       INTEGER REFERENCES runs (id),
    result       TEXT CHECK (result IN ('let_through', 'void')),
    PRIMARY KEY (approval_id, digest),
    CHECK ((run_id IS NULL) = (result IS NULL))
) STRICT, WITHOUT ROWID;
