//! The reading half of the client.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Display;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::http::{Http, Reply};
use super::scim::{self, Group, Page, RawGroup, RawUser, User};
use super::{ApiError, Cause};
use crate::config::{Organization, Provisioning};
use crate::model::{
    AccountId, Attribute, ExistingAccount, ExistingGroup, ExternalId, ScimId, Timestamp,
};

/// RFC 3986 section 2.3: what a path segment may hold as it is. Account ids have `:` and `|`,
/// which are escaped.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Users a page: the API's default and, by its own page on fetching all users, its maximum.
const PAGE: u64 = 100;

pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The reading client.
#[derive(Clone)]
pub struct Reader {
    pub(super) way: Way,
    admin: Option<Arc<Http>>,
    pub(super) operation_timeout: Duration,
    pub(super) organization: String,
    /// What [`capabilities`](Self::capabilities) has learned of the server.
    learned: Arc<OnceLock<Learned>>,
}

#[derive(Clone, Copy)]
struct Learned {
    patch: bool,
    page: u64,
}

/// How accounts are made and changed.
#[derive(Clone)]
pub(super) enum Way {
    Scim { http: Arc<Http>, directory: String },
    Admin,
}

/// What the provisioning API says that it can do.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// Whether it takes PATCH (RFC 7644 section 3.5.2). Without it resources are replaced whole.
    pub patch: bool,
    /// Whether it takes filters (RFC 7644 section 3.4.2.2).
    pub filter: bool,
    /// The attributes that its schemas do not have (RFC 7643 section 7).
    pub unknown: BTreeSet<Attribute>,
    /// What the API says that the time is.
    pub time: Option<Timestamp>,
}

impl Reader {
    /// Sets the client up: reads the keys and the CA file; sends nothing.
    pub fn new(config: &Organization) -> Result<Self, ApiError> {
        let way = match &config.provisioning {
            Provisioning::Scim { directory, key } => Way::Scim {
                http: Arc::new(Http::new(config, key)?),
                directory: directory.clone(),
            },
            Provisioning::Admin => Way::Admin,
        };
        Ok(Reader {
            way,
            admin: config
                .admin_key
                .as_ref()
                .map(|key| Http::new(config, key).map(Arc::new))
                .transpose()?,
            operation_timeout: config.operation_timeout,
            organization: config.id.clone(),
            learned: Arc::default(),
        })
    }

    /// Whether accounts carry the person's key. Where they do not, they are found by their
    /// address only.
    pub fn keeps_keys(&self) -> bool {
        matches!(self.way, Way::Scim { .. })
    }

    /// The path of a SCIM resource in the provisioning directory. In the admin way there is
    /// none, and [`scim`](Self::scim) refuses before it is used.
    pub(super) fn scim_path(&self, rest: &str) -> String {
        match &self.way {
            Way::Scim { directory, .. } => {
                format!("/scim/directory/{}/{rest}", segment(directory))
            }
            Way::Admin => String::new(),
        }
    }

    /// The path of one SCIM resource, of the kind `Users` or `Groups`.
    pub(super) fn resource_path(&self, kind: &str, id: &ScimId) -> String {
        self.scim_path(&format!("{kind}/{}", segment(id.as_str())))
    }

    /// The client for the provisioning directory.
    pub(super) fn scim(&self) -> Result<&Http, ApiError> {
        match &self.way {
            Way::Scim { http, .. } => Ok(http),
            Way::Admin => Err(ApiError {
                request: "SCIM".to_owned(),
                request_id: None,
                cause: Cause::Setup("provisioning = \"admin\" has no SCIM directory".to_owned()),
            }),
        }
    }

    /// Whether there is a key for user management and the organization.
    pub(super) fn has_admin_key(&self) -> bool {
        self.admin.is_some()
    }

    /// The client for user management and the organization, which has a key of its own.
    pub(super) fn admin(&self) -> Result<&Http, ApiError> {
        self.admin.as_deref().ok_or_else(|| ApiError {
            request: "user management".to_owned(),
            request_id: None,
            cause: Cause::Setup("there is no `admin_key` in [organization]".to_owned()),
        })
    }

    /// Reads the service provider's configuration (RFC 7643 section 5). It is the first request
    /// of a run: it shows that the API can be reached and takes the key.
    pub async fn capabilities(&self) -> Result<Capabilities, ApiError> {
        if !self.keeps_keys() {
            return self.admin_capabilities().await;
        }
        let path = self.scim_path("ServiceProviderConfig");
        let reply = self.scim()?.send(Method::GET, &path, &[], None).await?;
        let supports = |feature: &str| reply.body[feature]["supported"] == true;
        let schemas = self.scim_path("Schemas");
        let schemas = self.scim()?.send(Method::GET, &schemas, &[], None).await?;
        let max_results = reply.body["filter"]["maxResults"].as_u64();
        let learned = Learned {
            patch: supports("patch"),
            page: PAGE.min(max_results.unwrap_or(PAGE)).max(1),
        };
        // What was learned first stays: a server does not change within a run.
        let learned = self.learned.get_or_init(|| learned);
        Ok(Capabilities {
            patch: learned.patch,
            filter: supports("filter"),
            unknown: scim::missing_from(&schemas.body),
            time: reply.date,
        })
    }

    /// Whether the server is known to take no PATCH.
    pub(super) fn replaces_whole(&self) -> bool {
        self.learned.get().is_some_and(|learned| !learned.patch)
    }

    /// Reads the organization's name: shows that the admin key works.
    pub async fn organization_name(&self) -> Result<String, ApiError> {
        let path = format!("/admin/v1/orgs/{}", segment(&self.organization));
        let reply = self.admin()?.send(Method::GET, &path, &[], None).await?;
        let name = reply.body["data"]["attributes"]["name"].as_str();
        Ok(name.unwrap_or("(no name)").to_owned())
    }

    /// Reads the organization's verified domains, in lower case.
    pub async fn verified_domains(&self) -> Result<BTreeSet<String>, ApiError> {
        let path = format!("/admin/v1/orgs/{}/domains", segment(&self.organization));
        let mut domains = BTreeSet::new();
        self.each_item(&path, None, |domain| {
            let attributes = &domain["attributes"];
            if attributes["claim"]["status"] == "verified"
                && let Some(name) = attributes["name"].as_str()
            {
                domains.insert(name.to_lowercase());
            }
        })
        .await?;
        Ok(domains)
    }

    /// Reads a list of the organizations API, page by page by its cursor (contract section 3).
    /// A cursor that comes twice is an error. `narrowed` is a parameter that every page gets.
    pub(super) async fn each_item(
        &self,
        path: &str,
        narrowed: Option<(&str, &str)>,
        mut each: impl FnMut(&Value),
    ) -> Result<(), ApiError> {
        let mut cursor: Option<String> = None;
        let mut seen = HashSet::new();
        loop {
            let cursor_given = cursor.as_deref().map(|cursor| ("cursor", cursor));
            let query: Vec<(&str, &str)> = narrowed.into_iter().chain(cursor_given).collect();
            let reply = self.admin()?.send(Method::GET, path, &query, None).await?;
            let Some(items) = reply.body["data"].as_array() else {
                return Err(unintelligible(path, "it has no list `data`".to_owned()));
            };
            items.iter().for_each(&mut each);
            let Some(next) = next_cursor(&reply.body["links"]["next"]) else {
                return Ok(());
            };
            if !seen.insert(next.clone()) {
                return Err(unintelligible(
                    path,
                    format!("its pages go round: the cursor {next} comes twice"),
                ));
            }
            cursor = Some(next);
        }
    }

    /// Reads all accounts, page by page: those of the provisioning directory, or in the admin
    /// way the managed accounts. Of these a list shows little, so those with one of `addresses`
    /// (in lower case) are read in full.
    pub async fn all_accounts(
        &self,
        addresses: &HashSet<String>,
    ) -> Result<Vec<ExistingAccount>, ApiError> {
        if !self.keeps_keys() {
            return self.managed_accounts(addresses).await;
        }
        self.all::<User, _>("Users", |account: &ExistingAccount| &account.scim_id)
            .await
    }

    /// Reads all accounts of the provisioning directory as the API shows them, for a copy.
    pub async fn export_users(&self) -> Result<Vec<Value>, ApiError> {
        let users = self
            .all::<RawUser, _>("Users", |user: &RawUser| &user.id)
            .await?;
        Ok(users.into_iter().map(|user| user.json).collect())
    }

    /// Reads all groups of the provisioning directory for a copy that has these users.
    pub async fn export_groups(&self, users: &HashSet<ScimId>) -> Result<Vec<Value>, ApiError> {
        let groups = self.all_groups().await?;
        let copies = groups.iter().map(|group| scim::copy_of_group(group, users));
        Ok(copies.collect())
    }

    /// A user with all that the API shows; `None` when there is none (any more).
    pub(super) async fn raw_user(&self, id: &ScimId) -> Result<Option<Value>, ApiError> {
        let user = self.by_id::<RawUser, RawUser>("Users", id).await?;
        Ok(user.map(|user| user.json))
    }

    /// A group with all that the API shows; `None` when there is none (any more).
    pub(super) async fn raw_group(&self, id: &ScimId) -> Result<Option<RawGroup>, ApiError> {
        self.by_id::<RawGroup, RawGroup>("Groups", id).await
    }

    /// Reads all groups of the provisioning directory, page by page.
    pub async fn all_groups(&self) -> Result<Vec<ExistingGroup>, ApiError> {
        self.all::<Group, _>("Groups", |group: &ExistingGroup| &group.scim_id)
            .await
    }

    /// Reads every resource of a kind, page by page. A list that shrinks, ends too early or
    /// repeats itself while it is read is an error.
    async fn all<Json, Resource>(
        &self,
        kind: &str,
        id: fn(&Resource) -> &ScimId,
    ) -> Result<Vec<Resource>, ApiError>
    where
        Json: DeserializeOwned + TryInto<Resource, Error: Display>,
    {
        let path = self.scim_path(kind);
        let mut all: Vec<Resource> = Vec::new();
        let mut seen = HashSet::new();
        let mut total = 0;
        loop {
            let start = (all.len() + 1).to_string();
            let count = self
                .learned
                .get()
                .map_or(PAGE, |learned| learned.page)
                .to_string();
            let query = [("startIndex", start.as_str()), ("count", count.as_str())];
            let reply = self.scim()?.send(Method::GET, &path, &query, None).await?;
            let page: Page<Json> = read(&path, reply)?;
            let fault = if page.total_results < total {
                Some(format!(
                    "the list shrank from {total} to {} while it was read",
                    page.total_results
                ))
            } else if page.resources.is_empty() && (all.len() as u64) < page.total_results {
                Some(format!(
                    "the pages end after {} of {}",
                    all.len(),
                    page.total_results
                ))
            } else {
                None
            };
            if let Some(fault) = fault {
                return Err(unintelligible(&path, fault));
            }
            total = page.total_results;
            for resource in page.resources {
                let resource = fit(&path, resource)?;
                if !seen.insert(id(&resource).clone()) {
                    let repeated = id(&resource);
                    return Err(unintelligible(
                        &path,
                        format!("the pages repeat {repeated}"),
                    ));
                }
                all.push(resource);
            }
            if all.len() as u64 >= total {
                return Ok(all);
            }
        }
    }

    /// The accounts with this external id: the API does not promise that there is only one.
    pub async fn by_external_id(&self, id: &ExternalId) -> Result<Vec<ExistingAccount>, ApiError> {
        if !self.keeps_keys() {
            return Ok(Vec::new());
        }
        self.by_filter::<User, _>("Users", "externalId", id.as_str())
            .await
    }

    /// The accounts with this user name.
    pub async fn by_user_name(&self, name: &str) -> Result<Vec<ExistingAccount>, ApiError> {
        self.by_filter::<User, _>("Users", "userName", name).await
    }

    /// The groups of this name.
    pub async fn groups_by_name(&self, name: &str) -> Result<Vec<ExistingGroup>, ApiError> {
        self.by_filter::<Group, _>("Groups", "displayName", name)
            .await
    }

    async fn by_filter<Json, Resource>(
        &self,
        kind: &str,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Resource>, ApiError>
    where
        Json: DeserializeOwned + TryInto<Resource, Error: Display>,
    {
        let path = self.scim_path(kind);
        let filter = scim::equals(attribute, value);
        let query = [("filter", filter.as_str())];
        let reply = self.scim()?.send(Method::GET, &path, &query, None).await?;
        let page: Page<Json> = read(&path, reply)?;
        let fitting = page.resources.into_iter().map(|json| fit(&path, json));
        fitting.collect()
    }

    /// The group of this id; `None` when there is none (any more).
    pub async fn group(&self, id: &ScimId) -> Result<Option<ExistingGroup>, ApiError> {
        self.by_id::<Group, _>("Groups", id).await
    }

    /// The account of this SCIM id; `None` when there is none (any more).
    pub async fn by_scim_id(&self, id: &ScimId) -> Result<Option<ExistingAccount>, ApiError> {
        if !self.keeps_keys() {
            return self.profile(&AccountId::new(id.as_str())).await;
        }
        self.by_id::<User, _>("Users", id).await
    }

    /// Whether there is anything that could be done to the account of this SCIM id.
    pub(super) async fn still_has(&self, id: &ScimId) -> Result<bool, ApiError> {
        if !self.keeps_keys() {
            return self.is_open(&AccountId::new(id.as_str())).await;
        }
        Ok(self.by_scim_id(id).await?.is_some())
    }

    async fn by_id<Json, Resource>(
        &self,
        kind: &str,
        id: &ScimId,
    ) -> Result<Option<Resource>, ApiError>
    where
        Json: DeserializeOwned + TryInto<Resource, Error: Display>,
    {
        let path = self.resource_path(kind, id);
        match self.scim()?.send(Method::GET, &path, &[], None).await {
            Ok(reply) => Ok(Some(fit(&path, read::<Json>(&path, reply)?)?)),
            Err(ApiError {
                cause: Cause::NotFound(_),
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Why the account may not be deleted; `None` when it may (contract section 4,
    /// `GET /users/{id}/manage`).
    pub async fn deletion_barrier(&self, id: &AccountId) -> Result<Option<String>, ApiError> {
        let path = format!("/users/{}/manage", segment(id.as_str()));
        let query = [("privileges", "lifecycle.delete")];
        let reply = self.admin()?.send(Method::GET, &path, &query, None).await?;
        let permission = &reply.body["lifecycle.delete"];
        match permission["allowed"].as_bool() {
            Some(true) => Ok(None),
            Some(false) => Ok(Some(
                permission["reason"]["key"]
                    .as_str()
                    .unwrap_or("no reason given")
                    .to_owned(),
            )),
            None => Err(unintelligible(
                &path,
                "it does not tell `lifecycle.delete`".to_owned(),
            )),
        }
    }
}

/// The cursor of the next page: some lists give it bare, some in a whole URL (contract section
/// 3, "Paging differs").
fn next_cursor(next: &Value) -> Option<String> {
    let next = next.as_str().filter(|next| !next.is_empty())?;
    match url::Url::parse(next) {
        Ok(url) => url
            .query_pairs()
            .find(|(name, _)| name == "cursor")
            .map(|(_, cursor)| cursor.into_owned()),
        Err(_) => Some(next.to_owned()),
    }
}

fn read<T: DeserializeOwned>(path: &str, reply: Reply) -> Result<T, ApiError> {
    serde_json::from_value::<T>(reply.body).map_err(|error| unintelligible(path, error.to_string()))
}

/// The resource that is read, if later requests can name it by its ids.
pub(super) fn fit<Json, Resource>(path: &str, json: Json) -> Result<Resource, ApiError>
where
    Json: TryInto<Resource, Error: Display>,
{
    json.try_into()
        .map_err(|error| unintelligible(path, error.to_string()))
}

pub(super) fn unintelligible(path: &str, why: String) -> ApiError {
    ApiError {
        request: format!("GET {path}"),
        request_id: None,
        cause: Cause::Unintelligible(why),
    }
}
