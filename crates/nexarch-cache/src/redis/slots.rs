//! A cluster's slots: which one a key lies in, and what `CLUSTER SLOTS` says of who holds them. Pure.

use redis::Value;

/// Slots of every cluster.
pub(super) const SLOTS: usize = 16_384;

/// Consecutive slots and the address of their primary; an empty host means the one that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) host: String,
    pub(super) port: u16,
}

/// The slot of a key: of the part between the first `{` and the next `}` when there is something between them.
/// Source: "Redis cluster specification", key distribution model.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').map(|open| &key[open + 1..]);
    let tag = tag.and_then(|rest| rest.iter().position(|&byte| byte == b'}').map(|close| &rest[..close]));
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % 16_384
}

/// CRC16/XMODEM: polynomial 0x1021, initial value 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// Reads the answer of `CLUSTER SLOTS`: the primaries; replicas are never asked. `None` when it makes no sense.
pub(super) fn ranges(answer: &Value) -> Option<Vec<Range>> {
    let Value::Array(rows) = answer else { return None };
    rows.iter().map(range).collect()
}

fn range(row: &Value) -> Option<Range> {
    let Value::Array(row) = row else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = row.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let host = match host {
        // `?` is an address that the node itself does not know.
        Value::Nil => String::new(),
        Value::BulkString(host) if host == b"?" => String::new(),
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?.to_ascii_lowercase(),
        Value::SimpleString(host) => host.to_ascii_lowercase(),
        _ => return None,
    };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    let port = u16::try_from(*port).ok().filter(|port| *port > 0)?;
    (first <= last && usize::from(last) < SLOTS).then_some(Range { first, last, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The check value of the specification, and slots that `CLUSTER KEYSLOT` gives.
    #[test]
    fn slots_are_those_of_the_server() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        for (key, expected) in [
            ("", 0),
            ("foo", 12_182),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn row(first: i64, last: i64, host: Value, port: i64) -> Value {
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(vec![host, Value::Int(port), bulk("id")]),
        ])
    }

    #[test]
    fn rows_are_read_and_nonsense_is_not() {
        let answer =
            Value::Array(vec![row(0, 5460, bulk("10.0.0.1"), 8500), row(5461, 16_383, Value::Nil, 8501)]);
        let read = ranges(&answer).unwrap();
        assert_eq!(read[0], Range { first: 0, last: 5460, host: "10.0.0.1".into(), port: 8500 });
        assert_eq!((read[1].host.as_str(), read[1].last), ("", 16_383));
        assert_eq!(ranges(&Value::Array(vec![])), Some(vec![]));
        for wrong in [
            Value::Okay,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![row(5, 4, bulk("a"), 1)]),
            Value::Array(vec![row(0, 16_384, bulk("a"), 1)]),
            Value::Array(vec![row(-1, 3, bulk("a"), 1)]),
            Value::Array(vec![row(0, 3, bulk("a"), 0)]),
            Value::Array(vec![row(0, 3, bulk("a"), 70_000)]),
            Value::Array(vec![row(0, 3, Value::Int(4), 1)]),
        ] {
            assert_eq!(ranges(&wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn every_key_has_a_slot_and_a_tag_decides_alone(tag in "[a-z]{1,9}", a in ".*", b in ".*") {
            prop_assert!(usize::from(slot(a.as_bytes())) < SLOTS);
            let before = a.replace('{', "");
            prop_assert_eq!(slot(format!("{before}{{{tag}}}{b}").as_bytes()), slot(tag.as_bytes()));
        }
    }
}
