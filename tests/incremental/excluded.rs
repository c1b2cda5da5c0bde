//! Who is excluded counts as gone, and who no longer is as new, also where only what changed is read.

use crate::expect_one_plan;
use crate::support::people::BASE;
use crate::support::{Person, World};

/// What is done to the directory, how many entries that changes, and the operations that follow.
type Story = (&'static str, fn(&World), u64, &'static [&'static str]);

const STORIES: [Story; 7] = [
    ("nothing", |_| {}, 0, &[]),
    (
        "a person is excluded",
        |world| become_of(world, &ada(), "external"),
        1,
        &["deactivate Ada Lovelace"],
    ),
    (
        "a person moves to where all are excluded",
        |world| {
            let legal = format!("ou=Legal,ou=people,{BASE}");
            world.slapd.rename(&ada().dn(), "uid=ada", Some(&legal));
        },
        1,
        &["deactivate Ada Lovelace"],
    ),
    (
        "a person who is excluded changes",
        |world| world.slapd.replace(&dora().dn(), &[("title", "Baker")]),
        0,
        &[],
    ),
    (
        "a person who was excluded no longer is",
        |world| become_of(world, &dora(), "staff"),
        1,
        &["create Dora Baker"],
    ),
    (
        "a person joins, excluded",
        |world| {
            let mut radia = Person::new("radia", "Radia", "Perlman");
            "external".clone_into(&mut radia.employee_type);
            world.slapd.add(&radia);
        },
        0,
        &[],
    ),
    (
        "a person of whom it cannot be said is unknown",
        |world| {
            world.slapd.modify(&format!(
                "dn: {}\nchangetype: modify\ndelete: employeeType\n",
                ada().dn()
            ));
        },
        1,
        &[],
    ),
];

fn ada() -> Person {
    Person::four().remove(0)
}

fn dora() -> Person {
    let mut dora = Person::new("dora", "Dora", "Baker");
    "external".clone_into(&mut dora.employee_type);
    dora
}

fn become_of(world: &World, person: &Person, employee_type: &str) {
    let value = [("employeeType", employee_type)];
    world.slapd.replace(&person.dn(), &value);
}

/// Four people and one who is excluded, after the first sync.
fn synced() -> World {
    let mut people = Person::four();
    people.push(dora());
    let mut world = World::of(&people);
    let base = format!("{:?}", format!("ou=Legal,ou=people,{BASE}"));
    world.dirsyncd.set_source("exclude_base", &base);
    let exclude = "'attrs(\"employeeType\")[0] == \"external\"'";
    world.dirsyncd.set_source("exclude", exclude);
    world.dirsyncd.sync(0).expect_words(&["Read 4 people from"]);
    world
}

#[test]
fn each_change_alone_is_read_and_gives_the_plan_of_a_full_pull() {
    for (story, change, entries, wanted) in STORIES {
        println!("{story}");
        let world = synced();
        change(&world);
        let (plan, changed) = expect_one_plan(&world.dirsyncd);
        assert_eq!(changed, entries, "{story}");
        let operations = plan["operations"].as_array().unwrap().iter();
        let planned: Vec<String> = operations
            .map(|operation| {
                let text = |name: &str| operation[name].as_str().unwrap().to_owned();
                format!("{} {}", text("kind"), text("account"))
            })
            .collect();
        assert_eq!(planned, wanted, "{story}");
        let is_unknown = !plan["refused"].as_array().unwrap().is_empty();
        world.dirsyncd.sync(if is_unknown { 3 } else { 0 });
        assert_eq!(is_unknown, story.ends_with("unknown"));
        let (next, changed) = expect_one_plan(&world.dirsyncd);
        assert_eq!(changed, 0, "{story}");
        assert_eq!(next["operations"], serde_json::json!([]), "{story}");
    }
}

#[test]
fn who_joins_a_group_that_excludes_is_gone_and_comes_back_with_leaving_it() {
    let mut world = World::of(&Person::four());
    let group = format!("cn=out,{BASE}");
    let [ada, grace, ..] = &Person::four()[..] else {
        unreachable!()
    };
    world.slapd.modify(&format!(
        "dn: {group}\nchangetype: add\nobjectClass: groupOfNames\ncn: out\nmember: {}\n",
        grace.dn()
    ));
    let names = format!("{group:?}");
    world.dirsyncd.set_source("exclude_members_of", &names);
    world.dirsyncd.sync(0).expect_words(&["Read 3 people from"]);
    assert_eq!(
        world.organization.of_key(&grace.key()).map(|a| a.active),
        None
    );

    let change = |how: &str, person: &Person| {
        world.slapd.modify(&format!(
            "dn: {group}\nchangetype: modify\n{how}: member\nmember: {}\n",
            person.dn()
        ));
    };
    change("add", ada);
    world.dirsyncd.sync(0).expect_words(&["1 to deactivate"]);
    assert!(!world.account(ada).active);
    change("delete", ada);
    world.dirsyncd.sync(0).expect_words(&["1 to restore"]);
    assert!(world.account(ada).active);
    world.dirsyncd.expect_nothing_to_do();
}
