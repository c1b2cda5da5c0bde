//! A plan for one person: what belongs to it, and what a run for all still holds.

use std::collections::BTreeSet;

use super::*;
use crate::model::Digest;

/// `a` takes the address that `b` gives up; `c` has nothing to do with it.
fn world() -> World {
    let mut world = World::new(
        vec![
            with_mail(person("a"), "b@example.org"),
            with_mail(person("b"), "new@example.org"),
            with(person("c"), Attribute::Title, "Head"),
        ],
        ["a", "b", "c", "moved"].map(account).into(),
    );
    let moved = DesiredAccount {
        dn: "uid=moved,ou=elsewhere,dc=example,dc=org".into(),
        ..person("moved")
    };
    world.people.push(moved);
    world.unmapped = vec![unmapped("odd", true)];
    world
}

fn held(name: &str, kind: &str, hold: &str) -> HeldForAll {
    let place = (key(name), kind.to_owned());
    HeldForAll::from([(place, BTreeSet::from([hold.to_owned()]))])
}

fn plan_for(name: &str, held: &HeldForAll, approvals: &[Approval]) -> Plan {
    let mut plan = world().planned();
    one_person(&mut plan, &key(name), held, approvals);
    plan
}

fn noted(plan: &Plan) -> Vec<&str> {
    plan.notes.iter().map(|note| note.key.as_str()).collect()
}

#[test]
fn a_plan_for_one_person_has_also_what_comes_before() {
    let nothing = HeldForAll::new();
    for (name, does, notes, refused) in [
        ("a", &["update b", "update a"][..], &[][..], 0),
        ("b", &["update b"], &[], 0),
        ("c", &["update c"], &[], 0),
        ("moved", &[], &["key-moved"], 0),
        ("odd", &[], &[], 1),
        ("nobody", &[], &[], 0),
    ] {
        let plan = plan_for(name, &nothing, &[]);
        assert_eq!(brief(&plan), does, "{name}");
        assert_eq!(noted(&plan), notes, "{name}");
        assert_eq!(plan.refusals.len(), refused, "{name}");
    }
}

#[test]
fn only_what_concerns_the_person_is_told() {
    let mut world = World::new(
        vec![person("a"), disabled("b"), disabled("c")],
        vec![account("a")],
    );
    world.unmapped = vec![unmapped("odd", true)];
    let mut plan = world.planned();
    assert_eq!((plan.skipped.len(), plan.refusals.len()), (2, 1));
    one_person(&mut plan, &key("b"), &HeldForAll::new(), &[]);
    assert_eq!((plan.skipped.len(), plan.refusals.len()), (1, 0));
    assert_eq!(plan.skipped[0].key, Some(key("b")));
}

#[test]
fn what_a_run_for_all_holds_goes_only_by_an_approval_of_exactly_that() {
    let digest = |name| {
        let plan = world().planned();
        let mut operations = plan.operations.iter().map(|planned| &planned.operation);
        operations
            .find(|one| one.key == key(name))
            .unwrap()
            .digest()
    };
    let approval = |hold: &str, digest: Digest| Approval {
        id: 1,
        hold: hold.to_owned(),
        digest,
    };
    let goes = ["update b", "update a"];
    for (case, held, approvals, does) in [
        ("of others", held("c", "update", "email"), vec![], &goes[..]),
        ("another kind", held("a", "create", "create"), vec![], &goes),
        ("held", held("a", "update", "email"), vec![], &[]),
        ("held before", held("b", "update", "email"), vec![], &[]),
        (
            "approved",
            held("a", "update", "email"),
            vec![approval("email", digest("a"))],
            &goes,
        ),
        (
            "approved for another",
            held("a", "update", "email"),
            vec![approval("email", digest("b"))],
            &[],
        ),
        (
            "approved in another hold",
            held("a", "update", "email"),
            vec![approval("update", digest("a"))],
            &[],
        ),
    ] {
        let plan = plan_for("a", &held, &approvals);
        assert_eq!(brief(&plan), does, "{case}");
        let told: Vec<&Refusal> = plan.refusals.iter().collect();
        if does.is_empty() {
            assert_eq!(told.len(), 1, "{case}");
            assert_eq!(told[0].key, Some(key("a")), "{case}");
            assert_eq!(told[0].dn, person("a").dn, "{case}");
            assert!(told[0].why.to_string().contains("hold `email`"), "{case}");
        } else {
            assert_eq!(told.len(), 0, "{case}");
        }
    }
}

#[test]
fn what_this_plan_holds_itself_is_shown_as_held() {
    let mut world = world();
    world.limit(Guard::ChangeEmail, at_most(0));
    let mut plan = world.planned();
    one_person(
        &mut plan,
        &key("a"),
        &held("a", "update", "change_email"),
        &[],
    );
    assert_eq!(brief(&plan), ["!update b", "!update a"]);
    assert_eq!(plan.refusals, []);
}
