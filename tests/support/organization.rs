//! The organization: the simulator as a process of its own, looked at from outside through its public API.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ATLASSIAN: &str = "urn:scim:schemas:extension:atlassian-external:1.0";

/// How long a requested deletion can be cancelled.
pub const GRACE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A running simulator; it ends with this.
pub struct Organization {
    child: Child,
    /// Kept open, so that the simulator can go on writing.
    _stdout: BufReader<ChildStdout>,
    state: TempDir,
    /// The `[organization]` table that it prints.
    pub block: String,
    pub url: String,
    pub scim_key: String,
    pub admin_key: String,
    directory: String,
    runtime: Runtime,
    client: reqwest::Client,
}

/// An account of the provisioning directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    pub scim_id: String,
    pub account_id: String,
    pub external_id: Option<String>,
    pub user_name: String,
    pub email: String,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
    pub title: Option<String>,
    pub department: Option<String>,
    pub active: bool,
}

/// A group of the provisioning directory.
#[derive(Clone, Debug, PartialEq)]
pub struct OrganizationGroup {
    pub scim_id: String,
    pub external_id: Option<String>,
    pub name: String,
    /// The SCIM ids of its members, sorted.
    pub members: Vec<String>,
}

/// A request that the organization was sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub seq: u64,
    pub method: String,
    pub path: String,
    /// None while under way, and when the client was left without an answer.
    pub status: Option<u64>,
    /// The name that it got.
    pub request_id: String,
    pub body: Value,
}

impl Request {
    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// Whether it makes an account.
    pub fn is_create(&self) -> bool {
        self.method == "POST" && self.path.ends_with("/Users")
    }
}

/// A place in the log of requests.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

impl Organization {
    /// Starts an empty organization with the verified domain example.org.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// Starts another one that is as this one was in its folder when it ended.
    pub fn start_copy_of(state: &Path) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(state).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        Self::start_in(copy)
    }

    fn start_in(state: TempDir) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            rustls::crypto::ring::default_provider()
                .install_default()
                .unwrap();
        });
        let mut child = Command::new(env!("CARGO_BIN_EXE_dirsyncd"))
            .args([
                "simulate",
                "--listen",
                "127.0.0.1:0",
                "--domain",
                "example.org",
            ])
            .arg("--state")
            .arg(state.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut url, mut block) = (None, String::new());
        while !block.contains("admin_key") {
            let mut line = String::new();
            assert!(
                stdout.read_line(&mut line).unwrap() > 0,
                "the simulator ended at its start"
            );
            if let Some(address) = line.strip_prefix("listening on ") {
                url = Some(address.trim().to_owned());
            }
            if !block.is_empty() || line.starts_with("[organization]") {
                block += &line;
            }
        }
        let table: toml::Table = block.parse().unwrap();
        let table = &table["organization"];
        let key = |name: &str| {
            let path = table[name]["file"].as_str().unwrap();
            std::fs::read_to_string(path).unwrap().trim().to_owned()
        };
        Organization {
            child,
            _stdout: stdout,
            scim_key: key("scim_key"),
            admin_key: key("admin_key"),
            directory: table["directory"].as_str().unwrap().to_owned(),
            url: url.unwrap(),
            block,
            state,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// The folder with all that it keeps.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Ends the API at once, as a crash of it would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let method = method.parse().unwrap();
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .timeout(Duration::from_secs(20));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.runtime.block_on(async {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let text = response.text().await.unwrap();
            let body = serde_json::from_str(&text).unwrap_or(Value::Null);
            (status, body)
        })
    }

    fn ok(&self, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method, path, key, body);
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    fn scim(&self, method: &str, rest: &str, body: Option<&Value>) -> Value {
        let path = format!("/scim/directory/{}/{rest}", self.directory);
        self.ok(method, &path, Some(&self.scim_key), body)
    }

    /// The `[organization]` table of the admin way.
    pub fn admin_block(&self) -> String {
        let kept = |line: &&str| !line.starts_with("directory") && !line.starts_with("scim_key");
        let lines: Vec<&str> = self.block.lines().filter(kept).collect();
        format!("{}\nprovisioning = \"admin\"\n", lines.join("\n"))
    }

    /// A managed account by its address, as user management shows it.
    pub fn managed(&self, mail: &str) -> Option<Value> {
        let accounts = self.managed_accounts();
        accounts
            .into_iter()
            .find(|account| account["email"] == mail)
    }

    /// All managed accounts, as user management shows them.
    pub fn managed_accounts(&self) -> Vec<Value> {
        let table: toml::Table = self.block.parse().unwrap();
        let id = table["organization"]["id"].as_str().unwrap().to_owned();
        let mut path = format!("/admin/v1/orgs/{id}/users");
        let mut accounts = Vec::new();
        loop {
            let page = self.ok("GET", &path, Some(&self.admin_key), None);
            for account in page["data"].as_array().into_iter().flatten() {
                let id = account["account_id"].as_str().unwrap();
                let path = format!("/users/{id}/manage/profile");
                let profile = self.ok("GET", &path, Some(&self.admin_key), None);
                accounts.push(profile["account"].clone());
            }
            match page["links"]["next"].as_str() {
                Some(next) => path = next.trim_start_matches(&self.url).to_owned(),
                None => return accounts,
            }
        }
    }

    /// All accounts of the provisioning directory, sorted by user name.
    pub fn accounts(&self) -> Vec<Account> {
        let mut accounts = Vec::new();
        loop {
            let start = accounts.len() + 1;
            let page = self.scim("GET", &format!("Users?startIndex={start}&count=1000"), None);
            accounts.extend(
                page["Resources"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(Account::read),
            );
            if accounts.len() as u64 >= page["totalResults"].as_u64().unwrap() {
                break;
            }
        }
        accounts.sort_by(|a, b| (&a.user_name, &a.scim_id).cmp(&(&b.user_name, &b.scim_id)));
        accounts
    }

    /// The one account with this external id, if there is one.
    pub fn of_key(&self, key: &str) -> Option<Account> {
        let page = self.scim(
            "GET",
            &format!("Users?filter=externalId%20eq%20%22{key}%22"),
            None,
        );
        let found = page["Resources"].as_array().cloned().unwrap_or_default();
        assert!(found.len() < 2, "{key} is there {} times", found.len());
        found.first().map(Account::read)
    }

    /// How many accounts are active.
    pub fn active(&self) -> usize {
        self.accounts()
            .iter()
            .filter(|account| account.active)
            .count()
    }

    /// What user management says of an account: `active`, `inactive`; None when it is gone for good.
    pub fn account_status(&self, account_id: &str) -> Option<String> {
        let path = format!("/users/{account_id}/manage/profile");
        let (status, answer) = self.call("GET", &path, Some(&self.admin_key), None);
        (status == 200).then(|| {
            answer["account"]["account_status"]
                .as_str()
                .unwrap()
                .to_owned()
        })
    }

    /// Makes an account in the provisioning directory, as an administrator or another tool would have.
    pub fn create_by_hand(&self, mail: &str, name: &str, external_id: Option<&str>) -> Account {
        let mut user = json!({
            "schemas": [CORE],
            "userName": mail,
            "displayName": name,
            "emails": [{"value": mail, "type": "work", "primary": true}],
            "active": true,
        });
        if let Some(id) = external_id {
            user["externalId"] = id.into();
        }
        Account::read(&self.scim("POST", "Users", Some(&user)))
    }

    /// Changes an account in the provisioning directory, as an administrator or another tool would.
    pub fn patch_by_hand(&self, account: &Account, path: &str, value: &Value) {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": path, "value": value}],
        });
        self.scim("PATCH", &format!("Users/{}", account.scim_id), Some(&body));
    }

    /// Makes a group of the provisioning directory with these members.
    pub fn make_group(&self, name: &str, members: &[&Account]) {
        let members: Vec<Value> = members
            .iter()
            .map(|account| json!({"value": account.scim_id}))
            .collect();
        let group = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": name,
            "members": members,
        });
        self.scim("POST", "Groups", Some(&group));
    }

    /// Takes an account out of the provisioning directory.
    pub fn delete_by_hand(&self, account: &Account) {
        self.scim("DELETE", &format!("Users/{}", account.scim_id), None);
    }

    /// All groups of the provisioning directory, sorted by name.
    pub fn groups(&self) -> Vec<OrganizationGroup> {
        let mut groups: Vec<OrganizationGroup> = Vec::new();
        loop {
            let start = groups.len() + 1;
            let page = self.scim("GET", &format!("Groups?startIndex={start}&count=100"), None);
            let resources = page["Resources"].as_array().into_iter().flatten();
            groups.extend(resources.map(OrganizationGroup::read));
            if groups.len() as u64 >= page["totalResults"].as_u64().unwrap() {
                break;
            }
        }
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        groups
    }

    /// The group of this name, which must be there.
    #[track_caller]
    pub fn group(&self, name: &str) -> OrganizationGroup {
        let found = self.groups().into_iter().find(|group| group.name == name);
        found.unwrap_or_else(|| panic!("there is no group {name}"))
    }

    /// Makes a group in the provisioning directory, as an administrator or another tool would
    /// have.
    pub fn create_group_by_hand(
        &self,
        name: &str,
        external_id: Option<&str>,
        members: &[&Account],
    ) -> OrganizationGroup {
        let members: Vec<Value> = members
            .iter()
            .map(|member| json!({"value": member.scim_id}))
            .collect();
        let mut group = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": name,
            "members": members,
        });
        if let Some(id) = external_id {
            group["externalId"] = id.into();
        }
        OrganizationGroup::read(&self.scim("POST", "Groups", Some(&group)))
    }

    /// Adds or removes a member of a group, as an administrator would.
    pub fn change_group_by_hand(&self, name: &str, op: &str, member: &Account) {
        let group = self.group(name);
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": op, "path": "members", "value": [{"value": member.scim_id}]}],
        });
        self.scim("PATCH", &format!("Groups/{}", group.scim_id), Some(&body));
    }

    /// Deletes a group, as an administrator would.
    pub fn delete_group_by_hand(&self, name: &str) {
        let group = self.group(name);
        self.scim("DELETE", &format!("Groups/{}", group.scim_id), None);
    }

    /// Changes an account by user management, as an administrator would.
    pub fn manage_by_hand(&self, method: &str, account_id: &str, what: &str, body: &Value) {
        let path = format!("/users/{account_id}/manage/{what}");
        self.ok(method, &path, Some(&self.admin_key), Some(body));
    }

    /// Makes a managed account that is not in the provisioning directory; returns its id.
    pub fn seed(&self, mail: &str, name: &str) -> String {
        let seeds = json!([{"email": mail, "name": name}]);
        let made = self.ok("POST", "/_simulator/accounts", None, Some(&seeds));
        made[0]["account_id"].as_str().unwrap().to_owned()
    }

    /// Lets requests go wrong: rules of the simulator.
    pub fn faults(&self, rules: &Value) {
        self.ok("POST", "/_simulator/faults", None, Some(rules));
    }

    /// Lets every write take so long.
    pub fn slow_writes(&self, milliseconds: u64) {
        self.faults(&json!([
            {"match": "^(POST|PATCH) ", "times": 100_000, "delay_ms": milliseconds}
        ]));
    }

    /// Sets the rate limits of the APIs.
    pub fn limits(&self, limits: &Value) {
        self.ok("PUT", "/_simulator/limits", None, Some(limits));
    }

    /// All goes well again.
    pub fn heal(&self) {
        self.ok("DELETE", "/_simulator/faults", None, None);
    }

    /// Puts the organization's clock forward.
    pub fn advance(&self, time: Duration) {
        let body = json!({"advance_seconds": time.as_secs()});
        self.ok("POST", "/_simulator/clock", None, Some(&body));
    }

    /// The requests that came after the mark.
    pub fn requests_since(&self, Mark(after): Mark) -> Vec<Request> {
        let path = format!("/_simulator/requests?after={after}");
        let log = self.ok("GET", &path, None, None);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        log.as_array()
            .into_iter()
            .flatten()
            .map(|request| Request {
                seq: request["seq"].as_u64().unwrap(),
                method: text(&request["method"]),
                path: text(&request["path"]),
                status: request["status"].as_u64(),
                request_id: text(&request["request_id"]),
                body: request["body"].clone(),
            })
            .collect()
    }

    /// The requests after the mark that change something.
    pub fn writes_since(&self, mark: Mark) -> Vec<Request> {
        let mut requests = self.requests_since(mark);
        requests.retain(Request::is_write);
        requests
    }

    /// Where the log is now.
    pub fn mark(&self) -> Mark {
        Mark(
            self.requests_since(Mark(0))
                .last()
                .map_or(0, |last| last.seq),
        )
    }
}

impl Drop for Organization {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl OrganizationGroup {
    fn read(group: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let members = group["members"].as_array().into_iter().flatten();
        let mut members: Vec<String> = members
            .map(|member| text(&member["value"]).unwrap())
            .collect();
        members.sort();
        OrganizationGroup {
            scim_id: text(&group["id"]).unwrap(),
            external_id: text(&group["externalId"]),
            name: text(&group["displayName"]).unwrap(),
            members,
        }
    }
}

impl Account {
    fn read(user: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let certain = |value: &Value| text(value).unwrap_or_default();
        let primary = user["emails"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|email| email["primary"] == true);
        Account {
            scim_id: certain(&user["id"]),
            account_id: certain(&user[ATLASSIAN]["atlassianAccountId"]),
            external_id: text(&user["externalId"]),
            user_name: certain(&user["userName"]),
            email: primary.map_or_else(String::new, |email| certain(&email["value"])),
            display_name: text(&user["displayName"]),
            given_name: text(&user["name"]["givenName"]),
            family_name: text(&user["name"]["familyName"]),
            title: text(&user["title"]),
            department: text(&user[ENTERPRISE]["department"]),
            active: user["active"] == true,
        }
    }
}

/// Reads the `[organization]` table with one of its values replaced.
pub fn replaced(block: &str, key: &str, value: &str) -> String {
    block
        .lines()
        .map(|line| {
            if line.starts_with(&format!("{key} =")) {
                format!("{key} = {value}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}

/// A key file's place as the configuration has it.
pub fn file_reference(path: &Path) -> String {
    format!("{{ file = {:?} }}", path.display().to_string())
}
