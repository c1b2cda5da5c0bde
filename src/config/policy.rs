//! What happens to the accounts of people who leave, are disabled, change or return.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::model::{Attribute, Cause, SourceName};

/// What happens to the accounts of people who leave, are disabled, change or return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of the account of a person who is no longer in scope, by the cause.
    pub on_leave: OnLeave,
    /// What becomes of the account of a person whom the directory disables.
    pub on_disabled: Departure,
    /// What to make of an entry that is there and cannot be read.
    pub on_unreadable: Unreadable,
    /// What becomes of the account of a person who is back.
    pub on_return: Return,
    /// Whether the account's names follow the person's.
    pub on_rename: Change,
    /// Whether the account's e-mail address follows the person's.
    pub on_email_change: Change,
    /// Whether a person who is found in another source than before is that source's from now on.
    pub on_source_change: Change,
    /// How an absence is confirmed before it counts.
    pub deactivate_after: Confirmation,
    /// How long after leaving the account is deleted for good; never when `None`.
    pub delete_after: Option<TimeDelta>,
    /// Whether accounts that the organization already has are taken over.
    pub adopt: Adopt,
    /// By which attributes a newcomer's account is recognized, rule by rule: all attributes of a
    /// rule must be equal. Each rule is asked only where those before it find nothing.
    pub match_by: Vec<Vec<Attribute>>,
    /// For so long after an entry is gone, a new one with its e-mail address is taken for the
    /// same person's.
    pub rehire_within: TimeDelta,
    /// So long after a person has left, the e-mail address may be another's; never when `None`.
    pub recycle_after: Option<TimeDelta>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            on_leave: OnLeave::all(Departure::Deactivate),
            on_disabled: Departure::Deactivate,
            on_unreadable: Unreadable::Refuse,
            on_return: Return::Restore,
            on_rename: Change::Follow,
            on_email_change: Change::Follow,
            on_source_change: Change::Follow,
            deactivate_after: Confirmation::default(),
            delete_after: None,
            adopt: Adopt::Any,
            match_by: vec![vec![Attribute::Email], vec![Attribute::UserName]],
            rehire_within: TimeDelta::days(30),
            recycle_after: None,
        }
    }
}

/// What a departure does to the account.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Departure {
    /// Login is turned off.
    Deactivate,
    /// Nothing.
    Keep,
}

/// What a departure does to the account, by its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnLeave(BTreeMap<Cause, Departure>);

impl OnLeave {
    /// The same for each cause.
    pub fn all(departure: Departure) -> Self {
        OnLeave(
            Cause::ALL
                .into_iter()
                .map(|cause| (cause, departure))
                .collect(),
        )
    }

    /// Sets what one cause does.
    pub fn set(&mut self, cause: Cause, departure: Departure) {
        self.0.insert(cause, departure);
    }

    /// What this cause does.
    pub fn of(&self, cause: Cause) -> Departure {
        self.0.get(&cause).copied().unwrap_or(Departure::Keep)
    }
}

/// What to make of an entry that is there and cannot be read. Nobody departs because of it.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unreadable {
    /// It is told as a problem: exit code 3.
    Refuse,
    /// It is told, and no problem.
    Skip,
}

/// What becomes of the account of a person who is back.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Return {
    /// The person can log in again. A requested deletion is cancelled.
    Restore,
    /// A requested deletion is cancelled; the login stays off until somebody turns it on.
    Keep,
}

/// What a change of the person does to the account.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The account changes too.
    Follow,
    /// The account stays as it is.
    Keep,
}

/// Which accounts of the organization are taken over when they match a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// None.
    Off,
    /// Those that carry no other provisioner's key.
    Unowned,
    /// All.
    Any,
}

/// How an absence is confirmed. Both must be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// In so many complete pulls the person is missing, and found nowhere in scope.
    pub pulls: u32,
    /// So long after the first of them.
    pub time: TimeDelta,
}

impl Default for Confirmation {
    fn default() -> Self {
        Confirmation {
            pulls: 1,
            time: TimeDelta::zero(),
        }
    }
}

/// The policies of all sources.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// For accounts of sources that are not configured any more.
    pub default: Policy,
    /// Those of the sources.
    pub of_sources: BTreeMap<SourceName, Policy>,
    /// Whether whoever is put out of scope by a change of the configuration departs in this run.
    pub accepts_scope_change: bool,
}

impl Policies {
    /// The policy for people of this source.
    pub fn of(&self, source: &SourceName) -> &Policy {
        self.of_sources.get(source).unwrap_or(&self.default)
    }
}
