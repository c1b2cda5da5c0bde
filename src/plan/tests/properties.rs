//! What holds of every plan, however odd the directory.

use chrono::TimeDelta;
use proptest::prelude::*;

use super::super::fixture::*;
use super::super::*;
use super::pending;
use crate::config::{Guard, Return};
use crate::model::{Attribute, Cause, DesiredAccount, Lifecycle, Whereabouts};

const NUMBERS: [&str; 4] = ["", "", "n1", "n2"];

fn with_number(person: DesiredAccount, number: u8) -> DesiredAccount {
    with(person, Attribute::EmployeeNumber, NUMBERS[number as usize])
}

/// People and accounts of a small world in which everything meets: few addresses and numbers, all
/// states.
pub(super) fn odd_world() -> impl Strategy<Value = World> {
    let address = prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "A", "B"]);
    let one_person = (
        0..8_usize,
        address.clone(),
        prop::bool::weighted(0.8),
        (0..3_u8, 0..4_u8),
    );
    let one_account = (0..4_u8, address, 0..5_u8, prop::bool::ANY);
    let place = prop::sample::select(vec![
        Whereabouts::Out(Cause::Deleted),
        Whereabouts::Out(Cause::MovedOut),
        Whereabouts::Out(Cause::Rescoped),
        Whereabouts::Unreadable("no right".into()),
        Whereabouts::InScope,
    ]);
    let policy = (0..3_u32, prop::bool::ANY, prop::bool::ANY, prop::bool::ANY);
    let extras = (
        prop::collection::btree_map(0..8_usize, place, 0..3),
        policy,
        prop::collection::vec((0..8_usize, prop::bool::ANY), 0..2),
        prop::bool::weighted(0.8),
        prop::bool::ANY,
    );
    (
        prop::collection::vec(one_person, 1..8),
        prop::collection::btree_map(0..8_usize, one_account, 0..8),
        extras,
    )
        .prop_map(
            |(people, accounts, (places, policy, odd, clean, deletes))| {
                let people = people
                    .into_iter()
                    .map(|(n, address, active, (title, number))| {
                        let person =
                            with_mail(person(&format!("p{n}")), &format!("{address}@x.org"));
                        let person =
                            with(person, Attribute::Title, ["", "One", "Two"][title as usize]);
                        let person = with_number(person, number);
                        DesiredAccount { active, ..person }
                    })
                    .collect();
                // The organization has each address once.
                let mut taken = std::collections::BTreeSet::new();
                let accounts = accounts
                    .into_iter()
                    .filter(|(_, (_, address, _, _))| taken.insert(address.to_lowercase()))
                    .map(|(n, (number, address, state, away))| {
                        let name = format!("p{n}");
                        let lifecycle = match state {
                            0 | 1 => Lifecycle::Active,
                            2 => Lifecycle::Deactivated {
                                since: at("2026-06-01T00:00:00Z"),
                            },
                            3 => pending("2026-06-10T00:00:00Z"),
                            _ => pending("2026-01-10T00:00:00Z"),
                        };
                        let away = away || state > 2;
                        let mut profile = profile("Somebody", &format!("{address}@x.org"));
                        profile.set(Attribute::EmployeeNumber, NUMBERS[number as usize]);
                        ManagedAccount {
                            profile,
                            ..in_state(&name, lifecycle, away.then_some("2026-01-01T00:00:00Z"))
                        }
                    })
                    .collect();
                let mut world = World::new(people, accounts);
                world.unmapped = odd
                    .into_iter()
                    .map(|(n, has_key)| unmapped(&format!("p{n}"), has_key))
                    .collect();
                world.clean = if clean { Ok(()) } else { Err("cut off".into()) };
                world.policy.delete_after = deletes.then(|| TimeDelta::days(7));
                let (pulls, recycles, barred, accepts) = policy;
                world.policy.deactivate_after.pulls = pulls.max(1);
                world.policy.recycle_after = recycles.then(|| TimeDelta::days(3));
                if barred {
                    world.policy.on_return = Return::Keep;
                }
                world.accepts_scope_change = accepts;
                let places = places.into_iter();
                world.whereabouts = places
                    .map(|(n, place)| (key(&format!("p{n}")), place))
                    .collect();
                world
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_plan_once_applied_leaves_nothing_to_do(mut world in odd_world()) {
        let plan = world.planned();
        world.apply(&plan);
        // A chain may end at somebody who could only be freed now; what is planned then is
        // never the same again.
        let mut rounds = 0;
        let is_done = |plan: &Plan| plan.operations.is_empty() && plan.notes.is_empty();
        while !is_done(&world.planned()) {
            let plan = world.planned();
            world.apply(&plan);
            rounds += 1;
            prop_assert!(rounds < 5, "no end: {:?} {:?}", brief(&plan), plan.notes);
        }
    }

    #[test]
    fn the_plan_reaches_the_directory_for_everybody_who_is_not_refused(mut world in odd_world()) {
        // Who comes back from a deletion gets new values by the run after it.
        let first = world.planned();
        world.apply(&first);
        let plan = world.planned();
        world.apply(&plan);
        let refused: Vec<_> = plan.refusals.iter().filter_map(|refusal| refusal.key.clone()).collect();
        let mut seen = std::collections::HashSet::new();
        for person in &world.people {
            let is_barred = plan.skipped.iter().any(|skipped| {
                skipped.key.as_ref() == Some(&person.key) && skipped.why == SkipReason::KeptOnReturn
            });
            if is_barred || refused.contains(&person.key) || !seen.insert(person.key.clone()) {
                continue;
            }
            if world.unmapped.iter().any(|unmapped| unmapped.key.as_ref() == Some(&person.key)) {
                continue;
            }
            let account = world.accounts.iter().find(|account| account.key == person.key);
            let is_active = account.is_some_and(|account| account.lifecycle.is_active());
            prop_assert_eq!(is_active, person.active, "{}", person.dn);
            if let (true, Some(account)) = (person.active, account) {
                prop_assert_eq!(&account.profile, &person.profile);
            }
        }
    }

    #[test]
    fn whoever_is_in_the_directory_has_a_requested_deletion_cancelled(
        mut world in odd_world(),
        (is_limited, is_protected, is_verified) in prop::array::uniform3(prop::bool::ANY).prop_map(|[a, b, c]| (a, b, c)),
    ) {
        if is_limited {
            for guard in Guard::ALL {
                world.limit(guard, at_most(0));
            }
        }
        if is_protected {
            world.guards.protected = (0..8).map(|n| format!("key-p{n}")).collect();
        }
        world.verified_domains = is_verified.then(|| vec!["elsewhere.org"]);
        let plan = world.planned();
        for account in &world.accounts {
            let Lifecycle::DeletePending { since } = account.lifecycle else {
                continue;
            };
            let is_here = world.people.iter().any(|person| person.key == account.key)
                || world.unmapped.iter().any(|unmapped| unmapped.key.as_ref() == Some(&account.key));
            if !is_here || now() - since >= crate::model::deletion_grace() {
                continue;
            }
            let is_cancelled = plan.operations.iter().any(|planned| {
                let target = planned.operation.target.as_ref();
                planned.operation.cancel_delete
                    && !planned.is_held()
                    && target.is_some_and(|target| target.scim_id == account.scim_id)
            });
            prop_assert!(is_cancelled, "{}: {:?} {:?} {:?}", account.key, brief(&plan), plan.refusals, plan.skipped);
        }
    }

    #[test]
    fn no_two_accounts_ever_share_an_address(mut world in odd_world()) {
        let plan = world.planned();
        // Also in between: after each operation in its order.
        let mut holders: std::collections::HashMap<String, ExternalId> = world
            .accounts
            .iter()
            .filter(|account| match account.lifecycle {
                Lifecycle::Active | Lifecycle::Deactivated { .. } => true,
                Lifecycle::DeletePending { since } => now() - since < crate::model::deletion_grace(),
                Lifecycle::Deleted { .. } => false,
            })
            .map(|account| (crate::model::fold(account.profile.get(Attribute::Email).unwrap()), account.key.clone()))
            .collect();
        for operation in plan.approve().operations() {
            if let Some(old) = operation.before.get(Attribute::Email) {
                holders.remove(&crate::model::fold(old));
            }
            let new = crate::model::fold(operation.after.get(Attribute::Email).unwrap());
            let held = holders.insert(new.clone(), operation.key.clone());
            let own = held.is_none_or(|holder| holder == operation.key);
            prop_assert!(own, "{} is taken by {}", new, operation.dn);
        }
        world.apply(&plan);
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter(mut world in odd_world(), turn in 0..8_usize) {
        // With one entry a key: which of several comes first is told apart only by their order.
        world.people.sort_by(|a, b| a.key.cmp(&b.key));
        world.people.dedup_by(|a, b| a.key == b.key);
        world.unmapped.retain(|unmapped| {
            !world.people.iter().any(|person| Some(&person.key) == unmapped.key.as_ref())
        });
        let plan = world.planned();
        let turn = turn % world.people.len();
        world.people.rotate_left(turn);
        world.accounts.reverse();
        let turned = world.planned();
        prop_assert_eq!(format!("{plan:#?}"), format!("{turned:#?}"));
    }

    #[test]
    fn nobody_departs_by_an_incomplete_pull(mut world in odd_world()) {
        world.clean = Err("cut off".into());
        for planned in &world.planned().operations {
            let operation = &planned.operation;
            let disabled = world.people.iter().any(|p| p.key == operation.key && !p.active);
            prop_assert!(!operation.is_departure() || disabled, "{:?}", operation);
        }
    }

    #[test]
    fn nothing_is_done_to_anybody_s_account_but_those_in_scope_and_those_who_were(
        mut world in odd_world(),
        strangers in 0..4_usize,
    ) {
        world.existing = (0..strangers)
            .map(|n| existing(&format!("stranger{n}"), Some("of another tool")))
            .collect();
        let ours: std::collections::BTreeSet<_> = world
            .accounts
            .iter()
            .map(|account| account.scim_id.clone())
            .collect();
        let people: std::collections::BTreeSet<_> =
            world.people.iter().map(|person| person.key.clone()).collect();
        for planned in &world.planned().operations {
            let operation = &planned.operation;
            let is_known = people.contains(&operation.key)
                || world.accounts.iter().any(|account| account.key == operation.key);
            prop_assert!(is_known, "{:?}", operation);
            let is_ours = operation.target.as_ref().is_none_or(|target| ours.contains(&target.scim_id));
            prop_assert!(is_ours, "{:?}", operation);
        }
    }

    #[test]
    fn who_is_out_by_an_edit_keeps_the_account_until_it_is_accepted(mut world in odd_world()) {
        world.accepts_scope_change = false;
        for account in &world.accounts {
            let rescoped = Whereabouts::Out(Cause::Rescoped);
            world.whereabouts.insert(account.key.clone(), rescoped);
        }
        let present: std::collections::BTreeSet<_> =
            world.people.iter().map(|person| person.key.clone()).collect();
        for planned in &world.planned().operations {
            let operation = &planned.operation;
            let was_active = operation.active.0;
            let leaves = was_active && operation.is_departure() && !present.contains(&operation.key);
            prop_assert!(!leaves, "{:?}", operation);
        }
    }

    #[test]
    fn no_account_has_two_operations_but_of_who_makes_way(world in odd_world()) {
        let mut seen = std::collections::BTreeSet::new();
        for planned in &world.planned().operations {
            let operation = &planned.operation;
            let makes_way = operation.reason == crate::model::Reason::MakesWay;
            if let Some(target) = &operation.target {
                prop_assert!(seen.insert((target.scim_id.clone(), makes_way)), "{:?}", operation);
            }
        }
    }
}
