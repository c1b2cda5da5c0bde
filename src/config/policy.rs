//! What happens to the accounts of people who leave, are disabled or return.

use chrono::TimeDelta;

/// What happens to the accounts of people who leave or are disabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of the account of a person who has left the directory.
    pub on_leave: Departure,
    /// What becomes of the account of a person whom the directory disables.
    pub on_disabled: Departure,
    /// How long after leaving the account is deleted for good; never when `None`.
    pub delete_after: Option<TimeDelta>,
    /// Whether accounts that the organization already has are taken over.
    pub adopt: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            on_leave: Departure::Deactivate,
            on_disabled: Departure::Deactivate,
            delete_after: None,
            adopt: true,
        }
    }
}

/// What a departure does to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Departure {
    /// Login is turned off.
    Deactivate,
    /// Nothing.
    Keep,
}
