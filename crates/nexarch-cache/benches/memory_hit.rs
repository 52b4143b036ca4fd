//! What a memory hit costs beside `quick_cache` with a weigher and an expiry stamp: the same keys, bodies, clock
//! and runtime, in turns, on one thread and on two. `cargo bench -p nexarch-cache`.

use bytes::Bytes;
use nexarch_cache::{BootTime, Cache, Clock, Computed, LocalAuthority, Operation, Read, Scope, SystemClock};
use quick_cache::sync::DefaultLifecycle;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

const KEYS: usize = 200;
const BODY: usize = 8 << 10;
const HITS: usize = 2_000_000;
const TURNS: usize = 7;
const TTL: Duration = Duration::from_hours(1);
/// What a hit may cost, in hits of the rival.
const TARGET: f64 = 1.3;

#[derive(Clone)]
struct Weigh;

impl Weighter<String, (Bytes, BootTime)> for Weigh {
    fn weight(&self, key: &String, value: &(Bytes, BootTime)) -> u64 {
        (key.len() + value.0.len() + 64) as u64
    }
}

type Rival = quick_cache::sync::Cache<String, (Bytes, BootTime), Weigh>;

fn params() -> Vec<String> {
    (0..KEYS).map(|n| format!("dashboard/overview?environment=all&window=24h&n={n}")).collect()
}

fn rival_key(params: &str) -> String {
    format!("acme:dashboard_overview:{params}")
}

fn rival() -> Arc<Rival> {
    let options = OptionsBuilder::new().weight_capacity(256 << 20).estimated_items_capacity(10_000).build();
    let options = options.expect("options");
    let cache =
        Rival::with_options(options, Weigh, DefaultHashBuilder::default(), DefaultLifecycle::default());
    let expires = SystemClock.boot().plus(TTL);
    for params in params() {
        cache.insert(rival_key(&params), (vec![7; BODY].into(), expires));
    }
    Arc::new(cache)
}

fn rival_hits(cache: &Rival, keys: &[String]) -> usize {
    let mut bytes = 0;
    for n in 0..HITS {
        let now = SystemClock.boot();
        let hit = cache.get(&keys[n % KEYS]).filter(|(_, expires)| now < *expires);
        bytes += hit.expect("a hit").0.len();
    }
    bytes
}

async fn own_hits(cache: &Cache, params: &[String]) -> usize {
    let scope = Scope::new("acme").expect("a name");
    let operation = cache.operation("dashboard_overview").expect("an operation");
    let mut bytes = 0;
    for n in 0..HITS {
        let read = Read::new(operation, &params[n % KEYS]);
        let compute = |_| async { Ok(Computed::new(vec![7; BODY])) };
        let answer = cache.get_or_compute(&scope, read, compute).await.expect("an answer");
        bytes += answer.body().len();
    }
    bytes
}

/// Nanoseconds that this thread has had a processor: what others do on the machine does not count.
fn processor() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Processor nanoseconds of one hit when `threads` do them at once. A hit never waits, so a task of hits stays on
/// its thread.
async fn time<F, Fut>(threads: usize, hits: F) -> f64
where
    F: Fn() -> Fut,
    Fut: Future<Output = usize> + Send + 'static,
{
    let tasks = TaskTracker::new();
    let timed = |hits: Fut| async move {
        let began = processor();
        assert_eq!(hits.await, HITS * BODY);
        processor() - began
    };
    let all: Vec<_> = (0..threads).map(|_| tasks.spawn(timed(hits()))).collect();
    let mut total = 0.0;
    for task in all {
        total += task.await.expect("a task");
    }
    total / (HITS * threads) as f64
}

fn spread(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    format!("{:6.1} ns  ({:.1} to {:.1})", times[TURNS / 2], times[0], times[TURNS - 1])
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let rival = rival();
    let authority = Arc::new(LocalAuthority::new());
    let operations = [Operation::new("dashboard_overview", TTL)];
    let cache = Cache::builder(authority).operations(operations).build(TaskTracker::new()).expect("a cache");
    own_hits(&cache, &params()).await;
    for threads in [1, 2] {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let hits = || {
                let rival = Arc::clone(&rival);
                let keys: Vec<_> = params().iter().map(|params| rival_key(params)).collect();
                async move { rival_hits(&rival, &keys) }
            };
            theirs.push(time(threads, hits).await);
            let hits = || {
                let (cache, params) = (cache.clone(), params());
                async move { own_hits(&cache, &params).await }
            };
            ours.push(time(threads, hits).await);
            ratios.push(ours[ours.len() - 1] / theirs[theirs.len() - 1]);
        }
        ratios.sort_by(f64::total_cmp);
        println!("{threads} thread(s)  quick_cache {}", spread(theirs));
        println!("             nexarch     {}", spread(ours));
        let (low, ratio, high) = (ratios[0], ratios[TURNS / 2], ratios[TURNS - 1]);
        let verdict = if ratio <= TARGET { "met" } else { "MISSED" };
        // A row of the table that `cargo xtask bench` gathers.
        println!(
            "| memory hit beside quick_cache with weight and expiry, {threads} thread(s) | {ratio:.2}× | {low:.2} to \
             {high:.2} | ≤ {TARGET}× | {verdict} |"
        );
    }
    let mut clock = Vec::new();
    for _ in 0..TURNS {
        let began = processor();
        (0..HITS).for_each(|_| {
            std::hint::black_box(SystemClock.boot());
        });
        clock.push((processor() - began) / HITS as f64);
    }
    println!("of which the clock       {}", spread(clock));
}
