//! How a newcomer's account is found: by key, by the rules, or as that of an entry that was made
//! anew.

use chrono::TimeDelta;

use super::super::fixture::*;
use super::super::*;
use super::{DEACTIVATED, refusal};
use crate::config::{Adopt, Departure, Return};
use crate::model::{Attribute, Cause, DesiredAccount, Kind, Lifecycle, Reason, Whereabouts};

fn with_number(person: DesiredAccount, number: &str) -> DesiredAccount {
    with(person, Attribute::EmployeeNumber, number)
}

/// The account of `a`, who has this employee number.
fn numbered(number: &str) -> ManagedAccount {
    let mut account = account("a");
    account.profile.set(Attribute::EmployeeNumber, number);
    account
}

/// `a`'s entry is gone, and there is this new one.
fn made_anew(old: ManagedAccount, new: DesiredAccount) -> World {
    World::new(vec![new, person("z")], vec![old, account("z")])
}

#[test]
fn rules_are_asked_in_their_order_and_only_where_the_former_find_nothing() {
    let person = with(
        with(person("a"), Attribute::GivenName, "Anna"),
        Attribute::FamilyName,
        "Núñez",
    );
    let named = ExistingAccount {
        profile: [
            (Attribute::UserName, "x".to_owned()),
            (Attribute::Email, "x@example.org".to_owned()),
            (Attribute::GivenName, "ANNA".to_owned()),
            // The accents as characters of their own.
            (Attribute::FamilyName, "Nu\u{301}n\u{303}ez".to_owned()),
        ]
        .into_iter()
        .collect(),
        ..existing("x", None)
    };
    let mut world = World::new(vec![person], vec![]);
    world.existing = vec![named.clone()];
    assert_eq!(brief(&world.planned()), ["create a"]);
    world
        .policy
        .match_by
        .push(vec![Attribute::GivenName, Attribute::FamilyName]);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["adopt a"]);
    assert_eq!(
        plan.operations[0].operation.reason,
        Reason::Found {
            by: "givenName and familyName".into()
        }
    );
    // Whoever is found by the address goes before whoever is found by the name.
    world.existing.push(existing("a", None));
    let plan = world.planned();
    let target = plan.operations[0].operation.target.clone().unwrap();
    assert_eq!(target.scim_id.as_str(), "scim-a");
}

#[test]
fn whoever_has_the_address_is_a_candidate_whatever_the_rules() {
    let mut world = World::new(vec![person("a")], vec![]);
    world.policy.match_by = vec![vec![Attribute::PhoneNumber]];
    world.existing = vec![existing("a", None)];
    assert_eq!(brief(&world.planned()), ["adopt a"]);
}

#[test]
fn an_account_with_another_provisioner_s_key_can_be_refused() {
    let mut world = World::new(vec![person("a"), person("b")], vec![]);
    world.existing = vec![existing("a", Some("00u1abcd"))];
    assert_eq!(brief(&world.planned()), ["adopt a", "create b"]);
    world.policy.adopt = Adopt::Unowned;
    let plan = world.planned();
    assert_eq!(brief(&plan), ["create b"]);
    let why = refusal(&plan, "a");
    assert!(
        why.contains("00u1abcd") && why.contains("adopt = \"unowned\""),
        "{why}"
    );
}

#[test]
fn an_entry_made_anew_is_a_rehire() {
    let by_number = with_number(with_mail(person("new"), "other@example.org"), "E17");
    let by_mail = with_mail(person("new"), "A@example.org");
    for (new, by) in [(by_number, "employee number"), (by_mail, "e-mail")] {
        let mut world = made_anew(numbered("e17"), new);
        let plan = world.planned();
        assert_eq!(brief(&plan), ["update new"], "{by}");
        let operation = &plan.operations[0].operation;
        assert_eq!(operation.reason, Reason::Rehired { by: by.into() });
        assert_eq!(operation.formerly, Some(key("a")));
        assert_eq!(operation.changes[0].attribute, "externalId");
        assert_eq!(operation.changes[0].old.as_deref(), Some("key-a"));
        world.apply(&plan);
        assert_eq!(brief(&world.planned()), Vec::<String>::new());
        assert_eq!(world.accounts.len(), 2);
    }
}

#[test]
fn a_rehire_gets_the_account_back_in_whatever_state_it_is() {
    let since = at("2026-06-10T00:00:00Z");
    let pending = Lifecycle::DeletePending { since };
    for (lifecycle, cancels) in [(DEACTIVATED, false), (pending, true)] {
        let old = ManagedAccount {
            lifecycle,
            ..in_state("a", lifecycle, Some("2026-06-01T00:00:00Z"))
        };
        let mut old = old;
        old.profile.set(Attribute::EmployeeNumber, "7");
        let mut world = made_anew(old.clone(), with_number(person("new"), "7"));
        let plan = world.planned();
        assert_eq!(brief(&plan), ["restore new"]);
        let operation = &plan.operations[0].operation;
        assert_eq!(operation.cancel_delete, cancels);
        assert_eq!(operation.active, (false, true));
        world.apply(&plan);
        assert_eq!(brief(&world.planned()), Vec::<String>::new());
        // Where the login stays off on return, the account is theirs all the same.
        let mut world = made_anew(old, with_number(person("new"), "7"));
        world.policy.on_return = Return::Keep;
        let plan = world.planned();
        assert_eq!(brief(&plan), ["update new"]);
        assert_eq!(plan.operations[0].operation.active, (false, false));
    }
}

#[test]
fn a_rehire_who_may_not_log_in_loses_the_login() {
    let new = DesiredAccount {
        active: false,
        ..with_number(person("new"), "7")
    };
    let mut world = made_anew(numbered("7"), new);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["deactivate new"]);
    assert_eq!(plan.operations[0].operation.active, (true, false));
    world.policy.on_disabled = Departure::Keep;
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update new"]);
    assert_eq!(plan.operations[0].operation.active, (true, true));
}

#[test]
fn different_numbers_are_different_people_whatever_the_address() {
    let new = with_number(with_mail(person("new"), "a@example.org"), "8");
    let plan = made_anew(numbered("7"), new).planned();
    assert_eq!(brief(&plan), ["deactivate a"]);
    let why = refusal(&plan, "new");
    assert!(
        why.contains("uid=a,") && why.contains("recycle_after"),
        "{why}"
    );
}

#[test]
fn nobody_is_rehired_into_the_account_of_who_is_still_there() {
    let new = with_number(person("new"), "7");
    let there = with_number(person("a"), "7");
    let world = World::new(vec![new, there], vec![numbered("7")]);
    assert_eq!(brief(&world.planned()), ["create new"]);
}

#[test]
fn while_an_absence_is_not_proven_a_possible_rehire_waits() {
    let mut world = made_anew(numbered("7"), with_number(person("new"), "7"));
    world.whereabouts.insert(key("a"), Whereabouts::InScope);
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(refusal(&plan, "new").contains("uid=a,"));
    world.whereabouts.clear();
    world.clean = Err("cut off".into());
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
    // By an edit of the configuration the old entry is only out of sight.
    world.clean = Ok(());
    let rescoped = Whereabouts::Out(Cause::Rescoped);
    world.whereabouts.insert(key("a"), rescoped);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn several_who_could_be_the_newcomer_are_shown() {
    let mut other = account("b");
    other.profile.set(Attribute::EmployeeNumber, "7");
    let mut world = made_anew(numbered("7"), with_number(person("new"), "7"));
    world.accounts.push(other);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["deactivate a", "deactivate b"]);
    let why = refusal(&plan, "new");
    assert!(why.contains("uid=a,") && why.contains("uid=b,"), "{why}");
}

#[test]
fn by_the_address_alone_a_rehire_is_known_for_a_while_only() {
    let within = TimeDelta::days(10);
    let world = |gone: TimeDelta| {
        let mut old = in_state("a", DEACTIVATED, Some("2026-01-01T00:00:00Z"));
        old.absence = old.absence.map(|absence| crate::model::Absence {
            since: now() - gone,
            ..absence
        });
        let mut world = made_anew(old, with_mail(person("new"), "a@example.org"));
        world.policy.rehire_within = within;
        world
    };
    let second = TimeDelta::seconds(1);
    assert_eq!(brief(&world(within - second).planned()), ["restore new"]);
    let plan = world(within).planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(refusal(&plan, "new").contains("who left on"));
}

#[test]
fn after_the_cool_off_an_address_is_another_s() {
    let cool_off = TimeDelta::days(90);
    let world = |gone: TimeDelta, without_login: TimeDelta| {
        let lifecycle = Lifecycle::Deactivated {
            since: now() - without_login,
        };
        let mut old = in_state("a", lifecycle, Some("2026-01-01T00:00:00Z"));
        old.absence = old.absence.map(|absence| crate::model::Absence {
            since: now() - gone,
            ..absence
        });
        old.profile.set(Attribute::EmployeeNumber, "7");
        let new = with_number(with_mail(person("new"), "a@example.org"), "8");
        let mut world = made_anew(old, new);
        world.policy.recycle_after = Some(cool_off);
        world
    };
    let second = TimeDelta::seconds(1);
    for (gone, without_login) in [(cool_off - second, cool_off), (cool_off, cool_off - second)] {
        let plan = world(gone, without_login).planned();
        assert_eq!(brief(&plan), Vec::<String>::new());
        assert!(refusal(&plan, "new").contains("from 2026-06-15"));
    }
    let mut world = world(cool_off, cool_off);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update a", "create new"]);
    let parked = &plan.operations[0].operation;
    assert_eq!(parked.reason, Reason::Recycled);
    assert_eq!(parked.active, (false, false));
    let address = parked.after.get(Attribute::Email).unwrap();
    assert!(
        address.starts_with("a+dirsyncd-") && address.ends_with("@example.org"),
        "{address}"
    );
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn the_address_of_who_leaves_in_this_run_is_not_another_s_yet() {
    let new = with_number(with_mail(person("new"), "a@example.org"), "8");
    let mut world = made_anew(numbered("7"), new);
    world.policy.recycle_after = Some(TimeDelta::zero());
    let plan = world.planned();
    assert_eq!(brief(&plan), ["deactivate a"]);
    world.apply(&plan);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update a", "create new"]);
    assert_eq!(plan.count(Kind::Create), 1);
}

#[test]
fn two_who_could_be_the_same_person_are_both_refused() {
    let mut world = made_anew(numbered("7"), with_number(person("new"), "7"));
    world.people.push(with_number(person("other"), "7"));
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    let why = refusal(&plan, "new");
    assert!(
        why.contains("uid=new,") && why.contains("uid=other,"),
        "{why}"
    );
}

#[test]
fn an_account_that_goes_to_a_rehire_is_not_recycled_for_somebody_else() {
    // The rehire may not log in, and so keeps the old address.
    let mut old = in_state("a", DEACTIVATED, Some("2026-01-01T00:00:00Z"));
    old.profile.set(Attribute::EmployeeNumber, "7");
    let back = DesiredAccount {
        active: false,
        ..with_number(person("new"), "7")
    };
    let mut world = made_anew(old, back);
    world.policy.recycle_after = Some(TimeDelta::days(3));
    world.people.push(with_mail(person("b"), "a@example.org"));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update new"]);
    assert!(refusal(&plan, "b").contains("belongs to another account"));
}
