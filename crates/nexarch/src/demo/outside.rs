//! What services lean on and what sends no spans itself: databases, the cache, the queue, the payment provider.

use nexarch_core::{
    Text,
    span::{Attributes, Kind, Link},
};

use super::{
    attributes::{fixed, int, text},
    handler::{Handler, Record},
    landscape::{Dialect, Service},
};

/// A database server and the database on it that the shop uses.
pub(super) struct Database {
    system: &'static str,
    host: &'static str,
    port: u16,
    namespace: &'static str,
}

const fn postgresql(host: &'static str, namespace: &'static str) -> Database {
    Database { system: "postgresql", host, port: 5432, namespace }
}

pub(super) const ORDERS_DB: Database = postgresql("orders-db.shop.internal", "orders");
pub(super) const USERS_DB: Database = postgresql("users-db.shop.internal", "users");
pub(super) const INVENTORY_DB: Database = postgresql("inventory-db.shop.internal", "inventory");
pub(super) const CATALOG_DB: Database =
    Database { system: "mongodb", host: "catalog-db.shop.internal", port: 27017, namespace: "catalog" };
pub(super) const SEARCH_INDEX: Database = Database {
    system: "elasticsearch",
    host: "search-index.shop.internal",
    port: 9200,
    namespace: "products",
};
const CACHE: Database = Database { system: "redis", host: "cache.shop.internal", port: 6379, namespace: "0" };

const PROVIDER: &str = "api.cardpay.example";
const BROKER: &str = "kafka.shop.internal";

/// A topic of the queue.
pub(super) const ORDERS_PLACED: &str = "orders.placed";

/// A statement.
pub(super) struct Query {
    pub(super) operation: &'static str,
    pub(super) collection: &'static str,
    pub(super) text: &'static str,
    /// Median time that the database takes, microseconds.
    pub(super) median_us: u64,
}

impl Handler<'_, '_> {
    /// Asks a database.
    pub(super) fn query(&mut self, database: &Database, query: &Query) {
        let start_ns = self.now_ns;
        self.work(query.median_us);
        let name = format!("{} {}", query.operation, query.collection);
        let mut attributes = match self.service.profile().dialect {
            Dialect::Stable => vec![
                fixed("db.system.name", database.system),
                fixed("db.namespace", database.namespace),
                fixed("db.collection.name", query.collection),
                fixed("db.operation.name", query.operation),
                fixed("db.query.text", query.text),
                text("db.query.summary", name.as_str()),
            ],
            Dialect::Old => vec![
                fixed("db.system", database.system),
                fixed("db.name", database.namespace),
                fixed(
                    if database.system == "mongodb" { "db.mongodb.collection" } else { "db.sql.table" },
                    query.collection,
                ),
                fixed("db.operation", query.operation),
                fixed("db.statement", query.text),
            ],
        };
        attributes.extend(self.peer(database.host, database.port));
        self.leaf(Kind::Client, name.into(), start_ns, false, attributes);
    }

    /// Uses the cache.
    pub(super) fn cache(&mut self, command: &'static str, key: &str) {
        let start_ns = self.now_ns;
        self.work(420);
        let statement = format!("{command} {key}");
        let mut attributes = match self.service.profile().dialect {
            Dialect::Stable => vec![
                fixed("db.system.name", CACHE.system),
                fixed("db.namespace", CACHE.namespace),
                fixed("db.operation.name", command),
                text("db.query.text", statement),
            ],
            Dialect::Old => vec![
                fixed("db.system", CACHE.system),
                int("db.redis.database_index", 0),
                fixed("db.operation", command),
                text("db.statement", statement),
            ],
        };
        attributes.extend(self.peer(CACHE.host, CACHE.port));
        self.leaf(Kind::Client, Text::from_static(command), start_ns, false, attributes);
    }

    /// Charges a card at the payment provider, who sends no spans; answers its HTTP status.
    pub(super) fn provider(&mut self) -> u16 {
        let start_ns = self.now_ns;
        self.work(110_000);
        let status = match self.request.chance.unit() {
            dice if dice < 0.002 => 503,
            dice if dice < 0.012 => 402,
            _ => 201,
        };
        let mut attributes = vec![
            fixed("http.request.method", "POST"),
            text("url.full", format!("https://{PROVIDER}/v2/charges")),
            int("http.response.status_code", status),
            fixed("server.address", PROVIDER),
            int("server.port", 443),
        ];
        if status >= 400 {
            attributes.push(text("error.type", status.to_string()));
        }
        self.leaf(Kind::Client, Text::from_static("POST"), start_ns, status >= 400, attributes);
        status
    }

    /// Publishes a message; answers the link by which a consumer names it.
    pub(super) fn publish(&mut self, topic: &'static str) -> Link {
        let start_ns = self.now_ns;
        self.work(1_800);
        let mut attributes = messaging(topic, "send");
        attributes.extend(self.peer(BROKER, 9092));
        let span_id = self.leaf(Kind::Producer, format!("send {topic}").into(), start_ns, false, attributes);
        Link {
            trace_id: self.trace_id,
            span_id,
            trace_state: self.request.trace_state.clone(),
            flags: 0,
            attributes: Vec::new(),
        }
    }

    /// Has another service process a message some time later, in a CONSUMER span that links to its producer:
    /// inside the trace of the producer, or as the root of a later one.
    pub(super) fn deliver(
        &mut self,
        to: Service,
        topic: &'static str,
        message: Link,
        same_trace: bool,
        process: fn(&mut Handler<'_, '_>) -> bool,
    ) {
        // The message waits while its producer goes on: the producer's clock is not moved.
        let producer_ns = self.now_ns;
        self.work(60_000);
        let start_ns = std::mem::replace(&mut self.now_ns, producer_ns);
        let trace_id = if same_trace { self.trace_id } else { self.request.later_trace_id };
        let mut consumer = Handler::next(self.request, to, trace_id, start_ns);
        let fine = process(&mut consumer);
        let mut attributes = messaging(topic, "process");
        attributes.push(fixed("messaging.consumer.group.name", to.profile().name));
        attributes.extend(consumer.peer(BROKER, 9092));
        let events = std::mem::take(&mut consumer.events);
        consumer.record(Record {
            span_id: consumer.span_id,
            parent: same_trace.then_some(message.span_id),
            remote_parent: same_trace,
            name: format!("process {topic}").into(),
            kind: Kind::Consumer,
            start_ns,
            failed: !fine,
            attributes,
            events,
            links: vec![message],
        });
    }

    /// Records a span of this service that has no span below it.
    fn leaf(
        &mut self,
        kind: Kind,
        name: Text,
        start_ns: u64,
        failed: bool,
        attributes: Attributes,
    ) -> nexarch_core::ids::SpanId {
        let span_id = self.request.span_id();
        self.record(Record {
            span_id,
            parent: Some(self.span_id),
            remote_parent: false,
            name,
            kind,
            start_ns,
            failed,
            attributes,
            events: Vec::new(),
            links: Vec::new(),
        });
        span_id
    }

    /// The other side's address, in the words of this service.
    fn peer(&self, host: &'static str, port: u16) -> Attributes {
        match self.service.profile().dialect {
            Dialect::Stable => vec![fixed("server.address", host), int("server.port", port)],
            Dialect::Old => vec![fixed("net.peer.name", host), int("net.peer.port", port)],
        }
    }
}

/// What producer and consumer say alike.
fn messaging(topic: &'static str, operation: &'static str) -> Attributes {
    vec![
        fixed("messaging.system", "kafka"),
        fixed("messaging.destination.name", topic),
        fixed("messaging.operation.type", operation),
        fixed("messaging.operation.name", operation),
    ]
}
