//! OTLP/JSON, one request in a file.

use nexarch_core::otlp::{Rules, decode_json};

use crate::support::{Picture, check, fixture, whole};

fn picture(name: &str) -> Picture {
    let body = fixture(&format!("otlp/{name}.json"));
    Picture::of(&whole(decode_json(&body.into(), &Rules::default()).unwrap()))
}

#[test]
fn trace() {
    let picture = picture("trace");
    check(
        "otlp-trace",
        "The canonical example of OTLP: one SERVER with upper-case ids, whose parent is not in the file. An orphan: no user.",
        &picture,
    );
    assert_eq!(picture.counts(), (1, 1, 1, 1));
}

#[test]
fn jaeger_default() {
    let picture = picture("jaeger_default");
    check("otlp-jaeger-default", "One span without kind or parent.", &picture);
    assert_eq!(picture.counts(), (1, 1, 1, 1));
}

#[test]
fn jaeger_example_trace() {
    let picture = picture("jaeger_example_trace");
    check(
        "otlp-jaeger-example-trace",
        "Five roots of one trace: no span names a parent, so no service calls another. The one SERVER is called by user; \
            the CLIENT names nobody.",
        &picture,
    );
    assert_eq!(picture.counts(), (5, 5, 1, 3));
}

#[test]
fn jaeger_link_attributes_trace() {
    let picture = picture("jaeger_link_attributes_trace");
    check(
        "otlp-jaeger-link-attributes",
        "One span; its three links name spans of other traces that are not here, and a link alone is no call.",
        &picture,
    );
    assert_eq!(picture.counts(), (1, 1, 1, 1));
}

#[test]
fn jaeger_otel_traces_01() {
    let picture = picture("jaeger_otel_traces_01");
    check(
        "otlp-jaeger-otel-traces-01",
        "Kinds 2 to 5, all with absent parents and peer.service \"service-y\": the CLIENT calls it as a service that sends \
            nothing (external), PRODUCER and CONSUMER know it as their broker (queue). Two nodes of one name, so one is numbered \
            by type. The two links of the CONSUMER lead into other traces: two messages of one operation. SERVER and CONSUMER are \
            orphans: two requests, no user. All four failed.",
        &picture,
    );
    assert_eq!((picture.spans, picture.distinct, picture.services.len()), (4, 4, 1));
}
