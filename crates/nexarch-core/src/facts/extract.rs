//! From attributes to facts: which name says what, and what wins over what.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use super::{
    Facts, MAX_FACT_BYTES, Patterns, RemoteKind, SAMPLING_KNOWN, address::host, content, extra, pattern::Seen,
};
use crate::{
    Text,
    attributes::{Known, Slots, UNKNOWN_SERVICE},
    span::{Kind, Resource, Span, Status, Value},
    weight,
};

/// What the resource alone says; the same for all its spans.
pub(super) struct Sender {
    service: Text,
    namespace: Option<Text>,
    environment: Option<Text>,
    instance: u64,
    hash: u64,
}

impl Sender {
    pub(super) fn of(resource: &Resource) -> Self {
        let slots = Slots::read(&resource.attributes);
        Self {
            service: slots.text(&[Known::ServiceName]).map_or(Text::from_static(UNKNOWN_SERVICE), own),
            namespace: namespace(&slots).map(own),
            environment: environment(&slots).map(own),
            instance: instance(&slots),
            hash: content::hash_resource(resource),
        }
    }
}

fn namespace<'a>(slots: &Slots<'a>) -> Option<Cow<'a, str>> {
    slots.text(&[Known::ServiceNamespace])
}

fn environment<'a>(slots: &Slots<'a>) -> Option<Cow<'a, str>> {
    slots.text(&[Known::Environment, Known::EnvironmentOld])
}

fn own(text: Cow<'_, str>) -> Text {
    Text::from(&*short(text))
}

/// The first of `service.instance.id`, `k8s.pod.name`, `host.id`, `host.name`, hashed; 0 when there is none, and only
/// then.
fn instance(slots: &Slots<'_>) -> u64 {
    slots
        .text(&[Known::ServiceInstanceId, Known::PodName, Known::HostId, Known::HostName])
        .map_or(0, |text| xxh3_64(text.as_bytes()).max(1))
}

/// What goes from span to span, to save work.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) patterns: Patterns,
    pub(super) buffer: Vec<u8>,
}

/// The facts of one span of this sender; `scope` is the hash of its scope. Namespace and environment are looked for in the span's own attributes, too:
/// the native format has no resource.
pub(super) fn extract<'a>(span: &'a Span, sender: &'a Sender, scope: u64, kept: &mut Kept) -> Facts {
    let slots = Slots::read(&span.attributes);
    let Remote { kind: remote_kind, protocol, target } = remote(&slots);
    let threshold = weight::threshold(&span.trace_state);
    let of_sender = |text: &'a Option<Text>| text.as_ref().map(|text| Cow::Borrowed(&**text));
    let pattern = Seen {
        texts: [
            Cow::Borrowed(&*span.name),
            Cow::Borrowed(&*sender.service),
            of_sender(&sender.namespace).or_else(|| namespace(&slots)).unwrap_or_default(),
            of_sender(&sender.environment).or_else(|| environment(&slots)).unwrap_or_default(),
            slots.text(&[Known::ServicePeerName, Known::PeerService]).unwrap_or_default(),
            address(&slots, span.kind).unwrap_or_default(),
            protocol,
            target,
        ]
        .map(short),
        instance: sender.instance,
        remote_kind,
        messaging: extra::messaging(&slots, span.kind, remote_kind),
    };
    Facts {
        trace_id: span.trace_id,
        span_id: span.span_id,
        parent_span_id: span.parent_span_id,
        remote: ((span.flags >> 8) & 0b11) as u8 | if threshold.is_some() { SAMPLING_KNOWN } else { 0 },
        kind: span.kind,
        error: span.status == Status::Error,
        start_ns: span.start_ns,
        duration_ns: span.end_ns.map(|end| end.saturating_sub(span.start_ns)),
        weight: weight::of_threshold(threshold),
        pattern: kept.patterns.keep_seen(&pattern),
        extra: extra::extra(span, &slots, remote_kind),
        content: content::hash_span(span, sender.hash, scope, &mut kept.buffer),
    }
}

/// Addresses of the remote side as a caller sees it, in the order of rule R4; then what else old clients send.
const CALLED: [Known; 9] = [
    Known::ServerAddress,
    Known::UrlFull,
    Known::HttpUrl,
    Known::NetPeerName,
    Known::HttpHost,
    Known::NetworkPeerAddress,
    Known::NetSockPeerName,
    Known::NetPeerIp,
    Known::NetSockPeerAddr,
];

/// Addresses of the remote side as a server sees it: `server.address`, `http.host` and URLs are its own.
const CALLER: [Known; 6] = [
    Known::ClientAddress,
    Known::NetPeerName,
    Known::NetworkPeerAddress,
    Known::NetSockPeerName,
    Known::NetPeerIp,
    Known::NetSockPeerAddr,
];

/// The first address that holds a host. To a consumer `server.address` is its broker, hence remote.
fn address<'a>(slots: &Slots<'a>, kind: Kind) -> Option<Cow<'a, str>> {
    let names: &[Known] = if kind == Kind::Server { &CALLER } else { &CALLED };
    names.iter().find_map(|name| host(slots.text(&[*name])?))
}

struct Remote<'a> {
    kind: RemoteKind,
    protocol: Cow<'a, str>,
    target: Cow<'a, str>,
}

/// Database over queue over model over rpc over HTTP: `DynamoDB` and Elasticsearch speak HTTP, and a database is what
/// they are (rule R6); a model call goes over HTTP as well (rule R8).
fn remote<'a>(slots: &Slots<'a>) -> Remote<'a> {
    if let Some(system) = slots.text(&[Known::DbSystem, Known::DbSystemOld]).map(lower) {
        let kind = match &*system {
            "redis" | "valkey" | "memcached" => RemoteKind::Cache,
            _ => RemoteKind::Database,
        };
        return Remote { kind, protocol: system, target: slots.text(&DB_NAMESPACE).unwrap_or_default() };
    }
    if slots.text(&MESSAGING).is_some() {
        let protocol = slots.text(&[Known::MessagingSystem]).map(lower).unwrap_or_default();
        return Remote { kind: RemoteKind::Queue, protocol, target: destination(slots) };
    }
    if let Some(model) = model(slots) {
        let provider = slots.text(&[Known::GenAiProvider, Known::GenAiSystem]).map(lower).unwrap_or_default();
        return Remote { kind: RemoteKind::Model, protocol: provider, target: model };
    }
    let protocol = if let Some(system) = slots.text(&[Known::RpcSystem, Known::RpcSystemOld]) {
        lower(system)
    } else if slots.any(&[Known::RpcGrpcStatus]) {
        "grpc".into()
    } else if slots.any(&HTTP) {
        "http".into()
    } else {
        Cow::default()
    };
    Remote { kind: RemoteKind::Service, protocol, target: Cow::default() }
}

const DB_NAMESPACE: [Known; 4] =
    [Known::DbNamespace, Known::DbName, Known::DbRedisIndex, Known::DbElasticCluster];

/// Any of these says that HTTP is spoken.
const HTTP: [Known; 6] = [
    Known::HttpMethod,
    Known::HttpMethodOld,
    Known::HttpStatus,
    Known::HttpStatusOld,
    Known::UrlFull,
    Known::HttpUrl,
];

/// Any of these names a queue.
const MESSAGING: [Known; 4] = [
    Known::MessagingSystem,
    Known::MessagingDestination,
    Known::MessagingDestinationOld,
    Known::MessagingTemplate,
];

/// A template stands for all names made from it; temporary and anonymous destinations are folded into one, since their
/// names are random (rule R7).
fn destination<'a>(slots: &Slots<'a>) -> Cow<'a, str> {
    if let Some(template) = slots.text(&[Known::MessagingTemplate]) {
        return template;
    }
    let is = |name| matches!(slots.get(name), Some(Value::Bool(true)));
    if is(Known::MessagingTemporary) || is(Known::MessagingAnonymous) {
        return "(temporary)".into();
    }
    slots.text(&[Known::MessagingDestination, Known::MessagingDestinationOld]).unwrap_or_default()
}

/// The model that a `GenAI` span calls; `None` when it calls none: agents and tools carry the same attributes.
fn model<'a>(slots: &Slots<'a>) -> Option<Cow<'a, str>> {
    let operation = slots.text(&[Known::GenAiOperation]);
    if matches!(
        operation.as_deref(),
        Some("execute_tool" | "invoke_agent" | "create_agent" | "invoke_workflow")
    ) {
        return None;
    }
    slots.text(&[Known::GenAiResponse, Known::GenAiRequest])
}

fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text }
}

/// Facts become names of nodes and rows: a hostile length is cut.
pub(super) fn short(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= MAX_FACT_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(MAX_FACT_BYTES);
    match text {
        Cow::Borrowed(text) => text[..end].into(),
        Cow::Owned(text) => text[..end].to_owned().into(),
    }
}
