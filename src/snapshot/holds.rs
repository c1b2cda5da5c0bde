//! Open holds, what they hold, and who has let what through.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::error::Context;
use super::{Journal, Snapshot, SnapshotError};
use crate::model::{Attribute, Change, Digest, Dn, Operation, RunId, Timestamp, fold};
use crate::plan::{Approval, Hold, HoldCause, Opened, Plan};

/// The approvals of a time that are not used up: no run has looked at them, or one has let the
/// operation through and broke off before it was sent.
const LIVE_APPROVALS: &str = "SELECT approved.approval_id, holds.name, approved.digest
    FROM approvals JOIN holds ON holds.id = approvals.hold_id
    JOIN approved_operations AS approved ON approved.approval_id = approvals.id
    WHERE approvals.expires_at > ?
    AND (approved.result IS NULL OR (approved.result = 'let_through' AND NOT EXISTS
        (SELECT 1 FROM operations WHERE operations.run_id = approved.run_id
            AND operations.external_id = approved.external_id
            AND operations.kind = approved.kind AND operations.sent_at IS NOT NULL)))
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
    /// What changes.
    pub changes: Vec<Change>,
}

impl Detail {
    fn of(operation: &Operation) -> Self {
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
            changes: operation.changes.clone(),
        }
    }
}

impl HeldOperation {
    /// Whether somebody means this by a key, an address or a DN.
    fn is_meant(&self, who: &str) -> bool {
        let dn = Dn::parse(who);
        fold(&self.key) == fold(who)
            || self.detail.addresses.iter().any(|a| fold(a) == fold(who))
            || dn.is_ok_and(|dn| Dn::parse(&self.detail.dn) == Ok(dn))
    }
}

/// Who approves, and why.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The name of the user whose process it is.
    pub by: String,
    /// The user's number.
    pub uid: u32,
    /// Who that was before sudo, as sudo tells.
    pub sudo_user: Option<String>,
    /// The reason given.
    pub reason: String,
}

/// Why nothing was approved.
#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    /// The database.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No open hold has the name.
    #[error("there is no open hold `{name}`{}; `dirsyncd holds` lists them", open_ones(.open))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that there are.
        open: Vec<String>,
    },
    /// The open hold of that name is another one.
    #[error(
        "the open hold `{name}` is number {number}, not {asked}, which is closed: look at it anew by `dirsyncd holds`"
    )]
    Another {
        /// The name.
        name: String,
        /// The number of the open one.
        number: i64,
        /// The number asked for.
        asked: i64,
    },
    /// Its time is over.
    #[error(
        "the hold `{name}` (number {number}) expired at {}: the next sync opens it anew if it still holds something, to be looked at anew", .at.format("%Y-%m-%d %H:%M:%S UTC")
    )]
    Expired {
        /// The name.
        name: String,
        /// Its number.
        number: i64,
        /// When.
        at: Timestamp,
    },
    /// It cannot be approved.
    #[error("`{name}` cannot be approved: {message}")]
    Never {
        /// The name.
        name: String,
        /// What it says.
        message: String,
    },
    /// It does not hold what was asked for.
    #[error(
        "the hold `{name}` holds nothing for `{who}`: give a key, an e-mail address, a user name or a DN that `dirsyncd holds` shows for it"
    )]
    NotHeld {
        /// The name.
        name: String,
        /// What was asked for.
        who: String,
    },
    /// Several operations may be meant.
    #[error("`{who}` may be any of {keys} in the hold `{name}`: give the key")]
    Ambiguous {
        /// The name.
        name: String,
        /// What was asked for.
        who: String,
        /// The keys.
        keys: String,
    },
}

fn open_ones(names: &[String]) -> String {
    if names.is_empty() {
        return " (none is open)".to_owned();
    }
    format!(" (open: {})", names.join(", "))
}

impl Snapshot {
    /// The approvals that count at this time.
    pub async fn approvals(&mut self, now: Timestamp) -> Result<Vec<Approval>, SnapshotError> {
        let rows = sqlx::query(LIVE_APPROVALS)
            .bind(now.timestamp_millis())
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
        rows.iter()
            .map(|row| {
                Ok(Approval {
                    id: row.try_get(0).at(&self.path)?,
                    hold: row.try_get(1).at(&self.path)?,
                    digest: digest(row, 2).map_err(|why| self.row_error(row, &why))?,
                })
            })
            .collect()
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

    /// The open holds with all that they hold, the oldest first.
    pub async fn open_holds(&mut self, now: Timestamp) -> Result<Vec<OpenHold>, SnapshotError> {
        let approved: HashSet<(String, [u8; 16])> = self
            .approvals(now)
            .await?
            .into_iter()
            .map(|approval| (approval.hold, approval.digest.0))
            .collect();
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
            let operations = self.held_operations(opened.number).await?;
            holds.push(OpenHold {
                message: row.try_get(4).at(&self.path)?,
                figures,
                opened,
                operations: operations
                    .into_iter()
                    .map(|operation| HeldOperation {
                        is_approved: approved.contains(&(name.clone(), operation.digest.0)),
                        ..operation
                    })
                    .collect(),
                name,
            });
        }
        Ok(holds)
    }

    async fn held_operations(&mut self, hold: i64) -> Result<Vec<HeldOperation>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT external_id, kind, detail, digest FROM held_operations WHERE hold_id = ?
             ORDER BY detail ->> 'account', external_id",
        )
        .bind(hold)
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        rows.iter()
            .map(|row| {
                Ok(HeldOperation {
                    key: row.try_get(0).at(&self.path)?,
                    kind: row.try_get(1).at(&self.path)?,
                    detail: json(row, 2).map_err(|why| self.row_error(row, &why))?,
                    is_approved: false,
                    digest: digest(row, 3).map_err(|why| self.row_error(row, &why))?,
                })
            })
            .collect()
    }
}

impl Journal {
    /// Records what a plan holds, before anything of it is sent, and which approvals it lets
    /// operations through by. Tells the record of each hold.
    pub async fn record_holds(
        &mut self,
        run: RunId,
        plan: &Plan,
        expiry: TimeDelta,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Opened>, SnapshotError> {
        let path = self.path.clone();
        let live = self.approvals(now).await?;
        let entries = entries(plan, live.is_empty());
        let mut by_hold: Vec<Vec<&Entry>> = vec![Vec::new(); plan.holds.len()];
        for entry in &entries {
            for hold in entry.holds {
                by_hold[*hold].push(entry);
            }
        }
        let mut transaction = self.begin().await?;
        use_approvals(&mut transaction, run, &entries, &live)
            .await
            .at(&path)?;
        close_holds(&mut transaction, plan, now).await.at(&path)?;
        for (hold, held) in plan.holds.iter().zip(by_hold) {
            let number = open_hold(&mut transaction, run, hold, expiry, now)
                .await
                .at(&path)?;
            hold_operations(&mut transaction, number, &held)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)?;
        self.opened(now).await
    }

    /// Lets what an open hold holds now through, or of it the operations of these people. The
    /// hold is given by its name, or as `NAME#NUMBER`. Tells the hold with what was approved.
    pub async fn approve(
        &mut self,
        hold: &str,
        only: &[String],
        asked: &Asked,
        now: Timestamp,
    ) -> Result<OpenHold, ApproveError> {
        let mut hold = self.approvable(hold, now).await?;
        if !only.is_empty() {
            let mut chosen: Vec<HeldOperation> = Vec::new();
            for who in only {
                let meant = the_one(&hold, who)?;
                if !chosen.iter().any(|other| other.digest == meant.digest) {
                    chosen.push(meant);
                }
            }
            hold.operations = chosen;
        }
        let path = self.path.clone();
        let mut transaction = self.begin().await?;
        let approval = sqlx::query(
            "INSERT INTO approvals (hold_id, reason, asked_by, uid, sudo_user, asked_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(hold.opened.number)
        .bind(&asked.reason)
        .bind(&asked.by)
        .bind(asked.uid)
        .bind(&asked.sudo_user)
        .bind(now.timestamp_millis())
        .bind(hold.opened.until.timestamp_millis())
        .execute(&mut *transaction)
        .await
        .at(&path)?
        .last_insert_rowid();
        for operation in &mut hold.operations {
            sqlx::query(
                "INSERT INTO approved_operations (approval_id, digest, external_id, kind, detail) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(approval)
            .bind(operation.digest.0.as_slice())
            .bind(&operation.key)
            .bind(&operation.kind)
            .bind(serde_json::json!(operation.detail).to_string())
            .execute(&mut *transaction)
            .await
            .at(&path)?;
            operation.is_approved = true;
        }
        transaction.commit().await.at(&path)?;
        Ok(hold)
    }

    /// The open hold of this name, if it can be approved now.
    async fn approvable(&mut self, asked: &str, now: Timestamp) -> Result<OpenHold, ApproveError> {
        let open = self.open_holds(now).await?;
        let numbered = asked
            .rsplit_once('#')
            .and_then(|(name, number)| Some((name, number.parse::<i64>().ok()?)));
        let (name, number) = numbered.map_or((asked, None), |(name, number)| (name, Some(number)));
        let names = open.iter().map(|hold| hold.name.clone()).collect();
        let Some(hold) = open.into_iter().find(|hold| hold.name == name) else {
            return Err(ApproveError::Unknown {
                name: name.to_owned(),
                open: names,
            });
        };
        let OpenHold { name, opened, .. } = &hold;
        let name = name.clone();
        match number {
            Some(asked) if asked != opened.number => {
                return Err(ApproveError::Another {
                    name,
                    number: opened.number,
                    asked,
                });
            }
            _ => {}
        }
        if opened.until <= now {
            return Err(ApproveError::Expired {
                name,
                number: opened.number,
                at: opened.until,
            });
        }
        if !hold.figures.can_be_approved {
            return Err(ApproveError::Never {
                name,
                message: hold.message,
            });
        }
        Ok(hold)
    }
}

/// Something planned, as holds and approvals are recorded of it.
struct Entry<'a> {
    digest: Digest,
    key: &'a str,
    kind: &'a str,
    /// What holds it: indices in [`Plan::holds`].
    holds: &'a [usize],
    is_held: bool,
    detail: Box<dyn Fn() -> Detail + Send + Sync + 'a>,
}

/// What is planned: all of it, or as far as it is held, where no approval can be about the rest.
/// What else the guards hold than operations on accounts is to be added here.
fn entries(plan: &Plan, only_held: bool) -> Vec<Entry<'_>> {
    plan.operations
        .iter()
        .filter(|planned| !only_held || planned.is_held())
        .map(|planned| Entry {
            digest: planned.operation.digest(),
            key: planned.operation.key.as_str(),
            kind: planned.operation.kind.name(),
            holds: &planned.holds,
            is_held: planned.is_held(),
            detail: Box::new(|| Detail::of(&planned.operation)),
        })
        .collect()
}

fn the_one(hold: &OpenHold, who: &str) -> Result<HeldOperation, ApproveError> {
    let meant: Vec<&HeldOperation> = hold
        .operations
        .iter()
        .filter(|operation| operation.is_meant(who))
        .collect();
    match meant.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(ApproveError::NotHeld {
            name: hold.name.clone(),
            who: who.to_owned(),
        }),
        several => {
            let keys: Vec<&str> = several.iter().map(|one| one.key.as_str()).collect();
            Err(ApproveError::Ambiguous {
                name: hold.name.clone(),
                who: who.to_owned(),
                keys: keys.join(", "),
            })
        }
    }
}

/// Notes which approvals the plan goes by, and which it leaves without an object. One whose
/// operation something else still holds stays as it is.
async fn use_approvals(
    transaction: &mut Transaction<'_, Sqlite>,
    run: RunId,
    entries: &[Entry<'_>],
    live: &[Approval],
) -> Result<(), sqlx::Error> {
    if live.is_empty() {
        return Ok(());
    }
    let planned: HashMap<[u8; 16], bool> = entries
        .iter()
        .map(|entry| (entry.digest.0, entry.is_held))
        .collect();
    for approval in live {
        let result = match planned.get(&approval.digest.0) {
            Some(true) => continue,
            Some(false) => "let_through",
            None => "void",
        };
        sqlx::query(
            "UPDATE approved_operations SET run_id = ?, result = ? WHERE approval_id = ? AND digest = ?",
        )
        .bind(run.0)
        .bind(result)
        .bind(approval.id)
        .bind(approval.digest.0.as_slice())
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// Closes the holds that have expired, and those that hold nothing any more.
async fn close_holds(
    transaction: &mut Transaction<'_, Sqlite>,
    plan: &Plan,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query("SELECT id, name, expires_at FROM holds WHERE closed_at IS NULL")
        .fetch_all(&mut **transaction)
        .await?;
    for row in rows {
        let (number, name): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        let closed_by = if row.try_get::<i64, _>(2)? <= now.timestamp_millis() {
            "expired"
        } else if plan.holds.iter().any(|hold| hold.name == name) {
            continue;
        } else {
            "empty"
        };
        sqlx::query("UPDATE holds SET closed_at = ?, closed_by = ? WHERE id = ?")
            .bind(now.timestamp_millis())
            .bind(closed_by)
            .bind(number)
            .execute(&mut **transaction)
            .await?;
        sqlx::query("DELETE FROM held_operations WHERE hold_id = ?")
            .bind(number)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Opens the hold, or notes what it says now. Tells its number.
async fn open_hold(
    transaction: &mut Transaction<'_, Sqlite>,
    run: RunId,
    hold: &Hold,
    expiry: TimeDelta,
    now: Timestamp,
) -> Result<i64, sqlx::Error> {
    let mut figures = Figures {
        planned: hold.planned,
        allowed: None,
        population: None,
        scope: None,
        can_be_approved: hold.cause.can_be_approved(),
    };
    if let HoldCause::Limit {
        scope,
        allowed,
        population,
        ..
    } = &hold.cause
    {
        figures.allowed = Some(*allowed);
        figures.population = Some(*population);
        figures.scope = Some(scope.name());
    }
    let expires_at = now
        .checked_add_signed(expiry)
        .unwrap_or(Timestamp::MAX_UTC)
        .timestamp_millis();
    let figures = serde_json::json!(figures).to_string();
    // Not one statement, as an upsert takes a new number each time.
    let open: Option<i64> = sqlx::query_scalar(
        "UPDATE holds SET message = ?, figures = ?, last_run = ? WHERE name = ? AND closed_at IS NULL RETURNING id",
    )
    .bind(hold.to_string())
    .bind(&figures)
    .bind(run.0)
    .bind(&hold.name)
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some(number) = open {
        return Ok(number);
    }
    let opened = sqlx::query(
        "INSERT INTO holds (name, message, figures, opened_at, expires_at, first_run, last_run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )
    .bind(&hold.name)
    .bind(hold.to_string())
    .bind(&figures)
    .bind(now.timestamp_millis())
    .bind(expires_at)
    .bind(run.0)
    .execute(&mut **transaction)
    .await?;
    Ok(opened.last_insert_rowid())
}

/// Brings the operations of a hold up to date. There may be very many, which stay the same from
/// run to run, so only what differs is written.
async fn hold_operations(
    transaction: &mut Transaction<'_, Sqlite>,
    hold: i64,
    held: &[&Entry<'_>],
) -> Result<(), sqlx::Error> {
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT digest FROM held_operations WHERE hold_id = ?")
            .bind(hold)
            .fetch_all(&mut **transaction)
            .await?;
    let mut gone: HashSet<Vec<u8>> = rows.into_iter().collect();
    for entry in held {
        let digest = entry.digest.0;
        if gone.remove(digest.as_slice()) {
            continue;
        }
        sqlx::query(
            "INSERT INTO held_operations (hold_id, digest, external_id, kind, detail) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(hold)
        .bind(digest.as_slice())
        .bind(entry.key)
        .bind(entry.kind)
        .bind(serde_json::json!((entry.detail)()).to_string())
        .execute(&mut **transaction)
        .await?;
    }
    for digest in gone {
        sqlx::query("DELETE FROM held_operations WHERE hold_id = ? AND digest = ?")
            .bind(hold)
            .bind(digest)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

fn digest(row: &SqliteRow, at: usize) -> Result<Digest, String> {
    let bytes: &[u8] = row.try_get(at).map_err(|error| error.to_string())?;
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| "the digest has not 16 bytes")?;
    Ok(Digest(bytes))
}

fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, at: usize) -> Result<T, String> {
    let text: &str = row.try_get(at).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The record of a hold: id, opened_at and expires_at from this column on.
fn opened(row: &SqliteRow, at: usize) -> Result<Opened, String> {
    let number = |at: usize| row.try_get::<i64, _>(at).map_err(|error| error.to_string());
    let moment = |at: usize| {
        let moment = Timestamp::from_timestamp_millis(number(at)?);
        moment.ok_or_else(|| "its time is none".to_owned())
    };
    Ok(Opened {
        number: number(at)?,
        since: moment(at + 1)?,
        until: moment(at + 2)?,
    })
}
