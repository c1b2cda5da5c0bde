//! One change to one account, with its reason: the unit that is shown, guarded, journalled
//! and sent.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Absence, AccountId, Attribute, Cause, Digest, ExternalId, Lifecycle, ManagedAccount,
    OperationId, Profile, RunId, ScimId, SourceName, Timestamp,
};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Login is turned off; everything is kept.
    Deactivate,
    /// The account is deleted for good, after the API's grace.
    Delete,
    /// A deactivated or delete-pending account comes back.
    Restore,
    /// An account that the organization already has is taken over.
    Adopt,
    /// A new account.
    Create,
    /// Attributes change.
    Update,
}

impl Kind {
    /// Every kind, in the order in which reports list them.
    pub const ALL: [Kind; 6] = [
        Kind::Create,
        Kind::Adopt,
        Kind::Update,
        Kind::Restore,
        Kind::Deactivate,
        Kind::Delete,
    ];

    /// The name in reports and in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Adopt => "adopt",
            Kind::Update => "update",
            Kind::Restore => "restore",
            Kind::Deactivate => "deactivate",
            Kind::Delete => "delete",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why an operation is planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Reason {
    /// A person without an account appeared.
    Joined,
    /// A person came back after the account was deleted for good.
    JoinedAgain,
    /// The organization already has the person's account.
    Found {
        /// What matched: `externalId`, `e-mail` or `userName`.
        by: String,
    },
    /// The directory's values differ.
    Changed,
    /// The directory says that the person may not log in.
    Disabled,
    /// The person is not in scope any more.
    Left {
        /// Why.
        #[serde(default = "deleted")]
        why: Cause,
    },
    /// The person is gone for longer than `delete_after`.
    LeftLongAgo {
        /// When the person was first missing.
        since: Timestamp,
    },
    /// The person is back in the directory.
    Returned,
    /// The account, which is being deleted, may be that of an entry of the directory.
    Claimed {
        /// Which entry, by the DN.
        by: String,
    },
    /// The person's entry was made anew, under another key.
    Rehired {
        /// What shows that it is the same person.
        by: String,
    },
    /// The address is taken away for a while, so that people can exchange theirs.
    MakesWay,
    /// The address is given to another person, who has it in the directory.
    Recycled,
    /// The directory says again that the person may log in.
    Enabled,
    /// Somebody has what a run did undone.
    Reverted {
        /// The run.
        run: RunId,
    },
}

/// What older versions knew of.
fn deleted() -> Cause {
    Cause::Deleted
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Joined => write!(f, "new in the directory"),
            Reason::JoinedAgain => write!(f, "back in the directory after the account was deleted"),
            Reason::Found { by } => {
                write!(f, "the organization has this account already (same {by})")
            }
            Reason::Changed => write!(f, "changed in the directory"),
            Reason::Disabled => write!(f, "disabled in the directory"),
            Reason::Left { why } => why.fmt(f),
            Reason::LeftLongAgo { since } => {
                write!(f, "not in the directory since {}", since.format("%Y-%m-%d"))
            }
            Reason::Returned => write!(f, "back in the directory"),
            Reason::Claimed { by } => write!(f, "may be the account of {by} of the directory"),
            Reason::Rehired { by } => write!(f, "back under a new key (same {by})"),
            Reason::MakesWay => write!(f, "makes way for others who exchange their addresses"),
            Reason::Recycled => write!(f, "the address is another person's by now"),
            Reason::Enabled => write!(f, "enabled again in the directory"),
            Reason::Reverted { run } => write!(f, "puts back what run {run} did"),
        }
    }
}

/// One attribute's change. `None` means that there is no value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The attribute's name; beside the managed attributes this is `active` and `externalId`.
    pub attribute: String,
    /// The value before.
    pub old: Option<String>,
    /// The value after.
    pub new: Option<String>,
}

impl Change {
    /// The name under which it is shown that a login is turned on or off.
    pub const ACTIVE: &str = "active";
    /// The name under which a changed `externalId` is shown.
    pub const EXTERNAL_ID: &str = "externalId";
}

/// The account that an operation acts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The SCIM resource.
    pub scim_id: ScimId,
    /// The Atlassian account, where it is known.
    pub account_id: Option<AccountId>,
}

/// How the snapshot had an account before an operation, beside its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerRow {
    /// The source that the person came from.
    pub source: SourceName,
    /// Where the entry stood.
    pub dn: String,
    /// Where the account stood.
    pub lifecycle: Lifecycle,
    /// The person's absence.
    pub absence: Option<Absence>,
}

impl FormerRow {
    /// How the snapshot has this account.
    pub fn of(account: &ManagedAccount) -> Self {
        FormerRow {
            source: account.source.clone(),
            dn: account.dn.clone(),
            lifecycle: account.lifecycle,
            absence: account.absence,
        }
    }
}

/// What an operation of a revert undoes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undoes {
    /// The operations on the account, by their number in the journal.
    pub operations: Vec<OperationId>,
    /// Whether the account is not managed any more afterwards, as it was not before.
    pub lets_go: bool,
}

/// One planned change to one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The person's immutable key.
    pub key: ExternalId,
    /// The source that the person came from.
    pub source: SourceName,
    /// Where the entry stands, or last stood.
    pub dn: String,
    /// What is done.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// The account; a new one has none yet.
    pub target: Option<Target>,
    /// The values before, as the snapshot or the organization has them.
    pub before: Profile,
    /// The values after.
    pub after: Profile,
    /// Whether the account can log in before and after.
    pub active: (bool, bool),
    /// Whether a requested deletion has to be cancelled first.
    pub cancel_delete: bool,
    /// Since when it could not log in before.
    #[serde(default)]
    pub deactivated_since: Option<Timestamp>,
    /// The person's absence, once this has been applied.
    #[serde(default)]
    pub absence: Option<Absence>,
    /// The key under which the account was known, if the person's entry was made anew.
    #[serde(default)]
    pub formerly: Option<ExternalId>,
    /// How the snapshot had the account before; `None` if it had none, and in what an older
    /// version has journalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_row: Option<FormerRow>,
    /// What it undoes, if it is of a revert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<Undoes>,
    /// What differs, for people to read.
    pub changes: Vec<Change>,
    /// The people whose operations free an address that this one takes: it is sent only after
    /// theirs have succeeded.
    pub waits_for: Vec<ExternalId>,
    /// Operations of a lower wave are finished before this one is sent: it takes an address
    /// that one of them frees, or what it does is less urgent.
    pub wave: u32,
}

impl Operation {
    /// Whether it takes an account away from its person.
    pub fn is_departure(&self) -> bool {
        self.kind == Kind::Delete || self.turns_login_off()
    }

    /// Whether it is not known whether a deletion is under way if it was sent and not answered. Whoever has
    /// a run undone does that again.
    pub fn leaves_doubt(&self) -> bool {
        (self.kind == Kind::Delete || self.cancel_delete) && self.undoes.is_none()
    }

    /// Whether it turns the login off.
    pub fn turns_login_off(&self) -> bool {
        self.active == (true, false)
    }

    /// Whether it changes neither a login nor what an account is found or addressed by.
    pub fn is_cosmetic(&self) -> bool {
        let mut unique = Attribute::ALL.into_iter().filter(|one| one.is_unique());
        self.kind == Kind::Update
            && self.active.0 == self.active.1
            && self.formerly.is_none()
            && !self.takes_over()
            && !unique.any(|attribute| self.changes(attribute))
    }

    /// The digest of what it does to whom: an approval is good for exactly this.
    pub fn digest(&self) -> Digest {
        let Operation {
            key,
            kind,
            target,
            active,
            cancel_delete,
            changes,
            ..
        } = self;
        let what = serde_json::json!([key, kind, target, active, cancel_delete, changes]);
        Digest::of_text(&what.to_string())
    }

    /// The name that a person would know the account by.
    pub fn label(&self) -> &str {
        if self.kind == Kind::Create {
            self.after.label()
        } else {
            self.before.label()
        }
    }
}

impl Operation {
    /// Whether the account gets another external id: the person's key, which makes it ours, or
    /// the one that it had before it was ours.
    pub fn takes_over(&self) -> bool {
        self.new_external_id().is_some()
    }

    fn external_id_change(&self) -> Option<&Change> {
        let mut changes = self.changes.iter();
        changes.find(|change| change.attribute == Change::EXTERNAL_ID)
    }

    /// The external id that the account gets, if it gets another one; within, `None` for none.
    pub fn new_external_id(&self) -> Option<Option<&str>> {
        self.external_id_change()
            .map(|change| change.new.as_deref())
    }

    /// The external id that the account has before this is applied.
    pub fn external_id_before(&self) -> Option<&str> {
        match self.external_id_change() {
            Some(change) => change.old.as_deref(),
            None => Some(self.key.as_str()),
        }
    }

    /// The external id that the account has once this has been applied.
    pub fn external_id_after(&self) -> Option<&str> {
        self.new_external_id()
            .unwrap_or_else(|| Some(self.key.as_str()))
    }

    /// Whether the account is not managed any more once this has been applied.
    pub fn lets_go(&self) -> bool {
        self.undoes.as_ref().is_some_and(|undoes| undoes.lets_go)
    }

    /// Where the account stands once this has been applied at that moment.
    pub fn lifecycle_after(&self, at: Timestamp) -> Lifecycle {
        match self.kind {
            Kind::Delete => Lifecycle::DeletePending { since: at },
            Kind::Create | Kind::Adopt | Kind::Update | Kind::Restore | Kind::Deactivate => {
                let since = self.deactivated_since.filter(|_| !self.active.0);
                Lifecycle::of_active(self.active.1, since.unwrap_or(at))
            }
        }
    }

    /// The account's row once this has succeeded with that answer.
    pub fn account_after(&self, answer: &Answer, at: Timestamp) -> ManagedAccount {
        let known = self
            .target
            .as_ref()
            .and_then(|target| target.account_id.clone());
        ManagedAccount {
            key: self.key.clone(),
            source: self.source.clone(),
            dn: self.dn.clone(),
            scim_id: answer.scim_id.clone(),
            account_id: answer.account_id.clone().or(known),
            profile: self.after.clone(),
            lifecycle: self.lifecycle_after(at),
            absence: self.absence,
        }
    }

    /// The key under which the snapshot has the account before this is applied.
    pub fn row(&self) -> &ExternalId {
        self.formerly.as_ref().unwrap_or(&self.key)
    }

    /// Whether it changes the value of this attribute.
    pub fn changes(&self, attribute: Attribute) -> bool {
        self.before.get(attribute) != self.after.get(attribute)
    }
}

/// What the organization answered to an operation that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The account's SCIM resource.
    pub scim_id: ScimId,
    /// The Atlassian account, where the answer tells it.
    pub account_id: Option<AccountId>,
    /// The API's name for the request, for its support.
    pub request_id: Option<String>,
}
