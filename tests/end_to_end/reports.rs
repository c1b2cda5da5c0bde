//! Reports: where to, in which form, and how far it has come meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::people::Flaws;
use crate::support::{Person, World, crowd};

/// Four people are synced, one of them has another title now.
fn world() -> World {
    let people = Person::four();
    let world = World::synced(&people);
    let title = [("title", "=cmd|' /C calc'!A0")];
    world.slapd.replace(&people[1].dn(), &title);
    world
}

#[test]
fn the_name_of_the_file_picks_the_form() {
    let world = world();
    let folder = world.dirsyncd.folder().join("reports");
    fs::create_dir(&folder).unwrap();
    let plan = |name: &str| -> String {
        let path = folder.join(name);
        let output = world
            .dirsyncd
            .run(&["plan", "-o", path.to_str().unwrap()])
            .expect_code(0);
        assert_eq!(
            output.stdout,
            "Plan: 0 to create, 1 to update, 0 to restore, 0 to deactivate, 3 unchanged.\n"
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::read_to_string(path).unwrap()
    };
    let to_screen = world.dirsyncd.run(&["plan"]).stdout;
    // How fast the API answers is another each time.
    let without_time = |report: &str| -> Vec<String> {
        let lines = report.lines().filter(|line| !line.starts_with("Requests"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(without_time(&plan("plan.txt")), without_time(&to_screen));
    let json: Value = serde_json::from_str(&plan("plan.json")).unwrap();
    assert_eq!(json["operations"].as_array().unwrap().len(), 1);
    let csv = plan("plan.csv");
    assert!(csv.starts_with("what,name,email,dn,"), "{csv}");
    assert!(
        csv.contains(",title,Engineer,'=cmd|' /C calc'!A0,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 2);
    let markdown = plan("plan.md");
    assert!(
        markdown.contains("  - title: Engineer → \\=cmd\\|' /C calc'!A0\n"),
        "{markdown}"
    );
    let html = plan("plan.HTML");
    assert!(html.contains("<del><bdi>Engineer</bdi></del>"), "{html}");
    // What was there is replaced, as a whole.
    let again = folder.join("plan.csv");
    let before = fs::metadata(&again).unwrap();
    assert_eq!(plan("plan.csv"), csv);
    assert_ne!(
        std::os::unix::fs::MetadataExt::ino(&before),
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(&again).unwrap())
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 5);
}

#[test]
fn a_name_that_tells_no_form_and_a_folder_that_is_not_there_are_refused() {
    let world = world();
    for name in ["plan.pdf", "plan"] {
        world
            .dirsyncd
            .run(&["plan", "-o", name])
            .expect_code(2)
            .expect_words(&[
                name,
                "end it in .txt, .json, .csv, .md or .html, or give --format",
            ]);
        // Before anything is sent.
        world.dirsyncd.run(&["sync", "-o", name]).expect_code(2);
    }
    let nowhere = world.dirsyncd.folder().join("nowhere/plan.csv");
    world
        .dirsyncd
        .run(&["plan", "-o", nowhere.to_str().unwrap()])
        .expect_code(1)
        .expect_words(&[
            "the report cannot be written to",
            "No such file or directory",
        ]);
    let named = world.dirsyncd.folder().join("report");
    world
        .dirsyncd
        .run(&["plan", "--format", "csv", "-o", named.to_str().unwrap()])
        .expect_code(0);
    assert!(fs::read_to_string(named).unwrap().starts_with("what,"));
}

#[test]
fn a_run_is_reported_in_each_form_too() {
    let world = world();
    let path = world.dirsyncd.folder().join("run.html");
    let output = world
        .dirsyncd
        .run(&["sync", "-o", path.to_str().unwrap()])
        .expect_code(0);
    assert_eq!(output.stdout, "Done: 1 applied.\n");
    let html = fs::read_to_string(path).unwrap();
    assert!(html.contains("<h1>Run 2</h1>"), "{html}");
    let undone = world.dirsyncd.run(&["revert", "2", "--format", "markdown"]);
    assert!(undone.stdout.starts_with("# Run 3\n"), "{undone}");
    assert!(undone.stdout.contains("→ Engineer\n"), "{undone}");
}

#[test]
fn where_no_report_can_go_nothing_is_sent() {
    let world = world();
    let before = world.organization.accounts();
    let nowhere = world.dirsyncd.folder().join("nowhere/run.csv");
    for place in [nowhere.to_str().unwrap(), "/dev", "/dev/full/x.csv"] {
        world
            .dirsyncd
            .run(&["sync", "--format", "csv", "-o", place])
            .expect_code(1)
            .expect_words(&["the report cannot be written to"]);
    }
    assert_eq!(world.organization.accounts(), before);
    let both = world.dirsyncd.folder().join("both.json");
    let both = both.to_str().unwrap();
    world
        .dirsyncd
        .run(&["plan", "--save", both, "-o", both])
        .expect_code(2)
        .expect_words(&["is to be two files"]);
}

#[test]
fn what_is_no_file_is_written_to_and_never_replaced() {
    let world = world();
    // Not in the folder of the configuration, all files of which are read at the end.
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let reader = Command::new("cat")
        .arg(&pipe)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe_text = pipe.to_str().unwrap();
    world
        .dirsyncd
        .run(&["plan", "--format", "csv", "-o", pipe_text])
        .expect_code(0);
    let read = reader.wait_with_output().unwrap().stdout;
    assert!(read.starts_with(b"what,name,"), "{read:?}");
    assert!(!fs::metadata(&pipe).unwrap().is_file());
}

#[test]
fn no_form_commands_a_terminal() {
    let mut people = Person::four();
    people[0].title = "\u{202e}drawkcab".to_owned();
    let world = World::of(&people);
    for form in ["text", "json", "csv", "markdown", "html"] {
        let shown = world
            .dirsyncd
            .run(&["plan", "--format", form])
            .expect_code(0);
        assert!(shown.stdout.contains("drawkcab"), "{shown}");
        assert!(
            !shown.stdout.contains(['\u{202e}', '\u{1b}']),
            "{form}: {shown}"
        );
    }
}

#[test]
fn quiet_leaves_the_last_line() {
    let world = world();
    let output = world.dirsyncd.run(&["plan", "--quiet"]);
    assert_eq!(
        output.stdout,
        "Plan: 0 to create, 1 to update, 0 to restore, 0 to deactivate, 3 unchanged.\n"
    );
    assert_eq!(output.stderr, "");
    assert_eq!(
        world.dirsyncd.run(&["sync", "-q"]).stdout,
        "Done: 1 applied.\n"
    );
}

/// What a verb shows on a terminal.
fn on_a_terminal(world: &World, arguments: &str, environment: &[(&str, &str)]) -> String {
    let program = env!("CARGO_BIN_EXE_dirsyncd");
    let config = world.dirsyncd.config_file();
    // The folder with the configuration has nothing that a shell reads in its name.
    let line = format!(
        "stty cols 60; {program} {arguments} --config {}",
        config.display()
    );
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    world
        .dirsyncd
        .expect_no_secret_in("a terminal", &output.stdout);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_terminal_has_colours_and_lines_of_its_width_unless_it_wants_none() {
    let world = world();
    // Writes the configuration as it is now.
    world.dirsyncd.run(&["plan"]).expect_code(0);
    let coloured = on_a_terminal(&world, "plan", &[]);
    assert!(
        coloured.contains("\u{1b}[31mEngineer\u{1b}[0m → \u{1b}[32m=cmd|' /C calc'!A0\u{1b}[0m"),
        "{coloured:?}"
    );
    let plain = on_a_terminal(&world, "plan --quiet", &[("NO_COLOR", "1")]);
    assert!(!plain.contains("\u{1b}["), "{plain:?}");
    let plain = on_a_terminal(&world, "plan", &[("NO_COLOR", "1")]);
    assert!(!plain.contains("\u{1b}[3"), "{plain:?}");
    assert!(plain.contains("Engineer → =cmd|"), "{plain:?}");
}

#[test]
fn where_no_terminal_is_progress_is_a_line_now_and_then() {
    let people = crowd(40, Flaws::default());
    let world = World::of(&people);
    world.organization.slow_writes(400);
    let output = world.dirsyncd.run(&["sync"]).expect_code(0);
    let lines: Vec<&str> = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("dirsyncd: ") && line.contains(" operations, "))
        .collect();
    assert!(!lines.is_empty(), "{output}");
    for line in lines {
        assert!(
            line.contains(" a second, about ") && line.ends_with(" left"),
            "{line}"
        );
    }
    world.organization.heal();
    let quick = world.dirsyncd.run(&["plan"]);
    assert_eq!(quick.stderr, "", "what is done in no time says nothing");
}

#[test]
fn a_shell_completes_verbs_and_options() {
    let complete = |words: &str, count: usize| {
        let line = format!(
            "source <({} completions bash); COMP_WORDS=({words}); COMP_CWORD={count}; \
             _dirsyncd dirsyncd \"${{COMP_WORDS[{count}]}}\" \"${{COMP_WORDS[{count} - 1]}}\"; echo \"${{COMPREPLY[*]}}\"",
            env!("CARGO_BIN_EXE_dirsyncd")
        );
        let output = Command::new("bash").args(["-c", &line]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        complete("dirsyncd re", 1),
        "resume retry revert reconcile rehearse\n"
    );
    assert_eq!(complete("dirsyncd plan --out", 2), "--output\n");
    assert_eq!(
        complete("dirsyncd plan --format ''", 3),
        "text json csv markdown html\n"
    );
}

#[test]
fn a_report_that_cannot_be_written_is_told() {
    let world = World::synced(&Person::four());
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let config = world.dirsyncd.config_file();
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_dirsyncd"))
        .args(["plan", "-c"])
        .arg(&config)
        .stdout(full)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&program.stderr);
    assert_eq!(program.status.code(), Some(1), "{told}");
    assert!(told.contains("standard output takes no more"), "{told}");
}
