//! What calls carry beside themselves: messages and tokens.

use crate::rollup::{Amount, Cell};

/// What the calls of an edge carry beside themselves; sums by sampling weight, in 1/256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// Messages beyond one of each call; less than none where receiving found no message.
    pub more_messages: i128,
    /// Tokens that went into a model; `None` when no call says.
    pub input_tokens: Option<i128>,
    /// Tokens that came out of a model; `None` when no call says.
    pub output_tokens: Option<i128>,
}

impl Carried {
    pub(super) fn absorb(&mut self, amount: Amount, cell: &Cell) {
        let sum = match amount {
            Amount::Messages => &mut self.more_messages,
            Amount::InputTokens => self.input_tokens.get_or_insert(0),
            Amount::OutputTokens => self.output_tokens.get_or_insert(0),
        };
        *sum = sum.wrapping_add(cell.time);
    }

    pub(super) fn merge(&mut self, other: Self) {
        let add = |a: Option<i128>, b: Option<i128>| match (a, b) {
            (Some(a), Some(b)) => Some(a.wrapping_add(b)),
            (a, b) => a.or(b),
        };
        self.more_messages = self.more_messages.wrapping_add(other.more_messages);
        self.input_tokens = add(self.input_tokens, other.input_tokens);
        self.output_tokens = add(self.output_tokens, other.output_tokens);
    }
}

/// Messages from a service through a queue to a service, which may be the same one.
#[derive(Debug, Clone)]
pub struct MessageFlow {
    /// Who sent, index of [`Graph::nodes`](super::Graph::nodes).
    pub source: usize,
    /// The queue, index of [`Graph::nodes`](super::Graph::nodes).
    pub queue: usize,
    /// Who received, index of [`Graph::nodes`](super::Graph::nodes).
    pub target: usize,
    /// The messages; durations are the times in the queue.
    pub messages: Cell,
}
