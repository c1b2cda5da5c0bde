//! Accounts that the organization already has are taken over, not doubled.

use serde_json::json;

use crate::support::{Person, World};

#[test]
fn an_account_with_another_external_id_is_adopted_by_its_address() {
    let world = World::of(&Person::four());
    let ada = &Person::four()[0];
    let by_hand =
        world
            .organization
            .create_by_hand("Ada@Example.org", "A. Lovelace", Some("payroll-17"));
    let mark = world.organization.mark();

    let plan = world.dirsyncd.plan();
    let operations = plan.operations();
    let adoption = operations.iter().find(|one| one.kind == "adopt").unwrap();
    assert_eq!(adoption.account, "A. Lovelace");
    assert_eq!(
        adoption.reason,
        "the organization has this account already (same e-mail)"
    );
    let text = |text: &str| Some(text.to_owned());
    for change in [
        ("externalId", text("payroll-17"), text(&ada.key())),
        ("displayName", text("A. Lovelace"), text("Ada Lovelace")),
        ("familyName", None, text("Lovelace")),
    ] {
        let change = (change.0.to_owned(), change.1, change.2);
        assert!(adoption.changes.contains(&change), "{adoption:?}");
    }
    world.dirsyncd.sync(0);

    world.dirsyncd.expect_nothing_to_do();
    let adopted = world.account(ada);
    assert_eq!(adopted.scim_id, by_hand.scim_id);
    assert_eq!(adopted.account_id, by_hand.account_id);
    assert_eq!(adopted.display_name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(world.organization.accounts().len(), 4);
    let creations = world.organization.writes_since(mark);
    let creations = creations.iter().filter(|request| request.is_create());
    assert_eq!(creations.count(), 3);
}

#[test]
fn an_account_with_the_persons_key_is_adopted_whatever_its_address() {
    let world = World::of(&Person::four());
    let ada = &Person::four()[0];
    let by_hand =
        world
            .organization
            .create_by_hand("countess@example.org", "Ada Lovelace", Some(&ada.key()));

    world.dirsyncd.sync(0);

    world.dirsyncd.expect_nothing_to_do();
    let adopted = world.account(ada);
    assert_eq!(adopted.scim_id, by_hand.scim_id);
    assert_eq!(adopted.email, "ada@example.org");
    assert_eq!(world.organization.accounts().len(), 4);
}

#[test]
fn a_managed_account_outside_the_provisioning_directory_is_linked() {
    let world = World::of(&Person::four());
    let seeded = world
        .organization
        .seed("grace@example.org", "Amazing Grace");

    world.dirsyncd.sync(0);

    world.dirsyncd.expect_nothing_to_do();
    assert_eq!(world.account(&Person::four()[1]).account_id, seeded);
    assert_eq!(world.organization.accounts().len(), 4);
}

#[test]
fn many_newcomers_are_matched_as_few_are() {
    let people = Person::several(60);
    let world = World::of(&people);
    for person in &people[..10] {
        let mail = person.mail.as_ref().unwrap();
        world
            .organization
            .create_by_hand(mail, &person.name(), None);
    }
    world
        .organization
        .create_by_hand("stranger@example.org", "A Stranger", None);

    let plan = world.dirsyncd.plan();
    assert_eq!((plan.count("adopt"), plan.count("create")), (10, 50));
    world.dirsyncd.sync(0);

    world.dirsyncd.expect_nothing_to_do();
    assert_eq!(world.organization.accounts().len(), 61);
}

#[test]
fn an_account_that_nobody_in_the_directory_has_is_left_alone() {
    let world = World::of(&Person::four());
    let stranger = world
        .organization
        .create_by_hand("stranger@example.org", "A Stranger", None);
    world.dirsyncd.sync(0);
    world.slapd.delete(&Person::four()[0].dn());
    world.dirsyncd.sync(0);

    let accounts = world.organization.accounts();
    assert!(accounts.contains(&stranger), "{accounts:?}");
}

#[test]
fn a_disabled_persons_account_is_adopted_and_deactivated_and_none_is_made() {
    let mut people = Person::four();
    people[0] = people[0].clone().disabled();
    people[1] = people[1].clone().disabled();
    let world = World::of(&people);
    world
        .organization
        .create_by_hand("ada@example.org", "Ada Lovelace", None);

    world.dirsyncd.sync(0);

    world.dirsyncd.expect_nothing_to_do();
    assert!(!world.account(&people[0]).active);
    assert_eq!(world.organization.of_key(&people[1].key()), None);
    assert_eq!(world.organization.accounts().len(), 3);
}

#[test]
fn without_adoption_the_person_is_refused_and_the_others_go_on() {
    let mut world = World::of(&Person::four());
    world.dirsyncd.rest = "[policy]\nadopt = false\n".to_owned();
    let by_hand = world
        .organization
        .create_by_hand("ada@example.org", "By Hand", None);

    world.dirsyncd.sync(3).expect_words(&[
        "uid=ada,",
        "the organization has this account already",
        "adopt = false",
    ]);

    let accounts = world.organization.accounts();
    assert!(accounts.contains(&by_hand));
    assert_eq!(accounts.len(), 4);
}

#[test]
fn two_accounts_that_could_be_the_persons_are_a_refusal() {
    let world = World::of(&Person::four());
    let ada = &Person::four()[0];
    world
        .organization
        .create_by_hand("ada@example.org", "By Mail", None);
    world
        .organization
        .create_by_hand("other@example.org", "By Key", Some(&ada.key()));
    let before = world.organization.accounts();

    world.dirsyncd.sync(3).expect_words(&[
        "uid=ada,",
        "By Mail",
        "By Key",
        "settle in the organization",
    ]);

    let after = world.organization.accounts();
    assert!(before.iter().all(|account| after.contains(account)));
    assert_eq!(after.len(), 5);
}

#[test]
fn an_account_that_was_taken_away_in_the_organization_is_made_anew() {
    let world = World::synced(&Person::four());
    let alan = &Person::four()[2];
    let before = world.account(alan);
    world.organization.delete_by_hand(&before);
    world
        .slapd
        .replace(&alan.dn(), &[("title", "Chief Engineer")]);

    world.dirsyncd.sync(4).expect_words(&[
        "the account is not in the provisioning directory any more",
        "the next run takes the person for one without an account",
    ]);
    world.dirsyncd.sync(0);

    world.dirsyncd.expect_nothing_to_do();
    let after = world.account(alan);
    assert!(after.active);
    assert_eq!(after.title.as_deref(), Some("Chief Engineer"));
    assert_eq!(world.organization.accounts().len(), 4);
}

#[test]
fn a_single_404_of_an_account_that_is_there_changes_nothing_in_what_is_known() {
    let world = World::synced(&Person::four());
    let alan = &Person::four()[2];
    world.slapd.delete(&alan.dn());
    world
        .organization
        .faults(&json!([{"match": "^PATCH ", "times": 1, "status": 404}]));

    world
        .dirsyncd
        .sync(4)
        .expect_words(&["was answered with 404, though the account is there"]);
    assert!(world.account(alan).active);
    world.dirsyncd.sync(0).expect_words(&["1 to deactivate"]);

    assert!(!world.account(alan).active);
}
