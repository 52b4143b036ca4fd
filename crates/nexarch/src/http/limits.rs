//! Limits as answers tell of them: the fields `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11,
//! Lists of Structured Fields (RFC 9651).
//!
//! The draft's registry has no unit for spans, so `qu="spans"` is a unit of our own. gRPC has other words (`RetryInfo`), and
//! is left alone.

use std::{cell::Cell, fmt::Write, pin::Pin, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use nexarch_core::ids::TenantId;
use nexarch_store::Scope;
use tokio::{task::futures::TaskLocalFuture, time::Instant};

use super::grpc;
use crate::{
    app::App,
    limit::{DAILY_SPANS, SPANS, Standing},
};

/// What is left, and for how long.
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Which limits there are.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Largest integer of a structured field (RFC 9651, section 3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;
const DAY_S: u64 = 86_400;

/// Who asked, and for what.
pub(super) struct Asked {
    tenant: TenantId,
    scope: Scope,
}

tokio::task_local! {
    /// Noted where the key is read, read where the answer leaves: no handler has to carry it, and no error can lose it.
    static ASKED: Cell<Option<Asked>>;
}

/// A future with a place where the tenant is noted.
pub(super) type Told<F> = TaskLocalFuture<Cell<Option<Asked>>, F>;

/// Is there anything to tell?
pub(super) fn any(app: &App) -> bool {
    app.limits.any() || app.shares.spans_per_day.is_some()
}

/// Gives a future such a place.
pub(super) fn tell<F: Future>(future: F) -> Told<F> {
    ASKED.scope(Cell::new(None), future)
}

/// Notes who asks, for the answer.
pub(super) fn asked(app: &App, tenant: &TenantId, scope: Scope) {
    if any(app) {
        // Without a place nobody wants to know.
        let _ = ASKED.try_with(|cell| cell.set(Some(Asked { tenant: tenant.clone(), scope })));
    }
}

/// Labels an answer with the limits of who asked, as they are now.
pub(super) fn label<F: Future>(app: &App, future: Pin<&mut Told<F>>, response: &mut Response) {
    let Some(Asked { tenant, scope }) = future.take_value().and_then(Cell::into_inner) else { return };
    if grpc::is_grpc(response.headers()) {
        return;
    }
    let now = Instant::now();
    let ingest = scope == Scope::Ingest;
    let requests = app.limits.requests_of(&tenant, now);
    let spans = ingest.then(|| app.limits.spans_of(&tenant, now)).flatten();
    let standings: Vec<Standing> = requests.into_iter().chain(spans).collect();
    let daily = app.shares.spans_per_day.filter(|_| ingest);
    let refused = response.status() == StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    if let Some(policies) = policies(&standings, daily) {
        headers.insert(RATE_LIMIT_POLICY, policies);
    }
    // A refusal has told of the limit that it is for, and `Retry-After` is of that one. Who is sent away for another reason
    // must not read that there is something left.
    if !refused
        && !headers.contains_key(&RATE_LIMIT)
        && let Some(left) = left(&standings)
    {
        headers.insert(RATE_LIMIT, left);
    }
}

/// The field of a refusal.
pub(super) fn refused(policy: &'static str, left: u64, retry_after: Duration) -> HeaderValue {
    field(item(policy, &[("r", left), ("t", retry_after.as_secs().max(1))]))
}

fn policies(standings: &[Standing], daily: Option<u64>) -> Option<HeaderValue> {
    let limited =
        standings.iter().map(|standing| (standing.policy, u64::from(standing.quota), standing.window_s));
    let all = limited.chain(daily.map(|quota| (DAILY_SPANS, quota, DAY_S)));
    let items: Vec<String> = all
        .map(|(policy, quota, window_s)| {
            let mut text = item(policy, &[("q", quota), ("w", window_s)]);
            if matches!(policy, SPANS | DAILY_SPANS) {
                text.push_str(";qu=\"spans\"");
            }
            text
        })
        .collect();
    (!items.is_empty()).then(|| field(items.join(", ")))
}

fn left(standings: &[Standing]) -> Option<HeaderValue> {
    let items: Vec<String> = standings
        .iter()
        .map(|standing| item(standing.policy, &[("r", standing.left), ("t", standing.reset_s)]))
        .collect();
    (!items.is_empty()).then(|| field(items.join(", ")))
}

/// A String with Integers as parameters. The names are ours: nothing in them has to be escaped.
fn item(policy: &'static str, parameters: &[(&str, u64)]) -> String {
    let mut text = format!("\"{policy}\"");
    for (key, value) in parameters {
        // Writing to a string cannot fail.
        let _ = write!(text, ";{key}={}", (*value).min(MAX_INTEGER));
    }
    text
}

fn field(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_lists_of_strings_with_integers() {
        let requests = Standing { policy: "requests", quota: 600, window_s: 60, left: 599, reset_s: 60 };
        let spans = Standing { policy: "spans", quota: u32::MAX, window_s: 1, left: 0, reset_s: u64::MAX };
        let policies = policies(&[requests, spans], Some(1_000_000_000_000)).unwrap();
        assert_eq!(
            policies,
            "\"requests\";q=600;w=60, \"spans\";q=4294967295;w=1;qu=\"spans\", \
             \"daily-spans\";q=1000000000000;w=86400;qu=\"spans\""
        );
        let left = left(&[requests, spans]).unwrap();
        assert_eq!(left, "\"requests\";r=599;t=60, \"spans\";r=0;t=999999999999999");
        assert_eq!(refused("spans", 0, Duration::from_millis(10)), "\"spans\";r=0;t=1");
        assert_eq!((super::policies(&[], None), super::left(&[])), (None, None), "a list is never empty");
    }
}
