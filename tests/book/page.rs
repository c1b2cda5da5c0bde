//! A page of the book: its blocks, and the commands that it names.

use std::path::{Path, PathBuf};

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Console { code: i32 },
    Background,
    Elsewhere,
    Ldif,
    OtherLdif,
    Toml { is_added: bool },
    Preset,
    Text,
}

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    pub kind: Kind,
    pub text: String,
    /// The line of its fence, from 1.
    pub line: usize,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    pub path: PathBuf,
    pub name: String,
    pub text: String,
    pub blocks: Vec<Block>,
    /// What of our commands is named within the text, and in which line.
    pub spans: Vec<(usize, String)>,
    /// What `<!-- test: begins … -->` says.
    pub begins: Option<String>,
}

/// A command with what it prints.
#[derive(Clone, Debug)]
pub struct Shown {
    pub command: String,
    pub output: String,
}

impl Page {
    pub fn read(path: &Path, name: &str) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut page = Page {
            path: path.to_owned(),
            name: name.to_owned(),
            blocks: Vec::new(),
            spans: Vec::new(),
            begins: None,
            text: String::new(),
        };
        let (mut prose, mut open) = (String::new(), None);
        for (number, line) in text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (fence, &mut open) {
                (Some(words), None) => {
                    let kind = kind_of(words, name).unwrap_or_else(|| {
                        panic!(
                            "{name}:{}: a block `{words}` is of no known kind",
                            number + 1
                        )
                    });
                    open = Some(Block {
                        kind,
                        text: String::new(),
                        line: number + 1,
                    });
                    prose.push('\n');
                }
                (Some(_), block @ Some(_)) => {
                    page.blocks.extend(block.take());
                    prose.push('\n');
                }
                (None, Some(block)) => {
                    block.text += line;
                    block.text.push('\n');
                    prose.push('\n');
                }
                (None, None) => {
                    if let Some(begins) = line.strip_prefix("<!-- test: begins ") {
                        page.begins = Some(begins.trim_end_matches("-->").trim().to_owned());
                    }
                    // Markdown takes that for a block, which would be none that is checked.
                    assert!(
                        !line.starts_with("    ") || name == "README.md",
                        "{name}:{}: a block has a fence",
                        number + 1
                    );
                    prose += line;
                    prose.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{name}: a block does not end");
        // A span may go over the end of a line.
        let mut line = 1;
        for (number, span) in prose.split('`').enumerate() {
            if number % 2 == 1 && span.starts_with("dirsyncd ") {
                let span = span.split_whitespace().collect::<Vec<_>>().join(" ");
                page.spans.push((line, span));
            }
            line += span.matches('\n').count();
        }
        page.text = text;
        page
    }
}

/// What the words after a fence mean.
fn kind_of(words: &str, page: &str) -> Option<Kind> {
    Some(match words.split(' ').collect::<Vec<_>>().as_slice() {
        ["console"] => Kind::Console { code: 0 },
        ["console", "background"] => Kind::Background,
        ["console", code] => Kind::Console {
            code: code.strip_prefix("code=")?.parse().ok()?,
        },
        ["sh", "elsewhere"] => Kind::Elsewhere,
        // README is no chapter, and tells only what is elsewhere.
        ["sh" | ""] if page == "README.md" => Kind::Elsewhere,
        ["ldif"] => Kind::Ldif,
        ["ldif", "elsewhere"] => Kind::OtherLdif,
        ["toml"] => Kind::Toml { is_added: false },
        ["toml", "add"] => Kind::Toml { is_added: true },
        ["toml", "preset"] => Kind::Preset,
        ["text"] if page.starts_with("reference/") => Kind::Text,
        _ => return None,
    })
}

impl Block {
    /// Whether something is done with it in the page's own world.
    pub fn is_run(&self) -> bool {
        matches!(
            self.kind,
            Kind::Console { .. } | Kind::Background | Kind::Ldif | Kind::Toml { is_added: true }
        )
    }

    /// Its commands with what they print.
    pub fn shown(&self) -> Vec<Shown> {
        let mut found: Vec<Shown> = Vec::new();
        let mut goes_on = false;
        for line in self.text.lines() {
            match (line.strip_prefix("$ "), found.last_mut()) {
                (_, Some(shown)) if goes_on => {
                    shown.command.push('\n');
                    shown.command += line;
                }
                (Some(command), _) => found.push(Shown {
                    command: command.to_owned(),
                    output: String::new(),
                }),
                (None, Some(shown)) => {
                    shown.output += line;
                    shown.output.push('\n');
                    continue;
                }
                (None, None) => panic!("line {}: a console begins with a command", self.line),
            }
            goes_on = line.ends_with('\\');
        }
        found
    }

    /// The commands in it.
    pub fn commands(&self) -> Vec<String> {
        match self.kind {
            Kind::Console { .. } | Kind::Background => self
                .shown()
                .into_iter()
                .map(|shown| shown.command)
                .collect(),
            Kind::Elsewhere => vec![self.text.clone()],
            _ => Vec::new(),
        }
    }
}
