-- How often the daemon has begun a job in a row without coming to its end, as it was killed or stopped meanwhile: it
-- makes up for that at its start.
ALTER TABLE jobs ADD COLUMN unended INTEGER NOT NULL DEFAULT 0;
