//! Short words for attributes.

use nexarch_core::{Text, span::Value};

/// A key with a constant text; allocates nothing.
pub(super) fn fixed(key: &'static str, value: &'static str) -> (Text, Value) {
    (Text::from_static(key), Value::Str(Text::from_static(value)))
}

/// A key with a computed text.
pub(super) fn text(key: &'static str, value: impl Into<Text>) -> (Text, Value) {
    (Text::from_static(key), Value::Str(value.into()))
}

/// A key with a whole number.
pub(super) fn int(key: &'static str, value: impl Into<i64>) -> (Text, Value) {
    (Text::from_static(key), Value::Int(value.into()))
}
