//! Files that others could read or change.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::database_file::{give, is_root, open_to_all};
use crate::refused;
use crate::support::{
    Output, Person, World, database, file_reference, replaced, set_mode, write_private,
};

/// Carries out the command that a message names, as the reader would.
#[track_caller]
fn mend(output: &Output) {
    let both = format!("{}{}", output.stdout, output.stderr);
    let (_, rest) = both.split_once(": run `").expect(&both);
    let (command, _) = rest.split_once('`').unwrap();
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// A world after a sync, with keys of its own in its folder.
fn world() -> World {
    let mut world = World::synced(&Person::four());
    let key = world.dirsyncd.folder().join("key");
    write_private(&key, &world.organization.scim_key);
    let block = &world.dirsyncd.organization;
    world.dirsyncd.organization = replaced(block, "scim_key", &file_reference(&key));
    std::fs::write(world.dirsyncd.config_file(), world.dirsyncd.config()).unwrap();
    world
}

fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[test]
fn an_open_file_is_refused_and_the_message_mends_it() {
    let world = world();
    let database = world.dirsyncd.database();
    for ending in ["-wal", "-shm"] {
        // SQLite takes an empty one for none.
        write_private(&beside(&database, ending), "");
    }
    let config = world.dirsyncd.config_file();
    let private = [
        (world.dirsyncd.folder().join("key"), "the secret file"),
        (world.dirsyncd.password_file(), "the secret file"),
        (database.clone(), "the database file"),
        (beside(&database, "-wal"), "the database file"),
        (beside(&database, "-shm"), "the database file"),
        (beside(&database, ".lock"), "the database file"),
    ];
    let private = private.iter().flat_map(|(path, what)| {
        [0o604, 0o602, 0o644, 0o660, 0o666].map(|mode| (path, *what, mode))
    });
    let guarded = [0o622, 0o602, 0o664, 0o666].map(|mode| (&config, "the configuration", mode));
    for (path, what, mode) in private.chain(guarded) {
        println!("{} {mode:o}", path.display());
        let before = world.organization.mark();
        let words = [
            format!("{what} {}", path.display()),
            format!("(mode {mode:04o}): run `chmod "),
        ];
        let words = words.each_ref().map(String::as_str);
        let code = if path == &config { 2 } else { 1 };
        for verb in ["plan", "check", "sync"] {
            // SQLite takes its files away at the end of a run.
            if !path.exists() {
                write_private(path, "");
            }
            set_mode(path, mode);
            let output = world
                .dirsyncd
                .run_bare(&[verb, "-c", &config.display().to_string()])
                .expect_code(code)
                .expect_words(&words);
            if verb != "check" || code == 2 {
                refused::expect_one_error(&output);
            }
            mend(&output);
            if verb == "check" {
                let run = world
                    .dirsyncd
                    .run_bare(&[verb, "-c", &config.display().to_string()]);
                run.expect_code(0).expect_words(&["all is well"]);
            }
        }
        assert!(world.organization.writes_since(before).is_empty());
    }
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn check_names_every_open_file_before_it_connects() {
    let world = world();
    let open = [
        world.dirsyncd.folder().join("key"),
        world.dirsyncd.password_file(),
        world.dirsyncd.database(),
        beside(&world.dirsyncd.database(), ".lock"),
    ];
    for path in &open {
        set_mode(path, 0o666);
    }
    let output = world.dirsyncd.run(&["check"]).expect_code(1);
    for path in &open {
        let line = format!("`chmod 600 {}`", path.display());
        assert_eq!(output.stdout.matches(&line).count(), 1, "{output}");
    }
    let output = output.expect_words(&["4 of the checks failed"]);
    let lines = output.stdout.lines();
    let permissions = lines.filter(|line| line.starts_with("FAIL  permissions: "));
    assert_eq!(permissions.count(), 4, "{output}");
    assert!(!output.stdout.contains("source `"), "{output}");
}

#[test]
fn a_link_counts_as_what_it_leads_to() {
    let mut world = world();
    let (key, link) = (
        world.dirsyncd.folder().join("key"),
        world.dirsyncd.folder().join("link"),
    );
    std::os::unix::fs::symlink(&key, &link).unwrap();
    let block = &world.dirsyncd.organization;
    world.dirsyncd.organization = replaced(block, "scim_key", &file_reference(&link));
    world.dirsyncd.expect_nothing_to_do();
    set_mode(&key, 0o644);
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    mend(&output.expect_words(&["link is open to other users"]));
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn only_root_may_let_a_group_read_a_secret() {
    let mut world = World::of(&Person::four());
    open_to_all(&mut world);
    world.dirsyncd.as_nobody = is_root();
    let password = world.dirsyncd.password_file();
    // One's own file.
    set_mode(&password, 0o640);
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    mend(&output.expect_words(&["(mode 0640): run `chmod 600 "]));
    world.dirsyncd.run(&["plan"]).expect_code(0);
    if !is_root() {
        return;
    }
    // One of root's that all may read is handed out to the group instead.
    std::os::unix::fs::chown(&password, Some(0), Some(0)).unwrap();
    set_mode(&password, 0o444);
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    mend(&output.expect_words(&["(mode 0444): run `chgrp 65534 "]));
    world.dirsyncd.run(&["plan"]).expect_code(0);
    set_mode(&password, 0o440);
    world.dirsyncd.run(&["plan"]).expect_code(0);
    // One of somebody else's.
    std::os::unix::fs::chown(&password, Some(1), Some(65534)).unwrap();
    let output = world.dirsyncd.run(&["plan"]).expect_code(1);
    mend(&output.expect_words(&["(mode 0440): run `chown 65534 "]));
    world.dirsyncd.run(&["plan"]).expect_code(0);
    give(&password);
}

#[test]
fn a_ca_file_that_others_could_change_is_not_trusted() {
    let mut world = world();
    let ca = world.dirsyncd.folder().join("ca.pem");
    std::fs::copy(world.slapd.ca_file(), &ca).unwrap();
    let quoted = format!("{:?}", ca.display().to_string());
    world.dirsyncd.set_source("ca_file", &quoted);
    world.dirsyncd.expect_nothing_to_do();
    set_mode(&ca, 0o646);
    let words = ["the CA file ", "may be changed by other users (mode 0646)"];
    refused::by_plan_and_sync(&world, 1, &words);
    mend(&world.dirsyncd.run(&["plan"]).expect_code(1));
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_database_is_made_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::synced(&Person::four());
    let mut files = 0;
    for file in std::fs::read_dir(world.dirsyncd.state()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{}", file.path().display());
        files += 1;
    }
    assert!(files >= 2);
    // So is its copy, with which a rehearsal works.
    world.dirsyncd.run(&["rehearse"]).expect_code(0);
    assert_eq!(database::accounts(&world.dirsyncd.database()).len(), 4);
}
