//! 389 Directory Server, read with the preset `389ds`.

use crate::support::directory::PASSWORD;
use crate::support::ds389::{Ds389, key};
use crate::support::people::{BASE, Flaws, crowd};
use crate::support::unchanged::Before;
use crate::support::{Dirsyncd, Organization, Person, file_reference, write_private};

pub(crate) struct Place {
    pub(crate) server: Ds389,
    pub(crate) organization: Organization,
    pub(crate) dirsyncd: Dirsyncd,
}

impl Place {
    /// These people below ou=people, read over ldaps in pages of three.
    pub(crate) fn of(people: &[Person]) -> Self {
        let server = Ds389::start(people);
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::with_source(&organization, String::new());
        write_private(&dirsyncd.password_file(), format!("{PASSWORD}\n"));
        dirsyncd.source = format!(
            "preset = \"389ds\"\nurl = {:?}\nca_file = {:?}\nbind_dn = \"cn=sync,ou=services,{BASE}\"\npassword = {}\npage_size = 3\nbase = \"ou=people,{BASE}\"\n",
            server.url(),
            server.ca_file().display().to_string(),
            file_reference(&dirsyncd.password_file()),
        );
        dirsyncd.mapping.clear();
        Place {
            server,
            organization,
            dirsyncd,
        }
    }
}

/// Locks somebody out, or lets in again.
pub(crate) fn lock(server: &Ds389, dn: &str, is_locked: bool) {
    server.modify(&format!(
        "dn: {dn}\nchangetype: modify\nreplace: nsAccountLock\nnsAccountLock: {is_locked}\n"
    ));
}

#[test]
fn people_keep_their_accounts_through_their_life() {
    let people = Person::several(10);
    let Place {
        server,
        organization,
        dirsyncd,
    } = Place::of(&people);
    dirsyncd
        .run(&["check"])
        .expect_code(0)
        .expect_words(&["389"]);
    // Four pages, all with the one cookie that this server knows.
    dirsyncd.sync(0);
    assert_eq!(organization.active(), 10);
    dirsyncd.expect_nothing_to_do();
    let joined = organization.of_key(&key(&people[0])).unwrap();
    assert_eq!(joined.user_name, "p00@example.org");

    lock(&server, &people[0].dn(), true);
    dirsyncd.sync(0);
    let locked = organization.of_key(&key(&people[0])).unwrap();
    assert!(!locked.active);
    assert_eq!(organization.active(), 9);
    lock(&server, &people[0].dn(), false);
    dirsyncd.sync(0);
    assert_eq!(organization.of_key(&key(&people[0])).unwrap(), joined);

    let legal = format!("ou=Legal,ou=people,{BASE}");
    server.rename(&people[1].dn(), "uid=wed", &legal);
    dirsyncd.expect_nothing_to_do();
    server.delete(&people[2].dn());
    let joiner = Person::new("radia", "Radia", "Perlman");
    server.add(&joiner);
    dirsyncd.sync(0).expect_words(&["Done: 2 applied."]);
    assert!(!organization.of_key(&key(&people[2])).unwrap().active);
    let chosen = server.key(&joiner.dn());
    assert_eq!(chosen.len(), 35, "{chosen}");
    assert!(organization.of_key(&chosen).unwrap().active);
    // Away, and back.
    server.stop();
    dirsyncd
        .sync(1)
        .expect_words(&["cannot connect to ldaps://127.0.0.1"]);
    server.start_again();
    dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_limit_or_a_locked_reader_is_told_and_nobody_departs() {
    let people = crowd(250, Flaws::default());
    let mut place = Place::of(&people);
    place.dirsyncd.set_source("page_size", "100");
    place.dirsyncd.sync(0);
    let good = place.dirsyncd.source.clone();
    let before = Before::of(place.dirsyncd.folder(), &place.organization);
    place
        .dirsyncd
        .set_source("bind_dn", &format!("\"cn=limited,ou=services,{BASE}\""));
    place.dirsyncd.sync(1).expect_words(&[
        "sizeLimitExceeded (4)",
        "let the bind DN read without a limit",
    ]);
    // StartTLS, too.
    place.dirsyncd.source.clone_from(&good);
    let plain = format!("{:?}", place.server.plain_url());
    place.dirsyncd.set_source("url", &plain);
    place.dirsyncd.expect_nothing_to_do();
    let reader = format!("cn=sync,ou=services,{BASE}");
    lock(&place.server, &reader, true);
    place.dirsyncd.sync(1).expect_words(&[
        &format!("refuses the bind as `{reader}`"),
        "unwillingToPerform (53)",
    ]);
    lock(&place.server, &reader, false);
    place.dirsyncd.source = good;
    place.dirsyncd.sync(0);
    before.expect_organization_unchanged();
}
