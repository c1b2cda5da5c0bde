//! Reading groups back, and making their rows again.

use crate::organization::{Files, rule, uuid};
use crate::support::organization::Mark;
use crate::support::{Account, Output, Person, database};

/// Reconciles, which must end with this code and write nothing to the organization.
#[track_caller]
fn reconcile(files: &Files, arguments: &[&str], code: i32) -> Output {
    let mark = files.organization.mark();
    let output = files.dirsyncd.run(&[&["reconcile"], arguments].concat());
    expect_no_write(files, mark);
    output.expect_code(code)
}

#[track_caller]
fn expect_no_write(files: &Files, mark: Mark) {
    let writes = files.organization.writes_since(mark);
    assert!(writes.is_empty(), "{writes:?}");
}

fn account(files: &Files, n: usize) -> Account {
    files.organization.of_key(&files.people[n].key()).unwrap()
}

fn rows(files: &Files) -> Vec<String> {
    database::texts(
        &files.dirsyncd.database(),
        "SELECT json_array(scim_id, external_id, name, origins, nested,
            (SELECT json_group_array(external_id) FROM (SELECT external_id FROM group_members WHERE group_members.scim_id = groups.scim_id ORDER BY external_id)))
         FROM groups ORDER BY name",
    )
}

#[test]
fn groups_that_were_changed_by_hand_are_told_and_the_next_sync_sets_them_right() {
    let files = Files::of(Person::several(6));
    files.groups(&[
        ("dev", "dev", &[0, 1, 2]),
        ("ops", "ops", &[3]),
        ("law", "law", &[4]),
    ]);
    files.dirsyncd.sync(0);
    reconcile(&files, &[], 0).expect_words(&["groups: 0 of 3 changed"]);
    let organization = &files.organization;
    organization.change_group_by_hand("dev", "add", &account(&files, 5));
    organization.change_group_by_hand("dev", "remove", &account(&files, 0));
    organization.delete_group_by_hand("ops");
    organization.create_group_by_hand("robots", None, &[]);

    reconcile(&files, &[], 0).expect_words(&[
        "Groups changed in the organization; a sync sets them right (2)",
        "~ dev: joined: Pat Person 05; left: Pat Person 00",
        "next sync: change, other members in the directory",
        "~ ops: the organization does not have it any more",
        "next sync: create, no longer in the organization",
        "Groups that are none of ours (1)",
        ". robots",
        "groups: 2 of 3 changed, 0 taken in anew.",
    ]);
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [0, 1, 2]);
    assert_eq!(files.members("ops"), [3]);
    reconcile(&files, &[], 0).expect_words(&["groups: 0 of 3 changed"]);
}

#[test]
fn the_rows_of_groups_are_made_again_without_a_write() {
    let mut files = Files::of(Person::several(8));
    files.dirsyncd.rest = rule("match = \"(?<team>[^-]+)(-.*)?\"\nname = \"$team\"\nadopt = true");
    files.groups(&[
        // Two of the directory lead to one.
        ("dev-one", "one", &[0, 1]),
        ("dev-two", "two", &[2]),
        ("ops", "ops", &[3]),
        ("law", "law", &[4]),
    ]);
    files.organization.create_group_by_hand("law", None, &[]);
    files
        .organization
        .create_group_by_hand("robots", Some("another-tool-1"), &[]);
    files
        .dirsyncd
        .sync(0)
        .expect_words(&["2 to create, 1 to adopt"]);
    files.dirsyncd.sync(0);
    files.dirsyncd.expect_nothing_to_do();
    let before = (rows(&files), files.organization.groups());
    assert_eq!(before.0.len(), 3);
    let state = files.dirsyncd.state();
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    let mark = files.organization.mark();

    reconcile(&files, &["--rebuild"], 0).expect_words(&[
        "Groups taken in anew (3)",
        "= dev",
        "= law",
        "= ops",
        "Groups that are none of ours (1)",
        ". robots",
        "The next sync: Nothing to do: ",
        "3 taken in anew.",
    ]);
    assert_eq!(rows(&files), before.0);
    files.dirsyncd.expect_nothing_to_do();
    files.dirsyncd.sync(0);
    expect_no_write(&files, mark);
    assert_eq!(files.organization.groups(), before.1);
    // They are ours again: one that leaves the directory goes.
    assert_eq!(
        files.organization.group("ops").external_id,
        Some(uuid("ops"))
    );
    files.groups(&[
        ("dev-one", "one", &[0, 1]),
        ("dev-two", "two", &[2]),
        ("law", "law", &[4]),
        ("crew", "ops", &[3]),
    ]);
    files.dirsyncd.sync(0).expect_words(&["1 to rename"]);
    assert_eq!(files.names(), ["crew", "dev", "law", "robots"]);
}

#[test]
fn a_group_that_was_renamed_while_the_database_was_lost_is_known_by_its_key() {
    let files = Files::of(Person::several(3));
    files.groups(&[("dev", "dev", &[0, 1]), ("ops", "ops", &[2])]);
    files.dirsyncd.sync(0);
    let state = files.dirsyncd.state();
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    files.groups(&[("engineers", "dev", &[0, 1]), ("ops", "ops", &[2])]);
    reconcile(&files, &["--rebuild"], 0).expect_words(&["Groups taken in anew (2)", "1 to rename"]);
    files.dirsyncd.sync(0);
    assert_eq!(files.names(), ["engineers", "ops"]);
}
