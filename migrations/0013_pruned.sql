-- Up to which run the journal was pruned. Times are milliseconds since 1970-01-01 UTC.

CREATE TABLE pruned (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    at           INTEGER NOT NULL,                      -- when that was last done
    first_run    INTEGER NOT NULL REFERENCES runs (id)  -- of this run and the later ones all is there
) STRICT;

-- By which it is seen that an operation is referred to.
CREATE INDEX reverted_by_undoing ON reverted (undone_by);
CREATE INDEX reverted_group_effects_by_undoing ON reverted_group_effects (undone_by);
