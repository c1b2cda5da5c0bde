-- Incremental pulls: what a pull said beyond the accounts, and where the next one continues.

-- Case-folded, so that the holder of an address is found without reading all accounts; '' for
-- none. NULL until the program has filled it in for a row of the older schema.
ALTER TABLE accounts ADD COLUMN user_name TEXT;
ALTER TABLE accounts ADD COLUMN email TEXT;
CREATE INDEX accounts_by_user_name ON accounts (user_name);
CREATE INDEX accounts_by_email ON accounts (email);

-- What is read of every account in each full pull, without the rest of the rows.
CREATE INDEX accounts_digests ON accounts (external_id, source, digest, departed_at, lifecycle);

-- Per source, what its last complete pull said of people who are not as their account is. Of
-- everybody else it said what stands in `accounts`.
CREATE TABLE deviations (
    source       TEXT NOT NULL,
    external_id  TEXT NOT NULL,
    said         TEXT NOT NULL CHECK (json_valid(said)),
    digest       BLOB,                          -- of the account that it wants; none for the rest
    PRIMARY KEY (source, external_id)
) STRICT, WITHOUT ROWID;

-- Per source, where the next pull continues.
CREATE TABLE cursors (
    source       TEXT PRIMARY KEY,
    cookie       TEXT NOT NULL,
    fingerprint  BLOB NOT NULL CHECK (length(fingerprint) = 16),   -- of all that the pull depends on
    full_at      INTEGER NOT NULL,                                 -- when the source was last read in full
    entries      INTEGER NOT NULL                                  -- how many people it has
) STRICT, WITHOUT ROWID;
