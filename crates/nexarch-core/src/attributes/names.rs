//! Names of attributes: those that inference reads, and others that are common, found by one look into a table.

use crate::Text;

macro_rules! names {
    ($($variant:ident = $name:literal,)*) => {
        /// An attribute that inference reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Known { $($variant,)* }

        /// What they are called.
        pub(super) const NAMES: &[(&str, Known)] = &[$(($name, Known::$variant),)*];
    };
}

names! {
    ServiceName = "service.name",
    ServiceNamespace = "service.namespace",
    ServiceInstanceId = "service.instance.id",
    Environment = "deployment.environment.name",
    EnvironmentOld = "deployment.environment",
    PodName = "k8s.pod.name",
    HostId = "host.id",
    HostName = "host.name",

    ServicePeerName = "service.peer.name",
    PeerService = "peer.service",

    ServerAddress = "server.address",
    ClientAddress = "client.address",
    NetworkPeerAddress = "network.peer.address",
    UrlFull = "url.full",
    HttpUrl = "http.url",
    NetPeerName = "net.peer.name",
    NetPeerIp = "net.peer.ip",
    NetSockPeerName = "net.sock.peer.name",
    NetSockPeerAddr = "net.sock.peer.addr",
    HttpHost = "http.host",

    HttpMethod = "http.request.method",
    HttpMethodOld = "http.method",
    HttpStatus = "http.response.status_code",
    HttpStatusOld = "http.status_code",

    RpcSystem = "rpc.system.name",
    RpcSystemOld = "rpc.system",
    RpcGrpcStatus = "rpc.grpc.status_code",

    DbSystem = "db.system.name",
    DbSystemOld = "db.system",
    DbNamespace = "db.namespace",
    DbName = "db.name",
    DbRedisIndex = "db.redis.database_index",
    DbElasticCluster = "db.elasticsearch.cluster.name",

    MessagingSystem = "messaging.system",
    MessagingTemplate = "messaging.destination.template",
    MessagingDestination = "messaging.destination.name",
    MessagingDestinationOld = "messaging.destination",
    MessagingTemporary = "messaging.destination.temporary",
    MessagingAnonymous = "messaging.destination.anonymous",
    MessagingOperationType = "messaging.operation.type",
    MessagingOperationOld = "messaging.operation",
    MessagingOperationName = "messaging.operation.name",
    MessagingBatchCount = "messaging.batch.message_count",

    GenAiProvider = "gen_ai.provider.name",
    GenAiSystem = "gen_ai.system",
    GenAiOperation = "gen_ai.operation.name",
    GenAiRequest = "gen_ai.request.model",
    GenAiResponse = "gen_ai.response.model",
    GenAiAgent = "gen_ai.agent.name",
    GenAiTool = "gen_ai.tool.name",
    GenAiInputTokens = "gen_ai.usage.input_tokens",
    GenAiInputTokensOld = "gen_ai.usage.prompt_tokens",
    GenAiOutputTokens = "gen_ai.usage.output_tokens",
    GenAiOutputTokensOld = "gen_ai.usage.completion_tokens",
}

/// Names that many spans carry and nothing here reads: as texts of their own they need no share in a request.
const COMMON: &[&str] = &[
    "service.version",
    "telemetry.sdk.name",
    "telemetry.sdk.language",
    "telemetry.sdk.version",
    "process.pid",
    "process.runtime.name",
    "process.runtime.version",
    "os.type",
    "cloud.provider",
    "cloud.region",
    "cloud.availability_zone",
    "cloud.platform",
    "cloud.account.id",
    "k8s.namespace.name",
    "k8s.deployment.name",
    "k8s.cluster.name",
    "k8s.node.name",
    "container.id",
    "thread.id",
    "thread.name",
    "code.function",
    "code.function.name",
    "code.namespace",
    "code.filepath",
    "code.file.path",
    "code.lineno",
    "code.line.number",
    "error.type",
    "exception.type",
    "exception.message",
    "exception.stacktrace",
    "exception.escaped",
    "otel.status_code",
    "otel.library.name",
    "otel.scope.name",
    "http.route",
    "http.target",
    "http.scheme",
    "http.flavor",
    "http.user_agent",
    "http.client_ip",
    "http.server_name",
    "http.request.resend_count",
    "http.request.body.size",
    "http.response.body.size",
    "http.request_content_length",
    "http.response_content_length",
    "url.path",
    "url.query",
    "url.scheme",
    "url.template",
    "user_agent.original",
    "server.port",
    "client.port",
    "network.peer.port",
    "network.protocol.name",
    "network.protocol.version",
    "network.transport",
    "network.type",
    "net.peer.port",
    "net.host.name",
    "net.host.port",
    "net.host.ip",
    "net.transport",
    "net.sock.peer.port",
    "net.sock.host.addr",
    "net.sock.host.port",
    "rpc.service",
    "rpc.method",
    "rpc.status_code",
    "rpc.response.status_code",
    "db.statement",
    "db.operation",
    "db.query.text",
    "db.query.summary",
    "db.operation.name",
    "db.collection.name",
    "db.response.status_code",
    "db.sql.table",
    "db.user",
    "db.connection_string",
    "db.mongodb.collection",
    "messaging.message.id",
    "messaging.message_id",
    "messaging.consumer.group.name",
    "messaging.kafka.consumer.group",
    "messaging.kafka.partition",
    "messaging.kafka.message.offset",
    "messaging.destination.partition.id",
    "messaging.client_id",
    "messaging.client.id",
    "messaging.destination_kind",
    "enduser.id",
    "session.id",
    "user.id",
    "log.message",
    "log.severity",
    "message",
    "level",
];

/// All names, those of [`NAMES`] first.
const COUNT: usize = NAMES.len() + COMMON.len();

/// Places of the table: a few times as many as there are names, so that most have one of their own.
const PLACES: usize = 1 << 10;

/// No name.
const FREE: u8 = u8::MAX;

/// Names by [`place`], each at the first free place from there on.
const TABLE: [u8; PLACES] = table();

#[expect(
    clippy::cast_possible_truncation,
    reason = "there are fewer than 255 names, or this does not compile"
)]
const fn table() -> [u8; PLACES] {
    assert!(COUNT < FREE as usize);
    let mut table = [FREE; PLACES];
    let mut at = 0;
    while at < COUNT {
        let mut place = place(name(at).as_bytes());
        while table[place] != FREE {
            place = (place + 1) % PLACES;
        }
        table[place] = at as u8;
        at += 1;
    }
    table
}

const fn name(at: usize) -> &'static str {
    if at < NAMES.len() { NAMES[at].0 } else { COMMON[at - NAMES.len()] }
}

/// Where a key stands, if it is a name. Whoever steers it makes a search end one comparison later: names are few.
const fn place(key: &[u8]) -> usize {
    let len = key.len();
    if len < 4 {
        return len;
    }
    let middle = len / 2;
    let mixed = len
        + 37 * key[len - 1] as usize
        + 101 * key[middle] as usize
        + 367 * key[middle - 1] as usize
        + 821 * key[len - 3] as usize;
    mixed % PLACES
}

/// The number of a name.
fn find(key: &[u8]) -> Option<usize> {
    let mut at = place(key);
    loop {
        let number = usize::from(*TABLE.get(at)?);
        if number == usize::from(FREE) {
            return None;
        }
        if name(number).as_bytes() == key {
            return Some(number);
        }
        at = (at + 1) % PLACES;
    }
}

/// Which known name a key is.
pub(crate) fn known(key: &str) -> Option<Known> {
    NAMES.get(find(key.as_bytes())?).map(|(_, name)| *name)
}

/// A key that is a name of the conventions, as a text without a share in anything.
pub(crate) fn well_known(key: &[u8]) -> Option<Text> {
    find(key).map(|number| Text::from_static(name(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_once() {
        for number in 0..COUNT {
            assert_eq!(find(name(number).as_bytes()), Some(number), "{}", name(number));
            assert_eq!(well_known(name(number).as_bytes()).as_deref(), Some(name(number)));
        }
        for key in ["", "a", "service", "service.named", "Service.name", "http.method ", "\u{e9}"] {
            assert_eq!((find(key.as_bytes()), known(key)), (None, None), "{key}");
        }
        assert_eq!(known("thread.id"), None, "common, but nothing reads it");
    }

    #[test]
    fn names_hardly_meet() {
        let steps = |number: usize| {
            let at = TABLE.iter().position(|found| usize::from(*found) == number).expect("in the table");
            (at + PLACES - place(name(number).as_bytes())) % PLACES
        };
        assert!((0..COUNT).all(|number| steps(number) <= 4), "a search looks at a few names");
    }
}
