//! Groups: what leads to which operation, and what must hold whatever the directory says.

mod revert;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::config::{GroupAdoption, GroupDeparture, GroupRule, Search};
use crate::mapping::{GroupFault, UnmappedGroup};
use crate::model::{
    Absence, AccountId, Attribute, DesiredGroup, Dn, ExistingGroup, ExternalId, Filter,
    GroupChange, GroupEffect, GroupMember, GroupOperation, GroupOrigin, GroupReason, Kind,
    Lifecycle, MEMBERS_A_GROUP, ManagedAccount, ManagedGroup, MemberKey, RunId, ScimId, Scope,
    Target,
};
use crate::plan::fixture::{World, key, person, source, with};
use crate::plan::groups::*;
use crate::plan::{GuardedGroup, GuardedGroups, GuardedMember, Hold, HoldCause, Plan, Planned};

fn rule(base: &str) -> GroupRule {
    GroupRule {
        source: source(),
        search: Search {
            bases: vec![(base.to_owned(), Dn::parse(base).unwrap())],
            scope: Scope::Subtree,
            filter_text: "(objectClass=groupOfNames)".to_owned(),
            filter: Filter::parse("(objectClass=groupOfNames)").unwrap(),
            members_of: Vec::new(),
            exclude_bases: Vec::new(),
            exclude_members_of: Vec::new(),
            include: None,
            exclude: None,
        },
        key: "entryUUID".to_owned(),
        name_attribute: "cn".to_owned(),
        pattern: regex::Regex::new("^.*$").unwrap(),
        name: "$0".to_owned(),
        nested: true,
        on_leave: GroupDeparture::Keep,
        adopt: GroupAdoption::ByKey,
        exact: false,
        span: 0..0,
    }
}

fn dn(name: &str) -> String {
    format!("uid={name},ou=people,dc=example,dc=org")
}

pub(super) fn user(name: &str) -> ScimId {
    ScimId::new(format!("scim-{name}"))
}

fn origin(id: &str, rule: &GroupRule) -> GroupOrigin {
    GroupOrigin {
        source: source(),
        key: key(id),
        dn: format!("cn={id},ou=groups"),
        rule: rule.fingerprint(),
    }
}

/// A directory, a snapshot and an organization.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    pub(super) rules: Vec<GroupRule>,
    read: Vec<RuleRead>,
    pub(super) known: KnownGroups,
    unseen: HashSet<ExternalId>,
    pub(super) planned: Vec<Planned>,
    accepts_scope_change: bool,
}

impl Groups {
    /// One rule, and accounts for a, b, c and d.
    pub(super) fn new() -> Self {
        let people = ["a", "b", "c", "d"].map(|name| (key(name), account(name)));
        Groups {
            rules: vec![rule("ou=groups")],
            read: vec![RuleRead {
                found: Vec::new(),
                unmapped: Vec::new(),
                clean: Ok(()),
            }],
            known: KnownGroups {
                people: people.into_iter().collect(),
                ..KnownGroups::default()
            },
            unseen: HashSet::new(),
            planned: Vec::new(),
            accepts_scope_change: false,
        }
    }

    fn find_by(
        &mut self,
        rule: usize,
        id: &str,
        name: &str,
        members: &[&str],
    ) -> &mut DesiredGroup {
        let origin = origin(id, &self.rules[rule]);
        let found = &mut self.read[rule].found;
        found.push(DesiredGroup {
            origin,
            name: name.to_owned(),
            members: members.iter().map(|name| (key(name), dn(name))).collect(),
            unidentified: BTreeSet::new(),
            nested: BTreeSet::new(),
            dangling: BTreeSet::new(),
            doubts: Vec::new(),
        });
        found.last_mut().unwrap()
    }

    /// The directory has a group with these members.
    pub(super) fn find(&mut self, id: &str, name: &str, members: &[&str]) -> &mut DesiredGroup {
        self.find_by(0, id, name, members)
    }

    /// The organization has a group with these members, of which one may begin with `!`: that is
    /// nobody's account.
    pub(super) fn exists(&mut self, name: &str, external_id: Option<&str>, members: &[&str]) {
        self.known.existing.push(ExistingGroup {
            scim_id: ScimId::new(format!("group-{name}")),
            external_id: external_id.map(key),
            name: name.to_owned(),
            members: members.iter().map(|name| user(name)).collect(),
        });
    }

    /// It is ours, for these groups of the directory.
    pub(super) fn keeps(&mut self, name: &str, ids: &[&str], members: &[&str]) {
        self.exists(name, Some(ids[0]), members);
        self.known.managed.push(ManagedGroup {
            scim_id: ScimId::new(format!("group-{name}")),
            key: key(ids[0]),
            name: name.to_owned(),
            origins: ids.iter().map(|id| origin(id, &self.rules[0])).collect(),
            members: members
                .iter()
                .filter(|name| !name.starts_with('!'))
                .map(|name| key(name))
                .collect(),
            nested: BTreeSet::new(),
        });
    }

    pub(super) fn plan(&self) -> GroupPlan {
        plan(
            &self.rules,
            self.read.clone(),
            &self.known,
            &self.unseen,
            &self.planned,
            self.accepts_scope_change,
        )
    }

    /// The organization and the snapshot after the plan was carried out.
    pub(super) fn apply(&mut self, plan: &GroupPlan) {
        let KnownGroups {
            managed, existing, ..
        } = &mut self.known;
        managed.retain(|group| !plan.forgotten.contains(&group.scim_id));
        for noted in &plan.notes {
            managed.retain(|group| group.scim_id != noted.scim_id);
            managed.push(noted.clone());
        }
        for PlannedGroup { operation, .. } in &plan.operations {
            let GroupOperation {
                kind,
                key,
                name,
                origins,
                target,
                add,
                remove,
                ..
            } = operation;
            let old = target.as_ref().map(|target| &target.scim_id);
            let id = match (kind, old) {
                (GroupChange::Create | GroupChange::Rename, _) => {
                    let is_taken = existing.iter().any(|group| group.name == *name);
                    assert!(!is_taken, "the name {name} is taken");
                    existing.push(ExistingGroup {
                        scim_id: ScimId::new(format!("group-{name}-new")),
                        external_id: Some(key.clone()),
                        name: name.clone(),
                        members: Vec::new(),
                    });
                    ScimId::new(format!("group-{name}-new"))
                }
                (_, Some(old)) => old.clone(),
                (_, None) => panic!("no group: {operation:?}"),
            };
            let ids = |members: &[GroupMember]| -> Vec<ScimId> {
                members
                    .iter()
                    .map(|member| member.scim_id.clone().unwrap())
                    .collect()
            };
            let group = existing
                .iter_mut()
                .find(|group| group.scim_id == id)
                .unwrap();
            let (joining, mut leaving) = (ids(add), ids(remove));
            if *kind == GroupChange::Rename {
                leaving.clear();
            }
            assert!(leaving.iter().all(|id| group.members.contains(id)));
            assert!(joining.iter().all(|id| !group.members.contains(id)));
            group.members.retain(|id| !leaving.contains(id));
            group.members.extend(joining);
            if let (GroupChange::Rename | GroupChange::Delete, Some(old)) = (kind, old) {
                existing.retain(|group| group.scim_id != *old);
                managed.retain(|group| group.scim_id != *old);
            }
            if operation.lets_go() {
                managed.retain(|group| group.scim_id != id);
            } else if *kind != GroupChange::Delete {
                let row = managed.iter().find(|group| group.scim_id == id);
                let nested = row.map(|row| row.nested.clone()).unwrap_or_default();
                managed.retain(|group| group.scim_id != id);
                managed.push(ManagedGroup {
                    scim_id: id,
                    key: key.clone(),
                    name: name.clone(),
                    origins: origins.clone(),
                    members: BTreeSet::new(),
                    nested,
                });
            }
        }
    }

    /// Who is in a group of the organization, sorted.
    fn members(&self, name: &str) -> Vec<String> {
        let group = self.known.existing.iter().find(|group| group.name == name);
        let ids = group.unwrap().members.iter();
        let mut members: Vec<String> = ids.map(|id| id.as_str().replace("scim-", "")).collect();
        members.sort();
        members
    }
}

pub(super) fn account(name: &str) -> Person {
    Person {
        scim_id: user(name),
        dn: dn(name),
        name: name.to_owned(),
        lifecycle: Lifecycle::Active,
        has_departed: false,
    }
}

/// Its account is on the way out: it is there still, and nobody new to a group.
pub(super) fn about_to_be_deleted(world: &mut Groups, who: &str) {
    let since = chrono::DateTime::UNIX_EPOCH;
    let person = world.known.people.get_mut(&key(who)).unwrap();
    person.lifecycle = Lifecycle::DeletePending { since };
}

/// The operations as `kind name +joining -leaving`.
pub(super) fn brief(plan: &GroupPlan) -> Vec<String> {
    let operations = plan.operations.iter().map(|planned| &planned.operation);
    let brief = operations.map(|operation| {
        let names = |sign: &str, members: &[GroupMember]| -> String {
            let names = members
                .iter()
                .map(|member| format!(" {sign}{}", member.name));
            names.collect()
        };
        let kind = operation.kind.name().replace("group_", "");
        let add = names("+", &operation.add);
        format!(
            "{kind} {}{add}{}",
            operation.name,
            names("-", &operation.remove)
        )
    });
    brief.collect()
}

/// The parts of a plan that the guards look at.
pub(super) fn divided(world: &Groups, plan: GroupPlan) -> Parts {
    let undone = UndoneGroups::of(&world.known.undone);
    Parts::of(plan.operations, &undone, &HashSet::new(), |_| false)
}

#[test]
fn accounts_that_may_be_another_tools_join_and_leave_by_themselves_so_that_they_alone_are_held() {
    let mut world = Groups::new();
    world.keeps("dev", &["dev"], &["a", "b"]);
    world.find("dev", "dev", &["c", "d"]);
    world.keeps("ops", &["ops"], &[]);
    world.find("ops", "ops", &["a", "b"]);
    world.exists("qa", Some("qa"), &["a"]);
    world.rules[0].adopt = GroupAdoption::ByKey;
    world.find("qa", "qa", &["a", "b", "d"]);
    world.find("web", "web", &["a", "b"]);
    let rekeyed: HashSet<ScimId> = ["a", "d"].map(user).into();
    let undone = UndoneGroups::of(&[]);
    let parts = |rekeyed: &HashSet<ScimId>| {
        let parts = Parts::of(world.plan().operations, &undone, rekeyed, |_| false);
        let holds = parts.operations();
        let holds = holds.map(|one| vec![0; usize::from(Parts::concern(one, rekeyed))]);
        let holds = holds.collect();
        GroupPlan {
            operations: parts.held(holds),
            ..GroupPlan::default()
        }
    };
    let plan = parts(&rekeyed);
    let free: Vec<bool> = plan
        .operations
        .iter()
        .map(|one| one.holds.is_empty())
        .collect();
    let told: Vec<(String, bool)> = brief(&plan).into_iter().zip(free).collect();
    let expected = [
        ("update dev +c -b", true),
        ("update dev +d", false),
        ("update dev -a", false),
        ("update ops +b", true),
        ("update ops +a", false),
        // Once it is ours they are held there.
        ("adopt qa +b", true),
        ("create web +b", true),
    ];
    assert_eq!(
        told,
        expected.map(|(what, is_free)| (what.to_owned(), is_free))
    );
    assert_eq!(brief(&parts(&HashSet::new())), brief(&world.plan()));

    let guards = crate::plan::fixture::no_guards();
    let held = || {
        let mut plan = Plan::default();
        let operation = &world.plan().operations[0].operation;
        let change = crate::plan::GroupChange {
            name: "dev",
            members: 2,
            removed: 1,
            loses_administrators: false,
            reverted_by: Vec::new(),
            is_rekeyed: true,
            digest: operation.digest(),
            left_out: None,
        };
        let held = plan.hold_groups(&[change], 2, &guards, &[], chrono::DateTime::UNIX_EPOCH);
        (held, plan.holds.remove(0).name)
    };
    assert_eq!(held(), (vec![vec![0]], "rekeyed".to_owned()));
}

fn notices(plan: &GroupPlan) -> Vec<String> {
    let each = plan.notices.iter();
    each.map(|notice| format!("{} {:?}", notice.group, notice.what))
        .collect()
}

#[test]
fn a_group_of_the_directory_becomes_one_of_the_organization() {
    let mut world = Groups::new();
    world.find("dev", "developers", &["a", "b", "stranger"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["create developers +a +b"]);
    let operation = &plan.operations[0].operation;
    assert_eq!(operation.key, key("dev"));
    assert_eq!(operation.reason.to_string(), "new in the directory");
    assert_eq!(
        notices(&plan),
        [format!("developers WithoutAccount([{:?}])", dn("stranger"))]
    );
    assert!(!plan.needs_attention());
    world.apply(&plan);
    let plan = world.plan();
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(plan.unchanged, 1);
    // The row learns who is in it.
    assert_eq!(plan.notes[0].members, BTreeSet::from([key("a"), key("b")]));
    world.apply(&plan);
    assert!(world.plan().notes.is_empty());
}

#[test]
fn members_join_and_leave_by_difference() {
    let mut world = Groups::new();
    world.find("dev", "dev", &["a", "c"]);
    world.keeps("dev", &["dev"], &["a", "b"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["update dev +c -b"]);
    assert_eq!(plan.operations[0].operation.removals(), (1, 2));
    assert!(plan.operations[0].operation.takes_away());
}

#[test]
fn who_is_nobody_s_account_is_left_alone_unless_the_rule_is_exact() {
    let mut world = Groups::new();
    world.find("dev", "dev", &["a"]);
    world.keeps("dev", &["dev"], &["a", "!guest"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), [""; 0]);
    assert_eq!(notices(&plan), ["dev Foreign(1)"]);
    world.rules[0].exact = true;
    assert_eq!(brief(&world.plan()), ["update dev -SCIM user scim-!guest"]);
    // Not whom a newcomer may be, while the account is not taken over.
    world.known.claimed.insert(user("!guest"));
    assert_eq!(brief(&world.plan()), [""; 0]);
    world.known.claimed.clear();
    // Not while something is unknown.
    world.read[0].clean = Err("cut off".to_owned());
    assert_eq!(brief(&world.plan()), [""; 0]);
}

#[test]
fn an_approval_is_good_for_one_reason_and_as_many_members() {
    let mut world = Groups::new();
    world.keeps("dev", &["dev"], &["a", "b"]);
    world.find("dev", "dev", &["a"]);
    let update = world.plan().operations.remove(0).operation;
    let of = |kind, reason: &GroupReason, members| {
        let mut operation = GroupOperation {
            kind,
            reason: reason.clone(),
            ..update.clone()
        };
        operation.target.as_mut().unwrap().members = members;
        operation.digest()
    };
    let merged = |name: &str| GroupReason::Merged {
        into: name.to_owned(),
    };
    let (left, other) = (GroupReason::Left, GroupReason::Members);
    for (kind, is_same) in [
        (GroupChange::Update, true),
        (GroupChange::Rename, false),
        (GroupChange::Delete, false),
    ] {
        assert_eq!(of(kind, &left, 2), of(kind, &left, 2));
        assert_eq!(of(kind, &left, 2) == of(kind, &left, 3), is_same);
        assert_ne!(of(kind, &left, 2), of(kind, &other, 2));
        assert_ne!(of(kind, &left, 2), of(kind, &merged("ops"), 2));
        assert_eq!(of(kind, &merged("ops"), 2), of(kind, &merged("dev"), 2));
    }
}

#[test]
fn people_stay_in_a_group_when_the_directory_does_not_show_them() {
    for (what, unseen, departed, expected) in [
        ("seen", false, false, &["update dev -b"][..]),
        ("absent or unmapped", true, false, &[]),
        ("departed", false, true, &[]),
    ] {
        let mut world = Groups::new();
        world.find("dev", "dev", &["a"]);
        world.keeps("dev", &["dev"], &["a", "b"]);
        if unseen {
            world.unseen.insert(key("b"));
        }
        world.known.people.get_mut(&key("b")).unwrap().has_departed = departed;
        assert_eq!(brief(&world.plan()), expected, "{what}");
    }
    // An entry without a key in the group may be this person's.
    let mut world = Groups::new();
    let group = world.find("dev", "dev", &["a"]);
    group.unidentified.insert(MemberKey::dn(&dn("b")));
    world.keeps("dev", &["dev"], &["a", "b", "c"]);
    assert_eq!(brief(&world.plan()), ["update dev -c"]);
    // As may one that is named and not shown.
    let mut world = Groups::new();
    let group = world.find("dev", "dev", &["a"]);
    group.dangling.insert(MemberKey::dn(&dn("b")));
    world.keeps("dev", &["dev"], &["a", "b", "c"]);
    assert_eq!(brief(&world.plan()), ["update dev -c"]);
}

#[test]
fn a_member_joins_as_soon_as_there_is_an_account() {
    let since = chrono::DateTime::UNIX_EPOCH;
    let accounts = World::new(
        vec![person("new"), person("z")],
        vec![crate::plan::fixture::account("z")],
    );
    let planned = accounts.planned().operations;
    assert_eq!(planned[0].operation.kind, Kind::Create);
    let held = vec![Planned {
        holds: vec![0],
        ..planned[0].clone()
    }];
    let waiting = vec![Planned {
        waits: vec![0],
        ..planned[0].clone()
    }];
    for (lifecycle, operations, expected, without) in [
        (None, &planned, "create dev +new", 0),
        (None, &held, "create dev", 1),
        (None, &waiting, "create dev", 1),
        (None, &vec![], "create dev", 1),
        (Some(Lifecycle::Active), &vec![], "create dev +new", 0),
        (
            Some(Lifecycle::Deactivated { since }),
            &vec![],
            "create dev +new",
            0,
        ),
        (
            Some(Lifecycle::DeletePending { since }),
            &vec![],
            "create dev",
            1,
        ),
        (Some(Lifecycle::Deleted { since }), &vec![], "create dev", 1),
        (
            Some(Lifecycle::Deleted { since }),
            &planned,
            "create dev +new",
            0,
        ),
    ] {
        let mut world = Groups::new();
        world.find("dev", "dev", &["new"]);
        world.planned.clone_from(operations);
        if let Some(lifecycle) = lifecycle {
            let known = Person {
                lifecycle,
                ..account("new")
            };
            world.known.people.insert(key("new"), known);
        }
        let plan = world.plan();
        let label = if operations.is_empty() {
            "new"
        } else {
            operations[0].operation.label()
        };
        assert_eq!(
            brief(&plan),
            [expected.replace("+new", &format!("+{label}"))],
            "{lifecycle:?}"
        );
        assert_eq!(plan.notices.len(), without, "{lifecycle:?}");
        let is_there = matches!(
            lifecycle,
            Some(Lifecycle::Active | Lifecycle::Deactivated { .. })
        );
        for member in &plan.operations[0].operation.add {
            assert_eq!(member.scim_id.is_some(), is_there);
        }
    }
}

#[test]
fn whose_account_is_deleted_in_this_run_does_not_join() {
    let changed = with(person("a"), Attribute::Title, "Director");
    let known = crate::plan::fixture::account("a");
    let mut planned = World::new(vec![changed], vec![known]).planned().operations;
    planned[0].operation.kind = Kind::Delete;
    for (holds, expected) in [(vec![], &[""; 0][..]), (vec![0], &["update dev +a"])] {
        let mut world = Groups::new();
        world.find("dev", "dev", &["a", "b"]);
        world.keeps("dev", &["dev"], &["b"]);
        planned[0].holds = holds;
        world.planned.clone_from(&planned);
        let plan = world.plan();
        assert_eq!(brief(&plan), expected);
        assert_eq!(notices(&plan), [""; 0]);
    }
}

#[test]
fn who_is_back_with_the_login_kept_off_is_here_like_everybody_else() {
    let absent = |pulls| Absence {
        since: chrono::DateTime::UNIX_EPOCH,
        cause: None,
        pulls,
    };
    for (absence, has_departed) in [
        (None, false),
        (Some(absent(0)), false),
        (Some(absent(1)), true),
        (Some(absent(2)), true),
    ] {
        let account = ManagedAccount {
            absence,
            ..crate::plan::fixture::account("a")
        };
        assert_eq!(Person::from(&account).has_departed, has_departed);
    }
}

#[test]
fn an_account_that_is_taken_over_in_this_run_is_no_stranger() {
    let mut accounts = World::new(vec![person("a")], Vec::new());
    accounts.existing = vec![crate::plan::fixture::existing("a", None)];
    let planned = accounts.planned().operations;
    assert_eq!(planned[0].operation.kind, Kind::Adopt);
    for members in [&["a"][..], &[]] {
        let mut world = Groups::new();
        world.rules[0].exact = true;
        world.known.people.remove(&key("a"));
        world.planned.clone_from(&planned);
        let printer = MemberKey::dn("cn=printer");
        let found = world.find("dev", "dev", members);
        found.unidentified.insert(printer);
        world.keeps("dev", &["dev"], &["a"]);
        assert_eq!(brief(&world.plan()), [""; 0], "{members:?}");
        // Afterwards it is somebody's.
        world.planned.clear();
        world.known.people.insert(key("a"), account("a"));
        assert_eq!(brief(&world.plan()).len(), 1 - members.len());
    }
}

#[test]
fn a_person_who_is_back_under_a_new_key_is_the_same_member() {
    let changed = with(person("a"), Attribute::Title, "Director");
    let known = crate::plan::fixture::account("a");
    let mut planned = World::new(vec![changed], vec![known]).planned().operations;
    let operation = &mut planned[0].operation;
    assert_eq!(operation.kind, Kind::Update);
    operation.formerly = Some(std::mem::replace(&mut operation.key, key("anew")));
    // In the group by the old key; not in it yet; in it, and not by the new key.
    for (members, there, expected, afterwards) in [
        (&["anew"][..], &["a"][..], &[""; 0][..], 0),
        (&["anew"], &[], &["update dev +a"], 0),
        (&[], &["a"], &[], 1),
    ] {
        let mut world = Groups::new();
        world.planned.clone_from(&planned);
        world.unseen.insert(key("a"));
        let printer = MemberKey::dn("cn=printer");
        let found = world.find("dev", "dev", members);
        found.unidentified.insert(printer);
        world.keeps("dev", &["dev"], there);
        let plan = world.plan();
        assert_eq!(brief(&plan), expected, "{members:?} {there:?}");
        assert!(notices(&plan).is_empty());
        // The user is looked up when the account has its new key.
        let added = plan.operations.iter().flat_map(|one| &one.operation.add);
        assert!(added.clone().all(|member| member.scim_id.is_none()));
        assert!(added.clone().all(|member| member.key == Some(key("anew"))));
        // The next run knows only the new key.
        world.planned.clear();
        let person = world.known.people.remove(&key("a")).unwrap();
        world.known.people.insert(key("anew"), person);
        if !expected.is_empty() {
            world.known.existing[0].members.push(user("a"));
        }
        assert_eq!(
            brief(&world.plan()).len(),
            afterwards,
            "{members:?} {there:?}"
        );
    }
}

#[test]
fn a_renamed_group_is_made_anew_with_all_who_stay() {
    let mut world = Groups::new();
    world.find("dev", "engineers", &["a", "c"]);
    world.keeps("developers", &["dev"], &["a", "b", "d", "!guest"]);
    world.unseen.insert(key("d"));
    about_to_be_deleted(&mut world, "d");
    let plan = world.plan();
    assert_eq!(
        brief(&plan),
        ["rename engineers +SCIM user scim-!guest +a +c +d -b"]
    );
    assert_eq!(plan.operations[0].operation.removals(), (1, 4));
    world.apply(&plan);
    assert_eq!(world.known.existing.len(), 1);
    assert_eq!(world.members("engineers"), ["!guest", "a", "c", "d"]);
    assert_eq!(brief(&world.plan()), [""; 0]);
}

#[test]
fn a_rename_that_was_broken_off_is_finished() {
    let mut world = Groups::new();
    world.find("dev", "engineers", &["a", "b"]);
    world.keeps("developers", &["dev"], &["a", "b"]);
    // Made, and not yet filled.
    world.keeps("engineers", &["dev"], &["a"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["update engineers +b"]);
    assert_eq!(
        notices(&plan),
        [r#"developers Kept("until all its members are in `engineers`")"#]
    );
    // Made, and not recorded.
    world.known.managed.pop();
    let plan = world.plan();
    assert_eq!(brief(&plan), ["adopt engineers +b"]);
    world.apply(&plan);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["delete developers"]);
    assert_eq!(plan.operations[0].operation.removals(), (0, 2));
    world.apply(&plan);
    assert_eq!(brief(&world.plan()), [""; 0]);
}

#[test]
fn a_group_goes_into_another_with_all_whom_the_directory_does_not_show() {
    for is_exact in [false, true] {
        let mut world = Groups::new();
        world.rules[0].exact = is_exact;
        // Also whom it names and does not show.
        world.find("dev", "engineers", &["a", "c"]);
        world.keeps("developers", &["dev"], &["a", "b", "c", "d", "!guest"]);
        world.keeps("engineers", &["dev"], &["a"]);
        world.unseen.insert(key("c"));
        world.known.people.get_mut(&key("d")).unwrap().has_departed = true;
        about_to_be_deleted(&mut world, "d");
        let plan = world.plan();
        let guest = if is_exact {
            ""
        } else {
            " +SCIM user scim-!guest"
        };
        assert_eq!(brief(&plan), [format!("update engineers{guest} +c +d")]);
        assert_eq!(plan.unchanged, 0);
        world.apply(&plan);
        let plan = world.plan();
        let guest = if is_exact {
            " -SCIM user scim-!guest"
        } else {
            ""
        };
        assert_eq!(brief(&plan), [format!("delete developers{guest} -b")]);
        let lost = if is_exact { 2 } else { 1 };
        assert_eq!(plan.operations[0].operation.removals(), (lost, 5));
        world.apply(&plan);
        assert_eq!(brief(&world.plan()), [""; 0]);
    }
}

#[test]
fn whom_a_group_that_goes_brings_along_joins_with_the_others() {
    for (there, expected) in [
        (&["a"][..], "update engineers +b +c"),
        (&["a", "b"], "update engineers +c"),
    ] {
        let mut world = Groups::new();
        world.find("alpha", "alpha", &["a"]);
        world.find("dev", "engineers", &["a", "b"]);
        world.find("ops", "ops", &["a"]);
        world.keeps("developers", &["dev"], &["a", "b", "c"]);
        world.keeps("engineers", &["dev"], there);
        world.unseen.insert(key("c"));
        let plan = world.plan();
        assert_eq!(
            brief(&plan),
            ["create alpha +a", expected, "create ops +a"],
            "{there:?}"
        );
    }
}

#[test]
fn a_group_of_which_a_part_is_gone_departs_as_configured() {
    for (on_leave, expected) in [
        (GroupDeparture::Keep, &[""; 0][..]),
        (GroupDeparture::Empty, &["update old -a -b"]),
        (GroupDeparture::Delete, &["delete old"]),
    ] {
        let mut world = Groups::new();
        world.rules[0].on_leave = on_leave;
        world.find("one", "new", &["a", "b"]);
        world.keeps("new", &["one"], &["a", "b"]);
        world.keeps("old", &["one", "gone"], &["a", "b"]);
        let plan = world.plan();
        assert_eq!(brief(&plan), expected, "{on_leave:?}");
        if let [one] = plan.operations.as_slice() {
            assert_eq!(one.operation.removals(), (2, 2));
        }
    }
}

#[test]
fn what_is_held_is_not_approved_and_the_rest_is() {
    let mut world = Groups::new();
    world.find("dev", "engineers", &["a", "b"]);
    world.find("ops", "ops", &["c"]);
    world.keeps("developers", &["dev"], &["a"]);
    world.keeps("engineers", &["dev"], &["a"]);
    let mut plan = world.plan();
    let all = ["update engineers +b", "create ops +c", "delete developers"];
    assert_eq!(brief(&plan), all);
    for (held, expected) in [
        (None, &["engineers", "ops", "developers"][..]),
        (Some("engineers"), &["ops", "developers"]),
        (Some("developers"), &["engineers", "ops"]),
    ] {
        for planned in &mut plan.operations {
            planned.holds.clear();
            if Some(planned.operation.name.as_str()) == held {
                planned.holds.push(0);
            }
        }
        let whole = Plan {
            groups: Some(plan.clone()),
            ..Plan::default()
        };
        let approved = whole.approve();
        let names = approved.groups().iter().map(|one| one.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), expected, "{held:?}");
        assert_eq!(whole.held(), usize::from(held.is_some()));
        assert!(whole.has_pending());
    }
    for planned in &mut plan.operations {
        planned.holds = vec![0];
    }
    let whole = Plan {
        groups: Some(plan),
        ..Plan::default()
    };
    assert_eq!(whole.held(), 3);
    assert!(!whole.has_pending());
}

#[test]
fn names_that_are_exchanged_are_other_members_for_the_same_groups() {
    let mut world = Groups::new();
    world.find("one", "y", &["a"]);
    world.find("two", "x", &["b"]);
    world.keeps("x", &["one"], &["a"]);
    world.keeps("y", &["two"], &["b"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["update x +b -a", "update y +a -b"]);
    world.apply(&plan);
    assert_eq!(brief(&world.plan()), [""; 0]);
}

#[test]
fn another_case_is_no_other_name() {
    let mut world = Groups::new();
    world.find("dev", "DEV", &["a"]);
    world.keeps("Dev", &["dev"], &["a"]);
    assert_eq!(brief(&world.plan()), [""; 0]);
}

#[test]
fn several_groups_may_lead_to_one() {
    let mut world = Groups::new();
    world.rules.push(rule("ou=more"));
    world.read.push(world.read[0].clone());
    world.find("one", "all", &["a", "b"]);
    world.find_by(1, "two", "All", &["b", "c"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["create all +a +b +c"]);
    assert_eq!(
        notices(&plan),
        [r#"all Joined(["cn=one,ou=groups", "cn=two,ou=groups"])"#]
    );
    world.apply(&plan);
    assert_eq!(brief(&world.plan()), [""; 0]);
    // One of them goes.
    world.read[1].found.clear();
    world.find_by(1, "three", "other", &[]);
    assert_eq!(
        brief(&world.plan()),
        ["create other", "update all -c"]
            .map(String::from)
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    // Unless it is not known whether it has.
    world.read[1].clean = Err("cut off".to_owned());
    assert_eq!(brief(&world.plan()), ["create other"]);
    // Or it is refused, as two of them have its key.
    world.read[1].clean = Ok(());
    world.find_by(1, "two", "one", &["d"]);
    world.find_by(1, "two", "other", &["d"]).origin.dn = "cn=copy,ou=groups".to_owned();
    assert_eq!(brief(&world.plan()), ["create other"]);
}

#[test]
fn a_key_is_that_of_one_group_only() {
    let mut world = Groups::new();
    world.find("one", "all", &["a"]);
    world.find("two", "all", &["b"]);
    world.find("three", "some", &["c"]);
    world.keeps("some", &["one"], &["a"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["create all +a +b", "update some +c -a"]);
    let keys = plan.operations.iter().map(|one| &one.operation.key);
    assert_eq!(keys.collect::<Vec<_>>(), [&key("two"), &key("three")]);
}

#[test]
fn a_rule_that_is_taken_away_takes_nobody_out_of_a_group_that_others_lead_to() {
    let mut world = Groups::new();
    world.rules.push(rule("ou=more"));
    world.read.push(world.read[0].clone());
    world.find("one", "all", &["a"]);
    world.find_by(1, "two", "all", &["b"]);
    let plan = world.plan();
    world.apply(&plan);
    let plan = world.plan();
    world.apply(&plan);
    world.rules.pop();
    world.read.pop();
    for _ in 0..2 {
        let plan = world.plan();
        assert_eq!(brief(&plan), [""; 0]);
        let told = notices(&plan).concat();
        assert!(told.contains("came from `cn=two,ou=groups`"), "{told}");
        world.apply(&plan);
        assert_eq!(world.known.managed[0].origins.len(), 2);
    }
    world.accepts_scope_change = true;
    let plan = world.plan();
    assert_eq!(brief(&plan), ["update all -b"]);
    world.apply(&plan);
    world.accepts_scope_change = false;
    let plan = world.plan();
    assert_eq!(notices(&plan), [""; 0]);
    assert_eq!(world.known.managed[0].origins.len(), 1);
}

#[test]
fn a_group_is_the_first_rule_s_that_matches_it() {
    let mut world = Groups::new();
    world.rules.push(rule("ou=more"));
    world.read.push(world.read[0].clone());
    world.find("one", "one", &["a"]);
    world.find_by(1, "one", "everybody", &["a"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["create one +a"]);
    assert!(plan.refusals.is_empty());
}

#[test]
fn groups_with_one_key_are_refused_alone_and_keep_what_they_have() {
    let mut world = Groups::new();
    world.find("dev", "dev", &["a"]);
    world.find("dev", "dev2", &["b"]).origin.dn = "cn=copy,ou=groups".to_owned();
    world.find("ops", "ops", &["c"]);
    world.keeps("dev", &["dev"], &["a", "d"]);
    world.rules[0].on_leave = GroupDeparture::Delete;
    let plan = world.plan();
    assert_eq!(brief(&plan), ["create ops +c"]);
    let refused: Vec<&str> = plan.refusals.iter().map(|one| one.dn.as_str()).collect();
    assert_eq!(refused, ["cn=copy,ou=groups", "cn=dev,ou=groups"]);
    // Each names the other one.
    for (refusal, other) in plan.refusals.iter().zip(["cn=dev", "cn=copy"]) {
        let other = format!("the same key key-dev: {other},ou=groups;");
        assert!(refusal.why.contains(&other), "{}", refusal.why);
    }
    assert!(plan.needs_attention());
}

#[test]
fn an_entry_that_is_refused_is_not_gone() {
    for (id, dn) in [
        (Some("dev"), "cn=other"),
        (None, "CN=dev, ou=groups"),
        // Made anew in the same place.
        (Some("anew"), "CN=dev, ou=groups"),
        // It may be any.
        (None, "cn=other"),
    ] {
        let mut world = Groups::new();
        world.rules[0].on_leave = GroupDeparture::Delete;
        world.find("ops", "ops", &["c"]);
        world.keeps("ops", &["ops"], &["c"]);
        world.keeps("dev", &["dev"], &["a"]);
        world.read[0].unmapped.push(UnmappedGroup {
            dn: dn.to_owned(),
            key: id.map(key),
            why: GroupFault::NoName("cn".to_owned()),
        });
        let plan = world.plan();
        assert_eq!(brief(&plan), [""; 0], "{id:?} {dn}");
        assert_eq!(plan.refusals.len(), 1);
    }
}

#[test]
fn what_becomes_of_a_group_that_is_gone_is_configured() {
    for (on_leave, expected, told) in [
        (
            GroupDeparture::Keep,
            &[""; 0][..],
            &[r#"dev Kept("no longer in the directory (`on_leave = \"keep\"`)")"#][..],
        ),
        (GroupDeparture::Empty, &["update dev -a -b"], &[]),
        (GroupDeparture::Delete, &["delete dev"], &[]),
    ] {
        let mut world = Groups::new();
        world.rules[0].on_leave = on_leave;
        world.find("ops", "ops", &["c"]);
        world.keeps("ops", &["ops"], &["c"]);
        world.keeps("dev", &["dev"], &["a", "b", "d", "!guest"]);
        world.unseen.insert(key("d"));
        let plan = world.plan();
        assert_eq!(brief(&plan), expected);
        assert_eq!(notices(&plan), told);
        world.apply(&plan);
        assert_eq!(brief(&world.plan()), [""; 0]);
    }
}

#[test]
fn a_rule_that_is_edited_deletes_nothing() {
    let mut world = Groups::new();
    world.find("ops", "ops", &["c"]);
    world.keeps("ops", &["ops"], &["c"]);
    world.keeps("dev", &["dev"], &["a"]);
    world.rules[0].on_leave = GroupDeparture::Delete;
    assert_eq!(brief(&world.plan()), ["delete dev"]);
    world.rules[0].search.filter_text = "(cn=ops)".to_owned();
    let plan = world.plan();
    assert_eq!(brief(&plan), [""; 0]);
    let told = notices(&plan).concat();
    assert!(
        told.contains("`cn=dev,ou=groups` is not searched for"),
        "{told}"
    );
}

#[test]
fn a_rule_whose_name_is_edited_renames_nothing() {
    let mut world = Groups::new();
    world.keeps("dev", &["dev"], &["a", "b", "!guest"]);
    world.keeps("ops", &["ops"], &["c"]);
    world.rules[0].name = "team-$0".to_owned();
    world.find("dev", "team-dev", &["a", "c"]);
    // The name of another one.
    world.find("ops", "dev", &["d"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["update dev +c -b", "update ops +d -c"]);
    let told = notices(&plan).concat();
    assert!(told.contains("its name would be `team-dev`"), "{told}");
    // Not in the next run either.
    world.apply(&plan);
    let plan = world.plan();
    assert_eq!(brief(&plan), [""; 0]);
    assert!(plan.notes.iter().all(|row| {
        row.origins
            .iter()
            .all(|one| one.rule != world.rules[0].fingerprint())
    }));
    // What changes in the directory meanwhile is no reason either.
    world.read[0].found[0].name = "team-developers".to_owned();
    assert_eq!(brief(&world.plan()), [""; 0]);
    world.read[0].found[1].name = "team-ops".to_owned();
    world.accepts_scope_change = true;
    let plan = world.plan();
    assert_eq!(plan.count(GroupChange::Rename), 2, "{:?}", brief(&plan));
    world.accepts_scope_change = false;
    world.apply(&plan);
    // Once it is renamed, it follows the directory.
    world.read[0].found[0].name = "team-engineers".to_owned();
    assert_eq!(world.plan().count(GroupChange::Rename), 1);
}

#[test]
fn what_was_not_read_to_the_end_takes_nothing_away() {
    type Break = fn(&mut Groups);
    let breaks: [(&str, Break); 3] = [
        ("a search that was cut off", |world| {
            world.read[0].clean = Err("size limit".to_owned());
        }),
        ("a member that may be a group", |world| {
            for group in &mut world.read[0].found {
                group.doubts.push("hidden".to_owned());
            }
        }),
        ("nothing, where there was something", |world| {
            world.read[0].found.clear();
        }),
    ];
    for (what, spoil) in breaks {
        let mut world = Groups::new();
        world.rules[0].on_leave = GroupDeparture::Delete;
        world.find("dev", "dev", &["a", "c"]);
        world.find("two", "renamed", &["a"]);
        world.keeps("dev", &["dev"], &["a", "b"]);
        world.keeps("two", &["two"], &["d"]);
        assert_eq!(
            brief(&world.plan()),
            ["update dev +c -b", "rename renamed +a -d"]
        );
        spoil(&mut world);
        let plan = world.plan();
        let expected: &[&str] = match world.read[0].found.len() {
            0 => &[],
            _ => &["update dev +c", "update two +a"],
        };
        assert_eq!(brief(&plan), expected, "{what}");
        assert!(
            !plan.suspensions.is_empty() && plan.needs_attention(),
            "{what}"
        );
    }
}

#[test]
fn a_rule_that_has_never_found_a_group_is_no_fault() {
    let plan = Groups::new().plan();
    assert_eq!(plan.suspensions, []);
    assert!(!plan.needs_attention());
}

#[test]
fn a_group_that_shows_no_member_any_more_is_taken_for_a_fault() {
    for (here, dangling, expected, suspensions) in [
        (&["a", "b"][..], false, &[""; 0][..], 1),
        // Somebody is named.
        (&["a", "b"], true, &["update dev -a -b"], 0),
        // There is nobody to take out.
        (&["!guest"], false, &[], 0),
        (&[], false, &[], 0),
    ] {
        let mut world = Groups::new();
        let found = world.find("dev", "dev", &[]);
        if dangling {
            found.dangling.insert(MemberKey::uid("nobody"));
        }
        world.keeps("dev", &["dev"], here);
        let plan = world.plan();
        assert_eq!(brief(&plan), expected, "{here:?}");
        assert_eq!(plan.suspensions.len(), suspensions, "{here:?}");
        for suspension in &plan.suspensions {
            assert!(suspension.why.contains("where there are 2"));
        }
    }
}

#[test]
fn a_group_in_the_group_that_is_not_seen_any_more_may_be_hidden() {
    let inner = MemberKey::dn("cn=inner,ou=groups");
    let mut world = Groups::new();
    world.find("dev", "dev", &["a", "b"]).nested.insert(inner);
    world.keeps("dev", &["dev"], &["a", "b"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), [""; 0]);
    world.apply(&plan);
    assert_eq!(world.known.managed[0].nested, BTreeSet::from([inner]));
    for (dangling, expected, suspensions) in [
        (Some(inner), &["update dev +c"][..], 1),
        // As the next run still remembers it.
        (Some(inner), &[""; 0], 1),
        (Some(MemberKey::dn(&dn("gone"))), &["update dev -b"], 0),
        (None, &[""; 0], 0),
    ] {
        world.read[0].found.clear();
        let found = world.find("dev", "dev", &["a", "c"]);
        found.dangling.extend(dangling);
        let plan = world.plan();
        assert_eq!(brief(&plan), expected, "{dangling:?}");
        assert_eq!(plan.suspensions.len(), suspensions);
        world.apply(&plan);
    }
}

#[test]
fn a_group_that_the_organization_has_is_taken_over_as_configured() {
    use GroupAdoption::{ByKey, ByName, Never};
    for (adopt, external_id, expected) in [
        (Never, None, "refused"),
        (Never, Some("dev"), "refused"),
        (ByKey, None, "refused"),
        (ByKey, Some("another"), "refused"),
        (ByKey, Some("dev"), "adopt dev +b -c"),
        (ByName, Some("dev"), "adopt dev +b -c"),
        (ByName, None, "adopt dev +b -c"),
    ] {
        let mut world = Groups::new();
        world.rules[0].adopt = adopt;
        world.find("dev", "dev", &["a", "b"]);
        world.exists("dev", external_id, &["a", "c", "!guest"]);
        let plan = world.plan();
        let found = match plan.refusals.as_slice() {
            [refusal] => {
                assert!(refusal.why.contains("`adopt = true`"), "{}", refusal.why);
                vec!["refused".to_owned()]
            }
            _ => brief(&plan),
        };
        assert_eq!(found, [expected], "{adopt:?} {external_id:?}");
        world.apply(&plan);
        assert_eq!(brief(&world.plan()), [""; 0]);
    }
    // By its key also under another name, unless nothing is taken over; not when two have it.
    let mut world = Groups::new();
    world.find("dev", "dev", &["a"]);
    world.exists("former", Some("dev"), &["a"]);
    world.rules[0].adopt = Never;
    assert_eq!(brief(&world.plan()), ["create dev +a"]);
    world.rules[0].adopt = ByKey;
    assert_eq!(brief(&world.plan()), ["rename dev +a"]);
    world.exists("copy", Some("dev"), &["a"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), [""; 0]);
    assert!(
        plan.refusals[0].why.contains("`copy`, `former`"),
        "{:?}",
        plan.refusals
    );
}

#[test]
fn a_group_of_administrators_keeps_an_active_member() {
    let member = |name: &str, is_by_account: bool, is_active| GuardedMember {
        scim_id: (!is_by_account).then(|| user(name)),
        account_id: is_by_account.then(|| AccountId::new(name)),
        is_active,
    };
    let mut guards = crate::plan::fixture::no_guards();
    guards.administrators = vec!["Admins".to_owned()];
    let accounts: HashMap<ExternalId, ManagedAccount> = ["a", "b"]
        .map(|name| {
            let account = ManagedAccount {
                account_id: Some(AccountId::new(name)),
                ..crate::plan::fixture::account(name)
            };
            (key(name), account)
        })
        .into_iter()
        .collect();
    // The name, the members by the directory, who is active in it, who departs; whether it loses all.
    for (name, members, active, departing, loses) in [
        ("admins", Some(&["a"][..]), &["a", "b"][..], None, false),
        ("admins", Some(&["stranger"]), &["a", "b"], None, true),
        ("admins", Some(&["a"]), &["b"], None, true),
        ("admins", Some(&["a"]), &["a", "b"], Some("a"), true),
        ("admins", Some(&["a"]), &[], None, false),
        ("others", Some(&["stranger"]), &["a", "b"], None, false),
        ("admins", None, &["a", "b"], None, true),
    ] {
        for is_by_account in [false, true] {
            let mut world = Groups::new();
            world.rules[0].on_leave = GroupDeparture::Delete;
            world.keeps(name, &["dev"], &["a", "b"]);
            world.find("two", "two", &[]);
            if let Some(members) = members {
                world.find("dev", name, members);
            }
            let guarded = GuardedGroups {
                groups: vec![GuardedGroup {
                    name: name.to_owned(),
                    members: ["a", "b"]
                        .map(|one| member(one, is_by_account, active.contains(&one)))
                        .into(),
                }],
                missing: Vec::new(),
            };
            let departing = departing.map(|name| Target {
                scim_id: user(name),
                account_id: Some(AccountId::new(name)),
            });
            let departures: Vec<&Target> = departing.iter().collect();
            let plan = world.plan();
            let operations = plan.operations.iter().map(|planned| &planned.operation);
            let operations: Vec<&GroupOperation> = operations.collect();
            let found = operations.iter().any(|operation| {
                guarded.loses_all(operation, &operations, &departures, &accounts, &guards)
            });
            assert_eq!(found, loses, "{name} {members:?} {active:?} {departing:?}");
        }
    }
    // So with several operations on it, each of which leaves somebody.
    let mut world = Groups::new();
    world.keeps("admins", &["dev"], &["a", "b"]);
    world.find("dev", "admins", &["c"]);
    world.known.undone = vec![UndoneGroup {
        id: 1,
        key: key("dev"),
        effect: GroupEffect::Leaves(key("b").as_str().to_owned()),
        by: RunId(6),
    }];
    let guarded = GuardedGroups {
        groups: vec![GuardedGroup {
            name: "admins".to_owned(),
            members: vec![member("a", false, true), member("b", false, true)],
        }],
        missing: Vec::new(),
    };
    let parts = divided(&world, world.plan());
    let parts: Vec<&GroupOperation> = parts.operations().collect();
    let loses = |one: &&GroupOperation, others: &[&GroupOperation]| {
        guarded.loses_all(one, others, &[], &accounts, &guards)
    };
    let told: Vec<(bool, bool)> = parts
        .iter()
        .map(|one| (loses(one, &[one]), loses(one, &parts)))
        .collect();
    assert_eq!(told, [(false, false), (false, true), (false, true)]);
    // A renamed one is another, and its rights do not go along.
    let mut world = Groups::new();
    world.keeps("admins", &["dev"], &["a", "b"]);
    world.find("dev", "anew", &["a", "b"]);
    let guarded = GuardedGroups {
        groups: vec![GuardedGroup {
            name: "admins".to_owned(),
            members: vec![member("a", false, true)],
        }],
        missing: Vec::new(),
    };
    let operation = &world.plan().operations[0].operation;
    assert_eq!(operation.kind, GroupChange::Rename);
    assert!(guarded.loses_all(operation, &[operation], &[], &accounts, &guards));
    // It is held together with departures.
    let mut plan = Plan {
        holds: vec![Hold {
            name: "administrators".to_owned(),
            cause: HoldCause::Administrators {
                groups: vec!["root".to_owned()],
                missing: Vec::new(),
            },
            planned: 1,
            opened: None,
        }],
        ..Plan::default()
    };
    let change = crate::plan::GroupChange {
        name: "admins",
        members: 2,
        removed: 0,
        loses_administrators: true,
        reverted_by: Vec::new(),
        is_rekeyed: false,
        digest: operation.digest(),
        left_out: None,
    };
    let held = plan.hold_groups(&[change], 2, &guards, &[], chrono::DateTime::UNIX_EPOCH);
    assert_eq!(held, [vec![0]]);
    let told = plan.holds[0].to_string();
    assert!(
        told.contains("`admins`, `root`") && plan.holds[0].planned == 2,
        "{told}"
    );
}

#[test]
fn a_group_that_somebody_deleted_is_made_anew() {
    let mut world = Groups::new();
    world.find("dev", "dev", &["a"]);
    world.keeps("dev", &["dev"], &["a"]);
    world.keeps("gone", &["gone"], &["b"]);
    world.known.existing.clear();
    let plan = world.plan();
    assert_eq!(brief(&plan), ["create dev +a"]);
    assert_eq!(
        plan.operations[0].operation.reason.to_string(),
        "no longer in the organization"
    );
    assert_eq!(plan.forgotten.len(), 2);
    world.apply(&plan);
    assert_eq!(brief(&world.plan()), [""; 0]);
}

#[test]
fn a_group_has_as_many_members_as_the_organization_takes_and_not_one_more() {
    for (count, is_refused) in [(MEMBERS_A_GROUP, false), (MEMBERS_A_GROUP + 1, true)] {
        let mut world = Groups::new();
        // With one who is nobody's account.
        let names = crowd(&mut world, count - 1);
        let members: Vec<&str> = names.iter().map(String::as_str).collect();
        world.keeps("big", &["big"], &[members[0], members[1], "!guest"]);
        world.find("big", "big", &members);
        world.find("small", "small", &members[..1]);
        let plan = world.plan();
        assert_eq!(plan.operations.len(), if is_refused { 1 } else { 2 });
        assert_eq!(plan.refusals.len(), usize::from(is_refused));
        if let Some(refusal) = plan.refusals.first() {
            assert!(
                refusal.why.contains("would have 20001 members"),
                "{}",
                refusal.why
            );
        }
    }
}

#[test]
fn whom_a_group_that_goes_brings_along_has_to_find_room() {
    for (brought, is_refused) in [(&["a"][..], false), (&["a", "b"], true)] {
        let mut world = Groups::new();
        let names = crowd(&mut world, MEMBERS_A_GROUP - 1);
        let members: Vec<&str> = names.iter().map(String::as_str).collect();
        world.unseen = HashSet::from([key("a"), key("b")]);
        world.find("dev", "engineers", &members);
        world.keeps("engineers", &["dev"], &members);
        world.keeps("developers", &["dev"], brought);
        let plan = world.plan();
        let refused: Vec<&str> = plan.refusals.iter().map(|one| one.why.as_str()).collect();
        if is_refused {
            assert_eq!(brief(&plan), [""; 0]);
            assert!(refused[0].contains("`engineers` would have 20001 members"));
        } else {
            assert_eq!(brief(&plan), ["update engineers +a"]);
            assert_eq!(refused, [""; 0]);
        }
    }
}

/// So many people with accounts.
fn crowd(world: &mut Groups, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|n| format!("p{n}")).collect();
    let people = names.iter().map(|name| (key(name), account(name)));
    world.known.people.extend(people);
    names
}

/// A group of the directory: name, members, whether it has a doubt.
pub(super) type Generated = (usize, BTreeSet<usize>, bool);

/// People 0 to 7: the first six have accounts, the sixth is not seen, the fifth has departed.
fn name(n: usize) -> String {
    format!("p{n}")
}

pub(super) fn generated(
    directory: &[Generated],
    ours: &[(usize, BTreeSet<usize>, usize)],
    others: &BTreeSet<usize>,
    on_leave: GroupDeparture,
) -> Groups {
    let mut world = Groups::new();
    world.rules[0].on_leave = on_leave;
    world.known.people = (0..6).map(|n| (key(&name(n)), account(&name(n)))).collect();
    world.known.people.get_mut(&key("p4")).unwrap().has_departed = true;
    world.unseen.insert(key("p5"));
    for (n, (group, members, has_doubt)) in directory.iter().enumerate() {
        let members: Vec<String> = members.iter().map(|n| name(*n)).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let found = world.find(&format!("g{n}"), &format!("name {group}"), &members);
        if *has_doubt {
            found.doubts.push("a doubt".to_owned());
        }
    }
    let mut taken = HashSet::new();
    for (group, members, id) in ours {
        if taken.insert(*group) {
            // Member 6 and 7 are nobody's account.
            let members: Vec<String> = members
                .iter()
                .map(|n| if *n < 6 { name(*n) } else { format!("!{n}") })
                .collect();
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            world.keeps(&format!("name {group}"), &[&format!("g{id}")], &members);
        }
    }
    for group in others {
        if taken.insert(*group) {
            world.exists(&format!("name {group}"), None, &["p0", "!7"]);
        }
    }
    world
}

pub(super) fn departures() -> impl Strategy<Value = GroupDeparture> {
    prop_oneof![
        Just(GroupDeparture::Keep),
        Just(GroupDeparture::Empty),
        Just(GroupDeparture::Delete)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn applying_the_plan_reaches_the_directory_and_the_next_plan_is_empty(
        directory in vec((0..5_usize, btree_set(0..8_usize, 1..8), Just(false)), 1..6),
        ours in vec((0..8_usize, btree_set(0..8_usize, 0..8), 0..7_usize), 0..6),
        others in btree_set(0..8_usize, 0..4),
        on_leave in departures(),
    ) {
        let mut world = generated(&directory, &ours, &others, on_leave);
        let before = world.clone();
        let plan = world.plan();
        world.apply(&plan);
        let refused: HashSet<String> = plan.refusals.iter().map(|one| one.dn.clone()).collect();
        let mut wanted: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        let mut is_refused = HashSet::new();
        for (n, (group, members, _)) in directory.iter().enumerate() {
            let name = format!("name {group}");
            if refused.iter().any(|dns| dns.split(" and ").any(|dn| dn == format!("cn=g{n},ou=groups"))) {
                is_refused.insert(name.clone());
            }
            wanted.entry(name).or_default().extend(members);
        }
        for (group, members) in &wanted {
            if is_refused.contains(group) {
                continue;
            }
            let found = world.members(group);
            // Whoever is shown is in it if and only if the directory says so.
            for n in 0..4 {
                prop_assert_eq!(found.contains(&name(n)), members.contains(&n), "{} in {}", n, group);
            }
            // Whoever is not shown, and whoever is nobody's account, is as before.
            if let Some(there) = before.known.existing.iter().find(|there| there.name == *group) {
                for id in there.members.iter().map(|id| id.as_str().replace("scim-", "")) {
                    let is_free = ["p0", "p1", "p2", "p3"].contains(&id.as_str());
                    prop_assert!(is_free || found.contains(&id), "{} in {}", id, group);
                }
            }
        }
        // What is not ours is as it was.
        let ours: HashSet<&ScimId> = before.known.managed.iter().map(|group| &group.scim_id).collect();
        for there in before.known.existing.iter().filter(|there| !ours.contains(&there.scim_id)) {
            prop_assert!(world.known.existing.contains(there));
        }
        // Whose members are all in another group by now goes.
        let next = world.plan();
        for PlannedGroup { operation, .. } in &next.operations {
            let is_merged = matches!(operation.reason, GroupReason::Merged { .. });
            prop_assert!(is_merged, "{:?}", operation);
        }
        world.apply(&next);
        let next = world.plan();
        prop_assert_eq!(brief(&next), Vec::<String>::new());
        world.apply(&next);
        prop_assert!(world.plan().notes.is_empty());
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(
        directory in vec((0..5_usize, btree_set(0..8_usize, 0..8), any::<bool>()), 1..6),
        ours in vec((0..8_usize, btree_set(0..8_usize, 0..8), 0..7_usize), 0..6),
        on_leave in departures(),
        swaps in vec((any::<Index>(), any::<Index>()), 0..8),
    ) {
        let world = generated(&directory, &ours, &BTreeSet::new(), on_leave);
        let mut other = world.clone();
        for (a, b) in &swaps {
            let found = &mut other.read[0].found;
            let length = found.len();
            found.swap(a.index(length), b.index(length));
            if !other.known.managed.is_empty() {
                let length = other.known.managed.len();
                other.known.managed.swap(a.index(length), b.index(length));
                other.known.existing.swap(a.index(length), b.index(length));
            }
            for there in other.known.existing.iter_mut().filter(|one| !one.members.is_empty()) {
                let length = there.members.len();
                there.members.swap(a.index(length), b.index(length));
            }
        }
        let (one, two) = (world.plan(), other.plan());
        prop_assert_eq!(format!("{:?}", one.operations), format!("{:?}", two.operations));
        prop_assert_eq!(notices(&one), notices(&two));
        prop_assert_eq!(one.refusals, two.refusals);
        prop_assert_eq!(one.suspensions, two.suspensions);
        prop_assert_eq!(one.notes, two.notes);
    }

    #[test]
    fn what_was_not_read_completely_plans_no_removal(
        directory in vec((0..5_usize, btree_set(0..8_usize, 0..8), any::<bool>()), 0..6),
        ours in vec((0..8_usize, btree_set(0..8_usize, 0..8), 0..7_usize), 0..6),
        others in btree_set(0..8_usize, 0..4),
        on_leave in departures(),
    ) {
        let mut world = generated(&directory, &ours, &others, on_leave);
        world.read[0].clean = Err("cut off".to_owned());
        let plan = world.plan();
        for planned in &plan.operations {
            prop_assert!(!planned.operation.takes_away(), "{:?}", planned.operation);
        }
        prop_assert!(plan.needs_attention());
    }

    #[test]
    fn a_doubt_about_a_group_takes_nobody_out_of_it(
        directory in vec((0..5_usize, btree_set(0..8_usize, 0..8), any::<bool>()), 1..6),
        ours in vec((0..8_usize, btree_set(0..8_usize, 0..8), 0..7_usize), 0..6),
        on_leave in departures(),
    ) {
        let world = generated(&directory, &ours, &BTreeSet::new(), on_leave);
        let doubtful: HashSet<String> = directory
            .iter()
            .filter(|(_, _, has_doubt)| *has_doubt)
            .map(|(group, _, _)| format!("name {group}"))
            .collect();
        let keys: HashSet<ExternalId> = directory
            .iter()
            .enumerate()
            .filter(|(_, (group, _, _))| doubtful.contains(&format!("name {group}")))
            .map(|(n, _)| key(&format!("g{n}")))
            .collect();
        for PlannedGroup { operation, .. } in world.plan().operations {
            let is_doubtful = operation.origins.iter().any(|origin| keys.contains(&origin.key));
            prop_assert!(!(is_doubtful && operation.takes_away()), "{:?}", operation);
        }
    }
}

#[test]
fn unseen_are_the_absent_the_unmapped_and_those_whose_key_is_repeated() {
    use super::super::fixture::{account, unmapped};
    let changed = |title: &str| {
        let mut person = person("r");
        person.profile.set(Attribute::Title, title);
        person
    };
    let people = vec![person("z"), changed("Boss"), changed("Chief")];
    let accounts = ["a", "r", "u", "z"].map(account).into();
    let mut world = World::new(people, accounts);
    world.unmapped = vec![unmapped("u", true), unmapped("v", false)];
    let unseen = super::super::groups::unseen(&world.desired());
    assert_eq!(unseen, ["a", "r", "u"].map(key).into());
}
