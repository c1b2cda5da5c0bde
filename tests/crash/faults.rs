//! Disk, database, API, directory and clock fail under the run: it is told in plain words, and the next sync is right.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::runtime::Runtime;

use crate::stage::{Scene, Stage, in_the_middle};
use crate::support::{Output, database};
use crate::trap::{How, Trap, Trapped, count};

const PATIENCE: Duration = Duration::from_secs(60);

/// It goes on, to its end.
#[track_caller]
fn go_on(trapped: Trapped, code: i32, words: &[&str]) -> Output {
    trapped.running.signal("CONT");
    let (output, _) = trapped.wait(PATIENCE);
    output.expect_code(code).expect_words(words)
}

#[test]
fn a_full_disk_is_told_whenever_it_gets_full() {
    let stage = Stage::of(1);
    let pages = count(&stage.events, "p");
    let mut refused = 0;
    for at in (1..=pages).step_by(usize::try_from(pages / 24).unwrap()) {
        let mut scene = stage.scene();
        let trap = Trap {
            what: "p",
            at,
            how: How::Full,
        };
        let (output, _) = scene.run(trap);
        // That the log cannot be brought into the database file at the end is no loss.
        if output.code != Some(0) {
            let path = scene.dirsyncd.database().display().to_string();
            let words = [
                "the disk with the database",
                &path,
                "is full",
                "make room and run again",
            ];
            let output = output.expect_code(1).expect_words(&words);
            let has_begun = scene.writes() > 0;
            let is_told = output
                .stderr
                .contains("broke off while changes were being sent");
            assert_eq!(is_told, has_begun, "{at} of {pages}: {output}");
            refused += 1;
        }
        scene.expect_end_by_sync(&format!("full at {at} of {pages}"));
    }
    assert!(refused > 15, "{refused}");
}

/// Another program that writes into the database.
struct Intruder {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Intruder {
    fn begin(path: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let connection = runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(path);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query("BEGIN IMMEDIATE")
                .execute(&mut connection)
                .await
                .unwrap();
            connection
        });
        Intruder {
            runtime,
            connection,
        }
    }

    fn end(self) {
        let Intruder {
            runtime,
            connection,
        } = self;
        runtime.block_on(connection.close()).unwrap();
    }
}

#[test]
fn a_database_that_another_program_has_locked_is_told_before_anything_is_sent() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    let path = scene.dirsyncd.database();
    let intruder = Intruder::begin(&path);

    let (output, _) = scene.run(Trap::NONE);

    let path = path.display().to_string();
    output.expect_code(1).expect_words(&[
        &path,
        "is locked by another program",
        "close what has it open",
    ]);
    assert_eq!(scene.writes(), 0);
    intruder.end();
    scene.expect_end_by_sync("locked at the start");
}

#[test]
fn a_database_that_another_program_locks_under_the_run_ends_it() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    let sync = in_the_middle(&stage, &mut scene);
    let intruder = Intruder::begin(&scene.dirsyncd.database());

    go_on(
        sync,
        1,
        &[
            "is locked by another program",
            "the run broke off while changes were being sent",
        ],
    );

    scene.wait_for_requests();
    intruder.end();
    scene.expect_end_by_sync("locked in the middle");
}

/// No person has two accounts.
#[track_caller]
fn expect_nobody_twice(scene: &Scene<'_>) {
    let accounts = scene.organization.accounts();
    let keys: BTreeSet<_> = accounts.iter().map(|one| &one.external_id).collect();
    assert_eq!(keys.len(), accounts.len());
}

#[test]
fn a_database_that_is_removed_under_the_run_ends_it_and_the_next_finds_the_accounts_again() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    let sync = in_the_middle(&stage, &mut scene);
    let path = scene.dirsyncd.database();
    let files = std::fs::read_dir(scene.dirsyncd.state()).unwrap();
    for file in files {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|ending| ending != "lock") {
            std::fs::remove_file(file).unwrap();
        }
    }

    go_on(
        sync,
        1,
        &[
            &path.display().to_string(),
            "was removed or replaced",
            "the run broke off",
        ],
    );

    scene.wait_for_requests();
    assert!(
        !path.exists(),
        "it was made anew by a run that knew the old one"
    );
    // Groups shrink only once it is known again who of the people in them is ours.
    scene.run(Trap::NONE).0.expect_code(0);
    scene.run(Trap::NONE).0.expect_code(0);
    scene.dirsyncd.expect_nothing_to_do();
    expect_nobody_twice(&scene);
}

#[test]
fn a_database_that_is_replaced_under_the_run_ends_it_and_the_next_goes_by_the_other_one() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    let sync = in_the_middle(&stage, &mut scene);
    let path = scene.dirsyncd.database();
    for ending in ["-wal", "-shm"] {
        let mut name = path.clone().into_os_string();
        name.push(ending);
        std::fs::remove_file(name).unwrap();
    }
    let copy = path.with_extension("copy");
    std::fs::copy(stage.database(), &copy).unwrap();
    std::fs::rename(&copy, &path).unwrap();

    go_on(
        sync,
        1,
        &[
            &path.display().to_string(),
            "was removed or replaced",
            "the run broke off",
        ],
    );

    scene.wait_for_requests();
    // It knows nothing of what was done since: it does the rest, and what it does again has no effect. Only a deletion
    // that is under way is refused a second one.
    let (output, _) = scene.run(Trap::NONE);
    let output = output.expect_code(4);
    output.expect_words(&["deletionPending", ", 1 failed."]);
    // That one is tried again later, and whose deletion was cancelled gets the login.
    let told = scene.dirsyncd.plan();
    let left = told.list("operations").iter();
    let left: Vec<&str> = left.filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(left, ["restore"]);
    assert_eq!(told.json["summary"]["waiting"], 1);
    expect_nobody_twice(&scene);
    for leaver in &stage.leavers {
        assert!(!scene.organization.of_key(&leaver.key()).unwrap().active);
    }
    // It is the other one, and whole.
    assert_eq!(database::texts(&path, "PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn an_api_that_goes_down_under_the_run_ends_it() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    let sync = in_the_middle(&stage, &mut scene);
    scene.organization.kill();

    go_on(sync, 4, &["left for the next run", "the run ended early"]);

    scene.restart_organization();
    scene.run(Trap::NONE).0.expect_code(0);
    let story = "the API went down";
    scene.told(story).expect_state_as(&stage.reference, story);
    scene.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_directory_that_goes_down_under_the_run_does_no_harm() {
    let stage = Stage::of(1);
    let said = count(&stage.events, "d");
    let mut failed = 0;
    // How often it speaks with the directory differs by some between runs, and the last of it is parting.
    for at in [1, 2, said / 3, said / 2, said * 2 / 3] {
        let mut scene = stage.scene();
        let trap = Trap {
            what: "d",
            at,
            how: How::Stop,
        };
        let sync = scene.start(trap);
        sync.wait_until_stopped();
        stage.slapd.stop();

        sync.running.signal("CONT");
        let (output, _) = sync.wait(PATIENCE);

        let output = output.expect_words(&["ldaps://127.0.0.1"]);
        if output.code == Some(1) {
            assert_eq!(scene.writes(), 0, "{at} of {said}");
            failed += 1;
        } else {
            // Where the missing are, or who is in groups, could not be read any more: the rest is done.
            let output = output.expect_code(3);
            // By the connection that was there, or by a new one.
            let words = ["stopped answering", "check `url`"];
            let has_said = words.iter().any(|words| output.stdout.contains(words));
            assert!(has_said, "{}", output.stdout);
        }
        stage.slapd.start_again();
        scene.expect_end_by_sync(&format!("the directory went down at {at} of {said}"));
    }
    assert!(failed > 1, "{failed}");
}

#[test]
fn a_database_that_another_program_locks_keeps_nobody_who_is_asked_to_stop() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    let sync = in_the_middle(&stage, &mut scene);
    let intruder = Intruder::begin(&scene.dirsyncd.database());
    sync.running.signal("TERM");
    sync.running.signal("CONT");

    let (output, _) = sync.wait(Duration::from_secs(10));

    output
        .expect_code(1)
        .expect_words(&["is locked by another program"]);
    scene.wait_for_requests();
    intruder.end();
    scene.expect_end_by_sync("locked, and asked to stop");
}

#[test]
fn a_clock_that_is_set_in_the_middle_of_a_run_dates_nothing_and_ends_no_run() {
    const DAY: i64 = 24 * 60 * 60;
    let stage = Stage::of(1);
    for ahead in [DAY, -DAY] {
        let mut scene = stage.scene();
        scene.dirsyncd.rest += "[apply]\ndeadline = \"30m\"\n";

        let (output, _) = scene.start_leaping(ahead).wait(PATIENCE);

        output.expect_code(0);
        let path = scene.dirsyncd.database();
        let last = "SELECT max(id) FROM runs";
        let odd = [
            format!(
                "SELECT 'run' FROM runs WHERE id = ({last}) AND finished_at NOT BETWEEN started_at AND started_at + 600000"
            ),
            format!(
                "SELECT kind FROM operations, runs WHERE run_id = runs.id AND run_id = ({last}) AND answered_at NOT BETWEEN started_at AND finished_at"
            ),
            format!(
                "SELECT lifecycle FROM accounts, runs WHERE runs.id = ({last}) AND since > finished_at"
            ),
        ];
        for odd in odd {
            let found = database::texts(&path, &odd);
            assert!(found.is_empty(), "{ahead} seconds ahead: {odd}: {found:?}");
        }
        let dated = format!(
            "SELECT DISTINCT lifecycle FROM accounts, runs WHERE runs.id = ({last}) AND since BETWEEN started_at AND finished_at ORDER BY lifecycle"
        );
        let dated = database::texts(&path, &dated);
        assert_eq!(dated, ["deactivated", "delete_pending"]);
        scene.expect_end_by_sync(&format!("{ahead} seconds ahead"));
    }
}

#[test]
fn a_clock_that_is_a_day_wrong_takes_nobodys_account_and_does_no_harm_later() {
    const DAY: i64 = 24 * 60 * 60;
    let stage = Stage::of(1);
    stage.slapd.certify("20200101000000Z", "20400101000000Z");
    for ahead in [DAY, -DAY] {
        let mut scene = stage.scene();

        let (output, _) = scene.start_ahead(ahead).wait(PATIENCE);

        let words = [
            "this machine says that it is",
            "departures held",
            "set the clock right (NTP) and run again",
        ];
        output.expect_code(3).expect_words(&words);
        for leaver in &stage.leavers {
            assert!(scene.organization.of_key(&leaver.key()).unwrap().active);
        }
        scene
            .dirsyncd
            .run(&["approve", "clock", "--reason", "it is late"])
            .expect_code(2)
            .expect_words(&["`clock` cannot be approved", "set the clock right"]);
        // Set right, all is as if it had never been wrong.
        scene.expect_end_by_sync(&format!("{ahead} seconds ahead"));
    }
}
