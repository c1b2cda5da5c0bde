-- When the daemon last began each of its jobs, so that it knows at its start which it has missed.
-- Times are milliseconds since 1970-01-01 UTC.

CREATE TABLE jobs (
    job       TEXT PRIMARY KEY,                         -- sync, full, reconcile, prune
    begun_at  INTEGER NOT NULL
) STRICT;
