//! The server's own traces, sent by OTLP like anybody's: to another server, or to itself.
//!
//! A trace begins with a request, and with nothing else: what the server does by itself (it looks at its database four times a
//! second) would drown it. A request that brings a trace sends its answer there. A request that says that it must not be traced
//! (`Nexarch-Untraced`) is not, and this module says so of everything that it sends: or a server pointed at itself would
//! trace the sending of the trace of the sending.

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use axum::http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{Link, SpanContext, SpanKind, TraceContextExt, TraceId, TraceState, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample},
};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use crate::{config::TracesConfig, http::UNTRACED};

/// How long one request with spans may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Of these, spans and their events are sent; the names of crates.
const OURS: &str = "nexarch=debug,nexarch_cache=debug,nexarch_store=debug";

/// Sends what is left when dropped, for at most some seconds; outside of a runtime.
pub(crate) struct Flush(SdkTracerProvider);

impl Drop for Flush {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// What turns spans of this program into traces, and sends them behind.
pub(crate) fn layer<S>(config: &TracesConfig) -> anyhow::Result<(impl Layer<S> + use<S>, Flush)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let untraced = (UNTRACED.as_str().to_owned(), "1".to_owned());
    let headers: HashMap<_, _> = config.headers.iter().cloned().chain([untraced]).collect();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(config.endpoint.as_str())
        .with_timeout(TIMEOUT)
        .with_headers(headers)
        .build()
        .context("OTEL_EXPORTER_OTLP_ENDPOINT cannot be sent to")?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource =
        Resource::builder().with_service_name(config.service.clone()).with_attribute(version).build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Requests)
        .with_resource(resource)
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("nexarch"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(OURS.parse::<Targets>()?);
    Ok((layer, Flush(provider)))
}

/// Lets `span` go on the trace that a request brings (W3C Trace Context), if it brings one.
pub(crate) fn continue_trace(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        // Without a layer there is nothing to be continued.
        let _ = span.set_parent(parent);
    }
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// Samples requests, and what happens for them.
#[derive(Debug, Clone)]
struct Requests;

impl ShouldSample for Requests {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _: TraceId,
        _: &str,
        kind: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        let parent =
            parent.map(|context| context.span().span_context().clone()).filter(SpanContext::is_valid);
        let sampled = parent.as_ref().map_or(*kind == SpanKind::Server, SpanContext::is_sampled);
        SamplingResult {
            decision: if sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
            attributes: Vec::new(),
            trace_state: parent.map_or_else(TraceState::default, |parent| parent.trace_state().clone()),
        }
    }
}
