//! A backup that is made in the middle of a sync.

use std::time::Duration;

use crate::stage::{Stage, in_the_middle};
use crate::support::database;

#[test]
fn a_backup_from_the_middle_of_a_sync_is_where_the_next_one_goes_on() {
    let stage = Stage::of(1);
    let mut scene = stage.scene();
    let first = in_the_middle(&stage, &mut scene);
    let file = scene.dirsyncd.folder().join("backup.db");
    let path = file.display().to_string();
    scene.dirsyncd.run(&["backup", &path]).expect_code(0);
    let unanswered = "SELECT kind FROM operations WHERE state IN ('intended', 'sent')";
    let open = database::texts(&file, unanswered);
    assert!(!open.is_empty());
    assert_eq!(
        open,
        database::texts(&scene.dirsyncd.database(), unanswered)
    );

    first.running.signal("KILL");
    assert_eq!(first.wait(Duration::from_secs(5)).0.code, None);
    scene.wait_for_requests();
    for ending in ["", "-wal", "-shm"] {
        let path = format!("{}{ending}", scene.dirsyncd.database().display());
        std::fs::remove_file(path).unwrap();
    }
    std::fs::copy(&file, scene.dirsyncd.database()).unwrap();
    scene.expect_end_by_sync("the database was restored from the middle");
}
