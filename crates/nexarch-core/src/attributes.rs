//! Names of attributes, new and old, and lists of them.
//!
//! Instrumentations change their names slowly: most still send the old ones by default. Each use here has one order of
//! names, the stable one of the semantic conventions (1.44) first. Lists are read once per span into slots, not
//! searched once per name.

mod names;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use self::names::NAMES;
pub(crate) use self::names::{Known, known, well_known};
use crate::{
    Text,
    span::{Attributes, Value},
};

/// What an SDK puts into `service.name` when nobody named the service, alone or as `unknown_service:exe`.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// The known attributes of one list, each at its place.
#[derive(Debug)]
pub(crate) struct Slots<'a>([Option<&'a Value>; NAMES.len()]);

impl<'a> Slots<'a> {
    /// Reads a list once; of a repeated key the last wins.
    pub(crate) fn read(attributes: &'a Attributes) -> Self {
        let mut slots = [None; NAMES.len()];
        for (key, value) in attributes {
            if let Some(name) = known(key) {
                slots[name as usize] = Some(value);
            }
        }
        Self(slots)
    }

    /// The value of a name.
    pub(crate) fn get(&self, name: Known) -> Option<&'a Value> {
        self.0[name as usize]
    }

    /// The first of these names that holds a text that is not blank, or a number; trimmed.
    pub(crate) fn text(&self, names: &[Known]) -> Option<Cow<'a, str>> {
        names.iter().find_map(|name| text_of(self.get(*name)?))
    }

    /// The first of these names that holds a whole number that is not negative, cut to 32 bits.
    pub(crate) fn number(&self, names: &[Known]) -> Option<u32> {
        names.iter().find_map(|name| match self.get(*name)? {
            Value::Int(number) => {
                u64::try_from(*number).ok().map(|number| u32::try_from(number).unwrap_or(u32::MAX))
            }
            // Some senders write numbers as text.
            Value::Str(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// Is one of these names present?
    pub(crate) fn any(&self, names: &[Known]) -> bool {
        names.iter().any(|name| self.get(*name).is_some())
    }
}

/// A scalar as text: trimmed, `None` when nothing is left. Numbers count, since some senders put a number where a name
/// belongs (a redis database index).
fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Str(text) => {
            let trimmed = text.trim();
            (!trimmed.is_empty()).then_some(Cow::Borrowed(trimmed))
        }
        Value::Int(number) => Some(number.to_string().into()),
        Value::Double(number) => Some(number.to_string().into()),
        Value::Bool(truth) => Some(truth.to_string().into()),
        Value::Null | Value::Bytes(_) | Value::Array(_) | Value::Map(_) => None,
    }
}

/// Does a resource name its service? The `unknown_service` of an SDK is no name.
pub(crate) fn names_service(resource: &Attributes) -> bool {
    let name = Slots::read(resource).text(&[Known::ServiceName]);
    name.is_some_and(|name| name.split(':').next() != Some(UNKNOWN_SERVICE))
}

/// Removes repeated keys, in place: the last value wins and takes the place of the first. Says whether there were any.
pub fn resolve(attributes: &mut Attributes) -> bool {
    let Some(first) = first_repeated(attributes) else { return false };
    let mut places: BTreeMap<Text, usize> =
        attributes[..first].iter().enumerate().map(|(place, (key, _))| (key.clone(), place)).collect();
    let tail = attributes.split_off(first);
    for (key, value) in tail {
        if let Some(place) = places.get(&key) {
            attributes[*place].1 = value;
        } else {
            places.insert(key.clone(), attributes.len());
            attributes.push((key, value));
        }
    }
    true
}

/// The list without repeated keys, as [`resolve`] leaves it.
pub(crate) fn resolved(attributes: &Attributes) -> Cow<'_, Attributes> {
    if first_repeated(attributes).is_none() {
        return Cow::Borrowed(attributes);
    }
    let mut copy = attributes.clone();
    resolve(&mut copy);
    Cow::Owned(copy)
}

/// Lists up to this long are compared key by key; longer ones go into a tree: a hash without a secret can be made to
/// collide, and then the work would be quadratic.
const SHORT_LIST: usize = 64;

/// The place of the first key that occurred before.
fn first_repeated(attributes: &Attributes) -> Option<usize> {
    if attributes.len() > SHORT_LIST {
        let mut seen = BTreeSet::new();
        return attributes.iter().position(|(key, _)| !seen.insert(key));
    }
    // One bit per cheap fingerprint: keys are compared only when their bits collide.
    let mut seen = 0u64;
    for (place, (key, _)) in attributes.iter().enumerate() {
        let bit = 1u64 << fingerprint(key.as_bytes());
        if seen & bit != 0 && attributes[..place].iter().any(|(earlier, _)| earlier == key) {
            return Some(place);
        }
        seen |= bit;
    }
    None
}

/// A number below 64 from the length, the middle and the end of a key.
fn fingerprint(key: &[u8]) -> usize {
    let byte = |at: usize| usize::from(key.get(at).copied().unwrap_or(0));
    let len = key.len();
    len.wrapping_add(31 * byte(len / 2)).wrapping_add(7 * byte(len.wrapping_sub(1))) & 63
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Known, NAMES, Slots, first_repeated, known, names_service, resolve, resolved};
    use crate::{
        Text,
        span::{Attributes, Value, attribute},
    };

    fn list(pairs: &[(&str, i64)]) -> Attributes {
        pairs.iter().map(|(key, value)| (Text::from(*key), Value::Int(*value))).collect()
    }

    #[test]
    fn every_name_is_found_and_nothing_else() {
        for (text, name) in NAMES {
            assert_eq!(known(text), Some(*name));
            assert_eq!(known(&text.to_uppercase()), None);
        }
        assert_eq!(known(""), None);
        assert_eq!(known(&"x".repeat(1000)), None);
    }

    #[test]
    fn the_last_value_wins_in_the_place_of_the_first() {
        let mut attributes = list(&[("a", 1), ("b", 2), ("a", 3), ("c", 4), ("c", 5)]);
        assert!(resolve(&mut attributes));
        assert_eq!(attributes, list(&[("a", 3), ("b", 2), ("c", 5)]));
        assert!(!resolve(&mut attributes));
    }

    #[test]
    fn text_skips_blanks_and_takes_numbers() {
        let attributes = vec![
            ("db.namespace".into(), Value::Str("  ".into())),
            ("db.redis.database_index".into(), Value::Int(7)),
            ("peer.service".into(), Value::Str(" cart ".into())),
        ];
        let slots = Slots::read(&attributes);
        assert_eq!(slots.text(&[Known::DbNamespace, Known::DbRedisIndex]).as_deref(), Some("7"));
        assert_eq!(slots.text(&[Known::ServicePeerName, Known::PeerService]).as_deref(), Some("cart"));
    }

    #[test]
    fn the_name_an_sdk_invents_is_no_name() {
        let named = |name: &str| names_service(&vec![("service.name".into(), Value::Str(name.into()))]);
        assert!(named("cart") && named("unknown_services"));
        assert!(!named("unknown_service") && !named("unknown_service:node") && !named(""));
        assert!(!names_service(&Vec::new()));
    }

    proptest! {
        #[test]
        fn resolve_keeps_what_a_lookup_sees(
            pairs in prop::collection::vec(("[a-c]{0,3}", any::<i64>()), 0..150),
        ) {
            let before: Attributes =
                pairs.into_iter().map(|(key, value)| (Text::from(key), Value::Int(value))).collect();
            let after = resolved(&before).into_owned();
            prop_assert!(first_repeated(&after).is_none());
            for (key, _) in &before {
                prop_assert_eq!(attribute(&before, key), attribute(&after, key));
            }
            for (key, _) in &after {
                prop_assert!(attribute(&before, key).is_some());
            }
        }
    }
}
