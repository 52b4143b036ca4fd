//! What reaches the disk, seen from outside: one flush per acknowledged group, and a full disk.

use std::thread;

use nexarch_store::{Options, Role};

use crate::support::{
    encode::{native, otlp_protobuf},
    home::Home,
    map::Map,
    spans::{call, many},
    strace::Strace,
};

#[test]
fn the_database_says_that_it_flushes() {
    let home = Home::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let settings = runtime.block_on(async {
        let url = format!("sqlite://{}", home.database().display());
        let store = nexarch_store::open(&url, Options::new(Role::Owner, || 1)).await.unwrap();
        let settings = store.settings().await.unwrap();
        store.close().await;
        settings
    });
    let value = |name: &str| settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((value("synchronous"), value("journal_mode")), (Some("2"), Some("wal")), "{settings:?}");
}

#[test]
fn an_answer_comes_after_a_flush_and_a_group_shares_one() {
    const ALONE: usize = 15;
    const TOGETHER: u64 = 8;
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    client.batch(&native(&call(1))).expect(202);

    let log = home.path().join("strace.log");
    let strace = Strace::attach(&server, &log, &["-e", "trace=fsync,fdatasync"]);
    let flushes = || strace.calls_on("test.db-wal");
    let commits = || client.get("/api/v1/ingest/stats").ok()["queue"]["commits"].as_u64().unwrap();
    let (before, commits_before) = (flushes(), commits());
    for round in 0..ALONE {
        client.batch(&native(&call(round as u128 + 10))).expect(202);
        assert!(flushes() > before + round, "batch {round} was acknowledged before the log was flushed");
    }
    assert_eq!(flushes() - before, ALONE, "one flush per transaction, not more");
    assert_eq!(commits() - commits_before, ALONE as u64);

    // Batches that arrive while one is being written share the next flush.
    let (before, commits_before) = (flushes(), commits());
    thread::scope(|scope| {
        for connection in 0..TOGETHER {
            let client = server.client(&key);
            scope.spawn(move || {
                for turn in 0..5 {
                    client.batch(&native(&call(u128::from(1_000 + connection * 100 + turn)))).expect(202);
                }
            });
        }
    });
    let groups = commits() - commits_before;
    assert!(groups < 5 * TOGETHER, "{groups} groups for {} batches: nothing was grouped", 5 * TOGETHER);
    assert_eq!((flushes() - before) as u64, groups);
}

#[test]
fn a_full_disk_refuses_whole_batches_and_ends_when_there_is_room() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    client.batch(&native(&call(1))).expect(202);
    let map = Map::read(&client).comparable();

    // Every write to the database and its log fails as it does on a full disk; reads and other files work.
    let (database, log) = (home.database(), home.path().join("strace.log"));
    let wal = format!("{}-wal", database.display());
    let full = Strace::attach(
        &server,
        &log,
        &[
            "-P",
            database.to_str().unwrap(),
            "-P",
            &wal,
            "-e",
            "trace=write,pwrite64,pwritev,ftruncate,fallocate",
            "-e",
            "inject=write,pwrite64,pwritev,ftruncate,fallocate:error=ENOSPC",
        ],
    );
    for round in 0..3 {
        let reply = client.batch(&native(&call(2))).expect(503);
        assert!(
            reply.header("Retry-After").parse::<u64>().is_ok_and(|seconds| seconds > 0),
            "{:?}",
            reply.headers
        );
        assert_eq!(reply.header("Content-Type"), "application/problem+json");
        let reply = client.otlp_protobuf(&otlp_protobuf(&many(3, 2_000))).expect(503);
        assert!(!reply.header("Retry-After").is_empty(), "round {round}");
        assert_eq!(reply.header("Content-Type"), "application/x-protobuf");
        // Reads go on, and nothing is half there.
        assert_eq!(client.total_spans(), 3);
        assert_eq!(Map::read(&client).comparable(), map);
    }
    assert!(full.calls_on("test.db-wal") > 0, "the disk was never asked");
    drop(full);

    client.batch(&native(&call(2))).expect(202);
    client.otlp_protobuf(&otlp_protobuf(&many(3, 2_000))).expect(200);
    assert_eq!(client.total_spans(), 3 + 3 + 2_000);
    server.kill();
    assert_eq!(home.serve().client(&key).total_spans(), 2_006);
}
