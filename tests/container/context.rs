//! What `.dockerignore` lets through to `docker build`: all that the program is compiled from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use tempfile::NamedTempFile;

use super::contained::{Container, buildah};
use super::{file, run};

const IMAGE: &str = "localhost/context-of-the-tests";

/// A container that has just what comes into the context.
fn context() -> Container {
    let all = NamedTempFile::new().unwrap();
    fs::write(all.path(), "FROM scratch\nCOPY . /\n").unwrap();
    let (all, here) = (all.path().display().to_string(), file(""));
    let here = here.display().to_string();
    buildah(&[
        "bud",
        "--isolation",
        "chroot",
        "--quiet",
        "--file",
        &all,
        "--tag",
        IMAGE,
        &here,
    ]);
    Container::of(IMAGE)
}

/// The Rust files of a folder, but those of tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && !path.ends_with("tests.rs")
        {
            found.push(path);
        }
    }
}

#[test]
fn what_the_program_is_compiled_from_comes_into_the_context_and_not_much_else() {
    let context = context();
    let inside = |path: &Path| context.root.join(path.strip_prefix(file("")).unwrap());
    let mut all = vec![file("build.rs")];
    sources(&file("src"), &mut all);
    let named =
        Regex::new(r#"\b(include_str|include_bytes|include|migrate)!\(\s*"([^"]+)""#).unwrap();
    let (mut missing, mut count) = (Vec::new(), 0);
    for source in all {
        let text = fs::read_to_string(&source).unwrap();
        let mut needed = vec![source.clone()];
        for name in named.captures_iter(&text) {
            // Migrations are named from the manifest's folder on, all else from the file's.
            let from = if &name[1] == "migrate" {
                file("")
            } else {
                source.parent().unwrap().to_owned()
            };
            needed.push(from.join(&name[2]).canonicalize().unwrap());
            count += 1;
        }
        missing.extend(needed.into_iter().filter(|path| !inside(path).exists()));
    }
    assert!(count > 10, "{count} files are named by others");
    assert!(missing.is_empty(), "the context lacks {missing:#?}");
    // cargo looks for the targets that Cargo.toml names.
    let targets = run(Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--offline",
            "--no-deps",
            "--format-version",
            "1",
        ])
        .current_dir(&context.root));
    assert!(targets.contains("\"kind\":[\"bin\"]"), "{targets}");
    assert!(context.root.join("Cargo.lock").exists());
    for kept_out in [".git", "target", "tests", "deploy", "fuzz"] {
        assert!(!context.root.join(kept_out).exists(), "{kept_out}");
    }
}
