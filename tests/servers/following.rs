//! Pulls of what changed, from servers of other kinds: after each change they give the plan of a full pull.

use crate::active_directory::Domain;
use crate::ds389::{Place, lock};
use crate::support::following::{expect_one_plan, plan};
use crate::support::people::BASE;
use crate::support::samba::{DISABLED, DOMAIN, dn, unit};
use crate::support::{Dirsyncd, Person};

/// The change must be read as one of so many entries, give the plan of a full pull with so many operations, and be
/// applied.
#[track_caller]
fn expect(dirsyncd: &Dirsyncd, what: &str, entries: u64, operations: usize) {
    println!("{what}");
    let (plan, changed) = expect_one_plan(dirsyncd);
    assert_eq!(
        plan["operations"].as_array().unwrap().len(),
        operations,
        "{what}: {plan:#}"
    );
    assert_eq!(changed, entries, "{what}");
    dirsyncd.sync(0);
    dirsyncd.expect_nothing_to_do();
}

/// A change that cannot be followed: it is read in full, and that is told.
#[track_caller]
fn expect_in_full(dirsyncd: &Dirsyncd, what: &str, operations: usize, why: &str) {
    println!("{what}");
    let (followed, how) = plan(dirsyncd, &[]);
    assert_eq!(
        followed["operations"].as_array().unwrap().len(),
        operations,
        "{what}"
    );
    assert!(
        how["notices"][0]["message"].as_str().unwrap().contains(why),
        "{how:#}"
    );
    dirsyncd.sync(0);
    dirsyncd.expect_nothing_to_do();
}

#[test]
fn active_directory_is_followed_by_update_sequence_numbers() {
    let people = Person::several(9);
    let Domain {
        samba, dirsyncd, ..
    } = &mut Domain::of(&people, "");
    dirsyncd.set_source("exclude", "'attr(\"title\") == \"Robot\"'");
    // Who may not see what was deleted reads everything each time.
    dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&["every pull reads all of it"]);
    dirsyncd.sync(0);
    let (_, how) = plan(dirsyncd, &[]);
    assert!(how["pulls"][0]["changed"].is_null(), "{how:#}");
    samba.show_deleted();
    dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&["by update sequence numbers"]);
    dirsyncd.sync(0);

    expect(dirsyncd, "nothing", 0, 0);
    samba.replace(&dn(&people[0]), "title", "Boss");
    expect(dirsyncd, "a title changes", 1, 1);
    samba.replace(&dn(&people[1]), "userAccountControl", DISABLED);
    expect(dirsyncd, "a person is disabled", 1, 1);
    samba.delete(&dn(&people[2]));
    expect(dirsyncd, "a person is deleted", 1, 1);
    samba.rename(&dn(&people[3]), "CN=Moved", &unit("Legal"));
    expect(dirsyncd, "a person moves within the base", 1, 0);
    samba.rename(&dn(&people[4]), "CN=Out", &format!("CN=Users,{DOMAIN}"));
    expect(dirsyncd, "a person moves out of the base", 1, 1);
    samba.rename(
        &format!("CN=Out,CN=Users,{DOMAIN}"),
        "CN=Back",
        &unit("Legal"),
    );
    expect(dirsyncd, "and back", 1, 1);
    samba.replace(&dn(&people[7]), "title", "Robot");
    expect(dirsyncd, "a person is excluded", 1, 1);
    samba.replace(&dn(&people[7]), "description", "a robot");
    expect(dirsyncd, "who is excluded changes", 0, 0);
    samba.replace(&dn(&people[7]), "title", "Engineer");
    expect(dirsyncd, "and is no longer excluded", 1, 1);
    samba.modify(&format!(
        "dn: CN=some group,CN=Users,{DOMAIN}\nchangetype: add\nobjectClass: group\nmember: {}\n",
        dn(&people[5])
    ));
    expect(dirsyncd, "a group is made", 0, 0);
    let joiner = Person::new("radia", "Radia", "Perlman");
    samba.modify(&crate::support::samba::entry(&joiner).replacen(
        "objectClass",
        "changetype: add\nobjectClass",
        1,
    ));
    expect(dirsyncd, "a person joins", 1, 1);
    let deep = format!("OU=Deep,{}", unit("Sales"));
    samba.modify(&format!(
        "dn: {deep}\nchangetype: add\nobjectClass: organizationalUnit\n"
    ));
    let why = "the containers below the bases have changed";
    expect_in_full(dirsyncd, "a unit is made", 0, why);
    samba.rename(&dn(&people[6]), "CN=Deep", &deep);
    expect(dirsyncd, "a person moves into it", 1, 0);
    samba.rename(&deep, "OU=Deep", DOMAIN);
    expect_in_full(dirsyncd, "the unit leaves the base with its people", 1, why);
}

#[test]
fn ds389_is_followed_by_content_synchronization() {
    let people = Person::several(9);
    let Place {
        server, dirsyncd, ..
    } = &mut Place::of(&people);
    dirsyncd.set_source(
        "filter",
        "\"(&(objectClass=inetOrgPerson)(!(employeeType=external)))\"",
    );
    dirsyncd.set_source("exclude", "'attr(\"title\") == \"Robot\"'");
    dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&["by content synchronization"]);
    dirsyncd.sync(0);
    let set = |dn: &str, attribute: &str, value: &str| {
        server.modify(&format!(
            "dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"
        ));
    };

    expect(dirsyncd, "nothing", 0, 0);
    set(&people[0].dn(), "title", "Boss");
    expect(dirsyncd, "a title changes", 1, 1);
    lock(server, &people[1].dn(), true);
    expect(dirsyncd, "a person is disabled", 1, 1);
    server.delete(&people[2].dn());
    expect(dirsyncd, "a person is deleted", 1, 1);
    server.rename(
        &people[3].dn(),
        "uid=moved",
        &format!("ou=Legal,ou=people,{BASE}"),
    );
    expect(dirsyncd, "a person moves within the base", 1, 0);
    server.rename(&people[4].dn(), "uid=out", &format!("ou=empty,{BASE}"));
    expect(dirsyncd, "a person moves out of the base", 1, 1);
    server.rename(
        &format!("uid=out,ou=empty,{BASE}"),
        "uid=back",
        &format!("ou=Legal,ou=people,{BASE}"),
    );
    expect(dirsyncd, "and back", 1, 1);
    set(&people[5].dn(), "employeeType", "external");
    expect(dirsyncd, "a person is no longer found by the filter", 1, 1);
    set(&people[5].dn(), "employeeType", "staff");
    expect(dirsyncd, "and found again", 1, 1);
    set(&people[6].dn(), "title", "Robot");
    expect(dirsyncd, "a person is excluded", 1, 1);
    set(&people[6].dn(), "description", "a robot");
    expect(dirsyncd, "who is excluded changes", 0, 0);
    set(&people[6].dn(), "title", "Engineer");
    expect(dirsyncd, "and is no longer excluded", 1, 1);
    server.add(&Person::new("radia", "Radia", "Perlman"));
    expect(dirsyncd, "a person joins", 1, 1);
    server.rename(
        &format!("ou=Engineering,ou=people,{BASE}"),
        "ou=Research",
        &format!("ou=people,{BASE}"),
    );
    expect_in_full(
        dirsyncd,
        "a unit gets another name",
        0,
        "the containers below the bases have changed",
    );
}
