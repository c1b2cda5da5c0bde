//! Deleting accounts for good, and what a return within and after the grace leads to.

use std::time::Duration;

use serde_json::json;

use crate::support::organization::{GRACE, Request};
use crate::support::world::{ACTIVATED, DEACTIVATED};
use crate::support::{Expected, Person, World, database};

/// A world that deletes whoever has left, at the next sync.
fn deleting() -> World {
    let mut world = World::of(&Person::four());
    world.dirsyncd.rest = "[policy]\ndelete_after = \"0s\"\n".to_owned();
    world.dirsyncd.sync(0);
    world
}

/// The reason as the plan words it today.
fn left_today() -> String {
    format!(
        "not in the directory since {}",
        chrono::Utc::now().format("%Y-%m-%d")
    )
}

fn deactivated_and_deleted(world: &World, person: &Person) {
    world.slapd.delete(&person.dn());
    world.expect_plan(&[Expected::new(
        "deactivate",
        person,
        "no longer in the directory",
        &[DEACTIVATED],
    )]);
    world.dirsyncd.sync(0);
    world.expect_and_apply(&[Expected::new("delete", person, &left_today(), &[])]);
}

fn is_lifecycle(verb: &str) -> impl Fn(&&Request) -> bool {
    move |request| request.path.ends_with(&format!("/manage/lifecycle/{verb}"))
}

#[test]
fn who_has_left_is_deactivated_by_one_sync_and_deleted_by_the_next() {
    let world = deleting();
    let alan = &Person::four()[2];
    let account = world.account(alan);
    let mark = world.organization.mark();

    deactivated_and_deleted(&world, alan);

    let requests = world.organization.requests_since(mark);
    let deletions: Vec<&Request> = requests.iter().filter(is_lifecycle("delete")).collect();
    let [deletion] = deletions[..] else {
        panic!("{deletions:?}")
    };
    assert_eq!(deletion.status, Some(200));
    // Its permission was read first, and SCIM DELETE is never used.
    let permission = requests
        .iter()
        .find(|request| request.method == "GET" && request.path.ends_with("/manage"))
        .unwrap();
    assert!(permission.seq < deletion.seq);
    assert!(requests.iter().all(|request| request.method != "DELETE"));
    let status = world.organization.account_status(&account.account_id);
    assert_eq!(status.as_deref(), Some("inactive"));
}

#[test]
fn a_deletion_waits_for_delete_after() {
    let mut world = deleting();
    world.dirsyncd.rest = "[policy]\ndelete_after = \"30days\"\n".to_owned();
    let alan = &Person::four()[2];
    world.slapd.delete(&alan.dn());
    world.dirsyncd.sync(0);
    world.dirsyncd.expect_nothing_to_do();

    database::age(&world.dirsyncd.database(), 29);
    world.dirsyncd.expect_nothing_to_do();
    database::age(&world.dirsyncd.database(), 1);

    assert_eq!(world.dirsyncd.plan().count("delete"), 1);
}

#[test]
fn who_comes_back_within_the_grace_gets_the_account_back() {
    let world = deleting();
    let alan = &Person::four()[2];
    let before = world.account(alan);
    deactivated_and_deleted(&world, alan);
    world
        .organization
        .advance(GRACE - Duration::from_secs(60 * 60));
    world.slapd.add(alan);
    let mark = world.organization.mark();

    // That alone, whatever the account is to be beside it.
    world.expect_plan(&[Expected::new("restore", alan, "back in the directory", &[])]);
    world.dirsyncd.sync(0).expect_words(&[
        "the requested deletion is cancelled",
        "a later run restores",
    ]);
    assert!(!world.account(alan).active);
    world.expect_and_apply(&[Expected::new(
        "restore",
        alan,
        "back in the directory",
        &[ACTIVATED],
    )]);

    let requests = world.organization.requests_since(mark);
    assert_eq!(
        requests
            .iter()
            .filter(is_lifecycle("cancel-delete"))
            .count(),
        1
    );
    assert_eq!(world.account(alan), before);
    let status = world.organization.account_status(&before.account_id);
    assert_eq!(status.as_deref(), Some("active"));
    // The deletion is off, for good.
    world.organization.advance(GRACE);
    assert!(
        world
            .organization
            .account_status(&before.account_id)
            .is_some()
    );
}

#[test]
fn who_comes_back_after_the_grace_gets_a_new_account() {
    let world = deleting();
    let alan = &Person::four()[2];
    let before = world.account(alan);
    deactivated_and_deleted(&world, alan);
    world.organization.advance(GRACE + Duration::from_secs(1));
    database::age(&world.dirsyncd.database(), 15);
    assert_eq!(world.organization.account_status(&before.account_id), None);
    world.dirsyncd.sync(0);
    world.dirsyncd.expect_nothing_to_do();

    world.slapd.add(alan);
    world.expect_and_apply(&[Expected::creation(
        alan,
        "back in the directory after the account was deleted",
    )]);

    let after = world.account(alan);
    assert!(after.active);
    assert_ne!(after.account_id, before.account_id);
    assert_eq!(world.organization.accounts().len(), 4);
}

#[test]
fn a_deletion_that_may_be_under_way_is_cancelled_when_the_person_is_back() {
    for returns_disabled in [false, true] {
        let world = deleting();
        let alan = &Person::four()[2];
        let before = world.account(alan);
        world.slapd.delete(&alan.dn());
        world.dirsyncd.sync(0);
        world.organization.faults(&json!([
            {"match": "^POST .*/lifecycle/delete$", "times": 1, "cut": "after"}
        ]));
        world.dirsyncd.sync(4);
        let back = if returns_disabled {
            alan.clone().disabled()
        } else {
            alan.clone()
        };
        world.slapd.add(&back);

        world.dirsyncd.sync(0);
        if !returns_disabled {
            world.dirsyncd.sync(0);
        }

        world.dirsyncd.expect_nothing_to_do();
        world.organization.advance(GRACE);
        assert_eq!(world.account(alan).active, !returns_disabled);
        let status = world.organization.account_status(&before.account_id);
        assert!(status.is_some(), "the account was deleted after all");
    }
}

/// The API's documents have no answer but 404 for an account of which no deletion is under way.
#[test]
fn that_no_deletion_is_under_way_is_known_by_a_404_that_comes_twice() {
    for by_admin in [false, true] {
        for (cut, times) in [("before", 2), ("after", 1)] {
            let mut world = World::of(&Person::four());
            world.dirsyncd.rest = "[policy]\ndelete_after = \"0s\"\n".to_owned();
            if by_admin {
                world.dirsyncd.organization = world.organization.admin_block();
            }
            world.dirsyncd.sync(0);
            let alan = &Person::four()[2];
            let account = world.organization.managed(alan.mail.as_deref().unwrap());
            let account = account.unwrap()["account_id"].as_str().unwrap().to_owned();
            world.slapd.delete(&alan.dn());
            world.dirsyncd.sync(0);
            world.organization.faults(&json!([
                {"match": "^POST .*/lifecycle/delete$", "times": 1, "cut": cut},
                {"match": "/lifecycle/cancel-delete$", "times": times, "status": 404, "body": {"key": "notFound"}},
            ]));
            world.dirsyncd.sync(4);
            world.slapd.add(alan);
            let mark = world.organization.mark();

            world
                .dirsyncd
                .sync(0)
                .expect_words(&["the requested deletion is cancelled", "Done: 1 applied."]);
            world.dirsyncd.sync(0);

            world.dirsyncd.expect_nothing_to_do();
            let requests = world.organization.requests_since(mark);
            let cancelled = requests.iter().filter(is_lifecycle("cancel-delete"));
            assert_eq!(cancelled.count(), 2);
            // Where the first 404 was a gateway's, the deletion is off by the second request.
            world.organization.advance(GRACE);
            let status = world.organization.account_status(&account);
            assert_eq!(status.as_deref(), Some("active"));
        }
    }
}

#[test]
fn a_deletion_is_not_taken_for_cancelled_while_user_management_does_not_have_the_account() {
    let world = deleting();
    let alan = &Person::four()[2];
    let account = world.account(alan).account_id;
    deactivated_and_deleted(&world, alan);
    world.slapd.add(alan);
    world.organization.faults(&json!([
        {"match": "^POST .*/cancel-delete$", "times": 1, "status": 404, "body": {"key": "notFound"}},
        {"match": "^GET .*/manage/profile$", "times": 1, "status": 404, "body": {"key": "accountNotFound"}},
    ]));

    world.dirsyncd.sync(4).expect_words(&[&format!(
        "the deletion of the account {account} is not cancelled, as user management does not have that account"
    )]);

    world.dirsyncd.run(&["retry", "--all"]).expect_code(0);
    world
        .dirsyncd
        .sync(0)
        .expect_words(&["the requested deletion is cancelled"]);
}

#[test]
fn a_cancelled_deletion_whose_answer_was_lost_is_cancelled_again() {
    for cut in ["before", "after"] {
        let world = deleting();
        let alan = &Person::four()[2];
        let before = world.account(alan);
        deactivated_and_deleted(&world, alan);
        world.slapd.add(&alan.clone().disabled());
        world.organization.faults(&json!([
            {"match": "^POST .*/lifecycle/cancel-delete$", "times": 1, "cut": cut}
        ]));
        world.dirsyncd.sync(4);

        world.dirsyncd.sync(0);

        world.dirsyncd.expect_nothing_to_do();
        world.organization.advance(GRACE);
        let status = world.organization.account_status(&before.account_id);
        assert_eq!(status.as_deref(), Some("inactive"), "cut {cut}");
    }
}

/// Alan is back while the account is being deleted, the answer that this is cancelled is lost, and he is gone
/// again before anybody has looked.
fn cancelled_without_an_answer(cut: &str) -> World {
    let world = deleting();
    let alan = &Person::four()[2];
    deactivated_and_deleted(&world, alan);
    world.slapd.add(&alan.clone().disabled());
    world.organization.faults(&json!([
        {"match": "^POST .*/lifecycle/cancel-delete$", "times": 1, "cut": cut}
    ]));
    world.dirsyncd.sync(4);
    world.slapd.delete(&alan.dn());
    world
}

#[test]
fn a_deletion_whose_cancelling_was_never_answered_is_requested_again_when_it_is_due() {
    for cut in ["before", "after"] {
        let mut world = cancelled_without_an_answer(cut);
        let alan = &Person::four()[2];
        let account = world.account(alan);

        // He was there: how long he has been away is counted from now.
        let policy = world.dirsyncd.rest.clone();
        world.dirsyncd.rest = "[policy]\ndelete_after = \"30days\"\n".to_owned();
        database::age(&world.dirsyncd.database(), 40);
        world.dirsyncd.expect_nothing_to_do();
        world.dirsyncd.sync(0);
        world.dirsyncd.expect_nothing_to_do();

        world.dirsyncd.rest = policy;
        world.dirsyncd.plan();
        world.expect_and_apply(&[Expected::new("delete", alan, &left_today(), &[])]);

        world.organization.advance(GRACE + Duration::from_secs(1));
        let status = world.organization.account_status(&account.account_id);
        assert_eq!(status, None, "cut {cut}");
    }
}

#[test]
fn an_account_whose_deletion_is_in_doubt_is_not_taken_for_gone() {
    for cut in ["before", "after"] {
        let mut world = cancelled_without_an_answer(cut);
        let alan = &Person::four()[2];
        let before = world.account(alan);
        world.dirsyncd.rest = "[policy]\ndelete_after = \"30days\"\n".to_owned();
        world.dirsyncd.expect_nothing_to_do();
        world.organization.advance(GRACE + Duration::from_secs(1));
        database::age(&world.dirsyncd.database(), 15);
        world.dirsyncd.sync(0);
        let is_there = world.organization.account_status(&before.account_id);
        assert_eq!(is_there.is_some(), cut == "after");
        world.slapd.add(alan);

        // It is asked for once more, which is known to be in vain where there is nothing any more.
        world.dirsyncd.sync(if cut == "after" { 0 } else { 4 });
        world.dirsyncd.sync(0);

        world.dirsyncd.expect_nothing_to_do();
        let after = world.account(alan);
        assert!(after.active);
        assert_eq!(after.account_id == before.account_id, cut == "after");
    }
}

#[test]
fn an_account_that_is_still_there_after_its_grace_keeps_its_address() {
    let world = deleting();
    let alan = &Person::four()[2];
    deactivated_and_deleted(&world, alan);
    // By the dates in the database it is over, and the organization has not come to it yet.
    database::age(&world.dirsyncd.database(), 15);
    let heir = Person {
        uid: "heir".to_owned(),
        ..alan.clone()
    };
    world.slapd.add(&heir);
    let mark = world.organization.mark();

    // Neither before it is noted as gone nor after.
    for _ in 0..2 {
        let output = world.dirsyncd.sync(3);
        output.expect_words(&["whom the directory has too"]);
    }
    assert!(world.organization.writes_since(mark).is_empty());

    world.organization.advance(GRACE + Duration::from_secs(1));
    world.dirsyncd.sync(0).expect_words(&["1 to create"]);
    assert!(world.account(&heir).active);
}

#[test]
fn an_account_that_somebody_has_opened_again_is_not_deleted() {
    let world = deleting();
    let alan = &Person::four()[2];
    world.slapd.delete(&alan.dn());
    world.dirsyncd.sync(0);
    let account = world.account(alan);
    world
        .organization
        .patch_by_hand(&account, "active", &json!(true));
    let mark = world.organization.mark();

    world.dirsyncd.sync(4).expect_words(&[
        "the account is not deleted",
        "active again in the organization",
    ]);

    assert!(world.organization.writes_since(mark).is_empty());
    assert!(world.account(alan).active);
}

#[test]
fn a_restore_that_arrived_and_whose_answer_was_lost_is_known_to_have_arrived() {
    let world = deleting();
    let alan = &Person::four()[2];
    deactivated_and_deleted(&world, alan);
    world.slapd.add(alan);
    world.dirsyncd.sync(0);
    world.organization.faults(&json!([
        {"match": "^PATCH ", "times": 100, "cut": "after"}
    ]));
    world.dirsyncd.sync(4);
    world.organization.heal();
    // Gone again before anybody has looked.
    world.slapd.delete(&alan.dn());

    world.dirsyncd.sync(0).expect_words(&["1 to deactivate"]);

    assert!(!world.account(alan).active);
}

#[test]
fn a_deletion_that_an_older_database_does_not_know_of_is_cancelled_when_the_person_is_back() {
    for by_admin in [false, true] {
        let mut world = World::of(&Person::four());
        world.dirsyncd.rest = "[policy]\ndelete_after = \"0s\"\n".to_owned();
        if by_admin {
            world.dirsyncd.organization = world.organization.admin_block();
        }
        world.dirsyncd.sync(0);
        let alan = &Person::four()[2];
        let mail = alan.mail.clone().unwrap();
        let account = world.organization.managed(&mail).unwrap();
        let id = account["account_id"].as_str().unwrap();
        world.slapd.delete(&alan.dn());
        world.dirsyncd.sync(0);
        let state = world.dirsyncd.database();
        let older = std::fs::read(&state).unwrap();
        world.dirsyncd.sync(0).expect_words(&["1 to delete"]);
        std::fs::write(&state, older).unwrap();

        world.dirsyncd.sync(4).expect_words(&[
            "refuses to delete the account",
            "a deletion is under way that this database does not know of",
        ]);
        world.slapd.add(alan);
        world.dirsyncd.sync(0).expect_words(&["1 to restore"]);
        let status = world.organization.account_status(id);
        assert_eq!(status.as_deref(), Some("active"));
        world.organization.advance(GRACE);
        assert!(world.organization.account_status(id).is_some());
    }
}

#[test]
fn a_conflict_without_a_deletion_under_way_is_told_in_its_own_words() {
    for admin_key_may in [true, false] {
        let world = deleting();
        let alan = &Person::four()[2];
        world.slapd.delete(&alan.dn());
        world.dirsyncd.sync(0);
        world.slapd.add(alan);
        let taken = json!({"scimType": "uniqueness", "detail": "the address is another's"});
        let mut faults =
            vec![json!({"match": "^PATCH .*/Users/", "times": 1, "status": 409, "body": taken})];
        if !admin_key_may {
            faults.push(json!({"match": "/lifecycle/cancel-delete$", "times": 1, "status": 403}));
        }
        world.organization.faults(&json!(faults));
        let mark = world.organization.mark();

        let output = world
            .dirsyncd
            .sync(4)
            .expect_words(&["was refused with 409: uniqueness: the address is another's"]);

        assert!(!output.stdout.contains("cancel-delete"), "{output}");
        let requests = world.organization.requests_since(mark);
        let patches = requests.iter().filter(|request| request.method == "PATCH");
        assert_eq!(patches.count(), 1, "{requests:?}");
        assert!(
            requests
                .iter()
                .any(|request| is_lifecycle("cancel-delete")(&request))
        );
    }
}
