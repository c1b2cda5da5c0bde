-- What `dirsyncd explain` tells of a person: how the sources were pulled, and what the last run said
-- of those for whom it did nothing.

-- NULL in rows of an older schema.
ALTER TABLE pulls ADD COLUMN way TEXT CHECK (way IN ('full', 'changes'));
ALTER TABLE pulls ADD COLUMN incomplete TEXT;   -- why it did not see all there is; NULL if it did

-- Of the last run that has read the sources. Of one person there may be several.
CREATE TABLE verdicts (
    id           INTEGER PRIMARY KEY,
    run_id       INTEGER NOT NULL REFERENCES runs (id),
    external_id  TEXT,                          -- NULL where the entry has no usable key
    source       TEXT,
    dn           TEXT NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('refused', 'skipped', 'suspended', 'waiting')),
    sentence     TEXT NOT NULL,
    wants        TEXT CHECK (wants IS NULL OR json_valid(wants))   -- the account that the directory wants, if `deviations` does not have it
) STRICT;

CREATE INDEX verdicts_by_person ON verdicts (external_id);
