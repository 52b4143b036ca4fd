//! What people have open is computed again after an invalidation, and nothing else is.

use serde_json::Value;

use crate::support::{
    client::{Body, Client, Reply},
    encode::native,
    home::Home,
    server::Server,
    spans::call,
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";
const SERVICES: &str = "/api/v1/dashboard/services";

/// What the cache has, without a computation.
fn cached(client: &Client, path: &str) -> Reply {
    client.get_with(path, &[("Cache-Control", "only-if-cached")])
}

/// How often something was computed ahead, as the server's log has it.
fn computed(server: &Server) -> usize {
    server.log().matches("computed again what is open").count()
}

/// How often of that as soon as something changed.
fn computed_at_once(server: &Server) -> usize {
    let log = server.log();
    log.lines()
        .filter(|line| line.contains("computed again what is open") && line.contains("at_once=true"))
        .count()
}

fn started(settings: &[(&str, &str)]) -> (Home, Server, Client) {
    let home = Home::new();
    let mut server = home.serve_with(&[&[("RUST_LOG", "nexarch=debug")], settings].concat());
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    (home, server, client)
}

fn operation(client: &Client, name: &str) -> Value {
    client.get("/api/v1/cache/stats").ok()["operations"][name].clone()
}

#[test]
fn what_is_open_becomes_a_hit_again_and_counts_as_no_request() {
    let (_home, server, client) = started(&[]);
    client.get(OVERVIEW).expect(200);
    let version = client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200).version();
    wait::until("the computation", || (computed(&server) == 1).then_some(()));
    let reply = cached(&client, OVERVIEW).expect(200);
    assert!(reply.header("Cache-Status").starts_with("nexarch; hit; detail=memory"), "{reply:?}");
    assert!(reply.version() >= version);
    cached(&client, SERVICES).expect(504);
    let overview = operation(&client, "dashboard_overview");
    assert_eq!((&overview["requests"], &overview["misses"]), (&2.into(), &1.into()), "{overview}");

    // New data, too; and what it computes shows them.
    client.batch(&native(&call(2))).expect(202);
    wait::until("the next computation", || (computed(&server) == 2).then_some(()));
    let reply = cached(&client, OVERVIEW).expect(200);
    assert_eq!(reply.ok()["total_spans"], 6);
    let overview = operation(&client, "dashboard_overview");
    assert_eq!((&overview["requests"], &overview["misses"]), (&3.into(), &1.into()), "{overview}");

    // Somebody who does not come back costs one more, not one for each change.
    for trace in 3..6 {
        client.batch(&native(&call(trace))).expect(202);
    }
    wait::until("the last computation", || (computed(&server) == 3).then_some(()));
}

/// Data come again and again, and a page is read more often than they come: behind each commit it is a hit before anybody
/// asks, to the byte what a computation gives, and counts as nobody's miss.
#[test]
fn what_is_read_between_all_changes_is_a_hit_behind_each_of_them() {
    let (_home, server, client) = started(&[]);
    let (mut reads, mut trace) = (0u64, 1);
    let mut commit = || {
        trace += 1;
        client.batch(&native(&call(trace))).expect(202).version()
    };
    let mut read = |times: u64| {
        reads += times;
        (0..times).for_each(|_| _ = client.get(OVERVIEW).expect(200));
    };
    let latest = wait::until("a habit", || {
        read(4);
        let version = commit();
        (computed_at_once(&server) > 0).then_some(version)
    });
    // What is said of one commit may be read after the next: the value itself tells.
    let ahead_of_readers = |version| {
        wait::until("the computation behind a commit", || {
            let reply = cached(&client, OVERVIEW);
            (reply.status == 200 && reply.version() >= version).then_some(reply)
        })
    };
    ahead_of_readers(latest);
    let misses = |before: u64| operation(&client, "dashboard_overview")["misses"].as_u64().unwrap() - before;
    let before = misses(0);
    for round in 0..20 {
        read(4);
        let hit = ahead_of_readers(commit());
        let anew = client.get_with(OVERVIEW, &[("Cache-Control", "no-cache")]).expect(200);
        assert_eq!(hit.body, anew.body, "{round}");
        assert_eq!(misses(before), round + 1, "only who asked for a computation has one");
    }
    let counted = operation(&client, "dashboard_overview");
    assert!(counted["requests"].as_u64() >= Some(reads + 40), "{counted}");
}

#[test]
fn a_disabled_cache_computes_nothing_ahead() {
    let (home, mut server, client) =
        started(&[("CACHE_ENABLED", "False"), ("CACHE_WARM_SCHEDULE", "* * * * *")]);
    client.get(OVERVIEW).expect(200);
    client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
    assert!(server.terminate().success());
    assert_eq!(computed(&server), 0);
    server.log_with("CACHE_WARM_SCHEDULE has no effect: CACHE_ENABLED is off");
    drop(home);
}

#[test]
fn a_wrong_schedule_is_told_with_its_field() {
    let home = Home::new();
    let output =
        home.command(["serve"]).env("CACHE_WARM_SCHEDULE", "0 25 * * *").env("PORT", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let words = "CACHE_WARM_SCHEDULE (environment) is \"0 25 * * *\": field 2 (hour): 25 is not from 0 to 23";
    assert!(said.contains(words) && said.contains("PORT"), "{said}");
    let shown = home
        .command(["serve", "--print-config"])
        .env("NEXARCH_CACHE_WARM_SCHEDULE", "*/15 6-20 * * MON-FRI")
        .output()
        .unwrap();
    assert!(String::from_utf8(shown.stdout).unwrap().contains("CACHE_WARM_SCHEDULE=*/15 6-20 * * MON-FRI"));
}
