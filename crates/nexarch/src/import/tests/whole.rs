//! Whole imports: counts, time, batches.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    path::PathBuf,
};

use nexarch_core::span::Span;

use super::{
    super::{Error, Options, Shift, Stored, Summary, run},
    file, fixture, line, request,
};

const NOW_NS: u64 = 1_800_000_000_000_000_000;
const DAY_NS: u64 = 86_400_000_000_000;

const OPTIONS: Options =
    Options { shift: Shift::ToNow, now_ns: NOW_NS, retention_ns: Some(14 * DAY_NS), progress: false };

fn taken(batch: &[Span]) -> Ready<Result<Stored, Infallible>> {
    ready(Ok(Stored { accepted: batch.len() as u64, duplicates: 0, expired: 0 }))
}

/// Imports into a list of batches.
async fn import(files: &[PathBuf], options: Options) -> (Summary, Vec<Vec<Span>>) {
    let mut batches = Vec::new();
    let summary = run(files.to_vec(), options, |batch| {
        let answer = taken(&batch);
        batches.push(batch);
        answer
    });
    (summary.await.unwrap(), batches)
}

fn newest_ns(batches: &[Vec<Span>]) -> u64 {
    batches.iter().flatten().filter_map(|span| span.end_ns).max().unwrap()
}

#[tokio::test]
async fn a_recording_becomes_the_present() {
    let files =
        [fixture("trainticket/2023-01-29-normal.jsonl.gz"), fixture("trainticket/2023-01-29-15_44.jsonl.gz")];
    let (summary, batches) = import(&files, OPTIONS).await;
    assert_eq!(newest_ns(&batches), NOW_NS);
    let total: usize = batches.iter().map(Vec::len).sum();
    assert_eq!((summary.accepted, summary.rejected, summary.files), (total as u64, 0, 2));
    assert_eq!(summary.hint, None);
    // All but the last are of a good size, and none is too large.
    let (last, full) = batches.split_last().unwrap();
    assert!(full.iter().all(|batch| (1_000..=5_000).contains(&batch.len())) && last.len() <= 5_000);

    let unmoved = Options { shift: Shift::No, retention_ns: None, ..OPTIONS };
    let (_, originals) = import(&files, unmoved).await;
    let offset = NOW_NS - newest_ns(&originals);
    for (moved, original) in batches.iter().flatten().zip(originals.iter().flatten()) {
        assert_eq!(moved.span_id, original.span_id, "in order");
        assert_eq!(moved.start_ns, original.start_ns + offset, "one offset for all files");
        assert_eq!(moved.end_ns, original.end_ns.map(|end| end + offset));
        let times = |span: &Span| span.events.iter().map(|event| event.time_ns).collect::<Vec<_>>();
        assert_eq!(times(moved), times(original).iter().map(|time| time + offset).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_future_is_moved_back() {
    let file = file(request(1, NOW_NS + 400 * DAY_NS).as_bytes());
    let (summary, batches) = import(&[file.path().to_owned()], OPTIONS).await;
    assert_eq!((summary.accepted, newest_ns(&batches)), (1, NOW_NS));
}

#[tokio::test]
async fn old_spans_are_rejected_with_a_hint() {
    let options = Options { shift: Shift::No, ..OPTIONS };
    let (summary, batches) = import(&[fixture("trainticket/2023-01-29-normal.jsonl.gz")], options).await;
    assert_eq!((summary.accepted, summary.rejected, batches.len()), (0, 4_890, 0));
    assert!(summary.hint.unwrap().contains("--shift-to-now"));
    assert_eq!(summary.problems.len(), 20, "all are counted, some are kept");
}

#[tokio::test]
async fn retention_counts_from_the_newest_span_after_a_move() {
    let old = file(request(1, NOW_NS - 515 * DAY_NS).as_bytes());
    let young = file(request(2, NOW_NS - 500 * DAY_NS).as_bytes());
    let (summary, batches) = import(&[old.path().to_owned(), young.path().to_owned()], OPTIONS).await;
    assert_eq!((summary.accepted, summary.rejected), (1, 1));
    assert!(summary.hint.unwrap().contains("RETENTION_DAYS"));
    assert_eq!(batches[0][0].span_id.to_string(), "0000000000000002");
}

#[tokio::test]
async fn what_is_wrong_is_counted_and_named() {
    let text = format!("{}\nrubbish\n{}\n", line(1), line(0));
    let file = file(text.as_bytes());
    let (summary, _) = import(&[file.path().to_owned()], OPTIONS).await;
    let json = serde_json::to_string(&summary).unwrap();
    assert_eq!(json, r#"{"accepted":1,"duplicates":0,"rejected":2,"files":1}"#);
    let lines: Vec<u64> = summary.problems.iter().map(|problem| super::number(problem.place)).collect();
    assert_eq!(lines, [2, 3], "{:?}", summary.problems);
    let text = summary.problems[1].to_string();
    assert!(
        text.starts_with(&format!("{}:3: ", file.path().display())) && text.contains("span_id"),
        "{text}"
    );
}

#[tokio::test]
async fn one_unreadable_file_stops_all_before_anything_is_stored() {
    // Enough for a batch of its own.
    let text: String = (1..5_000).map(|n| line(n) + "\n").collect();
    let good = file(text.as_bytes());
    let no_trace = file(b"time,service,duration\n1,a,2\n");
    for shift in [Shift::ToNow, Shift::No] {
        let options = Options { shift, retention_ns: None, ..OPTIONS };
        let files = vec![good.path().to_owned(), no_trace.path().to_owned()];
        let mut stored = 0;
        let failed = run(files, options, |batch| {
            stored += batch.len();
            taken(&batch)
        });
        assert!(matches!(failed.await, Err(Error::Unreadable(_))));
        assert_eq!(stored, 0);
    }
}

#[tokio::test]
async fn a_store_that_fails_ends_the_import() {
    let text: String = (1..20_001).map(|n| line(n) + "\n").collect();
    let file = file(text.as_bytes());
    let mut calls = 0;
    let failed = run(vec![file.path().to_owned()], Options { retention_ns: None, ..OPTIONS }, |batch| {
        calls += 1;
        ready(if calls == 3 { Err("disk full") } else { Ok(taken(&batch).into_inner().unwrap()) })
    });
    let error = failed.await.unwrap_err();
    assert_eq!(error.to_string(), "disk full (stored before that: 4000 spans)");
    assert_eq!(calls, 3);
}

#[tokio::test]
async fn a_huge_request_is_handed_on_in_parts() {
    let span = |n: u32| {
        format!(
            r#"{{"traceId":"{:032x}","spanId":"{n:016x}","startTimeUnixNano":"5","endTimeUnixNano":"6"}}"#,
            n % 9 + 1
        )
    };
    let spans: Vec<String> = (1..12_002).map(span).collect();
    let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","));
    let file = file(text.as_bytes());
    let (summary, batches) = import(&[file.path().to_owned()], OPTIONS).await;
    assert_eq!(summary.accepted, 12_001);
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [5_000, 5_000, 2_001]);
}
