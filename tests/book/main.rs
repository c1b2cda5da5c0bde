//! The book in `docs/`: it builds, its links lead somewhere, and every block in it is run or checked.
//!
//! The first word after a fence says what a block is; what is not listed here fails.
//!
//! | block | what is done with it |
//! | --- | --- |
//! | `console` | its commands (`$ …`) are run in the order of the page, and what they print is compared |
//! | `console code=3` | the same, and the last one ends with this exit code |
//! | `console background` | one command that goes on until the page ends |
//! | `sh elsewhere` | what is for the reader's own machines, or other servers: only known programs, and each `dirsyncd …` is one that the program takes |
//! | `ldif` | what the directory's administrator changes: it is changed in slapd |
//! | `ldif elsewhere` | the same of another server: it is read as LDIF |
//! | `toml` | a configuration, or a part of one: it is read as the program does |
//! | `toml add` | the same, and it is added to `config.toml` |
//! | `toml preset` | a preset, as the program has it |
//! | `text` | something made from the code, of `reference/` alone |
//!
//! What is printed is compared without times, durations, ids and ports; a line `…` stands for any lines. A page
//! begins, unless `<!-- test: begins … -->` says otherwise, as [`stage::Begin`] has it. `INSTA_UPDATE=always cargo
//! test --test book` writes what is printed, and what is made; then read the difference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "../support/mod.rs"]
mod support;

mod built;
mod made;
mod page;
mod shell;
mod stage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dirsyncd::config::{Config, Preset};
use dirsyncd::run::Setup;

use page::{Kind, Page};

/// The folder of the sources of the book.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src")
}

/// Whether what is made is to be written.
fn updates() -> bool {
    std::env::var_os("INSTA_UPDATE").is_some_and(|word| word == "always")
}

/// All pages, by their place in the book.
fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    let mut folders = vec![sources()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let name = path.strip_prefix(sources()).unwrap().to_str().unwrap();
                pages.push(Page::read(&path, name));
            }
        }
    }
    pages
}

/// What is done with the words of a page is a test of its own for each page that has something to run.
macro_rules! run {
    ($($test:ident: $page:literal,)*) => {
        const RUN: &[&str] = &[$($page),*];
        $(#[test]
        fn $test() {
            stage::play(&Page::read(&sources().join($page), $page));
        })*
    };
}

run! {
    the_tutorial: "tutorial/first-sync.md",
    openldap: "how-to/openldap.md",
    groups: "how-to/groups.md",
    adoption: "how-to/adoption.md",
    restoring_a_backup: "how-to/restore.md",
    rotating_keys: "how-to/rotate-keys.md",
    upgrading: "how-to/upgrade.md",
    holds: "how-to/holds.md",
    undoing: "how-to/undo.md",
    looking_into_things: "how-to/look.md",
}

#[test]
fn every_page_with_something_to_run_is_run() {
    let with: BTreeSet<String> = pages()
        .into_iter()
        .filter(|page| page.blocks.iter().any(|block| block.is_run()))
        .map(|page| page.name)
        .collect();
    let run: BTreeSet<String> = RUN.iter().map(ToString::to_string).collect();
    assert_eq!(with, run);
}

/// The pages of the book, and README.
fn pages_and_readme() -> Vec<Page> {
    let mut all = pages();
    all.push(Page::read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"),
        "README.md",
    ));
    all
}

#[test]
fn every_configuration_is_one_that_the_program_takes() {
    let mut count = 0;
    for page in pages_and_readme() {
        for block in &page.blocks {
            let place = format!("{}:{}", page.name, block.line);
            match block.kind {
                Kind::Toml { .. } => {
                    let whole = completed(block.text.parse().expect(&place)).to_string();
                    let config = Config::parse(Path::new("config.toml"), &whole);
                    let config = config.unwrap_or_else(|error| panic!("{place}: {error}"));
                    Setup::new(config).unwrap_or_else(|error| panic!("{place}: {error}"));
                    count += 1;
                }
                Kind::Preset => {
                    let is_one = Preset::ALL
                        .iter()
                        .any(|(_, text)| text.trim() == block.text.trim());
                    assert!(is_one, "{place}");
                }
                Kind::OtherLdif => {
                    let records = block.text.split("\n\n");
                    let mut records = records.map(|record| record.lines().collect::<Vec<_>>());
                    let is_change = |lines: &Vec<&str>| {
                        lines[0].starts_with("dn: ") && lines[1].starts_with("changetype: ")
                    };
                    assert!(records.all(|lines| is_change(&lines)), "{place}");
                }
                _ => {}
            }
        }
    }
    assert!(count > 10, "{count}");
}

/// A configuration with what a part of one leaves out.
fn completed(part: toml::Table) -> toml::Table {
    const REST: &str = include_str!("rest.toml");
    let mut whole: toml::Table = REST.parse().unwrap();
    for (key, value) in part {
        match (whole.get_mut(&key), value) {
            (Some(toml::Value::Table(table)), toml::Value::Table(own)) => table.extend(own),
            (Some(toml::Value::Array(rest)), toml::Value::Array(mut own)) => {
                for source in own.iter_mut().filter_map(toml::Value::as_table_mut) {
                    let has = |key: &str| source.contains_key(key);
                    let is_file = source
                        .get("kind")
                        .is_some_and(|kind| kind.as_str() == Some("ldif"));
                    let mut left_out = Vec::new();
                    if is_file || has("discover") {
                        left_out.push("url");
                    }
                    if is_file || has("bind") {
                        left_out.extend(["bind_dn", "password"]);
                    }
                    for (key, value) in rest[0].as_table().unwrap() {
                        if !left_out.contains(&key.as_str()) {
                            source.entry(key).or_insert(value.clone());
                        }
                    }
                }
                *rest = own;
            }
            (_, value) => {
                whole.insert(key, value);
            }
        }
    }
    whole
}

/// What the reader's own machines and servers have, and a page may say.
const ELSEWHERE: &[&str] = &[
    "apt",
    "cargo",
    "curl",
    "deploy/container/prepare.sh",
    "dirsyncd",
    "docker",
    "dsacls",
    "dsconf",
    "install",
    "journalctl",
    "kubectl",
    "ldapmodify",
    "samba-tool",
    "ssh",
    "systemctl",
];

#[test]
fn every_command_is_one_that_the_program_takes() {
    let mut count = 0;
    for page in pages_and_readme() {
        let mut lines: Vec<(usize, String)> = page.spans.clone();
        // A verb alone stands for all of its uses.
        for (_, span) in &mut lines {
            if span.split(' ').count() == 2 {
                span.push_str(" --help");
            }
        }
        for block in &page.blocks {
            let commands = block.commands().into_iter();
            lines.extend(commands.map(|command| (block.line, command)));
        }
        for (line, text) in lines {
            for mut words in shell::commands(&text) {
                if words[0] == "sudo" {
                    words.remove(0);
                }
                // `cargo run -- VERB` is the program, too.
                if let Some(at) = words.iter().position(|word| word == "--")
                    && words.starts_with(&["cargo".to_owned(), "run".to_owned()])
                {
                    words.splice(..=at, ["dirsyncd".to_owned()]);
                }
                if words[0] == "dirsyncd" && words.len() > 1 {
                    count += 1;
                    // The number of a run, where it is meant for any.
                    for word in words.iter_mut().filter(|word| *word == "RUN") {
                        "1".clone_into(word);
                    }
                    if let Err(error) = dirsyncd::cli::check_words(&words) {
                        panic!("{}:{line}: {text}\n{error}", page.name);
                    }
                }
            }
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn what_is_not_run_is_for_programs_that_are_not_ours() {
    for page in pages() {
        for block in page
            .blocks
            .iter()
            .filter(|block| block.kind == Kind::Elsewhere)
        {
            for command in block.commands() {
                for words in shell::commands(&command) {
                    let program = words.iter().find(|word| *word != "sudo").unwrap();
                    assert!(
                        ELSEWHERE.contains(&program.as_str()),
                        "{}:{}: `{program}` is no program that is known to be elsewhere",
                        page.name,
                        block.line
                    );
                }
            }
        }
    }
}
