//! One writer: a second one is refused, and who is dead is in nobody's way.

use std::time::Duration;

use crate::stage::{Scene, Stage, in_the_middle};

fn lock_file(scene: &Scene<'_>) -> std::path::PathBuf {
    scene.dirsyncd.state().join("dirsyncd.db.lock")
}

#[test]
fn a_second_writer_is_told_who_the_first_is_and_takes_over_at_once_when_that_is_killed() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    let first = in_the_middle(&stage, &mut scene);
    let writes = scene.writes();

    let since = chrono::Utc::now().format("%Y-%m-%d");
    let holder = format!(
        "another dirsyncd (process {}, since {since}",
        first.running.id()
    );
    for arguments in [&["sync"][..], &["sync", "--full"], &["revert", "1"]] {
        let output = scene.dirsyncd.run(arguments).expect_code(1);
        output.expect_words(&[
            &holder,
            "only one may write",
            "stop it, or wait for its run to end",
        ]);
    }
    assert_eq!(scene.writes(), writes);

    first.running.signal("KILL");
    assert_eq!(first.wait(Duration::from_secs(5)).0.code, None);
    scene.wait_for_requests();
    assert!(lock_file(&scene).exists());
    scene.expect_end_by_sync("the first writer was killed");
}

#[test]
fn a_lock_file_that_names_a_living_process_locks_nothing() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    // As if the id of a killed writer were another program's by now: it is this one's.
    let text = format!(
        "process {}, since 2026-01-01 00:00:00 UTC\n",
        std::process::id()
    );
    crate::support::write_private(&lock_file(&scene), text);

    scene.expect_end_by_sync("a lock file that was left behind");
}

#[test]
fn a_writer_whose_lock_file_is_removed_sends_nothing_more() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    let first = in_the_middle(&stage, &mut scene);
    let path = lock_file(&scene);
    std::fs::remove_file(&path).unwrap();

    first.running.signal("CONT");
    let (output, _) = first.wait(Duration::from_secs(20));

    let path = path.display().to_string();
    output
        .expect_code(1)
        .expect_words(&[&path, "was removed or replaced", "the run broke off"]);
    scene.wait_for_requests();
    scene.expect_end_by_sync("the lock file was removed");
}
