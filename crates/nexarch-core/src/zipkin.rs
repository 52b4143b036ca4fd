//! Zipkin v2 JSON: an array of spans, or an array of traces, each an array of spans.
//!
//! | Zipkin | here |
//! |---|---|
//! | `traceId` of 16 or 32 hex digits, `id`, `parentId` of 16 | ids; a short trace id is padded on the left |
//! | `kind` | the kind; none = not stated, which inference takes as local |
//! | `timestamp`, `duration` (µs) | start and end; 0 = absent |
//! | `localEndpoint` | `service.name` in lower case, as Zipkin's own model has it; ip and port are `service.instance.id` |
//! | `remoteEndpoint` | `service.peer.name` (of a producer or consumer that is its broker), `network.peer.address`, `.port` |
//! | `tags` | attributes; `error` makes an error by presence, also when empty |
//! | `annotations` | events |
//! | `shared` | nothing: that both halves of a call have one id is seen from the ids (rule R1) |
//!
//! **Missing times.** A span may come in parts, and only one of them be timed. One without `timestamp` takes the start of
//! the other spans of its id, else of the nearest span above it that has one, else the first start of its trace. All of
//! these may come later in the file, so [`Reader`] keeps such spans until [`Reader::rest`]. A span without `duration`
//! counts as a call, its latency does not.
//!
//! ```
//! use nexarch_core::{otlp::Rules, zipkin};
//! let body = br#"[{"traceId":"00000000000000a1","id":"00000000000000b2","kind":"SERVER","timestamp":1000,
//!     "localEndpoint":{"serviceName":"Cart"}}, {"id":"00000000000000b3"}]"#;
//! let decoded = zipkin::decode(&body.to_vec().into(), &Rules::default()).unwrap();
//! assert_eq!((decoded.spans.len(), decoded.rejected_total), (1, 1));
//! assert_eq!(decoded.spans[0].start_ns, 1_000_000);
//! assert!(decoded.message().unwrap().contains("span 00000000000000b3: traceId: missing"));
//! ```

mod span;
#[cfg(test)]
mod tests;
mod times;

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use serde_json::value::RawValue;

use self::times::Times;
use crate::{
    foreign::{self, place},
    otlp::{DecodeError, Decoded, Gate, Reason, Rejected, Rules, Sender},
};

/// Most bytes of spans without `timestamp` that are kept until their trace is known (64 MiB). Beyond that they are
/// judged by what was read so far.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Decodes a document. The spans keep slices of `body`; those without `timestamp` come last.
pub fn decode(body: &Bytes, rules: &Rules) -> Result<Decoded, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|_| DecodeError::Json("it is not UTF-8".into()))?;
    let mut places = Vec::new();
    let list: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
        DecodeError::Json(foreign::shortened(format!("{error} (an array of Zipkin v2 spans)")))
    })?;
    for element in list {
        // Of arrays in arrays the inner ones are traces; what is neither is judged as a span.
        match foreign::elements(element) {
            Ok(trace) => places.extend(trace.iter().map(|span| place(body, span))),
            Err(_) => places.push(place(body, element)),
        }
    }
    let elements: Vec<Element> =
        places.into_iter().enumerate().map(|(at, place)| Element { place, mark: at as u64 }).collect();
    let mut reader = Reader::new(*rules);
    let mut all = reader.spans(body, &elements).by_mark();
    all.append(reader.rest().by_mark());
    Ok(all)
}

/// One span of a body, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its bytes in the body.
    pub place: Range<usize>,
    /// Whatever tells it apart for the caller, such as its line.
    pub mark: u64,
}

/// Spans of one call.
#[derive(Debug, Default)]
pub struct Group {
    /// The spans; an index of a rejected one is a place in `marks`.
    pub decoded: Decoded,
    /// The mark of each received span.
    pub marks: Vec<u64>,
    /// Bytes of text that its spans keep in memory.
    pub bytes: usize,
}

impl Group {
    /// With marks for indexes.
    fn by_mark(mut self) -> Decoded {
        for Rejected { index, .. } in &mut self.decoded.rejected {
            *index = usize::try_from(self.marks[*index]).unwrap_or(usize::MAX);
        }
        self.decoded
    }
}

/// Reads spans as they come. Memory: what is asked of one call, [`MAX_WAITING_BYTES`], and the times of the last
/// million spans.
#[derive(Debug)]
pub struct Reader {
    rules: Rules,
    times: Times,
    /// Spans without `timestamp`: copies, so that they do not hold on to the bodies that they stood in.
    waiting: Vec<(u64, Bytes)>,
    waiting_bytes: usize,
}

impl Reader {
    /// Has read nothing.
    pub fn new(rules: Rules) -> Self {
        Self { rules, times: Times::default(), waiting: Vec::new(), waiting_bytes: 0 }
    }

    /// Decodes spans of a body; those without `timestamp` are kept for later and are not part of the answer.
    pub fn spans(&mut self, body: &Bytes, elements: &[Element]) -> Group {
        let mut gate = Gate::new(&self.rules, body.len());
        let mut marks = Vec::with_capacity(elements.len());
        let mut senders = Senders::default();
        for Element { place, mark } in elements {
            let json = body.get(place.clone()).unwrap_or_default();
            match span::read(body, json, gate.budget()) {
                Ok(read) if read.draft.start_ns == 0 => {
                    self.times.note(&read.draft);
                    self.waiting_bytes += json.len();
                    self.waiting.push((*mark, Bytes::copy_from_slice(json)));
                }
                read => {
                    if let Ok(read) = &read {
                        self.times.note(&read.draft);
                    }
                    marks.push(*mark);
                    senders.offer(&mut gate, body, read);
                }
            }
        }
        let mut group = Group { decoded: gate.finish(), marks, bytes: body.len() };
        if self.waiting_bytes > MAX_WAITING_BYTES || self.times.is_full() {
            group.append(self.rest());
        }
        group
    }

    /// Decodes what was kept for later: call it when all spans of a file were read.
    pub fn rest(&mut self) -> Group {
        let times = std::mem::take(&mut self.times);
        self.waiting_bytes = 0;
        let mut group = Group::default();
        for (mark, body) in self.waiting.drain(..) {
            let mut gate = Gate::new(&self.rules, body.len());
            let read = span::read(&body, &body, gate.budget()).and_then(|mut read| {
                read.draft.start_at(times.start_of(&read.draft).ok_or_else(untimed)?);
                Ok(read)
            });
            Senders::default().offer(&mut gate, &body, read);
            group.append(Group { decoded: gate.finish(), marks: vec![mark], bytes: body.len() });
        }
        group
    }
}

fn untimed() -> String {
    "timestamp: missing, and no span of its trace has one; add it, in microseconds".to_owned()
}

impl Group {
    fn append(&mut self, mut other: Self) {
        for Rejected { index, .. } in &mut other.decoded.rejected {
            *index += self.marks.len();
        }
        self.decoded.append(other.decoded);
        self.marks.extend(other.marks);
        self.bytes += other.bytes;
    }
}

/// The senders of one body, by the text of their endpoint, so that spans share them.
#[derive(Default)]
struct Senders<'a>(BTreeMap<&'a str, Sender>);

impl<'a> Senders<'a> {
    fn offer(&mut self, gate: &mut Gate<'_>, body: &Bytes, read: Result<span::Read<'a>, String>) {
        match read {
            Ok(span::Read { draft, endpoint }) => {
                let sender = self.0.entry(endpoint).or_insert_with(|| {
                    let sender = Sender::new(span::resource(body, endpoint));
                    gate.flags().cut += sender.cut;
                    sender
                });
                gate.offer(sender, Ok(draft));
            }
            Err(error) => {
                gate.offer(&Sender::new(Ok(crate::span::Resource::default())), Err(Reason::Field(error)));
            }
        }
    }
}
