//! What a hit in Redis costs beside a bare multiplexed connection of the client library with a large pipeline buffer: the
//! same server, values and runtime, in turns. `cargo bench -p nexarch-cache --bench redis_hit`.
//!
//! Two things of ours are measured: a **whole read** (memory looked at and missed, the value fetched, its envelope checked,
//! its fence compared, the entry kept in memory, everything counted), and the **connection** alone, with its breaker and
//! its deadline. The rival gets the very same bytes from Redis and does nothing with them.
//!
//! Beside the rate there is the processor time that this process (not the server) spends on a hit: what others do on
//! the machine does not count in it.

use nexarch_cache::{
    Cache, Computed, LocalAuthority, Operation, OperationId, Outcome, Read, RedisConfig, RedisRemote, Remote,
    Scope,
};
use nexarch_testkit::RedisServer;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// More than memory holds, and a share of its own for each caller: no read finds what another one fetched.
const KEYS: usize = 20_480;
const BODY: usize = 4 << 10;
/// Bytes of memory: a fortieth of the keys.
const MEMORY: u64 = 2 << 20;
const HITS: usize = 61_440;
const TURNS: usize = 9;
const IN_FLIGHT: [usize; 2] = [64, 512];
const PIPELINE: usize = 1024;
const TTL: Duration = Duration::from_hours(1);
/// Throughput in that of the rival.
const TARGET: f64 = 0.9;
/// Values on their way at once while they are written.
const WRITES: usize = 64;

struct Subject {
    cache: Cache,
    remote: Arc<RedisRemote>,
    scope: Scope,
    operation: OperationId,
    params: Vec<String>,
    names: Vec<String>,
}

/// No two are alike, and none can be compressed: as many bytes go over the wire as the body has.
fn body(key: usize) -> Vec<u8> {
    let mut state = key as u64;
    let word = |_| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    (0..BODY / 8).flat_map(word).collect()
}

impl Subject {
    async fn start(server: &RedisServer, tracker: &TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        // Nothing may time out on a busy machine: a call that fails ends the run.
        let config =
            RedisConfig::new("127.0.0.1").port(server.port()).command_timeout(Duration::from_secs(5));
        let remote = RedisRemote::start(&config, tracker, stop).expect("a configuration");
        remote.status().wait_for(|status| status.values && status.messages).await.expect("a connection");
        let cache = Cache::builder(Arc::new(LocalAuthority::new()))
            .operations([Operation::new("dashboard_overview", TTL)])
            .max_bytes(MEMORY)
            .remote(remote.clone())
            .build(tracker.clone())
            .expect("a cache");
        let scope = Scope::new("acme").expect("a name");
        let operation = cache.operation("dashboard_overview").expect("an operation");
        let params: Vec<_> = (0..KEYS).map(|n| format!("environment=all&window=24h&n={n}")).collect();
        // The epoch, which names depend on, is known from the first read on.
        let first = Read::new(operation, "first");
        cache.get_or_compute(&scope, first, |_| async { Ok(Computed::new("")) }).await.expect("a value");
        let name = |params: &String| cache.key(&scope, operation, params).expect("a name");
        let names = params.iter().map(name).collect();
        Arc::new(Self { cache, remote, scope, operation, params, names })
    }

    /// Computes every value once; they are written behind.
    async fn fill(self: &Arc<Self>, tracker: &TaskTracker) {
        for first in (0..KEYS).step_by(WRITES) {
            let subject = |key: usize| {
                let subject = Arc::clone(self);
                async move {
                    let read = Read::new(subject.operation, &subject.params[key]);
                    let compute = move |_| async move { Ok(Computed::new(body(key))) };
                    subject.cache.get_or_compute(&subject.scope, read, compute).await.expect("a value");
                }
            };
            let all: Vec<_> = (first..first + WRITES).map(|key| tracker.spawn(subject(key))).collect();
            for one in all {
                one.await.expect("a task");
            }
            // One of them is what the epoch was learned by.
            let due = (first + WRITES) as u64;
            while self.cache.remote_counts().expect("a shared tier").written < due {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let counts = self.cache.remote_counts().expect("a shared tier");
        assert_eq!((counts.not_written, counts.over_quota, counts.errors), (0, 0, 0));
    }

    async fn reads(self: Arc<Self>, keys: Vec<usize>, hits: usize) -> usize {
        let mut bytes = 0;
        for key in keys.into_iter().cycle().take(hits) {
            let read = Read::new(self.operation, &self.params[key]);
            let compute = |_| async { panic!("it is in Redis") };
            let answer = self.cache.get_or_compute(&self.scope, read, compute).await.expect("a hit");
            assert!(matches!(answer.outcome(), Outcome::HitRedis { .. }), "{:?}", answer.outcome());
            bytes += answer.body().len();
        }
        bytes
    }

    async fn gets(self: Arc<Self>, keys: Vec<usize>, hits: usize) -> usize {
        let mut bytes = 0;
        for key in keys.into_iter().cycle().take(hits) {
            let value = self.remote.get(&self.names[key], 1 << 20).await.expect("a hit").expect("a hit");
            assert!(value.len() > BODY);
            bytes += BODY;
        }
        bytes
    }

    async fn bare(self: Arc<Self>, mut rival: MultiplexedConnection, keys: Vec<usize>, hits: usize) -> usize {
        let mut bytes = 0;
        for key in keys.into_iter().cycle().take(hits) {
            let mut get = redis::cmd("GET");
            get.arg(&self.names[key]);
            let value: Vec<u8> = get.query_async(&mut rival).await.expect("a hit");
            assert!(value.len() > BODY);
            bytes += BODY;
        }
        bytes
    }
}

/// Microseconds that this process has had a processor.
fn processor() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

#[derive(Clone, Copy)]
struct Turn {
    /// Hits a second.
    rate: f64,
    /// Microseconds of processor for one.
    spent: f64,
}

/// `callers` at once, each with keys of its own.
async fn turn<F, Fut>(callers: usize, hits: F) -> Turn
where
    F: Fn(Vec<usize>, usize) -> Fut,
    Fut: Future<Output = usize> + Send + 'static,
{
    let tracker = TaskTracker::new();
    let (began, spent) = (Instant::now(), processor());
    let keys = |caller| (caller..KEYS).step_by(callers).collect();
    let all: Vec<_> = (0..callers).map(|caller| tracker.spawn(hits(keys(caller), HITS / callers))).collect();
    let mut bytes = 0;
    for one in all {
        bytes += one.await.expect("a task");
    }
    assert_eq!(bytes, HITS * BODY);
    let hits = HITS as f64;
    Turn { rate: hits / began.elapsed().as_secs_f64(), spent: (processor() - spent) / hits }
}

/// Low, median and high.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

fn print(what: &str, callers: usize, own: &[Turn], bare: &[Turn]) {
    let [_, rate, _] = spread(own.iter().map(|turn| turn.rate));
    let [_, spent, _] = spread(own.iter().map(|turn| turn.spent));
    let pairs = || own.iter().zip(bare);
    let [low, ratio, high] = spread(pairs().map(|(own, bare)| own.rate / bare.rate));
    let [least, cost, most] = spread(pairs().map(|(own, bare)| own.spent / bare.spent));
    let verdict = if ratio >= TARGET { "met" } else { "MISSED" };
    println!(
        "| Redis hit beside a bare redis-rs connection, {callers} in flight: {what} | {ratio:.2}× of its throughput \
         ({rate:.0}/s), {cost:.2}× of its processor time ({spent:.1} µs) | {low:.2} to {high:.2}; {least:.2} to \
         {most:.2} | ≥ {TARGET}× | {verdict} |"
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let server = RedisServer::start();
    let client = redis::Client::open(format!("redis://{}", server.address())).expect("a client");
    let options = AsyncConnectionConfig::new().set_pipeline_buffer_size(PIPELINE);
    let rival = client.get_multiplexed_async_connection_with_config(&options).await.expect("a connection");
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let subject = Subject::start(&server, &tracker, &stop).await;
    subject.fill(&tracker).await;
    for callers in IN_FLIGHT {
        let (mut whole, mut connection, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            bare.push(turn(callers, |keys, hits| Arc::clone(&subject).bare(rival.clone(), keys, hits)).await);
            whole.push(turn(callers, |keys, hits| Arc::clone(&subject).reads(keys, hits)).await);
            connection.push(turn(callers, |keys, hits| Arc::clone(&subject).gets(keys, hits)).await);
        }
        let [_, rate, _] = spread(bare.iter().map(|turn| turn.rate));
        let [_, spent, _] = spread(bare.iter().map(|turn| turn.spent));
        println!("{callers} in flight, GET of 4 KiB: bare redis-rs {rate:.0}/s, {spent:.1} µs of processor");
        print("a whole read", callers, &whole, &bare);
        print("the connection alone", callers, &connection, &bare);
    }
    stop.cancel();
}
