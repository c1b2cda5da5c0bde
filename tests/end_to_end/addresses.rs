//! An address belongs to one account: chains are put in order, and what cannot be ordered is refused.

use crate::support::{Expected, Person, World};

fn mail(world: &World, person: &Person, mail: &str) {
    world.slapd.replace(&person.dn(), &[("mail", mail)]);
}

/// What a change of the mail looks like in a plan.
fn change(person: &Person, old: &'static str, new: &'static str) -> Expected {
    Expected::new(
        "update",
        person,
        "changed in the directory",
        &[("userName", old, new), ("email", old, new)],
    )
}

#[test]
fn an_address_is_freed_before_another_takes_it() {
    let world = World::synced(&Person::four());
    let [ada, grace, alan, _] = &Person::four()[..] else {
        panic!()
    };
    // Ada takes Grace's, Grace takes Alan's, and Alan gets a new one.
    mail(&world, ada, "grace@example.org");
    mail(&world, grace, "alan@example.org");
    mail(&world, alan, "turing@example.org");
    let mark = world.organization.mark();

    world.expect_and_apply(&[
        change(ada, "ada@example.org", "grace@example.org"),
        change(grace, "grace@example.org", "alan@example.org"),
        change(alan, "alan@example.org", "turing@example.org"),
    ]);

    let order: Vec<String> = world
        .organization
        .writes_since(mark)
        .iter()
        .map(|request| {
            let id = request.path.rsplit('/').next().unwrap().to_owned();
            let accounts = world.organization.accounts();
            let account = accounts.into_iter().find(|one| one.scim_id == id).unwrap();
            account.email
        })
        .collect();
    assert_eq!(
        order,
        [
            "turing@example.org",
            "alan@example.org",
            "grace@example.org"
        ]
    );
    assert_eq!(world.organization.accounts().len(), 4);
}

#[test]
fn a_newcomer_gets_the_address_that_a_rename_frees() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    mail(&world, ada, "lovelace@example.org");
    let newcomer = Person::new("ada2", "Ada", "Yonath").with_mail(Some("ada@example.org"));
    world.slapd.add(&newcomer);

    world.expect_and_apply(&[
        change(ada, "ada@example.org", "lovelace@example.org"),
        Expected::creation(&newcomer, "new in the directory"),
    ]);

    assert_eq!(world.account(&newcomer).email, "ada@example.org");
}

#[test]
fn an_address_of_someone_who_left_stays_with_the_account() {
    let world = World::synced(&Person::four());
    let [ada, grace, ..] = &Person::four()[..] else {
        panic!()
    };
    world.slapd.delete(&ada.dn());
    world.dirsyncd.sync(0);
    mail(&world, grace, "ada@example.org");

    world.dirsyncd.sync(3).expect_words(&[
        &grace.dn(),
        "email ada@example.org belongs to another account: Ada Lovelace",
        "deactivated",
    ]);

    assert_eq!(world.account(grace).email, "grace@example.org");
}

#[test]
fn only_the_case_of_an_address_may_change() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    mail(&world, ada, "Ada@example.org");

    world.expect_and_apply(&[change(ada, "ada@example.org", "Ada@example.org")]);
}
