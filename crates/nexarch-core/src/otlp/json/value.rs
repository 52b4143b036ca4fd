//! `KeyValue` and `AnyValue` from OTLP/JSON.

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess};

use super::{
    Context,
    object::{List, Obj, Object, Skip, named, plain, read},
    scalar::{Base64, Double, Int64, TextSeed},
};
use crate::{
    Text, attributes,
    otlp::{MAX_VALUE_DEPTH, Reason},
    span::{Attributes, Value},
};

/// Reads a list of `KeyValue` into attributes without repeated keys; `null` is an empty list.
pub(super) fn read_attributes<'de, A: MapAccess<'de>>(
    context: &Context<'_, '_>,
    depth: usize,
    map: &mut A,
) -> Result<Attributes, A::Error> {
    let mut list = read(map, List(Obj(KeyValueObject { context, depth })))?.unwrap_or_default();
    if attributes::resolve(&mut list) {
        context.flag(|flags| flags.repeated_key += 1);
    }
    Ok(list)
}

#[derive(Clone, Copy)]
struct KeyValueObject<'c, 'b, 'r> {
    context: &'c Context<'b, 'r>,
    depth: usize,
}

impl<'de> Object<'de> for KeyValueObject<'_, '_, '_> {
    type State = (Text, Option<Value>);
    type Out = (Text, Value);

    fn field<A: MapAccess<'de>>(
        self,
        state: &mut Self::State,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let Self { context, depth } = self;
        match name {
            "key" => state.0 = named(name, read(map, TextSeed(context)))?.unwrap_or_default(),
            "value" => {
                let value = read(map, AnyValue { context, depth });
                // Deep inside, the way down would bury the reason.
                state.1 = if depth == 1 { named(name, value)? } else { value? };
            }
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, (key, value): Self::State) -> Result<Self::Out, E> {
        Ok((key, value.unwrap_or(Value::Null)))
    }
}

/// An `AnyValue` at a depth; the outermost is 1.
#[derive(Clone, Copy)]
struct AnyValue<'c, 'b, 'r> {
    context: &'c Context<'b, 'r>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for AnyValue<'_, '_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > MAX_VALUE_DEPTH {
            return Err(de::Error::custom(Reason::TooDeep));
        }
        Obj(AnyValueObject(self)).deserialize(deserializer)
    }
}

#[derive(Clone, Copy)]
struct AnyValueObject<'c, 'b, 'r>(AnyValue<'c, 'b, 'r>);

impl<'de> Object<'de> for AnyValueObject<'_, '_, '_> {
    type State = Option<Value>;
    type Out = Value;

    fn field<A: MapAccess<'de>>(
        self,
        state: &mut Self::State,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let AnyValue { context, depth } = self.0;
        let inner = AnyValue { context, depth: depth + 1 };
        let value = match name {
            "stringValue" => named(name, read(map, TextSeed(context)))?.map(Value::Str),
            "boolValue" => named(name, plain(map))?.map(Value::Bool),
            "intValue" => named(name, plain(map))?.map(|Int64(number)| Value::Int(number)),
            "doubleValue" => named(name, plain(map))?.map(|Double(number)| Value::Double(number)),
            "bytesValue" => named(name, plain(map))?.map(|Base64(bytes)| Value::Bytes(bytes)),
            "arrayValue" => read(map, Obj(ArrayObject(inner)))?.map(Value::Array),
            "kvlistValue" => read(map, Obj(MapObject(inner)))?.map(Value::Map),
            _ => return map.next_value::<Skip>().map(drop),
        };
        if value.is_some() {
            *state = value;
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, value: Self::State) -> Result<Value, E> {
        Ok(value.unwrap_or(Value::Null))
    }
}

#[derive(Clone, Copy)]
struct ArrayObject<'c, 'b, 'r>(AnyValue<'c, 'b, 'r>);

impl<'de> Object<'de> for ArrayObject<'_, '_, '_> {
    type State = Vec<Value>;
    type Out = Vec<Value>;

    fn field<A: MapAccess<'de>>(
        self,
        state: &mut Self::State,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match name {
            "values" => *state = read(map, List(self.0))?.unwrap_or_default(),
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, values: Self::State) -> Result<Vec<Value>, E> {
        Ok(values)
    }
}

#[derive(Clone, Copy)]
struct MapObject<'c, 'b, 'r>(AnyValue<'c, 'b, 'r>);

impl<'de> Object<'de> for MapObject<'_, '_, '_> {
    type State = Attributes;
    type Out = Attributes;

    fn field<A: MapAccess<'de>>(
        self,
        state: &mut Self::State,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match name {
            "values" => *state = read_attributes(self.0.context, self.0.depth, map)?,
            _ => drop(map.next_value::<Skip>()?),
        }
        Ok(())
    }

    fn finish<E: de::Error>(self, values: Self::State) -> Result<Attributes, E> {
        Ok(values)
    }
}
