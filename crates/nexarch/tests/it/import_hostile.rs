//! Files as nobody should write them, through the real program: what is good is stored, the rest is counted and told
//! with its place, nothing panics, and memory stays bounded.

use std::{
    fs,
    io::Write as _,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::support::home::Home;

/// Address space that the program may take, in KiB: far below what a bomb or a believed length would ask for.
const MAX_MEMORY_KIB: u32 = 2_000_000;

const TIME_NS: u64 = 1_700_000_000_000_000_000;

/// A request with one span that has further fields.
fn otlp(n: u64, rest: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{n:032x}","spanId":"{n:016x}","startTimeUnixNano":"{TIME_NS}"{rest}}}]}}]}}]}}"#
    )
}

/// A span of Zipkin with further fields.
fn zipkin(n: u64, rest: &str) -> String {
    format!(r#"{{"traceId":"{n:032x}","id":"{n:016x}","timestamp":{}{rest}}}"#, TIME_NS / 1_000)
}

fn gzip(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for part in parts {
        out.write_all(part).unwrap();
    }
    out.finish().unwrap()
}

/// 80 MiB of blanks, in lines.
fn blanks() -> Vec<u8> {
    [vec![b' '; 1 << 20], vec![b'\n']].concat().repeat(80)
}

/// Runs an import with bounded memory.
fn run(home: &Home, file: &str) -> Output {
    let plain = home.command(["import", "--tenant", "acme", "--shift-to-now", file]);
    let mut bounded = Command::new("sh");
    bounded.args(["-c", &format!("ulimit -v {MAX_MEMORY_KIB}; exec \"$0\" \"$@\"")]);
    bounded.arg(plain.get_program()).args(plain.get_args()).current_dir(home.path()).env_clear();
    bounded.env("PATH", "/usr/bin:/bin");
    bounded.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bounded.output().unwrap()
}

/// What must come of a file.
struct Case {
    name: &'static str,
    content: Vec<u8>,
    accepted: u64,
    rejected: u64,
    /// Among what is told.
    words: &'static str,
}

fn case(name: &'static str, content: impl Into<Vec<u8>>, counts: (u64, u64), words: &'static str) -> Case {
    Case { name, content: content.into(), accepted: counts.0, rejected: counts.1, words }
}

fn check(cases: Vec<Case>) {
    let home = Home::new();
    home.tenant("acme");
    for Case { name, content, accepted, rejected, words } in cases {
        let path = home.path().join("file");
        fs::write(&path, content).unwrap();
        let output = run(&home, path.to_str().unwrap());
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        let last: Value = serde_json::from_str(stdout.lines().last().unwrap_or("null")).unwrap();
        let found = ["accepted", "duplicates"].map(|count| last[count].as_u64().unwrap_or(u64::MAX));
        // The cases share ids, so that a span of an earlier one is a duplicate.
        assert_eq!(found[0].wrapping_add(found[1]), accepted, "{name}: {stdout}{stderr}");
        assert_eq!(last["rejected"], json!(rejected), "{name}: {stdout}{stderr}");
        assert!(stderr.contains(words) && !stderr.contains("panicked"), "{name}: {stderr}");
        assert!(stderr.len() < 20_000, "{name}: {} bytes", stderr.len());
        let expected = i32::from(accepted == 0 && rejected > 0);
        assert_eq!(output.status.code(), Some(expected), "{name}: {stderr}");
    }
}

#[test]
fn texts_with_bad_parts() {
    let (a, b) = (otlp(1, ""), otlp(2, ""));
    let pairs: Vec<String> =
        (0..10_000).map(|n| format!(r#"{{"key":"k{n}","value":{{"intValue":"{n}"}}}}"#)).collect();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let deep_value = r#"{"arrayValue":{"values":["#.repeat(100_000) + &"]}}".repeat(100_000);
    let long = [a.as_bytes(), b"\n{\"a\":\"", &vec![b'x'; 65 << 20], b"\"}\n", b.as_bytes()].concat();
    let jaeger = |rest: &str| {
        format!(
            r#"{{"data":[{{"traceID":"9","spans":[{{"traceID":"9","spanID":"1","startTime":1700000000000000,"processID":"p"}}{rest}],"processes":{{"p":{{"serviceName":"a"}}}}}}]}}"#
        )
    };
    check(vec![
        case("good and bad lines", format!("{a}\nrubbish\n{b}\n"), (2, 1), "file:2: "),
        case("a byte order mark and CRLF", format!("\u{feff}{a}\r\n\r\n{b}\r\n"), (2, 0), ""),
        case("nothing", "", (0, 0), "0 new"),
        case("blank lines", "\n\n \n", (0, 0), "0 new"),
        case("a huge line", long, (2, 1), "file:2: it is longer than 64 MiB"),
        case("NaN", format!("[{},{}]", zipkin(1, r#","duration":NaN"#), zipkin(2, "")), (1, 1), "file:1: "),
        case(
            "a negative time",
            format!("[{},\n{}]", zipkin(1, ""), zipkin(2, r#","duration":-1"#)),
            (1, 1),
            "file:2: span 0000000000000002: duration: ",
        ),
        case(
            "a negative time in OTLP",
            format!("{a}\n{}", otlp(3, r#","endTimeUnixNano":-5"#)),
            (1, 1),
            "endTimeUnixNano",
        ),
        case(
            "ids of wrong length",
            format!("{a}\n{}", b.replace("0002\",\"spanId\"", "02\",\"spanId\"")),
            (1, 1),
            "trace_id must be 16 bytes",
        ),
        case(
            "ids of wrong length in Zipkin",
            format!("[{},{}]", zipkin(1, ""), zipkin(2, r#","id":"12""#)),
            (1, 1),
            "id: expected 16 hex digits",
        ),
        case(
            "repeated keys",
            format!("[{}]", zipkin(4, r#","name":"a","name":"b","tags":{"x":"1","x":"2"}"#)),
            (1, 0),
            "",
        ),
        case("10,000 attributes", otlp(5, &format!(r#","attributes":[{}]"#, pairs.join(","))), (1, 0), ""),
        case(
            "deep tags",
            format!("[{},{}]", zipkin(1, ""), zipkin(6, &format!(r#","tags":{{"a":{deep}}}"#))),
            (1, 1),
            "nested deeper",
        ),
        case(
            "deep values",
            format!("{a}\n{}", otlp(6, &format!(r#","attributes":[{{"key":"k","value":{deep_value}}}]"#))),
            (1, 1),
            "file:2: ",
        ),
        case(
            "a cycle of parents and a parent of itself",
            format!(
                "[{},{},{}]",
                zipkin(7, r#","parentId":"0000000000000007""#),
                zipkin(8, r#","traceId":"00000000000000a7","parentId":"0000000000000009""#),
                zipkin(9, r#","traceId":"00000000000000a7","parentId":"0000000000000008""#),
            ),
            (3, 0),
            "",
        ),
        case(
            "all formats in one file",
            format!("{a}\n[{}]\n{}\n{b}\n", zipkin(1, ""), jaeger("")),
            (4, 0),
            "",
        ),
        case(
            "a process that is not there",
            jaeger(r#",{"traceID":"9","spanID":"2","startTime":1700000000000000,"processID":"q"}"#),
            (1, 1),
            "span 0000000000000002: processID: ",
        ),
        case(
            "a cut array",
            format!("[{},\n{}", zipkin(1, ""), &zipkin(2, "")[..40]),
            (1, 1),
            "file:2: it is cut off",
        ),
        case("NUL bytes", format!("{a}\n\0\0\0\n{b}"), (2, 1), "file:2: "),
        case("many problems", format!("{a}\n{}", "rubbish\n".repeat(1_000)), (1, 1_000), "… and 980 more"),
    ]);
}

#[test]
fn bombs_and_cut_streams() {
    let (a, b) = (otlp(1, "") + "\n", otlp(2, ""));
    let many: String = (1..3_000).map(|n| otlp(n, "") + "\n").collect();
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 7);
        bytes
    };
    let blanks = blanks();
    let bomb = [a.as_bytes(), &blanks, b.as_bytes()].concat();
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    check(vec![
        case("a bomb of gzip", gzip(&[&bomb]), (1, 1), "200 times"),
        case("a bomb of zstd", zstd(&bomb), (1, 1), "200 times"),
        case(
            "a bomb in a record",
            {
                let frame = zstd(&blanks);
                [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], &frame].concat()
            },
            (0, 1),
            "longer than 64 MiB",
        ),
        case(
            "a cut stream of gzip",
            cut(gzip(&[many.as_bytes()])),
            (2_999, 1),
            "the rest of the file cannot be read",
        ),
        case(
            "two members and rubbish",
            [gzip(&[a.as_bytes()]), gzip(&[b.as_bytes(), b"\n"]), b"rubbish".to_vec()].concat(),
            (2, 1),
            "the rest of the file",
        ),
        case(
            "a length that is not true",
            [&[0x0a, 0x40, 0x0a, 0x10], &[0; 20][..]].concat(),
            (0, 1),
            "byte 0: it is cut off",
        ),
        case(
            "a length of 60 MiB",
            [&[3, 0xc0, 0, 0, 0x0a, 0x40, 0x0a, 0x10], &[0; 20][..]].concat(),
            (0, 1),
            "byte 0: it is cut off",
        ),
    ]);
}

#[test]
fn what_cannot_be_read_at_all_is_told_by_name() {
    let home = Home::new();
    home.tenant("acme");
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(30).unwrap();
    wide.write_all(otlp(1, "").as_bytes()).unwrap();
    for (name, content, words) in [
        ("utf16", b"\xff\xfe{\0\"\0r\0".to_vec(), "iconv"),
        ("window", wide.finish().unwrap(), "memory"),
        ("picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "its content is not known"),
        ("table", b"a,b\n1,2\n".to_vec(), "its content is not known"),
    ] {
        let path = home.path().join(name);
        fs::write(&path, content).unwrap();
        failed(&home, path.to_str().unwrap(), words);
    }
    failed(&home, home.path().to_str().unwrap(), "directory");
    // Opens, and fails to be read, whoever asks.
    failed(&home, "/proc/self/mem", "error");
    failed(&home, "absent", "No such file");
}

fn failed(home: &Home, file: &str, words: &str) {
    let output = run(home, file);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{file}: {stderr}");
    assert!(
        stderr.contains(file) && stderr.contains(words) && !stderr.contains("panicked"),
        "{file}: {stderr}"
    );
    assert!(output.stdout.is_empty(), "{file}");
}

#[test]
fn one_trace_of_100_000_spans() {
    let home = Home::new();
    home.tenant("acme");
    let span = |n: u64| {
        let (parent, time) = (n / 8, TIME_NS / 1_000 + n);
        format!(
            r#"{{"traceId":"00000000000000ff","id":"{n:016x}","parentId":"{parent:016x}","timestamp":{time},"duration":1}}"#
        )
    };
    let spans: Vec<String> = (1..=100_000).map(span).collect();
    let text = format!("[{}]", spans.join(","));
    let path = home.path().join("large.json");
    fs::write(&path, text).unwrap();
    let output = run(&home, path.to_str().unwrap());
    let stdout = String::from_utf8(output.stdout).unwrap();
    let expected = json!({"accepted": 100_000, "duplicates": 0, "rejected": 0, "files": 1});
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap_or("null")).unwrap();
    assert_eq!(last, expected, "{}", String::from_utf8_lossy(&output.stderr));
}
