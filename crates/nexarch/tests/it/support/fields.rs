//! Lists of Structured Fields (RFC 9651, section 4.2), as strictly as the document has them: a second opinion on what the
//! server writes. Only Strings and Integers, which is what is wanted here; everything else is a failure.

use std::collections::BTreeMap;

/// A bare item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bare {
    Text(String),
    Number(i64),
}

/// Parameters by key.
pub(crate) type Parameters = BTreeMap<String, Bare>;

/// Parses the value of a field that is a List of Strings with parameters.
#[track_caller]
pub(crate) fn list(value: &str) -> Vec<(String, Parameters)> {
    let mut rest = value.trim_matches(' ');
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (Bare::Text(name), after) = bare(rest) else { panic!("no String at {rest:?} of {value:?}") };
        rest = after;
        let mut parameters = Parameters::new();
        while let Some(after) = rest.strip_prefix(';') {
            let (key, after) = key(after.trim_start_matches(' '));
            let after = after.strip_prefix('=').unwrap_or_else(|| panic!("{key} is a Boolean in {value:?}"));
            let (item, after) = bare(after);
            assert!(parameters.insert(key.to_owned(), item).is_none(), "{key} twice in {value:?}");
            rest = after;
        }
        items.push((name, parameters));
        let blank = |c| c == ' ' || c == '\t';
        rest = rest.trim_start_matches(blank);
        if rest.is_empty() {
            break;
        }
        let after = rest.strip_prefix(',').unwrap_or_else(|| panic!("no comma at {rest:?} of {value:?}"));
        rest = after.trim_start_matches(blank);
        assert!(!rest.is_empty(), "a comma at the end of {value:?}");
    }
    items
}

#[track_caller]
fn key(text: &str) -> (&str, &str) {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
    assert!(first, "no key at {text:?}");
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c);
    text.split_at(text.find(|c| !inside(c)).unwrap_or(text.len()))
}

#[track_caller]
fn bare(text: &str) -> (Bare, &str) {
    if let Some(inside) = text.strip_prefix('"') {
        let end = inside.find('"').unwrap_or_else(|| panic!("no end of a String in {text:?}"));
        let (string, rest) = (&inside[..end], &inside[end + 1..]);
        assert!(string.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\'), "{string:?}");
        return (Bare::Text(string.to_owned()), rest);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    assert!((1..=15).contains(&digits.len()), "no Integer at {text:?}");
    assert!(!rest.starts_with('.'), "a Decimal at {text:?}");
    (Bare::Number(digits.parse().unwrap()), rest)
}

/// A parameter that must be an Integer.
#[track_caller]
pub(crate) fn number(parameters: &Parameters, key: &str) -> i64 {
    match parameters.get(key) {
        Some(Bare::Number(number)) => *number,
        other => panic!("{key} is {other:?} in {parameters:?}"),
    }
}
