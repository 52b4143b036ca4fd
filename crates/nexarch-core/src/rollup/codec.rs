//! Blobs: one bucket of a table as self-contained bytes.
//!
//! ```text
//! version u8 · xxh3-64 of the rest, little endian · texts · nodes · cells
//! texts   count, then length and UTF-8 bytes each, sorted; text 0 is empty and left out
//! nodes   count, then class u8 and five texts each, sorted
//! cells   count, then head u8, references, flags u8 and the fields that the flags announce; sorted
//! ```
//! Numbers are LEB128, signed ones zigzag. Only what a cell refers to is written and all is sorted, so equal
//! cells give equal bytes. No cell: no byte at all. Not compressed here; the store does that.

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Corrupt,
    cell::Cell,
    key::{Class, Key, NodeKey},
    table::{MAX_TEXT, Table},
    wire::{Reader, put_i128, put_signed, put_unsigned},
};
use crate::histogram::{BUCKETS, LONGEST_US, bucket as bucket_of};

/// Version of the format; another one is corrupt.
const VERSION: u8 = 1;
/// Version and checksum.
const HEADER: usize = 9;

/// `errors` and `error_weight` follow.
const HAS_ERRORS: u8 = 1;
/// Weights are 256 times the counts and left out.
const UNIT_WEIGHT: u8 = 1 << 1;
/// One duration, whose weight is the cell's: only its microseconds follow.
const SINGLE: u8 = 1 << 2;
/// `timed`, `time` and the histogram follow.
const TIMED: u8 = 1 << 3;
/// `timed` equals the count and is left out.
const ALL_TIMED: u8 = 1 << 4;
/// `time` and the weights of the histogram are multiples of 256 and written divided.
const UNIT_TIME: u8 = 1 << 5;
/// All flags.
const KNOWN: u8 = (1 << 6) - 1;

/// Writes the cells of one bucket; empty when there are none.
pub(super) fn encode<'a>(table: &Table, cells: impl Iterator<Item = (Key, &'a Cell)>) -> Vec<u8> {
    let mut cells: Vec<(Key, &Cell)> = cells.collect();
    if cells.is_empty() {
        return Vec::new();
    }
    let names = Names::of(table, &cells);
    for (key, _) in &mut cells {
        *key = names.rename(*key);
    }
    cells.sort_unstable_by_key(|cell| cell.0);

    let mut out = vec![0; HEADER];
    put_unsigned(&mut out, names.sorted_texts.len() as u64);
    for text in &names.sorted_texts {
        put_unsigned(&mut out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    put_unsigned(&mut out, names.sorted_nodes.len() as u64);
    for node in &names.sorted_nodes {
        out.push(node.class as u8);
        node.parts.iter().for_each(|&part| put_unsigned(&mut out, u64::from(part)));
    }
    put_unsigned(&mut out, cells.len() as u64);
    for (key, cell) in cells {
        let (head, refs, shape) = key.flatten();
        out.push(head);
        refs.iter().zip(shape).for_each(|(&reference, _)| put_unsigned(&mut out, u64::from(reference)));
        put_cell(&mut out, cell);
    }
    out[0] = VERSION;
    let checksum = xxh3_64(&out[HEADER..]).to_le_bytes();
    out[1..HEADER].copy_from_slice(&checksum);
    out
}

/// The canonical numbering: what the cells use, sorted.
struct Names<'a> {
    sorted_texts: Vec<&'a str>,
    sorted_nodes: Vec<NodeKey>,
    texts: FxHashMap<u32, u32>,
    nodes: FxHashMap<u32, u32>,
}

impl<'a> Names<'a> {
    fn of(table: &'a Table, cells: &[(Key, &Cell)]) -> Self {
        let (mut texts, mut nodes) = (FxHashMap::default(), FxHashMap::default());
        for (key, _) in cells {
            let (_, refs, shape) = key.flatten();
            for (&reference, &is_node) in refs.iter().zip(shape) {
                if !is_node {
                    texts.insert(reference, 0);
                } else if nodes.insert(reference, 0).is_none() {
                    texts.extend(table.node_of(reference).parts.map(|part| (part, 0)));
                }
            }
        }
        texts.remove(&Table::EMPTY);
        let mut by_text: Vec<(&str, u32)> = texts.keys().map(|&id| (&**table.text_of(id), id)).collect();
        by_text.sort_unstable();
        texts.insert(Table::EMPTY, 0);
        for (&(_, id), rank) in by_text.iter().zip(1..) {
            texts.insert(id, rank);
        }
        let rename =
            |node: NodeKey| NodeKey { class: node.class, parts: node.parts.map(|part| texts[&part]) };
        let mut by_node: Vec<(NodeKey, u32)> =
            nodes.keys().map(|&id| (rename(table.node_of(id)), id)).collect();
        by_node.sort_unstable();
        for (&(_, id), rank) in by_node.iter().zip(0..) {
            nodes.insert(id, rank);
        }
        Self {
            sorted_texts: by_text.into_iter().map(|entry| entry.0).collect(),
            sorted_nodes: by_node.into_iter().map(|entry| entry.0).collect(),
            texts,
            nodes,
        }
    }

    fn rename(&self, key: Key) -> Key {
        let (head, mut refs, shape) = key.flatten();
        for (reference, &is_node) in refs.iter_mut().zip(shape) {
            *reference = if is_node { self.nodes[reference] } else { self.texts[reference] };
        }
        Key::unflatten(head, refs).unwrap_or(key)
    }
}

fn put_cell(out: &mut Vec<u8>, cell: &Cell) {
    let unit = |count: i64, weight: i64| count.checked_mul(256) == Some(weight);
    let bins = cell.histogram.bins();
    let mut flags = 0;
    flags |= if cell.errors == 0 && cell.error_weight == 0 { 0 } else { HAS_ERRORS };
    flags |=
        if unit(cell.count, cell.weight) && unit(cell.errors, cell.error_weight) { UNIT_WEIGHT } else { 0 };
    let single = cell.single();
    if single.is_some() {
        flags |= SINGLE;
    } else if cell.timed != 0 || cell.time != 0 || !bins.is_empty() {
        flags |= TIMED;
        flags |= if cell.timed == cell.count { ALL_TIMED } else { 0 };
        let divisible = cell.time % 256 == 0 && bins.iter().all(|bin| bin.1 % 256 == 0);
        flags |= if divisible { UNIT_TIME } else { 0 };
    }
    out.push(flags);
    put_signed(out, cell.count);
    if flags & HAS_ERRORS != 0 {
        put_signed(out, cell.errors);
    }
    if flags & UNIT_WEIGHT == 0 {
        put_signed(out, cell.weight);
        if flags & HAS_ERRORS != 0 {
            put_signed(out, cell.error_weight);
        }
    }
    if let Some(us) = single {
        put_unsigned(out, us);
    }
    if flags & TIMED != 0 {
        put_times(out, cell, flags);
    }
}

fn put_times(out: &mut Vec<u8>, cell: &Cell, flags: u8) {
    let divisor = if flags & UNIT_TIME == 0 { 1 } else { 256 };
    if flags & ALL_TIMED == 0 {
        put_signed(out, cell.timed);
    }
    put_i128(out, cell.time / i128::from(divisor));
    let bins = cell.histogram.bins();
    put_unsigned(out, bins.len() as u64);
    let mut last = 0;
    for &(bucket, weight) in bins {
        put_unsigned(out, u64::from(bucket - last));
        put_signed(out, weight / divisor);
        last = bucket;
    }
}

/// Reads a blob and hands on each cell that is `wanted` with its key in terms of the table, which learns the names of the
/// blob. Others are passed over unread: most of the time goes into histograms.
pub(super) fn decode(
    table: &mut Table,
    blob: &[u8],
    wanted: &dyn Fn(&Table, Key) -> bool,
    each: &mut dyn FnMut(&mut Table, Key, &Cell),
) -> Result<(), Corrupt> {
    if blob.is_empty() {
        return Ok(());
    }
    let (Some((&[version, ref checksum @ ..], body)), VERSION) =
        (blob.split_first_chunk::<HEADER>(), blob[0])
    else {
        return Err(Corrupt("unknown format"));
    };
    debug_assert_eq!(version, VERSION);
    if u64::from_le_bytes(*checksum) != xxh3_64(body) {
        return Err(Corrupt("checksum"));
    }
    let mut input = Reader(body);
    let texts = read_texts(table, &mut input)?;
    let nodes = read_nodes(table, &mut input, &texts)?;
    // One cell for all, so that a histogram is not allocated for each.
    let mut cell = Cell::default();
    // A cell is at least a head, one reference, flags and a count.
    for _ in 0..input.length(4)? {
        let head = input.byte()?;
        let shape = Key::shape(head);
        let mut refs = [0; 3];
        for (reference, &is_node) in refs.iter_mut().zip(shape) {
            let map = if is_node { &nodes } else { &texts };
            *reference = *map.get(input.index()?).ok_or(Corrupt("reference"))?;
        }
        let key = Key::unflatten(head, refs).ok_or(Corrupt("key"))?;
        if wanted(table, key) {
            read_cell(&mut input, &mut cell)?;
            each(table, key, &cell);
        } else {
            skip_cell(&mut input)?;
        }
    }
    if input.0.is_empty() { Ok(()) } else { Err(Corrupt("bytes after the end")) }
}

fn read_texts(table: &mut Table, input: &mut Reader<'_>) -> Result<Vec<u32>, Corrupt> {
    let count = input.length(1)?;
    let mut texts = Vec::with_capacity(count + 1);
    texts.push(Table::EMPTY);
    for _ in 0..count {
        let length = input.length(1)?;
        if length > MAX_TEXT {
            return Err(Corrupt("text too long"));
        }
        let text = std::str::from_utf8(input.take(length)?).map_err(|_| Corrupt("text is no UTF-8"))?;
        texts.push(table.text_str(text));
    }
    Ok(texts)
}

fn read_nodes(table: &mut Table, input: &mut Reader<'_>, texts: &[u32]) -> Result<Vec<u32>, Corrupt> {
    let count = input.length(6)?;
    let mut nodes = Vec::with_capacity(count);
    for _ in 0..count {
        let class = *Class::STORED.get(usize::from(input.byte()?)).ok_or(Corrupt("class"))?;
        let mut parts = [0; 5];
        for part in &mut parts {
            *part = *texts.get(input.index()?).ok_or(Corrupt("reference"))?;
        }
        nodes.push(table.node(NodeKey { class, parts }));
    }
    Ok(nodes)
}

fn read_flags(input: &mut Reader<'_>) -> Result<u8, Corrupt> {
    let flags = input.byte()?;
    let exclusive = flags & SINGLE == 0 || flags & (TIMED | ALL_TIMED | UNIT_TIME) == 0;
    if flags & !KNOWN != 0 || !exclusive {
        return Err(Corrupt("flags"));
    }
    Ok(flags)
}

/// Passes over what [`read_cell`] reads.
fn skip_cell(input: &mut Reader<'_>) -> Result<(), Corrupt> {
    let flags = read_flags(input)?;
    let counts = 1 + usize::from(flags & HAS_ERRORS != 0);
    let weights = if flags & UNIT_WEIGHT == 0 { counts } else { 0 };
    input.skip(counts + weights + usize::from(flags & SINGLE != 0))?;
    if flags & TIMED != 0 {
        input.skip(1 + usize::from(flags & ALL_TIMED == 0))?;
        let bins = input.length(2)?;
        input.skip(2 * bins)?;
    }
    Ok(())
}

fn read_cell(input: &mut Reader<'_>, cell: &mut Cell) -> Result<(), Corrupt> {
    let flags = read_flags(input)?;
    cell.clear();
    cell.count = input.signed()?;
    if flags & HAS_ERRORS != 0 {
        cell.errors = input.signed()?;
    }
    if flags & UNIT_WEIGHT == 0 {
        cell.weight = input.signed()?;
        if flags & HAS_ERRORS != 0 {
            cell.error_weight = input.signed()?;
        }
    } else {
        cell.weight = cell.count.wrapping_mul(256);
        cell.error_weight = cell.errors.wrapping_mul(256);
    }
    if flags & SINGLE != 0 {
        let us = input.unsigned()?;
        if us > LONGEST_US {
            return Err(Corrupt("duration"));
        }
        cell.timed = 1;
        cell.time = i128::from(us) * i128::from(cell.weight);
        cell.histogram.add_bin(bucket_of(us), cell.weight);
    }
    if flags & TIMED != 0 {
        read_times(input, flags, cell)?;
    }
    Ok(())
}

fn read_times(input: &mut Reader<'_>, flags: u8, cell: &mut Cell) -> Result<(), Corrupt> {
    let factor = if flags & UNIT_TIME == 0 { 1 } else { 256 };
    cell.timed = if flags & ALL_TIMED == 0 { input.signed()? } else { cell.count };
    cell.time = input.i128()?.wrapping_mul(i128::from(factor));
    let mut bucket = 0u64;
    for position in 0..input.length(2)? {
        let step = input.unsigned()?;
        if position > 0 && step == 0 {
            return Err(Corrupt("histogram is not sorted"));
        }
        bucket = bucket.saturating_add(step);
        let index = u16::try_from(bucket).ok().filter(|&index| index < BUCKETS).ok_or(Corrupt("bucket"))?;
        cell.histogram.push(index, input.signed()?.wrapping_mul(factor));
    }
    Ok(())
}
