//! Why people leave is found out and told; an edit of the configuration takes nobody's account; an
//! entry that is made anew is the same person's.

use crate::support::directory::Slapd;
use crate::support::people::{self, BASE, Person};
use crate::support::{Dirsyncd, Organization, World};

/// The reasons of the planned deactivations, by name.
fn departures(dirsyncd: &Dirsyncd, arguments: &[&str]) -> Vec<(String, String)> {
    let plan = dirsyncd.plan_with(arguments);
    let mut found: Vec<(String, String)> = plan
        .operations()
        .into_iter()
        .filter(|operation| operation.kind == "deactivate")
        .map(|operation| (operation.account, operation.reason))
        .collect();
    found.sort();
    found
}

fn pair(name: &str, reason: &str) -> (String, String) {
    (name.to_owned(), reason.to_owned())
}

/// A place beside the people.
fn add_unit(slapd: &Slapd, name: &str) {
    slapd.modify(&format!(
        "dn: ou={name},{BASE}\nchangetype: add\nobjectClass: organizationalUnit\nou: {name}\n"
    ));
}

fn scoped(mut world: World) -> World {
    let filter = "(&(objectClass=inetOrgPerson)(!(title=Guest)))";
    world.dirsyncd.set_source("filter", &format!("{filter:?}"));
    world.dirsyncd.sync(0);
    world
}

#[test]
fn each_cause_of_leaving_is_told_and_has_its_policy() {
    let mut world = scoped(World::of(&Person::four()));
    let [ada, grace, alan, _] = &Person::four()[..] else {
        panic!()
    };
    add_unit(&world.slapd, "former");
    world.slapd.delete(&ada.dn());
    world.slapd.replace(&grace.dn(), &[("title", "Guest")]);
    let former = format!("ou=former,{BASE}");
    world.slapd.rename(&alan.dn(), "uid=alan", Some(&former));
    let all = [
        pair("Ada Lovelace", "no longer in the directory"),
        pair("Alan Turing", "moved out of the search bases"),
        pair("Grace Hopper", "no longer matched by the filter"),
    ];
    // Read in full, and by what changed.
    assert_eq!(departures(&world.dirsyncd, &["--full"]), all);
    assert_eq!(departures(&world.dirsyncd, &[]), all);

    "[policy]\non_moved_out = \"keep\"\non_unmatched = \"keep\"\n"
        .clone_into(&mut world.dirsyncd.rest);
    assert_eq!(departures(&world.dirsyncd, &[]), all[..1]);
    world.dirsyncd.sync(0).expect_words(&[
        "moved out of the search bases; the account is kept (`on_moved_out = \"keep\"`)",
        "no longer matched by the filter; the account is kept (`on_unmatched = \"keep\"`)",
    ]);
    assert!(!world.account(ada).active);
    assert!(world.account(grace).active && world.account(alan).active);
    world.dirsyncd.expect_nothing_to_do();

    // Each source may have its own.
    world
        .dirsyncd
        .mapping
        .push_str("[source.policy]\non_moved_out = \"deactivate\"\n");
    assert_eq!(departures(&world.dirsyncd, &[]), all[1..2]);
    world.dirsyncd.sync(0);
    // What happens to the entry afterwards changes nothing more.
    world.slapd.delete(&format!("uid=alan,{former}"));
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn who_is_put_out_of_scope_by_an_edit_keeps_the_account_until_that_is_accepted() {
    let mut world = scoped(World::of(&Person::four()));
    let [ada, grace, _, barbara] = &Person::four()[..] else {
        panic!()
    };
    world.slapd.replace(&grace.dn(), &[("title", "Manager")]);
    world.dirsyncd.sync(0);
    world.slapd.delete(&barbara.dn());
    // A slip of the pen: managers are no people any more.
    let filter = "(&(objectClass=inetOrgPerson)(!(title=Manager)))";
    world.dirsyncd.set_source("filter", &format!("{filter:?}"));

    for arguments in [&["--full"][..], &[]] {
        assert_eq!(
            departures(&world.dirsyncd, arguments),
            [pair("Barbara Liskov", "no longer in the directory")]
        );
    }
    // However often: Barbara leaves, and Grace does not.
    for _ in 0..3 {
        world.dirsyncd.sync(3).expect_words(&[
            "put out of scope by a change of the configuration",
            "--accept-scope-change",
            &grace.dn(),
        ]);
        assert!(!world.account(barbara).active);
        assert!(world.account(grace).active && world.account(ada).active);
    }
    // Whoever leaves by herself meanwhile leaves.
    world.slapd.delete(&ada.dn());
    world.dirsyncd.sync(3);
    assert!(!world.account(ada).active);

    let accept = ["--accept-scope-change"];
    assert_eq!(
        departures(&world.dirsyncd, &accept),
        [pair(
            "Grace Hopper",
            "put out of scope by a change of the configuration"
        )]
    );
    world
        .dirsyncd
        .run(&["sync", "--accept-scope-change"])
        .expect_code(0);
    assert!(!world.account(grace).active);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn an_edit_that_is_taken_back_leaves_nothing_behind() {
    let mut world = scoped(World::of(&Person::four()));
    let before = world.dirsyncd.source.clone();
    world
        .dirsyncd
        .set_source("base", &format!("\"ou=Sales,ou=people,{BASE}\""));
    // Nobody is there at all, which is a fault, not an edit.
    world
        .dirsyncd
        .run(&["sync"])
        .expect_code(3)
        .expect_words(&["returned no entry at all"]);
    let seller = Person {
        department: "Sales".to_owned(),
        ..Person::new("radia", "Radia", "Perlman")
    };
    world.slapd.add(&seller);
    world.dirsyncd.sync(3);
    assert_eq!(world.organization.active(), 5);
    world.dirsyncd.source = before;
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn the_people_of_a_source_that_is_configured_no_more_stay_until_that_is_accepted() {
    let organization = Organization::start();
    let [first, second] = [["ada", "grace"], ["alan", "barbara"]]
        .map(|uids| uids.map(|uid| Person::new(uid, uid, "Person")).to_vec());
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&first));
    let other = dirsyncd.folder().join("other.ldif");
    std::fs::write(&other, people::directory(&second)).unwrap();
    dirsyncd.set_source("name", "\"staff\"");
    let only = dirsyncd.rest.clone();
    dirsyncd.rest += &format!(
        "[[source]]\nname = \"contractors\"\nkind = \"ldif\"\npreset = \"openldap\"\nfile = \"other.ldif\"\nbase = \"ou=people,{BASE}\"\n"
    );
    dirsyncd.sync(0);
    assert_eq!(organization.active(), 4);
    dirsyncd.rest = only;
    for _ in 0..2 {
        dirsyncd
            .sync(3)
            .expect_words(&["source `contractors`", "--accept-scope-change"]);
        assert_eq!(organization.active(), 4);
    }
    dirsyncd
        .run(&["sync", "--accept-scope-change"])
        .expect_code(0);
    assert_eq!(organization.active(), 2);
    dirsyncd.expect_nothing_to_do();
}

#[test]
fn an_entry_whose_key_cannot_be_read_is_no_leaver() {
    let organization = Organization::start();
    let people = Person::four();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&people));
    dirsyncd.sync(0);
    // The filter leaves her out, and somebody has taken her key away.
    let hidden = people::directory(&people)
        .replace(&format!("entryUUID: {}\n", people[0].key()), "")
        .replace("uid: ada\n", "uid: ada\nobjectClass: hidden\n");
    dirsyncd.write_ldif(&hidden);
    let mut dirsyncd = dirsyncd;
    dirsyncd.set_source(
        "filter",
        "\"(&(objectClass=inetOrgPerson)(!(objectClass=hidden)))\"",
    );
    dirsyncd
        .run(&["sync", "--accept-scope-change"])
        .expect_code(3)
        .expect_words(&[&people[0].dn(), "is there and cannot be read"]);
    assert_eq!(organization.active(), 4);
}

#[test]
fn an_absence_is_confirmed_before_it_counts() {
    let organization = Organization::start();
    let mut people = Person::four();
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&people));
    "[policy]\ndeactivate_after = { pulls = 3 }\n".clone_into(&mut dirsyncd.rest);
    dirsyncd.sync(0);
    people.pop();
    dirsyncd.write_ldif(&people::directory(&people));
    for seen in 1..3 {
        // A dry run counts nothing.
        dirsyncd.plan();
        dirsyncd
            .sync(0)
            .expect_words(&[&format!("seen by {seen} of 3 pulls")]);
        assert_eq!(organization.active(), 4);
    }
    dirsyncd.sync(0);
    assert_eq!(organization.active(), 3);
    dirsyncd.expect_nothing_to_do();
}

#[test]
fn an_entry_made_anew_keeps_the_account() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    let before = world.account(ada);
    world.slapd.delete(&ada.dn());
    // Another entry, so another entryUUID; the number is the same, the rest is new.
    let anew = ada.anew();
    world.slapd.add(&anew);

    let plan = world.dirsyncd.plan();
    let operations = plan.operations();
    assert_eq!(operations.len(), 1, "{:#}", plan.json);
    assert_eq!(operations[0].kind, "update");
    assert_eq!(
        operations[0].reason,
        "back under a new key (same employee number)"
    );
    world.dirsyncd.sync(0);

    world.dirsyncd.expect_nothing_to_do();
    let after = world.account(&anew);
    assert_eq!(after.scim_id, before.scim_id);
    assert_eq!(after.account_id, before.account_id);
    assert_eq!(after.email, "countess@example.org");
    assert!(after.active);
    assert_eq!(world.organization.accounts().len(), 4);
    // Read in full it is the same.
    let output = world.dirsyncd.run(&["plan", "--full"]).expect_code(0);
    assert!(output.stdout.contains("Nothing to do"), "{output}");
}

#[test]
fn whoever_left_and_comes_back_under_a_new_key_is_restored() {
    let organization = Organization::start();
    let mut people = Person::four();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&people));
    dirsyncd.sync(0);
    let alan = people.remove(2);
    dirsyncd.write_ldif(&people::directory(&people));
    dirsyncd.sync(0);
    let before = organization.of_key(&alan.key()).unwrap();
    assert!(!before.active);
    // The same address, and no number that would speak against it.
    let anew = Person::new("turing", "Alan", "Turing")
        .with_mail(alan.mail.as_deref())
        .without_employee_number();
    people.push(anew.clone());
    dirsyncd.write_ldif(&people::directory(&people));
    dirsyncd.sync(0);
    dirsyncd.expect_nothing_to_do();
    let after = organization.of_key(&anew.key()).unwrap();
    assert_eq!(after.scim_id, before.scim_id);
    assert!(after.active);

    // Another number with the address is another person.
    people.pop();
    dirsyncd.write_ldif(&people::directory(&people));
    dirsyncd.sync(0);
    let stranger = Person::new("third", "Alan", "Smithee").with_mail(alan.mail.as_deref());
    let mut with_number = people.clone();
    with_number.push(anew);
    people.push(stranger);
    dirsyncd.write_ldif(&people::directory(&people));
    let output = dirsyncd.sync(0);
    assert!(output.stdout.contains("same e-mail"), "{output}");
}

#[test]
fn people_exchange_their_addresses() {
    let world = World::synced(&Person::four());
    let people = Person::four();
    // Ada and Grace swap; the other two go round with nobody.
    world
        .slapd
        .replace(&people[0].dn(), &[("mail", "grace@example.org")]);
    world
        .slapd
        .replace(&people[1].dn(), &[("mail", "ada@example.org")]);
    let output = world.dirsyncd.sync(0);
    assert!(output.stdout.contains("makes way"), "{output}");
    world.dirsyncd.expect_nothing_to_do();
    assert_eq!(world.account(&people[0]).email, "grace@example.org");
    assert_eq!(world.account(&people[1]).email, "ada@example.org");
}

#[test]
fn an_edit_is_shown_before_it_goes_live() {
    let mut world = scoped(World::of(&Person::four()));
    let grace = &Person::four()[1];
    world.slapd.replace(&grace.dn(), &[("title", "Manager")]);
    world.dirsyncd.sync(0);
    let guest = Person::new("guest", "Guido", "Guest");
    world.slapd.add(&guest);
    world.slapd.replace(&guest.dn(), &[("title", "Guest")]);
    let old = world.dirsyncd.folder().join("old.toml");
    std::fs::write(&old, world.dirsyncd.config()).unwrap();
    let filter = "(&(objectClass=inetOrgPerson)(!(title=Manager)))";
    world.dirsyncd.set_source("filter", &format!("{filter:?}"));
    let old = old.display().to_string();
    // Writes the configuration.
    world.dirsyncd.plan_with(&["--full"]);
    let before = world.before();

    world
        .dirsyncd
        .run(&["plan", "--against", &old])
        .expect_code(0)
        .expect_words(&[
            "Enter the scope (1)",
            &format!("+ {}", guest.dn()),
            "Leave the scope (1)",
            &format!("- {}", grace.dn()),
            "has an account, no longer matched by the filter",
            "Edit: 1 to enter, 1 to leave, 3 stay.",
        ]);
    let output = world
        .dirsyncd
        .run(&[
            "plan",
            "--against",
            &old,
            "--format",
            "json",
            "--detailed-exitcode",
        ])
        .expect_code(10);
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(json["leaving"][0]["key"], grace.key());
    assert_eq!(json["leaving"][0]["cause"], "unmatched");
    assert_eq!(json["entering"][0]["has_account"], false);
    before.expect_unchanged();
    world
        .dirsyncd
        .run(&["plan", "--against", "missing.toml"])
        .expect_code(2)
        .expect_words(&["missing.toml"]);
}
