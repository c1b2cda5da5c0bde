//! What is to come is what the planner does then: each date at its moment and a millisecond before.

use chrono::TimeDelta;

use super::super::{Outlook, Seen, differing, outlook};
use crate::config::{self, Confirmation, Departure, Policies, Policy, Return};
use crate::model::{Absence, Attribute, Cause, Change, Lifecycle, ManagedAccount, Timestamp};
use crate::plan::fixture::{account, at, now, person, source, with};

fn missing(since: Timestamp, pulls: u32) -> Option<Absence> {
    Some(Absence {
        since,
        cause: Some(Cause::Deleted),
        pulls,
    })
}

fn of(account: Option<&ManagedAccount>, seen: Seen, policy: &Policy, at: Timestamp) -> Outlook {
    let policies = Policies {
        default: policy.clone(),
        ..Policies::default()
    };
    outlook(account, seen, &source(), &policies, at, false)
}

const GONE: Seen = Seen::Absent(Cause::Deleted);
const HERE: Seen = Seen::Present { is_enabled: true };
const DISABLED: Seen = Seen::Present { is_enabled: false };

#[test]
fn an_absence_is_confirmed_in_time_and_by_pulls() {
    let policy = Policy {
        deactivate_after: Confirmation {
            pulls: 3,
            time: TimeDelta::hours(6),
        },
        ..Policy::default()
    };
    let since = at("2026-06-15T11:00:00Z");
    let end = since + TimeDelta::hours(6);
    let before = end - TimeDelta::milliseconds(1);
    for (pulls, moment, later, is_due) in [
        (1, now(), Some((end, 2)), false),
        (3, now(), Some((end, 0)), false),
        (3, before, Some((end, 0)), false),
        (3, end, None, true),
        (2, end, Some((end, 1)), false),
        // That one is over, as the person was back since; the next one is not noted yet.
        (0, now(), None, false),
    ] {
        let account = ManagedAccount {
            absence: missing(since, pulls),
            ..account("zoe")
        };
        let outlook = of(Some(&account), GONE, &policy, moment);
        let found = outlook.later.as_ref().map(|due| (due.at, due.pulls));
        assert_eq!(found, later, "{pulls} {moment}");
        let follows = outlook.now == Some("the account is deactivated by the next sync");
        assert_eq!(follows, is_due, "{pulls} {moment}");
    }
}

#[test]
fn a_deletion_is_foreseen_to_the_millisecond_and_only_where_the_policy_deletes() {
    let left = at("2026-06-01T00:00:00Z");
    let off = at("2026-06-02T00:00:00Z");
    let account = ManagedAccount {
        lifecycle: Lifecycle::Deactivated { since: off },
        absence: missing(left, 1),
        ..account("zoe")
    };
    let never = Policy::default();
    let deletes = Policy {
        delete_after: Some(TimeDelta::days(30)),
        ..Policy::default()
    };
    let mut keeps = deletes.clone();
    keeps.on_leave.set(Cause::Deleted, Departure::Keep);
    let end = off + TimeDelta::days(30);
    let before = end - TimeDelta::milliseconds(1);
    let due = |policy: &Policy, seen, moment| {
        let outlook = of(Some(&account), seen, policy, moment);
        (outlook.later.map(|due| due.at), outlook.now)
    };
    let deleted = Some("the deletion is requested by the next sync");
    assert_eq!(due(&deletes, GONE, now()), (Some(end), None));
    assert_eq!(due(&deletes, GONE, before), (Some(end), None));
    assert_eq!(due(&deletes, GONE, end), (None, deleted));
    assert_eq!(due(&never, GONE, end), (None, None));
    assert_eq!(due(&keeps, GONE, end), (None, None));
    // Whoever is back, or of whom nothing is known, is not deleted.
    let restored = Some("the login is restored by the next sync");
    assert_eq!(due(&deletes, HERE, end), (None, restored));
    assert_eq!(due(&deletes, DISABLED, end), (None, None));
    assert_eq!(due(&deletes, Seen::Unknown, end), (None, None));
}

#[test]
fn a_deletion_that_was_never_answered_is_requested_again_only_while_it_is_due() {
    let policies = |days| Policies {
        default: Policy {
            delete_after: Some(TimeDelta::days(days)),
            ..Policy::default()
        },
        ..Policies::default()
    };
    let since = now() - TimeDelta::days(30);
    let account = ManagedAccount {
        lifecycle: Lifecycle::Deactivated { since },
        absence: missing(since, 1),
        ..account("zoe")
    };
    for (days, is_doubtful, follows) in [
        (30, true, Some("the deletion is requested again")),
        (31, true, None),
        (
            30,
            false,
            Some("the deletion is requested by the next sync"),
        ),
    ] {
        let account = Some(&account);
        let outlook = outlook(
            account,
            GONE,
            &source(),
            &policies(days),
            now(),
            is_doubtful,
        );
        assert_eq!(outlook.now, follows, "{days} {is_doubtful}");
    }
}

#[test]
fn the_end_of_the_grace_is_foreseen() {
    let since = at("2026-06-10T00:00:00Z");
    let account = ManagedAccount {
        lifecycle: Lifecycle::DeletePending { since },
        absence: missing(since, 1),
        ..account("zoe")
    };
    let end = since + TimeDelta::days(14);
    let policy = Policy::default();
    for (moment, expected, state) in [
        (now(), Some(end), "deletion requested"),
        (
            end - TimeDelta::milliseconds(1),
            Some(end),
            "deletion requested",
        ),
        (
            end,
            None,
            "deletion requested, and no longer to be cancelled",
        ),
    ] {
        let outlook = of(Some(&account), GONE, &policy, moment);
        assert_eq!(outlook.later.map(|due| due.at), expected);
        assert_eq!(outlook.state, state);
    }
}

#[test]
fn the_keys_that_decide_are_told_with_the_table_that_they_stand_in() {
    let general = Policy {
        delete_after: Some(TimeDelta::hours(36)),
        on_return: Return::Keep,
        on_rename: config::Change::Keep,
        ..Policy::default()
    };
    let mut own = general.clone();
    own.on_email_change = config::Change::Keep;
    own.on_leave.set(Cause::Deleted, Departure::Keep);
    own.on_disabled = Departure::Keep;
    let policies = Policies {
        default: general,
        of_sources: [(source(), own)].into_iter().collect(),
        accepts_scope_change: false,
    };
    let away = ManagedAccount {
        lifecycle: Lifecycle::Deactivated { since: now() },
        absence: missing(now(), 1),
        ..account("zoe")
    };
    let there = account("zoe");
    let rules = |account, seen, source: &str| {
        let source = crate::model::SourceName::new(source);
        let outlook = outlook(account, seen, &source, &policies, now(), false);
        let rules = outlook.rules.into_iter();
        let rules: Vec<String> = rules
            .map(|rule| format!("{} = {} ({})", rule.key, rule.value, rule.from))
            .collect();
        rules
    };
    let moved = Seen::Absent(Cause::MovedOut);
    let here = source();
    for (account, seen, source, expected) in [
        (
            Some(&there),
            GONE,
            here.as_str(),
            &["on_deleted = \"keep\" (source.policy)"][..],
        ),
        (
            Some(&there),
            moved,
            here.as_str(),
            &[
                "on_moved_out = \"deactivate\" (default)",
                "deactivate_after = { pulls = 1, time = \"0s\" } (default)",
                "delete_after = \"36h\" (policy)",
            ],
        ),
        (
            Some(&away),
            GONE,
            "of-old",
            &[
                "on_deleted = \"deactivate\" (default)",
                "delete_after = \"36h\" (policy)",
            ],
        ),
        (
            Some(&away),
            HERE,
            here.as_str(),
            &["on_return = \"keep\" (policy)"],
        ),
        (
            Some(&there),
            DISABLED,
            here.as_str(),
            &["on_disabled = \"keep\" (source.policy)"],
        ),
        (
            None,
            HERE,
            here.as_str(),
            &[
                "adopt = true (default)",
                "match = [\"email\", \"userName\"] (default)",
            ],
        ),
        (
            Some(&there),
            HERE,
            here.as_str(),
            &[
                "on_rename = \"keep\" (policy)",
                "on_email_change = \"keep\" (source.policy)",
            ],
        ),
        // What follows the directory needs no word.
        (
            Some(&there),
            HERE,
            "of-old",
            &["on_rename = \"keep\" (policy)"],
        ),
        (Some(&there), Seen::Unknown, here.as_str(), &[]),
    ] {
        assert_eq!(rules(account, seen, source), expected, "{seen:?} {source}");
    }
}

#[test]
fn what_differs_is_told_of_what_the_organization_knows() {
    let wanted = with(person("a"), Attribute::Title, "Head");
    let local = Attribute::ALL.into_iter().find(|one| one.is_local());
    let wanted = with(wanted, local.unwrap(), "here only");
    assert_eq!(
        differing(&account("a").profile, &wanted.profile),
        [Change {
            attribute: "title".to_owned(),
            old: None,
            new: Some("Head".to_owned()),
        }]
    );
}
