//! `ExportTraceServiceRequest` from OTLP/JSON, strictly by the specification: hex ids, enums as integers, keys in
//! lowerCamelCase, unknown fields ignored, `null` = absent.
//!
//! Each span is first skipped over as raw text and then read by itself, so that a wrong type inside one span costs
//! that span only; a wrong container makes the whole body undecodable.

mod object;
mod scalar;
mod span;
mod value;

use std::cell::RefCell;

use bytes::Bytes;
use serde::de::{self, DeserializeSeed, MapAccess};
use serde_json::value::RawValue;

use self::{
    object::{List, Obj, Object, Skip, read},
    span::{ResourceObject, ScopeObject, SpanObject},
};
use super::{
    DecodeError, Decoded, Flags, Reason, Rules,
    accept::{Gate, Sender},
};
use crate::{
    Text,
    span::{Resource, Value},
};

/// Longest text of an error about JSON, in bytes: it may quote the value, and a value may be long.
const MAX_ERROR_BYTES: usize = 200;

/// Decodes a request. Texts without escapes are slices of `body`, so it lives as long as any of the spans.
pub fn decode_json(body: &Bytes, rules: &Rules) -> Result<Decoded, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|_| DecodeError::Json("it is not UTF-8".into()))?;
    let context = Context { body, gate: RefCell::new(Gate::new(rules, body.len())) };
    let mut json = serde_json::Deserializer::from_str(text);
    Obj(RequestObject(&context))
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| DecodeError::Json(shortened(error.to_string())))?;
    Ok(context.gate.into_inner().finish())
}

/// What all parts of one decoding share.
struct Context<'b, 'r> {
    body: &'b Bytes,
    gate: RefCell<Gate<'r>>,
}

impl Context<'_, '_> {
    fn flag(&self, raise: impl FnOnce(&mut Flags)) {
        raise(self.gate.borrow_mut().flags());
    }

    /// Counts what was cut of a sender.
    fn counted(&self, sender: Sender) -> Sender {
        self.flag(|flags| flags.cut += sender.cut);
        sender
    }

    /// A slice of the body where it can be one, else a copy.
    fn text(&self, bytes: &[u8]) -> Text {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.body.as_ptr() as usize);
        let end = offset.wrapping_add(bytes.len());
        let shared = match self.body.get(offset..end) {
            Some(_) => self.body.slice(offset..end),
            None => Bytes::copy_from_slice(bytes),
        };
        Text::try_from(shared).unwrap_or_else(|_| {
            self.flag(|flags| flags.replaced_text += 1);
            String::from_utf8_lossy(bytes).into_owned().into()
        })
    }

    /// Reads one part by itself; what is wrong with it is the part's own fault.
    fn part<'de, T: Object<'de>>(&self, raw: &'de RawValue, object: T) -> Result<T::Out, Reason> {
        // In OTLP/JSON each element of a list is an object, so this pays for all lists in it.
        self.gate.borrow().charge::<(Text, Value)>(objects(raw.get()))?;
        Obj(object).deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(|error| {
            let text = error.to_string();
            // The position counts from the start of this part, which would mislead.
            let end = text.rfind(" at line ").unwrap_or(text.len());
            Reason::Field(shortened(text[..end].to_owned()))
        })
    }
}

/// How many objects a part may hold. Where braces are rare all are counted, which is quick; where they are not, a text of
/// templates or of JSON must not pay for them.
fn objects(json: &str) -> usize {
    /// With fewer of them than one for so many bytes, a part stays within [`super::MAX_EXPANSION`].
    const RARE: usize = 12;
    let braces = json.bytes().filter(|byte| *byte == b'{').count();
    if braces.saturating_mul(RARE) <= json.len() {
        return braces;
    }
    let (mut objects, mut in_string, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' if !in_string => objects += 1,
            _ => {}
        }
    }
    objects
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
        text.push('…');
    }
    text
}

#[derive(Clone, Copy)]
struct RequestObject<'c, 'b, 'r>(&'c Context<'b, 'r>);

impl<'de> Object<'de> for RequestObject<'_, '_, '_> {
    type State = ();
    type Out = ();

    fn field<A: MapAccess<'de>>(self, (): &mut (), name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "resourceSpans" => read(map, List(Obj(ResourceSpansObject(self.0)))).map(drop),
            _ => map.next_value::<Skip>().map(drop),
        }
    }

    fn finish<E: de::Error>(self, (): ()) -> Result<(), E> {
        Ok(())
    }
}

/// A sender's part as far as it was read: lists that came before their sender wait as raw text.
#[derive(Default)]
struct Pending<'de> {
    sender: Option<Sender>,
    early: Vec<&'de RawValue>,
}

#[derive(Clone, Copy)]
struct ResourceSpansObject<'c, 'b, 'r>(&'c Context<'b, 'r>);

impl<'de> Object<'de> for ResourceSpansObject<'_, '_, '_> {
    type State = Pending<'de>;
    type Out = ();

    fn field<A: MapAccess<'de>>(
        self,
        state: &mut Pending<'de>,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match (name, &state.sender) {
            ("resource", _) => {
                if let Some(raw) = map.next_value::<Option<&RawValue>>()? {
                    let sender = Sender::new(self.0.part(raw, ResourceObject(self.0)));
                    state.sender = Some(self.0.counted(sender));
                }
            }
            ("scopeSpans", Some(sender)) => {
                read(map, List(Obj(ScopeSpansObject { context: self.0, sender })))?;
            }
            ("scopeSpans", None) => state.early.extend(map.next_value::<Option<&RawValue>>()?),
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, state: Pending<'de>) -> Result<(), E> {
        let sender = state.sender.unwrap_or_else(|| Sender::new(Ok(Resource::default())));
        let seed = List(Obj(ScopeSpansObject { context: self.0, sender: &sender }));
        state.early.into_iter().try_for_each(|raw| reread(raw, seed).map(drop))
    }
}

#[derive(Clone, Copy)]
struct ScopeSpansObject<'c, 'b, 'r> {
    context: &'c Context<'b, 'r>,
    /// With the resource, not yet with the scope.
    sender: &'c Sender,
}

impl<'de> Object<'de> for ScopeSpansObject<'_, '_, '_> {
    type State = Pending<'de>;
    type Out = ();

    fn field<A: MapAccess<'de>>(
        self,
        state: &mut Pending<'de>,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match (name, &state.sender) {
            ("scope", _) => {
                if let Some(raw) = map.next_value::<Option<&RawValue>>()? {
                    let scope = self.context.part(raw, ScopeObject(self.context));
                    state.sender = Some(self.context.counted(self.sender.with_scope(scope)));
                }
            }
            ("spans", Some(sender)) => {
                read(map, List(Spans { context: self.context, sender }))?;
            }
            ("spans", None) => state.early.extend(map.next_value::<Option<&RawValue>>()?),
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, state: Pending<'de>) -> Result<(), E> {
        let seed =
            List(Spans { context: self.context, sender: state.sender.as_ref().unwrap_or(self.sender) });
        state.early.into_iter().try_for_each(|raw| reread(raw, seed).map(drop))
    }
}

/// Reads a list that was kept as raw text.
fn reread<'de, S: DeserializeSeed<'de>, E: de::Error>(raw: &'de RawValue, seed: S) -> Result<S::Value, E> {
    seed.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(E::custom)
}

/// One element of `spans`, offered to the gate.
#[derive(Clone, Copy)]
struct Spans<'c, 'b, 'r> {
    context: &'c Context<'b, 'r>,
    sender: &'c Sender,
}

impl<'de> DeserializeSeed<'de> for Spans<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let raw: &'de RawValue = de::Deserialize::deserialize(deserializer)?;
        let draft = self.context.part(raw, SpanObject(self.context));
        self.context.gate.borrow_mut().offer(self.sender, draft);
        Ok(())
    }
}
