//! What is done about accounts that somebody has changed in the organization.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::Limit;

/// What `dirsyncd reconcile` takes into the snapshot.
#[derive(Clone, Debug)]
pub struct Reconcile {
    /// What the snapshot takes over, so that the next sync corrects it; the rest is only told.
    pub correct: BTreeSet<DriftKind>,
    /// How many accounts may be missing, and how many of a kind may be taken over.
    pub limit: Limit,
}

impl Default for Reconcile {
    fn default() -> Self {
        Reconcile {
            correct: BTreeSet::new(),
            limit: Limit {
                always: 5,
                percent: Some(10.0),
                ..Limit::default()
            },
        }
    }
}

/// In what an account of the organization is not as the snapshot knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// It has other values.
    Changed,
    /// Its login was turned off.
    Deactivated,
    /// Its login was turned on.
    Activated,
    /// It is gone.
    Deleted,
    /// It carries another key: another provisioner has taken it, or nobody's it is.
    Rekeyed,
}

impl DriftKind {
    /// Every kind, in the order of reports.
    pub const ALL: [DriftKind; 5] = [
        DriftKind::Changed,
        DriftKind::Deactivated,
        DriftKind::Activated,
        DriftKind::Deleted,
        DriftKind::Rekeyed,
    ];

    /// Those that the snapshot can take over. A key it cannot: that would let the account go.
    pub const CORRECTABLE: [DriftKind; 4] = [
        DriftKind::Changed,
        DriftKind::Deactivated,
        DriftKind::Activated,
        DriftKind::Deleted,
    ];

    /// The name in the configuration, in the journal and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            DriftKind::Changed => "changed",
            DriftKind::Deactivated => "deactivated",
            DriftKind::Activated => "activated",
            DriftKind::Deleted => "deleted",
            DriftKind::Rekeyed => "rekeyed",
        }
    }
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is nothing of this name to correct.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{0}` is nothing that can be corrected: write changed, deactivated, activated or deleted")]
pub struct NotCorrectable(String);

/// Reads one of [`DriftKind::CORRECTABLE`].
impl FromStr for DriftKind {
    type Err = NotCorrectable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::CORRECTABLE
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| NotCorrectable(text.to_owned()))
    }
}
