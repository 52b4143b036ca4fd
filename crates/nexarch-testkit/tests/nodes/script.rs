//! A script of reads, commits, invalidations and warmings on three nodes, and the statistics that it has to give.

use crate::cluster::{Cluster, KEYS, NODES, eventually};
use crate::node::Node;
use nexarch_cache::{OperationStats, Outcome};
use nexarch_testkit::RedisServer;

const STEPS: u64 = 120;

/// What the counters of one node have to say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Predicted {
    requests: u64,
    hits_memory: u64,
    hits_redis: u64,
    misses: u64,
    invalidations: u64,
}

impl Predicted {
    /// As found, after what the script never causes was looked at.
    fn of(stats: &OperationStats) -> Self {
        assert_eq!((stats.collapsed, stats.stale, stats.errors), (0, 0, 0), "{stats:?}");
        Self {
            requests: stats.requests,
            hits_memory: stats.hits_memory,
            hits_redis: stats.hits_redis,
            misses: stats.misses,
            invalidations: stats.invalidations,
        }
    }
}

/// Where values are that may be served: in the memory of which nodes, and in Redis.
#[derive(Default)]
struct Model {
    memory: [[bool; KEYS]; NODES],
    redis: [bool; KEYS],
    counts: [Predicted; NODES],
}

impl Model {
    fn read(&mut self, node: usize, key: usize) -> &'static str {
        let counts = &mut self.counts[node];
        counts.requests += 1;
        let (count, way) = match (self.memory[node][key], self.redis[key]) {
            (true, _) => (&mut counts.hits_memory, "memory"),
            (false, true) => (&mut counts.hits_redis, "redis"),
            (false, false) => (&mut counts.misses, "computed"),
        };
        *count += 1;
        self.memory[node][key] = true;
        self.redis[key] = true;
        way
    }

    /// Counted where it was acknowledged, and only there.
    fn make_old(&mut self, node: usize) {
        self.counts[node].invalidations += 1;
        self.memory = Default::default();
        self.redis = Default::default();
    }

    /// Computed whatever is held, and no request.
    fn warm(&mut self, node: usize, key: usize) {
        self.memory[node][key] = true;
        self.redis[key] = true;
    }
}

/// Numbers that nobody chose, the same in every run: xorshift64* (Vigna, "An experimental exploration of Marsaglia's
/// xorshift generators, scrambled").
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("31 bits") % limit
    }
}

fn way(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::HitMemory { .. } => "memory",
        Outcome::HitRedis { .. } => "redis",
        Outcome::Miss { stored: Some(_) } => "computed",
        _ => "in another way",
    }
}

fn found(node: &Node) -> Predicted {
    let stats = node.cache.stats(&Node::scope());
    Predicted::of(&stats.operations["overview"])
}

/// Each step is over when everybody who has to may know of it: what comes from memory, from Redis or from a computation is
/// then for nobody to guess.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_count_exactly_what_a_script_makes_them_do() {
    let cluster = Cluster::start_patient(RedisServer::start()).await;
    let (mut model, mut numbers) = (Model::default(), Numbers(0x9e37_79b9_7f4a_7c15));
    // What was changed last, on any node: who does something then knows of it.
    let mut version = 0;
    for step in 0..STEPS {
        let (at, key) = (numbers.below(NODES), numbers.below(KEYS));
        let node = &cluster.nodes[at];
        let written = node.written();
        node.see(version).await;
        let stores = match numbers.below(12) {
            0 => {
                version = node.commit(step + 1).await;
                model.make_old(at);
                false
            }
            1 => {
                node.invalidate().await;
                version = node.cache.version(&Node::scope()).await.expect("a version");
                model.make_old(at);
                false
            }
            2 => {
                node.warm(key).await;
                model.warm(at, key);
                true
            }
            _ => {
                let predicted = model.read(at, key);
                let (_, outcome) = node.answer(key, 0).await.expect("an answer");
                assert_eq!(way(outcome), predicted, "step {step}: node {at}, key {key}");
                predicted == "computed"
            }
        };
        if stores {
            eventually("a value in Redis", || node.written() > written).await;
        }
        for (at, node) in cluster.nodes.iter().enumerate() {
            assert_eq!(found(node), model.counts[at], "step {step}: node {at}");
        }
    }
    let all = model.counts.iter().fold([0; 3], |[memory, redis, misses], one| {
        [memory + one.hits_memory, redis + one.hits_redis, misses + one.misses]
    });
    assert!(all.iter().all(|count| *count >= 10), "a script that shows every way: {all:?}");
    cluster.end().await;
}
