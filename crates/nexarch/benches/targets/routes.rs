//! Every cached route at 100k spans: how long a hit takes beside a computation.

use nexarch::bench::{
    client,
    drive::{Driver, is_computed, is_hit},
    sample::{Figure, Sample},
};

use crate::{history::filled, row, subject::Subject};

/// Spans of the day.
const SPANS: usize = 100_000;
/// Turns of computations and of hits.
const TURNS: usize = 5;
/// Reads of a turn, one after another.
const READS: usize = 20;
/// What a hit must save of a computation, in percent.
const TARGET: f64 = 90.0;
const ROUTES: [&str; 12] = [
    "/api/v1/dashboard/overview",
    "/api/v1/dashboard/architecture-map",
    "/api/v1/architecture/export?format=svg",
    "/api/v1/architecture/diff?base=1h&head=1h",
    "/api/v1/dashboard/services",
    "/api/v1/dashboard/services/checkout",
    "/api/v1/dashboard/services/checkout/metrics",
    "/api/v1/dashboard/trends",
    "/api/v1/dashboard/bottlenecks",
    "/api/v1/dashboard/dependencies",
    "/api/v1/dashboard/health",
    "/api/v1/architecture/issues",
];

pub(crate) async fn measure() -> anyhow::Result<()> {
    let subject = filled(SPANS, nexarch::lifecycle::now_ns()).await?;
    let (mut least, mut all) = ((f64::MAX, ""), Vec::new());
    for path in ROUTES {
        let (mut computed, mut hits) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            computed.push(reads(&subject, path, "cache-control: no-cache\r\n", is_computed).await?);
            hits.push(reads(&subject, path, "", is_hit).await?);
        }
        let [computed, hit] = [computed, hits].map(|times| Sample::from_iter(times).median());
        let saved = 100.0 * (1.0 - hit / computed);
        println!("{path}: {computed:.3} ms computed, {hit:.3} ms hit, {saved:.1} % saved");
        all.push(saved);
        if saved < least.0 {
            least = (saved, path);
        }
    }
    let all = Sample::from_iter(all);
    row::print(
        "time that a hit saves of a computation, 12 cached routes, shop, 100k spans: least; median",
        &format!("{} % ({}); {} %", Figure(least.0), least.1, Figure(all.median())),
        &all.spread(),
        "≥ 90 %",
        least.0 >= TARGET,
    );
    Ok(())
}

/// Median time of a read over one connection, in milliseconds.
async fn reads(
    subject: &Subject,
    path: &str,
    headers: &str,
    expected: fn(&client::Reply<'_>) -> bool,
) -> anyhow::Result<f64> {
    let request = [client::get(path, &subject.key, headers)];
    let mut reader = Driver::open(subject.process.addr, 1).await?;
    Ok(reader.run(&request, READS, expected).await?.latency_ms.median())
}
