//! Files as people have them: real recordings, cut lines, other formats, bombs.

mod binary;
mod bounds;
mod elements;
mod format;
mod moved;
mod recordings;
mod whole;

use std::{io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use nexarch_core::otlp::Rules;

use super::{Place, Problem, Request, Unreadable, read};

/// One of the project's fixtures.
fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Writes a file that lives as long as the answer.
fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A request of one span on one line; `n` becomes its id.
fn line(n: u64) -> String {
    request(n, 1_700_000_000_000_000_000 + n * 1_000_000_000)
}

fn request(n: u64, start_ns: u64) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"a\"}}]{n}"}}}}]}},"scopeSpans":[{{"spans":[{{"traceId":"{:032x}","spanId":"{n:016x}","name":"op","startTimeUnixNano":"{start_ns}","endTimeUnixNano":"{}","events":[{{"timeUnixNano":"{}","name":"e"}}]}}]}}]}}]}}"#,
        n + 1,
        start_ns + 5_000_000,
        start_ns + 1_000_000,
    )
}

/// Lines of good requests with their number of spans, and lines of problems with the reason.
type Outcome = (Vec<(u64, usize)>, Vec<(u64, String)>);

/// The line, or the byte.
fn number(place: Place) -> u64 {
    match place {
        Place::Line(number) | Place::Byte(number) => number,
    }
}

/// Everything in a file.
fn outcome(bytes: &[u8]) -> Result<Outcome, Unreadable> {
    let file = file(bytes);
    let (good, bad): (Vec<_>, Vec<_>) = read(file.path(), Rules::default())?.partition(Result::is_ok);
    let good = good
        .into_iter()
        .filter_map(Result::ok)
        .map(|Request { place, decoded, .. }| (number(place), decoded.spans.len()));
    let bad =
        bad.into_iter().filter_map(Result::err).map(|Problem { place, reason, .. }| (number(place), reason));
    Ok((good.collect(), bad.collect()))
}
