-- The saved plans that were applied: recorded before anything of them is sent, so that each is
-- applied at most once.
CREATE TABLE applied_plans (
    plan_id      TEXT PRIMARY KEY,
    run_id       INTEGER NOT NULL REFERENCES runs (id),
    made_at      INTEGER NOT NULL,
    applied_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
