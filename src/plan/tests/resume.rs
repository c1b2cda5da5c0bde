//! Plans that are made again from the rows of a saved one.

use proptest::prelude::*;

use super::properties::odd_world;
use super::*;
use crate::config::{Guard, Limit};
use crate::plan::{Expected, Row, in_the_way, moved, resume};

fn rows(plan: &Plan) -> Vec<Row> {
    plan.operations
        .iter()
        .map(|planned| Row {
            operation: planned.operation.clone(),
            held: planned.holds.first().map(|at| plan.holds[*at].to_string()),
            moved: None,
        })
        .collect()
}

fn again(world: &World, rows: Vec<Row>) -> Plan {
    let known = world.known(&world.desired());
    resume(Plan::default(), rows, &known, &world.guards, world.now)
}

/// a has the address of b, b that of c, and c a new one; d is new.
fn chain() -> World {
    let people = vec![
        with_mail(person("a"), "b@example.org"),
        with_mail(person("b"), "c@example.org"),
        with_mail(person("c"), "new@example.org"),
        person("d"),
    ];
    let accounts = ["a", "b", "c"].map(account).into();
    World::new(people, accounts)
}

#[test]
fn whoever_waits_for_what_has_moved_on_is_skipped_too() {
    let world = chain();
    let mut rows = rows(&world.planned());
    let last = rows.iter_mut().find(|row| row.operation.key == key("c"));
    last.unwrap().moved = Some("it is blue".to_owned());
    let plan = again(&world, rows);
    assert_eq!(brief(&plan), ["create d"]);
    let mut skipped: Vec<String> = plan
        .skipped
        .iter()
        .map(|skipped| skipped.why.to_string())
        .collect();
    skipped.sort();
    assert_eq!(
        skipped,
        [
            "not done (update): it waits for an address that uid=b,ou=people,dc=example,dc=org was to free, which is not carried out",
            "not done (update): it waits for an address that uid=c,ou=people,dc=example,dc=org was to free, which is not carried out",
            "not done (update): no longer as the saved plan expects it: it is blue",
        ]
    );
    assert!(plan.needs_attention());
}

#[test]
fn whoever_waits_for_a_row_that_was_taken_out_is_skipped() {
    let world = chain();
    let mut rows = rows(&world.planned());
    rows.retain(|row| row.operation.key != key("b"));
    let plan = again(&world, rows);
    assert_eq!(brief(&plan), ["update c", "create d"]);
    assert_eq!(plan.skipped.len(), 1);
    assert_eq!(plan.skipped[0].key, Some(key("a")));
}

#[test]
fn what_was_held_stays_held_with_those_that_wait_for_it() {
    let world = chain();
    let mut rows = rows(&world.planned());
    let last = rows.iter_mut().find(|row| row.operation.key == key("c"));
    last.unwrap().held = Some("too blue".to_owned());
    let plan = again(&world, rows);
    let mut told = brief(&plan);
    told.sort();
    assert_eq!(told, ["!update a", "!update b", "!update c", "create d"]);
    let [hold] = &plan.holds[..] else {
        panic!("{:?}", plan.holds)
    };
    assert_eq!(
        hold.to_string(),
        "operations that were held when the plan was saved: 1; they stay held, and a new plan looks at them anew (then: too blue)"
    );
}

#[test]
fn the_guards_look_again() {
    let people: Vec<_> = ["a", "b", "z"].map(disabled).into();
    let accounts = ["a", "b", "z"].map(account).into();
    let mut world = World::new(people, accounts);
    let rows = rows(&world.planned());
    for (limit, held) in [(2, 3), (3, 0)] {
        let at_most = Limit {
            at_most: Some(limit),
            ..Limit::default()
        };
        world.limit(Guard::Deactivate, at_most);
        let plan = again(&world, rows.clone());
        assert_eq!(plan.held(), held, "at most {limit}");
        assert_eq!(plan.holds.len(), usize::from(held > 0));
    }
    // A wrong clock holds departures here as well.
    world.api_time = Some(world.now + TimeDelta::minutes(11));
    assert_eq!(again(&world, rows).held(), 3);
}

#[test]
fn an_address_that_somebody_has_by_now_is_not_taken() {
    let mut world = World::new(vec![person("a")], vec![]);
    let rows = rows(&world.planned());
    let mut other = account("other");
    other.profile = person("a").profile;
    world.accounts.push(other);
    world
        .people
        .push(with_mail(person("other"), "a@example.org"));
    let plan = again(&world, rows);
    assert_eq!(brief(&plan), [""; 0]);
    assert!(refusal(&plan, "a").contains("belongs to another account"));
}

#[test]
fn every_difference_from_what_is_expected_is_named() {
    let row = account("a");
    let theirs = existing("a", Some("key-a"));
    let expected = Expected {
        row: Some(&row),
        account: Some(&theirs),
    };
    assert_eq!(moved(expected, expected), None);
    type Change<T> = fn(&mut T);
    let snapshot: [(&str, Change<crate::model::ManagedAccount>); 8] = [
        ("source: directory → x", |row| {
            row.source = crate::model::SourceName::new("x")
        }),
        ("entry: uid=a,ou=people,dc=example,dc=org → uid=x", |row| {
            row.dn = "uid=x".into()
        }),
        ("SCIM id: scim-a → x", |row| {
            row.scim_id = crate::model::ScimId::new("x")
        }),
        ("account id: 557058:a → (none)", |row| {
            row.account_id = None
        }),
        ("title: (none) → Boss", |row| {
            row.profile.set(Attribute::Title, "Boss")
        }),
        ("displayName: a → (none)", |row| {
            row.profile.set(Attribute::DisplayName, "")
        }),
        (
            "lifecycle: active → deactivated since 1970-01-01T00:00:00+00:00",
            |row| {
                row.lifecycle = DEACTIVATED;
            },
        ),
        (
            "absence: (none) → since 2026-06-15T12:00:00+00:00, seen by 2 pulls",
            |row| {
                row.absence = Some(crate::model::Absence {
                    since: now(),
                    cause: None,
                    pulls: 2,
                });
            },
        ),
    ];
    for (words, change) in snapshot {
        let mut changed = row.clone();
        change(&mut changed);
        let found = moved(
            expected,
            Expected {
                row: Some(&changed),
                ..expected
            },
        );
        assert_eq!(found.as_deref(), Some(&*format!("the snapshot's {words}")));
    }
    let organization: [(&str, Change<crate::model::ExistingAccount>); 5] = [
        ("SCIM id: scim-a → x", |one| {
            one.scim_id = crate::model::ScimId::new("x")
        }),
        ("account id: 557058:a → (none)", |one| {
            one.account_id = None
        }),
        ("externalId: key-a → (none)", |one| one.external_id = None),
        ("active: true → false", |one| one.active = false),
        ("title: (none) → Boss", |one| {
            one.profile.set(Attribute::Title, "Boss")
        }),
    ];
    for (words, change) in organization {
        let mut changed = theirs.clone();
        change(&mut changed);
        let found = moved(
            expected,
            Expected {
                account: Some(&changed),
                ..expected
            },
        );
        assert_eq!(
            found.as_deref(),
            Some(&*format!("the organization's {words}"))
        );
    }
    let none = Expected {
        row: None,
        account: None,
    };
    assert_eq!(moved(none, none), None);
    assert_eq!(
        moved(expected, none).unwrap(),
        "the snapshot has no account scim-a any more; the organization has no account scim-a any more"
    );
    assert_eq!(
        moved(none, expected).unwrap(),
        "the snapshot has the account scim-a by now; the organization has the account scim-a (a) by now"
    );
}

#[test]
fn only_an_account_with_the_key_the_name_or_the_address_is_in_the_way_of_a_creation() {
    let world = World::new(vec![person("a")], vec![]);
    let creation = world.planned().operations[0].operation.clone();
    let stranger = existing("x", Some("key-x"));
    let with = |attribute, value: &str| {
        let mut account = stranger.clone();
        account.profile.set(attribute, value);
        account
    };
    for (account, is_in_the_way) in [
        (stranger.clone(), false),
        (existing("x", Some("KEY-a")), true),
        (with(Attribute::Email, "A@example.org"), true),
        (with(Attribute::UserName, "A@example.org"), true),
        (with(Attribute::DisplayName, "a"), false),
    ] {
        let found = in_the_way(&creation, [&account]);
        assert_eq!(found.is_some(), is_in_the_way, "{account:?}");
    }
    let update = Operation {
        kind: Kind::Update,
        ..creation
    };
    assert_eq!(in_the_way(&update, [&existing("a", Some("key-a"))]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_plan_of_which_nothing_has_moved_on_is_the_same_again(world in odd_world()) {
        let plan = world.planned();
        let resumed = again(&world, rows(&plan));
        prop_assert_eq!(brief(&resumed), brief(&plan));
        prop_assert_eq!(&resumed.skipped, &[]);
        prop_assert_eq!(&resumed.refusals, &[]);
    }

    #[test]
    fn what_is_left_of_a_plan_sends_nothing_that_the_plan_would_not_have_sent(
        world in odd_world(),
        gone in proptest::collection::vec(any::<bool>(), 64),
        taken_out in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let plan = world.planned();
        let mut rows = rows(&plan);
        for (row, gone) in rows.iter_mut().zip(&gone) {
            row.moved = gone.then(|| "it has moved on".to_owned());
        }
        let mut at = 0;
        rows.retain(|_| { at += 1; !taken_out.get(at).copied().unwrap_or_default() });
        let resumed = again(&world, rows);
        let sent: Vec<ExternalId> = plan.approve().operations().iter().map(|one| one.key.clone()).collect();
        for operation in resumed.approve().operations() {
            prop_assert!(sent.contains(&operation.key), "{}", operation.dn);
            for freer in &operation.waits_for {
                prop_assert!(resumed.operations.iter().any(|one| one.operation.key == *freer));
            }
        }
    }
}
