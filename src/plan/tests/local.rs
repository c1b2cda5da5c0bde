//! Values that are for the snapshot alone.

use crate::model::{Attribute, Kind};
use crate::plan::fixture::{World, account, brief, disabled, in_state, now, person, with};

fn numbered(name: &str) -> crate::model::DesiredAccount {
    with(person(name), Attribute::EmployeeNumber, "4711")
}

#[test]
fn a_local_value_alone_is_noted_once_and_no_update() {
    let mut world = World::new(vec![numbered("ada")], vec![account("ada")]);
    let plan = world.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(plan.unchanged, 1);
    let noted: Vec<_> = plan
        .notes
        .iter()
        .map(|row| row.profile.get(Attribute::EmployeeNumber))
        .collect();
    assert_eq!(noted, [Some("4711")]);
    world.apply(&plan);

    let next = world.planned();
    assert_eq!(next.notes, []);
    assert_eq!(brief(&next), [""; 0]);

    // That it is gone is noted in the same way.
    world.people = vec![person("ada")];
    let plan = world.planned();
    assert_eq!(plan.notes[0].profile, account("ada").profile);
    assert_eq!(brief(&plan), [""; 0]);
}

#[test]
fn an_update_shows_what_is_sent_and_keeps_what_is_not() {
    let moved = with(numbered("ada"), Attribute::Title, "Countess");
    let mut world = World::new(vec![moved], vec![account("ada")]);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["update ada"]);
    let changed: Vec<&str> = plan.operations[0]
        .operation
        .changes
        .iter()
        .map(|change| change.attribute.as_str())
        .collect();
    assert_eq!(changed, ["title"]);
    world.apply(&plan);
    assert_eq!(
        world.accounts[0].profile.get(Attribute::EmployeeNumber),
        Some("4711")
    );
    assert_eq!(world.planned().notes, []);
}

#[test]
fn a_new_account_has_it_in_its_row_and_not_among_the_changes() {
    let mut world = World::new(vec![numbered("ada")], Vec::new());
    let plan = world.planned();
    assert_eq!(plan.count(Kind::Create), 1);
    let changes = &plan.operations[0].operation.changes;
    assert!(
        changes
            .iter()
            .all(|change| change.attribute != "employeeNumber"),
        "{changes:?}"
    );
    world.apply(&plan);
    assert_eq!(
        world.accounts[0].profile.get(Attribute::EmployeeNumber),
        Some("4711")
    );
}

#[test]
fn of_somebody_who_is_disabled_it_is_noted_too() {
    let deactivated = crate::model::Lifecycle::Deactivated { since: now() };
    let person = with(disabled("ada"), Attribute::EmployeeNumber, "4711");
    let mut world = World::new(vec![person], vec![in_state("ada", deactivated, None)]);
    let plan = world.planned();
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(plan.notes.len(), 1);
    world.apply(&plan);
    assert_eq!(world.desired().different, []);
}
