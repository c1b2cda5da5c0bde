-- How many accounts are in each state, account_counts tells; the index is kept for the few of which more is asked, and
-- takes no room and no write for all the others.
DROP INDEX accounts_by_lifecycle;
CREATE INDEX accounts_delete_pending ON accounts (external_id) WHERE lifecycle = 'delete_pending';
