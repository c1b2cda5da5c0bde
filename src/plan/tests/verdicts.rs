//! What is kept of a plan of those for whom it does nothing.

use super::super::{Verdict, VerdictKind, plan};
use crate::config::Guard;
use crate::model::{
    Complete, DesiredAccount, ExternalId, ManagedAccount, PullEnd, SourceName, Whereabouts,
};
use crate::plan::fixture::{
    World, account, at_most, disabled, key, person, source, unmapped, with_mail,
};

fn verdicts(world: &World) -> Vec<Verdict> {
    let mut desired = world.desired();
    let known = world.known(&desired);
    world.look_for(&mut desired, &known);
    let mut verdicts = world.planned().verdicts(&desired, &known.accounts);
    verdicts.sort_by(|a, b| (a.kind, &a.dn).cmp(&(b.kind, &b.dn)));
    verdicts
}

fn expect(verdict: &Verdict, kind: VerdictKind, name: &str, words: &str) {
    assert_eq!(verdict.kind, kind, "{verdict:?}");
    assert_eq!(
        verdict.key.as_ref().map(ExternalId::as_str),
        Some(key(name).as_str())
    );
    assert_eq!(verdict.source, Some(source()), "{verdict:?}");
    assert!(verdict.sentence.contains(words), "{verdict:?}");
}

#[test]
fn who_is_refused_or_skipped_is_kept_with_what_is_wanted_and_nobody_else() {
    let twin = with_mail(person("twin"), "one@example.org");
    let other = with_mail(person("other"), "one@example.org");
    let never = disabled("never");
    let mut world = World::new(
        vec![
            person("same"),
            person("new"),
            twin.clone(),
            other,
            never.clone(),
        ],
        vec![account("same"), account("left")],
    );
    world.unmapped = vec![unmapped("odd", true)];
    let verdicts = verdicts(&world);
    assert_eq!(verdicts.len(), 4, "{verdicts:#?}");
    // By their DNs.
    expect(&verdicts[0], VerdictKind::Refused, "odd", "");
    expect(
        &verdicts[1],
        VerdictKind::Refused,
        "other",
        "is also that of",
    );
    expect(
        &verdicts[2],
        VerdictKind::Refused,
        "twin",
        "is also that of",
    );
    expect(&verdicts[3], VerdictKind::Skipped, "never", "disabled");
    let wants: Vec<Option<&DesiredAccount>> =
        verdicts.iter().map(|one| one.wants.as_ref()).collect();
    assert_eq!(wants[0], None);
    assert_eq!(wants[2..], [Some(&twin), Some(&never)]);
}

#[test]
fn who_is_not_seen_in_an_incomplete_pull_is_suspended_if_there_is_a_login_to_lose() {
    let off = ManagedAccount {
        lifecycle: super::DEACTIVATED,
        ..account("off")
    };
    let mut world = World::new(
        vec![person("here")],
        vec![account("here"), account("gone"), off],
    );
    world.clean = Err("size limit exceeded".to_owned());
    let suspended = verdicts(&world);
    assert_eq!(suspended.len(), 1, "{suspended:#?}");
    expect(
        &suspended[0],
        VerdictKind::Suspended,
        "gone",
        "size limit exceeded",
    );
    // Found in scope when looked for: the pull has not shown everybody.
    world.clean = Ok(());
    world.whereabouts.insert(key("gone"), Whereabouts::InScope);
    let missed = verdicts(&world);
    expect(
        &missed[0],
        VerdictKind::Suspended,
        "gone",
        "were found in scope",
    );
    // By proof it is a departure, of which the operation tells.
    world.whereabouts.clear();
    assert_eq!(verdicts(&world), []);
}

#[test]
fn a_missing_person_is_told_the_doubt_about_the_own_source_if_there_is_one() {
    let sources = ["directory", "guests", "of-old"];
    let accounts = sources.map(|name| ManagedAccount {
        source: SourceName::new(name),
        ..account(name)
    });
    let mut world = World::new(vec![person("here")], accounts.into());
    world.sources = vec!["guests", "of-old"];
    let mut desired = world.desired();
    for (source, why) in [("directory", "cut off"), ("guests", "too slow")] {
        let end = PullEnd {
            entries: 5,
            changed: None,
            clean: Err(why.to_owned()),
        };
        let pull = Complete::attest(end);
        desired.pulls.insert(SourceName::new(source), pull);
    }
    let known = world.known(&desired);
    let (policies, guards) = (world.policies(), &world.guards);
    let plan = plan(&desired, &known, &policies, guards, world.now).unwrap();
    let verdicts = plan.verdicts(&desired, &known.accounts);
    for (name, doubted, why) in [
        ("directory", "directory", "cut off"),
        ("guests", "guests", "too slow"),
        // That one was read: whoever is missing may be in what was not.
        ("of-old", "directory", "cut off"),
    ] {
        let mut verdicts = verdicts.iter();
        let verdict = verdicts.find(|one| one.key == Some(key(name))).unwrap();
        assert_eq!(verdict.kind, VerdictKind::Suspended);
        let words = format!("source `{doubted}`: ");
        assert!(
            verdict.sentence.contains(&words) && verdict.sentence.contains(why),
            "{verdict:?}"
        );
    }
}

#[test]
fn every_kind_is_known_by_its_name() {
    let names = ["refused", "skipped", "suspended", "waiting"];
    for (kind, name) in VerdictKind::ALL.into_iter().zip(names) {
        assert_eq!(kind.name(), name);
        assert_eq!(format!("{kind:>10}"), format!("{name:>10}"));
        assert_eq!(VerdictKind::parse(name), Some(kind));
    }
    assert_eq!(VerdictKind::parse("another"), None);
}

#[test]
fn what_waits_for_something_held_is_kept_and_what_is_held_itself_is_not() {
    let mut world = World::new(
        vec![
            with_mail(person("first"), "free@example.org"),
            with_mail(person("second"), "first@example.org"),
        ],
        vec![account("first"), account("second")],
    );
    world.guards.protected = ["key-first".to_owned()].into();
    let waiting = verdicts(&world);
    assert_eq!(waiting.len(), 1, "{waiting:#?}");
    expect(
        &waiting[0],
        VerdictKind::Waiting,
        "second",
        "the update waits for what is held by `protected`",
    );
    world.guards.protected.clear();
    assert_eq!(verdicts(&world), []);
    world.limit(Guard::ChangeEmail, at_most(0));
    assert_eq!(verdicts(&world), [], "both are held themselves");
}
