//! The causes of leaving, each with its policy, and how an absence is confirmed.

use chrono::TimeDelta;

use super::super::fixture::*;
use super::super::*;
use super::{DEACTIVATED, refusal};
use crate::config::{Change, Confirmation, Departure, Guard, OnLeave, Return, Unreadable};
use crate::model::{
    Absence, Attribute, Cause, DesiredAccount, Lifecycle, ManagedAccount, Reason, Whereabouts,
};

/// `z` is there, and `a` is not, but in this place.
fn missing(place: Whereabouts) -> World {
    let mut world = World::new(vec![person("z")], vec![account("a"), account("z")]);
    world.whereabouts.insert(key("a"), place);
    world
}

fn why_skipped(plan: &Plan, name: &str) -> String {
    let skipped = plan
        .skipped
        .iter()
        .find(|skipped| skipped.key == Some(key(name)));
    skipped
        .map(|skipped| skipped.why.to_string())
        .unwrap_or_default()
}

#[test]
fn each_cause_is_told_and_has_its_policy() {
    for cause in Cause::ALL {
        let mut world = missing(Whereabouts::Out(cause));
        world.accepts_scope_change = true;
        let plan = world.planned();
        assert_eq!(brief(&plan), ["deactivate a"], "{cause:?}");
        assert_eq!(
            plan.operations[0].operation.reason,
            Reason::Left { why: cause }
        );
        // Only this cause keeps the account.
        world.policy.on_leave.set(cause, Departure::Keep);
        let plan = world.planned();
        assert_eq!(brief(&plan), Vec::<String>::new(), "{cause:?}");
        let told = why_skipped(&plan, "a");
        let name = format!("on_{} = \"keep\"", cause.name());
        assert!(told.contains(&name), "{told}");
        // All but this one keep it.
        world.policy.on_leave = OnLeave::all(Departure::Keep);
        world.policy.on_leave.set(cause, Departure::Deactivate);
        assert_eq!(brief(&world.planned()), ["deactivate a"], "{cause:?}");
    }
}

#[test]
fn who_is_put_out_of_scope_by_an_edit_leaves_only_when_that_is_accepted() {
    let mut world = missing(Whereabouts::Out(Cause::Rescoped));
    // Others leave as ever.
    world.accounts.push(account("b"));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["deactivate b"]);
    assert!(plan.needs_attention());
    assert_eq!(plan.suspensions[0].why, Disbelief::Rescoped);
    assert_eq!(plan.suspensions[0].absent, 1);
    assert!(why_skipped(&plan, "a").contains("--accept-scope-change"));
    // Nor is a deletion counted meanwhile.
    assert_eq!(plan.notes, []);
    world.accepts_scope_change = true;
    let plan = world.planned();
    assert_eq!(brief(&plan), ["deactivate a", "deactivate b"]);
    world.apply(&plan);
    // Once accepted it stays so.
    world.accepts_scope_change = false;
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(!plan.needs_attention());
}

#[test]
fn a_source_that_is_configured_no_more_is_an_edit() {
    let mut elsewhere = account("b");
    elsewhere.source = SourceName::new("other");
    let mut world = World::new(vec![person("a")], vec![account("a"), elsewhere]);
    // Whatever is said of where they are.
    for place in [Cause::Rescoped, Cause::Deleted] {
        let place = Whereabouts::Out(place);
        world.whereabouts.insert(key("b"), place);
        world.accepts_scope_change = false;
        let plan = world.planned();
        assert_eq!(brief(&plan), Vec::<String>::new());
        assert_eq!(plan.suspensions[0].source, SourceName::new("other"));
        world.accepts_scope_change = true;
        assert_eq!(brief(&world.planned()), ["deactivate b"]);
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_no_departure() {
    let mut world = missing(Whereabouts::Unreadable("insufficient access".into()));
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(refusal(&plan, "a").contains("insufficient access"));
    assert_eq!(plan.notes, []);
    world.policy.on_unreadable = Unreadable::Skip;
    let plan = world.planned();
    assert!(!plan.needs_attention());
    assert!(why_skipped(&plan, "a").contains("insufficient access"));
}

#[test]
fn one_who_is_still_there_makes_every_absence_doubtful() {
    let mut world = missing(Whereabouts::InScope);
    world.accounts.push(account("b"));
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(plan.suspensions[0].why, Disbelief::StillThere(1));
    assert_eq!(plan.suspensions[0].absent, 2);
    assert_eq!(plan.notes, []);
}

#[test]
fn nobody_departs_from_a_source_in_which_nobody_could_be_looked_for() {
    let world = World::new(vec![person("z")], vec![account("a"), account("z")]);
    let mut desired = world.desired();
    let known = world.known(&desired);
    desired
        .unlocated
        .insert(source(), "the server broke off".into());
    let policies = world.policies();
    let plan = plan(&desired, &known, &policies, &world.guards, world.now).unwrap();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(plan.suspensions[0].why.to_string().contains("broke off"));
}

#[test]
fn who_is_not_looked_for_and_of_whom_no_cause_is_known_does_not_depart() {
    let world = World::new(vec![person("z")], vec![account("a"), account("z")]);
    let desired = world.desired();
    let known = world.known(&desired);
    let policies = world.policies();
    let plan = plan(&desired, &known, &policies, &world.guards, world.now).unwrap();
    assert_eq!(brief(&plan), Vec::<String>::new());
}

#[test]
fn an_absence_is_confirmed_by_pulls() {
    for needed in 1..4_u32 {
        let mut world = missing(Whereabouts::Out(Cause::Deleted));
        world.policy.deactivate_after = Confirmation {
            pulls: needed,
            time: TimeDelta::zero(),
        };
        for pull in 1..needed {
            let plan = world.planned();
            assert_eq!(brief(&plan), Vec::<String>::new());
            let told = why_skipped(&plan, "a");
            let seen = format!("seen by {pull} of {needed} pulls");
            assert!(told.contains(&seen), "{told}");
            assert!(!plan.needs_attention());
            world.apply(&plan);
        }
        assert_eq!(brief(&world.planned()), ["deactivate a"], "{needed}");
    }
}

#[test]
fn an_absence_is_confirmed_by_time() {
    let after = TimeDelta::hours(6);
    let mut world = missing(Whereabouts::Out(Cause::Deleted));
    world.policy.deactivate_after.time = after;
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    let told = why_skipped(&plan, "a");
    assert!(told.contains("2026-06-15 18:00"), "{told}");
    world.apply(&plan);
    let first = world.now;
    world.now = first + after - TimeDelta::seconds(1);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
    world.now = first + after;
    assert_eq!(brief(&world.planned()), ["deactivate a"]);
}

#[test]
fn who_is_back_before_that_is_confirmed_begins_anew() {
    let mut world = missing(Whereabouts::Out(Cause::Deleted));
    world.policy.deactivate_after.pulls = 2;
    let plan = world.planned();
    world.apply(&plan);
    world.people.push(person("a"));
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    world.apply(&plan);
    world.people.pop();
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn who_is_seen_again_begins_anew_even_if_nothing_is_done_for_the_person() {
    let held = |world: &mut World| {
        let mut changed = person("a");
        changed.profile.set(Attribute::Title, "Boss");
        world.people.push(changed);
        world.limit(Guard::Update, at_most(0));
    };
    let refused = |world: &mut World| {
        let address = profile("a", "z@example.org");
        world.people.push(DesiredAccount {
            profile: address,
            ..person("a")
        });
    };
    let unmapped = |world: &mut World| world.unmapped.push(unmapped("a", true));
    type Change<'a> = &'a dyn Fn(&mut World);
    let cases: [(&str, Change<'_>); 3] = [
        ("held", &held),
        ("refused", &refused),
        ("unmapped", &unmapped),
    ];
    for (case, comes_back) in cases {
        let mut world = missing(Whereabouts::Out(Cause::Deleted));
        world.policy.deactivate_after.pulls = 2;
        let plan = world.planned();
        world.apply(&plan);
        comes_back(&mut world);
        let plan = world.planned();
        assert!(plan.approve().operations().is_empty(), "{case}");
        world.apply(&plan);
        world.people.retain(|person| person.key != key("a"));
        world.unmapped.clear();
        assert_eq!(brief(&world.planned()), Vec::<String>::new(), "{case}");
    }
}

#[test]
fn who_is_back_and_cannot_be_restored_is_not_deleted_by_the_first_absence() {
    let left = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    let back = DesiredAccount {
        profile: profile("a", "z@example.org"),
        ..person("a")
    };
    let mut world = World::new(vec![back, person("z")], vec![left, account("z")]);
    world.policy.delete_after = Some(TimeDelta::days(14));
    world.now = at("2026-06-14T00:00:00Z");
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    world.apply(&plan);
    assert_eq!(world.planned().notes, []);
    world.people.remove(0);
    world.now = at("2026-06-16T00:00:00Z");
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn a_login_that_stays_off_on_return_stays_off_and_is_told() {
    let left = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    let mut world = World::new(vec![person("a"), person("z")], vec![left, account("z")]);
    world.policy.on_return = Return::Keep;
    for _ in 0..3 {
        let plan = world.planned();
        assert_eq!(brief(&plan), Vec::<String>::new());
        assert!(why_skipped(&plan, "a").contains("on_return"));
        world.apply(&plan);
    }
    // A new departure counts from its own beginning.
    world.people.remove(0);
    world.policy.delete_after = Some(TimeDelta::days(3));
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(plan.notes[0].absence.unwrap().since, world.now);
    world.policy.on_return = Return::Restore;
    world.people.push(person("a"));
    assert_eq!(brief(&world.planned()), ["restore a"]);
}

#[test]
fn a_deletion_is_cancelled_on_return_also_where_the_login_stays_off() {
    let pending = Lifecycle::DeletePending {
        since: at("2026-06-10T00:00:00Z"),
    };
    let left = in_state("a", pending, Some("2026-03-01T00:00:00Z"));
    let mut world = World::new(vec![person("a")], vec![left]);
    world.policy.on_return = Return::Keep;
    let plan = world.planned();
    assert_eq!(brief(&plan), ["restore a"]);
    let operation = &plan.operations[0].operation;
    assert!(operation.cancel_delete);
    assert_eq!(operation.active, (false, false));
    world.apply(&plan);
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(why_skipped(&plan, "a").contains("on_return"));
}

#[test]
fn a_deletion_is_cancelled_also_while_the_address_is_not_to_be_had() {
    let pending = Lifecycle::DeletePending {
        since: at("2026-06-10T00:00:00Z"),
    };
    let returner = || with_mail(person("a"), "b@example.org");
    let back = |people: Vec<DesiredAccount>, accounts: Vec<ManagedAccount>| {
        let left = in_state("a", pending, Some("2026-03-01T00:00:00Z"));
        let mut world = World::new(people, accounts);
        world.accounts.push(left);
        world.people.push(returner());
        world
    };
    let freed = || {
        let frees = with_mail(person("b"), "free@example.org");
        back(vec![frees], vec![account("b")])
    };
    // Who frees the address was refused before.
    let refused = |count| {
        let mut world = freed();
        let plan = world.planned();
        let failed = Failed {
            digest: plan.operations[1].operation.digest(),
            count,
            in_vain: 0,
            error: "no".into(),
            first: now(),
            last: now(),
        };
        world.failures.quarantine_after = 5;
        world.failures.people.insert(key("b"), failed);
        world
    };
    // Who frees the address is held.
    let mut held = freed();
    held.limit(Guard::ChangeEmail, at_most(0));
    // Its own change of the address would be held.
    let mut holding = back(vec![], vec![]);
    holding.limit(Guard::ChangeEmail, at_most(0));
    holding.guards.protected = ["key-a".to_owned()].into();
    let exchanged = back(
        vec![with_mail(person("b"), "a@example.org")],
        vec![account("b")],
    );
    let unverified = || {
        let mut world = back(vec![], vec![]);
        world.verified_domains = Some(vec!["example.com"]);
        world
    };
    let mut kept_off = unverified();
    kept_off.policy.on_return = Return::Keep;
    let claimed = with_mail(person("new"), "b@example.org");
    let later = "the next run restores";
    for (world, words, others) in [
        (back(vec![claimed], vec![]), "uid=new", vec![]),
        (
            back(vec![person("b")], vec![account("b")]),
            "b@example.org",
            vec![],
        ),
        (freed(), later, vec!["update b"]),
        (exchanged, later, vec![]),
        (held, later, vec!["!update b"]),
        (holding, later, vec![]),
        (refused(1), later, vec![]),
        (refused(5), later, vec![]),
        (unverified(), "b@example.org", vec![]),
        (kept_off, "b@example.org", vec![]),
    ] {
        let plan = world.planned();
        let expected = [vec!["restore a"], others].concat();
        assert_eq!(brief(&plan), expected, "{words}");
        let operation = &plan.operations[0].operation;
        assert!(operation.cancel_delete);
        assert_eq!(operation.active, (false, false));
        let email = operation.after.get(Attribute::Email);
        assert_eq!(email, Some("a@example.org"));
        assert_eq!(operation.changes, []);
        let told = refusal(&plan, "a") + &why_skipped(&plan, "a");
        assert!(told.contains(words), "{told}");
    }
    // Once it is free, the next run gives it.
    let mut world = freed();
    let plan = world.planned();
    world.apply(&plan);
    assert_eq!(brief(&world.planned()), ["restore a"]);
}

#[test]
fn a_deletion_that_may_be_under_way_is_cancelled_in_whatever_source_the_person_is_back() {
    let left = ManagedAccount {
        source: SourceName::new("other"),
        ..in_state("a", DEACTIVATED, Some("2026-05-01T00:00:00Z"))
    };
    let mut world = World::new(vec![person("a")], vec![left]);
    world.policy.on_source_change = Change::Keep;
    world.of_sources = vec!["other"];
    assert_eq!(brief(&world.planned()), [""; 0]);
    world.doubtful = vec!["a"];
    assert_eq!(brief(&world.planned()), ["restore a"]);
}

#[test]
fn an_account_is_gone_for_good_when_its_grace_is_over() {
    let since = at("2026-06-01T12:00:00Z");
    let being_deleted = Lifecycle::DeletePending { since };
    let left = in_state("a", being_deleted, Some("2026-03-01T00:00:00Z"));
    let mut world = World::new(vec![person("z")], vec![left, account("z")]);
    let gone = Lifecycle::Deleted {
        since: at("2026-06-15T12:00:00Z"),
    };
    assert_eq!(world.planned().notes[0].lifecycle, gone);
    world.now = now() - TimeDelta::seconds(1);
    let notes = world.planned().notes;
    assert!(notes.iter().all(|note| note.lifecycle == being_deleted));
}

#[test]
fn names_and_addresses_follow_only_if_the_policy_lets_them() {
    let renamed = with_mail(
        with(person("a"), Attribute::DisplayName, "New Name"),
        "new@example.org",
    );
    let renamed = with(renamed, Attribute::Title, "Head");
    let changed = |on_rename, on_email_change| {
        let mut world = World::new(vec![renamed.clone()], vec![account("a")]);
        world.policy.on_rename = on_rename;
        world.policy.on_email_change = on_email_change;
        let plan = world.planned();
        let changes = &plan.operations[0].operation.changes;
        let names: Vec<String> = changes.iter().map(|one| one.attribute.clone()).collect();
        (names.join(" "), why_skipped(&plan, "a"))
    };
    use Change::{Follow, Keep};
    assert_eq!(
        changed(Follow, Follow),
        ("userName email displayName title".into(), String::new())
    );
    let (names, why) = changed(Keep, Follow);
    assert_eq!(names, "userName email title");
    assert!(why.contains("displayName"), "{why}");
    // The login is the address, so it stays with it.
    let (names, why) = changed(Follow, Keep);
    assert_eq!(names, "displayName title");
    assert!(why.contains("userName") && why.contains("email"), "{why}");
    let (names, _) = changed(Keep, Keep);
    assert_eq!(names, "title");
    // Whoever had no such name does not get one either.
    let mut world = World::new(
        vec![with(renamed.clone(), Attribute::MiddleName, "M.")],
        vec![account("a")],
    );
    world.policy.on_rename = Keep;
    let plan = world.planned();
    let after = &plan.operations[0].operation.after;
    assert_eq!(after.get(Attribute::MiddleName), None);
    assert_eq!(after.get(Attribute::Title), Some("Head"));
    // A login that is no address is a name.
    let mut world = World::new(vec![renamed.clone()], vec![account("a")]);
    world.accounts[0].profile.set(Attribute::UserName, "alice");
    world.policy.on_rename = Keep;
    assert!(why_skipped(&world.planned(), "a").contains("userName, displayName"));
}

#[test]
fn who_moves_between_sources_is_followed_only_if_the_policy_lets_them() {
    let elsewhere = ManagedAccount {
        source: SourceName::new("contractors"),
        ..account("a")
    };
    let moved = with(person("a"), Attribute::Title, "Employee");
    let mut world = World::new(vec![moved], vec![elsewhere]);
    assert_eq!(brief(&world.planned()), ["update a"]);
    world.policy.on_source_change = Change::Keep;
    world.of_sources = vec!["contractors"];
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(why_skipped(&plan, "a").contains("contractors"));
}

#[test]
fn before_an_account_is_deleted_the_person_is_looked_for_once_more() {
    let left = in_state("a", DEACTIVATED, Some("2026-01-01T00:00:00Z"));
    let mut world = World::new(vec![person("z")], vec![left, account("z")]);
    world.policy.delete_after = Some(TimeDelta::days(30));
    assert_eq!(brief(&world.planned()), ["delete a"]);
    world.whereabouts.insert(key("a"), Whereabouts::InScope);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
    let unreadable = Whereabouts::Unreadable("no right".into());
    world.whereabouts.insert(key("a"), unreadable);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn a_row_of_an_older_schema_gets_its_cause_when_it_is_found_out() {
    let mut left = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    left.absence = left.absence.map(|absence| Absence {
        cause: None,
        ..absence
    });
    let mut world = World::new(vec![person("z")], vec![left, account("z")]);
    let moved = Whereabouts::Out(Cause::MovedOut);
    world.whereabouts.insert(key("a"), moved);
    let plan = world.planned();
    let absence = plan.notes[0].absence.unwrap();
    assert_eq!(absence.cause, Some(Cause::MovedOut));
    assert_eq!(absence.since, at("2026-06-01T00:00:00Z"));
}

#[test]
fn who_has_no_login_is_not_put_out_by_an_edit_either() {
    // Later the deletion would be counted from it.
    let disabled = in_state("a", DEACTIVATED, None);
    let mut world = World::new(vec![person("z")], vec![disabled, account("z")]);
    world.policy.delete_after = Some(TimeDelta::days(1));
    let rescoped = Whereabouts::Out(Cause::Rescoped);
    world.whereabouts.insert(key("a"), rescoped);
    let plan = world.planned();
    assert_eq!(plan.notes, []);
    assert_eq!(plan.suspensions[0].why, Disbelief::Rescoped);
}

#[test]
fn who_was_kept_at_an_edit_is_kept_when_it_is_old() {
    let mut world = missing(Whereabouts::Out(Cause::Rescoped));
    world.policy.on_leave.set(Cause::Rescoped, Departure::Keep);
    let plan = world.planned();
    world.apply(&plan);
    // By now the edited scope is the one to measure by.
    for cause in [Cause::Unmatched, Cause::MovedOut, Cause::Deleted] {
        world.whereabouts.insert(key("a"), Whereabouts::Out(cause));
        assert_eq!(brief(&world.planned()), Vec::<String>::new(), "{cause:?}");
    }
}

#[test]
fn who_comes_back_without_a_login_first_is_barred_all_the_same() {
    let left = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    let mut world = World::new(vec![disabled("a"), person("z")], vec![left, account("z")]);
    world.policy.on_return = Return::Keep;
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    world.apply(&plan);
    world.people[0] = person("a");
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(why_skipped(&plan, "a").contains("on_return"));
}

#[test]
fn where_the_entry_stands_is_noted_also_while_the_login_stays_off() {
    for back in [person("a"), disabled("a")] {
        let left = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
        let left = ManagedAccount {
            source: SourceName::new("former name"),
            ..left
        };
        let moved = DesiredAccount {
            dn: "uid=a,ou=elsewhere,dc=example,dc=org".into(),
            ..back
        };
        let mut world = World::new(vec![moved.clone()], vec![left.clone()]);
        world.policy.on_return = Return::Keep;
        let absence = left.absence.map(|absence| Absence {
            pulls: 0,
            ..absence
        });
        let expected = ManagedAccount {
            source: moved.source,
            dn: moved.dn,
            absence,
            ..left
        };
        assert_eq!(world.planned().notes, [expected]);
    }
}

#[test]
fn a_source_that_is_kept_apart_gives_up_no_account() {
    let of = |source: &str, lifecycle| ManagedAccount {
        source: SourceName::new(source),
        ..in_state("a", lifecycle, Some("2026-05-01T00:00:00Z"))
    };
    let pending = Lifecycle::DeletePending {
        since: at("2026-06-10T00:00:00Z"),
    };
    let mut world = World::new(vec![person("a")], vec![of("other", pending)]);
    world.policy.on_source_change = Change::Keep;
    world.of_sources = vec!["other"];
    let plan = world.planned();
    assert_eq!(brief(&plan), ["restore a"]);
    assert!(plan.operations[0].operation.cancel_delete);
    // A source that was renamed is none to be kept apart.
    let mut world = World::new(
        vec![disabled("a")],
        vec![ManagedAccount {
            source: SourceName::new("former name"),
            ..account("a")
        }],
    );
    world.policy.on_source_change = Change::Keep;
    assert_eq!(brief(&world.planned()), ["deactivate a"]);
}
