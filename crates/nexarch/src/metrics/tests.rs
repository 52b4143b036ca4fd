//! Figures of what tests from outside cannot bring about: a database that is cut, a queue that stands still, other nodes.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use nexarch_cache::{
    Backend, Breaker, Condition, Distribution, Losses, Mode, NodeRemote, NodeStats, Reason, RemoteCounts,
    RemoteStatus, Status,
};

use super::*;
use crate::{
    app::Server,
    auth::Caller,
    config::{self, Sources},
    ingest::Ingest,
    lifecycle::{Lifecycle, now_us},
};

/// The value of a line of a page.
fn figure(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}:\n{page}")).parse().unwrap()
}

#[track_caller]
fn is(figure: f64, count: u32) {
    assert!((figure - f64::from(count)).abs() < 1e-9, "{figure} is not {count}");
}

async fn server(folder: &std::path::Path) -> (Server, Arc<dyn nexarch_store::Store>) {
    let url = format!("sqlite://{}", folder.join("test.db").display());
    let set = [("PORT", "0"), ("OTLP_GRPC_ADDR", "off"), ("OTLP_HTTP_ADDR", "off"), ("METRICS_ADDR", "off")];
    let set = set.into_iter().chain([("DATABASE_URL", url.as_str())]);
    let layer: BTreeMap<_, _> = set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let config = config::load(&Sources::default().layer("flag", layer)).unwrap();
    let options = nexarch_store::Options::new(nexarch_store::Role::Owner, now_us);
    let store = nexarch_store::open(&url, options).await.unwrap();
    (Server::start(&config, Arc::clone(&store), Lifecycle::default()).await.unwrap(), store)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_off_is_told_as_down_and_its_errors_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (server, store) = server(folder.path()).await;
    let acme = "acme".parse().unwrap();
    store.create_tenant(&acme, "acme").await.unwrap();
    let app = &server.app;
    let well = page(app, Format::Text).await;
    for name in ["nexarch_ready", "nexarch_database_up"] {
        is(figure(&well, name), 1);
    }
    app.lifecycle.drain().cancel();
    // It takes no new work.
    is(figure(&page(app, Format::Text).await, "nexarch_ready"), 0);

    store.close().await;
    let scope = nexarch_cache::Scope::new("acme").unwrap();
    let operation = app.cache.operation("services").unwrap();
    let read = nexarch_cache::Read::new(operation, "p");
    let compute = |_| async { Ok(nexarch_cache::Computed::new("never")) };
    app.cache.get_or_compute(&scope, read, compute).await.unwrap_err();
    let cut = page(app, Format::Text).await;
    is(figure(&cut, "nexarch_ready") + figure(&cut, "nexarch_database_up"), 0);
    assert!(figure(&cut, r#"nexarch_database_errors_total{operation="versions"}"#) >= 1.0);
    assert!(figure(&cut, r#"nexarch_database_errors_total{operation="ping"}"#) >= 1.0);
    let errors = "nexarch_cache_authority_read_errors_total";
    assert!(figure(&cut, errors) > figure(&well, errors));
    app.lifecycle.stop().cancel();
}

#[tokio::test]
async fn what_waits_for_the_writer_is_seen_and_a_full_queue_is_counted() {
    // Its writer does not run.
    let (ingest, _writer) = Ingest::new(1 << 20);
    let caller = Caller::of_tenant("acme".parse().unwrap());
    let written = |ingest: &Ingest| {
        let mut page = Page::new(Format::Text);
        super::ingest::write(&mut page, ingest);
        page.finish()
    };
    is(figure(&written(&ingest), "nexarch_ingest_queue_batches"), 0);
    let mut held = ingest.hold(&caller.tenant);
    held.grow(1_000).unwrap();
    let mut waiting: Vec<_> =
        (0..3).map(|_| Box::pin(ingest.store(&caller, Vec::new(), ingest.hold(&caller.tenant)))).collect();
    for store in &mut waiting {
        assert!(futures_util::poll!(store).is_pending());
    }
    let page = written(&ingest);
    is(figure(&page, "nexarch_ingest_queue_batches"), 3);
    is(figure(&page, "nexarch_ingest_inflight_bytes"), 1_000);
    let mut more: Vec<_> = (3..=1_024)
        .map(|_| Box::pin(ingest.store(&caller, Vec::new(), ingest.hold(&caller.tenant))))
        .collect();
    let refused = more.iter_mut().filter_map(futures_util::FutureExt::now_or_never).count();
    let refused = u32::try_from(refused).unwrap();
    assert!(refused > 0);
    let page = written(&ingest);
    is(figure(&page, r#"nexarch_ingest_refused_total{reason="queue_full"}"#), refused);
    is(figure(&page, "nexarch_ingest_queue_batches"), 1_025 - refused);
}

#[test]
fn what_other_nodes_do_is_written_as_it_was_counted() {
    let times = |count| Distribution { buckets: vec![(1.0, count)], count, sum: 0.5 };
    let counts = RemoteCounts {
        rejected: [("corrupt", 1)].into(),
        errors: 2,
        written: 3,
        not_written: 4,
        over_quota: 5,
        published: 6,
        not_published: 7,
        heard: 8,
        garbled: 9,
        waited_for_others: 10,
    };
    let since = UNIX_EPOCH + Duration::from_secs(77);
    let status = RemoteStatus {
        values: true,
        messages: false,
        reason: Some(Reason::Oom),
        since,
        breaker: Breaker::HalfOpen,
        reconnects: 11,
        losses: Losses::default(),
        floods: 17,
        round_trip: (Duration::from_millis(1), Duration::from_millis(2)),
    };
    let remote = NodeRemote { status, counts, commands: [("publish", times(12))].into(), lag: times(13) };
    let node = NodeStats {
        operations: BTreeMap::new(),
        scopes: 0,
        bytes: 0,
        max_bytes: 0,
        evictions: 14,
        authority_reads: times(15),
        authority_errors: 16,
        remote: Some(remote),
    };
    let now = Status {
        backend: Backend::Redis,
        status: Condition::Degraded,
        mode: Mode::Polling,
        staleness_bound: Duration::from_secs(1),
        since,
        reason: Some(Reason::Messages),
    };
    let mut page = Page::new(Format::Text);
    super::cache::write(&mut page, &now, &node);
    let page = page.finish();
    for (name, value) in [
        (r#"nexarch_redis_values_rejected_total{reason="corrupt"}"#, 1),
        ("nexarch_redis_errors_total", 2),
        (r#"nexarch_redis_values_total{result="written"}"#, 3),
        (r#"nexarch_redis_values_total{result="not_written"}"#, 4),
        (r#"nexarch_redis_values_total{result="over_quota"}"#, 5),
        (r#"nexarch_cache_messages_total{result="published"}"#, 6),
        (r#"nexarch_cache_messages_total{result="not_published"}"#, 7),
        (r#"nexarch_cache_messages_total{result="heard"}"#, 8),
        (r#"nexarch_cache_messages_total{result="garbled"}"#, 9),
        ("nexarch_redis_lease_waits_total", 10),
        ("nexarch_redis_reconnects_total", 11),
        ("nexarch_redis_messages_too_long_total", 17),
        (r#"nexarch_redis_command_duration_seconds_count{command="publish"}"#, 12),
        ("nexarch_cache_coherence_lag_seconds_count", 13),
        ("nexarch_cache_evictions_total", 14),
        ("nexarch_cache_authority_read_duration_seconds_count", 15),
        ("nexarch_cache_authority_read_errors_total", 16),
        ("nexarch_cache_staleness_bound_seconds", 1),
        ("nexarch_cache_state_since_timestamp_seconds", 77),
        (r#"nexarch_redis_breaker{state="half_open"}"#, 1),
        (r#"nexarch_redis_breaker{state="open"}"#, 0),
        (r#"nexarch_cache_mode{mode="polling"}"#, 1),
        (r#"nexarch_cache_degraded_reason{reason="messages"}"#, 1),
        (r#"nexarch_cache_degraded_reason{reason="oom"}"#, 0),
    ] {
        assert!((figure(&page, name) - f64::from(value)).abs() < 1e-9, "{name}\n{page}");
    }
}
