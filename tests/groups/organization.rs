//! Groups of the directory become groups of the organization.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::support::database;
use crate::support::organization::{Mark, Request};
use crate::support::people::{self, BASE};
use crate::support::{Dirsyncd, Organization, Person, SOON, eventually};
use crate::tree::group;

/// A group as an LDIF file has it; its key is made from the name at its first making.
fn entry(name: &str, key: &str, members: &[String]) -> String {
    let mut entry = format!(
        "dn: {}\nobjectClass: groupOfNames\nentryUUID: {}\ncn: {name}\n",
        group(name),
        uuid(key)
    );
    for member in members {
        entry += &format!("member: {member}\n");
    }
    entry + "\n"
}

pub(crate) fn uuid(name: &str) -> String {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

/// A world whose directory is a file.
pub(crate) struct Files {
    pub(crate) organization: Organization,
    pub(crate) dirsyncd: Dirsyncd,
    pub(crate) people: Vec<Person>,
}

impl Files {
    pub(crate) fn of(people: Vec<Person>) -> Self {
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&people));
        dirsyncd.rest = rule("");
        Files {
            organization,
            dirsyncd,
            people,
        }
    }

    /// The directory has these groups, as (name, key, numbers of the members), from now on.
    pub(crate) fn groups(&self, groups: &[(&str, &str, &[usize])]) {
        let groups: Vec<String> = groups
            .iter()
            .map(|(name, key, members)| entry(name, key, &self.dns(members)))
            .collect();
        self.write(&groups.concat());
    }

    fn dns(&self, members: &[usize]) -> Vec<String> {
        members.iter().map(|n| self.people[*n].dn()).collect()
    }

    fn write(&self, groups: &str) {
        let ldif = people::directory(&self.people) + groups;
        self.dirsyncd.write_ldif(&ldif);
    }

    /// Who is in a group of the organization, by the number of the person; others as they are.
    #[track_caller]
    pub(crate) fn members(&self, name: &str) -> Vec<usize> {
        let accounts = self.organization.accounts();
        let number = |id: &String| {
            let account = accounts.iter().find(|one| one.scim_id == *id).unwrap();
            let of_key = |person: &Person| Some(person.key()) == account.external_id;
            self.people.iter().position(of_key).unwrap_or(usize::MAX)
        };
        let group = self.organization.group(name);
        let mut members: Vec<usize> = group.members.iter().map(number).collect();
        members.sort_unstable();
        members
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let groups = self.organization.groups().into_iter();
        groups.map(|group| group.name).collect()
    }

    /// The planned group operations, as `kind name +joining -leaving`.
    fn plan(&self) -> (i32, Vec<String>) {
        planned(&self.dirsyncd)
    }
}

/// The exit code of a plan and its group operations, as `kind name +joining -leaving`.
pub(crate) fn planned(dirsyncd: &Dirsyncd) -> (i32, Vec<String>) {
    let plan = dirsyncd.plan();
    let operations = plan.json["groups"]["operations"].as_array().unwrap().iter();
    let brief = operations.map(|one| {
        let count = |name: &str| one[name].as_array().unwrap().len();
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        let kind = text("kind").replace("group_", "");
        let (joining, leaving) = (count("add"), count("remove"));
        format!("{kind} {} +{joining} -{leaving}", text("name"))
    });
    (plan.code, brief.collect())
}

/// A rule over all groups, with these keys.
pub(crate) fn rule(keys: &str) -> String {
    format!("[[group]]\nbase = \"ou=groups,{BASE}\"\n{keys}\n")
}

#[test]
fn a_group_is_made_filled_changed_and_renamed_with_its_people() {
    let files = Files::of(Person::several(6));
    files.groups(&[("dev", "dev", &[0, 1, 2]), ("ops", "ops", &[3])]);
    assert_eq!(
        files.plan(),
        (
            0,
            vec!["create dev +3 -0".to_owned(), "create ops +1 -0".to_owned()]
        )
    );
    let output = files.dirsyncd.sync(0);
    assert!(output.stdout.contains("groups: 2 to create"), "{output}");
    assert_eq!(files.members("dev"), [0, 1, 2]);
    assert_eq!(files.members("ops"), [3]);
    assert_eq!(
        files.organization.group("dev").external_id,
        Some(uuid("dev"))
    );
    files.dirsyncd.expect_nothing_to_do();
    // The snapshot knows them, and the journal what was done.
    let texts = |sql: &str| database::texts(&files.dirsyncd.database(), sql);
    let rows =
        texts("SELECT name || ' ' || external_id || ' ' || scim_id FROM groups ORDER BY name");
    let groups = files.organization.groups().into_iter();
    let expected =
        groups.map(|one| format!("{} {} {}", one.name, one.external_id.unwrap(), one.scim_id));
    assert_eq!(rows, expected.collect::<Vec<_>>());
    let members = texts(
        "SELECT group_members.external_id FROM group_members JOIN groups USING (scim_id) WHERE name = 'dev'",
    );
    let expected: BTreeSet<String> = files.people[..3].iter().map(Person::key).collect();
    assert_eq!(members.into_iter().collect::<BTreeSet<_>>(), expected);
    let journal = texts("SELECT kind || ' ' || state FROM operations WHERE kind LIKE 'group%'");
    assert_eq!(journal, ["group_create done", "group_create done"]);

    files.groups(&[("dev", "dev", &[1, 2, 4, 5]), ("ops", "ops", &[3])]);
    assert_eq!(files.plan(), (0, vec!["update dev +2 -1".to_owned()]));
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [1, 2, 4, 5]);
    files.dirsyncd.expect_nothing_to_do();

    files.groups(&[("engineers", "dev", &[1, 2, 4]), ("ops", "ops", &[3])]);
    assert_eq!(files.plan(), (0, vec!["rename engineers +3 -1".to_owned()]));
    files.dirsyncd.sync(0);
    assert_eq!(files.names(), ["engineers", "ops"]);
    assert_eq!(files.members("engineers"), [1, 2, 4]);
    files.dirsyncd.expect_nothing_to_do();
}

/// How many requests of this kind since the mark changed the members of groups.
fn patches(files: &Files, mark: Mark) -> usize {
    let writes = files.organization.writes_since(mark);
    let is_patch =
        |request: &&Request| request.method == "PATCH" && request.path.contains("/Groups/");
    writes.iter().filter(is_patch).count()
}

#[test]
fn members_go_in_batches_as_the_organization_takes_them() {
    let mut files = Files::of(Person::several(102));
    files.dirsyncd.rest += "[guards]\nremove_members = { percent = 100 }\n";
    let all: Vec<usize> = (0..102).collect();
    // The organization has its accounts before, so that only groups are counted.
    files.groups(&[("one", "one", &[0])]);
    files.dirsyncd.sync(0);
    for (joining, requests) in [(100, 1), (101, 2)] {
        let name = format!("of-{joining}");
        files.groups(&[("one", "one", &[0]), (&name, "big", &all[..joining])]);
        let mark = files.organization.mark();
        files.dirsyncd.sync(0);
        assert_eq!(files.members(&name), all[..joining]);
        assert_eq!(patches(&files, mark), requests, "{joining} join");
    }
    // A group without any member would be taken for a fault.
    for (leaving, requests) in [(100, 1), (101, 2)] {
        files.groups(&[("one", "one", &[0]), ("of-101", "big", &all)]);
        files.dirsyncd.sync(0);
        files.groups(&[("one", "one", &[0]), ("of-101", "big", &all[leaving..])]);
        let mark = files.organization.mark();
        files.dirsyncd.sync(0);
        assert_eq!(files.members("of-101"), all[leaving..]);
        assert_eq!(patches(&files, mark), requests, "{leaving} leave");
    }
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_group_that_left_the_directory_is_kept_emptied_or_deleted() {
    for (keys, names, members) in [
        ("", &["dev", "ops"][..], Some(&[0, 1][..])),
        ("on_leave = \"keep\"", &["dev", "ops"], Some(&[0, 1])),
        ("on_leave = \"empty\"", &["dev", "ops"], Some(&[])),
        ("on_leave = \"delete\"", &["ops"], None),
    ] {
        let mut files = Files::of(Person::several(3));
        files.dirsyncd.rest = rule(keys);
        files.groups(&[("dev", "dev", &[0, 1]), ("ops", "ops", &[2])]);
        files.dirsyncd.sync(0);
        files.groups(&[("ops", "ops", &[2])]);
        let output = files.dirsyncd.sync(0);
        assert_eq!(files.names(), names, "{keys}");
        assert_eq!(
            names
                .contains(&"dev")
                .then(|| files.members("dev"))
                .as_deref(),
            members
        );
        let is_kept = output
            .stdout
            .contains("dev: kept: no longer in the directory");
        assert_eq!(is_kept, members == Some(&[0, 1]), "{output}");
        files.dirsyncd.expect_nothing_to_do();
        assert_eq!(files.organization.active(), 3);
    }
}

#[test]
fn a_group_that_the_organization_has_is_taken_over_by_its_key_or_as_configured() {
    let mut files = Files::of(Person::several(3));
    files.groups(&[]);
    files.dirsyncd.rest.clear();
    files.dirsyncd.sync(0);
    let accounts = files.organization.accounts();
    let member = |n: usize| {
        let of_key =
            |account: &&crate::support::Account| account.external_id == Some(files.people[n].key());
        accounts.iter().find(of_key).unwrap()
    };
    files
        .organization
        .create_group_by_hand("dev", Some(&uuid("dev")), &[member(0), member(2)]);
    files
        .organization
        .create_group_by_hand("ops", None, &[member(2)]);
    let mark = files.organization.mark();
    files.groups(&[("dev", "dev", &[0, 1]), ("ops", "ops", &[1])]);

    files.dirsyncd.rest = rule("adopt = false");
    files.dirsyncd.run(&["sync"]).expect_code(3).expect_words(&[
        "Groups refused: correct these (2)",
        "the organization has a group `dev` that dirsyncd does not keep",
    ]);
    assert!(files.organization.writes_since(mark).is_empty());

    files.dirsyncd.rest = rule("");
    assert_eq!(files.plan(), (3, vec!["adopt dev +1 -1".to_owned()]));
    files.dirsyncd.sync(3);
    assert_eq!(files.members("dev"), [0, 1]);
    assert_eq!(files.members("ops"), [2]);

    files.dirsyncd.rest = rule("adopt = true");
    assert_eq!(files.plan(), (0, vec!["adopt ops +1 -1".to_owned()]));
    files.dirsyncd.sync(0);
    assert_eq!(files.members("ops"), [1]);
    files.dirsyncd.expect_nothing_to_do();
    assert_eq!(files.names(), ["dev", "ops"]);
}

#[test]
fn members_from_elsewhere_are_left_alone_and_our_own_follow_the_directory() {
    let mut files = Files::of(Person::several(3));
    files.groups(&[("dev", "dev", &[0])]);
    files.dirsyncd.sync(0);
    let guest = files
        .organization
        .create_by_hand("guest@example.org", "Guest", None);
    let third = files.organization.of_key(&files.people[2].key()).unwrap();
    files
        .organization
        .change_group_by_hand("dev", "add", &guest);
    files
        .organization
        .change_group_by_hand("dev", "add", &third);
    files
        .organization
        .create_group_by_hand("theirs", None, &[&guest, &third]);

    assert_eq!(files.plan(), (0, vec!["update dev +0 -1".to_owned()]));
    files
        .dirsyncd
        .run(&["sync"])
        .expect_code(0)
        .expect_words(&["dev: has 1 member whose account is not kept here, left alone"]);
    assert_eq!(files.members("dev"), [0, usize::MAX]);
    files.dirsyncd.expect_nothing_to_do();
    assert_eq!(files.members("theirs"), [2, usize::MAX]);

    files.dirsyncd.rest = rule("exact = true");
    assert_eq!(files.plan(), (0, vec!["update dev +0 -1".to_owned()]));
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [0]);
    assert_eq!(files.members("theirs"), [2, usize::MAX]);
    // Who was taken out by hand comes back.
    let first = files.organization.of_key(&files.people[0].key()).unwrap();
    files
        .organization
        .change_group_by_hand("dev", "remove", &first);
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [0]);
    files.organization.delete_group_by_hand("dev");
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [0]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_member_without_an_account_is_told_and_is_no_failure() {
    let mut people = Person::several(3);
    people[1].mail = None;
    let mut files = Files::of(people);
    files.dirsyncd.set_source("without_mail", "\"skip\"");
    files.groups(&[("dev", "dev", &[0, 1])]);
    files
        .dirsyncd
        .run(&["sync"])
        .expect_code(0)
        .expect_words(&[&format!(
            "dev: 1 member without an account: {}",
            files.people[1].dn()
        )]);
    assert_eq!(files.members("dev"), [0]);
    files.people[1].mail = Some("late@example.org".to_owned());
    files.groups(&[("dev", "dev", &[0, 1])]);
    // The account and the membership in one run.
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [0, 1]);
}

#[test]
fn a_member_whose_account_fails_in_this_run_is_left_for_the_next() {
    let files = Files::of(Person::several(3));
    files.groups(&[("dev", "dev", &[0, 1, 2])]);
    files.organization.faults(&json!([
        {"match": "^POST .*/Users$", "times": 1, "status": 403, "body": {"detail": "not this one"}}
    ]));
    files
        .dirsyncd
        .sync(4)
        .expect_words(&["Failed (1)", "not this one"]);
    assert_eq!(files.members("dev").len(), 2);
    database::wait(&files.dirsyncd.database(), 10);
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [0, 1, 2]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn leavers_and_the_disabled_stay_in_their_groups() {
    let mut files = Files::of(Person::several(4));
    files.groups(&[("dev", "dev", &[0, 1, 2])]);
    files.dirsyncd.sync(0);
    let gone = files.people[0].clone();
    files.people[1].employee_type = "leaver".to_owned();
    let members = files.dns(&[1, 2]);
    let rest: Vec<Person> = files.people.drain(1..).collect();
    files.people = rest;
    files.write(&entry("dev", "dev", &members));
    files.dirsyncd.sync(0);
    assert_eq!(files.organization.active(), 2);
    assert_eq!(files.organization.group("dev").members.len(), 3);
    files.dirsyncd.expect_nothing_to_do();
    // Back, and not in the group: by the same run that opens the account.
    files.people.insert(0, gone);
    files.write(&entry("dev", "dev", &members));
    files.dirsyncd.sync(0);
    assert_eq!(files.organization.active(), 3);
    assert_eq!(files.members("dev"), [1, 2]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn what_was_not_read_to_the_end_only_adds() {
    let files = Files::of(Person::several(4));
    files.groups(&[("dev", "dev", &[0, 1]), ("ops", "ops", &[2])]);
    files.dirsyncd.sync(0);
    // Nothing where there was something.
    files.groups(&[]);
    files.dirsyncd.run(&["sync"]).expect_code(3).expect_words(&[
        "Groups out of which nobody is taken in this run (1)",
        "no group was found, where there were 2",
    ]);
    assert_eq!(files.names(), ["dev", "ops"]);
    // A file that may be cut off.
    let dev = entry("dev", "dev", &files.dns(&[0, 3]));
    files.write(&(dev + entry("more", "more", &files.dns(&[3])).trim_end()));
    let (code, operations) = files.plan();
    assert_eq!((code, operations), (3, vec!["update dev +1 -0".to_owned()]));
    files
        .dirsyncd
        .run(&["sync"])
        .expect_code(3)
        .expect_words(&["may be cut off"]);
    assert_eq!(files.members("dev"), [0, 1, 3]);
}

#[test]
fn names_are_made_by_pattern_and_template() {
    let mut files = Files::of(Person::several(3));
    files.dirsyncd.rest = format!(
        "{}{}",
        rule("match = \"(?<team>[a-z]+)-(dev|ops)\"\nname = \"${team} ($2)\""),
        rule("match = \"all-.*\"\nname = \"everybody\"\nname_attribute = \"cn\""),
    );
    files.groups(&[
        ("red-dev", "a", &[0]),
        ("blue-ops", "b", &[1]),
        ("green", "c", &[2]),
        ("all-one", "d", &[0, 1]),
        ("all-two", "e", &[2]),
        ("all-three", "f", &[]),
    ]);
    files
        .dirsyncd
        .run(&["sync"])
        .expect_code(0)
        .expect_words(&["everybody: several groups lead to it: ", &group("all-one")]);
    assert_eq!(files.names(), ["blue (ops)", "everybody", "red (dev)"]);
    assert_eq!(files.members("everybody"), [0, 1, 2]);
    files.dirsyncd.expect_nothing_to_do();
    // 255 characters are a name, 256 are not.
    let (long, longer) = ("ä".repeat(255), "ä".repeat(256));
    files.dirsyncd.rest = rule("");
    files.groups(&[(&long, "long", &[0]), (&longer, "longer", &[1])]);
    files
        .dirsyncd
        .run(&["sync"])
        .expect_code(3)
        .expect_words(&["has 256 characters, and a group's has at most 255"]);
    assert!(files.names().contains(&long));
}

#[test]
fn one_bad_member_keeps_nobody_else_out() {
    let files = Files::of(Person::several(9));
    files.groups(&[("dev", "dev", &[0])]);
    files.dirsyncd.sync(0);
    let gone = files.organization.of_key(&files.people[4].key()).unwrap();
    files.organization.delete_by_hand(&gone);
    files.groups(&[("dev", "dev", &[0, 1, 2, 3, 4, 5, 6, 7, 8])]);
    files.dirsyncd.run(&["sync"]).expect_code(4).expect_words(&[
        "Groups failed (1)",
        "1 of 8 members could not join the group",
    ]);
    assert_eq!(files.members("dev"), [0, 1, 2, 3, 5, 6, 7, 8]);
}

#[test]
fn after_kill_9_between_a_group_and_its_members_there_is_one_group_with_all_of_them() {
    // When the group is made, and between the batches of its members.
    for moment in [1, 2] {
        let people = Person::several(130);
        let files = Files::of(people);
        files.groups(&[]);
        files.dirsyncd.sync(0);
        let all: Vec<usize> = (0..130).collect();
        files.groups(&[("dev", "dev", &all)]);
        files.organization.slow_writes(600);
        let mark = files.organization.mark();
        let sync = files.dirsyncd.start(&["sync"]);
        eventually("the moment", SOON, || {
            (files.organization.writes_since(mark).len() >= moment).then_some(())
        });
        sync.signal("KILL");
        assert_eq!(sync.wait().code, None);
        eventually("the requests under way", SOON, || {
            let writes = files.organization.writes_since(mark);
            writes.iter().all(|one| one.status.is_some()).then_some(())
        });
        files.organization.heal();

        let (code, operations) = files.plan();
        let missing = if moment == 1 { 130 } else { 30 };
        assert_eq!(
            (code, operations),
            (0, vec![format!("update dev +{missing} -0")])
        );
        files.dirsyncd.sync(0);

        assert_eq!(files.members("dev"), all);
        files.dirsyncd.expect_nothing_to_do();
        let writes = files.organization.writes_since(mark);
        let made = writes
            .iter()
            .filter(|one| one.method == "POST" && one.path.ends_with("/Groups"));
        assert_eq!(made.count(), 1, "killed at {moment}");
    }
}

#[test]
fn a_rename_that_was_killed_is_finished() {
    for moment in [1, 2, 3] {
        let files = Files::of(Person::several(3));
        files.groups(&[("dev", "dev", &[0, 1])]);
        files.dirsyncd.sync(0);
        files.groups(&[("engineers", "dev", &[0, 2])]);
        files.organization.faults(&json!([
            {"match": "^(POST|PATCH|DELETE) ", "times": 100_000, "delay_ms": 600}
        ]));
        let mark = files.organization.mark();
        let sync = files.dirsyncd.start(&["sync"]);
        eventually("the moment", SOON, || {
            (files.organization.writes_since(mark).len() >= moment).then_some(())
        });
        sync.signal("KILL");
        sync.wait();
        eventually("the requests under way", SOON, || {
            let writes = files.organization.writes_since(mark);
            writes.iter().all(|one| one.status.is_some()).then_some(())
        });
        files.organization.heal();

        files.dirsyncd.sync(0);
        // The old one goes once all are seen in the new one.
        files.dirsyncd.sync(0);

        assert_eq!(files.names(), ["engineers"], "killed at {moment}");
        assert_eq!(files.members("engineers"), [0, 2]);
        files.dirsyncd.expect_nothing_to_do();
    }
}

#[test]
fn answers_that_are_lost_make_no_group_twice() {
    for (request, times, code) in [
        ("^POST .*/Groups$", 1, 0),
        ("^POST .*/Groups$", 2, 0),
        ("^PATCH .*/Groups/", 1, 0),
        ("^PATCH .*/Groups/", 6, 4),
    ] {
        for cut in ["before", "after"] {
            let files = Files::of(Person::several(3));
            files.groups(&[]);
            files.dirsyncd.sync(0);
            files.groups(&[("dev", "dev", &[0, 1])]);
            files
                .organization
                .faults(&json!([{"match": request, "times": times, "cut": cut}]));
            files.dirsyncd.sync(code);
            files.organization.heal();
            files.dirsyncd.sync(0);
            assert_eq!(files.names(), ["dev"], "{request} {times} {cut}");
            assert_eq!(files.members("dev"), [0, 1]);
            files.dirsyncd.expect_nothing_to_do();
        }
    }
}

#[test]
fn a_group_that_fails_stops_no_other() {
    let files = Files::of(Person::several(3));
    files.groups(&[
        ("dev", "dev", &[0]),
        ("ops", "ops", &[1]),
        ("web", "web", &[2]),
    ]);
    files.organization.faults(&json!([
        {"match": "^POST .*/Groups$", "times": 1, "status": 403, "body": {"detail": "not this one"}}
    ]));
    files
        .dirsyncd
        .sync(4)
        .expect_words(&["Groups failed (1)", "not this one"]);
    assert_eq!(files.names().len(), 2);
    database::wait(&files.dirsyncd.database(), 10);
    files.dirsyncd.sync(0);
    assert_eq!(files.names(), ["dev", "ops", "web"]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_group_that_is_refused_is_put_off_and_in_the_end_only_tried_when_somebody_says_so() {
    let mut files = Files::of(Person::several(3));
    files.groups(&[("dev", "dev", &[0]), ("ops", "ops", &[1])]);
    files.dirsyncd.rest += "\n[apply]\nquarantine_after = 2\n";
    files.organization.faults(&json!([{
        "match": "^POST .*/Groups$", "times": 1000, "status": 403,
        "body": {"key": "forbidden.by-policy", "message": "not this one"}
    }]));
    files.dirsyncd.sync(4).expect_words(&["Groups failed (2)"]);
    let mark = files.organization.mark();
    files.dirsyncd.sync(0).expect_words(&[
        "dev: the group_create failed once, last at ",
        "it is tried again from ",
    ]);
    assert!(files.organization.writes_since(mark).is_empty());
    database::wait(&files.dirsyncd.database(), 10);
    files.dirsyncd.sync(4).expect_words(&["Groups failed (2)"]);
    files.organization.heal();
    database::wait(&files.dirsyncd.database(), 10);
    files.dirsyncd.sync(3).expect_words(&[
        "Groups refused: correct these (2)",
        "in quarantine: the group_create failed 2 times in a row",
    ]);
    files.dirsyncd.run(&["retry", "DEV"]).expect_code(0);
    files
        .dirsyncd
        .sync(3)
        .expect_words(&["Groups refused: correct these (1)"]);
    assert_eq!(files.names(), ["dev"]);
    files.dirsyncd.run(&["retry", "--all"]).expect_code(0);
    files.dirsyncd.sync(0);
    assert_eq!(files.names(), ["dev", "ops"]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_group_that_is_never_answered_is_put_off_and_in_the_end_only_tried_when_somebody_says_so() {
    let mut files = Files::of(Person::several(3));
    files.groups(&[("dev", "dev", &[0])]);
    files.dirsyncd.rest += "\n[apply]\nquarantine_after = 2\n";
    files.dirsyncd.sync(0);
    let dev = files.organization.group("dev").scim_id;
    files.organization.faults(&json!([
        {"match": format!("^(PATCH|PUT) .*/Groups/{dev}"), "times": 100_000, "status": 500}
    ]));
    files.groups(&[("dev", "dev", &[0, 1]), ("ops", "ops", &[1])]);
    files.dirsyncd.sync(4).expect_words(&["Groups failed (1)"]);
    let mark = files.organization.mark();
    files
        .dirsyncd
        .sync(0)
        .expect_words(&["dev: the group_update failed once, last at "]);
    assert!(files.organization.writes_since(mark).is_empty());
    // Alone it may be everybody's trouble; beside another it is its own.
    database::wait(&files.dirsyncd.database(), 10);
    files.dirsyncd.sync(4).expect_words(&["Groups failed (1)"]);
    database::wait(&files.dirsyncd.database(), 10);
    files.groups(&[
        ("dev", "dev", &[0, 1]),
        ("ops", "ops", &[1]),
        ("web", "web", &[1]),
    ]);
    files.dirsyncd.sync(4).expect_words(&["Groups failed (1)"]);
    files.organization.heal();
    database::wait(&files.dirsyncd.database(), 1_000_000);
    files.dirsyncd.sync(3).expect_words(&[
        "in quarantine: the group_update failed 2 times in a row",
        "dirsyncd retry ",
    ]);
    files.dirsyncd.run(&["retry", "dev"]).expect_code(0);
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [0, 1]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn an_account_with_another_key_joins_and_leaves_only_when_that_is_approved() {
    let files = Files::of(Person::several(4));
    files.groups(&[("dev", "dev", &[0, 1]), ("ops", "ops", &[2])]);
    files.dirsyncd.sync(0);
    let account = files.organization.of_key(&files.people[0].key()).unwrap();
    let taken = json!("other-tool");
    files
        .organization
        .patch_by_hand(&account, "externalId", &taken);
    files.dirsyncd.run(&["reconcile"]);
    files.groups(&[("dev", "dev", &[3]), ("ops", "ops", &[0, 1, 2])]);

    files.dirsyncd.sync(3).expect_words(&["rekeyed"]);
    // Whose key is nobody's is told as the last.
    assert_eq!(files.members("dev"), [3, usize::MAX]);
    assert_eq!(files.members("ops"), [1, 2]);

    let approve = ["approve", "rekeyed", "--reason", "it is the same person"];
    files.dirsyncd.run(&approve).expect_code(0);
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), [3]);
    assert_eq!(files.members("ops"), [1, 2, usize::MAX]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn groups_go_out_before_what_is_cosmetic() {
    let mut files = Files::of(Person::several(3));
    files.groups(&[]);
    files.dirsyncd.sync(0);
    files.people[0].title = "Director".to_owned();
    files.groups(&[
        ("dev", "dev", &[0, 1]),
        ("ops", "ops", &[0, 1]),
        ("qa", "qa", &[0, 1]),
        ("web", "web", &[0, 1]),
    ]);
    let rest = files.dirsyncd.rest.clone();
    files.dirsyncd.rest += "\n[apply]\nmax_calls = 8\n";
    // To make each group, and to let both join.
    files
        .dirsyncd
        .sync(4)
        .expect_words(&["Done: 4 applied, 1 left for the next run (1 update)"]);
    assert_eq!(files.members("dev"), [0, 1]);
    files.dirsyncd.rest = rest;
    files.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
}

/// So many names of groups, in their order.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("g{n:02}")).collect()
}

/// Groups of these names, which are their keys too, with the same members.
fn alike<'a>(names: &'a [String], members: &'a [usize]) -> Vec<(&'a str, &'a str, &'a [usize])> {
    let groups = names.iter();
    let groups = groups.map(|name| (name.as_str(), name.as_str(), members));
    groups.collect()
}

/// Somebody has this title in the organization.
#[track_caller]
fn expect_title(files: &Files, title: &str) {
    let titles = files.organization.accounts().into_iter();
    let titles: Vec<String> = titles.filter_map(|one| one.title).collect();
    assert!(titles.contains(&title.to_owned()), "{titles:?}");
}

#[test]
fn an_organization_that_fails_every_group_ends_the_run() {
    let files = Files::of(Person::several(2));
    let names = numbered(40);
    files.groups(&alike(&names, &[0]));
    files.organization.faults(&json!([
        {"match": "^POST .*/Groups$", "times": 1000, "status": 500}
    ]));
    files
        .dirsyncd
        .sync(4)
        .expect_words(&["left for the next run", "the run ended early"]);
    files.organization.heal();
    // The people's accounts were made.
    database::wait(&files.dirsyncd.database(), 10);
    files.dirsyncd.sync(0);
    assert_eq!(files.names(), names);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn groups_that_are_never_answered_keep_nothing_else_from_its_turn() {
    let mut files = Files::of(Person::several(3));
    let names = numbered(18);
    files.groups(&alike(&names, &[0]));
    files.dirsyncd.sync(0);
    let ids: Vec<String> = names
        .iter()
        .map(|name| files.organization.group(name).scim_id)
        .collect();
    let broken = format!("^(PATCH|PUT) .*/Groups/({})", ids.join("|"));
    files.organization.faults(&json!([
        {"match": broken, "times": 100_000, "status": 500}
    ]));
    let mut changed = alike(&names, &[0, 1]);
    changed.push(("new", "new", &[2]));
    files.people[0].title = "Director".to_owned();
    files.groups(&changed);
    // It may be everybody's trouble.
    files
        .dirsyncd
        .sync(4)
        .expect_words(&["the last 16 operations got no usable answer"]);
    // Then the others go first, and those who fail again do not end the run.
    files
        .dirsyncd
        .sync(4)
        .expect_words(&[
            "Groups failed (10)",
            "8 left for the next run (8 group_update)",
        ])
        .expect_words(&["Done: 2 applied"]);
    assert_eq!(files.members("new"), [2]);
    expect_title(&files, "Director");
    files.organization.heal();
    database::wait(&files.dirsyncd.database(), 10);
    files.dirsyncd.sync(0);
    assert_eq!(files.members("g17"), [0, 1]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn groups_that_are_not_answered_again_do_not_end_the_run() {
    let mut files = Files::of(Person::several(3));
    let names = numbered(18);
    files.groups(&alike(&names, &[0]));
    files.dirsyncd.sync(0);
    let faults = json!([
        {"match": "^(PATCH|PUT|POST) .*/Groups", "times": 100_000, "status": 500}
    ]);
    files.organization.faults(&faults);
    let mut changed = alike(&names, &[0, 1]);
    files.groups(&changed);
    files
        .dirsyncd
        .sync(4)
        .expect_words(&["the last 16 operations got no usable answer"]);
    // Three that were not tried before, and eight in a row that were: what comes after them goes.
    changed.push(("new", "new", &[2]));
    files.people[0].title = "Director".to_owned();
    files.groups(&changed);
    files
        .dirsyncd
        .sync(4)
        .expect_words(&["Done: 1 applied", "Groups failed (11)"]);
    expect_title(&files, "Director");
}

#[test]
fn without_a_rule_groups_are_not_looked_at() {
    let mut files = Files::of(Person::several(2));
    files.groups(&[("dev", "dev", &[0])]);
    files.dirsyncd.sync(0);
    files.dirsyncd.rest.clear();
    files.groups(&[]);
    let mark = files.organization.mark();
    let plan = files.dirsyncd.plan();
    files.dirsyncd.sync(0);
    assert!(plan.json["groups"].is_null());
    let requests = files.organization.requests_since(mark);
    assert!(requests.iter().all(|one| !one.path.contains("/Groups")));
    assert_eq!(files.names(), ["dev"]);
}

/// What is refused when the configuration is read, with the place.
#[test]
fn a_rule_that_is_wrong_is_told_with_its_place() {
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&Person::four()));
    for (keys, words) in [
        (
            "base = \"groups\"",
            &["`groups` is not a distinguished name"][..],
        ),
        ("base = []", &["give at least one DN"]),
        (
            "bas = \"dc=x\"",
            &["unknown key `bas`", "did you mean `base`?"],
        ),
        (
            "base = \"dc=x\"\nsource = \"directry\"",
            &["unknown source `directry`", "did you mean `directory`?"],
        ),
        ("base = \"dc=x\"\nfilter = \"(cn=\"", &["filter"]),
        (
            "base = \"dc=x\"\nmatch = \"(a\"",
            &["`(a` is no regular expression"],
        ),
        (
            "base = \"dc=x\"\nname = \"$1\"",
            &["the name refers to `1`"],
        ),
        (
            "base = \"dc=x\"\nmatch = \"(?<team>a)\"\nname = \"$teams\"",
            &["the name refers to `teams`"],
        ),
        (
            "base = \"dc=x\"\nname_attribute = \"c n\"",
            &["`c n` is not an LDAP attribute name"],
        ),
        (
            "base = \"dc=x\"\nkey = \"userPassword\"",
            &["`key` of [[group]] is wrong", "a secret"],
        ),
        (
            "base = \"dc=x\"\non_leave = \"remove\"",
            &["unknown value `remove`", "keep, empty, delete"],
        ),
        ("base = \"dc=x\"\nscope = \"sub\"", &["unknown value `sub`"]),
    ] {
        dirsyncd.rest = format!("[[group]]\n{keys}\n");
        let output = dirsyncd.run(&["plan"]).expect_code(2).expect_words(words);
        let line = dirsyncd
            .config()
            .lines()
            .position(|line| line == "[[group]]")
            .unwrap()
            + 1;
        let lines = line..line + 4;
        let is_placed = lines
            .clone()
            .any(|line| output.stderr.contains(&format!("config.toml:{line}:")));
        assert!(is_placed, "{lines:?}: {output}");
    }
    dirsyncd.organization = organization.admin_block();
    dirsyncd.rest = rule("");
    dirsyncd
        .run(&["plan"])
        .expect_code(2)
        .expect_words(&["provisioning = \"admin\" has none"]);
}

#[test]
fn a_rehearsal_has_the_groups_of_the_organization() {
    let files = Files::of(Person::several(4));
    files.groups(&[("dev", "dev", &[0, 1]), ("ops", "ops", &[2])]);
    files.dirsyncd.sync(0);
    let first = files.organization.of_key(&files.people[0].key()).unwrap();
    files
        .organization
        .create_group_by_hand("theirs", None, &[&first]);
    files.groups(&[
        ("dev", "dev", &[1, 3]),
        ("operators", "ops", &[2]),
        ("theirs", "web", &[0]),
    ]);
    let mark = files.organization.mark();
    files
        .dirsyncd
        .run(&["rehearse"])
        .expect_code(3)
        .expect_words(&[
            "groups: 1 to rename, 1 to change, 1 refused",
            "Done: 2 applied.",
            "After it: Nothing to do",
        ]);
    assert!(files.organization.writes_since(mark).is_empty());
    files.dirsyncd.sync(3);
    assert_eq!(files.members("operators"), [2]);
}

#[test]
fn check_tells_what_each_rule_finds() {
    let mut files = Files::of(Person::several(3));
    files.groups(&[("dev", "dev", &[0, 1]), ("ops", "ops", &[2])]);
    files
        .dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&[&format!(
            "✓ groups below ou=groups,{BASE}: 2 groups with 3 memberships\n"
        )]);
    files.dirsyncd.rest = rule("match = \"none\"");
    files
        .dirsyncd
        .run(&["check"])
        .expect_code(1)
        .expect_words(&["✗", "no group is found"]);
    files.dirsyncd.rest = rule("name = \"\"");
    files
        .dirsyncd
        .run(&["check"])
        .expect_code(1)
        .expect_words(&["make an empty name of `dev`"]);
}

#[test]
fn who_comes_back_under_a_new_key_is_the_same_member() {
    let files = Files::of(Person::several(3));
    files.groups(&[("dev", "dev", &[0, 1]), ("ops", "ops", &[2])]);
    files.dirsyncd.sync(0);
    let before = files.organization.group("dev").members;
    let again = |members: &[usize]| {
        let ldif = people::directory(&files.people)
            + &entry("dev", "dev", &files.dns(&[0, 1]))
            + &entry("ops", "ops", &files.dns(members));
        files
            .dirsyncd
            .write_ldif(&ldif.replace(&files.people[0].key(), &uuid("another key")));
    };
    // In both groups by the run that gives the account its new key.
    again(&[0, 2]);
    files
        .dirsyncd
        .sync(0)
        .expect_words(&["back under a new key"]);
    assert_eq!(files.organization.accounts().len(), 3);
    assert_eq!(files.organization.group("dev").members, before);
    assert_eq!(files.organization.group("ops").members.len(), 2);
    files.dirsyncd.expect_nothing_to_do();
    again(&[2]);
    files.dirsyncd.sync(0);
    assert_eq!(files.organization.group("ops").members.len(), 1);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_sync_that_is_asked_to_stop_leaves_the_other_groups_to_the_next() {
    let files = Files::of(Person::several(2));
    files.groups(&[]);
    files.dirsyncd.sync(0);
    let names: Vec<String> = (0..20).map(|n| format!("g{n:02}")).collect();
    let groups: Vec<(&str, &str, &[usize])> = names
        .iter()
        .map(|name| (name.as_str(), name.as_str(), &[0, 1][..]))
        .collect();
    files.groups(&groups);
    files.organization.slow_writes(500);
    let mark = files.organization.mark();
    let sync = files.dirsyncd.start(&["sync"]);
    eventually("the first batch", SOON, || {
        (files.organization.writes_since(mark).len() >= 8).then_some(())
    });
    sync.signal("TERM");
    sync.wait().expect_code(0).expect_words(&[
        "Done: 8 applied, 12 left for the next run (12 group_create); the run was asked to stop.",
    ]);
    files.organization.heal();
    files.dirsyncd.sync(0).expect_words(&["Done: 12 applied."]);
    assert_eq!(files.names(), names);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_group_is_not_waited_for_by_who_is_asked_to_stop() {
    let files = Files::of(Person::several(4));
    files.groups(&[("dev", "dev", &[0]), ("ops", "ops", &[1])]);
    files.dirsyncd.sync(0);
    let wait = json!({"Retry-After": "50"});
    for (fault, last, sent, told) in [
        (
            json!({"delay_ms": 12_000}),
            2,
            2,
            "Operations whose answer was not waited for: 2; the next run reads back what became of them.",
        ),
        (
            json!({"status": 429, "headers": wait}),
            3,
            // The first answer closes the way.
            1,
            "Done: 0 applied, 2 left for the next run (2 group_update); the run was asked to stop.",
        ),
    ] {
        files.groups(&[("dev", "dev", &[0, last]), ("ops", "ops", &[1, last])]);
        let mut fault = fault.clone();
        fault["match"] = json!("^PATCH .*/Groups/");
        fault["times"] = json!(1000);
        files.organization.faults(&json!([fault]));
        let mark = files.organization.mark();
        let sync = files.dirsyncd.start(&["sync"]);
        eventually("its requests", SOON, || {
            (files.organization.writes_since(mark).len() >= sent).then_some(())
        });

        sync.signal("TERM");

        sync.wait_within(Duration::from_secs(10))
            .expect_code(0)
            .expect_words(&[told]);
        eventually("the requests under way", SOON, || {
            let writes = files.organization.writes_since(mark);
            writes.iter().all(|one| one.status.is_some()).then_some(())
        });
        files.organization.heal();
        files.dirsyncd.sync(0);
        assert_eq!(files.members("dev"), [0, last]);
        assert_eq!(files.members("ops"), [1, last]);
        files.dirsyncd.expect_nothing_to_do();
    }
}

#[test]
fn too_many_who_leave_a_group_are_held_and_those_who_join_go_on() {
    let files = Files::of(Person::several(31));
    let all: Vec<usize> = (0..31).collect();
    files.groups(&[("dev", "dev", &all[..30]), ("ops", "ops", &all[..30])]);
    files.dirsyncd.sync(0);
    // Half of the members may leave in one run, and not one more.
    files.groups(&[("dev", "dev", &all[15..]), ("ops", "ops", &all[..30])]);
    assert_eq!(files.plan(), (0, vec!["update dev +1 -15".to_owned()]));

    files.groups(&[("dev", "dev", &all[16..]), ("ops", "ops", &all[..30])]);
    let brief = ["update dev +1 -0", "update dev +0 -16"].map(str::to_owned);
    assert_eq!(files.plan(), (3, brief.to_vec()));
    files
        .dirsyncd
        .run(&["sync"])
        .expect_code(3)
        .expect_words(&["16 removals of members"]);
    assert_eq!(files.members("dev"), all);
    let plan = files.dirsyncd.plan();
    for hold in plan.list("holds") {
        let name = hold["name"].as_str().unwrap().to_owned();
        let approve = ["approve", &name, "--reason", "they have moved"];
        files
            .dirsyncd
            .run(&approve)
            .expect_code(0)
            .expect_words(&["dev"]);
    }
    assert_eq!(plan.list("holds").len(), 1);
    files.dirsyncd.sync(0);
    assert_eq!(files.members("dev"), all[16..]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_group_that_was_left_out_of_an_approval_stays_held() {
    let mut files = Files::of(Person::several(4));
    files.dirsyncd.rest += "[guards]\nremove_members = { at_most = 2 }\n";
    let with = |members: &[usize]| {
        files.groups(&[
            ("dev", "dev", members),
            ("ops", "ops", members),
            ("web", "web", &[0]),
        ]);
    };
    with(&[0, 1, 2]);
    files.dirsyncd.sync(0);
    with(&[0]);
    files.dirsyncd.sync(3);
    let approve = |only: &[&str]| {
        let words = ["approve", "remove_members", "--reason", "they have moved"];
        files.dirsyncd.run(&[&words[..], only].concat())
    };
    approve(&["--only", "dev"]).expect_code(0);
    for _ in 0..2 {
        files.dirsyncd.sync(3);
        assert_eq!(files.members("dev"), [0]);
        assert_eq!(files.members("ops"), [0, 1, 2]);
    }
    approve(&[]).expect_code(0);
    files.dirsyncd.sync(0);
    assert_eq!(files.members("ops"), [0]);
    files.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_group_that_a_revert_let_go_under_its_old_name_is_not_made_again() {
    let files = Files::of(Person::several(3));
    let theirs = Some(uuid("engineers"));
    files
        .organization
        .create_group_by_hand("dev", theirs.as_deref(), &[]);
    files.groups(&[
        ("engineers", "engineers", &[0, 1]),
        ("ops", "ops", &[2]),
        ("qa", "qa", &[1]),
    ]);
    files.dirsyncd.sync(0);
    assert_eq!(files.names(), ["engineers", "ops", "qa"]);
    let words = ["revert", "1", "--only", "engineers"];
    files.dirsyncd.run(&words).expect_code(0);
    assert_eq!(files.names(), ["dev", "ops", "qa"]);
    for _ in 0..2 {
        let output = files.dirsyncd.sync(3);
        output.expect_words(&["~ engineers [held: reverted]", "Done: 0 applied"]);
        assert_eq!(files.names(), ["dev", "ops", "qa"]);
    }
    assert_eq!(files.members("dev"), [0; 0]);
}
