//! What a file holds, told by its first bytes and never by its name.

use super::documents::starts_request;

/// How the content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OTLP/JSON: a request, or one on each line.
    Lines,
    /// JSON values one after another or in arrays: Zipkin spans, an export of Jaeger, requests.
    Elements,
    /// OTLP protobuf.
    Binary(Framing),
}

/// How protobuf requests follow each other in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// They do so bare. Then many are as good as one, since protobuf adds up repeated fields.
    Bare,
    /// Each after its length as a varint: `writeDelimitedTo` of the protobuf libraries.
    Varint,
    /// Each after its length as 32 bits, big-endian: the file exporter of the collector. With compression it writes
    /// each as a zstd frame by itself, and JSON the same way.
    Fixed32,
}

pub(super) const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// A frame of zstd without content begins so, behind one byte of `50` to `5f`.
pub(super) const SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Tells the format by the first bytes of the content; an error says what it looks like instead.
pub(super) fn format(head: &[u8]) -> Result<Format, &'static str> {
    let text = head.strip_prefix(UTF8_MARK).unwrap_or(head).trim_ascii_start();
    let has = |key: &str| text.windows(key.len()).any(|part| part == key.as_bytes());
    let has_request = ["\"resourceSpans\"", "\"resource_spans\"", "\"batches\""].iter().any(|key| has(key));
    let has_span = has("\"traceId\"") || has("\"traceID\"");
    match text.first() {
        None => return Ok(Format::Lines),
        Some(b'[') if has_request || has_span => return Ok(Format::Elements),
        Some(b'{') if has_request => return Ok(Format::Lines),
        Some(b'{') if has_span => return Ok(Format::Elements),
        _ => {}
    }
    // A line of rubbish at the top does not hide the requests below it.
    let mut lines = head.split(|byte| *byte == b'\n');
    if lines.any(|line| starts_request(line) || line.starts_with(b"[{\"traceId\"")) {
        return Ok(Format::Lines);
    }
    if let Some(framing) = framing(head) {
        return Ok(Format::Binary(framing));
    }
    match head {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{' | b'[', 0, ..] | [0, b'{' | b'[', ..] => {
            return Err("it is text in UTF-16; convert it with: iconv -f UTF-16 -t UTF-8");
        }
        _ => {}
    }
    let closes = |end: u8| text.get(1..).is_some_and(|rest| rest.trim_ascii_start().first() == Some(&end));
    match text.first() {
        Some(b'{') if closes(b'}') => Ok(Format::Lines),
        // No span is one export of Zipkin, or of Jaeger.
        Some(b'[') if closes(b']') => Ok(Format::Elements),
        Some(b'{') if has("\"data\"") && has("[]") => Ok(Format::Elements),
        Some(b'{') => Err("it is a JSON object without resourceSpans, data or traceId"),
        Some(b'[') => Err("it is a JSON array of something else than spans or requests"),
        _ => Err("its content is not known"),
    }
}

/// The key of `resource_spans`, the only field of a request.
const RESOURCE_SPANS: u8 = 0x0a;

/// How protobuf requests are framed, if that is what the bytes are.
fn framing(head: &[u8]) -> Option<Framing> {
    if is_request(head) {
        return Some(Framing::Bare);
    }
    if let [a, b, c, d, rest @ ..] = head {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let fits = (2..=super::documents::MAX_DOCUMENT).contains(&length);
        if fits && (is_request(rest) || rest.starts_with(ZSTD) || starts_request(rest)) {
            return Some(Framing::Fixed32);
        }
    }
    let (length, rest) = varint(head)?;
    let inner = usize::try_from(length).ok().filter(|length| *length >= 2)?;
    is_request(rest.get(..inner).unwrap_or(rest)).then_some(Framing::Varint)
}

/// Do the bytes begin with a `ResourceSpans` in a request, as far as they go?
fn is_request(bytes: &[u8]) -> bool {
    let Some((&RESOURCE_SPANS, rest)) = bytes.split_first() else { return false };
    let Some((length, rest)) = varint(rest) else { return false };
    if length == 0 {
        return rest.is_empty() || is_request(rest);
    }
    // resource, scope_spans or schema_url, each led by its length.
    let Some((0x0a | 0x12 | 0x1a, rest)) = rest.split_first() else { return false };
    varint(rest).is_some_and(|(inner, _)| inner < length)
}

/// A varint, and what follows.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (nth, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * nth);
        if *byte < 0x80 {
            return Some((number, &bytes[nth + 1..]));
        }
    }
    None
}
