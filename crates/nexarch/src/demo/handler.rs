//! One request on its way through the shop, and the service that handles it at the moment.

use nexarch_core::{
    Text,
    ids::{SpanId, TraceId},
    span::{Attributes, Event, Kind, Link, Span, Status},
};

use super::{
    attributes::{fixed, text},
    chance::Chance,
    incident,
    landscape::{Landscape, Service},
};

/// No span of a request ends later than this after the request began (10 s). Only the dice at their worst come
/// near it; as a hard limit it lets [`super::Shop::tick`] look back a bounded time.
pub(super) const MAX_REQUEST_NS: u64 = 10 * incident::SECOND_NS;

/// W3C: sampled, and the trace id is random; OTLP: "is the parent remote" is known.
const FLAGS_LOCAL: u32 = 0x103;
/// The same, with a remote parent.
const FLAGS_REMOTE: u32 = 0x303;

/// Spread of everything that takes time: sigma of the log-normal factor.
const SPREAD: f64 = 0.35;

/// A request and all that it caused.
pub(super) struct Request<'a> {
    pub(super) landscape: &'a Landscape,
    pub(super) chance: Chance,
    /// When the shop opened, nanoseconds since the Unix epoch: incidents count from here.
    pub(super) opened_ns: u64,
    /// See [`MAX_REQUEST_NS`]; nanoseconds since the Unix epoch.
    pub(super) deadline_ns: u64,
    /// Trace of what happens later because of the request, without being part of it.
    pub(super) later_trace_id: TraceId,
    /// The sampling threshold, as every service passes it on.
    pub(super) trace_state: Text,
    /// What the customer looks at.
    pub(super) product: u64,
    /// Who the customer is.
    pub(super) user: u64,
    /// What the customer buys.
    pub(super) order: u64,
    /// Everything recorded so far.
    pub(super) spans: Vec<Span>,
}

impl Request<'_> {
    /// A fresh span id.
    pub(super) fn span_id(&mut self) -> SpanId {
        loop {
            if let Some(id) = SpanId::from_bytes(self.chance.bits().to_be_bytes()) {
                return id;
            }
        }
    }

    /// Is `payments` unwell at this time?
    pub(super) fn payments_unwell(&self, now_ns: u64) -> bool {
        incident::payments_unwell(self.opened_ns, now_ns)
    }
}

/// A service at work on a request: one open span, and a clock that only goes forward.
pub(super) struct Handler<'a, 'w> {
    pub(super) request: &'a mut Request<'w>,
    pub(super) service: Service,
    pub(super) process: std::sync::Arc<nexarch_core::span::Resource>,
    pub(super) trace_id: TraceId,
    /// The open span: parent of what it records.
    pub(super) span_id: SpanId,
    /// Nanoseconds since the Unix epoch.
    pub(super) now_ns: u64,
    /// Notes for the open span.
    pub(super) events: Vec<Event>,
}

/// What is particular to a span that a handler records.
pub(super) struct Record {
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) remote_parent: bool,
    pub(super) name: Text,
    pub(super) kind: Kind,
    pub(super) start_ns: u64,
    pub(super) failed: bool,
    pub(super) attributes: Attributes,
    pub(super) events: Vec<Event>,
    pub(super) links: Vec<Link>,
}

impl<'w> Handler<'_, 'w> {
    /// Lets time pass: a log-normal around the median, in microseconds.
    pub(super) fn work(&mut self, median_us: u64) {
        let nanos = median_us as f64 * 1_000.0 * self.request.chance.log_normal(SPREAD);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and `as` saturates; the deadline is far below"
        )]
        let then = self.now_ns.saturating_add(nanos as u64);
        self.now_ns = then.min(self.request.deadline_ns);
    }

    /// Does two things at once and waits for both.
    pub(super) fn both<A, B>(
        &mut self,
        one: impl FnOnce(&mut Self) -> A,
        other: impl FnOnce(&mut Self) -> B,
    ) -> (A, B) {
        let began_ns = self.now_ns;
        let first = one(self);
        let first_done_ns = std::mem::replace(&mut self.now_ns, began_ns);
        let second = other(self);
        self.now_ns = self.now_ns.max(first_done_ns);
        (first, second)
    }

    /// Does something inside an INTERNAL span of its own; it answers whether that worked.
    pub(super) fn inside(&mut self, name: &'static str, body: impl FnOnce(&mut Self) -> bool) -> bool {
        let start_ns = self.now_ns;
        let span_id = self.request.span_id();
        let outer = std::mem::replace(&mut self.span_id, span_id);
        let outer_events = std::mem::take(&mut self.events);
        let fine = body(self);
        self.span_id = outer;
        let events = std::mem::replace(&mut self.events, outer_events);
        self.record(Record {
            span_id,
            parent: Some(outer),
            remote_parent: false,
            name: Text::from_static(name),
            kind: Kind::Internal,
            start_ns,
            failed: !fine,
            attributes: vec![fixed("code.function.name", name)],
            events,
            links: Vec::new(),
        });
        fine
    }

    /// Notes an exception in the open span.
    pub(super) fn exception(&mut self, kind: &'static str, message: impl Into<Text>) {
        self.events.push(Event {
            time_ns: self.now_ns,
            name: Text::from_static("exception"),
            attributes: vec![fixed("exception.type", kind), text("exception.message", message)],
        });
    }

    /// Records a span that ends now.
    pub(super) fn record(&mut self, record: Record) {
        let span = Span {
            trace_id: self.trace_id,
            span_id: record.span_id,
            parent_span_id: record.parent,
            flags: if record.remote_parent { FLAGS_REMOTE } else { FLAGS_LOCAL },
            trace_state: self.request.trace_state.clone(),
            name: record.name,
            kind: record.kind,
            start_ns: record.start_ns,
            end_ns: Some(self.now_ns),
            status: if record.failed { Status::Error } else { Status::Unset },
            status_message: Text::new(),
            attributes: record.attributes,
            events: record.events,
            links: record.links,
            resource: self.process.clone(),
            scope: self.request.landscape.scope(self.service),
        };
        self.request.spans.push(span);
    }

    /// A service that starts to work on the same request now, with a span of its own.
    pub(super) fn next<'b>(
        request: &'b mut Request<'w>,
        service: Service,
        trace_id: TraceId,
        now_ns: u64,
    ) -> Handler<'b, 'w> {
        let process = request.landscape.process(service, &mut request.chance);
        let span_id = request.span_id();
        Handler { request, service, process, trace_id, span_id, now_ns, events: Vec::new() }
    }
}
