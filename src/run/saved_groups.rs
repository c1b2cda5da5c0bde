//! The groups of a saved plan, when it is carried out.

use super::RunError;
use super::groups::{Wanted, known_groups};
use super::saved::sift;
use crate::model::RunId;
use crate::org::Reader;
use crate::plan::groups::{self, GroupPlan, GroupRefusal, GroupRow};
use crate::plan::{Known, Plan, RefusalReason};
use crate::report::{SavedGroup, SavedGroupNote, SavedGroups, SavedPlan};
use crate::snapshot::Snapshot;

/// Makes the groups of the plan again, once its accounts are made again. `newer` is the last run
/// that has read the sources since it was made.
pub(super) async fn resume(
    plan: &mut Plan,
    saved: &SavedPlan,
    SavedGroups {
        operations, notes, ..
    }: &SavedGroups,
    snapshot: &mut Snapshot,
    reader: &Reader,
    known: &Known,
    newer: Option<RunId>,
) -> Result<(), RunError> {
    // A part of a change that waits by itself has a row of its own.
    let (operations, other_operations) =
        sift(saved, operations, "group", |row| row.operation.digest().0);
    let (notes, other_notes) = sift(saved, notes, "group", |note| &note.expects.scim_id);
    let of_operations = other_operations.into_iter().map(|(row, what)| {
        let SavedGroup { operation, .. } = row;
        let what = format!("{}: {what}", operation.kind.name());
        (operation.present_name(), what)
    });
    let of_notes = other_notes
        .into_iter()
        .map(|(note, _)| (note.expects.name.as_str(), "a note".to_owned()));
    let refusals = of_operations
        .chain(of_notes)
        .map(|(group, what)| GroupRefusal {
            dn: group.to_owned(),
            why: RefusalReason::Tampered(what).to_string(),
            in_quarantine: false,
        });
    let mut again = GroupPlan {
        refusals: refusals.collect(),
        ..GroupPlan::default()
    };
    if operations.is_empty() && notes.is_empty() {
        plan.groups = Some(again);
        return Ok(());
    }
    let mut wanted = Wanted::default();
    for SavedGroup { operation, .. } in &operations {
        wanted.names.insert(&operation.name);
        wanted.names.insert(operation.present_name());
        wanted.keys.insert(&operation.key);
        let members = operation.add.iter().chain(&operation.remove);
        let keys = members.filter_map(|member| member.key.clone());
        wanted.people.extend(keys);
    }
    let managed = snapshot.groups().await?;
    let known = known_groups(snapshot, reader, known, managed, &wanted).await?;
    // A later reading has seen to the rows.
    let notes = notes.into_iter().filter(|_| newer.is_none());
    for SavedGroupNote { expects, row, .. } in notes {
        if !known.managed.contains(expects) {
            continue;
        }
        let mut existing = known.existing.iter();
        match row {
            Some(row) => again.notes.push(row.clone()),
            None if existing.any(|group| group.scim_id == expects.scim_id) => {}
            None => again.forgotten.push(expects.scim_id.clone()),
        }
    }
    let rows = operations.into_iter().map(|row| GroupRow {
        operation: row.operation.clone(),
        held: row.hold.clone(),
        expects: row.expects.clone(),
    });
    groups::resume(plan, again, rows.collect(), &known, newer);
    Ok(())
}
