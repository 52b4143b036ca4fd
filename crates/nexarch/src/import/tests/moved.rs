//! Moving in time: what is the newest span, and doing it again.

use std::path::PathBuf;

use nexarch_core::span::Span;
use proptest::prelude::*;

use super::{
    super::{Offset, Options, Shift, Stored, Summary, run},
    file, request,
};

const NOW_NS: u64 = 1_800_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;
/// When the recordings of these tests were made: before the retention.
const THEN_NS: u64 = NOW_NS - 500 * DAY_NS;

const OPTIONS: Options =
    Options { shift: Shift::ToNow, now_ns: NOW_NS, retention_ns: Some(14 * DAY_NS), progress: false };

async fn import(texts: &[String], options: Options) -> (Summary, Vec<Span>) {
    let files: Vec<_> = texts.iter().map(|text| file(text.as_bytes())).collect();
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path().to_owned()).collect();
    let mut spans = Vec::new();
    let summary = run(paths, options, |batch| {
        let accepted = batch.len() as u64;
        spans.extend(batch);
        std::future::ready(Ok::<_, ()>(Stored { accepted, duplicates: 0, expired: 0 }))
    });
    (summary.await.unwrap(), spans)
}

/// Requests of one span each, a second apart; the last one ends 5 ms after `THEN_NS`.
fn good(count: u64) -> String {
    (1..=count).map(|n| request(n, THEN_NS - (count - n) * SECOND_NS) + "\n").collect()
}

/// Where the good ones are when they were moved rightly.
fn assert_moved(spans: &[Span], count: u64) {
    let good: Vec<&Span> = spans
        .iter()
        .filter(|span| u64::from_str_radix(&span.span_id.to_string(), 16).unwrap() <= count)
        .collect();
    assert_eq!(good.len() as u64, count);
    assert_eq!(good.iter().filter_map(|span| span.end_ns).max(), Some(NOW_NS));
}

#[tokio::test]
async fn a_wrong_end_moves_nothing_else() {
    let wrong = request(999, THEN_NS - SECOND_NS).replace(
        &format!("\"endTimeUnixNano\":\"{}\"", THEN_NS - SECOND_NS + 5_000_000),
        "\"endTimeUnixNano\":\"4102444800000000000\"",
    );
    assert!(wrong.contains("4102444800000000000"));
    let zipkin = format!(
        r#"[{{"traceId":"{:032x}","id":"{:016x}","timestamp":{},"duration":10000000000000}}]"#,
        998,
        998,
        (THEN_NS - SECOND_NS) / 1_000
    );
    for bad in [wrong, zipkin] {
        let (summary, spans) = import(&[bad, good(5)], OPTIONS).await;
        assert_eq!((summary.accepted, summary.rejected, summary.hint), (6, 0, None));
        assert_moved(&spans, 5);
    }
}

#[tokio::test]
async fn a_start_in_the_future_costs_itself() {
    let (summary, spans) = import(&[good(5), request(999, NOW_NS + 400 * DAY_NS)], OPTIONS).await;
    assert_eq!((summary.accepted, summary.rejected), (5, 1));
    assert_moved(&spans, 5);
    assert!(summary.hint.unwrap().contains("later than nearly all"), "{:?}", summary.hint);
}

#[tokio::test]
async fn a_few_late_starts_cost_themselves_and_many_do_not() {
    let late = |count: u64| -> String {
        (1..=count).map(|n| request(10_000 + n, THEN_NS + 100 * DAY_NS) + "\n").collect()
    };
    let (summary, spans) = import(&[late(1), good(300)], OPTIONS).await;
    assert_eq!((summary.accepted, summary.rejected), (300, 1));
    assert_moved(&spans, 300);
    // What is newest is newest: with another thirty it is what the caller asked for.
    let (summary, _) = import(&[late(30), good(300)], OPTIONS).await;
    assert_eq!((summary.accepted, summary.rejected), (30, 300));
    assert!(summary.hint.unwrap().contains("RETENTION_DAYS"));
    // Without a retention nothing can be too old.
    let (summary, _) = import(&[late(1), good(300)], Options { retention_ns: None, ..OPTIONS }).await;
    assert_eq!((summary.accepted, summary.rejected, summary.hint), (301, 0, None));
}

#[tokio::test]
async fn the_offset_that_was_told_moves_the_same_spans_to_the_same_times() {
    let (first, spans) = import(&[good(20)], OPTIONS).await;
    let offset: Offset = first.offset.unwrap().to_string().parse().unwrap();
    let later = Options { shift: Shift::By(offset), now_ns: NOW_NS + 60 * SECOND_NS, ..OPTIONS };
    let (again, same) = import(&[good(20)], later).await;
    assert_eq!((spans, again.offset), (same, Some(offset)));
    // By nothing at all they are too old, and by too much not come yet.
    for (by, hint) in [("0s", "RETENTION_DAYS"), ("501d", "later than")] {
        let shift = Shift::By(by.parse().unwrap());
        let (summary, _) = import(&[good(20)], Options { shift, ..OPTIONS }).await;
        assert_eq!((summary.accepted, summary.rejected), (0, 20), "{by}");
        assert!(summary.hint.unwrap().contains(hint), "{by}");
    }
}

/// A file that is gone when its turn comes is one problem: what others held is stored, and the counts and the offset are
/// told, without which the same files could not be imported again.
#[tokio::test]
async fn a_file_that_goes_while_others_are_stored_costs_itself() {
    let (large, small) = (file(good(30_000).as_bytes()), file(good(3).as_bytes()));
    let paths = vec![large.path().to_owned(), small.path().to_owned(), large.path().to_owned()];
    let mut small = Some(small);
    let mut batches = 0;
    let summary = run(paths, OPTIONS, |batch| {
        batches += 1;
        // The reader is far ahead, but not so far.
        drop(small.take());
        std::future::ready(Ok::<_, ()>(Stored { accepted: batch.len() as u64, duplicates: 0, expired: 0 }))
    });
    let summary = summary.await.unwrap();
    assert_eq!((summary.accepted, summary.rejected, summary.files), (60_000, 1, 2));
    assert!(summary.offset.is_some() && batches > 10);
    assert!(summary.problems[0].reason.contains("it cannot be read any more"), "{:?}", summary.problems);
}

proptest! {
    #[test]
    fn offsets_survive_their_text(offset: i64) {
        prop_assert_eq!(Offset(offset).to_string().parse(), Ok(Offset(offset)));
    }

    #[test]
    fn no_text_is_too_strange(text in ".{0,20}|-?[0-9]{1,25}[a-z]{0,3}") {
        let _ = text.parse::<Offset>();
    }
}

#[test]
fn offsets_are_told_apart_from_other_texts() {
    assert_eq!("90d".parse(), Ok(Offset(90 * 86_400 * 1_000_000_000)));
    assert_eq!("-1500ms".parse(), Ok(Offset(-1_500_000_000)));
    for wrong in ["", "d", "5", "5 d", "1.5h", "5w", "9999999d", "--5d", "5d5"] {
        assert!(wrong.parse::<Offset>().is_err(), "{wrong:?}");
    }
}
