//! The planner's rules, one a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::fixture::*;
use super::*;
use crate::config::{Adopt, Departure, OnLeave};
use crate::model::{Attribute, Change, Lifecycle, Reason};
use chrono::TimeDelta;

mod addresses;
mod compare;
mod drift;
mod edit;
mod failures;
mod forecast;
mod groups;
mod guards;
mod leaving;
mod lifecycle;
mod local;
mod matching;
mod order;
mod outlook;
mod person;
mod properties;
mod questions;
mod resume;
mod resume_groups;
mod revert;
mod told;
mod undo;
mod verdicts;

const DEACTIVATED: Lifecycle = Lifecycle::Deactivated {
    since: chrono::DateTime::<chrono::Utc>::UNIX_EPOCH,
};

fn pending(since: &str) -> Lifecycle {
    Lifecycle::DeletePending { since: at(since) }
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

fn refusal(plan: &Plan, name: &str) -> String {
    let refusal = plan
        .refusals
        .iter()
        .find(|refusal| refusal.key == Some(key(name)));
    refusal
        .map(|refusal| refusal.why.to_string())
        .unwrap_or_default()
}

#[test]
fn every_state_and_presence_leads_where_the_table_says() {
    use Lifecycle::{Active, Deleted};
    let old = "2026-05-01T00:00:00Z";
    let fresh = "2026-06-10T00:00:00Z";
    let deleted = Deleted { since: at(old) };
    let states: [(&str, Option<Lifecycle>, Option<&str>); 8] = [
        ("absent", None, None),
        ("active", Some(Active), None),
        ("deactivated, disabled", Some(DEACTIVATED), None),
        ("deactivated, left", Some(DEACTIVATED), Some(fresh)),
        ("deactivated, left long ago", Some(DEACTIVATED), Some(old)),
        ("delete pending", Some(pending(fresh)), Some(old)),
        ("delete pending, grace over", Some(pending(old)), Some(old)),
        ("deleted", Some(deleted), Some(old)),
    ];
    let mut table = String::new();
    for (name, lifecycle, departed) in states {
        let accounts: Vec<_> = lifecycle
            .into_iter()
            .map(|state| in_state("a", state, departed))
            .collect();
        for (presence, people) in [
            ("enabled", vec![person("a")]),
            ("disabled", vec![disabled("a")]),
            ("absent", vec![]),
        ] {
            // Somebody else is there, so that the pull is not empty.
            let people = people.into_iter().chain([person("z")]).collect();
            let accounts = accounts.iter().cloned().chain([account("z")]).collect();
            let mut world = World::new(people, accounts);
            world.policy.delete_after = Some(TimeDelta::days(30));
            let plan = world.planned();
            let steps: Vec<String> = plan
                .operations
                .iter()
                .map(|planned| {
                    let Operation {
                        kind,
                        reason,
                        active,
                        cancel_delete,
                        ..
                    } = &planned.operation;
                    let cancel = if *cancel_delete {
                        ", cancel deletion"
                    } else {
                        ""
                    };
                    format!(
                        "{kind} ({reason}{cancel}; active {} → {})",
                        active.0, active.1
                    )
                })
                .chain(plan.notes.iter().map(|noted| {
                    let state = match noted.lifecycle {
                        Lifecycle::Deleted { .. } => "deleted",
                        _ => "same state",
                    };
                    let away = if noted.absence.is_some() {
                        "away"
                    } else {
                        "here"
                    };
                    format!("note: {state}, {away}")
                }))
                .chain(
                    plan.skipped
                        .iter()
                        .map(|skipped| format!("skip ({})", skipped.why)),
                )
                .collect();
            let step = if steps.is_empty() {
                "nothing".to_owned()
            } else {
                steps.join(" + ")
            };
            table += &format!("{name} × {presence}: {step}\n");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn an_unchanged_directory_plans_nothing() {
    let plan = World::new(
        vec![person("a"), person("b")],
        vec![account("a"), account("b")],
    )
    .planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(plan.unchanged, 2);
    assert!(!plan.needs_attention());
}

#[test]
fn a_changed_attribute_is_shown_with_its_old_and_new_value() {
    let changed = with(person("a"), Attribute::Title, "Head");
    let plan = World::new(vec![changed], vec![account("a")]).planned();
    assert_eq!(brief(&plan), ["update a"]);
    assert_eq!(
        plan.operations[0].operation.changes,
        [Change {
            attribute: "title".into(),
            old: None,
            new: Some("Head".into()),
        }]
    );
}

#[test]
fn a_new_place_in_the_tree_alone_is_only_noted() {
    let mut moved = person("a");
    moved.dn = "uid=a,ou=elsewhere,dc=example,dc=org".into();
    let mut world = World::new(vec![moved.clone()], vec![account("a")]);
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(plan.notes[0].dn, moved.dn);
    world.apply(&plan);
    assert_eq!(world.planned().notes, []);
}

#[test]
fn an_empty_pull_is_refused_as_a_whole() {
    let stop = World::new(vec![], vec![account("a")]).plan().unwrap_err();
    assert_eq!(stop, Stop::EmptyPull(source()));
    assert!(World::new(vec![], vec![]).plan().is_err());
}

#[test]
fn an_incomplete_pull_plans_no_departure() {
    let mut world = World::new(
        vec![person("a"), person("new")],
        vec![account("a"), account("b")],
    );
    world.clean = Err("cut off".into());
    let plan = world.planned();
    assert_eq!(brief(&plan), ["create new"]);
    assert_eq!(plan.suspensions[0].absent, 1);
    assert!(plan.suspensions[0].why.to_string().contains("cut off"));
    assert!(plan.needs_attention());
}

#[test]
fn an_entry_without_a_key_may_be_any_of_the_missing() {
    let mut world = World::new(vec![person("a")], vec![account("a"), account("b")]);
    world.unmapped = vec![unmapped("x", false)];
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(plan.suspensions[0].why, Disbelief::Unidentified(1));
    assert_eq!(plan.refusals.len(), 1);
}

#[test]
fn an_entry_that_cannot_be_mapped_is_unknown_and_not_absent() {
    let mut world = World::new(vec![person("a")], vec![account("a"), account("b")]);
    world.unmapped = vec![unmapped("b", true)];
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(refusal(&plan, "b").contains("no value for `email`"));
}

#[test]
fn departures_can_be_turned_off() {
    let mut world = World::new(
        vec![disabled("a"), person("z")],
        vec![account("a"), account("b"), account("z")],
    );
    world.policy.on_leave = OnLeave::all(Departure::Keep);
    world.policy.on_disabled = Departure::Keep;
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    let why: Vec<String> = plan
        .skipped
        .iter()
        .map(|skipped| skipped.why.to_string())
        .collect();
    assert!(
        why[0].contains("on_disabled") && why[1].contains("on_deleted"),
        "{why:?}"
    );
}

#[test]
fn deletion_is_counted_from_when_the_person_was_gone_and_without_login() {
    let world = |departed: &str, since: &str, after: i64| {
        let state = Lifecycle::Deactivated { since: at(since) };
        let mut world = World::new(
            vec![person("z")],
            vec![in_state("a", state, Some(departed)), account("z")],
        );
        world.policy.delete_after = Some(TimeDelta::days(after));
        brief(&world.planned())
    };
    assert_eq!(
        world("2026-06-05T12:00:00Z", "2026-06-05T12:00:00Z", 10),
        ["delete a"]
    );
    assert_eq!(
        world("2026-06-05T12:00:01Z", "2026-06-01T12:00:00Z", 10),
        Vec::<String>::new()
    );
    assert_eq!(
        world("2026-06-01T12:00:00Z", "2026-06-05T12:00:01Z", 10),
        Vec::<String>::new()
    );
}

#[test]
fn accounts_that_the_organization_has_are_adopted() {
    let mut by_key = existing("a", Some("key-a"));
    by_key.profile = profile("Old name", "old@example.org");
    for (found, by) in [
        (by_key, "externalId"),
        (existing("a", Some("KEY-A")), "externalId"),
        (existing("a", None), "e-mail"),
        (existing("a", Some("of-another-provisioner")), "e-mail"),
    ] {
        let mut world = World::new(vec![person("a")], vec![]);
        world.existing = vec![found];
        let plan = world.planned();
        assert_eq!(brief(&plan), ["adopt a"]);
        assert_eq!(
            plan.operations[0].operation.reason,
            Reason::Found { by: by.into() }
        );
        world.apply(&plan);
        assert_eq!(brief(&world.planned()), Vec::<String>::new());
    }
}

#[test]
fn addresses_match_without_regard_to_case() {
    let mut world = World::new(vec![with_mail(person("a"), "A.Müller@Example.org")], vec![]);
    world.existing = vec![ExistingAccount {
        profile: profile("x", "a.MÜLLER@example.ORG"),
        ..existing("x", None)
    }];
    assert_eq!(brief(&world.planned()), ["adopt a"]);
}

#[test]
fn an_ambiguous_match_is_refused_with_both_sides() {
    let mut world = World::new(vec![person("a"), person("b")], vec![]);
    let by_key = ExistingAccount {
        profile: profile("x", "x@example.org"),
        ..existing("x", Some("key-a"))
    };
    world.existing = vec![by_key, existing("a", None)];
    let plan = world.planned();
    assert_eq!(brief(&plan), ["create b"]);
    let why = refusal(&plan, "a");
    assert!(why.contains("scim-x") && why.contains("scim-a"), "{why}");
}

#[test]
fn adoption_can_be_turned_off() {
    let mut world = World::new(vec![person("a")], vec![]);
    world.existing = vec![existing("a", None)];
    world.policy.adopt = Adopt::Off;
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(refusal(&plan, "a").contains("adopt = false"));
}

#[test]
fn adopting_the_account_of_a_disabled_person_is_a_deactivation_for_the_guard() {
    let mut world = World::new(vec![disabled("a"), person("z")], vec![account("z")]);
    world.existing = vec![existing("a", None)];
    world.limit(Guard::Deactivate, at_most(0));
    assert_eq!(brief(&world.planned()), ["!adopt a"]);
}

#[test]
fn an_address_outside_the_verified_domains_is_skipped_and_not_sent() {
    let elsewhere = |name: &str| with_mail(person(name), &format!("{name}@Elsewhere.org"));
    let plan_with = |domains: Option<Vec<&'static str>>| {
        let mut world = World::new(
            vec![
                elsewhere("new"),
                elsewhere("changed"),
                with(elsewhere("kept"), Attribute::Title, "Head"),
                person("fine"),
            ],
            vec![
                account("changed"),
                ManagedAccount {
                    profile: elsewhere("kept").profile,
                    ..account("kept")
                },
            ],
        );
        world.verified_domains = domains;
        world.planned()
    };
    let plan = plan_with(Some(vec!["example.org"]));
    assert_eq!(brief(&plan), ["create fine", "update kept"]);
    assert!(!plan.needs_attention());
    let why = plan.skipped[0].why.to_string();
    assert!(
        why.contains("changed@Elsewhere.org") && why.contains("(example.org)"),
        "{why}"
    );
    assert_eq!(
        plan_with(Some(vec!["example.org", "elsewhere.org"])).skipped,
        []
    );
    assert_eq!(plan_with(None).skipped, []);
}

#[test]
fn a_pending_deletion_is_cancelled_whatever_the_new_address_is() {
    let back = with_mail(person("a"), "a@elsewhere.org");
    let pending = in_state(
        "a",
        pending("2026-06-10T00:00:00Z"),
        Some("2026-06-01T00:00:00Z"),
    );
    let mut world = World::new(vec![back], vec![pending]);
    world.verified_domains = Some(vec!["example.org"]);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["restore a"]);
    let operation = &plan.operations[0].operation;
    assert!(operation.cancel_delete);
    assert_eq!(operation.after, account("a").profile);
    assert_eq!(plan.skipped.len(), 1);
}

#[test]
fn the_account_of_somebody_who_cannot_be_mapped_is_not_another_s_to_adopt() {
    let mut world = World::new(vec![with_mail(person("b"), "a@example.org")], vec![]);
    world.unmapped = vec![unmapped("a", true)];
    world.existing = vec![existing("a", Some("key-a"))];
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(refusal(&plan, "b").contains("whom the directory has too"));
}

#[test]
fn two_newcomers_with_one_address_are_both_refused() {
    let twin = with_mail(person("b"), "A@example.org");
    let plan = World::new(vec![person("a"), twin, person("c")], vec![]).planned();
    assert_eq!(brief(&plan), ["create c"]);
    assert!(
        refusal(&plan, "a").contains("uid=b,"),
        "{}",
        refusal(&plan, "a")
    );
    assert!(refusal(&plan, "b").contains("uid=a,"));
}

#[test]
fn whoever_has_an_address_keeps_it() {
    let newcomer = with_mail(person("b"), "a@example.org");
    let plan = World::new(vec![person("a"), newcomer], vec![account("a")]).planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(refusal(&plan, "a"), "");
    assert!(refusal(&plan, "b").contains("uid=a,"));
}

#[test]
fn the_address_of_a_disabled_person_s_account_is_not_free() {
    let newcomer = with_mail(person("b"), "a@example.org");
    let moved_on = with_mail(disabled("a"), "other@example.org");
    let account = in_state("a", DEACTIVATED, None);
    let plan = World::new(vec![newcomer, moved_on], vec![account]).planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    let why = refusal(&plan, "b");
    assert!(
        why.contains("deactivated") && why.contains("uid=a,"),
        "{why}"
    );
}

#[test]
fn the_address_of_an_account_whose_entry_cannot_be_mapped_is_not_free() {
    let mut world = World::new(
        vec![with_mail(person("b"), "a@example.org")],
        vec![account("a")],
    );
    world.unmapped = vec![unmapped("a", true)];
    let plan = world.planned();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert!(refusal(&plan, "b").contains("uid=a,"));
}

#[test]
fn a_chain_of_addresses_is_sent_from_its_free_end() {
    let people = vec![
        with_mail(person("a"), "b@example.org"),
        with_mail(person("b"), "c@example.org"),
        with_mail(person("c"), "free@example.org"),
        with_mail(person("new"), "a@example.org"),
    ];
    let plan = World::new(people, vec![account("a"), account("b"), account("c")]).planned();
    assert_eq!(
        brief(&plan),
        ["update c", "update b", "update a", "create new"]
    );
    let waves: Vec<u32> = plan
        .operations
        .iter()
        .map(|planned| planned.operation.wave)
        .collect();
    assert!(waves.is_sorted_by(|a, b| a < b), "{waves:?}");
}

#[test]
fn what_a_refused_person_does_not_free_nobody_takes() {
    let mut world = World::new(
        vec![
            with_mail(person("a"), "taken@example.org"),
            with_mail(person("new"), "a@example.org"),
        ],
        vec![account("a"), in_state("taken", DEACTIVATED, None)],
    );
    world.people.push(disabled("taken"));
    world.people.push(person("z"));
    let plan = world.planned();
    assert_eq!(brief(&plan), ["create z"]);
    assert_eq!(plan.refusals.len(), 2);
}

#[test]
fn two_entries_with_one_key_are_both_refused_and_nobody_departs() {
    let mut double = with_mail(person("a"), "other@example.org");
    double.dn = "uid=double,dc=example,dc=org".into();
    let changed = with(person("a"), Attribute::Title, "Head");
    for first in [person("a"), changed] {
        let plan = World::new(
            vec![first, double.clone(), person("z")],
            vec![account("a"), account("z")],
        )
        .planned();
        assert_eq!(brief(&plan), Vec::<String>::new());
        assert!(refusal(&plan, "a").contains("same key"));
    }
}

#[test]
fn the_same_entry_found_twice_is_one_person() {
    let plan = World::new(vec![person("a"), person("a")], vec![]).planned();
    assert_eq!(brief(&plan), ["create a"]);
    assert!(!plan.needs_attention());
}

#[test]
fn departures_wait_while_the_clock_cannot_be_trusted() {
    let world = |last_run: &str, api_time: Option<&str>| {
        let mut world = World::new(
            vec![person("z")],
            vec![
                in_state("a", DEACTIVATED, Some("2026-01-01T00:00:00Z")),
                account("z"),
                account("b"),
            ],
        );
        world.policy.delete_after = Some(TimeDelta::days(30));
        world.last_run = Some(at(last_run));
        world.api_time = api_time.map(at);
        brief(&world.planned())
    };
    let (before, same) = ("2026-06-15T11:00:00Z", "2026-06-15T12:00:00Z");
    let free = ["deactivate b", "delete a"];
    assert_eq!(world(before, Some(same)), free);
    assert_eq!(world(before, None), free);
    // A deactivation too: it would write the date that its deletion is counted from.
    let held = ["!deactivate b", "!delete a"];
    assert_eq!(world(before, Some("2026-06-14T12:00:00Z")), held);
    let after = "2026-06-16T12:00:00Z";
    assert_eq!(world(after, None), held);
    // It was the last run whose clock was wrong.
    assert_eq!(world(after, Some(same)), free);
}

#[test]
fn no_date_is_noted_by_a_clock_that_cannot_be_trusted() {
    let mut world = World::new(
        vec![person("z")],
        vec![
            in_state("a", DEACTIVATED, None),
            in_state(
                "b",
                pending("2026-01-01T00:00:00Z"),
                Some("2026-01-01T00:00:00Z"),
            ),
            account("z"),
        ],
    );
    assert_eq!(world.planned().notes.len(), 2);
    world.api_time = Some(at("2026-01-02T00:00:00Z"));
    assert_eq!(world.planned().notes, []);
}

#[test]
fn since_when_a_cancelled_deletion_is_off_is_told_by_the_clock_that_is_trusted() {
    let number = |name: &str| with(person(name), Attribute::EmployeeNumber, "7");
    let claimed = vec![number("new"), number("other"), person("z")];
    let unreadable = vec![person("z")];
    let now = now();
    let day = TimeDelta::days(1);
    for (api_time, last_run, since) in [
        (Some(now), None, now),
        (None, Some(now - day), now),
        (Some(now - day), None, now - day),
        (Some(now + day), Some(now + day * 2), now + day),
        // The last run was later, by whatever clock.
        (None, Some(now + day), now + day),
    ] {
        for people in [&claimed, &unreadable] {
            let mut left = in_state(
                "a",
                pending("2026-06-10T00:00:00Z"),
                Some("2026-01-01T00:00:00Z"),
            );
            left.profile.set(Attribute::EmployeeNumber, "7");
            let mut world = World::new(people.clone(), vec![left, account("z")]);
            if people.len() == 1 {
                world.unmapped = vec![unmapped("a", true)];
            }
            world.api_time = api_time;
            world.last_run = last_run;
            let plan = world.planned();
            assert_eq!(brief(&plan), ["restore a"]);
            world.apply(&plan);
            let account = world.accounts.iter().find(|one| one.key == key("a"));
            let off = Lifecycle::Deactivated { since };
            assert_eq!(account.unwrap().lifecycle, off, "{api_time:?} {last_run:?}");
        }
    }
}

#[test]
fn a_deletion_that_may_be_under_way_is_cancelled_when_the_person_is_back() {
    for back in [person("a"), disabled("a")] {
        let left = in_state("a", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
        let mut world = World::new(vec![back], vec![left]);
        world.doubtful = vec!["a"];
        let plan = world.planned();
        assert_eq!(brief(&plan), ["restore a"]);
        assert!(plan.operations[0].operation.cancel_delete);
        assert_eq!(plan.operations[0].operation.active, (false, false));
    }
}

#[test]
fn keeping_leavers_also_keeps_them_from_being_deleted() {
    let left = in_state("a", DEACTIVATED, Some("2026-01-01T00:00:00Z"));
    let mut world = World::new(vec![person("z")], vec![left, account("z")]);
    world.policy.delete_after = Some(TimeDelta::days(30));
    world.policy.on_leave = OnLeave::all(Departure::Keep);
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}

#[test]
fn one_account_is_adopted_by_one_person() {
    // The account has the key of one and the address of the other.
    let mut world = World::new(
        vec![
            with_mail(person("a"), "x@example.org"),
            with_mail(person("b"), "b@example.org"),
        ],
        vec![],
    );
    world.existing = vec![ExistingAccount {
        profile: profile("X", "x@example.org"),
        ..existing("x", Some("KEY-B"))
    }];
    let plan = world.planned();
    assert_eq!(brief(&plan), ["adopt b"]);
    assert!(refusal(&plan, "a").contains("whom the directory has too"));
    // Its user name is that of one and its address that of the other.
    let mut world = World::new(
        vec![
            with(person("a"), Attribute::Email, "x@example.org"),
            with(person("b"), Attribute::UserName, "y@example.org"),
            person("c"),
        ],
        vec![],
    );
    let mut both = profile("X", "x@example.org");
    both.set(Attribute::UserName, "y@example.org");
    world.existing = vec![ExistingAccount {
        profile: both,
        ..existing("x", None)
    }];
    let plan = world.planned();
    assert_eq!(brief(&plan), ["create c"]);
    assert!(refusal(&plan, "a").contains("matches several people"));
    assert!(refusal(&plan, "b").contains("matches several people"));
}

#[test]
fn one_incomplete_pull_is_enough_to_believe_no_absence() {
    let mut elsewhere = account("b");
    elsewhere.source = SourceName::new("other");
    let world = World::new(vec![person("a")], vec![account("a"), elsewhere]);
    let desired = world.desired();
    let known = world.known(&desired);
    let plan_with = |other: Result<(), String>| {
        let mut desired = desired.clone();
        let end = crate::model::PullEnd {
            entries: 5,
            changed: None,
            clean: other,
        };
        desired
            .pulls
            .insert(SourceName::new("other"), Complete::attest(end));
        world.look_for(&mut desired, &known);
        plan(
            &desired,
            &known,
            &world.policies(),
            &world.guards,
            world.now,
        )
        .unwrap()
    };
    assert_eq!(brief(&plan_with(Ok(()))), ["deactivate b"]);
    let mut moved = desired.clone();
    moved.pulls.insert(
        SourceName::new("third"),
        Complete::attest(crate::model::PullEnd {
            entries: 5,
            changed: None,
            clean: Err("cut off".into()),
        }),
    );
    moved.pulls.insert(
        SourceName::new("other"),
        Complete::attest(crate::model::PullEnd {
            entries: 5,
            changed: None,
            clean: Ok(()),
        }),
    );
    let plan = plan(&moved, &known, &world.policies(), &world.guards, world.now).unwrap();
    assert_eq!(brief(&plan), Vec::<String>::new());
    assert_eq!(plan.suspensions[0].source, SourceName::new("third"));
}

#[test]
fn an_incomplete_pull_is_told_also_when_nobody_is_missing() {
    let mut world = World::new(vec![person("a")], vec![account("a")]);
    world.clean = Err("cut off".into());
    assert!(world.planned().needs_attention());
}

#[test]
fn a_disabled_person_loses_the_login_whoever_has_the_address() {
    let twin = with_mail(disabled("b"), "a@example.org");
    let plan = World::new(vec![person("a"), twin], vec![account("a"), account("b")]).planned();
    assert_eq!(brief(&plan), ["deactivate b"]);
    // But whose account the address leads to is open for a newcomer.
    let mut world = World::new(
        vec![person("a"), with_mail(disabled("b"), "a@example.org")],
        vec![],
    );
    world.existing = vec![existing("a", None)];
    assert_eq!(brief(&world.planned()), Vec::<String>::new());
}
