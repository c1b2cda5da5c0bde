//! What happens in a directory, one thing at a time.

use crate::expect_one_plan;
use crate::support::people::BASE;
use crate::support::{Person, SOON, World, eventually};

/// What is done to the directory, how many entries that changes, and the operations that follow.
type Story = (&'static str, fn(&World), u64, &'static [&'static str]);

const STORIES: [Story; 9] = [
    ("nothing", |_| {}, 0, &[]),
    (
        "a person joins",
        |world| world.slapd.add(&Person::new("radia", "Radia", "Perlman")),
        1,
        &["create Radia Perlman"],
    ),
    (
        "a title changes",
        |world| world.slapd.replace(&ada().dn(), &[("title", "Countess")]),
        1,
        &["update Ada Lovelace"],
    ),
    (
        "a person leaves",
        |world| world.slapd.delete(&ada().dn()),
        1,
        &["deactivate Ada Lovelace"],
    ),
    (
        "a person is disabled",
        |world| {
            world
                .slapd
                .replace(&ada().dn(), &[("employeeType", "leaver")])
        },
        1,
        &["deactivate Ada Lovelace"],
    ),
    (
        "a person moves within the base",
        |world| {
            let sales = format!("ou=Sales,ou=people,{BASE}");
            world.slapd.rename(&ada().dn(), "uid=ada", Some(&sales));
        },
        1,
        &[],
    ),
    (
        "a person moves out of the base",
        |world| {
            let out = format!("ou=empty,{BASE}");
            world.slapd.rename(&ada().dn(), "uid=ada", Some(&out));
        },
        1,
        &["deactivate Ada Lovelace"],
    ),
    (
        "a person is no longer found by the filter",
        |world| {
            world
                .slapd
                .replace(&ada().dn(), &[("employeeType", "external")])
        },
        1,
        &["deactivate Ada Lovelace"],
    ),
    (
        "something that is no person changes",
        |world| {
            let services = format!("cn=limited,ou=services,{BASE}");
            world
                .slapd
                .replace(&services, &[("description", "changed")]);
        },
        0,
        &[],
    ),
];

fn ada() -> Person {
    Person::four().remove(0)
}

#[test]
fn each_change_alone_is_read_and_gives_the_plan_of_a_full_pull() {
    for (story, change, entries, wanted) in STORIES {
        println!("{story}");
        let mut world = World::of(&Person::four());
        let filter = "(&(objectClass=inetOrgPerson)(!(employeeType=external)))";
        world.dirsyncd.set_source("filter", &format!("{filter:?}"));
        world.dirsyncd.sync(0).expect_words(&["Read 4 people from"]);

        change(&world);

        let (plan, changed) = expect_one_plan(&world.dirsyncd);
        assert_eq!(changed, entries, "{story}");
        let planned: Vec<String> = plan["operations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|operation| {
                let text = |name: &str| operation[name].as_str().unwrap().to_owned();
                format!("{} {}", text("kind"), text("account"))
            })
            .collect();
        assert_eq!(planned, wanted, "{story}");
        let output = world.dirsyncd.sync(0);
        let told = format!("Read what changed ({entries}) of ");
        assert!(output.stdout.contains(&told), "{output}");
        let (_, changed) = expect_one_plan(&world.dirsyncd);
        assert_eq!(changed, 0, "{story}");
        world.dirsyncd.expect_nothing_to_do();
    }
}

#[test]
fn what_could_not_be_done_is_planned_again_though_nothing_changes() {
    let world = World::synced(&Person::four());
    // Refused, held and skipped, each by itself.
    world
        .slapd
        .add(&Person::new("double", "Do", "Uble").with_mail(Some("ada@example.org")));
    world
        .slapd
        .add(&Person::new("mailless", "Mail", "Less").with_mail(None));
    world
        .slapd
        .add(&Person::new("gone", "Gone", "Already").disabled());
    world.dirsyncd.sync(3);

    let (plan, changed) = expect_one_plan(&world.dirsyncd);

    assert_eq!(changed, 0);
    assert_eq!(plan["refused"].as_array().unwrap().len(), 2, "{plan:#}");
    assert_eq!(plan["skipped"].as_array().unwrap().len(), 1, "{plan:#}");
    // The other one of the two with one address lets go of it: nobody's entry but that one changes.
    world
        .slapd
        .replace(&ada().dn(), &[("mail", "countess@example.org")]);
    let (plan, changed) = expect_one_plan(&world.dirsyncd);
    assert_eq!(changed, 1);
    assert_eq!(plan["operations"].as_array().unwrap().len(), 2, "{plan:#}");
}

#[test]
fn a_newcomer_with_the_address_of_somebody_who_has_not_changed_is_refused() {
    let world = World::synced(&Person::four());
    world
        .slapd
        .add(&Person::new("ada2", "Ada", "Second").with_mail(Some("ADA@example.org")));
    let (plan, _) = expect_one_plan(&world.dirsyncd);
    let refused = plan["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 1, "{plan:#}");
    let why = refused[0]["reason"].as_str().unwrap();
    assert!(
        why.contains(&format!("is also that of {}", ada().dn())),
        "{why}"
    );
}

#[test]
fn a_sync_that_is_killed_loses_no_change() {
    let people = Person::several(30);
    let mut world = World::synced(&people);
    world.dirsyncd.rest = "[guards]\nupdate = []\nsame_attribute = []\n".to_owned();
    for person in &people {
        world.slapd.replace(&person.dn(), &[("title", "Renamed")]);
    }
    world.organization.slow_writes(500);
    let mark = world.organization.mark();
    let sync = world.dirsyncd.start(&["sync"]);
    eventually("the first changes", SOON, || {
        (world.organization.writes_since(mark).len() >= 8).then_some(())
    });

    sync.signal("KILL");
    sync.wait();

    world.organization.heal();
    // What is on its way arrives all the same.
    let renamed = || {
        let title = |person: &&Person| world.account(person).title.as_deref() == Some("Renamed");
        people.iter().filter(title).count()
    };
    eventually("what was sent", SOON, || {
        (renamed() == world.organization.writes_since(mark).len()).then_some(())
    });
    let (plan, changed) = expect_one_plan(&world.dirsyncd);
    assert_eq!(changed, 0, "the cookie was kept before anything was sent");
    assert!(
        plan["operations"].as_array().unwrap().len() >= 30 - 16,
        "{plan:#}"
    );
    world.dirsyncd.sync(0);
    world.dirsyncd.expect_nothing_to_do();
    for person in &people {
        assert_eq!(world.account(person).title.as_deref(), Some("Renamed"));
    }
}
