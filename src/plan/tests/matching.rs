//! How a newcomer's account is found: by key, by the rules, or as that of an entry that was made
//! anew.

use chrono::TimeDelta;

use super::super::fixture::*;
use super::super::*;
use super::{DEACTIVATED, pending, refusal, why_skipped};
use crate::config::{Adopt, Departure, Guard, Return};
use crate::model::{
    Absence, Attribute, Cause, Change, Complete, DesiredAccount, ExistingAccount, Kind, Lifecycle,
    PullEnd, Reason, Whereabouts,
};

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
    // The person's own key, in whatever case, is nobody else's; and an empty one is none.
    for own in [None, Some(""), Some("KEY-a")] {
        world.existing = vec![existing("a", own)];
        assert_eq!(brief(&world.planned()), ["adopt a", "create b"], "{own:?}");
    }
}

#[test]
fn an_adoption_shows_the_key_only_where_it_writes_one() {
    for (key, shows) in [(Some("key-a"), false), (Some("other"), true), (None, true)] {
        let mut world = World::new(vec![person("a")], vec![]);
        world.existing = vec![existing("a", key)];
        let plan = world.planned();
        let mut changes = plan.operations[0].operation.changes.iter();
        let is_shown = changes.any(|change| change.attribute == Change::EXTERNAL_ID);
        assert_eq!(is_shown, shows, "{key:?}");
    }
}

#[test]
fn an_adopted_account_can_log_in_as_the_directory_and_the_policy_say() {
    use Departure::{Deactivate, Keep};
    let table = [
        (person("a"), false, Deactivate, true),
        (person("a"), false, Keep, true),
        (disabled("a"), true, Deactivate, false),
        (disabled("a"), true, Keep, true),
        (disabled("a"), false, Keep, false),
    ];
    for (person, was_active, on_disabled, expected) in table {
        let name = format!("{} {was_active} {on_disabled:?}", person.active);
        let mut world = World::new(vec![person], vec![]);
        world.policy.on_disabled = on_disabled;
        world.existing = vec![ExistingAccount {
            active: was_active,
            ..existing("a", None)
        }];
        let plan = world.planned();
        let active = plan.operations[0].operation.active;
        assert_eq!(active, (was_active, expected), "{name}");
    }
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
fn a_rehire_gets_an_account_back_whose_login_is_off() {
    let mut old = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    old.profile.set(Attribute::EmployeeNumber, "7");
    let mut world = made_anew(old.clone(), with_number(person("new"), "7"));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["restore new"]);
    assert_eq!(plan.operations[0].operation.active, (false, true));
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
    // Where the login stays off on return, the account is theirs all the same.
    let mut world = made_anew(old, with_number(person("new"), "7"));
    world.policy.on_return = Return::Keep;
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update new"]);
    let operation = &plan.operations[0].operation;
    assert_eq!(operation.active, (false, false));
    // A later absence is counted from its own beginning.
    assert_eq!(operation.absence.map(|absence| absence.pulls), Some(0));
    // It is off since it was turned off.
    world.apply(&plan);
    let account = world.accounts.iter().find(|one| one.key == key("new"));
    assert_eq!(account.unwrap().lifecycle, DEACTIVATED);
}

#[test]
fn a_rehire_whose_login_was_never_turned_off_keeps_it() {
    let mut world = made_anew(numbered("7"), with_number(person("new"), "7"));
    world.policy.on_return = Return::Keep;
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update new"]);
    assert_eq!(plan.operations[0].operation.active, (true, true));
    assert_eq!(plan.skipped, []);
}

#[test]
fn a_rehire_who_may_not_log_in_loses_the_login() {
    let new = DesiredAccount {
        active: false,
        ..with_number(with_mail(person("new"), "A@example.org"), "7")
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
        old.absence = old.absence.map(|absence| Absence {
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
        old.absence = old.absence.map(|absence| Absence {
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
    // While the clock cannot be trusted, or the account is about to go, it is not freed.
    let mut late = world(cool_off, cool_off);
    late.api_time = Some(late.now + TimeDelta::hours(1));
    assert_eq!(brief(&late.planned()), Vec::<String>::new());
    assert!(refusal(&late.planned(), "new").contains("the next runs see to it"));
    let mut going = world(cool_off, cool_off);
    going.policy.delete_after = Some(cool_off);
    let plan = going.planned();
    assert_eq!(brief(&plan), ["delete a"]);
    assert!(refusal(&plan, "new").contains("the next runs see to it"));
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
    let changed = parked.changes.iter().map(|change| &change.attribute[..]);
    assert_eq!(changed.collect::<Vec<_>>(), ["userName", "email"]);
    // Whoever has left still has.
    assert_eq!(parked.absence, world.accounts[0].absence);
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn an_address_is_freed_once_and_each_by_itself() {
    let gone = |name| in_state(name, DEACTIVATED, Some("2026-01-01T00:00:00Z"));
    let mut one = gone("a");
    one.profile.set(Attribute::UserName, "login@example.org");
    let people = vec![
        with(
            with_number(person("e"), "8"),
            Attribute::Email,
            "a@example.org",
        ),
        with(
            with_number(person("u"), "9"),
            Attribute::UserName,
            "login@example.org",
        ),
        with_number(with_mail(person("x"), "b@example.org"), "10"),
    ];
    let mut world = World::new(people, vec![one, gone("b")]);
    for account in &mut world.accounts {
        account.profile.set(Attribute::EmployeeNumber, "7");
    }
    world.policy.recycle_after = Some(TimeDelta::days(3));
    let plan = world.planned();
    assert_eq!(
        brief(&plan),
        ["update a", "update b", "create e", "create u", "create x"]
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
    assert_eq!(brief(&plan), ["deactivate a"]);
    assert!(refusal(&plan, "new").contains("as may uid=other,"));
    assert!(refusal(&plan, "other").contains("as may uid=new,"));
}

#[test]
fn an_account_that_goes_to_a_rehire_is_not_recycled_for_somebody_else() {
    // The rehire may not log in, and so keeps the old address.
    let mut old = in_state("a", DEACTIVATED, Some("2026-01-01T00:00:00Z"));
    old.profile.set(Attribute::EmployeeNumber, "7");
    let back = |mail: &str| DesiredAccount {
        active: false,
        ..with_number(with_mail(person("new"), mail), "7")
    };
    let heir = with_mail(person("b"), "login@example.org");
    old.profile.set(Attribute::UserName, "login@example.org");
    let mut world = made_anew(old, back("a@example.org"));
    world.policy.recycle_after = Some(TimeDelta::days(3));
    world.people.push(heir);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update new"]);
    assert!(refusal(&plan, "b").contains("belongs to another account"));
    // Nor one that may go to somebody later.
    world.people[0] = back("new@example.org");
    let plan = world.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert!(refusal(&plan, "b").contains("may be that of another entry"));
}

#[test]
fn by_the_address_alone_nobody_is_rehired_whose_old_entry_is_still_somewhere() {
    let new = with_mail(person("new"), "a@example.org");
    let mut world = made_anew(account("a"), new);
    for cause in [
        Cause::MovedOut,
        Cause::Unmatched,
        Cause::Ungrouped,
        Cause::Excluded,
    ] {
        world.whereabouts.insert(key("a"), Whereabouts::Out(cause));
        let plan = world.planned();
        assert_eq!(brief(&plan), ["deactivate a"], "{cause:?}");
        assert!(refusal(&plan, "new").contains("who left on"));
    }
    world.whereabouts.clear();
    assert_eq!(brief(&world.planned()), ["update new"]);
    // Nor while the clock does not tell how long ago it was.
    world.api_time = Some(world.now + TimeDelta::hours(1));
    assert_eq!(brief(&world.planned()), ["!deactivate a"]);
}

#[test]
fn a_number_that_others_have_as_well_identifies_nobody() {
    let mut other = account("b");
    other.profile.set(Attribute::EmployeeNumber, "EXT");
    let new = with_number(person("new"), "EXT");
    let mut world = made_anew(numbered("EXT"), new);
    world.accounts.push(other);
    world.people.push(with_number(person("b"), "EXT"));
    assert_eq!(brief(&world.planned()), ["deactivate a", "create new"]);
}

#[test]
fn nobody_is_rehired_into_the_account_of_who_was_back_before_a_followed_pull() {
    // Seen again in an earlier run, and in this one nothing of that person has changed.
    let mut old = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    old.absence = old.absence.map(|absence| Absence {
        pulls: 0,
        ..absence
    });
    old.profile.set(Attribute::EmployeeNumber, "7");
    let new = with_number(person("new"), "7");
    let world = World::new(vec![new.clone()], vec![old.clone()]);
    let mut index = Index::new(vec![source()], [source()].into());
    index.insert_account(&old);
    let mut comparison = Comparison::with(index);
    comparison.observe(Ok(new));
    let end = PullEnd {
        entries: 2,
        changed: Some(1),
        clean: Ok(()),
    };
    let desired = comparison.finish([(source(), Complete::attest(end))].into());
    let known = world.known(&desired);
    let plan = plan(
        &desired,
        &known,
        &world.policies(),
        &world.guards,
        world.now,
    );
    assert_eq!(brief(&plan.unwrap()), ["create new"]);
}

/// `a`, who has the number 7, is gone, and the account is being deleted.
fn being_deleted() -> ManagedAccount {
    let mut old = in_state(
        "a",
        pending("2026-06-10T00:00:00Z"),
        Some("2026-06-01T00:00:00Z"),
    );
    old.profile.set(Attribute::EmployeeNumber, "7");
    old
}

/// That the deletion of `a`'s account is cancelled, and nothing else done to it.
fn expect_cancelled(plan: &Plan, others: &[&str]) {
    assert_eq!(brief(plan), [&["restore a"], others].concat());
    let operation = &plan.operations[0].operation;
    assert!(operation.cancel_delete);
    assert_eq!(operation.active, (false, false));
    assert_eq!(operation.changes, []);
    assert_eq!(operation.formerly, None);
}

#[test]
fn a_rehire_into_an_account_that_is_being_deleted_cancels_that_first() {
    for is_active in [true, false] {
        let new = DesiredAccount {
            active: is_active,
            ..with_number(with_mail(person("new"), "a@example.org"), "7")
        };
        let mut world = made_anew(being_deleted(), new);
        world.guards.protected = ["key-a".to_owned()].into();
        let plan = world.planned();
        expect_cancelled(&plan, &[]);
        let told = plan.skipped.iter().find(|one| one.key == Some(key("new")));
        assert!(told.unwrap().why.to_string().contains("cancelled first"));
        world.apply(&plan);
        world.guards.protected.clear();
        let kind = if is_active { "restore" } else { "update" };
        assert_eq!(brief(&world.planned()), [format!("{kind} new")]);
    }
}

#[test]
fn whose_account_may_be_somebodys_who_cannot_have_one_now_is_not_deleted() {
    let contested = |people: &[&str]| {
        let number = |name: &&str| with_number(with_mail(person(name), "same@example.org"), "7");
        people.iter().map(number).collect::<Vec<_>>()
    };
    let taken = vec![
        with_number(with_mail(person("new"), "b@example.org"), "7"),
        person("b"),
    ];
    // Found by the address alone, which is open as long as others claim it.
    let by_address = vec![
        with_mail(person("new"), "a@example.org"),
        with_mail(person("b"), "a@example.org"),
    ];
    let several = vec![
        with_number(person("new"), "7"),
        with_number(person("other"), "7"),
    ];
    let repeated = vec![
        with_number(person("new"), "7"),
        with_number(with_mail(person("new"), "other@example.org"), "7"),
    ];
    for (name, people) in [
        ("taken", taken),
        ("contested", contested(&["new", "other"])),
        ("found by the address", by_address),
        ("claimed by several", several),
        ("two entries of one key", repeated),
    ] {
        let mut world = World::new(people, vec![being_deleted(), account("b")]);
        world.people.push(person("z"));
        world.accounts.push(account("z"));
        if !world.people.iter().any(|one| one.key == key("b")) {
            world.people.push(person("b"));
        }
        world.policy.delete_after = Some(TimeDelta::days(30));
        world.policy.rehire_within = TimeDelta::days(365);
        let plan = world.planned();
        expect_cancelled(&plan, &[]);
        let told = refusal(&plan, "new");
        let skipped = plan.skipped.iter().any(|one| one.key == Some(key("new")));
        assert!(!told.is_empty() || skipped, "{name}");
        world.apply(&plan);
        // Not when it is due again either.
        world.now += TimeDelta::days(100);
        let plan = world.planned();
        assert_eq!(brief(&plan), [""; 0], "{name}");
        assert!(!refusal(&plan, "new").is_empty(), "{name}");
    }
}

#[test]
fn of_several_accounts_that_may_be_a_newcomers_none_is_deleted() {
    let left = |name: &str, lifecycle| {
        let mut account = in_state(name, lifecycle, Some("2026-03-01T00:00:00Z"));
        account.profile.set(Attribute::EmployeeNumber, "7");
        account
    };
    let people = vec![with_number(person("new"), "7"), person("z")];
    let accounts = vec![
        left("a", pending("2026-06-10T00:00:00Z")),
        left("b", DEACTIVATED),
        account("z"),
    ];
    let mut world = World::new(people, accounts);
    world.policy.delete_after = Some(TimeDelta::days(30));
    let plan = world.planned();
    expect_cancelled(&plan, &[]);
    assert!(refusal(&plan, "new").contains("uid=b"));
    world.apply(&plan);
    world.now += TimeDelta::days(100);
    assert_eq!(brief(&world.planned()), [""; 0]);
    world.people.remove(0);
    assert_eq!(brief(&world.planned()), ["delete a", "delete b"]);
}

#[test]
fn a_protected_account_is_given_to_nobody_unasked() {
    let mut world = made_anew(numbered("7"), with_number(person("new"), "7"));
    for protected in ["key-a", "a@example.org"] {
        world.guards.protected = [protected.to_owned()].into();
        assert_eq!(brief(&world.planned()), ["!update new"], "{protected}");
    }
}

#[test]
fn no_address_is_taken_away_for_nothing() {
    let mut old = in_state("a", DEACTIVATED, Some("2026-01-01T00:00:00Z"));
    old.profile.set(Attribute::EmployeeNumber, "7");
    let new = with_number(with_mail(person("new"), "a@example.org"), "8");
    let mut world = made_anew(old, new);
    world.policy.recycle_after = Some(TimeDelta::days(3));
    // Who would get it is held, and so the address stays.
    world.limit(
        Guard::Create,
        crate::config::Limit {
            at_most: Some(0),
            ..Default::default()
        },
    );
    assert_eq!(brief(&world.planned()), ["!update a", "!create new"]);
    // Or gets no account at all.
    world.answers.max_users = Some(0);
    world.answers.users = Some(0);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn an_account_that_may_be_somebodys_who_cannot_have_one_now_is_given_to_nobody_else() {
    let contested = with_number(with_mail(person("new"), "same@example.org"), "7");
    let other = with_mail(person("other"), "same@example.org");
    let heir = with_mail(person("heir"), "a@example.org");
    let mut old = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    old.profile.set(Attribute::EmployeeNumber, "7");
    let people = vec![contested, other, heir, person("z")];
    let mut world = World::new(people, vec![old, account("z")]);
    world.policy.rehire_within = TimeDelta::days(365);
    assert_eq!(brief(&world.planned()), [""; 0]);
    let told = refusal(&world.planned(), "heir");
    assert!(told.contains("as may uid=new,"), "{told}");
    // Nor is its address.
    world.policy.rehire_within = TimeDelta::zero();
    world.policy.recycle_after = Some(TimeDelta::days(3));
    assert_eq!(brief(&world.planned()), [""; 0]);
    let told = refusal(&world.planned(), "heir");
    assert!(told.contains("may be that of another entry"), "{told}");
    // Once that is settled, it is somebody's.
    world.people.remove(1);
    assert_eq!(brief(&world.planned()), ["restore new", "create heir"]);
}

#[test]
fn whose_account_several_claim_loses_the_login_all_the_same() {
    let mail = |name: &str| with_mail(person(name), "a@example.org");
    let number = |name: &str| with_number(person(name), "7");
    let unverified = |name: &str| {
        with_number(
            with_mail(person(name), &format!("{name}@elsewhere.org")),
            "7",
        )
    };
    let off = |name: &str| DesiredAccount {
        active: false,
        ..number(name)
    };
    for people in [
        vec![mail("new"), mail("other")],
        vec![number("new"), number("other")],
        vec![off("new"), off("other")],
        vec![number("new"), with_mail(number("new"), "other@example.org")],
        vec![unverified("new"), unverified("other")],
    ] {
        let mut world = World::new(people, vec![numbered("7"), account("z")]);
        world.people.push(person("z"));
        world.verified_domains = Some(vec!["example.org"]);
        let plan = world.planned();
        assert_eq!(brief(&plan), ["deactivate a"]);
        world.apply(&plan);
        // And is kept, which is told.
        world.policy.delete_after = Some(TimeDelta::days(1));
        world.now += TimeDelta::days(2);
        let plan = world.planned();
        assert_eq!(brief(&plan), [""; 0]);
        assert!(plan.needs_attention());
        let told = why_skipped(&plan, "a");
        assert!(
            told.contains("may be the same person under a new key"),
            "{told}"
        );
    }
}

#[test]
fn an_entry_that_never_gets_an_account_keeps_nobody_from_coming_back() {
    let back = with_number(person("new"), "7");
    let admin = with_number(with_mail(person("admin"), "admin@elsewhere.org"), "7");
    let mut world = made_anew(numbered("7"), back);
    world.people.push(admin);
    world.verified_domains = Some(vec!["example.org"]);
    assert_eq!(brief(&world.planned()), ["update new"]);
    // Who is known by the address alone may be somebody else than who has the number.
    world.people[0] = with_mail(person("new"), "a@example.org");
    assert_eq!(brief(&world.planned()), ["deactivate a"]);
    assert!(refusal(&world.planned(), "new").contains("as may uid=admin,"));
}

#[test]
fn an_account_of_the_organization_that_a_contested_entry_matches_is_not_adopted_for_another() {
    let contested = with_mail(person("new"), "a@example.org");
    let other = with_mail(person("other"), "a@example.org");
    let heir = with(person("heir"), Attribute::PhoneNumber, "1");
    let mut world = World::new(vec![contested, other, heir], vec![]);
    world.policy.match_by = vec![vec![Attribute::PhoneNumber]];
    let mut found = existing("a", None);
    found.profile.set(Attribute::PhoneNumber, "1");
    world.existing = vec![found];
    let plan = world.planned();
    assert_eq!(brief(&plan), [""; 0]);
    let told = refusal(&plan, "heir");
    assert!(
        told.contains("uid=new,") && told.contains("uid=heir,"),
        "{told}"
    );
}

#[test]
fn a_reverted_deletion_is_not_forgotten_while_the_account_is_claimed() {
    let mut old = in_state("a", DEACTIVATED, Some("2026-03-01T00:00:00Z"));
    old.profile.set(Attribute::EmployeeNumber, "7");
    let mut world = World::new(vec![person("z")], vec![old, account("z")]);
    world.policy.delete_after = Some(TimeDelta::days(1));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["delete a"]);
    let effects = plan.operations[0].operation.effects();
    world.undone = vec![crate::plan::Undone {
        id: 1,
        key: key("a"),
        digest: effects[0].digest(&key("a")),
        by: crate::model::RunId(5),
    }];
    for name in ["new", "other"] {
        world.people.push(with_number(person(name), "7"));
    }
    let plan = world.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(plan.unwished, [0; 0]);
}

#[test]
fn a_plan_for_one_person_cancels_the_deletion_of_the_account_that_the_person_may_have() {
    let mut world = made_anew(being_deleted(), with_number(person("new"), "7"));
    world.policy.delete_after = Some(TimeDelta::days(30));
    let mut plan = world.planned();
    one_person(&mut plan, &key("new"), &HeldForAll::new(), &[]);
    expect_cancelled(&plan, &[]);
    let reason = plan.operations[0].operation.reason.to_string();
    assert!(reason.contains("uid=new,"), "{reason}");
}

#[test]
fn the_deletion_of_a_namesake_who_left_long_ago_goes_on_whatever_a_pull_misses() {
    let old = in_state(
        "a",
        pending("2026-06-10T00:00:00Z"),
        Some("2026-03-01T00:00:00Z"),
    );
    let new = with_mail(person("new"), "a@example.org");
    let mut world = made_anew(old, new);
    world.policy.rehire_within = TimeDelta::days(30);
    world.clean = Err("cut off".into());
    assert_eq!(brief(&world.planned()), [""; 0]);
    assert!(!refusal(&world.planned(), "new").is_empty());
    // Who left only now may be the one who is back.
    world.policy.rehire_within = TimeDelta::days(365);
    expect_cancelled(&world.planned(), &[]);
}

#[test]
fn the_deletion_of_a_namesake_who_left_long_ago_goes_on_by_the_time_of_the_api() {
    let old = in_state(
        "a",
        pending("2026-06-10T00:00:00Z"),
        Some("2026-03-01T00:00:00Z"),
    );
    let mut world = made_anew(old, with_mail(person("new"), "a@example.org"));
    world.policy.rehire_within = TimeDelta::days(30);
    world.api_time = Some(world.now + TimeDelta::days(1));
    assert_eq!(brief(&world.planned()), [""; 0]);
    world.policy.rehire_within = TimeDelta::days(365);
    expect_cancelled(&world.planned(), &[]);
}

#[test]
fn a_second_entry_without_a_login_is_no_rival_of_who_comes_back() {
    let off = DesiredAccount {
        active: false,
        ..with_number(person("off"), "7")
    };
    let mut world = made_anew(numbered("7"), with_number(person("new"), "7"));
    world.people.push(off);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update new"]);
    assert!(why_skipped(&plan, "off").contains("a second entry of"));
    world.apply(&plan);
    let plan = world.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(plan.refusals, []);
}

#[test]
fn who_had_an_account_once_and_is_disabled_may_have_another_one_from_before() {
    for lifecycle in [
        Lifecycle::Deleted {
            since: at("2026-01-01T00:00:00Z"),
        },
        pending("2026-01-01T00:00:00Z"),
    ] {
        let back = DesiredAccount {
            active: false,
            ..with_number(person("new"), "7")
        };
        let mut world = made_anew(being_deleted(), back);
        let mut tombstone = in_state("new", lifecycle, None);
        tombstone.profile = crate::model::Profile::default();
        world.accounts.push(tombstone);
        expect_cancelled(&world.planned(), &[]);
    }
}

#[test]
fn an_account_with_the_person_s_key_is_adopted_whoever_contests_its_address() {
    let owner = with_mail(person("a"), "other@example.org");
    let claims = |name: &str| with_mail(person(name), "a@example.org");
    let mut world = World::new(vec![owner, claims("x"), claims("y")], vec![]);
    world.existing = vec![existing("a", Some("key-a"))];
    assert_eq!(brief(&world.planned()), ["adopt a"]);
}

#[test]
fn a_number_that_others_have_identifies_nobody_while_a_pull_is_cut_off_either() {
    let mut other = account("b");
    other.profile.set(Attribute::EmployeeNumber, "7");
    let mut world = made_anew(being_deleted(), with_number(person("new"), "7"));
    world.accounts.push(other.clone());
    world.people.push(with_number(person("b"), "7"));
    assert_eq!(brief(&world.planned()), ["create new"]);
    world.people.pop();
    world.clean = Err("cut off".into());
    assert_eq!(brief(&world.planned()), [""; 0]);
    assert!(refusal(&world.planned(), "new").contains("uid=b,"));
}

/// The person of `a` has a second entry, of another address, in the state that is named.
fn second_entry(state: &str) -> DesiredAccount {
    DesiredAccount {
        active: state != "disabled",
        ..with_number(person("second"), "7")
    }
}

#[test]
fn a_second_entry_of_a_person_takes_no_account_from_the_first_one() {
    let left = |mut account: ManagedAccount| {
        account.lifecycle = DEACTIVATED;
        account.absence = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z")).absence;
        account
    };
    // What is done for whom when the first entry leaves, has left and is back under a new key, or is made anew.
    for (first, second, does) in [
        ("leaves", "disabled", &["deactivate a"][..]),
        ("leaves", "enabled", &["update second"]),
        ("leaves", "with an account", &["deactivate a"]),
        ("is back", "disabled", &["restore new"]),
        // Which of them is the person nobody knows.
        ("is back", "enabled", &[]),
        // The number is that of two, and so nobody's.
        ("is back", "with an account", &["create new"]),
        ("is made anew", "disabled", &["update new"]),
        ("is made anew", "enabled", &["deactivate a"]),
        (
            "is made anew",
            "with an account",
            &["deactivate a", "create new"],
        ),
        ("is made anew with the address", "disabled", &["update new"]),
        (
            "is made anew with the address",
            "enabled",
            &["deactivate a"],
        ),
        (
            "is made anew with the address",
            "with an account",
            &["update new"],
        ),
        ("is made anew, disabled", "disabled", &["deactivate new"]),
        ("is made anew, disabled", "enabled", &["update second"]),
        (
            "is made anew, disabled",
            "with an account",
            &["deactivate new"],
        ),
    ] {
        let name = format!("the first {first}, the second {second}");
        let mail = match first {
            "is made anew with the address" | "is made anew, disabled" => "a@example.org",
            _ => "new@example.org",
        };
        let mut people = vec![second_entry(second), person("z")];
        if first != "leaves" {
            people.push(DesiredAccount {
                active: first != "is made anew, disabled",
                ..with_number(with_mail(person("new"), mail), "7")
            });
        }
        let old = match first {
            "is back" => left(numbered("7")),
            _ => numbered("7"),
        };
        let mut world = World::new(people, vec![old, account("z")]);
        if second == "with an account" {
            let mut own = account("second");
            own.profile.set(Attribute::EmployeeNumber, "7");
            world.accounts.push(own);
        }
        let plan = world.planned();
        assert_eq!(brief(&plan), does, "{name}");
        let gains = |planned: &Planned| {
            planned.operation.key == key("second") && planned.operation.active == (false, true)
        };
        assert!(!plan.operations.iter().any(gains), "{name}");
        // Nobody is deleted while it may be somebody's account.
        world.apply(&plan);
        world.policy.delete_after = Some(TimeDelta::days(1));
        world.now += TimeDelta::days(100);
        let deleted: Vec<String> = match (first, second) {
            // It is neither the second's, who has one, nor the new one's.
            ("leaves" | "is back" | "is made anew", "with an account") => vec!["delete a".into()],
            _ => Vec::new(),
        };
        assert_eq!(brief(&world.planned()), deleted, "{name}");
    }
}

#[test]
fn an_account_waits_for_its_owner_whatever_a_second_entry_does_meanwhile() {
    let first = with_number(person("a"), "7");
    let people = vec![first.clone(), second_entry("disabled"), person("z")];
    let mut world = World::new(people, vec![numbered("7"), account("z")]);
    world.policy.delete_after = Some(TimeDelta::days(30));
    assert_eq!(brief(&world.planned()), [""; 0]);
    world.people.remove(0);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["deactivate a"]);
    assert!(why_skipped(&plan, "second").contains("a second entry of"));
    world.apply(&plan);
    world.now += TimeDelta::days(100);
    let plan = world.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert!(why_skipped(&plan, "a").contains("uid=second,"));
    world.apply(&plan);
    // The owner is back; or the second entry is all that the person has from now on; or gone as well.
    world.people.push(first);
    assert_eq!(brief(&world.planned()), ["restore a"]);
    world.people.pop();
    world.people[0].active = true;
    assert_eq!(brief(&world.planned()), ["restore second"]);
    world.people.remove(0);
    assert_eq!(brief(&world.planned()), ["delete a"]);
}

#[test]
fn a_number_of_several_newcomers_gives_nobody_the_account_of_a_leaver_nor_a_new_one() {
    // It may be one person who has two entries by now, whose account is kept until that is settled.
    let newcomers = || {
        vec![
            with_number(person("new"), "0"),
            with_number(person("other"), "0"),
        ]
    };
    let mut world = World::new(newcomers(), vec![numbered("0"), account("z")]);
    world.people.push(person("z"));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["deactivate a"]);
    let told = refusal(&plan, "new");
    assert!(told.contains("a number that identifies nobody"), "{told}");
    // Whoever has one that is not theirs is created once it is corrected, or nobody has it by the mapping.
    let mut corrected = World::new(newcomers(), vec![numbered("0"), account("z")]);
    corrected.people.push(person("z"));
    for person in &mut corrected.people {
        person.profile.set(Attribute::EmployeeNumber, "");
    }
    assert_eq!(
        brief(&corrected.planned()),
        ["deactivate a", "create new", "create other"]
    );
    // And at once where somebody who is there has it too.
    world.accounts.push(ManagedAccount {
        profile: {
            let mut profile = account("y").profile;
            profile.set(Attribute::EmployeeNumber, "0");
            profile
        },
        ..account("y")
    });
    world.people.push(with_number(person("y"), "0"));
    assert_eq!(
        brief(&world.planned()),
        ["deactivate a", "create new", "create other"]
    );
}
