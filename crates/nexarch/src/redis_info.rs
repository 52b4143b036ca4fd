//! What the server behind the shared tier says of itself, for operators: asked for at most once a second, and never waited
//! for longer than for any other answer of it.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use nexarch_cache::{Reason, RedisRemote, Remote, RemoteError};
use serde::Serialize;
use tokio::{sync::Mutex, time::Instant};

use crate::{accounts, lifecycle};

/// An answer younger than this is given again.
const FRESH: Duration = Duration::from_secs(1);
/// Most databases of a server that are listed; more are a server that is not only ours.
const MAX_DATABASES: usize = 64;

/// Asks for the figures, or remembers them.
pub(crate) struct RedisInfo {
    redis: Option<Arc<RedisRemote>>,
    /// Held while the server is asked, so that many who ask at once are one question.
    latest: Mutex<Option<(Instant, RedisFigures)>>,
}

impl RedisInfo {
    pub(crate) fn new(redis: Option<Arc<RedisRemote>>) -> Self {
        Self { redis, latest: Mutex::default() }
    }

    /// The figures, at most a second old.
    pub(crate) async fn get(&self) -> RedisFigures {
        let Some(redis) = &self.redis else { return RedisFigures::none("none") };
        let mut latest = self.latest.lock().await;
        if let Some((at, figures)) = &*latest
            && at.elapsed() < FRESH
        {
            return figures.clone();
        }
        let figures = match redis.server_info().await {
            Ok(pairs) => RedisFigures::of(&pairs.into_iter().collect()),
            Err(error) => RedisFigures::none(why(&error)),
        };
        *latest = Some((Instant::now(), figures.clone()));
        figures
    }
}

fn why(error: &RemoteError) -> &'static str {
    match error {
        RemoteError::Away => "away",
        RemoteError::Timeout => "timeout",
        RemoteError::Refused(Reason::Auth) => "auth",
        RemoteError::Refused(_) | RemoteError::TooLarge | RemoteError::Foreign => "refused",
        RemoteError::Broken(reason) => reason.as_str(),
    }
}

/// What a Redis server says of itself (`INFO`), whoever else uses it. Of a cluster, one of its servers. A figure that it
/// does not give is `null`.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(crate) struct RedisFigures {
    /// Why there are no figures: `none` (no Redis is configured), `away`, `timeout`, `auth` or `refused` (`INFO` is not
    /// allowed), or a word of `/api/v1/cache/health`. `null` when there are.
    reason: Option<&'static str>,
    /// When it was asked.
    at: Option<String>,
    /// Its version.
    version: Option<String>,
    /// `standalone`, `cluster` or `sentinel`.
    mode: Option<String>,
    /// `master` or `slave`, in Redis's words.
    role: Option<String>,
    /// Seconds since its start.
    uptime_seconds: Option<u64>,
    /// Its memory.
    memory: Option<RedisMemory>,
    /// Its connections.
    clients: Option<RedisClients>,
    /// What it did since its start.
    commands: Option<RedisCommands>,
    /// What it holds.
    keyspace: Option<RedisKeyspace>,
}

/// Memory of a Redis server.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct RedisMemory {
    used_bytes: Option<u64>,
    peak_bytes: Option<u64>,
    /// Its limit; 0 = none.
    max_bytes: Option<u64>,
    /// What happens at the limit, such as `allkeys-lru`.
    policy: Option<String>,
    /// Memory taken from the system, over memory used.
    fragmentation_ratio: Option<f64>,
}

/// Connections of a Redis server.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct RedisClients {
    connected: Option<u64>,
    blocked: Option<u64>,
    max: Option<u64>,
    /// Refused because there were too many, since its start.
    rejected: Option<u64>,
}

/// Commands of a Redis server.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct RedisCommands {
    processed: Option<u64>,
    per_second: Option<u64>,
}

/// Keys of a Redis server.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct RedisKeyspace {
    hits: Option<u64>,
    misses: Option<u64>,
    expired: Option<u64>,
    /// Dropped for want of memory.
    evicted: Option<u64>,
    /// By name, such as `db0`; the first 64.
    databases: BTreeMap<String, RedisDatabase>,
}

/// One database of a Redis server.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
struct RedisDatabase {
    keys: u64,
    /// Those of them that have a time to live.
    expires: u64,
}

impl RedisFigures {
    fn none(reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            at: None,
            version: None,
            mode: None,
            role: None,
            uptime_seconds: None,
            memory: None,
            clients: None,
            commands: None,
            keyspace: None,
        }
    }

    fn of(info: &BTreeMap<String, String>) -> Self {
        fn get<T: FromStr>(info: &BTreeMap<String, String>, name: &str) -> Option<T> {
            info.get(name)?.trim().parse().ok()
        }
        Self {
            reason: None,
            at: Some(accounts::moment(lifecycle::now_us())),
            version: get(info, "redis_version"),
            mode: get(info, "redis_mode"),
            role: get(info, "role"),
            uptime_seconds: get(info, "uptime_in_seconds"),
            memory: Some(RedisMemory {
                used_bytes: get(info, "used_memory"),
                peak_bytes: get(info, "used_memory_peak"),
                max_bytes: get(info, "maxmemory"),
                policy: get(info, "maxmemory_policy"),
                fragmentation_ratio: get(info, "mem_fragmentation_ratio")
                    .filter(|ratio: &f64| ratio.is_finite()),
            }),
            clients: Some(RedisClients {
                connected: get(info, "connected_clients"),
                blocked: get(info, "blocked_clients"),
                max: get(info, "maxclients"),
                rejected: get(info, "rejected_connections"),
            }),
            commands: Some(RedisCommands {
                processed: get(info, "total_commands_processed"),
                per_second: get(info, "instantaneous_ops_per_sec"),
            }),
            keyspace: Some(RedisKeyspace {
                hits: get(info, "keyspace_hits"),
                misses: get(info, "keyspace_misses"),
                expired: get(info, "expired_keys"),
                evicted: get(info, "evicted_keys"),
                databases: databases(info),
            }),
        }
    }
}

/// Lines such as `db0:keys=3,expires=2,avg_ttl=1000`.
fn databases(info: &BTreeMap<String, String>) -> BTreeMap<String, RedisDatabase> {
    let numbered = |name: &str| name.strip_prefix("db").is_some_and(|number| number.parse::<u32>().is_ok());
    let listed = info.iter().filter(|(name, _)| numbered(name)).take(MAX_DATABASES);
    let parsed = listed.filter_map(|(name, line)| {
        let figure = |wanted: &str| {
            let pair =
                line.split(',').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == wanted);
            pair.and_then(|(_, number)| number.trim().parse().ok())
        };
        Some((name.clone(), RedisDatabase { keys: figure("keys")?, expires: figure("expires")? }))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_say_is_null_and_nonsense_is_left_out() {
        let pairs = [
            ("used_memory", "1024"),
            ("maxmemory", "-5"),
            ("mem_fragmentation_ratio", "nan"),
            ("role", "master"),
            ("db0", "keys=3,expires=2,avg_ttl=9"),
            ("db1", "keys=x"),
            ("dbfoo", "keys=1,expires=1"),
        ];
        let info = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let shown = serde_json::to_value(RedisFigures::of(&info)).unwrap();
        assert_eq!(shown["memory"]["used_bytes"], 1024);
        assert!(shown["memory"]["max_bytes"].is_null() && shown["memory"]["fragmentation_ratio"].is_null());
        assert_eq!((&shown["role"], &shown["version"]), (&"master".into(), &serde_json::Value::Null));
        assert_eq!(shown["keyspace"]["databases"], serde_json::json!({"db0": {"keys": 3, "expires": 2}}));
        assert_eq!(shown["reason"], serde_json::Value::Null);
    }
}
