//! How much a run may change without being asked.

/// The limits beyond which operations are held instead of applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Guards {
    /// Deactivations, against the active accounts.
    pub deactivate: Limit,
    /// Deletions, against all accounts that are not deleted.
    pub delete: Limit,
    /// Changes of e-mail address or user name, against the active accounts.
    pub change_email: Limit,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            deactivate: Limit {
                always: 5,
                percent: Some(10.0),
                at_most: None,
            },
            delete: Limit {
                always: 3,
                percent: Some(2.0),
                at_most: None,
            },
            change_email: Limit {
                always: 5,
                percent: Some(10.0),
                at_most: None,
            },
        }
    }
}

/// One limit: up to `always` is allowed in any case; beyond that neither `percent` of the
/// population nor `at_most` may be exceeded.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// So many are allowed whatever their share, so that small directories stay usable.
    pub always: u64,
    /// The largest allowed share of the population, 0 to 100.
    pub percent: Option<f64>,
    /// The largest allowed number.
    pub at_most: Option<u64>,
}

impl Limit {
    /// The largest number that is allowed in this population; `None` when there is no limit.
    pub fn allowed(&self, population: u64) -> Option<u64> {
        // Rounded down: 10 % of 59 allows 5. Counts of accounts are far below 2^52, where an
        // f64 is exact.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let share = self
            .percent
            .map(|percent| (population as f64 * percent / 100.0).floor() as u64);
        let limit = match (share, self.at_most) {
            (None, None) => return None,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(share), Some(at_most)) => share.min(at_most),
        };
        Some(limit.max(self.always))
    }
}
