//! SASL EXTERNAL and client certificates.

use crate::support::directory::Transport;
use crate::support::{Person, World, file_reference, set_mode, write_private};
use crate::{quoted, quoted_path};

/// A world whose source binds as nobody.
fn without_bind(transport: Transport) -> World {
    let mut world = World::reached_by(transport, &Person::four());
    let kept = world
        .dirsyncd
        .source
        .lines()
        .filter(|line| !line.starts_with("bind_dn") && !line.starts_with("password"));
    world.dirsyncd.source = kept.flat_map(|line| [line, "\n"]).collect();
    world
}

fn show_certificate(world: &mut World, name: &str) {
    let [certificate, key] = world.slapd.client_certificate(name);
    let dirsyncd = &mut world.dirsyncd;
    dirsyncd.set_source("client_certificate", &quoted_path(&certificate));
    dirsyncd.set_source("client_key", &file_reference(&key));
}

#[test]
fn a_socket_knows_the_unix_user() {
    let mut world = without_bind(Transport::Tls);
    let socket = world.slapd.socket_url();
    world.dirsyncd.set_source("url", &quoted(&socket));
    // Anonymous sees nobody.
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    output.expect_words(&["noSuchObject (32)"]);
    world.dirsyncd.set_source("bind", "\"external\"");
    let check = world.dirsyncd.run(&["check"]).expect_code(0);
    check.expect_words(&[&format!("at {socket} "), "4 people can be mapped"]);
    world.dirsyncd.sync(0).expect_words(&["4 to create"]);
    // And the changes come by it too.
    world.slapd.delete(&Person::four()[0].dn());
    world.dirsyncd.sync(0).expect_words(&["1 to deactivate"]);
}

#[test]
fn a_socket_that_is_not_there_is_told_and_another_server_taken() {
    let mut world = World::of(&Person::four());
    let socket = "ldapi://%2Fnowhere%2Fldapi";
    world.dirsyncd.set_source("url", &quoted(socket));
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    output.expect_words(&[&format!("cannot connect to {socket}"), "No such file"]);
    let urls = format!("{:?}", [socket, &world.slapd.url(Transport::Tls)]);
    world.dirsyncd.set_source("url", &urls);
    world.dirsyncd.sync(0).expect_words(&["4 to create"]);
}

#[test]
fn a_client_certificate_says_who_binds() {
    for transport in [Transport::Tls, Transport::StartTls] {
        let mut world = without_bind(transport);
        world.slapd.demand_certificates();
        world.dirsyncd.set_source("bind", "\"external\"");
        show_certificate(&mut world, "client");
        world.dirsyncd.sync(0).expect_words(&["4 to create"]);
        // One of the same CA that stands for no entry sees nobody.
        show_certificate(&mut world, "stranger");
        let output = world.dirsyncd.run(&["plan"]).expect_code(1);
        output.expect_words(&["noSuchObject (32)"]);
    }
}

#[test]
fn a_server_that_demands_a_certificate_takes_a_password_only_with_it() {
    for transport in [Transport::Tls, Transport::StartTls] {
        let mut world = World::reached_by(transport, &Person::four());
        world.slapd.demand_certificates();
        let url = world.slapd.url(transport);
        let output = world.dirsyncd.run(&["plan"]).expect_code(1);
        output.expect_words(&[&format!("cannot connect to {url}")]);
        show_certificate(&mut world, "client");
        world.dirsyncd.sync(0).expect_words(&["4 to create"]);
    }
}

#[test]
fn a_server_that_does_not_ask_for_the_certificate_refuses_external() {
    let mut world = without_bind(Transport::Tls);
    world.dirsyncd.set_source("bind", "\"external\"");
    show_certificate(&mut world, "client");
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    output.expect_words(&[
        "refuses the bind by SASL EXTERNAL",
        "check that the server takes the client certificate",
    ]);
}

#[test]
fn what_is_wrong_with_certificate_or_key_is_told_and_the_key_is_not() {
    let mut world = World::of(&Person::four());
    let [certificate, key] = world.slapd.client_certificate("client");
    let [_, other_key] = world.slapd.client_certificate("stranger");
    let key_text = std::fs::read_to_string(&key).unwrap();
    let damaged = world.dirsyncd.folder().join("damaged.key");
    write_private(&damaged, key_text.replace("-----BEGIN", "----BEGIN"));
    let one_line = world.dirsyncd.folder().join("one-line.key");
    write_private(&one_line, key_text.replace('\n', " "));
    set_mode(&certificate, 0o600);
    let nowhere = world.dirsyncd.folder().join("nowhere");
    for (chain, key, words) in [
        (&certificate, &other_key, "does not go with the key"),
        (&certificate, &damaged, "holds no private key"),
        (&certificate, &one_line, "holds no private key"),
        (&certificate, &certificate, "holds no private key"),
        (&certificate, &nowhere, "cannot read the secret file"),
        (&key, &key, "holds no certificate"),
        (&nowhere, &key, "cannot be read"),
    ] {
        let dirsyncd = &mut world.dirsyncd;
        dirsyncd.set_source("client_certificate", &quoted_path(chain));
        dirsyncd.set_source("client_key", &file_reference(key));
        dirsyncd.log = Some("trace".to_owned());
        let output = dirsyncd.run(&["plan"]).expect_code(1);
        let output = output.expect_words(&[words]);
        for line in key_text.lines().filter(|line| !line.starts_with('-')) {
            let is_shown = output.stdout.contains(line) || output.stderr.contains(line);
            assert!(!is_shown, "{output}");
        }
    }
}
