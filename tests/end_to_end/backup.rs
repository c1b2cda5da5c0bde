//! Backups: consistent while a sync writes, whole or not at all, and good for what they are made for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::people::directory;
use crate::support::unchanged::tree_digest;
use crate::support::{Dirsyncd, Organization, Output, Person, SOON, database, eventually};

/// A company in an LDIF file, after its first sync.
struct Company {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
}

impl Company {
    fn of(count: usize) -> Self {
        let organization = Organization::start();
        let people = Person::several(count);
        let dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        dirsyncd.sync(0);
        Company {
            organization,
            dirsyncd,
            people,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dirsyncd.folder().join(name)
    }

    fn back_up(&self, file: &Path, more: &[&str]) -> Output {
        let file = file.display().to_string();
        let words = [&["backup", file.as_str()], more].concat();
        self.dirsyncd.run(&words)
    }

    /// Puts a backup in the database's place.
    fn restore(&self, file: &Path) {
        for ending in ["", "-wal", "-shm"] {
            let path = format!("{}{ending}", self.dirsyncd.database().display());
            // Those beside it are there only while it is open.
            let _ = std::fs::remove_file(path);
        }
        std::fs::copy(file, self.dirsyncd.database()).unwrap();
    }
}

/// The file must be a whole database, in which all answers and rows fit each other.
#[track_caller]
fn expect_whole(file: &Path) {
    assert_eq!(database::texts(file, "PRAGMA integrity_check"), ["ok"]);
    let faults = "SELECT count(*) || '' FROM pragma_foreign_key_check";
    assert_eq!(database::texts(file, faults), ["0"]);
    // An answer and its account's row are written at once.
    let apart = "SELECT external_id FROM accounts EXCEPT SELECT external_id FROM operations WHERE kind = 'create' AND state = 'done'";
    assert!(database::texts(file, apart).is_empty());
    let apart = "SELECT external_id FROM operations WHERE kind = 'create' AND state = 'done' EXCEPT SELECT external_id FROM accounts";
    assert!(database::texts(file, apart).is_empty());
}

#[test]
fn a_backup_is_private_and_replaces_nothing_unasked() {
    let company = Company::of(4);
    let file = company.file("backup.db");
    let database = company.dirsyncd.database();
    let output = company.back_up(&file, &[]).expect_code(0);
    let (from, to) = (database.display().to_string(), file.display().to_string());
    output.expect_words(&[
        &format!("{from} is backed up in {to}: 4 accounts, up to run 1, "),
        " KiB.",
    ]);
    expect_whole(&file);
    assert_eq!(database::accounts(&file), database::accounts(&database));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    company.dirsyncd.sync(0);
    let before = tree_digest(company.dirsyncd.folder());
    let refused = company.back_up(&file, &[]).expect_code(2);
    refused.expect_words(&[&to, "is there already", "--force"]);
    // Nor is the database its own backup, by whatever name.
    for own in [
        "state/dirsyncd.db",
        "state/../state/dirsyncd.db",
        "state/dirsyncd.db-wal",
        "state/dirsyncd.db.lock",
    ] {
        let refused = company.back_up(&company.file(own), &["--force"]);
        refused
            .expect_code(2)
            .expect_words(&["belongs to the database itself"]);
    }
    let nowhere = company.back_up(&company.file("nowhere/backup.db"), &[]);
    nowhere
        .expect_code(1)
        .expect_words(&["cannot be written to", "No such file or directory"]);
    // What SQLite would take for a part of the new file.
    std::fs::write(company.file("other.db-wal"), "frames").unwrap();
    let refused = company.back_up(&company.file("other.db"), &["--force"]);
    refused
        .expect_code(2)
        .expect_words(&["other.db-wal", "remove both"]);
    std::fs::remove_file(company.file("other.db-wal")).unwrap();
    assert_eq!(tree_digest(company.dirsyncd.folder()), before);

    company
        .back_up(&file, &["--force"])
        .expect_code(0)
        .expect_words(&["up to run 2"]);
    expect_whole(&file);
    let names: Vec<String> = std::fs::read_dir(company.dirsyncd.folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("backup"))
        .collect();
    assert_eq!(names, ["backup.db"], "nothing is left over");
}

#[test]
fn a_backup_replaces_no_file_of_the_database_by_whatever_name() {
    let company = Company::of(2);
    let real = company.file("real");
    std::fs::create_dir(&real).unwrap();
    let database = company.dirsyncd.database();
    std::fs::rename(&database, real.join("kept.db")).unwrap();
    let link = |original: &Path, link: &str| {
        std::os::unix::fs::symlink(original, company.file(link)).unwrap();
    };
    link(&real.join("kept.db"), "state/dirsyncd.db");
    link(&company.dirsyncd.state(), "again");
    link(&database, "other.db");
    std::fs::hard_link(real.join("kept.db"), company.file("hard.db")).unwrap();
    let kept = std::fs::read(real.join("kept.db")).unwrap();
    for own in [
        "state/dirsyncd.db",
        "state/dirsyncd.db-wal",
        "state/dirsyncd.db.lock",
        "state/dirsyncd.db.daemon.lock",
        "real/kept.db",
        "real/kept.db-wal",
        "real/kept.db-journal",
        "again/dirsyncd.db",
        "again/dirsyncd.db-shm",
        "again/dirsyncd.db.lock",
        "other.db",
        "hard.db",
    ] {
        let refused = company.back_up(&company.file(own), &["--force"]);
        refused
            .expect_code(2)
            .expect_words(&["belongs to the database itself"]);
    }
    assert!(database.is_symlink());
    assert_eq!(std::fs::read(real.join("kept.db")).unwrap(), kept);
    company
        .back_up(&company.file("backup.db"), &[])
        .expect_code(0);
    expect_whole(&company.file("backup.db"));
}

#[test]
fn a_backup_that_is_stopped_leaves_nothing_and_one_that_is_killed_leaves_nothing_to_the_next() {
    let company = Company::of(2);
    database::execute(
        &company.dirsyncd.database(),
        "CREATE TABLE ballast AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000)
         SELECT randomblob(1000) AS it FROM n",
    );
    let folders = || {
        let files = std::fs::read_dir(company.dirsyncd.folder()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let ours = names.filter(|name| name.starts_with(".dirsyncd-backup-"));
        ours.collect::<Vec<_>>()
    };
    // Stands still in the middle of it.
    let begun = |name: &str| {
        let running = company
            .dirsyncd
            .start(&["backup", &company.file(name).display().to_string()]);
        eventually("the copy", SOON, || folders().first().cloned());
        running.signal("STOP");
        eventually("the stop", SOON, || running.is_stopped().then_some(()));
        running
    };
    for signal in ["TERM", "INT"] {
        let running = begun("stopped.db");
        running.signal(signal);
        running.signal("CONT");
        let output = running.wait().expect_code(1);
        output.expect_words(&["stopped by a signal: no backup was made"]);
        assert!(!company.file("stopped.db").exists());
        assert_eq!(folders(), [""; 0]);
    }

    let running = begun("killed.db");
    let in_work = folders();
    company
        .back_up(&company.file("meanwhile.db"), &[])
        .expect_code(0);
    assert_eq!(folders(), in_work, "its owner lives");
    running.signal("KILL");
    assert_eq!(running.wait().code, None);
    assert_eq!(folders(), in_work);
    company
        .back_up(&company.file("after.db"), &[])
        .expect_code(0);
    assert_eq!(folders(), [""; 0]);
    expect_whole(&company.file("after.db"));
}

#[test]
fn there_is_no_backup_of_nothing_or_of_what_is_damaged_or_of_a_newer_version() {
    let company = Company::of(60);
    let file = company.file("backup.db");
    let database = company.dirsyncd.database();
    let good = std::fs::read(&database).unwrap();

    database::execute(
        &database,
        "UPDATE _sqlx_migrations SET version = 99990101000000 WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    );
    let newer = std::fs::read(&database).unwrap();
    let path = file.display().to_string();
    for verb in [
        &["backup", path.as_str()][..],
        &["prune"],
        &["retry", "--all"],
        &["sync"],
    ] {
        let refused = company.dirsyncd.run(verb).expect_code(1);
        refused.expect_words(&["was made by a newer dirsyncd", "99990101000000"]);
        assert!(std::fs::read(&database).unwrap() == newer, "{verb:?}");
    }

    let mut damaged = good.clone();
    let length = damaged.len();
    damaged[8192..length - 4096].fill(0xa5);
    std::fs::write(&database, damaged).unwrap();
    company
        .back_up(&file, &[])
        .expect_code(1)
        .expect_words(&["is damaged"]);

    std::fs::remove_file(&database).unwrap();
    company
        .back_up(&file, &[])
        .expect_code(2)
        .expect_words(&["there is no database", "nothing to back up"]);
    assert!(!database.exists() && !file.exists());
    let left = tree_digest(company.dirsyncd.folder());
    assert!(
        left.keys()
            .all(|path| !path.display().to_string().contains("backup"))
    );
}

#[test]
fn backups_while_a_sync_writes_are_each_of_one_moment() {
    let company = Company::of(4);
    let mut people = company.people.clone();
    people.extend(
        (0..400).map(|n| Person::new(&format!("new{n:03}"), "Pat", &format!("New {n:03}"))),
    );
    let mut dirsyncd = company.dirsyncd;
    dirsyncd.rest = "[guards]\ncreate = []\n".to_owned();
    dirsyncd.write_ldif(&directory(&people));
    let running = dirsyncd.start(&["sync"]);
    let accounts = || {
        let count = "SELECT count(*) || '' FROM accounts";
        database::texts(&dirsyncd.database(), count)[0]
            .parse::<usize>()
            .unwrap()
    };
    eventually("the first new account", SOON, || {
        (accounts() > 4).then_some(())
    });

    let mut sizes = Vec::new();
    let mut in_between = 0;
    while sizes.last() != Some(&people.len()) {
        let file = dirsyncd.folder().join(format!("backup-{}.db", sizes.len()));
        // The configuration is the one that the sync has read.
        let words = ["backup", &file.display().to_string()].map(str::to_owned);
        let output = dirsyncd.run(&words.each_ref().map(String::as_str));
        output.expect_code(0);
        expect_whole(&file);
        let count: usize = database::accounts(&file).len();
        in_between += usize::from(count > 4 && count < people.len());
        sizes.push(count);
        std::fs::remove_file(file).unwrap();
    }
    running.wait().expect_code(0);
    assert!(in_between > 0, "{sizes:?}");
    assert!(sizes.is_sorted(), "{sizes:?}");
    dirsyncd.expect_nothing_to_do();
    assert_eq!(company.organization.accounts().len(), people.len());
}

#[test]
fn a_restored_backup_makes_the_right_plan() {
    let mut company = Company::of(6);
    let file = company.file("backup.db");
    company.back_up(&file, &[]).expect_code(0);
    // It is as the organization still is: the plan is that of the database itself.
    "Countess".clone_into(&mut company.people[0].title);
    let leaver = company.people.remove(3);
    company
        .people
        .push(Person::new("radia", "Radia", "Perlman"));
    company.dirsyncd.write_ldif(&directory(&company.people));
    let planned = company.dirsyncd.plan();
    let kinds = ["create", "deactivate", "update"].map(|kind| planned.count(kind));
    assert_eq!(kinds, [1, 1, 1]);
    company.restore(&file);
    let restored = company.dirsyncd.plan();
    assert_eq!(restored.operations(), planned.operations());

    // And of an organization that has gone on, once that was read back.
    company.dirsyncd.sync(0);
    assert!(!company.organization.of_key(&leaver.key()).unwrap().active);
    company.restore(&file);
    company.dirsyncd.run(&["reconcile", "--rebuild"]);
    company.dirsyncd.sync(0);
    company.dirsyncd.expect_nothing_to_do();
    let mark = company.organization.mark();
    company.dirsyncd.sync(0);
    assert!(company.organization.writes_since(mark).is_empty());
    let accounts = company.organization.accounts();
    let active = accounts.iter().filter(|account| account.active).count();
    assert_eq!((accounts.len(), active), (7, 6));
}
