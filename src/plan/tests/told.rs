//! What is told of a plan beside its operations.

use super::super::groups::GroupNotUndone;
use super::super::{Noticed, Plan, SkipReason, Skipped};
use crate::model::{GroupChange, RunId};

#[test]
fn what_the_pulls_of_changes_had_missed_is_told_with_the_first_of_them() {
    let missed = |people: &[&str]| {
        let people = people.iter().copied().map(str::to_owned).collect();
        Noticed::Missed { people }.to_string()
    };
    assert!(missed(&["zoe: title"]).contains("had missed one person (zoe: title), which"));
    assert!(missed(&["zoe", "max", "eva"]).contains("had missed 3 people (the first: zoe), which"));
}

#[test]
fn a_group_that_is_not_put_back_needs_attention_unless_nothing_is_left_of_what_was_done() {
    let plan = |why| Plan {
        skipped: vec![Skipped {
            key: None,
            dn: "cn=staff".to_owned(),
            why: SkipReason::GroupNotUndone {
                kind: GroupChange::Update,
                why,
            },
        }],
        ..Plan::default()
    };
    assert!(plan(GroupNotUndone::OthersAreIn("zoe".to_owned())).needs_attention());
    assert!(!plan(GroupNotUndone::Already { by: RunId(7) }).needs_attention());
}
