//! How many reads the memory tier answers, beside `quick_cache` and a plain LRU with the same bytes: Zipf traces, alone
//! and among keys that are asked for once; and what a tenant that floods the tier takes from small ones beside it.
//! Ratios of seeded traces, no times. `cargo bench -p nexarch-cache --bench zipf`.

use nexarch_cache::{Cache, Computed, LocalAuthority, Operation, OperationId, Outcome, Read, Scope};
use quick_cache::sync::DefaultLifecycle;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Keys that are asked for by Zipf's law.
const KEYS: usize = 20_000;
const READS: usize = 300_000;
/// Reads between two crowds of keys that are asked for once, and how many those are.
const CROWD: (usize, usize) = (10_000, 5_000);
const EXPONENTS: [f64; 3] = [0.7, 0.9, 1.1];
const SEEDS: [u64; 3] = [1, 2, 3];
/// About a twelfth of what all keys weigh.
const BUDGET: u64 = 6 << 20;
/// What the cache charges for an entry beside its body and parameters; its rivals are charged the same.
const OVERHEAD: u64 = 436 + 36;
/// Points of hit ratio that may be missing to the better rival.
const TARGET: f64 = 2.0;

/// Small tenants, the keys of each, and their reads while they are looked at.
const SMALL: (usize, usize, usize) = (20, 60, 4_000);
/// Reads of the flood for each read of a small tenant.
const FLOOD: usize = 10;
/// How often the flood asks for each of its keys, one time soon after the other.
const REPEATS: [usize; 2] = [1, 5];
/// Points of hit ratio that a flood may take from small tenants.
const FLOOD_TARGET: f64 = 0.1;

/// The same numbers for the same seed, everywhere (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }

    /// Between 0 and 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// One read of a trace: whose, of what, and whether it counts.
#[derive(Clone)]
struct Asked {
    tenant: usize,
    params: String,
    counts: bool,
}

impl Asked {
    fn new(tenant: usize, key: usize, counts: bool) -> Self {
        Self { tenant, params: format!("dashboard?n={key:08}"), counts }
    }

    fn body(&self) -> usize {
        body(&self.params)
    }
}

/// Bytes of a body: 0.5 to 8 KiB, always the same of a key.
fn body(params: &str) -> usize {
    let hash = params.bytes().fold(0, |hash, byte| mixed(hash ^ u64::from(byte)));
    512 << (hash % 5)
}

/// Ranks by Zipf's law.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(keys: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=keys).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(sums.collect())
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = random.part() * self.0[self.0.len() - 1];
        self.0.partition_point(|sum| *sum < at)
    }
}

fn trace(exponent: f64, crowds: bool, seed: u64) -> Vec<Asked> {
    let (zipf, mut random) = (Zipf::new(KEYS, exponent), Random(seed));
    let (mut reads, mut once) = (Vec::new(), KEYS);
    for n in 1..=READS {
        reads.push(Asked::new(0, zipf.draw(&mut random), true));
        if crowds && n % CROWD.0 == 0 {
            reads.extend((once..once + CROWD.1).map(|key| Asked::new(0, key, false)));
            once += CROWD.1;
        }
    }
    reads
}

/// Small tenants ask for their few keys; after some rounds that do not count, beside a flood of another one that asks for
/// each of its keys so often, or without.
fn beside(flood: Option<usize>, seed: u64) -> Vec<Asked> {
    let (tenants, keys, rounds) = SMALL;
    let (zipf, mut random) = (Zipf::new(keys, 0.9), Random(seed));
    let (mut reads, mut once) = (Vec::new(), 0);
    for tenant in 1..=tenants {
        // Twice, so that everything was asked for and asked for again.
        reads.extend((0..2 * keys).map(|n| Asked::new(tenant, n % keys, false)));
    }
    for n in 0..rounds * tenants {
        reads.push(Asked::new(1 + n % tenants, zipf.draw(&mut random), true));
        if let Some(repeats) = flood {
            reads.extend((once..once + FLOOD).map(|n| Asked::new(0, n / repeats, false)));
            once += FLOOD;
        }
    }
    reads
}

/// What is asked for; says whether it was there, and has it from then on.
trait Tier {
    async fn read(&mut self, asked: &Asked) -> bool;
}

async fn ratio(mut tier: impl Tier, trace: &[Asked]) -> f64 {
    let (mut hits, mut all) = (0u64, 0u64);
    for asked in trace {
        let hit = tier.read(asked).await;
        hits += u64::from(hit && asked.counts);
        all += u64::from(asked.counts);
    }
    100.0 * hits as f64 / all as f64
}

fn weight(params: &str, body: usize) -> u64 {
    OVERHEAD + (params.len() + body) as u64
}

struct Ours {
    cache: Cache,
    operation: OperationId,
    scopes: Vec<Scope>,
}

impl Ours {
    fn new() -> Self {
        let operations = [Operation::new("dashboard", Duration::from_hours(1))];
        let builder = Cache::builder(Arc::new(LocalAuthority::new())).operations(operations);
        let cache = builder.max_bytes(BUDGET).build(TaskTracker::new()).expect("a cache");
        let operation = cache.operation("dashboard").expect("an operation");
        let scopes = (0..=SMALL.0).map(|n| Scope::new(&format!("t{n}")).expect("a name")).collect();
        Self { cache, operation, scopes }
    }
}

impl Tier for Ours {
    async fn read(&mut self, asked: &Asked) -> bool {
        let size = asked.body();
        let compute = move |_| async move { Ok(Computed::new(vec![7; size])) };
        let read = Read::new(self.operation, &asked.params);
        let answer = self.cache.get_or_compute(&self.scopes[asked.tenant], read, compute).await;
        matches!(answer.expect("an answer").outcome(), Outcome::HitMemory { .. })
    }
}

#[derive(Clone)]
struct Weigh;

impl Weighter<(usize, String), usize> for Weigh {
    fn weight(&self, key: &(usize, String), body: &usize) -> u64 {
        weight(&key.1, *body)
    }
}

struct Quick(quick_cache::sync::Cache<(usize, String), usize, Weigh>);

impl Quick {
    fn new() -> Self {
        // One shard, as one ring is: with more, each has a part of the bytes.
        let mut options = OptionsBuilder::new();
        options.weight_capacity(BUDGET).estimated_items_capacity(2_000).shards(1);
        let options = options.build().expect("options");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self(quick_cache::sync::Cache::with_options(options, Weigh, hasher, lifecycle))
    }
}

impl Tier for Quick {
    async fn read(&mut self, asked: &Asked) -> bool {
        let key = (asked.tenant, asked.params.clone());
        let hit = self.0.get(&key).is_some();
        if !hit {
            self.0.insert(key, asked.body());
        }
        hit
    }
}

/// Drops what was used longest ago.
#[derive(Default)]
struct Lru {
    used: HashMap<(usize, String), u64>,
    order: BTreeMap<u64, (usize, String)>,
    bytes: u64,
    clock: u64,
}

impl Tier for Lru {
    async fn read(&mut self, asked: &Asked) -> bool {
        let key = (asked.tenant, asked.params.clone());
        self.clock += 1;
        let before = self.used.insert(key.clone(), self.clock);
        if let Some(before) = before {
            self.order.remove(&before);
        } else {
            self.bytes += weight(&asked.params, asked.body());
        }
        self.order.insert(self.clock, key);
        while self.bytes > BUDGET {
            let Some((_, key)) = self.order.pop_first() else { break };
            self.used.remove(&key);
            self.bytes -= weight(&key.1, body(&key.1));
        }
        before.is_some()
    }
}

/// Median, least and most of some figures.
fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

async fn zipf(exponent: f64, crowds: bool) {
    let (mut ours, mut quick, mut lru) = (Vec::new(), Vec::new(), Vec::new());
    for seed in SEEDS {
        let trace = trace(exponent, crowds, seed);
        ours.push(ratio(Ours::new(), &trace).await);
        quick.push(ratio(Quick::new(), &trace).await);
        lru.push(ratio(Lru::default(), &trace).await);
    }
    let ((own, least, most), (quick, ..), (lru, ..)) = (spread(ours), spread(quick), spread(lru));
    let among = if crowds { ", a third of all reads of keys that come once" } else { "" };
    println!(
        "| hit ratio, Zipf {exponent}{among}: memory tier; quick_cache; LRU | {own:.1} %; {quick:.1} %; {lru:.1} % | \
         {least:.1} to {most:.1} | ≥ quick_cache − {TARGET:.0} points | {} |",
        verdict(own >= quick - TARGET)
    );
}

/// What a flood takes from small tenants, in points of their hit ratio.
async fn taken<T: Tier>(new: impl Fn() -> T, repeats: usize) -> (f64, f64, f64) {
    let mut taken = Vec::new();
    for seed in SEEDS {
        let (alone, flooded) = (beside(None, seed), beside(Some(repeats), seed));
        taken.push(ratio(new(), &alone).await - ratio(new(), &flooded).await);
    }
    spread(taken)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for exponent in EXPONENTS {
        for crowds in [false, true] {
            zipf(exponent, crowds).await;
        }
    }
    for repeats in REPEATS {
        let (own, least, most) = taken(Ours::new, repeats).await;
        let ((quick, ..), (lru, ..)) = (taken(Quick::new, repeats).await, taken(Lru::default, repeats).await);
        println!(
            "| hit ratio that a flood takes from {} tenants below their share, ten reads for each of theirs, each key {repeats} \
             times: memory tier; quick_cache; LRU | {own:.1} points; {quick:.1}; {lru:.1} | {least:.1} to {most:.1} | ≤ \
             {FLOOD_TARGET} points | {} |",
            SMALL.0,
            verdict(own <= FLOOD_TARGET)
        );
    }
}
