//! Arrays that are read value by value.

use std::io::{self, BufReader, Cursor, Read as _};

use nexarch_core::otlp::Rules;
use proptest::prelude::*;

use super::{
    super::{
        documents::{Broken, MAX_DOCUMENT, Why},
        elements::{Element, Elements},
    },
    line,
};

/// A span of Zipkin; `n` becomes its id and its time.
fn span(n: u64) -> String {
    format!(
        r#"{{"traceId":"{:016x}","id":"{:016x}","timestamp":{n},"tags":{{"a":"]}}[{{,"}},"localEndpoint":{{"serviceName":"s"}}}}"#,
        n + 1,
        n + 1
    )
}

fn trace(n: u64, spans: &[u64]) -> String {
    let spans: Vec<String> = spans
        .iter()
        .map(|id| format!(r#"{{"traceID":"{n:x}","spanID":"{id:x}","startTime":{n},"processID":"p"}}"#))
        .collect();
    format!(
        r#"{{"traceID":"{n:x}","spans":[{}],"processes":{{"p":{{"serviceName":"s"}}}}}}"#,
        spans.join(",")
    )
}

/// Spans that came out, and lines of what was wrong.
fn count(text: &str) -> (usize, Vec<(u64, String)>) {
    let file = super::file(text.as_bytes());
    let (mut spans, mut bad) = (0, Vec::new());
    for request in super::read(file.path(), Rules::default()).unwrap() {
        match request {
            Ok(request) => {
                spans += request.decoded.spans.len();
                let (problems, all) = request.problems(file.path());
                assert_eq!(problems.len() as u64, all);
                bad.extend(problems);
            }
            Err(problem) => bad.push(problem),
        }
    }
    let mut bad: Vec<_> = bad.into_iter().map(|bad| (super::number(bad.place), bad.reason)).collect();
    bad.sort();
    (spans, bad)
}

#[test]
fn arrays_in_all_their_shapes() {
    let (a, b, c) = (span(1), span(2), span(3));
    for (text, spans) in [
        (format!("[{a},{b}]"), 2),
        (format!("[[{a},{b}],[],[{c}]]"), 3),
        (format!("[\n{a},\n{b}\n]\n"), 2),
        (format!("[\n[{a}],\n[{b},\n{c}]\n]"), 3),
        (format!("{a}\n{b}\n"), 2),
        (format!("[{a}]\n[{b}]\n\n[{c}]"), 3),
        (format!("\u{feff}  [{a}]"), 1),
        ("[]".to_owned(), 0),
        (format!("[{},{},{a}]", line(1), line(2)), 3),
        (
            format!(
                r#"{{"data":[{},{}],"total":0,"limit":0,"errors":null}}"#,
                trace(1, &[1, 2]),
                trace(2, &[1])
            ),
            3,
        ),
        (format!("{{\n  \"data\": [\n{}\n],\n\"total\": [{{}}] }}\n{a}", trace(1, &[1])), 2),
        (format!(r#"{{"total":0,"data":[{}]}}"#, trace(1, &[1])), 1),
        (trace(7, &[1, 2, 3]), 3),
        (format!("[{}]", trace(7, &[1])), 1),
        (r#"{"data":[],"total":0}"#.to_owned(), 0),
        (format!("{}\n[{a},{b}]\n{}\n", line(1), trace(7, &[1, 2])), 5),
    ] {
        assert_eq!(count(&text), (spans, Vec::new()), "{text}");
    }
}

#[test]
fn what_is_wrong_costs_itself_and_is_told_with_its_line() {
    let (a, b) = (span(1), span(2));
    let bad = r#"{"traceId":"x","id":"0000000000000001","timestamp":1}"#;
    for (text, spans, lines) in [
        (format!("[\n{a},\n{bad},\n{b}]"), 2, vec![3]),
        (format!("[\n{a},\nnull, 7\n,{b}]"), 2, vec![3, 3]),
        (format!("[\n{a},\n{{\"id\":}},\n{b}]"), 2, vec![3]),
        (format!("[\n{a},\n{{\"traceId\":\"00\n{b}\n]"), 2, vec![3]),
        (format!("[{a}\n[{b}]\n"), 2, vec![2]),
        (format!("[{a},{{\"x\n[{b}]\n"), 2, vec![1]),
        (format!("{{\"traceId\":1,\n{}\n", line(1)), 1, vec![1]),
        (format!("rubbish, and more\n{a}\n[{b}]"), 2, vec![1]),
        (format!("[{a},\n{b},"), 2, vec![2]),
        (format!("[{a},\n{}", &b[..40]), 1, vec![2]),
        (
            format!("{{\"data\":[\n{},\n{{\"traceID\":\"1\"}},\n{}]}}", trace(1, &[1]), trace(2, &[0, 1])),
            2,
            vec![3, 4],
        ),
        (format!("{{\"data\":[\n{},\n{}", trace(1, &[1]), &trace(2, &[1])[..30]), 1, vec![3]),
    ] {
        let (good, bad) = count(&text);
        let found: Vec<u64> = bad.iter().map(|(line, _)| *line).collect();
        assert_eq!((good, found), (spans, lines), "{text}\n{bad:?}");
    }
}

#[test]
fn spans_without_a_time_take_it_from_spans_that_come_later() {
    let untimed = r#"{"traceId":"0000000000000001","id":"0000000000000009","parentId":"0000000000000001"}"#;
    let root = r#"{"traceId":"0000000000000001","id":"0000000000000001","timestamp":44}"#;
    // More than one group of spans in between.
    let others: Vec<String> = (100..5_000).map(span).collect();
    let text = format!("[{untimed},{},{root}]", others.join(","));
    let file = super::file(text.as_bytes());
    let requests = super::read(file.path(), Rules::default()).unwrap();
    let spans: Vec<_> = requests.flat_map(|request| request.unwrap().decoded.spans).collect();
    assert_eq!(spans.len(), 4_902);
    assert_eq!(spans.last().unwrap().start_ns, 44_000);
}

#[test]
fn a_long_value_is_dropped_without_being_kept() {
    let long = io::repeat(b'x').take(MAX_DOCUMENT as u64);
    let source = Cursor::new(format!("[{},\n{{\"a\":\"", span(1))).chain(long);
    let source = source.chain(Cursor::new(format!("\"}},\n{}]", span(2))));
    let found: Vec<_> = Elements::new(BufReader::new(source)).collect();
    let [Ok(first), Err(Broken { line: 2, why: Why::TooLong(_) }), Ok(last)] = &found[..] else {
        panic!("{:?}", found.len());
    };
    assert_eq!((first.document.line, last.document.line), (1, 3));
}

#[test]
fn nesting_of_any_depth_takes_no_stack() {
    for open in ["[", "{\"a\":", "[{\"traceId\":"] {
        let found: Vec<_> = Elements::new(Cursor::new(open.repeat(100_000))).collect();
        assert!(matches!(&found[..], [Err(Broken { why: Why::CutOff, .. })]), "{open}");
    }
    let closed = "[".repeat(100_000) + &"]".repeat(100_000);
    let found: Vec<_> = Elements::new(Cursor::new(closed)).collect();
    assert!(
        matches!(&found[..], [Ok(Element { exported: false, .. })]),
        "one value, below the lists looked into"
    );
}

proptest! {
    /// However a file is laid out and however it arrives, the same values come out.
    #[test]
    fn layout_does_not_matter(spans in prop::collection::vec((0u64..50, any::<bool>()), 0..8), capacity in 1usize..50) {
        let values: Vec<serde_json::Value> =
            spans.iter().map(|(n, _)| serde_json::from_str(&span(*n)).unwrap()).collect();
        let mut text = String::from("[");
        for (nth, (value, (_, pretty))) in values.iter().zip(&spans).enumerate() {
            text += if nth > 0 { ",\n" } else { "" };
            text += &if *pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) }.unwrap();
        }
        text += "]";
        let source = BufReader::with_capacity(capacity, Cursor::new(text));
        let found: Vec<serde_json::Value> = Elements::new(source)
            .map(|element| serde_json::from_slice(&element.unwrap().document.bytes).unwrap())
            .collect();
        prop_assert_eq!(found, values);
    }
}
