//! What is foreseen of a plan: what the organization would refuse, and what becomes of creations.
//!
//! Verified domains (`draft`), lengths and syntax (the mapping) and unique addresses
//! (`addresses`) need no question. What only the organization can tell is asked once there is a
//! plan: [`questions`] names it, `run` reads the [`Answers`], and the plan is made again with
//! them, so that a dry run and a real one foresee the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use chrono::TimeDelta;

use super::calls::{Calls, Estimate};
use super::{Known, Plan, Refusal, RefusalReason};
use crate::model::{AccountId, Attribute, ExternalId, Kind, Operation, Timestamp, fold};

/// How accounts are made and changed, as far as the requests depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By SCIM 2.0.
    Scim {
        /// Whether the server takes no PATCH, so that resources are read and replaced whole.
        replaces_whole: bool,
    },
    /// By invitation and user management.
    Admin,
}

/// A right over one account (contract section 4, `GET /users/{id}/manage`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// To delete it, and to cancel that.
    Delete,
    /// To turn its login on and off.
    Enablement,
    /// To change its address.
    Email,
    /// To change one value of its profile.
    Profile(Attribute),
}

impl Right {
    /// The API's name of the privilege that it belongs to.
    pub fn privilege(self) -> &'static str {
        match self {
            Right::Delete => "lifecycle.delete",
            Right::Enablement => "lifecycle.enablement",
            Right::Email => "email.set",
            Right::Profile(_) => "profile.write",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.privilege())?;
        match self {
            Right::Profile(attribute) => write!(f, " of {attribute}"),
            Right::Delete | Right::Enablement | Right::Email => Ok(()),
        }
    }
}

/// The rights that carrying out an operation takes beyond those of the SCIM key.
fn rights(operation: &Operation, way: Way) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    if operation.kind == Kind::Delete || operation.cancel_delete {
        rights.insert(Right::Delete);
    }
    if way == Way::Admin && !matches!(operation.kind, Kind::Create | Kind::Delete) {
        if operation.active.0 != operation.active.1 {
            rights.insert(Right::Enablement);
        }
        if operation.changes(Attribute::Email) {
            rights.insert(Right::Email);
        }
        let changed = PROFILE
            .into_iter()
            .filter(|attribute| operation.changes(*attribute));
        rights.extend(changed.map(Right::Profile));
    }
    rights
}

/// What user management has in an account's profile, beside the address.
pub(super) const PROFILE: [Attribute; 7] = [
    Attribute::DisplayName,
    Attribute::NickName,
    Attribute::Timezone,
    Attribute::PreferredLanguage,
    Attribute::Title,
    Attribute::Organization,
    Attribute::Department,
];

/// What only the organization can tell about a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// The rights that operations need, by account.
    pub rights: BTreeMap<AccountId, BTreeSet<Right>>,
    /// Operations that need a right over an account whose id is not known.
    pub unknown: u64,
    /// The addresses, case-folded, that operations give to accounts.
    pub addresses: BTreeSet<String>,
    /// How many accounts are created.
    pub creations: u64,
}

/// What is to be asked about a plan.
pub fn questions(plan: &Plan, way: Way) -> Questions {
    let mut questions = Questions::default();
    for operation in plan.operations.iter().map(|planned| &planned.operation) {
        let rights = rights(operation, way);
        match account_id(operation, way) {
            _ if rights.is_empty() => {}
            Some(account) => questions.rights.entry(account).or_default().extend(rights),
            None => questions.unknown += 1,
        }
        if operation.kind == Kind::Create {
            questions.creations += 1;
        }
        // In the admin way who holds an address is found in any case, and adopted.
        if let (Way::Scim { .. }, true, Some(email)) = (
            way,
            operation.changes(Attribute::Email),
            operation.after.get(Attribute::Email),
        ) {
            questions.addresses.insert(fold(email));
        }
    }
    questions
}

fn account_id(operation: &Operation, way: Way) -> Option<AccountId> {
    let target = operation.target.as_ref()?;
    match way {
        Way::Scim { .. } => target.account_id.clone(),
        Way::Admin => Some(AccountId::new(target.scim_id.as_str())),
    }
}

/// An account of the organization that holds an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: String,
    /// Whether its login is on.
    pub active: bool,
    /// By which reason of the API a provisioning directory owns it, if one does.
    pub owner: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.account, self.name)
    }
}

/// What the organization answered to the [`Questions`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The rights that are denied, with the API's reason.
    pub denied: HashMap<AccountId, BTreeMap<Right, String>>,
    /// Who holds the addresses, by the case-folded address.
    pub holders: HashMap<String, Holder>,
    /// How many users the provisioning directory has.
    pub users: Option<u64>,
    /// How many it takes, if there is a limit.
    pub max_users: Option<u64>,
    /// Accounts whose rights were not looked at.
    pub unseen_rights: u64,
    /// Addresses that were not looked for.
    pub unseen_addresses: u64,
}

impl Answers {
    /// How many accounts may still be created.
    fn room(&self) -> Option<u64> {
        Some(self.max_users?.saturating_sub(self.users?))
    }

    /// Whether a plan with so many creations has to be made again with what was answered.
    pub fn change_a_plan_of(&self, creations: u64) -> bool {
        !self.denied.is_empty()
            || !self.holders.is_empty()
            || self.room().is_some_and(|room| room < creations)
    }
}

/// Takes out the operations that the organization would certainly refuse: those for which it
/// denies the right, and those that take an address which an account holds that is not managed
/// here. A deletion is cancelled in any case, without what would be refused: to ask in vain costs a
/// request, not to ask may cost the account.
pub(super) fn refuse_forbidden(
    operations: &mut Vec<Operation>,
    known: &Known,
    now: Timestamp,
) -> Vec<Refusal> {
    let Answers {
        denied, holders, ..
    } = &known.answers;
    if denied.is_empty() && holders.is_empty() {
        return Vec::new();
    }
    let way = if known.keeps_keys {
        Way::Scim {
            replaces_whole: false,
        }
    } else {
        Way::Admin
    };
    let ours = Ours::of(operations, known, now);
    let why = |operation: &Operation| {
        let account = account_id(operation, way);
        let denied = account.as_ref().and_then(|account| denied.get(account));
        let forbidden = rights(operation, way).into_iter().find_map(|right| {
            Some(RefusalReason::Forbidden {
                right: right.to_string(),
                account: account.as_ref()?.to_string(),
                reason: denied?.get(&right)?.clone(),
            })
        });
        forbidden.or_else(|| {
            // A new account may be linked to the one that is there.
            let (address, holder) = ours.stranger(operation, holders)?;
            (operation.kind != Kind::Create).then(|| RefusalReason::AddressTaken {
                attribute: Attribute::Email.name().to_owned(),
                value: address.to_owned(),
                holder: holder.to_string(),
            })
        })
    };
    let mut refusals = Vec::new();
    operations.retain(|operation| {
        let Some(refused) = why(operation) else {
            return true;
        };
        refusals.push(refusal(operation, refused));
        // What is deleted cannot be had again: it is tried all the same.
        operation.cancel_delete
    });
    refusals
}

/// Takes out the creations for which the provisioning directory has no room, the last first.
pub(super) fn refuse_overfull(operations: &mut Vec<Operation>, answers: &Answers) -> Vec<Refusal> {
    let (Some(room), Some(users), Some(max)) = (answers.room(), answers.users, answers.max_users)
    else {
        return Vec::new();
    };
    let mut refusals = Vec::new();
    let mut created = 0;
    operations.retain(|operation| {
        if operation.kind != Kind::Create {
            return true;
        }
        created += 1;
        if created > room {
            refusals.push(refusal(operation, RefusalReason::Overfull { users, max }));
        }
        created <= room
    });
    refusals
}

fn refusal(operation: &Operation, why: RefusalReason) -> Refusal {
    Refusal {
        key: Some(operation.key.clone()),
        source: operation.source.clone(),
        dn: operation.dn.clone(),
        why,
    }
}

/// The accounts that are managed here, to tell them from strangers.
struct Ours {
    accounts: HashSet<AccountId>,
    /// The addresses of accounts whose id is not known.
    addresses: HashSet<String>,
}

impl Ours {
    fn of(operations: &[Operation], known: &Known, now: Timestamp) -> Self {
        let targets = operations
            .iter()
            .filter_map(|operation| operation.target.as_ref()?.account_id.clone());
        let there = known.accounts.values();
        let there = there.filter(|account| !known.is_gone(account, now));
        let managed = there
            .clone()
            .filter_map(|account| account.account_id.clone());
        let without_id = there.filter(|account| account.account_id.is_none());
        Ours {
            accounts: targets.chain(managed).collect(),
            addresses: without_id
                .filter_map(|account| account.profile.get(Attribute::Email).map(fold))
                .collect(),
        }
    }

    /// The stranger who holds the address that the operation gives, and the address.
    fn stranger<'a>(
        &self,
        operation: &'a Operation,
        holders: &'a HashMap<String, Holder>,
    ) -> Option<(&'a str, &'a Holder)> {
        if !operation.changes(Attribute::Email) {
            return None;
        }
        let email = operation.after.get(Attribute::Email)?;
        let address = fold(email);
        let holder = holders.get(&address)?;
        let is_ours = self.accounts.contains(&holder.account) || self.addresses.contains(&address);
        (!is_ours).then_some((email, holder))
    }
}

/// What is foreseen of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// The new SCIM resource will be linked to an account that the organization has (contract
    /// section 7, `POST Users`).
    Linked(Holder),
    /// The creation will probably be refused.
    Conflict(Holder),
}

impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Foreseen::Linked(holder) => write!(
                f,
                "will be linked to the account {holder}, which has this address"
            ),
            Foreseen::Conflict(holder) => {
                write!(
                    f,
                    "will probably be refused: the account {holder} has this address and is "
                )?;
                match &holder.owner {
                    Some(owner) => write!(f, "managed by a provisioning directory ({owner})")?,
                    None => write!(f, "deactivated")?,
                }
                write!(f, "; settle in the organization whose it is")
            }
        }
    }
}

/// What is foreseen of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Of single operations, by their person.
    pub foreseen: BTreeMap<ExternalId, Foreseen>,
    /// Accounts whose rights were not looked at.
    pub unseen_rights: u64,
    /// Addresses that were not looked for.
    pub unseen_addresses: u64,
    /// The requests that carrying it out takes; only a dry run counts them.
    pub calls: Option<Calls>,
    /// How long they take; `None` as long as nothing is known of the API's pace.
    pub estimate: Option<Estimate>,
    /// How long a run may go on, as far as a dry run is to tell.
    pub deadline: Option<TimeDelta>,
}

impl Forecast {
    /// What the answers say of these operations.
    pub(super) fn of(operations: &[Operation], known: &Known, now: Timestamp) -> Self {
        let Answers {
            holders,
            unseen_rights,
            unseen_addresses,
            ..
        } = &known.answers;
        let ours = Ours::of(operations, known, now);
        let foreseen = |operation: &Operation| {
            let (_, holder) = ours.stranger(operation, holders)?;
            let holder = holder.clone();
            let what = if holder.active && holder.owner.is_none() {
                Foreseen::Linked(holder)
            } else {
                Foreseen::Conflict(holder)
            };
            Some((operation.key.clone(), what))
        };
        Forecast {
            foreseen: operations
                .iter()
                .filter(|operation| operation.kind == Kind::Create)
                .filter_map(foreseen)
                .collect(),
            unseen_rights: *unseen_rights,
            unseen_addresses: *unseen_addresses,
            calls: None,
            estimate: None,
            deadline: None,
        }
    }
}
