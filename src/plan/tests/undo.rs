//! How far a revert can put back what an operation does, as it is told before.

use chrono::TimeDelta;

use super::super::Undo;
use super::super::fixture::*;
use crate::model::{Attribute, Change, Kind, Operation, Undoes};

/// An operation of this kind, with the login as it is before and after.
fn operation(kind: Kind, active: (bool, bool)) -> Operation {
    let changed = with(person("a"), Attribute::Title, "Head");
    let plan = World::new(vec![changed], vec![account("a")]).planned();
    Operation {
        kind,
        active,
        ..plan.operations[0].operation.clone()
    }
}

#[test]
fn how_far_an_operation_can_be_undone_is_told_by_what_it_does() {
    let (on, off) = ((true, true), (false, false));
    let cancelling = |active| Operation {
        cancel_delete: true,
        ..operation(Kind::Restore, active)
    };
    let mut taking_over = operation(Kind::Adopt, on);
    taking_over.changes.push(Change {
        attribute: Change::EXTERNAL_ID.to_owned(),
        old: None,
        new: Some("key-a".to_owned()),
    });
    let letting_go = Operation {
        undoes: Some(Undoes {
            operations: vec![],
            lets_go: true,
        }),
        ..operation(Kind::Update, on)
    };
    let puts_back = "`dirsyncd revert` puts it back";
    for (operation, name, words) in [
        (operation(Kind::Update, on), "full", puts_back),
        (
            operation(Kind::Deactivate, (true, false)),
            "full",
            puts_back,
        ),
        (operation(Kind::Restore, (false, true)), "full", puts_back),
        (operation(Kind::Adopt, on), "full", puts_back),
        (taking_over, "in_part", "the account gets its old key"),
        (
            operation(Kind::Create, (false, true)),
            "in_part",
            "an account cannot be uncreated",
        ),
        (
            cancelling((false, true)),
            "in_part",
            "the account is deactivated again",
        ),
        (
            cancelling(off),
            "never",
            "a cancelled deletion is not requested again",
        ),
        (letting_go, "never", "the account is not managed any more"),
        (
            operation(Kind::Delete, off),
            "until",
            "`dirsyncd revert` cancels it before 2026-06-29 12:00 UTC",
        ),
    ] {
        let undo = Undo::of(&operation, now());
        assert_eq!(undo.name(), name, "{undo}");
        assert!(undo.to_string().starts_with(words), "{undo}");
        let until = (name == "until").then(|| now() + TimeDelta::days(14));
        assert_eq!(undo.until(), until, "{undo}");
    }
}
