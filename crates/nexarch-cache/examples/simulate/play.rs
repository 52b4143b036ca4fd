//! One game: readers and writers on every node, and somebody who breaks things.

use super::database::{Connection, Database, Trouble, lock};
use super::oracle::{Asked, Oracle, Parts, parts};
use nexarch_cache::testing::{Faults, FaultyRemote, Hub, Rng, VirtualClock, message};
use nexarch_cache::{
    Answer, BoxError, Cache, Cause, Changed, Commit, Computed, Directives, Epoch, Error, Invalidation,
    Operation, Outcome, Read, Reason, Scope, ScopeVersions,
};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const OPERATIONS: [&str; 2] = ["overview", "services"];
const SCOPES: [&str; 2] = ["acme", "beta"];
const TTL: Duration = Duration::from_secs(20);
/// Readers on each node; each reads every 10 ms or so.
const READERS: usize = 3;

/// The rules of a game.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Game {
    pub(crate) seed: u64,
    /// Of virtual time.
    pub(crate) seconds: u64,
    pub(crate) nodes: u64,
}

impl Default for Game {
    fn default() -> Self {
        Self { seed: 1, seconds: 30, nodes: 3 }
    }
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) reads: u64,
    pub(crate) memory: u64,
    pub(crate) redis: u64,
    pub(crate) computed: u64,
    pub(crate) collapsed: u64,
    pub(crate) stale: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) checked: u64,
    pub(crate) violations: Vec<String>,
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reads, memory, redis, computed, collapsed, stale, failed, refused, checked, violations } =
            self;
        write!(
            f,
            "{reads} reads: {memory} memory, {redis} redis, {computed} computed, {collapsed} collapsed, "
        )?;
        write!(f, "{stale} stale, {failed} failed; {refused} values refused, {checked} answers checked; ")?;
        write!(f, "{} violations", violations.len())
    }
}

struct World {
    database: Arc<Database>,
    hub: Arc<Hub>,
    oracle: Oracle,
    nodes: Vec<Node>,
    scopes: [Scope; 2],
    outcomes: Mutex<Outcomes>,
}

struct Node {
    cache: Cache,
    remote: Arc<FaultyRemote>,
    connection: Arc<Connection>,
    clock: Arc<VirtualClock>,
}

/// Plays `game` to its end. The same game has the same end.
pub(crate) fn play(game: Game) -> Outcomes {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(game)),
        Err(error) => Outcomes { violations: vec![format!("no runtime: {error}")], ..Outcomes::default() },
    }
}

async fn run(game: Game) -> Outcomes {
    let mut rng = Rng::new(game.seed);
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let world = match world(game, &mut rng, &tracker) {
        Ok(world) => Arc::new(world),
        Err(error) => return Outcomes { violations: vec![error.to_string()], ..Outcomes::default() },
    };
    for (n, node) in world.nodes.iter().enumerate() {
        tracker.spawn(node.cache.clone().run(stop.clone()));
        for _ in 0..READERS {
            tracker.spawn(stop.clone().run_until_cancelled_owned(readers(
                world.clone(),
                n,
                Rng::new(rng.next()),
            )));
        }
        tracker.spawn(stop.clone().run_until_cancelled_owned(writer(world.clone(), n, Rng::new(rng.next()))));
    }
    tracker.spawn(stop.clone().run_until_cancelled_owned(breaker(world.clone(), Rng::new(rng.next()))));
    sleep(Duration::from_secs(game.seconds)).await;
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    let mut outcomes = std::mem::take(&mut *lock(&world.outcomes));
    for node in &world.nodes {
        let found = node.cache.checked().unwrap_or_default();
        outcomes.checked += found.checked;
        outcomes.refused += node.cache.remote_counts().map_or(0, |c| c.rejected.values().sum());
        if found.stale > 0 || found.different > 0 {
            outcomes.violations.push(format!("the staleness checker found {found:?}"));
        }
    }
    outcomes
}

fn world(game: Game, rng: &mut Rng, tracker: &TaskTracker) -> Result<World, Error> {
    let began = Instant::now();
    let database = Arc::new(Database::default());
    let hub = Hub::new(Arc::new(VirtualClock::new(began)));
    let node = |rng: &mut Rng| {
        let connection = Connection::new(database.clone(), Rng::new(rng.next()));
        let remote = hub.node(rng.next(), tracker.clone());
        let clock = Arc::new(VirtualClock::new(began));
        // One without grace: nothing stands in for what fails.
        let operation = |name| Operation::new(name, TTL);
        let cache = Cache::builder(connection.clone())
            .clock(clock.clone())
            .remote(remote.clone())
            .operations([
                operation(OPERATIONS[0]).with_grace(TTL / 2).with_soft_timeout(Duration::from_millis(50)),
                operation(OPERATIONS[1]),
            ])
            .check_staleness(3)
            .build(tracker.clone())?;
        Ok(Node { cache, remote, connection, clock })
    };
    let nodes = (0..game.nodes).map(|_| node(rng)).collect::<Result<Vec<_>, Error>>()?;
    let scopes = [Scope::new(SCOPES[0])?, Scope::new(SCOPES[1])?];
    Ok(World { database, hub, oracle: Oracle::default(), nodes, scopes, outcomes: Mutex::default() })
}

async fn readers(world: Arc<World>, n: usize, mut rng: Rng) {
    let ms = Duration::from_millis;
    loop {
        sleep(rng.between(Duration::ZERO, ms(20))).await;
        let scope = pick(&mut rng, 2);
        let operation = OPERATIONS[pick(&mut rng, 2)];
        let mut directives = Directives::default();
        match rng.below(20) {
            0 => directives.no_cache = true,
            1 => directives.max_stale = Some(rng.between(Duration::ZERO, ms(5000))),
            2 => directives.min_version = world.oracle.newest(scope),
            3 => directives.only_if_cached = true,
            _ => (),
        }
        let (min_version, max_stale) = (directives.min_version, directives.max_stale);
        let asked = Asked { node: n, scope, operation, min_version, max_stale, at: Instant::now() };
        let due = world.oracle.due(&asked);
        let params = ["a", "b", "c"][pick(&mut rng, 3)];
        let result = world.read(&asked, params, directives, Rng::new(rng.next())).await;
        world.judge(&asked, due, result);
    }
}

async fn writer(world: Arc<World>, n: usize, mut rng: Rng) {
    loop {
        sleep(rng.between(Duration::from_millis(1), Duration::from_millis(600))).await;
        let (node, at) = (&world.nodes[n], pick(&mut rng, 2));
        let scope = &world.scopes[at];
        let what = match rng.below(10) {
            0 => Invalidation::All,
            1 => Invalidation::Operations(vec![OPERATIONS[pick(&mut rng, 2)].to_owned()]),
            _ => {
                let asked = node.cache.now();
                // Committed or not, what is not acknowledged promises nothing.
                let Ok(versions) = node.connection.commit(scope).await else { continue };
                let commit = Commit::new(Changed::Data, Cause::Ingest, versions.clone()).read_at(asked);
                node.cache.announce(scope, &commit);
                world.oracle.acknowledge(n, at, versions);
                continue;
            }
        };
        let names = match &what {
            Invalidation::All => Vec::new(),
            Invalidation::Operations(names) => names.clone(),
        };
        if let Ok(done) = node.cache.invalidate(scope, what, Cause::Manual).await {
            let version = done.version;
            let all = if names.is_empty() { version } else { 0 };
            let operations = names.into_iter().map(|name| (name, version)).collect();
            world.oracle.acknowledge(n, at, ScopeVersions { clock: version, data: 0, all, operations });
        }
    }
}

async fn breaker(world: Arc<World>, mut rng: Rng) {
    let ms = Duration::from_millis;
    loop {
        sleep(rng.between(ms(10), ms(800))).await;
        let node = &world.nodes[pick(&mut rng, world.nodes.len())];
        match rng.below(16) {
            0 => world.hub.flush(),
            1 => world.hub.replicate(),
            2 => world.hub.fail_over(),
            3 => world.hub.evict(0.5, &mut rng),
            4 => forge(&world, &mut rng),
            5 => node.clock.set_skew(i64::try_from(rng.below(20_000_000)).unwrap_or(0) - 10_000_000),
            6 => node
                .connection
                .set_trouble([Trouble::Slow, Trouble::Refuses, Trouble::Hangs][pick(&mut rng, 3)]),
            7..=10 => node.connection.set_trouble(Trouble::None),
            11 => node.remote.set_faults(Faults::default()),
            _ => node.remote.set_faults(faults(&mut rng)),
        }
    }
}

fn faults(rng: &mut Rng) -> Faults {
    let ms = Duration::from_millis;
    let mut sometimes = |p: f64| if rng.happens(0.4) { p } else { 0.0 };
    let mut faults = Faults {
        breaks: sometimes(0.3),
        garbles: sometimes(0.3),
        swaps: sometimes(0.3),
        forgets: sometimes(0.3),
        loses: sometimes(0.7),
        doubles: sometimes(0.5),
        ..Faults::default()
    };
    match rng.below(8) {
        0 => faults.away = Some(Reason::Timeout),
        1 => faults.deaf = true,
        2 => faults.delay = (ms(0), ms(150)),
        3 => faults.lags = (ms(0), ms(3000)),
        _ => faults.delay = (ms(0), ms(2)),
    }
    faults
}

/// A message of nobody: near the truth, or beyond all of it.
fn forge(world: &World, rng: &mut Rng) {
    let scope = &world.scopes[pick(rng, 2)];
    let near = world.database.snapshot(scope).clock + rng.below(5);
    let version = if rng.happens(0.5) { near } else { rng.next() };
    let operations = vec![(OPERATIONS[pick(rng, 2)].to_owned(), version)];
    let versions = match rng.below(3) {
        0 => ScopeVersions { all: version, ..ScopeVersions::default() },
        1 => ScopeVersions { data: version, ..ScopeVersions::default() },
        _ => ScopeVersions { operations, ..ScopeVersions::default() },
    };
    world.hub.forge(&message(Epoch::new(7), scope, &versions));
}

impl World {
    async fn read(
        &self,
        asked: &Asked,
        params: &str,
        directives: Directives,
        mut rng: Rng,
    ) -> Result<Answer, Error> {
        let node = &self.nodes[asked.node];
        let scope = &self.scopes[asked.scope];
        let (database, of, operation) = (self.database.clone(), scope.clone(), asked.operation);
        let work = rng.between(Duration::ZERO, Duration::from_millis(120));
        let (before, fails) = (rng.between(Duration::ZERO, work), rng.happens(0.05));
        let line = params.to_owned();
        let compute = move |_| async move {
            sleep(before).await;
            let seen = database.snapshot(&of);
            sleep(work.saturating_sub(before)).await;
            if fails {
                return Err(BoxError::from("no luck"));
            }
            let Parts { all, operation: own, data } = parts(&seen, operation);
            Ok(Computed::new(format!("{of} {operation} {line} {all} {own} {data}"))
                .with_data_version(seen.data))
        };
        let read = Read::new(node.cache.operation(operation)?, params).directives(directives);
        let answer = node.cache.get_or_compute(scope, read, compute).await?;
        let begins = format!("{scope} {operation} {params} ");
        if !answer.body().starts_with(begins.as_bytes()) {
            lock(&self.outcomes).violations.push(format!("{begins}got {:?}", answer.body()));
        }
        Ok(answer)
    }

    fn judge(&self, asked: &Asked, due: Parts, result: Result<Answer, Error>) {
        let mut outcomes = lock(&self.outcomes);
        outcomes.reads += 1;
        let answer = match result {
            Ok(answer) => answer,
            // Only the computation's own error, or the database's, reaches the caller.
            Err(Error::Compute(_) | Error::Unverified(_) | Error::NotCached) => return outcomes.failed += 1,
            Err(other) => return outcomes.violations.push(format!("{asked:?}: {other}")),
        };
        match answer.outcome() {
            Outcome::HitMemory { .. } => outcomes.memory += 1,
            Outcome::HitRedis { .. } => outcomes.redis += 1,
            Outcome::Miss { .. } | Outcome::Requested { .. } => outcomes.computed += 1,
            Outcome::Collapsed => outcomes.collapsed += 1,
            _ => outcomes.stale += 1,
        }
        let text = String::from_utf8_lossy(answer.body());
        let mut numbers = text.rsplit(' ').map_while(|word| word.parse::<u64>().ok());
        let mut next = || numbers.next().unwrap_or(0);
        let (data, operation, all) = (next(), next(), next());
        if !(Parts { all, operation, data }).covers(due) || answer.version() < asked.min_version {
            outcomes
                .violations
                .push(format!("{asked:?} was due {due:?}, got {text:?}: {:?}", answer.outcome()));
        }
    }
}

fn pick(rng: &mut Rng, of: usize) -> usize {
    usize::try_from(rng.below(of as u64)).unwrap_or(0)
}
