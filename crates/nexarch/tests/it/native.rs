//! The native way in: one span or an array as plain JSON.

use serde_json::{Value, json};

use crate::support::{
    client::{Body, Client},
    encode::{native, native_one},
    home::Home,
    spans::{SERVER, Span, many},
};

fn trace(client: &Client, id: &str) -> Value {
    client.get(&format!("/api/v1/traces/{id}")).ok()
}

#[test]
fn a_batch_is_counted_item_by_item() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut items = native(&many(1, 5));
    items[1]["span_id"] = "xyz".into();
    items[3].as_object_mut().unwrap().remove("service_name");
    let answer = client.batch(&items).expect(202);
    answer.version();
    let answer = answer.json();
    assert_eq!(answer["status"], "accepted");
    assert_eq!(
        (&answer["count"], &answer["duplicates"], &answer["failed"]),
        (&json!(3), &json!(0), &json!(2))
    );
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.iter().map(|error| &error["index"]).collect::<Vec<_>>(), [1, 3]);
    assert!(errors.iter().all(|error| error["error"].as_str().is_some_and(|text| !text.is_empty())));

    // A re-send adds nothing; a span twice in one array is one span.
    let again = client.batch(&items).expect(202).json();
    assert_eq!((&again["count"], &again["duplicates"], &again["failed"]), (&json!(0), &json!(3), &json!(2)));
    assert_eq!(client.total_spans(), 3);
    let one = native_one(&many(2, 1)[0]);
    let answer = client.batch(&json!([one, one])).expect(202).json();
    assert_eq!((&answer["count"], &answer["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!(client.total_spans(), 4);
}

#[test]
fn what_is_no_array_or_holds_no_span_is_refused() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    for body in [json!({}), json!(3), native_one(&many(1, 1)[0])] {
        problem(&client.batch(&body).expect(400), 400);
    }
    let headers = [("Content-Type", "application/json")];
    for broken in ["", "[", "[{}", "\u{feff}[]x"] {
        let body = Body::Sized(broken.as_bytes());
        problem(&client.send("POST", "/api/v1/ingest/batch", &headers, &body).expect(400), 400);
    }
    let answer = client.batch(&json!([{}, 1, null, "x"])).expect(422).json();
    assert_eq!(answer["failed"], 4, "{answer}");
    client.post("/api/v1/ingest", &json!({"trace_id": "1"})).expect(422);
    client.send("POST", "/api/v1/ingest", &[("Content-Type", "text/plain")], &Body::Sized(b"{}")).expect(415);
    let answer = client.batch(&json!([])).expect(202).json();
    assert_eq!((&answer["count"], &answer["failed"]), (&json!(0), &json!(0)));
    assert_eq!(client.get("/api/v1/ingest/stats").ok()["total_spans"], 0);
}

/// Asserts the shape of RFC 9457.
#[track_caller]
fn problem(reply: &crate::support::client::Reply, status: u16) {
    assert_eq!(reply.header("Content-Type"), "application/problem+json");
    let body = reply.json();
    assert_eq!(body["status"], status);
    assert!(
        ["title", "detail"].iter().all(|field| body[field].as_str().is_some_and(|text| !text.is_empty())),
        "{body}"
    );
}

#[test]
fn ids_and_times_come_in_every_promised_form() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let base = native_one(&Span::new(1, 1, "shop", SERVER));
    let with = |changes: Value| {
        let mut span = base.clone();
        for (name, value) in changes.as_object().unwrap() {
            span[name] = value.clone();
        }
        span
    };
    let one = |changes: Value| client.post("/api/v1/ingest", &with(changes)).expect(202).json();

    let answer = one(json!({"trace_id": "ABCDEF0123456789", "span_id": "00000000000000AA"}));
    assert_eq!((&answer["status"], &answer["span_id"]), (&json!("accepted"), &json!("00000000000000aa")));
    assert_eq!(trace(&client, "0000000000000000abcdef0123456789")["spans"].as_array().unwrap().len(), 1);

    let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let answer = one(json!({"trace_id": uuid, "span_id": uuid}));
    assert_eq!(answer["span_id"], "67e5504410b1426f");
    assert_eq!(trace(&client, "67e5504410b1426f9247bb680e5fe0c8")["spans"].as_array().unwrap().len(), 1);

    // Without a zone it is UTC; a latency instead of an end.
    let start = base["start_time"].as_str().unwrap();
    let mut span =
        with(json!({"trace_id": "ff", "start_time": start.trim_end_matches('Z'), "latency_ms": 12.5}));
    span.as_object_mut().unwrap().remove("end_time");
    client.post("/api/v1/ingest", &span).expect(202);
    let stored = &trace(&client, &format!("{:032x}", 0xff))["spans"][0];
    assert_eq!(stored["duration_ms"], 12.5, "{stored}");

    for wrong in
        [json!({"trace_id": "0"}), json!({"span_id": "0000000000000000"}), json!({"start_time": "yesterday"})]
    {
        client.post("/api/v1/ingest", &with(wrong)).expect(422);
    }
    assert_eq!(client.total_spans(), 3);
}
