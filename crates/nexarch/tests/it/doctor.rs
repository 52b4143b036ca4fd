//! `nexarch doctor`: what it says of a healthy home and of each kind of trouble, to people and to programs.

use std::process::Output;

use nexarch_testkit::{ClosedPort, RedisServer};
use serde_json::Value;

use crate::support::{home::Home, wait};

fn doctor(home: &Home, settings: &[(&str, &str)], args: &[&str]) -> Output {
    let args = std::iter::once("doctor").chain(args.iter().copied());
    home.command(args).envs(settings.iter().copied()).output().unwrap()
}

/// Its checks as a program sees them, and whether all is well; the exit code says the same.
fn checks(home: &Home, settings: &[(&str, &str)]) -> (bool, Vec<Value>) {
    let output = doctor(home, settings, &["--json"]);
    let text = String::from_utf8([output.stdout.clone(), output.stderr].concat()).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {text}"));
    let ok = report["ok"].as_bool().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!ok)), "{text}");
    let checks = report["checks"].as_array().unwrap().clone();
    for check in &checks {
        assert!(check["ms"].is_number() && check["detail"].is_string(), "{check}");
    }
    (ok, checks)
}

fn status<'a>(checks: &'a [Value], name: &str) -> &'a str {
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {checks:#?}"))["status"].as_str().unwrap()
}

/// The advice of the one check that failed.
fn advice(checks: &[Value], name: &str) -> String {
    let failed: Vec<_> = checks.iter().filter(|check| check["status"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{checks:#?}");
    assert_eq!(failed[0]["name"], name, "{checks:#?}");
    failed[0]["advice"].as_str().unwrap().to_owned()
}

#[test]
fn a_home_without_anything_is_well_and_stays_as_it_was() {
    let home = Home::new();
    let (ok, checks) = checks(&home, &[]);
    assert!(ok);
    assert_eq!(status(&checks, "configuration"), "ok");
    assert_eq!((status(&checks, "database"), status(&checks, "redis")), ("ok", "skipped"));
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "nothing was made");
}

#[test]
fn a_server_under_way_and_its_redis_are_well() {
    let redis = RedisServer::builder().password("hunter2").start();
    let home = Home::new();
    let string = format!("{},password=hunter2,abortConnect=False", redis.address());
    let settings = [("REDIS_URL", string.as_str())];
    let _server = home.serve_with(&settings);
    // Now and then a busy machine is slow, and the doctor says so.
    let (checks, text) = wait::attempts("a quick Redis", || {
        let (ok, checks) = checks(&home, &settings);
        assert!(ok, "{checks:#?}");
        let text = String::from_utf8(doctor(&home, &settings, &[]).stdout).unwrap();
        let quick = status(&checks, "redis.latency") == "ok" && text.contains("ok       redis.latency");
        quick.then_some((checks, text))
    });
    for step in ["dns", "tcp", "tls", "login", "server", "cluster", "rights", "messages", "memory"] {
        assert_eq!(status(&checks, &format!("redis.{step}")), "ok", "{checks:#?}");
    }
    let database = checks.iter().find(|check| check["name"] == "database").unwrap();
    assert!(database["detail"].as_str().unwrap().ends_with("1 tenant"), "{database}");
    assert_eq!(text.lines().count(), checks.len(), "{text}");
    assert!(text.lines().all(|line| line.starts_with("ok       ")), "{text}");
    assert!(!text.contains('\x1b'), "no colours but on a terminal: {text:?}");
}

#[test]
fn what_is_wrong_with_redis_is_named_with_what_to_change() {
    let redis = RedisServer::builder().password("right").start();
    let home = Home::new();
    let url = format!("redis://:hunter2@{}", redis.address());
    let (_, found) = checks(&home, &[("REDIS_URL", &url)]);
    assert!(advice(&found, "redis.login").contains("REDIS_PASSWORD"), "{found:#?}");
    assert_eq!(status(&found, "redis.rights"), "skipped");
    let closed = ClosedPort::new();
    let port = closed.port().to_string();
    let (_, found) = checks(&home, &[("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", &port)]);
    assert!(advice(&found, "redis.tcp").contains("Start Redis, or check the port"), "{found:#?}");
    let text = String::from_utf8(doctor(&home, &[("REDIS_URL", &url)], &[]).stdout).unwrap();
    let line = text.lines().position(|line| line.starts_with("failed   redis.login")).unwrap();
    assert!(text.lines().nth(line + 1).unwrap().starts_with("         → Check user and password"), "{text}");
    let (ok, found) = checks(&home, &[("REDIS_URL", &url), ("CACHE_ENABLED", "False")]);
    assert!(ok && status(&found, "redis") == "skipped");
}

/// The doctor is asked because something is wrong: it answers in its own form, not with the exit code of the others.
#[test]
fn a_wrong_configuration_is_a_finding() {
    let home = Home::new();
    let settings = [("PORT", "eighty"), ("REDIS_URL", "cache:6380,password=hunter2,ssl=perhaps")];
    let (ok, found) = checks(&home, &settings);
    assert!(!ok);
    let problems: Vec<_> = found.iter().filter(|check| check["name"] == "configuration").collect();
    assert_eq!(problems.len(), 2, "{found:#?}");
    assert_eq!(status(&found, "database"), "skipped");
}

#[test]
fn a_database_that_cannot_be_used_is_named() {
    let home = Home::new();
    std::fs::write(
        home.database(),
        "this is no database at all, but long enough to be taken for one".repeat(99),
    )
    .unwrap();
    let (_, found) = checks(&home, &[]);
    assert!(advice(&found, "database").contains("test.db"), "{found:#?}");
    let (_, found) = checks(&home, &[("DATABASE_URL", "sqlite:///no/such/folder/nexarch.db")]);
    assert!(advice(&found, "database").contains("DATABASE_URL"), "{found:#?}");
}
