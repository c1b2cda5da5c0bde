-- Accounts of ours that carried another key in the organization when it was last read back (plan/drift.rs): what
-- would be done to them is held as `rekeyed`. Each reading replaces all of them.

CREATE TABLE rekeyed (
    scim_id      TEXT PRIMARY KEY,
    -- The key that the account carries; NULL if it carries none.
    external_id  TEXT
) STRICT, WITHOUT ROWID;
