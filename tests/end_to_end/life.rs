//! A person's life in the directory, and what becomes of the account.

use crate::support::directory::Transport;
use crate::support::people::BASE;
use crate::support::world::{ACTIVATED, DEACTIVATED};
use crate::support::{Dirsyncd, Expected, Organization, Person, World, people};

#[test]
fn a_dry_run_shows_everything_and_changes_nothing() {
    let world = World::of(&Person::four());
    let creations: Vec<Expected> = Person::four()
        .iter()
        .map(|person| Expected::creation(person, "new in the directory"))
        .collect();
    // The folder must exist with its configuration before it is compared.
    world.dirsyncd.run(&["plan"]).expect_code(0);

    world.expect_plan(&creations);

    let files = std::fs::read_dir(world.dirsyncd.state()).unwrap().count();
    assert_eq!(files, 0, "a dry run made a database");
    assert!(world.organization.accounts().is_empty());
}

#[test]
fn a_sync_makes_every_account_and_a_second_one_does_nothing() {
    for transport in [Transport::Tls, Transport::StartTls] {
        let people = Person::four();
        let world = World::reached_by(transport, &people);

        let output = world.dirsyncd.sync(0);

        assert!(output.stdout.contains("4 to create"), "{output}");
        for person in &people {
            let account = world.account(person);
            assert!(account.active);
            assert_eq!(account.email, *person.mail.as_ref().unwrap());
            assert_eq!(account.user_name, account.email);
            assert_eq!(account.display_name, Some(person.name()));
            assert_eq!(account.given_name, Some(person.given.clone()));
            assert_eq!(account.family_name, Some(person.family.clone()));
            assert_eq!(account.title.as_deref(), Some("Engineer"));
            assert_eq!(account.department.as_deref(), Some("Engineering"));
            assert_eq!(
                world
                    .organization
                    .account_status(&account.account_id)
                    .as_deref(),
                Some("active")
            );
        }
        world.dirsyncd.expect_nothing_to_do();
        let mark = world.organization.mark();
        world.dirsyncd.sync(0);
        assert!(world.organization.writes_since(mark).is_empty());
        assert_eq!(world.organization.accounts().len(), 4);
    }
}

#[test]
fn a_person_who_joins_gets_an_account() {
    let world = World::synced(&Person::four());
    let joiner = Person::new("radia", "Radia", "Perlman");
    world.slapd.add(&joiner);

    world.expect_and_apply(&[Expected::creation(&joiner, "new in the directory")]);

    assert!(world.account(&joiner).active);
}

#[test]
fn a_person_who_moves_keeps_the_account() {
    let world = World::synced(&Person::four());
    let [ada, ..] = &Person::four()[..] else {
        panic!()
    };
    let before = world.account(ada);
    let sales = format!("ou=Sales,ou=people,{BASE}");
    world.slapd.rename(&ada.dn(), "uid=ada", Some(&sales));
    world.slapd.replace(
        &format!("uid=ada,{sales}"),
        &[("departmentNumber", "Sales")],
    );

    world.expect_and_apply(&[Expected::new(
        "update",
        ada,
        "changed in the directory",
        &[("department", "Engineering", "Sales")],
    )]);

    let after = world.account(ada);
    assert_eq!(after.department.as_deref(), Some("Sales"));
    assert_eq!(
        (after.scim_id, after.account_id),
        (before.scim_id, before.account_id)
    );
}

#[test]
fn a_move_alone_sends_nothing() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    let sales = format!("ou=Sales,ou=people,{BASE}");
    world.slapd.rename(&ada.dn(), "uid=ada", Some(&sales));
    let mark = world.organization.mark();

    world.dirsyncd.expect_nothing_to_do();
    world.dirsyncd.sync(0);

    assert!(world.organization.writes_since(mark).is_empty());
}

#[test]
fn a_person_who_is_renamed_keeps_the_account() {
    let world = World::synced(&Person::four());
    let grace = &Person::four()[1];
    let before = world.account(grace);
    world.slapd.rename(&grace.dn(), "uid=gmurray", None);
    world.slapd.replace(
        &format!("uid=gmurray,ou=Engineering,ou=people,{BASE}"),
        &[
            ("sn", "Murray"),
            ("displayName", "Grace Murray"),
            ("mail", "gmurray@example.org"),
        ],
    );

    world.expect_and_apply(&[Expected::new(
        "update",
        grace,
        "changed in the directory",
        &[
            ("userName", "grace@example.org", "gmurray@example.org"),
            ("email", "grace@example.org", "gmurray@example.org"),
            ("displayName", "Grace Hopper", "Grace Murray"),
            ("familyName", "Hopper", "Murray"),
        ],
    )]);

    let after = world.account(grace);
    assert_eq!(after.email, "gmurray@example.org");
    assert_eq!(after.display_name.as_deref(), Some("Grace Murray"));
    assert_eq!(
        (after.scim_id, after.account_id),
        (before.scim_id, before.account_id)
    );
    assert_eq!(world.organization.accounts().len(), 4);
}

#[test]
fn a_value_that_goes_in_the_directory_goes_in_the_account() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: modify\ndelete: title\n-\n",
        ada.dn()
    ));

    world.expect_and_apply(&[Expected::new(
        "update",
        ada,
        "changed in the directory",
        &[("title", "Engineer", "")],
    )]);

    assert_eq!(world.account(ada).title, None);
}

#[test]
fn a_person_who_leaves_is_deactivated_and_never_deleted_by_default() {
    let world = World::synced(&Person::four());
    let alan = &Person::four()[2];
    world.slapd.delete(&alan.dn());

    world.expect_and_apply(&[Expected::new(
        "deactivate",
        alan,
        "no longer in the directory",
        &[DEACTIVATED],
    )]);

    assert!(!world.account(alan).active);
    assert_eq!(world.organization.active(), 3);
    let mark = world.organization.mark();
    world.dirsyncd.sync(0);
    assert!(world.organization.writes_since(mark).is_empty());
}

#[test]
fn a_person_who_is_disabled_is_deactivated_and_one_who_is_enabled_again_comes_back() {
    let world = World::synced(&Person::four());
    let barbara = &Person::four()[3];
    world
        .slapd
        .replace(&barbara.dn(), &[("employeeType", "leaver")]);
    world.expect_and_apply(&[Expected::new(
        "deactivate",
        barbara,
        "disabled in the directory",
        &[DEACTIVATED],
    )]);
    assert!(!world.account(barbara).active);

    // What changes meanwhile is sent when the person comes back.
    world
        .slapd
        .replace(&barbara.dn(), &[("title", "Professor")]);
    world.dirsyncd.expect_nothing_to_do();
    world
        .slapd
        .replace(&barbara.dn(), &[("employeeType", "staff")]);
    world.expect_and_apply(&[Expected::new(
        "restore",
        barbara,
        "enabled again in the directory",
        &[("title", "Engineer", "Professor"), ACTIVATED],
    )]);
    let account = world.account(barbara);
    assert!(account.active);
    assert_eq!(account.title.as_deref(), Some("Professor"));
}

#[test]
fn a_person_who_left_and_returns_gets_the_old_account() {
    let world = World::synced(&Person::four());
    let alan = &Person::four()[2];
    let before = world.account(alan);
    world.slapd.delete(&alan.dn());
    world.dirsyncd.sync(0);
    world.slapd.add(alan);

    world.expect_and_apply(&[Expected::new(
        "restore",
        alan,
        "back in the directory",
        &[ACTIVATED],
    )]);

    assert_eq!(world.account(alan), before);
}

#[test]
fn the_same_entry_under_a_new_key_keeps_the_account() {
    // Deleted and added anew, an entry has a new entryUUID.
    let world = World::synced(&Person::four());
    let alan = &Person::four()[2];
    world.slapd.delete(&alan.dn());
    world.dirsyncd.sync(0);
    let entry = alan.entry();
    let without_key: Vec<&str> = entry
        .lines()
        .filter(|line| !line.starts_with("entryUUID"))
        .collect();
    world.slapd.modify(&format!(
        "{}\n",
        without_key
            .join("\n")
            .replacen("objectClass", "changetype: add\nobjectClass", 1)
    ));

    let output = world.dirsyncd.sync(0);

    assert!(output.stdout.contains("back under a new key"), "{output}");
    world.dirsyncd.expect_nothing_to_do();
    assert_eq!(world.organization.accounts().len(), 4);
    assert_eq!(world.organization.active(), 4);
}

#[test]
fn a_life_in_an_ldif_file_is_the_same() {
    let mut people = Person::four();
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&people));
    dirsyncd.sync(0);
    dirsyncd.expect_nothing_to_do();
    let left = people.pop().unwrap();

    dirsyncd.write_ldif(&people::directory(&people));
    let plan = dirsyncd.plan();
    assert_eq!(plan.operations().len(), 1);
    assert_eq!(plan.operations()[0].reason, "no longer in the directory");
    dirsyncd.sync(0);
    dirsyncd.expect_nothing_to_do();
    assert!(!organization.of_key(&left.key()).unwrap().active);

    people.push(left.clone());
    dirsyncd.write_ldif(&people::directory(&people));
    let plan = dirsyncd.plan();
    assert_eq!(plan.operations().len(), 1);
    assert_eq!(plan.operations()[0].reason, "back in the directory");
    dirsyncd.sync(0);
    dirsyncd.expect_nothing_to_do();
    assert!(organization.of_key(&left.key()).unwrap().active);
    assert_eq!(organization.accounts().len(), 4);
}

#[test]
fn no_secret_is_in_the_most_detailed_log() {
    let mut world = World::of(&Person::four());
    world.dirsyncd.log = Some("trace".to_owned());
    // Every run's output is searched for the secrets.
    let output = world.dirsyncd.sync(0);
    assert!(output.stderr.contains("DEBUG"), "{output}");
    let plan = world.dirsyncd.run(&["plan"]).expect_code(0);
    assert!(plan.stdout.contains("Nothing to do"), "{plan}");
    world.dirsyncd.run(&["check"]).expect_code(0);
}
