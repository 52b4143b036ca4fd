//! What a hit in Redis costs beside a bare multiplexed connection of the client library with the same pipeline buffer:
//! the same server, keys and runtime, in turns. `cargo bench -p nexarch-cache --bench redis_hit`.
//!
//! Beside the rate there is the processor time that this process (not the server) spends on a hit: what others do on
//! the machine does not count in it.

use nexarch_cache::{RedisConfig, RedisRemote, Remote};
use nexarch_testkit::RedisServer;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const KEYS: usize = 1000;
const BODY: usize = 4 << 10;
const HITS: usize = 60_000;
const TURNS: usize = 9;
const IN_FLIGHT: [usize; 2] = [64, 512];
const PIPELINE: usize = 1024;

fn keys() -> Arc<Vec<String>> {
    Arc::new((0..KEYS).map(|n| format!("bench:acme:dashboard_overview:{n:032x}")).collect())
}

/// Microseconds that this process has had a processor.
fn processor() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

/// Hits a second, and microseconds of processor for one, with `tasks` callers at once.
async fn rate<F, Fut>(tasks: usize, caller: F) -> (f64, f64)
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = usize> + Send + 'static,
{
    let tracker = TaskTracker::new();
    let (began, spent) = (Instant::now(), processor());
    let all: Vec<_> = (0..tasks).map(|task| tracker.spawn(caller(task))).collect();
    let mut bytes = 0;
    for task in all {
        bytes += task.await.expect("a task");
    }
    let hits = HITS / tasks * tasks;
    assert_eq!(bytes, hits * BODY);
    (hits as f64 / began.elapsed().as_secs_f64(), (processor() - spent) / hits as f64)
}

async fn bare(connection: MultiplexedConnection, keys: Arc<Vec<String>>, first: usize, hits: usize) -> usize {
    let (mut connection, mut bytes) = (connection, 0);
    for n in 0..hits {
        let mut get = redis::cmd("GET");
        get.arg(&keys[(first + n) % KEYS]);
        let body: Vec<u8> = get.query_async(&mut connection).await.expect("a hit");
        bytes += body.len();
    }
    bytes
}

async fn ours(remote: Arc<RedisRemote>, keys: Arc<Vec<String>>, first: usize, hits: usize) -> usize {
    let mut bytes = 0;
    for n in 0..hits {
        let body = remote.get(&keys[(first + n) % KEYS], 1 << 20).await.expect("a hit").expect("a hit");
        bytes += body.len();
    }
    bytes
}

/// Low, median and high.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[TURNS / 2], values[TURNS - 1]]
}

fn print(name: &str, own: &[(f64, f64)], bare: &[(f64, f64)]) {
    let [low, rate, high] = spread(own.iter().map(|turn| turn.0));
    let [_, spent, _] = spread(own.iter().map(|turn| turn.1));
    let pairs = || own.iter().zip(bare);
    let [worst, ratio, best] = spread(pairs().map(|(own, bare)| own.0 / bare.0));
    let [least, cost, most] = spread(pairs().map(|(own, bare)| own.1 / bare.1));
    println!(
        "  {name:24} {rate:8.0}/s ({low:.0} to {high:.0})  {ratio:.2} of bare ({worst:.2} to {best:.2})"
    );
    println!("  {:24} {spent:8.1} us of processor  {cost:.2} of bare ({least:.2} to {most:.2})", "");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let server = RedisServer::start();
    let client = redis::Client::open(format!("redis://{}", server.address())).expect("a client");
    let options = AsyncConnectionConfig::new().set_pipeline_buffer_size(PIPELINE);
    let connection =
        client.get_multiplexed_async_connection_with_config(&options).await.expect("a connection");
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    // Nothing may time out on a busy machine: a call that fails ends the run.
    let config = RedisConfig::new("127.0.0.1").port(server.port()).command_timeout(Duration::from_secs(5));
    let connections: Vec<_> = [1, 2].into_iter().map(|n| (n, config.clone().connections(n))).collect();
    let keys = keys();
    let mut remotes = Vec::new();
    for (n, config) in &connections {
        let remote = RedisRemote::start(config, &tracker, &stop).expect("a configuration");
        remote.status().wait_for(|status| status.values && status.messages).await.expect("a connection");
        remotes.push((*n, remote));
    }
    for key in keys.iter() {
        remotes[0].1.set(key, vec![7; BODY].into(), Duration::from_hours(1)).await.expect("a value");
    }
    for tasks in IN_FLIGHT {
        let mut theirs = Vec::new();
        let mut own: Vec<_> = remotes.iter().map(|(n, remote)| (*n, remote, Vec::new())).collect();
        for _ in 0..TURNS {
            let caller = |task| bare(connection.clone(), Arc::clone(&keys), task * 37, HITS / tasks);
            theirs.push(rate(tasks, caller).await);
            for (_, remote, turns) in &mut own {
                let caller = |task| ours(Arc::clone(remote), Arc::clone(&keys), task * 37, HITS / tasks);
                turns.push(rate(tasks, caller).await);
            }
        }
        println!("{tasks} in flight, GET of 4 KiB");
        print("bare redis-rs", &theirs, &theirs);
        for (n, _, turns) in own {
            print(&format!("nexarch, {n} connection(s)"), &turns, &theirs);
        }
    }
    stop.cancel();
}
