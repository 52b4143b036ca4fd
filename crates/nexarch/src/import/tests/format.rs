//! What is told by content, and what a bad part costs.

use std::io::{self, BufReader, Cursor, Read as _};

use nexarch_core::otlp::Rules;
use proptest::prelude::*;

use super::{
    super::documents::{Broken, Documents, MAX_DOCUMENT, Why},
    gzip, line, outcome,
};
use crate::import::read;

#[test]
fn a_bad_line_costs_only_itself() {
    let cut = &line(3)[..100];
    let text = [
        "rubbish {\"".to_owned(),
        line(1),
        String::new(),
        cut.to_owned(),
        line(4),
        r#"{"other":[1]}"#.to_owned(),
        "{}".to_owned(),
        r#"{"resourceSpans":7}"#.to_owned(),
        line(8),
        line(9)[..50].to_owned(),
    ]
    .join("\r\n");
    for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
        let (good, bad) = outcome(&bytes).unwrap();
        assert_eq!(good, [(2, 1), (5, 1), (7, 0), (9, 1)]);
        assert_eq!(bad.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 4, 6, 8, 10]);
        assert!(bad[1].1.contains("cut off") && bad[2].1.contains("resourceSpans"), "{bad:?}");
    }
}

#[test]
fn one_request_in_all_its_shapes() {
    let pretty: serde_json::Value = serde_json::from_str(&line(1)).unwrap();
    let pretty = serde_json::to_string_pretty(&pretty).unwrap();
    let unindented = line(1).replace(r#","scopeSpans""#, ",\n\"scopeSpans\"").replace('[', "[\n");
    for text in
        [&line(1), &pretty, &unindented, &format!("\u{feff}{pretty}\n\n"), &format!("\n  {}", line(1))]
    {
        let (good, bad) = outcome(text.as_bytes()).unwrap();
        assert_eq!((good.len(), good[0].1, bad.len()), (1, 1, 0), "{text}");
    }
    let (good, bad) = outcome(format!("{pretty}\n{pretty}\n{}", line(2)).as_bytes()).unwrap();
    assert_eq!((good.len(), bad.len()), (3, 0), "requests may follow each other");
    assert_eq!(outcome(b"").unwrap(), (Vec::new(), Vec::new()));
}

#[test]
fn unknown_content_is_refused_with_what_is_accepted() {
    let refused = |bytes: &[u8]| outcome(bytes).unwrap_err().to_string();
    for (text, words) in [
        (refused(&[0x0b, 0x91, 0x02, 0x0a, 0x20]), "not known"),
        (refused(b"time,service,duration\n1,a,2\n"), "not known"),
        (refused(br#"{"openapi":"3.1.0"}"#), "without resourceSpans"),
        (refused(&gzip(b"[1, 2]")), "array of something else"),
        (refused(b"\xff\xfe{\0\"\0"), "iconv -f UTF-16"),
        (refused(b"\0{\0\""), "iconv -f UTF-16"),
    ] {
        assert!(text.contains(words) && text.contains("accepted is OTLP"), "{text}");
    }
    let broken = refused(&[0x28, 0xb5, 0x2f, 0xfd, 0xff, 1, 2]);
    assert!(!broken.contains("accepted is"), "a broken frame is no other format: {broken}");
    let missing = read(std::path::Path::new("/nowhere/at.all"), Rules::default()).err().unwrap();
    assert!(missing.to_string().starts_with("/nowhere/at.all: "), "{missing}");
}

#[test]
fn plain_protobuf_json_is_read_too() {
    let text = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"AAECAwQFBgcICQoLDA0ODw==",
        "spanId":"AAECAwQFBgc=","parentSpanId":"","kind":"SPAN_KIND_SERVER","status":{"code":"STATUS_CODE_ERROR"},
        "startTimeUnixNano":"1","endTimeUnixNano":"2",
        "links":[{"traceId":"AAECAwQFBgcICQoLDA0ODw==","spanId":"AAECAwQFBgc="}]}]}]}]}"#;
    let file = super::file(text.as_bytes());
    let request = read(file.path(), Rules::default()).unwrap().next().unwrap().unwrap();
    let [span] = &request.decoded.spans[..] else { panic!("one span: {:?}", request.decoded) };
    assert_eq!(span.trace_id.to_string(), "000102030405060708090a0b0c0d0e0f");
    assert_eq!(span.span_id.to_string(), "0001020304050607");
    assert_eq!((span.kind.as_str(), span.status), ("server", nexarch_core::span::Status::Error));
    assert_eq!(span.links.len(), 1);
    let renamed = [
        ("resourceSpans", "resource_spans"),
        ("scopeSpans", "instrumentation_library_spans"),
        ("traceId", "trace_id"),
        ("spanId", "span_id"),
        ("startTimeUnixNano", "start_time_unix_nano"),
        ("endTimeUnixNano", "end_time_unix_nano"),
    ];
    let old = renamed.iter().fold(text.to_owned(), |text, (new, old)| text.replace(new, old));
    for text in [old.clone(), old.replace("resource_spans", "batches")] {
        let file = super::file(text.as_bytes());
        let mut requests = read(file.path(), Rules::default()).unwrap();
        assert_eq!(requests.next().unwrap().unwrap().decoded.spans, request.decoded.spans, "{text}");
    }
}

#[test]
fn a_request_that_is_too_long_for_a_second_look_is_told_so() {
    let span = r#"{"traceId":"AAECAwQFBgcICQoLDA0ODw==","spanId":"AAECAwQFBgc=","startTimeUnixNano":"1"}"#;
    let pad = " ".repeat(16 << 20);
    let text = format!(r#"{{"resourceSpans":[{pad}{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let file = super::file(text.as_bytes());
    let request = read(file.path(), Rules::default()).unwrap().next().unwrap().unwrap();
    let reason = request.decoded.rejected[0].reason.to_string();
    assert!(reason.contains("trace_id") && reason.contains("up to 16 MiB"), "{reason}");
}

#[test]
fn a_cut_gzip_file_keeps_what_came_before() {
    let text: String = (0..4_000).map(|n| line(n) + "\n").collect();
    let bytes = gzip(text.as_bytes());
    let (good, bad) = outcome(&bytes[..bytes.len() / 2]).unwrap();
    assert!((500..3_900).contains(&good.len()), "{}", good.len());
    assert_eq!(bad.len(), 1);
    assert!(bad[0].1.contains("rest of the file"), "{bad:?}");
}

#[test]
fn a_decompression_bomb_is_stopped() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    io::Write::write_all(&mut bomb, b"{}\n").unwrap();
    let mut blank = vec![b' '; 1 << 20];
    blank.push(b'\n');
    for _ in 0..80 {
        io::Write::write_all(&mut bomb, &blank).unwrap();
    }
    io::Write::write_all(&mut bomb, line(1).as_bytes()).unwrap();
    let (good, bad) = outcome(&bomb.finish().unwrap()).unwrap();
    assert_eq!(good, [(1, 0)], "nothing behind the limit is read");
    assert!(bad.len() == 1 && bad[0].1.contains("200 times"), "{bad:?}");
}

#[test]
fn a_long_line_is_dropped_without_being_kept() {
    let text = format!("{}\n", line(1));
    let long = io::repeat(b'x').take(MAX_DOCUMENT as u64 + 10);
    let source = Cursor::new(text.clone()).chain(long).chain(Cursor::new(format!("\n{text}")));
    let found: Vec<_> = Documents::new(BufReader::new(source)).collect();
    assert!(matches!(
        &found[..],
        [Ok(first), Err(Broken { line: 2, why: Why::TooLong(_) }), Ok(last)]
            if first.line == 1 && last.line == 3 && first.bytes == last.bytes
    ));
}

#[test]
fn what_never_closes_is_bounded() {
    let mut text = b"{\"resourceSpans\":[\n".to_vec();
    let filler = [vec![b'['; 1 << 20], b"\n".to_vec()].concat();
    for _ in 0..70 {
        text.extend_from_slice(&filler);
    }
    text.extend_from_slice(line(1).as_bytes());
    let found: Vec<_> = Documents::new(Cursor::new(text)).collect();
    assert!(
        matches!(&found[..], [Err(Broken { line: 1, why: Why::TooLong(_) }), Ok(last)] if last.line == 72),
        "the next request is found"
    );
}

proptest! {
    /// However each request is laid out over lines, the same requests come out.
    #[test]
    fn layout_does_not_matter(layouts in prop::collection::vec((0u64..50, any::<bool>(), 0usize..3), 0..8)) {
        let mut text = String::new();
        let mut expected = Vec::new();
        for (n, pretty, blank_lines) in layouts {
            let value: serde_json::Value = serde_json::from_str(&line(n)).unwrap();
            expected.push(value.clone());
            let written = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            text += &written.unwrap();
            text += &"\n".repeat(blank_lines + 1);
        }
        let found: Vec<serde_json::Value> = Documents::new(Cursor::new(text))
            .map(|document| serde_json::from_slice(&document.unwrap().bytes).unwrap())
            .collect();
        prop_assert_eq!(found, expected);
    }

    /// A flipped byte in one line never costs another line.
    #[test]
    fn damage_stays_in_its_line(at in 0usize..400, byte: u8, victim in 0u64..5) {
        let mut lines: Vec<Vec<u8>> = (0..5).map(|n| line(n).into_bytes()).collect();
        let target = &mut lines[usize::try_from(victim).unwrap()];
        let at = at % target.len();
        // A line that no longer begins as a request may be taken for the rest of the one before, and a line break
        // makes two lines: those are other damages.
        prop_assume!(at > 16 && byte != b'\n');
        target[at] = byte;
        let (good, _) = outcome(&lines.join(&b'\n')).unwrap();
        let good: Vec<u64> = good.into_iter().map(|(line, _)| line).collect();
        for line in (1..=5).filter(|line| *line != victim + 1) {
            prop_assert!(good.contains(&line), "line {} is missing in {:?}", line, good);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = outcome(&bytes);
        let _ = outcome(&[b"{}\n".to_vec(), bytes.clone()].concat());
        let _ = outcome(&[gzip(b"{}\n"), bytes.clone()].concat());
        // As the inside of each format.
        for start in [&b"[{\"traceId\":"[..], b"{\"data\":[{\"traceID\":", b"\x0a\x20\x0a\x10", b"\0\0\0\x20\x0a\x1e\x0a\x10"] {
            let _ = outcome(&[start, &bytes].concat());
        }
    }
}
