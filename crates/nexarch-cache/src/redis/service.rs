//! Azure's host names. They choose words and defaults only: what a server can do is asked of it.

/// Whose Redis it is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Cache,
    Managed,
    Redis,
}

impl Service {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "Azure Cache for Redis",
            Self::Managed => "Azure Managed Redis",
            Self::Redis => "Redis",
        }
    }
}

/// The public cloud and the national ones. Source: the suffixes that StackExchange.Redis knows.
const CACHE: [&str; 5] = [
    ".redis.cache.windows.net",
    ".redis.cache.chinacloudapi.cn",
    ".redis.cache.usgovcloudapi.net",
    ".redis.cache.sovcloud-api.de",
    ".redis.cache.sovcloud-api.fr",
];
const MANAGED: [&str; 6] = [
    ".redis.azure.net",
    ".redis.chinacloudapi.cn",
    ".redis.usgovcloudapi.net",
    ".redis.sovcloud-api.de",
    ".redis.sovcloud-api.fr",
    ".redisenterprise.cache.azure.net",
];

/// `host` in lower case.
pub(super) fn of(host: &str) -> Service {
    let host = host.trim_end_matches('.');
    if CACHE.iter().any(|suffix| host.ends_with(suffix)) {
        Service::Cache
    } else if MANAGED.iter().any(|suffix| host.ends_with(suffix)) {
        Service::Managed
    } else {
        Service::Redis
    }
}
