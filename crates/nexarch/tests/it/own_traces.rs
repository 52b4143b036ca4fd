//! The server's own traces: they arrive in another server, whose map shows what this one asks; and a server that is pointed at
//! itself comes to rest.

use nexarch_testkit::{FaultProxy, RedisServer};

use crate::support::{
    client::{Body, Client},
    encode::native,
    figures::{self, Figures},
    home::Home,
    map::Map,
    server::Server,
    spans::call,
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";
/// How often spans are sent, in milliseconds.
const EVERY: &str = "100";

fn traced(home: &Home, endpoint: &str, key: &str, more: &[(&str, &str)]) -> Server {
    let headers = format!("X-API-Key={key}");
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", EVERY),
        ("METRICS_ADDR", "127.0.0.1:0"),
    ];
    home.serve_with(&[&settings, more].concat())
}

#[test]
fn another_server_sees_what_this_one_asks_and_nothing_of_its_tenants() {
    let (here, there, redis) = (Home::new(), Home::new(), RedisServer::start());
    let mut collector = there.serve();
    let key = collector.first_key();
    let url = format!("redis://{}", redis.address());
    let mut server = traced(&here, collector.base(), &key, &[("REDIS_URL", &url)]);
    let client = server.first_client();
    wait::until("Redis", || (client.get("/api/v1/cache/health").ok()["status"] == "connected").then_some(()));
    client.batch(&native(&call(1))).expect(202);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    client.get_with(OVERVIEW, &[("traceparent", parent)]).expect(200);
    client.get("/api/v1/dashboard/services/a-secret-name").expect(404);

    let reader = collector.client(&key);
    let map = wait::until("the map", || {
        reader.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
        let map = Map::read(&reader);
        let others: Vec<_> = map.others().into_iter().map(|(_, name)| name).collect();
        let has = |name: &str| others.iter().any(|other| other.contains(name));
        (map.services().contains("nexarch") && has("sqlite") && has("redis")).then_some(map)
    });
    assert_eq!(map.services().into_iter().collect::<Vec<_>>(), ["nexarch"]);
    let trace = wait::until("the trace that the request brought", || {
        let reply = reader.get("/api/v1/traces/4bf92f3577b34da6a3ce929d0e0e4736");
        (reply.status == 200).then(|| String::from_utf8(reply.body).unwrap())
    });
    for part in ["GET /api/v1/dashboard/overview", "compute", "sqlite", "cached read"] {
        assert!(trace.contains(part), "no {part}: {trace}");
    }
    let found = wait::until("the trace of the other read", || {
        let found = reader.get("/api/v1/traces?service=nexarch&limit=100").expect(200);
        let found = String::from_utf8(found.body).unwrap();
        found.contains("GET /api/v1/dashboard/services/{name}").then_some(found)
    });
    let all = found + &trace;
    assert!(!all.contains("a-secret-name") && !all.contains("default") && !all.contains("nex_"), "{all}");
}

#[test]
fn a_server_that_sends_to_itself_comes_to_rest() {
    let home = Home::new();
    let key = home.tenant("own");
    // It has an address before the server has one.
    let proxy = FaultProxy::start("127.0.0.1:9");
    let mut server = traced(&home, &format!("http://{}", proxy.address()), &key, &[]);
    proxy.redirect(server.base().trim_start_matches("http://"));
    let (door, client) = (figures::door(&mut server), server.client(&key));
    for _ in 0..20 {
        client.get(OVERVIEW).expect(200);
    }
    let stored = |door: &Client| {
        let figures = Figures::read(door);
        let beats = r#"nexarch_database_operation_duration_seconds_count{operation="changed_by_others"}"#;
        (figures.sum("nexarch_ingest_spans_total{"), figures.of(beats))
    };
    let (mut last, mut since) = wait::until("its own spans", || {
        let (spans, beats) = stored(&door);
        (spans >= 20.0).then_some((spans, beats))
    });
    // Four beats a second: at rest for three seconds, in which spans would have been sent thirty times.
    wait::until("rest", || {
        let (spans, beats) = stored(&door);
        if spans > last {
            (last, since) = (spans, beats);
        }
        (beats - since >= 12.0).then_some(())
    });
    assert!(last < 400.0, "{last} spans of 20 requests");
    // What is sent by others is traced.
    client.batch(&native(&call(7))).expect(202);
    wait::until("the trace of an ingest", || (stored(&door).0 >= last + 5.0).then_some(()));
}
