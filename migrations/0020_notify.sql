-- What people were told of, and what is still to be sent to them. Times are milliseconds since
-- 1970-01-01 UTC.

-- What goes on and was told: a hold, a source that cannot be read, people in quarantine. Gone when it is over.
CREATE TABLE told (
    topic  TEXT PRIMARY KEY,
    detail TEXT NOT NULL                        -- JSON: what was told of it, since when, and when last
) STRICT, WITHOUT ROWID;

-- Messages, each for one channel, from before they are sent; kept for a day after, as a channel takes so many
-- an hour.
CREATE TABLE outbox (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,            -- the same at each attempt
    channel    TEXT NOT NULL,                   -- its name in the configuration
    message    TEXT NOT NULL,                   -- JSON; what a channel makes of it is made when it is sent
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'given_up')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    queued_at  INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,                -- not tried again before
    ended_at   INTEGER,
    error      TEXT                             -- of the last attempt
) STRICT;

CREATE INDEX outbox_by_state ON outbox (state, channel);
