//! A report as one HTML file that needs nothing else: tiles, a chart, and each person, to filter, search and print.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::sheet::{Item, Section, Sheet, Tone};
use super::text::{Detail, harmless, number};
use crate::model::GroupMember;

const STYLE: &str = concat!(include_str!("palette.css"), include_str!("style.css"));
const SCRIPT: &str = include_str!("script.js");

/// The height of a bar of the chart with the room around it, in the chart's units.
const BAR: usize = 24;

/// How wide the chart is, in its units; its words have the first part of it.
const WIDTH: usize = 700;
const WORDS: usize = 190;
const FIGURES: usize = 70;

/// The report as a file.
pub(super) fn form(sheet: &Sheet<'_>, detail: Detail) -> String {
    let limit = detail.limit;
    let mut parts: Vec<&str> = Vec::new();
    for section in &sheet.sections {
        if !parts.contains(&section.part) {
            parts.push(section.part);
        }
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "dirsyncd: " (sheet.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (sheet.title) }
                    @if let Some(made) = detail.made_at {
                        p.soft { "Made by dirsyncd " (env!("CARGO_PKG_VERSION")) " at " (made.format("%Y-%m-%d %H:%M UTC").to_string()) "." }
                    }
                    p.summary { (sheet.summary) }
                    @for line in &sheet.opening { p { (prose(line)) } }
                }
                main {
                    (tiles(sheet))
                    (chart(sheet))
                    @if !sheet.sections.is_empty() { (filter(&parts)) }
                    @for (at, section) in sheet.sections.iter().enumerate() { (self::section(at, section, limit)) }
                    @for line in &sheet.closing { p { (prose(line)) } }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// Nothing runs but the script that is in the file, and nothing is fetched.
fn policy() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, SCRIPT.as_bytes());
    let digest = STANDARD.encode(digest);
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Plain => "plain",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
    }
}

/// What stands before the colon of a title.
fn short(title: &str) -> &str {
    let end = title.find([':', ';']).unwrap_or(title.len());
    &title[..end]
}

fn tiles(sheet: &Sheet<'_>) -> Markup {
    html! {
        ul.tiles aria-label="Figures" {
            @for (at, section) in sheet.sections.iter().enumerate() {
                li {
                    a class=(class(section.tone)) href={ "#s" (at) } {
                        b { (number(section.count as u64)) } (short(section.title))
                    }
                }
            }
            li { a.plain href="#" { b { (number(sheet.unchanged)) } "Unchanged" } }
        }
    }
}

/// A bar for each section, in proportion to the largest.
fn chart(sheet: &Sheet<'_>) -> Markup {
    let most = sheet.sections.iter().map(|section| section.count).max();
    let Some(most) = most.filter(|_| sheet.sections.len() > 1) else {
        return html! {};
    };
    let room = WIDTH - WORDS - FIGURES;
    let height = BAR * sheet.sections.len();
    html! {
        figure {
            svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="How many there are of each" {
                @for (at, section) in sheet.sections.iter().enumerate() {
                    @let length = (section.count * room / most).max(2);
                    text x=(WORDS - 8) y=(BAR * at + 16) text-anchor="end" { (cut(short(section.title))) }
                    rect class=(class(section.tone)) x=(WORDS) y=(BAR * at + 4) width=(length) height=(BAR - 8) rx="3" {}
                    text x=(WORDS + length + 6) y=(BAR * at + 16) { (number(section.count as u64)) }
                }
            }
        }
    }
}

/// As much of a title as there is room for.
fn cut(title: &str) -> String {
    const ROOM: usize = 26;
    match title.chars().count() > ROOM {
        true => title.chars().take(ROOM - 1).chain(['…']).collect(),
        false => title.to_owned(),
    }
}

/// Only the script makes it seen: without it, it does nothing.
fn filter(parts: &[&str]) -> Markup {
    html! {
        form.filter hidden role="search" {
            input type="search" aria-label="Search names, addresses and values" placeholder="Search names, addresses, values";
            @for part in parts {
                label { input type="checkbox" value=(part); " " (part) }
            }
            output.soft {}
        }
    }
}

fn section(at: usize, section: &Section<'_>, limit: Option<usize>) -> Markup {
    let (items, rest) = section.items(limit);
    html! {
        section id={ "s" (at) } data-part=(section.part) {
            h2 { (section.title) " (" (number(section.count as u64)) ")" }
            ul.items {
                @for one in items { (item(&one, section.tone, limit)) }
            }
            @if rest > 0 { p.soft { "… and " (number(rest as u64)) " more" } }
        }
    }
}

fn item(item: &Item<'_>, tone: Tone, limit: Option<usize>) -> Markup {
    html! {
        li {
            p {
                span class={ "sign " (class(tone)) } aria-hidden="true" { (item.sign) }
                span.name { (name(&item.name)) }
                @for mark in &item.marks { " " span.badge.warning { (name(mark)) } }
            }
            @if let Some(brief) = &item.brief { p { (prose(brief)) } }
            @for fact in &item.facts { p { (prose(fact)) } }
            @if !item.values.is_empty() || !item.changes.is_empty() || !item.joins.is_empty() || !item.leaves.is_empty() {
                ul.diff {
                    @for (attribute, value) in &item.values { (changed(attribute, None, Some(value))) }
                    @for change in &item.changes { (changed(change.attribute, change.old, change.new)) }
                    (members("joins", item.joins, limit))
                    (members("leaves", item.leaves, limit))
                }
            }
            @if let Some(foreseen) = &item.foreseen { p { (prose(foreseen)) } }
        }
    }
}

fn changed(attribute: &str, old: Option<&str>, new: Option<&str>) -> Markup {
    html! {
        li {
            span.attribute { (attribute) } " "
            @if let Some(old) = old { del { (name(old)) } }
            @if old.is_some() && new.is_some() { " → " }
            @if let Some(new) = new { ins { (name(new)) } }
        }
    }
}

fn members(word: &str, members: &[GroupMember], limit: Option<usize>) -> Markup {
    let shown = limit.unwrap_or(members.len()).min(members.len());
    let rest = members.len() - shown;
    html! {
        @for member in &members[..shown] {
            @if word == "leaves" { (changed(word, Some(&member.name), None)) } @else { (changed(word, None, Some(&member.name))) }
        }
        @if rest > 0 { li { (word) " … and " (number(rest as u64)) " more" } }
    }
}

/// A name that others have given: its direction of writing is its own.
fn name(text: &str) -> Markup {
    let text: String = text.chars().map(harmless).collect();
    html! { bdi { (text) } }
}

/// A sentence: what stands in backticks is to be typed.
fn prose(text: &str) -> Markup {
    let text: String = text.chars().map(harmless).collect();
    html! {
        bdi {
            @for (at, part) in text.split('`').enumerate() {
                @if at % 2 == 1 { code { (part) } } @else { (part) }
            }
        }
    }
}
