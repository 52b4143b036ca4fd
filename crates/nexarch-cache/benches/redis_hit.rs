//! What a hit in Redis costs beside a bare multiplexed connection of the client library with the same pipeline buffer:
//! the same server, keys and runtime, in turns. `cargo bench -p nexarch-cache --bench redis_hit`.

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

/// Hits a second, with `tasks` callers at once.
async fn rate<F, Fut>(tasks: usize, caller: F) -> f64
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = usize> + Send + 'static,
{
    let tracker = TaskTracker::new();
    let began = Instant::now();
    let all: Vec<_> = (0..tasks).map(|task| tracker.spawn(caller(task))).collect();
    let mut bytes = 0;
    for task in all {
        bytes += task.await.expect("a task");
    }
    assert_eq!(bytes, HITS / tasks * tasks * BODY);
    (HITS / tasks * tasks) as f64 / began.elapsed().as_secs_f64()
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

fn spread(mut rates: Vec<f64>) -> String {
    rates.sort_by(f64::total_cmp);
    format!("{:8.0}/s  ({:.0} to {:.0})", rates[TURNS / 2], rates[0], rates[TURNS - 1])
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
        let mut own: Vec<_> =
            remotes.iter().map(|(n, remote)| (*n, remote, Vec::new(), Vec::new())).collect();
        for _ in 0..TURNS {
            let caller = |task| bare(connection.clone(), Arc::clone(&keys), task * 37, HITS / tasks);
            theirs.push(rate(tasks, caller).await);
            for (_, remote, rates, ratios) in &mut own {
                let caller = |task| ours(Arc::clone(remote), Arc::clone(&keys), task * 37, HITS / tasks);
                rates.push(rate(tasks, caller).await);
                ratios.push(rates[rates.len() - 1] / theirs[theirs.len() - 1]);
            }
        }
        println!("{tasks} in flight, GET of 4 KiB");
        println!("  bare redis-rs            {}", spread(theirs));
        for (n, _, rates, mut ratios) in own {
            ratios.sort_by(f64::total_cmp);
            let (low, median, high) = (ratios[0], ratios[TURNS / 2], ratios[TURNS - 1]);
            println!(
                "  nexarch, {n} connection(s) {}  ratio {median:.2} ({low:.2} to {high:.2})",
                spread(rates)
            );
        }
    }
    stop.cancel();
}
