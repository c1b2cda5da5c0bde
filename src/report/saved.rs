//! A plan as a file: readable, versioned JSON that can be carried out later, row by row.
//! `docs/plan.schema.json` describes it; whoever changes a field here changes it there, and
//! raises [`VERSION`] when a file of before could not be read any more.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::{
    Digest, ExistingAccount, ExternalId, GroupOperation, ManagedAccount, ManagedGroup, Operation,
    RunId, ScimId, Timestamp,
};
use crate::plan::Plan;
use crate::plan::groups::{ExpectedGroup, GroupPlan, KnownGroups};

/// The version of the form. Since 2 it has groups.
const VERSION: u64 = 2;

/// What tells a saved plan from other JSON.
const FORMAT: &str = "dirsyncd-plan";

/// The JSON Schema of a saved plan.
pub const SCHEMA: &str = include_str!("../../docs/plan.schema.json");

/// A saved plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    format: String,
    version: u64,
    /// Its own name; it is applied at most once.
    pub id: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// The version that made it.
    pub made_by: String,
    /// The organization's id.
    pub organization: String,
    /// The digest of the configuration of organization, sources, policy and groups.
    pub configuration: String,
    /// The newest run by then that had read the sources.
    pub last_reading: Option<RunId>,
    /// What to do, in the order in which it is sent.
    pub operations: Vec<SavedOperation>,
    /// Rows of the snapshot to be brought up to date without an outside write.
    pub notes: Vec<SavedNote>,
    /// What becomes of groups, after the accounts; `None` where there is no rule for any.
    pub groups: Option<SavedGroups>,
    /// The rest of the plan, for people to read: as in `dirsyncd plan --format json`.
    pulls: Value,
    holds: Value,
    refused: Value,
    skipped: Value,
    suspended: Value,
    notices: Value,
    forecast: Value,
    summary: Value,
}

/// One operation of a saved plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedOperation {
    /// The account by its name, for people to read.
    account: String,
    /// The reason in words, for people to read.
    message: String,
    /// What to do.
    pub operation: Operation,
    /// What holds it, in words.
    pub hold: Option<String>,
    /// What it expects of its account.
    pub expects: Expects,
    digest: String,
}

/// The state that an operation expects of its account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expects {
    /// The snapshot's row; `None` when there is none.
    pub row: Option<ManagedAccount>,
    /// The organization's account; `None` when there is none, as before a creation.
    pub account: Option<ExistingAccount>,
}

/// A row of the snapshot to be brought up to date.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedNote {
    /// The row that it expects.
    pub expects: Option<ManagedAccount>,
    /// The row as it is to be.
    pub row: ManagedAccount,
    digest: String,
}

/// The groups of a saved plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedGroups {
    /// What to do, in the order in which it is sent.
    pub operations: Vec<SavedGroup>,
    /// Rows of the snapshot to be brought up to date without an outside write.
    pub notes: Vec<SavedGroupNote>,
    /// For people to read.
    refused: Value,
    suspended: Value,
    notices: Value,
}

/// One group operation of a saved plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedGroup {
    /// The group as the organization has it, for people to read.
    group: String,
    /// The reason in words, for people to read.
    message: String,
    /// What to do.
    pub operation: GroupOperation,
    /// What holds it, in words.
    pub hold: Option<String>,
    /// What it expects of the group and its members.
    pub expects: ExpectedGroup,
    digest: String,
}

/// A row of a group to be brought up to date.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedGroupNote {
    /// The row that it expects.
    pub expects: ManagedGroup,
    /// The row as it is to be; `None` where the organization does not have the group any more.
    pub row: Option<ManagedGroup>,
    digest: String,
}

/// Why a file is no saved plan that can be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// It is no JSON, or not what the schema says.
    #[error(
        "{0}; it is no plan of `dirsyncd plan --save`, or was damaged (dirsyncd plan --schema prints what one looks like)"
    )]
    Json(#[from] serde_json::Error),
    /// It is JSON of something else.
    #[error("it is JSON, but no plan of `dirsyncd plan --save`: `format` is not \"{FORMAT}\"")]
    Foreign,
    /// Somebody has written into it what only a revert does.
    #[error(
        "a row of it has `undoes`, as only operations of `dirsyncd revert` have: it was changed after it was written; make a new plan"
    )]
    Undoes,
    /// Its name is none.
    #[error("its `id` is no UUID, so it was changed after it was written; make a new plan")]
    Id,
    /// It is of another version of the form.
    #[error(
        "it is a saved plan of version {theirs}, and this dirsyncd knows version {VERSION}: make a new one with this dirsyncd"
    )]
    Version {
        /// Its version.
        theirs: String,
    },
}

/// What a plan is saved with.
#[derive(Debug)]
pub struct Circumstances {
    /// Its own name.
    pub id: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// The organization's id.
    pub organization: String,
    /// The digest of the configuration.
    pub configuration: String,
    /// The newest run by then that had read the sources.
    pub last_reading: Option<RunId>,
    /// What its operations and notes expect, by person.
    pub expects: HashMap<ExternalId, Expects>,
    /// The groups that it was made from.
    pub groups: KnownGroups,
}

impl SavedPlan {
    /// The plan as it is saved.
    pub fn new(plan: &Plan, circumstances: Circumstances) -> Self {
        let Circumstances {
            id,
            made_at,
            organization,
            configuration,
            last_reading,
            expects,
            groups,
        } = circumstances;
        let mut told = super::json(plan);
        let mut take = |name: &str| told[name].take();
        let mut saved = SavedPlan {
            format: FORMAT.to_owned(),
            version: VERSION,
            id,
            made_at,
            made_by: concat!("dirsyncd ", env!("CARGO_PKG_VERSION")).to_owned(),
            organization,
            configuration,
            last_reading,
            operations: Vec::with_capacity(plan.operations.len()),
            notes: Vec::with_capacity(plan.notes.len()),
            groups: None,
            pulls: take("pulls"),
            holds: take("holds"),
            refused: take("refused"),
            skipped: take("skipped"),
            suspended: take("suspended"),
            notices: take("notices"),
            forecast: take("forecast"),
            summary: take("summary"),
        };
        for planned in &plan.operations {
            let operation = planned.operation.clone();
            let mut holds = planned.holds.iter().chain(&planned.waits);
            let hold = holds.next().and_then(|at| plan.holds.get(*at));
            let mut row = SavedOperation {
                account: operation.label().to_owned(),
                message: operation.reason.to_string(),
                hold: hold.map(ToString::to_string),
                expects: expects.get(&operation.key).cloned().unwrap_or_default(),
                operation,
                digest: String::new(),
            };
            row.digest = saved.digest(&row);
            saved.operations.push(row);
        }
        for row in &plan.notes {
            let mut note = SavedNote {
                expects: expects
                    .get(&row.key)
                    .and_then(|expects| expects.row.clone()),
                row: row.clone(),
                digest: String::new(),
            };
            note.digest = saved.digest(&note);
            saved.notes.push(note);
        }
        let planned = plan.groups.as_ref();
        saved.groups = planned.map(|planned| saved.groups(plan, planned, &groups, &mut told));
        saved
    }

    /// The groups as they are saved in this plan.
    fn groups(
        &self,
        plan: &Plan,
        planned: &GroupPlan,
        known: &KnownGroups,
        told: &mut Value,
    ) -> SavedGroups {
        let mut take = |name: &str| told["groups"][name].take();
        let operations = planned.operations.iter();
        let expected = ExpectedGroup::of(
            operations.clone().map(|one| &one.operation),
            known,
            &plan.operations,
        );
        let operations = operations.zip(expected).map(|(one, expects)| {
            let operation = one.operation.clone();
            let hold = one.holds.first().and_then(|at| plan.holds.get(*at));
            let mut row = SavedGroup {
                group: operation.present_name().to_owned(),
                message: operation.reason.to_string(),
                hold: hold.map(ToString::to_string),
                expects,
                operation,
                digest: String::new(),
            };
            row.digest = self.digest(&row);
            row
        });
        let kept = |id: &ScimId| known.managed.iter().find(|group| group.scim_id == *id);
        let noted = planned.notes.iter().map(|row| (&row.scim_id, Some(row)));
        let forgotten = planned.forgotten.iter().map(|id| (id, None));
        let notes = noted.chain(forgotten).filter_map(|(id, row)| {
            let mut note = SavedGroupNote {
                expects: kept(id)?.clone(),
                row: row.cloned(),
                digest: String::new(),
            };
            note.digest = self.digest(&note);
            Some(note)
        });
        SavedGroups {
            operations: operations.collect(),
            notes: notes.collect(),
            refused: take("refused"),
            suspended: take("suspended"),
            notices: take("notices"),
        }
    }

    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, SavedPlanError> {
        let head: Value = serde_json::from_str(text)?;
        if head["format"] != FORMAT {
            return Err(SavedPlanError::Foreign);
        }
        if head["version"] != VERSION {
            let theirs = head["version"].to_string();
            return Err(SavedPlanError::Version { theirs });
        }
        let saved: Self = serde_json::from_str(text)?;
        uuid::Uuid::parse_str(&saved.id).map_err(|_| SavedPlanError::Id)?;
        let mut accounts = saved.operations.iter();
        let mut groups = saved.groups.iter().flat_map(|groups| &groups.operations);
        let is_undoing = accounts.any(|row| row.operation.undoes.is_some())
            || groups.any(|row| row.operation.undoes.is_some());
        if is_undoing {
            return Err(SavedPlanError::Undoes);
        }
        Ok(saved)
    }

    /// Which plan it is, in one line.
    pub fn title(&self) -> String {
        format!(
            "The saved plan {} of {}.\n",
            self.id,
            self.made_at.format("%Y-%m-%d %H:%M:%S UTC")
        )
    }

    /// The text of the file.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        // As the fields stand here, which a `Value` would sort.
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Whether a row is as it was written, in the plan that it was written in.
    pub fn has_written<Row: Digested>(&self, row: &Row) -> bool {
        row.digest() == self.digest(row)
    }

    fn digest<Row: Digested>(&self, row: &Row) -> String {
        let SavedPlan {
            version,
            id,
            made_at,
            organization,
            last_reading,
            ..
        } = self;
        let whole = json!([
            version,
            id,
            made_at,
            organization,
            last_reading,
            row.content()
        ]);
        Digest::of_text(&whole.to_string()).to_string()
    }
}

/// A row with a digest of what it says.
pub trait Digested {
    /// The digest that it carries.
    fn digest(&self) -> &str;
    /// All that carrying it out depends on.
    fn content(&self) -> Value;
}

impl Digested for SavedOperation {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn content(&self) -> Value {
        let SavedOperation {
            account: _,
            message: _,
            operation,
            hold,
            expects,
            digest: _,
        } = self;
        json!({ "operation": operation, "hold": hold, "expects": expects })
    }
}

impl Digested for SavedNote {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn content(&self) -> Value {
        let SavedNote {
            expects,
            row,
            digest: _,
        } = self;
        json!({ "note": row, "expects": expects })
    }
}

impl Digested for SavedGroup {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn content(&self) -> Value {
        let SavedGroup {
            group: _,
            message: _,
            operation,
            hold,
            expects,
            digest: _,
        } = self;
        json!({ "group": operation, "hold": hold, "expects": expects })
    }
}

impl Digested for SavedGroupNote {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn content(&self) -> Value {
        let SavedGroupNote {
            expects,
            row,
            digest: _,
        } = self;
        json!({ "group_note": row, "expects": expects })
    }
}
