//! The caches of all tenants at a glance, and the Redis behind them.

use std::time::Duration;

use nexarch_testkit::{FaultProxy, RedisServer};
use serde_json::{Value, json};

use crate::support::{
    admin::{Admin, OPEN},
    encode::native,
    home::Home,
    server::Server,
    spans::call,
    wait,
};

const STATS: &str = "/api/v1/admin/cache/stats";
const OVERVIEW: &str = "/api/v1/dashboard/overview";

fn connected(server: &Server) {
    let client = server.stranger();
    let ask = || (client.get("/api/v1/cache/health").ok()["status"] == "connected").then_some(());
    wait::until("Redis", ask);
}

#[test]
fn all_tenants_of_the_node_are_listed_with_the_redis_behind_them() {
    let redis = RedisServer::builder().max_memory(64 << 20, "allkeys-lru").start();
    let url = format!("redis://{}", redis.address());
    let home = Home::new();
    let server = home.serve_with(&[OPEN, ("REDIS_URL", &url)]);
    let admin = Admin::of(&server);
    connected(&server);
    let keys = ["zoo", "acme", "mid"].map(|tenant| (tenant, admin.tenant(tenant)));
    for (nth, (_, key)) in keys.iter().enumerate() {
        let client = server.client(key);
        client.batch(&native(&call(1))).expect(202);
        for _ in 0..=nth {
            client.get(OVERVIEW).expect(200);
        }
    }
    redis.cli(&["SET", "anything", "else"]);
    // Figures may be a second old.
    let stats = wait::until("figures with the key", || {
        let stats = admin.get(STATS).ok();
        (stats["server"]["keyspace"]["databases"]["db0"]["keys"].as_u64() >= Some(4)).then_some(stats)
    });
    let of = |stats: &Value| -> Vec<(String, u64)> {
        let tenants = stats["tenants"].as_array().unwrap().iter();
        let one = |t: &Value| {
            (t["tenant_id"].as_str().unwrap().to_owned(), t["totals"]["requests"].as_u64().unwrap())
        };
        tenants.map(one).collect()
    };
    assert_eq!(of(&stats), [("acme".to_owned(), 2), ("mid".to_owned(), 3), ("zoo".to_owned(), 1)]);
    assert_eq!((&stats["tenant_count"], &stats["next_cursor"]), (&json!(3), &Value::Null));
    let page = admin.get(&format!("{STATS}?limit=2")).ok();
    assert_eq!((of(&page).len(), &page["next_cursor"], &page["tenant_count"]), (2, &json!("mid"), &json!(3)));
    let next = admin.get(&format!("{STATS}?limit=2&cursor=mid")).ok();
    assert_eq!((of(&next), &next["next_cursor"]), (vec![("zoo".to_owned(), 1)], &Value::Null));

    // The same as the tenant sees.
    let own = server.client(&keys[1].1).get("/api/v1/cache/stats").ok();
    assert_eq!(stats["tenants"][0]["operations"]["dashboard_overview"]["misses"], 1);
    assert_eq!(stats["tenants"][0]["memory"], own["memory"]);
    assert_eq!(own["share"]["memory_max_percent"], 50);
    assert!(own["share"]["memory_percent"].as_f64().is_some_and(|part| part > 0.0 && part < 1.0), "{own}");
    assert_eq!(own["share"]["redis_max_bytes"], 256 << 20);
    assert!(own["share"]["redis_bytes"].as_u64() > Some(0), "{own}");
    assert_eq!((&stats["backend"], &stats["status"]), (&json!("redis"), &json!("connected")));
    assert!(stats["memory"]["bytes"].as_u64() >= stats["tenants"][0]["memory"]["bytes"].as_u64());
    assert!(stats["remote"]["written"].as_u64() >= Some(3), "{stats}");

    let figures = &stats["server"];
    assert_eq!((&figures["reason"], &figures["mode"]), (&Value::Null, &json!("standalone")));
    assert_eq!(
        (&figures["memory"]["max_bytes"], &figures["memory"]["policy"]),
        (&json!(64 << 20), &json!("allkeys-lru"))
    );
    for (part, field) in [("memory", "used_bytes"), ("clients", "connected"), ("commands", "processed")] {
        assert!(figures[part][field].as_u64() > Some(0), "{part}.{field} in {figures}");
    }
}

#[test]
fn redis_is_asked_for_its_figures_once_a_second_at_most() {
    let redis = RedisServer::start();
    let url = format!("redis://{}", redis.address());
    let home = Home::new();
    let server = home.serve_with(&[OPEN, ("REDIS_URL", &url)]);
    let admin = Admin::of(&server);
    connected(&server);
    let asked = || {
        let stats = redis.cli(&["INFO", "commandstats"]);
        let calls =
            stats.lines().find_map(|line| line.strip_prefix("cmdstat_info:calls=")?.split(',').next());
        calls.map_or(0, |calls| calls.parse::<u64>().unwrap())
    };
    let before = asked();
    let ((), time) = wait::timed(|| (0..200).for_each(|_| drop(admin.get(STATS).ok())));
    // One more is that of the first count itself, and the second one is not counted yet.
    let calls = asked() - before;
    assert!((1..=time.as_secs() + 3).contains(&calls), "{calls} in {time:?}");
}

#[test]
fn figures_that_cannot_be_had_are_null_with_a_reason_and_cost_nobody_anything() {
    let home = Home::new();
    let server = home.serve_with(&[OPEN]);
    let stats = Admin::of(&server).get(STATS).ok();
    assert_eq!((&stats["server"]["reason"], &stats["server"]["memory"]), (&json!("none"), &Value::Null));
    assert_eq!((&stats["remote"], &stats["backend"]), (&Value::Null, &json!("memory")));

    let blocked = RedisServer::builder().without(&["INFO"]).start();
    let no_right = RedisServer::builder().user("user nexarch on >pass ~* &* +@all -info").start();
    for (url, reason) in [
        (format!("redis://{}", blocked.address()), "refused"),
        (format!("redis://nexarch:pass@{}", no_right.address()), "auth"),
    ] {
        let home = Home::new();
        let server = home.serve_with(&[OPEN, ("REDIS_URL", &url), ("REDIS_TIMEOUT_MS", "30000")]);
        connected(&server);
        for _ in 0..3 {
            let stats = Admin::of(&server).get(STATS).ok();
            assert_eq!(
                (&stats["server"]["reason"], &stats["server"]["keyspace"]),
                (&json!(reason), &Value::Null)
            );
        }
        connected(&server);
    }

    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let home = Home::new();
    let url = format!("redis://{}", proxy.address());
    let server = home.serve_with(&[OPEN, ("REDIS_URL", &url), ("REDIS_TIMEOUT_MS", "300")]);
    connected(&server);
    let admin = Admin::of(&server);
    wait::attempts("figures that are waited for briefly", || {
        proxy.freeze_all();
        // Until then, those of the last second.
        let (stats, time) = wait::until("a loss", || {
            let (stats, time) = wait::timed(|| admin.get(STATS).ok());
            (!stats["server"]["reason"].is_null()).then_some((stats, time))
        });
        let expected = (&json!("timeout"), &Value::Null);
        assert_eq!((&stats["server"]["reason"], &stats["server"]["clients"]), expected);
        wait::until("the breaker", || (admin.get(STATS).ok()["server"]["reason"] == "away").then_some(()));
        proxy.pass();
        wait::until("figures again", || admin.get(STATS).ok()["server"]["reason"].is_null().then_some(()));
        (time < Duration::from_secs(1)).then_some(())
    });
}
