//! "Why is my map empty?": each count moves with its cause.

use serde_json::{Value, json};

use crate::support::{
    client::Client,
    encode::{native_one, otlp_json},
    home::Home,
    spans::{CLIENT, SERVER, Span, call},
    wait::now_ns,
};

const HOUR_NS: u64 = 3_600_000_000_000;

fn diagnostics(client: &Client) -> Value {
    client.get("/api/v1/ingest/diagnostics").ok()
}

/// The counts since creation that are not zero.
fn since(answer: &Value) -> Value {
    let counts = answer["since_creation"].as_object().unwrap().clone();
    let flat = counts.into_iter().flat_map(|(name, value)| match value {
        Value::Object(inner) => inner.into_iter().collect(),
        value => vec![(name, value)],
    });
    flat.filter(|(_, value)| *value != 0).collect()
}

#[test]
fn a_span_that_lacks_something_is_counted_until_it_arrives() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let empty = diagnostics(&client);
    assert_eq!((&empty["missing"]["spans"], &empty["unsettled_traces"]), (&json!(0), &json!(0)));
    assert_eq!(since(&empty), json!({}));

    let spans = call(1);
    client.otlp_json(&otlp_json(&spans[2..])).expect(200);
    let alone = diagnostics(&client)["missing"].clone();
    assert_eq!(
        (&alone["orphans"], &alone["unpaired_ins"], &alone["unpaired_outs"]),
        (&json!(1), &json!(1), &json!(0))
    );
    client.otlp_json(&otlp_json(&spans)).expect(200);
    let answer = diagnostics(&client);
    let missing = &answer["missing"];
    assert_eq!(
        (&missing["orphans"], &missing["unpaired_ins"], &missing["spans"]),
        (&json!(0), &json!(0), &json!(3))
    );
    assert_eq!(missing["sampling_unknown"], 3);
    assert_eq!(since(&answer), json!({"spans": 3, "duplicates": 1}));

    client.otlp_json(&otlp_json(&[Span::new(2, 1, "unknown_service:node", CLIENT)])).expect(200);
    let missing = diagnostics(&client)["missing"].clone();
    assert_eq!((&missing["no_service_name"], &missing["untargeted_outs"]), (&json!(1), &json!(1)));
    client.get("/api/v1/ingest/diagnostics?environment=x").expect(400);
    server.stranger().get("/api/v1/ingest/diagnostics").expect(401);
}

#[test]
fn what_is_refused_is_counted_by_its_reason_and_survives_a_restart() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    let at = |id: u64, start_ns: u64| Span { start_ns, ..Span::new(9, id, "shop", SERVER) };
    let (now, days) = (now_ns(), 24 * HOUR_NS);
    // The edges of what a clock may be wrong, with a minute for this test to run.
    let minute = 60_000_000_000;
    let spans = [
        at(1, now + HOUR_NS - minute),
        at(2, now + HOUR_NS + minute),
        at(3, now - 14 * days + minute),
        at(4, now - 14 * days - minute),
        at(5, 0),
        at(6, 7_258_118_400_000_000_000),
        at(0, now),
        at(8, now - 2 * HOUR_NS - minute),
        at(10, now - 2 * HOUR_NS + minute),
    ];
    let answer = client.otlp_json(&otlp_json(&spans)).expect(200).json();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"].to_string().trim_matches('"'), "5", "{answer}");
    let mut native = native_one(&Span::new(10, 1, "shop", SERVER));
    native["start_time"] = "2200-01-01T00:00:00Z".into();
    client.post("/api/v1/ingest", &native).expect(422);
    native["start_time"] = "1970-01-01T00:00:00Z".into();
    client.post("/api/v1/ingest", &native).expect(422);
    native["trace_id"] = "xyz".into();
    client.batch(&json!([native, 7])).expect(422);
    let mut many = otlp_json(&[Span::new(11, 1, "shop", SERVER)]);
    let span = &mut many["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    span["attributes"] =
        (0..10_000).map(|at| json!({"key": format!("k{at}"), "value": {"intValue": at}})).collect();
    span["name"] = "n".repeat(1 << 20).into();
    client.otlp_json(&many).expect(200);

    let expected = json!({
        "spans": 5, "late": 2, "total": 9, "future": 3, "too_old": 3, "invalid_id": 2, "malformed": 1,
        "cut": 10_000 - 512 + 1,
    });
    assert_eq!(since(&diagnostics(&client)), expected);
    assert!(server.terminate().success());
    let server = home.serve();
    assert_eq!(since(&diagnostics(&server.client(&key))), expected);
}
