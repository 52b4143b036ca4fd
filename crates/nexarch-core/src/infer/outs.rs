//! R4 and R6, the sending leg of R7 and the models of R8: calls without a server half, counted once, at the innermost
//! span.

use super::{
    Inference, Sample,
    genai::role,
    links::delivers,
    messages::{Flow, flow},
    nested::Nested,
    target::target,
    trace::is_call,
};
use crate::{
    facts::{Facts, GenAiRole, RemoteKind},
    rollup::{Amount, Class, Key, NodeKey, Note, Via},
    span::Kind,
};

impl Inference<'_> {
    /// Every call that nothing of another service answered.
    pub(super) fn outs(&mut self) {
        let targets: Vec<Option<NodeKey>> = (0..self.trace.own)
            .map(|span| {
                let facts = self.trace.spans[span];
                calls(facts).then(|| target(facts, &mut self.table)).flatten()
            })
            .collect();
        let mut folded = Nested {
            spans: &self.trace.spans,
            call_above: &self.trace.call_above,
            answered: &self.answered,
            targets: &targets,
        }
        .folded();
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
}

/// Is it a call that this span alone may have to tell? Taking messages is told by the receiving leg of R7, settling
/// by nothing, and running an agent by the edge to the agent.
pub(super) fn calls(span: &Facts) -> bool {
    is_call(span) && !matches!(flow(span), Some(Flow::Takes | Flow::Rests)) && role(span) != GenAiRole::Agent
}

fn is_queue(node: NodeKey) -> bool {
    node.class == Class::Queue
}
