//! Spans in by OTLP/HTTP, durable, beside bare axum that unpacks the same bodies and throws them away.

use bytes::Bytes;
use nexarch::bench::{
    drive::{Driver, is_ok},
    history::History,
    load::{BATCH_SPANS, packed},
    process::Process,
    sample::{Figure, Sample},
};

use crate::{rival, row, share, subject::Subject};

/// Turns of own server and rival, after one that warms both.
const TURNS: usize = 7;
/// Batches of a turn.
const BATCHES: usize = 200;
/// Senders at once.
const SENDERS: usize = 4;

pub(crate) async fn measure() -> anyhow::Result<()> {
    let subject = Subject::start().await?;
    let rival = Process::start(subject.dir.path(), &[rival::NAME])?;
    let spans = BATCHES * BATCH_SPANS * (TURNS + 1);
    let now_ns = nexarch::lifecycle::now_ns();
    // As a collector sends them: several minutes, services and traces in each batch, traces cut by batches.
    let mut days = History::new(spans * 6 / 5, now_ns).spans();
    let mut waiting = Vec::new();

    let mut own_driver = Driver::open(subject.process.addr, SENDERS).await?;
    let mut rival_driver = Driver::open(rival.addr, SENDERS).await?;
    let (mut own, mut drain, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..=TURNS {
        while waiting.len() < BATCHES * BATCH_SPANS {
            let Some(minute) = days.next() else { anyhow::bail!("the generated day is too short") };
            waiting.extend(minute);
        }
        let sent: Vec<_> = waiting.drain(..BATCHES * BATCH_SPANS).collect();
        let bodies: Vec<Bytes> = packed(&sent).iter().map(|body| subject.post(body)).collect();
        let before = subject.process.cpu_seconds()?;
        own_driver.run(&bodies, BATCHES, is_ok).await?;
        let used = subject.process.cpu_seconds()? - before;
        let before = rival.cpu_seconds()?;
        rival_driver.run(&bodies, BATCHES, is_ok).await?;
        let bare = rival.cpu_seconds()? - before;
        if turn > 0 {
            own.push(sent.len() as f64 / used);
            drain.push(sent.len() as f64 / bare);
            shares.push(100.0 * share::inference_seconds(&sent) / used);
        }
    }
    let [own, drain, shares] = [own, drain, shares].map(Sample::from_iter);
    row::print(
        "ingest, OTLP/HTTP gzip, batches of 1,000, durable",
        &format!(
            "{:.0}k spans per CPU second (a drain that only unpacks: {:.0}k)",
            own.median() / 1e3,
            drain.median() / 1e3
        ),
        &format!("{:.0}k to {:.0}k", own.min() / 1e3, own.max() / 1e3),
        "≥ 200k",
        own.median() >= 200e3,
    );
    row::print(
        "inference as a share of ingest CPU",
        &format!("{} %", Figure(shares.median())),
        &shares.spread(),
        "≤ 20 %",
        shares.median() <= 20.0,
    );
    Ok(())
}
