//! The native span format of `POST /api/v1/ingest` and `/batch`: one flat JSON object per span.
//!
//! | field | |
//! |---|---|
//! | `trace_id` | up to 32 hex digits in any case (shorter ones are padded on the left), or a UUID |
//! | `span_id`, `parent_span_id` (optional) | 16 hex digits, or a UUID of which the first 16 digits count |
//! | `service_name`, `operation` | text |
//! | `kind` (optional) | `internal` (the default), `server`, `client`, `producer`, `consumer`, in any case |
//! | `start_time` | RFC 3339; without a zone it is UTC |
//! | `end_time` or `latency_ms` (optional) | with both, `end_time` counts; with neither the span counts, but has no latency |
//! | `status_code` (optional) | an HTTP status; kept as `http.response.status_code`; 500 and above is an error |
//! | `error` (optional) | `true`, or the message of the error |
//! | `downstream` (optional) | the service that this span calls |
//! | `attributes` (optional) | an object; lists and objects in it are kept |
//!
//! **`downstream`** makes a span the calling half of a call: it becomes `service.peer.name`, and a span without a kind,
//! or of kind `internal`, becomes a `client`, for only an outgoing span can draw an edge to a service that sends
//! nothing itself (rule R4). When that service does send its half, the two are paired as usual. On a `server` or
//! `consumer` span `service.peer.name` would name the *caller*, so there it is kept as `nexarch.downstream` and draws
//! no edge.
//!
//! Unknown fields are ignored, so that senders may be newer than the server; when a required field is missing, its
//! error names the unknown ones, since one of them is probably the misspelt one.

mod fields;
mod item;
#[cfg(test)]
mod tests;
mod value;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub(crate) use fields::attributes as plain_attributes;
use serde::{
    Deserializer as _,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    Text,
    otlp::{Budget, Flags, Reason, Rules},
    span::{Resource, Scope, Span, Value},
};

/// How many errors of a batch are kept; all are counted.
pub const MAX_KEPT_ERRORS: usize = 1000;

/// Longest text of one error, in bytes: it may quote what was sent.
const MAX_ERROR_BYTES: usize = 300;

/// What a batch held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// The valid spans, in the order sent.
    pub spans: Vec<Span>,
    /// All items sent: `spans.len()` + `failed`.
    pub received: usize,
    /// All invalid items.
    pub failed: usize,
    /// The first [`MAX_KEPT_ERRORS`] invalid items.
    pub errors: Vec<ItemError>,
    /// What was odd but accepted.
    pub flags: Flags,
}

/// An item of a batch that is no valid span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemError {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// The field, what is wrong with it, and what to send instead.
    pub error: String,
}

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NativeError {
    /// Not JSON, or a batch that is no array: 400.
    #[error("{0}")]
    Body(String),
    /// One span, and it is invalid: 422. Names the field, what is wrong with it, and what to send instead.
    #[error("{0}")]
    Span(String),
}

/// Decodes the body of `POST /api/v1/ingest`: one span.
pub fn decode_one(body: &[u8], rules: &Rules) -> Result<(Span, Flags), NativeError> {
    let raw: &RawValue = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    let mut reader = Reader::new(rules, body.len());
    let span = reader.item(raw).map_err(NativeError::Span)?;
    Ok((span, reader.flags))
}

/// Decodes the body of `POST /api/v1/ingest/batch`: an array of spans. An empty one is valid.
pub fn decode_batch(body: &[u8], rules: &Rules) -> Result<Batch, NativeError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut items = Items { reader: Reader::new(rules, body.len()), batch: Batch::default() };
    json.deserialize_seq(&mut items).and_then(|()| json.end()).map_err(|error| {
        if error.is_data() {
            NativeError::Body(
                "the body must be a JSON array of spans; send one span to /api/v1/ingest".into(),
            )
        } else {
            not_json(&error)
        }
    })?;
    let Items { reader, mut batch } = items;
    batch.flags = reader.flags;
    Ok(batch)
}

/// What a rejected span counts as; of one that was sent alone.
pub fn flags_of(error: &NativeError) -> Flags {
    let mut flags = Flags::default();
    if let NativeError::Span(error) = error {
        reject(&mut flags, error);
    }
    flags
}

/// An error names its field first.
fn reject(flags: &mut Flags, error: &str) {
    let (field, words) = error.split_once(": ").unwrap_or_default();
    let is = |reason: Reason| field == "start_time" && words == reason.to_string();
    if matches!(field, "trace_id" | "span_id" | "parent_span_id") {
        flags.rejected_id += 1;
    } else if is(Reason::Future) {
        flags.rejected_future += 1;
    } else if is(Reason::Expired) {
        flags.rejected_expired += 1;
    } else {
        flags.rejected_malformed += 1;
        flags.too_many_elements += u64::from(error.contains(&Reason::TooManyElements.to_string()));
    }
}

fn not_json(error: &serde_json::Error) -> NativeError {
    NativeError::Body(shortened(format!("the body is not JSON: {error}")))
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
        text.push('…');
    }
    text
}

/// Reads items; spans of one service share their resource.
struct Reader<'r> {
    rules: &'r Rules,
    resources: BTreeMap<Text, Arc<Resource>>,
    scope: Arc<Scope>,
    flags: Flags,
    budget: Budget,
}

impl<'r> Reader<'r> {
    fn new(rules: &'r Rules, body_len: usize) -> Self {
        Self {
            rules,
            resources: BTreeMap::new(),
            scope: Arc::default(),
            flags: Flags::default(),
            budget: Budget::new(body_len, rules),
        }
    }

    fn item(&mut self, raw: &RawValue) -> Result<Span, String> {
        item::read(raw, self).map_err(shortened)
    }

    fn resource(&mut self, service: Text) -> Arc<Resource> {
        let resource = self.resources.entry(service).or_insert_with_key(|service| {
            Arc::new(Resource { attributes: vec![("service.name".into(), Value::Str(service.clone()))] })
        });
        Arc::clone(resource)
    }
}

struct Items<'r> {
    reader: Reader<'r>,
    batch: Batch,
}

impl<'de> Visitor<'de> for &mut Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of spans")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            let index = self.batch.received;
            self.batch.received += 1;
            match self.reader.item(raw) {
                Ok(span) => self.batch.spans.push(span),
                Err(error) => {
                    self.batch.failed += 1;
                    reject(&mut self.reader.flags, &error);
                    if self.batch.errors.len() < MAX_KEPT_ERRORS {
                        self.batch.errors.push(ItemError { index, error });
                    }
                }
            }
        }
        Ok(())
    }
}
