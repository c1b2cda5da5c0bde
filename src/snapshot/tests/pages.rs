//! What the status page alone asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;

/// So many creations as a journal has them, in runs of a hundred, every tenth of which failed; and two writes to zoe
/// before all of them.
async fn filled(creations: usize) -> (tempfile::TempDir, Journal) {
    let (folder, mut journal) = new_journal().await;
    let zoe = World::new(vec![person("zoe")], vec![]).planned();
    let run = journal.begin_run("test", now()).await.unwrap();
    answered(&mut journal, run, &zoe, Some(true), now()).await;
    answered(&mut journal, run, &zoe, None, now()).await;
    let people = (0..100).map(|n| person(&format!("p{n:02}"))).collect();
    let wish = World::new(people, vec![]).planned();
    for n in 0..creations / 100 {
        let run = journal.begin_run("test", now()).await.unwrap();
        let refusal = (n % 10 == 0).then_some(true);
        answered(&mut journal, run, &wish, refusal, now()).await;
    }
    (folder, journal)
}

/// All of a selection.
async fn all_of(
    journal: &mut Journal,
    selection: Selection,
) -> Vec<Result<Write, UnreadableWrite>> {
    let mut history = journal.history(selection).await.unwrap();
    let mut all = Vec::new();
    loop {
        let page = journal.next_writes(&mut history).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// What the pages of the history are asked for.
fn selections() -> Vec<Selection> {
    let all = Selection::default;
    let whose = Some(BTreeSet::from([(key("zoe"), false)]));
    let run = Some(RunId(2));
    let kinds = vec!["create".to_owned()];
    let mut selections = Vec::new();
    for whose in [None, whose] {
        for run in [None, run] {
            for kinds in [Vec::new(), kinds.clone()] {
                for failed in [false, true] {
                    for before in [None, Some(OperationId(90))] {
                        selections.push(Selection {
                            whose: whose.clone(),
                            run,
                            kinds: kinds.clone(),
                            failed,
                            before,
                            ..all()
                        });
                    }
                }
            }
        }
    }
    selections
}

#[tokio::test]
async fn no_page_of_the_history_reads_the_whole_journal() {
    let (_folder, mut journal) = new_journal().await;
    let range = (0, i64::MAX);
    for selection in selections() {
        let by = match &selection {
            Selection { whose: Some(_), .. } => "INDEX operations_by_person (external_id=?",
            Selection { run: Some(_), .. } => "INDEX operations_by_run (run_id=?",
            Selection { failed: true, .. } => "INDEX operations_failed",
            Selection { kinds, .. } if !kinds.is_empty() => "INDEX operations_by_kind (kind=?",
            // By number, from one end, and no further than the page goes.
            _ => "",
        };
        for (query, order) in [
            (selection.newest(51, range), ""),
            (selection.rows(range), " ORDER BY o.id LIMIT 500"),
            (selection.count(10_001), ""),
        ] {
            let query = format!("EXPLAIN QUERY PLAN {}{order}", query.into_string());
            let steps: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(query.clone()))
                .fetch_all(&mut journal.connection)
                .await
                .unwrap()
                .iter()
                .map(|step| step.get(3))
                .collect();
            let of_operations = steps
                .iter()
                .find(|step| step.split(' ').nth(1) == Some("o"));
            let step = of_operations.unwrap();
            assert!(step.contains(by), "{query}\n{steps:#?}");
            // What is counted is limited; nothing else is looked through, nor sorted but one person's writes.
            let is_count = query.contains("count(*)");
            assert!(
                step.starts_with("SEARCH") || is_count,
                "{query}\n{steps:#?}"
            );
            let sorted = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(!sorted, "{query}\n{steps:#?}");
        }
    }
    journal.close().await.unwrap();
}

/// How much SQLite has to do for what is asked, in its own steps.
async fn work(journal: &mut Journal, asked: impl AsyncFnOnce(&mut Journal)) -> u64 {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let mut handle = journal.connection.lock_handle().await.unwrap();
    handle.set_progress_handler(1, move || {
        counted.fetch_add(1, Relaxed);
        true
    });
    drop(handle);
    asked(journal).await;
    let mut handle = journal.connection.lock_handle().await.unwrap();
    handle.remove_progress_handler();
    drop(handle);
    steps.load(Relaxed)
}

/// Asks for a page of the history.
async fn ask_for(journal: &mut Journal, selection: &Selection) {
    journal.count_writes(selection, 50).await.unwrap();
    let selection = Selection {
        newest: Some(51),
        ..selection.clone()
    };
    let mut history = journal.history(selection).await.unwrap();
    journal.next_writes(&mut history).await.unwrap();
    journal.written_to_key("zoe", false).await.unwrap();
    journal.written_to_key("nobody", true).await.unwrap();
}

#[tokio::test]
async fn a_page_of_a_long_history_is_no_more_work_than_one_of_a_short_one() {
    let (_short, mut short) = filled(1_000).await;
    let (_long, mut long) = filled(10_000).await;
    for selection in selections() {
        let (few, many) = (
            work(&mut short, async |journal| {
                ask_for(journal, &selection).await
            })
            .await,
            work(&mut long, async |journal| {
                ask_for(journal, &selection).await
            })
            .await,
        );
        assert!(few > 100, "{few}: {selection:?}");
        assert!(many < few * 2, "{few} and {many}: {selection:?}");
    }
    short.close().await.unwrap();
    long.close().await.unwrap();
}

#[tokio::test]
async fn a_group_is_looked_for_and_a_run_is_undone_without_reading_what_else_was_written() {
    let (_short, mut short) = filled(1_000).await;
    let (_long, mut long) = filled(10_000).await;
    let asked = async |journal: &mut Journal| {
        let found = journal.written_to("nobody", true).await.unwrap();
        assert!(found.is_empty());
        assert_eq!(journal.past(RunId(1)).await.unwrap().len(), 2);
        assert!(journal.past_groups(RunId(1)).await.unwrap().is_empty());
        assert!(journal.later_groups(RunId(1)).await.unwrap().is_empty());
    };
    let (few, many) = (work(&mut short, asked).await, work(&mut long, asked).await);
    // The runs are looked through.
    assert!(many < few + 2_000, "{few} and {many}");
    short.close().await.unwrap();
    long.close().await.unwrap();
}

#[tokio::test]
async fn writes_are_counted_as_they_are_selected_and_no_further_than_is_wanted() {
    let (_folder, mut journal) = filled(2_000).await;
    let group = losing("admins", &["a", "b"]).operation;
    let run = journal.begin_run("test", now()).await.unwrap();
    journal
        .intend_groups(run, [&group].into_iter(), now())
        .await
        .unwrap();
    let of = |name: &str, is_group| Selection {
        whose: Some(BTreeSet::from([(key(name), is_group)])),
        ..Selection::default()
    };
    let kind = |kind: &str| Selection {
        kinds: vec![kind.to_owned()],
        ..Selection::default()
    };
    let failed = || Selection {
        failed: true,
        ..Selection::default()
    };
    for (selection, expected) in [
        (Selection::default(), 2_003),
        (of("zoe", false), 2),
        (of("zoe", true), 0),
        (of("admins", true), 1),
        (of("p07", false), 20),
        (kind("create"), 2_002),
        (kind("group_update"), 1),
        (kind("delete"), 0),
        (failed(), 201),
        (
            Selection {
                run: Some(RunId(2)),
                ..failed()
            },
            100,
        ),
        (
            Selection {
                run: Some(RunId(3)),
                ..failed()
            },
            0,
        ),
        (
            Selection {
                before: Some(OperationId(10)),
                newest: Some(1),
                ..of("p07", false)
            },
            20,
        ),
        (
            Selection {
                whose: Some(BTreeSet::new()),
                ..Selection::default()
            },
            0,
        ),
    ] {
        for most in [1, 7, 10_000] {
            let count = journal.count_writes(&selection, most).await.unwrap();
            assert_eq!(count, expected.min(most.into()), "{most} of {selection:?}");
        }
        // As many as there are to be read.
        let all = Selection {
            before: None,
            newest: None,
            ..selection
        };
        let read = all_of(&mut journal, all).await.len();
        assert_eq!(read as u64, expected);
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_write_that_cannot_be_read_is_named_and_the_others_are_told() {
    let (_folder, mut journal) = filled(1_000).await;
    for spoil in [
        "UPDATE operations SET detail = '{\"active\": [false, true]}' WHERE id = 5",
        "UPDATE operations SET intended_at = 9000000000000000000 WHERE id = 600",
        "UPDATE operations SET requests = '[1]' WHERE id = 1002",
    ] {
        sqlx::query(spoil)
            .execute(&mut journal.connection)
            .await
            .unwrap();
    }
    let all = all_of(&mut journal, Selection::default()).await;
    assert_eq!(all.len(), 1_002);
    let ids: Vec<i64> = all
        .iter()
        .map(|one| one.as_ref().map_or_else(|bad| bad.id.0, |write| write.id.0))
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    let unreadable: Vec<&UnreadableWrite> =
        all.iter().filter_map(|one| one.as_ref().err()).collect();
    let told: Vec<(i64, i64, &str)> = unreadable
        .iter()
        .map(|bad| (bad.id.0, bad.run.0, bad.key.as_str()))
        .collect();
    let expected = [
        (5, 2, key("p02")),
        (600, 7, key("p97")),
        (1002, 11, key("p99")),
    ];
    let expected: Vec<(i64, i64, &str)> = expected
        .iter()
        .map(|(id, run, key)| (*id, *run, key.as_str()))
        .collect();
    assert_eq!(told, expected);
    for (bad, words) in unreadable
        .iter()
        .zip(["missing field", "its time is none", "invalid type"])
    {
        assert!(bad.why.contains(words), "{bad:?}");
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn what_is_not_tried_is_told_with_what_is_in_quarantine_first_and_then_by_its_time() {
    let (_folder, mut journal) = new_journal().await;
    assert!(journal.not_tried(2, now()).await.unwrap().is_empty());
    let run = journal.begin_run("test", now()).await.unwrap();
    let hour = chrono::TimeDelta::hours(1);
    let wish = |name: &str| World::new(vec![person(name)], vec![]).planned();
    // Refused twice in a row, once a while ago, and just now; and what is no refusal.
    for (name, refusal, at) in [
        ("twice", true, now()),
        ("twice", true, now() + hour),
        ("also-twice", true, now()),
        ("also-twice", true, now()),
        ("later", true, now() + hour * 2),
        (
            "sooner",
            true,
            now() + hour * 2 - chrono::TimeDelta::minutes(1),
        ),
        ("unanswered", false, now() + hour * 2),
        ("done", true, now()),
    ] {
        answered(&mut journal, run, &wish(name), Some(refusal), at).await;
    }
    // What fails beside nothing that succeeds is everybody's.
    let run = journal.begin_run("test", now()).await.unwrap();
    answered(&mut journal, run, &wish("done"), None, now() + hour).await;
    let group = losing("admins", &["a"]).operation;
    let ids = journal
        .intend_groups(run, [&group].into_iter(), now())
        .await
        .unwrap();
    let refused = crate::snapshot::End::Failed(Failure {
        error: "403: no".to_owned(),
        is_refusal: true,
        is_gone: false,
    });
    let ended = crate::snapshot::EndedGroup {
        id: ids[0],
        operation: &group,
        progress: GroupProgress::default(),
        end: refused,
        evidence: Evidence::Answers(Vec::new()),
    };
    let at = now() + hour * 2 - chrono::TimeDelta::minutes(2);
    journal.record_group(&ended, at).await.unwrap();

    let seen = now() + hour * 2;
    let all = journal.not_tried(2, seen).await.unwrap();
    let told: Vec<(&str, bool, bool, u32)> = all
        .iter()
        .map(|one| {
            let failing = &one.failing;
            (
                failing.key.as_str().trim_start_matches("key-"),
                one.is_group,
                failing.until.is_none(),
                failing.count,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("also-twice", false, true, 2),
            ("twice", false, true, 2),
            ("admins", true, false, 1),
            ("sooner", false, false, 1),
            ("later", false, false, 1),
        ]
    );
    assert!(
        all[2..]
            .windows(2)
            .all(|pair| pair[0].failing.until < pair[1].failing.until)
    );
    assert!(all[0].dn.contains("also-twice") && all[0].failing.error == "409: taken");
    // Whose time has come is tried, and nobody is in quarantine where that takes more.
    let day = chrono::TimeDelta::days(30);
    let all = journal.not_tried(2, seen + day).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(journal.not_tried(9, seen + day).await.unwrap().is_empty());
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_hold_is_told_page_by_page_with_what_of_it_is_approved() {
    let (_folder, mut journal) = new_journal().await;
    let week = chrono::TimeDelta::days(7);
    let names: Vec<String> = (0..120).map(|n| format!("p{n:03}")).collect();
    let mut world = World::new(
        vec![person("z")],
        names.iter().map(|one| account(one)).collect(),
    );
    world.accounts.push(account("z"));
    world.limit(Guard::Deactivate, at_most(0));
    let run = journal.begin_run("test", now()).await.unwrap();
    let opened = journal
        .record_holds(run, &world.planned(), week, now())
        .await
        .unwrap();
    let number = opened["deactivate"].number;
    let only = [key("p119").as_str().to_owned()];
    journal
        .approve("deactivate", &only, &zoe(), now())
        .await
        .unwrap();

    let brief = journal.open_holds_in_brief().await.unwrap();
    assert_eq!((brief.len(), brief[0].opened.number), (1, number));
    assert_eq!(brief[0].figures.planned, 120);
    assert!(brief[0].operations.is_empty());
    assert_eq!(journal.held_by_hold(number).await.unwrap(), 120);
    assert_eq!(journal.held_by_hold(number + 1).await.unwrap(), 0);
    let mut seen = Vec::new();
    for (range, expected) in [(0..50, 50), (50..100, 50), (100..150, 20), (150..200, 0)] {
        let page = journal
            .held_page("deactivate", number, range, now())
            .await
            .unwrap();
        assert_eq!(page.len(), expected);
        seen.extend(page);
    }
    let keys: Vec<&str> = seen.iter().map(|one| one.key.as_str()).collect();
    let expected: Vec<ExternalId> = names.iter().map(|name| key(name)).collect();
    assert_eq!(
        keys,
        expected.iter().map(ExternalId::as_str).collect::<Vec<_>>()
    );
    let approved: Vec<bool> = seen.iter().map(|one| one.is_approved).collect();
    assert_eq!(approved.iter().position(|is| *is), Some(119));
    assert_eq!(approved.iter().filter(|is| **is).count(), 1);
    // Whole, it is the same.
    let whole = journal.open_holds(now()).await.unwrap();
    let whole: Vec<&str> = whole[0]
        .operations
        .iter()
        .map(|one| one.key.as_str())
        .collect();
    assert_eq!(whole, keys);
    journal.close().await.unwrap();
}
