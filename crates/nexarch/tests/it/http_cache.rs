//! HTTP caching, the same on every cached route: validators, headers, directives, and what they cost.

use std::{
    collections::BTreeSet,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use crate::support::{
    client::{Body, Client, Reply},
    encode::native,
    home::Home,
    inside::Inside,
    routes::{CACHED, SAME, UNCACHED},
    spans::call,
    wait,
};

/// Beside content, what every answer of the cache carries, a 304 and a HEAD too.
const ALWAYS: [&str; 7] =
    ["age", "cache-control", "cache-status", "etag", "nexarch-version", "vary", "x-content-type-options"];

fn delete(client: &Client) -> Reply {
    client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200)
}

/// `Cache-Status` without its time to live.
fn status(reply: &Reply) -> String {
    let text = reply.header("Cache-Status");
    text.split("; ttl=").next().unwrap_or(text).to_owned()
}

#[track_caller]
fn problem(reply: Reply, status: u16) {
    let reply = reply.expect(status);
    assert_eq!(reply.header("Content-Type"), "application/problem+json");
    let body = reply.json();
    assert_eq!(body["status"], status, "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    for header in ["ETag", "Age", "Cache-Status"] {
        assert!(reply.header(header).is_empty(), "an error with {header}");
    }
    assert_eq!(reply.header("Cache-Control"), "private, no-store");
}

/// The headers every answer of a cached route has, and their exact words.
#[track_caller]
fn labelled(reply: &Reply, path: &str) {
    let missing: Vec<_> = ALWAYS.into_iter().filter(|name| reply.header(name).is_empty()).collect();
    assert!(missing.is_empty(), "{path}: no {missing:?} in {:?}", reply.headers);
    assert_eq!(reply.header("Vary"), "Accept-Encoding, X-API-Key, Authorization", "{path}");
    assert_eq!(reply.header("Cache-Control"), "private, no-cache", "{path}");
    let etag = reply.header("ETag");
    let hash = etag.strip_prefix("W/\"").and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    assert!(hash.len() >= 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{path}: {etag}");
    assert!(reply.header("Age").parse::<u64>().is_ok_and(|age| age < 60), "{path}: {}", reply.header("Age"));
    reply.version();
}

/// Computations of all operations so far.
fn misses(client: &Client) -> u64 {
    client.get("/api/v1/cache/stats").ok()["totals"]["misses"].as_u64().unwrap()
}

#[test]
fn every_route_is_known_to_these_tests_and_to_the_document() {
    let home = Home::new();
    let server = home.serve();
    let document = server.stranger().get("/api/v1/openapi.json").ok();
    let documented: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, methods)| methods.get("get").is_some())
        .map(|(path, _)| path.as_str())
        .collect();
    let listed: BTreeSet<&str> =
        CACHED.iter().map(|cached| cached.route).chain(UNCACHED.iter().copied()).collect();
    assert_eq!(documented, listed, "left: the API document; right: support/routes.rs");
    // The router has no more than the document: it is the text that says what there is.
    let source = concat!(include_str!("../../src/http/mod.rs"), include_str!("../../src/http/admin/mod.rs"));
    let routed: BTreeSet<&str> = source
        .split(".route(")
        .skip(1)
        .filter_map(|rest| {
            let (path, rest) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
            (path.starts_with("/api/") && rest.trim_start_matches(',').trim_start().starts_with("get("))
                .then_some(path)
        })
        .collect();
    assert_eq!(routed, listed, "left: http/mod.rs and http/admin/mod.rs; right: support/routes.rs");
}

#[test]
fn every_cached_route_has_the_same_headers_and_validators() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    for cached in CACHED {
        let path = cached.path;
        let first = client.get(path).expect(200);
        labelled(&first, path);
        let known = if path == SAME[1] { "nexarch; hit; detail=memory" } else { "nexarch; fwd=miss; stored" };
        assert_eq!(status(&first), known, "{path}");
        let ttl: u64 = first.header("Cache-Status").rsplit("ttl=").next().unwrap().parse().unwrap();
        assert!((1..=300).contains(&ttl), "{path}: {ttl}");
        let computed = misses(&client);

        let again = client.get(path).expect(200);
        assert_eq!(status(&again), "nexarch; hit; detail=memory", "{path}");
        assert_eq!((&again.body, again.header("ETag")), (&first.body, first.header("ETag")), "{path}");
        let head = client.send("HEAD", path, &[], &Body::None).expect(200);
        labelled(&head, path);
        assert!(head.body.is_empty());
        assert_eq!(head.header("Content-Type"), first.header("Content-Type"), "{path}");
        assert_eq!(head.header("Content-Length"), first.body.len().to_string(), "{path}");
        assert_eq!(status(&head), "nexarch; hit; detail=memory", "{path}");

        let etag = first.header("ETag");
        let strong = etag.trim_start_matches("W/");
        let list = format!("\"a, b\", W/\"\", {etag} ,\"c\"");
        for tags in [etag, strong, &list, "*", " * "] {
            let reply = client.get_with(path, &[("If-None-Match", tags)]).expect(304);
            labelled(&reply, path);
            assert!(reply.body.is_empty());
            assert_eq!(reply.header("ETag"), etag, "{path}");
            assert_eq!(status(&reply), "nexarch; hit; detail=memory", "{path}");
            for header in ["Content-Type", "Content-Encoding"] {
                assert!(reply.header(header).is_empty(), "{path}: {header} of nothing");
            }
        }
        let two = [("If-None-Match", "\"other\""), ("If-None-Match", etag)];
        client.get_with(path, &two).expect(304);
        client.send("HEAD", path, &[("If-None-Match", etag)], &Body::None).expect(304);
        for tags in ["\"other\"", "W/\"other\"", "", ",,", "w", &strong[1..]] {
            client.get_with(path, &[("If-None-Match", tags)]).expect(200);
        }
        assert_eq!(misses(&client), computed, "{path}: nothing was computed for any of that");

        // An equal computation has an equal validator.
        let forced =
            client.get_with(path, &[("Cache-Control", "no-cache"), ("If-None-Match", etag)]).expect(304);
        assert_eq!(status(&forced), "nexarch; fwd=request; stored", "{path}");
        assert_eq!((misses(&client), forced.header("ETag")), (computed + 1, etag), "{path}");
        problem(client.send("POST", path, &[], &Body::None), 405);
    }
    // New data: what was valid is not any more, unless it is equal.
    let mut traces = 1;
    for cached in CACHED {
        let mut etag = client.get(cached.path).header("ETag").to_owned();
        let (reply, etag) = wait::promptly(|| {
            traces += 1;
            client.batch(&native(&call(traces))).expect(202);
            if cached.path == SAME[1] {
                client.get(SAME[0]).expect(200);
            }
            let reply = client.get_with(cached.path, &[("If-None-Match", &etag)]);
            let asked = std::mem::replace(&mut etag, reply.header("ETag").to_owned());
            (reply, asked)
        });
        assert_eq!(reply.status == 304, reply.header("ETag") == etag, "{}", cached.path);
        let first = cached.path != SAME[1];
        assert_eq!(status(&reply).contains("fwd=miss"), first, "{}: {}", cached.path, status(&reply));
    }
}

#[test]
fn every_cached_route_follows_the_directives_of_a_request() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut trace = 0;
    let mut ingest = || {
        trace += 1;
        client.batch(&native(&call(trace))).expect(202).version()
    };
    for cached in CACHED {
        let path = cached.path;
        let with = |directives: &str| client.get_with(path, &[("Cache-Control", directives)]);
        // Absent.
        let absent = wait::promptly(|| {
            ingest();
            ["only-if-cached", "ONLY-IF-CACHED", " max-age=9 , only-if-cached", "only-if-cached, no-cache"]
                .map(with)
        });
        for reply in absent {
            problem(reply, 504);
        }
        client.get(path).expect(200);
        // There.
        for (directives, expected) in [
            ("only-if-cached", "nexarch; hit; detail=memory"),
            ("max-stale=5", "nexarch; hit; detail=memory"),
            ("max-stale=\"5\", only-if-cached", "nexarch; hit; detail=memory"),
            ("no-cache, max-stale=5", "nexarch; fwd=request; stored"),
            ("No-Cache", "nexarch; fwd=request; stored"),
            ("private=\"a, no-cache\"", "nexarch; hit; detail=memory"),
            // What says nothing here, and what nobody knows.
            ("max-age=0, min-fresh=1, no-transform, stale-if-error=9", "nexarch; hit; detail=memory"),
            (",,; = ,nonsense=\"a\",", "nexarch; hit; detail=memory"),
            ("no-cachet, only-if-cachedx, max-stalex=1", "nexarch; hit; detail=memory"),
            // However old: what is fresh is allowed as well. And a number that is larger than any.
            ("max-stale", "nexarch; hit; detail=memory"),
            ("max-stale=99999999999999999999999", "nexarch; hit; detail=memory"),
        ] {
            let reply = with(directives).expect(200);
            labelled(&reply, path);
            assert_eq!(status(&reply), expected, "{path}: {directives}");
        }
        problem(with("only-if-cached, no-cache"), 504);
        for wrong in ["max-stale=", "max-stale=soon", "max-stale=-1", "max-stale=1.5", "max-stale=5s"] {
            problem(with(wrong), 400);
            problem(with(&format!("no-cache, {wrong}")), 400);
        }

        // Overtaken by data: twice, for what is read between all changes is computed at once.
        let (version, [stale, exact, any, fresh]) = wait::promptly(|| {
            ingest();
            let version = ingest();
            let minimum = version.to_string();
            let both = [("Cache-Control", "max-stale=600"), ("Nexarch-Min-Version", minimum.as_str())];
            let stale = with("max-stale=600");
            let (exact, any) = (with("max-stale=0, only-if-cached"), with("max-stale, only-if-cached"));
            (version, [stale, exact, any, client.get_with(path, &both)])
        });
        let stale = stale.expect(200);
        labelled(&stale, path);
        assert!(stale.header("Cache-Status").starts_with("nexarch; hit; detail=memory; ttl=-"), "{path}");
        assert!(stale.version() < version, "{path}: it does not contain what came since");
        problem(exact, 504);
        problem(any, 504);
        let fresh = fresh.expect(200);
        assert_eq!(status(&fresh), "nexarch; fwd=miss; stored", "{path}");
        assert!(fresh.version() >= version, "{path}");
        // Removed by hand.
        let (removed, anew) = wait::promptly(|| {
            ingest();
            delete(&client);
            (with("max-stale=600, only-if-cached"), with("max-stale=600"))
        });
        problem(removed, 504);
        assert_eq!(status(&anew.expect(200)), "nexarch; fwd=miss; stored", "{path}");

        // A minimum.
        let version = client.get(path).version();
        let at_least = |text: &str| client.get_with(path, &[("Nexarch-Min-Version", text)]);
        for met in ["0", &version.to_string(), &format!(" {version} ")] {
            assert_eq!(status(&at_least(met).expect(200)), "nexarch; hit; detail=memory", "{path}");
        }
        let beyond = (version + 10_000_000_000).to_string();
        problem(at_least(&beyond), 412);
        // Of two the newer counts, in either order.
        for pair in [["0", beyond.as_str()], [beyond.as_str(), "0"]] {
            problem(client.get_with(path, &pair.map(|text| ("Nexarch-Min-Version", text))), 412);
        }
        for wrong in ["", "x", "-1", "+", "+5", "1.0", "1e3", "0x1", "18446744073709551616"] {
            problem(at_least(wrong), 400);
        }
    }
}

#[test]
fn a_disabled_cache_says_so_on_every_route() {
    let home = Home::new();
    let mut server = home.serve_with(&[("CACHE_ENABLED", "False")]);
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    for cached in CACHED {
        for _ in 0..2 {
            let reply = client.get(cached.path).expect(200);
            labelled(&reply, cached.path);
            assert_eq!(reply.header("Cache-Status"), "nexarch; fwd=bypass", "{}", cached.path);
        }
        problem(client.get_with(cached.path, &[("Cache-Control", "only-if-cached")]), 504);
    }
}

/// Whoever asks again and again for what is newest does not make it computed as often.
#[test]
fn no_cache_is_no_button_that_computes() {
    const CALLERS: usize = 100;
    let server = Inside::start(&[]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    client.get("/api/v1/dashboard/overview").expect(200);
    let gate = &server.gate;
    gate.close();
    let before = gate.opened.load(SeqCst);
    gate.most.store(0, SeqCst);
    let computed = || gate.opened.load(SeqCst) - before;
    let asked = AtomicUsize::new(0);
    let together = Barrier::new(CALLERS);
    let answers: Vec<Reply> = thread::scope(|scope| {
        let ask = || {
            let headers = [("Cache-Control", "no-cache")];
            let client = server.client();
            // Each has its connection before the first asks.
            client.get("/api/v1/cache/health").expect(200);
            together.wait();
            asked.fetch_add(1, SeqCst);
            client.get_with("/api/v1/dashboard/overview", &headers)
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(ask)).collect();
        // The first waits at the gate; when it passes, one that all others share comes to it.
        wait::until("all callers", || (computed() == 1 && asked.load(SeqCst) == CALLERS).then_some(()));
        // On their way; nearly all of them arrive in the course of some other requests.
        (0..50).for_each(|_| drop(client.get("/api/v1/cache/health").expect(200)));
        let mut passed = 0;
        wait::until("all answers", || {
            if computed() > passed {
                gate.pass(1);
                passed += 1;
            }
            callers.iter().all(thread::ScopedJoinHandle::is_finished).then_some(())
        });
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    for reply in &answers {
        assert!(matches!(
            status(reply).as_str(),
            "nexarch; fwd=request; stored" | "nexarch; fwd=request; collapsed"
        ));
        assert_eq!(reply.status, 200);
    }
    assert_eq!(gate.most.load(SeqCst), 1, "one at a time");
    let stored = answers.iter().filter(|reply| status(reply).ends_with("stored")).count();
    assert_eq!(stored, computed(), "each computation is one caller's, all others shared one");
    // Callers that come while one runs share the next; how many rounds that takes is for the scheduler to say.
    assert!(computed() <= CALLERS / 5, "{} computations", computed());
}

#[test]
fn callers_who_come_while_it_is_computed_share_it() {
    let server = Inside::start(&[]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    let gate = &server.gate;
    for cached in CACHED.iter().filter(|cached| cached.path != SAME[1]) {
        gate.close();
        let before = gate.opened.load(SeqCst);
        let ways = thread::scope(|scope| {
            let ask = || status(&server.client().get(cached.path).expect(200));
            let first = scope.spawn(ask);
            wait::until("a computation", || (gate.opened.load(SeqCst) > before).then_some(()));
            let second = scope.spawn(ask);
            let joined = || client.get("/api/v1/cache/health").expect(200);
            // The second has no way to say that it has joined; it comes in the course of some other requests.
            (0..50).for_each(|_| drop(joined()));
            gate.pass(1);
            [first.join().unwrap(), second.join().unwrap()]
        });
        assert_eq!(ways[0], "nexarch; fwd=miss; stored", "{}", cached.path);
        let shared = ["nexarch; fwd=miss; collapsed", "nexarch; hit; detail=memory"];
        assert!(shared.contains(&ways[1].as_str()), "{}: {}", cached.path, ways[1]);
        assert_eq!(gate.opened.load(SeqCst), before + 1, "{}", cached.path);
    }
    let stats = client.get("/api/v1/cache/stats").ok();
    let sum: u64 =
        stats["operations"].as_object().unwrap().values().map(|one| one["collapsed"].as_u64().unwrap()).sum();
    assert!(sum > 0, "some of them joined: {stats}");
}

/// What was being computed when it was invalidated is no answer to who asks later.
#[test]
fn a_warm_value_does_not_survive_what_came_after_it_began() {
    type Change = fn(&Client);
    let changes: [(&str, Change); 3] = [
        ("an invalidation of everything", |client| drop(delete(client))),
        ("an invalidation of the operation", |client| {
            let path = "/api/v1/cache/invalidate/dashboard_overview";
            client.send("DELETE", path, &[], &Body::None).expect(200);
        }),
        ("new data", |client| drop(client.batch(&native(&call(2))).expect(202))),
    ];
    for (what, change) in changes {
        // Nobody has read it, so that nothing is computed ahead.
        let server = Inside::start(&[]);
        let client = server.client();
        client.batch(&native(&call(1))).expect(202);
        let gate = &server.gate;
        gate.close();
        let before = gate.opened.load(SeqCst);
        let report = thread::scope(|scope| {
            let warming = scope.spawn(|| {
                let path = "/api/v1/cache/warm/dashboard_overview";
                server.client().send("POST", path, &[], &Body::None).ok()
            });
            // It has read the data, and is held before it is stored.
            wait::until("a warming", || (gate.opened.load(SeqCst) > before).then_some(()));
            change(&client);
            gate.pass(1);
            warming.join().unwrap()
        });
        assert_eq!(report["status"], "success", "{what}: {report}");
        gate.pass(1);
        let reply = client.get("/api/v1/dashboard/overview").expect(200);
        assert_eq!(status(&reply), "nexarch; fwd=miss; stored", "{what}");
        let spans = if what == "new data" { 6 } else { 3 };
        assert_eq!(reply.json()["total_spans"], spans, "{what}");
    }
}
