-- The groups of the organization that dirsyncd keeps, and our people in them.

CREATE TABLE groups (
    scim_id      TEXT PRIMARY KEY,
    external_id  TEXT NOT NULL,                 -- the key of the directory's group, or of one of them
    name         TEXT NOT NULL,
    origins      TEXT NOT NULL CHECK (json_valid(origins)),  -- the directory's groups that lead to it
    nested       TEXT NOT NULL DEFAULT ''       -- the groups in those, as digests of their names
) STRICT, WITHOUT ROWID;

CREATE TABLE group_members (
    scim_id      TEXT NOT NULL REFERENCES groups (scim_id) ON DELETE CASCADE,
    external_id  TEXT NOT NULL,                 -- the person's key
    PRIMARY KEY (scim_id, external_id)
) STRICT, WITHOUT ROWID;

-- Operations of groups stand in `operations` too, with a kind that begins with 'group_'.
