//! The plan as text, for people: grouped by what is done, summary last.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::groups;
use super::sheet::{Item, Section, Sheet, Tone, ending, failures};
use crate::apply::Applied;
use crate::model::{Cause, GroupMember, Kind, RunId, Timestamp};
use crate::plan::{Edit, Plan};

/// How a report is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// At most so many people a group; all of them when `None`.
    pub limit: Option<usize>,
    /// Lines are wrapped at so many columns; not at all when `None`.
    pub width: Option<usize>,
    /// Whether a terminal shows it that knows colours.
    pub has_colour: bool,
    /// When it was made, where a form tells that.
    pub made_at: Option<Timestamp>,
}

/// The whole plan.
pub fn text(plan: &Plan, detail: Detail) -> String {
    let sheet = Sheet::of(plan, detail.limit);
    let mut pen = Pen::new(detail);
    for text in &sheet.opening {
        pen.line(text);
    }
    pen.sections(&sheet.sections);
    pen.out.push('\n');
    for text in &sheet.closing {
        pen.line(text);
    }
    pen.put(STRONG, &sheet.summary);
    pen.end(0);
    pen.out
}

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();

/// Writes lines of pieces of several styles.
struct Pen {
    out: String,
    detail: Detail,
    /// The line that is being written.
    piece: String,
}

impl Pen {
    fn new(detail: Detail) -> Self {
        Pen {
            out: String::new(),
            detail,
            piece: String::new(),
        }
    }

    /// Adds to the line. What came from a directory is made harmless before it is coloured.
    fn put(&mut self, style: Style, text: &str) {
        let style = match self.detail.has_colour {
            true => style,
            false => Style::new(),
        };
        let _ = write!(self.piece, "{style}");
        self.piece.extend(text.chars().map(harmless));
        let _ = write!(self.piece, "{style:#}");
    }

    fn plain(&mut self, text: &str) {
        self.put(Style::new(), text);
    }

    /// Ends the line. What it goes on with stands a bit further in.
    fn end(&mut self, indent: usize) {
        let piece = std::mem::take(&mut self.piece);
        let begin = " ".repeat(indent);
        match self.detail.width {
            Some(width) if textwrap::core::display_width(&piece) + indent > width => {
                let further = format!("{begin}  ");
                let options = textwrap::Options::new(width)
                    .initial_indent(&begin)
                    .subsequent_indent(&further)
                    // A DN or an address stays in one piece, so that it can be copied.
                    .break_words(false)
                    .word_separator(textwrap::WordSeparator::AsciiSpace)
                    .word_splitter(textwrap::WordSplitter::NoHyphenation);
                for line in textwrap::wrap(&piece, options) {
                    self.out.push_str(&line);
                    self.out.push('\n');
                }
            }
            _ => {
                self.out.push_str(&begin);
                self.out.push_str(&piece);
                self.out.push('\n');
            }
        }
    }

    fn line(&mut self, text: &str) {
        self.plain(text);
        self.end(0);
    }

    fn sections(&mut self, sections: &[Section<'_>]) {
        for section in sections {
            self.out.push('\n');
            let count = number(section.count as u64);
            self.put(STRONG, &format!("{} ({count})", section.title));
            self.end(0);
            let (items, rest) = section.items(self.detail.limit);
            for item in items {
                self.item(&item, section.tone);
            }
            if rest > 0 {
                self.put(FAINT, &format!("… and {} more", number(rest as u64)));
                self.end(2);
            }
        }
    }

    fn item(&mut self, item: &Item<'_>, tone: Tone) {
        let style = match tone {
            Tone::Good => GOOD,
            Tone::Plain => Style::new(),
            Tone::Warning => WARNING,
            Tone::Bad => BAD,
        };
        self.put(style, &item.sign.to_string());
        self.plain(" ");
        self.plain(&item.name);
        for mark in &item.marks {
            self.plain(" ");
            self.put(WARNING, &format!("[{mark}]"));
        }
        if let Some(brief) = &item.brief {
            self.plain(&format!(": {brief}"));
        }
        self.end(2);
        for fact in &item.facts {
            self.plain(fact);
            self.end(6);
        }
        if !item.values.is_empty() {
            let values = item.values.iter();
            let values: Vec<String> = values
                .map(|(attribute, value)| format!("{attribute} {value}"))
                .collect();
            self.plain(&values.join(", "));
            self.end(6);
        }
        let changes = item.changes.iter();
        let width = changes.map(|change| change.attribute.len()).max();
        let width = width.unwrap_or(0);
        for change in &item.changes {
            self.plain(&format!("{:width$}  ", change.attribute));
            self.value(BAD, change.old);
            self.plain(" → ");
            self.value(GOOD, change.new);
            self.end(6);
        }
        self.members(GOOD, '+', item.joins);
        self.members(BAD, '-', item.leaves);
        if let Some(foreseen) = &item.foreseen {
            self.put(WARNING, foreseen);
            self.end(6);
        }
    }

    fn value(&mut self, style: Style, value: Option<&str>) {
        match value {
            Some(value) => self.put(style, value),
            None => self.put(FAINT, "(none)"),
        }
    }

    fn members(&mut self, style: Style, sign: char, members: &[GroupMember]) {
        let shown = self.detail.limit.unwrap_or(members.len());
        let shown = shown.min(members.len());
        for member in &members[..shown] {
            self.put(style, &format!("{sign} {}", member.name));
            self.end(6);
        }
        let rest = members.len() - shown;
        if rest > 0 {
            let rest = number(rest as u64);
            self.put(FAINT, &format!("{sign} … and {rest} more"));
            self.end(6);
        }
    }
}

/// The figures of the plan in one line.
pub fn summary_line(plan: &Plan) -> String {
    let mut parts: Vec<String> = Kind::ALL
        .into_iter()
        .map(|kind| (kind, plan.count(kind)))
        .filter(|(kind, count)| *count > 0 || !matches!(kind, Kind::Adopt | Kind::Delete))
        .map(|(kind, count)| format!("{} to {kind}", number(count as u64)))
        .collect();
    for (count, word) in [
        (plan.held(), "held"),
        (plan.refusals.len(), "refused"),
        (plan.skipped.len(), "skipped"),
    ] {
        if count > 0 {
            parts.push(format!("{} {word}", number(count as u64)));
        }
    }
    parts.push(format!("{} unchanged", number(plan.unchanged)));
    let groups = plan.groups.as_ref();
    let is_empty =
        plan.operations.is_empty() && groups.is_none_or(|groups| groups.operations.is_empty());
    let verdict = if is_empty { "Nothing to do" } else { "Plan" };
    let groups = groups.map(|groups| format!("; groups: {}", groups::summary_line(groups)));
    format!(
        "{verdict}: {}{}.",
        parts.join(", "),
        groups.unwrap_or_default()
    )
}

/// What became of a plan.
pub fn applied(plan: &Plan, applied: &Applied, detail: Detail) -> String {
    let mut pen = Pen::new(detail);
    let failures = failures(applied);
    pen.sections(&failures);
    if !failures.is_empty() {
        pen.out.push('\n');
    }
    for (at, text) in ending(plan, applied).iter().enumerate() {
        pen.put(if at == 0 { STRONG } else { Style::new() }, text);
        pen.end(0);
    }
    pen.out
}

/// How a run is undone, if it did something.
pub(super) fn way_back(run: RunId, applied: &Applied) -> String {
    if applied.done + applied.groups.done == 0 {
        return String::new();
    }
    format!("Run {run}; to undo it: dirsyncd revert {run}\n")
}

/// Who would enter and leave by an edit of the configuration.
pub fn edit(edit: &Edit, detail: Detail) -> String {
    let mut out = String::new();
    for why in &edit.incomplete {
        line(&mut out, &format!("Not read in full: {why}"));
    }
    for (title, sign, people) in [
        ("Enter the scope", '+', &edit.entering),
        ("Leave the scope", '-', &edit.leaving),
    ] {
        group(&mut out, title, people.len(), detail, |out, at| {
            let person = &people[at];
            line(out, &format!("  {sign} {}", person.dn));
            let account = match person.has_account {
                true => "has an account",
                false => "has no account",
            };
            let why = match person.cause {
                Some(Cause::Rescoped) => ", its source is gone".to_owned(),
                Some(cause) => format!(", {cause}"),
                None => String::new(),
            };
            let source = &person.source;
            line(out, &format!("      source `{source}`, {account}{why}"));
        });
    }
    if !out.is_empty() {
        out.push('\n');
    }
    line(
        &mut out,
        &format!(
            "Edit: {} to enter, {} to leave, {} stay.",
            number(edit.entering.len() as u64),
            number(edit.leaving.len() as u64),
            number(edit.staying)
        ),
    );
    out
}

pub(super) fn group(
    out: &mut String,
    title: &str,
    count: usize,
    detail: Detail,
    mut each: impl FnMut(&mut String, usize),
) {
    if count == 0 {
        return;
    }
    out.push('\n');
    line(out, &format!("{title} ({})", number(count as u64)));
    let shown = detail.limit.map_or(count, |limit| limit.min(count));
    for at in 0..shown {
        each(out, at);
    }
    if shown < count {
        line(
            out,
            &format!("  … and {} more", number((count - shown) as u64)),
        );
    }
}

/// One line. What came from a directory must not move the cursor, ring the bell or end the line.
pub(super) fn line(out: &mut String, text: &str) {
    out.extend(text.chars().map(harmless));
    out.push('\n');
}

/// The character, unless a terminal takes it for a command.
pub(super) fn harmless(c: char) -> char {
    if is_command(c) { '\u{fffd}' } else { c }
}

/// Whether a terminal, or what else shows a text, takes the character for a command: control characters,
/// those that end a line or a paragraph, and those that turn the direction of writing around (Unicode
/// standard annex 9), by which a text looks like another.
fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text or JSON as a terminal may show it: a command to the terminal is written as JSON writes it,
/// `\u001b`. Lines stay lines.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_command(c) && c != '\n' {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// A message as a terminal may show it. Its lines after the first are indented, so that none of
/// them can be taken for a message of its own.
pub fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, line) in printable(text).split('\n').enumerate() {
        out.push_str(match at {
            0 => "",
            _ if line.starts_with(' ') => "\n",
            _ => "\n  ",
        });
        out.push_str(line);
    }
    out
}

/// So many, with the word for one or several.
pub fn several(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// 1234567 as `1,234,567`.
pub fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
