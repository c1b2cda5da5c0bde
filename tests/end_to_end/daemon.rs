//! The daemon, and two processes on one database.

use std::time::Duration;

use serde_json::Value;

use crate::support::program::Running;
use crate::support::{
    Person, SOON, World, database, eventually, file_reference, replaced, write_private,
};

/// A daemon whose jobs are far away.
fn once_a_year(people: &[Person]) -> World {
    let mut world = World::of(people);
    world.dirsyncd.rest = "[schedule]\nsync = \"0 0 1 1 *\"\n".to_owned();
    world
}

fn expect_logged(daemon: &Running, words: &str) {
    eventually(words, SOON, || {
        daemon.stderr().contains(words).then_some(())
    });
}

fn every_second(people: &[Person]) -> World {
    let mut world = World::of(people);
    world.dirsyncd.rest = "[schedule]\nsync = \"* * * * * *\"\n".to_owned();
    world
}

#[test]
fn the_daemon_brings_changes_over_by_itself_and_ends_on_sigterm() {
    let mut world = every_second(&Person::four());
    world
        .dirsyncd
        .set_source("password", "{ credential = \"ldap-password\" }");
    let daemon = world.dirsyncd.start(&["run"]);
    let systemd = daemon.systemd();

    systemd.expect("READY=1");
    systemd.expect("STATUS=waiting; sync at ");
    systemd.expect("STATUS=sync is at work");
    eventually("the four accounts", SOON, || {
        (world.organization.active() == 4).then_some(())
    });
    let joiner = Person::new("radia", "Radia", "Perlman");
    world.slapd.add(&joiner);
    world.slapd.delete(&Person::four()[0].dn());
    eventually("the joiner's account", SOON, || {
        world.organization.of_key(&joiner.key())
    });
    eventually("the leaver's deactivation", SOON, || {
        (!world.account(&Person::four()[0]).active).then_some(())
    });

    daemon.signal("TERM");
    daemon.wait_within(Duration::from_secs(10)).expect_code(0);
    // Nobody passes credentials to a command by hand.
    let password = file_reference(&world.dirsyncd.password_file());
    world.dirsyncd.set_source("password", &password);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn what_systemd_is_told_of_a_pause_is_one_line() {
    let world = once_a_year(&[]);
    let daemon = world.dirsyncd.start(&["run"]);
    expect_logged(&daemon, "waiting for the next run");
    daemon.signal("TERM");
    daemon.wait().expect_code(0);
    // As no version takes it any more.
    database::execute(
        &world.dirsyncd.database(),
        "INSERT INTO pause VALUES (1, 0, 'ann', 1, NULL, 'a' || char(10) || 'MAINPID=1')",
    );
    let daemon = world.dirsyncd.start(&["run"]);
    let told = daemon.systemd().expect("STATUS=paused since ");
    assert!(told.trim_end().ends_with(": a MAINPID=1"), "{told:?}");
    daemon.signal("TERM");
    daemon.wait().expect_code(0);
}

#[test]
fn the_daemon_outlives_a_directory_that_is_away() {
    let world = every_second(&Person::four());
    let daemon = world.dirsyncd.start(&["run"]);
    eventually("the four accounts", SOON, || {
        (world.organization.active() == 4).then_some(())
    });
    world.slapd.stop();

    eventually("the error in the log", SOON, || {
        let log = daemon.stderr();
        log.contains("cannot connect to ldaps://").then_some(())
    });
    assert_eq!(world.organization.active(), 4);

    world.slapd.start_again();
    let joiner = Person::new("radia", "Radia", "Perlman");
    world.slapd.add(&joiner);
    eventually("the joiner's account", SOON, || {
        world.organization.of_key(&joiner.key())
    });
    daemon.signal("TERM");
    let output = daemon.wait_within(Duration::from_secs(10)).expect_code(0);
    let escapes = output.stderr.matches('\u{1b}').count();
    assert_eq!(
        escapes, 0,
        "a log that is no terminal has colours: {output}"
    );
}

#[test]
fn a_daemon_that_is_stopped_in_the_middle_of_a_run_finishes_what_is_under_way() {
    let people = Person::several(24);
    let world = every_second(&people);
    world.organization.slow_writes(700);
    let mark = world.organization.mark();
    let daemon = world.dirsyncd.start(&["run"]);
    eventually("the first write", SOON, || {
        world.organization.writes_since(mark).first().cloned()
    });

    daemon.signal("TERM");
    daemon.wait_within(Duration::from_secs(10)).expect_code(0);

    let made = world.organization.accounts().len();
    assert!((1..24).contains(&made), "{made}");
    assert_eq!(database::accounts(&world.dirsyncd.database()).len(), made);
    world.organization.heal();
    world.dirsyncd.sync(0);
    world.dirsyncd.expect_nothing_to_do();
    assert_eq!(world.organization.writes_since(mark).len(), 24);
}

#[test]
fn a_daemon_without_a_schedule_is_a_wrong_configuration() {
    let world = World::of(&[]);
    world
        .dirsyncd
        .run(&["run"])
        .expect_code(2)
        .expect_words(&["there is no [schedule]", "*/15 * * * *"]);
}

#[test]
fn a_second_sync_at_the_same_time_is_refused_and_names_the_first() {
    let world = World::of(&Person::four());
    world.organization.slow_writes(1500);
    let mark = world.organization.mark();
    let first = world.dirsyncd.start(&["sync"]);
    eventually("the first write", SOON, || {
        world.organization.writes_since(mark).first().cloned()
    });

    let holder = format!("another dirsyncd (process {},", first.id());
    world
        .dirsyncd
        .sync(1)
        .expect_words(&[&holder, "only one may write"]);
    // Who only looks is not in the way.
    world.dirsyncd.run(&["plan"]).expect_code(0);

    first.wait().expect_code(0);
    assert_eq!(world.organization.writes_since(mark).len(), 4);
    assert_eq!(world.organization.accounts().len(), 4);
}

#[test]
fn a_second_daemon_refuses_to_start_and_names_the_first() {
    let world = once_a_year(&Person::four());
    let first = world.dirsyncd.start(&["run"]);
    expect_logged(&first, "waiting for the next run");
    let second = world.dirsyncd.start(&["run"]);
    let holder = format!("process {}", first.id());
    second
        .wait_within(Duration::from_secs(5))
        .expect_code(1)
        .expect_words(&[&holder]);
}

#[test]
fn sigusr1_syncs_at_once_and_once_more_after_what_is_at_work() {
    let world = once_a_year(&Person::four());
    let daemon = world.dirsyncd.start(&["run"]);
    expect_logged(&daemon, "waiting for the next run");
    assert_eq!(world.organization.active(), 0);
    world.organization.slow_writes(500);
    daemon.signal("USR1");
    eventually("the first account", SOON, || {
        (world.organization.active() > 0).then_some(())
    });
    // Who comes while the first sync is at work is seen by the one that is asked for meanwhile.
    let joiner = Person::new("radia", "Radia", "Perlman");
    world.slapd.add(&joiner);
    daemon.signal("USR1");
    eventually("the joiner's account", SOON, || {
        world.organization.of_key(&joiner.key())
    });
    let triggers = "SELECT DISTINCT \"trigger\" FROM runs";
    assert_eq!(
        database::texts(&world.dirsyncd.database(), triggers),
        ["signal"]
    );
    daemon.signal("TERM");
    daemon.wait_within(Duration::from_secs(10)).expect_code(0);
}

#[test]
fn sighup_takes_the_configuration_anew_and_keeps_the_old_one_if_the_new_is_wrong() {
    let mut world = once_a_year(&Person::four());
    let daemon = world.dirsyncd.start(&["run"]);
    let systemd = daemon.systemd();
    systemd.expect("READY=1");
    systemd.expect("STATUS=waiting; sync at ");
    let config = world.dirsyncd.config_file();

    for (wrong, words) in [
        ("nonsense".to_owned(), "expected `=`"),
        (
            world.dirsyncd.config().replace("sync =", "snyc ="),
            "did you mean `sync`?",
        ),
        (
            world.dirsyncd.config().replace("dirsyncd.db", "other.db"),
            "needs a restart",
        ),
        // What would only be missed when the next job begins.
        (
            world
                .dirsyncd
                .config()
                .replace("ca_file = \"", "ca_file = \"/nowhere"),
            "the CA file /nowhere",
        ),
        (
            replaced(
                &world.dirsyncd.config(),
                "password",
                "{ credential = \"ldap-pasword\" }",
            ),
            "ldap-pasword",
        ),
    ] {
        write_private(&config, wrong);
        daemon.signal("HUP");
        systemd.expect("RELOADING=1");
        systemd.expect("READY=1");
        expect_logged(&daemon, words);
        assert!(daemon.stderr().contains("the configuration is not taken"));
        systemd.expect("is refused, the former one in force");
    }
    let status = world.dirsyncd.run(&["status", "--json"]).expect_code(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    let why = status["daemon"]["refused_config"]["why"].as_str().unwrap();
    assert!(why.contains("ldap-pasword"), "{why}");
    assert!(!daemon.stderr().contains("in force\n"));

    world.dirsyncd.rest = "[schedule]\nsync = \"* * * * * *\"\n".to_owned();
    write_private(&config, world.dirsyncd.config());
    daemon.signal("HUP");
    let reloading = systemd.expect("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    systemd.expect("READY=1");
    eventually("the four accounts", SOON, || {
        (world.organization.active() == 4).then_some(())
    });
    let status = world.dirsyncd.run(&["status", "--json"]).expect_code(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["daemon"]["refused_config"], Value::Null);
    daemon.signal("TERM");
    daemon.wait_within(Duration::from_secs(10)).expect_code(0);
}

#[test]
fn a_daemon_without_what_its_configuration_names_does_not_start() {
    let mut world = once_a_year(&Person::four());
    let secret = "scim_key = { credential = \"scim-kye\" }";
    let lines = world.dirsyncd.organization.lines();
    let lines = lines.map(|line| match line.starts_with("scim_key") {
        true => secret,
        false => line,
    });
    world.dirsyncd.organization = lines.map(|line| format!("{line}\n")).collect();
    let output = world.dirsyncd.run(&["run"]).expect_code(2);
    output.expect_words(&["scim-kye", "config.toml"]);
    assert!(!world.dirsyncd.database().exists());
}

#[test]
fn a_job_that_is_broken_off_is_begun_anew_when_the_daemon_is_back() {
    for signal in ["KILL", "TERM"] {
        // More than go out at once.
        let people =
            (0..20).map(|at| Person::new(&format!("person{at}"), "Ada", &format!("Number{at}")));
        let mut world = World::of(&people.collect::<Vec<_>>());
        let with = |settings: &str| format!("[schedule]\nsync = \"0 0 1 1 *\"\n{settings}");
        world.dirsyncd.rest = with("at_start = true\n");
        world.organization.slow_writes(700);
        let daemon = world.dirsyncd.start(&["run"]);
        eventually("the first accounts", SOON, || {
            (world.organization.active() > 0).then_some(())
        });
        daemon.signal(signal);
        daemon.wait_within(Duration::from_secs(10));
        let path = world.dirsyncd.database();
        let triggers = || database::texts(&path, "SELECT \"trigger\" FROM runs ORDER BY id");
        assert_eq!(triggers(), ["start"]);

        world.organization.heal();
        world.dirsyncd.rest = with("");
        for expected in [&["start", "missed"][..]; 2] {
            let daemon = world.dirsyncd.start(&["run"]);
            expect_logged(&daemon, "waiting for the next run");
            assert_eq!(world.organization.active(), 20, "{signal}");
            daemon.signal("TERM");
            daemon.wait_within(Duration::from_secs(10)).expect_code(0);
            assert_eq!(triggers(), expected, "{signal}");
        }
    }
}

#[test]
fn the_log_as_json_is_on_standard_output() {
    let mut world = once_a_year(&Person::four());
    world.dirsyncd.rest += "[log]\nformat = \"json\"\n";
    let daemon = world.dirsyncd.start(&["run"]);
    eventually("the log", SOON, || {
        daemon
            .stdout()
            .contains("waiting for the next run")
            .then_some(())
    });
    daemon.signal("TERM");
    let output = daemon.wait_within(Duration::from_secs(10)).expect_code(0);
    for line in output.stdout.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert!(entry["fields"]["message"].is_string(), "{line}");
    }
    assert_eq!(output.stderr, "");
}

#[test]
fn a_run_that_was_missed_while_the_daemon_was_down_is_made_up_for_once() {
    let mut world = World::of(&Person::four());
    let with = |settings: &str| format!("[schedule]\nsync = \"0 0 1 1 *\"\n{settings}");
    world.dirsyncd.rest = with("at_start = true\n");
    let daemon = world.dirsyncd.start(&["run"]);
    eventually("the four accounts", SOON, || {
        (world.organization.active() == 4).then_some(())
    });
    expect_logged(&daemon, "waiting for the next run");
    daemon.signal("TERM");
    daemon.wait_within(Duration::from_secs(10)).expect_code(0);

    let runs = |world: &World| {
        let count = "SELECT count(*) || '' FROM runs";
        database::texts(&world.dirsyncd.database(), count)
    };
    assert_eq!(runs(&world), ["1"]);
    let long_ago = "UPDATE jobs SET begun_at = begun_at - 2 * 366 * 86400000";
    for (settings, is_missed, expected) in [
        ("", false, "1"),
        ("catch_up = false\n", true, "1"),
        ("", true, "2"),
        ("", false, "2"),
    ] {
        world.dirsyncd.rest = with(settings);
        if is_missed {
            database::execute(&world.dirsyncd.database(), long_ago);
        }
        let daemon = world.dirsyncd.start(&["run"]);
        expect_logged(&daemon, "waiting for the next run");
        daemon.signal("TERM");
        daemon.wait_within(Duration::from_secs(10)).expect_code(0);
        assert_eq!(runs(&world), [expected], "{settings} {is_missed}");
    }
}

#[test]
fn the_watchdog_is_told_as_long_as_the_work_goes_on() {
    let mut world = World::of(&Person::four());
    world.dirsyncd.rest =
        "[schedule]\nsync = \"0 0 1 1 *\"\n[daemon]\nhang_after = \"1s\"\n".to_owned();
    let daemon = world.dirsyncd.start(&["run"]);
    let systemd = daemon.systemd();
    systemd.expect("READY=1");
    for _ in 0..20 {
        systemd.expect("WATCHDOG=1");
    }
    // While nothing is to be done, nothing hangs.
    assert!(!daemon.stderr().contains("has not gone on"));

    world.organization.slow_writes(60_000);
    daemon.signal("USR1");
    expect_logged(&daemon, "the work has not gone on for 1s");
    systemd.expect_silence(Duration::from_secs(2));
    // With more patience, what has not gone on for so long may go on.
    let rest = world.dirsyncd.rest.replace("\"1s\"", "\"1h\"");
    world.dirsyncd.rest = rest;
    write_private(&world.dirsyncd.config_file(), world.dirsyncd.config());
    daemon.signal("HUP");
    systemd.expect("READY=1");
    systemd.expect("WATCHDOG=1");
    daemon.signal("KILL");
    daemon.wait();
}
