//! Undoing what a run did to groups, and what keeps a sync from doing it again.

use super::*;
use crate::model::{FormerGroup, GroupProgress, OperationId};
use crate::plan::{End, Skipped, Undo};

const RUN: RunId = RunId(5);
const REVERT: RunId = RunId(6);

/// What the journal has of a plan that was carried out without a failure.
fn past(plan: &GroupPlan) -> Vec<PastGroup> {
    let done = plan.operations.iter().zip(1..);
    done.map(|(PlannedGroup { operation, .. }, id)| {
        let target = operation.target.as_ref().map(|one| one.scim_id.clone());
        let made = ScimId::new(format!("group-{}-new", operation.name));
        let (is_deleted, scim_id) = match operation.kind {
            GroupChange::Create => (false, Some(made)),
            GroupChange::Rename => (true, Some(made)),
            GroupChange::Adopt | GroupChange::Update => (false, target.clone()),
            GroupChange::Delete => (true, None),
        };
        PastGroup {
            id: OperationId(id),
            progress: Some(GroupProgress {
                scim_id,
                added: operation.add.clone(),
                removed: match operation.kind {
                    GroupChange::Rename => Vec::new(),
                    _ => operation.remove.clone(),
                },
                deleted: target.filter(|_| is_deleted),
            }),
            operation: operation.clone(),
            end: End::Done(None),
            undone_by: None,
            begun: None,
        }
    })
    .collect()
}

/// What a sync is not to do again once this is undone.
fn undone(past: &[PastGroup]) -> Vec<UndoneGroup> {
    let effects = past.iter().flat_map(|one| {
        let done = one.operation.as_done(one.progress.as_ref().unwrap());
        let effects = done.effects().into_iter();
        effects.map(move |effect| (done.key.clone(), effect))
    });
    let numbered = effects.zip(1..);
    numbered
        .map(|((key, effect), id)| UndoneGroup {
            id,
            key,
            effect,
            by: REVERT,
        })
        .collect()
}

/// How the runs that put back what a plan does again are told of each of its operations.
fn again(world: &Groups, plan: &GroupPlan) -> Vec<Vec<RunId>> {
    let undone = UndoneGroups::of(&world.known.undone);
    let operations = plan.operations.iter();
    operations.map(|one| undone.by(&one.operation)).collect()
}

/// The plan once `hold` has told of each part what holds it, by its kind and whether somebody has
/// reverted it.
fn held(
    world: &Groups,
    plan: GroupPlan,
    hold: impl Fn(&GroupOperation, bool) -> Vec<usize>,
) -> GroupPlan {
    let undone = UndoneGroups::of(&world.known.undone);
    let parts = divided(world, plan.clone());
    let holds = parts.operations();
    let holds = holds.map(|one| hold(one, !undone.by(one).is_empty()));
    let holds = holds.collect();
    GroupPlan {
        operations: parts.held(holds),
        ..plan
    }
}

/// The plan with what a revert has put back held.
fn reverted(world: &Groups) -> GroupPlan {
    held(world, world.plan(), |_, is_reverted| match is_reverted {
        true => vec![0],
        false => vec![],
    })
}

fn why(skipped: &[Skipped]) -> Vec<String> {
    skipped.iter().map(|one| one.why.to_string()).collect()
}

/// The plan that undoes this in the world as it is now, and what it tells.
fn reverting(world: &Groups, past: &[PastGroup]) -> (Vec<String>, Vec<String>) {
    let (plan, skipped) = revert(RUN, past, &world.known, &world.planned);
    (brief(&plan), why(&skipped))
}

/// A world in which a sync does one thing, with what it does and what undoes that.
fn of(kind: GroupChange) -> (Groups, &'static str, &'static str) {
    let mut world = Groups::new();
    // Whatever becomes of the rest, the directory has this one.
    world.find("ops", "ops", &["d"]);
    world.keeps("ops", &["ops"], &["d"]);
    let (does, undoes) = match kind {
        GroupChange::Update => {
            world.keeps("dev", &["dev"], &["a", "b"]);
            world.find("dev", "dev", &["b", "c"]);
            ("update dev +c -a", "update dev +a -c")
        }
        GroupChange::Create => {
            world.find("dev", "dev", &["a", "b"]);
            ("create dev +a +b", "delete dev")
        }
        GroupChange::Adopt => {
            world.exists("dev", Some("dev"), &["c", "!guest"]);
            world.find("dev", "dev", &["a"]);
            ("adopt dev +a -c", "update dev +c -a")
        }
        GroupChange::Rename => {
            world.keeps("dev", &["dev"], &["a", "b", "!guest"]);
            world.find("dev", "engineers", &["b", "c"]);
            (
                "rename engineers +SCIM user scim-!guest +b +c -a",
                "rename dev +SCIM user scim-!guest +a +b -c",
            )
        }
        GroupChange::Delete => {
            world.rules[0].on_leave = GroupDeparture::Delete;
            world.keeps("dev", &["dev"], &["a", "b", "!guest"]);
            world.known.claimed.insert(user("!guest"));
            ("delete dev", "create dev +SCIM user scim-!guest +a +b")
        }
    };
    (world, does, undoes)
}

/// The world after a sync, with what the journal has of it.
fn synced(kind: GroupChange) -> (Groups, Vec<PastGroup>) {
    let (mut world, does, _) = of(kind);
    let plan = world.plan();
    assert_eq!(brief(&plan), [does]);
    world.apply(&plan);
    (world, past(&plan))
}

/// The groups of the organization with their members, and those that are ours.
fn state(world: &Groups) -> (BTreeMap<String, Vec<String>>, BTreeSet<String>) {
    let groups = world.known.existing.iter();
    let ours = world.known.managed.iter().map(|row| row.name.clone());
    (
        groups
            .map(|group| (group.name.clone(), world.members(&group.name)))
            .collect(),
        ours.collect(),
    )
}

#[test]
fn each_kind_of_operation_is_undone_and_not_done_again_until_the_directory_changes_its_mind() {
    for kind in GroupChange::ALL {
        let (before, does, undoes) = of(kind);
        let (mut world, past) = synced(kind);
        let (plan, skipped) = revert(RUN, &past, &world.known, &[]);
        assert_eq!(
            (brief(&plan), why(&skipped)),
            (vec![undoes.to_owned()], vec![])
        );
        let undoing = &plan.operations[0].operation;
        assert_eq!(undoing.reason, GroupReason::Reverted { run: RUN });
        assert_eq!(
            undoing.undoes.as_ref().unwrap().operations,
            [OperationId(1)]
        );
        assert_eq!(undoing.lets_go(), kind == GroupChange::Adopt);
        world.apply(&plan);
        assert_eq!(state(&world), state(&before), "{does}");

        // The same again is held, and nothing of it is forgotten.
        world.known.undone = undone(&past);
        for _ in 0..2 {
            let next = world.plan();
            assert_eq!(brief(&next), [does]);
            assert_eq!(again(&world, &next), [[REVERT]]);
            assert_eq!(next.unwished, [0; 0], "{does}");
        }
        // A bad read is no other wish.
        let mut doubtful = world.clone();
        doubtful.read[0].found.retain(|group| group.name == "ops");
        doubtful.read[0].clean = Err("cut off".to_owned());
        assert_eq!(doubtful.plan().unwished, [0; 0], "{does}");
        // Once it is let through it is done, and the next run sees that.
        let all: Vec<i64> = world.known.undone.iter().map(|one| one.id).collect();
        let mut approved = world.clone();
        approved.apply(&approved.plan());
        approved.apply(&approved.plan());
        let after = approved.plan();
        assert_eq!((brief(&after), &after.unwished), (vec![], &all), "{does}");
        // The directory is as before the run.
        let mut other = world.clone();
        other.read[0].found.retain(|group| group.name == "ops");
        match kind {
            GroupChange::Create | GroupChange::Adopt => {}
            _ => {
                other.find("dev", "dev", &["a", "b"]);
            }
        }
        let after = other.plan();
        assert_eq!((brief(&after), &after.unwished), (vec![], &all), "{does}");
    }
}

#[test]
fn plans_tell_beforehand_how_far_it_will_go() {
    for kind in GroupChange::ALL {
        let (_, past) = synced(kind);
        let how = Undo::of_group(&past[0].operation);
        let is_whole = !matches!(kind, GroupChange::Rename | GroupChange::Delete);
        assert_eq!(how.name(), if is_whole { "full" } else { "in_part" });
    }
    let (world, past) = synced(GroupChange::Adopt);
    let (plan, _) = revert(RUN, &past, &world.known, &[]);
    assert_eq!(
        Undo::of_group(&plan.operations[0].operation).name(),
        "never"
    );
}

#[test]
fn a_revert_is_reverted_like_any_run() {
    for kind in GroupChange::ALL {
        let (mut world, first) = synced(kind);
        let after = state(&world);
        let (plan, _) = revert(RUN, &first, &world.known, &[]);
        world.apply(&plan);
        let (again, told) = revert(REVERT, &past(&plan), &world.known, &[]);
        if kind == GroupChange::Adopt {
            assert_eq!(brief(&again), [""; 0]);
            assert!(why(&told)[0].contains("does not keep the group any more"));
            continue;
        }
        assert_eq!(why(&told), [""; 0]);
        world.apply(&again);
        assert_eq!(state(&world), after, "{kind:?}");
    }
}

/// Tells of one change to what the run left, or to what the journal has, what is undone then.
#[test]
fn what_has_moved_on_stays_and_is_told_and_the_rest_goes_on() {
    type Change = fn(&mut Groups, &mut PastGroup);
    use GroupChange::{Adopt, Create, Delete, Rename, Update};
    let table: Vec<(GroupChange, &str, Change, &[&str], &str)> = vec![
        (
            Update,
            "undone already",
            |_, one| one.undone_by = Some(REVERT),
            &[],
            "run 6 has undone it already",
        ),
        (
            Update,
            "half done",
            |_, one| {
                one.end = End::Failed("refused".to_owned());
                one.progress.as_mut().unwrap().removed.clear();
            },
            &["update dev -c"],
            "",
        ),
        (
            Update,
            "failed at once",
            |_, one| {
                one.end = End::Failed("refused".to_owned());
                let progress = one.progress.as_mut().unwrap();
                progress.removed.clear();
                progress.added.clear();
            },
            &[],
            "it failed, so there is nothing to undo (refused)",
        ),
        (
            Update,
            "never sent",
            |_, one| {
                one.end = End::Unsent;
                one.progress = None;
            },
            &[],
            "it was never carried out",
        ),
        (
            Update,
            "of an older version",
            |_, one| one.progress = None,
            &[],
            "an older dirsyncd did it",
        ),
        (
            Update,
            "who came has gone again",
            |world, _| leave(world, "dev", "c"),
            &["update dev +a"],
            "as before the run already: c",
        ),
        (
            Update,
            "who went has come again",
            |world, _| join(world, "dev", "a"),
            &["update dev -c"],
            "as before the run already: a",
        ),
        (
            Update,
            "both",
            |world, _| {
                leave(world, "dev", "c");
                join(world, "dev", "a");
            },
            &[],
            "as before the run already: c, a|nothing of it is left to put back",
        ),
        (
            Update,
            "who went is deleted",
            |world, _| delete(world, "a"),
            &["update dev -c"],
            "not put in again, as they have no account any more: a",
        ),
        (
            Update,
            "who went has another account",
            |world, _| {
                let person = world.known.people.get_mut(&key("a")).unwrap();
                person.scim_id = user("a2");
            },
            &["update dev +a -c"],
            "",
        ),
        (
            Update,
            "others have come and gone",
            |world, _| {
                join(world, "dev", "d");
                leave(world, "dev", "b");
            },
            &["update dev +a -c"],
            "",
        ),
        (
            Update,
            "who came has come again by a later run",
            |world, _| {
                later(world, 6, None, "dev", "-c");
                later(world, 9, None, "dev", "+c");
            },
            &["update dev +a"],
            "a later run has put them in or taken them out: c",
        ),
        (
            Update,
            "who went has gone again by a later run",
            |world, _| {
                later(world, 6, None, "dev", "+a");
                later(world, 9, None, "dev", "-a");
            },
            &["update dev -c"],
            "a later run has put them in or taken them out: a",
        ),
        (
            Update,
            "a later run was reverted itself",
            |world, _| {
                later(world, 7, None, "dev", "-c");
                later(world, 8, Some(7), "dev", "+c");
                later(world, 9, None, "other", "+c");
            },
            &["update dev +a -c"],
            "",
        ),
        (
            Update,
            "a later run was reverted itself, and another one put in who came",
            |world, _| {
                later(world, 7, None, "dev", "-c");
                later(world, 8, Some(7), "dev", "+c");
                later(world, 9, None, "dev", "-c");
                later(world, 10, None, "dev", "+c");
            },
            &["update dev +a"],
            "a later run has put them in or taken them out: c",
        ),
        (
            Create,
            "a later run put a member in",
            |world, _| later(world, 9, None, "dev-new", "+a"),
            &[],
            "the run made it, and others are in it by now: a",
        ),
        (
            Rename,
            "a later run put the newcomer in",
            |world, _| later(world, 9, None, "engineers-new", "+c"),
            &["rename dev +SCIM user scim-!guest +a +b +c"],
            "a later run has put them in or taken them out: c",
        ),
        (
            Rename,
            "a later run took out who had not come along",
            |world, _| later(world, 9, None, "engineers-new", "-a"),
            &["rename dev +SCIM user scim-!guest +b -c"],
            "a later run has put them in or taken them out: a",
        ),
        (
            Update,
            "the group is gone",
            |world, _| world.known.existing.retain(|group| group.name != "dev"),
            &[],
            "the organization has no group group-dev any more",
        ),
        (
            Update,
            "the group is not ours",
            |world, _| world.known.managed.retain(|group| group.name != "dev"),
            &[],
            "dirsyncd does not keep the group any more",
        ),
        (
            Adopt,
            "nobody is left to put back",
            |world, _| {
                leave(world, "dev", "a");
                join(world, "dev", "c");
            },
            &["update dev"],
            "as before the run already: a, c",
        ),
        (
            Adopt,
            "only taken over",
            |_, one| {
                one.end = End::Failed("refused".to_owned());
                let progress = one.progress.as_mut().unwrap();
                (progress.added, progress.removed) = (Vec::new(), Vec::new());
            },
            &["update dev"],
            "",
        ),
        (
            Create,
            "others are in it",
            |world, _| join(world, "dev", "d"),
            &[],
            "the group stays: the run made it, and others are in it by now: d",
        ),
        (
            Create,
            "some have gone",
            |world, _| leave(world, "dev", "a"),
            &["delete dev"],
            "",
        ),
        (
            Create,
            "half done",
            |world, one| {
                leave(world, "dev", "b");
                one.end = End::Unanswered;
                one.progress.as_mut().unwrap().added.pop();
            },
            &["delete dev"],
            "",
        ),
        (
            Create,
            "gone",
            |world, _| world.known.existing.retain(|group| group.name != "dev"),
            &[],
            "the organization has no group group-dev-new any more",
        ),
        (
            Rename,
            "the old one is still there",
            |world, one| {
                world.keeps("dev", &["dev"], &["a", "b"]);
                one.progress.as_mut().unwrap().deleted = None;
            },
            &["delete engineers"],
            "",
        ),
        (
            Rename,
            "the old one has gone later",
            |_, one| one.progress.as_mut().unwrap().deleted = None,
            &[],
            "the organization has no group group-dev any more",
        ),
        (
            Rename,
            "the name is another's",
            |world, _| world.exists("DEV", None, &[]),
            &[],
            "the organization has a group `dev` again",
        ),
        (
            Rename,
            "half undone by a revert that broke off",
            |world, one| {
                world.keeps("dev", &["dev"], &["a"]);
                one.begun = Some(ScimId::new("group-dev"));
            },
            &["rename dev +SCIM user scim-!guest +a +b -c"],
            "",
        ),
        (
            Rename,
            "members have come and gone since",
            |world, _| {
                join(world, "engineers", "d");
                leave(world, "engineers", "b");
                leave(world, "engineers", "c");
            },
            &["rename dev +SCIM user scim-!guest +a +d"],
            "",
        ),
        (
            Rename,
            "the one that was left behind is in it again",
            |world, _| join(world, "engineers", "a"),
            &["rename dev +SCIM user scim-!guest +a +b -c"],
            "",
        ),
        (
            Rename,
            "how it was is not known",
            |_, one| one.operation.former = None,
            &[],
            "an older dirsyncd did it",
        ),
        (
            Delete,
            "some have no account any more",
            |world, _| {
                delete(world, "b");
                world.known.claimed.clear();
            },
            &["create dev +a"],
            "not put in again, as they have no account any more: SCIM user scim-!guest, b",
        ),
        (
            Delete,
            "the name is taken",
            |world, _| world.exists("dev", Some("dev"), &[]),
            &[],
            "the organization has a group `dev` again",
        ),
        (
            Delete,
            "half undone by a revert that broke off",
            |world, one| {
                world.keeps("dev", &["dev"], &["a"]);
                one.begun = Some(ScimId::new("group-dev"));
            },
            &["update dev +SCIM user scim-!guest +b"],
            "",
        ),
        (
            Delete,
            "it failed",
            |_, one| {
                one.end = End::Failed("refused".to_owned());
                one.progress = Some(GroupProgress::default());
            },
            &[],
            "it failed, so there is nothing to undo (refused)",
        ),
    ];
    for (kind, what, change, undoes, told) in table {
        let (mut world, mut past) = synced(kind);
        change(&mut world, &mut past[0]);
        let (plan, why) = reverting(&world, &past);
        assert_eq!(plan, undoes, "{kind:?}, {what}: {why:?}");
        let expected: Vec<&str> = told.split('|').filter(|one| !one.is_empty()).collect();
        assert_eq!(why.len(), expected.len(), "{kind:?}, {what}: {why:?}");
        for (why, expected) in why.iter().zip(expected) {
            assert!(why.contains(expected), "{kind:?}, {what}: {why}");
        }
    }
}

fn change_members(world: &mut Groups, group: &str, change: impl FnOnce(&mut Vec<ScimId>)) {
    let mut groups = world.known.existing.iter_mut();
    change(&mut groups.find(|one| one.name == group).unwrap().members);
}

fn join(world: &mut Groups, group: &str, who: &str) {
    change_members(world, group, |members| members.push(user(who)));
}

fn leave(world: &mut Groups, group: &str, who: &str) {
    change_members(world, group, |members| {
        members.retain(|one| *one != user(who))
    });
}

/// A later run, which may revert another one, has put somebody into a group or taken somebody out.
fn later(world: &mut Groups, run: i64, reverts: Option<i64>, group: &str, change: &str) {
    let (sign, who) = change.split_at(1);
    let member = GroupMember {
        name: who.to_owned(),
        key: Some(key(who)),
        scim_id: Some(user(who)),
    };
    let mut progress = GroupProgress {
        scim_id: Some(ScimId::new(format!("group-{group}"))),
        ..GroupProgress::default()
    };
    match sign {
        "+" => progress.added.push(member),
        _ => progress.removed.push(member),
    }
    world.known.later.push(LaterGroup {
        id: OperationId(run * 100),
        run: RunId(run),
        reverts: reverts.map(RunId),
        progress: Some(progress),
    });
}

fn delete(world: &mut Groups, who: &str) {
    world.known.people.get_mut(&key(who)).unwrap().lifecycle = Lifecycle::Deleted {
        since: chrono::DateTime::UNIX_EPOCH,
    };
}

#[test]
fn a_group_that_was_not_ours_before_its_renaming_is_let_go() {
    let mut world = Groups::new();
    world.exists("dev", Some("dev"), &["a"]);
    world.find("dev", "engineers", &["a"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["rename engineers +a"]);
    let former = plan.operations[0].operation.former.clone().unwrap();
    let expected = FormerGroup {
        key: key("dev"),
        origins: None,
        members: BTreeSet::from([user("a")]),
    };
    assert_eq!(former, expected);
    world.apply(&plan);
    let (back, _) = revert(RUN, &past(&plan), &world.known, &[]);
    assert_eq!(brief(&back), ["rename dev +a"]);
    assert!(back.operations[0].operation.lets_go());
    world.apply(&back);
    assert_eq!(world.known.managed, []);
}

#[test]
fn a_name_that_comes_back_has_the_key_and_the_entries_that_it_had() {
    let mut world = Groups::new();
    world.keeps("dev", &["one", "two"], &["a"]);
    let before = world.known.managed[0].clone();
    // One of two entries is gone, and the other one has another name.
    world.find("two", "engineers", &["a"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["rename engineers +a"]);
    world.apply(&plan);
    assert_eq!(world.known.managed[0].key, key("two"));
    let (back, _) = revert(RUN, &past(&plan), &world.known, &[]);
    assert_eq!(brief(&back), ["rename dev +a"]);
    world.apply(&back);
    let [row] = &world.known.managed[..] else {
        panic!("{:?}", world.known.managed)
    };
    assert_eq!((&row.key, &row.origins), (&before.key, &before.origins));
}

#[test]
fn whose_account_is_about_to_be_deleted_is_taken_along_and_out() {
    for (kind, who, expected) in [
        (
            GroupChange::Rename,
            "b",
            "rename dev +SCIM user scim-!guest +a +b -c",
        ),
        (GroupChange::Update, "c", "update dev +a -c"),
    ] {
        let (mut world, past) = synced(kind);
        about_to_be_deleted(&mut world, who);
        let (plan, told) = revert(RUN, &past, &world.known, &[]);
        assert_eq!(
            (brief(&plan), why(&told)),
            (vec![expected.to_owned()], vec![])
        );
        world.apply(&plan);
        assert_eq!(world.members("dev").contains(&who.to_owned()), who == "b");
    }
}

#[test]
fn what_comes_back_comes_before_anything_goes() {
    let mut world = Groups::new();
    world.rules[0].on_leave = GroupDeparture::Delete;
    world.find("dev", "dev", &["a"]);
    world.keeps("old", &["old"], &["a"]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["create dev +a", "delete old"]);
    world.apply(&plan);
    let (undoes, told) = reverting(&world, &past(&plan));
    assert_eq!(undoes, ["create old +a", "delete dev"]);
    assert_eq!(told, [""; 0]);
}

#[test]
fn nobody_is_put_back_into_a_group_that_would_have_too_many_members() {
    let full = MEMBERS_A_GROUP;
    // How many are in the group now, and whether who came is still among them.
    for (kind, members, came_is_in, undoes, told) in [
        (GroupChange::Update, full, true, "update dev +a -c", ""),
        (GroupChange::Update, full - 1, false, "update dev +a", ""),
        (GroupChange::Update, full, false, "", "20001 members"),
        (
            GroupChange::Delete,
            full - 2,
            true,
            "update dev +SCIM user scim-!guest +b",
            "",
        ),
        (GroupChange::Delete, full - 1, true, "", "20001 members"),
    ] {
        let (mut world, mut past) = synced(kind);
        if kind == GroupChange::Delete {
            // A revert that broke off.
            world.keeps("dev", &["dev"], &["a"]);
            past[0].begun = Some(ScimId::new("group-dev"));
        }
        if !came_is_in {
            leave(&mut world, "dev", "c");
        }
        change_members(&mut world, "dev", |there| {
            let others = there.len()..members;
            there.extend(others.map(|n| user(&format!("!{n}"))));
        });
        let (plan, why) = reverting(&world, &past);
        assert_eq!(plan.join(""), undoes, "{members} {came_is_in}");
        let why = why.join("|");
        assert!(why.contains(told), "{why}");
        assert_eq!(why.contains("has at most"), !told.is_empty(), "{why}");
    }
}

#[test]
fn of_many_the_first_ten_are_named() {
    for (count, end) in [(10, "scim-!9"), (11, "scim-!9 and 1 more")] {
        let (mut world, past) = synced(GroupChange::Create);
        for n in 0..count {
            join(&mut world, "dev", &format!("!{n}"));
        }
        let (_, why) = reverting(&world, &past);
        assert!(why[0].ends_with(end), "{why:?}");
    }
}

#[test]
fn who_undoes_a_run_looks_only_at_what_is_not_as_it_was_left() {
    let (_, past) = synced(GroupChange::Update);
    let name = || "a".to_owned();
    let looks = |why| {
        let plan = Plan {
            skipped: vec![not_undone(&past[0].operation, why)],
            ..Plan::default()
        };
        plan.needs_attention()
    };
    for why in [
        GroupNotUndone::Already { by: REVERT },
        GroupNotUndone::Failed(name()),
        GroupNotUndone::Unsent,
        GroupNotUndone::Nothing,
        GroupNotUndone::MovedOn(name()),
        GroupNotUndone::NotNamed,
    ] {
        assert!(!looks(why.clone()), "{why}");
    }
    for why in [
        GroupNotUndone::Unrecorded,
        GroupNotUndone::Gone(user("dev")),
        GroupNotUndone::NotOurs,
        GroupNotUndone::OthersAreIn(name()),
        GroupNotUndone::NameTaken(name()),
        GroupNotUndone::TooLarge(MEMBERS_A_GROUP + 1),
        GroupNotUndone::WithoutAccount(name()),
        GroupNotUndone::ByLater(name()),
    ] {
        assert!(looks(why.clone()), "{why}");
    }
}

#[test]
fn whose_account_comes_back_by_the_same_revert_is_put_in_again_after_it() {
    let (mut world, past) = synced(GroupChange::Update);
    let since = chrono::DateTime::UNIX_EPOCH;
    let person = world.known.people.get_mut(&key("a")).unwrap();
    person.lifecycle = Lifecycle::DeletePending { since };
    let (plan, told) = reverting(&world, &past);
    assert_eq!(plan, ["update dev -c"]);
    assert_eq!(told.len(), 1);
    let deactivated = crate::plan::fixture::in_state(
        "a",
        Lifecycle::Deactivated { since },
        Some("2026-01-10T00:00:00Z"),
    );
    let restoring = World::new(vec![person_of("a")], vec![deactivated]).planned();
    assert_eq!(restoring.count(Kind::Restore), 1);
    world.planned = restoring.operations;
    let (plan, told) = revert(RUN, &past, &world.known, &world.planned);
    assert_eq!(
        (brief(&plan), told),
        (vec!["update dev +a -c".to_owned()], vec![])
    );
    // The SCIM user is looked up once the account is back.
    assert_eq!(plan.operations[0].operation.add[0].scim_id, None);
}

fn person_of(name: &str) -> crate::model::DesiredAccount {
    crate::plan::fixture::person(name)
}

fn put_back(effects: &[GroupEffect]) -> Vec<UndoneGroup> {
    let one = |(effect, id): (&GroupEffect, i64)| UndoneGroup {
        id,
        key: key("dev"),
        effect: effect.clone(),
        by: REVERT,
    };
    effects.iter().zip(1..).map(one).collect()
}

fn joins(name: &str) -> GroupEffect {
    GroupEffect::Joins(key(name).as_str().to_owned())
}

fn leaves(name: &str) -> GroupEffect {
    GroupEffect::Leaves(key(name).as_str().to_owned())
}

#[test]
fn of_changes_only_the_members_who_were_put_back_are_held() {
    let mut world = Groups::new();
    world.keeps("dev", &["dev"], &["a"]);
    world.find("dev", "dev", &["b", "c"]);
    world.known.undone = put_back(&[joins("b")]);
    let plan = reverted(&world);
    assert_eq!(brief(&plan), ["update dev +c -a", "update dev +b"]);
    assert_eq!(again(&world, &plan), [vec![], vec![REVERT]]);
    assert_eq!(plan.unwished, [0; 0]);
    world.known.undone = put_back(&[joins("b"), leaves("a")]);
    let plan = reverted(&world);
    let parts = ["update dev +c", "update dev +b", "update dev -a"];
    assert_eq!(brief(&plan), parts);
    assert_eq!(again(&world, &plan), [vec![], vec![REVERT], vec![REVERT]]);
    // Who cannot join as yet is wanted all the same.
    world.unseen.insert(key("b"));
    let plan = world.plan();
    assert_eq!(brief(&plan), ["update dev +c -a"]);
    assert_eq!(plan.unwished, [0; 0]);
    world.unseen.clear();
    // Who is wanted out of it, or in it, by now is no matter of the revert any more.
    world.read[0].found[0].members.remove(&key("b"));
    let plan = reverted(&world);
    assert_eq!(
        (brief(&plan), plan.unwished),
        (
            vec!["update dev +c".to_owned(), "update dev -a".to_owned()],
            vec![1]
        )
    );
    // While it is not known who else is in it, everybody stays as is.
    let dangling = MemberKey::dn("uid=x,dc=example");
    world.read[0].found[0].dangling.insert(dangling);
    assert_eq!(world.plan().unwished, [0; 0]);
    // As does who is not seen: nobody says that they are to leave, or to stay.
    world.unseen.insert(key("a"));
    let plan = world.plan();
    assert_eq!(brief(&plan), ["update dev +c"]);
    assert_eq!(plan.unwished, [0; 0]);
}

#[test]
fn each_part_of_a_change_is_held_and_approved_by_itself() {
    let mut world = Groups::new();
    world.keeps("dev", &["dev"], &["a", "b"]);
    world.find("dev", "dev", &["c", "d"]);
    world.known.undone = put_back(&[joins("d"), leaves("b")]);
    let all = |world: &Groups| held(world, world.plan(), |_, _| vec![0]);
    let digests = |plan: &GroupPlan| -> Vec<[u8; 16]> {
        let operations = plan.operations.iter().map(|one| &one.operation);
        operations.map(|one| one.digest().0).collect()
    };
    let plan = all(&world);
    let parts = [
        "update dev +c",
        "update dev -a",
        "update dev +d",
        "update dev -b",
    ];
    assert_eq!(brief(&plan), parts);
    let first = digests(&plan);
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 4);
    // Each is the same whatever becomes of the others, and another one with somebody more.
    world.known.people.insert(key("e"), account("e"));
    world.known.undone = put_back(&[joins("d"), joins("e"), leaves("b")]);
    world.read[0].found[0].members.remove(&key("c"));
    world.read[0].found[0].members.insert(key("e"), dn("e"));
    let plan = all(&world);
    let parts = ["update dev -a", "update dev +d +e", "update dev -b"];
    assert_eq!(brief(&plan), parts);
    let second = digests(&plan);
    assert_eq!([second[0], second[2]], [first[1], first[3]]);
    assert!(!first.contains(&second[1]));
    // An account that was only to be made is the same member.
    let mut joining = plan.operations[1].operation.clone();
    joining.add[0].scim_id = None;
    assert_eq!(joining.digest().0, second[1]);

    // What goes together is known by its parts.
    world.known.undone.clear();
    world.read[0].found[0].members.remove(&key("e"));
    let whole = world.plan().operations.remove(0).operation;
    let both = all(&world);
    assert_eq!(brief(&both), ["update dev +d", "update dev -a -b"]);
    let parts: Vec<[u8; 16]> = whole.digests().iter().map(|one| one.0).collect();
    assert_eq!(parts, digests(&both));
    let free = held(&world, world.plan(), |_, _| Vec::new());
    assert_eq!(brief(&free), ["update dev +d -a -b"]);
}

#[test]
fn a_revert_of_two_changes_of_one_group_is_two_operations() {
    let mut world = Groups::new();
    world.keeps("dev", &["dev"], &["a", "b"]);
    world.find("dev", "dev", &["c"]);
    world.known.undone = put_back(&[leaves("b")]);
    let plan = reverted(&world);
    assert_eq!(brief(&plan), ["update dev +c -a", "update dev -b"]);
    world.apply(&plan);
    let (back, _) = revert(RUN, &past(&plan), &world.known, &[]);
    assert_eq!(brief(&back), ["update dev +a -c", "update dev +b"]);
    let operations = back.operations.iter();
    let digests: HashSet<[u8; 16]> = operations
        .flat_map(|one| one.operation.digests())
        .map(|one| one.0)
        .collect();
    assert_eq!(digests.len(), 3);
}

#[test]
fn where_a_whole_group_comes_who_was_put_back_is_left_out_and_told() {
    let mut world = Groups::new();
    world.find("dev", "dev", &["a", "b"]);
    world.known.undone = put_back(&[joins("b")]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["create dev +a"]);
    assert_eq!(again(&world, &plan), [vec![]]);
    assert_eq!(notices(&plan), [r#"dev PutBack(["b"])"#]);
    world.apply(&plan);
    let plan = reverted(&world);
    assert_eq!(brief(&plan), ["update dev +b"]);
    assert_eq!(again(&world, &plan), [vec![REVERT]]);

    // Of a rename not who is in the group, though a revert has taken them out once.
    let mut world = Groups::new();
    world.keeps("dev", &["dev"], &["a", "b"]);
    world.find("dev", "engineers", &["a", "b"]);
    world.known.undone = put_back(&[joins("b")]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["rename engineers +a +b"]);
    assert_eq!(plan.notices, []);
    world.apply(&plan);
    assert_eq!(world.plan().unwished, [1]);

    let mut world = Groups::new();
    world.keeps("dev", &["dev"], &["a", "b"]);
    world.find("dev", "engineers", &["b", "c", "d"]);
    world.known.undone = put_back(&[joins("c"), leaves("a")]);
    let plan = world.plan();
    assert_eq!(brief(&plan), ["rename engineers +a +b +d"]);
    assert_eq!(again(&world, &plan), [vec![]]);
}

#[test]
fn who_joins_a_group_whose_renaming_was_reverted_joins_the_old_one() {
    let renamed = || GroupEffect::Renamed("engineers".to_owned());
    let mut world = Groups::new();
    world.keeps("dev", &["dev"], &["a", "b"]);
    world.find("dev", "engineers", &["a", "c", "d"]);
    world.known.undone = put_back(&[renamed()]);
    let rename = "rename engineers +a +c +d -b";
    let plan = reverted(&world);
    assert_eq!(brief(&plan), ["update dev +c +d", rename]);
    let free: Vec<_> = plan
        .free_at()
        .map(|at| plan.operations[at].operation.kind)
        .collect();
    assert_eq!(free, [GroupChange::Update]);
    // Not who was taken out again by the same revert, nor once the renaming is approved.
    world.known.undone = put_back(&[renamed(), joins("c"), leaves("b")]);
    assert_eq!(brief(&reverted(&world)), ["update dev +d", rename]);
    world.known.undone = put_back(&[renamed(), joins("c"), joins("d")]);
    assert_eq!(brief(&reverted(&world)), [rename]);
    world.known.undone = put_back(&[renamed()]);
    let undone = UndoneGroups::of(&world.known.undone);
    let approved = Parts::of(world.plan().operations, &undone, &HashSet::new(), |_| true);
    assert_eq!(approved.operations().count(), 1);
    // Nobody goes anywhere because a renaming waits for something else.
    world.known.undone.clear();
    let waiting = held(&world, world.plan(), |_, _| vec![0]);
    assert_eq!(brief(&waiting), [rename]);
    // Nor where the group is not ours, as before the run.
    world.known.undone = put_back(&[renamed()]);
    world.known.managed.clear();
    assert_eq!(brief(&reverted(&world)), [rename]);
}

#[test]
fn the_holds_of_a_revert_over_groups_have_names_of_their_own() {
    let changes = [crate::plan::GroupChange {
        name: "dev",
        members: 3,
        removed: 0,
        loses_administrators: false,
        reverted_by: vec![REVERT],
        is_rekeyed: false,
        left_out: None,
        digest: crate::model::Digest::of_text("a change"),
    }];
    let mut guards = crate::plan::fixture::no_guards();
    guards.protected_groups = vec![crate::config::NamePattern::new("dev")];
    for (reverts, names) in [
        (None, ["protected", "reverted"]),
        (Some(RUN), ["revert-5.protected", "revert-5.reverted"]),
    ] {
        let mut plan = Plan {
            reverts,
            ..Plan::default()
        };
        let now = chrono::DateTime::UNIX_EPOCH;
        assert_eq!(plan.hold_groups(&changes, 3, &guards, &[], now), [[0, 1]]);
        let held: Vec<&str> = plan.holds.iter().map(|hold| hold.name.as_str()).collect();
        assert_eq!(held, names);
    }
}

#[test]
fn who_is_put_in_again_does_not_wait_for_those_whose_removal_is_too_much() {
    let (world, past) = synced(GroupChange::Update);
    let (plan, _) = revert(RUN, &past, &world.known, &[]);
    let whole = held(&world, plan.clone(), |_, _| Vec::new());
    assert_eq!(
        whole.operations[0].operation.undoes,
        plan.operations[0].operation.undoes
    );
    let plan = held(&world, plan, |one, _| match one.takes_away() {
        true => vec![0],
        false => vec![],
    });
    assert_eq!(brief(&plan), ["update dev +a", "update dev -c"]);
    // The run is undone only with the rest.
    let undoes = plan.operations.iter().map(|one| &one.operation.undoes);
    let undoes: Vec<usize> = undoes
        .map(|one| one.as_ref().unwrap().operations.len())
        .collect();
    assert_eq!(undoes, [0, 1]);
}
