//! What is foreseen: refusals, requests and their time.

use std::time::Duration;

use super::*;
use crate::model::{AccountId, Target};
use crate::plan::{Answers, Call, Calls, Estimate, Holder, Pace, Rate, Right, Way, Window};

const SCIM: Way = Way::Scim {
    replaces_whole: false,
};
const WHOLE: Way = Way::Scim {
    replaces_whole: true,
};

fn id(name: &str) -> AccountId {
    AccountId::new(format!("557058:{name}"))
}

fn denying(name: &str, right: Right) -> Answers {
    let reason = "externalDirectory.google".to_owned();
    Answers {
        denied: [(id(name), [(right, reason)].into())].into(),
        ..Answers::default()
    }
}

fn holding(mail: &str, holder: Holder) -> Answers {
    Answers {
        holders: [(mail.to_owned(), holder)].into(),
        ..Answers::default()
    }
}

fn stranger() -> Holder {
    Holder {
        account: id("stranger"),
        name: "A. Stranger".to_owned(),
        active: true,
        owner: None,
    }
}

/// Two people who are long gone, so that their accounts are deleted, and one who is there.
fn deleting() -> World {
    let long_ago = "2026-01-10T00:00:00Z";
    let since = Lifecycle::Deactivated {
        since: at(long_ago),
    };
    let accounts = vec![
        account("z"),
        in_state("a", since, Some(long_ago)),
        in_state("b", since, Some(long_ago)),
    ];
    let mut world = World::new(vec![person("z")], accounts);
    world.policy.delete_after = Some(TimeDelta::days(30));
    world
}

#[test]
fn a_right_that_is_denied_refuses_that_operation_alone() {
    let mut world = deleting();
    world.answers = denying("a", Right::Delete);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["delete b"]);
    assert_eq!(
        refusal(&plan, "a"),
        "the organization does not allow `lifecycle.delete` for 557058:a (externalDirectory.google): change that where the account is managed, or leave the person out"
    );
    assert!(plan.needs_attention());
    // A right that the operation does not need is no matter.
    world.answers = denying("a", Right::Email);
    assert_eq!(brief(&world.planned()), ["delete a", "delete b"]);
}

#[test]
fn a_deletion_is_cancelled_whatever_right_is_denied() {
    let since = "2026-06-10T00:00:00Z";
    for keeps_keys in [true, false] {
        for denied in [Right::Delete, Right::Enablement, Right::Email] {
            let left = in_state("a", pending(since), Some("2026-03-01T00:00:00Z"));
            // In the admin way the account's id is that of the resource.
            let account = match keeps_keys {
                true => id("a"),
                false => AccountId::new(left.scim_id.as_str()),
            };
            let back = with_mail(person("a"), "new@example.org");
            let mut world = World::new(vec![back], vec![left]);
            world.keeps_keys = keeps_keys;
            world.answers.denied = [(account, [(denied, "managed".to_owned())].into())].into();
            let plan = world.planned();
            assert_eq!(brief(&plan), ["restore a"], "{denied}");
            let operation = &plan.operations[0].operation;
            assert!(operation.cancel_delete);
            assert_eq!(operation.active, (false, false), "{denied}");
            let told = refusal(&plan, "a");
            let is_denied = denied == Right::Delete;
            assert_eq!(told.contains(denied.privilege()), is_denied, "{told}");
        }
    }
}

#[test]
fn what_a_refused_operation_would_have_freed_is_not_free() {
    let heir = with_mail(person("heir"), "a@example.org");
    let people = vec![with_mail(person("a"), "new@example.org"), heir];
    let mut world = World::new(people, vec![account("a")]);
    assert_eq!(brief(&world.planned()), ["update a", "create heir"]);
    world.answers = holding("new@example.org", stranger());
    let plan = world.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert!(
        refusal(&plan, "a").contains("belongs to another account: 557058:stranger (A. Stranger)")
    );
    assert!(refusal(&plan, "heir").contains("a@example.org belongs to another account"));
}

#[test]
fn an_address_that_an_account_of_ours_holds_is_left_to_the_order_of_the_operations() {
    let people = vec![
        with_mail(person("a"), "new@example.org"),
        with_mail(person("b"), "a@example.org"),
    ];
    let ours = Holder {
        account: id("a"),
        ..stranger()
    };
    for with_id in [true, false] {
        let mut accounts = vec![account("a"), account("b")];
        if !with_id {
            accounts[0].account_id = None;
        }
        let mut world = World::new(people.clone(), accounts);
        world.answers = holding("a@example.org", ours.clone());
        assert_eq!(brief(&world.planned()), ["update a", "update b"]);
    }
}

#[test]
fn a_creation_is_told_to_be_linked_or_to_be_in_conflict_and_stays_planned() {
    let owned = Some("externalDirectory.google".to_owned());
    for (holder, words) in [
        (
            stranger(),
            "will be linked to the account 557058:stranger (A. Stranger)",
        ),
        (
            Holder {
                active: false,
                ..stranger()
            },
            "will probably be refused: the account 557058:stranger (A. Stranger) has this address and is deactivated;",
        ),
        (
            Holder {
                owner: owned.clone(),
                ..stranger()
            },
            "is managed by a provisioning directory (externalDirectory.google);",
        ),
        (
            Holder {
                owner: owned,
                active: false,
                ..stranger()
            },
            "is managed by a provisioning directory (externalDirectory.google);",
        ),
    ] {
        let mut world = World::new(vec![person("a"), person("b")], vec![]);
        world.answers = holding("a@example.org", holder);
        let plan = world.planned();
        assert_eq!(brief(&plan), ["create a", "create b"]);
        let told: Vec<_> = plan.forecast.foreseen.iter().collect();
        let [(whose, what)] = told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(*whose, key("a"));
        assert!(what.to_string().contains(words), "{what}");
    }
}

#[test]
fn creations_beyond_the_directory_s_room_are_refused() {
    let people: Vec<_> = ["a", "b", "c"].map(person).into();
    for (users, created) in [
        (Some(7), 3),
        (Some(8), 2),
        (Some(9), 1),
        (Some(10), 0),
        (Some(11), 0),
        (None, 3),
    ] {
        let mut world = World::new(people.clone(), vec![]);
        world.answers.max_users = Some(10);
        world.answers.users = users;
        let plan = world.planned();
        assert_eq!(plan.count(Kind::Create), created, "{users:?} users");
        assert_eq!(plan.refusals.len(), 3 - created);
        assert_eq!(
            world.answers.change_a_plan_of(3),
            created < 3,
            "{users:?} users"
        );
    }
    // The first in the plan's order have the room.
    let mut world = World::new(people, vec![]);
    world.answers.max_users = Some(10);
    world.answers.users = Some(9);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["create a"]);
    assert!(refusal(&plan, "c").contains("has 9 users and takes 10 (`max_users`"));
}

#[test]
fn a_plan_is_made_again_for_any_answer_that_is_about_it() {
    let full = Answers {
        users: Some(10),
        max_users: Some(10),
        ..Answers::default()
    };
    for (answers, changes) in [
        (Answers::default(), false),
        (denying("a", Right::Delete), true),
        (holding("a@example.org", stranger()), true),
        (full, true),
    ] {
        assert_eq!(answers.change_a_plan_of(1), changes, "{answers:?}");
    }
}

#[test]
fn what_is_asked_is_what_the_operations_need() {
    let mut world = deleting();
    world.people.push(person("new"));
    world.people[0] = with_mail(person("z"), "Zed@example.org");
    let plan = world.planned();
    let asked = questions(&plan, SCIM);
    let delete = |name: &str| (id(name), [Right::Delete].into());
    assert_eq!(asked.rights, [delete("a"), delete("b")].into());
    let addresses = ["new@example.org", "zed@example.org"].map(str::to_owned);
    assert_eq!(asked.addresses, addresses.into());
    assert_eq!((asked.creations, asked.unknown), (1, 0));

    let mut world = deleting();
    world.accounts[1].account_id = None;
    let asked = questions(&world.planned(), SCIM);
    assert_eq!((asked.rights.len(), asked.unknown), (1, 1));
}

/// An operation on the account of `a` that changes these attributes.
fn operation(kind: Kind, changes: &[Attribute], active: (bool, bool)) -> Operation {
    let before = person("a").profile;
    let mut after = before.clone();
    for attribute in changes {
        after.set(*attribute, "another value");
    }
    Operation {
        key: key("a"),
        source: source(),
        dn: person("a").dn,
        kind,
        reason: Reason::Changed,
        target: Some(Target {
            scim_id: crate::model::ScimId::new("557058:a"),
            account_id: Some(id("a")),
        }),
        before,
        after,
        active,
        cancel_delete: false,
        deactivated_since: None,
        absence: None,
        formerly: None,
        former_row: None,
        undoes: None,
        changes: vec![],
        waits_for: vec![],
        wave: 0,
    }
}

fn calls(operation: &Operation, way: Way) -> Vec<String> {
    Calls::of([operation], way)
        .iter()
        .map(|Call { endpoint, count }| {
            let path = endpoint
                .path
                .replace("/scim/directory/{directoryId}", "")
                .replace("/users/{account_id}", "");
            format!("{count} {} {path}", endpoint.method)
        })
        .collect()
}

#[test]
fn requests_are_counted_as_the_client_sends_them() {
    use Attribute::{Email, FamilyName, Title};
    use Kind::{Adopt, Create, Deactivate, Delete, Restore, Update};
    const READ: &str = "1 GET /Users/{userId}";
    const PATCH: &str = "1 PATCH /Users/{userId}";
    const PROFILE: &str = "1 PATCH /manage/profile";
    let cancelling = |operation: Operation| Operation {
        cancel_delete: true,
        ..operation
    };
    let created = |changes: &[Attribute]| Operation {
        before: Default::default(),
        target: None,
        ..operation(Create, changes, (false, true))
    };
    let taken_over = Operation {
        changes: vec![Change {
            attribute: Change::EXTERNAL_ID.to_owned(),
            old: None,
            new: Some("key-a".to_owned()),
        }],
        ..operation(Adopt, &[], (true, true))
    };
    let without_id = |mut operation: Operation| {
        operation.target.as_mut().unwrap().account_id = None;
        operation
    };
    let restore = operation(Restore, &[], (false, true));
    let delete = operation(Delete, &[], (false, false));
    let cancel = "1 POST /manage/lifecycle/cancel-delete";
    let rows: Vec<(Operation, Way, Vec<&str>)> = vec![
        (created(&[]), SCIM, vec!["1 POST /Users"]),
        (
            operation(Update, &[Title, Email], (true, true)),
            SCIM,
            vec![PATCH],
        ),
        (
            operation(Update, &[Title], (true, true)),
            WHOLE,
            vec![READ, "1 PUT /Users/{userId}"],
        ),
        (operation(Adopt, &[], (true, true)), SCIM, vec![]),
        (operation(Adopt, &[], (true, true)), WHOLE, vec![]),
        // Whose the account is, is read before a login is turned off.
        (
            operation(Adopt, &[], (true, false)),
            SCIM,
            vec![READ, PATCH],
        ),
        (taken_over, SCIM, vec![PATCH]),
        (
            operation(Deactivate, &[], (true, false)),
            SCIM,
            vec![READ, PATCH],
        ),
        (
            operation(Deactivate, &[], (true, false)),
            WHOLE,
            vec![READ, "1 PUT /Users/{userId}"],
        ),
        (restore.clone(), SCIM, vec![PATCH]),
        (cancelling(restore.clone()), SCIM, vec![PATCH, cancel]),
        (
            without_id(cancelling(restore.clone())),
            SCIM,
            vec![READ, PATCH, cancel],
        ),
        (
            cancelling(operation(Restore, &[], (false, false))),
            SCIM,
            vec![cancel],
        ),
        (
            delete.clone(),
            SCIM,
            vec![READ, "1 GET /manage", "1 POST /manage/lifecycle/delete"],
        ),
        (
            without_id(delete.clone()),
            SCIM,
            vec![
                "2 GET /Users/{userId}",
                "1 GET /manage",
                "1 POST /manage/lifecycle/delete",
            ],
        ),
        (
            created(&[]),
            Way::Admin,
            vec![
                "1 GET /manage/profile",
                PROFILE,
                "1 POST /admin/v2/orgs/{orgId}/users/invite",
            ],
        ),
        (
            operation(Update, &[Title, Email], (true, true)),
            Way::Admin,
            vec![PROFILE, "1 PUT /manage/email"],
        ),
        (
            operation(Update, &[FamilyName], (true, true)),
            Way::Admin,
            vec![],
        ),
        (
            operation(Deactivate, &[], (true, false)),
            Way::Admin,
            vec!["1 POST /manage/lifecycle/disable"],
        ),
        (
            cancelling(restore),
            Way::Admin,
            vec![cancel, "1 POST /manage/lifecycle/enable"],
        ),
        (
            delete,
            Way::Admin,
            vec![
                "1 GET /manage",
                "1 GET /manage/profile",
                "1 POST /manage/lifecycle/delete",
            ],
        ),
    ];
    for (operation, way, expected) in rows {
        let mut counted = calls(&operation, way);
        let mut expected = expected;
        counted.sort();
        expected.sort_unstable();
        assert_eq!(counted, expected, "{} in {way:?}", operation.kind);
    }
}

#[test]
fn the_rights_of_an_operation_are_those_that_its_way_needs() {
    let operation = operation(
        Kind::Restore,
        &[Attribute::Email, Attribute::Title, Attribute::FamilyName],
        (false, true),
    );
    let plan = |operation: Operation| Plan {
        operations: vec![Planned {
            operation,
            holds: Vec::new(),
            waits: Vec::new(),
            approvals: Vec::new(),
            undo: Undo::Full,
            tried_in_vain: None,
            is_rekeyed: false,
        }],
        ..Plan::default()
    };
    let rights = |operation: &Operation, way| -> Vec<String> {
        let asked = questions(&plan(operation.clone()), way).rights;
        asked
            .into_values()
            .flatten()
            .map(|one| one.to_string())
            .collect()
    };
    assert_eq!(rights(&operation, SCIM), [""; 0]);
    let own = [
        "lifecycle.enablement",
        "email.set",
        "profile.write of title",
    ];
    assert_eq!(rights(&operation, Way::Admin), own);
    let cancelling = Operation {
        cancel_delete: true,
        ..operation
    };
    assert_eq!(rights(&cancelling, SCIM), ["lifecycle.delete"]);
    assert_eq!(rights(&cancelling, Way::Admin)[0], "lifecycle.delete");
    assert_eq!(rights(&cancelling, Way::Admin).len(), 4);
}

#[test]
fn the_time_is_that_of_what_is_slowest() {
    let seconds = Duration::from_secs;
    let window = Some(Window {
        limit: 100,
        remaining: 10,
        ends_in: seconds(20),
        period: seconds(60),
    });
    let limited = Rate {
        window,
        ..Rate::default()
    };
    for (requests, time) in [
        (0, 0),
        (10, 0),
        (11, 20),
        (110, 20),
        (111, 80),
        (210, 80),
        (211, 140),
    ] {
        let expected = Estimate {
            time: seconds(time),
            by: Pace::Limited(100, seconds(60)),
        };
        assert_eq!(limited.estimate(requests), Some(expected), "{requests}");
    }
    let configured = Rate {
        per_second: Some(5),
        ..Rate::default()
    };
    for (requests, millis) in [(0, 0), (1, 0), (2, 200), (11, 2000)] {
        let expected = Estimate {
            time: Duration::from_millis(millis),
            by: Pace::Configured(5),
        };
        assert_eq!(configured.estimate(requests), Some(expected), "{requests}");
    }
    let answered = Rate {
        round_trip: Some(seconds(1)),
        at_once: 8,
        ..Rate::default()
    };
    let by = |rate: &Rate, requests| rate.estimate(requests).unwrap().by;
    assert_eq!(answered.estimate(16).unwrap().time, seconds(2));
    assert_eq!(Rate::default().estimate(16), None);
    let unlimited = Rate {
        per_second: Some(0),
        ..Rate::default()
    };
    assert_eq!(unlimited.estimate(16), None);
    let all = Rate {
        window,
        ..Rate {
            per_second: Some(5),
            ..answered
        }
    };
    // 8 of 8 answers of a second each; 5 a second; and 90 beyond what the period has.
    assert_eq!(by(&all, 8), Pace::Configured(5));
    assert_eq!(by(&all, 11), Pace::Limited(100, seconds(60)));
    let slow = Rate { at_once: 1, ..all };
    assert_eq!(by(&slow, 30), Pace::Answers(seconds(1)));
}

#[test]
fn what_takes_the_time_is_told_in_words() {
    for (pace, words) in [
        (Pace::Configured(5), "`requests_per_second = 5`"),
        (
            Pace::Limited(100, Duration::from_millis(59_999)),
            "the API's limit of 100 requests in 59s",
        ),
        (
            Pace::Limited(7, Duration::ZERO),
            "the API's limit of 7 requests in 1s",
        ),
        (
            Pace::Answers(Duration::from_micros(12_345)),
            "the API's answers, each after 12 ms",
        ),
    ] {
        assert_eq!(pace.to_string(), words);
    }
}

#[test]
fn only_the_apis_that_are_called_count_for_the_time() {
    let update = operation(Kind::Update, &[Attribute::Title], (true, true));
    let calls = Calls::of([&update, &update], SCIM);
    let rate = |per_second| Rate {
        per_second: Some(per_second),
        ..Rate::default()
    };
    let estimate = calls.estimate(&rate(2), &rate(1)).unwrap();
    assert_eq!(estimate.by, Pace::Configured(2));
    assert_eq!(estimate.time, Duration::from_millis(500));
    assert_eq!(calls.total(), 2);
    assert_eq!(Calls::default().estimate(&rate(2), &rate(1)), None);
}
