//! Looking for traces over HTTP.

use serde_json::Value;

use crate::support::{
    client::Client,
    encode::otlp_json,
    home::Home,
    spans::{SERVER, Span, call},
};

const HOUR_NS: u64 = 3_600_000_000_000;

fn traces(page: &Value) -> Vec<u64> {
    let id = |trace: &Value| u64::from_str_radix(&trace["trace_id"].as_str().unwrap()[16..], 16).unwrap();
    page["traces"].as_array().unwrap().iter().map(id).collect()
}

fn search(client: &Client, query: &str) -> Value {
    client.get(&format!("/api/v1/traces?{query}")).ok()
}

#[test]
fn traces_are_found_by_what_one_of_their_spans_is_like() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    for number in 1..=3u64 {
        let mut spans = call(u128::from(number));
        for span in &mut spans {
            span.start_ns -= (4 - number) * 2 * HOUR_NS;
            span.duration_ns = number * 10_000_000;
        }
        spans[2].error = number == 2;
        client.otlp_json(&otlp_json(&spans)).expect(200);
    }
    let all = search(&client, "");
    assert_eq!(
        (traces(&all), &all["next_cursor"], &all["scanned_spans"]),
        (vec![3, 2, 1], &Value::Null, &9.into())
    );
    let two = &all["traces"][1];
    assert_eq!(
        (&two["root_service"], &two["span_count"], &two["error_count"], &two["matching_spans"]),
        (&"shop".into(), &3.into(), &1.into(), &3.into())
    );
    for (query, expected) in [
        ("service=stock", vec![3, 2, 1]),
        ("service=stock&error=true", vec![2]),
        ("service=shop&error=true", vec![]),
        ("error=false&service=stock", vec![3, 1]),
        ("operation=work", vec![3, 2, 1]),
        ("operation=wor", vec![]),
        ("min_duration_ms=20", vec![3, 2]),
        ("min_duration_ms=20&max_duration_ms=20.5", vec![2]),
        ("attribute=service.name", vec![3, 2, 1]),
        ("attribute=service.name=stock&error=true", vec![2]),
        ("attribute=service.name=nobody", vec![]),
        ("environment=nowhere", vec![]),
        ("window=1h", vec![3]),
    ] {
        assert_eq!(traces(&search(&client, query)), expected, "{query}");
    }
    // A trace that was found can be read.
    let id = two["trace_id"].as_str().unwrap();
    assert_eq!(client.get(&format!("/api/v1/traces/{id}")).ok()["span_count"], 3);
}

#[test]
fn a_trace_is_read_as_a_waterfall() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut spans = call(7);
    for id in 10..16 {
        spans.push(Span::new(7, id, "stock", SERVER).child_of(3));
    }
    client.otlp_json(&otlp_json(&spans)).expect(200);
    let path = format!("/api/v1/traces/{}/waterfall", spans[0].trace_hex());
    let folded = client.get(&path).ok();
    let rows = folded["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &folded["span_count"]), (4, &9.into()), "{folded}");
    assert_eq!((&rows[3]["repeats"]["count"], &rows[3]["parent"]), (&6.into(), &2.into()));
    let whole = client.get(&format!("{path}?fold=false")).ok();
    assert_eq!(whole["rows"].as_array().unwrap().len(), 9);
    client.get(&format!("{path}?fold=2")).expect(400);
    client.get("/api/v1/traces/zz/waterfall").expect(400);
    client.get(&format!("/api/v1/traces/{:032x}/waterfall", 99)).expect(404);
    server.stranger().get(&path).expect(401);
}

#[test]
fn pages_go_on_where_the_one_before_ended() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    for number in 1..=25u64 {
        let mut span = Span::new(u128::from(number), 1, "shop", SERVER);
        span.start_ns -= number * 1_000_000_000;
        client.otlp_json(&otlp_json(&[span])).expect(200);
    }
    let (mut found, mut query, mut pages) = (Vec::new(), "limit=10".to_owned(), 0);
    loop {
        let page = search(&client, &query);
        found.extend(traces(&page));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=10&cursor={cursor}");
        // What comes meanwhile changes nothing on later pages.
        client.otlp_json(&otlp_json(&[Span::new(100 + pages, 1, "shop", SERVER)])).expect(200);
    }
    found.sort_unstable();
    assert_eq!((found, pages), ((1..=25).collect(), 3));
}

#[test]
fn a_question_that_makes_no_sense_is_refused_in_words() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    assert_eq!(traces(&search(&client, "")), Vec::<u64>::new());
    for (query, part) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("error=maybe", "error"),
        ("min_duration_ms=-1", "min_duration_ms"),
        ("max_duration_ms=NaN", "max_duration_ms"),
        ("min_duration_ms=5&max_duration_ms=4", "min_duration_ms"),
        ("attribute==x", "attribute"),
        ("cursor=1.2.3", "cursor"),
        ("cursor=%2e%2e", "cursor"),
        ("sevice=x", "sevice"),
        ("window=1h&from=2026-01-01T00:00:00Z", "not both"),
    ] {
        let wrong = client.get(&format!("/api/v1/traces?{query}")).expect(400).json();
        assert!(wrong["detail"].as_str().unwrap().contains(part), "{query}: {wrong}");
    }
    // A made-up place is a place, of the caller's own spans.
    search(&client, "cursor=0.ffffffff.7fffffffffffffff.7fffffffffffffff.0");
    server.stranger().get("/api/v1/traces").expect(401);
}
