-- By which it is found who is meant by a name (snapshot/dossier.rs) without reading all accounts, or all of the journal.

-- A key is meant in whatever case it is written. The most have no capitals, and take no room in these.
CREATE INDEX accounts_by_key_in_capitals ON accounts (external_id COLLATE NOCASE) WHERE external_id GLOB '*[A-Z]*';
CREATE INDEX accounts_by_key_beyond_ascii ON accounts (external_id) WHERE external_id GLOB '*[^ -~]*';

-- Whose account could not be made.
CREATE INDEX operations_not_created ON operations (external_id) WHERE kind = 'create' AND state IN ('failed', 'left');
