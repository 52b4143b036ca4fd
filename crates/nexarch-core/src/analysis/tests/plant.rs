//! Hand-made traffic.

use std::collections::{HashMap, HashSet};

use crate::{
    analysis::{Analysis, Options},
    facts::{Facts, Messaging},
    graph::tests::{context, rollup},
    ids::TraceId,
    infer::testing::{START_NS, client, does, message, query, server},
    span::Kind,
};

/// One trace while it is made. Times are milliseconds after its start.
pub(super) struct Shot {
    number: usize,
    pub(super) spans: Vec<Facts>,
}

/// Traces number 0, 1, ….
pub(super) fn shots(count: usize, make: impl Fn(&mut Shot)) -> Vec<Shot> {
    let shot = |number| {
        let mut shot = Shot { number, spans: Vec::new() };
        make(&mut shot);
        shot
    };
    (0..count).map(shot).collect()
}

/// Shows the analysis of some traces, and of the cells that they add up to.
pub(super) fn analyse<T>(traces: &[Shot], show: impl Fn(&Analysis<'static>) -> T) -> T {
    let traces: Vec<&[Facts]> = traces.iter().map(|shot| &shot.spans[..]).collect();
    let context = context();
    show(&Analysis::of(&rollup(&traces), traces.iter().copied(), &context, Options::default()))
}

impl Shot {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    fn add(&mut self, span: Facts, name: &str, from: u64, ms: u64) -> u64 {
        self.spans.push(
            Facts {
                trace_id: TraceId::from_bytes((self.number as u128 + 1).to_be_bytes()).unwrap(),
                start_ns: START_NS + from * 1_000_000,
                duration_ns: Some(ms * 1_000_000),
                ..span
            }
            .with(|it| it.name = name.into()),
        );
        self.next() - 1
    }

    fn next(&self) -> u64 {
        self.spans.len() as u64 + 1
    }

    fn service(&self, span: u64) -> String {
        let at = usize::try_from(span).unwrap() - 1;
        self.spans[at].service.to_string()
    }

    /// A request from outside.
    pub(super) fn entry(&mut self, service: &str, name: &str, ms: u64) -> u64 {
        self.add(server(service, self.next(), 0), name, 0, ms)
    }

    /// A call by a request; the server's half, which lies 1 ms inside on both sides.
    pub(super) fn call(&mut self, by: u64, service: &str, name: &str, from: u64, ms: u64) -> u64 {
        let client = client(&self.service(by), self.next(), by);
        let id = self.add(client, name, from, ms);
        self.add(server(service, self.next(), id), name, from + 1, ms - 2)
    }

    pub(super) fn query(&mut self, by: u64, address: &str, name: &str, from: u64, ms: u64) -> u64 {
        let query = query(&self.service(by), self.next(), by, address);
        self.add(query, name, from, ms)
    }

    /// A call of a host that sends no spans.
    pub(super) fn ask(&mut self, by: u64, host: &str, from: u64, ms: u64) {
        let call = client(&self.service(by), self.next(), by).with(|it| it.address = host.into());
        self.add(call, "GET", from, ms);
    }

    /// A message, and its processing by another.
    pub(super) fn message(&mut self, by: u64, receiver: &str, topic: &str) {
        let send = message(&self.service(by), Kind::Producer, self.next(), by, topic);
        let id = self.add(send, "send", 1, 2);
        let process = message(receiver, Kind::Consumer, self.next(), id, topic);
        self.add(process, "process", 10, 5);
    }

    /// A request asks a queue for messages.
    pub(super) fn poll(&mut self, by: u64, topic: &str, from: u64, ms: u64) {
        let poll = message(&self.service(by), Kind::Client, self.next(), by, topic);
        self.add(does(Messaging::Receive, poll), "receive", from, ms);
    }

    /// Leaves out all client spans; what they called are children of who made them.
    pub(super) fn drop_client_halves(&mut self) {
        let above: HashMap<_, _> =
            self.spans.iter().map(|span| (span.span_id, span.parent_span_id)).collect();
        let client: HashSet<_> =
            self.spans.iter().filter(|span| span.kind == Kind::Client).map(|span| span.span_id).collect();
        self.spans.retain(|span| span.kind != Kind::Client);
        for span in &mut self.spans {
            if let Some(parent) = span.parent_span_id.filter(|parent| client.contains(parent)) {
                span.parent_span_id = above[&parent];
            }
        }
    }

    /// Both halves of a call fail, given the server's.
    pub(super) fn fail_call(&mut self, server: u64) {
        let at = usize::try_from(server).unwrap() - 1;
        self.spans[at].error = true;
        self.spans[at - 1].error = true;
    }
}
