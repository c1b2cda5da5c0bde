//! What is kept of the pulls: what differs from the snapshot, and nothing else.

use std::collections::HashSet;

use super::super::fixture::*;
use super::super::{Comparison, Deviation, Index, Pulls, Said};
use crate::mapping::Unmapped;
use crate::model::{Attribute, DesiredAccount, ExternalId, ManagedAccount, SourceName};

/// Goes before [`GUESTS`].
const STAFF: &str = "staff";
const GUESTS: &str = "guests";

fn of(source: &str, person: DesiredAccount) -> DesiredAccount {
    DesiredAccount {
        source: SourceName::new(source),
        ..person
    }
}

fn unmapped_of(source: &str, name: &str, with_key: bool) -> Unmapped {
    Unmapped {
        source: SourceName::new(source),
        ..unmapped(name, with_key)
    }
}

/// A snapshot with the accounts of these people, of whom those of some sources are taken to be as
/// the account is.
fn snapshot(people: &[(&str, &str)], presumed: &[&str]) -> Index {
    let names = [STAFF, GUESTS].map(SourceName::new);
    let presumed = presumed.iter().copied().map(SourceName::new).collect();
    let mut index = Index::new(names.into(), presumed);
    for (source, name) in people {
        index.insert_account(&ManagedAccount {
            source: SourceName::new(*source),
            ..account(name)
        });
    }
    index
}

fn title(person: DesiredAccount, title: &str) -> DesiredAccount {
    with(person, Attribute::Title, title)
}

#[test]
fn every_spelling_of_a_uuid_is_a_key_of_its_own() {
    let keys = [
        "0d5b4f5e-6a6e-4b0e-8d7b-0c7a4c1e9f10",
        "0D5B4F5E-6A6E-4B0E-8D7B-0C7A4C1E9F10",
        "0d5b4f5e6a6e4b0e8d7b0c7a4c1e9f10",
        "urn:uuid:0d5b4f5e-6a6e-4b0e-8d7b-0c7a4c1e9f10",
        "{0d5b4f5e-6a6e-4b0e-8d7b-0c7a4c1e9f10}",
        "zoe",
    ];
    let mut keys = keys.map(ExternalId::new).to_vec();
    keys.sort();
    let mut index = snapshot(&[], &[]);
    for key in &keys {
        index.insert_account(&ManagedAccount {
            key: key.clone(),
            ..account("a")
        });
    }
    assert_eq!(index.count(), 6);
    let desired = Comparison::with(index).finish(Pulls::new());
    assert_eq!(desired.absent, keys);
}

#[test]
fn who_is_presumed_to_be_as_the_account_is_absent_only_once_the_own_source_tells() {
    let people = [(STAFF, "a"), (STAFF, "b"), (GUESTS, "c")];
    for (presumed, told, absent) in [
        (&[][..], None, &["a", "b", "c"][..]),
        (&[STAFF], None, &["c"]),
        (&[STAFF, GUESTS], None, &[]),
        (&[STAFF, GUESTS], Some(STAFF), &["a"]),
        // Nothing that another source tells makes the person's own one doubtful.
        (&[STAFF, GUESTS], Some(GUESTS), &[]),
    ] {
        let mut comparison = Comparison::with(snapshot(&people, presumed));
        if let Some(source) = told {
            comparison.forget(&SourceName::new(source), &key("a"));
        }
        let desired = comparison.finish(Pulls::new());
        let absent: Vec<ExternalId> = absent.iter().map(|name| key(name)).collect();
        assert_eq!(desired.absent, absent, "{presumed:?} {told:?}");
        assert_eq!(desired.unchanged, 3 - absent.len() as u64);
    }
}

#[test]
fn a_person_belongs_to_the_first_source_that_has_them_also_where_it_was_not_asked() {
    for (of_account, tells, is_believed) in [
        (STAFF, STAFF, true),
        (GUESTS, STAFF, true),
        (STAFF, GUESTS, false),
    ] {
        let index = || snapshot(&[(of_account, "a")], &[STAFF, GUESTS]);
        let what = format!("of {of_account}, told by {tells}");
        let unchanged = u64::from(!is_believed);
        let seen = u64::from(is_believed);
        let tells_of = SourceName::new(tells);

        let mut comparison = Comparison::with(index());
        comparison.observe(Ok(of(tells, title(person("a"), "Head"))));
        if of_account != tells {
            assert_eq!(comparison.people_of(&tells_of), seen, "{what}");
        }
        let desired = comparison.finish(Pulls::new());
        assert_eq!(desired.different.len() as u64, seen, "{what}");
        assert_eq!(desired.unchanged, unchanged, "{what}");

        let mut comparison = Comparison::with(index());
        comparison.observe(Err(Box::new(unmapped_of(tells, "a", true))));
        let desired = comparison.finish(Pulls::new());
        assert_eq!(desired.unmapped.len() as u64, seen, "{what}");
        assert_eq!(desired.unchanged, unchanged, "{what}");
        assert_eq!(desired.absent, []);
    }
}

#[test]
fn the_people_of_a_source_are_those_that_it_was_the_first_to_show() {
    let people = [(STAFF, "same"), (STAFF, "gone"), (GUESTS, "presumed")];
    let mut comparison = Comparison::with(snapshot(&people, &[GUESTS]));
    for name in ["same", "new"] {
        comparison.observe(Ok(of(STAFF, person(name))));
    }
    comparison.observe(Err(Box::new(unmapped_of(STAFF, "odd", true))));
    // These are left to the staff.
    comparison.observe(Ok(of(GUESTS, person("new"))));
    comparison.observe(Ok(of(GUESTS, person("odd"))));
    let people_of = |source| comparison.people_of(&SourceName::new(source));
    assert_eq!(people_of(STAFF), 3);
    assert_eq!(people_of(GUESTS), 1);
    assert_eq!(people_of("of no configuration"), 0);
}

#[test]
fn only_entries_of_one_source_can_repeat_a_key() {
    let index = snapshot(&[(STAFF, "same"), (STAFF, "z")], &[]);
    let mut comparison = Comparison::with(index);
    for name in ["same", "new", "z"] {
        for source in [STAFF, STAFF, GUESTS] {
            comparison.observe(Ok(of(source, person(name))));
        }
        comparison.observe(Ok(of(GUESTS, title(person(name), "Head"))));
    }
    let desired = comparison.finish(Pulls::new());
    assert_eq!(desired.repeated, []);
    assert_eq!(desired.unchanged, 2);
    assert_eq!(desired.different, [of(STAFF, person("new"))]);
}

#[test]
fn of_entries_with_one_key_each_is_told_with_another_one_and_none_is_trusted() {
    let known = [(STAFF, "known"), (STAFF, "y"), (STAFF, "z")];
    let mut comparison = Comparison::with(snapshot(&known, &[]));
    let at = |name: &str, place: &str| DesiredAccount {
        dn: place.to_owned(),
        ..of(STAFF, person(name))
    };
    for name in ["known", "y", "z"] {
        comparison.observe(Ok(of(STAFF, person(name))));
    }
    comparison.observe(Ok(at("known", "second")));
    for place in ["first", "second", "third"] {
        comparison.observe(Ok(at("new", place)));
    }
    let desired = comparison.finish(Pulls::new());
    let told: Vec<(&str, &str, &str)> = desired
        .repeated
        .iter()
        .map(|(person, other)| (person.key.as_str(), person.dn.as_str(), other.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (
                "key-known",
                "second",
                "the entry that the account belongs to"
            ),
            ("key-new", "first", "second"),
            ("key-new", "second", "first"),
            ("key-new", "third", "first"),
        ]
    );
    assert_eq!(desired.different, []);
    assert_eq!(desired.unchanged, 2);
    assert_eq!(desired.absent, []);
}

#[test]
fn a_source_with_entries_that_cannot_be_told_apart_cannot_be_followed() {
    let untraceable = |entries: Vec<Result<DesiredAccount, Unmapped>>| {
        let mut comparison = Comparison::with(snapshot(&[], &[]));
        for entry in entries {
            comparison.observe(entry.map_err(Box::new));
        }
        let mut sources: Vec<SourceName> = comparison
            .finish(Pulls::new())
            .untraceable()
            .into_iter()
            .collect();
        sources.sort();
        sources
    };
    let twice = |source| {
        let other = title(person("a"), "Head");
        [Ok(of(source, person("a"))), Ok(of(source, other))]
    };
    let keyless = |source| Err(unmapped_of(source, "odd", false));
    let told = Err(unmapped_of(STAFF, "odd", true));
    assert_eq!(untraceable(vec![Ok(of(STAFF, person("a"))), told]), []);
    assert_eq!(
        untraceable(vec![keyless(GUESTS)]),
        [SourceName::new(GUESTS)]
    );
    assert_eq!(untraceable(twice(STAFF).into()), [SourceName::new(STAFF)]);
    let both = twice(STAFF).into_iter().chain([keyless(GUESTS)]);
    assert_eq!(
        untraceable(both.collect()),
        [GUESTS, STAFF].map(SourceName::new)
    );
}

#[test]
fn what_a_pull_said_beside_the_accounts_is_kept_for_the_next_one() {
    let people = [(STAFF, "same"), (STAFF, "gone"), (GUESTS, "lost")];
    let mut comparison = Comparison::with(snapshot(&people, &[]));
    let (new, odd) = (of(STAFF, person("new")), unmapped_of(GUESTS, "odd", true));
    comparison.observe(Ok(of(STAFF, person("same"))));
    comparison.observe(Ok(new.clone()));
    comparison.observe(Err(Box::new(odd.clone())));
    comparison.observe(Err(Box::new(unmapped_of(GUESTS, "keyless", false))));
    let desired = comparison.finish(Pulls::new());
    // The account of one of the missing is gone meanwhile.
    let source_of = |name: &ExternalId| (*name == key("gone")).then(|| SourceName::new(STAFF));
    let deviation = |source: &str, name: &str, said| Deviation {
        source: SourceName::new(source),
        key: key(name),
        said,
    };
    let kept = desired.clone().into_deviations(source_of);
    assert_eq!(
        kept,
        [
            deviation(STAFF, "new", Said::Wants(new.clone())),
            deviation(GUESTS, "odd", Said::Unmapped(odd)),
            deviation(STAFF, "gone", Said::Gone),
        ]
    );
    let digests: Vec<_> = kept.iter().map(Deviation::digest).collect();
    assert_eq!(digests, [Some(new.digest()), None, None]);
    let concerned = ["new", "gone", "lost", "odd"].map(key);
    assert_eq!(desired.concerned(), HashSet::from(concerned));
}
