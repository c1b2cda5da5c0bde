//! What all pages have in common. Templates escape what they are given, and [`page`] shows the characters that
//! command a terminal or turn the direction of writing around as what they are.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use url::form_urlencoded::Serializer;

use super::Visitor;
use crate::model::Timestamp;
use crate::plan::without_way_out;
use crate::report::{self, number};

/// Where one is, for the way around.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Status,
    Plan,
    Runs,
    History,
    /// A page that no way leads to.
    Elsewhere,
}

/// A page to be shown.
pub(super) struct Page<'a> {
    pub(super) visitor: Option<&'a Visitor>,
    pub(super) place: Place,
    pub(super) title: &'a str,
    /// After so many seconds it is loaded again, while nobody is at it.
    pub(super) refresh: Option<u32>,
    /// Whether it waits for something: it is loaded again without a script too.
    pub(super) waits: bool,
    pub(super) body: Markup,
}

impl<'a> Page<'a> {
    /// A page that is not loaded again by itself.
    pub(super) fn of(
        visitor: Option<&'a Visitor>,
        place: Place,
        title: &'a str,
        body: Markup,
    ) -> Self {
        Page {
            visitor,
            place,
            title,
            refresh: None,
            waits: false,
            body,
        }
    }

    pub(super) fn response(self, status: StatusCode) -> Response {
        let media = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        // Here, so that no template can forget it.
        let text = report::printable(&self.markup().into_string());
        (status, media, text).into_response()
    }

    fn markup(self) -> Markup {
        let Page {
            visitor,
            place,
            title,
            refresh,
            waits,
            body,
        } = self;
        let ways = [
            (Place::Status, "/", "Status"),
            (Place::Plan, "/plan", "Plan"),
            (Place::Runs, "/runs", "Runs"),
            (Place::History, "/history", "History"),
        ];
        let is_in = visitor.is_some_and(|visitor| visitor.invoker.is_some());
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " – dirsyncd" }
                    link rel="stylesheet" href="/assets/style.css";
                    link rel="icon" type="image/svg+xml" href="/assets/icon.svg";
                    script src="/assets/script.js" defer {}
                    @if let Some(seconds) = refresh.filter(|_| waits) {
                        noscript { meta http-equiv="refresh" content=(seconds); }
                    }
                }
                body data-refresh=[refresh] {
                    a.skip href="#main" { "Skip to the content" }
                    header.top {
                        div.inner {
                            span.brand { img src="/assets/icon.svg" alt="" width="22" height="22"; "dirsyncd" }
                            @if is_in {
                                nav aria-label="Pages" {
                                    ul {
                                        @for (other, path, name) in ways {
                                            li { a href=(path) aria-current=[(other == place).then_some("page")] { (name) } }
                                        }
                                    }
                                }
                            }
                            @if let Some(visitor) = visitor.filter(|visitor| visitor.has_logged_in) {
                                form.out method="post" action="/logout" {
                                    (code_of(visitor))
                                    button.quiet type="submit" { "Log out" }
                                }
                            }
                        }
                    }
                    main #main tabindex="-1" {
                        h1 { (title) }
                        (body)
                    }
                    footer { "dirsyncd " (env!("CARGO_PKG_VERSION")) ". All times are UTC." }
                }
            }
        }
    }
}

/// What shows that a form is of this visitor's session.
pub(super) fn code_of(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(super::CODE) value=(visitor.code); }
}

/// A table, which on a narrow screen becomes a list of what is in its rows. Each cell has its heading for that,
/// and each element its role, as a style that is no table's takes it away.
pub(super) fn table(
    caption: &str,
    headings: &[&str],
    rows: impl IntoIterator<Item = Vec<Markup>>,
) -> Markup {
    html! {
        table role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for heading in headings { th role="columnheader" scope="col" { (heading) } }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (heading, cell) in headings.iter().zip(row) {
                            td role="cell" data-heading=(heading) { div { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// A moment.
pub(super) fn moment(at: Timestamp) -> Markup {
    let exact = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    html! { time datetime=(exact) { span { (at.format("%Y-%m-%d")) } " " span { (at.format("%H:%M:%S")) } } }
}

/// A moment, and how long ago that is, or how far away.
pub(super) fn moment_from(at: Timestamp, now: Timestamp) -> Markup {
    html! { (moment(at)) " " span.age { (distance(at, now)) } }
}

fn distance(at: Timestamp, now: Timestamp) -> String {
    let (apart, is_past) = match at <= now {
        true => (now - at, true),
        false => (at - now, false),
    };
    let words = match (apart.num_days(), apart.num_hours(), apart.num_minutes()) {
        (0, 0, 0) => format!("{} s", apart.num_seconds()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) if hours < 10 => format!("{hours} h {} min", minutes % 60),
        (0, hours, _) => format!("{hours} h"),
        (1, ..) => "1 day".to_owned(),
        (days, ..) => format!("{days} days"),
    };
    match is_past {
        true => format!("{words} ago"),
        false => format!("in {words}"),
    }
}

/// A sentence of ours: what stands in backticks is to be typed.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Why a hold of this name holds; the command that lets it through stands beside.
pub(super) fn why_held(message: &str, hold: &str) -> Markup {
    prose(without_way_out(message, hold))
}

/// A command for a shell.
pub(super) fn command(text: &str) -> Markup {
    html! { code.command { (text) } }
}

/// A name that others have given: its direction of writing is its own.
pub(super) fn name(text: &str) -> Markup {
    html! { bdi { (text) } }
}

/// Somebody, with the way to the person's page.
pub(super) fn person(key: &str, text: &str) -> Markup {
    html! { a href=(link("/people", &[("who", key)])) { bdi { (text) } } }
}

/// A path with a query; of what is empty nothing is said.
pub(super) fn link(path: &str, query: &[(&str, &str)]) -> String {
    let mut serializer = Serializer::new(String::new());
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        serializer.append_pair(name, value);
    }
    match serializer.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// A page of a list: which of so many, and how to the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paging {
    pub(super) page: usize,
    pub(super) total: usize,
}

/// How many stand on a page.
pub(super) const ROWS: usize = 50;

impl Paging {
    /// The page of this number, the first being 1, or the last one that there is.
    pub(super) fn new(page: Option<usize>, total: usize) -> Self {
        let last = total.div_ceil(ROWS).max(1);
        Paging {
            page: page.unwrap_or(1).clamp(1, last),
            total,
        }
    }

    pub(super) fn range(self) -> std::ops::Range<usize> {
        let first = (self.page - 1) * ROWS;
        first..(first + ROWS).min(self.total)
    }

    /// The ways to the other pages; nothing where there is one only.
    pub(super) fn ways(self, path: &str, query: &[(&str, &str)]) -> Markup {
        let last = self.total.div_ceil(ROWS).max(1);
        let to = |page: usize| {
            let page = page.to_string();
            let mut query = query.to_vec();
            query.push(("page", &page));
            link(path, &query)
        };
        let range = self.range();
        html! {
            @if last > 1 {
                nav.pages aria-label="Pages of the list" {
                    @if self.page > 1 {
                        a href=(to(1)) { "First" }
                        a rel="prev" href=(to(self.page - 1)) { "Previous" }
                    }
                    span {
                        (number(range.start as u64 + 1)) "–" (number(range.end as u64)) " of " (number(self.total as u64))
                    }
                    @if self.page < last {
                        a rel="next" href=(to(self.page + 1)) { "Next" }
                        a href=(to(last)) { "Last" }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_one_that_there_is() {
        for (page, total, at, range) in [
            (None, 0, 1, 0..0),
            (Some(7), 0, 1, 0..0),
            (Some(0), 10, 1, 0..10),
            (Some(2), 50, 1, 0..50),
            (Some(2), 51, 2, 50..51),
            (Some(usize::MAX), 120, 3, 100..120),
        ] {
            let paging = Paging::new(page, total);
            assert_eq!((paging.page, paging.range()), (at, range), "{page:?}");
        }
    }

    #[test]
    fn what_others_have_named_is_shown_and_does_nothing() {
        let body =
            html! { (name("<img src=x onerror=alert(1)>\u{202e}\u{1b}[2J")) (prose("`<b>`")) };
        let page = Page::of(None, Place::Elsewhere, "<script>", body);
        let text = report::printable(&page.markup().into_string());
        assert!(text.contains("&lt;img src=x onerror=alert(1)&gt;\\u202e\\u001b[2J"));
        assert!(text.contains("<code>&lt;b&gt;</code>"));
        assert!(text.contains("<h1>&lt;script&gt;</h1>"));
    }

    #[test]
    fn a_link_says_what_it_is_about() {
        assert_eq!(link("/history", &[("who", ""), ("run", "")]), "/history");
        assert_eq!(
            link("/people", &[("who", "a&b=\"<\u{202e}"), ("run", "3")]),
            "/people?who=a%26b%3D%22%3C%E2%80%AE&run=3"
        );
    }
}
