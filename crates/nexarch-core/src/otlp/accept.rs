//! The gate that every decoded span passes, in either encoding.

use std::sync::Arc;

use super::{Budget, Decoded, Flags, MAX_FUTURE_NS, MAX_KEPT_REJECTIONS, Reason, Rejected, Rules};
use crate::{
    Text, attributes, cut,
    ids::{SpanId, TraceId},
    span::{Attributes, Event, Kind, Link, Resource, Scope, Span, Status},
    weight,
};

/// A span as decoded, before anything about it was judged.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// `None` when absent or invalid.
    pub(crate) trace_id: Option<TraceId>,
    /// `None` when absent or invalid.
    pub(crate) span_id: Option<SpanId>,
    pub(crate) parent: Parent,
    pub(crate) flags: u32,
    pub(crate) trace_state: Text,
    pub(crate) name: Text,
    /// The number as sent.
    pub(crate) kind: i32,
    pub(crate) start_ns: u64,
    /// 0 = not given.
    pub(crate) end_ns: u64,
    /// The number as sent.
    pub(crate) status: i32,
    pub(crate) status_message: Text,
    pub(crate) attributes: Attributes,
    pub(crate) events: Vec<Event>,
    pub(crate) links: Vec<Link>,
}

/// The parent as sent.
#[derive(Debug, Default)]
pub(crate) enum Parent {
    /// Absent, empty or all zero.
    #[default]
    Root,
    /// Of the right length.
    Id(SpanId),
    /// Of another length, or not hex.
    Invalid,
}

impl Parent {
    pub(crate) fn from_slice(bytes: &[u8]) -> Self {
        match <[u8; 8]>::try_from(bytes) {
            Ok(id) => SpanId::from_bytes(id).map_or(Self::Root, Self::Id),
            Err(_) if bytes.is_empty() => Self::Root,
            Err(_) => Self::Invalid,
        }
    }
}

/// Who sent the spans that follow, or why none of them can be accepted.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) resource: Result<Arc<Resource>, Reason>,
    pub(crate) scope: Result<Arc<Scope>, Reason>,
    named: bool,
    /// What was cut of it when it was made: of the resource, or of the scope that was added. Whoever makes a sender counts
    /// it, because many spans share it.
    pub(crate) cut: u64,
}

impl Sender {
    pub(crate) fn new(resource: Result<Resource, Reason>) -> Self {
        let mut cut = 0;
        let resource = resource.map(|mut resource| {
            cut = cut::shared(&mut resource.attributes);
            resource
        });
        let named = resource.as_ref().is_ok_and(|resource| attributes::names_service(&resource.attributes));
        Self {
            resource: resource.map(Arc::new).map_err(|reason| within("resource", reason)),
            scope: Ok(Arc::default()),
            named,
            cut,
        }
    }

    pub(crate) fn with_scope(&self, scope: Result<Scope, Reason>) -> Self {
        let mut cut = 0;
        let scope = scope.map(|mut scope| {
            cut = cut::shared(&mut scope.attributes) + cut::names(&mut scope);
            scope
        });
        Self { scope: scope.map(Arc::new).map_err(|reason| within("scope", reason)), cut, ..self.clone() }
    }
}

fn within(part: &'static str, reason: Reason) -> Reason {
    Reason::Sender { part, reason: Box::new(reason) }
}

/// Collects what a request held.
#[derive(Debug)]
pub(crate) struct Gate<'r> {
    rules: &'r Rules,
    decoded: Decoded,
    budget: Budget,
}

impl<'r> Gate<'r> {
    pub(crate) fn new(rules: &'r Rules, body_len: usize) -> Self {
        Self { rules, decoded: Decoded::default(), budget: Budget::new(body_len, rules) }
    }

    pub(crate) fn flags(&mut self) -> &mut Flags {
        &mut self.decoded.flags
    }

    /// Takes memory for `count` elements of type `T` from what the request may use.
    pub(crate) fn charge<T>(&self, count: usize) -> Result<(), Reason> {
        self.budget.charge::<T>(count)
    }

    /// For readers that charge by themselves.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Makes room for spans that are about to be offered.
    pub(crate) fn reserve(&mut self, spans: usize) {
        self.decoded.spans.reserve(spans.min(self.budget.room::<Span>()));
    }

    /// Counts one span, and keeps it when it is valid.
    pub(crate) fn offer(&mut self, sender: &Sender, draft: Result<Draft, Reason>) {
        let index = self.decoded.received;
        self.decoded.received += 1;
        match draft.and_then(|draft| self.accept(sender, draft)) {
            Ok(mut span) => {
                self.decoded.flags.cut += cut::span(&mut span);
                self.decoded.spans.push(span);
            }
            Err(reason) => {
                self.decoded.rejected_total += 1;
                self.decoded.flags.reject(&reason);
                if self.decoded.rejected.len() < MAX_KEPT_REJECTIONS {
                    self.decoded.rejected.push(Rejected { index, reason });
                }
            }
        }
    }

    pub(crate) fn finish(self) -> Decoded {
        self.decoded
    }

    fn accept(&mut self, sender: &Sender, draft: Draft) -> Result<Span, Reason> {
        self.charge::<Span>(1)?;
        let resource = sender.resource.clone()?;
        let scope = sender.scope.clone()?;
        let trace_id = draft.trace_id.ok_or(Reason::TraceId)?;
        let span_id = draft.span_id.ok_or(Reason::SpanId)?;
        let parent = match draft.parent {
            Parent::Root => None,
            Parent::Id(id) => Some(id),
            Parent::Invalid => return Err(Reason::ParentSpanId),
        };
        self.rules.check_start(draft.start_ns)?;
        let flags = &mut self.decoded.flags;
        flags.no_name += u64::from(draft.name.is_empty());
        flags.no_service_name += u64::from(!sender.named);
        flags.no_kind += u64::from(draft.kind == 0);
        flags.unknown_kind += u64::from(!(0..=5).contains(&draft.kind));
        flags.self_parent += u64::from(parent == Some(span_id));
        flags.no_sampling += u64::from(weight::threshold(&draft.trace_state).is_none());
        flags.unnamed_event += draft.events.iter().filter(|event| event.name.is_empty()).count() as u64;
        let end_ns = (draft.end_ns != 0).then_some(draft.end_ns);
        flags.end_before_start += u64::from(end_ns.is_some_and(|end| end < draft.start_ns));
        Ok(Span {
            trace_id,
            span_id,
            parent_span_id: parent.filter(|parent| *parent != span_id),
            flags: draft.flags,
            trace_state: draft.trace_state,
            name: draft.name,
            kind: Kind::from_otlp(draft.kind),
            start_ns: draft.start_ns,
            end_ns: end_ns.map(|end| end.max(draft.start_ns)),
            status: status_from_otlp(draft.status),
            status_message: draft.status_message,
            attributes: draft.attributes,
            events: draft.events,
            links: draft.links,
            resource,
            scope,
        })
    }
}

impl Rules {
    /// May a span start at this time (nanoseconds since the Unix epoch)?
    pub(crate) fn check_start(&self, start_ns: u64) -> Result<(), Reason> {
        let Some(now) = self.now_ns else { return Ok(()) };
        if start_ns > now.saturating_add(MAX_FUTURE_NS) {
            return Err(Reason::Future);
        }
        match self.retention_ns {
            Some(retention) if start_ns < now.saturating_sub(retention) => Err(Reason::Expired),
            _ => Ok(()),
        }
    }
}

/// A status code that OTLP does not know says nothing.
fn status_from_otlp(number: i32) -> Status {
    match number {
        1 => Status::Ok,
        2 => Status::Error,
        _ => Status::Unset,
    }
}
