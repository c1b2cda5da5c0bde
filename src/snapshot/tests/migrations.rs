//! A database of every earlier schema, with rows in all its tables, is brought up to date and keeps
//! all that is in it.

use serde_json::Value;

use super::*;
use crate::model::{Absence, Cause, Kind};
use crate::plan::fixture::at;

/// What a version of the program had written, by the schema that it came with: made into rows by the
/// statements of all schemas up to the one of the database.
const ROWS: [(i64, &str); 27] = [
    (
        1,
        r#"INSERT INTO accounts (external_id, source, dn, scim_id, account_id, profile, lifecycle, since, departed_at, digest) VALUES
            ('key-zoe', 'directory', 'uid=zoe,dc=example', 'scim-zoe', 'aid-zoe', '{"userName": "ZOË@example.org", "email": "Zoë.Müller@example.org", "displayName": "Zoë"}', 'active', NULL, NULL, x'07070707070707070707070707070707'),
            ('key-max', 'directory', 'uid=max,dc=example', 'scim-max', NULL, '{"userName": "max@example.org", "email": "max@example.org"}', 'deactivated', 1700000100000, 1700000000000, x'08080808080808080808080808080808'),
            ('key-ida', 'directory', 'uid=ida,dc=example', 'scim-ida', 'aid-ida', '{"userName": "ida@example.org", "email": "ida@example.org"}', 'delete_pending', 1700000200000, 1690000000000, x'09090909090909090909090909090909'),
            ('key-old', 'partners', 'uid=old,dc=example', 'scim-old', 'aid-old', '{"userName": "old@example.org"}', 'deleted', 1600000000000, NULL, x'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a');
        INSERT INTO runs (id, trigger, version, started_at, finished_at, outcome, error, summary) VALUES
            (1, 'sync', '0.1.0', 1700000000000, 1700000001000, 'done', NULL, '{"suspended": 0}'),
            (2, 'schedule', '0.1.0', 1700000100000, 1700000101000, 'failed', 'the directory cannot be reached', '{}'),
            (3, 'schedule', '0.1.0', 1700000200000, 1700000201000, 'incomplete', NULL, '{"suspended": 1}');
        INSERT INTO operations (id, run_id, external_id, kind, detail, state, intended_at, sent_at, answered_at, request_id, error) VALUES
            (1, 1, 'key-zoe', 'create', '{"key": "key-zoe", "source": "directory", "dn": "uid=zoe,dc=example", "kind": "create", "reason": {"cause": "joined"}, "target": null, "before": {}, "after": {"displayName": "Zoë"}, "active": [false, true], "cancel_delete": false, "departed_at": null, "changes": [{"attribute": "displayName", "old": null, "new": "Zoë"}], "waits_for": [], "wave": 0}', 'done', 1700000000100, 1700000000200, 1700000000300, 'request-1', NULL),
            (2, 1, 'key-bob', 'create', '{"key": "key-bob", "source": "directory", "dn": "uid=bob,dc=example", "kind": "create", "reason": {"cause": "joined"}, "target": null, "before": {}, "after": {"displayName": "Bob"}, "active": [false, true], "cancel_delete": false, "departed_at": null, "changes": [], "waits_for": [], "wave": 0}', 'failed', 1700000000100, 1700000000200, 1700000000300, NULL, 'the address is taken'),
            (3, 3, 'key-ida', 'delete', '{"key": "key-ida", "source": "directory", "dn": "uid=ida,dc=example", "kind": "delete", "reason": {"cause": "left_long_ago", "since": "2023-07-22T04:26:40Z"}, "target": {"scim_id": "scim-ida", "account_id": "aid-ida"}, "before": {}, "after": {}, "active": [false, false], "cancel_delete": false, "departed_at": 1690000000000, "changes": [], "waits_for": [], "wave": 9}', 'left', 1700000200100, 1700000200200, NULL, NULL, NULL),
            (4, 3, 'key-max', 'deactivate', '{"key": "key-max", "source": "directory", "dn": "uid=max,dc=example", "kind": "deactivate", "reason": {"cause": "left"}, "target": {"scim_id": "scim-max", "account_id": null}, "before": {}, "after": {}, "active": [true, false], "cancel_delete": false, "departed_at": 1700000000000, "changes": [], "waits_for": [], "wave": 0}', 'sent', 1700000200100, 1700000200300, NULL, NULL, NULL);
        INSERT INTO pulls (run_id, source, entries) VALUES (1, 'directory', 4), (3, 'directory', 3), (3, 'partners', 1);"#,
    ),
    (
        2,
        r#"UPDATE accounts SET user_name = 'zoË@example.org', email = 'zoË.mÜller@example.org' WHERE external_id = 'key-zoe';
        UPDATE accounts SET user_name = profile ->> 'userName', email = coalesce(profile ->> 'email', '') WHERE external_id <> 'key-zoe';
        INSERT INTO deviations VALUES ('directory', 'key-new', '{"wants": {"key": "key-new", "source": "directory", "dn": "uid=new,dc=example", "profile": {"email": "new@example.org"}, "active": true}}', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b'),
            ('directory', 'key-max', '"gone"', NULL);
        INSERT INTO cursors VALUES ('directory', 'cookie', x'0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c', 1700000200000, 3);"#,
    ),
    (
        3,
        r#"UPDATE accounts SET departed_why = 'deleted', departed_pulls = 2 WHERE departed_at IS NOT NULL;
        UPDATE accounts SET user_name = 'zoë@example.org', email = 'zoë.müller@example.org', employee_number = '' WHERE external_id = 'key-zoe';
        UPDATE accounts SET employee_number = '' WHERE external_id <> 'key-zoe';
        INSERT INTO scopes VALUES ('directory', '{"places": ["ldap.example.org"], "key": "entryUUID", "bases": ["dc=example"], "scope": "subtree", "filter": "(mail=*)"}');"#,
    ),
    (
        4,
        r#"INSERT INTO groups (scim_id, external_id, name, origins) VALUES
            ('group-1', 'key-staff', 'staff', '[{"source": "directory", "key": "key-staff", "dn": "cn=staff,dc=example", "rule": "staff"}]');
        INSERT INTO group_members VALUES ('group-1', 'key-zoe'), ('group-1', 'key-max');
        INSERT INTO operations (id, run_id, external_id, kind, detail, state, intended_at, sent_at) VALUES
            (5, 3, 'key-staff', 'group_update', '{"kind": "group_update", "reason": {"cause": "members"}, "key": "key-staff", "name": "staff", "origins": [], "target": {"scim_id": "group-1", "name": "staff", "members": 2}, "add": [{"name": "Ida", "key": "key-ida", "scim_id": null}], "remove": []}', 'sent', 1700000200100, 1700000200300);"#,
    ),
    (
        5,
        r#"INSERT INTO holds VALUES
            (1, 'deactivate', '2 would lose their login, and 1 may', '{"planned": 2, "allowed": 1, "population": 4, "scope": "all", "can_be_approved": true}', 1700000200000, 4100000000000, 1, 3, NULL, NULL),
            (2, 'create', '9 are too many', '{"planned": 9, "allowed": 1, "population": 4, "scope": "all", "can_be_approved": true}', 1700000000000, 1700600000000, 1, 1, 1700000100000, 'empty');
        INSERT INTO held_operations VALUES
            (1, x'01010101010101010101010101010101', 'key-zoe', 'deactivate', '{"account": "Zoë", "addresses": ["zoe@example.org"], "dn": "uid=zoe,dc=example", "source": "directory", "reason": "gone", "changes": []}'),
            (1, x'02020202020202020202020202020202', 'key-max', 'deactivate', '{"account": "Max", "addresses": ["max@example.org"], "dn": "uid=max,dc=example", "source": "directory", "reason": "gone", "changes": []}');
        INSERT INTO approvals VALUES (1, 1, 'they have left', 'ann', 1000, NULL, 1700000250000, 4100000000000);
        INSERT INTO approved_operations VALUES
            (1, x'01010101010101010101010101010101', 'key-zoe', 'deactivate', '{"account": "Zoë", "addresses": [], "dn": "uid=zoe,dc=example", "source": "directory", "reason": "gone", "changes": []}', NULL, NULL),
            (1, x'03030303030303030303030303030303', 'key-ida', 'delete', '{"account": "Ida", "addresses": [], "dn": "uid=ida,dc=example", "source": "directory", "reason": "gone", "changes": []}', 3, 'let_through');"#,
    ),
    (
        6,
        "INSERT INTO applied_plans VALUES ('plan-1', 1, 1699999999000, 1700000000000);",
    ),
    (
        7,
        r#"UPDATE operations SET scim_id = 'scim-zoe' WHERE id = 1;
        INSERT INTO runs (id, trigger, version, started_at, finished_at, outcome, error, summary) VALUES (4, 'revert 1', '0.1.0', 1700000300000, 1700000301000, 'done', NULL, '{}');
        INSERT INTO operations (id, run_id, external_id, kind, detail, state, intended_at, sent_at, answered_at, scim_id) VALUES
            (6, 4, 'key-zoe', 'update', '{"key": "key-zoe", "source": "directory", "dn": "uid=zoe,dc=example", "kind": "update", "reason": {"cause": "reverted", "run": 1}, "target": {"scim_id": "scim-zoe", "account_id": "aid-zoe"}, "before": {}, "after": {}, "active": [true, true], "cancel_delete": false, "undoes": {"operations": [1], "lets_go": false}, "changes": [], "waits_for": [], "wave": 0}', 'done', 1700000300100, 1700000300200, 1700000300300, 'scim-zoe');
        INSERT INTO reverted VALUES (1, 6);
        INSERT INTO reverted_effects VALUES
            (1, 1, 'key-zoe', 'the title is Engineer', x'04040404040404040404040404040404', NULL),
            (2, 1, 'key-zoe', 'the name is Zoë', x'05050505050505050505050505050505', 4);"#,
    ),
    (
        8,
        r#"UPDATE pulls SET way = 'full' WHERE source = 'directory';
        UPDATE pulls SET way = 'full', incomplete = 'cut off' WHERE source = 'partners';
        INSERT INTO verdicts VALUES
            (1, 3, 'key-bob', 'directory', 'uid=bob,dc=example', 'refused', 'the address is taken', '{"key": "key-bob", "source": "directory", "dn": "uid=bob,dc=example", "profile": {"email": "bob@example.org"}, "active": true}'),
            (2, 3, NULL, 'directory', 'uid=odd,dc=example', 'skipped', 'no key', NULL);"#,
    ),
    (
        9,
        r#"UPDATE operations SET progress = '{"scim_id": "group-1", "added": [], "removed": [], "deleted": null}' WHERE id = 5;
        INSERT INTO reverted_group_effects VALUES (1, 6, 'key-staff', '{"joins": "key-zoe"}', NULL), (2, 6, 'key-staff', '"made"', 4);"#,
    ),
    (
        10,
        "UPDATE operations SET digest = x'06060606060606060606060606060606' WHERE id = 4;",
    ),
    (
        11,
        r#"INSERT INTO reconciled VALUES (1, 3, 'key-zoe', 'drift', '["changed"]', '{"key": "key-zoe"}', '{"key": "key-zoe"}');"#,
    ),
    (
        12,
        r#"INSERT INTO failures (external_id, is_group, operation_id, digest, count, error, first_at, last_at) VALUES ('key-bob', 0, 2, x'0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d', 3, 'the address is taken', 1700000000300, 1700000200300);
        INSERT INTO retries VALUES (1, 'key-bob', 0, 2, 5, 'the address is taken', 'it is free', 'ann', 1000, 'ann', 1700000150000);
        INSERT INTO pending_deactivations VALUES ('key-max', 'uid=max,dc=example', 1700000200000, 3);"#,
    ),
    (
        13,
        "INSERT INTO pruned (id, at, first_run) VALUES (1, 1700000200000, 1);",
    ),
    (
        14,
        r#"UPDATE runs SET asked_by = 'ann', uid = 1000, sudo_user = 'zoe' WHERE id = 1;
        UPDATE operations SET requests = '[{"request": "POST /Users", "status": 409, "request_id": "request-2", "error": "taken"}]', settled_at = 1700000100000 WHERE id = 2;"#,
    ),
    (15, "UPDATE failures SET in_vain = 2;"),
    (16, "UPDATE pruned SET after_operation = 3, after_run = 0;"),
    (
        17,
        "INSERT INTO jobs (job, begun_at) VALUES ('sync', 1700000200000), ('full', 1700000000000);",
    ),
    (18, ""),
    (
        19,
        "INSERT INTO pause VALUES (1, 1700000200000, 'ann', 1000, 'zoe', 'the move');",
    ),
    (
        20,
        r#"INSERT INTO told VALUES ('sync', '{}');
        INSERT INTO outbox (id, channel, message, state, queued_at, next_at) VALUES ('msg_1', 'webhook', '{}', 'waiting', 1700000200000, 1700000230000);"#,
    ),
    // Its triggers write what it has.
    (21, ""),
    (22, ""),
    (23, "UPDATE jobs SET unended = 2 WHERE job = 'full';"),
    (
        24,
        "INSERT INTO rekeyed VALUES ('scim-zoe', 'other-tool'), ('scim-nobodys', NULL);",
    ),
    (25, ""),
    (26, ""),
    (27, ""),
];

/// A database of this schema, with rows in all its tables.
async fn of_schema(version: i64, path: &Path) {
    let mut connection = empty_of_schema(version, path).await;
    for (_, rows) in ROWS.iter().filter(|(of, _)| *of <= version) {
        sqlx::raw_sql(*rows).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Every table with its columns.
async fn tables(connection: &mut SqliteConnection) -> Vec<(String, Vec<String>)> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB '_sqlx_*' AND name NOT GLOB 'sqlite_*' ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let mut tables = Vec::new();
    for name in names {
        let columns = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
            .bind(&name)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        tables.push((name, columns));
    }
    tables
}

/// All rows of these columns.
async fn rows_of(
    connection: &mut SqliteConnection,
    table: &str,
    columns: &[String],
) -> Vec<String> {
    let quoted: Vec<String> = columns.iter().map(|one| format!("quote({one})")).collect();
    let query = format!(
        "SELECT concat_ws(' | ', {}) FROM {table} ORDER BY 1",
        quoted.join(", ")
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .fetch_all(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_database_of_every_schema_keeps_all_its_rows_when_it_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        ROWS.map(|(version, _)| version).to_vec(),
        MIGRATIONS.iter().map(|one| one.version).collect::<Vec<_>>(),
        "each schema has its rows here"
    );
    for (version, _) in ROWS {
        let path = folder.path().join(format!("{version}.db"));
        of_schema(version, &path).await;
        let mut seen = Snapshot::look_into(&path).await.unwrap();
        let mut before = Vec::new();
        for (table, mut columns) in tables(&mut seen.connection).await {
            // It is made anew, by source.
            if table == "account_counts" && version < 26 {
                continue;
            }
            // What the program fills in anew of these.
            let is_remade = |column: &String| {
                ["digest", "user_name", "email", "employee_number"].contains(&column.as_str())
            };
            if table == "accounts" && version < 3 {
                columns.retain(|column| !is_remade(column));
            }
            let rows = rows_of(&mut seen.connection, &table, &columns).await;
            assert!(!rows.is_empty(), "schema {version}: {table} has no rows");
            before.push((table, columns, rows));
        }
        seen.close().await.unwrap();
        if version < newest_migration() {
            let refused = Snapshot::open_for_reading(&path).await;
            assert!(matches!(refused, Err(SnapshotError::Older { .. })));
        }

        let mut journal = Journal::open(&path).await.unwrap();

        for (table, columns, rows) in before {
            let now = rows_of(&mut journal.connection, &table, &columns).await;
            assert_eq!(now, rows, "schema {version}: {table}");
        }
        for check in ["PRAGMA foreign_key_check", "PRAGMA integrity_check"] {
            let faults = sqlx::query(check).fetch_all(&mut journal.connection).await;
            let expected = usize::from(check.contains("integrity"));
            assert_eq!(faults.unwrap().len(), expected, "schema {version}: {check}");
        }
        expect_read(&mut journal, version).await;
        // And it is of use.
        let run = journal.begin_run("test", now()).await.unwrap();
        let (done, nothing) = (Outcome::Done, Value::Null);
        journal
            .finish_run(run, now(), done, None, &nothing)
            .await
            .unwrap();
        assert_eq!(run.0, if version < 7 { 4 } else { 5 }, "schema {version}");
        journal.close().await.unwrap();
    }
}

/// What is in the rows of [`ROWS`] up to this version is read as what it means.
async fn expect_read(journal: &mut Journal, version: i64) {
    let has = |since: i64| usize::from(version >= since);
    let keys = ["zoe", "max", "ida", "old"].map(key);
    let accounts = journal
        .accounts(&keys.iter().cloned().collect())
        .await
        .unwrap();
    assert_eq!(accounts.len(), 4);
    let states = ["active", "deactivated", "delete_pending", "deleted"];
    let each_once = states.map(|state| (state.to_owned(), 1));
    assert_eq!(journal.accounts_by_state().await.unwrap(), each_once);
    assert_eq!(journal.account_count().await.unwrap(), 4);
    let max = &accounts[&key("max")];
    let millis = |millis| Timestamp::from_timestamp_millis(millis).unwrap();
    assert_eq!(
        max.absence,
        Some(Absence {
            since: millis(1_700_000_000_000),
            cause: (version >= 3).then_some(Cause::Deleted),
            pulls: if version >= 3 { 2 } else { 1 },
        })
    );
    let since = millis(1_700_000_100_000);
    assert_eq!(max.lifecycle, Lifecycle::Deactivated { since });
    // Addresses are folded as they are now, and the index knows every account.
    expect_zoe_found(journal).await;
    let names = vec![source(), SourceName::new("partners")];
    let mut index = Index::new(names.clone(), HashSet::new());
    journal.index(&mut index).await.unwrap();
    if version < 3 {
        let mut expected = Index::new(names, HashSet::new());
        for account in accounts.values() {
            expected.insert_account(account);
        }
        assert_eq!(index, expected, "the digests are made anew");
    }
    let unanswered = journal.unanswered().await.unwrap();
    let unanswered: Vec<(i64, Kind)> = unanswered
        .iter()
        .map(|one| (one.id.0, one.operation.kind))
        .collect();
    assert_eq!(unanswered, [(4, Kind::Deactivate)]);
    let doubtful = journal.doubtful_deletions().await.unwrap();
    assert_eq!(doubtful, HashSet::from([key("ida")]));
    let (zoe, bob) = (key("zoe"), key("bob"));
    let failed = journal.failed_creations(&[&zoe, &bob]).await.unwrap();
    assert_eq!(failed, HashSet::from([bob.clone()]));
    assert_eq!(journal.past(RunId(1)).await.unwrap().len(), 2);
    assert_eq!(journal.last_reading().await.unwrap(), Some(RunId(3)));
    assert!(!journal.last_pull_was_believed().await.unwrap());

    assert_eq!(journal.cursors().await.unwrap().len(), has(2));
    assert_eq!(
        journal.deviations(&source()).await.unwrap().len(),
        2 * has(2)
    );
    assert_eq!(journal.scopes().await.unwrap().len(), has(3));
    let groups = journal.groups().await.unwrap();
    let members: Vec<usize> = groups.iter().map(|group| group.members.len()).collect();
    assert_eq!(members, vec![2; has(4)]);
    assert_eq!(journal.unanswered_groups().await.unwrap().len(), has(4));
    let moment = at("2026-01-01T00:00:00Z");
    // One is still to be used; the other one's deletion was sent by the run that it names.
    assert_eq!(journal.approvals(moment).await.unwrap().len(), has(5));
    let holds = journal.open_holds(moment).await.unwrap();
    let held: Vec<usize> = holds.iter().map(|hold| hold.operations.len()).collect();
    assert_eq!(held, vec![2; has(5)]);
    assert_eq!(journal.left_out().await.unwrap().len(), 2 * has(5));
    let applied = journal.applied_plan("plan-1").await.unwrap();
    assert_eq!(applied.is_some(), version >= 6);
    assert_eq!(journal.undone().await.unwrap().len(), has(7));
    assert_eq!(journal.undone_groups().await.unwrap().len(), has(9));
    let ids = accounts.values().map(|account| &account.scim_id);
    assert_eq!(journal.rekeyed(ids).await.unwrap().len(), has(24));
    let failures = journal.failures(5).await.unwrap();
    let failed: Vec<(u32, u32)> = failures
        .people
        .values()
        .map(|one| (one.count, one.in_vain))
        .collect();
    assert_eq!(
        failed,
        vec![(3, if version >= 15 { 2 } else { 0 }); has(12)]
    );
    assert_eq!(journal.retries_of(&bob).await.unwrap().len(), has(12));
    assert_eq!(
        journal.pending_deactivations().await.unwrap().len(),
        has(12)
    );
    assert_eq!(journal.pruning().await.unwrap().is_some(), version >= 13);
    let pause = journal.pause().await.unwrap();
    let pause = pause.map(|pause| (pause.asked_by.name, pause.reason));
    let expected = ("ann".to_owned(), "the move".to_owned());
    assert_eq!(pause, (version >= 19).then_some(expected));
    let census = journal.census(5).await.unwrap();
    let counted = ["active", "deactivated", "delete_pending", "deleted"];
    let counted = counted.map(|state| (state.to_owned(), 1));
    assert_eq!(census.accounts, BTreeMap::from(counted));
    let next = journal.next_letter().await.unwrap();
    assert_eq!(next, (version >= 20).then(|| millis(1_700_000_230_000)));
    let runs = journal.last_runs(Some(RunId(3)), 9).await.unwrap();
    let runs: Vec<(i64, bool)> = runs
        .iter()
        .map(|run| (run.run.0, run.asked_by.is_some()))
        .collect();
    assert_eq!(runs, [(2, false), (1, version >= 14)]);
    let good = journal.last_good_sync().await.unwrap();
    // In the last one absences were not believed.
    assert_eq!(good, Some(millis(1_700_000_001_000)));
    for who in ["zoë@example.org", "key-bob"] {
        let Meant::One(who) = journal.meant(who).await.unwrap() else {
            panic!("schema {version}: nobody is {who}");
        };
        let dossier = journal.dossier(who, moment).await.unwrap();
        assert!(!dossier.operations.is_empty());
        assert_eq!(dossier.pulls.len(), 2);
    }
}
