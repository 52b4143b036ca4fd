//! Cached reads: from headers to directives, from an answer of the cache to a response. No policy lives here.

use std::{io::Write as _, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use nexarch_cache::{Answer, Directives, Read};
use tracing::Level;

use super::{
    accept::{self, Wish},
    error::ApiError,
    packed,
};
use crate::{
    app::App,
    auth::Caller,
    view::{self, View},
};

/// The newest version that an answer surely contains.
pub(super) const NEXARCH_VERSION: HeaderName = HeaderName::from_static("nexarch-version");
/// The oldest version that a caller accepts.
pub(super) const NEXARCH_MIN_VERSION: HeaderName = HeaderName::from_static("nexarch-min-version");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding, X-API-Key, Authorization");
/// Headers of an answer, those of `edge.rs` and of HTTP itself too: room for them at once.
const HEADERS: usize = 12;
/// Longest value of `Cache-Status`: the words are ours, and the largest number has 20 digits.
const STATUS_BYTES: usize = 96;
/// What was made of names by strangers runs nothing and loads nothing, wherever it is opened.
const DOCUMENT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
);
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Answers a cached read.
pub(super) async fn answer(
    app: &Arc<App>,
    caller: &Arc<Caller>,
    view: View,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let directives = directives(headers)?;
    let (operation, media_type, is_document) = (view.operation(), view.media_type(), view.is_document());
    let answer = read(app, caller, view, directives).await?;
    let not_modified = matches_etag(headers, answer.etag());
    let packed = match accept::coding(headers) {
        Wish::Plain => None,
        _ if not_modified => None,
        wish => packed::body(app, caller, operation, &answer, wish).await,
    };
    let coding = packed.as_ref().map(|(_, coding)| *coding);
    let body = match packed {
        _ if not_modified => Body::empty(),
        Some((packed, _)) => Body::from(packed),
        None => Body::from(answer.body().clone()),
    };
    let mut response = Response::new(body);
    *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
    if not_modified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        if let Some(coding) = coding {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        if is_document {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, DOCUMENT_POLICY);
        }
    }
    label(response.headers_mut(), &answer);
    Ok(response)
}

/// The answer of the cache itself, for pages that are not JSON.
pub(super) async fn read(
    app: &Arc<App>,
    caller: &Arc<Caller>,
    view: View,
    directives: Directives,
) -> Result<Answer, ApiError> {
    let operation = view.operation();
    let (key, max_ttl) = (view.key(), view.max_ttl());
    let terms = Read::new(app.operations.get(operation), &key).max_ttl(max_ttl).directives(directives);
    let (computing, by, computed) = (Arc::clone(app), Arc::clone(caller), view.clone());
    // Who asks for a computation, and who turned the cache off, gets one that rests on nothing kept.
    let shares = !directives.no_cache && app.cache.is_enabled();
    let compute = move |_fence| async move {
        let (app, caller) = (Arc::clone(&computing), Arc::clone(&by));
        let work = async move {
            let parts = shares.then_some(&computing.parts);
            view::compute(&*computing.store, &by.tenant, &computed, &computing.objectives, parts).await
        };
        app.in_turn(&caller.tenant, work).await
    };
    // Nothing is timed or put into words unless somebody looks: a hit takes less time than that.
    let started = tracing::enabled!(Level::DEBUG).then(|| app.cache.now());
    let answer = app.cache.get_or_compute(&caller.scope, terms, compute).await;
    if let Some(started) = started {
        let micros = app.cache.now().since(started).as_micros();
        let told = answer.as_ref().map(|answer| (answer.outcome().word(), answer.outcome().tier()));
        let (word, tier) = told.unwrap_or(("error", "none"));
        tracing::debug!(operation = operation.name(), outcome = word, tier, micros, "cached read");
    }
    let answer = answer?;
    if answer.is_negative() {
        let mut headers = HeaderMap::with_capacity(HEADERS);
        label(&mut headers, &answer);
        // There is nothing that could be asked for again.
        headers.remove(header::ETAG);
        return Err(ApiError::not_found(String::from_utf8_lossy(answer.body())).labelled(headers));
    }
    // After it was answered: made-up names push nothing out.
    if app.cache.is_enabled() {
        app.open_views.note(&caller.tenant, &caller.scope, &view, &key, tokio::time::Instant::now());
    }
    Ok(answer)
}

fn label(headers: &mut HeaderMap, answer: &Answer) {
    headers.insert(CACHE_STATUS, cache_status(answer));
    headers.insert(header::ETAG, text(answer.etag().as_bytes()));
    headers.insert(header::AGE, HeaderValue::from(answer.age().as_secs()));
    headers.insert(header::VARY, VARY);
    headers.insert(header::CACHE_CONTROL, PRIVATE);
    headers.insert(NEXARCH_VERSION, HeaderValue::from(answer.version()));
}

/// Written where it needs no memory of its own first.
fn cache_status(answer: &Answer) -> HeaderValue {
    let mut words = [0; STATUS_BYTES];
    let mut rest = words.as_mut_slice();
    let fits = write!(rest, "{}", answer.outcome().cache_status("nexarch")).is_ok();
    let left = rest.len();
    if fits { text(&words[..STATUS_BYTES - left]) } else { HeaderValue::from_static("nexarch") }
}

fn text(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).unwrap_or(HeaderValue::from_static("nexarch"))
}

/// RFC 9110 §13.1.2: weak comparison against every tag of the list.
fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    fn opaque(tag: &str) -> &str {
        tag.trim().trim_start_matches("W/")
    }
    let wanted = opaque(etag);
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|tag| tag.trim() == "*" || opaque(tag) == wanted)
}

/// `Cache-Control` and `Nexarch-Min-Version` of a request. Directives that mean nothing here are ignored, as RFC 9111
/// asks; ours with a value that cannot be read are errors, because ignoring them would break a promise.
pub(super) fn directives(headers: &HeaderMap) -> Result<Directives, ApiError> {
    let mut directives = Directives::default();
    let lists = || headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    if lists().any(Quotes::are_open_after) {
        return Err(ApiError::bad_request("Cache-Control: a quoted string does not end"));
    }
    for directive in lists().flat_map(elements) {
        let (name, value) =
            directive.split_once('=').map_or((directive, None), |(name, value)| (name, Some(value)));
        match (name.trim().to_ascii_lowercase().as_str(), value) {
            ("no-cache", _) => directives.no_cache = true,
            ("only-if-cached", _) => directives.only_if_cached = true,
            ("max-stale", Some(seconds)) => {
                directives.max_stale = Some(delta_seconds(seconds).ok_or_else(|| {
                    ApiError::bad_request("Cache-Control: max-stale needs a whole number of seconds")
                })?);
            }
            // `max-stale` without a number, too: "however old" is what a client may allow and nobody has to serve.
            _ => {}
        }
    }
    // Of several, all are to be kept: the newest.
    for value in headers.get_all(NEXARCH_MIN_VERSION) {
        let version = value.to_str().ok().and_then(|text| decimal(text.trim()));
        let wrong =
            || ApiError::bad_request("Nexarch-Min-Version must be the decimal integer of a Nexarch-Version");
        directives.min_version = directives.min_version.max(version.ok_or_else(wrong)?);
    }
    Ok(directives)
}

/// Inside or outside of quotes (RFC 9110 §5.6.4).
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    fn pass(&mut self, c: char) {
        let begins_or_ends = c == '"' && !self.escaped;
        self.escaped = self.open && c == '\\' && !self.escaped;
        self.open ^= begins_or_ends;
    }

    /// Does a list end inside of them? Then nobody knows which of its commas separate.
    fn are_open_after(list: &str) -> bool {
        let mut quotes = Self::default();
        list.chars().for_each(|c| quotes.pass(c));
        quotes.open
    }
}

/// The elements of a list; a comma inside of quotes is none of its own.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    let mut quotes = Quotes::default();
    list.split(move |c| {
        quotes.pass(c);
        c == ',' && !quotes.open
    })
}

/// Digits and nothing else: `parse` takes a sign as well.
fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// RFC 9111 §1.2.2: a number that is too large is the greatest there is.
fn delta_seconds(text: &str) -> Option<Duration> {
    let digits = text.trim().trim_matches('"');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_quotes_separates_nothing() {
        let list = r#"private="a, no-cache", x="\", ", y="\\", no-cache"#;
        let names: Vec<_> = elements(list).map(str::trim).collect();
        assert_eq!(names, [r#"private="a, no-cache""#, r#"x="\", ""#, r#"y="\\""#, "no-cache"]);
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(r#"private="a, no-cache""#));
        assert!(!directives(&headers).unwrap().no_cache);
    }

    /// What it swallows may bind us.
    #[test]
    fn a_quote_that_does_not_end_is_an_error() {
        let of = |list| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(list));
            directives(&headers)
        };
        for list in [r#"x="a, no-cache"#, r#"no-cache, y="\""#, r#"""#] {
            let error = of(list).unwrap_err();
            assert_eq!(error.status, StatusCode::BAD_REQUEST, "{list}");
            assert!(error.detail.contains("quoted string"), "{}", error.detail);
        }
        assert!(of(r#"x="a\\", no-cache"#).unwrap().no_cache);
    }

    #[test]
    fn a_version_has_digits_only() {
        assert_eq!(["7", "+7", "-7", "", "7 7"].map(decimal), [Some(7), None, None, None, None]);
    }
}
