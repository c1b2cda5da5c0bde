//! About a thousand people, in the shape of a real directory.

use serde_json::Value;

use crate::support::people::{BASE, Flaws};
use crate::support::program::Plan;
use crate::support::{Dirsyncd, Organization, Person, World, crowd};

const PEOPLE: usize = 1000;

fn disabled(people: &[Person]) -> usize {
    people
        .iter()
        .filter(|person| person.employee_type == "leaver")
        .count()
}

#[test]
fn a_thousand_people_are_synced_and_then_nothing_is_left() {
    let people = crowd(PEOPLE, Flaws::default());
    let world = World::of(&people);
    let enabled = PEOPLE - disabled(&people);

    let output = world.dirsyncd.sync(0);

    assert!(
        output.stdout.contains(&format!("Done: {enabled} applied.")),
        "{output}"
    );
    world.dirsyncd.expect_nothing_to_do();
    let accounts = world.organization.accounts();
    assert_eq!(accounts.len(), enabled);
    for person in people
        .iter()
        .filter(|person| person.employee_type == "staff")
    {
        let at = accounts
            .binary_search_by(|account| {
                account
                    .user_name
                    .as_str()
                    .cmp(person.mail.as_ref().unwrap())
            })
            .unwrap();
        assert_eq!(accounts[at].external_id, Some(person.key()));
        assert_eq!(accounts[at].display_name, Some(person.name()));
        assert_eq!(accounts[at].family_name.as_ref(), Some(&person.family));
        assert_eq!(accounts[at].department.as_ref(), Some(&person.department));
    }
}

#[test]
fn flawed_people_are_refused_and_the_others_are_synced() {
    let flaws = Flaws {
        without_mail: true,
        shared_mail: true,
    };
    let people = crowd(PEOPLE, flaws);
    let world = World::of(&people);
    let without_mail = people.iter().filter(|person| person.mail.is_none()).count();
    // Two pairs share a mail, and nobody can tell whose it is.
    let contested = 4;
    let disabled = people
        .iter()
        .filter(|person| person.employee_type == "leaver" && person.mail.is_some())
        .count();

    let output = world.dirsyncd.sync(3).expect_words(&[
        &format!("Refused: correct these ({})", without_mail + contested),
        "no value for `userName` (from `mail`)",
        "u0000098@example.org is also that of uid=u0000099,",
        "u0000098@example.org is also that of uid=u0000098,",
    ]);

    let synced = PEOPLE - without_mail - contested - disabled;
    assert!(
        output.stdout.contains(&format!("Done: {synced} applied.")),
        "{output}"
    );
    assert_eq!(world.organization.accounts().len(), synced);
    let plan = world.dirsyncd.plan();
    assert_eq!(plan.code, 3);
    assert!(plan.operations().is_empty());
}

#[test]
fn people_without_mail_can_be_skipped() {
    let flaws = Flaws {
        without_mail: true,
        shared_mail: false,
    };
    let people = crowd(100, flaws);
    let mut world = World::of(&people);
    world.dirsyncd.set_source("without_mail", "\"skip\"");

    world
        .dirsyncd
        .sync(0)
        .expect_words(&["Skipped (", "uid=u0000007,"]);

    world.dirsyncd.expect_nothing_to_do();
    let without_mail = people.iter().filter(|person| person.mail.is_none()).count();
    let expected = people.len() - without_mail - disabled(&people);
    assert_eq!(world.organization.accounts().len(), expected);
}

/// The plan without what tells how the sources were read.
fn decisions(mut plan: Plan) -> Value {
    let parts = plan.json.as_object_mut().unwrap();
    parts.remove("pulls");
    parts.remove("notices");
    // By another place the leaver is out by an edit of the configuration, too.
    let operations = parts["operations"].as_array_mut().unwrap();
    for operation in operations {
        if operation["reason"]["cause"] == "left" {
            operation["reason"] = Value::Null;
            operation["message"] = Value::Null;
        }
    }
    plan.json
}

#[test]
fn an_export_of_the_directory_gives_the_same_plan() {
    let flaws = Flaws {
        without_mail: true,
        shared_mail: true,
    };
    let world = World::of(&crowd(300, flaws));
    world.dirsyncd.sync(3);
    // A directory and an organization that differ in every way that a plan can show.
    world
        .slapd
        .delete(&format!("uid=u0000004,ou=Engineering,ou=people,{BASE}"));
    let change = |uid: &str, unit: &str, values: &[(&str, &str)]| {
        let dn = format!("uid={uid},ou={unit},ou=people,{BASE}");
        world.slapd.replace(&dn, values);
    };
    change("u0000005", "Sales", &[("employeeType", "leaver")]);
    change(
        "u0000006",
        "Finance",
        &[("title", "Führungskraft "), ("mail", "six@example.org")],
    );
    world.slapd.add(&Person::new("radia", "Radia", "Perlman"));
    let by_ldap = world.dirsyncd.plan();
    assert!(by_ldap.operations().len() >= 4, "{:#}", by_ldap.json);

    for export in [world.slapd.export(), world.slapd.slapcat()] {
        let mut by_file = Dirsyncd::from_ldif(&world.organization, &export);
        std::fs::copy(world.dirsyncd.database(), by_file.database()).unwrap();
        by_file
            .organization
            .clone_from(&world.dirsyncd.organization);
        // Another place is an edit of the configuration.
        let by_file = by_file.plan_with(&["--accept-scope-change"]);
        assert_eq!(by_file.code, by_ldap.code);
        assert_eq!(decisions(by_file), decisions(by_ldap.clone()));
    }

    let fresh = Organization::start();
    let by_ldap = {
        let mut dirsyncd = Dirsyncd::between(
            &world.slapd,
            crate::support::directory::Transport::StartTls,
            &fresh,
        );
        dirsyncd.set_source("page_size", "7");
        dirsyncd.plan()
    };
    let by_file = Dirsyncd::from_ldif(&fresh, &world.slapd.slapcat()).plan();
    assert_eq!(decisions(by_file), decisions(by_ldap));
}
