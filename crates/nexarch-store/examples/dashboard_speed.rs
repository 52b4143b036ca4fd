//! How long a dashboard miss takes, and whether that depends on how many spans there are.
//!
//! `dashboard_speed DIR [SPANS…]` (without numbers 100,000, 1,000,000 and 3,000,000): for each number makes a database in
//! DIR with a day of a chain of 12 services, and prints, before and after compaction, the time from opening a snapshot to
//! the figures of a 24-hour overview (median and range of 50), its parts, how many blobs were read, how long opening
//! the database takes, and the size of the file. One line per measurement.

use std::{
    error::Error,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nexarch_core::{
    analysis,
    ids::{SpanId, TenantId, TraceId},
    overview::overview,
    rollup::Rollup,
    span::{Kind, Resource, Scope, Span, Status, Value},
    view::{Context, Watched},
    window::Window,
};
use nexarch_store::{Batch, Budget, Options, Place, Role, Store};
use tokio::time::Instant;

/// Begin of an hour in 2025, nanoseconds since the Unix epoch.
const BASE_NS: u64 = 1_749_945_600_000_000_000;
const DAY_NS: u64 = 86_400_000_000_000;
const SERVICES: usize = 12;
/// A server span in each service, and a client span in all but the last.
const SPANS_PER_TRACE: usize = 2 * SERVICES - 1;
const TRACES_PER_BATCH: usize = 44;
const READS: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: dashboard_speed DIR [SPANS...]")?;
    let mut sizes = arguments.map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000, 3_000_000];
    }
    for spans in sizes {
        let path = Path::new(&dir).join(format!("dashboard_{spans}.db"));
        let url = format!("sqlite://{}", path.display());
        let now_us = Arc::new(AtomicU64::new((BASE_NS + DAY_NS) / 1_000));
        let options = || {
            let now_us = Arc::clone(&now_us);
            Options::new(Role::Owner, move || now_us.load(Ordering::SeqCst))
        };
        let tenant: TenantId = "bench".parse()?;
        let store = nexarch_store::open(&url, options()).await?;
        store.create_tenant(&tenant, "").await?;
        fill(&*store, &tenant, spans).await?;
        measure(&*store, &tenant, spans, "as written").await?;
        let started = Instant::now();
        let (mut place, mut steps, mut longest) = (Some(Place::default()), 0, 0.0_f64);
        while let Some(from) = place {
            let step = Instant::now();
            place = store.compact(from).await?.next;
            longest = longest.max(step.elapsed().as_secs_f64() * 1e3);
            steps += 1;
        }
        println!(
            "{spans} spans: compacted in {:.2} s, {steps} steps, the longest {longest:.0} ms",
            seconds(started)
        );
        measure(&*store, &tenant, spans, "compacted").await?;
        store.close().await;
        drop(store);
        let bytes = fs::metadata(&path)?.len();
        let started = Instant::now();
        let store = nexarch_store::open(&url, options()).await?;
        store.snapshot(&tenant).await?;
        let opened = seconds(started) * 1e3;
        store.close().await;
        println!(
            "{spans} spans: {:.1} bytes per span, opened in {opened:.1} ms",
            bytes as f64 / spans as f64
        );
    }
    Ok(())
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

async fn measure(
    store: &dyn Store,
    tenant: &TenantId,
    spans: usize,
    what: &str,
) -> Result<(), Box<dyn Error>> {
    let (mut whole, mut reads, mut samples, mut blobs) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..READS {
        let started = Instant::now();
        let mut snapshot = store.snapshot(tenant).await?;
        let asked = Window::default().range(snapshot.newest_ns());
        let cells = snapshot.cells(asked.minutes, 60).await?;
        reads.push(seconds(started) * 1e3);
        let rollup = Rollup::fold(cells.blobs.iter().map(|(minute, blob)| (*minute, blob.as_slice())))?;
        let context = Context {
            range: asked.found(cells.minutes, cells.grain),
            environment: None,
            last_updated_us: snapshot.updated_us(),
            stored_ns: snapshot.oldest_ns().zip(snapshot.newest_ns()),
            latency_objective_ms: 1_000.0,
            regressed: None,
            watched: Watched::default(),
        };
        let figures = overview(&rollup, &context, analysis::Options::default());
        whole.push(seconds(started) * 1e3);
        assert!(usize::try_from(figures.total_spans)? + 10 * SPANS_PER_TRACE > spans, "{figures:?}");
        blobs = cells.blobs.len();
        let started = Instant::now();
        let drawn = snapshot.sample(asked.minutes, Budget::ANSWER).await?;
        samples.push(seconds(started) * 1e3);
        assert!(drawn.traces.len() >= Budget::ANSWER.traces.min(spans / SPANS_PER_TRACE / 2), "{drawn:?}");
    }
    whole.sort_by(f64::total_cmp);
    reads.sort_by(f64::total_cmp);
    samples.sort_by(f64::total_cmp);
    println!(
        "{spans} spans, {what}: overview of 24 h {:.2} ms ({:.2} to {:.2}), of that reading {:.2} ms; {blobs} blobs; \
         drawn traces read in {:.2} ms",
        whole[READS / 2],
        whole[0],
        whole[READS - 1],
        reads[READS / 2],
        samples[READS / 2],
    );
    Ok(())
}

/// A day of traces at even distances.
async fn fill(store: &dyn Store, tenant: &TenantId, spans: usize) -> Result<(), Box<dyn Error>> {
    let traces = spans.div_ceil(SPANS_PER_TRACE) as u64;
    let resources: Vec<Arc<Resource>> = (0..SERVICES)
        .map(|service| {
            let name = Value::Str(format!("service-{service}").into());
            Arc::new(Resource { attributes: vec![("service.name".into(), name)] })
        })
        .collect();
    let scope = Arc::new(Scope::default());
    let numbers: Vec<u64> = (0..traces).collect();
    for numbers in numbers.chunks(TRACES_PER_BATCH) {
        let made = numbers.iter().flat_map(|number| {
            let start_ns = BASE_NS + DAY_NS / traces * number;
            trace(mix(*number), start_ns, &resources, &scope)
        });
        let batch = Batch { created_us: None, tenant: tenant.clone(), spans: made.collect() };
        store.append(vec![batch]).await?.into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    Ok(())
}

/// Numbers without pattern, always the same.
fn mix(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1
}

/// A request through all services, each calling the next.
fn trace(seed: u64, start_ns: u64, resources: &[Arc<Resource>], scope: &Arc<Scope>) -> Vec<Span> {
    let trace_id = TraceId::from_bytes((u128::from(seed) << 64 | 7).to_be_bytes()).expect("not zero");
    let id = |index: usize| SpanId::from_bytes((seed.rotate_left(9) ^ index as u64).to_be_bytes());
    let long = 100_000 + mix(seed) % 40_000_000;
    (0..SPANS_PER_TRACE)
        .map(|index| {
            let server = index % 2 == 0;
            let inset = index as u64 * 1_000;
            Span {
                trace_id,
                span_id: id(index).expect("not zero"),
                parent_span_id: index.checked_sub(1).and_then(id),
                flags: 0,
                trace_state: "".into(),
                name: format!("operation-{}", (seed >> (index % 8)) % 5).into(),
                kind: if server { Kind::Server } else { Kind::Client },
                start_ns: start_ns + inset,
                end_ns: Some(start_ns + long.saturating_sub(inset).max(inset + 1_000)),
                status: if mix(seed ^ index as u64).is_multiple_of(97) {
                    Status::Error
                } else {
                    Status::Unset
                },
                status_message: "".into(),
                attributes: Vec::new(),
                events: Vec::new(),
                links: Vec::new(),
                resource: Arc::clone(&resources[index / 2]),
                scope: Arc::clone(scope),
            }
        })
        .collect()
}
