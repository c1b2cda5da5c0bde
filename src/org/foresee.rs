//! What is asked to foresee refusals: rights over accounts, holders of addresses, the size of the
//! provisioning directory, and how fast the APIs take requests.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::Value;

use super::read::{segment, unintelligible};
use super::{ApiError, Cause, Reader};
use crate::model::{AccountId, Attribute, fold};
use crate::plan::{Holder, Rate, Right, Way};

/// The reasons of the API that name a provisioning directory begin so (contract section 7).
const BY_DIRECTORY: &str = "externalDirectory";

impl Reader {
    /// How accounts are made and changed.
    pub fn way(&self) -> Way {
        if self.keeps_keys() {
            Way::Scim {
                replaces_whole: self.replaces_whole(),
            }
        } else {
            Way::Admin
        }
    }

    /// What is known of the pace of the provisioning directory, and of user management and the
    /// organization.
    pub fn rates(&self) -> (Rate, Rate) {
        let rate = |http: Result<&super::http::Http, ApiError>| {
            http.map(super::http::Http::rate).unwrap_or_default()
        };
        (rate(self.scim()), rate(self.admin()))
    }

    /// How many requests have gone out, the repeated ones too.
    pub fn requests(&self) -> u64 {
        let sent = |http: Result<&super::http::Http, ApiError>| {
            http.map(super::http::Http::sent).unwrap_or_default()
        };
        sent(self.scim()) + sent(self.admin())
    }

    /// Which of these rights the organization denies for an account, each with its reason
    /// (contract section 4, `GET /users/{id}/manage`). For an account that is not there nothing
    /// is denied.
    pub async fn denied(
        &self,
        account: &AccountId,
        rights: &BTreeSet<Right>,
    ) -> Result<BTreeMap<Right, String>, ApiError> {
        let privileges: BTreeSet<&str> = rights.iter().map(|right| right.privilege()).collect();
        let privileges = privileges.into_iter().collect::<Vec<_>>().join(",");
        let Some(shown) = self.permissions(account, &privileges).await? else {
            return Ok(BTreeMap::new());
        };
        let denial = |right: Right| {
            let permission = match right {
                Right::Delete | Right::Enablement | Right::Email => &shown[right.privilege()],
                Right::Profile(attribute) => field(&shown[right.privilege()], attribute),
            };
            Some((right, denial_of(permission)?))
        };
        Ok(rights.iter().copied().filter_map(denial).collect())
    }

    /// The account that holds this address in the organization, whatever directory it is of. Who
    /// owns it is for [`owner`](Self::owner) to tell.
    pub async fn holder(&self, email: &str) -> Result<Option<Holder>, ApiError> {
        let path = format!(
            "/admin/v2/orgs/{}/directories/-/users",
            segment(&self.organization)
        );
        let mut found = None;
        self.each_item(&path, Some(("searchTerm", email)), |user| {
            let theirs = user["email"].as_str().map(fold);
            if let (true, Some(id)) = (theirs == Some(fold(email)), user["accountId"].as_str()) {
                found.get_or_insert(Holder {
                    account: AccountId::new(id),
                    name: user["name"].as_str().unwrap_or("(no name)").to_owned(),
                    active: user["accountStatus"] == "active",
                    owner: None,
                });
            }
        })
        .await?;
        Ok(found)
    }

    /// How many requests it takes to list the managed accounts; `None` when the list does not
    /// tell how long it is.
    pub async fn account_pages(&self) -> Result<Option<u64>, ApiError> {
        let path = self.accounts_path();
        let reply = self.admin()?.send(Method::GET, &path, &[], None).await?;
        let page = reply.body["data"].as_array().map_or(0, Vec::len) as u64;
        let total = reply.body["meta"]["total"].as_u64();
        Ok(total.map(|total| total.div_ceil(page.max(1)).max(1)))
    }

    /// Of all managed accounts those that hold one of these addresses, case-folded, by the
    /// address.
    pub async fn holders(
        &self,
        addresses: &BTreeSet<String>,
    ) -> Result<Vec<(String, Holder)>, ApiError> {
        let mut found = Vec::new();
        self.each_item(&self.accounts_path(), None, |account| {
            let address = account["email"].as_str().map(fold);
            let address = address.filter(|address| addresses.contains(address));
            // A closed account is gone, and with it its address.
            if let (Some(address), Some(id), true) = (
                address,
                account["account_id"].as_str(),
                account["account_status"] != "closed",
            ) {
                let holder = Holder {
                    account: AccountId::new(id),
                    name: account["name"].as_str().unwrap_or("(no name)").to_owned(),
                    active: account["account_status"] == "active",
                    owner: None,
                };
                found.push((address, holder));
            }
        })
        .await?;
        Ok(found)
    }

    fn accounts_path(&self) -> String {
        format!("/admin/v1/orgs/{}/users", segment(&self.organization))
    }

    /// By which reason of the API a provisioning directory owns the account, if one does: this
    /// one, in which another user has it, or another.
    pub async fn owner(&self, account: &AccountId) -> Result<Option<String>, ApiError> {
        let address = Right::Email.privilege();
        let shown = self.permissions(account, address).await?;
        Ok(shown
            .and_then(|shown| denial_of(&shown[address]))
            .filter(|reason| reason.starts_with(BY_DIRECTORY)))
    }

    /// How many users the provisioning directory has.
    pub async fn user_count(&self) -> Result<u64, ApiError> {
        let path = self.scim_path("Users");
        let query = [("startIndex", "1"), ("count", "1")];
        let reply = self.scim()?.send(Method::GET, &path, &query, None).await?;
        reply.body["totalResults"]
            .as_u64()
            .ok_or_else(|| unintelligible(&path, "it has no `totalResults`".to_owned()))
    }

    /// What may be done with an account; `None` when there is none.
    async fn permissions(
        &self,
        account: &AccountId,
        privileges: &str,
    ) -> Result<Option<Value>, ApiError> {
        let path = format!("/users/{}/manage", segment(account.as_str()));
        let query = [("privileges", privileges)];
        match self.admin()?.send(Method::GET, &path, &query, None).await {
            Ok(reply) => Ok(Some(reply.body)),
            Err(ApiError {
                cause: Cause::NotFound(_),
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The API's reason, if a permission says no.
fn denial_of(permission: &Value) -> Option<String> {
    let reason = permission["reason"]["key"].as_str();
    (permission["allowed"] == false).then(|| reason.unwrap_or("no reason given").to_owned())
}

/// The permission of one field in `profile.write`.
fn field(profile: &Value, attribute: Attribute) -> &Value {
    let extended = &profile["extended_profile"];
    match attribute {
        Attribute::DisplayName => &profile["name"],
        Attribute::NickName => &profile["nickname"],
        Attribute::Timezone => &profile["zoneinfo"],
        Attribute::PreferredLanguage => &profile["locale"],
        Attribute::Title => &extended["job_title"],
        Attribute::Organization => &extended["organization"],
        Attribute::Department => &extended["department"],
        _ => &Value::Null,
    }
}
