//! What a sync brought about, however often it was begun: its effects by the organization's log, how the organization is,
//! what the database says, and what the journal tells.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use crate::support::organization::{Account, Mark, OrganizationGroup};
use crate::support::{Organization, database};

/// How accounts are provisioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Scim,
    Admin,
}

/// All that must be the same with and without interruptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// What writes changed, each with the number of times. What had no effect is not in it.
    pub(crate) effects: BTreeMap<String, usize>,
    /// The organization's accounts and groups.
    organization: Vec<String>,
    /// The database's.
    known: Vec<String>,
    /// The operations on accounts that the journal has as done.
    done: Vec<String>,
}

impl Told {
    /// Looks at it all. `before` are the groups as they were at the mark.
    pub(crate) fn of(
        organization: &Organization,
        way: Way,
        before: &[OrganizationGroup],
        mark: Mark,
        path: &Path,
    ) -> Self {
        let (accounts, groups) = match way {
            Way::Scim => (organization.accounts(), organization.groups()),
            Way::Admin => (Vec::new(), Vec::new()),
        };
        let names = Names::of(path, &accounts, before.iter().chain(&groups));
        let effects = effects(organization, before, mark, &names);
        expect_journalled(path, &effects);
        expect_same_resources(path, &accounts, &groups);
        let mut counts = BTreeMap::new();
        for (who, what) in effects {
            *counts.entry(format!("{who}: {what}")).or_default() += 1;
        }
        Told {
            effects: counts,
            organization: shown(organization, &accounts, &groups, &names),
            known: known(path),
            // A lost invitation is found by its address, and taken over.
            done: match way {
                Way::Scim => database::texts(path, DONE),
                Way::Admin => Vec::new(),
            },
        }
    }

    /// What is here and not there.
    fn beyond(&self, other: &Told) -> Vec<String> {
        let lines = |told: &Told| -> HashSet<String> {
            let effects = told.effects.iter();
            let effects = effects.map(|(what, count)| format!("{count} times {what}"));
            let tables = [&told.organization, &told.known, &told.done];
            effects
                .chain(tables.into_iter().flatten().cloned())
                .collect()
        };
        let mut beyond: Vec<String> = lines(self).difference(&lines(other)).cloned().collect();
        beyond.sort();
        beyond
    }

    /// It must be the same as without interruptions.
    #[track_caller]
    pub(crate) fn expect_as(&self, reference: &Told, story: &str) {
        assert!(
            self == reference,
            "{story}\nonly here: {:#?}\nonly without interruptions: {:#?}",
            self.beyond(reference),
            reference.beyond(self)
        );
    }

    /// The same but for what only the requests show, where the organization was begun anew.
    #[track_caller]
    pub(crate) fn expect_state_as(&self, reference: &Told, story: &str) {
        let seen = Told {
            effects: reference.effects.clone(),
            ..self.clone()
        };
        seen.expect_as(reference, story);
    }
}

const DONE: &str = "SELECT json_array(external_id, kind, count(*)) FROM operations \
    WHERE state = 'done' AND kind NOT GLOB 'group_*' GROUP BY external_id, kind ORDER BY 1";

/// How accounts and groups are called whatever their ids are.
struct Names {
    people: HashMap<String, String>,
    groups: HashMap<String, String>,
}

impl Names {
    fn of<'a>(
        path: &Path,
        accounts: &[Account],
        groups: impl Iterator<Item = &'a OrganizationGroup>,
    ) -> Self {
        // The admin way knows no keys; there it is as the database says.
        let rows = "SELECT scim_id || ' ' || external_id FROM accounts UNION ALL SELECT email || ' ' || external_id FROM accounts";
        let mut people: HashMap<String, String> = database::texts(path, rows)
            .iter()
            .filter_map(|row| row.split_once(' '))
            .map(|(id, key)| (id.to_owned(), key.to_owned()))
            .collect();
        for account in accounts {
            let name = account.external_id.as_ref().unwrap_or(&account.email);
            people.insert(account.scim_id.clone(), name.clone());
            people.insert(account.account_id.clone(), name.clone());
        }
        // Whom a revert has given the key of before back is the one whose it was meanwhile.
        let rows = "SELECT scim_id || ' ' || external_id FROM operations WHERE scim_id IS NOT NULL AND kind NOT GLOB 'group_*'";
        let rows = database::texts(path, rows);
        let rows = rows.iter().filter_map(|row| row.split_once(' '));
        people.extend(rows.map(|(id, key)| (id.to_owned(), key.to_owned())));
        let groups = groups.map(|group| (group.scim_id.clone(), group.name.clone()));
        Names {
            people,
            groups: groups.collect(),
        }
    }

    #[track_caller]
    fn person(&self, id: &str) -> String {
        let name = self.people.get(id);
        name.unwrap_or_else(|| panic!("nobody has the id {id}"))
            .clone()
    }

    #[track_caller]
    fn group(&self, id: &str) -> String {
        let name = self.groups.get(id);
        name.unwrap_or_else(|| panic!("no group has the id {id}"))
            .clone()
    }
}

/// What the writes after the mark changed, as to whom and what. A value that is set to what it was, and a member who
/// is in the group already, is no effect.
fn effects(
    organization: &Organization,
    before: &[OrganizationGroup],
    mark: Mark,
    names: &Names,
) -> Vec<(String, String)> {
    let mut effects = Vec::new();
    let mut values: HashMap<(String, String), Value> = HashMap::new();
    let mut members: HashSet<(String, String)> = before
        .iter()
        .flat_map(|group| {
            let id = &group.scim_id;
            group.members.iter().map(|one| (id.clone(), one.clone()))
        })
        .collect();
    for request in organization.writes_since(mark) {
        if !request
            .status
            .is_some_and(|status| (200..300).contains(&status))
        {
            continue;
        }
        let path = request.path.replace("%3A", ":");
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let text = |name: &str| request.body[name].as_str().unwrap().to_owned();
        let mut set = |id: &str, what: &str, value: &Value| {
            let old = values.insert((id.to_owned(), what.to_owned()), value.clone());
            if old.as_ref() != Some(value) {
                effects.push((names.person(id), format!("{what} = {value}")));
            }
        };
        let changes = || request.body["Operations"].as_array().unwrap().iter();
        match (request.method.as_str(), &parts[..]) {
            ("POST", ["scim", _, _, "Users"]) => {
                effects.push((text("externalId"), "create".to_owned()));
            }
            ("PATCH", ["scim", _, _, "Users", id]) => {
                for change in changes() {
                    set(id, change["path"].as_str().unwrap(), &change["value"]);
                }
            }
            ("POST", ["admin", "v2", "orgs", _, "users", "invite"]) => {
                let email = request.body["emails"][0].as_str().unwrap();
                effects.push((names.person(email), "invite".to_owned()));
            }
            ("PUT", ["users", id, "manage", "email"]) => set(id, "email", &request.body["email"]),
            ("PATCH", ["users", id, "manage", "profile"]) => {
                for (field, value) in request.body.as_object().unwrap() {
                    match value.as_object() {
                        Some(extended) => extended
                            .iter()
                            .for_each(|(name, value)| set(id, name, value)),
                        None => set(id, field, value),
                    }
                }
            }
            // What is so already is no error, and no effect; the others are conflicts then.
            (
                "POST",
                [
                    "users",
                    id,
                    "manage",
                    "lifecycle",
                    verb @ ("enable" | "disable"),
                ],
            ) => {
                set(id, "active", &Value::from(*verb == "enable"));
            }
            ("POST", ["users", id, "manage", "lifecycle", verb]) => {
                effects.push((names.person(id), (*verb).to_owned()));
            }
            ("POST", ["scim", _, _, "Groups"]) => {
                effects.push((text("displayName"), "group made".to_owned()));
            }
            ("DELETE", ["scim", _, _, "Groups", id]) => {
                effects.push((names.group(id), "group deleted".to_owned()));
            }
            ("PATCH", ["scim", _, _, "Groups", id]) => {
                for change in changes() {
                    for (verb, member) in memberships(change) {
                        let membership = ((*id).to_owned(), member.clone());
                        let is_effect = match verb {
                            "join" => members.insert(membership),
                            _ => members.remove(&membership),
                        };
                        if is_effect {
                            let what = format!("{verb}s: {}", names.person(&member));
                            effects.push((names.group(id), what));
                        }
                    }
                }
            }
            _ => panic!("a write that nobody expects: {request:?}"),
        }
    }
    effects
}

/// Who joins and leaves by one operation of a PATCH of a group.
fn memberships(change: &Value) -> Vec<(&'static str, String)> {
    let path = change["path"].as_str().unwrap();
    match change["op"].as_str().unwrap() {
        "add" => {
            let members = change["value"].as_array().unwrap().iter();
            let id = |member: &Value| member["value"].as_str().unwrap().to_owned();
            members.map(|member| ("join", id(member))).collect()
        }
        "remove" => vec![("leave", path.split('"').nth(1).unwrap().to_owned())],
        op => panic!("{op} of a group's {path}"),
    }
}

/// The organization's accounts and groups, without the ids that it gave them.
fn shown(
    organization: &Organization,
    accounts: &[Account],
    groups: &[OrganizationGroup],
    names: &Names,
) -> Vec<String> {
    let mut shown: Vec<String> = accounts
        .iter()
        .map(|account| {
            let status = organization.account_status(&account.account_id);
            let nameless = Account {
                scim_id: String::new(),
                account_id: String::new(),
                ..account.clone()
            };
            format!("{nameless:?} {status:?}")
        })
        .collect();
    for mut account in organization.managed_accounts() {
        account["account_id"].take();
        shown.push(account.to_string());
    }
    for group in groups {
        let mut members: Vec<String> = group.members.iter().map(|id| names.person(id)).collect();
        members.sort();
        shown.push(format!(
            "group {} {:?} {members:?}",
            group.name, group.external_id
        ));
    }
    shown.sort();
    shown
}

/// What the database says of accounts and groups, without those ids.
fn known(path: &Path) -> Vec<String> {
    let tables = [
        "SELECT json_array(external_id, source, dn, profile, lifecycle, departed_at IS NULL) FROM accounts",
        "SELECT json_array(name, external_id, origins, (SELECT json_group_array(external_id) FROM \
            (SELECT external_id FROM group_members WHERE group_members.scim_id = groups.scim_id ORDER BY 1))) FROM groups",
        "SELECT json_array(source, external_id, said) FROM deviations",
        "SELECT json_array('cursor of', source, entries) FROM cursors",
        "SELECT json_array('scope of', source, scope) FROM scopes",
    ];
    let mut known: Vec<String> = tables
        .iter()
        .flat_map(|table| database::texts(path, table))
        .collect();
    known.sort();
    known
}

/// Each effect belongs to an operation that was recorded as sent.
#[track_caller]
fn expect_journalled(path: &Path, effects: &[(String, String)]) {
    let sent = "FROM operations WHERE sent_at IS NOT NULL AND state IN ('done', 'left')";
    let who = format!(
        "SELECT external_id {sent} AND kind NOT GLOB 'group_*' \
         UNION SELECT json_extract(detail, '$.name') {sent} AND kind GLOB 'group_*' \
         UNION SELECT coalesce(json_extract(detail, '$.target.name'), '') {sent} AND kind GLOB 'group_*'"
    );
    let sent: HashSet<String> = database::texts(path, &who).into_iter().collect();
    for (who, what) in effects {
        assert!(
            sent.contains(who),
            "the journal does not know of {who}: {what}"
        );
    }
}

/// The rows lead to the accounts and groups that the organization has.
#[track_caller]
fn expect_same_resources(path: &Path, accounts: &[Account], groups: &[OrganizationGroup]) {
    let mut theirs: HashSet<String> = HashSet::new();
    for account in accounts {
        let key = account.external_id.as_deref().unwrap_or_default();
        theirs.insert(format!("{key} {}", account.scim_id));
    }
    for group in groups {
        theirs.insert(format!("{} {}", group.name, group.scim_id));
    }
    let ours = "SELECT external_id || ' ' || scim_id FROM accounts WHERE lifecycle <> 'deleted' \
        UNION ALL SELECT name || ' ' || scim_id FROM groups";
    for row in database::texts(path, ours) {
        let is_there = accounts.is_empty() || theirs.contains(&row);
        assert!(is_there, "the organization does not have {row}");
    }
}

/// The journal's story is whole: no operation is open, and each run has its end, of which the last is this one.
#[track_caller]
pub(crate) fn expect_closed(path: &Path, starts: usize, last: &str, story: &str) {
    let open = "SELECT json_array(id, kind, state, error) FROM operations WHERE state NOT IN ('done', 'left')";
    let open = database::texts(path, open);
    assert!(open.is_empty(), "{story}: {open:?}");
    let runs =
        "SELECT coalesce(outcome, 'none') || ' ' || coalesce(error, '') FROM runs ORDER BY id";
    let runs = database::texts(path, runs);
    assert_eq!(runs.last().map(|run| run.trim_end()), Some(last), "{story}");
    let has_ended = |run: &String| !run.starts_with("none");
    assert!(runs.iter().all(has_ended), "{story}: {runs:?}");
    assert!(runs.len() <= starts, "{story}: {runs:?} of {starts}");
    assert_eq!(
        database::texts(path, "PRAGMA integrity_check"),
        ["ok"],
        "{story}"
    );
}
