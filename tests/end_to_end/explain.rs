//! `dirsyncd explain` tells of one person what is known, when both sides are gone.

use serde_json::Value;

use crate::support::people::{BASE, directory};
use crate::support::unchanged::tree_digest;
use crate::support::{Dirsyncd, Organization, Output, Person, World, database};

/// A company in an LDIF file, after its first sync.
struct Company {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
}

impl Company {
    fn new(rest: &str) -> Self {
        let people = Person::four();
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

    /// Syncs with the people as they are now.
    fn sync(&self, code: i32) {
        self.dirsyncd.write_ldif(&directory(&self.people));
        self.dirsyncd.sync(code);
    }

    /// Explains somebody while both sides are there, in lines that are not broken.
    fn explain(&self, who: &str) -> Output {
        let output = self.dirsyncd.run(&["explain", who, "--width", "1000"]);
        output.expect_code(0)
    }

    /// Takes both sides away: the API ends, and so does the directory.
    fn offline(mut self) -> Alone {
        self.organization.kill();
        std::fs::remove_file(self.dirsyncd.ldif_file()).unwrap();
        // Writes the configuration.
        self.dirsyncd.run(&["holds"]).expect_code(0);
        Alone(self.dirsyncd)
    }
}

/// The program with its database alone.
struct Alone(Dirsyncd);

impl Alone {
    /// Explains somebody in lines that are not broken, which changes nothing.
    #[track_caller]
    fn explain(&self, arguments: &[&str], code: i32) -> Output {
        let before = tree_digest(self.0.folder());
        let output = self
            .0
            .run(&[&["explain", "--width", "1000"], arguments].concat());
        assert_eq!(tree_digest(self.0.folder()), before, "files have changed");
        output.expect_code(code)
    }

    /// The same as JSON.
    #[track_caller]
    fn json(&self, who: &str) -> Value {
        let output = self.explain(&[who, "--format", "json"], 0);
        let json: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(json["version"], 1);
        json["person"].clone()
    }
}

#[test]
fn whoever_is_as_the_account_is_told_so_by_any_name() {
    let company = Company::new("");
    let ada = company.people[0].clone();
    let alone = company.offline();
    let words = [
        "Ada Lovelace",
        &ada.dn(),
        &format!("below ou=people,{BASE} (subtree), filter (objectClass=inetOrgPerson)"),
        "in full, 4 entries; complete",
        "in scope, and as the account is",
        "userName ada@example.org",
        "created by run 1 at ",
        "done: create, new in the directory",
        "[request ",
    ];
    let first = alone.explain(&["ada@example.org"], 0).expect_words(&words);
    let other_case = ada.dn().to_uppercase().replace(',', " , ");
    for who in [
        "ADA@example.ORG",
        &ada.key(),
        &ada.key().to_uppercase(),
        &ada.dn(),
        &other_case,
    ] {
        let output = alone.explain(&[who], 0);
        assert_eq!(output.stdout, first.stdout, "{who}");
    }
    let json = alone.json(&ada.key());
    assert_eq!(json["key"], ada.key());
    assert_eq!(json["outlook"]["state"], "active");
    assert_eq!(json["origin"]["pull"]["way"], "full");
    assert_eq!(json["matched"][0]["kind"], "create");
    assert!(json["changes"][0]["request_id"].is_string());
    for (arguments, width) in [(&[][..], 100), (&["--width", "60"], 60)] {
        let arguments = [&["explain", "ada@example.org"], arguments].concat();
        let output = alone.0.run(&arguments).expect_code(0);
        let mut lines = output.stdout.lines();
        assert!(lines.all(|line| line.chars().count() <= width), "{output}");
        assert!(output.stdout.lines().count() <= 36, "{output}");
    }
}

#[test]
fn nobody_and_several_are_told_with_those_who_may_be_meant() {
    let mut company = Company::new("");
    let twin = Person::new("twin", "Tina", "Twin");
    company.people.push(twin.clone());
    company
        .people
        .push(Person::new("other", "Otto", "Twin").with_mail(twin.mail.as_deref()));
    company.sync(3);
    let alone = company.offline();
    let both = alone.explain(&["twin@example.org"], 2).expect_words(&[
        "`twin@example.org` may be any of these; give the key",
        "Tina Twin <twin@example.org>, no account",
        "Otto Twin <twin@example.org>, no account",
        &twin.key(),
    ]);
    assert_eq!(both.stdout, "");
    alone.explain(&[&twin.key()], 0).expect_words(&[
        "refused: ",
        "is also that of",
        "account     none",
    ]);
    alone.explain(&["ad@example.org"], 2).expect_words(&[
        "nothing is known of `ad@example.org`",
        "Ada Lovelace <ada@example.org>",
    ]);
    alone
        .explain(&["lovelace"], 2)
        .expect_words(&["names like that", "Ada Lovelace <ada@example.org>"]);
    let none = alone.explain(&["quetzalcoatl"], 2);
    let none = none.expect_words(&["nothing is known of `quetzalcoatl`", "dirsyncd map DN"]);
    assert!(!none.stderr.contains("names like that"), "{none}");
}

#[test]
fn a_change_that_is_held_is_told_with_figures_and_command_until_it_is_approved() {
    let mut company = Company::new("[guards]\nupdate = { at_most = 1 }\n");
    for person in &mut company.people[..3] {
        "Manager".clone_into(&mut person.title);
    }
    company.sync(3);
    let ada = company.people[0].clone();
    let command = format!("dirsyncd approve update --only {} --reason", ada.key());
    company.explain("ada@example.org").expect_words(&[
        "in scope, and not as the account is",
        "≠ title: the account has Engineer, the directory wants Manager",
        "what is wanted is told by what the hold `update` holds",
        "by update #1 since ",
        "3 updates among 4 accounts",
        &command,
        "held by `update`: update, changed in the directory",
    ]);
    let reason = ["--reason", "asked for by Ada herself"];
    let only = ["approve", "update", "--only", "ada@example.org"];
    company
        .dirsyncd
        .run(&[&only[..], &reason].concat())
        .expect_code(0);
    let approved = company.explain("ada@example.org");
    let approved = approved.expect_words(&[
        "update [approved]: changed in the directory title Engineer → Manager",
        "(asked for by Ada herself): counts until ",
    ]);
    assert!(!approved.stdout.contains(&command), "{approved}");
    company.dirsyncd.sync(3);
    let alone = company.offline();
    alone.explain(&["ada@example.org"], 0).expect_words(&[
        "in scope, and as the account is",
        "let through by run 3",
        "run 3 update done (changed in the directory) title Engineer → Manager",
    ]);
    let json = alone.json("grace@example.org");
    assert_eq!(json["holds"][0]["name"], "update");
    assert_eq!(
        json["holds"][0]["operations"][0]["changes"][0]["new"],
        "Manager"
    );
}

#[test]
fn an_absence_is_told_from_its_first_pull_to_the_deletion() {
    let mut company =
        Company::new("[policy]\ndeactivate_after = { pulls = 2 }\ndelete_after = \"90days\"\n");
    let alan = company.people.remove(2);
    company.sync(0);
    company.explain(&alan.dn()).expect_words(&[
        "no longer in the directory: missing since ",
        "seen by 1 complete pull",
        "active, and the person is missing",
        "once 1 more complete pull has confirmed the absence: the next sync deactivates the account",
        "deactivate_after = { pulls = 2, time = \"0s\" } ([policy])",
        "skipped: no longer in the directory, seen by 1 of 2 pulls",
    ]);
    company.sync(0);
    company.explain(&alan.dn()).expect_words(&[
        "seen by 2 complete pulls",
        "deactivated, as the person is missing, since ",
        ": the next sync deletes the account for good",
        "delete_after = \"90days\" ([policy])",
        "done: deactivate, no longer in the directory",
    ]);
    database::age(&company.dirsyncd.database(), 91);
    company.explain(&alan.dn()).expect_words(&[
        "deactivated for longer than `delete_after`",
        "the deletion is requested by the next sync",
    ]);
    company.dirsyncd.sync(0);
    let alone = company.offline();
    alone.explain(&[&alan.dn()], 0).expect_words(&[
        "deletion requested, since ",
        ": the deletion can no longer be cancelled",
        "done: delete, not in the directory since ",
    ]);
}

#[test]
fn a_departure_that_is_held_is_told_though_nothing_is_noted_of_it() {
    let mut company = Company::new("[guards]\ndeactivate = { at_most = 0 }\n");
    let alan = company.people.remove(2);
    company.sync(3);
    let alone = company.offline();
    alone.explain(&["alan@example.org"], 0).expect_words(&[
        "no longer in the directory; the account's departure is planned, and not done",
        "on_deleted = \"deactivate\" (by default)",
        "by deactivate #1 since ",
        "deactivate: no longer in the directory active true → false",
        &format!("--only {}", alan.key()),
    ]);
}

#[test]
fn what_became_of_people_without_an_account_is_told() {
    let mut company = Company::new("");
    company
        .people
        .push(Person::new("mute", "Mia", "Mute").with_mail(None));
    company
        .people
        .push(Person::new("off", "Olaf", "Off").disabled());
    company
        .people
        .push(Person::new("far", "Fay", "Far").with_mail(Some("fay@elsewhere.example")));
    company.sync(3);
    let dn = company.people[4].dn();
    let alone = company.offline();
    alone.explain(&[&dn], 0).expect_words(&[
        "nothing that an account could be made of",
        "account     none",
        "refused: no value for `userName` (from `mail`)",
    ]);
    alone.explain(&["off@example.org"], 0).expect_words(&[
        "in scope and disabled, and without an account",
        "on_disabled = \"deactivate\"",
        "skipped: disabled in the directory, and without an account",
        "what is wanted is told by the pull of run 2",
    ]);
    alone.explain(&["fay@elsewhere.example"], 0).expect_words(&[
        "skipped: the domain of fay@elsewhere.example is not among",
        "adopt = true (by default)",
    ]);
    assert_eq!(alone.json("off@example.org")["account"], Value::Null);
}

#[test]
fn who_is_not_believed_to_be_gone_is_told_so() {
    let mut company = Company::new("");
    let alan = company.people.remove(2);
    let keyless = Person::new("keyless", "Kim", "Keyless");
    let without_key = keyless
        .entry()
        .replace(&format!("entryUUID: {}\n", keyless.key()), "");
    let ldif = directory(&company.people) + &without_key;
    company.dirsyncd.write_ldif(&ldif);
    company.dirsyncd.sync(3);
    let alone = company.offline();
    alone.explain(&[&alan.key()], 0).expect_words(&[
        "not seen, which is no proof of anything",
        "suspended: not seen, and not believed to be gone: source `directory`: entries without a usable key: 1",
    ]);
    // Somebody without a key is found by the DN.
    alone
        .explain(&[&keyless.dn().to_uppercase()], 0)
        .expect_words(&[
            "key         none that is usable",
            "refused: the entry has no `entryUUID`",
        ]);
}

#[test]
fn the_ways_to_an_account_are_told() {
    let company = Company::new("");
    let mut people = company.people.clone();
    company
        .organization
        .create_by_hand("known@example.org", "Known", Some("other-key"));
    people.push(Person::new("known", "Kay", "Known"));
    let ada = people.remove(0);
    let anew = ada.anew();
    people.push(anew.clone());
    let company = Company { people, ..company };
    company.sync(0);
    let alone = company.offline();
    alone.explain(&["known@example.org"], 0).expect_words(&[
        "adopted by run 2 at ",
        "the organization has this account already (same e-mail)",
    ]);
    alone.explain(&["countess@example.org"], 0).expect_words(&[
        "created by run 1 at ",
        "rehired by run 2 at ",
        "back under a new key (same employee number)",
        &format!("formerly under the key {}", ada.key()),
        "run 1 create done",
    ]);
    let few = alone.explain(&["countess@example.org", "--limit", "1"], 0);
    let few = few.expect_words(&["run 2 update done", "… and 1 older (`--limit`)"]);
    assert!(!few.stdout.contains("run 1 create done"), "{few}");
}

#[test]
fn what_failed_is_told_with_its_error() {
    let mut company = Company::new("");
    "Manager".clone_into(&mut company.people[0].title);
    company.organization.faults(&serde_json::json!([
        {"match": "^(PUT|PATCH) ", "times": 100, "status": 403}
    ]));
    company.sync(4);
    let alone = company.offline();
    alone.explain(&["ada@example.org"], 0).expect_words(&[
        "≠ title: the account has Engineer, the directory wants Manager",
        "what is wanted is told by what run 2 was going to do",
        "failed: update, changed in the directory: ",
    ]);
}

#[test]
fn each_run_replaces_what_the_last_one_said() {
    let mut company = Company::new("");
    company
        .people
        .push(Person::new("mute", "Mia", "Mute").with_mail(None));
    company.sync(3);
    let dn = company.people[4].dn();
    company
        .explain(&dn)
        .expect_words(&["last run    2 (sync)", "refused: "]);
    // A run that does not get to a plan changes nothing of it.
    std::fs::write(company.dirsyncd.ldif_file(), "no LDIF").unwrap();
    company.dirsyncd.sync(1);
    company.explain(&dn).expect_words(&[
        "last run    2 (sync)",
        "refused: ",
        "since then  3 (sync)",
        "failed: ",
    ]);
    company.people[4].mail = Some("mute@example.org".to_owned());
    company.sync(0);
    let output = company.explain(&dn).expect_words(&["created by run 4"]);
    assert!(!output.stdout.contains("refused"), "{output}");
    let verdicts = "SELECT dn FROM verdicts";
    assert!(database::texts(&company.dirsyncd.database(), verdicts).is_empty());
}

#[test]
fn without_a_database_or_with_an_older_one_it_is_told_what_to_do() {
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&Person::four()));
    let explain = |code| {
        dirsyncd
            .run(&["explain", "ada@example.org"])
            .expect_code(code)
    };
    explain(2).expect_words(&["there is no database ", "the first sync makes it"]);
    assert!(!dirsyncd.database().exists());
    dirsyncd.sync(0);
    explain(0);
    let newest = "(SELECT max(version) FROM _sqlx_migrations)";
    database::execute(
        &dirsyncd.database(),
        &format!("DELETE FROM _sqlx_migrations WHERE version = {newest}"),
    );
    explain(1).expect_words(&["is of an older dirsyncd; `dirsyncd sync` brings it up to date"]);
}

#[test]
fn of_a_server_that_is_followed_it_is_told_what_the_last_pull_said() {
    let mut world = World::of(&Person::four());
    "[guards]\nupdate = { at_most = 0 }\ndeactivate = { at_most = 0 }\n"
        .clone_into(&mut world.dirsyncd.rest);
    world.dirsyncd.sync(0);
    let [ada, grace, alan, barbara] = &Person::four()[..] else {
        panic!()
    };
    world.slapd.replace(&ada.dn(), &[("title", "Manager")]);
    world.slapd.delete(&alan.dn());
    world
        .slapd
        .replace(&barbara.dn(), &[("mail", "no address")]);
    world.dirsyncd.sync(3);
    let World {
        slapd,
        mut organization,
        dirsyncd,
    } = world;
    organization.kill();
    drop(slapd);
    // The secrets are not needed either, and are shown nowhere.
    let output = dirsyncd.run(&["plan"]);
    assert_eq!(output.code, Some(1), "both sides are away: {output}");
    std::fs::remove_file(dirsyncd.password_file()).unwrap();
    let alone = Alone(dirsyncd);
    let updated = [
        "what changed (in full at ",
        "≠ title: the account has Engineer, the directory wants Manager",
        "what is wanted is told by the pull of run 2",
        "held by `update`: update, changed in the directory",
    ];
    alone
        .explain(&["ada@example.org"], 0)
        .expect_words(&updated);
    alone.explain(&[&alan.key()], 0).expect_words(&[
        "no longer in the directory; the account's departure is planned, and not done",
        "held by `deactivate`: deactivate, no longer in the directory",
    ]);
    alone
        .explain(&[&barbara.dn().to_uppercase()], 0)
        .expect_words(&[
            "an entry that no account can be made of: the value of `email`, \"no address\"",
            "refused: ",
        ]);
    alone
        .explain(&["grace@example.org"], 0)
        .expect_words(&["in scope, and as the account is"]);
    assert_eq!(
        alone.json(&grace.key())["said"],
        "in scope, and as the account is"
    );
}
