//! The floors of `ARCHITECTURE.md`: a module imports only from those below it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the ground up; modules on one line do not know each other.
const FLOORS: [&[&str]; 9] = [
    &["model"],
    &["config"],
    &["mapping"],
    &["plan"],
    &["directory", "snapshot", "org", "simulator"],
    &["apply", "demo", "explain"],
    &["pull", "report"],
    &["notify", "run"],
    &["against", "daemon", "rehearsal"],
];

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|modules| modules.contains(&module));
    // The command line stands on top.
    found.unwrap_or_else(|| {
        assert!(
            matches!(module, "cli" | "main" | "lib"),
            "`{module}` has no floor"
        );
        FLOORS.len()
    })
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules that a file names: every `crate::NAME`, also within `use crate::{…}`.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            let mut name = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && (c.is_alphanumeric() || c == '_') => name.push(c),
                    c if start && !c.is_whitespace() => {
                        found.push(std::mem::take(&mut name));
                        start = false;
                    }
                    _ => {}
                }
            }
            continue;
        }
        found.push(
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect(),
        );
    }
    found
}

#[test]
fn a_module_imports_only_from_the_floors_below() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for path in sources(&root) {
        let inside = path.strip_prefix(&root).unwrap();
        let name = inside.file_name().unwrap().to_string_lossy().into_owned();
        // Tests may look at the whole house.
        let is_test = inside.iter().any(|folder| folder == "tests");
        if is_test || matches!(name.as_str(), "tests.rs" | "fixture.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        let module = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy();
        let module = module.trim_end_matches(".rs").to_owned();
        *seen.entry(module.clone()).or_default() += 1;
        for import in imports(code) {
            if import == module {
                continue;
            }
            assert!(
                floor(&import) < floor(&module),
                "src/{} imports crate::{import}, which is not below `{module}`",
                inside.display()
            );
        }
    }
    for module in FLOORS.into_iter().flatten() {
        assert!(seen.contains_key(*module), "there is no module `{module}`");
    }
}

#[test]
fn the_simulator_shares_nothing_with_the_client() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/simulator");
    for path in sources(&root) {
        let text = std::fs::read_to_string(&path).unwrap();
        for import in imports(&text) {
            assert_eq!(
                import,
                "simulator",
                "{} imports crate::{import}",
                path.display()
            );
        }
    }
}

#[test]
fn only_apply_asks_for_the_writing_client() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        let text = std::fs::read_to_string(&path).unwrap();
        let inside = path.strip_prefix(&root).unwrap();
        let is_allowed = inside.starts_with("apply") || inside.starts_with("org");
        assert!(
            is_allowed || !text.contains("Writer::for_plan"),
            "src/{} makes a writing client",
            inside.display()
        );
    }
}
