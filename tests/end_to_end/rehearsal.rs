//! A sync against a copy of the organization.

use crate::support::{Person, World};

#[test]
fn a_rehearsal_shows_what_a_sync_would_do_and_writes_nothing() {
    let world = World::synced(&Person::four());
    let [ada, _, alan, _] = &Person::four()[..] else {
        unreachable!()
    };
    world.slapd.add(&Person::new("new", "Newt", "Scamander"));
    world.slapd.delete(&alan.dn());
    world.slapd.replace(&ada.dn(), &[("title", "Countess")]);
    let before = world.before();

    let output = world.dirsyncd.run(&["rehearse"]).expect_code(0);

    let output = output.expect_words(&[
        "against a copy of 4 accounts: nothing was written",
        "Create (1)",
        "Newt Scamander",
        "title  Engineer → Countess",
        "no longer in the directory",
        "Done: 3 applied.",
        "After it: Nothing to do",
    ]);
    before.expect_unchanged();
    // The real sync then does the same.
    let planned = output
        .stdout
        .lines()
        .find(|line| line.starts_with("Plan: "))
        .unwrap()
        .to_owned();
    world
        .dirsyncd
        .sync(0)
        .expect_words(&[&planned, "Done: 3 applied."]);
}

#[test]
fn a_first_sync_can_be_rehearsed_without_a_database() {
    let world = World::of(&Person::four());
    let ada = &Person::four()[0];
    world
        .organization
        .create_by_hand(ada.mail.as_ref().unwrap(), "Somebody", None);

    world
        .dirsyncd
        .run(&["rehearse"])
        .expect_code(0)
        .expect_words(&[
            "against a copy of 1 accounts",
            "1 to adopt",
            "Done: 4 applied.",
        ]);

    assert_eq!(
        std::fs::read_dir(world.dirsyncd.state()).unwrap().count(),
        0
    );
    assert_eq!(world.organization.accounts().len(), 1);
}

#[test]
fn what_the_organization_would_refuse_fails_in_the_rehearsal() {
    let mut world = World::of(&Person::four());
    // Otherwise it is foreseen, and not even tried.
    world.dirsyncd.organization += "forecast_accounts = 0\n";
    world.dirsyncd.sync(0);
    let alan = &Person::four()[2];
    let account = world.account(alan);
    // Somebody made a second account that has the address which Alan is going to get.
    world
        .organization
        .create_by_hand("alan.turing@example.org", "Another", None);
    world
        .slapd
        .replace(&alan.dn(), &[("mail", "alan.turing@example.org")]);
    let before = world.before();

    world
        .dirsyncd
        .run(&["rehearse"])
        .expect_code(4)
        .expect_words(&["was refused with 409", "1 failed"]);

    before.expect_unchanged();
    assert_eq!(world.account(alan), account);
}
