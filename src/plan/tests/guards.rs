//! What the guards hold, and what goes on.

use proptest::prelude::*;

use super::properties::odd_world;
use super::*;
use crate::config::{Freeze, Limit, NamePattern, Per, Policy, Window};
use crate::model::{Absence, AccountId, Cause, DesiredAccount, ManagedGroup, RunId, ScimId};

fn share(percent: f64) -> Limit {
    Limit {
        percent: Some(percent),
        ..Limit::default()
    }
}

fn always(always: u64, limit: Limit) -> Limit {
    Limit { always, ..limit }
}

/// The names of the holds.
fn holds(plan: &Plan) -> Vec<&str> {
    plan.holds.iter().map(|hold| hold.name.as_str()).collect()
}

/// How many operations there are, and how many of them are held.
fn held(world: &World) -> (usize, usize) {
    let plan = world.planned();
    (plan.operations.len(), plan.held())
}

const ALL: usize = 20;

fn names() -> Vec<String> {
    (0..ALL).map(|n| format!("p{n:02}")).collect()
}

fn dn(name: &str, ou: &str) -> String {
    format!("uid={name},ou={ou},dc=example,dc=org")
}

/// Twenty accounts and somebody else: half of them in an OU, with addresses of a domain.
fn everybody() -> Vec<ManagedAccount> {
    let accounts = names().into_iter().enumerate().map(|(n, name)| {
        let (ou, domain) = if n < ALL / 2 {
            ("sales", "a.org")
        } else {
            ("legal", "b.org")
        };
        ManagedAccount {
            dn: dn(&name, ou),
            profile: profile(&name, &format!("{name}@{domain}")),
            ..account(&name)
        }
    });
    accounts.collect()
}

fn as_they_are(accounts: &[ManagedAccount]) -> Vec<DesiredAccount> {
    accounts
        .iter()
        .map(|account| DesiredAccount {
            key: account.key.clone(),
            source: account.source.clone(),
            dn: account.dn.clone(),
            profile: account.profile.clone(),
            active: true,
        })
        .collect()
}

/// A world in which the first so many accounts are concerned by this guard, as the only ones.
fn world_of(guard: Guard, number: usize) -> World {
    let mut accounts = everybody();
    let mut people = as_they_are(&accounts);
    let mut policy = Policy::default();
    match guard {
        Guard::Create => {
            for n in 0..number {
                let new = person(&format!("new{n:02}"));
                people.push(DesiredAccount {
                    dn: dn(&format!("new{n:02}"), "sales"),
                    ..with_mail(new, &format!("new{n:02}@a.org"))
                });
            }
        }
        Guard::Update | Guard::SameAttribute => {
            for person in &mut people[..number] {
                person.profile.set(Attribute::Title, "Head");
            }
        }
        Guard::Deactivate => {
            people.drain(..number);
        }
        Guard::Delete => {
            people.drain(..number);
            policy.delete_after = Some(TimeDelta::days(30));
            for account in &mut accounts[..number] {
                account.lifecycle = Lifecycle::Deactivated {
                    since: at("2026-01-01T00:00:00Z"),
                };
                account.absence = Some(Absence {
                    since: at("2026-01-01T00:00:00Z"),
                    cause: Some(Cause::Deleted),
                    pulls: 1,
                });
            }
        }
        Guard::ChangeEmail => {
            for person in &mut people[..number] {
                let mail = person.profile.get(Attribute::Email).unwrap();
                let mail = format!("x-{mail}");
                person.profile.set(Attribute::Email, mail);
            }
        }
        Guard::RemoveMembers => {}
    }
    let mut world = World::new(people, accounts);
    world.policy = policy;
    world
}

#[test]
fn each_guard_holds_at_its_boundary_in_each_scope() {
    let kinds = [
        (Guard::Create, "create"),
        (Guard::Update, "update"),
        (Guard::Deactivate, "deactivate"),
        (Guard::Delete, "delete"),
        (Guard::ChangeEmail, "change_email"),
        (Guard::SameAttribute, "same_attribute.title"),
    ];
    // Of twenty accounts, or of the ten in the scope.
    let scopes = [
        (Per::Whole, "", 20),
        (Per::Source, ".source.directory", 20),
        (Per::Ou, ".ou.ou=sales,dc=example,dc=org", 10),
        (Per::Domain, ".domain.a.org", 10),
    ];
    // How many each limit allows of twenty, and of ten.
    let limits = [
        (share(20.0), [4, 2]),
        (share(14.9), [2, 1]),
        (always(5, share(10.0)), [5, 5]),
        (at_most(4), [4, 4]),
        (
            Limit {
                at_most: Some(3),
                ..share(50.0)
            },
            [3, 3],
        ),
        (share(0.0), [0, 0]),
        (
            Limit {
                population: 21,
                at_most: Some(6),
                ..share(0.0)
            },
            [6, 6],
        ),
    ];
    for (guard, name) in kinds {
        for (per, suffix, all) in scopes {
            for (limit, allowed) in &limits {
                let allowed = allowed[usize::from(all < ALL)];
                for (number, expected) in [(allowed, 0), (allowed + 1, allowed + 1)] {
                    let mut world = world_of(guard, number);
                    let limit = Limit {
                        per,
                        ..limit.clone()
                    };
                    world.limit(guard, limit.clone());
                    let what = format!("{number} × {name} under {limit:?}");
                    assert_eq!(held(&world), (number, expected), "{what}");
                    let plan = world.planned();
                    let full = format!("{name}{suffix}");
                    let open = if expected > 0 {
                        vec![full.as_str()]
                    } else {
                        vec![]
                    };
                    assert_eq!(holds(&plan), open, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_share_applies_from_its_population_on() {
    for (population, expected) in [(20, (3, 3)), (21, (3, 0))] {
        let mut world = world_of(Guard::Deactivate, 3);
        let limit = Limit {
            population,
            ..share(10.0)
        };
        world.limit(Guard::Deactivate, limit);
        assert_eq!(held(&world), expected, "{population}");
    }
}

#[test]
fn of_several_limits_each_must_be_kept() {
    let mut world = world_of(Guard::Deactivate, 3);
    let per_ou = Limit {
        per: Per::Ou,
        ..share(25.0)
    };
    world
        .guards
        .limits
        .insert(Guard::Deactivate, vec![share(50.0), per_ou, at_most(2)]);
    let plan = world.planned();
    let names = holds(&plan);
    assert_eq!(
        names,
        ["deactivate", "deactivate.ou.ou=sales,dc=example,dc=org"]
    );
    assert_eq!(plan.operations[0].holds, [0, 1]);
    let figures = plan.holds[1].to_string();
    assert!(
        figures.contains("3 deactivations among 10 accounts of OU `ou=sales,dc=example,dc=org` (30.0 %) are more than the 2"),
        "{figures}"
    );
    assert!(figures.contains("dirsyncd approve deactivate.ou.ou=sales,dc=example,dc=org --reason"));
}

#[test]
fn a_scope_is_counted_by_itself_and_the_others_go_on() {
    let mut world = world_of(Guard::Deactivate, 0);
    // Two of sales, one of legal; and an account in an OU below sales is not one of sales.
    world.accounts[0].dn = "uid=p00,OU=Team A, OU=Sales,dc=example,dc=org".into();
    world.people.remove(ALL - 1);
    world.people.drain(..3);
    let limit = Limit {
        per: Per::Ou,
        ..at_most(1)
    };
    world.limit(Guard::Deactivate, limit);
    let plan = world.planned();
    assert_eq!(
        brief(&plan),
        [
            "deactivate p00",
            "!deactivate p01",
            "!deactivate p02",
            "deactivate p19"
        ]
    );
    assert_eq!(holds(&plan), ["deactivate.ou.ou=sales,dc=example,dc=org"]);
}

#[test]
fn whoever_moves_is_counted_where_the_account_is() {
    let mut world = world_of(Guard::Deactivate, 0);
    for person in &mut world.people[..3] {
        person.active = false;
        person.dn = person.dn.replace("ou=sales", "ou=disabled");
    }
    let limit = Limit {
        per: Per::Ou,
        ..share(20.0)
    };
    world.limit(Guard::Deactivate, limit);
    let plan = world.planned();
    assert_eq!(holds(&plan), ["deactivate.ou.ou=sales,dc=example,dc=org"]);
}

#[test]
fn each_attribute_is_counted_by_itself() {
    let mut world = world_of(Guard::Update, 3);
    for person in &mut world.people[3..6] {
        person.profile.set(Attribute::Department, "Sales");
    }
    world.people[0].profile.set(Attribute::Department, "Sales");
    world.limit(Guard::SameAttribute, at_most(3));
    let plan = world.planned();
    assert_eq!(holds(&plan), ["same_attribute.department"]);
    assert_eq!(plan.held(), 4);
    let figures = plan.holds[0].to_string();
    assert!(
        figures.contains("4 changes of department among 20 accounts (20.0 %)"),
        "{figures}"
    );
}

#[test]
fn a_creation_that_an_earlier_run_was_let_through_with_is_not_counted_again() {
    let mut world = world_of(Guard::Create, 3);
    world.limit(Guard::Create, at_most(2));
    assert_eq!(held(&world), (3, 3));
    world.attempted = vec!["new01"];
    assert_eq!(held(&world), (3, 0));
}

#[test]
fn the_defaults_let_a_first_sync_through_and_hold_what_is_odd_later() {
    let many: Vec<String> = (0..300).map(|n| format!("p{n:03}")).collect();
    let people = || many.iter().map(|name| person(name)).collect::<Vec<_>>();
    let accounts = || many.iter().map(|name| account(name)).collect::<Vec<_>>();
    let with_defaults = |people, accounts| {
        let mut world = World::new(people, accounts);
        world.guards = Guards::default();
        world
    };
    assert_eq!(held(&with_defaults(people(), vec![])), (300, 0));
    // As many again are let through, and not one more.
    let half = accounts()[..150].to_vec();
    assert_eq!(held(&with_defaults(people(), half)), (150, 0));
    let fewer = accounts()[..149].to_vec();
    assert_eq!(held(&with_defaults(people(), fewer)), (151, 151));
    for (number, expected) in [(75, 0), (76, 76)] {
        let mut all = people();
        for person in &mut all[..number] {
            person.profile.set(Attribute::Title, "Head");
        }
        assert_eq!(held(&with_defaults(all, accounts())), (number, expected));
    }
    // Half of the accounts, whatever it is that changes.
    let mut all = people();
    for (n, person) in all[..150].iter_mut().enumerate() {
        let attribute = Attribute::ALL[2 + n % 8];
        person.profile.set(attribute, "new");
    }
    let plan = with_defaults(all, accounts()).planned();
    assert_eq!(holds(&plan), ["update"]);
    // A small source that everybody leaves.
    let mut all = accounts();
    for account in &mut all[..6] {
        account.source = SourceName::new("contractors");
    }
    let mut world = with_defaults(people()[6..].to_vec(), all);
    world.sources = vec!["contractors"];
    let plan = world.planned();
    assert_eq!(holds(&plan), ["deactivate.source.contractors"]);
}

#[test]
fn a_hold_lets_the_safe_rest_through_but_nothing_that_waits_for_what_it_holds() {
    let mut world = World::new(
        vec![
            with_mail(person("a"), "new@example.org"),
            with_mail(person("heir"), "a@example.org"),
            person("c"),
        ],
        vec![account("a"), account("leaver")],
    );
    world.limit(Guard::ChangeEmail, at_most(0));
    let plan = world.planned();
    assert_eq!(
        brief(&plan),
        ["deactivate leaver", "!update a", "create c", "!create heir"]
    );
    assert_eq!(plan.operations[3].holds, [] as [usize; 0]);
    assert_eq!(plan.operations[3].waits, [0]);
    world.limit(Guard::Deactivate, at_most(0));
    let plan = world.planned();
    assert_eq!(
        brief(&plan),
        [
            "!deactivate leaver",
            "!update a",
            "create c",
            "!create heir"
        ]
    );
    assert_eq!(plan.approve().operations().len(), 1);
    let figures = plan.holds[0].to_string();
    assert!(
        figures.contains("1 deactivation among 2 accounts (50.0 %)"),
        "{figures}"
    );
}

#[test]
fn what_is_done_to_a_protected_account_is_held() {
    let protected = [
        "KEY-P00",
        "P01@A.org",
        "p02@a.org",
        "p03@a.org",
        "p04@a.org",
        "x@a.org",
    ];
    let mut world = world_of(Guard::Deactivate, 1);
    world.guards.protected = protected
        .iter()
        .map(|who| crate::model::fold(who))
        .collect();
    // p01 is disabled, p02 gets another address, p03 another title, p04 stays; somebody takes
    // the address of one who is protected, and one is adopted.
    world.people[0].active = false;
    world.people[1] = with_mail(world.people[1].clone(), "other@a.org");
    world.people[2].profile.set(Attribute::Title, "Head");
    world.people[5].profile.set(Attribute::Email, "x@a.org");
    world.people.push(with_mail(person("new"), "p99@a.org"));
    let mut found = existing("new", None);
    found.profile = profile("new", "p99@a.org");
    world.existing = vec![found];
    world.guards.protected.insert("p99@a.org".into());
    let plan = world.planned();
    let mut operations = brief(&plan);
    operations.sort();
    assert_eq!(
        operations,
        [
            "!adopt new",
            "!deactivate p00",
            "!deactivate p01",
            "!update p02",
            "!update p06",
            "update p03",
        ]
    );
    assert_eq!(holds(&plan), ["protected"]);
    assert_eq!(plan.holds[0].planned, 5);
}

fn group(name: &str, members: &[&str]) -> GuardedGroup {
    let member = |name: &&str| GuardedMember {
        scim_id: Some(ScimId::new(format!(
            "scim-{}",
            name.trim_start_matches('-')
        ))),
        account_id: None,
        is_active: !name.starts_with('-'),
    };
    GuardedGroup {
        name: name.to_owned(),
        members: members.iter().map(member).collect(),
    }
}

#[test]
fn departures_of_members_of_a_protected_group_are_held() {
    let mut world = world_of(Guard::Deactivate, 2);
    world.guards.protected_groups = vec![NamePattern::new("Billing-*")];
    world.groups.groups = vec![
        group("billing-eu", &["p01", "p05"]),
        group("others", &["p00"]),
    ];
    // Another change of a member is none of its business.
    world.people[3].profile.set(Attribute::Title, "Head");
    let plan = world.planned();
    assert_eq!(
        brief(&plan),
        ["deactivate p00", "!deactivate p01", "update p05"]
    );
    assert_eq!(holds(&plan), ["protected"]);
    assert!(world.guards.protects_group("billing-us"));
}

#[test]
fn a_group_of_administrators_keeps_an_active_member() {
    let world = |members: &[&str]| {
        let mut world = world_of(Guard::Deactivate, 3);
        world.guards.administrators = vec!["Admins".into()];
        world.groups.groups = vec![group("admins", members)];
        world
    };
    // One stays; one who cannot log in is none; nobody was there before.
    assert_eq!(held(&world(&["p00", "p01", "p09"])), (3, 0));
    assert_eq!(held(&world(&["-p00", "p08"])), (3, 0));
    assert_eq!(held(&world(&["-p00", "-p08"])), (3, 0));
    assert_eq!(held(&world(&[])), (3, 0));
    // None would stay: those who would go are held, and the others go.
    let mut last = world(&["p00", "p02", "-p09"]);
    let plan = last.planned();
    assert_eq!(
        brief(&plan),
        ["!deactivate p00", "deactivate p01", "!deactivate p02"]
    );
    let figures = plan.holds[0].to_string();
    assert!(
        figures.contains("no active member would be left of `admins`"),
        "{figures}"
    );
    // One of them may go by approval; the last one still stays.
    last.approve("administrators", |operation| operation.key == key("p00"));
    assert_eq!(
        brief(&last.planned()),
        ["deactivate p00", "deactivate p01", "!deactivate p02"]
    );
}

#[test]
fn groups_of_one_name_in_several_directories_each_keep_a_member() {
    let mut world = world_of(Guard::Deactivate, 3);
    world.guards.administrators = vec!["admins".into()];
    world.groups.groups = vec![
        group("admins", &["p01", "p09"]),
        group("Admins", &["p01", "p02"]),
    ];
    let plan = world.planned();
    assert_eq!(
        brief(&plan),
        ["deactivate p00", "!deactivate p01", "!deactivate p02"]
    );
    assert!(plan.holds[0].to_string().contains("of `Admins`"));
}

#[test]
fn whose_account_is_not_known_may_be_the_last_administrator() {
    let mut world = world_of(Guard::Deactivate, 2);
    world.accounts[0].account_id = None;
    world.guards.administrators = vec!["admins".into()];
    let mut admins = group("admins", &["p09"]);
    admins.members[0].scim_id = None;
    admins.members[0].account_id = Some(AccountId::new("557058:unknown"));
    world.groups.groups = vec![admins];
    assert_eq!(
        brief(&world.planned()),
        ["!deactivate p00", "deactivate p01"]
    );
    // Where the members are told by another id, that one says who it is.
    world.groups.groups = vec![group("admins", &["p09"])];
    assert_eq!(world.planned().held(), 0);
}

#[test]
fn a_group_of_administrators_that_is_not_there_holds_all_departures() {
    let mut world = world_of(Guard::Deactivate, 2);
    world.people[0].profile.set(Attribute::Title, "Head");
    world.guards.administrators = vec!["admin".into()];
    world.groups.missing = vec!["admin".into()];
    let plan = world.planned();
    assert_eq!(
        brief(&plan),
        ["!deactivate p00", "!deactivate p01", "update p02"]
    );
    let figures = plan.holds[0].to_string();
    assert!(
        figures.contains("the organization has no group `admin`"),
        "{figures}"
    );
}

#[test]
fn in_a_freeze_nothing_is_done_that_it_names() {
    let freeze = |from: &str, what: Option<&[Guard]>| Freeze {
        window: Window::Once {
            from: from.parse().unwrap(),
            to: "2026-06-20T00:00:00".parse().unwrap(),
        },
        zone: chrono_tz::Europe::Berlin,
        what: what.map(|what| what.iter().copied().collect()),
    };
    // All plan at 14:00 in Berlin.
    let at_once = |freezes| {
        let mut world = world_of(Guard::Deactivate, 1);
        world.people[0].profile.set(Attribute::Title, "Head");
        world.people.push(person("new"));
        world.guards.freezes = freezes;
        let plan = world.planned();
        (brief(&plan), holds(&plan).join(" "), plan)
    };
    let (operations, names, plan) = at_once(vec![freeze("2026-06-15T14:00:00", None)]);
    assert_eq!(
        operations,
        ["!deactivate p00", "!create new", "!update p01"]
    );
    assert_eq!(names, "freeze");
    let message = plan.holds[0].to_string();
    assert!(message.contains("until 2026-06-20 00:00 CEST"), "{message}");
    let (operations, names, _) = at_once(vec![freeze("2026-06-15T14:00:01", None)]);
    assert_eq!(operations, ["deactivate p00", "create new", "update p01"]);
    assert_eq!(names, "");
    let (operations, ..) = at_once(vec![
        freeze("2026-06-15T00:00:00", Some(&[Guard::Create])),
        freeze(
            "2026-06-15T00:00:00",
            Some(&[Guard::Deactivate, Guard::Delete]),
        ),
    ]);
    assert_eq!(operations, ["!deactivate p00", "!create new", "update p01"]);
}

#[test]
fn a_freeze_does_not_keep_a_deletion_from_being_cancelled() {
    let pending = in_state(
        "back",
        pending("2026-06-10T00:00:00Z"),
        Some("2026-06-01T00:00:00Z"),
    );
    let left = in_state("again", DEACTIVATED, Some("2026-06-01T00:00:00Z"));
    let mut world = World::new(vec![person("back"), person("again")], vec![pending, left]);
    world.guards.freezes = vec![Freeze {
        window: Window::Once {
            from: "2026-06-15T00:00:00".parse().unwrap(),
            to: "2026-06-30T00:00:00".parse().unwrap(),
        },
        zone: chrono_tz::UTC,
        what: None,
    }];
    assert_eq!(brief(&world.planned()), ["restore back", "!restore again"]);
}

#[test]
fn an_approval_lets_exactly_that_operation_out_of_that_hold() {
    let mut world = world_of(Guard::Deactivate, 6);
    world.limit(Guard::Deactivate, at_most(2));
    world.guards.protected = ["key-p01".to_owned()].into();
    assert_eq!(holds(&world.planned()), ["deactivate", "protected"]);
    world.approve("deactivate", |operation| {
        [key("p00"), key("p01")].contains(&operation.key)
    });
    let plan = world.planned();
    // The other hold still holds the second.
    assert_eq!(
        brief(&plan),
        [
            "deactivate p00",
            "!deactivate p01",
            "!deactivate p02",
            "!deactivate p03",
            "!deactivate p04",
            "!deactivate p05"
        ]
    );
    assert_eq!(plan.operations[1].holds, [1]);
    assert!(plan.operations[0].is_approved() && !plan.operations[1].is_approved());
    assert_eq!(plan.holds[0].planned, 4, "the approved ones do not count");
    world.approve("protected", |_| true);
    assert_eq!(world.planned().held(), 4);
    // With two more the rest is within the limit.
    world.approve("deactivate", |operation| {
        [key("p02"), key("p03")].contains(&operation.key)
    });
    assert_eq!(world.planned().held(), 0);
}

#[test]
fn an_approval_does_not_cover_another_operation() {
    let mut world = world_of(Guard::ChangeEmail, 1);
    world.limit(Guard::ChangeEmail, at_most(0));
    world.approve("change_email", |_| true);
    assert_eq!(world.planned().held(), 0);
    let approved = world.people[0].clone();
    // Another address, one more attribute, another account behind it.
    world.people[0].profile.set(Attribute::Email, "y@a.org");
    assert_eq!(world.planned().held(), 1);
    world.people[0] = with(approved.clone(), Attribute::Title, "Head");
    assert_eq!(world.planned().held(), 1);
    world.people[0] = approved;
    assert_eq!(world.planned().held(), 0);
    world.accounts[0].scim_id = ScimId::new("another");
    assert_eq!(world.planned().held(), 1);
}

#[test]
fn what_waits_for_an_approved_operation_goes_with_it() {
    let mut world = World::new(
        vec![
            with_mail(person("a"), "new@example.org"),
            with_mail(person("heir"), "a@example.org"),
        ],
        vec![account("a")],
    );
    world.limit(Guard::ChangeEmail, at_most(0));
    assert_eq!(world.planned().held(), 2);
    world.approve("change_email", |_| true);
    assert_eq!(brief(&world.planned()), ["update a", "create heir"]);
}

#[test]
fn clocks_may_be_ten_minutes_apart() {
    let (tolerated, second) = (TimeDelta::minutes(10), TimeDelta::seconds(1));
    let mut world = world_of(Guard::Deactivate, 1);
    for (apart, is_held) in [(tolerated, 0), (tolerated + second, 1)] {
        // The last run began later than now.
        world.last_run = Some(now() + apart);
        assert_eq!(held(&world), (1, is_held), "{apart}");
        world.last_run = None;
        for theirs in [now() + apart, now() - apart] {
            world.api_time = Some(theirs);
            assert_eq!(held(&world), (1, is_held), "{apart}");
        }
        world.api_time = None;
    }
}

#[test]
fn departures_that_the_clock_holds_cannot_be_approved() {
    let mut world = world_of(Guard::Deactivate, 1);
    world.api_time = Some(at("2026-06-14T12:00:00Z"));
    world.approve("clock", |_| true);
    let plan = world.planned();
    assert_eq!(brief(&plan), ["!deactivate p00"]);
    assert!(!plan.holds[0].cause.can_be_approved());
    assert!(!plan.holds[0].to_string().contains("dirsyncd approve"));
}

#[test]
fn removed_members_are_counted_in_all_groups_and_in_each() {
    let change = |name: &'static str, members, removed| GroupChange {
        name,
        members,
        removed,
        loses_administrators: false,
        reverted_by: Vec::new(),
        is_rekeyed: false,
        digest: crate::model::Digest::of_text(&format!("{name} {removed}")),
        left_out: None,
    };
    let per_group = Limit {
        per: Per::Group,
        ..share(50.0)
    };
    let held = |limit: &Limit, changes: &[GroupChange], approvals: &[Approval]| {
        let mut guards = no_guards();
        guards
            .limits
            .insert(Guard::RemoveMembers, vec![limit.clone()]);
        let mut plan = Plan::default();
        let holds_of = plan.hold_groups(changes, 40, &guards, approvals, now());
        let held = |at: usize| -> Vec<usize> {
            let all = 0..changes.len();
            all.filter(|n| holds_of[*n].contains(&at)).collect()
        };
        plan.holds
            .iter()
            .enumerate()
            .map(|(at, hold)| (hold.name.clone(), hold.planned, held(at)))
            .collect::<Vec<_>>()
    };
    for (limit, changes, expected) in [
        // 10 % of all memberships, whichever groups they are of.
        (share(10.0), [("a", 20, 3), ("b", 10, 1)], vec![]),
        (
            share(10.0),
            [("a", 20, 3), ("b", 10, 2)],
            vec![("remove_members".to_owned(), 5, vec![0, 1])],
        ),
        (at_most(4), [("a", 20, 4), ("b", 10, 0)], vec![]),
        (
            at_most(4),
            [("a", 20, 5), ("b", 10, 0)],
            vec![("remove_members".to_owned(), 5, vec![0])],
        ),
        // Half of each group.
        (per_group.clone(), [("a", 20, 10), ("b", 10, 5)], vec![]),
        (
            per_group,
            [("a", 20, 10), ("b", 10, 6)],
            vec![("remove_members.group.b".to_owned(), 6, vec![1])],
        ),
    ] {
        let changes = changes.map(|(name, members, removed)| change(name, members, removed));
        assert_eq!(held(&limit, &changes, &[]), expected, "{limit:?}");
        let approvals: Vec<Approval> = expected
            .iter()
            .flat_map(|(name, _, held)| held.iter().map(move |at| (name, *at)))
            .map(|(name, at)| Approval {
                id: 1,
                hold: name.clone(),
                digest: changes[at].digest,
            })
            .collect();
        assert_eq!(held(&limit, &changes, &approvals), []);
    }
}

/// A change to a group that takes members out, and does again what these runs have put back.
fn taking_out(removed: u64, reverted_by: &[RunId]) -> GroupChange<'static> {
    GroupChange {
        name: "staff",
        members: 8,
        removed,
        loses_administrators: false,
        reverted_by: reverted_by.to_vec(),
        is_rekeyed: false,
        digest: crate::model::Digest::of_text("a change"),
        left_out: None,
    }
}

#[test]
fn removed_members_are_told_as_a_share_of_the_members() {
    let mut guards = no_guards();
    let per = Per::Group;
    let limit = Limit { per, ..at_most(1) };
    guards.limits.insert(Guard::RemoveMembers, vec![limit]);
    let mut plan = Plan::default();
    plan.hold_groups(&[taking_out(2, &[])], 40, &guards, &[], now());
    let message = plan.holds[0].to_string();
    let words =
        "2 removals of members among 8 members of group `staff` (25.0 %) are more than the 1";
    assert!(message.starts_with(words), "{message}");
}

#[test]
fn who_has_put_back_what_is_done_again_is_told_once_for_accounts_and_groups() {
    let held = |of_accounts: &[i64], of_groups: &[i64]| {
        let runs = |runs: &[i64]| runs.iter().copied().map(RunId).collect::<Vec<_>>();
        let by = runs(of_accounts);
        let mut plan = Plan {
            holds: vec![Hold {
                name: "reverted".to_owned(),
                cause: HoldCause::Reverted { by },
                planned: 1,
                opened: None,
            }],
            ..Plan::default()
        };
        let changes = [taking_out(0, &runs(of_groups))];
        plan.hold_groups(&changes, 8, &no_guards(), &[], now());
        assert_eq!((plan.holds.len(), plan.holds[0].planned), (1, 2));
        plan.holds[0].to_string()
    };
    assert!(held(&[7], &[7]).starts_with("reverted by run 7, and"));
    assert!(held(&[7, 9], &[8, 7]).starts_with("reverted by runs 7, 8, 9, and"));
}

#[test]
fn an_account_that_is_adopted_counts_among_those_that_a_share_is_taken_of() {
    for (was_active, is_held) in [(true, 0), (false, 1)] {
        // The adoption takes a login away, and so does an absence.
        let people = vec![disabled("a"), person("z")];
        let mut world = World::new(people, ["y", "z"].map(account).into());
        world.existing = vec![crate::model::ExistingAccount {
            active: was_active,
            ..existing("a", None)
        }];
        let percent = if was_active { 67.0 } else { 49.0 };
        world.limit(Guard::Deactivate, share(percent));
        assert_eq!(held(&world), (2, is_held), "{was_active}");
    }
}

#[test]
fn what_became_of_an_operation_changes_what_shares_are_taken_of() {
    let world = World::new(vec![person("a")], ["a", "b"].map(account).into());
    let mut known = world.known(&world.desired());
    let figures = |known: &Known| {
        let of_source = known.population.by_source[&source()];
        assert_eq!(
            (of_source.active, of_source.all),
            (known.population.active, known.population.all)
        );
        (of_source.active, of_source.all)
    };
    assert_eq!(figures(&known), (2, 2));
    for (became, expected) in [
        (in_state("b", DEACTIVATED, None), (1, 2)),
        (
            in_state("b", Lifecycle::Deleted { since: now() }, None),
            (1, 1),
        ),
        (account("b"), (2, 2)),
        (account("new"), (3, 3)),
    ] {
        known.settle(became);
        assert_eq!(figures(&known), expected);
    }
}

#[test]
fn what_is_done_to_a_protected_group_is_held_and_what_a_freeze_names() {
    let digest = crate::model::Digest::of_text("a change");
    let changes = ["Billing", "others"].map(|name| GroupChange {
        name,
        members: 3,
        removed: u64::from(name == "others"),
        loses_administrators: false,
        reverted_by: Vec::new(),
        is_rekeyed: false,
        digest,
        left_out: None,
    });
    let mut guards = no_guards();
    guards.protected_groups = vec![NamePattern::new("bill*")];
    guards.freezes = vec![Freeze {
        window: Window::Once {
            from: "2026-06-15T00:00:00".parse().unwrap(),
            to: "2026-06-16T00:00:00".parse().unwrap(),
        },
        zone: chrono_tz::UTC,
        what: Some([Guard::RemoveMembers].into()),
    }];
    // A hold of this name over accounts is the same.
    let mut plan = Plan {
        holds: vec![Hold {
            name: "protected".to_owned(),
            cause: HoldCause::Protected,
            planned: 2,
            opened: None,
        }],
        ..Plan::default()
    };
    let holds_of = plan.hold_groups(&changes, 6, &guards, &[], now());
    assert_eq!(holds(&plan), ["protected", "freeze"]);
    assert_eq!((plan.holds[0].planned, plan.holds[1].planned), (3, 1));
    assert_eq!(holds_of, [vec![0], vec![1]]);
}

#[test]
fn the_way_out_is_quoted_for_the_shell() {
    let hold = |name: &str| Hold {
        name: name.to_owned(),
        cause: HoldCause::Protected,
        planned: 1,
        opened: None,
    };
    for (name, expected) in [
        ("deactivate", "deactivate"),
        ("delete.ou.ou=sales,dc=x", "delete.ou.ou=sales,dc=x"),
        ("delete.ou.ou=team a,dc=x", "'delete.ou.ou=team a,dc=x'"),
        (
            "delete.ou.ou=o'brien,dc=x",
            r"'delete.ou.ou=o'\''brien,dc=x'",
        ),
        ("delete.ou.ou=$(x)", "'delete.ou.ou=$(x)'"),
    ] {
        assert_eq!(
            hold(name).way_out(),
            format!("dirsyncd approve {expected} --reason …")
        );
    }
}

/// Guards of all kinds: a limit of each in a scope, each as wide as `wide` says.
fn limited(wide: u64, per: Per) -> Guards {
    let mut guards = no_guards();
    for guard in Guard::ALL {
        let limit = Limit {
            per,
            at_most: Some(wide),
            percent: Some(wide as f64 * 10.0),
            ..Limit::default()
        };
        guards.limits.insert(guard, vec![limit]);
    }
    guards
}

/// What is sent.
fn sent(world: &World) -> BTreeSet<ExternalId> {
    let plan = world.planned();
    let approved = plan.approve();
    let keys = approved.operations().iter().map(|one| one.key.clone());
    keys.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_narrower_guard_never_lets_more_through(
        mut world in odd_world(),
        wide in 0..6_u64,
        per in prop::sample::select(vec![Per::Whole, Per::Source, Per::Ou, Per::Domain]),
    ) {
        world.guards = limited(wide + 1, per);
        let before = sent(&world);
        world.guards = limited(wide, per);
        prop_assert!(sent(&world).is_subset(&before));
    }

    #[test]
    fn to_approve_never_holds_more(
        mut world in odd_world(),
        wide in 0..4_u64,
        per in prop::sample::select(vec![Per::Whole, Per::Source, Per::Ou, Per::Domain]),
        chosen in any::<u8>(),
        all in any::<bool>(),
    ) {
        world.guards = limited(wide, per);
        world.guards.protected = ["key-p1".to_owned(), "a@x.org".to_owned()].into();
        let before = world.planned();
        let was_sent = sent(&world);
        let names: Vec<String> = before.holds.iter().map(|hold| hold.name.clone()).collect();
        let keys: Vec<ExternalId> = before
            .operations
            .iter()
            .enumerate()
            .filter(|(at, _)| chosen >> (at % 8) & 1 == 1)
            .map(|(_, planned)| planned.operation.key.clone())
            .collect();
        for name in &names {
            if world.planned().holds.iter().any(|hold| hold.name == *name) {
                world.approve(name, |operation| all || keys.contains(&operation.key));
            }
        }
        let now_sent = sent(&world);
        prop_assert!(was_sent.is_subset(&now_sent));
        if all {
            prop_assert_eq!(world.planned().held(), 0);
        }
        // An incomplete pull plans no departure whatever is approved.
        world.clean = Err("cut off".into());
        for planned in &world.planned().operations {
            let operation = &planned.operation;
            let disabled = world.people.iter().any(|p| p.key == operation.key && !p.active);
            prop_assert!(!operation.is_departure() || disabled, "{:?}", operation);
        }
    }
}

#[test]
fn what_was_left_out_of_an_approval_stays_held() {
    let people = vec![person("z")];
    let mut accounts: Vec<_> = ["a", "b", "c"].map(account).into();
    accounts.push(account("z"));
    let mut world = World::new(people, accounts);
    let at_most = |at_most| Limit {
        at_most: Some(at_most),
        ..Limit::default()
    };
    world.limit(Guard::Deactivate, at_most(2));
    assert_eq!(held(&world), (3, 3));
    world.approve("deactivate", |operation| operation.key == key("a"));
    let place = |name: &str| (key(name), "deactivate".to_owned());
    let hold = || std::collections::BTreeSet::from(["deactivate".to_owned()]);
    world.left_out = ["a", "b", "c"].map(|name| (place(name), hold())).into();
    // Two would be few enough, but somebody has let only the third go.
    assert_eq!(
        brief(&world.planned()),
        ["deactivate a", "!deactivate b", "!deactivate c"]
    );
}

#[test]
fn what_nobody_can_decide_cannot_be_approved() {
    let why = || "why".to_owned();
    for (cause, can_be) in [
        (HoldCause::Protected, true),
        (HoldCause::Reverted { by: Vec::new() }, true),
        (HoldCause::Clock { why: why() }, false),
        (HoldCause::Saved { why: why() }, false),
    ] {
        assert_eq!(cause.can_be_approved(), can_be, "{cause:?}");
    }
}

#[test]
fn what_is_noted_of_groups_is_let_through_as_it_is() {
    let noted = ManagedGroup {
        scim_id: ScimId::new("staff"),
        key: key("staff"),
        name: "Staff".to_owned(),
        origins: BTreeSet::new(),
        members: BTreeSet::new(),
        nested: BTreeSet::new(),
    };
    let gone = ScimId::new("of-old");
    let plan = Plan {
        groups: Some(GroupPlan {
            notes: vec![noted.clone()],
            forgotten: vec![gone.clone()],
            ..GroupPlan::default()
        }),
        ..Plan::default()
    };
    let approved = plan.approve();
    assert_eq!(approved.group_notes(), (&[noted][..], &[gone][..]));
}

#[test]
fn what_is_to_be_done_to_an_account_with_another_key_is_held_until_somebody_approves_it() {
    let long_ago = "2026-01-10T00:00:00Z";
    let off = Lifecycle::Deactivated {
        since: at(long_ago),
    };
    let head = |name| with(person(name), Attribute::Title, "Head");
    let people = vec![
        person("a"),
        head("b"),
        head("c"),
        person("back"),
        disabled("doubtful"),
    ];
    let accounts = vec![
        account("a"),
        account("b"),
        account("c"),
        account("gone"),
        in_state("back", off, None),
        in_state("old", off, Some(long_ago)),
        in_state("doubtful", off, Some(long_ago)),
    ];
    let mut world = World::new(people, accounts);
    world.policy.delete_after = Some(TimeDelta::days(30));
    world.doubtful = vec!["doubtful"];
    let sorted = |world: &World| {
        let mut brief = brief(&world.planned());
        brief.sort();
        brief
    };
    let all = [
        "deactivate gone",
        "delete old",
        "restore back",
        "restore doubtful",
        "update b",
        "update c",
    ];
    assert_eq!(sorted(&world), all);
    world.rekeyed = ["a", "b", "gone", "back", "old", "doubtful"]
        .map(|name| ScimId::new(format!("scim-{name}")))
        .into();
    // What was refused before is told as held, too: only that can be approved.
    let plan = world.planned();
    let is_gone = |one: &&Planned| one.operation.key == key("gone");
    let departure = plan.operations.iter().find(is_gone).unwrap();
    world.failures.people = HashMap::from([(
        key("gone"),
        crate::plan::Failed {
            digest: departure.operation.digest(),
            count: 1,
            in_vain: 0,
            error: "no".to_owned(),
            first: world.now,
            last: world.now,
        },
    )]);
    // A deletion is cancelled in any case, as that is possible for a time only.
    let held = [
        "!deactivate gone",
        "!delete old",
        "!restore back",
        "!update b",
        "restore doubtful",
        "update c",
    ];
    assert_eq!(sorted(&world), held);
    let plan = world.planned();
    let [hold] = &plan.holds[..] else {
        panic!("{:?}", plan.holds)
    };
    assert_eq!((hold.name.as_str(), hold.planned), ("rekeyed", 4));
    assert!(
        plan.approve()
            .operations()
            .iter()
            .all(|one| !one.is_rekeyed() || one.cancel_delete)
    );

    world.approve("rekeyed", |operation| operation.key == key("gone"));
    let expected = [
        "!delete old",
        "!restore back",
        "!update b",
        "deactivate gone",
        "restore doubtful",
        "update c",
    ];
    assert_eq!(sorted(&world), expected);
    let plan = world.planned();
    let approved = plan.approve();
    let mut sent = approved.operations().iter();
    assert!(sent.any(|one| one.key == key("gone") && one.is_rekeyed()));
    world.rekeyed.clear();
    world.failures.people.clear();
    assert_eq!(sorted(&world), all);
}
