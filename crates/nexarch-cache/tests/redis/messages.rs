//! Messages that are none of ours.

use crate::support::{Log, config, connected};
use nexarch_cache::{Reason, Remote};
use nexarch_testkit::{PATIENCE, RedisServer};
use tokio::time::timeout;

/// Whoever may publish can send one that is too long: the connection ends, is named and counted, and comes back; values
/// are not concerned. Also from a server that speaks RESP2 only.
#[tokio::test]
async fn a_message_that_is_too_long_costs_the_connection_and_nothing_else() {
    for without in [&[][..], &["HELLO"]] {
        let server = RedisServer::builder().without(without).start();
        let log = Log::start();
        let rig = connected(&config(server.port())).await;
        let mut heard = rig.remote.messages();
        let (channel, flood) = ("test:versions", "x".repeat(100_000));
        assert_eq!(server.cli(&["PUBLISH", channel, &"x".repeat(40_000)]), "1");
        assert_eq!(rig.status().floods, 0, "not ours, and not long enough");
        for times in 1..=2 {
            // So that what is lost stays so.
            assert_eq!(server.cli(&["ACL", "SETUSER", "default", "-subscribe"]), "OK");
            assert_ne!(server.cli(&["PUBLISH", channel, &flood]), "0");
            let lost = rig.until("the loss", |status| !status.messages).await;
            assert_eq!((lost.values, lost.reason), (true, Some(Reason::Messages)));
            assert_eq!(server.cli(&["ACL", "SETUSER", "default", "+subscribe"]), "OK");
            let back = rig.until("the return", |status| status.messages).await;
            assert_eq!(back.floods, times);
        }
        rig.remote.publish("ours".into()).await.unwrap();
        assert_eq!(timeout(PATIENCE, heard.recv()).await.unwrap().unwrap(), "ours");
        assert_eq!(log.lines("a message of more than 64 KiB, polling").len(), 1, "{}", log.text());
        rig.end().await;
    }
}
