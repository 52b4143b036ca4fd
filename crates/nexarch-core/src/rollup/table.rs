//! Cells by bucket of time and key, over one set of interned texts and nodes.

use std::collections::HashMap;

use rustc_hash::FxHashMap;

use super::{
    cell::Cell,
    key::{Class, Key, NodeKey},
};
use crate::{Text, hash::Seeded};

/// Longest text kept, in bytes: names are written by strangers, and a rollup is read on every miss. Two names
/// that differ only beyond it count as one.
pub(crate) const MAX_TEXT: usize = 256;

/// Interned texts, nodes and cells. What a [`super::Delta`] and a [`super::Rollup`] have in common.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    texts: Vec<Text>,
    // Keyed by what senders wrote, so a hash that cannot be steered; everything below is keyed by dense numbers.
    text_ids: HashMap<Text, u32, Seeded>,
    nodes: Vec<NodeKey>,
    node_ids: FxHashMap<NodeKey, u32>,
    /// Cells by bucket (minutes since the Unix epoch) and key; a merge leaves none that is zero.
    pub(crate) cells: FxHashMap<(u32, Key), Cell>,
}

impl Default for Table {
    fn default() -> Self {
        let empty = Text::new();
        Self {
            texts: vec![empty.clone()],
            text_ids: HashMap::from_iter([(empty, 0)]),
            nodes: Vec::new(),
            node_ids: FxHashMap::default(),
            cells: FxHashMap::default(),
        }
    }
}

impl Table {
    /// The index of the empty text.
    pub(crate) const EMPTY: u32 = 0;

    /// Makes room for more cells.
    pub(crate) fn reserve(&mut self, cells: usize) {
        self.cells.reserve(cells);
    }

    /// Drops cells that have become zero.
    pub(crate) fn tidy(&mut self) {
        self.cells.retain(|_, cell| !cell.is_zero());
    }

    /// Interns a text, cut to [`MAX_TEXT`] bytes.
    pub(crate) fn text(&mut self, text: &Text) -> u32 {
        if text.is_empty() {
            return Self::EMPTY;
        }
        if text.len() > MAX_TEXT {
            return self.text_str(text);
        }
        if let Some(&id) = self.text_ids.get(&**text) {
            return id;
        }
        self.push_text(text.clone())
    }

    /// As [`Self::text`], from a borrowed text.
    pub(crate) fn text_str(&mut self, text: &str) -> u32 {
        let text = &text[..text.floor_char_boundary(MAX_TEXT)];
        if let Some(&id) = self.text_ids.get(text) {
            return id;
        }
        self.push_text(Text::from(text))
    }

    fn push_text(&mut self, text: Text) -> u32 {
        let id = index(self.texts.len());
        self.texts.push(text.clone());
        self.text_ids.insert(text, id);
        id
    }

    /// Interns a node.
    pub(crate) fn node(&mut self, node: NodeKey) -> u32 {
        *self.node_ids.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            index(self.nodes.len() - 1)
        })
    }

    /// Is a text among those interned?
    pub(crate) fn knows(&self, text: &str) -> bool {
        self.text_ids.contains_key(text)
    }

    /// The index of a text, if it is among those interned.
    pub(crate) fn find_text(&self, text: &str) -> Option<u32> {
        self.text_ids.get(&text[..text.floor_char_boundary(MAX_TEXT)]).copied()
    }

    /// The index of a node, if it is among those interned.
    pub(crate) fn find_node(&self, node: NodeKey) -> Option<u32> {
        self.node_ids.get(&node).copied()
    }

    /// Are there at most so many cells, nodes and texts?
    pub(crate) fn is_within(&self, cells: usize, nodes: usize, texts: usize) -> bool {
        self.cells.len() <= cells && self.nodes.len() <= nodes && self.texts.len() <= texts
    }

    /// The text of an index of this table.
    pub(crate) fn text_of(&self, id: u32) -> &Text {
        &self.texts[id as usize]
    }

    /// The node of an index of this table.
    pub(crate) fn node_of(&self, id: u32) -> NodeKey {
        self.nodes[id as usize]
    }

    /// Class and texts of a node.
    pub(crate) fn describe(&self, id: u32) -> (Class, [&Text; 5]) {
        let node = self.node_of(id);
        (node.class, node.parts.map(|part| self.text_of(part)))
    }

    /// The cell of a bucket and key, made when absent.
    pub(crate) fn cell(&mut self, bucket: u32, key: Key) -> &mut Cell {
        self.cells.entry((bucket, key)).or_default()
    }

    /// Adds all cells of another table, times `sign`; cells that become zero vanish.
    pub(crate) fn merge(&mut self, other: &Self, sign: i64) {
        let texts: Vec<u32> = other.texts.iter().map(|text| self.text(text)).collect();
        let nodes: Vec<u32> = other
            .nodes
            .iter()
            .map(|node| {
                let parts = node.parts.map(|part| texts[part as usize]);
                self.node(NodeKey { class: node.class, parts })
            })
            .collect();
        for (&(bucket, key), cell) in &other.cells {
            let (head, mut refs, shape) = key.flatten();
            for (reference, is_node) in refs.iter_mut().zip(shape) {
                let map = if *is_node { &nodes } else { &texts };
                *reference = map[*reference as usize];
            }
            if let Some(key) = Key::unflatten(head, refs) {
                self.merge_cell(bucket, key, cell, sign);
            }
        }
    }

    /// Adds one cell, times `sign`; a cell that becomes zero vanishes.
    pub(crate) fn merge_cell(&mut self, bucket: u32, key: Key, cell: &Cell, sign: i64) {
        let mine = self.cell(bucket, key);
        mine.merge(cell, sign);
        if mine.is_zero() {
            self.cells.remove(&(bucket, key));
        }
    }
}

/// A position as a stored index. Tables are built from blobs and traces that fit in memory many times over before
/// 2^32 entries are reached; beyond, entries share the last index rather than end the process.
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX - 1)
}
