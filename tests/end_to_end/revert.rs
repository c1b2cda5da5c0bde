//! Undoing a run: what it did is put back, what cannot be is told, and no sync does it again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::organization::{Account, GRACE};
use crate::support::people::{BASE, directory};
use crate::support::unchanged::Before;
use crate::support::{Dirsyncd, Organization, Output, Person, SOON, World, database, eventually};

/// Guards that let through what these tests do.
const WIDE: &str = "[guards]\ncreate = { at_most = 50 }\nupdate = { at_most = 50 }\ndeactivate = { at_most = 50 }\ndelete = { at_most = 50 }\nchange_email = { at_most = 50 }\nsame_attribute = { at_most = 50 }\n";

/// A company in an LDIF file, after its first sync.
struct Company {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
}

impl Company {
    fn of(people: Vec<Person>, rest: &str) -> Self {
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        dirsyncd.rest = format!("{rest}{WIDE}");
        dirsyncd.sync(0);
        Company {
            organization,
            dirsyncd,
            people,
        }
    }

    fn new() -> Self {
        Self::of(Person::several(6), "")
    }

    /// Changes the people, and the file with them.
    fn change(&mut self, change: impl FnOnce(&mut Vec<Person>)) {
        change(&mut self.people);
        self.dirsyncd.write_ldif(&directory(&self.people));
    }

    /// Syncs, which must end with this code; the number of the run.
    #[track_caller]
    fn sync(&self, code: i32) -> i64 {
        self.dirsyncd.sync(code);
        self.last_run()
    }

    fn last_run(&self) -> i64 {
        let last = self.database("SELECT max(id) || '' FROM runs");
        last[0].parse().unwrap()
    }

    fn revert(&self, run: i64, arguments: &[&str]) -> Output {
        let run = run.to_string();
        let words = [&["revert", run.as_str()], arguments].concat();
        self.dirsyncd.run(&words)
    }

    fn approve(&self, hold: &str) -> Output {
        let words = ["approve", hold, "--reason", "it was right"];
        self.dirsyncd.run(&words)
    }

    fn account(&self, uid: &str) -> Account {
        let key = Person::new(uid, "", "").key();
        self.organization.of_key(&key).unwrap()
    }

    fn database(&self, query: &str) -> Vec<String> {
        database::texts(&self.dirsyncd.database(), query)
    }

    fn holds(&self) -> Vec<String> {
        self.database("SELECT name FROM holds WHERE closed_at IS NULL ORDER BY id")
    }
}

fn entitle(people: &mut [Person], title: &str) {
    for person in people {
        title.clone_into(&mut person.title);
    }
}

/// People to whom one sync does everything that a sync can do, and the number of that run; with
/// the accounts as they were before it.
fn everything() -> (Company, i64, Vec<Account>) {
    let people: Vec<Person> = [
        "mover", "leaver", "off", "back", "gone", "left", "right", "again", "same",
    ]
    .into_iter()
    .map(|uid| Person::new(uid, uid, "Person"))
    .collect();
    let mut company = Company::of(people, "[policy]\ndelete_after = \"0s\"\n");
    company.change(|people| {
        people[3] = people[3].clone().disabled();
        people.remove(4);
    });
    company.sync(0);
    company
        .organization
        .create_by_hand("known@example.org", "Known Before", None);
    let before = company.organization.accounts();
    company.change(|people| {
        people[0].title = "Director".to_owned();
        people[2] = people[2].clone().disabled();
        people[3] = Person::new("back", "back", "Person");
        let swapped = [people[5].mail.clone(), people[4].mail.clone()];
        let [left, right] = swapped;
        (people[4].mail, people[5].mail) = (left, right);
        // The entry is made anew; the number stays.
        people[6].uid = "again2".to_owned();
        people[6].mail = Some("again@example.org".to_owned());
        people[6].title = "Returner".to_owned();
        people.push(Person::new("known", "Known", "Person"));
        people.push(Person::new("new", "New", "Person"));
        people.remove(1);
    });
    let run = company.sync(0);
    let kinds = format!(
        "SELECT DISTINCT kind FROM operations WHERE run_id = {run} AND state = 'done' ORDER BY kind"
    );
    assert_eq!(
        company.database(&kinds),
        [
            "adopt",
            "create",
            "deactivate",
            "delete",
            "restore",
            "update"
        ]
    );
    (company, run, before)
}

#[test]
fn all_that_a_sync_did_is_put_back_and_no_sync_does_it_again() {
    let (company, run, before) = everything();
    let after = company.organization.accounts();

    let files = Before::of(company.dirsyncd.folder(), &company.organization);
    company
        .revert(run, &["--dry-run"])
        .expect_code(0)
        .expect_words(&[&format!("puts back what run {run} did"), "[no undo]"]);
    files.expect_unchanged();
    company.revert(run, &[]).expect_code(0).expect_words(&[
        &format!("Undoes what run {run} did."),
        "the requested deletion is cancelled",
    ]);

    // The new account cannot be uncreated; all else is as it was.
    let mut now = company.organization.accounts();
    let at = now.iter().position(|one| one.email == "new@example.org");
    let new = now.remove(at.unwrap());
    assert!(!new.active);
    assert_eq!(now, before);
    let gone = company.account("gone");
    company.organization.advance(GRACE);
    let status = company.organization.account_status(&gone.account_id);
    assert_eq!(status.as_deref(), Some("inactive"));

    // The directory still wants all of it, and gets nothing of it before somebody says so.
    for _ in 0..2 {
        company
            .dirsyncd
            .sync(3)
            .expect_words(&["dirsyncd approve reverted --reason", "Done: 0 applied"]);
        assert_eq!(company.holds(), ["reverted"]);
    }
    company.approve("reverted").expect_code(0);
    company.sync(0);
    let again = company.organization.accounts();
    assert_eq!(again, after);
    // The leaver is to be deleted by now, which nobody has reverted.
    company.sync(0);
    let live = "SELECT what FROM reverted_effects WHERE ended_by IS NULL";
    assert_eq!(company.database(live), [""; 0]);
}

#[test]
fn a_run_is_reverted_once_and_so_is_its_revert() {
    let mut company = Company::new();
    company.change(|people| entitle(&mut people[..2], "Director"));
    let run = company.sync(0);
    company.revert(run, &[]).expect_code(0);
    let reverting = company.last_run();
    assert_eq!(company.account("p00").title.as_deref(), Some("Engineer"));
    company.revert(run, &[]).expect_code(0).expect_words(&[
        &format!("not undone (update): run {reverting} has undone it already"),
        "Nothing to do",
    ]);

    company
        .revert(reverting, &[])
        .expect_code(0)
        .expect_words(&["Done: 2 applied"]);
    assert_eq!(company.account("p00").title.as_deref(), Some("Director"));
    company.dirsyncd.expect_nothing_to_do();
    company.sync(0);
    let live = "SELECT what FROM reverted_effects WHERE ended_by IS NULL";
    assert_eq!(company.database(live), [""; 0]);
}

#[test]
fn only_those_who_are_named_are_put_back() {
    let mut company = Company::new();
    company.change(|people| entitle(people, "Director"));
    let run = company.sync(0);
    let (key, dn) = (company.people[1].key(), company.people[2].dn());
    company
        .revert(run, &["--only", "P00@example.org", &key, &dn])
        .expect_code(0)
        .expect_words(&["Done: 3 applied"]);
    let titles: Vec<_> = company.organization.accounts();
    let titles: Vec<_> = titles.iter().filter_map(|one| one.title.clone()).collect();
    assert_eq!(
        titles,
        [
            "Engineer", "Engineer", "Engineer", "Director", "Director", "Director"
        ]
    );
}

#[test]
fn what_is_not_there_to_be_reverted_is_wrong_usage() {
    let mut company = Company::new();
    let runs = company.last_run();
    company
        .revert(99, &[])
        .expect_code(2)
        .expect_words(&["there is no run 99"]);
    company
        .revert(runs, &["--only", "nobody@example.org"])
        .expect_code(2)
        .expect_words(&["did nothing to `nobody@example.org`"]);
    company.change(|people| people[0].title = "Director".to_owned());
    company.organization.slow_writes(4000);
    let mark = company.organization.mark();
    let sync = company.dirsyncd.start(&["sync"]);
    eventually("the first write", SOON, || {
        company.organization.writes_since(mark).first().cloned()
    });
    let run = company.last_run();
    for arguments in [&[][..], &["--dry-run"]] {
        company
            .revert(run, arguments)
            .expect_code(2)
            .expect_words(&[&format!("run {run} is still going on")]);
    }
    sync.wait().expect_code(0);
    // None of them has left a run behind.
    assert_eq!(company.last_run(), run);
}

#[test]
fn what_has_moved_on_is_skipped_and_named_and_the_rest_is_put_back() {
    let mut company = Company::new();
    company.change(|people| entitle(&mut people[..3], "Director"));
    let run = company.sync(0);
    let by_hand = company.account("p00");
    company
        .organization
        .patch_by_hand(&by_hand, "title", &json!("Queen"));
    company.change(|people| {
        people[1].title = "Founder".to_owned();
        // What the run has not changed may be different.
        people[2].given = "Patricia".to_owned();
    });
    company.sync(0);
    company.revert(run, &[]).expect_code(3).expect_words(&[
        "no longer as the run left it: the organization's title: Director → Queen",
        "no longer as the run left it: the snapshot's title: Director → Founder",
        "Done: 1 applied",
    ]);
    let last = company.account("p02");
    assert_eq!(last.title.as_deref(), Some("Engineer"));
    assert_eq!(last.given_name.as_deref(), Some("Patricia"));
}

#[test]
fn a_deletion_is_undone_within_its_grace_and_not_after_it() {
    for is_late in [false, true] {
        let mut company = Company::of(Person::several(6), "[policy]\ndelete_after = \"0s\"\n");
        let account = company.account("p00");
        company.change(|people| {
            people.remove(0);
        });
        company.sync(0);
        company
            .dirsyncd
            .run(&["plan"])
            .expect_words(&["[undo until "]);
        let run = company.sync(0);
        let days = if is_late { 14 } else { 13 };
        database::age(&company.dirsyncd.database(), days);
        company
            .organization
            .advance(GRACE - Duration::from_secs(60));

        let output = company.revert(run, &[]);
        if is_late {
            output
                .expect_code(3)
                .expect_words(&["not undone (delete): the deletion could be cancelled until "]);
            continue;
        }
        output
            .expect_code(0)
            .expect_words(&["Done: 1 applied", "[no undo]"]);
        company.organization.advance(GRACE);
        let status = company.organization.account_status(&account.account_id);
        assert_eq!(status.as_deref(), Some("inactive"));
        // It is due again, and waits.
        company.dirsyncd.sync(3).expect_words(&["[held: reverted]"]);
    }
}

#[test]
fn what_is_reverted_stays_until_the_directory_wants_something_else() {
    let mut company = Company::new();
    company.change(|people| entitle(&mut people[..1], "Director"));
    let run = company.sync(0);
    company.revert(run, &[]).expect_code(0);
    company.dirsyncd.sync(3).expect_words(&["[held: reverted]"]);

    // Another attribute goes on, and the one that was put back stays so.
    company.change(|people| people[0].given = "Patricia".to_owned());
    company
        .dirsyncd
        .sync(3)
        .expect_words(&["put back by `dirsyncd revert`", "Done: 1 applied"]);
    let account = company.account("p00");
    assert_eq!(account.given_name.as_deref(), Some("Patricia"));
    assert_eq!(account.title.as_deref(), Some("Engineer"));
    company.dirsyncd.sync(3).expect_words(&["[held: reverted]"]);

    // Another value is another wish, and the first one is forgotten by it.
    company.change(|people| entitle(&mut people[..1], "Founder"));
    company.sync(0);
    assert_eq!(company.account("p00").title.as_deref(), Some("Founder"));
    company.change(|people| entitle(&mut people[..1], "Director"));
    company.sync(0);
    assert_eq!(company.account("p00").title.as_deref(), Some("Director"));
    assert_eq!(company.holds(), [""; 0]);
}

#[test]
fn a_login_that_was_given_back_is_not_taken_by_an_incomplete_answer_nor_forgotten() {
    let mut company = Company::new();
    let leaver = company.people[0].clone();
    company.change(|people| {
        people.remove(0);
    });
    let run = company.sync(0);
    company.revert(run, &[]).expect_code(0);
    assert!(company.account("p00").active);
    company.sync(3);
    assert!(company.account("p00").active);
    // Somebody without an address keeps nobody from being known, and an entry without a key does.
    company.change(|people| {
        people.push(leaver.clone().with_mail(None));
    });
    company.sync(3);
    company.change(|people| {
        people.pop();
    });
    company.dirsyncd.sync(3).expect_words(&["[held: reverted]"]);
    // Back for a while: whoever leaves then leaves anew.
    company.change(|people| people.push(leaver));
    company.sync(0);
    company.change(|people| {
        people.pop();
    });
    company.sync(0);
    assert!(!company.account("p00").active);
}

#[test]
fn a_revert_that_is_killed_is_finished_by_the_next_one_and_nothing_is_undone_twice() {
    let mut company = Company::of(Person::several(24), "");
    company.change(|people| entitle(people, "Director"));
    let run = company.sync(0);
    company.organization.slow_writes(200);
    let mark = company.organization.mark();
    let number = run.to_string();
    let revert = company.dirsyncd.start(&["revert", &number]);
    eventually("the moment", SOON, || {
        (company.organization.writes_since(mark).len() >= 9).then_some(())
    });
    revert.signal("KILL");
    assert_eq!(revert.wait().code, None);
    eventually("the requests under way", SOON, || {
        let writes = company.organization.writes_since(mark);
        writes.iter().all(|one| one.status.is_some()).then_some(())
    });
    company.organization.heal();
    let arrived = company.organization.writes_since(mark).len();

    // A sync in between takes nothing back of what is undone.
    let rest = 24 - arrived;
    company.dirsyncd.sync(3).expect_words(&["Done: 0 applied"]);
    company
        .revert(run, &[])
        .expect_code(0)
        .expect_words(&[&format!("Done: {rest} applied")]);

    let accounts = company.organization.accounts();
    assert!(
        accounts
            .iter()
            .all(|one| one.title.as_deref() == Some("Engineer"))
    );
    assert_eq!(company.organization.writes_since(mark).len(), 24);
    let undone = format!(
        "SELECT count(*) || '' FROM reverted JOIN operations ON id = operation_id WHERE run_id = {run}"
    );
    assert_eq!(company.database(&undone), ["24"]);
}

#[test]
fn an_exchange_of_addresses_that_a_killed_revert_has_begun_to_put_back_is_finished() {
    let mut company = Company::new();
    let before = company.organization.accounts();
    company.change(|people| {
        let first = people[0].mail.clone();
        people[0].mail = people[1].mail.clone();
        people[1].mail = first;
    });
    let run = company.sync(0);
    // Who makes way does so; the next one fails, and the last one is left.
    company.organization.faults(&json!([
        {"match": "^PATCH ", "times": 1, "delay_ms": 1},
        {"match": "^PATCH ", "times": 1, "status": 403}
    ]));
    company
        .revert(run, &[])
        .expect_code(4)
        .expect_words(&["Done: 1 applied, 1 failed, 1 left"]);
    company.organization.heal();
    assert_ne!(company.organization.accounts(), before);
    company.revert(run, &[]).expect_code(0);
    assert_eq!(company.organization.accounts(), before);
    company.dirsyncd.sync(3).expect_words(&["[held: reverted]"]);
}

#[test]
fn the_guards_hold_a_revert_by_holds_of_its_own() {
    let mut company = Company::new();
    let all = company.people.clone();
    company.change(|people| {
        people.drain(..3);
    });
    company.sync(0);
    company.change(|people| people.splice(0..0, all[..3].to_vec()).for_each(drop));
    let run = company.sync(0);
    company.dirsyncd.rest = "[guards]\ndeactivate = { at_most = 2 }\n".to_owned();
    let hold = format!("revert-{run}.deactivate");
    company
        .revert(run, &[])
        .expect_code(3)
        .expect_words(&[&format!("dirsyncd approve {hold} --reason")]);
    assert_eq!(company.organization.active(), 6);
    // A sync knows nothing of it, and leaves it open.
    company.sync(0);
    assert_eq!(company.holds(), [hold.as_str()]);
    company
        .approve(&hold)
        .expect_code(0)
        .expect_words(&[&format!("dirsyncd revert {run}")]);
    company.sync(0);
    company
        .revert(run, &[])
        .expect_code(0)
        .expect_words(&["[approved]", "Done: 3 applied"]);
    assert_eq!(company.organization.active(), 3);
    assert_eq!(company.holds(), [""; 0]);
    company.dirsyncd.sync(3).expect_words(&["[held: reverted]"]);
}

#[test]
fn what_failed_was_never_sent_or_is_gone_is_told_with_its_reason() {
    let mut company = Company::new();
    company.change(|people| entitle(&mut people[..2], "Director"));
    company.organization.faults(&json!([
        {"match": "^PATCH ", "times": 1, "status": 403}
    ]));
    let run = company.sync(4);
    company.organization.heal();
    company.revert(run, &[]).expect_code(0).expect_words(&[
        "not undone (update): it failed, so there is nothing to undo (",
        "Done: 1 applied",
    ]);
    let output = company.revert(1, &["--format", "json", "--dry-run"]);
    let plan: Value = serde_json::from_str(&output.expect_code(0).stdout).unwrap();
    assert_eq!(plan["reverts"], 1);
    assert_eq!(plan["operations"].as_array().unwrap().len(), 6);
    assert_eq!(plan["operations"][0]["kind"], "deactivate");
}

#[test]
fn a_first_run_is_reverted_with_its_groups() {
    let people = Person::several(3);
    let organization = Organization::start();
    let members: String = people
        .iter()
        .map(|person| format!("member: {}\n", person.dn()))
        .collect();
    let group = format!(
        "dn: cn=dev,ou=groups,{BASE}\nobjectClass: groupOfNames\nentryUUID: 6b1f7b3e-0000-4000-8000-000000000001\ncn: dev\n{members}\n"
    );
    let mut dirsyncd = Dirsyncd::from_ldif(&organization, &(directory(&people) + &group));
    dirsyncd.rest = format!("[[group]]\nbase = \"ou=groups,{BASE}\"\n");
    dirsyncd
        .sync(0)
        .expect_words(&["Run 1; to undo it: dirsyncd revert 1"]);
    dirsyncd
        .run(&["revert", "1"])
        .expect_code(0)
        .expect_words(&["x dev [undo in part]", "Done: 4 applied"]);
    assert_eq!(organization.active(), 0);
    assert!(organization.groups().is_empty());
}

#[test]
fn every_report_tells_beforehand_what_cannot_be_undone() {
    let mut company = Company::new();
    company
        .organization
        .create_by_hand("known@example.org", "Known Before", None);
    company.change(|people| {
        people.push(Person::new("known", "Known", "Person"));
        people.push(Person::new("new", "New", "Person"));
        people[0].title = "Director".to_owned();
    });
    company.dirsyncd.run(&["plan"]).expect_words(&[
        "+ New Person <new@example.org> [undo in part]",
        "= Known Before <known@example.org> [undo in part]",
        "~ Pat Person 00 <p00@example.org>\n",
    ]);
    let plan = company.dirsyncd.plan();
    let how: Vec<&str> = plan
        .list("operations")
        .iter()
        .map(|one| one["undo"]["how"].as_str().unwrap())
        .collect();
    assert_eq!(how, ["in_part", "in_part", "full"]);
}

#[test]
fn where_only_what_changed_is_read_what_was_reverted_stays_so_as_well() {
    let world = World::synced(&Person::four());
    let ada = &Person::four()[0];
    let title = |title| world.slapd.replace(&ada.dn(), &[("title", title)]);
    title("Countess");
    let followed = "Read what changed";
    world.dirsyncd.sync(0).expect_words(&[followed]);
    world.dirsyncd.run(&["revert", "2"]).expect_code(0);
    // The directory tells it no second time, so it is read in full once.
    let output = world.dirsyncd.sync(3).expect_words(&["[held: reverted]"]);
    assert!(!output.stdout.contains(followed), "{output}");
    for _ in 0..2 {
        world
            .dirsyncd
            .sync(3)
            .expect_words(&[followed, "[held: reverted]"]);
    }
    title("Engineer");
    world.dirsyncd.sync(0).expect_words(&[followed]);
    let live = "SELECT what FROM reverted_effects WHERE ended_by IS NULL";
    assert_eq!(
        database::texts(&world.dirsyncd.database(), live),
        [""; 0],
        "it is not wished any more"
    );
}
