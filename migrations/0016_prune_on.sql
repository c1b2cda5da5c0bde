-- Where a pruning that was broken off goes on: the last rows that it has looked at; NULL where it came to
-- its end.
ALTER TABLE pruned ADD COLUMN after_operation INTEGER;
ALTER TABLE pruned ADD COLUMN after_run INTEGER;

-- What refers to a run is looked for whenever one goes.
CREATE INDEX holds_by_first_run ON holds (first_run);
CREATE INDEX holds_by_last_run ON holds (last_run);
CREATE INDEX applied_plans_by_run ON applied_plans (run_id);
CREATE INDEX reverted_effects_by_end ON reverted_effects (ended_by);
CREATE INDEX reverted_group_effects_by_end ON reverted_group_effects (ended_by);
