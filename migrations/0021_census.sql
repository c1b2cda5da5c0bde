-- What is asked for every few seconds (snapshot/census.rs), so that nothing large is read for it.

-- How many accounts there are in each state. The triggers keep it, whatever statement changes an account.

CREATE TABLE account_counts (
    lifecycle  TEXT PRIMARY KEY,
    count      INTEGER NOT NULL CHECK (count >= 0)
) STRICT, WITHOUT ROWID;

INSERT INTO account_counts VALUES
    ('active', (SELECT count(*) FROM accounts WHERE lifecycle = 'active')),
    ('deactivated', (SELECT count(*) FROM accounts WHERE lifecycle = 'deactivated')),
    ('delete_pending', (SELECT count(*) FROM accounts WHERE lifecycle = 'delete_pending')),
    ('deleted', (SELECT count(*) FROM accounts WHERE lifecycle = 'deleted'));

CREATE TRIGGER account_counted AFTER INSERT ON accounts BEGIN
    UPDATE account_counts SET count = count + 1 WHERE lifecycle = NEW.lifecycle;
END;

CREATE TRIGGER account_uncounted AFTER DELETE ON accounts BEGIN
    UPDATE account_counts SET count = count - 1 WHERE lifecycle = OLD.lifecycle;
END;

CREATE TRIGGER account_counted_anew AFTER UPDATE OF lifecycle ON accounts WHEN OLD.lifecycle <> NEW.lifecycle BEGIN
    UPDATE account_counts SET count = count - 1 WHERE lifecycle = OLD.lifecycle;
    UPDATE account_counts SET count = count + 1 WHERE lifecycle = NEW.lifecycle;
END;

-- By which the last good sync is found, however many runs have failed since.
CREATE INDEX runs_carried_out ON runs (id) WHERE outcome IN ('done', 'incomplete');
