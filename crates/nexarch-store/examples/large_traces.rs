//! What large traces cost: appends to them, a trace that arrives in many batches, and settling.
//!
//! `large_traces DIR`: makes databases in DIR and prints wall clock and CPU (all threads) of
//! 1. one span for each of 10 stored traces of 60,000 spans, in one append, first by the process that stored them and
//!    then by one that remembers nothing;
//! 2. a trace of 100,000 spans that arrives in 100 batches, by quarters, and what settling it takes;
//! 3. the share of settling in an ingest where half of all spans belong to large traces;
//! 4. 100,000 traces of one span that all get a second one in one append, and what settling them takes.
//!
//! Linux only.

use std::{error::Error, fs, path::Path, sync::Arc};

use nexarch_core::{
    ids::{SpanId, TenantId, TraceId},
    span::{Kind, Resource, Scope, Span, Status, Value},
};
use nexarch_store::{Batch, Options, Role, Store};
use tokio::time::Instant;

/// Any day of 2025, nanoseconds since the Unix epoch.
const BASE_NS: u64 = 1_749_945_600_000_000_000;

/// Spans of a batch.
const BATCH: usize = 1_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let dir = std::env::args().nth(1).ok_or("usage: large_traces DIR")?;
    let dir = Path::new(&dir);
    touched(&dir.join("touched.db")).await?;
    growing(&dir.join("growing.db")).await?;
    share(&dir.join("share.db")).await?;
    many(&dir.join("many.db")).await
}

async fn open(path: &Path) -> Outcome<Arc<dyn Store>> {
    let url = format!("sqlite://{}", path.display());
    Ok(nexarch_store::open(&url, Options::new(Role::Guest, || BASE_NS / 1_000)).await?)
}

async fn append(store: &dyn Store, tenant: &TenantId, spans: Vec<Span>) -> Outcome<()> {
    let batch = Batch { created_us: None, tenant: tenant.clone(), spans };
    store.append(vec![batch]).await?.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

async fn touched(path: &Path) -> Outcome<()> {
    let tenant: TenantId = "bench".parse()?;
    let store = open(path).await?;
    store.create_tenant(&tenant, "").await?;
    for number in 0..10 {
        for batch in trace(number, 60_000).chunks(20_000) {
            append(&*store, &tenant, batch.to_vec()).await?;
        }
    }
    let late = |id: u64| (0..10).map(|number| span(number, 60_000 + id, 1)).collect::<Vec<_>>();
    for (who, store) in [("the same process", Arc::clone(&store)), ("another process", open(path).await?)] {
        for round in 0..5 {
            let before = (Instant::now(), cpu_ns()?);
            append(&*store, &tenant, late(round + if who == "another process" { 100 } else { 0 })).await?;
            say(&format!("a span for each of 10 traces of 60,000, {who}, round {round}"), before)?;
        }
    }
    let before = (Instant::now(), cpu_ns()?);
    append(&*store, &tenant, trace(3, 20_000)).await?;
    say("20,000 spans of a trace of 60,000 sent again", before)?;
    let before = (Instant::now(), cpu_ns()?);
    settle_all(&*store).await?;
    say("settling the 10 traces", before)?;
    println!("peak memory {} MiB", peak_mib()?);
    Ok(())
}

async fn growing(path: &Path) -> Outcome<()> {
    let tenant: TenantId = "bench".parse()?;
    let store = open(path).await?;
    store.create_tenant(&tenant, "").await?;
    let spans = trace(1, 100_000);
    for (quarter, spans) in spans.chunks(25_000).enumerate() {
        let before = (Instant::now(), cpu_ns()?);
        for batch in spans.chunks(BATCH) {
            append(&*store, &tenant, batch.to_vec()).await?;
        }
        say(&format!("a trace of 100,000 in 100 batches, quarter {quarter}"), before)?;
    }
    let before = (Instant::now(), cpu_ns()?);
    settle_all(&*store).await?;
    say("settling it", before)
}

async fn share(path: &Path) -> Outcome<()> {
    let tenant: TenantId = "bench".parse()?;
    let store = open(path).await?;
    store.create_tenant(&tenant, "").await?;
    let (mut ingest, mut settling, mut spans) = (0, 0, 0);
    for round in 0..100 {
        // 45 traces of 20 spans, and 100 spans of one of 5 large ones.
        let mut batch: Vec<Span> =
            (0..45).flat_map(|number| trace(1_000 + round * 45 + number, 20)).collect();
        batch.extend(
            (0..1_000).map(|at| {
                span(round % 5, round / 5 * 1_000 + at, (round / 5 * 1_000 + at).saturating_sub(1))
            }),
        );
        spans += batch.len();
        let before = cpu_ns()?;
        append(&*store, &tenant, batch).await?;
        ingest += cpu_ns()? - before;
        if round % 25 == 24 {
            let before = cpu_ns()?;
            settle_all(&*store).await?;
            settling += cpu_ns()? - before;
        }
    }
    let per_second = spans as f64 / ((ingest + settling) as f64 / 1e9);
    let part = settling as f64 / (ingest + settling) as f64 * 100.0;
    println!(
        "half of {spans} spans in 5 traces of 20,000, settled 4 times: settling {part:.1} % of CPU, {per_second:.0} spans per CPU second in all"
    );
    Ok(())
}

async fn many(path: &Path) -> Outcome<()> {
    let tenant: TenantId = "bench".parse()?;
    let store = open(path).await?;
    store.create_tenant(&tenant, "").await?;
    let of_each = |id| (0..100_000).map(|number| span(number, id, 0)).collect::<Vec<_>>();
    append(&*store, &tenant, of_each(0)).await?;
    let before = (Instant::now(), cpu_ns()?);
    append(&*store, &tenant, of_each(1)).await?;
    say("a second span for each of 100,000 traces, in one append", before)?;
    let before = (Instant::now(), cpu_ns()?);
    let mut rounds = 1;
    while store.settle(u64::MAX, None).await?.more && rounds < 1_000 {
        rounds += 1;
    }
    say(&format!("settling them in {rounds} rounds (1,000 at most)"), before)
}

async fn settle_all(store: &dyn Store) -> Outcome<()> {
    while store.settle(u64::MAX, None).await?.more {}
    Ok(())
}

fn say(what: &str, (started, cpu): (Instant, u64)) -> Outcome<()> {
    let cpu = (cpu_ns()? - cpu) as f64 / 1e6;
    println!("{what}: {:.1} ms, {cpu:.1} ms CPU", started.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// CPU time of all threads of this process so far, nanoseconds.
fn cpu_ns() -> Outcome<u64> {
    let mut sum = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or("").parse::<u64>()?;
    }
    Ok(sum)
}

fn peak_mib() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kib >> 10)
}

/// A tree of calls between ten services: every span has up to three children.
fn trace(number: u64, count: u64) -> Vec<Span> {
    (0..count).map(|id| span(number, id, if id == 0 { u64::MAX } else { (id - 1) / 3 })).collect()
}

fn span(trace: u64, id: u64, parent: u64) -> Span {
    let span_id = |id: u64| SpanId::from_bytes((id + 1).to_be_bytes()).expect("not zero");
    let service = Value::Str(format!("service-{}", (id / 2) % 10).into());
    let start_ns = BASE_NS + id * 50_000;
    Span {
        trace_id: TraceId::from_bytes((u128::from(trace) + 1).to_be_bytes()).expect("not zero"),
        span_id: span_id(id),
        parent_span_id: (parent != u64::MAX && parent != id).then(|| span_id(parent)),
        flags: 0x101,
        trace_state: "".into(),
        name: ["GET /items/{id}", "load", "charge", "SELECT items"][usize::try_from(id % 4).unwrap_or(0)]
            .into(),
        kind: [Kind::Client, Kind::Server][usize::from(id.is_multiple_of(2))],
        start_ns,
        end_ns: Some(start_ns + 100_000 + id % 97 * 10_000),
        status: Status::Unset,
        status_message: "".into(),
        attributes: vec![("http.request.method".into(), Value::Str("GET".into()))],
        events: Vec::new(),
        links: Vec::new(),
        resource: Arc::new(Resource { attributes: vec![("service.name".into(), service)] }),
        scope: Arc::new(Scope::default()),
    }
}
