//! Calls between services: a CLIENT span here, a SERVER span there, the network between.

use nexarch_core::{
    Text,
    ids::SpanId,
    span::{Attributes, Kind},
};

use super::{
    attributes::{fixed, int, text},
    handler::{Handler, Record, Request},
    landscape::{Dialect, Service},
};

/// One way through the network of the cluster, median in microseconds.
pub(super) const NETWORK_US: u64 = 350;
/// Share of requests that a service fails for no reason that anybody would look into.
const BACKGROUND_FAILURES: f64 = 0.000_8;
/// Where services listen.
const PORT: u16 = 8080;

/// Something that a service offers.
pub(super) struct Endpoint {
    pub(super) service: Service,
    pub(super) protocol: Protocol,
    /// Route, or fully qualified gRPC method.
    pub(super) route: &'static str,
    /// Does the work and answers a status in the sense of HTTP.
    pub(super) serve: fn(&mut Handler<'_, '_>) -> u16,
}

/// How it is called.
#[derive(Clone, Copy)]
pub(super) enum Protocol {
    /// With this method.
    Http(&'static str),
    Grpc,
}

impl Endpoint {
    /// The route with its placeholders filled in for a request.
    fn path(&self, request: &Request<'_>) -> String {
        self.route
            .replace("{product_id}", &request.product.to_string())
            .replace("{user_id}", &request.user.to_string())
            .replace("{order_id}", &request.order.to_string())
    }

    fn server_name(&self) -> Text {
        match self.protocol {
            Protocol::Http(method) => format!("{method} {}", self.route).into(),
            Protocol::Grpc => Text::from_static(self.route),
        }
    }

    fn client_name(&self) -> Text {
        match self.protocol {
            Protocol::Http(method) => Text::from_static(method),
            Protocol::Grpc => Text::from_static(self.route),
        }
    }

    fn server_attributes(&self, request: &Request<'_>, status: u16) -> Attributes {
        let profile = self.service.profile();
        match (self.protocol, profile.dialect) {
            (Protocol::Http(method), Dialect::Stable) => vec![
                fixed("http.request.method", method),
                fixed("url.scheme", "http"),
                text("url.path", self.path(request)),
                fixed("http.route", self.route),
                int("http.response.status_code", status),
                fixed("server.address", profile.host),
                int("server.port", PORT),
            ],
            (Protocol::Http(method), Dialect::Old) => vec![
                fixed("http.method", method),
                fixed("http.scheme", "http"),
                text("http.target", self.path(request)),
                fixed("http.route", self.route),
                int("http.status_code", status),
                fixed("net.host.name", profile.host),
                int("net.host.port", PORT),
            ],
            (Protocol::Grpc, dialect) => self.rpc_attributes(dialect, status),
        }
    }

    /// As the caller names things: in its own dialect, not in that of the server.
    fn client_attributes(&self, caller: Dialect, request: &Request<'_>, status: u16) -> Attributes {
        let host = self.service.profile().host;
        let url = || format!("http://{host}:{PORT}{}", self.path(request));
        match (self.protocol, caller) {
            (Protocol::Http(method), Dialect::Stable) => vec![
                fixed("http.request.method", method),
                text("url.full", url()),
                int("http.response.status_code", status),
                fixed("server.address", host),
                int("server.port", PORT),
            ],
            (Protocol::Http(method), Dialect::Old) => vec![
                fixed("http.method", method),
                text("http.url", url()),
                int("http.status_code", status),
                fixed("net.peer.name", host),
                int("net.peer.port", PORT),
            ],
            (Protocol::Grpc, dialect) => self.rpc_attributes(dialect, status),
        }
    }

    fn rpc_attributes(&self, dialect: Dialect, status: u16) -> Attributes {
        let host = self.service.profile().host;
        let (code, code_name) = grpc_status(status);
        match dialect {
            Dialect::Stable => vec![
                fixed("rpc.system.name", "grpc"),
                fixed("rpc.method", self.route),
                fixed("rpc.response.status_code", code_name),
                fixed("server.address", host),
                int("server.port", PORT),
            ],
            Dialect::Old => {
                let (service, method) = self.route.split_once('/').unwrap_or((self.route, ""));
                vec![
                    fixed("rpc.system", "grpc"),
                    fixed("rpc.service", service),
                    fixed("rpc.method", method),
                    int("rpc.grpc.status_code", code),
                    fixed("net.peer.name", host),
                    int("net.peer.port", PORT),
                ]
            }
        }
    }
}

impl Handler<'_, '_> {
    /// Calls an endpoint and waits for its answer.
    pub(super) fn call(&mut self, endpoint: &Endpoint) -> u16 {
        let start_ns = self.now_ns;
        let span_id = self.request.span_id();
        self.work(NETWORK_US);
        let callee = Handler::next(self.request, endpoint.service, self.trace_id, self.now_ns);
        let (status, answered_ns) = callee.serve(endpoint, Some(span_id));
        self.now_ns = answered_ns;
        self.work(NETWORK_US);
        let mut attributes = endpoint.client_attributes(self.service.profile().dialect, self.request, status);
        // A caller counts a 4xx as an error, the server does not (HTTP semantic conventions).
        let failed = status >= 400;
        if failed {
            attributes.push(text("error.type", status.to_string()));
        }
        self.record(Record {
            span_id,
            parent: Some(self.span_id),
            remote_parent: false,
            name: endpoint.client_name(),
            kind: Kind::Client,
            start_ns,
            failed,
            attributes,
            events: Vec::new(),
            links: Vec::new(),
        });
        status
    }

    /// Serves an endpoint: its status, and when the answer left.
    pub(super) fn serve(mut self, endpoint: &Endpoint, parent: Option<SpanId>) -> (u16, u64) {
        let start_ns = self.now_ns;
        self.work(900);
        let status = if self.request.chance.happens(BACKGROUND_FAILURES) {
            self.exception("ConnectionReset", "connection reset by peer");
            500
        } else {
            (endpoint.serve)(&mut self)
        };
        self.work(300);
        let mut attributes = endpoint.server_attributes(self.request, status);
        let failed = status >= 500;
        if failed {
            attributes.push(text("error.type", status.to_string()));
        }
        let events = std::mem::take(&mut self.events);
        self.record(Record {
            span_id: self.span_id,
            parent,
            remote_parent: parent.is_some(),
            name: endpoint.server_name(),
            kind: Kind::Server,
            start_ns,
            failed,
            attributes,
            events,
            links: Vec::new(),
        });
        (status, self.now_ns)
    }
}

/// Number and name of the gRPC status that says what this HTTP status says.
fn grpc_status(status: u16) -> (u16, &'static str) {
    match status {
        200..400 => (0, "OK"),
        404 => (5, "NOT_FOUND"),
        503 => (14, "UNAVAILABLE"),
        400..500 => (9, "FAILED_PRECONDITION"),
        _ => (13, "INTERNAL"),
    }
}
