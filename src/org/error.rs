//! Errors of the API, sorted by what can be done about them. No message holds a key.

use std::fmt;

/// A request that did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ApiError {
    /// What was asked, such as `POST /scim/directory/…/Users`.
    pub request: String,
    /// The API's name for the request.
    pub request_id: Option<String>,
    /// What went wrong.
    pub cause: Cause,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There was no connection, so nothing was sent.
    Unreachable {
        /// The API's root.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// The request went out and no usable answer came: whether it took effect is not known.
    NoAnswer(String),
    /// 401: the key is wrong, expired or rotated.
    Unauthorized {
        /// Where the key comes from.
        secret: String,
    },
    /// 403: the key has not the right, or the account is not open to this change.
    Forbidden(String),
    /// 404.
    NotFound(String),
    /// 404 for an account, and reading does not find it either.
    Gone(String),
    /// 404 for an account that reading finds: a gateway may have lost its way once.
    Astray(String),
    /// 409.
    Conflict(String),
    /// 429, and waiting did not help.
    Throttled,
    /// 5xx.
    Server {
        /// The status.
        status: u16,
        /// The API's words.
        message: String,
    },
    /// Any other refusal.
    Refused {
        /// The status.
        status: u16,
        /// The API's words.
        message: String,
    },
    /// What reading showed keeps dirsyncd itself from sending it.
    Declined(String),
    /// The answer is not what the contract says.
    Unintelligible(String),
    /// The client could not be set up.
    Setup(String),
    /// It was not sent, as the run was asked to stop.
    Stopped,
    /// It was sent, and the run was asked to stop before it was known what became of it.
    Unawaited,
}

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Try again later: the next run does.
    Retry,
    /// Correct the person's entry, or the account that is in its way.
    FixPerson,
    /// Correct the configuration, the key or its rights.
    FixConfiguration,
    /// The API or the client has a fault that only their makers can mend.
    Report,
}

impl Cause {
    /// What the API said, or why it said nothing; `None` where there is no more than a status.
    pub fn words(&self) -> Option<&str> {
        match self {
            Cause::Unauthorized { .. } | Cause::Throttled | Cause::Unawaited => None,
            Cause::Stopped => Some("not sent, as the run was asked to stop"),
            Cause::Unreachable { why: words, .. }
            | Cause::NoAnswer(words)
            | Cause::Forbidden(words)
            | Cause::NotFound(words)
            | Cause::Gone(words)
            | Cause::Astray(words)
            | Cause::Conflict(words)
            | Cause::Server { message: words, .. }
            | Cause::Refused { message: words, .. }
            | Cause::Declined(words)
            | Cause::Unintelligible(words)
            | Cause::Setup(words) => Some(words),
        }
    }

    /// Whether a write may have taken effect although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Cause::NoAnswer(_)
            | Cause::Server { .. }
            | Cause::Unintelligible(_)
            | Cause::Unawaited => true,
            Cause::Unreachable { .. }
            | Cause::Unauthorized { .. }
            | Cause::Forbidden(_)
            | Cause::NotFound(_)
            | Cause::Gone(_)
            | Cause::Astray(_)
            | Cause::Conflict(_)
            | Cause::Throttled
            | Cause::Refused { .. }
            | Cause::Declined(_)
            | Cause::Setup(_)
            | Cause::Stopped => false,
        }
    }
}

impl ApiError {
    /// What can be done about it.
    pub fn remedy(&self) -> Remedy {
        match &self.cause {
            Cause::Unreachable { .. }
            | Cause::NoAnswer(_)
            | Cause::Throttled
            | Cause::Server { .. }
            | Cause::Stopped
            | Cause::Unawaited => Remedy::Retry,
            Cause::Conflict(_) | Cause::Declined(_) => Remedy::FixPerson,
            Cause::Refused {
                status: 400 | 403 | 422,
                ..
            } => Remedy::FixPerson,
            Cause::Gone(_) | Cause::Astray(_) => Remedy::Retry,
            Cause::Unauthorized { .. }
            | Cause::Forbidden(_)
            | Cause::NotFound(_)
            | Cause::Setup(_) => Remedy::FixConfiguration,
            Cause::Refused { .. } | Cause::Unintelligible(_) => Remedy::Report,
        }
    }

    /// Whether every other request would fail as well, so that the run ends here.
    pub fn concerns_everybody(&self) -> bool {
        match self.cause {
            Cause::Unreachable { .. }
            | Cause::Unauthorized { .. }
            | Cause::Throttled
            | Cause::Setup(_)
            | Cause::Stopped => true,
            Cause::NoAnswer(_)
            | Cause::Unawaited
            | Cause::Forbidden(_)
            | Cause::NotFound(_)
            | Cause::Gone(_)
            | Cause::Astray(_)
            | Cause::Conflict(_)
            | Cause::Server { .. }
            | Cause::Refused { .. }
            | Cause::Declined(_)
            | Cause::Unintelligible(_) => false,
        }
    }

    /// Whether the API has refused it for what it does to this person or group, and would again.
    pub fn is_refusal(&self) -> bool {
        self.remedy() == Remedy::FixPerson
    }

    /// Whether the account that was to be changed is no longer in the provisioning directory.
    pub fn is_gone(&self) -> bool {
        matches!(self.cause, Cause::Gone(_))
    }

    /// Whether a write may have taken effect although it failed.
    pub fn may_have_taken_effect(&self) -> bool {
        self.cause.may_have_taken_effect()
    }

    /// The same of an operation of which something has taken effect, or may have.
    pub(super) fn in_doubt(self) -> Self {
        let cause = match self.cause {
            Cause::Stopped => Cause::Unawaited,
            _ => Cause::NoAnswer(format!("not all of it was done: {self}")),
        };
        ApiError { cause, ..self }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = &self.request;
        match &self.cause {
            Cause::Unreachable { url, why } => write!(
                f,
                "cannot reach the API at {url}: {why}; check `api` in [organization] and the network between"
            )?,
            Cause::NoAnswer(why) => write!(
                f,
                "{request} got no answer ({why}); the next run sees to it"
            )?,
            Cause::Unauthorized { secret } => write!(
                f,
                "{request} was refused with 401: the key in {secret} is wrong, expired or of another API; make a new one in the organization's administration and put it there"
            )?,
            Cause::Forbidden(message) => write!(
                f,
                "{request} was refused with 403: {message}; the key needs the right for it, or the ids in [organization] are another organization's"
            )?,
            Cause::Gone(message) => write!(
                f,
                "{request} was answered with 404: {message}; the account is not in the provisioning directory any more: somebody took it away there, and the next run takes the person for one without an account"
            )?,
            Cause::NotFound(message) => write!(
                f,
                "{request} was answered with 404: {message}; check `id` and `directory` in [organization]"
            )?,
            Cause::Conflict(message) => write!(
                f,
                "{request} was refused with 409: {message}; another account is in the way: free what it holds, or correct the person's entry"
            )?,
            Cause::Throttled => write!(
                f,
                "{request} was throttled (429) and waiting did not help; the next run goes on from here"
            )?,
            Cause::Server { status, message } => {
                write!(
                    f,
                    "{request} failed with {status}: {message}; the API has a fault: if that lasts, tell its support"
                )?;
            }
            Cause::Refused { status, message } => {
                write!(f, "{request} was refused with {status}: {message}")?;
                match self.remedy() {
                    Remedy::FixPerson => write!(f, "; correct the person's entry, or the account")?,
                    _ => write!(f, "; tell the developers")?,
                }
            }
            Cause::Astray(message) => write!(
                f,
                "{request} was answered with 404, though the account is there: {message}; if that lasts, tell the API's support"
            )?,
            Cause::Declined(why) => write!(f, "{why}")?,
            Cause::Stopped => write!(f, "{request} was not sent, as the run was asked to stop")?,
            Cause::Unawaited => write!(
                f,
                "the answer to {request} was not waited for, as the run was asked to stop"
            )?,
            Cause::Unintelligible(why) => {
                write!(
                    f,
                    "{request} was answered with something unintelligible: {why}; check `api` in [organization], and if that is right, tell the developers"
                )?;
            }
            Cause::Setup(why) => write!(f, "{why}")?,
        }
        match &self.request_id {
            Some(id) => write!(f, " (request id {id})"),
            None => Ok(()),
        }
    }
}
