//! R8: agents and their tools. Calls of models are calls like others ([`super::outs`]).
//!
//! An agent runs inside of a service, so its node is a part of that service's namespace: service → agent, agent →
//! agent below it, agent → tool. The agent that a tool belongs to may be any number of spans above it, also in another
//! service.

use super::{Inference, Sample, trace::Above};
use crate::{
    Text,
    facts::{Facts, GenAiRole},
    rollup::{Class, Key, NodeKey, Table, Via},
};

/// How far up another layer of the same agent or tool is looked for: a wrapper, or the caller's half.
const LAYERS: usize = 8;

/// What a span is beside its call.
pub(super) fn role(span: &Facts) -> GenAiRole {
    span.extra.as_ref().map_or(GenAiRole::Other, |extra| extra.role)
}

/// The name of the agent or tool that a span runs.
fn named(span: &Facts) -> Option<(GenAiRole, &Text)> {
    let extra = span.extra.as_ref()?;
    match extra.role {
        GenAiRole::Agent => Some((extra.role, &extra.agent)),
        GenAiRole::Tool => Some((extra.role, &extra.tool)),
        GenAiRole::Other => None,
    }
}

impl<'a> Inference<'a> {
    /// The edges to agents and tools; free where a trace has neither.
    pub(super) fn agents(&mut self) {
        let count = self.trace.agent.len();
        let repeated = self.repeated(count);
        for span in (0..count).filter(|&span| !repeated[span]) {
            let facts = self.trace.spans[span];
            let Some((role, name)) = named(facts) else { continue };
            let class = if role == GenAiRole::Agent { Class::Agent } else { Class::Tool };
            let target = self.part(span, class, name);
            let service = self.trace.service[span];
            let source = match self.owner(span, role, name) {
                // An agent of another service is reached through that service.
                Some((at, _)) if role == GenAiRole::Agent && self.trace.service[at] != service => service,
                Some((at, agent)) => self.part(at, Class::Agent, agent),
                None => self.unowned(span, role),
            };
            self.count(Key::Client(Via::Out, source, target, Table::EMPTY), Sample::of(facts));
        }
    }

    /// The nearest agent above, for an agent one of another name.
    fn owner(&self, span: usize, role: GenAiRole, name: &Text) -> Option<(usize, &'a Text)> {
        let mut at = span;
        for _ in 0..LAYERS {
            at = self.trace.agent[at]?;
            let (_, agent) = named(self.trace.spans[at])?;
            if role == GenAiRole::Tool || agent != name {
                return Some((at, agent));
            }
        }
        None
    }

    /// The source of what has no agent above: the agent that a tool's own span names, else the service.
    fn unowned(&mut self, span: usize, role: GenAiRole) -> u32 {
        match &self.trace.spans[span].extra {
            Some(extra) if role == GenAiRole::Tool && !extra.agent.is_empty() => {
                self.part(span, Class::Agent, &extra.agent)
            }
            _ => self.trace.service[span],
        }
    }

    /// Spans that say once more what one close by says. Of an agent the innermost counts, which is where it runs; of
    /// a tool the outermost, which is nearest to its agent.
    fn repeated(&self, count: usize) -> Vec<bool> {
        let mut repeated = vec![false; count];
        for span in 0..count {
            let Some(own) = named(self.trace.spans[span]) else { continue };
            let mut at = span;
            for _ in 0..LAYERS {
                let Above::Span(above) = self.trace.parent[at] else { break };
                at = above;
                let Some(found) = named(self.trace.spans[at]) else { continue };
                if found == own {
                    repeated[if own.0 == GenAiRole::Agent { at } else { span }] = true;
                }
                // Inside of another one, the same name is another run.
                break;
            }
        }
        repeated
    }

    fn part(&mut self, span: usize, class: Class, name: &Text) -> u32 {
        let facts = self.trace.spans[span];
        let [environment, namespace, name] =
            [&facts.environment, &facts.namespace, name].map(|text| self.table.text(text));
        self.table.node(NodeKey { class, parts: [environment, namespace, name, Table::EMPTY, Table::EMPTY] })
    }
}
