//! Critical paths added up by stack of calls: what a flame graph shows.

use rustc_hash::FxHashMap;

use super::{View, totals::Step};
use crate::infer::tree::Tree;

/// Frames of one entry operation. A picture with more cannot be read; what is beyond belongs to its caller.
const FRAMES: usize = 2_000;
/// Frames above each other.
const DEEP: u32 = 50;

/// A tree of frames; the first is the entry.
#[derive(Debug, Default)]
pub(crate) struct Flame {
    frames: Vec<Frame>,
}

/// An operation under its callers.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) step: Step,
    /// Time on critical paths without what it calls, 1/256 ns.
    pub(crate) own: u128,
    depth: u32,
    children: FxHashMap<Step, usize>,
}

impl Flame {
    /// The frame of the entry.
    pub(crate) fn entry(&mut self, step: Step) -> usize {
        if self.frames.is_empty() {
            self.frames.push(Frame { step, own: 0, depth: 0, children: FxHashMap::default() });
        }
        0
    }

    /// The frame of an operation that is called in a frame; the same one again when it is its own, or there is no room.
    pub(crate) fn below(&mut self, at: usize, step: Step) -> usize {
        let next = self.frames.len();
        let frame = &mut self.frames[at];
        if frame.step == step {
            return at;
        }
        if let Some(&known) = frame.children.get(&step) {
            return known;
        }
        if next >= FRAMES || frame.depth >= DEEP {
            return at;
        }
        let depth = frame.depth + 1;
        frame.children.insert(step, next);
        self.frames.push(Frame { step, own: 0, depth, children: FxHashMap::default() });
        next
    }

    /// The frame of a span, under those of its callers; `known` holds the frames of this request so far.
    pub(super) fn of_span(
        &mut self,
        tree: &Tree<'_>,
        view: &View,
        span: usize,
        known: &mut FxHashMap<usize, usize>,
    ) -> usize {
        let mut way = Vec::new();
        let mut at = span;
        let mut frame = loop {
            if let Some(&frame) = known.get(&at) {
                break frame;
            }
            way.push(at);
            match tree.parent[at] {
                Some(above) => at = above,
                None => break 0,
            }
        };
        for &span in way.iter().rev() {
            if let Some(node) = view.place[span] {
                frame = self.below(frame, (node, view.name[span]));
            }
            known.insert(span, frame);
        }
        frame
    }

    /// Adds time to a frame, 1/256 ns.
    pub(crate) fn add(&mut self, at: usize, weighted_ns: u128) {
        self.frames[at].own += weighted_ns;
    }

    /// A frame and those below it, in no order. There are none without a timed request.
    pub(crate) fn frame(&self, at: usize) -> Option<(&Frame, impl Iterator<Item = usize>)> {
        let frame = self.frames.get(at)?;
        Some((frame, frame.children.values().copied()))
    }

    /// Time of each frame with all below it, 1/256 ns.
    pub(crate) fn totals(&self) -> Vec<u128> {
        let mut totals: Vec<u128> = self.frames.iter().map(|frame| frame.own).collect();
        // Whoever is called stands behind its caller.
        for at in (0..self.frames.len()).rev() {
            totals[at] += self.frames[at].children.values().map(|&child| totals[child]).sum::<u128>();
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_shared_and_bounded() {
        let mut flame = Flame::default();
        assert!(flame.frame(0).is_none());
        let entry = flame.entry((0, 0));
        let first = flame.below(entry, (1, 1));
        assert_eq!((flame.below(entry, (1, 1)), flame.below(first, (1, 1))), (first, first));
        flame.add(first, 5);
        flame.add(entry, 7);
        assert_eq!(flame.totals(), [12, 5]);
        let mut at = entry;
        for deep in 0..100 {
            at = flame.below(at, (deep, 2));
        }
        assert!(flame.totals().len() <= 52, "a chain has an end");
        (0..5_000).for_each(|wide| _ = flame.below(entry, (wide, 3)));
        assert_eq!(flame.totals().len(), FRAMES);
    }
}
