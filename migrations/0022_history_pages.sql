-- By which the pages of the history are found, however long it is (snapshot/history.rs).

CREATE INDEX operations_by_kind ON operations (kind);

-- What failed, or was sent and is not known to have taken effect: the condition is that of `Selection::failed`.
CREATE INDEX operations_failed ON operations (id) WHERE state IN ('failed', 'sent')
    OR (state = 'left' AND (sent_at IS NOT NULL OR requests IS NOT NULL));
