//! Where secrets and people come from.

use std::path::Path;

use crate::support::people::directory;
use crate::support::{Person, World, set_mode, write_private};

#[test]
fn a_secret_may_stand_in_the_environment_or_in_a_systemd_credential() {
    let mut world = World::of(&Person::four());
    let password = std::fs::read_to_string(world.dirsyncd.password_file()).unwrap();
    let credentials = tempfile::tempdir().unwrap();
    write_private(&credentials.path().join("ldap"), &password);
    for (place, name, value) in [
        (
            "{ env = \"LDAP_SECRET\" }",
            "LDAP_SECRET",
            Path::new(password.trim_end()),
        ),
        (
            "{ credential = \"ldap\" }",
            "CREDENTIALS_DIRECTORY",
            credentials.path(),
        ),
    ] {
        world.dirsyncd.set_source("password", place);
        let plan = world.dirsyncd.start_with(&["plan"], &[(name, value)]);
        plan.wait().expect_code(0).expect_words(&["4 to create"]);
        // And told when it is not there.
        world
            .dirsyncd
            .run(&["plan"])
            .expect_code(1)
            .expect_words(&[name]);
    }
    // By which place, too; and one that others could read is none, wherever systemd has put it.
    let plan = world.dirsyncd.run(&["plan"]);
    plan.expect_words(&["/etc/dirsyncd/credentials"]);
    let file = credentials.path().join("ldap");
    let folder = [("CREDENTIALS_DIRECTORY", credentials.path())];
    let expect = |verb, code, words: &[&str]| {
        let run = world.dirsyncd.start_with(&[verb], &folder).wait();
        run.expect_code(code).expect_words(words);
    };
    let told = format!("credentials: from {}", credentials.path().display());
    expect("check", 0, &[&told]);
    set_mode(&file, 0o644);
    let mend = format!("run `chmod 600 {}`", file.display());
    expect("check", 1, &[&told, &mend]);
    expect("plan", 1, &[&mend]);
    // An empty line, as the unit has it for one that is not there.
    set_mode(&file, 0o600);
    write_private(&file, "\n");
    let place = format!("credential {} must hold one line", file.display());
    expect("plan", 1, &[&place]);
}

#[test]
fn people_of_several_sources_are_one_organization_and_the_first_source_has_precedence() {
    let mut world = World::of(&Person::four());
    let [ada, ..] = &Person::four()[..] else {
        unreachable!()
    };
    let contractor = Person::new("contractor", "Con", "Tractor");
    // Ada is in both, under the same key, with another name in the second.
    let other_ada = Person {
        given: "Augusta".to_owned(),
        ..ada.clone()
    };
    world
        .dirsyncd
        .write_ldif(&directory(&[contractor.clone(), other_ada]));
    world.dirsyncd.set_source("name", "\"staff\"");
    world.dirsyncd.rest = format!(
        "[[source]]\nname = \"contractors\"\nkind = \"ldif\"\npreset = \"openldap\"\nfile = {:?}\nbase = \"dc=example,dc=org\"\n",
        world.dirsyncd.ldif_file()
    );
    world.dirsyncd.sync(0).expect_words(&["5 to create"]);
    assert_eq!(world.account(ada).given_name, Some(ada.given.clone()));
    world.dirsyncd.expect_nothing_to_do();

    // Who leaves one source and is in the other stays.
    world.slapd.delete(&ada.dn());
    world.dirsyncd.sync(0).expect_words(&["1 to update"]);
    let account = world.account(ada);
    assert!(account.active);
    assert_eq!(account.given_name.as_deref(), Some("Augusta"));

    // A source that is cut off lets nobody depart from the other one either.
    world.slapd.delete(&Person::four()[1].dn());
    let whole = std::fs::read_to_string(world.dirsyncd.ldif_file()).unwrap();
    std::fs::write(world.dirsyncd.ldif_file(), whole.trim_end()).unwrap();
    world
        .dirsyncd
        .sync(3)
        .expect_words(&["0 to deactivate", "may be cut off"]);
    assert!(world.account(&Person::four()[1]).active);
}
