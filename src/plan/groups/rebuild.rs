//! The rows of groups, made again from what the rules find and what the organization has.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::RuleRead;
use super::view::sort_out;
use crate::config::{GroupAdoption, GroupRule};
use crate::model::{ExistingGroup, ExternalId, GroupOrigin, ManagedGroup, MemberKey, ScimId, fold};

/// Makes rows again for groups of the organization that have none: of those that carry the key of a
/// group that a rule finds, or that have its name, where the rule takes such groups over. `people` are
/// the accounts of ours. Also gives the groups that are none of ours.
pub fn rebuild(
    rules: &[GroupRule],
    read: &[RuleRead],
    groups: Vec<ExistingGroup>,
    people: &HashMap<ScimId, ExternalId>,
) -> (Vec<ManagedGroup>, Vec<ExistingGroup>) {
    let wanted = sort_out(read, &HashMap::new()).wanted;
    let carried: HashSet<ExternalId> = groups
        .iter()
        .filter_map(|group| group.external_id.clone())
        .collect();
    let row_of = |group: &ExistingGroup| {
        let carries = |key: &ExternalId| group.external_id.as_ref() == Some(key);
        let named = wanted.get(&fold(&group.name));
        let (key, origins, nested): (_, BTreeSet<GroupOrigin>, BTreeSet<MemberKey>) = match named {
            Some(named) => {
                let keys = named.keys();
                let is_adopted = rules[named.rule].adopt == GroupAdoption::ByName;
                let free = keys.iter().find(|key| !carried.contains(**key));
                let own = keys.iter().find(|key| carries(key));
                let key = own.or(free.filter(|_| is_adopted))?;
                ((*key).clone(), named.origins(), named.nested())
            }
            // Under a name that the directory's group does not have any more.
            None => {
                let mut parts = wanted.values().flat_map(|one| &one.parts);
                let part = parts.find(|part| carries(&part.origin.key))?;
                let origins = BTreeSet::from([part.origin.clone()]);
                (part.origin.key.clone(), origins, part.nested.clone())
            }
        };
        let members = group.members.iter();
        Some(ManagedGroup {
            scim_id: group.scim_id.clone(),
            key,
            name: group.name.clone(),
            origins,
            members: members.filter_map(|id| people.get(id).cloned()).collect(),
            nested,
        })
    };
    let (mut rebuilt, mut others) = (Vec::new(), Vec::new());
    for group in groups {
        match row_of(&group) {
            Some(row) => rebuilt.push(row),
            None => others.push(group),
        }
    }
    rebuilt.sort_by(|a, b| a.scim_id.cmp(&b.scim_id));
    (rebuilt, others)
}
