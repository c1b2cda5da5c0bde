//! Open holds, what they hold, and who has let what through.

mod approve;
mod record;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::error::Context;
use super::rows::{digest, moment};
use super::{Snapshot, SnapshotError};
use crate::model::{
    Attribute, Change, Digest, ExternalId, GroupChange, GroupMember, GroupOperation, Name,
    Operation, Reason, Timestamp,
};
use crate::plan::{Approval, HeldForAll, Opened};

pub use approve::{ApproveError, Asked};

/// The approvals of a time that are not used up: no run has looked at them, or one has let the
/// operation through and broke off before it was sent. Who joins a group and who leaves is approved
/// each by itself and may be sent as one: the fourth column has what was sent so.
const LIVE_APPROVALS: &str = "SELECT approved.approval_id, holds.name, approved.digest,
        (SELECT json_group_array(json(operations.detail)) FROM operations WHERE approved.result = 'let_through'
            AND operations.run_id = approved.run_id AND operations.external_id = approved.external_id
            AND operations.kind = approved.kind AND approved.kind = 'group_update'
            AND operations.sent_at IS NOT NULL)
    FROM approvals JOIN holds ON holds.id = approvals.hold_id
    JOIN approved_operations AS approved ON approved.approval_id = approvals.id
    WHERE approvals.expires_at > ?
    AND (approved.result IS NULL OR (approved.result = 'let_through' AND NOT EXISTS
        (SELECT 1 FROM operations WHERE operations.run_id = approved.run_id
            AND operations.external_id = approved.external_id AND operations.kind = approved.kind
            AND coalesce(operations.digest, approved.digest) = approved.digest
            AND operations.sent_at IS NOT NULL)))
    ORDER BY approved.approval_id";

/// An open hold, as the last real run has left it.
#[derive(Clone, Debug)]
pub struct OpenHold {
    /// Its name.
    pub name: String,
    /// Number and times.
    pub opened: Opened,
    /// What it says.
    pub message: String,
    /// Its figures.
    pub figures: Figures,
    /// What it holds, sorted by the name of the account.
    pub operations: Vec<HeldOperation>,
}

/// The figures of a hold, as they are stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// How many are held.
    pub planned: u64,
    /// How many are allowed, by a limit.
    pub allowed: Option<u64>,
    /// What a limit's share is taken of.
    pub population: Option<u64>,
    /// Where a limit counts, by the name of the scope.
    pub scope: Option<String>,
    /// Whether somebody can approve it.
    pub can_be_approved: bool,
}

/// An operation that a hold holds.
#[derive(Clone, Debug)]
pub struct HeldOperation {
    /// The person's key.
    pub key: String,
    /// What is done, by the name of its kind.
    pub kind: String,
    /// What it is for people to read.
    pub detail: Detail,
    /// Whether it is approved, for the next run.
    pub is_approved: bool,
    digest: Digest,
}

/// An operation for people to read, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Detail {
    /// The name of the account.
    pub account: String,
    /// E-mail address and user name, before and after.
    pub addresses: Vec<String>,
    /// Where the entry stands, or last stood.
    pub dn: String,
    /// The source.
    pub source: String,
    /// Why it is planned.
    pub reason: String,
    /// The same for the program; `None` where an older version has held it.
    #[serde(default)]
    pub why: Option<Reason>,
    /// What changes.
    pub changes: Vec<Change>,
}

impl Detail {
    pub(in crate::snapshot) fn of(operation: &Operation) -> Self {
        let mut addresses: Vec<String> = Vec::new();
        for profile in [&operation.before, &operation.after] {
            for attribute in [Attribute::Email, Attribute::UserName] {
                let address = profile.get(attribute).unwrap_or_default();
                if !address.is_empty() && !addresses.iter().any(|other| other == address) {
                    addresses.push(address.to_owned());
                }
            }
        }
        Detail {
            account: operation.label().to_owned(),
            addresses,
            dn: operation.dn.clone(),
            source: operation.source.to_string(),
            reason: operation.reason.to_string(),
            why: Some(operation.reason.clone()),
            changes: operation.changes.clone(),
        }
    }
}

impl Detail {
    /// Of a group: its name stands for the account's, and each who leaves is a change, and who joins
    /// one that stays.
    pub(in crate::snapshot) fn of_group(operation: &GroupOperation) -> Self {
        let dns: Vec<&str> = operation
            .origins
            .iter()
            .map(|one| one.dn.as_str())
            .collect();
        let sources: BTreeSet<&str> = operation
            .origins
            .iter()
            .map(|one| one.source.as_str())
            .collect();
        let leaves = |member: &GroupMember| Change {
            attribute: "member".to_owned(),
            old: Some(member.name.clone()),
            new: None,
        };
        let joins = |member: &GroupMember| Change {
            attribute: "member".to_owned(),
            old: None,
            new: Some(member.name.clone()),
        };
        let is_update = operation.kind == GroupChange::Update;
        let joining = operation.add.iter().filter(|_| is_update);
        Detail {
            account: operation.name.clone(),
            addresses: vec![operation.name.clone()],
            dn: dns.join(" and "),
            source: sources.into_iter().collect::<Vec<_>>().join(", "),
            reason: operation.reason.to_string(),
            why: None,
            changes: operation
                .remove
                .iter()
                .map(leaves)
                .chain(joining.map(joins))
                .collect(),
        }
    }
}

impl HeldOperation {
    pub(in crate::snapshot) fn of(
        key: String,
        kind: String,
        detail: Detail,
        digest: Digest,
    ) -> Self {
        HeldOperation {
            key,
            kind,
            detail,
            is_approved: false,
            digest,
        }
    }

    /// Whose it is: the key, and whether that is a group's.
    fn whose(&self) -> (&str, bool) {
        let mut kinds = GroupChange::ALL.into_iter();
        (&self.key, kinds.any(|kind| kind.name() == self.kind))
    }

    /// What the person or the group may be called by.
    pub(in crate::snapshot) fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let Detail { addresses, dn, .. } = &self.detail;
        let texts = addresses.iter().map(String::as_str).chain([&*self.key]);
        texts.map(Name::Text).chain([Name::Dn(dn)])
    }
}

impl Snapshot {
    /// The approvals that count at this time.
    pub async fn approvals(&mut self, now: Timestamp) -> Result<Vec<Approval>, SnapshotError> {
        let rows = sqlx::query(LIVE_APPROVALS)
            .bind(now.timestamp_millis())
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        let mut live = Vec::with_capacity(rows.len());
        for row in &rows {
            let sent: Vec<GroupOperation> =
                json(row, 3).map_err(|why| self.row_error(row, &why))?;
            let approval = Approval {
                id: row.try_get(0).at(&self.path)?,
                hold: row.try_get(1).at(&self.path)?,
                digest: digest(row, 2).map_err(|why| self.row_error(row, &why))?,
            };
            let mut parts = sent.iter().flat_map(GroupOperation::digests);
            if !parts.any(|part| part == approval.digest) {
                live.push(approval);
            }
        }
        Ok(live)
    }

    /// The records of the holds that are open and have not expired, by their names.
    pub async fn opened(
        &mut self,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Opened>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT name, id, opened_at, expires_at FROM holds WHERE closed_at IS NULL AND expires_at > ?",
        )
        .bind(now.timestamp_millis())
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        rows.iter()
            .map(|row| {
                let opened = opened(row, 1).map_err(|why| self.row_error(row, &why))?;
                Ok((row.try_get(0).at(&self.path)?, opened))
            })
            .collect()
    }

    /// What is held by holds that are not closed.
    pub async fn held(&mut self) -> Result<HeldForAll, SnapshotError> {
        self.held_by(
            "SELECT external_id, kind, name FROM held_operations JOIN holds ON holds.id = hold_id WHERE closed_at IS NULL AND name NOT LIKE 'revert-%'",
        )
        .await
    }

    /// The same of holds of which a part was approved, or of one whose place they took when it
    /// expired: the rest was left out by somebody.
    pub async fn left_out(&mut self) -> Result<HeldForAll, SnapshotError> {
        self.held_by(
            "SELECT external_id, kind, name FROM held_operations JOIN holds ON holds.id = hold_id WHERE closed_at IS NULL
                AND name IN (SELECT earlier.name FROM approvals JOIN holds AS earlier ON earlier.id = approvals.hold_id
                    WHERE NOT EXISTS (SELECT 1 FROM holds AS ended WHERE ended.name = earlier.name
                        AND ended.id >= earlier.id AND ended.closed_by = 'empty'))",
        )
        .await
    }

    async fn held_by(&mut self, query: &'static str) -> Result<HeldForAll, SnapshotError> {
        let rows = sqlx::query(query)
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        let mut held = HeldForAll::new();
        for row in &rows {
            let key: String = row.try_get(0).at(&self.path)?;
            let place = (ExternalId::new(key), row.try_get(1).at(&self.path)?);
            let holds = held.entry(place).or_default();
            holds.insert(row.try_get(2).at(&self.path)?);
        }
        Ok(held)
    }

    /// The open holds with all that they hold, the oldest first.
    pub async fn open_holds(&mut self, now: Timestamp) -> Result<Vec<OpenHold>, SnapshotError> {
        let mut holds = self.open_holds_in_brief().await?;
        for hold in &mut holds {
            let all = 0..usize::MAX;
            hold.operations = self
                .held_page(&hold.name, hold.opened.number, all, now)
                .await?;
        }
        Ok(holds)
    }

    /// The same without what they hold.
    pub async fn open_holds_in_brief(&mut self) -> Result<Vec<OpenHold>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT name, id, opened_at, expires_at, message, figures FROM holds WHERE closed_at IS NULL ORDER BY id",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        let mut holds = Vec::with_capacity(rows.len());
        for row in &rows {
            let name: String = row.try_get(0).at(&self.path)?;
            let figures = json(row, 5).map_err(|why| self.row_error(row, &why))?;
            let opened = opened(row, 1).map_err(|why| self.row_error(row, &why))?;
            holds.push(OpenHold {
                message: row.try_get(4).at(&self.path)?,
                figures,
                opened,
                operations: Vec::new(),
                name,
            });
        }
        Ok(holds)
    }

    /// How much the hold of this number holds.
    pub async fn held_by_hold(&mut self, hold: i64) -> Result<u64, SnapshotError> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM held_operations WHERE hold_id = ?")
                .bind(hold)
                .fetch_one(&mut self.connection)
                .await
                .at(&self.path)?;
        Ok(count.unsigned_abs())
    }

    /// What the hold of this name and number holds, sorted by the name of the account: these of them.
    pub async fn held_page(
        &mut self,
        name: &str,
        hold: i64,
        range: Range<usize>,
        now: Timestamp,
    ) -> Result<Vec<HeldOperation>, SnapshotError> {
        let approved: HashSet<[u8; 16]> = self
            .approvals(now)
            .await?
            .into_iter()
            .filter(|approval| approval.hold == name)
            .map(|approval| approval.digest.0)
            .collect();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let rows = sqlx::query(
            "SELECT external_id, kind, detail, digest FROM held_operations WHERE hold_id = ?
             ORDER BY detail ->> 'account', external_id LIMIT ? OFFSET ?",
        )
        .bind(hold)
        .bind(number(range.len()))
        .bind(number(range.start))
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        rows.iter()
            .map(|row| {
                let operation = HeldOperation::of(
                    row.try_get(0).at(&self.path)?,
                    row.try_get(1).at(&self.path)?,
                    json(row, 2).map_err(|why| self.row_error(row, &why))?,
                    digest(row, 3).map_err(|why| self.row_error(row, &why))?,
                );
                Ok(HeldOperation {
                    is_approved: approved.contains(&operation.digest.0),
                    ..operation
                })
            })
            .collect()
    }
}

pub(in crate::snapshot) fn json<T: serde::de::DeserializeOwned>(
    row: &SqliteRow,
    at: usize,
) -> Result<T, String> {
    let text: &str = row.try_get(at).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The record of a hold: id, opened_at and expires_at from this column on.
fn opened(row: &SqliteRow, at: usize) -> Result<Opened, String> {
    Ok(Opened {
        number: row.try_get(at).map_err(|error| error.to_string())?,
        since: moment(row, at + 1)?,
        until: moment(row, at + 2)?,
    })
}
