//! `dirsyncd history` tells every write to the organization, with who wanted it and what was answered.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::people::{BASE, directory};
use crate::support::unchanged::tree_digest;
use crate::support::{Dirsyncd, Organization, Output, Person, SOON, World, database, eventually};

/// People, and a group of the first three, in an LDIF file.
struct Company {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
    members: Vec<usize>,
}

const DEV: &str = "6b1f7b3e-0000-4000-8000-000000000001";

impl Company {
    fn new() -> Self {
        Self::of(&Person::four())
    }

    fn of(people: &[Person]) -> Self {
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, "");
        dirsyncd.rest = format!("[[group]]\nbase = \"ou=groups,{BASE}\"\n");
        Company {
            organization,
            dirsyncd,
            people: people.to_vec(),
            members: vec![0],
        }
    }

    fn write(&self) {
        let members = self.members.iter();
        let members: String = members
            .map(|at| format!("member: {}\n", self.people[*at].dn()))
            .collect();
        let group = format!(
            "dn: cn=dev,ou=groups,{BASE}\nobjectClass: groupOfNames\nentryUUID: {DEV}\ncn: dev\n{members}\n"
        );
        self.dirsyncd
            .write_ldif(&(directory(&self.people) + &group));
    }

    #[track_caller]
    fn sync(&self, code: i32) -> Output {
        self.write();
        self.dirsyncd.sync(code)
    }

    #[track_caller]
    fn history(&self, arguments: &[&str]) -> Vec<Value> {
        history(&self.dirsyncd, arguments)
    }
}

/// The history as JSON, which is as the schema says, and changes no file.
#[track_caller]
fn history(dirsyncd: &Dirsyncd, arguments: &[&str]) -> Vec<Value> {
    let output = dirsyncd.run(&[&["history", "--format", "json"], arguments].concat());
    let output = output.expect_code(0);
    let json: Value = serde_json::from_str(&output.stdout).unwrap();
    let schema = include_str!("../../docs/history.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&json)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0], "{json:#}");
    json["writes"].as_array().unwrap().clone()
}

/// Kind, name and outcome of each.
fn told(writes: &[Value]) -> Vec<String> {
    let word = |write: &Value, field: &str| write[field].as_str().unwrap().to_owned();
    writes
        .iter()
        .map(|write| {
            let [kind, name, outcome] = ["kind", "name", "outcome"].map(|field| word(write, field));
            format!("{kind} {name} {outcome}")
        })
        .collect()
}

fn names(writes: &[Value]) -> Vec<&str> {
    writes
        .iter()
        .map(|write| write["name"].as_str().unwrap())
        .collect()
}

#[test]
fn every_request_that_the_organization_was_sent_is_told_with_its_answer() {
    let mut company = Company::new();
    let mark = company.organization.mark();
    company.sync(0);
    "Countess".clone_into(&mut company.people[0].title);
    company.people[1] = company.people[1].clone().disabled();
    company.members = vec![0, 2];
    company.sync(0);

    let writes = company.history(&[]);
    assert_eq!(
        told(&writes),
        [
            "create Ada Lovelace done",
            "create Alan Turing done",
            "create Barbara Liskov done",
            "create Grace Hopper done",
            "group_create dev done",
            "deactivate Grace Hopper done",
            "update Ada Lovelace done",
            "group_update dev done",
        ]
        .map(|line| line.to_owned()),
    );
    let mut told: Vec<(String, u64, String)> = Vec::new();
    for write in &writes {
        let requests = write["requests"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        told.extend(requests.iter().map(|one| {
            let method = text(&one["request"]);
            let method = method.split(' ').next().unwrap().to_owned();
            (
                method,
                one["status"].as_u64().unwrap(),
                text(&one["request_id"]),
            )
        }));
        let last = requests.last().unwrap();
        assert_eq!(write["status"], last["status"], "{write:#}");
        assert_eq!(write["request_id"], last["request_id"], "{write:#}");
    }
    let sent = company.organization.writes_since(mark);
    let mut sent: Vec<(String, u64, String)> = sent
        .into_iter()
        .map(|request| (request.method, request.status.unwrap(), request.request_id))
        .collect();
    told.sort();
    sent.sort();
    assert_eq!(told, sent);
    // The group is made, and gets its members by another request.
    assert_eq!(writes[4]["requests"].as_array().unwrap().len(), 2);

    let update = &writes[6];
    let ada = &company.people[0];
    assert_eq!(
        update["changes"],
        json!([{"attribute": "title", "old": "Engineer", "new": "Countess"}])
    );
    assert_eq!(update["before"]["title"], "Engineer");
    assert_eq!(update["after"]["title"], "Countess");
    assert_eq!(update["key"], json!(ada.key()));
    assert_eq!(update["mail"], "ada@example.org");
    assert_eq!(update["dns"], json!([ada.dn()]));
    let account = company.organization.of_key(&ada.key()).unwrap();
    assert_eq!(update["scim_id"], json!(account.scim_id));
    assert_eq!(update["reason"], "changed in the directory");
    let third = &company.people[2];
    assert_eq!(
        writes[7]["changes"],
        json!([{"attribute": "member", "old": null, "new": format!("{} ({})", third.name(), third.key())}])
    );
    assert_eq!(writes[7]["made"], writes[7]["changes"]);
}

#[test]
fn who_has_started_a_run_or_let_something_through_is_told() {
    let mut company = Company::new();
    company.dirsyncd.rest += "[guards]\nupdate = { at_most = 1 }\n[apply]\nquarantine_after = 1\n";
    company.write();
    let as_zoe = [("SUDO_USER", Path::new("zoe"))];
    company
        .dirsyncd
        .start_with(&["sync"], &as_zoe)
        .wait()
        .expect_code(0);
    for person in &mut company.people[..2] {
        "Director".clone_into(&mut person.title);
    }
    company.sync(3);
    let approve = ["approve", "update", "--reason", "promoted"];
    let approve = company.dirsyncd.start_with(&approve, &as_zoe).wait();
    approve.expect_code(0);
    let ada = company.people[0].key();
    let scim_id = company.organization.of_key(&ada).unwrap().scim_id;
    company.organization.faults(&json!([{
        "match": format!("^PATCH .*/Users/{scim_id}"),
        "times": 1,
        "status": 403,
        "body": {"key": "forbidden.by-policy", "message": "not this one"},
    }]));
    company.sync(4);
    company
        .dirsyncd
        .run(&["retry", &ada, "--reason", "free again"])
        .expect_code(0);
    company.dirsyncd.rest = company
        .dirsyncd
        .rest
        .replace("at_most = 1 ", "at_most = 9 ");
    company.sync(0);
    company.dirsyncd.run(&["revert", "4"]).expect_code(0);

    let first = &company.history(&["--run", "1", "--limit", "1"])[0];
    assert_eq!(first["trigger"], "sync");
    assert_eq!(first["asked_by"]["sudo_user"], "zoe");
    let me = first["asked_by"]["name"].clone();
    assert_ne!(me, "");
    let writes = company.history(&["--account", &ada, "--kind", "update"]);
    assert_eq!(
        told(&writes),
        [
            "update Ada Lovelace failed",
            "update Ada Lovelace done",
            "update Ada Lovelace done"
        ]
        .map(|line| line.to_owned())
    );
    let [failed, again, back] = &writes[..] else {
        unreachable!()
    };
    assert_eq!(failed["run"], 3);
    assert_eq!(failed["approvals"][0]["by"]["sudo_user"], "zoe");
    assert_eq!(failed["approvals"][0]["reason"], "promoted");
    assert_eq!(failed["approvals"][0]["hold"], "update");
    assert_eq!(failed["status"], 403);
    assert_eq!(
        failed["requests"][0]["error"],
        "forbidden.by-policy: not this one"
    );
    assert_eq!(failed["request_id"], failed["requests"][0]["request_id"]);
    assert!(failed["request_id"].is_string());
    assert_eq!(again["retries"][0]["by"]["name"], me);
    assert_eq!(again["retries"][0]["reason"], "free again");
    assert_eq!(again["approvals"], json!([]));
    assert_eq!(again["undone_by_run"], 5);
    assert_eq!(back["trigger"], "revert 4");
    assert_eq!(back["asked_by"]["name"], me);
    assert_eq!(back["retries"], json!([]));

    let text = company.dirsyncd.run(&["history", "--account", &ada]);
    text.expect_code(0).expect_words(&[
        &format!("run 1 (sync by {} (sudo: zoe))", me.as_str().unwrap()),
        "create Ada Lovelace <ada@example.org>: done",
        "update Ada Lovelace <ada@example.org>: failed: PATCH ",
        "    approved of `update` by ",
        " (sudo: zoe) at ",
        ": promoted\n",
        "    let go again by ",
        ": free again\n",
        "    title  Engineer → Director\n",
        "    undone by run 5\n",
        &format!(
            "    key {ada}; SCIM id {scim_id}; {}\n",
            company.people[0].dn()
        ),
        "  200 [request id ",
        "  403 [request id ",
    ]);
}

#[test]
fn what_was_never_answered_is_told_as_that_until_it_is_read_back() {
    let company = Company::of(&Person::several(1));
    // Carried out in none of three attempts.
    let fail = |status: u16, times: u32| {
        company
            .organization
            .faults(&json!([{"match": "^POST .*/Users$", "times": times, "status": status}]));
    };
    fail(500, 3);
    company.sync(4);
    let writes = company.history(&[]);
    let create = &writes[0];
    assert_eq!(create["outcome"], "unanswered");
    assert_eq!(create["settled_at"], Value::Null);
    assert_eq!(create["status"], 500);
    let statuses = create["requests"].as_array().unwrap().iter();
    let statuses: Vec<_> = statuses.map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [500, 500, 500]);
    company
        .dirsyncd
        .run(&["history"])
        .expect_words(&["create Pat Person 00 <p00@example.org>: sent, and not answered yet"]);

    // The next run reads back that it is not there, and meets a key that is not taken.
    fail(401, 9);
    database::wait(&company.dirsyncd.database(), 10);
    company.sync(4);
    let writes = company.history(&["--kind", "create"]);
    assert_eq!(
        told(&writes),
        [
            "create Pat Person 00 settled_undone",
            "create Pat Person 00 left"
        ]
        .map(|line| line.to_owned())
    );
    assert_eq!(writes[0]["status"], 500);
    assert!(writes[0]["settled_at"].is_string());
    assert_eq!(writes[1]["status"], 401);
    assert_eq!(writes[1]["sent_at"], Value::Null);
    assert_eq!(company.history(&["--failed", "--kind", "create"]).len(), 2);

    // The answer never reaches a program that is killed.
    company.organization.heal();
    company.organization.slow_writes(300);
    let mark = company.organization.mark();
    let sync = company.dirsyncd.start(&["sync"]);
    eventually("the request", SOON, || {
        company.organization.writes_since(mark).first().cloned()
    });
    sync.signal("KILL");
    assert_eq!(sync.wait().code, None);
    eventually("the account", SOON, || {
        company.organization.accounts().first().cloned()
    });
    let writes = company.history(&["--kind", "create", "--limit", "1"]);
    assert_eq!(writes[0]["outcome"], "unanswered");
    assert_eq!(writes[0]["requests"], json!([]));
    company.organization.heal();
    company.sync(0);
    let writes = company.history(&["--kind", "create", "--limit", "1"]);
    assert_eq!(writes[0]["outcome"], "settled_done");
    company.dirsyncd.run(&["history"]).expect_words(&[
        "no answer; done, as was read back at ",
        "left for a later run",
    ]);
    assert_eq!(company.history(&["--failed", "--kind", "create"]).len(), 2);
}

#[test]
fn what_was_done_to_a_group_half_way_is_told() {
    let mut company = Company::new();
    company.sync(0);
    company.members = vec![0, 1, 2];
    // Of both together, and of the first one alone.
    company.organization.faults(&json!([{
        "match": "^PATCH .*/Groups/",
        "times": 2,
        "status": 404,
        "body": {"detail": "no such member"},
    }]));
    let output = company.sync(4);
    let writes = company.history(&["--group", "DEV", "--failed"]);
    let [update] = &writes[..] else {
        panic!("{output}")
    };
    assert_eq!(update["changes"].as_array().unwrap().len(), 2);
    let requests = update["requests"].as_array().unwrap();
    let statuses: Vec<u64> = requests
        .iter()
        .map(|one| one["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [404, 404, 200], "{requests:#?}");
    assert_eq!(update["made"], json!([update["changes"][1]]));
    company
        .dirsyncd
        .run(&["history", "--group", DEV])
        .expect_words(&[
            "group_update dev: failed, done in part (1 of 2 changes): ",
            " [not done]\n",
            " [done]\n",
            "name  (none) → dev\n",
        ]);
}

#[test]
fn a_history_is_narrowed_by_whom_when_and_what() {
    let mut company = Company::new();
    company.sync(0);
    database::age(&company.dirsyncd.database(), 10);
    let ada = company.people[0].clone();
    company.people[0] = ada.clone().with_mail(Some("countess@example.org"));
    company.members = vec![1];
    company.sync(0);
    let scim_id = company.organization.of_key(&ada.key()).unwrap().scim_id;

    // By any name that the account has or had, all of it.
    let spelled = ada.dn().to_uppercase().replace(',', " , ");
    for who in [
        "ada@example.org",
        "COUNTESS@example.org",
        &ada.key(),
        &ada.key().to_uppercase(),
        &ada.dn(),
        &spelled,
        &scim_id,
    ] {
        let writes = company.history(&["--account", who]);
        let kinds: Vec<&str> = writes
            .iter()
            .map(|one| one["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["create", "update"], "{who}");
    }
    let group = company.organization.group("dev").scim_id;
    for who in [
        "dev",
        "Dev",
        DEV,
        &group,
        &format!("CN=dev,OU=groups,{BASE}"),
    ] {
        assert_eq!(company.history(&["--group", who]).len(), 2, "{who}");
    }
    for (option, who) in [
        ("--account", "dev"),
        ("--account", "nobody"),
        ("--account", ""),
        ("--group", "ada@example.org"),
    ] {
        let output = company.dirsyncd.run(&["history", option, who]);
        let words = format!("`{who}`, or was going to be");
        output.expect_code(2).expect_words(&[&words]);
    }
    let output = company.dirsyncd.run(&["history", "--run", "9"]);
    output
        .expect_code(2)
        .expect_words(&["there is no run 9 in the database"]);

    let all = company.history(&[]);
    assert_eq!(all.len(), 7);
    let day = all[0]["time"].as_str().unwrap()[..10].to_owned();
    for (arguments, expected) in [
        (&["--run", "1"][..], &all[..5]),
        (&["--run", "2"], &all[5..]),
        (&["--since", "7d"], &all[5..]),
        (&["--since", "11d"], &all[..]),
        (&["--until", "7d"], &all[..5]),
        (&["--since", "11d", "--until", "7d"], &all[..5]),
        (&["--until", &day], &all[..5]),
        (&["--since", &day], &all[..]),
        (&["--since", &day, "--until", &day], &all[..5]),
        (&["--since", "2999-01-01T00:00:00Z"], &[]),
        (&["--until", "2001-01-01"], &[]),
        (&["--limit", "1"], &all[6..]),
        (&["--limit", "3"], &all[4..]),
        (&["--limit", "99"], &all[..]),
        (&["--kind", "group_create"], &all[4..5]),
        (&["--kind", "create", "--limit", "2"], &all[2..4]),
        (
            &["--account", &ada.key(), "--group", "dev", "--since", "1d"],
            &all[5..],
        ),
        (&["--failed"], &[]),
    ] {
        let writes = company.history(arguments);
        assert_eq!(names(&writes), names(expected), "{arguments:?}");
        assert_eq!(writes, expected, "{arguments:?}");
    }
    company
        .dirsyncd
        .run(&["history", "--failed"])
        .expect_code(0)
        .expect_words(&["No such write is in the journal."]);
    for wrong in [["--since", "soon"], ["--kind", "createe"], ["--limit", "0"]] {
        company
            .dirsyncd
            .run(&[&["history"], &wrong[..]].concat())
            .expect_code(2);
    }
}

#[test]
fn who_has_had_an_address_and_who_has_it_are_both_told() {
    let mut company = Company::of(&Person::several(2));
    company.sync(0);
    let mails: Vec<_> = company.people.iter().map(|one| one.mail.clone()).collect();
    for (person, mail) in company.people.iter_mut().zip(mails.into_iter().rev()) {
        *person = person.clone().with_mail(mail.as_deref());
    }
    company.sync(0);
    let writes = company.history(&["--account", "p00@example.org"]);
    let people: std::collections::BTreeSet<&str> = names(&writes).into_iter().collect();
    assert_eq!(
        people.into_iter().collect::<Vec<_>>(),
        ["Pat Person 00", "Pat Person 01"]
    );
    // Two that are made, and an exchange by way of a temporary address.
    assert_eq!(writes.len(), 5);
}

#[test]
fn a_spreadsheet_gets_no_formula_and_a_terminal_no_control_character() {
    let mut company = Company::of(&Person::several(2));
    "=HYPERLINK(\"x\")".clone_into(&mut company.people[0].title);
    "+1, \"quoted\"; é".clone_into(&mut company.people[1].title);
    company.sync(0);
    let csv = company.dirsyncd.run(&["history", "--format", "csv"]);
    let csv = csv.expect_code(0).stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let at = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let titles: Vec<&str> = rows
        .iter()
        .filter(|row| &row[at("attribute")] == "title")
        .map(|row| &row[at("after")])
        .collect();
    assert_eq!(titles, ["'=HYPERLINK(\"x\")", "'+1, \"quoted\"; é"]);
    assert!(csv.starts_with("time,operation,run,"), "{csv}");
    assert!(csv.contains(",\"'=HYPERLINK(\"\"x\"\")\","), "{csv}");
    let group = rows.iter().find(|row| &row[at("attribute")] == "member");
    let group = group.unwrap();
    assert_eq!(&group[at("kind")], "group_create");
    assert_eq!(&group[at("made")], "yes");
    assert_eq!(&group[at("status")], "200");
    assert!(rows.iter().all(|row| &row[at("outcome")] == "done"));
    assert_eq!(csv.matches("\r\n").count(), rows.len() + 1);

    "Director".clone_into(&mut company.people[0].title);
    company.organization.faults(&json!([{
        "match": "^PATCH .*/Users/",
        "times": 1,
        "status": 403,
        "body": {"key": "forbidden.by-policy", "message": "not \u{1b}[31mthis\u{7}\u{200f}, no"},
    }]));
    company.sync(4);
    let text = company.dirsyncd.run(&["history"]).expect_code(0).stdout;
    assert!(
        text.contains("forbidden.by-policy: not \u{fffd}[31mthis\u{fffd}\u{fffd}, no"),
        "{text}"
    );
    for form in ["csv", "json"] {
        let told = company.dirsyncd.run(&["history", "--format", form]);
        let told = told.expect_code(0).stdout;
        let words = r"forbidden.by-policy: not \u001b[31mthis\u0007\u200f, no";
        assert!(told.contains(words), "{told}");
        assert!(!told.contains(['\u{1b}', '\u{200f}']), "{told}");
    }
    let is_odd = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(is_odd), "{text}");
}

#[test]
fn a_history_is_read_while_a_daemon_runs_and_both_sides_are_down() {
    let people = Person::four();
    let mut world = World::of(&people);
    world.dirsyncd.rest = "[schedule]\nsync = \"* * * * * *\"\n".to_owned();
    let daemon = world.dirsyncd.start(&["run"]);
    eventually("the four accounts", SOON, || {
        (world.organization.active() == 4).then_some(())
    });
    eventually("the journal", SOON, || {
        let writes = history(&world.dirsyncd, &[]);
        let done = writes.iter().filter(|one| one["outcome"] == "done").count();
        (done == 4).then_some(())
    });
    let writes = history(&world.dirsyncd, &[]);
    for write in &writes {
        assert_eq!(write["trigger"], "schedule");
        assert_eq!(write["asked_by"], Value::Null);
    }
    daemon.signal("TERM");
    daemon.wait().expect_code(0);
    world.organization.kill();
    world.slapd.stop();
    let before = tree_digest(&world.dirsyncd.state());
    assert_eq!(history(&world.dirsyncd, &[]), writes);
    let output = world.dirsyncd.run(&["history"]).expect_code(0);
    assert_eq!(output.stdout.matches(" (schedule)  #").count(), 4);
    assert_eq!(tree_digest(&world.dirsyncd.state()), before);
}

#[test]
fn the_admin_way_tells_each_of_the_requests_that_an_operation_takes() {
    let people = Person::several(1);
    let mut world = World::of(&people);
    world.dirsyncd.organization = world.organization.admin_block();
    let mark = world.organization.mark();
    world.dirsyncd.sync(0);
    let writes = history(&world.dirsyncd, &[]);
    let [create] = &writes[..] else {
        panic!("{writes:#?}")
    };
    let told = create["requests"].as_array().unwrap().iter();
    let told: Vec<&str> = told
        .map(|one| one["request_id"].as_str().unwrap())
        .collect();
    let sent = world.organization.writes_since(mark);
    let sent: Vec<&str> = sent.iter().map(|one| one.request_id.as_str()).collect();
    // An invitation, and the values.
    assert_eq!(sent.len(), 2);
    assert_eq!(told, sent);
}

#[test]
fn the_schema_is_one_and_a_database_must_be_there() {
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, "");
    let output = dirsyncd.run_bare(&["history", "--schema"]).expect_code(0);
    let schema: Value = serde_json::from_str(&output.stdout).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    dirsyncd
        .run(&["history"])
        .expect_code(2)
        .expect_words(&["there is no database ", "and so no history"]);
}
