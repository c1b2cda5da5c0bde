//! What a plan says of each person for whom it does nothing now, as it is kept until the next one.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Desired, Disbelief, Plan, Planned};
use crate::model::{DesiredAccount, ExternalId, ManagedAccount, SourceName};

/// Why nothing is done for a person, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The person's key, where it is known.
    pub key: Option<ExternalId>,
    /// The source that the person is of, where it is known.
    pub source: Option<SourceName>,
    /// The entry.
    pub dn: String,
    /// What became of the person.
    pub kind: VerdictKind,
    /// Why, as the plan tells it.
    pub sentence: String,
    /// The account that the directory wants, where the entry could be mapped and it is not as the
    /// account is.
    pub wants: Option<DesiredAccount>,
}

/// What became of a person for whom nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Something is wrong.
    Refused,
    /// Nothing is done, as configured; or a part of it is not.
    Skipped,
    /// Not seen, and not believed to be gone.
    Suspended,
    /// An operation is not held itself, but waits for one that is, or for the next run.
    Waiting,
}

impl VerdictKind {
    /// Every kind.
    pub const ALL: [VerdictKind; 4] = [
        VerdictKind::Refused,
        VerdictKind::Skipped,
        VerdictKind::Suspended,
        VerdictKind::Waiting,
    ];

    /// The name in the snapshot and in reports.
    pub fn name(self) -> &'static str {
        match self {
            VerdictKind::Refused => "refused",
            VerdictKind::Skipped => "skipped",
            VerdictKind::Suspended => "suspended",
            VerdictKind::Waiting => "waiting",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Plan {
    /// What the plan says of each person for whom it does nothing now. `accounts` are those that it
    /// was made with.
    pub fn verdicts(
        &self,
        desired: &Desired,
        accounts: &HashMap<ExternalId, ManagedAccount>,
    ) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = Vec::new();
        let verdict = |key: Option<&ExternalId>, dn: &str, kind, sentence| Verdict {
            key: key.cloned(),
            source: None,
            dn: dn.to_owned(),
            kind,
            sentence,
            wants: None,
        };
        for refusal in &self.refusals {
            let (key, why) = (refusal.key.as_ref(), refusal.why.to_string());
            verdicts.push(Verdict {
                source: Some(refusal.source.clone()),
                ..verdict(key, &refusal.dn, VerdictKind::Refused, why)
            });
        }
        for skipped in &self.skipped {
            let (key, why) = (skipped.key.as_ref(), skipped.why.to_string());
            verdicts.push(verdict(key, &skipped.dn, VerdictKind::Skipped, why));
        }
        for at in &self.carried_over.accounts {
            if let Some(Planned { operation, .. }) = self.operations.get(*at) {
                let kind = operation.kind;
                let why = format!("the {kind} is left for the next run (`max_calls` in [apply])");
                let key = Some(&operation.key);
                verdicts.push(verdict(key, &operation.dn, VerdictKind::Waiting, why));
            }
        }
        for planned in &self.operations {
            let Planned {
                operation,
                holds,
                waits,
                ..
            } = planned;
            if holds.is_empty() && !waits.is_empty() {
                let names = waits.iter().filter_map(|at| self.holds.get(*at));
                let names: Vec<String> = names.map(|hold| format!("`{}`", hold.name)).collect();
                let why = format!(
                    "the {} waits for what is held by {}",
                    operation.kind,
                    names.join(", ")
                );
                let key = Some(&operation.key);
                verdicts.push(verdict(key, &operation.dn, VerdictKind::Waiting, why));
            }
        }
        for (account, why) in self.unbelieved(desired, accounts) {
            let key = Some(&account.key);
            verdicts.push(verdict(key, &account.dn, VerdictKind::Suspended, why));
        }
        complete(&mut verdicts, desired, accounts);
        verdicts
    }

    /// Those with a login who were not seen, and why that is no proof.
    fn unbelieved<'a>(
        &'a self,
        desired: &'a Desired,
        accounts: &'a HashMap<ExternalId, ManagedAccount>,
    ) -> impl Iterator<Item = (&'a ManagedAccount, String)> {
        // Whoever an edit puts out of scope is skipped, each by name.
        let doubts = self
            .suspensions
            .iter()
            .filter(|suspension| suspension.why != Disbelief::Rescoped);
        let doubts: Vec<_> = doubts.collect();
        let absent = desired.absent.iter().filter_map(|key| accounts.get(key));
        absent
            .filter(|account| account.lifecycle.is_active())
            .filter_map(move |account| {
                let own = doubts.iter().find(|one| one.source == account.source);
                let doubt = own.or(doubts.first())?;
                Some((
                    account,
                    format!(
                        "not seen, and not believed to be gone: source `{}`: {}",
                        doubt.source, doubt.why
                    ),
                ))
            })
    }
}

/// Adds what the pulls say of the people: their source, and the account that is wanted.
fn complete(
    verdicts: &mut [Verdict],
    desired: &Desired,
    accounts: &HashMap<ExternalId, ManagedAccount>,
) {
    // Mostly there are few verdicts, and on a first run very many people.
    let asked: HashSet<&ExternalId> = verdicts.iter().filter_map(|one| one.key.as_ref()).collect();
    let wanted: HashMap<(ExternalId, &str), &DesiredAccount> = desired
        .claimants()
        .filter(|person| asked.contains(&person.key))
        .map(|person| ((person.key.clone(), person.dn.as_str()), person))
        .collect();
    let unmapped: HashMap<&str, &SourceName> = desired
        .unmapped
        .iter()
        .map(|unmapped| (unmapped.dn.as_str(), &unmapped.source))
        .collect();
    for verdict in verdicts {
        let key = verdict.key.clone();
        let wants = key.and_then(|key| wanted.get(&(key, verdict.dn.as_str())));
        verdict.wants = wants.map(|person| (*person).clone());
        if verdict.source.is_none() {
            let of_account = verdict.key.as_ref().and_then(|key| accounts.get(key));
            let of_wish = wants.map(|person| &person.source);
            let known = of_wish.or(unmapped.get(verdict.dn.as_str()).copied());
            verdict.source = known.or(of_account.map(|account| &account.source)).cloned();
        }
    }
}
