//! What statistics take of a memory hit, counted and not timed: callgrind counts the instructions of hits, and of the very
//! same counting without the rest. Needs valgrind. `cargo xtask bench statistics`.

use nexarch_cache::testing::count_hits;
use nexarch_cache::{Cache, Computed, LocalAuthority, ManualClock, Operation, OperationId, Read, Scope};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

const HITS: u64 = 100_000;
const KEYS: usize = 200;
const BODY: usize = 8 << 10;
/// What statistics may take of a hit.
const TARGET: f64 = 0.10;
const SCOPES: usize = 1_000;
const OPERATIONS: usize = 10;
/// Times that statistics are asked for.
const ASKED: usize = 201;
/// What the statistics of one scope may take, in milliseconds.
const TARGET_MS: f64 = 2.0;
/// The functions that are looked at, as this program's argument.
const PARTS: [&str; 2] = ["hits_looked_at", "count_hits"];

async fn hits(cache: &Cache, scope: &Scope, operation: OperationId, params: &[String]) -> usize {
    let mut bytes = 0;
    for n in 0..usize::try_from(HITS).expect("a few hits") {
        let read = Read::new(operation, &params[n % KEYS]);
        let compute = |_| async { Ok(Computed::new(vec![7; BODY])) };
        bytes += cache.get_or_compute(scope, read, compute).await.expect("an answer").body().len();
    }
    bytes
}

/// A name that callgrind finds.
#[inline(never)]
fn hits_looked_at(
    runtime: &tokio::runtime::Runtime,
    cache: &Cache,
    scope: &Scope,
    operation: OperationId,
    params: &[String],
) {
    assert_eq!(
        runtime.block_on(hits(cache, scope, operation, params)),
        BODY * usize::try_from(HITS).expect("a few hits")
    );
}

/// Both parts; callgrind looks at one of them.
fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let operations = [Operation::new("dashboard_overview", Duration::from_hours(1))];
    let cache = Cache::builder(Arc::new(LocalAuthority::new())).operations(operations);
    // valgrind has no vDSO. What reading the real clock takes is missing in the whole, so the share is an upper bound.
    let cache = cache.clock(Arc::new(ManualClock::default())).build(TaskTracker::new()).expect("a cache");
    let params: Vec<_> =
        (0..KEYS).map(|n| format!("dashboard/overview?environment=all&window=24h&n={n}")).collect();
    let scope = Scope::new("acme").expect("a name");
    let operation = cache.operation("dashboard_overview").expect("an operation");
    // Fills it.
    runtime.block_on(hits(&cache, &scope, operation, &params));
    hits_looked_at(&runtime, &cache, &scope, operation, &params);
    let counted = || cache.node_stats().operations["dashboard_overview"].hits_memory;
    let before = counted();
    count_hits(&cache, &scope, operation, HITS);
    assert_eq!(counted() - before, HITS, "it counted");
}

/// Instructions of one turn of a part.
fn instructions(part: &str) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("callgrind.out");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", &format!("--toggle-collect=*{part}*")])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("this program"))
        .arg(part)
        .status();
    assert!(status.expect("valgrind is installed").success());
    let profile = std::fs::read_to_string(out).expect("what callgrind wrote");
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: ")).expect("totals");
    total.trim().parse::<f64>().expect("a number") / HITS as f64
}

/// Milliseconds of this thread's processor that `work` takes at the median.
fn median_ms(work: impl Fn() -> usize) -> f64 {
    let mut times: Vec<f64> = (0..ASKED)
        .map(|_| {
            let began = processor();
            assert!(work() > 0);
            processor() - began
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ASKED / 2]
}

fn processor() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

/// Many scopes that use every operation: what it takes to tell one of its own, and the operator of all.
fn tell() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let names: Vec<_> = (0..OPERATIONS).map(|n| format!("operation_{n}")).collect();
    let operations = names.iter().map(|name| Operation::new(name, Duration::from_hours(1)));
    let cache = Cache::builder(Arc::new(LocalAuthority::new())).operations(operations);
    let cache = cache.build(TaskTracker::new()).expect("a cache");
    let scopes: Vec<_> = (0..SCOPES).map(|n| Scope::new(&format!("tenant-{n}")).expect("a name")).collect();
    runtime.block_on(async {
        for scope in &scopes {
            for operation in names.iter().map(|name| cache.operation(name).expect("an operation")) {
                for _ in 0..2 {
                    let compute = |_| async { Ok(Computed::new("a value")) };
                    let read = Read::new(operation, "p");
                    cache.get_or_compute(scope, read, compute).await.expect("an answer");
                }
            }
        }
    });
    let own = median_ms(|| serde_json::to_vec(&cache.stats(&scopes[SCOPES / 2])).expect("JSON").len());
    let node = median_ms(|| serde_json::to_vec(&cache.node_stats()).expect("JSON").len());
    let verdict = if own < TARGET_MS { "met" } else { "MISSED" };
    println!(
        "| statistics of a tenant as JSON, {SCOPES} tenants × {OPERATIONS} operations (of the node) | {own:.3} ms ({node:.2} ms) of \
         processor | median of {ASKED} | < {TARGET_MS} ms | {verdict} |"
    );
}

fn main() {
    if std::env::args().any(|arg| PARTS.contains(&arg.as_str())) {
        return run();
    }
    let [whole, counting] = PARTS.map(instructions);
    assert!(whole > 0.0 && counting > 0.0, "callgrind found both");
    let share = counting / whole;
    let verdict = if share <= TARGET { "met" } else { "MISSED" };
    // A row of the table that `cargo xtask bench` gathers.
    println!(
        "| statistics in a memory hit, instructions | {:.1} % ({counting:.0} of {whole:.0}) | counted | ≤ {:.0} % | {verdict} |",
        share * 100.0,
        TARGET * 100.0,
    );
    tell();
}
