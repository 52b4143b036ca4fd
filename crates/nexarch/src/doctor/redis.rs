//! Whether the Redis that is named can be used, as the cache itself would find out.

use std::time::Duration;

use nexarch_cache::{RedisFinding, Verdict};
use tokio_util::task::TaskTracker;

use super::{Check, Status, advice};
use crate::config::CacheConfig;

pub(super) async fn check(config: &CacheConfig) -> Vec<Check> {
    let skipped = |why: &str| vec![Check::new("redis", Status::Skipped, Duration::ZERO, why)];
    let Some(redis) = &config.redis else {
        return skipped("none is named (REDIS_URL, REDIS_HOST): values are kept in memory");
    };
    if !config.enabled {
        return skipped("the cache is off (CACHE_ENABLED)");
    }
    let findings = redis.check_up(&TaskTracker::new()).await;
    findings.into_iter().map(|finding| of(finding, redis)).collect()
}

fn of(finding: RedisFinding, redis: &nexarch_cache::RedisConfig) -> Check {
    let status = match finding.verdict {
        Verdict::Good => Status::Ok,
        Verdict::Warning => Status::Warning,
        Verdict::Bad => Status::Failed,
        Verdict::Skipped => Status::Skipped,
    };
    let advice = finding.mistake.map(|mistake| advice::of(mistake, redis));
    let name = format!("redis.{}", finding.step);
    Check { advice, ..Check::new(name, status, finding.took, finding.detail) }
}
