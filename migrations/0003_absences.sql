-- Why people are absent, by how many pulls it is confirmed, and what was in scope.

ALTER TABLE accounts ADD COLUMN departed_why TEXT;      -- the cause; NULL until it is found out
ALTER TABLE accounts ADD COLUMN departed_pulls INTEGER; -- NULL as long as departed_at is
UPDATE accounts SET departed_pulls = 1 WHERE departed_at IS NOT NULL;

-- By which a person is known again whose entry was made anew; case-folded, '' for none. NULL,
-- like user_name and email, until the program has filled it in, which it does wherever `email` is
-- NULL: addresses are folded in another way from here on.
ALTER TABLE accounts ADD COLUMN employee_number TEXT;
CREATE INDEX accounts_by_employee_number ON accounts (employee_number) WHERE employee_number <> '';
UPDATE accounts SET email = NULL;

-- How many accounts each source has, which every run asks.
CREATE INDEX accounts_by_source ON accounts (source, lifecycle);

-- Per source, the last configuration of its scope that nobody left by: what people are out of by
-- an edit of it is told, and no departure.
CREATE TABLE scopes (
    source       TEXT PRIMARY KEY,
    scope        TEXT NOT NULL CHECK (json_valid(scope))
) STRICT, WITHOUT ROWID;
