//! The map of an architecture of 500 services, computed with its layout.

use nexarch::bench::{
    client,
    drive::{Driver, is_computed},
    estate::traces,
    history::{MINUTE_NS, MINUTES},
    load::packed,
    sample::{Figure, Sample},
};

use crate::{row, subject::Subject};

/// How many services.
const SERVICES: usize = 500;
/// Every call is made in each of so many minutes of the day.
const TURNS: u64 = 48;
/// Runs, and computed reads of each, one after another.
const RUNS: usize = 7;
const READS: usize = 20;

pub(crate) async fn measure() -> anyhow::Result<()> {
    let subject = Subject::start().await?;
    let now_ns = nexarch::lifecycle::now_ns();
    for turn in 0..TURNS {
        let ago = (turn + 1) * (MINUTES / TURNS) * MINUTE_NS;
        subject.send(&packed(&traces(SERVICES, turn, now_ns - ago + MINUTE_NS))).await?;
    }
    let map = subject.json("/api/v1/dashboard/architecture-map").await?;
    let count = |name: &str| map["graph_stats"][name].as_u64().unwrap_or_default();
    let (nodes, edges) = (count("total_nodes"), count("total_edges"));
    anyhow::ensure!(nodes >= SERVICES as u64, "only {nodes} nodes on the map");

    let request =
        [client::get("/api/v1/dashboard/architecture-map", &subject.key, "cache-control: no-cache\r\n")];
    let mut driver = Driver::open(subject.process.addr, 1).await?;
    let (mut took, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let before = subject.process.cpu_seconds()?;
        took.push(driver.run(&request, READS, is_computed).await?.latency_ms.median());
        cpu.push((subject.process.cpu_seconds()? - before) * 1e3 / READS as f64);
    }
    let [took, cpu] = [took, cpu].map(Sample::from_iter);
    row::print(
        &format!("map of {SERVICES} services with layout, 24 h ({nodes} nodes, {edges} edges)"),
        &format!("{} ms, CPU {} ms", Figure(took.median()), Figure(cpu.median())),
        &took.spread(),
        "< 50 ms",
        took.median() < 50.0,
    );
    Ok(())
}
