//! People who exchange their addresses.

use super::super::fixture::*;
use super::DEACTIVATED;
use crate::config::{Guard, Limit};
use crate::model::{Attribute, Reason};

/// Each person has the address of the next one.
fn round(names: &[&str]) -> World {
    let people = names.iter().enumerate().map(|(at, name)| {
        let next = names[(at + 1) % names.len()];
        with_mail(person(name), &format!("{next}@example.org"))
    });
    World::new(
        people.collect(),
        names.iter().map(|name| account(name)).collect(),
    )
}

#[test]
fn a_circle_of_any_length_is_opened_by_one_temporary_address() {
    let names = ["a", "b", "c", "d", "e"];
    for length in 2..=names.len() {
        let mut world = round(&names[..length]);
        let plan = world.planned();
        assert_eq!(plan.refusals, []);
        let ways = plan
            .operations
            .iter()
            .filter(|planned| planned.operation.reason == Reason::MakesWay);
        assert_eq!(ways.count(), 1);
        assert_eq!(plan.operations.len(), length + 1);
        let first = &plan.operations[0].operation;
        assert_eq!(first.reason, Reason::MakesWay);
        let between = first.after.get(Attribute::Email).unwrap();
        assert!(
            between.starts_with("a+dirsyncd-") && between.ends_with("@example.org"),
            "{between}"
        );
        let last = &plan.operations[length].operation;
        assert_eq!(last.key, first.key);
        assert_eq!(last.before, first.after);
        world.apply(&plan);
        assert_eq!(brief(&world.planned()), Vec::<String>::new());
    }
}

#[test]
fn two_circles_are_opened_each_by_itself_and_a_chain_needs_no_temporary_address() {
    let mut world = round(&["a", "b"]);
    let other = round(&["c", "d", "e"]);
    world.people.extend(other.people);
    world.accounts.extend(other.accounts);
    world
        .people
        .push(with_mail(person("f"), "free@example.org"));
    world.accounts.push(account("f"));
    world.people.push(with_mail(person("g"), "f@example.org"));
    world.accounts.push(account("g"));
    let plan = world.planned();
    let ways: Vec<&str> = plan
        .operations
        .iter()
        .filter(|planned| planned.operation.reason == Reason::MakesWay)
        .map(|planned| planned.operation.key.as_str())
        .collect();
    assert_eq!(ways, ["key-a", "key-c"]);
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn whoever_waits_for_a_circle_follows_it() {
    let mut world = round(&["a", "b"]);
    world.people.retain(|person| person.key != key("b"));
    // b takes a's address, a takes b's, and the newcomer what c frees, who takes nothing of them.
    world.people.push(with_mail(person("b"), "a@example.org"));
    world.people.push(with_mail(person("c"), "x@example.org"));
    world.accounts.push(account("c"));
    world.people.push(with_mail(person("new"), "c@example.org"));
    let plan = world.planned();
    assert_eq!(plan.refusals, []);
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn a_swap_between_an_active_and_a_returning_person_goes_as_well() {
    let mut world = round(&["a", "b"]);
    world.accounts[0] = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update a", "update b", "restore a"]);
    // To make way turns no login on.
    assert_eq!(plan.operations[0].operation.active, (false, false));
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn a_circle_with_somebody_who_cannot_change_is_left_as_it_is() {
    let mut world = round(&["a", "b", "c"]);
    // c's new address is a stranger's.
    world.people[2] = with_mail(person("c"), "taken@example.org");
    world.accounts.push(in_state("taken", DEACTIVATED, None));
    world.people.push(disabled("taken"));
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(plan.refusals.len(), 3);
}

#[test]
fn a_temporary_address_is_not_longer_than_an_address_may_be() {
    let long = format!("{}@example.org", "x".repeat(64));
    let mut world = World::new(
        vec![
            with_mail(person("a"), "b@example.org"),
            with_mail(person("b"), &long),
        ],
        vec![account("a"), account("b")],
    );
    for attribute in [Attribute::UserName, Attribute::Email] {
        world.accounts[0].profile.set(attribute, long.clone());
    }
    let plan = world.planned();
    let between = plan.operations[0].operation.after.get(Attribute::Email);
    let (local, _) = between.unwrap().split_once('@').unwrap();
    assert_eq!(local.len(), 64);
    assert!(local.contains("xxx+dirsyncd-"), "{local}");
}

#[test]
fn a_circle_is_held_as_a_whole() {
    for protected in ["a", "b", "c"] {
        let mut world = round(&["a", "b", "c"]);
        world.people.push(person("z"));
        world.guards.protected = [format!("{protected}@example.org")].into();
        let plan = world.planned();
        assert_eq!(
            brief(&plan),
            [
                "!update a",
                "!update c",
                "!update b",
                "!update a",
                "create z"
            ],
            "{protected}"
        );
        world.approve("protected", |_| true);
        assert_eq!(world.planned().held(), 0, "{protected}");
    }
}

#[test]
fn whoever_makes_way_is_one_change_of_an_address_not_two() {
    let mut world = round(&["a", "b"]);
    let at_most = |at_most| Limit {
        at_most: Some(at_most),
        ..Limit::default()
    };
    world.limit(Guard::ChangeEmail, at_most(2));
    assert_eq!(world.planned().held(), 0);
    world.limit(Guard::ChangeEmail, at_most(1));
    assert_eq!(world.planned().held(), 3);
}
