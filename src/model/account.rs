//! Accounts: as the directory wants them, as the snapshot knows them, as the organization
//! has them.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Absence, AccountId, ExternalId, Profile, ScimId, SourceName};

/// A moment, in UTC.
pub type Timestamp = DateTime<Utc>;

/// How long a requested deletion can be cancelled (contract section 4: 14 days).
pub fn deletion_grace() -> TimeDelta {
    TimeDelta::days(14)
}

/// Where a managed account stands: `Active → Deactivated → DeletePending → Deleted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Lifecycle {
    /// The person can log in.
    Active,
    /// Login is off since then; everything is kept.
    Deactivated {
        /// When dirsyncd deactivated it, or first saw it deactivated.
        since: Timestamp,
    },
    /// Deletion was requested then; it can be cancelled for [`deletion_grace`].
    DeletePending {
        /// When the deletion was requested.
        since: Timestamp,
    },
    /// Gone for good; the row is a tombstone.
    Deleted {
        /// When the grace had run out.
        since: Timestamp,
    },
}

impl Lifecycle {
    /// The lifecycle of an account that is seen with this `active` flag.
    pub fn of_active(active: bool, now: Timestamp) -> Self {
        if active {
            Lifecycle::Active
        } else {
            Lifecycle::Deactivated { since: now }
        }
    }

    /// Whether there is an account that somebody can be a member with: it is not deleted, nor about
    /// to be.
    pub fn has_account(self) -> bool {
        matches!(self, Lifecycle::Active | Lifecycle::Deactivated { .. })
    }

    /// Whether the account is gone for good at that moment, unless a deletion took no effect.
    pub fn is_gone(self, at: Timestamp) -> bool {
        match self {
            Lifecycle::Active | Lifecycle::Deactivated { .. } => false,
            Lifecycle::DeletePending { since } => at - since >= deletion_grace(),
            Lifecycle::Deleted { .. } => true,
        }
    }

    /// Whether the account can log in.
    pub fn is_active(self) -> bool {
        matches!(self, Lifecycle::Active)
    }
}

/// What the mapping made of a person's entry: the account that the directory wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredAccount {
    /// The person's immutable key.
    pub key: ExternalId,
    /// The source that the person came from.
    pub source: SourceName,
    /// Where the entry stands now, for people to read.
    pub dn: String,
    /// The mapped values.
    pub profile: Profile,
    /// Whether the person may log in.
    pub active: bool,
}

/// A managed account as the snapshot last knew it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedAccount {
    /// The immutable key of the person whom it belongs to.
    pub key: ExternalId,
    /// The source that the person came from.
    pub source: SourceName,
    /// Where the entry last stood.
    pub dn: String,
    /// The account's SCIM resource.
    pub scim_id: ScimId,
    /// The Atlassian account behind it, once the organization has told it.
    pub account_id: Option<AccountId>,
    /// The values that the organization last confirmed.
    pub profile: Profile,
    /// Where the account stands.
    pub lifecycle: Lifecycle,
    /// The person's absence, while complete pulls do not show the person.
    pub absence: Option<Absence>,
}

/// An account as the organization's provisioning directory shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistingAccount {
    /// The SCIM resource's id.
    pub scim_id: ScimId,
    /// The Atlassian account behind it.
    pub account_id: Option<AccountId>,
    /// The key that its provisioner gave it, if any.
    pub external_id: Option<ExternalId>,
    /// The managed attributes.
    pub profile: Profile,
    /// Whether it can log in.
    pub active: bool,
}

/// A group as the organization's provisioning directory shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingGroup {
    /// The SCIM resource's id.
    pub scim_id: ScimId,
    /// The key that its provisioner gave it, if any.
    pub external_id: Option<ExternalId>,
    /// The display name, unique in the organization.
    pub name: String,
    /// The SCIM ids of its members.
    pub members: Vec<ScimId>,
}

/// A short hash of all that the directory says about a person; two that are equal need no
/// closer look. 128 bits of BLAKE3: an accidental match among a million people has a chance
/// of about 10⁻²⁷.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The digest of these parts.
    pub fn of(source: &SourceName, dn: &str, profile: &Profile, active: bool) -> Self {
        // Each part is preceded by its length, so that no two different lists of parts give
        // the same bytes; few bytes, as hashing them is most of the work. Whoever changes this
        // makes every account differ from its row, so it takes a migration that clears the
        // column `email` of `accounts`, which has the digests made anew.
        let mut bytes = Vec::with_capacity(512);
        let mut part = |text: &str| {
            match u8::try_from(text.len()) {
                Ok(short) if short < u8::MAX => bytes.push(short),
                _ => {
                    bytes.push(u8::MAX);
                    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
                }
            }
            bytes.extend_from_slice(text.as_bytes());
        };
        part(source.as_str());
        part(dn);
        part(if active { "active" } else { "disabled" });
        for (attribute, value) in profile.iter() {
            part(attribute.name());
            part(value);
        }
        Self::of_bytes(&bytes)
    }

    /// The digest of a text.
    pub fn of_text(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Digest(digest)
    }
}

/// In hexadecimal digits.
impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl DesiredAccount {
    /// The digest of what the directory says.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.source, &self.dn, &self.profile, self.active)
    }
}

impl ManagedAccount {
    /// The digest of a directory that would leave this account as it is.
    pub fn digest(&self) -> Digest {
        Digest::of(
            &self.source,
            &self.dn,
            &self.profile,
            self.lifecycle.is_active(),
        )
    }

    /// Whether an equal digest means that nothing is to do: no absence is being counted and no
    /// deletion is under way.
    pub fn is_settled(&self) -> bool {
        self.absence.is_none() && self.lifecycle.has_account()
    }
}
