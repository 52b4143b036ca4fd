//! Cuts what a span carries to the limits of [`crate::limits`]. The span is kept; each cut is counted.

use bytes::Bytes;

use crate::{
    Text,
    attributes::{known, resolve},
    limits::{
        MAX_ATTRIBUTES, MAX_ELEMENTS, MAX_EVENTS, MAX_KEY_BYTES, MAX_LINKS, MAX_NAME_BYTES, MAX_SHARED_BYTES,
        MAX_VALUE_BYTES,
    },
    span::{Attributes, Scope, Span, Value},
};

/// What an element weighs beside its texts: a number and what tells it from others.
const ELEMENT_BYTES: usize = 10;

/// Cuts everything of a span but its resource and scope, which spans share. Returns how much was cut: attributes,
/// events, links and elements left out, and texts shortened.
pub(crate) fn span(span: &mut Span) -> u64 {
    let mut cuts = text(&mut span.name, MAX_NAME_BYTES) + text(&mut span.status_message, MAX_NAME_BYTES);
    cuts += text(&mut span.trace_state, MAX_NAME_BYTES) + attributes(&mut span.attributes);
    cuts += shorten(&mut span.events, MAX_EVENTS) + shorten(&mut span.links, MAX_LINKS);
    for event in &mut span.events {
        cuts += text(&mut event.name, MAX_NAME_BYTES) + attributes(&mut event.attributes);
    }
    for link in &mut span.links {
        cuts += text(&mut link.trace_state, MAX_NAME_BYTES) + attributes(&mut link.attributes);
    }
    cuts
}

/// Cuts name and version of a scope.
pub(crate) fn names(scope: &mut Scope) -> u64 {
    text(&mut scope.name, MAX_NAME_BYTES) + text(&mut scope.version, MAX_NAME_BYTES)
}

/// Cuts a list of attributes. Those that inference reads are kept, wherever they stand; of the others the first.
pub(crate) fn attributes(list: &mut Attributes) -> u64 {
    let mut cuts = 0;
    if list.len() > MAX_ATTRIBUTES {
        let before = list.len();
        // Of a repeated key the last counts, and it may be beyond the limit.
        resolve(list);
        let mut room = MAX_ATTRIBUTES;
        list.retain(|(key, _)| {
            let kept = room > 0 || known(key).is_some();
            room = room.saturating_sub(1);
            kept
        });
        cuts += (before - list.len()) as u64;
    }
    fit(list);
    for (key, content) in list {
        cuts += text(key, MAX_KEY_BYTES) + value(content);
    }
    cuts
}

/// Cuts the attributes of a resource or scope: each as any list, and all of them to [`MAX_SHARED_BYTES`]. What inference
/// reads goes first; what does not fit leaves its room to smaller ones behind it.
pub(crate) fn shared(list: &mut Attributes) -> u64 {
    let cuts = attributes(list);
    let weights: Vec<usize> = list.iter().map(pair_bytes).collect();
    if weights.iter().sum::<usize>() <= MAX_SHARED_BYTES {
        return cuts;
    }
    let (mut room, mut kept) = (MAX_SHARED_BYTES, vec![false; list.len()]);
    for read_by_inference in [true, false] {
        for (((key, _), weight), kept) in list.iter().zip(&weights).zip(&mut kept) {
            if known(key).is_some() == read_by_inference && *weight <= room {
                room -= weight;
                *kept = true;
            }
        }
    }
    let (before, mut kept) = (list.len(), kept.into_iter());
    list.retain(|_| kept.next().unwrap_or(false));
    fit(list);
    cuts + (before - list.len()) as u64
}

/// About how many bytes a pair takes where it is written.
fn pair_bytes((key, content): &(Text, Value)) -> usize {
    ELEMENT_BYTES + key.len() + value_bytes(content)
}

fn value_bytes(content: &Value) -> usize {
    match content {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(list) => list.iter().map(|content| ELEMENT_BYTES + value_bytes(content)).sum(),
        Value::Map(list) => list.iter().map(pair_bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
    }
}

/// Gives back the room of elements that are gone, such as repeated keys. By a new list and not by shrinking the old one: what
/// is cut off a block is just too small for the next block of that size, and memory would grow by all of them.
fn fit<T>(list: &mut Vec<T>) {
    if list.capacity() > 2 * list.len() {
        let mut fitting = Vec::with_capacity(list.len());
        fitting.append(list);
        *list = fitting;
    }
}

/// Nesting is bounded by the decoders.
fn value(content: &mut Value) -> u64 {
    match content {
        Value::Str(content) => text(content, MAX_VALUE_BYTES),
        Value::Bytes(content) => bytes(content),
        Value::Array(list) => shorten(list, MAX_ELEMENTS) + list.iter_mut().map(value).sum::<u64>(),
        Value::Map(list) => attributes(list),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
    }
}

fn text(content: &mut Text, most: usize) -> u64 {
    if content.len() <= most {
        return 0;
    }
    *content = content.slice_ref(&content[..content.floor_char_boundary(most)]);
    1
}

fn bytes(content: &mut Bytes) -> u64 {
    if content.len() <= MAX_VALUE_BYTES {
        return 0;
    }
    content.truncate(MAX_VALUE_BYTES);
    1
}

fn shorten<T>(list: &mut Vec<T>, most: usize) -> u64 {
    let cuts = list.len().saturating_sub(most) as u64;
    list.truncate(most);
    fit(list);
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(count: usize) -> Attributes {
        (0..count).map(|at| (format!("k{at}").into(), Value::Int(1))).collect()
    }

    #[test]
    fn what_is_within_the_limits_stays_as_it_is() {
        let mut list = pairs(MAX_ATTRIBUTES);
        list[0] = ("k".repeat(MAX_KEY_BYTES).into(), Value::Str("v".repeat(MAX_VALUE_BYTES).into()));
        let before = list.clone();
        assert_eq!(attributes(&mut list), 0);
        assert_eq!(list, before);
    }

    #[test]
    fn a_million_attributes_leave_the_first_and_the_known() {
        let mut list = pairs(1_000_000);
        list.push(("service.name".into(), Value::Str("shop".into())));
        list.push(("k3".into(), Value::Int(7)));
        assert_eq!(attributes(&mut list), 1_000_002 - 513);
        assert_eq!(list.len(), MAX_ATTRIBUTES + 1);
        assert_eq!(crate::span::attribute(&list, "service.name"), Some(&Value::Str("shop".into())));
        assert_eq!(crate::span::attribute(&list, "k3"), Some(&Value::Int(7)), "the last of a repeated key");
    }

    #[test]
    fn what_spans_share_is_bounded_as_a_whole_and_keeps_what_inference_reads() {
        let heavy =
            |key: &str| (Text::from(key.to_owned()), Value::Bytes(vec![1; MAX_VALUE_BYTES - 100].into()));
        let mut list: Attributes = (0..80).map(|at| heavy(&format!("blob.{at}"))).collect();
        list.insert(2, ("small".into(), Value::Int(1)));
        list.push(("service.name".into(), Value::Str("shop".into())));
        assert_eq!(shared(&mut list), 78, "two of them fit");
        let keys: Vec<&str> = list.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, ["blob.0", "blob.1", "small", "service.name"]);
        assert_eq!(shared(&mut list), 0, "once is enough");
        let mut nested: Attributes =
            (0..512).map(|at| (format!("k{at}").into(), Value::Array(vec![Value::Null; 4_096]))).collect();
        shared(&mut nested);
        assert_eq!(nested.len(), 3, "elements weigh, too");
    }

    #[test]
    fn long_keys_and_values_are_cut_at_a_character() {
        let mut list: Attributes = vec![
            ("é".repeat(200).into(), Value::Bytes(vec![1; 1 << 20].into())),
            ("nested".into(), Value::Map(vec![("k".into(), Value::Str("é".repeat(1 << 20).into()))])),
            ("list".into(), Value::Array(vec![Value::Null; 100_000])),
        ];
        assert_eq!(attributes(&mut list), 3 + (100_000 - MAX_ELEMENTS as u64));
        assert_eq!(list[0].0.len(), MAX_KEY_BYTES);
        let Value::Map(nested) = &list[1].1 else { panic!("a map") };
        assert_eq!(nested[0].1.as_str().map(str::len), Some(MAX_VALUE_BYTES));
        assert_eq!(attributes(&mut list), 0, "once is enough");
    }
}
