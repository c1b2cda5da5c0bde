//! Groups in plans that are saved and carried out later.

use serde_json::{Value, json};

use crate::support::people::BASE;
use crate::support::{Account, Output, Person, World, database};

/// A directory with groups, an organization that has them already, and a file for a plan.
struct Story {
    world: World,
    people: Vec<Person>,
}

fn dn(group: &str) -> String {
    format!("cn={group},ou=groups,{BASE}")
}

impl Story {
    /// dev has the first two of four people, ops the third and old the fourth.
    fn new() -> Self {
        let people = Person::several(5);
        let mut world = World::of(&people[..4]);
        for unit in ["groups", "projects,ou=groups"] {
            let name = unit.split(',').next().unwrap();
            world.slapd.modify(&format!(
                "dn: ou={unit},{BASE}\nchangetype: add\nobjectClass: organizationalUnit\nou: {name}\n\n"
            ));
        }
        world.dirsyncd.rest =
            format!("[[group]]\nbase = \"ou=groups,{BASE}\"\non_leave = \"delete\"\n");
        let story = Story { world, people };
        story.add("dev", &[0, 1]);
        story.add("ops", &[2]);
        story.add("old", &[3]);
        story.world.dirsyncd.sync(0);
        story
    }

    fn add(&self, group: &str, members: &[usize]) {
        let members: String = members
            .iter()
            .map(|n| format!("member: {}\n", self.people[*n].dn()))
            .collect();
        self.world.slapd.modify(&format!(
            "dn: {}\nchangetype: add\nobjectClass: groupOfNames\n{members}\n",
            dn(group)
        ));
    }

    fn change(&self, group: &str, how: &str, member: usize) {
        let member = self.people[member].dn();
        self.world.slapd.modify(&format!(
            "dn: {}\nchangetype: modify\n{how}: member\nmember: {member}\n-\n",
            dn(group)
        ));
    }

    /// The fifth comes and joins dev, which the second leaves; ops has another name, sales is new, and
    /// old is gone.
    fn go_on(&self) {
        self.world.slapd.add(&self.people[4]);
        self.change("dev", "add", 4);
        self.change("dev", "delete", 1);
        self.world.slapd.rename(&dn("ops"), "cn=operations", None);
        self.add("sales", &[0]);
        self.world.slapd.delete(&dn("old"));
    }

    fn path(&self) -> String {
        let file = self.world.dirsyncd.folder().join("plan.json");
        file.display().to_string()
    }

    #[track_caller]
    fn save(&self, code: i32) -> Value {
        let arguments = ["plan", "--force", "--save", &self.path()];
        self.world.dirsyncd.run(&arguments).expect_code(code);
        serde_json::from_str(&std::fs::read_to_string(self.path()).unwrap()).unwrap()
    }

    fn edit(&self, plan: &Value) {
        std::fs::write(self.path(), plan.to_string()).unwrap();
    }

    /// Carries the file out; nothing can be read of the directory.
    #[track_caller]
    fn carry_out(&self, code: i32) -> Output {
        let file = self.world.dirsyncd.password_file();
        let password = std::fs::read(&file).unwrap();
        std::fs::write(&file, "wrong\n").unwrap();
        let arguments = ["sync", "--plan", &self.path()];
        let output = self.world.dirsyncd.run(&arguments);
        std::fs::write(&file, password).unwrap();
        output.expect_code(code)
    }

    fn account(&self, person: usize) -> Account {
        self.world.account(&self.people[person])
    }

    /// The groups of the organization with their members, by number.
    fn groups(&self) -> Vec<String> {
        let accounts = self.world.organization.accounts();
        let number = |id: &String| {
            let account = accounts.iter().find(|one| one.scim_id == *id).unwrap();
            let of_key = |person: &Person| Some(person.key()) == account.external_id;
            let number = self.people.iter().position(of_key);
            number.map_or("?".to_owned(), |number| number.to_string())
        };
        let groups = self.world.organization.groups().into_iter();
        let told = groups.map(|group| {
            let mut members: Vec<String> = group.members.iter().map(number).collect();
            members.sort();
            format!("{}: {}", group.name, members.join(" "))
        });
        told.collect()
    }

    fn texts(&self, sql: &str) -> Vec<String> {
        database::texts(&self.world.dirsyncd.database(), sql)
    }
}

fn rows(plan: &Value) -> Vec<String> {
    let rows = plan["groups"]["operations"].as_array().unwrap().iter();
    let brief = rows.map(|row| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let kind = text(&row["operation"]["kind"]);
        let held = if row["hold"].is_null() { "" } else { "!" };
        format!("{held}{kind} {}", text(&row["group"]))
    });
    brief.collect()
}

#[test]
fn groups_of_a_saved_plan_are_carried_out_exactly_and_once() {
    let story = Story::new();
    story.go_on();
    let plan = story.save(0);
    assert_eq!(
        rows(&plan),
        [
            "group_update dev",
            "group_rename ops",
            "group_create sales",
            "group_delete old"
        ]
    );
    let dev = &plan["groups"]["operations"][0];
    let newcomer = &dev["operation"]["add"][0];
    assert_eq!(newcomer["key"], story.people[4].key());
    assert_eq!(newcomer["scim_id"], Value::Null);
    assert_eq!(dev["expects"]["accounts"], json!([story.people[4].key()]));
    assert_eq!(dev["operation"]["remove"][0]["name"], "Pat Person 01");
    // The directory goes on, and the plan does not know.
    story.change("sales", "add", 3);

    story.carry_out(0).expect_words(&[
        "Change the members of groups (1)",
        "groups: 1 to create, 1 to rename, 1 to change, 1 to delete",
        "Done: 5 applied.",
    ]);

    assert_eq!(story.groups(), ["dev: 0 4", "operations: 2", "sales: 0"]);
    let journal = story.texts(
        "SELECT kind || ' ' || state FROM operations WHERE run_id = 2 AND kind LIKE 'group%' ORDER BY id",
    );
    assert_eq!(
        journal,
        [
            "group_update done",
            "group_rename done",
            "group_create done",
            "group_delete done"
        ]
    );
    let mark = story.world.organization.mark();
    story.carry_out(3).expect_words(&["was applied already"]);
    assert!(story.world.organization.writes_since(mark).is_empty());
    story.world.dirsyncd.sync(0).expect_words(&["1 to change"]);
    assert_eq!(story.groups(), ["dev: 0 4", "operations: 2", "sales: 0 3"]);
    story.world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn groups_and_members_that_have_moved_on_are_skipped_and_named() {
    let story = Story::new();
    story.go_on();
    story.change("dev", "add", 3);
    story.save(0);
    let organization = &story.world.organization;
    // The second is out of dev already, and the fourth in it.
    organization.change_group_by_hand("dev", "remove", &story.account(1));
    organization.change_group_by_hand("dev", "add", &story.account(3));
    // Nobody decided that the third is to lose what old gives.
    organization.change_group_by_hand("old", "add", &story.account(2));
    organization.delete_group_by_hand("ops");
    organization.create_group_by_hand("Sales", None, &[&story.account(1)]);

    let output = story.carry_out(3).expect_words(&[
        "not done (group_update) for Pat Person 01: is not in the group any more",
        "not done (group_update) for Pat Person 03: is in the group by now",
        "not done (group_delete): no longer as the saved plan expects it: the organization's group has other members by now",
        "not done (group_rename): no longer as the saved plan expects it: the organization has no group ",
        "not done (group_create): no longer as the saved plan expects it: the organization has the group ",
        "(`Sales`) by now",
        "Done: 2 applied.",
    ]);

    assert!(output.stdout.contains("Skipped (5)"), "{output}");
    assert_eq!(story.groups(), ["Sales: 1", "dev: 0 3 4", "old: 2 3"]);
}

#[test]
fn who_gets_no_account_by_the_plan_does_not_join() {
    let story = Story::new();
    story.go_on();
    story.save(0);
    let organization = &story.world.organization;
    organization.create_by_hand("p04@example.org", "Another", None);

    story.carry_out(3).expect_words(&[
        "not done (create): no longer as the saved plan expects it",
        "not done (group_update) for Pat Person 04: the account is not made, taken over or put back",
        "Done: 4 applied.",
    ]);

    assert_eq!(story.groups(), ["dev: 0", "operations: 2", "sales: 0"]);
}

#[test]
fn whose_creation_fails_is_left_for_the_next_run() {
    let story = Story::new();
    story.go_on();
    story.save(0);
    story.world.organization.faults(&json!([
        {"match": "^POST .*/Users$", "times": 1, "status": 403, "body": {"detail": "not this one"}}
    ]));

    story
        .carry_out(4)
        .expect_words(&["not this one", "4 applied"]);

    assert_eq!(story.groups(), ["dev: 0", "operations: 2", "sales: 0"]);
    database::wait(&story.world.dirsyncd.database(), 10);
    story.world.dirsyncd.sync(0);
    assert_eq!(story.groups(), ["dev: 0 4", "operations: 2", "sales: 0"]);
}

#[test]
fn held_groups_stay_held_and_the_guards_look_again() {
    let mut story = Story::new();
    let rule = story.world.dirsyncd.rest.clone();
    let limited =
        |at_most: u64| format!("{rule}[guards]\nremove_members = {{ at_most = {at_most} }}\n");
    story.world.dirsyncd.rest = limited(0);
    story.go_on();
    let plan = story.save(3);
    // Those who join go on.
    assert_eq!(
        rows(&plan),
        [
            "group_update dev",
            "!group_update dev",
            "group_rename ops",
            "group_create sales",
            "!group_delete old"
        ]
    );
    story.world.dirsyncd.rest = limited(9);

    story.carry_out(3).expect_words(&[
        "operations that were held when the plan was saved: ",
        "they stay held",
        "Done: 4 applied.",
    ]);

    let after = ["dev: 0 1 4", "old: 3", "operations: 2", "sales: 0"];
    assert_eq!(story.groups(), after);
    // What no guard held then may be too much now.
    story.save(0);
    story.world.dirsyncd.rest = limited(0);
    story
        .carry_out(3)
        .expect_words(&["removals of members among 6 members", "Done: 0 applied."]);
    assert_eq!(story.groups(), after);
}

#[test]
fn who_was_put_back_has_a_row_apart_from_the_others_of_the_group() {
    let story = Story::new();
    story.change("dev", "add", 2);
    story.change("dev", "delete", 1);
    story.world.dirsyncd.sync(0);
    let run = story.texts("SELECT max(id) || '' FROM runs").remove(0);
    story.world.dirsyncd.run(&["revert", &run]).expect_code(0);
    story.change("dev", "delete", 2);
    story.change("dev", "add", 3);
    story.world.dirsyncd.sync(3);
    assert_eq!(story.groups()[0], "dev: 0 1 3");
    // One leaves by the directory, and another one would again.
    story.change("dev", "delete", 0);
    let plan = story.save(3);
    assert_eq!(rows(&plan), ["group_update dev", "!group_update dev"]);
    story.carry_out(3).expect_words(&["Done: 1 applied."]);
    assert_eq!(story.groups()[0], "dev: 1 3");
}

#[test]
fn after_a_later_reading_groups_are_left_to_a_new_plan() {
    let story = Story::new();
    story.change("dev", "delete", 1);
    story.save(0);
    // It was a mistake, and a sync has seen that there is nothing to do.
    story.change("dev", "add", 1);
    story
        .world
        .dirsyncd
        .sync(0)
        .expect_words(&["Nothing to do"]);

    story.carry_out(3).expect_words(&[
        "not done (group_update): no longer as the saved plan expects it: run 2 has read the sources since",
        "Done: 0 applied.",
    ]);

    assert_eq!(story.groups(), ["dev: 0 1", "old: 3", "ops: 2"]);
}

#[test]
fn rows_of_groups_are_brought_up_to_date() {
    let story = Story::new();
    // Where the entry stands is all that changes.
    let projects = format!("ou=projects,ou=groups,{BASE}");
    story
        .world
        .slapd
        .rename(&dn("dev"), "cn=dev", Some(&projects));
    // Gone on both sides.
    story.world.slapd.delete(&dn("old"));
    story.world.organization.delete_group_by_hand("old");
    let mut plan = story.save(0);
    assert_eq!(rows(&plan), [""; 0]);
    assert_eq!(plan["groups"]["notes"].as_array().unwrap().len(), 2);
    let known = || {
        story.texts(
            "SELECT name || ' ' || json_extract(origins, '$[0].dn') FROM groups ORDER BY name",
        )
    };
    let before = known();
    assert_eq!(before.len(), 3);

    let whole = plan.clone();
    for note in plan["groups"]["notes"].as_array_mut().unwrap() {
        note["expects"]["name"] = json!("another");
    }
    story.edit(&plan);
    story
        .carry_out(3)
        .expect_words(&["the row of the saved plan was changed", "(a note)"]);
    assert_eq!(known(), before);

    story.edit(&whole);
    story.carry_out(3).expect_words(&["was applied already"]);
    story.save(0);
    story.carry_out(0);
    assert_eq!(
        known(),
        [
            format!("dev cn=dev,{projects}"),
            format!("ops {}", dn("ops"))
        ]
    );
}

#[test]
fn rows_of_groups_may_be_taken_out_but_not_changed() {
    let story = Story::new();
    story.go_on();
    let mut plan = story.save(0);
    let rows = plan["groups"]["operations"].as_array_mut().unwrap();
    rows[0]["operation"]["add"][0]["scim_id"] = json!(story.account(3).scim_id);
    let twice = rows[1].clone();
    rows.push(twice);
    rows.retain(|row| row["group"] != "old");
    story.edit(&plan);

    story.carry_out(3).expect_words(&[
        "Groups refused: correct these (3)",
        "the row of the saved plan was changed after it was written (group_update: it does not fit its digest)",
        "the row of the saved plan was changed after it was written (group_rename: the group has several)",
        "Done: 2 applied.",
    ]);

    assert_eq!(story.groups(), ["dev: 0 1", "old: 3", "ops: 2", "sales: 0"]);
}

#[test]
fn what_is_no_group_of_a_saved_plan_is_told_and_nothing_is_sent() {
    let story = Story::new();
    story.go_on();
    let plan = story.save(0);
    let mark = story.world.organization.mark();
    type Spoil = fn(&mut Value);
    let cases: [(&str, Spoil); 8] = [
        ("unknown variant `group_explode`", |row| {
            row["operation"]["kind"] = json!("group_explode")
        }),
        ("unknown variant `whim`", |row| {
            row["operation"]["reason"] = json!({"cause": "whim"})
        }),
        ("invalid type: integer `1`", |row| {
            row["operation"]["name"] = json!(1)
        }),
        ("invalid type: string \"all\"", |row| {
            row["operation"]["remove"] = json!("all")
        }),
        ("missing field `origins`", |row| {
            drop(row["operation"].as_object_mut().unwrap().remove("origins"))
        }),
        ("unknown field `surprise`", |row| row["surprise"] = json!(1)),
        ("unknown field `surprise`", |row| {
            row["expects"]["surprise"] = json!(1)
        }),
        ("invalid type: null", |row| row["expects"] = Value::Null),
    ];
    for (words, spoil) in cases {
        let mut plan = plan.clone();
        spoil(&mut plan["groups"]["operations"][0]);
        story.edit(&plan);
        story
            .carry_out(2)
            .expect_words(&[words, "it is no plan of `dirsyncd plan --save`"]);
    }
    // Of an operation that is not in the journal, which then would take no answer any more.
    let mut forged = plan.clone();
    let undoes = json!({"operations": [999_999], "lets_go": true});
    forged["groups"]["operations"][0]["operation"]["undoes"] = undoes;
    story.edit(&forged);
    story
        .carry_out(2)
        .expect_words(&["a row of it has `undoes`, as only operations of `dirsyncd revert` have"]);
    // A plan of before there were groups in it.
    let mut former = plan.clone();
    former["version"] = json!(1);
    former.as_object_mut().unwrap().remove("groups");
    story.edit(&former);
    story.carry_out(2).expect_words(&[
        "a saved plan of version 1, and this dirsyncd knows version 2: make a new one",
    ]);
    assert!(story.world.organization.writes_since(mark).is_empty());
    story.edit(&plan);
    story.carry_out(0).expect_words(&["Done: 5 applied."]);
}

#[test]
fn saved_groups_are_as_the_published_schema_says_and_broken_ones_are_not() {
    let validator = crate::saved_plans::validator();
    let mut story = Story::new();
    let limit = "[guards]\nremove_members = { at_most = 0 }\n";
    story.world.dirsyncd.rest += limit;
    story.go_on();
    let theirs = story.account(1);
    let organization = &story.world.organization;
    organization.delete_group_by_hand("dev");
    organization.create_group_by_hand("theirs", Some("theirs"), &[&theirs]);
    story.add("theirs", &[0]);
    story.world.dirsyncd.rest = story
        .world
        .dirsyncd
        .rest
        .replace("on_leave", "adopt = true\non_leave");
    let plan = story.save(3);
    let errors: Vec<String> = validator
        .iter_errors(&plan)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(
        rows(&plan),
        [
            "group_create dev",
            "group_rename ops",
            "group_create sales",
            "!group_adopt theirs",
            "!group_delete old"
        ]
    );
    let notes = plan["groups"]["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note["row"].is_null()), "{notes:?}");
    assert!(
        notes.iter().any(|note| note["row"].is_object()),
        "{notes:?}"
    );

    type Break = fn(&mut Value);
    let breaks: [(&str, Break); 6] = [
        ("no groups", |plan| {
            drop(plan.as_object_mut().unwrap().remove("groups"))
        }),
        ("no kind", |plan| {
            plan["groups"]["operations"][0]["operation"]["kind"] = json!("update")
        }),
        ("no cause", |plan| {
            plan["groups"]["operations"][0]["operation"]["reason"] = json!({"cause": "whim"})
        }),
        ("no member", |plan| {
            plan["groups"]["operations"][0]["operation"]["add"][0] = json!("p00")
        }),
        ("no digest", |plan| {
            plan["groups"]["notes"][0]["digest"] = json!("")
        }),
        ("a surprise", |plan| plan["groups"]["surprise"] = json!(1)),
    ];
    for (name, spoil) in breaks {
        let mut broken = plan.clone();
        spoil(&mut broken);
        assert!(!validator.is_valid(&broken), "{name}");
    }
}
