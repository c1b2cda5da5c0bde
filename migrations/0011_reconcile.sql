-- What `dirsyncd reconcile` has changed in the snapshot: never changed or removed.
CREATE TABLE reconciled (
    id           INTEGER PRIMARY KEY,
    run_id       INTEGER NOT NULL REFERENCES runs (id),
    external_id  TEXT NOT NULL,                     -- the key of the person or the group
    kind         TEXT NOT NULL CHECK (kind IN ('drift', 'rebuilt', 'rebuilt_group')),
    what         TEXT NOT NULL CHECK (json_valid(what)),    -- the kinds of a drift
    before       TEXT CHECK (before IS NULL OR json_valid(before)),  -- the row until then, if there was one
    after        TEXT NOT NULL CHECK (json_valid(after))    -- the row since
) STRICT;

CREATE INDEX reconciled_by_person ON reconciled (external_id);
