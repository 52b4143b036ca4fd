//! The cache against a plain model of it: sequences of reads, commits, invalidations, time and restores, with every
//! outcome, value and version predicted.

use crate::support::{Gate, TTL, World, cases, render, scope, text, world};
use nexarch_cache::{
    Answer, BoxError, Cause, Changed, Commit, Directives, Error, Invalidation, OperationId, Outcome, Read,
    Scope, ScopeVersions,
};
use proptest::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

const SCOPES: [&str; 2] = ["acme", "beta"];
const OPERATIONS: [&str; 3] = ["overview", "services", "workflows"];
const LEASE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Step {
    Read {
        scope: usize,
        operation: usize,
        params: usize,
        ask: Ask,
        fails: bool,
    },
    /// A commit of this process, announced.
    Ingest(usize),
    /// A commit of another process.
    Foreign(usize),
    Invalidate(usize, Option<usize>),
    Refresh,
    Forget(usize),
    Restore,
    Advance(Duration),
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Nothing,
    NoCache,
    MaxStale(u64),
    OnlyIfCached,
    /// This much above or below the newest version.
    Minimum(i64),
}

fn step(sole: bool) -> impl Strategy<Value = Step> {
    let ask = prop_oneof![
        4 => Just(Ask::Nothing),
        1 => Just(Ask::NoCache),
        1 => (0u64..120).prop_map(Ask::MaxStale),
        1 => Just(Ask::OnlyIfCached),
        1 => (-2i64..=1).prop_map(Ask::Minimum),
    ];
    let advance = prop_oneof![
        (0u64..2_000).prop_map(Duration::from_millis),
        (0u64..160).prop_map(Duration::from_secs),
    ];
    // Refresh and restore of a shared authority depend on which scopes are live; they have tests of their own.
    let rare = u32::from(sole);
    prop_oneof![
        12 => (0..2usize, 0..3usize, 0..2usize, ask, prop::bool::weighted(0.2))
            .prop_map(|(scope, operation, params, ask, fails)| Step::Read { scope, operation, params, ask, fails }),
        3 => (0..2usize).prop_map(Step::Ingest),
        2 => (0..2usize).prop_map(Step::Foreign),
        2 => (0..2usize, prop::option::of(0..3usize)).prop_map(|(scope, operation)| Step::Invalidate(scope, operation)),
        1 => (0..2usize).prop_map(Step::Forget),
        4 => advance.prop_map(Step::Advance),
        rare => Just(Step::Refresh),
        rare => Just(Step::Restore),
    ]
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Parts {
    all: u64,
    operations: [u64; 3],
    data: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    parts: Parts,
    clock: u64,
    asof: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Held {
    text: String,
    label: [u64; 3],
    contains: u64,
    computed: Duration,
    expires: Duration,
}

#[derive(Debug)]
struct Model {
    sole: bool,
    now: Duration,
    epoch_known: bool,
    known: HashMap<usize, Known>,
    held: HashMap<(usize, usize, usize), Held>,
    /// What this process acknowledged: no plain read may get less.
    acknowledged: HashMap<usize, Parts>,
}

fn parts(versions: &ScopeVersions) -> Parts {
    let of =
        |name: &str| versions.operations.iter().find(|(n, _)| n == name).map_or(0, |(_, version)| *version);
    Parts { all: versions.all, operations: OPERATIONS.map(of), data: versions.data }
}

fn covers(label: &[u64], needed: &[u64]) -> bool {
    label.iter().zip(needed).all(|(label, needed)| label >= needed)
}

impl Parts {
    fn raise(&mut self, other: Parts) {
        self.all = self.all.max(other.all);
        self.data = self.data.max(other.data);
        for (own, other) in self.operations.iter_mut().zip(other.operations) {
            *own = (*own).max(other);
        }
    }

    fn fence(&self, operation: usize) -> [u64; 3] {
        [self.all, self.operations[operation], if operation == 2 { 0 } else { self.data }]
    }
}

impl Model {
    fn new(sole: bool) -> Self {
        Self {
            sole,
            now: Duration::ZERO,
            epoch_known: false,
            known: HashMap::new(),
            held: HashMap::new(),
            acknowledged: HashMap::new(),
        }
    }

    /// A read of the authority for one scope.
    fn truth(&mut self, scope: usize, versions: &ScopeVersions) {
        if !self.epoch_known {
            self.epoch_known = true;
            self.known.values_mut().for_each(|known| *known = Known::default());
        }
        let known = self.known.entry(scope).or_default();
        known.parts.raise(parts(versions));
        known.clock = known.clock.max(versions.clock);
        known.asof = Some(self.now);
    }

    fn announced(&mut self, scope: usize, versions: &ScopeVersions) {
        let known = self.known.entry(scope).or_default();
        known.parts.raise(parts(versions));
        if self.epoch_known {
            known.clock = known.clock.max(versions.clock);
            known.asof = Some(self.now);
        }
        self.acknowledged.entry(scope).or_default().raise(parts(versions));
    }

    fn needed(&mut self, scope: usize, versions: &ScopeVersions, minimum: u64) -> Result<Known, String> {
        let (sole, now) = (self.sole, self.now);
        let known = *self.known.entry(scope).or_default();
        let trusted = known.asof.is_some_and(|asof| sole || now <= asof + LEASE);
        if trusted && known.clock >= minimum {
            return Ok(known);
        }
        self.truth(scope, versions);
        let known = self.known[&scope];
        if known.clock < minimum { Err(format!("unknown {minimum} {}", known.clock)) } else { Ok(known) }
    }

    /// What a read is to get, as one line; computing is done as far as it goes without a time to live.
    fn read(
        &mut self,
        key: (usize, usize, usize),
        versions: &ScopeVersions,
        asked: Directives,
        fails: bool,
    ) -> String {
        let known = match self.needed(key.0, versions, asked.min_version) {
            Ok(known) => known,
            Err(refused) => return refused,
        };
        let needed = known.parts.fence(key.1);
        let held = self.held.get(&key).cloned();
        if !asked.no_cache
            && let Some(held) = &held
            && self.now < held.expires
        {
            let age = self.now.saturating_sub(held.computed);
            if covers(&held.label, &needed) {
                return format!("hit {} v{}", held.text, held.contains.max(known.clock));
            }
            let fits = covers(&held.label[..2], &needed[..2]) && held.contains >= asked.min_version;
            if fits && asked.max_stale.is_some_and(|max| age <= max) {
                return format!("overtaken {} v{}", held.text, held.contains);
            }
        }
        if asked.only_if_cached {
            return "not cached".into();
        }
        if fails {
            let grace = if key.1 == 0 { TTL / 2 } else { Duration::ZERO };
            return match held {
                Some(held)
                    if !asked.no_cache && self.now < held.expires + grace && covers(&held.label, &needed) =>
                {
                    format!("stale {} v{}", held.text, held.contains.max(known.clock))
                }
                _ => "failed".into(),
            };
        }
        let mut label = needed;
        if key.1 != 2 {
            label[2] = versions.data;
            let known = self.known.get_mut(&key.0).unwrap();
            known.parts.data = known.parts.data.max(versions.data);
        }
        let contains = label.into_iter().max().unwrap().max(known.clock);
        let new = Held { text: render(versions), label, contains, computed: self.now, expires: self.now };
        let line = format!("computed {} v{contains}", new.text);
        self.held.insert(key, new);
        line
    }
}

fn line(result: &Result<Answer, Error>) -> String {
    match result {
        Ok(answer) => {
            let word = match answer.outcome() {
                Outcome::HitMemory { .. } => "hit",
                Outcome::Overtaken { .. } => "overtaken",
                Outcome::StaleOnError { .. } => "stale",
                Outcome::Miss { .. } | Outcome::Requested { .. } => "computed",
                other => panic!("{other:?}"),
            };
            format!("{word} {} v{}", text(answer), answer.version())
        }
        Err(Error::VersionUnknown { wanted, known }) => format!("unknown {wanted} {known}"),
        Err(Error::NotCached) => "not cached".into(),
        Err(Error::Compute(_)) => "failed".into(),
        Err(other) => panic!("{other:?}"),
    }
}

struct Run {
    world: World,
    model: Model,
    scopes: [Scope; 2],
    operations: [OperationId; 3],
}

impl Run {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Read { scope, operation, params, ask, fails } => {
                self.read((scope, operation, params), ask, fails).await;
            }
            Step::Ingest(scope) => {
                let asked = self.world.cache.now();
                let versions = self.world.db.commit(&self.scopes[scope]);
                let commit = Commit::new(Changed::Data, Cause::Ingest, versions.clone()).read_at(asked);
                self.world.cache.announce(&self.scopes[scope], &commit);
                self.model.announced(scope, &versions);
            }
            Step::Foreign(scope) => drop(self.world.db.commit(&self.scopes[scope])),
            Step::Invalidate(scope, operation) => {
                let one = |operation: usize| Invalidation::Operations(vec![OPERATIONS[operation].into()]);
                let what = operation.map_or(Invalidation::All, one);
                let done =
                    self.world.cache.invalidate(&self.scopes[scope], what, Cause::Manual).await.unwrap();
                let versions = self.world.db.versions(&self.scopes[scope]);
                assert_eq!(done.version, versions.clock);
                self.model.announced(scope, &versions);
            }
            Step::Refresh => self.refresh().await,
            Step::Forget(scope) => {
                self.world.cache.forget(&self.scopes[scope]);
                self.model.known.remove(&scope);
                self.model.held.retain(|key, _| key.0 != scope);
            }
            Step::Restore => {
                self.world.db.lock().epoch += 1;
                self.world.db.lock().scopes.clear();
                self.model.known.values_mut().for_each(|known| *known = Known::default());
                self.model.held.clear();
                self.model.acknowledged.clear();
                self.refresh().await;
            }
            Step::Advance(by) => {
                self.world.clock.advance(by);
                self.model.now += by;
            }
        }
    }

    async fn refresh(&mut self) {
        self.world.cache.refresh().await.unwrap();
        let known: Vec<usize> = self.model.known.keys().copied().collect();
        for scope in known {
            self.model.truth(scope, &self.world.db.versions(&self.scopes[scope]));
        }
        // Read even when no scope is known.
        self.model.epoch_known = true;
    }

    async fn read(&mut self, key: (usize, usize, usize), ask: Ask, fails: bool) {
        let scope = &self.scopes[key.0];
        let versions = self.world.db.versions(scope);
        let mut asked = Directives::default();
        match ask {
            Ask::Nothing => (),
            Ask::NoCache => asked.no_cache = true,
            Ask::MaxStale(seconds) => asked.max_stale = Some(Duration::from_secs(seconds)),
            Ask::OnlyIfCached => asked.only_if_cached = true,
            Ask::Minimum(off) => asked.min_version = versions.clock.saturating_add_signed(off),
        }
        let params = ["a", "b"][key.2];
        let read = Read::new(self.operations[key.1], params).directives(asked);
        let result = if fails {
            let compute = |_| async { Err(BoxError::from("no luck")) };
            self.world.cache.get_or_compute(scope, read, compute).await
        } else {
            let compute = self.world.snapshot(scope, &Gate::new(true));
            self.world.cache.get_or_compute(scope, read, compute).await
        };
        assert_eq!(line(&result), self.model.read(key, &versions, asked, fails));
        let Ok(answer) = result else { return };
        if let Outcome::Miss { stored } | Outcome::Requested { stored, .. } = answer.outcome() {
            let ttl = stored.unwrap();
            assert!(ttl <= TTL && ttl >= TTL * 9 / 10);
            self.model.held.get_mut(&key).unwrap().expires = self.model.now + ttl;
        }
        assert!(answer.version() >= asked.min_version);
        let label = answer.label();
        let acknowledged = self.model.acknowledged.get(&key.0).copied().unwrap_or_default().fence(key.1);
        let overtaken = matches!(answer.outcome(), Outcome::Overtaken { .. });
        let label = [label.tenant, label.operation, if overtaken { u64::MAX } else { label.data }];
        assert!(covers(&label, &acknowledged), "{label:?} is less than was acknowledged, {acknowledged:?}");
    }
}

fn check(sole: bool, steps: Vec<Step>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = world(sole);
        let operations = [world.overview, world.services, world.workflows];
        let mut run = Run { world, model: Model::new(sole), scopes: SCOPES.map(scope), operations };
        for step in steps {
            run.step(step).await;
        }
        let held: u64 = run.scopes.iter().map(|scope| run.world.cache.stats(scope).memory.entries).sum();
        assert_eq!(held, run.model.held.len() as u64);
    });
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn a_sole_owner_does_what_the_model_says(steps in prop::collection::vec(step(true), 1..80)) {
        check(true, steps);
    }

    #[test]
    fn one_of_several_does_what_the_model_says(steps in prop::collection::vec(step(false), 1..80)) {
        check(false, steps);
    }
}
