//! In which order operations are sent, and what of them fits a budget.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use proptest::prelude::*;

use super::super::fixture::*;
use super::super::groups::PlannedGroup;
use super::super::*;
use super::properties::odd_world;
use crate::model::{
    Attribute, ExternalId, GroupChange, GroupMember, GroupOperation, GroupReason, Lifecycle,
    ManagedAccount, Reason, Timestamp,
};

const SCIM: Way = Way::Scim {
    replaces_whole: false,
};

/// The way in which all that tests of turns count takes one request, but for groups.
const EVEN: Way = Way::Admin;

/// Something of everything: who leaves, is deleted, comes back, comes, gets another address and
/// another title.
fn everything() -> World {
    let long_ago = "2026-01-01T00:00:00Z";
    let off = Lifecycle::Deactivated {
        since: at(long_ago),
    };
    let mut world = World::new(
        vec![
            person("new"),
            with(person("title"), Attribute::Title, "Head"),
            with_mail(person("mail"), "other@example.org"),
            person("back"),
            disabled("off"),
            with_mail(person("taker"), "mail@example.org"),
            person("known"),
        ],
        vec![
            account("title"),
            account("mail"),
            in_state("back", off, None),
            account("off"),
            account("left"),
            in_state("gone", off, Some(long_ago)),
        ],
    );
    world.existing = vec![existing("known", Some("from-elsewhere"))];
    world.policy.delete_after = Some(TimeDelta::days(30));
    world
}

/// A group that is made with so many members.
fn group(members: usize) -> PlannedGroup {
    let member = |at| GroupMember {
        name: format!("m{at}"),
        key: Some(key(&format!("m{at}"))),
        scim_id: None,
    };
    PlannedGroup {
        operation: GroupOperation {
            kind: GroupChange::Create,
            reason: GroupReason::Appeared,
            key: key("group"),
            name: "group".into(),
            origins: BTreeSet::new(),
            target: None,
            add: (0..members).map(member).collect(),
            remove: Vec::new(),
            former: None,
            undoes: None,
        },
        holds: Vec::new(),
        tried_in_vain: None,
    }
}

#[test]
fn access_is_taken_away_first_and_what_is_cosmetic_comes_last() {
    assert_eq!(
        brief(&everything().planned()),
        [
            "deactivate left",
            "deactivate off",
            "update mail",
            "restore back",
            "adopt known",
            "create new",
            "create taker",
            "delete gone",
            "update title"
        ]
    );
}

#[test]
fn whoever_frees_an_address_is_as_urgent_as_whoever_takes_it() {
    // The returner frees an address that an active person gets.
    let off = Lifecycle::Deactivated {
        since: at("2026-06-01T00:00:00Z"),
    };
    let world = World::new(
        vec![
            with_mail(person("back"), "free@example.org"),
            person("back2"),
            with_mail(person("mail"), "back@example.org"),
            with_mail(person("new"), "mail@example.org"),
        ],
        vec![
            in_state("back", off, None),
            in_state("back2", off, None),
            account("mail"),
        ],
    );
    assert_eq!(
        brief(&world.planned()),
        ["restore back", "update mail", "restore back2", "create new"]
    );
}

#[test]
fn a_budget_is_used_up_in_the_order_in_which_operations_are_sent() {
    let with_group = || {
        let mut plan = everything().planned();
        plan.groups = Some(GroupPlan {
            operations: vec![group(150)],
            ..GroupPlan::default()
        });
        plan
    };
    let left = |max_calls| {
        let mut plan = with_group();
        plan.fit(max_calls, SCIM, now());
        let kinds: Vec<String> = plan
            .carried_over_by_kind()
            .into_iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let approved = plan.approve();
        let (accounts, groups) = approved.carried_over();
        assert_eq!(accounts.len() + groups.len(), plan.carried_over.len());
        let all = with_group();
        let all = all.approve();
        assert_eq!(
            approved.operations().len() + accounts.len(),
            all.operations().len()
        );
        assert_eq!(approved.groups().len() + groups.len(), 1);
        (plan.calls(SCIM).total(), kinds.join(", "))
    };
    // Nine accounts, of which the deletion takes three requests and each deactivation two, and a group that
    // takes three.
    let all = with_group().calls(SCIM).total();
    assert_eq!(all, 16);
    assert_eq!(left(None), (16, String::new()));
    assert_eq!(left(Some(16)), (16, String::new()));
    assert_eq!(left(Some(15)), (15, "1 update".into()));
    // What comes after something that does not fit is left, however little it takes.
    assert_eq!(left(Some(14)), (12, "1 group_create, 1 update".into()));
    assert_eq!(left(Some(11)).1, "1 delete, 1 group_create, 1 update");
    assert_eq!(left(Some(3)).0, 2);
    // Something is done in any case.
    assert_eq!(left(Some(1)).0, 2);
    let mut plan = Plan {
        groups: Some(GroupPlan {
            operations: vec![group(1000), group(1)],
            ..GroupPlan::default()
        }),
        ..Plan::default()
    };
    plan.fit(Some(1), SCIM, now());
    assert_eq!(plan.carried_over.groups, [1].into());
}

#[test]
fn a_circle_is_not_opened_where_the_budget_does_not_close_it() {
    let names = ["a", "b", "c"];
    let people = [("a", "b"), ("b", "c"), ("c", "a")];
    let people = people.map(|(name, mail)| with_mail(person(name), &format!("{mail}@example.org")));
    let mut world = World::new(people.to_vec(), names.map(account).to_vec());
    world.people.push(person("new"));
    world.accounts.push(account("left"));
    // Two requests for who leaves, four for the circle, and who is new.
    for (max_calls, sent) in [
        (Some(7), 6),
        (Some(6), 5),
        (Some(5), 1),
        (Some(4), 1),
        // Where there are never so many it goes all the same, and nothing after it.
        (Some(3), 5),
        (Some(2), 5),
        (Some(1), 1),
        (None, 6),
    ] {
        let mut plan = world.planned();
        plan.fit(max_calls, SCIM, now());
        let approved = plan.approve();
        assert_eq!(approved.operations().len(), sent, "{max_calls:?}");
        let total = sent as u64 + 1;
        let calls = max_calls.map_or(0, |_| total);
        assert_eq!(approved.calls(), calls, "{max_calls:?}");
        assert_eq!(plan.calls(SCIM).total(), total);
    }
}

#[test]
fn what_was_tried_in_vain_leaves_half_of_a_budget_to_the_others() {
    let leaving = ["a", "b", "c", "d", "e", "f"];
    let mut accounts: Vec<ManagedAccount> = leaving.map(account).to_vec();
    accounts.push(account("mail"));
    let mut world = World::new(vec![with_mail(person("mail"), "new@example.org")], accounts);
    let failed = |operation: &Operation, in_vain| Failed {
        digest: operation.digest(),
        count: 4,
        in_vain,
        error: "no".into(),
        first: now() - TimeDelta::days(2),
        last: now() - TimeDelta::hours(operation.dn.len() as i64),
    };
    let before = world.planned();
    let operations = before.operations.iter().map(|one| &one.operation);
    for operation in operations.filter(|one| one.key != key("mail") && one.key != key("f")) {
        let failed = failed(operation, 0);
        world.failures.people.insert(operation.key.clone(), failed);
    }
    world.failures.people.get_mut(&key("d")).unwrap().last = now() - TimeDelta::days(3);
    let sent = |world: &World, max_calls| -> Vec<String> {
        let mut plan = world.planned();
        plan.fit(max_calls, EVEN, now());
        let approved = plan.approve();
        let operations = approved.operations().iter();
        operations
            .map(|one| one.key.as_str().trim_start_matches("key-").to_owned())
            .collect()
    };
    // Who was not tried goes before those who were, the longest ago first.
    world.failures.quarantine_after = 5;
    assert_eq!(sent(&world, Some(4)), ["f", "d", "a", "b"]);
    // Once that is too often, or there was no usable answer, half of it is for the others.
    for (quarantine_after, in_vain) in [(4, 0), (9, 1)] {
        world.failures.quarantine_after = quarantine_after;
        for failed in world.failures.people.values_mut() {
            failed.in_vain = in_vain;
        }
        assert_eq!(sent(&world, Some(4)), ["f", "d", "a", "mail"]);
        // What the others leave is theirs.
        assert_eq!(sent(&world, Some(6)), ["f", "d", "a", "b", "c", "mail"]);
        assert_eq!(sent(&world, Some(1)), ["f"]);
        assert_eq!(sent(&world, None).len(), 7);
    }
    // Another wish is another matter.
    for failed in world.failures.people.values_mut() {
        failed.digest = crate::model::Digest([7; 16]);
    }
    assert_eq!(sent(&world, Some(4)), ["a", "b", "c", "d"]);
}

/// Six who leave, one who gets another address and a group of three requests: all of them got no usable
/// answer, in this order. Of so many others nothing is known.
fn tried_in_vain(leaving: &[&str], titles: usize) -> World {
    let vain = ["a", "b", "c", "d", "e", "f", "mail"];
    let titles: Vec<String> = (0..titles).map(|at| format!("title{at}")).collect();
    let names = vain.iter().chain(leaving).copied();
    let names = names.chain(titles.iter().map(String::as_str));
    let mut people = vec![with_mail(person("mail"), "new@example.org")];
    let head = |name: &String| with(person(name), Attribute::Title, "Head");
    people.extend(titles.iter().map(head));
    let mut world = World::new(people, names.map(account).collect());
    world.failures.quarantine_after = 5;
    let group = &group(150).operation;
    let failed = |digest, at: usize| Failed {
        digest,
        count: 0,
        in_vain: 1,
        error: "no answer".into(),
        first: now() - TimeDelta::days(2),
        last: now() - TimeDelta::hours(20 - at as i64),
    };
    let plan = world.planned();
    for (at, name) in vain.into_iter().enumerate() {
        let mut planned = plan.operations.iter().map(|one| &one.operation);
        let operation = planned.find(|one| one.key == key(name)).unwrap();
        let failed = failed(operation.digest(), at);
        world.failures.people.insert(key(name), failed);
    }
    let failed = failed(group.digest(), vain.len());
    world.failures.groups.insert(group.key.clone(), failed);
    world
}

/// What of it goes, by the names.
fn going(world: &World, max_calls: u64) -> Vec<String> {
    let mut plan = world.planned();
    let mut groups = GroupPlan {
        operations: vec![group(150)],
        ..GroupPlan::default()
    };
    groups.set_aside(&world.failures, now());
    plan.groups = Some(groups);
    plan.fit(Some(max_calls), EVEN, now());
    let approved = plan.approve();
    let keys = approved.operations().iter().map(|one| &one.key);
    let keys = keys.chain(approved.groups().iter().map(|one| &one.key));
    keys.map(|key| key.as_str().trim_start_matches("key-").to_owned())
        .collect()
}

#[test]
fn each_of_those_in_vain_has_its_turn_in_half_of_a_budget() {
    let mut world = tried_in_vain(&[], 4);
    let day = TimeDelta::days(1);
    world.failures.groups.get_mut(&key("group")).unwrap().last = now() - day;
    let mut sent = Vec::new();
    for run in 1..=6 {
        let going = going(&world, 4);
        let failed = |name: &String| world.failures.people.contains_key(&key(name));
        let (again, others): (Vec<_>, Vec<_>) = going
            .into_iter()
            .partition(|name| failed(name) || name == "group");
        assert_eq!(others.is_empty(), run == 1);
        for name in &again {
            let failures = &mut world.failures;
            let of = if name == "group" {
                &mut failures.groups
            } else {
                &mut failures.people
            };
            of.get_mut(&key(name)).unwrap().last = now() - TimeDelta::minutes(60 - run);
        }
        sent.push(again.join(" "));
    }
    // The group takes more than half, and has its turn once a day beside what is never given up.
    assert_eq!(sent, ["a group", "b c", "d e", "f mail", "a b", "c d"]);
}

#[test]
fn what_was_tried_in_vain_and_does_not_fit_leaves_nobody_else() {
    // It is the group's turn, and those who leave go before it.
    let mut world = tried_in_vain(&["x", "y"], 4);
    world.failures.groups.get_mut(&key("group")).unwrap().last = now() - TimeDelta::days(1);
    assert_eq!(going(&world, 6), ["x", "y", "a", "group"]);
    assert_eq!(going(&world, 5), ["x", "y", "a", "b", "title0"]);
    // A day ago is not long enough ago where it is less.
    let group = world.failures.groups.get_mut(&key("group")).unwrap();
    group.last += TimeDelta::seconds(1);
    assert_eq!(going(&world, 6), ["x", "y", "a", "b", "c", "title0"]);
    // What takes more than the budget goes where the others leave something, as the last; or once a day.
    assert_eq!(going(&tried_in_vain(&[], 4), 2), ["a", "title0"]);
    let mut world = tried_in_vain(&["x"], 4);
    let group = world.failures.groups.get_mut(&key("group")).unwrap();
    group.last = now() - TimeDelta::days(1);
    assert_eq!(going(&world, 2), ["x", "a", "group"]);
    world.failures.groups.get_mut(&key("group")).unwrap().last += TimeDelta::seconds(1);
    assert_eq!(going(&world, 2), ["x", "a"]);
    let all = going(&tried_in_vain(&[], 0), 2);
    assert_eq!(all, ["a", "b"]);
    let mut world = tried_in_vain(&[], 1);
    world
        .accounts
        .retain(|one| [key("a"), key("title0")].contains(&one.key));
    world.people.retain(|one| one.key == key("title0"));
    assert_eq!(going(&world, 2), ["a", "title0", "group"]);
}

/// A run of those who were tried in vain, of others who come every time, and of their failures.
struct Runs {
    world: World,
    /// Groups that are made, with so many members each.
    groups: BTreeMap<&'static str, usize>,
    /// When each was last tried.
    last: BTreeMap<String, Timestamp>,
    now: Timestamp,
}

impl Runs {
    fn of(logins: usize, cancelled: usize, titles: usize) -> Self {
        let names = |what: &'static str, count| (0..count).map(move |at| format!("{what}{at}"));
        let mut people: Vec<_> = names("title", titles)
            .map(|name| with(person(&name), Attribute::Title, "Head"))
            .collect();
        people.extend(names("cancel", cancelled).map(|name| person(&name)));
        people.push(person("stays"));
        let active = names("off", logins).chain(names("title", titles));
        let mut accounts: Vec<_> = active.map(|name| account(&name)).collect();
        accounts.push(account("stays"));
        let since = at("2026-06-10T00:00:00Z");
        let deleted = |name: String| in_state(&name, Lifecycle::DeletePending { since }, None);
        accounts.extend(names("cancel", cancelled).map(deleted));
        let world = World::new(people, accounts);
        // What is cosmetic has waited longest.
        let all = names("title", titles).chain(names("off", logins));
        let all = all.chain(names("cancel", cancelled)).enumerate();
        let hour = |at: usize| now() - TimeDelta::hours(20) + TimeDelta::minutes(at as i64);
        Runs {
            last: all.map(|(at, name)| (name, hour(at))).collect(),
            now: now(),
            world,
            groups: BTreeMap::new(),
        }
    }

    /// With these groups, which were tried before all others.
    fn with_groups(mut self, groups: &[(&'static str, usize)]) -> Self {
        for (name, members) in groups {
            self.groups.insert(name, *members);
            let hours = TimeDelta::hours(30 + self.groups.len() as i64);
            self.last.insert((*name).to_owned(), now() - hours);
        }
        self
    }

    /// An hour later: what goes of those in vain, and how many of so many others, who leave or come back.
    fn next(&mut self, max_calls: u64, (leaving, coming): (usize, usize)) -> (Vec<String>, usize) {
        self.now += TimeDelta::hours(1);
        let World {
            people, accounts, ..
        } = &mut self.world;
        let before = (people.len(), accounts.len());
        accounts.extend((0..leaving).map(|at| account(&format!("leaver{at}"))));
        people.extend((0..coming).map(|at| person(&format!("new{at}"))));
        let since = at("2026-06-01T00:00:00Z");
        let off = |name: String| in_state(&name, Lifecycle::Deactivated { since }, None);
        accounts.extend((0..coming).map(|at| off(format!("new{at}"))));
        let mut plan = self.world.planned();
        self.world.people.truncate(before.0);
        self.world.accounts.truncate(before.1);
        for one in &mut plan.operations {
            let name = one.operation.key.as_str().trim_start_matches("key-");
            one.tried_in_vain = self.last.get(name).copied();
        }
        let mut groups = GroupPlan::default();
        for (name, members) in &self.groups {
            let mut one = group(*members);
            one.operation.key = key(name);
            one.tried_in_vain = self.last.get(*name).copied();
            groups.operations.push(one);
        }
        plan.groups = Some(groups);
        plan.fit(Some(max_calls), EVEN, self.now);
        let approved = plan.approve();
        let sent = approved.operations().iter().map(|one| one.key.as_str());
        let groups = approved.groups().iter().map(|one| one.key.as_str());
        let sent = sent.chain(groups);
        let sent = sent.map(|key| key.trim_start_matches("key-").to_owned());
        let (again, others): (Vec<_>, Vec<_>) = sent.partition(|name| self.last.contains_key(name));
        for name in &again {
            self.last.insert(name.clone(), self.now);
        }
        (again, others.len())
    }
}

#[test]
fn a_login_that_could_not_be_turned_off_waits_for_no_title() {
    let mut runs = Runs::of(1, 0, 2);
    for _ in 0..4 {
        let (again, others) = runs.next(4, (0, 10));
        assert!(again.contains(&"off0".to_owned()), "{again:?}");
        assert_eq!((again.len(), others), (2, 2));
    }
}

#[test]
fn a_large_turn_comes_once_a_day_and_after_what_is_never_given_up() {
    // Two groups that take the whole budget each, and a login that could not be turned off.
    let mut world = tried_in_vain(&[], 4);
    world
        .accounts
        .retain(|one| one.key == key("a") || one.key.as_str().starts_with("key-title"));
    world
        .people
        .retain(|one| one.key.as_str().starts_with("key-title"));
    let sizes = [("one", 2), ("two", 1)];
    let mut last: BTreeMap<&str, Timestamp> = sizes
        .map(|(name, days)| (name, now() - TimeDelta::days(days)))
        .into();
    let mut plan_at = |now: Timestamp| {
        let mut plan = world.planned();
        let mut groups = GroupPlan::default();
        for (name, _) in sizes {
            let mut one = group(700);
            one.operation.key = key(name);
            one.tried_in_vain = Some(last[name]);
            groups.operations.push(one);
        }
        plan.groups = Some(groups);
        plan.fit(Some(8), SCIM, now);
        let approved = plan.approve();
        let keys = approved.operations().iter().map(|one| &one.key);
        let keys = keys.chain(approved.groups().iter().map(|one| &one.key));
        let keys: Vec<String> = keys
            .map(|key| key.as_str().trim_start_matches("key-").to_owned())
            .collect();
        for name in sizes.map(|(name, _)| name) {
            if keys.iter().any(|key| key == name) {
                last.insert(name, now);
            }
        }
        keys
    };
    // They leave no room for what is never given up, and so go without a turn, as long as that is there.
    let first = plan_at(now());
    assert!(first.contains(&"a".to_owned()), "{first:?}");
    let second = plan_at(now() + TimeDelta::hours(2));
    assert!(second.contains(&"a".to_owned()), "{second:?}");
}

#[test]
fn what_takes_the_whole_budget_has_its_turn_while_a_login_cannot_be_turned_off() {
    const DAYS: usize = 10;
    // Of eight requests they take all, nine, and three.
    for (name, groups, hours_between, leaving) in [
        ("alone", &[("whole", 700)][..], 1, 0),
        ("somebody leaves every time", &[("whole", 700)], 1, 1),
        ("a run a day", &[("whole", 700)], 24, 1),
        ("two", &[("one", 700), ("two", 650)], 1, 0),
        (
            "beside smaller ones",
            &[("whole", 700), ("small", 150), ("more", 800)],
            1,
            0,
        ),
    ] {
        let mut runs = Runs::of(1, 0, 1).with_groups(groups);
        let mut turns: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for hour in (0..24 * DAYS).step_by(hours_between) {
            runs.now += TimeDelta::hours(hours_between as i64 - 1);
            let (again, others) = runs.next(8, (leaving, 10));
            // It waits for nothing, nor do those who leave.
            assert!(again.contains(&"off0".to_owned()), "{name}: {again:?}");
            assert!(others >= leaving, "{name}: {others}");
            for one in again {
                turns.entry(one).or_default().push(hour);
            }
        }
        for (group, members) in groups {
            let turns = turns.get(*group).cloned().unwrap_or_default();
            assert!(turns.len() >= DAYS / 5, "{name}: {group} {turns:?}");
            let is_apart = turns.windows(2).all(|two| two[1] - two[0] >= 24);
            assert!(*members < 600 || is_apart, "{name}: {group} {turns:?}");
        }
    }
}

#[test]
fn what_takes_more_than_half_of_a_budget_goes_beside_those_in_vain() {
    let mut world = tried_in_vain(&[], 0);
    world.failures.groups.clear();
    // Two of those in vain leave two of four requests, and it takes three.
    assert_eq!(going(&world, 4), ["a", "group"]);
}

#[test]
fn requests_for_groups_are_counted_as_the_client_sends_them() {
    let whole = Way::Scim {
        replaces_whole: true,
    };
    let count = |planned: &PlannedGroup, way| {
        let plan = Plan {
            groups: Some(GroupPlan {
                operations: vec![planned.clone()],
                ..GroupPlan::default()
            }),
            ..Plan::default()
        };
        plan.calls(way).total()
    };
    for (kind, members, leaving, patches, replaces) in [
        (GroupChange::Create, 0, 0, 1, 1),
        (GroupChange::Create, 100, 0, 2, 3),
        (GroupChange::Create, 101, 0, 3, 3),
        (GroupChange::Rename, 201, 0, 5, 4),
        (GroupChange::Update, 1, 1, 2, 4),
        (GroupChange::Adopt, 0, 0, 0, 0),
        (GroupChange::Delete, 0, 0, 1, 1),
    ] {
        let mut planned = group(members);
        planned.operation.kind = kind;
        planned.operation.remove = group(leaving).operation.add;
        assert_eq!(count(&planned, SCIM), patches, "{kind:?} {members}");
        assert_eq!(count(&planned, whole), replaces, "{kind:?} {members}");
        // What is held takes none.
        planned.holds = vec![0];
        assert_eq!(count(&planned, SCIM), 0);
    }
}

/// People who exchange their addresses in any way, and some who are new.
fn rounds() -> impl Strategy<Value = World> {
    let names = ["a", "b", "c", "d", "e", "f"];
    Just(names.to_vec()).prop_shuffle().prop_map(move |mails| {
        let people = names.iter().zip(mails);
        let people =
            people.map(|(name, mail)| with_mail(person(name), &format!("{mail}@example.org")));
        World::new(
            people.collect(),
            names[..5].iter().map(|name| account(name)).collect(),
        )
    })
}

/// The requests of all who go together with this operation.
fn together(of: &Operation, sent: &[Approved]) -> u64 {
    let mut keys = BTreeSet::from([&of.key]);
    loop {
        let before = keys.len();
        for one in sent {
            let all: BTreeSet<&ExternalId> = one.waits_for.iter().chain([&one.key]).collect();
            if !all.is_disjoint(&keys) {
                keys.extend(all);
            }
        }
        if keys.len() == before {
            break;
        }
    }
    let mut calls = Calls::default();
    for one in sent.iter().filter(|one| keys.contains(&one.key)) {
        calls.count(one, SCIM);
    }
    calls.total()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nothing_is_sent_before_what_it_waits_for_nor_a_deactivation_behind_what_it_does_not(
        world in prop_oneof![odd_world(), rounds()],
    ) {
        let plan = world.planned();
        let all: Vec<&Operation> = plan.operations.iter().map(|one| &one.operation).collect();
        prop_assert!(all.is_sorted_by_key(|one| (one.wave, one.kind)), "{all:?}");
        for (at, operation) in all.iter().enumerate() {
            for freer in &operation.waits_for {
                let is_before = all[..at].iter().any(|other| other.key == *freer && other.wave < operation.wave);
                prop_assert!(is_before, "{} waits for {}", operation.dn, freer);
            }
        }
        let mut needed: BTreeSet<&ExternalId> = BTreeSet::new();
        let last = all.iter().rposition(|one| one.turns_login_off());
        for operation in all.iter().rev() {
            if operation.turns_login_off() || needed.contains(&operation.key) {
                needed.extend(&operation.waits_for);
            }
        }
        for operation in &all[..last.unwrap_or(0)] {
            let is_right = operation.turns_login_off() || needed.contains(&operation.key);
            prop_assert!(is_right, "{} {} is before a deactivation", operation.kind, operation.dn);
        }
        prop_assert!(all.is_sorted_by_key(|one| one.is_cosmetic()));
    }

    #[test]
    fn what_fits_a_budget_needs_nothing_that_does_not(
        world in prop_oneof![odd_world(), rounds()],
        max_calls in 1..10_u64,
        limit in 0..4_u64,
    ) {
        let mut world = world;
        world.limit(Guard::ChangeEmail, at_most(limit));
        let mut plan = world.planned();
        let whole = plan.calls(SCIM).total();
        plan.fit(Some(max_calls), SCIM, now());
        let used = plan.calls(SCIM).total();
        let approved = plan.approve();
        let sent = approved.operations();
        // Only what takes more by itself, with those who go together with it, takes more.
        let most = sent.iter().map(|one| together(one, sent)).max().unwrap_or(0);
        prop_assert!(used <= max_calls || most > max_calls, "{used} of {max_calls}");
        prop_assert!(whole > max_calls || plan.carried_over.is_empty());
        let keys: BTreeSet<&ExternalId> = sent.iter().map(|one| &one.key).collect();
        for operation in sent {
            prop_assert!(operation.waits_for.iter().all(|key| keys.contains(key)), "{:?}", operation);
            if operation.reason == Reason::MakesWay {
                let mut others = sent.iter();
                prop_assert!(others.any(|one| one.key == operation.key && one.reason != Reason::MakesWay));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_is_tried_in_vain_and_whatever_else_comes_each_has_its_turn(
        max_calls in 4..14_u64,
        logins in 0..5_usize,
        cancelled in 0..3_usize,
        titles in 0..6_usize,
        fresh in proptest::collection::vec((0..3_usize, 0..14_usize), 48),
    ) {
        let mut runs = Runs::of(logins, cancelled, titles);
        let mut tried = BTreeSet::new();
        for (at, (leaving, coming)) in fresh.into_iter().enumerate() {
            let (again, others) = runs.next(max_calls, (leaving, coming));
            let half = (max_calls - max_calls / 2) as usize;
            prop_assert!(others >= half.min(leaving + coming), "{others}: {again:?}");
            // One who was tried the longest ago at most goes before what is never given up.
            let cosmetic = again.iter().filter(|name| name.starts_with("title")).count();
            let off = again.iter().filter(|name| name.starts_with("off")).count();
            prop_assert!(off == logins || cosmetic <= 1, "{again:?}");
            tried.extend(again);
            let are_all = tried.len() == runs.last.len();
            prop_assert!(at < runs.last.len() || are_all, "{tried:?} of {:?}", runs.last);
        }
        prop_assert_eq!(tried.len(), runs.last.len(), "{:?}", tried);
    }
}
