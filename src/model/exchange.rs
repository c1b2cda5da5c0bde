//! What was asked of the API and what it answered, and who had it asked.

use serde::{Deserialize, Serialize};

/// One request that writes, and its answer: where the client has repeated it, the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What was asked, such as `PATCH /scim/directory/…/Users/…`.
    pub request: String,
    /// The HTTP status of the answer; `None` if none came.
    pub status: Option<u16>,
    /// The API's name for the request.
    pub request_id: Option<String>,
    /// What the API said against it, or why there is no answer.
    pub error: Option<String>,
}

impl Exchange {
    /// Whether the API has done what was asked.
    pub fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// How it is known what became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// By the answers to its requests.
    Answers(Vec<Exchange>),
    /// The answer was lost, and a later run has read the organization.
    ReadBack,
}

impl Evidence {
    /// Whether the API has done at least one of the requests, and said so.
    pub fn shows_success(&self) -> bool {
        match self {
            Evidence::Answers(exchanges) => exchanges.iter().any(Exchange::is_success),
            Evidence::ReadBack => false,
        }
    }
}

/// The user who has started something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoker {
    /// The name of the user whose process it is.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// Who that was before sudo, as sudo tells.
    pub sudo_user: Option<String>,
}
