//! What is foreseen of a plan: what the organization would refuse, which requests carrying it
//! out takes, and how long they take.
//!
//! Verified domains (`draft`), lengths and syntax (the mapping) and unique addresses
//! (`addresses`) need no question. What only the organization can tell is asked once there is a
//! plan: [`questions`] names it, `run` reads the [`Answers`], and the plan is made again with
//! them, so that a dry run and a real one foresee the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::{Known, Plan, Refusal, RefusalReason};
use crate::model::{AccountId, Attribute, ExternalId, Kind, Operation, fold};

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
const PROFILE: [Attribute; 7] = [
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
/// here.
pub(super) fn refuse_forbidden(operations: &mut Vec<Operation>, known: &Known) -> Vec<Refusal> {
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
    let ours = Ours::of(operations, known);
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
    operations.retain(|operation| match why(operation) {
        None => true,
        Some(why) => {
            refusals.push(refusal(operation, why));
            false
        }
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
    fn of(operations: &[Operation], known: &Known) -> Self {
        let targets = operations
            .iter()
            .filter_map(|operation| operation.target.as_ref()?.account_id.clone());
        let managed = known
            .accounts
            .values()
            .filter_map(|account| account.account_id.clone());
        let without_id = known
            .accounts
            .values()
            .filter(|account| account.account_id.is_none());
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
}

impl Forecast {
    /// What the answers say of these operations.
    pub(super) fn of(operations: &[Operation], known: &Known) -> Self {
        let Answers {
            holders,
            unseen_rights,
            unseen_addresses,
            ..
        } = &known.answers;
        let ours = Ours::of(operations, known);
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
        }
    }
}

/// The two clients, each with a key and a pace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// The provisioning directory.
    Scim,
    /// User management and the organization.
    Admin,
}

/// A method and the template of a path, by the names of the API's documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Whose key it takes.
    pub api: Api,
    /// The method.
    pub method: &'static str,
    /// The path, with parameters in braces.
    pub path: &'static str,
}

const fn scim(method: &'static str, path: &'static str) -> Endpoint {
    let api = Api::Scim;
    Endpoint { api, method, path }
}

const fn admin(method: &'static str, path: &'static str) -> Endpoint {
    let api = Api::Admin;
    Endpoint { api, method, path }
}

const CREATE: Endpoint = scim("POST", "/scim/directory/{directoryId}/Users");
const READ: Endpoint = scim("GET", "/scim/directory/{directoryId}/Users/{userId}");
const PATCH: Endpoint = scim("PATCH", "/scim/directory/{directoryId}/Users/{userId}");
const REPLACE: Endpoint = scim("PUT", "/scim/directory/{directoryId}/Users/{userId}");
const INVITE: Endpoint = admin("POST", "/admin/v2/orgs/{orgId}/users/invite");
const PERMISSIONS: Endpoint = admin("GET", "/users/{account_id}/manage");
const READ_PROFILE: Endpoint = admin("GET", "/users/{account_id}/manage/profile");
const WRITE_PROFILE: Endpoint = admin("PATCH", "/users/{account_id}/manage/profile");
const SET_EMAIL: Endpoint = admin("PUT", "/users/{account_id}/manage/email");
const ENABLE: Endpoint = admin("POST", "/users/{account_id}/manage/lifecycle/enable");
const DISABLE: Endpoint = admin("POST", "/users/{account_id}/manage/lifecycle/disable");
const DELETE: Endpoint = admin("POST", "/users/{account_id}/manage/lifecycle/delete");
const CANCEL_DELETE: Endpoint = admin("POST", "/users/{account_id}/manage/lifecycle/cancel-delete");

/// Requests by their endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls(BTreeMap<Endpoint, u64>);

/// The requests to one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// How many requests.
    pub count: u64,
}

impl Calls {
    /// The requests that sending these operations takes, if each is answered well at once. The
    /// rules are those of `org/write.rs` and `org/admin.rs`. Operations on groups count theirs
    /// with [`add`](Self::add).
    pub fn of<'a>(operations: impl IntoIterator<Item = &'a Operation>, way: Way) -> Self {
        let mut calls = Calls::default();
        for operation in operations {
            match way {
                Way::Scim { replaces_whole } => calls.by_scim(operation, replaces_whole),
                Way::Admin => calls.by_admin(operation),
            }
        }
        calls
    }

    /// Counts so many requests to an endpoint.
    pub fn add(&mut self, endpoint: Endpoint, count: u64) {
        if count > 0 {
            *self.0.entry(endpoint).or_default() += count;
        }
    }

    /// The requests, endpoint by endpoint.
    pub fn iter(&self) -> impl Iterator<Item = Call> {
        self.0.iter().map(|(endpoint, count)| Call {
            endpoint: *endpoint,
            count: *count,
        })
    }

    /// How many requests there are.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// How many of them go to one of the APIs.
    pub fn to(&self, api: Api) -> u64 {
        self.iter()
            .filter(|call| call.endpoint.api == api)
            .map(|call| call.count)
            .sum()
    }

    fn by_scim(&mut self, operation: &Operation, replaces_whole: bool) {
        // The account's id is read where it is needed and not known.
        let has_id = operation
            .target
            .as_ref()
            .is_some_and(|target| target.account_id.is_some());
        match operation.kind {
            Kind::Create => return self.add(CREATE, 1),
            Kind::Delete => {
                self.add(READ, 1 + u64::from(!has_id));
                self.add(PERMISSIONS, 1);
                return self.add(DELETE, 1);
            }
            Kind::Adopt | Kind::Update | Kind::Restore | Kind::Deactivate => {}
        }
        if operation.cancel_delete {
            self.add(READ, u64::from(!has_id));
            self.add(CANCEL_DELETE, 1);
        }
        let differs = operation.takes_over()
            || operation.active.0 != operation.active.1
            || operation.before != operation.after;
        match (differs, replaces_whole) {
            (false, _) => {}
            (true, false) => self.add(PATCH, 1),
            (true, true) => {
                self.add(READ, 1);
                self.add(REPLACE, 1);
            }
        }
    }

    fn by_admin(&mut self, operation: &Operation) {
        let changes_profile = PROFILE
            .into_iter()
            .any(|attribute| operation.changes(attribute));
        match operation.kind {
            Kind::Create => {
                self.add(INVITE, 1);
                self.add(READ_PROFILE, 1);
                return self.add(WRITE_PROFILE, u64::from(changes_profile));
            }
            Kind::Delete => {
                self.add(READ_PROFILE, 1);
                self.add(PERMISSIONS, 1);
                return self.add(DELETE, 1);
            }
            Kind::Adopt | Kind::Update | Kind::Restore | Kind::Deactivate => {}
        }
        self.add(CANCEL_DELETE, u64::from(operation.cancel_delete));
        match operation.active {
            (false, true) => self.add(ENABLE, 1),
            (true, false) => self.add(DISABLE, 1),
            (true, true) | (false, false) => {}
        }
        let sets_email =
            operation.changes(Attribute::Email) && operation.after.get(Attribute::Email).is_some();
        self.add(SET_EMAIL, u64::from(sets_email));
        self.add(WRITE_PROFILE, u64::from(changes_profile));
    }
}

/// What a client knows of how fast its API takes requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// The most requests a second, by the configuration.
    pub per_second: Option<u32>,
    /// The limit that the API's headers tell.
    pub window: Option<Window>,
    /// How long an answer took on the average.
    pub round_trip: Option<Duration>,
    /// How many requests may be under way at once.
    pub at_once: u32,
}

/// A limit of so many requests in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many requests each period takes.
    pub limit: u64,
    /// How many may still be sent in the present one.
    pub remaining: u64,
    /// How long that one still is.
    pub ends_in: Duration,
    /// How long a period is, as far as it was seen.
    pub period: Duration,
}

/// How long requests take at least, and by what: what this machine does between them is not in
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// How long.
    pub time: Duration,
    /// What takes the time.
    pub by: Pace,
}

/// What decides how fast requests go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The rate of the configuration: so many requests a second.
    Configured(u32),
    /// The limit of the API's headers: so many requests in such a period.
    Limited(u64, Duration),
    /// The API's answers, which take so long.
    Answers(Duration),
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::Configured(rate) => write!(f, "`requests_per_second = {rate}`"),
            Pace::Limited(limit, period) => write!(
                f,
                "the API's limit of {limit} requests in {}",
                humantime::format_duration(Duration::from_secs(period.as_secs().max(1)))
            ),
            Pace::Answers(time) => {
                write!(f, "the API's answers, each after {} ms", time.as_millis())
            }
        }
    }
}

impl Rate {
    /// How long so many requests take; `None` when nothing is known that they would wait for.
    pub fn estimate(&self, requests: u64) -> Option<Estimate> {
        let Rate {
            per_second,
            window,
            round_trip,
            at_once,
        } = self;
        let times = |time: Duration, count: u64| {
            time.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
        };
        let configured = per_second.filter(|rate| *rate > 0).map(|rate| Estimate {
            // The first goes out at once.
            time: times(Duration::from_secs(1), requests.saturating_sub(1)) / rate,
            by: Pace::Configured(rate),
        });
        let limited = window.map(|window| {
            let rest = requests.saturating_sub(window.remaining);
            let time = match rest.checked_sub(1) {
                None => Duration::ZERO,
                Some(rest) => window
                    .ends_in
                    .saturating_add(times(window.period, rest / window.limit.max(1))),
            };
            Estimate {
                time,
                by: Pace::Limited(window.limit, window.period),
            }
        });
        let answered = round_trip.map(|time| Estimate {
            time: times(time, requests) / (*at_once).max(1),
            by: Pace::Answers(time),
        });
        [configured, limited, answered]
            .into_iter()
            .flatten()
            .max_by_key(|estimate| estimate.time)
    }
}

impl Calls {
    /// How long they take at the pace of each API, which go on side by side.
    pub fn estimate(&self, scim: &Rate, admin: &Rate) -> Option<Estimate> {
        [(Api::Scim, scim), (Api::Admin, admin)]
            .into_iter()
            .filter(|(api, _)| self.to(*api) > 0)
            .filter_map(|(api, rate)| rate.estimate(self.to(api)))
            .max_by_key(|estimate| estimate.time)
    }
}
