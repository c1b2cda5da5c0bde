-- What `dirsyncd history` tells. Times are milliseconds since 1970-01-01 UTC.

-- Who has started a run by hand; NULL for the daemon's, and for those of older versions.
ALTER TABLE runs ADD COLUMN asked_by TEXT;      -- the name of the user whose process asked
ALTER TABLE runs ADD COLUMN uid INTEGER;
ALTER TABLE runs ADD COLUMN sudo_user TEXT;     -- who that user was by sudo, as sudo says

-- The requests that an operation has sent, as JSON: each with status, request id and words of its
-- last answer. NULL where none is known, and in rows of an older schema.
ALTER TABLE operations ADD COLUMN requests TEXT CHECK (requests IS NULL OR json_valid(requests));
-- When a later run has read back what became of it; NULL where the API's answer told.
ALTER TABLE operations ADD COLUMN settled_at INTEGER;

CREATE INDEX approved_operations_by_person ON approved_operations (external_id);
