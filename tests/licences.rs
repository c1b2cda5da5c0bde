//! The dependencies are what `deny.toml` allows: each run of the tests sees to licences and origins; `cargo deny`
//! itself sees to advisories too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

/// What cargo knows of the packages of the place where it runs.
fn metadata() -> Value {
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
    serde_json::from_slice(&cargo.stdout).unwrap()
}

/// What this package is made of where it runs, and what its tests are made of.
fn packages() -> Vec<Value> {
    let metadata = metadata();
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

/// The names of what the program itself is made of, without what only its tests are.
fn in_the_program() -> BTreeSet<String> {
    let metadata = metadata();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let name = |id: &str| {
        let mut all = metadata["packages"].as_array().unwrap().iter();
        let package = all.find(|package| package["id"] == id).unwrap();
        package["name"].as_str().unwrap().to_owned()
    };
    let (mut found, mut open) = (
        BTreeSet::new(),
        vec![metadata["resolve"]["root"].as_str().unwrap()],
    );
    while let Some(id) = open.pop() {
        if !found.insert(name(id)) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let mut kinds = dependency["dep_kinds"].as_array().unwrap().iter();
            if kinds.any(|kind| kind["kind"] != "dev") {
                open.push(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    found
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
    let exceptions: BTreeMap<&str, Vec<&str>> = deny["licenses"]["exceptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let licences = one["allow"].as_array().unwrap().iter();
            let licences = licences.map(|licence| licence.as_str().unwrap());
            (one["crate"].as_str().unwrap(), licences.collect())
        })
        .collect();
    let mut used = BTreeSet::new();
    let mut excepted = BTreeSet::new();
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
            let own = exceptions.get(name.as_str().unwrap());
            let is_excepted = own.is_some_and(|own| id.is_some_and(|id| own.contains(&id)));
            if is_excepted && !is_allowed {
                excepted.insert(name.as_str().unwrap().to_owned());
            }
            is_allowed || is_excepted
        });
        assert!(
            obeys,
            "{name} is under {licence}, which deny.toml does not allow"
        );
    }
    let in_vain: Vec<_> = allowed.iter().filter(|one| !used.contains(**one)).collect();
    assert!(in_vain.is_empty(), "{in_vain:?}");
    let named: BTreeSet<String> = exceptions.keys().map(ToString::to_string).collect();
    assert_eq!(excepted, named, "an exception is for nothing");
    let program = in_the_program();
    assert!(program.len() > 100, "{}", program.len());
    let inside: Vec<_> = excepted.intersection(&program).collect();
    assert!(inside.is_empty(), "these are for tests alone: {inside:?}");
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
