//! The groups that the guards name, with their members.

use std::collections::BTreeSet;

use super::read::segment;
use super::{ApiError, Reader};
use crate::config::Guards;
use crate::model::{AccountId, ExistingGroup, fold};
use crate::plan::{GuardedGroup, GuardedGroups, GuardedMember};

impl Reader {
    /// Reads the groups that `protected_groups` and `administrators` name: with the admin key
    /// those of all directories of the organization, else those of the provisioning directory.
    /// Several directories may have a group of one name, each with members of its own.
    pub async fn guarded_groups(&self, guards: &Guards) -> Result<GuardedGroups, ApiError> {
        let administrators: BTreeSet<String> = guards
            .administrators
            .iter()
            .map(|name| fold(name))
            .collect();
        let is_wanted =
            |name: &str| administrators.contains(&fold(name)) || guards.protects_group(name);
        let mut groups: Vec<GuardedGroup> = Vec::new();
        if self.has_admin_key() {
            for (id, name) in self.directory_groups().await? {
                if is_wanted(&name) {
                    let members = self.members_by_account(&id).await?;
                    groups.push(GuardedGroup { name, members });
                }
            }
        } else {
            for group in self.all_groups().await? {
                // A list need not show the members. A group that has just gone has none.
                let group = match is_wanted(&group.name) {
                    true => self.group(&group.scim_id).await?,
                    false => None,
                };
                if let Some(group) = group {
                    let counts = administrators.contains(&fold(&group.name));
                    groups.push(GuardedGroup {
                        members: self.members_by_resource(&group, counts).await?,
                        name: group.name,
                    });
                }
            }
        }
        let is_there = |name: &&String| groups.iter().any(|group| fold(&group.name) == fold(name));
        let missing = guards.administrators.iter().filter(|name| !is_there(name));
        Ok(GuardedGroups {
            missing: missing.cloned().collect(),
            groups,
        })
    }

    /// The members of a group of the organization (contract section 3, `groupIds`).
    async fn members_by_account(&self, group: &str) -> Result<Vec<GuardedMember>, ApiError> {
        let path = format!(
            "/admin/v2/orgs/{}/directories/-/users",
            segment(&self.organization)
        );
        let mut seen = BTreeSet::new();
        let mut members = Vec::new();
        self.each_item(&path, Some(("groupIds", group)), |user| {
            if let Some(id) = user["accountId"].as_str()
                && seen.insert(id.to_owned())
            {
                members.push(GuardedMember {
                    scim_id: None,
                    account_id: Some(AccountId::new(id)),
                    is_active: user["accountStatus"] == "active",
                });
            }
        })
        .await?;
        Ok(members)
    }

    /// The members of a group of the provisioning directory. Whether they are active is asked
    /// for one by one, where it `counts`.
    async fn members_by_resource(
        &self,
        group: &ExistingGroup,
        counts: bool,
    ) -> Result<Vec<GuardedMember>, ApiError> {
        let mut members = Vec::with_capacity(group.members.len());
        for id in &group.members {
            let account = if counts {
                self.by_scim_id(id).await?
            } else {
                None
            };
            members.push(GuardedMember {
                scim_id: Some(id.clone()),
                is_active: account.as_ref().is_some_and(|account| account.active),
                account_id: account.and_then(|account| account.account_id),
            });
        }
        Ok(members)
    }
}
