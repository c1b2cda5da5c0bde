-- What the organization refuses, and since when deactivations wait. Times are milliseconds since
-- 1970-01-01 UTC.

-- Whose operation was refused, as the last run that sent it has left it: it is tried again later,
-- and after so many times only if somebody says so. Gone with the next success.
CREATE TABLE failures (
    external_id  TEXT NOT NULL,                 -- the person's key, or the group's
    is_group     INTEGER NOT NULL CHECK (is_group IN (0, 1)),
    operation_id INTEGER NOT NULL REFERENCES operations (id),  -- the last one that failed
    digest       BLOB NOT NULL CHECK (length(digest) = 16),    -- of what was to be done to whom
    count        INTEGER NOT NULL CHECK (count > 0),           -- in a row, of the same
    error        TEXT NOT NULL,                 -- the last one
    first_at     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    PRIMARY KEY (external_id, is_group)
) STRICT, WITHOUT ROWID;

-- Never changed or removed: who has let what go again.
CREATE TABLE retries (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    external_id  TEXT NOT NULL,
    is_group     INTEGER NOT NULL CHECK (is_group IN (0, 1)),
    operation_id INTEGER NOT NULL REFERENCES operations (id),  -- the last one that had failed
    count        INTEGER NOT NULL,
    error        TEXT NOT NULL,
    reason       TEXT,
    asked_by     TEXT NOT NULL,                 -- the name of the user whose process asked
    uid          INTEGER NOT NULL,
    sudo_user    TEXT,                          -- who that user was by sudo, as sudo says
    asked_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX retries_by_person ON retries (external_id);

-- Whose login is to be turned off, from the first run that planned it until it is done, or is not
-- wished any more.
CREATE TABLE pending_deactivations (
    external_id  TEXT PRIMARY KEY,
    dn           TEXT NOT NULL,
    since        INTEGER NOT NULL,
    first_run    INTEGER NOT NULL REFERENCES runs (id)
) STRICT, WITHOUT ROWID;
