//! Whatever ends a run, the next one finishes the work, and nothing is done twice.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::organization::{Mark, Request};
use crate::support::{Person, SOON, World, database, eventually};

const PEOPLE: usize = 24;

/// How often each account was made since the mark: external id and number of answers 201.
fn creations(world: &World, mark: Mark) -> BTreeMap<String, usize> {
    let mut made = BTreeMap::new();
    for request in world.organization.writes_since(mark) {
        if request.is_create() && request.status == Some(201) {
            let key = request.body["externalId"].as_str().unwrap().to_owned();
            *made.entry(key).or_default() += 1;
        }
    }
    made
}

fn posts(world: &World, mark: Mark) -> Vec<Request> {
    let mut requests = world.organization.writes_since(mark);
    requests.retain(Request::is_create);
    requests
}

/// Everybody has one account, and nothing is left to do.
#[track_caller]
fn expect_everybody_once(world: &World, people: &[Person]) {
    world.dirsyncd.expect_nothing_to_do();
    let accounts = world.organization.accounts();
    assert_eq!(accounts.len(), people.len());
    for person in people {
        assert!(world.account(person).active);
    }
}

#[test]
fn a_sync_that_is_asked_to_stop_records_what_is_under_way_and_the_next_does_the_rest() {
    let people = Person::several(PEOPLE);
    let world = World::of(&people);
    world.organization.slow_writes(700);
    let mark = world.organization.mark();
    let sync = world.dirsyncd.start(&["sync"]);
    eventually("more than go out at first", SOON, || {
        (posts(&world, mark).len() > 8).then_some(())
    });

    sync.signal("TERM");
    let output = sync.wait_within(Duration::from_secs(10)).expect_code(0);

    let done = world.organization.accounts().len();
    let left = PEOPLE - done;
    assert!(done > 8 && left > 0, "{done}");
    let told = format!(
        "Done: {done} applied, {left} left for the next run ({left} create); the run was asked to stop."
    );
    output.expect_words(&[&told]);
    assert_eq!(database::accounts(&world.dirsyncd.database()).len(), done);
    world.organization.heal();
    let output = world.dirsyncd.sync(0);
    let told = format!("Done: {left} applied.");
    assert!(output.stdout.contains(&told), "{output}");
    expect_everybody_once(&world, &people);
    assert_eq!(posts(&world, mark).len(), PEOPLE);
}

#[test]
fn a_sync_that_is_asked_to_stop_before_it_sends_anything_sends_nothing() {
    let world = World::of(&Person::four());
    world.organization.faults(&json!([
        {"match": "^GET .*/ServiceProviderConfig$", "times": 1, "delay_ms": 3000}
    ]));
    let mark = world.organization.mark();
    let sync = world.dirsyncd.start(&["sync"]);
    eventually("the first request", SOON, || {
        world.organization.requests_since(mark).first().cloned()
    });

    sync.signal("TERM");

    sync.wait_within(Duration::from_secs(2)).expect_code(0);
    assert!(world.organization.writes_since(mark).is_empty());
    world.dirsyncd.sync(0);
    world.dirsyncd.expect_nothing_to_do();
}

/// The states of the operations of the last run: how many of each, and how many have been sent.
fn states(world: &World) -> Vec<String> {
    let query = "SELECT state || ' ' || count(*) || ', sent ' || count(sent_at) FROM operations
        WHERE run_id = (SELECT max(id) FROM runs) GROUP BY state ORDER BY state";
    database::texts(&world.dirsyncd.database(), query)
}

/// Everybody gets another title.
fn promote(world: &World, people: &[Person], title: &str) {
    for person in people {
        world.slapd.replace(&person.dn(), &[("title", title)]);
    }
}

fn wait_for_answers(world: &World, mark: Mark) {
    eventually("the requests under way", SOON, || {
        let writes = world.organization.writes_since(mark);
        writes.iter().all(|one| one.status.is_some()).then_some(())
    });
}

/// What is asked to stop ends within this time.
const IN_TIME: Duration = Duration::from_secs(10);
/// What waits for nothing ends at once, also on a machine that has other things to do.
const AT_ONCE: Duration = Duration::from_secs(4);

#[test]
fn an_answer_that_does_not_come_is_not_waited_for_by_who_is_asked_to_stop() {
    let people = Person::several(12);
    let mut world = World::of(&people);
    world.dirsyncd.rest = "[guards]\nupdate = []\nsame_attribute = []\ncreate = []\n".to_owned();
    world.dirsyncd.sync(0);
    promote(&world, &people, "Director");
    let newcomers = Person::several(24)[12..].to_vec();
    for (kind, is_new) in [("update", false), ("create", true)] {
        if is_new {
            for person in &newcomers {
                world.slapd.add(person);
            }
        }
        world.organization.slow_writes(12_000);
        let mark = world.organization.mark();
        let sync = world.dirsyncd.start(&["sync"]);
        eventually("the first batch", SOON, || {
            (world.organization.writes_since(mark).len() == 8).then_some(())
        });

        sync.signal("TERM");

        sync.wait_within(IN_TIME).expect_code(0).expect_words(&[
            &format!("Done: 0 applied, 4 left for the next run (4 {kind}); the run was asked to stop."),
            "Operations whose answer was not waited for: 8; the next run reads back what became of them.",
        ]);
        assert_eq!(states(&world), ["left 4, sent 0", "sent 8, sent 8"]);
        let failures = database::texts(
            &world.dirsyncd.database(),
            "SELECT external_id FROM failures",
        );
        assert!(failures.is_empty(), "{failures:?}");
        // They arrive although nobody waits for the answer.
        wait_for_answers(&world, mark);
        world.organization.heal();
        world.dirsyncd.sync(0).expect_words(&["Done: 4 applied."]);
        assert_eq!(world.organization.writes_since(mark).len(), 12);
        world.dirsyncd.expect_nothing_to_do();
    }
    let title = |person: &Person| world.account(person).title;
    assert!(
        people
            .iter()
            .all(|one| title(one).as_deref() == Some("Director"))
    );
    assert_eq!(world.organization.accounts().len(), 24);
}

#[test]
fn who_is_asked_to_stop_does_not_wait_until_a_request_may_be_repeated() {
    let people = Person::several(12);
    let mut world = World::of(&people);
    world.dirsyncd.rest = "[guards]\nupdate = []\nsame_attribute = []\ncreate = []\n".to_owned();
    world.dirsyncd.sync(0);
    let wait = json!({"Retry-After": "50"});
    // Of a throttled request it is known that it had no effect, of another that failed it is not.
    for (status, title) in [(429, "Director"), (503, "Countess")] {
        promote(&world, &people, title);
        world.organization.faults(&json!([
            {"match": "^PATCH ", "times": 1000, "status": status, "headers": wait}
        ]));
        let mark = world.organization.mark();
        let sync = world.dirsyncd.start(&["sync"]);
        eventually("the first answer", SOON, || {
            let writes = world.organization.writes_since(mark);
            writes.iter().any(|one| one.status.is_some()).then_some(())
        });

        sync.signal("TERM");

        let output = sync.wait_within(AT_ONCE).expect_code(0);
        // What had gone out with the first one; all of it was answered.
        let sent = world.organization.writes_since(mark).len();
        assert!((1..=8).contains(&sent), "{sent}");
        let (left, expected) = match status {
            429 => (12, vec!["left 12, sent 0".to_owned()]),
            _ => {
                let left = format!("left {}, sent 0", 12 - sent);
                (12 - sent, vec![left, format!("sent {sent}, sent {sent}")])
            }
        };
        let words = format!(
            "Done: 0 applied, {left} left for the next run ({left} update); the run was asked to stop."
        );
        output.expect_words(&[&words]);
        assert_eq!(states(&world), expected, "{status}");
        let noted = "SELECT kind FROM operations WHERE requests IS NOT NULL AND run_id = (SELECT max(id) FROM runs)";
        let noted = database::texts(&world.dirsyncd.database(), noted);
        assert_eq!(noted.len(), sent, "{status}");
        world.organization.heal();
        world.dirsyncd.sync(0).expect_words(&["Done: 12 applied."]);
        world.dirsyncd.expect_nothing_to_do();
    }
    // Nor until the configured rate allows the next one.
    promote(&world, &people, "Analyst");
    world
        .dirsyncd
        .organization
        .push_str("requests_per_second = 1\n");
    let mark = world.organization.mark();
    let sync = world.dirsyncd.start(&["sync"]);
    eventually("some requests", SOON, || {
        let writes = world.organization.writes_since(mark);
        (writes.len() == 2).then_some(())
    });
    sync.signal("TERM");
    sync.wait_within(AT_ONCE).expect_code(0);
    let sent = world.organization.writes_since(mark).len();
    assert!(sent < 5, "{sent}");
    let [done, left] = &states(&world)[..] else {
        panic!("{:?}", states(&world));
    };
    assert_eq!(*done, format!("done {sent}, sent {sent}"));
    assert_eq!(*left, format!("left {}, sent 0", 12 - sent));
}

#[test]
fn a_daemon_that_is_throttled_ends_when_it_is_asked_to() {
    let people = Person::several(4);
    let mut world = World::of(&people);
    world.dirsyncd.sync(0);
    promote(&world, &people, "Director");
    world.organization.faults(&json!([
        {"match": "^PATCH ", "times": 1000, "status": 429, "headers": {"Retry-After": "40"}}
    ]));
    world.dirsyncd.rest = "[schedule]\nsync = \"* * * * * *\"\n".to_owned();
    let mark = world.organization.mark();
    let daemon = world.dirsyncd.start(&["run"]);
    eventually("the first answer", SOON, || {
        let writes = world.organization.writes_since(mark);
        writes.iter().any(|one| one.status.is_some()).then_some(())
    });

    daemon.signal("TERM");

    daemon.wait_within(AT_ONCE).expect_code(0);
    assert_eq!(states(&world), ["left 4, sent 0"]);
    world.organization.heal();
    world.dirsyncd.sync(0).expect_words(&["Done: 4 applied."]);
}

#[test]
fn a_change_whose_answer_was_lost_is_read_back_although_it_could_not_be_sent_again() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    world.slapd.replace(&ada.dn(), &[("title", "Countess")]);
    world.organization.faults(&json!([
        {"match": "^PATCH ", "times": 1, "cut": "after"},
        {"match": "^PATCH ", "times": 1, "status": 429, "headers": {"Retry-After": "120"}}
    ]));

    world.dirsyncd.sync(4).expect_words(&[
        "got no answer",
        "whether it took effect is read back by the next run",
    ]);
    assert_eq!(states(&world), ["sent 1, sent 1"]);

    let mark = world.organization.mark();
    world.dirsyncd.sync(0);
    assert!(world.organization.writes_since(mark).is_empty());
    assert_eq!(world.account(ada).title.as_deref(), Some("Countess"));
}

#[test]
fn after_kill_9_at_any_moment_everybody_has_one_account() {
    // In the first batch, at the border of two, in the last one.
    for moment in [1, 8, 9, PEOPLE] {
        let people = Person::several(PEOPLE);
        let world = World::of(&people);
        world.organization.slow_writes(150);
        let mark = world.organization.mark();
        let sync = world.dirsyncd.start(&["sync"]);
        eventually("the moment", SOON, || {
            (posts(&world, mark).len() >= moment).then_some(())
        });

        sync.signal("KILL");
        assert_eq!(sync.wait().code, None);
        // What had arrived is carried out, although nobody waits for the answer.
        eventually("the requests under way", SOON, || {
            let posts = posts(&world, mark);
            posts.iter().all(|post| post.status.is_some()).then_some(())
        });
        world.organization.heal();
        let made_before = posts(&world, mark).len();
        let planned = world.dirsyncd.plan().count("create");
        assert_eq!(planned, PEOPLE - made_before, "killed at {moment}");
        world.dirsyncd.sync(0);

        expect_everybody_once(&world, &people);
        let creations = creations(&world, mark);
        assert_eq!(creations.len(), PEOPLE);
        assert!(creations.values().all(|times| *times == 1), "{creations:?}");
        assert_eq!(posts(&world, mark).len(), PEOPLE, "killed at {moment}");
    }
}

#[test]
fn requests_that_a_killed_sync_left_under_way_make_nobody_twice() {
    let people = Person::several(PEOPLE);
    let world = World::of(&people);
    world.organization.slow_writes(800);
    let mark = world.organization.mark();
    let sync = world.dirsyncd.start(&["sync"]);
    eventually("some requests", SOON, || {
        (posts(&world, mark).len() >= 8).then_some(())
    });
    sync.signal("KILL");
    assert_eq!(sync.wait().code, None);
    world.organization.heal();

    // The requests of the killed sync arrive while this one is at work: each account is made by
    // one of the two, and whoever comes too late fails or finds it.
    let code = world.dirsyncd.run(&["sync"]).code;
    assert!(matches!(code, Some(0 | 4)), "{code:?}");
    eventually("the requests under way", SOON, || {
        let posts = posts(&world, mark);
        posts.iter().all(|post| post.status.is_some()).then_some(())
    });
    world.dirsyncd.sync(0);

    expect_everybody_once(&world, &people);
    let creations = creations(&world, mark);
    assert!(creations.values().all(|times| *times == 1), "{creations:?}");
}

#[test]
fn changes_and_departures_survive_kill_9() {
    let people = Person::several(PEOPLE);
    let mut world = World::of(&people);
    world.dirsyncd.rest = "[guards]\ndeactivate = { at_most = 24 }\n".to_owned();
    world.dirsyncd.sync(0);
    for person in &people[..6] {
        world.slapd.delete(&person.dn());
    }
    for person in &people[6..] {
        world.slapd.replace(&person.dn(), &[("title", "Director")]);
    }
    world.organization.slow_writes(150);
    let mark = world.organization.mark();
    let sync = world.dirsyncd.start(&["sync"]);
    eventually("the moment", SOON, || {
        (world.organization.writes_since(mark).len() >= 10).then_some(())
    });
    sync.signal("KILL");
    sync.wait();
    eventually("the requests under way", SOON, || {
        let writes = world.organization.writes_since(mark);
        writes.iter().all(|one| one.status.is_some()).then_some(())
    });
    world.organization.heal();

    world.dirsyncd.sync(0);

    world.dirsyncd.expect_nothing_to_do();
    assert!(
        people[..6]
            .iter()
            .all(|person| !world.account(person).active)
    );
    for person in &people[6..] {
        assert_eq!(world.account(person).title.as_deref(), Some("Director"));
    }
    assert_eq!(world.organization.writes_since(mark).len(), PEOPLE);
}

#[test]
fn a_deletion_whose_answer_was_lost_is_not_requested_anew() {
    for cut in ["before", "after"] {
        let mut world = World::of(&Person::four());
        world.dirsyncd.rest = "[policy]\ndelete_after = \"0s\"\n".to_owned();
        world.dirsyncd.sync(0);
        world.slapd.delete(&Person::four()[0].dn());
        world.dirsyncd.sync(0);
        world.organization.faults(&json!([
            {"match": "^POST .*/lifecycle/delete$", "times": 1, "cut": cut}
        ]));
        let mark = world.organization.mark();

        world.dirsyncd.sync(4).expect_words(&["got no answer"]);
        world.dirsyncd.sync(0);

        world.dirsyncd.expect_nothing_to_do();
        let accepted = world.organization.writes_since(mark);
        let accepted = accepted
            .iter()
            .filter(|request| request.status == Some(200));
        // With the first request carried out, the second one is told so by a conflict.
        assert_eq!(accepted.count(), usize::from(cut == "before"), "cut {cut}");
    }
}

#[test]
fn an_account_whose_answer_was_lost_is_looked_for_before_it_is_sent_again() {
    for (cut, sent) in [("before", 12 + 3), ("after", 12)] {
        let people = Person::several(12);
        let world = World::of(&people);
        world.organization.faults(&json!([
            {"match": "^POST .*/Users$", "times": 3, "cut": cut}
        ]));
        let mark = world.organization.mark();

        world.dirsyncd.sync(0);

        expect_everybody_once(&world, &people);
        assert_eq!(posts(&world, mark).len(), sent, "cut {cut}");
    }
}

#[test]
fn accounts_that_cannot_be_looked_for_either_are_settled_by_the_next_sync() {
    let people = Person::several(12);
    let world = World::of(&people);
    // The first batch takes its time; with the second one the answers are lost and reading fails.
    world.organization.faults(&json!([
        {"match": "^POST .*/Users$", "times": 8, "delay_ms": 1000},
        {"match": "^POST .*/Users$", "times": 100, "cut": "after"}
    ]));
    let mark = world.organization.mark();
    let sync = world.dirsyncd.start(&["sync"]);
    eventually("the first batch", SOON, || {
        (posts(&world, mark).len() == 8).then_some(())
    });
    world.organization.faults(&json!([
        {"match": "^GET .*/Users$", "times": 1000, "status": 403}
    ]));

    sync.wait().expect_code(4).expect_words(&[
        "Failed (4)",
        "got no answer",
        "whether it took effect is read back by the next run",
        "Done: 8 applied, 4 failed",
    ]);

    world.organization.heal();
    assert_eq!(world.organization.accounts().len(), 12);
    world.dirsyncd.expect_nothing_to_do();
    world.dirsyncd.sync(0);
    expect_everybody_once(&world, &people);
    assert_eq!(posts(&world, mark).len(), 12);
}

#[test]
fn a_change_whose_answer_was_lost_is_sent_again_or_settled_by_the_next_sync() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    for (title, lost, code) in [("Countess", 1, 0), ("Analyst", 5, 4)] {
        world.slapd.replace(&ada.dn(), &[("title", title)]);
        world.organization.faults(&json!([
            {"match": "^PATCH ", "times": lost, "cut": "after"}
        ]));

        world.dirsyncd.sync(code);
        world.dirsyncd.expect_nothing_to_do();
        let mark = world.organization.mark();
        world.dirsyncd.sync(0);

        assert_eq!(world.account(ada).title.as_deref(), Some(title));
        assert!(world.organization.writes_since(mark).is_empty());
    }
}

#[test]
fn one_account_that_the_organization_refuses_stops_nobody_else() {
    let world = World::of(&Person::four());
    world.organization.faults(&json!([
        {"match": "^POST .*/Users$", "times": 1, "status": 403, "body": {"detail": "not this one"}}
    ]));

    world.dirsyncd.sync(4).expect_words(&[
        "Failed (1)",
        "not this one",
        "Done: 3 applied, 1 failed.",
    ]);

    assert_eq!(world.organization.accounts().len(), 3);
    database::wait(&world.dirsyncd.database(), 10);
    world.dirsyncd.sync(0);
    expect_everybody_once(&world, &Person::four());
}

#[test]
fn a_throttled_or_busy_organization_is_waited_for() {
    let world = World::of(&Person::four());
    world.organization.faults(&json!([
        {"match": "^GET .*/ServiceProviderConfig$", "times": 2, "status": 503},
        {"match": "^POST .*/Users$", "times": 3, "status": 429, "headers": {"Retry-After": "1"}}
    ]));

    world.dirsyncd.sync(0);

    expect_everybody_once(&world, &Person::four());
}

#[test]
fn an_organization_that_fails_everything_ends_the_run() {
    let people = Person::several(60);
    let world = World::of(&people);
    world.organization.faults(&json!([
        {"match": "^POST .*/Users$", "times": 1000, "status": 500}
    ]));
    let mark = world.organization.mark();

    world
        .dirsyncd
        .sync(4)
        .expect_words(&["left for the next run", "the run ended early"]);

    assert!(posts(&world, mark).len() < 60);
    world.organization.heal();
    world.dirsyncd.sync(0);
    expect_everybody_once(&world, &people);
}
