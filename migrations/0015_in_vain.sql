-- What got no usable answer counts as tried in vain, which is no refusal: `count` may be 0.
CREATE TABLE failures_anew (
    external_id  TEXT NOT NULL,                 -- the person's key, or the group's
    is_group     INTEGER NOT NULL CHECK (is_group IN (0, 1)),
    operation_id INTEGER NOT NULL REFERENCES operations (id),  -- the last one that failed
    digest       BLOB NOT NULL CHECK (length(digest) = 16),    -- of what was to be done to whom
    count        INTEGER NOT NULL CHECK (count >= 0),          -- refusals in a row, of the same
    in_vain      INTEGER NOT NULL DEFAULT 0 CHECK (in_vain >= 0),  -- tries without a usable answer
    error        TEXT NOT NULL,                 -- the last one
    first_at     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    PRIMARY KEY (external_id, is_group)
) STRICT, WITHOUT ROWID;

INSERT INTO failures_anew (external_id, is_group, operation_id, digest, count, error, first_at, last_at)
    SELECT external_id, is_group, operation_id, digest, count, error, first_at, last_at FROM failures;
DROP TABLE failures;
ALTER TABLE failures_anew RENAME TO failures;

-- What refers to a run or an operation is looked for whenever one goes (pruning).
CREATE INDEX verdicts_by_run ON verdicts (run_id);
CREATE INDEX approved_operations_by_run ON approved_operations (run_id);
CREATE INDEX reconciled_by_run ON reconciled (run_id);
CREATE INDEX pending_deactivations_by_run ON pending_deactivations (first_run);
CREATE INDEX failures_by_operation ON failures (operation_id);
CREATE INDEX retries_by_operation ON retries (operation_id);
