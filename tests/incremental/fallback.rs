//! Where there is no continuing, the source is read in full, and that is told.

use crate::support::people::BASE;
use crate::support::{Person, World, database};
use crate::{expect_one_plan, plan};

#[test]
fn another_configuration_is_read_in_full() {
    let mut world = World::synced(&Person::four());
    world
        .dirsyncd
        .set_source("filter", "\"(&(objectClass=inetOrgPerson)(uid=*))\"");
    world.dirsyncd.sync(0).expect_words(&[
        "Read 4 people from `directory`.",
        "Source `directory`: read in full instead of what changed: the configuration has changed.",
    ]);
    expect_one_plan(&world.dirsyncd);
    world.dirsyncd.set_source("incremental", "false");
    world.dirsyncd.sync(0);
    let (_, how) = plan(&world.dirsyncd, &[]);
    assert!(how["pulls"][0]["changed"].is_null());
    assert_eq!(how["notices"], serde_json::json!([]));
}

#[test]
fn a_cookie_that_is_lost_or_damaged_is_no_loss() {
    let world = World::synced(&Person::four());
    let file = world.dirsyncd.database();
    database::execute(&file, "DELETE FROM cursors");
    world.slapd.delete(&Person::four()[0].dn());
    let (before, how) = plan(&world.dirsyncd, &[]);
    assert!(how["pulls"][0]["changed"].is_null());
    assert_eq!(before["summary"]["planned"]["deactivate"], 1);
    world.dirsyncd.run(&["plan", "--full"]).expect_code(0);
    // The sync makes a new one, which is then damaged.
    world.dirsyncd.sync(0);
    expect_one_plan(&world.dirsyncd);
    database::execute(&file, "UPDATE cursors SET cookie = 'nonsense'");
    world
        .dirsyncd
        .sync(0)
        .expect_words(&["read in full instead of what changed: the cookie is of another version"]);
    expect_one_plan(&world.dirsyncd);
}

#[test]
fn so_many_changes_that_the_server_gives_up_are_read_in_full() {
    let people = Person::several(30);
    let mut world = World::of(&people);
    world.dirsyncd.rest = "[guards]\nupdate = []\nsame_attribute = []\n".to_owned();
    // This one gets five entries of a search at most, unless it asks for pages.
    world.slapd.let_read_paged("limited");
    world
        .dirsyncd
        .set_source("bind_dn", &format!("\"cn=limited,ou=services,{BASE}\""));
    world.dirsyncd.sync(0);
    for person in &people[..4] {
        world.slapd.replace(&person.dn(), &[("title", "Renamed")]);
    }
    expect_one_plan(&world.dirsyncd);
    for person in &people[4..] {
        world.slapd.replace(&person.dn(), &[("title", "Renamed")]);
    }
    world.dirsyncd.sync(0).expect_words(&[
        "the server refuses to tell what has changed: sizeLimitExceeded (4)",
        "Done: 30 applied.",
    ]);
    expect_one_plan(&world.dirsyncd);
}

#[test]
fn a_directory_that_was_restored_from_a_backup_is_read_in_full_and_nobody_departs_by_it_at_once() {
    let people = Person::four();
    let world = World::synced(&people);
    let backup = world.slapd.backup();
    let joiner = Person::new("radia", "Radia", "Perlman");
    world.slapd.add(&joiner);
    world.dirsyncd.sync(0);
    world.slapd.restore(&backup);

    world.dirsyncd.sync(3).expect_words(&[
        "read in full instead of what changed: the server is behind what was read of it before",
        "consumer state is newer than provider",
        "Absences that are not believed (1)",
        "0 to deactivate",
    ]);

    assert!(world.account(&joiner).active);
    // The next run takes the directory as it is.
    world.dirsyncd.sync(0).expect_words(&["1 to deactivate"]);
    expect_one_plan(&world.dirsyncd);
}

#[test]
fn every_full_every_a_full_pull_checks_the_others_tells_what_they_missed_and_mends_it() {
    let world = World::synced(&Person::four());
    let [ada, grace, ..] = &Person::four()[..] else {
        unreachable!()
    };
    let (_, how) = plan(&world.dirsyncd, &[]);
    assert_eq!(how["pulls"][0]["changed"], 0);
    let file = world.dirsyncd.database();
    // What no pull of changes can see: the cookie says that these are known already.
    let keep = database::texts(&file, "SELECT cookie FROM cursors");
    world.slapd.replace(&ada.dn(), &[("title", "Countess")]);
    world.slapd.delete(&grace.dn());
    let skipped = world.slapd.sync_cookie();
    let cookie = keep[0].replace(&only_cookie(&keep[0]), &skipped);
    assert_ne!(cookie, keep[0]);
    database::execute(&file, &format!("UPDATE cursors SET cookie = '{cookie}'"));
    world
        .dirsyncd
        .sync(0)
        .expect_words(&["Read what changed (0) of 4 people", "Nothing to do"]);

    database::execute(&file, "UPDATE cursors SET full_at = full_at - 86400000");
    world.dirsyncd.sync(3).expect_words(&[
        "Read 3 people from `directory`.",
        "the pulls of what changed had missed 2 people (the first: ",
        "1 to update",
        "1 to deactivate",
        "Done: 2 applied.",
    ]);

    assert_eq!(world.account(ada).title.as_deref(), Some("Countess"));
    assert!(!world.account(grace).active);
    expect_one_plan(&world.dirsyncd);
    world
        .dirsyncd
        .sync(0)
        .expect_words(&["Read what changed (0) of 3 people"]);
}

/// The server's cookie within ours.
fn only_cookie(cookie: &str) -> String {
    let cookie: serde_json::Value = serde_json::from_str(cookie).unwrap();
    cookie["way"]["content_sync"][0]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_clock_that_was_put_back_does_not_put_a_full_pull_off() {
    let world = World::synced(&Person::four());
    database::execute(
        &world.dirsyncd.database(),
        "UPDATE cursors SET full_at = full_at + 864000000",
    );
    let (_, how) = plan(&world.dirsyncd, &[]);
    assert!(how["pulls"][0]["changed"].is_null());
}

#[test]
fn without_content_synchronization_the_time_of_change_is_followed_and_departures_wait_for_a_full_pull()
 {
    let people = Person::four();
    let mut world = World::of(&people);
    // With a key that is none of the server's ids, its notices of deletion tell nothing.
    world.dirsyncd.set_source("key", "\"employeeNumber\"");
    // Leavers should not wait, so it is followed only where that is wanted.
    world
        .dirsyncd
        .run(&["check"])
        .expect_words(&["every pull reads all of it"]);
    world.dirsyncd.set_source("incremental", "true");
    world.dirsyncd.sync(0);
    world
        .dirsyncd
        .run(&["check"])
        .expect_words(&["by the time of change"]);
    let [ada, grace, alan, _] = &people[..] else {
        unreachable!()
    };
    world.slapd.replace(&ada.dn(), &[("title", "Countess")]);
    world.slapd.add(&Person::new("radia", "Radia", "Perlman"));
    world.slapd.delete(&grace.dn());
    world
        .slapd
        .replace(&alan.dn(), &[("employeeType", "leaver")]);

    let output = world.dirsyncd.sync(0);

    output.expect_words(&[
        "Read what changed (",
        "1 to create",
        "1 to update",
        "1 to deactivate",
    ]);
    assert_eq!(
        world.organization.active(),
        4,
        "Grace's departure is not seen yet"
    );
    let again = world.dirsyncd.sync(0);
    again.expect_words(&["Nothing to do"]);
    world
        .dirsyncd
        .run(&["sync", "--full"])
        .expect_code(0)
        .expect_words(&["1 to deactivate"]);
    assert_eq!(world.organization.active(), 3);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn where_entries_are_told_apart_by_a_key_alone_another_entry_with_it_takes_nobody_s_account() {
    let people = Person::four();
    let mut world = World::of(&people);
    world.dirsyncd.set_source("key", "\"employeeNumber\"");
    world.dirsyncd.set_source("incremental", "true");
    world.dirsyncd.sync(0);
    let before = world.organization.accounts();
    let other = Person {
        employee_number: people[0].employee_number.clone(),
        ..Person::new("impostor", "Im", "Postor")
    };
    world.slapd.add(&other);

    world.dirsyncd.sync(3).expect_words(&[
        "read in full instead of what changed: two entries have one key",
        "another entry has the same key n-ada",
    ]);

    assert_eq!(world.organization.accounts(), before);
    // As long as that is so, there is nothing to continue from.
    let (_, how) = plan(&world.dirsyncd, &[]);
    assert!(how["pulls"][0]["changed"].is_null(), "{how:#}");
    world.slapd.delete(&other.dn());
    world.dirsyncd.sync(0);
    let (_, how) = plan(&world.dirsyncd, &[]);
    assert!(how["pulls"][0]["changed"].is_u64(), "{how:#}");
}

#[test]
fn a_source_that_everybody_would_have_left_is_read_in_full_and_refused() {
    let people = Person::four();
    let world = World::synced(&people);
    for person in &people {
        world.slapd.delete(&person.dn());
    }
    let output = world.dirsyncd.sync(3);
    output.expect_words(&["returned no entry at all"]);
    assert_eq!(world.organization.active(), 4);
}
