//! A page of figures, read as Prometheus reads it.

use std::collections::BTreeMap;

use super::{client::Client, server::Server};

/// Every figure of a page, by its name with its labels.
pub(crate) struct Figures(BTreeMap<String, f64>);

/// Where a server has its figures, when it was started with `METRICS_ADDR=127.0.0.1:0`.
pub(crate) fn door(server: &mut Server) -> Client {
    let line = server.line_with("metrics at ");
    let url = line.split_whitespace().last().unwrap();
    Client::new(url.trim_end_matches("/metrics"), None)
}

impl Figures {
    pub(crate) fn read(door: &Client) -> Self {
        Self::parse(&String::from_utf8(door.get("/metrics").expect(200).body).unwrap())
    }

    pub(crate) fn parse(page: &str) -> Self {
        let figures = page.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no figure: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
        });
        Self(figures.collect())
    }

    /// The figure of this very name and labels; 0 when it is not there.
    pub(crate) fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// The sum of all figures whose names begin so.
    pub(crate) fn sum(&self, start: &str) -> f64 {
        self.0.iter().filter(|(name, _)| name.starts_with(start)).map(|(_, value)| value).sum()
    }

    /// Is there one whose name begins so?
    pub(crate) fn has(&self, start: &str) -> bool {
        self.0.keys().any(|name| name.starts_with(start))
    }
}
