//! What operators do to a database in its life: back it up, put it back, set a quota.

use std::fs;

use serde_json::json;

use crate::support::{
    admin::{Admin, OPEN},
    client::Client,
    encode::otlp_protobuf,
    home::Home,
    inside::Inside,
    spans::{call, many},
    wait,
};

const CACHE: &str = "/api/v1/cache/stats";

#[test]
fn a_backup_beside_a_server_is_put_back_and_no_old_value_is_met() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    client.otlp_protobuf(&otlp_protobuf(&call(1))).expect(200);
    let made = home.json(["backup", "copy.db", "--json"]);
    let copy = home.path().join("copy.db");
    assert_eq!(made["bytes"], fs::metadata(&copy).unwrap().len());
    let again = home.output(["backup", "copy.db"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"), "{again:?}");

    let before = client.total_spans();
    let late = client.otlp_protobuf(&otlp_protobuf(&call(2))).expect(200).version();
    assert!(client.total_spans() > before);
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
    fs::copy(&copy, home.database()).unwrap();
    let server = home.serve();
    let client = server.client(&key);
    assert_eq!(client.total_spans(), before, "the state of the backup");
    // No version comes twice, although the database was set back.
    let next = client.otlp_protobuf(&otlp_protobuf(&call(3))).expect(200).version();
    assert!(next > late, "{next} after {late}");
    assert_eq!(client.total_spans(), 2 * before);
}

/// The server itself made the key, so its looks never saw another version of rights than that of the backup.
#[test]
fn a_key_that_was_made_after_the_backup_is_refused_once_it_is_put_back() {
    let server = Inside::start(&[OPEN]);
    server.client().get(CACHE).expect(200);
    server.back_up();
    let made = Admin::at(server.base()).key("acme", &json!({"scopes": ["read"]}));
    let late = Client::new(server.base(), made["key"].as_str());
    late.get(CACHE).expect(200);
    server.set_back();
    wait::until("the refusal", || (late.get(CACHE).status == 401).then_some(()));
    server.client().get(CACHE).expect(200);
}

#[test]
fn a_backup_of_nothing_makes_no_database() {
    let home = Home::new();
    let refused = home.output(["backup", "copy.db"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("DATABASE_URL"), "{refused:?}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "it left files");
}

#[test]
fn a_used_up_quota_is_429_until_midnight_and_only_for_its_tenant() {
    let home = Home::new();
    let other = home.tenant("other");
    let mine = home.tenant("mine");
    let server = home.serve_with(&[("QUOTA_SPANS_PER_DAY", "5")]);
    let client = server.client(&mine);
    client.otlp_protobuf(&otlp_protobuf(&many(1, 4))).expect(200);
    let refused = client.otlp_protobuf(&otlp_protobuf(&many(2, 2))).expect(429);
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    let left = 86_400 - wait::now_ns() / 1_000_000_000 % 86_400;
    // A midnight may have passed between the two looks at the clock.
    assert!(seconds.abs_diff(left) <= 60 || left > 86_300, "{seconds} s, {left} s are left of the day");
    client.otlp_protobuf(&otlp_protobuf(&many(3, 1))).expect(200);
    server.client(&other).otlp_protobuf(&otlp_protobuf(&many(2, 5))).expect(200);
    assert_eq!(client.total_spans(), 5);
}
