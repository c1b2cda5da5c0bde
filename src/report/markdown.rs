//! A report in Markdown (CommonMark), for a ticket.

use std::fmt::Write;

use super::sheet::{Item, Sheet};
use super::text::{Detail, harmless, number};
use crate::model::GroupMember;

/// The report, with a heading a section and an item for each person.
pub(super) fn form(sheet: &Sheet<'_>, detail: Detail) -> String {
    let limit = detail.limit;
    let mut out = String::new();
    let _ = writeln!(out, "# {}\n", sheet.title);
    if let Some(made) = detail.made_at {
        let _ = writeln!(out, "Made {}.\n", made.format("%Y-%m-%d %H:%M UTC"));
    }
    let _ = writeln!(out, "**{}**", escaped(&sheet.summary));
    paragraphs(&mut out, &sheet.opening);
    for section in &sheet.sections {
        let count = number(section.count as u64);
        let _ = writeln!(out, "\n## {} ({count})\n", escaped(section.title));
        let (items, rest) = section.items(limit);
        for one in items {
            item(&mut out, &one, limit);
        }
        if rest > 0 {
            let _ = writeln!(out, "- … and {} more", number(rest as u64));
        }
    }
    paragraphs(&mut out, &sheet.closing);
    out
}

fn paragraphs(out: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(out, "\n{}", escaped(line));
    }
}

fn item(out: &mut String, item: &Item<'_>, limit: Option<usize>) {
    let _ = write!(out, "- **{}**", escaped(&item.name));
    for mark in &item.marks {
        let _ = write!(out, " \\[{}\\]", escaped(mark));
    }
    if let Some(brief) = &item.brief {
        let _ = write!(out, ": {}", escaped(brief));
    }
    out.push('\n');
    for fact in &item.facts {
        let _ = writeln!(out, "  - {}", escaped(fact));
    }
    for (attribute, value) in &item.values {
        let _ = writeln!(out, "  - {}: {}", escaped(attribute), escaped(value));
    }
    let value = |value: Option<&str>| value.map_or("*none*".to_owned(), escaped);
    for change in &item.changes {
        let _ = writeln!(
            out,
            "  - {}: {} → {}",
            escaped(change.attribute),
            value(change.old),
            value(change.new)
        );
    }
    members(out, "joins", item.joins, limit);
    members(out, "leaves", item.leaves, limit);
    if let Some(foreseen) = &item.foreseen {
        let _ = writeln!(out, "  - {}", escaped(foreseen));
    }
}

fn members(out: &mut String, word: &str, members: &[GroupMember], limit: Option<usize>) {
    let shown = limit.unwrap_or(members.len()).min(members.len());
    for member in &members[..shown] {
        let _ = writeln!(out, "  - {word}: {}", escaped(&member.name));
    }
    let rest = members.len() - shown;
    if rest > 0 {
        let _ = writeln!(out, "  - {word}: … and {} more", number(rest as u64));
    }
}

/// Text that is no more than that in Markdown and in the HTML that it becomes. A backslash makes any of
/// these a character (CommonMark 0.31.2, section 2.4), and keeps what it begins with from beginning a block.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (at, c) in text.chars().map(harmless).enumerate() {
        let is_special = matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '$'
        );
        // What begins a list, a heading or a number's list.
        let begins = at == 0 && matches!(c, '#' | '+' | '-' | '=');
        let ends_number = matches!(c, '.' | ')')
            && !out.is_empty()
            && out.chars().all(|before| before.is_ascii_digit());
        if is_special || begins || ends_number {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
