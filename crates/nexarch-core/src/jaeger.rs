//! Jaeger UI JSON: `{"data":[{"traceID","spans":[…],"processes":{…}}]}`, as the UI and `/api/traces` export it.
//!
//! | Jaeger | here |
//! |---|---|
//! | `traceID`, `spanID` | ids; leading zeros may be missing |
//! | `startTime`, `duration` (µs) | start and end |
//! | the first `CHILD_OF` reference inside the trace | the parent; all other references are links |
//! | `processes[processID]` | `service.name` and the resource; `hostname` is `host.name`, too |
//! | tags `span.kind`, `error`, `otel.status_code`, `otel.status_description` | kind and status |
//! | tags `otel.scope.name`, `otel.scope.version`, `w3c.tracestate` | scope and trace state |
//! | all other tags | attributes of their type |
//! | `logs` | events, named by their field `event` |
//!
//! Tags that became a field of the span are no attributes any more, but for `error`.
//!
//! ```
//! use nexarch_core::{jaeger, otlp::Rules, span::Kind};
//! let body = br#"{"data":[{"traceID":"a1","spans":[{"traceID":"a1","spanID":"b2","operationName":"GET /",
//!     "startTime":1000,"duration":7,"processID":"p1","tags":[{"key":"span.kind","type":"string","value":"server"}]}],
//!     "processes":{"p1":{"serviceName":"cart","tags":[]}}}]}"#;
//! let decoded = jaeger::decode(&body.to_vec().into(), &Rules::default()).unwrap();
//! assert_eq!((decoded.spans[0].kind, decoded.spans[0].end_ns), (Kind::Server, Some(1_007_000)));
//! ```

mod process;
mod span;
mod tags;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;

use crate::{
    foreign,
    otlp::{Budget, DecodeError, Decoded, Gate, Reason, Rules, Sender},
    span::{Resource, Scope},
};

/// Longest span (bytes of text): as much as a whole request of OTLP may hold by default. A trace may be longer.
const MAX_SPAN_BYTES: usize = 64 << 20;

/// Decodes a document: an export, or one trace of it.
pub fn decode(body: &Bytes, rules: &Rules) -> Result<Decoded, DecodeError> {
    let failed = |error: String| DecodeError::Json(foreign::shortened(error));
    let text = std::str::from_utf8(body).map_err(|_| failed("it is not UTF-8".into()))?;
    let [data] = foreign::fields(text, &["data"]).map_err(failed)?;
    let Some(data) = data else {
        return Ok(Trace::open(body.clone()).map_err(failed)?.all(rules));
    };
    let mut all = Decoded::default();
    for trace in foreign::elements(data).map_err(failed)? {
        let place = foreign::place(body, trace);
        match Trace::open(body.slice(place)) {
            Ok(trace) => {
                let mut decoded = trace.all(rules);
                decoded.rejected.iter_mut().for_each(|span| span.index += all.received);
                all.append(decoded);
            }
            // The other traces are good all the same.
            Err(error) => all.append(Decoded::of_rejected(all.received, Reason::Field(error))),
        }
    }
    Ok(all)
}

/// One trace whose spans are decoded part by part, so that a large one is not held twice.
#[derive(Debug)]
pub struct Trace {
    body: Bytes,
    spans: Vec<Range<usize>>,
    senders: BTreeMap<String, Sender>,
}

/// Counts the lines before the spans of a trace. Each byte is looked at once, as long as spans are asked for in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines {
    /// Bytes that were looked at.
    at: usize,
    /// Lines that end in them.
    ended: u64,
}

impl Trace {
    /// Finds the spans and reads the processes; an error says what is missing.
    pub fn open(body: Bytes) -> Result<Self, String> {
        let text = std::str::from_utf8(&body).map_err(|_| "it is not UTF-8".to_owned())?;
        let [spans, processes] =
            foreign::fields(text, &["spans", "processes"]).map_err(foreign::shortened)?;
        let Some(spans) = spans else {
            return Err("spans: missing; a trace of Jaeger holds spans and processes".to_owned());
        };
        let spans = foreign::named("spans", foreign::elements(spans))?;
        let spans = spans.into_iter().map(|span| foreign::place(&body, span)).collect();
        let budget = Budget::new(body.len(), &Rules::default());
        let senders = match processes {
            Some(processes) => foreign::named("processes", process::read(&body, processes, &budget))?,
            None => BTreeMap::new(),
        };
        Ok(Self { body, spans, senders })
    }

    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes of text that any of its spans keeps in memory.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// How many lines of the trace end before a span begins. `lines` begins new and knows what was counted already.
    pub fn lines_before(&self, span: usize, lines: &mut Lines) -> u64 {
        let start = self.spans.get(span).map_or(0, |place| place.start);
        if start < lines.at {
            *lines = Lines::default();
        }
        let between = self.body.get(lines.at..start).unwrap_or_default();
        lines.ended += between.split(|byte| *byte == b'\n').skip(1).count() as u64;
        lines.at = start;
        lines.ended
    }

    /// Decodes some of the spans; indexes of rejected ones count from the first of them.
    pub fn decode(&self, spans: Range<usize>, rules: &Rules) -> Decoded {
        // With the first spans, what was cut of their senders is told, too.
        let first = spans.start == 0;
        let places = self.spans.get(spans).unwrap_or_default();
        let bytes = places.iter().map(Range::len).sum();
        let mut gate = Gate::new(rules, bytes);
        if first {
            gate.flags().cut += self.senders.values().map(|sender| sender.cut).sum::<u64>();
        }
        let mut scoped = Scoped { trace: self, senders: BTreeMap::new() };
        for place in places {
            let read = self.json(place).and_then(|json| span::read(&self.body, json, gate.budget()));
            match read {
                Ok(read) => scoped.offer(&mut gate, read),
                Err(error) => gate.offer(&nobody(), Err(Reason::Field(error))),
            }
        }
        gate.finish()
    }

    fn all(&self, rules: &Rules) -> Decoded {
        self.decode(0..self.len(), rules)
    }

    fn json(&self, place: &Range<usize>) -> Result<&str, String> {
        if place.len() > MAX_SPAN_BYTES {
            return Err(format!("it is longer than {} MiB", MAX_SPAN_BYTES >> 20));
        }
        let bytes = self.body.get(place.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
    }
}

fn nobody() -> Sender {
    Sender::new(Ok(Resource::default()))
}

/// Senders with their scopes, shared by the spans of one part.
struct Scoped<'a> {
    trace: &'a Trace,
    senders: BTreeMap<(String, String, String), Sender>,
}

impl Scoped<'_> {
    fn offer(&mut self, gate: &mut Gate<'_>, read: span::Read) {
        let span::Read { draft, process, scope } = read;
        let Some(sender) = self.trace.senders.get(&process) else {
            let known = if process.is_empty() { "missing" } else { "not among the processes of the trace" };
            let error = format!("processID: {known}; name one of its processes");
            let id = draft.span_id.map(|id| format!("span {id}: ")).unwrap_or_default();
            return gate.offer(&nobody(), Err(Reason::Field(format!("{id}{error}"))));
        };
        let Scope { name, version, .. } = &scope;
        if name.is_empty() && version.is_empty() {
            return gate.offer(sender, Ok(draft));
        }
        let key = (process, name.to_string(), version.to_string());
        let sender = self.senders.entry(key).or_insert_with(|| {
            let sender = sender.with_scope(Ok(scope));
            gate.flags().cut += sender.cut;
            sender
        });
        gate.offer(sender, Ok(draft));
    }
}
