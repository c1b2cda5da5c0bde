//! Plans that are saved and carried out later: exactly what was reviewed, once, where nothing has moved on.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::people::directory;
use crate::support::unchanged::tree_digest;
use crate::support::{Dirsyncd, Organization, Output, Person, SOON, World, database, eventually};

/// A program between an LDIF file with four people and an organization that has them already.
struct Story {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
}

impl Story {
    fn new() -> Self {
        let organization = Organization::start();
        let people = Person::four();
        let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        dirsyncd.sync(0);
        Story {
            organization,
            dirsyncd,
            people,
        }
    }

    /// Changes the directory: ada has another title, grace another address, alan is gone, and radia is new.
    fn go_on(&mut self) {
        "Countess".clone_into(&mut self.people[0].title);
        self.people[1].mail = Some("hopper@example.org".to_owned());
        self.people.remove(2);
        self.people.push(Person::new("radia", "Radia", "Perlman"));
        self.write();
    }

    fn write(&self) {
        self.dirsyncd.write_ldif(&directory(&self.people));
    }

    fn file(&self) -> PathBuf {
        self.dirsyncd.folder().join("plan.json")
    }

    #[track_caller]
    fn save(&self, code: i32) -> Value {
        let output = self.dirsyncd.run(&["plan", "--save", &self.path()]);
        output.expect_code(code).expect_words(&["is saved in"]);
        self.read()
    }

    fn path(&self) -> String {
        self.file().display().to_string()
    }

    fn read(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.file()).unwrap()).unwrap()
    }

    fn edit(&self, plan: &Value) {
        std::fs::write(self.file(), plan.to_string()).unwrap();
    }

    /// Carries the file out; nothing can be read of the directory.
    #[track_caller]
    fn carry_out(&self, code: i32) -> Output {
        std::fs::remove_file(self.dirsyncd.ldif_file()).unwrap();
        let output = self.dirsyncd.run(&["sync", "--plan", &self.path()]);
        self.write();
        output.expect_code(code)
    }

    /// The name, mail, title and login of every account.
    fn accounts(&self) -> Vec<(String, String, String, bool)> {
        let accounts = self.organization.accounts().into_iter();
        accounts
            .map(|one| {
                let name = one.display_name.unwrap_or_default();
                (name, one.email, one.title.unwrap_or_default(), one.active)
            })
            .collect()
    }

    fn account(&self, key: &str) -> crate::support::Account {
        let person = self.people.iter().find(|person| person.uid == key);
        let key = person.map_or_else(|| Person::new(key, "", "").key(), Person::key);
        self.organization.of_key(&key).unwrap()
    }
}

fn row_of<'a>(plan: &'a mut Value, name: &str) -> &'a mut Value {
    let rows = plan["operations"].as_array_mut().unwrap();
    let found = rows.iter_mut().find(|row| row["account"] == name);
    found.unwrap_or_else(|| panic!("there is no row of {name}"))
}

pub(crate) fn validator() -> jsonschema::Validator {
    let output = {
        let organization = Organization::start();
        let dirsyncd = Dirsyncd::from_ldif(&organization, "");
        dirsyncd.run_bare(&["plan", "--schema"]).expect_code(0)
    };
    let schema: Value = serde_json::from_str(&output.stdout).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plan.schema.json");
    assert_eq!(output.stdout, std::fs::read_to_string(file).unwrap());
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

#[test]
fn a_saved_plan_is_carried_out_exactly_and_once() {
    let mut story = Story::new();
    story.go_on();
    let before = tree_digest(&story.dirsyncd.state());
    let plan = story.save(0);
    assert_eq!(tree_digest(&story.dirsyncd.state()), before);
    let mode = std::fs::metadata(story.file()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(plan["operations"].as_array().unwrap().len(), 4);
    // The directory goes on, and the plan does not know.
    "Admiral".clone_into(&mut story.people[1].title);
    story.write();

    story
        .carry_out(0)
        .expect_words(&["Done: 4 applied.", "~ Ada Lovelace", "- Alan Turing"])
        .expect_words(&[&format!(
            "The saved plan {} of ",
            plan["id"].as_str().unwrap()
        )]);

    let expected = [
        ("Ada Lovelace", "ada@example.org", "Countess", true),
        ("Alan Turing", "alan@example.org", "Engineer", false),
        ("Barbara Liskov", "barbara@example.org", "Engineer", true),
        ("Grace Hopper", "hopper@example.org", "Engineer", true),
        ("Radia Perlman", "radia@example.org", "Engineer", true),
    ];
    let expected = expected.map(|(name, mail, title, active)| {
        (name.to_owned(), mail.to_owned(), title.to_owned(), active)
    });
    assert_eq!(story.accounts(), expected);
    let runs = database::texts(
        &story.dirsyncd.database(),
        "SELECT trigger || ' ' || outcome FROM runs ORDER BY id",
    );
    assert_eq!(runs, ["sync done", "sync --plan done"]);
    // A second time nothing is sent, and it is told when it was done.
    let mark = story.organization.mark();
    story
        .carry_out(3)
        .expect_words(&["was applied already, at ", "by run 2"]);
    assert!(story.organization.writes_since(mark).is_empty());
    // What the directory wants beyond it is what is left.
    let rest = story.dirsyncd.plan().operations();
    let rest: Vec<_> = rest.iter().map(|one| (&*one.kind, &*one.account)).collect();
    assert_eq!(rest, [("update", "Grace Hopper")]);
}

#[test]
fn rows_that_have_moved_on_are_skipped_and_named_and_the_rest_is_applied() {
    let mut story = Story::new();
    story.go_on();
    story.save(0);
    story
        .organization
        .patch_by_hand(&story.account("ada"), "title", &json!("Boss"));
    story
        .organization
        .create_by_hand("radia@example.org", "Another Radia", None);
    let mark = story.organization.mark();

    let output = story.carry_out(3).expect_words(&[
        "not done (update): no longer as the saved plan expects it: the organization's title: Engineer → Boss",
        "not done (create): no longer as the saved plan expects it: the organization has the account ",
        "(Another Radia) by now",
        "Done: 2 applied.",
    ]);

    assert!(output.stdout.contains("Skipped (2)"), "{output}");
    assert_eq!(story.organization.writes_since(mark).len(), 2);
    assert_eq!(story.account("ada").title.as_deref(), Some("Boss"));
    assert!(!story.account("alan").active);
}

#[test]
fn an_address_that_cannot_be_looked_up_is_found_in_the_list_of_accounts() {
    let mut story = Story::new();
    // Names that are no addresses.
    story.dirsyncd.mapping += "userName = \"uid\"\n";
    story.dirsyncd.sync(0);
    story.go_on();
    story.save(0);
    let other = story
        .organization
        .create_by_hand("radia@example.org", "Another Radia", None);
    story
        .organization
        .patch_by_hand(&other, "userName", &json!("another"));

    story.carry_out(3).expect_words(&[
        "not done (create): no longer as the saved plan expects it: the organization has the account ",
        "(Another Radia) by now",
        "Done: 3 applied.",
    ]);
}

#[test]
fn the_report_of_a_carried_out_plan_is_json_too() {
    let mut story = Story::new();
    story.go_on();
    story.save(0);
    story
        .organization
        .patch_by_hand(&story.account("alan"), "active", &json!(false));
    let output = story
        .dirsyncd
        .run(&["sync", "--plan", &story.path(), "--format", "json"])
        .expect_code(3);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["summary"]["applied"]["done"], 3);
    assert_eq!(report["summary"]["skipped"], 1);
    assert_eq!(report["failed"], json!([]));
    assert_eq!(report["plan"]["id"], story.read()["id"]);
    let reason = report["skipped"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("active: true → false"), "{reason}");
}

/// Grace gives her address to radia, and takes another.
fn handed_over() -> Story {
    let mut story = Story::new();
    story.people[1].mail = Some("hopper@example.org".to_owned());
    let heir = Person::new("radia", "Radia", "Perlman").with_mail(Some("grace@example.org"));
    story.people.push(heir);
    story.write();
    story
}

#[test]
fn an_address_that_is_freed_by_one_row_is_taken_by_the_next() {
    let story = handed_over();
    story.save(0);

    story.carry_out(0).expect_words(&["Done: 2 applied."]);

    assert_eq!(story.account("radia").email, "grace@example.org");
    story.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_row_that_waits_for_one_that_has_moved_on_is_skipped_with_it() {
    let story = handed_over();
    let mut plan = story.save(0);
    assert_eq!(
        row_of(&mut plan, "Radia Perlman")["operation"]["waits_for"],
        json!([story.people[1].key()])
    );
    story
        .organization
        .patch_by_hand(&story.account("grace"), "nickName", &json!("Amazing"));
    story
        .organization
        .patch_by_hand(&story.account("grace"), "title", &json!("Admiral"));
    let mark = story.organization.mark();

    story.carry_out(3).expect_words(&[
        "the organization's title: Engineer → Admiral",
        "it waits for an address that uid=grace,",
    ]);

    assert!(story.organization.writes_since(mark).is_empty());
}

#[test]
fn a_row_that_a_later_sync_has_moved_on_is_skipped_and_nobody_who_is_back_is_taken_away() {
    let mut story = Story::new();
    story.go_on();
    story.save(0);
    // Alan is back before anything was done about him, which no row of the snapshot shows.
    story.people = Person::four();
    "Director".clone_into(&mut story.people[0].title);
    story.write();
    story.dirsyncd.sync(0).expect_words(&["1 to update"]);

    story.carry_out(3).expect_words(&[
        "the snapshot's title: Engineer → Director; the organization's title: Engineer → Director",
        "not done (deactivate): no longer as the saved plan expects it: run 2 has read the sources since",
        "not done (create): no longer as the saved plan expects it: run 2 has read the sources since",
        "Done: 1 applied.",
    ]);

    assert!(story.account("alan").active);
    assert_eq!(story.account("grace").email, "hopper@example.org");
}

#[test]
fn what_an_overtaken_plan_has_changed_is_seen_by_the_next_pull_of_what_changed() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    let file = world.dirsyncd.folder().join("plan.json");
    let path = file.display().to_string();
    world.slapd.replace(&ada.dn(), &[("title", "Countess")]);
    world
        .dirsyncd
        .run(&["plan", "--save", &path])
        .expect_code(0);
    // It is put back, and a sync has seen that, with nothing to do about it.
    world.slapd.replace(&ada.dn(), &[("title", &ada.title)]);
    world.dirsyncd.sync(0).expect_words(&["Nothing to do"]);

    world
        .dirsyncd
        .run(&["sync", "--plan", &path])
        .expect_code(0)
        .expect_words(&["Done: 1 applied."]);

    assert_eq!(world.account(ada).title.as_deref(), Some("Countess"));
    world.dirsyncd.sync(0).expect_words(&["1 to update"]);
    assert_eq!(world.account(ada).title, Some(ada.title.clone()));
}

#[test]
fn rows_of_the_snapshot_are_brought_up_to_date_unless_a_later_sync_has_done_so() {
    let is_in = |story: &Story, department: &str| {
        let dns = database::texts(
            &story.dirsyncd.database(),
            &format!("SELECT dn FROM accounts WHERE dn LIKE 'uid=ada,ou={department},%'"),
        );
        dns.len() == 1
    };
    let moved = |story: &mut Story, department: &str| {
        // Where the entry stands is all that changes.
        let entry = story.people[0].entry();
        let at = story.people[0].dn();
        let dn = at.replace("Engineering", department);
        let ldif = directory(&story.people);
        let moved = entry.replace(&at, &dn);
        story.dirsyncd.write_ldif(&ldif.replace(&entry, &moved));
    };
    let mut story = Story::new();
    moved(&mut story, "Sales");
    let plan = story.save(0);
    assert_eq!(plan["operations"], json!([]));
    assert_eq!(plan["notes"].as_array().unwrap().len(), 1);
    assert!(is_in(&story, "Engineering"));
    let mut edited = plan.clone();
    edited["notes"][0]["row"]["dn"] = json!("uid=elsewhere");
    story.edit(&edited);
    story.carry_out(3).expect_words(&["(a note)"]);
    assert!(is_in(&story, "Engineering"));

    moved(&mut story, "Sales");
    story
        .dirsyncd
        .run(&["plan", "--save", &story.path(), "--force"]);
    story.carry_out(0);
    assert!(is_in(&story, "Sales"));

    moved(&mut story, "Finance");
    story
        .dirsyncd
        .run(&["plan", "--save", &story.path(), "--force"]);
    moved(&mut story, "Sales");
    story.dirsyncd.sync(0);
    story.carry_out(0);
    assert!(is_in(&story, "Sales"));
}

#[test]
fn a_plan_whose_run_was_killed_is_used_up_and_nothing_is_done_twice() {
    let mut story = Story::new();
    story.go_on();
    story.save(0);
    story.organization.slow_writes(3000);
    let mark = story.organization.mark();
    let path = story.path();
    let sync = story.dirsyncd.start(&["sync", "--plan", &path]);
    eventually("the first write", SOON, || {
        story.organization.writes_since(mark).first().cloned()
    });
    sync.signal("KILL");
    assert_eq!(sync.wait().code, None);
    story.organization.heal();

    story.carry_out(3).expect_words(&["was applied already"]);

    story.write();
    story.dirsyncd.sync(0);
    story.dirsyncd.expect_nothing_to_do();
    let made = story.organization.writes_since(mark);
    let made = made.iter().filter(|one| one.is_create());
    assert_eq!(made.count(), 1);
}

#[test]
fn a_plan_of_the_admin_way_is_carried_out_too() {
    let organization = Organization::start();
    let mut people = Person::four();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people[..3]));
    dirsyncd.organization = organization.admin_block();
    dirsyncd.sync(0);
    "Countess".clone_into(&mut people[0].title);
    people[1] = people[1].clone().disabled();
    let story = Story {
        organization,
        dirsyncd,
        people,
    };
    story.write();
    let plan = story.save(0);
    assert_eq!(plan["operations"].as_array().unwrap().len(), 3);
    // Barbara gets an account by somebody else.
    story.organization.seed("barbara@example.org", "Another");

    story
        .carry_out(3)
        .expect_words(&["(Another) by now", "Done: 2 applied."]);

    let managed = |mail: &str| story.organization.managed(mail).unwrap();
    assert_eq!(
        managed("ada@example.org")["extended_profile"]["job_title"],
        "Countess"
    );
    assert_eq!(managed("grace@example.org")["account_status"], "inactive");
}

#[test]
fn rows_may_be_taken_out_but_not_changed() {
    let mut story = Story::new();
    story.go_on();
    let mut plan = story.save(0);
    plan["operations"]
        .as_array_mut()
        .unwrap()
        .retain(|row| row["account"] != "Radia Perlman");
    row_of(&mut plan, "Ada Lovelace")["operation"]["after"]["title"] = json!("Queen");
    let twice = row_of(&mut plan, "Alan Turing").clone();
    plan["operations"].as_array_mut().unwrap().push(twice);
    story.edit(&plan);
    let mark = story.organization.mark();

    story.carry_out(3).expect_words(&[
        "the row of the saved plan was changed after it was written (update: it does not fit its digest)",
        "the row of the saved plan was changed after it was written (deactivate: the person has several)",
        "Done: 1 applied.",
    ]);

    let writes = story.organization.writes_since(mark);
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(story.account("grace").email, "hopper@example.org");
}

#[test]
fn what_was_held_stays_held_and_the_guards_look_again() {
    let mut story = Story::new();
    story.dirsyncd.rest = "[guards]\ndeactivate = { at_most = 0 }\n".to_owned();
    story.go_on();
    let mut plan = story.save(3);
    let hold = row_of(&mut plan, "Alan Turing")["hold"].clone();
    assert!(hold.as_str().unwrap().contains("1 deactivation "), "{hold}");
    // The limit is raised, and changes of addresses have one by now.
    story.dirsyncd.rest =
        "[guards]\ndeactivate = { at_most = 9 }\nchange_email = { at_most = 0 }\n".to_owned();

    story.carry_out(3).expect_words(&[
        "operations that were held when the plan was saved: 1",
        "1 change of e-mail or user name among 4 accounts",
        "Done: 2 applied.",
    ]);

    assert!(story.account("alan").active);
    assert_eq!(story.account("grace").email, "grace@example.org");
    assert_eq!(story.account("ada").title.as_deref(), Some("Countess"));
}

#[test]
fn what_cannot_be_carried_out_is_told_and_nothing_is_sent() {
    let mut story = Story::new();
    story.go_on();
    let plan = story.save(0);
    let with = |name: &str, value: Value| {
        let mut plan = plan.clone();
        plan[name] = value;
        plan.to_string()
    };
    let days = |days: i64| (chrono::Utc::now() - chrono::TimeDelta::days(days)).to_rfc3339();
    let mut undoing = plan["operations"].clone();
    undoing[0]["operation"]["undoes"] = json!({"operations": [1], "lets_go": true});
    let mark = story.organization.mark();
    for (text, code, words) in [
        (
            with("organization", json!("another")),
            2,
            "the saved plan is for the organization \"another\"",
        ),
        (
            with("version", json!(3)),
            2,
            "a saved plan of version 3, and this dirsyncd knows version 2",
        ),
        (
            with("format", json!("terraform")),
            2,
            "`format` is not \"dirsyncd-plan\"",
        ),
        (with("id", json!("one")), 2, "its `id` is no UUID"),
        (with("surprise", json!(1)), 2, "unknown field `surprise`"),
        (
            with("operations", undoing),
            2,
            "a row of it has `undoes`, as only operations of `dirsyncd revert` have",
        ),
        ("[]".to_owned(), 2, "it is JSON, but no plan"),
        ("dn: dc=example".to_owned(), 2, "line 1 column 1"),
        (
            with("made_at", json!(days(8))),
            3,
            "a plan is carried out within 7 days",
        ),
        (
            with("made_at", json!(days(-1))),
            3,
            "a plan is carried out within 7 days",
        ),
    ] {
        std::fs::write(story.file(), text).unwrap();
        story.carry_out(code).expect_words(&[words]);
    }
    std::fs::remove_file(story.file()).unwrap();
    story.carry_out(2).expect_words(&["cannot be read"]);
    assert!(story.organization.writes_since(mark).is_empty());
    // None of it used the plan up.
    story.edit(&plan);
    story.carry_out(0).expect_words(&["Done: 4 applied."]);
}

#[test]
fn a_file_that_is_there_is_not_replaced_unasked() {
    let story = Story::new();
    let path = story.path();
    story.edit(&json!("precious"));
    story
        .dirsyncd
        .run(&["plan", "--save", &path])
        .expect_code(2)
        .expect_words(&["is there already", "--force"]);
    assert_eq!(story.read(), "precious");

    story
        .dirsyncd
        .run(&["plan", "--save", &path, "--force"])
        .expect_code(0);

    assert_eq!(story.read()["format"], "dirsyncd-plan");
    let folder = story.dirsyncd.folder().join("nowhere/plan.json");
    story
        .dirsyncd
        .run(&["plan", "--save", &folder.display().to_string()])
        .expect_code(1)
        .expect_words(&["the plan cannot be written to"]);
}

#[test]
fn saved_plans_are_as_the_published_schema_says_and_broken_ones_are_not() {
    let validator = validator();
    let mut story = Story::new();
    story.dirsyncd.rest =
        "[policy]\ndelete_after = \"0s\"\n[guards]\ndeactivate = { at_most = 0 }\n".to_owned();
    story.go_on();
    story
        .organization
        .create_by_hand("radia@example.org", "Radia P.", Some("elsewhere"));
    story
        .people
        .push(Person::new("nomail", "No", "Mail").with_mail(None));
    story.write();
    let plan = story.save(3);
    let text = std::fs::read_to_string(story.file()).unwrap();
    for secret in [&story.organization.scim_key, &story.organization.admin_key] {
        assert!(!text.contains(secret));
    }
    let errors: Vec<String> = validator
        .iter_errors(&plan)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    let kinds: Vec<&str> = plan["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["operation"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["deactivate", "update", "adopt", "update"]);

    type Break = fn(&mut Value);
    let breaks: [(&str, Break); 8] = [
        ("no id", |plan| {
            drop(plan.as_object_mut().unwrap().remove("id"))
        }),
        ("another version", |plan| plan["version"] = json!(1)),
        ("a surprise", |plan| plan["surprise"] = json!(1)),
        ("no time", |plan| plan["made_at"] = json!("yesterday")),
        ("no digest", |plan| {
            plan["operations"][0]["digest"] = json!("")
        }),
        ("no kind", |plan| {
            plan["operations"][0]["operation"]["kind"] = json!("explode")
        }),
        ("no attribute", |plan| {
            plan["operations"][0]["operation"]["after"]["shoe"] = json!("42")
        }),
        ("no cause", |plan| {
            plan["operations"][0]["operation"]["reason"] = json!({"cause": "whim"})
        }),
    ];
    for (name, spoil) in breaks {
        let mut broken = plan.clone();
        spoil(&mut broken);
        assert!(!validator.is_valid(&broken), "{name}");
    }
}

#[test]
fn an_operation_whose_answer_was_lost_is_settled_before_the_plan_is_looked_at() {
    let mut story = Story::new();
    story.go_on();
    story.save(0);
    // Ada's change arrives by a sync that never hears so, and the others' do not.
    story.organization.faults(&json!([
        {"match": "^PATCH ", "times": 100, "cut": "after"},
        {"match": "^POST ", "times": 100, "status": 500}
    ]));
    story.dirsyncd.sync(4);
    story.organization.heal();

    story
        .carry_out(3)
        .expect_words(&["the snapshot's title: Engineer → Countess"]);

    let unanswered = database::texts(
        &story.dirsyncd.database(),
        "SELECT kind FROM operations WHERE state = 'sent'",
    );
    assert!(unanswered.is_empty(), "{unanswered:?}");
    assert_eq!(story.account("ada").title.as_deref(), Some("Countess"));
}

#[test]
fn a_run_that_breaks_off_uses_the_plan_up() {
    let mut story = Story::new();
    story.go_on();
    story.save(0);
    story
        .organization
        .faults(&json!([{"match": "^(PATCH|POST) ", "times": 100, "status": 401}]));
    story.carry_out(4);
    story.organization.heal();

    story.carry_out(3).expect_words(&["was applied already"]);

    assert_eq!(story.dirsyncd.plan().operations().len(), 4);
}

#[test]
fn an_account_that_another_plan_has_taken_over_for_somebody_else_is_not_taken_over() {
    let organization = Organization::start();
    let people = Person::four();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
    dirsyncd.organization = organization.admin_block();
    dirsyncd.sync(0);
    // The accounts are as the directory wants them, and nobody knows whose they are.
    std::fs::remove_file(dirsyncd.database()).unwrap();
    let mut story = Story {
        organization,
        dirsyncd,
        people,
    };
    let first = story.save(0);
    std::fs::remove_file(story.file()).unwrap();
    "countess".clone_into(&mut story.people[0].uid);
    story.write();
    story.save(0);
    story.carry_out(0).expect_words(&["Done: 4 applied."]);
    story.edit(&first);

    story.carry_out(3).expect_words(&[
        "not done (adopt): no longer as the saved plan expects it: the account is managed by now",
        "4 skipped",
        "Done: 0 applied.",
    ]);
}
