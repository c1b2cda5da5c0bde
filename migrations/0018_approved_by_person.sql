-- What was let through of a person in a run is looked for whenever an operation of that run may go: a run
-- may have let through tens of thousands.
DROP INDEX approved_operations_by_run;
CREATE INDEX approved_operations_by_run ON approved_operations (run_id, external_id);
