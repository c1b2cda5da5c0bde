//! Holds: what waits is listed, and let through by name, once, by somebody who says why.

use std::time::Duration;

use serde_json::Value;

use crate::support::people::directory;
use crate::support::{Dirsyncd, Organization, Output, Person, SOON, database, eventually};

/// A company in an LDIF file, after its first sync.
struct Company {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
}

/// Two deactivations are let through.
const NARROW: &str = "[guards]\ndeactivate = { at_most = 2 }\n";

impl Company {
    fn new(rest: &str) -> Self {
        let people = Person::several(10);
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        dirsyncd.rest = rest.to_owned();
        dirsyncd.sync(0);
        Company {
            organization,
            dirsyncd,
            people,
        }
    }

    /// Takes these people out of the directory.
    fn without(&self, gone: &[usize]) {
        let stay = self.people.iter().enumerate();
        let stay: Vec<Person> = stay
            .filter(|(n, _)| !gone.contains(n))
            .map(|(_, person)| person.clone())
            .collect();
        self.dirsyncd.write_ldif(&directory(&stay));
    }

    /// The open holds as JSON.
    fn holds(&self) -> Vec<Value> {
        let output = self.dirsyncd.run(&["holds", "--format", "json"]);
        let output = output.expect_code(0);
        let json: Value = serde_json::from_str(&output.stdout).unwrap();
        json["holds"].as_array().unwrap().clone()
    }

    /// The uids of those whom the only hold holds.
    fn held(&self) -> Vec<String> {
        let holds = self.holds();
        assert_eq!(holds.len(), 1, "{holds:#?}");
        let operations = holds[0]["operations"].as_array().unwrap();
        let uid = |operation: &Value| {
            let address = operation["addresses"][0].as_str().unwrap();
            address.split('@').next().unwrap().to_owned()
        };
        operations.iter().map(uid).collect()
    }

    fn approve(&self, arguments: &[&str]) -> Output {
        let mut words = vec!["approve"];
        words.extend(arguments);
        words.extend(["--reason", "they have told us"]);
        self.dirsyncd.run(&words)
    }

    fn is_active(&self, person: usize) -> bool {
        let account = self.organization.of_key(&self.people[person].key());
        account.unwrap().active
    }

    fn database(&self, query: &str) -> Vec<String> {
        database::texts(&self.dirsyncd.database(), query)
    }
}

#[test]
fn what_is_approved_goes_once_and_the_rest_stays_held() {
    let company = Company::new(NARROW);
    assert_eq!(company.holds(), [] as [Value; 0]);
    company.without(&[0, 1, 2, 3, 4]);
    company.dirsyncd.sync(3).expect_words(&[
        "deactivate #1, open until ",
        "5 deactivations among 10 accounts (50.0 %) are more than the 2",
        "dirsyncd approve deactivate --reason",
        "[held: deactivate]",
    ]);
    let hold = &company.holds()[0];
    assert_eq!(hold["name"], "deactivate");
    assert_eq!(
        (&hold["planned"], &hold["allowed"], &hold["population"]),
        (&5.into(), &2.into(), &10.into())
    );
    assert_eq!(company.held(), ["p00", "p01", "p02", "p03", "p04"]);
    company
        .dirsyncd
        .run(&["holds"])
        .expect_code(0)
        .expect_words(&[
            "deactivate #1",
            "5 deactivations among 10 accounts",
            "deactivate Pat Person 00 <p00@example.org>",
            &company.people[0].dn(),
            "active  true → false",
        ]);

    // By address and by DN, in another spelling.
    let other = company.people[1].dn().to_uppercase();
    company
        .approve(&["deactivate", "--only", "P00@example.org", &other])
        .expect_code(0)
        .expect_words(&[
            "2 operations of `deactivate` #1",
            "Pat Person 00",
            "Pat Person 01",
        ]);
    company
        .dirsyncd
        .run(&["holds"])
        .expect_words(&["<p00@example.org> [approved]"]);
    let plan = company.dirsyncd.plan();
    let approved = plan
        .list("operations")
        .iter()
        .filter(|o| o["approved"] == true);
    assert_eq!(approved.count(), 2);
    company
        .dirsyncd
        .sync(3)
        .expect_words(&["[approved]", "Done: 2 applied"]);
    let active: Vec<bool> = (0..5).map(|n| company.is_active(n)).collect();
    assert_eq!(active, [false, false, true, true, true]);
    assert_eq!(company.held(), ["p02", "p03", "p04"]);
    company.dirsyncd.sync(3).expect_words(&["Done: 0 applied"]);

    company.approve(&["deactivate#1"]).expect_code(0);
    company.dirsyncd.sync(0).expect_words(&["Done: 3 applied"]);
    assert!((0..5).all(|n| !company.is_active(n)));
    assert_eq!(company.holds(), [] as [Value; 0]);
    company.dirsyncd.expect_nothing_to_do();

    // Who, why and what came of it is kept for good.
    let trail = company.database(
        "SELECT a.reason || ' ' || (a.asked_by <> '') || ' ' || (a.uid >= 0) || ' ' || count(*) || ' ' || min(o.result)
         || ' ' || o.run_id FROM approvals a JOIN approved_operations o ON o.approval_id = a.id GROUP BY a.id ORDER BY a.id",
    );
    assert_eq!(
        trail,
        [
            "they have told us 1 1 2 let_through 3",
            "they have told us 1 1 3 let_through 5"
        ]
    );
    let closed = "SELECT closed_by FROM holds WHERE closed_at IS NOT NULL";
    assert_eq!(company.database(closed), ["empty"]);
}

#[test]
fn an_approval_is_used_up_by_the_next_sync_and_one_person_may_need_it_again() {
    let company = Company::new("[guards]\ndeactivate = { at_most = 0 }\n");
    company.without(&[0]);
    company.dirsyncd.sync(3);
    company.approve(&["deactivate"]).expect_code(0);
    company.dirsyncd.sync(0);
    assert!(!company.is_active(0));
    company.without(&[]);
    company.dirsyncd.sync(0);
    assert!(company.is_active(0));
    // The same operation, to the letter, and nobody has approved it this time.
    company.without(&[0]);
    company.dirsyncd.sync(3);
    assert!(company.is_active(0));
    assert_eq!(company.holds()[0]["number"], 2);
}

#[test]
fn two_approvals_of_one_hold_add_up() {
    let company = Company::new(NARROW);
    company.without(&[0, 1, 2, 3, 4, 5]);
    company.dirsyncd.sync(3);
    for person in [0, 5] {
        let key = company.people[person].key();
        company
            .approve(&["deactivate", "--only", &key])
            .expect_code(0)
            .expect_words(&["1 operation of `deactivate`"]);
    }
    company.dirsyncd.sync(3).expect_words(&["Done: 2 applied"]);
    assert!(!company.is_active(0) && !company.is_active(5));
    assert_eq!(company.held(), ["p01", "p02", "p03", "p04"]);
}

#[test]
fn an_operation_that_has_changed_is_not_the_approved_one() {
    let company = Company::new("[guards]\nchange_email = { at_most = 0 }\n");
    let with_mail = |mail: &str| {
        let mut people = company.people.clone();
        people[0] = people[0].clone().with_mail(Some(mail));
        company.dirsyncd.write_ldif(&directory(&people));
    };
    with_mail("new@example.org");
    company.dirsyncd.sync(3);
    company.approve(&["change_email"]).expect_code(0);
    with_mail("newer@example.org");
    company.dirsyncd.sync(3).expect_words(&["Done: 0 applied"]);
    let void = "SELECT result FROM approved_operations";
    assert_eq!(company.database(void), ["void"]);
    // Nor does it count when what was approved is wanted again.
    with_mail("new@example.org");
    company.dirsyncd.sync(3);
    let account = company.organization.of_key(&company.people[0].key());
    assert_eq!(account.unwrap().email, "p00@example.org");
    company.approve(&["change_email"]).expect_code(0);
    company.dirsyncd.sync(0);
    let account = company.organization.of_key(&company.people[0].key());
    assert_eq!(account.unwrap().email, "new@example.org");
}

#[test]
fn an_operation_that_was_not_sent_keeps_its_approval() {
    let company = Company::new(NARROW);
    company.without(&[0, 1, 2]);
    company.dirsyncd.sync(3);
    company.approve(&["deactivate"]).expect_code(0);
    // The key is refused for every write, which concerns everybody and ends the run.
    company.organization.faults(&serde_json::json!([
        {"match": "^(PATCH|PUT) ", "times": 1000, "status": 401}
    ]));
    company.dirsyncd.sync(4);
    assert!(company.is_active(0));
    company.organization.heal();
    company.dirsyncd.sync(0).expect_words(&["Done: 3 applied"]);
    assert!(!company.is_active(0));
}

/// Lets so many days pass for the holds and approvals.
fn age(company: &Company, days: i64) {
    let milliseconds = days * 24 * 60 * 60 * 1000;
    database::execute(
        &company.dirsyncd.database(),
        &format!(
            "UPDATE holds SET opened_at = opened_at - {milliseconds}, expires_at = expires_at - {milliseconds};
             UPDATE approvals SET asked_at = asked_at - {milliseconds}, expires_at = expires_at - {milliseconds};"
        ),
    );
}

#[test]
fn a_hold_expires_and_is_opened_anew_with_another_number() {
    let company = Company::new(&format!("{NARROW}hold_expiry = \"3days\"\n"));
    company.without(&[0, 1, 2]);
    company.dirsyncd.sync(3);
    age(&company, 2);
    company.dirsyncd.sync(3).expect_words(&["deactivate #1"]);
    company
        .dirsyncd
        .run(&["holds"])
        .expect_words(&["(2 days ago), expires at"]);
    let approval = ["deactivate", "--only", "p00@example.org"];
    company.approve(&approval).expect_code(0);

    age(&company, 1);
    company
        .approve(&["deactivate"])
        .expect_code(2)
        .expect_words(&["the hold `deactivate` (number 1) expired at"]);
    company
        .dirsyncd
        .run(&["holds"])
        .expect_words(&["expired at"]);
    // The approval was of the old hold, and has expired with it.
    company
        .dirsyncd
        .sync(3)
        .expect_words(&["deactivate #2", "Done: 0 applied"]);
    let closed = "SELECT id || closed_by FROM holds WHERE closed_at IS NOT NULL";
    assert_eq!(company.database(closed), ["1expired"]);
    company
        .approve(&["deactivate#1"])
        .expect_code(2)
        .expect_words(&["the open hold `deactivate` is number 2, not 1"]);
    company.approve(&["deactivate#2"]).expect_code(0);
    company.dirsyncd.sync(0).expect_words(&["Done: 3 applied"]);
}

#[test]
fn who_was_left_out_stays_held_when_a_file_is_cut_off_and_when_the_hold_expires() {
    let company = Company::new(&format!("{NARROW}hold_expiry = \"3days\"\n"));
    let mut people = company.people[4..].to_vec();
    people[0] = people[0].clone().disabled();
    let whole = directory(&people);
    company.dirsyncd.write_ldif(&whole);
    company.dirsyncd.sync(3);
    let keys: Vec<String> = company.people[..3].iter().map(Person::key).collect();
    let only: Vec<&str> = keys.iter().map(String::as_str).collect();
    company
        .approve(&[&["deactivate", "--only"], &only[..]].concat())
        .expect_code(0);
    company.dirsyncd.sync(3).expect_words(&["Done: 3 applied"]);
    assert_eq!(company.held(), ["p03", "p04"]);

    // Only the disabled one is known of then, and held.
    company.dirsyncd.write_ldif(whole.trim_end());
    company.dirsyncd.sync(3);
    company.dirsyncd.write_ldif(&whole);
    company.dirsyncd.sync(3).expect_words(&["Done: 0 applied"]);
    assert_eq!(company.held(), ["p03", "p04"]);

    // Each at its own time, and both at once.
    for (number, file) in [(2, &*whole), (3, whole.trim_end())] {
        age(&company, 3);
        company.dirsyncd.write_ldif(file);
        let told = format!("deactivate #{number}");
        company.dirsyncd.sync(3).expect_words(&[&told]);
        company.dirsyncd.write_ldif(&whole);
        company
            .dirsyncd
            .sync(3)
            .expect_words(&[&told, "Done: 0 applied"]);
        assert_eq!(company.held(), ["p03", "p04"]);
    }
    company.approve(&["deactivate"]).expect_code(0);
    company.dirsyncd.sync(0).expect_words(&["Done: 2 applied"]);
    // Nobody is left out of what comes later.
    company.without(&[0, 1, 2, 3, 5]);
    company.dirsyncd.sync(0).expect_words(&["Done: 2 applied"]);
}

/// Another title for these people.
fn promote(company: &mut Company, people: &[usize]) {
    for person in people {
        "Director".clone_into(&mut company.people[*person].title);
    }
}

#[test]
fn who_was_left_out_of_a_sync_stays_held_when_a_revert_sees_the_hold_expire() {
    let mut company = Company::new(&format!("{NARROW}hold_expiry = \"3days\"\n"));
    promote(&mut company, &[9]);
    company.without(&[]);
    company.dirsyncd.sync(0);
    company.without(&[0, 1, 2, 3, 4]);
    company.dirsyncd.sync(3);
    let keys: Vec<String> = company.people[..3].iter().map(Person::key).collect();
    let only: Vec<&str> = keys.iter().map(String::as_str).collect();
    company
        .approve(&[&["deactivate", "--only"], &only[..]].concat())
        .expect_code(0);
    company.dirsyncd.sync(3).expect_words(&["Done: 3 applied"]);
    assert_eq!(company.held(), ["p03", "p04"]);
    age(&company, 3);
    let revert = company.dirsyncd.run(&["revert", "2"]);
    revert.expect_code(0).expect_words(&["Done: 1 applied"]);
    company
        .dirsyncd
        .sync(3)
        .expect_words(&["[held: deactivate]", "Done: 0 applied"]);
    assert!(company.is_active(3) && company.is_active(4));
}

#[test]
fn who_was_left_out_of_a_revert_stays_held_when_a_sync_sees_the_hold_expire() {
    let mut company = Company::new("");
    promote(&mut company, &[0, 1, 2, 3, 4]);
    company.without(&[]);
    company.dirsyncd.sync(0);
    company.dirsyncd.rest =
        "[guards]\nupdate = { at_most = 2 }\nhold_expiry = \"3days\"\n".to_owned();
    let revert = || company.dirsyncd.run(&["revert", "2"]).expect_code(3);
    revert().expect_words(&["revert-2.update #1", "Done: 0 applied"]);
    let only = [
        "--only",
        "p00@example.org",
        "p01@example.org",
        "p02@example.org",
    ];
    company
        .approve(&[&["revert-2.update"], &only[..]].concat())
        .expect_code(0);
    revert().expect_words(&["Done: 3 applied"]);
    // Nor does a revert for somebody else say anything of them.
    let other = ["revert", "2", "--only", "p00@example.org"];
    company.dirsyncd.run(&other).expect_code(0);
    revert().expect_words(&["Done: 0 applied"]);
    age(&company, 3);
    company.dirsyncd.sync(3).expect_words(&["Done: 0 applied"]);
    revert().expect_words(&["Done: 0 applied"]);
    let titles = "SELECT profile ->> 'title' FROM accounts ORDER BY profile ->> 'email' LIMIT 5";
    assert_eq!(
        company.database(titles),
        ["Engineer", "Engineer", "Engineer", "Director", "Director"]
    );
}

#[test]
fn who_was_let_through_is_not_left_out_while_files_are_cut_off() {
    let company = Company::new(NARROW);
    let cut_off = |disabled: &[usize]| {
        let mut people = company.people.clone();
        for person in disabled {
            people[*person] = people[*person].clone().disabled();
        }
        let ldif = directory(&people);
        company.dirsyncd.write_ldif(ldif.trim_end());
    };
    cut_off(&[0, 1, 2]);
    company.dirsyncd.sync(3);
    let only = ["deactivate", "--only", "p00@example.org", "p01@example.org"];
    company.approve(&only).expect_code(0);
    company.dirsyncd.sync(3).expect_words(&["Done: 2 applied"]);
    assert_eq!(company.held(), ["p02"]);
    cut_off(&[1, 2]);
    company.dirsyncd.sync(3);
    assert!(company.is_active(0));
    // Few enough, and nobody has said anything of this time.
    cut_off(&[0, 1, 2]);
    company.dirsyncd.sync(3);
    assert!(!company.is_active(0) && company.is_active(2));
}

#[test]
fn what_cannot_be_approved_is_told_with_the_way_out() {
    let company = Company::new(NARROW);
    company
        .approve(&["deactivate"])
        .expect_code(2)
        .expect_words(&["there is no open hold `deactivate` (none is open)"]);
    company.without(&[0, 1, 2]);
    // A dry run records nothing.
    company
        .dirsyncd
        .run(&["plan"])
        .expect_code(3)
        .expect_words(&["[held: deactivate]"]);
    assert_eq!(company.holds(), [] as [Value; 0]);
    company.dirsyncd.sync(3);
    company
        .approve(&["delete"])
        .expect_code(2)
        .expect_words(&["no open hold `delete` (open: deactivate)"]);
    company
        .approve(&["deactivate", "--only", "p00@example.org", "p09@example.org"])
        .expect_code(2)
        .expect_words(&["the hold `deactivate` holds nothing for `p09@example.org`"]);
    company
        .dirsyncd
        .run(&["approve", "deactivate", "--reason", "  "])
        .expect_code(2)
        .expect_words(&["say why"]);
    company
        .dirsyncd
        .run(&["approve", "deactivate"])
        .expect_code(2)
        .expect_words(&["--reason"]);
    assert_eq!(
        company.database("SELECT reason FROM approvals"),
        [] as [&str; 0]
    );
}

#[test]
fn a_database_that_is_not_there_has_no_hold_and_is_not_made() {
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&Person::four()));
    dirsyncd
        .run(&["approve", "deactivate", "--reason", "why"])
        .expect_code(2)
        .expect_words(&["there is no database"]);
    dirsyncd
        .run(&["holds"])
        .expect_code(0)
        .expect_words(&["No hold is open."]);
    assert!(!dirsyncd.database().exists());
}

#[test]
fn while_a_daemon_waits_somebody_can_approve_and_while_it_syncs_it_is_named() {
    let mut company = Company::new(NARROW);
    company.without(&[0, 1, 2]);
    company.dirsyncd.sync(3);
    company.dirsyncd.rest = format!("{NARROW}[schedule]\nsync = \"0 0 1 1 *\"\n");
    let daemon = company.dirsyncd.start(&["run"]);
    eventually("the daemon", SOON, || {
        daemon
            .stderr()
            .contains("waiting for the next run")
            .then_some(())
    });
    company.approve(&["deactivate"]).expect_code(0);
    daemon.signal("TERM");
    daemon.wait_within(Duration::from_secs(10)).expect_code(0);

    company.organization.slow_writes(15_000);
    let mark = company.organization.mark();
    let sync = company.dirsyncd.start(&["sync"]);
    eventually("the first write", SOON, || {
        company.organization.writes_since(mark).first().cloned()
    });
    let holder = format!("another dirsyncd (process {},", sync.id());
    company
        .approve(&["deactivate"])
        .expect_code(1)
        .expect_words(&[&holder]);
    sync.wait().expect_code(0);
}

#[test]
fn protected_accounts_and_the_last_administrator_are_held_whatever_the_numbers() {
    for admin_key in [true, false] {
        let mut company = Company::new("");
        if !admin_key {
            let block = &company.organization.block;
            let lines = block.lines().filter(|line| !line.starts_with("admin_key"));
            company.dirsyncd.organization = lines.collect::<Vec<_>>().join("\n");
        }
        let accounts = company.organization.accounts();
        company
            .organization
            .make_group("org-admins", &[&accounts[1], &accounts[2]]);
        company
            .organization
            .make_group("Billing EU", &[&accounts[3]]);
        company.dirsyncd.rest = "[guards]\nprotected = [\"P00@Example.org\"]\nprotected_groups = [\"billing*\"]\nadministrators = [\"Org-Admins\"]\n".to_owned();
        company.without(&[0, 2, 3, 4]);

        let mark = company.organization.mark();
        company.dirsyncd.sync(3).expect_words(&["Done: 2 applied"]);
        let group_reads = company.organization.requests_since(mark);
        let group_reads = group_reads.iter().filter(|r| r.path.contains("roups"));
        assert!(group_reads.count() > 0);
        // One administrator is left, so the other may go; p04 is nobody in particular.
        let active: Vec<bool> = (0..5).map(|n| company.is_active(n)).collect();
        assert_eq!(active, [true, true, false, true, false]);
        assert_eq!(company.held(), ["p00", "p03"]);
        assert_eq!(company.holds()[0]["name"], "protected");

        company.without(&[0, 1, 2, 3, 4]);
        company.dirsyncd.sync(3).expect_words(&[
            "no active member would be left of `org-admins`",
            "dirsyncd approve administrators --reason",
        ]);
        assert!(company.is_active(1));
        company.approve(&["administrators"]).expect_code(0);
        company.dirsyncd.sync(3).expect_words(&["Done: 1 applied"]);
        assert!(!company.is_active(1) && company.is_active(0));

        // Without departures no group is read.
        company.without(&[]);
        company.dirsyncd.sync(0);
        let mark = company.organization.mark();
        company.dirsyncd.sync(0);
        let requests = company.organization.requests_since(mark);
        assert!(
            !requests.iter().any(|r| r.path.contains("/roups")),
            "{requests:?}"
        );
    }
}

#[test]
fn a_group_of_administrators_that_the_organization_does_not_have_holds_departures_alone() {
    let mut company = Company::new("");
    company.dirsyncd.rest = "[guards]\nadministrators = [\"no such group\"]\n".to_owned();
    let mut people = company.people.clone();
    people[9].title = "Director".to_owned();
    people.remove(0);
    company.dirsyncd.write_ldif(&directory(&people));
    company.dirsyncd.sync(3).expect_words(&[
        "the organization has no group `no such group`",
        "Done: 1 applied",
    ]);
    assert!(company.is_active(0));
}

#[test]
fn a_freeze_holds_all_that_it_names_until_it_is_over() {
    let mut company = Company::new("");
    // From midnight to midnight, every day: it is always so.
    company.dirsyncd.rest =
        "[[guards.freeze]]\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]\nwhat = [\"deactivate\", \"create\"]\n"
            .to_owned();
    let mut people = company.people.clone();
    people[9].title = "Director".to_owned();
    people[0] = Person::new("radia", "Radia", "Perlman");
    company.dirsyncd.write_ldif(&directory(&people));
    company
        .dirsyncd
        .sync(3)
        .expect_words(&["[[guards.freeze]] until ", "Done: 1 applied"]);
    assert_eq!(company.organization.active(), 10);
    company
        .approve(&["freeze", "--only", "radia@example.org"])
        .expect_code(0);
    company.dirsyncd.sync(3).expect_words(&["Done: 1 applied"]);
    assert_eq!(company.organization.active(), 11);
    company.dirsyncd.rest = String::new();
    company.dirsyncd.sync(0);
    assert_eq!(company.organization.active(), 10);
    assert_eq!(company.holds(), [] as [Value; 0]);
}

#[test]
fn each_ou_and_each_domain_is_counted_by_itself() {
    for (per, name) in [
        (
            "ou",
            "deactivate.ou.ou=engineering,ou=people,dc=example,dc=org",
        ),
        ("domain", "deactivate.domain.example.org"),
        ("source", "deactivate.source.directory"),
    ] {
        // Nine are in Engineering, one is in Sales.
        let mut company = Company::new("");
        company.people[9].department = "Sales".to_owned();
        company.without(&[]);
        company.dirsyncd.rest =
            format!("[guards]\ndeactivate = {{ percent = 23, per = \"{per}\" }}\n");
        company.dirsyncd.sync(0);
        // 23 % of nine and of ten is two.
        company.without(&[0, 1, 2]);
        company.dirsyncd.sync(3);
        let hold = &company.holds()[0];
        let population = if per == "ou" { 9 } else { 10 };
        assert_eq!(hold["name"], name);
        assert_eq!(hold["population"], population, "{hold:#}");
        company.without(&[0, 1]);
        company.dirsyncd.sync(0);
    }
}
