-- How many accounts each source has in each state. So none of them is read to be counted, and no index is kept for it.

DROP INDEX accounts_by_source;
DROP TRIGGER account_counted;
DROP TRIGGER account_uncounted;
DROP TRIGGER account_counted_anew;
DROP TABLE account_counts;

CREATE TABLE account_counts (
    source     TEXT NOT NULL,
    lifecycle  TEXT NOT NULL,
    count      INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (source, lifecycle)
) STRICT, WITHOUT ROWID;

INSERT INTO account_counts SELECT source, lifecycle, count(*) FROM accounts GROUP BY source, lifecycle;

CREATE TRIGGER account_counted AFTER INSERT ON accounts BEGIN
    INSERT INTO account_counts VALUES (NEW.source, NEW.lifecycle, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;

CREATE TRIGGER account_uncounted AFTER DELETE ON accounts BEGIN
    UPDATE account_counts SET count = count - 1 WHERE source = OLD.source AND lifecycle = OLD.lifecycle;
END;

CREATE TRIGGER account_counted_anew AFTER UPDATE OF source, lifecycle ON accounts
    WHEN OLD.source <> NEW.source OR OLD.lifecycle <> NEW.lifecycle
BEGIN
    UPDATE account_counts SET count = count - 1 WHERE source = OLD.source AND lifecycle = OLD.lifecycle;
    INSERT INTO account_counts VALUES (NEW.source, NEW.lifecycle, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
