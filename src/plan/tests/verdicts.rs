//! What is kept of a plan of those for whom it does nothing.

use super::super::{Verdict, VerdictKind};
use crate::config::Guard;
use crate::model::{DesiredAccount, ExternalId, ManagedAccount, Whereabouts};
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
