//! The figures of `cache/stats`: each moves with what it measures, and a script gives exactly what is predicted.

use std::{collections::BTreeMap, time::Duration};

use nexarch_testkit::{FaultProxy, RedisServer};
use serde_json::Value;

use crate::support::{
    client::{Body, Client},
    encode::native,
    home::Home,
    inside::Inside,
    routes::{CACHED, SAME},
    spans::call,
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";
const SLOW: Duration = Duration::from_millis(80);

fn stats(client: &Client) -> Value {
    client.get("/api/v1/cache/stats").ok()
}

fn number(stats: &Value, pointer: &str) -> f64 {
    stats.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {stats}"))
}

fn count(stats: &Value, pointer: &str) -> u64 {
    stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {stats}"))
}

/// Values as JSON pointers of the overview's figures.
fn overview(field: &str) -> String {
    format!("/operations/dashboard_overview/{field}")
}

fn fresh(client: &Client) {
    client.get_with(OVERVIEW, &[("Cache-Control", "no-cache")]).expect(200);
}

#[test]
fn a_slow_computation_is_seen_in_what_it_costs_and_saves() {
    let server = Inside::start(&[]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    (0..5).for_each(|_| fresh(&client));
    (0..20).for_each(|_| drop(client.get(OVERVIEW).expect(200)));
    let quick = stats(&client);
    // Far slower than the slowest so far, on a busy machine too.
    let delay = SLOW + Duration::from_secs_f64(number(&quick, &overview("compute_ms/p99")) / 1e3) * 2;
    let delay_ms = delay.as_secs_f64() * 1e3;
    server.gate.slow(delay);
    (0..15).for_each(|_| fresh(&client));
    server.gate.slow(Duration::ZERO);
    let slow = stats(&client);
    // Buckets are an eighth wide.
    for quantile in ["compute_ms/p50", "compute_ms/p99"] {
        let now = number(&slow, &overview(quantile));
        assert!(now > delay_ms * 0.85, "{quantile}: {now}");
    }
    let figure = overview("reduction_percent");
    assert!(number(&slow, &figure) > number(&quick, &figure), "{slow}");
    // A hit is as quick as before, and saves more.
    assert!(number(&slow, &overview("hit_ms/p50")) < delay_ms / 2.0, "{slow}");
    (0..10).for_each(|_| drop(client.get(OVERVIEW).expect(200)));
    let later = stats(&client);
    let saved = number(&later, "/totals/time_saved_ms") - number(&slow, "/totals/time_saved_ms");
    assert!(saved > 10.0 * delay_ms * 0.5, "ten hits saved {saved} ms");
    // Other operations did not move.
    assert!(number(&later, "/operations/metrics/compute_ms/p50") < f64::EPSILON);
}

#[test]
fn a_database_that_is_away_is_seen_in_errors_and_readiness_and_costs_no_hit() {
    let server = Inside::start(&[]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    client.get(OVERVIEW).expect(200);
    let before = stats(&client);
    assert_eq!(count(&before, &overview("errors")), 0);
    server.gate.away(true);
    wait::until("not to be ready", || (client.get("/api/v1/health/ready").status == 503).then_some(()));
    let not_ready = client.get("/api/v1/health/ready").expect(503).json();
    assert_ne!(not_ready["database"], "ok", "{not_ready}");
    let refused = client.get_with(OVERVIEW, &[("Cache-Control", "no-cache")]).expect(503);
    assert!(!refused.header("Retry-After").is_empty(), "{refused:?}");
    // The cache itself is well, and says so.
    assert_eq!(client.get("/api/v1/cache/health").ok()["healthy"], true);
    server.gate.away(false);
    wait::until("to be ready again", || (client.get("/api/v1/health/ready").status == 200).then_some(()));
    client.get(OVERVIEW).expect(200);
    let after = stats(&client);
    let requests = count(&after, &overview("requests")) - count(&before, &overview("requests"));
    assert_eq!(requests, 1, "one that failed is no answered read: {after}");
}

#[test]
fn a_computation_that_fails_is_an_error_of_its_operation() {
    let server = Inside::start(&[]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    // Known versions are enough to begin: it is the snapshot that fails.
    client.get(OVERVIEW).expect(200);
    let before = stats(&client);
    server.gate.break_snapshots(true);
    for _ in 0..3 {
        client.get_with(OVERVIEW, &[("Cache-Control", "no-cache")]).expect(503);
    }
    // Whoever does not insist is served what is held.
    client.get(OVERVIEW).expect(200);
    server.gate.break_snapshots(false);
    let after = stats(&client);
    for (field, more) in [("errors", 3), ("hits_memory", 1)] {
        let field = overview(field);
        assert_eq!(count(&after, &field) - count(&before, &field), more, "{field}: {after}");
    }
    assert_eq!(count(&after, "/operations/metrics/errors"), 0);
}

/// That there is no such service is an answer: it is no failure, and needs no computation each time.
#[test]
fn what_does_not_exist_is_answered_from_the_cache_until_it_does() {
    let server = Inside::start(&[]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    for route in ["/api/v1/dashboard/services/typo", "/api/v1/dashboard/services/typo/metrics"] {
        let before = stats(&client);
        let mut replies: Vec<_> = (0..3).map(|_| client.get(route).expect(404)).collect();
        let version = client.get(OVERVIEW).version();
        for (nth, reply) in replies.iter().enumerate() {
            let how = if nth == 0 {
                "nexarch; fwd=miss; stored; ttl="
            } else {
                "nexarch; hit; detail=memory; ttl="
            };
            assert!(reply.header("Cache-Status").starts_with(how), "{reply:?}");
            assert!(!reply.header("Age").is_empty() && reply.header("ETag").is_empty(), "{reply:?}");
            assert_eq!((reply.version(), reply.header("Cache-Control")), (version, "private, no-cache"));
        }
        let told: Vec<_> = replies.drain(..).map(|reply| reply.json()).collect();
        assert!(told[0]["detail"].as_str().is_some_and(|detail| detail.contains("\"typo\"")), "{told:?}");
        assert!(told.iter().all(|answer| *answer == told[0]), "{told:?}");
        let after = stats(&client);
        for (field, more) in [("errors", 0), ("misses", 1), ("hits_memory", 2)] {
            let field = format!("/operations/service_detail/{field}");
            assert_eq!(count(&after, &field) - count(&before, &field), more, "{route}, {field}: {after}");
        }
    }
    // Nothing is warmed that is not there, and nobody has it open.
    let renamed = |mut span: serde_json::Value| {
        span["service_name"] = "typo".into();
        span["span_id"] = "00000000000000aa".into();
        span
    };
    let spans: Vec<_> = native(&call(2)).as_array().unwrap().iter().take(1).cloned().map(renamed).collect();
    client.batch(&spans.into()).expect(202);
    client.get("/api/v1/dashboard/services/typo").expect(200);
}

#[test]
fn redis_cut_slow_and_back_is_seen_in_its_figures() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let home = Home::new();
    let mut server = home.serve_with(&[("REDIS_URL", &format!("redis://{}", proxy.address()))]);
    let client = server.first_client();
    let until = |backend: &str, status: &str| {
        wait::until(&format!("{backend}, {status}"), || {
            let stats = stats(&client);
            (stats["backend"] == backend && stats["status"] == status).then_some(stats)
        })
    };
    let up = until("redis", "connected");
    assert_eq!((&up["redis"]["breaker"], &up["redis"]["coherence"]), (&"closed".into(), &"pubsub".into()));
    client.batch(&native(&call(1))).expect(202);
    proxy.refuse();
    let down = until("memory", "degraded");
    assert_ne!(down["redis"]["breaker"], "closed", "{down}");
    assert_ne!(down["redis"]["coherence"], "pubsub", "{down}");
    assert!(down["since"].as_str() > up["since"].as_str(), "{down}");
    // Reads go on, from memory.
    client.get(OVERVIEW).expect(200);
    client.get(OVERVIEW).expect(200);
    assert_eq!(count(&stats(&client), &overview("hits_memory")), 1);
    proxy.pass();
    let back = until("redis", "connected");
    assert!(number(&back, "/redis/reconnects") > number(&up, "/redis/reconnects"), "{back}");
    // A slow network.
    let quick = number(&back, "/redis/round_trip_ms/p99");
    proxy.delay(Duration::from_millis(30));
    wait::until("a slow round trip", || {
        client.get_with(OVERVIEW, &[("Cache-Control", "no-cache")]).expect(200);
        client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
        client.get(OVERVIEW).expect(200);
        (number(&stats(&client), "/redis/round_trip_ms/p99") > quick.max(20.0)).then_some(())
    });
}

/// Nobody reads it, and there is no Redis: what has died leaves memory all the same.
#[test]
fn what_has_died_is_dropped_without_a_read() {
    let home = Home::new();
    let mut server = home.serve_with(&[("CACHE_TTL_SECONDS_DASHBOARD_OVERVIEW", "3")]);
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    client.get(OVERVIEW).expect(200);
    let held = || count(&stats(&client), "/memory/entries");
    assert_eq!(held(), 1);
    wait::until("an empty memory", || (held() == 0).then_some(()));
}

#[test]
fn what_is_held_is_counted_and_what_has_no_room_is_evicted() {
    let home = Home::new();
    let mut server = home.serve_with(&[("CACHE_MAX_MEMORY_MB", "1")]);
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    let empty = stats(&client);
    assert_eq!((count(&empty, "/memory/entries"), count(&empty, "/memory/bytes")), (0, 0));
    client.get(OVERVIEW).expect(200);
    let one = stats(&client);
    assert_eq!((count(&one, "/memory/entries"), count(&one, &overview("entries"))), (1, 1));
    assert_eq!(count(&one, "/memory/bytes"), count(&one, &overview("bytes")));
    client.get("/api/v1/dashboard/trends").expect(200);
    let two = stats(&client);
    assert_eq!((count(&two, "/memory/entries"), count(&two, &overview("entries"))), (2, 1));
    assert!(number(&two, "/memory/bytes") > number(&one, "/memory/bytes"));
    assert_eq!(count(&two, "/memory/evictions"), 0);
    let mut nth = 0;
    wait::until("an eviction", || {
        nth += 1;
        client.get(&format!("/api/v1/architecture/export?format=html&environment=e{nth}")).expect(200);
        let now = stats(&client);
        assert!(number(&now, "/memory/bytes") <= number(&now, "/memory/max_bytes"), "{now}");
        (number(&now, "/memory/evictions") > 0.0).then_some(())
    });
}

/// What one operation has to say, as this test predicts it.
#[derive(Debug, Default, Clone, PartialEq)]
struct Predicted {
    requests: u64,
    hits_memory: u64,
    misses: u64,
    invalidations: u64,
    cause: Option<&'static str>,
}

/// A model of one node: which routes hold a value that may be served.
#[derive(Default)]
struct Model {
    held: BTreeMap<&'static str, bool>,
    operations: BTreeMap<&'static str, Predicted>,
}

impl Model {
    fn read(&mut self, route: &'static str, operation: &'static str) {
        let held = self.held.entry(if route == SAME[1] { SAME[0] } else { route }).or_default();
        let counts = self.operations.entry(operation).or_default();
        counts.requests += 1;
        *(if *held { &mut counts.hits_memory } else { &mut counts.misses }) += 1;
        *held = true;
    }

    fn make_old(&mut self, operations: &[&'static str], cause: &'static str) {
        for operation in operations {
            let counts = self.operations.entry(operation).or_default();
            counts.invalidations += 1;
            counts.cause = Some(cause);
        }
        for cached in CACHED.iter().filter(|cached| operations.contains(&cached.operation)) {
            self.held.insert(cached.path, false);
        }
    }

    /// Not a request; of what has no default, nothing is computed but the busiest services.
    fn warm(&mut self, operation: &str) {
        let by_default = |path: &str| !path.contains("base=");
        for cached in CACHED.iter().filter(|cached| cached.operation == operation && by_default(cached.path))
        {
            self.held.insert(cached.path, true);
        }
    }
}

/// Two hundred steps in an order that nobody chose.
#[test]
fn a_script_gives_exactly_the_predicted_statistics() {
    let model = wait::attempts("a script without a pause", script);
    let all: u64 = model.operations.values().map(|one| one.hits_memory).sum();
    assert!(all > 30, "a script of nothing but misses shows little: {:?}", model.operations);
}

/// The script on a new server; nothing when a step took so long that the server may have computed something ahead.
fn script() -> Option<Model> {
    const NAMES: [&str; 6] =
        ["architecture_map", "dashboard_overview", "graph_analysis", "metrics", "service_detail", "services"];
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut model = Model::default();
    client.batch(&native(&call(1))).expect(202);
    model.make_old(&NAMES, "ingest");
    let mut changed = wait::now_ns();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut choose = |among: usize| {
        // xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled".
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % among
    };
    for step in 0_u32..200 {
        let operation = NAMES[choose(NAMES.len())];
        let choice = choose(20);
        // What people have open is computed again after a second without changes: no step may come so late.
        let late = wait::now_ns() - changed > 400_000_000;
        let choice = if late { 0 } else { choice };
        if choice < 4 {
            changed = wait::now_ns();
        }
        match choice {
            0 => {
                client.batch(&native(&call(u128::from(step) + 2))).expect(202);
                model.make_old(&NAMES, "ingest");
            }
            1 => {
                let path = format!("/api/v1/cache/invalidate/{operation}");
                client.send("DELETE", &path, &[], &Body::None).expect(200);
                model.make_old(&[operation], "manual");
            }
            2 => {
                client.send("DELETE", "/api/v1/cache/invalidate?pattern=s*", &[], &Body::None).expect(200);
                model.make_old(&["service_detail", "services"], "manual");
            }
            3 if step % 3 == 0 => {
                client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
                model.make_old(&NAMES, "manual");
            }
            4 | 5 => {
                client.send("POST", &format!("/api/v1/cache/warm/{operation}"), &[], &Body::None).expect(200);
                model.warm(operation);
            }
            _ => {
                let cached = &CACHED[choose(CACHED.len())];
                client.get(cached.path).expect(200);
                model.read(cached.path, cached.operation);
            }
        }
        if wait::now_ns() - changed > 900_000_000 {
            return None;
        }
        if step % 10 == 9 {
            compare(&model, &stats(&client), step);
        }
    }
    Some(model)
}

fn compare(model: &Model, stats: &Value, step: u32) {
    let mut sum = (0, 0, 0);
    for (name, predicted) in &model.operations {
        let found = &stats["operations"][name];
        let count = |field: &str| found[field].as_u64().unwrap_or_else(|| panic!("{field} in {found}"));
        let seen = Predicted {
            requests: count("requests"),
            hits_memory: count("hits_memory"),
            misses: count("misses"),
            invalidations: count("invalidations"),
            cause: predicted.cause.filter(|cause| found["last_invalidated"]["cause"] == *cause),
        };
        assert_eq!(&seen, predicted, "step {step}, {name}: {found}");
        for none in ["hits_redis", "collapsed", "stale", "errors"] {
            assert_eq!(count(none), 0, "step {step}, {name}: {none}");
        }
        sum = (sum.0 + seen.requests, sum.1 + seen.hits_memory, sum.2 + seen.misses);
        let float = |count: u64| f64::from(u32::try_from(count).unwrap());
        let ratio = if seen.requests == 0 { 0.0 } else { float(seen.hits_memory) / float(seen.requests) };
        assert!((found["hit_ratio"].as_f64().unwrap() - ratio).abs() < 1e-9, "step {step}, {name}: {found}");
    }
    let totals = &stats["totals"];
    let found = ["requests", "hits", "misses"].map(|field| totals[field].as_u64().unwrap());
    assert_eq!((found[0], found[1], found[2]), sum, "step {step}: {totals}");
}
