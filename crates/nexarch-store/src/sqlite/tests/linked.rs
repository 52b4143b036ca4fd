//! Settling of traces with links beside those who store and settle.

use nexarch_core::span::{Kind, Span};
use sqlx::{Connection, Row, SqliteConnection};

use super::{fresh, options};
use crate::{
    Options, Role, Store,
    plan::Limits,
    sqlite::links::WAKE,
    suite::{
        append,
        clock::Clock,
        folded, id,
        linking::{linked, message},
        property, spans,
    },
};

fn sent() -> Span {
    message(Kind::Producer, (1, 1), "shop", "send")
}

fn taken(trace: u64) -> Span {
    linked(message(Kind::Consumer, (trace, 9), "stock", "process"), &[(1, 1)])
}

async fn number(url: &str, sql: &'static str) -> i64 {
    let mut raw = SqliteConnection::connect(url).await.unwrap();
    let number = sqlx::query_scalar(sql).fetch_one(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    number
}

/// What comes for the other end while a trace is settled wakes it again.
#[tokio::test]
async fn an_end_that_comes_while_a_trace_is_settled_is_not_missed() {
    let (url, _dir) = fresh();
    let clock = Clock::default();
    let store = super::backend(&url, Options::new(Role::Guest, clock.reader())).await;
    let acme = id("acme");
    store.create_tenant(&acme, "").await.unwrap();
    append(&store, &acme, vec![taken(2)]).await.unwrap();
    clock.set(clock.now_us() + 60_000_000);
    let due = store.tenants_in_turn(clock.now_us(), None).await.unwrap().pop().unwrap();
    let read = store.read_traces(&due, 9).await.unwrap();
    append(&store, &acme, vec![sent()]).await.unwrap();
    store.write_traces(&due, read).await.unwrap();
    property::settle_all(&store).await;
    assert_eq!(folded(&store, &acme).await, property::expected(&[taken(2), sent()], usize::MAX));
}

/// Two that settle one trace at a time: the second gives up, also where there are no previews to miss.
#[tokio::test]
async fn a_trace_with_links_is_settled_by_one() {
    let (url, _dir) = fresh();
    let clock = Clock::default();
    let store = super::backend(&url, Options::new(Role::Guest, clock.reader())).await;
    let other = super::backend(&url, Options::new(Role::Guest, clock.reader())).await;
    let acme = id("acme");
    store.create_tenant(&acme, "").await.unwrap();
    append(&store, &acme, vec![sent(), taken(2)]).await.unwrap();
    let mut reads = Vec::new();
    for store in [&store, &other] {
        let due = store.tenants_in_turn(u64::MAX, None).await.unwrap().pop().unwrap();
        reads.push((store, store.read_traces(&due, 9).await.unwrap(), due));
    }
    for (store, read, due) in reads {
        store.write_traces(&due, read).await.unwrap();
    }
    property::settle_all(&store).await;
    assert_eq!(folded(&store, &acme).await, property::expected(&[sent(), taken(2)], usize::MAX));
}

/// Traces without links are inferred as they come; those with links leave what they need, and it goes with the tenant.
#[tokio::test]
async fn only_what_is_linked_is_kept_and_it_goes_with_its_tenant() {
    let (url, _dir) = fresh();
    let store = crate::open(&url, options(Role::Guest)).await.unwrap();
    let acme = id("acme");
    store.create_tenant(&acme, "").await.unwrap();
    append(&*store, &acme, (3..30).flat_map(|trace| spans::trace(trace, 3)).collect()).await.unwrap();
    append(&*store, &acme, vec![sent()]).await.unwrap();
    assert_eq!(number(&url, "SELECT count(*) FROM large_trace").await, 0);
    append(&*store, &acme, vec![taken(2)]).await.unwrap();
    assert_eq!(
        number(&url, "SELECT count(*) FROM large_trace WHERE due_us NOT NULL").await,
        2,
        "both ends wait"
    );
    property::settle_all(&*store).await;
    assert_eq!(number(&url, "SELECT count(*) FROM large_trace WHERE due_us NOT NULL").await, 0);
    assert_eq!(
        number(&url, "SELECT count(*) FROM large_trace WHERE ends NOT NULL").await,
        1,
        "the one that needs it"
    );
    store.delete_tenant(&acme).await.unwrap();
    crate::suite::purge(&*store).await;
    for sql in ["SELECT count(*) FROM link", "SELECT count(*) FROM large_trace"] {
        assert_eq!(number(&url, sql).await, 0, "{sql}");
    }
}

/// Figures that are made anew know the ends that were known, and what waited goes on to.
#[tokio::test]
async fn figures_made_anew_keep_what_links_say() {
    let (url, _dir) = fresh();
    let store = crate::open(&url, options(Role::Owner)).await.unwrap();
    let acme = id("acme");
    store.create_tenant(&acme, "").await.unwrap();
    append(&*store, &acme, vec![sent(), taken(2)]).await.unwrap();
    property::settle_all(&*store).await;
    append(&*store, &acme, vec![taken(3)]).await.unwrap();
    store.close().await;
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE meta SET rules = 0").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    let store = crate::open(&url, options(Role::Owner)).await.unwrap();
    let before = folded(&*store, &acme).await;
    let mut two = property::delta(&[sent(), taken(2)], usize::MAX);
    two.add(&property::delta(&[taken(3)], usize::MAX));
    assert_eq!(before, crate::suite::fold(two.encode()), "what was settled is, what was not is not yet");
    property::settle_all(&*store).await;
    assert_eq!(folded(&*store, &acme).await, property::expected(&[sent(), taken(2), taken(3)], usize::MAX));
}

/// A trace that is taken hour by hour is settled alone, also when what is due next has no spans.
#[tokio::test]
async fn a_trace_of_hours_is_settled_alone() {
    let (url, _dir) = fresh();
    let clock = Clock::default();
    let limits = Limits { inline_trace: 2, settle_trace: 4, ..Limits::default() };
    let options = Options { limits, ..Options::new(Role::Guest, clock.reader()) };
    let store = crate::open(&url, options).await.unwrap();
    let acme = id("acme");
    store.create_tenant(&acme, "").await.unwrap();
    let below = |id: u64| Span {
        parent_span_id: (id > 1).then(|| spans::span_id(1)),
        ..spans::span(5, id, id % 3 * 3_600_000_000_000)
    };
    let mut all: Vec<Span> = (1..10).map(below).collect();
    append(&*store, &acme, all[..3].to_vec()).await.unwrap();
    append(&*store, &acme, all[3..].to_vec()).await.unwrap();
    clock.set(clock.now_us() + 1_000_000);
    let nowhere: Vec<(u64, u64)> = (100..120).map(|trace| (trace, 1)).collect();
    all.push(linked(message(Kind::Consumer, (2, 9), "stock", "process"), &nowhere));
    append(&*store, &acme, all[9..].to_vec()).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(folded(&*store, &acme).await, property::expected(&all, 4));
}

/// Waking searches: it reads neither all links nor all traces that have some.
#[tokio::test]
async fn what_is_woken_is_found_by_the_index() {
    let (url, _dir) = fresh();
    crate::open(&url, options(Role::Guest)).await.unwrap().close().await;
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {WAKE}")));
    let rows = query.bind(1).bind("[1]").fetch_all(&mut raw).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(3)).collect();
    for wanted in [
        "SEARCH large_trace USING PRIMARY KEY (tenant=? AND key=?)",
        "SEARCH l USING PRIMARY KEY (tenant=? AND target=?)",
        "SEARCH l USING COVERING INDEX link_by_source (tenant=? AND source=?)",
    ] {
        assert!(plan.iter().any(|step| step == wanted), "{wanted}\n{plan:#?}");
    }
}
