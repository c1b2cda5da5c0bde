//! Certificates that are not valid now. Those of another CA or name: tests/bad_input/directory.rs.

use crate::support::directory::Transport;
use crate::support::{Person, World};

#[test]
fn a_certificate_that_is_not_valid_now_is_refused_before_the_password_is_sent() {
    for transport in [Transport::Tls, Transport::StartTls] {
        let world = World::reached_by(transport, &Person::four());
        world.dirsyncd.sync(0);
        let url = world.slapd.url(transport);
        for (not_before, not_after, word) in [
            ("20200101000000Z", "20200201000000Z", "it has expired"),
            ("20980101000000Z", "20990101000000Z", "it is not valid yet"),
        ] {
            world.slapd.certify(not_before, not_after);
            let before = world.before();
            for verb in ["check", "plan", "sync"] {
                let output = world
                    .dirsyncd
                    .run(&[verb])
                    .expect_code(1)
                    .expect_words(&[&format!("the certificate of {url} is not trusted"), word]);
                assert!(!output.stderr.contains("panicked"), "{output}");
            }
            before.expect_organization_unchanged();
        }
        world.slapd.certify("20200101000000Z", "20990101000000Z");
        world.dirsyncd.expect_nothing_to_do();
    }
}
