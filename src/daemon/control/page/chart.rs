//! Small charts of the last days, or the last runs: drawn here, with their figures as a table for those who do not see them.

use chrono::NaiveDate;
use maud::{Markup, html};

use super::html::{moment, table};
use crate::model::{RunId, Timestamp};
use crate::report::number;
use crate::snapshot::{PastDay, PastRun};

/// How high a chart is, in its own units.
const HEIGHT: f64 = 100.0;

/// How wide the place of a point is.
const STEP: f64 = 12.0;

/// What is drawn of a run, or of the runs of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    of: Of,
    /// The accounts that were active at its end; not known of runs of older versions, and of failed ones.
    active: Option<u64>,
    done: u64,
    failed: u64,
    held: u64,
}

/// What a point stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Run(RunId, Timestamp),
    Day(NaiveDate),
}

impl Of {
    /// What points stand for, in words: one of them, and many.
    fn kind(self) -> (&'static str, &'static str) {
        match self {
            Of::Run(..) => ("run", "runs"),
            Of::Day(_) => ("day", "days"),
        }
    }

    fn in_words(self) -> String {
        match self {
            Of::Run(run, _) => format!("run {run}"),
            Of::Day(day) => day.to_string(),
        }
    }
}

impl Point {
    /// What the runs of a day came to.
    pub(super) fn of_day(day: &PastDay) -> Self {
        Point {
            of: Of::Day(day.day),
            active: day.active,
            done: day.done,
            failed: day.failed,
            held: day.held,
        }
    }

    /// What the figures of a run tell.
    pub(super) fn of(run: &PastRun) -> Self {
        let figure = |path: &str| {
            let summary = run.summary.as_ref();
            summary.and_then(|summary| summary.pointer(path)?.as_u64())
        };
        let both = |path: &str| {
            let groups = figure(&format!("/groups{path}"));
            figure(path).unwrap_or_default() + groups.unwrap_or_default()
        };
        Point {
            of: Of::Run(run.run, run.began),
            active: figure("/accounts/active").or_else(|| figure("/accounts").map(|_| 0)),
            done: both("/applied/done"),
            failed: both("/applied/failed"),
            held: figure("/held").unwrap_or_default(),
        }
    }

    /// What of operations there is to tell.
    pub(super) fn in_words(self) -> String {
        let all = [
            (self.done, "done"),
            (self.failed, "failed"),
            (self.held, "held"),
        ];
        let all = all.into_iter().filter(|(count, _)| *count > 0);
        let all: Vec<String> = all
            .map(|(count, word)| format!("{} {word}", number(count)))
            .collect();
        match all.is_empty() {
            true => "none".to_owned(),
            false => all.join(", "),
        }
    }
}

/// Both charts and their figures. `points` are the last runs or days, the oldest first.
pub(super) fn trend(points: &[Point]) -> Markup {
    let (one, many) = kind_of(points);
    html! {
        div.charts {
            (accounts(points))
            (operations(points))
        }
        details {
            summary { "The figures" }
            (table(
                &format!("The last {many}, the newest first"),
                &[if one == "day" { "Day (UTC)" } else { "Run" }, "Active accounts", "Done", "Failed", "Held"],
                points.iter().rev().map(|point| vec![
                    match point.of {
                        Of::Run(run, at) => html! { a href=(format!("/runs/{run}")) { (run) } ", " (moment(at)) },
                        Of::Day(day) => html! { (day) },
                    },
                    html! { @if let Some(active) = point.active { (number(active)) } @else { "–" } },
                    html! { (number(point.done)) },
                    html! { (number(point.failed)) },
                    html! { (number(point.held)) },
                ]),
            ))
        }
    }
}

fn kind_of(points: &[Point]) -> (&'static str, &'static str) {
    points
        .first()
        .map_or(("run", "runs"), |point| point.of.kind())
}

fn accounts(points: &[Point]) -> Markup {
    let (_, many) = kind_of(points);
    let known: Vec<(usize, u64)> = points
        .iter()
        .enumerate()
        .filter_map(|(at, point)| Some((at, point.active?)))
        .collect();
    let (Some(first), Some(last)) = (known.first(), known.last()) else {
        return html! {
            figure {
                figcaption { "Active accounts" }
                p { "Not known of the last " (many) "." }
            }
        };
    };
    let values = known.iter().map(|(_, value)| *value);
    let (least, most) = (
        values.clone().min().unwrap_or_default(),
        values.max().unwrap_or_default(),
    );
    let width = STEP * points.len() as f64;
    let place = |at: usize| STEP * (at as f64 + 0.5);
    let height = |value: u64| match most - least {
        0 => HEIGHT / 2.0,
        span => HEIGHT - 8.0 - (HEIGHT - 16.0) * (value - least) as f64 / span as f64,
    };
    // One run alone is a line too.
    let ends = [
        (place(first.0) - STEP / 2.0, first.1),
        (place(last.0) + STEP / 2.0, last.1),
    ];
    let middle = known.iter().map(|(at, value)| (place(*at), *value));
    let all: Vec<String> = [ends[0]]
        .into_iter()
        .chain(middle)
        .chain([ends[1]])
        .map(|(x, value)| format!("{x:.1},{:.1}", height(value)))
        .collect();
    let line = all.join(" ");
    let area = format!("{:.1},{HEIGHT} {line} {:.1},{HEIGHT}", ends[0].0, ends[1].0);
    let told = format!(
        "{} active accounts after {}, {} after {}; at least {} and at most {} in between.",
        number(first.1),
        points[first.0].of.in_words(),
        number(last.1),
        points[last.0].of.in_words(),
        number(least),
        number(most)
    );
    html! {
        figure {
            figcaption { "Active accounts: " strong { (number(last.1)) } }
            div.plot {
                span.most { (number(most)) }
                @if least < most { span.least { (number(least)) } }
                svg role="img" aria-labelledby="accounts-title accounts-told" preserveAspectRatio="none"
                    viewBox=(format!("0 0 {width} {HEIGHT}")) {
                    title #accounts-title { "Active accounts after the last " (many) }
                    desc #accounts-told { (told) }
                    polygon.area points=(area) {}
                    polyline.line points=(line) {}
                }
            }
            (ends_of(points))
        }
    }
}

fn operations(points: &[Point]) -> Markup {
    let (one, many) = kind_of(points);
    let total = |point: &Point| point.done + point.failed + point.held;
    let most = points.iter().map(total).max().unwrap_or_default();
    let width = STEP * points.len() as f64;
    let scale = (HEIGHT - 8.0) / most.max(1) as f64;
    let sum = |of: fn(&Point) -> u64| points.iter().map(of).sum::<u64>();
    let told = format!(
        "In the last {} {many} {} operations were done and {} failed; {} are held by the last one.",
        points.len(),
        number(sum(|point| point.done)),
        number(sum(|point| point.failed)),
        number(points.last().map_or(0, |point| point.held))
    );
    html! {
        figure {
            figcaption {
                "Operations a " (one) ": "
                span.key { span.swatch.done {} "done" } " "
                span.key { span.swatch.failed {} "failed" } " "
                span.key { span.swatch.held {} "held" }
            }
            div.plot {
                span.most { (number(most)) }
                svg role="img" aria-labelledby="operations-title operations-told" preserveAspectRatio="none"
                    viewBox=(format!("0 0 {width} {HEIGHT}")) {
                    title #operations-title { "Operations of the last " (many) }
                    desc #operations-told { (told) }
                    @for (at, point) in points.iter().enumerate() {
                        (bar(at, point, scale))
                    }
                }
            }
            (ends_of(points))
        }
    }
}

fn bar(at: usize, point: &Point, scale: f64) -> Markup {
    let x = STEP * at as f64 + 1.5;
    let width = STEP - 3.0;
    let parts = [
        ("done", point.done),
        ("failed", point.failed),
        ("held", point.held),
    ];
    let mut top = HEIGHT;
    let parts = parts.into_iter().filter(|(_, count)| *count > 0);
    let parts = parts.map(|(class, count)| {
        // What is there is seen, however little it is.
        let height = (count as f64 * scale).max(2.0);
        top -= height;
        (class, top, height)
    });
    html! {
        @for (class, top, height) in parts {
            rect class=(class) x=(format!("{x:.1}")) y=(format!("{top:.1}"))
                width=(format!("{width:.1}")) height=(format!("{height:.1}")) {}
        }
    }
}

fn end_of(point: &Point) -> String {
    match point.of {
        Of::Run(run, at) => format!("run {run}, {}", at.format("%Y-%m-%d %H:%M")),
        Of::Day(day) => day.to_string(),
    }
}

/// The first and the last point, below a chart.
fn ends_of(points: &[Point]) -> Markup {
    html! {
        @if let (Some(first), Some(last)) = (points.first(), points.last()) {
            div.ends {
                span { (end_of(first)) }
                @if first.of != last.of { span { (end_of(last)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn point(run: i64, active: Option<u64>, done: u64) -> Point {
        Point {
            of: Of::Run(RunId(run), "2026-11-30T08:00:00Z".parse().unwrap()),
            active,
            done,
            failed: 1,
            held: 0,
        }
    }

    #[test]
    fn a_chart_has_what_is_known_and_says_it_in_words() {
        let points = [
            point(1, None, 4),
            point(2, Some(4), 0),
            point(3, Some(1204), 1200),
        ];
        let drawn = trend(&points).into_string();
        assert!(drawn.contains(
            "4 active accounts after run 2, 1,204 after run 3; at least 4 and at most 1,204"
        ));
        assert!(drawn.contains("In the last 3 runs 1,204 operations were done and 3 failed"));
        assert_eq!(drawn.matches("<rect class=\"done\"").count(), 2);
        assert_eq!(drawn.matches("<rect class=\"failed\"").count(), 3);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"));
        // No style of its own, which the policy would not let.
        assert!(!drawn.contains("style="));
    }

    #[test]
    fn days_are_told_as_days() {
        let day = |day: u32, done| PastDay {
            day: NaiveDate::from_ymd_opt(2026, 11, day).unwrap(),
            runs: 96,
            active: Some(40 + u64::from(day)),
            done,
            failed: 0,
            held: 0,
        };
        let points = [day(28, 3), day(30, 4)].map(|day| Point::of_day(&day));
        let drawn = trend(&points).into_string();
        for words in [
            "68 active accounts after 2026-11-28, 70 after 2026-11-30",
            "In the last 2 days 7 operations were done and 0 failed",
            "Operations a day",
            "Day (UTC)",
        ] {
            assert!(drawn.contains(words), "{words}: {drawn}");
        }
    }

    #[test]
    fn nothing_and_one_run_are_drawn_too() {
        assert!(
            trend(&[])
                .into_string()
                .contains("Not known of the last runs.")
        );
        let one = trend(&[point(1, Some(0), 0)]).into_string();
        assert!(
            one.contains("points=\"0.0,50.0 6.0,50.0 12.0,50.0\""),
            "{one}"
        );
        assert!(!one.contains("NaN"));
    }
}
