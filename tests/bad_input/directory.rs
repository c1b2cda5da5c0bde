//! The directory is away, refuses, or has not what it should.

use crate::refused;
use crate::support::directory::{Slapd, Transport, free_port};
use crate::support::people::{self, BASE};
use crate::support::{
    Dirsyncd, Organization, Person, World, database, file_reference, write_private,
};

/// A fault of a source: what is set, and what is said about it.
struct Case {
    name: &'static str,
    set: Vec<(&'static str, String)>,
    words: Vec<String>,
}

fn case(name: &'static str, set: &[(&'static str, String)], words: &[&str]) -> Case {
    Case {
        name,
        set: set.to_vec(),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    }
}

#[test]
fn check_finds_nothing_wrong_where_nothing_is_wrong() {
    let world = World::of(&Person::four());
    // Once for the configuration file.
    world.dirsyncd.run(&["check"]).expect_code(0);
    let before = world.before();
    let output = world
        .dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&[
            "✓ configuration",
            "✓ database: 0 managed accounts",
            "✓ source `directory`: 4 entries, 4 people can be mapped",
            "✓ provisioning API: the key is accepted",
            "✓ organization API: organization",
            "all is well",
        ]);
    assert!(!output.stdout.contains('✗'), "{output}");
    before.expect_unchanged();
    world.dirsyncd.sync(0);
    world
        .dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&["4 managed accounts, 4 of them active"]);
}

#[test]
fn a_directory_that_cannot_be_read_is_told_and_nobody_departs() {
    let people = Person::several(12);
    let mut world = World::synced(&people);
    let stranger = Slapd::start(&[]);
    let wrong_password = world.dirsyncd.folder().join("wrong-password");
    write_private(&wrong_password, "not-the-password\n");
    let no_ca = world.dirsyncd.folder().join("no-ca.pem");
    std::fs::write(&no_ca, "no certificate here\n").unwrap();
    let quoted = |text: &str| format!("{text:?}");
    let closed = format!("ldaps://127.0.0.1:{}", free_port());
    let closed_plain = format!("ldap://127.0.0.1:{}", free_port());
    let other_name = format!("ldaps://127.0.0.2:{}", world.slapd.tls_port);
    let not_ldap = world.organization.url.replace("http://", "ldap://");
    let limited = format!("cn=limited,ou=services,{BASE}");
    let cases = [
        case(
            "a closed port",
            &[("url", quoted(&closed))],
            &[&format!("cannot connect to {closed}"), "check `url`"],
        ),
        case(
            "a closed port, with StartTLS",
            &[("url", quoted(&closed_plain))],
            &[&format!("cannot connect to {closed_plain}"), "check `url`"],
        ),
        case(
            "a server of something else",
            &[("url", quoted(&not_ldap)), ("timeout", quoted("2s"))],
            &[&not_ldap],
        ),
        case(
            "a name that does not resolve",
            &[("url", quoted("ldaps://no-such-host.invalid"))],
            &[
                "cannot connect to ldaps://no-such-host.invalid",
                "check `url`",
            ],
        ),
        case(
            "a wrong password",
            &[("password", file_reference(&wrong_password))],
            &[
                "refuses the bind as `cn=sync,ou=services,dc=example,dc=org`",
                "invalidCredentials",
                "check `bind_dn` and the password in the file",
                "wrong-password",
            ],
        ),
        case(
            "a bind DN that is not there",
            &[("bind_dn", quoted(&format!("cn=nobody,{BASE}")))],
            &[
                "refuses the bind as `cn=nobody,dc=example,dc=org`",
                "invalidCredentials",
            ],
        ),
        case(
            "another CA",
            &[("ca_file", quoted(&stranger.ca_file().display().to_string()))],
            &[
                "the certificate of ldaps://127.0.0.1:",
                "is not trusted",
                "set `ca_file`",
            ],
        ),
        case(
            "a CA file without a certificate",
            &[("ca_file", quoted(&no_ca.display().to_string()))],
            &[
                "no-ca.pem holds no certificate",
                "it must hold PEM certificates",
            ],
        ),
        case(
            "a CA file that is not there",
            &[("ca_file", quoted("nowhere.pem"))],
            &["nowhere.pem cannot be read"],
        ),
        case(
            "a certificate for another name",
            &[("url", quoted(&other_name))],
            &[
                &format!("the certificate of {other_name} is not trusted"),
                "use the host name that it is made out to",
            ],
        ),
        case(
            "a base that is not there",
            &[("base", quoted(&format!("ou=nowhere,{BASE}")))],
            &[
                "the search below `ou=nowhere,dc=example,dc=org`",
                "noSuchObject (32)",
                "check `base`",
            ],
        ),
        case(
            "a bind DN with a size limit",
            &[("bind_dn", quoted(&limited))],
            &[
                "failed after 5 entries",
                "sizeLimitExceeded (4)",
                "let the bind DN read without a limit",
            ],
        ),
        case(
            "a password file that is not there",
            &[("password", "{ file = \"nowhere\" }".to_owned())],
            &["cannot read the secret file", "nowhere"],
        ),
    ];
    let good = world.dirsyncd.source.clone();
    for Case { name, set, words } in cases {
        println!("{name}");
        world.dirsyncd.source.clone_from(&good);
        for (key, value) in &set {
            world.dirsyncd.set_source(key, value);
        }
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        refused::by_check(&world, &words);
        words.push("source `directory`");
        refused::by_plan_and_sync(&world, 1, &words);
    }
    world.dirsyncd.source = good;
    world.dirsyncd.sync(0);
    assert_eq!(world.organization.active(), people.len());
}

#[test]
fn a_size_limit_that_the_page_fits_in_is_a_limit_of_the_whole_pull_all_the_same() {
    let mut world = World::synced(&Person::several(12));
    world
        .dirsyncd
        .set_source("bind_dn", &format!("\"cn=limited,ou=services,{BASE}\""));
    world.dirsyncd.set_source("page_size", "2");
    refused::by_plan_and_sync(&world, 1, &["sizeLimitExceeded (4)"]);
    assert_eq!(world.organization.active(), 12);
}

#[test]
fn a_pull_without_any_entry_is_refused() {
    for first_run in [true, false] {
        let mut world = World::of(&Person::four());
        if !first_run {
            world.dirsyncd.sync(0);
        }
        let empty = format!("\"ou=empty,{BASE}\"");
        for (key, value) in [("base", empty.as_str()), ("filter", "\"(uid=nobody)\"")] {
            let good = world.dirsyncd.source.clone();
            world.dirsyncd.set_source(key, value);
            refused::by_plan_and_sync(
                &world,
                3,
                &[
                    "the source `directory` returned no entry at all",
                    "check its base, scope and filter",
                ],
            );
            refused::by_check(&world, &["the search finds no entry"]);
            world.dirsyncd.source = good;
        }
    }
}

#[test]
fn an_ldif_file_that_is_empty_cut_or_gone_makes_nobody_depart() {
    let people = Person::four();
    let organization = Organization::start();
    let full = people::directory(&people);
    let dirsyncd = Dirsyncd::from_ldif(&organization, &full);
    dirsyncd.sync(0);
    let mark = organization.mark();
    let two = full.find(&format!("dn: {}", people[2].dn())).unwrap();

    dirsyncd.write_ldif("");
    dirsyncd.sync(3).expect_words(&["returned no entry at all"]);
    // Cut in the middle of a record: its end is not proven.
    dirsyncd.write_ldif(full[..two].trim_end());
    dirsyncd
        .sync(3)
        .expect_words(&["Absences that are not believed (1)", "may be cut off"]);
    dirsyncd.write_ldif(&full[..two + 10]);
    assert_ne!(dirsyncd.run(&["sync"]).code, Some(0));
    std::fs::remove_file(dirsyncd.folder().join("directory.ldif")).unwrap();
    dirsyncd
        .sync(1)
        .expect_words(&["cannot read the LDIF file", "check `file` of the source"]);

    assert!(organization.writes_since(mark).is_empty());
    assert_eq!(organization.active(), 4);
}

#[test]
fn with_one_entry_without_a_key_nobody_departs() {
    let mut people = Person::four();
    people.push(Person::new("nameless", "No", "Number").without_employee_number());
    let mut world = World::of(&people);
    world.dirsyncd.set_source("key", "\"employeeNumber\"");
    world.dirsyncd.sync(3).expect_words(&[
        "uid=nameless,",
        "the entry has no `employeeNumber`, the key of this source",
        "Done: 4 applied.",
    ]);
    world.slapd.delete(&people[0].dn());
    world
        .slapd
        .replace(&people[1].dn(), &[("title", "Admiral")]);

    world.dirsyncd.sync(3).expect_words(&[
        "Absences that are not believed (1)",
        "any of them may be one of those missing",
    ]);

    assert_eq!(world.organization.active(), 4);
    let accounts = world.organization.accounts();
    assert!(
        accounts
            .iter()
            .any(|one| one.title.as_deref() == Some("Admiral"))
    );
    // The person gets a number, and now the departure is believed.
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: modify\nadd: employeeNumber\nemployeeNumber: 17\n-\n",
        people[4].dn()
    ));
    world.dirsyncd.sync(0);
    assert_eq!(world.organization.active(), 4);
    assert_eq!(world.organization.accounts().len(), 5);
    let [lost] = &database::texts(
        &world.dirsyncd.database(),
        "SELECT dn FROM accounts WHERE lifecycle = 'deactivated'",
    )[..] else {
        panic!()
    };
    assert_eq!(*lost, people[0].dn());
}

#[test]
fn a_person_without_mail_is_refused_and_keeps_what_there_is() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    let before = world.account(ada);
    world.slapd.modify(&format!(
        "dn: {}\nchangetype: modify\ndelete: mail\n-\n",
        ada.dn()
    ));
    let joiner = Person::new("radia", "Radia", "Perlman");
    world.slapd.add(&joiner);

    world.dirsyncd.sync(3).expect_words(&[
        &ada.dn(),
        "no value for `userName` (from `mail`): give the person one, or leave the person out by the filter",
        "Done: 1 applied.",
    ]);

    assert_eq!(world.account(ada), before);
    assert!(world.account(&joiner).active);
}

#[test]
fn two_with_one_mail_are_refused_and_who_has_it_keeps_it() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    let double = Person::new("ada2", "Ada", "Second").with_mail(Some("ADA@example.org"));
    world.slapd.add(&double);
    let twins = [
        Person::new("twin1", "Tina", "Twin").with_mail(Some("twin@example.org")),
        Person::new("twin2", "Tom", "Twin").with_mail(Some("twin@example.org")),
    ];
    world.slapd.add(&twins[0]);
    world.slapd.add(&twins[1]);

    let output = world.dirsyncd.sync(3).expect_words(&[
        "Refused: correct these (3)",
        &format!("is also that of {}", ada.dn()),
        &format!("twin@example.org is also that of {}", twins[0].dn()),
        &format!("twin@example.org is also that of {}", twins[1].dn()),
        "an address belongs to one account; correct it in the directory",
    ]);

    assert!(output.stdout.contains("Done: 0 applied."), "{output}");
    assert_eq!(world.organization.accounts().len(), 4);
    assert!(world.account(ada).active);
    world
        .dirsyncd
        .run(&["plan", "--detailed-exitcode"])
        .expect_code(3);
}

#[test]
fn a_person_outside_the_verified_domains_gets_no_account_and_the_others_do() {
    let mut people = Person::four();
    people[0] = people[0].clone().with_mail(Some("ada@elsewhere.example"));
    let mut world = World::of(&people);
    let with_admin_key = world.dirsyncd.organization.clone();
    // Without the admin key the verified domains are not known before the organization refuses.
    world.dirsyncd.organization = with_admin_key
        .lines()
        .filter(|line| !line.starts_with("admin_key"))
        .flat_map(|line| [line, "\n"])
        .collect();

    world.dirsyncd.sync(4).expect_words(&[
        "elsewhere.example",
        "not a verified domain",
        "Done: 3 applied, 1 failed.",
    ]);
    world.dirsyncd.organization = with_admin_key;
    world.dirsyncd.sync(0).expect_words(&[
        "Skipped (1)",
        "the domain of ada@elsewhere.example is not among the organization's verified domains (example.org)",
    ]);

    assert_eq!(world.organization.accounts().len(), 3);
}

#[test]
fn start_tls_is_not_left_out_when_the_certificate_is_wrong() {
    let mut world = World::reached_by(Transport::StartTls, &Person::four());
    let stranger = Slapd::start(&[]);
    let ca = format!("{:?}", stranger.ca_file().display().to_string());
    world.dirsyncd.set_source("ca_file", &ca);
    refused::by_plan_and_sync(
        &world,
        1,
        &["the certificate of ldap://127.0.0.1:", "is not trusted"],
    );
}
