//! Several sources, of which some are followed.

use crate::plan;
use crate::support::directory::Transport;
use crate::support::people::BASE;
use crate::support::{Person, Slapd, World, file_reference};

/// Two directories, the first with precedence.
fn two(first: &[Person], second: &[Person]) -> (World, Slapd) {
    let mut world = World::of(first);
    let other = Slapd::start(second);
    world.dirsyncd.set_source("name", "\"staff\"");
    world.dirsyncd.rest = format!(
        "[[source]]\nname = \"partners\"\npreset = \"openldap\"\nurl = {:?}\nca_file = {:?}\nbind_dn = \"cn=sync,ou=services,{BASE}\"\npassword = {}\nbase = \"ou=people,{BASE}\"\n",
        other.url(Transport::Tls),
        other.ca_file().display().to_string(),
        file_reference(&world.dirsyncd.password_file()),
    );
    (world, other)
}

#[track_caller]
fn expect_one_plan(world: &World) {
    let (followed, how) = plan(&world.dirsyncd, &[]);
    let (full, full_how) = plan(&world.dirsyncd, &["--full"]);
    assert_eq!(followed, full);
    assert_eq!(how["notices"], serde_json::json!([]), "{how:#}");
    assert_eq!(full_how["notices"], serde_json::json!([]), "{full_how:#}");
}

#[test]
fn who_is_in_both_is_taken_from_the_first_and_from_the_second_only_when_gone_there() {
    let people = Person::four();
    let both = Person {
        title: "Partner".to_owned(),
        ..people[0].clone()
    };
    let (world, other) = two(&people, &[both.clone(), Person::new("par", "Par", "Tner")]);
    world.dirsyncd.sync(0).expect_words(&["5 to create"]);

    // What the second source says of somebody who is in the first changes nothing.
    other.replace(&both.dn(), &[("title", "Senior Partner")]);
    expect_one_plan(&world);
    world.dirsyncd.expect_nothing_to_do();
    world.dirsyncd.sync(0);

    // Gone from the first: what the second says counts, though nothing has changed there.
    world.slapd.delete(&both.dn());
    expect_one_plan(&world);
    world
        .dirsyncd
        .sync(0)
        .expect_words(&["1 to update", "0 to deactivate"]);
    assert_eq!(
        world.account(&both).title.as_deref(),
        Some("Senior Partner")
    );
    expect_one_plan(&world);

    // And back in the first.
    world.slapd.add(&people[0]);
    expect_one_plan(&world);
    world.dirsyncd.sync(0).expect_words(&["1 to update"]);
    assert_eq!(world.account(&both).title.as_deref(), Some("Engineer"));

    // Gone from both, in two runs and in one.
    world.slapd.delete(&both.dn());
    other.delete(&both.dn());
    expect_one_plan(&world);
    world.dirsyncd.sync(0).expect_words(&["1 to deactivate"]);
    expect_one_plan(&world);
}

#[test]
fn a_source_that_cannot_be_followed_stands_beside_one_that_is() {
    let people = Person::four();
    let mut world = World::of(&people);
    let contractor = Person::new("contractor", "Con", "Tractor");
    let file = |people: &[Person]| crate::support::people::directory(people);
    world
        .dirsyncd
        .write_ldif(&file(&[contractor.clone(), people[0].clone()]));
    world.dirsyncd.set_source("name", "\"staff\"");
    world.dirsyncd.rest = format!(
        "[[source]]\nname = \"contractors\"\nkind = \"ldif\"\npreset = \"openldap\"\nfile = {:?}\nbase = \"{BASE}\"\n",
        world.dirsyncd.ldif_file()
    );
    world.dirsyncd.sync(0).expect_words(&["5 to create"]);
    expect_one_plan(&world);
    world
        .slapd
        .replace(&people[1].dn(), &[("title", "Admiral")]);
    world.dirsyncd.write_ldif(&file(&[people[0].clone()]));
    expect_one_plan(&world);
    let output = world.dirsyncd.sync(0);
    output.expect_words(&[
        "what changed (1) of 4 people from `staff`",
        "1 to update",
        "1 to deactivate",
    ]);
    expect_one_plan(&world);
    // Gone from the one that is followed, and still in the file.
    world.slapd.delete(&people[0].dn());
    expect_one_plan(&world);
    world.dirsyncd.sync(0).expect_words(&["0 to deactivate"]);
    assert!(world.account(&people[0]).active);
    world.dirsyncd.expect_nothing_to_do();
}
