//! The way without the subscription for directory sync: invitation and user management.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::organization::GRACE;
use crate::support::{Person, World, database};

fn world(people: &[Person]) -> World {
    let mut world = World::of(people);
    world.dirsyncd.organization = world.organization.admin_block();
    world
}

#[track_caller]
fn managed(world: &World, mail: &str) -> Value {
    let account = world.organization.managed(mail);
    account.unwrap_or_else(|| panic!("{mail} has no account"))
}

#[test]
fn people_are_invited_changed_deactivated_restored_and_deleted() {
    let people = Person::four();
    let mut world = world(&people);
    let [ada, _, alan, _] = &people[..] else {
        unreachable!()
    };
    let mail = |person: &Person| person.mail.clone().unwrap();

    world.dirsyncd.sync(0).expect_words(&["4 to create"]);
    world.dirsyncd.expect_nothing_to_do();
    let account = managed(&world, &mail(ada));
    assert_eq!(account["name"], json!(ada.name()));
    assert_eq!(account["extended_profile"]["job_title"], "Engineer");
    assert_eq!(account["extended_profile"]["department"], "Engineering");
    assert_eq!(account["account_status"], "active");
    // Nothing of it went into the provisioning directory.
    assert!(world.organization.accounts().is_empty());

    world.slapd.replace(
        &ada.dn(),
        &[("title", "Countess"), ("mail", "countess@example.org")],
    );
    world
        .slapd
        .replace(&alan.dn(), &[("employeeType", "leaver")]);
    world.dirsyncd.sync(0).expect_words(&[
        "1 to update",
        "1 to deactivate",
        "title  Engineer → Countess",
    ]);
    world.dirsyncd.expect_nothing_to_do();
    let after = managed(&world, "countess@example.org");
    assert_eq!(after["account_id"], account["account_id"]);
    assert_eq!(after["extended_profile"]["job_title"], "Countess");
    assert_eq!(managed(&world, &mail(alan))["account_status"], "inactive");

    world
        .slapd
        .replace(&alan.dn(), &[("employeeType", "staff")]);
    world.dirsyncd.sync(0).expect_words(&["1 to restore"]);
    assert_eq!(managed(&world, &mail(alan))["account_status"], "active");

    world.dirsyncd.rest = "[policy]\ndelete_after = \"0s\"\n".to_owned();
    world.slapd.delete(&alan.dn());
    world.dirsyncd.sync(0);
    world
        .dirsyncd
        .sync(0)
        .expect_words(&["1 to delete", "Done: 1 applied"]);
    world.slapd.add(alan);
    world
        .dirsyncd
        .sync(0)
        .expect_words(&["1 to restore", "the requested deletion is cancelled"]);
    world.dirsyncd.sync(0).expect_words(&["1 to restore"]);
    world.dirsyncd.expect_nothing_to_do();
    assert_eq!(managed(&world, &mail(alan))["account_status"], "active");
}

#[test]
fn managed_accounts_are_adopted_by_their_address_and_doubled_by_nothing() {
    let people = Person::several(60);
    let world = world(&people);
    // More than a page of 50 managed accounts, some of them the people's.
    for n in 0..70 {
        world
            .organization
            .seed(&format!("other{n}@example.org"), "Other");
    }
    let ours = world
        .organization
        .seed(people[7].mail.as_ref().unwrap(), "Old name");

    world
        .dirsyncd
        .sync(0)
        .expect_words(&["59 to create", "1 to adopt", "displayName"]);

    world.dirsyncd.expect_nothing_to_do();
    let account = managed(&world, people[7].mail.as_ref().unwrap());
    assert_eq!(account["account_id"], json!(ours));
    assert_eq!(account["name"], json!(people[7].name()));
    // A lost database: everybody is found again.
    std::fs::remove_file(world.dirsyncd.database()).unwrap();
    let mark = world.organization.mark();
    world.dirsyncd.sync(0).expect_words(&["60 to adopt"]);
    assert!(world.organization.writes_since(mark).is_empty());
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_few_newcomers_are_looked_for_by_their_address() {
    let people = Person::four();
    let world = world(&people[..3]);
    world.dirsyncd.sync(0);
    let newcomer = &people[3];
    let seeded = world
        .organization
        .seed(newcomer.mail.as_ref().unwrap(), "Old name");
    world.slapd.add(newcomer);
    let mark = world.organization.mark();

    world.dirsyncd.sync(0).expect_words(&["1 to adopt"]);

    let requests = world.organization.requests_since(mark);
    assert!(
        requests
            .iter()
            .all(|request| !request.path.ends_with("/users")
                || request.path.contains("/directories/"))
    );
    let account = managed(&world, newcomer.mail.as_ref().unwrap());
    assert_eq!(account["account_id"], json!(seeded));
}

#[test]
fn an_invitation_whose_answer_was_lost_makes_nobody_twice() {
    for cut in ["before", "after"] {
        let people = Person::four();
        let world = world(&people);
        world.organization.faults(&json!([
            {"match": "^POST .*/invite$", "times": 2, "cut": cut}
        ]));

        world.dirsyncd.sync(4).expect_words(&["2 failed"]);
        database::wait(&world.dirsyncd.database(), 10);
        world.dirsyncd.sync(0);

        world.dirsyncd.expect_nothing_to_do();
        for person in &people {
            let account = managed(&world, person.mail.as_ref().unwrap());
            assert_eq!(account["name"], json!(person.name()), "cut {cut}");
        }
    }
}

#[test]
fn an_account_that_a_scim_directory_owns_is_refused_for_that_person_alone() {
    let people = Person::four();
    let world = world(&people);
    let mail = people[0].mail.as_ref().unwrap();
    world
        .organization
        .create_by_hand(mail, "Owned", Some("elsewhere"));

    world.dirsyncd.sync(3).expect_words(&[
        "the organization does not allow `profile.write of displayName` for ",
        "(externalDirectory.scim)",
        "Done: 3 applied.",
    ]);

    assert_eq!(managed(&world, mail)["name"], "Owned");
}

/// Alan has left, and the deletion of his account was asked for.
fn deleting() -> (World, Person) {
    let people = Person::four();
    let mut world = world(&people);
    world.dirsyncd.rest = "[policy]\ndelete_after = \"0s\"\n".to_owned();
    world.dirsyncd.sync(0);
    let alan = people[2].clone();
    world.slapd.delete(&alan.dn());
    world.dirsyncd.sync(0).expect_words(&["1 to deactivate"]);
    world.dirsyncd.sync(0).expect_words(&["1 to delete"]);
    (world, alan)
}

#[test]
fn an_account_that_is_still_there_after_its_grace_goes_to_nobody_else() {
    let (world, alan) = deleting();
    database::age(&world.dirsyncd.database(), 15);
    let heir = Person {
        uid: "heir".to_owned(),
        ..alan
    };
    world.slapd.add(&heir);
    let mark = world.organization.mark();

    // Neither before it is noted as gone nor after.
    for _ in 0..3 {
        let output = world.dirsyncd.sync(3);
        output.expect_words(&["whom the directory has too"]);
    }
    assert!(world.organization.writes_since(mark).is_empty());

    world.organization.advance(GRACE + Duration::from_secs(1));
    world.dirsyncd.sync(0).expect_words(&["1 to create"]);
}

#[test]
fn who_is_back_when_the_account_is_closed_gets_a_new_one() {
    let (world, alan) = deleting();
    let before = managed(&world, alan.mail.as_deref().unwrap());
    world.organization.advance(GRACE + Duration::from_secs(1));
    world.slapd.add(&alan);
    // What is closed may be shown for a while; nothing can be done to it.
    world.organization.faults(&json!([{
        "match": "^GET .*/manage/profile$", "times": 1, "status": 200,
        "body": {"account": {
            "account_id": before["account_id"], "account_type": "atlassian", "account_status": "closed",
        }},
    }]));
    world.dirsyncd.sync(4);
    world.dirsyncd.sync(0).expect_words(&["1 to create"]);

    world.dirsyncd.expect_nothing_to_do();
    let after = managed(&world, alan.mail.as_deref().unwrap());
    assert_eq!(after["account_status"], "active");
    assert_ne!(after["account_id"], before["account_id"]);
}

#[test]
fn check_tells_what_the_way_cannot_do() {
    let world = world(&Person::four());
    world
        .dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&[
            "✓ provisioning API",
            "! provisioning: the admin way",
            "does not send familyName, givenName, phoneNumber, userName",
        ]);
    world
        .dirsyncd
        .run(&["rehearse"])
        .expect_code(2)
        .expect_words(&["a rehearsal needs provisioning = \"scim\""]);
}
