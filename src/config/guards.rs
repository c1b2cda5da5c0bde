//! How much a run may change without being asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::Freeze;
use crate::model::fold;

/// The limits beyond which operations are held, and what is held whatever the numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Guards {
    /// The limits of each kind; each of them must be kept. None for a kind that has no limit.
    pub limits: BTreeMap<Guard, Vec<Limit>>,
    /// Accounts, by key, e-mail address or user name (folded), whose departure, change of
    /// address and adoption are always held.
    pub protected: BTreeSet<String>,
    /// Groups of the organization: what is done to them is held, and departures of their
    /// members.
    pub protected_groups: Vec<NamePattern>,
    /// Groups of the organization, each of which keeps an active member.
    pub administrators: Vec<String>,
    /// When nothing, or not everything, is done.
    pub freezes: Vec<Freeze>,
    /// How long an approval can be given to a hold, and is good for.
    pub hold_expiry: TimeDelta,
}

/// A kind of action that the guards count.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// New accounts.
    Create,
    /// Changed attributes.
    Update,
    /// Logins turned off.
    Deactivate,
    /// Deletions.
    Delete,
    /// Changed user names and e-mail addresses.
    ChangeEmail,
    /// One and the same attribute changed by updates, each attribute by itself.
    SameAttribute,
    /// Members taken out of groups.
    RemoveMembers,
}

impl Guard {
    /// Every kind, in the order of the file.
    pub const ALL: [Guard; 7] = [
        Guard::Create,
        Guard::Update,
        Guard::Deactivate,
        Guard::Delete,
        Guard::ChangeEmail,
        Guard::SameAttribute,
        Guard::RemoveMembers,
    ];

    /// The key of the limit in `[guards]`, and the name of its hold.
    pub fn name(self) -> &'static str {
        match self {
            Guard::Create => "create",
            Guard::Update => "update",
            Guard::Deactivate => "deactivate",
            Guard::Delete => "delete",
            Guard::ChangeEmail => "change_email",
            Guard::SameAttribute => "same_attribute",
            Guard::RemoveMembers => "remove_members",
        }
    }
}

/// What a limit counts by itself.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// All accounts together.
    #[default]
    Whole,
    /// The accounts of each source.
    Source,
    /// The accounts right below each entry of the tree.
    Ou,
    /// The accounts of each e-mail domain.
    Domain,
    /// The members of each group; of `remove_members` only.
    Group,
}

/// One limit: up to `always` is allowed in any case; beyond that neither `percent` of the
/// population nor `at_most` may be exceeded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limit {
    /// So many are allowed whatever their share, so that small directories stay usable.
    pub always: u64,
    /// The largest allowed share of the population, 0 to 100.
    pub percent: Option<f64>,
    /// The largest allowed number.
    pub at_most: Option<u64>,
    /// In a smaller population than this `percent` does not apply.
    pub population: u64,
    /// What is counted by itself.
    pub per: Per,
}

impl Limit {
    /// The largest number that is allowed in this population; `None` when there is no limit.
    pub fn allowed(&self, population: u64) -> Option<u64> {
        let percent = self.percent.filter(|_| population >= self.population);
        // Rounded down: 10 % of 59 allows 5. Counts of accounts are far below 2^52, where an
        // f64 is exact.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let share = percent.map(|percent| (population as f64 * percent / 100.0).floor() as u64);
        let limit = match (share, self.at_most) {
            (None, None) => return None,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(share), Some(at_most)) => share.min(at_most),
        };
        Some(limit.max(self.always))
    }
}

impl Guards {
    /// The limits of a kind.
    pub fn limits(&self, guard: Guard) -> &[Limit] {
        self.limits.get(&guard).map_or(&[], Vec::as_slice)
    }

    /// Whether some limit is counted by this.
    pub fn counts_per(&self, per: Per) -> bool {
        self.limits.values().flatten().any(|limit| limit.per == per)
    }

    /// Whether the guards name groups of the organization, so that their members have to be
    /// known.
    pub fn names_groups(&self) -> bool {
        !self.protected_groups.is_empty() || !self.administrators.is_empty()
    }

    /// Whether the group of this name is one of `administrators`.
    pub fn names_administrators(&self, name: &str) -> bool {
        let mut names = self.administrators.iter();
        names.any(|one| fold(one) == fold(name))
    }

    /// Whether what is done to the group of this name is always held.
    pub fn protects_group(&self, name: &str) -> bool {
        let mut patterns = self.protected_groups.iter();
        patterns.any(|pattern| pattern.matches(name))
    }
}

impl Default for Guards {
    fn default() -> Self {
        let share = |always, percent| Limit {
            always,
            percent: Some(percent),
            ..Limit::default()
        };
        let limits = [
            // The first sync creates everybody, and the one after a trial with a few.
            (
                Guard::Create,
                vec![Limit {
                    population: 50,
                    ..share(100, 100.0)
                }],
            ),
            (Guard::Update, vec![share(20, 40.0)]),
            (
                Guard::Deactivate,
                vec![
                    share(5, 10.0),
                    Limit {
                        per: Per::Source,
                        ..share(5, 20.0)
                    },
                ],
            ),
            (Guard::Delete, vec![share(3, 2.0)]),
            (Guard::ChangeEmail, vec![share(5, 10.0)]),
            (Guard::SameAttribute, vec![share(20, 25.0)]),
            (
                Guard::RemoveMembers,
                vec![
                    share(20, 20.0),
                    Limit {
                        per: Per::Group,
                        ..share(10, 50.0)
                    },
                ],
            ),
        ];
        Guards {
            limits: limits.into_iter().collect(),
            protected: BTreeSet::new(),
            protected_groups: Vec::new(),
            administrators: Vec::new(),
            freezes: Vec::new(),
            hold_expiry: TimeDelta::days(7),
        }
    }
}

/// A name, or many by `*`, which stands for any characters; compared case-folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Takes the text of a pattern.
    pub fn new(text: &str) -> Self {
        NamePattern(fold(text))
    }

    /// Whether the name is one of those meant.
    pub fn matches(&self, name: &str) -> bool {
        let name = fold(name);
        let Some((first, rest)) = self.0.split_once('*') else {
            return name == self.0;
        };
        let Some(mut left) = name.strip_prefix(first) else {
            return false;
        };
        let mut pieces: Vec<&str> = rest.split('*').collect();
        let last = pieces.pop().unwrap_or_default();
        for piece in pieces {
            match left.find(piece) {
                Some(at) => left = &left[at + piece.len()..],
                None => return false,
            }
        }
        left.ends_with(last)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("Admins", "ADMINS", true),
            ("admins", "admins2", false),
            ("*", "", true),
            ("site-*", "Site-Admins", true),
            ("site-*", "my-site-admins", false),
            ("*-admins", "org-admins", true),
            ("*-admins", "org-admins-old", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*b", "ab", false),
            ("ab*b", "abb", true),
        ] {
            let actual = NamePattern::new(pattern).matches(name);
            assert_eq!(actual, expected, "{pattern} and {name}");
        }
    }

    #[test]
    fn a_share_does_not_apply_below_its_population() {
        let limit = Limit {
            percent: Some(10.0),
            population: 20,
            ..Limit::default()
        };
        assert_eq!((limit.allowed(19), limit.allowed(20)), (None, Some(2)));
        let limit = Limit {
            at_most: Some(7),
            ..limit
        };
        assert_eq!((limit.allowed(19), limit.allowed(20)), (Some(7), Some(2)));
    }
}
