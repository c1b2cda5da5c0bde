//! Rules for what goes wrong: the means of a rehearsal to see how a client bears it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The statuses that a rule may answer with.
const STATUSES: [u16; 9] = [200, 401, 403, 404, 409, 429, 500, 502, 503];

/// A rule as it is posted and shown: `match` is a regular expression on `METHOD path`, and one effect is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(rename = "match")]
    pattern: String,
    times: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<When>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    html: Option<When>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncate: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drip_ms_per_byte: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_ms: Option<u64>,
}

/// When the answer is lost: without the request having taken effect, or with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum When {
    Before,
    After,
}

/// What a rule does to one request.
#[derive(Debug)]
pub(super) enum Fault {
    /// `status`: this answer, and nothing is done.
    Answer(Response),
    /// `delay_ms`: done, but later.
    Delay(Duration),
    /// `cut`: the connection is dropped without an answer.
    Cut(When),
    /// `html`: an HTML page with status 200 in place of the answer.
    Html(When),
    /// `truncate`: done; the connection is closed after half of the answer's body.
    Truncate,
    /// `drip_ms_per_byte`: done; the answer's body comes byte by byte.
    Drip(Duration),
    /// `stale_ms`, for writes: done; for so long reads of SCIM users answer as before.
    Stale(Duration),
}

impl Fault {
    /// The name in the log of requests.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Answer(_) => "status",
            Self::Delay(_) => "delay",
            Self::Cut(When::Before) => "cut before",
            Self::Cut(When::After) => "cut after",
            Self::Html(When::Before) => "html before",
            Self::Html(When::After) => "html after",
            Self::Truncate => "truncate",
            Self::Drip(_) => "drip",
            Self::Stale(_) => "stale",
        }
    }
}

/// A rule whose expression is compiled and whose effect is checked.
struct Armed {
    rule: Rule,
    pattern: Regex,
}

impl Armed {
    fn check(rule: Rule) -> Result<Self, String> {
        let Rule {
            pattern,
            times: _,
            status,
            headers,
            body,
            delay_ms,
            cut,
            html,
            truncate,
            drip_ms_per_byte,
            stale_ms,
        } = &rule;
        let effects = [
            status.is_some(),
            delay_ms.is_some(),
            cut.is_some(),
            html.is_some(),
            *truncate,
            drip_ms_per_byte.is_some(),
            stale_ms.is_some(),
        ];
        if effects.iter().filter(|given| **given).count() != 1 {
            return Err(format!(
                "the rule for `{pattern}` needs exactly one of status, delay_ms, cut, html, truncate, \
                 drip_ms_per_byte and stale_ms"
            ));
        }
        if let Some(status) = status.filter(|status| !STATUSES.contains(status)) {
            return Err(format!("the status {status} is not one of {STATUSES:?}"));
        }
        if status.is_none() && (!headers.is_empty() || body.is_some()) {
            return Err(format!(
                "the rule for `{pattern}` has headers or a body without a status"
            ));
        }
        for (name, value) in headers {
            HeaderName::try_from(name).map_err(|error| format!("the header {name}: {error}"))?;
            HeaderValue::try_from(value).map_err(|error| format!("the header {name}: {error}"))?;
        }
        let pattern =
            Regex::new(pattern).map_err(|error| format!("the expression `{pattern}`: {error}"))?;
        Ok(Self { pattern, rule })
    }

    fn fault(&self) -> Fault {
        let Rule {
            pattern: _,
            times: _,
            status,
            headers,
            body,
            delay_ms,
            cut,
            html,
            truncate,
            drip_ms_per_byte,
            stale_ms,
        } = &self.rule;
        let time = |milliseconds: &u64| Duration::from_millis(*milliseconds);
        let effect = cut
            .map(Fault::Cut)
            .or_else(|| html.map(Fault::Html))
            .or_else(|| truncate.then_some(Fault::Truncate))
            .or_else(|| delay_ms.as_ref().map(time).map(Fault::Delay))
            .or_else(|| drip_ms_per_byte.as_ref().map(time).map(Fault::Drip))
            .or_else(|| stale_ms.as_ref().map(time).map(Fault::Stale));
        if let Some(effect) = effect {
            return effect;
        }
        let status = status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or_default();
        let (media, text) = match body {
            None => (None, String::new()),
            Some(Value::String(text)) => (Some("text/plain; charset=utf-8"), text.clone()),
            Some(body) => (Some("application/json"), body.to_string()),
        };
        let mut response = (status, Body::from(text)).into_response();
        if let Some(media) = media {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        }
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                response.headers_mut().insert(name, value);
            }
        }
        Fault::Answer(response)
    }
}

/// The rules that are left, in order.
#[derive(Default)]
pub(super) struct Faults(Mutex<Vec<Armed>>);

impl Faults {
    fn rules(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a list of rules behind those that are left: all, or none when one is wrong.
    pub(super) fn add(&self, rules: Value) -> Result<(), String> {
        let rules: Vec<Rule> = serde_json::from_value(rules).map_err(|error| error.to_string())?;
        let armed = rules
            .into_iter()
            .map(Armed::check)
            .collect::<Result<Vec<_>, _>>()?;
        self.rules()
            .extend(armed.into_iter().filter(|armed| armed.rule.times > 0));
        Ok(())
    }

    /// What the first rule that matches does to the request; a rule that has done so `times` often is gone.
    pub(super) fn strike(&self, method: &str, path: &str) -> Option<Fault> {
        let mut rules = self.rules();
        if rules.is_empty() {
            return None;
        }
        let subject = format!("{method} {path}");
        let index = rules
            .iter()
            .position(|armed| armed.pattern.is_match(&subject))?;
        let fault = rules[index].fault();
        rules[index].rule.times -= 1;
        if rules[index].rule.times == 0 {
            rules.remove(index);
        }
        Some(fault)
    }

    /// The rules that are left.
    pub(super) fn left(&self) -> Value {
        self.rules()
            .iter()
            .map(|armed| serde_json::to_value(&armed.rule).unwrap_or_default())
            .collect()
    }

    pub(super) fn clear(&self) {
        self.rules().clear();
    }
}
