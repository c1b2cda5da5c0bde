//! What the daemon is asked and told while it runs: by its socket, by its port, and by the command line.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::program::Running;
use crate::support::{
    Person, SOON, World, database, eventually, file_reference, set_mode, write_private,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A token of the port.
pub(crate) const TOKEN: &str = "a-token-that-nobody-finds-by-trying";

/// A schedule that is far away, and these settings of `[daemon]`.
pub(crate) fn once_a_year(world: &mut World, settings: &str) {
    world.dirsyncd.rest = format!("[schedule]\nsync = \"0 0 1 1 *\"\n[daemon]\n{settings}");
}

fn world(people: &[Person]) -> World {
    let mut world = World::of(people);
    once_a_year(&mut world, "");
    world
}

/// A daemon that waits for what it is asked.
pub(crate) fn daemon(world: &World) -> Running {
    let daemon = world.dirsyncd.start(&["run"]);
    expect_logged(&daemon, "waiting for the next run");
    daemon
}

pub(crate) fn expect_logged(daemon: &Running, words: &str) {
    eventually(words, SOON, || {
        daemon.stderr().contains(words).then_some(())
    });
}

pub(crate) fn socket(world: &World) -> PathBuf {
    world.dirsyncd.state().join("dirsyncd.db.sock")
}

pub(crate) fn end(daemon: Running) {
    daemon.signal("TERM");
    daemon.wait_within(Duration::from_secs(15)).expect_code(0);
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It must be a problem of this kind.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, kind: &str) -> Value {
        let problem = self.json();
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(problem["type"], format!("urn:dirsyncd:problem:{kind}"));
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(self.head.contains("content-type: application/problem+json"));
        problem
    }
}

/// Sends these octets and reads to the end.
pub(crate) fn exchange(mut stream: impl Read + Write, octets: &[u8]) -> Answer {
    // A server that refuses the head may not read the rest.
    let _ = stream.write_all(octets);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let is_chunked = head.contains("transfer-encoding: chunked");
    Answer {
        status: status.unwrap_or_default(),
        head: head.to_lowercase(),
        body: match is_chunked {
            true => without_chunks(body),
            false => body.to_owned(),
        },
    }
}

fn without_chunks(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &rest[..size];
        body = &rest[size + 2..];
    }
    whole
}

pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let media = match body {
        "" => String::new(),
        _ => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}{media}\r\n{body}")
        .into_bytes()
}

fn connect(world: &World) -> UnixStream {
    let stream = UnixStream::connect(socket(world)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

pub(crate) fn ask(world: &World, method: &str, path: &str, body: &str) -> Answer {
    exchange(connect(world), &request(method, path, "", body))
}

/// A sync must come to its sending; how it stands then.
fn expect_sending(world: &World) -> Value {
    eventually("a sync that sends", SOON, || {
        let status = ask(world, "GET", "/v1/status", "").json();
        let at_work = status["daemon"]["at_work"].clone();
        (at_work["progress"]["phase"] == "sending").then_some(at_work)
    })
}

#[test]
fn status_tells_whether_a_daemon_is_there_and_what_it_does() {
    let world = world(&Person::four());
    let status = |arguments: &[&str]| world.dirsyncd.run(&[&["status"], arguments].concat());
    status(&[])
        .expect_code(3)
        .expect_words(&["No daemon runs.", "No run yet."]);
    let output = status(&["--quiet"]).expect_code(3);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));

    let daemon = daemon(&world);
    let file = socket(&world).symlink_metadata().unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let process = format!("process {}", daemon.id());
    status(&[]).expect_code(0).expect_words(&[
        "The daemon runs since ",
        &process,
        "Next sync: ",
        "never yet",
    ]);
    let output = status(&["--quiet"]).expect_code(0);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));

    world.organization.slow_writes(1500);
    daemon.signal("USR1");
    let sending = expect_sending(&world);
    assert_eq!(sending["job"], "sync");
    assert_eq!(sending["asked_by"], Value::Null);
    assert_eq!(sending["progress"]["operations"], 4);
    status(&[]).expect_code(0).expect_words(&[
        "At work: sync since ",
        "sending since ",
        "of 4 operations, 0 failed",
    ]);

    let last = eventually("the end of the sync", SOON, || {
        let status = ask(&world, "GET", "/v1/status", "").json();
        status["daemon"]["at_work"].is_null().then_some(status)
    });
    assert_eq!(last["last_run"]["run"], 1);
    assert_eq!(last["last_run"]["outcome"], "done");
    assert_eq!(last["last_run"]["summary"]["applied"]["done"], 4);
    assert_eq!(last["last_good_sync"], last["last_run"]["ended"]);
    assert_eq!(last["accounts"], 4);
    end(daemon);
    assert!(!socket(&world).exists());

    let output = status(&["--json"]).expect_code(3);
    let told: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(told["daemon"], Value::Null);
    for same in [
        "last_run",
        "last_good_sync",
        "accounts",
        "pending_deactivations",
        "quarantined",
        "database",
        "paused",
    ] {
        assert_eq!(told[same], last[same], "{same}");
    }
    status(&[]).expect_code(3).expect_words(&[
        "No daemon runs.",
        "Last run: 1 (signal) at ",
        "Last good sync: ",
    ]);
}

#[test]
fn a_good_sync_is_one_in_which_nothing_failed() {
    let people = Person::four();
    let mut world = World::of(&people);
    once_a_year(&mut world, "[apply]\nquarantine_after = 1\n");
    let daemon = daemon(&world);
    world.dirsyncd.run(&["sync", "--daemon"]).expect_code(0);
    let good = || ask(&world, "GET", "/v1/status", "").json()["last_good_sync"].clone();
    let first = good();
    assert!(first.is_string());
    world.slapd.stop();
    world
        .dirsyncd
        .run(&["sync", "--daemon"])
        .expect_code(1)
        .expect_words(&["cannot connect to ldaps://"]);
    assert_eq!(good(), first);
    world.slapd.start_again();
    world.dirsyncd.run(&["sync", "--daemon"]).expect_code(0);
    let second = good();
    assert_ne!(second, first);

    let ada = world.account(&people[0]);
    world.organization.faults(&json!([
        {"match": format!("^PATCH .*/Users/{}", ada.scim_id), "times": 1_000, "status": 403,
         "body": {"detail": "forbidden.by-policy: not this one"}}
    ]));
    world
        .slapd
        .replace(&people[0].dn(), &[("title", "Director")]);
    world.dirsyncd.run(&["sync", "--daemon"]).expect_code(4);
    assert_eq!(good(), second);
    // Who is in quarantine is looked at otherwise.
    world.dirsyncd.run(&["sync", "--daemon"]).expect_code(3);
    assert_ne!(good(), second);
    end(daemon);
}

#[test]
fn a_dry_run_is_no_sign_of_life_of_a_sync_and_is_ended_when_it_hangs() {
    let mut world = World::of(&Person::four());
    once_a_year(&mut world, "hang_after = \"1s\"\n");
    let daemon = daemon(&world);
    world.organization.faults(&json!([
        {"match": "^GET ", "times": 1, "delay_ms": 60_000}
    ]));
    world
        .dirsyncd
        .run(&["plan", "--daemon"])
        .expect_code(1)
        .expect_words(&["the dry run has not gone on for 1s (`hang_after` in [daemon])"]);
    world.organization.heal();
    world.dirsyncd.run(&["plan", "--daemon"]).expect_code(0);

    world.organization.slow_writes(60_000);
    daemon.signal("USR1");
    expect_sending(&world);
    let begun = Instant::now();
    eventually("a status of hanging", SOON, || {
        while begun.elapsed() < Duration::from_secs(2) {
            ask(&world, "POST", "/v1/plan", "");
        }
        let plan = ask(&world, "POST", "/v1/plan", "");
        assert_eq!(plan.status, 200, "{plan:?}");
        let output = world.dirsyncd.run(&["status"]);
        (output.code == Some(4)).then_some(())
    });
    daemon.signal("KILL");
    daemon.wait();
}

#[test]
fn a_probe_asks_by_the_socket_alone() {
    let world = world(&Person::four());
    let path = socket(&world).display().to_string();
    let probe = |more: &[&str]| {
        let status = ["status", "--socket", &path];
        world.dirsyncd.run_bare(&[&status, more].concat())
    };
    probe(&["--quiet"]).expect_code(3);
    let daemon = daemon(&world);
    // There may be none, or a wrong one.
    std::fs::write(world.dirsyncd.config_file(), "nonsense").unwrap();
    let output = probe(&["--quiet"]).expect_code(0);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    probe(&[])
        .expect_code(0)
        .expect_words(&["The daemon runs since "]);
    // What a restart would not mend is no reason for one.
    std::fs::rename(
        world.dirsyncd.database(),
        world.dirsyncd.state().join("away"),
    )
    .unwrap();
    std::fs::write(world.dirsyncd.database(), "no database").unwrap();
    probe(&["--quiet"]).expect_code(0);
    probe(&[]).expect_code(1);
    daemon.signal("STOP");
    eventually("a stopped process", SOON, || {
        daemon.is_stopped().then_some(())
    });
    probe(&["--quiet"]).expect_code(4);
    daemon.signal("KILL");
    daemon.wait();
}

#[test]
fn a_daemon_that_hangs_says_so() {
    let mut world = World::of(&Person::four());
    once_a_year(&mut world, "hang_after = \"1s\"\n");
    let daemon = daemon(&world);
    world.dirsyncd.run(&["status", "--quiet"]).expect_code(0);
    world.organization.slow_writes(60_000);
    daemon.signal("USR1");
    eventually("a status of hanging", SOON, || {
        let output = world.dirsyncd.run(&["status"]);
        (output.code == Some(4)).then(|| output.expect_words(&["It hangs: "]))
    });
    world.dirsyncd.run(&["status", "--quiet"]).expect_code(4);
    assert_eq!(
        ask(&world, "GET", "/v1/status", "").json()["daemon"]["hanging"],
        true
    );

    // One that does not even answer is no better.
    daemon.signal("STOP");
    eventually("a stopped process", SOON, || {
        daemon.is_stopped().then_some(())
    });
    world
        .dirsyncd
        .run(&["status"])
        .expect_code(4)
        .expect_words(&["does not answer"]);
    daemon.signal("KILL");
    daemon.wait();
}

#[test]
fn a_dry_run_of_the_daemon_is_that_of_the_program() {
    let people = Person::several(12);
    let mut world = World::of(&people);
    once_a_year(&mut world, "");
    let expect_same = |world: &World, arguments: &[&str], code: i32| {
        let plan = |more: &[&str]| {
            let output = world.dirsyncd.run(&[&["plan"], arguments, more].concat());
            let output = output.expect_code(code);
            // How long the requests take at least goes by how long the last ones took.
            let since =
                regex::Regex::new(r"each after \d+ ms|\d+\.\d+|in at least [0-9a-z ]+").unwrap();
            (
                since.replace_all(&output.stdout, "…").into_owned(),
                output.stderr,
            )
        };
        assert_eq!(plan(&["--daemon"]), plan(&[]), "{arguments:?}");
    };
    let daemon = daemon(&world);
    let one = people[3].mail.clone().unwrap();
    expect_same(&world, &[], 0);
    expect_same(&world, &["--detailed-exitcode"], 10);
    expect_same(&world, &["--limit", "2"], 0);
    expect_same(&world, &["--full", "--format", "json"], 0);
    expect_same(&world, &["--user", &one], 0);
    expect_same(&world, &["--user", "nobody@example.org"], 2);
    assert_eq!(world.organization.active(), 0);

    world.dirsyncd.sync(0);
    expect_same(&world, &["--detailed-exitcode"], 0);
    for person in &people[..8] {
        world.slapd.delete(&person.dn());
    }
    expect_same(&world, &[], 3);
    expect_same(&world, &["--detailed-exitcode"], 3);
    world.slapd.stop();
    expect_same(&world, &[], 1);
    assert_eq!(world.organization.active(), 12);
    end(daemon);
}

#[test]
fn one_dry_run_is_made_at_a_time_and_ends_when_nobody_waits_for_it() {
    let world = world(&Person::four());
    let daemon = daemon(&world);
    world.organization.faults(&json!([
        {"match": "^GET ", "times": 1, "delay_ms": 60_000}
    ]));
    let mut waiting = connect(&world);
    let mark = world.organization.mark();
    waiting
        .write_all(&request("POST", "/v1/plan", "", ""))
        .unwrap();
    let busy = || world.dirsyncd.run(&["plan", "--daemon"]);
    eventually("a dry run at work", SOON, || {
        let output = busy();
        (output.code == Some(3)).then_some(())
    });
    busy()
        .expect_code(3)
        .expect_words(&["another dry run is at work"]);
    // It is no sync, and holds none up.
    world.organization.heal();
    drop(waiting);
    let begun = Instant::now();
    eventually("a dry run again", SOON, || {
        (busy().code == Some(0)).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(world.organization.writes_since(mark).is_empty());
    end(daemon);
}

#[test]
fn a_sync_of_the_daemon_reports_as_that_of_the_program() {
    let people = Person::several(12);
    let world = world(&people);
    let daemon = daemon(&world);
    let sync = |arguments: &[&str]| {
        let sync = ["sync", "--daemon"];
        world.dirsyncd.run(&[&sync, arguments].concat())
    };
    sync(&[]).expect_code(0).expect_words(&[
        "Create (12)",
        "Done: 12 applied.",
        "Run 1; to undo it: dirsyncd revert 1",
    ]);
    assert_eq!(world.organization.active(), 12);
    let by = database::texts(
        &world.dirsyncd.database(),
        "SELECT trigger || ' by ' || uid FROM runs",
    );
    assert_eq!(by, [format!("sync by {}", nix_uid())]);
    expect_logged(&daemon, "asked to sync by=");
    let plan = |arguments: &[&str]| {
        let plan = world
            .dirsyncd
            .run(&[&["plan", "--daemon"], arguments].concat());
        plan.expect_code(0).stdout
    };
    let last = plan(&["--quiet"]);
    assert!(
        last.starts_with("Nothing to do: ") && last.lines().count() == 1,
        "{last}"
    );
    let csv = plan(&["--format", "csv"]);
    assert!(
        csv.starts_with("what,name,") && csv.ends_with(",message\r\n"),
        "{csv:?}"
    );
    let file = world.dirsyncd.folder().join("plan.md");
    assert_eq!(plan(&["-o", file.to_str().unwrap()]), last);
    let markdown = std::fs::read_to_string(file).unwrap();
    assert!(markdown.starts_with("# Plan of a sync\n"), "{markdown}");

    // What came meanwhile is seen by a run that is asked for while another is at work.
    world.organization.slow_writes(700);
    let joiner = Person::new("radia", "Radia", "Perlman");
    world.slapd.add(&joiner);
    daemon.signal("USR1");
    expect_sending(&world);
    let other = Person::new("grace", "Grace", "Murray");
    world.slapd.add(&other);
    let accepted = ask(&world, "POST", "/v1/sync", "");
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.json(), json!({"job": "sync", "after": "sync"}));
    let output = sync(&["--full", "--format", "json"]).expect_code(0);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert!(report.is_object());
    eventually("the end of all syncs", SOON, || {
        let status = ask(&world, "GET", "/v1/status", "").json();
        (status["daemon"]["at_work"].is_null() && status["last_run"]["run"] == 4).then_some(())
    });
    assert_eq!(world.organization.active(), 14);
    world.organization.heal();

    for person in &people[..8] {
        world.slapd.delete(&person.dn());
    }
    sync(&[])
        .expect_code(3)
        .expect_words(&["held", "dirsyncd approve"]);
    assert_eq!(world.organization.active(), 14);
    world.slapd.stop();
    let failed = sync(&[]).expect_code(1);
    assert!(failed.stderr.starts_with("dirsyncd: "), "{failed}");
    assert_eq!(
        world.dirsyncd.run(&["sync"]).expect_code(1).stderr,
        failed.stderr
    );
    world
        .dirsyncd
        .run(&["sync", "--daemon", "--user", "x"])
        .expect_code(2)
        .expect_words(&["cannot be used with"]);
    end(daemon);
}

fn nix_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn a_pause_lasts_over_restarts_and_stops_every_way_in() {
    let mut world = world(&Person::four());
    // No database is made for it.
    for verb in ["pause", "resume"] {
        world
            .dirsyncd
            .run(&[verb])
            .expect_code(1)
            .expect_words(&["is not there yet, or is of an older dirsyncd"]);
    }
    assert!(!world.dirsyncd.database().exists());
    end(daemon(&world));
    world.dirsyncd.rest = "[schedule]\nsync = \"* * * * * *\"\nat_start = true\n".to_owned();
    // While none runs, the next one is told.
    world
        .dirsyncd
        .run(&["pause", "--why", "the house is moved"])
        .expect_code(0)
        .expect_words(&["Paused since ", ": the house is moved"]);
    for signal in ["KILL", "TERM"] {
        let daemon = world.dirsyncd.start(&["run"]);
        expect_logged(&daemon, "the house is moved");
        daemon.signal("USR1");
        expect_logged(&daemon, "asked for, and not done: paused since ");
        world
            .dirsyncd
            .run(&["sync", "--daemon"])
            .expect_code(3)
            .expect_words(&[
                "the daemon is paused since ",
                "the house is moved",
                "dirsyncd resume",
            ]);
        ask(&world, "POST", "/v1/sync", "").expect_problem(409, "paused");
        world
            .dirsyncd
            .run(&["status"])
            .expect_code(0)
            .expect_words(&["Paused since ", "the house is moved"]);
        world.dirsyncd.run(&["plan", "--daemon"]).expect_code(0);
        assert!(!daemon.stderr().contains("waiting for the next run"));
        assert_eq!(world.organization.active(), 0);
        daemon.signal(signal);
        daemon.wait();
    }

    let daemon = world.dirsyncd.start(&["run"]);
    expect_logged(&daemon, "the house is moved");
    world.dirsyncd.run(&["resume"]).expect_code(0);
    eventually("the four accounts", SOON, || {
        (world.organization.active() == 4).then_some(())
    });
    let status = ask(&world, "POST", "/v1/pause", "{\"reason\": \" again \"}").json();
    assert_eq!(status["paused"]["reason"], "again");
    assert_eq!(status["paused"]["asked_by"]["uid"], nix_uid());
    expect_logged(&daemon, "asked to pause by=");
    end(daemon);
    world
        .dirsyncd
        .run(&["resume"])
        .expect_code(0)
        .expect_words(&["no daemon runs"]);
    let output = world.dirsyncd.run(&["status", "--json"]).expect_code(3);
    assert!(output.stdout.contains("\"paused\": null"), "{output}");
}

#[test]
fn a_pause_lets_what_is_at_work_end_and_drops_what_has_not_begun() {
    let world = world(&Person::four());
    let daemon = daemon(&world);
    world.organization.slow_writes(4000);
    let first = world.dirsyncd.start(&["sync", "--daemon"]);
    expect_sending(&world);
    let second = world.dirsyncd.start(&["sync", "--daemon"]);
    eventually("two who ask", SOON, || {
        (daemon.stderr().matches("asked to sync").count() == 2).then_some(())
    });
    world
        .dirsyncd
        .run(&["pause"])
        .expect_code(0)
        .expect_words(&["What is at work goes on to its end: sync."]);
    second
        .wait()
        .expect_code(3)
        .expect_words(&["the daemon is paused"]);
    let dropped = "asked for, and not done: paused since ";
    expect_logged(&daemon, dropped);
    let log = daemon.stderr();
    let line = log.lines().find(|line| line.contains(dropped)).unwrap();
    assert!(
        line.contains("job=sync") && line.contains("by=\""),
        "{line}"
    );
    first
        .wait()
        .expect_code(0)
        .expect_words(&["Done: 4 applied."]);
    end(daemon);
}

#[test]
fn who_waits_for_a_sync_is_told_that_the_daemon_stops() {
    // More than are sent at once.
    let world = world(&Person::several(60));
    let daemon = daemon(&world);
    world.organization.slow_writes(1500);
    let first = world.dirsyncd.start(&["sync", "--daemon"]);
    expect_sending(&world);
    let second = world.dirsyncd.start(&["sync", "--daemon"]);
    eventually("two who ask", SOON, || {
        (daemon.stderr().matches("asked to sync").count() == 2).then_some(())
    });
    daemon.signal("TERM");
    second
        .wait()
        .expect_code(1)
        .expect_words(&["the daemon is stopping: it was not done"]);
    // What has begun is stopped, and not by whoever waits for it.
    first.wait().expect_code(4);
    expect_logged(&daemon, "asked for, and not done: the daemon stops");
    daemon.wait_within(Duration::from_secs(15)).expect_code(0);
}

#[test]
fn who_is_not_let_in_keeps_no_place_at_the_port() {
    let mut world = World::of(&[]);
    let (daemon, port) = at_port(&mut world, "");
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    };
    let begun = Instant::now();
    for _ in 0..70 {
        let answer = exchange(
            connect(),
            b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
        );
        answer.expect_problem(401, "unauthorized");
        assert!(answer.head.contains("connection: close"), "{answer:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(8));
    // Nor does who asks again and again for what needs no token; whoever has it does.
    let mut unknown = connect();
    let mut known = connect();
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    let keep = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
    };
    let answers = |stream: &mut TcpStream, octets: &[u8]| {
        let mut buffer = [0; 4096];
        stream.write_all(octets).is_ok() && stream.read(&mut buffer).is_ok_and(|read| read > 0)
    };
    eventually("a connection that is closed", 2 * SOON, || {
        assert!(answers(&mut known, &keep("/v1/openapi.json", &right)));
        (!answers(&mut unknown, &keep("/healthz", ""))).then_some(())
    });
    drop(known);
    write_private(&world.dirsyncd.folder().join("token"), "too-short\n");
    for _ in 0..20 {
        exchange(connect(), &request("GET", "/v1/status", &right, ""))
            .expect_problem(401, "unauthorized");
    }
    let words = "nobody is let in at the port: `token` in [daemon] has fewer than 16";
    expect_logged(&daemon, words);
    // Whoever asks again and again does not fill the log.
    assert_eq!(daemon.stderr().matches(words).count(), 1);
    end(daemon);
}

#[test]
fn however_many_ask_the_daemon_has_no_more_threads_than_its_unit_lets_it_have() {
    let unit = std::fs::read_to_string(format!("{ROOT}/deploy/systemd/dirsyncd.service")).unwrap();
    let most = unit.lines().find_map(|line| line.strip_prefix("TasksMax="));
    let most: usize = most.unwrap().parse().unwrap();
    let mut world = World::of(&Person::four());
    let (daemon, port) = at_port(&mut world, "");
    world.dirsyncd.run(&["sync", "--daemon"]).expect_code(0);
    // What the run has written is more than the system keeps for who does not read it.
    database::execute(
        &world.dirsyncd.database(),
        "INSERT INTO operations (run_id, external_id, kind, detail, state, intended_at, sent_at, answered_at, scim_id, requests)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         SELECT run_id, external_id, kind, detail, state, intended_at, sent_at, answered_at, scim_id, requests
         FROM n, operations",
    );
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    let asked = request("GET", "/v1/runs/1", &right, "");
    let mut waiting: Vec<Box<dyn Write>> = Vec::new();
    for _ in 0..60 {
        waiting.push(Box::new(TcpStream::connect(("127.0.0.1", port)).unwrap()));
        waiting.push(Box::new(connect(&world)));
    }
    for stream in &mut waiting {
        stream.write_all(&asked).unwrap();
    }
    let threads = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap();
        tasks.count()
    };
    // Each that is answered has a thread, and its database another one.
    eventually("as many as are answered at once", SOON, || {
        let now = threads();
        assert!(now <= most, "{now}");
        (now > 90).then_some(())
    });
    for _ in 0..20 {
        assert_eq!(ask(&world, "GET", "/healthz", "").status, 200);
        let now = threads();
        assert!(now <= most, "{now}");
    }
    drop(waiting);
    // Who waits for a turn and has gone has none.
    assert_eq!(ask(&world, "GET", "/v1/status", "").status, 200);
    end(daemon);
}

#[test]
fn runs_and_people_are_told_as_the_command_line_tells_them() {
    let world = world(&Person::four());
    let daemon = daemon(&world);
    for _ in 0..3 {
        world.dirsyncd.run(&["sync", "--daemon"]).expect_code(0);
    }
    let numbers = |query: &str| {
        let answer = ask(&world, "GET", &format!("/v1/runs{query}"), "");
        assert_eq!(answer.status, 200, "{answer:?}");
        let runs = answer.json()["runs"].as_array().unwrap().clone();
        runs.iter()
            .map(|run| run["run"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(""), [3, 2, 1]);
    assert_eq!(numbers("?limit=2"), [3, 2]);
    assert_eq!(numbers("?before=3&limit=1"), [2]);
    assert_eq!(numbers("?before=1"), [0_i64; 0]);

    let history = ["history", "--run", "1", "--format", "json"];
    let history = world.dirsyncd.run(&history).expect_code(0).stdout;
    let history: Value = serde_json::from_str(&history).unwrap();
    let told = ask(&world, "GET", "/v1/runs/1", "").json();
    assert_eq!(told["writes"], history["writes"]);
    assert_eq!(told["writes"].as_array().unwrap().len(), 4);
    let first = ask(&world, "GET", "/v1/runs?before=2", "").json();
    assert_eq!(told["run"], first["runs"][0]);
    ask(&world, "GET", "/v1/runs/9", "").expect_problem(404, "not-found");

    let ada = &Person::four()[0];
    let mail = ada.mail.clone().unwrap();
    let explained = ["explain", &mail, "--format", "json"];
    let explained = world.dirsyncd.run(&explained).expect_code(0).stdout;
    let mut explained: Value = serde_json::from_str(&explained).unwrap();
    explained["person"]["at"] = Value::Null;
    let dn = ada.dn().replace(',', "%2C").replace('=', "%3D");
    for who in [&mail, &ada.key(), &dn] {
        let mut told = ask(&world, "GET", &format!("/v1/people/{who}"), "").json();
        told["person"]["at"] = Value::Null;
        assert_eq!(told, explained, "{who}");
    }
    let problem = ask(&world, "GET", "/v1/people/nobody", "").expect_problem(404, "not-found");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("nothing is known of `nobody`")
    );
    let document = ask(&world, "GET", "/v1/openapi.json", "").json();
    assert_eq!(document["openapi"], "3.1.0");
    end(daemon);
}

/// What this user's process gets to hear at the socket.
fn asked_by_nobody(world: &World) -> String {
    let script = "my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die qq($!);\n\
        print $s qq(GET /v1/status HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n);\n\
        print while <$s>;\n";
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["perl", "-MIO::Socket::UNIX", "-e", script])
        .arg(socket(world))
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn other_users_are_not_answered_whatever_the_mode_of_the_socket() {
    let world = world(&Person::four());
    let daemon = daemon(&world);
    if nix_uid() != 0 {
        // To be another user takes root; whoever is not is that user at least.
        assert_eq!(ask(&world, "GET", "/v1/status", "").status, 200);
        return;
    }
    for folder in [world.dirsyncd.folder(), &world.dirsyncd.state()] {
        set_mode(folder, 0o755);
    }
    let told = asked_by_nobody(&world);
    assert!(told.contains("Permission denied"), "{told}");
    set_mode(&socket(&world), 0o666);
    let told = asked_by_nobody(&world);
    assert!(told.starts_with("HTTP/1.1 403 "), "{told}");
    assert!(told.contains("only root and root may ask"), "{told}");
    assert!(told.contains("urn:dirsyncd:problem:forbidden"), "{told}");
    end(daemon);
}

/// A daemon at a port, and the port.
pub(crate) fn at_port(world: &mut World, settings: &str) -> (Running, u16) {
    let token = world.dirsyncd.add_secret("token", TOKEN);
    let listen = format!("listen = \"127.0.0.1:0\"\ntoken = {token}\n{settings}");
    once_a_year(world, &listen);
    let daemon = daemon(world);
    let log = daemon.stderr();
    let (_, address) = log.split_once("listening address=127.0.0.1:").unwrap();
    let port = address.split_whitespace().next().unwrap();
    (daemon, port.parse().unwrap())
}

#[test]
fn the_port_is_for_whoever_has_the_token_on_this_machine() {
    let mut world = World::of(&Person::four());
    let (daemon, port) = at_port(&mut world, "socket = false\n");
    assert!(!socket(&world).exists());
    let ask = |method: &str, path: &str, headers: &str| {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        exchange(stream, &request(method, path, headers, ""))
    };
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(ask("GET", "/v1/status", &right).status, 200);
    for (method, path) in [
        ("GET", "/v1/status"),
        ("POST", "/v1/sync"),
        ("GET", "/nowhere"),
    ] {
        for wrong in [
            String::new(),
            "Authorization: Bearer another-token-of-some-length\r\n".to_owned(),
            format!("Authorization: Basic {TOKEN}\r\n"),
            format!("Authorization: Bearer {TOKEN}x\r\n"),
            format!("Authorization: Bearer {}\r\n", &TOKEN[1..]),
        ] {
            let answer = ask(method, path, &wrong);
            answer.expect_problem(401, "unauthorized");
            assert!(answer.head.contains("www-authenticate: bearer"));
        }
    }
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let foreign =
        format!("GET /v1/status HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n{right}\r\n");
    exchange(stream, foreign.as_bytes()).expect_problem(421, "misdirected");

    let answer = ask("POST", "/v1/sync", &right);
    assert_eq!(answer.status, 202, "{answer:?}");
    eventually("the four accounts", SOON, || {
        (world.organization.active() == 4).then_some(())
    });
    expect_logged(&daemon, "asked to sync by=\"token\"");
    assert!(!daemon.stderr().contains(TOKEN));
    assert_eq!(world.organization.active(), 4);
    end(daemon);
}

#[test]
fn the_command_line_gives_the_token_to_nobody_at_a_port() {
    let mut world = World::of(&Person::four());
    // Somebody who has taken the port before the daemon came.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let token = world.dirsyncd.folder().join("token");
    write_private(&token, format!("{TOKEN}\n"));
    let settings = format!(
        "listen = \"{}\"\ntoken = {}\n",
        other.local_addr().unwrap(),
        file_reference(&token)
    );
    once_a_year(&mut world, &settings);
    let loud = daemon(&world);
    let log = loud.stderr();
    assert!(
        log.contains("ERROR") && log.contains("cannot listen on 127.0.0.1:"),
        "{log}"
    );
    world.dirsyncd.run(&["status"]).expect_code(0);
    world.dirsyncd.run(&["sync", "--daemon"]).expect_code(0);
    end(loud);

    once_a_year(&mut world, &format!("socket = false\n{settings}"));
    world
        .dirsyncd
        .run(&["run"])
        .expect_code(1)
        .expect_words(&["cannot listen on 127.0.0.1:"]);
    for verb in [&["sync", "--daemon"][..], &["plan", "--daemon"]] {
        world
            .dirsyncd
            .run(verb)
            .expect_code(2)
            .expect_words(&["`socket` in [daemon] is false", "only scripts ask"]);
    }
    world.dirsyncd.run(&["status"]).expect_code(3);
    let came = other.accept().map_err(|error| error.kind());
    assert_eq!(came.unwrap_err(), std::io::ErrorKind::WouldBlock);

    write_private(&token, "too-short\n");
    world
        .dirsyncd
        .run(&["run"])
        .expect_code(1)
        .expect_words(&["`token` in [daemon] has fewer than 16 octets"]);
    once_a_year(&mut world, "socket = false\n");
    let quiet = daemon(&world);
    world
        .dirsyncd
        .run(&["status"])
        .expect_code(4)
        .expect_words(&["a daemon runs (process ", "`socket` in [daemon] is false"]);
    world
        .dirsyncd
        .run(&["pause"])
        .expect_code(2)
        .expect_words(&["`socket` in [daemon] is false"]);
    end(quiet);
    once_a_year(
        &mut world,
        "listen = \"192.0.2.1:8765\"\ntoken = { env = \"TOKEN\" }\n",
    );
    world
        .dirsyncd
        .run(&["run"])
        .expect_code(2)
        .expect_words(&["config.toml:", "192.0.2.1 can be reached by other machines"]);
}

#[test]
fn an_order_for_another_database_is_not_carried_out() {
    let world = world(&Person::four());
    let daemon = daemon(&world);
    let mut other = World::of(&[]);
    let settings = format!("socket = {:?}\n", socket(&world).display().to_string());
    once_a_year(&mut other, &settings);
    let served = world.dirsyncd.database().display().to_string();
    for verb in [
        &["status"][..],
        &["pause"],
        &["resume"],
        &["plan", "--daemon"],
        &["sync", "--daemon"],
    ] {
        other
            .dirsyncd
            .run(verb)
            .expect_code(1)
            .expect_words(&["the daemon here is that of another database", &served]);
    }
    let headers = "X-Dirsyncd-Database: /another.db\r\n";
    let request = request("POST", "/v1/sync", headers, "");
    exchange(connect(&world), &request).expect_problem(409, "other-database");
    let status = ask(&world, "GET", "/v1/status", "").json();
    assert_eq!(status["paused"], Value::Null);
    assert_eq!(status["last_run"], Value::Null);
    // By whatever links it is reached, it is the same one, with the same socket.
    let link = world.dirsyncd.folder().join("linked.db");
    std::os::unix::fs::symlink(world.dirsyncd.database(), &link).unwrap();
    let linked = world.dirsyncd.folder().join("linked.toml");
    let text = world.dirsyncd.config();
    write_private(&linked, text.replace("state/dirsyncd.db", "linked.db"));
    world
        .dirsyncd
        .run_bare(&["status", "-c", &linked.display().to_string()])
        .expect_code(0);
    end(daemon);
}

#[test]
fn the_reason_of_a_pause_is_one_short_line() {
    let world = world(&Person::four());
    let long = "x".repeat(501);
    let pause = |why: &str| world.dirsyncd.run(&["pause", "--why", why]);
    for bad in ["two\nlines", "\u{1b}[31mred", &long] {
        pause(bad)
            .expect_code(2)
            .expect_words(&["the reason of a pause"]);
    }
    world.dirsyncd.run(&["status"]).expect_code(3);
    let daemon = daemon(&world);
    for bad in ["two\nlines", "\u{9b}31m", &long] {
        let body = json!({"reason": bad}).to_string();
        ask(&world, "POST", "/v1/pause", &body).expect_problem(400, "bad-body");
        pause(bad).expect_code(2);
    }
    let status = ask(&world, "GET", "/v1/status", "").json();
    assert_eq!(status["paused"], Value::Null);
    pause(&"ü".repeat(500)).expect_code(0);
    end(daemon);
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_or_another_file_is_not() {
    let world = world(&Person::four());
    let first = daemon(&world);
    first.signal("KILL");
    first.wait();
    assert!(socket(&world).exists());
    world
        .dirsyncd
        .run(&["status"])
        .expect_code(3)
        .expect_words(&["No daemon runs."]);
    let second = daemon(&world);
    world.dirsyncd.run(&["status", "--quiet"]).expect_code(0);

    let mut other = World::of(&[]);
    let settings = format!("socket = {:?}\n", socket(&world).display().to_string());
    once_a_year(&mut other, &settings);
    other
        .dirsyncd
        .run(&["run"])
        .expect_code(1)
        .expect_words(&["another daemon listens on ", "by `socket` in [daemon]"]);
    world.dirsyncd.run(&["status", "--quiet"]).expect_code(0);
    end(second);

    let file = other.dirsyncd.folder().join("notes");
    std::fs::write(&file, "not to be lost").unwrap();
    once_a_year(&mut other, "socket = \"notes\"\n");
    other
        .dirsyncd
        .run(&["run"])
        .expect_code(1)
        .expect_words(&["is there and no socket"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not to be lost");
    let long = format!("socket = \"{}/dirsyncd.sock\"\n", "long/".repeat(40));
    once_a_year(&mut other, &long);
    other
        .dirsyncd
        .run(&["run"])
        .expect_code(1)
        .expect_words(&["cannot listen on ", "by `socket` in [daemon]"]);
}

#[test]
fn nonsense_is_answered_in_order_and_slow_clients_hold_nobody_up() {
    let world = world(&Person::four());
    let daemon = daemon(&world);
    // Who says nothing, and who does not come to the end of a head or of a body.
    let mut slow: Vec<UnixStream> = (0..20).map(|_| connect(&world)).collect();
    for stream in &mut slow[5..] {
        stream
            .write_all(b"POST /v1/pause HTTP/1.1\r\nHost: localhost\r\n")
            .unwrap();
    }
    for stream in &mut slow[10..] {
        let rest = b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
        stream.write_all(rest).unwrap();
    }
    let begun = Instant::now();
    for (method, path, body, status, kind) in [
        ("DELETE", "/v1/status", "", 405, "method-not-allowed"),
        ("GET", "/v1/plan", "", 405, "method-not-allowed"),
        ("BREW", "/v1/status", "", 405, "method-not-allowed"),
        ("GET", "/v1", "", 404, "not-found"),
        ("GET", "/v2/status", "", 404, "not-found"),
        ("GET", "/v1/../v1/status", "", 404, "not-found"),
        ("GET", "/v1/status/", "", 404, "not-found"),
        ("GET", "/v1/status?a=1", "", 400, "bad-parameter"),
        ("POST", "/v1/sync?wait=true", "", 400, "bad-parameter"),
        ("GET", "/v1/runs?limit=0", "", 400, "bad-parameter"),
        ("GET", "/v1/runs?limit=1001", "", 400, "bad-parameter"),
        ("GET", "/v1/runs?limit=1&limit=2", "", 400, "bad-parameter"),
        ("GET", "/v1/runs?before=-1", "", 400, "bad-parameter"),
        ("GET", "/v1/runs/first", "", 400, "bad-parameter"),
        (
            "GET",
            "/v1/runs/99999999999999999999",
            "",
            400,
            "bad-parameter",
        ),
        ("GET", "/v1/people/%ff", "", 400, "bad-parameter"),
        ("POST", "/v1/sync", "[]", 400, "bad-body"),
        ("POST", "/v1/sync", "{", 400, "bad-body"),
        ("POST", "/v1/sync", "{\"wiat\": true}", 400, "bad-body"),
        ("POST", "/v1/sync", "{\"wait\": 1}", 400, "bad-body"),
        ("POST", "/v1/plan", "{\"format\": \"xml\"}", 400, "bad-body"),
        (
            "POST",
            "/v1/plan",
            "{\"full\": true, \"user\": \"x\"}",
            400,
            "bad-body",
        ),
        ("POST", "/v1/resume", "{\"reason\": \"x\"}", 400, "bad-body"),
    ] {
        let answer = ask(&world, method, path, body);
        answer.expect_problem(status, kind);
        if status == 405 {
            assert!(
                answer.head.contains("allow: "),
                "{method} {path} {answer:?}"
            );
        }
    }
    let form = b"POST /v1/pause HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n\r\nreason=x";
    exchange(connect(&world), form).expect_problem(415, "unsupported-media-type");
    let large = "x".repeat(65 * 1024);
    ask(&world, "POST", "/v1/pause", &large).expect_problem(413, "too-large");
    let chunked = format!(
        "POST /v1/pause HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    exchange(connect(&world), chunked.as_bytes()).expect_problem(413, "too-large");
    for (nonsense, statuses) in [
        // What is no HTTP at all may also be hung up on.
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), [0, 400]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), [0, 400]),
        ("GET /v1/status\r\n\r\n".to_owned(), [0, 400]),
        (
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70_000)),
            [414, 431],
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nX: {large}\r\n\r\n"),
            [431, 431],
        ),
    ] {
        let answer = exchange(connect(&world), nonsense.as_bytes());
        assert!(statuses.contains(&answer.status), "{statuses:?} {answer:?}");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );

    // None of it was done, and those who are too slow are let go.
    let status = ask(&world, "GET", "/v1/status", "").json();
    assert_eq!(status["paused"], Value::Null);
    for (place, stream) in slow.into_iter().enumerate() {
        let answer = exchange(stream, b"");
        match place {
            0..10 => assert!(matches!(answer.status, 0 | 408), "{place} {answer:?}"),
            _ => {
                answer.expect_problem(408, "too-slow");
            }
        }
    }
    end(daemon);
}

#[test]
fn a_document_says_what_the_daemon_answers_and_third_party_software_agrees() {
    let mut world = World::synced(&Person::four());
    let (daemon, port) = at_port(&mut world, "");
    let venv = Path::new(ROOT).join("target/control-venv");
    let setup = Path::new(ROOT).join("tests/scim/setup.sh");
    let requirements = Path::new(ROOT).join("tests/control/requirements.txt");
    expect_success(Command::new(setup).arg(&venv).arg(requirements));
    let work = tempfile::tempdir().unwrap();
    let printed = expect_success(
        Command::new(Path::new(ROOT).join("tests/control/suite.sh"))
            .arg(&venv)
            .arg(format!("http://127.0.0.1:{port}"))
            .env("TOKEN", TOKEN)
            .current_dir(&work),
    );
    println!("{printed}");
    assert!(printed.contains("No issues found"), "{printed}");
    world.dirsyncd.run(&["status", "--quiet"]).expect_code(0);
    let log = daemon.stderr();
    assert!(!log.contains(TOKEN) && !log.contains("panicked"), "{log}");
    end(daemon);
}

/// Runs a command to its end, which must be a good one; answers what it printed.
pub(crate) fn expect_success(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{}\n{printed}", output.status);
    printed
}
