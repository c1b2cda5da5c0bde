//! All that the database knows of one person, and who may be meant by a name.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::error::Context;
use super::rows::moment;
use super::{GivenRetry, OpenHold, Snapshot, SnapshotError, rows};
use crate::model::{
    DesiredAccount, ExternalId, ManagedAccount, Name, Operation, OperationId, RunId, SourceName,
    Timestamp, Who, fold,
};
use crate::plan::{Deviation, Failed, VerdictKind};

/// How many people with a name like the one asked for are told.
const NEAR: usize = 5;

/// A part of the database that tells of people.
#[derive(Clone, Copy)]
struct Part {
    /// Key, DN, name, e-mail address, user name, and whether it is an account.
    columns: &'static str,
    /// The table.
    from: &'static str,
    /// Which of its rows.
    rows: &'static str,
    /// What has all the names that no index has, as they are or in JSON.
    text: &'static str,
    /// Two columns by which the rows of one person are in order.
    order: &'static str,
    /// Whether there are rows without a key.
    has_keyless: bool,
}

impl Part {
    /// The query for what its rows tell.
    fn query(&self) -> String {
        format!(
            "SELECT {} FROM {} WHERE {}",
            self.columns, self.from, self.rows
        )
    }

    /// The query for what those rows tell that may have a name of this [piece](Who::piece), the first value: to read
    /// the others is work, and they are nearly all.
    fn query_like(&self) -> String {
        let Part {
            columns,
            from,
            rows,
            text,
            ..
        } = self;
        format!(
            "SELECT {columns} FROM {from} WHERE
             (instr(lower({text}), ?1) OR length({text}) <> octet_length({text}) OR instr({text}, char(92))) AND {rows}"
        )
    }
}

const ACCOUNTS: Part = Part {
    columns: "external_id, dn, profile ->> 'displayName', profile ->> 'email', profile ->> 'userName', true",
    from: "accounts",
    rows: "true",
    text: "dn",
    order: "NULL, NULL",
    has_keyless: false,
};

/// What the directory wants of those of whom that is kept.
const WISHES: Part = Part {
    columns: "external_id, said ->> '$.wants.dn', said ->> '$.wants.profile.displayName',
        said ->> '$.wants.profile.email', said ->> '$.wants.profile.userName', false",
    from: "deviations",
    rows: "said <> '\"gone\"' AND said ->> '$.wants' IS NOT NULL",
    text: "concat(external_id, said)",
    order: "source, NULL",
    has_keyless: false,
};

/// Those of whom the last run has something to say: once more where the directory wants others than the account has.
const SAID: [Part; 4] = [
    WISHES,
    Part {
        columns: "external_id, said ->> '$.unmapped.dn', NULL, NULL, NULL, false",
        rows: "said <> '\"gone\"' AND said ->> '$.unmapped' IS NOT NULL",
        ..WISHES
    },
    Part {
        columns: "external_id, dn, wants ->> '$.profile.displayName',
            wants ->> '$.profile.email', wants ->> '$.profile.userName', false",
        from: "verdicts",
        rows: "true",
        text: "concat(external_id, dn, wants)",
        order: "id, NULL",
        has_keyless: true,
    },
    Part {
        columns: "external_id, detail ->> 'dn', detail ->> 'account',
            detail ->> '$.addresses[0]', detail ->> '$.addresses[1]', false",
        from: "held_operations",
        rows: "true",
        text: "concat(external_id, detail)",
        order: "hold_id, digest",
        has_keyless: false,
    },
];

/// All that is kept of deviations, to be looked through once: a row has a wish or an entry that none can be made of.
const DEVIATIONS: Part = Part {
    columns: "external_id, coalesce(said ->> '$.wants.dn', said ->> '$.unmapped.dn'), NULL,
        said ->> '$.wants.profile.email', said ->> '$.wants.profile.userName', false",
    rows: "said <> '\"gone\"'",
    ..WISHES
};

/// Those for whom an account was to be made, and was not.
const ATTEMPTS: Part = Part {
    columns: "external_id, detail ->> 'dn', detail ->> '$.after.displayName',
        detail ->> '$.after.email', detail ->> '$.after.userName', false",
    from: "operations",
    rows: "id IN (
            SELECT id FROM operations INDEXED BY operations_unanswered WHERE state IN ('intended', 'sent') AND kind = 'create'
            UNION ALL SELECT id FROM operations INDEXED BY operations_not_created WHERE kind = 'create' AND state IN ('failed', 'left'))",
    text: "concat(external_id, detail)",
    order: "id, NULL",
    has_keyless: false,
};

/// The same of a few people.
const ATTEMPTS_OF: Part = Part {
    from: "operations INDEXED BY operations_by_person",
    rows: "kind = 'create' AND state <> 'done'",
    ..ATTEMPTS
};

/// The keys of accounts by a folded key, address or user name, and whether it is one; a key that may be one by the
/// folding of Unicode, which SQLite does not know, is told anyway.
pub(super) const ACCOUNTS_NAMED: &str = "SELECT external_id, true FROM accounts WHERE external_id = ?1
    UNION ALL SELECT external_id, true FROM accounts INDEXED BY accounts_by_key_in_capitals
        WHERE external_id GLOB '*[A-Z]*' AND external_id = ?1 COLLATE NOCASE
    UNION ALL SELECT external_id, false FROM accounts INDEXED BY accounts_by_key_beyond_ascii WHERE external_id GLOB '*[^ -~]*'
    UNION ALL SELECT external_id, true FROM accounts WHERE user_name = ?1 AND user_name <> ''
    UNION ALL SELECT external_id, true FROM accounts WHERE email = ?1 AND email <> ''";

/// A query for all that is told of everybody, the rows of each person one after the other.
pub(super) fn everybody() -> String {
    let parts = [&[ACCOUNTS][..], &SAID, &[ATTEMPTS]].concat();
    let parts = parts.iter().enumerate().map(|(at, part)| {
        let Part {
            columns,
            from,
            rows,
            order,
            has_keyless,
            ..
        } = part;
        let entry = match has_keyless {
            true => "iif(external_id IS NULL, dn, NULL)",
            false => "NULL",
        };
        format!("SELECT {columns}, {entry}, {at}, {order} FROM {from} WHERE {rows}")
    });
    let parts: Vec<String> = parts.collect();
    format!("{} ORDER BY 1, 7, 8, 9, 10", parts.join(" UNION ALL "))
}

/// Who was found by a name.
#[derive(Default)]
struct Named {
    keys: BTreeSet<String>,
    /// The DNs of entries without a key.
    entries: BTreeSet<String>,
    /// Whether the name is a key.
    is_by_key: bool,
}

/// The nearest of those who were looked at.
struct Nearest<'a> {
    who: &'a str,
    found: Vec<(usize, Candidate)>,
}

impl Nearest<'_> {
    /// Looks at all that is told of one person.
    fn look_at(&mut self, told: Vec<Candidate>) {
        for one in merged(told) {
            if let Some(distance) = one.distance(self.who) {
                let one = (distance, one);
                let at = self.found.partition_point(|nearer| nearer <= &one);
                if at < NEAR {
                    self.found.insert(at, one);
                    self.found.truncate(NEAR);
                }
            }
        }
    }
}

/// Somebody whom the database knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Candidate {
    /// The name that a person would know the account by.
    pub name: String,
    /// The person's key, where the entry has a usable one.
    pub key: Option<ExternalId>,
    /// Where the entry stands, and where it stood before.
    pub dns: Vec<String>,
    /// E-mail addresses and user names: of the account, and those that the directory wants.
    pub addresses: Vec<String>,
    /// Whether there is an account.
    pub has_account: bool,
}

/// Who is meant by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// This one.
    One(Candidate),
    /// Any of these.
    Several(Vec<Candidate>),
    /// Nobody; these have a name like that.
    Nobody(Vec<Candidate>),
}

/// All that the database knows of one person.
#[derive(Clone, Debug)]
pub struct Dossier {
    /// Who it is.
    pub who: Candidate,
    /// The account.
    pub account: Option<ManagedAccount>,
    /// What the last pulls said, where it is not as the account is and the source can be followed.
    pub deviation: Option<Deviation>,
    /// What the last run said of why it does nothing.
    pub verdicts: Vec<KeptVerdict>,
    /// The other key that the account carried when the organization was last read back, or none, within;
    /// `None` if it carried the person's.
    pub other_key: Option<Option<ExternalId>>,
    /// Whether a deletion was sent and never answered, or its cancelling.
    pub is_doubtful: bool,
    /// Of the journal, the newest first; also what was done under a former key.
    pub operations: Vec<Journalled>,
    /// The open holds, each with what it holds of this person alone.
    pub holds: Vec<OpenHold>,
    /// What somebody has let through, the newest first.
    pub approvals: Vec<GivenApproval>,
    /// What was refused and has not succeeded since.
    pub failed: Option<(Failed, Operation)>,
    /// Who has let what was refused go again, the newest first.
    pub retries: Vec<GivenRetry>,
    /// The last pulls, by their sources.
    pub pulls: BTreeMap<SourceName, LastPull>,
    /// The last run that has read the sources.
    pub reading: Option<RecordedRun>,
    /// The last run.
    pub last_run: Option<RecordedRun>,
}

/// A [`Verdict`](crate::plan::Verdict) as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptVerdict {
    /// What became of the person.
    pub kind: VerdictKind,
    /// Why.
    pub sentence: String,
    /// The source.
    pub source: Option<SourceName>,
    /// The account that the directory wants, where `Dossier::deviation` does not tell it.
    pub wants: Option<DesiredAccount>,
}

/// An operation of the journal.
#[derive(Clone, Debug)]
pub struct Journalled {
    /// Its number.
    pub id: OperationId,
    /// The run that planned it.
    pub run: RunId,
    /// What it does.
    pub operation: Operation,
    /// How far it got: `intended`, `sent`, `done`, `failed` or `left`.
    pub state: String,
    /// When it got there.
    pub at: Timestamp,
    /// The API's name for the request.
    pub request_id: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Journalled {
    /// Whether it was carried out.
    pub fn is_done(&self) -> bool {
        self.state == "done"
    }
}

/// An approval of something that a hold held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GivenApproval {
    /// The hold.
    pub hold: String,
    /// What was approved, by the name of its kind.
    pub kind: String,
    /// The name of the user who approved it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// Until when it counts.
    pub until: Timestamp,
    /// What the runs after it made of it: `let_through` or `void`; nothing yet when `None`.
    pub result: Option<String>,
    /// The run that did.
    pub run: Option<RunId>,
}

/// How a source was last pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastPull {
    /// The run.
    pub run: RunId,
    /// When the run began.
    pub at: Timestamp,
    /// The entries that the source has.
    pub entries: u64,
    /// `full`, or `changes`; `None` in a row of an older schema.
    pub way: Option<String>,
    /// Why it did not see all there is, if it did not.
    pub incomplete: Option<String>,
    /// When the source was last read in full, as far as it is known.
    pub full_at: Option<Timestamp>,
}

/// A run as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordedRun {
    /// Its number.
    pub run: RunId,
    /// What started it.
    pub trigger: String,
    /// When it began.
    pub at: Timestamp,
    /// How it ended; under way, or broken off, when `None`.
    pub outcome: Option<String>,
    /// What ended it early.
    pub error: Option<String>,
}

impl Candidate {
    /// Whether this is the key.
    fn is_key(&self, who: &Who) -> bool {
        let key = self.key.as_ref();
        key.is_some_and(|key| who.is(Name::Text(key.as_str())))
    }

    /// Whether both are told of one person: by the key, or by the entry where it has none.
    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && (self.key.is_some() || self.dns == other.dns)
    }

    /// What it may be called by, beside the key.
    fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let addresses = self.addresses.iter().map(|one| Name::Text(one));
        addresses.chain(self.dns.iter().map(|one| Name::Dn(one)))
    }

    /// How far its names are from another one; the least of them, if that is near enough to be
    /// meant.
    fn distance(&self, who: &str) -> Option<usize> {
        let who = fold(who);
        let names: Vec<String> = self.addresses.iter().map(|one| fold(one)).collect();
        let names = names.into_iter().chain([fold(&self.name)]);
        let names = names.chain(self.dns.iter().map(|one| fold(one)));
        // What tells people apart; the rest is the same for many.
        let own = |name: &str| name.split(['@', ',']).next().unwrap_or_default().to_owned();
        let of = |name: String| {
            if who.chars().count() > 2 && name.contains(&who) {
                return Some(0);
            }
            let (ours, theirs) = (own(&name), own(&who));
            let (length, other) = (ours.chars().count(), theirs.chars().count());
            let longest = (other / 3).max(1);
            // The distance is no less than that of the lengths, and takes long for everybody's names.
            if length.abs_diff(other) > longest {
                return None;
            }
            let distance = strsim::damerau_levenshtein(&ours, &theirs);
            (distance <= longest).then_some(distance + 1)
        };
        names.filter_map(of).min()
    }
}

impl Snapshot {
    /// From now on all that is read is of one moment, whatever a run writes meanwhile. To be used
    /// for a short time: the file of what is written grows until it is over.
    pub async fn stand_still(&mut self) -> Result<(), SnapshotError> {
        sqlx::query("BEGIN")
            .execute(&mut self.connection)
            .await
            .at(&self.path)?;
        Ok(())
    }

    /// Who is meant by a key, an e-mail address, a user name or a DN. A key goes before the rest.
    pub async fn meant(&mut self, who: &str) -> Result<Meant, SnapshotError> {
        let typed = Who::parse(who);
        let mut named = self.accounts_named(&typed).await?;
        let [_, _, verdicts, held] = SAID;
        self.add_named(&[DEVIATIONS, verdicts, held], &typed, &mut named)
            .await?;
        if !named.is_by_key && typed.is_dn() {
            self.add_named(&[ACCOUNTS], &typed, &mut named).await?;
        }
        let mut meant = chosen(&self.people(&[&[ACCOUNTS], &SAID], &named).await?, &typed);
        if meant.is_empty() {
            // Whose account could not be made.
            self.add_named(&[ATTEMPTS], &typed, &mut named).await?;
            let parts: [&[Part]; 3] = [&[ACCOUNTS], &SAID, &[ATTEMPTS_OF]];
            meant = chosen(&self.people(&parts, &named).await?, &typed);
        }
        Ok(match meant.len() {
            0 => Meant::Nobody(self.near(who).await?),
            1 => Meant::One(meant.remove(0)),
            _ => Meant::Several(meant),
        })
    }

    /// The accounts of this key, address or user name, found by indexes.
    async fn accounts_named(&mut self, who: &Who) -> Result<Named, SnapshotError> {
        let mut named = Named::default();
        let mut rows = sqlx::query(ACCOUNTS_NAMED)
            .bind(who.folded())
            .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.at(&self.path)? {
            let key: &str = row.try_get(0).at(&self.path)?;
            let is_key = who.is(Name::Text(key));
            // Of the keys that no index has in the form in which they are compared all are told.
            if is_key || row.try_get(1).at(&self.path)? {
                named.keys.insert(key.to_owned());
                named.is_by_key |= is_key;
            }
        }
        Ok(named)
    }

    /// Adds who is called so in one of these parts, of which each row is looked at; of accounts, that is for DNs.
    async fn add_named(
        &mut self,
        parts: &[Part],
        who: &Who,
        named: &mut Named,
    ) -> Result<(), SnapshotError> {
        for part in parts {
            let query = part.query_like();
            let mut rows = sqlx::query(sqlx::AssertSqlSafe(query.as_str()))
                .bind(who.piece())
                .fetch(&mut self.connection);
            while let Some(row) = rows.try_next().await.at(&self.path)? {
                let one = candidate(&row).at(&self.path)?;
                let is_key = one.is_key(who);
                if !is_key && !who.is_any(one.names()) {
                    continue;
                }
                named.is_by_key |= is_key;
                match one.key {
                    Some(key) => named.keys.insert(key.as_str().to_owned()),
                    None => named.entries.insert(one.dns.concat()),
                };
            }
        }
        Ok(())
    }

    /// All that these parts have of those who were found.
    async fn people(
        &mut self,
        parts: &[&[Part]],
        named: &Named,
    ) -> Result<Vec<Candidate>, SnapshotError> {
        let keys: Vec<&str> = named.keys.iter().map(String::as_str).collect();
        let entries: Vec<&str> = named.entries.iter().map(String::as_str).collect();
        let mut people = Vec::new();
        for part in parts.iter().copied().flatten() {
            let query = part.query();
            let mut rows = self
                .rows_in(&format!("{query} AND external_id"), &keys)
                .await?;
            if part.has_keyless {
                let query = format!("{query} AND external_id IS NULL AND dn");
                rows.extend(self.rows_in(&query, &entries).await?);
            }
            for row in &rows {
                people.push(candidate(row).at(&self.path)?);
            }
        }
        Ok(merged(people))
    }

    /// Those whose names are the nearest to this one. Everybody is looked at, one after the other.
    async fn near(&mut self, who: &str) -> Result<Vec<Candidate>, SnapshotError> {
        let mut nearest = Nearest {
            who,
            found: Vec::new(),
        };
        let query = everybody();
        let mut rows = sqlx::query(sqlx::AssertSqlSafe(query.as_str())).fetch(&mut self.connection);
        let mut same: Vec<Candidate> = Vec::new();
        while let Some(row) = rows.try_next().await.at(&self.path)? {
            let next = candidate(&row).at(&self.path)?;
            if same.last().is_some_and(|last| !last.is_same(&next)) {
                nearest.look_at(std::mem::take(&mut same));
            }
            same.push(next);
        }
        nearest.look_at(same);
        Ok(nearest.found.into_iter().map(|(_, one)| one).collect())
    }

    /// The same by everybody at once, by which [`Snapshot::meant`] is tested.
    #[cfg(test)]
    pub(super) async fn meant_of_everybody(&mut self, who: &str) -> Result<Meant, SnapshotError> {
        let typed = Who::parse(who);
        let mut told = Vec::new();
        for part in [&[ACCOUNTS][..], &SAID, &[ATTEMPTS_OF]].concat() {
            let rows = sqlx::query(sqlx::AssertSqlSafe(part.query()))
                .fetch_all(&mut self.connection)
                .await
                .at(&self.path)?;
            let is_attempt = part.from == ATTEMPTS_OF.from;
            for row in &rows {
                told.push((is_attempt, candidate(row).at(&self.path)?));
            }
        }
        let told_first = told.iter().filter(|(is_attempt, _)| !is_attempt);
        let mut people = merged(told_first.map(|(_, one)| one.clone()));
        let mut meant = chosen(&people, &typed);
        if meant.is_empty() {
            people = merged(told.into_iter().map(|(_, one)| one));
            meant = chosen(&people, &typed);
        }
        Ok(match meant.len() {
            0 => {
                let distant = people.into_iter();
                let distant = distant.filter_map(|one| Some((one.distance(who)?, one)));
                let mut near: Vec<(usize, Candidate)> = distant.collect();
                near.sort();
                near.truncate(NEAR);
                Meant::Nobody(near.into_iter().map(|(_, one)| one).collect())
            }
            1 => Meant::One(meant.remove(0)),
            _ => Meant::Several(meant),
        })
    }

    /// All that the database knows of somebody.
    pub async fn dossier(
        &mut self,
        who: Candidate,
        now: Timestamp,
    ) -> Result<Dossier, SnapshotError> {
        let key = who.key.as_ref();
        let reading = self.last_reading().await?;
        let (account, deviation, is_doubtful) = match key {
            None => (None, None, false),
            Some(key) => {
                let mut accounts = self.accounts(&HashSet::from([key.clone()])).await?;
                let doubtful = self.doubtful_deletions().await?;
                let deviation = self.deviation_of(key).await?;
                (accounts.remove(key), deviation, doubtful.contains(key))
            }
        };
        let other_key = match &account {
            None => None,
            Some(account) => self.other_key(&account.scim_id).await?,
        };
        let operations = match key {
            None => Vec::new(),
            Some(key) => self.operations_of(key).await?,
        };
        let mut holds = self.open_holds(now).await?;
        for hold in &mut holds {
            let is_theirs = |operation: &super::HeldOperation| {
                key.is_some_and(|key| key.as_str() == operation.key)
            };
            hold.operations.retain(is_theirs);
        }
        holds.retain(|hold| !hold.operations.is_empty());
        let approvals = match key {
            None => Vec::new(),
            Some(key) => self.approvals_of(key).await?,
        };
        let (failed, retries) = match key {
            None => (None, Vec::new()),
            Some(key) => (self.failure_of(key).await?, self.retries_of(key).await?),
        };
        Ok(Dossier {
            account,
            deviation,
            verdicts: self.verdicts_of(&who).await?,
            other_key,
            is_doubtful,
            operations,
            holds,
            approvals,
            failed,
            retries,
            pulls: self.last_pulls().await?,
            reading: match reading {
                Some(run) => self.recorded(Some(run)).await?,
                None => None,
            },
            last_run: self.recorded(None).await?,
            who,
        })
    }

    async fn deviation_of(&mut self, key: &ExternalId) -> Result<Option<Deviation>, SnapshotError> {
        let row =
            sqlx::query("SELECT external_id, source, said FROM deviations WHERE external_id = ?")
                .bind(key.as_str())
                .fetch_optional(&mut self.connection)
                .await
                .at(&self.path)?;
        row.map(|row| rows::deviation(&row).map_err(|why| self.row_error(&row, &why)))
            .transpose()
    }

    async fn verdicts_of(&mut self, who: &Candidate) -> Result<Vec<KeptVerdict>, SnapshotError> {
        let rows = match &who.key {
            Some(key) => {
                sqlx::query("SELECT external_id, source, kind, sentence, wants FROM verdicts WHERE external_id = ? ORDER BY id")
                    .bind(key.as_str())
            }
            None => {
                sqlx::query("SELECT external_id, source, kind, sentence, wants FROM verdicts WHERE external_id IS NULL AND dn = ? ORDER BY id")
                    .bind(who.dns.first())
            }
        };
        let rows = rows.fetch_all(&mut self.connection).await.at(&self.path)?;
        rows.iter()
            .map(|row| verdict(row).map_err(|why| self.row_error(row, &why)))
            .collect()
    }

    /// What the journal has of a person, also from before the entry was made anew.
    async fn operations_of(&mut self, key: &ExternalId) -> Result<Vec<Journalled>, SnapshotError> {
        let mut operations: Vec<Journalled> = Vec::new();
        let mut asked = HashSet::new();
        let mut next = vec![key.clone()];
        while let Some(key) = next.pop() {
            if !asked.insert(key.clone()) {
                continue;
            }
            let rows = sqlx::query(
                "SELECT id, run_id, detail, state, coalesce(answered_at, sent_at, intended_at), request_id, error
                 FROM operations WHERE external_id = ?",
            )
            .bind(key.as_str())
            .fetch_all(&mut self.connection)
            .await
            .at(&self.path)?;
            for row in &rows {
                let journalled = journalled(row).map_err(|why| self.row_error(row, &why))?;
                let formerly = journalled.operation.formerly.clone();
                next.extend(formerly.filter(|_| journalled.is_done()));
                operations.push(journalled);
            }
        }
        operations.sort_by_key(|operation| std::cmp::Reverse(operation.id));
        Ok(operations)
    }

    async fn approvals_of(
        &mut self,
        key: &ExternalId,
    ) -> Result<Vec<GivenApproval>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT holds.name, approved.kind, approvals.asked_by, approvals.reason, approvals.asked_at,
                approvals.expires_at, approved.result, approved.run_id
             FROM approved_operations AS approved JOIN approvals ON approvals.id = approved.approval_id
             JOIN holds ON holds.id = approvals.hold_id
             WHERE approved.external_id = ? ORDER BY approvals.id DESC",
        )
        .bind(key.as_str())
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        rows.iter()
            .map(|row| {
                Ok(GivenApproval {
                    hold: row.try_get(0).at(&self.path)?,
                    kind: row.try_get(1).at(&self.path)?,
                    by: row.try_get(2).at(&self.path)?,
                    reason: row.try_get(3).at(&self.path)?,
                    at: moment(row, 4).map_err(|why| self.row_error(row, &why))?,
                    until: moment(row, 5).map_err(|why| self.row_error(row, &why))?,
                    result: row.try_get(6).at(&self.path)?,
                    run: row.try_get::<Option<i64>, _>(7).at(&self.path)?.map(RunId),
                })
            })
            .collect()
    }

    /// How each source was last pulled.
    async fn last_pulls(&mut self) -> Result<BTreeMap<SourceName, LastPull>, SnapshotError> {
        let rows = sqlx::query(
            "SELECT pulls.source, pulls.run_id, runs.started_at, pulls.entries, pulls.way, pulls.incomplete,
                coalesce(cursors.full_at, (SELECT max(full_runs.started_at)
                    FROM pulls AS complete JOIN runs AS full_runs ON full_runs.id = complete.run_id
                    WHERE complete.source = pulls.source AND complete.way = 'full' AND complete.incomplete IS NULL))
             FROM (SELECT source, max(run_id) AS run_id FROM pulls GROUP BY source) AS last
             JOIN pulls ON pulls.source = last.source AND pulls.run_id = last.run_id
             JOIN runs ON runs.id = pulls.run_id LEFT JOIN cursors ON cursors.source = pulls.source",
        )
        .fetch_all(&mut self.connection)
        .await
        .at(&self.path)?;
        rows.iter()
            .map(|row| last_pull(row).map_err(|why| self.row_error(row, &why)))
            .collect()
    }

    /// The run of this number, else the last one.
    async fn recorded(&mut self, run: Option<RunId>) -> Result<Option<RecordedRun>, SnapshotError> {
        let row = sqlx::query(
            "SELECT trigger, id, started_at, outcome, error FROM runs WHERE ?1 IS NULL OR id = ?1 ORDER BY id DESC LIMIT 1",
        )
        .bind(run.map(|run| run.0))
        .fetch_optional(&mut self.connection)
        .await
        .at(&self.path)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(RecordedRun {
            run: RunId(row.try_get(1).at(&self.path)?),
            trigger: row.try_get(0).at(&self.path)?,
            at: moment(&row, 2).map_err(|why| self.row_error(&row, &why))?,
            outcome: row.try_get(3).at(&self.path)?,
            error: row.try_get(4).at(&self.path)?,
        }))
    }
}

/// Those who are meant by a name.
fn chosen(people: &[Candidate], who: &Who) -> Vec<Candidate> {
    let choose = |is_meant: &dyn Fn(&&Candidate) -> bool| -> Vec<Candidate> {
        people.iter().filter(is_meant).cloned().collect()
    };
    let by_key = choose(&|one| one.is_key(who));
    if by_key.is_empty() {
        return choose(&|one| who.is_any(one.names()));
    }
    by_key
}

/// What a row of a [`Part`] tells.
fn candidate(row: &SqliteRow) -> Result<Candidate, sqlx::Error> {
    let text = |at| row.try_get::<Option<String>, _>(at);
    let (key, dn, name) = (row.try_get::<Option<&str>, _>(0)?, text(1)?, text(2)?);
    let mut addresses: Vec<String> = [text(3)?, text(4)?].into_iter().flatten().collect();
    addresses.dedup();
    let name = name.or_else(|| addresses.first().cloned());
    Ok(Candidate {
        key: key.map(ExternalId::new),
        name: name.or_else(|| dn.clone()).unwrap_or_default(),
        dns: dn.into_iter().collect(),
        addresses,
        has_account: row.try_get(5)?,
    })
}

/// Each person once, with all names.
fn merged(candidates: impl IntoIterator<Item = Candidate>) -> Vec<Candidate> {
    let mut people: BTreeMap<String, Candidate> = BTreeMap::new();
    for candidate in candidates {
        let name = match &candidate.key {
            Some(key) => format!("key {key}"),
            None => format!("entry {}", candidate.dns.join("")),
        };
        let Some(known) = people.get_mut(&name) else {
            people.insert(name, candidate);
            continue;
        };
        known.has_account |= candidate.has_account;
        for address in candidate.addresses {
            if !known.addresses.contains(&address) {
                known.addresses.push(address);
            }
        }
        for dn in candidate.dns {
            if !known.dns.contains(&dn) {
                known.dns.push(dn);
            }
        }
    }
    let mut people: Vec<Candidate> = people.into_values().collect();
    people.sort();
    people
}

fn verdict(row: &SqliteRow) -> Result<KeptVerdict, String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let kind: String = row.try_get(2).map_err(in_words)?;
    let wants: Option<String> = row.try_get(4).map_err(in_words)?;
    let wants = wants.map(|wants| serde_json::from_str(&wants));
    let source: Option<String> = row.try_get(1).map_err(in_words)?;
    Ok(KeptVerdict {
        kind: VerdictKind::parse(&kind).ok_or_else(|| format!("the kind `{kind}` is not known"))?,
        sentence: row.try_get(3).map_err(in_words)?,
        source: source.map(SourceName::new),
        wants: wants.transpose().map_err(|error| error.to_string())?,
    })
}

fn journalled(row: &SqliteRow) -> Result<Journalled, String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let detail: String = row.try_get(2).map_err(in_words)?;
    Ok(Journalled {
        id: OperationId(row.try_get(0).map_err(in_words)?),
        run: RunId(row.try_get(1).map_err(in_words)?),
        operation: serde_json::from_str(&detail).map_err(|error| error.to_string())?,
        state: row.try_get(3).map_err(in_words)?,
        at: moment(row, 4)?,
        request_id: row.try_get(5).map_err(in_words)?,
        error: row.try_get(6).map_err(in_words)?,
    })
}

fn last_pull(row: &SqliteRow) -> Result<(SourceName, LastPull), String> {
    let in_words = |error: sqlx::Error| error.to_string();
    let source: String = row.try_get(0).map_err(in_words)?;
    let full_at: Option<i64> = row.try_get(6).map_err(in_words)?;
    let entries: i64 = row.try_get(3).map_err(in_words)?;
    let pull = LastPull {
        run: RunId(row.try_get(1).map_err(in_words)?),
        at: moment(row, 2)?,
        entries: entries.unsigned_abs(),
        way: row.try_get(4).map_err(in_words)?,
        incomplete: row.try_get(5).map_err(in_words)?,
        full_at: full_at.and_then(Timestamp::from_timestamp_millis),
    };
    Ok((SourceName::new(source), pull))
}
