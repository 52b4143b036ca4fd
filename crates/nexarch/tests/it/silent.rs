//! A database that takes questions and answers none: whoever asks is told to come back, and does not wait for ever.

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
