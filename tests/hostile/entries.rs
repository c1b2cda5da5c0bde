//! Entries that are odd or wrong (RFC 4511 section 4.5.2).

use std::fs;
use std::time::Duration;

use crate::host::Host;
use crate::support::people::BASE;
use crate::support::scripted::{Step, attributes, entry, entry_of_octets, page_end, pages, person};
use crate::support::{Person, eventually};

const TEN_MIB: usize = 10 << 20;

/// All twelve in one page, the first of them replaced by this, and this after them.
fn with_first(host: &Host, first: Step, more: Vec<Step>) {
    let mut page = vec![first];
    page.extend(host.people[1..].iter().map(person));
    page.extend(more);
    page.push(page_end(b""));
    host.server.answers(pages(vec![page]));
}

fn owned(name: &str, value: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), value.to_vec())
}

/// The attributes with the values of one replaced.
fn replaced(person: &Person, name: &str, value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut attributes = attributes(person);
    attributes.retain(|(known, _)| known != name);
    attributes.push(owned(name, value));
    attributes
}

#[test]
fn a_name_with_anything_in_it_is_only_a_name() {
    let host = Host::synced();
    let first = &host.people[0];
    let long = format!("ou={},ou=people,{BASE}", "x".repeat(8 << 10));
    for name in [
        r"cn=Person\, Pat \+ Co\3b \22\5c\#,ou=people,dc=example,dc=org".to_owned(),
        "cn=佐藤 Zoë Đorđe 🦀,ou=people,dc=example,dc=org".to_owned(),
        r"cn=\e4\bd\90+uid=p00,ou=people,dc=example,dc=org".to_owned(),
        "CN=p00\\0ADEL:1,OU=People,DC=example,DC=org".to_owned(),
        long,
        // No name at all, and still an entry.
        "no name".to_owned(),
    ] {
        println!("{}", name.len());
        with_first(&host, entry(&name, &attributes(first)), vec![]);
        host.run("plan", 0).expect_words(&["Nothing to do: "]);
        host.dirsyncd.sync(0);
    }
    host.server.answers(host.good());
    host.dirsyncd.sync(0);
    assert_eq!(host.organization.active(), 12);
}

#[test]
fn a_huge_value_of_a_mapped_attribute_refuses_that_person_alone() {
    let host = Host::synced();
    let (first, last) = (&host.people[0], &host.people[11]);
    let huge = vec![b'x'; TEN_MIB];
    with_first(
        &host,
        entry(&first.dn(), &replaced(first, "title", &huge)),
        vec![],
    );
    host.refuses(
        3,
        &[
            "Refused: correct these (1)",
            &first.dn(),
            "`title`",
            "has 10485760 characters, and the API takes",
        ],
    );
    // The others are served all the same: the last one has left.
    let mut page = vec![entry(&first.dn(), &replaced(first, "title", &huge))];
    page.extend(host.people[1..11].iter().map(person));
    page.push(page_end(b""));
    host.server.answers(pages(vec![page]));
    host.run("plan", 3)
        .expect_words(&[&last.name(), "no longer in the directory"]);
    host.recovers();
}

#[test]
fn huge_values_that_nobody_asked_for_are_passed_over_and_not_kept() {
    let mut host = Host::synced();
    host.dirsyncd.set_source("page_size", "1");
    let photo = owned("jpegPhoto", &vec![0xff; TEN_MIB]);
    let pages_with = |photos: usize, last: Step| -> Vec<Vec<Step>> {
        let people = (0_u8..).zip(&host.people).enumerate();
        let pages = people.map(|(index, (number, person))| {
            let mut attributes = attributes(person);
            if index < photos {
                attributes.push(photo.clone());
            }
            vec![entry(&person.dn(), &attributes), page_end(&[number])]
        });
        pages.chain([vec![last]]).collect()
    };
    host.server.answers(pages(pages_with(12, page_end(b""))));
    host.agrees();
    // When the last page does not come, the program waits for it and has had all entries.
    let peak_with = |photos: usize| {
        host.server
            .answers(pages(pages_with(photos, Step::Silence)));
        let running = host.dirsyncd.start(&["plan"]);
        eventually(
            "the request for the last page",
            Duration::from_secs(20),
            || (host.server.requests().len() == 13).then_some(()),
        );
        let status = fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().split(' ').next()?.parse::<usize>().ok())
            .unwrap();
        running.wait().expect_code(1);
        peak
    };
    let (few, many) = (peak_with(2), peak_with(12));
    println!("at most {few} KiB for two photos of 10 MiB, {many} KiB for twelve");
    assert!(many < few + (50 << 10), "{few} KiB, {many} KiB");
    host.dirsyncd.set_source("page_size", "5");
    host.recovers();
}

#[test]
fn attribute_names_are_compared_without_case_and_options_make_another_attribute() {
    let host = Host::synced();
    let first = &host.people[0];
    for change in [str::to_ascii_uppercase, str::to_ascii_lowercase] {
        let attributes: Vec<_> = attributes(first)
            .into_iter()
            .map(|(name, value)| (change(&name), value))
            .collect();
        with_first(&host, entry(&first.dn(), &attributes), vec![]);
        host.agrees();
    }
    let mut with_options = vec![
        owned("cn;lang-ja", "佐藤".as_bytes()),
        owned("mail;lang-de", b"other@example.org"),
        owned("MAIL;x-hidden", b"third@example.org"),
        owned("title;binary", &[0xff]),
    ];
    with_options.extend(attributes(first));
    with_first(&host, entry(&first.dn(), &with_options), vec![]);
    host.agrees();
    host.recovers();
}

#[test]
fn an_entry_without_attributes_may_be_anybody() {
    let host = Host::synced();
    let first = &host.people[0];
    let empty = entry(&first.dn(), &[]);
    with_first(&host, empty, vec![]);
    host.refuses(
        3,
        &[
            &first.dn(),
            "the entry has no `entryUUID`, the key of this source",
            "Absences that are not believed (1)",
        ],
    );
    host.recovers();
}

#[test]
fn an_attribute_that_comes_twice_has_both_values() {
    let host = Host::synced();
    let first = &host.people[0];
    let twice = |name: &str, value: &[u8]| {
        let mut twice = attributes(first);
        twice.push(owned(name, value));
        entry(&first.dn(), &twice)
    };
    with_first(&host, twice("title", b"Admiral"), vec![]);
    host.agrees();
    with_first(&host, twice("entryUUID", b"another"), vec![]);
    host.refuses(
        3,
        &[
            &first.dn(),
            "`entryUUID`",
            "it has 2 values, and a key has one",
        ],
    );
    host.recovers();
}

#[test]
fn octets_that_are_no_text_are_told_with_entry_and_attribute() {
    let host = Host::synced();
    let first = &host.people[0];
    let wrong = replaced(first, "sn", b"M\xfcller");
    with_first(&host, entry(&first.dn(), &wrong), vec![]);
    host.refuses(3, &[&first.dn(), "a value of sn is not UTF-8 text"]);
    // In the key too: the person is unknown then.
    let wrong = replaced(first, "entryUUID", b"\xff\xfe");
    with_first(&host, entry(&first.dn(), &wrong), vec![]);
    host.refuses(3, &[&first.dn(), "a value of entryUUID is not UTF-8 text"]);
    host.recovers();
}

#[test]
fn a_name_that_is_no_text_ends_the_pull() {
    let host = Host::synced();
    let first = &host.people[0];
    let name = b"cn=M\xfcller,ou=people,dc=example,dc=org";
    with_first(&host, entry_of_octets(name, &attributes(first)), vec![]);
    host.refuses(1, &["something that is not LDAP"]);
    host.recovers();
}

#[test]
fn two_entries_of_one_key_are_told_and_nothing_is_done_for_either() {
    let host = Host::synced();
    let first = &host.people[0];
    let other_name = format!("uid=double,ou=people,{BASE}");
    let mut double = replaced(first, "title", b"Admiral");
    double.rotate_left(1);
    with_first(&host, person(first), vec![entry(&other_name, &double)]);
    host.refuses(
        3,
        &[
            &other_name,
            "another entry has the same key",
            "nothing is done for either",
        ],
    );
    host.recovers();
}
