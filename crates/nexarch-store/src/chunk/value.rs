//! Attribute values one after another: for resources, scopes, and values inside lists and maps.

use bytes::Bytes;
use nexarch_core::{
    Text,
    span::{Attributes, Value},
};

use super::{
    Corrupt,
    bytes::{Reader, put_bytes, put_len, put_varint, unzigzag, zigzag},
};

/// Deepest nesting of lists and maps. The decoders of spans allow less; this bounds the recursion here.
const MAX_DEPTH: usize = 64;

/// Tags of values.
pub(super) const NULL: u8 = 0;
pub(super) const STR: u8 = 1;
pub(super) const BOOL: u8 = 2;
pub(super) const INT: u8 = 3;
pub(super) const DOUBLE: u8 = 4;
pub(super) const BYTES: u8 = 5;
const ARRAY: u8 = 6;
const MAP: u8 = 7;
/// In a column: a list or map, tagged inside.
pub(super) const NESTED: u8 = 8;

/// Writes a list of pairs.
pub(super) fn put_attributes(
    out: &mut Vec<u8>,
    attributes: &Attributes,
    depth: usize,
) -> Result<(), Corrupt> {
    put_len(out, attributes.len());
    attributes.iter().try_for_each(|(key, value)| {
        put_bytes(out, key.as_bytes());
        put_value(out, value, depth)
    })
}

/// Writes a value with its tag.
pub(super) fn put_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), Corrupt> {
    if depth > MAX_DEPTH {
        return Err(Corrupt("nested too deep"));
    }
    match value {
        Value::Null => out.push(NULL),
        Value::Str(text) => {
            out.push(STR);
            put_bytes(out, text.as_bytes());
        }
        Value::Bool(truth) => out.extend([BOOL, u8::from(*truth)]),
        Value::Int(number) => {
            out.push(INT);
            put_varint(out, zigzag(*number));
        }
        Value::Double(number) => {
            out.push(DOUBLE);
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(BYTES);
            put_bytes(out, bytes);
        }
        Value::Array(list) => {
            out.push(ARRAY);
            put_len(out, list.len());
            list.iter().try_for_each(|value| put_value(out, value, depth + 1))?;
        }
        Value::Map(map) => {
            out.push(MAP);
            put_attributes(out, map, depth + 1)?;
        }
    }
    Ok(())
}

/// Reads what [`put_attributes`] wrote.
pub(super) fn read_attributes(reader: &mut Reader<'_>, depth: usize) -> Result<Attributes, Corrupt> {
    let count = reader.count()?;
    (0..count).map(|_| Ok((read_text(reader)?, read_value(reader, depth)?))).collect()
}

/// Reads what [`put_value`] wrote.
pub(super) fn read_value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Corrupt> {
    if depth > MAX_DEPTH {
        return Err(Corrupt("nested too deep"));
    }
    Ok(match reader.byte()? {
        NULL => Value::Null,
        STR => Value::Str(read_text(reader)?),
        BOOL => Value::Bool(reader.byte()? != 0),
        INT => Value::Int(unzigzag(reader.varint()?)),
        DOUBLE => Value::Double(f64::from_bits(u64::from_le_bytes(reader.array()?))),
        BYTES => Value::Bytes(Bytes::copy_from_slice(reader.bytes()?)),
        ARRAY => {
            let count = reader.count()?;
            Value::Array((0..count).map(|_| read_value(reader, depth + 1)).collect::<Result<_, _>>()?)
        }
        MAP => Value::Map(read_attributes(reader, depth + 1)?),
        _ => return Err(Corrupt("value tag")),
    })
}

/// Reads a text written as bytes.
pub(super) fn read_text(reader: &mut Reader<'_>) -> Result<Text, Corrupt> {
    Text::try_from(reader.bytes()?).map_err(|_| Corrupt("not UTF-8"))
}

/// About how many bytes attributes take, `None` when a value is nested deeper than a chunk can hold. A chunk holds a key
/// once, but nothing says that spans share theirs.
pub(super) fn weight_of(attributes: &Attributes) -> Option<usize> {
    list_weight(attributes, MAX_DEPTH)
}

/// Of pairs whose values may be nested so deep.
fn list_weight(attributes: &Attributes, left: usize) -> Option<usize> {
    let left = left.checked_sub(1)?;
    attributes.iter().try_fold(0, |sum, (key, value)| Some(sum + 4 + key.len() + value_weight(value, left)?))
}

fn value_weight(value: &Value, left: usize) -> Option<usize> {
    Some(match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Int(_) | Value::Double(_) => 8,
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(list) => {
            let left = left.checked_sub(1)?;
            list.iter().try_fold(0, |sum, value| Some(sum + 4 + value_weight(value, left)?))?
        }
        Value::Map(map) => list_weight(map, left)?,
    })
}
