//! Groups of a real slapd become groups of the organization, which knows no groups in groups.

use crate::organization::{planned, rule};
use crate::support::people::{BASE, Flaws};
use crate::support::{Person, World, crowd};
use crate::tree::{add, add_entry, add_unreadable, dns, group, world};

/// Who is in a group of the organization, by uid.
#[track_caller]
fn members(world: &World, name: &str) -> Vec<String> {
    let accounts = world.organization.accounts();
    let ids = world.organization.group(name).members;
    let mut members: Vec<String> = ids
        .iter()
        .map(|id| {
            accounts
                .iter()
                .find(|account| account.scim_id == *id)
                .unwrap()
        })
        .map(|account| account.user_name.replace("@example.org", ""))
        .collect();
    members.sort();
    members
}

#[test]
fn members_of_groups_in_groups_are_members_and_circles_end() {
    let people = Person::four();
    let mut world = world(&people);
    let [ada, grace, alan, _] = &dns(&people)[..] else {
        panic!()
    };
    let gone = format!("uid=gone,ou=people,{BASE}");
    add(&world.slapd, "top", &[ada, &group("middle"), &gone]);
    add_entry(
        &world.slapd,
        &group("middle"),
        "groupOfUniqueNames",
        &format!("uniqueMember: {grace}\nuniqueMember: {}\n", group("bottom")),
    );
    let bottom = [alan, &group("middle"), &group("bottom"), &group("posix")];
    add(&world.slapd, "bottom", &bottom);
    add_entry(
        &world.slapd,
        &group("posix"),
        "posixGroup",
        "gidNumber: 100\nmemberUid: barbara\n",
    );
    add_entry(
        &world.slapd,
        &group("dynamic"),
        "groupOfURLs",
        &format!("memberURL: ldap:///ou=people,{BASE}??sub?(sn=Turing)\n"),
    );
    world.dirsyncd.rest = rule("");
    world.dirsyncd.sync(0);
    for (name, expected) in [
        ("top", &["ada", "alan", "barbara", "grace"][..]),
        ("middle", &["alan", "barbara", "grace"]),
        ("bottom", &["alan", "barbara", "grace"]),
        ("posix", &["barbara"]),
        ("dynamic", &["alan"]),
    ] {
        assert_eq!(members(&world, name), expected, "{name}");
    }
    world.dirsyncd.expect_nothing_to_do();

    world.dirsyncd.rest = rule("nested = false");
    world.dirsyncd.sync(0);
    for (name, expected) in [
        ("top", &["ada"][..]),
        ("middle", &["grace"]),
        ("bottom", &["alan"]),
        ("posix", &["barbara"]),
        ("dynamic", &["alan"]),
    ] {
        assert_eq!(members(&world, name), expected, "{name}");
    }
    world.dirsyncd.expect_nothing_to_do();

    // Members who are given by searches alone are not known, and stay.
    world.slapd.start_without_dynlist();
    world.dirsyncd.run(&["sync"]).expect_code(3).expect_words(&[
        &format!("dynamic ({}): ", group("dynamic")),
        "it is dynamic (`memberURL`)",
    ]);
    assert_eq!(members(&world, "dynamic"), ["alan"]);
}

#[test]
fn a_member_that_may_be_a_group_and_cannot_be_read_takes_nobody_out() {
    let people = Person::four();
    let mut world = world(&people);
    let [ada, grace, alan, _] = &dns(&people)[..] else {
        panic!()
    };
    let (hidden, referral) = add_unreadable(&world.slapd, ada);
    add(&world.slapd, "inner", &[grace]);
    add(&world.slapd, "team", &[ada, &group("inner")]);
    add(&world.slapd, "sound", &[ada, grace]);
    world.dirsyncd.rest = rule("");
    world.dirsyncd.sync(0);
    for (strange, why) in [
        (&hidden, "insufficientAccessRights (50)"),
        (&referral, "is on another server (ldap://far.example.org"),
    ] {
        let change = |name: &str, members: &[&String]| {
            let members: String = members.iter().map(|dn| format!("member: {dn}\n")).collect();
            let dn = group(name);
            world.slapd.modify(&format!(
                "dn: {dn}\nchangetype: modify\nreplace: member\n{members}-\n"
            ));
        };
        change("inner", &[alan, strange]);
        change("sound", &[ada]);
        // Through the group in it the doubt is also one about this one.
        assert_eq!(
            planned(&world.dirsyncd),
            (
                3,
                vec![
                    "update inner +1 -0".to_owned(),
                    "update sound +0 -1".to_owned(),
                    "update team +1 -0".to_owned(),
                ]
            )
        );
        world.dirsyncd.run(&["sync"]).expect_code(3).expect_words(&[
            "Groups out of which nobody is taken in this run (2)",
            &format!("its member `{strange}`"),
            why,
        ]);
        assert_eq!(members(&world, "inner"), ["alan", "grace"]);
        assert_eq!(members(&world, "team"), ["ada", "alan", "grace"]);
        assert_eq!(members(&world, "sound"), ["ada"]);
        // As before, for the next.
        change("inner", &[grace]);
        change("sound", &[ada, grace]);
        world.dirsyncd.sync(0);
        assert_eq!(members(&world, "inner"), ["grace"]);
    }
    world.dirsyncd.set_source("ignore_referrals", "true");
    let dn = group("inner");
    world.slapd.modify(&format!(
        "dn: {dn}\nchangetype: modify\nreplace: member\nmember: {referral}\nmember: {alan}\n-\n"
    ));
    world.dirsyncd.sync(0);
    assert_eq!(members(&world, "inner"), ["alan"]);
}

#[test]
fn a_search_that_the_server_cuts_off_takes_nothing_away() {
    let people = Person::several(3);
    let mut world = world(&people);
    for n in 0..6 {
        add(&world.slapd, &format!("g{n}"), &[people[n % 3].dn()]);
    }
    world.dirsyncd.rest = rule("on_leave = \"delete\"");
    world.dirsyncd.sync(0);
    world.slapd.delete(&group("g5"));
    add(&world.slapd, "g6", &[people[0].dn()]);
    add(&world.slapd, "g7", &[people[0].dn()]);
    // It gets five entries, which are all people, and not all groups.
    let limited = format!("\"cn=limited,ou=services,{BASE}\"");
    world.dirsyncd.set_source("bind_dn", &limited);
    world.dirsyncd.run(&["sync"]).expect_code(3).expect_words(&[
        &format!("all that is found below ou=groups,{BASE}"),
        "sizeLimitExceeded",
    ]);
    let names: Vec<String> = world
        .organization
        .groups()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert!(names.contains(&"g5".to_owned()), "{names:?}");
    world
        .dirsyncd
        .set_source("bind_dn", &limited.replace("limited", "sync"));
    world.dirsyncd.sync(0);
    let names: Vec<String> = world
        .organization
        .groups()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["g0", "g1", "g2", "g3", "g4", "g6", "g7"]);
}

#[test]
fn of_many_members_the_names_of_all_people_are_read_first() {
    // One by one, and above that from a list.
    for count in [2000, 2001] {
        let people = crowd(count, Flaws::default());
        let enabled = people
            .iter()
            .filter(|person| person.employee_type == "staff")
            .count();
        let mut world = world(&people);
        let stray = format!("cn=sync,ou=services,{BASE}");
        add(
            &world.slapd,
            "all",
            &[dns(&people), vec![stray.clone()]].concat(),
        );
        world.dirsyncd.rest = rule("");
        let (code, operations) = planned(&world.dirsyncd);
        assert_eq!(
            (code, operations),
            (0, vec![format!("create all +{enabled} -0")])
        );
        let plan = world.dirsyncd.plan();
        let told = &plan.json["groups"]["notices"][0];
        assert_eq!(told["kind"], "without_account");
        assert_eq!(told["count"], count - enabled + 1);
        assert!(told["dns"].to_string().contains(&stray));
    }
}

#[test]
fn what_changes_in_a_group_alone_is_seen_when_people_are_followed() {
    let people = Person::four();
    let mut world = world(&people);
    add(&world.slapd, "dev", &dns(&people[..2]));
    world.dirsyncd.rest = rule("");
    world.dirsyncd.sync(0);
    world.dirsyncd.expect_nothing_to_do();
    let dn = group("dev");
    let dev = &people[3].dn();
    world.slapd.modify(&format!(
        "dn: {dn}\nchangetype: modify\nadd: member\nmember: {dev}\n-\n"
    ));
    let plan = world.dirsyncd.plan();
    assert_eq!(plan.json["pulls"][0]["changed"], 0, "{:#}", plan.json);
    assert_eq!(planned(&world.dirsyncd).1, ["update dev +1 -0"]);
    world.dirsyncd.sync(0);
    assert_eq!(members(&world, "dev"), ["ada", "barbara", "grace"]);
    // A person who moves, and a group that does, keep their places.
    let department = format!("ou=Sales,ou=people,{BASE}");
    world
        .slapd
        .rename(&people[0].dn(), "uid=countess", Some(&department));
    world.slapd.modify(&format!(
        "dn: {dn}\nchangetype: modify\ndelete: member\nmember: {}\n-\nadd: member\nmember: uid=countess,{department}\n-\n",
        people[0].dn()
    ));
    world.slapd.rename(&dn, "cn=engineers", None);
    assert_eq!(planned(&world.dirsyncd).1, ["rename engineers +3 -0"]);
    world.dirsyncd.sync(0);
    assert_eq!(members(&world, "engineers"), ["ada", "barbara", "grace"]);
    world.dirsyncd.expect_nothing_to_do();
    // Who leaves stays in the group, as long as the account is there.
    world.slapd.delete(&people[1].dn());
    world.dirsyncd.sync(0);
    assert_eq!(members(&world, "engineers"), ["ada", "barbara", "grace"]);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_group_in_the_group_that_is_gone_or_hidden_takes_nobody_along_until_it_is_said() {
    let people = Person::four();
    let mut world = world(&people);
    add(&world.slapd, "inner", &dns(&people[1..3]));
    add(&world.slapd, "other", &dns(&people[3..]));
    add(&world.slapd, "team", &[people[0].dn(), group("inner")]);
    world.dirsyncd.rest = rule("on_leave = \"delete\"");
    world.dirsyncd.sync(0);
    assert_eq!(members(&world, "team"), ["ada", "alan", "grace"]);
    // Which groups are in a new one is noted by the run after it.
    world.dirsyncd.sync(0);

    // To the bind DN a hidden entry is none, as this one is.
    world.slapd.delete(&group("inner"));
    assert_eq!(
        planned(&world.dirsyncd),
        (3, vec!["delete inner +0 -0".to_owned()])
    );
    for _ in 0..2 {
        world
            .dirsyncd
            .run(&["sync"])
            .expect_code(3)
            .expect_words(&[&format!(
                "team ({}): a member that was a group",
                group("team")
            )]);
        assert_eq!(members(&world, "team"), ["ada", "alan", "grace"]);
    }
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: modify\ndelete: member\nmember: {}\n-\n",
        group("team"),
        group("inner")
    ));
    world.dirsyncd.sync(0);
    assert_eq!(members(&world, "team"), ["ada"]);
    world.dirsyncd.expect_nothing_to_do();
}
