//! What a run records of its holds, and of the approvals that it goes by.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;
use sqlx::{Row, Sqlite, Transaction};

use super::{Detail, Figures};
use crate::model::{Digest, RunId, Timestamp};
use crate::plan::groups::{GroupNotice, GroupNoticed};
use crate::plan::{Approval, GroupPlan, Hold, HoldCause, Opened, Plan, RefusalReason, SkipReason};
use crate::snapshot::error::Context;
use crate::snapshot::{Journal, SnapshotError};

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
        let mut live = self.approvals(now).await?;
        live.retain(|approval| plan.has_say_over(&approval.hold));
        let doubt = Doubt::of(plan);
        let entries = entries(plan, live.is_empty() && !doubt.groups);
        let mut by_hold: Vec<Vec<&Entry>> = vec![Vec::new(); plan.holds.len()];
        for entry in &entries {
            for hold in entry.holds {
                by_hold[*hold].push(entry);
            }
        }
        let mut transaction = self.begin().await?;
        use_approvals(&mut transaction, run, &entries, &live, &doubt)
            .await
            .at(&path)?;
        close_holds(&mut transaction, plan, &doubt, now)
            .await
            .at(&path)?;
        let free = entries.iter().filter(|entry| !entry.is_held);
        let free: HashSet<[u8; 16]> = free.map(|entry| entry.digest.0).collect();
        let_go(&mut transaction, &free).await.at(&path)?;
        for (hold, held) in plan.holds.iter().zip(by_hold) {
            let number = open_hold(&mut transaction, run, hold, expiry, now)
                .await
                .at(&path)?;
            hold_operations(&mut transaction, number, &held, &doubt)
                .await
                .at(&path)?;
        }
        transaction.commit().await.at(&path)?;
        self.opened(now).await
    }
}

impl Journal {
    /// Records which approvals a plan lets operations through by that was made for one person
    /// alone: it says nothing of other people's holds.
    pub async fn record_approvals(
        &mut self,
        run: RunId,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<(), SnapshotError> {
        let path = self.path.clone();
        let entries = entries(plan, false);
        let free: HashSet<[u8; 16]> = entries
            .iter()
            .filter(|entry| !entry.is_held)
            .map(|entry| entry.digest.0)
            .collect();
        let mut live = self.approvals(now).await?;
        live.retain(|approval| {
            plan.has_say_over(&approval.hold) && free.contains(&approval.digest.0)
        });
        let all = Doubt {
            accounts: true,
            groups: true,
            ..Doubt::default()
        };
        let mut transaction = self.begin().await?;
        use_approvals(&mut transaction, run, &entries, &live, &all)
            .await
            .at(&path)?;
        transaction.commit().await.at(&path)
    }
}

/// What a plan is no word on where it does not plan it, as not all was believed that was read, or as
/// it is set aside for now: it may be planned again.
#[derive(Default)]
struct Doubt {
    accounts: bool,
    /// Whoever is not seen as a person is not seen as a member either.
    groups: bool,
    /// Those of whom an operation waits for a later try, or for somebody who does.
    waiting: BTreeSet<String>,
}

impl Doubt {
    fn of(plan: &Plan) -> Self {
        let accounts = plan.is_partial || !plan.suspensions.is_empty();
        let is_set_aside = |notice: &GroupNotice| matches!(notice.what, GroupNoticed::PutOff(_));
        let is_unsure = |groups: &GroupPlan| {
            !groups.suspensions.is_empty()
                || !groups.refusals.is_empty()
                || groups.notices.iter().any(is_set_aside)
        };
        let skipped = plan
            .skipped
            .iter()
            .filter(|one| matches!(one.why, SkipReason::Failing(_) | SkipReason::Behind { .. }));
        let refused = plan.refusals.iter().filter(|one| {
            matches!(
                one.why,
                RefusalReason::Quarantined(_)
                    | RefusalReason::AddressTaken { .. }
                    | RefusalReason::AddressCycle { .. }
            )
        });
        let waiting = skipped
            .map(|one| &one.key)
            .chain(refused.map(|one| &one.key));
        Doubt {
            accounts,
            groups: accounts || plan.groups.as_ref().is_some_and(is_unsure),
            waiting: waiting.flatten().map(ToString::to_string).collect(),
        }
    }

    fn is_about(&self, kind: &str, key: &str) -> bool {
        match kind.starts_with("group_") {
            true => self.groups,
            false => self.accounts || self.waiting.contains(key),
        }
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
fn entries(plan: &Plan, only_held: bool) -> Vec<Entry<'_>> {
    let groups = plan.groups.iter().flat_map(|groups| &groups.operations);
    let groups = groups
        .filter(|planned| !only_held || !planned.holds.is_empty())
        .flat_map(|planned| {
            let digests = planned.operation.digests().into_iter();
            digests.map(|digest| Entry {
                digest,
                key: planned.operation.key.as_str(),
                kind: planned.operation.kind.name(),
                holds: &planned.holds,
                is_held: !planned.holds.is_empty(),
                detail: Box::new(|| Detail::of_group(&planned.operation)),
            })
        });
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
        .chain(groups)
        .collect()
}

/// Notes which approvals the plan goes by, and which it leaves without an object. One whose
/// operation something else still holds stays as it is.
async fn use_approvals(
    transaction: &mut Transaction<'_, Sqlite>,
    run: RunId,
    entries: &[Entry<'_>],
    live: &[Approval],
    doubt: &Doubt,
) -> Result<(), sqlx::Error> {
    if live.is_empty() {
        return Ok(());
    }
    let planned: HashMap<[u8; 16], bool> = entries
        .iter()
        .map(|entry| (entry.digest.0, entry.is_held))
        .collect();
    let waiting = serde_json::json!(doubt.waiting).to_string();
    for approval in live {
        let is_void = match planned.get(&approval.digest.0) {
            Some(true) => continue,
            Some(false) => false,
            None => true,
        };
        sqlx::query(
            "UPDATE approved_operations SET run_id = ?, result = ? WHERE approval_id = ? AND digest = ?
             AND NOT iif(kind GLOB 'group_*', ?, ? OR (? AND external_id IN (SELECT value FROM json_each(?))))",
        )
        .bind(run.0)
        .bind(if is_void { "void" } else { "let_through" })
        .bind(approval.id)
        .bind(approval.digest.0.as_slice())
        .bind(is_void && doubt.groups)
        .bind(is_void && doubt.accounts)
        .bind(is_void)
        .bind(&waiting)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// Closes, of the holds that plans like this one open, those that have expired and those that hold
/// nothing any more. What they held is forgotten unless it is planned still, or may be again.
async fn close_holds(
    transaction: &mut Transaction<'_, Sqlite>,
    plan: &Plan,
    doubt: &Doubt,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query("SELECT id, name, expires_at FROM holds WHERE closed_at IS NULL")
        .fetch_all(&mut **transaction)
        .await?;
    for row in rows {
        let (number, name): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        if !plan.has_say_over(&name) {
            continue;
        }
        let is_expired = row.try_get::<i64, _>(2)? <= now.timestamp_millis();
        if plan.holds.iter().any(|hold| hold.name == name) {
            if is_expired {
                close_hold(transaction, number, "expired", now).await?;
            }
            continue;
        }
        hold_operations(transaction, number, &[], doubt).await?;
        let is_in_doubt: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM held_operations WHERE hold_id = ?)")
                .bind(number)
                .fetch_one(&mut **transaction)
                .await?;
        if is_in_doubt {
            continue;
        }
        let closed_by = if is_expired { "expired" } else { "empty" };
        close_hold(transaction, number, closed_by, now).await?;
    }
    Ok(())
}

async fn close_hold(
    transaction: &mut Transaction<'_, Sqlite>,
    number: i64,
    closed_by: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE holds SET closed_at = ?, closed_by = ? WHERE id = ?")
        .bind(now.timestamp_millis())
        .bind(closed_by)
        .bind(number)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// What goes now is held no more, also where a pull is not believed.
async fn let_go(
    transaction: &mut Transaction<'_, Sqlite>,
    free: &HashSet<[u8; 16]>,
) -> Result<(), sqlx::Error> {
    if free.is_empty() {
        return Ok(());
    }
    let held: Vec<Vec<u8>> = sqlx::query_scalar("SELECT DISTINCT digest FROM held_operations")
        .fetch_all(&mut **transaction)
        .await?;
    for digest in held {
        if <[u8; 16]>::try_from(digest.as_slice()).is_ok_and(|digest| free.contains(&digest)) {
            sqlx::query("DELETE FROM held_operations WHERE digest = ?")
                .bind(digest)
                .execute(&mut **transaction)
                .await?;
        }
    }
    Ok(())
}

/// Opens the hold, or notes what it says now. One that takes the place of an expired one takes over
/// what that held. Tells its number.
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
    let number = opened.last_insert_rowid();
    sqlx::query(
        "UPDATE held_operations SET hold_id = ? WHERE hold_id IN (SELECT id FROM holds WHERE name = ? AND closed_at IS NOT NULL)",
    )
    .bind(number)
    .bind(&hold.name)
    .execute(&mut **transaction)
    .await?;
    Ok(number)
}

/// Brings the operations of a hold up to date. There may be very many, which stay the same from
/// run to run, so only what differs is written. A pull that is not believed is no word on those that
/// are not planned: who was left out by an approval stays so.
async fn hold_operations(
    transaction: &mut Transaction<'_, Sqlite>,
    hold: i64,
    held: &[&Entry<'_>],
    doubt: &Doubt,
) -> Result<(), sqlx::Error> {
    let rows: Vec<(Vec<u8>, String, String)> =
        sqlx::query_as("SELECT digest, kind, external_id FROM held_operations WHERE hold_id = ?")
            .bind(hold)
            .fetch_all(&mut **transaction)
            .await?;
    let rows = rows
        .into_iter()
        .map(|(digest, kind, key)| (digest, (kind, key)));
    let mut gone: HashMap<Vec<u8>, (String, String)> = rows.collect();
    for entry in held {
        let digest = entry.digest.0;
        if gone.remove(digest.as_slice()).is_some() {
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
    gone.retain(|_, (kind, key)| !doubt.is_about(kind, key));
    for digest in gone.into_keys() {
        sqlx::query("DELETE FROM held_operations WHERE hold_id = ? AND digest = ?")
            .bind(hold)
            .bind(digest)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
