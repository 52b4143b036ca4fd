//! Attributes from plain JSON: objects become maps, whole numbers integers, all others floats.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{
    Text, attributes,
    otlp::{Budget, MAX_VALUE_DEPTH, Reason},
    span::{Attributes, Value},
};

/// A value at a depth; that of an attribute is 1.
#[derive(Clone, Copy)]
struct Plain<'b> {
    depth: usize,
    budget: &'b Budget,
}

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > MAX_VALUE_DEPTH {
            return Err(de::Error::custom(Reason::TooDeep));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Double(number as f64), Value::Int))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Double(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Str(text.into()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Str(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Self { depth: self.depth + 1, ..self })? {
            self.budget.charge::<Value>(1).map_err(de::Error::custom)?;
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        pairs(map, Self { depth: self.depth + 1, ..self }).map(Value::Map)
    }
}

/// Of a repeated key the last wins.
fn pairs<'de, A: MapAccess<'de>>(mut map: A, value: Plain<'_>) -> Result<Attributes, A::Error> {
    let mut list = Attributes::new();
    while let Some(key) = map.next_key::<String>()? {
        value.budget.charge::<(Text, Value)>(1).map_err(de::Error::custom)?;
        list.push((key.into(), map.next_value_seed(value)?));
    }
    attributes::resolve(&mut list);
    Ok(list)
}

/// The object of an item's `attributes`.
pub(super) struct Object<'b>(pub(super) &'b Budget);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Attributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"http.route\": \"/orders\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Attributes, A::Error> {
        pairs(map, Plain { depth: 1, budget: self.0 })
    }
}
