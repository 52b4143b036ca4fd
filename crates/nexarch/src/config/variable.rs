//! The variables, as one table: name, default, secrecy. Nothing else in the program knows a variable's name.

/// One configuration variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name; `NEXARCH_<name>` is accepted too and wins.
    pub name: &'static str,
    /// What holds when it is not set; empty = nothing.
    pub default: &'static str,
    /// Is the value never shown, and may it come from `<name>_FILE`?
    pub secret: bool,
    /// Does this build act on it? Others are accepted with a warning, so that nobody believes that they work.
    pub supported: bool,
}

const fn plain(name: &'static str, default: &'static str) -> Variable {
    Variable { name, default, secret: false, supported: true }
}

const fn secret(name: &'static str) -> Variable {
    Variable { name, default: "", secret: true, supported: true }
}

const fn later(name: &'static str) -> Variable {
    Variable { name, default: "", secret: false, supported: false }
}

const fn later_secret(name: &'static str) -> Variable {
    Variable { name, default: "", secret: true, supported: false }
}

/// One of a build with the feature `otel`.
const fn of_traces(name: &'static str, default: &'static str, secret: bool) -> Variable {
    let supported = cfg!(feature = "otel");
    Variable { name, default: if supported { default } else { "" }, secret, supported }
}

/// Every variable of the product.
pub const VARIABLES: &[Variable] = &[
    plain("HOST", "127.0.0.1"),
    plain("PORT", "8000"),
    plain("TLS_CERT_FILE", ""),
    plain("TLS_KEY_FILE", ""),
    plain("OTLP_GRPC_ADDR", "127.0.0.1:4317"),
    plain("OTLP_HTTP_ADDR", "127.0.0.1:4318"),
    plain("METRICS_ADDR", "127.0.0.1:9464"),
    // A database URL may hold a password.
    Variable { name: "DATABASE_URL", default: "sqlite://nexarch.db", secret: true, supported: true },
    plain("CACHE_ENABLED", "True"),
    plain("CACHE_TTL_SECONDS", "300"),
    plain("CACHE_NAMESPACE", "nexarch"),
    plain("CACHE_MAX_MEMORY_MB", "256"),
    plain("CACHE_TENANT_MAX_PERCENT", "50"),
    plain("RETENTION_DAYS", "14"),
    plain("ROLLUP_RETENTION_DAYS", "90"),
    plain("QUOTA_SPANS_PER_DAY", "0"),
    plain("LATENCY_OBJECTIVE_MS", "1000"),
    plain("AVAILABILITY_OBJECTIVE", "0.99"),
    plain("MAX_BODY_MB", "64"),
    plain("MAX_INFLIGHT_MB", "256"),
    plain("RATE_LIMIT_REQUESTS_PER_MINUTE", "0"),
    plain("RATE_LIMIT_SPANS_PER_SECOND", "0"),
    plain("LOG_FORMAT", "text"),
    plain("RUST_LOG", "info"),
    // As OpenTelemetry names them.
    of_traces("OTEL_EXPORTER_OTLP_ENDPOINT", "", false),
    of_traces("OTEL_EXPORTER_OTLP_HEADERS", "", true),
    of_traces("OTEL_SERVICE_NAME", "nexarch", false),
    secret("REDIS_URL"),
    plain("REDIS_HOST", ""),
    plain("REDIS_PORT", ""),
    plain("REDIS_USERNAME", ""),
    secret("REDIS_PASSWORD"),
    plain("REDIS_DB", ""),
    plain("REDIS_SSL", ""),
    plain("REDIS_MODE", "auto"),
    plain("REDIS_CA_FILE", ""),
    plain("REDIS_CONNECTIONS", "2"),
    plain("REDIS_TIMEOUT_MS", "100"),
    plain("REDIS_CONNECT_TIMEOUT_MS", "5000"),
    plain("REDIS_AUTH", "password"),
    // As Microsoft's libraries name them; IDENTITY_ENDPOINT, IDENTITY_HEADER and AZURE_AUTHORITY_HOST these read themselves.
    plain("KEYVAULT_ALLOWED_HOSTS", ""),
    plain("AZURE_TENANT_ID", ""),
    plain("AZURE_CLIENT_ID", ""),
    secret("AZURE_CLIENT_SECRET"),
    plain("AZURE_FEDERATED_TOKEN_FILE", ""),
    plain("AZURE_TOKEN_CREDENTIALS", ""),
    plain("CACHE_TENANT_MAX_REDIS_MB", "256"),
    secret("CACHE_ENCRYPTION_KEY"),
    plain("CACHE_WARM_SCHEDULE", ""),
    secret("ADMIN_SECRET_KEY"),
    later("CORS_ORIGINS"),
    later("AZURE_OPENAI_ENDPOINT"),
    later_secret("AZURE_OPENAI_API_KEY"),
    later("AZURE_OPENAI_DEPLOYMENT"),
    later("AZURE_OPENAI_API_VERSION"),
    later("LLM_BASE_URL"),
    later_secret("LLM_API_KEY"),
    later("LLM_MODEL"),
];

/// Prefix of the per-operation TTLs.
pub(super) const TTL_PREFIX: &str = "CACHE_TTL_SECONDS_";

/// Looks up a variable by its plain name.
pub(super) fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// The known name that a mistyped one most likely means.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let scored = VARIABLES.iter().map(|v| (strsim::damerau_levenshtein(v.name, name), v.name));
    scored.min().filter(|(distance, _)| *distance <= name.len() / 3 + 1).map(|(_, name)| name)
}
