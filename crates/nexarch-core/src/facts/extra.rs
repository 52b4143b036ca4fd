//! What only spans of queues and of `GenAI` say (rules R7 and R8).

use std::{borrow::Cow, sync::Arc};

use super::{RemoteKind, extract::short};
use crate::{
    Text,
    attributes::{Known, Slots},
    ids::{SpanId, TraceId},
    span::{Kind, Span},
};

/// Most links into its own trace that a span's facts name; the others are only counted. Facts of many traces are held
/// in memory, and a batch out of one trace is small.
pub const MAX_NEAR_LINKS: usize = 64;

/// Most links into other traces that a span's facts name, 24 bytes each; the others are only counted.
pub const MAX_FAR_LINKS: usize = 64;

/// What a span does with messages: `messaging.operation.type`, `messaging.operation`, or a well-known
/// `messaging.operation.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Messaging {
    /// Not stated: the kind of the span tells.
    #[default]
    Unstated = 0,
    /// Makes a message that another span sends.
    Create = 1,
    /// Sends.
    Send = 2,
    /// Asks for messages.
    Receive = 3,
    /// Handles messages.
    Process = 4,
    /// Settles messages, or does something else that moves none.
    Settle = 5,
}

/// What a span is in a `GenAI` application, beside a call of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum GenAiRole {
    /// Neither of the others.
    #[default]
    Other = 0,
    /// Runs an agent (`invoke_agent`).
    Agent = 1,
    /// Runs a tool (`execute_tool`).
    Tool = 2,
}

/// What few spans have, apart so that all others stay small.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Extra {
    /// Linked spans of the same trace, sorted, each once; at most [`MAX_NEAR_LINKS`].
    pub links: Vec<SpanId>,
    /// How many other spans are linked: of other traces, and those beyond the limit.
    pub far_links: u32,
    /// Those of them that are named: linked spans of other traces, sorted, each once; at most [`MAX_FAR_LINKS`]. Empty in
    /// what was stored before they were kept.
    pub far: Vec<(TraceId, SpanId)>,
    /// `messaging.batch.message_count`.
    pub messages: Option<u32>,
    /// `gen_ai.usage.input_tokens` of a call of a model.
    pub input_tokens: Option<u32>,
    /// `gen_ai.usage.output_tokens` of a call of a model.
    pub output_tokens: Option<u32>,
    /// Agent, or tool.
    pub role: GenAiRole,
    /// The agent that runs, or whose tool it is where the span says so; empty when unknown.
    pub agent: Text,
    /// The tool that runs.
    pub tool: Text,
}

/// Only a span about a queue, or one whose kind says so, can be about messages.
fn carries(kind: Kind, remote: RemoteKind) -> bool {
    remote == RemoteKind::Queue
        || remote == RemoteKind::Service && matches!(kind, Kind::Producer | Kind::Consumer)
}

/// The operation that a span states.
pub(super) fn messaging(slots: &Slots<'_>, kind: Kind, remote: RemoteKind) -> Messaging {
    if !carries(kind, remote) {
        return Messaging::Unstated;
    }
    if let Some(word) = slots.text(&[Known::MessagingOperationType, Known::MessagingOperationOld]) {
        // A type of the system's own (`control`) is stated, and moves no message that is known of.
        return named(&word).unwrap_or(Messaging::Settle);
    }
    let name = slots.text(&[Known::MessagingOperationName]);
    name.and_then(|word| named(&word)).unwrap_or_default()
}

/// Types, and the names that brokers give to operations (semantic conventions: Kafka, `RabbitMQ`, Service Bus).
const WORDS: [(&str, Messaging); 18] = [
    ("create", Messaging::Create),
    ("send", Messaging::Send),
    ("publish", Messaging::Send),
    ("produce", Messaging::Send),
    ("schedule", Messaging::Send),
    ("receive", Messaging::Receive),
    ("poll", Messaging::Receive),
    ("peek", Messaging::Receive),
    ("process", Messaging::Process),
    ("deliver", Messaging::Process),
    ("settle", Messaging::Settle),
    ("ack", Messaging::Settle),
    ("nack", Messaging::Settle),
    ("reject", Messaging::Settle),
    ("commit", Messaging::Settle),
    ("complete", Messaging::Settle),
    ("abandon", Messaging::Settle),
    ("defer", Messaging::Settle),
];

fn named(word: &str) -> Option<Messaging> {
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, operation)| *operation)
}

/// What else a span says; `None`, without an allocation, for nearly all.
pub(super) fn extra(span: &Span, slots: &Slots<'_>, remote: RemoteKind) -> Option<Arc<Extra>> {
    let mut extra = Extra::default();
    if carries(span.kind, remote) {
        if !span.links.is_empty() {
            links(span, &mut extra);
        }
        extra.messages = slots.number(&[Known::MessagingBatchCount]);
    } else if remote == RemoteKind::Model {
        extra.input_tokens = slots.number(&[Known::GenAiInputTokens, Known::GenAiInputTokensOld]);
        extra.output_tokens = slots.number(&[Known::GenAiOutputTokens, Known::GenAiOutputTokensOld]);
    } else if slots.get(Known::GenAiOperation).is_some() {
        role(span, slots, &mut extra);
    }
    (extra != Extra::default()).then(|| Arc::new(extra))
}

fn links(span: &Span, extra: &mut Extra) {
    let mut all: Vec<(TraceId, SpanId)> =
        span.links.iter().map(|link| (link.trace_id, link.span_id)).collect();
    all.sort_unstable();
    all.dedup();
    let near = all.iter().filter(|(trace, _)| *trace == span.trace_id).map(|(_, span)| *span);
    extra.links = near.take(MAX_NEAR_LINKS).collect();
    extra.far =
        all.iter().filter(|(trace, _)| *trace != span.trace_id).take(MAX_FAR_LINKS).copied().collect();
    extra.far_links = u32::try_from(all.len() - extra.links.len()).unwrap_or(u32::MAX);
}

fn role(span: &Span, slots: &Slots<'_>, extra: &mut Extra) {
    let operation = slots.text(&[Known::GenAiOperation]);
    let role = match operation.as_deref() {
        Some("invoke_agent") => GenAiRole::Agent,
        Some("execute_tool") => GenAiRole::Tool,
        _ => return,
    };
    let attribute = |name| slots.text(&[name]).map(own);
    // By convention the span is called by its operation and the name.
    let by_name = || span.name.split_once(' ').map(|(_, rest)| own(Cow::Borrowed(rest.trim())));
    extra.agent = attribute(Known::GenAiAgent).unwrap_or_default();
    match role {
        GenAiRole::Agent if extra.agent.is_empty() => extra.agent = by_name().unwrap_or_default(),
        GenAiRole::Tool => extra.tool = attribute(Known::GenAiTool).or_else(by_name).unwrap_or_default(),
        GenAiRole::Agent | GenAiRole::Other => {}
    }
    let named = if role == GenAiRole::Tool { &extra.tool } else { &extra.agent };
    extra.role = if named.is_empty() { GenAiRole::Other } else { role };
}

/// A copy: facts are remembered, and must not keep the body that a name was cut out of.
fn own(text: Cow<'_, str>) -> Text {
    Text::from(&*short(text))
}
