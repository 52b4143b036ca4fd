//! Reads that go on while data come in: does a cache that never serves old values still serve any?

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use nexarch::{
    bench::{
        client::{self, Connection},
        drive::{is_ok, unwanted},
        load::packed,
    },
    demo::Shop,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{row, subject::Subject};

/// How long it goes on.
const RUN: Duration = Duration::from_secs(20);
/// Batches each second, and reads each second over all keys.
const BATCHES: u64 = 10;
const READS: u64 = 1_000;
/// Connections of readers.
const READERS: u64 = 8;
/// Five routes, four windows: 20 keys.
const ROUTES: [&str; 5] = ["overview", "architecture-map", "services", "trends", "services/api-gateway"];
const WINDOWS: [&str; 4] = ["15m", "1h", "6h", "24h"];
const KEYS: u64 = (ROUTES.len() * WINDOWS.len()) as u64;
/// Nanoseconds that one batch covers.
const SLICE_NS: u64 = 1_000_000_000 / BATCHES;

pub(crate) async fn measure() -> anyhow::Result<()> {
    let (subject, figures) = Subject::start_with_figures().await?;
    let shop = Shop::new(7, nexarch::lifecycle::now_ns() - RUN.as_secs() * 1_000_000_000 - 600_000_000_000);
    let begin_ns = shop.opened_ns() + 600_000_000_000;
    subject.send(&packed(&shop.tick(shop.opened_ns(), begin_ns))).await?;
    let keys = keys(&subject);
    let rounds = RUN.as_secs() * BATCHES;
    let batches: Vec<Bytes> = (0..rounds)
        .flat_map(|slice| packed(&shop.tick(begin_ns + slice * SLICE_NS, begin_ns + (slice + 1) * SLICE_NS)))
        .map(|body| subject.post(&body))
        .collect();

    let (before, at_start) = (subject.process.cpu_seconds()?, Counts::read(figures, &subject).await?);
    let readers = (0..READERS).map(|reader| read(&subject, &keys, reader));
    let (sent, _) = tokio::try_join!(send(&subject, &batches), futures_util::future::try_join_all(readers))?;
    let cpu = (subject.process.cpu_seconds()? - before) / RUN.as_secs_f64();
    let stats = subject.json("/api/v1/cache/stats").await?;
    let total = |name: &str| -> u64 {
        let operations = stats["operations"].as_object().into_iter().flat_map(|all| all.values());
        operations.filter_map(|operation| operation[name].as_u64()).sum()
    };
    let ratio = stats["totals"]["hit_ratio"].as_f64().unwrap_or_default();
    let (shared, requests) = (total("collapsed"), total("requests"));
    anyhow::ensure!(requests >= RUN.as_secs() * READS * 9 / 10, "only {requests} reads were made");
    // Those ahead of readers, too, which are no misses.
    let at_end = Counts::read(figures, &subject).await?;
    let per_key = (at_end.computations - at_start.computations) as f64 / KEYS as f64;
    // What was there at the start had to be computed, too.
    let contents = at_end.changes - at_start.changes + 1;
    row::print(
        "10 batches/s beside 1,000 reads/s of 20 keys",
        &format!(
            "hit ratio {ratio:.3} ({:.3} with shared computations), {per_key:.1} computations a key for {contents} states of the data ({sent} batches), {:.1} of them by readers, server CPU {:.0} % of a core",
            ratio + shared as f64 / requests as f64,
            total("misses") as f64 / KEYS as f64,
            cpu * 100.0
        ),
        "one run of 20 s",
        "≥ 0.8; computations ≤ commits",
        ratio >= 0.8 && per_key <= contents as f64,
    );
    Ok(())
}

/// Counts of a server until now.
struct Counts {
    /// Computations, whoever asked for them.
    computations: u64,
    /// Commits that made values old: batches, and what the server itself settles or notes.
    changes: u64,
}

impl Counts {
    async fn read(figures: SocketAddr, subject: &Subject) -> anyhow::Result<Self> {
        let mut connection = Connection::open(figures).await?;
        let reply = connection.exchange(&client::get("/metrics", &subject.key, "")).await?;
        let page = std::str::from_utf8(reply.body)?;
        Ok(Self {
            computations: sum(page, "nexarch_cache_computation_duration_seconds_count{")?,
            changes: sum(page, "nexarch_cache_invalidations_total{operation=\"dashboard_overview\"")?,
        })
    }
}

/// The sum of the counts whose names begin so.
fn sum(page: &str, start: &str) -> anyhow::Result<u64> {
    let counts = page.lines().filter(|line| line.starts_with(start));
    let values = counts.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    let sum: f64 = values.sum::<Option<f64>>().context("a figure is no number")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of counts")]
    Ok(sum as u64)
}

fn keys(subject: &Subject) -> Vec<Bytes> {
    let pairs = ROUTES.iter().flat_map(|route| WINDOWS.iter().map(move |window| (route, window)));
    let path = |(route, window)| format!("/api/v1/dashboard/{route}?window={window}");
    pairs.map(|pair| client::get(&path(pair), &subject.key, "")).collect()
}

/// Sends one batch on each beat.
async fn send(subject: &Subject, batches: &[Bytes]) -> anyhow::Result<usize> {
    let mut connection = Connection::open(subject.process.addr).await?;
    let mut beats = interval(Duration::from_millis(1_000 / BATCHES));
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for batch in batches {
        beats.tick().await;
        let reply = connection.exchange(batch).await?;
        if !is_ok(&reply) {
            return Err(unwanted(&reply).into());
        }
    }
    Ok(batches.len())
}

/// One reader of several: every key in turn, on its own beat.
async fn read(subject: &Subject, keys: &[Bytes], reader: u64) -> anyhow::Result<()> {
    let mut connection = Connection::open(subject.process.addr).await?;
    let mut beats = interval(Duration::from_micros(1_000_000 * READERS / READS));
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let reads = RUN.as_secs() * READS / READERS;
    for read in 0..reads {
        beats.tick().await;
        let key = usize::try_from((read * READERS + reader) % KEYS)?;
        let reply = connection.exchange(&keys[key]).await?;
        if !is_ok(&reply) {
            return Err(unwanted(&reply).into());
        }
    }
    Ok(())
}
