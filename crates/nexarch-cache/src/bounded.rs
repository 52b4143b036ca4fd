//! Decoding a value of a type whose bytes anybody may have written: it nests only so deep, and has only so many parts.
//!
//! A type that contains itself decodes itself, one frame of the stack for each byte that says "another one": a thousand
//! kilobytes of them end the process. And a list of what takes no bytes may be said to have 2⁶⁴ parts in ten of them.

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use std::cell::Cell;
use std::fmt;

/// Lists, maps, options, structures and variants inside each other. In a build without optimization one takes about 3 KiB
/// of a stack, of which a thread has 2 MiB.
const MAX_DEPTH: usize = 128;

/// Parts of a value beyond its bytes: those that take none, as `()`.
const FREE_PARTS: usize = 1 << 16;

/// Reads a value written by `postcard`. The error is words for the developer; none is of the value.
pub(crate) fn from_bytes<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let left = Left {
        depth: Cell::new(MAX_DEPTH),
        parts: Cell::new(body.len().saturating_add(FREE_PARTS)),
        broken: Cell::new(None),
    };
    let mut inner = postcard::Deserializer::from_bytes(body);
    T::deserialize(Bounded { inner: &mut inner, left: &left })
        .map_err(|error| left.broken.get().map_or_else(|| error.to_string(), str::to_owned))
}

/// What may come yet.
struct Left {
    depth: Cell<usize>,
    parts: Cell<usize>,
    /// The limit that was met: the format's errors have no room for words.
    broken: Cell<Option<&'static str>>,
}

/// One level further down; gives it back when dropped.
struct Level<'l>(&'l Left);

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() + 1);
    }
}

impl Left {
    fn enter<E: Error>(&self) -> Result<Level<'_>, E> {
        let Some(depth) = self.depth.get().checked_sub(1) else {
            return Err(self.stop("it nests deeper than 128 levels"));
        };
        self.depth.set(depth);
        Ok(Level(self))
    }

    fn part<E: Error>(&self) -> Result<(), E> {
        let Some(parts) = self.parts.get().checked_sub(1) else {
            return Err(self.stop("it has more parts than bytes"));
        };
        self.parts.set(parts);
        Ok(())
    }

    fn stop<E: Error>(&self, why: &'static str) -> E {
        self.broken.set(Some(why));
        E::custom(why)
    }
}

/// Something of serde's that hands on bounded deserializers in place of its own.
struct Bounded<'l, T> {
    inner: T,
    left: &'l Left,
}

impl<'l, T> Bounded<'l, T> {
    fn around<U>(&self, inner: U) -> Bounded<'l, U> {
        Bounded { inner, left: self.left }
    }
}

/// What has no parts goes through as it is.
macro_rules! plain {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            self.inner.$method(visitor)
        })+
    };
}

/// What has parts is entered.
macro_rules! nested {
    ($($method:ident($($name:ident: $of:ty),*))+) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $of,)* visitor: V) -> Result<V::Value, Self::Error> {
            let _level = self.left.enter()?;
            let visitor = self.around(visitor);
            self.inner.$method($($name,)* visitor)
        })+
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_any deserialize_identifier deserialize_ignored_any
    }

    nested! {
        deserialize_option()
        deserialize_seq()
        deserialize_map()
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Of what has parts. The format calls no other method of it.
impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        let inner = self.around(inner);
        self.inner.visit_some(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        let inner = self.around(inner);
        self.inner.visit_newtype_struct(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<Self::Value, A::Error> {
        let inner = self.around(inner);
        self.inner.visit_seq(inner)
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<Self::Value, A::Error> {
        let inner = self.around(inner);
        self.inner.visit_map(inner)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<Self::Value, A::Error> {
        let inner = self.around(inner);
        self.inner.visit_enum(inner)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        let inner = self.around(inner);
        self.inner.deserialize(inner)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.left.part()?;
        let seed = self.around(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.left.part()?;
        let seed = self.around(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'l, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'l, A> {
    type Error = A::Error;
    type Variant = Bounded<'l, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let left = self.left;
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Bounded { inner, left }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// Contains itself in every way that serde knows.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum All {
        Unit,
        New(Box<All>),
        Pair(u8, Box<All>),
        Named { left: Option<Box<All>>, text: String },
        Many(Vec<All>),
        Map(BTreeMap<String, All>),
        Wrapped(Wrap),
        Number(i64, f64, char, bool),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Wrap(Option<Box<All>>);

    fn all() -> impl Strategy<Value = All> {
        let leaf = prop_oneof![
            Just(All::Unit),
            any::<(i64, char, bool)>().prop_map(|(i, c, b)| All::Number(i, 0.5, c, b)),
        ];
        leaf.prop_recursive(8, 64, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|all| All::New(Box::new(all))),
                inner.clone().prop_map(|all| All::Pair(7, Box::new(all))),
                (prop::option::of(inner.clone()), ".{0,5}")
                    .prop_map(|(all, text)| All::Named { left: all.map(Box::new), text }),
                prop::collection::vec(inner.clone(), 0..4).prop_map(All::Many),
                prop::collection::btree_map(".{0,3}", inner.clone(), 0..3).prop_map(All::Map),
                prop::option::of(inner).prop_map(|all| All::Wrapped(Wrap(all.map(Box::new)))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_within_the_limits_is_read_as_by_the_format_alone(value in all()) {
            let bytes = postcard::to_stdvec(&value).unwrap();
            prop_assert_eq!(from_bytes::<All>(&bytes).unwrap(), value);
        }

        #[test]
        fn no_bytes_are_a_panic_and_what_is_read_is_what_the_format_reads(
            bytes in prop::collection::vec(0u8..9, 0..200),
        ) {
            if let Ok(value) = from_bytes::<All>(&bytes) {
                prop_assert_eq!(postcard::from_bytes::<All>(&bytes).unwrap(), value);
            }
        }
    }

    /// The stack that a thread of a runtime has.
    fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(2 << 20).spawn(test).unwrap().join().unwrap();
    }

    #[test]
    fn however_deep_it_is_said_to_be_it_ends() {
        on_a_small_stack(|| {
            for step in [&[1][..], &[2, 7], &[3, 1], &[4, 1], &[5, 1, 0], &[6, 1]] {
                let error = from_bytes::<All>(&step.repeat(1 << 20)).unwrap_err();
                assert_eq!(error, "it nests deeper than 128 levels", "{step:?}");
            }
        });
    }

    #[test]
    fn what_is_as_deep_as_allowed_is_read() {
        on_a_small_stack(|| {
            let nested = |depth: usize| [vec![1; depth], vec![0]].concat();
            assert!(from_bytes::<All>(&nested(MAX_DEPTH - 1)).is_ok());
            assert!(from_bytes::<All>(&nested(MAX_DEPTH)).is_err());
            let wide = All::Many(vec![All::New(Box::new(All::Unit)); 10_000]);
            let wide = postcard::to_stdvec(&wide).unwrap();
            assert!(from_bytes::<All>(&wide).is_ok(), "levels are given back");
        });
    }

    #[test]
    fn parts_that_take_no_bytes_are_counted() {
        let most = [0xff; 9].into_iter().chain([1]).collect::<Vec<_>>();
        assert_eq!(from_bytes::<Vec<()>>(&most).unwrap_err(), "it has more parts than bytes");
        assert_eq!(from_bytes::<Vec<()>>(&[200, 1]).unwrap().len(), 200);
    }

    #[test]
    fn other_errors_are_those_of_the_format() {
        assert_eq!(
            from_bytes::<u64>(&[]).unwrap_err(),
            postcard::Error::DeserializeUnexpectedEnd.to_string()
        );
    }
}
