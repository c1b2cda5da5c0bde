//! Reading the organization back: hand changes are told or taken over, a lost database is made again, and nothing is
//! ever written to the organization by it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::organization::Mark;
use crate::support::people::directory;
use crate::support::{
    Account, Dirsyncd, Organization, Output, Person, SOON, World, database, eventually, replaced,
};

/// Guards that let through what these tests do.
const WIDE: &str = "[guards]\ncreate = { at_most = 50 }\nupdate = { at_most = 50 }\ndeactivate = { at_most = 50 }\ndelete = { at_most = 50 }\nchange_email = { at_most = 50 }\nsame_attribute = { at_most = 50 }\n";

impl World {
    /// Reconciles, which must end with this code and write nothing to the organization.
    #[track_caller]
    fn reconcile(&self, arguments: &[&str], code: i32) -> Output {
        let before = self.before();
        let output = self.dirsyncd.run(&[&["reconcile"], arguments].concat());
        before.expect_organization_unchanged();
        output.expect_code(code)
    }

    fn rows(&self) -> Vec<String> {
        database::accounts(&self.dirsyncd.database())
    }

    fn texts(&self, query: &str) -> Vec<String> {
        database::texts(&self.dirsyncd.database(), query)
    }

    /// Loses the database.
    fn lose(&self) {
        let state = self.dirsyncd.state();
        std::fs::remove_dir_all(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
    }
}

/// Everybody's row as it is without the moments, which nobody knows any more.
fn timeless(world: &World) -> Vec<String> {
    world.texts(
        "SELECT json_array(external_id, source, dn, scim_id, account_id, profile, lifecycle, hex(digest), departed_pulls) \
         FROM accounts ORDER BY external_id",
    )
}

#[test]
fn hand_changes_of_each_kind_are_told_and_nothing_is_changed() {
    let people = Person::several(6);
    let world = World::synced(&people);
    let [changed, off, gone, taken, both, _] = &people[..] else {
        unreachable!()
    };
    let organization = &world.organization;
    organization.patch_by_hand(&world.account(changed), "title", &json!("Queen"));
    organization.patch_by_hand(&world.account(off), "active", &json!(false));
    organization.delete_by_hand(&world.account(gone));
    organization.patch_by_hand(
        &world.account(taken),
        "externalId",
        &json!("another-tool-7"),
    );
    organization.patch_by_hand(&world.account(both), "displayName", &json!("Somebody Else"));
    organization.patch_by_hand(&world.account(both), "active", &json!(false));
    organization.create_by_hand("robot@example.org", "The Robot", Some("another-tool-8"));
    let joiner = Person::new("radia", "Radia", "Perlman");
    organization.create_by_hand(joiner.mail.as_ref().unwrap(), "R. Perlman", None);
    world.slapd.add(&joiner);
    let words = [
        "Changed in the organization (5)",
        "title  Engineer → Queen",
        "active  true → false",
        "the organization does not have it any more",
        "externalId  ",
        " → another-tool-7",
        "displayName  Pat Person 04 → Somebody Else",
        "only told: changed, deactivated",
        "only told: deleted",
        "only told: rekeyed",
        "next sync: nothing to do",
        "Nobody's of ours (2)",
        "The Robot <robot@example.org>",
        "externalId another-tool-8",
        "left alone: nobody in the directory has its key",
        "next sync: adopt for uid=radia,",
        "Reconciled: 5 of 6 accounts changed in the organization, 5 only told, 2 nobody's.",
    ];

    let before = world.before();
    let output = world.dirsyncd.run(&["reconcile", "--dry-run"]);
    before.expect_unchanged();
    output
        .expect_code(3)
        .expect_words(&words)
        .expect_words(&["A dry run"]);

    let rows = world.rows();
    let output = world.reconcile(&[], 3).expect_words(&words);
    assert!(!output.stdout.contains("taken over"), "{output}");
    assert_eq!(world.rows(), rows);
    let run = world.texts("SELECT trigger || ' ' || outcome FROM runs ORDER BY id DESC LIMIT 1");
    assert_eq!(run, ["reconcile incomplete"]);

    let output = world.reconcile(&["--format", "json"], 3);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let kinds: Vec<&Value> = report["drifts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|drift| &drift["kinds"])
        .collect();
    for kind in [
        json!(["changed"]),
        json!(["deactivated"]),
        json!(["deleted"]),
        json!(["rekeyed"]),
        json!(["changed", "deactivated"]),
    ] {
        assert!(kinds.contains(&&kind), "{kind} in {report:#}");
    }
    assert_eq!(report["summary"]["only_told"], 5);
    assert_eq!(report["unmanaged"].as_array().unwrap().len(), 2);
    // As a sync sees it, nobody but the joiner has changed.
    world
        .dirsyncd
        .sync(0)
        .expect_words(&["1 to adopt", "0 to update", "Done: 1 applied."]);
}

#[test]
fn what_is_taken_over_the_next_sync_corrects() {
    let people = Person::several(7);
    let mut world = World::of(&people);
    world.dirsyncd.rest = WIDE.to_owned();
    world.dirsyncd.sync(0);
    let [changed, off, gone, leaver, disabled, moved, _] = &people[..] else {
        unreachable!()
    };
    world.slapd.delete(&leaver.dn());
    world
        .slapd
        .replace(&disabled.dn(), &[("employeeType", "leaver")]);
    world.dirsyncd.sync(0).expect_words(&["2 to deactivate"]);
    let before = world.organization.accounts();
    let organization = &world.organization;
    organization.patch_by_hand(&world.account(changed), "title", &json!("Queen"));
    organization.patch_by_hand(&world.account(off), "active", &json!(false));
    for person in [leaver, disabled] {
        organization.patch_by_hand(&world.account(person), "active", &json!(true));
    }
    organization.delete_by_hand(&world.account(gone));
    let emails = json!([{"value": "elsewhere@example.org", "type": "work", "primary": true}]);
    organization.patch_by_hand(&world.account(moved), "emails", &emails);
    let rows = world.rows();

    let output = world.dirsyncd.run(&["reconcile", "--correct", "--dry-run"]);
    output.expect_code(0).expect_words(&["6 taken over"]);
    assert_eq!(world.rows(), rows);
    world.reconcile(&["--correct"], 0).expect_words(&[
        "title  Engineer → Queen",
        "taken over: changed",
        "taken over: deactivated",
        "taken over: activated",
        "taken over: deleted",
        "next sync: update, ",
        "next sync: restore, ",
        "next sync: deactivate, ",
        "next sync: create, ",
        "email  p05@example.org → elsewhere@example.org",
        "The next sync: Plan: 1 to create, 2 to update, 1 to restore, 2 to deactivate",
        "Reconciled: 6 of 7 accounts changed in the organization, 6 taken over.",
    ]);
    // How the rows were is kept.
    let kept = world.texts("SELECT before FROM reconciled ORDER BY external_id");
    assert_eq!(kept.len(), 6);
    let title = format!(
        "SELECT (before ->> '$.profile.title') || ' ' || (after ->> '$.profile.title') || ' ' || what FROM reconciled WHERE external_id = '{}'",
        changed.key()
    );
    assert_eq!(world.texts(&title), ["Engineer Queen [\"changed\"]"]);

    world.dirsyncd.sync(0).expect_words(&["Done: 6 applied."]);
    assert_eq!(world.organization.accounts(), before);
    world.dirsyncd.expect_nothing_to_do();
    world
        .reconcile(&[], 0)
        .expect_words(&["Reconciled: 0 of 7 accounts changed in the organization."]);
}

#[test]
fn only_what_is_configured_or_named_is_taken_over() {
    let people = Person::several(6);
    let mut world = World::synced(&people);
    let mess = |world: &World| {
        let title = json!("Queen");
        let organization = &world.organization;
        organization.patch_by_hand(&world.account(&people[0]), "title", &title);
        organization.patch_by_hand(&world.account(&people[0]), "active", &json!(false));
    };
    mess(&world);
    world.dirsyncd.rest = "[reconcile]\ncorrect = [\"changed\"]\n".to_owned();
    world
        .reconcile(&[], 3)
        .expect_words(&["taken over: changed", "only told: deactivated"]);
    world.dirsyncd.sync(0).expect_words(&["1 to update"]);
    let account = world.account(&people[0]);
    assert_eq!(account.title.as_deref(), Some("Engineer"));
    assert!(!account.active);
    // The command line goes before the file.
    mess(&world);
    world
        .reconcile(&["--correct", "deactivated"], 3)
        .expect_words(&["taken over: deactivated", "only told: changed"]);
    world.dirsyncd.sync(0).expect_words(&["1 to restore"]);
    assert!(world.account(&people[0]).active);
    world
        .dirsyncd
        .run(&["reconcile", "--correct", "rekeyed"])
        .expect_code(2)
        .expect_words(&["`rekeyed` is nothing that can be corrected"]);
}

#[test]
fn too_much_at_once_is_taken_for_a_fault() {
    let people = Person::several(8);
    let mut world = World::synced(&people);
    world.dirsyncd.rest = "[reconcile]\nlimit = { at_most = 1 }\n".to_owned();
    let accounts: Vec<Account> = people.iter().map(|one| world.account(one)).collect();
    for account in &accounts[..2] {
        world
            .organization
            .patch_by_hand(account, "title", &json!("Queen"));
    }
    world
        .organization
        .patch_by_hand(&accounts[2], "active", &json!(false));
    // Of the kind that is too much nothing is taken over; of the other it is.
    world.reconcile(&["--correct"], 3).expect_words(&[
        "Too much to be taken over (1)",
        "changed: 2 of 8 accounts, and `limit` in [reconcile] allows 1",
        "taken over: deactivated",
        "1 taken over, 2 only told",
    ]);
    for account in &accounts[3..5] {
        world.organization.delete_by_hand(account);
    }
    let rows = world.rows();
    for arguments in [&[][..], &["--correct"], &["--rebuild"]] {
        world.reconcile(arguments, 3).expect_words(&[
            "2 of 8 accounts are not in the organization's list",
            "nothing is changed; check `directory` and `scim_key`",
        ]);
        assert_eq!(world.rows(), rows, "{arguments:?}");
    }
}

/// What a proxy makes of a page of users.
type Spoil = Arc<dyn Fn(&str, Value) -> Value + Send + Sync>;

/// An organization between which and the program a proxy spoils the lists of users.
fn spoiled(organization: &Organization, spoil: Spoil) -> String {
    let target = organization.url.clone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("\"http://{}\"", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let app = axum::Router::new().fallback(move |request: axum::extract::Request| {
                let (client, target, spoil) = (client.clone(), target.clone(), spoil.clone());
                async move {
                    let asked = request.uri().to_string();
                    let key = request.headers()["authorization"].to_str().unwrap();
                    let read = client.get(format!("{target}{asked}"));
                    let answer = read.header("authorization", key).send().await.unwrap();
                    let status = answer.status().as_u16();
                    let mut body: Value = answer.json().await.unwrap();
                    if asked.contains("/Users?startIndex=") {
                        body = spoil(&asked, body);
                    }
                    let status = axum::http::StatusCode::from_u16(status).unwrap();
                    (status, axum::Json(body))
                }
            });
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
    });
    replaced(&organization.block, "api", &url)
}

#[test]
fn a_list_that_is_short_or_goes_round_forgets_nobody() {
    let people = Person::several(6);
    let mut world = World::synced(&people);
    let rows = world.rows();
    let short: Spoil = Arc::new(|_, mut page| {
        page["Resources"].as_array_mut().unwrap().pop();
        page["totalResults"] = json!(page["totalResults"].as_u64().unwrap() - 1);
        page
    });
    let first = std::sync::Mutex::new(None);
    let round: Spoil = Arc::new(move |_, mut page| {
        page["totalResults"] = json!(12);
        first.lock().unwrap().get_or_insert(page).clone()
    });
    let cut: Spoil = Arc::new(|asked, mut page| {
        if !asked.contains("startIndex=1&") {
            page["Resources"] = json!([]);
        }
        page["totalResults"] = json!(7);
        page
    });
    for (spoil, words) in [
        (short, "can be read by its id: the list is incomplete"),
        (round, "the pages repeat"),
        (cut, "the pages end after 6 of 7"),
    ] {
        let block = spoiled(&world.organization, spoil);
        let honest = std::mem::replace(&mut world.dirsyncd.organization, block);
        for arguments in [&["--correct"][..], &["--rebuild"]] {
            world.reconcile(arguments, 1).expect_words(&[words]);
            assert_eq!(world.rows(), rows);
        }
        world.dirsyncd.organization = honest;
    }
    world.reconcile(&[], 0);
}

#[test]
fn without_a_database_there_is_nothing_to_compare_with() {
    let world = World::of(&Person::four());
    world
        .reconcile(&[], 2)
        .expect_words(&["there is no database", "reconcile --rebuild"]);
    assert!(!world.dirsyncd.database().exists());
}

/// Syncs, and nothing may be sent.
#[track_caller]
fn expect_in_step(world: &World, mark: Mark) {
    world.dirsyncd.expect_nothing_to_do();
    world.dirsyncd.sync(0);
    let writes = world.organization.writes_since(mark);
    assert!(writes.is_empty(), "{writes:?}");
}

#[test]
fn a_lost_database_is_made_again_without_a_write() {
    let mut people = Person::several(12);
    people[3] = people[3].clone().without_employee_number();
    let mut world = World::of(&people);
    world.dirsyncd.rest = WIDE.to_owned();
    world.dirsyncd.mapping += "employeeNumber = \"employeeNumber\"\n";
    world.dirsyncd.sync(0);
    let [off, leaver, ..] = &people[..] else {
        unreachable!()
    };
    world
        .slapd
        .replace(&off.dn(), &[("employeeType", "leaver")]);
    world.slapd.delete(&leaver.dn());
    world.dirsyncd.sync(0).expect_words(&["2 to deactivate"]);
    world.dirsyncd.expect_nothing_to_do();
    let mut rows = timeless(&world);
    rows.retain(|row| !row.contains(&leaver.key()));
    world
        .organization
        .create_by_hand("robot@example.org", "The Robot", None);
    world.lose();
    let mark = world.organization.mark();

    let output = world.dirsyncd.run(&["reconcile", "--rebuild", "--dry-run"]);
    output
        .expect_code(0)
        .expect_words(&["Taken in anew (11)", "The next sync: Nothing to do"]);
    assert!(!world.dirsyncd.database().exists());
    world.reconcile(&["--rebuild"], 0).expect_words(&[
        "Taken in anew (11)",
        "Nobody's of ours (2)",
        "The next sync: Nothing to do: ",
        "Reconciled: 0 of 0 accounts changed in the organization, 11 taken in anew, 2 nobody's.",
        "since when people are away, holds, what\nwas reverted",
        "No approval from before counts any more.",
    ]);

    assert_eq!(timeless(&world), rows);
    expect_in_step(&world, mark);
    // Once more changes nothing.
    world
        .reconcile(&["--rebuild"], 0)
        .expect_words(&["Reconciled: 0 of 11 accounts changed in the organization, 2 nobody's."]);
    assert_eq!(timeless(&world), rows);
    // And life goes on.
    world.slapd.delete(&people[2].dn());
    world.slapd.replace(&people[4].dn(), &[("title", "Queen")]);
    world.dirsyncd.sync(0).expect_words(&[
        "1 to update, 0 to restore, 1 to deactivate",
        "Done: 2 applied.",
    ]);
}

#[test]
fn who_left_while_the_database_was_lost_departs_by_somebodys_word_only() {
    let people = Person::several(12);
    let mut world = World::synced(&people);
    let leaver = &people[5];
    world.lose();
    world.slapd.delete(&leaver.dn());
    // One whose login is off already waits for nobody.
    let organization = &world.organization;
    let gone = organization.create_by_hand("gone@example.org", "Long Gone", Some("0-gone"));
    organization.patch_by_hand(&gone, "active", &json!(false));
    let told = world.reconcile(&["--rebuild"], 3).expect_words(&[
        "Nobody's of ours (2)",
        "login on, SCIM id",
        &format!("externalId {}", leaver.key()),
        &format!(
            "if that is a person who has left: dirsyncd reconcile --rebuild --claim {}",
            leaver.key()
        ),
        "<gone@example.org>, login off, SCIM id",
        "left alone: nobody in the directory has its key",
        "2 nobody's, 1 of them with login on.",
    ]);
    let place = |word: &str| told.stdout.find(word).unwrap();
    assert!(place("login on") < place("login off"), "{told}");
    let output = world.reconcile(&["--rebuild", "--format", "json"], 3);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["summary"]["unclaimed"], 1);
    assert_eq!(report["unmanaged"][0]["is_unclaimed"], true);
    assert_eq!(report["unmanaged"][1]["is_unclaimed"], false);
    // Without a rebuild it is not known to be anybody's who was ours.
    world.reconcile(&[], 0);
    world.dirsyncd.sync(0);
    assert!(world.account(leaver).active);

    for (key, words) in [
        (
            people[0].key(),
            "no account that is nobody's carries the key",
        ),
        ("nonsense".to_owned(), "the key nonsense: claim a key that"),
    ] {
        world
            .reconcile(&["--rebuild", "--claim", &key], 2)
            .expect_words(&[words]);
    }
    let key = leaver.key();
    let second = "[[source]]\nname = \"more\"\nkind = \"ldif\"\npreset = \"openldap\"\nfile = \"more.ldif\"\nbase = \"dc=more\"\n";
    let claim = ["--rebuild", "--claim", key.as_str()];
    world.dirsyncd.set_source("name", "\"first\"");
    world.dirsyncd.rest = second.to_owned();
    std::fs::write(world.dirsyncd.folder().join("more.ldif"), directory(&[])).unwrap();
    world
        .reconcile(&claim, 2)
        .expect_words(&["say by --source NAME", "first, more"]);
    world.dirsyncd.set_source("name", "\"directory\"");
    world.dirsyncd.rest.clear();
    world
        .reconcile(&claim, 0)
        .expect_words(&["Taken in anew (1)", "1 to deactivate"]);
    world.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    assert!(!world.account(leaver).active);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_leaver_whose_account_another_tool_has_taken_departs_by_somebodys_word_only() {
    let people = Person::several(6);
    let world = World::synced(&people);
    let leaver = &people[5];
    let organization = &world.organization;
    let account = world.account(leaver);
    organization.patch_by_hand(&account, "externalId", &json!("other-tool"));
    let theirs = || organization.of_key("other-tool").unwrap();
    world.slapd.delete(&leaver.dn());
    let mark = organization.mark();

    // Before anybody has read the organization back, the key is read before the login is taken.
    world
        .dirsyncd
        .sync(4)
        .expect_words(&["carries the key `other-tool`", "run `dirsyncd reconcile`"]);
    world.reconcile(&[], 3).expect_words(&[
        "only told: rekeyed",
        &format!(
            "held as `rekeyed` until a reconcile finds the key {} there again, or somebody approves it",
            leaver.key()
        ),
        "next sync: deactivate, ",
        "[held: rekeyed]",
    ]);
    // From then on it is held, by every run.
    for _ in 0..2 {
        world.dirsyncd.sync(3).expect_words(&[
            "`dirsyncd reconcile` found another key on the account",
            "dirsyncd approve rekeyed --reason",
        ]);
    }
    assert_eq!(organization.writes_since(mark).len(), 0);
    assert!(theirs().active);
    world
        .dirsyncd
        .run(&["explain", &leaver.key()])
        .expect_code(0)
        .expect_words(&["carries the key other-tool", "held as `rekeyed`"]);
    world
        .dirsyncd
        .run(&["holds"])
        .expect_code(0)
        .expect_words(&["rekeyed #1", &leaver.key()]);

    let approve = ["approve", "rekeyed", "--reason", "the other tool is gone"];
    world.dirsyncd.run(&approve).expect_code(0);
    world.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    assert!(!theirs().active);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn an_account_with_another_key_is_left_alone_until_a_reconcile_finds_its_own_again() {
    let people = Person::several(6);
    let world = World::synced(&people);
    let person = &people[2];
    let organization = &world.organization;
    let account = world.account(person);
    let mark = organization.mark();
    organization.patch_by_hand(&account, "externalId", &json!(null));
    let ours = organization.writes_since(mark).len();
    world.slapd.replace(&person.dn(), &[("title", "Queen")]);
    // A dry run remembers nothing, and tells the same.
    let dry = world.dirsyncd.run(&["reconcile", "--dry-run"]);
    dry.expect_code(3).expect_words(&["[held: rekeyed]"]);
    assert_eq!(world.texts("SELECT scim_id FROM rekeyed"), [""; 0]);
    world
        .reconcile(&[], 3)
        .expect_words(&["externalId  ", " → (none)", "[held: rekeyed]"]);
    assert_eq!(
        world.texts("SELECT scim_id FROM rekeyed"),
        std::slice::from_ref(&account.scim_id)
    );
    world.dirsyncd.sync(3).expect_words(&["rekeyed"]);
    assert_eq!(organization.writes_since(mark).len(), ours);

    organization.patch_by_hand(&account, "externalId", &json!(person.key()));
    world.dirsyncd.sync(3).expect_words(&["rekeyed"]);
    world.reconcile(&[], 0);
    world.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    assert_eq!(world.account(person).title.as_deref(), Some("Queen"));
}

/// Keeps the database, which nobody uses, and puts it back.
struct Backup(PathBuf, tempfile::TempDir);

impl Backup {
    fn of(dirsyncd: &Dirsyncd) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(dirsyncd.database(), folder.path().join("dirsyncd.db")).unwrap();
        Backup(dirsyncd.database(), folder)
    }

    fn restore(&self) {
        let state = self.0.parent().unwrap();
        std::fs::remove_dir_all(state).unwrap();
        std::fs::create_dir(state).unwrap();
        std::fs::copy(self.1.path().join("dirsyncd.db"), &self.0).unwrap();
    }
}

#[test]
fn a_backup_from_before_some_runs_catches_up_without_a_write() {
    let people = Person::several(12);
    let mut world = World::of(&people);
    world.dirsyncd.rest = WIDE.to_owned();
    world.dirsyncd.mapping += "employeeNumber = \"employeeNumber\"\n";
    world.dirsyncd.sync(0);
    let [mover, leaver, off, again, away, ..] = &people[..] else {
        unreachable!()
    };
    world.slapd.delete(&away.dn());
    world.dirsyncd.sync(0);
    let backup = Backup::of(&world.dirsyncd);

    // A joiner, a mover, two leavers, one who is disabled, an entry that is made anew, one who is back.
    world.slapd.replace(
        &mover.dn(),
        &[("title", "Queen"), ("mail", "queen@example.org")],
    );
    world.slapd.delete(&leaver.dn());
    world
        .slapd
        .replace(&off.dn(), &[("employeeType", "leaver")]);
    world.slapd.delete(&again.dn());
    let mut anew = again.anew();
    anew.mail.clone_from(&again.mail);
    world.slapd.add(&anew);
    world.slapd.add(away);
    let joiner = Person::new("radia", "Radia", "Perlman");
    world.slapd.add(&joiner);
    world.dirsyncd.sync(0).expect_words(&["Done: 6 applied."]);
    world.dirsyncd.expect_nothing_to_do();
    let accounts = world.organization.accounts();
    assert_eq!(accounts.len(), 13);
    let rows = timeless(&world);

    backup.restore();
    let mark = world.organization.mark();
    world
        .reconcile(&["--rebuild"], 0)
        .expect_words(&["The next sync: Nothing to do: "]);
    expect_in_step(&world, mark);
    assert_eq!(world.organization.accounts(), accounts);
    assert_eq!(timeless(&world), rows);
}

#[test]
fn the_admin_way_reads_each_account_by_its_id() {
    let people = Person::several(6);
    let mut world = World::of(&people);
    world.dirsyncd.organization = world.organization.admin_block();
    world.dirsyncd.sync(0);
    let mail = people[0].mail.clone().unwrap();
    let account = world.organization.managed(&mail).unwrap();
    let id = account["account_id"].as_str().unwrap();
    let profile = json!({"extended_profile": {"job_title": "Queen"}});
    world
        .organization
        .manage_by_hand("PATCH", id, "profile", &profile);
    let reason = json!({"message": "by hand"});
    world
        .organization
        .manage_by_hand("POST", id, "lifecycle/disable", &reason);

    world.reconcile(&["--correct"], 0).expect_words(&[
        "title   Engineer → Queen",
        "taken over: changed, deactivated",
        "Reconciled: 1 of 6 accounts changed",
    ]);
    world.dirsyncd.sync(0).expect_words(&["1 to restore"]);
    let account = world.organization.managed(&mail).unwrap();
    assert_eq!(account["account_status"], "active");
    assert_eq!(account["extended_profile"]["job_title"], "Engineer");
    world
        .reconcile(&["--rebuild"], 2)
        .expect_words(&["accounts carry no keys", "`dirsyncd sync` finds them"]);
}

#[test]
fn the_daemon_reconciles_on_a_schedule_of_its_own() {
    let people = Person::four();
    let mut world = World::synced(&people);
    world.dirsyncd.rest = "[schedule]\nsync = \"* * * * * *\"\nreconcile = \"* * * * * *\"\n[reconcile]\ncorrect = [\"changed\"]\n".to_owned();
    let daemon = world.dirsyncd.start(&["run"]);
    eventually("a reconciliation", SOON, || {
        daemon.stderr().contains("Reconciled: 0 of 4").then_some(())
    });
    let account = world.account(&people[0]);
    world
        .organization
        .patch_by_hand(&account, "title", &json!("Queen"));
    eventually("the correction", SOON, || {
        let title = world.account(&people[0]).title;
        let log = daemon.stderr();
        (title.as_deref() == Some("Engineer") && log.contains("taken_over=true")).then_some(())
    });
    daemon.signal("TERM");
    daemon.wait().expect_code(0);
    let triggers = world.texts("SELECT DISTINCT trigger FROM runs ORDER BY trigger");
    assert_eq!(triggers, ["reconcile", "schedule", "sync"]);
}

#[test]
fn an_approval_in_a_restored_backup_is_good_for_nothing_any_more() {
    let people = Person::several(12);
    let mut world = World::of(&people);
    world.dirsyncd.rest = "[guards]\ndeactivate = { at_most = 0 }\n".to_owned();
    world.dirsyncd.sync(0);
    world.slapd.delete(&people[0].dn());
    world.dirsyncd.sync(3);
    let approve = ["approve", "deactivate", "--reason", "it was right"];
    world.dirsyncd.run(&approve).expect_code(0);
    let backup = Backup::of(&world.dirsyncd);
    world.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    // Somebody has turned it on again since, and that is not what was approved.
    let account = world.account(&people[0]);
    world
        .organization
        .patch_by_hand(&account, "active", &json!(true));
    backup.restore();
    world.reconcile(&["--rebuild"], 0);
    world.dirsyncd.sync(3).expect_words(&["held: deactivate"]);
    assert!(world.account(&people[0]).active);
}

#[test]
fn an_account_that_carries_somebodys_key_in_other_letters_does_not_replace_the_living_one() {
    let people = Person::four();
    let world = World::synced(&people);
    let ada = world.account(&people[0]);
    let key = people[0].key().to_uppercase();
    assert_ne!(key, people[0].key());
    world
        .organization
        .create_by_hand("other@example.org", "Another tool's", Some(&key));
    // With a change of hers she is read of from the directory, not from her row.
    let dn = people[0].dn();
    world.slapd.replace(&dn, &[("title", "Countess")]);
    world
        .reconcile(&["--rebuild"], 0)
        .expect_words(&["left alone: its key is that of"]);
    let rows = world.texts("SELECT scim_id FROM accounts");
    assert!(rows.contains(&ada.scim_id), "{rows:?}");
    assert_eq!(rows.len(), 4);
    world.dirsyncd.sync(0).expect_words(&["Done: 1 applied."]);
    assert_eq!(world.account(&people[0]).title.as_deref(), Some("Countess"));
}
