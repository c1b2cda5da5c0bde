//! One lock a database, whose files are the daemon's.

use std::os::unix::fs::{MetadataExt, chown, symlink};

use super::*;

fn is_root(folder: &Path) -> bool {
    folder.metadata().unwrap().uid() == 0
}

async fn refused(path: &Path) -> SnapshotError {
    match Journal::open(path).await {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_database_has_one_lock_by_whatever_links_a_path_leads_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("real")).unwrap();
    symlink("real", path("folder")).unwrap();
    symlink("folder/dirsyncd.db", path("link.db")).unwrap();
    symlink("link.db", path("far.db")).unwrap();
    let names = [
        "real/dirsyncd.db",
        "folder/dirsyncd.db",
        "link.db",
        "far.db",
    ]
    .map(path);
    // The first time the links lead to no file yet.
    for _ in 0..2 {
        for one in names.iter().rev() {
            let mut journal = Journal::open(one).await.unwrap();
            journal.begin_run("test", now()).await.unwrap();
            for other in &names {
                assert!(Lock::is_held(other), "{}", other.display());
                let error = refused(other).await;
                assert!(matches!(error, SnapshotError::Locked { .. }), "{error}");
            }
            journal.close().await.unwrap();
            assert!(names.iter().all(|other| !Lock::is_held(other)));
        }
    }
    let daemon = Lock::daemon(&names[3]).unwrap();
    for other in &names {
        let error = Lock::daemon(other).err();
        assert!(matches!(error, Some(SnapshotError::Served { .. })));
    }
    drop(daemon);
    let here = std::fs::read_dir(folder.path()).unwrap();
    let mut here: Vec<_> = here.map(|one| one.unwrap().file_name()).collect();
    here.sort();
    assert_eq!(here, ["far.db", "folder", "link.db", "real"]);
}

#[tokio::test]
async fn a_lock_file_of_two_names_is_to_be_removed_when_nobody_has_it() {
    let (folder, journal) = new_journal().await;
    let database = folder.path().join("dirsyncd.db");
    let other = folder.path().join("other");
    std::fs::hard_link(folder.path().join("dirsyncd.db.lock"), &other).unwrap();
    let error = refused(&database).await;
    assert!(matches!(error, SnapshotError::Locked { .. }), "{error}");
    journal.close().await.unwrap();
    let error = refused(&database).await.to_string();
    let words = "dirsyncd.db.lock: it has another name as well: remove it";
    assert!(error.contains(words), "{error}");
    std::fs::remove_file(other).unwrap();
    Journal::open(&database)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_put_in_the_place_of_a_file_while_it_is_opened_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dirsyncd.db");
    let lock = Lock::writer(&path).unwrap();
    assert!(lock.standing().unwrap().check().is_ok());
    let file = folder.path().join("dirsyncd.db.lock");
    std::fs::rename(&file, folder.path().join("old.lock")).unwrap();
    let another = Lock::writer(&path).unwrap();
    assert!(another.standing().unwrap().check().is_ok());
    // The one who has the old one does not take the new one for its own.
    let moved = lock.standing().unwrap().check();
    assert!(matches!(moved, Err(SnapshotError::Moved { path }) if path == file));
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_ends_the_run() {
    let (folder, journal) = new_journal().await;
    journal.close().await.unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(path("dirsyncd.db"), path("copy.db")).unwrap();
    symlink("dirsyncd.db", path("link.db")).unwrap();
    let mut journal = Journal::open(&path("link.db")).await.unwrap();
    journal.begin_run("test", now()).await.unwrap();
    std::fs::remove_file(path("link.db")).unwrap();
    symlink("copy.db", path("link.db")).unwrap();
    let moved = journal.begin_run("test", now()).await;
    assert!(matches!(moved, Err(SnapshotError::Moved { .. })));
}

#[tokio::test]
async fn what_root_makes_before_the_daemon_is_the_daemon_s() {
    let folder = tempfile::tempdir().unwrap();
    if !is_root(folder.path()) {
        return;
    }
    chown(folder.path(), Some(65_534), Some(65_533)).unwrap();
    let path = folder.path().join("dirsyncd.db");
    let daemon = Lock::daemon(&path).unwrap();
    let mut journal = Journal::open(&path).await.unwrap();
    journal.begin_run("test", now()).await.unwrap();
    let mut seen = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let found = file.metadata().unwrap();
        let owner = (found.uid(), found.gid(), found.mode() & 0o7777);
        assert_eq!(owner, (65_534, 65_533, 0o600), "{}", file.path().display());
        seen.push(file.file_name());
    }
    seen.sort();
    // The files that SQLite makes too.
    let ours = ["", ".daemon.lock", ".lock", "-shm", "-wal"];
    let mut ours = ours.map(|ending| std::ffi::OsString::from(format!("dirsyncd.db{ending}")));
    ours.sort();
    assert_eq!(seen, ours);
    journal.close().await.unwrap();
    drop(daemon);
}
