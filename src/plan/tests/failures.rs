//! What was refused before: put off, in quarantine, and tried again.

use std::collections::{BTreeSet, HashMap};

use chrono::TimeDelta;
use proptest::prelude::*;

use super::super::fixture::*;
use super::super::*;
use super::groups::Groups;
use super::properties::odd_world;
use super::{pending, refusal};
use crate::model::{Attribute, Digest, ExternalId, Reason};

/// What is planned for these people was refused so often, the last time so long ago.
fn refused(world: &mut World, names: &[&str], count: u32, ago: TimeDelta) {
    let plan = world.planned();
    for name in names {
        let mut planned = plan.operations.iter().map(|planned| &planned.operation);
        let operation = planned.find(|one| one.key == key(name)).unwrap();
        let failed = Failed {
            digest: operation.digest(),
            count,
            in_vain: 0,
            error: "409: taken".into(),
            first: at("2026-06-01T00:00:00Z"),
            last: now() - ago,
        };
        world.failures.people.insert(key(name), failed);
    }
}

fn skipped(plan: &Plan, name: &str) -> Option<SkipReason> {
    let mut skipped = plan.skipped.iter();
    skipped
        .find(|skipped| skipped.key == Some(key(name)))
        .map(|skipped| skipped.why.clone())
}

/// Somebody with another title, and somebody else.
fn promoted() -> World {
    World::new(
        vec![
            with(person("a"), Attribute::Title, "Head"),
            with(person("z"), Attribute::Title, "Head"),
        ],
        vec![account("a"), account("z")],
    )
}

fn leaving() -> World {
    World::new(vec![person("z")], vec![account("a"), account("z")])
}

#[test]
fn it_is_waited_twice_as_long_each_time_and_a_login_is_never_left_on_for_long() {
    let day = 24 * 60;
    for (world, kind, waits) in [
        (
            promoted as fn() -> World,
            "update",
            [
                (1, 10),
                (2, 20),
                (3, 40),
                (4, 80),
                (8, 1280),
                (9, day),
                (99, day),
            ],
        ),
        (
            leaving,
            "deactivate",
            [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (9, 10), (99, 10)],
        ),
    ] {
        for (count, minutes) in waits {
            let mut world = world();
            world.failures.quarantine_after = 100;
            let wait = TimeDelta::minutes(minutes);
            refused(&mut world, &["a"], count, wait - TimeDelta::milliseconds(1));
            let plan = world.planned();
            assert!(!brief(&plan).contains(&format!("{kind} a")), "{count}");
            let Some(SkipReason::Failing(failing)) = skipped(&plan, "a") else {
                panic!("{count}: {:?}", plan.skipped)
            };
            assert_eq!(failing.until, Some(now() + TimeDelta::milliseconds(1)));
            assert_eq!((failing.kind, failing.count), (kind, count));
            let failed = world.failures.people.get_mut(&key("a")).unwrap();
            failed.last = now() - wait;
            let plan = world.planned();
            assert!(brief(&plan).contains(&format!("{kind} a")), "{count}");
            assert_eq!(plan.skipped, []);
        }
    }
}

#[test]
fn after_so_many_refusals_it_is_refused_loudly_until_something_else_is_wanted() {
    let mut world = promoted();
    refused(&mut world, &["a"], 2, TimeDelta::minutes(1));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update z"]);
    assert!(!plan.needs_attention());

    refused_again(&mut world, 3);
    for years in [0, 1] {
        world.now = now() + TimeDelta::days(years * 365);
        let plan = world.planned();
        assert_eq!(brief(&plan), ["update z"]);
        assert!(plan.needs_attention());
        let why = refusal(&plan, "a");
        for words in [
            "in quarantine: the update failed 3 times in a row, last at 2026-06-15 11:59 UTC (409: taken)",
            "`quarantine_after` in [apply]",
            "dirsyncd retry key-a",
        ] {
            assert!(why.contains(words), "{why}");
        }
        assert_eq!(plan.over_failures, []);
    }
    // A larger figure lets it go again, and so does another title.
    world.failures.quarantine_after = 4;
    assert_eq!(brief(&world.planned()), ["update z", "update a"]);
    world.failures.quarantine_after = 3;
    world.people[0] = with(person("a"), Attribute::Title, "Dean");
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update a", "update z"]);
    assert_eq!(plan.over_failures, [key("a")]);
    // And who is to lose the login loses it.
    world.people[0] = disabled("a");
    assert_eq!(brief(&world.planned()), ["deactivate a", "update z"]);
}

fn refused_again(world: &mut World, count: u32) {
    for failed in world.failures.people.values_mut() {
        failed.count = count;
    }
}

#[test]
fn a_deactivation_is_never_given_up_and_told_loudly_in_time() {
    let mut world = leaving();
    refused(&mut world, &["a"], 2, TimeDelta::seconds(1));
    assert!(!world.planned().needs_attention());
    for count in [3, 1000] {
        refused_again(&mut world, count);
        let plan = world.planned();
        assert_eq!(plan.refusals, []);
        assert!(plan.needs_attention());
        world.now = now() + TimeDelta::minutes(10);
        assert_eq!(brief(&world.planned()), ["deactivate a"]);
        world.now = now();
    }
    // A deletion can be cancelled for a time only.
    let mut back = World::new(vec![person("a")], vec![account("a")]);
    back.accounts[0] = in_state("a", pending("2026-06-10T00:00:00Z"), None);
    refused(&mut back, &["a"], 99, TimeDelta::minutes(10));
    assert_eq!(brief(&back.planned()), ["restore a"]);
    // To delete for good is no such matter.
    let long_ago = "2026-01-01T00:00:00Z";
    let off = crate::model::Lifecycle::Deactivated {
        since: at(long_ago),
    };
    world.accounts[0] = in_state("a", off, Some(long_ago));
    world.policy.delete_after = Some(TimeDelta::days(30));
    world.failures.people.clear();
    refused(&mut world, &["a"], 3, TimeDelta::days(9));
    assert!(refusal(&world.planned(), "a").contains("the delete failed 3 times"));
}

#[test]
fn while_the_clock_is_behind_the_last_try_nothing_waits() {
    let mut world = promoted();
    refused(&mut world, &["a"], 2, TimeDelta::minutes(1));
    world.now = now() - TimeDelta::minutes(2);
    assert_eq!(brief(&world.planned()), ["update z", "update a"]);
}

/// Each has the address of the one before, and a new person the last one's.
fn chain() -> World {
    World::new(
        vec![
            with_mail(person("a"), "free@example.org"),
            with_mail(person("b"), "a@example.org"),
            with_mail(person("new"), "b@example.org"),
            with_mail(person("z"), "y@example.org"),
        ],
        vec![account("a"), account("b"), account("z")],
    )
}

#[test]
fn whoever_waits_for_an_address_waits_as_well() {
    let mut world = chain();
    refused(&mut world, &["a"], 1, TimeDelta::zero());
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update z"]);
    assert_eq!(plan.refusals, []);
    assert!(!plan.needs_attention());
    for (name, freer, kind) in [("b", "a", Kind::Update), ("new", "b", Kind::Create)] {
        let freer = person(freer).dn;
        assert_eq!(
            skipped(&plan, name),
            Some(SkipReason::Behind { kind, freer })
        );
    }
}

#[test]
fn what_is_in_quarantine_frees_no_address() {
    let mut world = chain();
    refused(&mut world, &["a"], 3, TimeDelta::days(9));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update z"]);
    assert_eq!(plan.skipped, []);
    assert!(refusal(&plan, "b").contains("email a@example.org belongs to another account"));
    assert!(refusal(&plan, "new").contains("email b@example.org belongs to another account"));
}

#[test]
fn a_circle_goes_as_a_whole_or_not_at_all() {
    let circle = || {
        World::new(
            vec![
                with_mail(person("a"), "b@example.org"),
                with_mail(person("b"), "c@example.org"),
                with_mail(person("c"), "a@example.org"),
                with(person("z"), Attribute::Title, "Head"),
            ],
            ["a", "b", "c", "z"].map(account).to_vec(),
        )
    };
    // Of a it is the temporary address that was refused.
    for name in ["a", "b", "c"] {
        for (count, is_refused) in [(1, false), (3, true)] {
            let mut world = circle();
            refused(&mut world, &[name], count, TimeDelta::zero());
            let plan = world.planned();
            assert_eq!(brief(&plan), ["update z"], "{name} {count}");
            let told = match is_refused {
                true => plan.refusals.len(),
                false => plan.skipped.len(),
            };
            assert_eq!(told, 3, "{name} {count}");
        }
    }
}

#[test]
fn a_refusal_is_over_when_it_is_known_that_the_directory_wants_something_else() {
    let mut world = promoted();
    refused(&mut world, &["a"], 2, TimeDelta::zero());
    world.people[0] = person("a");
    assert_eq!(world.planned().over_failures, [key("a")]);
    world.clean = Err("cut off".into());
    assert_eq!(world.planned().over_failures, []);
    world.clean = Ok(());
    world.people.remove(0);
    world.unmapped = vec![unmapped("a", true)];
    assert_eq!(world.planned().over_failures, []);
}

#[test]
fn a_plan_for_one_person_is_no_word_on_the_others() {
    let mut world = promoted();
    refused(&mut world, &["a", "z"], 2, TimeDelta::zero());
    world.people = vec![person("a"), person("z")];
    let mut plan = world.planned();
    assert_eq!(plan.over_failures, [key("a"), key("z")]);
    one_person(&mut plan, &key("z"), &HeldForAll::new(), &[]);
    assert_eq!(plan.over_failures, [key("z")]);
}

#[test]
fn groups_are_put_off_and_refused_in_the_same_way() {
    let mut world = Groups::new();
    world.find("dev", "dev", &["a"]);
    world.find("ops", "ops", &["a"]);
    let plan = world.plan();
    let digest = plan.operations[0].operation.digest();
    assert_eq!(plan.operations[0].operation.key, key("dev"));
    let failed = |count, digest: Digest, ago| Failed {
        digest,
        count,
        in_vain: 0,
        error: "taken".into(),
        first: now(),
        last: now() - ago,
    };
    let set_aside = |failed: Failed| {
        let failures = Failures {
            groups: HashMap::from([(key("dev"), failed)]),
            quarantine_after: 3,
            ..Failures::default()
        };
        let mut plan = world.plan();
        let before = plan.notices.len();
        plan.set_aside(&failures, now());
        let names: Vec<String> = plan
            .operations
            .iter()
            .map(|one| one.operation.name.clone())
            .collect();
        (
            names,
            plan.notices.len() - before,
            plan.refusals.clone(),
            plan.over_failures,
        )
    };
    let both = vec!["dev".to_owned(), "ops".to_owned()];
    let ops = vec!["ops".to_owned()];
    let minute = TimeDelta::minutes(1);
    assert_eq!(
        set_aside(failed(1, digest, minute)),
        (ops.clone(), 1, vec![], vec![])
    );
    assert_eq!(
        set_aside(failed(1, digest, minute * 10)),
        // What is tried again comes after its like.
        (vec!["ops".to_owned(), "dev".to_owned()], 0, vec![], vec![])
    );
    let (names, notices, refusals, over) = set_aside(failed(3, digest, minute * 9999));
    assert_eq!((names, notices, over), (ops, 0, vec![]));
    assert!(
        refusals[0].why.contains("dirsyncd retry key-dev"),
        "{refusals:?}"
    );
    let other = Digest([0; 16]);
    assert_eq!(
        set_aside(failed(3, other, minute)),
        (both, 0, vec![], vec![key("dev")])
    );
}

#[test]
fn since_when_a_deactivation_is_pending_is_kept_until_it_is_not_wished() {
    let mut world = leaving();
    let since = |plan: &Plan| plan.pending.iter().map(|one| one.since).collect::<Vec<_>>();
    assert_eq!(since(&world.planned()), [None]);
    assert_eq!(world.planned().oldest_pending(), None);
    let earlier = PendingDeactivation {
        key: key("a"),
        dn: person("a").dn,
        since: Some(at("2026-06-10T00:00:00Z")),
    };
    world.pending.insert(key("a"), earlier.clone());
    // Planned, held, put off, or not known for now: it is pending.
    let mut held = leaving();
    held.pending = world.pending.clone();
    held.limit(crate::config::Guard::Deactivate, at_most(0));
    let mut put_off = leaving();
    put_off.pending = world.pending.clone();
    refused(&mut put_off, &["a"], 9, TimeDelta::zero());
    let mut unknown = leaving();
    unknown.pending = world.pending.clone();
    unknown.clean = Err("cut off".into());
    let mut odd = leaving();
    odd.pending = world.pending.clone();
    odd.unmapped = vec![unmapped("a", true)];
    for world in [&world, &held, &put_off, &unknown, &odd] {
        let plan = world.planned();
        assert_eq!(plan.oldest_pending(), Some((1, &earlier)));
        assert_eq!(plan.over_pending, []);
    }
    world.people.push(person("a"));
    let plan = world.planned();
    assert_eq!(plan.pending, []);
    assert_eq!(plan.over_pending, [key("a")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_planned_in_spite_of_refusals_needs_nothing_that_is_not(
        mut world in odd_world(),
        counts in prop::collection::vec(0..5_u32, 8),
        minutes in 0..60_i64,
    ) {
        let before = world.planned();
        for (planned, count) in before.operations.iter().zip(counts) {
            let operation = &planned.operation;
            let failed = Failed {
                digest: operation.digest(),
                count: count.max(1),
                in_vain: 0,
                error: "no".into(),
                first: now(),
                last: now() - TimeDelta::minutes(minutes),
            };
            if count > 0 {
                world.failures.people.insert(operation.key.clone(), failed);
            }
        }
        let plan = world.planned();
        let mut seen: BTreeSet<ExternalId> = BTreeSet::new();
        for planned in &plan.operations {
            let operation = &planned.operation;
            prop_assert!(world.failures.of(operation, now()).is_none(), "{:?}", operation);
            for freer in &operation.waits_for {
                prop_assert!(seen.contains(freer), "{} is before {}", operation.dn, freer);
            }
            seen.insert(operation.key.clone());
        }
        // Nobody makes way in vain, and whoever is to lose the login is not given up.
        for planned in &plan.operations {
            let operation = &planned.operation;
            if operation.reason == Reason::MakesWay {
                let ends = |other: &&Planned| {
                    other.operation.key == operation.key && other.operation.reason != Reason::MakesWay
                };
                prop_assert!(plan.operations.iter().find(ends).is_some());
            }
        }
        for refusal in &plan.refusals {
            let off = before.operations.iter().find(|planned| {
                Some(&planned.operation.key) == refusal.key.as_ref() && planned.operation.turns_login_off()
            });
            prop_assert!(off.is_none(), "{:?}", refusal);
        }
        // Nothing is lost: who was planned is planned, skipped or refused.
        let told: BTreeSet<&ExternalId> = plan.refusals.iter().filter_map(|one| one.key.as_ref())
            .chain(plan.skipped.iter().filter_map(|one| one.key.as_ref()))
            .chain(&seen)
            .collect();
        for planned in &before.operations {
            let operation = &planned.operation;
            if !matches!(operation.reason, Reason::MakesWay | Reason::Recycled) {
                prop_assert!(told.contains(&operation.key), "{:?}", operation);
            }
        }
    }
}
