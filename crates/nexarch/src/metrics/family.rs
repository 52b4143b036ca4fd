//! What a figure is: its name, kind, labels and meaning. Every figure of the program is one constant, so that the page of
//! figures and `docs/metrics.md` cannot say different things of it.

/// How a figure behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size, with their sum.
    Histogram,
}

impl Kind {
    /// The word of the exposition formats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Figures of one name.
#[derive(Debug)]
pub struct Family {
    /// Its name, as queries have it; a counter ends in `_total`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// `seconds`, `bytes`, or nothing where it counts things; the name then ends in it (before `_total`).
    pub unit: &'static str,
    /// Names of its labels, in order.
    pub labels: &'static [&'static str],
    /// What it says, in one line.
    pub help: &'static str,
}

const fn family(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind, unit, labels, help }
}

macro_rules! families {
    ($($constant:ident = $name:literal, $kind:ident, $unit:literal, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) const $constant: Family = family($name, Kind::$kind, $unit, &[$($label),*], $help);)*
        /// Every figure, in the order of `docs/metrics.md`.
        pub const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD = "nexarch_build_info", Gauge, "", ["version"], "1; the label says which program runs.";
    READY = "nexarch_ready", Gauge, "", [], "1 while the server takes work: the database answers and no stop was asked for.";
    DATABASE_UP = "nexarch_database_up", Gauge, "", [], "1 when the database answered the question of this very scrape.";
    TENANTS = "nexarch_cache_tenants", Gauge, "", [], "Tenants that the cache of this node knows now.";
    REQUESTS = "nexarch_cache_requests_total", Counter, "", ["operation", "outcome"], "Cached reads that were answered; outcome is hit_memory, hit_redis, miss (computed), collapsed (joined a computation) or stale.";
    COMPUTATION_ERRORS = "nexarch_cache_computation_errors_total", Counter, "", ["operation"], "Computations that failed.";
    HIT_DURATION = "nexarch_cache_hit_duration_seconds", Histogram, "seconds", ["operation"], "Time of a hit inside the cache; one hit in 64 is timed.";
    COMPUTATION_DURATION = "nexarch_cache_computation_duration_seconds", Histogram, "seconds", ["operation"], "Time of a computation that succeeded, those of warming and early refreshes too.";
    INVALIDATIONS = "nexarch_cache_invalidations_total", Counter, "", ["operation", "cause"], "How often the values of a tenant became old; cause is ingest, settle, manual, workflow, retention or restore.";
    ENTRIES = "nexarch_cache_entries", Gauge, "", ["operation"], "Entries in memory.";
    BYTES = "nexarch_cache_bytes", Gauge, "bytes", ["operation"], "Bytes of entries in memory.";
    MAX_BYTES = "nexarch_cache_max_bytes", Gauge, "bytes", [], "Most bytes of entries in memory (CACHE_MAX_MEMORY_MB).";
    EVICTIONS = "nexarch_cache_evictions_total", Counter, "", [], "Entries that gave way to others in memory.";
    BACKEND = "nexarch_cache_backend", Gauge, "", ["backend"], "1 for where values are kept now: memory, redis or disabled; 0 for the others.";
    STATUS = "nexarch_cache_status", Gauge, "", ["status"], "1 for the state of the cache now: memory, connected, degraded or disabled; 0 for the others.";
    MODE = "nexarch_cache_mode", Gauge, "", ["mode"], "1 for how this node learns what others change: pubsub, polling or local; 0 for the others.";
    REASON = "nexarch_cache_degraded_reason", Gauge, "", ["reason"], "1 for why the cache is degraded, if it is: the words of /api/v1/cache/health; 0 for the others.";
    SINCE = "nexarch_cache_state_since_timestamp_seconds", Gauge, "seconds", [], "When the cache came into its state, seconds since 1970.";
    BOUND = "nexarch_cache_staleness_bound_seconds", Gauge, "seconds", [], "How long another node may show a value after it was overtaken; 0: there is no other node.";
    AUTHORITY_DURATION = "nexarch_cache_authority_read_duration_seconds", Histogram, "seconds", [], "Time of the reads of versions (fences) from the database that were answered.";
    AUTHORITY_ERRORS = "nexarch_cache_authority_read_errors_total", Counter, "", [], "Reads of versions that failed or took longer than 0.5 s.";
    LAG = "nexarch_cache_coherence_lag_seconds", Histogram, "seconds", [], "Time from the commit of a change to its message here, by the clocks of both nodes.";
    MESSAGES = "nexarch_cache_messages_total", Counter, "", ["result"], "Messages between nodes: published, not_published, heard (of a tenant of this node) or garbled.";
    REDIS_VALUES = "nexarch_redis_values_total", Counter, "", ["result"], "Values for Redis: written, not_written (too large, too many at once, or the call failed) or over_quota (CACHE_TENANT_MAX_REDIS_MB).";
    REDIS_REJECTED = "nexarch_redis_values_rejected_total", Counter, "", ["reason"], "Values of Redis that were not used, because they were damaged, foreign, too old a format or too large.";
    REDIS_WAITED = "nexarch_redis_lease_waits_total", Counter, "", [], "Misses that waited for the computation of another node.";
    REDIS_DURATION = "nexarch_redis_command_duration_seconds", Histogram, "seconds", ["command"], "Time of calls to Redis, failed ones too: get, head, set, set_if_absent or publish.";
    REDIS_ERRORS = "nexarch_redis_errors_total", Counter, "", [], "Calls to Redis that brought nothing; those that were not sent while it is away are left out.";
    REDIS_BREAKER = "nexarch_redis_breaker", Gauge, "", ["state"], "1 for the state of the breaker: closed, open or half_open; 0 for the others. Of a cluster, the worst of its nodes.";
    REDIS_ROUND_TRIP = "nexarch_redis_round_trip_seconds", Gauge, "seconds", ["percentile"], "Round trip to Redis lately: 50th and 99th percentile of the last 512 that were timed.";
    REDIS_RECONNECTS = "nexarch_redis_reconnects_total", Counter, "", [], "Connections to Redis that were replaced or came back.";
    REDIS_LOSSES = "nexarch_redis_losses_total", Counter, "", ["reason"], "How often a usable Redis was lost, by the words of /api/v1/cache/health.";
    REDIS_FLOODS = "nexarch_redis_messages_too_long_total", Counter, "", [], "How often the connection for messages was ended because a message was longer than 64 KiB.";
    TOKEN_RENEWALS = "nexarch_redis_token_renewals_total", Counter, "", ["result"], "Attempts to get a token of Microsoft Entra ID for Redis: ok or error.";
    TOKEN_EXPIRES = "nexarch_redis_token_expires_timestamp_seconds", Gauge, "seconds", [], "When the token in use ends, seconds since 1970; 0 while there is none.";
    SPANS = "nexarch_ingest_spans_total", Counter, "", ["transport", "outcome"], "Spans sent to this server: accepted (new), duplicate or failed (no valid span). Transport is otlp_http, otlp_grpc or native.";
    RECEIVED = "nexarch_ingest_received_bytes_total", Counter, "bytes", ["transport"], "Bytes of request bodies after decompression.";
    REFUSED = "nexarch_ingest_refused_total", Counter, "", ["reason"], "Batches that were not stored: queue_full, too_large, quota, database, disabled or stopping.";
    QUEUE = "nexarch_ingest_queue_batches", Gauge, "", [], "Batches that wait for the writer.";
    QUEUE_LIMIT = "nexarch_ingest_queue_limit_batches", Gauge, "", [], "Most of them; beyond it a batch is refused.";
    INFLIGHT = "nexarch_ingest_inflight_bytes", Gauge, "bytes", [], "Bytes held for ingest requests under way, decoded spans included.";
    INFLIGHT_LIMIT = "nexarch_ingest_inflight_limit_bytes", Gauge, "bytes", [], "Most of them (MAX_INFLIGHT_MB); beyond it a batch is refused.";
    GROUP = "nexarch_ingest_group_spans", Histogram, "", [], "Spans of one transaction of the writer: one or more batches.";
    COMMIT_DURATION = "nexarch_ingest_commit_duration_seconds", Histogram, "seconds", [], "Time of one transaction of the writer, until it is durable.";
    UNSETTLED = "nexarch_settling_backlog_traces", Gauge, "", [], "Large traces whose newest spans are counted by a preview until they fall quiet; looked at every 5 s.";
    SETTLED_AT = "nexarch_settling_last_success_timestamp_seconds", Gauge, "seconds", [], "When settling last came to its end, seconds since 1970; 0 before.";
    DATABASE_DURATION = "nexarch_database_operation_duration_seconds", Histogram, "seconds", ["operation"], "Time of calls to the database, failed ones too; only operations that were used are there.";
    DATABASE_ERRORS = "nexarch_database_errors_total", Counter, "", ["operation"], "Calls that the database failed, or could not take; what was asked for wrongly is left out.";
    DATABASE_SIZE = "nexarch_database_size_bytes", Gauge, "bytes", ["file"], "Bytes on disk: main, wal (the log that is not folded in yet). SQLite only.";
    DISK_FREE = "nexarch_database_disk_free_bytes", Gauge, "bytes", [], "Bytes that are free for this user where the database lies. SQLite only.";
    HTTP_REQUESTS = "nexarch_http_requests_total", Counter, "", ["route", "status"], "Requests that were answered, by template of the route (other: none of ours) and class of the status (2xx).";
    HTTP_DURATION = "nexarch_http_request_duration_seconds", Histogram, "seconds", ["route"], "Time from a request's head to its answer's head.";
    HTTP_CONNECTIONS = "nexarch_http_connections", Gauge, "", ["door"], "Open connections: api, otlp_grpc or otlp_http.";
    RATE_LIMITED = "nexarch_rate_limited_total", Counter, "", ["limit"], "Requests that were over the limit of their tenant: requests or spans.";
    CPU = "process_cpu_seconds_total", Counter, "seconds", [], "Processor time of this process, in user and kernel mode.";
    RESIDENT = "process_resident_memory_bytes", Gauge, "bytes", [], "Memory of this process that is in RAM.";
    VIRTUAL = "process_virtual_memory_bytes", Gauge, "bytes", [], "Address space of this process.";
    THREADS = "process_threads", Gauge, "", [], "Threads of this process.";
    OPEN_FDS = "process_open_fds", Gauge, "", [], "Open file descriptors.";
    MAX_FDS = "process_max_fds", Gauge, "", [], "Most of them; 0 = no limit.";
    STARTED = "process_start_time_seconds", Gauge, "seconds", [], "When this process started, seconds since 1970.";
}
