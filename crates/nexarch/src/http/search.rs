//! Looking for traces.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use nexarch_core::{
    facts::{Facts, MAX_FACT_BYTES},
    span::{Span, Value, attribute},
    trace::Summary,
    window::{Minutes, WindowView},
};
use nexarch_store::{FactsFit, Scope, Search, SearchPlace, SpanFits};
use serde::Serialize;

use super::{caller::caller, error::ApiError, params::Params};
use crate::{app::App, auth::Caller, view::Range};

const MINUTE_NS: u64 = 60_000_000_000;
/// Traces of a page, unless asked for otherwise …
const USUAL: usize = 20;
/// … and at most.
const MOST: usize = 100;

const KNOWN: &[&str] = &[
    "window",
    "from",
    "to",
    "environment",
    "service",
    "operation",
    "min_duration_ms",
    "max_duration_ms",
    "error",
    "attribute",
    "limit",
    "cursor",
];

/// A page of traces.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TracePage {
    /// Newest first, by the hour in which their newest fitting span started.
    traces: Vec<FoundTrace>,
    /// For the next page, with the same conditions; `null` when all of the window was looked at. A page may have fewer
    /// traces than asked for, or none, and be followed by others: each looks at a bounded number of spans.
    next_cursor: Option<String>,
    /// Spans that this page looked at.
    scanned_spans: u64,
    /// What was looked at.
    window: WindowView,
}

/// A trace in a page.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FoundTrace {
    /// Its id, size and outcome.
    #[serde(flatten)]
    summary: Summary,
    /// How many of its spans fit.
    matching_spans: usize,
    /// It is too large to be read whole here: its figures are of a part, and another page may list it again.
    partial: bool,
}

/// Traces with a span that fits all conditions: `service`, `operation`, `min_duration_ms`, `max_duration_ms`, `error`,
/// `attribute` (`key=value`, or `key` alone for any value; of the span or of its sender). Newest first, page by page.
#[utoipa::path(get, path = "/api/v1/traces", tag = "traces", params(super::openapi::SearchParams), responses((status = 200, body = TracePage), (status = 400)))]
pub(super) async fn search(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    let params = Params::parse(&uri, KNOWN)?;
    let asked = Range::parse(&params)?;
    let conditions = Conditions::parse(&params)?;
    let limit = number(&params, "limit")?.unwrap_or(USUAL);
    if limit == 0 || limit > MOST {
        return Err(ApiError::bad_request(format!("limit must be from 1 to {MOST}")));
    }
    let cursor = params.get("cursor").map(Cursor::parse).transpose()?;
    let (reading, by) = (Arc::clone(&app), Arc::clone(&caller));
    let work = async move { page(&reading, &by, asked, conditions, cursor, limit).await };
    Ok(Json(app.answer_in_turn(&caller.tenant, work).await?).into_response())
}

async fn page(
    app: &App,
    caller: &Caller,
    asked: Range,
    conditions: Conditions,
    cursor: Option<Cursor>,
    limit: usize,
) -> Result<TracePage, ApiError> {
    let mut snapshot = app.store.snapshot(&caller.tenant).await?;
    // A named window moves with the data: later pages go on in the one that the first looked at.
    let minutes = match &cursor {
        Some(cursor) => cursor.minutes,
        None => asked.minutes(snapshot.newest_ns()),
    };
    let found = snapshot
        .search(Search {
            // A cursor may be made up: then it ends where time does.
            from_ns: u64::from(minutes.from).saturating_mul(MINUTE_NS),
            to_ns: u64::from(minutes.to).saturating_mul(MINUTE_NS),
            after: cursor.map(|cursor| cursor.place),
            limit,
            whole: conditions.whole(),
            fits: conditions.fits(asked.environment().map(str::to_owned)),
        })
        .await?;
    let traces = found.traces.iter().map(|trace| FoundTrace {
        summary: Summary::of(trace.trace, &trace.spans),
        matching_spans: trace.fitting,
        partial: trace.partial,
    });
    Ok(TracePage {
        traces: traces.collect(),
        next_cursor: found.next.map(|place| Cursor { minutes, place }.to_string()),
        scanned_spans: found.scanned,
        window: asked.window_of(minutes),
    })
}

/// What a span has to be like.
#[derive(Debug, Clone, Default, PartialEq)]
struct Conditions {
    service: Option<String>,
    operation: Option<String>,
    /// Nanoseconds.
    shortest: Option<u64>,
    longest: Option<u64>,
    error: Option<bool>,
    attribute: Option<(String, Option<String>)>,
}

impl Conditions {
    fn parse(params: &Params) -> Result<Self, ApiError> {
        let text = |name: &str| params.get(name).map(str::to_owned);
        // As names are kept.
        let name = |name: &str| {
            params.get(name).map(|text| text[..text.floor_char_boundary(MAX_FACT_BYTES)].to_owned())
        };
        let error = match params.get("error") {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(ApiError::bad_request("error must be true or false")),
        };
        let attribute = text("attribute").map(|text| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text, None),
        });
        if attribute.as_ref().is_some_and(|(key, _)| key.is_empty()) {
            return Err(ApiError::bad_request("attribute must be key=value, or a key alone"));
        }
        let (shortest, longest) =
            (duration(params, "min_duration_ms")?, duration(params, "max_duration_ms")?);
        if shortest.zip(longest).is_some_and(|(shortest, longest)| shortest > longest) {
            return Err(ApiError::bad_request("min_duration_ms must not be above max_duration_ms"));
        }
        Ok(Self {
            service: name("service"),
            operation: name("operation"),
            shortest,
            longest,
            error,
            attribute,
        })
    }

    fn fits(self, environment: Option<String>) -> FactsFit {
        Arc::new(move |facts: &Facts| {
            let same =
                |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| wanted == text);
            let timed = |wanted: Option<u64>, fits: fn(u64, u64) -> bool| {
                wanted.is_none_or(|wanted| facts.duration_ns.is_some_and(|ns| fits(ns, wanted)))
            };
            same(&self.service, &facts.service)
                && same(&self.operation, &facts.name)
                && same(&environment, &facts.environment)
                && self.error.is_none_or(|wanted| facts.error == wanted)
                && timed(self.shortest, |ns, wanted| ns >= wanted)
                && timed(self.longest, |ns, wanted| ns <= wanted)
        })
    }

    /// Only attributes need more than the hot part of a span.
    fn whole(&self) -> Option<SpanFits> {
        let (key, wanted) = self.attribute.clone()?;
        Some(Arc::new(move |span: &Span| {
            let own = attribute(&span.attributes, &key);
            let value = own.or_else(|| attribute(&span.resource.attributes, &key));
            value.is_some_and(|value| wanted.as_ref().is_none_or(|wanted| shows_as(value, wanted)))
        }))
    }
}

/// Is it what a person would write for the value? Lists fit by any of their elements.
fn shows_as(value: &Value, text: &str) -> bool {
    match value {
        Value::Str(value) => value == text,
        Value::Bool(value) => text == if *value { "true" } else { "false" },
        Value::Int(value) => text.parse() == Ok(*value),
        Value::Double(value) => text.parse() == Ok(*value),
        Value::Array(values) => values.iter().any(|value| shows_as(value, text)),
        Value::Null | Value::Bytes(_) | Value::Map(_) => false,
    }
}

/// Nanoseconds, from a number of milliseconds.
fn duration(params: &Params, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let ms: f64 = text.parse().unwrap_or(f64::NAN);
    // A year, in milliseconds.
    if (0.0..=3.2e10).contains(&ms) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        return Ok(Some((ms * 1e6).round() as u64));
    }
    Err(ApiError::bad_request(format!("{name} must be a number of milliseconds")))
}

fn number(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    let wrong = |_| ApiError::bad_request(format!("{name} must be a whole number"));
    params.get(name).map(|text| text.parse().map_err(wrong)).transpose()
}

/// Where the next page begins, and in which minutes. Not secret and not signed: whoever changes it looks elsewhere in
/// what is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    minutes: Minutes,
    place: SearchPlace,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Minutes { from, to }, SearchPlace { hour, chunk, passed }) = (self.minutes, self.place);
        write!(f, "{from:x}.{to:x}.{hour:x}.{chunk:x}.{passed:x}")
    }
}

impl Cursor {
    fn parse(text: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::bad_request("cursor must be a next_cursor of this route");
        let parts: Vec<u64> = text
            .split('.')
            .map(|part| u64::from_str_radix(part, 16).map_err(|_| wrong()))
            .collect::<Result<_, _>>()?;
        let [from, to, hour, chunk, passed] = parts[..] else { return Err(wrong()) };
        let small = |number: u64| u32::try_from(number).map_err(|_| wrong());
        Ok(Self {
            minutes: Minutes { from: small(from)?, to: small(to)? },
            place: SearchPlace {
                hour,
                chunk: i64::try_from(chunk).map_err(|_| wrong())?,
                passed: small(passed)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_says_the_same_in_words() {
        let cursor = Cursor {
            minutes: Minutes { from: 29_000_000, to: 29_001_440 },
            place: SearchPlace { hour: 483_333, chunk: 17, passed: u32::MAX },
        };
        assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
        for wrong in [
            "",
            "1.2.3.4",
            "1.2.3.4.5.6",
            "x.2.3.4.5",
            "1.2.3.4.1ffffffff",
            "1.2.3.-4.5",
            "fffffffff.2.3.4.5",
        ] {
            assert!(Cursor::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_fit_as_they_are_written() {
        for (value, text) in [
            (Value::Str("a=b".into()), "a=b"),
            (Value::Bool(true), "true"),
            (Value::Int(-3), "-3"),
            (Value::Double(0.5), "0.5"),
            (Value::Array(vec![Value::Int(1), Value::Str("x".into())]), "x"),
        ] {
            assert!(shows_as(&value, text), "{text}");
            assert!(!shows_as(&value, "other"));
        }
        assert!(!shows_as(&Value::Null, ""));
    }
}
