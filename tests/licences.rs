//! The dependencies are what `deny.toml` allows: each run of the tests sees to licences and origins; `cargo deny`
//! itself sees to advisories too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

/// What this package is made of where it runs, and what its tests are made of.
fn packages() -> Vec<Value> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        cargo.status.success(),
        "{}",
        String::from_utf8_lossy(&cargo.stderr)
    );
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    // Of the others the lock file has the names alone.
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let resolved: BTreeSet<&str> = nodes
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    let packages = metadata["packages"].as_array().unwrap();
    let packages: Vec<Value> = packages
        .iter()
        .filter(|package| resolved.contains(package["id"].as_str().unwrap()))
        .filter(|package| package["name"] != env!("CARGO_PKG_NAME"))
        .cloned()
        .collect();
    assert!(packages.len() > 100, "{}", packages.len());
    packages
}

fn deny() -> toml::Table {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn each_dependency_has_a_licence_that_is_allowed_and_none_is_allowed_in_vain() {
    let deny = deny();
    let allowed = deny["licenses"]["allow"].as_array().unwrap();
    let allowed: BTreeSet<&str> = allowed.iter().map(|one| one.as_str().unwrap()).collect();
    let mut used = BTreeSet::new();
    for package in packages() {
        let name = &package["name"];
        let licence = package["license"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} names no licence"));
        let licence = Expression::parse_mode(licence, ParseMode::LAX).unwrap();
        let obeys = licence.evaluate(|one| {
            let id = one.license.id().map(|id| id.name);
            let is_allowed = id.is_some_and(|id| allowed.contains(id));
            used.extend(id.filter(|_| is_allowed));
            is_allowed
        });
        assert!(
            obeys,
            "{name} is under {licence}, which deny.toml does not allow"
        );
    }
    let in_vain: Vec<_> = allowed.iter().filter(|one| !used.contains(**one)).collect();
    assert!(in_vain.is_empty(), "{in_vain:?}");
}

#[test]
fn each_dependency_comes_from_the_registry_and_none_is_banned() {
    let deny = deny();
    let banned: Vec<&str> = deny["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    assert!(!banned.is_empty());
    for package in packages() {
        let (name, source) = (package["name"].as_str().unwrap(), &package["source"]);
        assert!(
            source
                .as_str()
                .is_some_and(|source| source.starts_with("registry+")),
            "{name} comes from {source}"
        );
        assert!(!banned.contains(&name), "{name} is banned");
    }
}
