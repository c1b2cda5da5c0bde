//! The catalogue of what the program says when something is wrong: what each chapter has provoked is kept word for
//! word in `snapshots/`, to be read as a whole, by those who write messages and by those who review them.
//! [`the_catalogue_is_whole`] fails where a message is in none of them.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::support::Output;

/// One family of messages.
#[derive(Default)]
pub(crate) struct Chapter {
    text: String,
}

impl Chapter {
    /// What the program printed and how it ended, headed by what was wrong: its errors, or where it has none its report.
    pub(crate) fn met(&mut self, wrong: &str, output: &Output) {
        let said = match output.stderr.trim() {
            "" => &output.stdout,
            errors => errors,
        };
        self.add(wrong, output, said);
    }

    /// The same, of a report only the lines that begin with one of these.
    pub(crate) fn met_lines(&mut self, wrong: &str, output: &Output, beginnings: &[&str]) {
        let is_meant = |line: &&str| beginnings.iter().any(|one| line.starts_with(one));
        let said: Vec<&str> = output.stdout.lines().filter(is_meant).collect();
        self.add(wrong, output, &said.join("\n"));
    }

    fn add(&mut self, wrong: &str, output: &Output, said: &str) {
        let code = output.code.unwrap_or(-1);
        self.said(
            wrong,
            &format!("{said}\n(dirsyncd {}: exit code {code})", output.verb()),
        );
    }

    /// A message where no part that is real can be made to have the fault: from the type that has its words.
    pub(crate) fn said(&mut self, wrong: &str, message: &dyn Display) {
        let message = masked(message.to_string().trim_end());
        self.text += &format!("# {}\n{message}\n\n", masked(wrong));
    }

    /// The chapter is as it was, or somebody has read the difference.
    #[track_caller]
    pub(crate) fn end(self, name: &str) {
        for inner in ["panicked", "Err(", "Some(", "Error {"] {
            assert!(!self.text.contains(inner), "{inner} in {}", self.text);
        }
        insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!(name, self.text.trim_end());
        });
    }
}

/// With a word in place of what is another one in each run: folders, ports, processes, ids and times.
fn masked(text: &str) -> String {
    static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"[^\s`'\x22(:]*/\.tmp\w{6}", "/folder"),
            (r"(127\.0\.0\.\d+|localhost):\d{4,5}\b", "$1:PORT"),
            (r"process \d+", "process PID"),
            (
                r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| UTC)",
                "TIME",
            ),
            (
                r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
                "UUID",
            ),
            (r"request id [\w-]+", "request id ID"),
            (r"this one knows \d+", "this one knows N"),
            // With a resolver or without.
            (
                r"failed to lookup address information: [\w ]+",
                "the name has no address",
            ),
            // A plan is as long as its times and ports are.
            (r"at line 1 column \d+", "at line 1 column N"),
            (r"x{80,}", "x…"),
        ]
        .map(|(pattern, word)| (Regex::new(pattern).unwrap(), word))
        .into()
    });
    let mut text = text.to_owned();
    for (mask, word) in MASKS.iter() {
        text = mask.replace_all(&text, *word).into_owned();
    }
    text
}

/// A message that stands in no chapter, by a part of its text, and why.
const UNMET: &[(&str, &str)] = &[
    ("unknown field `", "serde's words, which are told otherwise"),
    (
        "unknown variant `",
        "serde's words, which are told otherwise",
    ),
    ("a nonzero u32", "serde's words, which are told otherwise"),
    ("a TOML datetime", "serde's words, which are told otherwise"),
    (
        "1 hold is open",
        "the example that templates are tried with",
    ),
    (
        "`deactivate` holds 7",
        "the example that templates are tried with",
    ),
    ("{{ headline }}", "the template of a message"),
    (
        "the template cannot be filled in",
        "each is filled in when it is read",
    ),
    ("the servers of {}", "begins another message"),
    (
        "the client certificate",
        "begins a message of files that are open",
    ),
    (
        "was open to",
        "a line of the log: tests/bad_input/permissions.rs",
    ),
    (
        "run dirsyncd as that user (",
        "root in a folder of several users",
    ),
    (
        "leads to no resource",
        "an API that breaks its contract: src/org/scim.rs",
    ),
    ("no temporary folder", "the demo, in a folder of its own"),
    ("cannot write {}", "the demo, in a folder of its own"),
    ("in the demo", "the demo, of people that can all be mapped"),
    (
        "right after a sync",
        "the demo, of people that can all be mapped",
    ),
    ("no answer can be read", "a terminal that breaks off"),
    ("has not one source", "cannot be: init has written one"),
    (
        "the source is no server",
        "cannot be: init has written a server",
    ),
    ("nobody is found who can", "tests/end_to_end/init.rs"),
    (
        "something else has changed it",
        "rows that no version has written",
    ),
    ("the history cannot be written", "a disk that is full"),
    ("no backup was made", "tests/end_to_end/backup.rs"),
    ("cannot start", "a system without threads"),
    ("cannot listen for signals", "a system without signals"),
    (
        "the plan cannot be saved",
        "cannot be: what is planned is JSON",
    ),
    ("no TLS: {other}", "a server that breaks off its TLS"),
    ("refuses StartTLS", "tests/hostile/wire.rs"),
    (
        "it cannot be read",
        "a cron expression of which each field is right alone",
    ),
];

/// Where each sentence is one of a message.
const OF_MESSAGES: &[&str] = &["src/config/", "src/org/error.rs"];

#[test]
fn the_catalogue_is_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Expressions have a chapter of their own, beside the code.
    let chapters = ["tests/bad_input/snapshots", "src/mapping/tests/snapshots"];
    let catalogue: String = chapters
        .iter()
        .flat_map(|folder| files(&root.join(folder), "snap"))
        .map(|path| squeezed(&std::fs::read_to_string(path).unwrap()))
        .collect();
    let mut unmet = Vec::new();
    let (mut seen, mut excused) = (0, BTreeSet::new());
    for file in files(&root.join("src"), "rs") {
        let name = file.strip_prefix(root).unwrap().display().to_string();
        if name.contains("tests") || name.ends_with("fixture.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&file).unwrap();
        let is_of_messages = OF_MESSAGES.iter().any(|place| name.starts_with(place));
        for literal in literals(&source, is_of_messages) {
            seen += 1;
            let missing: Vec<String> = parts(&literal)
                .into_iter()
                .filter(|part| !catalogue.contains(part.as_str()))
                .collect();
            if missing.is_empty() {
                continue;
            }
            let excuse = UNMET.iter().find(|(text, _)| literal.contains(text));
            if let Some((text, _)) = excuse {
                excused.insert(*text);
            } else {
                unmet.push(format!("{name}: {literal} — not met: {missing:?}"));
            }
        }
    }
    assert!(seen > 300, "only {seen} messages were found in src/");
    assert_eq!(excused.len(), UNMET.len(), "only {excused:?} are not met");
    assert!(
        unmet.is_empty(),
        "these messages stand in no chapter of the catalogue: provoke them there, or say in UNMET why not:\n{}",
        unmet.join("\n")
    );
}

/// All files below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|one| one == ending) {
            found.push(path);
        }
    }
    found
}

/// The texts in quotes of a source file, without its comments and its tests: all of them, or those of each
/// `#[error(…)]` and those that a `Failure::…(…)` is given.
fn literals(source: &str, all: bool) -> Vec<String> {
    static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?s)//[^\n]*|'(?:\\(?:u\{\w+\}|.)|[^\\'])'|#\[error\(|Failure::\w+\(|[()]",
            "|r#\"(.*?)\"#|r?\"((?:\\\\.|[^\"\\\\])*)\""
        ))
        .unwrap()
    });
    let (source, _) = source.split_once("#[cfg(test)]").unwrap_or((source, ""));
    if !all && !source.contains("#[error(") && !source.contains("Failure::") {
        return Vec::new();
    }
    let mut found = Vec::new();
    // How deep the parentheses are, and at which depth a message began.
    let (mut depth, mut message) = (0, None);
    for token in TOKEN.captures_iter(source) {
        match &token[0] {
            "(" => depth += 1,
            ")" => {
                depth -= 1;
                message = message.filter(|began| depth > *began);
            }
            opening if opening.ends_with('(') && !opening.starts_with(['"', '/', '\'']) => {
                message = message.or(Some(depth));
                depth += 1;
            }
            _ => {
                let text = token.get(1).or(token.get(2));
                found.extend(
                    text.filter(|_| all || message.is_some())
                        .map(|text| text.as_str().to_owned()),
                );
            }
        }
    }
    found
}

/// What of a text stands in each message that is made by it: the parts of a sentence between its placeholders.
fn parts(text: &str) -> Vec<String> {
    static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{[^{}]*\}").unwrap());
    static FOLD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\\\n\s*").unwrap());
    // A line that goes on in the next one, and what is written with a backslash.
    let text = FOLD.replace_all(text, "");
    let text = text.replace("\\n", "\n").replace("\\\"", "\"");
    let text = text.replace("\\\\", "\\");
    let is_sentence = text.trim().split(' ').count() > 2;
    if !is_sentence || text.starts_with('%') {
        return Vec::new();
    }
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    PLACEHOLDER
        .split(&text)
        .map(|part| part.replace('\u{1}', "{").replace('\u{2}', "}"))
        .map(|part| squeezed(&masked(&part)))
        .filter(|part| part.trim().chars().filter(|c| c.is_alphabetic()).count() > 3)
        .collect()
}

/// With a space in place of each run of white space.
fn squeezed(text: &str) -> String {
    static SPACE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\s+").unwrap());
    SPACE.replace_all(text, " ").into_owned()
}
