//! A cached read over HTTP beside bare axum that serves the same bytes with the same headers.

use std::fmt::Write as _;

use anyhow::Context;
use bytes::Bytes;
use nexarch::bench::{
    client::{self, Connection},
    drive::{Driver, is_hit, is_ok},
    history::History,
    load::packed,
    process::Process,
    sample::{Figure, Sample},
};

use crate::{rival, row, subject::Subject};

/// Turns of own server and rival.
const TURNS: usize = 9;
/// Requests of a turn: so many that a tick of 10 ms is at most 2 % of the processor time.
const REQUESTS: usize = 120_000;
/// Connections: as a dashboard with many readers.
const CONNECTIONS: usize = 16;
/// Spans behind the answer; its size depends on the services, not on these.
const SPANS: usize = 20_000;

pub(crate) async fn measure() -> anyhow::Result<()> {
    let subject = Subject::start().await?;
    let now_ns = nexarch::lifecycle::now_ns();
    for minute in History::new(SPANS, now_ns).spans() {
        subject.send(&packed(&minute)).await?;
    }
    let request = client::get(rival::PATH, &subject.key, "");
    let (answer, size) = answer(&subject, &request).await?;
    let file = subject.dir.path().join("answer");
    std::fs::write(&file, answer)?;
    let file = file.to_str().context("the temporary folder has no plain name")?;
    let rival = Process::start(subject.dir.path(), &[rival::NAME, file])?;

    let requests = [request];
    let (mut own_cpu, mut rival_cpu, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut own_driver = Driver::open(subject.process.addr, CONNECTIONS).await?;
    let mut rival_driver = Driver::open(rival.addr, CONNECTIONS).await?;
    for _ in 0..TURNS {
        let before = subject.process.cpu_seconds()?;
        own_driver.run_hits(&requests[0], REQUESTS).await?;
        let own = (subject.process.cpu_seconds()? - before) * 1e6 / REQUESTS as f64;
        let before = rival.cpu_seconds()?;
        rival_driver.run(&requests, REQUESTS, |reply| is_ok(reply) && reply.body.len() == size).await?;
        let bare = (rival.cpu_seconds()? - before) * 1e6 / REQUESTS as f64;
        own_cpu.push(own);
        rival_cpu.push(bare);
        ratios.push(own / bare);
    }
    let [own, bare, ratio] = [own_cpu, rival_cpu, ratios].map(Sample::from_iter);
    row::print(
        "cached dashboard over HTTP, server CPU beside bare axum",
        &format!(
            "{}× ({} µs, {} µs; body {size} bytes)",
            Figure(ratio.median()),
            Figure(own.median()),
            Figure(bare.median())
        ),
        &ratio.spread(),
        "≤ 1.3×",
        ratio.median() <= 1.3,
    );
    Ok(())
}

/// The answer as the rival is to give it, and the size of its body.
async fn answer(subject: &Subject, request: &Bytes) -> anyhow::Result<(Vec<u8>, usize)> {
    let mut connection = Connection::open(subject.process.addr).await?;
    // The first one computes.
    connection.exchange(request).await?;
    let reply = connection.exchange(request).await?;
    anyhow::ensure!(is_hit(&reply), "no hit: {}", reply.head);
    let mut answer = String::new();
    // What hyper adds by itself it adds for the rival too.
    let own = |line: &&str| {
        !["date:", "content-length:"].iter().any(|name| line.to_ascii_lowercase().starts_with(name))
    };
    for line in reply.head.lines().skip(1).filter(own) {
        writeln!(answer, "{line}\r")?;
    }
    answer.push_str("\r\n");
    Ok(([answer.as_bytes(), reply.body].concat(), reply.body.len()))
}
