//! Several servers, of which some cannot serve.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::quoted;
use crate::support::directory::{Transport, free_port};
use crate::support::{Dirsyncd, Person, World, file_reference, write_private};

/// A list of URLs for the configuration.
fn list(urls: &[&str]) -> String {
    format!("{urls:?}")
}

/// A server that takes connections and never says anything.
struct Silent(TcpListener);

impl Silent {
    fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Silent(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    #[track_caller]
    fn expect_never_asked(&self) {
        let error = self.0.accept().expect_err("somebody has connected");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

/// A server that answers each bind with this result code, without TLS.
fn refusing(code: u8) -> u16 {
    answering(vec![10, 1, code, 4, 0, 4, 0])
}

/// A server that answers each request with a BindResponse (RFC 4511 section 4.2.2) that holds
/// these octets, without TLS.
fn answering(response: Vec<u8>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            // SEQUENCE, its length, then the message id as an INTEGER of one octet.
            if length < 5 {
                continue;
            }
            let id = request[4];
            let length = u8::try_from(response.len()).unwrap();
            let mut answer = vec![0x30, length + 5, 2, 1, id, 0x61, length];
            answer.extend(&response);
            stream.write_all(&answer).unwrap();
            // It ends when the client does, whatever else comes.
            let _ = stream.read(&mut request);
        }
    });
    port
}

#[track_caller]
fn expect_plan_of_four(dirsyncd: &Dirsyncd, words: &[&str]) {
    let output = dirsyncd.run(&["plan"]).expect_code(0);
    output.expect_words(&["4 to create"]).expect_words(words);
}

#[test]
fn the_first_server_that_can_serve_is_taken_and_the_others_are_told() {
    let mut world = World::of(&Person::four());
    let good = world.slapd.url(Transport::Tls);
    let closed = format!("ldaps://127.0.0.1:{}", free_port());
    let unknown = "ldaps://no-such-host.invalid";
    let not_tls = format!("ldaps://127.0.0.1:{}", world.slapd.port);
    let urls = list(&[&closed, unknown, &not_tls, &good, "ldaps://127.0.0.1:1"]);
    world.dirsyncd.set_source("url", &urls);

    expect_plan_of_four(
        &world.dirsyncd,
        &[
            "a server is passed over",
            &closed,
            "Connection refused",
            unknown,
            &not_tls,
            &format!("taken=\"{good}\""),
        ],
    );
    let check = world.dirsyncd.run(&["check"]).expect_code(0);
    check.expect_words(&[&format!("bound to OpenLDAP at {good} (dc=example,dc=org)")]);

    // With the right one in front none of the others is asked.
    world
        .dirsyncd
        .set_source("url", &list(&[&good, &closed, unknown]));
    let output = world.dirsyncd.run(&["plan"]).expect_code(0);
    assert!(!output.stderr.contains("passed over"), "{output}");
}

#[test]
fn a_server_that_does_not_answer_costs_its_connect_timeout_and_no_more() {
    for transport in [Transport::Tls, Transport::StartTls] {
        let mut world = World::reached_by(transport, &Person::four());
        let silent = Silent::new();
        let scheme = match transport {
            Transport::Tls => "ldaps",
            Transport::StartTls => "ldap",
        };
        let hole = format!("{scheme}://127.0.0.1:{}", silent.port());
        let urls = list(&[&hole, &world.slapd.url(transport)]);
        world.dirsyncd.set_source("url", &urls);
        world.dirsyncd.set_source("connect_timeout", "\"1s\"");
        let start = Instant::now();
        expect_plan_of_four(&world.dirsyncd, &[&hole, "no answer within 1s"]);
        let took = start.elapsed();
        // Far below the ten seconds that it is by default.
        let expected = Duration::from_secs(1)..Duration::from_secs(8);
        assert!(expected.contains(&took), "{took:?}");
    }
}

#[test]
fn a_server_that_is_busy_or_unavailable_at_the_bind_is_passed_over() {
    let mut world = World::of(&Person::four());
    let good = world.slapd.url(Transport::StartTls);
    world.dirsyncd.set_source("plaintext", "true");
    for (code, name) in [(51, "busy (51)"), (52, "unavailable (52)")] {
        let url = format!("ldap://127.0.0.1:{}", refusing(code));
        world.dirsyncd.set_source("url", &list(&[&url, &good]));
        expect_plan_of_four(&world.dirsyncd, &[&url, name]);
        world.dirsyncd.set_source("url", &quoted(&url));
        let output = world.dirsyncd.run(&["plan"]).expect_code(1);
        output.expect_words(&[&format!("cannot connect to {url}: "), name]);
    }
}

#[test]
fn a_server_whose_answer_is_malformed_is_passed_over() {
    let mut world = World::of(&Person::four());
    let good = world.slapd.url(Transport::StartTls);
    world.dirsyncd.set_source("plaintext", "true");
    // Some of them look like the beginning of more.
    world.dirsyncd.set_source("connect_timeout", "\"500ms\"");
    for response in [
        vec![],
        vec![4, 0],
        vec![10, 1, 0],
        vec![10, 1, 0, 4, 0, 4, 9],
    ] {
        let url = format!("ldap://127.0.0.1:{}", answering(response));
        world.dirsyncd.set_source("url", &list(&[&url, &good]));
        expect_plan_of_four(&world.dirsyncd, &["a server is passed over", &url]);
        world.dirsyncd.set_source("url", &quoted(&url));
        let output = world.dirsyncd.run(&["plan"]).expect_code(1);
        output.expect_words(&[&format!("cannot connect to {url}: ")]);
    }
}

#[test]
fn when_no_server_can_serve_each_is_told_with_its_reason() {
    let mut world = World::of(&Person::four());
    let closed = format!("ldaps://127.0.0.1:{}", free_port());
    let silent = Silent::new();
    let hole = format!("ldaps://127.0.0.1:{}", silent.port());
    world.dirsyncd.set_source("url", &list(&[&closed, &hole]));
    world.dirsyncd.set_source("connect_timeout", "\"500ms\"");
    let words = [
        "cannot connect to any of the servers",
        &format!("{closed}: Connection refused"),
        &format!("{hole}: no answer within 500ms"),
        "check `url`",
    ];
    for verb in ["plan", "sync", "check"] {
        let output = world.dirsyncd.run(&[verb]).expect_code(1);
        output.expect_words(&words);
    }
}

#[test]
fn a_wrong_password_and_an_untrusted_certificate_are_not_tried_elsewhere() {
    let mut world = World::of(&Person::four());
    let second = Silent::new();
    let second_url = format!("ldaps://127.0.0.1:{}", second.port());
    let good = world.slapd.url(Transport::Tls);
    let source = world.dirsyncd.source.clone();

    let wrong = world.dirsyncd.folder().join("wrong-password");
    write_private(&wrong, "not-the-password\n");
    let urls = list(&[&good, &second_url]);
    world.dirsyncd.set_source("url", &urls);
    world
        .dirsyncd
        .set_source("password", &file_reference(&wrong));
    world.dirsyncd.run(&["plan"]).expect_code(1).expect_words(&[
        &good,
        "refuses the bind as",
        "invalidCredentials (49)",
    ]);
    second.expect_never_asked();

    world.dirsyncd.source = source;
    let other_name = format!("ldaps://127.0.0.2:{}", world.slapd.tls_port);
    let urls = list(&[&other_name, &second_url]);
    world.dirsyncd.set_source("url", &urls);
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    output.expect_words(&[&format!("the certificate of {other_name} is not trusted")]);
    second.expect_never_asked();

    // Those that were passed over before are told all the same.
    let closed = format!("ldaps://127.0.0.1:{}", free_port());
    let urls = list(&[&closed, &other_name]);
    world.dirsyncd.set_source("url", &urls);
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    output.expect_words(&["a server is passed over", &closed, "is not trusted"]);
}
