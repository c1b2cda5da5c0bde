//! Limits: how many requests an API takes in a period (contract sections 2 and 7) and how much a directory holds
//! (section 7). They last as long as the process, like the rules of faults.

use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, HeaderValue};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answers::ScimError;
use super::gate::Area;
use super::store::rfc3339;

/// How many requests one API takes in a period. Written as `scim=600/60`: the API (`scim`, `users` or `orgs`), the
/// requests, the seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    api: usize,
    rate: Rate,
}

/// The names of the limited APIs; their places are those in [`State::windows`].
const APIS: [&str; 3] = ["scim", "users", "orgs"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    requests: u32,
    seconds: u32,
}

impl Rate {
    fn check(self) -> Result<Self, String> {
        if self.seconds == 0 {
            return Err("a period has at least one second".to_owned());
        }
        Ok(self)
    }
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no limit; write one like scim=600/60, for scim, users or orgs");
        let (api, rate) = text.split_once('=').ok_or_else(wrong)?;
        let api = APIS
            .iter()
            .position(|name| *name == api)
            .ok_or_else(wrong)?;
        let (requests, seconds) = rate.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.parse().map_err(|_| wrong());
        let rate = Rate {
            requests: number(requests)?,
            seconds: number(seconds)?,
        }
        .check()?;
        Ok(Self { api, rate })
    }
}

/// What `/_simulator/limits` takes and shows. What a `PUT` leaves out gets its default again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limited {
    scim: Option<Rate>,
    users: Option<Rate>,
    orgs: Option<Rate>,
    directory: Directory,
}

/// How much a directory holds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Directory {
    /// Resources of users.
    pub(super) users: Option<u32>,
    /// Members of one group.
    pub(super) members: Option<u32>,
}

impl Default for Directory {
    /// The 2022 document says 70,000 users and 20,000 members. The first is off: older and newer texts have other
    /// figures, and directories of 100,000 people are what is measured here. The second is on: no text says more.
    fn default() -> Self {
        Self {
            users: None,
            members: Some(20_000),
        }
    }
}

impl Directory {
    /// 400 when the directory holds more users than it may. The contract has no error of its own for that.
    pub(super) fn users_fit(self, users: i64) -> Result<(), ScimError> {
        fits(self.users, users, "users of the directory")
    }

    /// 400 when a group has more members than it may.
    pub(super) fn members_fit(self, members: usize) -> Result<(), ScimError> {
        fits(
            self.members,
            i64::try_from(members).unwrap_or(i64::MAX),
            "members of a group",
        )
    }
}

fn fits(limit: Option<u32>, number: i64, what: &str) -> Result<(), ScimError> {
    match limit {
        Some(limit) if number > i64::from(limit) => Err(ScimError::bad(
            "invalidValue",
            format!("The limit of {limit} {what} is exceeded."),
        )),
        _ => Ok(()),
    }
}

/// A fixed window: it begins with the first request after the end of the one before. A client may so send twice the
/// rate around a boundary; what the real API counts by is not published.
#[derive(Debug, Clone, Copy)]
struct Window {
    rate: Rate,
    /// Milliseconds since 1970 on the machine's clock: what clients wait by is real time.
    ends: i64,
    used: u32,
}

#[derive(Default)]
struct State {
    windows: [Option<Window>; APIS.len()],
    directory: Directory,
}

/// The limits in force.
#[derive(Default)]
pub(super) struct Limits(Mutex<State>);

/// How a request stands with the limit of its API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    limit: u32,
    remaining: u32,
    reset: i64,
    /// The seconds to wait, when the request is over the limit.
    pub(super) wait: Option<i64>,
}

impl Standing {
    /// The headers of every answer of a limited API (contract section 7), and `Retry-After` of a refused one.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit", self.limit.into());
        headers.insert("x-ratelimit-remaining", self.remaining.into());
        if let Ok(reset) = HeaderValue::try_from(rfc3339(self.reset)) {
            headers.insert("x-ratelimit-reset", reset);
        }
        if let Some(wait) = self.wait {
            headers.insert("retry-after", wait.into());
        }
    }
}

impl Limits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets one rate; its period begins with the next request.
    pub(super) fn limit(&self, limit: RateLimit) {
        self.state().windows[limit.api] = Some(Window {
            rate: limit.rate,
            ends: 0,
            used: 0,
        });
    }

    /// Sets all limits anew.
    pub(super) fn set(&self, limits: Value) -> Result<(), String> {
        let Limited {
            scim,
            users,
            orgs,
            directory,
        } = serde_json::from_value(limits).map_err(|error| error.to_string())?;
        let mut windows = [None; APIS.len()];
        for (window, rate) in windows.iter_mut().zip([scim, users, orgs]) {
            let rate = rate.map(Rate::check).transpose()?;
            *window = rate.map(|rate| Window {
                rate,
                ends: 0,
                used: 0,
            });
        }
        *self.state() = State { windows, directory };
        Ok(())
    }

    /// The limits in force.
    pub(super) fn show(&self) -> Value {
        let state = self.state();
        let [scim, users, orgs] = state.windows.map(|window| window.map(|window| window.rate));
        let limited = Limited {
            scim,
            users,
            orgs,
            directory: state.directory,
        };
        serde_json::to_value(limited).unwrap_or_default()
    }

    pub(super) fn directory(&self) -> Directory {
        self.state().directory
    }

    /// Counts a request; none when its API is not limited.
    pub(super) fn take(&self, area: Area) -> Option<Standing> {
        let api = match area {
            Area::Scim => 0,
            Area::Management => 1,
            Area::Organization => 2,
            Area::Control | Area::Nowhere => return None,
        };
        let (mut state, now) = (self.state(), Utc::now().timestamp_millis());
        let window = state.windows[api].as_mut()?;
        let period = i64::from(window.rate.seconds) * 1000;
        // The second case: the machine's clock was put back.
        if now >= window.ends || now < window.ends - period {
            (window.ends, window.used) = (now + period, 0);
        }
        let limit = window.rate.requests;
        let over = window.used >= limit;
        window.used += u32::from(!over);
        // Rounded up, so that who waits so long is not too early.
        let wait = over.then(|| (window.ends - now + 999) / 1000);
        Some(Standing {
            limit,
            remaining: limit - window.used,
            reset: window.ends,
            wait,
        })
    }
}
