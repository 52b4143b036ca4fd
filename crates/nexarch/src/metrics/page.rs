//! The page of figures in the formats that Prometheus reads: its text format 0.0.4, and `OpenMetrics` 1.0.0.

use std::fmt::Write as _;

use nexarch_cache::Distribution;

use super::family::{Family, Kind};

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own: what is given when nothing else is asked for.
    Text,
    /// `OpenMetrics`.
    OpenMetrics,
}

impl Format {
    /// What the answer calls it.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A page under way.
pub(super) struct Page {
    text: String,
    format: Format,
}

/// The figures of one family under way.
pub(super) struct Samples<'p> {
    text: &'p mut String,
    family: &'static Family,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self { text: String::with_capacity(64 << 10), format }
    }

    /// Begins a family; each stands on a page once.
    pub(super) fn family(&mut self, family: &'static Family) -> Samples<'_> {
        let open = self.format == Format::OpenMetrics;
        // OpenMetrics names a counter without the end that its figures have.
        let name = if open { family.name.trim_end_matches("_total") } else { family.name };
        let mut line = |word: &str, text: &str| {
            self.text.extend(["# ", word, " ", name, " ", text, "\n"]);
        };
        line("HELP", &family.help.replace('\\', "\\\\").replace('\n', "\\n"));
        line("TYPE", family.kind.as_str());
        if open && !family.unit.is_empty() {
            line("UNIT", family.unit);
        }
        Samples { text: &mut self.text, family }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Samples<'_> {
    /// One figure.
    pub(super) fn add(&mut self, labels: &[&str], value: u64) -> &mut Self {
        self.line("", labels, None, format_args!("{value}"))
    }

    /// One figure that is no whole number.
    pub(super) fn real(&mut self, labels: &[&str], value: f64) -> &mut Self {
        self.line("", labels, None, format_args!("{value}"))
    }

    /// 1 or 0.
    pub(super) fn flag(&mut self, labels: &[&str], is: bool) -> &mut Self {
        self.add(labels, u64::from(is))
    }

    /// 1 for the one that is, 0 for those that could be.
    pub(super) fn state(
        &mut self,
        all: impl IntoIterator<Item = &'static str>,
        now: Option<&str>,
    ) -> &mut Self {
        for word in all {
            self.flag(&[word], now == Some(word));
        }
        self
    }

    /// All figures of a histogram.
    pub(super) fn histogram(&mut self, labels: &[&str], of: &Distribution) -> &mut Self {
        debug_assert_eq!(self.family.kind, Kind::Histogram);
        for (bound, count) in &of.buckets {
            self.line("_bucket", labels, Some(*bound), format_args!("{count}"));
        }
        self.line("_bucket", labels, Some(f64::INFINITY), format_args!("{}", of.count));
        self.line("_sum", labels, None, format_args!("{}", of.sum));
        self.line("_count", labels, None, format_args!("{}", of.count))
    }

    fn line(
        &mut self,
        end: &str,
        labels: &[&str],
        bound: Option<f64>,
        value: std::fmt::Arguments<'_>,
    ) -> &mut Self {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        self.text.extend([self.family.name, end]);
        let mut before = '{';
        for (name, value) in self.family.labels.iter().zip(labels) {
            self.text.push(before);
            self.text.extend([*name, "=\"", &escaped(value), "\""]);
            before = ',';
        }
        if let Some(bound) = bound {
            self.text.push(before);
            // With a point, also where it is whole: so it is one name in both formats.
            let _ = if bound.is_finite() {
                write!(self.text, "le=\"{bound:?}\"")
            } else {
                write!(self.text, "le=\"+Inf\"")
            };
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
        self
    }
}

fn escaped(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::family::{COMMIT_DURATION, REDIS_BREAKER, REQUESTS};

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.family(&REQUESTS).add(&["a\"b\\c\nd", "miss"], u64::MAX);
        let times = Distribution { buckets: vec![(1.28e-7, 1), (1.0, 3)], count: 4, sum: 2.5 };
        page.family(&COMMIT_DURATION).histogram(&[], &times);
        page.family(&REDIS_BREAKER).state(["closed", "open"], Some("open"));
        page.finish()
    }

    #[test]
    fn both_formats_are_as_their_specifications_say() {
        let text = page(Format::Text);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "# TYPE nexarch_cache_requests_total counter");
        assert_eq!(
            lines[2],
            r#"nexarch_cache_requests_total{operation="a\"b\\c\nd",outcome="miss"} 18446744073709551615"#
        );
        assert_eq!(
            lines[5..10],
            [
                r#"nexarch_ingest_commit_duration_seconds_bucket{le="1.28e-7"} 1"#,
                r#"nexarch_ingest_commit_duration_seconds_bucket{le="1.0"} 3"#,
                r#"nexarch_ingest_commit_duration_seconds_bucket{le="+Inf"} 4"#,
                "nexarch_ingest_commit_duration_seconds_sum 2.5",
                "nexarch_ingest_commit_duration_seconds_count 4",
            ]
        );
        assert_eq!(
            lines[12..],
            [r#"nexarch_redis_breaker{state="closed"} 0"#, r#"nexarch_redis_breaker{state="open"} 1"#]
        );
        let open = page(Format::OpenMetrics);
        assert!(open.contains("# TYPE nexarch_cache_requests counter\n"), "{open}");
        assert!(open.contains("# UNIT nexarch_ingest_commit_duration_seconds seconds\n"), "{open}");
        assert!(open.ends_with("\n# EOF\n"));
        let samples = |page: &str| {
            page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(samples(&text), samples(&open));
    }
}
