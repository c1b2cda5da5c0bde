-- Since when the daemon starts no job, who has asked for that, and why; no row while it goes on. Times are
-- milliseconds since 1970-01-01 UTC.

CREATE TABLE pause (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    since      INTEGER NOT NULL,
    asked_by   TEXT NOT NULL,                   -- the name of the user whose process asked
    uid        INTEGER NOT NULL,
    sudo_user  TEXT,                            -- who that user was by sudo, as sudo says
    reason     TEXT NOT NULL                    -- '' if none was given
) STRICT;
