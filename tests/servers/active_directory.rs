//! Samba's domain controller, read with the preset `active-directory`.

use crate::support::directory::PASSWORD;
use crate::support::people::{Flaws, crowd};
use crate::support::samba::{DISABLED, DOMAIN, ENABLED, READER, SambaAd, dn, entry, unit};
use crate::support::unchanged::Before;
use crate::support::{Account, Dirsyncd, Organization, Person, file_reference, write_private};

pub(crate) struct Domain {
    pub(crate) samba: SambaAd,
    pub(crate) organization: Organization,
    pub(crate) dirsyncd: Dirsyncd,
}

impl Domain {
    /// These people below OU=People, read by a plain user over ldaps in pages of three.
    pub(crate) fn of(people: &[Person], more: &str) -> Self {
        let samba = SambaAd::start(people, more);
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::with_source(&organization, String::new());
        write_private(&dirsyncd.password_file(), format!("{PASSWORD}\n"));
        dirsyncd.source = format!(
            "preset = \"active-directory\"\nurl = {:?}\nca_file = {:?}\nbind_dn = \"{READER}\"\npassword = {}\npage_size = 3\nbase = \"OU=People,{DOMAIN}\"\n",
            samba.url(),
            samba.ca_file().display().to_string(),
            file_reference(&dirsyncd.password_file()),
        );
        dirsyncd.mapping.clear();
        Domain {
            samba,
            organization,
            dirsyncd,
        }
    }

    /// The account of the entry that the filter finds: its key is the objectGUID.
    #[track_caller]
    fn account(&self, filter: &str) -> Account {
        let account = self.organization.of_key(&self.samba.guid(filter));
        account.unwrap_or_else(|| panic!("{filter} has no account"))
    }
}

#[test]
fn people_of_a_domain_keep_their_accounts_through_their_life() {
    let people = Person::several(7);
    let domain = Domain::of(&people, "");
    let Domain {
        samba,
        organization,
        dirsyncd,
    } = &domain;
    let [first, second, third, ..] = &people[..] else {
        panic!()
    };
    // Who is disabled from the start gets none.
    samba.replace(&dn(&people[6]), "userAccountControl", DISABLED);
    dirsyncd.run(&["check"]).expect_code(0);
    dirsyncd.sync(0);
    assert_eq!(organization.active(), 6);
    assert_eq!(organization.accounts().len(), 6);
    let joined = domain.account("(sAMAccountName=p00)");
    assert_eq!(joined.user_name, "p00@example.org");
    assert_eq!(joined.display_name, Some(first.name()));
    assert_eq!(joined.department, Some(first.department.clone()));
    dirsyncd.expect_nothing_to_do();

    // Disabled and enabled again.
    samba.replace(&dn(first), "userAccountControl", DISABLED);
    dirsyncd.sync(0);
    assert!(!domain.account("(sAMAccountName=p00)").active);
    assert_eq!(organization.active(), 5);
    samba.replace(&dn(first), "userAccountControl", ENABLED);
    dirsyncd.sync(0);
    assert_eq!(domain.account("(sAMAccountName=p00)"), joined);

    // Another name in another unit, below the old one.
    let deep = format!("OU=Deep,{}", unit(&first.department));
    samba.modify(&format!(
        "dn: {deep}\nchangetype: add\nobjectClass: organizationalUnit\n"
    ));
    samba.rename(&dn(second), "CN=Pat Wed\\, née Person", &deep);
    dirsyncd.expect_nothing_to_do();
    samba.replace(
        &format!("CN=Pat Wed\\, née Person,{deep}").replace('é', "\\C3\\A9"),
        "sn",
        "Wed",
    );
    dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    let wed = domain.account("(sAMAccountName=p01)");
    assert_eq!(wed.family_name.as_deref(), Some("Wed"));
    assert!(wed.active);
    // The unit goes elsewhere with its people.
    samba.rename(&deep, "OU=Deeper", &unit("Legal"));
    dirsyncd.expect_nothing_to_do();

    // Deleted, and brought back by the domain's recovery of deleted objects.
    let key = samba.guid("(sAMAccountName=p02)");
    let account = domain.account("(sAMAccountName=p02)");
    samba.delete(&dn(third));
    dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    assert!(!organization.of_key(&key).unwrap().active);
    let filter = "(&(isDeleted=TRUE)(sAMAccountName=p02))";
    let [deleted] = &samba.values(filter, "dn")[..] else {
        panic!()
    };
    samba.modify_deleted(&format!(
        "dn: {deleted}\nchangetype: modify\ndelete: isDeleted\n-\nreplace: distinguishedName\ndistinguishedName: {}\n",
        dn(third)
    ));
    // A tombstone keeps little besides its key.
    let attributes: String = entry(third)
        .lines()
        .filter(|line| {
            let kept = ["mail", "givenName", "sn", "displayName", "title"];
            let kept = kept
                .iter()
                .any(|name| line.starts_with(&format!("{name}:")));
            kept || line.starts_with("department:") || line.starts_with("preferredLanguage:")
        })
        .map(|line| {
            let name = line.split(':').next().unwrap();
            format!("replace: {name}\n{line}\n-\n")
        })
        .collect();
    samba.modify(&format!(
        "dn: {}\nchangetype: modify\n{attributes}",
        dn(third)
    ));
    samba.replace(&dn(third), "userAccountControl", ENABLED);
    dirsyncd.sync(0);
    assert_eq!(samba.guid("(sAMAccountName=p02)"), key);
    assert_eq!(organization.of_key(&key).unwrap(), account);
    dirsyncd.expect_nothing_to_do();
}

#[test]
fn the_root_of_a_domain_refers_elsewhere_and_a_unit_does_not() {
    let people = Person::four();
    let mut domain = Domain::of(&people, "");
    domain.dirsyncd.set_source("base", &format!("\"{DOMAIN}\""));
    // The administrator, the guest and the reader are people of the domain too.
    domain.dirsyncd.set_source("without_mail", "\"skip\"");
    domain.dirsyncd.sync(3).expect_words(&["Done: 4 applied."]);
    assert_eq!(domain.organization.active(), 4);
    domain.samba.delete(&dn(&people[0]));
    let before = Before::of(domain.dirsyncd.folder(), &domain.organization);
    domain.dirsyncd.sync(3).expect_words(&[
        "Absences that are not believed (1)",
        "parts of the tree are on other servers and were not read",
        "CN=Configuration,DC=ad,DC=example,DC=org",
        "ignore_referrals = true",
    ]);
    before.expect_organization_unchanged();
    domain.dirsyncd.set_source("ignore_referrals", "true");
    domain.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    assert_eq!(domain.organization.active(), 3);
    domain.dirsyncd.set_source("ignore_referrals", "false");
    domain
        .dirsyncd
        .set_source("base", &format!("\"OU=People,{DOMAIN}\""));
    domain.samba.delete(&dn(&people[1]));
    domain.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    assert_eq!(domain.organization.active(), 2);
}

#[test]
fn people_are_chosen_by_a_group_within_a_group() {
    let people = Person::four();
    let group = |name: &str, members: &[String]| {
        let members: String = members
            .iter()
            .map(|member| format!("member: {member}\n"))
            .collect();
        format!(
            "dn: CN={name},OU=People,{DOMAIN}\nobjectClass: group\nsAMAccountName: {name}\n{members}\n"
        )
    };
    let inner = group("inner", &[dn(&people[0])]);
    let outer = group(
        "outer",
        &[dn(&people[1]), format!("CN=inner,OU=People,{DOMAIN}")],
    );
    let mut domain = Domain::of(&people, &(inner + &outer));
    // LDAP_MATCHING_RULE_IN_CHAIN
    domain.dirsyncd.set_source(
        "filter",
        &format!(
            "\"(&(objectCategory=person)(objectClass=user)(memberOf:1.2.840.113556.1.4.1941:=CN=outer,OU=People,{DOMAIN}))\""
        ),
    );
    domain.dirsyncd.sync(0);
    assert_eq!(domain.organization.accounts().len(), 2);
    domain.samba.modify(&format!(
        "dn: CN=inner,OU=People,{DOMAIN}\nchangetype: modify\nadd: member\nmember: {}\n-\ndelete: member\nmember: {}\n",
        dn(&people[2]),
        dn(&people[0])
    ));
    domain.dirsyncd.sync(0).expect_words(&["Done: 2 applied."]);
    assert!(!domain.account("(sAMAccountName=ada)").active);
    assert!(domain.account("(sAMAccountName=grace)").active);
    assert!(domain.account("(sAMAccountName=alan)").active);
}

#[test]
fn a_domain_controller_takes_binds_as_active_directory_does() {
    // Names from everywhere, in three pages.
    let mut people = crowd(250, Flaws::default());
    for person in &mut people {
        // Names are unique in a unit.
        person.family += &format!(" {}", person.uid);
    }
    let mut domain = Domain::of(&people, "");
    domain.dirsyncd.set_source("page_size", "100");
    let expect = |domain: &Domain, code: i32, words: &[&str]| {
        domain
            .dirsyncd
            .run(&["plan"])
            .expect_code(code)
            .expect_words(words)
    };
    expect(&domain, 0, &["Read 250 people", "250 to create"]);
    let good = domain.dirsyncd.source.clone();
    for name in [
        format!("CN=sync,OU=Services,{DOMAIN}"),
        "ADEX\\\\sync".to_owned(),
    ] {
        domain
            .dirsyncd
            .set_source("bind_dn", &format!("\"{name}\""));
        expect(&domain, 0, &["Read 250 people"]);
    }
    domain
        .dirsyncd
        .set_source("bind_dn", "\"nobody@ad.example.org\"");
    expect(
        &domain,
        1,
        &["refuses the bind as `nobody@ad.example.org`", "(49)"],
    );
    // StartTLS, and the refusal to send a password readable.
    domain.dirsyncd.source.clone_from(&good);
    let plain = format!("{:?}", domain.samba.plain_url());
    domain.dirsyncd.set_source("url", &plain);
    expect(&domain, 0, &["Read 250 people"]);
    domain.dirsyncd.set_source("plaintext", "true");
    expect(&domain, 1, &["strongerAuthRequired (8)"]);
    domain.dirsyncd.source = good;
    // Away, and back.
    domain.samba.stop();
    expect(&domain, 1, &["cannot connect to ldaps://127."]);
    domain.samba.start_again();
    expect(&domain, 0, &["Read 250 people"]);
}
