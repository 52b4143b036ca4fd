//! Which attribute says what: new names and old, and what wins.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Facts, GenAiRole, MAX_FACT_BYTES, MAX_NEAR_LINKS, Messaging, RemoteKind, SAMPLING_KNOWN};
use crate::{
    ids::{SpanId, TraceId},
    otlp::{Rules, decode_json},
    span::{Attributes, Kind, Link, Resource, Span, Status, Value},
};

fn list(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().map(|(key, value)| ((*key).into(), Value::Str((*value).into()))).collect()
}

fn span(kind: Kind, attributes: Attributes) -> Span {
    let body = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"0000000000000000000000000000000a","spanId":"000000000000000b","name":"op",
         "startTimeUnixNano":"1000","endTimeUnixNano":"4000"}]}]}]}"#;
    let span = decode_json(&body.into(), &Rules::default()).unwrap().spans.remove(0);
    Span { kind, attributes, ..span }
}

fn client(pairs: &[(&str, &str)]) -> Facts {
    Facts::from(&span(Kind::Client, list(pairs)))
}

fn sent_by(pairs: &[(&str, &str)]) -> Facts {
    let resource = Arc::new(Resource { attributes: list(pairs) });
    Facts::from(&Span { resource, ..span(Kind::Server, Vec::new()) })
}

#[test]
fn what_the_span_itself_says() {
    let mut span = span(Kind::Consumer, Vec::new());
    span.flags = 0x301;
    span.status = Status::Error;
    span.trace_state = "ot=th:c".into();
    let facts = Facts::from(&span);
    assert_eq!((facts.kind, facts.error, facts.remote), (Kind::Consumer, true, 0b11 | SAMPLING_KNOWN));
    assert_eq!((facts.start_ns, facts.duration_ns, facts.weight), (1000, Some(3000), 4 * 256));
    assert_eq!((&*facts.name, facts.parent_span_id), ("op", None));
    span.end_ns = None;
    span.flags = 0x1ff;
    assert_eq!((Facts::from(&span).duration_ns, Facts::from(&span).remote), (None, 0b01 | SAMPLING_KNOWN));
    span.trace_state = "ot=rv:6e6d1a75832a2f".into();
    assert_eq!(Facts::from(&span).remote, 0b01, "no threshold says nothing");
}

#[test]
fn who_sent_it() {
    let facts = sent_by(&[
        ("service.name", "cart"),
        ("service.namespace", "shop"),
        ("deployment.environment", "old"),
        ("deployment.environment.name", "prod"),
    ]);
    let identity = (&*facts.service, &*facts.namespace, &*facts.environment);
    assert_eq!(identity, ("cart", "shop", "prod"));
    assert_eq!(sent_by(&[("deployment.environment", "old")]).environment, "old");
    assert_eq!(sent_by(&[]).service, "unknown_service");
    assert_eq!(sent_by(&[("service.name", "")]).service, "unknown_service");
    assert_eq!(sent_by(&[("service.name", "unknown_service:node")]).service, "unknown_service:node");
}

#[test]
fn a_span_may_say_what_its_resource_does_not() {
    let own = list(&[("service.namespace", "own"), ("deployment.environment.name", "own")]);
    let facts = Facts::from(&span(Kind::Server, own.clone()));
    assert_eq!((&*facts.namespace, &*facts.environment), ("own", "own"));
    let resource = Arc::new(Resource { attributes: list(&[("service.namespace", "shared")]) });
    let facts = Facts::from(&Span { resource, ..span(Kind::Server, own) });
    assert_eq!((&*facts.namespace, &*facts.environment), ("shared", "own"));
}

#[test]
fn instances_in_order_of_precision() {
    let order = ["service.instance.id", "k8s.pod.name", "host.id", "host.name"];
    let all: Vec<_> = order.iter().map(|key| (*key, *key)).collect();
    for (nth, key) in order.iter().enumerate() {
        assert_eq!(sent_by(&all[nth..]).instance, sent_by(&[(key, key)]).instance, "{key}");
        assert_ne!(sent_by(&[(key, "a")]).instance, sent_by(&[(key, "b")]).instance, "{key}");
    }
    assert_eq!(sent_by(&[]).instance, 0);
    assert_ne!(sent_by(&[("host.name", "a")]).instance, 0);
}

#[test]
fn the_peer_by_its_new_name_first() {
    assert_eq!(client(&[("peer.service", "old"), ("service.peer.name", "new")]).peer, "new");
    assert_eq!(client(&[("peer.service", "Old")]).peer, "Old");
    assert_eq!(client(&[]).peer, "");
}

#[test]
fn addresses_of_the_called_in_the_order_of_rule_r4() {
    let order = [
        ("server.address", "server:80"),
        ("url.full", "https://full:443/x"),
        ("http.url", "http://url/x"),
        ("net.peer.name", "name"),
        ("http.host", "host:8080"),
        ("network.peer.address", "10.0.0.1"),
        ("net.sock.peer.name", "sock"),
        ("net.peer.ip", "10.0.0.2"),
        ("net.sock.peer.addr", "10.0.0.3"),
    ];
    let hosts = ["server", "full", "url", "name", "host", "10.0.0.1", "sock", "10.0.0.2", "10.0.0.3"];
    for (nth, host) in hosts.iter().enumerate() {
        assert_eq!(client(&order[nth..]).address, *host);
    }
    // An address without a host does not hide the next one.
    assert_eq!(client(&[("server.address", "/tmp/x.sock"), ("net.peer.name", "name")]).address, "name");
    // What only names the caller's own side is never the remote one.
    assert_eq!(
        client(&[("net.host.name", "me"), ("http.server_name", "me"), ("client.address", "me")]).address,
        ""
    );
}

#[test]
fn addresses_of_the_caller() {
    let own = ("server.address", "me");
    let of = |pairs: &[(&str, &str)]| Facts::from(&span(Kind::Server, list(pairs))).address.clone();
    assert_eq!(of(&[own, ("http.url", "http://me/"), ("http.host", "me"), ("client.address", "you")]), "you");
    assert_eq!(of(&[own, ("net.peer.ip", "10.0.0.9")]), "10.0.0.9");
    assert_eq!(of(&[own]), "");
    // The server of a consumer is its broker.
    let consumer = Facts::from(&span(Kind::Consumer, list(&[("server.address", "kafka-0")])));
    assert_eq!(consumer.address, "kafka-0");
}

#[test]
fn databases_and_caches() {
    let facts = client(&[("db.system", "mysql"), ("db.name", "old")]);
    assert_eq!((facts.remote_kind, &*facts.protocol, &*facts.target), (RemoteKind::Database, "mysql", "old"));
    let facts = client(&[
        ("db.system", "old"),
        ("db.name", "old"),
        ("db.system.name", "PostgreSQL"),
        ("db.namespace", "shop"),
    ]);
    assert_eq!((&*facts.protocol, &*facts.target), ("postgresql", "shop"));
    for cache in ["redis", "valkey", "memcached"] {
        assert_eq!(client(&[("db.system.name", cache)]).remote_kind, RemoteKind::Cache);
    }
    let redis = vec![
        ("db.system".into(), Value::Str("redis".into())),
        ("db.redis.database_index".into(), Value::Int(3)),
    ];
    assert_eq!(Facts::from(&span(Kind::Client, redis)).target, "3");
}

#[test]
fn a_database_spoken_to_over_http_is_a_database() {
    let facts = client(&[
        ("http.request.method", "POST"),
        ("rpc.system", "aws-api"),
        ("db.system.name", "aws.dynamodb"),
        ("url.full", "https://dynamodb.eu-west-1.amazonaws.com/"),
    ]);
    assert_eq!((facts.remote_kind, &*facts.protocol), (RemoteKind::Database, "aws.dynamodb"));
    assert_eq!(facts.address, "dynamodb.eu-west-1.amazonaws.com");
}

#[test]
fn queues_and_their_destinations() {
    let kafka = ("messaging.system", "kafka");
    let facts = client(&[kafka, ("messaging.destination.name", "orders"), ("rpc.system", "grpc")]);
    assert_eq!((facts.remote_kind, &*facts.protocol, &*facts.target), (RemoteKind::Queue, "kafka", "orders"));
    let template = ("messaging.destination.template", "orders.{region}");
    assert_eq!(
        client(&[kafka, template, ("messaging.destination.name", "orders.eu")]).target,
        "orders.{region}"
    );
    assert_eq!(client(&[kafka, ("messaging.destination", "old")]).target, "old");
    for folded in ["messaging.destination.temporary", "messaging.destination.anonymous"] {
        let mut attributes = list(&[kafka, ("messaging.destination.name", "amq.gen-Xa2")]);
        attributes.push((folded.into(), Value::Bool(true)));
        assert_eq!(Facts::from(&span(Kind::Producer, attributes)).target, "(temporary)");
    }
}

#[test]
fn models_but_not_agents_and_tools() {
    let facts = client(&[
        ("gen_ai.provider.name", "OpenAI"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "gpt-5"),
        ("gen_ai.response.model", "gpt-5-2026-01-01"),
        ("http.request.method", "POST"),
    ]);
    let model = (facts.remote_kind, &*facts.protocol, &*facts.target);
    assert_eq!(model, (RemoteKind::Model, "openai", "gpt-5-2026-01-01"));
    assert_eq!(client(&[("gen_ai.system", "ollama"), ("gen_ai.request.model", "qwen")]).target, "qwen");
    for operation in ["execute_tool", "invoke_agent", "create_agent"] {
        let facts = client(&[("gen_ai.operation.name", operation), ("gen_ai.request.model", "gpt-5")]);
        assert_eq!((facts.remote_kind, &*facts.target), (RemoteKind::Service, ""), "{operation}");
    }
}

#[test]
fn operations_of_messages_by_type_old_name_and_name() {
    let kafka = ("messaging.system", "kafka");
    let of = |pairs: &[(&str, &str)]| client(&[&[kafka], pairs].concat()).messaging;
    for (word, expected) in [
        ("create", Messaging::Create),
        ("send", Messaging::Send),
        ("publish", Messaging::Send),
        ("receive", Messaging::Receive),
        ("process", Messaging::Process),
        ("Deliver", Messaging::Process),
        ("settle", Messaging::Settle),
    ] {
        for key in ["messaging.operation.type", "messaging.operation", "messaging.operation.name"] {
            assert_eq!(of(&[(key, word)]), expected, "{key} {word}");
        }
    }
    assert_eq!(
        of(&[("messaging.operation", "process"), ("messaging.operation.type", "send")]),
        Messaging::Send
    );
    assert_eq!(of(&[("messaging.operation.name", "ack")]), Messaging::Settle);
    assert_eq!(of(&[("messaging.operation.type", "control")]), Messaging::Settle, "stated, and no message");
    assert_eq!(of(&[("messaging.operation.name", "control")]), Messaging::Unstated);
    assert_eq!(of(&[]), Messaging::Unstated);
    let word = ("messaging.operation.type", "process");
    assert_eq!(client(&[word]).messaging, Messaging::Unstated, "no queue");
    assert_eq!(client(&[("db.system", "redis"), kafka, word]).messaging, Messaging::Unstated, "a cache");
    assert_eq!(Facts::from(&span(Kind::Consumer, list(&[word]))).messaging, Messaging::Process);
    assert_eq!(client(&[("messaging.destination.name", "q")]).remote_kind, RemoteKind::Queue);
    assert_eq!(client(&[("messaging.system", " "), ("http.method", "GET")]).remote_kind, RemoteKind::Service);
}

#[test]
fn links_of_messages_are_a_set_and_only_near_ones_are_named() {
    let link = |trace: u8, id: u64| Link {
        trace_id: TraceId::from_bytes([trace; 16]).unwrap(),
        span_id: SpanId::from_bytes(id.to_be_bytes()).unwrap(),
        trace_state: "".into(),
        flags: 0,
        attributes: Vec::new(),
    };
    let mut base = span(Kind::Consumer, Vec::new());
    base.trace_id = TraceId::from_bytes([1; 16]).unwrap();
    let with = |links: Vec<Link>| Facts::from(&Span { links, ..base.clone() }).extra;
    assert_eq!(with(Vec::new()), None);
    let extra = with(vec![link(1, 9), link(2, 5), link(1, 3), link(2, 5), link(1, 9), link(3, 5)]).unwrap();
    assert_eq!(extra.links, [3, 9].map(|id: u64| SpanId::from_bytes(id.to_be_bytes()).unwrap()));
    assert_eq!(extra.far_links, 2);
    let many = with((1..=1_024).map(|id| link(1, id)).collect()).unwrap();
    assert_eq!((many.links.len(), many.far_links), (MAX_NEAR_LINKS, 1_024 - 64));
    let server = Facts::from(&Span { kind: Kind::Server, links: vec![link(1, 9)], ..base.clone() });
    assert_eq!(server.extra, None, "links of other spans are no messages");
}

#[test]
fn agents_tools_and_tokens() {
    let number = |key: &'static str, value| (key.into(), Value::Int(value));
    let mut attributes = list(&[("gen_ai.operation.name", "chat"), ("gen_ai.request.model", "gpt")]);
    attributes.extend([number("gen_ai.usage.input_tokens", 1_840), number("gen_ai.usage.output_tokens", -1)]);
    let extra = Facts::from(&span(Kind::Client, attributes)).extra.unwrap();
    assert_eq!((extra.input_tokens, extra.output_tokens), (Some(1_840), None));
    let mut old = list(&[("gen_ai.request.model", "gpt"), ("gen_ai.usage.completion_tokens", "12")]);
    old.push(number("gen_ai.usage.prompt_tokens", i64::MAX));
    let extra = Facts::from(&span(Kind::Client, old)).extra.unwrap();
    assert_eq!((extra.input_tokens, extra.output_tokens), (Some(u32::MAX), Some(12)));

    let of = |name: &str, pairs: &[(&str, &str)]| {
        let span = Span { name: name.into(), ..span(Kind::Internal, list(pairs)) };
        Facts::from(&span).extra.map(|extra| (extra.role, extra.agent.to_string(), extra.tool.to_string()))
    };
    let text = str::to_owned;
    let agent = ("gen_ai.operation.name", "invoke_agent");
    let tool = ("gen_ai.operation.name", "execute_tool");
    assert_eq!(
        of("x", &[agent, ("gen_ai.agent.name", "planner")]),
        Some((GenAiRole::Agent, text("planner"), text("")))
    );
    assert_eq!(of("invoke_agent planner", &[agent]), Some((GenAiRole::Agent, text("planner"), text(""))));
    assert_eq!(of("invoke_agent", &[agent]), None, "nobody knows which");
    assert_eq!(
        of("x", &[tool, ("gen_ai.tool.name", "search"), ("gen_ai.agent.name", "planner")]),
        Some((GenAiRole::Tool, text("planner"), text("search")))
    );
    assert_eq!(of("execute_tool search", &[tool]), Some((GenAiRole::Tool, text(""), text("search"))));
    assert_eq!(of("chat", &[("gen_ai.operation.name", "chat")]), None);
    let long = "é".repeat(1_000_000);
    let (_, cut, _) = of("x", &[agent, ("gen_ai.agent.name", &long)]).unwrap();
    assert_eq!(cut.len(), MAX_FACT_BYTES);
}

#[test]
fn protocols_of_services() {
    for (key, value, protocol) in [
        ("rpc.system.name", "gRPC", "grpc"),
        ("rpc.system", "grpc", "grpc"),
        ("rpc.grpc.status_code", "0", "grpc"),
        ("http.request.method", "GET", "http"),
        ("http.method", "GET", "http"),
        ("http.status_code", "200", "http"),
        ("url.full", "https://x/", "http"),
        ("http.url", "https://x/", "http"),
        ("code.function", "main", ""),
    ] {
        let facts = client(&[(key, value)]);
        assert_eq!((facts.remote_kind, &*facts.protocol), (RemoteKind::Service, protocol), "{key}");
    }
    assert_eq!(client(&[("http.method", "POST"), ("rpc.system", "grpc")]).protocol, "grpc");
}

#[test]
fn the_spans_of_python_requests_and_flask() {
    // The CLIENT span of `requests` has no peer name, only an URL; Flask's own address holds a port.
    let requests = client(&[
        ("http.method", "GET"),
        ("http.url", "http://127.0.0.1:26320/items"),
        ("http.status_code", "200"),
    ]);
    assert_eq!((&*requests.address, &*requests.protocol, &*requests.peer), ("127.0.0.1", "http", ""));
    let flask =
        list(&[("net.host.name", "127.0.0.1:26320"), ("net.peer.ip", "127.0.0.1"), ("http.method", "GET")]);
    assert_eq!(Facts::from(&span(Kind::Server, flask)).address, "127.0.0.1");
    assert_eq!(client(&[("server.address", "localhost:5000")]).address, "localhost");
}

#[test]
fn names_of_hostile_length_are_cut() {
    let long = "é".repeat(1_000_000);
    let keys = ["service.peer.name", "server.address", "db.system.name", "db.namespace", "service.namespace"];
    let pairs = keys.map(|key| (key, long.as_str()));
    let mut span = span(Kind::Client, list(&pairs));
    span.name = long.as_str().into();
    span.resource = Arc::new(Resource { attributes: list(&[("service.name", &long)]) });
    let facts = Facts::from(&span);
    for text in [&facts.name, &facts.service, &facts.namespace, &facts.peer, &facts.address, &facts.target] {
        assert_eq!(text.len(), MAX_FACT_BYTES);
    }
    assert!(facts.protocol.len() <= MAX_FACT_BYTES);
}

/// Every part of a span, changed by itself.
fn changes() -> Vec<fn(&mut Span)> {
    fn resource(span: &mut Span, value: &str) {
        span.resource = Arc::new(Resource { attributes: list(&[("k", value)]) });
    }
    vec![
        |span| span.flags ^= 1,
        |span| span.name = "other".into(),
        |span| span.trace_state = "a=b".into(),
        |span| span.kind = Kind::Producer,
        |span| span.start_ns += 1,
        |span| span.end_ns = None,
        |span| span.end_ns = Some(0),
        |span| span.parent_span_id = Some(span.span_id),
        |span| span.status = Status::Ok,
        |span| span.status_message = "m".into(),
        |span| span.attributes = list(&[("a", "bc")]),
        |span| span.attributes = list(&[("ab", "c")]),
        |span| span.attributes = vec![("a".into(), Value::Null)],
        |span| span.attributes = vec![("a".into(), Value::Bytes("bc".into()))],
        |span| span.attributes = vec![("a".into(), Value::Int(1))],
        |span| span.attributes = vec![("a".into(), Value::Bool(true))],
        |span| span.attributes = vec![("a".into(), Value::Double(0.0))],
        |span| span.attributes = vec![("a".into(), Value::Double(-0.0))],
        |span| span.attributes = vec![("a".into(), Value::Array(vec![]))],
        |span| span.attributes = vec![("a".into(), Value::Map(vec![]))],
        |span| resource(span, "1"),
        |span| resource(span, "2"),
        |span| span.scope = Arc::new(crate::span::Scope { name: "s".into(), ..Default::default() }),
        |span| {
            let event = crate::span::Event { time_ns: 0, name: "".into(), attributes: Vec::new() };
            span.events = vec![event];
        },
    ]
}

#[test]
fn content_sees_every_part() {
    let base = span(Kind::Client, Vec::new());
    let mut seen = vec![Facts::from(&base).content];
    for change in changes() {
        let mut changed = base.clone();
        change(&mut changed);
        seen.push(Facts::from(&changed).content);
    }
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all);
}

#[test]
fn content_knows_one_nan_and_the_last_of_repeated_keys() {
    let of = |attributes| Facts::from(&span(Kind::Client, attributes)).content;
    let number = |bits| vec![("a".into(), Value::Double(f64::from_bits(bits)))];
    assert_eq!(of(number(0x7ff8_0000_0000_0000)), of(number(0xfff8_0000_0000_0001)));
    assert_eq!(of(list(&[("a", "1"), ("b", "2"), ("a", "3")])), of(list(&[("a", "3"), ("b", "2")])));
}

#[test]
fn many_spans_of_a_large_sender_take_linear_time() {
    // Read once per span, the sender's 8 MB would be 400 GB.
    let large = Arc::new(Resource { attributes: list(&[("k", &"x".repeat(8_000_000))]) });
    let scope = Arc::new(crate::span::Scope { attributes: large.attributes.clone(), ..Default::default() });
    let one = Span { resource: large, scope, ..span(Kind::Client, Vec::new()) };
    let other = span(Kind::Server, Vec::new());
    let spans: Vec<Span> = (0..50_000).flat_map(|_| [one.clone(), other.clone()]).collect();
    assert_eq!(Facts::of_all(&spans).len(), spans.len());
}

proptest! {
    #[test]
    fn facts_of_many_are_the_facts_of_each(spans in crate::otlp::tests::arbitrary::spans()) {
        prop_assert_eq!(Facts::of_all(&spans), spans.iter().map(Facts::from).collect::<Vec<_>>());
    }
}
