//! The admin way: accounts by invitation and user management (contract sections 3, 4 and 7).
//!
//! There is no resource of ours in it: an account's own id stands for the SCIM id, and nothing
//! carries the person's key.

use std::collections::{BTreeSet, HashSet};

use futures_util::future::try_join_all;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::read::{fit, segment, unintelligible};
use super::scim::{OddId, fitting_account};
use super::write::{lifecycle_path, refused};
use super::{ApiError, Capabilities, Cause, Reader, Writer};
use crate::model::{
    AccountId, Answer, Attribute, ExistingAccount, Kind, Operation, Profile, ScimId, Target, fold,
};
use crate::plan::Approved;

/// How many profiles are asked for at once; the pace of the API decides how many go out.
const AT_ONCE: usize = 32;

/// An account as user management shows it.
#[derive(Deserialize)]
struct Account {
    account_id: String,
    account_status: String,
    email: Option<String>,
    name: Option<String>,
    nickname: Option<String>,
    zoneinfo: Option<String>,
    locale: Option<String>,
    extended_profile: Option<Extended>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extended {
    job_title: Option<String>,
    organization: Option<String>,
    department: Option<String>,
}

impl TryFrom<Account> for ExistingAccount {
    type Error = OddId;

    fn try_from(account: Account) -> Result<Self, OddId> {
        let account_id = fitting_account(account.email.as_deref(), &account.account_id)?;
        let extended = account.extended_profile.unwrap_or_default();
        let values = [
            (Attribute::Email, account.email),
            (Attribute::DisplayName, account.name),
            (Attribute::NickName, account.nickname),
            (Attribute::Timezone, account.zoneinfo),
            (Attribute::PreferredLanguage, account.locale),
            (Attribute::Title, extended.job_title),
            (Attribute::Organization, extended.organization),
            (Attribute::Department, extended.department),
        ];
        Ok(ExistingAccount {
            scim_id: ScimId::new(account_id.as_str()),
            account_id: Some(account_id),
            external_id: None,
            profile: values
                .into_iter()
                .filter_map(|(attribute, value)| Some((attribute, value?)))
                .collect::<Profile>(),
            active: account.account_status == "active",
        })
    }
}

impl Reader {
    pub(super) async fn admin_capabilities(&self) -> Result<Capabilities, ApiError> {
        let path = format!("/admin/v1/orgs/{}", segment(&self.organization));
        let reply = self.admin()?.send(Method::GET, &path, &[], None).await?;
        Ok(Capabilities {
            patch: true,
            filter: true,
            unknown: BTreeSet::new(),
            time: reply.date,
        })
    }

    /// Reads the managed accounts by their cursor; those with one of the addresses in full, as
    /// the list has no more than name and address.
    pub(super) async fn managed_accounts(
        &self,
        addresses: &HashSet<String>,
    ) -> Result<Vec<ExistingAccount>, ApiError> {
        let path = format!("/admin/v1/orgs/{}/users", segment(&self.organization));
        let mut accounts = Vec::new();
        let mut odd = None;
        self.each_item(&path, None, |item| {
            // Apps and customers are no people; a closed account is gone.
            if item["account_type"] != "atlassian" || item["account_status"] == "closed" {
                return;
            }
            match serde_json::from_value::<Account>(item.clone()) {
                Ok(account) => match ExistingAccount::try_from(account) {
                    Ok(account) => accounts.push(account),
                    Err(error) => odd = Some(error.to_string()),
                },
                Err(error) => odd = Some(error.to_string()),
            }
        })
        .await?;
        if let Some(why) = odd {
            return Err(unintelligible(&path, why));
        }
        accounts.retain(|account| {
            let address = account.profile.get(Attribute::Email).map(fold);
            address.is_some_and(|address| addresses.contains(&address))
        });
        let ids = accounts
            .into_iter()
            .filter_map(|account| account.account_id)
            .collect();
        self.profiles(ids).await
    }

    /// Looks for the accounts of an address among the users of all directories.
    pub async fn by_address(&self, email: &str) -> Result<Vec<ExistingAccount>, ApiError> {
        let path = format!(
            "/admin/v2/orgs/{}/directories/-/users",
            segment(&self.organization)
        );
        let mut ids = Vec::new();
        self.each_item(&path, Some(("searchTerm", email)), |user| {
            let theirs = user["email"].as_str().map(fold);
            if let (true, Some(id)) = (theirs == Some(fold(email)), user["accountId"].as_str()) {
                ids.push(AccountId::new(id));
            }
        })
        .await?;
        self.profiles(ids).await
    }

    /// Reads the groups of all directories of the organization, as id and name.
    pub async fn directory_groups(&self) -> Result<Vec<(String, String)>, ApiError> {
        let path = format!(
            "/admin/v2/orgs/{}/directories/-/groups",
            segment(&self.organization)
        );
        let mut groups = Vec::new();
        self.each_item(&path, None, |group| {
            if let (Some(id), Some(name)) = (group["id"].as_str(), group["name"].as_str()) {
                groups.push((id.to_owned(), name.to_owned()));
            }
        })
        .await?;
        Ok(groups)
    }

    async fn profiles(&self, ids: Vec<AccountId>) -> Result<Vec<ExistingAccount>, ApiError> {
        let mut accounts = Vec::with_capacity(ids.len());
        for portion in ids.chunks(AT_ONCE) {
            let profiles = portion.iter().map(|id| self.profile(id));
            accounts.extend(try_join_all(profiles).await?.into_iter().flatten());
        }
        Ok(accounts)
    }

    /// The account of this id; `None` when there is none (any more).
    pub(super) async fn profile(
        &self,
        id: &AccountId,
    ) -> Result<Option<ExistingAccount>, ApiError> {
        let path = profile_path(id);
        let account = self.managed_account(id).await?;
        account.map(|account| fit(&path, account)).transpose()
    }

    /// Whether there is an account of this id that is not closed.
    pub(super) async fn is_open(&self, id: &AccountId) -> Result<bool, ApiError> {
        let account = self.managed_account(id).await?;
        Ok(account.is_some_and(|account| account.account_status != "closed"))
    }

    async fn managed_account(&self, id: &AccountId) -> Result<Option<Account>, ApiError> {
        let path = profile_path(id);
        let reply = match self.admin()?.send(Method::GET, &path, &[], None).await {
            Ok(reply) => reply,
            Err(ApiError {
                cause: Cause::NotFound(_),
                ..
            }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let account = serde_json::from_value(reply.body["account"].clone())
            .map_err(|error| unintelligible(&path, error.to_string()))?;
        Ok(Some(account))
    }
}

impl Writer {
    pub(super) async fn carry_out_by_admin(
        &self,
        operation: &Approved<'_>,
        sent_before: bool,
    ) -> Result<Answer, ApiError> {
        let target = match (&operation.kind, &operation.target) {
            (Kind::Create, _) => return self.invite(operation).await,
            (_, None) => return Err(refused("the operation has no account".to_owned())),
            (Kind::Delete, Some(target)) => {
                return self.delete(operation, target, sent_before).await;
            }
            (_, Some(target)) => target,
        };
        match self.carry_out_on(operation, target).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.gone_or(error, target).await?),
        }
    }

    async fn carry_out_on(
        &self,
        operation: &Operation,
        target: &Target,
    ) -> Result<Answer, ApiError> {
        let account = AccountId::new(target.scim_id.as_str());
        if operation.cancel_delete {
            self.cancel_delete(target).await?;
        }
        // A login is opened before anything is changed behind it, and closed first of all.
        if operation.active.0 != operation.active.1 {
            self.switch(&account, operation.active.1).await?;
        }
        let request_id = self
            .change(&account, &operation.before, &operation.after)
            .await?;
        Ok(answer(account, request_id))
    }

    /// Invites a person (contract section 3: the address is all that is certain of the body),
    /// and gives the new account its values.
    async fn invite(&self, operation: &Operation) -> Result<Answer, ApiError> {
        let Some(email) = operation.after.get(Attribute::Email) else {
            return Err(refused("nobody is invited without an address".to_owned()));
        };
        let path = format!(
            "/admin/v2/orgs/{}/users/invite",
            segment(&self.reader.organization)
        );
        let body = json!({ "emails": [email] });
        let reply = self
            .reader
            .admin()?
            .send(Method::POST, &path, &[], Some(&body))
            .await?;
        let found = match invited(&reply.body, email) {
            Some(id) => self.reader.profile(&id).await?.into_iter().collect(),
            None => self.reader.by_address(email).await?,
        };
        let [account] = found.as_slice() else {
            // The next run finds it by its address and takes it over.
            return Err(ApiError {
                request: format!("POST {path}"),
                request_id: reply.request_id,
                cause: Cause::NoAnswer(
                    "the invited account is not among the managed ones yet".to_owned(),
                ),
            });
        };
        let id = AccountId::new(account.scim_id.as_str());
        let request_id = self.change(&id, &account.profile, &operation.after).await?;
        Ok(answer(id, request_id))
    }

    /// Turns login on or off (contract section 4). That it is so already is as good.
    async fn switch(&self, account: &AccountId, active: bool) -> Result<(), ApiError> {
        let verb = if active { "enable" } else { "disable" };
        let body = (!active).then(|| json!({ "message": "Deactivated by dirsyncd" }));
        let path = lifecycle_path(account, verb);
        match self
            .reader
            .admin()?
            .send(Method::POST, &path, &[], body.as_ref())
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.cause, Cause::Conflict(_)) => {
                let now = self.reader.profile(account).await?;
                if now.is_some_and(|now| now.active == active) {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Sets the values that differ; the API's name for the last request.
    async fn change(
        &self,
        account: &AccountId,
        before: &Profile,
        after: &Profile,
    ) -> Result<Option<String>, ApiError> {
        let path = format!("/users/{}/manage", segment(account.as_str()));
        let mut request_id = None;
        let differs = |attribute: Attribute| before.get(attribute) != after.get(attribute);
        if let (true, Some(email)) = (differs(Attribute::Email), after.get(Attribute::Email)) {
            let body = json!({ "email": email });
            let path = format!("{path}/email");
            request_id = self
                .reader
                .admin()?
                .send(Method::PUT, &path, &[], Some(&body))
                .await?
                .request_id;
        }
        let value = |attribute| {
            after
                .get(attribute)
                .map_or(Value::Null, |value| json!(value))
        };
        let fields = |names: &[(Attribute, &str)]| -> Map<String, Value> {
            let changed = names.iter().filter(|(attribute, _)| differs(*attribute));
            changed
                .map(|(attribute, name)| ((*name).to_owned(), value(*attribute)))
                .collect()
        };
        let mut body = fields(&[
            (Attribute::DisplayName, "name"),
            (Attribute::NickName, "nickname"),
            (Attribute::Timezone, "zoneinfo"),
            (Attribute::PreferredLanguage, "locale"),
        ]);
        let extended = fields(&[
            (Attribute::Title, "job_title"),
            (Attribute::Organization, "organization"),
            (Attribute::Department, "department"),
        ]);
        if !extended.is_empty() {
            body.insert("extended_profile".to_owned(), Value::Object(extended));
        }
        if !body.is_empty() {
            let path = format!("{path}/profile");
            let body = Value::Object(body);
            request_id = self
                .reader
                .admin()?
                .send(Method::PATCH, &path, &[], Some(&body))
                .await?
                .request_id;
        }
        Ok(request_id)
    }
}

fn profile_path(id: &AccountId) -> String {
    format!("/users/{}/manage/profile", segment(id.as_str()))
}

/// The account that the answer to an invitation names, if it does: its body is not published.
fn invited(body: &Value, email: &str) -> Option<AccountId> {
    let people = body["data"].as_array()?;
    let is_meant = |person: &&Value| {
        person["email"]
            .as_str()
            .is_some_and(|theirs| fold(theirs) == fold(email))
    };
    Some(AccountId::new(
        people.iter().find(is_meant)?["accountId"].as_str()?,
    ))
}

fn answer(account: AccountId, request_id: Option<String>) -> Answer {
    Answer {
        scim_id: ScimId::new(account.as_str()),
        account_id: Some(account),
        request_id,
    }
}
