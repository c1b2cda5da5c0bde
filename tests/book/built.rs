//! The book builds, and whatever it links to is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use mdbook_driver::MDBook;
use regex::Regex;
use tempfile::TempDir;

use crate::{pages, sources};

/// What is logged while the book is built.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Builds it; what was warned of.
fn build(into: &Path) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let mut book = MDBook::load(sources().parent().unwrap()).unwrap();
        book.config.build.build_dir = into.to_owned();
        book.build().unwrap();
    });
    let log = log.0.lock().unwrap().clone();
    String::from_utf8(log).unwrap()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn it_builds_without_a_warning_and_its_links_lead_somewhere() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().canonicalize().unwrap();
    assert_eq!(build(&root), "", "warnings of mdBook");
    let mut built = Vec::new();
    files(&root, &mut built);
    let html = built
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "html"));
    let texts: BTreeMap<PathBuf, String> = html
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    assert!(texts.len() > 20, "{:?}", texts.keys());
    let id = Regex::new(r#"\bid="([^"]+)""#).unwrap();
    let anchors: BTreeMap<&PathBuf, BTreeSet<&str>> = texts
        .iter()
        .map(|(path, text)| {
            let ids = id
                .captures_iter(text)
                .map(|found| found.get(1).unwrap().as_str());
            (path, ids.collect())
        })
        .collect();
    let link = Regex::new(r#"\b(?:href|src)="([^"]*)""#).unwrap();
    let (mut followed, mut wrong) = (0, Vec::new());
    for (page, text) in &texts {
        // It is served for any place, so its links begin at a root that is not there.
        if page.file_name().unwrap() == "404.html" {
            continue;
        }
        for found in link.captures_iter(text) {
            let target = &found[1];
            if target.contains(':') || target.is_empty() {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = path.split('?').next().unwrap();
            let place = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let place = place.canonicalize().unwrap_or_default();
            let is_there = match anchor {
                _ if !built.contains(&place) => false,
                "" => true,
                anchor => anchors[&place].contains(anchor),
            };
            followed += 1;
            if !is_there {
                wrong.push(format!(
                    "{} → {target}",
                    page.strip_prefix(&root).unwrap().display()
                ));
            }
        }
    }
    assert!(followed > 200, "{followed}");
    assert!(wrong.is_empty(), "these lead nowhere: {wrong:#?}");
}

#[test]
fn every_page_is_a_chapter_and_every_chapter_a_page() {
    let summary = std::fs::read_to_string(sources().join("SUMMARY.md")).unwrap();
    let link = Regex::new(r"\]\(([^)]+)\)").unwrap();
    let chapters: Vec<&str> = link
        .captures_iter(&summary)
        .map(|found| found.get(1).unwrap().as_str())
        .collect();
    let listed: BTreeSet<&str> = chapters.iter().copied().collect();
    assert_eq!(listed.len(), chapters.len(), "a chapter is there twice");
    let mut pages: Vec<String> = pages().into_iter().map(|page| page.name).collect();
    pages.retain(|name| name != "SUMMARY.md");
    assert_eq!(listed, pages.iter().map(String::as_str).collect());
}

#[test]
fn what_the_readme_points_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let link = Regex::new(r"\]\(([^):#]+)\)").unwrap();
    let links: Vec<&str> = link
        .captures_iter(&readme)
        .map(|found| found.get(1).unwrap().as_str())
        .collect();
    assert!(links.len() > 10, "{links:?}");
    let gone: Vec<_> = links
        .iter()
        .filter(|link| !root.join(link).exists())
        .collect();
    assert!(gone.is_empty(), "{gone:?}");
}
