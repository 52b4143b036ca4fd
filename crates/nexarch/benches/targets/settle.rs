//! What settling costs a server: its processor time for the same spans in usual traces, and half of them in traces that are
//! too large to be inferred while they are stored, up to the moment when all is settled.

use std::time::Duration;

use bytes::Bytes;
use nexarch::bench::{
    history::History,
    load::packed,
    sample::{Figure, Sample},
};
use nexarch_core::{ids::TraceId, span::Span};
use tokio::time::{Instant, interval};

use crate::{row, subject::Subject};

/// Turns, after one that warms both.
const TURNS: usize = 3;
/// Spans of a turn.
const SPANS: usize = 60_000;
/// Spans of a large trace: three times as many as an append infers.
const LARGE: usize = 6_000;
/// A trace is settled 30 s after its last span, when the server looks next. Both servers are measured for so long at least.
const QUIET: Duration = Duration::from_secs(40);
/// Longer than this nothing should take.
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) async fn measure() -> anyhow::Result<()> {
    let (usual, large) = (Subject::start().await?, Subject::start().await?);
    let now_ns = nexarch::lifecycle::now_ns();
    let mut days = History::new(SPANS * (TURNS + 1) * 6 / 5, now_ns).spans();
    let (mut waiting, mut shares, mut traces) = (Vec::new(), Vec::new(), 0);
    for turn in 0..=TURNS {
        while waiting.len() < SPANS {
            let Some(minute) = days.next() else { anyhow::bail!("the generated day is too short") };
            waiting.extend(minute);
        }
        let spans: Vec<Span> = waiting.drain(..SPANS).collect();
        let merged = merged(&spans, &mut traces);
        let alone = cpu_until_settled(&usual, &spans).await?;
        let with = cpu_until_settled(&large, &merged).await?;
        if turn > 0 {
            shares.push(100.0 * (with - alone) / with);
        }
    }
    let shares = Sample::from_iter(shares);
    row::print(
        "settling, half of all spans in traces of 6,000: its share of the server's CPU",
        &format!("{} %", Figure(shares.median())),
        &shares.spread(),
        "≤ 20 %",
        shares.median() <= 20.0,
    );
    Ok(())
}

/// The same spans, those of every other trace put into large ones.
fn merged(spans: &[Span], traces: &mut u128) -> Vec<Span> {
    let mut taken = 0;
    let spans = spans.iter().map(|span| {
        if span.trace_id.to_bytes()[15].is_multiple_of(2) {
            return span.clone();
        }
        if taken % LARGE == 0 {
            *traces += 1;
        }
        taken += 1;
        let trace_id = TraceId::from_bytes((1 << 100 | *traces).to_be_bytes()).unwrap_or(span.trace_id);
        Span { trace_id, ..span.clone() }
    });
    spans.collect()
}

/// Processor seconds of a server from the first span to the last trace settled.
async fn cpu_until_settled(subject: &Subject, spans: &[Span]) -> anyhow::Result<f64> {
    let bodies: Vec<Bytes> = packed(spans);
    let (before, begun) = (subject.process.cpu_seconds()?, Instant::now());
    subject.send(&bodies).await?;
    let mut looks = interval(Duration::from_secs(1));
    loop {
        looks.tick().await;
        let waiting = subject.json("/api/v1/ingest/diagnostics").await?["unsettled_traces"].as_u64();
        if waiting == Some(0) && begun.elapsed() >= QUIET {
            return Ok(subject.process.cpu_seconds()? - before);
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{waiting:?} traces are not settled");
    }
}
