//! Undoing what a run did, and what keeps a sync from doing it again.

use std::collections::HashMap;

use proptest::prelude::*;

use super::properties::odd_world;
use super::*;
use crate::config::{Guard, Limit};
use crate::model::{
    Effect, ExistingAccount, ManagedAccount, OperationId, RunId, ScimId, SourceName, Whereabouts,
};
use crate::plan::{End, NotUndone, Past, Undone, own_approvals, own_left_out, revert};

const RUN: RunId = RunId(5);
const REVERT: RunId = RunId(6);

/// What the journal has of a plan that was carried out without a failure.
fn past(plan: &Plan) -> Vec<Past> {
    let done = plan.approve();
    let done = done.operations().iter().zip(1..);
    done.map(|(operation, id)| Past {
        id: OperationId(id),
        operation: (**operation).clone(),
        end: End::Done(None),
        undone_by: None,
    })
    .collect()
}

/// What a sync is not to do again once all of this is undone.
fn undone(past: &[Past]) -> Vec<Undone> {
    let effects = past.iter().flat_map(|one| {
        let key = &one.operation.key;
        let effects = one.operation.effects().into_iter();
        effects.map(move |effect| (key.clone(), effect.digest(key)))
    });
    let numbered = effects.zip(1..);
    numbered
        .map(|((key, digest), id)| Undone {
            id,
            key,
            digest,
            by: REVERT,
        })
        .collect()
}

/// The plan that undoes this in the world as it is now.
fn reverting(world: &World, past: Vec<Past>) -> Plan {
    let mut known = world.known(&world.desired());
    let accounts = world.accounts.iter();
    known.accounts = accounts.map(|one| (one.key.clone(), one.clone())).collect();
    let shown: HashMap<ScimId, ExistingAccount> = world
        .accounts
        .iter()
        .filter(|one| !matches!(one.lifecycle, Lifecycle::Deleted { .. }))
        .map(|one| (one.scim_id.clone(), shown(one)))
        .collect();
    known.approvals = own_approvals(RUN, known.approvals);
    let account = |id: &ScimId| shown.get(id);
    revert(RUN, past, account, &known, &world.guards, world.now)
}

/// An operation in one line.
fn told(operation: &Operation) -> String {
    let mut words = vec![
        operation.kind.to_string(),
        operation.key.as_str().trim_start_matches("key-").to_owned(),
    ];
    words.extend(operation.formerly.iter().map(|key| format!("from {key}")));
    if operation.cancel_delete {
        words.push("cancel".to_owned());
    }
    let value = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
    words.extend(operation.changes.iter().map(|change| {
        format!(
            "{} {}>{}",
            change.attribute,
            value(&change.old),
            value(&change.new)
        )
    }));
    if operation.lets_go() {
        words.push("let go".to_owned());
    }
    words.join(" ")
}

fn only(plan: &Plan) -> &Operation {
    assert_eq!(plan.operations.len(), 1, "{:?}", plan.skipped);
    &plan.operations[0].operation
}

fn why(plan: &Plan) -> Vec<String> {
    let mut skipped: Vec<String> = plan.skipped.iter().map(|one| one.why.to_string()).collect();
    skipped.sort();
    skipped
}

fn numbered(name: &str) -> crate::model::DesiredAccount {
    with(person(name), Attribute::EmployeeNumber, "n1")
}

fn numbered_account(name: &str) -> ManagedAccount {
    let mut account = account(name);
    account.profile.set(Attribute::EmployeeNumber, "n1");
    account
}

/// One world a kind of operation: what a sync does there, and what undoes it.
fn kinds() -> Vec<(World, &'static str, &'static str)> {
    let long_ago = Some("2026-01-10T00:00:00Z");
    let due = Lifecycle::Deactivated {
        since: at("2026-01-10T00:00:00Z"),
    };
    let z = || (person("z"), account("z"));
    let with_z = |people: Vec<_>, accounts: Vec<_>| {
        let people = people.into_iter().chain([z().0]).collect();
        World::new(people, accounts.into_iter().chain([z().1]).collect())
    };
    let mut adopting = with_z(vec![with(person("a"), Attribute::Title, "One")], vec![]);
    adopting.existing = vec![ExistingAccount {
        active: false,
        ..existing("a", None)
    }];
    let mut deleting = with_z(vec![], vec![in_state("a", due, long_ago)]);
    deleting.policy.delete_after = Some(TimeDelta::days(30));
    let married = with(
        with_mail(person("a"), "b@example.org"),
        Attribute::Title,
        "One",
    );
    vec![
        (
            with_z(vec![person("a")], vec![]),
            "create a userName ->a@example.org email ->a@example.org displayName ->a",
            "deactivate a active true>false",
        ),
        (
            with_z(vec![married], vec![account("a")]),
            "update a userName a@example.org>b@example.org email a@example.org>b@example.org title ->One",
            "update a userName b@example.org>a@example.org email b@example.org>a@example.org title One>-",
        ),
        (
            with_z(vec![disabled("a")], vec![account("a")]),
            "deactivate a active true>false",
            "restore a active false>true",
        ),
        (
            with_z(vec![], vec![account("a")]),
            "deactivate a active true>false",
            "restore a active false>true",
        ),
        (
            with_z(
                vec![with(person("a"), Attribute::Title, "One")],
                vec![in_state("a", due, long_ago)],
            ),
            "restore a title ->One active false>true",
            "deactivate a title One>- active true>false",
        ),
        (deleting, "delete a", "restore a cancel"),
        (
            adopting,
            "adopt a externalId ->key-a title ->One active false>true",
            "deactivate a externalId key-a>- title One>- active true>false let go",
        ),
        (
            with_z(vec![numbered("b")], vec![numbered_account("a")]),
            "update b from key-a externalId key-a>key-b userName a@example.org>b@example.org email a@example.org>b@example.org displayName a>b",
            "update a from key-b externalId key-b>key-a userName b@example.org>a@example.org email b@example.org>a@example.org displayName b>a",
        ),
    ]
}

#[test]
fn each_kind_has_its_inverse() {
    for (mut world, does, undoes) in kinds() {
        let before = world.accounts.clone();
        let plan = world.planned();
        assert_eq!(told(only(&plan)), does);
        let done = past(&plan);
        world.apply(&plan);
        let plan = reverting(&world, done.clone());
        let undo = only(&plan).clone();
        assert_eq!(told(&undo), undoes);
        assert_eq!(undo.reason, Reason::Reverted { run: RUN });
        assert_eq!(plan.skipped, []);
        world.apply(&plan);
        let now = |key| world.accounts.iter().find(|one| one.key == key);
        for former in &before {
            let mut former = former.clone();
            let account = now(former.key.clone()).unwrap();
            if undo.kind == Kind::Deactivate && former.key == undo.key {
                // Login is off from now on.
                former.lifecycle = Lifecycle::Deactivated { since: world.now };
            }
            assert_eq!(account, &former, "{does}");
        }
        // Done again only if nobody has said no to it.
        world.undone = undone(&done);
        let plan = world.planned();
        assert!(plan.operations.iter().all(Planned::is_held), "{does}");
        assert_eq!(plan.held(), 1, "{does}");
        assert_eq!(plan.holds[0].name, "reverted");
        assert_eq!(plan.unwished, [0_i64; 0], "{does}");
        world.approve("reverted", |_| true);
        assert_eq!(world.planned().held(), 0, "{does}");
    }
}

#[test]
fn an_account_that_was_found_as_it_should_be_is_only_let_go() {
    let mut world = World::new(vec![person("a")], vec![]);
    world.existing = vec![existing("a", Some("key-a"))];
    let plan = world.planned();
    assert_eq!(told(only(&plan)), "adopt a");
    let done = past(&plan);
    world.apply(&plan);
    assert_eq!(told(only(&reverting(&world, done))), "update a let go");
}

#[test]
fn what_changed_nothing_has_nothing_to_be_undone() {
    let titled = with(person("a"), Attribute::Title, "One");
    let mut world = World::new(vec![titled], vec![account("a")]);
    let plan = world.planned();
    let mut done = past(&plan);
    world.apply(&plan);
    done[0].operation.before = done[0].operation.after.clone();
    done[0].operation.changes.clear();
    let plan = reverting(&world, done);
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(
        why(&plan),
        ["not undone (update): it changed nothing that can be put back"]
    );
}

#[test]
fn an_absence_stays_unless_it_is_what_was_undone() {
    // Since the update the person has been missing.
    let titled = with(person("a"), Attribute::Title, "One");
    let mut world = World::new(vec![titled], vec![account("a")]);
    let plan = world.planned();
    let done = past(&plan);
    world.apply(&plan);
    let missing = in_state("a", Lifecycle::Active, Some("2026-06-14T00:00:00Z")).absence;
    world.accounts[0].absence = missing;
    assert_eq!(only(&reverting(&world, done)).absence, missing);
    // Whoever had been deleted and joined again is no leaver once that is undone.
    let deleted = Lifecycle::Deleted {
        since: at("2026-02-01T00:00:00Z"),
    };
    let tombstone = in_state("a", deleted, Some("2026-01-01T00:00:00Z"));
    let mut world = World::new(vec![person("a")], vec![tombstone]);
    let plan = world.planned();
    let done = past(&plan);
    assert_eq!(brief(&plan), ["create a"]);
    world.apply(&plan);
    let plan = reverting(&world, done);
    assert_eq!(brief(&plan), ["deactivate a"]);
    assert_eq!(only(&plan).absence, None);
}

#[test]
fn the_name_of_a_hold_tells_what_opens_and_closes_it() {
    for (hold, what) in [
        ("deactivate", "sync"),
        ("revert-12.deactivate", "`dirsyncd revert 12`"),
        ("revert-x.deactivate", "sync"),
        ("revert-12", "sync"),
    ] {
        assert_eq!(next_run(hold), what, "{hold}");
    }
}

#[test]
fn a_cancelled_deletion_that_left_the_login_off_is_not_requested_again() {
    let long_ago = Some("2026-01-10T00:00:00Z");
    let account = in_state("a", pending("2026-06-10T00:00:00Z"), long_ago);
    let mut world = World::new(vec![disabled("a")], vec![account]);
    let plan = world.planned();
    let done = past(&plan);
    world.apply(&plan);
    let plan = reverting(&world, done);
    assert_eq!(brief(&plan), [""; 0]);
    assert!(why(&plan)[0].contains("it cancelled a deletion, which is not requested again"));
    assert!(plan.needs_attention());
}

#[test]
fn a_deletion_is_undone_to_the_last_moment_of_its_grace() {
    let (mut world, ..) = kinds().swap_remove(5);
    let plan = world.planned();
    assert_eq!(
        plan.operations[0].undo.until(),
        Some(world.now + TimeDelta::days(14))
    );
    let done = past(&plan);
    world.apply(&plan);
    world.now = now() + TimeDelta::days(14) - TimeDelta::seconds(1);
    assert_eq!(brief(&reverting(&world, done.clone())), ["restore a"]);
    world.now = now() + TimeDelta::days(14);
    let plan = reverting(&world, done.clone());
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(
        why(&plan),
        ["not undone (delete): the deletion could be cancelled until 2026-06-29 12:00 UTC"]
    );
    world.accounts[0].lifecycle = Lifecycle::Deleted { since: now() };
    assert_eq!(
        why(&reverting(&world, done)),
        ["not undone (delete): the account was deleted for good on 2026-06-15"]
    );
}

#[test]
fn whatever_has_moved_on_is_named() {
    let world = || {
        let mut world = World::new(
            vec![with(person("a"), Attribute::Title, "One")],
            vec![account("a")],
        );
        let plan = world.planned();
        let done = past(&plan);
        world.apply(&plan);
        (world, done)
    };
    type Move = fn(&mut World, &mut Vec<Past>);
    let moves: [(&str, Move); 6] = [
        (
            "the snapshot's title: One → Two; the organization's title: One → Two",
            |world, _| {
                world.accounts[0].profile.set(Attribute::Title, "Two");
            },
        ),
        (
            "the snapshot's lifecycle: active → deactivated; the organization's active: true → false",
            |world, _| world.accounts[0].lifecycle = DEACTIVATED,
        ),
        (
            "the snapshot has no account of key-a any more",
            |world, _| {
                world.accounts.clear();
            },
        ),
        ("the snapshot's SCIM id: x → scim-a", |_, past| {
            past[0].end = End::Done(Some(ScimId::new("x")));
        }),
        (
            "the snapshot's lifecycle: active → being deleted; the organization's active: true → false",
            |world, _| world.accounts[0].lifecycle = pending("2026-06-10T00:00:00Z"),
        ),
        (
            "the snapshot's lifecycle: active → being deleted; the organization's active: true → false",
            |world, _| world.accounts[0].lifecycle = pending("2026-01-10T00:00:00Z"),
        ),
    ];
    for (words, change) in moves {
        let (mut world, mut done) = world();
        change(&mut world, &mut done);
        let plan = reverting(&world, done);
        assert_eq!(brief(&plan), [""; 0]);
        assert_eq!(
            why(&plan),
            [format!(
                "not undone (update): no longer as the run left it: {words}"
            )]
        );
        assert!(plan.needs_attention());
    }
    // What the run has not changed, and where the entry stands, is no matter.
    let (mut world, done) = world();
    world.accounts[0]
        .profile
        .set(Attribute::Department, "Sales");
    world.accounts[0].dn = "uid=a,ou=elsewhere".into();
    world.accounts[0].source = SourceName::new("x");
    let plan = reverting(&world, done);
    assert_eq!(told(only(&plan)), "update a title One>-");
    assert_eq!(only(&plan).after.get(Attribute::Department), Some("Sales"));
    assert_eq!(only(&plan).dn, "uid=a,ou=elsewhere");
}

#[test]
fn the_organizations_account_is_looked_at_as_well() {
    let mut world = World::new(
        vec![with_mail(person("a"), "B@example.org")],
        vec![account("a")],
    );
    let plan = world.planned();
    let done = past(&plan);
    world.apply(&plan);
    let known = world.known(&world.desired());
    let mut known = known;
    known.accounts = [(key("a"), world.accounts[0].clone())].into();
    let plan = |theirs: Option<&ExistingAccount>| {
        let find = |_: &ScimId| theirs;
        revert(RUN, done.clone(), find, &known, &world.guards, world.now)
    };
    let mut theirs = shown(&world.accounts[0]);
    // It may write an address in lower case.
    theirs.profile.set(Attribute::Email, "b@example.org");
    assert_eq!(brief(&plan(Some(&theirs))), ["update a"]);
    let gone = "the organization has no account scim-a any more";
    assert!(why(&plan(None))[0].ends_with(gone));
    theirs.profile.set(Attribute::Email, "c@example.org");
    let moved = "the organization's email: B@example.org → c@example.org";
    assert!(why(&plan(Some(&theirs)))[0].ends_with(moved));
    theirs = ExistingAccount {
        external_id: Some(key("x")),
        ..shown(&world.accounts[0])
    };
    let moved = "the organization's externalId: key-a → key-x";
    assert!(why(&plan(Some(&theirs)))[0].ends_with(moved));
}

#[test]
fn what_was_not_done_or_is_undone_is_told() {
    let world = World::new(
        ["a", "b", "c", "d"].map(disabled).into(),
        ["a", "b", "c", "d"].map(account).into(),
    );
    let mut done = past(&world.planned());
    done[0].end = End::Failed("no".to_owned());
    done[1].end = End::Unsent;
    done[2].end = End::Unanswered;
    done[3].undone_by = Some(REVERT);
    let plan = reverting(&world, done.clone());
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(
        why(&plan),
        [
            "not undone (deactivate): it failed, so there is nothing to undo (no)",
            "not undone (deactivate): it was never sent, so there is nothing to undo",
            "not undone (deactivate): it was sent and never answered, and reading does not tell whether it took effect; the next sync sees to it",
            "not undone (deactivate): run 6 has undone it already",
        ]
    );
    assert!(NotUndone::Unanswered.needs_attention());
    done.remove(2);
    assert!(!reverting(&world, done).needs_attention());
}

#[test]
fn an_exchange_of_addresses_is_put_back_as_one() {
    let people = vec![
        with_mail(person("a"), "b@example.org"),
        with_mail(person("b"), "a@example.org"),
    ];
    let mut world = World::new(people, ["a", "b"].map(account).into());
    let before = world.accounts.clone();
    let plan = world.planned();
    assert_eq!(plan.operations.len(), 3);
    let done = past(&plan);
    world.apply(&plan);
    let plan = reverting(&world, done.clone());
    let mut ids: Vec<i64> = Vec::new();
    for operation in plan.operations.iter().map(|one| &one.operation) {
        let undoes = operation.undoes.as_ref().unwrap();
        if operation.reason != Reason::MakesWay {
            ids.extend(undoes.operations.iter().map(|id| id.0));
        }
    }
    ids.sort();
    assert_eq!(ids, [1, 2, 3]);

    // Broken off after somebody has made way, it is finished from there.
    let mut broken = plan.clone();
    broken.operations.truncate(1);
    assert_eq!(broken.operations[0].operation.reason, Reason::MakesWay);
    let way = Past {
        id: OperationId(9),
        ..past(&broken).remove(0)
    };
    let mut other = World::new(world.people.clone(), world.accounts.clone());
    other.apply(&broken);
    let rest = reverting(&other, done.iter().cloned().chain([way]).collect());
    assert_eq!(rest.skipped, []);
    other.apply(&rest);
    assert_eq!(other.accounts, before);

    world.apply(&plan);
    assert_eq!(world.accounts, before);
    world.undone = undone(&done);
    assert_eq!(world.planned().held(), 3);
}

#[test]
fn the_guards_hold_a_revert_under_names_of_its_own() {
    let people: Vec<_> = ["a", "b", "c"].map(person).into();
    let mut world = World::new(
        people,
        ["a", "b", "c"]
            .map(|name| in_state(name, DEACTIVATED, None))
            .into(),
    );
    let plan = world.planned();
    let done = past(&plan);
    world.apply(&plan);
    for (limit, held) in [(3, 0), (2, 3)] {
        let at_most = Limit {
            at_most: Some(limit),
            ..Limit::default()
        };
        world.limit(Guard::Deactivate, at_most);
        assert_eq!(reverting(&world, done.clone()).held(), held);
    }
    let plan = reverting(&world, done.clone());
    let hold = &plan.holds[0];
    assert_eq!(hold.name, "revert-5.deactivate");
    assert!(
        hold.to_string()
            .contains("dirsyncd approve revert-5.deactivate")
    );
    assert!(plan.has_say_over(&hold.name));
    assert!(!plan.has_say_over("revert-55.deactivate"));
    assert!(!plan.has_say_over("deactivate"));
    assert!(!Plan::default().has_say_over(&hold.name));
    // An approval counts under the name of its hold alone.
    for (name, held) in [("deactivate", 3), ("revert-5.deactivate", 2)] {
        world.approvals = vec![super::Approval {
            id: 1,
            hold: name.to_owned(),
            digest: plan.operations[0].operation.digest(),
        }];
        let limit = Limit {
            at_most: Some(1),
            ..Limit::default()
        };
        world.limit(Guard::Deactivate, limit);
        assert_eq!(reverting(&world, done.clone()).held(), held, "{name}");
    }
}

#[test]
fn what_is_reverted_is_forgotten_when_it_is_known_to_be_unwished() {
    let world = |people: Vec<_>| {
        let accounts = ["a", "z"].map(account).into();
        let mut world = World::new(people, accounts);
        // The title One was put back.
        world.undone = vec![Undone {
            id: 7,
            key: key("a"),
            digest: Effect::Value(Attribute::Title, Some("One".to_owned())).digest(&key("a")),
            by: REVERT,
        }];
        world
    };
    let titled = |title| with(person("a"), Attribute::Title, title);
    let z = person("z");
    for (people, does, unwished) in [
        (vec![titled("One"), z.clone()], &["!update a"][..], &[][..]),
        (vec![titled("Two"), z.clone()], &["update a"], &[7]),
        (vec![person("a"), z.clone()], &[], &[7]),
        (vec![disabled("a"), z.clone()], &["deactivate a"], &[7]),
        (vec![z.clone()], &["deactivate a"], &[7]),
    ] {
        let plan = world(people).planned();
        assert_eq!(brief(&plan), does);
        assert_eq!(plan.unwished, unwished);
    }
    // With another change it is left out, and told.
    let plan = world(vec![
        with(titled("One"), Attribute::Department, "Sales"),
        z.clone(),
    ])
    .planned();
    assert_eq!(told(only(&plan)), "update a department ->Sales");
    assert!(why(&plan)[0].ends_with("held by `reverted` once the rest is done: title"));
    assert!(plan.needs_attention());
    assert_eq!(plan.unwished, [0_i64; 0]);
    // Who is not known says nothing.
    let mut cut_off = world(vec![z.clone()]);
    cut_off.clean = Err("cut off".to_owned());
    let mut odd = world(vec![z.clone()]);
    odd.unmapped = vec![unmapped("a", true)];
    let mut there = world(vec![z]);
    there.whereabouts.insert(key("a"), Whereabouts::InScope);
    for world in [cut_off, odd, there] {
        assert_eq!(world.planned().unwished, [0_i64; 0]);
    }
}

#[test]
fn a_login_that_was_taken_back_is_held_with_the_values_of_the_day() {
    let titled = with(person("a"), Attribute::Title, "Three");
    let mut world = World::new(vec![titled], vec![in_state("a", DEACTIVATED, None)]);
    world.undone = vec![Undone {
        id: 7,
        key: key("a"),
        digest: Effect::Login(true).digest(&key("a")),
        by: REVERT,
    }];
    let plan = world.planned();
    assert_eq!(
        told(only(&plan)),
        "restore a title ->Three active false>true"
    );
    assert_eq!(plan.held(), 1);
    assert_eq!(plan.skipped, []);
    // Of a value that was put back the login is not held.
    world.undone[0].digest =
        Effect::Value(Attribute::Title, Some("Three".to_owned())).digest(&key("a"));
    let plan = world.planned();
    assert_eq!(told(only(&plan)), "restore a active false>true");
    assert_eq!(plan.held(), 0);
}

/// An account as it can be compared, whenever its login was turned off.
fn timeless(account: &ManagedAccount) -> ManagedAccount {
    let lifecycle = match account.lifecycle {
        Lifecycle::Deactivated { .. } => DEACTIVATED,
        other => other,
    };
    ManagedAccount {
        lifecycle,
        ..account.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_plan_that_is_undone_leaves_every_account_as_it_was(
        mut world in odd_world(),
        unmanaged in prop::collection::btree_set("[abcdefg]", 0..4),
    ) {
        let is_free = |name: &String| {
            let taken = |account: &ManagedAccount| {
                let mail = account.profile.get(Attribute::Email).unwrap_or_default();
                mail.to_lowercase() == format!("{name}@x.org")
            };
            !world.accounts.iter().any(taken)
        };
        world.existing = unmanaged.iter().filter(|name| is_free(name)).map(|name| {
            let profile = profile("Somebody", &format!("{name}@x.org"));
            ExistingAccount { profile, ..existing(&format!("x{name}"), None) }
        }).collect();
        let plan = world.planned();
        let done = past(&plan);
        // What is noted is not undone.
        let notes = Plan { notes: plan.notes.clone(), ..Plan::default() };
        world.apply(&notes);
        let before = world.accounts.clone();
        let unmanaged = world.existing.clone();
        world.apply(&Plan { notes: Vec::new(), ..plan });
        let left = world.accounts.clone();
        let undo = reverting(&world, done.clone());
        world.apply(&undo);

        let now = |key: &ExternalId| world.accounts.iter().find(|one| one.key == *key);
        let was = |key: &ExternalId| before.iter().find(|one| one.key == *key);
        let undoes: Vec<&Operation> = undo.operations.iter().map(|one| &one.operation).collect();
        for one in &done {
            let operation = &one.operation;
            let told = undo.skipped.iter().any(|other| other.key.as_ref() == Some(&operation.key))
                || undo.refusals.iter().any(|other| {
                    let key = other.key.as_ref();
                    key == Some(&operation.key) || key == Some(operation.row())
                });
            if told {
                continue;
            }
            prop_assert!(undoes.iter().any(|undo| undo.key == *operation.row()), "{operation:?}");
            match operation.kind {
                Kind::Create => {
                    let account = now(&operation.key).unwrap();
                    prop_assert!(!account.lifecycle.is_active());
                    prop_assert_eq!(&account.profile, &operation.after);
                }
                Kind::Adopt => prop_assert!(now(&operation.key).is_none()),
                _ => {
                    let (now, was) = (now(operation.row()).unwrap(), was(operation.row()).unwrap());
                    let was = ManagedAccount {
                        source: now.source.clone(),
                        dn: now.dn.clone(),
                        // A cancelled deletion is not requested again, and an update keeps what
                        // is known of the person by now.
                        lifecycle: match was.lifecycle {
                            Lifecycle::DeletePending { .. } => DEACTIVATED,
                            other => other,
                        },
                        absence: if operation.kind == Kind::Update && operation.formerly.is_none() { now.absence } else { was.absence },
                        ..was.clone()
                    };
                    prop_assert_eq!(timeless(now), timeless(&was));
                }
            }
        }
        // Nobody else has changed.
        for account in &left {
            let is_concerned = undoes.iter().any(|undo| {
                undo.key == account.key || undo.formerly.as_ref() == Some(&account.key)
            });
            if !is_concerned {
                prop_assert_eq!(now(&account.key), Some(account));
            }
        }
        for account in &unmanaged {
            let is_managed = world.accounts.iter().any(|one| one.scim_id == account.scim_id);
            prop_assert!(is_managed || world.existing.contains(account));
        }
        // And no sync does it again.
        world.undone = undone(&done);
        let undone: Vec<_> = world.undone.iter().map(|one| one.digest).collect();
        for operation in world.planned().approve().operations() {
            for effect in operation.effects() {
                prop_assert!(!undone.contains(&effect.digest(&operation.key)), "{effect}");
            }
        }
    }
}

#[test]
fn who_was_left_out_of_another_hold_is_not_left_out_of_the_revert_s() {
    let place = |name: &str| (key(name), "restore".to_owned());
    let holds = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let left_out = [
        (place("a"), holds(&["deactivate", "revert-4.update"])),
        (place("b"), holds(&["update", "revert-5.update"])),
    ];
    let own = own_left_out(RUN, left_out.into());
    assert_eq!(own, [(place("b"), holds(&["update"]))].into());
}
