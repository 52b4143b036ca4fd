//! Several nodes and a script of faults that is itself the input: what breaks is made shorter until every line of it is
//! needed. The simulator draws its games from a seed, which plays many more of them and shrinks none.

use crate::game::database::{Connection, Database, Trouble};
use crate::game::oracle::{Asked, Oracle, Parts, parts};
use crate::support::{cases, scope};
use nexarch_cache::testing::{Faults, FaultyRemote, Hub, Rng, VirtualClock, message};
use nexarch_cache::{
    Answer, BoxError, Cache, Cause, Changed, Commit, Computed, Directives, Epoch, Error, Invalidation,
    Operation, Read, Reason, Scope, ScopeVersions,
};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

const NODES: usize = 3;
const OPERATIONS: [&str; 2] = ["overview", "services"];
const TTL: Duration = Duration::from_secs(5);

/// No read takes longer, whatever happens: a computation that runs and one that waits, calls that are given up, a node
/// that died with a lease, and a database that does not answer for each of them.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
enum Step {
    /// Begins, and goes on while the script does. The computation takes so many milliseconds, and may fail.
    Read {
        node: usize,
        operation: usize,
        ask: Ask,
        takes: u64,
        fails: bool,
    },
    Ingest(usize),
    Invalidate(usize, Option<usize>),
    /// Ends without a word and starts anew.
    Crash(usize),
    Database(usize, Trouble),
    Redis(usize, Fault),
    Tier(Tier),
    /// A message of nobody; near the truth, or beyond all of it.
    Forge {
        data: bool,
        near: bool,
    },
    /// Milliseconds.
    Pass(u64),
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Nothing,
    NoCache,
    MaxStale(u64),
    Minimum,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Away,
    Deaf,
    Slow,
    Breaks,
    Garbles,
    Swaps,
    Forgets,
    Loses,
    Doubles,
    Late,
}

#[derive(Clone, Copy, Debug)]
enum Tier {
    Flush,
    Replicate,
    FailOver,
    Evict,
}

impl Fault {
    fn faults(self) -> Faults {
        let ms = Duration::from_millis;
        let mut faults = Faults { delay: (ms(0), ms(2)), ..Faults::default() };
        match self {
            Self::None => {}
            Self::Away => faults.away = Some(Reason::Timeout),
            Self::Deaf => faults.deaf = true,
            Self::Slow => faults.delay = (ms(0), ms(150)),
            Self::Breaks => faults.breaks = 0.5,
            Self::Garbles => faults.garbles = 0.5,
            Self::Swaps => faults.swaps = 0.5,
            Self::Forgets => faults.forgets = 0.5,
            Self::Loses => faults.loses = 0.7,
            Self::Doubles => faults.doubles = 0.7,
            Self::Late => faults.lags = (ms(0), ms(3000)),
        }
        faults
    }
}

fn step() -> impl Strategy<Value = Step> {
    let ask = prop_oneof![
        6 => Just(Ask::Nothing),
        1 => Just(Ask::NoCache),
        1 => (0u64..4000).prop_map(Ask::MaxStale),
        2 => Just(Ask::Minimum),
    ];
    let node = || 0..NODES;
    let fault = prop::sample::select(vec![
        Fault::None,
        Fault::Away,
        Fault::Deaf,
        Fault::Slow,
        Fault::Breaks,
        Fault::Garbles,
        Fault::Swaps,
        Fault::Forgets,
        Fault::Loses,
        Fault::Doubles,
        Fault::Late,
    ]);
    let trouble = prop::sample::select(vec![Trouble::None, Trouble::Slow, Trouble::Refuses, Trouble::Hangs]);
    let tier = prop::sample::select(vec![Tier::Flush, Tier::Replicate, Tier::FailOver, Tier::Evict]);
    let pass = prop_oneof![6 => 0u64..50, 3 => 50u64..1200, 1 => 1200u64..8000];
    prop_oneof![
        20 => (node(), 0..2usize, ask, 0u64..200, prop::bool::weighted(0.1))
            .prop_map(|(node, operation, ask, takes, fails)| Step::Read { node, operation, ask, takes, fails }),
        5 => node().prop_map(Step::Ingest),
        3 => (node(), prop::option::of(0..2usize)).prop_map(|(node, operation)| Step::Invalidate(node, operation)),
        1 => node().prop_map(Step::Crash),
        3 => (node(), trouble).prop_map(|(node, trouble)| Step::Database(node, trouble)),
        5 => (node(), fault).prop_map(|(node, fault)| Step::Redis(node, fault)),
        2 => tier.prop_map(Step::Tier),
        1 => any::<(bool, bool)>().prop_map(|(data, near)| Step::Forge { data, near }),
        12 => pass.prop_map(Step::Pass),
    ]
}

/// A mistake that the script has to find.
#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    None,
    /// A change is acknowledged, and nobody is told of it.
    Silent,
    /// A computation reads the data before it is asked to, and says nothing of it.
    ReadsEarly,
}

struct Node {
    cache: Cache,
    remote: Arc<FaultyRemote>,
    connection: Arc<Connection>,
    _runs: DropGuard,
}

/// What was asked, what is due, and what comes.
type Asker = (Asked, Parts, JoinHandle<Result<Answer, Error>>);

struct Run {
    mistake: Mistake,
    began: Instant,
    database: Arc<Database>,
    hub: Arc<Hub>,
    oracle: Oracle,
    nodes: Vec<Node>,
    scope: Scope,
    seeds: u64,
    reads: Vec<Asker>,
    broken: Vec<String>,
}

impl Run {
    fn new(mistake: Mistake) -> Self {
        let began = Instant::now();
        let hub = Hub::new(Arc::new(VirtualClock::new(began)));
        let mut run = Self {
            mistake,
            began,
            database: Arc::default(),
            hub,
            oracle: Oracle::default(),
            nodes: Vec::new(),
            scope: scope("acme"),
            seeds: 0,
            reads: Vec::new(),
            broken: Vec::new(),
        };
        for _ in 0..NODES {
            let node = run.node();
            run.nodes.push(node);
        }
        run
    }

    /// A process that starts now.
    fn node(&mut self) -> Node {
        self.seeds += 1;
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let connection = Connection::new(self.database.clone(), Rng::new(self.seeds));
        let remote = self.hub.node(self.seeds, tracker.clone());
        let cache = Cache::builder(connection.clone())
            .clock(Arc::new(VirtualClock::new(self.began)))
            .remote(remote.clone())
            .operations([
                Operation::new(OPERATIONS[0], TTL).with_grace(TTL),
                Operation::new(OPERATIONS[1], TTL),
            ])
            .build(tracker.clone())
            .unwrap();
        tracker.spawn(cache.clone().run(stop.clone()));
        Node { cache, remote, connection, _runs: stop.drop_guard() }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Read { node, operation, ask, takes, fails } => {
                self.read(node, OPERATIONS[operation], ask, takes, fails);
                // So far that it has asked for what it needs.
                tokio::task::yield_now().await;
            }
            Step::Ingest(node) => self.ingest(node).await,
            Step::Invalidate(node, operation) => self.invalidate(node, operation).await,
            Step::Crash(node) => self.nodes[node] = self.node(),
            Step::Database(node, trouble) => self.nodes[node].connection.set_trouble(trouble),
            Step::Redis(node, fault) => self.nodes[node].remote.set_faults(fault.faults()),
            Step::Tier(Tier::Flush) => self.hub.flush(),
            Step::Tier(Tier::Replicate) => self.hub.replicate(),
            Step::Tier(Tier::FailOver) => self.hub.fail_over(),
            Step::Tier(Tier::Evict) => self.hub.evict(0.5, &mut Rng::new(self.seeds)),
            Step::Forge { data, near } => self.forge(data, near),
            Step::Pass(ms) => sleep(Duration::from_millis(ms)).await,
        }
    }

    async fn ingest(&self, at: usize) {
        let node = &self.nodes[at];
        let asked = node.cache.now();
        // Committed or not, what is not acknowledged promises nothing.
        let Ok(versions) = node.connection.commit(&self.scope).await else { return };
        if self.mistake != Mistake::Silent {
            let commit = Commit::new(Changed::Data, Cause::Ingest, versions.clone()).read_at(asked);
            node.cache.announce(&self.scope, &commit);
        }
        self.oracle.acknowledge(at, 0, versions);
    }

    async fn invalidate(&self, at: usize, operation: Option<usize>) {
        let names: Vec<_> = operation.map(|operation| OPERATIONS[operation].to_owned()).into_iter().collect();
        let what = if names.is_empty() { Invalidation::All } else { Invalidation::Operations(names.clone()) };
        let Ok(done) = self.nodes[at].cache.invalidate(&self.scope, what, Cause::Manual).await else {
            return;
        };
        let version = done.version;
        let all = if names.is_empty() { version } else { 0 };
        let operations = names.into_iter().map(|name| (name, version)).collect();
        self.oracle.acknowledge(at, 0, ScopeVersions { clock: version, data: 0, all, operations });
    }

    fn forge(&self, data: bool, near: bool) {
        let version = if near { self.database.snapshot(&self.scope).clock + 2 } else { u64::MAX >> 1 };
        let versions = if data {
            ScopeVersions { data: version, ..ScopeVersions::default() }
        } else {
            ScopeVersions { all: version, ..ScopeVersions::default() }
        };
        self.hub.forge(&message(Epoch::new(7), &self.scope, &versions));
    }

    fn read(&mut self, node: usize, operation: &'static str, ask: Ask, takes: u64, fails: bool) {
        let mut directives = Directives::default();
        match ask {
            Ask::Nothing => {}
            Ask::NoCache => directives.no_cache = true,
            Ask::MaxStale(ms) => directives.max_stale = Some(Duration::from_millis(ms)),
            Ask::Minimum => directives.min_version = self.oracle.newest(0),
        }
        let (min_version, max_stale) = (directives.min_version, directives.max_stale);
        let asked = Asked { node, scope: 0, operation, min_version, max_stale, at: Instant::now() };
        let due = self.oracle.due(&asked);
        let (cache, scope, database) =
            (self.nodes[node].cache.clone(), self.scope.clone(), self.database.clone());
        let early = (self.mistake == Mistake::ReadsEarly).then(|| database.snapshot(&scope));
        let of = scope.clone();
        let compute = move |_| async move {
            let half = Duration::from_millis(takes) / 2;
            sleep(half).await;
            let seen = early.clone().unwrap_or_else(|| database.snapshot(&of));
            sleep(half).await;
            if fails {
                return Err(BoxError::from("no luck"));
            }
            let Parts { all, operation, data } = parts(&seen, operation);
            let computed = Computed::new(format!("{all} {operation} {data}"));
            Ok(if early.is_some() { computed } else { computed.with_data_version(seen.data) })
        };
        let read = TaskTracker::new().spawn(async move {
            let read = Read::new(cache.operation(operation)?, "p").directives(directives);
            timeout(PATIENCE, cache.get_or_compute(&scope, read, compute)).await.expect("a read that ends")
        });
        self.reads.push((asked, due, read));
    }

    /// What was wrong with any answer.
    async fn end(mut self) -> Vec<String> {
        for (asked, due, read) in std::mem::take(&mut self.reads) {
            match read.await.unwrap() {
                Ok(answer) => self.judge(&asked, due, &answer),
                // The computation's own error, and the database's, reach the caller; nothing else does.
                Err(Error::Compute(error)) if error.to_string() == "no luck" => {}
                Err(Error::Unverified(_)) => {}
                Err(other) => self.broken.push(format!("{asked:?}: {other}")),
            }
        }
        self.broken
    }

    fn judge(&mut self, asked: &Asked, due: Parts, answer: &Answer) {
        let text = String::from_utf8_lossy(answer.body());
        let numbers: Vec<u64> = text.split(' ').map_while(|word| word.parse().ok()).collect();
        let &[all, operation, data] = &numbers[..] else {
            return self.broken.push(format!("{asked:?} got {text:?}"));
        };
        if !(Parts { all, operation, data }).covers(due) || answer.version() < asked.min_version {
            let outcome = answer.outcome();
            self.broken.push(format!("{asked:?} was due {due:?}, got {text:?}: {outcome:?}"));
        }
    }
}

/// Plays a script to its end; says what was wrong with any answer.
fn play(mistake: Mistake, script: Vec<Step>) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new(mistake);
        for step in script {
            run.step(step).await;
        }
        run.end().await
    })
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn no_script_of_faults_makes_an_answer_old_or_a_read_fail(script in prop::collection::vec(step(), 1..120)) {
        let broken = play(Mistake::None, script);
        prop_assert!(broken.is_empty(), "{broken:#?}");
    }
}

/// A script that finds nothing proves nothing; and one that is found is short.
#[test]
fn mistakes_are_found_and_their_scripts_are_made_short() {
    for mistake in [Mistake::Silent, Mistake::ReadsEarly] {
        // The same scripts each time: how short one becomes is a matter of chance, too.
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let config = ProptestConfig { failure_persistence: None, ..cases(1000) };
        let mut runner = TestRunner::new_with_rng(config, rng);
        let found = runner.run(&prop::collection::vec(step(), 1..120), |script| {
            let broken = play(mistake, script);
            prop_assert!(broken.is_empty(), "{broken:#?}");
            Ok(())
        });
        let Err(TestError::Fail(_, script)) = found else { panic!("not found: {found:?}") };
        assert!(script.len() <= 30, "{script:#?}");
    }
}
