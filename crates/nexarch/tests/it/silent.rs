//! A database that takes questions and answers none: whoever asks is told to come back, and does not wait for ever.

use std::time::Duration;

use crate::support::{
    client::{Body, Client, Reply},
    encode::native,
    inside::Inside,
    spans::call,
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";

fn come_back(reply: Reply) {
    let reply = reply.expect(503);
    assert_eq!(reply.header("Content-Type"), "application/problem+json");
    assert!(!reply.header("Retry-After").is_empty(), "{reply:?}");
}

fn invalidate(client: &Client) -> Reply {
    client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None)
}

#[test]
fn a_silent_database_is_a_503_that_says_when_to_come_back() {
    let server = Inside::start(&[]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    client.get(OVERVIEW).expect(200);
    server.gate.silence(true);
    // What is held is served as long as it is known to be current.
    let refused =
        wait::until("nothing to be known", || Some(client.get(OVERVIEW)).filter(|reply| reply.status != 200));
    come_back(refused);
    come_back(client.get_with(OVERVIEW, &[("Nexarch-Min-Version", "1")]));
    come_back(client.get("/api/v1/stream"));
    come_back(invalidate(&client));
    server.gate.silence(false);
    wait::until("it to answer", || (client.get(OVERVIEW).status == 200).then_some(()));
    invalidate(&client).expect(200);
}

/// Longer than a look may take, shorter than a read of versions may: it is answered too late for its look each time.
#[test]
fn a_revoked_key_is_refused_however_slow_the_looks_are() {
    let server = Inside::start(&[]);
    let other = Client::new(server.base(), Some(&server.tenant("other")));
    other.get(OVERVIEW).expect(200);
    server.gate.slow_versions(Duration::from_millis(450));
    server.beside(async |store| {
        let keys = store.keys(&"other".parse().unwrap()).await.unwrap();
        store.revoke_key(&keys[0].id).await.unwrap();
    });
    wait::until("the refusal", || (other.get("/api/v1/cache/stats").status == 401).then_some(()));
}
