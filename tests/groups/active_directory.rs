//! What Active Directory does with groups, as a scripted server: members in portions (MS-ADTS section 3.1.1.3.1.3.3),
//! and people who are in a group by `primaryGroupID` alone.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::organization::planned;
use crate::support::{Dirsyncd, Organization};
use crate::tree::{created, select};

/// So many members come at once.
const PORTION: usize = 1500;
const BASE: &str = "DC=ad,DC=example,DC=org";

#[derive(Clone, Default)]
struct Entry {
    dn: String,
    values: Vec<(&'static str, Vec<Vec<u8>>)>,
}

/// How the server misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It answers the question for the second portion with the first.
    Repeats,
    /// It answers it with nothing.
    Stops,
    /// It names another server for a part of the list of people that is read to find primary
    /// groups.
    Refers,
}

/// A SID of the domain, S-1-5-21-1-2-3-RID.
fn sid(rid: u32) -> Vec<u8> {
    let mut sid = vec![1, 5, 0, 0, 0, 0, 0, 5];
    for part in [21, 1, 2, 3, rid] {
        sid.extend_from_slice(&u32::to_le_bytes(part));
    }
    sid
}

fn name(n: u32) -> String {
    format!("Pat {n:04}")
}

fn person_dn(n: u32) -> String {
    format!("CN={},CN=Users,{BASE}", name(n))
}

fn person(n: u32, primary_group: u32) -> Entry {
    let mut guid = vec![0; 16];
    guid[..4].copy_from_slice(&(n + 1).to_le_bytes());
    let text = |text: &str| vec![text.as_bytes().to_vec()];
    Entry {
        dn: person_dn(n),
        values: vec![
            ("objectClass", text("user")),
            ("objectGUID", vec![guid]),
            ("objectSid", vec![sid(10_000 + n)]),
            ("primaryGroupID", text(&primary_group.to_string())),
            ("mail", text(&format!("p{n:04}@example.org"))),
            ("displayName", text(&name(n))),
            ("userAccountControl", text("512")),
        ],
    }
}

fn group(name: &str, rid: u32, members: Vec<String>) -> Entry {
    Entry {
        dn: format!("CN={name},CN=Users,{BASE}"),
        values: vec![
            ("objectClass", vec![b"top".to_vec(), b"group".to_vec()]),
            (
                "objectGUID",
                vec![[vec![0xff; 12], rid.to_le_bytes().to_vec()].concat()],
            ),
            ("cn", vec![name.as_bytes().to_vec()]),
            ("objectSid", vec![sid(rid)]),
            (
                "member",
                members.into_iter().map(String::into_bytes).collect(),
            ),
        ],
    }
}

/// Serves these entries; gives the port, and the ranges that are asked for.
fn serve(entries: Vec<Entry>, fault: Fault) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let entries = Arc::new(entries);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, entries, noted) = (stream.unwrap(), entries.clone(), noted.clone());
            std::thread::spawn(move || {
                // A client that goes away is none of the server's trouble.
                let _ = converse(stream, &entries, fault, &noted);
            });
        }
    });
    (port, asked)
}

fn converse(
    mut stream: TcpStream,
    entries: &[Entry],
    fault: Fault,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut input = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Some((_, message, rest)) = element(&input) {
            let (_, id, message) = element(message).unwrap();
            let (operation, request, _) = element(message).unwrap();
            // 0x63 is a SearchRequest (RFC 4511 section 4.5.1); the unbind needs no answer.
            if operation == 0x63 {
                stream.write_all(&answer(id, request, entries, fault, asked))?;
            }
            let left = rest.len();
            input.drain(..input.len() - left);
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => input.extend_from_slice(&chunk[..count]),
        }
    }
}

fn answer(
    id: &[u8],
    request: &[u8],
    entries: &[Entry],
    fault: Fault,
    asked: &Mutex<Vec<String>>,
) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut rest = request;
    while let Some((_, field, after)) = element(rest) {
        fields.push(field);
        rest = after;
    }
    let base = String::from_utf8(fields[0].to_vec()).unwrap();
    let is_base_search = fields[1] == [0];
    let mut wanted = Vec::new();
    let mut rest = fields[7];
    while let Some((_, attribute, after)) = element(rest) {
        wanted.push(String::from_utf8(attribute.to_vec()).unwrap());
        rest = after;
    }
    asked.lock().unwrap().extend(
        wanted
            .iter()
            .filter(|name| name.contains(";range="))
            .cloned(),
    );
    let message = |operation: Vec<u8>| element_of(0x30, &[&element_of(2, &[id]), &operation]);
    let wants_groups = fields[6].windows(5).any(|word| word == b"group");
    let mut output = Vec::new();
    let mut is_there = !is_base_search || base.is_empty();
    for entry in entries {
        let is_person = entry.values[0].1 == [b"user"];
        let is_found = if is_base_search {
            entry.dn.eq_ignore_ascii_case(&base)
        } else {
            is_person != wants_groups
        };
        if !is_found {
            continue;
        }
        is_there = true;
        let attributes: Vec<Vec<u8>> = wanted
            .iter()
            .flat_map(|name| shown(entry, name, fault))
            .map(|(name, values)| {
                let values: Vec<Vec<u8>> = values.iter().map(|one| element_of(4, &[one])).collect();
                let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
                element_of(
                    0x30,
                    &[
                        &element_of(4, &[name.as_bytes()]),
                        &element_of(0x31, &values),
                    ],
                )
            })
            .collect();
        let attributes: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
        output.extend(message(element_of(
            0x64,
            &[
                &element_of(4, &[entry.dn.as_bytes()]),
                &element_of(0x30, &attributes),
            ],
        )));
    }
    let is_list = !is_base_search && wanted.iter().any(|name| name == "primaryGroupID");
    if fault == Fault::Refers && is_list && !wanted.iter().any(|name| name == "mail") {
        let url = element_of(4, &[b"ldap://other.example.org/DC=ad,DC=example,DC=org"]);
        output.extend(message(element_of(0x73, &[&url])));
    }
    let code: u8 = if is_there { 0 } else { 32 };
    let done = [&element_of(10, &[&[code]])[..], &[4, 0, 4, 0]];
    output.extend(message(element_of(0x65, &done)));
    output
}

/// An attribute as Active Directory shows it: many members in portions.
fn shown(entry: &Entry, wanted: &str, fault: Fault) -> Vec<(String, Vec<Vec<u8>>)> {
    let (name, from) = match wanted.split_once(";range=") {
        None => (wanted, 0),
        Some((name, range)) => (name, range.strip_suffix("-*").unwrap().parse().unwrap()),
    };
    let Some((_, values)) = entry
        .values
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
    else {
        return Vec::new();
    };
    if values.len() <= PORTION {
        return vec![(wanted.to_owned(), values.clone())];
    }
    let from: usize = match fault {
        Fault::Stops if from > 0 => return Vec::new(),
        Fault::Repeats => 0,
        _ => from,
    };
    let end = values.len().min(from + PORTION);
    let last = if end == values.len() {
        "*".to_owned()
    } else {
        (end - 1).to_string()
    };
    let mut shown = vec![(
        format!("{name};range={from}-{last}"),
        values[from..end].to_vec(),
    )];
    if name == wanted {
        shown.push((name.to_owned(), Vec::new()));
    }
    shown
}

/// The first BER element: its tag, its content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = if short < 0x80 {
        (usize::from(short), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
        let length = octets
            .iter()
            .fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn element_of(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], &length[..], &content].concat()
}

/// The program between such a server and an organization, with these groups to select by.
fn between(port: u16, organization: &Organization, groups: &[&str]) -> Dirsyncd {
    let mut dirsyncd = Dirsyncd::from_ldif(organization, "");
    dirsyncd.source = format!(
        "preset = \"active-directory\"\nurl = \"ldap://127.0.0.1:{port}\"\nplaintext = true\nbase = {BASE:?}\n"
    );
    let groups: Vec<String> = groups
        .iter()
        .map(|name| format!("cn={name},cn=users,{BASE}"))
        .collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    select(&mut dirsyncd, &groups);
    dirsyncd
}

/// 3,200 people, of whom the first 3,100 are in a group by `member`, and the last has another primary group.
fn domain() -> Vec<Entry> {
    let mut entries: Vec<Entry> = (0..3_200)
        .map(|n| person(n, if n == 3_199 { 1105 } else { 513 }))
        .collect();
    entries.push(group("Large", 1104, (0..3_100).map(person_dn).collect()));
    entries.push(group("Few", 1105, Vec::new()));
    entries.push(group(
        "Around",
        1106,
        vec![format!("CN=Few,CN=Users,{BASE}"), person_dn(7)],
    ));
    entries
}

#[test]
fn members_in_portions_are_all_there() {
    let organization = Organization::start();
    let (port, asked) = serve(domain(), Fault::None);
    let dirsyncd = between(port, &organization, &["large"]);
    dirsyncd.run(&["check"]).expect_code(0).expect_words(&[
        "Active Directory group, direct members: 3100, members in all: 3100, nested groups: 0, cycles: 0, dangling members: 0",
        "3100 entries, 3100 people can be mapped",
    ]);
    assert_eq!(
        *asked.lock().unwrap(),
        ["member;range=1500-*", "member;range=3000-*"]
    );
}

#[test]
fn members_that_come_incompletely_are_an_error() {
    let organization = Organization::start();
    for (fault, word) in [
        (
            Fault::Repeats,
            "`member;range=0-1499` does not follow 1500 members",
        ),
        (
            Fault::Stops,
            "the server does not answer with `member;range=1500-*`",
        ),
    ] {
        let (port, _) = serve(domain(), fault);
        between(port, &organization, &["large"])
            .sync(1)
            .expect_words(&["its members came incompletely", word]);
    }
    assert!(organization.accounts().is_empty());
}

#[test]
fn people_are_selected_by_their_primary_group_too() {
    let organization = Organization::start();
    let (port, _) = serve(domain(), Fault::None);
    // Nobody is in it by `member`.
    let few = between(port, &organization, &["few"]);
    assert_eq!(created(&few), [name(3_199)]);
    let around = between(port, &organization, &["around"]);
    assert_eq!(created(&around), [name(7), name(3_199)]);
}

/// The program with a rule over the groups of the domain.
fn with_rule(port: u16, organization: &Organization) -> Dirsyncd {
    let mut dirsyncd = between(port, organization, &[]);
    dirsyncd.set_source("members_of", &format!("[\"cn=large,cn=users,{BASE}\"]"));
    dirsyncd.rest = format!("[[group]]\nbase = {BASE:?}\n");
    dirsyncd
}

#[test]
fn groups_get_members_in_portions_and_by_primary_group() {
    let organization = Organization::start();
    let (port, asked) = serve(domain(), Fault::None);
    let dirsyncd = with_rule(port, &organization);
    // By `members_of` only the members of Large have accounts: not the one of Few.
    let expected = [
        "create Around +1 -0",
        "create Few +0 -0",
        "create Large +3100 -0",
    ];
    assert_eq!(
        planned(&dirsyncd),
        (0, expected.map(str::to_owned).to_vec())
    );
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    // Once for `members_of` and once for the rule.
    let portions = ["member;range=1500-*", "member;range=3000-*"];
    assert_eq!(asked, [portions, portions].concat());
    let plan = dirsyncd.plan();
    let told = plan.json["groups"]["notices"].to_string();
    assert!(told.contains(&person_dn(3_199)), "{told}");
}

#[test]
fn a_group_whose_members_come_incompletely_loses_nobody() {
    for fault in [Fault::Repeats, Fault::Stops] {
        let organization = Organization::start();
        let (port, _) = serve(domain(), fault);
        let mut dirsyncd = with_rule(port, &organization);
        dirsyncd.set_source("members_of", &format!("[\"cn=around,cn=users,{BASE}\"]"));
        let output = dirsyncd.run(&["sync"]).expect_code(3).expect_words(&[
            "Groups out of which nobody is taken in this run (1)",
            "its members came incompletely",
        ]);
        // Person 7 is in the first portion, and the other one in none.
        assert!(output.stdout.contains("groups: 3 to create"), "{output}");
        assert_eq!(organization.group("Large").members.len(), 1);
        assert_eq!(organization.group("Around").members.len(), 2);
    }
}

#[test]
fn a_list_of_people_that_is_incomplete_takes_nobody_out_of_their_primary_group() {
    let organization = Organization::start();
    let (port, _) = serve(domain(), Fault::Refers);
    let mut dirsyncd = with_rule(port, &organization);
    dirsyncd.set_source("members_of", &format!("[\"cn=around,cn=users,{BASE}\"]"));
    dirsyncd.run(&["sync"]).expect_code(3).expect_words(&[
        "Groups out of which nobody is taken in this run (1)",
        "other.example.org",
    ]);
}
