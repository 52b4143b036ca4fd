//! Rate limits: per tenant, told in the words of each protocol, and never in the way of a health check.

use serde_json::json;

use crate::support::{
    client::Client,
    encode::{native, otlp_protobuf},
    grpc::Grpc,
    home::Home,
    spans::{call, many},
    wait,
};

#[test]
fn a_tenant_over_its_requests_is_told_when_to_come_back_and_others_are_not() {
    let home = Home::new();
    let (busy, calm) = (home.tenant("busy"), home.tenant("calm"));
    let server = home.serve_with(&[("RATE_LIMIT_REQUESTS_PER_MINUTE", "5")]);
    let client = server.client(&busy);
    let answers: Vec<_> = (0..12).map(|_| client.get("/api/v1/dashboard/overview")).collect();
    let refused: Vec<_> = answers.iter().filter(|reply| reply.status == 429).collect();
    // Some may pass while the bucket fills up again: one in 12 s.
    assert!(refused.len() >= 3 && answers.iter().take(5).all(|reply| reply.status == 200), "{answers:?}");
    for reply in refused {
        assert_eq!(reply.header("Content-Type"), "application/problem+json");
        assert!((1..=12).contains(&reply.header("Retry-After").parse::<u64>().unwrap()), "{reply:?}");
        assert!(reply.json()["detail"].as_str().unwrap().contains("5 requests per minute"));
    }
    server.client(&calm).get("/api/v1/dashboard/overview").expect(200);
    for _ in 0..12 {
        for path in ["/api/v1/health", "/api/v1/health/ready", "/api/v1/cache/health"] {
            client.get(path).expect(200);
        }
    }
}

#[test]
fn spans_over_the_rate_are_refused_by_every_way_in_and_nothing_of_them_is_kept() {
    let home = Home::new();
    let key = home.tenant("acme");
    // Three tokens a second: each way in is tried while the debt of the first batch stands.
    let server = home.serve_with(&[("RATE_LIMIT_SPANS_PER_SECOND", "3")]);
    let client = server.client(&key);
    client.otlp_protobuf(&otlp_protobuf(&many(1, 900))).expect(200);
    let refused = [
        client.otlp_protobuf(&otlp_protobuf(&call(2))),
        client.otlp_json(&json!({})),
        client.batch(&native(&call(2))),
    ];
    for reply in refused {
        let reply = reply.expect(429);
        assert!((1..=300).contains(&reply.header("Retry-After").parse::<u64>().unwrap()), "{reply:?}");
    }
    let grpc = Grpc::connect(server.base().trim_start_matches("http://"), &key);
    let outcome = grpc.export(&otlp_protobuf(&call(2))).expect(14);
    assert!(outcome.says_when_to_retry(), "{outcome:?}");
    // Reading is not sending.
    assert_eq!(client.total_spans(), 900);
}

#[test]
fn a_tenant_that_waits_is_let_in_again() {
    let home = Home::new();
    let key = home.tenant("acme");
    let server = home.serve_with(&[("RATE_LIMIT_SPANS_PER_SECOND", "100")]);
    let client: Client = server.client(&key);
    client.batch(&native(&many(1, 150))).expect(202);
    wait::until("the end of the debt", || (client.batch(&native(&call(2))).status == 202).then_some(()));
    assert_eq!(client.total_spans(), 153);
}
