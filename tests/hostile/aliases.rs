//! Alias entries (RFC 4512 section 2.6) in a real slapd: they are entries of their own, and never followed.

use crate::support::people::BASE;
use crate::support::unchanged::Before;
use crate::support::{Person, World};

#[test]
fn an_alias_neither_doubles_a_person_nor_makes_the_pull_fail() {
    let people = Person::four();
    let mut world = World::synced(&people);
    let alias = |name: &str, of: &str| {
        format!(
            "dn: uid={name},ou=people,{BASE}\nchangetype: add\nobjectClass: alias\nobjectClass: extensibleObject\nuid: {name}\naliasedObjectName: {of}\n\n"
        )
    };
    world.slapd.modify(&alias("shadow", &people[0].dn()));
    world
        .slapd
        .modify(&alias("dangling", &format!("uid=nobody,{BASE}")));
    world
        .slapd
        .modify(&alias("circle", &format!("ou=people,{BASE}")));

    let before = Before::of(world.dirsyncd.folder(), &world.organization);
    world.dirsyncd.expect_nothing_to_do();
    world.dirsyncd.sync(0);
    // A filter that also finds them finds entries that are no people.
    world.dirsyncd.set_source("filter", "\"(uid=*)\"");
    let plan = world.dirsyncd.plan();
    assert_eq!(plan.code, 3);
    assert!(plan.operations().is_empty());
    assert_eq!(plan.list("refused").len(), 3, "{:#}", plan.json);
    world.dirsyncd.set_source("without_mail", "\"skip\"");
    world.dirsyncd.sync(0).expect_words(&[
        "Skipped (3)",
        "uid=shadow,",
        "uid=dangling,",
        "uid=circle,",
    ]);
    before.expect_organization_unchanged();
}

#[test]
fn a_base_that_is_an_alias_has_nothing_below_it() {
    let mut world = World::synced(&Person::four());
    world.slapd.modify(&format!(
        "dn: ou=staff,{BASE}\nchangetype: add\nobjectClass: alias\nobjectClass: extensibleObject\nou: staff\naliasedObjectName: ou=people,{BASE}\n\n"
    ));
    world
        .dirsyncd
        .set_source("base", &format!("\"ou=staff,{BASE}\""));
    let before = Before::of(world.dirsyncd.folder(), &world.organization);
    for verb in ["plan", "sync"] {
        world
            .dirsyncd
            .run(&[verb])
            .expect_code(3)
            .expect_words(&["returned no entry at all", "check its base"]);
    }
    before.expect_organization_unchanged();
    assert_eq!(world.organization.active(), 4);
}
