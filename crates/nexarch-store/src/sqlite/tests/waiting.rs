//! Traces that wait to be settled: how they are found, how many at once, and what becomes of those that fail.

use std::sync::Arc;

use nexarch_core::span::Span;
use sqlx::{Connection, Row, SqliteConnection, raw_sql};

use super::{fresh, options};
use crate::{
    Options, Role, Store,
    plan::Limits,
    sqlite::settle::{FORGET_PREVIEWS, FORGET_TRACES, TENANTS_DUE, TRACES_DUE, TRACES_SINCE},
    suite::{append, clock::Clock, folded, id, property, spans},
};

async fn open(url: &str, limits: Limits) -> Arc<dyn Store> {
    crate::open(url, Options { limits, ..options(Role::Guest) }).await.unwrap()
}

/// A root and requests below it, which look like orphans until they are settled with it.
fn below_a_root(trace: u64, count: u64) -> Vec<Span> {
    let parent = |id| (id > 1).then(|| spans::span_id(1));
    (1..=count).map(|id| Span { parent_span_id: parent(id), ..spans::span(trace, id, id) }).collect()
}

async fn number(url: &str, sql: &'static str) -> i64 {
    let mut raw = SqliteConnection::connect(url).await.unwrap();
    let number = sqlx::query_scalar(sql).fetch_one(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    number
}

/// Small traces for which an append has no room wait without becoming large: they are settled together, in one
/// transaction, and then like any other again.
#[tokio::test]
async fn small_traces_wait_together_and_stay_small() {
    let (url, _dir) = fresh();
    let limits = Limits { inline_append: 10, ..Limits::default() };
    let (store, tenant) = (open(&url, limits).await, id("acme"));
    store.create_tenant(&tenant, "").await.unwrap();
    let of_each = |range: std::ops::Range<usize>| -> Vec<_> {
        (0..300).flat_map(|number| below_a_root(number, 5)[range.clone()].to_vec()).collect()
    };
    append(&*store, &tenant, of_each(0..1)).await.unwrap();
    for (round, waiting) in [(1, 290), (2, 295)] {
        append(&*store, &tenant, of_each(round..round + 1)).await.unwrap();
        assert_eq!(number(&url, "SELECT count(*) FROM large_trace").await, waiting, "in round {round}");
        // Also while they wait their spans are known, by whoever looks.
        let again = append(&*open(&url, limits).await, &tenant, of_each(0..round + 1)).await.unwrap();
        assert_eq!((again.accepted, again.duplicates), (0, 300 * (round as u64 + 1)));
        assert_ne!(folded(&*store, &tenant).await, property::expected(&of_each(0..round + 1), usize::MAX));
        let settled = store.settle(u64::MAX, None).await.unwrap();
        assert_eq!((settled.changed.len(), settled.more), (1, false), "in one round");
        assert_eq!(folded(&*store, &tenant).await, property::expected(&of_each(0..round + 1), usize::MAX));
        assert_eq!(number(&url, "SELECT count(*) FROM large_trace").await, 0, "none is left");
    }
    let indexes = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'identity_*'";
    assert_eq!(number(&url, indexes).await, 0, "no trace was large");
    // One by one there is room.
    for number in 0..12 {
        append(&*store, &tenant, below_a_root(number, 5)[3..].to_vec()).await.unwrap();
    }
    let mut all = of_each(0..3);
    all.extend((0..12).flat_map(|number| below_a_root(number, 5)[3..].to_vec()));
    assert_eq!(folded(&*store, &tenant).await, property::expected(&all, usize::MAX));
}

/// A trace that waits and grows too large is large from then on, with all its spans.
#[tokio::test]
async fn a_trace_may_become_large_while_it_waits() {
    let (url, _dir) = fresh();
    let limits = Limits { inline_append: 1, inline_trace: 6, settle_spans: 4, ..Limits::default() };
    let (store, tenant) = (open(&url, limits).await, id("acme"));
    store.create_tenant(&tenant, "").await.unwrap();
    let all = spans::trace(1, 12);
    append(&*store, &tenant, all[..3].to_vec()).await.unwrap();
    append(&*store, &tenant, all[3..5].to_vec()).await.unwrap();
    assert_eq!(number(&url, "SELECT sum(indexed) FROM large_trace").await, 0);
    append(&*store, &tenant, all[5..9].to_vec()).await.unwrap();
    assert_eq!(number(&url, "SELECT sum(indexed) FROM large_trace").await, 1);
    append(&*store, &tenant, all[9..].to_vec()).await.unwrap();
    let again = append(&*open(&url, limits).await, &tenant, all.clone()).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 12));
    property::settle_all(&*store).await;
    assert_eq!(folded(&*store, &tenant).await, property::expected(&all, usize::MAX));
    assert_eq!(number(&url, "SELECT count(*) FROM large_trace").await, 1, "large it stays");
}

/// A round takes traces as long as there is room, and tenants in turn.
#[tokio::test]
async fn a_round_is_bounded_and_nobody_waits_for_all_of_another() {
    let (url, _dir) = fresh();
    let limits = Limits { inline_append: 0, settle_traces: 40, settle_spans: 30, ..Limits::default() };
    let store = open(&url, limits).await;
    let names: Vec<String> = (0..20).map(|number| format!("t{number:02}")).collect();
    for name in &names {
        store.create_tenant(&id(name), "").await.unwrap();
        let traces = if name == "t00" { 100 } else { 1 };
        for range in [0..1, 1..3] {
            let spans = (0..traces).flat_map(|number| below_a_root(number, 3)[range.clone()].to_vec());
            append(&*store, &id(name), spans.collect()).await.unwrap();
        }
    }
    let mut served = Vec::new();
    loop {
        let round = store.settle(u64::MAX, None).await.unwrap();
        served.push(round.changed.iter().map(|(tenant, _)| tenant.to_string()).collect::<Vec<_>>());
        if !round.more {
            break;
        }
    }
    assert_eq!(served[0], names[..16], "one transaction each");
    assert_eq!(served[1], names[16..], "then those behind them");
    assert_eq!(served.len(), 2 + 6, "15 traces of 2 spans a round");
    assert!(served[2..].iter().all(|round| *round == ["t00"]), "{served:?}");
}

/// Looking for what is due, and removing it, searches: it does not read all traces that ever were large.
#[tokio::test]
async fn what_waits_is_found_by_the_index() {
    let (url, _dir) = fresh();
    open(&url, Limits::default()).await.close().await;
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    for (sql, wanted) in [
        (TENANTS_DUE, "SEARCH l USING COVERING INDEX large_trace_due (tenant>?)"),
        (TENANTS_DUE, "SEARCH l USING COVERING INDEX large_trace_due (tenant=? AND due_us<?)"),
        (TENANTS_DUE, "SEARCH l USING COVERING INDEX large_trace_due (tenant=? AND due_us>?)"),
        (TRACES_DUE, "SEARCH l USING INDEX large_trace_due (tenant=? AND due_us<?)"),
        (TRACES_DUE, "SEARCH l USING INDEX large_trace_due (tenant=? AND due_us>?)"),
        (TRACES_SINCE, "SEARCH l USING INDEX large_trace_due (tenant=? AND due_us>?)"),
        (FORGET_PREVIEWS, "SEARCH preview USING PRIMARY KEY (tenant=? AND trace=? AND day=? AND chunk=?)"),
        (FORGET_TRACES, "SEARCH large_trace USING PRIMARY KEY (tenant=? AND key=? AND trace=?)"),
        (FORGET_TRACES, "SEARCH p USING PRIMARY KEY (tenant=? AND trace=?)"),
    ] {
        let query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let rows = query.bind(1).bind(1).bind(1).fetch_all(&mut raw).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(3)).collect();
        assert!(plan.iter().any(|step| step == wanted), "{wanted}\n{plan:#?}");
        let scans = ["SCAN l", "SCAN large_trace", "SCAN preview", "SCAN p", "USE TEMP B-TREE"];
        let scanned =
            |step: &&String| scans.iter().any(|scan| step.as_str() == *scan || step.starts_with("USE TEMP"));
        assert_eq!(plan.iter().find(scanned), None, "{plan:#?}");
    }
}

/// What a round has committed is told, also when it fails later: nobody else tells the cache.
#[tokio::test]
async fn a_round_that_fails_tells_what_it_changed() {
    let (url, _dir) = fresh();
    let limits = Limits { inline_append: 0, ..Limits::default() };
    let store = open(&url, limits).await;
    for tenant in ["a", "b", "c"] {
        store.create_tenant(&id(tenant), "").await.unwrap();
        append(&*store, &id(tenant), below_a_root(1, 1)).await.unwrap();
        append(&*store, &id(tenant), below_a_root(1, 3)[1..].to_vec()).await.unwrap();
    }
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    // Neither can the second tenant be settled, nor can its trace be put off.
    for change in ["DELETE", "UPDATE"] {
        let sql = format!(
            "CREATE TRIGGER no_{change} BEFORE {change} ON large_trace
             WHEN old.tenant = (SELECT number FROM tenant WHERE id = 'b') BEGIN SELECT RAISE(ABORT, 'broken'); END"
        );
        raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut raw).await.unwrap();
    }
    let round = store.settle(u64::MAX, None).await.unwrap();
    let changed: Vec<_> = round.changed.iter().map(|(tenant, _)| tenant.as_str()).collect();
    assert_eq!((changed, round.more), (vec!["a"], true));
    assert_eq!(round.changed[0].1, store.versions(&[id("a")]).await.unwrap().versions[0]);
    let rounds = [store.settle(u64::MAX, None).await, store.settle(u64::MAX, None).await];
    assert!(rounds.iter().any(Result::is_err), "with nothing to tell it is an error: {rounds:?}");
    raw_sql("DROP TRIGGER no_DELETE; DROP TRIGGER no_UPDATE").execute(&mut raw).await.unwrap();
    property::settle_all(&*store).await;
    for tenant in ["a", "b", "c"] {
        assert_eq!(folded(&*store, &id(tenant)).await, property::expected(&below_a_root(1, 3), usize::MAX));
    }
}

/// A trace that cannot be settled is left alone for a while, also when more spans come for it; others are not.
#[tokio::test]
async fn what_cannot_be_settled_is_not_tried_again_with_each_span() {
    let (url, _dir) = fresh();
    let clock = Clock::default();
    let limits = Limits { inline_append: 0, ..Limits::default() };
    let store =
        crate::open(&url, Options { limits, ..Options::new(Role::Guest, clock.reader()) }).await.unwrap();
    let (tenant, second) = (id("acme"), 1_000_000);
    store.create_tenant(&tenant, "").await.unwrap();
    for number in [1, 2] {
        append(&*store, &tenant, below_a_root(number, 1)).await.unwrap();
        append(&*store, &tenant, below_a_root(number, 3)[1..].to_vec()).await.unwrap();
    }
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let sql = format!(
        "CREATE TRIGGER broken BEFORE DELETE ON preview WHEN hex(old.trace) = '{}' COLLATE NOCASE
         BEGIN SELECT RAISE(ABORT, 'broken'); END",
        spans::trace_id(1)
    );
    raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut raw).await.unwrap();
    let start = clock.now_us() + 30 * second;
    let (mut failed, mut changed) = (0, 0);
    for look in 0..(30 * 60 / 5) {
        clock.set(start + look * 5 * second);
        if look % 2 == 0 && look < 60 {
            let span = below_a_root(1, 3 + look + 1).pop().unwrap();
            append(&*store, &tenant, vec![span]).await.unwrap();
        }
        loop {
            let round = store.settle(clock.now_us(), None).await.unwrap();
            failed += round.failed.len();
            changed += round.changed.len();
            if !round.more {
                break;
            }
        }
    }
    assert_eq!((failed, changed), (1, 1), "in half an hour of looks every 5 s");
    raw_sql("DROP TRIGGER broken").execute(&mut raw).await.unwrap();
    clock.set(start + 3_600 * second * 3);
    store.settle(clock.now_us(), None).await.unwrap();
    assert_eq!(number(&url, "SELECT count(*) FROM large_trace").await, 0);
}

/// A trace to which spans come while it is settled, round after round, waits anew each time, and longer: it does not keep
/// the server busy.
#[tokio::test]
async fn a_trace_that_grows_all_the_time_is_settled_now_and_then() {
    const SECOND: u64 = 1_000_000;
    let (url, _dir) = fresh();
    let clock = Clock::default();
    let limits = Limits { inline_trace: 2, settle_spans: 4, ..Limits::default() };
    let store = super::backend(&url, Options { limits, ..Options::new(Role::Guest, clock.reader()) }).await;
    let (tenant, all) = (id("acme"), below_a_root(1, 900));
    store.create_tenant(&tenant, "").await.unwrap();
    append(&store, &tenant, all[..3].to_vec()).await.unwrap();
    let mut rest = all[3..].iter();
    for _ in 0..8 {
        append(&store, &tenant, vec![rest.next().unwrap().clone()]).await.unwrap();
    }
    let start = clock.now_us();
    let mut rounds = Vec::new();
    for second in 0..1_000 {
        clock.set(start + second * SECOND);
        while let Some(due) = store.tenants_in_turn(clock.now_us(), None).await.unwrap().pop() {
            let read = store.read_traces(&due, 9).await.unwrap();
            append(&store, &tenant, vec![rest.next().unwrap().clone()]).await.unwrap();
            store.write_traces(&due, read).await.unwrap();
            rounds.push(second);
            assert!(rounds.len() < 20, "it is settled all the time: {rounds:?}");
        }
    }
    // Three rounds for what has no room in one, 30 s after the last span each; then the wait doubles.
    assert_eq!(rounds, [30, 60, 90, 150, 270, 510, 990]);
    property::settle_all(&store).await;
    let sent = all.len() - rest.len();
    assert_eq!(folded(&store, &tenant).await, property::expected(&all[..sent], usize::MAX));
}

/// What an import settles has an end, also beside somebody who sends spans of the same trace all the time.
#[tokio::test]
async fn what_began_to_wait_later_is_left_to_later() {
    let (url, _dir) = fresh();
    let clock = Clock::default();
    let limits = Limits { inline_trace: 2, ..Limits::default() };
    let options = Options { limits, ..Options::new(Role::Guest, clock.reader()) };
    let (store, tenant, all) = (crate::open(&url, options).await.unwrap(), id("acme"), below_a_root(1, 200));
    store.create_tenant(&tenant, "").await.unwrap();
    append(&*store, &tenant, all[..3].to_vec()).await.unwrap();
    append(&*store, &tenant, all[3..9].to_vec()).await.unwrap();
    let read_until = clock.now_us();
    let mut changed = Vec::new();
    for span in &all[9..] {
        clock.set(clock.now_us() + 1);
        let round = store.settle(read_until, Some(&tenant)).await.unwrap();
        append(&*store, &tenant, vec![span.clone()]).await.unwrap();
        changed.push(round.changed.len());
        assert!(!round.more);
    }
    assert_eq!(changed[0], 1, "it need not be due");
    assert_eq!(changed[1..].iter().sum::<usize>(), 0, "{changed:?}");
}

/// A trace that is taken span by span does not read all its settled spans again for new ones.
#[tokio::test]
async fn settled_spans_of_an_endless_trace_are_not_read_again() {
    let (url, _dir) = fresh();
    let limits = Limits { inline_trace: 2, settle_trace: 4, ..Limits::default() };
    let (store, tenant) = (open(&url, limits).await, id("acme"));
    store.create_tenant(&tenant, "").await.unwrap();
    let mut all = below_a_root(1, 30);
    for range in [0..6, 6..12, 12..18] {
        append(&*store, &tenant, all[range].to_vec()).await.unwrap();
    }
    property::settle_all(&*store).await;
    // Whoever reads one of these tells.
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let table = format!("chunk_{}", spans::BASE_NS / 86_400_000_000_000);
    for (from, to) in [("hot", "kept"), ("x'00'", "hot")] {
        let sql = match to {
            "kept" => format!("ALTER TABLE {table} ADD COLUMN kept BLOB; UPDATE {table} SET kept = {from}"),
            _ => format!("UPDATE {table} SET {to} = {from}"),
        };
        raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut raw).await.unwrap();
    }
    append(&*store, &tenant, all[18..24].to_vec()).await.unwrap();
    let round = store.settle(u64::MAX, None).await.unwrap();
    assert!(round.unreadable.is_empty(), "{round:?}");
    let sql = format!("UPDATE {table} SET hot = kept WHERE kept IS NOT NULL");
    raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut raw).await.unwrap();
    assert_eq!(folded(&*store, &tenant).await, property::expected(&all[..24], 4));
    // For a better version of one they are.
    all[2].end_ns = all[2].end_ns.map(|end| end + 70_000_000);
    append(&*store, &tenant, [all[2].clone()].into_iter().chain(all[24..].iter().cloned()).collect())
        .await
        .unwrap();
    property::settle_all(&*store).await;
    assert_eq!(folded(&*store, &tenant).await, property::expected(&all, 4));
}
