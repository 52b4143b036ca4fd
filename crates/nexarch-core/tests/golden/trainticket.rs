//! OTLP/JSON without kinds, one request on each line: all minutes of the data set.
//!
//! What is asserted in numbers was counted by `tests/it/oracle/graph.py` of the server, which shares no code with it.

use crate::support::{Picture, check, lines};

/// A minute in which one service was at fault.
struct Minute {
    /// When it began; the name of the file.
    name: &'static str,
    /// Spans, distinct spans, traces, services.
    counts: (usize, usize, usize, usize),
    /// Pairs of services.
    edges: usize,
    /// Between them.
    calls: i64,
}

#[rustfmt::skip]
const MINUTES: [Minute; 27] = [
    Minute { name: "08_45", counts: (5_108, 5_108, 58, 28), edges: 54, calls: 813 },
    Minute { name: "08_54", counts: (4_376, 4_376, 61, 27), edges: 46, calls: 696 },
    Minute { name: "09_00", counts: (5_363, 5_363, 60, 27), edges: 48, calls: 863 },
    Minute { name: "09_05", counts: (3_821, 3_821, 58, 27), edges: 50, calls: 594 },
    Minute { name: "09_14", counts: (4_045, 4_045, 57, 26), edges: 40, calls: 628 },
    Minute { name: "09_23", counts: (5_617, 5_617, 65, 28), edges: 53, calls: 899 },
    Minute { name: "09_27", counts: (3_842, 3_842, 54, 27), edges: 45, calls: 609 },
    Minute { name: "09_32", counts: (5_662, 5_662, 67, 28), edges: 53, calls: 902 },
    Minute { name: "09_36", counts: (3_119, 3_119, 42, 27), edges: 43, calls: 495 },
    Minute { name: "09_44", counts: (4_540, 4_540, 56, 27), edges: 50, calls: 731 },
    Minute { name: "09_51", counts: (2_901, 2_901, 47, 25), edges: 40, calls: 451 },
    Minute { name: "10_00", counts: (2_250, 2_250, 45, 24), edges: 45, calls: 344 },
    Minute { name: "10_06", counts: (4_102, 4_102, 50, 27), edges: 50, calls: 653 },
    Minute { name: "10_14", counts: (2_334, 2_334, 49, 28), edges: 46, calls: 352 },
    Minute { name: "10_22", counts: (1_328, 1_328, 36, 20), edges: 29, calls: 196 },
    Minute { name: "10_28", counts: (4_771, 4_771, 57, 28), edges: 53, calls: 761 },
    Minute { name: "10_47", counts: (4_274, 4_274, 59, 27), edges: 51, calls: 666 },
    Minute { name: "10_52", counts: (5_396, 5_396, 58, 28), edges: 54, calls: 868 },
    Minute { name: "10_58", counts: (5_272, 5_272, 62, 28), edges: 52, calls: 845 },
    Minute { name: "11_06", counts: (4_077, 4_077, 50, 28), edges: 52, calls: 660 },
    Minute { name: "11_15", counts: (4_966, 4_966, 62, 28), edges: 55, calls: 788 },
    Minute { name: "11_21", counts: (4_729, 4_729, 65, 28), edges: 48, calls: 735 },
    Minute { name: "11_31", counts: (3_663, 3_663, 49, 26), edges: 50, calls: 590 },
    Minute { name: "11_38", counts: (2_517, 2_517, 48, 28), edges: 52, calls: 393 },
    Minute { name: "13_33", counts: (4_063, 4_063, 52, 28), edges: 53, calls: 642 },
    Minute { name: "14_25", counts: (5_466, 5_466, 68, 28), edges: 49, calls: 879 },
    Minute { name: "14_51", counts: (3_838, 3_838, 51, 27), edges: 50, calls: 610 },
];

/// Spans of all 29 files.
const ALL_SPANS: usize = 122_623;

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

#[test]
fn every_minute_with_a_fault() {
    let mut spans = 4_890 + 6_293;
    for Minute { name, counts, edges, calls } in MINUTES {
        let picture = Picture::of(&lines(&format!("trainticket/2023-01-29-{name}.jsonl.gz")));
        assert_eq!(picture.counts(), counts, "{name}");
        let found = picture.service_edges();
        assert_eq!((found.len(), found.values().sum::<i64>()), (edges, calls), "{name}");
        check(
            &format!("trainticket-{name}"),
            "No kinds: every child in another service is one call (rule R2 b), and all traces enter by the gateway.",
            &picture,
        );
        spans += counts.0;
    }
    assert_eq!(spans, ALL_SPANS);
}
