//! What is needed of old runs is there after the journal was pruned: whatever is asked of it is answered
//! as before.

use std::cell::Cell;

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::snapshot::history::LET_GO;

const PEOPLE: usize = 8;
const GROUPS: usize = 2;
const RUNS: i64 = 20;

fn keep() -> TimeDelta {
    TimeDelta::days(400)
}

async fn execute(journal: &mut Journal, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(&mut journal.connection)
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
}

async fn numbers(journal: &mut Journal, query: &str) -> Vec<i64> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
        .fetch_all(&mut journal.connection)
        .await
        .unwrap()
}

/// Takes out all that is old.
fn whole(before: Timestamp, now: Timestamp) -> Prune<'static> {
    Prune {
        before,
        now,
        anew: false,
        portion: 100,
        stop: &|| false,
    }
}

/// One of these.
fn any<T: Copy>(chance: &mut fastrand::Rng, of: &[T]) -> T {
    of[chance.usize(..of.len())]
}

/// 20 runs in 800 days, with whatever may be in a journal.
async fn history(journal: &mut Journal, chance: &mut fastrand::Rng) {
    let millis = |days: i64| (now() - TimeDelta::days(days)).timestamp_millis();
    for run in 1..=RUNS {
        let begun = match chance.u8(..12) {
            // By a clock that was wrong.
            0 if run < RUNS => any(chance, &[0, 4_000_000_000_000]),
            _ => millis((RUNS - run) * 40),
        };
        let outcome = match run {
            RUNS => "NULL",
            _ => any(
                chance,
                &["'done'", "'done'", "'incomplete'", "'refused'", "'failed'"],
            ),
        };
        let trigger = match chance.u8(..4) {
            0 if run > 1 => format!("revert {}", chance.i64(1..run)),
            _ => "schedule".to_owned(),
        };
        let finished = if outcome == "NULL" {
            "NULL".to_owned()
        } else {
            begun.to_string()
        };
        let suspended = chance.u8(..2);
        let ended_by = any(chance, &["null", "\"the API\"", "\"the API\""]);
        execute(journal, &format!(
            "INSERT INTO runs (id, trigger, version, started_at, finished_at, outcome, error, summary) VALUES ({run}, '{trigger}', '0.1.0', {begun}, {finished}, {outcome}, NULL, '{{\"suspended\": {suspended}, \"applied\": {{\"ended_by\": {ended_by}}}}}')"
        )).await;
        for (source, last) in [("directory", RUNS), ("partners", 15), ("gone", 3)] {
            if run <= last && chance.u8(..3) > 0 {
                let way = any(chance, &["'full'", "'changes'", "NULL"]);
                let incomplete = any(chance, &["NULL", "NULL", "'cut off'"]);
                execute(
                    journal,
                    &format!(
                        "INSERT INTO pulls VALUES ({run}, '{source}', {}, {way}, {incomplete})",
                        chance.u8(..)
                    ),
                )
                .await;
            }
        }
        for _ in 0..chance.usize(10..30) {
            operation(journal, chance, run).await;
        }
    }
    let operations = numbers(journal, "SELECT max(id) FROM operations").await[0];
    for _ in 0..3 {
        let undone = chance.i64(1..operations);
        let by = chance.i64(undone..=operations);
        let ended = any(chance, &["NULL", "NULL", "20"]);
        execute(journal, &format!(
            "INSERT OR IGNORE INTO reverted VALUES ({undone}, {by});
             INSERT INTO reverted_effects (operation_id, external_id, what, digest, ended_by) VALUES ({undone}, 'key-0', 'w', zeroblob(16), {ended});
             INSERT OR IGNORE INTO reverted_group_effects (undone_by, external_id, effect, ended_by) VALUES ({by}, 'key-g0', '{{\"joins\": \"{undone}\"}}', {ended});"
        )).await;
    }
    for name in ["deactivate", "create", "deactivate"] {
        let (first, last) = (chance.i64(1..5), chance.i64(5..=RUNS));
        let closed = any(chance, &["NULL, NULL", "5, 'empty'", "5, 'expired'"]);
        execute(journal, &format!(
            "INSERT OR IGNORE INTO holds (name, message, figures, opened_at, expires_at, first_run, last_run, closed_at, closed_by)
                VALUES ('{name}', 'm', '{{\"planned\": 1, \"can_be_approved\": true}}', 1, 4000000000000, {first}, {last}, {closed});
             INSERT INTO approvals (hold_id, reason, asked_by, uid, asked_at, expires_at)
                SELECT max(id), 'r', 'ann', 1, 1, 4000000000000 FROM holds;"
        )).await;
        // Some of what was let through was sent, and some was not.
        execute(journal, &format!(
            "INSERT OR IGNORE INTO approved_operations SELECT (SELECT max(id) FROM approvals), coalesce(digest, zeroblob(16)), external_id, kind, '{{}}', run_id, 'let_through'
                FROM operations WHERE id % 37 = {}", chance.u8(..37)
        )).await;
    }
    execute(journal,
        "INSERT OR IGNORE INTO failures (external_id, is_group, operation_id, digest, count, error, first_at, last_at) SELECT external_id, kind GLOB 'group_*', id, zeroblob(16), 1, 'e', 1, 1 FROM operations WHERE state = 'failed' AND id % 23 = 0;
         INSERT INTO retries (external_id, is_group, operation_id, count, error, asked_by, uid, asked_at) SELECT external_id, 0, id, 1, 'e', 'ann', 1, 1
            FROM operations WHERE state = 'failed' AND id % 41 = 0 AND kind NOT GLOB 'group_*';
         INSERT INTO applied_plans VALUES ('plan-1', 2, 1, 1);
         INSERT INTO reconciled (run_id, external_id, kind, what, after) VALUES (4, 'key-0', 'drift', '[]', '{}');
         INSERT INTO pending_deactivations VALUES ('key-1', 'uid=1', 1, 1);
         INSERT INTO verdicts (run_id, external_id, dn, kind, sentence) SELECT max(run_id), 'key-2', 'uid=2', 'waiting', 's' FROM pulls;",
    ).await;
}

async fn operation(journal: &mut Journal, chance: &mut fastrand::Rng, run: i64) {
    let state = any(chance, &["done", "done", "failed", "left"]);
    let sent = any(chance, &[Some(1), Some(1), None]);
    let sent = if state == "left" { sent } else { Some(1) };
    let (key, kind, detail, progress);
    if chance.u8(..5) == 0 {
        key = format!("key-g{}", chance.usize(..GROUPS));
        kind = any(chance, &["group_update", "group_create", "group_delete"]);
        let target = json!({"scim_id": format!("scim-{key}"), "name": key, "members": 9});
        detail = json!({"kind": kind, "reason": {"cause": "members"}, "key": key, "name": key, "origins": [],
            "target": target, "add": [], "remove": []});
        progress = Some(
            json!({"scim_id": format!("scim-{key}"), "added": [], "removed": [], "deleted": null}),
        );
    } else {
        key = format!("key-{}", chance.usize(..PEOPLE));
        kind = any(
            chance,
            &[
                "create",
                "adopt",
                "update",
                "update",
                "update",
                "deactivate",
                "delete",
                "restore",
            ],
        );
        let formerly = format!("key-{}", chance.usize(..PEOPLE));
        let formerly = Some(formerly).filter(|_| chance.u8(..20) == 0);
        let cause = any(chance, &["changed", "changed", "makes_way"]);
        detail = json!({"key": key, "source": "directory", "dn": format!("uid={key}"), "kind": kind, "reason": {"cause": cause},
            "target": null, "before": {}, "after": {"email": format!("{key}@example.org")}, "active": [true, true],
            "cancel_delete": kind == "restore" && chance.bool(), "formerly": formerly, "changes": [], "waits_for": [], "wave": 0});
        progress = None;
    }
    let digest = chance
        .bool()
        .then(|| chance.u128(..3).to_be_bytes().to_vec());
    sqlx::query("INSERT INTO operations (run_id, external_id, kind, detail, state, intended_at, sent_at, digest, progress) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?)")
        .bind(run)
        .bind(key)
        .bind(kind)
        .bind(detail.to_string())
        .bind(state)
        .bind(sent)
        .bind(digest)
        .bind(progress.map(|one| one.to_string()))
        .execute(&mut journal.connection)
        .await
        .unwrap();
}

/// What plans, explanations, reverts of the runs from this one on, and saved plans ask.
async fn answers(journal: &mut Journal, first: i64) -> Vec<String> {
    let mut told = Vec::new();
    let people: Vec<ExternalId> = (0..PEOPLE).map(|n| key(&n.to_string())).collect();
    let all: Vec<&ExternalId> = people.iter().collect();
    let sorted = |keys: HashSet<ExternalId>| keys.into_iter().collect::<BTreeSet<_>>();
    told.push(format!(
        "failed {:?}",
        sorted(journal.failed_creations(&all).await.unwrap())
    ));
    told.push(format!(
        "attempted {:?}",
        sorted(journal.attempted_creations(&all).await.unwrap())
    ));
    told.push(format!(
        "doubtful {:?}",
        sorted(journal.doubtful_deletions().await.unwrap())
    ));
    told.push(format!(
        "parked {:?}",
        sorted(journal.parked(&all).await.unwrap())
    ));
    told.push(format!(
        "believed {:?}",
        journal.last_pull_was_believed().await.unwrap()
    ));
    told.push(format!("last run {:?}", journal.last_run().await.unwrap()));
    told.push(format!(
        "last good sync {:?}",
        journal.last_good_sync().await.unwrap()
    ));
    told.push(format!(
        "last reading {:?}",
        journal.last_reading().await.unwrap()
    ));
    told.push(format!(
        "approvals {:?}",
        journal.approvals(now()).await.unwrap()
    ));
    told.push(format!("left out {:?}", journal.left_out().await.unwrap()));
    told.push(format!("undone {:?}", journal.undone().await.unwrap()));
    told.push(format!(
        "undone groups {:?}",
        journal.undone_groups().await.unwrap()
    ));
    let failures = journal.failures(5).await.unwrap();
    let failed: BTreeMap<_, _> = failures.people.into_iter().collect();
    told.push(format!("failures {failed:?}"));
    told.push(format!(
        "pending {:?}",
        journal.pending_deactivations().await.unwrap()
    ));
    let let_go = format!("SELECT coalesce({LET_GO}, 0) FROM retries ORDER BY id");
    told.push(format!("let go {:?}", numbers(journal, &let_go).await));
    told.push(format!(
        "applied {:?}",
        journal.applied_plan("plan-1").await.unwrap()
    ));
    for run in first..=RUNS {
        let run = RunId(run);
        told.push(format!("ended {:?}", journal.has_ended(run).await.unwrap()));
        told.push(format!("past {:?}", journal.past(run).await.unwrap()));
        told.push(format!(
            "past groups {:?}",
            journal.past_groups(run).await.unwrap()
        ));
        told.push(format!(
            "later {:?}",
            journal.later_groups(run).await.unwrap()
        ));
    }
    for key in people {
        let Meant::One(who) = journal.meant(key.as_str()).await.unwrap() else {
            continue;
        };
        let mut dossier = journal.dossier(who, now()).await.unwrap();
        let operations = std::mem::take(&mut dossier.operations);
        told.push(format!("dossier {dossier:?}"));
        told.push(format!(
            "last {:?}",
            &operations[..operations.len().min(LAST_OPERATIONS)]
        ));
        // By which the account became the person's.
        let done = operations.iter().filter(|one| one.is_done());
        let is_first = |one: &&Journalled| ["create", "adopt"].contains(&one.operation.kind.name());
        let from = done.clone().position(|one| is_first(&one));
        let matched: Vec<i64> = done
            .take(from.map_or(usize::MAX, |from| from + 1))
            .filter(|one| is_first(one) || one.operation.formerly.is_some())
            .map(|one| one.id.0)
            .collect();
        told.push(format!("matched {matched:?}"));
    }
    for table in [
        "holds",
        "held_operations",
        "approvals",
        "approved_operations",
        "reverted",
        "reverted_effects",
        "reverted_group_effects",
        "failures",
        "retries",
        "reconciled",
        "applied_plans",
        "pending_deactivations",
        "verdicts",
    ] {
        let count = numbers(journal, &format!("SELECT count(*) FROM {table}")).await;
        told.push(format!("{table} {count:?}"));
    }
    told
}

#[tokio::test]
async fn whatever_is_asked_of_a_pruned_journal_is_answered_as_before() {
    let mut taken = 0;
    for seed in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dirsyncd.db");
        let mut journal = Journal::open(&path).await.unwrap();
        let mut chance = fastrand::Rng::with_seed(seed);
        let being_deleted = |n: usize| ManagedAccount {
            lifecycle: Lifecycle::DeletePending { since: now() },
            ..account(&n.to_string())
        };
        let accounts: Vec<ManagedAccount> = (0..PEOPLE).map(being_deleted).collect();
        journal.note(&accounts).await.unwrap();
        execute(&mut journal, "BEGIN").await;
        history(&mut journal, &mut chance).await;
        execute(&mut journal, "COMMIT").await;
        let old = now() - keep();
        let oldest_kept = numbers(
            &mut journal,
            &format!(
                "SELECT min(id) FROM runs WHERE started_at BETWEEN {} AND {}",
                old.timestamp_millis(),
                now().timestamp_millis()
            ),
        )
        .await[0];
        let all = numbers(&mut journal, "SELECT id FROM operations").await;
        let kept_whole = numbers(
            &mut journal,
            &format!("SELECT id FROM operations WHERE run_id >= {oldest_kept}"),
        )
        .await;
        let before = answers(&mut journal, oldest_kept).await;

        // In pieces, as many runs would do it.
        let mut pruned = Vec::new();
        loop {
            let asked = Cell::new(0);
            let piece = Prune {
                portion: 10,
                stop: &|| asked.replace(asked.get() + 1) == 3,
                ..whole(old, now())
            };
            let piece = journal.prune(&piece).await.unwrap();
            assert!(piece.operations + piece.runs <= 30, "{piece:?}");
            let pruning = journal.pruning().await.unwrap();
            assert_eq!(
                pruning.is_some_and(|pruning| pruning.has_more),
                piece.has_more
            );
            pruned.push(piece);
            if !piece.has_more {
                break;
            }
        }

        let after = answers(&mut journal, oldest_kept).await;
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "seed {seed}");
        }
        assert_eq!(before.len(), after.len(), "seed {seed}");
        let left = numbers(&mut journal, "SELECT id FROM operations").await;
        assert!(kept_whole.iter().all(|id| left.contains(id)), "seed {seed}");
        let gone: usize = pruned.iter().map(|piece| piece.operations).sum();
        assert_eq!(all.len() - left.len(), gone, "seed {seed}");
        let first = pruned[0].first_run.map(|run| run.0);
        assert!(
            first.is_none_or(|first| first <= oldest_kept),
            "seed {seed}"
        );
        if let Some(first) = first {
            assert_eq!(
                journal.pruning().await.unwrap().unwrap().first_run,
                RunId(first)
            );
        }
        let faults = numbers(
            &mut journal,
            "SELECT count(*) FROM pragma_foreign_key_check",
        )
        .await;
        assert_eq!(faults, [0], "seed {seed}");
        let again = journal.prune(&whole(old, now())).await.unwrap();
        assert_eq!((again.operations, again.runs), (0, 0), "seed {seed}");
        taken += gone;
        journal.close().await.unwrap();
    }
    assert!(taken > 500, "{taken}");
}

/// A journal of two runs, of which one is old, with six updates of a person in each.
async fn two_runs(journal: &mut Journal) {
    let old = (now() - TimeDelta::days(500)).timestamp_millis();
    let recent = (now() - TimeDelta::days(1)).timestamp_millis();
    execute(journal, &format!(
        "INSERT INTO runs (trigger, version, started_at, finished_at, outcome) VALUES ('sync', '0', {old}, {old}, 'done'), ('sync', '0', {recent}, {recent}, 'done')"
    )).await;
    for run in [1, 2] {
        for _ in 0..6 {
            execute(journal, &format!(
                "INSERT INTO operations (run_id, external_id, kind, detail, state, intended_at, sent_at) VALUES ({run}, 'key-a', 'update', '{{}}', 'done', 1, 1)"
            )).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_taken_out_while_an_answer_is_awaited_or_once_it_is_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("dirsyncd.db"))
        .await
        .unwrap();
    two_runs(&mut journal).await;
    let ids = numbers(&mut journal, "SELECT id FROM operations").await;
    let old = now() - keep();

    // By a clock that is behind nothing is old.
    let behind = now() - TimeDelta::days(365);
    let nothing = journal.prune(&whole(behind - keep(), behind)).await;
    assert_eq!(nothing.unwrap(), Pruned::default());
    for state in ["intended", "sent"] {
        execute(
            &mut journal,
            &format!("UPDATE operations SET state = '{state}' WHERE id = 12"),
        )
        .await;
        let refused = journal.prune(&whole(old, now())).await;
        assert!(
            matches!(refused, Err(PruneError::Unanswered(RunId(2)))),
            "{refused:?}"
        );
    }
    assert_eq!(journal.pruning().await.unwrap(), None);
    execute(&mut journal, "UPDATE operations SET state = 'done'").await;
    let stopped = Prune {
        stop: &|| true,
        ..whole(old, now())
    };
    let stopped = journal.prune(&stopped).await.unwrap();
    assert_eq!((stopped.operations, stopped.runs), (0, 0));
    assert!(stopped.has_more);
    assert_eq!(
        numbers(&mut journal, "SELECT id FROM operations").await,
        ids
    );

    let pruned = journal.prune(&whole(old, now())).await.unwrap();
    let expected = Pruned {
        first_run: Some(RunId(2)),
        runs: 1,
        operations: 6,
        has_more: false,
    };
    assert_eq!(pruned, expected);
    let pruning = Pruning {
        at: now(),
        first_run: RunId(2),
        has_more: false,
    };
    assert_eq!(journal.pruning().await.unwrap(), Some(pruning));
    // A longer time does not bring back what is gone.
    let longer = now() - TimeDelta::days(900);
    assert_eq!(
        journal.prune(&whole(longer, now())).await.unwrap(),
        Pruned::default()
    );
    assert_eq!(journal.pruning().await.unwrap(), Some(pruning));
    journal.close().await.unwrap();
}

#[tokio::test]
async fn what_a_pruning_that_broke_off_has_passed_is_looked_at_anew_only_if_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("dirsyncd.db"))
        .await
        .unwrap();
    two_runs(&mut journal).await;
    execute(
        &mut journal,
        "UPDATE operations SET detail = '{\"formerly\": \"key-b\"}' WHERE id = 1",
    )
    .await;
    let old = now() - keep();
    let asked = Cell::new(0);
    let first = Prune {
        portion: 2,
        stop: &|| asked.replace(asked.get() + 1) == 1,
        ..whole(old, now())
    };
    assert_eq!(journal.prune(&first).await.unwrap().operations, 1);
    execute(&mut journal, "UPDATE operations SET detail = '{}'").await;
    let rest = journal.prune(&whole(old, now())).await.unwrap();
    assert_eq!((rest.operations, rest.has_more), (4, false));
    let anew = Prune {
        anew: true,
        ..whole(old, now())
    };
    let anew = journal.prune(&anew).await.unwrap();
    assert_eq!((anew.operations, anew.runs), (1, 1));
    journal.close().await.unwrap();
}

#[tokio::test]
async fn whatever_refers_to_a_run_or_an_operation_is_found_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("dirsyncd.db"))
        .await
        .unwrap();
    let references: Vec<(String, String)> = sqlx::query_as(
        "SELECT tables.name, keys.\"from\" FROM sqlite_schema AS tables, pragma_foreign_key_list(tables.name) AS keys
         WHERE tables.type = 'table' AND tables.name <> 'pruned' AND keys.\"table\" IN ('runs', 'operations')",
    )
    .fetch_all(&mut journal.connection)
    .await
    .unwrap();
    assert!(references.len() > 10);
    for (table, column) in references {
        let query = format!("EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {column} = 1");
        let plan: String = sqlx::query(sqlx::AssertSqlSafe(query))
            .fetch_one(&mut journal.connection)
            .await
            .unwrap()
            .get(3);
        assert!(plan.starts_with("SEARCH"), "{table}.{column}: {plan}");
    }
    // Nor does what is asked of each operation take longer the more were let through in its run.
    let is_old = crate::snapshot::prune::is_old_operation();
    let query = format!("EXPLAIN QUERY PLAN SELECT {is_old} FROM operations AS old WHERE id > 0");
    let steps: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(query))
        .fetch_all(&mut journal.connection)
        .await
        .unwrap()
        .iter()
        .map(|step| step.get(3))
        .collect();
    let approved = steps.iter().find(|step| step.contains(" approved "));
    let by = "(run_id=? AND external_id=?)";
    assert!(approved.is_some_and(|step| step.contains(by)), "{steps:#?}");
    assert!(
        steps.iter().all(|step| !step.starts_with("SCAN")),
        "{steps:#?}"
    );
    journal.close().await.unwrap();
}
