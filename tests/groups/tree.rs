//! Groups in the directory, and who is selected by them.

use crate::support::people::BASE;
use crate::support::{Dirsyncd, Person, Slapd, World};

/// The DN of a group.
pub(crate) fn group(name: &str) -> String {
    format!("cn={name},ou=groups,{BASE}")
}

/// The DNs of these people.
pub(crate) fn dns(people: &[Person]) -> Vec<String> {
    people.iter().map(Person::dn).collect()
}

/// A world of these people in which groups can be added.
pub(crate) fn world(people: &[Person]) -> World {
    let world = World::of(people);
    unit(&world.slapd, "groups");
    world
}

/// Adds an organizational unit at the top.
pub(crate) fn unit(slapd: &Slapd, name: &str) {
    slapd.modify(&format!(
        "dn: ou={name},{BASE}\nchangetype: add\nobjectClass: organizationalUnit\nou: {name}\n\n"
    ));
}

/// Adds a `groupOfNames`.
pub(crate) fn add(slapd: &Slapd, name: &str, members: &[impl AsRef<str>]) {
    let members: String = members
        .iter()
        .map(|member| format!("member: {}\n", member.as_ref()))
        .collect();
    add_entry(slapd, &group(name), "groupOfNames", &members);
}

/// Adds a group with these lines of LDIF.
pub(crate) fn add_entry(slapd: &Slapd, dn: &str, class: &str, lines: &str) {
    slapd.modify(&format!(
        "dn: {dn}\nchangetype: add\nobjectClass: {class}\n{lines}\n"
    ));
}

/// Adds a group that dirsyncd may not read, with this member, and a referral where a group may be,
/// and gives their DNs.
pub(crate) fn add_unreadable(slapd: &Slapd, member: &str) -> (String, String) {
    unit(slapd, "hidden");
    unit(slapd, "elsewhere");
    let hidden = format!("cn=secret,ou=hidden,{BASE}");
    add_entry(
        slapd,
        &hidden,
        "groupOfNames",
        &format!("member: {member}\n"),
    );
    let referral = format!("cn=far,ou=elsewhere,{BASE}");
    add_entry(
        slapd,
        &referral,
        "referral",
        "objectClass: extensibleObject\nref: ldap://far.example.org/cn=far,dc=far\n",
    );
    (hidden, referral)
}

/// Selects by these groups.
pub(crate) fn select(dirsyncd: &mut Dirsyncd, groups: &[&str]) {
    dirsyncd.set_source("members_of", &format!("{groups:?}"));
}

/// The names of those who get an account by the plan, sorted.
#[track_caller]
pub(crate) fn created(dirsyncd: &Dirsyncd) -> Vec<String> {
    let plan = dirsyncd.plan();
    assert_eq!(plan.code, 0, "{:#}", plan.json);
    let operations = plan.operations();
    assert!(operations.iter().all(|one| one.kind == "create"));
    let mut names: Vec<String> = operations.into_iter().map(|one| one.account).collect();
    names.sort();
    names
}

/// `check` tells this of a group.
#[track_caller]
pub(crate) fn expect_told(dirsyncd: &Dirsyncd, name: &str, what: &str) {
    dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&[&format!("✓ group `{}`: {what}\n", group(name))]);
}
