//! Spans that outlive the block that they were read from.

use bytes::Bytes;
use nexarch_core::{
    Text,
    span::{Attributes, Span, Value},
};

/// Gives a decoded span its own texts: as decoded they are slices, and one of them keeps its whole block in memory.
/// (Keys, nested values, resources and scopes are copies already.)
pub(crate) fn detach(span: &mut Span) {
    let copy = |text: &mut Text| *text = Text::from(&**text);
    copy(&mut span.trace_state);
    copy(&mut span.name);
    copy(&mut span.status_message);
    values(&mut span.attributes);
    for event in &mut span.events {
        copy(&mut event.name);
        values(&mut event.attributes);
    }
    for link in &mut span.links {
        copy(&mut link.trace_state);
        values(&mut link.attributes);
    }
}

fn values(attributes: &mut Attributes) {
    for (_, value) in attributes {
        match value {
            Value::Str(text) => *text = Text::from(&**text),
            Value::Bytes(bytes) => *bytes = Bytes::copy_from_slice(bytes),
            _ => {}
        }
    }
}
