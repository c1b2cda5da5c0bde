//! Who is included, what the mapping makes of them, and how that is shown.

use serde_json::Value;

use crate::support::database::{accounts, texts};
use crate::support::people::{BASE, directory};
use crate::support::{Dirsyncd, Organization, Person, World};

/// The program with an LDIF file of these people, who are not synced yet.
fn of_file(people: &[Person]) -> (Organization, Dirsyncd) {
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(people));
    (organization, dirsyncd)
}

#[test]
fn who_is_excluded_gets_no_account_and_loses_the_one_that_is_there() {
    let mut people = Person::four();
    "external".clone_into(&mut people[1].employee_type);
    "robot".clone_into(&mut people[2].title);
    let (organization, mut dirsyncd) = of_file(&people);
    dirsyncd.set_source("include", "'attr(\"title\") != \"robot\"'");
    dirsyncd.set_source("exclude", "'attr(\"employeeType\") == \"external\"'");
    let expect = |people: &[Person], words: &[&str], active: [Option<bool>; 4]| {
        dirsyncd.write_ldif(&directory(people));
        dirsyncd.sync(0).expect_words(words);
        for (person, active) in people.iter().zip(active) {
            let account = organization.of_key(&person.key());
            assert_eq!(account.map(|one| one.active), active, "{}", person.uid);
        }
        dirsyncd.expect_nothing_to_do();
    };
    let made = [Some(true), None, None, Some(true)];
    expect(&people, &["2 to create", "Read 2 people"], made);

    "external".clone_into(&mut people[0].employee_type);
    "staff".clone_into(&mut people[1].employee_type);
    let changed = [Some(false), Some(true), None, Some(true)];
    expect(&people, &["1 to create", "1 to deactivate"], changed);

    "staff".clone_into(&mut people[0].employee_type);
    "robot".clone_into(&mut people[3].title);
    let back = [Some(true), Some(true), None, Some(false)];
    expect(&people, &["1 to restore", "1 to deactivate"], back);
}

#[test]
fn parts_of_the_tree_and_members_of_groups_are_left_out() {
    let mut people = Person::four();
    "Legal".clone_into(&mut people[0].department);
    let (organization, mut dirsyncd) = of_file(&people);
    let group = format!(
        "dn: cn=out,{BASE}\nobjectClass: groupOfNames\ncn: out\nmember: {}\n\n",
        people[1].dn()
    );
    dirsyncd.write_ldif(&(directory(&people) + &group));
    let base = format!("[{:?}]", format!("ou=legal,ou=people,{BASE}"));
    dirsyncd.set_source("exclude_base", &base);
    let out = format!("{:?}", format!("cn=out,{BASE}"));
    dirsyncd.set_source("exclude_members_of", &out);
    dirsyncd.run(&["check"]).expect_words(&[
        "2 people can be mapped, 1 are excluded",
        "group `cn=out,dc=example,dc=org`",
    ]);
    dirsyncd.sync(0).expect_words(&["2 to create"]);
    for (person, is_there) in people.iter().zip([false, false, true, true]) {
        let account = organization.of_key(&person.key());
        assert_eq!(account.is_some(), is_there, "{}", person.uid);
    }
    // A group that is not there excludes nobody knows whom.
    let none = format!("{:?}", format!("cn=none,{BASE}"));
    dirsyncd.set_source("exclude_members_of", &none);
    dirsyncd
        .sync(1)
        .expect_words(&["cn=none", "`exclude_members_of`"]);
}

#[test]
fn an_expression_that_excludes_everybody_is_taken_for_a_mistake() {
    let people = Person::four();
    let (organization, mut dirsyncd) = of_file(&people);
    dirsyncd.sync(0);
    dirsyncd.set_source("exclude", "'attr(\"employeeType\") != \"\"'");
    let told = "returned no entry at all";
    dirsyncd.sync(3).expect_words(&[told, "whom it excludes"]);
    dirsyncd
        .run(&["check"])
        .expect_code(1)
        .expect_words(&["every entry that the search finds is excluded"]);
    assert_eq!(organization.active(), 4);
}

#[test]
fn of_whom_an_expression_fails_the_account_is_kept() {
    let people = Person::four();
    let (organization, mut dirsyncd) = of_file(&people);
    dirsyncd.sync(0);
    dirsyncd.set_source("exclude", "'int(attr(\"employeeNumber\")) > 0'");
    dirsyncd
        .sync(3)
        .expect_words(&["the expression for `exclude` fails for this entry"]);
    assert_eq!(organization.active(), 4);
}

#[test]
fn a_wrong_expression_is_told_with_its_column_before_anything_is_read() {
    let (_organization, mut dirsyncd) = of_file(&Person::four());
    dirsyncd.set_source("exclude", "'attr(\"uid\").lowr() == \"ada\"'");
    dirsyncd.run(&["plan"]).expect_code(2).expect_words(&[
        "the expression for `exclude` is wrong at column 13",
        "did you mean 'lower'?",
        "^^^^",
    ]);
}

#[test]
fn tables_defaults_and_required_attributes_make_the_account() {
    let mut people = Person::four();
    "Sales".clone_into(&mut people[1].department);
    let (organization, mut dirsyncd) = of_file(&people);
    dirsyncd.mapping += "department = { attribute = \"departmentNumber\", table = { engineering = \"R&D\" }, default = \"Office\" }\n\
        nickName = { expr = 'attr(\"cn\").initials()' }\n\
        timezone = { attribute = \"l\", default = \"Europe/Berlin\" }\n";
    dirsyncd.sync(0);
    let department = |person: &Person| {
        let account = organization.of_key(&person.key()).unwrap();
        account.department.unwrap_or_default()
    };
    assert_eq!(department(&people[0]), "R&D");
    assert_eq!(department(&people[1]), "Office");

    dirsyncd.mapping += "phoneNumber = { attribute = \"telephoneNumber\", required = true }\n";
    let plan = dirsyncd.plan();
    assert_eq!(plan.code, 3);
    assert_eq!(plan.list("refused").len(), 4);
    let reason = plan.list("refused")[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("no value for `phoneNumber` (from `telephoneNumber`)"),
        "{reason}"
    );
    assert_eq!(plan.operations(), []);
}

#[test]
fn the_employee_number_is_noted_once_and_never_sent() {
    let people = Person::four();
    let (organization, mut dirsyncd) = of_file(&people);
    let mapping = dirsyncd.mapping.clone();
    dirsyncd.mapping += "employeeNumber = false\n";
    dirsyncd.sync(0);
    let numbers = |dirsyncd: &Dirsyncd| {
        texts(
            &dirsyncd.database(),
            "SELECT coalesce(profile ->> 'employeeNumber', '') FROM accounts ORDER BY 1",
        )
    };
    assert_eq!(numbers(&dirsyncd), [""; 4]);

    // The accounts are there, and the program learns to read it.
    dirsyncd.mapping = mapping;
    let mark = organization.mark();
    dirsyncd.expect_nothing_to_do();
    assert_eq!(numbers(&dirsyncd), [""; 4], "a dry run writes nothing");
    dirsyncd.sync(0);
    assert_eq!(
        numbers(&dirsyncd),
        ["n-ada", "n-alan", "n-barbara", "n-grace"]
    );
    let rows = accounts(&dirsyncd.database());
    dirsyncd.sync(0);
    assert_eq!(accounts(&dirsyncd.database()), rows);
    assert!(organization.writes_since(mark).is_empty());

    // A person who joins has it from the beginning, and the organization is not told.
    let mut more = people.clone();
    more.push(Person::new("radia", "Radia", "Perlman"));
    dirsyncd.write_ldif(&directory(&more));
    let mark = organization.mark();
    let output = dirsyncd.sync(0);
    assert!(!output.stdout.contains("n-radia"), "{output}");
    assert!(numbers(&dirsyncd).contains(&"n-radia".to_owned()));
    let sent = format!("{:?}", organization.writes_since(mark));
    assert!(
        sent.contains("radia") && !sent.contains("n-radia"),
        "{sent}"
    );
    dirsyncd.expect_nothing_to_do();
}

#[test]
fn map_shows_an_entry_of_the_server_step_by_step_and_writes_nothing() {
    let mut world = World::of(&Person::four());
    let ada = &Person::four()[0];
    world.dirsyncd.mapping += "nickName = { expr = 'attr(\"cn\").initials()' }\n\
        title = { attribute = \"title\", table = { Engineer = \"Computer\" } }\n";
    let exclude = "'attr(\"uid\").startsWith(\"g\")'";
    world.dirsyncd.set_source("exclude", exclude);
    world
        .slapd
        .replace(&ada.dn(), &[("userPassword", "open-sesame")]);
    // No organization is needed.
    world.organization.kill();
    let map = |arguments: &[&str]| world.dirsyncd.run(&[&["map"], arguments].concat());

    let output = map(&[&ada.dn()]).expect_code(0);
    insta::assert_snapshot!(output.stdout);
    assert!(!output.stdout.contains("open-sesame"), "{output}");

    map(&[&Person::four()[1].dn()])
        .expect_code(3)
        .expect_words(&["exclude            YES", "`exclude` is true of it"]);
    map(&[&format!("ou=Sales,ou=people,{BASE}")])
        .expect_code(3)
        .expect_words(&["filter             NO", "the filter does not find it"]);
    map(&[&format!("cn=sync,ou=services,{BASE}")])
        .expect_code(3)
        .expect_words(&["base               NO", "not below `ou=people"]);
    map(&[&format!("uid=nobody,{BASE}")])
        .expect_code(1)
        .expect_words(&["has no entry `uid=nobody"]);
    map(&[&ada.dn(), "--source", "other"])
        .expect_code(2)
        .expect_words(&["there is no source `other` (known: directory)"]);
    map(&["ada"])
        .expect_code(2)
        .expect_words(&["`ada` is neither an LDIF file that is there nor a DN"]);
    let files = std::fs::read_dir(world.dirsyncd.state()).unwrap().count();
    assert_eq!(files, 0, "`map` made a database");
}

#[test]
fn map_shows_the_entries_of_a_file_as_json() {
    let (_organization, dirsyncd) = of_file(&Person::four());
    let ada = &Person::four()[0];
    let lost = Person::new("lost", "Lost", "Soul").with_mail(None);
    let file = dirsyncd.folder().join("some.ldif");
    // The last entry is not closed, as somebody may have written it by hand.
    let text = format!("{}{}", ada.entry(), lost.entry());
    std::fs::write(&file, text.trim_end()).unwrap();
    let file = file.to_str().unwrap();
    let output = dirsyncd
        .run(&["map", file, "--format", "json"])
        .expect_code(3);
    let json: Value = serde_json::from_str(&output.stdout).unwrap();
    let outcomes: Vec<&str> = json["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["mapped", "refused"]);
    let entry = &json["entries"][0];
    assert_eq!(entry["account"]["profile"]["email"], "ada@example.org");
    assert_eq!(entry["key"]["value"], ada.key());
    let rule = |target: &str| {
        let mut rules = entry["rules"].as_array().unwrap().iter();
        rules.find(|rule| rule["target"] == target).unwrap().clone()
    };
    insta::assert_json_snapshot!(rule("displayName"));
    insta::assert_json_snapshot!(json["entries"][1]["message"], @r#""refused, and unknown rather than gone: no value for `userName` (from `mail`): give the person one, or leave the person out by the filter""#);
}

#[test]
fn what_map_says_of_an_entry_is_what_a_sync_makes_of_it() {
    let people = Person::several(5);
    let world = World::synced(&people);
    for person in &people {
        let output = world
            .dirsyncd
            .run(&["map", &person.dn(), "--format", "json"])
            .expect_code(0);
        let json: Value = serde_json::from_str(&output.stdout).unwrap();
        let profile = &json["entries"][0]["account"]["profile"];
        let account = world.account(person);
        assert_eq!(profile["email"], account.email);
        assert_eq!(profile["title"].as_str(), account.title.as_deref());
        assert_eq!(
            profile["displayName"].as_str(),
            account.display_name.as_deref()
        );
        let stored = texts(
            &world.dirsyncd.database(),
            &format!(
                "SELECT profile FROM accounts WHERE external_id = '{}'",
                person.key()
            ),
        );
        let stored: Value = serde_json::from_str(&stored[0]).unwrap();
        assert_eq!(profile, &stored);
    }
}

#[test]
fn map_takes_the_source_that_reaches_the_entry_or_the_one_that_is_named() {
    let (_organization, mut dirsyncd) = of_file(&Person::four());
    let ada = Person::four()[0].dn();
    dirsyncd.set_source("name", "\"staff\"");
    dirsyncd.set_source(
        "base",
        &format!("{:?}", format!("ou=Sales,ou=people,{BASE}")),
    );
    dirsyncd.rest = format!(
        "[[source]]\nname = \"others\"\nkind = \"ldif\"\npreset = \"openldap\"\nfile = {:?}\nbase = \"{BASE}\"\n",
        dirsyncd.ldif_file()
    );
    dirsyncd
        .run(&["map", &ada])
        .expect_code(0)
        .expect_words(&["source             others"]);
    dirsyncd
        .run(&["map", &ada, "--source", "staff"])
        .expect_code(3)
        .expect_words(&["source             staff", "the search does not reach it"]);
}

#[test]
fn map_prints_the_presets_in_the_language_of_the_configuration() {
    let (_organization, dirsyncd) = of_file(&Person::four());
    for name in ["openldap", "active-directory", "389ds", "freeipa"] {
        let output = dirsyncd.run_bare(&["map", "--preset", name]).expect_code(0);
        assert!(
            output.stdout.contains("[mapping]\nuserName = \"mail\""),
            "{output}"
        );
    }
    dirsyncd
        .run_bare(&["map", "--preset", "lotus"])
        .expect_code(2)
        .expect_words(&["there is no preset `lotus` (known: openldap"]);
}
