//! A simulator, a client of it, and what both talk about.

use std::path::Path;

use dirsyncd::simulator::{Options, Simulator, SimulatorError, start};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

pub(crate) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub(crate) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub(crate) const ATLASSIAN: &str = "urn:scim:schemas:extension:atlassian-external:1.0";
pub(crate) const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
pub(crate) const DAY: i64 = 24 * 60 * 60;

/// A simulator and a client of it. Paths begin with `S` for the SCIM directory, `O` for the
/// organization, `V` for its second version, `D` for the directory in that.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) client: Client,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let simulator = open(folder.path(), &[]).await.unwrap();
        Self {
            simulator,
            client: client(),
            folder,
        }
    }

    pub(crate) async fn again(self, domains: &[&str]) -> Self {
        let Self {
            simulator,
            client,
            folder,
        } = self;
        simulator.stop().await;
        Self {
            simulator: open(folder.path(), domains).await.unwrap(),
            client,
            folder,
        }
    }

    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> reqwest::Result<Response> {
        let (area, rest) = path.split_at(1);
        let (base, key) = match area {
            "S" => (
                format!("/scim/directory/{}", self.simulator.directory()),
                self.simulator.scim_key(),
            ),
            "O" => (
                format!("/admin/v1/orgs/{}", self.simulator.organization()),
                self.simulator.admin_key(),
            ),
            "V" => (
                format!("/admin/v2/orgs/{}", self.simulator.organization()),
                self.simulator.admin_key(),
            ),
            "D" => (
                format!(
                    "/admin/v2/orgs/{}/directories/{}",
                    self.simulator.organization(),
                    self.simulator.directory()
                ),
                self.simulator.admin_key(),
            ),
            _ => ("/".to_owned(), self.simulator.admin_key()),
        };
        let url = format!("{}{base}{rest}", self.simulator.url());
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, url).bearer_auth(key);
        if body.is_null() {
            request.send().await
        } else {
            request.json(body).send().await
        }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let response = self.raw(method, path, &body).await.unwrap();
        assert!(
            response.headers().contains_key("x-request-id"),
            "{method} {path}"
        );
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null),
        )
    }

    /// Sends and expects the status.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value, expected: u16) -> Value {
        let (status, answer) = self.send(method, path, body.clone()).await;
        assert_eq!(status, expected, "{method} {path} {body} -> {answer}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, Value::Null, 200).await
    }

    pub(crate) async fn create(&self, name: &str) -> Value {
        self.ask("POST", "S/Users", user(name), 201).await
    }

    pub(crate) async fn patch(&self, id: &str, operation: Value, expected: u16) -> Value {
        self.ask(
            "PATCH",
            &format!("S/Users/{id}"),
            patch(operation),
            expected,
        )
        .await
    }

    pub(crate) async fn advance(&self, seconds: i64) {
        self.ask(
            "POST",
            "/_simulator/clock",
            json!({"advance_seconds": seconds}),
            200,
        )
        .await;
    }
}

pub(crate) async fn open(folder: &Path, domains: &[&str]) -> Result<Simulator, SimulatorError> {
    let domains = domains.iter().map(|name| (*name).to_owned()).collect();
    start(Options {
        domains,
        ..Options::in_folder(folder.to_owned())
    })
    .await
}

pub(crate) fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

pub(crate) fn user(name: &str) -> Value {
    let email = format!("{name}@example.com");
    json!({
        "schemas": [USER, ENTERPRISE], "userName": email, "externalId": format!("key-{name}"),
        "displayName": format!("Person {name}"), "name": {"givenName": "Person", "familyName": name},
        "emails": [{"value": email, "type": "work", "primary": true}], "active": true,
        ENTERPRISE: {"department": "Sales", "organization": "Example"},
    })
}

/// `user` with some members replaced; null removes one.
pub(crate) fn with(mut base: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}

pub(crate) fn patch(operation: Value) -> Value {
    let operations = if operation.is_array() {
        operation
    } else {
        json!([operation])
    };
    json!({"schemas": [PATCH], "Operations": operations})
}

pub(crate) fn id(resource: &Value) -> String {
    resource["id"].as_str().unwrap().to_owned()
}

pub(crate) fn account(resource: &Value) -> String {
    resource[ATLASSIAN]["atlassianAccountId"]
        .as_str()
        .unwrap()
        .to_owned()
}
