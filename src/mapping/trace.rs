//! How an entry is mapped, step by step, for people to see.
//!
//! The mapping goes one way for everybody and tells a [`Witness`]; in a run that is
//! [`Unwatched`], of which nothing is left in the compiled program.

use super::problem::{NotMapped, Problem};
use super::rule::Rule;
use super::scope::Excluder;
use super::value::Description;
use crate::config::MappingTarget;
use crate::model::{DesiredAccount, Entry, ExternalId};

/// Is told of each step.
pub(super) trait Witness {
    /// Something has excluded the entry, or not.
    fn judged(&mut self, _by: &Excluder, _entry: &Entry, _excludes: &Result<bool, Problem>) {}
    /// The key was read.
    fn key(&mut self, _key: &Result<ExternalId, Problem>) {}
    /// A rule has decided whether the person may log in.
    fn decided(&mut self, _rule: &Rule, _entry: &Entry, _truth: &Result<bool, Problem>) {}
    /// A rule has given a value, or none.
    fn made(&mut self, _rule: &Rule, _entry: &Entry, _value: &Result<Option<Box<str>>, Problem>) {}
}

/// Sees nothing.
pub(super) struct Unwatched;

impl Witness for Unwatched {}

/// How an entry was mapped.
#[derive(Debug)]
pub struct Trace {
    /// What was asked first; it ends with what excludes the entry.
    pub judged: Vec<Judged>,
    /// The attribute with the key.
    pub key_attribute: String,
    /// The key; none where the entry was excluded before.
    pub key: Option<Result<ExternalId, Problem>>,
    /// The rules, in the order in which they were applied.
    pub steps: Vec<Step>,
    /// What became of the entry.
    pub result: Result<DesiredAccount, NotMapped>,
}

/// Something that may exclude an entry, and whether it did.
#[derive(Debug)]
pub struct Judged {
    /// The key in the configuration.
    pub name: &'static str,
    /// What stands there.
    pub written: String,
    /// What it read of the entry.
    pub read: Vec<Reading>,
    /// Whether it excludes the entry.
    pub verdict: Verdict,
}

/// Whether something excludes an entry.
#[derive(Debug)]
pub enum Verdict {
    /// It does not.
    Passed,
    /// It does.
    Excluded,
    /// It cannot be said.
    Unknown(Problem),
}

/// A rule, and what it made of the entry.
#[derive(Debug)]
pub struct Step {
    /// What it is for.
    pub target: MappingTarget,
    /// How it is written.
    pub written: String,
    /// Whether the configuration has it, and not the preset.
    pub is_own: bool,
    /// Whether a person without a value is refused.
    pub is_required: bool,
    /// What it read of the entry.
    pub read: Vec<Reading>,
    /// What it made of it.
    pub made: Made,
}

/// What a rule made.
#[derive(Debug)]
pub enum Made {
    /// A value.
    Text(String),
    /// No value.
    Nothing,
    /// Whether the person may log in.
    Truth(bool),
    /// Nothing that can be used.
    Problem(Problem),
}

/// What an entry has of an attribute.
#[derive(Debug)]
pub struct Reading {
    /// The attribute, with its options.
    pub attribute: String,
    /// Its values as text, or why they are none. Secrets are no attributes that a rule can read.
    pub values: Result<Vec<String>, Problem>,
}

/// Writes the steps down.
#[derive(Default)]
pub(super) struct Steps {
    judged: Vec<Judged>,
    key: Option<Result<ExternalId, Problem>>,
    steps: Vec<Step>,
}

impl Steps {
    pub(super) fn end(
        self,
        key_attribute: &str,
        result: Result<DesiredAccount, NotMapped>,
    ) -> Trace {
        Trace {
            judged: self.judged,
            key_attribute: key_attribute.to_owned(),
            key: self.key,
            steps: self.steps,
            result,
        }
    }

    fn push(&mut self, rule: &Rule, entry: &Entry, made: Made) {
        self.steps.push(Step {
            target: rule.target,
            written: rule.written.clone(),
            is_own: rule.is_own,
            is_required: rule.is_required,
            read: readings(rule.reads(), entry),
            made,
        });
    }
}

impl Witness for Steps {
    fn judged(&mut self, by: &Excluder, entry: &Entry, excludes: &Result<bool, Problem>) {
        self.judged.push(Judged {
            name: by.name(),
            written: by.written().to_owned(),
            read: readings(by.reads(), entry),
            verdict: match excludes {
                Ok(false) => Verdict::Passed,
                Ok(true) => Verdict::Excluded,
                Err(problem) => Verdict::Unknown(problem.clone()),
            },
        });
    }

    fn key(&mut self, key: &Result<ExternalId, Problem>) {
        self.key = Some(key.clone());
    }

    fn decided(&mut self, rule: &Rule, entry: &Entry, truth: &Result<bool, Problem>) {
        let made = match truth {
            Ok(truth) => Made::Truth(*truth),
            Err(problem) => Made::Problem(problem.clone()),
        };
        self.push(rule, entry, made);
    }

    fn made(&mut self, rule: &Rule, entry: &Entry, value: &Result<Option<Box<str>>, Problem>) {
        let made = match value {
            Ok(Some(value)) => Made::Text(value.to_string()),
            Ok(None) => Made::Nothing,
            Err(problem) => Made::Problem(problem.clone()),
        };
        self.push(rule, entry, made);
    }
}

/// What an entry has of these attributes, each once.
fn readings<'d>(
    attributes: impl IntoIterator<Item = &'d Description>,
    entry: &Entry,
) -> Vec<Reading> {
    let mut readings: Vec<Reading> = Vec::new();
    for attribute in attributes {
        for reading in attribute.readings(entry) {
            if readings
                .iter()
                .all(|other| other.attribute != reading.attribute)
            {
                readings.push(reading);
            }
        }
    }
    readings
}
