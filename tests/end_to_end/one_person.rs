//! `plan --user` and `sync --user`: one person alone.

use crate::support::directory::Slapd;
use crate::support::people::{self, Person};
use crate::support::{Dirsyncd, Organization, World};

fn title(slapd: &Slapd, person: &Person, title: &str) {
    slapd.replace(&person.dn(), &[("title", title)]);
}

#[test]
fn one_person_is_synced_by_key_address_or_dn_and_nobody_else() {
    let world = World::synced(&Person::four());
    let people = Person::four();
    for (at, person) in people.iter().enumerate() {
        title(&world.slapd, person, &format!("Title {at}"));
    }
    let upper = people[2].dn().to_uppercase();
    for (person, who) in [
        (&people[0], people[0].key()),
        (&people[1], "GRACE@example.org".to_owned()),
        (&people[2], upper),
    ] {
        let plan = world.dirsyncd.plan_with(&["--user", &who]);
        let operations = plan.operations();
        assert_eq!(operations.len(), 1, "{who}: {:#}", plan.json);
        assert_eq!(operations[0].account, person.name());
        let output = world.dirsyncd.run(&["sync", "--user", &who]).expect_code(0);
        assert!(output.stdout.contains("Done: 1 applied."), "{output}");
        let again = world.dirsyncd.plan_with(&["--user", &who]);
        assert_eq!(again.operations().len(), 0);
    }
    // What changed of the others is still to do.
    let plan = world.dirsyncd.plan();
    assert_eq!(plan.operations().len(), 1, "{:#}", plan.json);
    world.dirsyncd.sync(0);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_joiner_and_a_leaver_by_themselves() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    let joiner = Person::new("radia", "Radia", "Perlman");
    world.slapd.add(&joiner);
    world.slapd.delete(&ada.dn());
    world
        .dirsyncd
        .run(&["sync", "--user", "radia@example.org"])
        .expect_code(0);
    assert!(world.account(&joiner).active);
    assert!(world.account(ada).active);
    world
        .dirsyncd
        .run(&["sync", "--user", &ada.dn()])
        .expect_code(0)
        .expect_words(&["no longer in the directory"]);
    assert!(!world.account(ada).active);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_rehire_by_itself_gets_the_old_account() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    let before = world.account(ada);
    world.slapd.delete(&ada.dn());
    let anew = ada.anew();
    world.slapd.add(&anew);
    world
        .dirsyncd
        .run(&["sync", "--user", "countess@example.org"])
        .expect_code(0);
    assert_eq!(world.account(&anew).scim_id, before.scim_id);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn two_who_swap_go_together() {
    let world = World::synced(&Person::four());
    let people = Person::four();
    world
        .slapd
        .replace(&people[0].dn(), &[("mail", "grace@example.org")]);
    world
        .slapd
        .replace(&people[1].dn(), &[("mail", "ada@example.org")]);
    title(&world.slapd, &people[2], "Head");
    world
        .dirsyncd
        .run(&["sync", "--user", &people[0].key()])
        .expect_code(0);
    assert_eq!(world.account(&people[0]).email, "grace@example.org");
    assert_eq!(world.account(&people[1]).email, "ada@example.org");
    assert_eq!(world.account(&people[2]).title.as_deref(), Some("Engineer"));
}

#[test]
fn nobody_and_several_are_told_apart() {
    let organization = Organization::start();
    let twins = [
        Person::new("one", "One", "Twin").with_mail(Some("twin@example.org")),
        Person::new("two", "Two", "Twin").with_mail(Some("twin@example.org")),
        Person::new("ada", "Ada", "Lovelace"),
    ];
    let dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&twins));
    dirsyncd
        .run(&["plan", "--user", "nobody@example.org"])
        .expect_code(2)
        .expect_words(&["nobody@example.org", "dirsyncd map DN"]);
    dirsyncd
        .run(&["sync", "--user", "twin@example.org"])
        .expect_code(2)
        .expect_words(&["may be several people", &twins[0].key(), &twins[1].key()]);
    assert!(organization.accounts().is_empty());
    dirsyncd
        .run(&["sync", "--user", "ada@example.org"])
        .expect_code(0);
    assert_eq!(organization.accounts().len(), 1);
}

#[test]
fn what_is_held_for_all_is_not_let_through_for_one() {
    let organization = Organization::start();
    let all = Person::several(20);
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&all));
    "[guards]\ndeactivate = { always = 0, at_most = 2 }\n".clone_into(&mut dirsyncd.rest);
    dirsyncd.sync(0);
    dirsyncd.write_ldif(&people::directory(&all[..15]));
    dirsyncd.sync(3);
    assert_eq!(organization.active(), 20);
    let who = all[17].key();
    dirsyncd
        .run(&["sync", "--user", &who])
        .expect_code(3)
        .expect_words(&[
            "held in the hold `deactivate`",
            "dirsyncd approve deactivate",
        ]);
    assert_eq!(organization.active(), 20);
    dirsyncd
        .run(&[
            "approve",
            "deactivate",
            "--only",
            &who,
            "--reason",
            "has left for certain",
        ])
        .expect_code(0);
    dirsyncd.run(&["sync", "--user", &who]).expect_code(0);
    assert_eq!(organization.active(), 19);
    assert!(!organization.of_key(&who).unwrap().active);
    // The others are held as before.
    dirsyncd.sync(3);
    assert_eq!(organization.active(), 19);
}

#[test]
fn whoever_is_looked_for_by_the_old_key_is_found_under_the_new_one() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    let before = world.account(ada);
    world.slapd.delete(&ada.dn());
    let anew = ada.anew();
    world.slapd.add(&anew);
    // Nobody is deactivated whom a run for all would hire again.
    let plan = world.dirsyncd.plan_with(&["--user", &ada.key()]);
    assert!(
        plan.operations()
            .iter()
            .all(|operation| operation.kind != "deactivate"),
        "{:#}",
        plan.json
    );
    assert!(world.account(ada).active);
    world
        .dirsyncd
        .run(&["sync", "--user", &anew.key()])
        .expect_code(0);
    assert_eq!(world.account(&anew).scim_id, before.scim_id);
}

#[test]
fn after_a_run_that_was_not_believed_nobody_leaves_alone() {
    let organization = Organization::start();
    let all = Person::four();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&all));
    dirsyncd.sync(0);
    // One has no key any more, and may be the one who is missing.
    let ldif = people::directory(&all[..3]).replace(&format!("entryUUID: {}\n", all[1].key()), "");
    dirsyncd.write_ldif(&ldif);
    dirsyncd.sync(3);
    dirsyncd
        .run(&["sync", "--user", &all[3].key()])
        .expect_code(3)
        .expect_words(&["absences were not believed in the last run for all"]);
    assert_eq!(organization.active(), 4);
}
