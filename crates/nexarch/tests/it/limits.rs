//! Rate limits: per tenant, told in the words of each protocol, and never in the way of a health check.

use serde_json::json;

use crate::support::{
    client::{Client, Reply},
    encode::{native, otlp_protobuf},
    fields::{self, Bare, number},
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
        let problem = reply.json();
        assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
        assert_eq!(problem["violated-policies"], json!(["requests"]));
        assert!((1..=12).contains(&reply.header("Retry-After").parse::<u64>().unwrap()), "{reply:?}");
        assert!(reply.json()["detail"].as_str().unwrap().contains("5 requests per minute"));
    }
    server.client(&calm).get("/api/v1/dashboard/overview").expect(200);
    // What a key may not do counts as well.
    let sender = server.client(&home.key("calm", "ingest"));
    let first = sender.get("/api/v1/dashboard/overview").expect(403);
    let (name, remaining, _) = left(&first).remove(0);
    // One was asked for above; another one may have come back meanwhile.
    assert!(name == "requests" && (3..=4).contains(&remaining), "it is told like any other: {first:?}");
    let forbidden: Vec<u16> = (0..12).map(|_| sender.get("/api/v1/dashboard/overview").status).collect();
    assert!(forbidden.starts_with(&[403]) && forbidden.contains(&429), "{forbidden:?}");
    for _ in 0..12 {
        for path in ["/api/v1/health", "/api/v1/health/ready", "/api/v1/cache/health"] {
            client.get(path).expect(200);
        }
    }
}

#[test]
fn batches_over_the_limit_of_requests_are_counted_for_their_tenant() {
    let home = Home::new();
    let key = home.tenant("acme");
    let server = home.serve_with(&[("RATE_LIMIT_REQUESTS_PER_MINUTE", "60")]);
    let client = server.client(&key);
    let statuses: Vec<u16> = (1..=100).map(|nth| client.batch(&native(&call(nth))).status).collect();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!(refused > 0, "{statuses:?}");
    let told = wait::until("another request", || {
        let reply = client.get("/api/v1/ingest/diagnostics");
        (reply.status == 200).then(|| reply.json())
    });
    // Requests that bring nothing are none of them.
    assert_eq!(told["limits"]["refused_rate"], refused, "{told}");
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

/// `RateLimit-Policy` as (name, quota, window, unit).
fn policies(reply: &Reply) -> Vec<(String, i64, i64, Option<String>)> {
    let one = |(name, parameters): (String, fields::Parameters)| {
        let unit = match parameters.get("qu") {
            None => None,
            Some(Bare::Text(unit)) => Some(unit.clone()),
            Some(other) => panic!("{other:?}"),
        };
        (name, number(&parameters, "q"), number(&parameters, "w"), unit)
    };
    fields::list(reply.header("RateLimit-Policy")).into_iter().map(one).collect()
}

/// `RateLimit` as (name, left, seconds).
fn left(reply: &Reply) -> Vec<(String, i64, i64)> {
    let one = |(name, parameters): (String, fields::Parameters)| {
        (name, number(&parameters, "r"), number(&parameters, "t"))
    };
    fields::list(reply.header("RateLimit")).into_iter().map(one).collect()
}

#[test]
fn answers_say_how_a_limited_tenant_stands() {
    let home = Home::new();
    let key = home.tenant("acme");
    let settings = [
        ("RATE_LIMIT_REQUESTS_PER_MINUTE", "60"),
        ("RATE_LIMIT_SPANS_PER_SECOND", "2"),
        ("QUOTA_SPANS_PER_DAY", "1000"),
    ];
    let server = home.serve_with(&settings);
    let client = server.client(&key);
    let requests = || ("requests".to_owned(), 60, 60, None);
    let unit = Some("spans".to_owned());
    let spans = [("spans".to_owned(), 2, 1, unit.clone()), ("daily-spans".to_owned(), 1_000, 86_400, unit)];

    let first = client.get("/api/v1/dashboard/overview").expect(200);
    assert_eq!((policies(&first), left(&first)), (vec![requests()], vec![("requests".to_owned(), 59, 59)]));
    let etag = first.header("ETag").to_owned();
    let second = client.get_with("/api/v1/dashboard/overview", &[("If-None-Match", &etag)]).expect(304);
    let (name, remaining, seconds) = left(&second).remove(0);
    assert!(name == "requests" && (58..=59).contains(&remaining) && seconds == remaining, "{second:?}");
    // An error of the caller's making is counted and told like any other answer; who is not known is told nothing.
    assert_eq!(left(&client.get("/api/v1/cache/stats?x=1").expect(400)).len(), 1);
    for reply in
        [server.stranger().get("/api/v1/cache/stats"), client.get("/api/v1/health"), client.get("/x")]
    {
        assert_eq!((reply.header("RateLimit"), reply.header("RateLimit-Policy")), ("", ""), "{reply:?}");
    }

    // Ingest has all of them, and a batch may go into debt.
    let batch = client.batch(&native(&many(1, 20))).expect(202);
    let expected: Vec<_> = std::iter::once(requests()).chain(spans.clone()).collect();
    assert_eq!(policies(&batch), expected);
    let (name, remaining, seconds) = left(&batch).remove(1);
    assert!(name == "spans" && remaining == 0 && (8..=10).contains(&seconds), "{batch:?}");
    // A refusal tells of the limit that it is for, and nothing that contradicts `Retry-After`.
    for reply in [client.batch(&native(&call(2))), client.otlp_protobuf(&otlp_protobuf(&call(2)))] {
        let reply = reply.expect(429);
        let wait: i64 = reply.header("Retry-After").parse().unwrap();
        assert_eq!(left(&reply), [("spans".to_owned(), 0, wait)]);
        assert_eq!(policies(&reply), expected);
    }
    let grpc = Grpc::connect(server.base().trim_start_matches("http://"), &key);
    let refused = grpc.export(&otlp_protobuf(&call(2))).expect(14);
    assert!(!refused.headers.contains_key("ratelimit") && refused.says_when_to_retry(), "{refused:?}");
}

#[test]
fn a_used_up_quota_is_told_with_what_is_left_and_until_when() {
    let home = Home::new();
    let key = home.tenant("acme");
    let server = home.serve_with(&[("QUOTA_SPANS_PER_DAY", "10")]);
    let client = server.client(&key);
    let stats = || client.get("/api/v1/ingest/stats").ok()["today"].clone();
    let before = stats();
    client.batch(&native(&many(1, 7))).expect(202);
    let after = stats();
    // Unless a UTC day ends just here.
    if before["resets_at"] == after["resets_at"] {
        assert_eq!((&after["spans"], &after["quota"], &after["left"]), (&json!(7), &json!(10), &json!(3)));
    }
    let reply = client.batch(&native(&many(2, 4))).expect(429);
    let wait: i64 = reply.header("Retry-After").parse().unwrap();
    assert!((1..=86_400).contains(&wait));
    assert_eq!(left(&reply), [("daily-spans".to_owned(), 3, wait)]);
    assert_eq!(policies(&reply), [("daily-spans".to_owned(), 10, 86_400, Some("spans".to_owned()))]);
    assert_eq!(reply.json()["violated-policies"], json!(["daily-spans"]));
    let end = after["resets_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let told = i128::from(wait::now_ns() / 1_000_000_000) + i128::from(wait);
    assert!((i128::from(end.as_second()) - told).abs() <= 60, "{after} and {wait}");
}

#[test]
fn without_limits_nothing_is_told_of_them() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    for reply in [client.get("/api/v1/dashboard/overview"), client.batch(&native(&call(1)))] {
        assert_eq!((reply.header("RateLimit"), reply.header("RateLimit-Policy")), ("", ""), "{reply:?}");
    }
}
