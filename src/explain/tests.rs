//! Each situation that somebody may be in, as it is shown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::config::Guard;
use crate::mapping::{Problem, Unmapped};
use crate::model::{Absence, Operation, OperationId};
use crate::plan::fixture::{World, account, at, at_most, disabled, key, now, person, source, with};
use crate::plan::{Deviation, Plan};
use crate::report::{explanation, explanation_json};
use crate::snapshot::{Candidate, Journal, KeptVerdict, Meant, Outcome, Pulled};

const POLICY: &str =
    "[policy]\ndeactivate_after = { pulls = 3, time = \"2days\" }\ndelete_after = \"90days\"\n";

fn config(rest: &str) -> Config {
    let text = format!(
        r#"
        [organization]
        id = "11111111-2222-3333-4444-555555555555"
        directory = "66666666-7777-8888-9999-000000000000"
        scim_key = {{ file = "scim-key" }}
        admin_key = {{ file = "admin-key" }}

        [[source]]
        preset = "openldap"
        kind = "ldif"
        file = "people.ldif"
        base = ["ou=robots,dc=example,dc=org", "ou=people,dc=example,dc=org"]
        members_of = "cn=staff,ou=groups,dc=example,dc=org"
        exclude = 'attr("title") == "Guest"'

        {rest}
        "#
    );
    Config::parse(Path::new("/etc/dirsyncd/config.toml"), &text).unwrap()
}

fn run(number: i64, began: &str, outcome: &str) -> RecordedRun {
    RecordedRun {
        run: RunId(number),
        trigger: "schedule".to_owned(),
        at: at(began),
        outcome: Some(outcome.to_owned()),
        error: None,
    }
}

/// Somebody of whom nothing is known but the pull of run 7.
fn nobody(name: &str) -> Dossier {
    let wanted = person(name);
    let pull = LastPull {
        run: RunId(7),
        at: at("2026-06-15T11:45:00Z"),
        entries: 1234,
        way: Some("changes".to_owned()),
        incomplete: None,
        full_at: Some(at("2026-06-15T00:00:00Z")),
    };
    Dossier {
        who: Candidate {
            name: name.to_owned(),
            key: Some(wanted.key),
            dns: vec![wanted.dn],
            addresses: vec![format!("{name}@example.org")],
            has_account: false,
        },
        account: None,
        deviation: None,
        verdicts: Vec::new(),
        other_key: None,
        is_doubtful: false,
        operations: Vec::new(),
        holds: Vec::new(),
        approvals: Vec::new(),
        failed: None,
        retries: Vec::new(),
        pulls: BTreeMap::from([(source(), pull)]),
        reading: Some(run(7, "2026-06-15T11:45:00Z", "incomplete")),
        last_run: Some(run(7, "2026-06-15T11:45:00Z", "incomplete")),
    }
}

/// Somebody with an account that run 2 has made.
fn somebody(name: &str) -> Dossier {
    let creation = planned(vec![person(name)], Vec::new());
    Dossier {
        account: Some(account(name)),
        operations: vec![journalled(2, "2026-01-10T08:00:00Z", "done", creation)],
        ..nobody(name)
    }
}

/// The first operation that is planned for these people and accounts.
fn planned(people: Vec<DesiredAccount>, accounts: Vec<ManagedAccount>) -> Operation {
    let plan: Plan = World::new(people, accounts).planned();
    plan.operations[0].operation.clone()
}

fn journalled(run: i64, at_text: &str, state: &str, operation: Operation) -> Journalled {
    Journalled {
        id: OperationId(run * 10),
        run: RunId(run),
        operation,
        state: state.to_owned(),
        at: at(at_text),
        request_id: (state == "done").then(|| format!("request-{run}")),
        error: (state == "failed").then(|| "500: out of order".to_owned()),
    }
}

fn verdict(kind: VerdictKind, sentence: &str) -> KeptVerdict {
    KeptVerdict {
        kind,
        sentence: sentence.to_owned(),
        source: Some(source()),
        wants: None,
    }
}

fn deviation(said: Said) -> Option<Deviation> {
    let key = match &said {
        Said::Wants(person) => person.key.clone(),
        Said::Unmapped(_) | Said::Gone => key("zoe"),
    };
    let source = source();
    Some(Deviation { source, key, said })
}

fn missing(since: &str, pulls: u32) -> Option<Absence> {
    Some(Absence {
        since: at(since),
        cause: Some(Cause::Unmatched),
        pulls,
    })
}

/// The account of a dossier in another state.
fn in_state(dossier: Dossier, lifecycle: Lifecycle, absence: Option<Absence>) -> Dossier {
    let account = dossier.account.map(|account| ManagedAccount {
        lifecycle,
        absence,
        ..account
    });
    Dossier { account, ..dossier }
}

fn shown(dossier: &Dossier) -> String {
    explanation(&explain(&config(POLICY), dossier, 5, now()), 100)
}

macro_rules! expect {
    ($dossier:expr) => {
        insta::assert_snapshot!(shown(&$dossier))
    };
}

#[test]
fn unchanged() {
    expect!(somebody("zoe"));
}

#[test]
fn changed_and_failed() {
    let wanted = with(person("zoe"), Attribute::Title, "Manager");
    let update = planned(vec![wanted.clone()], vec![account("zoe")]);
    let mut dossier = somebody("zoe");
    dossier.deviation = deviation(Said::Wants(wanted));
    dossier.operations.insert(
        0,
        journalled(7, "2026-06-15T11:46:00Z", "failed", update.clone()),
    );
    // The values are known from the journal alone as well, where the source cannot be followed.
    let unfollowed = Dossier {
        deviation: None,
        ..dossier.clone()
    };
    let differing = |dossier| explain(&config(POLICY), dossier, 5, now()).attributes;
    assert_eq!(differing(&dossier), differing(&unfollowed));
    expect!(dossier);
}

#[tokio::test]
async fn changed_and_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("dirsyncd.db"))
        .await
        .unwrap();
    let wanted = with(person("zoe"), Attribute::Title, "Manager");
    let mut world = World::new(vec![wanted], vec![account("zoe")]);
    world.limit(Guard::Update, at_most(0));
    let plan = world.planned();
    let run = journal.begin_run("schedule", now()).await.unwrap();
    journal.note(&[account("zoe")]).await.unwrap();
    let pulled = Pulled {
        pulls: world.desired().pulls,
        ..Pulled::default()
    };
    journal.record_pulls(run, &pulled).await.unwrap();
    let week = chrono::TimeDelta::days(7);
    journal.record_holds(run, &plan, week, now()).await.unwrap();
    let figures = serde_json::json!({});
    journal
        .finish_run(run, now(), Outcome::Incomplete, None, &figures)
        .await
        .unwrap();
    let Ok(Meant::One(who)) = journal.meant("zoe@example.org").await else {
        panic!("nobody is found");
    };
    expect!(journal.dossier(who, now()).await.unwrap());
}

#[test]
fn refused() {
    let mut dossier = nobody("zoe");
    dossier.verdicts = vec![KeptVerdict {
        wants: Some(person("zoe")),
        ..verdict(
            VerdictKind::Refused,
            "email zoe@example.org is also that of uid=zoe2,ou=people,dc=example,dc=org: an address belongs to one account; correct it in the directory",
        )
    }];
    expect!(dossier);
}

#[test]
fn skipped_as_disabled() {
    let mut dossier = nobody("zoe");
    dossier.deviation = deviation(Said::Wants(disabled("zoe")));
    dossier.verdicts = vec![verdict(
        VerdictKind::Skipped,
        "disabled in the directory, and without an account",
    )];
    expect!(dossier);
}

#[test]
fn not_seen_and_not_believed() {
    let mut dossier = somebody("zoe");
    let pull = dossier.pulls.get_mut(&source()).unwrap();
    pull.incomplete = Some("size limit exceeded".to_owned());
    pull.way = Some("full".to_owned());
    dossier.verdicts = vec![verdict(
        VerdictKind::Suspended,
        "not seen, and not believed to be gone: source `directory`: the pull is incomplete",
    )];
    expect!(dossier);
}

#[test]
fn absent_and_to_be_confirmed() {
    let dossier = somebody("zoe");
    let mut dossier = in_state(
        dossier,
        Lifecycle::Active,
        missing("2026-06-15T11:00:00Z", 1),
    );
    dossier.deviation = deviation(Said::Gone);
    dossier.verdicts = vec![verdict(
        VerdictKind::Skipped,
        "no longer matched by the filter, seen by 1 of 3 pulls",
    )];
    expect!(dossier);
}

#[test]
fn deactivated_and_to_be_deleted() {
    let since = at("2026-06-01T08:00:00Z");
    let left = Lifecycle::Deactivated { since };
    expect!(in_state(
        somebody("zoe"),
        left,
        missing("2026-05-30T08:00:00Z", 3)
    ));
}

#[test]
fn delete_pending() {
    let since = at("2026-06-10T08:00:00Z");
    let pending = Lifecycle::DeletePending { since };
    expect!(in_state(
        somebody("zoe"),
        pending,
        missing("2026-01-30T08:00:00Z", 3)
    ));
}

#[test]
fn adopted() {
    let mut world = World::new(vec![person("zoe")], Vec::new());
    world.existing = vec![crate::plan::fixture::existing(
        "zoe",
        Some("from-elsewhere"),
    )];
    let adoption = world.planned().operations[0].operation.clone();
    let mut dossier = somebody("zoe");
    dossier.operations = vec![journalled(1, "2026-01-10T08:00:00Z", "done", adoption)];
    expect!(dossier);
}

#[test]
fn rehired() {
    let mut dossier = somebody("zoe");
    let mut rehire = planned(
        vec![with(person("zoe"), Attribute::Title, "Manager")],
        vec![account("zoe")],
    );
    rehire.formerly = Some(key("zoe-before"));
    rehire.reason = Reason::Rehired {
        by: "employee number".to_owned(),
    };
    let rehire = journalled(5, "2026-04-01T08:00:00Z", "done", rehire);
    dossier.operations.insert(0, rehire);
    expect!(dossier);
}

#[test]
fn unmapped_without_account() {
    let mut dossier = nobody("zoe");
    let problem = Problem::Missing {
        target: Attribute::Email,
        from: "mail".to_owned(),
        skip: false,
    };
    dossier.verdicts = vec![verdict(VerdictKind::Refused, &problem.to_string())];
    dossier.deviation = deviation(Said::Unmapped(Unmapped {
        source: source(),
        dn: person("zoe").dn,
        key: Some(key("zoe")),
        problem,
    }));
    expect!(dossier);
}

#[test]
fn of_a_source_that_is_configured_no_more_and_a_run_that_broke_off() {
    let mut dossier = somebody("zoe");
    let contractors = SourceName::new("contractors");
    dossier.account.as_mut().unwrap().source = contractors;
    dossier.last_run = Some(RecordedRun {
        error: Some("source `directory`: cannot be reached".to_owned()),
        ..run(8, "2026-06-15T12:00:00Z", "failed")
    });
    expect!(dossier);
}

#[test]
fn json_has_all_of_it() {
    let wanted = with(person("zoe"), Attribute::Title, "Manager");
    let mut dossier = somebody("zoe");
    dossier.deviation = deviation(Said::Wants(wanted));
    let explanation = explain(&config(POLICY), &dossier, 0, now());
    insta::assert_json_snapshot!(explanation_json(&explanation));
}

#[test]
fn what_moves_the_cursor_is_not_shown_and_no_line_is_too_long() {
    let mut dossier = somebody("zoe");
    dossier.who.name = "Zoë\u{1b}[2J\nMüller 静香".repeat(20);
    for width in [40, 60, 100] {
        let text = explanation(&explain(&config(POLICY), &dossier, 5, now()), width);
        for line in text.lines() {
            assert!(textwrap::core::display_width(line) <= width, "{line}");
        }
        let is_bad = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(is_bad), "{text:?}");
    }
}

#[test]
fn older_changes_are_counted() {
    let mut dossier = somebody("zoe");
    let one = dossier.operations[0].clone();
    for (changes, limit, more) in [(5, 5, 0), (6, 5, 1), (6, 0, 6)] {
        dossier.operations = vec![one.clone(); changes];
        let explanation = explain(&config(POLICY), &dossier, limit, now());
        assert_eq!(explanation.changes.len(), changes.min(limit));
        assert_eq!(explanation.more_changes, more);
    }
}
