//! Finds out, by reading the organization, what became of operations whose answer was lost.

use std::collections::BTreeSet;

use crate::model::{
    Answer, Attribute, Evidence, ExistingAccount, Kind, ManagedAccount, Operation, OperationId,
    Timestamp, fold,
};
use crate::org::{ApiError, Reader};
use crate::snapshot::{End, Ended, Journal, SnapshotError, Unanswered};

/// What reading showed of one operation.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The operation.
    pub id: OperationId,
    /// The operation as it was sent.
    pub operation: Operation,
    /// What became of it.
    pub settled: Settled,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It took effect.
    Done(Answer),
    /// It did not, or not wholly: the next plan does what is missing.
    NotDone,
}

/// Reads what became of these operations. Nothing is written. `managed` are the attributes that
/// the mapping gives values to.
pub async fn settle(
    reader: &Reader,
    unanswered: Vec<Unanswered>,
    managed: &BTreeSet<Attribute>,
) -> Result<Vec<Settlement>, ApiError> {
    let mut settlements = Vec::with_capacity(unanswered.len());
    for Unanswered { id, mut operation } in unanswered {
        let found = match (&operation.kind, &operation.target) {
            // Reading cannot tell a requested deletion from a deactivation. The next plan asks
            // for it again, or cancels it if the person is back; and to cancel once more does
            // no harm. What also restores is of a run of before, and shows.
            (Kind::Delete, _) => None,
            _ if operation.cancel_delete && !operation.active.1 => None,
            (Kind::Create, _) | (_, None) => {
                let mut found = reader.by_external_id(&operation.key).await?;
                found.pop().filter(|_| found.is_empty())
            }
            (_, Some(target)) => reader.by_scim_id(&target.scim_id).await?,
        };
        let settled = match found {
            // An account with the person's key is what the creation made, whatever the API made
            // of its values; the next plan updates what differs.
            Some(account) if operation.kind == Kind::Create => {
                let wanted = std::mem::replace(&mut operation.after, account.profile);
                operation
                    .after
                    .retain(|attribute| managed.contains(&attribute));
                operation.after.set_local(&wanted);
                operation.active.1 = account.active;
                Settled::Done(Answer {
                    scim_id: account.scim_id,
                    account_id: account.account_id,
                    request_id: None,
                })
            }
            Some(account) if took_effect(reader, &operation, &account) => Settled::Done(Answer {
                scim_id: account.scim_id,
                account_id: account.account_id,
                request_id: None,
            }),
            _ => Settled::NotDone,
        };
        settlements.push(Settlement {
            id,
            operation,
            settled,
        });
    }
    Ok(settlements)
}

/// Whether the account is as the operation wanted it. The API may write an address in lower
/// case.
fn took_effect(reader: &Reader, operation: &Operation, account: &ExistingAccount) -> bool {
    let theirs = account.external_id.as_ref().map(|id| id.as_str());
    let is_ours = !reader.keeps_keys() || theirs == operation.external_id_after();
    is_ours
        && account.active == operation.active.1
        && Attribute::ALL.into_iter().all(|attribute| {
            let theirs = account.profile.get(attribute);
            match operation.after.get(attribute) {
                // The organization does not know it.
                _ if attribute.is_local() => true,
                Some(ours) if attribute.is_unique() => {
                    theirs.is_some_and(|theirs| fold(theirs) == fold(ours))
                }
                Some(ours) => theirs == Some(ours),
                // What the operation did not take away may be somebody else's.
                None => theirs.is_none() || operation.before.get(attribute).is_none(),
            }
        })
}

impl Settlement {
    /// The account's row, if the operation took effect.
    pub fn account(&self, now: Timestamp) -> Option<ManagedAccount> {
        match &self.settled {
            Settled::Done(_) if self.operation.lets_go() => None,
            Settled::Done(answer) => Some(self.operation.account_after(answer, now)),
            Settled::NotDone => None,
        }
    }

    /// Records in the journal what reading showed.
    pub async fn record(&self, journal: &mut Journal, now: Timestamp) -> Result<(), SnapshotError> {
        match &self.settled {
            Settled::Done(answer) => {
                let ended = Ended {
                    id: self.id,
                    operation: &self.operation,
                    end: End::Done(answer.clone()),
                    evidence: Evidence::ReadBack,
                };
                journal.record(&ended, now).await
            }
            Settled::NotDone => journal.settle_undone(self.id, now).await,
        }
    }
}
