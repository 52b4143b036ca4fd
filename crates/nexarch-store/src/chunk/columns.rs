//! Attributes as columns: one per place, key and type, so that like stands beside like.
//!
//! A list of attributes becomes a *shape* (which columns, in which order) and one value appended to each of them.
//! A text that a column has seen before is written as its number there.

use std::collections::HashMap;

use bytes::Bytes;
use nexarch_core::{
    Text,
    span::{Attributes, Value},
};

use super::{
    Corrupt, Seeded,
    bytes::{Reader, put_bytes, put_len, put_varint, unzigzag, zigzag},
    texts::{self, Texts},
    value::{self, BOOL, BYTES, DOUBLE, INT, NESTED, NULL, STR},
};

/// Longer texts are not looked up: they hardly repeat, and hashing them costs.
const MAX_REPEATED: usize = 256;

/// Reference to a text that follows for the first time.
const NEW: u64 = 0;

/// Where attributes stand. Equal keys mean different things in different places.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Place {
    Span = 0,
    Event = 1,
    Link = 2,
}

/// One column while encoding: values in `head` (for texts: references), text lengths and bytes apart.
#[derive(Default)]
pub(super) struct Column<'a> {
    head: Vec<u8>,
    lens: Vec<u8>,
    body: Vec<u8>,
    texts: u64,
    seen: HashMap<&'a str, u64, Seeded>,
    /// What came last, with its number: most texts of most columns repeat at once.
    last: Option<(&'a str, u64)>,
}

impl<'a> Column<'a> {
    /// Appends a text.
    pub(super) fn text(&mut self, text: &'a str) {
        if let Some((last, number)) = self.last
            && last == text
        {
            put_varint(&mut self.head, number);
            return;
        }
        if text.len() <= MAX_REPEATED {
            let number = *self.seen.entry(text).or_insert(self.texts + 1);
            self.last = Some((text, number));
            if number <= self.texts {
                put_varint(&mut self.head, number);
                return;
            }
        }
        self.texts += 1;
        put_varint(&mut self.head, NEW);
        put_len(&mut self.lens, text.len());
        self.body.extend_from_slice(text.as_bytes());
    }

    fn value(&mut self, value: &'a Value) -> Result<(), Corrupt> {
        match value {
            // A byte even for nothing: no row may be free, or a small block could claim endless rows.
            Value::Null => self.head.push(0),
            Value::Str(text) => self.text(text),
            Value::Bool(truth) => self.head.push(u8::from(*truth)),
            Value::Int(number) => put_varint(&mut self.head, zigzag(*number)),
            Value::Double(number) => self.head.extend_from_slice(&number.to_bits().to_le_bytes()),
            Value::Bytes(bytes) => {
                put_len(&mut self.head, bytes.len());
                self.body.extend_from_slice(bytes);
            }
            Value::Array(_) | Value::Map(_) => value::put_value(&mut self.head, value, 0)?,
        }
        Ok(())
    }

    /// Writes the column.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.head);
        put_bytes(out, &self.lens);
        put_bytes(out, &self.body);
    }
}

/// A column, what it is of, and which one was written after it last.
struct Typed<'a> {
    place: Place,
    tag: u8,
    name: &'a str,
    key: u64,
    next: usize,
    column: Column<'a>,
}

/// All columns and shapes while encoding.
#[derive(Default)]
pub(super) struct Columns<'a> {
    keys: Texts<'a>,
    index: HashMap<(Place, u8, &'a str), usize, Seeded>,
    list: Vec<Typed<'a>>,
    shapes: HashMap<Vec<usize>, u64, Seeded>,
    shape_rows: Vec<u8>,
    scratch: Vec<usize>,
}

impl<'a> Columns<'a> {
    /// Appends attributes and returns the number of their shape.
    pub(super) fn push(&mut self, place: Place, attributes: &'a Attributes) -> Result<u64, Corrupt> {
        self.scratch.clear();
        let mut last = None;
        for (key, value) in attributes {
            let at = self.column(place, tag_of(value), key, last);
            if let Some(typed) = self.list.get_mut(at) {
                typed.column.value(value)?;
            }
            self.scratch.push(at);
            last = Some(at);
        }
        if let Some(shape) = self.shapes.get(&self.scratch) {
            return Ok(*shape);
        }
        put_len(&mut self.shape_rows, self.scratch.len());
        self.scratch.iter().for_each(|column| put_len(&mut self.shape_rows, *column));
        let shape = self.shapes.len() as u64;
        self.shapes.insert(self.scratch.clone(), shape);
        Ok(shape)
    }

    /// The column of a key; first a guess, as what followed an attribute once mostly follows it again.
    fn column(&mut self, place: Place, tag: u8, key: &'a str, last: Option<usize>) -> usize {
        let guess = last.and_then(|last| self.list.get(last)).map(|last| last.next);
        if let Some(guess) = guess
            && self
                .list
                .get(guess)
                .is_some_and(|it| it.tag == tag && it.place == place && is_same(it.name, key))
        {
            return guess;
        }
        let (names, columns) = (&mut self.keys, &mut self.list);
        let at = *self.index.entry((place, tag, key)).or_insert_with(|| {
            let (name, key, column) = (key, names.id(key), Column::default());
            columns.push(Typed { place, tag, name, key, next: 0, column });
            columns.len() - 1
        });
        if let Some(last) = last.and_then(|last| self.list.get_mut(last)) {
            last.next = at;
        }
        at
    }

    /// Writes all columns, then all shapes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.keys.write(out);
        put_len(out, self.list.len());
        for Typed { place, tag, key, column, .. } in &self.list {
            out.extend([*place as u8, *tag]);
            put_varint(out, *key);
            column.write(out);
        }
        put_len(out, self.shapes.len());
        out.extend_from_slice(&self.shape_rows);
    }
}

/// Are two keys equal? Those of the conventions are mostly one text, whose bytes need not be looked at.
fn is_same(a: &str, b: &str) -> bool {
    std::ptr::eq(a, b) || a == b
}

fn tag_of(value: &Value) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Str(_) => STR,
        Value::Bool(_) => BOOL,
        Value::Int(_) => INT,
        Value::Double(_) => DOUBLE,
        Value::Bytes(_) => BYTES,
        Value::Array(_) | Value::Map(_) => NESTED,
    }
}

/// One column while decoding. Texts stay where they are in the block until somebody wants them.
pub(super) struct ColumnReader<'a> {
    head: Reader<'a>,
    lens: Reader<'a>,
    body: Reader<'a>,
    texts: Vec<&'a [u8]>,
}

impl<'a> ColumnReader<'a> {
    /// Reads what [`Column::write`] wrote.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let mut part = || reader.bytes().map(Reader::new);
        Ok(Self { head: part()?, lens: part()?, body: part()?, texts: Vec::new() })
    }

    /// The bytes of the next text.
    fn next_text(&mut self) -> Result<&'a [u8], Corrupt> {
        match self.head.varint()? {
            NEW => {
                let len = usize::try_from(self.lens.varint()?).map_err(|_| Corrupt("length"))?;
                let text = self.body.take(len)?;
                self.texts.push(text);
                Ok(text)
            }
            number => {
                let index = usize::try_from(number - 1).map_err(|_| Corrupt("text"))?;
                self.texts.get(index).copied().ok_or(Corrupt("text"))
            }
        }
    }

    /// The next text, as part of `block`; `None` unless it is wanted.
    pub(super) fn text(&mut self, block: &Bytes, keep: bool) -> Result<Option<Text>, Corrupt> {
        let bytes = self.next_text()?;
        keep.then(|| part_of(block, bytes)).transpose()
    }

    fn value(&mut self, tag: u8, block: &Bytes, keep: bool) -> Result<Value, Corrupt> {
        Ok(match tag {
            NULL => self.head.byte().map(|_| Value::Null)?,
            STR => self.text(block, keep)?.map_or(Value::Null, Value::Str),
            BOOL => Value::Bool(self.head.byte()? != 0),
            INT => Value::Int(unzigzag(self.head.varint()?)),
            DOUBLE => Value::Double(f64::from_bits(u64::from_le_bytes(self.head.array()?))),
            BYTES => {
                let len = usize::try_from(self.head.varint()?).map_err(|_| Corrupt("length"))?;
                Value::Bytes(block.slice_ref(self.body.take(len)?))
            }
            NESTED => value::read_value(&mut self.head, 0)?,
            _ => return Err(Corrupt("column type")),
        })
    }
}

/// A text that shares the memory of the block.
fn part_of(block: &Bytes, bytes: &[u8]) -> Result<Text, Corrupt> {
    Text::try_from(block.slice_ref(bytes)).map_err(|_| Corrupt("not UTF-8"))
}

/// All columns and shapes while decoding.
pub(super) struct ColumnsReader<'a> {
    columns: Vec<(u8, u8, Text, ColumnReader<'a>)>,
    shapes: Vec<Vec<usize>>,
}

impl<'a> ColumnsReader<'a> {
    /// Reads what [`Columns::write`] wrote.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let keys = texts::read(reader)?;
        let count = reader.count()?;
        let columns = (0..count)
            .map(|_| {
                let [place, tag] = reader.array()?;
                Ok((place, tag, texts::get(reader, &keys)?, ColumnReader::read(reader)?))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let count = reader.count()?;
        let shapes = (0..count)
            .map(|_| {
                let len = reader.count()?;
                (0..len).map(|_| reader.index(columns.len())).collect()
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { columns, shapes })
    }

    /// The next attributes of this place; empty, but read past, unless they are wanted.
    pub(super) fn next(
        &mut self,
        place: Place,
        shapes: &mut Reader<'_>,
        block: &Bytes,
        keep: bool,
    ) -> Result<Attributes, Corrupt> {
        let Self { columns, shapes: list } = self;
        let shape = list.get(shapes.index(list.len())?).ok_or(Corrupt("shape"))?;
        let mut attributes = Vec::with_capacity(if keep { shape.len() } else { 0 });
        for index in shape {
            let (of, tag, key, column) = columns.get_mut(*index).ok_or(Corrupt("column"))?;
            if *of != place as u8 {
                return Err(Corrupt("column of another place"));
            }
            let value = column.value(*tag, block, keep)?;
            if keep {
                attributes.push((key.clone(), value));
            }
        }
        Ok(attributes)
    }
}
