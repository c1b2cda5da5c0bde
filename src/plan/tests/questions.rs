//! What a plan says of itself, and who is asked about before it is made.

use super::*;
use crate::model::{Absence, Cause};

fn names(keys: impl IntoIterator<Item = ExternalId>) -> Vec<String> {
    let names = keys.into_iter().map(|key| key.as_str().replace("key-", ""));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn only_the_enabled_who_have_no_account_and_an_address_of_their_own_may_be_newcomers() {
    let people = vec![
        person("new"),
        disabled("disabled"),
        with(person("here"), Attribute::Title, "Head"),
        with_mail(person("one"), "same@example.org"),
        with_mail(person("other"), "same@example.org"),
        person("again"),
        person("back"),
    ];
    let deleted = Lifecycle::Deleted {
        since: at("2026-01-01T00:00:00Z"),
    };
    let accounts = vec![
        account("here"),
        in_state("again", deleted, Some("2026-01-01T00:00:00Z")),
        in_state("back", DEACTIVATED, Some("2026-01-01T00:00:00Z")),
    ];
    let world = World::new(people, accounts);
    let desired = world.desired();
    let known = world.known(&desired);
    let found = newcomers(&desired, &known, &world.policies(), world.now);
    let keys = found.iter().map(|person| person.key.clone());
    assert_eq!(names(keys), ["again", "new"]);
}

#[test]
fn whoever_is_missing_is_looked_for_where_something_may_follow() {
    let away = |cause, pulls| {
        Some(Absence {
            since: at("2026-05-01T00:00:00Z"),
            cause,
            pulls,
        })
    };
    let deleted = Lifecycle::Deleted {
        since: at("2026-01-01T00:00:00Z"),
    };
    let left = Some(Cause::Deleted);
    let table = [
        ("active", Lifecycle::Active, None, true),
        ("active, away", Lifecycle::Active, away(left, 1), true),
        ("off", DEACTIVATED, None, true),
        ("off, left", DEACTIVATED, away(left, 1), false),
        ("off, why unknown", DEACTIVATED, away(None, 1), true),
        ("off, was back since", DEACTIVATED, away(left, 0), true),
        (
            "being deleted",
            pending("2026-06-10T00:00:00Z"),
            away(left, 1),
            false,
        ),
        ("deleted", deleted, None, false),
    ];
    for (name, lifecycle, absence, expected) in table {
        let missing = ManagedAccount {
            lifecycle,
            absence,
            ..account("a")
        };
        let mut world = World::new(vec![person("z")], vec![missing, account("z")]);
        let desired = world.desired();
        let known = world.known(&desired);
        let found = sought(&desired, &known, &world.policies(), world.now);
        assert_eq!(!found.is_empty(), expected, "{name}");
        world.clean = Err("cut off".into());
        let desired = world.desired();
        let found = sought(&desired, &known, &world.policies(), world.now);
        assert_eq!(found, Vec::<&ManagedAccount>::new(), "{name}, cut off");
    }
}

#[test]
fn what_was_settled_counts_at_once() {
    let world = World::new(vec![person("a")], vec![account("a"), account("b")]);
    let desired = world.desired();
    let mut known = world.known(&desired);
    known.settle(in_state("b", DEACTIVATED, None));
    assert_eq!((known.population.active, known.population.all), (1, 2));
    known.settle(account("c"));
    assert_eq!((known.population.active, known.population.all), (2, 3));
    assert_eq!(known.accounts[&key("b")].lifecycle, DEACTIVATED);
    let of_source = known.population.by_source[&source()];
    assert_eq!((of_source.active, of_source.all), (2, 3));
}

#[test]
fn a_plan_says_whether_it_takes_an_account_away_and_whether_anything_is_sent() {
    let joins = World::new(vec![person("a")], vec![]);
    let leaves = World::new(vec![person("a")], vec![account("a"), account("b")]);
    let mut held = World::new(vec![person("a")], vec![account("a"), account("b")]);
    held.limit(Guard::Deactivate, at_most(0));
    let nothing = World::new(vec![person("a")], vec![account("a")]);
    for (name, world, expected) in [
        ("joins", joins, (false, true)),
        ("leaves", leaves, (true, true)),
        ("held", held, (true, false)),
        ("nothing", nothing, (false, false)),
    ] {
        let plan = world.planned();
        assert_eq!((plan.departs(), plan.has_pending()), expected, "{name}");
    }
}
