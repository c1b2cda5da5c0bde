//! What was written to the organization: every operation of the journal, page by page, so that a
//! long history needs no more memory than a short one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::error::Context;
use super::holds::json;
use super::rows::{digest, moment};
use super::{Snapshot, SnapshotError, unreadable};
use crate::model::{
    Digest, Exchange, ExternalId, GroupChange, GroupOperation, GroupProgress, Invoker, Operation,
    OperationId, RunId, ScimId, Timestamp, Who,
};

/// How many writes a page has at most.
const PAGE: usize = 500;

/// How much of the database, in bytes, a page holds at most, but for its last write: an operation on
/// a group names all its members.
const PAGE_BYTES: usize = 4 << 20;

/// A row for [`write`], of an operation.
const SELECT_WRITE: &str = "SELECT o.id, o.run_id, o.external_id, o.kind, o.detail, o.state, o.intended_at, o.sent_at,
        o.answered_at, o.settled_at, o.scim_id, o.requests, o.request_id, o.error, o.progress, o.digest,
        runs.trigger, runs.asked_by, runs.uid, runs.sudo_user, undoing.run_id";

/// Of what else it is.
const OF_WRITE: &str = " JOIN runs ON runs.id = o.run_id
    LEFT JOIN reverted ON reverted.operation_id = o.id
    LEFT JOIN operations AS undoing ON undoing.id = reverted.undone_by";

/// The operation that the row of `retries` has let go: the first that was sent of what had failed.
pub(super) const LET_GO: &str = "(SELECT min(later.id) FROM operations AS later
    JOIN operations AS failed ON failed.id = retries.operation_id AND failed.digest = later.digest
    WHERE later.external_id = retries.external_id AND later.id > failed.id AND later.intended_at >= retries.asked_at
        AND (later.kind GLOB 'group_*') = retries.is_group AND later.sent_at IS NOT NULL)";

/// Which writes are wanted; all that is `None` or empty lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Of this run.
    pub run: Option<RunId>,
    /// On these accounts, and groups: by the key, and whether that is a group's.
    pub whose: Option<BTreeSet<(ExternalId, bool)>>,
    /// Sent at that moment or later.
    pub since: Option<Timestamp>,
    /// Sent at that moment or before.
    pub until: Option<Timestamp>,
    /// Of these kinds, by their names.
    pub kinds: Vec<String>,
    /// Only what failed, or was sent and is not known to have taken effect.
    pub failed: bool,
    /// Recorded before this one.
    pub before: Option<OperationId>,
    /// So many, the newest.
    pub newest: Option<u32>,
}

/// A history that is being read, the oldest write first.
#[derive(Clone, Debug)]
pub struct History {
    selection: Selection,
    after: i64,
    last: i64,
}

/// A write that the journal has and that cannot be read: another program has changed it, or a version made it that
/// this one does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableWrite {
    /// Its number.
    pub id: OperationId,
    /// The run.
    pub run: RunId,
    /// The key of the person or of the group.
    pub key: ExternalId,
    /// What cannot be read of it.
    pub why: String,
}

/// A write to the organization, as the journal has it.
#[derive(Clone, Debug)]
pub struct Write {
    /// Its number.
    pub id: OperationId,
    /// The run.
    pub run: RunId,
    /// What started the run.
    pub trigger: String,
    /// Who did, by hand.
    pub asked_by: Option<Invoker>,
    /// When it was recorded, before anything was sent.
    pub intended_at: Timestamp,
    /// When it went out.
    pub sent_at: Option<Timestamp>,
    /// When its end was recorded.
    pub answered_at: Option<Timestamp>,
    /// When a later run has read back what became of it.
    pub settled_at: Option<Timestamp>,
    /// What was done, to whom.
    pub what: Written,
    /// How it ended.
    pub end: WriteEnd,
    /// The account, or the group, in the organization.
    pub scim_id: Option<ScimId>,
    /// The requests that it took, each with its last answer; empty where the journal does not know.
    pub exchanges: Vec<Exchange>,
    /// The API's name for the last request.
    pub request_id: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Who has let it through a hold.
    pub approvals: Vec<Allowed>,
    /// Who has let it go again after refusals.
    pub retries: Vec<Allowed>,
    /// The run that has undone it.
    pub undone_by: Option<RunId>,
}

/// What a write does, to whom.
#[derive(Clone, Debug)]
pub enum Written {
    /// To an account.
    Account(Box<Operation>),
    /// To a group; and how far it came, where that is known.
    Group(Box<GroupOperation>, Option<Box<GroupProgress>>),
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEnd {
    /// It is still to be sent.
    Intended,
    /// It was sent, and what became of it is not known yet.
    Unanswered,
    /// The API has done it.
    Done,
    /// The answer was lost, and reading showed that it took effect.
    SettledDone,
    /// It failed.
    Failed,
    /// The answer was lost, and reading did not show that it took effect.
    SettledUndone,
    /// It was given up for a later run.
    Left,
}

/// That somebody has let a write go out.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Who.
    pub by: Invoker,
    /// When.
    pub at: Timestamp,
    /// Why, if that was said.
    pub reason: Option<String>,
    /// The hold, if one held it.
    pub hold: Option<String>,
}

impl Write {
    /// When it went out; of what was not sent, when it was recorded.
    pub fn at(&self) -> Timestamp {
        self.sent_at.unwrap_or(self.intended_at)
    }

    /// The digests by which approvals of it are known.
    fn digests(&self, journalled: Option<Digest>) -> Vec<Digest> {
        let mut digests = match &self.what {
            Written::Account(_) => Vec::new(),
            // Who joins and who leaves is approved each by itself.
            Written::Group(operation, _) => operation.digests(),
        };
        digests.extend(journalled);
        digests
    }
}

impl WriteEnd {
    /// The name for programs.
    pub fn name(self) -> &'static str {
        match self {
            WriteEnd::Intended => "intended",
            WriteEnd::Unanswered => "unanswered",
            WriteEnd::Done => "done",
            WriteEnd::SettledDone => "settled_done",
            WriteEnd::Failed => "failed",
            WriteEnd::SettledUndone => "settled_undone",
            WriteEnd::Left => "left",
        }
    }
}

impl Selection {
    /// A query that begins so, for `operations AS o` and what comes with each, to which the condition is added. It names
    /// the index by which it reads the fewest: the planner of SQLite takes one kind for as rare as one person.
    fn query(&self, select: &str, with: &str) -> QueryBuilder<Sqlite> {
        let index = match self {
            Selection { whose: Some(_), .. } => " INDEXED BY operations_by_person",
            Selection { run: Some(_), .. } => " INDEXED BY operations_by_run",
            Selection { failed: true, .. } => " INDEXED BY operations_failed",
            // Those of several kinds would have to be sorted.
            Selection { kinds, .. } if kinds.len() == 1 => " INDEXED BY operations_by_kind",
            _ => "",
        };
        QueryBuilder::new(format!("{select} FROM operations AS o{index}{with}"))
    }

    /// A query for the number of the first of the newest ones, within these numbers.
    pub(super) fn newest(&self, newest: u32, range: (i64, i64)) -> QueryBuilder<Sqlite> {
        let mut query = self.query("SELECT o.id", "");
        self.push(&mut query, range);
        query.push(" ORDER BY o.id DESC LIMIT 1 OFFSET ");
        query.push_bind(newest.saturating_sub(1));
        query
    }

    /// A query for how many there are, whatever `before` and `newest` say; no more than so many are looked at.
    pub(super) fn count(&self, most: u32) -> QueryBuilder<Sqlite> {
        let mut query = self.query("SELECT count(*) FROM (SELECT 1", " WHERE true");
        self.push_rest(&mut query);
        query.push(" LIMIT ").push_bind(most).push(")");
        query
    }

    /// A query for the rows of those within these numbers, to be ordered and limited.
    pub(super) fn rows(&self, range: (i64, i64)) -> QueryBuilder<Sqlite> {
        let mut query = self.query(SELECT_WRITE, OF_WRITE);
        self.push(&mut query, range);
        query
    }

    /// Adds the condition on `operations AS o`, within these numbers.
    fn push(&self, query: &mut QueryBuilder<Sqlite>, (after, last): (i64, i64)) {
        // Of two upper bounds SQLite goes by one, and reads all up to that.
        let before = self.before.map(|before| before.0.saturating_sub(1));
        let last = before.map_or(last, |before| last.min(before));
        query.push(" WHERE o.id > ").push_bind(after);
        query.push(" AND o.id <= ").push_bind(last);
        self.push_rest(query);
    }

    /// Adds what is asked beside the numbers.
    fn push_rest(&self, query: &mut QueryBuilder<Sqlite>) {
        let Selection {
            run,
            whose,
            since,
            until,
            kinds,
            failed,
            before: _,
            newest: _,
        } = self;
        if let Some(run) = run {
            query.push(" AND o.run_id = ").push_bind(run.0);
        }
        if let Some(whose) = whose {
            query.push(" AND o.external_id IN (");
            let mut keys = query.separated(", ");
            for (key, _) in whose {
                keys.push_bind(key.as_str().to_owned());
            }
            // A person and a group may have the same key.
            query.push(") AND (o.external_id, o.kind GLOB 'group_*') IN (VALUES (NULL, NULL)");
            for (key, is_group) in whose {
                query.push(", (").push_bind(key.as_str().to_owned());
                query.push(", ").push_bind(*is_group).push(")");
            }
            query.push(")");
        }
        for (moment, comparison) in [(since, " >= "), (until, " <= ")] {
            if let Some(moment) = moment {
                query.push(" AND coalesce(o.sent_at, o.intended_at)");
                query.push(comparison).push_bind(moment.timestamp_millis());
            }
        }
        if !kinds.is_empty() {
            query.push(" AND o.kind IN (");
            let mut list = query.separated(", ");
            for kind in kinds {
                list.push_bind(kind.clone());
            }
            query.push(")");
        }
        if *failed {
            query.push(
                " AND (o.state IN ('failed', 'sent')
                    OR (o.state = 'left' AND (o.sent_at IS NOT NULL OR o.requests IS NOT NULL)))",
            );
        }
    }
}

impl Snapshot {
    /// The keys of those to whom something was written, or meant to be, and who are or were called
    /// so: by key, e-mail address, user name, DN or SCIM id; of groups by key, name, DN or SCIM id. An
    /// address may have been several people's. Former keys come along.
    pub async fn written_to(
        &mut self,
        who: &str,
        is_group: bool,
    ) -> Result<BTreeSet<(ExternalId, bool)>, SnapshotError> {
        let mut keys = self.keys_written(who, is_group).await?;
        if keys.is_empty() {
            keys = self.names_written(&Who::parse(who), is_group).await?;
            if !is_group {
                // As it is called by now, by a change that sent nothing.
                let called = self.called(who).await?;
                let of_id = self.accounts_by_scim_id(&[ScimId::new(who)]).await?;
                keys.extend(called.into_iter().chain(of_id).map(|account| account.key));
            }
        }
        self.with_former(keys, is_group).await
    }

    /// The same by the key alone, for which not all of the journal is read.
    pub async fn written_to_key(
        &mut self,
        key: &str,
        is_group: bool,
    ) -> Result<BTreeSet<(ExternalId, bool)>, SnapshotError> {
        let keys = self.keys_written(key, is_group).await?;
        self.with_former(keys, is_group).await
    }

    async fn with_former(
        &mut self,
        mut keys: BTreeSet<ExternalId>,
        is_group: bool,
    ) -> Result<BTreeSet<(ExternalId, bool)>, SnapshotError> {
        let mut next: Vec<ExternalId> = keys.iter().cloned().collect();
        while let Some(key) = next.pop() {
            let former: Vec<String> = sqlx::query_scalar(
                "SELECT DISTINCT detail ->> '$.formerly' FROM operations
                 WHERE external_id = ? AND state = 'done' AND detail ->> '$.formerly' IS NOT NULL",
            )
            .bind(key.as_str())
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
            let former = former.into_iter().map(ExternalId::new);
            next.extend(former.filter(|former| keys.insert(former.clone())));
        }
        Ok(keys.into_iter().map(|key| (key, is_group)).collect())
    }

    /// The keys in the journal that are this one.
    async fn keys_written(
        &mut self,
        who: &str,
        is_group: bool,
    ) -> Result<BTreeSet<ExternalId>, SnapshotError> {
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT external_id FROM operations
             WHERE external_id IN (?, ?) AND (kind GLOB 'group_*') = ?",
        )
        .bind(who)
        .bind(crate::model::fold(who))
        .bind(is_group)
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(keys.into_iter().map(ExternalId::new).collect())
    }

    /// The keys of those in the journal who are called so in any of their operations.
    async fn names_written(
        &mut self,
        who: &Who,
        is_group: bool,
    ) -> Result<BTreeSet<ExternalId>, SnapshotError> {
        let mut keys = BTreeSet::new();
        if !is_group {
            self.add_written(who, None, &mut keys).await?;
            return Ok(keys);
        }
        for kind in GroupChange::ALL {
            self.add_written(who, Some(kind), &mut keys).await?;
        }
        Ok(keys)
    }

    /// Adds the keys of those who are called so in an operation: of this kind on a group, or of any on an account. Of
    /// groups there are few, found by their kind.
    async fn add_written(
        &mut self,
        who: &Who,
        group: Option<GroupChange>,
        keys: &mut BTreeSet<ExternalId>,
    ) -> Result<(), SnapshotError> {
        use crate::model::Name::Text;
        let mut after = 0;
        loop {
            let mut query = QueryBuilder::new(
                "SELECT id, external_id, detail, coalesce(scim_id, progress ->> '$.scim_id') FROM operations WHERE id > ",
            );
            query.push_bind(after);
            match group {
                Some(kind) => query.push(" AND kind = ").push_bind(kind.name()),
                None => query.push(" AND kind NOT GLOB 'group_*'"),
            };
            let rows = self.page(query, "id", 2).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = last.try_get(0).at(&self.path)?;
            for row in &rows {
                let scim_id: Option<&str> = row.try_get(3).at(&self.path)?;
                let is_meant = || -> Result<bool, String> {
                    Ok(scim_id.is_some_and(|id| who.is(Text(id)))
                        || match group {
                            Some(_) => who.is_any(json::<GroupOperation>(row, 2)?.names()),
                            None => who.is_any(json::<Operation>(row, 2)?.names()),
                        })
                };
                if is_meant().map_err(|why| self.write_error(row, &why))? {
                    let key: &str = row.try_get(1).at(&self.path)?;
                    keys.insert(ExternalId::new(key));
                }
            }
        }
    }

    /// Begins to read a history; what is recorded from now on is not in it.
    pub async fn history(&mut self, selection: Selection) -> Result<History, SnapshotError> {
        let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM operations")
            .fetch_one(&mut self.connection)
            .await
            .at(&self.path)?;
        let last = last.unwrap_or_default();
        let mut after = match selection.since {
            None => 0,
            Some(since) => self.before(since).await?,
        };
        if let Some(newest) = selection.newest {
            let mut query = selection.newest(newest, (after, last));
            let first: Option<i64> = query
                .build_query_scalar()
                .fetch_optional(&mut self.connection)
                .await
                .at(&self.path)?;
            after = first.map_or(after, |first| first - 1);
        }
        Ok(History {
            selection,
            after,
            last,
        })
    }

    /// How many writes are of a selection, whatever its `before` and `newest` say; of more, so many.
    pub async fn count_writes(
        &mut self,
        selection: &Selection,
        most: u32,
    ) -> Result<u64, SnapshotError> {
        let count: i64 = selection
            .count(most)
            .build_query_scalar()
            .fetch_one(&mut self.connection)
            .await
            .at(&self.path)?;
        Ok(count.unsigned_abs())
    }

    /// An operation before all that were sent since. Runs are one after another, so that all of the
    /// run before the first one that has begun since then may be left out, but for its own.
    async fn before(&mut self, since: Timestamp) -> Result<i64, SnapshotError> {
        let first: Option<i64> = sqlx::query_scalar(
            "SELECT id FROM operations WHERE run_id >= coalesce(
                (SELECT max(id) FROM runs WHERE id < (SELECT min(id) FROM runs WHERE started_at >= ?1)),
                (SELECT min(id) FROM runs WHERE started_at >= ?1), (SELECT max(id) FROM runs))
             ORDER BY run_id, id LIMIT 1",
        )
        .bind(since.timestamp_millis())
        .fetch_optional(&mut self.connection)
        .await
        .at(&self.path)?;
        Ok(first.map_or(0, |first| first - 1))
    }

    /// The next writes of a history, also those that cannot be read; none after the last one.
    pub async fn next_writes(
        &mut self,
        history: &mut History,
    ) -> Result<Vec<Result<Write, UnreadableWrite>>, SnapshotError> {
        let History {
            selection,
            after,
            last,
        } = history;
        let query = selection.rows((*after, *last));
        let rows = self.page(query, "o.id", 4).await?;
        let (mut writes, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            *after = row.try_get(0).at(&self.path)?;
            match write(row) {
                Ok(write) => writes.push(write),
                Err(why) => {
                    let key: &str = row.try_get(2).at(&self.path)?;
                    unreadable.push(UnreadableWrite {
                        id: OperationId(*after),
                        run: RunId(row.try_get(1).at(&self.path)?),
                        key: ExternalId::new(key),
                        why,
                    });
                }
            }
        }
        self.add_approvals(&mut writes).await?;
        let mut writes: Vec<Write> = writes.into_iter().map(|(write, ..)| write).collect();
        self.add_retries(&mut writes).await?;
        let writes = writes.into_iter().map(Ok);
        let mut all: Vec<_> = writes.chain(unreadable.into_iter().map(Err)).collect();
        all.sort_by_key(|one| match one {
            Ok(write) => write.id,
            Err(unreadable) => unreadable.id,
        });
        Ok(all)
    }

    /// The first rows of a query, in the order of this column; what stands in the column of this
    /// number counts for their size.
    async fn page(
        &mut self,
        mut query: QueryBuilder<Sqlite>,
        order: &'static str,
        large: usize,
    ) -> Result<Vec<SqliteRow>, SnapshotError> {
        query.push(" ORDER BY ").push(order);
        query.push(" LIMIT ").push_bind(PAGE as u32);
        let mut rows = query.build().fetch(&mut self.connection);
        let (mut page, mut bytes) = (Vec::new(), 0);
        while bytes < PAGE_BYTES
            && let Some(row) = rows.try_next().await.at(&self.path)?
        {
            bytes += row.try_get::<&str, _>(large).at(&self.path)?.len();
            page.push(row);
        }
        Ok(page)
    }

    async fn add_approvals(
        &mut self,
        writes: &mut [(Write, ExternalId, Option<Digest>)],
    ) -> Result<(), SnapshotError> {
        let keys: HashSet<&str> = writes.iter().map(|(_, key, _)| key.as_str()).collect();
        let keys: Vec<&str> = keys.into_iter().collect();
        let query = "SELECT approvals.asked_by, approvals.uid, approvals.sudo_user, approvals.asked_at, approvals.reason,
                holds.name, approved.external_id, approved.run_id, approved.digest, approved.kind
            FROM approved_operations AS approved JOIN approvals ON approvals.id = approved.approval_id
            JOIN holds ON holds.id = approvals.hold_id
            WHERE approved.result = 'let_through' AND approved.external_id";
        // By person or group, run and kind.
        type Of = (ExternalId, RunId, String);
        let mut given: HashMap<Of, Vec<(Digest, Allowed)>> = HashMap::new();
        for row in &self.rows_in(query, &keys).await? {
            let key: &str = row.try_get(6).at(&self.path)?;
            let run = RunId(row.try_get(7).at(&self.path)?);
            let kind: String = row.try_get(9).at(&self.path)?;
            let read = || Ok::<_, String>((digest(row, 8)?, allowed(row)?));
            let one = read().map_err(|why| self.row_error(row, &why))?;
            given
                .entry((ExternalId::new(key), run, kind))
                .or_default()
                .push(one);
        }
        for (write, key, journalled) in writes {
            let of = (key.clone(), write.run, write.what.kind().to_owned());
            let Some(given) = given.get(&of) else {
                continue;
            };
            let digests = write.digests(*journalled);
            // An older version has not journalled it.
            let is_it = |digest: &Digest| journalled.is_none() || digests.contains(digest);
            let theirs = given.iter().filter(|(digest, _)| is_it(digest));
            write.approvals = theirs.map(|(_, allowed)| allowed.clone()).collect();
        }
        Ok(())
    }

    async fn add_retries(&mut self, writes: &mut [Write]) -> Result<(), SnapshotError> {
        let keys: HashSet<&str> = writes.iter().map(|write| write.what.key()).collect();
        let keys: Vec<&str> = keys.into_iter().collect();
        let query = format!(
            "SELECT asked_by, uid, sudo_user, asked_at, reason, NULL, {LET_GO} FROM retries WHERE external_id"
        );
        let mut given: BTreeMap<OperationId, Vec<Allowed>> = BTreeMap::new();
        for row in &self.rows_in(&query, &keys).await? {
            if let Some(id) = row.try_get::<Option<i64>, _>(6).at(&self.path)? {
                let one = allowed(row).map_err(|why| self.row_error(row, &why))?;
                given.entry(OperationId(id)).or_default().push(one);
            }
        }
        for write in writes {
            write.retries = given.remove(&write.id).unwrap_or_default();
        }
        Ok(())
    }

    /// That the operation of a row, whose number is in the first column, cannot be read.
    fn write_error(&self, row: &SqliteRow, why: &str) -> SnapshotError {
        let id = row.try_get::<i64, _>(0).unwrap_or_default();
        unreadable(&self.path, &format!("operation {id}"), why)
    }
}

impl Written {
    /// The name of its kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Written::Account(operation) => operation.kind.name(),
            Written::Group(operation, _) => operation.kind.name(),
        }
    }

    fn key(&self) -> &str {
        match self {
            Written::Account(operation) => operation.key.as_str(),
            Written::Group(operation, _) => operation.key.as_str(),
        }
    }
}

/// Who has let something go, when, why and of which hold: the first six columns.
fn allowed(row: &SqliteRow) -> Result<Allowed, String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let reason: Option<String> = row.try_get(4).map_err(in_words)?;
    Ok(Allowed {
        by: Invoker {
            name: row.try_get(0).map_err(in_words)?,
            uid: row.try_get(1).map_err(in_words)?,
            sudo_user: row.try_get(2).map_err(in_words)?,
        },
        at: moment(row, 3)?,
        reason: reason.filter(|reason| !reason.is_empty()),
        hold: row.try_get(5).map_err(in_words)?,
    })
}

/// The write of a row of [`SELECT_WRITE`], with key and digest as they are journalled.
fn write(row: &SqliteRow) -> Result<(Write, ExternalId, Option<Digest>), String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let text = |at: usize| row.try_get::<Option<String>, _>(at).map_err(in_words);
    let time = |at: usize| -> Result<Option<Timestamp>, String> {
        match row.try_get::<Option<i64>, _>(at).map_err(in_words)? {
            None => Ok(None),
            Some(_) => moment(row, at).map(Some),
        }
    };
    let kind: &str = row.try_get(3).map_err(in_words)?;
    let state: &str = row.try_get(5).map_err(in_words)?;
    let progress: Option<Box<GroupProgress>> = match text(14)? {
        None => None,
        Some(_) => Some(json(row, 14)?),
    };
    let what = match kind.starts_with("group_") {
        true => Written::Group(json(row, 4)?, progress),
        false => Written::Account(json(row, 4)?),
    };
    let (sent_at, settled_at) = (time(7)?, time(9)?);
    let has_exchanges = text(11)?.is_some();
    let end = match (state, settled_at.is_some()) {
        ("intended", _) => WriteEnd::Intended,
        ("sent", _) => WriteEnd::Unanswered,
        ("done", false) => WriteEnd::Done,
        ("done", true) => WriteEnd::SettledDone,
        ("failed", _) => WriteEnd::Failed,
        ("left", true) => WriteEnd::SettledUndone,
        // Of an older version, which has not noted when.
        ("left", false) if sent_at.is_some() && !has_exchanges => WriteEnd::SettledUndone,
        ("left", false) => WriteEnd::Left,
        (state, _) => return Err(format!("the state `{state}` is not known")),
    };
    let scim_id = match &what {
        Written::Account(operation) => operation.target.as_ref().map(|one| &one.scim_id),
        Written::Group(operation, progress) => {
            let target = operation.target.as_ref().map(|one| &one.scim_id);
            let made = progress.as_ref().and_then(|one| one.scim_id.as_ref());
            made.or(target)
        }
    };
    let uid: Option<u32> = row.try_get(18).map_err(in_words)?;
    let asked_by = match (text(17)?, uid) {
        (Some(name), Some(uid)) => Some(Invoker {
            name,
            uid,
            sudo_user: text(19)?,
        }),
        _ => None,
    };
    let journalled = match row.try_get::<Option<&[u8]>, _>(15).map_err(in_words)? {
        None => None,
        Some(_) => Some(digest(row, 15)?),
    };
    let undone_by: Option<i64> = row.try_get(20).map_err(in_words)?;
    let write = Write {
        id: OperationId(row.try_get(0).map_err(in_words)?),
        run: RunId(row.try_get(1).map_err(in_words)?),
        trigger: row.try_get(16).map_err(in_words)?,
        asked_by,
        intended_at: moment(row, 6)?,
        sent_at,
        answered_at: time(8)?,
        settled_at,
        end,
        scim_id: text(10)?.map(ScimId::new).or_else(|| scim_id.cloned()),
        exchanges: match has_exchanges {
            true => json(row, 11)?,
            false => Vec::new(),
        },
        request_id: text(12)?,
        error: text(13)?,
        approvals: Vec::new(),
        retries: Vec::new(),
        undone_by: undone_by.map(RunId),
        what,
    };
    let key: &str = row.try_get(2).map_err(in_words)?;
    Ok((write, ExternalId::new(key), journalled))
}
