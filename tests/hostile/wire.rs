//! What is no LDAP at all, and servers that stall.

use std::net::TcpListener;
use std::time::Duration;

use crate::host::Host;
use crate::support::directory::PASSWORD;
use crate::support::scripted::{
    Step, attributes, entry, ldap_result, message, page_end, pages, person, result, tlv,
};

const SECOND: Duration = Duration::from_secs(1);

/// The unsolicited notice with which a server ends a connection (RFC 4511 section 4.4.1), and as Active Directory
/// encodes it, with the name outside.
fn notices() -> [Vec<u8>; 2] {
    let name = tlv(0x8a, b"1.3.6.1.4.1.1466.20036");
    let bare = ldap_result(0x78, 52, "the server shuts down", &[]);
    let content = &bare[2..];
    let right = tlv(0x78, &[content, &name].concat());
    let id = tlv(0x02, &[0]);
    [
        tlv(0x30, &[id.as_slice(), &right].concat()),
        tlv(0x30, &[id.as_slice(), &bare, &name].concat()),
    ]
}

#[test]
fn a_notice_of_disconnection_makes_the_pull_incomplete() {
    let host = Host::synced();
    for notice in notices() {
        let mut first = host.page(0);
        first.extend([Step::Raw(notice), Step::Close]);
        host.server.answers(pages(vec![first]));
        host.refuses(1, &["stopped answering after 5 entries"]);
    }
    host.recovers();
}

#[test]
fn what_is_no_ldap_ends_the_pull() {
    let host = Host::synced();
    let http = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec();
    let cases = [
        ("HTTP", Step::Raw(http)),
        (
            "noise",
            Step::Raw((0..4096_u32).map(|n| ((n * 7919) >> 3) as u8).collect()),
        ),
        ("zeros", Step::Raw(vec![0; 4096])),
        ("a message without a content", Step::Raw(tlv(0x30, b""))),
        (
            "a message without an operation",
            Step::Raw(tlv(0x30, &tlv(0x02, &[3]))),
        ),
        (
            "an id that is no number",
            Step::Raw(tlv(0x30, &[tlv(0x04, b"x"), tlv(0x64, b"")].concat())),
        ),
        ("an entry without a content", Step::Op(tlv(0x64, b""))),
        ("an entry that is primitive", Step::Op(tlv(0x44, b"dn"))),
        (
            "a name that is constructed",
            Step::Op(tlv(0x64, &[tlv(0x24, b""), tlv(0x30, b"")].concat())),
        ),
        ("a result without a code", Step::Op(tlv(0x65, b""))),
        (
            "a result with a code of text",
            Step::Op(tlv(0x65, &tlv(0x04, b"0").repeat(3))),
        ),
        (
            "a text of the result that is no UTF-8",
            Step::Op(tlv(
                0x65,
                &[tlv(0x0a, &[1]), tlv(0x04, b""), tlv(0x04, b"\xff")].concat(),
            )),
        ),
        ("an operation that is none", Step::Op(tlv(0x7e, b""))),
        (
            "a bind's answer to a search",
            Step::Op(ldap_result(0x61, 0, "", &[])),
        ),
        (
            "a reference without an address",
            Step::Op(tlv(0x53, b"ldap://x")),
        ),
        (
            "a control that is none",
            Step::OpWith(
                ldap_result(0x65, 0, "", &[]),
                vec![("1.2.840.113556.1.4.319", b"\x30\x7f".to_vec())],
            ),
        ),
        (
            "controls that are no list",
            Step::Raw(tlv(
                0x30,
                &[
                    tlv(0x02, &[2]),
                    ldap_result(0x65, 0, "", &[]),
                    tlv(0x80, b"x"),
                ]
                .concat(),
            )),
        ),
    ];
    for (name, step) in cases {
        println!("{name}");
        host.server.answers(pages(vec![
            [host.page(0), vec![step, Step::Close]].concat(),
        ]));
        host.refuses(1, &["stopped answering after ", "nothing was changed"]);
    }
    host.recovers();
}

#[test]
fn a_length_without_end_is_not_waited_for() {
    let host = Host::synced();
    for length in [&[0x84, 0xff, 0xff, 0xff, 0xff][..], &[0xff; 128], &[0x80]] {
        let start = [&[0x30], length].concat();
        host.server
            .answers(pages(vec![vec![Step::Raw(start), Step::Silence]]));
        host.refuses(1, &["after 0 entries"]);
    }
    host.recovers();
}

/// So many sequences, each the only element of the one before.
fn nested(depth: usize) -> Vec<u8> {
    let mut octets = tlv(0x30, b"");
    for _ in 1..depth {
        octets = tlv(0x30, &octets);
    }
    octets
}

#[test]
fn elements_within_elements_are_no_entry() {
    let host = Host::synced();
    host.server
        .answers(pages(vec![vec![Step::Raw(nested(200)), Step::Close]]));
    host.refuses(1, &["after 0 entries"]);
    host.recovers();
}

#[test]
#[ignore = "the lber crate decodes by recursion: so many levels overflow the stack, which ends the process"]
fn elements_within_elements_without_end_are_no_way_to_crash() {
    let host = Host::synced();
    host.server
        .answers(pages(vec![vec![Step::Raw(nested(20_000)), Step::Close]]));
    host.refuses(1, &["after 0 entries"]);
    host.recovers();
}

#[test]
fn an_answer_to_another_question_is_none() {
    let host = Host::synced();
    let answer = ldap_result(0x65, 0, "", &[]);
    for id in [0, 77, -1] {
        println!("{id}");
        let stray = Step::Stray(id, answer.clone());
        host.server.answers(pages(vec![
            [host.page(0), vec![stray, Step::Silence]].concat(),
        ]));
        host.refuses(1, &["after 5 entries", "no answer within 1s"]);
    }
    // Strange entries beside the right ones are nobody's.
    let stranger = entry("uid=stranger", &[]);
    let Step::Op(stranger) = stranger else {
        panic!()
    };
    let mut all = vec![Step::Raw(message(4711, &stranger, &[]))];
    all.extend(host.people.iter().map(person));
    all.push(page_end(b""));
    host.server.answers(pages(vec![all]));
    host.agrees();
}

#[test]
fn a_server_that_does_not_answer_is_left() {
    let host = Host::synced();
    host.server.binds(vec![Step::Silence]);
    host.refuses(1, &["no answer within 1s"]);
    host.server.answers(pages(vec![vec![Step::Silence]]));
    host.refuses(
        1,
        &["stopped answering after 0 entries", "no answer within 1s"],
    );
    host.server
        .answers(pages(vec![[host.page(0), vec![Step::Silence]].concat()]));
    host.refuses(
        1,
        &["stopped answering after 5 entries", "no answer within 1s"],
    );
    host.recovers();
}

#[test]
fn a_bind_that_is_refused_or_answered_wrongly_ends_the_run() {
    let host = Host::synced();
    let refused = ldap_result(0x61, 49, "no such user", &[]);
    host.server.binds(vec![Step::Op(refused)]);
    host.refuses(
        1,
        &[
            "refuses the bind as `cn=sync`",
            "invalidCredentials (49): no such user",
        ],
    );
    host.server.binds(vec![Step::Close]);
    host.refuses(1, &["cannot connect to", "the connection was closed"]);
    host.server
        .binds(vec![Step::Op(tlv(0x61, b"")), Step::Close]);
    host.refuses(1, &["cannot connect to", "something that is not LDAP"]);
    // What a server says is told; it may have heard the password, so even that must not show it.
    let echo = ldap_result(
        0x61,
        49,
        &format!("wrong: {}", PASSWORD.to_uppercase()),
        &[],
    );
    host.server.binds(vec![Step::Op(echo)]);
    host.refuses(1, &["invalidCredentials (49)"]);
    host.recovers();
}

#[test]
fn start_tls_that_is_refused_or_answered_wrongly_ends_the_run() {
    let mut host = Host::synced();
    let with_tls = host.dirsyncd.source.replace("plaintext = true\n", "");
    let plain = std::mem::replace(&mut host.dirsyncd.source, with_tls);
    let cases: [(Vec<Step>, &[&str]); 4] = [
        (
            vec![Step::Op(ldap_result(0x78, 2, "no TLS here", &[]))],
            &["the server refuses StartTLS", "(2): no TLS here"],
        ),
        (
            vec![Step::Op(tlv(0x78, b""))],
            &["something that is not LDAP"],
        ),
        (vec![Step::Silence], &["no answer within 1s"]),
        // Taken, and then no TLS: nothing may go over the connection readable.
        (
            vec![Step::Op(ldap_result(0x78, 0, "", &[])), Step::Silence],
            &["no answer within 1s"],
        ),
    ];
    for (answer, words) in cases {
        host.server.binds(answer);
        host.refuses(1, words);
    }
    host.dirsyncd.source = plain;
    host.recovers();
}

#[test]
fn one_byte_a_second_is_too_slow() {
    let host = Host::synced();
    let slowly = |step: Step| Step::Slowly(SECOND, Box::new(step));
    host.server
        .answers(pages(vec![vec![slowly(person(&host.people[0]))]]));
    host.refuses(
        1,
        &["stopped answering after 0 entries", "no answer within 1s"],
    );
    host.server.answers(pages(vec![
        [host.page(0), vec![slowly(result(0, ""))]].concat(),
    ]));
    host.refuses(
        1,
        &["stopped answering after 5 entries", "no answer within 1s"],
    );
    host.server
        .binds(vec![slowly(Step::Op(ldap_result(0x61, 0, "", &[])))]);
    host.refuses(1, &["no answer within 1s"]);
    host.recovers();
}

#[test]
fn a_server_that_stalls_in_tls_is_left() {
    let mut host = Host::synced();
    // The system takes the connection, and nobody answers the greeting.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent = format!("ldaps://{}", listener.local_addr().unwrap());
    let with_tls = host.dirsyncd.source.replace("plaintext = true\n", "");
    let good = std::mem::replace(&mut host.dirsyncd.source, with_tls);
    host.dirsyncd.set_source("url", &format!("{silent:?}"));
    for verb in ["plan", "sync"] {
        host.run(verb, 1).expect_words(&[
            &format!("cannot connect to {silent}"),
            "no answer within 1s",
        ]);
    }
    host.dirsyncd.source = good;
    host.recovers();
}

#[test]
fn what_a_server_says_does_not_command_the_terminal() {
    let mut host = Host::synced();
    let said = "no\u{1b}[2J\u{9b}31m\u{7}\u{202e}\ndirsyncd: all is well";
    let is_command = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    host.server.answers(pages(vec![vec![result(53, said)]]));
    host.refuses(
        1,
        &["no\\u001b[2J\\u009b31m\\u0007\\u202e\n  dirsyncd: all is well"],
    );
    for (verb, log) in [
        ("check", None),
        ("plan", Some("debug")),
        ("sync", Some("trace")),
    ] {
        host.dirsyncd.log = log.map(str::to_owned);
        let output = host.dirsyncd.run(&[verb]).expect_code(1);
        let output = output.expect_words(&["no\\u001b[2J"]);
        let both = format!("{}{}", output.stdout, output.stderr);
        assert!(!both.contains(is_command), "{output}");
        assert!(!both.contains("\ndirsyncd: all"), "{output}");
    }

    // And neither does an entry, in any form.
    let name = "cn=Ada\u{1b}]0;x\u{7}\u{202e}\u{9b}1m,ou=people,dc=example,dc=org";
    let person = &host.people[0];
    let mut attributes = attributes(person);
    attributes.retain(|(name, _)| name != "mail");
    let mut page = host.page(0);
    page[0] = entry(name, &attributes);
    page.push(page_end(b""));
    host.server.answers(pages(vec![page]));
    for arguments in [
        &["plan"][..],
        &["plan", "--format", "json"],
        &["check"],
        &["sync"],
    ] {
        let output = host.dirsyncd.run(arguments);
        let both = format!("{}{}", output.stdout, output.stderr);
        assert!(both.contains("Ada"), "{output}");
        assert!(!both.contains(is_command), "{output}");
        if arguments.contains(&"json") {
            let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
            assert!(json.to_string().contains("\u{9b}1m"), "{json}");
        }
    }
}
