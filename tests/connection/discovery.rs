//! Servers that DNS names.

use std::net::{Ipv4Addr, UdpSocket};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::quoted;
use crate::support::directory::{Transport, free_port};
use crate::support::people::BASE;
use crate::support::{Person, World};

const GOOD: &str = "ldap.example.org.";
const OTHER: &str = "other.example.org.";

/// A DNS server on loopback: it has these SRV records under one name, and each other name below
/// example.org has the address 127.0.0.1. It is gone with the process.
fn dns(record: &str, services: &[(u16, u16, &str)]) -> String {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let record = Name::from_ascii(format!("{record}.")).unwrap();
    let services: Vec<SRV> = services
        .iter()
        .map(|(priority, port, host)| {
            SRV::new(*priority, 0, *port, Name::from_ascii(host).unwrap())
        })
        .collect();
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        loop {
            let (length, client) = socket.recv_from(&mut packet).unwrap();
            let request = Message::from_vec(&packet[..length]).unwrap();
            let query = request.queries[0].clone();
            let data: Vec<RData> = match query.query_type() {
                RecordType::SRV if *query.name() == record => {
                    services.iter().cloned().map(RData::SRV).collect()
                }
                RecordType::A if query.name().num_labels() == 3 => {
                    vec![RData::A(A(Ipv4Addr::LOCALHOST))]
                }
                _ => Vec::new(),
            };
            let mut answer = Message::response(request.metadata.id, OpCode::Query);
            if data.is_empty() && query.query_type() == RecordType::SRV {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            for data in data {
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            }
            answer.add_query(query);
            socket.send_to(&answer.to_vec().unwrap(), client).unwrap();
        }
    });
    address
}

/// The source asks this DNS server instead of naming its directory server.
fn discover(world: &mut World, record: &str, dns_server: &str) {
    let kept = world.dirsyncd.source.lines().filter(|line| {
        !["url", "discover", "dns_server"]
            .iter()
            .any(|key| line.starts_with(key))
    });
    world.dirsyncd.source = kept.flat_map(|line| [line, "\n"]).collect();
    world.dirsyncd.set_source("discover", &quoted(record));
    world.dirsyncd.set_source("dns_server", &quoted(dns_server));
}

#[test]
fn the_servers_are_those_of_the_records_in_their_order() {
    for (record, transport, scheme) in [
        ("_ldaps._tcp.example.org", Transport::Tls, "ldaps"),
        ("_ldap._tcp.example.org", Transport::StartTls, "ldap"),
    ] {
        let mut world = World::reached_by(transport, &Person::four());
        let port = match transport {
            Transport::Tls => world.slapd.tls_port,
            Transport::StartTls => world.slapd.port,
        };
        let closed = free_port();
        // In the wrong order, as a server may give them.
        let records = [
            (20, 1, OTHER),
            (10, port, GOOD),
            (0, closed, "closed.example.org."),
        ];
        let server = dns(record, &records);
        discover(&mut world, record, &server);
        let good = format!("{scheme}://ldap.example.org:{port}");
        world.dirsyncd.run(&["plan"]).expect_code(0).expect_words(&[
            "4 to create",
            "a server is passed over",
            &format!("server=\"{scheme}://closed.example.org:{closed}\""),
            "Connection refused",
            &format!("taken=\"{good}\""),
        ]);
        let check = world.dirsyncd.run(&["check"]).expect_code(0);
        check.expect_words(&[&format!("at {good} (")]);
        world.dirsyncd.sync(0);
        // What changed is asked for in the same way.
        world.slapd.delete(&Person::four()[0].dn());
        world.dirsyncd.sync(0).expect_words(&["1 to deactivate"]);
    }
}

#[test]
fn the_certificate_is_for_the_host_that_the_record_names() {
    let record = "_ldaps._tcp.example.org";
    let mut world = World::of(&Person::four());
    let port = world.slapd.tls_port;
    let server = dns(record, &[(0, port, OTHER), (10, port, GOOD)]);
    discover(&mut world, record, &server);
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    output.expect_words(&[&format!(
        "the certificate of ldaps://other.example.org:{port} is not trusted"
    )]);
}

#[test]
fn references_are_followed_by_the_same_dns() {
    let record = "_ldaps._tcp.example.org";
    let mut world = World::of(&Person::four());
    let port = world.slapd.tls_port;
    // The server refers to a part of itself by another name.
    world.slapd.modify(&format!(
        "dn: ou=there,{BASE}\nchangetype: add\nobjectClass: referral\nobjectClass: extensibleObject\nou: there\nref: ldaps://ldap.example.org:{port}/ou=people,{BASE}\n"
    ));
    let server = dns(record, &[(0, port, "localhost.")]);
    discover(&mut world, record, &server);
    world
        .dirsyncd
        .set_source("base", &quoted(format!("ou=there,{BASE}")));
    world
        .dirsyncd
        .set_source("follow_referrals", "[\"ldap.example.org\"]");
    let output = world.dirsyncd.run(&["plan"]).expect_code(0);
    output.expect_words(&["4 to create"]);
}

#[test]
fn without_records_or_without_an_answer_the_error_says_so() {
    let record = "_ldap._tcp.example.org";
    let mut world = World::of(&Person::four());
    let silent = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    world.dirsyncd.set_source("connect_timeout", "\"1s\"");
    let no_host = [(0, 389, "a.b.c.example.org.")];
    for (server, words) in [
        (
            dns("_ldap._tcp.example.net", &[]),
            "_ldap._tcp.example.org: there is no such record",
        ),
        (
            dns(record, &[(0, 0, ".")]),
            "_ldap._tcp.example.org: it names no server",
        ),
        (silent, "_ldap._tcp.example.org: no answer within 1s"),
        (
            dns(record, &no_host),
            "cannot connect to ldap://a.b.c.example.org:389: the address of a.b.c.example.org: there is no such record",
        ),
    ] {
        discover(&mut world, record, &server);
        for verb in ["plan", "check"] {
            let output = world.dirsyncd.run(&[verb]).expect_code(1);
            output.expect_words(&[words]);
        }
    }
}
