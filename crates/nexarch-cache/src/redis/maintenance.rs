//! What Azure Cache for Redis announces of its maintenance, heeded as a hint.
//!
//! A notice is a list of pairs on the channel `AzureRedisEvents`, as
//! `NotificationType|NodeMaintenanceStarting|StartTimeInUTC|2021-09-23T12:34:19|IsReplica|False|…`. Source: Azure's
//! `AzureRedisEvents.md`, and what StackExchange.Redis makes of it. Anybody who may publish can send one. So none is
//! believed: of a notice nothing but its known type is used, and however many come, once in a while each connection is
//! made anew, by the name, while another one takes its calls.

use super::backoff::{chance, part};
use super::node::Node;
use super::tier::Tier;
use crate::sync::lock;
use futures_util::future::join_all;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// Where notices are published; no prefix is put before it.
pub(super) const CHANNEL: &str = "AzureRedisEvents";

/// The longest notice that is looked at, in bytes; those that are documented have under 200.
const MAX_NOTICE: usize = 1024;

/// Between two rounds of new connections, and between two lines in the log, however many notices come.
const REST: Duration = Duration::from_mins(1);

/// The longest pause before a connection is made anew: all servers hear of it in the same moment, and the services limit
/// new connections.
const PAUSE: Duration = Duration::from_secs(2);

/// Pauses in which another connection may come to take the calls; without one there would be a gap.
const TRIES: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// Connections may be lost; that is noticed when it happens.
    Ahead(&'static str),
    /// The name may lead elsewhere, and slots to other servers.
    Over(&'static str),
}

impl Notice {
    /// `None` for what is no notice, or one that is not known.
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_NOTICE {
            return None;
        }
        let mut words = std::str::from_utf8(bytes).ok()?.split('|');
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if name.trim().eq_ignore_ascii_case("NotificationType") {
                return Self::of_type(value.trim());
            }
        }
        None
    }

    fn of_type(name: &str) -> Option<Self> {
        const AHEAD: [&str; 3] =
            ["NodeMaintenanceScheduled", "NodeMaintenanceStarting", "NodeMaintenanceStart"];
        // The second is how the first was called before.
        const OVER: [&str; 4] = [
            "NodeMaintenanceFailoverComplete",
            "NodeMaintenanceFailover",
            "NodeMaintenanceEnded",
            "NodeMaintenanceScaleComplete",
        ];
        let among =
            |names: &[&'static str]| names.iter().find(|known| known.eq_ignore_ascii_case(name)).copied();
        among(&AHEAD).map(Self::Ahead).or_else(|| among(&OVER).map(Self::Over))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ahead(name) | Self::Over(name) => name,
        }
    }
}

/// What was heard and not heeded yet: of a flood the latest of each kind.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    heard: Mutex<Heard>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    latest: Option<&'static str>,
    over: bool,
}

impl Maintenance {
    /// Takes a message of [`CHANNEL`]. It runs in a connection's driver and does not wait.
    pub(super) fn hear(&self, message: &[u8]) {
        let Some(notice) = Notice::read(message) else { return };
        let mut heard = lock(&self.heard);
        heard.latest = Some(notice.name());
        heard.over |= matches!(notice, Notice::Over(_));
        drop(heard);
        self.news.notify_one();
    }

    fn take(&self) -> Heard {
        std::mem::take(&mut lock(&self.heard))
    }
}

/// Runs until the tier is stopped. Spawn it on the tracker.
pub(super) async fn run(tier: Arc<Tier>) {
    tier.stop.run_until_cancelled(heed(&tier)).await;
}

async fn heed(tier: &Tier) {
    let (mut told, mut renewed) = (None::<Instant>, None::<Instant>);
    loop {
        tier.maintenance.news.notified().await;
        let heard = tier.maintenance.take();
        if let Some(name) = heard.latest
            && told.is_none_or(|told| told.elapsed() >= REST)
        {
            told = Some(Instant::now());
            tracing::info!("cache: Redis announces maintenance ({name})");
        }
        if heard.over {
            if let Some(renewed) = renewed {
                sleep_until(renewed + REST).await;
            }
            renewed = Some(Instant::now());
            look_anew(tier).await;
        }
    }
}

/// Asks who holds which slots, and the name where it leads.
async fn look_anew(tier: &Tier) {
    tier.doubt.notify_one();
    let layout = tier.layout();
    join_all(layout.nodes().iter().map(|node| renew(tier, node))).await;
}

/// Makes the connections of a server anew, one after the other.
async fn renew(tier: &Tier, node: &Node) {
    for at in 0..tier.connections {
        for _ in 0..TRIES {
            sleep(part(PAUSE, chance())).await;
            if node.retire(at) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn notices_are_known_by_their_type_whatever_else_they_say() {
        let over = |text: &str| matches!(Notice::read(text.as_bytes()), Some(Notice::Over(_)));
        let ahead = |text: &str| matches!(Notice::read(text.as_bytes()), Some(Notice::Ahead(_)));
        for name in ["Scheduled", "Starting", "Start"] {
            let rest = "StartTimeInUTC|2021-09-23T12:34:19|IsReplica|False|IPAddress||SSLPort|15001|NonSSLPort|13001";
            assert!(ahead(&format!("NotificationType|NodeMaintenance{name}|{rest}")), "{name}");
        }
        for name in ["FailoverComplete", "Failover", "Ended", "ScaleComplete"] {
            assert!(over(&format!("NotificationType|NodeMaintenance{name}")), "{name}");
            assert!(
                over(&format!("New|thing|notificationtype | nodemaintenance{name} |IsReplica")),
                "{name}"
            );
        }
        for nothing in [
            "",
            "|",
            "NotificationType",
            "NotificationType|",
            "NotificationType|NodeMaintenanceFailoverCompleted",
            "NotificationType|Other|NotificationType|NodeMaintenanceEnded",
            "IsReplica|NotificationType|NodeMaintenanceEnded",
            "NodeMaintenanceEnded",
        ] {
            assert_eq!(Notice::read(nothing.as_bytes()), None, "{nothing}");
        }
        let long = format!("NotificationType|NodeMaintenanceEnded|{}", "x".repeat(MAX_NOTICE));
        assert_eq!(Notice::read(long.as_bytes()), None);
        assert_eq!(Notice::read(b"NotificationType|NodeMaintenanceEnded|\xff"), None);
    }

    #[test]
    fn of_a_flood_the_latest_is_kept_and_that_something_is_over() {
        let maintenance = Maintenance::default();
        for _ in 0..10_000 {
            maintenance.hear(b"NotificationType|NodeMaintenanceEnded");
            maintenance.hear(b"NotificationType|NodeMaintenanceStart");
            maintenance.hear(b"garbage");
        }
        let heard = maintenance.take();
        assert_eq!((heard.latest, heard.over), (Some("NodeMaintenanceStart"), true));
        assert!(maintenance.take().latest.is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048), text in "[a-zA-Z|]{0,80}") {
            let _ = (Notice::read(&bytes), Notice::read(text.as_bytes()));
        }
    }
}
