//! Calls that repeat below one span: loops of calls (N+1), and retries.

use rustc_hash::FxHashMap;

use crate::infer::tree::{Call, Tree};

/// Equal calls of one parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeat {
    /// Node of the callee.
    pub(crate) callee: usize,
    /// What is called, a text of the table.
    pub(crate) what: u32,
    /// The parent.
    pub(crate) parent: usize,
    /// Calls that reached the callee.
    pub(crate) calls: u64,
    /// Calls that were meant: those that do not repeat a failed one.
    pub(crate) logical: u64,
    /// Most of the logical ones that ran after each other.
    pub(crate) in_turn: u64,
    /// Time that those took, without the longest, nanoseconds: what running them at once would save at most.
    pub(crate) cost_ns: u64,
}

/// The groups of equal calls (parent, callee, what is called), in order. `place` gives node and text of a call.
pub(crate) fn repeats(tree: &Tree<'_>, mut place: impl FnMut(&Call) -> Option<(usize, u32)>) -> Vec<Repeat> {
    let mut groups: FxHashMap<(usize, usize, u32), Vec<&Call>> = FxHashMap::default();
    for call in tree.calls.iter().filter(|call| call.waits) {
        if let Some(above) = tree.parent[call.at]
            && let Some((callee, what)) = place(call)
        {
            // Below a span of another service the entry of the caller is missing.
            let is_own = tree.service[above] == tree.service[call.caller];
            let parent = if is_own { above } else { call.caller };
            groups.entry((parent, callee, what)).or_default().push(call);
        }
    }
    let mut repeats: Vec<Repeat> = groups
        .into_iter()
        .map(|((parent, callee, what), calls)| {
            let mut repeat = Repeat { callee, what, parent, calls: 0, logical: 0, in_turn: 0, cost_ns: 0 };
            repeat.fill(tree, calls);
            repeat
        })
        .collect();
    repeats.sort_unstable_by_key(|repeat| (repeat.parent, repeat.callee, repeat.what));
    repeats
}

impl Repeat {
    fn fill(&mut self, tree: &Tree<'_>, mut calls: Vec<&Call>) {
        calls.sort_by_key(|call| (tree.times[call.at], call.at));
        let mut failed: Vec<u64> = Vec::new();
        let mut logical: Vec<(u64, u64)> = Vec::new();
        for call in calls {
            let (start, end) = tree.times[call.at];
            self.calls += u64::from(call.times);
            // A call after a failed one repeats it; each failed one is repeated once.
            match failed.iter().position(|&failed_end| failed_end <= start) {
                Some(at) => {
                    failed.swap_remove(at);
                }
                None => logical.push((end, start)),
            }
            if call.error {
                failed.push(end);
                // More open failures than this mean concurrent calls, not retries.
                if failed.len() > 8 {
                    failed.remove(0);
                }
            }
        }
        self.logical = logical.len() as u64;
        // The most disjoint intervals: always the one that ends first.
        logical.sort_unstable();
        let (mut free, mut sum, mut longest) = (0, 0u64, 0);
        for (end, start) in logical {
            if start >= free || self.in_turn == 0 {
                self.in_turn += 1;
                free = end;
                sum = sum.saturating_add(end - start);
                longest = longest.max(end - start);
            }
        }
        self.cost_ns = sum - longest;
    }
}

/// A name with its numbers masked, so that `GET /users/17` and `GET /users/18` are the same: parts that hold a digit
/// become `*`.
pub(crate) fn pattern(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for part in name.split_inclusive([' ', '/', ',', '=', '(', ')', '?', '&', '\'', '"']) {
        let (word, end) = part.split_at(
            part.len()
                - part
                    .chars()
                    .next_back()
                    .map_or(0, |c| if " /,=()?&'\"".contains(c) { c.len_utf8() } else { 0 }),
        );
        out.push_str(if word.bytes().any(|byte| byte.is_ascii_digit()) && !is_version(word) {
            "*"
        } else {
            word
        });
        out.push_str(end);
    }
    out
}

/// `v1` tells an interface, not a thing.
fn is_version(word: &str) -> bool {
    word.strip_prefix('v')
        .is_some_and(|rest| rest.len() <= 2 && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What a call does to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Read,
    Write,
    Unknown,
}

/// By the first word of a span's name, which the conventions make the operation (`SELECT shop.orders`).
pub(crate) fn access(name: &str) -> Access {
    const READS: [&str; 12] = [
        "select",
        "get",
        "mget",
        "hget",
        "hgetall",
        "find",
        "findone",
        "query",
        "scan",
        "count",
        "aggregate",
        "fetch",
    ];
    const WRITES: [&str; 20] = [
        "insert",
        "update",
        "delete",
        "replace",
        "merge",
        "upsert",
        "create",
        "drop",
        "alter",
        "truncate",
        "set",
        "del",
        "hset",
        "incr",
        "lpush",
        "rpush",
        "insertone",
        "updateone",
        "deleteone",
        "put",
    ];
    let word = name.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty()).unwrap_or("");
    let word = word.to_ascii_lowercase();
    if READS.contains(&&*word) {
        Access::Read
    } else if WRITES.contains(&&*word) {
        Access::Write
    } else {
        Access::Unknown
    }
}
