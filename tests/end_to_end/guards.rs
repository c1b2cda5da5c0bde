//! What exceeds a limit is held, and the safe rest is done.

use crate::support::{Person, World};

/// Ten people, and a policy.
fn ten(rest: &str) -> (World, Vec<Person>) {
    let people = Person::several(10);
    let mut world = World::of(&people);
    world.dirsyncd.rest = rest.to_owned();
    world.dirsyncd.sync(0);
    (world, people)
}

fn joiner() -> Person {
    Person::new("radia", "Radia", "Perlman")
}

#[test]
fn as_many_deactivations_as_allowed_are_done() {
    let (world, people) = ten("[guards]\ndeactivate = { at_most = 3 }\n");
    for person in &people[..3] {
        world.slapd.delete(&person.dn());
    }

    world.dirsyncd.sync(0);

    assert_eq!(world.organization.active(), 7);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn one_deactivation_more_than_allowed_holds_them_all_and_nothing_else() {
    let (mut world, people) = ten("[guards]\ndeactivate = { at_most = 3 }\n");
    for person in &people[..3] {
        world.slapd.delete(&person.dn());
    }
    // However the login is lost, it counts.
    world
        .slapd
        .replace(&people[3].dn(), &[("employeeType", "leaver")]);
    world
        .slapd
        .replace(&people[9].dn(), &[("title", "Director")]);
    world.slapd.add(&joiner());

    let plan = world.dirsyncd.plan();
    assert_eq!(plan.code, 3);
    let operations = plan.operations();
    let held: Vec<&str> = operations
        .iter()
        .filter(|one| one.held)
        .map(|one| one.kind.as_str())
        .collect();
    assert_eq!(held, ["deactivate"; 4]);
    assert_eq!(operations.len(), 6);
    world.dirsyncd.sync(3).expect_words(&[
        "4 deactivations among 10 accounts (40.0 %) are more than the 3 that `deactivate` in [guards] allows",
        "dirsyncd approve deactivate --reason",
    ]);

    assert_eq!(world.organization.active(), 11);
    assert_eq!(world.account(&people[9]).title.as_deref(), Some("Director"));
    assert!(world.account(&joiner()).active);
    // They stay held, and are told, until somebody decides; also where only a line is wanted.
    let quiet = world.dirsyncd.run(&["sync", "--quiet"]).expect_code(3);
    assert_eq!(
        quiet.stdout,
        "Done: 0 applied; to look at: 4 held (dirsyncd holds).\n"
    );
    assert_eq!(world.organization.active(), 11);
    world.dirsyncd.rest = "[guards]\ndeactivate = { at_most = 4 }\n".to_owned();
    world.dirsyncd.sync(0);
    assert_eq!(world.organization.active(), 7);
}

#[test]
fn a_share_is_a_limit_too() {
    for (percent, code, active) in [("20", 0, 8), ("19.9", 3, 10)] {
        let (world, people) = ten(&format!(
            "[guards]\ndeactivate = {{ percent = {percent} }}\n"
        ));
        for person in &people[..2] {
            world.slapd.delete(&person.dn());
        }
        world.dirsyncd.sync(code);
        assert_eq!(world.organization.active(), active, "{percent} %");
    }
}

#[test]
fn deletions_have_a_limit_of_their_own() {
    for (gone, code, kind_held) in [(1, 0, false), (2, 3, true)] {
        let (world, people) = ten(
            "[policy]\ndelete_after = \"0s\"\n[guards]\ndelete = { at_most = 1 }\ndeactivate = { at_most = 5 }\n",
        );
        for person in &people[..gone] {
            world.slapd.delete(&person.dn());
        }
        world.dirsyncd.sync(0);
        let mark = world.organization.mark();
        let plan = world.dirsyncd.plan();
        assert_eq!(plan.count("delete"), gone);
        assert!(plan.operations().iter().all(|one| one.held == kind_held));
        world.dirsyncd.sync(code);
        let writes = world.organization.writes_since(mark);
        assert_eq!(writes.len(), if kind_held { 0 } else { 1 }, "{writes:?}");
    }
}

#[test]
fn changed_addresses_have_a_limit_of_their_own() {
    for (changed, code) in [(2, 0), (3, 3)] {
        let (world, people) = ten("[guards]\nchange_email = { at_most = 2 }\n");
        for person in &people[..changed] {
            let mail = format!("new-{}@example.org", person.uid);
            world.slapd.replace(&person.dn(), &[("mail", &mail)]);
        }
        world.slapd.add(&joiner());
        world.dirsyncd.sync(code);
        let new = world.organization.accounts();
        let new = new
            .iter()
            .filter(|account| account.email.starts_with("new-"));
        assert_eq!(new.count(), if code == 0 { changed } else { 0 });
        assert!(world.account(&joiner()).active);
    }
}

#[test]
fn the_default_limits_hold_a_mass_departure() {
    let (world, people) = ten("");
    for person in &people[..6] {
        world.slapd.delete(&person.dn());
    }
    world
        .dirsyncd
        .sync(3)
        .expect_words(&["6 deactivations among 10 accounts"]);
    assert_eq!(world.organization.active(), 10);
}
