//! What fails for one person stops nobody else: it is tried again later, and in the end only if somebody
//! says so.

use serde_json::{Value, json};

use crate::support::people::directory;
use crate::support::{Dirsyncd, Organization, Person, World, database};

/// From now on these requests are refused for what they do to this account, or this group.
fn refuse(organization: &Organization, requests: &str) {
    organization.faults(&json!([{
        "match": requests,
        "times": 100_000,
        "status": 403,
        "body": {"key": "forbidden.by-policy", "message": "not this one"},
    }]));
}

/// The last failures are so many minutes longer ago.
fn wait(dirsyncd: &Dirsyncd, minutes: u32) {
    database::wait(&dirsyncd.database(), minutes);
}

fn summary(dirsyncd: &Dirsyncd, code: i32) -> Value {
    let told = dirsyncd
        .run(&["sync", "--format", "json"])
        .expect_code(code);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    told["summary"].clone()
}

#[test]
fn one_person_is_put_off_then_in_quarantine_and_goes_when_somebody_says_so() {
    let mut people = Person::four();
    let mut world = World::synced(&people);
    world.dirsyncd.rest = "[apply]\nquarantine_after = 3\n".to_owned();
    let ada = world.account(&people[0]);
    refuse(
        &world.organization,
        &format!("^PATCH .*/Users/{}", ada.scim_id),
    );
    for person in &mut people[..2] {
        "Director".clone_into(&mut person.title);
        let dn = person.dn();
        world.slapd.replace(&dn, &[("title", "Director")]);
    }

    // The other one goes.
    world.dirsyncd.sync(4).expect_words(&[
        "Done: 1 applied, 1 failed.",
        "was refused with 403: forbidden.by-policy: not this one",
    ]);
    assert_eq!(world.account(&people[1]).title.as_deref(), Some("Director"));
    let mark = world.organization.mark();
    let put_off = world.dirsyncd.plan();
    assert_eq!(put_off.code, 0);
    let skipped = &put_off.list("skipped")[0];
    assert_eq!(skipped["failing"]["count"], 1);
    assert_eq!(skipped["failing"]["kind"], "update");
    assert!(skipped["failing"]["next_try"].is_string());
    assert_eq!(put_off.json["summary"]["waiting"], 1);
    world.dirsyncd.sync(0).expect_words(&[
        "the update failed once, last at ",
        "it is tried again from ",
        &format!("or now by: dirsyncd retry {}", people[0].key()),
    ]);
    assert_eq!(world.organization.writes_since(mark).len(), 0);

    for minutes in [10, 20] {
        wait(&world.dirsyncd, minutes - 1);
        world.dirsyncd.sync(0);
        wait(&world.dirsyncd, 1);
        world.dirsyncd.sync(4).expect_words(&["1 failed"]);
    }
    assert_eq!(world.organization.writes_since(mark).len(), 2);

    // From now on only if somebody says so, and loudly.
    world.organization.heal();
    wait(&world.dirsyncd, 1_000_000);
    let mark = world.organization.mark();
    let words = "in quarantine: the update failed 3 times in a row";
    let plan = world.dirsyncd.plan();
    assert_eq!(plan.code, 3);
    assert_eq!(plan.json["summary"]["quarantined"], 1);
    assert!(plan.list("refused")[0]["failing"]["next_try"].is_null());
    world.dirsyncd.sync(3).expect_words(&[words, "1 refused"]);
    assert_eq!(world.organization.writes_since(mark).len(), 0);
    let ada = people[0].mail.clone().unwrap();
    let explained = world.dirsyncd.run(&["explain", &ada, "--width", "1000"]);
    assert_eq!(explained.stdout.matches(words).count(), 1, "{explained}");

    world
        .dirsyncd
        .run(&["retry", "nobody@example.org"])
        .expect_code(2)
        .expect_words(&[
            "nothing waits for another try that is of `nobody@example.org`",
            "(failed: Ada Lovelace)",
        ]);
    world.dirsyncd.run(&["retry"]).expect_code(2);
    world
        .dirsyncd
        .run(&["retry", &ada, "--reason", "the policy was wrong"])
        .expect_code(0)
        .expect_words(&[
            "Let go again, by the next sync that plans the same: 1 operation.",
            "failed 3 times in a row",
        ]);
    world.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    world.dirsyncd.expect_nothing_to_do();
    assert_eq!(world.account(&people[0]).title.as_deref(), Some("Director"));
    let kept = database::texts(
        &world.dirsyncd.database(),
        "SELECT reason || ' ' || count || ' ' || (asked_by <> '') FROM retries",
    );
    assert_eq!(kept, ["the policy was wrong 3 1"]);
    world
        .dirsyncd
        .run(&["explain", &ada, "--width", "1000"])
        .expect_words(&[
            "update let go again by ",
            "(the policy was wrong), after 3 failures in a row",
        ]);
    world
        .dirsyncd
        .run(&["retry", "--all"])
        .expect_code(0)
        .expect_words(&["Nothing waits"]);
}

#[test]
fn what_is_known_of_a_refusal_is_told_before_another_run() {
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&Person::four()));
    dirsyncd.rest = "[apply]\nquarantine_after = 1\n".to_owned();
    refuse(&organization, "^POST .*/Users$");
    dirsyncd
        .sync(4)
        .expect_words(&["Done: 0 applied, 4 failed."]);
    dirsyncd
        .run(&["explain", "ada@example.org", "--width", "1000"])
        .expect_words(&["refused     in quarantine: the create failed once"]);
    organization.heal();
    // What the directory wants else is tried at once.
    let mut people = Person::four();
    people[0].mail = Some("countess@example.org".to_owned());
    dirsyncd.write_ldif(&directory(&people));
    dirsyncd
        .sync(3)
        .expect_words(&["Done: 1 applied.", "3 refused"]);
    dirsyncd
        .run(&["retry", "--all"])
        .expect_code(0)
        .expect_words(&["3 operations"]);
    dirsyncd.sync(0).expect_words(&["Done: 3 applied."]);
    dirsyncd.expect_nothing_to_do();
}

#[test]
fn what_fails_each_time_for_one_alone_is_put_off_then_in_quarantine_and_goes_when_somebody_says_so()
{
    for fault in [
        json!({"status": 500}),
        json!({"cut": "before"}),
        // No more than that the key has not the right.
        json!({"status": 403}),
        // A gateway loses its way to an account that is there.
        json!({"status": 404}),
    ] {
        let mut people = Person::several(4);
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        dirsyncd.rest = "[apply]\nquarantine_after = 2\n".to_owned();
        dirsyncd.sync(0);
        let bad = organization.of_key(&people[0].key()).unwrap();
        let mut rule =
            json!({"match": format!("^PATCH .*/Users/{}", bad.scim_id), "times": 100_000});
        rule.as_object_mut()
            .unwrap()
            .extend(fault.as_object().unwrap().clone());
        organization.faults(&json!([rule]));
        "Director".clone_into(&mut people[0].title);
        // Somebody else's change goes each time.
        let mut change = |dirsyncd: &Dirsyncd, at: usize, title: &str| {
            title.clone_into(&mut people[at].title);
            dirsyncd.write_ldif(&directory(&people));
        };

        change(&dirsyncd, 1, "Analyst");
        dirsyncd
            .sync(4)
            .expect_words(&["Done: 1 applied, 1 failed."]);
        change(&dirsyncd, 2, "Analyst");
        wait(&dirsyncd, 9);
        let mark = organization.mark();
        dirsyncd.sync(0).expect_words(&[
            "Done: 1 applied.",
            "the update failed once, last at ",
            "it is tried again from ",
        ]);
        assert_eq!(organization.writes_since(mark).len(), 1, "{fault}");
        change(&dirsyncd, 3, "Analyst");
        wait(&dirsyncd, 1);
        dirsyncd
            .sync(4)
            .expect_words(&["Done: 1 applied, 1 failed."]);
        wait(&dirsyncd, 1_000_000);
        let mark = organization.mark();
        let words = "in quarantine: the update failed 2 times in a row";
        dirsyncd.sync(3).expect_words(&[words, "dirsyncd retry "]);
        assert!(organization.writes_since(mark).is_empty(), "{fault}");
        dirsyncd
            .run(&["explain", &bad.email, "--width", "1000"])
            .expect_words(&[words]);

        organization.heal();
        dirsyncd.sync(3);
        dirsyncd
            .run(&["retry", &bad.email])
            .expect_code(0)
            .expect_words(&["failed 2 times in a row"]);
        dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
        dirsyncd.expect_nothing_to_do();
        let title = organization
            .of_key(&bad.external_id.unwrap())
            .unwrap()
            .title;
        assert_eq!(title.as_deref(), Some("Director"));
    }
}

#[test]
fn what_took_effect_without_an_answer_is_read_back_before_it_is_in_quarantine() {
    let organization = Organization::start();
    let mut people = Person::several(2);
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.rest = "[apply]\nquarantine_after = 1\n".to_owned();
    dirsyncd.sync(0);
    let account = organization.of_key(&people[0].key()).unwrap();
    organization.faults(&json!([
        {"match": format!("^PATCH .*/Users/{}", account.scim_id), "times": 100, "cut": "after"}
    ]));
    for person in &mut people {
        "Director".clone_into(&mut person.title);
    }
    dirsyncd.write_ldif(&directory(&people));
    dirsyncd
        .sync(4)
        .expect_words(&["Done: 1 applied, 1 failed."]);
    let counts = "SELECT count || '' FROM failures";
    assert_eq!(database::texts(&dirsyncd.database(), counts), ["1"]);
    organization.heal();

    let mark = organization.mark();
    dirsyncd.sync(0).expect_words(&["Nothing to do"]);
    assert!(organization.writes_since(mark).is_empty());
    assert!(database::texts(&dirsyncd.database(), counts).is_empty());
}

#[test]
fn a_deactivation_that_fails_beside_others_is_tried_on_and_on() {
    let mut people = Person::several(4);
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.rest = "[apply]\nquarantine_after = 1\n".to_owned();
    dirsyncd.sync(0);
    let gone = people.remove(0);
    let account = organization.of_key(&gone.key()).unwrap();
    organization.faults(&broken(&[&format!("^PATCH .*/Users/{}", account.scim_id)]));
    for (at, person) in (0..).zip(["Analyst", "Principal", "Director"]) {
        person.clone_into(&mut people[at].title);
        dirsyncd.write_ldif(&directory(&people));
        dirsyncd
            .sync(4)
            .expect_words(&["Done: 1 applied, 1 failed."]);
        let told = dirsyncd.sync(3);
        let told = told.expect_words(&["the deactivate failed ", "it is tried again from "]);
        assert!(!told.stdout.contains("in quarantine"), "{told}");
        wait(&dirsyncd, 10);
    }
    organization.heal();
    dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    assert!(!organization.of_key(&gone.key()).unwrap().active);
}

#[test]
fn what_is_everybodys_trouble_puts_nobody_off() {
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&Person::four()));
    dirsyncd.rest = "[apply]\nquarantine_after = 1\n".to_owned();
    for (fault, code) in [
        (json!({"status": 429}), 4),
        (json!({"status": 401}), 4),
        // The key has not the right.
        (json!({"status": 403}), 4),
        (json!({"status": 500}), 4),
        (json!({"cut": "before"}), 4),
    ] {
        let mut rule = json!({"match": "^POST .*/Users$", "times": 100});
        rule.as_object_mut()
            .unwrap()
            .extend(fault.as_object().unwrap().clone());
        organization.faults(&json!([rule]));
        dirsyncd.sync(code);
        let failures = database::texts(
            &dirsyncd.database(),
            "SELECT external_id FROM failures WHERE count > 0",
        );
        assert_eq!(failures, Vec::<String>::new(), "{fault}");
        organization.heal();
    }
    dirsyncd.sync(0);
    assert_eq!(organization.accounts().len(), 4);
}

#[test]
fn a_deactivation_is_tried_on_and_on_and_its_age_is_told() {
    let mut people = Person::four();
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.rest = "[apply]\nquarantine_after = 2\n".to_owned();
    dirsyncd.sync(0);
    assert!(summary(&dirsyncd, 0)["pending_deactivations"]["oldest_since"].is_null());
    refuse(&organization, "^PATCH .*/Users/");
    let gone = people.remove(0);
    dirsyncd.write_ldif(&directory(&people));
    let pending = summary(&dirsyncd, 4)["pending_deactivations"].clone();
    assert_eq!(pending["count"], 1);
    assert_eq!(pending["oldest_dn"], gone.dn());
    let since = pending["oldest_since"].clone();

    // Put off for a minute.
    let pending = summary(&dirsyncd, 0)["pending_deactivations"].clone();
    assert_eq!(
        (&pending["count"], &pending["oldest_since"]),
        (&json!(1), &since)
    );
    dirsyncd.run(&["plan"]).expect_words(&[
        "Deactivations that earlier runs have planned and that are not done: 1; the oldest since 20",
    ]);
    dirsyncd.run(&["status"]).expect_code(3).expect_words(&[
        "Deactivations that are not done: 1; the oldest since 20",
        "In quarantine: 0\n",
    ]);
    for _ in 0..3 {
        wait(&dirsyncd, 10);
        summary(&dirsyncd, 4);
    }
    // Loudly also while it is put off.
    let told = dirsyncd.sync(3);
    let told = told.expect_words(&[
        "the deactivate failed 4 times in a row",
        "Deactivations that are not done: 1; the oldest since 20",
    ]);
    assert!(!told.stdout.contains("in quarantine"), "{told}");
    organization.heal();
    wait(&dirsyncd, 10);
    let pending = summary(&dirsyncd, 0)["pending_deactivations"].clone();
    assert_eq!(
        pending,
        json!({"count": 0, "oldest_since": null, "oldest_dn": null, "oldest_age_seconds": null})
    );
    assert!(!organization.of_key(&gone.key()).unwrap().active);
    let kept = database::texts(
        &dirsyncd.database(),
        "SELECT count(*) || '' FROM runs WHERE summary ->> '$.pending_deactivations.count' = 1",
    );
    assert_eq!(kept, ["6"]);
}

#[test]
fn a_held_deactivation_is_pending_since_the_first_run_that_held_it() {
    let mut people = Person::four();
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.sync(0);
    dirsyncd.rest = "[guards]\ndeactivate = { at_most = 0 }\n".to_owned();
    people.remove(0);
    dirsyncd.write_ldif(&directory(&people));
    let first = summary(&dirsyncd, 3)["pending_deactivations"].clone();
    assert_eq!(first["count"], 1);
    let second = summary(&dirsyncd, 3)["pending_deactivations"].clone();
    assert_eq!(second["oldest_since"], first["oldest_since"]);
    // The person is back.
    dirsyncd.write_ldif(&directory(&Person::four()));
    assert_eq!(summary(&dirsyncd, 0)["pending_deactivations"]["count"], 0);
}

/// Eight who are there, of whom one leaves and one gets another title, and nine who are new.
fn busy(organization: &Organization) -> Dirsyncd {
    let mut people = Person::several(17);
    let dirsyncd = Dirsyncd::from_ldif(organization, &directory(&people[..8]));
    dirsyncd.sync(0);
    people.remove(0);
    "Director".clone_into(&mut people[0].title);
    dirsyncd.write_ldif(&directory(&people));
    dirsyncd
}

#[test]
fn a_budget_of_requests_is_foretold_and_the_rest_is_left_for_the_next_runs() {
    let organization = Organization::start();
    let mut dirsyncd = busy(&organization);
    dirsyncd.rest = "[apply]\nmax_calls = 8\n".to_owned();
    let plan = dirsyncd.plan();
    // Of the eight one reads the key of who leaves.
    assert_eq!(plan.json["summary"]["carried_over"], 4);
    let left = |plan: &crate::support::program::Plan| -> Vec<String> {
        let left = plan
            .list("operations")
            .iter()
            .filter(|one| one["carried_over"] == true);
        left.map(|one| one["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(left(&plan), ["create", "create", "create", "update"]);
    dirsyncd.run(&["plan"]).expect_words(&[
        "Requests to carry it out: 8",
        "Left for the next run, as `max_calls = 8` in [apply] lets no more go: 3 create, 1 update.",
        "[left for the next run]",
    ]);
    let mark = organization.mark();
    dirsyncd.sync(4).expect_words(&[
        "Done: 7 applied, 4 left for the next run (3 create, 1 update); `max_calls = 8` in [apply] lets no more go.",
    ]);
    assert_eq!(organization.writes_since(mark).len(), 7);
    assert_eq!(organization.active(), 13);
    let states = "SELECT state || ' ' || kind FROM operations WHERE run_id = 2 ORDER BY id";
    assert_eq!(
        database::texts(&dirsyncd.database(), states),
        [
            vec!["done deactivate"],
            vec!["done create"; 6],
            vec!["left create"; 3],
            vec!["left update"]
        ]
        .concat()
    );
    dirsyncd
        .run(&["explain", "p01@example.org", "--width", "1000"])
        .expect_words(&["waiting: the update is left for the next run (`max_calls` in [apply])"])
        .expect_code(0);

    dirsyncd.sync(0).expect_words(&["Done: 4 applied."]);
    dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_run_whose_deadline_is_over_leaves_the_rest() {
    let organization = Organization::start();
    let people = Person::several(20);
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.organization += "requests_per_second = 1000\n";
    dirsyncd.rest = "[apply]\ndeadline = \"1ms\"\n".to_owned();
    dirsyncd.run(&["plan"]).expect_words(&[
        "That takes longer than the `deadline` of 1ms in [apply]: the last of it will be left for the next run.",
    ]);
    // Something is done in any case, although the pull alone takes longer.
    for left in [12, 4] {
        dirsyncd.sync(4).expect_words(&[&format!(
            "Done: 8 applied, {left} left for the next run ({left} create); the `deadline` of 1ms in [apply] was over."
        )]);
    }
    dirsyncd.sync(0).expect_words(&["Done: 4 applied."]);
    dirsyncd.expect_nothing_to_do();
    dirsyncd.rest = "[apply]\ndeadline = \"1h\"\n".to_owned();
    dirsyncd.write_ldif(&directory(&Person::several(40)));
    dirsyncd.sync(0).expect_words(&["Done: 20 applied."]);
}

#[test]
fn requests_that_are_repeated_count_as_well() {
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&Person::several(20)));
    dirsyncd.rest = "[apply]\nmax_calls = 20\n".to_owned();
    assert_eq!(dirsyncd.plan().json["summary"]["carried_over"], 0);
    organization.faults(&json!([{"match": "^POST .*/Users$", "times": 16, "status": 429, "headers": {"Retry-After": "0"}}]));
    let told = summary(&dirsyncd, 4);
    assert!(told["applied"]["left"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(
        told["applied"]["ended_by"],
        "`max_calls = 20` in [apply] lets no more go"
    );
    dirsyncd.sync(0);
    assert_eq!(organization.accounts().len(), 20);
}

#[test]
fn a_budget_of_requests_is_not_exceeded_by_what_is_under_way_at_once() {
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&Person::several(40)));
    dirsyncd.rest = "[apply]\nmax_calls = 40\n".to_owned();
    assert_eq!(dirsyncd.plan().json["summary"]["carried_over"], 0);
    organization.faults(&json!([{"match": "^POST .*/Users$", "times": 10, "status": 429, "headers": {"Retry-After": "0"}}]));
    let mark = organization.mark();
    let told = summary(&dirsyncd, 4);
    assert_eq!(told["applied"]["left"], 10, "{told}");
    assert_eq!(organization.writes_since(mark).len(), 40);
    assert_eq!(organization.accounts().len(), 30);
    dirsyncd.sync(0).expect_words(&["Done: 10 applied."]);
}

#[test]
fn a_circle_is_not_closed_against_an_api_that_takes_the_key_no_more_though_the_deadline_was_over_first()
 {
    let mut people = Person::several(4);
    let mut world = World::synced(&people);
    let mails = [1, 0, 3, 2].map(|at| people[at].mail.clone());
    for (person, mail) in people.iter_mut().zip(mails) {
        let mail = mail.unwrap();
        world.slapd.replace(&person.dn(), &[("mail", &mail)]);
        person.mail = Some(mail);
    }
    world.dirsyncd.rest = "[apply]\ndeadline = \"1ms\"\n".to_owned();
    let user = |person: &Person| world.organization.of_key(&person.key()).unwrap().scim_id;
    let others = format!("^PATCH .*/({}|{})$", user(&people[2]), user(&people[3]));
    // Of both circles one makes way: the first one's is done before the other is refused.
    world.organization.faults(&json!([
        {"match": others, "times": 1, "status": 429},
        {"match": others, "times": 1, "status": 401},
    ]));
    let mark = world.organization.mark();

    let output = world.dirsyncd.sync(4);

    output.expect_words(&["was refused with 401", "Done: 1 applied, 5 left"]);
    assert_eq!(world.organization.writes_since(mark).len(), 3);
    world.dirsyncd.rest.clear();
    world.dirsyncd.sync(0);
    for person in &people {
        assert_eq!(world.account(person).email, person.mail.clone().unwrap());
    }
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_circle_is_closed_although_the_deadline_is_over() {
    let mut people = Person::several(4);
    let mut world = World::synced(&people[..3]);
    let mut mails: Vec<String> = people[..3]
        .iter()
        .filter_map(|one| one.mail.clone())
        .collect();
    mails.rotate_left(1);
    for (person, mail) in people.iter().zip(&mails) {
        world.slapd.replace(&person.dn(), &[("mail", mail)]);
    }
    world.slapd.add(&people[3]);
    world.dirsyncd.rest = "[apply]\ndeadline = \"1ms\"\n".to_owned();
    world.dirsyncd.sync(4).expect_words(&[
        "Done: 4 applied, 1 left for the next run (1 create); the `deadline` of 1ms in [apply] was over.",
    ]);
    for (person, mail) in people.iter_mut().zip(mails) {
        person.mail = Some(mail);
    }
    for person in &people[..3] {
        assert_eq!(
            Some(world.account(person).email.as_str()),
            person.mail.as_deref()
        );
    }
    world.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn those_whom_the_api_never_answers_do_not_keep_the_others_from_theirs() {
    let people = Person::several(20);
    let mut world = World::synced(&people[..19]);
    world.dirsyncd.rest = "[guards]\nchange_email = { at_most = 99 }\n".to_owned();
    let moves = moving(&world, &people[..18]);
    world.slapd.add(&people[19]);
    world.organization.faults(&broken(&[&moves]));
    // It may be everybody's trouble: after sixteen in a row the run ends.
    world.dirsyncd.sync(4).expect_words(&[
        "16 failed, 3 left for the next run",
        "the last 16 operations got no usable answer",
    ]);
    // Then the others go first, and after some more tries of the same the rest goes.
    let second = summary(&world.dirsyncd, 4);
    let applied = &second["applied"];
    assert_eq!(applied["done"], 1, "{second}");
    assert_eq!(applied["ended_by"], Value::Null, "{second}");
    assert!(applied["left"].as_u64().unwrap() > 0, "{second}");
    assert_eq!(world.organization.active(), 20);
    // Beside the one that succeeded they have failed by themselves, and are put off; the others are not.
    let put_off = world.dirsyncd.plan().json["summary"]["waiting"].clone();
    assert_eq!(put_off, applied["failed"]);
    world
        .dirsyncd
        .run(&["retry", "--all"])
        .expect_code(0)
        .expect_words(&[
            "      failed once; last: ",
            "      without a usable answer once; last: ",
        ]);
    // As soon as it answers, all of them go.
    world.organization.heal();
    world.dirsyncd.sync(0).expect_words(&["Done: 18 applied."]);
    world.dirsyncd.expect_nothing_to_do();
}

/// So many people with an account, all of whom get another address that the organization does not give
/// them, with the requests that it answers so.
fn moving(world: &World, people: &[Person]) -> String {
    let mut ids = Vec::new();
    for person in people {
        ids.push(world.account(person).scim_id.clone());
        let mail = format!("new-{}", person.mail.as_deref().unwrap());
        world.slapd.replace(&person.dn(), &[("mail", &mail)]);
    }
    format!("^PATCH .*/Users/({})", ids.join("|"))
}

fn broken(requests: &[&str]) -> Value {
    let rules = requests
        .iter()
        .map(|requests| json!({"match": requests, "times": 100_000, "status": 500}));
    rules.collect()
}

#[test]
fn what_fails_again_in_one_wave_gives_up_nothing_of_the_next() {
    let people = Person::several(11);
    let mut world = World::synced(&people[..9]);
    world.dirsyncd.rest = "[guards]\nchange_email = { at_most = 99 }\n".to_owned();
    let moves = moving(&world, &people[..9]);
    for person in &people[9..] {
        world.slapd.add(person);
    }
    let faults = broken(&[&moves, "^POST .*/Users$"]);
    world.organization.faults(&faults);
    world
        .dirsyncd
        .sync(4)
        .expect_words(&["Done: 0 applied, 11 failed."]);
    world.organization.heal();
    world.organization.faults(&broken(&[&moves]));
    world
        .dirsyncd
        .sync(4)
        .expect_words(&["Done: 2 applied, 8 failed, 1 left for the next run (1 update)."]);
    assert_eq!(world.organization.active(), 11);
}

#[test]
fn an_account_at_a_substitute_address_comes_out_of_it_whatever_else_fails_again() {
    let people = Person::several(12);
    let mut world = World::synced(&people);
    world.dirsyncd.rest = "[guards]\nchange_email = { at_most = 99 }\n".to_owned();
    let moves = moving(&world, &people[3..]);
    let mails: Vec<String> = (0..3)
        .map(|at| people[(at + 1) % 3].mail.clone().unwrap())
        .collect();
    for (person, mail) in people.iter().zip(&mails) {
        world.slapd.replace(&person.dn(), &[("mail", mail)]);
    }
    // Who makes way has the first key; whoever takes that address is not answered.
    let parked = (0..3).min_by_key(|at| people[*at].key()).unwrap();
    let taker = world.account(&people[(parked + 2) % 3]).scim_id;
    let taking = format!("^PATCH .*/Users/{taker}");
    world.organization.faults(&broken(&[&moves, &taking]));
    world
        .dirsyncd
        .sync(4)
        .expect_words(&["Done: 1 applied, 10 failed, 2 left for the next run (2 update)."]);
    let mail = |world: &World, at: usize| world.account(&people[at]).email;
    assert!(mail(&world, parked).contains("+dirsyncd-"));

    // Of those who fail again the last is left, but not who took part in the circle.
    world.organization.heal();
    wait(&world.dirsyncd, 10);
    world.organization.faults(&broken(&[&moves]));
    world
        .dirsyncd
        .sync(4)
        .expect_words(&["Done: 3 applied, 8 failed, 1 left for the next run (1 update)."]);
    for (at, wanted) in mails.iter().enumerate() {
        assert_eq!(mail(&world, at), *wanted);
    }
}
