//! Readers for the shapes of protobuf in JSON: an object whose fields may be absent, `null`, unknown or in any order,
//! and a list.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Any value, passed over.
pub(super) type Skip = IgnoredAny;

/// A text that borrows from the input where it holds no escapes.
#[derive(Deserialize)]
pub(super) struct Str<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A message: how its fields are read, and what becomes of them.
pub(super) trait Object<'de>: Copy {
    /// The fields as far as they were read.
    type State: Default;
    /// The result.
    type Out;

    /// Reads the value of a field, or passes over one that is unknown. Of a repeated field the last wins.
    fn field<A: MapAccess<'de>>(
        self,
        state: &mut Self::State,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error>;

    /// Makes the result.
    fn finish<E: de::Error>(self, state: Self::State) -> Result<Self::Out, E>;
}

/// Reads an [`Object`].
#[derive(Clone, Copy)]
pub(super) struct Obj<T>(pub(super) T);

impl<'de, T: Object<'de>> DeserializeSeed<'de> for Obj<T> {
    type Value = T::Out;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Out, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Object<'de>> Visitor<'de> for Obj<T> {
    type Value = T::Out;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T::Out, A::Error> {
        let mut state = T::State::default();
        while let Some(Str(name)) = map.next_key()? {
            self.0.field(&mut state, &name, &mut map)?;
        }
        self.0.finish(state)
    }
}

/// Reads a list whose elements are all read alike. Grows as it reads: no length in the input is trusted.
#[derive(Clone, Copy)]
pub(super) struct List<S>(pub(super) S);

impl<'de, S: DeserializeSeed<'de> + Copy> DeserializeSeed<'de> for List<S> {
    type Value = Vec<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for List<S> {
    type Value = Vec<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element_seed(self.0)? {
            list.push(element);
        }
        Ok(list)
    }
}

/// A value that may be `null`, which means absent.
struct Nullable<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Nullable<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Nullable<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

/// The value of the field whose name was just read; `None` for `null`.
pub(super) fn read<'de, A, S>(map: &mut A, seed: S) -> Result<Option<S::Value>, A::Error>
where
    A: MapAccess<'de>,
    S: DeserializeSeed<'de>,
{
    map.next_value_seed(Nullable(seed))
}

/// As [`read`], for types that read themselves.
pub(super) fn plain<'de, A: MapAccess<'de>, T: Deserialize<'de>>(map: &mut A) -> Result<Option<T>, A::Error> {
    read(map, PhantomData::<T>)
}

/// Puts the name of a field before what is wrong with it.
pub(super) fn named<T, E: de::Error>(name: &str, result: Result<T, E>) -> Result<T, E> {
    result.map_err(|error| E::custom(format_args!("{name}: {error}")))
}
