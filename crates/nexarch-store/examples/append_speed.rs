//! How fast spans are stored, and how small.
//!
//! `append_speed DIR [FILE.jsonl.gz…]`: makes a database in DIR, appends the spans of OTLP/JSON files (or, without
//! files, of a made-up shop) in batches of 1,000, and prints spans per CPU second and bytes per span. CPU is that of
//! all threads during the appends alone; decoding is outside. Linux only.

use std::{error::Error, fs, io::Read, path::Path, sync::Arc};

use flate2::read::MultiGzDecoder;
use nexarch_core::{
    ids::{SpanId, TraceId},
    otlp::{self, Encoding, Rules},
    span::{Kind, Resource, Scope, Span, Status, Value},
    trace::Extent,
};
use nexarch_store::{Batch, Options, Role};

/// Spans of a batch.
const BATCH: usize = 1_000;

/// Traces read back, one after another.
const READS: usize = 200;

/// Traces of the shop, of ten spans each.
const SHOP_TRACES: u64 = 40_000;

/// Any day of 2025, nanoseconds since the Unix epoch.
const BASE_NS: u64 = 1_749_945_600_000_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: append_speed DIR [FILE.jsonl.gz...]")?;
    let files: Vec<String> = arguments.collect();
    let spans = if files.is_empty() { shop() } else { read(&files)? };
    let path = Path::new(&dir).join("append_speed.db");
    let url = format!("sqlite://{}", path.display());
    let store = nexarch_store::open(&url, Options::new(Role::Owner, || BASE_NS / 1_000)).await?;
    let tenant = "bench".parse()?;
    store.create_tenant(&tenant, "").await?;

    let (total, mut used) = (spans.len(), 0);
    for spans in spans.chunks(BATCH) {
        // Made now, as a request is decoded just before it is stored, and not in memory that went cold long ago.
        let body = otlp::encode_protobuf(spans);
        let spans = otlp::decode(&body.into(), Encoding::Protobuf, &Rules::default())?.spans;
        let batch = Batch { created_us: None, tenant: Clone::clone(&tenant), spans };
        let before = cpu_ns()?;
        store.append(vec![batch]).await?.into_iter().collect::<Result<Vec<_>, _>>()?;
        used += cpu_ns()?.saturating_sub(before);
    }
    let seconds = used as f64 / 1e9;
    let traces: Vec<TraceId> =
        spans.iter().step_by(spans.len() / READS + 1).map(|span| span.trace_id).collect();
    let started = tokio::time::Instant::now();
    for trace in &traces {
        let found = store.snapshot(&tenant).await?.trace(*trace, Extent::ALL).await?;
        assert!(!found.spans.is_empty(), "a stored trace is not found");
    }
    let per_trace = started.elapsed().as_secs_f64() * 1e3 / traces.len() as f64;
    let totals = store.snapshot(&tenant).await?.totals().await?;
    store.close().await;
    let bytes = fs::metadata(&path)?.len();
    println!(
        "{total} spans ({} new, {} traces): {seconds:.2} CPU s, {:.0} spans per CPU s, {bytes} bytes, {:.1} per span, \
         {per_trace:.2} ms per trace read",
        totals.spans,
        totals.traces,
        total as f64 / seconds,
        bytes as f64 / totals.spans as f64,
    );
    Ok(())
}

/// CPU time of all threads of this process so far, nanoseconds.
fn cpu_ns() -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or("").parse::<u64>()?;
    }
    Ok(sum)
}

fn read(files: &[String]) -> Result<Vec<Span>, Box<dyn Error>> {
    let mut spans = Vec::new();
    for file in files {
        let mut text = String::new();
        MultiGzDecoder::new(fs::File::open(file)?).read_to_string(&mut text)?;
        for line in text.lines() {
            let body = line.to_owned().into();
            spans.extend(otlp::decode(&body, Encoding::Json, &Rules::default())?.spans);
        }
    }
    Ok(spans)
}

/// A stream of numbers without pattern, always the same.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn span_id(&mut self) -> SpanId {
        SpanId::from_bytes((self.next() | 1).to_be_bytes()).expect("not zero")
    }
}

/// Traces of a shop: a request through three services, each with a database, with the attributes that clients send.
fn shop() -> Vec<Span> {
    let mut chance = Chance(7);
    let services = ["gateway", "cart", "stock"].map(|service| {
        let attribute = |key: &'static str, value: &str| (key.into(), Value::Str(value.into()));
        let host = format!("{service}-7d9c8b-x{}", service.len());
        Arc::new(Resource {
            attributes: vec![
                attribute("service.name", service),
                attribute("service.version", "1.4.2"),
                attribute("deployment.environment.name", "production"),
                attribute("host.name", &host),
                attribute("telemetry.sdk.language", "java"),
            ],
        })
    });
    let scope = Arc::new(Scope { name: "io.opentelemetry.http".into(), ..Scope::default() });
    let mut spans = Vec::new();
    for number in 0..SHOP_TRACES {
        let halves = u128::from(chance.next()) << 64 | u128::from(chance.next());
        let trace_id = TraceId::from_bytes(halves.to_be_bytes()).expect("not zero");
        let mut parent = None;
        let mut start_ns = BASE_NS + number * 2_000_000 + chance.below(1_000_000);
        for step in 0..10 {
            let kind = [Kind::Server, Kind::Internal, Kind::Client][step % 3];
            let span_id = chance.span_id();
            start_ns += 20_000 + chance.below(900_000);
            spans.push(Span {
                trace_id,
                span_id,
                parent_span_id: parent,
                flags: 0x101,
                trace_state: "".into(),
                name: ["GET /api/cart/{id}", "CartService.load", "SELECT cart.items"][step % 3].into(),
                kind,
                start_ns,
                end_ns: Some(start_ns + 100_000 + chance.below(50_000_000)),
                status: if chance.below(50) == 0 { Status::Error } else { Status::Unset },
                status_message: "".into(),
                attributes: attributes(kind, &mut chance),
                events: Vec::new(),
                links: Vec::new(),
                resource: Arc::clone(&services[step / 3 % 3]),
                scope: Arc::clone(&scope),
            });
            parent = Some(span_id);
        }
    }
    // Batches hold spans as they end, those of several traces side by side.
    spans.sort_by_key(|span| span.end_ns);
    spans
}

fn attributes(kind: Kind, chance: &mut Chance) -> Vec<(nexarch_core::Text, Value)> {
    let text = |key: &'static str, value: String| (key.into(), Value::Str(value.into()));
    let number = |key: &'static str, value: u64| (key.into(), Value::Int(value.cast_signed()));
    match kind {
        Kind::Server => vec![
            text("http.request.method", "GET".to_owned()),
            text("http.route", "/api/cart/{id}".to_owned()),
            text("url.path", format!("/api/cart/{}", chance.below(100_000))),
            text("url.scheme", "https".to_owned()),
            number("http.response.status_code", 200),
            text("server.address", "shop.example.com".to_owned()),
            text("client.address", format!("10.0.{}.{}", chance.below(250), chance.below(250))),
            number("thread.id", chance.below(64)),
        ],
        Kind::Client => vec![
            text("db.system.name", "postgresql".to_owned()),
            text("db.namespace", "cart".to_owned()),
            text("db.query.text", "SELECT id, sku, quantity FROM items WHERE cart = $1".to_owned()),
            text("server.address", "cart-db.internal".to_owned()),
            number("server.port", 5432),
            number("thread.id", chance.below(64)),
        ],
        _ => vec![text("code.function.name", "load".to_owned()), number("thread.id", chance.below(64))],
    }
}
