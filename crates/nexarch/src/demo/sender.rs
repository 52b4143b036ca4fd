//! Plays the exporters of all services: sends what is due, as their software development kits would.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use nexarch_core::{
    otlp::encode_protobuf,
    span::{Resource, Span},
};
use reqwest::{Client, StatusCode, header};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Shop;

/// How often what is due is sent: a viewer sees it move, and requests stay few.
pub const PERIOD: Duration = Duration::from_millis(500);

/// The past is sent in slices of this length (nanoseconds): some 200 spans for each request.
const PAST_SLICE_NS: u64 = 300_000_000_000;
/// What became due meanwhile is sent in slices of this length (nanoseconds), when the server was slow.
const LIVE_SLICE_NS: u64 = 10_000_000_000;
/// What is older than this (nanoseconds) is left out when sending fell behind, as after a closed lid.
const MAX_BEHIND_NS: u64 = 60_000_000_000;

/// One attempt may take this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// A server that is busy is asked this many times, then the request is dropped, as exporters do.
const MAX_ATTEMPTS: u32 = 6;
/// The first pause when the server names none; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer, whatever the server says.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Spans in requests that the server took.
    pub spans: u64,
    /// Spans in requests that were refused, or dropped after the last attempt.
    pub dropped: u64,
}

/// Sends the past of the shop, then what happens in it, until the token is cancelled.
///
/// `endpoint` is the base of an OTLP/HTTP listener (`http://127.0.0.1:4318`), `now_ns` a clock in nanoseconds
/// since the Unix epoch. Cancelling drops what is under way: a demo has nothing to lose. A server that refuses
/// or is away is reported once, and once more when it is back. Fails only when no client can be built.
pub async fn run(
    endpoint: &str,
    api_key: &str,
    shop: &Shop,
    token: CancellationToken,
    now_ns: fn() -> u64,
) -> reqwest::Result<Sent> {
    let exporter = Exporter::new(endpoint, api_key)?;
    // The future is dropped on cancel; the counts live outside of it.
    token.run_until_cancelled(exporter.play(shop, now_ns)).await;
    Ok(exporter.sent())
}

struct Exporter {
    client: Client,
    url: String,
    api_key: String,
    in_trouble: AtomicBool,
    spans: AtomicU64,
    dropped: AtomicU64,
}

impl Exporter {
    fn new(endpoint: &str, api_key: &str) -> reqwest::Result<Self> {
        Ok(Self {
            // The listener is this very process: a proxy of the environment must not stand between.
            client: Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build()?,
            url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
            api_key: api_key.to_owned(),
            in_trouble: AtomicBool::new(false),
            spans: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    fn sent(&self) -> Sent {
        Sent { spans: self.spans.load(Ordering::Relaxed), dropped: self.dropped.load(Ordering::Relaxed) }
    }

    /// Never ends.
    async fn play(&self, shop: &Shop, now_ns: fn() -> u64) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent_until_ns = shop.past_ns();
        loop {
            let now = now_ns();
            let (from_ns, to_ns) = next_slice(sent_until_ns, shop.opened_ns(), now);
            if to_ns > from_ns {
                let requests = by_process(shop.tick(from_ns, to_ns));
                join_all(requests.iter().map(|spans| self.export(spans))).await;
                sent_until_ns = to_ns;
            }
            if to_ns >= now {
                ticks.tick().await;
            }
        }
    }

    /// Sends one request, again when asked to.
    async fn export(&self, spans: &[Span]) {
        let body = gzip(&encode_protobuf(spans));
        let count = spans.len() as u64;
        let mut pause = FIRST_PAUSE;
        for _ in 0..MAX_ATTEMPTS {
            match self.attempt(body.clone()).await {
                Answer::Taken => {
                    self.spans.fetch_add(count, Ordering::Relaxed);
                    if self.in_trouble.swap(false, Ordering::Relaxed) {
                        tracing::info!("demo: the server takes spans again");
                    }
                    return;
                }
                Answer::TryAgain { after, reason } => {
                    self.report(&reason);
                    sleep(after.unwrap_or(pause).min(MAX_PAUSE)).await;
                    pause = pause.saturating_mul(2);
                }
                Answer::Refused { reason } => {
                    self.report(&reason);
                    break;
                }
            }
        }
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    async fn attempt(&self, body: Bytes) -> Answer {
        let request = self
            .client
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::CONTENT_ENCODING, "gzip")
            .header("x-api-key", &self.api_key)
            .body(body);
        match request.send().await {
            Ok(response) => {
                let status = response.status();
                let pause = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                let pause = pause.map(str::to_owned);
                // A populated partial success means that spans of ours were invalid.
                let body = response.bytes().await.unwrap_or_default();
                judge(status, pause.as_deref(), !body.is_empty())
            }
            Err(error) => {
                Answer::TryAgain { after: None, reason: format!("the server cannot be reached: {error}") }
            }
        }
    }

    /// Once, until it is over.
    fn report(&self, reason: &str) {
        if !self.in_trouble.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason, "demo: spans cannot be sent");
        }
    }
}

/// What a server's answer asks an exporter to do.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    TryAgain { after: Option<Duration>, reason: String },
    Refused { reason: String },
}

/// By the OTLP specification: 429, 502, 503 and 504 ask for another attempt, everything else is final.
fn judge(status: StatusCode, retry_after: Option<&str>, has_body: bool) -> Answer {
    match status.as_u16() {
        200..300 if has_body => {
            Answer::Refused { reason: "the server rejected some spans of a request".into() }
        }
        200..300 => Answer::Taken,
        429 | 502 | 503 | 504 => Answer::TryAgain {
            // Seconds; the other form, a date, is answered with our own pause.
            after: retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs),
            reason: format!("the server answered {status}"),
        },
        _ => Answer::Refused { reason: format!("the server answered {status}") },
    }
}

/// Where the next slice begins and ends, when everything before `from_ns` was sent. It begins later when sending
/// fell too far behind.
fn next_slice(from_ns: u64, opened_ns: u64, now_ns: u64) -> (u64, u64) {
    if from_ns < opened_ns {
        return (from_ns, now_ns.min(from_ns.saturating_add(PAST_SLICE_NS)).min(opened_ns));
    }
    let from_ns = from_ns.max(now_ns.saturating_sub(MAX_BEHIND_NS));
    (from_ns, now_ns.min(from_ns.saturating_add(LIVE_SLICE_NS)))
}

/// One list for each sending process.
fn by_process(spans: Vec<Span>) -> Vec<Vec<Span>> {
    let mut processes: Vec<(Arc<Resource>, Vec<Span>)> = Vec::new();
    for span in spans {
        // A shop has sixteen processes: a look along the list is cheaper than a hash of the resource.
        match processes.iter_mut().find(|(process, _)| Arc::ptr_eq(process, &span.resource)) {
            Some((_, own)) => own.push(span),
            None => processes.push((span.resource.clone(), vec![span])),
        }
    }
    processes.into_iter().map(|(_, own)| own).collect()
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests;
