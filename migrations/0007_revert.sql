-- What was undone by `dirsyncd revert`.

-- The SCIM resource that an operation was answered for; NULL for those of older versions.
ALTER TABLE operations ADD COLUMN scim_id TEXT;

-- Each operation is undone at most once: recorded in the transaction that records the answer to
-- what undid it.
CREATE TABLE reverted (
    operation_id INTEGER PRIMARY KEY REFERENCES operations (id),  -- what was undone
    undone_by    INTEGER NOT NULL REFERENCES operations (id)      -- what undid it
) STRICT;

-- What the undone operations did, effect by effect. A sync that would have the same effect again
-- is held by `reverted` as long as ended_by is NULL.
CREATE TABLE reverted_effects (
    id           INTEGER PRIMARY KEY,
    operation_id INTEGER NOT NULL REFERENCES reverted (operation_id),
    external_id  TEXT NOT NULL,                     -- the person
    what         TEXT NOT NULL,                     -- for people to read
    digest       BLOB NOT NULL CHECK (length(digest) = 16),
    ended_by     INTEGER REFERENCES runs (id)       -- the run that saw that the directory does not want it any more
) STRICT;

CREATE INDEX reverted_effects_live ON reverted_effects (external_id) WHERE ended_by IS NULL;
