//! The requests that carrying a plan out takes, and how long they take.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::draft::differences;
use super::forecast::{PROFILE, Way};
use crate::model::{Attribute, GroupChange, GroupMember, GroupOperation, Kind, Operation};

/// How many members one PATCH of a group names. The contract has no figure; a well-known peer of the
/// target takes 100.
pub const MEMBERS_A_PATCH: usize = 100;

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
const CREATE_GROUP: Endpoint = scim("POST", "/scim/directory/{directoryId}/Groups");
const READ_GROUP: Endpoint = scim("GET", "/scim/directory/{directoryId}/Groups/{groupId}");
const PATCH_GROUP: Endpoint = scim("PATCH", "/scim/directory/{directoryId}/Groups/{groupId}");
const REPLACE_GROUP: Endpoint = scim("PUT", "/scim/directory/{directoryId}/Groups/{groupId}");
const DELETE_GROUP: Endpoint = scim("DELETE", "/scim/directory/{directoryId}/Groups/{groupId}");
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
    /// rules are those of `org/write.rs` and `org/admin.rs`.
    pub fn of<'a>(operations: impl IntoIterator<Item = &'a Operation>, way: Way) -> Self {
        let mut calls = Calls::default();
        for operation in operations {
            calls.count(operation, way);
        }
        calls
    }

    /// The same of an operation on a group.
    pub fn of_group(operation: &GroupOperation, way: Way) -> Self {
        let mut calls = Calls::default();
        calls.count_group(operation, way);
        calls
    }

    /// Counts those of one more operation.
    pub(super) fn count(&mut self, operation: &Operation, way: Way) {
        match way {
            Way::Scim { replaces_whole } => self.by_scim(operation, replaces_whole),
            Way::Admin => self.by_admin(operation),
        }
    }

    /// Counts those of one more operation on a group, by the rules of `org/groups.rs`. There are no
    /// groups without SCIM.
    pub(super) fn count_group(&mut self, operation: &GroupOperation, way: Way) {
        let replaces_whole = match way {
            Way::Scim { replaces_whole } => replaces_whole,
            Way::Admin => false,
        };
        let GroupOperation { add, remove, .. } = operation;
        let mut members = |members: &[GroupMember]| {
            let batches = members.len().div_ceil(MEMBERS_A_PATCH) as u64;
            if replaces_whole {
                self.add(READ_GROUP, batches.min(1));
                self.add(REPLACE_GROUP, batches.min(1));
            } else {
                self.add(PATCH_GROUP, batches);
            }
        };
        match operation.kind {
            GroupChange::Create | GroupChange::Rename => members(add),
            GroupChange::Adopt | GroupChange::Update => {
                members(add);
                members(remove);
            }
            GroupChange::Delete => {}
        }
        let (makes, deletes) = match operation.kind {
            GroupChange::Create => (1, 0),
            GroupChange::Rename => (1, 1),
            GroupChange::Delete => (0, 1),
            GroupChange::Adopt | GroupChange::Update => (0, 0),
        };
        self.add(CREATE_GROUP, makes);
        self.add(DELETE_GROUP, deletes);
    }

    /// Counts so many requests to an endpoint.
    fn add(&mut self, endpoint: Endpoint, count: u64) {
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

    /// How long they take at the pace of each API, which go on side by side.
    pub fn estimate(&self, scim: &Rate, admin: &Rate) -> Option<Estimate> {
        [(Api::Scim, scim), (Api::Admin, admin)]
            .into_iter()
            .filter(|(api, _)| self.to(*api) > 0)
            .filter_map(|(api, rate)| rate.estimate(self.to(api)))
            .max_by_key(|estimate| estimate.time)
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
            || !differences(&operation.before, &operation.after).is_empty();
        match (differs, replaces_whole) {
            (false, _) => {}
            (true, false) => {
                // Whose the account is; who replaces it whole has read that.
                self.add(READ, u64::from(operation.turns_login_off()));
                self.add(PATCH, 1);
            }
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
