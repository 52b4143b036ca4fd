//! Is an hour worse than the same hour of the week was in the weeks before?
//!
//! Traffic has its days and its nights: what is compared with the hour before is found to get worse every morning. So an
//! hour is compared with the same hour of the week in the last three or four weeks, by what hardly moves when one of those
//! was bad itself: their median, and the median of the distances from it.

use std::collections::BTreeMap;

use crate::{
    graph::{Graph, NodeType, build},
    rollup::{Cell, Rollup},
    statistics::{adjust, mann_whitney, proportions},
};

/// Minutes of a week.
pub const WEEK: u32 = 7 * 1_440;
/// Weeks that are looked at, and least number of them with enough requests.
pub const WEEKS: usize = 4;
/// See [`WEEKS`].
pub const LEAST_WEEKS: usize = 3;
/// Least number of requests, of the hour and of each hour that it is compared with.
const LEAST: i64 = 30;
/// Robust z from which an hour is not like the others.
const FAR: f64 = 4.0;
/// A change of the p95 by less than this is none, …
const SLOWER: f64 = 1.1;
/// … and of the error rate by less than a point.
const POINT: f64 = 0.01;
/// The spread of the weeks is taken for at least this share of their median: three weeks may agree by luck.
const LEAST_SPREAD: f64 = 0.02;
/// From the median of distances to a standard deviation, where things are normal: 1/Φ⁻¹(3/4).
const NORMAL: f64 = 1.4826;
/// Expected share of false ones among all that are found.
const ALPHA: f64 = 0.05;

/// What got worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// 95th percentile of the durations.
    Latency,
    /// Share of failures.
    Errors,
}

/// How much worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Regression {
    /// Which figure.
    pub figure: Figure,
    /// Microseconds, or a share 0…1.
    pub now: f64,
    /// Median of the weeks before, in the same unit; of failures their share in all of them.
    pub usual: f64,
    /// How far that is, in standard deviations.
    pub z: f64,
    /// Adjusted p-value of the test: Mann and Whitney, or two proportions.
    pub q_value: f64,
    /// Requests of the hour.
    pub requests: u64,
    /// Hours that it was compared with.
    pub weeks: usize,
}

/// What got worse in an hour, by id on the map.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Regressions {
    nodes: BTreeMap<String, Regression>,
    edges: BTreeMap<(String, String), Regression>,
}

impl Regressions {
    /// Compares an hour with the same hours of the weeks before, of an environment or of all.
    pub fn of(head: &Rollup, weeks: &[Rollup], environment: Option<&str>) -> Self {
        let now = build(head, environment);
        let before: Vec<Subjects> = weeks.iter().map(|week| subjects(&build(week, environment))).collect();
        let mut found: Vec<(Subject, Regression)> = Vec::new();
        let mut p_values = Vec::new();
        for (subject, cell) in subjects(&now) {
            let usual: Vec<&Cell> = before.iter().filter_map(|week| week.get(&subject)).collect();
            for tested in [slower(&cell, &usual), failing(&cell, &usual)].into_iter().flatten() {
                found.push((subject.clone(), tested.0));
                p_values.push(tested.1);
            }
        }
        let mut regressions = Self::default();
        for ((subject, regression), q_value) in found.into_iter().zip(adjust(&p_values)) {
            let regression = Regression { q_value, ..regression };
            if regression.is_one() {
                match subject {
                    Subject::Node(id) => _ = regressions.nodes.insert(id, regression),
                    Subject::Edge(source, target) => {
                        _ = regressions.edges.insert((source, target), regression);
                    }
                }
            }
        }
        regressions
    }

    /// How many things got worse.
    pub fn count(&self) -> usize {
        self.nodes.len() + self.edges.len()
    }

    /// Of a service.
    pub fn node(&self, id: &str) -> Option<&Regression> {
        self.nodes.get(id)
    }

    /// Of the calls from one node to another.
    pub fn edge(&self, source: &str, target: &str) -> Option<&Regression> {
        self.edges.get(&(source.to_owned(), target.to_owned()))
    }
}

impl Regression {
    /// Far from usual, by enough to matter, and more than luck?
    fn is_one(&self) -> bool {
        let matters = match self.figure {
            Figure::Latency => self.now >= SLOWER * self.usual,
            Figure::Errors => self.now - self.usual >= POINT,
        };
        self.z >= FAR && matters && self.q_value <= ALPHA
    }
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Node(String),
    Edge(String, String),
}

type Subjects = BTreeMap<Subject, Cell>;

fn subjects(graph: &Graph) -> Subjects {
    let services = graph.nodes.iter().filter(|node| node.kind == NodeType::Service);
    let mut all: Subjects =
        services.map(|node| (Subject::Node(node.id.clone()), node.requests.clone())).collect();
    for edge in &graph.edges {
        let id = |at: usize| graph.nodes[at].id.clone();
        all.entry(Subject::Edge(id(edge.source), id(edge.target))).or_default().merge(&edge.calls, 1);
    }
    all
}

fn observed(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The p95 against those of the weeks, with the p-value of all their durations together.
fn slower(now: &Cell, weeks: &[&Cell]) -> Option<(Regression, f64)> {
    let weeks: Vec<&&Cell> = weeks.iter().filter(|week| week.timed >= LEAST).collect();
    if now.timed < LEAST || weeks.len() < LEAST_WEEKS {
        return None;
    }
    let x = now.quantile_us(950)?;
    let usual: Vec<f64> = weeks.iter().filter_map(|week| week.quantile_us(950)).collect();
    let middle = median(&usual)?;
    let mut all = Cell::default();
    for week in &weeks {
        all.merge(week, 1);
    }
    let test = mann_whitney((&all.histogram, observed(all.timed)), (&now.histogram, observed(now.timed)))?;
    let longer = if test.superiority > 0.5 { test.p_value } else { 1.0 };
    let regression = Regression {
        figure: Figure::Latency,
        now: x,
        usual: middle,
        z: robust_z(x, &usual)?,
        q_value: 1.0,
        requests: observed(now.timed),
        weeks: weeks.len(),
    };
    Some((regression, longer))
}

/// The share of failures against that of all weeks together.
fn failing(now: &Cell, weeks: &[&Cell]) -> Option<(Regression, f64)> {
    let weeks: Vec<&&Cell> = weeks.iter().filter(|week| week.count >= LEAST).collect();
    if now.count < LEAST || weeks.len() < LEAST_WEEKS {
        return None;
    }
    let failed: i64 = weeks.iter().map(|week| week.errors).sum();
    let all: i64 = weeks.iter().map(|week| week.count).sum();
    let test = proportions((observed(failed), observed(all)), (observed(now.errors), observed(now.count)))?;
    let (share, usual) = (now.errors as f64 / now.count as f64, failed as f64 / all as f64);
    // The exact test has no z. Where it is used the p-value alone decides.
    let z = test.z.unwrap_or(if share > usual { FAR } else { 0.0 });
    let regression = Regression {
        figure: Figure::Errors,
        now: share,
        usual,
        z,
        q_value: 1.0,
        requests: observed(now.count),
        weeks: weeks.len(),
    };
    Some((regression, test.p_value))
}

/// `(x − median)/(1.4826 · MAD)`, the median of distances taken for at least 2 % of the median; `None` without values, or
/// when all are 0.
///
/// ```
/// use nexarch_core::season::robust_z;
/// assert_eq!(robust_z(130.0, &[100.0, 110.0, 90.0, 1_000.0]), Some(30.0 / (1.4826 * 10.0)), "one bad week is none");
/// assert_eq!(robust_z(104.0, &[100.0, 100.0, 100.0]), Some(4.0 / (1.4826 * 2.0)));
/// assert_eq!(robust_z(1.0, &[]), None);
/// ```
pub fn robust_z(x: f64, usual: &[f64]) -> Option<f64> {
    let middle = median(usual)?;
    let distances: Vec<f64> = usual.iter().map(|value| (value - middle).abs()).collect();
    let spread = median(&distances)?.max(LEAST_SPREAD * middle.abs());
    (spread > 0.0).then(|| (x - middle) / (NORMAL * spread))
}

/// The middle value, the lower one of two: of four weeks one of which was worse, that of a good one.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::Facts,
        graph::tests::rollup,
        infer::testing::{client, server},
    };

    /// An hour of calls of `shop` to `stock`, of which some fail.
    fn hour(calls: u64, failing: u64, ms: impl Fn(u64) -> u64) -> Rollup {
        let mut spans = Vec::new();
        for at in 0..calls {
            let (id, error) = (2 * at + 1, at < failing);
            let times = |span: Facts| Facts { duration_ns: Some(ms(at) * 1_000_000), error, ..span };
            spans.push(times(client("shop", id, 0)));
            spans.push(times(server("stock", id + 1, id)));
        }
        rollup(&[&spans])
    }

    fn usual(week: u64) -> Rollup {
        hour(200, 2, move |at| 50 + at % 20 + week)
    }

    fn found(now: &Rollup, weeks: usize) -> Vec<(String, Figure)> {
        let weeks: Vec<Rollup> = (0..weeks as u64).map(usual).collect();
        let found = Regressions::of(now, &weeks, None);
        let nodes = found.nodes.iter().map(|(id, it)| (id.clone(), it.figure));
        nodes.chain(found.edges.iter().map(|((a, b), it)| (format!("{a} -> {b}"), it.figure))).collect()
    }

    fn both(figure: Figure) -> Vec<(String, Figure)> {
        vec![("stock".into(), figure), ("shop -> stock".into(), figure)]
    }

    #[test]
    fn what_is_far_from_the_weeks_before_is_found() {
        assert_eq!(found(&usual(1), 4), []);
        assert_eq!(found(&hour(200, 2, |at| 150 + at % 20), 4), both(Figure::Latency));
        assert_eq!(found(&hour(200, 2, |at| 150 + at % 20), 3), both(Figure::Latency));
        assert_eq!(found(&hour(200, 30, |at| 50 + at % 20), 4), both(Figure::Errors));
    }

    #[test]
    fn what_could_be_luck_or_does_not_matter_is_not() {
        let slow = |at: u64| 150 + at % 20;
        assert_eq!(found(&hour(200, 2, slow), 2), [], "two weeks are no season");
        assert_eq!(found(&hour(29, 0, slow), 4), [], "29 requests are too few");
        assert_eq!(found(&hour(200, 2, |at| 53 + at % 20), 4), [], "5 % longer");
        assert_eq!(found(&hour(200, 3, |at| 50 + at % 20), 4), [], "half a point");
        assert_eq!(found(&hour(200, 2, |at| 20 + at % 20), 4), [], "better is no regression");
    }

    #[test]
    fn one_bad_week_does_not_hide_another() {
        let mut weeks: Vec<Rollup> = (0..3).map(usual).collect();
        weeks.push(hour(200, 2, |at| 400 + at % 20));
        let now = hour(2_000, 20, |at| 150 + at % 20);
        let found = Regressions::of(&now, &weeks, None);
        let stock = found.node("stock").unwrap();
        assert!(stock.usual < 75_000.0 && stock.now > 160_000.0 && stock.weeks == 4, "{stock:?}");
        assert!(found.edge("shop", "stock").is_some() && found.node("shop").is_none());
    }
}
