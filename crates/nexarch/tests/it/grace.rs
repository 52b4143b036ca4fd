//! What is served in place of a computation that fails or takes long: a value that has expired, never one that was made old.

use std::time::Duration;

use crate::support::{
    client::{Body, Client, Reply},
    encode::native,
    inside::Inside,
    spans::call,
    wait,
};

const SERVICES: &str = "/api/v1/dashboard/services";

/// The first answer that is no fresh value of the cache, asking on and on.
fn when_expired(client: &Client) -> Reply {
    wait::until("the end of its time", || {
        let reply = client.get(SERVICES);
        let status = reply.header("Cache-Status");
        let fresh = status.contains("; hit; ") && !status.contains("ttl=-");
        (!fresh).then_some(reply)
    })
}

fn age(reply: &Reply) -> u64 {
    reply.header("Age").parse().unwrap()
}

#[test]
fn an_expired_value_stands_in_for_a_failed_computation_for_one_ttl_more() {
    let server = Inside::start(&[("CACHE_TTL_SECONDS", "5")]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    let first = client.get(SERVICES).expect(200);
    server.gate.break_snapshots(true);
    let stale = when_expired(&client).expect(200);
    let told = stale.header("Cache-Status");
    assert!(told.starts_with("nexarch; fwd=stale; ttl=-"), "{told}");
    assert_eq!((stale.header("ETag"), stale.json()), (first.header("ETag"), first.json()));
    // A tenth of its time may have been taken by chance; a time to live and a grace are the most.
    assert!((4..=10).contains(&age(&stale)), "{}", age(&stale));
    let stats = client.get("/api/v1/cache/stats").ok();
    let services = &stats["operations"]["services"];
    assert!(services["stale"].as_u64() >= Some(1) && services["errors"].as_u64() >= Some(1), "{services}");
    let fresh = client.get_with(SERVICES, &[("Cache-Control", "no-cache")]);
    assert_eq!(fresh.status, 503, "who asks for a computation gets its error");
    let end = wait::until("the end of the grace", || {
        let reply = client.get(SERVICES);
        (reply.status != 200).then_some(reply)
    });
    assert_eq!(end.status, 503);
}

/// It is there, its time is not even over, and it is not served: an error is better than what was made old.
#[test]
fn what_was_made_old_stands_in_for_nothing() {
    let server = Inside::start(&[]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    let changes: [(&str, &dyn Fn()); 2] = [
        ("an invalidation", &|| {
            client.send("DELETE", "/api/v1/cache/invalidate/services", &[], &Body::None).expect(200);
        }),
        ("new data", &|| drop(client.batch(&native(&call(2))).expect(202))),
    ];
    for (what, change) in changes {
        server.gate.break_snapshots(false);
        client.get(SERVICES).expect(200);
        server.gate.break_snapshots(true);
        assert!(client.get(SERVICES).expect(200).header("Cache-Status").contains("hit"), "{what}");
        change();
        assert_eq!(client.get(SERVICES).status, 503, "{what}");
    }
}

#[test]
fn an_expired_value_is_served_when_the_computation_takes_long_which_goes_on() {
    let server = Inside::start(&[("CACHE_TTL_SECONDS", "4")]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    let first = client.get(SERVICES).expect(200);
    server.gate.close();
    let (stale, took) = wait::timed(|| when_expired(&client).expect(200));
    let status = stale.header("Cache-Status");
    assert!(status.starts_with("nexarch; hit; detail=memory; ttl=-"), "{status}");
    assert_eq!(stale.header("ETag"), first.header("ETag"));
    assert!((3..=8).contains(&age(&stale)), "{}", age(&stale));
    assert!(took >= Duration::from_secs(1), "it was waited for: {took:?}");
    server.gate.pass(1_000);
    let status = wait::until("the computation that went on", || {
        let reply = client.get(SERVICES).expect(200);
        let status = reply.header("Cache-Status").to_owned();
        (!status.contains("ttl=-")).then_some(status)
    });
    // Who comes just before its end waits for it with the others; nobody begins another one.
    let of_it = ["nexarch; hit; detail=memory; ttl=", "nexarch; fwd=miss; collapsed"];
    assert!(of_it.iter().any(|word| status.starts_with(word)), "{status}");
}
