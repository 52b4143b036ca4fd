use super::*;
use crate::infer::testing::*;

const MS: u64 = 1_000_000;

/// A span from one millisecond to another, after the usual start.
fn at(from: u64, to: u64, span: Facts) -> Facts {
    Facts { start_ns: START_NS + from * MS, duration_ns: Some((to - from) * MS), ..span }
}

fn named(name: &str, span: Facts) -> Facts {
    span.with(|it| it.name = name.to_owned().into())
}

fn on(host: u64, span: Facts) -> Facts {
    span.with(|it| it.instance = host)
}

fn waterfall(facts: &[Facts]) -> Waterfall {
    Waterfall::new(facts[0].trace_id, facts, true)
}

/// Rows as text: indent, name, offset + duration, self time, critical time.
fn shown(waterfall: &Waterfall) -> Vec<String> {
    let one = |row: &Row| {
        let name = format!("{}{} {}", "  ".repeat(row.depth), row.service_name, row.operation);
        let times = row.repeats.as_ref().map(|it| format!(" ×{}", it.count)).unwrap_or_default();
        let duration = row.duration_ms.map_or_else(|| "?".into(), |ms| ms.to_string());
        format!(
            "{name}{times} {}+{duration} self {} critical {}",
            row.offset_ms, row.self_ms, row.critical_ms
        )
    };
    waterfall.rows.iter().map(one).collect()
}

fn moves(waterfall: &Waterfall) -> Vec<Option<f64>> {
    waterfall.rows.iter().map(|row| row.moved_ms).collect()
}

/// All spans stand where they were sent.
fn assert_unmoved(trace: &[Facts]) {
    let found = waterfall(trace);
    assert_eq!((moves(&found), found.moved_spans), (vec![None; trace.len()], 0));
    let first = trace.iter().map(|span| span.start_ns).min().unwrap();
    let mut sent: Vec<f64> = trace.iter().map(|span| milliseconds(span.start_ns - first)).collect();
    let mut offsets: Vec<f64> = found.rows.iter().map(|row| row.offset_ms).collect();
    sent.sort_by(f64::total_cmp);
    offsets.sort_by(f64::total_cmp);
    assert_eq!(offsets, sent);
}

#[test]
fn callers_stand_above_what_they_call_with_their_own_time() {
    let trace = [
        at(0, 100, named("root", local("shop", 1, 0))),
        at(5, 15, named("read", local("shop", 2, 1))),
        at(20, 70, named("pay", client("shop", 3, 1))),
        at(25, 65, named("pay", server("pay", 4, 3))),
    ];
    let found = waterfall(&trace);
    assert_eq!(
        shown(&found),
        [
            "shop root 0+100 self 40 critical 40",
            "  shop read 5+10 self 10 critical 10",
            "  shop pay 20+50 self 10 critical 10",
            "    pay pay 25+40 self 40 critical 40",
        ]
    );
    let pieces: Vec<(f64, f64)> =
        found.rows[0].critical.iter().map(|piece| (piece.from_ms, piece.to_ms)).collect();
    assert_eq!(pieces, [(0.0, 5.0), (15.0, 20.0), (70.0, 100.0)]);
    let critical: f64 = found.rows.iter().map(|row| row.critical_ms).sum();
    assert!((critical - found.duration_ms).abs() < 1e-9, "the pieces are the whole");
    let parents: Vec<Option<usize>> = found.rows.iter().map(|row| row.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(0), Some(2)]);
}

#[test]
fn equal_siblings_become_one_row() {
    let mut trace = vec![at(0, 100, named("root", local("shop", 1, 0)))];
    for query in 0..6 {
        let span = at(10 * query, 10 * query + 8, named("SELECT", client("shop", 10 + query, 1)));
        trace.push(Facts { error: query == 3, ..span });
        trace.push(at(10 * query + 1, 10 * query + 7, named("handle", server("db", 20 + query, 10 + query))));
    }
    trace.push(at(15, 17, named("other", local("shop", 40, 1))));
    let found = waterfall(&trace);
    let names: Vec<String> = found.rows.iter().map(|row| row.operation.clone()).collect();
    assert_eq!(names, ["root", "SELECT", "other"]);
    let row = &found.rows[1];
    let repeats = row.repeats.as_ref().unwrap();
    assert_eq!((repeats.count, repeats.error_count, repeats.hidden_spans), (6, 1, 6));
    assert!((repeats.total_ms - 48.0).abs() < 1e-9 && (repeats.longest_ms - 8.0).abs() < 1e-9);
    // From the first start to the last end, with all the time below.
    assert_eq!((row.offset_ms, row.duration_ms, row.children), (0.0, Some(58.0), 6));
    assert!((row.self_ms - 48.0).abs() < 1e-9 && row.error, "{row:?}");
    let whole = Waterfall::new(trace[0].trace_id, &trace, false);
    assert_eq!((whole.rows.len(), whole.span_count), (14, 14));
    // Fewer stay apart.
    let four = waterfall(&trace[..9]);
    assert!(four.rows.iter().all(|row| row.repeats.is_none()));
}

#[test]
fn a_clock_that_is_behind_is_put_right_and_said() {
    let trace = [
        on(1, at(100, 200, named("call", client("shop", 1, 0)))),
        on(2, at(20, 100, named("serve", server("pay", 2, 1)))),
        on(2, at(30, 40, named("inner", local("pay", 3, 2)))),
    ];
    let found = waterfall(&trace);
    // Into the caller's middle: 10 ms before and behind.
    assert_eq!(shown(&found)[1], "  pay serve 10+80 self 70 critical 70");
    assert_eq!(moves(&found), [None, Some(90.0), Some(90.0)], "and what is below by the same clock");
    assert_eq!(found.moved_spans, 2);
}

#[test]
fn a_clock_that_is_ahead_is_put_right_and_said() {
    let trace = [
        on(1, at(100, 200, named("call", client("shop", 1, 0)))),
        on(2, at(500, 580, named("serve", server("pay", 2, 1)))),
        on(2, at(510, 520, named("inner", local("pay", 3, 2)))),
    ];
    let found = waterfall(&trace);
    let rows = [
        "shop call 0+100 self 20 critical 20",
        "  pay serve 10+80 self 70 critical 70",
        "    pay inner 20+10 self 10 critical 10",
    ];
    assert_eq!((&shown(&found)[..], found.duration_ms), (&rows.map(String::from)[..], 100.0));
    assert_eq!((moves(&found), found.moved_spans), (vec![None, Some(-390.0), Some(-390.0)], 2));
}

#[test]
fn halves_of_one_id_are_compared_and_ids_of_several_spans_are_not() {
    let call = on(1, at(100, 200, client("shop", 1, 0)));
    let shared = [call.clone(), on(2, at(20, 100, server("pay", 1, 0)))];
    assert_eq!(moves(&waterfall(&shared)), [None, Some(90.0)]);
    let broadcast =
        [call.clone(), on(2, at(20, 100, server("pay", 2, 1))), on(3, at(20, 100, server("pay", 2, 1)))];
    assert_unmoved(&broadcast);
    let callers = [call, on(1, at(300, 400, client("shop", 1, 0))), on(2, at(20, 100, server("pay", 2, 1)))];
    assert_unmoved(&callers);
}

#[test]
fn the_clock_of_an_unknown_host_is_left_alone() {
    for (caller, callee) in [(0, 0), (0, 2), (1, 0)] {
        for begin in [20, 500] {
            assert_unmoved(&[
                on(caller, at(100, 200, client("shop", 1, 0))),
                on(callee, at(begin, begin + 80, server("pay", 2, 1))),
            ]);
        }
    }
}

#[test]
fn a_message_is_moved_no_further_than_its_sending() {
    let sent = on(1, at(100, 110, message("shop", Kind::Producer, 1, 0, "orders")));
    let early = on(2, at(60, 62, message("pay", Kind::Consumer, 2, 1, "orders")));
    assert_eq!(moves(&waterfall(&[sent.clone(), early])), [None, Some(40.0)], "only the order is certain");
    assert_unmoved(&[sent, on(2, at(500, 900, message("pay", Kind::Consumer, 2, 1, "orders")))]);
}

#[test]
fn a_clock_that_is_an_hour_off_is_another_fault() {
    const HOUR: u64 = 3_600_000;
    for (caller, callee) in [(HOUR - 1_000, 0), (0, HOUR)] {
        assert_unmoved(&[
            on(1, at(caller, caller + 100, client("shop", 1, 0))),
            on(2, at(callee, callee + 80, server("pay", 2, 1))),
        ]);
    }
}

#[test]
fn a_span_whose_parent_is_missing_stands_at_the_top_and_says_so() {
    let trace = [at(0, 10, local("shop", 1, 0)), at(5, 9, server("pay", 2, 77))];
    let found = waterfall(&trace);
    assert_eq!(
        found.rows.iter().map(|row| (row.depth, row.orphan)).collect::<Vec<_>>(),
        [(0, false), (0, true)]
    );
}

#[test]
fn large_deep_and_circular_traces_end_and_are_cut() {
    let deep: Vec<Facts> = (1..=50_000).map(|id| at(0, 10, named("x", local("shop", id, id - 1)))).collect();
    let found = waterfall(&deep);
    assert_eq!((found.truncated, found.rows.len(), found.span_count), (true, MAX_TRACE_SPANS, 50_000));
    let wide: Vec<Facts> = (1..=50_000)
        .map(|id| at(id % 7, 10 + id % 9, named("x", local("shop", id, u64::from(id > 1)))))
        .collect();
    let found = waterfall(&wide);
    assert_eq!((found.truncated, found.rows.len()), (false, 2));
    let circle = [at(0, 10, local("shop", 1, 2)), at(0, 10, local("shop", 2, 1))];
    assert_eq!(waterfall(&circle).rows.len(), 2);
    assert_eq!(Waterfall::new(circle[0].trace_id, &[], true).rows.len(), 0);
}

#[test]
fn the_order_in_which_spans_come_does_not_matter() {
    let trace = [
        at(0, 100, named("root", local("shop", 1, 0))),
        at(10, 40, named("read", local("shop", 2, 1))),
        at(10, 40, named("read", local("shop", 3, 1))),
        at(25, 65, named("pay", server("pay", 4, 3))),
    ];
    let mut turned = trace.to_vec();
    turned.reverse();
    turned.push(trace[2].clone());
    assert_eq!(waterfall(&turned), waterfall(&trace));
}
