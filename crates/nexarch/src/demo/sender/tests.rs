//! The sender against a listener that decodes what it gets and answers as told.

use std::{
    collections::BTreeMap,
    io::Read as _,
    sync::{Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::post,
};
use flate2::read::GzDecoder;
use nexarch_core::otlp::{Rules, decode_protobuf};
use tokio::net::TcpListener;

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

/// A test takes a second; a slow machine may take its time.
const PATIENCE: Duration = Duration::from_mins(1);

/// A listener, and what it was sent.
struct Listener {
    /// Answers to the first requests; the rest is taken.
    script: Mutex<Vec<(u16, &'static str)>>,
    /// Every body with the status it was given.
    seen: Mutex<Vec<(u16, Vec<Span>)>>,
    /// Cancelled once this many spans were taken or refused.
    enough: usize,
    token: CancellationToken,
}

impl Listener {
    fn new(script: Vec<(u16, &'static str)>, enough: usize) -> Arc<Self> {
        let (script, seen) = (Mutex::new(script), Mutex::new(Vec::new()));
        Arc::new(Self { script, seen, enough, token: CancellationToken::new() })
    }

    fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(
            [word("content-type"), word("content-encoding"), word("x-api-key")],
            ["application/x-protobuf", "gzip", "nex_test"]
        );
        let mut plain = Vec::new();
        GzDecoder::new(body).read_to_end(&mut plain).unwrap();
        let decoded = decode_protobuf(&plain.into(), &Rules::default()).unwrap();
        assert_eq!(decoded.rejected_total, 0);
        let (status, retry_after) = self.script.lock().unwrap().pop().unwrap_or((200, ""));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((status, decoded.spans));
        let settled = |(status, spans): &(u16, Vec<Span>)| if *status == 429 { 0 } else { spans.len() };
        if seen.iter().map(settled).sum::<usize>() >= self.enough {
            self.token.cancel();
        }
        let status = axum::http::StatusCode::from_u16(status).unwrap();
        if retry_after.is_empty() {
            status.into_response()
        } else {
            (status, [("retry-after", retry_after)]).into_response()
        }
    }
}

/// Runs a shop against a listener until that has enough.
async fn play(listener: &Arc<Listener>, shop: &Shop, now_ns: fn() -> u64) -> Sent {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", socket.local_addr().unwrap());
    let answer = |State(listener): State<Arc<Listener>>, headers: HeaderMap, body: Bytes| async move {
        listener.answer(&headers, &body)
    };
    let app = Router::new().route("/v1/traces", post(answer)).with_state(listener.clone());
    tokio::select! {
        _ = axum::serve(socket, app) => unreachable!("it serves until it is dropped"),
        sent = run(&endpoint, "nex_test", shop, listener.token.clone(), now_ns) => sent.unwrap(),
        // A span that never comes fails the test instead of holding it up.
        () = sleep(PATIENCE) => panic!("the listener never had enough"),
    }
}

/// How often each span was answered with a status.
fn spans_with(listener: &Listener, wanted: u16) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let seen = listener.seen.lock().unwrap();
    for span in seen.iter().filter(|(status, _)| *status == wanted).flat_map(|(_, spans)| spans) {
        *counts.entry(format!("{} {}", span.trace_id, span.span_id)).or_insert(0) += 1;
    }
    counts
}

fn names(spans: &[Span]) -> BTreeMap<String, usize> {
    spans.iter().map(|span| (format!("{} {}", span.trace_id, span.span_id), 1)).collect()
}

#[tokio::test]
async fn the_past_and_the_present_arrive_once_and_by_process() {
    // A clock that goes on by a second whenever it is read; it stands still at the end.
    static CLOCK: AtomicU64 = AtomicU64::new(4_000);
    fn now_ns() -> u64 {
        CLOCK.fetch_add(1, Ordering::Relaxed).min(4_002) * SECOND_NS
    }
    let shop = Shop::new(1, 4_000 * SECOND_NS);
    let due = shop.tick(shop.past_ns(), 4_002 * SECOND_NS);
    let listener = Listener::new(Vec::new(), due.len());
    let sent = play(&listener, &shop, now_ns).await;

    assert_eq!(spans_with(&listener, 200), names(&due));
    assert!(sent.spans <= due.len() as u64 && sent.dropped == 0, "{sent:?}");
    for (_, spans) in listener.seen.lock().unwrap().iter() {
        assert!(spans.iter().all(|span| Arc::ptr_eq(&span.resource, &spans[0].resource)), "one resource");
    }
}

#[tokio::test]
async fn a_busy_server_gets_the_same_spans_again() {
    fn now_ns() -> u64 {
        21 * SECOND_NS
    }
    let shop = Shop::new(2, 20 * SECOND_NS);
    let due = shop.tick(0, now_ns());
    let script = vec![(429, "0"); 5];
    let listener = Listener::new(script, due.len());
    let sent = play(&listener, &shop, now_ns).await;

    assert_eq!(spans_with(&listener, 200), names(&due), "every span was taken once");
    assert!(!spans_with(&listener, 429).is_empty());
    assert_eq!(sent.dropped, 0);
}

#[tokio::test]
async fn a_refused_request_is_not_sent_again() {
    fn now_ns() -> u64 {
        21 * SECOND_NS
    }
    let shop = Shop::new(3, 20 * SECOND_NS);
    let due = shop.tick(0, now_ns());
    let listener = Listener::new(vec![(401, ""); 2], due.len());
    play(&listener, &shop, now_ns).await;

    let (refused, taken) = (spans_with(&listener, 401), spans_with(&listener, 200));
    assert!(!refused.is_empty() && refused.keys().all(|span| !taken.contains_key(span)));
    assert_eq!(refused.len() + taken.len(), due.len());
}

#[test]
fn answers_are_judged_as_otlp_says() {
    let judged = |status: u16, pause| judge(StatusCode::from_u16(status).unwrap(), pause, false);
    assert_eq!(judged(200, None), Answer::Taken);
    for status in [429, 502, 503, 504] {
        let Answer::TryAgain { after, .. } = judged(status, Some("7")) else { panic!("{status} is busy") };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }
    let Answer::TryAgain { after, .. } = judged(503, Some("Wed, 21 Oct 2026 07:28:00 GMT")) else {
        panic!("503 is busy")
    };
    assert_eq!(after, None, "a date leaves the pause to us");
    for status in [400, 401, 403, 404, 413, 415, 500] {
        assert!(matches!(judged(status, None), Answer::Refused { .. }), "{status} is final");
    }
    assert!(matches!(judge(StatusCode::OK, None, true), Answer::Refused { .. }), "partial success");
}

#[test]
fn slices_are_bounded_and_meet_the_opening() {
    let opened_ns = 10_000 * SECOND_NS;
    let mut sent_until_ns = opened_ns - 3_600 * SECOND_NS;
    let mut slices = 0;
    while sent_until_ns < opened_ns {
        let (from_ns, to_ns) = next_slice(sent_until_ns, opened_ns, opened_ns + 5 * SECOND_NS);
        assert!(from_ns == sent_until_ns && to_ns > from_ns && to_ns - from_ns <= PAST_SLICE_NS);
        (sent_until_ns, slices) = (to_ns, slices + 1);
    }
    assert_eq!((sent_until_ns, slices), (opened_ns, 12));
    // An hour behind: all but the last minute is left out, and that comes in slices.
    let now_ns = opened_ns + 3_600 * SECOND_NS;
    let minute_ago = now_ns - MAX_BEHIND_NS;
    assert_eq!(next_slice(opened_ns, opened_ns, now_ns), (minute_ago, minute_ago + LIVE_SLICE_NS));
    // A clock that was set back sends nothing.
    let (from_ns, to_ns) = next_slice(now_ns, opened_ns, now_ns - SECOND_NS);
    assert!(to_ns <= from_ns);
}
