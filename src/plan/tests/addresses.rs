//! People who exchange their addresses.

use std::collections::HashMap;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::super::fixture::*;
use super::super::{Holder, Plan, RefusalReason};
use super::DEACTIVATED;
use super::properties::odd_world;
use crate::config::{Adopt, Guard, Limit};
use crate::model::{Attribute, DesiredAccount, Lifecycle, ManagedAccount, Profile, Reason, ScimId};

/// Each person has the address of the next one.
fn round(names: &[&str]) -> World {
    let people = names.iter().enumerate().map(|(at, name)| {
        let next = names[(at + 1) % names.len()];
        with_mail(person(name), &format!("{next}@example.org"))
    });
    World::new(
        people.collect(),
        names.iter().map(|name| account(name)).collect(),
    )
}

/// Who makes way, by name.
fn ways(plan: &Plan) -> Vec<&str> {
    let operations = plan.operations.iter().map(|planned| &planned.operation);
    operations
        .filter(|operation| operation.reason == Reason::MakesWay)
        .map(|operation| operation.key.as_str().trim_start_matches("key-"))
        .collect()
}

/// Who is refused an address, and why: others claim it, an account keeps it, or it goes round in a
/// circle.
fn refused(plan: &Plan) -> Vec<(&str, &str)> {
    let refusals = plan.refusals.iter().map(|refusal| {
        let key = refusal.key.as_ref().map_or("", |key| key.as_str());
        let why = match refusal.why {
            RefusalReason::Contested { .. } => "contested",
            RefusalReason::AddressTaken { .. } => "taken",
            RefusalReason::AddressCycle { .. } => "circle",
            _ => "",
        };
        (key.trim_start_matches("key-"), why)
    });
    refusals.collect()
}

fn numbered_account(name: &str, number: &str) -> ManagedAccount {
    let mut account = account(name);
    account.profile.set(Attribute::EmployeeNumber, number);
    account
}

fn with_number(person: DesiredAccount, number: &str) -> DesiredAccount {
    with(person, Attribute::EmployeeNumber, number)
}

#[test]
fn an_address_that_several_claim_stays_with_whose_it_is() {
    let deleted = Lifecycle::Deleted {
        since: at("2026-05-01T00:00:00Z"),
    };
    let heir = with_mail(person("heir"), "A@example.org");
    let head = with(person("a"), Attribute::Title, "Head");
    for (people, owner, does, refusals) in [
        (vec![person("a")], account("a"), vec![], vec!["heir"]),
        (vec![head], account("a"), vec!["update a"], vec!["heir"]),
        // Both are newcomers: the address is nobody's.
        (
            vec![person("a")],
            in_state("a", deleted, None),
            vec![],
            vec!["a", "heir"],
        ),
        (
            vec![],
            in_state("a", deleted, Some("2026-03-01T00:00:00Z")),
            vec!["create heir"],
            vec![],
        ),
    ] {
        let people = people.into_iter().chain([heir.clone()]).collect();
        let plan = World::new(people, vec![owner]).planned();
        assert_eq!(brief(&plan), does);
        let refusals: Vec<_> = refusals.iter().map(|name| (*name, "contested")).collect();
        assert_eq!(refused(&plan), refusals, "{does:?}");
    }
}

#[test]
fn a_circle_of_any_length_is_opened_by_one_temporary_address() {
    let names = ["a", "b", "c", "d", "e"];
    for length in 2..=names.len() {
        let mut world = round(&names[..length]);
        let plan = world.planned();
        assert_eq!(plan.refusals, []);
        assert_eq!(ways(&plan), ["a"]);
        assert_eq!(plan.operations.len(), length + 1);
        let first = &plan.operations[0].operation;
        assert_eq!(first.reason, Reason::MakesWay);
        let between = first.after.get(Attribute::Email).unwrap();
        assert!(
            between.starts_with("a+dirsyncd-") && between.ends_with("@example.org"),
            "{between}"
        );
        // Only this is told of the first step.
        let told: Vec<_> = first
            .changes
            .iter()
            .map(|change| (change.attribute.as_str(), change.new.as_deref()))
            .collect();
        assert_eq!(
            told,
            [("userName", Some(between)), ("email", Some(between))]
        );
        let last = &plan.operations[length].operation;
        assert_eq!(last.key, first.key);
        assert_eq!(last.before, first.after);
        world.apply(&plan);
        assert_eq!(brief(&world.planned()), Vec::<String>::new());
    }
}

#[test]
fn two_circles_are_opened_each_by_itself_and_a_chain_needs_no_temporary_address() {
    let mut world = round(&["a", "b"]);
    let other = round(&["c", "d", "e"]);
    world.people.extend(other.people);
    world.accounts.extend(other.accounts);
    world
        .people
        .push(with_mail(person("f"), "free@example.org"));
    world.accounts.push(account("f"));
    world.people.push(with_mail(person("g"), "f@example.org"));
    world.accounts.push(account("g"));
    let plan = world.planned();
    assert_eq!(ways(&plan), ["a", "c"]);
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn whoever_waits_for_a_circle_follows_it() {
    let mut world = round(&["a", "b"]);
    world.people.retain(|person| person.key != key("b"));
    // b takes a's address, a takes b's, and the newcomer what c frees, who takes nothing of them.
    world.people.push(with_mail(person("b"), "a@example.org"));
    world.people.push(with_mail(person("c"), "x@example.org"));
    world.accounts.push(account("c"));
    world.people.push(with_mail(person("new"), "c@example.org"));
    let plan = world.planned();
    assert_eq!(plan.refusals, []);
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn nobody_outside_a_circle_makes_way() {
    let mut world = round(&["b", "c"]);
    // b gives up the user name as well, and a takes it.
    for (person, user_name) in world.people.iter_mut().zip(["free", "c"]) {
        let user_name = format!("{user_name}@example.org");
        person.profile.set(Attribute::UserName, user_name);
    }
    let waiting = with(person("a"), Attribute::UserName, "b@example.org");
    world.people.push(waiting);
    world.accounts.push(account("a"));
    let plan = world.planned();
    assert_eq!(refused(&plan), []);
    assert_eq!(ways(&plan), ["b"]);
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn only_whose_account_merely_changes_makes_way() {
    let takes_b = with_mail(person("a"), "b@example.org");
    let swap = |a: DesiredAccount, others: Vec<ManagedAccount>, freed: &str| {
        let b = with_mail(person("b"), &format!("{freed}@example.org"));
        World::new(
            vec![a, b],
            others.into_iter().chain([account("b")]).collect(),
        )
    };
    // Whose account is adopted, or is that of an entry made anew.
    let mut adopting = swap(takes_b.clone(), vec![], "x");
    adopting.existing = vec![existing("x", Some("key-a"))];
    let rehired = with_number(takes_b, "7");
    let rehiring = swap(rehired, vec![numbered_account("old", "7")], "old");
    for (mut world, kind) in [(adopting, "adopt"), (rehiring, "update")] {
        let plan = world.planned();
        assert_eq!(
            brief(&plan),
            ["update b", &format!("{kind} a"), "update b"],
            "{:?}",
            plan.refusals
        );
        assert_eq!(ways(&plan), ["b"], "{kind}");
        world.apply(&plan);
        assert_eq!(brief(&world.planned()), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn a_circle_in_which_nobody_can_make_way_is_refused_and_each_is_told_for_whom_to_wait() {
    // The entries of all of them were made anew.
    let names = ["a", "b", "c"];
    let people = names.iter().enumerate().map(|(at, name)| {
        let next = names[(at + 1) % names.len()];
        let person = with_mail(person(name), &format!("old-{next}@example.org"));
        with_number(person, name)
    });
    let accounts = names.map(|name| numbered_account(&format!("old-{name}"), name));
    let plan = World::new(people.collect(), accounts.into()).planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    for (refusal, next) in plan.refusals.iter().zip(["b", "c", "a"]) {
        let others = person(next).dn;
        assert_eq!(refusal.why, RefusalReason::AddressCycle { others });
    }
    assert_eq!(plan.refusals.len(), 3);
}

#[test]
fn a_temporary_address_that_somebody_has_is_freed_first() {
    let plan = round(&["a", "b"]).planned();
    let between = plan.operations[0].operation.after.get(Attribute::Email);
    let between = between.unwrap();
    let mut world = World::new(
        vec![
            with_mail(person("a"), between),
            with_mail(person("b"), "a@example.org"),
        ],
        vec![account("a"), account("b")],
    );
    for attribute in [Attribute::UserName, Attribute::Email] {
        world.accounts[1].profile.set(attribute, between);
    }
    let plan = world.planned();
    assert_eq!(refused(&plan), []);
    assert_eq!(ways(&plan), ["b", "a"]);
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn nobody_s_address_is_recycled_for_who_gets_no_account() {
    let old = ManagedAccount {
        profile: numbered_account("a", "7").profile,
        ..in_state("a", DEACTIVATED, Some("2026-01-01T00:00:00Z"))
    };
    let heir = with_number(with_mail(person("heir"), "a@example.org"), "8");
    let head = with(person("z"), Attribute::Title, "Head");
    let mut world = World::new(vec![heir, head], vec![old, account("z")]);
    world.policy.recycle_after = Some(TimeDelta::days(3));
    assert_eq!(
        brief(&world.planned()),
        ["update a", "create heir", "update z"]
    );
    world.answers.max_users = Some(0);
    world.answers.users = Some(0);
    assert_eq!(brief(&world.planned()), ["update z"]);
}

#[test]
fn an_address_that_an_account_of_the_organization_keeps_is_not_free() {
    let takes_x = with_mail(person("b"), "x@example.org");
    let world = |a: DesiredAccount| {
        let mut world = World::new(vec![a, takes_x.clone()], vec![account("b")]);
        world.existing = vec![existing("x", Some("key-a"))];
        world
    };
    // Whose account it is, gets another address.
    let mut moves_on = world(person("a"));
    let plan = moves_on.planned();
    assert_eq!(brief(&plan), ["adopt a", "update b"]);
    moves_on.apply(&plan);
    assert_eq!(brief(&moves_on.planned()), Vec::<String>::new());
    // Or keeps it, as whoever is disabled gets no other one.
    let plan = world(disabled("a")).planned();
    assert_eq!(brief(&plan), ["adopt a"]);
    assert_eq!(refused(&plan), [("b", "taken")]);
    // Or nobody may have the account.
    let mut kept = world(person("a"));
    kept.policy.adopt = Adopt::Off;
    let plan = kept.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(refused(&plan), [("a", ""), ("b", "taken")]);
    assert!(plan.refusals[1].why.to_string().contains("SCIM id scim-x"));
}

#[test]
fn a_swap_between_an_active_and_a_returning_person_goes_as_well() {
    let mut world = round(&["a", "b"]);
    world.accounts[0] = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update a", "update b", "restore a"]);
    // To make way turns no login on.
    assert_eq!(plan.operations[0].operation.active, (false, false));
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn a_circle_with_somebody_who_cannot_change_is_left_as_it_is() {
    let mut world = round(&["a", "b", "c"]);
    // c's new address is a stranger's.
    world.people[2] = with_mail(person("c"), "taken@example.org");
    world.accounts.push(in_state("taken", DEACTIVATED, None));
    world.people.push(disabled("taken"));
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(plan.refusals.len(), 3);
}

#[test]
fn a_temporary_address_is_not_longer_than_an_address_may_be() {
    let long = format!("{}@example.org", "x".repeat(64));
    let mut world = World::new(
        vec![
            with_mail(person("a"), "b@example.org"),
            with_mail(person("b"), &long),
        ],
        vec![account("a"), account("b")],
    );
    for attribute in [Attribute::UserName, Attribute::Email] {
        world.accounts[0].profile.set(attribute, long.clone());
    }
    let plan = world.planned();
    let between = plan.operations[0].operation.after.get(Attribute::Email);
    let (local, _) = between.unwrap().split_once('@').unwrap();
    assert_eq!(local.len(), 64);
    assert!(local.contains("xxx+dirsyncd-"), "{local}");
}

#[test]
fn a_circle_is_held_as_a_whole() {
    for protected in ["a", "b", "c"] {
        let mut world = round(&["a", "b", "c"]);
        world.people.push(person("z"));
        world.guards.protected = [format!("{protected}@example.org")].into();
        let plan = world.planned();
        assert_eq!(
            brief(&plan),
            [
                "!update a",
                "!update c",
                "!update b",
                "!update a",
                "create z"
            ],
            "{protected}"
        );
        world.approve("protected", |_| true);
        assert_eq!(world.planned().held(), 0, "{protected}");
    }
}

#[test]
fn whoever_makes_way_is_one_change_of_an_address_not_two() {
    let mut world = round(&["a", "b"]);
    let at_most = |at_most| Limit {
        at_most: Some(at_most),
        ..Limit::default()
    };
    world.limit(Guard::ChangeEmail, at_most(2));
    assert_eq!(world.planned().held(), 0);
    world.limit(Guard::ChangeEmail, at_most(1));
    assert_eq!(world.planned().held(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_operation_begins_with_the_values_that_the_account_has_then(
        mut world in odd_world(),
        names in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d", "e", "f"]), 8),
    ) {
        for (person, name) in world.people.iter_mut().zip(names) {
            person.profile.set(Attribute::UserName, format!("{name}@x.org"));
        }
        let accounts = world.accounts.iter();
        let mut now: HashMap<ScimId, Profile> = accounts
            .map(|account| (account.scim_id.clone(), account.profile.clone()))
            .collect();
        for planned in &world.planned().operations {
            let operation = &planned.operation;
            if let Some(target) = &operation.target {
                let before = now.insert(target.scim_id.clone(), operation.after.clone());
                prop_assert_eq!(before.as_ref(), Some(&operation.before), "{}", operation.dn);
            }
        }
    }
}

#[test]
fn an_account_whose_grace_is_over_keeps_its_address_only_where_it_is_still_there() {
    let world = |people: Vec<DesiredAccount>| {
        let mut expired = in_state(
            "a",
            Lifecycle::DeletePending {
                since: at("2026-05-01T00:00:00Z"),
            },
            Some("2026-04-01T00:00:00Z"),
        );
        expired.profile.set(Attribute::EmployeeNumber, "7");
        let mut world = World::new(people, vec![expired, account("b")]);
        if !world
            .people
            .iter()
            .any(|person| person.key.as_str() == "key-b")
        {
            world.people.push(person("b"));
        }
        world
    };
    let heir = with_number(with_mail(person("heir"), "A@example.org"), "8");
    let heirs = [
        (heir.clone(), "create heir"),
        (with_mail(person("b"), "a@example.org"), "update b"),
    ];
    for (person, does) in &heirs {
        assert_eq!(brief(&world(vec![person.clone()]).planned()), [*does]);
        // No time is over by a clock that is not trusted, nor is known what becomes of a deletion in doubt.
        let mut early = world(vec![person.clone()]);
        early.api_time = Some(early.now - TimeDelta::days(60));
        let mut doubtful = world(vec![person.clone()]);
        doubtful.doubtful = vec!["a"];
        for world in [early, doubtful] {
            assert_eq!(brief(&world.planned()), [""; 0]);
            assert_eq!(world.planned().refusals.len(), 1, "{does}");
        }
    }
    // The organization has it still.
    for key in [Some("key-a"), None] {
        let mut there = world(vec![heir.clone()]);
        there.existing = vec![existing("a", key)];
        let plan = there.planned();
        assert_eq!(brief(&plan), [""; 0], "{key:?}");
        assert_eq!(refused(&plan), [("heir", "taken")], "{key:?}");
    }
    let mut there = world(vec![heirs[1].0.clone()]);
    let holder = Holder {
        account: account("a").account_id.unwrap(),
        name: "a".to_owned(),
        active: false,
        owner: None,
    };
    there.answers.holders = [("a@example.org".to_owned(), holder)].into();
    let plan = there.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(refused(&plan), [("b", "taken")]);
    // Whoever is back has it no more than another newcomer.
    let back = world(vec![person("a"), heir]);
    let plan = back.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(refused(&plan), [("a", "contested"), ("heir", "contested")]);
    // And is asked for the domain like one.
    let mut elsewhere = world(vec![person("a")]);
    assert_eq!(brief(&elsewhere.planned()), ["create a"]);
    elsewhere.verified_domains = Some(vec!["elsewhere.org"]);
    let plan = elsewhere.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(plan.skipped.len(), 1);
}
