//! `ExportTraceServiceRequest` from protobuf (opentelemetry-proto 1.11, field numbers as in `trace.proto`,
//! `resource.proto` and `common.proto`). Texts and bytes are slices of the body: nothing is copied.

use bytes::Bytes;

use super::{
    DecodeError, Decoded, MAX_VALUE_DEPTH, Reason, Rules,
    accept::{Draft, Gate, Parent, Sender},
    wire::{Fields, Malformed},
};
use crate::{
    Text, attributes,
    ids::{SpanId, TraceId},
    span::{Attributes, Event, Link, Resource, Scope, Value},
};

/// The smallest valid span: two ids and their headers. Room is made for no more spans than could be in the bytes.
const MIN_SPAN_BYTES: usize = 28;

/// Decodes a request. The spans keep slices of `body`, so it lives as long as any of them.
pub fn decode_protobuf(body: &Bytes, rules: &Rules) -> Result<Decoded, DecodeError> {
    let mut decoder = Decoder { gate: Gate::new(rules, body.len()), body };
    decoder.request(body).map_err(DecodeError::Protobuf)?;
    Ok(decoder.gate.finish())
}

/// Why a message inside the request was not taken.
enum Fault {
    /// The whole request is not decodable.
    Malformed(Malformed),
    /// The one span is not acceptable.
    Reject(Reason),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self::Reject(reason)
    }
}

/// Splits what ends the request from what ends one span.
fn separate<T>(result: Result<T, Fault>) -> Result<Result<T, Reason>, Malformed> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Reject(reason)) => Ok(Err(reason)),
        Err(Fault::Malformed(malformed)) => Err(malformed),
    }
}

struct Decoder<'b, 'r> {
    body: &'b Bytes,
    gate: Gate<'r>,
}

impl<'b> Decoder<'b, '_> {
    fn request(&mut self, bytes: &'b [u8]) -> Result<(), Malformed> {
        // Once for all senders: a list that grows moves all spans again and again.
        self.gate.reserve(spans_in(bytes)?.min(bytes.len() / MIN_SPAN_BYTES));
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            if number == 1 {
                self.resource_spans(field.bytes()?)?;
            }
        }
        Ok(())
    }

    /// The resource may stand after its spans, so it is looked for first.
    fn resource_spans(&mut self, bytes: &'b [u8]) -> Result<(), Malformed> {
        let resource = separate(self.resource(bytes))?;
        if spans_of(bytes)? == 0 {
            // Two bytes make a sender of nothing: it is checked, and nothing is made for it.
            return self.scopes_of_nothing(bytes);
        }
        let sender = Sender::new(resource);
        self.gate.flags().cut += sender.cut;
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            if number == 2 {
                self.scope_spans(field.bytes()?, &sender)?;
            }
        }
        Ok(())
    }

    fn scopes_of_nothing(&mut self, resource_spans: &'b [u8]) -> Result<(), Malformed> {
        let mut fields = Fields(resource_spans);
        while let Some((number, field)) = fields.next()? {
            if number == 2 {
                drop(separate(self.scope(field.bytes()?))?);
            }
        }
        Ok(())
    }

    fn resource(&mut self, resource_spans: &'b [u8]) -> Result<Resource, Fault> {
        let mut list = Attributes::new();
        let mut outer = Fields(resource_spans);
        while let Some((number, field)) = outer.next()? {
            if number == 1 {
                self.attributes(field.bytes()?, 1, &mut list)?;
            }
        }
        self.resolve(&mut list);
        Ok(Resource { attributes: list })
    }

    fn scope_spans(&mut self, bytes: &'b [u8], sender: &Sender) -> Result<(), Malformed> {
        let scope = separate(self.scope(bytes))?;
        if count(bytes, 2)? == 0 {
            return Ok(());
        }
        let sender = sender.with_scope(scope);
        self.gate.flags().cut += sender.cut;
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            if number == 2 {
                let draft = separate(self.span(field.bytes()?))?;
                self.gate.offer(&sender, draft);
            }
        }
        Ok(())
    }

    fn scope(&mut self, scope_spans: &'b [u8]) -> Result<Scope, Fault> {
        let mut scope = Scope::default();
        let mut outer = Fields(scope_spans);
        while let Some((number, field)) = outer.next()? {
            if number != 1 {
                continue;
            }
            let bytes = field.bytes()?;
            let mut fields = Fields(bytes);
            while let Some((number, field)) = fields.next()? {
                match number {
                    1 => scope.name = self.text(field.bytes()?),
                    2 => scope.version = self.text(field.bytes()?),
                    _ => {}
                }
            }
            self.attributes(bytes, 3, &mut scope.attributes)?;
        }
        self.resolve(&mut scope.attributes);
        Ok(scope)
    }

    fn span(&mut self, bytes: &'b [u8]) -> Result<Draft, Fault> {
        let mut span = Draft::default();
        let (mut attributes, mut events, mut links) = (0, 0, 0);
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => span.trace_id = TraceId::from_slice(field.bytes()?),
                2 => span.span_id = SpanId::from_slice(field.bytes()?),
                3 => span.trace_state = self.text(field.bytes()?),
                4 => span.parent = Parent::from_slice(field.bytes()?),
                5 => span.name = self.text(field.bytes()?),
                6 => span.kind = field.int32()?,
                7 => span.start_ns = field.fixed64()?,
                8 => span.end_ns = field.fixed64()?,
                9 => attributes += 1,
                11 => events += 1,
                13 => links += 1,
                15 => self.status(field.bytes()?, &mut span)?,
                16 => span.flags = field.fixed32()?,
                _ => {}
            }
        }
        span.attributes = self.room(attributes)?;
        span.events = self.room(events)?;
        span.links = self.room(links)?;
        self.lists(bytes, &mut span)?;
        Ok(span)
    }

    /// The second pass over a span, when the sizes of its lists are known and paid for.
    fn lists(&mut self, bytes: &'b [u8], span: &mut Draft) -> Result<(), Fault> {
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                9 => span.attributes.push(self.pair(field.bytes()?, 1)?),
                11 => span.events.push(self.event(field.bytes()?)?),
                13 => match self.link(field.bytes()?)? {
                    Some(link) => span.links.push(link),
                    None => self.gate.flags().invalid_link += 1,
                },
                _ => {}
            }
        }
        self.resolve(&mut span.attributes);
        Ok(())
    }

    /// A list of its final size, paid for before it is made.
    fn room<T>(&mut self, len: usize) -> Result<Vec<T>, Reason> {
        self.gate.charge::<T>(len)?;
        Ok(Vec::with_capacity(len))
    }

    fn status(&mut self, bytes: &'b [u8], span: &mut Draft) -> Result<(), Malformed> {
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                2 => span.status_message = self.text(field.bytes()?),
                3 => span.status = field.int32()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn event(&mut self, bytes: &'b [u8]) -> Result<Event, Fault> {
        let mut event = Event { time_ns: 0, name: Text::new(), attributes: Attributes::new() };
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => event.time_ns = field.fixed64()?,
                2 => event.name = self.text(field.bytes()?),
                _ => {}
            }
        }
        self.attributes(bytes, 3, &mut event.attributes)?;
        self.resolve(&mut event.attributes);
        Ok(event)
    }

    /// `None` when its ids are invalid.
    fn link(&mut self, bytes: &'b [u8]) -> Result<Option<Link>, Fault> {
        let (mut trace_id, mut span_id) = (None, None);
        let (mut trace_state, mut flags) = (Text::new(), 0);
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => trace_id = TraceId::from_slice(field.bytes()?),
                2 => span_id = SpanId::from_slice(field.bytes()?),
                3 => trace_state = self.text(field.bytes()?),
                6 => flags = field.fixed32()?,
                _ => {}
            }
        }
        let mut attributes = Attributes::new();
        self.attributes(bytes, 4, &mut attributes)?;
        self.resolve(&mut attributes);
        Ok(trace_id.zip(span_id).map(|(trace_id, span_id)| Link {
            trace_id,
            span_id,
            trace_state,
            flags,
            attributes,
        }))
    }

    /// Reads the key-value pairs that `message` holds in its repeated field `wanted`.
    fn attributes(&mut self, message: &'b [u8], wanted: u32, list: &mut Attributes) -> Result<(), Fault> {
        self.pairs(message, wanted, list, 1)
    }

    fn pairs(
        &mut self,
        message: &'b [u8],
        wanted: u32,
        list: &mut Attributes,
        depth: usize,
    ) -> Result<(), Fault> {
        let pairs = count(message, wanted)?;
        if pairs == 0 {
            return Ok(());
        }
        self.gate.charge::<(Text, Value)>(pairs)?;
        make_room(list, pairs);
        let mut fields = Fields(message);
        while let Some((number, field)) = fields.next()? {
            if number == wanted {
                list.push(self.pair(field.bytes()?, depth)?);
            }
        }
        Ok(())
    }

    fn pair(&mut self, bytes: &'b [u8], depth: usize) -> Result<(Text, Value), Fault> {
        let mut pair = (Text::new(), Value::Null);
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => pair.0 = self.key(field.bytes()?),
                2 => pair.1 = self.value(field.bytes()?, depth)?,
                _ => {}
            }
        }
        Ok(pair)
    }

    fn value(&mut self, bytes: &'b [u8], depth: usize) -> Result<Value, Fault> {
        if depth > MAX_VALUE_DEPTH {
            return Err(Reason::TooDeep.into());
        }
        let mut value = Value::Null;
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            value = match number {
                1 => Value::Str(self.text(field.bytes()?)),
                2 => Value::Bool(field.varint()? != 0),
                3 => Value::Int(field.varint()?.cast_signed()),
                4 => Value::Double(f64::from_bits(field.fixed64()?)),
                5 => Value::Array(self.list(field.bytes()?, depth + 1)?),
                6 => {
                    let mut map = Attributes::new();
                    self.pairs(field.bytes()?, 1, &mut map, depth + 1)?;
                    self.resolve(&mut map);
                    Value::Map(map)
                }
                7 => Value::Bytes(self.body.slice_ref(field.bytes()?)),
                _ => continue,
            };
        }
        Ok(value)
    }

    fn list(&mut self, bytes: &'b [u8], depth: usize) -> Result<Vec<Value>, Fault> {
        let mut values = self.room(count(bytes, 1)?)?;
        let mut fields = Fields(bytes);
        while let Some((number, field)) = fields.next()? {
            if number == 1 {
                values.push(self.value(field.bytes()?, depth)?);
            }
        }
        Ok(values)
    }

    fn resolve(&mut self, list: &mut Attributes) {
        self.gate.flags().repeated_key += u64::from(attributes::resolve(list));
    }

    /// A key: nearly all are names of the conventions, which need no share in the body.
    fn key(&mut self, bytes: &'b [u8]) -> Text {
        attributes::well_known(bytes).unwrap_or_else(|| self.text(bytes))
    }

    /// A slice of the body. Bytes that are not UTF-8 cost only themselves: they are replaced, in a copy.
    fn text(&mut self, bytes: &'b [u8]) -> Text {
        Text::try_from(self.body.slice_ref(bytes)).unwrap_or_else(|_| {
            self.gate.flags().replaced_text += 1;
            String::from_utf8_lossy(bytes).into_owned().into()
        })
    }
}

/// How many spans a request says it holds.
fn spans_in(request: &[u8]) -> Result<usize, Malformed> {
    let (mut spans, mut senders) = (0, Fields(request));
    while let Some((number, sender)) = senders.next()? {
        spans += if number == 1 { spans_of(sender.bytes()?)? } else { 0 };
    }
    Ok(spans)
}

/// How many spans a sender says it holds.
fn spans_of(resource_spans: &[u8]) -> Result<usize, Malformed> {
    let (mut spans, mut scopes) = (0, Fields(resource_spans));
    while let Some((number, scope)) = scopes.next()? {
        spans += if number == 2 { count(scope.bytes()?, 2)? } else { 0 };
    }
    Ok(spans)
}

/// Room for more elements. A list is made at its final size; one that goes on, because its message occurs again, doubles:
/// growing to the size of each occurrence would copy all of it for each.
fn make_room<T>(list: &mut Vec<T>, more: usize) {
    if list.is_empty() { list.reserve_exact(more) } else { list.reserve(more) }
}

/// How often a field occurs: lists are made at their final size, and paid for before they are made.
fn count(message: &[u8], wanted: u32) -> Result<usize, Malformed> {
    let mut count = 0;
    let mut fields = Fields(message);
    while let Some((number, _)) = fields.next()? {
        count += usize::from(number == wanted);
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::make_room;

    #[test]
    fn a_list_that_goes_on_is_not_copied_for_each_part() {
        let (mut list, mut copies, mut room) = (Vec::new(), 0, 0);
        make_room(&mut list, 3);
        assert_eq!(list.capacity(), 3, "no more than it needs");
        for nth in 0..100_000 {
            make_room(&mut list, 1);
            list.push(nth);
            copies += usize::from(list.capacity() != room);
            room = list.capacity();
        }
        assert!(copies < 50, "{copies} copies");
    }
}
