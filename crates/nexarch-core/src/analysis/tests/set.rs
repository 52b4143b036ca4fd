//! An analysis is a function of the sets of spans.

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    analysis::{Analysis, Options},
    facts::{Facts, RemoteKind},
    graph::tests::{context, rollup},
    ids::TraceId,
    infer::testing::{START_NS, span},
    span::Kind,
};

/// All answers, as they would be sent.
fn bytes(traces: &[Vec<Facts>]) -> String {
    let traces: Vec<&[Facts]> = traces.iter().map(Vec::as_slice).collect();
    let context = context();
    let analysis = Analysis::of(&rollup(&traces), traces.iter().copied(), &context, Options::default());
    let text = |answer: serde_json::Result<String>| answer.unwrap();
    [
        text(serde_json::to_string(&analysis.issues())),
        text(serde_json::to_string(&analysis.bottlenecks())),
        text(serde_json::to_string(&analysis.dependencies())),
        text(serde_json::to_string(&analysis.health())),
    ]
    .join("\n")
}

fn any_span() -> impl Strategy<Value = Facts> {
    let kinds = select(vec![
        Kind::Client,
        Kind::Server,
        Kind::Internal,
        Kind::Consumer,
        Kind::Producer,
        Kind::Unspecified,
    ]);
    let remote =
        select(vec![RemoteKind::Service, RemoteKind::Service, RemoteKind::Database, RemoteKind::Queue]);
    let names = || select(vec!["a", "b", "c", "d"]);
    let ids = (1u64..20, 0u64..20);
    let time = (0u64..1000, 0u64..4_000);
    (
        (names(), select(vec!["GET /1", "GET /2", "x"]), select(vec!["", "h", "b"])),
        kinds,
        remote,
        ids,
        time,
        any::<bool>(),
    )
        .prop_map(|((service, name, address), kind, remote_kind, (id, parent), (start, ms), error)| {
            Facts {
                start_ns: START_NS + start * 1_000_000,
                duration_ns: Some(ms * 1_000_000),
                error,
                ..span(service, kind, id, parent)
            }
            .with(|it| {
                it.name = name.into();
                it.address = address.into();
                it.remote_kind = remote_kind;
            })
        })
}

fn any_traces() -> impl Strategy<Value = Vec<Vec<Facts>>> {
    vec(vec(any_span(), 1..20), 1..6).prop_map(|mut traces| {
        for (at, trace) in traces.iter_mut().enumerate() {
            let id = TraceId::from_bytes((at as u128 + 1).to_be_bytes()).unwrap();
            for span in trace.iter_mut() {
                span.trace_id = id;
            }
        }
        traces
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Equal sets give equal bytes, in whatever order they come, and however often a span was sent.
    #[test]
    fn equal_sets_give_equal_answers(mut traces in any_traces()) {
        let forward = bytes(&traces);
        traces.reverse();
        for trace in &mut traces {
            trace.extend(trace.clone());
            trace.reverse();
        }
        prop_assert_eq!(forward, bytes(&traces));
    }
}

#[test]
fn hostile_traces_take_linear_time() {
    const N: u64 = 10_000;
    let services = ["a", "b", "c"];
    let service = |id: u64| services[usize::try_from(id).unwrap() % 3];
    let chain = (1..N).map(|id| span(service(id), Kind::Server, id, id - 1)).collect();
    let star = (1..N).map(|id| span(service(id), Kind::Client, id, u64::from(id > 1))).collect();
    let ring = (1..N).map(|id| span(service(id), Kind::Internal, id, id % (N - 1) + 1)).collect();
    let clients = (1..N).map(|id| span("a", Kind::Client, id, id - 1)).collect();
    let failing = (1..N)
        .map(|id| Facts {
            error: true,
            duration_ns: Some(0),
            ..span("a", Kind::Client, id, u64::from(id > 1))
        })
        .map(|span| {
            span.with(|it| {
                it.address = "h".into();
                it.name = "same".into();
            })
        })
        .collect();
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let run = move || {
        for trace in [chain, star, ring, clients, failing] {
            let trace: Vec<Facts> = trace;
            assert!(bytes(&[trace]).contains("\"issues\":["));
        }
    };
    small.spawn(run).unwrap().join().unwrap();
}
