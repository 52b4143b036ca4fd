//! What `nexarch bench` measures: a day of the shop comes in, then its two main routes are read, from memory and
//! computed.

use std::path::Path;

use bytes::Bytes;
use serde::Serialize;

use super::{
    client::{self, Connection},
    drive::{Driven, Driver, is_computed, is_ok, unwanted},
    history::{History, MINUTES},
    load::{BATCH_SPANS, packed},
    process::Process,
    sample::Sample,
};

/// Senders at once: enough for the writer to group, few enough for a small machine.
pub const SENDERS: usize = 4;
/// Readers at once, for cached reads.
pub const READERS: usize = 16;
/// Cached reads of each route, as many as spans: half a second of processor time at most.
const CACHED_READS: usize = 30_000;
/// Computed reads of each route, one after another, at most; one for each batch.
const COMPUTED_READS: usize = 200;
/// What is read: the two routes that a dashboard opens with.
const ROUTES: [&str; 2] = ["/api/v1/dashboard/overview", "/api/v1/dashboard/architecture-map"];

/// All figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Spans sent, all of them durable when it was counted.
    pub spans: usize,
    /// The way in.
    pub ingest: Ingest,
    /// Reads from memory, by route.
    pub cached: Vec<Reads>,
    /// Reads that compute, by route.
    pub uncached: Vec<Reads>,
    /// Memory of the server after all of it.
    pub resident_bytes: u64,
    /// All files of the database after the server stopped, for each span.
    pub disk_bytes_per_span: f64,
}

/// Figures of the way in.
#[derive(Debug, Clone, Serialize)]
pub struct Ingest {
    /// By the clock.
    pub spans_per_second: f64,
    /// By the server's processor time.
    pub spans_per_cpu_second: f64,
    /// Time of a batch from its first byte to its answer.
    pub batch_ms: Quantiles,
}

/// Figures of reads of one route.
#[derive(Debug, Clone, Serialize)]
pub struct Reads {
    /// The route.
    pub path: &'static str,
    /// Size of the answer.
    pub body_bytes: usize,
    /// How many reads.
    pub requests: usize,
    /// By the clock.
    pub requests_per_second: f64,
    /// Processor time of the server for each read.
    pub server_cpu_us: f64,
    /// Time of a read.
    pub latency_ms: Quantiles,
}

/// A median and a 99th percentile.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl Quantiles {
    fn of(sample: &Sample) -> Self {
        Self { p50: sample.median(), p99: sample.quantile(0.99) }
    }
}

/// Measures a server that it starts on a database in `dir`, with so many spans that end at `now_ns` (nanoseconds since
/// the Unix epoch). `progress` is told what comes next and how much is done, from 0 to 1.
pub async fn measure(
    dir: &Path,
    spans: usize,
    now_ns: u64,
    progress: impl Fn(&str, f64),
) -> anyhow::Result<Outcome> {
    let folder = dir.to_owned();
    let started = tokio::task::spawn_blocking(move || {
        let mut server = Process::serve(&folder)?;
        let key = server.first_key()?;
        anyhow::Ok((server, key))
    });
    let (server, key) = started.await??;
    // Sending takes most of the time.
    let (spans, ingest) =
        send(&server, &key, &History::new(spans, now_ns), |share| progress("ingest", share * 0.7)).await?;
    let (hits, computations) = (spans.min(CACHED_READS), spans.div_ceil(BATCH_SPANS).min(COMPUTED_READS));
    let (mut cached, mut uncached) = (Vec::new(), Vec::new());
    for (path, done) in ROUTES.into_iter().zip([0.7, 0.85]) {
        progress(path, done);
        // The first one computes.
        let hit = client::get(path, &key, "");
        Driver::open(server.addr, 1).await?.run(std::slice::from_ref(&hit), 1, is_ok).await?;
        cached.push(cached_reads(&server, path, &hit, hits).await?);
        let computed = client::get(path, &key, "cache-control: no-cache\r\n");
        uncached.push(computed_reads(&server, path, &computed, computations).await?);
    }
    let resident_bytes = server.resident_bytes()?;
    let stopped = tokio::task::spawn_blocking(|| server.stop()).await??;
    anyhow::ensure!(stopped.success(), "the server ended with {stopped}");
    let disk_bytes_per_span = bytes_in(dir)? as f64 / spans as f64;
    Ok(Outcome { spans, ingest, cached, uncached, resident_bytes, disk_bytes_per_span })
}

/// Sends a day, minute by minute, and counts what the server spends on it.
async fn send(
    server: &Process,
    key: &str,
    history: &History,
    progress: impl Fn(f64),
) -> anyhow::Result<(usize, Ingest)> {
    let mut driver = Driver::open(server.addr, SENDERS).await?;
    let (mut waiting, mut runs, mut sent) = (Vec::new(), Vec::<Driven>::new(), 0);
    let before = server.cpu_seconds()?;
    for minute in 0..MINUTES {
        waiting.extend(history.minute(minute));
        // Whole batches, as a collector makes them.
        if waiting.len() >= SENDERS * BATCH_SPANS || minute + 1 == MINUTES && !waiting.is_empty() {
            let bodies = packed(&waiting);
            let requests: Vec<Bytes> =
                bodies.iter().map(|body| client::post_spans(key, "gzip", body)).collect();
            runs.push(driver.run(&requests, requests.len(), is_ok).await?);
            sent += waiting.len();
            waiting.clear();
        }
        progress(minute as f64 / MINUTES as f64);
    }
    let cpu = server.cpu_seconds()? - before;
    let took: f64 = runs.iter().map(|run| run.took.as_secs_f64()).sum();
    let latencies: Sample = runs.iter().flat_map(|run| run.latency_ms.figures()).copied().collect();
    let ingest = Ingest {
        spans_per_second: sent as f64 / took,
        spans_per_cpu_second: sent as f64 / cpu,
        batch_ms: Quantiles::of(&latencies),
    };
    Ok((sent, ingest))
}

async fn cached_reads(
    server: &Process,
    path: &'static str,
    request: &Bytes,
    requests: usize,
) -> anyhow::Result<Reads> {
    let body_bytes = body_bytes(server, request).await?;
    let mut readers = Driver::open(server.addr, READERS).await?;
    let before = server.cpu_seconds()?;
    let driven = readers.run_hits(request, requests).await?;
    Ok(Reads::of(path, body_bytes, requests, server.cpu_seconds()? - before, &driven))
}

async fn computed_reads(
    server: &Process,
    path: &'static str,
    request: &Bytes,
    requests: usize,
) -> anyhow::Result<Reads> {
    let body_bytes = body_bytes(server, request).await?;
    let mut reader = Driver::open(server.addr, 1).await?;
    let before = server.cpu_seconds()?;
    let driven = reader.run(std::slice::from_ref(request), requests, is_computed).await?;
    Ok(Reads::of(path, body_bytes, requests, server.cpu_seconds()? - before, &driven))
}

async fn body_bytes(server: &Process, request: &Bytes) -> anyhow::Result<usize> {
    let mut connection = Connection::open(server.addr).await?;
    let reply = connection.exchange(request).await?;
    if is_ok(&reply) { Ok(reply.body.len()) } else { Err(unwanted(&reply).into()) }
}

impl Reads {
    fn of(path: &'static str, body_bytes: usize, requests: usize, cpu_seconds: f64, driven: &Driven) -> Self {
        Self {
            path,
            body_bytes,
            requests,
            requests_per_second: requests as f64 / driven.took.as_secs_f64(),
            server_cpu_us: cpu_seconds * 1e6 / requests as f64,
            latency_ms: Quantiles::of(&driven.latency_ms),
        }
    }
}

/// Bytes of all files in a directory.
pub fn bytes_in(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(dir)? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes)
}
