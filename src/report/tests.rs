//! The forms of a plan with something of everything in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use super::*;
use crate::apply::{Applied, EndedBy, GroupsApplied};
use crate::config::{Guard, Limit};
use crate::model::{
    Attribute, Exchange, GroupChange, GroupMember, GroupOperation, GroupOrigin, GroupProgress,
    GroupReason, GroupTarget, Invoker, Lifecycle, OperationId, RunId, ScimId, SourceName,
};
use crate::plan::fixture::*;
use crate::plan::{
    Calls, Estimate, Figures, Foreseen, Hold, HoldCause, Holder, Notice, Noticed, Pace, Plan, Way,
};
use crate::snapshot::{Asked, Journal, Write, WriteEnd, Written};
use chrono::TimeDelta;

fn plan_of_everything() -> Plan {
    let long_ago = Lifecycle::Deactivated {
        since: at("2026-01-10T00:00:00Z"),
    };
    let pending = Lifecycle::DeletePending {
        since: at("2026-06-10T00:00:00Z"),
    };
    let moved = with(
        with(person("moved"), Attribute::Department, "Sales"),
        Attribute::Title,
        "",
    );
    let married = with(
        with_mail(person("married"), "jane.smith@example.org"),
        Attribute::DisplayName,
        "Jane Smith",
    );
    let mut bell = person("bell");
    bell.dn = "uid=bell\u{7},dc=example,dc=org".into();
    let mut world = World::new(
        vec![
            with(person("zoe"), Attribute::DisplayName, "Zoë Müller"),
            bell,
            person("same"),
            moved,
            married,
            disabled("disabled"),
            disabled("never"),
            person("back"),
            person("regretted"),
            person("known"),
            with_mail(person("twin"), "one@example.org"),
            with_mail(person("other"), "one@example.org"),
        ],
        vec![
            account("same"),
            crate::model::ManagedAccount {
                profile: [(Attribute::Title, "Intern".to_owned())]
                    .into_iter()
                    .chain(
                        account("moved")
                            .profile
                            .iter()
                            .map(|(a, value)| (a, value.to_owned())),
                    )
                    .collect(),
                ..account("moved")
            },
            account("married"),
            account("disabled"),
            account("left"),
            in_state("back", long_ago, Some("2026-01-10T00:00:00Z")),
            in_state("regretted", pending, Some("2026-01-10T00:00:00Z")),
            in_state("gone", long_ago, Some("2026-01-10T00:00:00Z")),
        ],
    );
    world.existing = vec![existing("known", Some("from-elsewhere"))];
    world.unmapped = vec![unmapped("odd", true)];
    world.policy.delete_after = Some(TimeDelta::days(30));
    world.limit(
        Guard::ChangeEmail,
        Limit {
            percent: Some(10.0),
            ..Limit::default()
        },
    );
    world.planned()
}

fn limited(limit: usize) -> Detail {
    Detail {
        limit: Some(limit),
        ..Detail::default()
    }
}

#[test]
fn text_shows_each_operation_with_its_reason_and_values_and_the_summary_last() {
    insta::assert_snapshot!(text(&plan_of_everything(), Detail::default()));
}

#[test]
fn a_line_alone_tells_what_is_to_be_looked_at() {
    let applied = Applied {
        done: 2,
        ..Applied::default()
    };
    let mut plan = plan_of_everything();
    assert_eq!(
        finished_line(&plan, &applied),
        "Done: 2 applied; to look at: 1 held, 3 refused (dirsyncd plan)."
    );
    plan.refusals.clear();
    assert_eq!(
        finished_line(&plan, &applied),
        "Done: 2 applied; to look at: 1 held (dirsyncd holds)."
    );
    plan.operations.retain(|planned| !planned.is_held());
    plan.holds.clear();
    assert!(!plan.needs_attention());
    assert_eq!(finished_line(&plan, &applied), "Done: 2 applied.");
}

#[test]
fn text_can_be_limited() {
    insta::assert_snapshot!(text(&plan_of_everything(), limited(1)));
}

#[test]
fn text_has_colours_and_is_as_wide_as_the_terminal() {
    let detail = Detail {
        width: Some(60),
        has_colour: true,
        ..limited(1)
    };
    let coloured = text(&plan_of_everything(), detail);
    assert!(!coloured.contains('\u{7}'));
    for line in coloured.lines() {
        let width = textwrap::core::display_width(line);
        let is_one_word = line.trim().split(' ').count() == 1;
        assert!(width <= 60 || is_one_word, "{line}");
    }
    insta::assert_snapshot!(coloured.replace('\u{1b}', "ESC"));
    // Without the colours it says the same, to the letter, where there is room.
    let wide = Detail {
        has_colour: true,
        ..Detail::default()
    };
    let stripped = anstream::adapter::strip_str(&text(&plan_of_everything(), wide)).to_string();
    assert_eq!(stripped, text(&plan_of_everything(), Detail::default()));
}

/// With names that try to be more than names.
fn plan_of_tricks() -> Plan {
    let tricky = [
        "=HYPERLINK(\"https://bad.example\")",
        "<script>alert(1)</script> & more",
        "**bold** [link](https://bad.example) `code` | cell",
        "1. first\n# heading",
        "\u{202e}drawkcab \u{1b}[31mred",
    ];
    let people = tricky
        .iter()
        .enumerate()
        .map(|(at, name)| with(person(&format!("p{at}")), Attribute::DisplayName, name));
    World::new(people.collect(), vec![account("p4")]).planned()
}

#[test]
fn csv_has_a_row_for_each_change_and_no_formula() {
    insta::assert_snapshot!(
        "csv",
        planned(&plan_of_everything(), Form::Csv, Detail::default())
    );
    insta::assert_snapshot!(
        "csv_groups",
        planned(&plan_of_groups(), Form::Csv, Detail::default())
    );
    let tricks = planned(&plan_of_tricks(), Form::Csv, Detail::default());
    let mut rows = csv::Reader::from_reader(tricks.as_bytes());
    let mut count = 0;
    for row in rows.records() {
        for cell in &row.unwrap() {
            assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
            assert!(!cell.chars().any(char::is_control), "{cell:?}");
        }
        count += 1;
    }
    assert!(count > 5, "{tricks}");
}

#[test]
fn markdown_is_for_a_ticket_and_values_are_no_more_than_text() {
    let made = Detail {
        made_at: Some(at("2026-06-15T12:00:00Z")),
        ..limited(2)
    };
    insta::assert_snapshot!(
        "markdown",
        planned(&plan_of_everything(), Form::Markdown, made)
    );
    insta::assert_snapshot!(
        "markdown_groups",
        planned(&plan_of_groups(), Form::Markdown, made)
    );
    insta::assert_snapshot!(
        "markdown_tricks",
        planned(&plan_of_tricks(), Form::Markdown, made)
    );
}

#[test]
fn html_is_one_file_and_values_are_no_more_than_text() {
    let made = Detail {
        made_at: Some(at("2026-06-15T12:00:00Z")),
        ..limited(1)
    };
    let page = planned(&plan_of_everything(), Form::Html, made);
    // Style and script are files of their own, where they are read.
    let start = page.find("<style>").unwrap();
    let end = page.find("</style>").unwrap();
    let script = page.find("<script>").unwrap();
    let body = format!("{}…{}…", &page[..start], &page[end..script]);
    insta::assert_snapshot!("html", body.replace("><", ">\n<"));
    let tricks = planned(&plan_of_tricks(), Form::Html, Detail::default());
    assert_eq!(tricks.matches("<script").count(), 1);
    assert!(tricks.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"));
    for outside in ["http:", "src=", "url(", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_run_is_told_in_each_form_with_what_failed_and_how_it_ended() {
    let plan = plan_of_everything();
    let operation = plan.operations[0].operation.clone();
    let applied = Applied {
        done: 3,
        failed: vec![(operation, "the API said no".to_owned())],
        ..Applied::default()
    };
    for form in Form::ALL {
        let report = finished(RunId(7), &plan, &applied, None, (form, Detail::default()));
        assert!(report.contains("the API said no"), "{form:?}: {report}");
        if form != Form::Csv {
            assert!(report.contains('7'), "{form:?}: {report}");
        }
        assert!(report.ends_with('\n') || form == Form::Html, "{form:?}");
    }
    let markdown = finished(
        RunId(7),
        &plan,
        &applied,
        None,
        (Form::Markdown, limited(1)),
    );
    assert!(markdown.starts_with("# Run 7\n"), "{markdown}");
    assert!(markdown.contains("\n## Failed (1)\n"), "{markdown}");
    assert!(
        markdown.contains("\nDone: 3 applied, 1 failed."),
        "{markdown}"
    );
}

#[test]
fn the_ending_of_a_name_tells_the_form() {
    for (ending, form) in [
        ("txt", Some(Form::Text)),
        ("JSON", Some(Form::Json)),
        ("csv", Some(Form::Csv)),
        ("md", Some(Form::Markdown)),
        ("markdown", Some(Form::Markdown)),
        ("html", Some(Form::Html)),
        ("htm", Some(Form::Html)),
        ("pdf", None),
    ] {
        assert_eq!(Form::of_ending(ending), form, "{ending}");
    }
    for form in Form::ALL {
        assert_eq!(Form::named(form.name()), Some(form));
    }
}

#[test]
fn json_has_all_of_it() {
    insta::assert_json_snapshot!(json(&plan_of_everything()));
}

#[test]
fn how_the_sources_were_read_is_told_before_all_else() {
    let world = World::new(vec![person("zoe")], vec![account("zoe")]);
    let mut plan = world.planned();
    let figures = |entries, changed| Figures { entries, changed };
    plan.pulls = [
        (source(), figures(1234, Some(2))),
        (SourceName::new("partners"), figures(1, None)),
    ]
    .into_iter()
    .collect();
    let notice = |name: &str, what| Notice {
        source: SourceName::new(name),
        what,
    };
    plan.notices.push(notice(
        "partners",
        Noticed::ReadInFull {
            why: "the configuration has changed".into(),
        },
    ));
    assert!(!plan.needs_attention());
    let missed = vec!["uid=zoe has left".to_owned(), "uid=ada has left".to_owned()];
    plan.notices
        .push(notice("directory", Noticed::Missed { people: missed }));
    assert!(plan.needs_attention());
    insta::assert_snapshot!(text(&plan, Detail::default()));
}

#[test]
fn an_empty_plan_says_that_nothing_is_to_do() {
    let plan = World::new(vec![person("a")], vec![account("a")]).planned();
    insta::assert_snapshot!(text(&plan, Detail::default()), @r"
    Read 1 person from `directory`.

    Nothing to do: 0 to create, 0 to update, 0 to restore, 0 to deactivate, 1 unchanged.
    ");
}

#[test]
fn what_became_of_a_plan_is_told_with_each_failure() {
    let plan = plan_of_everything();
    let operation = plan.operations[0].operation.clone();
    let outcome = Applied {
        done: 1234,
        failed: vec![(operation, "POST /Users was refused with 409: taken".into())],
        left: 2,
        left_of: [(crate::model::Kind::Update, 2)].into(),
        ended_by: Some(EndedBy::Stop),
        ..Applied::default()
    };
    insta::assert_snapshot!(applied(&Plan::default(), &outcome, Detail::default()));
}

/// A plan with every kind of group operation and all that is told beside them.
fn plan_of_groups() -> Plan {
    use crate::plan::groups::{
        GroupNotice, GroupNoticed, GroupPlan, GroupRefusal, GroupSuspension, PlannedGroup,
    };
    let member = |name: &str, is_there: bool| GroupMember {
        name: name.to_owned(),
        key: Some(key(name)),
        scim_id: is_there.then(|| ScimId::new(format!("scim-{name}"))),
    };
    let operation = |kind, name: &str, reason, members: Option<u64>| PlannedGroup {
        operation: GroupOperation {
            kind,
            reason,
            key: key(name),
            name: name.to_owned(),
            origins: BTreeSet::from([GroupOrigin {
                source: SourceName::new("directory"),
                key: key(name),
                dn: format!("cn={name},ou=groups,dc=example,dc=org"),
                rule: "the rule".to_owned(),
            }]),
            target: members.map(|members| GroupTarget {
                scim_id: ScimId::new(format!("group-{name}")),
                name: if kind == GroupChange::Rename {
                    "developers"
                } else {
                    name
                }
                .to_owned(),
                members,
            }),
            add: vec![
                member("ada", true),
                member("grace", false),
                member("alan", true),
            ],
            remove: Vec::new(),
            former: None,
            undoes: None,
        },
        holds: Vec::new(),
        tried_in_vain: None,
    };
    let found = GroupReason::Found { by: "name".into() };
    let from = "developers".to_owned();
    let mut update = operation(GroupChange::Update, "ops", GroupReason::Members, Some(7));
    update.operation.remove = vec![member("barbara", true)];
    update.holds = vec![0];
    let mut delete = operation(GroupChange::Delete, "old", GroupReason::Left, Some(1200));
    delete.operation.add.clear();
    let notice = |what| GroupNotice {
        group: "ops".to_owned(),
        what,
    };
    let dns = |count: usize| (0..count).map(|n| format!("uid=p{n}")).collect::<Vec<_>>();
    Plan {
        groups: Some(GroupPlan {
            operations: vec![
                operation(GroupChange::Create, "new", GroupReason::Appeared, None),
                operation(GroupChange::Adopt, "theirs", found, Some(2)),
                operation(
                    GroupChange::Rename,
                    "engineers",
                    GroupReason::Renamed { from },
                    Some(2),
                ),
                update,
                delete,
            ],
            refusals: vec![GroupRefusal {
                dn: "cn=bad".to_owned(),
                why: "it has no name".to_owned(),
                in_quarantine: false,
            }],
            suspensions: vec![
                GroupSuspension {
                    group: None,
                    place: "ou=groups".to_owned(),
                    why: "cut off".to_owned(),
                },
                GroupSuspension {
                    group: Some("ops".to_owned()),
                    place: "cn=ops".to_owned(),
                    why: "a member is hidden".to_owned(),
                },
            ],
            notices: vec![
                notice(GroupNoticed::Joined(dns(2))),
                notice(GroupNoticed::WithoutAccount(dns(3))),
                notice(GroupNoticed::Foreign(1)),
                notice(GroupNoticed::Kept("no longer in the directory".to_owned())),
            ],
            unchanged: 12,
            ..GroupPlan::default()
        }),
        holds: vec![Hold {
            name: "protected".to_owned(),
            cause: HoldCause::Protected,
            planned: 1,
            opened: None,
        }],
        ..World::new(vec![person("a")], vec![account("a")]).planned()
    }
}

#[test]
fn text_shows_each_group_with_its_members_up_to_the_limit() {
    insta::assert_snapshot!(text(&plan_of_groups(), limited(2)));
}

#[test]
fn json_has_groups_where_there_is_a_rule_for_them() {
    let plan = plan_of_groups();
    let applied = Applied {
        groups: GroupsApplied {
            done: 3,
            failed: Vec::new(),
            left: 2,
            ..GroupsApplied::default()
        },
        ..Applied::default()
    };
    insta::assert_json_snapshot!(json(&plan)["groups"]);
    insta::assert_json_snapshot!(summary(&plan, Some(&applied))["groups"]);
    assert_eq!(plan.held(), 1);
    assert!(plan.has_pending() && plan.needs_attention());
    let without = World::new(vec![person("a")], vec![account("a")]).planned();
    assert!(json(&without).get("groups").is_none());
}

#[test]
fn what_became_of_groups_is_told_with_each_failure() {
    let plan = plan_of_groups();
    let operation = plan.groups.unwrap().operations[0].operation.clone();
    let outcome = Applied {
        done: 4,
        groups: GroupsApplied {
            done: 3,
            failed: vec![(operation, "POST /Groups was refused with 403".into())],
            left: 1,
            left_of: [(GroupChange::Delete, 1)].into(),
        },
        ..Applied::default()
    };
    assert!(!outcome.is_clean());
    insta::assert_snapshot!(applied(&Plan::default(), &outcome, Detail::default()), @r"

    Groups failed (1)
      ! new (cn=new,ou=groups,dc=example,dc=org)
          POST /Groups was refused with 403

    Done: 7 applied, 1 failed, 1 left for the next run (1 group_delete).
    ");
}

#[tokio::test]
async fn open_holds_are_listed_with_figures_age_expiry_and_operations() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("dirsyncd.db"))
        .await
        .unwrap();
    let mut plan = plan_of_everything();
    let run = journal.begin_run("test", now()).await.unwrap();
    let week = TimeDelta::days(7);
    let opened = journal.record_holds(run, &plan, week, now()).await.unwrap();
    for hold in &mut plan.holds {
        hold.opened = opened.get(&hold.name).copied();
    }
    let told = text(&plan, Detail::default());
    let numbered = "! change_email #1, open until 2026-06-22 12:00 UTC";
    assert!(told.contains(numbered), "{told}");

    let later = now() + TimeDelta::hours(3);
    let open = journal.open_holds(later).await.unwrap();
    insta::assert_snapshot!(holds(&open, later));
    insta::assert_json_snapshot!(holds_json(&open, later));
    let expired = now() + week;
    let open = journal.open_holds(expired).await.unwrap();
    let told = holds(&open, expired);
    assert!(
        told.contains("(7 days ago), expired at 2026-06-22 12:00 UTC"),
        "{told}"
    );
    assert_eq!(holds_json(&open, expired)["holds"][0]["expired"], true);
    assert_eq!(holds(&[], now()), "No hold is open.\n");
    let asked = Asked {
        by: Invoker {
            name: "zoe".into(),
            uid: 1000,
            sudo_user: None,
        },
        reason: "it is right".into(),
    };
    let done = journal
        .approve(
            "change_email",
            &["jane.smith@EXAMPLE.org".into()],
            &asked,
            later,
        )
        .await
        .unwrap();
    insta::assert_snapshot!(approved(&done));
    journal.close().await.unwrap();
}

#[test]
fn what_is_foreseen_is_told_with_the_operation_and_before_the_summary() {
    let mut plan = World::new(vec![person("a"), person("b")], vec![]).planned();
    let approved = plan.approve();
    let operations = approved.operations().iter().map(|one| &**one);
    let calls = Calls::of(operations, Way::Admin);
    let holder = Holder {
        account: crate::model::AccountId::new("557058:x"),
        name: "Somebody".into(),
        active: false,
        owner: None,
    };
    plan.forecast.foreseen = [(key("a"), Foreseen::Conflict(holder))].into();
    plan.forecast.calls = Some(calls);
    plan.forecast.unseen_rights = 1234;
    plan.forecast.unseen_addresses = 1;
    plan.forecast.estimate = Some(Estimate {
        time: std::time::Duration::from_millis(65_432),
        by: Pace::Limited(100, std::time::Duration::from_secs(60)),
    });
    insta::assert_snapshot!(text(&plan, Detail::default()));
    insta::assert_json_snapshot!(json(&plan)["forecast"]);
}

#[test]
fn no_text_commands_the_terminal_and_no_line_of_a_message_looks_like_another_message() {
    let text = "a\u{1b}[2J\u{9b}1m\u{7f}\r\u{202e}\u{2069}é\u{200f}\u{200e}\u{61c}\u{2028}\u{2029}\n  | b\nok    c";
    let shown = r"a\u001b[2J\u009b1m\u007f\u000d\u202e\u2069é\u200f\u200e\u061c\u2028\u2029";
    assert_eq!(printable(text), format!("{shown}\n  | b\nok    c"));
    assert_eq!(message(text), format!("{shown}\n  | b\n  ok    c"));
    // In JSON it is still the same value.
    let json = serde_json::json!({ "dn": text }).to_string();
    let read: serde_json::Value = serde_json::from_str(&printable(&json)).unwrap();
    assert_eq!(read["dn"], text);
}

/// So many join a group, of whom the first did not get in.
fn joining(members: usize, end: WriteEnd) -> Write {
    let members = (0..members).map(|n| GroupMember {
        name: format!("Pat {n:06}"),
        key: Some(key(&format!("{n:06}"))),
        scim_id: None,
    });
    let add: Vec<GroupMember> = members.collect();
    let added = add[1..].to_vec();
    let operation = GroupOperation {
        kind: GroupChange::Update,
        key: key("group"),
        name: "-dev\u{202e}".into(),
        target: None,
        add,
        remove: Vec::new(),
        reason: GroupReason::Members,
        origins: BTreeSet::new(),
        former: None,
        undoes: None,
    };
    let progress = GroupProgress {
        scim_id: Some(ScimId::new("scim-group")),
        added,
        ..GroupProgress::default()
    };
    let exchange = Exchange {
        request: "PATCH /Groups/scim-group".into(),
        status: Some(200),
        request_id: None,
        error: None,
    };
    Write {
        id: OperationId(7),
        run: RunId(3),
        trigger: "sync".into(),
        asked_by: None,
        intended_at: now(),
        sent_at: Some(now()),
        answered_at: None,
        settled_at: Some(now()),
        what: Written::Group(Box::new(operation), Some(Box::new(progress))),
        end,
        scim_id: None,
        exchanges: vec![exchange; 1000],
        request_id: None,
        error: Some("404: line one\nline two".into()),
        approvals: Vec::new(),
        retries: Vec::new(),
        undone_by: None,
    }
}

/// What is written of this in that form.
fn sheet(form: HistoryForm, write: &Write, first: Option<RunId>) -> String {
    let mut out = Vec::new();
    let mut sheet = HistorySheet::begin(form, &mut out).unwrap();
    sheet.add(Ok(write), &mut out).unwrap();
    sheet.end(first, None, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn what_was_done_in_part_is_told_with_what_was_and_what_was_not() {
    let pruned = "has all from run 3 on";
    for (end, heading) in [
        (
            WriteEnd::SettledUndone,
            "no answer; done in part (99 of 100 changes), as was read back at ",
        ),
        (
            WriteEnd::Failed,
            "failed, done in part (99 of 100 changes): 404: ",
        ),
        (
            WriteEnd::Unanswered,
            "sent, done in part (99 of 100 changes), and not answered yet",
        ),
        (
            WriteEnd::Left,
            "done in part (99 of 100 changes); the rest is left for a later run",
        ),
    ] {
        let text = sheet(HistoryForm::Text, &joining(100, end), Some(RunId(3)));
        assert!(text.contains(heading), "{text}");
        assert_eq!(text.matches(" [not done]\n").count(), 1, "{text}");
        assert!(text.contains("Pat 000000 (key-000000) [not done]\n"));
        assert_eq!(text.matches(" [done]\n").count(), 20, "{text}");
        assert!(text.lines().last().unwrap().contains(pruned), "{text}");
        let whole = sheet(HistoryForm::Text, &joining(100, end), None);
        assert!(!whole.contains("pruned"), "{whole}");
    }
    let mut none = joining(2, WriteEnd::SettledUndone);
    if let Written::Group(_, Some(progress)) = &mut none.what {
        progress.added.clear();
    }
    let text = sheet(HistoryForm::Text, &none, None);
    assert!(text.contains("no answer; not done, as was read back"));
    assert_eq!(text.matches(" [not done]\n").count(), 2, "{text}");
}

#[test]
fn a_history_for_programs_has_requests_once_a_line_a_record_and_no_command_to_a_terminal() {
    let write = joining(100_000, WriteEnd::Failed);
    let csv = sheet(HistoryForm::Csv, &write, None);
    assert_eq!(csv.lines().count(), 100_001);
    assert_eq!(csv.matches("PATCH /Groups/scim-group").count(), 1000);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let at = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(&row[at("name")], r"'-dev\u202e");
        assert_eq!(row[at("after")], format!("Pat {n:06} (key-{n:06})"));
        assert_eq!(&row[at("made")], if n == 0 { "no" } else { "yes" });
        assert_eq!(&row[at("error")], r"404: line one\u000aline two");
        assert_eq!(row[at("requests")].is_empty(), n > 0);
    }

    let json = sheet(
        HistoryForm::Json,
        &joining(2, WriteEnd::Failed),
        Some(RunId(3)),
    );
    assert!(
        json.contains(r"-dev\u202e") && !json.contains('\u{202e}'),
        "{json}"
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["writes"][0]["name"], "-dev\u{202e}");
    assert_eq!(json["complete_from_run"], 3);
}
