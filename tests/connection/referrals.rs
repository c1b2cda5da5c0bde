//! Parts of the tree that are on other servers.

use crate::support::directory::{Transport, free_port};
use crate::support::people::BASE;
use crate::support::{Person, Slapd, World};
use crate::{quoted, quoted_path};

/// A directory, and another one that its source trusts as well.
fn two(first: &[Person], second: &[Person]) -> (World, Slapd) {
    let mut world = World::of(first);
    let other = Slapd::start(second);
    let both = world.dirsyncd.folder().join("both.pem");
    let certificates =
        [world.slapd.ca_file(), other.ca_file()].map(|file| std::fs::read_to_string(file).unwrap());
    std::fs::write(&both, certificates.concat()).unwrap();
    world.dirsyncd.set_source("ca_file", &quoted_path(&both));
    (world, other)
}

/// An entry in place of which the server names other places (RFC 3296).
fn refer(slapd: &Slapd, dn: &str, urls: &[&str]) {
    let (rdn, _) = dn.split_once(',').unwrap();
    let mut ldif = format!(
        "dn: {dn}\nchangetype: add\nobjectClass: referral\nobjectClass: extensibleObject\n{}\n",
        rdn.replace('=', ": ")
    );
    for url in urls {
        ldif += &format!("ref: {url}\n");
    }
    slapd.modify(&ldif);
}

fn partners() -> String {
    format!("ou=partners,ou=people,{BASE}")
}

fn people() -> Vec<Person> {
    Person::four()
}

fn others() -> Vec<Person> {
    vec![
        Person::new("par", "Par", "Tner"),
        Person::new("sup", "Sup", "Plier"),
    ]
}

#[test]
fn a_reference_to_a_configured_host_is_followed_and_both_servers_are_one_source() {
    for transport in [Transport::Tls, Transport::StartTls] {
        let (mut world, other) = two(&people(), &others());
        let place = format!("{}/ou=people,{BASE}", other.url(transport));
        refer(&world.slapd, &partners(), &[&place]);
        world
            .dirsyncd
            .set_source("follow_referrals", "[\"127.0.0.1\"]");
        world.dirsyncd.sync(0).expect_words(&["6 to create"]);
        world.dirsyncd.expect_nothing_to_do();
        // It is read in full each time, so that a departure there is seen.
        other.delete(&others()[0].dn());
        world.slapd.delete(&people()[0].dn());
        world.dirsyncd.sync(0).expect_words(&["2 to deactivate"]);
        let check = world.dirsyncd.run(&["check"]).expect_code(0);
        check.expect_words(&["4 entries", "as references to other servers are followed"]);
        // And when the other server is away nobody departs.
        other.stop();
        let output = world.dirsyncd.run(&["sync"]).expect_code(1);
        output.expect_words(&[
            "a search was referred to another server",
            &format!("cannot connect to {}", other.url(transport)),
        ]);
        assert_eq!(world.organization.active(), 4);
    }
}

#[test]
fn a_reference_says_where_and_what_to_search() {
    let mut second = others();
    "Sales".clone_into(&mut second[1].department);
    let (mut world, other) = two(&people(), &second);
    let server = other.url(Transport::Tls);
    world.dirsyncd.set_source(
        "follow_referrals",
        &format!("[\"127.0.0.1:{}\"]", other.tls_port),
    );
    let filtered = format!("{server}/{BASE}??sub?(uid=par)");
    for (place, created) in [
        (format!("{server}/ou=Sales,ou=people,{BASE}"), "5 to create"),
        (filtered, "5 to create"),
        (format!("{server}/ou=people,{BASE}"), "6 to create"),
    ] {
        refer(&world.slapd, &partners(), &[&place]);
        world.dirsyncd.run(&["plan"]).expect_words(&[created]);
        world.slapd.delete_referral(&partners());
    }
    // Another URL of the same reference does as well, after one that is away.
    let away = format!("ldaps://127.0.0.1:{}/ou=people,{BASE}", free_port());
    let place = format!("{server}/ou=people,{BASE}");
    refer(&world.slapd, &partners(), &[&away, &place]);
    world
        .dirsyncd
        .set_source("follow_referrals", "[\"127.0.0.1\"]");
    world
        .dirsyncd
        .run(&["plan"])
        .expect_code(0)
        .expect_words(&["6 to create"]);
}

#[test]
fn a_reference_to_another_host_is_named_and_nobody_departs() {
    let mut world = World::synced(&people());
    for (name, host) in [("a", "a"), ("b", "b"), ("c", "c"), ("d", "d"), ("e", "a")] {
        let place = format!("ldap://{host}.example.org/ou=people,{BASE}");
        refer(
            &world.slapd,
            &format!("ou={name},ou=people,{BASE}"),
            &[&place],
        );
    }
    world.slapd.delete(&people()[0].dn());
    for follow in ["[]", "[\"f.example.org\", \"a.example.org:1389\"]"] {
        world.dirsyncd.set_source("follow_referrals", follow);
        let output = world.dirsyncd.sync(3).expect_words(&[
            "Absences that are not believed (1)",
            "5 parts of the tree are on other servers and were not read: ldap://",
            " and others; name a base below them, name their hosts in `follow_referrals`",
        ]);
        let text = format!("{}{}", output.stdout, output.stderr);
        let named = ["a", "b", "c", "d"]
            .iter()
            .filter(|host| text.contains(&format!("ldap://{host}.example.org/")));
        assert_eq!(named.count(), 3, "{output}");
        assert_eq!(world.organization.active(), 4);
    }
    world.dirsyncd.set_source("ignore_referrals", "true");
    world.dirsyncd.sync(0).expect_words(&["1 to deactivate"]);
}

#[test]
fn servers_that_refer_to_each_other_are_read_once() {
    let (mut world, other) = two(&people(), &others());
    let first = format!("{}/ou=people,{BASE}", world.slapd.url(Transport::Tls));
    let second = format!("{}/ou=people,{BASE}", other.url(Transport::Tls));
    refer(&world.slapd, &partners(), &[&second]);
    refer(&other, &partners(), &[&first]);
    world
        .dirsyncd
        .set_source("follow_referrals", "[\"127.0.0.1\"]");
    world
        .dirsyncd
        .sync(0)
        .expect_words(&["6 to create", "6 people from"]);
}

#[test]
fn references_in_a_row_are_followed_to_a_limit_beyond_which_the_pull_is_incomplete() {
    let (mut world, other) = two(&people(), &[]);
    let url = other.url(Transport::Tls);
    for n in 0..7 {
        other.modify(&format!(
            "dn: ou=r{n},{BASE}\nchangetype: add\nobjectClass: organizationalUnit\nou: r{n}\n"
        ));
    }
    refer(&world.slapd, &partners(), &[&format!("{url}/ou=r0,{BASE}")]);
    world
        .dirsyncd
        .set_source("follow_referrals", "[\"127.0.0.1\"]");
    for n in 0..4 {
        let next = format!("{url}/ou=r{},{BASE}", n + 1);
        refer(&other, &format!("ou=next,ou=r{n},{BASE}"), &[&next]);
    }
    world.dirsyncd.sync(0).expect_words(&["4 to create"]);
    let next = format!("{url}/ou=r5,{BASE}");
    refer(&other, &format!("ou=next,ou=r4,{BASE}"), &[&next]);
    world.slapd.delete(&people()[0].dn());
    let words = ["Absences that are not believed (1)", &next];
    world.dirsyncd.sync(3).expect_words(&words);
}

#[test]
fn a_base_that_is_on_another_server_is_followed_or_told() {
    let (mut world, other) = two(&people(), &others());
    let place = format!("{}/ou=people,{BASE}", other.url(Transport::Tls));
    refer(&world.slapd, &partners(), &[&place]);
    let bases = format!(
        "{:?}",
        [format!("ou=Engineering,ou=people,{BASE}"), partners()]
    );
    world.dirsyncd.set_source("base", &bases);
    // By default it is an error that names the other server.
    world.dirsyncd.set_source("ignore_referrals", "true");
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    output.expect_words(&["referral (10) to ", &place, "or in `follow_referrals`"]);
    world
        .dirsyncd
        .set_source("follow_referrals", "[\"127.0.0.1\"]");
    world.dirsyncd.sync(0).expect_words(&["6 to create"]);
    // A base is no part that can be left out.
    world.dirsyncd.set_source(
        "follow_referrals",
        &format!("[{}]", quoted("other.example.org")),
    );
    world.slapd.delete(&people()[0].dn());
    let words = ["Absences that are not believed", &place];
    world.dirsyncd.sync(3).expect_words(&words);
    assert_eq!(world.organization.active(), 6);
}

#[test]
fn the_password_goes_nowhere_but_through_tls() {
    let (mut world, other) = two(&people(), &others());
    // A server that knows no TLS; what it gets is checked in full.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        let mut part = [0; 512];
        let length = std::io::Read::read(&mut stream, &mut part).unwrap();
        heard.extend_from_slice(&part[..length]);
        // protocolError to the extended request (RFC 4511 section 4.12).
        let answer = [0x30, 12, 2, 1, part[4], 0x78, 7, 10, 1, 2, 4, 0, 4, 0];
        std::io::Write::write_all(&mut stream, &answer).unwrap();
        std::io::Read::read_to_end(&mut stream, &mut heard).unwrap();
        heard
    });
    refer(
        &world.slapd,
        &partners(),
        &[&format!("ldap://127.0.0.1:{port}/{BASE}")],
    );
    world
        .dirsyncd
        .set_source("follow_referrals", "[\"127.0.0.1\"]");
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    output.expect_words(&["the server refuses StartTLS, error (2)"]);
    let heard = String::from_utf8_lossy(&heard.join().unwrap()).into_owned();
    assert!(heard.contains("1.3.6.1.4.1.1466.20037"), "{heard}");
    assert!(!heard.contains(crate::support::directory::PASSWORD));
    drop(other);
}
