//! The database is not what it should be, or cannot be used.

use std::path::Path;

use crate::catalogue::Chapter;
use crate::refused;
use crate::support::{Person, World, database, file_reference, replaced, set_mode, write_private};

/// `plan` and `sync` refuse and leave the file as it is; `check` tells it. What `plan` says is kept.
#[track_caller]
fn expect_refused(chapter: &mut Chapter, wrong: &str, world: &World) {
    std::fs::write(world.dirsyncd.config_file(), world.dirsyncd.config()).unwrap();
    let content = std::fs::read(world.dirsyncd.database()).unwrap();
    let path = world.dirsyncd.database().display().to_string();
    let mark = world.organization.mark();
    for verb in ["plan", "sync"] {
        let output = world
            .dirsyncd
            .run(&[verb])
            .expect_code(1)
            .expect_words(&[&path]);
        refused::expect_one_error(&output);
        let now = std::fs::read(world.dirsyncd.database()).unwrap();
        assert!(now == content, "{verb} changed the database");
        if verb == "plan" {
            chapter.met(wrong, &output);
        }
    }
    world
        .dirsyncd
        .run(&["check"])
        .expect_code(1)
        .expect_words(&["✗ database: "]);
    assert!(world.organization.writes_since(mark).is_empty());
}

#[test]
fn a_database_that_is_no_use_is_refused_and_left_as_it_is() {
    let mut chapter = Chapter::default();
    let world = World::synced(&Person::several(60));
    let good = std::fs::read(world.dirsyncd.database()).unwrap();
    let execute = |sql: &str| database::execute(&world.dirsyncd.database(), sql);
    execute(
        "UPDATE _sqlx_migrations SET version = 99990101000000 WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    );
    expect_refused(&mut chapter, "of a newer version", &world);
    std::fs::write(world.dirsyncd.database(), &good).unwrap();
    world.slapd.delete(&Person::several(60)[0].dn());
    execute("UPDATE accounts SET profile = '7'");
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    chapter.met("a row that no version writes", &output);
    let mut content = good;
    let length = content.len();
    content[4096..length - 100].fill(0xa5);
    std::fs::write(world.dirsyncd.database(), content).unwrap();
    expect_refused(&mut chapter, "overwritten in its middle", &world);

    let world = World::of(&Person::four());
    write_private(&world.dirsyncd.database(), "My notes. ".repeat(1000));
    expect_refused(&mut chapter, "no database", &world);
    std::fs::remove_file(world.dirsyncd.database()).unwrap();
    database::execute(
        &world.dirsyncd.database(),
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance TEXT); INSERT INTO accounts VALUES (1, 'much')",
    );
    expect_refused(&mut chapter, "of another program", &world);
    chapter.end("database");
}

#[test]
fn a_damaged_page_never_makes_a_wrong_plan() {
    let world = World::synced(&Person::several(60));
    world.slapd.delete(&Person::several(60)[0].dn());
    let right = world.dirsyncd.plan();
    assert_eq!(right.operations().len(), 1);
    let good = std::fs::read(world.dirsyncd.database()).unwrap();
    let pages = good.len() / 4096;
    let mut refusals = 0;
    for page in 0..pages {
        let mut content = good.clone();
        content[page * 4096 + 8..(page + 1) * 4096].fill(0xa5);
        std::fs::write(world.dirsyncd.database(), content).unwrap();
        let output = world.dirsyncd.run(&["plan", "--format", "json"]);
        // A page that a plan does not need may be damaged; any other is told.
        match output.code {
            Some(0) => {
                let plan: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
                assert_eq!(plan["operations"], right.json["operations"], "page {page}");
            }
            Some(1) => {
                output.expect_words(&["restore a backup"]);
                refusals += 1;
            }
            _ => panic!("page {page}: {output}"),
        }
    }
    assert!(refusals > 1, "{refusals} of {pages}");
}

/// Lets everybody into the folder, and gives the secrets to whoever runs the program there.
pub(crate) fn open_to_all(world: &mut World) {
    let folder = world.dirsyncd.folder().to_owned();
    for key in ["scim_key", "admin_key"] {
        let secret = match key {
            "scim_key" => &world.organization.scim_key,
            _ => &world.organization.admin_key,
        };
        let path = folder.join(key);
        write_private(&path, secret);
        give(&path);
        let block = &world.dirsyncd.organization;
        world.dirsyncd.organization = replaced(block, key, &file_reference(&path));
    }
    give(&world.dirsyncd.password_file());
    give(&world.dirsyncd.state());
    for file in std::fs::read_dir(world.dirsyncd.state()).unwrap() {
        give(&file.unwrap().path());
    }
    let ca = folder.join("ca.pem");
    std::fs::copy(world.slapd.ca_file(), &ca).unwrap();
    world
        .dirsyncd
        .set_source("ca_file", &format!("{:?}", ca.display().to_string()));
    set_mode(&folder, 0o755);
}

/// Gives a file to nobody, as whom the program runs where this is root.
pub(crate) fn give(path: &Path) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
}

/// For root no permission counts, so as root the program runs as nobody.
pub(crate) fn is_root() -> bool {
    let output = std::process::Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

#[test]
fn a_database_that_may_not_be_written_is_refused() {
    let mut world = World::synced(&Person::four());
    open_to_all(&mut world);
    world.dirsyncd.as_nobody = is_root();
    set_mode(&world.dirsyncd.state(), 0o555);
    for file in std::fs::read_dir(world.dirsyncd.state()).unwrap() {
        set_mode(&file.unwrap().path(), 0o400);
    }
    let mark = world.organization.mark();

    let words = [
        "cannot be written",
        "must belong to the user that runs dirsyncd",
    ];
    let output = world
        .dirsyncd
        .run(&["sync"])
        .expect_code(1)
        .expect_words(&words);
    refused::expect_one_error(&output);
    world
        .dirsyncd
        .run(&["check"])
        .expect_code(1)
        .expect_words(&["✗ database: "])
        .expect_words(&words);

    // A dry run either reads it or says the same, but never plans from nothing.
    let plan = world.dirsyncd.run(&["plan"]);
    match plan.code {
        Some(0) => plan.expect_words(&["Nothing to do: "]),
        _ => plan.expect_code(1).expect_words(&words),
    };
    assert!(world.organization.writes_since(mark).is_empty());
    set_mode(&world.dirsyncd.state(), 0o755);
}

#[test]
fn a_secret_file_that_may_not_be_read_is_told() {
    let mut world = World::of(&Person::four());
    open_to_all(&mut world);
    world.dirsyncd.as_nobody = is_root();
    for secret in ["scim_key", "ldap-password"] {
        let path = world.dirsyncd.folder().join(secret);
        set_mode(&path, 0o000);
        let path_text = path.display().to_string();
        for verb in ["plan", "sync"] {
            let output = world.dirsyncd.run(&[verb]).expect_code(1).expect_words(&[
                "cannot read the secret file",
                &path_text,
                "Permission denied",
            ]);
            refused::expect_one_error(&output);
        }
        world
            .dirsyncd
            .run(&["check"])
            .expect_code(1)
            .expect_words(&["✗ ", &path_text]);
        set_mode(&path, 0o600);
    }
    assert!(world.organization.accounts().is_empty());
}

#[test]
fn a_database_with_two_names_is_refused_as_each_has_locks_of_its_own() {
    let world = World::synced(&Person::four());
    let other = world.dirsyncd.folder().join("other.db");
    std::fs::hard_link(world.dirsyncd.database(), &other).unwrap();
    let output = world.dirsyncd.run(&["sync"]).expect_code(1);
    let mut chapter = Chapter::default();
    chapter.met("with two names", &output);
    chapter.end("database_names");
    std::fs::remove_file(other).unwrap();
    world.dirsyncd.sync(0);
}

#[test]
fn a_folder_in_place_of_the_database_is_told_as_that() {
    let world = World::of(&Person::four());
    std::fs::create_dir_all(world.dirsyncd.database()).unwrap();
    let mut chapter = Chapter::default();
    for verb in ["plan", "sync"] {
        let output = world.dirsyncd.run(&[verb]).expect_code(1);
        chapter.met("a folder", &output);
    }
    chapter.end("database_folder");
}

#[test]
fn check_and_backup_tell_of_pages_that_a_run_would_meet_late() {
    let world = World::synced(&Person::four());
    let path = world.dirsyncd.database();
    // An index that nothing of this reads.
    let page = "SELECT rootpage || '' FROM sqlite_schema WHERE name = 'operations_by_kind'";
    let page: usize = database::texts(&path, page)[0].parse().unwrap();
    let mut content = std::fs::read(&path).unwrap();
    content[(page - 1) * 4096..page * 4096].fill(0x5a);
    write_private(&path, content);

    let check = world.dirsyncd.run(&["check"]).expect_code(1);
    check.expect_words(&["✗ database: ", "is damaged"]);
    let backup = world.dirsyncd.folder().join("backup.db");
    let backup = backup.display().to_string();
    let output = world.dirsyncd.run(&["backup", &backup]).expect_code(1);
    let output = output.expect_words(&["is damaged"]);
    assert!(!output.stderr.contains(".dirsyncd-backup-"), "{output}");
}
