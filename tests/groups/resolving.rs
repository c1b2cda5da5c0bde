//! Who is in a group: each kind, nesting, and what cannot be resolved.

use crate::refused;
use crate::support::people::BASE;
use crate::support::{Dirsyncd, Person};
use crate::tree::{
    add, add_entry, add_unreadable, created, dns, expect_told, group, select, world,
};

const ADA: &str = "Ada Lovelace";
const ALAN: &str = "Alan Turing";
const BARBARA: &str = "Barbara Liskov";
const GRACE: &str = "Grace Hopper";

#[test]
fn each_kind_of_group_selects_its_members_and_check_tells_it() {
    let mut people = Person::four();
    people[3].department = "Sales".to_owned();
    let mut world = world(&people);
    let [ada, grace, alan, _] = &dns(&people)[..] else {
        panic!()
    };
    add(&world.slapd, "names", &[ada, grace]);
    add_entry(
        &world.slapd,
        &group("unique"),
        "groupOfUniqueNames",
        &format!("uniqueMember: {ada}\nuniqueMember: {alan}#'0101'B\n"),
    );
    add_entry(
        &world.slapd,
        &group("posix"),
        "posixGroup",
        "gidNumber: 100\nmemberUid: barbara\nmemberUid: ada\nmemberUid: nobody\n",
    );
    add_entry(
        &world.slapd,
        &group("dynamic"),
        "groupOfURLs",
        &format!("memberURL: ldap:///ou=people,{BASE}??sub?(departmentNumber=Sales)\n"),
    );
    for (name, names, told) in [
        (
            "names",
            &[ADA, GRACE][..],
            "groupOfNames, direct members: 2, members in all: 2",
        ),
        (
            "unique",
            &[ADA, ALAN],
            "groupOfUniqueNames, direct members: 2, members in all: 2",
        ),
        (
            "posix",
            &[ADA, BARBARA],
            "posixGroup, direct members: 3, members in all: 3",
        ),
        (
            "dynamic",
            &[BARBARA],
            "groupOfURLs, direct members: 1, members in all: 1",
        ),
    ] {
        select(&mut world.dirsyncd, &[&group(name)]);
        assert_eq!(created(&world.dirsyncd), names, "{name}");
        let told = format!("{told}, nested groups: 0, cycles: 0, dangling members: 0");
        expect_told(&world.dirsyncd, name, &told);
    }
    // Any of several groups is enough.
    select(&mut world.dirsyncd, &[&group("dynamic"), &group("unique")]);
    assert_eq!(created(&world.dirsyncd), [ADA, ALAN, BARBARA]);
    world
        .dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&["source `directory`: 3 entries, 3 people can be mapped"]);
    // The filter still holds.
    world.dirsyncd.set_source("filter", "\"(sn=Turing)\"");
    assert_eq!(created(&world.dirsyncd), [ALAN]);
}

#[test]
fn groups_in_groups_are_followed_and_circles_end() {
    let people = Person::four();
    let mut world = world(&people);
    let [ada, grace, alan, _] = &dns(&people)[..] else {
        panic!()
    };
    let gone = format!("uid=gone,ou=people,{BASE}");
    // Three deep, through kinds; the last leads back to the one before, and to itself.
    add(&world.slapd, "top", &[ada, &group("middle"), &gone]);
    add_entry(
        &world.slapd,
        &group("middle"),
        "groupOfUniqueNames",
        &format!("uniqueMember: {grace}\nuniqueMember: {}\n", group("bottom")),
    );
    add(
        &world.slapd,
        "bottom",
        &[
            alan,
            &group("middle"),
            &group("bottom"),
            &group("posix"),
            &gone,
        ],
    );
    add_entry(
        &world.slapd,
        &group("posix"),
        "posixGroup",
        "gidNumber: 100\nmemberUid: barbara\n",
    );
    select(&mut world.dirsyncd, &[&group("top")]);
    assert_eq!(created(&world.dirsyncd), [ADA, ALAN, BARBARA, GRACE]);
    expect_told(
        &world.dirsyncd,
        "top",
        "groupOfNames, direct members: 3, members in all: 4, nested groups: 3, cycles: 2, dangling members: 1",
    );
    // From inside the circle only what can be reached from there.
    select(&mut world.dirsyncd, &[&group("bottom")]);
    assert_eq!(created(&world.dirsyncd), [ALAN, BARBARA, GRACE]);
}

#[test]
fn a_circle_of_two_is_both_of_them() {
    let people = Person::four();
    let mut world = world(&people);
    let [ada, grace, ..] = &dns(&people)[..] else {
        panic!()
    };
    add(&world.slapd, "one", &[ada, &group("two")]);
    add(&world.slapd, "two", &[grace, &group("one")]);
    for name in ["one", "two"] {
        select(&mut world.dirsyncd, &[&group(name)]);
        assert_eq!(created(&world.dirsyncd), [ADA, GRACE]);
        expect_told(
            &world.dirsyncd,
            name,
            "groupOfNames, direct members: 2, members in all: 2, nested groups: 1, cycles: 1, dangling members: 0",
        );
    }
}

#[test]
fn a_member_may_be_spelled_otherwise_than_its_entry() {
    let mut people = Person::four();
    people[0].uid = "lovelace, ada".to_owned();
    people[0].mail = Some("ada@example.org".to_owned());
    let mut world = world(&[]);
    let entry = people[0].entry().replace(
        &people[0].dn(),
        &format!("uid=lovelace\\, ada,ou=Engineering,ou=people,{BASE}"),
    );
    world.slapd.modify(
        &entry
            .replacen('\n', "\nchangetype: add\n", 1)
            .replace(&format!("entryUUID: {}\n", people[0].key()), ""),
    );
    for person in &people[1..] {
        world.slapd.add(person);
    }
    add(
        &world.slapd,
        "odd",
        &[
            r"UID=Lovelace\2C  ADA , OU=engineering,ou=PEOPLE, dc=Example,dc=ORG",
            r"userid=\67race,ou=Engineering,ou=people,dc=example,dc=org",
            "0.9.2342.19200300.100.1.1=ALAN,OU=Engineering,OU=People,DC=example,DC=org",
        ],
    );
    select(
        &mut world.dirsyncd,
        &["CN=Odd, OU=Groups, DC=example, DC=org"],
    );
    assert_eq!(created(&world.dirsyncd), [ADA, ALAN, GRACE]);
}

#[test]
fn an_export_selects_whom_the_server_selects() {
    let people = Person::several(20);
    let mut world = world(&people);
    let dn = |n: usize| people[n].dn();
    add(
        &world.slapd,
        "top",
        &[
            &dn(1),
            &group("sub"),
            &group("posix"),
            &dn(1).replace("p01", "gone"),
        ],
    );
    add(
        &world.slapd,
        "sub",
        &[&dn(2).to_uppercase(), &group("top"), &group("unique")],
    );
    add_entry(
        &world.slapd,
        &group("unique"),
        "groupOfUniqueNames",
        &format!("uniqueMember: {}#'1'B\n", dn(3)),
    );
    add_entry(
        &world.slapd,
        &group("posix"),
        "posixGroup",
        "gidNumber: 100\nmemberUid: p04\nmemberUid: p05\n",
    );
    let mut export = Dirsyncd::from_ldif(&world.organization, &world.slapd.slapcat());
    let told = "groupOfNames, direct members: 4, members in all: 5, nested groups: 3, cycles: 1, dangling members: 1";
    for dirsyncd in [&mut world.dirsyncd, &mut export] {
        select(dirsyncd, &[&group("top")]);
        let names: Vec<String> = (1..=5).map(|n| format!("Pat Person {n:02}")).collect();
        assert_eq!(created(dirsyncd), names);
        expect_told(dirsyncd, "top", told);
    }
    // A group that is not in the file, and one that only a server can expand.
    select(&mut export, &[&group("nowhere")]);
    export.sync(1).expect_words(&["there is no such entry"]);
    add_entry(
        &world.slapd,
        &group("dynamic"),
        "groupOfURLs",
        &format!("memberURL: ldap:///ou=people,{BASE}??sub?(uid=p06)\n"),
    );
    export.write_ldif(&world.slapd.slapcat());
    select(&mut export, &[&group("dynamic")]);
    export.sync(1).expect_words(&["it is dynamic"]);
    assert!(world.organization.accounts().is_empty());
}

#[test]
fn a_group_that_cannot_be_resolved_is_an_error_and_nobody_departs() {
    let people = Person::four();
    let mut world = world(&people);
    let ada = &people[0].dn();
    let (hidden, referral) = add_unreadable(&world.slapd, ada);
    add(&world.slapd, "all", &dns(&people));
    add(&world.slapd, "with-hidden", &[ada, &hidden]);
    add(&world.slapd, "with-far", &[ada, &referral]);
    add(&world.slapd, "around", &[&group("with-far")]);
    select(&mut world.dirsyncd, &[&group("all")]);
    world.dirsyncd.sync(0);

    for (name, words) in [
        (
            group("nowhere"),
            vec![group("nowhere"), "there is no such entry".to_owned()],
        ),
        (
            ada.clone(),
            vec![ada.clone(), "the entry is no group".to_owned()],
        ),
        (
            hidden.clone(),
            vec![
                hidden.clone(),
                "cannot be read".to_owned(),
                "insufficientAccessRights (50)".to_owned(),
            ],
        ),
        (
            group("with-hidden"),
            vec![
                format!("who is in the group `{}`", group("with-hidden")),
                format!("its member `{hidden}` cannot be read"),
                "insufficientAccessRights (50)".to_owned(),
            ],
        ),
        (
            group("around"),
            vec![
                format!("who is in the group `{}`", group("with-far")),
                " is on another server (ldap://far.example.org/cn=far,dc=far".to_owned(),
                "ignore_referrals".to_owned(),
            ],
        ),
    ] {
        println!("{name}");
        select(&mut world.dirsyncd, &[&group("all"), &name]);
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        refused::by_check(&world, &words);
        words.push("source `directory`");
        refused::by_plan_and_sync(&world, 1, &words);
    }
    assert_eq!(world.organization.active(), 4);
    // Members on other servers may be left out knowingly.
    world.dirsyncd.set_source("ignore_referrals", "true");
    world.dirsyncd.expect_nothing_to_do();
    expect_told(
        &world.dirsyncd,
        "around",
        "groupOfNames, direct members: 1, members in all: 1, nested groups: 1, cycles: 0, dangling members: 1",
    );
}

#[test]
fn a_dynamic_group_that_the_server_does_not_expand_is_an_error_and_nobody_departs() {
    let mut world = world(&Person::four());
    add_entry(
        &world.slapd,
        &group("dynamic"),
        "groupOfURLs",
        &format!("memberURL: ldap:///ou=people,{BASE}??sub?(uid=*)\n"),
    );
    add(&world.slapd, "around", &[group("dynamic")]);
    select(&mut world.dirsyncd, &[&group("around")]);
    world.dirsyncd.sync(0);
    assert_eq!(world.organization.active(), 4);

    world.slapd.start_without_dynlist();
    let about = format!("who is in the group `{}`: it is dynamic", group("dynamic"));
    for name in ["around", "dynamic"] {
        select(&mut world.dirsyncd, &[&group(name)]);
        refused::by_check(&world, &[&about, "let the server expand it"]);
        refused::by_plan_and_sync(&world, 1, &[&about, "source `directory`"]);
    }
    assert_eq!(world.organization.active(), 4);
}

/// So many that the people are listed instead of looked up one by one: the group in it and the member that is gone are
/// found all the same.
#[test]
fn a_group_of_five_thousand() {
    let people = Person::several(5_002);
    let mut world = world(&people);
    let members: String = people[2..]
        .iter()
        .map(|person| format!("uniqueMember: {}\n", person.dn()))
        .collect();
    let others = format!(
        "uniqueMember: uid=gone,{BASE}\nuniqueMember: {}\n",
        group("small")
    );
    add(&world.slapd, "small", &[people[1].dn()]);
    add_entry(
        &world.slapd,
        &group("large"),
        "groupOfUniqueNames",
        &format!("{members}{others}"),
    );
    add(&world.slapd, "around", &[&group("large")]);
    select(&mut world.dirsyncd, &[&group("around")]);
    expect_told(
        &world.dirsyncd,
        "around",
        "groupOfNames, direct members: 1, members in all: 5001, nested groups: 2, cycles: 0, dangling members: 1",
    );
    let names = created(&world.dirsyncd);
    assert_eq!(names.len(), 5_001);
    assert!(names.contains(&people[1].name()));
    assert!(!names.contains(&people[0].name()));
}
