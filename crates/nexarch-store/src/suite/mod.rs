//! What every backend must do, as tests.
//!
//! Each function takes the URL of an empty database of its own and panics when a promise is broken.
//! [`conformance!`](crate::conformance) turns all of them into tests.

// A test that meets the unexpected stops there; so every function here may panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod aging;
pub mod clock;
pub mod durability;
pub mod ingest;
pub mod isolation;
pub mod linking;
pub mod property;
pub mod reading;
pub mod sampling;
pub mod searching;
pub mod secrets;
pub mod settling;
pub mod spans;
pub mod strategy;
pub mod tenants;
pub mod time;
pub mod turns;
pub mod upkeep;
pub mod versions;

use std::sync::Arc;

use nexarch_core::{ids::TenantId, rollup::merge, span::Span, trace::Extent, window::Minutes};

use crate::{Appended, Batch, Error, Options, Role, Snapshot, Store};
use clock::Clock;

/// All of time.
pub const ALL: Minutes = Minutes { from: 0, to: u32::MAX };

/// Makes a test of every function of the suite; `$fresh` gives the URL of a fresh database and whatever keeps it.
#[macro_export]
macro_rules! conformance {
    ($fresh:expr) => {
        $crate::conformance! { @each $fresh;
            durability: survives_a_crash, a_failed_append_leaves_nothing, a_dropped_append_leaves_nothing;
            ingest: counts_add_up_per_batch, an_update_replaces, the_best_of_a_group_is_stored, versions_of_a_span_are_bounded, late_spans_join_their_trace,
                refused_batches_fail_alone, nothing_new_keeps_the_version, spans_of_any_time, many_blobs_are_merged;
            isolation: data, versions, tenants_and_keys;
            linking: either_end_may_come_hours_later, a_sender_is_told_who_takes, links_stay_in_their_tenant,
                an_end_outlives_its_day, followed_links_are_bounded;
            settling: waits_for_quiet, late_spans_wait_longer, re_sends_are_known, tenants_take_turns,
                a_dropped_round_changes_nothing, a_clock_that_was_ahead_delays_nothing, counts_are_kept;
            reading: snapshots_stand_still, unknown_things, ranges_are_half_open, many_chunks_one_trace,
                a_part_of_a_trace_says_what_the_whole_is;
            sampling: the_same_traces_are_drawn_in_any_order, a_drawn_trace_grows, samples_have_borders;
            searching: traces_are_found_by_their_spans, pages_have_each_trace_once, superseded_copies_do_not_fit,
                work_is_bounded;
            secrets: a_rotation_replaces_the_secret, no_grace_outlives_a_shorter_one, replaced_secrets_are_few,
                uses_are_remembered;
            tenants: tenants_are_listed, tenants_are_changed, lists_have_pages, keys_are_found_by_hash, keys_end, deleting_purges, a_successor_gets_no_spans, every_change_is_seen;
            time: verdicts_outlive_minutes, late_data_are_judged, incidents_are_kept, incidents_go;
            turns: a_turn_is_taken_once, a_race_has_one_winner, a_lease_that_lapsed_passes_on, a_clock_set_right_blocks_nobody;
            upkeep: cells_grow_with_age, young_minutes_stay_beside, late_data_join_longer_cells, upkeep_is_the_owners, old_days_go, dropped_days_stay_gone,
                a_retention_is_told, a_clock_that_jumps_drops_nothing, old_rollups_go,
                purging_is_finished_by_others, a_quota_holds_for_a_day;
            versions: versions_grow, the_clock_may_go_back, a_recreated_tenant_goes_on, epochs_differ, an_epoch_is_replaced_once,
                scopes_are_raised;
        }
    };
    (@each $fresh:expr; $($module:ident: $($name:ident),+;)+) => {
        $(mod $module {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let (url, _keep) = $fresh;
                $crate::suite::$module::$name(&url).await;
            })+
        })+
    };
}

/// Opens a database with a clock.
pub async fn open_at(url: &str, clock: &Clock) -> Arc<dyn Store> {
    crate::open(url, Options::new(Role::Guest, clock.reader())).await.expect("the database opens")
}

/// Opens a database.
pub async fn open(url: &str) -> Arc<dyn Store> {
    open_at(url, &Clock::default()).await
}

/// Opens a database and makes a tenant.
pub async fn open_with(url: &str, tenant: &str) -> (Arc<dyn Store>, TenantId) {
    let store = open(url).await;
    let tenant = id(tenant);
    store.create_tenant(&tenant, "a tenant").await.expect("the tenant is new");
    (store, tenant)
}

/// A tenant id.
pub fn id(tenant: &str) -> TenantId {
    tenant.parse().expect("a tenant id")
}

/// Appends one batch.
pub async fn append(store: &dyn Store, tenant: &TenantId, spans: Vec<Span>) -> Result<Appended, Error> {
    let batch = Batch { created_us: None, tenant: tenant.clone(), spans };
    store.append(vec![batch]).await?.pop().expect("an answer per batch")
}

/// Removes all that deleted tenants left.
pub async fn purge(store: &dyn Store) {
    while store.purge().await.expect("a step of purging").next.is_some() {}
}

/// All rollups of a tenant, one blob per minute, minutes that cancel out left out.
pub async fn folded(store: &dyn Store, tenant: &TenantId) -> Vec<(u32, Vec<u8>)> {
    let mut snapshot = store.snapshot(tenant).await.expect("a snapshot");
    fold(snapshot.cells(ALL, 1).await.expect("rollups").blobs)
}

/// Adds up the blobs of each minute.
pub fn fold(blobs: Vec<(u32, Vec<u8>)>) -> Vec<(u32, Vec<u8>)> {
    let mut minutes: Vec<(u32, Vec<Vec<u8>>)> = Vec::new();
    for (minute, blob) in blobs {
        match minutes.last_mut() {
            Some((last, blobs)) if *last == minute => blobs.push(blob),
            _ => minutes.push((minute, vec![blob])),
        }
    }
    let merged = minutes.into_iter().map(|(minute, blobs)| {
        let parts: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        (minute, merge(&parts).expect("blobs can be merged"))
    });
    merged.filter(|(_, blob)| !blob.is_empty()).collect()
}

/// Everything that a snapshot shows of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The data version.
    pub data: u64,
    /// Newest and oldest start.
    pub range: (Option<u64>, Option<u64>),
    /// Totals.
    pub totals: crate::Totals,
    /// Folded rollups.
    pub rollups: Vec<(u32, Vec<u8>)>,
    /// The spans of the traces asked for.
    pub spans: Vec<Span>,
}

/// Reads everything, with the traces of `spans`.
pub async fn picture(store: &dyn Store, tenant: &TenantId, spans: &[Span]) -> Picture {
    let mut snapshot = store.snapshot(tenant).await.expect("a snapshot");
    picture_of(&mut *snapshot, spans).await
}

/// Reads everything in an open snapshot.
pub async fn picture_of(snapshot: &mut dyn Snapshot, spans: &[Span]) -> Picture {
    let mut traces: Vec<_> = spans.iter().map(|span| span.trace_id).collect();
    traces.sort_unstable();
    traces.dedup();
    let mut found = Vec::new();
    for trace in traces {
        found.extend(snapshot.trace(trace, Extent::ALL).await.expect("a trace").spans);
    }
    Picture {
        data: snapshot.data_version(),
        range: (snapshot.newest_ns(), snapshot.oldest_ns()),
        totals: snapshot.totals().await.expect("totals"),
        rollups: fold(snapshot.cells(ALL, 1).await.expect("rollups").blobs),
        spans: found,
    }
}
