//! The directory is away, refuses, or has not what it should.

use std::path::Path;

use crate::catalogue::Chapter;
use crate::refused;
use crate::support::directory::{Slapd, Transport, free_port};
use crate::support::people::{self, BASE};
use crate::support::{
    Dirsyncd, Organization, Person, World, database, file_reference, write_private,
};

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
    let two_lines = world.dirsyncd.folder().join("two-lines");
    write_private(&two_lines, "one\ntwo\n");
    let no_ca = world.dirsyncd.folder().join("no-ca.pem");
    std::fs::write(&no_ca, "no certificate here\n").unwrap();
    let quoted = |text: &str| format!("{text:?}");
    let closed = format!("ldaps://127.0.0.1:{}", free_port());
    let closed_plain = format!("ldap://127.0.0.1:{}", free_port());
    let other_name = format!("ldaps://127.0.0.2:{}", world.slapd.tls_port);
    let not_ldap = world.organization.url.replace("http://", "ldap://");
    let limited = format!("cn=limited,ou=services,{BASE}");
    let two = format!("[{closed:?}, {closed_plain:?}]");
    let key = world.dirsyncd.folder().join("client.key");
    write_private(&key, "no key here\n");
    let certificate = |path: &Path, key: &Path| {
        vec![
            ("client_certificate", quoted(&path.display().to_string())),
            ("client_key", file_reference(key)),
        ]
    };
    let [client, client_key] = world.slapd.client_certificate("client");
    let [other, _] = world.slapd.client_certificate("stranger");
    let nowhere = Path::new("/nowhere/client.pem");
    let group = |name: &str| vec![("members_of", quoted(&format!("{name},{BASE}")))];
    let cases = [
        ("a closed port", vec![("url", quoted(&closed))]),
        (
            "a closed port, with StartTLS",
            vec![("url", quoted(&closed_plain))],
        ),
        ("several servers, all closed", vec![("url", two)]),
        (
            "a server of something else",
            vec![("url", quoted(&not_ldap)), ("timeout", quoted("2s"))],
        ),
        (
            "a name that does not resolve",
            vec![("url", quoted("ldaps://no-such-host.invalid"))],
        ),
        (
            "a wrong password",
            vec![("password", file_reference(&wrong_password))],
        ),
        (
            "a bind DN that is not there",
            vec![("bind_dn", quoted(&format!("cn=nobody,{BASE}")))],
        ),
        (
            "another CA",
            vec![("ca_file", quoted(&stranger.ca_file().display().to_string()))],
        ),
        (
            "a CA file without a certificate",
            vec![("ca_file", quoted(&no_ca.display().to_string()))],
        ),
        (
            "a CA file that is not there",
            vec![("ca_file", quoted("nowhere.pem"))],
        ),
        (
            "a certificate for another name",
            vec![("url", quoted(&other_name))],
        ),
        (
            "a client certificate that is not there",
            certificate(nowhere, &client_key),
        ),
        (
            "a client certificate that is none",
            certificate(&no_ca, &client_key),
        ),
        ("a client key that is none", certificate(&client, &key)),
        (
            "a client key of another certificate",
            certificate(&other, &client_key),
        ),
        (
            "a base that is not there",
            vec![("base", quoted(&format!("ou=nowhere,{BASE}")))],
        ),
        (
            "a bind DN with a size limit",
            vec![("bind_dn", quoted(&limited))],
        ),
        (
            "a password file that is not there",
            vec![("password", "{ file = \"nowhere\" }".to_owned())],
        ),
        (
            "a password in a variable that is not set",
            vec![("password", "{ env = \"DIRSYNCD_NO_SUCH\" }".to_owned())],
        ),
        (
            "a password that is no credential",
            vec![("password", "{ credential = \"no-such\" }".to_owned())],
        ),
        (
            "a password file of two lines",
            vec![("password", file_reference(&two_lines))],
        ),
        ("a group that is not there", group("cn=nowhere")),
        ("a group that is none", group("ou=people")),
    ];
    let good = world.dirsyncd.source.clone();
    let mut chapter = Chapter::default();
    for (wrong, set) in cases {
        println!("{wrong}");
        world.dirsyncd.source.clone_from(&good);
        for (key, value) in &set {
            world.dirsyncd.set_source(key, value);
        }
        let output = refused::by_plan_and_sync(&world, 1, &["dirsyncd: source `directory`: "]);
        // What one verb says the other one says too.
        let (_, said) = output.stderr.split_once("`directory`: ").unwrap();
        let said = said.split(" after ").next().unwrap().trim_end();
        refused::by_check(&world, &[said]);
        chapter.met(wrong, &output);
    }
    chapter.end("directory");
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
fn an_ldif_file_that_is_none_is_told_with_its_line() {
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, "");
    let mut chapter = Chapter::default();
    let ada = Person::four()[0].entry();
    let after = |line: &str| format!("{}{line}\n\n", ada.trim_end().to_owned() + "\n");
    for (wrong, ldif) in [
        ("a line of 20 MiB", "x".repeat(20 << 20)),
        ("a stray continuation", format!(" mail: a\n{ada}")),
        ("a line without a colon", after("mail")),
        ("a line without a name", after(": a")),
        ("an attribute before the dn", format!("mail: a\n{ada}")),
        ("two entries in one", after("dn: uid=b,dc=example,dc=org")),
        (
            "a dn that is not UTF-8",
            "dn:: /w==\nmail: a\n\n".to_owned(),
        ),
        ("a value that is not base64", after("title:: ?")),
        ("a value by URL", after("title:< file:///etc/passwd")),
        (
            "changes",
            format!(
                "{}changetype: modify\n\n",
                ada.lines().next().unwrap().to_owned() + "\n"
            ),
        ),
        ("another version", format!("version: 2\n\n{ada}")),
        (
            "an export that was cut off",
            format!("{ada}search: 2\nresult: 4 Size limit exceeded\n\n"),
        ),
        ("no entry", String::new()),
    ] {
        dirsyncd.write_ldif(&ldif);
        chapter.met(wrong, &dirsyncd.run(&["plan"]));
    }
    std::fs::remove_file(dirsyncd.ldif_file()).unwrap();
    chapter.met("no file", &dirsyncd.run(&["plan"]).expect_code(1));
    std::fs::create_dir(dirsyncd.ldif_file()).unwrap();
    chapter.met("a folder", &dirsyncd.run(&["plan"]).expect_code(1));
    // Its first page is never mapped, so that reading it fails.
    dirsyncd.set_source("file", "\"/proc/self/mem\"");
    chapter.met("a file that fails", &dirsyncd.run(&["plan"]).expect_code(1));
    chapter.end("ldif");
}

/// An entry of somebody with this in place of its line of this attribute.
fn entry_with(uid: &str, attribute: &str, line: &str) -> String {
    let entry = Person::new(uid, "No", "Body").entry();
    let lines = entry.lines().map(|one| match one.split_once(':') {
        Some((name, _)) if name == attribute => line,
        _ => one,
    });
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n") + "\n\n"
}

#[test]
fn an_entry_that_makes_no_account_is_told_with_its_attribute() {
    let organization = Organization::start();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, "");
    dirsyncd.mapping += "nickName = { expr = 'attr(\"cn\").split(\" \")[attr(\"uid\") == \"index\" ? 5 : 0]' }\ntitle = { attribute = \"title\", table = { Engineer = \"E\" }, required = true }\n";
    dirsyncd.source += "exclude = 'attr(\"uid\") == \"excluded\"'\nexclude_base = \"ou=Legal,ou=people,dc=example,dc=org\"\ninclude = 'attr(\"uid\") != \"outside\"'\n";
    let long = format!("displayName: {}", "x".repeat(500));
    let ldif = [
        ("index", "", ""),
        ("table", "title", "title: Admiral"),
        ("nomail", "mail", ""),
        ("badmail", "mail", "mail: nobody"),
        ("longname", "displayName", &long),
        ("bell", "displayName", "displayName:: YQdi"),
        ("binary", "displayName", "displayName:: /w=="),
        ("nokey", "entryUUID", ""),
        ("twokeys", "entryUUID", "entryUUID: a\nentryUUID: b"),
        ("excluded", "", ""),
        ("outside", "", ""),
        (
            "legal",
            "dn",
            "dn: uid=legal,ou=Legal,ou=people,dc=example,dc=org",
        ),
    ]
    .map(|(uid, attribute, line)| entry_with(uid, attribute, line))
    .concat();
    let file = dirsyncd.folder().join("odd.ldif");
    std::fs::write(&file, ldif).unwrap();
    let path = file.display().to_string();
    let mut chapter = Chapter::default();
    let output = dirsyncd.run(&["map", &path]).expect_code(3);
    chapter.met_lines("entries that make no account", &output, &["uid=", "→ "]);
    chapter.end("entries");
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
