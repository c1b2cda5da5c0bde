//! What is old is taken out of the journal, and never what is still needed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::people::directory;
use crate::support::{Dirsyncd, Organization, Output, Person, Planned, database, eventually};

/// A company in an LDIF file.
struct Company {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
}

impl Company {
    fn new() -> Self {
        let organization = Organization::start();
        let people = Person::several(6);
        let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        dirsyncd.sync(0);
        Company {
            organization,
            dirsyncd,
            people,
        }
    }

    /// Gives the first person another title and syncs.
    fn retitle(&mut self, title: &str) {
        title.clone_into(&mut self.people[0].title);
        self.write();
        self.dirsyncd.sync(0);
    }

    fn write(&self) {
        self.dirsyncd.write_ldif(&directory(&self.people));
    }

    /// Lets so many days pass since the runs until now.
    fn age(&self, days: u32) {
        database::age(&self.dirsyncd.database(), days);
    }

    fn count(&self, table: &str) -> usize {
        let query = format!("SELECT '' FROM {table}");
        database::texts(&self.dirsyncd.database(), &query).len()
    }

    fn last_run(&self) -> String {
        database::texts(&self.dirsyncd.database(), "SELECT max(id) || '' FROM runs").remove(0)
    }

    /// All that is told of a person but the time of the question, and how many changes are not shown.
    fn explained(&self, person: &Person) -> Value {
        let mail = person.mail.as_deref().unwrap();
        let output = self.dirsyncd.run(&["explain", mail, "--format", "json"]);
        let told: Value = serde_json::from_str(&output.expect_code(0).stdout).unwrap();
        let mut told = told["person"].clone();
        for moving in ["at", "more_changes"] {
            assert!(!told[moving].is_null(), "{told:#}");
            told[moving] = Value::Null;
        }
        told
    }

    /// How a run would be undone, but for how fast the organization answers.
    fn undoing(&self, run: &str) -> String {
        let output = self.dirsyncd.run(&["revert", run, "--dry-run"]);
        let shown = output.expect_code(0).stdout;
        let (plan, requests) = shown.split_once("Requests to carry it out").unwrap();
        assert!(requests.contains("1 to update"), "{shown}");
        plan.to_owned()
    }

    /// What is planned, told of everybody, and how a run would be undone.
    fn told(&self, leaver: &Person, run: &str) -> (Vec<Planned>, Vec<Value>, String) {
        let everybody = self.people.iter().chain([leaver]);
        (
            self.dirsyncd.plan().operations(),
            everybody.map(|one| self.explained(one)).collect(),
            self.undoing(run),
        )
    }

    fn prune(&self, arguments: &[&str]) -> Output {
        self.dirsyncd.run(&[&["prune"], arguments].concat())
    }
}

#[test]
fn what_is_old_goes_and_plans_explanations_reverts_and_saved_plans_are_as_before() {
    let mut company = Company::new();
    for n in 0..12 {
        company.retitle(&format!("Title {n}"));
    }
    // A plan that is saved, and carried out once.
    "Saved".clone_into(&mut company.people[1].title);
    company.write();
    let plan = company
        .dirsyncd
        .folder()
        .join("plan.json")
        .display()
        .to_string();
    company
        .dirsyncd
        .run(&["plan", "--save", &plan])
        .expect_code(0);
    company
        .dirsyncd
        .run(&["sync", "--plan", &plan])
        .expect_code(0);
    // What is reverted stays so.
    "Wrong".clone_into(&mut company.people[2].title);
    company.write();
    company.dirsyncd.sync(0);
    let wrong = company.last_run();
    company.dirsyncd.run(&["revert", &wrong]).expect_code(0);
    // An approval by which somebody has left.
    company.dirsyncd.rest = format!(
        "[guards]\nprotected = [{:?}]\n",
        company.people[3].mail.as_ref().unwrap()
    );
    let leaver = company.people.remove(3);
    company.write();
    company.dirsyncd.sync(3);
    let approve = ["approve", "protected", "--reason", "has really left"];
    company.dirsyncd.run(&approve).expect_code(0);
    company.dirsyncd.sync(3);
    company.age(500);
    "Recent".clone_into(&mut company.people[0].title);
    company.write();
    // Before anything is taken out.
    let keep = std::mem::take(&mut company.dirsyncd.rest);
    company.dirsyncd.rest = format!("{keep}[journal]\nkeep = false\n");
    company.dirsyncd.sync(3);
    let recent = company.last_run();
    "Next".clone_into(&mut company.people[4].title);
    company.write();
    let before = company.told(&leaver, &recent);
    let (runs, operations) = (company.count("runs"), company.count("operations"));
    company
        .prune(&[])
        .expect_code(2)
        .expect_words(&["`keep` in [journal] is false"]);

    company.dirsyncd.rest = keep;
    let dry = company.prune(&["--dry-run"]).expect_code(0);
    dry.expect_words(&[
        "To take out, as older than 400 days and not needed: ",
        "would begin with run",
    ]);
    assert_eq!(
        (company.count("runs"), company.count("operations")),
        (runs, operations)
    );
    company
        .prune(&[])
        .expect_code(0)
        .expect_words(&["Taken out, ", &format!("begins with run {recent}")]);

    assert!(company.count("operations") <= operations - 6);
    assert!(company.count("runs") <= runs - 6);
    let after = company.told(&leaver, &recent);
    assert_eq!(after.0, before.0);
    for (after, before) in after.1.iter().zip(&before.1) {
        assert_eq!(after, before);
    }
    assert_eq!(after.2, before.2);
    let mark = company.organization.mark();
    let again = company.dirsyncd.run(&["sync", "--plan", &plan]);
    assert_ne!(again.code, Some(0), "{again}");
    for old in ["1", "7", wrong.as_str()] {
        for dry in [&[][..], &["--dry-run"]] {
            let words = [&["revert", old], dry].concat();
            let refused = company.dirsyncd.run(&words).expect_code(2);
            refused.expect_words(&[
                &format!("run {old} is older than what the journal keeps"),
                &format!("only runs from {recent} on can be reverted"),
            ]);
        }
    }
    assert!(company.organization.writes_since(mark).is_empty());
    let approved = "SELECT reason || ' ' || (SELECT count(*) FROM runs WHERE id = run_id) FROM approved_operations JOIN approvals ON approvals.id = approval_id";
    let approved = database::texts(&company.dirsyncd.database(), approved);
    assert_eq!(approved, ["has really left 1"]);
    company
        .prune(&[])
        .expect_code(0)
        .expect_words(&["0 operations and 0 runs"]);
}

#[test]
fn a_sync_prunes_once_a_day_and_not_what_is_recent() {
    let mut company = Company::new();
    for n in 0..12 {
        company.retitle(&format!("Title {n}"));
    }
    company.age(390);
    company.retitle("Not yet");
    assert_eq!(company.count("runs"), 14);
    assert_eq!(company.count("pruned"), 0);
    company.age(20);
    company.retitle("Now");
    // Of the first person there stays the creation, and the last five changes with this one.
    assert_eq!(company.count("pruned"), 1);
    let first = "SELECT kind FROM operations WHERE external_id = (SELECT external_id FROM operations WHERE kind = 'update') ORDER BY id";
    let kept = database::texts(&company.dirsyncd.database(), first);
    assert_eq!(
        kept,
        [
            "create", "update", "update", "update", "update", "update", "update"
        ]
    );
    let runs = company.count("runs");
    assert!(runs < 12, "{runs}");
    company.dirsyncd.expect_nothing_to_do();

    // It was done a moment ago, so what has become old since waits for tomorrow.
    database::execute(
        &company.dirsyncd.database(),
        "UPDATE runs SET started_at = started_at - 86400000 * 500",
    );
    company.retitle("Later");
    assert_eq!(company.count("runs"), runs + 1);
    database::execute(
        &company.dirsyncd.database(),
        "UPDATE pruned SET at = at - 86400000",
    );
    company.retitle("Tomorrow");
    assert!(company.count("runs") < runs + 2);
}

#[test]
fn what_is_old_the_api_is_asked_by_hand_too() {
    let mut company = Company::new();
    for n in 0..12 {
        company.retitle(&format!("Title {n}"));
    }
    company.age(410);
    company.organization.kill();
    for words in [&[][..], &["--dry-run"]] {
        let refused = company.prune(words).expect_code(1);
        refused.expect_words(&[
            "nothing was taken out, as the API alone is believed what time it is: ",
            "prune when it answers (`dirsyncd check`)",
        ]);
    }
    assert_eq!((company.count("runs"), company.count("pruned")), (13, 0));
}

#[test]
fn long_after_the_last_run_that_one_stays_whole() {
    let mut company = Company::new();
    for n in 0..12 {
        company.retitle(&format!("Title {n}"));
    }
    company.age(410);
    let whole_from = || {
        let output = company.dirsyncd.run(&["history", "--format", "json"]);
        let json: Value = serde_json::from_str(&output.expect_code(0).stdout).unwrap();
        json["complete_from_run"].clone()
    };
    assert_eq!(whole_from(), Value::Null);
    company
        .prune(&[])
        .expect_code(0)
        .expect_words(&["Taken out, ", "begins with run 13."]);
    assert_eq!(whole_from(), 13);
    let words = "The journal was pruned: it has all from run 13 on, ";
    let gone = company.dirsyncd.run(&["history", "--run", "7"]);
    gone.expect_code(2).expect_words(&[
        "there is no run 7 in the database any more: the journal has all from run 13 on",
    ]);
    let text = company.dirsyncd.run(&["history"]).expect_code(0);
    assert!(text.stdout.contains(words), "{text}");
    let csv = company.dirsyncd.run(&["history", "--format", "csv"]);
    assert!(
        csv.stderr.contains(words) && !csv.stdout.contains(words),
        "{csv}"
    );
    let runs = company.count("runs");
    assert!(runs < 13, "{runs}");
    company.dirsyncd.expect_nothing_to_do();
    company.undoing("13");
}

#[test]
fn a_pruning_that_broke_off_goes_on_with_the_next_sync() {
    let mut company = Company::new();
    for n in 0..12 {
        company.retitle(&format!("Title {n}"));
    }
    company.age(410);
    // As one leaves it whose time was used up a moment ago.
    database::execute(
        &company.dirsyncd.database(),
        "INSERT INTO pruned (id, at, first_run, after_operation, after_run) VALUES (1, unixepoch() * 1000, 1, 8, 0)",
    );
    company.retitle("Next");
    // Six creations and two changes that it had passed, the last five, and the one that came after it.
    let left = database::texts(
        &company.dirsyncd.database(),
        "SELECT group_concat(id, ' ') FROM (SELECT id FROM operations ORDER BY id)",
    );
    assert_eq!(left, ["1 2 3 4 5 6 7 8 14 15 16 17 18 19"]);
    let open = "SELECT coalesce(after_operation, 'none') || '' FROM pruned";
    let open = database::texts(&company.dirsyncd.database(), open);
    assert_eq!(open, ["none"]);
}

#[test]
fn pruning_by_hand_is_told_of_a_writer_that_keeps_it_out() {
    let mut company = Company::new();
    company.organization.faults(&json!([
        {"match": "^(POST|PATCH) ", "times": 1000, "delay_ms": 60_000}
    ]));
    "Slow".clone_into(&mut company.people[0].title);
    company.write();
    let mark = company.organization.mark();
    let sync = company.dirsyncd.start(&["sync"]);
    eventually("it sends", Duration::from_secs(60), || {
        let writes = company.organization.writes_since(mark);
        (!writes.is_empty()).then_some(())
    });
    let words = [
        "Nothing was taken out: another dirsyncd (process ",
        "only one may write",
    ];
    company.prune(&[]).expect_code(4).expect_words(&words);
    sync.signal("KILL");
    sync.wait();
}

#[test]
fn a_sync_gets_in_while_pruning_by_hand_goes_on() {
    let mut company = Company::new();
    company.retitle("Next");
    let many = "INSERT INTO operations (run_id, external_id, kind, detail, state, intended_at, sent_at, answered_at)
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 300000)
        SELECT 1, 'nobody', 'update', '{}', 'done', 0, 0, 0 FROM numbers";
    database::execute(&company.dirsyncd.database(), many);
    company.age(410);
    let pruning = company.dirsyncd.start(&["prune"]);
    let minute = Duration::from_secs(60);
    eventually("it has begun", minute, || {
        (company.count("pruned") > 0).then_some(())
    });
    company.dirsyncd.rest = "[journal]\nkeep = false\n".to_owned();
    eventually("a sync", minute, || {
        (company.dirsyncd.run(&["sync"]).code == Some(0)).then_some(())
    });
    let open = "SELECT coalesce(after_operation, 'none') || '' FROM pruned";
    let open = database::texts(&company.dirsyncd.database(), open);
    assert_ne!(open, ["none"]);
    pruning
        .wait()
        .expect_code(0)
        .expect_words(&["Taken out, ", "299,995 operations"]);
}
