-- What `dirsyncd revert` knows of groups.

-- How far a group operation came, as JSON: the SCIM resource of the group, who has joined and
-- left, the group that is no more. NULL for accounts, and for those of older versions.
ALTER TABLE operations ADD COLUMN progress TEXT CHECK (progress IS NULL OR json_valid(progress));

-- What the undone operations did to groups, effect by effect, as far as it is put back: also where
-- only a part is. A sync that would have the same effect again is held by `reverted` as long as
-- ended_by is NULL.
CREATE TABLE reverted_group_effects (
    id          INTEGER PRIMARY KEY,
    undone_by   INTEGER NOT NULL REFERENCES operations (id),  -- what put it back
    external_id TEXT NOT NULL,                      -- the group's key
    effect      TEXT NOT NULL CHECK (json_valid(effect)),
    ended_by    INTEGER REFERENCES runs (id)        -- the run that saw that the directory does not want it any more
) STRICT;

CREATE UNIQUE INDEX reverted_group_effects_live ON reverted_group_effects (external_id, effect)
WHERE ended_by IS NULL;
