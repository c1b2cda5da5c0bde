//! What was changed in the organization by hand.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::*;
use crate::config::{DriftKind, Limit, Policy, Reconcile, Return};
use crate::model::{ExistingGroup, GroupOrigin, ManagedGroup, ScimId};
use crate::plan::groups::Person;

fn managed() -> BTreeSet<Attribute> {
    [
        Attribute::UserName,
        Attribute::Email,
        Attribute::DisplayName,
        Attribute::Title,
        Attribute::EmployeeNumber,
    ]
    .into()
}

fn rules(correct: &[DriftKind]) -> Reconcile {
    Reconcile {
        correct: correct.iter().copied().collect(),
        limit: Limit::default(),
    }
}

/// The drift of one account, and the row that follows when these kinds are taken over.
fn decided(
    row: &ManagedAccount,
    found: Option<&ExistingAccount>,
    correct: &[DriftKind],
) -> Option<Decided> {
    let drift = Drift::between(row, found, &managed(), true)?;
    let (mut decided, excess) = decide(vec![drift], 1, &rules(correct), now());
    assert_eq!((decided.len(), excess), (1, vec![]));
    decided.pop()
}

fn kinds(row: &ManagedAccount, found: Option<&ExistingAccount>) -> Vec<&'static str> {
    let drift = Drift::between(row, found, &managed(), true);
    let kinds = drift.into_iter().flat_map(|drift| drift.kinds.into_keys());
    kinds.map(DriftKind::name).collect()
}

#[test]
fn each_state_and_what_is_found_is_a_drift_or_none() {
    let old = at("2026-05-01T00:00:00Z");
    for (lifecycle, on, off, gone) in [
        (
            Lifecycle::Active,
            vec![],
            vec!["deactivated"],
            vec!["deleted"],
        ),
        (
            Lifecycle::Deactivated { since: old },
            vec!["activated"],
            vec![],
            vec!["deleted"],
        ),
        (
            Lifecycle::DeletePending { since: old },
            vec!["activated"],
            vec![],
            vec![],
        ),
        (Lifecycle::Deleted { since: old }, vec![], vec![], vec![]),
    ] {
        let row = in_state("ada", lifecycle, None);
        let found = |active| ExistingAccount {
            active,
            ..shown(&row)
        };
        let seen = (
            kinds(&row, Some(&found(true))),
            kinds(&row, Some(&found(false))),
            kinds(&row, None),
        );
        assert_eq!(seen, (on, off, gone), "{lifecycle:?}");
    }
}

#[test]
fn only_values_that_are_looked_after_count() {
    let mut row = account("ada");
    row.profile.set(Attribute::EmployeeNumber, "7");
    // From a mapping that has changed since.
    row.profile.set(Attribute::Department, "Ships");
    let found = |attribute, value: &str| {
        let mut found = shown(&row);
        found.profile.set(Attribute::EmployeeNumber, "8");
        found.profile.set(attribute, value);
        found
    };
    for (attribute, value, is_drift) in [
        (Attribute::Title, "Queen", true),
        (Attribute::DisplayName, "", true),
        (Attribute::DisplayName, "ADA", true),
        (Attribute::Department, "Yachts", true),
        // Nobody maps it.
        (Attribute::NickName, "A.", false),
        // The API may write an address in its own way.
        (Attribute::Email, "ADA@EXAMPLE.ORG", false),
        (Attribute::Email, "queen@example.org", true),
        // The organization does not know it.
        (Attribute::EmployeeNumber, "9", false),
    ] {
        let found = found(attribute, value);
        let drift = Drift::between(&row, Some(&found), &managed(), true);
        assert_eq!(drift.is_some(), is_drift, "{attribute} {value:?}");
        let Some(drift) = drift else { continue };
        let changes = &drift.kinds[&DriftKind::Changed];
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].attribute, attribute.name());
        assert_eq!(changes[0].new.as_deref().unwrap_or_default(), value);
    }
}

#[test]
fn a_key_counts_where_accounts_carry_keys() {
    let row = account("ada");
    for (key, expected) in [
        (Some("key-ada"), vec![]),
        (Some("KEY-ADA"), vec![]),
        (Some("key-bob"), vec!["rekeyed"]),
        (None, vec!["rekeyed"]),
    ] {
        let found = existing("ada", key);
        assert_eq!(kinds(&row, Some(&found)), expected, "{key:?}");
        assert_eq!(Drift::between(&row, Some(&found), &managed(), false), None);
    }
}

#[test]
fn a_row_takes_over_what_is_to_be_corrected_and_nothing_else() {
    let row = in_state("ada", Lifecycle::Active, Some("2026-06-10T00:00:00Z"));
    let mut found = ExistingAccount {
        active: false,
        ..existing("ada", Some("key-ada"))
    };
    found.profile.set(Attribute::Title, "Queen");
    let told = decided(&row, Some(&found), &[]).unwrap();
    assert_eq!(told.after, None);
    let all = [DriftKind::Changed, DriftKind::Deactivated];
    assert_eq!(told.left, all.into());

    let values = decided(&row, Some(&found), &[DriftKind::Changed]).unwrap();
    let after = values.after.unwrap();
    assert_eq!(after.profile.get(Attribute::Title), Some("Queen"));
    assert_eq!(after.lifecycle, Lifecycle::Active);
    assert_eq!(after.absence, row.absence);
    assert_eq!(values.left, [DriftKind::Deactivated].into());

    let whole = decided(&row, Some(&found), &DriftKind::CORRECTABLE).unwrap();
    let after = whole.after.unwrap();
    assert_eq!(after.lifecycle, Lifecycle::Deactivated { since: now() });
    assert_eq!(after.key, row.key);
    assert!(whole.left.is_empty());

    // What has another key may be another person's by now.
    let theirs = ExistingAccount {
        external_id: Some(key("bob")),
        ..found.clone()
    };
    let whole = decided(&row, Some(&theirs), &DriftKind::CORRECTABLE).unwrap();
    assert_eq!(whole.after, None);
    assert_eq!(whole.left.len(), 3);

    let gone = decided(&row, None, &DriftKind::CORRECTABLE).unwrap();
    let after = gone.after.unwrap();
    assert_eq!(after.lifecycle, Lifecycle::Deleted { since: now() });
    assert_eq!(after.profile, row.profile);
    assert!(gone.left.is_empty());

    // Asked for something else, nothing is taken over.
    let other = decided(&row, None, &[DriftKind::Changed]).unwrap();
    assert_eq!(
        (other.after, other.left),
        (None, [DriftKind::Deleted].into())
    );
}

#[test]
fn the_next_plan_corrects_what_the_row_has_taken_over() {
    let cases: [(&str, ManagedAccount, Vec<DesiredAccount>, &str); 5] = [
        (
            "values",
            ManagedAccount {
                profile: profile("Queen", "ada@example.org"),
                ..account("ada")
            },
            vec![person("ada")],
            "update ada",
        ),
        (
            "login turned off",
            in_state("ada", DEACTIVATED, None),
            vec![person("ada")],
            "restore ada",
        ),
        (
            "login of a leaver turned on",
            in_state("ada", Lifecycle::Active, Some("2026-06-01T00:00:00Z")),
            vec![],
            "deactivate ada",
        ),
        (
            "login of somebody disabled turned on",
            account("ada"),
            vec![disabled("ada")],
            "deactivate ada",
        ),
        (
            "gone",
            in_state("ada", Lifecycle::Deleted { since: now() }, None),
            vec![person("ada")],
            "create ada",
        ),
    ];
    for (what, row, people, expected) in cases {
        let people = people.into_iter().chain([person("z")]).collect();
        let plan = World::new(people, vec![row, account("z")]).planned();
        assert_eq!(brief(&plan), [expected], "{what}");
    }
}

#[test]
fn of_a_kind_that_is_more_than_the_limit_nothing_is_taken_over() {
    let names = ["a", "b", "c", "d"];
    let drifts = || -> Vec<Drift> {
        let changed = names[..3].iter().map(|name| {
            let row = account(name);
            let mut found = shown(&row);
            found.profile.set(Attribute::Title, "Queen");
            (row, Some(found))
        });
        let pairs = changed.chain([(account("d"), None)]);
        pairs
            .filter_map(|(row, found)| Drift::between(&row, found.as_ref(), &managed(), true))
            .collect()
    };
    for (most, taken) in [(3, 4), (2, 1)] {
        let rules = Reconcile {
            limit: at_most(most),
            ..rules(&DriftKind::CORRECTABLE)
        };
        let (decided, excess) = decide(drifts(), 10, &rules, now());
        assert_eq!(decided.len(), 4);
        let after = decided.iter().filter(|one| one.after.is_some()).count();
        assert_eq!(after, taken, "{most}");
        let expected = (most == 2).then_some(Excess {
            kind: DriftKind::Changed,
            count: 3,
            of: 10,
            allowed: 2,
        });
        assert_eq!(excess, Vec::from_iter(expected));
    }
    // What is only told may be any number.
    let rules = Reconcile {
        limit: at_most(0),
        ..rules(&[])
    };
    assert_eq!(decide(drifts(), 10, &rules, now()).1, vec![]);
}

fn claimant(name: &str) -> Claimant {
    let DesiredAccount {
        key,
        source,
        dn,
        profile,
        active,
    } = person(name);
    Claimant {
        key,
        source,
        dn,
        profile,
        active: Some(active),
    }
}

/// The rows that are made again, and the accounts that are nobody's, by name.
fn rebuilt(
    accounts: Vec<ExistingAccount>,
    people: &[Claimant],
    rows: Vec<ManagedAccount>,
    gone: &[&str],
    policy: Policy,
) -> (Vec<Rebuilt>, Vec<String>) {
    let rows: HashMap<ExternalId, ManagedAccount> =
        rows.into_iter().map(|row| (row.key.clone(), row)).collect();
    let gone: HashSet<ExternalId> = gone.iter().map(|name| key(name)).collect();
    let policies = Policies {
        default: policy,
        ..Policies::default()
    };
    let (rebuilt, nobodys) = rebuild(
        accounts,
        people,
        &rows,
        &gone,
        (&managed(), &policies),
        now(),
    );
    let nobodys = nobodys.into_iter().map(|one| one.scim_id.to_string());
    (rebuilt, nobodys.collect())
}

#[test]
fn a_row_made_again_has_what_the_organization_has_and_what_only_the_directory_knows() {
    let mut ada = claimant("ada");
    ada.profile.set(Attribute::EmployeeNumber, "7");
    ada.profile.set(Attribute::Title, "Countess");
    ada.profile.set(Attribute::Email, "Ada@Example.org");
    let mut account = existing("ada", Some("KEY-ADA"));
    account.profile.set(Attribute::Title, "Queen");
    account.profile.set(Attribute::NickName, "A.");
    let (rebuilt, nobodys) = rebuilt(
        vec![
            account.clone(),
            existing("bob", Some("key-bob")),
            existing("eve", None),
        ],
        &[ada],
        vec![],
        &[],
        Policy::default(),
    );
    assert_eq!(nobodys, ["scim-bob", "scim-eve"]);
    let [
        Rebuilt {
            row,
            replaces: None,
        },
    ] = &rebuilt[..]
    else {
        panic!("{rebuilt:?}")
    };
    assert_eq!(row.key, key("ada"));
    assert_eq!(row.dn, person("ada").dn);
    assert_eq!(row.scim_id, account.scim_id);
    assert_eq!(row.account_id, account.account_id);
    assert_eq!((row.lifecycle, row.absence), (Lifecycle::Active, None));
    let value = |attribute| row.profile.get(attribute);
    assert_eq!(value(Attribute::EmployeeNumber), Some("7"));
    assert_eq!(value(Attribute::Title), Some("Queen"));
    assert_eq!(value(Attribute::Email), Some("Ada@Example.org"));
    assert_eq!(value(Attribute::NickName), None);
}

#[test]
fn who_is_kept_off_on_return_stays_off_when_the_row_is_made_again() {
    let off = || ExistingAccount {
        active: false,
        ..existing("ada", Some("key-ada"))
    };
    for (on_return, expected) in [
        (Return::Restore, vec!["restore ada"]),
        (Return::Keep, vec![]),
    ] {
        let policy = Policy {
            on_return,
            ..Policy::default()
        };
        let (rebuilt, _) = rebuilt(vec![off()], &[claimant("ada")], vec![], &[], policy.clone());
        let row = rebuilt[0].row.clone();
        assert_eq!(row.lifecycle, Lifecycle::Deactivated { since: now() });
        let mut world = World::new(vec![person("ada")], vec![row]);
        world.policy = policy;
        assert_eq!(brief(&world.planned()), expected);
    }
}

#[test]
fn a_key_that_is_not_certain_makes_no_row() {
    let of = |name: &str, scim_id: &str| ExistingAccount {
        scim_id: ScimId::new(scim_id),
        ..existing(name, Some(&format!("key-{name}")))
    };
    // Two accounts carry it.
    let accounts = vec![of("ada", "1"), of("ada", "2")];
    let (rows, nobodys) = rebuilt(accounts, &[claimant("ada")], vec![], &[], Policy::default());
    assert_eq!((rows, nobodys.len()), (vec![], 2));
    // The person has another account.
    let (rows, nobodys) = rebuilt(
        vec![of("ada", "2")],
        &[claimant("ada")],
        vec![account("ada")],
        &[],
        Policy::default(),
    );
    assert_eq!((rows, nobodys), (vec![], vec!["2".to_owned()]));
}

#[test]
fn a_row_gives_way_to_what_was_done_since_the_backup() {
    // The account is gone, and there is another one.
    let again = ExistingAccount {
        scim_id: ScimId::new("again"),
        ..existing("ada", Some("key-ada"))
    };
    let (rows, nobodys) = rebuilt(
        vec![again.clone()],
        &[claimant("ada")],
        vec![account("ada")],
        &["ada"],
        Policy::default(),
    );
    assert!(nobodys.is_empty());
    assert_eq!(rows[0].row.scim_id, again.scim_id);
    assert_eq!(rows[0].replaces, Some(account("ada")));
    // So with one that the backup knows as deleted.
    let tombstone = in_state("ada", Lifecycle::Deleted { since: now() }, None);
    let (rows, _) = rebuilt(
        vec![again],
        &[claimant("ada")],
        vec![tombstone],
        &[],
        Policy::default(),
    );
    assert_eq!(rows[0].row.lifecycle, Lifecycle::Active);
    // The account has got the key of the entry that was made anew.
    let taken = existing("ada", Some("key-anew"));
    let (rows, _) = rebuilt(
        vec![taken],
        &[claimant("anew")],
        vec![account("ada")],
        &[],
        Policy::default(),
    );
    assert_eq!(rows[0].row.key, key("anew"));
    assert_eq!(rows[0].row.scim_id, account("ada").scim_id);
    assert_eq!(rows[0].replaces, Some(account("ada")));
}

#[test]
fn the_members_of_a_group_are_compared_by_those_who_have_an_account() {
    let row = ManagedGroup {
        scim_id: ScimId::new("group"),
        key: key("team"),
        name: "team".to_owned(),
        origins: BTreeSet::from([GroupOrigin {
            source: source(),
            key: key("team"),
            dn: "cn=team,dc=example,dc=org".to_owned(),
            rule: "rule".to_owned(),
        }]),
        members: [key("stays"), key("left"), key("deleted")].into(),
        nested: BTreeSet::new(),
    };
    let people: HashMap<ExternalId, Person> = [
        account("stays"),
        account("left"),
        account("joined"),
        in_state("deleted", Lifecycle::Deleted { since: now() }, None),
    ]
    .iter()
    .map(|account| (account.key.clone(), Person::from(account)))
    .collect();
    let group = |name: &str, members: &[&str]| ExistingGroup {
        scim_id: row.scim_id.clone(),
        external_id: None,
        name: name.to_owned(),
        members: members
            .iter()
            .map(|name| ScimId::new(format!("scim-{name}")))
            .collect(),
    };
    let drift = |group: Option<&ExistingGroup>| GroupDrift::between(&row, group, &people);
    assert_eq!(
        drift(Some(&group("team", &["stays", "left", "nobody"]))),
        None
    );
    let changed = drift(Some(&group("crew", &["stays", "joined"]))).unwrap();
    assert_eq!(changed.name.as_deref(), Some("crew"));
    assert_eq!(changed.joined, ["joined"]);
    assert_eq!(changed.left, ["left"]);
    assert_eq!(drift(None).unwrap().name, None);
}

#[test]
fn accounts_that_carry_another_key_are_remembered_with_it() {
    let rows = ["ada", "bob", "cy"].map(account);
    let found = [
        existing("ada", Some("other-tool")),
        existing("bob", None),
        existing("cy", Some("KEY-CY")),
    ];
    let drifts = rows.iter().zip(&found);
    let drifts =
        drifts.filter_map(|(row, found)| Drift::between(row, Some(found), &managed(), true));
    let (drifts, _) = decide(drifts.collect(), 3, &rules(&DriftKind::CORRECTABLE), now());
    let found = Reconciliation {
        drifts,
        ..Reconciliation::default()
    };
    let rekeyed: Vec<(&str, Option<&str>)> = found
        .rekeyed()
        .map(|(id, key)| (id.as_str(), key.map(ExternalId::as_str)))
        .collect();
    assert_eq!(
        rekeyed,
        [("scim-ada", Some("other-tool")), ("scim-bob", None)]
    );
}

#[test]
fn of_a_snapshot_that_is_made_again_accounts_with_login_and_a_key_that_nobody_has_are_unclaimed() {
    let unmanaged = |name: &str, key: Option<&str>, active: bool, twin: Option<&str>| Unmanaged {
        account: ExistingAccount {
            active,
            ..existing(name, key)
        },
        twin: twin.map(account),
    };
    let refused = with_mail(person("refused"), "same@example.org");
    let mut world = World::new(
        vec![
            refused,
            with_mail(person("other"), "same@example.org"),
            person("found"),
        ],
        vec![],
    );
    world.existing = vec![existing("found", Some("key-found"))];
    let next = Box::new(world.planned());
    assert_eq!(brief(&next), ["adopt found"]);
    let found = |is_rebuilt, next| Reconciliation {
        is_rebuilt,
        unmanaged: vec![
            unmanaged("leaver", Some("key-leaver"), true, None),
            unmanaged("off", Some("key-off"), false, None),
            unmanaged("robot", None, true, None),
            unmanaged("double", Some("key-ada"), true, Some("ada")),
            unmanaged("refused", Some("key-refused"), true, None),
            unmanaged("found", Some("key-found"), true, None),
        ],
        next,
        ..Reconciliation::default()
    };
    let unclaimed = |found: &Reconciliation| {
        let mut ids: Vec<String> = found.unclaimed().iter().map(ToString::to_string).collect();
        ids.sort();
        assert_eq!(found.needs_attention(), !ids.is_empty());
        ids
    };
    let rebuilt = found(true, Some(Ok(next.clone())));
    assert_eq!(unclaimed(&rebuilt), ["scim-leaver"]);
    assert_eq!(unclaimed(&found(false, Some(Ok(next)))), [""; 0]);
    // Where it is not known what the next sync does, each may be one.
    let unknown = found(true, Some(Err("no answer".to_owned())));
    assert_eq!(
        unclaimed(&unknown),
        ["scim-found", "scim-leaver", "scim-refused"]
    );
}
