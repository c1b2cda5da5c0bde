//! Groups of a saved plan that are made again: what of them is carried out, and what is told instead.

use std::collections::{BTreeSet, HashSet};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use super::groups::{Groups, account as person_of, brief, departures, generated, user};
use crate::config::GroupDeparture;
use crate::model::{
    ExistingGroup, GroupChange, GroupMember, Kind, Lifecycle, ManagedGroup, RunId, ScimId,
};
use crate::plan::Plan;
use crate::plan::fixture::{World, account, in_state, key, person};
use crate::plan::groups::{ExpectedGroup, GroupPlan, GroupRow, KnownGroups, resume};

/// The rows of the plan as it is saved.
fn rows(world: &Groups) -> Vec<GroupRow> {
    let plan = world.plan();
    let operations = plan.operations.iter().map(|one| &one.operation);
    let expected = ExpectedGroup::of(operations.clone(), &world.known, &world.planned);
    let rows = operations
        .zip(expected)
        .map(|(operation, expects)| GroupRow {
            operation: operation.clone(),
            held: None,
            expects,
        });
    rows.collect()
}

/// The plan again, and what it tells.
fn again(world: &Groups, rows: Vec<GroupRow>) -> (Plan, Vec<String>) {
    noted_again(world, GroupPlan::default(), rows)
}

/// The same of a plan with these notes.
fn noted_again(world: &Groups, notes: GroupPlan, rows: Vec<GroupRow>) -> (Plan, Vec<String>) {
    let mut plan = Plan {
        operations: world.planned.clone(),
        ..Plan::default()
    };
    resume(&mut plan, notes, rows, &world.known, None);
    let told = plan.skipped.iter().map(|one| one.why.to_string()).collect();
    (plan, told)
}

fn groups(plan: &Plan) -> &GroupPlan {
    plan.groups.as_ref().unwrap()
}

/// One of each kind.
fn one_of_each() -> Groups {
    let mut world = Groups::new();
    world.rules[0].on_leave = GroupDeparture::Delete;
    world.find("dev", "dev", &["a", "c"]);
    world.keeps("dev", &["dev"], &["a", "b"]);
    world.find("new", "new", &["a"]);
    world.find("ops", "operations", &["a", "b", "d"]);
    world.keeps("ops", &["ops"], &["a", "b"]);
    world.find("theirs", "theirs", &["c"]);
    world.exists("theirs", Some("theirs"), &["d"]);
    world.keeps("old", &["old"], &["a", "b"]);
    world
}

const EACH: [&str; 5] = [
    "update dev +c -b",
    "create new +a",
    "rename operations +a +b +d",
    "adopt theirs +c -d",
    "delete old",
];

fn group<'a>(known: &'a mut KnownGroups, name: &str) -> &'a mut ExistingGroup {
    let mut existing = known.existing.iter_mut();
    existing.find(|group| group.name == name).unwrap()
}

fn row<'a>(known: &'a mut KnownGroups, name: &str) -> &'a mut ManagedGroup {
    let mut managed = known.managed.iter_mut();
    managed.find(|group| group.name == name).unwrap()
}

#[test]
fn what_has_moved_on_is_skipped_and_named_and_the_rest_is_done() {
    type Change = fn(&mut KnownGroups);
    let without = |name: &str| -> Vec<&'static str> {
        let each = EACH.into_iter();
        each.filter(|one| one.split(' ').nth(1) != Some(name))
            .collect()
    };
    let cases: [(&str, &str, Change); 17] = [
        (
            "dev",
            "(group_update): no longer as the saved plan expects it: the organization has no group group-dev (`dev`) any more",
            |known| known.existing.retain(|group| group.name != "dev"),
        ),
        (
            "dev",
            "(group_update): no longer as the saved plan expects it: the organization's name: dev → developers",
            |known| "developers".clone_into(&mut group(known, "dev").name),
        ),
        (
            "dev",
            "(group_update): no longer as the saved plan expects it: the organization's externalId: key-dev → (none)",
            |known| group(known, "dev").external_id = None,
        ),
        (
            "dev",
            "(group_update): no longer as the saved plan expects it: the snapshot has no group group-dev (`dev`) any more",
            |known| known.managed.retain(|group| group.name != "dev"),
        ),
        ("dev", "the snapshot's key: key-dev → key-x", |known| {
            row(known, "dev").key = key("x")
        }),
        ("dev", "the snapshot's name: dev → x", |known| {
            "x".clone_into(&mut row(known, "dev").name)
        }),
        (
            "dev",
            "the snapshot's entries: cn=dev,ou=groups → ",
            |known| row(known, "dev").origins.clear(),
        ),
        (
            "dev",
            "the snapshot has it by another rule or key by now",
            |known| {
                let row = row(known, "dev");
                let mut origin = row.origins.pop_first().unwrap();
                origin.rule = "another".to_owned();
                row.origins.insert(origin);
            },
        ),
        (
            "new",
            "(group_create): no longer as the saved plan expects it: the organization has the group other (`NEW`) by now",
            |known| known.existing.push(other("NEW")),
        ),
        (
            "new",
            "(group_create): no longer as the saved plan expects it: the snapshot has the group group-x (`x`) by now",
            |known| known.managed.push(kept("x", "new")),
        ),
        (
            "operations",
            "(group_rename): no longer as the saved plan expects it: the organization has the group other (`Operations`) by now",
            |known| known.existing.push(other("Operations")),
        ),
        (
            "operations",
            "(group_rename): no longer as the saved plan expects it: the organization's group has other members by now",
            |known| group(known, "ops").members.push(user("c")),
        ),
        (
            "theirs",
            "(group_adopt): no longer as the saved plan expects it: the organization's externalId: key-theirs → key-x",
            |known| group(known, "theirs").external_id = Some(key("x")),
        ),
        (
            "theirs",
            "(group_adopt): no longer as the saved plan expects it: the snapshot has the group group-theirs (`theirs`) by now",
            |known| known.managed.push(kept("theirs", "theirs")),
        ),
        (
            "old",
            "(group_delete): no longer as the saved plan expects it: the organization's group has other members by now",
            |known| group(known, "old").members.push(user("c")),
        ),
        (
            "old",
            "(group_delete): no longer as the saved plan expects it: the organization's group has other members by now",
            |known| {
                // As many as before.
                let group = group(known, "old");
                group.members = vec![user("a"), user("c")];
            },
        ),
        (
            "old",
            "(group_delete): no longer as the saved plan expects it: the snapshot has no group group-old (`old`) any more",
            |known| known.managed.retain(|group| group.name != "old"),
        ),
    ];
    let before = one_of_each();
    let rows = rows(&before);
    let (plan, told) = again(&before, rows.clone());
    assert_eq!(brief(groups(&plan)), EACH);
    assert_eq!(told, [""; 0]);
    assert_eq!(groups(&plan).memberships, 6);
    for (name, words, change) in cases {
        let mut world = before.clone();
        change(&mut world.known);
        let (plan, told) = again(&world, rows.clone());
        assert_eq!(brief(groups(&plan)), without(name), "{words}");
        let [told] = &told[..] else {
            panic!("{words}: {told:?}")
        };
        assert!(told.contains(words), "{words}: {told}");
        assert!(plan.needs_attention());
    }
}

fn other(name: &str) -> ExistingGroup {
    ExistingGroup {
        scim_id: ScimId::new("other"),
        external_id: None,
        name: name.to_owned(),
        members: Vec::new(),
    }
}

fn kept(name: &str, id: &str) -> ManagedGroup {
    ManagedGroup {
        scim_id: ScimId::new(format!("group-{name}")),
        key: key(id),
        name: name.to_owned(),
        origins: BTreeSet::new(),
        members: BTreeSet::new(),
        nested: BTreeSet::new(),
    }
}

#[test]
fn members_who_are_there_or_gone_or_without_their_account_are_left_out_and_named() {
    type Change = fn(&mut KnownGroups);
    let cases: [(&str, &[&str], Change); 9] = [
        (
            "update dev -b",
            &["(group_update) for c: is in the group by now"],
            |known| group(known, "dev").members.push(user("c")),
        ),
        (
            "update dev +c",
            &["(group_update) for b: is not in the group any more"],
            |known| group(known, "dev").members = vec![user("a")],
        ),
        (
            "",
            &[
                "(group_update) for c: is in the group by now",
                "(group_update) for b: is not in the group any more",
            ],
            |known| group(known, "dev").members = vec![user("a"), user("c")],
        ),
        // Who else has come or gone is no matter.
        ("update dev +c -b", &[], |known| {
            group(known, "dev").members = vec![user("b"), user("d"), user("!guest")]
        }),
        (
            "update dev -b",
            &["(group_update) for c: has not this account any more"],
            |known| drop(known.people.remove(&key("c"))),
        ),
        (
            "update dev -b",
            &["(group_update) for c: has not this account any more"],
            |known| known.people.get_mut(&key("c")).unwrap().scim_id = user("x"),
        ),
        (
            "update dev -b",
            &["(group_update) for c: has not this account any more"],
            |known| {
                let since = chrono::DateTime::UNIX_EPOCH;
                known.people.get_mut(&key("c")).unwrap().lifecycle =
                    Lifecycle::DeletePending { since };
            },
        ),
        // Whose account is somebody else's by now is another member.
        (
            "update dev +c",
            &["(group_update) for b: has not this account any more"],
            |known| {
                known.people.remove(&key("b"));
                let heir = person_of("b");
                known.people.insert(key("heir"), heir);
            },
        ),
        ("update dev +c -b", &[], |known| {
            let since = chrono::DateTime::UNIX_EPOCH;
            known.people.get_mut(&key("c")).unwrap().lifecycle = Lifecycle::Deactivated { since };
        }),
    ];
    let mut before = Groups::new();
    before.find("dev", "dev", &["a", "c"]);
    before.keeps("dev", &["dev"], &["a", "b"]);
    let rows = rows(&before);
    for (expected, words, change) in cases {
        let mut world = before.clone();
        change(&mut world.known);
        let (plan, told) = again(&world, rows.clone());
        assert_eq!(brief(groups(&plan)).join(""), expected, "{words:?}");
        let expected: Vec<String> = words.iter().map(|one| format!("not done {one}")).collect();
        assert_eq!(told, expected);
        assert_eq!(plan.needs_attention(), !words.is_empty());
        for planned in &groups(&plan).operations {
            let there = group(&mut world.known, "dev").members.len() as u64;
            assert_eq!(planned.operation.removals().1, there);
        }
    }
}

#[test]
fn who_is_nobody_s_account_leaves_unless_it_is_somebody_s_by_now() {
    let mut world = Groups::new();
    world.rules[0].exact = true;
    world.find("dev", "dev", &["a"]);
    world.keeps("dev", &["dev"], &["a", "!guest"]);
    let rows = rows(&world);
    let (plan, _) = again(&world, rows.clone());
    assert_eq!(brief(groups(&plan)), ["update dev -SCIM user scim-!guest"]);
    let guest = person_of("!guest");
    world.known.people.insert(key("guest"), guest);
    let (plan, told) = again(&world, rows);
    assert_eq!(brief(groups(&plan)), [""; 0]);
    assert_eq!(
        told,
        [
            "not done (group_update) for SCIM user scim-!guest: is somebody's account by now that dirsyncd keeps"
        ]
    );
}

/// New is to get an account and join.
fn newcomer() -> Groups {
    let mut world = Groups::new();
    world.planned = World::new(vec![person("new"), person("z")], vec![account("z")])
        .planned()
        .operations;
    world.find("dev", "dev", &["a", "new"]);
    world.keeps("dev", &["dev"], &["b"]);
    world
}

#[test]
fn whose_account_is_not_made_by_the_same_plan_does_not_join() {
    let world = newcomer();
    let rows = rows(&world);
    assert_eq!(rows[0].expects.accounts, BTreeSet::from([key("new")]));
    let (plan, told) = again(&world, rows.clone());
    assert_eq!(brief(groups(&plan)), ["update dev +a +new -b"]);
    assert_eq!(told, [""; 0]);
    type Change = fn(&mut Groups);
    let cases: [Change; 3] = [
        // Skipped, or taken out of the file.
        |world| world.planned.clear(),
        |world| world.planned[0].holds.push(0),
        // Somebody else has made it.
        |world| {
            world.planned.clear();
            let made = person_of("new");
            world.known.people.insert(key("new"), made);
        },
    ];
    for change in cases {
        let mut world = world.clone();
        change(&mut world);
        let (plan, told) = again(&world, rows.clone());
        assert_eq!(brief(groups(&plan)), ["update dev +a -b"]);
        assert_eq!(
            told,
            ["not done (group_update) for new: the account is not made, taken over or put back"]
        );
    }
}

#[test]
fn whose_account_is_not_put_back_by_the_same_plan_does_not_join() {
    let mut world = Groups::new();
    let off = Lifecycle::Deactivated {
        since: chrono::DateTime::UNIX_EPOCH,
    };
    let left = in_state("c", off, Some("2026-01-10T00:00:00Z"));
    world.planned = World::new(vec![person("c")], vec![left])
        .planned()
        .operations;
    assert_eq!(world.planned[0].operation.kind, Kind::Restore);
    world.known.people.get_mut(&key("c")).unwrap().lifecycle = off;
    world.find("dev", "dev", &["a", "c"]);
    world.keeps("dev", &["dev"], &["a"]);
    let rows = rows(&world);
    let (plan, told) = again(&world, rows.clone());
    assert_eq!(brief(groups(&plan)), ["update dev +c"]);
    assert_eq!(told, [""; 0]);
    world.planned.clear();
    let (plan, told) = again(&world, rows);
    assert_eq!(brief(groups(&plan)), [""; 0]);
    assert_eq!(
        told,
        ["not done (group_update) for c: the account is not made, taken over or put back"]
    );
}

#[test]
fn a_renamed_group_takes_along_who_is_in_it_whatever_the_account() {
    let mut world = Groups::new();
    world.find("ops", "operations", &["a", "c"]);
    world.keeps("ops", &["ops"], &["a", "b", "!guest"]);
    world.known.people.get_mut(&key("b")).unwrap().has_departed = true;
    let rows = rows(&world);
    world.known.people.remove(&key("b"));
    world.known.people.remove(&key("c"));
    let (plan, told) = again(&world, rows);
    assert_eq!(
        brief(groups(&plan)),
        ["rename operations +SCIM user scim-!guest +a +b"]
    );
    assert_eq!(
        told,
        ["not done (group_rename) for c: has not this account any more"]
    );
}

/// The members of `old` are in `dev` as well, which has both groups of the directory.
fn merged() -> Groups {
    let mut world = Groups::new();
    world.find("dev", "dev", &["a", "b"]);
    world.find("old", "dev", &["c"]);
    world.keeps("dev", &["dev", "old"], &["a", "b", "c", "!guest"]);
    world.keeps("old", &["old"], &["b", "c", "!guest"]);
    world
}

#[test]
fn a_group_whose_members_are_in_another_goes_only_if_they_still_are() {
    let mut world = merged();
    let rows = rows(&world);
    let (plan, _) = again(&world, rows.clone());
    assert_eq!(brief(groups(&plan)), ["delete old"]);
    for gone in ["b", "!guest"] {
        let mut world = world.clone();
        let members = &mut group(&mut world.known, "dev").members;
        members.retain(|id| *id != user(gone));
        let (plan, told) = again(&world, rows.clone());
        assert_eq!(brief(groups(&plan)), [""; 0], "{gone}");
        assert_eq!(
            told,
            [
                "not done (group_delete): no longer as the saved plan expects it: of its members 1 are not in `dev` any more"
            ]
        );
    }
    world.known.existing.retain(|group| group.name != "dev");
    let (plan, told) = again(&world, rows);
    assert_eq!(brief(groups(&plan)), [""; 0]);
    assert!(
        told[0].contains("of its members 3 are not in `dev`"),
        "{told:?}"
    );
}

#[test]
fn of_two_groups_that_go_neither_keeps_the_members_of_the_other() {
    let mut world = merged();
    world.keeps("older", &["old"], &["b"]);
    let rows = rows(&world);
    let (plan, _) = again(&world, rows.clone());
    assert_eq!(brief(groups(&plan)), ["delete old", "delete older"]);
    let members = &mut group(&mut world.known, "dev").members;
    members.retain(|id| *id != user("b"));
    let (plan, told) = again(&world, rows);
    assert_eq!(brief(groups(&plan)), [""; 0]);
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_group_that_goes_into_one_that_has_moved_on_stays_with_it() {
    let mut world = merged();
    world.known.people.insert(key("e"), person_of("e"));
    world.find("more", "dev", &["e"]);
    let rows = rows(&world);
    let (plan, _) = again(&world, rows.clone());
    assert_eq!(brief(groups(&plan)), ["update dev +e", "delete old"]);
    row(&mut world.known, "dev").key = key("x");
    let (plan, told) = again(&world, rows);
    assert_eq!(brief(groups(&plan)), [""; 0]);
    assert!(
        told[1].contains("its members are in `dev`, which is not as the saved plan expects it"),
        "{told:?}"
    );
}

#[test]
fn what_was_held_stays_held_and_after_a_later_reading_nothing_is_done() {
    let world = one_of_each();
    let mut held = rows(&world);
    for at in [0, 4] {
        held[at].held = Some("too blue".to_owned());
    }
    let (plan, told) = again(&world, held.clone());
    let holds: Vec<&[usize]> = groups(&plan)
        .operations
        .iter()
        .map(|one| one.holds.as_slice())
        .collect();
    assert_eq!(holds, [&[0][..], &[], &[], &[], &[0]]);
    let [hold] = &plan.holds[..] else {
        panic!("{:?}", plan.holds)
    };
    assert_eq!(
        hold.to_string(),
        "operations that were held when the plan was saved: 2; they stay held, and a new plan looks at them anew (then: too blue)"
    );
    assert_eq!(told, [""; 0]);

    let mut plan = Plan::default();
    let newer = Some(RunId(7));
    resume(&mut plan, GroupPlan::default(), held, &world.known, newer);
    assert_eq!(brief(groups(&plan)), [""; 0]);
    assert_eq!(plan.skipped.len(), 5);
    for skipped in &plan.skipped {
        let told = skipped.why.to_string();
        assert!(told.contains("run 7 has read the sources since"), "{told}");
    }
}

type Changes = Vec<(Index, usize, bool)>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn groups_of_which_nothing_has_moved_on_are_the_same_again(
        directory in vec((0..5_usize, btree_set(0..8_usize, 0..8), any::<bool>()), 1..6),
        ours in vec((0..8_usize, btree_set(0..8_usize, 0..8), 0..7_usize), 0..6),
        others in btree_set(0..8_usize, 0..4),
        on_leave in departures(),
    ) {
        let world = generated(&directory, &ours, &others, on_leave);
        let before = world.plan();
        // The heir of a group may be known by a note alone.
        let notes = GroupPlan {
            notes: before.notes.clone(),
            ..GroupPlan::default()
        };
        let (plan, told) = noted_again(&world, notes, rows(&world));
        prop_assert_eq!(told, Vec::<String>::new());
        prop_assert_eq!(brief(groups(&plan)), brief(&before));
        prop_assert_eq!(groups(&plan).memberships, before.memberships);
    }

    #[test]
    fn whatever_has_changed_nobody_leaves_who_was_not_to_and_nothing_is_done_twice(
        directory in vec((0..5_usize, btree_set(0..8_usize, 1..8), Just(false)), 1..6),
        ours in vec((0..8_usize, btree_set(0..8_usize, 0..8), 0..7_usize), 0..6),
        others in btree_set(0..8_usize, 0..4),
        on_leave in departures(),
        changes in vec((any::<Index>(), 0..8_usize, any::<bool>()), 0..6),
        gone in vec(any::<Index>(), 0..2),
        taken in btree_set(0..5_usize, 0..2),
        taken_out in vec(any::<bool>(), 16),
    ) {
        let before = generated(&directory, &ours, &others, on_leave);
        let mut rows = rows(&before);
        let mut at = 0;
        rows.retain(|_| { at += 1; taken_out.get(at) != Some(&true) });
        let planned: Vec<_> = rows.iter().map(|row| row.operation.clone()).collect();
        let mut world = before.clone();
        let changes: Changes = changes;
        for (at, member, joins) in changes {
            let existing = &mut world.known.existing;
            if existing.is_empty() {
                continue;
            }
            let at = at.index(existing.len());
            let id = user(&format!("p{member}"));
            existing[at].members.retain(|other| *other != id);
            if joins {
                existing[at].members.push(id);
            }
        }
        for at in gone {
            let existing = &mut world.known.existing;
            if !existing.is_empty() {
                let at = at.index(existing.len());
                existing.remove(at);
            }
        }
        for n in taken {
            let name = format!("name {n}");
            if world.known.existing.iter().all(|group| group.name != name) {
                world.known.existing.push(ExistingGroup { scim_id: ScimId::new(format!("by-hand-{n}")), ..other(&name) });
            }
        }
        let there = world.known.existing.clone();
        let (plan, _) = again(&world, rows);
        // It asserts that who joins is not in it, who leaves is, and no name is taken.
        world.apply(groups(&plan));
        let was_to_leave = |group: &ScimId, member: &ScimId| {
            planned.iter().any(|operation| {
                let is_target = operation.target.as_ref().is_some_and(|target| target.scim_id == *group);
                let leaves = |one: &GroupMember| one.scim_id.as_ref() == Some(member);
                is_target && operation.remove.iter().any(leaves)
            })
        };
        for group in &there {
            match world.known.existing.iter().find(|now| now.scim_id == group.scim_id) {
                Some(now) => for member in group.members.iter().filter(|member| !now.members.contains(member)) {
                    prop_assert!(was_to_leave(&group.scim_id, member), "{} {}", group.name, member);
                },
                None => {
                    let old = before.known.existing.iter().find(|old| old.scim_id == group.scim_id).unwrap();
                    let members = |group: &ExistingGroup| -> HashSet<ScimId> { group.members.iter().cloned().collect() };
                    prop_assert_eq!(members(old), members(group), "{} has gone", &group.name);
                    let operation = planned.iter().find(|one| one.target.as_ref().is_some_and(|target| target.scim_id == group.scim_id)).unwrap();
                    prop_assert!(matches!(operation.kind, GroupChange::Rename | GroupChange::Delete));
                }
            }
        }
    }
}
