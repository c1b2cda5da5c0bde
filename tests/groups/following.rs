//! Pulls of what changed, of a source that selects by a group: they give the plan that a full pull gives.

use serde_json::{Value, json};

use crate::support::people::BASE;
use crate::support::{Person, World};
use crate::tree::{add_entry, group, select, world};

/// Twelve people, of whom the first ten are in a `posixGroup`, after the first sync.
fn synced() -> (World, Vec<Person>) {
    let people = Person::several(12);
    let mut world = world(&people);
    let members: String = people[..10]
        .iter()
        .map(|person| format!("memberUid: {}\n", person.uid))
        .collect();
    add_entry(
        &world.slapd,
        &group("posix"),
        "posixGroup",
        &format!("gidNumber: 100\n{members}"),
    );
    select(&mut world.dirsyncd, &[&group("posix")]);
    world.dirsyncd.sync(0);
    assert_eq!(world.organization.active(), 10);
    (world, people)
}

/// The operations of the plan, which must be those of a full pull, and how the source was read.
#[track_caller]
fn plan(world: &World) -> (Vec<String>, Value) {
    let of = |arguments: &[&str]| -> Value {
        let words = [&["plan", "--format", "json"], arguments].concat();
        let output = world.dirsyncd.run(&words).expect_code(0);
        serde_json::from_str(&output.stdout).unwrap()
    };
    let (mut followed, full) = (of(&[]), of(&["--full"]));
    assert_eq!(followed["operations"], full["operations"]);
    assert!(!full["notices"].to_string().contains("missed"), "{full:#}");
    assert_eq!(followed["pulls"][0]["entries"], full["pulls"][0]["entries"]);
    let operations = followed["operations"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut shown: Vec<String> = operations
        .map(|one| format!("{} {}", word(&one["kind"]), word(&one["account"])))
        .collect();
    shown.sort();
    let how = json!([
        followed["pulls"][0]["changed"].take(),
        followed["notices"].take()
    ]);
    (shown, how)
}

#[test]
fn of_what_changes_only_that_of_members_counts() {
    let (world, people) = synced();
    assert_eq!(plan(&world), (vec![], json!([0, []])));
    for n in [0, 10] {
        let title = [("title", "Director")];
        world.slapd.replace(&people[n].dn(), &title);
    }
    let (operations, how) = plan(&world);
    assert_eq!(operations, ["update Pat Person 00"]);
    assert_eq!(how, json!([1, []]));
}

#[test]
fn an_entry_may_become_and_cease_to_be_that_of_a_member() {
    let (world, people) = synced();
    world.slapd.rename(&people[1].dn(), "uid=other", None);
    world.slapd.rename(&people[10].dn(), "uid=p01", None);
    let (operations, how) = plan(&world);
    assert_eq!(
        operations,
        ["create Pat Person 10", "deactivate Pat Person 01"]
    );
    assert_eq!(how, json!([2, []]));
    world.dirsyncd.sync(0);
    assert_eq!(plan(&world), (vec![], json!([0, []])));
    // And back again.
    let department = format!("ou=Engineering,ou=people,{BASE}");
    world
        .slapd
        .rename(&format!("uid=p01,{department}"), "uid=p10", None);
    world
        .slapd
        .rename(&format!("uid=other,{department}"), "uid=p01", None);
    let (operations, how) = plan(&world);
    assert_eq!(
        operations,
        ["deactivate Pat Person 10", "restore Pat Person 01"]
    );
    assert_eq!(how, json!([2, []]));
}

#[test]
fn when_the_members_change_the_source_is_read_in_full() {
    let (world, _) = synced();
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: modify\ndelete: memberUid\nmemberUid: p03\n-\nadd: memberUid\nmemberUid: p11\n-\n",
        group("posix")
    ));
    let (operations, how) = plan(&world);
    assert_eq!(
        operations,
        ["create Pat Person 11", "deactivate Pat Person 03"]
    );
    assert_eq!(how[0], Value::Null);
    let told = how[1].to_string();
    assert!(
        told.contains("the members of the groups have changed"),
        "{told}"
    );
    world.dirsyncd.sync(0);
    assert_eq!(plan(&world), (vec![], json!([0, []])));
}
