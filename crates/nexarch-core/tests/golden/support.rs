//! From a fixture to a map in words.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::File,
    io::Read as _,
    path::Path,
};

use nexarch_core::{
    facts::Facts,
    graph::{self, Graph, NodeType},
    infer::contribution,
    otlp::{Decoded, Rules, decode_json},
    rollup::{Delta, Rollup},
    span::Span,
};

/// A file of the project's fixtures, inflated.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    let mut file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    } else {
        file.read_to_end(&mut bytes).unwrap();
    }
    bytes
}

/// All spans, of which none may be rejected.
pub(crate) fn whole(decoded: Decoded) -> Vec<Span> {
    assert_eq!(decoded.message(), None);
    decoded.spans
}

/// The spans of requests, one on each line.
pub(crate) fn lines(name: &str) -> Vec<Span> {
    let text = fixture(name);
    let requests = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    requests.flat_map(|line| whole(decode_json(&line.to_vec().into(), &Rules::default()).unwrap())).collect()
}

/// What a set of spans says.
pub(crate) struct Picture {
    pub(crate) spans: usize,
    /// By rule R1.
    pub(crate) distinct: usize,
    pub(crate) traces: usize,
    /// That send spans.
    pub(crate) services: BTreeSet<String>,
    pub(crate) graph: Graph,
}

impl Picture {
    pub(crate) fn of(spans: &[Span]) -> Self {
        let facts = Facts::of_all(spans);
        let mut traces: BTreeMap<_, Vec<Facts>> = BTreeMap::new();
        for facts in &facts {
            traces.entry(facts.trace_id).or_default().push(facts.clone());
        }
        let mut all = Delta::default();
        for trace in traces.values() {
            all.add(&contribution(trace));
        }
        let blobs = all.encode();
        let rollup = Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &blob[..]))).unwrap();
        Self {
            spans: spans.len(),
            distinct: facts.iter().map(Facts::identity).collect::<BTreeSet<_>>().len(),
            traces: traces.len(),
            services: facts.iter().map(|facts| facts.service.to_string()).collect(),
            graph: graph::build(&rollup, None),
        }
    }

    /// Spans, distinct spans, traces, services.
    pub(crate) fn counts(&self) -> (usize, usize, usize, usize) {
        (self.spans, self.distinct, self.traces, self.services.len())
    }

    /// Calls between services that send spans, by pair: several protocols are one pair.
    pub(crate) fn service_edges(&self) -> BTreeMap<(&str, &str), i64> {
        let name = |at: usize| {
            let node = &self.graph.nodes[at];
            let sends = node.kind == NodeType::Service && self.services.contains(&node.name);
            sends.then_some(&*node.name)
        };
        let mut calls = BTreeMap::new();
        for edge in &self.graph.edges {
            if let Some(pair) = name(edge.source).zip(name(edge.target)) {
                *calls.entry(pair).or_default() += edge.calls.count;
            }
        }
        calls
    }

    /// The map in words: nodes with their requests, edges with their calls.
    pub(crate) fn text(&self) -> String {
        let (spans, distinct, traces, services) = self.counts();
        let mut text =
            format!("{spans} spans, {distinct} distinct, {traces} traces, {services} services\n\n");
        for node in &self.graph.nodes {
            let cell = &node.requests;
            let kind = node.kind.as_str();
            let _ = write!(text, "{kind:8} {}: {} requests", node.id, cell.count);
            let _ = write!(text, "{}", errors(cell.error_rate(), cell.count));
            let _ = writeln!(
                text,
                "{}",
                if node.spans > 0 { format!(", {} spans", node.spans) } else { String::new() }
            );
        }
        text.push('\n');
        for edge in &self.graph.edges {
            let (source, target) = (&self.graph.nodes[edge.source].id, &self.graph.nodes[edge.target].id);
            let calls = edge.calls.count;
            let _ =
                write!(text, "{source} -> {target}: {calls} calls{}", errors(edge.calls.error_rate(), calls));
            if !edge.protocol.is_empty() {
                let _ = write!(text, ", {}", edge.protocol);
            }
            if edge.carried.more_messages != 0 {
                let messages = i128::from(edge.calls.weight) + edge.carried.more_messages;
                let _ = write!(text, ", {} messages", messages / 256);
            }
            if let (Some(input), Some(output)) = (edge.carried.input_tokens, edge.carried.output_tokens) {
                let _ = write!(text, ", {} tokens in, {} out", input / 256, output / 256);
            }
            if let Some(inferred) = edge.inferred {
                let _ = write!(text, ", inferred by {}", format!("{inferred:?}").to_lowercase());
            }
            text.push('\n');
        }
        if !self.graph.flows.is_empty() {
            text.push('\n');
        }
        for flow in &self.graph.flows {
            let [source, queue, target] =
                [flow.source, flow.queue, flow.target].map(|at| &self.graph.nodes[at].id);
            let _ = write!(text, "{source} -> {queue} -> {target}: {} messages", flow.messages.count);
            if let Some(mean) = flow.messages.mean_us() {
                let _ = write!(text, ", {:.3} ms in the queue", mean / 1_000.0);
            }
            text.push('\n');
        }
        text
    }
}

fn errors(rate: Option<f64>, count: i64) -> String {
    match rate {
        Some(rate) if rate > 0.0 => format!(", {:.0} failed", rate * count as f64),
        _ => String::new(),
    }
}

/// Compares with the snapshot; `why` stands in its head.
pub(crate) fn check(name: &str, why: &str, picture: &Picture) {
    let mut settings = insta::Settings::clone_current();
    settings.set_description(why);
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, picture.text()));
}
