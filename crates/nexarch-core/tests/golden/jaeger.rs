//! Jaeger UI JSON.

use nexarch_core::{jaeger, otlp::Rules};

use crate::support::{Picture, check, fixture, whole};

#[test]
fn genai() {
    let body = fixture("jaeger/genai_trace_ui.json");
    let picture = Picture::of(&whole(jaeger::decode(&body.into(), &Rules::default()).unwrap()));
    check(
        "jaeger-genai",
        "All services but the two agents send only SERVER spans, so their nine edges are inferred from parent and child; \
            coding-agent -> vector-store is a pair, and the real server wins over the database qdrant that the server names itself. \
            mcp-gateway is called from inside of execute_tool spans (INTERNAL). Five model calls, four to model-a: the HTTP \
            client below each is the same call, so no api.example-ai.test. clickhouse and elasticsearch have no address and \
            belong to their callers. Tokens: four times 1,840 and 260, once 920 and 140. triage-agent runs in coding-agent and \
            summarizer in summarizer-agent (invoke_agent); of the seven execute_tool spans, all below triage-agent, three are \
            list_dashboards, three search_traces, and one names its tool only in its span name. The one error is k8s-api: its caller sent no client half that could fail.",
        &picture,
    );
    assert_eq!(picture.counts(), (57, 57, 1, 10));
    assert_eq!(picture.service_edges().len(), 9);
}
