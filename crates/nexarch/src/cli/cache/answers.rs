//! Answers of the cache API, as far as they are shown. What another version of the server leaves out is zero.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use super::api::Answer;

/// What was counted for a tenant on one node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    pub(super) tenant_id: String,
    pub(super) node: String,
    pub(super) backend: String,
    pub(super) status: String,
    pub(super) since: String,
    pub(super) totals: Totals,
    pub(super) operations: BTreeMap<String, Operation>,
    pub(super) memory: Memory,
    pub(super) redis: Redis,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Totals {
    pub(super) requests: u64,
    pub(super) hits: u64,
    pub(super) hit_ratio: f64,
    pub(super) time_saved_ms: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Operation {
    pub(super) ttl_seconds: u64,
    pub(super) requests: u64,
    pub(super) hits_memory: u64,
    pub(super) hits_redis: u64,
    pub(super) misses: u64,
    pub(super) collapsed: u64,
    pub(super) stale: u64,
    pub(super) errors: u64,
    pub(super) invalidations: u64,
    pub(super) hit_ratio: f64,
    pub(super) hit_ms: Quantiles,
    pub(super) compute_ms: Quantiles,
    pub(super) reduction_percent: f64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) last_invalidated: Option<LastInvalidated>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct LastInvalidated {
    pub(super) at: String,
    pub(super) cause: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) max_bytes: u64,
    pub(super) evictions: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Redis {
    pub(super) round_trip_ms: Quantiles,
    pub(super) breaker: String,
    pub(super) coherence: String,
    pub(super) reconnects: u64,
}

/// State of the cache.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Health {
    pub(super) healthy: bool,
    pub(super) backend: String,
    pub(super) status: String,
    pub(super) mode: String,
    pub(super) staleness_bound_ms: u64,
    pub(super) since: String,
    pub(super) reason: Option<String>,
}

/// What an invalidation did.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Invalidated {
    pub(super) tenant_id: String,
    pub(super) scope: String,
    pub(super) operations: Vec<String>,
    pub(super) reach: String,
    pub(super) version: u64,
}

/// What warming did: of all operations, or of one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Warmed {
    All { operations: Vec<WarmedOperation> },
    One(WarmedOperation),
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct WarmedOperation {
    pub(super) operation: String,
    pub(super) entries: u64,
    pub(super) compute_ms: f64,
    pub(super) bytes: u64,
    pub(super) stored: Vec<String>,
}

/// Reads an answer.
pub(super) fn parse<T: DeserializeOwned>(answer: &Answer) -> anyhow::Result<T> {
    serde_json::from_str(&answer.body)
        .context("the answer is not that of a Nexarch of this version; --json prints it as it is")
}

/// A time as the API writes it; `None` when it is none.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
