//! A trace in one line.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{milliseconds, moment};
use crate::{facts::Facts, ids::TraceId};

/// Most services named.
const SERVICES: usize = 50;

/// What a list of traces shows of each.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TraceSummary))]
pub struct Summary {
    /// 32 hex digits.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub trace_id: TraceId,
    /// Start of the earliest span, RFC 3339.
    pub start: String,
    /// From the earliest start to the latest end, milliseconds.
    pub duration_ms: f64,
    /// Number of spans.
    pub span_count: usize,
    /// Number of failed spans.
    pub error_count: usize,
    /// Service of the span with which it begins: the earliest root, or the earliest of all where no root arrived.
    pub root_service: String,
    /// Operation of that span.
    pub root_operation: String,
    /// Did that span fail?
    pub root_error: bool,
    /// Services by number of spans, most first; the first 50.
    pub services: Vec<ServiceShare>,
}

/// How much of a trace is a service's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceShare {
    /// Plain name.
    pub name: String,
    /// Its spans.
    pub span_count: usize,
    /// Of these, how many failed.
    pub error_count: usize,
}

impl Summary {
    /// Of the spans of one trace, each once.
    pub fn of(trace_id: TraceId, spans: &[Facts]) -> Self {
        let start = spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
        let end = spans.iter().map(Facts::end_ns).max().unwrap_or(start);
        // Of equal starts the first by id, whatever the order in which they come.
        let root =
            spans.iter().min_by_key(|span| (span.parent_span_id.is_some(), span.start_ns, span.span_id));
        let mut services: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for span in spans {
            let (count, errors) = services.entry(&span.service).or_default();
            *count += 1;
            *errors += usize::from(span.error);
        }
        let mut services: Vec<ServiceShare> = services
            .into_iter()
            .map(|(name, (span_count, error_count))| ServiceShare {
                name: name.to_owned(),
                span_count,
                error_count,
            })
            .collect();
        // Stable: of equal counts the first by name.
        services.sort_by_key(|service| std::cmp::Reverse(service.span_count));
        services.truncate(SERVICES);
        Self {
            trace_id,
            start: moment(start),
            duration_ms: milliseconds(end - start),
            span_count: spans.len(),
            error_count: spans.iter().filter(|span| span.error).count(),
            root_service: root.map_or_else(String::new, |span| span.service.to_string()),
            root_operation: root.map_or_else(String::new, |span| span.name.to_string()),
            root_error: root.is_some_and(|span| span.error),
            services,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::testing::*;

    #[test]
    fn a_trace_in_one_line() {
        let failed = Facts { error: true, duration_ns: Some(9_000_000), ..server("pay", 3, 2) };
        let spans = [failed.clone(), client("shop", 2, 1), local("shop", 1, 0)];
        let found = Summary::of(failed.trace_id, &spans);
        assert_eq!((&*found.root_service, &*found.root_operation, found.root_error), ("shop", "op1", false));
        assert_eq!((found.span_count, found.error_count), (3, 1));
        // From 1 µs to 3 µs + 9 ms.
        assert!((found.duration_ms - 9.002).abs() < 1e-9, "{}", found.duration_ms);
        let share =
            |name: &str, span_count, error_count| ServiceShare { name: name.into(), span_count, error_count };
        assert_eq!(found.services, [share("shop", 2, 0), share("pay", 1, 1)]);
        let mut turned = spans.clone();
        turned.reverse();
        assert_eq!(Summary::of(failed.trace_id, &turned), found);
        assert_eq!(Summary::of(failed.trace_id, &spans[..2]).root_operation, "op2", "no root arrived");
        assert_eq!(Summary::of(failed.trace_id, &[]).span_count, 0);
    }
}
