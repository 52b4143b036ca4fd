//! The figures of the cache and of its shared tier.

use std::time::{SystemTime, UNIX_EPOCH};

use nexarch_cache::{
    Backend, Breaker, Condition, Mode, NodeOperation, NodeRemote, NodeStats, Reason, Status,
};

use super::{
    family::{
        AUTHORITY_DURATION, AUTHORITY_ERRORS, BACKEND, BOUND, BYTES, COMPUTATION_DURATION,
        COMPUTATION_ERRORS, ENTRIES, EVICTIONS, Family, HIT_DURATION, INVALIDATIONS, LAG, MAX_BYTES,
        MESSAGES, MODE, REASON, REDIS_BREAKER, REDIS_DURATION, REDIS_ERRORS, REDIS_FLOODS, REDIS_LOSSES,
        REDIS_RECONNECTS, REDIS_REJECTED, REDIS_ROUND_TRIP, REDIS_VALUES, REDIS_WAITED, REQUESTS, SINCE,
        STATUS,
    },
    page::Page,
};

const BACKENDS: [Backend; 3] = [Backend::Memory, Backend::Redis, Backend::Disabled];
const CONDITIONS: [Condition; 4] =
    [Condition::Memory, Condition::Connected, Condition::Degraded, Condition::Disabled];
const MODES: [Mode; 3] = [Mode::Pubsub, Mode::Polling, Mode::Local];
const BREAKERS: [Breaker; 3] = [Breaker::Closed, Breaker::Open, Breaker::HalfOpen];

pub(super) fn write(page: &mut Page, status: &Status, node: &NodeStats) {
    operations(page, node);
    page.family(&MAX_BYTES).add(&[], node.max_bytes);
    page.family(&EVICTIONS).add(&[], node.evictions);
    page.family(&BACKEND).state(BACKENDS.map(Backend::as_str), Some(status.backend.as_str()));
    page.family(&STATUS).state(CONDITIONS.map(Condition::as_str), Some(status.status.as_str()));
    page.family(&MODE).state(MODES.map(Mode::as_str), Some(status.mode.as_str()));
    page.family(&REASON).state(Reason::ALL.map(Reason::as_str), status.reason.map(Reason::as_str));
    page.family(&SINCE).real(&[], seconds(status.since));
    page.family(&BOUND).real(&[], status.staleness_bound.as_secs_f64());
    page.family(&AUTHORITY_DURATION).histogram(&[], &node.authority_reads);
    page.family(&AUTHORITY_ERRORS).add(&[], node.authority_errors);
    if let Some(remote) = &node.remote {
        redis(page, remote);
    }
}

fn operations(page: &mut Page, node: &NodeStats) {
    let mut requests = page.family(&REQUESTS);
    for (name, of) in &node.operations {
        requests.add(&[name, "hit_memory"], of.hits_memory);
        requests.add(&[name, "hit_redis"], of.hits_redis);
        requests.add(&[name, "miss"], of.misses);
        requests.add(&[name, "collapsed"], of.collapsed);
        requests.add(&[name, "stale"], of.stale);
    }
    let mut each = |family: &'static Family, value: fn(&NodeOperation) -> u64| {
        let mut samples = page.family(family);
        for (name, of) in &node.operations {
            samples.add(&[name], value(of));
        }
    };
    each(&COMPUTATION_ERRORS, |of| of.errors);
    each(&ENTRIES, |of| of.entries);
    each(&BYTES, |of| of.bytes);
    let mut hits = page.family(&HIT_DURATION);
    for (name, of) in &node.operations {
        hits.histogram(&[name], &of.hit);
    }
    let mut computations = page.family(&COMPUTATION_DURATION);
    for (name, of) in &node.operations {
        computations.histogram(&[name], &of.compute);
    }
    let mut invalidations = page.family(&INVALIDATIONS);
    for (name, of) in &node.operations {
        for (cause, count) in &of.invalidations {
            invalidations.add(&[name, cause], *count);
        }
    }
}

fn redis(page: &mut Page, remote: &NodeRemote) {
    let (status, counts) = (&remote.status, &remote.counts);
    page.family(&LAG).histogram(&[], &remote.lag);
    page.family(&MESSAGES)
        .add(&["published"], counts.published)
        .add(&["not_published"], counts.not_published)
        .add(&["heard"], counts.heard)
        .add(&["garbled"], counts.garbled);
    page.family(&REDIS_VALUES)
        .add(&["written"], counts.written)
        .add(&["not_written"], counts.not_written)
        .add(&["over_quota"], counts.over_quota);
    let mut rejected = page.family(&REDIS_REJECTED);
    for (reason, count) in &counts.rejected {
        rejected.add(&[reason], *count);
    }
    page.family(&REDIS_WAITED).add(&[], counts.waited_for_others);
    let mut times = page.family(&REDIS_DURATION);
    for (command, of) in &remote.commands {
        times.histogram(&[command], of);
    }
    page.family(&REDIS_ERRORS).add(&[], counts.errors);
    page.family(&REDIS_BREAKER).state(BREAKERS.map(Breaker::as_str), Some(status.breaker.as_str()));
    page.family(&REDIS_ROUND_TRIP)
        .real(&["50"], status.round_trip.0.as_secs_f64())
        .real(&["99"], status.round_trip.1.as_secs_f64());
    page.family(&REDIS_RECONNECTS).add(&[], status.reconnects);
    let mut losses = page.family(&REDIS_LOSSES);
    for reason in Reason::ALL {
        losses.add(&[reason.as_str()], status.losses.of(reason));
    }
    page.family(&REDIS_FLOODS).add(&[], status.floods);
}

/// Seconds since 1970.
pub(super) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
