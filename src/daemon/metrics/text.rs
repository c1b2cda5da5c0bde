//! The text format of Prometheus, version 0.0.4: what is served is made anew for each scrape, from figures
//! that stand elsewhere, so there is no registry.

use std::fmt::Write;

/// The media type.
pub(in crate::daemon) const MEDIA: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The upper bounds of the buckets, in seconds: from a run that finds nothing to do to a first one that makes
/// a hundred thousand accounts.
const BOUNDS: [f64; 14] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 150.0, 300.0, 900.0, 1800.0, 7200.0, 21600.0,
];

/// How long something took, each time.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// By bucket, those above all bounds left out.
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    /// It took so many seconds.
    pub(super) fn observe(&mut self, seconds: f64) {
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(count) = bucket.and_then(|at| self.counts.get_mut(at)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

/// What of a metric may go up and down.
#[derive(Clone, Copy)]
pub(super) enum Type {
    /// Only up, until the process ends.
    Counter,
    /// Up and down.
    Gauge,
    /// How often something took how long.
    Histogram,
}

/// Labels of a series.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// What is served.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Begins a metric; its series follow.
    pub(super) fn metric<'a>(&'a mut self, of: Type, name: &'a str, help: &str) -> Metric<'a> {
        let of = match of {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {of}\n");
        Metric { page: self, name }
    }

    /// A metric of one series.
    pub(super) fn one(&mut self, of: Type, name: &str, help: &str, value: f64) {
        self.metric(of, name, help).series(&[], value);
    }
}

/// A metric whose series are told.
pub(super) struct Metric<'a> {
    page: &'a mut Page,
    name: &'a str,
}

impl Metric<'_> {
    pub(super) fn series(&mut self, labels: Labels<'_>, value: f64) {
        self.sample("", labels, value);
    }

    pub(super) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(histogram.counts) {
            below += count;
            let bound = number(*bound);
            let labels = [labels, &[("le", &bound)]].concat();
            self.sample("_bucket", &labels, below as f64);
        }
        let all = histogram.count as f64;
        self.sample("_bucket", &[labels, &[("le", "+Inf")]].concat(), all);
        self.sample("_sum", labels, histogram.sum);
        self.sample("_count", labels, all);
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: f64) {
        let escaped = |value: &str| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            value.replace('\n', "\\n")
        };
        let labels = labels.iter();
        let labels = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
        let labels = labels.collect::<Vec<_>>().join(",");
        let labels = match labels.as_str() {
            "" => labels,
            labels => format!("{{{labels}}}"),
        };
        let name = self.name;
        // Writing to a text does not fail.
        let _ = writeln!(self.page.0, "{name}{suffix}{labels} {}", number(value));
    }
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_escaped_and_buckets_are_cumulative() {
        let mut page = Page::default();
        let mut metric = page.metric(Type::Gauge, "people", "How\nmany \\.");
        metric.series(&[("source", "a\"b\\c\nd"), ("kind", "x")], 3.0);
        metric.series(&[], f64::INFINITY);
        let mut took = Histogram::default();
        for seconds in [0.1, 0.11, 40.0, 1e6] {
            took.observe(seconds);
        }
        let mut metric = page.metric(Type::Histogram, "took_seconds", "Took.");
        metric.histogram(&[("job", "sync")], &took);
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..6],
            [
                "# HELP people How\\nmany \\\\.",
                "# TYPE people gauge",
                "people{source=\"a\\\"b\\\\c\\nd\",kind=\"x\"} 3",
                "people +Inf",
                "# HELP took_seconds Took.",
                "# TYPE took_seconds histogram",
            ]
        );
        for line in [
            "took_seconds_bucket{job=\"sync\",le=\"0.1\"} 1",
            "took_seconds_bucket{job=\"sync\",le=\"30\"} 2",
            "took_seconds_bucket{job=\"sync\",le=\"60\"} 3",
            "took_seconds_bucket{job=\"sync\",le=\"21600\"} 3",
            "took_seconds_bucket{job=\"sync\",le=\"+Inf\"} 4",
            "took_seconds_count{job=\"sync\"} 4",
        ] {
            assert!(lines.contains(&line), "{line}\n{text}");
        }
        assert_eq!(lines.len(), 6 + BOUNDS.len() + 3);
    }
}
