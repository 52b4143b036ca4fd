//! R4 and R6, the sending leg of R7 and the models of R8: calls without a server half, counted once, at the innermost
//! span.

use super::{
    Inference, Sample,
    genai::role,
    links::delivers,
    messages::{Flow, flow},
    target::target,
    trace::is_call,
};
use crate::{
    facts::{Facts, GenAiRole, RemoteKind},
    rollup::{Amount, Class, Key, NodeKey, Note, Via},
    span::Kind,
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

impl Inference<'_> {
    /// Every call that nothing of another service answered.
    pub(super) fn outs(&mut self) {
        let targets: Vec<Option<NodeKey>> = (0..self.trace.own)
            .map(|span| {
                let facts = self.trace.spans[span];
                calls(facts).then(|| target(facts, &mut self.table)).flatten()
            })
            .collect();
        let mut folded = self.folded(&targets);
        self.made_for_others(&mut folded);
        for (span, target) in targets.into_iter().enumerate() {
            let facts = self.trace.spans[span];
            if !calls(facts) || folded[span] {
                continue;
            }
            let sends = facts.kind == Kind::Producer && target.is_some_and(is_queue);
            // Who takes the messages of a queue stands behind it.
            let taken = self.answered[span].is_some_and(|by| {
                let by = self.trace.spans[by];
                by.kind == Kind::Consumer || delivers(by)
            });
            let reached = self.answered[span].is_some() && !(taken && target.is_some_and(is_queue));
            if reached && !sends {
                continue;
            }
            let service = self.trace.service[span];
            let Some(target) = target else {
                if role(facts) == GenAiRole::Tool {
                    continue;
                }
                self.count(Key::Note(Note::Untargeted, service), Sample::of(facts).untimed());
                continue;
            };
            if facts.remote_kind == RemoteKind::Service && !is_queue(target) {
                self.count(Key::Note(Note::Unanswered, service), Sample::of(facts).untimed());
            }
            let class = target.class;
            let target = self.table.node(target);
            let protocol = self.table.text(&facts.protocol);
            self.count(Key::Client(Via::Out, service, target, protocol), Sample::of(facts));
            let carried = |amount| Key::Amount(amount, service, target, protocol);
            match (class, &facts.extra) {
                (Class::Queue, Some(_)) => {
                    let more = self.sent(span) - 1;
                    self.carry(carried(Amount::Messages), Sample::of(facts), more);
                }
                (Class::Model, Some(extra)) => {
                    let tokens = [
                        (Amount::InputTokens, extra.input_tokens),
                        (Amount::OutputTokens, extra.output_tokens),
                    ];
                    for (amount, tokens) in tokens {
                        self.carry(carried(amount), Sample::of(facts), i64::from(tokens.unwrap_or(0)));
                    }
                }
                _ => {}
            }
        }
    }

    /// Which calls are another layer of a call that is counted.
    fn folded(&self, targets: &[Option<NodeKey>]) -> Vec<bool> {
        let mut folded = vec![false; targets.len()];
        for inner in 0..targets.len() {
            if !is_call(self.trace.spans[inner]) {
                continue;
            }
            let mut outer = self.trace.call_above[inner];
            for _ in 0..NESTING {
                let Some(at) = outer else { break };
                let reached = |span: usize| self.answered[span].is_some();
                match self.relation(at, inner, targets) {
                    Relation::Apart => {}
                    Relation::Same if reached(at) && !reached(inner) => folded[inner] = true,
                    Relation::Carried if !reached(inner) => folded[inner] = true,
                    Relation::Same | Relation::Carried => folded[at] = true,
                }
                outer = self.trace.call_above[at];
            }
        }
        folded
    }

    fn relation(&self, outer: usize, inner: usize, targets: &[Option<NodeKey>]) -> Relation {
        let (o, i) = (self.trace.spans[outer], self.trace.spans[inner]);
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
                    .is_some_and(|by| !o.peer.is_empty() && self.trace.spans[by].service == o.peer);
                let same_target = targets[outer].is_some() && targets[outer] == targets[inner];
                let same_host =
                    same_address && o.remote_kind == i.remote_kind && o.remote_kind == RemoteKind::Service;
                if same_target || same_host || reaches_it { Relation::Same } else { Relation::Apart }
            }
            (true | false, _) => Relation::Apart,
        }
    }
}

/// Is it a call that this span alone may have to tell? Taking messages is told by the receiving leg of R7, settling
/// by nothing, and running an agent by the edge to the agent.
fn calls(span: &Facts) -> bool {
    is_call(span) && !matches!(flow(span), Some(Flow::Takes | Flow::Rests)) && role(span) != GenAiRole::Agent
}

/// A model, or an agent far away: its host is no second callee.
fn is_genai(span: &Facts) -> bool {
    span.remote_kind == RemoteKind::Model || role(span) == GenAiRole::Agent
}

fn is_queue(node: NodeKey) -> bool {
    node.class == Class::Queue
}

fn is_store(span: &Facts) -> bool {
    matches!(span.remote_kind, RemoteKind::Database | RemoteKind::Cache)
}
