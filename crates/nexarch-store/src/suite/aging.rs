//! Appends, compaction and retention in any order give the sums of a plain model that knows neither chunk nor cell.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nexarch_core::{
    facts::{Facts, Identity},
    ids::TraceId,
    infer::contribution,
    rollup::Delta,
    span::Span,
    window::Minutes,
};
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};

use super::{
    append, picture, spans, strategy,
    upkeep::{self, DAY_US, MINUTE_US, RETENTION, check, clock_at, compact, retain},
};
use crate::Store;

/// Databases per run.
const CASES: u32 = 24;

/// Most steps of a life.
const STEPS: usize = 14;

/// Where ranges begin, and their lengths, in minutes: around the few minutes in which spans start.
const EDGES: [u32; 9] = [0, 1, 2, 30, 59, 61, 1_490, 1_500, 1_501];
const LENGTHS: [u32; 8] = [1, 3, 5, 29, 58, 60, 1_441, 1_499];

/// Something that happens.
#[derive(Debug, Clone)]
enum Event {
    /// These spans arrive, in one transaction.
    Arrive(Vec<Span>),
    /// The clock goes on by minutes, or back.
    Time(i64),
    /// Everything due is compacted; or only the first step is.
    Compact(bool),
    /// Everything too old is dropped.
    Retain,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => strategy::crowded().prop_map(unlinked).prop_map(Event::Arrive),
        3 => select(vec![4, 61, 190, 1_440, 2_900, -100]).prop_map(Event::Time),
        3 => any::<bool>().prop_map(Event::Compact),
        1 => Just(Event::Retain),
    ]
}

/// Without links into other traces, which wait to be settled.
fn unlinked(mut spans: Vec<Span>) -> Vec<Span> {
    for span in &mut spans {
        span.links.retain(|link| link.trace_id == span.trace_id);
    }
    spans
}

/// The spans that are stored, and blobs by minute.
#[derive(Default)]
struct Model {
    traces: HashMap<TraceId, HashMap<Identity, Facts>>,
    minutes: BTreeMap<u32, Vec<Vec<u8>>>,
    /// Days that have spans.
    days: BTreeSet<u64>,
    /// Days before this one were dropped, and are gone for good.
    first_day: u64,
}

impl Model {
    fn arrive(&mut self, spans: &[Span]) {
        let mut delta = Delta::default();
        for facts in spans.iter().map(Facts::from) {
            let day = facts.start_ns / 1_000 / DAY_US;
            if day < self.first_day {
                continue;
            }
            let trace = self.traces.entry(facts.trace_id).or_default();
            let all =
                |trace: &HashMap<Identity, Facts>| contribution(&trace.values().cloned().collect::<Vec<_>>());
            let before = all(trace);
            match trace.get(&facts.identity()) {
                Some(known) if !facts.supersedes(known) => {}
                _ => {
                    self.days.insert(day);
                    trace.insert(facts.identity(), facts);
                }
            }
            delta.add(&all(trace));
            delta.subtract(&before);
        }
        for (minute, blob) in delta.encode() {
            self.minutes.entry(minute).or_default().push(blob);
        }
    }

    fn retain(&mut self, now_us: u64) {
        let first_day = now_us.saturating_sub(DAY_US) / DAY_US;
        let dropped = self.days.iter().rev().find(|day| **day < first_day);
        self.first_day = dropped.map_or(self.first_day, |day| self.first_day.max(day + 1));
        self.days.retain(|day| *day >= first_day);
        let first_hour = now_us.saturating_sub(3 * DAY_US) / (60 * MINUTE_US);
        for trace in self.traces.values_mut() {
            trace.retain(|_, facts| facts.start_ns / 1_000 / DAY_US >= first_day);
        }
        self.minutes.retain(|minute, _| u64::from(*minute) >= first_hour * 60);
    }

    fn blobs(&self) -> Vec<(u32, Vec<u8>)> {
        let each = |(minute, blobs): (&u32, &Vec<Vec<u8>>)| {
            blobs.iter().map(|blob| (*minute, blob.clone())).collect::<Vec<_>>()
        };
        self.minutes.iter().flat_map(each).collect()
    }

    fn oldest_ns(&self) -> Option<u64> {
        self.traces.values().flat_map(HashMap::values).map(|facts| facts.start_ns).min()
    }
}

/// See the module; `fresh` gives a URL and whatever keeps it.
pub fn any_life_adds_up<K>(fresh: impl Fn() -> (String, K)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let lives = proptest::collection::vec(event(), 1..STEPS);
    let ranges = proptest::collection::vec((select(EDGES.to_vec()), select(LENGTHS.to_vec())), 6);
    let outcome = runner.run(&(lives, ranges), |(events, ranges)| {
        let (url, _keep) = fresh();
        runtime.block_on(live(&url, events, &ranges));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

async fn live(url: &str, events: Vec<Event>, ranges: &[(u32, u32)]) {
    let clock = clock_at(1_502);
    let (store, tenant) = upkeep::owner_with(url, &clock).await;
    let mut model = Model::default();
    for event in events {
        match event {
            Event::Arrive(spans) => {
                append(&*store, &tenant, spans.clone()).await.expect("stored");
                model.arrive(&spans);
            }
            Event::Time(minutes) => {
                clock.set(clock.now_us().saturating_add_signed(minutes * MINUTE_US.cast_signed()));
            }
            Event::Compact(true) => drop(compact(&*store).await),
            Event::Compact(false) => {
                store.compact(crate::Place::default()).await.expect("a step");
            }
            Event::Retain => {
                retain(&*store, RETENTION).await;
                model.retain(clock.now_us());
            }
        }
        compare(&*store, &tenant, &model, ranges).await;
    }
}

async fn compare(
    store: &dyn Store,
    tenant: &nexarch_core::ids::TenantId,
    model: &Model,
    ranges: &[(u32, u32)],
) {
    let truth = model.blobs();
    for (from, length) in ranges {
        let from = spans::BASE_MINUTE + from;
        check(store, tenant, &truth, Minutes { from, to: from + length }).await;
    }
    let found = picture(store, tenant, &[]).await;
    if found.range.0.is_some() {
        assert_eq!(found.range.1, model.oldest_ns(), "the oldest stored span");
    }
}
