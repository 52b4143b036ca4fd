//! Rollups made anew under newer rules.

use sqlx::{Connection, SqliteConnection, raw_sql};

use super::{fresh, open, options};
use crate::{
    OpenError, Options, Place, Role,
    plan::Limits,
    suite::{append, folded, id, open_at, property, spans},
};
use nexarch_core::span::Span;

/// Statements on a database that nobody has open.
async fn change(url: &str, statements: &str) {
    let mut raw = SqliteConnection::connect(url).await.unwrap();
    raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
}

/// Rollups that no rules would make: those of another minute in the place of all, and none where there were some.
const OTHERS: &str = "UPDATE meta SET rules = 0;
    DELETE FROM rollup WHERE seq > 1;
    UPDATE rollup SET blob = (SELECT blob FROM rollup ORDER BY minute DESC LIMIT 1)";

/// Small traces, and one that is large and not settled.
fn limits() -> Limits {
    Limits { inline_trace: 40, inline_append: 60, settle_trace: 1_000, wave: 50, ..Limits::default() }
}

async fn filled(url: &str) -> Vec<Span> {
    let store = crate::open(url, Options { limits: limits(), ..options(Role::Owner) }).await.unwrap();
    let mut all = Vec::new();
    for tenant in ["acme", "other"] {
        store.create_tenant(&id(tenant), "").await.unwrap();
    }
    for number in 1..=30 {
        all.extend(spans::trace(number, 7));
    }
    let large = spans::trace(31, 100);
    for part in [&all[..], &large[..50], &large[50..]] {
        append(&*store, &id("acme"), part.to_vec()).await.unwrap();
    }
    append(&*store, &id("other"), spans::trace(77, 5)).await.unwrap();
    all.extend(large);
    assert_ne!(folded(&*store, &id("acme")).await, property::expected(&all, 1_000), "a preview is stored");
    store.close().await;
    all
}

#[tokio::test]
async fn figures_of_older_rules_are_made_anew_from_the_spans() {
    let (url, _dir) = fresh();
    let mut all = filled(&url).await;
    change(&url, OTHERS).await;
    let before = crate::open(&url, options(Role::Guest)).await.map(drop).unwrap_err();
    assert!(matches!(before, OpenError::OlderRules(_)), "{before:?}");

    let open_limited = async || crate::open(&url, Options { limits: limits(), ..options(Role::Owner) }).await;
    let store = open_limited().await.unwrap();
    let acme = id("acme");
    assert_eq!(folded(&*store, &acme).await, property::expected(&all, 1_000), "all traces as a whole");
    assert_eq!(folded(&*store, &id("other")).await, property::expected(&spans::trace(77, 5), 1_000));
    // What is added, taken back and settled afterwards meets what is stored.
    let more = [spans::trace(31, 130)[100..].to_vec(), spans::trace(5, 9)[7..].to_vec()].concat();
    append(&*store, &acme, more.clone()).await.unwrap();
    all.extend(more);
    property::settle_all(&*store).await;
    assert_eq!(folded(&*store, &acme).await, property::expected(&all, 1_000));
    assert_eq!(append(&*store, &acme, all.clone()).await.unwrap().duplicates, all.len() as u64);
    store.close().await;
    let guest = crate::open(&url, options(Role::Guest)).await.unwrap();
    guest.close().await;
}

#[tokio::test]
async fn a_tenant_that_is_read_several_times_is_the_same() {
    let (url, _dir) = fresh();
    let all = filled(&url).await;
    change(&url, OTHERS).await;
    let store =
        crate::open(&url, Options { limits: Limits { anew_spans: 13, ..limits() }, ..options(Role::Owner) })
            .await
            .unwrap();
    assert_eq!(folded(&*store, &id("acme")).await, property::expected(&all, 1_000));
}

#[tokio::test]
async fn what_an_attempt_left_is_not_added_twice() {
    let (url, _dir) = fresh();
    let all = filled(&url).await;
    change(&url, OTHERS).await;
    change(&url, "INSERT INTO rollup SELECT -tenant, grain, minute, seq, blob FROM rollup").await;
    let store = crate::open(&url, Options { limits: limits(), ..options(Role::Owner) }).await.unwrap();
    assert_eq!(folded(&*store, &id("acme")).await, property::expected(&all, 1_000));
}

#[tokio::test]
async fn longer_cells_and_what_dropped_days_left_are_kept() {
    let (url, _dir) = fresh();
    let clock = crate::suite::clock::Clock::default();
    let owner = || Options::new(Role::Owner, clock.reader());
    let store = crate::open(&url, owner()).await.unwrap();
    let acme = id("acme");
    store.create_tenant(&acme, "").await.unwrap();
    let all: Vec<Span> = (1..=6).flat_map(|number| spans::trace(number, 7)).collect();
    append(&*store, &acme, all.clone()).await.unwrap();
    let whole = folded(&*store, &acme).await;
    let newest_us = all.iter().map(|span| span.start_ns / 1_000).max().unwrap();
    clock.set(newest_us + 4 * 86_400_000_000);
    let mut place = Some(Place::default());
    while let Some(from) = place {
        place = store.compact(from).await.unwrap().next;
    }
    store.close().await;
    // A day before, of which no spans are stored any more.
    let older = whole[0].0 - 3 * 1_440;
    change(
        &url,
        &format!(
            "UPDATE meta SET rules = 0;
             INSERT INTO rollup SELECT tenant, grain, {older} / 60 * 60, 1, blob FROM rollup WHERE grain = 60 LIMIT 1;
             DELETE FROM rollup WHERE minute > {older} + 60"
        ),
    )
    .await;
    let store = crate::open(&url, owner()).await.unwrap();
    let found = folded(&*store, &acme).await;
    assert_eq!(found[0].0, older / 60 * 60, "what cannot be made anew stays");
    assert_eq!(found[1..], whole, "in minutes again");
}

/// An empty database is by any rules: a command may make it.
#[tokio::test]
async fn a_new_database_is_by_the_rules_of_who_makes_it() {
    let (url, _dir) = fresh();
    open(&url, Role::Guest).await.close().await;
    open_at(&url, &crate::suite::clock::Clock::default()).await.close().await;
}

/// A day of which this tenant has no spans keeps its figures, also when somebody else has spans of it.
#[tokio::test]
async fn figures_of_a_day_without_own_spans_stay() {
    let (url, _dir) = fresh();
    let day_ns = 86_400_000_000_000;
    let at_day = |day: u64| Span { start_ns: spans::BASE_NS + day * day_ns, ..spans::span(day, 1, 0) };
    let store = open(&url, Role::Owner).await;
    for (tenant, days) in [("acme", vec![0, 1]), ("other", vec![0])] {
        store.create_tenant(&id(tenant), "").await.unwrap();
        append(&*store, &id(tenant), days.into_iter().map(at_day).collect()).await.unwrap();
    }
    let whole = folded(&*store, &id("acme")).await;
    store.close().await;
    let day = spans::BASE_NS / day_ns;
    // The spans of that day are gone, as when it was dropped and came again with spans of the other tenant.
    let gone = "WHERE tenant = (SELECT number FROM tenant WHERE id = 'acme')";
    change(
        &url,
        &format!("UPDATE meta SET rules = 0; DELETE FROM chunk_{day} {gone}; DELETE FROM trace_{day} {gone}"),
    )
    .await;
    let store = open(&url, Role::Owner).await;
    assert_eq!(whole.len(), 2);
    assert_eq!(folded(&*store, &id("acme")).await, whole);
}
