//! The daemon, and two processes on one database.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::{Person, SOON, World, database, eventually};

/// What systemd would be told, as far as it has come.
fn told(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn every_second(people: &[Person]) -> World {
    let mut world = World::of(people);
    world.dirsyncd.rest = "[schedule]\nsync = \"* * * * * *\"\n".to_owned();
    world
}

#[test]
fn the_daemon_brings_changes_over_by_itself_and_ends_on_sigterm() {
    let world = every_second(&Person::four());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let daemon = world
        .dirsyncd
        .start_with(&["run"], &[("NOTIFY_SOCKET", &path)]);

    let ready = eventually("READY=1", SOON, || told(&socket));
    assert!(ready.contains("READY=1"), "{ready}");
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
    let stopping = eventually("STOPPING=1", SOON, || told(&socket));
    assert!(stopping.contains("STOPPING=1"), "{stopping}");
    world.dirsyncd.expect_nothing_to_do();
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
    let mut world = World::of(&Person::four());
    world.dirsyncd.rest = "[schedule]\nsync = \"0 0 1 1 *\"\n".to_owned();
    let first = world.dirsyncd.start(&["run"]);
    eventually("the first daemon", SOON, || {
        first
            .stderr()
            .contains("waiting for the next run")
            .then_some(())
    });
    let second = world.dirsyncd.start(&["run"]);
    let holder = format!("process {}", first.id());
    second
        .wait_within(Duration::from_secs(5))
        .expect_code(1)
        .expect_words(&[&holder]);
}
