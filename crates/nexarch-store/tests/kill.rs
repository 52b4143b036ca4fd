//! SIGKILL in the middle of upkeep: no number differs, and whoever opens the file next finishes the work.
//!
//! A program of its own instead of a test of the usual harness, because it starts itself as the process to be killed.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use nexarch_core::{
    ids::{SpanId, TenantId, TraceId},
    rollup::merge,
    span::{Kind, Resource, Scope, Span, Status, Value},
    window::Minutes,
};
use nexarch_store::{Batch, Options, Place, Retention, Role, Store};

/// Midnight of a day in 2025, nanoseconds since the Unix epoch.
const BASE_NS: u64 = 1_749_945_600_000_000_000;
const MINUTE_NS: u64 = 60_000_000_000;
/// Four days later: all is due, and both days of spans are too old.
const NOW_US: u64 = (BASE_NS + 4 * 1_440 * MINUTE_NS) / 1_000;
const RETENTION: Retention =
    Retention { spans: Duration::from_hours(24), rollups: Duration::from_hours(24 * 30) };
/// A span each so many minutes, for thirty hours.
const EVERY: usize = 4;
const LENGTH: u64 = 30 * 60;
/// The k-th process is killed after `k` steps of upkeep.
const KILLS: usize = 16;

const NAME: &str = "upkeep_survives_sigkill";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let [child, path] = arguments.as_slice()
        && child == "--child"
    {
        run(grow_old(Path::new(path)));
    } else if has("--list") {
        // What cargo-nextest asks of a program with tests.
        if !has("--ignored") {
            println!("{NAME}: test");
        }
    } else {
        run(kill_again_and_again());
        println!("{NAME}: ok");
    }
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(future);
}

async fn open(path: &Path) -> Arc<dyn Store> {
    let url = format!("sqlite://{}", path.display());
    nexarch_store::open(&url, Options::new(Role::Owner, || NOW_US)).await.expect("the database opens")
}

fn id(tenant: &str) -> TenantId {
    tenant.parse().expect("a tenant id")
}

/// One step after the other, a line for each, until nothing is left to do.
async fn grow_old(path: &Path) {
    let store = open(path).await;
    store.delete_tenant(&id("gone")).await.expect("deleted");
    upkeep(&*store, &mut || {
        println!("step");
        std::io::stdout().flush().expect("a line");
    })
    .await;
}

async fn upkeep(store: &dyn Store, each: &mut (dyn FnMut() + Send)) {
    let mut place = Some(Place::default());
    while let Some(from) = place {
        place = store.compact(from).await.expect("a step").next;
        each();
    }
    while store.retain(RETENTION).await.expect("a step").next.is_some() {
        each();
    }
    while store.purge().await.expect("a step").next.is_some() {
        each();
    }
}

async fn kill_again_and_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = dir.path().join("first.db");
    let store = open(&first).await;
    for tenant in ["kept", "gone"] {
        store.create_tenant(&id(tenant), "").await.expect("the tenant is new");
        for minute in (0..LENGTH).step_by(EVERY) {
            let batch = Batch { tenant: id(tenant), spans: vec![span(tenant, minute)] };
            assert!(store.append(vec![batch]).await.expect("stored").iter().all(Result::is_ok));
        }
    }
    let truth = total(&*store).await;
    store.close().await;
    drop(store);
    let mut cut_off = 0;
    for steps in 0..KILLS {
        let path = dir.path().join(format!("{steps}.db"));
        std::fs::copy(&first, &path).expect("a copy");
        cut_off += usize::from(kill_after(steps, &path));
        let store = open(&path).await;
        assert!(total(&*store).await == truth, "killed after {steps} steps: numbers differ");
        upkeep(&*store, &mut || {}).await;
        assert!(total(&*store).await == truth, "finished after {steps} steps: numbers differ");
        let names: Vec<_> =
            store.tenants().await.expect("tenants").into_iter().map(|tenant| tenant.id).collect();
        // Killed before its first step it may not even have begun to delete.
        assert!(names == [id("kept")] || steps == 0, "{names:?}");
        store.close().await;
        drop(store);
        // No page is left with a name that only spans have.
        let bytes = std::fs::read(&path).expect("the file");
        let needle = b"operation-of-gone";
        let gone = names == [id("kept")];
        assert!(!gone || !bytes.windows(needle.len()).any(|window| window == needle), "after {steps} steps");
    }
    assert!(cut_off > KILLS / 2, "only {cut_off} of {KILLS} processes were killed at work");
}

/// Starts a process that does upkeep and kills it when it has done so many steps; was it still at work?
fn kill_after(steps: usize, path: &Path) -> bool {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    let mut child =
        command.arg("--child").arg(path).stdout(Stdio::piped()).spawn().expect("a process of this program");
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let seen = out.lines().map_while(Result::ok).take(steps).count();
    child.kill().expect("killed");
    let status = child.wait().expect("its end");
    seen == steps && !status.success()
}

/// All that the rollups of the tenant that stays hold, in one blob.
async fn total(store: &dyn Store) -> Vec<u8> {
    let mut snapshot = store.snapshot(&id("kept")).await.expect("a snapshot");
    let cells = snapshot.cells(Minutes { from: 0, to: u32::MAX }, 1).await.expect("cells");
    let blobs: Vec<&[u8]> = cells.blobs.iter().map(|(_, blob)| blob.as_slice()).collect();
    merge(&blobs).expect("blobs can be merged")
}

fn span(tenant: &str, minute: u64) -> Span {
    let start_ns = BASE_NS + minute * MINUTE_NS;
    let service = Value::Str("shop".into());
    Span {
        trace_id: TraceId::from_bytes(u128::from(minute + 1).to_be_bytes()).expect("not zero"),
        span_id: SpanId::from_bytes((minute + 1).to_be_bytes()).expect("not zero"),
        parent_span_id: None,
        flags: 0,
        trace_state: "".into(),
        name: format!("operation-of-{tenant}").into(),
        kind: Kind::Server,
        start_ns,
        end_ns: Some(start_ns + 1_000_000 * (minute + 1)),
        status: Status::Unset,
        status_message: "".into(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        resource: Arc::new(Resource { attributes: vec![("service.name".into(), service)] }),
        scope: Arc::new(Scope::default()),
    }
}
