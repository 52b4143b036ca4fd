//! The newcomer's first minute: one command, nothing set up, a living landscape.

use std::fs;

use crate::support::{client::Client, home::Home, map::Map, server::Server, wait};

#[test]
fn the_demo_shows_a_landscape_through_its_link_and_leaves_nothing_behind() {
    let home = Home::new();
    let temporary = home.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = home.command(["demo", "--for", "8s", "--port", "0"]);
    // It ignores the database and the Redis of its surroundings.
    command.env("TMPDIR", &temporary).env("REDIS_HOST", "redis.invalid");
    let mut server = Server::start(&mut command);
    let link = server.line_with("/#key=").trim().to_owned();
    let (base, key) = link.split_once("/#key=").unwrap();
    assert_eq!(base, server.base());
    let client = Client::new(base, Some(key));
    assert!(server.stranger().get("/").expect(200).header("Content-Type").starts_with("text/html"));

    wait::until("a landscape of 12 services with all that they talk to", || {
        let map = Map::read(&client);
        let others = map.others();
        let has = |wanted: &str| others.iter().any(|(kind, _)| kind == wanted);
        let whole =
            map.services().len() >= 12 && ["database", "queue", "external", "user"].into_iter().all(has);
        whole.then_some(())
    });
    let overview = client.get("/api/v1/dashboard/overview").ok();
    assert!(overview["total_requests"].as_u64().unwrap() > 0, "{overview}");

    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(!server.log().contains("another process"), "its own key: {}", server.log());
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "the temporary database stays behind");
    assert!(!home.database().exists(), "the demo touched DATABASE_URL");
}
