//! Protobuf as exporters and libraries write it, and zstd around everything.

use std::io::Write as _;

use nexarch_core::otlp::{Rules, decode_json, encode_protobuf};

use super::{fixture, gzip, line, outcome};

/// A request of one span.
fn request(n: u64) -> Vec<u8> {
    encode_protobuf(&decode_json(&line(n).into_bytes().into(), &Rules::default()).unwrap().spans)
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn fixed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn varint(body: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    let mut length = body.len();
    while length >= 0x80 {
        framed.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    framed.push(u8::try_from(length).unwrap());
    [framed, body.to_vec()].concat()
}

/// How many spans came out, and what was wrong.
fn spans(bytes: &[u8]) -> (usize, Vec<(u64, String)>) {
    let (good, bad) = outcome(bytes).unwrap();
    (good.iter().map(|(_, spans)| spans).sum(), bad)
}

#[test]
fn every_framing_is_told_by_content() {
    let files: [Vec<u8>; 6] = [
        request(1),
        [request(1), request(2), request(3)].concat(),
        [fixed(&request(1)), fixed(&request(2))].concat(),
        [fixed(&zstd(&request(1))), fixed(&zstd(&request(2)))].concat(),
        [fixed(line(1).as_bytes()), fixed(&zstd(line(2).as_bytes()))].concat(),
        [varint(&request(1)), varint(&request(2)), varint(&request(3))].concat(),
    ];
    for (file, count) in files.iter().zip([1, 3, 2, 2, 2, 3]) {
        for bytes in [file.clone(), gzip(file), zstd(file)] {
            assert_eq!(spans(&bytes), (count, Vec::new()), "{:02x?}", &file[..12]);
        }
    }
}

#[test]
fn real_spans_survive_every_framing() {
    let json = std::fs::read(fixture("otlp/jaeger_example_trace.json")).unwrap();
    let decoded = decode_json(&json.into(), &Rules::default()).unwrap();
    let body = encode_protobuf(&decoded.spans);
    for bytes in [body.clone(), fixed(&body), varint(&body), fixed(&zstd(&body))] {
        let file = super::file(&bytes);
        let requests = super::read(file.path(), Rules::default()).unwrap();
        let found: Vec<_> = requests.flat_map(|request| request.unwrap().decoded.spans).collect();
        assert_eq!(found, decoded.spans);
    }
}

#[test]
fn a_cut_file_keeps_what_came_before() {
    for whole in [
        [request(1), request(2)].concat(),
        [fixed(&request(1)), fixed(&request(2))].concat(),
        [varint(&request(1)), varint(&request(2))].concat(),
    ] {
        let (count, bad) = spans(&whole[..whole.len() - 1]);
        assert_eq!(count, 1);
        assert!(bad.len() == 1 && bad[0].1.contains("cut off"), "{bad:?}");
        assert_eq!(bad[0].0, (whole.len() / 2) as u64, "the byte where the second begins");
    }
}

#[test]
fn a_bad_record_costs_itself_where_its_end_is_known() {
    let mut bad = request(2);
    let at = bad.len() / 2;
    bad[at..].fill(0xff);
    for frame in [fixed, varint] {
        let (count, problems) = spans(&[frame(&request(1)), frame(&bad), frame(&request(3))].concat());
        assert_eq!((count, problems.len()), (2, 1), "{problems:?}");
    }
    let mut frame = zstd(&request(2));
    let at = frame.len() - 4;
    frame[at..].fill(0xff);
    let (count, problems) =
        spans(&[fixed(&zstd(&request(1))), fixed(&frame), fixed(&zstd(&request(3)))].concat());
    assert_eq!((count, problems.len()), (2, 1), "{problems:?}");
    // Fields of a later version are passed over; what is no field ends the file.
    let (count, problems) = spans(&[request(1), vec![0x50, 0x07, 0x5a, 1, b'x'], request(2)].concat());
    assert_eq!((count, problems), (2, Vec::new()));
    let (count, problems) = spans(&[request(1), vec![0x07], request(2)].concat());
    assert_eq!((count, problems.len()), (1, 1));
    // What is passed over counts for the place of what comes after it.
    let before = [request(1), vec![0x5a, 1, b'x'], vec![0x59, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let (_, problems) = spans(&[before.clone(), vec![0x07]].concat());
    assert_eq!(problems[0].0, before.len() as u64, "{problems:?}");
}

#[test]
fn several_frames_and_members_are_one_file() {
    let (a, b) = (line(1) + "\n", line(2) + "\n");
    let frames = [zstd(a.as_bytes()), zstd(b.as_bytes())].concat();
    let members = [gzip(a.as_bytes()), gzip(b.as_bytes())].concat();
    // As pzstd begins: a frame of four bytes that hold no content.
    let skipped = [&b"\x50\x2a\x4d\x18\x04\0\0\0abcd"[..], &zstd((a.clone() + &b).as_bytes())].concat();
    for bytes in [frames, members, skipped] {
        assert_eq!(spans(&bytes), (2, Vec::new()));
    }
    let cut = zstd((0..4_000).map(|n| line(n) + "\n").collect::<String>().as_bytes());
    let (count, bad) = spans(&cut[..cut.len() / 2]);
    assert!(count > 0 && bad.len() == 1, "{count}: {bad:?}");
}

#[test]
fn zstd_with_a_huge_window_or_nothing_but_repetition_is_stopped() {
    let text = line(1) + "\n";
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    wide.long_distance_matching(true).unwrap();
    wide.window_log(30).unwrap();
    wide.write_all(text.as_bytes()).unwrap();
    let error = outcome(&wide.finish().unwrap()).unwrap_err().to_string();
    assert!(error.to_lowercase().contains("memory") || error.contains("indow"), "{error}");

    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    bomb.write_all(text.as_bytes()).unwrap();
    let blank = [vec![b' '; 1 << 20], vec![b'\n']].concat();
    for _ in 0..80 {
        bomb.write_all(&blank).unwrap();
    }
    bomb.write_all(text.as_bytes()).unwrap();
    let (count, bad) = spans(&bomb.finish().unwrap());
    assert_eq!(count, 1);
    assert!(bad.len() == 1 && bad[0].1.contains("200 times"), "{bad:?}");
}

#[test]
fn records_that_are_nothing_but_repetition_end_the_file() {
    let frame = |text: &str| fixed(&zstd(text.as_bytes()));
    let blanks = " ".repeat(40 << 20);
    let large = frame(&(line(1) + &blanks));
    let (count, bad) = spans(&[large.clone(), large, frame(&line(2))].concat());
    assert_eq!(count, 1, "80 MiB of 10 KiB");
    assert!(bad.len() == 1 && bad[0].1.contains("200 times"), "{bad:?}");
    // As many honest ones are no bomb.
    let honest: Vec<u8> = (0..3_000).flat_map(|n| frame(&line(n % 9 + 1))).collect();
    assert_eq!(spans(&honest), (3_000, Vec::new()));
}
