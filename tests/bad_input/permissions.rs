//! Files that others could read or change.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::catalogue::Chapter;
use crate::database_file::{give, is_root, open_to_all};
use crate::refused;
use crate::support::program::NAMELESS_GROUP;
use crate::support::{
    Output, Person, SOON, World, database, eventually, file_reference, replaced, set_mode,
    write_private,
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

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o7777
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
    ];
    let of_database = ["", "-wal", "-shm", ".lock"].map(|ending| beside(&database, ending));
    let private = private.iter().flat_map(|(path, what)| {
        [0o604, 0o602, 0o644, 0o660, 0o666].map(|mode| (path, *what, mode))
    });
    let of_database = of_database
        .iter()
        .flat_map(|path| [0o602, 0o666].map(|mode| (path, "the database file", mode)));
    let guarded = [0o622, 0o602, 0o646, 0o666].map(|mode| (&config, "the configuration", mode));
    let mut chapter = Chapter::default();
    for (path, what, mode) in private.chain(of_database).chain(guarded) {
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
            if verb == "plan" && [0o604, 0o602, 0o622].contains(&mode) {
                chapter.met(&format!("{what}, {mode:o}"), &output);
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
    chapter.end("permissions");
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_database_that_its_volume_has_opened_to_a_group_is_closed_again() {
    let world = world();
    for verb in ["check", "plan", "sync"] {
        for ending in ["", ".lock"] {
            set_mode(&beside(&world.dirsyncd.database(), ending), 0o660);
        }
        set_mode(&world.dirsyncd.state(), 0o2770);
        world.dirsyncd.run(&[verb]).expect_code(0);
        assert_eq!(mode(&world.dirsyncd.database()), 0o600, "{verb}");
    }
    assert_eq!(mode(&beside(&world.dirsyncd.database(), ".lock")), 0o600);
}

#[test]
fn a_volume_of_kubernetes_is_used_by_a_user_without_rights() {
    if !is_root() {
        return;
    }
    let mut world = World::synced(&Person::four());
    open_to_all(&mut world);
    world.dirsyncd.as_nobody = true;
    // fsGroup: root's folder, into which the group may write, and root's secret, which it may read.
    let (state, password) = (world.dirsyncd.state(), world.dirsyncd.password_file());
    let chown =
        |path: &Path| std::os::unix::fs::chown(path, Some(0), NAMELESS_GROUP.parse().ok()).unwrap();
    chown(&state);
    set_mode(&state, 0o2775);
    for file in std::fs::read_dir(&state).unwrap() {
        let file = file.unwrap().path();
        let group = NAMELESS_GROUP.parse().ok();
        std::os::unix::fs::chown(&file, Some(65534), group).unwrap();
        set_mode(&file, 0o660);
    }
    chown(&password);
    set_mode(&password, 0o440);
    world.dirsyncd.run(&["sync"]).expect_code(0);
    assert_eq!(mode(&world.dirsyncd.database()), 0o600);
    // Where all may write, they may replace it.
    set_mode(&state, 0o2777);
    let words = ["other users may replace what is in it: run `chmod o-w "];
    refused::by_plan_and_sync(&world, 1, &words);
    give(&state);
}

#[test]
fn what_others_own_or_could_replace_is_refused_and_mended() {
    if !is_root() {
        return;
    }
    let world = world();
    let config = world.dirsyncd.config_file();
    let key = world.dirsyncd.folder().join("key");
    let mut chapter = Chapter::default();
    for (path, code) in [(&config, 2), (&key, 1)] {
        give(path);
        for verb in ["check", "plan", "sync"] {
            world
                .dirsyncd
                .run(&[verb])
                .expect_code(code)
                .expect_words(&["belongs to another user, 65534 (mode "]);
        }
        let output = world.dirsyncd.run(&["plan"]);
        chapter.met("a file of another user", &output);
        mend(&output);
        world.dirsyncd.expect_nothing_to_do();
    }
    // Root looks into the database of the daemon's user.
    give(&world.dirsyncd.state());
    give(&world.dirsyncd.database());
    world.dirsyncd.expect_nothing_to_do();
    let folder = world.dirsyncd.folder();
    set_mode(folder, 0o777);
    let output = world.dirsyncd.run(&["plan"]).expect_code(2);
    chapter.met("a folder that all may write to", &output);
    chapter.end("permissions_owners");
    mend(&output);
    world.dirsyncd.expect_nothing_to_do();
}

#[test]
fn a_plan_or_a_directory_that_everybody_could_write_is_refused() {
    let world = world();
    let plan = world.dirsyncd.folder().join("plan.json");
    let plan_text = plan.display().to_string();
    world
        .dirsyncd
        .run(&["plan", "--save", &plan_text])
        .expect_code(0);
    set_mode(&plan, 0o602);
    let output = world.dirsyncd.run(&["sync", "--plan", &plan_text]);
    mend(
        &output
            .expect_code(2)
            .expect_words(&["the plan ", "(mode 0602)"]),
    );
    world
        .dirsyncd
        .run(&["sync", "--plan", &plan_text])
        .expect_code(0);

    let ldif = crate::support::people::directory(&Person::four());
    let world = crate::support::Dirsyncd::from_ldif(&world.organization, &ldif);
    set_mode(&world.ldif_file(), 0o666);
    for verb in ["check", "plan", "sync"] {
        world
            .run(&[verb])
            .expect_code(1)
            .expect_words(&["the LDIF file ", "(mode 0666): run `chmod o-w "]);
    }
    mend(&world.run(&["plan"]));
    set_mode(&world.ldif_file(), 0o664);
    let output = world.run(&["plan"]);
    assert!(
        !output.stderr.contains("changed by other users"),
        "{output}"
    );
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
    let permissions = lines.filter(|line| line.starts_with("✗ permissions: "));
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
    let mut chapter = Chapter::default();
    chapter.met("a file of root's that all may read", &output);
    chapter.end("permissions_group");
    mend(&output);
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

#[test]
fn root_is_led_nowhere_by_a_link_in_the_folder_of_the_daemon_s_user() {
    let world = world();
    let state = world.dirsyncd.state();
    let precious = world.dirsyncd.folder().join("precious");
    write_private(&precious, "precious");
    let lock = beside(&world.dirsyncd.database(), ".lock");
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(&precious, &lock).unwrap();
    give(&state);
    give(&world.dirsyncd.database());
    let output = world.dirsyncd.run(&["sync"]);
    output.expect_code(1).expect_words(&["dirsyncd.db.lock"]);
    let mut chapter = Chapter::default();
    if is_root() {
        std::os::unix::fs::lchown(&lock, Some(65534), Some(65534)).unwrap();
        let output = world.dirsyncd.run(&["sync"]).expect_code(1);
        chapter.met("a link of another user", &output);
        mend(&output);
    } else {
        std::fs::remove_file(&lock).unwrap();
    }
    std::fs::hard_link(&precious, &lock).unwrap();
    let output = world.dirsyncd.run(&["sync"]).expect_code(1);
    chapter.met("a file that has another name", &output);
    if is_root() {
        chapter.end("permissions_links");
    }
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    std::fs::remove_file(&lock).unwrap();
    world.dirsyncd.sync(0);
}

#[test]
fn the_files_beside_a_linked_database_are_looked_at() {
    let world = world();
    let (database, target) = (
        world.dirsyncd.database(),
        world.dirsyncd.folder().join("elsewhere.db"),
    );
    std::fs::rename(&database, &target).unwrap();
    std::os::unix::fs::symlink(&target, &database).unwrap();
    world.dirsyncd.expect_nothing_to_do();
    let log = beside(&target, "-wal");
    write_private(&log, "");
    set_mode(&log, 0o666);
    for verb in ["check", "plan", "sync"] {
        let output = world.dirsyncd.run(&[verb]).expect_code(1);
        output.expect_words(&["elsewhere.db-wal is open to other users (mode 0666)"]);
    }
    mend(&world.dirsyncd.run(&["plan"]));
    world.dirsyncd.sync(0);
}

#[test]
fn copies_are_made_where_everybody_may_write() {
    let world = world();
    let shared = world.dirsyncd.folder().join("shared");
    std::fs::create_dir(&shared).unwrap();
    // As an `emptyDir` of Kubernetes for /tmp.
    set_mode(&shared, 0o777);
    for words in [
        &["prune", "--dry-run"][..],
        &["reconcile", "--dry-run"],
        &["rehearse"],
    ] {
        let run = world.dirsyncd.start_with(words, &[("TMPDIR", &shared)]);
        run.wait().expect_code(0);
    }
    let backup = shared.join("backup.db").display().to_string();
    world.dirsyncd.run(&["backup", &backup]).expect_code(0);
    assert_eq!(std::fs::read_dir(&shared).unwrap().count(), 1);
}

#[test]
fn check_names_the_folder_of_an_ldif_file_that_everybody_may_replace() {
    let organization = crate::support::Organization::start();
    let ldif = crate::support::people::directory(&Person::four());
    let dirsyncd = crate::support::Dirsyncd::from_ldif(&organization, &ldif);
    let folder = dirsyncd.folder().join("export");
    std::fs::create_dir(&folder).unwrap();
    std::fs::rename(dirsyncd.ldif_file(), folder.join("directory.ldif")).unwrap();
    let mut dirsyncd = dirsyncd;
    dirsyncd.set_source("file", "\"export/directory.ldif\"");
    set_mode(&folder, 0o757);
    let output = dirsyncd.run(&["check"]).expect_code(1);
    mend(&output.expect_words(&["✗ permissions: the folder ", "export belongs to user"]));
    dirsyncd.run(&["check"]).expect_code(0);
}

/// Runs a verb after these commands in mounts of its own, which root alone may make; `$1` is the folder with
/// the configuration.
fn mounted(
    dirsyncd: &crate::support::Dirsyncd,
    commands: &str,
    verb: &str,
) -> (Option<i32>, String) {
    let script = format!("set -e; {commands}; exec $AS \"$2\" {verb} -c \"$1/config.toml\"");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script, "sh"])
        .arg(dirsyncd.folder())
        .arg(env!("CARGO_BIN_EXE_dirsyncd"))
        .env(
            "AS",
            match dirsyncd.as_nobody {
                true => format!("setpriv --reuid=65534 --regid=65534 --groups {NAMELESS_GROUP}"),
                false => String::new(),
            },
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn a_read_only_mount_excuses_what_is_mounted_closed_and_not_a_whole_system_that_is_read_only() {
    if !is_root() {
        return;
    }
    let mut world = world();
    world.dirsyncd.expect_nothing_to_do();
    let secrets = world.dirsyncd.folder().join("secrets");
    let inner = secrets.join("data");
    std::fs::create_dir_all(&inner).unwrap();
    let key = inner.join("key");
    write_private(&key, &world.organization.scim_key);
    let block = &world.dirsyncd.organization;
    world.dirsyncd.organization = replaced(block, "scim_key", &file_reference(&key));
    std::fs::write(world.dirsyncd.config_file(), world.dirsyncd.config()).unwrap();
    set_mode(&secrets, 0o777);
    set_mode(&inner, 0o777);
    let bind = |what: &str| {
        format!("mount --bind \"$1{what}\" \"$1{what}\"; mount -o remount,ro,bind \"$1{what}\"")
    };
    // As Kubernetes mounts a secret.
    let (code, said) = mounted(&world.dirsyncd, &bind("/secrets"), "plan");
    assert_eq!(code, Some(0), "{said}");
    // As systemd does with `ProtectSystem=strict`: the folder is read-only as a part of all.
    let (code, said) = mounted(&world.dirsyncd, &bind(""), "plan");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("so that other users may replace what is in it"),
        "{said}"
    );
    // Nor is what others own theirs alone.
    give(&secrets);
    let (code, said) = mounted(&world.dirsyncd, &bind("/secrets"), "plan");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("secrets belongs to user 65534 (mode 0777)"),
        "{said}"
    );
}

#[test]
fn without_a_file_of_groups_a_group_has_no_name() {
    if !is_root() {
        return;
    }
    let mut world = World::synced(&Person::four());
    open_to_all(&mut world);
    world.dirsyncd.as_nobody = true;
    let state = world.dirsyncd.state();
    std::os::unix::fs::chown(&state, Some(0), NAMELESS_GROUP.parse().ok()).unwrap();
    set_mode(&state, 0o2775);
    world.dirsyncd.expect_nothing_to_do();
    let bare = "cp -r /etc \"$1/etc\"; rm -f \"$1/etc/group\" \"$1/etc/nsswitch.conf\"; chmod 755 \"$1/etc\"; mount --bind \"$1/etc\" /etc";
    let (code, said) = mounted(&world.dirsyncd, bare, "plan");
    assert_eq!(code, Some(0), "{said}");
    give(&state);
}

#[test]
fn root_asks_the_daemon_of_another_user() {
    if !is_root() {
        return;
    }
    let mut world = World::of(&Person::four());
    open_to_all(&mut world);
    world.dirsyncd.rest = "[schedule]\nsync = \"0 0 1 1 *\"\n".to_owned();
    world.dirsyncd.as_nobody = true;
    let daemon = world.dirsyncd.start(&["run"]);
    eventually("a daemon that waits", SOON, || {
        let log = daemon.stderr();
        log.contains("waiting for the next run").then_some(())
    });
    world.dirsyncd.run(&["status", "--quiet"]).expect_code(0);
    world.dirsyncd.as_nobody = false;
    for arguments in [
        &["status"][..],
        &["plan", "--daemon"],
        &["sync", "--daemon"],
    ] {
        world.dirsyncd.run(arguments).expect_code(0);
    }
    assert_eq!(world.organization.active(), 4);
    let asked = "SELECT asked_by || ' ' || uid FROM runs";
    let asked = database::texts(&world.dirsyncd.database(), asked);
    assert_eq!(asked, ["root 0"]);
    daemon.signal("TERM");
    daemon.wait().expect_code(0);
}
