//! A plan that undoes what a run did: of each account what the run changed is put back, if it is
//! still as the run left it.

use std::collections::{BTreeMap, HashMap};

use super::draft::{active_change, differences, operation_on};
use super::{Approval, HeldForAll, Known, Plan, SkipReason, Skipped, conclude, guard};
use crate::config::Guards;
use crate::model::{
    Attribute, Change, ExistingAccount, ExternalId, FormerRow, Kind, Lifecycle, ManagedAccount,
    Operation, OperationId, Profile, Reason, RunId, ScimId, Timestamp, Undoes, deletion_grace,
    fold,
};

/// An operation of a run, as the journal has it.
#[derive(Clone, Debug)]
pub struct Past {
    /// Its number.
    pub id: OperationId,
    /// What was to be done.
    pub operation: Operation,
    /// What became of it.
    pub end: End,
    /// The run that has undone it.
    pub undone_by: Option<RunId>,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It succeeded; with the account that answered, where that is known.
    Done(Option<ScimId>),
    /// It failed, with the error.
    Failed(String),
    /// It was never sent.
    Unsent,
    /// It was sent, and whether it took effect is not known.
    Unanswered,
}

/// Why something that a run did is not undone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUndone {
    /// It is undone.
    #[error("run {by} has undone it already")]
    Already {
        /// By which run.
        by: RunId,
    },
    /// It failed.
    #[error("it failed, so there is nothing to undo ({0})")]
    Failed(String),
    /// It was never sent.
    #[error("it was never sent, so there is nothing to undo")]
    Unsent,
    /// Nobody knows whether it took effect.
    #[error(
        "it was sent and never answered, and reading does not tell whether it took effect; the next sync sees to it"
    )]
    Unanswered,
    /// Nothing was changed that can be put back.
    #[error("it changed nothing that can be put back")]
    Nothing,
    /// A cancelled deletion.
    #[error(
        "it cancelled a deletion, which is not requested again: if the person is gone, a sync does that by `delete_after`"
    )]
    Cancelled,
    /// The account is gone for good.
    #[error("the account was deleted for good on {}", .0.format("%Y-%m-%d"))]
    Gone(Timestamp),
    /// The deletion can no longer be cancelled.
    #[error("the deletion could be cancelled until {}", .0.format("%Y-%m-%d %H:%M UTC"))]
    GraceOver(Timestamp),
    /// The account is not as the run left it.
    #[error("no longer as the run left it: {0}")]
    MovedOn(String),
}

impl NotUndone {
    /// Whether the account is not as whoever reverts the run may take it to be.
    pub fn needs_attention(&self) -> bool {
        match self {
            NotUndone::Already { .. }
            | NotUndone::Failed(_)
            | NotUndone::Unsent
            | NotUndone::Nothing => false,
            NotUndone::Unanswered
            | NotUndone::Cancelled
            | NotUndone::Gone(_)
            | NotUndone::GraceOver(_)
            | NotUndone::MovedOn(_) => true,
        }
    }
}

const REVERT: &str = "revert-";

/// What the names of the holds of a revert begin with.
pub(super) fn hold_prefix(run: RunId) -> String {
    format!("{REVERT}{run}.")
}

/// The run that is reverted where a hold of this name is opened, if it is a revert's.
pub fn reverted_run(hold: &str) -> Option<RunId> {
    let (run, _) = hold.strip_prefix(REVERT)?.split_once('.')?;
    run.parse().ok().map(RunId)
}

/// What opens and closes a hold of this name, for people to read.
pub fn next_run(hold: &str) -> String {
    reverted_run(hold).map_or("sync".to_owned(), |run| format!("`dirsyncd revert {run}`"))
}

/// The approvals that are about the revert of this run, as the guards know the holds.
pub fn own_approvals(run: RunId, approvals: Vec<Approval>) -> Vec<Approval> {
    let prefix = hold_prefix(run);
    approvals
        .into_iter()
        .filter_map(|approval| {
            let hold = approval.hold.strip_prefix(&prefix)?.to_owned();
            Some(Approval { hold, ..approval })
        })
        .collect()
}

/// The same of those who were left out when a part of a hold was approved.
pub fn own_left_out(run: RunId, mut left_out: HeldForAll) -> HeldForAll {
    let prefix = hold_prefix(run);
    for holds in left_out.values_mut() {
        let own = holds.iter().filter_map(|hold| hold.strip_prefix(&prefix));
        *holds = own.map(str::to_owned).collect();
    }
    left_out.retain(|_, holds| !holds.is_empty());
    left_out
}

/// Plans to undo what a run did. `past` has its operations, and those by which an earlier revert
/// of it that broke off has let somebody make way; `account` finds the organization's accounts as
/// they are now.
pub fn revert<'a>(
    run: RunId,
    past: Vec<Past>,
    account: impl Fn(&ScimId) -> Option<&'a ExistingAccount>,
    known: &Known,
    guards: &Guards,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan {
        reverts: Some(run),
        ..Plan::default()
    };
    let mut operations = Vec::new();
    for track in tracks(past, &mut plan.skipped) {
        match track.undo(run, &account, known, now) {
            Ok(operation) => operations.push(operation),
            Err(why) => plan.skipped.push(not_undone(track.last(), why)),
        }
    }
    let clock_fault = guard::clock_fault(known, now);
    let nothing = BTreeMap::new();
    let mut plan = conclude(plan, operations, known, now, |operations| {
        guard::guard(operations, known, guards, now, clock_fault, nothing)
    });
    for hold in &mut plan.holds {
        hold.name = hold_prefix(run) + &hold.name;
    }
    plan
}

fn not_undone(operation: &Operation, why: NotUndone) -> Skipped {
    Skipped {
        key: Some(operation.key.clone()),
        dn: operation.dn.clone(),
        why: SkipReason::NotUndone {
            kind: operation.kind,
            why,
        },
    }
}

/// What was done to one account, in its order: it is undone as one.
struct Track(Vec<Past>);

/// What was done to each account. What was not done, or is undone already, is told.
fn tracks(mut past: Vec<Past>, skipped: &mut Vec<Skipped>) -> Vec<Track> {
    past.sort_by_key(|one| one.id);
    let mut tracks: Vec<Track> = Vec::new();
    let mut by_key: HashMap<ExternalId, usize> = HashMap::new();
    for one in past {
        let why = match &one.end {
            End::Done(_) => {
                let known = by_key.remove(one.operation.row());
                let at = known.unwrap_or(tracks.len());
                if at == tracks.len() {
                    tracks.push(Track(Vec::new()));
                }
                by_key.insert(one.operation.key.clone(), at);
                tracks[at].0.push(one);
                continue;
            }
            End::Failed(error) => NotUndone::Failed(error.clone()),
            End::Unsent => NotUndone::Unsent,
            End::Unanswered => NotUndone::Unanswered,
        };
        skipped.push(not_undone(&one.operation, why));
    }
    tracks.retain(|track| {
        let undone = track.0.iter().find_map(|one| one.undone_by);
        if let Some(by) = undone {
            skipped.push(not_undone(track.last(), NotUndone::Already { by }));
        }
        undone.is_none()
    });
    tracks
}

/// An attribute that was changed: as it was before, and as it was left.
type Values = BTreeMap<Attribute, (Option<String>, Option<String>)>;

impl Track {
    fn first(&self) -> &Operation {
        &self.0[0].operation
    }

    fn last(&self) -> &Operation {
        &self.0[self.0.len() - 1].operation
    }

    /// The attributes that were changed. Those of a new account came with it, and stay.
    fn values(&self) -> Values {
        let mut values = Values::new();
        for operation in self.0.iter().map(|one| &one.operation) {
            if operation.kind == Kind::Create {
                continue;
            }
            for attribute in Attribute::ALL {
                if operation.changes(attribute) {
                    let text = |profile: &Profile| profile.get(attribute).map(str::to_owned);
                    let change = values
                        .entry(attribute)
                        .or_insert_with(|| (text(&operation.before), None));
                    change.1 = text(&operation.after);
                }
            }
        }
        values
    }

    /// The external id before and after, where it was changed.
    fn external_id(&self) -> Option<(Option<String>, Option<String>)> {
        let changes = self.0.iter().flat_map(|one| &one.operation.changes);
        let mut changes = changes.filter(|change| change.attribute == Change::EXTERNAL_ID);
        let first = changes.next()?;
        let last = changes.next_back().unwrap_or(first);
        (first.old != last.new).then(|| (first.old.clone(), last.new.clone()))
    }

    fn is_deletion(&self) -> bool {
        self.last().kind == Kind::Delete
    }

    /// The operation that puts the account back.
    fn undo<'a>(
        &self,
        run: RunId,
        account: &impl Fn(&ScimId) -> Option<&'a ExistingAccount>,
        known: &Known,
        now: Timestamp,
    ) -> Result<Operation, NotUndone> {
        let (first, last) = (self.first(), self.last());
        // A run of before has restored the login as well, which can be put back.
        if last.cancel_delete && !last.active.1 {
            return Err(NotUndone::Cancelled);
        }
        let row = self.row(known, now)?;
        let moved = self.moved_on(row, account(&row.scim_id), known.keeps_keys);
        if !moved.is_empty() {
            return Err(NotUndone::MovedOn(moved.join("; ")));
        }
        let mut after = row.profile.clone();
        for (attribute, (old, _)) in self.values() {
            after.set(attribute, old.unwrap_or_default());
        }
        let is_active = row.lifecycle.is_active();
        let active = first.kind != Kind::Create && first.active.0;
        let kind = match (is_active, active) {
            (true, false) => Kind::Deactivate,
            (false, true) => Kind::Restore,
            _ if self.is_deletion() => Kind::Restore,
            _ => Kind::Update,
        };
        let formerly = (first.row() != &last.key).then(|| last.key.clone());
        let lets_go = first.kind == Kind::Adopt;
        let mut changes: Vec<Change> = self
            .external_id()
            .into_iter()
            .map(|(old, left)| Change {
                attribute: Change::EXTERNAL_ID.to_owned(),
                old: left,
                new: old,
            })
            .collect();
        changes.extend(differences(&row.profile, &after));
        changes.extend(active_change(is_active, active));
        let changes_nothing = changes.is_empty() && after == row.profile;
        if changes_nothing && !lets_go && formerly.is_none() && !self.is_deletion() {
            return Err(NotUndone::Nothing);
        }
        let mut undo = Operation {
            key: first.row().clone(),
            after,
            active: (is_active, active),
            cancel_delete: self.is_deletion(),
            absence: row.absence,
            formerly,
            undoes: Some(Undoes {
                operations: self.0.iter().map(|one| one.id).collect(),
                lets_go,
            }),
            changes,
            ..operation_on(row, kind, Reason::Reverted { run })
        };
        if let Some(former) = &first.former_row {
            self.put_back(&mut undo, former);
        }
        Ok(undo)
    }

    /// What the snapshot had beside the values: the place of an entry that was made anew, and
    /// since when the account was off and the person away.
    fn put_back(&self, undo: &mut Operation, former: &FormerRow) {
        let FormerRow {
            source,
            dn,
            lifecycle,
            absence,
        } = former;
        if undo.formerly.is_some() {
            undo.source = source.clone();
            undo.dn = dn.clone();
        }
        let is_made = matches!(self.first().kind, Kind::Create | Kind::Adopt);
        let is_moved =
            undo.formerly.is_some() || undo.active.0 != undo.active.1 || undo.cancel_delete;
        if is_moved && !is_made {
            undo.absence = *absence;
            if let Lifecycle::Deactivated { since } = lifecycle {
                undo.deactivated_since = Some(*since);
            }
        }
    }

    /// The snapshot's row, if there is still something to put back.
    fn row<'a>(&self, known: &'a Known, now: Timestamp) -> Result<&'a ManagedAccount, NotUndone> {
        let Some(row) = known.accounts.get(&self.last().key) else {
            let key = &self.last().key;
            return Err(NotUndone::MovedOn(format!(
                "the snapshot has no account of {key} any more"
            )));
        };
        match row.lifecycle {
            Lifecycle::Deleted { since } => Err(NotUndone::Gone(since)),
            Lifecycle::DeletePending { since } if self.is_deletion() => {
                let until = since + deletion_grace();
                if now < until {
                    Ok(row)
                } else {
                    Err(NotUndone::GraceOver(until))
                }
            }
            _ => Ok(row),
        }
    }

    /// What of that which was changed is not as it was left, in the snapshot and in the
    /// organization.
    fn moved_on(
        &self,
        row: &ManagedAccount,
        account: Option<&ExistingAccount>,
        keeps_keys: bool,
    ) -> Vec<String> {
        let last = self.last();
        let mut differences = Vec::new();
        let mut differs = |whose: &str, what: &str, left: Option<&str>, now: Option<&str>| {
            if left != now {
                let word = |value: Option<&str>| value.unwrap_or("(none)").to_owned();
                differences.push(format!("{whose} {what}: {} → {}", word(left), word(now)));
            }
        };
        const SNAPSHOT: &str = "the snapshot's";
        const ORGANIZATION: &str = "the organization's";
        let id = self.0.iter().rev().find_map(|one| match &one.end {
            End::Done(id) => id.as_ref(),
            End::Failed(_) | End::Unsent | End::Unanswered => None,
        });
        if let Some(id) = id {
            let now = Some(row.scim_id.as_str());
            differs(SNAPSHOT, "SCIM id", Some(id.as_str()), now);
        }
        let left = match (self.is_deletion(), last.active.1) {
            (true, _) => "being deleted",
            (false, true) => "active",
            (false, false) => "deactivated",
        };
        let now = stage(row.lifecycle);
        differs(SNAPSHOT, "lifecycle", Some(left), Some(now));
        let values = self.values();
        for (attribute, (_, left)) in &values {
            let now = row.profile.get(*attribute);
            differs(SNAPSHOT, attribute.name(), left.as_deref(), now);
        }
        let Some(account) = account else {
            differences.push(format!(
                "the organization has no account {} any more",
                row.scim_id
            ));
            return differences;
        };
        let word = |active: bool| Some(if active { "true" } else { "false" });
        let (left, now) = (word(last.active.1), word(account.active));
        differs(ORGANIZATION, "active", left, now);
        if keeps_keys {
            let now = account.external_id.as_ref().map(ExternalId::as_str);
            let left = last.external_id_after();
            differs(ORGANIZATION, Change::EXTERNAL_ID, left, now);
        }
        for (attribute, (_, left)) in &values {
            let now = account.profile.get(*attribute);
            // The API may write an address in lower case.
            let is_same = attribute.is_local()
                || attribute.is_unique() && left.as_deref().map(fold) == now.map(fold);
            if !is_same {
                differs(ORGANIZATION, attribute.name(), left.as_deref(), now);
            }
        }
        differences
    }
}

fn stage(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Active => "active",
        Lifecycle::Deactivated { .. } => "deactivated",
        Lifecycle::DeletePending { .. } => "being deleted",
        Lifecycle::Deleted { .. } => "deleted",
    }
}
