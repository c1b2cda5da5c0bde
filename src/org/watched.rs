//! Requests, told one by one to whoever watches the work that makes them. What is told names nobody: of a
//! path only the words of the API are left.

use std::sync::Arc;
use std::time::Instant;

use reqwest::{Method, StatusCode};

/// A request that was sent.
#[derive(Clone, Debug)]
pub struct SentRequest {
    /// The method.
    pub method: String,
    /// The path, with names of the API's documents in braces for all that is an id.
    pub template: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// When it was sent.
    pub began: Instant,
}

/// Told of each request when it is over.
pub type Watcher = Arc<dyn Fn(SentRequest) + Send + Sync>;

tokio::task_local! {
    /// Not handed down by every call, as with the exchanges of an operation.
    static WATCHER: Watcher;
}

/// Does this, and tells the watcher of the requests that it makes.
pub async fn watched<T>(watcher: Watcher, work: impl Future<Output = T>) -> T {
    WATCHER.scope(watcher, work).await
}

/// A request under way; it is told of when this is dropped.
pub(super) struct UnderWay<'a> {
    method: &'a Method,
    path: &'a str,
    status: Option<StatusCode>,
    began: Instant,
}

impl<'a> UnderWay<'a> {
    pub(super) fn begin(method: &'a Method, path: &'a str) -> Self {
        UnderWay {
            method,
            path,
            status: None,
            began: Instant::now(),
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // Nobody may watch.
        let _ = WATCHER.try_with(|watcher| {
            watcher(SentRequest {
                method: self.method.to_string(),
                template: template(self.path),
                status: self.status.map(|status| status.as_u16()),
                began: self.began,
            });
        });
    }
}

/// The words of the API's paths.
const WORDS: [&str; 23] = [
    "Groups",
    "ResourceTypes",
    "Schemas",
    "ServiceProviderConfig",
    "Users",
    "admin",
    "cancel-delete",
    "delete",
    "directory",
    "disable",
    "domains",
    "email",
    "enable",
    "invite",
    "lifecycle",
    "manage",
    "orgs",
    "profile",
    "scim",
    "search",
    "users",
    "v1",
    "v2",
];

/// The path without what is none of the API's words.
fn template(path: &str) -> String {
    let mut before = "";
    let mut template = String::new();
    for segment in path.split('/').skip(1) {
        template.push('/');
        template += match WORDS.iter().find(|word| **word == segment) {
            Some(word) => word,
            None => match before {
                "directory" => "{directoryId}",
                "Users" => "{userId}",
                "Groups" => "{groupId}",
                "users" => "{account_id}",
                "orgs" => "{orgId}",
                _ => "{id}",
            },
        };
        before = segment;
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_the_words_of_the_api_alone() {
        for (path, expected) in [
            (
                "/scim/directory/d1/Users",
                "/scim/directory/{directoryId}/Users",
            ),
            (
                "/scim/directory/d1/Users/ada%40example.org",
                "/scim/directory/{directoryId}/Users/{userId}",
            ),
            (
                "/scim/directory/d1/Groups/g",
                "/scim/directory/{directoryId}/Groups/{groupId}",
            ),
            (
                "/users/5f:1/manage/lifecycle/cancel-delete",
                "/users/{account_id}/manage/lifecycle/cancel-delete",
            ),
            ("/admin/v1/orgs/o/users", "/admin/v1/orgs/{orgId}/users"),
            ("/of/a/later/version", "/{id}/{id}/{id}/{id}"),
            ("", ""),
        ] {
            assert_eq!(template(path), expected);
        }
    }
}
