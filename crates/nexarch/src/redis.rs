//! The server's Redis: begun behind, waited for once at the start, and told of in one line.

use std::{sync::Arc, time::Duration};

use nexarch_cache::{RedisConfig, RedisRemote, Remote};

use crate::{config::CacheConfig, lifecycle::Lifecycle};

/// How long the start waits for Redis, so that its line tells the truth; requests never wait for it.
const START_WAIT: Duration = Duration::from_secs(1);

/// Begins to connect when a Redis is named and the cache is on.
pub(crate) fn start(config: &CacheConfig, lifecycle: &Lifecycle) -> anyhow::Result<Option<Arc<RedisRemote>>> {
    let Some(redis) = config.redis.as_ref().filter(|_| config.enabled) else { return Ok(None) };
    Ok(Some(RedisRemote::start(redis, lifecycle.tracker(), lifecycle.stop())?))
}

/// What the start says of the cache, once it is known or [`START_WAIT`] has passed.
pub(crate) async fn line(config: &CacheConfig, redis: Option<&RedisRemote>) -> String {
    if !config.enabled {
        return "cache: disabled (CACHE_ENABLED is False)".to_owned();
    }
    let Some((redis, named)) = redis.zip(config.redis.as_ref()) else {
        return "cache: In-memory cache initialized (no Redis configured)".to_owned();
    };
    let mut status = redis.status();
    let known = tokio::time::timeout(START_WAIT, status.wait_for(|status| status.values)).await;
    let usable = matches!(known, Ok(Ok(_)));
    drop(known);
    if usable {
        return initialized(named, redis);
    }
    let reason = status.borrow().reason.map_or("connecting", nexarch_cache::Reason::as_str);
    // The line has the one word that health has, too; what it was exactly the tier tells the log, as soon as it is known.
    // Who reads this line is told when it is not so any more.
    redis.fallback_told();
    format!("cache: In-memory cache initialized (fallback: {reason})")
}

fn initialized(named: &RedisConfig, redis: &RedisRemote) -> String {
    let host = named.effective_host();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let tls = if named.effective_tls() { "TLS" } else { "no TLS" };
    let kind = if redis.is_cluster() { "cluster" } else { "standalone" };
    format!("cache: {} initialized ({host}:{}, {tls}, {kind})", named.service_name(), named.effective_port())
}
