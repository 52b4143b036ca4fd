//! OTLP/JSON without kinds, one request on each line.

use crate::support::{Picture, check, lines};

#[test]
fn the_fault_free_baseline() {
    let picture = Picture::of(&lines("trainticket/2023-01-29-normal.jsonl.gz"));
    check(
        "trainticket-normal",
        "No kinds, so every child in another service is one call (rule R2 b): 783 crossings over 42 pairs, as \
            tests/it/oracle/graph.py of the server counts them. All 71 traces enter by the gateway.",
        &picture,
    );
    assert_eq!(picture.counts(), (4_890, 4_890, 71, 25));
    let calls = picture.service_edges();
    assert_eq!((calls.len(), calls.values().sum::<i64>()), (42, 783));
}

#[test]
fn a_minute_that_repeats_spans() {
    let picture = Picture::of(&lines("trainticket/2023-01-29-15_44.jsonl.gz"));
    check(
        "trainticket-15_44",
        "136 spans stand in the file twice and count once: 6,157 of 6,293. delivery, assurance and cancel are not in \
            the baseline. The gateway serves all 96 traces.",
        &picture,
    );
    assert_eq!(picture.counts(), (6_293, 6_293 - 136, 96, 28));
}
