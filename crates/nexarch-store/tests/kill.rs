//! SIGKILL in the middle of ingest, settling and upkeep, again and again on one database: no acknowledged span is lost, no
//! number differs, and whoever opens the file next finishes the work.
//!
//! A program of its own instead of a test of the usual harness, because it starts itself as the process to be killed. That
//! process counts how often the work in question was polled, stops dead in the middle of it, transaction open, and waits for
//! its end: so each place is met on purpose and not by luck.

#[path = "kill/life.rs"]
mod life;
#[path = "kill/spans.rs"]
mod spans;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use nexarch_core::{rollup::merge, span::Span, trace::Extent, window::Minutes};
use nexarch_store::Store;

use life::{KEPT, id, open};

/// In which work, and after how often it was polled, processes are killed. Each such work takes some 100 polls,
/// settling 30 to 40.
const KILLS: [(&str, [usize; 6]); 5] = [
    ("append", [5, 15, 25, 35, 45, 55]),
    ("settle", [10, 18, 23, 26, 29, 32]),
    ("compact", [10, 30, 60, 90, 110, 130]),
    ("retain", [5, 15, 30, 45, 60, 80]),
    ("purge", [10, 30, 60, 90, 120, 135]),
];

const NAME: &str = "ingest_settling_and_upkeep_survive_sigkill";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if let [child, path, from, work, polls] = arguments.as_slice()
        && child == "--child"
    {
        let number = |text: &str| text.parse::<usize>().expect("a number");
        run(life::live(Path::new(path), number(from) as u64, work, number(polls)));
    } else if has("--list") {
        // What cargo-nextest asks of a program with tests.
        if !has("--ignored") {
            println!("{NAME}: test");
        }
    } else {
        run(kill_again_and_again());
        println!("{NAME}: ok");
    }
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(future);
}

async fn kill_again_and_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("life.db");
    let (mut stored, mut unsettled) = (0, 0);
    let mut cut_off: BTreeMap<&str, usize> = BTreeMap::new();
    let turns = (0..6).flat_map(|turn| KILLS.map(|(work, polls)| (work, polls[turn])));
    for (nth, (work, polls)) in turns.enumerate() {
        let what = format!("killed in {work} after {polls} polls, {stored} batches known to be stored");
        let (acknowledged, killed) = kill_in(work, polls, &path, stored);
        *cut_off.entry(work).or_default() += usize::from(killed);
        let store = open(&path, 0).await;
        stored = batches_stored(&*store, acknowledged, &what).await;
        unsettled += usize::from(unsettled_traces(&*store).await > 0);
        let copy = dir.path().join(format!("{nth}.db"));
        store.backup(&copy).await.expect("a whole file");
        store.close().await;
        check(&copy, &dir.path().join(format!("truth-{nth}.db")), stored, &what).await;
    }
    assert!(unsettled > 3, "only {unsettled} kills left something that was not settled");
    assert!(cut_off.len() == 5 && cut_off.values().all(|kills| *kills > 3), "killed at work: {cut_off:?}");

    // What is left is done by a process that nobody kills.
    let store = open(&path, stored).await;
    life::grow_old(&*store).await;
    let tenants = store.tenants().await.expect("tenants").into_iter().map(|tenant| tenant.id);
    assert_eq!(tenants.collect::<Vec<_>>(), [id(KEPT)]);
    store.close().await;
    drop(store);
    // No page is left with a name that only spans of deleted tenants have.
    let bytes = std::fs::read(&path).expect("the file");
    assert!(holds(&bytes, b"operation-of-kept"), "a name is not found: the search proves nothing");
    assert!(!holds(&bytes, b"operation-of-gone"), "something of a deleted tenant is left");
    check(&path, &dir.path().join("truth.db"), stored, "at the end").await;
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Starts a process that goes on behind so many batches, and kills it in some work. Says how many batches were acknowledged
/// by then, and whether it was still at that work.
fn kill_in(work: &str, polls: usize, path: &Path, from: u64) -> (u64, bool) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg("--child").arg(path).args([&from.to_string(), work, &polls.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a process of this program");
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let (mut acknowledged, mut cut) = (from, false);
    for line in out.lines().map_while(Result::ok) {
        if line == life::CUT {
            cut = true;
            break;
        }
        acknowledged = line.parse().expect("a number of batches");
    }
    child.kill().expect("killed");
    let status = child.wait().expect("its end");
    assert!(cut != status.success(), "{work}: {status}");
    (acknowledged, cut)
}

/// All batches that were acknowledged are there, and of the next one all or nothing.
async fn batches_stored(store: &dyn Store, acknowledged: u64, what: &str) -> u64 {
    let found = large_trace(store).await;
    let next = spans::large(acknowledged + 1);
    let stored = if found == next { acknowledged + 1 } else { acknowledged };
    assert!(found == spans::large(stored), "{what}: {} spans are stored", found.len());
    stored
}

async fn large_trace(store: &dyn Store) -> Vec<Span> {
    let Ok(mut snapshot) = store.snapshot(&id(KEPT)).await else { return Vec::new() };
    let mut spans = snapshot.trace(spans::large_id(), Extent::ALL).await.expect("a trace").spans;
    spans.sort_by_key(|span| span.span_id);
    spans
}

async fn unsettled_traces(store: &dyn Store) -> u64 {
    let Ok(mut snapshot) = store.snapshot(&id(KEPT)).await else { return 0 };
    snapshot.diagnostics().await.expect("diagnostics").unsettled_traces
}

/// Settled, the figures are those of the same spans that came at once to a database that never grew old.
async fn check(path: &Path, truth: &Path, batches: u64, what: &str) {
    let truth = open(truth, 0).await;
    life::tenant(&*truth, KEPT).await;
    life::append(&*truth, vec![(KEPT.to_owned(), spans::kept(0..batches))]).await;
    // Only what has links waits when all comes in one append.
    life::settle(&*truth, u64::MAX).await;
    let store = open(path, 0).await;
    life::settle(&*store, u64::MAX).await;
    assert!(total(&*store).await == total(&*truth).await, "{what}: numbers differ");
    assert!(large_trace(&*store).await == large_trace(&*truth).await, "{what}: spans differ");
    store.close().await;
    truth.close().await;
}

/// All that the rollups of the tenant that stays hold, in one blob.
async fn total(store: &dyn Store) -> Vec<u8> {
    let Ok(mut snapshot) = store.snapshot(&id(KEPT)).await else { return Vec::new() };
    let cells = snapshot.cells(Minutes { from: 0, to: u32::MAX }, 1).await.expect("cells");
    let blobs: Vec<&[u8]> = cells.blobs.iter().map(|(_, blob)| blob.as_slice()).collect();
    merge(&blobs).expect("blobs can be merged")
}
