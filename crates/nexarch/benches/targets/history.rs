//! A day of the shop, small and large: how long a dashboard takes that is not cached, and how soon a server is ready.

use std::time::Duration;

use nexarch::bench::{
    client,
    drive::{Driver, is_computed},
    history::History,
    load::packed,
    sample::{Figure, Sample},
};

use crate::{row, subject::Subject};

/// Spans of the two days.
const SIZES: [(usize, &str); 2] = [(100_000, "100k"), (3_000_000, "3M")];
/// Turns of small and large.
const TURNS: usize = 7;
/// Computed reads of a turn, one after another.
const READS: usize = 60;
/// After the last span: a round of upkeep, which adds closed cells up, has come and gone.
const UPKEEP: Duration = Duration::from_secs(80);
/// Starts of the large one.
const STARTS: usize = 5;
/// What a dashboard opens with.
const ROUTES: [(&str, &str); 2] =
    [("overview", "/api/v1/dashboard/overview"), ("map", "/api/v1/dashboard/architecture-map")];

pub(crate) async fn measure() -> anyhow::Result<()> {
    let now_ns = nexarch::lifecycle::now_ns();
    let (small, large) = (filled(SIZES[0].0, now_ns).await?, filled(SIZES[1].0, now_ns).await?);
    tokio::time::sleep(UPKEEP).await;
    for (name, path) in ROUTES {
        let (mut took, mut cpu) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for _ in 0..TURNS {
            for (at, subject) in [&small, &large].into_iter().enumerate() {
                let (ms, cpu_ms) = reads(subject, path).await?;
                took[at].push(ms);
                cpu[at].push(cpu_ms);
            }
        }
        let [small_ms, large_ms] = took.map(Sample::from_iter);
        let [small_cpu, large_cpu] = cpu.map(Sample::from_iter);
        row::print(
            &format!("{name} computed, shop, 24 h, 3M spans (100k spans)"),
            &format!(
                "{} ms, CPU {} ms ({} ms, CPU {} ms)",
                Figure(large_ms.median()),
                Figure(large_cpu.median()),
                Figure(small_ms.median()),
                Figure(small_cpu.median())
            ),
            &large_ms.spread(),
            "< 10 ms, flat",
            large_ms.median() < 10.0 && large_cpu.median() < 1.5 * small_cpu.median(),
        );
    }
    starts(large).await
}

pub(crate) async fn filled(spans: usize, now_ns: u64) -> anyhow::Result<Subject> {
    let subject = Subject::start().await?;
    let (mut waiting, mut sent) = (Vec::new(), 0);
    for minute in History::new(spans, now_ns).spans() {
        sent += minute.len();
        waiting.extend(packed(&minute));
        if waiting.len() >= 8 {
            subject.send(&std::mem::take(&mut waiting)).await?;
        }
    }
    subject.send(&waiting).await?;
    eprintln!("{sent} spans stored");
    Ok(subject)
}

/// Median time and processor time of a read, in milliseconds.
async fn reads(subject: &Subject, path: &str) -> anyhow::Result<(f64, f64)> {
    let request = [client::get(path, &subject.key, "cache-control: no-cache\r\n")];
    let mut reader = Driver::open(subject.process.addr, 1).await?;
    let before = subject.process.cpu_seconds()?;
    let driven = reader.run(&request, READS, is_computed).await?;
    let cpu = subject.process.cpu_seconds()? - before;
    Ok((driven.latency_ms.median(), cpu * 1e3 / READS as f64))
}

async fn starts(mut subject: Subject) -> anyhow::Result<()> {
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let (restarted, time) = subject.restart().await?;
        subject = restarted;
        took.push(time.as_secs_f64() * 1e3);
    }
    let took: Sample = took.into_iter().collect();
    let figure = format!("{} ms", Figure(took.median()));
    row::print("start to ready, 3M stored spans", &figure, &took.spread(), "< 1,000 ms", took.median() < 1e3);
    Ok(())
}
