-- The digest of what an operation does to whom, by which an approval of it is known to be used up:
-- one group may have several of a kind in a run. NULL for those of older versions.
ALTER TABLE operations ADD COLUMN digest BLOB CHECK (digest IS NULL OR length(digest) = 16);
