//! A verb is asked for what cannot be.

use std::path::Path;

use serde_json::Value;

use crate::catalogue::Chapter;
use crate::support::directory::free_port;
use crate::support::{
    Dirsyncd, Organization, Person, SOON, database, eventually, people, set_mode, write_private,
};

/// An LDIF file of four people and an empty organization.
fn world() -> (Organization, Dirsyncd) {
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&Person::four()));
    (organization, dirsyncd)
}

/// Runs each of these, which must not succeed, and keeps what it says and the exit code.
#[track_caller]
fn told(chapter: &mut Chapter, dirsyncd: &Dirsyncd, all: &[&[&str]]) {
    for words in all {
        println!("{words:?}");
        let output = dirsyncd.run(words);
        assert_ne!(output.code, Some(0), "{output}");
        chapter.met(&format!("dirsyncd {}", words.join(" ")), &output);
    }
}

#[test]
fn words_that_no_verb_takes() {
    let (_organization, dirsyncd) = world();
    let mut chapter = Chapter::default();
    let all: [&[&str]; 17] = [
        &[],
        &["plna"],
        &["plan", "--formt", "json"],
        &["plan", "--format", "xml"],
        &["plan", "--limit", "few"],
        &["plan", "--full", "--user", "ada"],
        &["sync", "--detailed-exitcode"],
        &["sync", "now"],
        &["approve"],
        &["approve", "deactivate"],
        &["revert", "0"],
        &["history", "--since", "yesterday"],
        &["history", "--kind", "move"],
        &["reconcile", "--correct", "rekeyed"],
        &["simulate"],
        &[
            "simulate",
            "--state",
            "x",
            "--domain",
            "example.org",
            "--limit",
            "5",
        ],
        &["init", "--anonymous", "--bind-dn", "cn=a"],
    ];
    for words in all {
        let output = dirsyncd.run_bare(words).expect_code(2);
        let title = format!("dirsyncd {}", words.join(" "));
        // Without a word it shows the help, which is no error.
        match words {
            [] => output.expect_words(&["Usage: dirsyncd <COMMAND>"]),
            _ => {
                chapter.met(&title, &output);
                output
            }
        };
    }
    chapter.end("usage");
}

#[test]
fn a_database_that_is_not_there_yet() {
    let (_organization, dirsyncd) = world();
    let mut chapter = Chapter::default();
    let copy = dirsyncd.folder().join("copy.db").display().to_string();
    told(
        &mut chapter,
        &dirsyncd,
        &[
            &["approve", "deactivate", "--reason", "why"],
            &["retry", "--all"],
            &["explain", "ada"],
            &["history"],
            &["prune"],
            &["backup", &copy],
        ],
    );
    told(&mut chapter, &dirsyncd, &[&["reconcile"]]);
    chapter.end("no_database_yet");
}

#[test]
fn names_that_nobody_has() {
    let (_organization, mut dirsyncd) = world();
    dirsyncd.rest = "[guards]\ndeactivate = { at_most = 0 }\n".to_owned();
    dirsyncd.sync(0);
    let left: Vec<Person> = Person::four().drain(1..).collect();
    dirsyncd.write_ldif(&people::directory(&left));
    dirsyncd.sync(3);
    let empty = dirsyncd.folder().join("empty.ldif");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.display().to_string();
    let mut chapter = Chapter::default();
    told(
        &mut chapter,
        &dirsyncd,
        &[
            &["approve", "delete", "--reason", "why"],
            &[
                "approve",
                "deactivate",
                "--only",
                "grace@example.org",
                "--reason",
                "why",
            ],
            &[
                "approve",
                "deactivate",
                "--only",
                "nobody",
                "--reason",
                "why",
            ],
            &["retry", "ada@example.org"],
            &["explain", "nobody"],
            &["explain", "example.org"],
            &["history", "--run", "99"],
            &["history", "--account", "nobody"],
            &["history", "--group", "nobody"],
            &["map", "nobody"],
            &["map", "uid=ada,dc=example,dc=org", "--source", "other"],
            &["map", "--preset", "novell"],
            &["plan", "--user", "nobody"],
            &["plan", "--user", "Ada Lovelace"],
            &["plan", "--output", "report.docx"],
            &["plan", "--against", "nowhere.toml"],
            &["plan", "--against", "config.toml", "--format", "csv"],
            &["sync", "--user", "nobody"],
            &["revert", "99"],
            &["revert", "1", "--only", "nobody"],
        ],
    );
    told(
        &mut chapter,
        &dirsyncd,
        &[
            &["map", "uid=nobody,ou=people,dc=example,dc=org"],
            &["map", "nowhere.ldif"],
            &["map", &empty],
            &["plan", "--output", "/nowhere/report.html"],
        ],
    );
    chapter.end("names");
}

#[test]
fn saved_plans_that_cannot_be_carried_out() {
    let (_organization, dirsyncd) = world();
    let mut chapter = Chapter::default();
    let file = dirsyncd.folder().join("plan.json");
    let path = file.display().to_string();
    dirsyncd.run(&["plan", "--save", &path]).expect_code(0);
    chapter.met(
        "a plan is there already",
        &dirsyncd.run(&["plan", "--save", &path]).expect_code(2),
    );
    chapter.met(
        "the report is to be the plan",
        &dirsyncd
            .run(&["plan", "--force", "--save", &path, "--output", &path])
            .expect_code(2),
    );
    let saved: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let with = |key: &str, value: Value| {
        let mut changed = saved.clone();
        changed[key] = value;
        changed.to_string()
    };
    let undoing = {
        let mut changed = saved.clone();
        let undoes = serde_json::json!({"operations": [1], "lets_go": false});
        changed["operations"][0]["operation"]["undoes"] = undoes;
        changed.to_string()
    };
    for (wrong, text) in [
        ("it is no JSON", "{".to_owned()),
        ("it is no plan", "{\"format\": \"other\"}".to_owned()),
        ("it is of another version", with("version", 99.into())),
        ("its id was changed", with("id", "7".into())),
        ("it is cut", with("operations", 7.into())),
        ("a row undoes something", undoing),
    ] {
        write_private(&file, text);
        let output = dirsyncd.run(&["sync", "--plan", &path]);
        chapter.met(wrong, &output.expect_code(2));
    }
    write_private(&file, saved.to_string());
    set_mode(&file, 0o666);
    chapter.met(
        "everybody could have changed it",
        &dirsyncd.run(&["sync", "--plan", &path]).expect_code(2),
    );
    std::fs::remove_file(&file).unwrap();
    chapter.met(
        "it is not there",
        &dirsyncd.run(&["sync", "--plan", &path]).expect_code(2),
    );
    write_private(&file, saved.to_string());
    let another = Organization::start();
    let elsewhere = Dirsyncd::from_ldif(&another, &people::directory(&Person::four()));
    chapter.met(
        "it is another organization's",
        &elsewhere.run(&["sync", "--plan", &path]),
    );
    dirsyncd.run(&["sync", "--plan", &path]).expect_code(0);
    chapter.met(
        "it was applied already",
        &dirsyncd.run(&["sync", "--plan", &path]).expect_code(3),
    );
    chapter.end("saved_plan");
}

#[test]
fn backups_and_prunings_that_cannot_be_made() {
    let (_organization, mut dirsyncd) = world();
    dirsyncd.sync(0);
    let mut chapter = Chapter::default();
    let database = dirsyncd.database().display().to_string();
    let there = dirsyncd.folder().join("there.db");
    write_private(&there, "");
    let open = dirsyncd.folder().join("open.db");
    write_private(&dirsyncd.folder().join("open.db-wal"), "");
    let path = |path: &Path| path.display().to_string();
    told(
        &mut chapter,
        &dirsyncd,
        &[
            &["backup", &path(&there)],
            &["backup", &database, "--force"],
            &["backup", &path(&open)],
        ],
    );
    told(
        &mut chapter,
        &dirsyncd,
        &[&["backup", "/nowhere/a.db"], &["backup", "/"]],
    );
    dirsyncd.rest = "[journal]\nkeep = false\n".to_owned();
    told(&mut chapter, &dirsyncd, &[&["prune"]]);
    chapter.end("backup");
}

#[test]
fn reconciliations_that_cannot_be_made() {
    let (organization, mut dirsyncd) = world();
    dirsyncd.sync(0);
    let mut chapter = Chapter::default();
    told(
        &mut chapter,
        &dirsyncd,
        &[&["reconcile", "--rebuild", "--claim", "no-such-key"]],
    );
    dirsyncd.rest = "[reconcile]\nlimit = { at_most = 0 }\n".to_owned();
    organization.delete_by_hand(&organization.accounts()[0]);
    told(&mut chapter, &dirsyncd, &[&["reconcile"]]);
    dirsyncd.organization = organization.admin_block();
    told(&mut chapter, &dirsyncd, &[&["reconcile", "--rebuild"]]);
    told(&mut chapter, &dirsyncd, &[&["rehearse"]]);
    chapter.end("reconcile");
}

#[test]
fn daemons_that_cannot_run_or_be_asked() {
    let (_organization, mut dirsyncd) = world();
    let mut chapter = Chapter::default();
    told(&mut chapter, &dirsyncd, &[&["run"]]);
    told(
        &mut chapter,
        &dirsyncd,
        &[&["plan", "--daemon"], &["sync", "--daemon"]],
    );
    told(&mut chapter, &dirsyncd, &[&["status"]]);
    let nowhere = dirsyncd.folder().join("no.sock").display().to_string();
    let output = dirsyncd.run_bare(&["status", "--socket", &nowhere]);
    chapter.met("status --socket", &output.expect_code(3));
    told(
        &mut chapter,
        &dirsyncd,
        &[
            &["pause", "--why", "one\ntwo"],
            &["pause", "--why", &"x".repeat(2000)],
        ],
    );
    let schedule = "[schedule]\nsync = \"0 0 1 1 *\"\n";
    let daemon = |keys: &str| format!("{schedule}[daemon]\n{keys}\n");
    dirsyncd.rest = daemon("socket = false");
    told(&mut chapter, &dirsyncd, &[&["plan", "--daemon"]]);
    let short = dirsyncd.add_secret("short-token", "too short");
    dirsyncd.rest = daemon(&format!("listen = \"127.0.0.1:8765\"\ntoken = {short}"));
    told(&mut chapter, &dirsyncd, &[&["run"]]);
    dirsyncd.rest = daemon("listen = \"127.0.0.1:8765\"\ntoken = { env = \"NO_SUCH\" }");
    told(&mut chapter, &dirsyncd, &[&["run"]]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let token = dirsyncd.add_secret(
        "token",
        &"long enough for anybody "
            .repeat(3)
            .trim()
            .replace(' ', "-"),
    );
    let address = port.local_addr().unwrap();
    dirsyncd.rest = daemon(&format!(
        "socket = false\nlisten = \"{address}\"\ntoken = {token}"
    ));
    told(&mut chapter, &dirsyncd, &[&["run"]]);
    dirsyncd.rest = daemon("socket = \"config.toml\"");
    told(&mut chapter, &dirsyncd, &[&["run"]]);
    dirsyncd.rest = daemon("socket = \"nowhere/a.sock\"");
    told(&mut chapter, &dirsyncd, &[&["run"]]);
    // Two on one database, and then two on one socket.
    dirsyncd.rest = schedule.to_owned();
    let running = dirsyncd.start(&["run"]);
    let socket = dirsyncd.state().join("dirsyncd.db.sock");
    eventually("the daemon listens", SOON, || socket.exists().then_some(()));
    told(&mut chapter, &dirsyncd, &[&["run"]]);
    let other = dirsyncd.config().replace("dirsyncd.db", "other.db");
    let other = other + &format!("[daemon]\nsocket = {:?}\n", socket.display().to_string());
    let config = dirsyncd.folder().join("other.toml");
    std::fs::write(&config, other).unwrap();
    let config = config.display().to_string();
    for verb in [&["run"][..], &["sync", "--daemon"]] {
        let output = dirsyncd.run_bare(&[verb, &["--config", &config]].concat());
        chapter.met(
            &format!(
                "dirsyncd {}, of another database, on its socket",
                verb.join(" ")
            ),
            &output.expect_code(1),
        );
    }
    running.signal("TERM");
    running.wait().expect_code(0);
    chapter.end("daemon");
}

#[test]
fn channels_that_reach_nobody() {
    let (organization, mut dirsyncd) = world();
    let secret = dirsyncd.add_secret("secret", &format!("whsec_{}", "QUJD".repeat(11)));
    let slack = dirsyncd.add_secret("slack", "http://hooks.example.org/T0");
    let short = dirsyncd.add_secret("short", "whsec_QUJD");
    let no_ca = dirsyncd.folder().join("no-ca.pem");
    std::fs::write(&no_ca, "no certificate here\n").unwrap();
    let no_ca = no_ca.display().to_string();
    let closed = format!("127.0.0.1:{}", free_port());
    let webhook = |name: &str, url: &str, secret: &str| {
        format!("[[notify.webhook]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = {secret}\n")
    };
    let mail = |name: &str, url: &str, rest: &str| {
        format!(
            "[[notify.email]]\nname = \"{name}\"\nurl = \"{url}\"\nfrom = \"a@example.org\"\nto = \"b@example.org\"\n{rest}\n"
        )
    };
    dirsyncd.rest = [
        webhook("closed", &format!("http://{closed}/"), &secret),
        webhook("refused", &organization.url, &secret),
        webhook("nobody", "https://no-such-host.invalid", &secret),
        webhook("no secret", &organization.url, "{ file = \"nowhere\" }"),
        webhook("short secret", &organization.url, &short),
        webhook("no CA", "https://127.0.0.1:9", &secret) + &format!("ca_file = {no_ca:?}\n"),
        webhook("lost CA", "https://127.0.0.1:9", &secret) + "ca_file = \"nowhere.pem\"\n",
        format!("[[notify.slack]]\nsecret_url = {slack}\n"),
        mail("mail", &format!("smtp://{closed}"), ""),
        mail(
            "mail, no CA",
            &format!("smtp://{closed}"),
            &format!("ca_file = {no_ca:?}"),
        ),
        mail(
            "mail, lost CA",
            &format!("smtp://{closed}"),
            "ca_file = \"nowhere.pem\"",
        ),
    ]
    .concat();
    let mut chapter = Chapter::default();
    let output = dirsyncd.run(&["check", "--notify"]).expect_code(1);
    chapter.met_lines("channels that reach nobody", &output, &["✗ "]);
    chapter.end("notify");
}

#[test]
fn simulators_that_cannot_start() {
    let (organization, dirsyncd) = world();
    let mut chapter = Chapter::default();
    let folder = |name: &str| dirsyncd.folder().join(name);
    let file = folder("file");
    std::fs::write(&file, "no folder").unwrap();
    let mut simulate = |wrong: &str, state: &Path, domain: &str, listen: &str| {
        let state = state.display().to_string();
        let words = [
            "simulate", "--state", &state, "--domain", domain, "--listen", listen,
        ];
        chapter.met(wrong, &dirsyncd.run_bare(&words).expect_code(1));
    };
    let free = "127.0.0.1:0";
    simulate("the state is a file", &file, "example.org", free);
    simulate(
        "another one runs",
        organization.state(),
        "example.org",
        free,
    );
    simulate("no domain", &folder("a"), "exa mple", free);
    let taken = std::net::TcpListener::bind(free).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    simulate("the port is taken", &folder("b"), "example.org", &taken);
    let left = folder("left");
    std::fs::create_dir(&left).unwrap();
    for file in std::fs::read_dir(organization.state()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), left.join(file.file_name())).unwrap();
    }
    let (key, stored) = (left.join("scim-key"), left.join("simulator.db"));
    write_private(&key, "two\nlines\n");
    simulate("no key in the key file", &left, "example.org", free);
    std::fs::remove_file(&key).unwrap();
    database::execute(&stored, "PRAGMA user_version = 99");
    simulate("a database of a newer one", &left, "example.org", free);
    for ending in ["", "-wal", "-shm"] {
        let mut name = stored.as_os_str().to_owned();
        name.push(ending);
        let _ = std::fs::remove_file(name);
    }
    write_private(&stored, "My notes. ".repeat(1000));
    simulate("no database", &left, "example.org", free);
    chapter.end("simulate");
}

#[test]
fn a_first_configuration_that_cannot_be_written() {
    let (_organization, dirsyncd) = world();
    let mut chapter = Chapter::default();
    let there = dirsyncd.folder().join("there.toml");
    std::fs::write(&there, "").unwrap();
    let there = there.display().to_string();
    let new = dirsyncd.folder().join("new.toml").display().to_string();
    for (words, code) in [
        (&["--output", &there][..], 2),
        (&["--output", "/nowhere/config.toml"], 1),
        (&["--output", &new], 2),
        (&["--output", &new, "--url", "ldap.example.org"], 2),
        (
            &[
                "--output",
                &new,
                "--url",
                "ldaps://127.0.0.1:9",
                "--anonymous",
            ],
            1,
        ),
    ] {
        let output = dirsyncd.run_bare(&[&["init"], words].concat());
        chapter.met(
            &format!("dirsyncd init {}", words.join(" ")),
            &output.expect_code(code),
        );
    }
    chapter.end("init");
}
