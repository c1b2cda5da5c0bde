//! Undoing what a run did to groups: they and their members are put back, and no sync does it
//! again unasked.

use serde_json::{Value, json};

use crate::organization::rule;
use crate::support::{Output, Person, SOON, World, database, eventually};
use crate::tree::{add, dns, group, world};

/// Guards that let through what these tests do.
const WIDE: &str = "[guards]\nremove_members = { at_most = 50 }\n";

/// A directory with the groups `dev` and `ops`, after its first sync.
struct Company {
    world: World,
    people: Vec<Person>,
}

impl Company {
    fn of(keys: &str) -> Self {
        let people = Person::several(6);
        let mut world = world(&people);
        add(&world.slapd, "dev", &dns(&people[..3]));
        add(&world.slapd, "ops", &dns(&people[4..5]));
        world.dirsyncd.rest = rule(keys) + WIDE;
        world.dirsyncd.sync(0);
        Company { world, people }
    }

    /// The group has these members in the directory from now on.
    fn change(&self, name: &str, members: &[usize]) {
        let dns = members.iter().map(|n| self.people[*n].dn());
        let members: String = dns.map(|dn| format!("member: {dn}\n")).collect();
        let dn = group(name);
        let change = format!("dn: {dn}\nchangetype: modify\nreplace: member\n{members}-\n");
        self.world.slapd.modify(&change);
    }

    /// Syncs, which must end with this code; the number of the run.
    #[track_caller]
    fn sync(&self, code: i32) -> String {
        self.world.dirsyncd.sync(code);
        self.texts("SELECT max(id) || '' FROM runs").remove(0)
    }

    fn revert(&self, run: &str, arguments: &[&str]) -> Output {
        let words = [&["revert", run], arguments].concat();
        self.world.dirsyncd.run(&words)
    }

    #[track_caller]
    fn approve(&self, hold: &str) {
        let words = ["approve", hold, "--reason", "it was right"];
        self.world.dirsyncd.run(&words).expect_code(0);
    }

    /// Who is in a group of the organization, by number.
    #[track_caller]
    fn members(&self, name: &str) -> Vec<usize> {
        let users = self.world.organization.group(name).members;
        let is_in = |n: &usize| users.contains(&self.world.account(&self.people[*n]).scim_id);
        let ours: Vec<usize> = (0..self.people.len()).filter(is_in).collect();
        assert_eq!(ours.len(), users.len(), "others are in {name}");
        ours
    }

    fn names(&self) -> Vec<String> {
        let groups = self.world.organization.groups().into_iter();
        groups.map(|group| group.name).collect()
    }

    fn texts(&self, query: &str) -> Vec<String> {
        database::texts(&self.world.dirsyncd.database(), query)
    }

    fn holds(&self) -> Vec<String> {
        self.texts("SELECT name FROM holds WHERE closed_at IS NULL ORDER BY id")
    }

    /// The undone effects that no sync is to have again.
    fn live(&self) -> Vec<String> {
        self.texts("SELECT effect FROM reverted_group_effects WHERE ended_by IS NULL ORDER BY id")
    }
}

#[test]
fn members_are_put_back_and_stay_so_until_somebody_or_the_directory_says_otherwise() {
    let company = Company::of("");
    company.change("dev", &[1, 2, 3]);
    let run = company.sync(0);
    assert_eq!(company.members("dev"), [1, 2, 3]);
    let before = company.world.before();
    company
        .revert(&run, &["--dry-run"])
        .expect_code(0)
        .expect_words(&[&format!("puts back what run {run} did"), "1 to change"]);
    before.expect_unchanged();
    company
        .revert(&run, &[])
        .expect_code(0)
        .expect_words(&["Done: 1 applied", "to undo it: dirsyncd revert"]);
    assert_eq!(company.members("dev"), [0, 1, 2]);
    company.revert(&run, &[]).expect_code(0).expect_words(&[
        "dev: not undone (group_update): run ",
        "has undone it already",
    ]);

    for _ in 0..2 {
        let output = company.world.dirsyncd.sync(3);
        output.expect_words(&["dev [held: reverted]", "Done: 0 applied"]);
        assert_eq!(company.holds(), ["reverted"]);
    }
    // Others go on.
    company.change("dev", &[1, 2, 3, 5]);
    company.sync(3);
    assert_eq!(company.members("dev"), [0, 1, 2, 5]);
    // The directory does not want one of them any more; the other one goes by approval.
    company.change("dev", &[1, 2, 5]);
    company.sync(3);
    assert_eq!(company.live().len(), 1);
    company.approve("reverted");
    company.sync(0);
    assert_eq!(company.members("dev"), [1, 2, 5]);
    company.change("dev", &[1, 2, 3, 5]);
    company.sync(0);
    assert_eq!(company.members("dev"), [1, 2, 3, 5]);
    assert_eq!(company.live(), [""; 0]);
    assert_eq!(company.holds(), [""; 0]);
}

#[test]
fn a_deleted_group_is_made_anew_with_its_members() {
    let company = Company::of("on_leave = \"delete\"");
    let old = company.world.organization.group("dev").scim_id;
    company.world.slapd.delete(&group("dev"));
    company
        .world
        .dirsyncd
        .run(&["plan"])
        .expect_words(&["x dev [undo in part]"]);
    let plan = company.world.dirsyncd.plan();
    let undo = &plan.json["groups"]["operations"][0]["undo"];
    assert_eq!(undo["how"], "in_part");
    let run = company.sync(0);
    assert_eq!(company.names(), ["ops"]);
    company.revert(&run, &[]).expect_code(0);
    assert_eq!(company.members("dev"), [0, 1, 2]);
    assert_ne!(company.world.organization.group("dev").scim_id, old);
    for _ in 0..2 {
        let output = company.world.dirsyncd.sync(3);
        output.expect_words(&["x dev [held: reverted]"]);
    }
    company.approve("reverted");
    company.sync(0);
    assert_eq!(company.names(), ["ops"]);
    company.sync(0);
    assert_eq!(company.live(), [""; 0]);
}

#[test]
fn a_deleted_group_that_came_back_without_its_members_is_filled_by_the_next_revert() {
    let company = Company::of("on_leave = \"delete\"");
    company.world.slapd.delete(&group("dev"));
    let run = company.sync(0);
    company.world.organization.faults(&json!([
        {"match": "^PATCH .*/Groups/", "times": 1, "status": 403}
    ]));
    company.revert(&run, &[]).expect_code(4);
    company.world.organization.heal();
    assert_eq!(company.members("dev"), [0; 0]);
    company
        .world
        .dirsyncd
        .sync(3)
        .expect_words(&["x dev [held: reverted]"]);
    company.revert(&run, &[]).expect_code(0);
    assert_eq!(company.members("dev"), [0, 1, 2]);
    assert_eq!(company.live(), ["\"deleted\""]);
    company.sync(3);
    assert_eq!(company.members("dev"), [0, 1, 2]);
}

#[test]
fn a_group_is_not_put_back_as_long_as_somebody_s_account_is_not() {
    let mut company = Company::of("on_leave = \"delete\"");
    company.world.dirsyncd.rest += "[policy]\ndelete_after = \"0s\"\n";
    company.world.slapd.delete(&company.people[2].dn());
    company.sync(0);
    company.world.slapd.delete(&group("dev"));
    let run = company.sync(0);
    assert_eq!(company.names(), ["ops"]);
    let organization = &company.world.organization;
    organization.faults(&json!([
        {"match": "/lifecycle/cancel-delete", "times": 1, "status": 403}
    ]));
    company
        .revert(&run, &[])
        .expect_code(4)
        .expect_words(&["1 of 3 members could not be put in, as the account is not put back yet; the first: Pat Person 02"]);
    organization.heal();
    assert_eq!(company.members("dev"), [0, 1]);
    company
        .revert(&run, &[])
        .expect_code(0)
        .expect_words(&["Done: 2 applied"]);
    assert_eq!(company.members("dev"), [0, 1, 2]);
    company
        .revert(&run, &[])
        .expect_code(0)
        .expect_words(&["dev: not undone (group_delete): run "]);
}

#[test]
fn who_has_joined_again_by_a_later_run_stays_and_two_reverts_undo_two_runs() {
    let company = Company::of("");
    company.change("dev", &[0, 1, 2, 3, 5]);
    let first = company.sync(0);
    company.change("dev", &[0, 1, 2, 5]);
    let second = company.sync(0);
    // The newest first: then all is as the first one left it.
    company.revert(&second, &[]).expect_code(0);
    assert_eq!(company.members("dev"), [0, 1, 2, 3, 5]);
    company
        .revert(&first, &["--dry-run"])
        .expect_code(0)
        .expect_words(&["Pat Person 03", "Pat Person 05"]);
    // Rightly out again, and in again.
    company.sync(3);
    company.approve("reverted");
    company.sync(0);
    company.change("dev", &[0, 1, 2, 3, 5]);
    company.sync(0);
    company
        .revert(&first, &[])
        .expect_code(3)
        .expect_words(&["a later run has put them in or taken them out: Pat Person 03"]);
    assert_eq!(company.members("dev"), [0, 1, 2, 3]);
}

#[test]
fn a_person_and_a_group_of_one_key_are_told_apart_by_dn() {
    let people = Person::several(2);
    let mut world = world(&people);
    world.dirsyncd.set_source("key", "\"uid\"");
    world.dirsyncd.rest = rule("key = \"cn\"") + WIDE;
    world.dirsyncd.sync(0);
    world
        .slapd
        .replace(&people[0].dn(), &[("title", "Director")]);
    add(&world.slapd, "p00", &dns(&people[1..]));
    world.dirsyncd.sync(0);
    let revert = |who: &str| world.dirsyncd.run(&["revert", "2", "--only", who]);
    revert("p00").expect_code(2).expect_words(&[
        "`p00` may be any of p00 (a person), p00 (a group) in run 2: give the DN or the address",
    ]);
    revert(&people[0].dn())
        .expect_code(0)
        .expect_words(&["Done: 1 applied"]);
    assert_eq!(world.organization.groups().len(), 1);
    revert(&group("p00"))
        .expect_code(0)
        .expect_words(&["Done: 1 applied"]);
    assert_eq!(world.organization.groups().len(), 0);
}

#[test]
fn a_group_that_the_run_made_goes_unless_others_are_in_it() {
    let company = Company::of("");
    add(&company.world.slapd, "new", &dns(&company.people[..2]));
    let run = company.sync(0);
    let other = company.world.account(&company.people[5]);
    let organization = &company.world.organization;
    organization.change_group_by_hand("new", "add", &other);
    company
        .revert(&run, &[])
        .expect_code(3)
        .expect_words(&["the group stays: the run made it, and others are in it by now: "]);
    organization.change_group_by_hand("new", "remove", &other);
    company.revert(&run, &[]).expect_code(0);
    assert_eq!(company.names(), ["dev", "ops"]);
    company
        .world
        .dirsyncd
        .sync(3)
        .expect_words(&["+ new [held: reverted]"]);
    // The directory wants it no more, and later again.
    company.world.slapd.delete(&group("new"));
    company.sync(0);
    assert_eq!(company.live(), [""; 0]);
    add(&company.world.slapd, "new", &dns(&company.people[..2]));
    company.sync(0);
    assert_eq!(company.members("new"), [0, 1]);
}

#[test]
fn a_renamed_group_gets_its_old_name_back_and_newcomers_join_it() {
    let company = Company::of("");
    company
        .world
        .slapd
        .rename(&group("dev"), "cn=engineers", None);
    let run = company.sync(0);
    assert_eq!(company.names(), ["engineers", "ops"]);
    company.revert(&run, &[]).expect_code(0);
    assert_eq!(company.names(), ["dev", "ops"]);
    assert_eq!(company.members("dev"), [0, 1, 2]);
    company
        .world
        .dirsyncd
        .sync(3)
        .expect_words(&["~ engineers [held: reverted] [undo in part]"]);
    company.change("engineers", &[0, 1, 2, 3]);
    company.sync(3);
    assert_eq!(company.members("dev"), [0, 1, 2, 3]);
    company.sync(3);
    company.approve("reverted");
    company.sync(0);
    assert_eq!(company.names(), ["engineers", "ops"]);
    assert_eq!(company.members("engineers"), [0, 1, 2, 3]);
}

#[test]
fn a_group_whose_members_are_all_in_another_goes_whoever_was_put_back_there() {
    let company = Company::of("match = \"([a-z]+)(-.*)?\"\nname = \"$1\"");
    company.change("ops", &[4, 5]);
    let run = company.sync(0);
    company.revert(&run, &[]).expect_code(0);
    company
        .world
        .slapd
        .rename(&group("dev"), "cn=ops-dev", None);
    company.sync(3);
    assert_eq!(company.members("ops"), [0, 1, 2, 4]);
    let output = company.world.dirsyncd.sync(3);
    output.expect_words(&[
        "x dev [undo in part]",
        "ops [held: reverted]",
        "Done: 1 applied",
    ]);
    assert_eq!(company.names(), ["ops"]);
    assert_eq!(company.members("ops"), [0, 1, 2, 4]);
}

#[test]
fn an_adopted_group_is_let_go_with_the_members_that_it_had() {
    let company = Company::of("adopt = true");
    let account = |n: usize| company.world.account(&company.people[n]);
    let theirs = company
        .world
        .organization
        .create_group_by_hand("new", None, &[&account(5)]);
    add(&company.world.slapd, "new", &dns(&company.people[..2]));
    let run = company.sync(0);
    assert_eq!(company.members("new"), [0, 1]);
    company
        .revert(&run, &["--only", &group("new")])
        .expect_code(0)
        .expect_words(&["[no undo]"]);
    let now = company.world.organization.group("new");
    assert_eq!(now.external_id, theirs.external_id);
    assert_eq!(company.members("new"), [5]);
    let ours = company.texts("SELECT name FROM groups ORDER BY name");
    assert_eq!(ours, ["dev", "ops"]);
    company
        .world
        .dirsyncd
        .sync(3)
        .expect_words(&["= new [held: reverted]"]);
}

#[test]
fn only_the_named_group_is_put_back_and_a_person_comes_without_groups() {
    let company = Company::of("");
    company.change("dev", &[0, 1, 2, 3]);
    company.change("ops", &[3, 4]);
    let title = [("title", "Director")];
    company.world.slapd.replace(&company.people[3].dn(), &title);
    let run = company.sync(0);
    let key = company.people[3].key();
    company
        .revert(&run, &["--only", &key])
        .expect_code(0)
        .expect_words(&[
            "dev: not undone (group_update): `--only` does not name the group",
            "Done: 1 applied",
        ]);
    assert_eq!(company.members("dev"), [0, 1, 2, 3]);
    company
        .revert(&run, &["--only", "DEV"])
        .expect_code(0)
        .expect_words(&["Done: 1 applied"]);
    assert_eq!(company.members("dev"), [0, 1, 2]);
    assert_eq!(company.members("ops"), [3, 4]);
    company
        .revert(&run, &["--only", "nothing"])
        .expect_code(2)
        .expect_words(&["did nothing to `nothing`"]);
}

#[test]
fn what_an_operation_did_before_it_failed_is_undone() {
    let company = Company::of("");
    company.change("dev", &[1, 2, 3]);
    company.world.organization.faults(&json!([
        {"match": "^PATCH .*/Groups/", "times": 1, "delay_ms": 1},
        {"match": "^PATCH .*/Groups/", "times": 1, "status": 403}
    ]));
    let run = company.sync(4);
    company.world.organization.heal();
    assert_eq!(company.members("dev"), [0, 1, 2, 3]);
    company.revert(&run, &[]).expect_code(0);
    assert_eq!(company.members("dev"), [0, 1, 2]);
    // What failed is wanted as before; what was put back waits.
    company.sync(3);
    assert_eq!(company.members("dev"), [1, 2]);
}

#[test]
fn the_guards_hold_a_revert_of_groups_by_holds_of_its_own() {
    let mut company = Company::of("");
    company.change("dev", &[0, 1, 2, 3, 5]);
    let run = company.sync(0);
    let guards = "[guards]\nremove_members = { at_most = 1 }\nprotected_groups = [\"dev\"]\n";
    company.world.dirsyncd.rest = rule("") + guards;
    let holds = ["remove_members", "protected"].map(|hold| format!("revert-{run}.{hold}"));
    company.revert(&run, &[]).expect_code(3).expect_words(&[
        &holds[0],
        &holds[1],
        "Done: 0 applied",
    ]);
    assert_eq!(company.members("dev").len(), 5);
    company.sync(0);
    assert_eq!(company.holds(), holds);
    for hold in &holds {
        company.approve(hold);
    }
    company.revert(&run, &[]).expect_code(0);
    assert_eq!(company.members("dev"), [0, 1, 2]);
    assert_eq!(company.holds(), [""; 0]);
}

#[test]
fn a_revert_that_is_killed_between_its_requests_is_finished_by_the_next_one() {
    let company = Company::of("");
    company.change("dev", &[1, 2, 3]);
    let run = company.sync(0);
    let organization = &company.world.organization;
    organization.slow_writes(400);
    let mark = organization.mark();
    let revert = company.world.dirsyncd.start(&["revert", &run]);
    eventually("the first request", SOON, || {
        organization.writes_since(mark).first().cloned()
    });
    revert.signal("KILL");
    assert_eq!(revert.wait().code, None);
    eventually("the requests under way", SOON, || {
        let writes = organization.writes_since(mark);
        writes.iter().all(|one| one.status.is_some()).then_some(())
    });
    organization.heal();
    assert_eq!(company.members("dev"), [0, 1, 2, 3]);
    // A sync reads back how far it came, and takes nothing of it back.
    company
        .world
        .dirsyncd
        .sync(3)
        .expect_words(&["Done: 0 applied"]);
    let leaves = json!({ "leaves": company.people[0].key() });
    let live: Vec<Value> = company
        .live()
        .iter()
        .map(|one| serde_json::from_str(one).unwrap())
        .collect();
    assert_eq!(live, [leaves]);
    company
        .revert(&run, &[])
        .expect_code(0)
        .expect_words(&["as before the run already", "Done: 1 applied"]);
    assert_eq!(company.members("dev"), [0, 1, 2]);
    assert_eq!(company.live().len(), 2);
    company.sync(3);
    assert_eq!(company.members("dev"), [0, 1, 2]);
}

#[test]
fn what_an_older_version_did_to_groups_is_told_as_not_known() {
    let company = Company::of("");
    company.change("dev", &[1, 2, 3]);
    let run = company.sync(0);
    database::execute(
        &company.world.dirsyncd.database(),
        "UPDATE operations SET progress = NULL",
    );
    company
        .revert(&run, &[])
        .expect_code(3)
        .expect_words(&["dev: not undone (group_update): an older dirsyncd did it"]);
    assert_eq!(company.members("dev"), [1, 2, 3]);
}

/// A company in which a revert has taken person 3 out of `dev` again, whom the directory still has
/// in it, and now person 5 too.
fn with_a_reverted_member() -> Company {
    let company = Company::of("");
    company.change("dev", &[0, 1, 2, 3]);
    let run = company.sync(0);
    company.revert(&run, &[]).expect_code(0);
    company.change("dev", &[0, 1, 2, 3, 5]);
    company
}

#[test]
fn several_operations_on_one_group_are_held_shown_and_approved_each_by_itself() {
    let mut company = with_a_reverted_member();
    let guards = "[guards]\nprotected_groups = [\"dev\"]\n";
    company.world.dirsyncd.rest = rule("") + guards;
    company.sync(3);
    let both =
        "SELECT name || ' ' || count(*) FROM holds JOIN held_operations ON hold_id = holds.id
                WHERE closed_at IS NULL GROUP BY name ORDER BY name";
    assert_eq!(company.texts(both), ["protected 2", "reverted 1"]);
    let joins = |n: usize| format!("member  (none) → {}", company.people[n].name());
    company
        .world
        .dirsyncd
        .run(&["holds"])
        .expect_words(&[&joins(3), &joins(5)]);
    let words = ["approve", "protected", "--only", "dev", "--reason", "right"];
    company.world.dirsyncd.run(&words).expect_code(0);
    company.sync(3);
    assert_eq!(company.members("dev"), [0, 1, 2, 5]);
    company.approve("reverted");
    // The approval is for that one alone.
    company.world.dirsyncd.rest = rule("") + WIDE;
    company.change("dev", &[0, 1, 2, 3, 4, 5]);
    company.sync(0);
    assert_eq!(company.members("dev"), [0, 1, 2, 3, 4, 5]);
    let went_by = "SELECT DISTINCT result FROM approved_operations WHERE result IS NOT NULL";
    assert_eq!(company.texts(went_by), ["let_through"]);
}

#[test]
fn a_saved_plan_with_several_operations_on_one_group_is_carried_out() {
    let company = with_a_reverted_member();
    let file = company
        .world
        .dirsyncd
        .database()
        .with_file_name("plan.json");
    let file = file.to_str().unwrap();
    let save = ["plan", "--force", "--save", file];
    company.world.dirsyncd.run(&save).expect_code(3);
    company
        .world
        .dirsyncd
        .run(&["sync", "--plan", file])
        .expect_code(3)
        .expect_words(&["Done: 1 applied"]);
    assert_eq!(company.members("dev"), [0, 1, 2, 5]);
}

#[test]
fn who_was_put_in_again_by_a_later_run_stays_in() {
    let company = Company::of("");
    company.change("dev", &[0, 1, 2, 3, 5]);
    let run = company.sync(0);
    company.change("dev", &[0, 1, 2, 5]);
    let later = company.sync(0);
    company.change("dev", &[0, 1, 2, 3, 5]);
    company.sync(0);
    company.revert(&run, &[]).expect_code(3).expect_words(&[
        "they stay as they are, as a later run has put them in or taken them out: ",
    ]);
    assert_eq!(company.members("dev"), [0, 1, 2, 3]);
    company.revert(&later, &[]).expect_code(0);
    assert_eq!(company.members("dev"), [0, 1, 2, 3]);
}
