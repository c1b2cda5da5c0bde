//! The organization's accounts that a saved plan concerns, as they are now.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::future::try_join_all;

use super::{LOOK_UPS, RunError, Setup};
use crate::model::{Attribute, ExistingAccount, ExternalId, Operation, Profile, ScimId, fold};
use crate::org::{ApiError, Reader};

/// How many accounts are read at once; the pace of the API decides how many requests go out.
const AT_ONCE: usize = 32;

/// Accounts a page, to tell whether to list them or to read them one by one.
const PAGE: u64 = 100;

/// Accounts of the organization as they are now, with the managed attributes.
pub(super) struct Accounts {
    all: HashMap<ScimId, ExistingAccount>,
    /// Whose key, name or address a case-folded text is.
    claims: HashMap<String, Vec<ScimId>>,
}

impl Accounts {
    pub(super) fn of(&self, id: &ScimId) -> Option<&ExistingAccount> {
        self.all.get(id)
    }

    /// The accounts that have the key, the name or the address of an operation.
    pub(super) fn that_claim(
        &self,
        operation: &Operation,
    ) -> impl Iterator<Item = &ExistingAccount> {
        let ids = claims(Some(operation.key.as_str()), &operation.after)
            .into_iter()
            .filter_map(|claim| self.claims.get(&claim));
        ids.flatten().filter_map(|id| self.all.get(id))
    }

    /// Reads these accounts, and those that stand in the way of these creations: one by one, or
    /// all by pages where that takes fewer requests or an address cannot be looked up.
    pub(super) async fn read(
        setup: &Setup,
        reader: &Reader,
        targets: &[&ScimId],
        creations: &[&Operation],
        population: u64,
    ) -> Result<Self, RunError> {
        let one_by_one = (targets.len() + 2 * creations.len()) as u64;
        // The API filters by user name and key only (contract section 7).
        let is_hidden = |operation: &&Operation| {
            let value = |attribute| operation.after.get(attribute).map(fold);
            value(Attribute::Email) != value(Attribute::UserName)
        };
        let lists =
            one_by_one > LOOK_UPS as u64 + population / PAGE || creations.iter().any(is_hidden);
        let found = if reader.keeps_keys() && lists {
            reader.all_accounts(&HashSet::new()).await?
        } else {
            let mut found = Vec::new();
            for portion in targets.chunks(AT_ONCE) {
                let reads = portion.iter().map(|id| reader.by_scim_id(id));
                found.extend(try_join_all(reads).await?.into_iter().flatten());
            }
            for portion in creations.chunks(AT_ONCE) {
                let reads = portion.iter().map(|operation| look_up(reader, operation));
                found.extend(try_join_all(reads).await?.into_iter().flatten());
            }
            found
        };
        let managed = setup.managed();
        let mut all = HashMap::with_capacity(found.len());
        let mut claimed: HashMap<String, Vec<ScimId>> = HashMap::new();
        for mut account in found {
            let id = account.scim_id.clone();
            if !creations.is_empty() {
                let key = account.external_id.as_ref().map(ExternalId::as_str);
                for claim in claims(key, &account.profile) {
                    claimed.entry(claim).or_default().push(id.clone());
                }
            }
            account
                .profile
                .retain(|attribute| managed.contains(&attribute));
            all.insert(id, account);
        }
        Ok(Accounts {
            all,
            claims: claimed,
        })
    }
}

/// The key, the name and the address, case-folded.
fn claims(key: Option<&str>, profile: &Profile) -> BTreeSet<String> {
    [
        key,
        profile.get(Attribute::UserName),
        profile.get(Attribute::Email),
    ]
    .into_iter()
    .flatten()
    .map(fold)
    .collect()
}

/// The accounts that may stand in the way of a creation.
async fn look_up(reader: &Reader, operation: &Operation) -> Result<Vec<ExistingAccount>, ApiError> {
    if !reader.keeps_keys() {
        return match operation.after.get(Attribute::Email) {
            Some(email) => reader.by_address(email).await,
            None => Ok(Vec::new()),
        };
    }
    let mut found = reader.by_external_id(&operation.key).await?;
    if let Some(name) = operation.after.get(Attribute::UserName) {
        found.extend(reader.by_user_name(name).await?);
    }
    Ok(found)
}
