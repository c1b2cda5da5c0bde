//! The database file by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lock;
mod meant;
mod migrations;
mod pages;
mod prune;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::json;

use super::*;
use crate::config::{Guard, Guards, Limit, Per};
use crate::model::{
    Complete, Digest, Evidence, GroupChange, GroupMember, GroupOperation, GroupProgress,
    GroupReason, GroupTarget, Incomplete, Invoker, Lifecycle, PullEnd, RunId,
};
use crate::plan::fixture::{World, account, at_most, brief, key, now, person, source, with_mail};
use crate::plan::groups::{GroupSuspension, PlannedGroup};
use crate::plan::{
    Count, GroupPlan, Hold, HoldCause, Plan, Population, Pulls, Said, Verdict, VerdictKind,
};

/// A new database of this schema, without rows.
async fn empty_of_schema(version: i64, path: &Path) -> SqliteConnection {
    make_private(path).unwrap();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .foreign_keys(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let all = MIGRATIONS.migrations.iter().cloned();
    let first: Vec<_> = all.filter(|one| one.version <= version).collect();
    sqlx::migrate::Migrator::with_migrations(first)
        .run(&mut connection)
        .await
        .unwrap();
    connection
}

/// Zoe is found by her addresses as they are folded now.
async fn expect_zoe_found(journal: &mut Journal) {
    for (attribute, address) in [
        (Attribute::UserName, "zoë@example.org"),
        (Attribute::Email, "zoë.müller@example.org"),
    ] {
        let addresses = BTreeMap::from([(attribute, BTreeSet::from([address.to_owned()]))]);
        let holders = journal.holders(&addresses).await.unwrap();
        assert_eq!(holders.keys().collect::<Vec<_>>(), [&key("zoe")]);
    }
}

/// A database as the first version has left it, with one account.
async fn first_version(path: &Path) {
    let mut connection = empty_of_schema(1, path).await;
    let account = account("zoe");
    sqlx::query("INSERT INTO accounts VALUES (?, 'directory', ?, 'scim-zoe', NULL, ?, 'active', NULL, NULL, ?)")
        .bind(account.key.as_str())
        .bind(&account.dn)
        .bind(r#"{"userName": "ZOË@example.org", "email": "Zoë.Müller@example.org"}"#)
        .bind([7; 16].as_slice())
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_older_database_is_brought_up_to_date_with_its_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dirsyncd.db");
    first_version(&path).await;
    let older = Snapshot::open_for_reading(&path).await;
    assert!(matches!(older, Err(SnapshotError::Older { .. })));

    let mut journal = Journal::open(&path).await.unwrap();

    expect_zoe_found(&mut journal).await;
    assert!(journal.cursors().await.unwrap().is_empty());
    let mut index = Index::new(vec![source()], HashSet::new());
    journal.index(&mut index).await.unwrap();
    let upgraded = journal
        .accounts(&HashSet::from([key("zoe")]))
        .await
        .unwrap();
    let mut expected = Index::new(vec![source()], HashSet::new());
    expected.insert_account(&upgraded[&key("zoe")]);
    assert_eq!(index, expected, "the digests are made anew");
    journal.close().await.unwrap();
}

/// A new database, and the folder that it is in.
async fn new_journal() -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("dirsyncd.db")).await;
    (folder, journal.unwrap())
}

/// A complete pull of so many entries.
fn pulls(entries: u64) -> Pulls {
    let end = PullEnd {
        entries,
        changed: None,
        clean: Ok(()),
    };
    Pulls::from([(source(), Complete::attest(end))])
}

#[tokio::test]
async fn what_a_source_said_is_kept_until_the_account_is_like_that() {
    let (_folder, mut journal) = new_journal().await;
    let run = journal.begin_run("test", now()).await.unwrap();
    let wish = with_mail(person("zoe"), "new@example.org");
    let deviation = |name: &str, said| Deviation {
        source: source(),
        key: key(name),
        said,
    };
    let cursor = Cursor {
        cookie: "cookie".into(),
        fingerprint: crate::model::Digest([3; 16]),
        full_at: now(),
        entries: 2,
    };
    let pulled = Pulled {
        pulls: pulls(2),
        cursors: BTreeMap::from([(source(), cursor.clone())]),
        deviations: vec![
            deviation("zoe", Said::Wants(wish.clone())),
            deviation("gone", Said::Gone),
            // Of a source without a cursor nothing is kept.
            Deviation {
                source: SourceName::new("other"),
                ..deviation("other", Said::Gone)
            },
        ],
        scopes: BTreeMap::new(),
        verdicts: Some(Vec::new()),
    };
    journal.record_pulls(run, &pulled).await.unwrap();
    let kept = journal.deviations(&source()).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(journal.cursors().await.unwrap()[&source()], cursor);
    let other = SourceName::new("other");
    assert!(journal.deviations(&other).await.unwrap().is_empty());
    let keys = journal.keys_of(&source()).await.unwrap();
    assert_eq!(keys, HashSet::from([key("zoe"), key("gone")]));

    // The one who is gone has no account, which no pull leaves behind; it counts all the same.
    assert_eq!(journal.people_of(&source()).await.unwrap(), 0);
    // An account that is otherwise leaves it as it is.
    journal.note(&[account("zoe")]).await.unwrap();
    assert_eq!(journal.deviations(&source()).await.unwrap().len(), 2);
    let fulfilled = ManagedAccount {
        profile: wish.profile,
        ..account("zoe")
    };
    journal.note(&[fulfilled]).await.unwrap();

    let rest = journal.deviations(&source()).await.unwrap();
    assert_eq!(rest, [deviation("gone", Said::Gone)]);
    // The next pulls replace what these said.
    journal.record_pulls(run, &Pulled::default()).await.unwrap();
    assert!(journal.deviations(&source()).await.unwrap().is_empty());
    assert!(journal.cursors().await.unwrap().is_empty());
    journal.close().await.unwrap();
}

#[tokio::test]
async fn the_index_is_read_whole_in_many_pages_and_of_some_people_alone() {
    let (_folder, mut journal) = new_journal().await;
    let accounts: Vec<ManagedAccount> = (0..4321)
        .map(|n| ManagedAccount {
            source: SourceName::new(["directory", "partners"][n % 2]),
            ..account(&format!("p{n}"))
        })
        .collect();
    journal.note(&accounts).await.unwrap();
    let names = vec![source(), SourceName::new("partners")];

    let mut index = Index::new(names.clone(), HashSet::new());
    journal.index(&mut index).await.unwrap();

    let mut expected = Index::new(names.clone(), HashSet::new());
    for account in &accounts {
        expected.insert_account(account);
    }
    assert_eq!(index, expected);
    assert_eq!(journal.account_count().await.unwrap(), 4321);
    let mut some = Index::new(names.clone(), HashSet::new());
    let keys = HashSet::from([key("p7"), key("p4320"), key("nobody")]);
    journal.index_of(&keys, &mut some).await.unwrap();
    let mut expected = Index::new(names, HashSet::new());
    expected.insert_account(&accounts[7]);
    expected.insert_account(&accounts[4320]);
    assert_eq!(some, expected);
    assert_eq!(journal.people_of(&source()).await.unwrap(), 2161);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn accounts_are_found_by_an_index_whatever_is_known_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("dirsyncd.db"))
        .await
        .unwrap();
    for column in ["external_id", "user_name", "email", "employee_number"] {
        let query = rows::select_accounts_by(column);
        let query = format!("EXPLAIN QUERY PLAN {query} IN (?, ?, ?)");
        let steps = sqlx::query(sqlx::AssertSqlSafe(query))
            .fetch_all(&mut journal.connection)
            .await
            .unwrap();
        let step: String = steps[0].get(3);
        let by = format!("({column}=?)");
        assert!(
            step.starts_with("SEARCH accounts USING") && step.ends_with(&by),
            "{column}: {step}"
        );
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn populations_are_counted_by_scope_as_the_planner_counts() {
    let (_folder, mut journal) = new_journal().await;
    let since = now();
    let states = [
        Lifecycle::Active,
        Lifecycle::Deactivated { since },
        Lifecycle::DeletePending { since },
        Lifecycle::Deleted { since },
    ];
    let mails = ["@A.org", "@b.org", "x@c@A.ORG", "", "ü@Müller.example"];
    let dns = [
        "uid=1,ou=Sales,dc=org",
        "uid=2,OU=sales, DC=org",
        r"uid=3,ou=a\2c b,dc=org",
        "no name at all",
    ];
    let mut accounts = Vec::new();
    for n in 0..60 {
        let mut one = account(&format!("p{n}"));
        one.lifecycle = states[n % 4];
        one.source = SourceName::new(["directory", "partners", "third"][n % 3]);
        one.dn = dns[n / 4 % 4].to_owned();
        one.profile = crate::plan::fixture::profile("P", mails[n % 5]);
        accounts.push(one);
    }
    journal.note(&accounts).await.unwrap();

    let mut population = journal.population().await.unwrap();
    assert!(population.by_ou.is_empty() && population.by_domain.is_empty());
    let mut guards = Guards::default();
    let per = |per| Limit {
        at_most: Some(1),
        per,
        ..Limit::default()
    };
    guards
        .limits
        .insert(Guard::Delete, vec![per(Per::Ou), per(Per::Domain)]);
    journal
        .population_by_scope(&mut population, &guards)
        .await
        .unwrap();

    let mut expected = Population::default();
    for account in &accounts {
        expected.enter(account);
    }
    let none = Count::default();
    expected.by_source.retain(|_, count| *count != none);
    expected.by_domain.retain(|_, count| *count != none);
    expected.by_ou.retain(|_, count| *count != none);
    assert_eq!(population, expected);
    assert_eq!((population.by_domain.len(), population.by_ou.len()), (3, 2));
    for account in &accounts {
        expected.leave(account);
    }
    assert_eq!((expected.active, expected.all), (0, 0));
    journal.close().await.unwrap();
}

/// Three leave, and none may.
fn three_leave() -> World {
    let people = ["a", "b", "c"].map(account).to_vec();
    let mut world = World::new(vec![person("z")], people);
    world.accounts.push(account("z"));
    world.limit(Guard::Deactivate, at_most(0));
    world
}

#[tokio::test]
async fn an_approval_whose_operation_something_else_holds_waits_for_it() {
    let (_folder, mut journal) = new_journal().await;
    let week = chrono::TimeDelta::days(7);
    let asked = zoe();
    let mut world = three_leave();
    world.guards.protected = ["key-a".to_owned()].into();
    let run = journal.begin_run("test", now()).await.unwrap();
    let opened = journal
        .record_holds(run, &world.planned(), week, now())
        .await
        .unwrap();
    let names: Vec<&str> = opened.keys().map(String::as_str).collect();
    assert_eq!(names, ["deactivate", "protected"]);
    let approved = journal
        .approve("deactivate", &[], &asked, now())
        .await
        .unwrap();
    assert_eq!(approved.operations.len(), 3);

    // Of the three that are approved one is protected, and one is back.
    world.approvals = journal.approvals(now()).await.unwrap();
    world.people.push(person("b"));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["!deactivate a", "deactivate c"]);
    let run = journal.begin_run("test", now()).await.unwrap();
    journal.record_holds(run, &plan, week, now()).await.unwrap();
    let sent: Vec<&Operation> = plan.operations[1..].iter().map(|p| &p.operation).collect();
    let ids = journal.intend(run, sent.into_iter(), now()).await.unwrap();

    // What was intended and not sent keeps the approval; what was sent has used it up.
    let left = |approvals: &[crate::plan::Approval]| {
        ["a", "b", "c"].map(|name| {
            let mut world = three_leave();
            world
                .accounts
                .retain(|account| [key(name), key("z")].contains(&account.key));
            let digest = world.planned().operations[0].operation.digest();
            approvals.iter().any(|approval| approval.digest == digest)
        })
    };
    let live = journal.approvals(now()).await.unwrap();
    assert_eq!(left(&live), [true, false, true]);
    mark_sent(&mut journal, &ids, now()).await;
    let live = journal.approvals(now()).await.unwrap();
    assert_eq!(left(&live), [true, false, false]);
    // An approval is good for as long as its hold is open.
    let live = journal.approvals(now() + week).await.unwrap();
    assert_eq!(left(&live), [false; 3]);
    journal.close().await.unwrap();
}

/// A group that loses members, and is held for it.
fn losing(name: &str, members: &[&str]) -> PlannedGroup {
    let member = |name: &&str| GroupMember {
        name: (*name).to_owned(),
        key: Some(key(name)),
        scim_id: Some(ScimId::new(format!("scim-{name}"))),
    };
    PlannedGroup {
        operation: GroupOperation {
            kind: GroupChange::Update,
            reason: GroupReason::Members,
            key: key(name),
            name: name.to_owned(),
            origins: BTreeSet::new(),
            target: Some(GroupTarget {
                scim_id: ScimId::new(format!("group-{name}")),
                name: name.to_owned(),
                members: 9,
            }),
            add: Vec::new(),
            remove: members.iter().map(member).collect(),
            former: None,
            undoes: None,
        },
        holds: vec![0],
        tried_in_vain: None,
    }
}

/// A plan in which the groups of administrators would lose members, as one hold says.
fn losing_members(operations: Vec<PlannedGroup>, is_doubtful: bool) -> Plan {
    let cause = HoldCause::Protected;
    let doubt = GroupSuspension {
        group: None,
        place: "ou=groups".to_owned(),
        why: "cut off".to_owned(),
    };
    let hold = Hold {
        name: cause.name(),
        cause,
        planned: 1,
        opened: None,
    };
    Plan {
        holds: match operations.iter().any(|one| !one.holds.is_empty()) {
            true => vec![hold],
            false => Vec::new(),
        },
        groups: Some(GroupPlan {
            operations,
            suspensions: if is_doubtful { vec![doubt] } else { Vec::new() },
            ..GroupPlan::default()
        }),
        ..Plan::default()
    }
}

fn zoe() -> Asked {
    Asked {
        by: Invoker {
            name: "zoe".into(),
            uid: 1000,
            sudo_user: None,
        },
        reason: "they have left".into(),
    }
}

#[tokio::test]
async fn a_group_that_was_left_out_stays_so_when_groups_are_in_doubt_and_a_person_does_not() {
    let (_folder, mut journal) = new_journal().await;
    let week = chrono::TimeDelta::days(7);
    let run = journal.begin_run("test", now()).await.unwrap();
    let groups = || vec![losing("one", &["a"]), losing("two", &["b"])];
    let mut plan = losing_members(groups(), false);
    plan.operations = three_leave().planned().operations;
    for planned in &mut plan.operations {
        planned.holds = vec![0];
    }
    journal.record_holds(run, &plan, week, now()).await.unwrap();
    let only = [key("one").to_string(), key("a").to_string()];
    journal
        .approve("protected", &only, &zoe(), now())
        .await
        .unwrap();
    // Of the second group nothing can be said, and nobody leaves any more.
    let first = PlannedGroup {
        holds: Vec::new(),
        ..losing("one", &["a"])
    };
    for operations in [vec![first], Vec::new()] {
        let plan = losing_members(operations, true);
        journal.record_holds(run, &plan, week, now()).await.unwrap();
        let left_out = journal.left_out().await.unwrap();
        let left_out: Vec<&ExternalId> = left_out.keys().map(|(key, _)| key).collect();
        assert_eq!(left_out, [&key("two")]);
    }
    let voided = "SELECT external_id FROM approved_operations WHERE result = 'void'";
    let voided: Vec<String> = sqlx::query_scalar(voided)
        .fetch_all(&mut journal.connection)
        .await
        .unwrap();
    assert_eq!(voided, [key("a").to_string()]);
    // Nor when the hold expires in doubt; once all is read, what is not planned is forgotten.
    let later = now() + week;
    let plan = losing_members(Vec::new(), true);
    journal.record_holds(run, &plan, week, later).await.unwrap();
    assert_eq!(journal.left_out().await.unwrap().len(), 1);
    let plan = losing_members(Vec::new(), false);
    journal.record_holds(run, &plan, week, later).await.unwrap();
    assert!(journal.left_out().await.unwrap().is_empty());
    assert!(journal.open_holds(later).await.unwrap().is_empty());
    journal.close().await.unwrap();
}

#[tokio::test]
async fn who_was_left_out_stays_so_while_what_comes_before_is_put_off() {
    let (_folder, mut journal) = new_journal().await;
    let week = chrono::TimeDelta::days(7);
    // a takes the address that b gives up.
    let people = vec![
        with_mail(person("a"), "b@example.org"),
        with_mail(person("b"), "new@example.org"),
    ];
    let mut world = World::new(people, vec![account("a"), account("b")]);
    world.limit(Guard::ChangeEmail, at_most(1));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["!update b", "!update a"]);
    let digest = plan.operations[0].operation.digest();
    let run = journal.begin_run("test", now()).await.unwrap();
    let opened = journal.record_holds(run, &plan, week, now()).await.unwrap();
    let hold = opened.keys().next().unwrap();
    journal
        .approve(hold, &[key("b").to_string()], &zoe(), now())
        .await
        .unwrap();
    world.approvals = journal.approvals(now()).await.unwrap();
    world.left_out = journal.left_out().await.unwrap();
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update b", "!update a"]);
    journal.record_holds(run, &plan, week, now()).await.unwrap();
    // It is refused: for a while neither is planned.
    let refused = crate::plan::Failed {
        digest,
        count: 1,
        in_vain: 0,
        error: "no".to_owned(),
        first: now(),
        last: now(),
    };
    for count in [1, world.failures.quarantine_after] {
        let failed = crate::plan::Failed {
            count,
            ..refused.clone()
        };
        world.failures.people.insert(key("b"), failed);
        let plan = world.planned();
        assert_eq!(brief(&plan), [""; 0]);
        journal.record_holds(run, &plan, week, now()).await.unwrap();
        let left_out = journal.left_out().await.unwrap();
        let keys: Vec<&ExternalId> = left_out.keys().map(|(key, _)| key).collect();
        assert_eq!(keys, [&key("a")], "refused {count} times");
    }
    // When it is tried again, who was left out is still held.
    world.failures.people.clear();
    world.approvals = journal.approvals(now()).await.unwrap();
    world.left_out = journal.left_out().await.unwrap();
    assert_eq!(brief(&world.planned()), ["update b", "!update a"]);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn of_two_operations_on_one_group_each_uses_up_its_own_approval() {
    let (_folder, mut journal) = new_journal().await;
    let week = chrono::TimeDelta::days(7);
    let run = journal.begin_run("test", now()).await.unwrap();
    let parts = || vec![losing("one", &["a"]), losing("one", &["b"])];
    let plan = losing_members(parts(), false);
    journal.record_holds(run, &plan, week, now()).await.unwrap();
    journal
        .approve("protected", &[], &zoe(), now())
        .await
        .unwrap();
    let free: Vec<PlannedGroup> = parts()
        .into_iter()
        .map(|one| PlannedGroup {
            holds: Vec::new(),
            ..one
        })
        .collect();
    let plan = losing_members(free, false);
    journal.record_holds(run, &plan, week, now()).await.unwrap();
    let operations = parts();
    let sent = operations.iter().map(|one| &one.operation);
    let ids = journal.intend_groups(run, sent, now()).await.unwrap();
    mark_sent(&mut journal, &ids[..1], now()).await;
    let live = journal.approvals(now()).await.unwrap();
    let live: Vec<Digest> = live.into_iter().map(|approval| approval.digest).collect();
    assert_eq!(live, [operations[1].operation.digest()]);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn an_approval_of_a_part_is_used_up_once_the_whole_is_sent() {
    let (_folder, mut journal) = new_journal().await;
    let week = chrono::TimeDelta::days(7);
    let leaving = losing("one", &["a"]);
    let mut joining = losing("one", &["b"]);
    joining.holds.clear();
    joining.operation.add = std::mem::take(&mut joining.operation.remove);
    let mut whole = joining.clone();
    whole.operation.remove = leaving.operation.remove.clone();
    // Who joins goes, and who leaves is held until somebody approves that.
    let run = journal.begin_run("test", now()).await.unwrap();
    let plan = losing_members(vec![joining, leaving.clone()], false);
    journal.record_holds(run, &plan, week, now()).await.unwrap();
    journal
        .approve("protected", &[], &zoe(), now())
        .await
        .unwrap();
    let live = async |journal: &mut Journal| -> Vec<Digest> {
        let live = journal.approvals(now()).await.unwrap();
        live.into_iter().map(|approval| approval.digest).collect()
    };
    let approved = [leaving.operation.digest()];
    let run = journal.begin_run("test", now()).await.unwrap();
    let plan = losing_members(vec![whole.clone()], false);
    journal.record_holds(run, &plan, week, now()).await.unwrap();
    let sent = [&whole.operation].into_iter();
    let ids = journal.intend_groups(run, sent, now()).await.unwrap();
    assert_eq!(live(&mut journal).await, approved);
    mark_sent(&mut journal, &ids, now()).await;
    assert_eq!(live(&mut journal).await, []);
    // Somebody who leaves once more is held once more.
    let plan = losing_members(vec![leaving], false);
    journal.record_holds(run, &plan, week, now()).await.unwrap();
    let holds = journal.open_holds(now()).await.unwrap();
    assert!(!holds[0].operations[0].is_approved);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_good_sync_read_all_believed_all_and_failed_in_nothing() {
    let (_folder, mut journal) = new_journal().await;
    let good = json!({"held": 3, "refused": 2, "suspended": 0, "applied": {"failed": 0, "ended_by": null}});
    let incomplete = Incomplete {
        entries: 1,
        why: "it broke off".to_owned(),
    };
    let broken = BTreeMap::from([(source(), Err(incomplete))]);
    for (pulls, outcome, summary, is_good) in [
        (pulls(2), Outcome::Incomplete, good.clone(), true),
        (broken, Outcome::Incomplete, good.clone(), false),
        (BTreeMap::new(), Outcome::Done, good.clone(), false),
        (pulls(2), Outcome::Failed, json!({}), false),
        (
            pulls(2),
            Outcome::Incomplete,
            json!({"suspended": 1}),
            false,
        ),
        (
            pulls(2),
            Outcome::Incomplete,
            json!({"groups": {"suspended": 1}}),
            false,
        ),
        (
            pulls(2),
            Outcome::Incomplete,
            json!({"applied": {"failed": 1}}),
            false,
        ),
        (
            pulls(2),
            Outcome::Incomplete,
            json!({"groups": {"applied": {"failed": 1}}}),
            false,
        ),
        (
            pulls(2),
            Outcome::Done,
            json!({"applied": {"ended_by": "the deadline"}}),
            false,
        ),
        (pulls(2), Outcome::Done, good, true),
    ] {
        let before = journal.last_good_sync().await.unwrap();
        let run = journal.begin_run("test", now()).await.unwrap();
        let pulled = Pulled {
            pulls,
            ..Pulled::default()
        };
        journal.record_pulls(run, &pulled).await.unwrap();
        let at = now() + chrono::TimeDelta::seconds(run.0);
        let finished = journal.finish_run(run, at, outcome, None, &summary);
        finished.await.unwrap();
        let expected = if is_good { Some(at) } else { before };
        let found = journal.last_good_sync().await.unwrap();
        assert_eq!(found, expected, "{outcome:?} {summary}");
    }
}

#[tokio::test]
async fn the_runs_of_a_day_are_summed_up_and_what_stands_at_its_end_is_told() {
    let (_folder, mut journal) = new_journal().await;
    let day = |day: u32| now() + chrono::TimeDelta::days(i64::from(day));
    for (at, summary) in [
        (day(0), json!({"applied": {"done": 50}, "held": 5})),
        (
            day(3),
            json!({"applied": {"done": 2, "failed": 1}, "held": 4}),
        ),
        (
            day(3),
            json!({"applied": {"done": 3}, "groups": {"applied": {"done": 1, "failed": 2}}, "held": 1}),
        ),
        (day(5), json!({})),
    ] {
        let run = journal.begin_run("test", at).await.unwrap();
        let finished = journal.finish_run(run, at, Outcome::Done, None, &summary);
        finished.await.unwrap();
    }
    let told = |at: u32, runs, done, failed, held| PastDay {
        day: day(at).date_naive(),
        runs,
        active: None,
        done,
        failed,
        held,
    };
    let days = journal.days(day(2)).await.unwrap();
    assert_eq!(days, [told(3, 2, 6, 3, 1), told(5, 1, 0, 0, 0)]);
}

#[tokio::test]
async fn a_pause_is_written_into_no_database_of_another_version() {
    let (folder, journal) = new_journal().await;
    journal.close().await.unwrap();
    let path = folder.path().join("dirsyncd.db");
    assert!(path.exists());
    keep_pause_for_later(&path, None, Duration::ZERO)
        .await
        .unwrap();
    let writer = Lock::writer(&path).unwrap();
    let kept = keep_pause_for_later(&path, None, Duration::ZERO).await;
    assert!(
        matches!(kept, Err(SnapshotError::Locked { .. })),
        "{kept:?}"
    );
    drop(writer);
    let (mut snapshot, _) = Snapshot::open_for_writing(&path).await.unwrap();
    let older =
        "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::query(older)
        .execute(&mut snapshot.connection)
        .await
        .unwrap();
    snapshot.close().await.unwrap();
    let kept = keep_pause_for_later(&path, None, Duration::ZERO).await;
    assert!(
        matches!(kept, Err(SnapshotError::NotYet { .. })),
        "{kept:?}"
    );
    let gone = folder.path().join("gone.db");
    let kept = keep_pause_for_later(&gone, None, Duration::ZERO).await;
    assert!(
        matches!(kept, Err(SnapshotError::NotYet { .. })),
        "{kept:?}"
    );
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|file| file.file_name().to_string_lossy().starts_with("gone"))
            .count(),
        0
    );
}

#[tokio::test]
async fn a_saved_plan_is_recorded_as_applied_once() {
    let (_folder, mut journal) = new_journal().await;
    assert_eq!(journal.last_reading().await.unwrap(), None);
    let first = journal.begin_run("test", now()).await.unwrap();
    let pulled = Pulled {
        pulls: pulls(2),
        cursors: BTreeMap::from([(
            source(),
            Cursor {
                cookie: "cookie".into(),
                fingerprint: crate::model::Digest([3; 16]),
                full_at: now(),
                entries: 2,
            },
        )]),
        deviations: Vec::new(),
        scopes: BTreeMap::new(),
        verdicts: Some(Vec::new()),
    };
    journal.record_pulls(first, &pulled).await.unwrap();
    let run = journal.begin_run("test", now()).await.unwrap();
    assert_eq!(journal.last_reading().await.unwrap(), Some(first));
    assert_eq!(journal.applied_plan("one").await.unwrap(), None);
    let applied = AppliedPlan { run, at: now() };

    journal
        .apply_plan("one", now(), applied, false)
        .await
        .unwrap();

    assert_eq!(journal.applied_plan("one").await.unwrap(), Some(applied));
    assert_eq!(journal.applied_plan("two").await.unwrap(), None);
    assert_eq!(journal.cursors().await.unwrap().len(), 1);
    assert!(
        journal
            .apply_plan("one", now(), applied, true)
            .await
            .is_err()
    );
    assert_eq!(journal.cursors().await.unwrap().len(), 1);
    journal
        .apply_plan("two", now(), applied, true)
        .await
        .unwrap();
    assert!(journal.cursors().await.unwrap().is_empty());
    journal.close().await.unwrap();
}

/// Somebody with a verdict, and the account that is wanted.
fn told(name: &str) -> Verdict {
    Verdict {
        key: Some(key(name)),
        source: Some(source()),
        dn: person(name).dn,
        kind: VerdictKind::Refused,
        sentence: format!("{name} is refused: \"it's\" wrong"),
        wants: Some(person(name)),
    }
}

async fn names_of(journal: &mut Journal, name: &str) -> Vec<String> {
    let names = match journal.meant(name).await.unwrap() {
        Meant::One(one) => vec![one],
        Meant::Several(people) | Meant::Nobody(people) => people,
    };
    names.into_iter().map(|one| one.name).collect()
}

#[tokio::test]
async fn verdicts_are_replaced_by_each_run_but_by_one_that_looks_at_some_people_only() {
    let (_folder, mut journal) = new_journal().await;
    let keyless = Verdict {
        key: None,
        wants: None,
        source: None,
        ..told("keyless")
    };
    let mut run = RunId(0);
    for (verdicts, kept) in [
        (Some(vec![told("zoe"), told("zoe"), keyless.clone()]), 3),
        (None, 3),
        (Some(vec![told("zoe")]), 1),
        (Some(Vec::new()), 0),
    ] {
        run = journal.begin_run("test", now()).await.unwrap();
        let pulled = Pulled {
            pulls: pulls(2),
            verdicts,
            ..Pulled::default()
        };
        journal.record_pulls(run, &pulled).await.unwrap();
        let mut found = 0;
        for dn in [person("zoe").dn, keyless.dn.clone()] {
            if let Meant::One(who) = journal.meant(&dn).await.unwrap() {
                let dossier = journal.dossier(who, now()).await.unwrap();
                found += dossier.verdicts.len();
                let first = &dossier.verdicts[0];
                let expected = match dossier.who.key {
                    Some(_) => told("zoe"),
                    None => keyless.clone(),
                };
                assert_eq!(first.sentence, expected.sentence);
                assert_eq!(first.wants, expected.wants);
                assert_eq!(first.source, expected.source);
            }
        }
        assert_eq!(found, kept);
    }
    // Of a source that can be followed the wish stands in the deviations.
    let cursor = Cursor {
        cookie: "cookie".into(),
        fingerprint: crate::model::Digest([3; 16]),
        full_at: now(),
        entries: 2,
    };
    let pulled = Pulled {
        cursors: BTreeMap::from([(source(), cursor)]),
        verdicts: Some(vec![told("zoe")]),
        ..Pulled::default()
    };
    journal.record_pulls(run, &pulled).await.unwrap();
    let Meant::One(who) = journal.meant("key-zoe").await.unwrap() else {
        panic!("nobody is found");
    };
    assert_eq!(
        journal.dossier(who, now()).await.unwrap().verdicts[0].wants,
        None
    );
}

#[tokio::test]
async fn thousands_of_refusals_are_recorded_each() {
    let (_folder, mut journal) = new_journal().await;
    let run = journal.begin_run("test", now()).await.unwrap();
    let pulled = Pulled {
        verdicts: Some((0..10_001).map(|n| told(&format!("p{n}"))).collect()),
        ..Pulled::default()
    };
    journal.record_pulls(run, &pulled).await.unwrap();
    assert_eq!(
        names_of(&mut journal, "p10000@example.org").await,
        ["p10000"]
    );
}

#[tokio::test]
async fn who_is_meant_is_found_by_every_name_that_a_person_has_and_told_if_there_are_several() {
    let (_folder, mut journal) = new_journal().await;
    let run = journal.begin_run("test", now()).await.unwrap();
    let elsewhere = ManagedAccount {
        dn: "uid=zoe+cn=Zo\u{eb},ou=Old, dc=example,dc=org".into(),
        ..account("zoe")
    };
    journal.note(&[elsewhere, account("ann")]).await.unwrap();
    let pulled = Pulled {
        verdicts: Some(vec![
            // Has an account, and wants another address.
            Verdict {
                wants: Some(with_mail(person("zoe"), "ann@example.org")),
                ..told("zoe")
            },
            Verdict {
                wants: None,
                ..told("mute")
            },
        ]),
        ..Pulled::default()
    };
    journal.record_pulls(run, &pulled).await.unwrap();
    for (who, expected) in [
        ("key-zoe", &["zoe"][..]),
        ("KEY-ZOE", &["zoe"]),
        ("Zoe@Example.ORG", &["zoe"]),
        ("CN=zo\u{eb}+UID=Zoe, OU=old,DC=example,DC=org", &["zoe"]),
        // Where the entry stands now.
        (&person("zoe").dn, &["zoe"]),
        (
            &person("mute").dn,
            &["uid=mute,ou=people,dc=example,dc=org"],
        ),
        // Of one the account has it, and the directory gives it to the other.
        ("ann@example.org", &["ann", "zoe"]),
        // Nobody: those with a name like that, nearest first.
        ("zoee@example.org", &["zoe"]),
        ("xyzzy-plugh", &[]),
    ] {
        assert_eq!(names_of(&mut journal, who).await, expected, "{who}");
    }
    let Meant::One(zoe) = journal.meant("key-zoe").await.unwrap() else {
        panic!("nobody is found");
    };
    assert!(zoe.has_account);
    assert_eq!(zoe.addresses, ["zoe@example.org", "ann@example.org"]);
    assert!(matches!(
        journal.meant("zoee@example.org").await,
        Ok(Meant::Nobody(_))
    ));
}

/// Records that these go out.
async fn mark_sent(journal: &mut Journal, ids: &[OperationId], at: crate::model::Timestamp) {
    let mut turn = journal.turn().await.unwrap();
    turn.send(ids.iter().copied(), at).await.unwrap();
    turn.commit().await.unwrap();
}

/// How it is known, with the answer where that is of a request that was done.
fn evidence(is_success: bool) -> Evidence {
    let done = is_success.then(|| crate::model::Exchange {
        request: "PATCH /Users/1".to_owned(),
        status: Some(200),
        request_id: None,
        error: None,
    });
    Evidence::Answers(done.into_iter().collect())
}

/// An answer to each of these operations: none for a success, else whether it is a refusal.
async fn answered(
    journal: &mut Journal,
    run: RunId,
    plan: &Plan,
    refusal: Option<bool>,
    at: crate::model::Timestamp,
) {
    let approved = plan.approve();
    let operations = approved.operations();
    let ids = journal
        .intend(run, operations.iter().map(|one| &**one), at)
        .await
        .unwrap();
    mark_sent(journal, &ids, at).await;
    let end = |operation: &Operation| match refusal {
        None => End::Done(crate::model::Answer {
            scim_id: ScimId::new(format!("scim-{}", operation.key)),
            account_id: None,
            request_id: None,
        }),
        Some(is_refusal) => End::Failed(Failure {
            error: "409: taken".to_owned(),
            is_refusal,
            is_gone: false,
        }),
    };
    let ended: Vec<Ended> = ids
        .into_iter()
        .zip(operations)
        .map(|(id, operation)| Ended {
            id,
            operation,
            end: end(operation),
            evidence: evidence(refusal.is_none()),
        })
        .collect();
    for one in &ended {
        journal.record(one, at).await.unwrap();
    }
}

#[tokio::test]
async fn refusals_in_a_row_are_counted_until_a_success_or_another_wish() {
    let (_folder, mut journal) = new_journal().await;
    let run = journal.begin_run("test", now()).await.unwrap();
    let wish = World::new(vec![person("a")], vec![]).planned();
    let minute = chrono::TimeDelta::minutes(1);
    let of = async |journal: &mut Journal| {
        let failures = journal.failures(5).await.unwrap();
        assert_eq!((failures.quarantine_after, failures.groups.len()), (5, 0));
        let failed = failures.people.get(&key("a")).cloned();
        failed.map(|failed| (failed.count, failed.first, failed.last, failed.digest))
    };
    // What is no refusal of this person's is only noted as tried in vain.
    let digest = wish.operations[0].operation.digest();
    answered(&mut journal, run, &wish, Some(false), now()).await;
    assert_eq!(of(&mut journal).await, Some((0, now(), now(), digest)));
    assert!(journal.failure_of(&key("a")).await.unwrap().is_none());
    let operation = &wish.operations[0].operation;
    let ids = journal
        .intend(run, [operation].into_iter(), now())
        .await
        .unwrap();
    let unclear = Ended {
        id: ids[0],
        operation,
        end: End::Unknown("no answer".to_owned()),
        evidence: Evidence::Answers(Vec::new()),
    };
    journal.record(&unclear, now()).await.unwrap();
    let failures = journal.failures(5).await.unwrap();
    assert_eq!(failures.people[&key("a")].in_vain, 2);
    for times in 1..4 {
        let at = now() + minute * times;
        answered(&mut journal, run, &wish, Some(true), at).await;
        let counted = (times.unsigned_abs(), now() + minute, at, digest);
        assert_eq!(of(&mut journal).await, Some(counted));
    }
    let other = World::new(vec![with_mail(person("a"), "other@example.org")], vec![]).planned();
    let digest = other.operations[0].operation.digest();
    let later = now() + minute * 9;
    answered(&mut journal, run, &other, Some(true), later).await;
    assert_eq!(of(&mut journal).await, Some((1, later, later, digest)));
    // The person has it in the dossier.
    let dossier = journal.failure_of(&key("a")).await.unwrap().unwrap();
    assert_eq!(dossier.1, other.operations[0].operation);
    answered(&mut journal, run, &other, None, later).await;
    assert_eq!(of(&mut journal).await, None);
    // A revert is asked for by somebody who sees to it.
    let mut reverting = wish.clone();
    reverting.operations[0].operation.undoes = Some(crate::model::Undoes {
        operations: Vec::new(),
        lets_go: false,
    });
    answered(&mut journal, run, &reverting, Some(true), later).await;
    assert_eq!(of(&mut journal).await, None);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn what_fails_beside_a_write_that_succeeds_counts_once_before_it_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dirsyncd.db");
    let mut journal = Journal::open(&path).await.unwrap();
    let plan = |name: &str| World::new(vec![person(name)], vec![]).planned();
    let of = async |journal: &mut Journal| {
        let people = journal.failures(5).await.unwrap().people;
        let counts = |name: &str| people.get(&key(name)).map(|one| (one.count, one.in_vain));
        (counts("a"), counts("b"))
    };
    let minute = chrono::TimeDelta::minutes(1);
    // Nothing succeeds: it may be the API.
    let run = journal.begin_run("test", now()).await.unwrap();
    answered(&mut journal, run, &plan("a"), Some(false), now()).await;
    assert_eq!(of(&mut journal).await, (Some((0, 1)), None));

    let run = journal.begin_run("test", now()).await.unwrap();
    answered(&mut journal, run, &plan("b"), Some(true), now()).await;
    let later = now() + minute;
    answered(&mut journal, run, &plan("a"), Some(false), later).await;
    assert_eq!(of(&mut journal).await, (Some((0, 2)), Some((1, 0))));
    for _ in 0..2 {
        answered(&mut journal, run, &plan("c"), None, now()).await;
        assert_eq!(of(&mut journal).await, (Some((1, 2)), Some((1, 0))));
    }
    let (failed, _) = journal.failure_of(&key("a")).await.unwrap().unwrap();
    assert_eq!((failed.first, failed.last), (later, later));
    answered(&mut journal, run, &plan("b"), Some(false), now()).await;
    assert_eq!(of(&mut journal).await, (Some((1, 2)), Some((2, 1))));

    // Unless the run ends as the API as a whole fails.
    let run = journal.begin_run("test", now()).await.unwrap();
    journal.excuse(run).await.unwrap();
    assert_eq!(of(&mut journal).await, (Some((1, 2)), Some((2, 1))));
    answered(&mut journal, run, &plan("c"), None, now()).await;
    answered(&mut journal, run, &plan("d"), Some(false), now()).await;
    journal.excuse(run).await.unwrap();
    assert_eq!(of(&mut journal).await, (Some((1, 2)), Some((2, 1))));
    let people = journal.failures(5).await.unwrap().people;
    assert_eq!((people[&key("d")].count, people[&key("d")].in_vain), (0, 1));

    // Killed: what counts does, and what does not is not counted by a success of another run.
    let run = journal.begin_run("test", now()).await.unwrap();
    answered(&mut journal, run, &plan("a"), Some(false), now()).await;
    journal.close().await.unwrap();
    let mut journal = Journal::open(&path).await.unwrap();
    assert_eq!(of(&mut journal).await, (Some((1, 3)), Some((2, 1))));
    let run = journal.begin_run("test", now()).await.unwrap();
    answered(&mut journal, run, &plan("c"), None, now()).await;
    assert_eq!(of(&mut journal).await, (Some((1, 3)), Some((2, 1))));

    // That a write of before is seen to have succeeded says nothing of this run, nor does what took none.
    let run = journal.begin_run("test", now()).await.unwrap();
    answered(&mut journal, run, &plan("a"), Some(false), now()).await;
    let read_back = plan("c");
    let operation = &read_back.operations[0].operation;
    for evidence in [Evidence::ReadBack, evidence(false)] {
        let sent = [operation].into_iter();
        let ids = journal.intend(run, sent, now()).await.unwrap();
        let seen = Ended {
            id: ids[0],
            operation,
            end: End::Done(crate::model::Answer {
                scim_id: ScimId::new("scim-c"),
                account_id: None,
                request_id: None,
            }),
            evidence,
        };
        journal.record(&seen, now()).await.unwrap();
        assert_eq!(of(&mut journal).await, (Some((1, 4)), Some((2, 1))));
    }
    journal.close().await.unwrap();
}

#[tokio::test]
async fn who_lets_what_go_again_is_kept_for_good() {
    let (_folder, mut journal) = new_journal().await;
    let run = journal.begin_run("test", now()).await.unwrap();
    let wish = World::new(vec![person("a"), person("b"), person("c")], vec![]).planned();
    answered(&mut journal, run, &wish, Some(true), now()).await;
    let asked = |reason: &str| Asked {
        reason: reason.into(),
        ..zoe()
    };
    let unknown = journal.retry(Some("nobody"), &asked(""), now()).await;
    let told = unknown.unwrap_err().to_string();
    assert!(
        told.contains("`nobody`") && told.contains("(failed: a, b, c)"),
        "{told}"
    );
    assert_eq!(journal.failures(5).await.unwrap().people.len(), 3);

    // By the address, as the directory wants it.
    let because = asked("the address is free");
    let one = journal.retry(Some("A@example.org"), &because, now()).await;
    let one = one.unwrap();
    assert_eq!((one.len(), one[0].count), (1, 1));
    assert_eq!(one[0].operation.key, key("a").as_str());
    let retries = journal.retries_of(&key("a")).await.unwrap();
    let expected = GivenRetry {
        kind: "create".into(),
        count: 1,
        by: "zoe".into(),
        reason: Some("the address is free".into()),
        at: now(),
    };
    assert_eq!(retries, [expected]);
    let rest = journal.retry(None, &asked(""), now()).await.unwrap();
    assert_eq!(rest.len(), 2);
    assert_eq!(journal.retries_of(&key("b")).await.unwrap()[0].reason, None);
    assert!(journal.failures(5).await.unwrap().people.is_empty());
    let none = journal.retry(None, &asked(""), now()).await.unwrap();
    assert!(none.is_empty());
    journal.close().await.unwrap();
}

/// All of a history.
async fn writes(journal: &mut Journal) -> Vec<Write> {
    let mut history = journal.history(Selection::default()).await.unwrap();
    let page = journal.next_writes(&mut history).await.unwrap();
    page.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_retry_is_told_of_the_first_that_was_sent_of_what_had_failed() {
    let (_folder, mut journal) = new_journal().await;
    let run = journal.begin_run("test", now()).await.unwrap();
    let wish = World::new(vec![person("a")], vec![]).planned();
    let other = World::new(vec![with_mail(person("a"), "other@example.org")], vec![]).planned();
    answered(&mut journal, run, &wish, Some(true), now()).await;
    journal.retry(None, &zoe(), now()).await.unwrap();
    // The deadline comes first, and then something else is sent.
    let operations = wish.operations.iter().map(|planned| &planned.operation);
    let ids = journal.intend(run, operations, now()).await.unwrap();
    let mut turn = journal.turn().await.unwrap();
    turn.carry_over(&ids).await.unwrap();
    turn.commit().await.unwrap();
    answered(&mut journal, run, &other, Some(true), now()).await;
    for _ in 0..2 {
        answered(&mut journal, run, &wish, None, now()).await;
    }
    let told = writes(&mut journal).await;
    let told: Vec<usize> = told.iter().map(|write| write.retries.len()).collect();
    assert_eq!(told, [0, 0, 0, 1, 0]);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn an_approval_of_an_older_version_is_told_of_what_is_of_its_kind() {
    let (_folder, mut journal) = new_journal().await;
    let run = journal.begin_run("test", now()).await.unwrap();
    let create = World::new(vec![person("a")], vec![]).planned();
    let leaver = World::new(vec![person("z")], vec![account("a"), account("z")]).planned();
    answered(&mut journal, run, &create, None, now()).await;
    answered(&mut journal, run, &leaver, None, now()).await;
    sqlx::raw_sql(
        "UPDATE operations SET digest = NULL;
         INSERT INTO holds (name, message, figures, opened_at, expires_at, first_run, last_run) VALUES ('deactivate', 'm', '{}', 1, 2, 1, 1);
         INSERT INTO approvals (hold_id, reason, asked_by, uid, asked_at, expires_at) VALUES (1, 'r', 'zoe', 1, 1, 2);
         INSERT INTO approved_operations VALUES (1, zeroblob(16), 'key-a', 'deactivate', '{}', 1, 'let_through');",
    )
    .execute(&mut journal.connection)
    .await
    .unwrap();
    let told = writes(&mut journal).await;
    let told: Vec<_> = told
        .iter()
        .map(|write| (write.what.kind(), write.approvals.len()))
        .collect();
    assert_eq!(told, [("create", 0), ("deactivate", 1)]);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn what_got_no_usable_answer_is_kept_of_groups_too_and_may_go_again() {
    let (_folder, mut journal) = new_journal().await;
    let run = journal.begin_run("test", now()).await.unwrap();
    let operation = losing("one", &["a"]).operation;
    let end = async |journal: &mut Journal, operation: &GroupOperation, end: End| {
        let sent = [operation].into_iter();
        let ids = journal.intend_groups(run, sent, now()).await.unwrap();
        mark_sent(journal, &ids, now()).await;
        let progress = GroupProgress::default();
        let ended = EndedGroup {
            id: ids[0],
            operation,
            progress,
            evidence: evidence(end == End::Done(())),
            end,
        };
        journal.record_group(&ended, now()).await.unwrap();
        let failures = journal.failures(5).await.unwrap();
        let failed = failures.groups.get(&operation.key).cloned();
        failed.map(|failed| (failed.count, failed.in_vain, failed.digest))
    };
    let unknown = || End::Unknown("no answer".to_owned());
    let failed = |is_refusal| {
        End::Failed(Failure {
            error: "403".to_owned(),
            is_refusal,
            is_gone: false,
        })
    };
    let digest = operation.digest();
    let counted = end(&mut journal, &operation, unknown()).await;
    assert_eq!(counted, Some((0, 1, digest)));
    let counted = end(&mut journal, &operation, failed(false)).await;
    assert_eq!(counted, Some((0, 2, digest)));
    let counted = end(&mut journal, &operation, failed(true)).await;
    assert_eq!(counted, Some((1, 0, digest)));
    // To read it back and see nothing is no end.
    let counted = end(&mut journal, &operation, End::Left).await;
    assert_eq!(counted, Some((1, 0, digest)));
    assert_eq!(end(&mut journal, &operation, End::Done(())).await, None);
    // Whoever reverts a run sees to it.
    let mut reverting = operation.clone();
    reverting.undoes = Some(crate::model::Undoes {
        operations: Vec::new(),
        lets_go: false,
    });
    assert_eq!(end(&mut journal, &reverting, unknown()).await, None);

    // Beside the success of before it fails by itself, and in another run not.
    let counted = end(&mut journal, &operation, unknown()).await;
    assert_eq!(counted, Some((1, 1, digest)));
    end(&mut journal, &operation, End::Done(())).await;
    let run = journal.begin_run("test", now()).await.unwrap();
    end(&mut journal, &operation, unknown()).await;
    let wish = World::new(vec![person("a")], vec![]).planned();
    answered(&mut journal, run, &wish, Some(false), now()).await;
    let let_go = journal.retry(Some("ONE"), &zoe(), now()).await.unwrap();
    assert_eq!((let_go[0].count, let_go[0].in_vain), (0, 1));
    assert_eq!(journal.retry(None, &zoe(), now()).await.unwrap().len(), 1);
    assert_eq!(journal.retries_of(&key("a")).await.unwrap()[0].count, 0);
    let failures = journal.failures(5).await.unwrap();
    assert!(failures.people.is_empty() && failures.groups.is_empty());
    journal.close().await.unwrap();
}

#[tokio::test]
async fn since_when_a_login_waits_to_be_turned_off_is_kept_until_it_is() {
    let (_folder, mut journal) = new_journal().await;
    let accounts = || vec![account("a"), account("b"), account("z")];
    let mut world = World::new(vec![person("z")], accounts());
    let day = chrono::TimeDelta::days(1);
    let run = journal.begin_run("test", now()).await.unwrap();
    journal.note(&accounts()).await.unwrap();
    for (later, plan) in [(0, world.planned()), (1, world.planned())] {
        let at = now() + day * later;
        journal.record_pending(run, &plan, at).await.unwrap();
        let pending = journal.pending_deactivations().await.unwrap();
        let since: Vec<_> = pending.values().map(|one| one.since).collect();
        assert_eq!(since, [Some(now()), Some(now())]);
    }
    world.pending = journal.pending_deactivations().await.unwrap();
    world.people.push(person("b"));
    let plan = world.planned();
    journal
        .record_pending(run, &plan, now() + day)
        .await
        .unwrap();
    let pending = journal.pending_deactivations().await.unwrap();
    assert_eq!(pending.keys().collect::<Vec<_>>(), [&key("a")]);
    answered(&mut journal, run, &plan, None, now()).await;
    assert!(journal.pending_deactivations().await.unwrap().is_empty());
    journal.close().await.unwrap();
}

#[tokio::test]
async fn what_is_left_run_by_run_is_in_the_journal_once() {
    let (_folder, mut journal) = new_journal().await;
    let count = async |journal: &mut Journal| -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM operations WHERE state = 'left'")
            .fetch_one(&mut journal.connection)
            .await
            .unwrap()
    };
    let leave = async |journal: &mut Journal, plan: &Plan| {
        let run = journal.begin_run("test", now()).await.unwrap();
        let approved = plan.approve();
        let operations = approved.operations().iter().map(|one| &**one);
        let ids = journal.intend(run, operations, now()).await.unwrap();
        let mut turn = journal.turn().await.unwrap();
        turn.carry_over(&ids).await.unwrap();
        turn.commit().await.unwrap();
    };
    let wish = World::new(vec![person("a"), person("b")], vec![]).planned();
    for _ in 0..3 {
        leave(&mut journal, &wish).await;
        assert_eq!(count(&mut journal).await, 2);
    }
    let keys = [key("a"), key("b")];
    let attempted = journal.attempted_creations(&[&keys[0], &keys[1]]).await;
    assert_eq!(attempted.unwrap().len(), 2);
    let other = with_mail(person("a"), "other@example.org");
    let other = World::new(vec![other, person("b")], vec![]).planned();
    leave(&mut journal, &other).await;
    assert_eq!(count(&mut journal).await, 3);
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_history_is_read_page_by_page_each_write_once_while_the_journal_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dirsyncd.db");
    let mut journal = Journal::open(&path).await.unwrap();
    let minute = chrono::TimeDelta::minutes(1);
    let people: Vec<_> = (0..1234).map(|n| person(&format!("p{n:04}"))).collect();
    let wish = World::new(people, vec![]).planned();
    let operations = || wish.operations.iter().map(|planned| &planned.operation);
    let run = journal.begin_run("test", now()).await.unwrap();
    journal.intend(run, operations(), now()).await.unwrap();
    let other = journal.begin_run("other", now() + minute).await.unwrap();
    let some: Vec<&Operation> = operations().take(3).collect();
    let ids = journal
        .intend(other, some.iter().copied(), now() + minute)
        .await
        .unwrap();

    let mut snapshot = Snapshot::open_for_reading(&path).await.unwrap();
    let mut history = snapshot.history(Selection::default()).await.unwrap();
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        // What is recorded meanwhile is not in it, and what goes out is there once.
        journal
            .intend(other, some.iter().copied(), now())
            .await
            .unwrap();
        mark_sent(&mut journal, &ids, now() + minute * 2).await;
        let page = snapshot.next_writes(&mut history).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 500);
        pages += 1;
        let page = page.into_iter().map(Result::unwrap);
        seen.extend(page.map(|write| (write.id, write.end)));
    }
    assert_eq!((seen.len(), pages), (1237, 3));
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let sent = seen.iter().filter(|(_, end)| *end == WriteEnd::Unanswered);
    assert_eq!(sent.count(), 3);

    let count = async |snapshot: &mut Snapshot, selection: Selection| {
        let mut history = snapshot.history(selection).await.unwrap();
        let mut count = 0;
        loop {
            match snapshot.next_writes(&mut history).await.unwrap().len() {
                0 => return count,
                page => count += page,
            }
        }
    };
    let since = Some(now() + minute * 2);
    let selection = Selection {
        since,
        ..Selection::default()
    };
    assert_eq!(count(&mut snapshot, selection).await, 3);
    let selection = Selection {
        newest: Some(700),
        run: Some(run),
        ..Selection::default()
    };
    assert_eq!(count(&mut snapshot, selection).await, 700);
}

#[tokio::test]
async fn a_run_with_a_clock_ahead_hides_nothing_from_a_history() {
    let (_folder, mut journal) = new_journal().await;
    let wish = World::new(vec![person("a")], vec![]).planned();
    let year = chrono::TimeDelta::days(365);
    for at in [now() + year * 3, now(), now() + year * 2] {
        let run = journal.begin_run("test", at).await.unwrap();
        let operations = wish.operations.iter().map(|planned| &planned.operation);
        journal.intend(run, operations, at).await.unwrap();
    }
    for (since, expected) in [(0, 3), (1, 2), (3, 1), (4, 0)] {
        let since = Some(now() + year * since);
        let selection = Selection {
            since,
            ..Selection::default()
        };
        let mut history = journal.history(selection).await.unwrap();
        let page = journal.next_writes(&mut history).await.unwrap();
        assert_eq!(page.len(), expected, "{since:?}");
    }
}
