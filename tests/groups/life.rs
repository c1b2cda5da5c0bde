//! Joining and leaving a group is joining and leaving the source.

use crate::refused;
use crate::support::world::DEACTIVATED;
use crate::support::{Expected, Person, World};
use crate::tree::{add, add_entry, dns, group, select, world};

/// Twelve people, ten of whom are in a group in the group that selects.
fn synced() -> (World, Vec<Person>) {
    let people = Person::several(12);
    let mut world = world(&people);
    add(&world.slapd, "staff", &dns(&people[..10]));
    add(&world.slapd, "users", &[&group("staff")]);
    select(&mut world.dirsyncd, &[&group("users")]);
    world.dirsyncd.sync(0);
    assert_eq!(world.organization.active(), 10);
    (world, people)
}

fn modify(world: &World, name: &str, change: &str) {
    let dn = group(name);
    world
        .slapd
        .modify(&format!("dn: {dn}\nchangetype: modify\n{change}\n-\n"));
}

#[test]
fn who_joins_the_group_gets_an_account_and_who_leaves_it_loses_the_login() {
    let (world, people) = synced();
    let member = |n: usize| format!("member\nmember: {}", people[n].dn());
    modify(&world, "staff", &format!("add: {}", member(10)));
    world.expect_and_apply(&[Expected::creation(&people[10], "new in the directory")]);

    modify(&world, "staff", &format!("delete: {}", member(0)));
    world.expect_and_apply(&[Expected::new(
        "deactivate",
        &people[0],
        "no longer in a selecting group",
        &[DEACTIVATED],
    )]);
    assert!(!world.account(&people[0]).active);

    // Directly in the group, not through the other one.
    modify(&world, "users", &format!("add: {}", member(0)));
    world.dirsyncd.sync(0);
    assert!(world.account(&people[0]).active);
    // Who leaves one group and is in another stays.
    modify(&world, "users", &format!("add: {}", member(1)));
    modify(&world, "staff", &format!("delete: {}", member(1)));
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn more_leave_the_group_than_the_guards_let() {
    let (world, people) = synced();
    modify(
        &world,
        "staff",
        &format!("replace: member\nmember: {}", people[0].dn()),
    );
    world
        .dirsyncd
        .sync(3)
        .expect_words(&["9 deactivations among 10 accounts"]);
    assert_eq!(world.organization.active(), 10);
}

#[test]
fn without_its_group_a_source_is_not_read() {
    let (world, _) = synced();
    world.slapd.delete(&group("users"));
    refused::by_plan_and_sync(&world, 1, &["source `directory`", "there is no such entry"]);
    refused::by_check(&world, &[&group("users"), "there is no such entry"]);
    assert_eq!(world.organization.active(), 10);
}

#[test]
fn an_empty_group_is_an_empty_pull() {
    let (mut world, people) = synced();
    add_entry(
        &world.slapd,
        &group("posix"),
        "posixGroup",
        "gidNumber: 100\nmemberUid: p03\n",
    );
    let gone = format!(
        "replace: member\nmember: {}",
        people[0].dn().replace("p00", "gone")
    );
    modify(&world, "staff", &gone);
    let empty = ["the source `directory` returned no entry at all"];
    refused::by_plan_and_sync(&world, 3, &empty);
    refused::by_check(&world, &["no entry of a member of the groups"]);
    select(&mut world.dirsyncd, &[&group("posix")]);
    modify(&world, "posix", "delete: memberUid");
    refused::by_plan_and_sync(&world, 3, &empty);
    assert_eq!(world.organization.active(), 10);
}
