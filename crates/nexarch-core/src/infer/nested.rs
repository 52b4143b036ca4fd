//! Which calls are another layer of one call: the map and the trees of traces count the same one of them.

use super::{genai::role, trace::is_call};
use crate::{
    facts::{Facts, GenAiRole, RemoteKind},
    rollup::NodeKey,
};

/// How many enclosing calls of one service a nested one is compared with. Wrappers are two or three deep; without a
/// limit a chain of 10,000 nested clients would take 50 million comparisons.
const NESTING: usize = 8;

/// What an enclosing call and one inside it are to each other.
enum Relation {
    /// Two calls.
    Apart,
    /// Two layers that name the same target: the inner one counts.
    Same,
    /// A call of a database, model or broker and the HTTP request that carries it: the outer one counts.
    Carried,
}

/// The calls of a trace, by span.
pub(super) struct Nested<'a> {
    pub(super) spans: &'a [&'a Facts],
    /// The call that each span lies in, in its own service and request.
    pub(super) call_above: &'a [Option<usize>],
    /// What a call reached.
    pub(super) answered: &'a [Option<usize>],
    /// What a call names; none where a span is no call.
    pub(super) targets: &'a [Option<NodeKey>],
}

impl Nested<'_> {
    /// Which calls are another layer of a call that is counted.
    pub(super) fn folded(&self) -> Vec<bool> {
        let count = self.targets.len();
        let mut folded = vec![false; count];
        for inner in 0..count {
            if !is_call(self.spans[inner]) {
                continue;
            }
            let mut outer = self.call_above[inner];
            for _ in 0..NESTING {
                let Some(at) = outer else { break };
                let reached = |span: usize| self.answered[span].is_some();
                match self.relation(at, inner) {
                    Relation::Apart => {}
                    Relation::Same if reached(at) && !reached(inner) => folded[inner] = true,
                    Relation::Carried if !reached(inner) => folded[inner] = true,
                    Relation::Same | Relation::Carried => folded[at] = true,
                }
                outer = self.call_above[at];
            }
        }
        folded
    }

    fn relation(&self, outer: usize, inner: usize) -> Relation {
        let (o, i) = (self.spans[outer], self.spans[inner]);
        let same_address = !o.address.is_empty() && o.address == i.address;
        let unnamed = |span: &Facts| span.address.is_empty() && span.peer.is_empty();
        match (is_store(o), is_store(i)) {
            (true, true) => Relation::Same,
            (true, false) if i.remote_kind == RemoteKind::Service => {
                if same_address || unnamed(o) || unnamed(i) { Relation::Carried } else { Relation::Apart }
            }
            (false, false) if i.remote_kind == RemoteKind::Service && is_genai(o) => Relation::Carried,
            (false, false) if i.remote_kind == RemoteKind::Service && o.remote_kind == RemoteKind::Queue => {
                if same_address || unnamed(o) || unnamed(i) {
                    Relation::Carried
                } else {
                    Relation::Apart
                }
            }
            (false, false) => {
                let reaches_it = self.answered[inner]
                    .is_some_and(|by| !o.peer.is_empty() && self.spans[by].service == o.peer);
                let same_target = self.targets[outer].is_some() && self.targets[outer] == self.targets[inner];
                let same_host =
                    same_address && o.remote_kind == i.remote_kind && o.remote_kind == RemoteKind::Service;
                if same_target || same_host || reaches_it { Relation::Same } else { Relation::Apart }
            }
            (true | false, _) => Relation::Apart,
        }
    }
}

/// A model, or an agent far away: its host is no second callee.
fn is_genai(span: &Facts) -> bool {
    span.remote_kind == RemoteKind::Model || role(span) == GenAiRole::Agent
}

fn is_store(span: &Facts) -> bool {
    matches!(span.remote_kind, RemoteKind::Database | RemoteKind::Cache)
}
