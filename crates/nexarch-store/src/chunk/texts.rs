//! A dictionary of texts: each is written once, and named by its number.

use std::collections::HashMap;

use nexarch_core::Text;

use super::{
    Corrupt, Seeded,
    bytes::{Reader, put_len},
};

/// Collects texts while encoding.
#[derive(Default)]
pub(super) struct Texts<'a> {
    ids: HashMap<&'a str, u64, Seeded>,
    /// By address and length: equal texts mostly are one text, and their bytes need not be looked at again.
    by_address: HashMap<(usize, usize), u64, Seeded>,
    list: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    /// The number of a text.
    pub(super) fn id(&mut self, text: &'a str) -> u64 {
        let Self { ids, by_address, list } = self;
        *by_address.entry((text.as_ptr().addr(), text.len())).or_insert_with(|| {
            *ids.entry(text).or_insert_with(|| {
                list.push(text);
                list.len() as u64 - 1
            })
        })
    }

    /// Writes all lengths, then all bytes: equal things side by side compress better.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_len(out, self.list.len());
        self.list.iter().for_each(|text| put_len(out, text.len()));
        self.list.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
    }
}

/// Reads what [`Texts::write`] wrote. Each text is a copy of its own: one kept text must not keep a whole block.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Vec<Text>, Corrupt> {
    let count = reader.count()?;
    let lens = (0..count).map(|_| reader.varint()).collect::<Result<Vec<_>, _>>()?;
    lens.into_iter()
        .map(|len| {
            let bytes = reader.take(usize::try_from(len).map_err(|_| Corrupt("length"))?)?;
            Text::try_from(bytes).map_err(|_| Corrupt("not UTF-8"))
        })
        .collect()
}

/// The text with the number that comes next.
pub(super) fn get(reader: &mut Reader<'_>, texts: &[Text]) -> Result<Text, Corrupt> {
    let index = reader.index(texts.len())?;
    texts.get(index).cloned().ok_or(Corrupt("text"))
}
